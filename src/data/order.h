/* order.h - which sequence comes when: a pure function of (seed, epoch, index); and what was seen.
 *
 * Sequence i of a stream is tokens [i*S, i*S + S] (S inputs and, one later, S targets). The unique
 * subset D-hat is a seeded choice of n_unique of the n_sequences; every epoch, the first included,
 * is its own seeded permutation of that subset. Position p of a run (p = step*B + b) falls in epoch
 * p / n_unique, whatever the batch size, so all sides of a comparison see the same order.
 *
 * (I1) in every window of positions [e*n_unique, (e+1)*n_unique) each sequence of the subset occurs
 *      exactly once; (I2) nothing here has state, so nothing is lost by a kill.
 */
#ifndef ISO_DATA_ORDER_H
#define ISO_DATA_ORDER_H

#include "base/status.h"
#include "data/dataset.h"

#include <stdint.h>

typedef struct iso_order {
    uint64_t seed;
    int64_t n_sequences; /* in the stream */
    int64_t n_unique;    /* in D-hat; 1 <= n_unique <= n_sequences */
} iso_order;

/* unique_tokens = 0 means all. Not a multiple of S: rounded down to whole sequences. ISO_ERR_DATA
 * if the stream is shorter than one sequence, ISO_ERR_USAGE if it has fewer than unique_tokens. */
iso_status iso_order_init(iso_order *out, const iso_split *split, int64_t S, int64_t unique_tokens,
                          uint64_t seed);
/* The sequence at position p. */
int64_t iso_order_at(const iso_order *order, int64_t position);
static inline int64_t iso_order_epoch(const iso_order *order, int64_t position) {
    return position / order->n_unique;
}

/* inputs and targets (n, S) of positions [first, first + n). */
void iso_order_fill(const iso_order *order, const iso_split *split, int64_t S, int64_t first,
                    int64_t n, int32_t *inputs, int32_t *targets);

/* What a run really consumed: a bit per sequence, and an order-independent 128-bit hash over
 * (sequence index, its S+1 tokens) of the sequences seen at least once (sum of XXH3 values). */
typedef struct iso_seen {
    int64_t n_sequences;
    int64_t n_seen;
    uint64_t hash[2];
    uint8_t *bits;               /* (n_sequences + 7) / 8 */
    struct XXH3_state_s *hasher; /* scratch, so that adding allocates nothing */
} iso_seen;
iso_status iso_seen_create(iso_seen *out, int64_t n_sequences);
void iso_seen_free(iso_seen *seen);
void iso_seen_add(iso_seen *seen, const iso_order *order, const iso_split *split, int64_t S,
                  int64_t first, int64_t n);
/* 32 hex digits and a NUL. */
void iso_seen_hex(const iso_seen *seen, char hex[33]);

#endif
