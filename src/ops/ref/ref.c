/* ref.c - the reference kernels: plain scalar C that says what each operation means.
 *
 * Compiled twice, with `real` as float and as double (ISO_REF_DOUBLE). Never tuned, always built,
 * one thread; the double build is the yardstick of `checkops`, of the gradient tests and of the
 * comparison with PyTorch. Formulas and shapes: ops.h.
 */
#include "ops/ops.h"

#include <math.h>
#include <string.h>

#ifdef ISO_REF_DOUBLE
typedef double real;
#define REAL_EXP  exp
#define REAL_LOG  log
#define REAL_SQRT sqrt
#define REF_INIT  iso_kernels_init_ref_f64
#else
typedef float real;
#define REAL_EXP  expf
#define REAL_LOG  logf
#define REAL_SQRT sqrtf
#define REF_INIT  iso_kernels_init_ref_f32
#endif

static void embed_fwd(iso_exec *ex, void *y_, const void *w_, const int32_t *ids, int64_t T,
                      int64_t H) {
    if (ex->measuring) return;
    real *y = y_;
    const real *w = w_;
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < H; h++) y[t * H + h] = w[ids[t] * H + h];
}

static void embed_bwd(iso_exec *ex, void *dw_, const void *dy_, const int32_t *ids, int64_t T,
                      int64_t H) {
    if (ex->measuring) return;
    real *dw = dw_;
    const real *dy = dy_;
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < H; h++) dw[ids[t] * H + h] += dy[t * H + h];
}

static void norm_fwd(iso_exec *ex, iso_tensor y_, iso_tensor rstd_, iso_tensor x_, iso_tensor w_,
                     double eps) {
    if (ex->measuring) return;
    int64_t T = x_.dims[0], H = x_.dims[1];
    real *y = y_.data, *rstd = rstd_.data;
    const real *x = x_.data, *w = w_.data;
    for (int64_t t = 0; t < T; t++) {
        real sum = 0;
        for (int64_t h = 0; h < H; h++) sum += x[t * H + h] * x[t * H + h];
        rstd[t] = 1 / REAL_SQRT(sum / (real)H + (real)eps);
        for (int64_t h = 0; h < H; h++) y[t * H + h] = w[h] * (x[t * H + h] * rstd[t]);
    }
}

/* y = w x r, r = (mean x^2 + eps)^-1/2:  dx = d + r (w dy - x r^2 mean(w dy x)),  dw = sum_t dy x r
 */
static void norm_bwd(iso_exec *ex, iso_tensor dx_, iso_tensor d_, iso_tensor dx_copy, iso_tensor y_,
                     iso_tensor dw_, iso_tensor dy_, iso_tensor x_, iso_tensor rstd_,
                     iso_tensor w_) {
    if (ex->measuring) return;
    int64_t T = x_.dims[0], H = x_.dims[1];
    real *dx = dx_.data, *copy = dx_copy.data, *y = y_.data, *dw = dw_.data;
    const real *d = d_.data, *dy = dy_.data, *x = x_.data, *rstd = rstd_.data, *w = w_.data;
    for (int64_t t = 0; t < T; t++) {
        real r = rstd[t], dot = 0;
        for (int64_t h = 0; h < H; h++) dot += w[h] * dy[t * H + h] * x[t * H + h];
        real shift = dot * r * r / (real)H;
        for (int64_t h = 0; h < H; h++) {
            int64_t i = t * H + h;
            dx[i] = d[i] + r * (w[h] * dy[i] - x[i] * shift);
            if (copy) copy[i] = dx[i];
            if (y) y[i] = w[h] * (x[i] * r);
            dw[h] += dy[i] * x[i] * r;
        }
    }
}

/* y (T,out) = base + x (T,in) w (out,in)^T, base NULL: 0 */
static void product_nt(real *y, const real *base, const real *x, const real *w, int64_t T,
                       int64_t out, int64_t in) {
    for (int64_t t = 0; t < T; t++)
        for (int64_t o = 0; o < out; o++) {
            real sum = 0;
            for (int64_t i = 0; i < in; i++) sum += x[t * in + i] * w[o * in + i];
            y[t * out + o] = (base ? base[t * out + o] : 0) + sum;
        }
}

