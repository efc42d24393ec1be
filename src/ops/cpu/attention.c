/* attention.c - causal attention forward, in blocks of queries and keys: no S x S matrix exists.
 *
 * A piece is a chunk of one head's queries. It copies the keys and values that they see, then takes
 * its queries by blocks; a block meets the keys by blocks and keeps a running maximum and sum of
 * every query (online softmax). What the output so far must be multiplied by when a maximum grows
 * is applied where the next product loads it.
 */
#include "ops/cpu/attention.h"

#include <math.h>

#define MIN_PIECES 32
#define MAX_CHUNKS 8

typedef struct forward_job {
    const iso_exec *ex;
    const iso_attention *at;
    attention_cut cut;
    number *o;
    float *lse, *scratch;
    const number *qkv;
    const float *far;
    int64_t thread_floats;
} forward_job;

/* One head of one sequence, and the thread's scratch. */
typedef struct forward {
    int64_t d, ld; /* ld: d, rounded up to whole vectors */
    float slope;   /* in units of log 2, as all scores are */
    const float *far;
    float *k, *v; /* (S,ld): rows, pairs */
    float *q_t;   /* (ld,QUERIES): pairs of numbers of a query, scaled */
    float *p;     /* (KEYS,QUERIES): scores, then pairs of keys; and rows on their way in and out */
    float *o_t;   /* (ld,QUERIES) */
    float *max, *sum, *grown; /* (QUERIES); grown: 2^(old max - max) */
    attention_ahead ahead;
} forward;

/* Enough pieces for some threads, of at least two blocks of queries each. */
attention_cut ISO_ISA_NAME(iso_cpu_attention_cut)(const iso_attention *at) {
    attention_cut cut = {.n_heads = at->B * at->A};
    int64_t n_blocks = cpu_ceil_div(at->S, QUERIES);
    int64_t wanted = cpu_min(cpu_ceil_div(MIN_PIECES, cut.n_heads), MAX_CHUNKS);
    int64_t n_chunks = cpu_max(1, cpu_min(wanted, n_blocks / 2));
    cut.chunk_rows = cpu_ceil_div(n_blocks, n_chunks) * QUERIES;
    cut.n_chunks = cpu_ceil_div(at->S, cut.chunk_rows);
    return cut;
}

const float *ISO_ISA_NAME(iso_cpu_attention_far)(iso_exec *ex, const iso_attention *at) {
    if (!at->slopes) return NULL;
    int64_t n_floats = FAR_BEFORE + at->S + QUERIES;
    float *far = iso_arena_take(&ex->scratch, n_floats, sizeof *far);
    for (int64_t i = 0; !ex->measuring && i < n_floats; i++) {
        float n = (float)cpu_max(0, i - FAR_BEFORE);
        far[i] = at->alibi_sqrt ? sqrtf(n) : n;
    }
    return ex->measuring ? far : far + FAR_BEFORE;
}

static int64_t forward_floats(const iso_attention *at) {
    int64_t ld = round_up(at->d, VEC_LANES), rows = round_up(at->S, TILE_ROWS);
    return 2 * round_up(rows * ld, 16) + 2 * ld * QUERIES + cpu_max(KEYS, ld) * QUERIES +
           3 * QUERIES;
}

static forward forward_of(const forward_job *job, int64_t i_head, int i_thread) {
    const iso_attention *at = job->at;
    float *scratch = job->scratch + i_thread * job->thread_floats;
    forward f = {.d = at->d, .ld = round_up(at->d, VEC_LANES), .far = job->far};
    int64_t rows = round_up(at->S, TILE_ROWS);
    f.slope = at->slopes ? at->slopes[i_head % at->A] * LOG2_E : 0;
    f.k = take(&scratch, rows * f.ld);
    f.v = take(&scratch, rows * f.ld);
    f.q_t = take(&scratch, f.ld * QUERIES);
    f.o_t = take(&scratch, f.ld * QUERIES);
    f.p = take(&scratch, cpu_max(KEYS, f.ld) * QUERIES);
    f.max = take(&scratch, QUERIES);
    f.sum = take(&scratch, QUERIES);
    f.grown = take(&scratch, QUERIES);
    return f;
}

/* Scores of keys j.. and n_regs registers of queries, from q_t's column on; max grows. */
UNCHECKED VEC_INLINE void score_tile(const forward *f, int n_regs, float *p, const float *q_t,
                                     float *max, int64_t query, int64_t j) {
    vec acc[TILE_ROWS][TILE_REGS];
    tile_zero(acc);
    int64_t ld = f->ld / NUMBERS;
    tile_product(acc, n_regs, f->k + j * ld, ld, 1, q_t, QUERIES, cpu_ceil_div(f->d, NUMBERS));
    tile_bias_mask(acc, n_regs, f->far, f->slope, query, j);
#pragma GCC unroll 3
    for (int v = 0; v < n_regs; v++) {
        vec m = vec_load(max + v * VEC_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r++) m = vec_max(acc[r][v], m);
        vec_store(max + v * VEC_LANES, m);
    }
    tile_store(p, QUERIES, acc, n_regs);
}

