/* Writing a run folder. metrics.jsonl is appended row by row, each in one write, so that a reader
 * beside the run sees whole rows; every other file is replaced atomically. A resume rewrites the
 * metrics without the rows that its checkpoint does not know of, and without those of the final
 * evaluation, which comes after the last checkpoint: they will come again. How many steps are thus
 * done twice stands in one row of the same file, so that no kill can come between the two.
 */
#include "runs/route_file.h"
#include "runs/run_folder.h"
#include "runs/run_rows.h"

#include "base/fileio.h"
#include "base/log.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct iso_run_writer {
    char *dir;
    char *metrics_path;
    iso_lock lock;
    iso_str yaml;  /* config.yaml; empty: none is written */
    FILE *metrics; /* NULL before on_begin */
};

iso_status iso_run_writer_open(iso_run_writer **out, const char *dir) {
    *out = NULL;
    ISO_TRY(iso_dir_create(dir));
    iso_run_writer *writer = calloc(1, sizeof *writer);
    if (!writer) return iso_fail(ISO_ERR_MEMORY, "%s: no memory to open it", dir);
    char *lock_path = iso_strf("%s/" ISO_RUN_LOCK, dir);
    iso_status status = iso_lock_open(&writer->lock, lock_path);
    free(lock_path);
    if (status != ISO_OK) {
        free(writer);
        return status;
    }
    writer->dir = iso_strf("%s", dir);
    writer->metrics_path = iso_strf("%s/" ISO_RUN_METRICS, dir);
    *out = writer;
    return ISO_OK;
}

void iso_run_writer_close(iso_run_writer *writer) {
    if (!writer) return;
    if (writer->metrics) fclose(writer->metrics); /* every row was flushed when it was written */
    iso_lock_close(&writer->lock);
    iso_str_release(&writer->yaml);
    free(writer->metrics_path);
    free(writer->dir);
    free(writer);
}

void iso_run_writer_config(iso_run_writer *writer, const iso_config *config) {
    iso_str_clear(&writer->yaml);
    iso_config_to_yaml(&writer->yaml, config);
}

static iso_status write_config(const iso_run_writer *writer) {
    if (writer->yaml.len == 0) return ISO_OK;
    char *path = iso_strf("%s/" ISO_RUN_CONFIG, writer->dir);
    iso_status status = iso_file_write_atomic(path, writer->yaml.data, (int64_t)writer->yaml.len);
    free(path);
    return status;
}

/* --- going on from a step --- */

/* What a resume makes of the rows there are. */
typedef struct kept_rows {
    iso_str text;       /* whole rows up to the step */
    int64_t last_step;  /* of the step rows among them; 0 if there are none */
    int64_t n_replayed; /* step rows beyond it, now and at earlier resumes: work done again */
} kept_rows;

static bool is_final_eval(const json_t *row) {
    return json_is_true(json_object_get(row, "final"));
}

/* `final_step`: of the final evaluation above, whose rows all go; -1 if there is none. */
static iso_status keep_row(kept_rows *kept, int64_t *final_step, const json_t *row,
                           const char *line, size_t n_bytes, int64_t step, const char *path) {
    iso_row_kind kind;
    int64_t row_step, n_replayed;
    ISO_TRY(iso_row_identify(&kind, &row_step, row, path));
    if (kind == ISO_ROW_REPLAY) {
        ISO_TRY(iso_row_get_replayed(&n_replayed, row, path));
        kept->n_replayed += n_replayed;
        return ISO_OK;
    }
    if (is_final_eval(row)) *final_step = row_step;
    if (row_step > step)
        kept->n_replayed += kind == ISO_ROW_STEP;
    else if (kind == ISO_ROW_STEP || row_step != *final_step)
        iso_str_append_bytes(&kept->text, line, n_bytes);
    if (kind == ISO_ROW_STEP && row_step <= step) kept->last_step = row_step;
    return ISO_OK;
}

static void keep_rows(kept_rows *kept, const char *text, int64_t n_bytes, int64_t step,
                      const char *path) {
    int64_t line = 0, final_step = -1;
    for (const char *at = text, *end; (end = memchr(at, '\n', (size_t)(text + n_bytes - at)));
         at = end + 1) {
        json_t *row = NULL;
        line++;
        iso_status status = iso_json_parse(&row, at, end - at, path);
        if (status == ISO_OK)
            status = keep_row(kept, &final_step, row, at, (size_t)(end + 1 - at), step, path);
        json_decref(row);
        if (status != ISO_OK)
            iso_log(ISO_LOG_WARN, "line %" PRId64 " dropped: %s", line, iso_error_message());
    }
    if (kept->n_replayed > 0)
        iso_str_appendf(&kept->text, "{\"step\":%" PRId64 ",\"replayed_steps\":%" PRId64 "}\n",
                        step, kept->n_replayed);
}

