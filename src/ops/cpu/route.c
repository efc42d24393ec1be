/* route.c - the router: softmax and top-K, its gradient, the balance loss, the sort by expert. */
#include "ops/chain.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

#include <math.h>

#define BLOCK_ROWS 128

typedef struct route_job {
    float *out, *gate, *scratch;
    int32_t *expert;
    double *loss, *sums;
    const float *in, *drow_gate, *aux_grad, *const_gate;
    const iso_routing *routing;
    const int32_t *const_expert;
    int64_t T, E, K, group_tokens;
    double scale;
    bool norm_topk;
} route_job;

/* The softmax of the tokens in the lanes, in place: p (E,VEC_LANES). Their sums, NaN where a token
 * has a NaN. */
VEC_INLINE vec softmax_lanes(float *p, int64_t E) {
    vec max = vec_set(-INFINITY), sum = {0};
    for (int64_t e = 0; e < E; e++) max = vec_max(vec_load(p + e * VEC_LANES), max);
    for (int64_t e = 0; e < E; e++) {
        vec v = vec_exp(vec_load(p + e * VEC_LANES) - max);
        sum += v;
        vec_store(p + e * VEC_LANES, v);
    }
    for (int64_t e = 0; e < E; e++) vec_store(p + e * VEC_LANES, vec_load(p + e * VEC_LANES) / sum);
    return sum;
}

/* Each token's best expert after the one it chose last: p falls, and of equals the number grows,
 * so that nothing needs striking out. Where all is NaN the choice stays as it is. */
VEC_INLINE void choose_next(const float *p, int64_t E, vec *last, vec_int *choice) {
    vec best = vec_set(-1);
    vec_int found = *choice;
    for (int32_t e = 0; e < E; e++) {
        vec v = vec_load(p + e * VEC_LANES);
        vec_int is_later = (v < *last) | ((v == *last) & (*choice < e));
        vec_int is_best = is_later & (v > best);
        best = vec_select(is_best, v, best);
        found = (vec_int)vec_select(is_best, (vec)((vec_int){0} + e), (vec)found);
    }
    *last = best;
    *choice = found;
}

static int64_t padded(int64_t E) {
    return cpu_ceil_div(E, VEC_LANES) * VEC_LANES;
}

/* n <= VEC_LANES tokens from t on. A row with a NaN is NaN all over, because its sum is: it chooses
 * experts 0, 1, .., which are legal; its gates tell. */
static void route_lanes(const route_job *job, float *p, int64_t t, int64_t n) {
    int64_t E = job->E, K = job->K, ld = padded(E);
    float *rows = p + ld * VEC_LANES; /* whole squares are transposed faster than parts */
    for (int64_t i = 0; i < n; i++)
        for (int64_t e = 0; e < E; e += VEC_LANES)
            vec_store(rows + i * ld + e, vec_load_upto(job->in + (t + i) * E + e, E - e));
    ISO_ISA_NAME(iso_cpu_transpose)(p, VEC_LANES, rows, ld, VEC_LANES, ld);
    vec sum = softmax_lanes(p, E), last = vec_set(2), chosen = {0};
    vec_int is_number = sum == sum, choice = (vec_int){0} - 1;
    for (int32_t k = 0; k < K; k++) {
        choose_next(p, E, &last, &choice);
        choice = (vec_int)vec_select(is_number, (vec)choice, (vec)((vec_int){0} + k));
        vec gate = vec_select(is_number, last, sum);
        chosen += gate;
        for (int64_t i = 0; i < n; i++) {
            job->expert[(t + i) * K + k] = choice[i];
            job->gate[(t + i) * K + k] = gate[i];
        }
    }
    for (int64_t i = 0; job->norm_topk && i < n; i++)
        for (int64_t k = 0; k < K; k++) job->gate[(t + i) * K + k] /= chosen[i];
    ISO_ISA_NAME(iso_cpu_transpose)(rows, ld, p, VEC_LANES, ld, VEC_LANES);
    for (int64_t i = 0; i < n; i++)
        for (int64_t e = 0; e < E; e += VEC_LANES)
            vec_store_upto(job->out + (t + i) * E + e, vec_load(rows + i * ld + e), E - e);
}

static void router_fwd_link(const void *ctx, const iso_step *s) {
    const route_job *job = ctx;
    int64_t end = s->first + s->n;
    float *p = job->scratch + s->i_thread * 2 * padded(job->E) * VEC_LANES;
    for (int64_t t = s->first; t < end; t += VEC_LANES)
        route_lanes(job, p, t, cpu_min(VEC_LANES, end - t));
}

static iso_operand row_operand(const void *data, int64_t n) {
    return (iso_operand){.data = data, .row_bytes = n * (int64_t)sizeof(float)};
}

static void router_fwd(iso_exec *ex, void *probs, int32_t *expert, void *gate, const void *logits,
                       int64_t T, int64_t E, int64_t K, bool norm_topk) {
    int64_t n_floats = iso_exec_n_threads(ex) * 2 * padded(E) * VEC_LANES;
    route_job job = {.out = probs, .expert = expert, .gate = gate, .in = logits, .T = T, .E = E};
    job.K = K, job.norm_topk = norm_topk;
    iso_link link = {.op = ISO_OP_ROUTER_FWD, .rows = router_fwd_link, .n_rows = T};
    link.block_rows = BLOCK_ROWS;
    link.operands[0] = row_operand(logits, E), link.operands[1] = row_operand(probs, E);
    iso_link_begin(ex, 0, false);
    job.scratch = iso_arena_take(&ex->scratch, n_floats, sizeof(float));
    iso_link_add(ex, &link, &job, sizeof job);
}

