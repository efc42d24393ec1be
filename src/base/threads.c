/* A job is a few hundred microseconds cut into pieces, thousands of times a second, so publishing
 * one must cost less than a piece and nobody may wait for a thread that has nothing to do.
 *
 * One 64-bit ticket holds {job number, next piece}. A thread claims a piece by compare-and-swap on
 * the ticket, which fails if the job has changed since it was read: so a worker that wakes up late,
 * or not at all, never has to check in, and more threads than processors cost little. The caller
 * waits for pieces, not for workers.
 *
 * (I1) job fields change only while the ticket is closed (next piece = CLOSED): a claim made from
 *      fields of another job fails, because its ticket has passed the closed one;
 * (I2) a worker goes to sleep in the order "count myself as sleeping, look for work, sleep"; the
 * caller publishes in the order "open the ticket, look for sleepers, wake". All four are
 * sequentially consistent, so one of the two sees the other and no wake-up is lost; (I3) everything
 * is atomic or ordered by an atomic: ThreadSanitizer sees it all.
 *
 * Waiting: a short spin, because the next job usually comes within microseconds and a sleeper needs
 * 50 of them and more to come back (docs/decisions/0019), then a futex, because the processor may
 * belong to someone else (on a shared machine one busy neighbour made a step 3.4 times slower with
 * pure spinning, 1.9 with sleeping). With more threads than processors spinning would only keep the
 * others from running: none then.
 */
#include "base/threads.h"

#include "base/clock.h"
#include "base/str.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CACHE_LINE 64
#define CLOSED     UINT32_MAX
#define SPIN_NS    150000

typedef struct worker {
    iso_pool *pool;
    pthread_t thread;
    int i_thread;
} worker;

struct iso_pool {
    /* Read-mostly: the job, written by the caller under a closed ticket. */
    _Atomic(iso_piece_fn) fn;
    _Atomic(void *) ctx;
    _Atomic(uint32_t) n_pieces;
    int n_threads;
    int n_started; /* workers that exist: fewer than n_threads - 1 only while creating fails */
    bool spins;
    worker *workers;
    atomic_bool is_running; /* catches nested and concurrent use */
    atomic_bool is_stopping;
    /* Each on its own line: they are written by different threads. */
    _Alignas(CACHE_LINE) _Atomic(uint64_t) ticket; /* job number << 32 | next piece */
    _Alignas(CACHE_LINE) _Atomic(uint32_t) n_done; /* pieces of this job that have run */
    atomic_bool caller_sleeps;
    _Alignas(CACHE_LINE) _Atomic(uint32_t) n_sleeping;
    _Atomic(uint32_t) n_wakes; /* what sleeping workers wait on: changes with every wake-up */
};

static void futex_wait(_Atomic(uint32_t) *word, uint32_t expected) {
    /* A signal or a changed word returns early: every caller looks again. */
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic(uint32_t) *word, int n_threads) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n_threads, NULL, NULL, 0);
}

static void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Spins until is_done(pool) or the time is up; whether it is done. */
static bool spin_until(iso_pool *pool, bool (*is_done)(iso_pool *)) {
    if (is_done(pool)) return true;
    if (!pool->spins) return false;
    int64_t end_ns = iso_clock_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 16; i++) {
            cpu_pause();
            if (is_done(pool)) return true;
        }
    } while (iso_clock_ns() < end_ns);
    return false;
}

static bool has_work(iso_pool *pool) {
    uint64_t ticket = atomic_load(&pool->ticket);
    return (uint32_t)ticket < atomic_load(&pool->n_pieces) || atomic_load(&pool->is_stopping);
}

static bool all_done(iso_pool *pool) {
    return atomic_load(&pool->n_done) == atomic_load(&pool->n_pieces);
}

/* Claims and runs pieces of the current job until none is left to claim. */
static void run_pieces(iso_pool *pool, int i_thread) {
    for (;;) {
        uint64_t ticket = atomic_load(&pool->ticket);
        /* Perhaps another job's fields already; then the exchange fails (I1). */
        iso_piece_fn fn = atomic_load(&pool->fn);
        void *ctx = atomic_load(&pool->ctx);
        uint32_t n_pieces = atomic_load(&pool->n_pieces);
        uint32_t i_piece = (uint32_t)ticket;
        if (i_piece >= n_pieces) return;
        if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket + 1)) continue;
        fn(ctx, i_piece, i_thread);
        if (atomic_fetch_add(&pool->n_done, 1) + 1 == n_pieces && atomic_load(&pool->caller_sleeps))
            futex_wake(&pool->n_done, 1);
    }
}

static void wait_for_work(iso_pool *pool) {
    if (spin_until(pool, has_work)) return;
    uint32_t n_wakes = atomic_load(&pool->n_wakes);
    atomic_fetch_add(&pool->n_sleeping, 1);
    if (!has_work(pool)) futex_wait(&pool->n_wakes, n_wakes);
    atomic_fetch_sub(&pool->n_sleeping, 1);
}