static iso_status rewrite_metrics(const char *path, int64_t step, int64_t *n_replayed) {
    char *text;
    int64_t n_bytes;
    if (!iso_path_exists(path)) return ISO_OK;
    ISO_TRY(iso_file_read(&text, &n_bytes, path, ISO_RUN_METRICS_MAX_BYTES));
    kept_rows kept = {0};
    keep_rows(&kept, text, n_bytes, step, path);
    free(text);
    *n_replayed = kept.n_replayed;
    if (kept.last_step != step)
        iso_log(ISO_LOG_WARN,
                "%s: rows between step %" PRId64 " and step %" PRId64
                ", where the run goes on, are lost",
                path, kept.last_step, step);
    iso_status status =
        iso_file_write_atomic(path, kept.text.data ? kept.text.data : "", (int64_t)kept.text.len);
    iso_str_release(&kept.text);
    return status;
}

/* Routing that is not of an evaluation up to `step`, unreadable routing included. */
static iso_status remove_later_routing(const char *dir, int64_t step) {
    iso_route_file routing;
    bool found;
    bool is_valid = iso_run_routing(&routing, &found, dir) == ISO_OK && routing.step <= step;
    iso_route_file_release(&routing);
    if (!found || is_valid) return ISO_OK;
    char *path = iso_strf("%s/" ISO_RUN_ROUTING, dir);
    iso_status status =
        unlink(path) == 0 ? ISO_OK : iso_fail_errno(ISO_ERR_IO, errno, "cannot remove %s", path);
    free(path);
    return status;
}

/* The final evaluation of a future that is void now. */
static iso_status remove_later_evaluation(const char *dir, int64_t step) {
    char *path = iso_strf("%s/" ISO_RUN_EVALUATION, dir);
    json_t *evaluation = NULL;
    int64_t old_step;
    iso_status status = ISO_OK;
    if (iso_path_exists(path)) {
        bool is_valid = iso_json_load(&evaluation, path) == ISO_OK &&
                        iso_json_get_i64(&old_step, evaluation, "step", path) == ISO_OK &&
                        old_step <= step;
        if (!is_valid && unlink(path) != 0)
            status = iso_fail_errno(ISO_ERR_IO, errno, "cannot remove %s", path);
    }
    json_decref(evaluation);
    free(path);
    return status;
}

static iso_status begin(void *ctx, int64_t step, int64_t *n_replayed) {
    iso_run_writer *writer = ctx;
    *n_replayed = 0;
    if (writer->metrics) fclose(writer->metrics);
    writer->metrics = NULL;
    ISO_TRY(rewrite_metrics(writer->metrics_path, step, n_replayed));
    ISO_TRY(remove_later_evaluation(writer->dir, step));
    ISO_TRY(remove_later_routing(writer->dir, step));
    ISO_TRY(write_config(writer));
    writer->metrics = fopen(writer->metrics_path, "ae");
    if (writer->metrics) return ISO_OK;
    return iso_fail_errno(ISO_ERR_IO, errno, "cannot open %s", writer->metrics_path);
}

/* --- rows --- */

/* Writes and releases `row`. */
static iso_status append_row(iso_run_writer *writer, json_t *row) {
    ISO_ASSERT(writer->metrics);
    char *line = iso_json_line(row);
    json_decref(row);
    bool is_written = fprintf(writer->metrics, "%s\n", line) > 0 && fflush(writer->metrics) == 0;
    free(line);
    if (is_written) return ISO_OK;
    return iso_fail_errno(ISO_ERR_IO, errno, "cannot write %s", writer->metrics_path);
}

/* JSON has no NaN and no infinity: refused by name rather than left out of the row. */
static iso_status set_real(json_t *object, const char *key, double value, int64_t step) {
    if (!isfinite(value))
        return iso_fail(ISO_ERR_NONFINITE, "%s of step %" PRId64 " is not a finite number", key,
                        step);
    json_object_set_new(object, key, json_real(value));
    return ISO_OK;
}

static iso_status append_real(json_t *array, const char *what, double value, int64_t step) {
    if (!isfinite(value))
        return iso_fail(ISO_ERR_NONFINITE, "%s of step %" PRId64 " is not a finite number", what,
                        step);
    json_array_append_new(array, json_real(value));
    return ISO_OK;
}

static iso_status write_step(void *ctx, const iso_step_row *row) {
    json_t *object = json_object();
    iso_status status = ISO_OK;
    for (int i = 0; i < iso_n_step_fields && status == ISO_OK; i++) {
        const iso_step_field *field = &iso_step_fields[i];
        const void *value = (const char *)row + field->offset;
        if (field->is_moe && !row->is_moe) continue;
        if (field->is_integer)
            json_object_set_new(object, field->key, json_integer(*(const int64_t *)value));
        else
            status = set_real(object, field->key, *(const double *)value, row->step);
    }
    if (status == ISO_OK) return append_row(ctx, object);
    json_decref(object);
    return status;
}

