/* vec.h - one register full of floats, in GCC vector extensions.
 *
 * The same source is compiled once per instruction set; a vec has the width of its registers: 16
 * floats with AVX-512, 8 with AVX2, 4 with SSE. (Wider vectors are legal, but GCC takes them apart
 * through memory.) Users know VEC_LANES, a power of two, and nothing else of it. Every function is
 * inlined, so that no vector crosses a call between objects compiled for different instruction
 * sets.
 */
#ifndef ISO_OPS_CPU_VEC_H
#define ISO_OPS_CPU_VEC_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define VEC_LANES 16
#elif defined(__AVX2__)
#define VEC_LANES 8
#else
#define VEC_LANES 4
#endif
#define VEC_BYTES  (4 * VEC_LANES)
#define VEC_INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(VEC_BYTES)));
typedef int32_t vec_int __attribute__((vector_size(VEC_BYTES)));
typedef float vec_unaligned __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));

VEC_INLINE vec vec_set(float x) {
    return x - (vec){0};
}

VEC_INLINE vec vec_load(const float *p) {
    return *(const vec_unaligned *)p;
}

VEC_INLINE void vec_store(float *p, vec v) {
    *(vec_unaligned *)p = v;
}

VEC_INLINE vec_int vec_lane_numbers(void) {
#if VEC_LANES == 16
    return (vec_int){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif VEC_LANES == 8
    return (vec_int){0, 1, 2, 3, 4, 5, 6, 7};
#else
    return (vec_int){0, 1, 2, 3};
#endif
}

/* The first n lanes (0 to VEC_LANES), the others 0. */
VEC_INLINE vec vec_load_part(const float *p, int64_t n) {
#if VEC_LANES == 16
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif VEC_LANES == 8
    return (vec)_mm256_maskload_ps(p, (__m256i)(vec_lane_numbers() < (int32_t)n));
#else
    vec v = {0};
    for (int64_t i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

VEC_INLINE void vec_store_part(float *p, vec v, int64_t n) {
#if VEC_LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif VEC_LANES == 8
    _mm256_maskstore_ps(p, (__m256i)(vec_lane_numbers() < (int32_t)n), (__m256)v);
#else
    for (int64_t i = 0; i < n; i++) p[i] = v[i];
#endif
}

/* min(n, VEC_LANES) lanes: the last, perhaps partial, vector of a row. */
VEC_INLINE vec vec_load_upto(const float *p, int64_t n) {
    return n >= VEC_LANES ? vec_load(p) : vec_load_part(p, n);
}

VEC_INLINE void vec_store_upto(float *p, vec v, int64_t n) {
    if (n >= VEC_LANES)
        vec_store(p, v);
    else
        vec_store_part(p, v, n);
}

/* mask ? a : b, mask as comparisons give it: all bits of a lane or none. */
VEC_INLINE vec vec_select(vec_int mask, vec a, vec b) {
    return (vec)((mask & (vec_int)a) | (~mask & (vec_int)b));
}

/* v in the first n lanes (n >= 0), `other` in the rest. */
VEC_INLINE vec vec_keep(vec v, int64_t n, vec other) {
#if VEC_LANES == 16
    __mmask16 mask = n >= VEC_LANES ? 0xffff : (__mmask16)((1u << n) - 1);
    return (vec)_mm512_mask_blend_ps(mask, (__m512)other, (__m512)v);
#else
    return vec_select(vec_lane_numbers() < (int32_t)n, v, other);
#endif
}

/* The larger and the smaller; b where one is NaN. */
VEC_INLINE vec vec_max(vec a, vec b) {
#if VEC_LANES == 16
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif VEC_LANES == 8
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#endif
}

VEC_INLINE vec vec_min(vec a, vec b) {
#if VEC_LANES == 16
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif VEC_LANES == 8
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return (vec)_mm_min_ps((__m128)a, (__m128)b);
#endif
}

/* Whether any lane of a is larger than b's. */
VEC_INLINE bool vec_any_above(vec a, vec b) {
#if VEC_LANES == 16
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ) != 0;
#elif VEC_LANES == 8
    return _mm256_movemask_ps((__m256)(a > b)) != 0;
#else
    return _mm_movemask_ps((__m128)(a > b)) != 0;
#endif
}

/* v with lanes i and i ^ 8 exchanged, i ^ 4, i ^ 2, i ^ 1; and the zips: a0 b0 a1 b1 ... of the
 * first halves, of the second halves. */
#if VEC_LANES == 16
VEC_INLINE vec vec_swap_8(vec v) {
    return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
}
VEC_INLINE vec vec_swap_4(vec v) {
    return __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
}
VEC_INLINE vec vec_swap_2(vec v) {
    return __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
}
VEC_INLINE vec vec_swap_1(vec v) {
    return __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
}
VEC_INLINE vec vec_zip_low(vec a, vec b) {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
VEC_INLINE vec vec_zip_high(vec a, vec b) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                   31);
}
#elif VEC_LANES == 8
VEC_INLINE vec vec_swap_4(vec v) {
    return __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
}
VEC_INLINE vec vec_swap_2(vec v) {
    return __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
}
VEC_INLINE vec vec_swap_1(vec v) {
    return __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6);
}
VEC_INLINE vec vec_zip_low(vec a, vec b) {
    return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
VEC_INLINE vec vec_zip_high(vec a, vec b) {
    return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}
#else
VEC_INLINE vec vec_swap_2(vec v) {
    return __builtin_shufflevector(v, v, 2, 3, 0, 1);
}
VEC_INLINE vec vec_swap_1(vec v) {
    return __builtin_shufflevector(v, v, 1, 0, 3, 2);
}
VEC_INLINE vec vec_zip_low(vec a, vec b) {
    return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}
VEC_INLINE vec vec_zip_high(vec a, vec b) {
    return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}
#endif

/* Always added in the same tree: lane i with i + 8, then + 4, + 2, + 1. */
VEC_INLINE float vec_sum(vec v) {
#if VEC_LANES > 8
    v += vec_swap_8(v);
#endif
#if VEC_LANES > 4
    v += vec_swap_4(v);
#endif
    v += vec_swap_2(v);
    v += vec_swap_1(v);
    return v[0];
}

/* The largest lane; NaN lanes may or may not count. */
VEC_INLINE float vec_max_lane(vec v) {
#if VEC_LANES > 8
    v = vec_max(v, vec_swap_8(v));
#endif
#if VEC_LANES > 4
    v = vec_max(v, vec_swap_4(v));
#endif
    v = vec_max(v, vec_swap_2(v));
    v = vec_max(v, vec_swap_1(v));
    return v[0];
}

/* The lowest lane that equals x, or -1. */
VEC_INLINE int vec_find(vec v, float x) {
#if VEC_LANES == 16
    return __builtin_ffs(_mm512_cmpeq_ps_mask((__m512)v, _mm512_set1_ps(x))) - 1;
#elif VEC_LANES == 8
    return __builtin_ffs(_mm256_movemask_ps((__m256)(v == vec_set(x)))) - 1;
#else
    return __builtin_ffs(_mm_movemask_ps((__m128)(v == vec_set(x)))) - 1;
#endif
}

/* x 2^n, n a vector of integers in [-252, 254], rounded once. */
VEC_INLINE vec vec_scale(vec x, vec n) {
#if VEC_LANES == 16
    return (vec)_mm512_scalef_ps((__m512)x, (__m512)n);
#else
    /* In two factors, each a normal number although 2^n may not be. */
    vec_int whole = __builtin_convertvector(n, vec_int), half = whole >> 1, rest = whole - half;
    return x * (vec)((half + 127) << 23) * (vec)((rest + 127) << 23);
#endif
}

/* e^x to 2 ulp: 2^n e^r with |r| <= ln 2 / 2 and the polynomial of Cephes' expf. Overflow gives
 * infinity, underflow goes through the subnormals to 0, NaN stays NaN. */
VEC_INLINE vec vec_exp(vec x) {
    const vec magic = vec_set(0x1.8p23f); /* added and taken away, rounds to an integer */
    x = vec_max(vec_set(-104.5f), vec_min(vec_set(89.0f), x));
    vec n = (x * 1.44269504088896341f + magic) - magic;
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return vec_scale(p, n);
}

/* 2^x to 2 ulp for finite x, exactly 1 for 0; 0 from -150 down, infinity from 128 up, NaN for NaN
 * (and for infinities). The polynomial is the best of its degree on [-1/2, 1/2] with 2^0 = 1. */
VEC_INLINE vec vec_exp2(vec x) {
    const vec magic = vec_set(0x1.8p23f);
#if VEC_LANES < 16
    x = vec_max(vec_set(-160.0f), vec_min(vec_set(160.0f), x)); /* as vec_scale wants it there */
#endif
    vec n = (x + magic) - magic;
    vec r = x - n;
    vec p = r * 0x1.5bba16p-10f + 0x1.3cea88p-7f;
    p = p * r + 0x1.c6b752p-5f;
    p = p * r + 0x1.ebf9bcp-3f;
    p = p * r + 0x1.62e42ap-1f;
    p = p * r + 1.0f;
    return vec_scale(p, n);
}

/* ln x to 2 ulp of the larger of 1 and the result, for normal x > 0; NaN for NaN and infinity.
 * x = 2^n m with m in [1/sqrt 2, sqrt 2), and the polynomial of Cephes' logf. */
VEC_INLINE vec vec_log(vec x) {
    const vec_int low = (vec_int)vec_set(0x1.6a09e6p-1f);
    vec_int n = ((vec_int)x - low) >> 23;
    vec m = (vec)((vec_int)x - (n << 23)) - 1.0f, e = __builtin_convertvector(n, vec);
    vec p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    vec m2 = m * m, y = p * m * m2 - e * 2.12194440e-4f - m2 * 0.5f;
    return m + y + e * 0.693359375f + (x - x);
}

/* The sum of the squares of n floats, in double. Four chains: one would wait for each addition. */
VEC_INLINE double vec_sum_squares(const float *p, int64_t n) {
    enum { N_CHAINS = 4, N_WIDE = VEC_LANES / 2 };
    typedef float half __attribute__((vector_size(VEC_BYTES / 2)));
    typedef double wide __attribute__((vector_size(VEC_BYTES)));
    wide sums[N_CHAINS] = {{0}};
    int64_t i = 0;
    for (; i + N_CHAINS * N_WIDE <= n; i += N_CHAINS * N_WIDE)
#pragma GCC unroll 4
        for (int c = 0; c < N_CHAINS; c++) {
            half x;
            memcpy(&x, p + i + c * N_WIDE, sizeof x);
            wide w = __builtin_convertvector(x, wide);
            sums[c] += w * w;
        }
    double sum = 0;
    for (; i < n; i++) sum += (double)p[i] * (double)p[i];
    sums[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int c = 0; c < N_WIDE; c++) sum += sums[0][c];
    return sum;
}

#endif
