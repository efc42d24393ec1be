/* What a study's runs say: planted numbers come out as planted, an unequal study is refused, and
 * what is not known is said not to be. Scans here; test_findings_parts.c has the other parts. */
#include "find_findings.h"
#include "study/answer.h"

/* --- scan --- */

/* Levels without seed noise of their own: that of the windows alone is left. Those of the MoEs lie
 * on a parabola in ln r_a, lowest at 23.5 %: four points off it would say little. */
static const made_entry scan[] = {
    SIDE("dense", "scan", .level = 2.130),
    SIDE("a", "scan", .n_used = 2, .level = 2.1003),
    SIDE("b", "scan", .n_used = 3, .level = 2.0959),
    SIDE("c", "scan", .n_used = 5, .level = 2.0984),
    SIDE("d", "scan", .n_used = 11, .level = 2.1380),
    SIDE("dense-2c", "", .level = 2.080, .n_steps = 800),
};
#define N_SCAN (int)(sizeof scan / sizeof *scan)

static void check_scan_verdicts(const iso_findings *f) {
    const iso_finding_verdict *v = verdict(f, "gap");
    assert_non_null(v);
    assert_string_equal(f->headline, v->sentence);
    assert_int_equal(v->outcome, ISO_VERDICT_RESOLVED);
    near(v->value, 0.035, 0.004); /* "b", at 21 %, is nearest to 20 % */
    assert_true(v->low > 0.02 && v->high < 0.05 && v->low < v->value && v->value < v->high);
    assert_int_equal(v->n_seeds, 2);
    assert_int_equal(v->n_runs, 10); /* those of dense at 2C are none of the comparison */
    has(v->sentence, "the MoE at 21\xc2\xa0% activation is better than dense by 0.03");
    has(v->sentence, "10 seeds of 5 configurations"); /* nor of its noise */
    v = verdict(f, "gap-2c");
    assert_int_equal(v->outcome, ISO_VERDICT_RESOLVED);
    near(v->value, -0.015, 0.004);
    has(v->sentence, "higher (worse)");
    assert_int_equal(v->n_seeds, 2);
    assert_int_equal(v->n_runs, 4);
    v = verdict(f, "optimum");
    assert_int_equal(v->outcome, ISO_VERDICT_RESOLVED);
    assert_true(v->value > 0.2 && v->value < 0.28 && v->low < v->value && v->value < v->high);
    v = verdict(f, "gap-at-optimum");
    near(v->value, 0.035, 0.006);
    v = verdict(f, "region");
    assert_int_equal(v->outcome, ISO_VERDICT_RESOLVED);
    assert_true(v->low < 0.19 && v->high > 0.3 && v->high < 0.5);
}

static void check_scan_figures(const iso_findings *f) {
    const iso_finding_figure *fig = figure(f, "1b");
    assert_non_null(fig);
    assert_true(fig->x.is_log && fig->x.is_percent);
    assert_int_equal(series(fig, "MoE, C")->n, 4);
    assert_int_equal(series(fig, "dense, C")->kind, ISO_SERIES_LEVEL);
    near(series(fig, "dense, C")->points[0].y - series(fig, "dense, 2C")->points[0].y, 0.05, 0.004);
    const iso_series *span = series(fig, "best rate, 95 %");
    assert_int_equal(span->kind, ISO_SERIES_SPAN);
    near(span->points[0].x, verdict(f, "optimum")->value, 1e-12);
    const iso_series *fit = series(fig, "fit");
    for (int64_t i = 1; i < fit->n; i++) assert_true(fit->points[i].x > fit->points[i - 1].x);
    const iso_series *gaps = series(figure(f, "1b-gap"), "MoE");
    near(gaps->points[1].y, verdict(f, "gap")->value, 1e-12);
    near(gaps->points[1].low, verdict(f, "gap")->low, 1e-12);
    /* The paper's own: 0.0064 at 20 %, its Tables 10 and 14. */
    const iso_series *ghost = series(figure(f, "1b-gap"), "paper, 2B");
    assert_int_equal(ghost->kind, ISO_SERIES_GHOST);
    assert_int_equal(ghost->n, 12);
    double best = 0.0, at = 0.0;
    for (int64_t i = 0; i < ghost->n; i++)
        if (ghost->points[i].y > best) best = ghost->points[i].y, at = ghost->points[i].x;
    near(best, 0.0064, 1e-9);
    near(at, 0.1987, 1e-3);
    fig = figure(f, "1a"); /* one C: courses, their last points before C */
    assert_int_equal(fig->n, 5);
    assert_true(fig->series[0].n > 2 && isnan(fig->series[0].points[0].low));
}

