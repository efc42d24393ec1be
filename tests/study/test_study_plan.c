/* What study files come to: the runs of each kind against lists, and the choices on the way. */
#include "study/study_plan.h"

#include "arch/count.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD  "format: 1\nname: x\n"
#define SMALL "config: {model: {max_position_embeddings: 64, vocab_size: 257}}\n"

static iso_study *parse(const char *text) {
    iso_study *study;
    iso_str faults = {0};
    iso_status status = iso_study_parse(&study, &faults, text, (int64_t)strlen(text), "s.yaml");
    if (status != ISO_OK) fail_msg("%s", faults.data);
    iso_str_release(&faults);
    return study;
}

static iso_study_plan *plan_of(const char *text, iso_study_score_fn score, void *ctx) {
    iso_study *study = parse(text);
    iso_study_plan *plan;
    if (iso_study_plan_make(&plan, study, score, ctx) != ISO_OK)
        fail_msg("%s", iso_error_message());
    iso_study_free(study);
    return plan;
}

/* "name stage groups" of every run, a line each. */
static void expect_runs(const iso_study_plan *plan, const char *expected) {
    iso_str lines = {0};
    for (int64_t i = 0; i < plan->n_runs; i++)
        iso_str_appendf(&lines, "%s %d %s\n", plan->runs[i].name, (int)plan->runs[i].stage,
                        *plan->runs[i].groups ? plan->runs[i].groups : "-");
    assert_string_equal(lines.data, expected);
    iso_str_release(&lines);
}

static const iso_study_run *run_of(const iso_study_plan *plan, const char *name) {
    for (int64_t i = 0; i < plan->n_runs; i++)
        if (strcmp(plan->runs[i].name, name) == 0) return &plan->runs[i];
    fail_msg("no run %s", name);
    abort();
}

#define SCAN                                                                                       \
    HEAD SMALL "kind: scan\nbudget: {params: 200K, data: 200K}\n"                                  \
               "axes: {activation_rates: [20%, 50%], dense_compute: [1, 2]}\n"

static void test_scan(void **state) {
    iso_study_plan *plan = plan_of(SCAN "seeds: [1, 7]\n", NULL, NULL);
    expect_runs(plan, "dense-s1 0 scan\ndense-s7 0 scan\nmoe-20-s1 0 scan\nmoe-20-s7 0 scan\n"
                      "moe-50-s1 0 scan\nmoe-50-s7 0 scan\ndense-2c-s1 0 -\ndense-2c-s7 0 -\n");
    assert_true(plan->complete && !plan->assumed && plan->n_stages == 1);
    const iso_study_run *dense = run_of(plan, "dense-s1"), *twice = run_of(plan, "dense-2c-s1");
    const iso_study_run *moe = run_of(plan, "moe-20-s7");
    assert_true(fabs(moe->flops / dense->flops - 1) < 0.005);
    assert_true(fabs(twice->flops / dense->flops - 2) < 0.02);
    assert_int_equal(moe->config.data.unique_tokens, dense->config.data.unique_tokens);
    assert_int_equal(moe->config.train.seed, 7);
    iso_study_plan_free(plan);
}

static void test_scan_over_data_and_tokens(void **state) {
    iso_study_plan *plan =
        plan_of(HEAD SMALL "kind: scan\nbudget: {params: 200K}\n"
                           "axes: {activation_rates: [20%], data: [200K, 400K]}\n",
                NULL, NULL);
    expect_runs(plan, "d200k-dense-s1 0 scan-d200k\nd200k-moe-20-s1 0 scan-d200k\n"
                      "d400k-dense-s1 0 scan-d400k\nd400k-moe-20-s1 0 scan-d400k\n");
    iso_study_plan_free(plan);
    plan = plan_of(HEAD SMALL "kind: scan\nbudget: {params: 200K, data: 200K}\n"
                              "axes: {activation_rates: [20%, 50%], hold: tokens}\n",
                   NULL, NULL);
    expect_runs(plan, "dense-s1 0 -\nmoe-20-s1 0 -\nmoe-50-s1 0 -\n");
    assert_int_equal(iso_config_tokens(&plan->runs[0].config),
                     iso_config_tokens(&plan->runs[1].config));
    iso_study_plan_free(plan);
}

