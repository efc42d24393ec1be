/* linear.c - the products of linear layers.
 *
 * Owns: how products are cut. Weights are packed first, all threads together; then a piece is a
 * block of rows of the output, which reads all of the packed weights and nothing else of anybody's.
 * The weight gradient has tokens as its inner dimension: they come in rounds (ops/pile.h), of which
 * x is packed by all threads together and a piece is some rows of dw.
 *
 * Weights are floats, whatever they are multiplied as: rounding them to bf16 is part of packing
 * them, so no other copy of them exists.
 */
#include "ops/cpu/panel.h"
#include "ops/pile.h"

#define PACK_STRIPS  2     /* packed in a piece */
#define PACK_ROWS    64    /* the same, of what is packed row by row; even */
#define PACK_NUMBERS 16384 /* in a piece of x, or more: less isn't worth handing out */
#define BLOCK_TOKENS 512   /* a strip of x and a panel of dy should stay in the first two caches */
#define ROUND_BYTES  ((int64_t)4 << 20) /* of x packed at a time: it should stay in the last one */

typedef struct linear_job {
    iso_tensor out, base;
    cpu_matrix a, x;
    const float *w;
    float *packed;
    char *scratch; /* thread_bytes for each thread */
    int64_t thread_bytes, M, N, K;
    int64_t T, round_tokens, pack_rows; /* of the weight gradient */
    int64_t n_panels, n_pieces;         /* of its rows */
    double *squares, *sum_squares;      /* of each of these pieces; of all */
    bool is_half, is_transposed, accumulate;
} linear_job;

static cpu_matrix matrix_of(iso_tensor t) {
    return (cpu_matrix){.data = t.data, .ld = t.dims[1], .is_half = t.dtype == ISO_BF16};
}

/* w^T, some columns; w, some rows. */
static void pack_columns_piece(void *ctx, int64_t i_piece, int i_thread) {
    const linear_job *job = ctx;
    int64_t first = i_piece * PACK_STRIPS, n_strips = cpu_n_strips(job->N);
    cpu_pack_columns(job->packed, job->is_half, job->w, job->K, job->N, first,
                     cpu_min(n_strips, first + PACK_STRIPS));
}

static void pack_rows_piece(void *ctx, int64_t i_piece, int i_thread) {
    const linear_job *job = ctx;
    int64_t first = i_piece * PACK_ROWS;
    cpu_matrix w = {.data = job->w, .ld = job->N};
    cpu_pack_rows(job->packed, job->is_half, &w, 0, job->K, job->N, first,
                  cpu_min(job->K, first + PACK_ROWS));
}

static void rows_link(const void *ctx, const iso_step *s) {
    const linear_job *job = ctx;
    int64_t at = s->first * job->N;
    cpu_product p = {.M = s->n, .N = job->N, .K = job->K, .exec = s->exec};
    p.is_half = job->is_half, p.b = p.next_b = job->packed;
    p.a = (const char *)job->a.data + s->first * job->K * (job->a.is_half ? 2 : 4), p.a_ld = job->K;
    if (job->a.is_half != job->is_half) {
        char *converted = job->scratch + s->i_thread * job->thread_bytes;
        cpu_convert_rows(converted, job->is_half, &job->a, s->first, p.M, job->K);
        p.a = converted;
    }
    p.c = (char *)job->out.data + at * iso_dtype_bytes(job->out.dtype), p.c_ld = job->N;
    p.c_is_half = job->out.dtype == ISO_BF16;
    p.base = job->base.data ? (const float *)job->base.data + at : NULL;
    iso_chain_ahead(s, p.ahead, CPU_AHEAD);
    cpu_multiply(&p);
}

