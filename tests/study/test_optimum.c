/* The optimum of a scan: figures worked out by an independent implementation (explicit inverses,
 * bisection, printed quantiles), and planted answers, found as often as stated. */
#include "study/optimum_say.h"
#include "study/planted.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 6

static void near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.15g is not within %g of %.15g", value, tolerance, expected);
}

static const double scores[N][3] = {{3.062, 3.070},  {3.041, 3.0465}, {3.0388, 3.0352, 3.0401},
                                    {3.050, 3.0462}, {3.0661, 3.071}, {3.0912, 3.0852}};
static const double dense_scores[2] = {3.1262, 3.1201};

typedef struct fixture {
    iso_scan_point points[N], level;
    double covariance[(N + 1) * (N + 1)];
    iso_scan scan;
} fixture;

static void fill(fixture *f) {
    static const double rates[N] = {0.1, 0.15, 0.22, 0.33, 0.45, 0.6};
    for (int i = 0; i < N; i++)
        f->points[i] = (iso_scan_point){log(rates[i]), scores[i], i == 2 ? 3 : 2, 0.0};
    f->level = (iso_scan_point){0.0, dense_scores, 2, 0.0};
    for (int i = 0; i <= N; i++)
        for (int j = 0; j <= N; j++) {
            double own = 0.001 * (1.0 + 0.1 * i);
            f->covariance[i * (N + 1) + j] = 0.9 * 0.002 * 0.002 + (i == j ? own * own : 0.0);
        }
    f->scan = (iso_scan){.points = f->points,
                         .n_points = N,
                         .level = &f->level,
                         .evaluation_covariance = f->covariance,
                         .evaluation_dof = 40.0};
}

static void test_reference(void **state) {
    fixture f;
    iso_scan_curve curve;
    fill(&f);
    assert_int_equal(iso_scan_curve_fit(&curve, &f.scan), ISO_OK);
    near(curve.seed_sd, 0.0038052868923818977, 1e-14);
    assert_true(curve.seed_dof == 8.0);
    assert_true(curve.inflation == 1.0);
    iso_scan_contrast contrast = iso_scan_value(&curve, 0.9 * curve.middle);
    iso_scan_estimate value = iso_scan_curve_estimate(&curve, &contrast);
    near(value.value, 3.0431240745105392, 1e-12);
    near(value.training, 0.0016613099293074939, 1e-12);
    near(value.evaluation, 0.0020801703242962471, 1e-12);
    near(value.shape, 0.00048952283504863641, 1e-12);
    iso_optimum o = iso_optimum_find(&curve);
    assert_int_equal(o.outcome, ISO_OPTIMUM_INSIDE);
    near(o.at, -1.5851938951971776, 1e-9);
    near(o.low, -1.6917608286643016, 1e-9);
    near(o.high, -1.4695129318389841, 1e-9);
    near(o.gap, 0.085096150401997583, 1e-12);
    near(o.gap_training, 0.0031790851329678593, 1e-10);
    near(o.gap_evaluation, 0.001803796655781598, 1e-10);
    near(o.gap_shape, 0.00037874842170263748, 1e-10);
    near(o.gap_half, 0.0112995835561008, 2e-5); /* the path's length: 64 steps against 4000 */
    assert_int_equal(o.gap_outcome, ISO_GAP_BETTER);
}

/* (I2), and a diagonal covariance is what each point's own standard error says. */
static void test_same_curve(void **state) {
    fixture f;
    double moved[N + 1][3], diagonal[(N + 1) * (N + 1)] = {0};
    iso_scan_curve a, b, c;
    fill(&f);
    for (int i = 0; i <= N; i++) {
        iso_scan_point *point = i < N ? &f.points[i] : &f.level;
        point->evaluation_se = 0.001 * (i + 1);
        diagonal[i * (N + 2)] = point->evaluation_se * point->evaluation_se;
    }
    f.scan.evaluation_covariance = NULL;
    assert_int_equal(iso_scan_curve_fit(&a, &f.scan), ISO_OK);
    f.scan.evaluation_covariance = diagonal;
    assert_int_equal(iso_scan_curve_fit(&b, &f.scan), ISO_OK);
    assert_memory_equal(&a, &b, sizeof a);
    for (int i = 0; i <= N; i++) {
        iso_scan_point *point = i < N ? &f.points[i] : &f.level;
        for (int64_t j = 0; j < point->n_seeds; j++) moved[i][j] = point->y[j] + 1000.0;
        point->y = moved[i];
    }
    assert_int_equal(iso_scan_curve_fit(&c, &f.scan), ISO_OK);
    iso_optimum before = iso_optimum_find(&a), after = iso_optimum_find(&c);
    near(after.at, before.at, 1e-8);
    near(after.high, before.high, 1e-8);
    near(after.value, before.value + 1000.0, 1e-9);
    near(after.gap_half, before.gap_half, 1e-9);
}

