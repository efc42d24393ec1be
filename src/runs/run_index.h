/* run_index.h - the run database: an SQLite index over the run folders below one folder.
 *
 * The folders are the truth (run_folder.h); the index holds nothing that is not in them, and may be
 * deleted at any time. It is there so that a status, a table or a question in SQL takes
 * milliseconds with thousands of runs. Tables and views: docs/run_index.md.
 *
 * Owns: the database file and its journal. Never writes into a run folder.
 *
 * (I1) a row is the run's files as they were when its `signature` was taken; rows of one run change
 *      together or not at all, whenever the process is killed;
 * (I2) deleting the index and making it again gives the same rows in all tables;
 * (I3) an index that is damaged anywhere, or of another version, is made anew and never answers:
 * the structure is checked on opening, and every page has a checksum (page_sums.h); (I4) one
 * process writes at a time (SQLite's locks; rollback journal, synchronous=EXTRA); readers wait for
 * no more than a commit.
 */
#ifndef ISO_RUNS_RUN_INDEX_H
#define ISO_RUNS_RUN_INDEX_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* The name that the index of a folder has in it. A damaged file of this name is replaced whatever
 * it is; one of another name only if it still says that it is a run index. */
#define ISO_RUN_INDEX_NAME "run-index.sqlite"

typedef struct iso_run_index iso_run_index;

/* Opens or creates; a damaged or outdated index is emptied, with a warning in the log. `path` may
 * be
 * ":memory:". ISO_ERR_USAGE: the file is something else; ISO_ERR_IO, ISO_ERR_NO_SPACE,
 * ISO_ERR_LOCKED (another process has been writing for seconds). */
iso_status iso_run_index_open(iso_run_index **out, const char *path);
void iso_run_index_close(iso_run_index *index);

typedef struct iso_run_index_changes {
    int64_t n_runs;    /* below the root now */
    int64_t n_read;    /* rows made anew: the files have changed */
    int64_t n_removed; /* rows whose folders are gone */
} iso_run_index_changes;

/* Makes the index that of the runs below `root`: reads what has changed since the last time, and
 * what was unreadable, and forgets what is gone. `changes` may be NULL. A faulty run is a row, no
 * error. ISO_ERR_LOCKED: another process is refreshing it; what is there can be asked all the same.
 */
iso_status iso_run_index_refresh(iso_run_index *index, const char *root,
                                 iso_run_index_changes *changes);

/* Forgets everything: the next refresh reads all. */
iso_status iso_run_index_clear(iso_run_index *index);

/* --- questions --- */

typedef enum iso_cell_kind {
    ISO_CELL_NULL,
    ISO_CELL_INTEGER,
    ISO_CELL_REAL,
    ISO_CELL_TEXT
} iso_cell_kind;

typedef struct iso_cell {
    iso_cell_kind kind;
    int64_t integer;
    double real;
    char *text; /* UTF-8 as SQLite gives it; blobs in hex */
} iso_cell;

/* An answer, all of it in memory: while somebody reads it, no lock is held. */
typedef struct iso_rows {
    int64_t n_columns, n_rows;
    char **columns;  /* (n_columns) names */
    iso_cell *cells; /* (n_rows, n_columns) */
} iso_rows;

/* One SELECT. ISO_ERR_USAGE on anything else: statements that write, attach or set something, more
 * than one, faulty SQL. */
iso_status iso_run_index_query(iso_rows *out, iso_run_index *index, const char *sql);
void iso_rows_release(iso_rows *rows);

/* A cell as a number: NaN for NULL and text. */
double iso_cell_number(const iso_cell *cell);
/* The column of that name, or -1. */
int64_t iso_rows_column(const iso_rows *rows, const char *name);

#endif
