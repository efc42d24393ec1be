/* Opening, checking and refreshing the index.
 *
 * An unsound index is emptied in place (SQLITE_DBCONFIG_RESET_DATABASE) and not deleted: another
 * process may have the file open, and a journal under the same name as that of a new file would be
 * played back into the wrong one.
 *
 * A refresh compares signatures and puts what has changed in transactions of some runs each: a kill
 * loses at most one of them, and the next refresh goes on. Where nothing has changed, nothing is
 * written and no write lock is asked for.
 */
#include "runs/index_schema.h"
#include "runs/index_store.h"

#include "base/fileio.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_MS          3000 /* how long to wait for another process' commit */
#define RUNS_A_COMMIT    64
#define HEADER_BYTES     100 /* of an SQLite file (sqlite.org/fileformat.html, 1.3) */
#define APPLICATION_BYTE 68

/* --- the file --- */

/* The path as SQLite must not take for a URI. */
static char *plain_path(const char *path) {
    bool is_plain = path[0] == '/' || strcmp(path, ":memory:") == 0;
    return iso_strf("%s%s", is_plain ? "" : "./", path);
}

static iso_status connect(iso_run_index *index) {
    char *path = plain_path(index->path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(path, &index->db, flags, iso_page_sums_name(index->sums));
    free(path);
    if (!index->db) return iso_fail(ISO_ERR_MEMORY, "no memory to open %s", index->path);
    if (rc != SQLITE_OK) return iso_index_fail(index, "open it");
    sqlite3_busy_timeout(index->db, BUSY_MS);
    ISO_TRY(iso_page_sums_reserve(index->db));
    /* None of these reads the file, which may be anything yet. */
    return iso_index_exec(index,
                          "PRAGMA page_size = 4096; PRAGMA foreign_keys = ON;"
                          "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY",
                          "set it up");
}

/* These do. Spilling a large transaction into the file would need the readers gone meanwhile. */
static iso_status set_durable(iso_run_index *index) {
    return iso_index_exec(index,
                          "PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA;"
                          "PRAGMA cache_spill = OFF",
                          "set it up");
}

/* Whether what is there now may be thrown away: nothing, an index by its header, or a file that has
 * the index's own name. Read through SQLite's handle: closing another one would drop its locks. */
static bool is_ours(const iso_run_index *index) {
    unsigned char header[HEADER_BYTES] = {0};
    sqlite3_file *file = NULL;
    sqlite3_int64 n_bytes = 0;
    const char *slash = strrchr(index->path, '/');
    if (strcmp(slash ? slash + 1 : index->path, ISO_RUN_INDEX_NAME) == 0) return true;
    sqlite3_file_control(index->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (!file || !file->pMethods) return true; /* in memory */
    if (file->pMethods->xFileSize(file, &n_bytes) != SQLITE_OK) return false;
    if (n_bytes == 0) return true;
    if (file->pMethods->xRead(file, header, HEADER_BYTES, 0) != SQLITE_OK) return false;
    const unsigned char *id = header + APPLICATION_BYTE;
    uint32_t application =
        (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | (uint32_t)id[3];
    return memcmp(header, "SQLite format 3", 16) == 0 && application == ISO_INDEX_APPLICATION;
}

/* --- sound or not --- */

typedef enum condition { EMPTY, SOUND, OUTDATED, DAMAGED } condition;

/* The one value of a pragma, as text; NULL with the database's error set. The caller frees it. */
static char *ask(iso_run_index *index, const char *sql) {
    sqlite3_stmt *statement = NULL;
    char *answer = NULL;
    if (sqlite3_prepare_v2(index->db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        answer = iso_strf("%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return answer;
}

static iso_status examine(condition *out, iso_run_index *index) {
    iso_status status = ISO_OK;
    char expected[32];
    snprintf(expected, sizeof expected, "%d", ISO_INDEX_SCHEMA);
    char *n_tables = ask(index, "SELECT count(*) FROM sqlite_schema");
    char *version = n_tables ? ask(index, "PRAGMA user_version") : NULL;
    char *check = version ? ask(index, "PRAGMA quick_check(1)") : NULL;
    if (!check) { /* damage, or something that passes, such as a lock */
        status = iso_index_fail(index, "check it");
        if (status == ISO_ERR_DATA) status = ISO_OK;
        *out = DAMAGED;
    } else if (strcmp(n_tables, "0") == 0) {
        *out = EMPTY;
    } else if (strcmp(check, "ok") != 0) {
        *out = DAMAGED;
    } else {
        *out = strcmp(version, expected) == 0 ? SOUND : OUTDATED;
    }
    free(check);
    free(version);
    free(n_tables);
    return status;
}

/* --- making it anew --- */

static iso_status empty_the_file(iso_run_index *index) {
    iso_page_sums_check(index->sums, false);
    sqlite3_db_config(index->db, SQLITE_DBCONFIG_RESET_DATABASE, 1, NULL);
    iso_status status = iso_index_exec(index, "VACUUM", "make it anew");
    iso_page_sums_check(index->sums, true);
    sqlite3_db_config(index->db, SQLITE_DBCONFIG_RESET_DATABASE, 0, NULL);
    return status;
}

static iso_status create_schema(iso_run_index *index) {
    iso_status status = iso_index_exec(index, iso_index_schema_sql, "create its tables");
    char *pragmas = iso_strf("PRAGMA application_id = %d; PRAGMA user_version = %d",
                             ISO_INDEX_APPLICATION, ISO_INDEX_SCHEMA);
    if (status == ISO_OK) status = iso_index_exec(index, pragmas, "create its tables");
    free(pragmas);
    return status;
}

/* Ends the transaction: commits if all went well. */
static iso_status finish(iso_run_index *index, iso_status status) {
    if (status == ISO_OK) status = iso_index_exec(index, "COMMIT", "write it");
    if (sqlite3_get_autocommit(index->db) == 0)
        sqlite3_exec(index->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

/* Another process may have done the work while this one waited for the lock. */
static iso_status create(iso_run_index *index) {
    ISO_TRY(iso_index_exec(index, "BEGIN IMMEDIATE", "create it"));
    char *n_tables = ask(index, "SELECT count(*) FROM sqlite_schema");
    bool is_empty = n_tables && strcmp(n_tables, "0") == 0;
    free(n_tables);
    return finish(index, is_empty ? create_schema(index) : ISO_OK);
}

/* Still so when no other process writes? */
static iso_status examine_alone(condition *out, iso_run_index *index) {
    bool is_alone = sqlite3_exec(index->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
    iso_status status = examine(out, index);
    if (is_alone) sqlite3_exec(index->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

/* An unsound file becomes an empty one. */
static iso_status clear_unsound(condition *found, iso_run_index *index) {
    ISO_TRY(examine_alone(found, index));
    if (*found <= SOUND) return ISO_OK;
    if (!is_ours(index))
        return iso_fail(ISO_ERR_USAGE, "%s is something else than a run index; name another file",
                        index->path);
    iso_log(ISO_LOG_WARN, "%s is %s: it is made anew", index->path,
            *found == OUTDATED ? "of another version" : "damaged");
    *found = EMPTY;
    return empty_the_file(index);
}

static iso_status make_sound(iso_run_index *index) {
    condition found;
    iso_status status = examine(&found, index);
    if (status == ISO_OK && found > SOUND) status = clear_unsound(&found, index);
    if (status == ISO_OK) status = set_durable(index);
    if (status == ISO_OK && found == EMPTY) status = create(index);
    return status;
}

iso_status iso_run_index_open(iso_run_index **out, const char *path) {
    *out = NULL;
    iso_run_index *index = calloc(1, sizeof *index);
    if (!index) return iso_fail(ISO_ERR_MEMORY, "no memory to open %s", path);
    index->path = iso_strf("%s", path);
    iso_status status = iso_page_sums_create(&index->sums);
    if (status == ISO_OK) status = connect(index);
    if (status == ISO_OK) status = make_sound(index);
    if (status != ISO_OK) {
        iso_run_index_close(index);
        return status;
    }
    *out = index;
    return ISO_OK;
}

void iso_run_index_close(iso_run_index *index) {
    if (!index) return;
    sqlite3_close(index->db);
    iso_page_sums_free(index->sums);
    free(index->path);
    free(index);
}

iso_status iso_run_index_clear(iso_run_index *index) {
    return iso_index_exec(index, "DELETE FROM runs", "empty it");
}

/* --- refreshing --- */

/* A row that is there, by path. */
typedef struct known_run {
    char *path, *signature, *message; /* message: NULL if it is readable */
    int64_t run_id;
} known_run;

typedef struct known_runs {
    int64_t n;
    known_run *items;
} known_runs;

static void release_known(known_runs *known) {
    for (int64_t i = 0; i < known->n; i++) {
        free(known->items[i].path);
        free(known->items[i].signature);
        free(known->items[i].message);
    }
    free(known->items);
    *known = (known_runs){0};
}

static char *text_of(sqlite3_stmt *statement, int i_column) {
    const char *text = (const char *)sqlite3_column_text(statement, i_column);
    return text ? iso_strf("%s", text) : NULL;
}

/* In bytewise order of paths, as the tree's. */
static iso_status load_known(known_runs *out, iso_run_index *index) {
    sqlite3_stmt *statement;
    int rc;
    *out = (known_runs){0};
    ISO_TRY(iso_index_prepare(&statement, index,
                              "SELECT run_id, path, signature, message FROM runs ORDER BY path"));
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if ((out->n & (out->n - 1)) == 0) {
            size_t capacity = out->n ? 2 * (size_t)out->n : 1;
            out->items = realloc(out->items, capacity * sizeof *out->items);
            ISO_ASSERT(out->items);
        }
        out->items[out->n++] = (known_run){.run_id = sqlite3_column_int64(statement, 0),
                                           .path = text_of(statement, 1),
                                           .signature = text_of(statement, 2),
                                           .message = text_of(statement, 3)};
    }
    iso_status status = rc == SQLITE_DONE ? ISO_OK : iso_index_fail(index, "read it");
    sqlite3_finalize(statement);
    if (status != ISO_OK) release_known(out);
    return status;
}

/* One refresh on its way. */
typedef struct refresh {
    iso_run_index *index;
    const char *root;
    iso_run_tree tree;
    bool *is_done; /* (tree.n_runs) read by this refresh, or found unchanged */
    iso_run_index_changes changes;
} refresh;

static bool has_changed(const known_run *known, const iso_run_place *place) {
    return !known || strcmp(known->signature, place->signature) != 0;
}

/* Reads a run, and puts it unless that would change nothing: an unreadable one is read every time,
 * since what is wrong may lie outside the files (rights, a disk). */
static iso_status take_run(refresh *work, iso_index_store *store, const known_run *known,
                           const iso_run_place *place) {
    iso_index_row row;
    iso_status status = ISO_OK;
    iso_index_row_read(&row, work->root, place);
    bool is_same = !has_changed(known, place) && row.message && known->message &&
                   strcmp(row.message, known->message) == 0;
    if (!is_same) {
        status = iso_index_store_put(store, &row);
        work->changes.n_read++;
    }
    iso_index_row_release(&row);
    return status;
}

static iso_status remove_run(refresh *work, const known_run *known) {
    char *sql = iso_strf("DELETE FROM runs WHERE run_id = %" PRId64, known->run_id);
    iso_status status = iso_index_exec(work->index, sql, "write it");
    free(sql);
    work->changes.n_removed++;
    return status;
}

typedef enum phase {
    LOOK, /* is there anything to do? */
    WORK, /* up to RUNS_A_COMMIT runs of it */
} phase;

/* Tree and table are both in order: one pass. *more: there is something (left) to do. */
static iso_status merge(refresh *work, iso_index_store *store, const known_runs *known, phase what,
                        bool *more) {
    int64_t i = 0, j = 0, n_taken = 0;
    *more = false;
    while (i < work->tree.n_runs || j < known->n) {
        const iso_run_place *place = i < work->tree.n_runs ? &work->tree.runs[i] : NULL;
        const known_run *row = j < known->n ? &known->items[j] : NULL;
        int order = !place ? 1 : !row ? -1 : strcmp(place->path, row->path);
        const known_run *match = order == 0 ? row : NULL;
        i += order <= 0;
        j += order >= 0;
        bool is_stale =
            order > 0 || (!work->is_done[i - 1] && (has_changed(match, place) || match->message));
        if (!is_stale) continue;
        if (what == LOOK || n_taken == RUNS_A_COMMIT) {
            *more = true;
            return ISO_OK;
        }
        n_taken++;
        if (order > 0) {
            ISO_TRY(remove_run(work, row));
            continue;
        }
        work->is_done[i - 1] = true;
        ISO_TRY(take_run(work, store, match, place));
    }
    return ISO_OK;
}

/* One transaction. What is known is read again within it: another process may have been faster. */
static iso_status work_on(refresh *work, iso_index_store *store, bool *more) {
    known_runs known = {0};
    ISO_TRY(iso_index_exec(work->index, "BEGIN IMMEDIATE", "refresh it"));
    iso_status status = load_known(&known, work->index);
    if (status == ISO_OK) status = merge(work, store, &known, WORK, more);
    release_known(&known);
    return finish(work->index, status);
}

static iso_status bring_up_to_date(refresh *work) {
    known_runs known;
    bool more;
    iso_index_store *store = NULL;
    ISO_TRY(load_known(&known, work->index));
    iso_status status = merge(work, NULL, &known, LOOK, &more);
    release_known(&known);
    if (status == ISO_OK && more) status = iso_index_store_open(&store, work->index);
    while (status == ISO_OK && more) status = work_on(work, store, &more);
    iso_index_store_close(store);
    return status;
}

iso_status iso_run_index_refresh(iso_run_index *index, const char *root,
                                 iso_run_index_changes *changes) {
    refresh work = {.index = index, .root = root};
    ISO_TRY(iso_run_tree_scan(&work.tree, root));
    work.changes.n_runs = work.tree.n_runs;
    work.is_done = calloc((size_t)work.tree.n_runs + 1, sizeof *work.is_done);
    ISO_ASSERT(work.is_done);
    iso_status status = bring_up_to_date(&work);
    if (changes) *changes = work.changes;
    free(work.is_done);
    iso_run_tree_release(&work.tree);
    return status;
}
