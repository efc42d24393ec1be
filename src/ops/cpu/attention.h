/* attention.h - what the two directions of attention share: blocks, copies, and a register tile.
 *
 * Both work on blocks of QUERIES queries by KEYS keys of one head, in the thread's scratch. Blocks
 * of scores lie transposed, a row per key with the queries in the lanes of vectors: so maxima,
 * sums, log-sum-exp and biases are whole vectors, and nothing is added across lanes. Only
 * attention_rows, attention_pairs and attention_write know how tensors are stored.
 *
 * Operands of products are words of 4 bytes: a float, or, compiled for AVX512-BF16, two bf16
 * numbers that follow each other along the inner dimension. "Rows" of such words hold neighbours of
 * a row in a word, "pairs" neighbours of a column; of floats both are the same. Results are floats.
 *
 * (I1) rows and lanes beyond S and d exist in scratch and are 0, so that no tile has a rest; (I2)
 * what is masked is replaced before it is used, by registers: a register of which all queries come
 * before the key is neither computed nor read, the others are masked lane by lane.
 */
#ifndef ISO_OPS_CPU_ATTENTION_H
#define ISO_OPS_CPU_ATTENTION_H

#include "ops/cpu/cpu.h"
#include "ops/cpu/half.h"
#include "ops/cpu/vec.h"

/* A tile of C: as many registers as leave room for TILE_REGS of B and one of A. */
#if VEC_LANES == 16
#define TILE_ROWS 8
#define TILE_REGS 3
#elif VEC_LANES == 8
#define TILE_ROWS 4
#define TILE_REGS 3
#else
#define TILE_ROWS 4
#define TILE_REGS 2
#endif
/* How qkv, o and their gradients are stored, and how many of them a word of 4 bytes holds. */
#ifdef __AVX512BF16__
typedef uint16_t number; /* bf16 */
#define NUMBERS 2
#else
typedef float number;
#define NUMBERS 1
#endif
#define IS_HALF (NUMBERS == 2)
#define QUERIES 96
#define KEYS    64
#define REGS    (QUERIES / VEC_LANES) /* of a block's queries */
#define LOG2_E  1.44269504088896341f
#define LN_2    0.693147180559945309f
#define MASKED  (-1e30f) /* below all scores; 2^MASKED is 0 */

/* Tiles are unrolled 24-fold; with UBSan's checks in them a compiler needs minutes. */
#define UNCHECKED __attribute__((no_sanitize("undefined")))

/* How attention is cut, from shapes alone: each head's queries (forward) or keys (backward) into
 * n_chunks of chunk_rows, where there are few heads. */
typedef struct attention_cut {
    int64_t n_heads, n_chunks, chunk_rows;
} attention_cut;

attention_cut ISO_ISA_NAME(iso_cpu_attention_cut)(const iso_attention *at);

/* far[n] is the bias's distance n, or its root, for n from -FAR_BEFORE on: read, not used, on both
 * sides of [0,S). NULL without slopes. In ex's scratch. */
#define FAR_BEFORE 64
const float *ISO_ISA_NAME(iso_cpu_attention_far)(iso_exec *ex, const iso_attention *at);

void ISO_ISA_NAME(iso_cpu_attention_bwd)(iso_exec *ex, void *dqkv, const void *d_o, const void *o,
                                         const void *lse, const void *qkv, const iso_attention *at);

VEC_INLINE int64_t round_up(int64_t n, int64_t step) {
    return (n + step - 1) / step * step;
}

/* n floats of scratch, by whole cache lines. */
VEC_INLINE float *take(float **free_part, int64_t n) {
    float *out = *free_part;
    *free_part += round_up(n, 16);
    return out;
}

/* acc + a b, a: one word for all lanes. */
VEC_INLINE vec multiply_add(vec acc, const float *a, vec b) {
#if NUMBERS == 2
    int32_t word;
    memcpy(&word, a, sizeof word);
    return (vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)_mm512_set1_epi32(word), (__m512bh)b);
#else
    return acc + *a * b;
#endif
}

/* acc[r][v] += sum over k of a[r a_row + k a_col] b[k ldb + v VEC_LANES + lane], in words. n_regs
 * is a constant; inlined once for each. */
VEC_INLINE void tile_product(vec acc[TILE_ROWS][TILE_REGS], int n_regs, const float *a,
                             int64_t a_row, int64_t a_col, const float *b, int64_t ldb, int64_t K) {
    for (int64_t k = 0; k < K; k++, a += a_col, b += ldb) {
        vec col[TILE_REGS];
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++) col[v] = vec_load(b + v * VEC_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 3
            for (int v = 0; v < n_regs; v++)
                acc[r][v] = multiply_add(acc[r][v], a + r * a_row, col[v]);
    }
}

VEC_INLINE void tile_zero(vec acc[TILE_ROWS][TILE_REGS]) {
#pragma GCC unroll 8
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 3
        for (int v = 0; v < TILE_REGS; v++) acc[r][v] = vec_set(0);
}

VEC_INLINE void tile_load(vec acc[TILE_ROWS][TILE_REGS], int n_regs, const float *c, int64_t ldc) {
#pragma GCC unroll 8
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++) acc[r][v] = vec_load(c + r * ldc + v * VEC_LANES);
}

VEC_INLINE void tile_store(float *c, int64_t ldc, vec acc[TILE_ROWS][TILE_REGS], int n_regs) {
#pragma GCC unroll 8
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++) vec_store(c + r * ldc + v * VEC_LANES, acc[r][v]);
}

/* MASKED where a query comes before key j; query is that of lane 0. */
VEC_INLINE vec mask(vec x, int64_t query, int64_t j) {
    return j > query ? vec_keep(vec_set(MASKED), j - query, x) : x;
}

