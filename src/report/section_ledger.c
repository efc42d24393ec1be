/* The ledger: what was counted, under every convention, and what the audit makes of it. */
#include "report/markup.h"
#include "report/page.h"
#include "report/sections.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- what each run did --- */

static void append_planned(iso_str *out, int64_t done, int64_t planned) {
    char counted[ISO_NUMBER_BYTES], wanted[ISO_NUMBER_BYTES];
    if (done == ISO_ABSENT) {
        iso_page_cell(out, "\xe2\x80\x93");
        return;
    }
    iso_number_grouped(counted, done);
    char *text = planned == ISO_ABSENT ? iso_strf("%s", counted)
                 : planned == done     ? iso_strf("%s, as planned", counted)
                                       : iso_strf("%s of %s", counted,
                                                  iso_number_grouped(wanted, planned));
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
    static const char *const headers[] = {
        "Run",     "Steps",    "Tokens",        "Unique tokens", "C by formula",
        "Counted", "Executed", "Repeated steps", "Time",          "Tokens/s"};
    iso_page_table_open(out, "work",
                        "What each run did. C by formula: FLOPs per token (convention paper) times "
                        "tokens. Counted: model FLOPs summed by the operations themselves, all "
                        "components. Executed: the same with recomputation and skipped work.",
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
            iso_page_cell(out, iso_number_power(
                                   number, iso_side_run_number(run, "counted.executed_flops")));
            append_whole(out, iso_side_run_whole(run, "replayed_steps"));
            double wall_s = iso_side_run_number(run, "wall_s");
            iso_page_cell(out, isfinite(wall_s) ? iso_str_duration(number, wall_s) : "\xe2\x80\x93");
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

static void append_convention(iso_str *out, const iso_page_data *data, const char *convention,
                              int64_t n_columns) {
    const iso_side_run *dense = data->verdict->dense ? data->verdict->dense->runs[0] : NULL;
    char number[ISO_NUMBER_BYTES];
    char *heading = iso_strf("convention %s", convention);
    iso_page_table_group(out, heading, n_columns);
    free(heading);
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side_run *run = data->sides->sides[i].runs[0];
        double params = convention_number(run, convention, "params_nonvocab");
        double flops = convention_number(run, convention, "train_flops");
        iso_page_row_open(out, data->sides->sides[i].label, NULL);
        iso_page_cell(out, isfinite(params) ? iso_number_grouped(number, (int64_t)params)
                                            : "\xe2\x80\x93");
        double off = dense ? params / convention_number(dense, convention, "params_nonvocab") - 1.0
                           : NAN;
        iso_page_cell(out, isfinite(off) ? iso_number_percent(number, off, 2) : "\xe2\x80\x93");
        double active = convention_number(run, convention, "params_active");
        iso_page_cell(out, isfinite(active) ? iso_number_grouped(number, (int64_t)active)
                                            : "\xe2\x80\x93");
        iso_page_cell(out, iso_number_percent(
                               number, convention_number(run, convention, "activation_rate"), 1));
        iso_page_cell(out, iso_number_power(number, convention_number(run, convention,
                                                                      "train_flops_per_token")));
        iso_page_cell(out, iso_number_power(number, flops));
        off = dense ? flops / convention_number(dense, convention, "train_flops") - 1.0 : NAN;
        iso_page_cell(out, isfinite(off) ? iso_number_percent(number, off, 2) : "\xe2\x80\x93");
        iso_page_row_close(out);
    }
}

static void append_conventions(iso_str *out, const iso_page_data *data) {
    static const char *const headers[] = {
        "Side", "N", "off dense", "N_a", "N_a / N", "FLOPs per token", "C", "off dense"};
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
    static const char *const headers[] = {"Run", "Data", "Unique subset", "Tokenizer", "Validation"};
    static const char *const keys[] = {"data_hash", "subset_hash", "tokenizer_hash",
                                       "validation_hash"};
    iso_page_table_open(out, "hashes", "What the runs read, by hash (the first 12 digits).", headers, 5,
                        1);
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

void iso_section_ledger(iso_str *out, const iso_page_data *data) {
    iso_page_section(out, "ledger", "The ledger");
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