/* Scores of the block of queries and n_keys keys from `key` on, into p. */
UNCHECKED static void scores(forward *f, int64_t first, int n_regs, int64_t key, int64_t n_keys) {
    for (int strip = 0; strip < n_regs; strip += TILE_REGS)
        for (int64_t i = 0; i < n_keys; i += TILE_ROWS) {
            int64_t j = key + i;
            int end = (int)cpu_min(strip + TILE_REGS, n_regs);
            int reg = (int)cpu_max(strip, first_reg(first, j)), col = reg * VEC_LANES;
            float *p = f->p + i * QUERIES + col;
            if (end - reg > 2)
                score_tile(f, TILE_REGS, p, f->q_t + col, f->max + col, first + col, j);
            if (end - reg == 2) score_tile(f, 2, p, f->q_t + col, f->max + col, first + col, j);
            if (end - reg == 1) score_tile(f, 1, p, f->q_t + col, f->max + col, first + col, j);
            attention_ahead_step(&f->ahead);
        }
}

/* Scores become e^(score - max), 0 where masked; sums and what came before are brought to the new
 * maximum. */
static void softmax(const forward *f, const float *old_max, int64_t first, int n_regs, int64_t key,
                    int64_t n_keys) {
    for (int reg = 0; reg < n_regs; reg++) {
        int64_t col = reg * VEC_LANES;
        int64_t n = cpu_min(n_keys, first + col + VEC_LANES - key);
        vec max = vec_load(f->max + col), grown = vec_exp2(vec_load(old_max + col) - max);
        vec sum = vec_load(f->sum + col) * grown;
        for (int64_t i = 0; i < n; i += NUMBERS) {
            float *scores_i = f->p + i * QUERIES + col, *out = f->p + i / NUMBERS * QUERIES + col;
            vec p = vec_exp2(vec_load(scores_i) - max);
            sum += p;
#if NUMBERS == 2
            vec odd = vec_exp2(vec_load(scores_i + QUERIES) - max);
            sum += odd;
            p = half_round_pair(p, odd);
#endif
            vec_store(out, p);
        }
        vec_store(f->sum + col, sum);
        vec_store(f->grown + col, grown);
    }
}

/* Rows c.. of o_t += v^T p over n keys (row i of p on); first is multiplied by grown. */
UNCHECKED VEC_INLINE void output_tile(const forward *f, int n_regs, bool grows, int64_t col,
                                      int64_t c, int64_t key, int64_t i, int64_t n) {
    vec acc[TILE_ROWS][TILE_REGS];
    float *o_t = f->o_t + c * QUERIES + col;
    tile_load(acc, n_regs, o_t, QUERIES);
    if (grows) {
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++) {
            vec grown = vec_load(f->grown + col + v * VEC_LANES);
#pragma GCC unroll 8
            for (int r = 0; r < TILE_ROWS; r++) acc[r][v] *= grown;
        }
    }
    tile_product(acc, n_regs, f->v + (key + i) / NUMBERS * f->ld + c, 1, f->ld,
                 f->p + i / NUMBERS * QUERIES + col, QUERIES, n / NUMBERS);
    tile_store(o_t, QUERIES, acc, n_regs);
}

/* On the diagonal a strip's registers end one after the other: the keys up to the end of each are
 * for it and those behind. */
UNCHECKED static void outputs(const forward *f, int64_t first, int n_regs, int64_t key,
                              int64_t n_keys) {
    for (int strip = 0; strip < n_regs; strip += TILE_REGS) {
        int end = (int)cpu_min(strip + TILE_REGS, n_regs);
        int64_t done = 0;
        for (int reg = strip; reg < end && done < n_keys; reg++) {
            int64_t col = reg * VEC_LANES, to = cpu_min(n_keys, first + col + VEC_LANES - key);
            if (to <= done) continue;
            for (int64_t c = 0; c < f->ld; c += TILE_ROWS) {
                if (end - reg > 2) output_tile(f, TILE_REGS, !done, col, c, key, done, to - done);
                if (end - reg == 2) output_tile(f, 2, !done, col, c, key, done, to - done);
                if (end - reg == 1) output_tile(f, 1, !done, col, c, key, done, to - done);
            }
            done = to;
        }
    }
}

