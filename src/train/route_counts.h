/* route_counts.h - where the tokens of an evaluation went: counts by domain, layer, expert.
 *
 * Owns: counting, while the model scores. Does not own: the file of it (runs/route_file.h), what it
 * means (study/routing_measures.h).
 *
 * Counted is every position whose successor is scored, by the domain it lies in and the class of
 * the token it reads; padding is not. K experts are chosen at each.
 *
 * (I1) in every layer the load of a domain and class sums to its tokens x K, that of a domain's
 * blocks to its load, and its pairs to tokens x K (K - 1) / 2; (I2) all is the same on any number
 * of threads and for any number of sequences at a time: counts are whole numbers, sums of reals are
 * taken token by token in the sample's order; (I3) the model's numbers are read, never written.
 */
#ifndef ISO_TRAIN_ROUTE_COUNTS_H
#define ISO_TRAIN_ROUTE_COUNTS_H

#include "data/eval_sample.h"
#include "model/model.h"
#include "train/sink.h"

/* What a token is, by its first byte (a blank before a word is not looked at). */
typedef enum iso_token_class {
    ISO_TOKEN_SEPARATOR, /* and other special ids */
    ISO_TOKEN_BLANK,     /* space, tab */
    ISO_TOKEN_LINE_END,
    ISO_TOKEN_LOWER,
    ISO_TOKEN_UPPER,
    ISO_TOKEN_DIGIT,
    ISO_TOKEN_SIGN,  /* other ASCII */
    ISO_TOKEN_OTHER, /* beyond ASCII */
    ISO_N_TOKEN_CLASSES
} iso_token_class;

/* "separator", "blank", "line_end", ... */
const char *iso_token_class_name(iso_token_class class);

/* Pairs are counted up to this many experts; beyond, E^2 counts per domain and layer are too many.
 */
#define ISO_ROUTE_PAIRS_MAX_EXPERTS 256
/* Blocks of whole documents of the longest domain, at most: the units of noise. */
#define ISO_ROUTE_BLOCKS 64

struct iso_route_counts {
    int64_t n_domains, n_layers, E, K; /* n_layers: the MoE layers */
    char **domains;                    /* (n_domains) as named, the hold-out last if there is one */
    int64_t *layers;                   /* (n_layers) the model's index of each, from 0 */
    int64_t *tokens;                   /* (n_domains, ISO_N_TOKEN_CLASSES) */
    int64_t *load;                     /* (n_domains, n_layers, ISO_N_TOKEN_CLASSES, E) */
    double *gate_sum;                  /* (n_domains, n_layers, E) gates of the chosen */
    double *entropy_sum; /* (n_domains, n_layers) nats, of each token's softmax over experts */
    int64_t n_pairs;     /* E (E - 1) / 2, or 0: K = 1, or too many experts */
    int64_t *pairs;      /* (n_domains, n_layers, n_pairs): {0,1} {0,2} .. {0,E-1} {1,2} .. */
    int64_t n_blocks;
    int64_t *block_domain; /* (n_blocks) ascending */
    int64_t *block_load;   /* (n_blocks, n_layers, E) */
};

/* Zeroed counts of those sizes: n_domains, n_layers, E, K, n_blocks and n_pairs (0, or E (E-1)/2)
 * are read from `sizes`, which holds nothing else. Domain names are NULL. ISO_ERR_MEMORY, also for
 * sizes that no memory holds. */
iso_status iso_route_counts_create(iso_route_counts *out, const iso_route_counts *sizes);
void iso_route_counts_free(iso_route_counts *counts);

/* Where {a, b}, a < b, stands among a layer's pairs. */
int64_t iso_route_pair(int64_t E, int64_t a, int64_t b);

/* --- counting --- */
typedef struct iso_route_counter iso_route_counter;

/* For scoring these samples with a model of that shape, which has MoE layers. Documents are dealt
 * in turn to blocks; every domain's blocks hold about as many tokens, a mean document's at least,
 * 1/64 of the longest domain at least. */
iso_status iso_route_counter_create(iso_route_counter **out, const iso_shape *shape,
                                    const iso_eval_sample *samples, int64_t n_samples);
void iso_route_counter_free(iso_route_counter *counter);
const iso_route_counts *iso_route_counter_counts(const iso_route_counter *counter);

/* What is scored next: windows [first, first + n) of a sample, as iso_eval_sample_fill gave them;
 * inputs and targets (n,S) must stay until then. */
void iso_route_counter_aim(iso_route_counter *counter, int64_t i_sample, int64_t first, int64_t n,
                           const int32_t *inputs, const int32_t *targets);
/* An iso_routed_fn (model.h) whose ctx is the counter. */
void iso_route_counter_add(void *counter, const iso_model *model, int64_t layer);

#endif
