/* panel.h - matrix products with packed operands: linear layers and experts.
 *
 * The unit of a packed operand is a word of 4 bytes: one float, or two bf16 numbers that follow
 * each other along the inner dimension k. A product of bf16 numbers adds up in float.
 *
 * B is packed in strips: a few registers wide, the words of one k side by side, k after k; columns
 * beyond the last are 0. A is read where it lies, one word at a time, its rows in any order
 * (`index`), or packed in panels of PANEL_ROWS rows.
 *
 * (I1) every number of C is one chain of multiply-adds in the order of k, then what it is added to:
 * the same bits for any M, N, place in C and number of threads.
 */
#ifndef ISO_OPS_CPU_PANEL_H
#define ISO_OPS_CPU_PANEL_H

#include "ops/chain.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

#ifdef ISO_ISA

/* The tile of C that registers hold, and leave room for B and A. */
#if defined(__AVX512F__)
#define PANEL_LANES 16
#define PANEL_ROWS  8 /* 24 of 32 registers */
#define PANEL_REGS  3
#elif defined(__AVX2__)
#define PANEL_LANES 8
#define PANEL_ROWS  6 /* 12 of 16 */
#define PANEL_REGS  2
#else
#define PANEL_LANES 4
#define PANEL_ROWS  4 /* 8 of 16 */
#define PANEL_REGS  2
#endif

/* An operand as it lies in memory: rows `ld` numbers apart, float or bf16. With an index, row i is
 * row index[i] of memory. */
typedef struct cpu_matrix {
    const void *data;
    const int32_t *index;
    int64_t ld;
    bool is_half;
} cpu_matrix;

#define CPU_AHEAD 8

typedef struct cpu_product {
    int64_t M, N, K;  /* in numbers */
    bool is_half;     /* of A and B as they are multiplied */
    const void *a;    /* (M,K): see below */
    bool a_in_panels; /* packed by pack_panels; else rows a_ld numbers apart */
    const int32_t *a_index;
    int64_t a_ld;
    const void *b;      /* packed strips of (K,N) */
    const void *next_b; /* those that come next, NULL if they are not there */
    void *c;            /* (M,N), rows c_ld numbers apart */
    bool c_is_half;
    const float *base; /* C = base + A B, laid out as a float C; NULL: none; C itself: += */
    int64_t c_ld;
    /* What this thread will read next, as far as one can tell: fetched meanwhile, a little with
     * every tile. */
    iso_region ahead[CPU_AHEAD];
    iso_exec *exec; /* whose work beside it is done between strips; NULL: none */
} cpu_product;

/* Words of a packed B (K,N), and of a packed A (M,K). */
static inline int64_t cpu_words(int64_t K, bool is_half) {
    return is_half ? (K + 1) / 2 : K;
}
static inline int64_t cpu_strips_words(int64_t K, int64_t N, bool is_half) {
    return cpu_words(K, is_half) * cpu_ceil_div(N, PANEL_LANES) * PANEL_LANES;
}
/* Panels lie a little more than their words apart: at a power of two they would share few places
 * in the cache. */
static inline int64_t cpu_panel_words(int64_t n_words) {
    return n_words * PANEL_ROWS + PANEL_LANES;
}
static inline int64_t cpu_panels_words(int64_t M, int64_t K, bool is_half) {
    return cpu_panel_words(cpu_words(K, is_half)) * cpu_ceil_div(M, PANEL_ROWS);
}

/* Strips of B (K,N): how many, and where strip i begins and ends. */
static inline int64_t cpu_n_strips(int64_t N) {
    return cpu_ceil_div(cpu_ceil_div(N, PANEL_LANES), PANEL_REGS);
}
/* Four registers are better done as two and two than as three and one. */
static inline int64_t cpu_strip_start(int64_t N, int64_t i) {
    return i * cpu_ceil_div(N, PANEL_LANES) / cpu_n_strips(N) * PANEL_LANES;
}

#define cpu_multiply     ISO_ISA_NAME(iso_cpu_multiply)
#define cpu_pack_rows    ISO_ISA_NAME(iso_cpu_pack_rows)
#define cpu_pack_columns ISO_ISA_NAME(iso_cpu_pack_columns)
#define cpu_pack_panels  ISO_ISA_NAME(iso_cpu_pack_panels)
#define cpu_convert_rows ISO_ISA_NAME(iso_cpu_convert_rows)

/* All of its rows. */
static inline iso_operand cpu_operand_of(const cpu_matrix *in) {
    return (iso_operand){
        .data = in->data, .index = in->index, .row_bytes = in->ld * (in->is_half ? 2 : 4)};
}

void cpu_multiply(const cpu_product *product);
/* k in [first, end) of B (K,N) = rows [row, row + K) of `in`, columns [0, N); `first` is even.
 * `strips` is the whole packed B. */
void cpu_pack_rows(void *strips, bool is_half, const cpu_matrix *in, int64_t row, int64_t K,
                   int64_t N, int64_t first, int64_t end);
/* Strips [first, end) of B (K,N) = in^T: `in` (N,K) floats. */
void cpu_pack_columns(void *strips, bool is_half, const float *in, int64_t K, int64_t N,
                      int64_t first, int64_t end);
/* A (M,K) = the transpose of rows [row, row + K), columns [col, col + M) of `in`. */
void cpu_pack_panels(void *panels, bool is_half, const cpu_matrix *in, int64_t row, int64_t col,
                     int64_t M, int64_t K);
/* Rows [row, row + n) of `in`, K numbers each, in the other type: to bf16 if is_half. */
void cpu_convert_rows(void *out, bool is_half, const cpu_matrix *in, int64_t row, int64_t n,
                      int64_t K);

#endif
#endif
