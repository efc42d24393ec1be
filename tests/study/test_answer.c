/* Grouping into sides, the statistics of a gap against numbers worked out by hand, and the sentence
 * in every situation. */
#include "make_runs.h"
#include "study/answer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/temp_dir.h"

#define MAX_RUNS    24
#define MAX_WINDOWS 1000

static void near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.12g is not within %g of %.12g", value, tolerance, expected);
}

/* --- gaps of sides made up in memory --- */

/* One domain's windows: `document[i]` = i / per_document, one character each. */
typedef struct windows {
    int64_t document[MAX_WINDOWS], chars[MAX_WINDOWS];
    double nats[MAX_WINDOWS];
} windows;

static iso_window_scores score(windows *w, const char *domain, int64_t n, int64_t per_document,
                               double bits, double bits_step) {
    for (int64_t i = 0; i < n; i++) {
        w->document[i] = i / per_document;
        w->chars[i] = 1;
        w->nats[i] = (bits + bits_step * (double)i) * log(2.0);
    }
    return (iso_window_scores){domain, n, w->document, w->nats, w->chars, w->chars};
}

/* A side of one run with these domains. */
typedef struct one_side {
    iso_evaluation evaluation;
    iso_side_run run;
    const iso_side_run *runs[1];
    double bpc[1];
    iso_side side;
} one_side;

static void make_side(one_side *s, const iso_window_scores *domains, int64_t n_domains, double bpc,
                      const char *hash) {
    *s = (one_side){.evaluation = {1, hash, n_domains, domains}, .bpc = {bpc}};
    s->run.run.evaluation = domains ? &s->evaluation : NULL;
    s->runs[0] = &s->run;
    s->side = (iso_side){.n_runs = 1, .runs = s->runs, .bpc = s->bpc, .mean_bpc = bpc};
}

static int64_t blocks_of(int64_t n_windows, int64_t per_document) {
    windows a, b;
    one_side first, second;
    iso_window_scores x = score(&a, "d", n_windows, per_document, 2.0, 0.0);
    iso_window_scores y = score(&b, "d", n_windows, per_document, 1.5, 0.0);
    make_side(&first, &x, 1, 2.0, "h");
    make_side(&second, &y, 1, 1.5, "h");
    iso_ratio ratio = iso_gap_domain(&first.side, &second.side, "d");
    near(ratio.value, 0.5, 1e-12);
    if (ratio.n > 1) near(ratio.se, 0.0, 1e-12);
    return ratio.n;
}

/* Documents from 30 on; below, runs of at most 16 windows that never span two documents. */
static void test_blocks(void **state) {
    assert_int_equal(blocks_of(30 * 20, 20), 30);
    assert_int_equal(blocks_of(29 * 20, 20), 58);
    assert_int_equal(blocks_of(40, 40), 3);
    assert_int_equal(blocks_of(40, 20), 4);
    assert_int_equal(blocks_of(16, 16), 1);
}

/* Two domains of two blocks. Domain 1: differences per block 16 x .1 and 16 x .3 over 16 characters
 * each: ratio .2, se = sqrt(2/1 * 2 * 1.6^2) / 32 = .1; domain 2: .2 throughout, se 0. So
 * SE = .1/2 = .05 on 1 degree of freedom. The hold-out, however noisy, stays out. */
static void test_evaluation_noise(void **state) {
    windows w[6];
    iso_window_scores x[3] = {score(&w[0], "a", 32, 16, 2.1, 0), score(&w[1], "b", 32, 16, 2.2, 0),
                              score(&w[2], "holdout", 32, 16, 5, 1)};
    iso_window_scores y[3] = {score(&w[3], "a", 32, 16, 2, 0), score(&w[4], "b", 32, 16, 2, 0),
                              score(&w[5], "holdout", 32, 16, 1, 0)};
    for (int i = 16; i < 32; i++) w[0].nats[i] = 2.3 * log(2.0);
    one_side first, second;
    make_side(&first, x, 3, 2.2, "h");
    make_side(&second, y, 3, 2.0, "h");
    iso_pooled noise = {0};
    iso_gap gap = iso_gap_estimate(&first.side, &second.side, &noise);
    near(gap.bpc, 0.2, 1e-12);
    near(gap.evaluation_dof, 1.0, 1e-9);
    near(gap.evaluation_half, 12.7062047364 * 0.05, 1e-9);
    /* Nothing is known of training noise: so nothing is resolved. */
    assert_true(isnan(gap.training_half) && isnan(gap.half) && !gap.resolved);
}

