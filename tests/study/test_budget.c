/* Plans: every pair and triple of N, C and D, the invariants of budget.h, every refusal. */
#include "study/budget.h"

#include "study/budget_folder.h"
#include "study/budget_json.h"
#include "study/gap_rows.h"
#include "temp_dir.h"
#include "train/dry_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static iso_budget *make(const iso_budget_goal *goal) {
    iso_budget *b = NULL;
    if (iso_budget_create(&b, goal) != ISO_OK) fail_msg("%s", iso_error_message());
    return b;
}

static void assert_near(double value, double expected, double relative) {
    if (!(fabs(value / expected - 1.0) <= relative))
        fail_msg("%.12g, expected %.12g to %g", value, expected, relative);
}

static iso_budget_goal small_goal(void) {
    iso_budget_goal goal = iso_budget_goal_default();
    goal.params = 2000000;
    goal.text_tokens = 20000000;
    return goal;
}

/* (I1) in 128 bits, (I2), N and r_a: what every plan promises. */
static void check_plan(const iso_budget *b) {
    const iso_budget_model *dense = &b->models[0];
    __int128 reference = (__int128)dense->plan.counts.train_flops_per_token * dense->tokens;
    for (int64_t i = 0; i < b->n_models; i++) {
        const iso_budget_model *m = &b->models[i];
        iso_counts counts;
        assert_int_equal(iso_count(&counts, &m->config.model, ISO_CONVENTION_PAPER), ISO_OK);
        assert_near((double)counts.params_nonvocab, (double)b->params, 1e-3);
        assert_int_equal(m->tokens, iso_config_tokens(&m->config));
        __int128 step =
            (__int128)counts.train_flops_per_token * iso_config_batch_tokens(&m->config);
        __int128 off = (__int128)counts.train_flops_per_token * m->tokens - reference;
        assert_true(2 * off <= step && -2 * off <= step);
        if (i > 0) assert_true(fabs(m->plan.rate_error) <= 0.0501);
        iso_config again = m->config;
        assert_int_equal(iso_config_resolve(&again, NULL), ISO_OK);
        assert_memory_equal(&again.train, &m->config.train, sizeof again.train);
        assert_true(m->config.data.unique_tokens >= 1 && m->config.data.unique_tokens <= m->tokens);
        assert_int_equal(m->config.train.batch_size % m->config.model.router_aux_group, 0);
        assert_near(m->epochs_strict, (double)m->tokens / (double)b->unique_tokens, 1e-12);
        assert_true(m->memory.training == m->memory.state.sum + m->memory.activations);
        assert_true(m->memory.activations > 0);
        for (int64_t j = 0; j < i; j++) assert_string_not_equal(m->name, b->models[j].name);
    }
    assert_string_equal(dense->name, "dense");
}

static void params_and_data(void **state) {
    iso_budget_goal goal = small_goal();
    iso_budget *b = make(&goal);
    check_plan(b);
    const iso_budget_model *dense = &b->models[0];
    assert_true(b->flops_solved && !b->params_solved && !b->data_solved);
    /* The baseline sees the text once and no sequence twice. */
    assert_true(dense->tokens <= 20000000 && dense->tokens > 19500000);
    assert_int_equal(b->unique_tokens, dense->tokens);
    assert_true(b->unique_by == ISO_BUDGET_BY_DENSE);
    assert_int_equal(b->n_models, 7);
    assert_string_equal(b->models[3].name, "moe-20");
    assert_true(isnan(dense->seconds));
    iso_budget_free(b);
}

