/* moe.c - the mixture of experts: route, sort, grouped products, combine; and all of it backwards.
 *
 * Dropless: every token's K choices become K rows, sorted by expert, and each expert multiplies
 * just its rows. A row's gate is applied to the expert's hidden state (ops.h, swiglu), so combining
 * is a plain sum and the gate's gradient falls out of swiglu's backward.
 */
#include "model/blocks.h"

typedef struct moe_sizes {
    int64_t H, E, K, De, Dse, R;
} moe_sizes;

static moe_sizes sizes_of(const iso_model *model, int64_t T) {
    const iso_shape *s = &model->shape;
    return (moe_sizes){.H = s->hidden_size,
                       .E = s->num_experts,
                       .K = s->num_experts_per_tok,
                       .De = s->moe_intermediate_size,
                       .Dse = s->shared_expert_intermediate_size,
                       .R = T * s->num_experts_per_tok};
}

/* (E,rows,cols): the same field of all experts of a layer. */
static iso_tensor experts(iso_tensor first, const moe_sizes *z, int64_t rows, int64_t cols) {
    return iso_tensor_3d(first.data, first.dtype, z->E, rows, cols);
}

static iso_tensor expert_weight(const iso_model *model, iso_field field, int64_t layer,
                                const moe_sizes *z, int64_t rows, int64_t cols) {
    return experts(iso_model_weight(model, field, layer, z->E * rows, cols), z, rows, cols);
}

static iso_tensor expert_grad(const iso_model *model, iso_field field, int64_t layer,
                              const moe_sizes *z, int64_t rows, int64_t cols) {
    return experts(iso_model_grad(model, field, layer, z->E * rows, cols), z, rows, cols);
}

static void route(iso_model *model, int64_t layer, int64_t T, int64_t n_groups, double aux_scale) {
    iso_exec *ex = model->exec;
    iso_layer_acts *acts = &model->layers[layer];
    const moe_sizes z = sizes_of(model, T);
    iso_tensor logits = iso_model_mat(model, model->temps.logits, T, z.E);
    iso_tensor probs = iso_model_mat(model, acts->probs, T, z.E);
    iso_tensor gate = iso_model_mat(model, acts->gate, T, z.K);
    acts->routing.T = T;
    iso_linear_fwd(ex, logits, iso_no_tensor(), iso_model_act(model, model->temps.norm, T, z.H),
                   iso_model_weight(model, ISO_FIELD_ROUTER, layer, z.E, z.H),
                   ISO_COMPONENT_ROUTER);
    iso_router_fwd(ex, probs, acts->routing.expert, gate, logits, model->shape.norm_topk_prob);
    if (n_groups > 0)
        iso_balance(ex, model->group_loss, iso_model_mat(model, acts->aux_grad, n_groups, z.E),
                    probs, acts->routing.expert, z.K, aux_scale);
    iso_route_sort(ex, &acts->routing, iso_model_vec(model, acts->row_gate, z.R), gate);
}

void iso_moe_block_fwd(iso_model *model, int64_t layer, int64_t T, int64_t n_groups,
                       double aux_scale) {
    iso_exec *ex = model->exec;
    iso_layer_acts *acts = &model->layers[layer];
    const moe_sizes z = sizes_of(model, T);
    iso_tensor norm = iso_model_act(model, model->temps.norm, T, z.H);
    iso_tensor middle = iso_model_mat(model, acts->middle, T, z.H);
    iso_tensor out = iso_model_mat(model, acts->out, T, z.H);
    iso_tensor gate_up = iso_model_act(model, acts->expert_gate_up, z.R, 2 * z.De);
    iso_tensor hidden = iso_model_act(model, model->temps.expert_hidden, z.R, z.De);
    iso_tensor expert_out = iso_model_act(model, model->temps.expert_out, z.R, z.H);
    iso_norm_fwd(ex, norm, iso_model_vec(model, acts->rstd2, T), middle,
                 iso_model_weight(model, ISO_FIELD_NORM2, layer, z.H, 0),
                 model->shape.rms_norm_eps);
    route(model, layer, T, n_groups, aux_scale);
    iso_grouped_fwd(ex, gate_up, norm, true,
                    expert_weight(model, ISO_FIELD_EXPERT_GATE, layer, &z, 2 * z.De, z.H),
                    &acts->routing);
    iso_swiglu_fwd(ex, hidden, gate_up, iso_model_vec(model, acts->row_gate, z.R));
    iso_grouped_fwd(ex, expert_out, hidden, false,
                    expert_weight(model, ISO_FIELD_EXPERT_DOWN, layer, &z, z.H, z.De),
                    &acts->routing);
    if (z.Dse > 0)
        iso_ffn_fwd(model, layer, ISO_FIELD_SHARED_GATE, z.Dse, T, ISO_COMPONENT_FFN_SHARED);
    iso_combine(ex, out, z.Dse > 0 ? out : middle, expert_out, &acts->routing);
}

