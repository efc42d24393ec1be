/* model.c - the whole model: its memory, and the order of its blocks.
 *
 * Memory is placed by one function that runs twice, first with measuring arenas: so the plan that a
 * user prints is what is allocated. Scratch is measured in the same way, by a forward and a
 * backward whose kernels only say what they would take.
 */
#include "model/model.h"

#include "model/blocks.h"

#include <stdlib.h>
#include <string.h>

static int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static char *element(const iso_model *model, void *base, int64_t offset) {
    return base ? (char *)base + offset * iso_dtype_bytes(model->exec->dtype) : NULL;
}

iso_tensor iso_model_vec(const iso_model *model, void *data, int64_t n) {
    return iso_tensor_1d(data, model->exec->dtype, n);
}

iso_tensor iso_model_mat(const iso_model *model, void *data, int64_t rows, int64_t cols) {
    return iso_tensor_2d(data, model->exec->dtype, rows, cols);
}

iso_tensor iso_model_act(const iso_model *model, void *data, int64_t rows, int64_t cols) {
    return iso_tensor_2d(data, model->exec->narrow, rows, cols);
}

static iso_tensor d_stream(const iso_model *model, int i, int64_t T) {
    return iso_model_mat(model, model->temps.d_stream[i], T, model->shape.hidden_size);
}

static iso_tensor d_copy(const iso_model *model, int i, int64_t T) {
    if (model->exec->narrow == model->exec->dtype) return iso_no_tensor();
    return iso_model_act(model, model->temps.d_copy[i], T, model->shape.hidden_size);
}

iso_tensor iso_model_d_stream(const iso_model *model, int64_t T) {
    int i = model->temps.i_d;
    return model->exec->narrow == model->exec->dtype ? d_stream(model, i, T) : d_copy(model, i, T);
}

void iso_model_norm_bwd(iso_model *model, iso_field field, int64_t layer, iso_tensor norm,
                        iso_tensor x, iso_tensor rstd) {
    int64_t T = x.dims[0], H = x.dims[1];
    int before = model->temps.i_d, after = 1 - before;
    iso_norm_bwd(model->exec, d_stream(model, after, T), d_stream(model, before, T),
                 d_copy(model, after, T), norm, iso_model_grad(model, field, layer, H, 0),
                 iso_model_mat(model, model->temps.d_norm, T, H), x, rstd,
                 iso_model_weight(model, field, layer, H, 0));
    model->temps.i_d = after;
}

static iso_tensor param_view(const iso_model *model, void *base, iso_field field, int64_t layer,
                             int64_t rows, int64_t cols) {
    void *data = element(model, base, iso_params_offset(&model->params, field, layer));
    return cols > 0 ? iso_model_mat(model, data, rows, cols) : iso_model_vec(model, data, rows);
}

iso_tensor iso_model_weight(const iso_model *model, iso_field field, int64_t layer, int64_t rows,
                            int64_t cols) {
    return param_view(model, model->weights, field, layer, rows, cols);
}

iso_tensor iso_model_grad(const iso_model *model, iso_field field, int64_t layer, int64_t rows,
                          int64_t cols) {
    return param_view(model, model->grads, field, layer, rows, cols);
}

double *iso_model_grad_square(const iso_model *model, iso_field field, int64_t layer) {
    return &model->grad_squares[layer * ISO_FIELD_N + field];
}

void iso_model_bwd_weight(iso_model *model, iso_field field, int64_t layer, iso_tensor dy,
                          iso_tensor x, iso_component component) {
    iso_linear_bwd_weight(model->exec, iso_model_grad(model, field, layer, dy.dims[1], x.dims[1]),
                          model->grads_are_set, iso_model_grad_square(model, field, layer), dy, x,
                          component);
}

/* n elements of the model's dtype. */
static void *take(iso_model *model, int64_t n) {
    return iso_arena_take(&model->act_arena, n, iso_dtype_bytes(model->exec->dtype));
}

static void *take_act(iso_model *model, int64_t n) {
    return iso_arena_take(&model->act_arena, n, iso_dtype_bytes(model->exec->narrow));
}

