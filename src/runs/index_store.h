/* index_store.h - the run index as its own files see it: the open database, errors, rows in and
 * out.
 *
 * Not for others: they use run_index.h.
 */
#ifndef ISO_RUNS_INDEX_STORE_H
#define ISO_RUNS_INDEX_STORE_H

#include "runs/index_row.h"
#include "runs/page_sums.h"
#include "runs/run_index.h"

#include <sqlite3.h>

struct iso_run_index {
    char *path;
    iso_page_sums *sums;
    sqlite3 *db;
};

/* The database's last error as a status; `what` was being done. */
iso_status iso_index_fail(const iso_run_index *index, const char *what);

/* Statements without results. */
iso_status iso_index_exec(iso_run_index *index, const char *sql, const char *what);
iso_status iso_index_prepare(sqlite3_stmt **out, iso_run_index *index, const char *sql);

/* The statements that put one run into the tables. */
typedef struct iso_index_store iso_index_store;
iso_status iso_index_store_open(iso_index_store **out, iso_run_index *index);
void iso_index_store_close(iso_index_store *store);

/* Within a transaction: the run's rows in all tables become these. */
iso_status iso_index_store_put(iso_index_store *store, const iso_index_row *row);

#endif
