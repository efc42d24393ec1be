#include "make_findings.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const iso_finding_axis rate = {"activation rate", "%", true, true};
static const iso_finding_axis bpc = {"score", "bits per character", false, false};
static const double rates[] = {0.1, 0.15, 0.2, 0.3, 0.5, 0.8};

#define N_RATES (int64_t)(sizeof rates / sizeof *rates)

static iso_finding_figure *figure(iso_findings *f, const char *key, const char *title,
                                  const char *caption, iso_finding_axis x, iso_finding_axis y) {
    iso_finding_figure *out;
    iso_finding_figure what = {
        .key = (char *)key, .title = (char *)title, .caption = (char *)caption, .x = x, .y = y};
    assert_int_equal(iso_findings_figure(f, &out, &what), ISO_OK);
    return out;
}

static void series(iso_finding_figure *f, const char *name, iso_series_kind kind,
                   iso_series_point *points, int64_t n) {
    iso_series what = {.name = (char *)name, .kind = kind, .n = n, .points = points};
    assert_int_equal(iso_findings_series(f, &what), ISO_OK);
}

static iso_series_point point(double x, double y, double half, int64_t n_seeds) {
    return (iso_series_point){
        .x = x, .y = y, .low = y - half, .high = y + half, .n_seeds = n_seeds};
}

/* A bowl in the logarithm of the rate, its bottom at `best`. */
static double bowl(double r, double best, double bottom) {
    return bottom + 0.012 * pow(log(r / best), 2);
}

static void add_scan(iso_findings *f) {
    iso_finding_figure *scan = figure(
        f, "1b", "Score against activation rate at equal N and C",
        "Each dot is an MoE, the mean over its seeds; whiskers and bands are 95\xc2\xa0% intervals "
        "from training noise. The levels are dense models at the same compute and at twice that.",
        rate, bpc);
    iso_series_point points[N_RATES], fit[41], ghost[4];
    for (int64_t i = 0; i < N_RATES; i++)
        points[i] =
            point(rates[i], bowl(rates[i], 0.25, 2.031) + 0.002 * (double)(i % 3 - 1), 0.004, 3);
    for (int64_t i = 0; i < 41; i++) {
        double r = 0.1 * pow(8.0, (double)i / 40.0);
        fit[i] = point(r, bowl(r, 0.25, 2.031), 0.003 + 0.004 * fabs(log(r / 0.3)), 0);
    }
    for (int64_t i = 0; i < 4; i++) {
        double r = 0.1 + 0.1 * (double)i;
        ghost[i] = point(r, bowl(r, 0.2, 2.036), NAN, 0);
    }
    iso_series_point dense = point(NAN, 2.047, 0.004, 3), twice = point(NAN, 2.022, 0.005, 2);
    iso_series_point best = {.x = 0.25, .y = NAN, .low = 0.19, .high = 0.33};
    series(scan, "MoE, C", ISO_SERIES_MEASURED, points, N_RATES);
    series(scan, "fit to the MoEs", ISO_SERIES_FIT, fit, 41);
    series(scan, "best rate", ISO_SERIES_SPAN, &best, 1);
    series(scan, "dense, C", ISO_SERIES_LEVEL, &dense, 1);
    series(scan, "dense, 2C", ISO_SERIES_LEVEL, &twice, 1);
    series(scan, "paper, 2B (moved to our dense level)", ISO_SERIES_GHOST, ghost, 4);
}

static void add_tokens(iso_findings *f) {
    iso_finding_axis tokens = {"training tokens D", NULL, true, false};
    iso_finding_figure *fig = figure(f, "2a", "Score against tokens at fixed activation rates",
                                     "Lines join the means of one rate.", tokens, bpc);
    static const char *const names[] = {"MoE, 20\xc2\xa0%", "MoE, 50\xc2\xa0%", "dense"};
    for (int s = 0; s < 3; s++) {
        iso_series_point points[5];
        for (int i = 0; i < 5; i++) {
            double d = 2e6 * pow(2.0, i);
            points[i] = point(d, 1.4 + 0.03 * s + 9.0 * pow(d, -0.15), 0.01, 2 + (s + i) % 2);
        }
        series(fig, names[s], ISO_SERIES_MEASURED, points, 5);
    }
}