/* Epochs follow from D / D-hat; the baseline's runs serve two schemes each. */
static void test_reuse(void **state) {
    iso_study_plan *plan = plan_of(HEAD SMALL "kind: reuse\nbudget: {params: 200K, data: 200K}\n"
                                              "axes: {activation_rates: [20%], epochs: [1, 2]}\n",
                                   NULL, NULL);
    expect_runs(plan, "unique-dense-s1 0 reuse-unique,reuse-strict\n"
                      "unique-moe-20-s1 0 reuse-unique\nstrict-moe-20-s1 0 reuse-strict\n"
                      "strict-e2-dense-s1 0 reuse-strict-e2,reuse-loose\n"
                      "strict-e2-moe-20-s1 0 reuse-strict-e2\nloose-moe-20-s1 0 reuse-loose\n");
    double tokens = (double)iso_config_tokens(&run_of(plan, "loose-moe-20-s1")->config);
    double unique = (double)run_of(plan, "loose-moe-20-s1")->config.data.unique_tokens;
    assert_true(fabs(tokens / unique - 2) < 1e-3);
    const iso_config *half = &run_of(plan, "strict-e2-dense-s1")->config;
    assert_true(fabs((double)iso_config_tokens(half) / (double)half->data.unique_tokens - 2) <
                0.01);
    iso_study_plan_free(plan);
}

static void test_grid(void **state) {
    static const char text[] = HEAD
        "kind: grid\nconfig:\n  model: {vocab_size: 257, hidden_size: 32, num_hidden_layers: 2, "
        "num_attention_heads: 2, intermediate_size: 64, max_position_embeddings: 64}\n"
        "  train: {steps: 20, batch_size: 8, lr: 0.001}\n"
        "axes: {train.lr: [1e-3, 2e-3], train.weight_decay: [0, 0.1]}\n";
    iso_study_plan *plan = plan_of(text, NULL, NULL);
    expect_runs(plan, "lr-1e-3-weight-decay-0-s1 0 -\nlr-1e-3-weight-decay-0.1-s1 0 -\n"
                      "lr-2e-3-weight-decay-0-s1 0 -\nlr-2e-3-weight-decay-0.1-s1 0 -\n");
    assert_true(plan->runs[3].config.train.lr == 2e-3);
    assert_true(plan->runs[3].config.train.weight_decay == 0.1);
    iso_study_plan_free(plan);
}

/* Scores by a rule on the config; runs of stages from `n_known` on have none. */
typedef struct oracle {
    int64_t n_known;
    double (*bpc)(const iso_study_run *run);
} oracle;

static bool ask(void *ctx, const iso_study_run *run, iso_study_score *out) {
    const oracle *o = ctx;
    if (run->stage >= o->n_known) return false;
    out->stopped = false;
    out->choose = o->bpc(run);
    out->report = out->choose + 1;
    return true;
}

/* 0.5 is best for the dense side, 1 for the MoE. */
static double sweep_bpc(const iso_study_run *run) {
    double best = run->activation_rate == 1 ? 0.5 : 1;
    return 2 + fabs(log(run->config.train.lr_multiplier / best));
}

static void test_sweep(void **state) {
    static const char text[] = HEAD SMALL
        "kind: scan\nbudget: {params: 200K, data: 200K}\naxes: {activation_rates: [20%]}\n"
        "seeds: 2\nrules: {lr: sweep, lr_multipliers: [0.25, 0.5, 1], lr_extend: 0}\n";
    oracle o = {0, sweep_bpc};
    iso_study_plan *plan = plan_of(text, ask, &o);
    expect_runs(plan, "dense-lr0.25-s1 0 -\ndense-lr0.5-s1 0 -\ndense-lr1-s1 0 -\n"
                      "moe-20-lr0.25-s1 0 -\nmoe-20-lr0.5-s1 0 -\nmoe-20-lr1-s1 0 -\n");
    assert_false(plan->complete);
    iso_study_plan_free(plan);
    o.n_known = 1;
    plan = plan_of(text, ask, &o);
    /* The winner of the sweep is the first seed. */
    expect_runs(plan, "dense-lr0.25-s1 0 -\ndense-lr0.5-s1 0 scan\ndense-lr1-s1 0 -\n"
                      "moe-20-lr0.25-s1 0 -\nmoe-20-lr0.5-s1 0 -\nmoe-20-lr1-s1 0 scan\n"
                      "dense-lr0.5-s2 1 scan\nmoe-20-lr1-s2 1 scan\n");
    assert_true(plan->complete);
    assert_non_null(
        strstr(plan->notes.data, "moe-20: the best rate, 1 over Step Law, is at the edge"));
    assert_null(strstr(plan->notes.data, "dense: the best rate"));
    iso_study_plan_free(plan);
}

