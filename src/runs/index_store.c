#include "runs/index_store.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DELETE_RUN, RUN, SCORE, EVALUATION, CURVE, LAYER, LOAD, N_STATEMENTS };

struct iso_index_store {
    iso_run_index *index;
    sqlite3_stmt *statements[N_STATEMENTS];
};

/* --- errors --- */

static iso_status status_of(int code) {
    switch (code & 0xff) {
    case SQLITE_FULL:
        return ISO_ERR_NO_SPACE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ISO_ERR_LOCKED;
    case SQLITE_NOMEM:
        return ISO_ERR_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ISO_ERR_DATA;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return code == SQLITE_IOERR_DATA ? ISO_ERR_DATA : ISO_ERR_IO;
    default:
        return ISO_ERR_FAILED;
    }
}

iso_status iso_index_fail(const iso_run_index *index, const char *what) {
    int code = sqlite3_extended_errcode(index->db), err = sqlite3_system_errno(index->db);
    const char *text = sqlite3_errmsg(index->db);
    iso_status status = status_of(code);
    if (status == ISO_ERR_IO && err != 0)
        return iso_fail_errno(status, err, "%s: cannot %s: %s", index->path, what, text);
    if (status == ISO_ERR_NO_SPACE)
        return iso_fail(status, "%s: cannot %s: the disk is full; make room and run again",
                        index->path, what);
    if (status == ISO_ERR_LOCKED)
        return iso_fail(status, "%s: cannot %s: another process is writing it", index->path, what);
    return iso_fail(status, "%s: cannot %s: %s", index->path, what, text);
}

iso_status iso_index_exec(iso_run_index *index, const char *sql, const char *what) {
    if (sqlite3_exec(index->db, sql, NULL, NULL, NULL) == SQLITE_OK) return ISO_OK;
    return iso_index_fail(index, what);
}

iso_status iso_index_prepare(sqlite3_stmt **out, iso_run_index *index, const char *sql) {
    if (sqlite3_prepare_v2(index->db, sql, -1, out, NULL) == SQLITE_OK) return ISO_OK;
    return iso_index_fail(index, "ask it");
}

/* --- statements --- */

static char *insert_run_sql(void) {
    iso_str sql = {0};
    iso_str_append(&sql, "INSERT INTO runs (");
    for (int i = 0; i < iso_n_index_columns; i++)
        iso_str_appendf(&sql, "%s%s", i ? ", " : "", iso_index_columns[i].name);
    iso_str_append(&sql, ") VALUES (");
    for (int i = 0; i < iso_n_index_columns; i++) iso_str_append(&sql, i ? ", ?" : "?");
    iso_str_append(&sql, ")");
    return sql.data;
}

iso_status iso_index_store_open(iso_index_store **out, iso_run_index *index) {
    static const char *const sql[N_STATEMENTS] = {
        [DELETE_RUN] = "DELETE FROM runs WHERE run_id = ?", /* the other tables follow */
        [SCORE] = "INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [EVALUATION] = "INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?)",
        [CURVE] = "INSERT INTO curves VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [LAYER] = "INSERT INTO router_layers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [LOAD] = "INSERT INTO router_loads VALUES (?, ?, ?, ?)",
    };
    iso_index_store *store = calloc(1, sizeof *store);
    if (!store) return iso_fail(ISO_ERR_MEMORY, "no memory to write %s", index->path);
    store->index = index;
    char *insert_run = insert_run_sql();
    iso_status status = ISO_OK;
    for (int i = 0; i < N_STATEMENTS && status == ISO_OK; i++)
        status = iso_index_prepare(&store->statements[i], index, i == RUN ? insert_run : sql[i]);
    free(insert_run);
    if (status != ISO_OK) iso_index_store_close(store);
    *out = status == ISO_OK ? store : NULL;
    return status;
}

void iso_index_store_close(iso_index_store *store) {
    if (!store) return;
    for (int i = 0; i < N_STATEMENTS; i++) sqlite3_finalize(store->statements[i]);
    free(store);
}

