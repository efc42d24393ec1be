/* optim.c - the sum of squares of gradients, and AdamW. Both are limited by memory. */
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

#define BLOCK 16384

typedef struct squares_job {
    double *sums;
    const float *x;
    int64_t n;
} squares_job;

static void squares_piece(void *ctx, int64_t i_piece, int i_thread) {
    const squares_job *job = ctx;
    int64_t begin = i_piece * BLOCK;
    job->sums[i_piece] = vec_sum_squares(job->x + begin, cpu_min(BLOCK, job->n - begin));
}

static double sum_squares(iso_exec *ex, const void *x, int64_t n) {
    int64_t n_pieces = cpu_ceil_div(n, BLOCK), mark = iso_arena_mark(&ex->scratch);
    squares_job job = {.x = x, .n = n};
    job.sums = iso_arena_take(&ex->scratch, n_pieces, sizeof *job.sums);
    double sum = 0;
    if (!ex->measuring) {
        iso_exec_pieces(ex, n_pieces, squares_piece, &job);
        sum = cpu_sum(job.sums, n_pieces);
    }
    iso_arena_rewind(&ex->scratch, mark);
    return sum;
}

typedef struct adamw_job {
    float *p, *m, *v;
    const float *g;
    int64_t n;
    float lr, beta1, beta2, rest1, rest2, eps, weight_decay, correction1, correction2, grad_scale;
} adamw_job;

/* Left to the compiler's vectoriser, which has a square root. */
static void adamw_block(const adamw_job *job, int64_t n, float *restrict p, float *restrict m,
                        float *restrict v, const float *restrict grad) {
    const adamw_job a = *job;
    for (int64_t i = 0; i < n; i++) {
        float g = grad[i] * a.grad_scale;
        m[i] = a.beta1 * m[i] + a.rest1 * g;
        v[i] = a.beta2 * v[i] + a.rest2 * g * g;
        float m_hat = m[i] / a.correction1, v_hat = v[i] / a.correction2;
        p[i] -= a.lr * (m_hat / (__builtin_sqrtf(v_hat) + a.eps) + a.weight_decay * p[i]);
    }
}

static void adamw_piece(void *ctx, int64_t i_piece, int i_thread) {
    const adamw_job *job = ctx;
    int64_t i = i_piece * BLOCK;
    adamw_block(job, cpu_min(job->n - i, BLOCK), job->p + i, job->m + i, job->v + i, job->g + i);
}

static void adamw(iso_exec *ex, void *p, void *m, void *v, const void *g, int64_t n,
                  const iso_adamw *a) {
    if (ex->measuring) return;
    adamw_job job = {.p = p, .m = m, .v = v, .g = g, .n = n};
    job.lr = (float)a->lr, job.eps = (float)a->eps, job.weight_decay = (float)a->weight_decay;
    job.beta1 = (float)a->beta1, job.rest1 = (float)(1 - a->beta1);
    job.beta2 = (float)a->beta2, job.rest2 = (float)(1 - a->beta2);
    job.correction1 = (float)a->correction1, job.correction2 = (float)a->correction2;
    job.grad_scale = (float)a->grad_scale;
    iso_exec_pieces(ex, cpu_ceil_div(n, BLOCK), adamw_piece, &job);
}

void ISO_ISA_NAME(iso_cpu_optim_init)(iso_kernels *kernels) {
    kernels->sum_squares = sum_squares;
    kernels->adamw = adamw;
}
