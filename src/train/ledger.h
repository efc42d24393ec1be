/* ledger.h - what a run did, as summary.json has it (docs/formats.md).
 *
 * Counted, not planned: parameters from the allocated tensors, FLOPs from the op wrappers, unique
 * tokens from the sequences really seen. Owns the record's making; reading and judging it is the
 * audit's (runs/).
 */
#ifndef ISO_TRAIN_LEDGER_H
#define ISO_TRAIN_LEDGER_H

#include "data/order.h"
#include "train/evaluate.h"
#include "train/trainer.h"

typedef enum iso_run_state {
    ISO_RUN_RUNNING,
    ISO_RUN_FINISHED,
    ISO_RUN_PREEMPTED,
    ISO_RUN_FAILED,
    ISO_RUN_DIVERGED, /* a loss or gradient was not finite: it would be again */
} iso_run_state;

/* Everything that the ledger is made of; all borrowed. */
typedef struct iso_ledger_facts {
    const char *name;
    iso_run_state state;
    const iso_trainer *trainer;
    const iso_dataset *dataset;
    const iso_order *order;
    const iso_seen *seen;
    int64_t step;                        /* done */
    int64_t replayed_steps;              /* done again after a kill: waste, not in C */
    double train_s;                      /* time in training steps */
    double wall_s;                       /* and everything else */
    double peak_flops;                   /* measured fp32 peak on the threads used */
    uint64_t batch_hash;                 /* running, over all batches in order */
    const iso_eval_set *eval_set;        /* of the final evaluation */
    const iso_eval_result *final_result; /* NULL before it */
    const double *expert_load;           /* (L,E) shares over the final evaluation, NULL before */
} iso_ledger_facts;

/* A new reference, or NULL if memory is short. */
json_t *iso_ledger_json(const iso_ledger_facts *facts);

/* {"backend", "precision", "isa", "gemm"}: what decides the bits besides config and data. */
json_t *iso_numeric_profile(const iso_trainer *trainer);

/* A non-negative 128-bit count as JSON: an integer, or a decimal string beyond 2^63 - 1; and back.
 */
json_t *iso_json_from_i128(__int128 value);
bool iso_json_to_i128(__int128 *out, const json_t *value);

/* Entropy of shares (n) over log n: 1 = uniform. */
double iso_load_entropy(const double *shares, int64_t n);

#endif
