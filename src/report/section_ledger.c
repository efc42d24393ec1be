/* The ledger: what was counted, under every convention, and what the audit makes of it. */
#include "report/markup.h"
#include "report/page.h"
#include "report/sections.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- what each run did --- */

/* "400", or "133 of 400" where the plan was another. */
static void append_planned(iso_str *out, int64_t done, int64_t planned) {
    char counted[ISO_NUMBER_BYTES], wanted[ISO_NUMBER_BYTES];
    if (done == ISO_ABSENT) {
        iso_page_cell(out, "\xe2\x80\x93");
        return;
    }
    iso_number_grouped(counted, done);
    char *text = planned == ISO_ABSENT || planned == done
                     ? iso_strf("%s", counted)
                     : iso_strf("%s of %s", counted, iso_number_grouped(wanted, planned));
    iso_page_cell(out, text);
    free(text);
}

static void append_whole(iso_str *out, int64_t value) {
    char number[ISO_NUMBER_BYTES];
    iso_page_cell(out, value == ISO_ABSENT ? "\xe2\x80\x93" : iso_number_grouped(number, value));
}

/* Sum of the FLOPs that the operations counted, in doubles: for reading. */
static double counted_flops(const iso_side_run *run) {
    json_t *components = (json_t *)iso_side_run_value(run, "counted.model_flops");
    const char *name;
    json_t *value;
    double sum = json_object_size(components) > 0 ? 0.0 : NAN;
    json_object_foreach(components, name, value) {
        char *path = iso_strf("counted.model_flops.%s", name);
        sum += iso_side_run_number(run, path);
        free(path);
    }
    return sum;
}

static void append_work(iso_str *out, const iso_page_data *data) {
    static const char *const headers[] = {"Run",  "Steps",   "Tokens",   "Unique tokens",
                                          "C",    "Counted", "Executed", "Repeated steps",
                                          "Time", "Tokens/s"};
    iso_page_table_open(
        out, "work",
        "What each run did; where the plan was another, as \"done of planned\". C: FLOPs "
        "per token, by the paper's convention, times tokens. Counted: model FLOPs "
        "summed by the operations themselves, with all that the convention leaves "
        "out. Executed: the FLOPs really spent, with recomputation, without masked parts.",
        headers, sizeof headers / sizeof *headers, 1);
    char number[ISO_NUMBER_BYTES];
    for (int64_t i = 0; i < data->sides->n; i++)
        for (int64_t j = 0; j < data->sides->sides[i].n_runs; j++) {
            const iso_side_run *run = data->sides->sides[i].runs[j];
            int64_t planned = iso_side_run_whole(run, "planned_steps");
            int64_t batch = iso_side_run_whole(run, "batch_tokens");
            char *seed = iso_strf("seed %lld", (long long)run->seed);
            iso_page_row_open(out, run->run.name, seed);
            free(seed);
            append_planned(out, iso_side_run_whole(run, "steps"), planned);
            append_planned(out, iso_side_run_whole(run, "tokens"),
                           planned == ISO_ABSENT || batch == ISO_ABSENT ? ISO_ABSENT
                                                                        : planned * batch);
            append_whole(out, iso_side_run_whole(run, "unique_tokens"));
            iso_page_cell(out, iso_number_power(number, iso_side_run_number(run, "train_flops")));
            iso_page_cell(out, iso_number_power(number, counted_flops(run)));
            iso_page_cell(
                out, iso_number_power(number, iso_side_run_number(run, "counted.executed_flops")));
            append_whole(out, iso_side_run_whole(run, "replayed_steps"));
            double wall_s = iso_side_run_number(run, "wall_s");
            iso_page_cell(out,
                          isfinite(wall_s) ? iso_str_duration(number, wall_s) : "\xe2\x80\x93");
            iso_page_cell(out, iso_number_count(number, iso_side_run_number(run, "tokens_per_s")));
            iso_page_row_close(out);
        }
    iso_page_table_close(out);
}

/* --- conventions --- */

static double convention_number(const iso_side_run *run, const char *convention, const char *key) {
    char *path = iso_strf("conventions.%s.%s", convention, key);
    double value = iso_side_run_number(run, path);
    free(path);
    return value;
}

