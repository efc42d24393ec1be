/* attention.c - causal attention in blocks of queries: no S x S matrix exists.
 *
 * Forward: a piece is one block of queries of one head. Its scores against all keys up to its end
 * fit in a thread's scratch, so the softmax is the plain one. Backward: a piece is one head, which
 * owns its dq, dk and dv; it goes through the blocks of queries in order and finds the
 * probabilities again from the log-sum-exp.
 */
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

#include <math.h>

#define BLOCK 64 /* queries */

typedef struct attention_job {
    const iso_attention *at;
    float *o, *lse, *dqkv, *scratch;
    const float *qkv, *const_o, *d_o, *const_lse;
    const float *far; /* (S) far[S-1-n] = n or sqrt(n), or NULL: bias = -slope far */
    int64_t thread_floats, n_blocks;
} attention_job;

/* Adds scale and bias to the scores of query i. */
VEC_INLINE vec biased(const attention_job *job, const float *s, int64_t head, int64_t i, int64_t j,
                      int64_t n) {
    const iso_attention *at = job->at;
    vec score = vec_load_upto(s + j, n) * (1 / sqrtf((float)at->d));
    if (job->far) score -= at->slopes[head] * vec_load_upto(job->far + (at->S - 1 - i) + j, n);
    return score;
}

static void forward_piece(void *ctx, int64_t i_piece, int i_thread) {
    const attention_job *job = ctx;
    const iso_attention *at = job->at;
    int64_t S = at->S, d = at->d, H = at->A * d;
    int64_t i_head = i_piece / job->n_blocks, b = i_head / at->A, a = i_head % at->A;
    int64_t first = i_piece % job->n_blocks * BLOCK, n = cpu_min(BLOCK, S - first);
    int64_t n_keys = first + n;
    float *scores = job->scratch + i_thread * job->thread_floats;
    const float *q = job->qkv + b * S * 3 * H + a * d, *k = q + H, *v = k + H;
    float *o = job->o + (b * S + first) * H + a * d;
    iso_cpu_gemm(false, true, n, n_keys, d, q + first * 3 * H, 3 * H, k, 3 * H, 0, scores, S);
    float sums[BLOCK];
    for (int64_t r = 0; r < n; r++) {
        float *s = scores + r * S;
        int64_t i = first + r, n_seen = i + 1;
        vec max_lanes = vec_set(-INFINITY), sum = {0};
        for (int64_t j = 0; j < n_seen; j += VEC_LANES) {
            vec x = biased(job, s, a, i, j, n_seen - j);
            vec_store_upto(s + j, x, n_seen - j);
            max_lanes = vec_max(vec_keep(x, n_seen - j, -INFINITY), max_lanes);
        }
        float max = vec_max_lane(max_lanes);
        for (int64_t j = 0; j < n_seen; j += VEC_LANES) {
            vec p = vec_keep(vec_exp(vec_load_upto(s + j, n_seen - j) - max), n_seen - j, 0);
            sum += p;
            vec_store_upto(s + j, p, n_seen - j);
        }
        memset(s + n_seen, 0, (size_t)(n_keys - n_seen) * sizeof *s);
        sums[r] = vec_sum(sum);
        job->lse[i_head * S + i] = max + logf(sums[r]);
    }
    iso_cpu_gemm(false, false, n, d, n_keys, scores, S, v, 3 * H, 0, o, H);
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < d; c += VEC_LANES)
            vec_store_upto(o + r * H + c, vec_load_upto(o + r * H + c, d - c) / sums[r], d - c);
}

/* The distances' part of the bias, backwards, so that it is read forwards along the keys. */
static const float *take_far(iso_exec *ex, const iso_attention *at) {
    if (!at->slopes) return NULL;
    float *far = iso_arena_take(&ex->scratch, at->S, sizeof *far);
    for (int64_t n = 0; !ex->measuring && n < at->S; n++)
        far[at->S - 1 - n] = at->alibi_sqrt ? sqrtf((float)n) : (float)n;
    return far;
}

static int64_t n_blocks(const iso_attention *at) {
    return cpu_ceil_div(at->S, BLOCK);
}

static void attention_fwd(iso_exec *ex, void *o, void *lse, const void *qkv,
                          const iso_attention *at) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    attention_job job = {.at = at, .o = o, .lse = lse, .qkv = qkv, .n_blocks = n_blocks(at)};
    job.far = take_far(ex, at);
    job.thread_floats = BLOCK * at->S;
    job.scratch =
        iso_arena_take(&ex->scratch, iso_exec_n_threads(ex) * job.thread_floats, sizeof(float));
    if (!ex->measuring) iso_exec_pieces(ex, at->B * at->A * job.n_blocks, forward_piece, &job);
    iso_arena_rewind(&ex->scratch, mark);
}

