/* Reading a run folder. The files may be of a run that is still going on, was killed, or was
 * damaged since: whatever does not have exactly the documented form is refused with its line. Only
 * a last line without its newline is let pass: a kill, or a writer at work, leaves one.
 */
#include "runs/run_folder.h"
#include "runs/run_rows.h"

#include "base/fileio.h"
#include "base/str.h"
#include "data/dataset.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One more item at the end of an array that grows by doubling; the new item is zeroed. */
static void *grow(void *items_pointer, int64_t *n, size_t item_bytes) {
    void **items = items_pointer;
    bool is_full = (*n & (*n - 1)) == 0; /* at 0, 1, 2, 4, 8, ... */
    if (is_full) {
        size_t capacity = *n == 0 ? 1 : 2 * (size_t)*n;
        *items = realloc(*items, capacity * item_bytes);
        ISO_ASSERT(*items);
    }
    void *item = (char *)*items + (size_t)(*n)++ * item_bytes;
    memset(item, 0, item_bytes);
    return item;
}

static void *take(size_t n, size_t item_bytes) {
    void *items = calloc(n + 1, item_bytes);
    ISO_ASSERT(items);
    return items;
}

/* --- rows --- */

static iso_status read_step(iso_run *run, const json_t *object, const char *what) {
    iso_step_row *row = grow(&run->steps, &run->n_steps, sizeof *row);
    row->is_moe = json_object_get(object, "aux_loss") != NULL;
    for (int i = 0; i < iso_n_step_fields; i++) {
        const iso_step_field *field = &iso_step_fields[i];
        void *value = (char *)row + field->offset;
        if (field->is_moe && !row->is_moe) continue;
        if (field->is_integer)
            ISO_TRY(iso_json_get_i64(value, object, field->key, what));
        else
            ISO_TRY(iso_json_get_f64(value, object, field->key, what));
    }
    return ISO_OK;
}

static iso_status read_eval(iso_run *run, json_t *object, const char *what) {
    iso_eval_row *row = grow(&run->evals, &run->n_evals, sizeof *row);
    json_t *val, *entry;
    const char *domain;
    ISO_TRY(iso_json_get_i64(&row->step, object, "step", what));
    ISO_TRY(iso_json_get_object(&val, object, "val", what));
    row->is_final = json_is_true(json_object_get(object, "final"));
    iso_score *scores = take(json_object_size(val), sizeof *scores);
    row->scores = scores;
    json_array_append(run->texts, object);
    json_object_foreach(val, domain, entry) {
        iso_score *score = &scores[row->n_scores++];
        score->domain = domain;
        ISO_TRY(iso_json_get_f64(&score->loss, entry, "loss", what));
        ISO_TRY(iso_json_get_f64(&score->bpb, entry, "bpb", what));
        ISO_TRY(iso_json_get_f64(&score->bpc, entry, "bpc", what));
    }
    return ISO_OK;
}

static iso_status read_router_layer(iso_router_layer *layer, const json_t *object,
                                    const char *what) {
    json_t *load;
    ISO_TRY(iso_json_get_i64(&layer->layer, object, "layer", what));
    ISO_TRY(iso_json_get_f64(&layer->entropy, object, "entropy", what));
    ISO_TRY(iso_json_get_array(&load, object, "load", what));
    double *shares = take(json_array_size(load), sizeof *shares);
    layer->load = shares;
    layer->n_experts = (int64_t)json_array_size(load);
    for (int64_t e = 0; e < layer->n_experts; e++) {
        const json_t *share = json_array_get(load, (size_t)e);
        if (!json_is_number(share)) return iso_fail(ISO_ERR_DATA, "%s: load must be numbers", what);
        shares[e] = json_number_value(share);
    }
    return ISO_OK;
}

static iso_status read_router(iso_run *run, const json_t *object, const char *what) {
    iso_router_row *row = grow(&run->routers, &run->n_routers, sizeof *row);
    json_t *layers;
    ISO_TRY(iso_json_get_i64(&row->step, object, "step", what));
    ISO_TRY(iso_json_get_array(&layers, object, "router", what));
    iso_router_layer *items = take(json_array_size(layers), sizeof *items);
    row->layers = items;
    row->n_layers = (int64_t)json_array_size(layers);
    for (int64_t i = 0; i < row->n_layers; i++)
        ISO_TRY(read_router_layer(&items[i], json_array_get(layers, (size_t)i), what));
    return ISO_OK;
}

