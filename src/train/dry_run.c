/* dry_run.c - puts together the dry runs of model and optimizer.
 *
 * The check comes first and in 128 bits: what follows asserts that its products fit, because there
 * an overflow would be our own fault.
 */
#include "train/dry_run.h"

#include "train/trainer.h"

#include "train/ledger.h"
#include "train/optimizer.h"

#include <inttypes.h>

/* A row of the parameter table takes 160 bytes; so many make a table of 640 MB, and no model that
 * anyone trains has a tenth of them. */
#define TENSORS_MAX (INT64_C(4) << 20)

static iso_status check_tensors(const iso_shape *shape) {
    __int128 per_layer = ISO_FIELD_N + 3 * (__int128)shape->num_experts;
    if (per_layer * shape->num_hidden_layers <= TENSORS_MAX) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "model: %" PRId64 " layers of %" PRId64 " experts have more tensors than the "
                    "%" PRId64 " that can be trained; reduce num_experts or num_hidden_layers",
                    shape->num_hidden_layers, shape->num_experts, TENSORS_MAX);
}

/* Bounds on what a micro-batch keeps and computes. Every tensor that the model places or a kernel
 * takes as scratch is at most (R, widths) or (H, widths), times small factors and the threads; the
 * largest FLOP count of one operation is 8 R H S or 8 T H V. Sizes are below 2^31, so that nothing
 * here leaves 128 bits, and the sum of all bytes not 63. */
static iso_status check_products(const iso_config *config) {
    const iso_shape *s = &config->model;
    const __int128 limit = INT64_MAX;
    __int128 T = (__int128)config->train.micro_batch_size * s->max_position_embeddings;
    __int128 R = s->num_experts > 0 ? T * s->num_experts_per_tok : T;
    if (R >= INT32_MAX)
        return iso_fail(ISO_ERR_USAGE,
                        "train.micro_batch_size: %" PRId64 " sequences of %" PRId64 " tokens%s are "
                        "more rows than can be indexed (2^31); reduce micro_batch_size%s or "
                        "max_position_embeddings",
                        config->train.micro_batch_size, s->max_position_embeddings,
                        s->num_experts > 0 ? ", num_experts_per_tok rows each," : "",
                        s->num_experts > 0 ? ", num_experts_per_tok" : "");
    __int128 params = 0, widths = (__int128)s->vocab_size + s->hidden_size + s->intermediate_size +
                                  s->num_experts + s->moe_intermediate_size +
                                  s->shared_expert_intermediate_size + s->max_position_embeddings;
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++) params += iso_count_params(s, c);
    bool fits = params <= limit / 64 && (R + s->hidden_size) * widths <= limit / (1 << 17) &&
                R * widths * s->num_hidden_layers <= limit / (1 << 9) &&
                R * widths * 8 <= limit / s->hidden_size;
    if (fits) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "train.micro_batch_size: the bytes or FLOPs of %" PRId64
                    " sequences do not fit "
                    "63 bits; reduce it, max_position_embeddings or the model's widths",
                    config->train.micro_batch_size);
}

iso_status iso_dry_run_check(const iso_config *config) {
    ISO_TRY(iso_shape_check(&config->model));
    ISO_TRY(check_tensors(&config->model));
    return check_products(config);
}

/* The model's dry run counts one micro-batch; a step has several, all alike. */
static void count_step(iso_counters *step, const iso_counters *micro_batch, int64_t n) {
    for (int c = 0; c < ISO_N_COMPONENTS; c++)
        step->model_flops[c] = n * micro_batch->model_flops[c];
    step->executed_flops = n * micro_batch->executed_flops;
    for (int op = 0; op < ISO_OP_N; op++) step->calls[op] = n * micro_batch->calls[op];
}

static iso_status plan(iso_dry_run *out, const iso_config *config, const char *backend,
                       iso_dtype dtype, iso_pool *pool) {
    iso_counters counters = {.executed_flops = 0};
    iso_exec exec;
    ISO_TRY(iso_exec_create(&exec, backend, iso_train_dtype(config, dtype), pool, &counters));
    iso_status status =
        iso_model_plan(&out->model, &config->model, &exec, config->train.micro_batch_size, true);
    iso_exec_release(&exec);
    ISO_TRY(status);
    iso_params params;
    ISO_TRY(iso_params_create(&params, &config->model));
    out->moments_bytes = iso_optimizer_plan(params.n_elements, dtype);
    iso_params_free(&params);
    count_step(&out->step, &counters, out->n_micro_batches);
    return ISO_OK;
}

static int64_t sum_of(const iso_model_memory *model, int64_t moments_bytes) {
    return model->weights + model->gradients + model->activations + model->scratch + moments_bytes;
}

iso_status iso_dry_run_make(iso_dry_run *out, const iso_config *config, const char *backend,
                            iso_dtype dtype) {
    ISO_TRY(iso_dry_run_check(config));
    const iso_train_config *train = &config->train;
    int n_threads =
        train->threads == ISO_THREADS_ALL ? iso_machine_n_threads() : (int)train->threads;
    iso_dry_run run = {.n_threads = n_threads,
                       .micro_batch_size = train->micro_batch_size,
                       .n_micro_batches = train->batch_size / train->micro_batch_size};
    iso_pool *pool;
    ISO_TRY(iso_pool_create(&pool, n_threads));
    iso_status status = plan(&run, config, backend, dtype, pool);
    iso_pool_free(pool);
    ISO_TRY(status);
    run.sum_bytes = sum_of(&run.model, run.moments_bytes);
    *out = run;
    return ISO_OK;
}

json_t *iso_memory_to_json(const iso_model_memory *model, int64_t moments_bytes) {
    int64_t sum = sum_of(model, moments_bytes);
    return json_pack("{sI sI sI sI sI sI}", "weights", (json_int_t)model->weights, "gradients",
                     (json_int_t)model->gradients, "moments", (json_int_t)moments_bytes,
                     "activations", (json_int_t)model->activations, "scratch",
                     (json_int_t)model->scratch, "sum", (json_int_t)sum);
}

json_t *iso_dry_run_to_json(const iso_dry_run *run) {
    json_t *flops = json_object();
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++)
        json_object_set_new(flops, iso_component_name(c),
                            iso_json_from_i128(run->step.model_flops[c]));
    return json_pack("{sI sI sI so s{so so}}", "threads", (json_int_t)run->n_threads,
                     "micro_batch_size", (json_int_t)run->micro_batch_size, "micro_batches",
                     (json_int_t)run->n_micro_batches, "memory_bytes",
                     iso_memory_to_json(&run->model, run->moments_bytes), "step_flops", "model",
                     flops, "executed", iso_json_from_i128(run->step.executed_flops));
}