/* The n queries from `first` on: q (n,d) to o (n,d) and lse (n). */
static void forward_block(forward *f, number *o, int64_t ld_o, float *lse, const number *q,
                          int64_t ld_q, int64_t first, int64_t n) {
    int n_regs = (int)cpu_ceil_div(n, VEC_LANES);
    float old_max[QUERIES], *rows = f->p;
    attention_rows(rows, f->ld, n_regs * VEC_LANES, q, ld_q, n, f->d, LOG2_E / sqrtf((float)f->d));
    ISO_ISA_NAME(iso_cpu_transpose)
    (f->q_t, QUERIES, rows, f->ld / NUMBERS, n_regs * VEC_LANES, f->ld / NUMBERS);
    memset(f->o_t, 0, (size_t)(f->ld * QUERIES) * sizeof *f->o_t);
    for (int i = 0; i < QUERIES; i++) f->max[i] = MASKED, f->sum[i] = 0;
    for (int64_t key = 0; key < first + n; key += KEYS) {
        int64_t n_keys = round_up(cpu_min(KEYS, first + n - key), TILE_ROWS);
        memcpy(old_max, f->max, sizeof old_max);
        scores(f, first, n_regs, key, n_keys);
        softmax(f, old_max, first, n_regs, key, n_keys);
        outputs(f, first, n_regs, key, n_keys);
    }
    for (int64_t i = 0; i < n; i += VEC_LANES) {
        vec sum = vec_load(f->sum + i);
        vec_store_upto(lse + i, vec_load(f->max + i) * LN_2 + vec_log(sum), n - i);
        vec_store(f->sum + i, 1.0f / sum);
    }
    ISO_ISA_NAME(iso_cpu_transpose)(rows, f->ld, f->o_t, QUERIES, f->ld, n_regs * VEC_LANES);
    attention_write(o, ld_o, rows, f->ld, n, f->d, 0, f->sum);
}

/* The last queries see the most keys: they come first, so that threads end together. */
static void forward_piece(void *ctx, int64_t i_piece, int i_thread) {
    const forward_job *job = ctx;
    const attention_cut *cut = &job->cut;
    int64_t i_head = i_piece % cut->n_heads, S = job->at->S, A = job->at->A;
    int64_t begin = (cut->n_chunks - 1 - i_piece / cut->n_heads) * cut->chunk_rows;
    int64_t end = cpu_min(S, begin + cut->chunk_rows);
    forward f = forward_of(job, i_head, i_thread);
    int64_t H = A * f.d, a = i_head % A, row = i_head / A * S;
    const number *q = job->qkv + row * 3 * H + a * f.d;
    number *o = job->o + row * H + a * f.d;
    int64_t next = cpu_min(i_head + iso_exec_n_threads(job->ex), cut->n_heads - 1);
    const number *next_q = job->qkv + next / A * S * 3 * H + next % A * f.d;
    attention_ahead_init(&f.ahead, S, f.d);
    for (int i = 0; i < 3; i++) attention_ahead_in(&f.ahead, next_q + i * H, 3 * H);
    attention_ahead_out(&f.ahead, o, H);
    attention_rows(f.k, f.ld, round_up(end, TILE_ROWS), q + H, 3 * H, end, f.d, 1);
    attention_pairs(f.v, f.ld, round_up(end, TILE_ROWS), q + 2 * H, 3 * H, end, f.d, 1);
    for (int64_t i = begin; i < end; i += QUERIES)
        forward_block(&f, o + i * H, H, job->lse + i_head * S + i, q + i * 3 * H, 3 * H, i,
                      cpu_min(QUERIES, end - i));
}

static void attention_fwd(iso_exec *ex, void *o, void *lse, const void *qkv,
                          const iso_attention *at) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    forward_job job = {.ex = ex, .at = at, .o = o, .lse = lse, .qkv = qkv};
    job.cut = ISO_ISA_NAME(iso_cpu_attention_cut)(at);
    job.far = ISO_ISA_NAME(iso_cpu_attention_far)(ex, at);
    job.thread_floats = forward_floats(at);
    job.scratch =
        iso_arena_take(&ex->scratch, iso_exec_n_threads(ex) * job.thread_floats, sizeof(float));
    if (!ex->measuring)
        iso_exec_pieces(ex, job.cut.n_heads * job.cut.n_chunks, forward_piece, &job);
    iso_arena_rewind(&ex->scratch, mark);
}

/* Of the block of queries from `first`, the registers that see key j count. */
static int64_t attention_executed(const iso_attention *at, bool backward) {
    int64_t pairs = 0;
    for (int64_t first = 0; first < at->S; first += QUERIES) {
        int64_t end = cpu_min(at->S, first + QUERIES);
        int64_t n_regs = cpu_ceil_div(end - first, VEC_LANES);
        pairs += first * n_regs * VEC_LANES;
        for (int64_t j = first; j < end; j += TILE_ROWS)
            pairs += TILE_ROWS * (n_regs - first_reg(first, j)) * VEC_LANES;
    }
    return at->B * at->A * pairs * 2 * at->d * (backward ? 5 : 2);
}

void ISO_ISA_NAME(iso_cpu_attention_init)(iso_kernels *kernels) {
    kernels->attention_fwd = attention_fwd;
    kernels->attention_bwd = ISO_ISA_NAME(iso_cpu_attention_bwd);
    kernels->attention_executed = attention_executed;
}
