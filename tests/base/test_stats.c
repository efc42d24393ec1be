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

/* The same by scipy's distributions and its root finder. */
static void test_tube(void **state) {
    near(iso_tube_95(0.0, 5), iso_t_95(5), 1e-10);
    near(iso_tube_95(2.5, 8), 3.079703089688876, 1e-9);
    near(iso_tube_95(2.5, INFINITY), 2.479121257554416, 1e-9);
    assert_true(isnan(iso_tube_95(-1.0, 5)));
    assert_true(isnan(iso_tube_95(1.0, 0)));
}

static void test_binomial(void **state) {
    static const double known[][4] = {{0, 20, 0.0, 0.1684334709830853},
                                      {3, 20, 0.0320709371854637, 0.37892682654531396},
                                      {20, 20, 0.8315665290169146, 1.0},
                                      {50, 1000, 0.03733539760466178, 0.06539048791549364},
                                      {953, 1000, 0.9379873693066949, 0.9652649377332041}};
    double low, high;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        iso_binomial_95(&low, &high, (int64_t)known[i][0], (int64_t)known[i][1]);
        near(low, known[i][2], 1e-10);
        near(high, known[i][3], 1e-10);
    }
    iso_binomial_95(&low, &high, 3, 2);
    assert_true(isnan(low) && isnan(high));
}

/* y2 = {1, 1, 4}, size as above: ratio 1, residuals {0, -1, 1} for both: the covariance is se^2. */
static void test_ratio_covariance(void **state) {
    static const double size[] = {1, 2, 3}, y1[] = {2, 3, 7}, y2[] = {1, 1, 4}, y3[] = {1, 3, 2};
    near(iso_ratio_covariance(y1, y1, size, 3), 3.0 / 36.0, 1e-15);
    near(iso_ratio_covariance(y1, y2, size, 3), 3.0 / 36.0, 1e-15);
    near(iso_ratio_covariance(y1, y3, size, 3), -3.0 / 36.0, 1e-15); /* residuals {0, 1, -1} */
    assert_true(isnan(iso_ratio_covariance(y1, y2, size, 1)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles), cmocka_unit_test(test_closed_forms),
        cmocka_unit_test(test_outside),   cmocka_unit_test(test_pooled),
        cmocka_unit_test(test_ratio),     cmocka_unit_test(test_tube),
        cmocka_unit_test(test_binomial),  cmocka_unit_test(test_ratio_covariance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