static void check_scan_table(const iso_findings *f) {
    const iso_finding_table *t = table(f, "gaps");
    assert_int_equal(t->n_rows, 4);
    for (int64_t i = 0; i < 4; i++) {
        double half = cell(t, i, "\xc2\xb1 95 %")->value;
        near(half,
             hypot(cell(t, i, "of it training")->value, cell(t, i, "of it evaluation")->value),
             1e-12);
        bool beyond = fabs(cell(t, i, "gap to dense at C")->value) > half;
        assert_string_equal(cell(t, i, "beyond noise")->text, beyond ? "yes" : "no");
        assert_int_equal(cell(t, i, "loss")->is_best, i == 1);
    }
    near(cell(t, 1, "gap to dense at C")->value, verdict(f, "gap")->value, 1e-12);
    near(cell(t, 1, "gap to dense at 2C")->value, verdict(f, "gap-2c")->value, 1e-12);
    assert_int_equal(table(f, "sides")->n_rows, 6);
}

static void test_scan(void **state) {
    make_study(*state, "scan", scan, N_SCAN);
    iso_findings *f = find(*state);
    assert_int_equal(f->n_runs, N_SCAN);
    assert_int_equal(f->n_finished, N_SCAN);
    check_keys(f);
    check_scan_verdicts(f);
    check_scan_figures(f);
    check_scan_table(f);
    assert_true(noted(f, "No learning-rate sweep"));
    assert_false(noted(f, "under way"));
    assert_false(f->under_way);
    iso_findings_free(f);
}

static void test_json(void **state) {
    make_study(*state, "scan", scan, N_SCAN);
    iso_findings *f = find(*state);
    json_t *json = iso_findings_json(f);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "study")), "made");
    json_t *verdicts = json_object_get(json, "verdicts"),
           *figures = json_object_get(json, "figures");
    assert_int_equal(json_array_size(verdicts), (size_t)f->n_verdicts);
    assert_int_equal(json_array_size(figures), (size_t)f->n_figures);
    const json_t *first = json_array_get(verdicts, 0);
    assert_string_equal(json_string_value(json_object_get(first, "outcome")), "resolved");
    assert_true(json_number_value(json_object_get(first, "value")) == f->verdicts[0].value);
    /* A level has no x: null, and never 0. */
    for (int64_t i = 0; i < f->figures[0].n; i++) {
        if (f->figures[0].series[i].kind != ISO_SERIES_LEVEL) continue;
        const json_t *level =
            json_array_get(json_object_get(json_array_get(figures, 0), "series"), (size_t)i);
        const json_t *point = json_array_get(json_object_get(level, "points"), 0);
        assert_true(json_is_null(json_object_get(point, "x")));
    }
    json_decref(json);
    iso_findings_free(f);
}

static void test_unequal(void **state) {
    static const made_entry runs[] = {
        SIDE("dense", "scan", .level = 2.130),
        SIDE("a", "scan", .n_used = 2, .level = 2.105),
        SIDE("b", "scan", .n_used = 3, .level = 2.095, .n_extra = 2), /* 3.6 % more of N */
        SIDE("c", "scan", .n_used = 5, .level = 2.100),
    };
    make_study(*state, "scan", runs, 8);
    iso_findings *f = find(*state);
    const iso_finding_verdict *v = verdict(f, "gap");
    assert_int_equal(v->outcome, ISO_VERDICT_REFUSED);
    assert_true(isnan(v->value) && isnan(v->low) && isnan(v->high));
    has(v->sentence, "No comparison: the runs are not equal");
    assert_null(verdict(f, "optimum"));
    assert_null(verdict(f, "region"));
    assert_null(table(f, "gaps"));
    assert_null(figure(f, "1b-gap"));
    has(figure(f, "1b")->title, "no comparison");
    iso_findings_free(f);
}

