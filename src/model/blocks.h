/* blocks.h - the two halves of a layer, private to src/model.
 *
 * Every function works on the model's current micro-batch: T = B*S rows of one layer's activations.
 * Backward functions add to the residual stream's gradient (iso_model_d_stream).
 *
 * Forward functions of blocks leave a chain open (ops.h, iso_exec_chain) that the next one goes on
 * with: who looks at `middle` or `out` flushes it first. Backward functions of blocks begin and end
 * with none.
 */
#ifndef ISO_MODEL_BLOCKS_H
#define ISO_MODEL_BLOCKS_H

#include "model/model.h"

/* Views of the model's memory in its dtype. */
iso_tensor iso_model_weight(const iso_model *model, iso_field field, int64_t layer, int64_t rows,
                            int64_t cols);
iso_tensor iso_model_grad(const iso_model *model, iso_field field, int64_t layer, int64_t rows,
                          int64_t cols);
iso_tensor iso_model_vec(const iso_model *model, void *data, int64_t n);
iso_tensor iso_model_mat(const iso_model *model, void *data, int64_t rows, int64_t cols);
/* The same of a narrow tensor (ops.h). */
iso_tensor iso_model_act(const iso_model *model, void *data, int64_t rows, int64_t cols);

/* Where the sum of the squares of a product's gradient belongs: of all weights that are multiplied
 * together, under the field of the first. */
double *iso_model_grad_square(const iso_model *model, iso_field field, int64_t layer);
/* The gradient of a linear layer's weights (dy's columns, x's columns), and its square. */
void iso_model_bwd_weight(iso_model *model, iso_field field, int64_t layer, iso_tensor dy,
                          iso_tensor x, iso_component component);

/* The residual stream's gradient (T,H) as products read it, narrow. */
iso_tensor iso_model_d_stream(const iso_model *model, int64_t T);
/* Adds to it what reaches it through a norm, from temps.d_norm; norm (T,H) narrow = the norm's
 * output again, data NULL: not. From now on iso_model_d_stream is the sum: who wants
 * what it was, as gradients of weights do, asks before. */
void iso_model_norm_bwd(iso_model *model, iso_field field, int64_t layer, iso_tensor norm,
                        iso_tensor x, iso_tensor rstd);

/* middle = x + o(attention(norm1 x)) */
void iso_attention_block_fwd(iso_model *model, int64_t layer, iso_tensor x, int64_t B);
void iso_attention_block_bwd(iso_model *model, int64_t layer, iso_tensor x, int64_t B);

/* out = middle + down(silu(gate n) * up n), n = norm2 middle */
void iso_dense_block_fwd(iso_model *model, int64_t layer, int64_t T);
void iso_dense_block_bwd(iso_model *model, int64_t layer, int64_t T);

/* A SwiGLU of width F on all T tokens of a layer: a dense layer's, or a shared expert. */
typedef struct iso_ffn {
    iso_model *model;
    int64_t layer, F, T;
    iso_field gate; /* its weights' first field */
    iso_component component;
} iso_ffn;

/* Forward, operation by operation, so that chains can begin and end between them: gate_up from
 * temps.norm; temps.hidden; out = middle + down. */
void iso_ffn_gate_up(const iso_ffn *f);
void iso_ffn_swiglu(const iso_ffn *f);
void iso_ffn_down(const iso_ffn *f);
/* Backward: temps.d_hidden from the residual stream's gradient; temps.d_wide (of gate and up) and
 * temps.hidden again; temps.d_norm = or += ; the gradients of the weights, of down with the
 * residual stream's gradient as iso_ffn_d_hidden has read it, of gate and up with temps.norm. */
void iso_ffn_d_hidden(const iso_ffn *f);
void iso_ffn_d_swiglu(const iso_ffn *f);
void iso_ffn_d_norm(const iso_ffn *f, bool accumulate);
void iso_ffn_dw_down(const iso_ffn *f, iso_tensor d);
void iso_ffn_dw_gate_up(const iso_ffn *f);

/* temps.norm from middle. */
void iso_norm2_fwd(iso_model *model, int64_t layer, int64_t T);
/* From temps.d_norm to the residual stream's gradient; norm2's output is in temps.norm again. */
void iso_norm2_bwd(iso_model *model, int64_t layer, int64_t T);

/* out = middle + sum of gated experts + shared expert. With n_groups > 0 the balance loss is taken
 * into group_loss and aux_grad, scaled by aux_scale (coefficient included). */
void iso_moe_block_fwd(iso_model *model, int64_t layer, int64_t T, int64_t n_groups,
                       double aux_scale);
void iso_moe_block_bwd(iso_model *model, int64_t layer, int64_t T, int64_t n_groups);

#endif
