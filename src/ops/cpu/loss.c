/* loss.c - the head and the cross-entropy as one operation: (T,V) logits never exist.
 *
 * Tokens come in chunks. Of a chunk the exponentials of the logits exist, in scratch, by blocks of
 * the vocabulary:
 *
 *     logits     a piece is a block: x w^T becomes z = e^(logit - the block's maximum), and a sum
 *     tokens     the blocks' maxima and sums become each token's loss and the blocks' factors
 *     gradients  a piece is some blocks: z becomes the gradient, dw += z^T x, a part of dx = z w
 *     dx         the parts are added up in order
 *
 * A small vocabulary is one block. Then pieces are blocks of tokens, which need no other: the first
 * three rounds are one, and dw is a round of its own, by rows. Forward alone keeps nothing.
 * Compiled for AVX512-BF16, x, w and z are rounded to bf16 where they are multiplied.
 *
 * (I1) a token without a target leaves no trace, whatever its activations are: they are taken as 0,
 * and so is its dx.
 */
#include "ops/cpu/cpu.h"
#include "ops/cpu/half.h"
#include "ops/cpu/panel.h"

#include <math.h>

#ifdef __AVX512BF16__
#define IS_HALF true
#else
#define IS_HALF false
#endif
#define ITEM_BYTES   (IS_HALF ? 2 : 4)
#define CHUNK_BYTES  ((int64_t)72 << 20) /* of z, unless that is less than LEAST_TOKENS */
#define CHUNK_TOKENS 1024
#define LEAST_TOKENS 128 /* w and dw are read and written once a chunk */
#define SMALL_VOCAB  2048
#define BLOCK_VOCAB  1024 /* at most */
#define BLOCK_TOKENS 128
#define LOGIT_ROWS   64 /* tokens whose logits exist at once, in a thread's scratch */
#define DW_ROWS      96 /* rows of dw that z is packed for at a time */
#define PACK_ROWS    64 /* tokens or words packed in a piece; even */
#define MAX_PARTS    16 /* of dx */

typedef struct loss_job {
    const iso_exec *ex;
    double *nats;
    float *dx, *dw;
    const float *x, *w;
    const int32_t *targets;
    int64_t n_tokens, H, V; /* of this chunk */
    float scale;
    bool backward;
    /* The vocabulary's blocks; the last may be shorter. */
    int64_t n_blocks, block_vocab, ld; /* ld: numbers from token to token of a block */
    int64_t chunk_tokens, n_parts;
    char *z;                         /* (n_blocks,chunk_tokens,ld) in the type of products */
    float *max, *sum;                /* (n_blocks,chunk_tokens); sum becomes the factor of z */
    float *target_logit;             /* (chunk_tokens) */
    float *x_clean;                  /* (chunk_tokens,H): x where some have no target */
    void *x_rows;                    /* (chunk_tokens,H): x in the type of products */
    float *x_packed;                 /* (chunk_tokens,H) */
    float *w_packed, *wt_packed;     /* a small w (V,H) and its transpose */
    float *dx_parts;                 /* (n_parts,chunk_tokens,H) */
    float *logits, *panels, *strips; /* for each thread */
    int64_t panels_words, strips_words;
} loss_job;

/* A row of n logits becomes z = e^(logit - max), stored from element `at` on, if z is given. */
static void exponentials(void *z, int64_t at, const float *logits, int64_t n, float *max_out,
                         float *sum_out) {
    vec max_lanes = vec_set(-INFINITY), sums = vec_set(0);
    for (int64_t v = 0; v < n; v += VEC_LANES)
        max_lanes = vec_max(vec_keep(vec_load_upto(logits + v, n - v), n - v, vec_set(-INFINITY)),
                            max_lanes);
    float max = vec_max_lane(max_lanes);
    for (int64_t v = 0; v < n; v += VEC_LANES) {
        vec p = vec_exp(vec_load_upto(logits + v, n - v) - max);
        sums += vec_keep(p, n - v, vec_set(0));
        if (z) act_store(z, IS_HALF, at + v, p, n - v);
    }
    *max_out = max;
    *sum_out = vec_sum(sums);
}

/* z becomes the gradient with respect to the logits: n numbers from element `at` on; target: the
 * place among them, or outside. */
static void gradients(const loss_job *job, int64_t at, int64_t n, float factor, int64_t target) {
    bool is_here = target >= 0 && target < n;
    vec z_target = is_here ? act_load(job->z, IS_HALF, at + target, 1) : vec_set(0);
    for (int64_t v = 0; v < n; v += VEC_LANES)
        act_store(job->z, IS_HALF, at + v, act_load(job->z, IS_HALF, at + v, n - v) * factor,
                  n - v);
    if (is_here) act_store(job->z, IS_HALF, at + target, z_target * factor - job->scale, 1);
}