static void test_one_seed(void **state) {
    made_entry runs[4];
    for (int i = 0; i < 4; i++) runs[i] = scan[2 * i];
    make_study(*state, "scan", runs, 4);
    iso_findings *f = find(*state);
    const iso_finding_verdict *v = verdict(f, "gap");
    assert_int_equal(v->outcome, ISO_VERDICT_UNRESOLVED);
    near(v->value, 0.035, 0.006);
    assert_true(isnan(v->low) && isnan(v->high));
    has(v->sentence, "nothing says how much of that is chance");
    assert_true(noted(f, "nothing is known of training noise"));
    assert_null(verdict(f, "optimum"));
    assert_true(isnan(series(figure(f, "1b"), "MoE, C")->points[0].low));
    iso_findings_free(f);
}

static void test_under_way(void **state) {
    made_entry runs[N_SCAN];
    memcpy(runs, scan, sizeof runs);
    for (int i = 4; i < N_SCAN; i++) runs[i].run.state = "waiting";
    runs[3].run.state = "failed";
    make_study(*state, "scan", runs, N_SCAN);
    iso_findings *f = find(*state);
    assert_int_equal(f->n_finished, 3);
    assert_true(noted(f, "8 of its 12 runs so far have not finished"));
    assert_true(noted(f, "a-s2 failed"));
    assert_true(noted(f, "Choices are open"));
    assert_true(f->under_way);
    assert_non_null(verdict(f, "gap"));
    assert_true(noted(f, "No optimum"));
    iso_findings_free(f);
    for (int i = 0; i < N_SCAN; i++) runs[i].run.state = "waiting";
    char *empty = iso_strf("%s/empty", (char *)*state);
    make_study(empty, "scan", runs, N_SCAN);
    f = find(empty);
    assert_int_equal(f->n_verdicts, 0);
    has(f->headline, "No run of the study has finished yet");
    iso_findings_free(f);
    free(empty);
}

static void test_no_study(void **state) {
    iso_findings *f;
    assert_int_equal(iso_study_findings(&f, *state), ISO_ERR_USAGE);
    has(iso_error_message(), "there is no study here");
    /* A run under another's name. */
    make_study(*state, "scan", scan, N_SCAN);
    char *from = iso_strf("%s/runs/a-s1", (char *)*state),
         *to = iso_strf("%s/runs/b-s1", (char *)*state);
    assert_int_equal(iso_dir_remove(to), ISO_OK);
    assert_int_equal(iso_dir_rename(from, to), ISO_OK);
    assert_int_equal(iso_study_findings(&f, *state), ISO_ERR_DATA);
    has(iso_error_message(), "the ledger is of a run named a-s1");
    free(from);
    free(to);
}

