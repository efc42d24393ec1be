/* What reuse, searches, sweeps and controls say: planted numbers come out as planted. */
#include "find_findings.h"

/* --- reuse --- */

static void test_reuse(void **state) {
    static const made_entry runs[] = {
        SIDE("unique-dense", "reuse-unique", .level = 2.130, .n_unique = 4000, .subset_hash = "0a"),
        SIDE("unique-b", "reuse-unique", .n_used = 3, .level = 2.095, .n_unique = 4000,
             .subset_hash = "0a"),
        SIDE("strict-dense", "reuse-strict", .level = 2.130, .n_unique = 400, .subset_hash = "0b"),
        SIDE("strict-b", "reuse-strict", .n_used = 3, .level = 2.098, .n_unique = 400,
             .subset_hash = "0b"),
        SIDE("e4-dense", "reuse-strict-e4", .level = 2.140, .n_unique = 100, .subset_hash = "0c"),
        SIDE("e4-b", "reuse-strict-e4", .n_used = 3, .level = 2.125, .n_unique = 100,
             .subset_hash = "0c"),
    };
    make_study(*state, "reuse", runs, 12);
    iso_findings *f = find(*state);
    check_keys(f);
    near(verdict(f, "gap-unique")->value, 0.035, 0.004);
    near(verdict(f, "gap-strict-e4")->value, 0.015, 0.004);
    const iso_finding_verdict *v = verdict(f, "reuse-strict-e4");
    assert_int_equal(v->outcome, ISO_VERDICT_RESOLVED);
    near(v->value, 0.030, 0.004);
    assert_int_equal(v->n_seeds, 2);
    has(v->sentence, "For the MoE at 21\xc2\xa0% activation (2 and 2 seeds)");
    near(verdict(f, "reuse-strict")->value, 0.003, 0.004);
    const iso_finding_table *t = table(f, "reuse-penalty");
    assert_int_equal(t->n_rows, 3); /* dense on 400 unique batches of 400 repeats nothing */
    for (int64_t i = 0; i < t->n_rows; i++)
        assert_true(isnan(cell(t, i, "expected by that law")->value)); /* one budget of each */
    assert_int_equal(table(f, "reuse-strict")->n_rows, 2);
    near(cell(table(f, "reuse-strict-e4"), 0, "epochs")->value, 4.0, 1e-9);
    assert_int_equal(series(figure(f, "reuse"), "paper, 7B strict")->n, 6);
    assert_non_null(series(figure(f, "2b-gap"), "unique"));
    assert_null(series(figure(f, "2b-gap"), "strict-e4"));
    assert_non_null(series(figure(f, "5-gap"), "strict-e4"));
    assert_null(figure(f, "2b")); /* of one rate there is no curve */
    const iso_series *strict = series(figure(f, "reuse-gap"), "strict");
    assert_int_equal(series(figure(f, "reuse-gap"), "unique")->n, 1);
    assert_int_equal(strict->n, 2);
    assert_true(strict->points[0].x < strict->points[1].x);
    near(strict->points[1].x, cell(table(f, "reuse-strict-e4"), 1, "epochs")->value, 1e-9);
    near(strict->points[1].y, verdict(f, "gap-strict-e4")->value, 1e-12);
    near(strict->points[1].low, verdict(f, "gap-strict-e4")->low, 1e-12);
    assert_non_null(series(figure(f, "5-gap"), "paper, 3B, 65B tokens"));
    iso_findings_free(f);
}

