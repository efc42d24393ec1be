/* moe.c - the mixture of experts: route, sort, grouped products, combine; and all of it backwards.
 *
 * Dropless: every token's K choices become K rows, sorted by expert, and each expert multiplies
 * just its rows. A row's gate is applied to the expert's hidden state (ops.h, swiglu), so combining
 * is a plain sum and the gate's gradient falls out of swiglu's backward.
 *
 * What goes token by token and what goes by the rows of an expert is a chain each (ops.h): what one
 * operation writes the next finds in the cache.
 */
#include "model/blocks.h"

typedef struct moe {
    iso_model *model;
    int64_t layer, T, H, E, K, De, R;
    iso_layer_acts *acts;
    bool has_shared;
    iso_ffn shared;
} moe;

static moe moe_of(iso_model *model, int64_t layer, int64_t T) {
    const iso_shape *s = &model->shape;
    return (moe){.model = model,
                 .layer = layer,
                 .T = T,
                 .H = s->hidden_size,
                 .E = s->num_experts,
                 .K = s->num_experts_per_tok,
                 .De = s->moe_intermediate_size,
                 .R = T * s->num_experts_per_tok,
                 .acts = &model->layers[layer],
                 .has_shared = s->shared_expert_intermediate_size > 0,
                 .shared = {.model = model,
                            .layer = layer,
                            .F = s->shared_expert_intermediate_size,
                            .T = T,
                            .gate = ISO_FIELD_SHARED_GATE,
                            .component = ISO_COMPONENT_FFN_SHARED}};
}

/* (E,rows,cols): the same field of all experts of a layer. */
static iso_tensor experts(const moe *m, iso_tensor first, int64_t rows, int64_t cols) {
    return iso_tensor_3d(first.data, first.dtype, m->E, rows, cols);
}

static iso_tensor w_gate_up(const moe *m) {
    int64_t rows = 2 * m->De;
    return experts(m,
                   iso_model_weight(m->model, ISO_FIELD_EXPERT_GATE, m->layer, m->E * rows, m->H),
                   rows, m->H);
}

static iso_tensor w_down(const moe *m) {
    return experts(m,
                   iso_model_weight(m->model, ISO_FIELD_EXPERT_DOWN, m->layer, m->E * m->H, m->De),
                   m->H, m->De);
}

static iso_tensor norm(const moe *m) {
    return iso_model_act(m->model, m->model->temps.norm, m->T, m->H);
}

static iso_tensor d_norm(const moe *m) {
    return iso_model_mat(m->model, m->model->temps.d_norm, m->T, m->H);
}

static iso_tensor logits(const moe *m) {
    return iso_model_mat(m->model, m->model->temps.logits, m->T, m->E);
}

static iso_tensor gate_up(const moe *m) {
    return iso_model_act(m->model, m->acts->expert_gate_up, m->R, 2 * m->De);
}

static iso_tensor hidden(const moe *m) {
    return iso_model_act(m->model, m->model->temps.expert_hidden, m->R, m->De);
}

static iso_tensor d_gate_up(const moe *m) {
    return iso_model_act(m->model, m->model->temps.d_expert_gate_up, m->R, 2 * m->De);
}

static iso_tensor d_hidden(const moe *m) {
    return iso_model_act(m->model, m->model->temps.d_expert_hidden, m->R, m->De);
}

/* Of each row: what its expert gives, and on the way back the gradient of what it has read. */
static iso_tensor rows(const moe *m) {
    return iso_model_act(m->model, m->model->temps.expert_out, m->R, m->H);
}

static iso_tensor row_gate(const moe *m) {
    return iso_model_vec(m->model, m->acts->row_gate, m->R);
}

static iso_tensor d_row_gate(const moe *m) {
    return iso_model_vec(m->model, m->model->temps.d_row_gate, m->R);
}

/* What goes token by token: the router, and the shared expert. */
static void tokens_fwd(const moe *m, int64_t n_groups, double aux_scale) {
    iso_exec *ex = m->model->exec;
    iso_routing *routing = &m->acts->routing;
    iso_tensor probs = iso_model_mat(m->model, m->acts->probs, m->T, m->E);
    iso_tensor gate = iso_model_mat(m->model, m->acts->gate, m->T, m->K);
    routing->T = m->T;
    iso_linear_fwd(ex, logits(m), iso_no_tensor(), norm(m),
                   iso_model_weight(m->model, ISO_FIELD_ROUTER, m->layer, m->E, m->H),
                   ISO_COMPONENT_ROUTER);
    iso_router_fwd(ex, probs, routing->expert, gate, logits(m), m->model->shape.norm_topk_prob);
    if (m->has_shared) {
        iso_ffn_gate_up(&m->shared);
        iso_ffn_swiglu(&m->shared);
        iso_ffn_down(&m->shared);
    }
    iso_exec_flush(ex);
    if (n_groups > 0)
        iso_balance(ex, m->model->group_loss,
                    iso_model_mat(m->model, m->acts->aux_grad, n_groups, m->E), probs,
                    routing->expert, m->K, aux_scale);
    iso_route_sort(ex, routing, row_gate(m), gate);
}

