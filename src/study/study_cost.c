#include "study/study_cost.h"

#include "arch/count.h"
#include "base/threads.h"
#include "study/speed.h"
#include "train/dry_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a process beside the trainer's arenas: code, text, evaluation. */
#define PROCESS_BYTES (INT64_C(48) << 20)
/* Of the memory that is free: the rest is for the page cache and for what starts meanwhile. */
#define ROOM_FRAC 0.85
/* A micro-batch that takes longer than seconds is not measured. */
#define MEASURE_FLOPS_MAX 4e10
/* Evaluation, checkpoints, start and end. */
#define OVERHEAD 1.12

/* --- memory --- */

/* The number behind `label` at the beginning of a line of the file; -1 if there is none. */
static int64_t number_in(const char *path, const char *label) {
    char line[256], *end;
    int64_t value = -1;
    size_t n_label = strlen(label);
    FILE *file = fopen(path, "re");
    while (file && value < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, label, n_label) != 0) continue;
        long long number = strtoll(line + n_label, &end, 10);
        if (end != line + n_label) value = number;
    }
    if (file) fclose(file);
    return value;
}

static int64_t room(void) {
    int64_t kib = number_in("/proc/meminfo", "MemAvailable:");
    int64_t bytes = kib > 0 ? kib * 1024 : INT64_C(1) << 30;
    int64_t limit = number_in("/sys/fs/cgroup/memory.max", ""); /* "max": no number */
    int64_t used = number_in("/sys/fs/cgroup/memory.current", "");
    if (limit > 0 && used >= 0 && limit - used < bytes) bytes = limit > used ? limit - used : 0;
    return (int64_t)(ROOM_FRAC * (double)bytes);
}

static bool same_side(const iso_study_run *a, const iso_study_run *b) {
    return strcmp(a->side, b->side) == 0;
}

static iso_status measure_memory(iso_study_costs *out, const iso_study_plan *plan, int64_t *most) {
    *most = 0;
    for (int64_t i = 0; i < plan->n_runs; i++) {
        if (i > 0 && same_side(&plan->runs[i], &plan->runs[i - 1])) {
            out->runs[i].memory_bytes = out->runs[i - 1].memory_bytes;
            continue;
        }
        iso_dry_run dry;
        iso_config config = plan->runs[i].config;
        config.train.threads = out->n_threads;
        iso_status status = iso_dry_run_make(&dry, &config, "cpu", ISO_F32);
        if (status != ISO_OK) return iso_fail_context(status, "%s", plan->runs[i].name);
        out->runs[i].memory_bytes = dry.sum_bytes + PROCESS_BYTES;
        if (out->runs[i].memory_bytes > *most) *most = out->runs[i].memory_bytes;
        if (out->runs[i].memory_bytes > out->room_bytes) {
            char need[32], have[32];
            return iso_fail(ISO_ERR_USAGE,
                            "%s needs %s of memory and %s are free; lower micro_batch_size, or "
                            "budget.params",
                            plan->runs[i].name, iso_str_bytes(need, (double)dry.sum_bytes),
                            iso_str_bytes(have, (double)out->room_bytes));
        }
    }
    return ISO_OK;
}

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static iso_status choose_parallel(iso_study_costs *out, const iso_study *study,
                                  const iso_study_plan *plan, int64_t most) {
    int64_t fits = most > 0 ? out->room_bytes / most : 1;
    if (study->parallel > fits) {
        char need[32], have[32];
        return iso_fail(ISO_ERR_USAGE,
                        "machine.parallel: %" PRId64 " runs of up to %s do not fit into %s of "
                        "memory; give at most %" PRId64 ", or auto",
                        study->parallel, iso_str_bytes(need, (double)most),
                        iso_str_bytes(have, (double)out->room_bytes), fits);
    }
    int64_t n = study->parallel > 0 ? study->parallel : iso_machine_n_threads() / out->n_threads;
    n = min_i64(min_i64(n > 0 ? n : 1, fits > 0 ? fits : 1), plan->n_runs);
    out->n_parallel = (int)(n > 0 ? n : 1);
    return ISO_OK;
}

/* --- speed --- */

/* What a speed depends on, as a name. */
static char *speed_key(const iso_config *config, int n_parallel) {
    iso_config probe = iso_config_default();
    char hash[ISO_SHA256_HEX_BYTES];
    probe.model = config->model;
    probe.train.micro_batch_size = config->train.micro_batch_size;
    probe.train.precision = config->train.precision;
    iso_config_hash(hash, &probe);
    return iso_strf("%.16s x%d " ISO_VERSION, hash, n_parallel);
}

static double flops_of(const iso_config *config) {
    iso_counts counts;
    if (iso_count(&counts, &config->model, ISO_CONVENTION_WITH_HEAD) != ISO_OK) return INFINITY;
    return (double)counts.train_flops_per_token;
}

/* One micro-batch a step: the optimizer's share is small, and the step as short as it can be. */
static iso_status measure_speed(double *out, const iso_config *config, int n_parallel) {
    iso_config probe = *config;
    probe.train.batch_size = probe.train.micro_batch_size;
    double tokens = (double)iso_config_batch_tokens(&probe);
    *out = NAN;
    if (flops_of(&probe) * tokens > MEASURE_FLOPS_MAX) return ISO_OK;
    return iso_speed_measure(out, &probe, n_parallel);
}

typedef struct meter {
    iso_study_measure_fn on_measure;
    void *ctx;
    int64_t n_shapes;
    json_t *known;
    bool changed;
} meter;

