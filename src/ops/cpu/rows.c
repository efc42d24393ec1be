/* rows.c - operations that work row by row: embedding, norm, RoPE, SwiGLU, combine.
 *
 * All are limited by memory or by exp; each piece is a fixed number of whole rows, so the order of
 * every sum is fixed. Where rows add into something shared (embed_bwd, the norm's weight gradient)
 * pieces own columns, or fill a partial sum each, added in order.
 */
#include "ops/cpu/cpu.h"
#include "ops/cpu/half.h"

#include <math.h>

typedef struct rows_job {
    float *out, *out2;
    const float *a, *b, *c, *d;
    void *act_out, *act_out2; /* float or, with is_half, bf16 */
    const void *act_a, *act_b;
    const int32_t *index;
    int64_t n_rows, block_rows, H, K;
    float eps;
    bool is_half;
} rows_job;

static void run_rows(const iso_exec *ex, rows_job *job, iso_piece_fn fn) {
    iso_exec_pieces(ex, cpu_ceil_div(job->n_rows, job->block_rows), fn, job);
}

static int64_t first_row(const rows_job *job, int64_t i_piece) {
    return i_piece * job->block_rows;
}

static int64_t last_row(const rows_job *job, int64_t i_piece) {
    return cpu_min(job->n_rows, (i_piece + 1) * job->block_rows);
}

static void embed_fwd_piece(void *ctx, int64_t i_piece, int i_thread) {
    const rows_job *job = ctx;
    int64_t H = job->H;
    for (int64_t t = first_row(job, i_piece); t < last_row(job, i_piece); t++)
        memcpy(job->out + t * H, job->a + job->index[t] * H, (size_t)H * sizeof(float));
}

static void embed_fwd(iso_exec *ex, void *y, const void *w, const int32_t *ids, int64_t T,
                      int64_t H) {
    if (ex->measuring) return;
    rows_job job = {.out = y, .a = w, .index = ids, .n_rows = T, .H = H};
    job.block_rows = cpu_block_rows(H);
    run_rows(ex, &job, embed_fwd_piece);
}

/* Here "rows" are vectors of columns: a piece adds all tokens, in order, into its columns. */
static void embed_bwd_piece(void *ctx, int64_t i_piece, int i_thread) {
    const rows_job *job = ctx;
    int64_t H = job->H, begin = first_row(job, i_piece) * VEC_LANES;
    int64_t end = cpu_min(H, last_row(job, i_piece) * VEC_LANES);
    for (int64_t t = 0; t < job->K; t++) {
        float *dw = job->out + job->index[t] * H;
        const float *dy = job->a + t * H;
        for (int64_t h = begin; h < end; h += VEC_LANES)
            vec_store_upto(dw + h, vec_load_upto(dw + h, end - h) + vec_load_upto(dy + h, end - h),
                           end - h);
    }
}

static void embed_bwd(iso_exec *ex, void *dw, const void *dy, const int32_t *ids, int64_t T,
                      int64_t H) {
    if (ex->measuring) return;
    rows_job job = {.out = dw, .a = dy, .index = ids, .H = H, .K = T};
    job.n_rows = cpu_ceil_div(H, VEC_LANES);
    job.block_rows = cpu_max(1, cpu_ceil_div(job.n_rows, 8));
    run_rows(ex, &job, embed_bwd_piece);
}

/* Tokens between a row's prefetch and its use: by expert, rows lie where no processor looks. */
#define COMBINE_AHEAD 4

VEC_INLINE void combine_rows(const rows_job *job, bool is_half, int64_t i_piece) {
    int64_t H = job->H, K = job->K, item = is_half ? 2 : 4, n_ahead = job->n_rows * K;
    for (int64_t t = first_row(job, i_piece); t < last_row(job, i_piece); t++) {
        const int32_t *rows = job->index + t * K;
        for (int64_t k = (t + COMBINE_AHEAD) * K; k < cpu_min(n_ahead, (t + COMBINE_AHEAD + 1) * K);
             k++)
            for (int64_t i = 0; i < H * item; i += 64)
                __builtin_prefetch((const char *)job->act_a + job->index[k] * H * item + i);
        for (int64_t h = 0; h < H; h += VEC_LANES) {
            vec sum = job->b ? vec_load_upto(job->b + t * H + h, H - h) : vec_set(0);
            for (int64_t k = 0; k < K; k++)
                sum += act_load(job->act_a, is_half, rows[k] * H + h, H - h);
            vec_store_upto(job->out + t * H + h, sum, H - h);
        }
    }
}