static void params_and_compute(void **state) {
    iso_budget_goal goal = small_goal();
    goal.text_tokens = 0;
    goal.compute.flops = 3e14;
    iso_budget *b = make(&goal);
    check_plan(b);
    const iso_budget_model *dense = &b->models[0];
    assert_true(b->data_solved && !b->flops_solved);
    double step = (double)dense->plan.counts.train_flops_per_token *
                  (double)iso_config_batch_tokens(&dense->config);
    assert_true(fabs(dense->flops - 3e14) <= 0.5 * step);
    assert_int_equal(b->unique_tokens, dense->tokens);
    /* D given, too, and too little of it: the baseline repeats, and the plan says so. */
    int64_t tokens = dense->tokens;
    iso_budget_free(b);
    goal.text_tokens = 5000001;
    b = make(&goal);
    check_plan(b);
    assert_int_equal(b->models[0].tokens, tokens);
    int64_t S = b->models[0].config.model.max_position_embeddings;
    assert_int_equal(b->unique_tokens, 5000001 / S * S);
    assert_true(b->unique_by == ISO_BUDGET_BY_TEXT && b->models[0].epochs_strict > 2);
    assert_non_null(strstr(b->notes.data, "repeats the text"));
    iso_budget_free(b);
    /* More than enough: all sides use what the baseline needs. */
    goal.text_tokens = 500000000;
    b = make(&goal);
    assert_int_equal(b->unique_tokens, tokens);
    assert_non_null(strstr(b->notes.data, "every side uses the same"));
    iso_budget_free(b);
}

static void compute_and_data(void **state) {
    static const double flops[] = {1e14, 1e17, 2.7e21};
    static const int64_t tokens[] = {12000000, 400000000, 200000000000};
    for (int i = 0; i < 3; i++) {
        iso_budget_goal goal = iso_budget_goal_default();
        goal.compute.flops = flops[i];
        goal.text_tokens = tokens[i];
        iso_budget *b = make(&goal);
        check_plan(b);
        const iso_budget_model *dense = &b->models[0];
        assert_true(b->params_solved);
        assert_true(dense->tokens <= tokens[i]);
        assert_near((double)dense->tokens, (double)tokens[i], 0.006);
        assert_near(dense->flops, flops[i], 0.01);
        iso_budget_free(b);
    }
}

static void measured_speed(void **state) {
    iso_budget_goal goal = small_goal();
    goal.text_tokens = 0;
    goal.compute =
        (iso_compute){.tokens = 1.5e7, .seconds = 10000, .speed = {.tokens_per_s = 1500}};
    iso_budget *b = make(&goal);
    check_plan(b);
    assert_near((double)b->models[0].tokens, 1.5e7, 0.002);
    /* Equal compute takes equal time at one speed. */
    for (int64_t i = 0; i < b->n_models; i++) assert_near(b->models[i].seconds, 10000, 0.003);
    iso_budget_free(b);
    goal.compute = (iso_compute){.flops = 1e14};
    goal.speed = (iso_speed){.flops_per_s = 1e10};
    b = make(&goal);
    for (int64_t i = 0; i < b->n_models; i++) assert_near(b->models[i].seconds, 1e4, 0.003);
    iso_budget_free(b);
}

/* Activations are what the trainer allocates for that micro-batch, whatever the threads. */
static void memory(void **state) {
    iso_budget_goal goal = small_goal();
    int64_t before[2];
    for (int precision = 0; precision < 2; precision++) {
        goal.base.train.precision = precision ? ISO_PRECISION_BF16 : ISO_PRECISION_FP32;
        iso_budget *b = make(&goal);
        for (int64_t i = 0; i < b->n_models; i += 3) {
            iso_config config = b->models[i].config;
            iso_dry_run run;
            config.train.threads = 2;
            iso_status status = iso_dry_run_make(&run, &config, "cpu", ISO_F32);
            assert_true(b->models[i].memory.activations_bound == (status == ISO_ERR_UNSUPPORTED));
            if (status == ISO_ERR_UNSUPPORTED) {
                config.train.precision = ISO_PRECISION_FP32;
                status = iso_dry_run_make(&run, &config, "cpu", ISO_F32);
            }
            assert_int_equal(status, ISO_OK);
            assert_int_equal(b->models[i].memory.activations, run.model.activations);
            int64_t total = b->models[i].plan.counts.params_total;
            assert_int_equal(b->models[i].memory.weights, total * (precision ? 2 : 4));
            assert_int_equal(b->models[i].memory.state.sum, total * (precision ? 18 : 16));
        }
        before[precision] = b->models[3].memory.activations;
        iso_budget_free(b);
    }
    assert_true(before[1] <= before[0]);
    goal.base.train.precision = ISO_PRECISION_FP32;
    goal.base.train.micro_batch_size *= 2;
    iso_budget *b = make(&goal);
    assert_near((double)b->models[3].memory.activations, 2 * (double)before[0], 0.05);
    assert_int_equal(b->models[3].config.train.batch_size % 16, 0);
    iso_budget_free(b);
}

