/* ops.h - every operation of the model: one table of kernels, one checked wrapper each.
 *
 * Owns: the list of operations, what each computes, whether it overwrites ("=") or accumulates
 * ("+="), the FLOPs it counts. Does not own: memory of tensors (the caller's arenas), the order of
 * operations (src/model), kernels (ref/, cpu/).
 *
 * A backend is a filled iso_kernels. `ref` is plain scalar C and defines what is correct, in float
 * and in double; `cpu` is the fast one. The model is written once, against the wrappers.
 *
 * (I1) the bits of every result are independent of the number of threads: work is cut into pieces
 * by shape alone, and partial results are added in piece order; (I2) no kernel allocates: scratch
 * comes from exec->scratch, and what a kernel takes there depends on shapes and thread count only,
 * so a dry run (exec->measuring) sizes it exactly; (I3) model FLOPs count the mathematics by
 * convention (attention non-causal, nothing for recomputation); executed FLOPs count multiply-adds
 * that ran. Both in matrix products only, softmax of attention apart (paper, Section 2
 * conventions).
 *
 * Two types: tensors are of exec->dtype but for those marked "narrow", which are of exec->narrow:
 * what goes in and out of matrix products. In bf16 these products round their operands (weights and
 * incoming tensors of exec->dtype, too) to bf16 and add up in float; everything else is float.
 *
 * Letters: tensor/dims.h. Weights are (out, in).
 */
#ifndef ISO_OPS_OPS_H
#define ISO_OPS_OPS_H

#include "arch/count.h"
#include "base/arena.h"
#include "base/threads.h"
#include "tensor/tensor.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum iso_op {
    ISO_OP_EMBED_FWD,
    ISO_OP_EMBED_BWD,
    ISO_OP_NORM_FWD,
    ISO_OP_NORM_BWD,
    ISO_OP_LINEAR_FWD,
    ISO_OP_LINEAR_BWD_INPUT,
    ISO_OP_LINEAR_BWD_WEIGHT,
    ISO_OP_ROPE,
    ISO_OP_ATTENTION_FWD,
    ISO_OP_ATTENTION_BWD,
    ISO_OP_SWIGLU_FWD,
    ISO_OP_SWIGLU_BWD,
    ISO_OP_ROUTER_FWD,
    ISO_OP_ROUTER_BWD,
    ISO_OP_BALANCE,
    ISO_OP_ROUTE_SORT,
    ISO_OP_COMBINE,
    ISO_OP_GROUPED_FWD,
    ISO_OP_GROUPED_BWD_INPUT,
    ISO_OP_GROUPED_BWD_WEIGHT,
    ISO_OP_HEAD_LOSS,
    ISO_OP_SUM_SQUARES,
    ISO_OP_ADAMW,
    ISO_OP_N,
} iso_op;

/* "linear_fwd", ...: the name in tables, reports and error messages. */
const char *iso_op_name(iso_op op);

typedef struct iso_counters {
    __int128 model_flops[ISO_N_COMPONENTS];
    __int128 executed_flops;
    int64_t calls[ISO_OP_N];
    int64_t time_ns[ISO_OP_N];
    __int128 op_flops[ISO_OP_N]; /* executed_flops by operation */
    __int128 op_bytes[ISO_OP_N]; /* the least an operation must move: each operand once, what is
                                    added to twice; 0 in a dry run */
} iso_counters;

typedef struct iso_kernels iso_kernels;

/* Does numbers [first, first + n), each by itself. */
typedef void (*iso_numbers_fn)(const void *job, int64_t first, int64_t n);

#define ISO_BESIDE_STREAMS 4

/* Such work, to be done beside products: iso_exec_aside. */
typedef struct iso_beside {
    iso_numbers_fn fn; /* NULL: none */
    iso_op op;
    int64_t n, n_bytes;                       /* n_bytes: of all of them */
    _Atomic(int64_t) n_claimed;               /* from the front; may pass n */
    const float *streams[ISO_BESIDE_STREAMS]; /* (n) each: what it reads */
    _Alignas(16) char job[128];
} iso_beside;

