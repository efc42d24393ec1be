/* attention.c - causal attention forward, in blocks of queries and keys: no S x S matrix exists.
 *
 * A piece is a chunk of one head's queries. It copies the keys and values that they see, then takes
 * its queries by blocks; a block meets the keys by blocks and keeps a running sum of every query
 * (online softmax).
 *
 * What softmax takes from the scores of a query before e^x need not be their maximum, which is
 * known too late: its score with its own key is one of them, so the sum cannot vanish, and floats
 * bear a sum of MAX_SUM. So scores become probabilities in the registers in which they arise. A
 * block of keys with which a sum grows beyond that raises what is taken, and is done again.
 */
#include "ops/cpu/attention.h"

#include <math.h>

#define MIN_PIECES 32
#define MAX_CHUNKS 8
#define MAX_SUM    0x1p80f

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
    float scale;   /* of scores: to units of log 2 */
    float slope;   /* over scale */
    const float *far;
    float *k, *v;      /* (S,ld): rows, pairs */
    float *q_t;        /* (ld,QUERIES): pairs of numbers of a query */
    float *p;          /* (KEYS,QUERIES): pairs of keys; and rows on their way in and out */
    float *o_t;        /* (ld,QUERIES) */
    float *base, *sum; /* (QUERIES): what is taken from scores; the sum of 2^(score - base) */
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
           2 * QUERIES;
}

static forward forward_of(const forward_job *job, int64_t i_head, int i_thread) {
    const iso_attention *at = job->at;
    float *scratch = job->scratch + i_thread * job->thread_floats;
    forward f = {.d = at->d, .ld = round_up(at->d, VEC_LANES), .far = job->far};
    int64_t rows = round_up(at->S, TILE_ROWS);
    f.scale = LOG2_E / sqrtf((float)at->d);
    f.slope = at->slopes ? at->slopes[i_head % at->A] * sqrtf((float)at->d) : 0;
    f.k = take(&scratch, rows * f.ld);
    f.v = take(&scratch, rows * f.ld);
    f.q_t = take(&scratch, f.ld * QUERIES);
    f.o_t = take(&scratch, f.ld * QUERIES);
    f.p = take(&scratch, cpu_max(KEYS, f.ld) * QUERIES);
    f.base = take(&scratch, QUERIES);
    f.sum = take(&scratch, QUERIES);
    return f;
}

/* Scores of keys j.. and n_regs registers of queries, from column col on. */
VEC_INLINE void score_tile(vec acc[TILE_ROWS][TILE_REGS], const forward *f, int n_regs, int64_t col,
                           int64_t query, int64_t j) {
    int64_t ld = f->ld / NUMBERS;
    tile_zero(acc);
    tile_product(acc, n_regs, f->k + j * ld, ld, 1, f->q_t + col, QUERIES,
                 cpu_ceil_div(f->d, NUMBERS));
    tile_bias_mask(acc, n_regs, f->far, f->slope, query, j);
}

/* Their probabilities, 0 where masked, into p (row i on) and the sums. */
UNCHECKED VEC_INLINE void probability_tile(const forward *f, int n_regs, int64_t i, int64_t col,
                                           int64_t query, int64_t j) {
    vec acc[TILE_ROWS][TILE_REGS];
    score_tile(acc, f, n_regs, col, query, j);
#pragma GCC unroll 3
    for (int v = 0; v < n_regs; v++) {
        vec base = vec_load(f->base + col + v * VEC_LANES);
        vec sum = vec_load(f->sum + col + v * VEC_LANES);
        float *p = f->p + i / NUMBERS * QUERIES + col + v * VEC_LANES;
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r += NUMBERS) {
            vec prob = score_exp2(acc[r][v] * f->scale - base);
            sum += prob;
#if NUMBERS == 2
            vec odd = score_exp2(acc[r + 1][v] * f->scale - base);
            sum += odd;
            prob = half_round_pair(prob, odd);
#endif
            vec_store(p + r / NUMBERS * QUERIES, prob);
        }
        vec_store(f->sum + col + v * VEC_LANES, sum);
    }
}

/* Of the block of queries and n_keys keys from `key` on. */
UNCHECKED static void probabilities(forward *f, int64_t first, int n_regs, int64_t key,
                                    int64_t n_keys) {
    for (int strip = 0; strip < n_regs; strip += TILE_REGS)
        for (int64_t i = 0; i < n_keys; i += TILE_ROWS) {
            int64_t j = key + i;
            int end = (int)cpu_min(strip + TILE_REGS, n_regs);
            int reg = (int)cpu_max(strip, first_reg(first, j));
            int64_t col = reg * VEC_LANES;
            if (end - reg > 2) probability_tile(f, TILE_REGS, i, col, first + col, j);
            if (end - reg == 2) probability_tile(f, 2, i, col, first + col, j);
            if (end - reg == 1) probability_tile(f, 1, i, col, first + col, j);
            attention_ahead_step(&f->ahead);
        }
}

/* Raises base to the largest score of the block's queries with these keys, and brings what came
 * before to it. Rare, and so register by register. */