static iso_status write_eval(void *ctx, const iso_eval_row *row) {
    json_t *val = json_object();
    json_t *object = json_pack("{s:I, s:o}", "step", (json_int_t)row->step, "val", val);
    iso_status status = ISO_OK;
    if (row->is_final) json_object_set_new(object, "final", json_true());
    for (int64_t i = 0; i < row->n_scores && status == ISO_OK; i++) {
        const iso_score *score = &row->scores[i];
        json_t *entry = json_object();
        json_object_set_new(val, score->domain, entry);
        status = set_real(entry, "loss", score->loss, row->step);
        if (status == ISO_OK) status = set_real(entry, "bpb", score->bpb, row->step);
        if (status == ISO_OK) status = set_real(entry, "bpc", score->bpc, row->step);
    }
    if (status == ISO_OK) return append_row(ctx, object);
    json_decref(object);
    return status;
}

static iso_status write_router(void *ctx, const iso_router_row *row) {
    json_t *layers = json_array();
    json_t *object = json_pack("{s:I, s:o}", "step", (json_int_t)row->step, "router", layers);
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < row->n_layers && status == ISO_OK; i++) {
        const iso_router_layer *layer = &row->layers[i];
        json_t *load = json_array();
        json_t *entry = json_pack("{s:I}", "layer", (json_int_t)layer->layer);
        json_array_append_new(layers, entry);
        status = set_real(entry, "entropy", layer->entropy, row->step);
        json_object_set_new(entry, "load", load);
        for (int64_t e = 0; e < layer->n_experts && status == ISO_OK; e++)
            status = append_real(load, "load", layer->load[e], row->step);
    }
    if (status == ISO_OK) return append_row(ctx, object);
    json_decref(object);
    return status;
}

static iso_status sync_rows(void *ctx, int64_t step) {
    iso_run_writer *writer = ctx;
    if (!writer->metrics || fsync(fileno(writer->metrics)) == 0) return ISO_OK;
    return iso_fail_errno(ISO_ERR_IO, errno, "cannot sync %s to disk", writer->metrics_path);
}

/* --- whole files --- */

/* *out is released by the caller, whatever the status. */
static iso_status windows_to_json(json_t **out, const iso_window_scores *scores, int64_t step) {
    json_t *document = json_array(), *nats = json_array(), *bytes = json_array(),
           *chars = json_array();
    *out = json_pack("{s:o, s:o, s:o, s:o}", "document", document, "nats", nats, "bytes", bytes,
                     "chars", chars);
    for (int64_t i = 0; i < scores->n_windows; i++) {
        json_array_append_new(document, json_integer(scores->document[i]));
        ISO_TRY(append_real(nats, "nats of the final evaluation", scores->nats[i], step));
        json_array_append_new(bytes, json_integer(scores->n_bytes[i]));
        json_array_append_new(chars, json_integer(scores->n_chars[i]));
    }
    return ISO_OK;
}

static iso_status write_evaluation(void *ctx, const iso_evaluation *evaluation) {
    iso_run_writer *writer = ctx;
    json_t *domains = json_object();
    json_t *object = json_pack("{s:i, s:I, s:s, s:o}", "format", ISO_RUN_EVALUATION_FORMAT, "step",
                               (json_int_t)evaluation->step, "sample_hash", evaluation->sample_hash,
                               "domains", domains);
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < evaluation->n_domains && status == ISO_OK; i++) {
        json_t *windows;
        status = windows_to_json(&windows, &evaluation->domains[i], evaluation->step);
        json_object_set_new(domains, evaluation->domains[i].domain, windows);
    }
    if (status == ISO_OK) {
        /* One line: indented, the arrays would take a line per number. */
        char *line = iso_json_line(object);
        char *path = iso_strf("%s/" ISO_RUN_EVALUATION, writer->dir);
        status = iso_file_write_atomic(path, line, (int64_t)strlen(line));
        free(path);
        free(line);
    }
    json_decref(object);
    return status;
}

static iso_status write_routes(void *ctx, int64_t step, const char *sample_hash,
                               const iso_route_counts *counts) {
    iso_run_writer *writer = ctx;
    char *path = iso_strf("%s/" ISO_RUN_ROUTING, writer->dir);
    iso_status status = iso_route_file_save(path, step, sample_hash, counts);
    free(path);
    return status;
}

static iso_status write_summary(void *ctx, const json_t *summary) {
    iso_run_writer *writer = ctx;
    char *path = iso_strf("%s/" ISO_RUN_SUMMARY, writer->dir);
    iso_status status = iso_json_save(summary, path);
    free(path);
    return status;
}

iso_sink iso_run_writer_sink(iso_run_writer *writer) {
    return (iso_sink){
        .ctx = writer,
        .on_begin = begin,
        .on_step = write_step,
        .on_eval = write_eval,
        .on_router = write_router,
        .on_checkpoint = sync_rows,
        .on_evaluation = write_evaluation,
        .on_routes = write_routes,
        .on_summary = write_summary,
    };
}