static void test_unpaired(void **state) {
    windows a, b;
    iso_window_scores x = score(&a, "d", 32, 4, 2, 0), y = score(&b, "d", 32, 4, 1, 0);
    one_side first, second;
    make_side(&first, &x, 1, 2, "h");
    make_side(&second, &y, 1, 1, "another");
    assert_true(isnan(iso_gap_domain(&first.side, &second.side, "d").value));
    make_side(&second, &y, 1, 1, "h");
    assert_false(isnan(iso_gap_domain(&first.side, &second.side, "d").value));
    assert_true(isnan(iso_gap_domain(&first.side, &second.side, "e").value));
    y.n_windows = 31;
    assert_true(isnan(iso_gap_domain(&first.side, &second.side, "d").value));
    make_side(&second, NULL, 0, 1, "h");
    iso_pooled noise = {.sum_squares = 1e-9, .dof = 5, .n_groups = 1};
    iso_gap gap = iso_gap_estimate(&first.side, &second.side, &noise);
    assert_true(isnan(gap.evaluation_half) && !gap.resolved);
}

/* Seeds {2.10, 2.14} and {2.05, 2.07}: s^2 = (.0008 + .0002) / 2, SE = s sqrt(1/2 + 1/2), t(2). The
 * text is the same for all, so that evaluation adds nothing. */
static void test_training_noise(void **state) {
    windows a, b;
    iso_window_scores x = score(&a, "d", 60, 2, 2.12, 0), y = score(&b, "d", 60, 2, 2.06, 0);
    one_side first, second;
    make_side(&first, &x, 1, 2.12, "h");
    make_side(&second, &y, 1, 2.06, "h");
    const iso_side_run *two[] = {&first.run, &first.run}, *other[] = {&second.run, &second.run};
    double bpc[] = {2.10, 2.14}, other_bpc[] = {2.05, 2.07};
    iso_side pair[] = {{.n_runs = 2, .runs = two, .bpc = bpc, .mean_bpc = 2.12},
                       {.n_runs = 2, .runs = other, .bpc = other_bpc, .mean_bpc = 2.06}};
    iso_sides sides = {.n = 2, .sides = pair};
    iso_pooled noise = iso_sides_seed_noise(&sides);
    iso_gap gap = iso_gap_estimate(&pair[0], &pair[1], &noise);
    near(gap.training_half, 4.30265272991 * sqrt(0.0005), 1e-9);
    near(gap.half, gap.training_half, 1e-9);
    assert_false(gap.resolved);
    noise.sum_squares /= 100; /* a tenth of the spread: .06 > .0096 */
    assert_true(iso_gap_estimate(&pair[0], &pair[1], &noise).resolved);
}

/* --- answers from run folders --- */

typedef struct answered {
    iso_sides sides;
    iso_answer answer;
    char *sentence, *paper, *rates;
    char *dirs[MAX_RUNS];
    int n;
} answered;

static void ask(answered *a, const char *dir, const made_run *runs, int n) {
    *a = (answered){.n = n};
    for (int i = 0; i < n; i++) a->dirs[i] = make_run(dir, &runs[i]);
    iso_status status = iso_sides_open(&a->sides, (const char *const *)a->dirs, n);
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
    a->answer = iso_answer_make(&a->sides);
    a->sentence = iso_answer_sentence(&a->answer);
    a->paper = iso_answer_against_paper(&a->answer);
    a->rates = iso_answer_other_rates(&a->answer);
}

static void forget(answered *a) {
    free(a->sentence);
    free(a->paper);
    free(a->rates);
    for (int i = 0; i < a->n; i++) free(a->dirs[i]);
    iso_sides_close(&a->sides);
}

