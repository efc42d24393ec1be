/* attention.c - causal attention in blocks of queries: no S x S matrix exists.
 *
 * A piece is one head of one sequence, which owns its part of every output. Its keys and values
 * are first copied, transposed where a product needs it, into the thread's scratch: rows of qkv lie
 * 3H apart, which is slow to multiply with. A block of queries meets all keys up to its own end at
 * once, so the softmax is the plain one; backward finds the probabilities again from the
 * log-sum-exp.
 *
 * (I1) lanes beyond the diagonal are replaced before they are used, whatever is in scratch there.
 */
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

#include <math.h>

#define BLOCK 32 /* queries: of the scores computed, BLOCK/S are thrown away */
#define gemm  ISO_ISA_NAME(iso_cpu_gemm_small)

typedef struct attention_job {
    const iso_attention *at;
    float *o, *lse, *dqkv, *scratch;
    const float *qkv, *const_o, *d_o, *const_lse;
    const float *far; /* far[S-1-n] = n or sqrt(n), or NULL: bias = -slope far */
    int64_t thread_floats;
} attention_job;

/* One head of one sequence: where it lies, and the thread's scratch. */
typedef struct head {
    int64_t S, d, H, ld, index; /* ld: floats from row to row of scores and of k_t, v_t */
    const float *q, *k, *v;     /* rows 3H apart */
    const float *far;
    float slope, scale;
    float *k_t, *v_t;   /* (d,S) */
    float *k_rows;      /* (S,d): forward v, backward k, scaled */
    float *dk, *dv;     /* (S,d) */
    float *q_rows, *g;  /* (BLOCK,d): scaled queries, do */
    float *scores, *dp; /* (BLOCK,S) */
} head;

/* Rows of scratch: whole vectors, and not a power of two apart, which would alias in the cache. */
static int64_t ld_of(const iso_attention *at) {
    return cpu_ceil_div(at->S, VEC_LANES) * VEC_LANES + VEC_LANES;
}

static int64_t thread_floats(const iso_attention *at, bool backward) {
    int64_t rows = cpu_ceil_div(at->S * at->d, VEC_LANES) * VEC_LANES;
    int64_t block = cpu_ceil_div(BLOCK * at->d, VEC_LANES) * VEC_LANES;
    return (backward ? 2 : 1) * (at->d * ld_of(at) + block + BLOCK * ld_of(at)) +
           (backward ? 3 : 1) * rows;
}

static float *take(float **free_part, int64_t n) {
    float *out = *free_part;
    *free_part += cpu_ceil_div(n, VEC_LANES) * VEC_LANES;
    return out;
}

static head head_of(const attention_job *job, int64_t i_head, int i_thread, bool backward) {
    const iso_attention *at = job->at;
    int64_t S = at->S, d = at->d, H = at->A * d, b = i_head / at->A, a = i_head % at->A;
    float *scratch = job->scratch + i_thread * job->thread_floats;
    head h = {.S = S, .d = d, .H = H, .ld = ld_of(at), .index = i_head, .far = job->far};
    h.q = job->qkv + b * S * 3 * H + a * d, h.k = h.q + H, h.v = h.k + H;
    h.slope = at->slopes ? at->slopes[a] : 0;
    h.scale = 1 / sqrtf((float)d);
    h.k_t = take(&scratch, d * h.ld);
    h.k_rows = take(&scratch, S * d);
    h.q_rows = take(&scratch, BLOCK * d);
    h.scores = take(&scratch, BLOCK * h.ld);
    if (backward) {
        h.v_t = take(&scratch, d * h.ld);
        h.dk = take(&scratch, S * d);
        h.dv = take(&scratch, S * d);
        h.g = take(&scratch, BLOCK * d);
        h.dp = take(&scratch, BLOCK * h.ld);
    }
    return h;
}

/* out (n,d), rows ld_out apart = scale in (n,d), rows ld_in apart */
static void copy_rows(float *out, int64_t ld_out, const float *in, int64_t ld_in, int64_t n,
                      int64_t d, float scale) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < d; c += VEC_LANES) {
            __builtin_prefetch(in + i * ld_in + c + d); /* the next head's */
            vec_store_upto(out + i * ld_out + c, vec_load_upto(in + i * ld_in + c, d - c) * scale,
                           d - c);
        }
}

