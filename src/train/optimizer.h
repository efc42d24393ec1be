/* optimizer.h - AdamW over a model's flat parameters, and the global gradient norm.
 *
 * Decoupled weight decay on matrices only (params.h, I1: they come first), bias-corrected moments,
 * clipping by the norm over all gradients: scale = clip / norm where norm > clip.
 *
 * An update costs what memory costs, and a forward hardly needs memory: so matrices of all layers
 * but the first are left for the model's next forward, which updates each beside the layer before
 * it (model.h, iso_model_update_ahead), or for iso_optimizer_finish, whichever comes first.
 */
#ifndef ISO_TRAIN_OPTIMIZER_H
#define ISO_TRAIN_OPTIMIZER_H

#include "model/model.h"
#include "train/config.h"

typedef struct iso_optimizer {
    iso_model *model; /* borrowed */
    iso_arena arena;
    void *exp_avg, *exp_avg_sq; /* (params.n_elements) each */
    iso_adamw late;             /* the last step's update, which matrices of the layers */
    int64_t first_late;         /* from this one on still wait for; L: of none */
} iso_optimizer;

iso_status iso_optimizer_create(iso_optimizer *out, iso_model *model);
/* The bytes of the moments that iso_optimizer_create allocates for a model of n_elements
 * (iso_params), without allocating. */
int64_t iso_optimizer_plan(int64_t n_elements, iso_dtype dtype);
void iso_optimizer_release(iso_optimizer *optimizer);

/* The norm over all gradients; not finite if any of them is not. */
double iso_optimizer_grad_norm(iso_optimizer *optimizer);
/* Update number `step` (counted from 1) with the gradients as they are: they must stay until it is
 * finished. */
void iso_optimizer_step(iso_optimizer *optimizer, const iso_train_config *train, int64_t step,
                        double lr, double grad_norm);
/* Does what is left of it: before anybody but a forward looks at weights or moments. */
void iso_optimizer_finish(iso_optimizer *optimizer);

#endif