static void place_layer(iso_model *model, int64_t i_layer) {
    const iso_shape *s = &model->shape;
    iso_layer_acts *acts = &model->layers[i_layer];
    int64_t S = s->max_position_embeddings, T = model->max_sequences * S, H = s->hidden_size;
    acts->rstd1 = take(model, T);
    acts->qkv = take_act(model, T * 3 * H);
    acts->attended = take_act(model, T * H);
    acts->lse = take(model, T * s->num_attention_heads);
    acts->middle = take(model, T * H);
    acts->rstd2 = take(model, T);
    bool is_moe = iso_shape_layer_is_moe(s, i_layer);
    int64_t F = is_moe ? s->shared_expert_intermediate_size : s->intermediate_size;
    acts->gate_up = take_act(model, T * 2 * F);
    acts->out = take(model, T * H);
    if (!is_moe) return;
    int64_t E = s->num_experts, K = s->num_experts_per_tok, De = s->moe_intermediate_size;
    int64_t R = T * K;
    acts->probs = take(model, T * E);
    acts->gate = take(model, R);
    acts->row_gate = take(model, R);
    acts->aux_grad = take(model, model->max_sequences * E);
    acts->expert_gate_up = take_act(model, R * 2 * De);
    iso_arena *arena = &model->act_arena;
    acts->routing = (iso_routing){.T = T, .E = E, .K = K};
    acts->routing.expert = iso_arena_take(arena, R, sizeof(int32_t));
    acts->routing.offsets = iso_arena_take(arena, E + 1, sizeof(int32_t));
    acts->routing.row_token = iso_arena_take(arena, R, sizeof(int32_t));
    acts->routing.token_row = iso_arena_take(arena, R, sizeof(int32_t));
}

static void place_temps(iso_model *model) {
    const iso_shape *s = &model->shape;
    int64_t T = model->max_sequences * s->max_position_embeddings, H = s->hidden_size;
    int64_t F = max_i64(s->intermediate_size, s->shared_expert_intermediate_size);
    int64_t E = s->num_experts, R = T * s->num_experts_per_tok, De = s->moe_intermediate_size;
    iso_model_temps *temps = &model->temps;
    if (E > 0) {
        temps->logits = take(model, T * E);
        temps->expert_hidden = take_act(model, R * De);
        temps->expert_out = take_act(model, R * H);
    }
    temps->norm = take_act(model, T * H);
    temps->hidden = take_act(model, T * F);
    if (!model->trains) return;
    bool has_copies = model->exec->narrow != model->exec->dtype;
    for (int i = 0; i < 2; i++) {
        temps->d_stream[i] = i == 0 || !has_copies ? take(model, T * H) : temps->d_stream[0];
        if (has_copies) temps->d_copy[i] = take_act(model, T * H);
    }
    temps->d_norm = take(model, T * H);
    temps->d_wide = take_act(model, T * max_i64(3 * H, 2 * F));
    temps->d_hidden = take_act(model, T * max_i64(H, F));
    if (E > 0) {
        temps->d_row_gate = take(model, R);
        temps->d_expert_gate_up = take_act(model, R * 2 * De);
        temps->d_expert_hidden = take_act(model, R * De);
    }
}

/* Without backward a layer needs its predecessor's output only: two sets of buffers, used in turn.
 * Both hold the largest layer, so that no layer shares memory with the one before it, of which a
 * chain still reads rows while it writes other rows of this one. */
static void place_in_turn(iso_model *model) {
    iso_arena *arena = &model->act_arena;
    int64_t start = iso_arena_mark(arena), n_bytes = 0, L = model->shape.num_hidden_layers;
    for (int64_t i = 0; i < L; i++) {
        place_layer(model, i);
        n_bytes = max_i64(n_bytes, iso_arena_mark(arena) - start);
        iso_arena_rewind(arena, start);
    }
    for (int64_t i = 0; i < L; i++) {
        iso_arena_rewind(arena, start);
        iso_arena_take(arena, i % 2 * n_bytes, 1);
        place_layer(model, i);
    }
    iso_arena_rewind(arena, start);
    iso_arena_take(arena, (L > 1 ? 2 : 1) * n_bytes, 1);
}

/* Hands out all memory from the model's three arenas, measuring or real. */
static void place(iso_model *model) {
    const iso_shape *s = &model->shape;
    int64_t T = model->max_sequences * s->max_position_embeddings, H = s->hidden_size;
    int64_t item = iso_dtype_bytes(model->exec->dtype), n = model->params.n_elements;
    model->weights = iso_arena_take(&model->weight_arena, n, item);
    model->grads = model->trains ? iso_arena_take(&model->grad_arena, n, item) : NULL;
    model->group_loss = iso_arena_take(&model->act_arena, model->max_sequences, sizeof(double));
    model->embedded = take(model, T * H);
    model->final_norm = take(model, T * H);
    model->final_rstd = take(model, T);
    if (model->trains)
        for (int64_t i = 0; i < s->num_hidden_layers; i++) place_layer(model, i);
    else
        place_in_turn(model);
    place_temps(model);
}

