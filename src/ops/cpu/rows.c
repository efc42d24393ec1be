/* rows.c - operations that work row by row: embedding, norm, RoPE, SwiGLU, combine.
 *
 * All are limited by memory or by exp, and gain most where a chain has their rows in the cache
 * (chain.h). The order of every sum is fixed: where rows add into something shared (embed_bwd, the
 * norm's weight gradient) blocks own columns, or fill a partial sum each, added in order.
 */
#include "ops/chain.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/half.h"

#include <math.h>

typedef struct rows_job {
    float *out, *out2, *out3;
    const float *a, *b, *c, *d, *e;
    void *act_out, *act_out2; /* float or, with is_half, bf16 */
    const void *act_a, *act_b;
    const int32_t *index;
    int64_t n_rows, H, K, half;
    float eps;
    bool is_half;
} rows_job;

/* What a kernel here has to say of itself, but for its job. */
static iso_link link_of(iso_op op, void (*rows)(const void *, const iso_step *), int64_t n_rows,
                        int64_t row_elements) {
    return (iso_link){
        .op = op, .rows = rows, .n_rows = n_rows, .block_rows = cpu_block_rows(row_elements)};
}

/* Of kernels that take no scratch. */
static void run_link(iso_exec *ex, const iso_link *link, const rows_job *job) {
    iso_link_begin(ex, 0, false);
    iso_link_add(ex, link, job, sizeof *job);
}

/* Rows of a tensor that lie one after the other. */
static iso_operand row_operand(const iso_tensor *t) {
    return (iso_operand){.data = t->data, .row_bytes = t->dims[1] * iso_dtype_bytes(t->dtype)};
}

static void embed_fwd_link(const void *ctx, const iso_step *block) {
    const rows_job *job = ctx;
    int64_t H = job->H;
    for (int64_t t = block->first; t < block->first + block->n; t++)
        memcpy(job->out + t * H, job->a + job->index[t] * H, (size_t)H * sizeof(float));
}

static void embed_fwd(iso_exec *ex, void *y, const void *w, const int32_t *ids, int64_t T,
                      int64_t H) {
    const rows_job job = {.out = y, .a = w, .index = ids, .H = H};
    iso_link link = link_of(ISO_OP_EMBED_FWD, embed_fwd_link, T, H);
    run_link(ex, &link, &job);
}

/* Here "rows" are vectors of columns: a piece adds all tokens, in order, into its columns. */
static void embed_bwd_link(const void *ctx, const iso_step *block) {
    const rows_job *job = ctx;
    int64_t H = job->H, begin = block->first * VEC_LANES;
    int64_t end = cpu_min(H, (block->first + block->n) * VEC_LANES);
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
    const rows_job job = {.out = dw, .a = dy, .index = ids, .H = H, .K = T};
    iso_link link = link_of(ISO_OP_EMBED_BWD, embed_bwd_link, cpu_ceil_div(H, VEC_LANES), H);
    link.block_rows = cpu_max(1, cpu_ceil_div(link.n_rows, 8));
    run_link(ex, &link, &job);
}

/* Tokens between a row's prefetch and its use: by expert, rows lie where no processor looks. */
#define COMBINE_AHEAD 4

