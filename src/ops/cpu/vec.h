/* vec.h - sixteen floats at a time, in GCC vector extensions.
 *
 * The same source is compiled once per instruction set; a 64-byte vector becomes one register with
 * AVX-512, two with AVX2, four with SSE. Only loads and stores of a part of a vector know the
 * instruction set. Every function is inlined, so that no vector crosses a call between objects
 * compiled for different instruction sets.
 */
#ifndef ISO_OPS_CPU_VEC_H
#define ISO_OPS_CPU_VEC_H

#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define VEC_LANES  16
#define VEC_INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(64)));
typedef int32_t vec_int __attribute__((vector_size(64)));
typedef float vec_unaligned __attribute__((vector_size(64), aligned(4), may_alias));

VEC_INLINE vec vec_set(float x) {
    return x - (vec){0};
}

VEC_INLINE vec vec_load(const float *p) {
    return *(const vec_unaligned *)p;
}

VEC_INLINE void vec_store(float *p, vec v) {
    *(vec_unaligned *)p = v;
}

/* The first n lanes (0 to 16), the others 0. */
VEC_INLINE vec vec_load_part(const float *p, int64_t n) {
#ifdef __AVX512F__
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    vec v = {0};
    for (int64_t i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

VEC_INLINE void vec_store_part(float *p, vec v, int64_t n) {
#ifdef __AVX512F__
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    for (int64_t i = 0; i < n; i++) p[i] = v[i];
#endif
}

/* min(n, 16) lanes: the last, perhaps partial, vector of a row. */
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

VEC_INLINE vec_int vec_lane_numbers(void) {
    return (vec_int){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
}

/* v in the first n lanes, `other` in the rest. */
VEC_INLINE vec vec_keep(vec v, int64_t n, float other) {
    return vec_select(vec_lane_numbers() < (int32_t)n, v, vec_set(other));
}

/* The larger; b where a is NaN. */
VEC_INLINE vec vec_max(vec a, vec b) {
    return vec_select(a > b, a, b);
}

/* Always added in the same tree: lane i with i + 8, then + 4, + 2, + 1. */
VEC_INLINE float vec_sum(vec v) {
    typedef float half __attribute__((vector_size(32)));
    typedef float quarter __attribute__((vector_size(16)));
    half a, b;
    quarter c, d;
    memcpy(&a, &v, sizeof a);
    memcpy(&b, (const char *)&v + sizeof a, sizeof b);
    a += b;
    memcpy(&c, &a, sizeof c);
    memcpy(&d, (const char *)&a + sizeof c, sizeof d);
    c += d;
    return (c[0] + c[2]) + (c[1] + c[3]);
}

/* The largest lane; NaN lanes may or may not count. */
VEC_INLINE float vec_max_lane(vec v) {
    vec w = __builtin_shuffle(v, (vec_int){8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
    v = vec_max(v, w);
    w = __builtin_shuffle(v, (vec_int){4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
    v = vec_max(v, w);
    float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
    return a > b ? a : b;
}

/* e^x to 2 ulp: 2^n e^r with |r| <= ln 2 / 2 and the polynomial of Cephes' expf. Overflow gives
 * infinity, underflow goes through the subnormals to 0, NaN stays NaN. */
VEC_INLINE vec vec_exp(vec x) {
    const vec magic = vec_set(0x1.8p23f); /* added and taken away, rounds to an integer */
    x = vec_select(x > 89.0f, vec_set(89.0f), x);
    x = vec_select(x < -104.5f, vec_set(-104.5f), x);
    vec shifted = x * 1.44269504088896341f + magic;
    vec n = shifted - magic;
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    /* 2^n in two factors, each a normal number although 2^n may not be. */
    vec_int n_int = (vec_int)shifted - (vec_int)magic;
    vec_int n_half = n_int >> 1, n_rest = n_int - n_half;
    return p * (vec)((n_half + 127) << 23) * (vec)((n_rest + 127) << 23);
}

#endif
