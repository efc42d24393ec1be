/* Ticks and geometry of plots. */
#include "report/svg.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void near(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-9 * fmax(1.0, fabs(expected))))
        fail_msg("%.12g is not %.12g", value, expected);
}

static void has_ticks(iso_axis axis, int wanted, const double *expected, int n_expected) {
    double ticks[ISO_TICKS_MAX], step;
    int n = iso_axis_ticks(&axis, wanted, ticks, &step);
    assert_int_equal(n, n_expected);
    for (int i = 0; i < n; i++) near(ticks[i], expected[i]);
}

static void test_linear_ticks(void **state) {
    has_ticks((iso_axis){.min = 0, .max = 1}, 5, (double[]){0, 0.2, 0.4, 0.6, 0.8, 1}, 6);
    has_ticks((iso_axis){.min = 2.031, .max = 2.112}, 4, (double[]){2.04, 2.06, 2.08, 2.1}, 4);
    has_ticks((iso_axis){.min = -0.03, .max = 0.05}, 4, (double[]){-0.02, 0, 0.02, 0.04}, 4);
    has_ticks((iso_axis){.min = 0, .max = 1.31e13}, 6,
              (double[]){0, 2e12, 4e12, 6e12, 8e12, 1e13, 1.2e13}, 7);
}

static void test_log_ticks(void **state) {
    has_ticks((iso_axis){.min = 1, .max = 1e6, .is_log = true}, 7,
              (double[]){1, 10, 100, 1e3, 1e4, 1e5, 1e6}, 7);
    has_ticks((iso_axis){.min = 1.2, .max = 5.5, .is_log = true}, 5, (double[]){1.5, 2, 3, 4, 5},
              5);
    /* A short stretch is labelled as a linear one. */
    has_ticks((iso_axis){.min = 1.12, .max = 1.83, .is_log = true}, 4,
              (double[]){1.2, 1.4, 1.6, 1.8}, 4);
}

/* Whatever the range, there are some ticks, in it, ascending, and not too many. */
static void test_ticks_everywhere(void **state) {
    for (double low = 1e-9; low < 1e15; low *= 7.3)
        for (double factor = 1.001; factor < 1e9; factor *= 3.1)
            for (int is_log = 0; is_log < 2; is_log++) {
                iso_axis axis = {.min = low, .max = low * factor, .is_log = is_log != 0};
                double ticks[ISO_TICKS_MAX], step;
                int n = iso_axis_ticks(&axis, 5, ticks, &step);
                assert_in_range(n, 1, 12);
                for (int i = 0; i < n; i++) {
                    assert_true(ticks[i] >= axis.min * (1 - 1e-6));
                    assert_true(ticks[i] <= axis.max * (1 + 1e-6));
                    if (i > 0) assert_true(ticks[i] > ticks[i - 1]);
                }
            }
}

