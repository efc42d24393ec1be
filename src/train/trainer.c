#include "train/trainer.h"

#include "train/dry_run.h"
#include "train/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

iso_dtype iso_train_dtype(const iso_config *config, iso_dtype dtype) {
    return dtype == ISO_F32 && config->train.precision == ISO_PRECISION_BF16 ? ISO_BF16 : dtype;
}

iso_status iso_train_check_precision(const iso_config *config) {
    iso_counters counters = {.executed_flops = 0};
    iso_exec exec;
    iso_status status =
        iso_exec_create(&exec, "cpu", iso_train_dtype(config, ISO_F32), NULL, &counters);
    if (status == ISO_OK) iso_exec_release(&exec);
    return status == ISO_ERR_UNSUPPORTED
               ? iso_fail_context(ISO_ERR_USAGE, "train.precision: %s",
                                  iso_precision_name(config->train.precision))
               : status;
}

iso_status iso_trainer_create(iso_trainer **out, const iso_config *config, const char *backend,
                              iso_dtype dtype, bool trains) {
    *out = NULL;
    ISO_TRY(iso_dry_run_check(config));
    const iso_shape *shape = &config->model;
    iso_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer) return iso_fail(ISO_ERR_MEMORY, "cannot allocate a trainer");
    trainer->config = *config;
    trainer->is_moe = iso_shape_n_moe_layers(shape) > 0;
    int64_t T = config->train.micro_batch_size * shape->max_position_embeddings;
    trainer->nats = malloc((size_t)T * sizeof *trainer->nats);
    trainer->expert_tokens = calloc((size_t)(shape->num_hidden_layers * (shape->num_experts + 1)),
                                    sizeof *trainer->expert_tokens);
    int n_threads = config->train.threads == ISO_THREADS_ALL ? iso_machine_n_threads()
                                                             : (int)config->train.threads;
    iso_status status = trainer->nats && trainer->expert_tokens
                            ? ISO_OK
                            : iso_fail(ISO_ERR_MEMORY, "cannot allocate a trainer's buffers");
    if (status == ISO_OK) status = iso_pool_create(&trainer->pool, n_threads);
    if (status == ISO_OK)
        status = iso_exec_create(&trainer->exec, backend, iso_train_dtype(config, dtype),
                                 trainer->pool, &trainer->other_counters);
    if (status == ISO_OK)
        status = iso_model_create(&trainer->model, shape, &trainer->exec,
                                  config->train.micro_batch_size, trains);
    if (status == ISO_OK && trains)
        status = iso_optimizer_create(&trainer->optimizer, trainer->model);
    if (status != ISO_OK) {
        iso_trainer_free(trainer);
        return status;
    }
    iso_params_init_weights(&trainer->model->params, trainer->model->weights, trainer->exec.dtype,
                            (uint64_t)config->train.seed);
    *out = trainer;
    return ISO_OK;
}

void iso_trainer_free(iso_trainer *trainer) {
    if (!trainer) return;
    iso_optimizer_release(&trainer->optimizer);
    iso_model_free(trainer->model);
    iso_exec_release(&trainer->exec);
    iso_pool_free(trainer->pool);
    free(trainer->nats);
    free(trainer->expert_tokens);
    free(trainer);
}

static void add_expert_tokens(iso_trainer *trainer) {
    const iso_shape *s = &trainer->model->shape;
    for (int64_t i = 0; i < s->num_hidden_layers; i++) {
        if (!iso_shape_layer_is_moe(s, i)) continue;
        const int32_t *offsets = trainer->model->layers[i].routing.offsets;
        for (int64_t e = 0; e < s->num_experts; e++)
            trainer->expert_tokens[i * s->num_experts + e] += offsets[e + 1] - offsets[e];
    }
}

/* Load imbalance, entropy and dead experts from the step's expert_tokens. */
static void summarise_routing(const iso_trainer *trainer, iso_step_result *result) {
    const iso_shape *s = &trainer->model->shape;
    int64_t E = s->num_experts, n_layers = 0;
    for (int64_t i = 0; i < s->num_hidden_layers; i++) {
        if (!iso_shape_layer_is_moe(s, i)) continue;
        const int64_t *tokens = trainer->expert_tokens + i * E;
        int64_t total = 0, most = 0;
        double entropy = 0;
        for (int64_t e = 0; e < E; e++) {
            total += tokens[e];
            most = tokens[e] > most ? tokens[e] : most;
            result->dead_experts += tokens[e] == 0;
        }
        for (int64_t e = 0; e < E; e++) {
            double share = (double)tokens[e] / (double)total;
            if (share > 0) entropy -= share * log(share);
        }
        double imbalance = (double)most * (double)E / (double)total;
        if (imbalance > result->load_imbalance) result->load_imbalance = imbalance;
        result->router_entropy += E > 1 ? entropy / log((double)E) : 1;
        n_layers++;
    }
    if (n_layers > 0) result->router_entropy /= (double)n_layers;
}

