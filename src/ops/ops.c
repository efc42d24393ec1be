#include "ops/ops.h"

#include "base/clock.h"
#include "ops/chain.h"

static const char *const op_names[ISO_OP_N] = {
    "embed_fwd",
    "embed_bwd",
    "norm_fwd",
    "norm_bwd",
    "linear_fwd",
    "linear_bwd_input",
    "linear_bwd_weight",
    "rope",
    "attention_fwd",
    "attention_bwd",
    "swiglu_fwd",
    "swiglu_bwd",
    "router_fwd",
    "router_bwd",
    "balance",
    "route_sort",
    "combine",
    "grouped_fwd",
    "grouped_bwd_input",
    "grouped_bwd_weight",
    "head_loss",
    "sum_squares",
    "adamw",
};

const char *iso_op_name(iso_op op) {
    ISO_ASSERT(op >= 0 && op < ISO_OP_N);
    return op_names[op];
}

/* Of an operand that is there; 0 in a dry run. */
static int64_t bytes(const iso_tensor *t) {
    return t->data ? iso_tensor_numel(t) * iso_dtype_bytes(t->dtype) : 0;
}

/* n_bytes: every operand read or written once, what is added to twice. */
static void op_end(iso_exec *ex, iso_op op, int64_t start_ns, int64_t n_bytes) {
    ex->counters->calls[op]++;
    ex->counters->time_ns[op] += iso_clock_ns() - start_ns - ex->chain->run_ns;
    ex->chain->run_ns = 0;
    if (ex->is_aside && ex->beside.fn) /* counted by iso_exec_join */
        ex->beside.op = op, ex->beside.n_bytes = n_bytes;
    else
        ex->counters->op_bytes[op] += n_bytes;
    ex->is_aside = false;
}

static void count_executed(iso_exec *ex, iso_op op, int64_t flops) {
    ex->counters->executed_flops += flops;
    ex->counters->op_flops[op] += flops;
}

static void count(iso_exec *ex, iso_op op, iso_component kind, int64_t flops) {
    ex->counters->model_flops[kind] += flops;
    count_executed(ex, op, flops);
}

/* 2abc, the FLOPs of a matrix product. Micro-batches keep it far below 2^63. */
static int64_t product_flops(int64_t a, int64_t b, int64_t c) {
    int64_t ab, abc, out;
    ISO_ASSERT(iso_size_mul(&ab, a, b) && iso_size_mul(&abc, ab, c) && iso_size_mul(&out, abc, 2));
    return out;
}

void iso_embed_fwd(iso_exec *ex, iso_tensor y, iso_tensor w, const int32_t *ids) {
    int64_t T = y.dims[0], H = y.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&y, ex->dtype, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&w, ex->dtype, 2, w.dims[0], H, 1));
    ex->kernels->embed_fwd(ex, y.data, w.data, ids, T, H);
    op_end(ex, ISO_OP_EMBED_FWD, t0, 2 * bytes(&y));
}

void iso_embed_bwd(iso_exec *ex, iso_tensor dw, iso_tensor dy, const int32_t *ids) {
    int64_t T = dy.dims[0], H = dy.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&dy, ex->dtype, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&dw, ex->dtype, 2, dw.dims[0], H, 1));
    ex->kernels->embed_bwd(ex, dw.data, dy.data, ids, T, H);
    op_end(ex, ISO_OP_EMBED_BWD, t0,
           bytes(&dy) + 2 * (bytes(&dw) < bytes(&dy) ? bytes(&dw) : bytes(&dy)));
}

/* Of exec->dtype or narrow. */
static bool is_act(const iso_exec *ex, const iso_tensor *t, int64_t d0, int64_t d1) {
    return iso_tensor_is(t, ex->dtype, 2, d0, d1, 1) || iso_tensor_is(t, ex->narrow, 2, d0, d1, 1);
}