/* (I1): scatter that seeds don't explain widens the interval. */
static void test_scatter_widens(void **state) {
    fixture f;
    double jagged[N][2], smooth[N][2];
    iso_scan_curve a, b;
    fill(&f);
    f.scan.evaluation_covariance = NULL;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < 2; j++) {
            double v = f.points[i].x + 1.5;
            smooth[i][j] = 3.0 + 0.1 * v * v + (j ? 0.001 : -0.001);
            jagged[i][j] = smooth[i][j] + (i % 2 ? 0.02 : -0.02);
        }
    for (int i = 0; i < N; i++) f.points[i] = (iso_scan_point){f.points[i].x, smooth[i], 2, 0.0};
    assert_int_equal(iso_scan_curve_fit(&a, &f.scan), ISO_OK);
    assert_true(a.inflation == 1.0);
    for (int i = 0; i < N; i++) f.points[i].y = jagged[i];
    assert_int_equal(iso_scan_curve_fit(&b, &f.scan), ISO_OK);
    assert_true(b.inflation > 5.0);
    double half = iso_optimum_find(&b).gap_half;
    assert_true(half > 5.0 * iso_optimum_find(&a).gap_half);
    iso_scan_curve plain = b; /* what seeds move, by that factor; room for shape is had already */
    plain.inflation = 1.0;
    iso_scan_contrast slope = iso_scan_slope(&b, b.low);
    iso_scan_estimate grown = iso_scan_curve_estimate(&b, &slope);
    iso_scan_estimate kept = iso_scan_curve_estimate(&plain, &slope);
    near(grown.training, b.inflation * kept.training, 1e-9);
    near(grown.shape, kept.shape, 0.0);
    assert_true(b.training_dof < 8.0 && a.training_dof == a.seed_dof);
    assert_true(kept.shape > 0.0);
    /* A hard text is hard for all: it is no scatter, and cancels against dense. */
    for (int i = 0; i < (N + 1) * (N + 1); i++) f.covariance[i] = 0.01;
    f.scan.evaluation_covariance = f.covariance;
    assert_int_equal(iso_scan_curve_fit(&b, &f.scan), ISO_OK);
    near(iso_optimum_find(&b).gap_half, half, 1e-6);
}

/* Noise so small that what is found is what is planted: (x - 1)^2 scanned from 0 to 2, dense 0.25
 * above its lowest value, so crossing at 0.5 and 1.5. */
static void fit_parabola(iso_scan_curve *curve, double low, double high, double gap) {
    double y[7][2], level[2];
    iso_scan_point points[7], dense = {0.0, level, 2, 0.0};
    double lowest = pow(fmin(fmax(1.0, low), high) - 1.0, 2.0);
    for (int i = 0; i < 7; i++) {
        double x = low + (high - low) * i / 6.0;
        for (int j = 0; j < 2; j++) y[i][j] = (x - 1.0) * (x - 1.0) + (j ? 1e-6 : -1e-6);
        points[i] = (iso_scan_point){x, y[i], 2, 0.0};
    }
    for (int j = 0; j < 2; j++) level[j] = lowest + gap + (j ? 1e-6 : -1e-6);
    iso_scan scan = {.points = points, .n_points = 7, .level = &dense};
    assert_int_equal(iso_scan_curve_fit(curve, &scan), ISO_OK);
}

