/* dry_run.h - what a training step of a config takes and does, without doing it.
 *
 * Owns: putting together what the model's and the optimizer's own dry runs say, the ones that size
 * the trainer's arenas: the figures are those of the trainer by construction. Does not own: bytes
 * by arithmetic for other machines and precisions (arch/memory.h).
 *
 * Nothing of the model's size is allocated: a plan for 1e12 parameters takes a few megabytes (a row
 * for each tensor) and milliseconds.
 *
 * (I1) every figure is what iso_trainer_create allocates for the config on this machine, and what
 *      the op wrappers count in iso_trainer_step, to the last unit;
 * (I2) a config that iso_dry_run_check accepts breaks no assertion of the model or of the ops by
 * its size, here or in the trainer.
 */
#ifndef ISO_TRAIN_DRY_RUN_H
#define ISO_TRAIN_DRY_RUN_H

#include "model/model.h"
#include "train/config.h"

typedef struct iso_dry_run {
    iso_model_memory model;   /* bytes: weights, gradients, activations of a micro-batch, scratch */
    int64_t moments_bytes;    /* AdamW's two */
    int64_t sum_bytes;        /* of all the above */
    int64_t n_threads;        /* scratch depends on it */
    int64_t micro_batch_size; /* sequences; activations are for that many */
    int64_t n_micro_batches;  /* of an optimizer step */
    iso_counters
        step; /* FLOPs of an optimizer step, calls of its forwards and backwards; no times */
} iso_dry_run;

/* Whether sizes stay where 63 bits and the model's tables can follow: rows of routed tokens in 31
 * bits, FLOPs and bytes of a micro-batch in 63, at most 4 million tensors. `config` is resolved.
 * ISO_ERR_USAGE names the key to reduce. */
iso_status iso_dry_run_check(const iso_config *config);

/* `config` is resolved; backend and dtype as for iso_trainer_create. ISO_ERR_USAGE as in
 * iso_dry_run_check, or iso_count's. */
iso_status iso_dry_run_make(iso_dry_run *out, const iso_config *config, const char *backend,
                            iso_dtype dtype);

/* {"weights", "gradients", "moments", "activations", "scratch", "sum"}, in bytes: of a plan, or of
 * a trainer as the ledger has it. A new reference. */
json_t *iso_memory_to_json(const iso_model_memory *model, int64_t moments_bytes);

/* {"threads", "micro_batch_size", "micro_batches", "memory_bytes": as above, "step_flops":
 * {"model": {component: n}, "executed": n}}. A new reference. */
json_t *iso_dry_run_to_json(const iso_dry_run *run);

#endif