/* With baselines at C and 2C the worth of a token is known, and Muennighoff's law expects. */
static void test_reuse_expected(void **state) {
    static const made_entry runs[] = {
        SIDE("dense", "scan,reuse-unique", .level = 2.130, .n_unique = 4000, .subset_hash = "0a"),
        SIDE("dense-2c", "", .level = 2.060, .n_steps = 800, .n_unique = 4000, .subset_hash = "0a"),
        SIDE("e4-dense", "reuse-strict-e4", .level = 2.140, .n_unique = 100, .subset_hash = "0c"),
    };
    make_study(*state, "reuse", runs, 6);
    iso_findings *f = find(*state);
    const iso_finding_table *t = table(f, "reuse-penalty");
    assert_int_equal(t->n_rows, 1);
    /* Four epochs are worth D' = U + U R* (1 - exp(-3/R*)); a doubling 0.07. */
    double worth = (1.0 + 15.387756 * (1.0 - exp(-3.0 / 15.387756))) / 4.0;
    near(cell(t, 0, "worth by Muennighoff's law, of D")->value, worth, 1e-9);
    near(cell(t, 0, "expected by that law")->value, 0.07 * log(1.0 / worth) / log(2.0), 0.001);
    assert_int_equal(series(figure(f, "reuse"), "Muennighoff's law, dense")->kind, ISO_SERIES_LAW);
    has(verdict(f, "reuse-strict-e4")->sentence, "agrees within noise");
    iso_findings_free(f);
    /* One seed each: an expectation, and nothing to hold against it. */
    made_entry single[3];
    for (int i = 0; i < 3; i++) single[i] = runs[2 * i];
    char *apart = iso_strf("%s/apart", (char *)*state);
    make_study(apart, "reuse", single, 3);
    f = find(apart);
    t = table(f, "reuse-penalty");
    assert_false(isnan(cell(t, 0, "expected by that law")->value));
    assert_string_equal(cell(t, 0, "agrees")->text, "noise unknown");
    has(verdict(f, "reuse-strict-e4")->sentence, "Muennighoff's law expects 0.0");
    assert_null(strstr(verdict(f, "reuse-strict-e4")->sentence, "agrees"));
    iso_findings_free(f);
    free(apart);
}

/* A run that two schemes share bears one name, and each table says what it is there; dense and MoE
 * are series of their own. */
static void test_reuse_sides(void **state) {
    static const made_entry runs[] = {
        SIDE("unique-dense", "reuse-unique", .level = 2.130, .n_unique = 4000, .subset_hash = "0a"),
        SIDE("unique-b", "reuse-unique", .n_used = 3, .level = 2.095, .n_unique = 4000,
             .subset_hash = "0a"),
        SIDE("unique-c", "reuse-unique", .n_used = 5, .level = 2.100, .n_unique = 4000,
             .subset_hash = "0a"),
        SIDE("strict-e2-dense", "reuse-strict-e2,reuse-loose", .level = 2.135, .n_unique = 200,
             .subset_hash = "0b"),
        SIDE("strict-e2-b", "reuse-strict-e2", .n_used = 3, .level = 2.110, .n_unique = 200,
             .subset_hash = "0b"),
        SIDE("strict-e4-dense", "reuse-strict-e4", .level = 2.140, .n_unique = 100,
             .subset_hash = "0c"),
        SIDE("strict-e4-b", "reuse-strict-e4", .n_used = 3, .level = 2.125, .n_unique = 100,
             .subset_hash = "0c"),
    };
    make_study(*state, "reuse", runs, 14);
    iso_findings *f = find(*state);
    check_keys(f);
    assert_string_equal(cell(table(f, "reuse-loose"), 0, "side")->text, "dense");
    assert_string_equal(cell(table(f, "reuse-strict-e2"), 1, "side")->text, "MoE 21\xc2\xa0%");
    const iso_finding_figure *fig = figure(f, "reuse");
    const iso_series *dense = series(fig, "dense, strict"),
                     *moe = series(fig, "MoE 21\xc2\xa0%, strict");
    assert_int_equal(dense->n, 2);
    assert_int_equal(moe->n, 2);
    near(dense->points[1].x, 4.0, 1e-9);
    near(dense->points[1].y, 0.010, 0.004);
    near(moe->points[1].y, 0.030, 0.004);
    assert_int_equal(series(fig, "dense, loose")->n, 1);
    assert_non_null(series(figure(f, "2b"), "strict-e2")); /* the fewest epochs there are */
    assert_null(series(figure(f, "2b"), "strict-e4"));
    assert_null(series(figure(f, "2b"), "dense, loose")->points[0].label);
    for (int64_t i = 0; i < fig->n; i++)
        for (int64_t j = 0; j < fig->series[i].n; j++)
            if (fig->series[i].points[j].label)
                assert_null(strstr(fig->series[i].points[j].label, "strict-e2"));
    iso_findings_free(f);
}

/* --- search --- */

static json_t *search_row(const char *label, double choose, double report, int H, int L, int De) {
    return json_pack("{ss ss si s{si si si si si si si si} so? so?}", "label", label, "side", label,
                     "n_seeds", isnan(choose) ? 0 : 2, "model", "hidden_size", H,
                     "num_hidden_layers", L, "num_attention_heads", 2, "intermediate_size", 100,
                     "num_experts", 10, "num_experts_per_tok", 2, "moe_intermediate_size", De,
                     "shared_expert_intermediate_size", 2 * De, "bpc_choose",
                     isnan(choose) ? NULL : json_real(choose), "bpc_report",
                     isnan(report) ? NULL : json_real(report));
}

