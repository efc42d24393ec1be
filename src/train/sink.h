/* sink.h - what a training run tells the world: one struct of callbacks.
 *
 * The loop emits facts; who keeps them (runs/run_folder.h), shows them (the command line's step
 * line) or drops them (tests) is none of its business. Every callback may be NULL. A callback that
 * fails stops the run with its status.
 *
 * Order of calls: on_begin once; then on_step for every step, after the step's update; on_eval and
 * on_router where an evaluation falls, after that step's on_step; on_checkpoint before each save;
 * on_summary at the start (state "running") and at the end, whatever the end is.
 */
#ifndef ISO_TRAIN_SINK_H
#define ISO_TRAIN_SINK_H

#include "base/json.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* One training step. */
typedef struct iso_step_row {
    int64_t step;   /* steps done, this one included: the first is 1 */
    int64_t tokens; /* consumed so far */
    int64_t epoch;
    double loss; /* nats per token, cross-entropy only */
    double grad_norm;
    double lr;
    double step_ms;
    double tokens_per_s;
    double mfu;
    bool is_moe;           /* the rest is there only then */
    double aux_loss;       /* balance loss before its coefficient; 1 = balanced */
    double load_imbalance; /* the fullest expert's tokens over the mean, worst layer */
    double router_entropy; /* mean over layers, 1 = uniform */
    int64_t dead_experts;  /* experts without a token in this step, summed over layers */
} iso_step_row;

/* One domain's score. */
typedef struct iso_score {
    const char *domain;
    double loss; /* nats per token */
    double bpb;  /* bits per byte */
    double bpc;  /* bits per Unicode code point */
} iso_score;

typedef struct iso_eval_row {
    int64_t step;
    bool is_final;
    int64_t n_scores;
    const iso_score *scores;
} iso_eval_row;

/* One MoE layer's router, over an evaluation. */
typedef struct iso_router_layer {
    int64_t layer;  /* counts from 0 over all layers */
    double entropy; /* 1 = uniform */
    int64_t n_experts;
    const double *load; /* (n_experts) share of the routed tokens, sums to 1 */
} iso_router_layer;

typedef struct iso_router_row {
    int64_t step;
    int64_t n_layers;
    const iso_router_layer *layers;
} iso_router_row;

/* The final evaluation window by window: what paired comparisons need. */
typedef struct iso_window_scores {
    const char *domain;
    int64_t n_windows;
    const int64_t *document; /* (n_windows) which document the window lies in */
    const double *nats;
    const int64_t *n_bytes;
    const int64_t *n_chars;
} iso_window_scores;

typedef struct iso_evaluation {
    int64_t step;
    const char *sample_hash;
    int64_t n_domains;
    const iso_window_scores *domains;
} iso_evaluation;

/* Where its tokens went: route_counts.h. */
typedef struct iso_route_counts iso_route_counts;

typedef struct iso_sink {
    void *ctx;
    /* The run goes on from `step` (0 = from the start): rows of later steps and of a final
     * evaluation are void. *n_replayed: how many steps are done again, now and at every resume
     * before. */
    iso_status (*on_begin)(void *ctx, int64_t step, int64_t *n_replayed);
    iso_status (*on_step)(void *ctx, const iso_step_row *row);
    iso_status (*on_eval)(void *ctx, const iso_eval_row *row);
    iso_status (*on_router)(void *ctx, const iso_router_row *row);
    /* A checkpoint of `step` is about to be saved: rows up to it must be durable. */
    iso_status (*on_checkpoint)(void *ctx, int64_t step);
    iso_status (*on_evaluation)(void *ctx, const iso_evaluation *evaluation);
    /* Of the same evaluation; MoE only. */
    iso_status (*on_routes)(void *ctx, int64_t step, const char *sample_hash,
                            const iso_route_counts *counts);
    /* The ledger as docs/formats.md, "summary.json", has it; borrowed. */
    iso_status (*on_summary)(void *ctx, const json_t *summary);
} iso_sink;

#endif
