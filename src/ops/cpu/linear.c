/* linear.c - the products of linear layers.
 *
 * Owns: how products are cut. oneDNN multiplies inside a piece with one thread; letting it split
 * work itself would change bits with the number of threads. No piece shares an output with
 * another, and none splits the inner dimension, so nothing is left to add up.
 */
#include "ops/cpu/cpu.h"

#include <string.h>

/* Pieces of a (rows, columns) output: a grid of blocks. */
typedef struct grid {
    int64_t rows, cols, block_rows, block_cols, n_col_blocks, n_pieces;
} grid;

static grid grid_of(int64_t rows, int64_t cols, int64_t block_rows, int64_t block_cols) {
    grid g = {.rows = rows, .cols = cols, .block_rows = block_rows, .block_cols = block_cols};
    g.n_col_blocks = cpu_ceil_div(cols, block_cols);
    g.n_pieces = cpu_ceil_div(rows, block_rows) * g.n_col_blocks;
    return g;
}

typedef struct block {
    int64_t row, n_rows, col, n_cols;
} block;

static block grid_block(const grid *g, int64_t i_piece) {
    block b = {.row = i_piece / g->n_col_blocks * g->block_rows,
               .col = i_piece % g->n_col_blocks * g->block_cols};
    b.n_rows = cpu_min(g->block_rows, g->rows - b.row);
    b.n_cols = cpu_min(g->block_cols, g->cols - b.col);
    return b;
}

/* An eighth of n in whole steps, between min and max. */
static int64_t eighth(int64_t n, int64_t step, int64_t min, int64_t max) {
    int64_t part = cpu_ceil_div(cpu_ceil_div(n, 8), step) * step;
    return cpu_min(cpu_max(part, min), max);
}

/* Rows of dw in a piece. oneDNN copies all of x once a piece, so as few as keep two threads busy to
 * the end: an even number of pieces of about 160 rows. */
static int64_t weight_rows(int64_t out) {
    int64_t n_pieces = cpu_max(1, (out + 160) / 320) * 2;
    return cpu_max(16, cpu_ceil_div(cpu_ceil_div(out, n_pieces), 16) * 16);
}

typedef struct linear_job {
    grid grid;
    float *out;
    const float *base, *a, *b;
    int64_t T, n_out, n_in;
    bool accumulate;
} linear_job;

static void linear_fwd_piece(void *ctx, int64_t i_piece, int i_thread) {
    const linear_job *job = ctx;
    block b = grid_block(&job->grid, i_piece);
    float *y = job->out + b.row * job->n_out + b.col;
    const float *base = job->base ? job->base + b.row * job->n_out + b.col : NULL;
    if (base && base != y)
        for (int64_t i = 0; i < b.n_rows; i++)
            memcpy(y + i * job->n_out, base + i * job->n_out, (size_t)b.n_cols * sizeof *y);
    iso_cpu_gemm(false, true, b.n_rows, b.n_cols, job->n_in, job->a + b.row * job->n_in, job->n_in,
                 job->b + b.col * job->n_in, job->n_in, base ? 1 : 0, y, job->n_out);
}

static void linear_fwd(iso_exec *ex, void *y, const void *residual, const void *x, const void *w,
                       int64_t T, int64_t out, int64_t in) {
    if (ex->measuring) return;
    linear_job job = {.out = y, .base = residual, .a = x, .b = w, .T = T, .n_out = out, .n_in = in};
    job.grid = grid_of(T, out, eighth(T, 32, 64, 512), cpu_max(1, out));
    iso_exec_pieces(ex, job.grid.n_pieces, linear_fwd_piece, &job);
}

static void linear_bwd_input_piece(void *ctx, int64_t i_piece, int i_thread) {
    const linear_job *job = ctx;
    block b = grid_block(&job->grid, i_piece);
    iso_cpu_gemm(false, false, b.n_rows, b.n_cols, job->n_out, job->a + b.row * job->n_out,
                 job->n_out, job->b + b.col, job->n_in, job->accumulate ? 1 : 0,
                 job->out + b.row * job->n_in + b.col, job->n_in);
}

static void linear_bwd_input(iso_exec *ex, void *dx, bool accumulate, const void *dy, const void *w,
                             int64_t T, int64_t out, int64_t in) {
    if (ex->measuring) return;
    linear_job job = {.out = dx, .a = dy, .b = w, .T = T, .n_out = out, .n_in = in};
    job.accumulate = accumulate;
    job.grid = grid_of(T, in, eighth(T, 32, 64, 512), cpu_max(1, in));
    iso_exec_pieces(ex, job.grid.n_pieces, linear_bwd_input_piece, &job);
}

static void linear_bwd_weight_piece(void *ctx, int64_t i_piece, int i_thread) {
    const linear_job *job = ctx;
    block b = grid_block(&job->grid, i_piece);
    iso_cpu_gemm(true, false, b.n_rows, b.n_cols, job->T, job->a + b.row, job->n_out,
                 job->b + b.col, job->n_in, 1, job->out + b.row * job->n_in + b.col, job->n_in);
}

static void linear_bwd_weight(iso_exec *ex, void *dw, const void *dy, const void *x, int64_t T,
                              int64_t out, int64_t in) {
    if (ex->measuring) return;
    linear_job job = {.out = dw, .a = dy, .b = x, .T = T, .n_out = out, .n_in = in};
    job.grid = grid_of(out, in, weight_rows(out), cpu_max(1, in));
    iso_exec_pieces(ex, job.grid.n_pieces, linear_bwd_weight_piece, &job);
}

void ISO_ISA_NAME(iso_cpu_linear_init)(iso_kernels *kernels) {
    kernels->linear_fwd = linear_fwd;
    kernels->linear_bwd_input = linear_bwd_input;
    kernels->linear_bwd_weight = linear_bwd_weight;
}