void iso_trainer_gradients(iso_trainer *trainer, const int32_t *inputs, const int32_t *targets,
                           iso_step_result *result) {
    const iso_shape *s = &trainer->model->shape;
    int64_t S = s->max_position_embeddings, B = trainer->config.train.batch_size;
    int64_t micro = trainer->config.train.micro_batch_size, n_tokens = B * S;
    double token_scale = 1.0 / (double)n_tokens, nats = 0, aux = 0, aux_scale = 0;
    if (trainer->is_moe)
        aux_scale = 1.0 / ((double)(B / s->router_aux_group) * (double)iso_shape_n_moe_layers(s));
    *result = (iso_step_result){0};
    trainer->exec.counters = &trainer->train_counters;
    memset(trainer->expert_tokens, 0,
           (size_t)(s->num_hidden_layers * s->num_experts) * sizeof *trainer->expert_tokens);
    iso_model_reset_grads(trainer->model);
    for (int64_t first = 0; first < B; first += micro) {
        double aux_sum;
        iso_model_train(trainer->model, inputs + first * S, targets + first * S, micro, token_scale,
                        aux_scale, trainer->nats, &aux_sum);
        /* One running sum in token order: the same bits for any split. */
        for (int64_t t = 0; t < micro * S; t++) nats += trainer->nats[t];
        aux += aux_sum;
        if (trainer->is_moe) add_expert_tokens(trainer);
    }
    trainer->exec.counters = &trainer->other_counters;
    result->loss = nats * token_scale;
    result->aux_loss = aux * aux_scale;
    if (trainer->is_moe) summarise_routing(trainer, result);
}

void iso_trainer_settle(iso_trainer *trainer) {
    if (!trainer->optimizer.model) return;
    trainer->exec.counters = &trainer->train_counters;
    iso_optimizer_finish(&trainer->optimizer);
    trainer->exec.counters = &trainer->other_counters;
}

/* The first parameter whose gradient is not finite, for the message. */
static const char *bad_gradient(const iso_trainer *trainer) {
    const iso_params *params = &trainer->model->params;
    for (int64_t i = 0; i < params->n_items; i++) {
        const iso_param *p = &params->items[i];
        for (int64_t j = 0; j < p->dims[0] * p->dims[1]; j++) {
            double g = trainer->exec.dtype == ISO_F64
                           ? ((const double *)trainer->model->grads)[p->offset + j]
                           : (double)((const float *)trainer->model->grads)[p->offset + j];
            if (!isfinite(g)) return p->name;
        }
    }
    return "the sum of squares";
}

iso_status iso_trainer_step(iso_trainer *trainer, int64_t step, const int32_t *inputs,
                            const int32_t *targets, iso_step_result *result) {
    iso_trainer_gradients(trainer, inputs, targets, result);
    trainer->exec.counters = &trainer->train_counters;
    result->grad_norm = iso_optimizer_grad_norm(&trainer->optimizer);
    result->lr = iso_schedule_lr(&trainer->config, step);
    bool is_finite = isfinite(result->loss) && isfinite(result->grad_norm);
    if (is_finite)
        iso_optimizer_step(&trainer->optimizer, &trainer->config.train, step, result->lr,
                           result->grad_norm);
    trainer->exec.counters = &trainer->other_counters;
    if (is_finite) return ISO_OK;
    return iso_fail(ISO_ERR_NONFINITE,
                    "step %lld: loss %g, gradient norm %g, first in the gradient of %s; nothing "
                    "was updated. Lower train.lr_multiplier or train.grad_clip and start again",
                    (long long)step, result->loss, result->grad_norm, bad_gradient(trainer));
}

static void describe(iso_safetensor *out, const iso_param *p, const char *name, iso_dtype dtype,
                     void *base) {
    *out = (iso_safetensor){.name = name,
                            .dtype = dtype,
                            .n_dims = p->n_dims,
                            .dims = {p->dims[0], p->dims[1]},
                            .data = (char *)base + p->offset * iso_dtype_bytes(dtype)};
}

iso_status iso_trainer_model_tensors(const iso_trainer *trainer, iso_tensor_list *out) {
    const iso_params *params = &trainer->model->params;
    *out = (iso_tensor_list){.n = params->n_items};
    out->tensors = calloc((size_t)params->n_items, sizeof *out->tensors);
    if (!out->tensors) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the list of tensors");
    for (int64_t i = 0; i < params->n_items; i++)
        describe(&out->tensors[i], &params->items[i], params->items[i].name, trainer->exec.dtype,
                 trainer->model->weights);
    return ISO_OK;
}

iso_status iso_trainer_optimizer_tensors(const iso_trainer *trainer, iso_tensor_list *out) {
    static const char *const prefixes[2] = {"exp_avg", "exp_avg_sq"};
    const int64_t name_bytes = ISO_PARAM_NAME_BYTES + 16;
    const iso_params *params = &trainer->model->params;
    void *const bases[2] = {trainer->optimizer.exp_avg, trainer->optimizer.exp_avg_sq};
    *out = (iso_tensor_list){.n = 2 * params->n_items};
    out->tensors = calloc((size_t)out->n, sizeof *out->tensors);
    out->names = malloc((size_t)(out->n * name_bytes));
    if (!out->tensors || !out->names) {
        iso_tensor_list_free(out);
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate the list of the optimizer's tensors");
    }
    for (int64_t i = 0; i < out->n; i++) {
        const iso_param *p = &params->items[i % params->n_items];
        int64_t which = i / params->n_items;
        char *name = out->names + i * name_bytes;
        snprintf(name, (size_t)name_bytes, "%s.%s", prefixes[which], p->name);
        describe(&out->tensors[i], p, name, trainer->exec.dtype, bases[which]);
    }
    return ISO_OK;
}

void iso_tensor_list_free(iso_tensor_list *list) {
    free(list->tensors);
    free(list->names);
    *list = (iso_tensor_list){0};
}
