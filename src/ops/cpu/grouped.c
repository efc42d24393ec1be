/* grouped.c - the products of experts: rows sorted by expert, each expert its own weights.
 *
 * Owns: how they are cut. By work: a piece is a block of rows of one expert, or, of the weight
 * gradient, some rows or columns of one expert's dw, fewer the more tokens the expert has; from the
 * offsets alone. Large pieces of a product come first, so that the small rests fill up the threads
 * at the end. A piece packs its expert's weights for itself, into scratch that stays in its
 * thread's cache. Rows "by token" are read where they lie.
 */
#include "ops/cpu/panel.h"
#include "ops/pile.h"

#include <string.h>

#define BLOCK_ROWS   256
#define BLOCK_TOKENS 256  /* inner dimension of the weight gradient between two visits of dw */
#define LIGHT_ROWS   1024 /* an expert with more tokens than this has its dw cut in parts */
#define MAX_PARTS    8

typedef struct grouped_job {
    iso_tensor out;
    cpu_matrix a, x;
    const float *w;
    const int32_t *offsets;
    iso_rows *pieces; /* of dw */
    int64_t n_pieces;
    char *scratch; /* thread_bytes for each thread: packed B, then A */
    int64_t thread_bytes, a_at;
    int64_t N, K; /* of each product; of the weight gradient rows and columns of dw */
    bool is_half, is_transposed, accumulate, by_columns;
    double *squares, *sum_squares; /* of each piece of dw; of all */
} grouped_job;

static cpu_matrix matrix_of(iso_tensor t, bool by_token, const iso_routing *rt) {
    return (cpu_matrix){.data = t.data,
                        .index = by_token ? rt->row_token : NULL,
                        .ld = t.dims[1],
                        .is_half = t.dtype == ISO_BF16};
}

/* Blocks of rows of each expert; how many there are. */
static int64_t list_blocks(iso_rows *pieces, const iso_routing *rt) {
    int64_t n = 0;
    for (int whole = 1; whole >= 0; whole--)
        for (int32_t e = 0; e < rt->E; e++) {
            int32_t first = rt->offsets[e], end = rt->offsets[e + 1];
            for (; end - first >= BLOCK_ROWS; first += BLOCK_ROWS)
                if (whole) pieces[n++] = (iso_rows){e, first, BLOCK_ROWS};
            if (!whole && first < end) pieces[n++] = (iso_rows){e, first, end - first};
        }
    return n;
}

static void rows_link(const void *ctx, const iso_step *s) {
    const grouped_job *job = ctx;
    char *packed = job->scratch + s->i_thread * job->thread_bytes;
    const float *w = job->w + s->expert * job->N * job->K;
    cpu_matrix w_rows = {.data = w, .ld = job->N};
    int64_t item = job->a.is_half ? 2 : 4;
    if (job->is_transposed)
        cpu_pack_columns(packed, job->is_half, w, job->K, job->N, 0, cpu_n_strips(job->N));
    else
        cpu_pack_rows(packed, job->is_half, &w_rows, 0, job->K, job->N, 0, job->K);
    cpu_product p = {.M = s->n, .N = job->N, .K = job->K, .is_half = job->is_half, .b = packed};
    p.a = job->a.data, p.a_ld = job->K, p.exec = s->exec;
    if (job->a.is_half != job->is_half) {
        cpu_convert_rows(packed + job->a_at, job->is_half, &job->a, s->first, s->n, job->K);
        p.a = packed + job->a_at;
    } else if (job->a.index) {
        p.a_index = job->a.index + s->first;
    } else {
        p.a = (const char *)job->a.data + s->first * job->K * item;
    }
    p.c = (char *)job->out.data + s->first * job->N * iso_dtype_bytes(job->out.dtype);
    p.c_is_half = job->out.dtype == ISO_BF16, p.c_ld = job->N;
    iso_chain_ahead(s, p.ahead, CPU_AHEAD);
    cpu_multiply(&p);
}

/* job->out (R,N) = a (R,K) B, B from the rows' experts' weights. */
static void run_products(iso_exec *ex, grouped_job *job, const iso_routing *rt, iso_op op) {
    int64_t n_threads = iso_exec_n_threads(ex), max_blocks = rt->E + rt->T * rt->K / BLOCK_ROWS;
    cpu_matrix out = {.data = job->out.data, .ld = job->N, .is_half = job->out.dtype == ISO_BF16};
    iso_link link = {.op = op, .rows = rows_link, .fetches = true, .n_rows = rt->T * rt->K};
    link.operands[0] = cpu_operand_of(&job->a), link.operands[1] = cpu_operand_of(&out);
    link.operands[2] = (iso_operand){
        .data = job->w, .row_bytes = job->N * job->K * (int64_t)sizeof(float), .by_expert = true};
    job->is_half = ex->narrow == ISO_BF16;
    job->a_at = cpu_strips_words(job->K, job->N, job->is_half) * 4;
    job->thread_bytes = job->a_at;
    if (job->a.is_half != job->is_half) job->thread_bytes += BLOCK_ROWS * job->K * 4;
    iso_link_begin(ex, 0, true);
    iso_rows *blocks = iso_arena_take(&ex->scratch, max_blocks, sizeof *blocks);
    job->scratch = iso_arena_take(&ex->scratch, n_threads, job->thread_bytes);
    link.goes_by_expert = true, link.blocks = blocks;
    if (!ex->measuring) link.n_blocks = list_blocks(blocks, rt);
    iso_link_add(ex, &link, job, sizeof *job);
}

