#include "ops/peak.h"

#include "base/clock.h"

#include <immintrin.h>

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

typedef struct peak_job {
    float (*burn)(void);
    volatile float results[ISO_THREADS_MAX];
} peak_job;

static void burn_piece(void *ctx, int64_t i_piece, int i_thread) {
    peak_job *job = ctx;
    job->results[i_piece] = job->burn();
}

double iso_peak_flops(iso_pool *pool, iso_dtype dtype) {
    peak_job job = {.burn = burn_sse};
    int64_t width = 4, n_threads = iso_pool_n_threads(pool);
    if (dtype == ISO_BF16 && __builtin_cpu_supports("avx512bf16"))
        job.burn = burn_avx512bf16, width = 32;
    else if (__builtin_cpu_supports("avx512f"))
        job.burn = burn_avx512, width = 16;
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        job.burn = burn_avx2, width = 8;
    double best = 0, flops = (double)(2 * width * N_CHAINS * N_ROUNDS * n_threads);
    for (int i = 0; i < 5; i++) {
        double start = iso_clock_s();
        iso_pool_run(pool, n_threads, burn_piece, &job);
        double rate = flops / (iso_clock_s() - start);
        if (rate > best) best = rate;
    }
    return best;
}
