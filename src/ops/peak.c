#include "ops/peak.h"

#include "base/arena.h"
#include "base/clock.h"

#include <immintrin.h>
#include <time.h>

#define N_CHAINS 12 /* enough independent chains to hide the latency of two units */
#define N_ROUNDS ((int64_t)1 << 16)

/* Each burn runs N_ROUNDS x N_CHAINS vector multiply-adds and returns something that depends on all
 * of them, so that none can be left out. */
__attribute__((target("avx512f"))) static float burn_avx512(void) {
    __m512 sums[N_CHAINS], x = _mm512_set1_ps(0.999999f), y = _mm512_set1_ps(1e-6f);
    for (int i = 0; i < N_CHAINS; i++) sums[i] = _mm512_set1_ps((float)i);
    for (int64_t round = 0; round < N_ROUNDS; round++)
        for (int i = 0; i < N_CHAINS; i++) sums[i] = _mm512_fmadd_ps(sums[i], x, y);
    for (int i = 1; i < N_CHAINS; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return _mm512_cvtss_f32(sums[0]);
}

__attribute__((target("avx2,fma"))) static float burn_avx2(void) {
    __m256 sums[N_CHAINS], x = _mm256_set1_ps(0.999999f), y = _mm256_set1_ps(1e-6f);
    for (int i = 0; i < N_CHAINS; i++) sums[i] = _mm256_set1_ps((float)i);
    for (int64_t round = 0; round < N_ROUNDS; round++)
        for (int i = 0; i < N_CHAINS; i++) sums[i] = _mm256_fmadd_ps(sums[i], x, y);
    for (int i = 1; i < N_CHAINS; i++) sums[0] = _mm256_add_ps(sums[0], sums[i]);
    return _mm256_cvtss_f32(sums[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static float burn_avx512bf16(void) {
    __m512 sums[N_CHAINS];
    __m512bh x = (__m512bh)_mm512_set1_epi32(0x00013f7f),
             y = (__m512bh)_mm512_set1_epi32(0x1000100);
    for (int i = 0; i < N_CHAINS; i++) sums[i] = _mm512_set1_ps((float)i);
    for (int64_t round = 0; round < N_ROUNDS; round++)
        for (int i = 0; i < N_CHAINS; i++) sums[i] = _mm512_dpbf16_ps(sums[i], x, y);
    for (int i = 1; i < N_CHAINS; i++) sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return _mm512_cvtss_f32(sums[0]);
}

static float burn_sse(void) {
    __m128 sums[N_CHAINS], x = _mm_set1_ps(0.999999f), y = _mm_set1_ps(1e-6f);
    for (int i = 0; i < N_CHAINS; i++) sums[i] = _mm_set1_ps((float)i);
    for (int64_t round = 0; round < N_ROUNDS; round++)
        for (int i = 0; i < N_CHAINS; i++) sums[i] = _mm_add_ps(_mm_mul_ps(sums[i], x), y);
    for (int i = 1; i < N_CHAINS; i++) sums[0] = _mm_add_ps(sums[0], sums[i]);
    return _mm_cvtss_f32(sums[0]);
}

#define PIECES_PER_THREAD 48 /* of 0.1 ms each with AVX-512 */
#define N_BURSTS          12

typedef struct peak_job {
    float (*burn)(void);
    volatile float results[ISO_THREADS_MAX];
} peak_job;

static void burn_piece(void *ctx, int64_t i_piece, int i_thread) {
    peak_job *job = ctx;
    (void)i_piece;
    job->results[i_thread] = job->burn();
}

static double pool_clock_s(iso_pool *pool) {
    struct timespec t;
    if (iso_pool_n_threads(pool) > 1) return iso_clock_s();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double iso_peak_burst(iso_pool *pool, iso_dtype dtype) {
    peak_job job = {.burn = burn_sse};
    int64_t width = 4, n_threads = iso_pool_n_threads(pool);
    int64_t n_pieces = n_threads * PIECES_PER_THREAD;
    if (dtype == ISO_BF16 && __builtin_cpu_supports("avx512bf16"))
        job.burn = burn_avx512bf16, width = 32;
    else if (__builtin_cpu_supports("avx512f"))
        job.burn = burn_avx512, width = 16;
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        job.burn = burn_avx2, width = 8;
    iso_pool_run(pool, 2 * n_threads, burn_piece, &job); /* sleepers wake, clocks rise */
    double start = pool_clock_s(pool);
    iso_pool_run(pool, n_pieces, burn_piece, &job);
    return (double)(2 * width * N_CHAINS * N_ROUNDS * n_pieces) / (pool_clock_s(pool) - start);
}

double iso_peak_flops(iso_pool *pool, iso_dtype dtype) {
    double best = 0;
    for (int i = 0; i < N_BURSTS; i++) {
        double rate = iso_peak_burst(pool, dtype);
        if (rate > best) best = rate;
    }
    return best;
}

/* Three arrays, far larger than any cache a core has to itself, in blocks of a quarter MiB. */
#define ARRAY_FLOATS ((int64_t)1 << 24)
#define BLOCK_FLOATS ((int64_t)1 << 16)
#define N_BLOCKS     (ARRAY_FLOATS / BLOCK_FLOATS)
#define N_PASSES     5

typedef struct stream_job {
    float *arrays[3];
    volatile float results[ISO_THREADS_MAX];
} stream_job;

static void touch_piece(void *ctx, int64_t i_piece, int i_thread) {
    stream_job *job = ctx;
    (void)i_thread;
    for (int a = 0; a < 3; a++)
        for (int64_t i = 0; i < BLOCK_FLOATS; i++) job->arrays[a][i_piece * BLOCK_FLOATS + i] = 1;
}

/* 16 bytes at a time from four places are more than memory can follow, with any vectors. */
static void read_piece(void *ctx, int64_t i_piece, int i_thread) {
    stream_job *job = ctx;
    __m128 sums[4] = {_mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps(), _mm_setzero_ps()};
    for (int a = 0; a < 3; a++) {
        const float *p = job->arrays[a] + i_piece * BLOCK_FLOATS;
        for (int64_t i = 0; i < BLOCK_FLOATS; i += 16)
            for (int j = 0; j < 4; j++) sums[j] = _mm_add_ps(sums[j], _mm_load_ps(p + i + 4 * j));
    }
    sums[0] = _mm_add_ps(_mm_add_ps(sums[0], sums[1]), _mm_add_ps(sums[2], sums[3]));
    job->results[i_thread] = _mm_cvtss_f32(sums[0]);
}

/* into = a + s b, a block. */
static void add_scaled(float *into, const float *a, const float *b) {
    for (int64_t i = 0; i < BLOCK_FLOATS; i += 4)
        _mm_store_ps(into + i, _mm_add_ps(_mm_load_ps(a + i),
                                          _mm_mul_ps(_mm_set1_ps(0.5f), _mm_load_ps(b + i))));
}

static void triad_piece(void *ctx, int64_t i_piece, int i_thread) {
    const stream_job *job = ctx;
    int64_t first = i_piece * BLOCK_FLOATS;
    (void)i_thread;
    add_scaled(job->arrays[0] + first, job->arrays[1] + first, job->arrays[2] + first);
}

static void update_piece(void *ctx, int64_t i_piece, int i_thread) {
    const stream_job *job = ctx;
    int64_t first = i_piece * BLOCK_FLOATS;
    (void)i_thread;
    add_scaled(job->arrays[0] + first, job->arrays[0] + first, job->arrays[1] + first);
}

static double stream_rate(iso_pool *pool, stream_job *job, iso_piece_fn piece) {
    double best = 0;
    for (int i = 0; i < N_PASSES; i++) {
        double start = pool_clock_s(pool);
        iso_pool_run(pool, N_BLOCKS, piece, job);
        double rate = (double)(3 * ARRAY_FLOATS) * sizeof(float) / (pool_clock_s(pool) - start);
        if (rate > best) best = rate;
    }
    return best;
}

iso_status iso_peak_bandwidth(iso_bandwidth *out, iso_pool *pool) {
    iso_arena arena;
    stream_job job;
    ISO_TRY(iso_arena_create(&arena, 3 * ARRAY_FLOATS * (int64_t)sizeof(float)));
    for (int a = 0; a < 3; a++) job.arrays[a] = iso_arena_take(&arena, ARRAY_FLOATS, sizeof(float));
    iso_pool_run(pool, N_BLOCKS, touch_piece, &job);
    out->read = stream_rate(pool, &job, read_piece);
    out->triad = stream_rate(pool, &job, triad_piece);
    out->update = stream_rate(pool, &job, update_piece);
    iso_arena_release(&arena);
    return ISO_OK;
}