static void make_search(const char *dir, bool assumed) {
    static const made_entry runs[] = {
        SIDE("moe-zeta-kept", "search", .n_used = 3, .level = 2.1),
        SIDE("moe-zeta-zeta20", "search", .n_used = 5, .level = 2.2),
    };
    make_study(dir, "search", runs, 4);
    json_t *rows = json_pack("[o, o, o]", search_row("kept", 2.100, 2.110, 48, 3, 28),
                             search_row("zeta20", 2.098, 2.150, 60, 3, 20),
                             search_row("zeta40", NAN, NAN, 80, 2, 20));
    make_step(dir, "moe-zeta",
              json_pack("{ss so si sf sb sf}", "step", "moe-zeta", "candidates", rows, "chosen", 0,
                        "spread", 0.01, "spread_assumed", assumed, "seed_dof", 4.0));
}

static void test_search(void **state) {
    make_search(*state, false);
    iso_findings *f = find(*state);
    const iso_finding_verdict *v = verdict(f, "search-moe-zeta");
    assert_int_equal(v->outcome, ISO_VERDICT_RESOLVED);
    near(v->value, 0.04, 1e-12);
    near(v->low, 0.03, 1e-12);
    has(v->sentence, "chose kept of 3 candidates (2 seeds each), the simplest of a tie");
    has(v->sentence, "0.040 \xc2\xb1 0.010 lower than the next, zeta20");
    /* Candidates have seeds, but those say nothing of other sides' noise. */
    assert_null(strstr(table(f, "sides")->caption, "No configuration has two seeds"));
    has(table(f, "sides")->caption, "Only candidates of the search have two seeds");
    assert_false(noted(f, "No configuration has two finished seeds"));
    const iso_finding_table *t = table(f, "search-moe-zeta");
    assert_int_equal(t->n_rows, 3);
    assert_true(cell(t, 0, "candidate")->is_best && !cell(t, 1, "candidate")->is_best);
    assert_string_equal(cell(t, 2, "chosen")->text, "stopped");
    assert_true(isnan(cell(t, 2, "loss, reporting")->value));
    const iso_series *s = series(figure(f, "4-moe-zeta"), "candidates");
    assert_int_equal(s->n, 2); /* the stopped one has no score */
    near(s->points[0].x, 16.0, 1e-12);
    near(s->points[0].y, 2.110, 1e-12);
    iso_findings_free(f);
    make_search(*state, true);
    f = find(*state);
    v = verdict(f, "search-moe-zeta");
    assert_int_equal(v->outcome, ISO_VERDICT_UNRESOLVED);
    assert_true(isnan(v->low));
    has(v->sentence, "assumed seed noise: nothing is resolved");
    iso_findings_free(f);
}

static json_t *found_row(const char *label, const char *side, double report, int n_experts) {
    return json_pack("{ss ss si s{si si si si si si si si} sf sf}", "label", label, "side", side,
                     "n_seeds", 2, "model", "hidden_size", 48, "num_hidden_layers", 3,
                     "num_attention_heads", 2, "intermediate_size", 100, "num_experts", n_experts,
                     "num_experts_per_tok", n_experts ? 2 : 0, "moe_intermediate_size", n_experts,
                     "shared_expert_intermediate_size", 0, "bpc_choose", report, "bpc_report",
                     report);
}

static json_t *found_step(const char *name, json_t *rows) {
    return json_pack("{ss so si sf sb sf}", "step", name, "candidates", rows, "chosen", 1, "spread",
                     0.01, "spread_assumed", false, "seed_dof", 4.0);
}