/* dx (T,in) = or += dy (T,out) w (out,in) */
static void product_nn(real *dx, bool accumulate, const real *dy, const real *w, int64_t T,
                       int64_t out, int64_t in) {
    for (int64_t t = 0; t < T; t++)
        for (int64_t i = 0; i < in; i++) {
            real sum = 0;
            for (int64_t o = 0; o < out; o++) sum += dy[t * out + o] * w[o * in + i];
            dx[t * in + i] = (accumulate ? dx[t * in + i] : 0) + sum;
        }
}

/* dw (out,in) = or += dy (T,out)^T x (T,in) */
static void product_tn(real *dw, bool accumulate, const real *dy, const real *x, int64_t T,
                       int64_t out, int64_t in) {
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) {
            real sum = 0;
            for (int64_t t = 0; t < T; t++) sum += dy[t * out + o] * x[t * in + i];
            dw[o * in + i] = (accumulate ? dw[o * in + i] : 0) + sum;
        }
}

static void linear_fwd(iso_exec *ex, iso_tensor y, iso_tensor residual, iso_tensor x, iso_tensor w,
                       iso_dtype multiply_as) {
    if (ex->measuring) return;
    product_nt(y.data, residual.data, x.data, w.data, x.dims[0], w.dims[0], w.dims[1]);
}

static void linear_bwd_input(iso_exec *ex, iso_tensor dx, bool accumulate, iso_tensor dy,
                             iso_tensor w, iso_dtype multiply_as) {
    if (ex->measuring) return;
    product_nn(dx.data, accumulate, dy.data, w.data, dy.dims[0], w.dims[0], w.dims[1]);
}

