/* loss.c - the head and the cross-entropy as one operation: (T,V) logits never exist.
 *
 * Tokens come in chunks. Of a chunk the logits exist, in scratch, by blocks of the vocabulary:
 *
 *     logits     a piece is a block: z = x w^T becomes e^(z - the block's maximum), with its sum
 *     tokens     the blocks' maxima and sums become each token's loss and the blocks' factors
 *     gradients  a piece is some blocks: z becomes the gradient, dw += z^T x, a part of dx = z w
 *     dx         the parts are added up in order
 *
 * A small vocabulary is one block. Then pieces are blocks of tokens, which need no other: the first
 * three rounds are one, and dw is a round of its own, by rows. Forward alone keeps no logits.
 *
 * (I1) a token without a target leaves no trace, whatever its activations are: they are taken as 0,
 * and so is its dx.
 */
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

#include <math.h>

#define CHUNK_ELEMENTS (1 << 24) /* of logits: 64 MiB, unless that is less than LEAST_TOKENS */
#define CHUNK_TOKENS   1024
#define LEAST_TOKENS   128 /* dw is read and written once a chunk */
#define SMALL_VOCAB    2048
#define BLOCK_TOKENS   128
#define BLOCK_VOCAB    1024 /* at most */
#define MAX_PARTS      16   /* of dx */

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
    int64_t n_blocks, block_vocab, ld; /* ld: floats from token to token of a block */
    int64_t chunk_tokens;
    float *z;            /* (n_blocks,chunk_tokens,ld), or a piece's part for each thread */
    bool keeps_z;        /* the former: for backward, or because it is not more */
    float *max, *sum;    /* (n_blocks,chunk_tokens); sum becomes the factor of e^(z - max) */
    float *target_logit; /* (chunk_tokens) */
    float *x_clean;      /* (chunk_tokens,H): x where some have no target */
    float *dx_parts;     /* (n_parts,chunk_tokens,H) */
    int64_t n_parts;
} loss_job;

/* z (n) becomes e^(z - max). */
static void exponentials(float *z, int64_t n, float *max_out, float *sum_out) {
    vec max_lanes = vec_set(-INFINITY), sums = vec_set(0);
    for (int64_t v = 0; v < n; v += VEC_LANES)
        max_lanes =
            vec_max(vec_keep(vec_load_upto(z + v, n - v), n - v, vec_set(-INFINITY)), max_lanes);
    float max = vec_max_lane(max_lanes);
    for (int64_t v = 0; v < n; v += VEC_LANES) {
        vec p = vec_keep(vec_exp(vec_load_upto(z + v, n - v) - max), n - v, vec_set(0));
        sums += p;
        vec_store_upto(z + v, p, n - v);
    }
    *max_out = max;
    *sum_out = vec_sum(sums);
}

/* Exponentials become the gradient with respect to the logits; target: the place in z, or
 * outside. */
static void gradients(const loss_job *job, float *z, int64_t n, float factor, int64_t target) {
    for (int64_t v = 0; v < n; v += VEC_LANES)
        vec_store_upto(z + v, vec_load_upto(z + v, n - v) * factor, n - v);
    if (target >= 0 && target < n) z[target] -= job->scale;
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

/* Tokens first.. of a block, from x to exponentials. */
static void block_logits(const loss_job *job, float *z, int64_t i_block, int64_t first, int64_t n) {
    int64_t H = job->H, width = block_width(job, i_block), v = i_block * job->block_vocab;
    iso_cpu_gemm(false, true, n, width, H, job->x + first * H, H, job->w + v * H, H, 0, z, job->ld);
    for (int64_t t = 0; t < n; t++) {
        int64_t at = i_block * job->chunk_tokens + first + t, target = job->targets[first + t] - v;
        if (target >= 0 && target < width) job->target_logit[first + t] = z[t * job->ld + target];
        exponentials(z + t * job->ld, width, &job->max[at], &job->sum[at]);
    }
}

static void block_gradients(const loss_job *job, float *z, int64_t i_block, int64_t first,
                            int64_t n) {
    for (int64_t t = first; t < first + n; t++)
        gradients(job, z + (t - first) * job->ld, block_width(job, i_block),
                  job->sum[i_block * job->chunk_tokens + t],
                  job->targets[t] - i_block * job->block_vocab);
}

/* A small vocabulary: some tokens. */
static void tokens_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t first = i_piece * BLOCK_TOKENS, n = cpu_min(BLOCK_TOKENS, job->n_tokens - first);
    int64_t H = job->H;
    float *z = job->z + (job->keeps_z ? first : i_thread * BLOCK_TOKENS) * job->ld;
    block_logits(job, z, 0, first, n);
    for (int64_t t = first; t < first + n; t++) finish_token(job, t);
    if (!job->backward) return;
    block_gradients(job, z, 0, first, n);
    iso_cpu_gemm(false, false, n, H, job->V, z, job->ld, job->w, H, 0, job->dx + first * H, H);
}

/* A small vocabulary: some rows of dw, an even number of pieces. */
static int64_t dw_rows(int64_t V) {
    return cpu_max(48, cpu_ceil_div(cpu_ceil_div(V, 8), 16) * 16);
}

static void dw_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t n = dw_rows(job->V), first = i_piece * n, H = job->H;
    iso_cpu_gemm(true, false, cpu_min(n, job->V - first), H, job->n_tokens, job->z + first, job->ld,
                 job->x, H, 1, job->dw + first * H, H);
}

