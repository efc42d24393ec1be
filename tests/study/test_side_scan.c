/* From run folders to a scan and its optimum: which sides are taken, and that covariances over
 * blocks say of two sides' difference what the paired test says. */
#include "make_runs.h"
#include "study/answer.h"
#include "study/optimum_say.h"
#include "study/side_scan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/temp_dir.h"

#define MAX_RUNS 16

typedef struct opened {
    iso_sides sides;
    char *dirs[MAX_RUNS];
    int n;
} opened;

static void open_runs(opened *o, const char *dir, const made_run *runs, int n) {
    *o = (opened){.n = n};
    for (int i = 0; i < n; i++) o->dirs[i] = make_run(dir, &runs[i]);
    if (iso_sides_open(&o->sides, (const char *const *)o->dirs, n) != ISO_OK)
        fail_msg("%s", iso_error_message());
}

static void close_runs(opened *o) {
    for (int i = 0; i < o->n; i++) free(o->dirs[i]);
    iso_sides_close(&o->sides);
}

static void near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.12g is not within %g of %.12g", value, tolerance, expected);
}

static const made_run scan_runs[] = {
    {.name = "dense-s1", .level = 2.131, .seed = 1},
    {.name = "dense-s2", .level = 2.135, .seed = 2},
    {.name = "a-s1", .n_used = 2, .level = 2.0993, .seed = 1},
    {.name = "a-s2", .n_used = 2, .level = 2.0973, .seed = 2},
    {.name = "b-s1", .n_used = 3, .level = 2.0934, .seed = 1},
    {.name = "b-s2", .n_used = 3, .level = 2.0944, .seed = 2},
    {.name = "b-lr", .n_used = 3, .level = 2.080, .seed = 1, .lr = 0.004}, /* one seed, same rate */
    {.name = "c-s1", .n_used = 5, .level = 2.0949, .seed = 1},
    {.name = "c-s2", .n_used = 5, .level = 2.0979, .seed = 2},
    {.name = "d-s1", .n_used = 11, .level = 2.138, .seed = 1},
    {.name = "d-s2", .n_used = 11, .level = 2.134, .seed = 2},
};
#define N_SCAN (int)(sizeof scan_runs / sizeof *scan_runs)

static void test_scan(void **state) {
    opened o;
    iso_side_scan s;
    open_runs(&o, *state, scan_runs, N_SCAN);
    assert_int_equal(iso_side_scan_make(&s, &o.sides), ISO_OK);
    assert_int_equal(s.scan.n_points, 4);
    assert_false(s.dense->is_moe);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(s.points[i].n_seeds, 2); /* of 21 %, the side with two seeds */
        near(s.points[i].x, log(s.moes[i]->activation_rate), 1e-15);
    }
    iso_pooled noise = iso_sides_seed_noise(&o.sides);
    double fewest = INFINITY;
    for (int i = 0; i < 4; i++) {
        iso_gap gap = iso_gap_estimate(s.dense, s.moes[i], &noise);
        double se = gap.evaluation_half / iso_t_95(gap.evaluation_dof);
        double variance =
            s.covariance[i * 5 + i] + s.covariance[24] - 2.0 * s.covariance[i * 5 + 4];
        near(variance, se * se, 1e-9 * se * se);
        fewest = fmin(fewest, gap.evaluation_dof);
        /* The text's own difficulty is common to all: far more than they differ by. */
        assert_true(s.covariance[i * 5 + i] > 50.0 * variance);
    }
    near(s.scan.evaluation_dof, fewest, 1e-6 * fewest);
    iso_scan_curve curve;
    assert_int_equal(iso_scan_curve_fit(&curve, &s.scan), ISO_OK);
    iso_optimum optimum = iso_optimum_find(&curve);
    assert_int_equal(optimum.gap_outcome, ISO_GAP_BETTER);
    assert_true(exp(optimum.at) > 0.19 && exp(optimum.at) < 0.33);
    assert_true(optimum.gap_evaluation < 0.005); /* not the text's difficulty */
    char *text = iso_optimum_say(&curve, &optimum);
    assert_non_null(strstr(text, "The best activation rate is "));
    assert_non_null(strstr(text, "4 rates from 18\xc2\xa0% to 50\xc2\xa0%, 10 runs"));
    free(text);
    iso_side_scan_release(&s);
    close_runs(&o);
}

static void refused(const char *dir, const made_run *runs, int n, iso_status status,
                    const char *word) {
    opened o;
    iso_side_scan s;
    open_runs(&o, dir, runs, n);
    assert_int_equal(iso_side_scan_make(&s, &o.sides), status);
    if (!strstr(iso_error_message(), word))
        fail_msg("\"%s\" does not say \"%s\"", iso_error_message(), word);
    close_runs(&o);
}

static void test_refusals(void **state) {
    refused(*state, scan_runs, 2, ISO_ERR_USAGE, "there is no MoE");
    refused(*state, scan_runs + 2, 4, ISO_ERR_USAGE, "there is no dense one");
    const made_run other[] = {
        {.name = "x", .level = 2.1, .seed = 1},
        {.name = "y", .n_used = 3, .level = 2.1, .seed = 1, .without_evaluation = true}};
    refused(*state, other, 2, ISO_ERR_DATA, "cannot be paired");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scan, temp_dir_setup, temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_refusals, temp_dir_setup, temp_dir_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
