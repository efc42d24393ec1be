/* The pool: every piece once (I1), one piece at a time per thread number (I2), on few and many
 * threads, job after job. */
#include "base/threads.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const int thread_counts[] = {1, 2, 3, 7};
enum { N_COUNTS = 4 };

typedef struct job {
    int *runs;                   /* (n_pieces) plain ints: the pool alone orders the accesses */
    int in_use[ISO_THREADS_MAX]; /* plain again: only one piece at a time has this number */
    int n_threads;
    atomic_int n_faults;
} job;

static void count_piece(void *ctx, int64_t i_piece, int i_thread) {
    job *j = ctx;
    if (i_thread < 0 || i_thread >= j->n_threads || j->in_use[i_thread]++ != 0)
        atomic_fetch_add(&j->n_faults, 1);
    j->runs[i_piece]++;
    j->in_use[i_thread]--;
}

static void each_piece_once(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 8, 100, 300000};
    for (int t = 0; t < N_COUNTS; t++) {
        iso_pool *pool;
        assert_int_equal(iso_pool_create(&pool, thread_counts[t]), ISO_OK);
        assert_int_equal(iso_pool_n_threads(pool), thread_counts[t]);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            job j = {.runs = calloc((size_t)sizes[s] + 1, sizeof(int)),
                     .n_threads = thread_counts[t]};
            iso_pool_run(pool, sizes[s], count_piece, &j);
            for (int64_t i = 0; i < sizes[s]; i++) assert_int_equal(j.runs[i], 1);
            assert_int_equal(j.runs[sizes[s]], 0);
            assert_int_equal(atomic_load(&j.n_faults), 0);
            free(j.runs);
        }
        iso_pool_free(pool);
    }
}

/* Jobs of changing size right after one another, each on its own stack frame: a worker that came
 * late and ran a piece of a job that is over would be seen here, and by the sanitizers. */
static int64_t sum_of_short_job(iso_pool *pool, int64_t n_pieces) {
    int runs[16] = {0};
    job j = {.runs = runs, .n_threads = iso_pool_n_threads(pool)};
    iso_pool_run(pool, n_pieces, count_piece, &j);
    int64_t sum = atomic_load(&j.n_faults) * 1000;
    for (int i = 0; i < 16; i++) sum += runs[i] == (i < n_pieces) ? runs[i] : 1000;
    return sum;
}

static void many_short_jobs(void **state) {
    (void)state;
    for (int t = 0; t < N_COUNTS; t++) {
        iso_pool *pool;
        assert_int_equal(iso_pool_create(&pool, thread_counts[t]), ISO_OK);
        for (int i = 0; i < 50000; i++)
            assert_int_equal(sum_of_short_job(pool, 1 + i % 16), 1 + i % 16);
        iso_pool_free(pool);
    }
}

/* After a pause the workers sleep: they must come back for the next job. */
static void sleepers_wake_up(void **state) {
    (void)state;
    iso_pool *pool;
    assert_int_equal(iso_pool_create(&pool, 3), ISO_OK);
    for (int i = 0; i < 30; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        assert_int_equal(sum_of_short_job(pool, 16), 16);
    }
    iso_pool_free(pool);
}

/* Two pieces that wait for each other end only if two threads really run at once. */
static void meet(void *ctx, int64_t i_piece, int i_thread) {
    (void)i_piece, (void)i_thread;
    atomic_int *n_here = ctx;
    atomic_fetch_add(n_here, 1);
    while (atomic_load(n_here) < 2) nanosleep(&(struct timespec){.tv_nsec = 10000}, NULL);
}

static void pieces_run_side_by_side(void **state) {
    (void)state;
    iso_pool *pool;
    assert_int_equal(iso_pool_create(&pool, 2), ISO_OK);
    for (int i = 0; i < 20; i++) {
        atomic_int n_here = 0;
        iso_pool_run(pool, 2, meet, &n_here);
        assert_int_equal(n_here, 2);
    }
    iso_pool_free(pool);
}

static void impossible_counts_are_refused(void **state) {
    (void)state;
    iso_pool *pool;
    assert_int_equal(iso_pool_create(&pool, 0), ISO_ERR_USAGE);
    assert_null(pool);
    assert_int_equal(iso_pool_create(&pool, ISO_THREADS_MAX + 1), ISO_ERR_USAGE);
    iso_pool_free(NULL);
    assert_true(iso_machine_n_threads() >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_piece_once),
        cmocka_unit_test(many_short_jobs),
        cmocka_unit_test(sleepers_wake_up),
        cmocka_unit_test(pieces_run_side_by_side),
        cmocka_unit_test(impossible_counts_are_refused),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
