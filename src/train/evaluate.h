/* evaluate.h - cross-entropy, BPB and BPC on the validation domains.
 *
 * bits per byte = nats / (ln 2 x bytes), bits per character = nats / (ln 2 x code points), over the
 * raw text that the scored tokens stand for; separators are context, never scored. Which windows
 * are scored: data/eval_sample.h.
 */
#ifndef ISO_TRAIN_EVALUATE_H
#define ISO_TRAIN_EVALUATE_H

#include "data/eval_sample.h"
#include "train/route_counts.h"
#include "train/sink.h"
#include "train/trainer.h"

/* The samples of all domains of a dataset. */
typedef struct iso_eval_set {
    int64_t n_domains;
    iso_eval_sample *samples;
    char hash[ISO_SHA256_HEX_BYTES]; /* over the domains' names and samples */
} iso_eval_set;

/* About max_tokens scored tokens per domain (0 = all). The choice depends on nothing but the data
 * and S: every side of a comparison is scored on the same windows. */
iso_status iso_eval_set_create(iso_eval_set *out, const iso_dataset *dataset, int64_t S,
                               int64_t max_tokens);
void iso_eval_set_free(iso_eval_set *set);

typedef struct iso_domain_result {
    const char *name; /* borrowed from the dataset */
    double nats;
    int64_t n_tokens, n_bytes, n_chars;
    double loss, bpb, bpc;
    int64_t n_windows;
    int64_t *document; /* per window */
    double *window_nats;
    int64_t *window_bytes, *window_chars;
} iso_domain_result;

typedef struct iso_eval_result {
    int64_t n_domains;
    iso_domain_result *domains;
    double bpb, bpc; /* headline: mean over the named domains; the hold-out's where there is none */
    const iso_domain_result *holdout; /* NULL if there is none */
} iso_eval_result;

/* expert_load (L,E) becomes each MoE layer's shares of the routed tokens, of a trainer that can
 * train (one that only scores keeps no layer's routing); NULL: nobody asks.
 * `routes` (made for this set) takes where every scored token went; NULL: nobody asks. */
iso_status iso_evaluate(iso_trainer *trainer, const iso_eval_set *set, iso_eval_result *out,
                        double *expert_load, iso_route_counter *routes);
void iso_eval_result_free(iso_eval_result *result);

#endif
