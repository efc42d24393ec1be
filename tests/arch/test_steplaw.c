/* Step Law: both sets of constants against values computed by hand, and the fitted range. The
 * paper's 80 learning rates and batches are in test_count.c. */
#include "arch/steplaw.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_near(double value, double expected, double relative) {
    if (!(fabs(value / expected - 1.0) <= relative))
        fail_msg("%.12g, expected %.12g", value, expected);
}

static void rounded_constants(void **state) {
    /* 1.79 (1e9)^-0.713 (1e11)^0.307 = 1.79 10^(-6.417 + 3.377) */
    assert_near(iso_steplaw_lr(ISO_STEPLAW_ROUNDED, 1e9, 1e11), 1.79 * 9.1201083935591e-4, 1e-12);
    /* 0.58 (1e10)^0.571 = 0.58 10^5.71 */
    assert_near(iso_steplaw_batch_tokens(ISO_STEPLAW_ROUNDED, 1e10), 0.58 * 5.12861383991365e5,
                1e-12);
}

static void unrounded_is_higher(void **state) {
    /* The paper's 7B dense row: N 6.476e9, D 6.8e10 or so; rounded constants are 1.5-2.1 % low. */
    double high = iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, 6.476e9, 6.8e10);
    double low = iso_steplaw_lr(ISO_STEPLAW_ROUNDED, 6.476e9, 6.8e10);
    assert_true(high / low > 1.015 && high / low < 1.021);
}

static void fitted_range(void **state) {
    assert_true(iso_steplaw_in_range(6e7, 2e9, false));
    assert_false(iso_steplaw_in_range(5.9e7, 2e9, false));
    assert_false(iso_steplaw_in_range(6e7, 1.9e9, false));
    assert_false(iso_steplaw_in_range(6e7, 1.1e11, false));
    assert_false(iso_steplaw_in_range(2e9, 1e10, false));
    assert_true(iso_steplaw_in_range(2e9, 1e10, true));
    assert_false(iso_steplaw_in_range(2.2e9, 1e10, true));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounded_constants),
        cmocka_unit_test(unrounded_is_higher),
        cmocka_unit_test(fitted_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