/* temps.d_norm = the gradient that reaches norm2's output through the routed experts. */
static void experts_bwd(iso_model *model, int64_t layer, int64_t T) {
    iso_exec *ex = model->exec;
    iso_layer_acts *acts = &model->layers[layer];
    const moe_sizes z = sizes_of(model, T);
    const iso_routing *rt = &acts->routing;
    iso_tensor d = iso_model_d_stream(model, T);
    iso_tensor d_rows = iso_model_act(model, model->temps.expert_out, z.R, z.H);
    iso_tensor hidden = iso_model_act(model, model->temps.expert_hidden, z.R, z.De);
    iso_tensor d_hidden = iso_model_act(model, model->temps.d_expert_hidden, z.R, z.De);
    iso_tensor d_gate_up = iso_model_act(model, model->temps.d_expert_gate_up, z.R, 2 * z.De);
    iso_tensor gate_up = iso_model_act(model, acts->expert_gate_up, z.R, 2 * z.De);
    iso_grouped_bwd_input(ex, d_hidden, d, true,
                          expert_weight(model, ISO_FIELD_EXPERT_DOWN, layer, &z, z.H, z.De), rt);
    iso_swiglu_bwd(ex, d_gate_up, iso_model_vec(model, model->temps.d_row_gate, z.R), hidden,
                   d_hidden, gate_up, iso_model_vec(model, acts->row_gate, z.R));
    iso_tensor dw = expert_grad(model, ISO_FIELD_EXPERT_DOWN, layer, &z, z.H, z.De);
    iso_grouped_bwd_weight(ex, dw, model->grads_are_set,
                           iso_model_grad_square(model, ISO_FIELD_EXPERT_DOWN, layer), d, true,
                           hidden, false, rt);
    iso_grouped_bwd_input(ex, d_rows, d_gate_up, false,
                          expert_weight(model, ISO_FIELD_EXPERT_GATE, layer, &z, 2 * z.De, z.H),
                          rt);
    iso_combine(ex, iso_model_mat(model, model->temps.d_norm, T, z.H), iso_no_tensor(), d_rows, rt);
}

static void router_bwd(iso_model *model, int64_t layer, int64_t T, int64_t n_groups) {
    iso_exec *ex = model->exec;
    iso_layer_acts *acts = &model->layers[layer];
    const moe_sizes z = sizes_of(model, T);
    iso_tensor d_logits = iso_model_mat(model, model->temps.logits, T, z.E);
    iso_router_bwd(ex, d_logits, iso_model_vec(model, model->temps.d_row_gate, z.R),
                   iso_model_mat(model, acts->aux_grad, n_groups, z.E),
                   iso_model_mat(model, acts->probs, T, z.E),
                   iso_model_mat(model, acts->gate, T, z.K), &acts->routing,
                   model->shape.norm_topk_prob);
    iso_linear_bwd_input(ex, iso_model_mat(model, model->temps.d_norm, T, z.H), true, d_logits,
                         iso_model_weight(model, ISO_FIELD_ROUTER, layer, z.E, z.H),
                         ISO_COMPONENT_ROUTER);
}

/* The gradients of all weights that read norm2's output, from what the functions above have left.
 */
static void readers_bwd(iso_model *model, int64_t layer, int64_t T) {
    iso_exec *ex = model->exec;
    const moe_sizes z = sizes_of(model, T);
    iso_tensor norm = iso_model_act(model, model->temps.norm, T, z.H);
    iso_tensor d_gate_up = iso_model_act(model, model->temps.d_expert_gate_up, z.R, 2 * z.De);
    iso_tensor d_logits = iso_model_mat(model, model->temps.logits, T, z.E);
    iso_tensor dw = expert_grad(model, ISO_FIELD_EXPERT_GATE, layer, &z, 2 * z.De, z.H);
    iso_grouped_bwd_weight(ex, dw, model->grads_are_set,
                           iso_model_grad_square(model, ISO_FIELD_EXPERT_GATE, layer), d_gate_up,
                           false, norm, true, &model->layers[layer].routing);
    iso_model_bwd_weight(model, ISO_FIELD_ROUTER, layer, d_logits, norm, ISO_COMPONENT_ROUTER);
    if (z.Dse > 0)
        iso_ffn_bwd_gate(model, layer, ISO_FIELD_SHARED_GATE, z.Dse, T, ISO_COMPONENT_FFN_SHARED);
}

void iso_moe_block_bwd(iso_model *model, int64_t layer, int64_t T, int64_t n_groups) {
    const moe_sizes z = sizes_of(model, T);
    experts_bwd(model, layer, T);
    router_bwd(model, layer, T, n_groups);
    if (z.Dse > 0)
        iso_ffn_bwd(model, layer, ISO_FIELD_SHARED_GATE, z.Dse, T, ISO_COMPONENT_FFN_SHARED, true);
    iso_norm2_bwd(model, layer, T);
    readers_bwd(model, layer, T);
}
