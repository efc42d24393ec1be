/* blocks.h - the two halves of a layer, private to src/model.
 *
 * Every function works on the model's current micro-batch: T = B*S rows of one layer's activations.
 * Backward functions take the residual stream's gradient in temps.d_stream and add to it in place.
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

/* The residual stream's gradient as products read it, and what norm_bwd leaves it in: the copy, or
 * d_stream itself and nothing. */
iso_tensor iso_model_d_stream(const iso_model *model, int64_t T);
iso_tensor iso_model_d_copy(const iso_model *model, int64_t T);

/* middle = x + o(attention(norm1 x)) */
void iso_attention_block_fwd(iso_model *model, int64_t layer, iso_tensor x, int64_t B);
void iso_attention_block_bwd(iso_model *model, int64_t layer, iso_tensor x, int64_t B);

/* out = middle + down(silu(gate n) * up n), n = norm2 middle */
void iso_dense_block_fwd(iso_model *model, int64_t layer, int64_t T);
void iso_dense_block_bwd(iso_model *model, int64_t layer, int64_t T);

/* A SwiGLU of width F from `fields` = gate: y = residual + down(...), keeping gate_up. */
void iso_ffn_fwd(iso_model *model, int64_t layer, iso_field gate, int64_t F, int64_t T,
                 iso_component component);
/* temps.d_norm = or += the gradient of the SwiGLU's input, from temps.d_stream; the gradient of
 * gate and up stays in temps.d_wide. */
void iso_ffn_bwd(iso_model *model, int64_t layer, iso_field gate, int64_t F, int64_t T,
                 iso_component component, bool accumulate);
/* From temps.d_norm to temps.d_stream, and norm2's output is in temps.norm again. */
void iso_norm2_bwd(iso_model *model, int64_t layer, int64_t T);
/* The gradient of the weights of gate and up, from temps.d_wide and temps.norm. */
void iso_ffn_bwd_gate(iso_model *model, int64_t layer, iso_field gate, int64_t F, int64_t T,
                      iso_component component);

/* out = middle + sum of gated experts + shared expert. With n_groups > 0 the balance loss is taken
 * into group_loss and aux_grad, scaled by aux_scale (coefficient included). */
void iso_moe_block_fwd(iso_model *model, int64_t layer, int64_t T, int64_t n_groups,
                       double aux_scale);
void iso_moe_block_bwd(iso_model *model, int64_t layer, int64_t T, int64_t n_groups);

#endif