static void test_outcomes(void **state) {
    iso_scan_curve curve;
    fit_parabola(&curve, 0.0, 2.0, 0.25);
    iso_optimum o = iso_optimum_find(&curve);
    iso_region r = iso_region_find(&curve, &o);
    assert_int_equal(o.outcome, ISO_OPTIMUM_INSIDE);
    near(o.at, 1.0, 1e-4);
    near(o.gap, 0.25, 1e-5);
    assert_int_equal(r.low.kind, ISO_CROSSING_BETWEEN);
    assert_int_equal(r.high.kind, ISO_CROSSING_BETWEEN);
    near(r.low.at, 0.5, 1e-4);
    near(r.high.at, 1.5, 1e-4);
    assert_true(r.low.outer < 0.5 && r.low.inner > 0.5 && r.low.inner - r.low.outer < 1e-3);
    assert_true(r.high.inner < 1.5 && r.high.outer > 1.5);
    assert_true(r.worse_somewhere);

    fit_parabola(&curve, 1.2, 3.0, 0.25); /* the optimum below the scan: lowest at its begin */
    o = iso_optimum_find(&curve);
    r = iso_region_find(&curve, &o);
    assert_int_equal(o.outcome, ISO_OPTIMUM_AT_OR_BELOW);
    near(o.high, 1.2, 1e-9);
    assert_int_equal(r.low.kind, ISO_CROSSING_BEYOND);
    assert_int_equal(r.high.kind, ISO_CROSSING_BETWEEN);
    near(r.high.at, 1.0 + sqrt(0.04 + 0.25), 1e-4);

    fit_parabola(&curve, -1.0, 0.8, 0.25);
    o = iso_optimum_find(&curve);
    assert_int_equal(o.outcome, ISO_OPTIMUM_AT_OR_ABOVE);
    near(o.low, 0.8, 1e-9);

    fit_parabola(&curve, 0.0, 2.0, -0.25); /* dense is better everywhere */
    o = iso_optimum_find(&curve);
    r = iso_region_find(&curve, &o);
    assert_int_equal(o.gap_outcome, ISO_GAP_WORSE);
    assert_int_equal(r.low.kind, ISO_CROSSING_NONE);
    assert_true(r.worse_somewhere);

    fit_parabola(&curve, 0.0, 2.0, 3.0); /* the MoE is */
    o = iso_optimum_find(&curve);
    r = iso_region_find(&curve, &o);
    assert_int_equal(r.low.kind, ISO_CROSSING_BEYOND);
    assert_int_equal(r.high.kind, ISO_CROSSING_BEYOND);
    assert_false(r.worse_somewhere);
}

/* --- planted answers --- */

#define DRAWS 200

static iso_planted planted(iso_planted_shape shape, double rate, int64_t n_points, int64_t n_seeds,
                           double curvature) {
    return (iso_planted){.shape = shape,
                         .optimum = log(rate),
                         .curvature = curvature,
                         .gap = 0.05,
                         .low = log(0.08),
                         .high = log(0.6),
                         .n_points = n_points,
                         .n_seeds = n_seeds,
                         .n_level_seeds = n_seeds,
                         .seed_sd = 0.0038,
                         .evaluation_se = 0.001};
}

/* 95 % of 200 with binomial error: fewer than 180 come once in 900 times. */
#define AT_LEAST 180

static void test_coverage(void **state) {
    static const struct {
        iso_planted_shape shape;
        double rate;
        int64_t n_points, n_seeds;
        double curvature;
    } cases[] = {
        {ISO_PLANTED_QUADRATIC, 0.2, 5, 3, 0.1},  {ISO_PLANTED_ASYMMETRIC, 0.2, 5, 3, 0.1},
        {ISO_PLANTED_QUADRATIC, 0.2, 7, 2, 0.1},  {ISO_PLANTED_MILD, 0.2, 7, 2, 0.1},
        {ISO_PLANTED_ASYMMETRIC, 0.2, 7, 2, 0.1}, {ISO_PLANTED_ASYMMETRIC, 0.12, 7, 2, 0.1},
        {ISO_PLANTED_REVERSED, 0.2, 7, 2, 0.1},   {ISO_PLANTED_STEEP, 0.2, 9, 2, 0.1},
        {ISO_PLANTED_QUADRATIC, 0.08, 7, 2, 0.1}, {ISO_PLANTED_ASYMMETRIC, 0.05, 7, 2, 0.1},
        {ISO_PLANTED_LINE, 0.2, 7, 2, 0.1},       {ISO_PLANTED_FLAT, 0.2, 7, 2, 0.0},
        {ISO_PLANTED_QUADRATIC, 0.2, 6, 2, 0.03}, {ISO_PLANTED_ASYMMETRIC, 0.2, 6, 2, 0.03},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iso_planted p = planted(cases[i].shape, cases[i].rate, cases[i].n_points, cases[i].n_seeds,
                                cases[i].curvature);
        iso_planted_result r;
        assert_int_equal(iso_planted_run(&r, &p, 7, DRAWS), ISO_OK);
        if (r.covered < AT_LEAST || r.gap_covered < AT_LEAST || r.region_covered < AT_LEAST - 6)
            fail_msg("case %zu: of %d intervals %d hold the optimum, %d the gap, %d the region", i,
                     DRAWS, (int)r.covered, (int)r.gap_covered, (int)r.region_covered);
    }
}