static void wake_workers(iso_pool *pool, int n_useful) {
    if (atomic_load(&pool->n_sleeping) == 0) return;
    atomic_fetch_add(&pool->n_wakes, 1);
    futex_wake(&pool->n_wakes, n_useful);
}

static void *work(void *arg) {
    worker *self = arg;
    iso_pool *pool = self->pool;
    while (!atomic_load(&pool->is_stopping)) {
        run_pieces(pool, self->i_thread);
        wait_for_work(pool);
    }
    return NULL;
}

/* Signals are for the thread that waits for them: workers start with all of them blocked. */
static int start_workers(iso_pool *pool) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = 0;
    for (int i = 1; i < pool->n_threads && err == 0; i++) {
        worker *self = &pool->workers[i - 1];
        *self = (worker){.pool = pool, .i_thread = i};
        err = pthread_create(&self->thread, NULL, work, self);
        if (err == 0) pool->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

iso_status iso_pool_create(iso_pool **out, int n_threads) {
    *out = NULL;
    if (n_threads < 1 || n_threads > ISO_THREADS_MAX)
        return iso_fail(ISO_ERR_USAGE, "threads: %d is out of range; give 1 to %d", n_threads,
                        ISO_THREADS_MAX);
    iso_pool *pool = aligned_alloc(CACHE_LINE, sizeof *pool);
    worker *workers = calloc((size_t)n_threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return iso_fail(ISO_ERR_MEMORY, "no memory for a pool of %d threads", n_threads);
    }
    memset(pool, 0, sizeof *pool);
    pool->n_threads = n_threads;
    pool->spins = n_threads <= iso_machine_n_threads();
    pool->workers = workers;
    atomic_store(&pool->ticket, CLOSED);
    int err = start_workers(pool);
    if (err != 0) {
        iso_pool_free(pool);
        return iso_fail_errno(ISO_ERR_FAILED, err, "cannot start %d threads", n_threads);
    }
    *out = pool;
    return ISO_OK;
}

void iso_pool_free(iso_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->is_stopping, true);
    wake_workers(pool, INT_MAX);
    for (int i = 0; i < pool->n_started; i++) pthread_join(pool->workers[i].thread, NULL);
    free(pool->workers);
    free(pool);
}

int iso_pool_n_threads(const iso_pool *pool) {
    return pool->n_threads;
}

static void publish(iso_pool *pool, uint32_t n_pieces, iso_piece_fn fn, void *ctx) {
    /* 2^32 jobs until a number comes back: a thread would have to be suspended for exactly as many
     * in the few instructions between reading the ticket and exchanging it. */
    uint64_t number = (atomic_load(&pool->ticket) >> 32) + 1;
    atomic_store(&pool->ticket, number << 32 | CLOSED);
    atomic_store(&pool->fn, fn);
    atomic_store(&pool->ctx, ctx);
    atomic_store(&pool->n_done, 0);
    atomic_store(&pool->n_pieces, n_pieces);
    atomic_store(&pool->ticket, number << 32);
    int n_others = pool->n_threads - 1;
    wake_workers(pool, (int64_t)n_pieces - 1 < n_others ? (int)n_pieces - 1 : n_others);
}

static void wait_for_pieces(iso_pool *pool) {
    while (!spin_until(pool, all_done)) {
        atomic_store(&pool->caller_sleeps, true);
        uint32_t n_done = atomic_load(&pool->n_done);
        if (n_done != atomic_load(&pool->n_pieces)) futex_wait(&pool->n_done, n_done);
        atomic_store(&pool->caller_sleeps, false);
    }
}

void iso_pool_run(iso_pool *pool, int64_t n_pieces, iso_piece_fn fn, void *ctx) {
    ISO_ASSERT(n_pieces >= 0 && n_pieces < CLOSED);
    ISO_ASSERT(!atomic_exchange(&pool->is_running, true));
    if (pool->n_threads == 1 || n_pieces <= 1) {
        for (int64_t i = 0; i < n_pieces; i++) fn(ctx, i, 0);
    } else {
        publish(pool, (uint32_t)n_pieces, fn, ctx);
        run_pieces(pool, 0);
        wait_for_pieces(pool);
    }
    atomic_store(&pool->is_running, false);
}

int iso_machine_n_threads(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN); /* more than CPU_SETSIZE processors */
    return n > 0 && n < INT_MAX ? (int)n : 1;
}

char *iso_machine_processor(void) {
    char line[512], name[256] = "unknown processor";
    FILE *info = fopen("/proc/cpuinfo", "re");
    while (info && fgets(line, sizeof line, info))
        if (sscanf(line, "model name : %255[^\n]", name) == 1) break;
    if (info) fclose(info);
    return iso_strf("%s", name);
}
