/* cli_study.h - what the subcommands of `isomoe study` share.
 *
 * To add a subcommand NAME: write study_NAME.c with
 *     iso_status study_NAME(int argc, char **argv);
 * declare it below, add a row to the table in cmd_study.c and the file to cli/CMakeLists.txt.
 */
#ifndef ISO_CLI_STUDY_H
#define ISO_CLI_STUDY_H

#include "cli.h"
#include "runs/run_index.h"
#include "study/study_cost.h"

iso_status study_plan(int argc, char **argv);
iso_status study_run(int argc, char **argv);
iso_status study_report(int argc, char **argv);
iso_status study_status(int argc, char **argv);
iso_status study_sql(int argc, char **argv);

/* A study file that has no fault and can be planned; otherwise every fault is told, the last one as
 * the status. */
iso_status study_load(iso_study **out, const char *path);
/* With progress; `dir` (may be NULL) keeps what was measured. */
iso_status study_costs(iso_study_costs *out, const iso_study *study, const iso_study_plan *plan,
                       const char *dir);

/* The index of the runs below `dir`, up to date; if another process is just refreshing it, as it
 * stands, with a warning. `path`: where it is kept; NULL: in the folder. ISO_ERR_USAGE if there is
 * no run. */
iso_status study_index_open(iso_run_index **out, const char *dir, const char *path, bool rebuild);

/* An answer as JSON: an array with an object per row. A new reference. */
json_t *study_rows_to_json(const iso_rows *rows);
/* RFC 4180 with a header, lines ending in LF; reals read back to the same double. */
void study_rows_print_csv(const iso_rows *rows, FILE *stream);
/* For people: reals to six digits, control characters as spaces, "-" for NULL. */
void study_rows_print_table(const iso_rows *rows, FILE *stream);

/* Text from a file in at most n_chars characters on one line, the last one "…" if it was longer;
 * the caller frees it. */
char *study_short_text(const char *text, int64_t n_chars);

#endif
