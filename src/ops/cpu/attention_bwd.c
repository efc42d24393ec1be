/* attention_bwd.c - causal attention backward: probabilities again, from the log-sum-exp.
 *
 *     p = 2^(q k - lse), ds = p (do v - do o);  dv += p^T do, dk += ds^T q, dq += ds k
 *
 * A piece is a chunk of one head's keys, which owns their dk and dv, with all queries that see
 * them. Of dq a chunk knows its share only: where there are several, they leave their shares
 * beside, in float, and a second round of pieces adds them up in the order of chunks.
 */
#include "ops/cpu/attention.h"

#include <math.h>

typedef struct backward_job {
    const iso_exec *ex;
    const iso_attention *at;
    attention_cut cut;
    number *dqkv;
    float *scratch;
    float *dq_parts; /* of each chunk, of each head its queries from part_begin on, (.,d) */
    const number *qkv, *o, *d_o;
    const float *lse, *far;
    int64_t thread_floats;
} backward_job;

/* One head of one sequence, and the thread's scratch. */
typedef struct backward {
    int64_t d, ld; /* ld: d, rounded up to whole vectors */
    int64_t begin; /* the chunk's first key: row 0 of k, v, dk, dv */
    float scale;   /* of scores: to units of log 2 */
    float slope;   /* over scale */
    const float *far;
    float *k, *v, *dk, *dv; /* (chunk_rows,ld): rows; rows; floats */
    float *k_pairs;         /* (chunk_rows,ld) */
    float *q, *g;           /* (QUERIES,ld): pairs of queries, of do */
    float *q_t, *g_t;       /* (ld,QUERIES): the same transposed, pairs of numbers of a query */
    float *dq_t;            /* (ld,QUERIES) */
    float *p, *ds;          /* (KEYS,QUERIES): rows */
    float *ds_pairs;        /* (KEYS,QUERIES): pairs of keys */
    float *lse, *delta;     /* (QUERIES); lse in units of log 2, delta = do o */
    attention_ahead ahead;
} backward;

static int64_t backward_floats(const iso_attention *at, const attention_cut *cut) {
    int64_t ld = round_up(at->d, VEC_LANES);
    int64_t rows = round_up(cpu_min(cut->chunk_rows, at->S), TILE_ROWS);
    int64_t n_pairs = NUMBERS - 1; /* of floats, rows are pairs */
    return (4 + n_pairs) * round_up(rows * ld, 16) + 5 * ld * QUERIES +
           (2 + n_pairs) * cpu_max(KEYS, ld) * QUERIES + 2 * QUERIES;
}

static backward backward_of(const backward_job *job, int64_t i_head, int64_t begin, int i_thread) {
    const iso_attention *at = job->at;
    float *scratch = job->scratch + i_thread * job->thread_floats;
    backward w = {.d = at->d, .ld = round_up(at->d, VEC_LANES), .begin = begin, .far = job->far};
    int64_t rows = round_up(cpu_min(job->cut.chunk_rows, at->S), TILE_ROWS);
    w.scale = LOG2_E / sqrtf((float)at->d);
    w.slope = at->slopes ? at->slopes[i_head % at->A] * sqrtf((float)at->d) : 0;
    w.k = take(&scratch, rows * w.ld);
    w.v = take(&scratch, rows * w.ld);
    w.dk = take(&scratch, rows * w.ld);
    w.dv = take(&scratch, rows * w.ld);
    w.k_pairs = NUMBERS == 1 ? w.k : take(&scratch, rows * w.ld);
    w.q = take(&scratch, QUERIES * w.ld);
    w.g = take(&scratch, QUERIES * w.ld);
    w.q_t = take(&scratch, w.ld * QUERIES);
    w.g_t = take(&scratch, w.ld * QUERIES);
    w.dq_t = take(&scratch, w.ld * QUERIES);
    w.p = take(&scratch, cpu_max(KEYS, w.ld) * QUERIES);
    w.ds = take(&scratch, cpu_max(KEYS, w.ld) * QUERIES);
    w.ds_pairs = NUMBERS == 1 ? w.ds : take(&scratch, cpu_max(KEYS, w.ld) * QUERIES);
    w.lse = take(&scratch, QUERIES);
    w.delta = take(&scratch, QUERIES);
    return w;
}

