/* run_table.h - a table of runs that someone reports (CSV), as records that the audit can hold
 * against each other.
 *
 * Owns: the columns (docs/formats.md, "Table of runs"), what a row must say, and whether it
 * contradicts itself. Does not own: what "equal" means (audit.h).
 *
 * A row says what was reported, not what was counted: a record made here is_reported, and what the
 * row leaves out is unknown there (NULL, 0 or NaN), never assumed.
 *
 * (I1) every record has N, M, tokens and unique tokens, positive, and C within 128 bits;
 * (I2) the rows of one comparison stand together, at least two of them, with distinct names.
 */
#ifndef ISO_RUNS_RUN_TABLE_H
#define ISO_RUNS_RUN_TABLE_H

#include "base/csv.h"
#include "runs/run_folder.h"
#include "runs/run_record.h"

typedef struct iso_run_group {
    const char *name; /* of the column `comparison`; "" where there is none */
    int64_t first, n; /* its rows in the arrays below */
} iso_run_group;

typedef struct iso_run_table {
    int64_t n_rows, n_groups;
    iso_run *runs;       /* name; dir is "FILE:LINE" */
    iso_record *records; /* in the order of runs */
    iso_run_group *groups;
    iso_csv *csv; /* holds the strings */
} iso_run_table;

/* ISO_ERR_USAGE with every fault of the table, a line each: unknown and missing columns, cells that
 * are no numbers, impossible shapes, comparisons of one run. The caller frees *out. */
iso_status iso_run_table_load(iso_run_table **out, const char *path);
iso_status iso_run_table_parse(iso_run_table **out, const char *text, int64_t n_bytes,
                               const char *what);
void iso_run_table_free(iso_run_table *table);

#endif