static void combine_piece(void *ctx, int64_t i_piece, int i_thread) {
    const rows_job *job = ctx;
    if (job->is_half)
        combine_rows(job, true, i_piece);
    else
        combine_rows(job, false, i_piece);
}

static void combine(iso_exec *ex, iso_tensor y, iso_tensor base, iso_tensor x,
                    const iso_routing *rt) {
    if (ex->measuring) return;
    rows_job job = {.out = y.data, .act_a = x.data, .b = base.data, .index = rt->token_row};
    job.n_rows = rt->T, job.K = rt->K, job.H = y.dims[1], job.is_half = x.dtype == ISO_BF16;
    job.block_rows = cpu_block_rows(job.H * (job.K + 1));
    run_rows(ex, &job, combine_piece);
}

VEC_INLINE void norm_rows(const rows_job *job, bool is_half, int64_t i_piece) {
    int64_t H = job->H;
    for (int64_t t = first_row(job, i_piece); t < last_row(job, i_piece); t++) {
        const float *x = job->a + t * H;
        vec sum = {0};
        for (int64_t h = 0; h < H; h += VEC_LANES) {
            vec v = vec_load_upto(x + h, H - h);
            sum += v * v;
        }
        float rstd = 1 / sqrtf(vec_sum(sum) / (float)H + job->eps);
        job->out2[t] = rstd;
        for (int64_t h = 0; h < H; h += VEC_LANES)
            act_store(job->act_out, is_half, t * H + h,
                      vec_load_upto(job->b + h, H - h) * (vec_load_upto(x + h, H - h) * rstd),
                      H - h);
    }
}

static void norm_fwd_piece(void *ctx, int64_t i_piece, int i_thread) {
    const rows_job *job = ctx;
    if (job->is_half)
        norm_rows(job, true, i_piece);
    else
        norm_rows(job, false, i_piece);
}

static void norm_fwd(iso_exec *ex, iso_tensor y, iso_tensor rstd, iso_tensor x, iso_tensor w,
                     double eps) {
    if (ex->measuring) return;
    rows_job job = {.act_out = y.data, .out2 = rstd.data, .a = x.data, .b = w.data};
    job.n_rows = x.dims[0], job.H = x.dims[1], job.eps = (float)eps;
    job.is_half = y.dtype == ISO_BF16, job.block_rows = cpu_block_rows(job.H);
    run_rows(ex, &job, norm_fwd_piece);
}

/* In a piece of norm_bwd, which has its own sum. */
#define NORM_ROWS 64

/* dx += r (w dy - x r^2 mean(w dy x)); the piece's own row of out2 = sum of dy x r. */
VEC_INLINE void norm_bwd_rows(const rows_job *job, bool is_half, int64_t i_piece) {
    int64_t H = job->H;
    float *dw = job->out2 + i_piece * H;
    memset(dw, 0, (size_t)H * sizeof *dw);
    for (int64_t t = first_row(job, i_piece); t < last_row(job, i_piece); t++) {
        const float *dy = job->a + t * H, *x = job->b + t * H, *w = job->d;
        float *dx = job->out + t * H, r = job->c[t];
        vec dot = {0};
        for (int64_t h = 0; h < H; h += VEC_LANES) {
            vec dyx = vec_load_upto(dy + h, H - h) * vec_load_upto(x + h, H - h);
            dot += vec_load_upto(w + h, H - h) * dyx;
            vec_store_upto(dw + h, vec_load_upto(dw + h, H - h) + dyx * r, H - h);
        }
        float shift = vec_sum(dot) * r * r / (float)H;
        for (int64_t h = 0; h < H; h += VEC_LANES) {
            vec g = vec_load_upto(w + h, H - h) * vec_load_upto(dy + h, H - h) -
                    vec_load_upto(x + h, H - h) * shift;
            vec sum = vec_load_upto(dx + h, H - h) + r * g;
            vec_store_upto(dx + h, sum, H - h);
            if (job->act_out) act_store(job->act_out, is_half, t * H + h, sum, H - h);
            if (job->act_out2)
                act_store(job->act_out2, is_half, t * H + h,
                          vec_load_upto(w + h, H - h) * (vec_load_upto(x + h, H - h) * r), H - h);
        }
    }
}

