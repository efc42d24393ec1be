/* The paper's rows count as the convention `paper` counts them; run folders give the same. */
#include "study/gap_rows.h"

#include "arch/count.h"
#include "paper/paper_runs.h"
#include "runs/run_folder.h"
#include "runs/run_record.h"

#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void set_name(char out[ISO_GAP_NAME_BYTES], const char *name) {
    strncpy(out, name, ISO_GAP_NAME_BYTES - 1);
    out[ISO_GAP_NAME_BYTES - 1] = '\0';
}

/* --- the paper --- */

static void row_of_paper(iso_gap_row *out, const iso_paper_run *run) {
    *out = (iso_gap_row){.is_dense = run->is_dense,
                         .params = (double)run->params,
                         .activation_rate = run->activation_rate,
                         .tokens = (double)run->tokens,
                         /* D-hat is a round figure there, once 6e5 tokens above D */
                         .unique_tokens = fmin((double)run->unique_tokens, (double)run->tokens),
                         .lr_over_law = run->lr_over_law,
                         .flops = (double)run->train_flops_per_token * (double)run->tokens,
                         .bpc = run->bpc};
    char *table = iso_strf("Table %d", run->table), *name = iso_strf("row %d", run->row);
    set_name(out->table, table);
    set_name(out->name, name);
    free(table);
    free(name);
}

iso_status iso_gap_rows_of_paper(iso_gap_row out[ISO_PAPER_N_RUNS]) {
    iso_paper_run *runs = malloc(ISO_PAPER_N_RUNS * sizeof *runs);
    if (!runs) return iso_fail(ISO_ERR_MEMORY, "gap law: no memory for the paper's runs");
    iso_status status = iso_paper_runs(runs);
    for (int i = 0; i < ISO_PAPER_N_RUNS && status == ISO_OK; i++) row_of_paper(&out[i], &runs[i]);
    free(runs);
    return status;
}

iso_status iso_gap_law_of_paper(iso_gap_law **out) {
    iso_gap_row rows[ISO_PAPER_N_RUNS];
    iso_gap_form form = iso_gap_form_default();
    ISO_TRY(iso_gap_rows_of_paper(rows));
    return iso_gap_law_create(out, rows, ISO_PAPER_N_RUNS, &form);
}

/* --- run folders --- */

/* What makes two BPCs comparable, of the first run. */
typedef struct yardstick {
    char *tokenizer, *validation, *dir;
} yardstick;

static iso_status check_yardstick(yardstick *first, const iso_record *record, const char *dir) {
    if (!first->dir) {
        first->tokenizer = iso_strf("%s", record->tokenizer_hash);
        first->validation = iso_strf("%s", record->validation_hash);
        first->dir = iso_strf("%s", dir);
    }
    bool is_tokenizer = strcmp(first->tokenizer, record->tokenizer_hash) == 0;
    if (is_tokenizer && strcmp(first->validation, record->validation_hash) == 0) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "gap law: %s and %s differ in their %s: their BPCs don't compare; fit runs of "
                    "one data set",
                    first->dir, dir, is_tokenizer ? "validation sample" : "tokenizer");
}

/* The folder that a run lies in: the study's, as a rule. */
static void set_table(iso_gap_row *row, const char *run_dir) {
    char *path = iso_strf("%s", run_dir), *parent = iso_strf("%s", dirname(path));
    set_name(row->table, basename(parent));
    free(parent);
    free(path);
}

static iso_status row_of_record(iso_gap_row *out, const iso_record *record, const iso_run *run) {
    if (isnan(record->bpc))
        return iso_fail(ISO_ERR_USAGE,
                        "gap law: %s has no final evaluation: finish it (isomoe train --resume "
                        "auto), or leave it out",
                        run->dir);
    if (record->problems.len > 0)
        return iso_fail(ISO_ERR_DATA, "gap law: %s is not fit for a comparison: %.*s", run->dir,
                        (int)strcspn(record->problems.data, "\n"), record->problems.data);
    const iso_record_counts *counts = &record->counts[ISO_CONVENTION_PAPER];
    *out = (iso_gap_row){.is_dense = record->is_dense,
                         .params = (double)counts->params_nonvocab,
                         .activation_rate =
                             (double)counts->params_active / (double)counts->params_nonvocab,
                         .tokens = (double)record->tokens,
                         .unique_tokens = (double)record->unique_tokens,
                         .lr_over_law = record->lr_over_steplaw,
                         .flops = (double)counts->train_flops_per_token * (double)record->tokens,
                         .bpc = record->bpc};
    set_name(out->name, run->name);
    set_table(out, run->dir);
    return ISO_OK;
}

static iso_status read_run(iso_gap_row *out, yardstick *first, const char *dir) {
    iso_run run;
    iso_record record;
    ISO_TRY(iso_run_open(&run, dir));
    iso_status status = iso_record_read(&record, &run);
    if (status == ISO_OK) {
        status = row_of_record(out, &record, &run);
        if (status == ISO_OK) status = check_yardstick(first, &record, dir);
        iso_record_release(&record);
    }
    iso_run_close(&run);
    return status;
}

iso_status iso_gap_rows_of_runs(iso_gap_row **out, const char *const *run_dirs, int64_t n_runs) {
    iso_gap_row *rows = calloc((size_t)n_runs + 1, sizeof *rows);
    if (!rows) return iso_fail(ISO_ERR_MEMORY, "gap law: no memory for the runs");
    yardstick first = {0};
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n_runs && status == ISO_OK; i++)
        status = read_run(&rows[i], &first, run_dirs[i]);
    free(first.tokenizer);
    free(first.validation);
    free(first.dir);
    if (status == ISO_OK)
        *out = rows;
    else
        free(rows);
    return status;
}