static void add_reuse(iso_findings *f) {
    iso_finding_axis epochs = {"epochs over the unique text", NULL, true, false};
    iso_finding_axis cost = {"cost of reuse", "bits per character", false, false};
    iso_finding_figure *fig =
        figure(f, "4", "What reuse costs, by epochs", "Against unique data.", epochs, cost);
    iso_series_point ours[3] = {{1, 0.0, -0.004, 0.004, 2, "unique"},
                                {2, 0.006, 0.001, 0.011, 2, "loose"},
                                {4.3, 0.014, 0.008, 0.020, 2, "strict"}};
    iso_series_point law[20];
    for (int i = 0; i < 20; i++) law[i] = point(1 + 0.25 * i, 0.004 * 0.25 * i, NAN, 0);
    series(fig, "MoE, 20\xc2\xa0%", ISO_SERIES_MEASURED, ours, 3);
    series(fig, "Muennighoff's law", ISO_SERIES_LAW, law, 20);
}

static void add_lr(iso_findings *f) {
    iso_finding_axis lr = {"learning rate", NULL, true, false};
    iso_finding_figure *fig = figure(f, "lr", "Score against learning rate, per side",
                                     "Step Law's rate is a vertical line.", lr, bpc);
    iso_series_point moe[3], dense[3], law = {.x = 8e-4, .y = NAN, .low = NAN, .high = NAN};
    for (int i = 0; i < 3; i++) {
        moe[i] = point(4e-4 * pow(2, i), 2.05 + 0.01 * (i - 1) * (i - 1), NAN, 1);
        dense[i] = point(4e-4 * pow(2, i), 2.06 + 0.013 * (i - 1) * (i - 1), NAN, 1);
    }
    series(fig, "MoE, 20\xc2\xa0%", ISO_SERIES_MEASURED, moe, 3);
    series(fig, "dense", ISO_SERIES_MEASURED, dense, 3);
    series(fig, "Step Law", ISO_SERIES_SPAN, &law, 1);
}

static void add_table(iso_findings *f, const char *key, const char *title) {
    iso_finding_column columns[] = {{"candidate", NULL, -1, false},
                                    {"experts", NULL, -1, false},
                                    {"activation rate", "%", 1, true},
                                    {"score, choosing half", "BPC", 4, false},
                                    {"score, reporting half", "BPC", 4, false},
                                    {"what happened", NULL, -1, false}};
    iso_finding_table what = {.key = (char *)key,
                              .title = (char *)title,
                              .caption = "Chosen on one half of the documents, told on the other.",
                              .n_columns = 6,
                              .columns = columns};
    iso_finding_table *table;
    assert_int_equal(iso_findings_table(f, &table, &what), ISO_OK);
    static const char *const names[] = {"full", "1dense, shared expert", "interleave"};
    for (int i = 0; i < 3; i++) {
        iso_finding_cell cells[6] = {{.text = (char *)names[i]},
                                     {.value = 8 << i},
                                     {.value = 0.2004},
                                     {.value = 2.041 + 0.004 * i, .is_best = i == 0},
                                     {.value = i == 2 ? NAN : 2.044 + 0.003 * i},
                                     {.text = i == 2 ? "stopped as hopeless at step 40" : ""}};
        assert_int_equal(iso_findings_row(table, cells), ISO_OK);
    }
}

static void verdict(iso_findings *f, const char *key, const char *question, const char *sentence,
                    iso_verdict_outcome outcome, double value, double low, double high,
                    const char *unit, int64_t n_seeds) {
    iso_finding_verdict v = {.key = (char *)key,
                             .question = (char *)question,
                             .sentence = (char *)sentence,
                             .outcome = outcome,
                             .value = value,
                             .low = low,
                             .high = high,
                             .unit = (char *)unit,
                             .n_seeds = n_seeds,
                             .n_runs = 6 * n_seeds};
    assert_int_equal(iso_findings_verdict(f, &v), ISO_OK);
}