/* Where operations run. One per trainer; not shared between threads. */
typedef struct iso_exec {
    const iso_kernels *kernels;
    iso_dtype dtype;  /* of weights, gradients and the residual stream: ISO_F32 or ISO_F64 */
    iso_dtype narrow; /* of what products read and write: the same, or ISO_BF16 */
    iso_pool *pool;   /* borrowed; NULL means the calling thread alone */
    iso_arena scratch;
    bool measuring;          /* dry run: kernels take scratch and return */
    iso_counters *counters;  /* borrowed, never NULL */
    struct iso_chain *chain; /* chain.h */
    struct iso_pile *pile;   /* pile.h */
    bool is_aside;           /* the next operation, or this one */
    iso_beside beside;
} iso_exec;

/* Which kernels an operation runs on with the fast backend: "cpu", or "ref" where there is none. */
const char *iso_op_kernel(iso_op op);

/* "ref" or "cpu"; ISO_F32, ISO_F64 (ref alone) or ISO_BF16 (cpu alone: narrow is ISO_BF16, dtype
 * ISO_F32). ISO_ERR_UNSUPPORTED names what is missing: a backend, one of its operations, or what
 * bf16 needs of the processor. A fresh exec measures; iso_exec_start gives it the scratch
 * it has measured and makes it compute. */
iso_status iso_exec_create(iso_exec *out, const char *backend, iso_dtype dtype, iso_pool *pool,
                           iso_counters *counters);
iso_status iso_exec_start(iso_exec *exec);
void iso_exec_release(iso_exec *exec);
/* The instruction set that the fast kernels use on this machine for ISO_F32 ("avx512", "avx2",
 * "sse2") or ISO_BF16 ("avx512bf16"); "none" if they can't. ONEDNN_MAX_CPU_ISA limits it: the
 * variable that people know from PyTorch and oneDNN, with its values. */
const char *iso_exec_isa(iso_dtype dtype);
/* Runs pieces on the exec's pool, or in order on the calling thread. */
void iso_exec_pieces(const iso_exec *exec, int64_t n_pieces, iso_piece_fn fn, void *ctx);
int iso_exec_n_threads(const iso_exec *exec);

/* Operations from here to iso_exec_flush may be done one after the other on a few rows, then on the
 * next rows, so that what one writes the next has in the cache. Each must go row by row, as norms,
 * linear layers (but for the gradient of the weights), RoPE, SwiGLU, combine and the router do, or,
 * on rows by expert, grouped products and SwiGLU; read of what others here write only its own rows;
 * and write nothing that one before it reads of other rows. Until the flush nobody else looks. The
 * bits are the same. All operations of a chain have the same rows; one by expert begins with a
 * grouped product. A chain that is open stays open. */
void iso_exec_chain(iso_exec *exec);
/* Gradients of weights from here to iso_exec_flush, eight at most and each another's, may be done
 * together, in any order; nothing else comes between. dw and *squares are set by the flush; till
 * then what they are made of, the routing, too, is left alone. The bits are the same. */
void iso_exec_pile(iso_exec *exec);
void iso_exec_flush(iso_exec *exec);

/* The next operation may be done beside those after it, until iso_exec_join: nothing that it reads
 * may be written till then, nothing that it writes touched. AdamW can: it takes as long as memory
 * takes, which a product hardly needs, so a product fetches some of its numbers while it
 * multiplies, and updates them when they are in the cache. Their time is then the product's, their
 * bytes are nobody's; operations, backends and machines without such products do it at once, or in
 * iso_exec_join. The bits are the same in any case. */
void iso_exec_aside(iso_exec *exec);
void iso_exec_join(iso_exec *exec);

/* What some operations took that were done together, on all threads. */
typedef struct iso_op_time {
    iso_op op;
    _Atomic(int64_t) ns;
} iso_op_time;

/* For kernels. Counts run_ns as the time of n operations, by their shares in it. */
void iso_exec_share_time(iso_exec *exec, int64_t run_ns, const iso_op_time *times, int n);
/* For kernels. Runs fn over n numbers, or has it run beside. */
void iso_exec_numbers(iso_exec *exec, int64_t n, const float *const streams[ISO_BESIDE_STREAMS],
                      iso_numbers_fn fn, const void *job, size_t job_bytes);
/* Claims up to n of the numbers that are to be done beside, for the calling thread to do: how many,
 * from *first on. */
int64_t iso_exec_claim(iso_exec *exec, int64_t n, int64_t *first);

/* Attention's fixed description. slopes: (A) positive ALiBi slopes, or NULL for none (RoPE). */
typedef struct iso_attention {
    int64_t B, S, A, d;
    const float *slopes;
    bool alibi_sqrt; /* bias -m sqrt(i-j) instead of -m (i-j) */
} iso_attention;