/* job->out (M,N) = base + a (M,K) B, B from the weights. */
static void run_product(iso_exec *ex, linear_job *job, iso_op op) {
    int64_t n_words = cpu_strips_words(job->K, job->N, job->is_half);
    bool converts = job->a.is_half != job->is_half;
    cpu_matrix out = matrix_of(job->out), base = matrix_of(job->base);
    iso_link link = {.op = op, .rows = rows_link, .fetches = true, .n_rows = job->M};
    link.block_rows = ISO_CHAIN_ROWS;
    link.prepare = job->is_transposed ? pack_columns_piece : pack_rows_piece;
    link.n_prepare = job->is_transposed ? cpu_ceil_div(cpu_n_strips(job->N), PACK_STRIPS)
                                        : cpu_ceil_div(job->K, PACK_ROWS);
    link.operands[0] = cpu_operand_of(&job->a), link.operands[1] = cpu_operand_of(&out);
    if (base.data != out.data) link.operands[2] = cpu_operand_of(&base);
    job->thread_bytes = ISO_CHAIN_ROWS * job->K * 4;
    iso_link_begin(ex, n_words * 4, false);
    job->packed = iso_arena_take(&ex->scratch, n_words, 4);
    if (converts)
        job->scratch = iso_arena_take(&ex->scratch, iso_exec_n_threads(ex), job->thread_bytes);
    iso_link_add(ex, &link, job, sizeof *job);
}

static void linear_fwd(iso_exec *ex, iso_tensor y, iso_tensor residual, iso_tensor x, iso_tensor w,
                       iso_dtype multiply_as) {
    linear_job job = {.out = y, .base = residual, .a = matrix_of(x), .w = w.data};
    job.M = x.dims[0], job.N = w.dims[0], job.K = w.dims[1];
    job.is_half = multiply_as == ISO_BF16, job.is_transposed = true;
    run_product(ex, &job, ISO_OP_LINEAR_FWD);
}

static void linear_bwd_input(iso_exec *ex, iso_tensor dx, bool accumulate, iso_tensor dy,
                             iso_tensor w, iso_dtype multiply_as) {
    linear_job job = {.out = dx, .a = matrix_of(dy), .w = w.data};
    if (accumulate) job.base = dx;
    job.M = dy.dims[0], job.N = w.dims[1], job.K = w.dims[0];
    job.is_half = multiply_as == ISO_BF16;
    run_product(ex, &job, ISO_OP_LINEAR_BWD_INPUT);
}

/* The last round has fewer. */
static int64_t tokens_of_round(const linear_job *job, int64_t i_round) {
    return cpu_min(job->round_tokens, job->T - i_round * job->round_tokens);
}

/* Some tokens of x, which is packed in blocks of BLOCK_TOKENS. */
static void pack_tokens_piece(const void *ctx, const iso_turn *turn) {
    const linear_job *job = ctx;
    int64_t token = turn->i_piece * job->pack_rows, n_tokens = tokens_of_round(job, turn->i_round);
    int64_t first = token % BLOCK_TOKENS, start = token - first;
    int64_t n = cpu_min(BLOCK_TOKENS, n_tokens - start);
    if (token >= n_tokens) return;
    float *packed = turn->packed + cpu_strips_words(start, job->N, job->is_half);
    cpu_pack_rows(packed, job->is_half, &job->x, turn->i_round * job->round_tokens + start, n,
                  job->N, first, cpu_min(n, first + job->pack_rows));
}

/* Where piece i of dw's rows begins: panels as even as they come, the larger pieces first. */
static int64_t piece_row(const linear_job *job, int64_t i) {
    int64_t least = job->n_panels / job->n_pieces, n_larger = job->n_panels % job->n_pieces;
    return cpu_min(job->M, (i * least + cpu_min(i, n_larger)) * PANEL_ROWS);
}