VEC_INLINE void combine_rows(const rows_job *job, bool is_half, const iso_step *block) {
    int64_t H = job->H, K = job->K, item = is_half ? 2 : 4, n_ahead = job->n_rows * K;
    for (int64_t t = block->first; t < block->first + block->n; t++) {
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

static void combine_link(const void *ctx, const iso_step *block) {
    const rows_job *job = ctx;
    if (job->is_half)
        combine_rows(job, true, block);
    else
        combine_rows(job, false, block);
}

static void combine(iso_exec *ex, iso_tensor y, iso_tensor base, iso_tensor x,
                    const iso_routing *rt) {
    rows_job job = {.out = y.data, .act_a = x.data, .b = base.data, .index = rt->token_row};
    job.n_rows = rt->T, job.K = rt->K, job.H = y.dims[1], job.is_half = x.dtype == ISO_BF16;
    iso_link link = link_of(ISO_OP_COMBINE, combine_link, rt->T, job.H * (job.K + 1));
    link.operands[0] = row_operand(&y), link.operands[1] = row_operand(&base);
    run_link(ex, &link, &job);
}

VEC_INLINE void norm_rows(const rows_job *job, bool is_half, const iso_step *block) {
    int64_t H = job->H;
    for (int64_t t = block->first; t < block->first + block->n; t++) {
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

static void norm_fwd_link(const void *ctx, const iso_step *block) {
    const rows_job *job = ctx;
    if (job->is_half)
        norm_rows(job, true, block);
    else
        norm_rows(job, false, block);
}

static void norm_fwd(iso_exec *ex, iso_tensor y, iso_tensor rstd, iso_tensor x, iso_tensor w,
                     double eps) {
    rows_job job = {.act_out = y.data, .out2 = rstd.data, .a = x.data, .b = w.data};
    job.H = x.dims[1], job.eps = (float)eps, job.is_half = y.dtype == ISO_BF16;
    iso_link link = link_of(ISO_OP_NORM_FWD, norm_fwd_link, x.dims[0], job.H);
    link.operands[0] = row_operand(&x), link.operands[1] = row_operand(&y);
    run_link(ex, &link, &job);
}

/* dx = d + r (w dy - x r^2 mean(w dy x)); the block's own row of out2 = sum of dy x r. */
VEC_INLINE void norm_bwd_rows(const rows_job *job, bool is_half, const iso_step *block) {
    int64_t H = job->H;
    float *dw = job->out2 + block->first / ISO_CHAIN_ROWS * H;
    memset(dw, 0, (size_t)H * sizeof *dw);
    for (int64_t t = block->first; t < block->first + block->n; t++) {
        const float *dy = job->a + t * H, *x = job->b + t * H, *w = job->d, *d = job->e + t * H;
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
            vec sum = vec_load_upto(d + h, H - h) + r * g;
            vec_store_upto(dx + h, sum, H - h);
            if (job->act_out) act_store(job->act_out, is_half, t * H + h, sum, H - h);
            if (job->act_out2)
                act_store(job->act_out2, is_half, t * H + h,
                          vec_load_upto(w + h, H - h) * (vec_load_upto(x + h, H - h) * r), H - h);
        }
    }
}

static void norm_bwd_link(const void *ctx, const iso_step *block) {
    const rows_job *job = ctx;
    if (job->is_half)
        norm_bwd_rows(job, true, block);
    else
        norm_bwd_rows(job, false, block);
}

/* The blocks' sums into dw, in their order. */
static void norm_bwd_after(const void *ctx) {
    const rows_job *job = ctx;
    int64_t H = job->H, n_blocks = cpu_ceil_div(job->n_rows, ISO_CHAIN_ROWS);
    for (int64_t i = 0; i < n_blocks; i++)
        for (int64_t h = 0; h < H; h++) job->out3[h] += job->out2[i * H + h];
}

static void norm_bwd(iso_exec *ex, iso_tensor dx, iso_tensor d, iso_tensor dx_copy, iso_tensor y,
                     iso_tensor dw, iso_tensor dy, iso_tensor x, iso_tensor rstd, iso_tensor w) {
    int64_t T = x.dims[0], H = x.dims[1], n_sums = cpu_ceil_div(T, ISO_CHAIN_ROWS) * H;
    rows_job job = {.out = dx.data, .act_out = dx_copy.data, .a = dy.data, .b = x.data};
    job.act_out2 = y.data, job.is_half = ex->narrow == ISO_BF16;
    job.c = rstd.data, job.d = w.data, job.e = d.data, job.out3 = dw.data;
    job.n_rows = T, job.H = H;
    iso_link link = link_of(ISO_OP_NORM_BWD, norm_bwd_link, T, H);
    link.block_rows = ISO_CHAIN_ROWS, link.after = norm_bwd_after;
    link.operands[0] = row_operand(&dy), link.operands[1] = row_operand(&x);
    link.operands[2] = row_operand(&d), link.operands[3] = row_operand(&dx);
    link.operands[4] = row_operand(&dx_copy), link.operands[5] = row_operand(&y);
    iso_link_begin(ex, 0, false);
    job.out2 = iso_arena_take(&ex->scratch, n_sums, sizeof *job.out2);
    iso_link_add(ex, &link, &job, sizeof job);
}

/* a: cosines (S,d/2), b: sines; the q heads, then the k heads, lie side by side. */
VEC_INLINE void rope_rows(const rows_job *job, bool is_half, const iso_step *block) {
    int64_t H = job->H, S = job->K, half = job->half, n_heads = H / (2 * half) * 2;
    for (int64_t t = block->first; t < block->first + block->n; t++) {
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

static void rope_link(const void *ctx, const iso_step *block) {
    const rows_job *job = ctx;
    if (job->is_half)
        rope_rows(job, true, block);
    else
        rope_rows(job, false, block);
}

static void fill_turns(float *cosines, float *sines, int64_t S, int64_t d, double theta,
                       bool inverse) {
    int64_t half = d / 2;
    for (int64_t i = 0; i < half; i++) {
        double turn = pow(theta, -2.0 * (double)i / (double)d);
        for (int64_t s = 0; s < S; s++) {
            double angle = (double)s * turn;
            cosines[s * half + i] = (float)cos(angle);
            sines[s * half + i] = (float)(inverse ? -sin(angle) : sin(angle));
        }
    }
}

static void rope(iso_exec *ex, iso_tensor qkv, int64_t B, int64_t S, int64_t A, int64_t d,
                 double theta, bool inverse) {
    int64_t n = S * (d / 2);
    rows_job job = {.act_out = qkv.data, .is_half = qkv.dtype == ISO_BF16};
    job.H = A * d, job.K = S, job.half = d / 2;
    iso_link link = link_of(ISO_OP_ROPE, rope_link, B * S, 2 * A * d);
    link.operands[0] = row_operand(&qkv);
    iso_link_begin(ex, 0, false);
    float *cosines = iso_arena_take(&ex->scratch, n, sizeof(float));
    float *sines = iso_arena_take(&ex->scratch, n, sizeof(float));
    job.a = cosines, job.b = sines;
    if (!ex->measuring) fill_turns(cosines, sines, S, d, theta, inverse);
    iso_link_add(ex, &link, &job, sizeof job);
}

VEC_INLINE vec sigmoid(vec g) {
    return 1.0f / (1.0f + vec_exp(-g));
}

VEC_INLINE void swiglu_fwd_rows(const rows_job *job, bool is_half, const iso_step *block) {
    int64_t F = job->H;
    for (int64_t r = block->first; r < block->first + block->n; r++) {
        float scale = job->b ? job->b[r] : 1;
        int64_t gate = r * 2 * F, up = gate + F;
        for (int64_t f = 0; f < F; f += VEC_LANES) {
            vec g = act_load(job->act_a, is_half, gate + f, F - f);
            vec u = act_load(job->act_a, is_half, up + f, F - f);
            act_store(job->act_out, is_half, r * F + f, g * sigmoid(g) * u * scale, F - f);
        }
    }
}

static void swiglu_fwd_link(const void *ctx, const iso_step *block) {
    const rows_job *job = ctx;
    if (job->is_half)
        swiglu_fwd_rows(job, true, block);
    else
        swiglu_fwd_rows(job, false, block);
}

static void swiglu_fwd(iso_exec *ex, iso_tensor h, iso_tensor gu, iso_tensor row_scale) {
    rows_job job = {.act_out = h.data, .act_a = gu.data, .b = row_scale.data};
    job.H = h.dims[1], job.is_half = h.dtype == ISO_BF16;
    iso_link link = link_of(ISO_OP_SWIGLU_FWD, swiglu_fwd_link, h.dims[0], job.H);
    link.operands[0] = row_operand(&gu), link.operands[1] = row_operand(&h);
    run_link(ex, &link, &job);
}

VEC_INLINE void swiglu_bwd_rows(const rows_job *job, bool is_half, const iso_step *block) {
    int64_t F = job->H;
    for (int64_t r = block->first; r < block->first + block->n; r++) {
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

static void swiglu_bwd_link(const void *ctx, const iso_step *block) {
    const rows_job *job = ctx;
    if (job->is_half)
        swiglu_bwd_rows(job, true, block);
    else
        swiglu_bwd_rows(job, false, block);
}

static void swiglu_bwd(iso_exec *ex, iso_tensor dgu, iso_tensor drow_scale, iso_tensor h,
                       iso_tensor dh, iso_tensor gu, iso_tensor row_scale) {
    rows_job job = {.act_out = dgu.data, .out2 = drow_scale.data, .act_a = gu.data};
    job.act_out2 = h.data, job.act_b = dh.data, job.b = row_scale.data,
    job.is_half = dh.dtype == ISO_BF16;
    job.H = dh.dims[1];
    iso_link link = link_of(ISO_OP_SWIGLU_BWD, swiglu_bwd_link, dh.dims[0], 2 * job.H);
    link.operands[0] = row_operand(&dh), link.operands[1] = row_operand(&gu);
    link.operands[2] = row_operand(&dgu), link.operands[3] = row_operand(&h);
    run_link(ex, &link, &job);
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