/* Where each routed row goes. Integer tensors: int32. R = T*K rows, sorted by expert, and within an
 * expert by (token, k): a stable counting sort. */
typedef struct iso_routing {
    int64_t T, E, K;
    int32_t *expert;    /* (T,K) chosen experts, best first */
    int32_t *offsets;   /* (E+1) first row of each expert */
    int32_t *row_token; /* (R) token of each row */
    int32_t *token_row; /* (T,K) row of each choice */
} iso_routing;

typedef struct iso_adamw {
    double lr, beta1, beta2, eps, weight_decay; /* decoupled; 0 for tensors that do not decay */
    double correction1, correction2;            /* 1 - beta^step */
    double grad_scale;                          /* clipping */
} iso_adamw;

/* ---- the table: raw pointers and sizes; every kernel returns at once if exec->measuring, after
 * taking the scratch it would take ---- */
struct iso_kernels {
    const char *name;
    void (*embed_fwd)(iso_exec *, void *y, const void *w, const int32_t *ids, int64_t T, int64_t H);
    void (*embed_bwd)(iso_exec *, void *dw, const void *dy, const int32_t *ids, int64_t T,
                      int64_t H);
    void (*norm_fwd)(iso_exec *, iso_tensor y, iso_tensor rstd, iso_tensor x, iso_tensor w,
                     double eps);
    void (*norm_bwd)(iso_exec *, iso_tensor dx, iso_tensor d, iso_tensor dx_copy, iso_tensor y,
                     iso_tensor dw, iso_tensor dy, iso_tensor x, iso_tensor rstd, iso_tensor w);
    /* multiply_as: of both operands, ISO_BF16 or exec->dtype */
    void (*linear_fwd)(iso_exec *, iso_tensor y, iso_tensor residual, iso_tensor x, iso_tensor w,
                       iso_dtype multiply_as);
    void (*linear_bwd_input)(iso_exec *, iso_tensor dx, bool accumulate, iso_tensor dy,
                             iso_tensor w, iso_dtype multiply_as);
    void (*linear_bwd_weight)(iso_exec *, iso_tensor dw, bool accumulate, double *squares,
                              iso_tensor dy, iso_tensor x, iso_dtype multiply_as);
    void (*rope)(iso_exec *, iso_tensor qkv, int64_t B, int64_t S, int64_t A, int64_t d,
                 double theta, bool inverse);
    void (*attention_fwd)(iso_exec *, void *o, void *lse, const void *qkv, const iso_attention *);
    void (*attention_bwd)(iso_exec *, void *dqkv, const void *d_o, const void *o, const void *lse,
                          const void *qkv, const iso_attention *);
    void (*swiglu_fwd)(iso_exec *, iso_tensor h, iso_tensor gu, iso_tensor row_scale);
    void (*swiglu_bwd)(iso_exec *, iso_tensor dgu, iso_tensor drow_scale, iso_tensor h,
                       iso_tensor dh, iso_tensor gu, iso_tensor row_scale);
    void (*router_fwd)(iso_exec *, void *probs, int32_t *expert, void *gate, const void *logits,
                       int64_t T, int64_t E, int64_t K, bool norm_topk);
    void (*router_bwd)(iso_exec *, void *dlogits, const void *drow_gate, const void *aux_grad,
                       int64_t group_tokens, const void *probs, const void *gate,
                       const iso_routing *, bool norm_topk);
    void (*balance)(iso_exec *, double *loss, void *aux_grad, const void *probs,
                    const int32_t *expert, int64_t T, int64_t E, int64_t K, int64_t group_tokens,
                    double scale);
    void (*route_sort)(iso_exec *, iso_routing *, void *row_gate, const void *gate);
    void (*combine)(iso_exec *, iso_tensor y, iso_tensor base, iso_tensor x, const iso_routing *);
    void (*grouped_fwd)(iso_exec *, iso_tensor y, iso_tensor x, bool x_by_token, iso_tensor w,
                        const iso_routing *);
    void (*grouped_bwd_input)(iso_exec *, iso_tensor dx, iso_tensor dy, bool dy_by_token,
                              iso_tensor w, const iso_routing *);
    void (*grouped_bwd_weight)(iso_exec *, iso_tensor dw, bool accumulate, double *squares,
                               iso_tensor dy, bool dy_by_token, iso_tensor x, bool x_by_token,
                               const iso_routing *);
    void (*head_loss)(iso_exec *, double *nats, void *dx, void *dw, const void *x, const void *w,
                      const int32_t *targets, int64_t T, int64_t H, int64_t V, double scale,
                      bool backward);
    double (*sum_squares)(iso_exec *, const void *x, int64_t n);
    void (*adamw)(iso_exec *, void *p, void *m, void *v, const void *g, int64_t n,
                  const iso_adamw *);
    /* multiply-adds x 2 that the two attention kernels run (they may skip what is masked) */
    int64_t (*attention_executed)(const iso_attention *, bool backward);
};