void iso_norm_fwd(iso_exec *ex, iso_tensor y, iso_tensor rstd, iso_tensor x, iso_tensor w,
                  double eps) {
    int64_t T = x.dims[0], H = x.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&x, ex->dtype, 2, T, H, 1));
    ISO_ASSERT(is_act(ex, &y, T, H));
    ISO_ASSERT(iso_tensor_is(&rstd, ex->dtype, 1, T, 1, 1));
    ISO_ASSERT(iso_tensor_is(&w, ex->dtype, 1, H, 1, 1));
    ex->kernels->norm_fwd(ex, y, rstd, x, w, eps);
    op_end(ex, ISO_OP_NORM_FWD, t0, bytes(&y) + bytes(&rstd) + bytes(&x) + bytes(&w));
}

void iso_norm_bwd(iso_exec *ex, iso_tensor dx, iso_tensor d, iso_tensor dx_copy, iso_tensor y,
                  iso_tensor dw, iso_tensor dy, iso_tensor x, iso_tensor rstd, iso_tensor w) {
    int64_t T = x.dims[0], H = x.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&x, ex->dtype, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&dx, ex->dtype, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&d, ex->dtype, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&dy, ex->dtype, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&rstd, ex->dtype, 1, T, 1, 1));
    ISO_ASSERT(iso_tensor_is(&w, ex->dtype, 1, H, 1, 1));
    ISO_ASSERT(iso_tensor_is(&dw, ex->dtype, 1, H, 1, 1));
    ISO_ASSERT(!dx_copy.data || iso_tensor_is(&dx_copy, ex->narrow, 2, T, H, 1));
    ISO_ASSERT(!y.data || iso_tensor_is(&y, ex->narrow, 2, T, H, 1));
    ex->kernels->norm_bwd(ex, dx, d, dx_copy, y, dw, dy, x, rstd, w);
    op_end(ex, ISO_OP_NORM_BWD, t0,
           bytes(&dx) + bytes(&d) + 2 * bytes(&dw) + bytes(&dx_copy) + bytes(&y) + bytes(&dy) +
               bytes(&x) + bytes(&rstd) + bytes(&w));
}

/* What a linear layer is multiplied as. */
static iso_dtype multiply_as(const iso_exec *ex, iso_component kind) {
    return kind == ISO_COMPONENT_ROUTER ? ex->dtype : ex->narrow;
}

void iso_linear_fwd(iso_exec *ex, iso_tensor y, iso_tensor residual, iso_tensor x, iso_tensor w,
                    iso_component kind) {
    int64_t T = x.dims[0], out = w.dims[0], in = w.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(is_act(ex, &x, T, in) && is_act(ex, &y, T, out));
    ISO_ASSERT(iso_tensor_is(&w, ex->dtype, 2, out, in, 1));
    ISO_ASSERT(!residual.data ||
               (residual.dtype == y.dtype && iso_tensor_is(&residual, ex->dtype, 2, T, out, 1)));
    ex->kernels->linear_fwd(ex, y, residual, x, w, multiply_as(ex, kind));
    count(ex, ISO_OP_LINEAR_FWD, kind, product_flops(T, out, in));
    op_end(ex, ISO_OP_LINEAR_FWD, t0, bytes(&y) + bytes(&residual) + bytes(&x) + bytes(&w));
}

void iso_linear_bwd_input(iso_exec *ex, iso_tensor dx, bool accumulate, iso_tensor dy, iso_tensor w,
                          iso_component kind) {
    int64_t T = dy.dims[0], out = w.dims[0], in = w.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(is_act(ex, &dy, T, out) && is_act(ex, &dx, T, in));
    ISO_ASSERT(!accumulate || dx.dtype == ex->dtype);
    ISO_ASSERT(iso_tensor_is(&w, ex->dtype, 2, out, in, 1));
    ex->kernels->linear_bwd_input(ex, dx, accumulate, dy, w, multiply_as(ex, kind));
    count(ex, ISO_OP_LINEAR_BWD_INPUT, kind, product_flops(T, out, in));
    op_end(ex, ISO_OP_LINEAR_BWD_INPUT, t0,
           (accumulate ? 2 : 1) * bytes(&dx) + bytes(&dy) + bytes(&w));
}