static void schemes(void **state) {
    iso_budget_goal goal = small_goal();
    goal.scheme = ISO_GAP_LOOSE;
    goal.text_tokens = 0;
    goal.compute.flops = 3e14;
    iso_budget *b = make(&goal);
    check_plan(b);
    for (int64_t i = 0; i < b->n_models; i++)
        assert_int_equal(2 * b->models[i].config.data.unique_tokens, b->models[i].tokens);
    iso_budget_free(b);
    goal.scheme = ISO_GAP_UNIQUE;
    b = make(&goal);
    check_plan(b);
    for (int64_t i = 0; i < b->n_models; i++)
        assert_int_equal(b->models[i].config.data.unique_tokens, b->models[i].tokens);
    iso_budget_free(b);
}

static void rates_of_learning(void **state) {
    iso_budget_goal goal = iso_budget_goal_default();
    goal.params = 2150000000;
    goal.compute.flops = 9.1e20;
    iso_budget *b = make(&goal);
    check_plan(b);
    for (int64_t i = 0; i < b->n_models; i++) {
        assert_near(b->models[i].lr_over_law, 1, 1e-12);
        assert_near(b->models[i].batch_over_law, 1, 0.02);
    }
    double rounded =
        iso_steplaw_lr(ISO_STEPLAW_ROUNDED, (double)b->models[0].plan.counts.params_nonvocab,
                       (double)b->models[0].tokens);
    iso_budget_free(b);
    goal.rule.law = ISO_STEPLAW_ROUNDED;
    goal.rule.lr_multiplier = 2;
    b = make(&goal);
    check_plan(b);
    assert_near(iso_config_peak_lr(&b->models[0].config), 2 * rounded, 1e-3);
    assert_near(b->models[2].lr_over_law, 2, 1e-12);
    iso_budget_free(b);
    /* Where the sweep was made, its multipliers. */
    goal = small_goal();
    goal.params = 450000;
    b = make(&goal);
    assert_near(b->models[0].lr_over_law, 0.25, 1e-12);
    assert_near(b->models[3].lr_over_law, 0.5, 1e-12);
    assert_true(b->models[3].config.model.norm_topk_prob);
    assert_non_null(strstr(b->notes.data, "Step Law was fitted"));
    iso_budget_free(b);
}

/* A plan's own configs, given back, are the plan again. */
static void like(void **state) {
    iso_budget_goal goal = small_goal();
    iso_budget *b = make(&goal), *again;
    for (int64_t i = 0; i < b->n_models; i += 3) {
        const iso_budget_model *m = &b->models[i];
        iso_budget_goal same = iso_budget_goal_default();
        same.like = &m->config;
        same.base = m->config;
        same.base.train.micro_batch_size = same.base.model.router_aux_group;
        same.norm_topk_by_size = false;
        same.base.data.unique_tokens = ISO_UNIQUE_TOKENS_ALL;
        if (i > 0) same.shapes.n_rates = 0;
        again = make(&same);
        check_plan(again);
        const iso_budget_model *back = &again->models[i > 0];
        assert_true(back->as_given);
        assert_memory_equal(&back->config.model, &m->config.model, sizeof m->config.model);
        assert_int_equal(again->params, m->plan.counts.params_nonvocab);
        assert_near((double)back->tokens, (double)m->tokens, 0.002);
        assert_near(back->flops, m->flops, 0.002);
        assert_int_equal(again->unique_tokens, b->unique_tokens);
        assert_int_equal(again->n_models, i > 0 ? 2 : 7);
        assert_near(back->lr_over_law, m->lr_over_law, 1e-9);
        iso_budget_free(again);
    }
    iso_budget_free(b);
}

