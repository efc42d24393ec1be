/* loss.c - the head and the cross-entropy as one operation, in chunks of tokens.
 *
 * Of a chunk the logits exist, in scratch, and are turned in place into their gradient. Two rounds
 * of pieces a chunk: blocks of tokens (logits, loss, dx), then blocks of the vocabulary (dw +=).
 */
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

#include <math.h>

#define CHUNK_ELEMENTS (1 << 20)
#define CHUNK_TOKENS   1024
#define BLOCK_TOKENS   128

typedef struct loss_job {
    double *nats;
    float *dx, *dw, *logits;
    const float *x, *w;
    const int32_t *targets;
    int64_t n_tokens, H, V, block_vocab; /* of this chunk; block_vocab: rows of dw in a piece */
    float scale;
    bool backward;
} loss_job;

/* -log softmax(z)[target]; with backward, z becomes scale (softmax(z) - onehot(target)). */
static double token_loss(const loss_job *job, float *z, int32_t target) {
    int64_t V = job->V;
    if (target < 0) {
        memset(z, 0, (size_t)V * sizeof *z);
        return 0;
    }
    vec max_lanes = vec_set(-INFINITY), sums = {0};
    for (int64_t v = 0; v < V; v += VEC_LANES)
        max_lanes =
            vec_max(vec_keep(vec_load_upto(z + v, V - v), V - v, vec_set(-INFINITY)), max_lanes);
    float max = vec_max_lane(max_lanes);
    double nats = (double)max - (double)z[target];
    for (int64_t v = 0; v < V; v += VEC_LANES) {
        vec p = vec_keep(vec_exp(vec_load_upto(z + v, V - v) - max), V - v, vec_set(0));
        sums += p;
        vec_store_upto(z + v, p, V - v);
    }
    float sum = vec_sum(sums);
    if (job->backward) {
        float factor = job->scale / sum;
        for (int64_t v = 0; v < V; v += VEC_LANES)
            vec_store_upto(z + v, vec_load_upto(z + v, V - v) * factor, V - v);
        z[target] -= job->scale;
    }
    return nats + log((double)sum);
}

static void tokens_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t first = i_piece * BLOCK_TOKENS, n = cpu_min(BLOCK_TOKENS, job->n_tokens - first);
    int64_t H = job->H, V = job->V;
    float *z = job->logits + first * V;
    iso_cpu_gemm(false, true, n, V, H, job->x + first * H, H, job->w, H, 0, z, V);
    for (int64_t t = 0; t < n; t++)
        job->nats[first + t] = token_loss(job, z + t * V, job->targets[first + t]);
    if (job->backward)
        iso_cpu_gemm(false, false, n, H, V, z, V, job->w, H, 0, job->dx + first * H, H);
}

static void vocab_piece(void *ctx, int64_t i_piece, int i_thread) {
    const loss_job *job = ctx;
    int64_t first = i_piece * job->block_vocab, H = job->H, V = job->V;
    iso_cpu_gemm(true, false, cpu_min(job->block_vocab, V - first), H, job->n_tokens,
                 job->logits + first, V, job->x, H, 1, job->dw + first * H, H);
}

static void head_loss(iso_exec *ex, double *nats, void *dx, void *dw, const void *x, const void *w,
                      const int32_t *targets, int64_t T, int64_t H, int64_t V, double scale,
                      bool backward) {
    int64_t chunk = CHUNK_ELEMENTS / V / BLOCK_TOKENS * BLOCK_TOKENS;
    chunk = cpu_min(cpu_min(cpu_max(chunk, BLOCK_TOKENS), CHUNK_TOKENS), T);
    int64_t mark = iso_arena_mark(&ex->scratch);
    float *logits = iso_arena_take(&ex->scratch, chunk * V, sizeof(float));
    for (int64_t first = 0; !ex->measuring && first < T; first += chunk) {
        loss_job job = {.nats = nats + first, .dw = dw, .logits = logits, .w = w, .H = H, .V = V};
        job.dx = dx ? (float *)dx + first * H : NULL;
        job.x = (const float *)x + first * H;
        job.targets = targets + first;
        job.n_tokens = cpu_min(chunk, T - first);
        job.block_vocab = cpu_max(48, cpu_ceil_div(cpu_ceil_div(V, 8), 16) * 16);
        job.scale = (float)scale;
        job.backward = backward;
        iso_exec_pieces(ex, cpu_ceil_div(job.n_tokens, BLOCK_TOKENS), tokens_piece, &job);
        if (backward) iso_exec_pieces(ex, cpu_ceil_div(V, job.block_vocab), vocab_piece, &job);
    }
    iso_arena_rewind(&ex->scratch, mark);
}

void ISO_ISA_NAME(iso_cpu_loss_init)(iso_kernels *kernels) {
    kernels->head_loss = head_loss;
}