static void release_arenas(iso_model *model) {
    iso_arena_release(&model->weight_arena);
    iso_arena_release(&model->grad_arena);
    iso_arena_release(&model->act_arena);
}

static int64_t n_groups_of(const iso_model *model, int64_t B) {
    if (model->shape.layer_layout == ISO_LAYOUT_DENSE) return 0;
    ISO_ASSERT(B % model->shape.router_aux_group == 0);
    return B / model->shape.router_aux_group;
}

/* Everything up to the final norm. Returns the balance losses, summed over groups and layers. */
static double forward(iso_model *model, const int32_t *inputs, int64_t B, int64_t n_groups,
                      double aux_scale) {
    const iso_shape *s = &model->shape;
    int64_t T = B * s->max_position_embeddings, H = s->hidden_size;
    double aux_sum = 0;
    iso_tensor x = iso_model_mat(model, model->embedded, T, H);
    iso_embed_fwd(model->exec, x, iso_model_weight(model, ISO_FIELD_EMBED, -1, s->vocab_size, H),
                  inputs);
    for (int64_t i = 0; i < s->num_hidden_layers; i++) {
        bool updates = model->begin_update && i + 1 < s->num_hidden_layers &&
                       model->begin_update(model->begin_update_ctx, i + 1);
        iso_attention_block_fwd(model, i, x, B);
        if (iso_shape_layer_is_moe(s, i)) {
            iso_moe_block_fwd(model, i, T, n_groups, aux_scale);
            for (int64_t g = 0; g < n_groups && !model->exec->measuring; g++)
                aux_sum += model->group_loss[g];
            if (model->on_routed) {
                iso_exec_flush(model->exec);
                model->on_routed(model->on_routed_ctx, model, i);
            }
        } else {
            iso_dense_block_fwd(model, i, T);
        }
        if (updates) iso_exec_join(model->exec);
        x = iso_model_mat(model, model->layers[i].out, T, H);
    }
    iso_norm_fwd(model->exec, iso_model_mat(model, model->final_norm, T, H),
                 iso_model_vec(model, model->final_rstd, T), x,
                 iso_model_weight(model, ISO_FIELD_FINAL_NORM, -1, H, 0), s->rms_norm_eps);
    iso_exec_flush(model->exec);
    return aux_sum;
}

static iso_field head_field(const iso_model *model) {
    return model->shape.tie_word_embeddings ? ISO_FIELD_EMBED : ISO_FIELD_HEAD;
}

static void backward(iso_model *model, const int32_t *inputs, const int32_t *targets, int64_t B,
                     int64_t n_groups, double token_scale, double *nats) {
    const iso_shape *s = &model->shape;
    iso_exec *ex = model->exec;
    int64_t T = B * s->max_position_embeddings, H = s->hidden_size, L = s->num_hidden_layers;
    iso_tensor d_norm = iso_model_mat(model, model->temps.d_norm, T, H);
    iso_head_loss(ex, nats, d_norm, iso_model_grad(model, head_field(model), -1, s->vocab_size, H),
                  iso_model_mat(model, model->final_norm, T, H),
                  iso_model_weight(model, head_field(model), -1, s->vocab_size, H), targets,
                  token_scale);
    if (!ex->measuring)
        memset(d_stream(model, model->temps.i_d, T).data, 0,
               (size_t)(T * H * iso_dtype_bytes(ex->dtype)));
    iso_model_norm_bwd(model, ISO_FIELD_FINAL_NORM, -1, iso_no_tensor(),
                       iso_model_mat(model, model->layers[L - 1].out, T, H),
                       iso_model_vec(model, model->final_rstd, T));
    for (int64_t i = L - 1; i >= 0; i--) {
        void *x = i > 0 ? model->layers[i - 1].out : model->embedded;
        if (iso_shape_layer_is_moe(s, i))
            iso_moe_block_bwd(model, i, T, n_groups);
        else
            iso_dense_block_bwd(model, i, T);
        iso_attention_block_bwd(model, i, iso_model_mat(model, x, T, H), B);
    }
    iso_embed_bwd(ex, iso_model_grad(model, ISO_FIELD_EMBED, -1, s->vocab_size, H),
                  d_stream(model, model->temps.i_d, T), inputs);
}

typedef struct zero_job {
    char *data;
    int64_t n_bytes;
} zero_job;

