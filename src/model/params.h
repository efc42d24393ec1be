/* params.h - the parameter table: every weight of a model, from one static list of rows.
 *
 * Owns: names, shapes, order in memory, initialisation, which tensors decay. Does not own: the
 * memory itself (model.h), what the weights do (model.c).
 *
 * All parameters live in one flat array of elements; the gradient and the optimizer's moments have
 * the same layout, so an offset finds all four. Tensors that are multiplied together lie together:
 * q, k, v are one (3H,H) matrix, gate and up one (2F,H), the experts' one (E,2De,H) and (E,H,De).
 *
 * (I1) tensors that decay come first: [0, n_decay) decays, [n_decay, n_elements) does not;
 * (I2) every tensor of a layer starts on a cache line, but for the members of one fused matrix,
 *      which follow each other without a gap; the gaps hold zeros and stay zero.
 */
#ifndef ISO_MODEL_PARAMS_H
#define ISO_MODEL_PARAMS_H

#include "arch/count.h"
#include "arch/shape.h"
#include "tensor/tensor.h"

/* The rows of the table. */
typedef enum iso_field {
    ISO_FIELD_EMBED,
    ISO_FIELD_Q,
    ISO_FIELD_K,
    ISO_FIELD_V,
    ISO_FIELD_O,
    ISO_FIELD_GATE,
    ISO_FIELD_UP,
    ISO_FIELD_DOWN,
    ISO_FIELD_ROUTER,
    ISO_FIELD_EXPERT_GATE,
    ISO_FIELD_EXPERT_UP,
    ISO_FIELD_EXPERT_DOWN,
    ISO_FIELD_SHARED_GATE,
    ISO_FIELD_SHARED_UP,
    ISO_FIELD_SHARED_DOWN,
    ISO_FIELD_HEAD,
    ISO_FIELD_NORM1,
    ISO_FIELD_NORM2,
    ISO_FIELD_FINAL_NORM,
    ISO_FIELD_N,
} iso_field;

typedef enum iso_init {
    ISO_INIT_NORMAL,   /* N(0, initializer_range) */
    ISO_INIT_RESIDUAL, /* the same over sqrt(2L): outputs into the residual stream */
    ISO_INIT_ONE,
} iso_init;

#define ISO_PARAM_NAME_BYTES 96

/* One tensor as a checkpoint knows it. */
typedef struct iso_param {
    char name[ISO_PARAM_NAME_BYTES]; /* Hugging Face name */
    iso_field field;
    iso_component component;
    iso_init init;
    bool decays;
    int64_t layer;  /* -1: not in a layer */
    int64_t expert; /* -1: not an expert's */
    int64_t offset; /* in elements */
    int n_dims;
    int64_t dims[2];
} iso_param;

typedef struct iso_params {
    iso_shape shape;
    iso_param *items;
    int64_t n_items;
    int64_t n_decay, n_elements; /* (I1) */
    int64_t *offsets; /* (L+1, ISO_FIELD_N): first element of a field in a layer, row L: no layer */
} iso_params;

/* The shape must have passed iso_shape_check. */
iso_status iso_params_create(iso_params *out, const iso_shape *shape);
void iso_params_free(iso_params *params);

/* Fills `weights` (n_elements of `dtype`): a pure function of (seed, tensor name, element). */
void iso_params_init_weights(const iso_params *params, void *weights, iso_dtype dtype,
                             uint64_t seed);

/* Parameters by part, summed over the allocated tensors; with active_only a routed expert's count
 * K/E of the total. Exact. */
void iso_params_count(const iso_params *params, bool active_only,
                      int64_t by_component[ISO_N_COMPONENTS]);

/* First element of a field; layer -1 for those outside the layers. */
int64_t iso_params_offset(const iso_params *params, iso_field field, int64_t layer);

#endif
