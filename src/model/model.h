/* model.h - the language model: ONE forward and backward, dense and MoE, on any backend.
 *
 * A pre-norm decoder: x += o(attention(norm1 x)); x += ffn(norm2 x); head(final_norm x). The FFN of
 * a layer is a dense SwiGLU or a mixture of experts with an optional shared expert, by the shape's
 * layout. Letters: tensor/dims.h; operations: ops/ops.h; weights: params.h.
 *
 * (I1) nothing is allocated after iso_model_create;
 * (I2) gradients accumulate over micro-batches and are scaled by the whole batch's token count, so
 * a batch gives the same gradient however it is split (up to rounding); (I3) the same inputs and
 * weights give the same bits on any number of threads.
 */
#ifndef ISO_MODEL_MODEL_H
#define ISO_MODEL_MODEL_H

#include "model/params.h"
#include "ops/ops.h"

/* What one layer keeps from forward for backward. Letters as shapes: tensor/dims.h. Narrow (ops.h)
 * are qkv, attended, gate_up, expert_gate_up. What norms and SwiGLU give is not kept: their
 * backward has it again (ops.h). */
typedef struct iso_layer_acts {
    void *rstd1, *qkv, *attended, *lse;       /* (T) (T,3H) (T,H) (B*A,S) */
    void *middle, *rstd2;                     /* (T,H) residual after attention, (T) */
    void *gate_up;                            /* dense: (T,2F); shared: (T,2Dse) */
    void *probs, *gate, *row_gate, *aux_grad; /* (T,E) (T,K) (R) (groups,E) */
    void *expert_gate_up;                     /* (R,2De) */
    void *out;                                /* (T,H) residual after the layer */
    iso_routing routing;
} iso_layer_acts;

/* Memory that all layers share: what norms and SwiGLU give, the gradient flow. Narrow are norm,
 * hidden, d_wide, d_hidden, and those from expert_hidden on. */
typedef struct iso_model_temps {
    void *norm, *hidden; /* (T,H) norm1, then norm2; (T,F) of the widest FFN, shared experts too */
    void *d_norm, *d_wide, *d_hidden; /* (T,H) (T,max) (T,max) */
    /* (T,H) the residual stream's gradient before and after the norm that adds to it: gradients of
     * weights still read the one when the other is written; now it is i_d. Where that is not narrow
     * there is one, and narrow copies before and after; else no copies. */
    void *d_stream[2], *d_copy[2];
    int i_d;
    void *logits, *d_row_gate;                /* (T,E) (R) */
    void *expert_hidden, *expert_out;         /* (R,De) (R,H) */
    void *d_expert_gate_up, *d_expert_hidden; /* (R,2De) (R,De) */
} iso_model_temps;

struct iso_model;
/* Brings the weights of a layer up to date if they are not, beside other operations: whether it has
 * begun to, and iso_exec_join is due. */
typedef bool (*iso_update_fn)(void *ctx, int64_t layer);
/* Told of each MoE layer of a forward as soon as it is done: its routing, probs and gate, and
 * temps.logits, are there until the next one. Looks, changes nothing. */
typedef void (*iso_routed_fn)(void *ctx, const struct iso_model *model, int64_t layer);

typedef struct iso_model {
    iso_shape shape;
    iso_exec *exec; /* borrowed */
    iso_params params;
    int64_t max_sequences; /* the largest micro-batch */
    bool trains;           /* gradients and all layers' activations are there */

    iso_arena weight_arena, grad_arena, act_arena;
    void *weights, *grads; /* (params.n_elements) */
    bool grads_are_set;    /* or the next micro-batch's take the place of what is there */
    double *grad_squares;  /* (L, ISO_FIELD_N): blocks.h, iso_model_grad_square */
    float *slopes;         /* (A), NULL with RoPE */
    void *embedded, *final_norm, *final_rstd; /* (T,H) (T,H) (T) */
    iso_layer_acts *layers; /* (L); without training all layers share the same buffers */
    iso_model_temps temps;
    double *group_loss;      /* (groups) */
    iso_routed_fn on_routed; /* NULL: nobody watches */
    void *on_routed_ctx;
    iso_update_fn begin_update; /* NULL: weights are what they are */
    void *begin_update_ctx;
} iso_model;

/* Bytes by purpose, as really allocated. */
typedef struct iso_model_memory {
    int64_t weights, gradients, activations, scratch;
} iso_model_memory;

/* Allocates everything for micro-batches of up to max_sequences, and starts the exec (which must
 * be fresh) with the scratch that a dry run of forward and backward has measured. Weights are zero:
 * initialise or load them. In a training model max_sequences is a multiple of router_aux_group if
 * there are experts. */
iso_status iso_model_create(iso_model **out, const iso_shape *shape, iso_exec *exec,
                            int64_t max_sequences, bool trains);
void iso_model_free(iso_model *model);
iso_model_memory iso_model_memory_used(const iso_model *model);

/* The same dry run alone, without allocating: what a micro-batch would take, and in
 * exec->counters the FLOPs of one forward and backward. The exec stays fresh. */
iso_status iso_model_plan(iso_model_memory *out, const iso_shape *shape, iso_exec *exec,
                          int64_t max_sequences, bool trains);

/* At the start of every step: the next micro-batch sets the gradients, and later ones add to them.
 */
void iso_model_reset_grads(iso_model *model);

/* Training on one micro-batch of B sequences: inputs and targets (B,S); nats (B*S) per token.
 * Adds to the gradients (see iso_model_reset_grads) those of sum(nats) * token_scale + coef *
 * aux_scale * (the balance losses of this micro-batch's groups, summed over groups and layers), and
 * returns that sum of balance losses in *aux_sum (0 for a dense model). For a batch of N tokens and
 * n groups, M MoE layers: token_scale = 1/N, aux_scale = 1/(n M). */
void iso_model_train(iso_model *model, const int32_t *inputs, const int32_t *targets, int64_t B,
                     double token_scale, double aux_scale, double *nats, double *aux_sum);

/* The sum of the squares of all gradients, as the last iso_model_train has left them. */
double iso_model_grad_squares(iso_model *model);

/* Scores without gradients: nats (B*S), 0 where a target is -1. */
void iso_model_score(iso_model *model, const int32_t *inputs, const int32_t *targets, int64_t B,
                     double *nats);

/* Has `fn` called in every forward from now on; NULL ends that. Not for training: what it costs is
 * no part of a step. */
void iso_model_watch_routing(iso_model *model, iso_routed_fn fn, void *ctx);

/* Has `fn` called in every forward, for each layer but the first one layer ahead: an optimizer's
 * way to update weights while those before them multiply. */
void iso_model_update_ahead(iso_model *model, iso_update_fn fn, void *ctx);

/* logits (n_rows,V) of the last forward's rows [first_row, first_row + n_rows). */
void iso_model_logits(iso_model *model, int64_t first_row, int64_t n_rows, void *logits);
/* Forward alone, for iso_model_logits. */
void iso_model_forward(iso_model *model, const int32_t *inputs, int64_t B);

#endif