/* The last winners of both families, each on the documents that did not choose. */
static void test_search_gap(void **state) {
    static const made_entry runs[] = {
        SIDE("dense", "scan,search", .level = 2.180),
        SIDE("dense-wide", "search", .level = 2.130, .lr = 0.001),
        SIDE("moe", "search", .n_used = 3, .level = 2.100),
        SIDE("moe-wide", "search", .n_used = 5, .level = 2.090),
    };
    make_study(*state, "search", runs, 8);
    make_step(*state, "dense-zeta",
              found_step("dense-zeta", json_pack("[o, o]", found_row("kept", "dense", 2.180, 0),
                                                 found_row("wide", "dense-wide", 2.130, 0))));
    make_step(*state, "moe-zeta",
              found_step("moe-zeta", json_pack("[o, o]", found_row("kept", "moe", 2.100, 10),
                                               found_row("wide", "moe-wide", 2.090, 10))));
    iso_findings *f = find(*state);
    const iso_finding_verdict *v = verdict(f, "search-gap");
    assert_non_null(v);
    assert_int_equal(v->outcome, ISO_VERDICT_RESOLVED);
    near(v->value, 0.040, 1e-12);
    assert_true(v->high - v->value > 0.0099 && v->high - v->value < 0.02);
    near(v->high - v->value, v->value - v->low, 1e-12);
    has(v->sentence, "the best of 2 dense models tried");
    has(v->sentence, "the best of 2 MoEs");
    has(v->sentence, "0.040 \xc2\xb1 0.010 bits per character lower (better)");
    assert_true(noted(f, "scores 0.050 bits per character lower than the planner's"));
    check_keys(f);
    iso_findings_free(f);
    /* A family alone is no comparison. */
    char *alone = iso_strf("%s/alone", (char *)*state);
    make_study(alone, "search", runs, 8);
    make_step(alone, "moe-zeta",
              found_step("moe-zeta", json_pack("[o, o]", found_row("kept", "moe", 2.100, 10),
                                               found_row("wide", "moe-wide", 2.090, 10))));
    f = find(alone);
    assert_null(verdict(f, "search-gap"));
    iso_findings_free(f);
    free(alone);
}

/* --- controls --- */

static json_t *sweep_of(const char *side, const char *const *runs, int chosen) {
    json_t *rows = json_array();
    for (int i = 0; i < 4; i++)
        json_array_append_new(rows,
                              json_pack("{ss sf sf sf}", "run", runs[i], "lr_multiplier",
                                        0.25 * (1 << i), "bpc_choose", 2.0, "bpc_report", 2.0));
    return json_pack("{ss ss so si sb}", "step", "lr", "side", side, "candidates", rows, "chosen",
                     chosen, "at_edge", chosen == 3);
}

static void test_sweep(void **state) {
    static const made_entry runs[] = {
        {{.name = "dense-l-s1", .seed = 1, .level = 2.150, .lr = 0.0005}, "dense-l", "", NULL},
        SIDE("dense", "scan", .level = 2.130, .lr = 0.001),
        {{.name = "dense-h-s1", .seed = 1, .level = 2.150, .lr = 0.002}, "dense-h", "", NULL},
        {{.name = "dense-i-s1", .seed = 1, .level = 2.210, .lr = 0.004}, "dense-i", "", NULL},
        {{.name = "b-l-s1", .seed = 1, .n_used = 3, .level = 2.30, .lr = 0.0005}, "b-l", "", NULL},
        {{.name = "b-m-s1", .seed = 1, .n_used = 3, .level = 2.22, .lr = 0.001}, "b-m", "", NULL},
        {{.name = "b-h-s1", .seed = 1, .n_used = 3, .level = 2.15, .lr = 0.002}, "b-h", "", NULL},
        SIDE("b", "scan", .n_used = 3, .level = 2.10, .lr = 0.004),
    };
    static const char *const dense[] = {"dense-l-s1", "dense-s1", "dense-h-s1", "dense-i-s1"};
    static const char *const moe[] = {"b-l-s1", "b-m-s1", "b-h-s1", "b-s1"};
    make_study(*state, "scan", runs, 10);
    make_step(*state, "lr-dense", sweep_of("dense", dense, 1));
    make_step(*state, "lr-b", sweep_of("b", moe, 3));
    iso_findings *f = find(*state);
    const iso_finding_verdict *v = verdict(f, "lr");
    assert_non_null(v);
    assert_int_equal(v->n_runs, 10);
    has(v->sentence, "Sweeps of 4 and 4 rates");
    /* What the MoE loses is not known, so neither is by how much: at most what dense may. */
    assert_int_equal(v->outcome, ISO_VERDICT_UNRESOLVED);
    assert_true(isnan(v->value) && v->low == -INFINITY && v->high >= 0.0 && v->high < 0.02);
    has(v->sentence, "Whether learning rates favour dense or the MoE at 21\xc2\xa0% activation is "
                     "not known");
    has(v->sentence, "its sweep doesn't bound the best rate on both sides");
    assert_null(strstr(v->sentence, "neither is handicapped"));
    assert_true(noted(f, "b: its best learning rate lies at the edge"));
    assert_false(noted(f, "No learning-rate sweep"));
    const iso_finding_table *t = table(f, "lr");
    assert_int_equal(t->n_rows, 2);
    assert_string_equal(cell(t, 0, "side")->text, "dense");
    near(cell(t, 0, "chosen")->value, 0.5, 1e-12);
    assert_true(isnan(cell(t, 1, "handicap")->value));
    assert_string_equal(cell(t, 1, "beyond noise")->text, "unknown");
    assert_false(isnan(cell(t, 0, "handicap")->value));
    const iso_series *s = series(figure(f, "lr"), "dense");
    assert_int_equal(s->n, 4);
    near(s->points[0].y, 0.02, 0.004);
    near(s->points[1].y, 0.0, 1e-12);
    near(verdict(f, "gap")->value, 0.03, 0.004); /* candidates are no sides of the comparison */
    iso_findings_free(f);
}

