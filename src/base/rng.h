/* rng.h - counter-based random numbers: every draw is a pure function of (seed, stream, index).
 *
 * Random123's Philox 4x32-10 underneath. No state, so nothing to save in a checkpoint and nothing
 * that depends on the order or the thread that draws.
 */
#ifndef ISO_BASE_RNG_H
#define ISO_BASE_RNG_H

#include <stdint.h>

/* Streams keep uses apart: the same seed draws unrelated numbers in each. */
typedef enum iso_rng_stream {
    ISO_RNG_INIT = 1,   /* parameter initialisation */
    ISO_RNG_SUBSET = 2, /* the choice of the unique subset D-hat */
    ISO_RNG_EPOCH = 3,  /* the order within an epoch */
    ISO_RNG_EVAL = 4,   /* the evaluation sample */
    ISO_RNG_SAMPLE = 5, /* text generation */
    ISO_RNG_TEST = 6,   /* tests and benches */
    ISO_RNG_STATS = 7,  /* resampling in analysis */
} iso_rng_stream;

/* 64 random bits. `lane` is a second index (an epoch, a tensor's hash); 0 where there is none. */
uint64_t iso_rng_u64(uint64_t seed, iso_rng_stream stream, uint64_t lane, uint64_t index);
/* Uniform in [0, 1), 53 bits. */
double iso_rng_uniform(uint64_t seed, iso_rng_stream stream, uint64_t lane, uint64_t index);
/* Standard normal (Box-Muller in double). */
double iso_rng_normal(uint64_t seed, iso_rng_stream stream, uint64_t lane, uint64_t index);

/* Where `index` goes in a seeded permutation of 0..n-1: a Feistel network with cycle walking, O(1)
 * memory, so that the order of 1e9 sequences costs nothing to hold. 0 <= index < n <= 2^62. */
int64_t iso_rng_permute(uint64_t seed, iso_rng_stream stream, uint64_t lane, int64_t n,
                        int64_t index);

#endif
