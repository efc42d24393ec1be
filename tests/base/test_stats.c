/* Student's t against printed tables, estimates against numbers worked out by hand. */
#include "base/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.12g is not within %g of %.12g", value, tolerance, expected);
}

/* t(0.975, nu): R's qt, as any table has them. */
static void test_quantiles(void **state) {
    static const double known[][2] = {
        {1, 12.7062047364},   {2, 4.30265272991},   {3, 3.18244630528},       {4, 2.7764451052},
        {5, 2.57058183661},   {9, 2.26215716274},   {10, 2.22813885196},      {30, 2.0422724563},
        {100, 1.98397151845}, {1e9, 1.95996398454}, {INFINITY, 1.95996398454}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        near(iso_t_95(known[i][0]), known[i][1], 1e-8);
    near(iso_t_quantile(0.95, 1), 6.31375151468, 1e-9);
    near(iso_t_quantile(0.025, 2), -4.30265272991, 1e-9);
    assert_true(iso_t_quantile(0.5, 7) == 0.0);
}

/* nu = 1 is Cauchy, nu = 2 has a closed form. */
static void test_closed_forms(void **state) {
    for (double t = -50.0; t <= 50.0; t += 0.37) {
        near(iso_t_cdf(t, 1), 0.5 + atan(t) / M_PI, 1e-13);
        near(iso_t_cdf(t, 2), 0.5 + t / (2.0 * sqrt(2.0 + t * t)), 1e-13);
    }
    for (double p = 0.001; p < 1.0; p += 0.0137)
        near(iso_t_cdf(iso_t_quantile(p, 2.5), 2.5), p, 1e-12);
    /* Far out and for many degrees of freedom, where two lgammas would cancel. */
    near(iso_t_cdf(1.0, 1e7), iso_t_cdf(1.0, INFINITY), 1e-7);
    near(iso_t_cdf(1.9, 1999.9), iso_t_cdf(1.9, 2000.1), 1e-8); /* where the one takes over */
    near(iso_t_cdf(-1e6, 1) * M_PI * 1e6, 1.0, 1e-9);
}

static void test_outside(void **state) {
    assert_true(isnan(iso_t_95(0.0)));
    assert_true(isnan(iso_t_95(NAN)));
    assert_true(isnan(iso_t_quantile(0.0, 3)));
    assert_true(isnan(iso_t_quantile(1.0, 3)));
    assert_true(isnan(iso_mean(NULL, 0)));
}

/* {1, 3} and {10, 11, 15} about 2 and 12: (1 + 1 + 4 + 1 + 9) / (1 + 2) = 16/3; one alone adds
 * none. */
static void test_pooled(void **state) {
    iso_pooled pooled = {0};
    assert_true(isnan(iso_pooled_sd(&pooled)));
    iso_pooled_add(&pooled, (double[]){1, 3}, 2);
    iso_pooled_add(&pooled, (double[]){10, 11, 15}, 3);
    iso_pooled_add(&pooled, (double[]){1000}, 1);
    near(iso_pooled_sd(&pooled), sqrt(16.0 / 3.0), 1e-14);
    assert_true(pooled.dof == 3.0);
    assert_int_equal(pooled.n_groups, 2);
}

/* y = {2, 3, 7}, size = {1, 2, 3}: ratio 2, residuals {0, -1, 1}, se = sqrt(3/2 * 2) / 6. */
static void test_ratio(void **state) {
    iso_ratio ratio = iso_ratio_estimate((double[]){2, 3, 7}, (double[]){1, 2, 3}, 3);
    near(ratio.value, 2.0, 1e-15);
    near(ratio.se, sqrt(3.0) / 6.0, 1e-15);
    assert_int_equal(ratio.n, 3);
    assert_true(isnan(iso_ratio_estimate((double[]){2}, (double[]){1}, 1).se));
    assert_true(isnan(iso_ratio_estimate(NULL, NULL, 0).value));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles), cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_outside),   cmocka_unit_test(test_pooled),
        cmocka_unit_test(test_ratio),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
