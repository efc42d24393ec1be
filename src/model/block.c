/* block.c - attention and the SwiGLU FFN, forward and backward. */
#include "model/blocks.h"

static iso_attention attention_of(const iso_model *model, int64_t B) {
    const iso_shape *s = &model->shape;
    return (iso_attention){.B = B,
                           .S = s->max_position_embeddings,
                           .A = s->num_attention_heads,
                           .d = s->hidden_size / s->num_attention_heads,
                           .slopes = s->position == ISO_POSITION_ALIBI ? model->slopes : NULL,
                           .alibi_sqrt = s->alibi_sqrt};
}

void iso_attention_block_fwd(iso_model *model, int64_t layer, iso_tensor x, int64_t B) {
    iso_exec *ex = model->exec;
    iso_layer_acts *acts = &model->layers[layer];
    const iso_attention at = attention_of(model, B);
    int64_t T = B * at.S, H = model->shape.hidden_size;
    iso_tensor norm = iso_model_act(model, model->temps.norm, T, H);
    iso_tensor qkv = iso_model_act(model, acts->qkv, T, 3 * H);
    iso_tensor attended = iso_model_act(model, acts->attended, T, H);
    iso_tensor w_norm = iso_model_weight(model, ISO_FIELD_NORM1, layer, H, 0);
    iso_norm_fwd(ex, norm, iso_model_vec(model, acts->rstd1, T), x, w_norm,
                 model->shape.rms_norm_eps);
    iso_linear_fwd(ex, qkv, iso_no_tensor(), norm,
                   iso_model_weight(model, ISO_FIELD_Q, layer, 3 * H, H), ISO_COMPONENT_ATTENTION);
    if (model->shape.position == ISO_POSITION_ROPE)
        iso_rope(ex, qkv, &at, model->shape.rope_theta, false);
    iso_attention_fwd(ex, attended, iso_model_mat(model, acts->lse, B * at.A, at.S), qkv, &at);
    iso_linear_fwd(ex, iso_model_mat(model, acts->middle, T, H), x, attended,
                   iso_model_weight(model, ISO_FIELD_O, layer, H, H), ISO_COMPONENT_ATTENTION);
}

void iso_attention_block_bwd(iso_model *model, int64_t layer, iso_tensor x, int64_t B) {
    iso_exec *ex = model->exec;
    iso_layer_acts *acts = &model->layers[layer];
    const iso_attention at = attention_of(model, B);
    int64_t T = B * at.S, H = model->shape.hidden_size;
    iso_tensor d = iso_model_mat(model, model->temps.d_stream, T, H);
    iso_tensor d_norm = iso_model_mat(model, model->temps.d_norm, T, H);
    iso_tensor d_qkv = iso_model_act(model, model->temps.d_wide, T, 3 * H);
    iso_tensor d_attended = iso_model_act(model, model->temps.d_hidden, T, H);
    iso_tensor qkv = iso_model_act(model, acts->qkv, T, 3 * H);
    iso_tensor attended = iso_model_act(model, acts->attended, T, H);
    iso_tensor norm = iso_model_act(model, model->temps.norm, T, H);
    iso_linear_bwd_input(ex, d_attended, false, iso_model_d_stream(model, T),
                         iso_model_weight(model, ISO_FIELD_O, layer, H, H),
                         ISO_COMPONENT_ATTENTION);
    iso_model_bwd_weight(model, ISO_FIELD_O, layer, iso_model_d_stream(model, T), attended,
                         ISO_COMPONENT_ATTENTION);
    iso_attention_bwd(ex, d_qkv, d_attended, attended,
                      iso_model_mat(model, acts->lse, B * at.A, at.S), qkv, &at);
    if (model->shape.position == ISO_POSITION_ROPE)
        iso_rope(ex, d_qkv, &at, model->shape.rope_theta, true);
    iso_linear_bwd_input(ex, d_norm, false, d_qkv,
                         iso_model_weight(model, ISO_FIELD_Q, layer, 3 * H, H),
                         ISO_COMPONENT_ATTENTION);
    iso_norm_bwd(ex, d, iso_model_d_copy(model, T), norm,
                 iso_model_grad(model, ISO_FIELD_NORM1, layer, H, 0), d_norm, x,
                 iso_model_vec(model, acts->rstd1, T),
                 iso_model_weight(model, ISO_FIELD_NORM1, layer, H, 0));
    iso_model_bwd_weight(model, ISO_FIELD_Q, layer, d_qkv, norm, ISO_COMPONENT_ATTENTION);
}