/* Fill the table: the reference for exec->dtype, then, for "cpu", the fast kernels for ISO_F32 or
 * ISO_BF16; false if the processor has none for it. */
void iso_kernels_init_ref_f32(iso_kernels *kernels);
void iso_kernels_init_ref_f64(iso_kernels *kernels);
bool iso_kernels_init_cpu(iso_kernels *kernels, iso_dtype dtype);

/* ---- checked wrappers: shape, dtype, FLOPs, time ---- */

/* y (T,H) = w[ids]          w (V,H), ids (T) int32 in [0,V) */
void iso_embed_fwd(iso_exec *, iso_tensor y, iso_tensor w, const int32_t *ids);
/* dw (V,H) += rows of dy (T,H) by id, in token order */
void iso_embed_bwd(iso_exec *, iso_tensor dw, iso_tensor dy, const int32_t *ids);

/* y (T,H), perhaps narrow, = w * x * rstd, rstd (T) = 1/sqrt(mean(x^2) + eps)      RMSNorm */
void iso_norm_fwd(iso_exec *, iso_tensor y, iso_tensor rstd, iso_tensor x, iso_tensor w,
                  double eps);
/* dx = d + , dw += : d is the residual stream's gradient, perhaps dx itself. dx_copy (T,H) narrow =
 * dx, for the products that come next; y (T,H) narrow = forward's, bit for bit, for the gradients
 * of the weights that read it, so that nobody keeps it; of both, data NULL: none. */
void iso_norm_bwd(iso_exec *, iso_tensor dx, iso_tensor d, iso_tensor dx_copy, iso_tensor y,
                  iso_tensor dw, iso_tensor dy, iso_tensor x, iso_tensor rstd, iso_tensor w);

/* y (T,out) = residual + x (T,in) w^T      residual.data NULL: none; = y.data: +=
 * x and y may be narrow; y not with a residual. The router's product (kind) is never in bf16. */
void iso_linear_fwd(iso_exec *, iso_tensor y, iso_tensor residual, iso_tensor x, iso_tensor w,
                    iso_component kind);
/* dx (T,in) = dy (T,out) w, or += if accumulate. dy and dx may be narrow; dx not with accumulate.
 */
void iso_linear_bwd_input(iso_exec *, iso_tensor dx, bool accumulate, iso_tensor dy, iso_tensor w,
                          iso_component kind);
/* dw (out,in) = dy^T x, or += if accumulate; *squares = the sum of the squares of all dw then, in
 * double, in an order fixed by shapes: for the norm, while dw is still in the cache. dy and x may
 * be narrow. */
void iso_linear_bwd_weight(iso_exec *, iso_tensor dw, bool accumulate, double *squares,
                           iso_tensor dy, iso_tensor x, iso_component kind);

/* Rotates q and k of qkv (T,3H), narrow, in place by position (rotate-half); inverse is its
 * transpose. */
void iso_rope(iso_exec *, iso_tensor qkv, const iso_attention *, double theta, bool inverse);
/* o (T,H) = softmax(q k^T / sqrt(d) + bias, causal) v;  lse (B*A,S) log-sum-exp for backward.
 * qkv (T,3H): q, k, v side by side, heads inside each. All but lse are narrow, here and below. */
void iso_attention_fwd(iso_exec *, iso_tensor o, iso_tensor lse, iso_tensor qkv,
                       const iso_attention *);
/* dqkv (T,3H) = */
void iso_attention_bwd(iso_exec *, iso_tensor dqkv, iso_tensor d_o, iso_tensor o, iso_tensor lse,
                       iso_tensor qkv, const iso_attention *);

/* h (rows,F) = silu(g) * u * row_scale, gu (rows,2F) = [g | u]; both narrow; row_scale.data
 * NULL: 1. The gate of a routed expert is applied here, before its down projection: the same sum,
 * one pass less, and its gradient comes from tensors at hand. */
