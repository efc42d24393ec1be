#include "train/optimizer.h"

#include <math.h>

/* Hands out the moments from the arena, measuring or real. */
static void place(iso_optimizer *optimizer, int64_t n_elements, iso_dtype dtype) {
    int64_t item = iso_dtype_bytes(dtype);
    optimizer->exp_avg = iso_arena_take(&optimizer->arena, n_elements, item);
    optimizer->exp_avg_sq = iso_arena_take(&optimizer->arena, n_elements, item);
}

int64_t iso_optimizer_plan(int64_t n_elements, iso_dtype dtype) {
    iso_optimizer measured = {.model = NULL};
    iso_arena_init(&measured.arena);
    place(&measured, n_elements, dtype);
    return measured.arena.used_bytes;
}

/* Elements [first, first + n) of all four arrays. */
static void update_range(iso_optimizer *optimizer, int64_t first, int64_t n,
                         const iso_adamw *adamw) {
    if (n == 0) return;
    iso_model *model = optimizer->model;
    iso_dtype dtype = model->exec->dtype;
    int64_t offset = first * iso_dtype_bytes(dtype);
    iso_adamw_step(model->exec, iso_tensor_1d((char *)model->weights + offset, dtype, n),
                   iso_tensor_1d((char *)optimizer->exp_avg + offset, dtype, n),
                   iso_tensor_1d((char *)optimizer->exp_avg_sq + offset, dtype, n),
                   iso_tensor_1d((char *)model->grads + offset, dtype, n), adamw);
}

/* Where the matrices of a layer begin; layer L: where those of all layers end (params.h). */
static int64_t first_element(const iso_params *params, int64_t layer) {
    return layer < params->shape.num_hidden_layers ? iso_params_offset(params, ISO_FIELD_Q, layer)
                                                   : params->n_decay;
}

static void update_next_late(iso_optimizer *optimizer) {
    const iso_params *params = &optimizer->model->params;
    int64_t layer = optimizer->first_late++, first = first_element(params, layer);
    update_range(optimizer, first, first_element(params, layer + 1) - first, &optimizer->late);
}

/* iso_update_fn; forward asks in the order of the layers. */
static bool begin_late(void *ctx, int64_t layer) {
    iso_optimizer *optimizer = ctx;
    if (layer < optimizer->first_late) return false;
    ISO_ASSERT(layer == optimizer->first_late);
    iso_exec_aside(optimizer->model->exec);
    update_next_late(optimizer);
    return true;
}

iso_status iso_optimizer_create(iso_optimizer *out, iso_model *model) {
    *out = (iso_optimizer){.model = model};
    iso_dtype dtype = model->exec->dtype;
    int64_t n = model->params.n_elements;
    ISO_TRY(iso_arena_create(&out->arena, iso_optimizer_plan(n, dtype)));
    place(out, n, dtype);
    out->first_late = model->shape.num_hidden_layers;
    iso_model_update_ahead(model, begin_late, out);
    return ISO_OK;
}

void iso_optimizer_release(iso_optimizer *optimizer) {
    if (optimizer->model) iso_model_update_ahead(optimizer->model, NULL, NULL);
    iso_arena_release(&optimizer->arena);
    *optimizer = (iso_optimizer){0};
}

double iso_optimizer_grad_norm(iso_optimizer *optimizer) {
    return sqrt(iso_model_grad_squares(optimizer->model));
}

void iso_optimizer_step(iso_optimizer *optimizer, const iso_train_config *train, int64_t step,
                        double lr, double grad_norm) {
    const iso_params *params = &optimizer->model->params;
    iso_optimizer_finish(optimizer);
    bool clips = train->grad_clip > 0 && grad_norm > train->grad_clip;
    iso_adamw adamw = {.lr = lr,
                       .beta1 = train->betas[0],
                       .beta2 = train->betas[1],
                       .eps = train->eps,
                       .weight_decay = train->weight_decay,
                       .correction1 = 1 - pow(train->betas[0], (double)step),
                       .correction2 = 1 - pow(train->betas[1], (double)step),
                       .grad_scale = clips ? train->grad_clip / grad_norm : 1};
    optimizer->late = adamw;
    optimizer->first_late = 1;
    update_range(optimizer, 0, first_element(params, 1), &adamw);
    adamw.weight_decay = 0;
    update_range(optimizer, params->n_decay, params->n_elements - params->n_decay, &adamw);
}

void iso_optimizer_finish(iso_optimizer *optimizer) {
    while (optimizer->first_late < optimizer->model->shape.num_hidden_layers)
        update_next_late(optimizer);
}
