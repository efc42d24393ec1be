/* gemm.c - matrix products too small for a library: attention heads, experts, narrow layers.
 *
 * Nothing is packed. A tile of up to 8 rows by 3 registers of C stays in registers while the inner
 * dimension runs; B's rows are read as they lie, A one number at a time, so A may be transposed
 * for free, and B may not (transpose it first: iso_cpu_transpose). What a library spends on copying
 * its operands is more than half of such a product.
 *
 * (I1) each number of C is one chain of multiply-adds in the order of k, cut every BLOCK_K: the
 * same for any M, N, position in C and number of threads.
 */
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

/* The widest register, and how many of C's a tile may hold and still leave room for B and A. */
#if defined(__AVX512F__)
#define REG_LANES 16
#define TILE_ROWS 8 /* 24 of 32 registers */
#define TILE_REGS 3
#elif defined(__AVX2__)
#define REG_LANES 8
#define TILE_ROWS 6 /* 12 of 16 */
#define TILE_REGS 2
#else
#define REG_LANES 4
#define TILE_ROWS 4 /* 8 of 16 */
#define TILE_REGS 2
#endif
#define BLOCK_K 256 /* a strip of B, 48 columns, is 48 KiB */

/* The tile is unrolled 24-fold; with UBSan's checks in it a compiler needs minutes. */
#define UNCHECKED __attribute__((no_sanitize("undefined")))

typedef struct strip {
    const float *b; /* (K, n_cols) */
    float *c;       /* (M, n_cols) */
    int64_t n_cols, ldb, ldc;
    int64_t M, K, a_row, a_col; /* A's number (i,k) is a[i a_row + k a_col] */
    const float *a;
    bool accumulate;
} strip;

typedef float reg __attribute__((vector_size(4 * REG_LANES)));
typedef float reg_unaligned __attribute__((vector_size(4 * REG_LANES), aligned(4), may_alias));

/* The first n lanes, the others 0; all of them if not is_partial. */
VEC_INLINE reg load_reg(const float *p, bool is_partial, int64_t n) {
    if (!is_partial) return *(const reg_unaligned *)p;
#ifdef __AVX512F__
    return (reg)vec_load_part(p, n);
#else
    reg r = {0};
    memcpy(&r, p, (size_t)n * sizeof *p);
    return r;
#endif
}

VEC_INLINE void store_reg(float *p, reg r, bool is_partial, int64_t n) {
    if (!is_partial)
        *(reg_unaligned *)p = r;
    else
#ifdef __AVX512F__
        vec_store_part(p, (vec)r, n);
#else
        memcpy(p, &r, (size_t)n * sizeof *p);
#endif
}

/* One tile: rows i.. of a strip of n_regs registers, the last one partial or not. Rows beyond M
 * repeat the last one and are not stored. Constant arguments: inlined once for each choice. */
UNCHECKED VEC_INLINE void run_tile(const strip *s, int64_t i, int n_regs, bool is_partial) {
    const float *rows[TILE_ROWS], *b = s->b;
    reg acc[TILE_ROWS][TILE_REGS], col[TILE_REGS];
    int64_t last = s->n_cols - (n_regs - 1) * REG_LANES, n_rows = cpu_min(TILE_ROWS, s->M - i);
    float *c = s->c + i * s->ldc;
#pragma GCC unroll 8
    for (int r = 0; r < TILE_ROWS; r++) {
        int64_t row = cpu_min(r, n_rows - 1);
        rows[r] = s->a + (i + row) * s->a_row;
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++)
            acc[r][v] = s->accumulate ? load_reg(c + row * s->ldc + v * REG_LANES,
                                                 is_partial && v == n_regs - 1, last)
                                      : (reg){0};
    }
    for (int64_t k = 0, at = 0; k < s->K; k++, at += s->a_col, b += s->ldb) {
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++)
            col[v] = load_reg(b + v * REG_LANES, is_partial && v == n_regs - 1, last);
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 3
            for (int v = 0; v < n_regs; v++) acc[r][v] += rows[r][at] * col[v];
    }
#pragma GCC unroll 8
    for (int r = 0; r < TILE_ROWS; r++) {
        if (r >= n_rows) break;
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++)
            store_reg(c + r * s->ldc + v * REG_LANES, acc[r][v], is_partial && v == n_regs - 1,
                      last);
    }
}