static iso_findings *make_whole(void) {
    iso_findings *f = iso_findings_create("small", "scan");
    assert_non_null(f);
    f->headline = strdup("At equal N (400k parameters), C (4.8\xc2\xb7"
                         "10\xc2\xb9\xc2\xb2 FLOPs) and "
                         "data, the best MoE is better than dense by 0.016 \xc2\xb1 0.005 bits per "
                         "character (95\xc2\xa0%; 3 seeds, 24 runs).");
    f->n_runs = f->n_finished = 24;
    verdict(
        f, "gap", "Does an MoE beat dense at equal N and C?",
        "Yes: by 0.016 bits per character (95\xc2\xa0%: 0.011 to 0.021; 3 seeds) at 25\xc2\xa0% "
        "activation.",
        ISO_VERDICT_RESOLVED, 0.0161, 0.0112, 0.0214, "bits per character", 3);
    verdict(f, "optimum", "At which activation rate is the MoE best?",
            "At 25\xc2\xa0% (95\xc2\xa0%: 19\xc2\xa0% to 33\xc2\xa0%; 3 seeds).",
            ISO_VERDICT_RESOLVED, 0.251, 0.192, 0.334, "activation rate", 3);
    verdict(f, "region", "From which rate on is the MoE better?",
            "At or above 14\xc2\xa0%, with no end within the scan.", ISO_VERDICT_RESOLVED, NAN,
            0.14, INFINITY, "activation rate", 3);
    verdict(f, "reuse-strict", "Does reuse cost the MoE more than dense?",
            "Not resolved: 0.002 (95\xc2\xa0%: \xe2\x88\x92"
            "0.004 to 0.008).",
            ISO_VERDICT_UNRESOLVED, 0.002, -0.004, 0.008, "bits per character", 2);
    verdict(f, "aa", "How far apart are equal runs?", "Nothing is known of it yet.",
            ISO_VERDICT_UNRESOLVED, NAN, NAN, NAN, NULL, 0);
    add_scan(f);
    add_tokens(f);
    add_reuse(f);
    add_lr(f);
    add_table(f, "search-layout", "Search, step 1: where the experts are");
    add_table(f, "lr", "A table of the same key as a figure");
    assert_int_equal(iso_findings_note(f, "The intervals count %s only.", "training noise"),
                     ISO_OK);
    assert_int_equal(iso_findings_note(f, "The rate is a rate of parameters, not of time."),
                     ISO_OK);
    return f;
}