static iso_budget_goal goal_like(const iso_config *config) {
    iso_budget_goal goal = iso_budget_goal_default();
    goal.like = config;
    goal.base = *config;
    goal.base.train.micro_batch_size = goal.base.model.router_aux_group;
    goal.base.data.unique_tokens = ISO_UNIQUE_TOKENS_ALL;
    goal.norm_topk_by_size = false;
    return goal;
}

/* What is no size is common to all sides, the given one among them: context, vocabulary, gates. */
static void like_with_other_settings(void **state) {
    iso_budget_goal goal = small_goal();
    iso_budget *b = make(&goal), *again;
    for (int64_t i = 0; i < b->n_models; i += 3) {
        iso_budget_goal other = goal_like(&b->models[i].config);
        other.base.model.max_position_embeddings *= 2;
        other.base.model.vocab_size += 43;
        other.base.model.norm_topk_prob = !other.base.model.norm_topk_prob;
        again = make(&other);
        check_plan(again);
        for (int64_t j = 0; j < again->n_models; j++) {
            const iso_shape *shape = &again->models[j].config.model;
            const iso_shape *base = &other.base.model;
            assert_int_equal(shape->max_position_embeddings, base->max_position_embeddings);
            assert_int_equal(shape->vocab_size, base->vocab_size);
            assert_int_equal(shape->norm_topk_prob, base->norm_topk_prob);
        }
        iso_budget_free(again);
    }
    iso_budget_free(b);
}

/* An MoE as given beside one that was asked for at its very rate: two names, two configs. */
static void like_beside_its_own_rate(void **state) {
    iso_budget_goal goal = small_goal();
    iso_budget *b = make(&goal), *again;
    iso_budget_goal twin = goal_like(&b->models[3].config);
    twin.shapes.n_rates = 1;
    twin.shapes.rates[0] = b->models[3].plan.counts.activation_rate;
    again = make(&twin);
    assert_int_equal(again->n_models, 3);
    check_plan(again);
    iso_budget_free(again);
    iso_budget_free(b);
}

/* An MoE of another N cannot be a side, but its activation rate is what was not given. */
static void like_at_another_size(void **state) {
    iso_budget_goal goal = small_goal();
    iso_budget *b = make(&goal), *again;
    iso_budget_goal larger = goal_like(&b->models[3].config);
    larger.params = 5000000;
    larger.shapes.n_rates = 0;
    again = make(&larger);
    check_plan(again);
    assert_int_equal(again->n_models, 2);
    assert_near(again->models[1].plan.rate_asked, b->models[3].plan.counts.activation_rate, 1e-12);
    iso_budget_free(again);
    iso_budget_free(b);
}

static void assert_refused(const iso_budget_goal *goal, const char *says) {
    iso_budget *b = NULL;
    assert_int_equal(iso_budget_create(&b, goal), ISO_ERR_USAGE);
    assert_null(b);
    if (!strstr(iso_error_message(), says))
        fail_msg("\"%s\" does not say \"%s\"", iso_error_message(), says);
}