static void norm_bwd_piece(void *ctx, int64_t i_piece, int i_thread) {
    const rows_job *job = ctx;
    if (job->is_half)
        norm_bwd_rows(job, true, i_piece);
    else
        norm_bwd_rows(job, false, i_piece);
}

static void norm_bwd(iso_exec *ex, iso_tensor dx, iso_tensor dx_copy, iso_tensor y, iso_tensor dw,
                     iso_tensor dy, iso_tensor x, iso_tensor rstd, iso_tensor w) {
    int64_t T = x.dims[0], H = x.dims[1];
    rows_job job = {.out = dx.data, .act_out = dx_copy.data, .a = dy.data, .b = x.data};
    job.act_out2 = y.data, job.is_half = ex->narrow == ISO_BF16;
    job.c = rstd.data, job.d = w.data;
    job.n_rows = T, job.H = H, job.block_rows = NORM_ROWS;
    int64_t n_pieces = cpu_ceil_div(T, job.block_rows), mark = iso_arena_mark(&ex->scratch);
    float *partial = job.out2 = iso_arena_take(&ex->scratch, n_pieces * H, sizeof(float));
    if (!ex->measuring) {
        run_rows(ex, &job, norm_bwd_piece);
        float *sum = dw.data;
        for (int64_t i = 0; i < n_pieces; i++)
            for (int64_t h = 0; h < H; h++) sum[h] += partial[i * H + h];
    }
    iso_arena_rewind(&ex->scratch, mark);
}

/* a: cosines (S,d/2), b: sines; the q heads, then the k heads, lie side by side. */
VEC_INLINE void rope_rows(const rows_job *job, bool is_half, int64_t i_piece) {
    int64_t H = job->H, S = job->K, half = job->index[0], n_heads = H / (2 * half) * 2;
    for (int64_t t = first_row(job, i_piece); t < last_row(job, i_piece); t++) {
        const float *cosines = job->a + t % S * half, *sines = job->b + t % S * half;
        for (int64_t i_head = 0; i_head < n_heads; i_head++) {
            int64_t at = t * 3 * H + i_head * 2 * half;
            for (int64_t i = 0; i < half; i += VEC_LANES) {
                int64_t n = half - i;
                vec c = vec_load_upto(cosines + i, n), s = vec_load_upto(sines + i, n);
                vec x = act_load(job->act_out, is_half, at + i, n);
                vec y = act_load(job->act_out, is_half, at + half + i, n);
                act_store(job->act_out, is_half, at + i, x * c - y * s, n);
                act_store(job->act_out, is_half, at + half + i, y * c + x * s, n);
            }
        }
    }
}

static void rope_piece(void *ctx, int64_t i_piece, int i_thread) {
    const rows_job *job = ctx;
    if (job->is_half)
        rope_rows(job, true, i_piece);
    else
        rope_rows(job, false, i_piece);
}

static void rope(iso_exec *ex, iso_tensor qkv, int64_t B, int64_t S, int64_t A, int64_t d,
                 double theta, bool inverse) {
    int64_t half = d / 2, mark = iso_arena_mark(&ex->scratch);
    float *cosines = iso_arena_take(&ex->scratch, S * half, sizeof(float));
    float *sines = iso_arena_take(&ex->scratch, S * half, sizeof(float));
    if (!ex->measuring) {
        for (int64_t i = 0; i < half; i++) {
            double turn = pow(theta, -2.0 * (double)i / (double)d);
            for (int64_t s = 0; s < S; s++) {
                double angle = (double)s * turn;
                cosines[s * half + i] = (float)cos(angle);
                sines[s * half + i] = (float)(inverse ? -sin(angle) : sin(angle));
            }
        }
        int32_t half_int = (int32_t)half;
        rows_job job = {.act_out = qkv.data, .a = cosines, .b = sines, .index = &half_int};
        job.is_half = qkv.dtype == ISO_BF16;
        job.n_rows = B * S, job.H = A * d, job.K = S;
        job.block_rows = cpu_block_rows(2 * A * d);
        run_rows(ex, &job, rope_piece);
    }
    iso_arena_rewind(&ex->scratch, mark);
}

