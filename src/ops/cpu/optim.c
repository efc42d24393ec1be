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

/* p = keep p - lr_hat m / (sqrt(v_hat v) + eps), the corrections of bias and the decay of weights
 * in the factors: one division instead of three. */
typedef struct adamw_job {
    float *p, *m, *v;
    const float *g;
    float beta1, beta2, rest1, rest2, keep, lr_hat, v_hat, eps, grad_scale;
} adamw_job;

/* Left to the compiler's vectoriser, which has a square root. */
static void adamw_block(const adamw_job *job, int64_t n, float *restrict p, float *restrict m,
                        float *restrict v, const float *restrict grad) {
    const adamw_job a = *job;
    for (int64_t i = 0; i < n; i++) {
        float g = grad[i] * a.grad_scale;
        m[i] = a.beta1 * m[i] + a.rest1 * g;
        v[i] = a.beta2 * v[i] + a.rest2 * g * g;
        p[i] = a.keep * p[i] - a.lr_hat * m[i] / (__builtin_sqrtf(v[i] * a.v_hat) + a.eps);
    }
}

static void adamw_numbers(const void *ctx, int64_t first, int64_t n) {
    const adamw_job *job = ctx;
    adamw_block(job, n, job->p + first, job->m + first, job->v + first, job->g + first);
}

static void adamw(iso_exec *ex, void *p, void *m, void *v, const void *g, int64_t n,
                  const iso_adamw *a) {
    if (ex->measuring) return;
    adamw_job job = {.p = p, .m = m, .v = v, .g = g};
    job.beta1 = (float)a->beta1, job.rest1 = (float)(1 - a->beta1);
    job.beta2 = (float)a->beta2, job.rest2 = (float)(1 - a->beta2);
    job.lr_hat = (float)(a->lr / a->correction1), job.v_hat = (float)(1 / a->correction2);
    job.keep = (float)(1 - a->lr * a->weight_decay), job.eps = (float)a->eps;
    job.grad_scale = (float)a->grad_scale;
    const float *const streams[ISO_BESIDE_STREAMS] = {p, m, v, g};
    iso_exec_numbers(ex, n, streams, adamw_numbers, &job, sizeof job);
}

void ISO_ISA_NAME(iso_cpu_optim_init)(iso_kernels *kernels) {
    kernels->sum_squares = sum_squares;
    kernels->adamw = adamw;
}