void iso_moe_block_fwd(iso_model *model, int64_t layer, int64_t T, int64_t n_groups,
                       double aux_scale) {
    const moe m = moe_of(model, layer, T);
    const iso_routing *routing = &m.acts->routing;
    iso_exec *ex = model->exec;
    iso_tensor out = iso_model_mat(model, m.acts->out, T, m.H);
    iso_tensor middle = iso_model_mat(model, m.acts->middle, T, m.H);
    iso_norm2_fwd(model, layer, T);
    tokens_fwd(&m, n_groups, aux_scale);
    iso_exec_chain(ex);
    iso_grouped_fwd(ex, gate_up(&m), norm(&m), true, w_gate_up(&m), routing);
    iso_swiglu_fwd(ex, hidden(&m), gate_up(&m), row_gate(&m));
    iso_grouped_fwd(ex, rows(&m), hidden(&m), false, w_down(&m), routing);
    iso_exec_flush(ex);
    iso_exec_chain(ex); /* the next layer goes on */
    iso_combine(ex, out, m.has_shared ? out : middle, rows(&m), routing);
}

/* temps.d_norm += what reaches norm2's output through the router. */
static void router_bwd(const moe *m, int64_t n_groups) {
    iso_exec *ex = m->model->exec;
    iso_router_bwd(ex, logits(m), d_row_gate(m),
                   iso_model_mat(m->model, m->acts->aux_grad, n_groups, m->E),
                   iso_model_mat(m->model, m->acts->probs, m->T, m->E),
                   iso_model_mat(m->model, m->acts->gate, m->T, m->K), &m->acts->routing,
                   m->model->shape.norm_topk_prob);
    iso_linear_bwd_input(ex, d_norm(m), true, logits(m),
                         iso_model_weight(m->model, ISO_FIELD_ROUTER, m->layer, m->E, m->H),
                         ISO_COMPONENT_ROUTER);
}

/* The gradient of the weights of one field of the experts; dy or x by token, the other by row. */
static void dw(const moe *m, iso_field field, iso_tensor dy, bool dy_by_token, iso_tensor x) {
    int64_t n_out = dy.dims[1], n_in = x.dims[1];
    iso_tensor grad = iso_model_grad(m->model, field, m->layer, m->E * n_out, n_in);
    iso_grouped_bwd_weight(m->model->exec, experts(m, grad, n_out, n_in), m->model->grads_are_set,
                           iso_model_grad_square(m->model, field, m->layer), dy, dy_by_token, x,
                           !dy_by_token, &m->acts->routing);
}

void iso_moe_block_bwd(iso_model *model, int64_t layer, int64_t T, int64_t n_groups) {
    const moe m = moe_of(model, layer, T);
    const iso_routing *routing = &m.acts->routing;
    iso_exec *ex = model->exec;
    iso_tensor d = iso_model_d_stream(model, T);
    iso_exec_chain(ex);
    iso_grouped_bwd_input(ex, d_hidden(&m), d, true, w_down(&m), routing);
    iso_swiglu_bwd(ex, d_gate_up(&m), d_row_gate(&m), hidden(&m), d_hidden(&m), gate_up(&m),
                   row_gate(&m));
    iso_grouped_bwd_input(ex, rows(&m), d_gate_up(&m), false, w_gate_up(&m), routing);
    iso_exec_flush(ex);
    iso_exec_chain(ex);
    iso_combine(ex, d_norm(&m), iso_no_tensor(), rows(&m), routing);
    router_bwd(&m, n_groups);
    if (m.has_shared) {
        iso_ffn_d_hidden(&m.shared);
        iso_ffn_d_swiglu(&m.shared);
        iso_ffn_d_norm(&m.shared, true);
    }
    iso_norm2_bwd(model, layer, T);
    iso_exec_flush(ex);
    iso_exec_pile(ex);
    dw(&m, ISO_FIELD_EXPERT_DOWN, d, true, hidden(&m));
    if (m.has_shared) iso_ffn_dw_down(&m.shared, d);
    dw(&m, ISO_FIELD_EXPERT_GATE, d_gate_up(&m), false, norm(&m));
    iso_model_bwd_weight(model, ISO_FIELD_ROUTER, layer, logits(&m), norm(&m),
                         ISO_COMPONENT_ROUTER);
    if (m.has_shared) iso_ffn_dw_gate_up(&m.shared);
    iso_exec_flush(ex);
}
