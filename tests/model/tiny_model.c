#include "tiny_model.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void tiny_check(iso_status status) {
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
}

void *tiny_malloc(int64_t n, int64_t item_bytes) {
    void *out = calloc((size_t)n, (size_t)item_bytes);
    assert_non_null(out);
    return out;
}

iso_shape tiny_shape(iso_layout layout) {
    iso_shape shape = iso_shape_default();
    shape.vocab_size = 11;
    shape.hidden_size = 8;
    shape.num_hidden_layers = 3;
    shape.num_attention_heads = 2;
    shape.intermediate_size = 10;
    shape.max_position_embeddings = 6;
    shape.initializer_range = 0.4;
    shape.layer_layout = layout;
    if (layout == ISO_LAYOUT_DENSE) return shape;
    shape.num_experts = 4;
    shape.num_experts_per_tok = 2;
    shape.moe_intermediate_size = 5;
    shape.shared_expert_intermediate_size = 3;
    shape.router_aux_group = 2;
    shape.router_aux_loss_coef = 0.5;
    return shape;
}

void tiny_batch(int32_t *inputs, int32_t *targets, int64_t B, int64_t S, int64_t V, uint64_t seed) {
    for (int64_t b = 0; b < B; b++)
        for (int64_t s = 0; s <= S; s++) {
            uint64_t draw = iso_rng_u64(seed, ISO_RNG_TEST, (uint64_t)b, (uint64_t)s);
            int32_t token = (int32_t)(draw % (uint64_t)V);
            if (s < S) inputs[b * S + s] = token;
            if (s > 0) targets[b * S + s - 1] = token;
        }
}

iso_config tiny_config(const iso_shape *shape, int64_t B, int64_t micro_batch, int64_t threads) {
    iso_config config = iso_config_default();
    config.model = *shape;
    config.train.steps = 50;
    config.train.tokens = 0;
    config.train.flops = 0;
    config.train.batch_size = B;
    config.train.micro_batch_size = micro_batch;
    config.train.lr = 1e-2;
    config.train.warmup_steps = 0;
    config.train.threads = threads;
    tiny_check(iso_config_resolve(&config, NULL));
    return config;
}

double tiny_get(const void *data, iso_dtype dtype, int64_t i) {
    return dtype == ISO_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

void tiny_set(void *data, iso_dtype dtype, int64_t i, double x) {
    if (dtype == ISO_F64)
        ((double *)data)[i] = x;
    else
        ((float *)data)[i] = (float)x;
}

const iso_param *tiny_param(const iso_params *params, const char *name) {
    for (int64_t i = 0; i < params->n_items; i++)
        if (strcmp(params->items[i].name, name) == 0) return &params->items[i];
    fail_msg("no parameter %s", name);
    return NULL;
}

double tiny_error(const void *got, const void *want, iso_dtype dtype, int64_t n) {
    double squares = 0, scale = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = tiny_get(got, dtype, i), y = tiny_get(want, dtype, i);
        squares += (x - y) * (x - y);
        scale += y * y;
    }
    return sqrt(scale > 0 ? squares / scale : squares);
}

/* A norm's initial ones would hide a forgotten factor. */
static void bend_norms(const iso_params *params, void *weights, iso_dtype dtype) {
    for (int64_t i = 0; i < params->n_items; i++) {
        const iso_param *p = &params->items[i];
        for (int64_t j = 0; p->component == ISO_COMPONENT_NORM && j < p->dims[0]; j++)
            tiny_set(weights, dtype, p->offset + j,
                     1 + 0.3 * iso_rng_normal(1, ISO_RNG_TEST, (uint64_t)i, (uint64_t)j));
    }
}

void tiny_model_create(tiny_model **out, const iso_shape *shape, const char *backend,
                       iso_dtype dtype, int64_t max_sequences, bool trains) {
    tiny_model *tiny = tiny_malloc(1, sizeof *tiny);
    tiny_check(iso_shape_check(shape));
    tiny_check(iso_exec_create(&tiny->exec, backend, dtype, NULL, &tiny->counters));
    tiny_check(iso_model_create(&tiny->model, shape, &tiny->exec, max_sequences, trains));
    iso_params_init_weights(&tiny->model->params, tiny->model->weights, dtype, 1);
    bend_norms(&tiny->model->params, tiny->model->weights, dtype);
    *out = tiny;
}

void tiny_model_free(tiny_model *tiny) {
    iso_model_free(tiny->model);
    iso_exec_release(&tiny->exec);
    free(tiny);
}
