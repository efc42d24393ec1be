/* What a study's runs say: planted numbers come out as planted, an unequal study is refused, and
 * what is not known is said not to be. */
#include "made_study.h"
#include "study/answer.h"
#include "study/study_findings.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/temp_dir.h"

static void near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.12g is not within %g of %.12g", value, tolerance, expected);
}

static void has(const char *text, const char *word) {
    if (!text || !strstr(text, word)) fail_msg("\"%s\" does not say \"%s\"", text, word);
}

static iso_findings *find(const char *dir) {
    iso_findings *f;
    if (iso_study_findings(&f, dir) != ISO_OK) fail_msg("%s", iso_error_message());
    return f;
}

static const iso_finding_verdict *verdict(const iso_findings *f, const char *key) {
    for (int64_t i = 0; i < f->n_verdicts; i++)
        if (strcmp(f->verdicts[i].key, key) == 0) return &f->verdicts[i];
    return NULL;
}

static const iso_finding_figure *figure(const iso_findings *f, const char *key) {
    for (int64_t i = 0; i < f->n_figures; i++)
        if (strcmp(f->figures[i].key, key) == 0) return &f->figures[i];
    return NULL;
}

static const iso_finding_table *table(const iso_findings *f, const char *key) {
    for (int64_t i = 0; i < f->n_tables; i++)
        if (strcmp(f->tables[i].key, key) == 0) return &f->tables[i];
    return NULL;
}

static const iso_series *series(const iso_finding_figure *figure, const char *name) {
    for (int64_t i = 0; figure && i < figure->n; i++)
        if (strcmp(figure->series[i].name, name) == 0) return &figure->series[i];
    return NULL;
}

static const iso_finding_cell *cell(const iso_finding_table *t, int64_t row, const char *column) {
    for (int64_t j = 0; j < t->n_columns; j++)
        if (strcmp(t->columns[j].label, column) == 0) return &t->cells[row * t->n_columns + j];
    fail_msg("%s has no column %s", t->key, column);
    return NULL;
}

static bool noted(const iso_findings *f, const char *word) {
    for (int64_t i = 0; i < f->n_notes; i++)
        if (strstr(f->notes[i], word)) return true;
    return false;
}

/* --- scan --- */

#define PART(side_, parts_, groups_, ...)                                                          \
    {{.name = side_ "-s1", .seed = 1, __VA_ARGS__}, side_, groups_, parts_}, {                     \
        {.name = side_ "-s2", .seed = 2, __VA_ARGS__}, side_, groups_, parts_                      \
    }
#define SIDE(side_, groups_, ...) PART(side_, NULL, groups_, __VA_ARGS__)

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

static void check_keys(const iso_findings *f) {
    for (int64_t i = 0; i < f->n_verdicts; i++)
        assert_ptr_equal(verdict(f, f->verdicts[i].key), &f->verdicts[i]);
    for (int64_t i = 0; i < f->n_figures; i++)
        assert_ptr_equal(figure(f, f->figures[i].key), &f->figures[i]);
    for (int64_t i = 0; i < f->n_tables; i++)
        assert_ptr_equal(table(f, f->tables[i].key), &f->tables[i]);
}

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
        TEST(test_scan),           TEST(test_scan_over_data), TEST(test_noise_of_comparison),
        TEST(test_json),           TEST(test_unequal),        TEST(test_one_seed),
        TEST(test_under_way),      TEST(test_no_study),       TEST(test_reuse),
        TEST(test_reuse_expected), TEST(test_search),         TEST(test_search_gap),
        TEST(test_sweep),          TEST(test_control),        TEST(test_sweep_under_way),
        TEST(test_reuse_sides),    TEST(test_held_tokens),    TEST(test_held_tokens_of_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