/* Runs that steps chose among are trained again: what is left says what it can. */
static void test_sweep_under_way(void **state) {
    made_entry runs[] = {
        {{.name = "dense-l-s1", .seed = 1, .level = 2.150, .lr = 0.0005}, "dense-l", "", NULL},
        SIDE("dense", "scan", .level = 2.130, .lr = 0.001),
        {{.name = "dense-h-s1", .seed = 1, .level = 2.150, .lr = 0.002}, "dense-h", "", NULL},
        {{.name = "dense-i-s1", .seed = 1, .level = 2.210, .lr = 0.004}, "dense-i", "", NULL},
        SIDE("b", "scan", .n_used = 3, .level = 2.10),
        {{.name = "b-h-s1", .seed = 1, .n_used = 3, .level = 2.15, .lr = 0.004}, "b-h", "", NULL},
    };
    static const char *const dense[] = {"dense-l-s1", "dense-s1", "dense-h-s1", "dense-i-s1"};
    static const char *const moe[] = {"b-h-s1", "b-h-s1", "b-h-s1", "b-h-s1"};
    runs[4].run.state = runs[7].run.state = "waiting"; /* dense-i-s1 and b-h-s1 */
    make_study(*state, "scan", runs, 8);
    make_step(*state, "lr-dense", sweep_of("dense", dense, 1));
    make_step(*state, "lr-b", sweep_of("b", moe, 0));
    iso_findings *f = find(*state);
    near(verdict(f, "gap")->value, 0.03, 0.004);
    assert_int_equal(table(f, "lr")->n_rows, 1); /* of b the chosen one is missing */
    assert_int_equal(series(figure(f, "lr"), "dense")->n, 3);
    assert_true(noted(f, "The sweep of dense: 1 of the runs that it chose among has no score"));
    assert_true(noted(f, "The sweep of b: the run that it chose has no score"));
    iso_findings_free(f);
    /* A step of another study is no half-done one. */
    static const char *const strange[] = {"dense-l-s1", "dense-s1", "dense-h-s1", "no-such-s1"};
    make_step(*state, "lr-dense", sweep_of("dense", strange, 1));
    assert_int_equal(iso_study_findings(&f, *state), ISO_ERR_DATA);
    has(iso_error_message(), "no-such-s1");
}

static void test_control(void **state) {
    static const double levels[] = {2.100, 2.104, 2.101, 2.103, 2.098, 2.102, 2.099, 2.105};
    made_entry runs[12];
    char names[12][16];
    for (int i = 0; i < 12; i++) {
        int seed = i < 8 ? i + 1 : i - 7;
        snprintf(names[i], sizeof names[i], "%s-s%d", i < 8 ? "dense" : "b", seed);
        runs[i] = (made_entry){{.name = names[i], .seed = seed, .level = levels[i % 8]},
                               i < 8 ? "dense" : "b",
                               i < 2 ? "control,scan" : "control",
                               NULL};
        if (i >= 8) runs[i].run.n_used = 3;
    }
    make_study(*state, "scan", runs, 12);
    iso_findings *f = find(*state);
    const iso_finding_verdict *v = verdict(f, "control");
    assert_int_equal(v->outcome, ISO_VERDICT_UNRESOLVED); /* 0 of 2 says nothing against 5 % */
    assert_int_equal(v->n_runs, 8);
    assert_int_equal(v->n_seeds, 2);
    near(v->value, 0.0, 1e-12);
    near(v->high, 1.0 - sqrt(0.025), 1e-3);
    v = verdict(f, "seed-noise");
    near(v->value, 0.0024, 0.001);
    assert_true(v->low < v->value && v->value < v->high);
    assert_int_equal(table(f, "control")->n_rows, 2);
    assert_int_equal(verdict(f, "control-b")->n_runs, 4); /* the control's other side */
    assert_int_equal(table(f, "control-b")->n_rows, 1);
    check_keys(f);
    iso_findings_free(f);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reuse),           TEST(test_reuse_expected), TEST(test_reuse_sides),
        TEST(test_search),          TEST(test_search_gap),     TEST(test_sweep),
        TEST(test_sweep_under_way), TEST(test_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