/* A whole number that a double holds exactly (below 2^53). */
static void append_exact(iso_str *out, double value) {
    char number[ISO_NUMBER_BYTES];
    iso_page_cell(out, fabs(value) < 0x1p53 ? iso_number_grouped(number, (int64_t)value)
                                            : iso_number_power(number, value));
}

static void append_difference(iso_str *out, double value, const iso_side_run *dense,
                              const char *convention, const char *key) {
    char number[ISO_NUMBER_BYTES];
    double off = dense ? value / convention_number(dense, convention, key) - 1.0 : NAN;
    char *text = isfinite(off) ? iso_strf("%s\xc2\xa0%%", iso_number_signed(number, 100.0 * off, 2))
                               : iso_strf("\xe2\x80\x93");
    iso_page_cell(out, text);
    free(text);
}

static void append_convention(iso_str *out, const iso_page_data *data, const char *convention,
                              int64_t n_columns) {
    const iso_side_run *dense = data->answer->dense ? data->answer->dense->runs[0] : NULL;
    char number[ISO_NUMBER_BYTES];
    char *heading = iso_strf("convention %s", convention);
    iso_page_table_group(out, heading, n_columns);
    free(heading);
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side_run *run = data->sides->sides[i].runs[0];
        double params = convention_number(run, convention, "params_nonvocab");
        double flops = convention_number(run, convention, "train_flops");
        iso_page_row_open(out, data->sides->sides[i].label, NULL);
        append_exact(out, params);
        append_difference(out, params, dense, convention, "params_nonvocab");
        append_exact(out, convention_number(run, convention, "params_active"));
        double rate = convention_number(run, convention, "activation_rate");
        iso_page_cell(out, iso_number_percent(number, rate, 1));
        append_exact(out, convention_number(run, convention, "train_flops_per_token"));
        iso_page_cell(out, iso_number_power(number, flops));
        append_difference(out, flops, dense, convention, "train_flops");
        iso_page_row_close(out);
    }
}

static void append_conventions(iso_str *out, const iso_page_data *data) {
    static const char *const headers[] = {
        "Side", "N", "vs. dense", "N_a", "N_a / N", "FLOPs per token", "C", "vs. dense"};
    const int64_t n_headers = sizeof headers / sizeof *headers;
    json_t *conventions =
        (json_t *)iso_side_run_value(data->sides->sides[0].runs[0], "conventions");
    if (json_object_size(conventions) == 0) return;
    iso_page_table_open(out, "conventions",
                        "N, active N and C under every way of counting. The sides are made equal "
                        "under the first; the others show how much hangs on that choice.",
                        headers, n_headers, 1);
    const char *name;
    json_t *value;
    json_object_foreach(conventions, name, value) append_convention(out, data, name, n_headers);
    iso_page_table_close(out);
}

/* --- hashes --- */

static void append_hashes(iso_str *out, const iso_page_data *data) {
    static const char *const headers[] = {"Run", "Data", "Unique subset", "Tokenizer",
                                          "Validation"};
    static const char *const keys[] = {"data_hash", "subset_hash", "tokenizer_hash",
                                       "validation_hash"};
    iso_page_table_open(out, "hashes", "What the runs read, by hash (the first 12 digits).",
                        headers, 5, 1);
    for (int64_t i = 0; i < data->sides->n; i++)
        for (int64_t j = 0; j < data->sides->sides[i].n_runs; j++) {
            const iso_side_run *run = data->sides->sides[i].runs[j];
            iso_page_row_open(out, run->run.name, NULL);
            for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
                const char *hash = iso_side_run_text(run, keys[k]);
                char *brief = iso_strf("%.12s", hash ? hash : "\xe2\x80\x93");
                iso_page_cell(out, brief);
                free(brief);
            }
            iso_page_row_close(out);
        }
    iso_page_table_close(out);
}