/* Loss of token t from what the blocks know; their sums become factors. */
static void finish_token(const loss_job *job, int64_t t) {
    float *max = job->max + t, *sum = job->sum + t, most = -INFINITY;
    int64_t n = job->n_blocks, step = job->chunk_tokens;
    for (int64_t i = 0; i < n; i++) most = max[i * step] > most ? max[i * step] : most;
    double total = 0;
    for (int64_t i = 0; i < n; i++)
        total += (double)sum[i * step] * exp((double)max[i * step] - (double)most);
    bool counts = job->targets[t] >= 0;
    job->nats[t] = counts ? (double)most - (double)job->target_logit[t] + log(total) : 0;
    double scale = counts ? (double)job->scale / total : 0;
    for (int64_t i = 0; i < n; i++)
        sum[i * step] = (float)(scale * exp((double)max[i * step] - (double)most));
}

static int64_t block_width(const loss_job *job, int64_t i_block) {
    return cpu_min(job->block_vocab, job->V - i_block * job->block_vocab);
}

/* Of token t in a block of z: its first element. */
static int64_t z_at(const loss_job *job, int64_t i_block, int64_t t) {
    return (i_block * job->chunk_tokens + t) * job->ld;
}

/* Tokens first.. of a block, from x to z. wt: the block's w^T, packed. */
static void block_logits(const loss_job *job, const float *wt, int64_t i_block, int64_t first,
                         int64_t n, int i_thread) {
    int64_t H = job->H, width = block_width(job, i_block);
    float *logits = job->logits + i_thread * LOGIT_ROWS * job->ld;
    for (int64_t row = first; row < first + n; row += LOGIT_ROWS) {
        cpu_product p = {.N = width, .K = H, .is_half = IS_HALF, .b = wt, .c_ld = job->ld};
        p.M = cpu_min(LOGIT_ROWS, first + n - row), p.c = logits;
        p.a = (const char *)job->x_rows + row * H * ITEM_BYTES, p.a_ld = H;
        cpu_multiply(&p);
        for (int64_t t = row; t < row + p.M; t++) {
            const float *l = logits + (t - row) * job->ld;
            int64_t target = job->targets[t] - i_block * job->block_vocab;
            int64_t at = i_block * job->chunk_tokens + t;
            if (target >= 0 && target < width) job->target_logit[t] = l[target];
            exponentials(job->z, at * job->ld, l, width, &job->max[at], &job->sum[at]);
        }
    }
}

static void block_gradients(const loss_job *job, int64_t i_block, int64_t first, int64_t n) {
    for (int64_t t = first; t < first + n; t++)
        gradients(job, z_at(job, i_block, t), block_width(job, i_block),
                  job->sum[i_block * job->chunk_tokens + t],
                  job->targets[t] - i_block * job->block_vocab);
}

/* out (n,H), tokens first.., = or += z w. w: the block's, packed. */
static void block_dx(const loss_job *job, float *out, bool accumulate, const float *w,
                     int64_t i_block, int64_t first, int64_t n) {
    cpu_product p = {.M = n, .N = job->H, .K = block_width(job, i_block), .is_half = IS_HALF};
    p.a = job->z + z_at(job, i_block, first) * ITEM_BYTES, p.a_ld = job->ld;
    p.b = w, p.c = out, p.base = accumulate ? out : NULL, p.c_ld = job->H;
    cpu_multiply(&p);
}

/* Rows first.. of a block's dw += z^T x */
static void block_dw(const loss_job *job, int64_t i_block, int64_t first, int64_t n, int i_thread) {
    float *panels = job->panels + i_thread * job->panels_words;
    cpu_matrix z = {.ld = job->ld, .is_half = IS_HALF};
    z.data = job->z + z_at(job, i_block, 0) * ITEM_BYTES;
    for (int64_t row = first; row < first + n; row += DW_ROWS) {
        float *dw = job->dw + (i_block * job->block_vocab + row) * job->H;
        cpu_product p = {.N = job->H, .K = job->n_tokens, .is_half = IS_HALF, .a_in_panels = true};
        p.M = cpu_min(DW_ROWS, first + n - row);
        cpu_pack_panels(panels, IS_HALF, &z, 0, row, p.M, p.K);
        p.a = panels, p.b = job->x_packed, p.c = dw, p.base = dw, p.c_ld = job->H;
        cpu_multiply(&p);
    }
}

/* Some tokens of x, as products want it. */
static void pack_x_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t first = i_piece * PACK_ROWS, n = cpu_min(PACK_ROWS, job->n_tokens - first);
    cpu_matrix x = {.data = job->x, .ld = job->H};
    if (IS_HALF)
        cpu_convert_rows((char *)job->x_rows + first * job->H * ITEM_BYTES, true, &x, first, n,
                         job->H);
    if (job->backward)
        cpu_pack_rows(job->x_packed, IS_HALF, &x, 0, job->n_tokens, job->H, first, first + n);
}

