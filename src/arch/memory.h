/* memory.h - bytes that a shape needs, by arithmetic alone: training state, weights, KV cache.
 *
 * Owns: what follows from parameter counts and element sizes, on any machine and for models of any
 * size. Does not own: activations and scratch, nor the padding between tensors: what training here
 * really allocates is train/dry_run.h.
 *
 * Assumptions, all of them:
 *   - one copy: nothing sharded, replicated or offloaded;
 *   - fp32 training keeps weights, gradients and AdamW's two moments in 4 bytes each;
 *   - bf16 training keeps weights in 2 bytes, and in 4 each a master copy of the weights, the
 *     gradients (they accumulate over micro-batches) and the two moments: 18 bytes a parameter;
 *   - inference keeps every expert resident, whichever tokens come: that is why equal N is the fair
 *     comparison; tied embeddings are kept once;
 *   - attention is multi-head as in the paper: keys and values are H wide each, in every layer.
 *
 * (I1) every product is checked: ISO_ERR_USAGE where bytes leave int64.
 */
#ifndef ISO_ARCH_MEMORY_H
#define ISO_ARCH_MEMORY_H

#include "arch/count.h"

typedef enum iso_number_format {
    ISO_FORMAT_FP32,
    ISO_FORMAT_BF16,
    ISO_N_FORMATS,
} iso_number_format;

/* "fp32", "bf16". */
const char *iso_format_name(iso_number_format format);
/* Bytes of a stored weight: 4, 2. */
int64_t iso_format_bytes(iso_number_format format);

/* What AdamW training keeps for every parameter, in bytes; activations come on top. */
typedef struct iso_state_memory {
    int64_t weights, gradients;
    int64_t master_weights; /* 0 in fp32: the weights are their own master */
    int64_t moments;        /* both together */
    int64_t sum;
} iso_state_memory;
iso_status iso_memory_state(iso_state_memory *out, const iso_shape *shape,
                            iso_number_format format);

/* Bytes of the weights alone, all experts and the vocabulary included: resident at inference. */
iso_status iso_memory_weights(int64_t *out_bytes, const iso_shape *shape, iso_number_format format);

/* Bytes of keys and values: 2 H L elements for a token of context, times n_tokens of context of
 * each of n_sequences. n_tokens may exceed S (ALiBi and RoPE have no table of positions). */
iso_status iso_memory_kv_cache(int64_t *out_bytes, const iso_shape *shape, iso_number_format format,
                               int64_t n_tokens, int64_t n_sequences);

/* How many of E experts at least one of n_tokens tokens chooses, expected when every token takes K
 * different ones, all sets of K alike likely (a balanced router), and tokens choose independently:
 * E (1 - (1 - K/E)^n_tokens). Between K (one token) and E. */
double iso_memory_expected_experts(int64_t E, int64_t K, int64_t n_tokens);

/* Bytes of weights read from memory per token when n_tokens (>= 1) tokens, one of each of n_tokens
 * sequences, go through the model together, expected under a balanced router: of every MoE layer
 * the experts chosen by at least one of them (iso_memory_expected_experts), everything else once
 * (attention, dense FFNs, shared experts, routers, norms, head), and of an untied embedding one row
 * a token; all that divided by n_tokens. Weights stay in no cache from one pass to the next; the KV
 * cache is not in it. ISO_ERR_USAGE if the shape is impossible or n_tokens < 1. */
iso_status iso_memory_touched(double *out_bytes, const iso_shape *shape, iso_number_format format,
                              int64_t n_tokens);

#endif