static void append_excluded(iso_str *out, const iso_page_data *data) {
    bool any = false;
    for (int64_t i = 0; i < data->sides->n_runs; i++) {
        const iso_side_run *run = &data->sides->runs[i];
        if (!run->excluded) continue;
        if (!any) iso_str_append(out, "<h3>Left out of the comparison</h3>\n<ul>\n");
        any = true;
        iso_str_append(out, "<li>");
        iso_markup_text(out, run->run.name);
        iso_str_append(out, ": ");
        iso_markup_text(out, run->excluded);
        iso_str_append(out, ".</li>\n");
    }
    if (any) iso_str_append(out, "</ul>\n");
}

/* --- the audit --- */

/* What a check says in a cell: the difference if there is one to tell, else the value. */
static void append_check(iso_str *out, iso_quantity quantity, const iso_audit_check *check) {
    bool tells_value = quantity == ISO_QUANTITY_SOUND || quantity == ISO_QUANTITY_HALF ||
                       quantity == ISO_QUANTITY_ONE_EPOCH;
    const char *text = tells_value ? check->value : *check->difference ? check->difference : "same";
    iso_str_append(out, check->is_met ? "<td>" : "<td class=\"fail\">\xe2\x9c\x97 ");
    iso_markup_text(out, text);
    iso_str_append(out, "</td>");
}

static void append_checks(iso_str *out, const iso_audit *audit) {
    const char **headers = calloc((size_t)audit->n_sides + 2, sizeof(*headers));
    ISO_ASSERT(headers);
    headers[0] = "Quantity";
    headers[1] = "Tolerance";
    for (int64_t i = 0; i < audit->n_sides; i++) headers[2 + i] = audit->sides[i].run->name;
    char *caption = iso_strf("Every run against %s, check by check.",
                             audit->sides[audit->i_reference].run->name);
    iso_page_table_open(out, "checks", caption, headers, audit->n_sides + 2, 2);
    free(caption);
    free(headers);
    /* The strict verdict does not ask for what only the weaker ones do. */
    int n = audit->verdict == ISO_VERDICT_STRICT ? ISO_QUANTITY_SUBSET + 1 : ISO_N_QUANTITIES;
    for (int q = 0; q < n; q++) {
        iso_page_row_open(out, iso_quantity_name((iso_quantity)q), NULL);
        iso_page_cell_words(out, audit->sides[0].checks[q].tolerance);
        for (int64_t i = 0; i < audit->n_sides; i++)
            append_check(out, (iso_quantity)q, &audit->sides[i].checks[q]);
        iso_page_row_close(out);
    }
    iso_page_table_close(out);
}

static void append_audit(iso_str *out, const iso_audit *audit) {
    static const char *const meanings[] = {
        [ISO_VERDICT_STRICT] = "N, C and the very same unique text are equal on all sides.",
        [ISO_VERDICT_LOOSE] = "N and C are equal; each side passed twice over its own part of the "
                              "same corpus.",
        [ISO_VERDICT_UNIQUE_DATA] =
            "N and C are equal; no side passed over its text more than once.",
        [ISO_VERDICT_NOT_EQUAL] =
            "The runs are no comparison of dense and MoE: something else "
            "differs, too. A cross marks what does; the weaker verdicts ask for "
            "the last three rows instead of the unique subset.",
    };
    bool equal = audit->verdict != ISO_VERDICT_NOT_EQUAL;
    iso_str_appendf(out, "<h3>Audit: <span class=\"%s\">%s</span></h3>\n", equal ? "pass" : "fail",
                    iso_verdict_name(audit->verdict));
    iso_page_text(out, NULL, meanings[audit->verdict]);
    append_checks(out, audit);
    if (audit->notes.len > 0) iso_page_text(out, "soft lines", audit->notes.data);
}

void iso_section_ledger(iso_str *out, const iso_page_data *data) {
    iso_page_section(out, "ledger", "The ledger");
    if (data->sides->audit) append_audit(out, data->sides->audit);
    if (data->sides->n > 0) {
        append_work(out, data);
        append_conventions(out, data);
        append_hashes(out, data);
    } else {
        iso_page_text(out, NULL, "No run has finished.");
    }
    append_excluded(out, data);
    iso_page_section_close(out);
}