void iso_linear_bwd_weight(iso_exec *ex, iso_tensor dw, bool accumulate, double *squares,
                           iso_tensor dy, iso_tensor x, iso_component kind) {
    int64_t T = dy.dims[0], out = dw.dims[0], in = dw.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(is_act(ex, &x, T, in) && is_act(ex, &dy, T, out));
    ISO_ASSERT(iso_tensor_is(&dw, ex->dtype, 2, out, in, 1));
    ex->kernels->linear_bwd_weight(ex, dw, accumulate, squares, dy, x, multiply_as(ex, kind));
    count(ex, ISO_OP_LINEAR_BWD_WEIGHT, kind, product_flops(T, out, in));
    op_end(ex, ISO_OP_LINEAR_BWD_WEIGHT, t0,
           (accumulate ? 2 : 1) * bytes(&dw) + bytes(&dy) + bytes(&x));
}

void iso_rope(iso_exec *ex, iso_tensor qkv, const iso_attention *at, double theta, bool inverse) {
    int64_t t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&qkv, ex->narrow, 2, at->B * at->S, 3 * at->A * at->d, 1));
    ISO_ASSERT(at->d % 2 == 0);
    ex->kernels->rope(ex, qkv, at->B, at->S, at->A, at->d, theta, inverse);
    op_end(ex, ISO_OP_ROPE, t0, 2 * (bytes(&qkv) / 3 * 2));
}

/* Non-causal by convention: S x S scores, two products forward and four backward. */
static void count_attention(iso_exec *ex, const iso_attention *at, bool backward) {
    int64_t product = product_flops(at->B * at->A * at->S, at->S, at->d);
    int64_t scores = product_flops(at->B * at->A, at->S, at->S) / 2;
    ex->counters->model_flops[ISO_COMPONENT_ATTENTION_SCORES] += (backward ? 4 : 2) * product;
    ex->counters->model_flops[ISO_COMPONENT_SOFTMAX] += (backward ? 6 : 3) * scores;
    count_executed(ex, backward ? ISO_OP_ATTENTION_BWD : ISO_OP_ATTENTION_FWD,
                   ex->kernels->attention_executed(at, backward));
}

void iso_attention_fwd(iso_exec *ex, iso_tensor o, iso_tensor lse, iso_tensor qkv,
                       const iso_attention *at) {
    int64_t T = at->B * at->S, H = at->A * at->d, t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&qkv, ex->narrow, 2, T, 3 * H, 1));
    ISO_ASSERT(iso_tensor_is(&o, ex->narrow, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&lse, ex->dtype, 2, at->B * at->A, at->S, 1));
    ex->kernels->attention_fwd(ex, o.data, lse.data, qkv.data, at);
    count_attention(ex, at, false);
    op_end(ex, ISO_OP_ATTENTION_FWD, t0, bytes(&o) + bytes(&lse) + bytes(&qkv));
}

void iso_attention_bwd(iso_exec *ex, iso_tensor dqkv, iso_tensor d_o, iso_tensor o, iso_tensor lse,
                       iso_tensor qkv, const iso_attention *at) {
    int64_t T = at->B * at->S, H = at->A * at->d, t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&qkv, ex->narrow, 2, T, 3 * H, 1));
    ISO_ASSERT(iso_tensor_is(&dqkv, ex->narrow, 2, T, 3 * H, 1));
    ISO_ASSERT(iso_tensor_is(&o, ex->narrow, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&d_o, ex->narrow, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&lse, ex->dtype, 2, at->B * at->A, at->S, 1));
    ex->kernels->attention_bwd(ex, dqkv.data, d_o.data, o.data, lse.data, qkv.data, at);
    count_attention(ex, at, true);
    op_end(ex, ISO_OP_ATTENTION_BWD, t0, 2 * bytes(&qkv) + 2 * bytes(&o) + bytes(&lse));
}