static const json_t *step_of(const iso_study_plan *plan, const char *name) {
    for (size_t i = 0; i < json_array_size(plan->steps); i++) {
        const json_t *step = json_array_get(plan->steps, i);
        if (strcmp(json_string_value(json_object_get(step, "step")), name) == 0) return step;
    }
    fail_msg("no step %s", name);
    return NULL;
}

/* Where the best lies at an edge the sweep goes on there; the parts behind wait for it. */
static void test_sweep_beyond_edge(void **state) {
    static const char text[] =
        HEAD SMALL "kind: method\nbudget: {params: 200K, data: 200K}\nseeds: 2\n"
                   "rules: {lr_multipliers: [4, 2], lr_extend: %d}\n"
                   "parts: {sweep: {seeds: 1}, control: {seeds: 2}}\n";
    /* The dense side's best is 0.5: 1, 0.5 and 0.25 are tried, each in a stage of its own. */
    static const struct {
        int lr_extend, n_rates;
        bool at_edge;
    } all[] = {{0, 2, true}, {1, 3, true}, {2, 4, true}, {3, 5, false}, {16, 5, false}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char filled[512];
        oracle o = {99, sweep_bpc};
        snprintf(filled, sizeof filled, text, all[i].lr_extend);
        iso_study_plan *plan = plan_of(filled, ask, &o);
        const json_t *step = step_of(plan, "lr");
        const json_t *rows = json_object_get(step, "candidates");
        int64_t n_sweep_stages = all[i].n_rates - 1;
        assert_true(plan->complete);
        assert_true(json_is_true(json_object_get(step, "at_edge")) == all[i].at_edge);
        assert_int_equal(json_array_size(rows), all[i].n_rates);
        for (int64_t j = 0; j < all[i].n_rates; j++) { /* rising, to the last */
            const json_t *row = json_array_get(rows, (size_t)(all[i].n_rates - 1 - j));
            double rate = json_number_value(json_object_get(row, "lr_multiplier"));
            assert_true(rate == 4 / (double)(1 << j));
        }
        assert_int_equal(plan->n_stages, n_sweep_stages + 1);
        for (int64_t j = 0; j < plan->n_runs; j++)
            assert_int_equal(plan->runs[j].after, plan->runs[j].stage - 1);
        iso_study_plan_free(plan);
        o.n_known = n_sweep_stages - 1;
        plan = plan_of(filled, ask, &o);
        assert_false(plan->complete);
        for (int64_t j = 0; j < plan->n_runs; j++)
            assert_string_equal(plan->runs[j].parts, "sweep");
        iso_study_plan_free(plan);
    }
}

#define SEARCH                                                                                     \
    HEAD SMALL "kind: search\nbudget: {params: 1M, data: 1M}\nseeds: 2\n"                          \
               "axes: {activation_rates: [20%], layouts: [full, 1dense], granularity: [1, 2], "    \
               "zeta: [16, 32], mu: [15, 35], dense_zeta: [8, 32], dense_alpha: [2, 4], "          \
               "dense_head_dim: [16, 32]}\n"

/* 1dense with a shared expert is best by far, normalised gates by less than the spread. */
static double search_bpc(const iso_study_run *run) {
    const iso_shape *m = &run->config.model;
    double seed = run->config.train.seed == 1 ? -0.001 : 0.001;
    if (run->activation_rate == 1) return 2 + seed;
    return 2 + seed -
           (m->layer_layout == ISO_LAYOUT_1DENSE && m->shared_expert_intermediate_size > 0) -
           0.0005 * m->norm_topk_prob;
}