static void grouped_fwd(iso_exec *ex, iso_tensor y, iso_tensor x, bool x_by_token, iso_tensor w,
                        const iso_routing *rt) {
    grouped_job job = {.out = y, .a = matrix_of(x, x_by_token, rt), .w = w.data};
    job.N = w.dims[1], job.K = w.dims[2], job.is_transposed = true;
    run_products(ex, &job, rt, ISO_OP_GROUPED_FWD);
}

static void grouped_bwd_input(iso_exec *ex, iso_tensor dx, iso_tensor dy, bool dy_by_token,
                              iso_tensor w, const iso_routing *rt) {
    grouped_job job = {.out = dx, .a = matrix_of(dy, dy_by_token, rt), .w = w.data};
    job.N = w.dims[2], job.K = w.dims[1];
    run_products(ex, &job, rt, ISO_OP_GROUPED_BWD_INPUT);
}

/* Parts of dw's longer side: all of a light expert's, less of a heavy one's; how many pieces there
 * are. Each part packs what lies along the other side again: the shorter the better. */
static int64_t list_parts(iso_rows *pieces, const iso_routing *rt, const grouped_job *job) {
    int64_t n = 0, side = job->by_columns ? job->K : job->N;
    int64_t unit = job->by_columns ? PANEL_LANES : PANEL_ROWS;
    for (int heavy = 1; heavy >= 0; heavy--)
        for (int32_t e = 0; e < rt->E; e++) {
            int64_t n_rows = rt->offsets[e + 1] - rt->offsets[e];
            int64_t n_parts = cpu_min(MAX_PARTS, cpu_max(1, cpu_ceil_div(n_rows, LIGHT_ROWS)));
            if ((n_parts > 1) != heavy) continue;
            int64_t step = cpu_ceil_div(cpu_ceil_div(side, n_parts), unit) * unit;
            for (int64_t at = 0; at < side; at += step)
                pieces[n++] = (iso_rows){e, (int32_t)at, (int32_t)cpu_min(step, side - at)};
        }
    return n;
}

static double squares_of(const float *dw, int64_t ld, int64_t M, int64_t N) {
    if (N == ld) return vec_sum_squares(dw, M * N);
    double sum = 0;
    for (int64_t i = 0; i < M; i++) sum += vec_sum_squares(dw + i * ld, N);
    return sum;
}

static void weight_piece(const void *ctx, const iso_turn *turn) {
    const grouped_job *job = ctx;
    const iso_rows at = job->pieces[turn->i_piece];
    char *packed = turn->scratch, *panels = packed + job->a_at;
    int64_t row = job->offsets[at.expert], end = job->offsets[at.expert + 1];
    int64_t first_row = job->by_columns ? 0 : at.first, first_col = at.first - first_row;
    cpu_product p = {.M = job->N, .N = job->K, .is_half = job->is_half, .a_in_panels = true};
    *(job->by_columns ? &p.N : &p.M) = at.n;
    cpu_matrix x = job->x;
    x.data = (const char *)x.data + first_col * (x.is_half ? 2 : 4);
    p.a = panels, p.b = packed, p.c_ld = job->K;
    float *dw = (float *)job->out.data + (at.expert * job->N + first_row) * job->K + first_col;
    p.c = dw;
    p.base = job->accumulate ? dw : NULL;
    for (int64_t i = 0; row == end && !job->accumulate && i < p.M; i++)
        memset(dw + i * job->K, 0, (size_t)p.N * sizeof *dw);
    for (; row < end; row += BLOCK_TOKENS) {
        p.K = cpu_min(BLOCK_TOKENS, end - row);
        cpu_pack_rows(packed, job->is_half, &x, row, p.K, p.N, 0, p.K);
        cpu_pack_panels(panels, job->is_half, &job->a, row, first_row, p.M, p.K);
        cpu_multiply(&p);
        p.base = dw;
    }
    job->squares[turn->i_piece] = squares_of(dw, job->K, p.M, p.N);
}

static void sum_squares(const void *ctx) {
    const grouped_job *job = ctx;
    *job->sum_squares = cpu_sum(job->squares, job->n_pieces);
}

static void grouped_bwd_weight(iso_exec *ex, iso_tensor dw, bool accumulate, double *squares,
                               iso_tensor dy, bool dy_by_token, iso_tensor x, bool x_by_token,
                               const iso_routing *rt) {
    grouped_job job = {.out = dw, .accumulate = accumulate, .offsets = rt->offsets};
    job.a = matrix_of(dy, dy_by_token, rt), job.x = matrix_of(x, x_by_token, rt);
    job.N = dw.dims[1], job.K = dw.dims[2], job.by_columns = job.K > job.N;
    job.is_half = ex->narrow == ISO_BF16, job.sum_squares = squares;
    job.a_at = cpu_strips_words(BLOCK_TOKENS, job.K, job.is_half) * 4;
    iso_stage stage = {.op = ISO_OP_GROUPED_BWD_WEIGHT, .n_rounds = 1};
    stage.multiply = weight_piece, stage.after = sum_squares;
    stage.thread_bytes = job.a_at + cpu_panels_words(job.N, BLOCK_TOKENS, job.is_half) * 4;
    iso_stage_begin(ex);
    job.pieces = iso_arena_take(&ex->scratch, rt->E * MAX_PARTS, sizeof(iso_rows));
    job.squares = iso_arena_take(&ex->scratch, rt->E * MAX_PARTS, sizeof *job.squares);
    if (!ex->measuring) stage.n_multiply = job.n_pieces = list_parts(job.pieces, rt, &job);
    iso_stage_add(ex, &stage, &job, sizeof job);
}

void ISO_ISA_NAME(iso_cpu_grouped_init)(iso_kernels *kernels) {
    kernels->grouped_fwd = grouped_fwd;
    kernels->grouped_bwd_input = grouped_bwd_input;
    kernels->grouped_bwd_weight = grouped_bwd_weight;
}