static void weight_piece(const void *ctx, const iso_turn *turn) {
    const linear_job *job = ctx;
    const float *packed = turn->packed;
    int64_t n_tokens = tokens_of_round(job, turn->i_round);
    int64_t first_token = turn->i_round * job->round_tokens;
    int64_t row = piece_row(job, turn->i_piece), at = row * job->N;
    cpu_product p = {.M = piece_row(job, turn->i_piece + 1) - row, .N = job->N};
    p.is_half = job->is_half, p.a_in_panels = true, p.a = turn->scratch;
    p.c = (float *)job->out.data + at, p.c_ld = job->N;
    for (int64_t token = 0; token < n_tokens; token += BLOCK_TOKENS) {
        bool is_first = first_token + token == 0 && !job->accumulate;
        p.K = cpu_min(BLOCK_TOKENS, n_tokens - token);
        cpu_pack_panels(turn->scratch, job->is_half, &job->a, first_token + token, row, p.M, p.K);
        p.b = packed + cpu_strips_words(token, job->N, job->is_half);
        p.next_b = packed;
        if (token + p.K < n_tokens)
            p.next_b = packed + cpu_strips_words(token + p.K, job->N, job->is_half);
        p.base = is_first ? NULL : p.c;
        cpu_multiply(&p);
    }
    if (first_token + n_tokens == job->T)
        job->squares[turn->i_piece] = vec_sum_squares(p.c, p.M * p.N);
}

static void sum_squares(const void *ctx) {
    const linear_job *job = ctx;
    *job->sum_squares = cpu_sum(job->squares, job->n_pieces);
}

/* Tokens in a round: whole blocks. */
static int64_t round_tokens(int64_t T, int64_t N, bool is_half) {
    int64_t n_blocks = ROUND_BYTES / (4 * cpu_strips_words(BLOCK_TOKENS, N, is_half));
    return cpu_min(T, BLOCK_TOKENS * cpu_max(1, n_blocks));
}

/* Cuts dw's rows: about 96 or less in a piece, whole panels, an even number of pieces, four at
 * least if there are as many panels. */
static void cut_rows(linear_job *job) {
    job->n_panels = cpu_ceil_div(job->M, PANEL_ROWS);
    job->n_pieces = cpu_min(job->n_panels, cpu_max(2, (job->M + 96) / 192) * 2);
}

/* Tokens that a piece packs, of N numbers each: a part of a block. */
static int64_t pack_tokens(int64_t N) {
    int64_t n = PACK_ROWS;
    while (n < BLOCK_TOKENS && n * N < PACK_NUMBERS) n *= 2;
    return n;
}

static void linear_bwd_weight(iso_exec *ex, iso_tensor dw, bool accumulate, double *squares,
                              iso_tensor dy, iso_tensor x, iso_dtype multiply_as) {
    linear_job job = {.out = dw, .a = matrix_of(dy), .x = matrix_of(x), .accumulate = accumulate};
    job.M = dw.dims[0], job.N = dw.dims[1], job.T = dy.dims[0];
    job.is_half = multiply_as == ISO_BF16, job.sum_squares = squares;
    job.round_tokens = round_tokens(job.T, job.N, job.is_half);
    job.pack_rows = pack_tokens(job.N);
    cut_rows(&job);
    iso_stage stage = {.op = ISO_OP_LINEAR_BWD_WEIGHT, .n_multiply = job.n_pieces};
    stage.pack = pack_tokens_piece, stage.multiply = weight_piece, stage.after = sum_squares;
    stage.n_rounds = cpu_ceil_div(job.T, job.round_tokens);
    stage.n_pack = cpu_ceil_div(job.round_tokens, job.pack_rows);
    stage.packed_bytes = cpu_strips_words(job.round_tokens, job.N, job.is_half) * 4;
    stage.thread_bytes = cpu_panels_words(piece_row(&job, 1), BLOCK_TOKENS, job.is_half) * 4;
    iso_stage_begin(ex);
    job.squares = iso_arena_take(&ex->scratch, job.n_pieces, sizeof *job.squares);
    iso_stage_add(ex, &stage, &job, sizeof job);
}

void ISO_ISA_NAME(iso_cpu_linear_init)(iso_kernels *kernels) {
    kernels->linear_fwd = linear_fwd;
    kernels->linear_bwd_input = linear_bwd_input;
    kernels->linear_bwd_weight = linear_bwd_weight;
}
