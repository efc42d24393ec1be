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

/* The same of floats. */
VEC_INLINE vec half_round_pair(vec low, vec high) {
#if defined(__AVX512BF16__)
    const half_lanes_2 zip = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                              8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
    return (vec)_mm512_permutexvar_epi16((__m512i)zip, both);
#else
    return half_pair(half_round(low), half_round(high));
#endif
}

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