/* Rows r and r + 1 of a block of words, from element `at` of row r on, and, if there is a place for
 * them, their pairs. */
VEC_INLINE void store_rows(float *rows, int64_t at, float *pairs, vec row, vec next) {
#if NUMBERS == 2
    half_lanes_2 both = half_round_2(row, next);
    number *out = (number *)rows + at;
    half_store_2(out, out + QUERIES, both);
    if (pairs) vec_store(pairs, half_zip_halves(both));
#else
    vec_store(rows + at, row);
    vec_store(rows + at + QUERIES, next);
#endif
}

/* p and ds of keys j.. (row i of the chunk) and n_regs registers of queries, from column col on. */
UNCHECKED VEC_INLINE void score_tile(const backward *w, int n_regs, int64_t i, int64_t col,
                                     int64_t query, int64_t j) {
    vec acc[TILE_ROWS][TILE_REGS], p[TILE_ROWS][TILE_REGS];
    int64_t ld = w->ld / NUMBERS, row = (j - w->begin) * ld, at = i * QUERIES + col;
    int64_t n_words = cpu_ceil_div(w->d, NUMBERS);
    tile_zero(acc);
    tile_product(acc, n_regs, w->k + row, ld, 1, w->q_t + col, QUERIES, n_words);
    tile_bias_mask(acc, n_regs, w->far, w->slope, query, j);
#pragma GCC unroll 3
    for (int v = 0; v < n_regs; v++) {
        vec lse = vec_load(w->lse + col + v * VEC_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r++) p[r][v] = score_exp2(acc[r][v] * w->scale - lse);
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r += 2)
            store_rows(w->p, at + r * QUERIES + v * VEC_LANES, NULL, p[r][v], p[r + 1][v]);
    }
    tile_zero(acc);
    tile_product(acc, n_regs, w->v + row, ld, 1, w->g_t + col, QUERIES, n_words);
#pragma GCC unroll 3
    for (int v = 0; v < n_regs; v++) {
        vec delta = vec_load(w->delta + col + v * VEC_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < TILE_ROWS; r += 2)
            store_rows(w->ds, at + r * QUERIES + v * VEC_LANES,
                       w->ds_pairs + (i + r) / 2 * QUERIES + col + v * VEC_LANES,
                       p[r][v] * (acc[r][v] - delta), p[r + 1][v] * (acc[r + 1][v] - delta));
    }
}

UNCHECKED static void scores(backward *w, int64_t first, int n_regs, int64_t key, int64_t n_keys) {
    for (int strip = 0; strip < n_regs; strip += TILE_REGS)
        for (int64_t i = 0; i < n_keys; i += TILE_ROWS) {
            int64_t j = key + i;
            int end = (int)cpu_min(strip + TILE_REGS, n_regs);
            int reg = (int)cpu_max(strip, first_reg(first, j));
            int64_t col = reg * VEC_LANES;
            if (end - reg > 2) score_tile(w, TILE_REGS, i, col, first + col, j);
            if (end - reg == 2) score_tile(w, 2, i, col, first + col, j);
            if (end - reg == 1) score_tile(w, 1, i, col, first + col, j);
            attention_ahead_step(&w->ahead);
        }
}

/* Rows of c (.,ld) += a b over n queries: a (TILE_ROWS,QUERIES) rows, b (n,ld) pairs. */
UNCHECKED VEC_INLINE void key_tile(const backward *w, int n_regs, float *c, const float *a,
                                   const float *b, int64_t n) {
    vec acc[TILE_ROWS][TILE_REGS];
    tile_load(acc, n_regs, c, w->ld);
    tile_product(acc, n_regs, a, QUERIES / NUMBERS, 1, b, w->ld, cpu_ceil_div(n, NUMBERS));
    tile_store(c, w->ld, acc, n_regs);
}

/* dv += p^T do or dk += ds^T q, for the block of keys and of queries; queries that come before a
 * tile's keys are left out. */
