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
    iso_exec_chain(ex); /* or what ends the layer before has opened it */
    iso_norm_fwd(ex, norm, iso_model_vec(model, acts->rstd1, T), x, w_norm,
                 model->shape.rms_norm_eps);
    iso_linear_fwd(ex, qkv, iso_no_tensor(), norm,
                   iso_model_weight(model, ISO_FIELD_Q, layer, 3 * H, H), ISO_COMPONENT_ATTENTION);
    if (model->shape.position == ISO_POSITION_ROPE)
        iso_rope(ex, qkv, &at, model->shape.rope_theta, false);
    iso_exec_flush(ex);
    iso_attention_fwd(ex, attended, iso_model_mat(model, acts->lse, B * at.A, at.S), qkv, &at);
    iso_exec_chain(ex); /* the layer's second half goes on */
    iso_linear_fwd(ex, iso_model_mat(model, acts->middle, T, H), x, attended,
                   iso_model_weight(model, ISO_FIELD_O, layer, H, H), ISO_COMPONENT_ATTENTION);
}

void iso_attention_block_bwd(iso_model *model, int64_t layer, iso_tensor x, int64_t B) {
    iso_exec *ex = model->exec;
    iso_layer_acts *acts = &model->layers[layer];
    const iso_attention at = attention_of(model, B);
    int64_t T = B * at.S, H = model->shape.hidden_size;
    iso_tensor d = iso_model_d_stream(model, T);
    iso_tensor d_norm = iso_model_mat(model, model->temps.d_norm, T, H);
    iso_tensor d_qkv = iso_model_act(model, model->temps.d_wide, T, 3 * H);
    iso_tensor d_attended = iso_model_act(model, model->temps.d_hidden, T, H);
    iso_tensor qkv = iso_model_act(model, acts->qkv, T, 3 * H);
    iso_tensor attended = iso_model_act(model, acts->attended, T, H);
    iso_tensor norm = iso_model_act(model, model->temps.norm, T, H);
    iso_linear_bwd_input(ex, d_attended, false, d,
                         iso_model_weight(model, ISO_FIELD_O, layer, H, H),
                         ISO_COMPONENT_ATTENTION);
    iso_attention_bwd(ex, d_qkv, d_attended, attended,
                      iso_model_mat(model, acts->lse, B * at.A, at.S), qkv, &at);
    iso_exec_chain(ex);
    if (model->shape.position == ISO_POSITION_ROPE)
        iso_rope(ex, d_qkv, &at, model->shape.rope_theta, true);
    iso_linear_bwd_input(ex, d_norm, false, d_qkv,
                         iso_model_weight(model, ISO_FIELD_Q, layer, 3 * H, H),
                         ISO_COMPONENT_ATTENTION);
    iso_model_norm_bwd(model, ISO_FIELD_NORM1, layer, norm, x,
                       iso_model_vec(model, acts->rstd1, T));
    iso_exec_flush(ex);
    iso_exec_pile(ex);
    /* the smaller one last: its end is shorter */
    iso_model_bwd_weight(model, ISO_FIELD_Q, layer, d_qkv, norm, ISO_COMPONENT_ATTENTION);
    iso_model_bwd_weight(model, ISO_FIELD_O, layer, d, attended, ISO_COMPONENT_ATTENTION);
    iso_exec_flush(ex);
}

static int64_t hidden_size(const iso_ffn *f) {
    return f->model->shape.hidden_size;
}

static iso_layer_acts *acts_of(const iso_ffn *f) {
    return &f->model->layers[f->layer];
}

static iso_tensor gate_up(const iso_ffn *f) {
    return iso_model_act(f->model, acts_of(f)->gate_up, f->T, 2 * f->F);
}

static iso_tensor d_gate_up(const iso_ffn *f) {
    return iso_model_act(f->model, f->model->temps.d_wide, f->T, 2 * f->F);
}

static iso_tensor hidden(const iso_ffn *f) {
    return iso_model_act(f->model, f->model->temps.hidden, f->T, f->F);
}

static iso_tensor d_hidden(const iso_ffn *f) {
    return iso_model_act(f->model, f->model->temps.d_hidden, f->T, f->F);
}

static iso_tensor norm(const iso_ffn *f) {
    return iso_model_act(f->model, f->model->temps.norm, f->T, hidden_size(f));
}

static iso_tensor w_gate_up(const iso_ffn *f) {
    return iso_model_weight(f->model, f->gate, f->layer, 2 * f->F, hidden_size(f));
}