void iso_swiglu_fwd(iso_exec *ex, iso_tensor h, iso_tensor gu, iso_tensor row_scale) {
    int64_t rows = h.dims[0], F = h.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(is_act(ex, &h, rows, F) && iso_tensor_is(&gu, h.dtype, 2, rows, 2 * F, 1));
    ISO_ASSERT(!row_scale.data || iso_tensor_is(&row_scale, ex->dtype, 1, rows, 1, 1));
    ex->kernels->swiglu_fwd(ex, h, gu, row_scale);
    op_end(ex, ISO_OP_SWIGLU_FWD, t0, bytes(&h) + bytes(&gu) + bytes(&row_scale));
}

void iso_swiglu_bwd(iso_exec *ex, iso_tensor dgu, iso_tensor drow_scale, iso_tensor h,
                    iso_tensor dh, iso_tensor gu, iso_tensor row_scale) {
    int64_t rows = dh.dims[0], F = dh.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(is_act(ex, &dh, rows, F) && iso_tensor_is(&gu, dh.dtype, 2, rows, 2 * F, 1));
    ISO_ASSERT(iso_tensor_is(&dgu, dh.dtype, 2, rows, 2 * F, 1));
    ISO_ASSERT(iso_tensor_is(&h, dh.dtype, 2, rows, F, 1));
    ISO_ASSERT(!row_scale.data == !drow_scale.data);
    ISO_ASSERT(!row_scale.data || iso_tensor_is(&drow_scale, ex->dtype, 1, rows, 1, 1));
    ex->kernels->swiglu_bwd(ex, dgu, drow_scale, h, dh, gu, row_scale);
    op_end(ex, ISO_OP_SWIGLU_BWD, t0,
           bytes(&dgu) + bytes(&h) + bytes(&dh) + bytes(&gu) + bytes(&row_scale) +
               bytes(&drow_scale));
}

void iso_router_fwd(iso_exec *ex, iso_tensor probs, int32_t *expert, iso_tensor gate,
                    iso_tensor logits, bool norm_topk) {
    int64_t T = logits.dims[0], E = logits.dims[1], K = gate.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&probs, ex->dtype, 2, T, E, 1));
    ISO_ASSERT(iso_tensor_is(&logits, ex->dtype, 2, T, E, 1));
    ISO_ASSERT(iso_tensor_is(&gate, ex->dtype, 2, T, K, 1) && K >= 1 && K <= E);
    ex->kernels->router_fwd(ex, probs.data, expert, gate.data, logits.data, T, E, K, norm_topk);
    op_end(ex, ISO_OP_ROUTER_FWD, t0, bytes(&probs) + 2 * bytes(&gate) + bytes(&logits));
}

void iso_router_bwd(iso_exec *ex, iso_tensor dlogits, iso_tensor drow_gate, iso_tensor aux_grad,
                    iso_tensor probs, iso_tensor gate, const iso_routing *rt, bool norm_topk) {
    int64_t n_groups = aux_grad.dims[0], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&dlogits, ex->dtype, 2, rt->T, rt->E, 1));
    ISO_ASSERT(iso_tensor_is(&probs, ex->dtype, 2, rt->T, rt->E, 1));
    ISO_ASSERT(iso_tensor_is(&gate, ex->dtype, 2, rt->T, rt->K, 1));
    ISO_ASSERT(iso_tensor_is(&drow_gate, ex->dtype, 1, rt->T * rt->K, 1, 1));
    ISO_ASSERT(iso_tensor_is(&aux_grad, ex->dtype, 2, n_groups, rt->E, 1));
    ISO_ASSERT(rt->T % n_groups == 0);
    ex->kernels->router_bwd(ex, dlogits.data, drow_gate.data, aux_grad.data, rt->T / n_groups,
                            probs.data, gate.data, rt, norm_topk);
    op_end(ex, ISO_OP_ROUTER_BWD, t0,
           bytes(&dlogits) + bytes(&drow_gate) + bytes(&aux_grad) + bytes(&probs) + bytes(&gate));
}