/* Shapes that differ by more than their rate: their own level is 2.5 times their seeds' noise. The
 * excess is known from few points, and dense is such a shape, too. */
static void test_coverage_of_scatter(void **state) {
    static const iso_planted_shape shapes[] = {ISO_PLANTED_QUADRATIC, ISO_PLANTED_ASYMMETRIC};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int64_t n_points = 6; n_points <= 10; n_points += 4) {
            iso_planted p = planted(shapes[i], 0.2, n_points, 4, 0.17);
            iso_planted_result r;
            p.seed_sd = 0.0068;
            p.scatter_sd = 0.0085;
            assert_int_equal(iso_planted_run(&r, &p, 7, DRAWS), ISO_OK);
            if (r.covered < AT_LEAST || r.gap_covered < AT_LEAST)
                fail_msg("%d points: of %d intervals %d hold the optimum, %d the gap",
                         (int)n_points, DRAWS, (int)r.covered, (int)r.gap_covered);
        }
}

/* An interval of everything would cover, too. */
static void test_resolves(void **state) {
    iso_planted p = planted(ISO_PLANTED_ASYMMETRIC, 0.2, 7, 2, 0.1);
    iso_planted_result r;
    assert_int_equal(iso_planted_run(&r, &p, 7, DRAWS), ISO_OK);
    assert_true(r.outcomes[ISO_OPTIMUM_INSIDE] >= 190);
    assert_true(exp(r.width) < 1.3);
    assert_true(r.better == DRAWS);
    p = planted(ISO_PLANTED_ASYMMETRIC, 0.05, 7, 2, 0.1);
    assert_int_equal(iso_planted_run(&r, &p, 7, DRAWS), ISO_OK);
    assert_true(r.outcomes[ISO_OPTIMUM_AT_OR_BELOW] >= 190);
}

/* A/A: 5 % of 200 with binomial error; choosing the best rate must not raise it. */
static void test_false_alarms(void **state) {
    for (int64_t n_points = 5; n_points <= 9; n_points += 2) {
        iso_planted p = planted(ISO_PLANTED_FLAT, 0.2, n_points, 2, 0.0);
        iso_planted_result r;
        p.gap = 0.0;
        assert_int_equal(iso_planted_run(&r, &p, 11, DRAWS), ISO_OK);
        if (r.differs > 20)
            fail_msg("%d points: %d false alarms of %d", (int)n_points, (int)r.differs, DRAWS);
    }
}

/* --- refusals and words --- */

static void refused(const iso_scan *scan, iso_status status, const char *word) {
    iso_scan_curve curve;
    assert_int_equal(iso_scan_curve_fit(&curve, scan), status);
    if (!strstr(iso_error_message(), word))
        fail_msg("\"%s\" does not say \"%s\"", iso_error_message(), word);
}