static json_t *load_cache(const char *path) {
    json_t *known = NULL;
    bool there = path && iso_path_exists(path);
    if (there && iso_json_load(&known, path) == ISO_OK && json_is_object(known)) return known;
    json_decref(known); /* a damaged one is measured anew */
    return json_object();
}

/* Keys of the plan's shapes in `keys`; how many are to be measured. */
static int64_t count_unknown(char **keys, const iso_study_plan *plan, const json_t *known,
                             int n_parallel) {
    json_t *seen = json_object();
    for (int64_t i = 0; i < plan->n_runs; i++) {
        keys[i] = speed_key(&plan->runs[i].config, n_parallel);
        if (!json_object_get(known, keys[i])) json_object_set_new(seen, keys[i], json_true());
    }
    int64_t n = (int64_t)json_object_size(seen);
    json_decref(seen);
    return n;
}

static iso_status measure_speeds(iso_study_costs *out, const iso_study_plan *plan, char **keys,
                                 meter *m) {
    int64_t n_measured = 0;
    for (int64_t i = 0; i < plan->n_runs; i++) {
        const iso_config *config = &plan->runs[i].config;
        const json_t *value = json_object_get(m->known, keys[i]);
        double tokens_per_s = json_is_number(value) ? json_number_value(value) : NAN;
        if (!value) {
            if (m->on_measure) m->on_measure(m->ctx, n_measured++, m->n_shapes);
            iso_status status = measure_speed(&tokens_per_s, config, out->n_parallel);
            if (status == ISO_ERR_UNSUPPORTED) return status;
            if (status != ISO_OK) tokens_per_s = NAN;
            json_object_set_new(m->known, keys[i],
                                isnan(tokens_per_s) ? json_null() : json_real(tokens_per_s));
            m->changed = true;
        }
        /* Threads of one run share its work: taken as they come, less a little. */
        out->runs[i].tokens_per_s = tokens_per_s * pow(out->n_threads, 0.9);
        out->runs[i].seconds =
            (double)iso_config_tokens(config) / out->runs[i].tokens_per_s * OVERHEAD;
    }
    return ISO_OK;
}

static iso_status find_speeds(iso_study_costs *out, const iso_study_plan *plan, const char *cache,
                              iso_study_measure_fn on_measure, void *ctx) {
    meter m = {.on_measure = on_measure, .ctx = ctx, .known = load_cache(cache)};
    char **keys = calloc((size_t)plan->n_runs + 1, sizeof *keys);
    ISO_ASSERT(keys != NULL && m.known != NULL);
    m.n_shapes = count_unknown(keys, plan, m.known, out->n_parallel);
    iso_status status = measure_speeds(out, plan, keys, &m);
    if (status == ISO_OK && cache && m.changed) status = iso_json_save(m.known, cache);
    for (int64_t i = 0; i < plan->n_runs; i++) free(keys[i]);
    free(keys);
    json_decref(m.known);
    return status;
}

/* --- the sum --- */

/* Unknown if one of them is. */
static double later(double a, double b) {
    return isnan(a) || a > b ? a : b;
}

/* By stage, of a stage the longest first, each on the worker that is free first, but not before the
 * scores that chose it are there: as executor.h does. */
static double add_up(const iso_study_costs *costs, const iso_study_plan *plan) {
    bool *placed = calloc((size_t)plan->n_runs + 1, sizeof *placed);
    double *busy = calloc((size_t)costs->n_parallel, sizeof *busy);
    double *end = calloc((size_t)plan->n_stages + 1, sizeof *end);
    double total = 0;
    ISO_ASSERT(placed && busy && end);
    for (int64_t n = 0; n < plan->n_runs; n++) {
        const iso_study_run *run = NULL;
        int64_t next = 0;
        int first = 0;
        for (int64_t i = 0; i < plan->n_runs; i++)
            if (!placed[i] && (!run || plan->runs[i].stage < run->stage ||
                               (plan->runs[i].stage == run->stage &&
                                costs->runs[i].seconds > costs->runs[next].seconds)))
                run = &plan->runs[next = i];
        for (int w = 1; w < costs->n_parallel; w++)
            if (busy[w] < busy[first]) first = w;
        double start = run->after >= 0 ? fmax(busy[first], end[run->after]) : busy[first];
        placed[next] = true;
        busy[first] = start + costs->runs[next].seconds;
        end[run->stage] = later(end[run->stage], busy[first]);
        total = later(total, busy[first]);
    }
    free(end);
    free(busy);
    free(placed);
    return total;
}

iso_status iso_study_costs_make(iso_study_costs *out, const iso_study *study,
                                const iso_study_plan *plan, const char *cache,
                                iso_study_measure_fn on_measure, void *ctx) {
    int64_t most = 0;
    *out = (iso_study_costs){.n_runs = plan->n_runs,
                             .n_threads = study->threads > 0 ? (int)study->threads : 1,
                             .room_bytes = room(),
                             .runs = calloc((size_t)plan->n_runs + 1, sizeof *out->runs)};
    if (!out->runs) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the study's costs");
    iso_status status = measure_memory(out, plan, &most);
    if (status == ISO_OK) status = choose_parallel(out, study, plan, most);
    if (status == ISO_OK) status = find_speeds(out, plan, cache, on_measure, ctx);
    if (status == ISO_OK)
        out->seconds = add_up(out, plan);
    else
        iso_study_costs_release(out);
    return status;
}

void iso_study_costs_release(iso_study_costs *costs) {
    free(costs->runs);
    *costs = (iso_study_costs){0};
}