/* Scores of keys j.. and n_regs registers of queries from `query` on: ALiBi's bias (far: NULL
 * without), and what comes later masked. */
VEC_INLINE void tile_bias_mask(vec acc[TILE_ROWS][TILE_REGS], int n_regs, const float *far,
                               float slope, int64_t query, int64_t j) {
    if (far) {
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 3
            for (int v = 0; v < n_regs; v++)
                acc[r][v] -= slope * vec_load(far + query - j + v * VEC_LANES - r);
    }
    if (j + TILE_ROWS - 1 > query) {
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 3
            for (int v = 0; v < n_regs; v++)
                acc[r][v] = mask(acc[r][v], query + v * VEC_LANES, j + r);
    }
}

/* out (n_padded,ld / NUMBERS words) = scale in (n,d), rows ld_in apart, and 0 beyond n and d. */
VEC_INLINE void attention_rows(float *out, int64_t ld, int64_t n_padded, const number *in,
                               int64_t ld_in, int64_t n, int64_t d, float scale) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < ld; c += VEC_LANES) {
#if NUMBERS == 2
            if (scale == 1) { /* where it is inlined a constant: bits are just copied */
                half_lanes numbers = half_load(in + i * ld_in + c, d - c);
                memcpy((number *)out + i * ld + c, &numbers, sizeof numbers);
                continue;
            }
#endif
            act_store(out, IS_HALF, i * ld + c, act_load(in, IS_HALF, i * ld_in + c, d - c) * scale,
                      VEC_LANES);
        }
    memset(out + n * ld / NUMBERS, 0, (size_t)((n_padded - n) * ld / NUMBERS) * sizeof *out);
}

/* out (n_padded / NUMBERS,ld words) = in; of floats, scale in. n_padded is even. */
VEC_INLINE void attention_pairs(float *out, int64_t ld, int64_t n_padded, const number *in,
                                int64_t ld_in, int64_t n, int64_t d, float scale) {
#if NUMBERS == 1
    attention_rows(out, ld, n_padded, in, ld_in, n, d, scale);
#else
    for (int64_t i = 0; i < n; i += 2)
        for (int64_t c = 0; c < ld; c += VEC_LANES) {
            const number *row = in + i * ld_in + c;
            half_lanes odd = {0};
            if (i + 1 < n) odd = half_load(row + ld_in, d - c);
            vec_store(out + i / 2 * ld + c, half_pair(half_load(row, d - c), odd));
        }
    int64_t end = (n + 1) / 2;
    memset(out + end * ld, 0, (size_t)((n_padded / 2 - end) * ld) * sizeof *out);
#endif
}

/* Row i of out (n,d), rows ld_out apart, = scale, or scale[i] if there is an array, times in's. */
VEC_INLINE void attention_write(number *out, int64_t ld_out, const float *in, int64_t ld_in,
                                int64_t n, int64_t d, float scale, const float *scales) {
    for (int64_t i = 0; i < n; i++) {
        float factor = scales ? scales[i] : scale;
        for (int64_t c = 0; c < d; c += VEC_LANES)
            act_store(out, IS_HALF, i * ld_out + c, vec_load(in + i * ld_in + c) * factor, d - c);
    }
}

/* What a piece will write, and what the next one on this thread will read: fetched a few rows at a
 * time between tiles, because fetched at once it would take its time from the products. Streams of
 * n_rows rows of d numbers. */
#define MAX_STREAMS 5
typedef struct attention_ahead {
    const number *in[MAX_STREAMS];
    number *out[MAX_STREAMS];
    int64_t ld_in[MAX_STREAMS], ld_out[MAX_STREAMS];
    int64_t row, n_rows, step, d; /* step: rows a tile */
    int n_in, n_out;
} attention_ahead;

VEC_INLINE void attention_ahead_init(attention_ahead *ahead, int64_t S, int64_t d) {
    *ahead = (attention_ahead){.n_rows = S, .d = d};
    int64_t n_tiles = cpu_ceil_div(S, TILE_ROWS) * cpu_ceil_div(S, TILE_REGS * VEC_LANES);
    ahead->step = cpu_ceil_div(2 * S, n_tiles);
}

VEC_INLINE void attention_ahead_in(attention_ahead *ahead, const number *rows, int64_t ld) {
    ahead->in[ahead->n_in] = rows, ahead->ld_in[ahead->n_in++] = ld;
}

VEC_INLINE void attention_ahead_out(attention_ahead *ahead, number *rows, int64_t ld) {
    ahead->out[ahead->n_out] = rows, ahead->ld_out[ahead->n_out++] = ld;
}

VEC_INLINE void attention_ahead_step(attention_ahead *ahead) {
    int64_t end = cpu_min(ahead->n_rows, ahead->row + ahead->step);
    for (int64_t i = ahead->row; i < end; i++) {
        for (int j = 0; j < ahead->n_in; j++)
            for (int64_t c = 0; c < ahead->d; c += 16 * NUMBERS)
                __builtin_prefetch(ahead->in[j] + i * ahead->ld_in[j] + c, 0, 2);
        for (int j = 0; j < ahead->n_out; j++)
            for (int64_t c = 0; c < ahead->d; c += 16 * NUMBERS)
                __builtin_prefetch(ahead->out[j] + i * ahead->ld_out[j] + c, 1, 2);
    }
    ahead->row = end;
}

/* The first register of the block from query `first` that sees key j. */
VEC_INLINE int first_reg(int64_t first, int64_t j) {
    return j <= first ? 0 : (int)((j - first) / VEC_LANES);
}

#endif