static void says(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void test_moe_better(void **state) {
    const made_run runs[] = {{.name = "dense-s1", .level = 2.131, .seed = 1},
                             {.name = "dense-s2", .level = 2.133, .seed = 2},
                             {.name = "moe-s1", .n_used = 3, .level = 2.091, .seed = 1},
                             {.name = "moe-s2", .n_used = 3, .level = 2.092, .seed = 2}};
    answered a;
    ask(&a, *state, runs, 4);
    assert_int_equal(a.answer.outcome, ISO_OUTCOME_MOE_BETTER);
    assert_int_equal(a.sides.n, 2);
    assert_string_equal(a.sides.sides[0].label, "dense");
    assert_string_equal(a.sides.sides[1].label, "moe");
    assert_int_equal(a.sides.sides[1].n_runs, 2);
    says(a.sentence, "At equal N (452k parameters)");
    says(a.sentence, "data (1.64M unique tokens)");
    says(a.sentence, "the MoE at 21\xc2\xa0% activation is better than dense by 0.0");
    says(a.sentence, "training noise \xc2\xb1");
    says(a.sentence, "from 4 seeds of 2 configurations; evaluation noise \xc2\xb1");
    says(a.paper, "the direction here is the same");
    assert_string_equal(a.rates, "");
    forget(&a);
}

static void test_dense_better(void **state) {
    const made_run runs[] = {{.name = "dense-s1", .level = 2.031, .seed = 1},
                             {.name = "dense-s2", .level = 2.032, .seed = 2},
                             {.name = "moe", .n_used = 3, .level = 2.091, .seed = 1}};
    answered a;
    ask(&a, *state, runs, 3);
    assert_int_equal(a.answer.outcome, ISO_OUTCOME_DENSE_BETTER);
    says(a.sentence, "dense is better than the MoE at 21\xc2\xa0% activation by 0.0");
    says(a.sentence, "from 2 seeds of 1 configuration; evaluation noise");
    says(a.paper, "This outcome differs from the paper's.");
    forget(&a);
}

static void test_not_resolved(void **state) {
    const made_run runs[] = {{.name = "dense-s1", .level = 2.10, .seed = 1},
                             {.name = "dense-s2", .level = 2.13, .seed = 2},
                             {.name = "moe", .n_used = 3, .level = 2.11, .seed = 1}};
    answered a;
    ask(&a, *state, runs, 3);
    assert_int_equal(a.answer.outcome, ISO_OUTCOME_NOT_RESOLVED);
    says(a.sentence, "Not resolved at this size: at equal N");
    says(a.sentence, "within the noise of \xc2\xb1");
    says(a.paper, "neither confirms nor contradicts");
    forget(&a);
    /* One seed each: the largest gap proves nothing. */
    const made_run single[] = {{.name = "dense-s1", .level = 2.90, .seed = 1},
                               {.name = "moe", .n_used = 3, .level = 2.11, .seed = 1}};
    ask(&a, *state, single, 2);
    assert_int_equal(a.answer.outcome, ISO_OUTCOME_NOT_RESOLVED);
    says(a.sentence, "no configuration was trained with two seeds");
    says(a.sentence, "training noise unknown; evaluation noise \xc2\xb1");
    forget(&a);
}

static void test_unpaired_is_not_resolved(void **state) {
    const made_run runs[] = {
        {.name = "dense-s1", .level = 2.90, .seed = 1},
        {.name = "dense-s2", .level = 2.901, .seed = 2},
        {.name = "moe", .n_used = 3, .level = 2.11, .seed = 1, .without_evaluation = true}};
    answered a;
    ask(&a, *state, runs, 3);
    assert_int_equal(a.answer.outcome, ISO_OUTCOME_NOT_RESOLVED);
    says(a.sentence, "cannot be paired window by window");
    says(a.sentence, "evaluation noise unknown");
    forget(&a);
}

static void test_missing_sides(void **state) {
    static const struct {
        made_run run;
        const char *says;
    } cases[] = {
        {{.name = "a", .level = 2, .seed = 1}, "no finished MoE run"},
        {{.name = "b", .level = 2, .seed = 1, .n_used = 3}, "no finished dense run"},
        {{.name = "c", .level = 2, .seed = 1, .state = "failed"}, "the run given has not finished"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        answered a;
        ask(&a, *state, &cases[i].run, 1);
        assert_int_equal(a.answer.outcome, ISO_OUTCOME_NO_COMPARISON);
        says(a.sentence, "No comparison: ");
        says(a.sentence, cases[i].says);
        assert_string_equal(a.paper, "");
        assert_string_equal(a.rates, "");
        forget(&a);
    }
}

/* The audit has the last word: a gap of any size between unequal runs is no answer. */
static void test_not_equal(void **state) {
    static const struct {
        made_run moe;
        const char *says;
    } cases[] = {
        {{.name = "n", .level = 1.5, .seed = 1, .n_used = 3, .n_extra = 1},
         "differ in parameters N: 459936 against 451872 (+1.785 %, tolerance 0.5 %)"},
        {{.name = "c", .level = 1.5, .seed = 1, .n_used = 3, .n_steps = 500},
         "differ in compute C: "},
        {{.name = "d", .level = 1.5, .seed = 1, .n_used = 3, .subset_hash = "ffff"},
         "differ in unique subset: ffff against 0123456789ab"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const made_run runs[] = {{.name = "dense-s1", .level = 2.9, .seed = 1},
                                 {.name = "dense-s2", .level = 2.9, .seed = 2},
                                 cases[i].moe};
        answered a;
        ask(&a, *state, runs, 3);
        assert_int_equal(a.answer.outcome, ISO_OUTCOME_NO_COMPARISON);
        says(a.sentence, "the runs are not equal");
        says(a.sentence, cases[i].says);
        forget(&a);
    }
}

/* The headline is the MoE nearest to 20 %, also when another is better. */
static void test_headline_is_fixed(void **state) {
    const made_run runs[] = {{.name = "dense-s1", .level = 2.131, .seed = 1},
                             {.name = "dense-s2", .level = 2.133, .seed = 2},
                             {.name = "moe50", .n_used = 11, .level = 2.02, .seed = 1},
                             {.name = "moe21", .n_used = 3, .level = 2.091, .seed = 1},
                             {.name = "moe29", .n_used = 5, .level = 2.094, .seed = 1}};
    answered a;
    ask(&a, *state, runs, 5);
    assert_string_equal(a.answer.moe->label, "moe21");
    assert_string_equal(a.answer.best->label, "moe50");
    says(a.sentence, "the MoE at 21\xc2\xa0% activation");
    says(a.rates, "Of the 3 MoEs trained, the lowest BPC is at 50\xc2\xa0% activation");
    says(a.rates, "not where the paper has its best");
    says(a.rates, "Only the test at 21\xc2\xa0% was fixed in advance");
    forget(&a);
}

/* A second learning rate is another configuration; the same seed twice is no second seed. */
static void test_grouping(void **state) {
    const made_run runs[] = {
        {.name = "dense", .level = 2.131, .seed = 2},
        {.name = "dense-s1", .level = 2.133, .seed = 1},
        {.name = "dense-again", .level = 2.133, .seed = 1},
        {.name = "dense-lr", .level = 2.0, .seed = 1, .lr = 0.004},
        {.name = "moe", .n_used = 3, .level = 2.09, .seed = 1},
        {.name = "moe-stopped", .n_used = 3, .level = 2.09, .seed = 2, .state = "preempted"}};
    answered a;
    ask(&a, *state, runs, 6);
    assert_int_equal(a.sides.n, 3);
    assert_int_equal(a.sides.sides[0].n_runs, 2);
    assert_int_equal(a.sides.sides[0].runs[0]->seed, 1);
    says(a.sides.runs[2].excluded, "same configuration and seeds as ");
    says(a.sides.runs[5].excluded, "preempted at step ");
    /* More seeds count before a lower score. */
    assert_int_equal(a.answer.dense->n_runs, 2);
    assert_int_equal(a.sides.audit->n_sides, 4);
    forget(&a);
}

static void test_no_run_folder(void **state) {
    const char *dirs[] = {"/nonexistent/run"};
    iso_sides sides;
    assert_int_not_equal(iso_sides_open(&sides, dirs, 1), ISO_OK);
    assert_int_equal(iso_sides_open(&sides, dirs, 0), ISO_ERR_USAGE);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_evaluation_noise),
        cmocka_unit_test(test_unpaired),
        cmocka_unit_test(test_training_noise),
        WITH_DIR(test_moe_better),
        WITH_DIR(test_dense_better),
        WITH_DIR(test_not_resolved),
        WITH_DIR(test_unpaired_is_not_resolved),
        WITH_DIR(test_missing_sides),
        WITH_DIR(test_not_equal),
        WITH_DIR(test_headline_is_fixed),
        WITH_DIR(test_grouping),
        cmocka_unit_test(test_no_run_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