/* p and dp (n, n_keys): scores and do v^T on entry, p and ds on return. */
static void backward_softmax(const attention_job *job, float *p, float *dp, int64_t i_head,
                             int64_t first, int64_t n, int64_t n_keys) {
    const iso_attention *at = job->at;
    int64_t S = at->S, d = at->d, H = at->A * d, b = i_head / at->A, a = i_head % at->A;
    float scale = 1 / sqrtf((float)d);
    for (int64_t r = 0; r < n; r++, p += S, dp += S) {
        int64_t i = first + r, n_seen = i + 1;
        const float *g = job->d_o + (b * S + i) * H + a * d;
        const float *o = job->const_o + (b * S + i) * H + a * d;
        vec dots = {0};
        for (int64_t c = 0; c < d; c += VEC_LANES)
            dots += vec_load_upto(g + c, d - c) * vec_load_upto(o + c, d - c);
        float delta = vec_sum(dots), lse = job->const_lse[i_head * S + i];
        for (int64_t j = 0; j < n_seen; j += VEC_LANES) {
            vec prob = vec_exp(biased(job, p, a, i, j, n_seen - j) - lse);
            vec_store_upto(p + j, prob, n_seen - j);
            vec_store_upto(dp + j, prob * (vec_load_upto(dp + j, n_seen - j) - delta) * scale,
                           n_seen - j);
        }
        memset(p + n_seen, 0, (size_t)(n_keys - n_seen) * sizeof *p);
        memset(dp + n_seen, 0, (size_t)(n_keys - n_seen) * sizeof *dp);
    }
}

static void backward_piece(void *ctx, int64_t i_head, int i_thread) {
    const attention_job *job = ctx;
    const iso_attention *at = job->at;
    int64_t S = at->S, d = at->d, H = at->A * d, b = i_head / at->A, a = i_head % at->A;
    float *p = job->scratch + i_thread * job->thread_floats, *dp = p + BLOCK * S;
    const float *q = job->qkv + b * S * 3 * H + a * d, *k = q + H, *v = k + H;
    float *dq = job->dqkv + b * S * 3 * H + a * d, *dk = dq + H, *dv = dk + H;
    for (int64_t i = 0; i < S; i++) {
        memset(dk + i * 3 * H, 0, (size_t)d * sizeof *dk);
        memset(dv + i * 3 * H, 0, (size_t)d * sizeof *dv);
    }
    for (int64_t first = 0; first < S; first += BLOCK) {
        int64_t n = cpu_min(BLOCK, S - first), n_keys = first + n;
        const float *qb = q + first * 3 * H, *g = job->d_o + (b * S + first) * H + a * d;
        iso_cpu_gemm(false, true, n, n_keys, d, qb, 3 * H, k, 3 * H, 0, p, S);
        iso_cpu_gemm(false, true, n, n_keys, d, g, H, v, 3 * H, 0, dp, S);
        backward_softmax(job, p, dp, i_head, first, n, n_keys);
        iso_cpu_gemm(true, false, n_keys, d, n, p, S, g, H, 1, dv, 3 * H);
        iso_cpu_gemm(true, false, n_keys, d, n, dp, S, qb, 3 * H, 1, dk, 3 * H);
        iso_cpu_gemm(false, false, n, d, n_keys, dp, S, k, 3 * H, 0, dq + first * 3 * H, 3 * H);
    }
}

static void attention_bwd(iso_exec *ex, void *dqkv, const void *d_o, const void *o, const void *lse,
                          const void *qkv, const iso_attention *at) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    attention_job job = {.at = at, .dqkv = dqkv, .d_o = d_o, .const_o = o, .const_lse = lse};
    job.qkv = qkv, job.n_blocks = n_blocks(at);
    job.far = take_far(ex, at);
    job.thread_floats = 2 * BLOCK * at->S;
    job.scratch =
        iso_arena_take(&ex->scratch, iso_exec_n_threads(ex) * job.thread_floats, sizeof(float));
    if (!ex->measuring) iso_exec_pieces(ex, at->B * at->A, backward_piece, &job);
    iso_arena_rewind(&ex->scratch, mark);
}

/* Each block of queries meets all keys up to its own end. */
static int64_t attention_executed(const iso_attention *at, bool backward) {
    int64_t pairs = 0;
    for (int64_t first = 0; first < at->S; first += BLOCK) {
        int64_t n = cpu_min(BLOCK, at->S - first);
        pairs += n * (first + n);
    }
    return at->B * at->A * pairs * 2 * at->d * (backward ? 5 : 2);
}

void ISO_ISA_NAME(iso_cpu_attention_init)(iso_kernels *kernels) {
    kernels->attention_fwd = attention_fwd;
    kernels->attention_bwd = attention_bwd;
    kernels->attention_executed = attention_executed;
}