/* Scores of query i and keys j.., with the bias. */
VEC_INLINE vec biased(const head *h, const float *s, int64_t i, int64_t j) {
    vec score = vec_load(s + j);
    if (h->far) score -= h->slope * vec_load(h->far + (h->S - 1 - i) + j);
    return score;
}

/* Turns the scores of query i, of the block from `first`, into e^(score - max), 0 where masked;
 * returns the sum and the maximum. All rows of a block take the same way: no branch to guess. */
VEC_INLINE float softmax_row(const head *h, float *s, int64_t i, int64_t first, int64_t n_keys,
                             float *max_out) {
    const vec masked = vec_set(-INFINITY);
    vec max_lanes = masked, sum = {0};
    int64_t j = 0;
    for (; j < first; j += VEC_LANES) {
        vec x = biased(h, s, i, j);
        if (h->far) vec_store(s + j, x);
        max_lanes = vec_max(x, max_lanes);
    }
    for (; j < n_keys; j += VEC_LANES) {
        vec x = vec_keep(biased(h, s, i, j), cpu_max(0, i + 1 - j), masked);
        vec_store(s + j, x);
        max_lanes = vec_max(x, max_lanes);
    }
    float max = *max_out = vec_max_lane(max_lanes);
    for (j = 0; j < n_keys; j += VEC_LANES) {
        vec p = vec_exp(vec_load(s + j) - max);
        sum += p;
        vec_store(s + j, p);
    }
    return vec_sum(sum);
}

static void forward_piece(void *ctx, int64_t i_head, int i_thread) {
    const attention_job *job = ctx;
    head h = head_of(job, i_head, i_thread, false);
    int64_t S = h.S, d = h.d, H = h.H, A = job->at->A;
    float *v_rows = h.k_rows, *o = job->o + i_head / A * S * H + i_head % A * d;
    ISO_ISA_NAME(iso_cpu_transpose)(h.k_t, h.ld, h.k, 3 * H, S, d);
    copy_rows(v_rows, d, h.v, 3 * H, S, d, 1);
    for (int64_t first = 0; first < S; first += BLOCK) {
        int64_t n = cpu_min(BLOCK, S - first), n_keys = first + n;
        float *out = o + first * H;
        copy_rows(h.q_rows, d, h.q + first * 3 * H, 3 * H, n, d, h.scale);
        gemm(false, n, n_keys, d, h.q_rows, d, h.k_t, h.ld, false, h.scores, h.ld);
        float sums[BLOCK], max;
        for (int64_t r = 0; r < n; r++) {
            sums[r] = softmax_row(&h, h.scores + r * h.ld, first + r, first, n_keys, &max);
            job->lse[i_head * S + first + r] = max + logf(sums[r]);
        }
        gemm(false, n, d, n_keys, h.scores, h.ld, v_rows, d, false, out, H);
        for (int64_t r = 0; r < n; r++)
            /* cppcheck-suppress uninitvar; the loop above sets as many */
            copy_rows(out + r * H, H, out + r * H, H, 1, d, 1 / sums[r]);
    }
}

/* The distances' part of the bias, backwards, so that it is read forwards along the keys. */
static const float *take_far(iso_exec *ex, const iso_attention *at) {
    if (!at->slopes) return NULL;
    int64_t n_floats = at->S + BLOCK + VEC_LANES; /* read, not used, beyond the diagonal */
    float *far = iso_arena_take(&ex->scratch, n_floats, sizeof *far);
    if (ex->measuring) return far;
    for (int64_t n = 0; n < at->S; n++)
        far[at->S - 1 - n] = at->alibi_sqrt ? sqrtf((float)n) : (float)n;
    for (int64_t i = at->S; i < n_floats; i++) far[i] = 0;
    return far;
}

static void attention_fwd(iso_exec *ex, void *o, void *lse, const void *qkv,
                          const iso_attention *at) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    attention_job job = {.at = at, .o = o, .lse = lse, .qkv = qkv};
    job.far = take_far(ex, at);
    job.thread_floats = thread_floats(at, false);
    job.scratch =
        iso_arena_take(&ex->scratch, iso_exec_n_threads(ex) * job.thread_floats, sizeof(float));
    if (!ex->measuring) iso_exec_pieces(ex, at->B * at->A, forward_piece, &job);
    iso_arena_rewind(&ex->scratch, mark);
}