UNCHECKED static void key_part(const backward *w, float *out, const float *a, const float *b,
                               int64_t first, int64_t n, int64_t key, int64_t n_keys) {
    int n_regs = (int)(w->ld / VEC_LANES), n_strips = (n_regs + TILE_REGS - 1) / TILE_REGS;
    for (int strip = 0; strip < n_strips; strip++) {
        int reg = strip * n_regs / n_strips, width = (strip + 1) * n_regs / n_strips - reg;
        for (int64_t i = 0; i < n_keys; i += TILE_ROWS) {
            int64_t skip = first_reg(first, key + i) * VEC_LANES;
            float *c = out + (key - w->begin + i) * w->ld + reg * VEC_LANES;
            const float *a_i = a + (i * QUERIES + skip) / NUMBERS;
            const float *b_i = b + skip / NUMBERS * w->ld + reg * VEC_LANES;
            if (width > 2) key_tile(w, TILE_REGS, c, a_i, b_i, n - skip);
            if (width == 2) key_tile(w, 2, c, a_i, b_i, n - skip);
            if (width == 1) key_tile(w, 1, c, a_i, b_i, n - skip);
        }
    }
}

/* Rows c.. of dq_t += k^T ds over n keys (row i of ds on) */
UNCHECKED VEC_INLINE void query_tile(const backward *w, int n_regs, int64_t col, int64_t c,
                                     int64_t key, int64_t i, int64_t n) {
    vec acc[TILE_ROWS][TILE_REGS];
    float *dq_t = w->dq_t + c * QUERIES + col;
    tile_load(acc, n_regs, dq_t, QUERIES);
    tile_product(acc, n_regs, w->k_pairs + (key + i - w->begin) / NUMBERS * w->ld + c, 1, w->ld,
                 w->ds_pairs + i / NUMBERS * QUERIES + col, QUERIES, n / NUMBERS);
    tile_store(dq_t, QUERIES, acc, n_regs);
}

/* On the diagonal a strip's registers end one after the other, as in forward. */
UNCHECKED static void query_part(const backward *w, int64_t first, int n_regs, int64_t key,
                                 int64_t n_keys) {
    for (int strip = 0; strip < n_regs; strip += TILE_REGS) {
        int end = (int)cpu_min(strip + TILE_REGS, n_regs);
        int64_t done = 0;
        for (int reg = strip; reg < end && done < n_keys; reg++) {
            int64_t col = reg * VEC_LANES, to = cpu_min(n_keys, first + col + VEC_LANES - key);
            if (to <= done) continue;
            for (int64_t c = 0; c < w->ld; c += TILE_ROWS) {
                if (end - reg > 2) query_tile(w, TILE_REGS, col, c, key, done, to - done);
                if (end - reg == 2) query_tile(w, 2, col, c, key, done, to - done);
                if (end - reg == 1) query_tile(w, 1, col, c, key, done, to - done);
            }
            done = to;
        }
    }
}

/* Reads a block of queries: q, do, and what softmax's backward needs of them. Lanes beyond n get
 * p = 0. */
static void read_queries(const backward *w, const number *q, const number *o, const number *d_o,
                         int64_t H, const float *lse, int64_t n) {
    int64_t n_padded = round_up(n, VEC_LANES);
    /* p is not yet in use */
    attention_transposed(w->q_t, w->p, w->ld, n_padded, q, 3 * H, n, w->d);
    attention_transposed(w->g_t, w->p, w->ld, n_padded, d_o, H, n, w->d);
    attention_pairs(w->q, w->ld, n_padded, q, 3 * H, n, w->d);
    attention_pairs(w->g, w->ld, n_padded, d_o, H, n, w->d);
    for (int64_t i = 0; i < n_padded; i++) {
        w->delta[i] = i < n ? attention_dot(d_o + i * H, o + i * H, w->d) : 0;
        w->lse[i] = i < n ? lse[i] * LOG2_E : -MASKED;
    }
}

/* The queries from `first` on with all keys of the chunk that they see; p (n,ld) = their share of
 * dq sqrt(d). */
