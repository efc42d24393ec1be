/* grouped.c - the products of experts: rows sorted by expert, each expert its own weights.
 *
 * Pieces are blocks of rows of one expert, from the offsets alone; whole blocks come first, so that
 * the small rests fill up the threads at the end. An expert without rows has no piece: its outputs
 * are empty, and its gradient is left as it is.
 */
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

#define BLOCK_ROWS 256
#define BLOCK_OUT  128 /* rows of dw in a piece */
#define gemm       ISO_ISA_NAME(iso_cpu_gemm_small)

typedef struct row_block {
    int32_t expert, first, n;
} row_block;

typedef struct grouped_job {
    float *out, *scratch;
    const float *a, *w;
    const int32_t *offsets;
    const row_block *blocks;
    int64_t n_out, n_in, n_out_blocks;
} grouped_job;

static int64_t max_blocks(int64_t E, int64_t R) {
    return E + R / BLOCK_ROWS;
}

/* How many there are. */
static int64_t list_blocks(row_block *blocks, const int32_t *offsets, int64_t E) {
    int64_t n = 0;
    for (int whole = 1; whole >= 0; whole--)
        for (int32_t e = 0; e < E; e++) {
            int32_t first = offsets[e], end = offsets[e + 1];
            for (; end - first >= BLOCK_ROWS; first += BLOCK_ROWS)
                if (whole) blocks[n++] = (row_block){e, first, BLOCK_ROWS};
            if (!whole && first < end) blocks[n++] = (row_block){e, first, end - first};
        }
    return n;
}

static void forward_piece(void *ctx, int64_t i_piece, int i_thread) {
    const grouped_job *job = ctx;
    row_block b = job->blocks[i_piece];
    int64_t out = job->n_out, in = job->n_in;
    float *w_t = job->scratch + i_thread * out * in;
    ISO_ISA_NAME(iso_cpu_transpose)(w_t, out, job->w + b.expert * out * in, in, out, in);
    gemm(false, b.n, out, in, job->a + b.first * in, in, w_t, out, false, job->out + b.first * out,
         out);
}

static void grouped_fwd(iso_exec *ex, void *y, const void *x, const void *w, const int32_t *offsets,
                        int64_t E, int64_t out, int64_t in, int64_t R) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    row_block *blocks = iso_arena_take(&ex->scratch, max_blocks(E, R), sizeof *blocks);
    grouped_job job = {.out = y, .a = x, .w = w, .blocks = blocks, .n_out = out, .n_in = in};
    job.scratch = iso_arena_take(&ex->scratch, iso_exec_n_threads(ex) * out * in, sizeof(float));
    if (!ex->measuring) iso_exec_pieces(ex, list_blocks(blocks, offsets, E), forward_piece, &job);
    iso_arena_rewind(&ex->scratch, mark);
}

static void backward_input_piece(void *ctx, int64_t i_piece, int i_thread) {
    const grouped_job *job = ctx;
    row_block b = job->blocks[i_piece];
    int64_t out = job->n_out, in = job->n_in;
    gemm(false, b.n, in, out, job->a + b.first * out, out, job->w + b.expert * out * in, in, false,
         job->out + b.first * in, in);
}

static void grouped_bwd_input(iso_exec *ex, void *dx, const void *dy, const void *w,
                              const int32_t *offsets, int64_t E, int64_t out, int64_t in,
                              int64_t R) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    row_block *blocks = iso_arena_take(&ex->scratch, max_blocks(E, R), sizeof *blocks);
    grouped_job job = {.out = dx, .a = dy, .w = w, .blocks = blocks, .n_out = out, .n_in = in};
    if (!ex->measuring)
        iso_exec_pieces(ex, list_blocks(blocks, offsets, E), backward_input_piece, &job);
    iso_arena_rewind(&ex->scratch, mark);
}

/* Some rows of one expert's dw: a sum over all its tokens. */
static void backward_weight_piece(void *ctx, int64_t i_piece, int i_thread) {
    const grouped_job *job = ctx;
    int64_t e = i_piece / job->n_out_blocks, row = i_piece % job->n_out_blocks * BLOCK_OUT;
    int64_t out = job->n_out, in = job->n_in, first = job->offsets[e];
    gemm(true, cpu_min(BLOCK_OUT, out - row), in, job->offsets[e + 1] - first,
         job->a + first * out + row, out, job->w + first * in, in, true,
         job->out + (e * out + row) * in, in);
}

static void grouped_bwd_weight(iso_exec *ex, void *dw, const void *dy, const void *x,
                               const int32_t *offsets, int64_t E, int64_t out, int64_t in,
                               int64_t R) {
    if (ex->measuring) return;
    grouped_job job = {.out = dw, .a = dy, .w = x, .offsets = offsets, .n_out = out, .n_in = in};
    job.n_out_blocks = cpu_ceil_div(out, BLOCK_OUT);
    iso_exec_pieces(ex, E * job.n_out_blocks, backward_weight_piece, &job);
}

void ISO_ISA_NAME(iso_cpu_grouped_init)(iso_kernels *kernels) {
    kernels->grouped_fwd = grouped_fwd;
    kernels->grouped_bwd_input = grouped_bwd_input;
    kernels->grouped_bwd_weight = grouped_bwd_weight;
}