static double sum_squares(iso_exec *ex, const void *x_, int64_t n) {
    if (ex->measuring) return 0;
    const real *x = x_;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

static void linear_bwd_weight(iso_exec *ex, iso_tensor dw, bool accumulate, double *squares,
                              iso_tensor dy, iso_tensor x, iso_dtype multiply_as) {
    if (ex->measuring) return;
    product_tn(dw.data, accumulate, dy.data, x.data, dy.dims[0], dw.dims[0], dw.dims[1]);
    *squares = sum_squares(ex, dw.data, iso_tensor_numel(&dw));
}

/* Rotate-half: for i < d/2, (a_i, a_{i+d/2}) turned by the angle s theta^(-2i/d). */
static void rope(iso_exec *ex, iso_tensor qkv_, int64_t B, int64_t S, int64_t A, int64_t d,
                 double theta, bool inverse) {
    if (ex->measuring) return;
    real *qkv = qkv_.data;
    int64_t H = A * d, half = d / 2;
    for (int64_t t = 0; t < B * S; t++)
        for (int64_t i_head = 0; i_head < 2 * A; i_head++) /* the q heads, then the k heads */
            for (int64_t i = 0; i < half; i++) {
                double angle = (double)(t % S) * pow(theta, -2.0 * (double)i / (double)d);
                real c = (real)cos(angle), s = (real)(inverse ? -sin(angle) : sin(angle));
                real *a = qkv + t * 3 * H + i_head * d + i, x = a[0], y = a[half];
                a[0] = x * c - y * s;
                a[half] = y * c + x * s;
            }
}

static real bias(const iso_attention *at, int64_t head, int64_t distance) {
    if (!at->slopes) return 0;
    real far = at->alibi_sqrt ? REAL_SQRT((real)distance) : (real)distance;
    return -(real)at->slopes[head] * far;
}

/* Scaled and biased score of query i and key j of one head. */
static real score(const iso_attention *at, const real *q, const real *k, int64_t head, int64_t i,
                  int64_t j) {
    real dot = 0;
    for (int64_t c = 0; c < at->d; c++) dot += q[c] * k[c];
    return dot / REAL_SQRT((real)at->d) + bias(at, head, i - j);
}

static void attention_fwd(iso_exec *ex, void *o_, void *lse_, const void *qkv_,
                          const iso_attention *at) {
    if (ex->measuring) return;
    real *o = o_, *lse = lse_;
    const real *qkv = qkv_;
    int64_t S = at->S, d = at->d, H = at->A * d;
    for (int64_t b = 0; b < at->B; b++)
        for (int64_t a = 0; a < at->A; a++)
            for (int64_t i = 0; i < S; i++) {
                const real *q = qkv + (b * S + i) * 3 * H + a * d;
                real *out = o + (b * S + i) * H + a * d, max = -INFINITY, sum = 0;
                for (int64_t j = 0; j <= i; j++) {
                    const real *k = qkv + (b * S + j) * 3 * H + H + a * d;
                    real s = score(at, q, k, a, i, j);
                    if (s > max) max = s;
                }
                for (int64_t c = 0; c < d; c++) out[c] = 0;
                for (int64_t j = 0; j <= i; j++) {
                    const real *k = qkv + (b * S + j) * 3 * H + H + a * d, *v = k + H;
                    real p = REAL_EXP(score(at, q, k, a, i, j) - max);
                    sum += p;
                    for (int64_t c = 0; c < d; c++) out[c] += p * v[c];
                }
                for (int64_t c = 0; c < d; c++) out[c] /= sum;
                lse[(b * at->A + a) * S + i] = max + REAL_LOG(sum);
            }
}

/* p = exp(score - lse);  dv_j += p do_i;  ds = p (do_i . v_j - do_i . o_i);
 * dq_i += ds k_j / sqrt(d);  dk_j += ds q_i / sqrt(d) */
static void attention_bwd(iso_exec *ex, void *dqkv_, const void *do_, const void *o_,
                          const void *lse_, const void *qkv_, const iso_attention *at) {
    if (ex->measuring) return;
    real *dqkv = dqkv_;
    const real *d_o = do_, *o = o_, *lse = lse_, *qkv = qkv_;
    int64_t S = at->S, d = at->d, H = at->A * d;
    real scale = 1 / REAL_SQRT((real)d);
    memset(dqkv, 0, (size_t)(at->B * S * 3 * H) * sizeof(real));
    for (int64_t b = 0; b < at->B; b++)
        for (int64_t a = 0; a < at->A; a++)
            for (int64_t i = 0; i < S; i++) {
                const real *q = qkv + (b * S + i) * 3 * H + a * d;
                const real *g = d_o + (b * S + i) * H + a * d, *out = o + (b * S + i) * H + a * d;
                real *dq = dqkv + (b * S + i) * 3 * H + a * d, delta = 0;
                for (int64_t c = 0; c < d; c++) delta += g[c] * out[c];
                for (int64_t j = 0; j <= i; j++) {
                    const real *k = qkv + (b * S + j) * 3 * H + H + a * d, *v = k + H;
                    real *dk = dqkv + (b * S + j) * 3 * H + H + a * d, *dv = dk + H, dp = 0;
                    real p = REAL_EXP(score(at, q, k, a, i, j) - lse[(b * at->A + a) * S + i]);
                    for (int64_t c = 0; c < d; c++) dp += g[c] * v[c];
                    real ds = p * (dp - delta) * scale;
                    for (int64_t c = 0; c < d; c++) {
                        dv[c] += p * g[c];
                        dq[c] += ds * k[c];
                        dk[c] += ds * q[c];
                    }
                }
            }
}

/* The reference skips what is masked: S (S+1) / 2 of the scores, two products of 2d, four backward
 * and the scores once more. */
static int64_t attention_executed(const iso_attention *at, bool backward) {
    int64_t pairs = at->B * at->A * (at->S * (at->S + 1) / 2);
    return pairs * 2 * at->d * (backward ? 5 : 3);
}

static void swiglu_fwd(iso_exec *ex, iso_tensor h_, iso_tensor gu_, iso_tensor row_scale_) {
    if (ex->measuring) return;
    int64_t rows = h_.dims[0], F = h_.dims[1];
    real *h = h_.data;
    const real *gu = gu_.data, *row_scale = row_scale_.data;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t f = 0; f < F; f++) {
            real g = gu[r * 2 * F + f], u = gu[r * 2 * F + F + f];
            h[r * F + f] = g / (1 + REAL_EXP(-g)) * u * (row_scale ? row_scale[r] : 1);
        }
}