/* A small vocabulary: one strip of w^T, or some rows of w. */
static void pack_wt_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    cpu_pack_columns(job->wt_packed, IS_HALF, job->w, job->H, job->V, i_piece, i_piece + 1);
}

static void pack_w_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t first = i_piece * PACK_ROWS;
    cpu_matrix w = {.data = job->w, .ld = job->H};
    cpu_pack_rows(job->w_packed, IS_HALF, &w, 0, job->V, job->H, first,
                  cpu_min(job->V, first + PACK_ROWS));
}

/* A small vocabulary: some tokens. */
static void tokens_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t first = i_piece * BLOCK_TOKENS, n = cpu_min(BLOCK_TOKENS, job->n_tokens - first);
    block_logits(job, job->wt_packed, 0, first, n, i_thread);
    for (int64_t t = first; t < first + n; t++) finish_token(job, t);
    if (!job->backward) return;
    block_gradients(job, 0, first, n);
    block_dx(job, job->dx + first * job->H, false, job->w_packed, 0, first, n);
}

static void dw_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t first = i_piece * DW_ROWS / 2;
    block_dw(job, 0, first, cpu_min(DW_ROWS / 2, job->V - first), i_thread);
}

static void logits_piece(void *ctx, int64_t i_block, int i_thread) {
    const loss_job *job = ctx;
    int64_t width = block_width(job, i_block);
    float *wt = job->strips + i_thread * job->strips_words;
    cpu_pack_columns(wt, IS_HALF, job->w + i_block * job->block_vocab * job->H, job->H, width, 0,
                     cpu_n_strips(width));
    block_logits(job, wt, i_block, 0, job->n_tokens, i_thread);
}

static void finish_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t first = i_piece * BLOCK_TOKENS, end = cpu_min(first + BLOCK_TOKENS, job->n_tokens);
    for (int64_t t = first; t < end; t++) finish_token(job, t);
}

static void gradients_piece(void *ctx, int64_t i_part, int i_thread) {
    const loss_job *job = ctx;
    int64_t n = job->n_tokens, first = i_part * job->n_blocks / job->n_parts;
    float *dx = job->dx_parts + i_part * job->chunk_tokens * job->H;
    float *packed = job->strips + i_thread * job->strips_words;
    cpu_matrix w = {.data = job->w, .ld = job->H};
    for (int64_t i = first; i < (i_part + 1) * job->n_blocks / job->n_parts; i++) {
        int64_t width = block_width(job, i);
        block_gradients(job, i, 0, n);
        block_dw(job, i, 0, width, i_thread);
        cpu_pack_rows(packed, IS_HALF, &w, i * job->block_vocab, width, job->H, 0, width);
        block_dx(job, dx, i > first, packed, i, 0, n);
    }
}

static void dx_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t H = job->H, first = i_piece * BLOCK_TOKENS * H;
    int64_t end = cpu_min(first + BLOCK_TOKENS * H, job->n_tokens * H);
    for (int64_t i = first; i < end; i += VEC_LANES) {
        vec sum = vec_set(0);
        for (int64_t part = 0; part < job->n_parts; part++)
            sum += vec_load_upto(job->dx_parts + part * job->chunk_tokens * H + i, end - i);
        vec_store_upto(job->dx + i, sum, end - i);
    }
}

/* Takes 0 for the activations of tokens without a target, if there are any. */
static void clean_activations(loss_job *job) {
    int64_t H = job->H, n_without = 0;
    for (int64_t t = 0; t < job->n_tokens; t++) n_without += job->targets[t] < 0;
    if (n_without == 0) return;
    for (int64_t t = 0; t < job->n_tokens; t++) {
        float *out = job->x_clean + t * H;
        if (job->targets[t] < 0)
            memset(out, 0, (size_t)H * sizeof *out);
        else
            memcpy(out, job->x + t * H, (size_t)H * sizeof *out);
    }
    job->x = job->x_clean;
}

static void run_chunk(loss_job *job) {
    const iso_exec *ex = job->ex;
    int64_t n_token_pieces = cpu_ceil_div(job->n_tokens, BLOCK_TOKENS);
    clean_activations(job);
    if (!IS_HALF) job->x_rows = (void *)job->x;
    if (IS_HALF || job->backward)
        iso_exec_pieces(ex, cpu_ceil_div(job->n_tokens, PACK_ROWS), pack_x_piece, job);
    if (job->n_blocks == 1) {
        iso_exec_pieces(ex, n_token_pieces, tokens_piece, job);
        if (job->backward) iso_exec_pieces(ex, cpu_ceil_div(job->V, DW_ROWS / 2), dw_piece, job);
    } else {
        iso_exec_pieces(ex, job->n_blocks, logits_piece, job);
        iso_exec_pieces(ex, n_token_pieces, finish_piece, job);
        if (job->backward) iso_exec_pieces(ex, job->n_parts, gradients_piece, job);
        if (job->backward) iso_exec_pieces(ex, n_token_pieces, dx_piece, job);
    }
    for (int64_t t = 0; job->backward && t < job->n_tokens; t++)
        if (job->targets[t] < 0) memset(job->dx + t * job->H, 0, (size_t)job->H * sizeof *job->dx);
}