static const char *winner_of(const iso_study_plan *plan, const char *name) {
    const json_t *step = step_of(plan, name);
    size_t chosen = (size_t)json_integer_value(json_object_get(step, "chosen"));
    const json_t *row = json_array_get(json_object_get(step, "candidates"), chosen);
    return json_string_value(json_object_get(row, "label"));
}

static void test_search(void **state) {
    oracle o = {0, search_bpc};
    iso_study_plan *plan = plan_of(SEARCH, ask, &o);
    assert_false(plan->complete);
    int64_t n_first = plan->n_runs;
    char first[ISO_STUDY_RUN_BYTES];
    memcpy(first, plan->runs[n_first - 1].name, sizeof first);
    iso_study_plan_free(plan);
    o.n_known = 5;
    plan = plan_of(SEARCH, ask, &o);
    assert_true(plan->complete);
    assert_string_equal(winner_of(plan, "moe-layout"), "1dense-shared");
    /* A tie goes to the simpler. */
    assert_string_equal(winner_of(plan, "moe-gates"), "gates-plain");
    assert_string_equal(winner_of(plan, "dense-alpha"), "kept");
    /* What was planned before is still there. */
    run_of(plan, first);
    int64_t N = 0, M = 0;
    for (int64_t i = 0; i < plan->n_runs; i++) {
        const iso_study_run *run = &plan->runs[i];
        iso_counts counts;
        assert_int_equal(iso_count(&counts, &run->config.model, ISO_CONVENTION_PAPER), ISO_OK);
        if (N == 0) N = counts.params_nonvocab;
        assert_true(llabs(counts.params_nonvocab - N) < N / 200);
        assert_string_equal(run->groups, "search");
        if (strstr(run->name, "moe-topk-") == NULL) continue;
        /* Cut finer: not a parameter, not a FLOP more. */
        if (M == 0) M = counts.train_flops_per_token;
        assert_int_equal(counts.train_flops_per_token, M);
    }
    assert_true(M > 0);
    iso_study_plan_free(plan);
}

static void test_deterministic(void **state) {
    iso_study_plan *a = plan_of(SEARCH, NULL, NULL), *b = plan_of(SEARCH, NULL, NULL);
    assert_true(a->assumed);
    assert_int_equal(a->n_runs, b->n_runs);
    for (int64_t i = 0; i < a->n_runs; i++) {
        assert_string_equal(a->runs[i].name, b->runs[i].name);
        assert_string_equal(a->runs[i].config_hash, b->runs[i].config_hash);
        for (int64_t j = 0; j < i; j++) {
            assert_string_not_equal(a->runs[i].name, a->runs[j].name);
            assert_string_not_equal(a->runs[i].config_hash, a->runs[j].config_hash);
        }
    }
    iso_study_plan_free(a);
    iso_study_plan_free(b);
}

#define METHOD                                                                                     \
    HEAD SMALL "kind: method\nbudget: {params: 200K, data: 200K}\nshapes: {own_experts: true}\n"   \
               "seeds: 2\nrules: {lr_multipliers: [0.25, 0.5, 1], lr_extend: 0}\nparts:\n"         \
               "  search: {seeds: 1, axes: {activation_rates: [20%], layouts: [full, 1dense], "    \
               "granularity: [1], zeta: [16], mu: [15], dense_zeta: [8, 32], dense_alpha: [2], "   \
               "dense_head_dim: [16]}}\n"                                                          \
               "  reuse: {axes: {activation_rates: [20%], schemes: [strict]}}\n"                   \
               "  scan: {axes: {activation_rates: [20%, 50%], dense_compute: [1, 2]}}\n"           \
               "  control: {seeds: 3}\n  sweep: {seeds: 1}\n"