static void refusals(void **state) {
    iso_budget_goal goal = iso_budget_goal_default();
    assert_refused(&goal, "no budget");
    goal.params = 1000000;
    assert_refused(&goal, "--params alone");
    goal.params = 0;
    goal.text_tokens = 1000000;
    assert_refused(&goal, "--data alone");
    goal.text_tokens = 0;
    goal.compute.flops = 1e15;
    assert_refused(&goal, "--compute alone");
    goal.compute = (iso_compute){.tokens = 1e6, .seconds = 100, .speed = {.tokens_per_s = 1e4}};
    goal.text_tokens = 1000000;
    assert_refused(&goal, "add its --params");

    goal = small_goal();
    goal.shapes.expert_width = 32;
    goal.shapes.experts_per_token = 2;
    assert_refused(&goal, "drop one");
    goal = small_goal();
    goal.shapes.expert_width = 32;
    goal.shapes.same_experts = false;
    assert_refused(&goal, "drop one");
    goal = small_goal();
    goal.shapes.n_rates = 0;
    assert_refused(&goal, "no activation rate");
    goal = iso_budget_goal_default();
    goal.params = 1000000;
    goal.compute.flops = 1e-300;
    assert_refused(&goal, "less than one token");
    goal.compute.flops = 1e7;
    goal.base.model.router_aux_group = goal.base.train.micro_batch_size = 1;
    goal.scheme = ISO_GAP_LOOSE;
    assert_refused(&goal, "has no half");
    goal = small_goal();
    goal.shapes.layout = ISO_LAYOUT_DENSE;
    assert_refused(&goal, "no experts");
    goal = small_goal();
    goal.shapes.n_rates = 1;
    goal.shapes.rates[0] = 0.001; /* attention alone is more */
    assert_refused(&goal, "0.1");
    goal = small_goal();
    goal.params = 1000;
    assert_refused(&goal, "100000");

    goal = small_goal();
    goal.text_tokens = 100;
    assert_refused(&goal, "less than one group");
    goal = small_goal();
    goal.scheme = ISO_GAP_UNIQUE;
    assert_refused(&goal, "--scheme unique");
    goal = small_goal();
    goal.scheme = ISO_GAP_LOOSE;
    assert_refused(&goal, "--scheme loose");
    goal = small_goal();
    goal.compute.flops = 1e29;
    assert_refused(&goal, "tokens, more than");
}

static void json(void **state) {
    iso_budget_goal goal = small_goal();
    iso_budget *b = make(&goal), *twice = make(&goal);
    json_t *one = iso_budget_to_json(b), *two = iso_budget_to_json(twice);
    assert_non_null(one);
    char *text = iso_json_line(one), *other = iso_json_line(two);
    assert_string_equal(text, other); /* (I3) */
    json_t *models = json_object_get(one, "models");
    assert_int_equal(json_array_size(models), 7);
    assert_non_null(json_object_get(one, "budget"));
    static const char *const keys[] = {"name",    "model",  "data",    "train",   "counts",
                                       "schemes", "memory", "seconds", "relaxed", "law"};
    static const char *const counts[] = {
        "params_total",    "params_nonvocab",         "params_active",
        "activation_rate", "forward_flops_per_token", "train_flops_per_token"};
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *m = json_array_get(models, i);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            assert_non_null(json_object_get(m, keys[k]));
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
            assert_non_null(json_object_get(json_object_get(m, "counts"), counts[k]));
    }
    iso_str csv = {0};
    iso_budget_to_csv(&csv, b);
    int64_t n_commas = 0, n_lines = 0;
    for (const char *c = csv.data; *c; c++) n_commas += *c == ',', n_lines += *c == '\n';
    assert_int_equal(n_lines, 8);
    assert_int_equal(n_commas % 8, 0); /* as many cells in every row */
    iso_str_release(&csv);
    free(text);
    free(other);
    json_decref(one);
    json_decref(two);
    iso_budget_free(b);
    iso_budget_free(twice);
}

