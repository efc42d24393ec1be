/* trainer.h - one optimizer step: the numbers, without files, data or clocks.
 *
 * Owns: threads, exec, model, optimizer of one run, and how a batch becomes an update. Does not
 * own: where batches come from, when to evaluate or save (loop.h).
 *
 * (I1) the loss and the gradient of a batch do not depend on micro_batch_size, up to rounding;
 * (I2) a step that meets NaN or infinity changes no weight.
 */
#ifndef ISO_TRAIN_TRAINER_H
#define ISO_TRAIN_TRAINER_H

#include "safetensors/safetensors.h"
#include "train/config.h"
#include "train/optimizer.h"

typedef struct iso_trainer {
    iso_config config; /* resolved */
    iso_pool *pool;
    iso_exec exec;
    iso_model *model;
    iso_optimizer optimizer;     /* absent (zero) if not created for training */
    iso_counters train_counters; /* steps only: what the ledger reports */
    iso_counters other_counters; /* evaluation and generation */
    double *nats;                /* (micro_batch*S) */
    int64_t *expert_tokens;      /* (L,E) rows per expert in the last step */
    bool is_moe;
} iso_trainer;

typedef struct iso_step_result {
    double loss;      /* nats per token, cross-entropy only */
    double aux_loss;  /* balance loss before its coefficient, 1 = balanced; 0 if dense */
    double grad_norm; /* before clipping */
    double lr;
    double load_imbalance; /* worst layer's fullest expert over the mean */
    double router_entropy; /* of the load, mean over layers, 1 = uniform */
    int64_t dead_experts;  /* experts without a token, summed over layers */
} iso_step_result;

/* The type for iso_exec_create: `dtype`, or ISO_BF16 where train.precision asks for it instead of
 * ISO_F32. */
iso_dtype iso_train_dtype(const iso_config *config, iso_dtype dtype);

/* Whether this processor and its libraries can compute in train.precision; ISO_ERR_USAGE says what
 * is missing. */
iso_status iso_train_check_precision(const iso_config *config);

/* `config` is resolved; `backend` and dtype as in iso_train_dtype. With trains = false there are no
 * gradients and no optimizer, and micro-batches of max_sequences are for scoring only. Weights are
 * initialised from train.seed. */
iso_status iso_trainer_create(iso_trainer **out, const iso_config *config, const char *backend,
                              iso_dtype dtype, bool trains);
void iso_trainer_free(iso_trainer *trainer);

/* Step `step` (counted from 1) on one batch: inputs and targets (batch_size,S). ISO_ERR_NONFINITE
 * names the step and what was not finite; nothing was updated then. Of weights and moments a part
 * is updated by the next forward, or by iso_trainer_settle (optimizer.h). */
iso_status iso_trainer_step(iso_trainer *trainer, int64_t step, const int32_t *inputs,
                            const int32_t *targets, iso_step_result *result);
/* The same up to the gradients: no clipping, no update. */
void iso_trainer_gradients(iso_trainer *trainer, const int32_t *inputs, const int32_t *targets,
                           iso_step_result *result);

/* Brings weights and moments up to date: before anybody but a forward looks at them. */
void iso_trainer_settle(iso_trainer *trainer);

/* The model's tensors (Hugging Face names), and the optimizer's (exp_avg.NAME, exp_avg_sq.NAME), as
 * lists that point into the trainer's memory; iso_trainer_settle before they are read. The caller
 * frees each with iso_tensor_list_free. */
typedef struct iso_tensor_list {
    iso_safetensor *tensors;
    char *names; /* NULL, or the memory of made-up names */
    int64_t n;
} iso_tensor_list;
iso_status iso_trainer_model_tensors(const iso_trainer *trainer, iso_tensor_list *out);
iso_status iso_trainer_optimizer_tensors(const iso_trainer *trainer, iso_tensor_list *out);
void iso_tensor_list_free(iso_tensor_list *list);

#endif