/* silu(g) = g s, s = sigmoid(g);  silu'(g) = s (1 + g (1 - s)) */
static void swiglu_bwd(iso_exec *ex, iso_tensor dgu_, iso_tensor drow_scale_, iso_tensor h_,
                       iso_tensor dh_, iso_tensor gu_, iso_tensor row_scale_) {
    if (ex->measuring) return;
    int64_t rows = dh_.dims[0], F = dh_.dims[1];
    real *dgu = dgu_.data, *drow_scale = drow_scale_.data, *h = h_.data;
    const real *dh = dh_.data, *gu = gu_.data, *row_scale = row_scale_.data;
    for (int64_t r = 0; r < rows; r++) {
        real dot = 0, scale = row_scale ? row_scale[r] : 1;
        for (int64_t f = 0; f < F; f++) {
            real g = gu[r * 2 * F + f], u = gu[r * 2 * F + F + f], s = 1 / (1 + REAL_EXP(-g));
            real d = dh[r * F + f];
            dot += d * g * s * u;
            dgu[r * 2 * F + f] = d * scale * u * s * (1 + g * (1 - s));
            dgu[r * 2 * F + F + f] = d * scale * g * s;
            h[r * F + f] = g / (1 + REAL_EXP(-g)) * u * scale;
        }
        if (drow_scale) drow_scale[r] = dot;
    }
}

static void router_fwd(iso_exec *ex, void *probs_, int32_t *expert, void *gate_,
                       const void *logits_, int64_t T, int64_t E, int64_t K, bool norm_topk) {
    if (ex->measuring) return;
    real *probs = probs_, *gate = gate_;
    const real *logits = logits_;
    for (int64_t t = 0; t < T; t++) {
        real *p = probs + t * E, max = -INFINITY, sum = 0, chosen = 0;
        for (int64_t e = 0; e < E; e++) max = logits[t * E + e] > max ? logits[t * E + e] : max;
        for (int64_t e = 0; e < E; e++) sum += p[e] = REAL_EXP(logits[t * E + e] - max);
        for (int64_t e = 0; e < E; e++) p[e] /= sum;
        for (int64_t k = 0; k < K; k++) {
            int32_t best = -1;
            for (int32_t e = 0; e < E; e++) {
                bool taken = false;
                for (int64_t j = 0; j < k; j++) taken |= expert[t * K + j] == e;
                if (!taken && (best < 0 || p[e] > p[best])) best = e;
            }
            /* NaN logits lose every comparison but still leave a legal expert. */
            expert[t * K + k] = best;
            gate[t * K + k] = p[best];
            chosen += p[best];
        }
        if (norm_topk)
            for (int64_t k = 0; k < K; k++) gate[t * K + k] /= chosen;
    }
}

/* Normalised gate g_k = p_k / c, c = sum of the chosen p:  dp_k = (dg_k - sum_j dg_j g_j) / c.
 * Softmax: dlogit_e = p_e (dp_e - sum_i p_i dp_i), dp = gates' part + aux_grad of the group. */
static void router_bwd(iso_exec *ex, void *dlogits_, const void *drow_gate_, const void *aux_grad_,
                       int64_t group_tokens, const void *probs_, const void *gate_,
                       const iso_routing *rt, bool norm_topk) {
    if (ex->measuring) return;
    real *dlogits = dlogits_;
    const real *drow_gate = drow_gate_, *aux_grad = aux_grad_, *probs = probs_, *gate = gate_;
    int64_t E = rt->E, K = rt->K;
    for (int64_t t = 0; t < rt->T; t++) {
        const real *p = probs + t * E, *aux = aux_grad + t / group_tokens * E;
        const int32_t *expert = rt->expert + t * K, *row = rt->token_row + t * K;
        real *dp = dlogits + t * E, chosen = 0, shared = 0, dot = 0;
        for (int64_t e = 0; e < E; e++) dp[e] = aux[e];
        for (int64_t k = 0; k < K; k++) {
            chosen += p[expert[k]];
            shared += drow_gate[row[k]] * gate[t * K + k];
        }
        for (int64_t k = 0; k < K; k++)
            dp[expert[k]] += norm_topk ? (drow_gate[row[k]] - shared) / chosen : drow_gate[row[k]];
        for (int64_t e = 0; e < E; e++) dot += p[e] * dp[e];
        for (int64_t e = 0; e < E; e++) dp[e] = p[e] * (dp[e] - dot);
    }
}