/* Chunks and blocks, from shapes alone. */
static void cut(loss_job *job, int64_t T) {
    int64_t V = job->V, sixteenth = cpu_ceil_div(cpu_ceil_div(V, 16), 16) * 16;
    job->block_vocab = V <= SMALL_VOCAB ? V : cpu_min(cpu_max(sixteenth, 256), BLOCK_VOCAB);
    job->n_blocks = cpu_ceil_div(V, job->block_vocab);
    /* Whole words; and rows of a block a power of two apart would alias in the cache. */
    job->ld = cpu_ceil_div(job->block_vocab, 32) * 32 + 32;
    int64_t fitting = CHUNK_BYTES / (job->n_blocks * job->ld * ITEM_BYTES);
    fitting = cpu_max(fitting / BLOCK_TOKENS * BLOCK_TOKENS, LEAST_TOKENS);
    job->chunk_tokens = cpu_min(T, cpu_min(fitting, CHUNK_TOKENS));
    job->n_parts = cpu_min(job->n_blocks, MAX_PARTS);
}

static void take_scratch(loss_job *job, iso_arena *scratch) {
    int64_t tokens = job->chunk_tokens, H = job->H, V = job->V, n_z = job->n_blocks * tokens;
    int64_t n_threads = iso_exec_n_threads(job->ex);
    bool is_small = job->n_blocks == 1;
    job->max = iso_arena_take(scratch, n_z, sizeof(float));
    job->sum = iso_arena_take(scratch, n_z, sizeof(float));
    job->target_logit = iso_arena_take(scratch, tokens, sizeof(float));
    job->x_clean = iso_arena_take(scratch, tokens * H, sizeof(float));
    job->logits = iso_arena_take(scratch, n_threads * LOGIT_ROWS * job->ld, sizeof(float));
    if (IS_HALF) job->x_rows = iso_arena_take(scratch, tokens * H, ITEM_BYTES);
    if (is_small) job->wt_packed = iso_arena_take(scratch, cpu_strips_words(H, V, IS_HALF), 4);
    job->strips_words = cpu_max(cpu_strips_words(H, job->block_vocab, IS_HALF),
                                cpu_strips_words(job->block_vocab, H, IS_HALF));
    if (!is_small) job->strips = iso_arena_take(scratch, n_threads * job->strips_words, 4);
    if (!job->backward) return;
    job->z = iso_arena_take(scratch, n_z * job->ld, ITEM_BYTES);
    job->x_packed = iso_arena_take(scratch, cpu_strips_words(tokens, H, IS_HALF), 4);
    job->panels_words = cpu_panels_words(DW_ROWS, tokens, IS_HALF);
    job->panels = iso_arena_take(scratch, n_threads * job->panels_words, 4);
    if (is_small) job->w_packed = iso_arena_take(scratch, cpu_strips_words(V, H, IS_HALF), 4);
    if (!is_small) job->dx_parts = iso_arena_take(scratch, job->n_parts * tokens * H, 4);
}

static void head_loss(iso_exec *ex, double *nats, void *dx, void *dw, const void *x, const void *w,
                      const int32_t *targets, int64_t T, int64_t H, int64_t V, double scale,
                      bool backward) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    loss_job all = {.ex = ex, .dw = dw, .w = w, .H = H, .V = V, .backward = backward};
    all.scale = (float)scale;
    cut(&all, T);
    take_scratch(&all, &ex->scratch);
    if (!ex->measuring && all.n_blocks == 1) {
        iso_exec_pieces(ex, cpu_n_strips(V), pack_wt_piece, &all);
        if (backward) iso_exec_pieces(ex, cpu_ceil_div(V, PACK_ROWS), pack_w_piece, &all);
    }
    for (int64_t first = 0; !ex->measuring && first < T; first += all.chunk_tokens) {
        loss_job job = all;
        job.n_tokens = cpu_min(all.chunk_tokens, T - first);
        job.nats = nats + first, job.targets = targets + first;
        job.dx = dx ? (float *)dx + first * H : NULL;
        job.x = (const float *)x + first * H;
        run_chunk(&job);
    }
    iso_arena_rewind(&ex->scratch, mark);
}

void ISO_ISA_NAME(iso_cpu_loss_init)(iso_kernels *kernels) {
    kernels->head_loss = head_loss;
}