/* What fails while binding shows in the step, as a NULL where none may be. */
static void bind_integer(sqlite3_stmt *statement, int place, int64_t value) {
    if (value != ISO_INDEX_NONE) sqlite3_bind_int64(statement, place, value);
}

static void bind_real(sqlite3_stmt *statement, int place, double value) {
    if (!isnan(value)) sqlite3_bind_double(statement, place, value);
}

static void bind_text(sqlite3_stmt *statement, int place, const char *value) {
    if (value) sqlite3_bind_text(statement, place, value, -1, SQLITE_STATIC);
}

/* Runs a statement that is bound, and makes it ready for the next row. */
static iso_status step(const iso_index_store *store, int i_statement) {
    sqlite3_stmt *statement = store->statements[i_statement];
    iso_status status = ISO_OK;
    if (sqlite3_step(statement) != SQLITE_DONE) status = iso_index_fail(store->index, "write it");
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

/* --- tables --- */

static iso_status put_run(const iso_index_store *store, const iso_index_row *row) {
    sqlite3_stmt *statement = store->statements[RUN];
    for (int i = 0; i < iso_n_index_columns; i++) {
        const void *field = (const char *)row + iso_index_columns[i].offset;
        switch (iso_index_columns[i].type) {
        case ISO_INDEX_INTEGER:
            bind_integer(statement, i + 1, *(const int64_t *)field);
            break;
        case ISO_INDEX_REAL:
            bind_real(statement, i + 1, *(const double *)field);
            break;
        case ISO_INDEX_TEXT:
            bind_text(statement, i + 1, *(const char *const *)field);
            break;
        }
    }
    return step(store, RUN);
}

static int64_t count_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : ISO_INDEX_NONE;
}

/* The final scores per domain; an entry that is none is left out. */
static iso_status put_scores(const iso_index_store *store, const iso_index_row *row) {
    json_t *domains = json_object_get(row->run.summary, "domains"), *entry;
    sqlite3_stmt *statement = store->statements[SCORE];
    static const char *const reals[] = {"loss", "bpb", "bpc"};
    static const char *const counts[] = {"tokens", "bytes", "chars"};
    const char *domain;
    json_object_foreach(domains, domain, entry) {
        bool is_score = true;
        for (int i = 0; i < 3; i++)
            is_score = is_score && json_is_number(json_object_get(entry, reals[i]));
        if (!is_score) continue;
        bind_integer(statement, 1, row->run_id);
        bind_text(statement, 2, domain);
        for (int i = 0; i < 3; i++) {
            bind_real(statement, 3 + i, json_number_value(json_object_get(entry, reals[i])));
            bind_integer(statement, 6 + i, count_of(entry, counts[i]));
        }
        ISO_TRY(step(store, SCORE));
    }
    return ISO_OK;
}

static iso_status put_evaluations(const iso_index_store *store, const iso_index_row *row) {
    sqlite3_stmt *statement = store->statements[EVALUATION];
    for (int64_t i = 0; i < row->run.n_evals; i++) {
        const iso_eval_row *eval = &row->run.evals[i];
        for (int64_t j = 0; j < eval->n_scores; j++) {
            const iso_score *score = &eval->scores[j];
            bind_integer(statement, 1, row->run_id);
            bind_integer(statement, 2, eval->step);
            bind_text(statement, 3, score->domain);
            bind_integer(statement, 4, eval->is_final);
            bind_real(statement, 5, score->loss);
            bind_real(statement, 6, score->bpb);
            bind_real(statement, 7, score->bpc);
            ISO_TRY(step(store, EVALUATION));
        }
    }
    return ISO_OK;
}

