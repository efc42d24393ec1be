/* A study's page, figures and data: whatever the findings hold, the markup stands and every point
 * that is drawn is in the data. */
#include "../base/temp_dir.h"
#include "base/csv.h"
#include "make_findings.h"
#include "report/report_folder.h"
#include "report/study_csv.h"
#include "report/study_figure.h"
#include "report/study_table.h"
#include "report/study_words.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const made_findings all[] = {MADE_WHOLE, MADE_HOSTILE, MADE_REFUSED, MADE_EMPTY};

#define N_ALL (sizeof all / sizeof *all)

static int count(const char *text, const char *part) {
    int n = 0;
    for (; (text = strstr(text, part)); text += strlen(part)) n++;
    return n;
}

static char *page_of(const iso_findings *f) {
    iso_str out = {0};
    const iso_study_page page = {.findings = f, .dir = "my <study>"};
    iso_study_page_make(&out, &page);
    return out.data;
}

/* --- markup --- */

/* Every element that opens closes, in order; text holds no bare "<" or ">". */
static void check_markup(const char *text) {
    char *open[64];
    int depth = 0;
    for (const char *at = strchr(text, '<'); at; at = strchr(at, '<')) {
        const char *end = strchr(at, '>');
        assert_non_null(end);
        if (at[1] == '!') {
            at = end;
            continue;
        }
        size_t n = strcspn(at + 1 + (at[1] == '/'), " >/\n");
        char *name = iso_strf("%.*s", (int)n, at + 1 + (at[1] == '/'));
        assert_true(n > 0);
        if (at[1] == '/') {
            if (depth == 0 || strcmp(open[depth - 1], name) != 0)
                fail_msg("</%s> closes <%s>", name, depth ? open[depth - 1] : "nothing");
            free(open[--depth]);
            free(name);
        } else if (end[-1] == '/') {
            free(name);
        } else {
            assert_true(depth < 64);
            open[depth++] = name;
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}

static void check_harmless(const char *text) {
    static const char *const never[] = {"<script", "<i>", "<b>", "<unit>", "<d>",
                                        "<t>",     "<y>", "nan", "src=",   "@import"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (strstr(text, never[i])) fail_msg("'%s' is in the markup", never[i]);
    assert_int_equal(count(text, "url("), count(text, "url(#"));
    assert_int_equal(count(text, "http"), count(text, "http://www.w3.org/2000/svg"));
}

/* No two elements of one id: a figure would be clipped or named by another's. */
static void check_ids(const char *text) {
    for (const char *at = text; (at = strstr(at, " id=\"")); at++) {
        char *id = iso_strf("%.*s\"", (int)strcspn(at + 5, "\"") + 5, at);
        if (count(text, id) != 1) fail_msg("%s is there %d times", id, count(text, id));
        free(id);
    }
}

static void test_any_page(void **state) {
    for (size_t i = 0; i < N_ALL; i++) {
        iso_findings *f = make_findings(all[i]);
        char *page = page_of(f), *again = page_of(f);
        check_markup(page);
        check_harmless(page);
        check_ids(page);
        assert_string_equal(page, again);
        free(page);
        free(again);
        iso_findings_free(f);
    }
}

static void test_any_drawing(void **state) {
    for (size_t i = 0; i < N_ALL; i++) {
        iso_findings *f = make_findings(all[i]);
        for (int64_t j = 0; j < f->n_figures; j++) {
            iso_str svg = {0};
            iso_study_figure_svg(&svg, &f->figures[j]);
            assert_int_equal(strncmp(svg.data, "<svg xmlns=", 11), 0);
            check_markup(svg.data);
            check_harmless(svg.data);
            check_ids(svg.data);
            assert_int_equal(count(svg.data, "var("), 0);
            assert_int_equal(count(svg.data, "=\"-inf"), 0);
            assert_int_equal(count(svg.data, "=\"inf"), 0);
            iso_str_release(&svg);
        }
        iso_findings_free(f);
    }
}

/* --- what the page says --- */

static void test_whole(void **state) {
    iso_findings *f = make_findings(MADE_WHOLE);
    char *page = page_of(f);
    const char *at = page;
    static const char *const order[] = {"<h1>Study: small",
                                        "the best MoE is better than dense",
                                        "all 24 runs finished",
                                        "Questions and answers",
                                        "Does an MoE beat dense",
                                        "What limits these answers",
                                        "Figures",
                                        "figures/1b.svg",
                                        "Tables",
                                        "Search, step 1",
                                        "What was run"};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const char *found = strstr(at, order[i]);
        if (!found) fail_msg("'%s' is missing, or not in its place", order[i]);
        at = found;
    }
    for (int64_t i = 0; i < f->n_verdicts; i++) {
        assert_non_null(strstr(page, f->verdicts[i].question));
        assert_non_null(strstr(page, f->verdicts[i].sentence));
    }
    assert_non_null(strstr(page, "95\xc2\xa0% interval 0.0112 to 0.0214; 3 seeds, 18 runs"));
    assert_non_null(strstr(page, "95\xc2\xa0% interval 14.0\xc2\xa0% or more; 3 seeds"));
    assert_non_null(strstr(page, "<td class=\"best\">2.0410</td>"));
    assert_non_null(strstr(page, "dense, C: 2.0470, 3 seeds"));
    free(page);
    iso_findings_free(f);
}

static void test_refused(void **state) {
    iso_findings *f = make_findings(MADE_REFUSED);
    char *page = page_of(f);
    const char *refusal = strstr(page, "No comparison: the runs were not equal");
    assert_non_null(refusal);
    assert_true(refusal < strstr(page, f->headline));
    assert_non_null(strstr(page, "1.2e12 against 1.3e12"));
    /* The gap is a number of runs that must not be compared. */
    assert_null(strstr(page, "95\xc2\xa0% interval"));
    assert_null(strstr(page, "verdict-gap-bar"));
    assert_true(iso_findings_are_refused(f));
    free(page);
    iso_findings_free(f);
}

static void test_under_way(void **state) {
    iso_findings *f = make_findings(MADE_EMPTY);
    char *page = page_of(f);
    iso_str svg = {0};
    assert_non_null(strstr(page, "0 of 14 runs finished. It is under way"));
    assert_non_null(strstr(page, "14 runs are still to be trained."));
    assert_non_null(strstr(page, "none of the runs for this figure has finished"));
    iso_study_figure_svg(&svg, &f->figures[0]);
    assert_non_null(strstr(svg.data, "none of the runs for this figure has finished"));
    assert_false(iso_findings_are_refused(f));
    iso_str_release(&svg);
    free(page);
    iso_findings_free(f);
}

/* A run that diverged stays unfinished in a study that is at its end. */
static void test_diverged(void **state) {
    iso_findings *f = make_findings(MADE_EMPTY);
    json_t *manifest =
        json_pack("{s[{ss ss ss} {ss ss}]}", "runs", "name", "a-s1", "state", "diverged", "cause",
                  "the loss is not finite at step 3", "name", "a-s2", "state", "finished");
    const iso_study_page page = {.findings = f, .dir = "d", .manifest = manifest};
    iso_str out = {0};
    f->under_way = false;
    iso_study_page_make(&out, &page);
    assert_non_null(strstr(out.data, "Runs: 1 finished, 1 diverged."));
    assert_non_null(strstr(out.data, "a-s1: diverged: the loss is not finite at step 3"));
    assert_null(strstr(out.data, "It is under way"));
    iso_str_release(&out);
    json_decref(manifest);
    iso_findings_free(f);
}

/* --- data --- */

static iso_csv *parse(const iso_str *text) {
    iso_csv *csv;
    if (iso_csv_parse(&csv, text->data, (int64_t)text->len, "csv") != ISO_OK)
        fail_msg("%s", iso_error_message());
    return csv;
}

static void check_cell(const char *cell, double value) {
    double read;
    if (isnan(value)) {
        assert_string_equal(cell, "");
    } else if (isinf(value)) {
        assert_string_equal(cell, value > 0 ? "inf" : "-inf");
    } else {
        assert_true(iso_str_to_f64(cell, &read));
        assert_true(read == value);
    }
}

static bool is_dot(const iso_series *s, const iso_series_point *p) {
    return (s->kind == ISO_SERIES_MEASURED || s->kind == ISO_SERIES_GHOST) && isfinite(p->x) &&
           isfinite(p->y);
}

/* The CSV has every point, digit by digit, and the drawing a dot for each that is a number. */
static void check_figure_data(const iso_finding_figure *figure) {
    iso_str text = {0}, svg = {0};
    iso_study_figure_csv(&text, figure);
    iso_study_figure_svg(&svg, figure);
    iso_csv *csv = parse(&text);
    int64_t row = 1, n_dots = 0;
    assert_int_equal(csv->rows[0].n_cells, 8);
    for (int64_t i = 0; i < figure->n; i++) {
        const iso_series *s = &figure->series[i];
        for (int64_t j = 0; j < s->n; j++, row++) {
            const iso_series_point *p = &s->points[j];
            assert_true(row < csv->n_rows && csv->rows[row].n_cells == 8);
            char **cells = csv->rows[row].cells;
            assert_string_equal(cells[0], s->name);
            check_cell(cells[2], s->kind == ISO_SERIES_LEVEL ? NAN : p->x);
            check_cell(cells[3], s->kind == ISO_SERIES_SPAN ? NAN : p->y);
            check_cell(cells[4], p->low);
            check_cell(cells[5], p->high);
            check_cell(cells[6], p->n_seeds > 0 ? (double)p->n_seeds : NAN);
            n_dots += is_dot(s, p);
        }
    }
    assert_int_equal(row, csv->n_rows);
    /* The plot's dots have a tooltip, the legend's have none. */
    assert_int_equal(count(svg.data, "\"><title>"), n_dots);
    iso_csv_free(csv);
    iso_str_release(&text);
    iso_str_release(&svg);
}

static void test_figure_data(void **state) {
    for (size_t i = 0; i < N_ALL; i++) {
        iso_findings *f = make_findings(all[i]);
        for (int64_t j = 0; j < f->n_figures; j++) check_figure_data(&f->figures[j]);
        iso_findings_free(f);
    }
}

static void test_headings(void **state) {
    iso_findings *f = make_findings(MADE_WHOLE);
    iso_str text = {0};
    iso_study_figure_csv(&text, &f->figures[0]);
    static const char heading[] = "series,kind,activation rate (fraction),score (bits per "
                                  "character),low (95 %),high (95 %),seeds,label\n";
    assert_int_equal(strncmp(text.data, heading, strlen(heading)), 0);
    iso_str_release(&text);
    iso_study_table_csv(&text, &f->tables[0]);
    assert_string_equal(
        text.data, "candidate,experts,activation rate (fraction),\"score, choosing half (BPC)\","
                   "\"score, reporting half (BPC)\",what happened,best\n"
                   "full,8,0.2004,2.041,2.044,,\"score, choosing half\"\n"
                   "\"1dense, shared expert\",16,0.2004,2.045,2.047,,\n"
                   "interleave,32,0.2004,2.049,,stopped as hopeless at step 40,\n");
    iso_str_release(&text);
    iso_findings_free(f);
}

static void test_hostile_table(void **state) {
    iso_findings *f = make_findings(MADE_HOSTILE);
    iso_str text = {0};
    iso_study_table_csv(&text, &f->tables[0]);
    assert_string_equal(text.data, "\"a,b\",c (<d>)\n\"# \"\"x\"\" <y>\",-1000000000000\n");
    iso_csv *csv = parse(&text);
    assert_int_equal(csv->n_rows, 2);
    assert_string_equal(csv->rows[1].cells[0], "# \"x\" <y>");
    iso_csv_free(csv);
    iso_str_release(&text);
    iso_findings_free(f);
}

/* --- words --- */

static void says(double value, double low, double high, const char *unit, const char *expected) {
    const iso_finding_verdict v = {
        .value = value, .low = low, .high = high, .unit = (char *)unit, .n_seeds = 1, .n_runs = 2};
    char *said = iso_verdict_numbers(&v);
    assert_string_equal(said, expected);
    free(said);
}

static void test_words(void **state) {
    says(0.01234, 0.0104, 0.0143, "BPC",
         "0.0123 BPC, 95\xc2\xa0% interval 0.0104 to 0.0143; 1 seed, 2 runs");
    says(-0.5, NAN, NAN, "BPC",
         "\xe2\x88\x92"
         "0.5000 BPC, no interval; 1 seed, 2 runs");
    says(0.253, 0.189, 0.34, "activation rate",
         "25\xc2\xa0% activation rate, 95\xc2\xa0% interval 19\xc2\xa0% to 34\xc2\xa0%; 1 seed, 2 "
         "runs");
    says(NAN, 0.14, NAN, "share of runs",
         "share of runs, 95\xc2\xa0% interval 14.0\xc2\xa0% or more; 1 seed, 2 runs");
    says(NAN, -INFINITY, 0.2, NULL, "95\xc2\xa0% interval 0.2000 or less; 1 seed, 2 runs");
    says(NAN, NAN, NAN, NULL, "1 seed, 2 runs");
    char text[ISO_NUMBER_BYTES];
    assert_string_equal(iso_finding_value(text, 0.2004, 0.15, 0.31, true), "20\xc2\xa0%");
    assert_string_equal(iso_finding_value(text, 0.2004, NAN, NAN, true), "20.0\xc2\xa0%");
    assert_string_equal(iso_finding_value(text, 0.0004, NAN, NAN, false),
                        "4\xc2\xb7"
                        "10\xe2\x81\xbb\xe2\x81\xb4");
    const iso_finding_column whole = {.digits = -1}, four = {.digits = 4};
    const iso_finding_cell million = {.value = 4012800}, score = {.value = 2.04},
                           unknown = {.value = NAN};
    assert_string_equal(iso_finding_cell_text(text, &whole, &million), "4\xe2\x80\xaf"
                                                                       "012\xe2\x80\xaf"
                                                                       "800");
    assert_string_equal(iso_finding_cell_text(text, &four, &score), "2.0400");
    assert_string_equal(iso_finding_cell_text(text, &four, &unknown), "\xe2\x80\x93");
}

/* --- the folder --- */

static bool is_there(const char *folder, const char *name) {
    char *path = iso_strf("%s/%s", folder, name);
    bool found = iso_path_exists(path);
    free(path);
    return found;
}

static void put(const char *folder, const char *name) {
    char *path = iso_strf("%s/%s", folder, name);
    assert_int_equal(iso_file_write_atomic(path, "mine", 4), ISO_OK);
    free(path);
}

static iso_status write_report(const char *folder, made_findings what) {
    iso_findings *f = make_findings(what);
    const iso_study_page page = {.findings = f};
    iso_status status = iso_study_report_write(folder, &page);
    iso_findings_free(f);
    return status;
}

static void test_folder(void **state) {
    char *folder = iso_strf("%s/a/report", (char *)*state);
    assert_int_equal(write_report(folder, MADE_WHOLE), ISO_OK);
    static const char *const files[] = {"index.html",
                                        "findings.json",
                                        "figures/1b.svg",
                                        "figures/lr.svg",
                                        "data/1b.csv",
                                        "data/2a.csv",
                                        "data/table-search-layout.csv",
                                        "data/table-lr.csv"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!is_there(folder, files[i])) fail_msg("%s is missing", files[i]);
    /* Another report in its place: what only the former had goes, what is not a report's stays. */
    put(folder, "figures/mine.svg");
    put(folder, "data/mine.csv");
    assert_int_equal(write_report(folder, MADE_EMPTY), ISO_OK);
    assert_true(is_there(folder, "figures/1b.svg") && is_there(folder, "data/1b.csv"));
    assert_false(is_there(folder, "figures/lr.svg") || is_there(folder, "data/lr.csv"));
    assert_false(is_there(folder, "data/table-lr.csv"));
    assert_true(is_there(folder, "figures/mine.svg") && is_there(folder, "data/mine.csv"));
    free(folder);
}

static void test_foreign_folder(void **state) {
    put(*state, "index.html");
    assert_int_equal(write_report(*state, MADE_WHOLE), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "--out"));
    assert_false(is_there(*state, "figures"));
}

static void test_one_name_twice(void **state) {
    iso_findings *f = make_findings(MADE_EMPTY);
    iso_finding_figure *out;
    iso_finding_figure same = {.key = "1b", .title = "again"};
    assert_int_equal(iso_findings_figure(f, &out, &same), ISO_OK);
    const iso_study_page page = {.findings = f};
    assert_int_equal(iso_study_report_write(*state, &page), ISO_ERR_DATA);
    assert_false(is_there(*state, "index.html"));
    iso_findings_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_page),
        cmocka_unit_test(test_any_drawing),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_under_way),
        cmocka_unit_test(test_diverged),
        cmocka_unit_test(test_figure_data),
        cmocka_unit_test(test_headings),
        cmocka_unit_test(test_hostile_table),
        cmocka_unit_test(test_words),
        cmocka_unit_test_setup_teardown(test_folder, temp_dir_setup, temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_foreign_folder, temp_dir_setup, temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_one_name_twice, temp_dir_setup, temp_dir_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