static void prediction(void **state) {
    iso_gap_law *law;
    assert_int_equal(iso_gap_law_of_paper(&law), ISO_OK);
    iso_budget_goal goal = iso_budget_goal_default();
    goal.params = 3290000000;
    goal.compute.flops = 1.4e21;
    goal.text_tokens = 65000000000;
    iso_budget *b = make(&goal);
    assert_int_equal(iso_budget_predict(b, law, false), ISO_OK);
    assert_ptr_equal(b->law, law);
    assert_false(b->extrapolated);
    assert_true(b->models[3].has_forecast && b->models[3].forecast.half > 0);
    assert_true(b->curve.best_rate > 0.1 && b->curve.best_rate < 0.4);
    iso_budget_free(b);
    goal = small_goal();
    b = make(&goal);
    assert_int_equal(iso_budget_predict(b, law, false), ISO_OK);
    assert_null(b->law);
    assert_non_null(strstr(b->refused, "--extrapolate"));
    assert_false(b->models[3].has_forecast);
    iso_budget_free(b);
    b = make(&goal);
    assert_int_equal(iso_budget_predict(b, law, true), ISO_OK);
    assert_true(b->law && b->extrapolated && !b->refused);
    iso_budget_free(b);
    iso_gap_law_free(law);
}

static void folder(void **state) {
    const char *root = *state;
    char *dir = iso_strf("%s/scan", root), *path = iso_strf("%s/configs/moe-20.yaml", dir);
    char *other = iso_strf("%s/other", root), *runs = iso_strf("%s/runs", dir);
    iso_budget_goal goal = small_goal();
    iso_budget *b = make(&goal);
    assert_int_equal(iso_budget_folder_write(b, dir, "# plan\n", false), ISO_OK);
    iso_config config;
    assert_int_equal(iso_config_load(&config, path, NULL, 0), ISO_OK);
    char hash[ISO_SHA256_HEX_BYTES], planned[ISO_SHA256_HEX_BYTES];
    iso_config_hash(hash, &config);
    iso_config_hash(planned, &b->models[3].config);
    assert_string_equal(hash, planned);
    assert_int_equal(iso_budget_folder_write(b, dir, "# plan\n", false), ISO_OK); /* the same */
    assert_int_equal(iso_budget_folder_write(b, dir, "# other\n", false), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "--force"));
    assert_int_equal(iso_file_write_atomic(path, "# mine\n", 7), ISO_OK); /* edited */
    assert_int_equal(iso_budget_folder_write(b, dir, "# plan\n", false), ISO_ERR_USAGE);
    assert_int_equal(iso_budget_folder_write(b, dir, "# plan\n", true), ISO_OK);
    assert_int_equal(iso_config_load(&config, path, NULL, 0), ISO_OK);
    assert_int_equal(iso_dir_create(runs), ISO_OK);
    assert_int_equal(iso_budget_folder_write(b, dir, "# plan\n", true), ISO_ERR_USAGE);
    assert_int_equal(iso_dir_create(other), ISO_OK);
    char *file = iso_strf("%s/precious.txt", other);
    assert_int_equal(iso_file_write_atomic(file, "x", 1), ISO_OK);
    assert_int_equal(iso_budget_folder_write(b, other, "# plan\n", false), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "something else"));
    assert_int_equal(iso_budget_folder_write(b, file, "# plan\n", false), ISO_ERR_USAGE);
    iso_budget_free(b);
    free(file);
    free(runs);
    free(other);
    free(path);
    free(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(params_and_data),
        cmocka_unit_test(params_and_compute),
        cmocka_unit_test(compute_and_data),
        cmocka_unit_test(measured_speed),
        cmocka_unit_test(schemes),
        cmocka_unit_test(memory),
        cmocka_unit_test(rates_of_learning),
        cmocka_unit_test(like),
        cmocka_unit_test(like_with_other_settings),
        cmocka_unit_test(like_beside_its_own_rate),
        cmocka_unit_test(like_at_another_size),
        cmocka_unit_test(refusals),
        cmocka_unit_test(json),
        cmocka_unit_test(prediction),
        cmocka_unit_test_setup_teardown(folder, temp_dir_setup, temp_dir_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