/* At each D a comparison of its own, and loss against compute from the ends of trainings. */
static void test_scan_over_data(void **state) {
    static const made_entry runs[] = {
        SIDE("d1m-dense", "scan-d1m", .level = 2.130, .n_steps = 200),
        SIDE("d1m-b", "scan-d1m", .n_used = 3, .level = 2.110, .n_steps = 200),
        SIDE("d2m-dense", "scan-d2m", .level = 2.060),
        SIDE("d2m-b", "scan-d2m", .n_used = 3, .level = 2.020),
    };
    make_study(*state, "scan", runs, 8);
    iso_findings *f = find(*state);
    check_keys(f);
    assert_null(verdict(f, "gap"));
    near(verdict(f, "gap-d1m")->value, 0.020, 0.004);
    near(verdict(f, "gap-d2m")->value, 0.040, 0.004);
    has(verdict(f, "gap-d2m")->question, "and data, 2m tokens of dense?");
    const iso_series *dense = series(figure(f, "1a"), "dense");
    assert_int_equal(dense->n, 2);
    assert_true(dense->points[0].x < dense->points[1].x); /* by compute */
    near(dense->points[1].x / dense->points[0].x, 2.0, 1e-9);
    near(dense->points[0].y - dense->points[1].y, 0.070, 0.004);
    assert_true(dense->points[0].low < dense->points[0].y);
    assert_int_equal(figure(f, "1a")->n, 2);
    const iso_series *gaps = series(figure(f, "1a-gap"), "MoE 21\xc2\xa0%");
    assert_int_equal(gaps->n, 2);
    near(gaps->points[1].x / gaps->points[0].x, 2.0, 0.01);
    near(gaps->points[1].y, verdict(f, "gap-d2m")->value, 1e-12);
    near(gaps->points[1].high, verdict(f, "gap-d2m")->high, 1e-12);
    assert_null(figure(f, "1b-d2m")); /* a single point */
    assert_false(noted(f, "No optimum"));
    iso_findings_free(f);
}

#define THREE(side_, groups_, spread_, level_, ...)                                                \
    {{.name = side_ "-s1", .seed = 1, .level = (level_) - (spread_), __VA_ARGS__},                 \
     side_,                                                                                        \
     groups_,                                                                                      \
     NULL},                                                                                        \
        {{.name = side_ "-s2", .seed = 2, .level = (level_), __VA_ARGS__}, side_, groups_, NULL},  \
    {                                                                                              \
        {.name = side_ "-s3", .seed = 3, .level = (level_) + (spread_), __VA_ARGS__}, side_,       \
            groups_, NULL                                                                          \
    }

/* (I2): where little text makes seeds scatter, that is that comparison's noise and no other's. */
static void test_noise_of_comparison(void **state) {
    static const made_entry runs[] = {
        THREE("d1m-dense", "scan-d1m", 0.04, 2.130, .n_steps = 200),
        THREE("d1m-b", "scan-d1m", 0.04, 2.080, .n_used = 3, .n_steps = 200),
        THREE("d2m-dense", "scan-d2m", 0.002, 2.060),
        THREE("d2m-b", "scan-d2m", 0.002, 2.010, .n_used = 3),
    };
    make_study(*state, "scan", runs, 12);
    iso_findings *f = find(*state);
    const iso_finding_verdict *few = verdict(f, "gap-d1m"), *many = verdict(f, "gap-d2m");
    has(few->sentence, "from 6 seeds of 2 configurations");
    has(many->sentence, "from 6 seeds of 2 configurations");
    /* t(4) 0.04 sqrt(2/3) = 0.0907, and 0.0045. */
    assert_int_equal(few->outcome, ISO_VERDICT_UNRESOLVED);
    near(few->high - few->value, 0.0907, 0.004);
    assert_int_equal(many->outcome, ISO_VERDICT_RESOLVED);
    near(many->high - many->value, 0.005, 0.002);
    /* Figures and tables say the same. */
    const iso_series *dense = series(figure(f, "1a"), "dense");
    double low = dense->points[0].high - dense->points[0].y,
           high = dense->points[1].high - dense->points[1].y;
    near(low, 0.0641, 0.003); /* t(4) 0.04 / sqrt 3 */
    near(high, 0.0032, 0.0015);
    near(cell(table(f, "sides"), 0, "SD of its seeds")->value, 0.04, 0.003);
    iso_findings_free(f);
    /* Two degrees of freedom are too few: the whole study's. */
    made_entry less[8];
    for (int i = 0; i < 8; i++) less[i] = runs[i / 2 * 3 + i % 2 * 2];
    make_study(*state, "scan", less, 8);
    f = find(*state);
    has(verdict(f, "gap-d1m")->sentence, "from 8 seeds of 4 configurations");
    iso_findings_free(f);
}

/* --- tokens held --- */

/* n_steps is of the dense run of the same compute: these see its tokens to half a percent. */
#define EQUAL_TOKENS(parts_, prefix_)                                                              \
    PART(prefix_ "b", parts_, "", .n_used = 3, .level = 2.160, .n_steps = 110),                    \
        PART(prefix_ "c", parts_, "", .n_used = 5, .level = 2.140, .n_steps = 136)

