/* What a plan can tell apart: noise read from runs says of their own difference what the report
 * says, evaluation noise falls with the root of the text, and the paper's gap is expected at its
 * size only. */
#include "make_runs.h"
#include "study/answer.h"
#include "study/study_power.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/temp_dir.h"
#include "paper/paper_runs.h"

static void near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.12g is not within %g of %.12g", value, tolerance, expected);
}

static void test_noise(void **state) {
    static const made_run runs[] = {
        {.name = "dense-s1", .level = 2.130, .seed = 1},
        {.name = "dense-s2", .level = 2.136, .seed = 2},
        {.name = "b-s1", .n_used = 3, .level = 2.095, .seed = 1},
        {.name = "b-s2", .n_used = 3, .level = 2.099, .seed = 2},
    };
    char *dirs[4];
    iso_study_noise noise;
    iso_sides sides;
    for (int i = 0; i < 4; i++) dirs[i] = make_run(*state, &runs[i]);
    assert_int_equal(iso_study_noise_read(&noise, (const char *const *)dirs, 4), ISO_OK);
    assert_int_equal(iso_sides_open(&sides, (const char *const *)dirs, 4), ISO_OK);
    iso_pooled pooled = iso_sides_seed_noise(&sides);
    near(noise.seed_sd, iso_pooled_sd(&pooled), 1e-15);
    near(noise.seed_dof, 2.0, 0.0);
    assert_int_equal(noise.n_pairs, 1);
    /* Two named domains of 240 windows each: the law gives back what was measured. */
    iso_gap gap = iso_gap_estimate(&sides.sides[0], &sides.sides[1], &pooled);
    double chars = 0.0, se = gap.evaluation_half / iso_t_95(gap.evaluation_dof);
    for (int i = 0; i < 240; i++) chars += 256 - i % 3;
    near(noise.text_sd * sqrt(2.0 / chars) / 2.0, se, 1e-9);
    assert_int_equal(iso_study_noise_read(&noise, (const char *const *)dirs, 1), ISO_OK);
    assert_true(isnan(noise.seed_sd) && isnan(noise.text_sd));
    for (int i = 0; i < 4; i++) free(dirs[i]);
    iso_sides_close(&sides);
}

static void test_evaluation(void **state) {
    (void)state;
    iso_study_run run = {.config = iso_config_default()};
    iso_study_plan plan = {.n_runs = 1, .runs = &run};
    double se;
    run.config.train.final_eval_tokens = 10000;
    assert_int_equal(iso_study_evaluation_se(&se, &plan, 2.0), ISO_OK);
    near(se, 0.02, 1e-15);
    run.config.train.final_eval_tokens = 40000;
    assert_int_equal(iso_study_evaluation_se(&se, &plan, 2.0), ISO_OK);
    near(se, 0.01, 1e-15);
    run.config.train.final_eval_tokens = ISO_EVAL_TOKENS_ALL;
    assert_int_equal(iso_study_evaluation_se(&se, &plan, 2.0), ISO_OK);
    assert_true(isnan(se));
    strcpy(run.config.data.dir, "no-such-folder");
    assert_int_not_equal(iso_study_evaluation_se(&se, &plan, 2.0), ISO_OK);
}

static iso_study_run run_of(const iso_paper_run *paper) {
    iso_study_run run = {.config = iso_config_default()};
    run.config.model = paper->shape;
    run.config.train.batch_size = paper->batch_sequences;
    run.config.train.steps = paper->iterations;
    run.config.train.lr = paper->lr;
    run.config.data.unique_tokens = paper->unique_tokens;
    run.activation_rate = paper->activation_rate;
    run.flops = (double)paper->train_flops_per_token * (double)paper->tokens;
    return run;
}

static void test_expected(void **state) {
    (void)state;
    iso_paper_run paper[ISO_PAPER_N_RUNS];
    iso_study_run runs[3];
    iso_study_plan plan = {.n_runs = 3, .runs = runs};
    double gap;
    assert_int_equal(iso_paper_runs(paper), ISO_OK);
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++) {
        if (paper[i].table == 14 && paper[i].row == 1) runs[0] = run_of(&paper[i]);
        if (paper[i].table == 10 && paper[i].row == 2) runs[1] = run_of(&paper[i]); /* 11 % */
        if (paper[i].table == 10 && paper[i].row == 7) runs[2] = run_of(&paper[i]); /* 20 % */
    }
    assert_int_equal(iso_study_expected_gap(&gap, &plan), ISO_OK);
    near(gap, 0.0064, 0.003); /* as it found: docs/gap_law.md has the law's errors */
    plan.n_runs = 1;          /* no MoE */
    assert_int_equal(iso_study_expected_gap(&gap, &plan), ISO_OK);
    assert_true(isnan(gap));
    plan.n_runs = 3;
    for (int i = 0; i < 3; i++) runs[i].config.model.num_hidden_layers = 2; /* not its size */
    assert_int_equal(iso_study_expected_gap(&gap, &plan), ISO_OK);
    assert_true(isnan(gap));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_noise, temp_dir_setup, temp_dir_teardown),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