static void balance(iso_exec *ex, double *loss, void *aux_grad_, const void *probs_,
                    const int32_t *expert, int64_t T, int64_t E, int64_t K, int64_t group_tokens,
                    double scale) {
    if (ex->measuring) return;
    real *aux_grad = aux_grad_;
    const real *probs = probs_;
    for (int64_t g = 0; g < T / group_tokens; g++) {
        double sum = 0;
        for (int64_t e = 0; e < E; e++) {
            int64_t n_chosen = 0;
            double p = 0;
            for (int64_t t = g * group_tokens; t < (g + 1) * group_tokens; t++) {
                p += (double)probs[t * E + e];
                for (int64_t k = 0; k < K; k++) n_chosen += expert[t * K + k] == e;
            }
            double f = (double)n_chosen / (double)(group_tokens * K);
            sum += f * (p / (double)group_tokens);
            aux_grad[g * E + e] = (real)(scale * (double)E * f / (double)group_tokens);
        }
        loss[g] = (double)E * sum;
    }
}

static void route_sort(iso_exec *ex, iso_routing *rt, void *row_gate_, const void *gate_) {
    if (ex->measuring) return;
    real *row_gate = row_gate_;
    const real *gate = gate_;
    int64_t R = rt->T * rt->K;
    int32_t *offsets = rt->offsets;
    /* Count one to the right, sum up, place (which moves each start to its end), move back. */
    for (int64_t e = 0; e <= rt->E; e++) offsets[e] = 0;
    for (int64_t i = 0; i < R; i++) offsets[rt->expert[i] + 1]++;
    for (int64_t e = 0; e < rt->E; e++) offsets[e + 1] += offsets[e];
    for (int64_t i = 0; i < R; i++) {
        int32_t row = offsets[rt->expert[i]]++;
        rt->token_row[i] = row;
        rt->row_token[row] = (int32_t)(i / rt->K);
        row_gate[row] = gate[i];
    }
    for (int64_t e = rt->E; e > 0; e--) offsets[e] = offsets[e - 1];
    offsets[0] = 0;
}

static void combine(iso_exec *ex, iso_tensor y_, iso_tensor base_, iso_tensor x_,
                    const iso_routing *rt) {
    if (ex->measuring) return;
    int64_t K = rt->K, H = y_.dims[1];
    real *y = y_.data;
    const real *base = base_.data, *x = x_.data;
    for (int64_t t = 0; t < rt->T; t++)
        for (int64_t h = 0; h < H; h++) {
            real sum = base ? base[t * H + h] : 0;
            for (int64_t k = 0; k < K; k++) sum += x[rt->token_row[t * K + k] * H + h];
            y[t * H + h] = sum;
        }
}

/* Row r of an operand of experts. */
static const real *expert_row(iso_tensor t, bool by_token, const iso_routing *rt, int64_t r) {
    return (const real *)t.data + (by_token ? rt->row_token[r] : r) * t.dims[1];
}

static void grouped_fwd(iso_exec *ex, iso_tensor y, iso_tensor x, bool x_by_token, iso_tensor w,
                        const iso_routing *rt) {
    if (ex->measuring) return;
    int64_t out = w.dims[1], in = w.dims[2];
    for (int64_t e = 0; e < rt->E; e++)
        for (int64_t r = rt->offsets[e]; r < rt->offsets[e + 1]; r++)
            product_nt((real *)y.data + r * out, NULL, expert_row(x, x_by_token, rt, r),
                       (const real *)w.data + e * out * in, 1, out, in);
}

static void grouped_bwd_input(iso_exec *ex, iso_tensor dx, iso_tensor dy, bool dy_by_token,
                              iso_tensor w, const iso_routing *rt) {
    if (ex->measuring) return;
    int64_t out = w.dims[1], in = w.dims[2];
    for (int64_t e = 0; e < rt->E; e++)
        for (int64_t r = rt->offsets[e]; r < rt->offsets[e + 1]; r++)
            product_nn((real *)dx.data + r * in, false, expert_row(dy, dy_by_token, rt, r),
                       (const real *)w.data + e * out * in, 1, out, in);
}

