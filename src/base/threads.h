/* threads.h - a small pthread pool that runs numbered pieces.
 *
 * The pieces of a job never depend on the number of threads: a job says how many pieces it has,
 * each piece writes what no other piece writes, and reductions over pieces are done afterwards in
 * piece order. So the bits of a result are the same on 1, 2 or 16 threads (house rule 20).
 *
 * (I1) iso_pool_run returns after every piece has run exactly once, and the caller sees their
 * writes; (I2) i_thread is in [0, n_threads) and no two pieces run at once under the same i_thread,
 * so it may index per-thread scratch - whose contents must never reach a result across pieces.
 */
#ifndef ISO_BASE_THREADS_H
#define ISO_BASE_THREADS_H

#include "base/status.h"

#include <stdint.h>

typedef struct iso_pool iso_pool;

typedef void (*iso_piece_fn)(void *ctx, int64_t i_piece, int i_thread);

#define ISO_THREADS_MAX 256

/* n_threads in [1, ISO_THREADS_MAX]; the caller's thread is number 0 and works too. */
iso_status iso_pool_create(iso_pool **out, int n_threads);
void iso_pool_free(iso_pool *pool);
int iso_pool_n_threads(const iso_pool *pool);

/* Runs fn(ctx, 0..n_pieces-1). Only one thread may call it on a given pool at a time. */
void iso_pool_run(iso_pool *pool, int64_t n_pieces, iso_piece_fn fn, void *ctx);

/* How many processors this process may use. */
int iso_machine_n_threads(void);

/* The processor's name as /proc/cpuinfo has it, "unknown processor" where it has none; the caller
 * frees it. */
char *iso_machine_processor(void);

#endif