static void raise_base(forward *f, int64_t first, int n_regs, int64_t key, int64_t n_keys) {
    for (int64_t col = 0; col < n_regs * VEC_LANES; col += VEC_LANES) {
        vec old = vec_load(f->base + col), base = old, acc[TILE_ROWS][TILE_REGS];
        for (int64_t i = 0; i < n_keys && key + i < first + col + VEC_LANES; i += TILE_ROWS) {
            score_tile(acc, f, 1, col, first + col, key + i);
            for (int r = 0; r < TILE_ROWS; r++) base = vec_max(acc[r][0] * f->scale, base);
        }
        vec grown = vec_exp2(old - base);
        vec_store(f->base + col, base);
        vec_store(f->sum + col, vec_load(f->sum + col) * grown);
        for (int64_t c = 0; c < f->ld; c++) {
            float *o_t = f->o_t + c * QUERIES + col;
            vec_store(o_t, vec_load(o_t) * grown);
        }
    }
}

/* The block's probabilities for these keys, in p, and their sums. */
static void softmax(forward *f, int64_t first, int n_regs, int64_t key, int64_t n_keys) {
    float sum[QUERIES];
    memcpy(sum, f->sum, sizeof sum);
    probabilities(f, first, n_regs, key, n_keys);
    bool fits = true;
    for (int i = 0; i < n_regs * VEC_LANES; i += VEC_LANES)
        fits = fits && !vec_any_above(vec_load(f->sum + i), vec_set(MAX_SUM));
    if (fits) return;
    memcpy(f->sum, sum, sizeof sum);
    raise_base(f, first, n_regs, key, n_keys);
    probabilities(f, first, n_regs, key, n_keys);
}

/* Rows c.. of o_t += v^T p over n keys (row i of p on). */
UNCHECKED VEC_INLINE void output_tile(const forward *f, int n_regs, int64_t col, int64_t c,
                                      int64_t key, int64_t i, int64_t n) {
    vec acc[TILE_ROWS][TILE_REGS];
    float *o_t = f->o_t + c * QUERIES + col;
    tile_load(acc, n_regs, o_t, QUERIES);
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
                if (end - reg > 2) output_tile(f, TILE_REGS, col, c, key, done, to - done);
                if (end - reg == 2) output_tile(f, 2, col, c, key, done, to - done);
                if (end - reg == 1) output_tile(f, 1, col, c, key, done, to - done);
            }
            done = to;
        }
    }
}

/* The n queries from `first` on: q (n,d), and their own keys k, to o (n,d) and lse (n). */
static void forward_block(forward *f, number *o, int64_t ld_o, float *lse, const number *q,
                          const number *k, int64_t ld_q, int64_t first, int64_t n) {
    int n_regs = (int)cpu_ceil_div(n, VEC_LANES);
    float *rows = f->p;
    attention_transposed(f->q_t, rows, f->ld, n_regs * VEC_LANES, q, ld_q, n, f->d);
    memset(f->o_t, 0, (size_t)(f->ld * QUERIES) * sizeof *f->o_t);
    for (int64_t i = 0; i < n_regs * VEC_LANES; i++) {
        f->base[i] = i < n ? attention_dot(q + i * ld_q, k + i * ld_q, f->d) * f->scale : 0;
        f->sum[i] = 0;
    }
    for (int64_t key = 0; key < first + n; key += KEYS) {
        int64_t n_keys = round_up(cpu_min(KEYS, first + n - key), TILE_ROWS);
        softmax(f, first, n_regs, key, n_keys);
        outputs(f, first, n_regs, key, n_keys);
    }
    for (int64_t i = 0; i < n; i += VEC_LANES) {
        vec sum = vec_load(f->sum + i);
        vec_store_upto(lse + i, vec_load(f->base + i) * LN_2 + vec_log(sum), n - i);
        vec_store(f->sum + i, 1.0f / sum);
    }
    ISO_ISA_NAME(iso_cpu_transpose)(rows, f->ld, f->o_t, QUERIES, f->ld, n_regs * VEC_LANES);
    attention_write(o, ld_o, rows, f->ld, n, f->d, 0, f->sum);
}

/* While queries [i, i + QUERIES) of a chunk that ends at `end` run: what they write, and what the
 * next ones read, or the next head. */
static void fetch_ahead(const forward_job *job, forward *f, int64_t i_head, int64_t i,
                        int64_t end) {
    int64_t S = job->at->S, A = job->at->A, H = A * f->d, next = i + QUERIES;
    int64_t n = cpu_min(QUERIES, end - i);
    attention_ahead_init(&f->ahead, f->d);
    attention_ahead_add(&f->ahead, job->o + (i_head / A * S + i) * H + i_head % A * f->d, H, n,
                        true);
    bool is_last = next >= end;
    if (is_last) i_head = cpu_min(i_head + iso_exec_n_threads(job->ex), job->cut.n_heads - 1);
    const number *q = job->qkv + i_head / A * S * 3 * H + i_head % A * f->d;
    if (is_last) next = 0;
    attention_ahead_add(&f->ahead, q + next * 3 * H, 3 * H, cpu_min(QUERIES, end - next), false);
    for (int j = 1; is_last && j < 3; j++)
        attention_ahead_add(&f->ahead, q + j * H, 3 * H, end, false);
    attention_ahead_spread(&f->ahead, attention_tiles(n, i + n));
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
    attention_rows(f.k, f.ld, round_up(end, TILE_ROWS), q + H, 3 * H, end, f.d);
    attention_pairs(f.v, f.ld, round_up(end, TILE_ROWS), q + 2 * H, 3 * H, end, f.d);
    for (int64_t i = begin; i < end; i += QUERIES) {
        int64_t n = cpu_min(QUERIES, end - i);
        fetch_ahead(job, &f, i_head, i, end);
        forward_block(&f, o + i * H, H, job->lse + i_head * S + i, q + i * 3 * H, q + H + i * 3 * H,
                      3 * H, i, n);
    }
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
