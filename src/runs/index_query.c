/* Questions in SQL. What may be asked is decided by SQLite's authorizer, which sees every table,
 * function and side effect that a statement would use: all but reading is refused. It stays until
 * the last row, since some statements (VACUUM INTO) do their attaching only when they run; and what
 * SQLite itself does not call reading is refused before that.
 */
#include "runs/index_store.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int allow_reading(void *ctx, int action, const char *a, const char *b, const char *c,
                         const char *d) {
    (void)ctx, (void)a, (void)b, (void)c, (void)d;
    bool is_reading = action == SQLITE_SELECT || action == SQLITE_READ ||
                      action == SQLITE_FUNCTION || action == SQLITE_RECURSIVE;
    return is_reading ? SQLITE_OK : SQLITE_DENY;
}

/* Spaces and comments may follow a statement. */
static bool is_end(const char *sql) {
    while (*sql) {
        if (isspace((unsigned char)*sql) || *sql == ';') {
            sql++;
        } else if (sql[0] == '-' && sql[1] == '-') {
            sql += strcspn(sql, "\n");
        } else {
            return false;
        }
    }
    return true;
}

static iso_status prepare_question(sqlite3_stmt **out, iso_run_index *index, const char *sql) {
    const char *rest = "";
    int rc = sqlite3_prepare_v2(index->db, sql, -1, out, &rest);
    bool is_writing = rc == SQLITE_AUTH || (*out && !sqlite3_stmt_readonly(*out));
    if (is_writing) {
        sqlite3_finalize(*out);
        *out = NULL;
        return iso_fail(ISO_ERR_USAGE, "the index is asked, not changed: only SELECT is allowed");
    }
    if (rc == SQLITE_ERROR || rc == SQLITE_TOOBIG)
        return iso_fail(ISO_ERR_USAGE, "the SQL is at fault: %s", sqlite3_errmsg(index->db));
    if (rc != SQLITE_OK) return iso_index_fail(index, "ask it");
    if (*out && is_end(rest)) return ISO_OK;
    sqlite3_finalize(*out);
    *out = NULL;
    return iso_fail(ISO_ERR_USAGE, "give one SELECT, not %s", is_end(sql) ? "none" : "several");
}

static char *hex_of(const unsigned char *bytes, int n_bytes) {
    iso_str out = {0};
    iso_str_append(&out, "");
    for (int i = 0; i < n_bytes; i++) iso_str_appendf(&out, "%02x", bytes[i]);
    return out.data;
}

static void take_cell(iso_cell *out, sqlite3_stmt *statement, int i_column) {
    *out = (iso_cell){.kind = ISO_CELL_NULL};
    switch (sqlite3_column_type(statement, i_column)) {
    case SQLITE_INTEGER:
        out->kind = ISO_CELL_INTEGER;
        out->integer = sqlite3_column_int64(statement, i_column);
        break;
    case SQLITE_FLOAT:
        out->kind = ISO_CELL_REAL;
        out->real = sqlite3_column_double(statement, i_column);
        break;
    case SQLITE_TEXT:
        out->kind = ISO_CELL_TEXT;
        out->text = iso_strf("%s", (const char *)sqlite3_column_text(statement, i_column));
        break;
    case SQLITE_BLOB:
        out->kind = ISO_CELL_TEXT;
        out->text = hex_of(sqlite3_column_blob(statement, i_column),
                           sqlite3_column_bytes(statement, i_column));
        break;
    }
}

static void take_row(iso_rows *rows, int64_t *capacity, sqlite3_stmt *statement) {
    if (rows->n_rows == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 64;
        rows->cells =
            realloc(rows->cells, (size_t)(*capacity * rows->n_columns) * sizeof *rows->cells);
        ISO_ASSERT(rows->cells);
    }
    iso_cell *cells = rows->cells + rows->n_rows++ * rows->n_columns;
    for (int i = 0; i < rows->n_columns; i++) take_cell(&cells[i], statement, i);
}

static iso_status ask(iso_rows *out, iso_run_index *index, const char *sql) {
    sqlite3_stmt *statement = NULL;
    int64_t capacity = 0;
    int rc;
    ISO_TRY(prepare_question(&statement, index, sql));
    out->n_columns = sqlite3_column_count(statement);
    out->columns = calloc((size_t)out->n_columns + 1, sizeof *out->columns);
    ISO_ASSERT(out->columns);
    for (int i = 0; i < out->n_columns; i++)
        out->columns[i] = iso_strf("%s", sqlite3_column_name(statement, i));
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) take_row(out, &capacity, statement);
    iso_status status = ISO_OK;
    if (rc == SQLITE_ERROR || rc == SQLITE_MISMATCH) /* such as a function's argument */
        status = iso_fail(ISO_ERR_USAGE, "the SQL is at fault: %s", sqlite3_errmsg(index->db));
    else if (rc != SQLITE_DONE)
        status = iso_index_fail(index, "ask it");
    sqlite3_finalize(statement);
    return status;
}

iso_status iso_run_index_query(iso_rows *out, iso_run_index *index, const char *sql) {
    *out = (iso_rows){0};
    sqlite3_set_authorizer(index->db, allow_reading, NULL);
    iso_status status = ask(out, index, sql);
    sqlite3_set_authorizer(index->db, NULL, NULL);
    if (status != ISO_OK) iso_rows_release(out);
    return status;
}

void iso_rows_release(iso_rows *rows) {
    for (int64_t i = 0; i < rows->n_rows * rows->n_columns; i++) free(rows->cells[i].text);
    for (int64_t i = 0; i < rows->n_columns; i++) free(rows->columns[i]);
    free(rows->cells);
    free(rows->columns);
    *rows = (iso_rows){0};
}

double iso_cell_number(const iso_cell *cell) {
    if (cell->kind == ISO_CELL_INTEGER) return (double)cell->integer;
    return cell->kind == ISO_CELL_REAL ? cell->real : NAN;
}

int64_t iso_rows_column(const iso_rows *rows, const char *name) {
    for (int64_t i = 0; i < rows->n_columns; i++)
        if (strcmp(rows->columns[i], name) == 0) return i;
    return -1;
}