void iso_ffn_fwd(iso_model *model, int64_t layer, iso_field gate, int64_t F, int64_t T,
                 iso_component component) {
    iso_exec *ex = model->exec;
    iso_layer_acts *acts = &model->layers[layer];
    int64_t H = model->shape.hidden_size;
    iso_field down = (iso_field)(gate + 2);
    iso_tensor gate_up = iso_model_act(model, acts->gate_up, T, 2 * F);
    iso_tensor hidden = iso_model_act(model, model->temps.hidden, T, F);
    iso_linear_fwd(ex, gate_up, iso_no_tensor(), iso_model_act(model, model->temps.norm, T, H),
                   iso_model_weight(model, gate, layer, 2 * F, H), component);
    iso_swiglu_fwd(ex, hidden, gate_up, iso_no_tensor());
    iso_linear_fwd(ex, iso_model_mat(model, acts->out, T, H),
                   iso_model_mat(model, acts->middle, T, H), hidden,
                   iso_model_weight(model, down, layer, H, F), component);
}

void iso_ffn_bwd(iso_model *model, int64_t layer, iso_field gate, int64_t F, int64_t T,
                 iso_component component, bool accumulate) {
    iso_exec *ex = model->exec;
    iso_layer_acts *acts = &model->layers[layer];
    int64_t H = model->shape.hidden_size;
    iso_field down = (iso_field)(gate + 2);
    iso_tensor d = iso_model_d_stream(model, T);
    iso_tensor d_norm = iso_model_mat(model, model->temps.d_norm, T, H);
    iso_tensor d_gate_up = iso_model_act(model, model->temps.d_wide, T, 2 * F);
    iso_tensor d_hidden = iso_model_act(model, model->temps.d_hidden, T, F);
    iso_tensor hidden = iso_model_act(model, model->temps.hidden, T, F);
    iso_linear_bwd_input(ex, d_hidden, false, d, iso_model_weight(model, down, layer, H, F),
                         component);
    iso_swiglu_bwd(ex, d_gate_up, iso_no_tensor(), hidden, d_hidden,
                   iso_model_act(model, acts->gate_up, T, 2 * F), iso_no_tensor());
    iso_model_bwd_weight(model, down, layer, d, hidden, component);
    iso_linear_bwd_input(ex, d_norm, accumulate, d_gate_up,
                         iso_model_weight(model, gate, layer, 2 * F, H), component);
}

void iso_ffn_bwd_gate(iso_model *model, int64_t layer, iso_field gate, int64_t F, int64_t T,
                      iso_component component) {
    iso_model_bwd_weight(model, gate, layer, iso_model_act(model, model->temps.d_wide, T, 2 * F),
                         iso_model_act(model, model->temps.norm, T, model->shape.hidden_size),
                         component);
}

void iso_norm2_bwd(iso_model *model, int64_t layer, int64_t T) {
    iso_layer_acts *acts = &model->layers[layer];
    int64_t H = model->shape.hidden_size;
    iso_norm_bwd(model->exec, iso_model_mat(model, model->temps.d_stream, T, H),
                 iso_model_d_copy(model, T), iso_model_act(model, model->temps.norm, T, H),
                 iso_model_grad(model, ISO_FIELD_NORM2, layer, H, 0),
                 iso_model_mat(model, model->temps.d_norm, T, H),
                 iso_model_mat(model, acts->middle, T, H), iso_model_vec(model, acts->rstd2, T),
                 iso_model_weight(model, ISO_FIELD_NORM2, layer, H, 0));
}

void iso_dense_block_fwd(iso_model *model, int64_t layer, int64_t T) {
    iso_layer_acts *acts = &model->layers[layer];
    int64_t H = model->shape.hidden_size;
    iso_norm_fwd(model->exec, iso_model_act(model, model->temps.norm, T, H),
                 iso_model_vec(model, acts->rstd2, T), iso_model_mat(model, acts->middle, T, H),
                 iso_model_weight(model, ISO_FIELD_NORM2, layer, H, 0), model->shape.rms_norm_eps);
    iso_ffn_fwd(model, layer, ISO_FIELD_GATE, model->shape.intermediate_size, T,
                ISO_COMPONENT_FFN_DENSE);
}

void iso_dense_block_bwd(iso_model *model, int64_t layer, int64_t T) {
    int64_t F = model->shape.intermediate_size;
    iso_ffn_bwd(model, layer, ISO_FIELD_GATE, F, T, ISO_COMPONENT_FFN_DENSE, false);
    iso_norm2_bwd(model, layer, T);
    iso_ffn_bwd_gate(model, layer, ISO_FIELD_GATE, F, T, ISO_COMPONENT_FFN_DENSE);
}