static void bind_point(sqlite3_stmt *statement, const iso_step_row *at, double mean_loss) {
    bind_integer(statement, 2, at->step);
    bind_integer(statement, 3, at->tokens);
    bind_integer(statement, 4, at->epoch);
    bind_real(statement, 5, at->loss);
    bind_real(statement, 6, mean_loss);
    bind_real(statement, 7, at->grad_norm);
    bind_real(statement, 8, at->lr);
    bind_real(statement, 9, at->tokens_per_s);
    if (!at->is_moe) return;
    bind_real(statement, 10, at->aux_loss);
    bind_real(statement, 11, at->load_imbalance);
    bind_integer(statement, 12, at->dead_experts);
    bind_real(statement, 13, at->router_entropy);
}

/* Each point also has the mean loss over the steps since the point before: thinning is no reason to
 * show more noise than there is. */
static iso_status put_curve(const iso_index_store *store, const iso_index_row *row) {
    int64_t n_rows = row->run.n_steps, next = 0;
    int64_t n_points = n_rows < ISO_INDEX_CURVE_POINTS ? n_rows : ISO_INDEX_CURVE_POINTS;
    for (int64_t i = 0; i < n_points; i++) {
        int64_t at = iso_index_curve_row(i, n_points, n_rows), first = next;
        double sum = 0;
        while (next <= at) sum += row->run.steps[next++].loss;
        bind_integer(store->statements[CURVE], 1, row->run_id);
        bind_point(store->statements[CURVE], &row->run.steps[at], sum / (double)(next - first));
        ISO_TRY(step(store, CURVE));
    }
    return ISO_OK;
}

static iso_status put_layer(const iso_index_store *store, const iso_index_row *row, int64_t at,
                            const iso_router_layer *layer) {
    sqlite3_stmt *statement = store->statements[LAYER];
    double least = INFINITY, most = 0;
    int64_t n_dead = 0;
    if (layer->n_experts == 0) return ISO_OK;
    for (int64_t e = 0; e < layer->n_experts; e++) {
        least = fmin(least, layer->load[e]);
        most = fmax(most, layer->load[e]);
        n_dead += layer->load[e] == 0;
    }
    bind_integer(statement, 1, row->run_id);
    bind_integer(statement, 2, at);
    bind_integer(statement, 3, layer->layer);
    bind_real(statement, 4, layer->entropy);
    bind_integer(statement, 5, layer->n_experts);
    bind_integer(statement, 6, n_dead);
    bind_real(statement, 7, least);
    bind_real(statement, 8, most);
    return step(store, LAYER);
}

static iso_status put_loads(const iso_index_store *store, const iso_index_row *row,
                            const iso_router_layer *layer) {
    sqlite3_stmt *statement = store->statements[LOAD];
    for (int64_t e = 0; e < layer->n_experts; e++) {
        bind_integer(statement, 1, row->run_id);
        bind_integer(statement, 2, layer->layer);
        bind_integer(statement, 3, e);
        bind_real(statement, 4, layer->load[e]);
        ISO_TRY(step(store, LOAD));
    }
    return ISO_OK;
}

/* A summary of each layer at each evaluation; the experts one by one at the last. */
static iso_status put_router(const iso_index_store *store, const iso_index_row *row) {
    for (int64_t i = 0; i < row->run.n_routers; i++) {
        const iso_router_row *router = &row->run.routers[i];
        for (int64_t j = 0; j < router->n_layers; j++) {
            ISO_TRY(put_layer(store, row, router->step, &router->layers[j]));
            if (i == row->run.n_routers - 1) ISO_TRY(put_loads(store, row, &router->layers[j]));
        }
    }
    return ISO_OK;
}

iso_status iso_index_store_put(iso_index_store *store, const iso_index_row *row) {
    bind_integer(store->statements[DELETE_RUN], 1, row->run_id);
    ISO_TRY(step(store, DELETE_RUN));
    ISO_TRY(put_run(store, row));
    if (!row->is_readable) return ISO_OK;
    ISO_TRY(put_scores(store, row));
    ISO_TRY(put_evaluations(store, row));
    ISO_TRY(put_curve(store, row));
    return put_router(store, row);
}