static iso_field down_field(const iso_ffn *f) {
    return (iso_field)(f->gate + 2);
}

static iso_tensor w_down(const iso_ffn *f) {
    return iso_model_weight(f->model, down_field(f), f->layer, hidden_size(f), f->F);
}

void iso_ffn_gate_up(const iso_ffn *f) {
    iso_linear_fwd(f->model->exec, gate_up(f), iso_no_tensor(), norm(f), w_gate_up(f),
                   f->component);
}

void iso_ffn_swiglu(const iso_ffn *f) {
    iso_swiglu_fwd(f->model->exec, hidden(f), gate_up(f), iso_no_tensor());
}

void iso_ffn_down(const iso_ffn *f) {
    int64_t H = hidden_size(f);
    iso_linear_fwd(f->model->exec, iso_model_mat(f->model, acts_of(f)->out, f->T, H),
                   iso_model_mat(f->model, acts_of(f)->middle, f->T, H), hidden(f), w_down(f),
                   f->component);
}

void iso_ffn_d_hidden(const iso_ffn *f) {
    iso_linear_bwd_input(f->model->exec, d_hidden(f), false, iso_model_d_stream(f->model, f->T),
                         w_down(f), f->component);
}

void iso_ffn_d_swiglu(const iso_ffn *f) {
    iso_swiglu_bwd(f->model->exec, d_gate_up(f), iso_no_tensor(), hidden(f), d_hidden(f),
                   gate_up(f), iso_no_tensor());
}

void iso_ffn_d_norm(const iso_ffn *f, bool accumulate) {
    iso_tensor d_norm = iso_model_mat(f->model, f->model->temps.d_norm, f->T, hidden_size(f));
    iso_linear_bwd_input(f->model->exec, d_norm, accumulate, d_gate_up(f), w_gate_up(f),
                         f->component);
}

void iso_ffn_dw_down(const iso_ffn *f, iso_tensor d) {
    iso_model_bwd_weight(f->model, down_field(f), f->layer, d, hidden(f), f->component);
}

void iso_ffn_dw_gate_up(const iso_ffn *f) {
    iso_model_bwd_weight(f->model, f->gate, f->layer, d_gate_up(f), norm(f), f->component);
}

void iso_norm2_fwd(iso_model *model, int64_t layer, int64_t T) {
    iso_layer_acts *acts = &model->layers[layer];
    int64_t H = model->shape.hidden_size;
    iso_norm_fwd(model->exec, iso_model_act(model, model->temps.norm, T, H),
                 iso_model_vec(model, acts->rstd2, T), iso_model_mat(model, acts->middle, T, H),
                 iso_model_weight(model, ISO_FIELD_NORM2, layer, H, 0), model->shape.rms_norm_eps);
}

void iso_norm2_bwd(iso_model *model, int64_t layer, int64_t T) {
    iso_layer_acts *acts = &model->layers[layer];
    int64_t H = model->shape.hidden_size;
    iso_model_norm_bwd(model, ISO_FIELD_NORM2, layer, iso_model_act(model, model->temps.norm, T, H),
                       iso_model_mat(model, acts->middle, T, H),
                       iso_model_vec(model, acts->rstd2, T));
}

static iso_ffn dense_ffn(iso_model *model, int64_t layer, int64_t T) {
    return (iso_ffn){.model = model,
                     .layer = layer,
                     .F = model->shape.intermediate_size,
                     .T = T,
                     .gate = ISO_FIELD_GATE,
                     .component = ISO_COMPONENT_FFN_DENSE};
}

void iso_dense_block_fwd(iso_model *model, int64_t layer, int64_t T) {
    const iso_ffn f = dense_ffn(model, layer, T);
    iso_norm2_fwd(model, layer, T);
    iso_ffn_gate_up(&f);
    iso_ffn_swiglu(&f);
    iso_ffn_down(&f);
}

void iso_dense_block_bwd(iso_model *model, int64_t layer, int64_t T) {
    const iso_ffn f = dense_ffn(model, layer, T);
    iso_tensor d = iso_model_d_stream(model, T);
    iso_exec_chain(model->exec);
    iso_ffn_d_hidden(&f);
    iso_ffn_d_swiglu(&f);
    iso_ffn_d_norm(&f, false);
    iso_norm2_bwd(model, layer, T);
    iso_exec_flush(model->exec);
    iso_exec_pile(model->exec);
    iso_ffn_dw_down(&f, d);
    iso_ffn_dw_gate_up(&f);
    iso_exec_flush(model->exec);
}