void iso_balance(iso_exec *ex, double *loss, iso_tensor aux_grad, iso_tensor probs,
                 const int32_t *expert, int64_t K, double scale) {
    int64_t T = probs.dims[0], E = probs.dims[1], n_groups = aux_grad.dims[0], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&probs, ex->dtype, 2, T, E, 1));
    ISO_ASSERT(iso_tensor_is(&aux_grad, ex->dtype, 2, n_groups, E, 1) && T % n_groups == 0);
    ex->kernels->balance(ex, loss, aux_grad.data, probs.data, expert, T, E, K, T / n_groups, scale);
    op_end(ex, ISO_OP_BALANCE, t0, bytes(&aux_grad) + bytes(&probs));
}

void iso_route_sort(iso_exec *ex, iso_routing *rt, iso_tensor row_gate, iso_tensor gate) {
    int64_t t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&row_gate, ex->dtype, 1, rt->T * rt->K, 1, 1));
    ISO_ASSERT(iso_tensor_is(&gate, ex->dtype, 2, rt->T, rt->K, 1));
    ISO_ASSERT(rt->T * rt->K < INT32_MAX);
    ex->kernels->route_sort(ex, rt, row_gate.data, gate.data);
    op_end(ex, ISO_OP_ROUTE_SORT, t0, bytes(&row_gate) + 4 * bytes(&gate));
}

void iso_combine(iso_exec *ex, iso_tensor y, iso_tensor base, iso_tensor x, const iso_routing *rt) {
    int64_t H = y.dims[1], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&y, ex->dtype, 2, rt->T, H, 1));
    ISO_ASSERT(!base.data || iso_tensor_is(&base, ex->dtype, 2, rt->T, H, 1));
    ISO_ASSERT(is_act(ex, &x, rt->T * rt->K, H));
    ex->kernels->combine(ex, y, base, x, rt);
    op_end(ex, ISO_OP_COMBINE, t0, bytes(&y) + bytes(&base) + bytes(&x));
}

static int64_t n_rows_of(const iso_routing *rt, bool by_token) {
    return by_token ? rt->T : rt->T * rt->K;
}

void iso_grouped_fwd(iso_exec *ex, iso_tensor y, iso_tensor x, bool x_by_token, iso_tensor w,
                     const iso_routing *rt) {
    int64_t R = rt->T * rt->K, out = w.dims[1], in = w.dims[2], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&w, ex->dtype, 3, rt->E, out, in));
    ISO_ASSERT(is_act(ex, &x, n_rows_of(rt, x_by_token), in) && is_act(ex, &y, R, out));
    ex->kernels->grouped_fwd(ex, y, x, x_by_token, w, rt);
    count(ex, ISO_OP_GROUPED_FWD, ISO_COMPONENT_FFN_ROUTED, product_flops(R, out, in));
    op_end(ex, ISO_OP_GROUPED_FWD, t0, bytes(&y) + bytes(&x) + bytes(&w));
}

void iso_grouped_bwd_input(iso_exec *ex, iso_tensor dx, iso_tensor dy, bool dy_by_token,
                           iso_tensor w, const iso_routing *rt) {
    int64_t R = rt->T * rt->K, out = w.dims[1], in = w.dims[2], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&w, ex->dtype, 3, rt->E, out, in));
    ISO_ASSERT(is_act(ex, &dy, n_rows_of(rt, dy_by_token), out) && is_act(ex, &dx, R, in));
    ex->kernels->grouped_bwd_input(ex, dx, dy, dy_by_token, w, rt);
    count(ex, ISO_OP_GROUPED_BWD_INPUT, ISO_COMPONENT_FFN_ROUTED, product_flops(R, out, in));
    op_end(ex, ISO_OP_GROUPED_BWD_INPUT, t0, bytes(&dx) + bytes(&dy) + bytes(&w));
}