static iso_findings *make_hostile(void) {
    iso_findings *f = iso_findings_create("<script>alert(1)</script> & \"co\"", "grid");
    assert_non_null(f);
    f->headline = strdup("One seed <b>only</b>.");
    f->n_runs = 50;
    f->under_way = true;
    f->n_finished = 41;
    verdict(f, "k<1>", "Is <i>this</i> escaped?", "\"Yes\" & 'no'.", ISO_VERDICT_UNRESOLVED, 1e-9,
            NAN, NAN, "<unit>", 1);
    verdict(f, "half", "What of an interval open to the left?", "It ends in an arrow.",
            ISO_VERDICT_RESOLVED, -3.0, -INFINITY, -1.0, "BPC", 2);
    verdict(f, "wide", "And of one with 2 seeds?", "It is wide.", ISO_VERDICT_UNRESOLVED, 12345.678,
            -2e6, 2e6, "FLOPs", 2);
    iso_finding_axis tokens = {"D", "tokens", true, false};
    iso_finding_axis plain = {"a < b", "x & y", false, false};
    iso_finding_figure *one = figure(f, "one", "A single point", "With one seed.", rate, bpc);
    iso_series_point single = {.x = 0.2, .y = 2.0, .low = NAN, .high = NAN, .n_seeds = 1};
    series(one, "MoE", ISO_SERIES_MEASURED, &single, 1);
    iso_finding_figure *many =
        figure(f, "many/../x",
               "Forty points of a series whose title is so long that it has to be broken into "
               "several rows, "
               "which a file of its own must do by itself, being without a browser",
               NULL, tokens, bpc);
    iso_series_point forty[40];
    for (int i = 0; i < 40; i++) {
        forty[i] = point(1e6 * pow(1.3, i), 3.0 - 0.03 * i + 0.02 * sin(i), 0.02, 1);
        if (i == 7) forty[i].y = NAN;
        if (i == 9) forty[i].low = forty[i].high = NAN;
    }
    forty[3].label = "a \"label\", with\na line";
    series(many,
           "a very long name of a series, with commas, that goes on and on until no legend can "
           "hold it in a row, and then some",
           ISO_SERIES_MEASURED, forty, 40);
    for (int i = 0; i < 40; i++) {
        forty[i].y -= 0.1;
        forty[i].low -= 0.1;
        forty[i].high -= 0.1;
    }
    forty[3].label = NULL;
    series(many, "<dense>", ISO_SERIES_MEASURED, forty, 40);
    iso_series_point nothing = {.x = NAN, .y = NAN, .low = NAN, .high = NAN};
    iso_finding_figure *unknown = figure(f, "unknown", "Nothing but NaN", "", plain, plain);
    series(unknown, "MoE", ISO_SERIES_MEASURED, &nothing, 1);
    series(unknown, "span", ISO_SERIES_SPAN, &nothing, 1);
    series(unknown, "dense", ISO_SERIES_LEVEL, &nothing, 1);
    figure(f, "none", "No series at all", NULL, plain, plain);
    iso_finding_figure *signs = figure(f, "signs", "Below and above zero", "", plain, plain);
    iso_series_point mixed[3] = {point(-5, -0.2, 0.3, 2), point(0, INFINITY, 1, 2),
                                 point(5, 0.4, 0.1, 2)};
    series(signs, "MoE", ISO_SERIES_MEASURED, mixed, 3);
    iso_series_point open = {.x = 1, .y = NAN, .low = -INFINITY, .high = 3};
    series(signs, "open span", ISO_SERIES_SPAN, &open, 1);
    iso_finding_column columns[] = {{"a,b", NULL, -1, false}, {"c", "<d>", 2, false}};
    iso_finding_table what = {.key = "t", .title = "<t>", .n_columns = 2, .columns = columns};
    iso_finding_table *table;
    assert_int_equal(iso_findings_table(f, &table, &what), ISO_OK);
    iso_finding_cell cells[2] = {{.text = "# \"x\" <y>"}, {.value = -1e12}};
    assert_int_equal(iso_findings_row(table, cells), ISO_OK);
    what.key = "t0";
    assert_int_equal(iso_findings_table(f, &table, &what), ISO_OK);
    return f;
}

static iso_findings *make_refused(void) {
    iso_findings *f = iso_findings_create("unequal", "scan");
    assert_non_null(f);
    f->headline = strdup("The runs are not equal: there is no comparison.");
    f->n_runs = f->n_finished = 4;
    verdict(f, "gap", "Does an MoE beat dense at equal N and C?",
            "moe-20-s1 and dense-s1 differ in compute C: 1.2e12 against 1.3e12 FLOPs.",
            ISO_VERDICT_REFUSED, 0.5, 0.4, 0.6, "BPC", 2);
    return f;
}

static iso_findings *make_empty(void) {
    iso_findings *f = iso_findings_create("begun", "reuse");
    assert_non_null(f);
    f->headline = strdup("No run has finished yet.");
    f->n_runs = 14;
    f->under_way = true;
    figure(f, "1b", "Score against activation rate", "To come.", rate, bpc);
    assert_int_equal(iso_findings_note(f, "14 runs are still to be trained."), ISO_OK);
    return f;
}

iso_findings *make_findings(made_findings what) {
    switch (what) {
    case MADE_WHOLE:
        return make_whole();
    case MADE_HOSTILE:
        return make_hostile();
    case MADE_REFUSED:
        return make_refused();
    case MADE_EMPTY:
        break;
    }
    return make_empty();
}
