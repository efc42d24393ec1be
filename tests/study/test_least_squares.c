/* The solver against a problem with a known answer, and against what defines a least-squares fit.
 */
#include "study/least_squares.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define N 9
#define P 4

static void near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.17g is not within %g of %.17g", value, tolerance, expected);
}

/* Hand-worked: y = 1, 3, 4, 4 at 0, 1, 2, 3. X'X = (4 6; 6 14), X'y = (12, 23). */
static void test_line(void **state) {
    double x[] = {1, 0, 1, 1, 1, 2, 1, 3}, y[] = {1, 3, 4, 4};
    iso_least_squares fit;
    assert_true(iso_least_squares_solve(&fit, x, y, 4, 2));
    near(fit.beta[0], 1.5, 1e-14);
    near(fit.beta[1], 1.0, 1e-14);
    near(fit.rss, 1.0, 1e-14);
    near(fit.inverse[0][0], 0.7, 1e-14);
    near(fit.inverse[0][1], -0.3, 1e-14);
    near(fit.inverse[1][0], -0.3, 1e-14);
    near(fit.inverse[1][1], 0.2, 1e-14);
}

/* Powers of 1..9: ill-conditioned enough to tell QR from normal equations. */
static void fill_powers(double *x) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < P; j++) x[i * P + j] = pow(i + 1.0, 2 * j);
}

static void test_residuals_are_orthogonal(void **state) {
    double x[N * P], original[N * P], y[N], kept[N], rss = 0.0;
    iso_least_squares fit;
    fill_powers(x);
    for (int i = 0; i < N; i++) y[i] = sin(3.0 * i);
    memcpy(original, x, sizeof x);
    memcpy(kept, y, sizeof y);
    assert_true(iso_least_squares_solve(&fit, x, y, N, P));
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < P; j++) kept[i] -= original[i * P + j] * fit.beta[j];
        rss += kept[i] * kept[i];
    }
    near(fit.rss, rss, 1e-12);
    for (int j = 0; j < P; j++) {
        double dot = 0.0;
        for (int i = 0; i < N; i++) dot += original[i * P + j] * kept[i];
        near(dot / pow(9.0, 2 * j), 0.0, 1e-12);
    }
}

static void test_inverse(void **state) {
    double x[N * P], original[N * P], y[N] = {0};
    iso_least_squares fit;
    fill_powers(x);
    memcpy(original, x, sizeof x);
    assert_true(iso_least_squares_solve(&fit, x, y, N, P));
    for (int i = 0; i < P; i++)
        for (int j = 0; j < P; j++) {
            double sum = 0.0; /* of (X'X) (X'X)^-1 */
            for (int k = 0; k < P; k++)
                for (int r = 0; r < N; r++)
                    sum += original[r * P + i] * original[r * P + k] * fit.inverse[k][j];
            near(sum * pow(9.0, 2 * (j - i)), i == j ? 1.0 : 0.0, 1e-7);
        }
}

static void test_undetermined(void **state) {
    double x[] = {1, 2, 3, 1, 4, 5, 1, 6, 7, 1, 8, 9}, y[] = {1, 2, 3, 5}; /* 3rd = 1st + 2nd */
    iso_least_squares fit;
    assert_false(iso_least_squares_solve(&fit, x, y, 4, 3));
    double few[] = {1, 2, 3}, one[] = {1};
    assert_false(iso_least_squares_solve(&fit, few, one, 1, 3));
    double zero[] = {1, 0, 1, 0, 1, 0};
    assert_false(iso_least_squares_solve(&fit, zero, y, 3, 2));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_residuals_are_orthogonal),
        cmocka_unit_test(test_inverse),
        cmocka_unit_test(test_undetermined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