static void backward_block(backward *w, int64_t first, int64_t n, int64_t end_keys) {
    int n_regs = (int)cpu_ceil_div(n, VEC_LANES);
    memset(w->dq_t, 0, (size_t)(w->ld * QUERIES) * sizeof *w->dq_t);
    for (int64_t key = w->begin; key < end_keys; key += KEYS) {
        int64_t n_keys = round_up(cpu_min(KEYS, end_keys - key), TILE_ROWS);
        scores(w, first, n_regs, key, n_keys);
        key_part(w, w->dv, w->p, w->g, first, n, key, n_keys);
        key_part(w, w->dk, w->ds, w->q, first, n, key, n_keys);
        query_part(w, first, n_regs, key, n_keys);
    }
    ISO_ISA_NAME(iso_cpu_transpose)(w->p, w->ld, w->dq_t, QUERIES, w->ld, n_regs * VEC_LANES);
}

/* The first query to which chunk i_chunk does not contribute alone. */
static int64_t part_begin(const backward_job *job, int64_t i_chunk) {
    return cpu_min(job->at->S, cpu_max(1, i_chunk) * job->cut.chunk_rows);
}

/* Floats of the parts of chunks before i_chunk. */
static int64_t part_floats(const backward_job *job, int64_t i_chunk) {
    int64_t rows = 0;
    for (int64_t i = 0; i < i_chunk; i++) rows += job->at->S - part_begin(job, i);
    return job->cut.n_heads * rows * job->at->d;
}

/* Where a chunk of a head leaves its share of dq of a query. */
static float *dq_part(const backward_job *job, int64_t i_chunk, int64_t i_head, int64_t query) {
    int64_t begin = part_begin(job, i_chunk), row = i_head * (job->at->S - begin) + query - begin;
    return job->dq_parts + part_floats(job, i_chunk) + row * job->at->d;
}

static void write_part(float *out, const backward *w, int64_t n, float scale) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < w->d; c += VEC_LANES)
            vec_store_upto(out + i * w->d + c, vec_load(w->p + i * w->ld + c) * scale, w->d - c);
}

/* While queries [i, i + QUERIES) run with the keys from `begin` to `end`: what they write, and what
 * the next ones read, or the next head. */
static void fetch_ahead(const backward_job *job, backward *w, int64_t i_head, int64_t i,
                        int64_t end) {
    int64_t S = job->at->S, A = job->at->A, d = job->at->d, H = A * d, n_keys = end - w->begin;
    int64_t n = cpu_min(QUERIES, S - i), next = i + QUERIES;
    number *dq = job->dqkv + i_head / A * S * 3 * H + i_head % A * d;
    bool is_last = next >= S;
    attention_ahead_init(&w->ahead, d);
    attention_ahead_add(&w->ahead, dq + i * 3 * H, 3 * H, n, true);
    for (int j = 1; is_last && j < 3; j++)
        attention_ahead_add(&w->ahead, dq + w->begin * 3 * H + j * H, 3 * H, n_keys, true);
    if (is_last) i_head = cpu_min(i_head + iso_exec_n_threads(job->ex), job->cut.n_heads - 1);
    if (is_last) next = w->begin;
    int64_t row = i_head / A * S, col = i_head % A * d, n_next = cpu_min(QUERIES, S - next);
    const number *q = job->qkv + row * 3 * H + col;
    for (int j = 1; is_last && j < 3; j++)
        attention_ahead_add(&w->ahead, q + w->begin * 3 * H + j * H, 3 * H, n_keys, false);
    attention_ahead_add(&w->ahead, q + next * 3 * H, 3 * H, n_next, false);
    attention_ahead_add(&w->ahead, job->d_o + (row + next) * H + col, H, n_next, false);
    attention_ahead_add(&w->ahead, job->o + (row + next) * H + col, H, n_next, false);
    attention_ahead_spread(&w->ahead, attention_tiles(n, cpu_min(end, i + n) - w->begin));
}