UNCHECKED static void run_strip(const strip *s) {
    bool is_partial = s->n_cols % REG_LANES != 0;
    int64_t n_regs = cpu_ceil_div(s->n_cols, REG_LANES);
    for (int64_t i = 0; i < s->M; i += TILE_ROWS) {
        if (n_regs == 1 && is_partial) run_tile(s, i, 1, true);
        if (n_regs == 1 && !is_partial) run_tile(s, i, 1, false);
        if (n_regs == 2 && is_partial) run_tile(s, i, 2, true);
        if (n_regs == 2 && !is_partial) run_tile(s, i, 2, false);
#if TILE_REGS > 2
        if (n_regs == 3 && is_partial) run_tile(s, i, 3, true);
        if (n_regs == 3 && !is_partial) run_tile(s, i, 3, false);
#endif
    }
}

void ISO_ISA_NAME(iso_cpu_gemm_small)(bool trans_a, int64_t M, int64_t N, int64_t K, const float *a,
                                      int64_t lda, const float *b, int64_t ldb, bool accumulate,
                                      float *c, int64_t ldc) {
    strip s = {.M = M, .ldb = ldb, .ldc = ldc, .accumulate = accumulate};
    s.a_row = trans_a ? 1 : lda, s.a_col = trans_a ? lda : 1;
    /* Four registers are better done as two and two than as three and one. */
    int64_t n_regs = cpu_ceil_div(N, REG_LANES), n_strips = cpu_ceil_div(n_regs, TILE_REGS);
    for (int64_t k = 0; k == 0 || k < K; k += BLOCK_K) {
        s.K = cpu_min(BLOCK_K, K - k);
        s.a = a + k * s.a_col;
        for (int64_t i_strip = 0; i_strip < n_strips; i_strip++) {
            int64_t col = i_strip * n_regs / n_strips * REG_LANES;
            int64_t end = (i_strip + 1) * n_regs / n_strips * REG_LANES;
            s.n_cols = cpu_min(N, end) - col;
            s.b = b + k * ldb + col;
            s.c = c + col;
            run_strip(&s);
        }
        s.accumulate = true;
    }
}

/* One step of transposing a square: of the bits (row, column) of a place, a rotation by one. */
VEC_INLINE void zip_rows(vec out[VEC_LANES], const vec in[VEC_LANES]) {
#pragma GCC unroll 8
    for (int i = 0; i < VEC_LANES / 2; i++) {
        out[2 * i] = vec_zip_low(in[i], in[i + VEC_LANES / 2]);
        out[2 * i + 1] = vec_zip_high(in[i], in[i + VEC_LANES / 2]);
    }
}

VEC_INLINE void transpose_block(float *out, int64_t ld_out, const float *in, int64_t ld_in) {
    vec v[VEC_LANES], w[VEC_LANES];
#pragma GCC unroll 16
    for (int i = 0; i < VEC_LANES; i++) v[i] = vec_load(in + i * ld_in);
#pragma GCC unroll 4
    for (int n = VEC_LANES; n > 1; n /= 2) {
        zip_rows(w, v);
        memcpy(v, w, sizeof v);
    }
#pragma GCC unroll 16
    for (int i = 0; i < VEC_LANES; i++) vec_store(out + i * ld_out, v[i]);
}

void ISO_ISA_NAME(iso_cpu_transpose)(float *out, int64_t ld_out, const float *in, int64_t ld_in,
                                     int64_t n_rows, int64_t n_cols) {
    for (int64_t i = 0; i < n_rows; i += VEC_LANES)
        for (int64_t j = 0; j < n_cols; j += VEC_LANES) {
            const float *from = in + i * ld_in + j;
            float *to = out + j * ld_out + i;
            if (i + VEC_LANES <= n_rows && j + VEC_LANES <= n_cols) {
                /* Rows far apart, which no processor fetches by itself. */
                for (int r = 0; r < VEC_LANES; r++)
                    __builtin_prefetch(from + (VEC_LANES + r) * ld_in);
                transpose_block(to, ld_out, from, ld_in);
                continue;
            }
            int64_t rows = cpu_min(VEC_LANES, n_rows - i), cols = cpu_min(VEC_LANES, n_cols - j);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t c = 0; c < cols; c++) to[c * ld_out + r] = from[r * ld_in + c];
        }
}