static void check_equal_tokens(const iso_findings *f, const char *key, const char *gap_key) {
    const iso_finding_figure *fig = figure(f, key);
    assert_non_null(fig);
    const iso_series *moes = series(fig, "MoE, equal tokens");
    assert_int_equal(moes->n, 2);
    near(moes->points[0].y - moes->points[1].y, 0.020, 0.004);
    const iso_series *dense = series(fig, "dense, equal tokens");
    assert_int_equal(dense->kind, ISO_SERIES_LEVEL);
    /* And not the one on twice the tokens. */
    near(moes->points[1].y - dense->points[0].y, 0.010, 0.004);
    fig = figure(f, gap_key);
    near(series(fig, "MoE")->points[1].y, -0.010, 0.004);
    /* The paper at 130B tokens: 0.4594 of dense less 0.4703 at 20 %, its Tables 14 and 11. */
    const iso_series *ghost = series(fig, "paper, 7B");
    double at20 = NAN;
    for (int64_t i = 0; i < ghost->n; i++)
        if (fabs(ghost->points[i].x - 0.20) < 0.005) at20 = ghost->points[i].y;
    near(at20, -0.0109, 1e-9);
}

static const char held_source[] =
    "format: 1\nname: made\nkind: scan\nbudget: {params: 400K, data: 2M}\n"
    "axes: {activation_rates: [20%], hold: tokens, dense_compute: [1, 2]}\nseeds: 2\n";

static void test_held_tokens(void **state) {
    static const made_entry runs[] = {
        PART("dense", "scan", "", .level = 2.130),
        PART("dense-2c", "scan", "", .level = 2.080, .n_steps = 800),
        EQUAL_TOKENS("scan", ""),
        /* Another rate of the sweep, which got one seed. */
        {{.name = "c-lr-s1", .seed = 1, .n_used = 5, .level = 2.5, .n_steps = 136, .lr = 0.004},
         "c-lr",
         "",
         NULL},
    };
    make_study_of(*state, "scan", held_source, runs, 9);
    iso_findings *f = find(*state);
    check_keys(f);
    check_equal_tokens(f, "2a", "2a-gap");
    const iso_finding_verdict *v = verdict(f, "gap");
    assert_int_equal(v->outcome, ISO_VERDICT_REFUSED);
    has(v->sentence, "the study holds tokens");
    iso_findings_free(f);
}

/* As a method's part it stands beside the comparisons, and refuses none. */
static void test_held_tokens_of_method(void **state) {
    static const char source[] =
        "format: 1\nname: made\nkind: method\nbudget: {params: 400K, data: 2M}\nseeds: 2\nparts:\n"
        "  scan: {axes: {activation_rates: [20%]}}\n"
        "  scan-tokens: {axes: {activation_rates: [20%, 35%], hold: tokens}}\n";
    static const made_entry runs[] = {
        PART("dense", "scan,scan-tokens", "scan", .level = 2.130),
        PART("b", "scan", "scan", .n_used = 3, .level = 2.095),
        EQUAL_TOKENS("scan-tokens", "tokens-"),
    };
    make_study_of(*state, "method", source, runs, 8);
    iso_findings *f = find(*state);
    check_keys(f);
    check_equal_tokens(f, "2a-tokens", "2a-gap-tokens");
    near(verdict(f, "gap")->value, 0.035, 0.004);
    for (int64_t i = 0; i < f->n_verdicts; i++)
        assert_int_not_equal(f->verdicts[i].outcome, ISO_VERDICT_REFUSED);
    iso_findings_free(f);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_scan),
        TEST(test_scan_over_data),
        TEST(test_noise_of_comparison),
        TEST(test_json),
        TEST(test_unequal),
        TEST(test_one_seed),
        TEST(test_under_way),
        TEST(test_no_study),
        TEST(test_held_tokens),
        TEST(test_held_tokens_of_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