static void grouped_bwd_weight(iso_exec *ex, iso_tensor dw, bool accumulate, double *squares,
                               iso_tensor dy, bool dy_by_token, iso_tensor x, bool x_by_token,
                               const iso_routing *rt) {
    if (ex->measuring) return;
    int64_t out = dw.dims[1], in = dw.dims[2];
    for (int64_t e = 0; e < rt->E; e++)
        for (int64_t o = 0; o < out; o++)
            for (int64_t i = 0; i < in; i++) {
                real *sum = (real *)dw.data + (e * out + o) * in + i;
                if (!accumulate) *sum = 0;
                for (int64_t r = rt->offsets[e]; r < rt->offsets[e + 1]; r++)
                    *sum +=
                        expert_row(dy, dy_by_token, rt, r)[o] * expert_row(x, x_by_token, rt, r)[i];
            }
    *squares = sum_squares(ex, dw.data, iso_tensor_numel(&dw));
}

static void head_loss(iso_exec *ex, double *nats, void *dx_, void *dw_, const void *x_,
                      const void *w_, const int32_t *targets, int64_t T, int64_t H, int64_t V,
                      double scale, bool backward) {
    int64_t mark = iso_arena_mark(&ex->scratch);
    real *p = iso_arena_take(&ex->scratch, V, sizeof(real));
    if (ex->measuring) {
        iso_arena_rewind(&ex->scratch, mark);
        return;
    }
    real *dx = dx_, *dw = dw_;
    const real *x = x_, *w = w_;
    for (int64_t t = 0; t < T; t++) {
        real max = -INFINITY, sum = 0;
        nats[t] = 0;
        for (int64_t h = 0; backward && h < H; h++) dx[t * H + h] = 0;
        if (targets[t] < 0) continue;
        product_nt(p, NULL, x + t * H, w, 1, V, H);
        for (int64_t v = 0; v < V; v++) max = p[v] > max ? p[v] : max;
        nats[t] = (double)max - (double)p[targets[t]];
        for (int64_t v = 0; v < V; v++) sum += p[v] = REAL_EXP(p[v] - max);
        nats[t] += (double)REAL_LOG(sum);
        for (int64_t v = 0; backward && v < V; v++) {
            real dlogit = (p[v] / sum - (v == targets[t])) * (real)scale;
            for (int64_t h = 0; h < H; h++) {
                dx[t * H + h] += dlogit * w[v * H + h];
                dw[v * H + h] += dlogit * x[t * H + h];
            }
        }
    }
    iso_arena_rewind(&ex->scratch, mark);
}

static void adamw(iso_exec *ex, void *p_, void *m_, void *v_, const void *g_, int64_t n,
                  const iso_adamw *a) {
    if (ex->measuring) return;
    real *p = p_, *m = m_, *v = v_;
    const real *grad = g_;
    for (int64_t i = 0; i < n; i++) {
        real g = grad[i] * (real)a->grad_scale;
        m[i] = (real)a->beta1 * m[i] + (real)(1 - a->beta1) * g;
        v[i] = (real)a->beta2 * v[i] + (real)(1 - a->beta2) * g * g;
        real m_hat = m[i] / (real)a->correction1, v_hat = v[i] / (real)a->correction2;
        p[i] -= (real)a->lr *
                (m_hat / (REAL_SQRT(v_hat) + (real)a->eps) + (real)a->weight_decay * p[i]);
    }
}

void REF_INIT(iso_kernels *kernels) {
    *kernels = (iso_kernels){
        .name = "ref",
        .embed_fwd = embed_fwd,
        .embed_bwd = embed_bwd,
        .norm_fwd = norm_fwd,
        .norm_bwd = norm_bwd,
        .linear_fwd = linear_fwd,
        .linear_bwd_input = linear_bwd_input,
        .linear_bwd_weight = linear_bwd_weight,
        .rope = rope,
        .attention_fwd = attention_fwd,
        .attention_bwd = attention_bwd,
        .swiglu_fwd = swiglu_fwd,
        .swiglu_bwd = swiglu_bwd,
        .router_fwd = router_fwd,
        .router_bwd = router_bwd,
        .balance = balance,
        .route_sort = route_sort,
        .combine = combine,
        .grouped_fwd = grouped_fwd,
        .grouped_bwd_input = grouped_bwd_input,
        .grouped_bwd_weight = grouped_bwd_weight,
        .head_loss = head_loss,
        .sum_squares = sum_squares,
        .adamw = adamw,
        .attention_executed = attention_executed,
    };
}