/* Formulas: ref.c. */
static void router_bwd_link(const void *ctx, const iso_step *s) {
    const route_job *job = ctx;
    int64_t E = job->E, K = job->K;
    for (int64_t t = s->first; t < s->first + s->n; t++) {
        const float *p = job->in + t * E, *gate = job->const_gate + t * K;
        const int32_t *expert = job->routing->expert + t * K,
                      *row = job->routing->token_row + t * K;
        float *dp = job->out + t * E, chosen = 0, shared = 0;
        memcpy(dp, job->aux_grad + t / job->group_tokens * E, (size_t)E * sizeof *dp);
        for (int64_t k = 0; k < K; k++) {
            chosen += p[expert[k]];
            shared += job->drow_gate[row[k]] * gate[k];
        }
        for (int64_t k = 0; k < K; k++) {
            float dgate = job->drow_gate[row[k]];
            dp[expert[k]] += job->norm_topk ? (dgate - shared) / chosen : dgate;
        }
        vec dots = {0};
        for (int64_t e = 0; e < E; e += VEC_LANES)
            dots += vec_load_upto(p + e, E - e) * vec_load_upto(dp + e, E - e);
        float dot = vec_sum(dots);
        for (int64_t e = 0; e < E; e += VEC_LANES)
            vec_store_upto(
                dp + e, vec_load_upto(p + e, E - e) * (vec_load_upto(dp + e, E - e) - dot), E - e);
    }
}

static void router_bwd(iso_exec *ex, void *dlogits, const void *drow_gate, const void *aux_grad,
                       int64_t group_tokens, const void *probs, const void *gate,
                       const iso_routing *rt, bool norm_topk) {
    route_job job = {.out = dlogits, .drow_gate = drow_gate, .aux_grad = aux_grad, .in = probs};
    job.const_gate = gate, job.routing = rt, job.norm_topk = norm_topk;
    job.T = rt->T, job.E = rt->E, job.K = rt->K, job.group_tokens = group_tokens;
    iso_link link = {.op = ISO_OP_ROUTER_BWD, .rows = router_bwd_link, .n_rows = rt->T};
    link.block_rows = BLOCK_ROWS;
    link.operands[0] = row_operand(probs, rt->E), link.operands[1] = row_operand(dlogits, rt->E);
    iso_link_begin(ex, 0, false);
    iso_link_add(ex, &link, &job, sizeof job);
}

/* One group of tokens; its own 2 E sums: of probabilities, and of choices. */
static void balance_piece(void *ctx, int64_t g, int i_thread) {
    const route_job *job = ctx;
    int64_t E = job->E, K = job->K, n = job->group_tokens;
    double *sum_p = job->sums + g * 2 * E, *n_chosen = sum_p + E, loss = 0;
    memset(sum_p, 0, (size_t)(2 * E) * sizeof *sum_p);
    for (int64_t t = g * n; t < (g + 1) * n; t++) {
        const float *p = job->in + t * E;
        for (int64_t e = 0; e < E; e++) sum_p[e] += (double)p[e];
        for (int64_t k = 0; k < K; k++) n_chosen[job->const_expert[t * K + k]]++;
    }
    for (int64_t e = 0; e < E; e++) {
        double f = n_chosen[e] / (double)(n * K);
        loss += f * (sum_p[e] / (double)n);
        job->out[g * E + e] = (float)(job->scale * (double)E * f / (double)n);
    }
    job->loss[g] = (double)E * loss;
}

static void balance(iso_exec *ex, double *loss, void *aux_grad, const void *probs,
                    const int32_t *expert, int64_t T, int64_t E, int64_t K, int64_t group_tokens,
                    double scale) {
    int64_t n_groups = T / group_tokens, mark = iso_arena_mark(&ex->scratch);
    route_job job = {.loss = loss, .out = aux_grad, .in = probs, .const_expert = expert, .T = T};
    job.E = E, job.K = K, job.group_tokens = group_tokens, job.scale = scale;
    job.sums = iso_arena_take(&ex->scratch, n_groups * 2 * E, sizeof *job.sums);
    if (!ex->measuring) iso_exec_pieces(ex, n_groups, balance_piece, &job);
    iso_arena_rewind(&ex->scratch, mark);
}

/* A counting sort of a few thousand numbers: not worth a second thread. */
static void route_sort(iso_exec *ex, iso_routing *rt, void *row_gate_, const void *gate_) {
    ISO_ASSERT(!ex->chain->is_open);
    if (ex->measuring) return;
    float *row_gate = row_gate_;
    const float *gate = gate_;
    int32_t *offsets = rt->offsets;
    int64_t K = rt->K;
    /* Count one to the right, sum up, place (which moves each start to its end), move back. */
    memset(offsets, 0, (size_t)(rt->E + 1) * sizeof *offsets);
    for (int64_t i = 0; i < rt->T * K; i++) offsets[rt->expert[i] + 1]++;
    for (int64_t e = 0; e < rt->E; e++) offsets[e + 1] += offsets[e];
    for (int64_t t = 0; t < rt->T; t++)
        for (int64_t i = t * K; i < (t + 1) * K; i++) {
            int32_t row = offsets[rt->expert[i]]++;
            rt->token_row[i] = row;
            rt->row_token[row] = (int32_t)t;
            row_gate[row] = gate[i];
        }
    memmove(offsets + 1, offsets, (size_t)rt->E * sizeof *offsets);
    offsets[0] = 0;
}

void ISO_ISA_NAME(iso_cpu_route_init)(iso_kernels *kernels) {
    kernels->router_fwd = router_fwd;
    kernels->router_bwd = router_bwd;
    kernels->balance = balance;
    kernels->route_sort = route_sort;
}