/* Of query i, of the block from `first`: scores become p, dp (do v^T) becomes ds, both 0 where
 * masked. The scale of ds is in q_rows and k_rows. */
VEC_INLINE void backward_row(const head *h, float *p, float *dp, int64_t i, int64_t first,
                             int64_t n_keys, float lse, float delta) {
    int64_t j = 0;
    for (; j < first; j += VEC_LANES) {
        vec prob = vec_exp(biased(h, p, i, j) - lse);
        vec_store(p + j, prob);
        vec_store(dp + j, prob * (vec_load(dp + j) - delta));
    }
    for (; j < n_keys; j += VEC_LANES) {
        int64_t n_seen = cpu_max(0, i + 1 - j);
        vec prob = vec_exp(biased(h, p, i, j) - lse);
        vec_store(p + j, vec_keep(prob, n_seen, vec_set(0)));
        vec_store(dp + j, vec_keep(prob * (vec_load(dp + j) - delta), n_seen, vec_set(0)));
    }
}

static float row_dot(const float *a, const float *b, int64_t n) {
    vec sum = {0};
    for (int64_t i = 0; i < n; i += VEC_LANES)
        sum += vec_load_upto(a + i, n - i) * vec_load_upto(b + i, n - i);
    return vec_sum(sum);
}

static void backward_piece(void *ctx, int64_t i_head, int i_thread) {
    const attention_job *job = ctx;
    head h = head_of(job, i_head, i_thread, true);
    int64_t S = h.S, d = h.d, H = h.H, A = job->at->A;
    int64_t at_o = i_head / A * S * H + i_head % A * d;
    float *dq = job->dqkv + i_head / A * S * 3 * H + i_head % A * d;
    ISO_ISA_NAME(iso_cpu_transpose)(h.k_t, h.ld, h.k, 3 * H, S, d);
    ISO_ISA_NAME(iso_cpu_transpose)(h.v_t, h.ld, h.v, 3 * H, S, d);
    copy_rows(h.k_rows, d, h.k, 3 * H, S, d, h.scale);
    memset(h.dk, 0, (size_t)(S * d) * sizeof *h.dk);
    memset(h.dv, 0, (size_t)(S * d) * sizeof *h.dv);
    for (int64_t first = 0; first < S; first += BLOCK) {
        int64_t n = cpu_min(BLOCK, S - first), n_keys = first + n;
        const float *d_o = job->d_o + at_o + first * H, *o = job->const_o + at_o + first * H;
        const float *lse = job->const_lse + i_head * S + first;
        float deltas[BLOCK]; /* all at once: the loads of many rows are under way together */
        for (int64_t r = 0; r < n; r++) deltas[r] = row_dot(d_o + r * H, o + r * H, d);
        copy_rows(h.q_rows, d, h.q + first * 3 * H, 3 * H, n, d, h.scale);
        copy_rows(h.g, d, d_o, H, n, d, 1);
        gemm(false, n, n_keys, d, h.q_rows, d, h.k_t, h.ld, false, h.scores, h.ld);
        gemm(false, n, n_keys, d, h.g, d, h.v_t, h.ld, false, h.dp, h.ld);
        for (int64_t r = 0; r < n; r++)
            backward_row(&h, h.scores + r * h.ld, h.dp + r * h.ld, first + r, first, n_keys, lse[r],
                         deltas[r]);
        gemm(true, n_keys, d, n, h.scores, h.ld, h.g, d, true, h.dv, d);
        gemm(true, n_keys, d, n, h.dp, h.ld, h.q_rows, d, true, h.dk, d);
        gemm(false, n, d, n_keys, h.dp, h.ld, h.k_rows, d, false, dq + first * 3 * H, 3 * H);
    }
    copy_rows(dq + H, 3 * H, h.dk, d, S, d, 1);
    copy_rows(dq + 2 * H, 3 * H, h.dv, d, S, d, 1);
}

static void attention_bwd(iso_exec *ex, void *dqkv, const void *d_o, const void *o, const void *lse,
                          const void *qkv, const iso_attention *at) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    attention_job job = {.at = at, .dqkv = dqkv, .d_o = d_o, .const_o = o, .const_lse = lse};
    job.qkv = qkv;
    job.far = take_far(ex, at);
    job.thread_floats = thread_floats(at, true);
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