#define ZERO_PIECE_BYTES ((int64_t)1 << 20)

static void zero_piece(void *ctx, int64_t i_piece, int i_thread) {
    const zero_job *job = ctx;
    int64_t first = i_piece * ZERO_PIECE_BYTES, left = job->n_bytes - first;
    memset(job->data + first, 0, (size_t)(left < ZERO_PIECE_BYTES ? left : ZERO_PIECE_BYTES));
}

static void zero_grads(iso_model *model, int64_t offset, int64_t n) {
    int64_t n_bytes = n * iso_dtype_bytes(model->exec->dtype);
    zero_job job = {element(model, model->grads, offset), n_bytes};
    iso_exec_pieces(model->exec, (n_bytes + ZERO_PIECE_BYTES - 1) / ZERO_PIECE_BYTES, zero_piece,
                    &job);
}

/* Zeroes the gradients that operations can only add to: of the vectors, the embedding and the
 * head. */
static void zero_sums(iso_model *model) {
    const iso_params *params = &model->params;
    int64_t n_matrix = params->shape.vocab_size * params->shape.hidden_size;
    zero_grads(model, iso_params_offset(params, ISO_FIELD_EMBED, -1), n_matrix);
    if (head_field(model) != ISO_FIELD_EMBED)
        zero_grads(model, iso_params_offset(params, ISO_FIELD_HEAD, -1), n_matrix);
    zero_grads(model, params->n_decay, params->n_elements - params->n_decay);
}

void iso_model_train(iso_model *model, const int32_t *inputs, const int32_t *targets, int64_t B,
                     double token_scale, double aux_scale, double *nats, double *aux_sum) {
    ISO_ASSERT(model->trains && B >= 1 && B <= model->max_sequences);
    int64_t n_groups = n_groups_of(model, B);
    *aux_sum = forward(model, inputs, B, n_groups, aux_scale * model->shape.router_aux_loss_coef);
    if (!model->grads_are_set && !model->exec->measuring) zero_sums(model);
    backward(model, inputs, targets, B, n_groups, token_scale, nats);
    model->grads_are_set = true;
}

/* Those of elements [offset, offset + n), from memory. */
static double squares_of(iso_model *model, int64_t offset, int64_t n) {
    return iso_sum_squares(model->exec,
                           iso_model_vec(model, element(model, model->grads, offset), n));
}

double iso_model_grad_squares(iso_model *model) {
    const iso_params *params = &model->params;
    int64_t n_matrix = params->shape.vocab_size * params->shape.hidden_size;
    double sum = squares_of(model, iso_params_offset(params, ISO_FIELD_EMBED, -1), n_matrix);
    if (head_field(model) != ISO_FIELD_EMBED)
        sum += squares_of(model, iso_params_offset(params, ISO_FIELD_HEAD, -1), n_matrix);
    sum += squares_of(model, params->n_decay, params->n_elements - params->n_decay);
    for (int64_t i = 0; i < params->shape.num_hidden_layers * ISO_FIELD_N; i++)
        sum += model->grad_squares[i];
    return sum;
}

void iso_model_watch_routing(iso_model *model, iso_routed_fn fn, void *ctx) {
    ISO_ASSERT(!model->exec->measuring);
    model->on_routed = fn;
    model->on_routed_ctx = ctx;
}

void iso_model_update_ahead(iso_model *model, iso_update_fn fn, void *ctx) {
    model->begin_update = fn;
    model->begin_update_ctx = ctx;
}

void iso_model_forward(iso_model *model, const int32_t *inputs, int64_t B) {
    ISO_ASSERT(B >= 1 && B <= model->max_sequences);
    forward(model, inputs, B, 0, 0);
}

void iso_model_score(iso_model *model, const int32_t *inputs, const int32_t *targets, int64_t B,
                     double *nats) {
    int64_t V = model->shape.vocab_size, H = model->shape.hidden_size;
    int64_t T = B * model->shape.max_position_embeddings;
    iso_model_forward(model, inputs, B);
    iso_head_loss(model->exec, nats, iso_no_tensor(), iso_no_tensor(),
                  iso_model_mat(model, model->final_norm, T, H),
                  iso_model_weight(model, head_field(model), -1, V, H), targets, 0);
}

