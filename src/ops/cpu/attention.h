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
#define MASKED  (-1e30f) /* below all scores, scaled or not; 2^MASKED is 0 */

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

/* 2^score, as exact as it is kept. */
VEC_INLINE vec score_exp2(vec x) {
#if NUMBERS == 2
    return half_exp2(x);
#else
    return vec_exp2(x);
#endif
}

VEC_INLINE int64_t round_up(int64_t n, int64_t step) {
    return (n + step - 1) / step * step;
}

/* n floats of scratch, by whole cache lines. */
VEC_INLINE float *take(float **free_part, int64_t n) {
    float *out = *free_part;
    *free_part += round_up(n, 16);
    return out;
}

/* acc + a b, word by word. */
VEC_INLINE vec multiply_words(vec acc, vec a, vec b) {
#if NUMBERS == 2
    return (vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b);
#else
    return acc + a * b;
#endif
}

/* The same, a: one word for all lanes. */
VEC_INLINE vec multiply_add(vec acc, const float *a, vec b) {
#if NUMBERS == 2
    int32_t word;
    memcpy(&word, a, sizeof word);
    return multiply_words(acc, (vec)_mm512_set1_epi32(word), b);
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

/* Scores of keys j.. and n_regs registers of queries from `query` on, not yet scaled: ALiBi's bias
 * (far: NULL without), and what comes later masked. */
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

/* A register of words of a row of n numbers, the others 0. */
VEC_INLINE vec words_load(const number *in, int64_t n) {
#if NUMBERS == 2
    return (vec)half_load_2(in, n);
#else
    return vec_load_upto(in, n);
#endif
}

/* out (n_padded,ld / NUMBERS words) = in (n,d), rows ld_in apart, and 0 beyond n and d. */
VEC_INLINE void attention_rows(float *out, int64_t ld, int64_t n_padded, const number *in,
                               int64_t ld_in, int64_t n, int64_t d) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < ld; c += NUMBERS * VEC_LANES)
            vec_store_upto(out + (i * ld + c) / NUMBERS, words_load(in + i * ld_in + c, d - c),
                           (ld - c) / NUMBERS);
    memset(out + n * ld / NUMBERS, 0, (size_t)((n_padded - n) * ld / NUMBERS) * sizeof *out);
}

/* out (n_padded / NUMBERS,ld words) = in. n_padded is even. */
VEC_INLINE void attention_pairs(float *out, int64_t ld, int64_t n_padded, const number *in,
                                int64_t ld_in, int64_t n, int64_t d) {
#if NUMBERS == 1
    attention_rows(out, ld, n_padded, in, ld_in, n, d);
#else
    for (int64_t i = 0; i < n; i += 2)
        for (int64_t c = 0; c < ld; c += 2 * VEC_LANES) {
            const number *row = in + i * ld_in + c;
            half_lanes_2 odd = {0};
            if (i + 1 < n) odd = half_load_2(row + ld_in, d - c);
            vec words[2];
            half_zip(words, half_load_2(row, d - c), odd);
            vec_store(out + i / 2 * ld + c, words[0]);
            if (c + VEC_LANES < ld) vec_store(out + i / 2 * ld + c + VEC_LANES, words[1]);
        }
    int64_t end = (n + 1) / 2;
    memset(out + end * ld, 0, (size_t)((n_padded / 2 - end) * ld) * sizeof *out);
#endif
}

/* out_t (d / NUMBERS words,QUERIES), a query a lane, = in (n,d), and 0 in lanes [n, n_padded); rows
 * (n_padded,ld / NUMBERS words): scratch. */
VEC_INLINE void attention_transposed(float *out_t, float *rows, int64_t ld, int64_t n_padded,
                                     const number *in, int64_t ld_in, int64_t n, int64_t d) {
    const float *words = (const float *)(const void *)in;
    if (d % NUMBERS != 0 || n < n_padded) { /* else whole words, in memory as they are */
        attention_rows(rows, ld, n_padded, in, ld_in, n, d);
        words = rows, ld_in = ld;
    }
    ISO_ISA_NAME(iso_cpu_transpose)
    (out_t, QUERIES, words, ld_in / NUMBERS, n_padded, cpu_ceil_div(d, NUMBERS));
}

/* The product of two rows of d numbers. */
VEC_INLINE float attention_dot(const number *a, const number *b, int64_t d) {
    vec sum = vec_set(0);
    for (int64_t c = 0; c < d; c += NUMBERS * VEC_LANES)
        sum = multiply_words(sum, words_load(a + c, d - c), words_load(b + c, d - c));
    return vec_sum(sum);
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

/* Rows of d numbers that will be read or written soon: fetched a few at a time between tiles,
 * because fetched at once they would take their time from the products. And not much sooner than
 * they are used: rows lie a power of two or so apart, so that few places of the cache are theirs.
 */
#define MAX_STREAMS 8
#define MAX_AHEAD   1024 /* rows of a stream */
typedef struct attention_ahead {
    struct {
        const number *rows;
        int64_t ld, n_rows;
        bool is_written;
    } streams[MAX_STREAMS];
    int n_streams, i_stream;
    int64_t i_row, n_rows, per_tile, d;
} attention_ahead;

VEC_INLINE void attention_ahead_init(attention_ahead *ahead, int64_t d) {
    *ahead = (attention_ahead){.d = d};
}

VEC_INLINE void attention_ahead_add(attention_ahead *ahead, const number *rows, int64_t ld,
                                    int64_t n_rows, bool is_written) {
    int i = ahead->n_streams++;
    ahead->streams[i].rows = rows, ahead->streams[i].ld = ld;
    ahead->streams[i].n_rows = cpu_min(n_rows, MAX_AHEAD),
    ahead->streams[i].is_written = is_written;
    ahead->n_rows += ahead->streams[i].n_rows;
}

/* All that has been added, over n_tiles of scores. */
VEC_INLINE void attention_ahead_spread(attention_ahead *ahead, int64_t n_tiles) {
    ahead->per_tile = cpu_ceil_div(ahead->n_rows, cpu_max(1, n_tiles));
}

VEC_INLINE void attention_ahead_step(attention_ahead *ahead) {
    for (int64_t n = ahead->per_tile; n > 0 && ahead->i_stream < ahead->n_streams;) {
        int i = ahead->i_stream;
        if (ahead->i_row == ahead->streams[i].n_rows) {
            ahead->i_stream++, ahead->i_row = 0;
            continue;
        }
        const number *row = ahead->streams[i].rows + ahead->i_row * ahead->streams[i].ld;
        for (int64_t c = 0; c < ahead->d; c += 16 * NUMBERS)
            if (ahead->streams[i].is_written)
                __builtin_prefetch(row + c, 1, 2);
            else
                __builtin_prefetch(row + c, 0, 2);
        ahead->i_row++, n--;
    }
}

/* Tiles of scores of a block of n queries and n_keys keys, about. */
VEC_INLINE int64_t attention_tiles(int64_t n, int64_t n_keys) {
    return cpu_ceil_div(n, TILE_REGS * VEC_LANES) * cpu_ceil_div(n_keys, TILE_ROWS);
}

/* The first register of the block from query `first` that sees key j. */
VEC_INLINE int first_reg(int64_t first, int64_t j) {
    return j <= first ? 0 : (int)((j - first) / VEC_LANES);
}

#endif