static void test_refusals(void **state) {
    static const double same[2] = {3.0, 3.0}, bad[2] = {3.0, NAN};
    fixture f;
    fill(&f);
    f.scan.n_points = 2;
    refused(&f.scan, ISO_ERR_USAGE, "3 to 32 points");
    fill(&f);
    for (int i = 0; i < N; i++) f.points[i].n_seeds = 1;
    f.level.n_seeds = 1;
    refused(&f.scan, ISO_ERR_USAGE, "second seed");
    f.scan.other_noise = (iso_pooled){1e-5, 3.0, 1};
    iso_scan_curve curve;
    assert_int_equal(iso_scan_curve_fit(&curve, &f.scan), ISO_OK);
    near(curve.seed_sd, sqrt(1e-5 / 3.0), 1e-15);
    fill(&f);
    f.points[3].x = f.points[2].x;
    refused(&f.scan, ISO_ERR_DATA, "point 4");
    fill(&f);
    f.points[1].y = bad;
    refused(&f.scan, ISO_ERR_DATA, "point 2");
    fill(&f);
    for (int i = 0; i < N; i++) f.points[i] = (iso_scan_point){f.points[i].x, same, 2, 0.0};
    f.level.y = same;
    refused(&f.scan, ISO_ERR_DATA, "the same run");
    fill(&f);
    f.covariance[0] = -1.0;
    refused(&f.scan, ISO_ERR_DATA, "covariance");
}

static void says(char *text, const char *expected) {
    assert_string_equal(text, expected);
    free(text);
}

#define SCAN                                                                                       \
    "6 rates from 10\u00a0% to 60\u00a0%, 15 runs, seed noise 0.0038 on 8 degrees of freedom)."

static void test_words(void **state) {
    fixture f;
    iso_scan_curve curve;
    fill(&f);
    assert_int_equal(iso_scan_curve_fit(&curve, &f.scan), ISO_OK);
    iso_optimum o = iso_optimum_find(&curve);
    iso_region r = iso_region_find(&curve, &o);
    says(
        iso_optimum_say(&curve, &o),
        "The best activation rate is 20\u00a0%, between 18\u00a0% and 23\u00a0% (95\u00a0%; " SCAN);
    says(iso_optimum_say_gap(&curve, &o),
         "At 20\u00a0% activation, where the fitted curve is lowest, the MoE is better than dense "
         "by 0.085 \u00b1 0.011 bits per character (95\u00a0% for all rates of the scan at once; "
         "standard errors: training 0.0032, evaluation 0.0018, the curve's shape 0.00038; " SCAN);
    says(iso_region_say(&curve, &r),
         "The MoE is better than dense at activation rates from 10\u00a0%, where the scan begins, "
         "to 60\u00a0%, where it ends (95\u00a0% for each end; " SCAN);
    o.outcome = ISO_OPTIMUM_UNRESOLVED;
    says(iso_optimum_say(&curve, &o), "Not resolved at this size: the scan doesn't say which "
                                      "activation rate is best (95\u00a0%; " SCAN);
    o.outcome = ISO_OPTIMUM_AT_OR_BELOW;
    o.high = log(0.12);
    says(iso_optimum_say(&curve, &o), "The best activation rate is at or below 12\u00a0%; the scan "
                                      "doesn't bound it from below (95\u00a0%; " SCAN);
    o.gap_outcome = ISO_GAP_UNRESOLVED;
    o.gap = -0.004;
    char *text = iso_optimum_say_gap(&curve, &o);
    assert_non_null(strstr(text, "Not resolved at this size: at 20\u00a0% activation"));
    assert_non_null(strstr(text, "0.004 bits per character higher (worse) than dense, within the "
                                 "noise of \u00b10.011"));
    free(text);
}

static void test_plan_words(void **state) {
    iso_planted p = planted(ISO_PLANTED_ASYMMETRIC, 0.2, 7, 2, 0.1);
    iso_planted_result r = {
        .draws = 200, .outcomes = {190, 8, 1, 1}, .width = log(1.254), .better = 150};
    says(
        iso_planted_say(&p, &r),
        "Of 200 planted scans of 7 rates with 2 seeds, best at 20\u00a0%, 95\u00a0% bound the best "
        "rate on both sides (half of them to less than a factor of 1.25), 4\u00a0% on one, and "
        "75\u00a0% find the MoE's lead of 0.05 bits per character over dense there.");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),      cmocka_unit_test(test_same_curve),
        cmocka_unit_test(test_scatter_widens), cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_coverage),       cmocka_unit_test(test_coverage_of_scatter),
        cmocka_unit_test(test_resolves),       cmocka_unit_test(test_false_alarms),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_words),
        cmocka_unit_test(test_plan_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
