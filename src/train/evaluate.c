#include "train/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Fixed, so that the sample is a function of the data alone. */
#define EVAL_SEED 0

iso_status iso_eval_set_create(iso_eval_set *out, const iso_dataset *dataset, int64_t S,
                               int64_t max_tokens) {
    *out = (iso_eval_set){0};
    out->samples = calloc((size_t)(dataset->n_domains + 1), sizeof *out->samples);
    if (!out->samples) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the evaluation samples");
    iso_sha256 hash;
    ISO_TRY(iso_sha256_create(&hash));
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < dataset->n_domains && status == ISO_OK; i++) {
        const iso_split *split = &dataset->domains[i];
        status = iso_eval_sample_create(&out->samples[i], dataset, split, S, max_tokens, EVAL_SEED);
        if (status != ISO_OK) break;
        out->n_domains++;
        iso_sha256_update(&hash, split->name, (int64_t)strlen(split->name) + 1);
        iso_sha256_update(&hash, out->samples[i].hash, (int64_t)strlen(out->samples[i].hash));
    }
    iso_sha256_finish(&hash, out->hash);
    if (status != ISO_OK) iso_eval_set_free(out);
    return status;
}

void iso_eval_set_free(iso_eval_set *set) {
    for (int64_t i = 0; i < set->n_domains; i++) iso_eval_sample_free(&set->samples[i]);
    free(set->samples);
    *set = (iso_eval_set){0};
}

static iso_status result_alloc(iso_domain_result *out, const iso_eval_sample *sample) {
    size_t n = (size_t)sample->n_windows + 1;
    out->name = sample->split->name;
    out->n_windows = sample->n_windows;
    out->document = calloc(n, sizeof *out->document);
    out->window_nats = calloc(n, sizeof *out->window_nats);
    out->window_bytes = calloc(n, sizeof *out->window_bytes);
    out->window_chars = calloc(n, sizeof *out->window_chars);
    if (!out->document || !out->window_nats || !out->window_bytes || !out->window_chars)
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate %lld evaluation windows",
                        (long long)sample->n_windows);
    return ISO_OK;
}

/* Adds the last forward's rows per expert. Padded positions are routed, too: they are few. */
static void add_load(const iso_model *model, double *expert_load) {
    const iso_shape *s = &model->shape;
    for (int64_t i = 0; i < s->num_hidden_layers; i++) {
        if (!iso_shape_layer_is_moe(s, i)) continue;
        const int32_t *offsets = model->layers[i].routing.offsets;
        for (int64_t e = 0; e < s->num_experts; e++)
            expert_load[i * s->num_experts + e] += offsets[e + 1] - offsets[e];
    }
}

static void normalise_load(const iso_shape *s, double *expert_load) {
    for (int64_t i = 0; i < s->num_hidden_layers; i++) {
        double *load = expert_load + i * s->num_experts, total = 0;
        for (int64_t e = 0; e < s->num_experts; e++) total += load[e];
        for (int64_t e = 0; e < s->num_experts && total > 0; e++) load[e] /= total;
    }
}

static void score_domain(iso_trainer *trainer, const iso_eval_sample *sample, int32_t *inputs,
                         int32_t *targets, double *expert_load, iso_route_counter *routes,
                         int64_t i_domain, iso_domain_result *out) {
    int64_t S = sample->S, B = trainer->model->max_sequences;
    for (int64_t first = 0; first < sample->n_windows; first += B) {
        int64_t n = sample->n_windows - first < B ? sample->n_windows - first : B;
        iso_eval_sample_fill(sample, first, n, inputs, targets);
        if (routes) iso_route_counter_aim(routes, i_domain, first, n, inputs, targets);
        iso_model_score(trainer->model, inputs, targets, n, trainer->nats);
        if (expert_load && trainer->is_moe) add_load(trainer->model, expert_load);
        for (int64_t w = 0; w < n; w++) {
            double nats = 0;
            for (int64_t i = 0; i < S; i++) nats += trainer->nats[w * S + i];
            out->window_nats[first + w] = nats;
        }
    }
    for (int64_t w = 0; w < sample->n_windows; w++) {
        out->document[w] = sample->windows[w].document;
        iso_eval_sample_size(sample, w, &out->window_bytes[w], &out->window_chars[w]);
        out->nats += out->window_nats[w];
    }
    out->n_tokens = sample->n_tokens;
    out->n_bytes = sample->n_bytes;
    out->n_chars = sample->n_chars;
    out->loss = out->nats / (double)out->n_tokens;
    out->bpb = out->nats / (M_LN2 * (double)out->n_bytes);
    out->bpc = out->nats / (M_LN2 * (double)out->n_chars);
}

static void headline(iso_eval_result *result) {
    int64_t n_named = 0;
    for (int64_t i = 0; i < result->n_domains; i++) {
        const iso_domain_result *domain = &result->domains[i];
        if (strcmp(domain->name, ISO_HOLDOUT) == 0) {
            result->holdout = domain;
            continue;
        }
        result->bpb += domain->bpb;
        result->bpc += domain->bpc;
        n_named++;
    }
    if (n_named > 0) {
        result->bpb /= (double)n_named;
        result->bpc /= (double)n_named;
    } else if (result->holdout) {
        result->bpb = result->holdout->bpb;
        result->bpc = result->holdout->bpc;
    }
}

iso_status iso_evaluate(iso_trainer *trainer, const iso_eval_set *set, iso_eval_result *out,
                        double *expert_load, iso_route_counter *routes) {
    const iso_shape *s = &trainer->model->shape;
    *out = (iso_eval_result){0};
    size_t n =
        (size_t)(trainer->model->max_sequences * trainer->model->shape.max_position_embeddings);
    int32_t *inputs = malloc(n * sizeof *inputs), *targets = malloc(n * sizeof *targets);
    out->domains = calloc((size_t)set->n_domains + 1, sizeof *out->domains);
    iso_status status = inputs && targets && out->domains
                            ? ISO_OK
                            : iso_fail(ISO_ERR_MEMORY, "cannot allocate the evaluation's buffers");
    size_t n_load = (size_t)(s->num_hidden_layers * s->num_experts);
    if (expert_load) memset(expert_load, 0, n_load * sizeof *expert_load);
    if (routes) iso_model_watch_routing(trainer->model, iso_route_counter_add, routes);
    for (int64_t i = 0; i < set->n_domains && status == ISO_OK; i++) {
        status = result_alloc(&out->domains[i], &set->samples[i]);
        out->n_domains++;
        if (status == ISO_OK)
            score_domain(trainer, &set->samples[i], inputs, targets, expert_load, routes, i,
                         &out->domains[i]);
    }
    if (routes) iso_model_watch_routing(trainer->model, NULL, NULL);
    if (expert_load) normalise_load(s, expert_load);
    free(inputs);
    free(targets);
    if (status != ISO_OK)
        iso_eval_result_free(out);
    else
        headline(out);
    return status;
}

void iso_eval_result_free(iso_eval_result *result) {
    for (int64_t i = 0; i < result->n_domains; i++) {
        free(result->domains[i].document);
        free(result->domains[i].window_nats);
        free(result->domains[i].window_bytes);
        free(result->domains[i].window_chars);
    }
    free(result->domains);
    *result = (iso_eval_result){0};
}
