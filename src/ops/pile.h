/* pile.h - gradients of weights that are done together (ops.h, iso_exec_pile), from inside: for
 * kernels.
 *
 * Owns: the order of their pieces, the memory that these pack into. Does not own: what a piece
 * does.
 *
 * Why: the gradient of a weight is cut into few pieces, as each reads all of x, so at its end one
 * thread waits for the other: a tenth of the time on two threads. In a pile what the next one packs
 * fills that end, and the many small pieces of experts come last.
 *
 * A kernel describes itself as a stage: pieces that pack, pieces that multiply what is packed, both
 * perhaps in rounds, since packing all at once would leave the cache; something to do when all is
 * done. Outside a pile its stage runs at once.
 *
 * (I1) what a dry run takes of scratch is enough for fewer tokens, too: a pile is never cut.
 */
#ifndef ISO_OPS_PILE_H
#define ISO_OPS_PILE_H

#include "ops/ops.h"

#define ISO_PILE_STAGES 8
#define ISO_STAGE_BYTES 320

/* One piece of a stage. */
typedef struct iso_turn {
    int64_t i_round, i_piece;
    float *packed; /* packed_bytes: of the round */
    void *scratch; /* thread_bytes: of the thread, for this piece */
} iso_turn;

typedef void (*iso_turn_fn)(const void *job, const iso_turn *turn);

typedef struct iso_stage {
    iso_turn_fn pack; /* NULL: nothing is packed for others; then n_rounds is 1 */
    iso_turn_fn multiply;
    void (*after)(const void *job); /* on one thread, when the pile is done; NULL: nothing */
    int64_t n_rounds;
    int64_t n_pack, n_multiply; /* pieces in each round */
    int64_t packed_bytes, thread_bytes;
    iso_op op; /* the wrapper's */
    _Alignas(ISO_ALIGN_BYTES) char job[ISO_STAGE_BYTES];
} iso_stage;

/* What is done in one region: a stage's pieces of one kind, of one round. */
typedef struct iso_share {
    int i_stage;
    iso_turn_fn fn;
    int64_t i_round, first, n; /* pieces [first, first + n) of the region */
    float *packed;
} iso_share;

struct iso_pile {
    bool is_open;
    int n_stages;
    int64_t mark; /* where their scratch starts */
    iso_stage stages[ISO_PILE_STAGES];
    iso_op_time times[ISO_PILE_STAGES]; /* of all threads */
    char *scratch;
    int64_t thread_bytes;
    /* The region that runs. */
    int n_shares;
    iso_share shares[ISO_PILE_STAGES]; /* most: one that multiplies, all that pack nothing */
};

/* Before a kernel takes scratch for its stage, in dry runs too; it is given back when the pile has
 * run. */
void iso_stage_begin(iso_exec *exec);
/* Runs the stage, or adds it to the pile that is open. `job` is copied. */
void iso_stage_add(iso_exec *exec, const iso_stage *stage, const void *job, size_t job_bytes);
/* Runs what is there and closes the pile. */
void iso_pile_flush(iso_exec *exec);

#endif