VEC_INLINE vec sigmoid(vec g) {
    return 1.0f / (1.0f + vec_exp(-g));
}

VEC_INLINE void swiglu_fwd_rows(const rows_job *job, bool is_half, int64_t i_piece) {
    int64_t F = job->H;
    for (int64_t r = first_row(job, i_piece); r < last_row(job, i_piece); r++) {
        float scale = job->b ? job->b[r] : 1;
        int64_t gate = r * 2 * F, up = gate + F;
        for (int64_t f = 0; f < F; f += VEC_LANES) {
            vec g = act_load(job->act_a, is_half, gate + f, F - f);
            vec u = act_load(job->act_a, is_half, up + f, F - f);
            act_store(job->act_out, is_half, r * F + f, g * sigmoid(g) * u * scale, F - f);
        }
    }
}

static void swiglu_fwd_piece(void *ctx, int64_t i_piece, int i_thread) {
    const rows_job *job = ctx;
    if (job->is_half)
        swiglu_fwd_rows(job, true, i_piece);
    else
        swiglu_fwd_rows(job, false, i_piece);
}

static void swiglu_fwd(iso_exec *ex, iso_tensor h, iso_tensor gu, iso_tensor row_scale) {
    if (ex->measuring) return;
    rows_job job = {.act_out = h.data, .act_a = gu.data, .b = row_scale.data};
    job.n_rows = h.dims[0], job.H = h.dims[1], job.is_half = h.dtype == ISO_BF16;
    job.block_rows = cpu_block_rows(job.H);
    run_rows(ex, &job, swiglu_fwd_piece);
}

VEC_INLINE void swiglu_bwd_rows(const rows_job *job, bool is_half, int64_t i_piece) {
    int64_t F = job->H;
    for (int64_t r = first_row(job, i_piece); r < last_row(job, i_piece); r++) {
        float scale = job->b ? job->b[r] : 1;
        int64_t gate = r * 2 * F, up = gate + F;
        vec dot = {0};
        for (int64_t f = 0; f < F; f += VEC_LANES) {
            int64_t n = F - f;
            vec g = act_load(job->act_a, is_half, gate + f, n);
            vec u = act_load(job->act_a, is_half, up + f, n);
            vec d = act_load(job->act_b, is_half, r * F + f, n), s = sigmoid(g), silu = g * s;
            dot += d * silu * u;
            d *= scale;
            act_store(job->act_out2, is_half, r * F + f, silu * u * scale, n);
            act_store(job->act_out, is_half, gate + f, d * u * s * (1.0f + g * (1.0f - s)), n);
            act_store(job->act_out, is_half, up + f, d * silu, n);
        }
        if (job->out2) job->out2[r] = vec_sum(dot);
    }
}

static void swiglu_bwd_piece(void *ctx, int64_t i_piece, int i_thread) {
    const rows_job *job = ctx;
    if (job->is_half)
        swiglu_bwd_rows(job, true, i_piece);
    else
        swiglu_bwd_rows(job, false, i_piece);
}

static void swiglu_bwd(iso_exec *ex, iso_tensor dgu, iso_tensor drow_scale, iso_tensor h,
                       iso_tensor dh, iso_tensor gu, iso_tensor row_scale) {
    if (ex->measuring) return;
    rows_job job = {.act_out = dgu.data, .out2 = drow_scale.data, .act_a = gu.data};
    job.act_out2 = h.data, job.act_b = dh.data, job.b = row_scale.data,
    job.is_half = dh.dtype == ISO_BF16;
    job.n_rows = dh.dims[0], job.H = dh.dims[1], job.block_rows = cpu_block_rows(2 * job.H);
    run_rows(ex, &job, swiglu_bwd_piece);
}

void ISO_ISA_NAME(iso_cpu_rows_init)(iso_kernels *kernels) {
    kernels->embed_fwd = embed_fwd;
    kernels->embed_bwd = embed_bwd;
    kernels->norm_fwd = norm_fwd;
    kernels->norm_bwd = norm_bwd;
    kernels->rope = rope;
    kernels->swiglu_fwd = swiglu_fwd;
    kernels->swiglu_bwd = swiglu_bwd;
    kernels->combine = combine;
}