void iso_swiglu_fwd(iso_exec *, iso_tensor h, iso_tensor gu, iso_tensor row_scale);
/* dgu = , drow_scale (rows) = sum over F of dh * silu(g) * u (if row_scale is given); dgu and dh
 * narrow as gu. h = forward's, bit for bit: the down projection's gradient wants it, and what can
 * be had here for nothing need not be kept. */
void iso_swiglu_bwd(iso_exec *, iso_tensor dgu, iso_tensor drow_scale, iso_tensor h, iso_tensor dh,
                    iso_tensor gu, iso_tensor row_scale);

/* probs (T,E) = softmax(logits); expert (T,K) = top-K, ties to the lowest index, best first;
 * gate (T,K) = probs of those, divided by their sum if norm_topk      (paper, eqs 11-15) */
void iso_router_fwd(iso_exec *, iso_tensor probs, int32_t *expert, iso_tensor gate,
                    iso_tensor logits, bool norm_topk);
/* dlogits (T,E) = from the gates' gradients drow_gate (R), found through routing.token_row, and the
 * balance loss's gradient aux_grad (groups,E) with respect to every prob of a group's tokens */
void iso_router_bwd(iso_exec *, iso_tensor dlogits, iso_tensor drow_gate, iso_tensor aux_grad,
                    iso_tensor probs, iso_tensor gate, const iso_routing *, bool norm_topk);
/* Per group of tokens: loss[group] = E sum f_i p_i, f_i = count_i / (tokens K)   (paper, eqs 16-18,
 * with f divided by K: balanced = 1); aux_grad (groups,E) = scale * E * f_i / tokens. */
void iso_balance(iso_exec *, double *loss, iso_tensor aux_grad, iso_tensor probs,
                 const int32_t *expert, int64_t K, double scale);
/* Fills routing's offsets, row_token, token_row from routing->expert, and row_gate (R) from gate.
 */
void iso_route_sort(iso_exec *, iso_routing *, iso_tensor row_gate, iso_tensor gate);
/* y (T,H) = base + sum over k of x[token_row[t,k]], in order of k; x (R,H) narrow;
 * base = y: += ; NULL: none */
void iso_combine(iso_exec *, iso_tensor y, iso_tensor base, iso_tensor x, const iso_routing *);
/* For each expert e, on its rows: y = x w[e]^T;  dx = dy w[e];  dw[e] = dy^T x, or += , and
 * *squares as above, in an order fixed by the routing.
 * w (E,out,in); row r of an operand "by token" (T,.) is row row_token[r] of it, others are (R,.).
 * x, y, dx, dy may be narrow. Without rows dw[e] = 0. */
void iso_grouped_fwd(iso_exec *, iso_tensor y, iso_tensor x, bool x_by_token, iso_tensor w,
                     const iso_routing *);
void iso_grouped_bwd_input(iso_exec *, iso_tensor dx, iso_tensor dy, bool dy_by_token, iso_tensor w,
                           const iso_routing *);
void iso_grouped_bwd_weight(iso_exec *, iso_tensor dw, bool accumulate, double *squares,
                            iso_tensor dy, bool dy_by_token, iso_tensor x, bool x_by_token,
                            const iso_routing *);

/* Head and cross-entropy in one, in chunks of tokens, so that (T,V) logits never exist:
 * nats[t] (double) = -log softmax(x w^T)[target], 0 where the target is -1. With dx and dw
 * given (n_dims not 0) also dx (T,H) = and dw (V,H) += of scale * sum of nats. */
void iso_head_loss(iso_exec *, double *nats, iso_tensor dx, iso_tensor dw, iso_tensor x,
                   iso_tensor w, const int32_t *targets, double scale);

/* Sum of squares in double, over fixed blocks in fixed order. */
double iso_sum_squares(iso_exec *, iso_tensor x);
/* p -= lr (m_hat / (sqrt(v_hat) + eps) + weight_decay p), decoupled decay */
void iso_adamw_step(iso_exec *, iso_tensor p, iso_tensor m, iso_tensor v, iso_tensor g,
                    const iso_adamw *);

/* Positive ALiBi slopes for any number of heads (Press et al. 2022, as restored for 11, 17... heads
 * in the paper's models): n = 2^floor(log2 A); 2^(-8k/n), then 2^(-4k/n) for odd k. */
void iso_alibi_slopes(float *slopes, int64_t A);

#endif