void iso_model_logits(iso_model *model, int64_t first_row, int64_t n_rows, void *logits) {
    int64_t V = model->shape.vocab_size, H = model->shape.hidden_size;
    void *x = element(model, model->final_norm, first_row * H);
    iso_linear_fwd(model->exec, iso_model_mat(model, logits, n_rows, V), iso_no_tensor(),
                   iso_model_mat(model, x, n_rows, H),
                   iso_model_weight(model, head_field(model), -1, V, H), ISO_COMPONENT_HEAD);
}

/* Runs all there is without computing, so that the exec learns its scratch; counts nothing. */
static void dry_run(iso_model *model) {
    ISO_ASSERT(model->exec->measuring);
    iso_counters *counters = model->exec->counters, dropped = {.executed_flops = 0};
    model->exec->counters = &dropped;
    double aux_sum;
    iso_model_score(model, NULL, NULL, model->max_sequences, NULL);
    iso_model_logits(model, 0, model->max_sequences * model->shape.max_position_embeddings, NULL);
    if (model->trains) {
        iso_model_train(model, NULL, NULL, model->max_sequences, 0, 0, NULL, &aux_sum);
        iso_model_grad_squares(model);
    }
    model->exec->counters = counters;
}

static iso_status create_measuring(iso_model **out, const iso_shape *shape, iso_exec *exec,
                                   int64_t max_sequences, bool trains) {
    iso_model *model = calloc(1, sizeof *model);
    if (!model) return iso_fail(ISO_ERR_MEMORY, "cannot allocate a model");
    *model = (iso_model){
        .shape = *shape, .exec = exec, .max_sequences = max_sequences, .trains = trains};
    model->layers = calloc((size_t)shape->num_hidden_layers, sizeof *model->layers);
    model->grad_squares = calloc((size_t)shape->num_hidden_layers * ISO_FIELD_N, sizeof(double));
    model->slopes = calloc((size_t)shape->num_attention_heads, sizeof *model->slopes);
    iso_status status = model->layers && model->grad_squares && model->slopes
                            ? iso_params_create(&model->params, shape)
                            : iso_fail(ISO_ERR_MEMORY, "cannot allocate the layers");
    if (status != ISO_OK) {
        iso_model_free(model);
        return status;
    }
    iso_alibi_slopes(model->slopes, shape->num_attention_heads);
    place(model);
    *out = model;
    return ISO_OK;
}

static iso_status make_real(iso_model *model) {
    int64_t weights = model->weight_arena.used_bytes, grads = model->grad_arena.used_bytes;
    int64_t acts = model->act_arena.peak_bytes;
    ISO_TRY(iso_arena_create(&model->weight_arena, weights));
    ISO_TRY(iso_arena_create(&model->grad_arena, grads));
    ISO_TRY(iso_arena_create(&model->act_arena, acts));
    place(model);
    return iso_exec_start(model->exec);
}

iso_status iso_model_create(iso_model **out, const iso_shape *shape, iso_exec *exec,
                            int64_t max_sequences, bool trains) {
    *out = NULL;
    iso_model *model;
    ISO_TRY(create_measuring(&model, shape, exec, max_sequences, trains));
    dry_run(model);
    iso_status status = make_real(model);
    if (status != ISO_OK) {
        iso_model_free(model);
        return status;
    }
    *out = model;
    return ISO_OK;
}

iso_model_memory iso_model_memory_used(const iso_model *model) {
    const iso_exec *ex = model->exec;
    return (iso_model_memory){.weights = model->weight_arena.used_bytes,
                              .gradients = model->grad_arena.used_bytes,
                              .activations = model->act_arena.peak_bytes,
                              .scratch =
                                  ex->measuring ? ex->scratch.peak_bytes : ex->scratch.size_bytes};
}

iso_status iso_model_plan(iso_model_memory *out, const iso_shape *shape, iso_exec *exec,
                          int64_t max_sequences, bool trains) {
    iso_model *model;
    ISO_TRY(create_measuring(&model, shape, exec, max_sequences, trains));
    dry_run(model);
    double aux_sum;
    if (trains)
        iso_model_train(model, NULL, NULL, max_sequences, 0, 0, NULL, &aux_sum);
    else
        iso_model_score(model, NULL, NULL, max_sequences, NULL);
    *out = iso_model_memory_used(model);
    iso_arena_init(&exec->scratch);
    iso_model_free(model);
    return ISO_OK;
}

void iso_model_free(iso_model *model) {
    if (!model) return;
    release_arenas(model);
    iso_params_free(&model->params);
    free(model->layers);
    free(model->slopes);
    free(model->grad_squares);
    free(model);
}

void iso_model_reset_grads(iso_model *model) {
    model->grads_are_set = false;
}