/* The parts in the method's order, whatever the file's; what one has trained serves the next. */
static void test_method(void **state) {
    oracle o = {0, sweep_bpc};
    iso_study_plan *plan = plan_of(METHOD, ask, &o);
    expect_runs(plan, "dense-lr0.25-s1 0 -\ndense-lr0.5-s1 0 -\ndense-lr1-s1 0 -\n"
                      "moe-20-lr0.25-s1 0 -\nmoe-20-lr0.5-s1 0 -\nmoe-20-lr1-s1 0 -\n");
    assert_false(plan->complete);
    iso_study_plan_free(plan);
    o.n_known = 1;
    plan = plan_of(METHOD, ask, &o);
    /* The rate of the MoE at 50 % is that of the one that was swept. */
    static const char *const expected[] = {
        "dense-lr0.5-s1 sweep,control,scan,reuse control,scan,reuse-strict",
        "moe-20-lr1-s1 sweep,control,scan,reuse,search control,scan,reuse-strict,search",
        "moe-20-lr0.5-s1 sweep ",
        "dense-lr0.5-s2 control,scan,reuse control,scan,reuse-strict",
        "moe-20-lr1-s3 control control",
        "moe-50-lr1-s2 scan scan",
        "dense-2c-lr0.5-s1 scan ",
        "moe-layout-full-plain-s1 search search"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char name[ISO_STUDY_RUN_BYTES];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(expected[i], " "), expected[i]);
        const iso_study_run *run = run_of(plan, name);
        char *line = iso_strf("%s %s %s", run->name, run->parts, run->groups);
        assert_string_equal(line, expected[i]);
        free(line);
        assert_true(run->after == (run->stage > 0 ? 0 : -1));
    }
    iso_study_plan_free(plan);
}

/* (I2), (I3): also where parts differ in budget, and so their "dense" in config. */
static void test_method_names(void **state) {
    iso_study_plan *plan = plan_of(METHOD "  scan-more: {budget: {params: 200K, data: 300K}, axes: "
                                          "{activation_rates: [20%]}}\n",
                                   NULL, NULL);
    run_of(plan, "scan-more-dense-lr0.25-s2");
    for (int64_t i = 0; i < plan->n_runs; i++)
        for (int64_t j = 0; j < i; j++) {
            const iso_study_run *a = &plan->runs[i], *b = &plan->runs[j];
            assert_string_not_equal(a->name, b->name);
            assert_string_not_equal(a->config_hash, b->config_hash);
            assert_int_equal(strcmp(a->side, b->side) == 0,
                             strcmp(a->side_hash, b->side_hash) == 0);
        }
    iso_study_plan_free(plan);
}

/* The search's ties are the control's noise; while a control's score is missing nothing is chosen.
 */
static double noisy_bpc(const iso_study_run *run) {
    double seed = 0.01 * run->config.train.seed;
    return 2 + seed - 0.015 * (run->config.model.layer_layout == ISO_LAYOUT_1DENSE);
}

static bool ask_but_control(void *ctx, const iso_study_run *run, iso_study_score *out) {
    return ask(ctx, run, out) && strcmp(run->parts, "control") != 0;
}

static void test_control_feeds_search(void **state) {
    oracle o = {100, noisy_bpc};
    iso_study_plan *plan = plan_of(METHOD, ask, &o);
    const json_t *step = step_of(plan, "moe-layout");
    /* Three seeds 0.01 apart: s = 0.01 on 4 degrees of freedom, t = 2.776. */
    assert_true(fabs(json_number_value(json_object_get(step, "spread")) - 2.776 * 0.01 * sqrt(2)) <
                1e-4);
    assert_string_equal(winner_of(plan, "moe-layout"), "full-plain");
    assert_true(plan->complete);
    iso_study_plan_free(plan);
    plan = plan_of(METHOD, ask_but_control, &o);
    assert_false(plan->complete);
    for (size_t i = 0; i < json_array_size(plan->steps); i++)
        assert_string_equal(
            json_string_value(json_object_get(json_array_get(plan->steps, i), "step")), "lr");
    iso_study_plan_free(plan);
}

/* A rate at which a side diverges is never the best, at all rates it is told. */
static bool ask_diverging(void *ctx, const iso_study_run *run, iso_study_score *out) {
    const double *limit = ctx;
    *out = (iso_study_score){.choose = 3 - run->config.train.lr_multiplier};
    out->diverged = run->config.train.lr_multiplier > *limit;
    if (out->diverged) out->choose = NAN;
    return true;
}