static void test_degenerate_axes(void **state) {
    static const double ranges[][2] = {{1, 1},  {0, 0}, {NAN, 1},        {INFINITY, -INFINITY},
                                       {-1, 2}, {2, 1}, {1e-300, 1e-300}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (int is_log = 0; is_log < 2; is_log++) {
            iso_axis axis = iso_axis_over(ranges[i][0], ranges[i][1], 0.05, is_log != 0);
            assert_true(axis.min < axis.max && isfinite(axis.min) && isfinite(axis.max));
            if (is_log) assert_true(axis.min > 0);
        }
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (; (text = strstr(text, part)); text += strlen(part)) n++;
    return n;
}

static void test_plot(void **state) {
    iso_plot plot;
    iso_str out = {0};
    iso_axis x = {.min = 0, .max = 10, .label = "a < b", .unit = "s"};
    iso_axis y = {.min = 1, .max = 100, .is_log = true, .label = "y"};
    iso_plot_open(&plot, &out, "p", "Title & more", "Description", 400, 300, x, y);
    near(iso_plot_x(&plot, 0), plot.left);
    near(iso_plot_x(&plot, 10), plot.right);
    near(iso_plot_y(&plot, 10), 0.5 * (plot.top + plot.bottom));
    assert_true(plot.left > 0 && plot.right < 400 && plot.top > 0 && plot.bottom < 300);
    out.len = 0;
    /* I1: a hole in the data is a hole in the line. */
    iso_plot_line(&plot, "s1", (double[]){1, 2, 3, 4, 5}, (double[]){2, 3, NAN, 4, 5}, 5);
    assert_int_equal(count(out.data, "M"), 2);
    assert_int_equal(count(out.data, "L"), 2);
    out.len = 0;
    iso_plot_dot(&plot, "s1", 1, -3, 2, NULL); /* the logarithm of a negative number */
    assert_int_equal(out.len, 0);
    iso_plot_close(&plot);
    iso_str_release(&out);
}

/* I2 */
static void test_plot_is_described(void **state) {
    iso_plot plot;
    iso_str out = {0};
    iso_axis axis = {.min = 0, .max = 2e12, .label = "a < b", .unit = "FLOPs"};
    iso_plot_open(&plot, &out, "p", "Title & more", "Description", 400, 300, axis, axis);
    iso_plot_close(&plot);
    assert_non_null(strstr(out.data, "<title id=\"p-t\">Title &amp; more</title>"));
    assert_non_null(strstr(out.data, "<desc id=\"p-d\">Description</desc>"));
    assert_non_null(strstr(out.data, "role=\"img\""));
    /* Large numbers: the power of ten stands at the label, once. */
    assert_non_null(strstr(out.data, "a &lt; b (10\xc2\xb9\xc2\xb2 FLOPs)"));
    assert_non_null(strstr(out.data, ">0.5<"));
    iso_str_release(&out);
}

/* The labels of an axis: what stands below the plot. */
static void has_labels(iso_axis x, const char *const *expected, int n) {
    iso_plot plot;
    iso_str out = {0};
    iso_axis y = {.min = 0, .max = 1};
    iso_plot_open(&plot, &out, "p", "Title", "Description", 700, 300, x, y);
    iso_plot_close(&plot);
    for (int i = 0; i < n; i++)
        if (!strstr(out.data, expected[i])) fail_msg("no '%s' in %s", expected[i], out.data);
    iso_str_release(&out);
}

static void test_tick_labels(void **state) {
    /* Learning rates: a factor before the power, all alike. */
    has_labels((iso_axis){.min = 2.5e-4, .max = 2.4e-3, .is_log = true},
               (const char *const[]){">5\xc2\xb7"
                                     "10\xe2\x81\xbb\xe2\x81\xb4<",
                                     ">10\xe2\x81\xbb\xc2\xb3<",
                                     ">2\xc2\xb7"
                                     "10\xe2\x81\xbb\xc2\xb3<"},
               3);
    has_labels((iso_axis){.min = 2e4, .max = 9e5, .is_log = true},
               (const char *const[]){">5\xc2\xb7"
                                     "10\xe2\x81\xb4<",
                                     ">10\xe2\x81\xb5<"},
               2);
    /* Activation rates below a hundredth. */
    has_labels((iso_axis){.min = 0.004, .max = 0.3, .is_log = true, .style = ISO_AXIS_PERCENT},
               (const char *const[]){">0.5\xc2\xa0%<", ">1\xc2\xa0%<", ">10\xc2\xa0%<"}, 3);
    has_labels((iso_axis){.min = 0.012, .max = 0.06, .is_log = true, .style = ISO_AXIS_PERCENT},
               (const char *const[]){">1.5\xc2\xa0%<", ">2\xc2\xa0%<"}, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_ticks),
        cmocka_unit_test(test_log_ticks),
        cmocka_unit_test(test_ticks_everywhere),
        cmocka_unit_test(test_degenerate_axes),
        cmocka_unit_test(test_plot),
        cmocka_unit_test(test_plot_is_described),
        cmocka_unit_test(test_tick_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
