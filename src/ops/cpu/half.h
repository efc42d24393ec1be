/* half.h - bf16 numbers in memory, floats in registers.
 *
 * An act is a pointer to activations of either type; `is_half` says which, as a constant where
 * these functions are inlined. Rounding is to the nearest, ties to even, in every instruction set;
 * with AVX512-BF16 subnormal numbers become 0, as in that extension's products.
 */
#ifndef ISO_OPS_CPU_HALF_H
#define ISO_OPS_CPU_HALF_H

#include "ops/cpu/vec.h"

typedef uint16_t half_lanes __attribute__((vector_size(2 * VEC_LANES)));
typedef uint16_t half_lanes_2 __attribute__((vector_size(4 * VEC_LANES)));
typedef uint32_t word_lanes __attribute__((vector_size(VEC_BYTES)));

/* A number in each word's lower half. (GCC takes the generic conversion to 16 lanes apart.) */
VEC_INLINE word_lanes half_extend(half_lanes h) {
#if VEC_LANES == 16
    return (word_lanes)_mm512_cvtepu16_epi32((__m256i)h);
#else
    return __builtin_convertvector(h, word_lanes);
#endif
}

VEC_INLINE vec half_widen(half_lanes h) {
    return (vec)(half_extend(h) << 16);
}

VEC_INLINE half_lanes half_round(vec v) {
#if defined(__AVX512BF16__)
    return (half_lanes)_mm512_cvtneps_pbh((__m512)v);
#else
    word_lanes w = (word_lanes)v, rounded = w + 0x7fff + (w >> 16 & 1);
    word_lanes is_nan = (word_lanes)(v != v); /* rounding may carry a NaN into infinity */
    rounded = (is_nan & (w | 0x400000)) | (~is_nan & rounded);
    return __builtin_convertvector(rounded >> 16, half_lanes);
#endif
}

/* Words of two numbers each. */
VEC_INLINE vec half_pair(half_lanes low, half_lanes high) {
    return (vec)(half_extend(low) | half_extend(high) << 16);
}

#if defined(__AVX512BF16__)
/* The numbers of `low`, then those of `high`. */
VEC_INLINE half_lanes_2 half_round_2(vec low, vec high) {
    return (half_lanes_2)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
}

/* Words of a number of the first half and one of the second. */
VEC_INLINE vec half_zip_halves(half_lanes_2 both) {
    const half_lanes_2 zip = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                              8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (vec)_mm512_permutexvar_epi16((__m512i)zip, (__m512i)both);
}
#endif

/* half_pair of floats. */
VEC_INLINE vec half_round_pair(vec low, vec high) {
#if defined(__AVX512BF16__)
    return half_zip_halves(half_round_2(low, high));
#else
    return half_pair(half_round(low), half_round(high));
#endif
}

#if VEC_LANES == 16
/* vec_exp2 for what will be rounded to bf16, by 2^-9 of itself: it is off by 2^-13.7 at most. */
VEC_INLINE vec half_exp2(vec x) {
    const vec magic = vec_set(0x1.8p23f);
    vec n = (x + magic) - magic, r = x - n;
    vec p = r * 0x1.c3f760p-5f + 0x1.f0de1ap-3f;
    p = p * r + 0x1.62f31ap-1f;
    p = p * r + 0x1.fff692p-1f;
    return vec_scale(p, n);
}
#endif

/* min(n, VEC_LANES) numbers, the others 0. */
VEC_INLINE half_lanes half_load(const uint16_t *p, int64_t n) {
    half_lanes h = {0};
    if (n >= VEC_LANES)
        memcpy(&h, p, sizeof h);
    else
#ifdef __AVX512BW__
        h = (half_lanes)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p);
#else
        for (int64_t j = 0; j < n; j++) h[j] = p[j];
#endif
    return h;
}

#if VEC_LANES == 16
/* min(n, 2 VEC_LANES) numbers, the others 0. */
VEC_INLINE half_lanes_2 half_load_2(const uint16_t *p, int64_t n) {
    __mmask32 mask = n >= 2 * VEC_LANES ? ~0u : (1u << n) - 1;
    return (half_lanes_2)_mm512_maskz_loadu_epi16(mask, p);
}

/* Its two halves. */
VEC_INLINE void half_store_2(uint16_t *low, uint16_t *high, half_lanes_2 both) {
    _mm256_storeu_si256((__m256i *)(void *)low, _mm512_castsi512_si256((__m512i)both));
    _mm256_storeu_si256((__m256i *)(void *)high, _mm512_extracti64x4_epi64((__m512i)both, 1));
}

/* Words of two numbers each, of `low` and of `high`. */
VEC_INLINE void half_zip(vec out[2], half_lanes_2 low, half_lanes_2 high) {
    out[0] = (vec)__builtin_shufflevector(low, high, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6,
                                          38, 7, 39, 8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45,
                                          14, 46, 15, 47);
    out[1] = (vec)__builtin_shufflevector(low, high, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53,
                                          22, 54, 23, 55, 24, 56, 25, 57, 26, 58, 27, 59, 28, 60,
                                          29, 61, 30, 62, 31, 63);
}
#endif

/* The same from element i of an act. */
VEC_INLINE vec act_load(const void *act, bool is_half, int64_t i, int64_t n) {
    return is_half ? half_widen(half_load((const uint16_t *)act + i, n))
                   : vec_load_upto((const float *)act + i, n);
}

/* The same as bf16. */
VEC_INLINE half_lanes act_load_half(const void *act, bool is_half, int64_t i, int64_t n) {
    return is_half ? half_load((const uint16_t *)act + i, n)
                   : half_round(vec_load_upto((const float *)act + i, n));
}

VEC_INLINE void act_store(void *act, bool is_half, int64_t i, vec v, int64_t n) {
    if (!is_half) {
        vec_store_upto((float *)act + i, v, n);
        return;
    }
    half_lanes h = half_round(v);
    uint16_t *p = (uint16_t *)act + i;
    if (n >= VEC_LANES)
        memcpy(p, &h, sizeof h);
    else
#ifdef __AVX512BW__
        _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), (__m256i)h);
#else
        for (int64_t j = 0; j < n; j++) p[j] = h[j];
#endif
}

#endif