static void test_diverged(void **state) {
    static const char text[] =
        HEAD SMALL "kind: sweep\nbudget: {params: 200K, data: 200K}\nseeds: 2\n"
                   "rules: {lr_multipliers: [0.5, 1, 4], lr_extend: 0}\n";
    double limit = 1;
    iso_study_plan *plan = plan_of(text, ask_diverging, &limit);
    assert_true(plan->complete && plan->n_runs == 12);
    for (size_t i = 0; i < json_array_size(plan->steps); i++) {
        const json_t *step = json_array_get(plan->steps, i);
        assert_int_equal(json_integer_value(json_object_get(step, "chosen")), 1);
        const json_t *last = json_array_get(json_object_get(step, "candidates"), 2);
        assert_true(json_is_true(json_object_get(last, "diverged")));
        assert_true(json_is_null(json_object_get(last, "bpc_choose")));
    }
    iso_study_plan_free(plan);
    limit = 0;
    iso_study *study = parse(text);
    assert_int_equal(iso_study_plan_make(&plan, study, ask_diverging, &limit), ISO_ERR_FAILED);
    assert_non_null(strstr(iso_error_message(), "every rate diverged"));
    iso_study_free(study);
}

static void test_control(void **state) {
    iso_study_plan *plan = plan_of(HEAD SMALL "kind: control\nbudget: {params: 200K, data: 200K}\n"
                                              "seeds: 20\naxes: {sides: [moe]}\n",
                                   NULL, NULL);
    assert_int_equal(plan->n_runs, 20);
    for (int64_t i = 0; i < plan->n_runs; i++) {
        assert_string_equal(plan->runs[i].groups, "control");
        assert_string_equal(plan->runs[i].side, "moe-20");
    }
    iso_study_plan_free(plan);
}

static void expect_refused(const char *text, const char *words) {
    iso_study *study = parse(text);
    iso_str faults = {0};
    assert_int_equal(iso_study_plan_check(study, &faults, "s.yaml"), ISO_ERR_USAGE);
    if (!strstr(faults.data, words)) fail_msg("%s", faults.data);
    iso_str_release(&faults);
    iso_study_free(study);
}

static void test_unreachable(void **state) {
    expect_refused(HEAD SMALL "kind: scan\nbudget: {params: 200K, data: 200K}\n"
                              "axes:\n  activation_rates: [0.1%, 50%]\n",
                   "s.yaml:7: axes.activation_rates 0.1 %: ");
    expect_refused(HEAD SMALL "kind: scan\nbudget: {params: 200K, compute: 1e7}\n"
                              "axes:\n  activation_rates: [20%]\n",
                   "s.yaml:5: budget: a single optimizer step of the baseline costs");
    expect_refused(HEAD "kind: scan\nconfig: {data: {dir: /nowhere}}\n"
                        "budget: {params: 200K, data: 200K}\naxes:\n  activation_rates: [20%]\n",
                   "there is no prepared folder /nowhere");
    expect_refused(HEAD SMALL "kind: method\nbudget: {params: 200K, data: 200K}\nparts:\n"
                              "  scan: {axes: {activation_rates: [20%]}}\n"
                              "  control:\n    axes: {activation_rates: [0.1%]}\n    seeds: 3\n"
                              "  scan-small:\n    budget: {params: 200K, compute: 1e7}\n"
                              "    axes: {activation_rates: [20%]}\n",
                   "s.yaml:12: parts.scan-small.budget: a single optimizer step");
    expect_refused(HEAD "kind: grid\nconfig: {train: {steps: 3}}\naxes: {train.lr: [1e-3]}\n",
                   "s.yaml:1: axes: at train.lr=1e-3: ");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scan),
                                       cmocka_unit_test(test_scan_over_data_and_tokens),
                                       cmocka_unit_test(test_reuse),
                                       cmocka_unit_test(test_grid),
                                       cmocka_unit_test(test_sweep),
                                       cmocka_unit_test(test_sweep_beyond_edge),
                                       cmocka_unit_test(test_search),
                                       cmocka_unit_test(test_deterministic),
                                       cmocka_unit_test(test_unreachable),
                                       cmocka_unit_test(test_method),
                                       cmocka_unit_test(test_method_names),
                                       cmocka_unit_test(test_control),
                                       cmocka_unit_test(test_control_feeds_search),
                                       cmocka_unit_test(test_diverged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