/* The first keys are seen by the most queries: they come first, so that threads end together. */
static void backward_piece(void *ctx, int64_t i_piece, int i_thread) {
    const backward_job *job = ctx;
    int64_t i_head = i_piece % job->cut.n_heads, i_chunk = i_piece / job->cut.n_heads;
    int64_t S = job->at->S, A = job->at->A, d = job->at->d, H = A * d;
    int64_t begin = i_chunk * job->cut.chunk_rows;
    int64_t end = cpu_min(S, begin + job->cut.chunk_rows),
            n_rows = round_up(end - begin, TILE_ROWS);
    backward w = backward_of(job, i_head, begin, i_thread);
    int64_t row = i_head / A * S, col = i_head % A * d;
    const number *q = job->qkv + row * 3 * H + col;
    const number *o = job->o + row * H + col, *d_o = job->d_o + row * H + col;
    number *dqkv = job->dqkv + row * 3 * H + col;
    float scale = 1 / sqrtf((float)d);
    attention_rows(w.k, w.ld, n_rows, q + begin * 3 * H + H, 3 * H, end - begin, d);
    attention_rows(w.v, w.ld, n_rows, q + begin * 3 * H + 2 * H, 3 * H, end - begin, d);
    if (NUMBERS == 2)
        attention_pairs(w.k_pairs, w.ld, n_rows, q + begin * 3 * H + H, 3 * H, end - begin, d);
    memset(w.dk, 0, (size_t)(n_rows * w.ld) * sizeof *w.dk);
    memset(w.dv, 0, (size_t)(n_rows * w.ld) * sizeof *w.dv);
    for (int64_t i = begin; i < S; i += QUERIES) {
        int64_t n = cpu_min(QUERIES, S - i);
        fetch_ahead(job, &w, i_head, i, end);
        read_queries(&w, q + i * 3 * H, o + i * H, d_o + i * H, H, job->lse + i_head * S + i, n);
        backward_block(&w, i, n, cpu_min(end, i + n));
        if (i < part_begin(job, i_chunk))
            attention_write(dqkv + i * 3 * H, 3 * H, w.p, w.ld, n, d, scale, NULL);
        else
            write_part(dq_part(job, i_chunk, i_head, i), &w, n, scale);
    }
    attention_write(dqkv + begin * 3 * H + H, 3 * H, w.dk, w.ld, end - begin, d, scale, NULL);
    attention_write(dqkv + begin * 3 * H + 2 * H, 3 * H, w.dv, w.ld, end - begin, d, 1, NULL);
}

/* dq of a block of one head's queries, the sum of its shares. */
static void add_piece(void *ctx, int64_t i_piece, int i_thread) {
    const backward_job *job = ctx;
    int64_t S = job->at->S, A = job->at->A, d = job->at->d, H = A * d, rows = job->cut.chunk_rows;
    int64_t i_head = i_piece % job->cut.n_heads, i_block = 1 + i_piece / job->cut.n_heads;
    number *dq = job->dqkv + i_head / A * S * 3 * H + i_head % A * d;
    for (int64_t i = i_block * rows; i < cpu_min(S, (i_block + 1) * rows); i++)
        for (int64_t c = 0; c < d; c += VEC_LANES) {
            vec sum = vec_load_upto(dq_part(job, 0, i_head, i) + c, d - c);
            for (int64_t i_chunk = 1; i_chunk <= i_block; i_chunk++)
                sum += vec_load_upto(dq_part(job, i_chunk, i_head, i) + c, d - c);
            act_store(dq, IS_HALF, i * 3 * H + c, sum, d - c);
        }
}

void ISO_ISA_NAME(iso_cpu_attention_bwd)(iso_exec *ex, void *dqkv, const void *d_o, const void *o,
                                         const void *lse, const void *qkv,
                                         const iso_attention *at) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    backward_job job = {
        .ex = ex, .at = at, .dqkv = dqkv, .d_o = d_o, .o = o, .lse = lse, .qkv = qkv};
    job.cut = ISO_ISA_NAME(iso_cpu_attention_cut)(at);
    job.far = ISO_ISA_NAME(iso_cpu_attention_far)(ex, at);
    job.thread_floats = backward_floats(at, &job.cut);
    job.scratch =
        iso_arena_take(&ex->scratch, iso_exec_n_threads(ex) * job.thread_floats, sizeof(float));
    if (job.cut.n_chunks > 1)
        job.dq_parts =
            iso_arena_take(&ex->scratch, part_floats(&job, job.cut.n_chunks), sizeof(float));
    if (!ex->measuring) {
        iso_exec_pieces(ex, job.cut.n_heads * job.cut.n_chunks, backward_piece, &job);
        iso_exec_pieces(ex, job.cut.n_heads * (job.cut.n_chunks - 1), add_piece, &job);
    }
    iso_arena_rewind(&ex->scratch, mark);
}