static iso_status read_row(iso_run *run, json_t *object, int64_t last_steps[ISO_N_ROW_KINDS],
                           const char *what) {
    iso_row_kind kind;
    int64_t step, n_replayed;
    ISO_TRY(iso_row_identify(&kind, &step, object, what));
    if (step <= last_steps[kind])
        return iso_fail(ISO_ERR_DATA, "%s: step %" PRId64 " comes after step %" PRId64, what, step,
                        last_steps[kind]);
    last_steps[kind] = step;
    switch (kind) {
    case ISO_ROW_STEP:
        return read_step(run, object, what);
    case ISO_ROW_EVAL:
        return read_eval(run, object, what);
    case ISO_ROW_ROUTER:
        return read_router(run, object, what);
    default:
        return iso_row_get_replayed(&n_replayed, object, what); /* the summary has it, too */
    }
}

static iso_status read_metrics(iso_run *run, const char *path) {
    char *text;
    int64_t n_bytes, line = 0, last_steps[ISO_N_ROW_KINDS] = {-1, -1, -1, -1};
    if (!iso_path_exists(path)) return ISO_OK; /* a run before its first step */
    ISO_TRY(iso_file_read(&text, &n_bytes, path, ISO_RUN_METRICS_MAX_BYTES));
    iso_status status = ISO_OK;
    const char *at = text, *end;
    while (status == ISO_OK && (end = memchr(at, '\n', (size_t)(text + n_bytes - at)))) {
        char *what = iso_strf("%s: line %" PRId64, path, ++line);
        json_t *object = NULL;
        status = iso_json_parse(&object, at, end - at, what);
        if (status == ISO_OK) status = read_row(run, object, last_steps, what);
        json_decref(object);
        free(what);
        at = end + 1;
    }
    free(text);
    return status;
}

/* --- the final evaluation --- */

static iso_status read_integers(int64_t **out, int64_t n, const json_t *object, const char *key,
                                const char *what) {
    json_t *array;
    ISO_TRY(iso_json_get_array(&array, object, key, what));
    if ((int64_t)json_array_size(array) != n)
        return iso_fail(ISO_ERR_DATA, "%s: %s has %zu entries, nats %" PRId64, what, key,
                        json_array_size(array), n);
    *out = take((size_t)n, sizeof **out);
    for (int64_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(array, (size_t)i);
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return iso_fail(ISO_ERR_DATA, "%s: %s must be whole numbers from 0 up", what, key);
        (*out)[i] = json_integer_value(value);
    }
    return ISO_OK;
}

static iso_status read_windows(iso_window_scores *scores, const json_t *object, const char *what) {
    json_t *nats;
    ISO_TRY(iso_json_get_array(&nats, object, "nats", what));
    int64_t n = (int64_t)json_array_size(nats);
    double *values = take((size_t)n, sizeof *values);
    scores->nats = values;
    scores->n_windows = n;
    for (int64_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(nats, (size_t)i);
        if (!json_is_number(value) || json_number_value(value) < 0)
            return iso_fail(ISO_ERR_DATA, "%s: nats must be numbers from 0 up", what);
        values[i] = json_number_value(value);
    }
    ISO_TRY(read_integers((int64_t **)&scores->document, n, object, "document", what));
    ISO_TRY(read_integers((int64_t **)&scores->n_bytes, n, object, "bytes", what));
    return read_integers((int64_t **)&scores->n_chars, n, object, "chars", what);
}

static iso_status read_evaluation(iso_run *run, const char *path) {
    json_t *object, *domains, *entry;
    const char *domain;
    int64_t format;
    if (!iso_path_exists(path)) return ISO_OK;
    ISO_TRY(iso_json_load(&object, path));
    json_array_append_new(run->texts, object);
    iso_evaluation *evaluation = run->evaluation = take(1, sizeof *evaluation);
    ISO_TRY(iso_json_get_i64(&format, object, "format", path));
    if (format != ISO_RUN_EVALUATION_FORMAT)
        return iso_fail(ISO_ERR_UNSUPPORTED, "%s: format %" PRId64 "; this version reads %d", path,
                        format, ISO_RUN_EVALUATION_FORMAT);
    ISO_TRY(iso_json_get_i64(&evaluation->step, object, "step", path));
    ISO_TRY(iso_json_get_str(&evaluation->sample_hash, object, "sample_hash", path));
    ISO_TRY(iso_json_get_object(&domains, object, "domains", path));
    iso_window_scores *scores = take(json_object_size(domains), sizeof *scores);
    evaluation->domains = scores;
    json_object_foreach(domains, domain, entry) {
        iso_window_scores *one = &scores[evaluation->n_domains++];
        one->domain = domain;
        ISO_TRY(read_windows(one, entry, path));
    }
    return ISO_OK;
}