void iso_grouped_bwd_weight(iso_exec *ex, iso_tensor dw, bool accumulate, double *squares,
                            iso_tensor dy, bool dy_by_token, iso_tensor x, bool x_by_token,
                            const iso_routing *rt) {
    int64_t R = rt->T * rt->K, out = dw.dims[1], in = dw.dims[2], t0 = iso_clock_ns();
    ISO_ASSERT(iso_tensor_is(&dw, ex->dtype, 3, rt->E, out, in));
    ISO_ASSERT(is_act(ex, &x, n_rows_of(rt, x_by_token), in));
    ISO_ASSERT(is_act(ex, &dy, n_rows_of(rt, dy_by_token), out));
    ex->kernels->grouped_bwd_weight(ex, dw, accumulate, squares, dy, dy_by_token, x, x_by_token,
                                    rt);
    count(ex, ISO_OP_GROUPED_BWD_WEIGHT, ISO_COMPONENT_FFN_ROUTED, product_flops(R, out, in));
    op_end(ex, ISO_OP_GROUPED_BWD_WEIGHT, t0,
           (accumulate ? 2 : 1) * bytes(&dw) + bytes(&dy) + bytes(&x));
}

void iso_head_loss(iso_exec *ex, double *nats, iso_tensor dx, iso_tensor dw, iso_tensor x,
                   iso_tensor w, const int32_t *targets, double scale) {
    int64_t T = x.dims[0], H = x.dims[1], V = w.dims[0], t0 = iso_clock_ns();
    bool backward = dx.n_dims != 0;
    ISO_ASSERT(iso_tensor_is(&x, ex->dtype, 2, T, H, 1));
    ISO_ASSERT(iso_tensor_is(&w, ex->dtype, 2, V, H, 1));
    ISO_ASSERT(!backward || (iso_tensor_is(&dx, ex->dtype, 2, T, H, 1) &&
                             iso_tensor_is(&dw, ex->dtype, 2, V, H, 1)));
    ex->kernels->head_loss(ex, nats, dx.data, dw.data, x.data, w.data, targets, T, H, V, scale,
                           backward);
    count(ex, ISO_OP_HEAD_LOSS, ISO_COMPONENT_HEAD, (backward ? 3 : 1) * product_flops(T, H, V));
    op_end(ex, ISO_OP_HEAD_LOSS, t0, bytes(&x) + bytes(&w) + bytes(&dx) + 2 * bytes(&dw));
}

double iso_sum_squares(iso_exec *ex, iso_tensor x) {
    int64_t t0 = iso_clock_ns();
    ISO_ASSERT(x.dtype == ex->dtype);
    double sum = ex->kernels->sum_squares(ex, x.data, iso_tensor_numel(&x));
    op_end(ex, ISO_OP_SUM_SQUARES, t0, bytes(&x));
    return sum;
}

void iso_adamw_step(iso_exec *ex, iso_tensor p, iso_tensor m, iso_tensor v, iso_tensor g,
                    const iso_adamw *adamw) {
    int64_t n = iso_tensor_numel(&p), t0 = iso_clock_ns();
    ISO_ASSERT(p.dtype == ex->dtype && iso_tensor_numel(&g) == n && g.dtype == ex->dtype);
    ISO_ASSERT(iso_tensor_numel(&m) == n && iso_tensor_numel(&v) == n);
    ex->kernels->adamw(ex, p.data, m.data, v.data, g.data, n, adamw);
    op_end(ex, ISO_OP_ADAMW, t0, 2 * (bytes(&p) + bytes(&m) + bytes(&v)) + bytes(&g));
}