static void logits_piece(void *ctx, int64_t i_block, int i_thread) {
    const loss_job *job = ctx;
    float *z = job->z + (job->keeps_z ? i_block : i_thread) * job->chunk_tokens * job->ld;
    block_logits(job, z, i_block, 0, job->n_tokens);
}

static void finish_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t first = i_piece * BLOCK_TOKENS, end = cpu_min(first + BLOCK_TOKENS, job->n_tokens);
    for (int64_t t = first; t < end; t++) finish_token(job, t);
}

static void gradients_piece(void *ctx, int64_t i_part, int i_thread) {
    const loss_job *job = ctx;
    int64_t H = job->H, n = job->n_tokens, first = i_part * job->n_blocks / job->n_parts;
    float *dx = job->dx_parts + i_part * job->chunk_tokens * H;
    for (int64_t i = first; i < (i_part + 1) * job->n_blocks / job->n_parts; i++) {
        float *z = job->z + i * job->chunk_tokens * job->ld;
        int64_t width = block_width(job, i), v = i * job->block_vocab;
        block_gradients(job, z, i, 0, n);
        iso_cpu_gemm(true, false, width, H, n, z, job->ld, job->x, H, 1, job->dw + v * H, H);
        iso_cpu_gemm(false, false, n, H, width, z, job->ld, job->w + v * H, H, i > first, dx, H);
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

static void run_chunk(loss_job *job) {
    const iso_exec *ex = job->ex;
    int64_t n_token_pieces = cpu_ceil_div(job->n_tokens, BLOCK_TOKENS);
    if (job->n_blocks == 1) {
        iso_exec_pieces(ex, n_token_pieces, tokens_piece, job);
        if (job->backward)
            iso_exec_pieces(ex, cpu_ceil_div(job->V, dw_rows(job->V)), dw_piece, job);
        return;
    }
    iso_exec_pieces(ex, job->n_blocks, logits_piece, job);
    iso_exec_pieces(ex, n_token_pieces, finish_piece, job);
    if (!job->backward) return;
    iso_exec_pieces(ex, job->n_parts, gradients_piece, job);
    iso_exec_pieces(ex, n_token_pieces, dx_piece, job);
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

/* Chunks and blocks, from shapes alone. */
static void cut(loss_job *job, int64_t T) {
    int64_t V = job->V, fitting = CHUNK_ELEMENTS / V / BLOCK_TOKENS * BLOCK_TOKENS;
    job->chunk_tokens = cpu_min(T, cpu_min(cpu_max(fitting, LEAST_TOKENS), CHUNK_TOKENS));
    int64_t sixteenth = cpu_ceil_div(cpu_ceil_div(V, 16), 16) * 16;
    job->block_vocab = V <= SMALL_VOCAB ? V : cpu_min(cpu_max(sixteenth, 256), BLOCK_VOCAB);
    job->n_blocks = cpu_ceil_div(V, job->block_vocab);
    /* Rows of a block a power of two apart would alias in the cache. */
    job->ld = cpu_ceil_div(job->block_vocab, 16) * 16 + 16;
    job->n_parts = cpu_min(job->n_blocks, MAX_PARTS);
}

static void take_scratch(loss_job *job, iso_arena *scratch) {
    int64_t tokens = job->chunk_tokens, H = job->H, n_z = job->n_blocks * tokens;
    bool is_small = job->n_blocks == 1;
    int64_t n_threads_z = iso_exec_n_threads(job->ex) * (is_small ? BLOCK_TOKENS : tokens);
    job->keeps_z = job->backward || n_z <= n_threads_z;
    if (!job->keeps_z) n_z = n_threads_z;
    job->z = iso_arena_take(scratch, n_z * job->ld, sizeof(float));
    job->max = iso_arena_take(scratch, job->n_blocks * tokens, sizeof(float));
    job->sum = iso_arena_take(scratch, job->n_blocks * tokens, sizeof(float));
    job->target_logit = iso_arena_take(scratch, tokens, sizeof(float));
    job->x_clean = iso_arena_take(scratch, tokens * H, sizeof(float));
    if (job->backward && !is_small)
        job->dx_parts = iso_arena_take(scratch, job->n_parts * tokens * H, sizeof(float));
}

static void head_loss(iso_exec *ex, double *nats, void *dx, void *dw, const void *x, const void *w,
                      const int32_t *targets, int64_t T, int64_t H, int64_t V, double scale,
                      bool backward) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    loss_job all = {.ex = ex, .dw = dw, .w = w, .H = H, .V = V, .backward = backward};
    all.scale = (float)scale;
    cut(&all, T);
    take_scratch(&all, &ex->scratch);
    for (int64_t first = 0; !ex->measuring && first < T; first += all.chunk_tokens) {
        loss_job job = all;
        job.n_tokens = cpu_min(all.chunk_tokens, T - first);
        job.nats = nats + first, job.targets = targets + first;
        job.dx = dx ? (float *)dx + first * H : NULL;
        job.x = (const float *)x + first * H;
        clean_activations(&job);
        run_chunk(&job);
        for (int64_t t = 0; backward && t < job.n_tokens; t++)
            if (job.targets[t] < 0) memset(job.dx + t * H, 0, (size_t)H * sizeof *job.dx);
    }
    iso_arena_rewind(&ex->scratch, mark);
}

void ISO_ISA_NAME(iso_cpu_loss_init)(iso_kernels *kernels) {
    kernels->head_loss = head_loss;
}