/* --- the whole --- */

static iso_status read_summary(iso_run *run, const char *path) {
    if (!iso_path_exists(path))
        return iso_fail(ISO_ERR_USAGE, "%s is no run folder: it has no " ISO_RUN_SUMMARY, run->dir);
    ISO_TRY(iso_json_load(&run->summary, path));
    if (!json_is_object(run->summary)) return iso_fail(ISO_ERR_DATA, "%s: not an object", path);
    const char *name = json_string_value(json_object_get(run->summary, "name"));
    if (!name || !*name) {
        size_t len = strlen(run->dir);
        while (len > 1 && run->dir[len - 1] == '/') run->dir[--len] = '\0';
        const char *slash = strrchr(run->dir, '/');
        name = slash && slash[1] ? slash + 1 : run->dir;
    }
    for (const char *c = name; *c; c++) /* it goes to terminals */
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return iso_fail(ISO_ERR_DATA, "%s: \"name\" holds control characters", path);
    run->name = iso_strf("%s", name);
    return ISO_OK;
}

iso_status iso_run_open(iso_run *out, const char *dir) {
    *out = (iso_run){.dir = iso_strf("%s", dir), .texts = json_array()};
    char *summary = iso_strf("%s/" ISO_RUN_SUMMARY, dir);
    char *metrics = iso_strf("%s/" ISO_RUN_METRICS, dir);
    char *evaluation = iso_strf("%s/" ISO_RUN_EVALUATION, dir);
    iso_status status = read_summary(out, summary);
    if (status == ISO_OK) status = read_metrics(out, metrics);
    if (status == ISO_OK) status = read_evaluation(out, evaluation);
    free(evaluation);
    free(metrics);
    free(summary);
    if (status != ISO_OK) iso_run_close(out);
    return status;
}

/* The arrays are const for readers of an open run; here they go back to where they came from. */
static void free_const(const void *memory) {
    free((void *)memory);
}

void iso_run_close(iso_run *run) {
    for (int64_t i = 0; i < run->n_evals; i++) free_const(run->evals[i].scores);
    for (int64_t i = 0; i < run->n_routers; i++) {
        const iso_router_row *row = &run->routers[i];
        for (int64_t j = 0; j < row->n_layers; j++) free_const(row->layers[j].load);
        free_const(row->layers);
    }
    for (int64_t i = 0; run->evaluation && i < run->evaluation->n_domains; i++) {
        const iso_window_scores *scores = &run->evaluation->domains[i];
        free_const(scores->document);
        free_const(scores->nats);
        free_const(scores->n_bytes);
        free_const(scores->n_chars);
    }
    if (run->evaluation) free_const(run->evaluation->domains);
    free(run->evaluation);
    free(run->routers);
    free(run->evals);
    free(run->steps);
    json_decref(run->texts);
    json_decref(run->summary);
    free(run->name);
    free(run->dir);
    *run = (iso_run){0};
}

static bool has_state(const char *dir, const char *wanted) {
    char *path = iso_strf("%s/" ISO_RUN_SUMMARY, dir);
    json_t *summary = NULL;
    const char *state = NULL;
    bool has = iso_path_exists(path) && iso_json_load(&summary, path) == ISO_OK &&
               iso_json_get_str(&state, summary, "state", path) == ISO_OK &&
               strcmp(state, wanted) == 0;
    json_decref(summary);
    free(path);
    return has;
}

bool iso_run_is_finished(const char *dir) {
    return has_state(dir, "finished");
}

bool iso_run_has_diverged(const char *dir) {
    return has_state(dir, "diverged");
}

/* --- the headline --- */

iso_score iso_eval_row_headline(const iso_eval_row *row) {
    iso_score sum = {0};
    double n = 0;
    for (int64_t i = 0; i < row->n_scores; i++) {
        const iso_score *score = &row->scores[i];
        if (row->n_scores > 1 && strcmp(score->domain, ISO_HOLDOUT) == 0) continue;
        sum.loss += score->loss;
        sum.bpb += score->bpb;
        sum.bpc += score->bpc;
        n++;
    }
    if (n == 0) return (iso_score){.loss = NAN, .bpb = NAN, .bpc = NAN};
    return (iso_score){.loss = sum.loss / n, .bpb = sum.bpb / n, .bpc = sum.bpc / n};
}
