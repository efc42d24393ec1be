/* cases.c - the description of every operation: operands, tolerances, calls.
 *
 * Tolerances follow from rounding: a sum of n products of numbers of size 1 wanders by at most
 * about n/2 units of 2^-23; exp doubles nothing but the rounding of its argument. They are a few
 * times what is seen, and thousands of times less than what a wrong index does.
 */
#include "checkops.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int64_t draw(const check_case *c, uint64_t index, int64_t low, int64_t high) {
    double u = iso_rng_uniform(c->seed, ISO_RNG_TEST, 1, index);
    return low + (int64_t)(u * (double)(high - low + 1));
}

static check_operand *add(check_case *c, const char *name, check_role role, int n_dims, int64_t d0,
                          int64_t d1, int64_t d2, double number) {
    check_operand *o = &c->operands[c->n_operands++];
    *o = (check_operand){.name = name, .role = role, .n_dims = n_dims, .dims = {d0, d1, d2}};
    o->spread = role == CHECK_OUT ? 0 : role == CHECK_INOUT ? 1 : number;
    o->tolerance = number;
    return o;
}

static check_operand *add_narrow(check_case *c, const char *name, check_role role, int n_dims,
                                 int64_t d0, int64_t d1, int64_t d2, double number) {
    check_operand *o = add(c, name, role, n_dims, d0, d1, d2, number);
    o->is_narrow = !(role == CHECK_IN ? c->wide_in : c->wide_out);
    return o;
}

static void add_ints(check_case *c, const char *name, check_role role, int64_t n, int32_t *ints) {
    check_operand *o = add(c, name, role, 1, n, 1, 1, 0);
    o->kind = CHECK_INT;
    o->ints = ints;
}

static int32_t *random_ids(const check_case *c, int64_t n, int64_t low, int64_t high) {
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)draw(c, 1000 + (uint64_t)i, low, high);
    return ids;
}

void check_case_route(check_case *c, const int32_t *expert) {
    int64_t R = c->T * c->K, n_rows = 0;
    memcpy(c->expert, expert, (size_t)R * sizeof *expert);
    for (int64_t e = 0; e < c->E; e++) {
        c->offsets[e] = (int32_t)n_rows;
        for (int64_t i = 0; i < R; i++)
            if (expert[i] == e) {
                c->row_token[n_rows] = (int32_t)(i / c->K);
                c->token_row[i] = (int32_t)n_rows++;
            }
    }
    c->offsets[c->E] = (int32_t)n_rows;
}

/* K distinct experts a token. */
static void make_routing(check_case *c) {
    int64_t R = c->T * c->K;
    c->expert = malloc((size_t)R * sizeof(int32_t));
    c->offsets = malloc((size_t)(c->E + 1) * sizeof(int32_t));
    c->row_token = malloc((size_t)R * sizeof(int32_t));
    c->token_row = malloc((size_t)R * sizeof(int32_t));
    int32_t *expert = malloc((size_t)R * sizeof(int32_t));
    for (int64_t t = 0; t < c->T; t++) {
        int64_t n_used = c->E;
        if (c->routing_style == 2 && c->E / 2 >= c->K) n_used = c->E / 2;
        if (c->routing_style == 3 && 2 * c->E / 3 >= c->K) n_used = 2 * c->E / 3;
        int64_t e = c->routing_style == 1 ? c->E / 3 : draw(c, 5000 + (uint64_t)t, 0, n_used - 1);
        for (int64_t k = 0; k < c->K; k++) expert[t * c->K + k] = (int32_t)((e + k) % n_used);
        if (c->routing_style != 3 || t % 2 != 0) continue;
        /* half of the tokens choose one expert first, their other choices are spread */
        int64_t full = c->E / 3 % n_used, away = draw(c, 5000 + (uint64_t)t, 0, n_used - c->K);
        for (int64_t k = 0; k < c->K; k++)
            expert[t * c->K + k] = (int32_t)((k ? full + away + k : full) % n_used);
    }
    check_case_route(c, expert);
    free(expert);
}

static iso_routing routing_of(const check_case *c) {
    return (iso_routing){c->T, c->E, c->K, c->expert, c->offsets, c->row_token, c->token_row};
}

typedef struct call {
    iso_exec *ex;
    void **data;
    const check_case *c;
} call;

static iso_tensor tensor(const call *r, int i) {
    const check_operand *o = &r->c->operands[i];
    iso_tensor t = {r->data[i],
                    o->is_narrow ? r->ex->narrow : r->ex->dtype,
                    o->n_dims,
                    {o->dims[0], o->dims[1], o->dims[2], 1}};
    return t;
}

static void embed_fwd_setup(check_case *c) {
    add(c, "y", CHECK_OUT, 2, c->T, c->H, 1, 0);
    add(c, "w", CHECK_IN, 2, c->V, c->H, 1, 1);
    add_ints(c, "ids", CHECK_IN, c->T, random_ids(c, c->T, 0, c->V - 1));
}

static void embed_fwd_call(const call *r) {
    iso_embed_fwd(r->ex, tensor(r, 0), tensor(r, 1), r->data[2]);
}

static void embed_bwd_setup(check_case *c) {
    add(c, "dw", CHECK_INOUT, 2, c->V, c->H, 1, 8 + (double)(c->T / c->V));
    add(c, "dy", CHECK_IN, 2, c->T, c->H, 1, 1);
    add_ints(c, "ids", CHECK_IN, c->T, random_ids(c, c->T, 0, c->V - 1));
}

static void embed_bwd_call(const call *r) {
    iso_embed_bwd(r->ex, tensor(r, 0), tensor(r, 1), r->data[2]);
}

static void norm_fwd_setup(check_case *c) {
    add_narrow(c, "y", CHECK_OUT, 2, c->T, c->H, 1, 8);
    add(c, "rstd", CHECK_OUT, 1, c->T, 1, 1, 8);
    add(c, "x", CHECK_IN, 2, c->T, c->H, 1, 1);
    add(c, "w", CHECK_IN, 1, c->H, 1, 1, 1);
}

static void norm_fwd_call(const call *r) {
    iso_norm_fwd(r->ex, tensor(r, 0), tensor(r, 1), tensor(r, 2), tensor(r, 3), 1e-5);
}

static void norm_bwd_setup(check_case *c) {
    c->wide_in = c->wide_out = false;
    add(c, "dx", CHECK_INOUT, 2, c->T, c->H, 1, 64);
    add(c, "dw", CHECK_INOUT, 1, c->H, 1, 1, 16 + (double)c->T);
    add(c, "dy", CHECK_IN, 2, c->T, c->H, 1, 1);
    add(c, "x", CHECK_IN, 2, c->T, c->H, 1, 1);
    add(c, "rstd", CHECK_IN, 1, c->T, 1, 1, 1);
    add(c, "w", CHECK_IN, 1, c->H, 1, 1, 1);
    add_narrow(c, "copy", c->flag ? CHECK_OUT : CHECK_IN, 2, c->T, c->H, 1, 64);
    add_narrow(c, "y", c->flag2 ? CHECK_OUT : CHECK_IN, 2, c->T, c->H, 1, 16);
}

/* flag: with a copy; flag2: with y. */
static void norm_bwd_call(const call *r) {
    iso_tensor none = {0};
    iso_norm_bwd(r->ex, tensor(r, 0), tensor(r, 0), r->c->flag ? tensor(r, 6) : none,
                 r->c->flag2 ? tensor(r, 7) : none, tensor(r, 1), tensor(r, 2), tensor(r, 3),
                 tensor(r, 4), tensor(r, 5));
}

/* flag: with a residual; flag and flag2: the residual is y itself; flag2 alone: a router's. */
static iso_component linear_kind(const check_case *c) {
    return c->flag2 && !c->flag ? ISO_COMPONENT_ROUTER : ISO_COMPONENT_FFN_DENSE;
}

static void linear_fwd_setup(check_case *c) {
    add_narrow(c, "y", c->flag && c->flag2 ? CHECK_INOUT : CHECK_OUT, 2, c->T, c->out, 1,
               8 + (double)c->in);
    if (c->flag || c->flag2) c->operands[0].is_narrow = false;
    add(c, "residual", CHECK_IN, 2, c->T, c->out, 1, 1);
    add_narrow(c, "x", CHECK_IN, 2, c->T, c->in, 1, 1);
    add(c, "w", CHECK_IN, 2, c->out, c->in, 1, 1);
}

static void linear_fwd_call(const call *r) {
    iso_tensor none = {0};
    iso_tensor residual = !r->c->flag ? none : tensor(r, r->c->flag2 ? 0 : 1);
    iso_linear_fwd(r->ex, tensor(r, 0), residual, tensor(r, 2), tensor(r, 3), linear_kind(r->c));
}

/* flag: adds; flag2 alone: a router's. */
static void linear_bwd_input_setup(check_case *c) {
    add_narrow(c, "dx", c->flag ? CHECK_INOUT : CHECK_OUT, 2, c->T, c->in, 1, 8 + (double)c->out);
    if (c->flag || c->flag2) c->operands[0].is_narrow = false;
    add_narrow(c, "dy", CHECK_IN, 2, c->T, c->out, 1, 1);
    add(c, "w", CHECK_IN, 2, c->out, c->in, 1, 1);
}

static void linear_bwd_input_call(const call *r) {
    iso_linear_bwd_input(r->ex, tensor(r, 0), r->c->flag, tensor(r, 1), tensor(r, 2),
                         linear_kind(r->c));
}

/* The last operand of a gradient of n weights. Each has an error of its own: they add up like a
 * random walk's steps. */
static void add_squares(check_case *c, int64_t n) {
    double one = 8 + (double)c->T, size = sqrt((double)c->T);
    add(c, "squares", CHECK_OUT, 1, 1, 1, 1, 2 * one * size * sqrt((double)n))->kind = CHECK_DOUBLE;
}

/* flag: adds; flag2 alone: a router's. */
static void linear_bwd_weight_setup(check_case *c) {
    add(c, "dw", c->flag ? CHECK_INOUT : CHECK_OUT, 2, c->out, c->in, 1, 8 + (double)c->T);
    add_narrow(c, "dy", CHECK_IN, 2, c->T, c->out, 1, 1);
    add(c, "x", CHECK_IN, 2, c->T, c->in, 1, 1)->is_narrow = !c->wide_out;
    add_squares(c, c->out * c->in);
}

static void linear_bwd_weight_call(const call *r) {
    iso_linear_bwd_weight(r->ex, tensor(r, 0), r->c->flag, r->data[3], tensor(r, 1), tensor(r, 2),
                          linear_kind(r->c));
}

/* Tensors of attention are narrow wherever there is such a thing. */
static void rope_setup(check_case *c) {
    c->wide_in = c->wide_out = false;
    add_narrow(c, "qkv", CHECK_INOUT, 2, c->T, 3 * c->H, 1, 8);
}

static void rope_call(const call *r) {
    iso_rope(r->ex, tensor(r, 0), &r->c->at, 1e4, r->c->flag);
}

/* flag: ALiBi; flag2: with the square root. The bias of far keys makes scores large, and their
 * rounding with them. flag2 alone, forward: scores of hundreds, so that a query's own key is no
 * measure of the others. */
static void attention_fwd_setup(check_case *c) {
    c->wide_in = c->wide_out = false;
    double spread = c->flag2 && !c->flag ? 16 : 1;
    double error = spread * spread * (32 + (double)c->d + (c->flag ? (double)c->S : 0));
    /* in bf16: a few roundings (2^-9) of numbers of size 1 */
    add_narrow(c, "o", CHECK_OUT, 2, c->T, c->H, 1, spread * error)->half_error = 0x1p-5 * spread;
    add(c, "lse", CHECK_OUT, 2, c->B * c->A, c->S, 1, error)->half_error = 0x1p-5;
    add_narrow(c, "qkv", CHECK_IN, 2, c->T, 3 * c->H, 1, spread);
}

static void attention_fwd_call(const call *r) {
    iso_attention_fwd(r->ex, tensor(r, 0), tensor(r, 1), tensor(r, 2), &r->c->at);
}

static void attention_bwd_setup(check_case *c) {
    c->wide_in = c->wide_out = false;
    double error = 64 + 8 * (double)c->d + (c->flag ? 4 * (double)c->S : 0);
    check_operand *dqkv = add_narrow(c, "dqkv", CHECK_OUT, 2, c->T, 3 * c->H, 1, error);
    dqkv->half_error = 0x1p-5 * (4 + sqrt((double)c->S)); /* sums of S rounded terms */
    add_narrow(c, "do", CHECK_IN, 2, c->T, c->H, 1, 1);
    add_narrow(c, "o", CHECK_IN, 2, c->T, c->H, 1, 1);
    /* o and lse of no real forward pass: the formula holds for any, if p stays below 1 or so. */
    add(c, "lse", CHECK_IN, 2, c->B * c->A, c->S, 1, 0.5);
    add_narrow(c, "qkv", CHECK_IN, 2, c->T, 3 * c->H, 1, 0.5);
}

static void attention_bwd_call(const call *r) {
    iso_attention_bwd(r->ex, tensor(r, 0), tensor(r, 1), tensor(r, 2), tensor(r, 3), tensor(r, 4),
                      &r->c->at);
}

/* flag: with a scale for each row. */
static void swiglu_fwd_setup(check_case *c) {
    add(c, "h", CHECK_OUT, 2, c->T, c->F, 1, 16)->is_narrow = true;
    add(c, "gu", CHECK_IN, 2, c->T, 2 * c->F, 1, 2)->is_narrow = true;
    add(c, "row_scale", CHECK_IN, 1, c->T, 1, 1, 1);
}

static void swiglu_fwd_call(const call *r) {
    iso_tensor none = {0};
    iso_swiglu_fwd(r->ex, tensor(r, 0), tensor(r, 1), r->c->flag ? tensor(r, 2) : none);
}

static void swiglu_bwd_setup(check_case *c) {
    add(c, "dgu", CHECK_OUT, 2, c->T, 2 * c->F, 1, 32)->is_narrow = true;
    add(c, c->flag ? "drow_scale" : "unused", c->flag ? CHECK_OUT : CHECK_IN, 1, c->T, 1, 1,
        32 + 4 * (double)c->F);
    add(c, "h", CHECK_OUT, 2, c->T, c->F, 1, 16)->is_narrow = true;
    add(c, "dh", CHECK_IN, 2, c->T, c->F, 1, 1)->is_narrow = true;
    add(c, "gu", CHECK_IN, 2, c->T, 2 * c->F, 1, 2)->is_narrow = true;
    add(c, "row_scale", CHECK_IN, 1, c->T, 1, 1, 1);
}

static void swiglu_bwd_call(const call *r) {
    iso_tensor none = {0};
    bool scaled = r->c->flag;
    iso_swiglu_bwd(r->ex, tensor(r, 0), scaled ? tensor(r, 1) : none, tensor(r, 2), tensor(r, 3),
                   tensor(r, 4), scaled ? tensor(r, 5) : none);
}

/* flag: norm_topk. flag2: logits with many ties (test.c rounds them). */
static void router_fwd_setup(check_case *c) {
    add(c, "probs", CHECK_OUT, 2, c->T, c->E, 1, 16);
    add_ints(c, "expert", CHECK_OUT, c->T * c->K, NULL);
    add(c, "gate", CHECK_OUT, 2, c->T, c->K, 1, 16);
    add(c, "logits", CHECK_IN, 2, c->T, c->E, 1, 2);
}

static void router_fwd_call(const call *r) {
    iso_router_fwd(r->ex, tensor(r, 0), r->data[1], tensor(r, 2), tensor(r, 3), r->c->flag);
}

static void router_bwd_setup(check_case *c) {
    add(c, "dlogits", CHECK_OUT, 2, c->T, c->E, 1, 64 + 8 * (double)c->E);
    add(c, "drow_gate", CHECK_IN, 1, c->T * c->K, 1, 1, 1);
    add(c, "aux_grad", CHECK_IN, 2, c->T / c->group_tokens, c->E, 1, 1);
    add(c, "probs", CHECK_IN, 2, c->T, c->E, 1, -1); /* negative: log-normal, so positive */
    add(c, "gate", CHECK_IN, 2, c->T, c->K, 1, 1);
}

static void router_bwd_call(const call *r) {
    iso_routing rt = routing_of(r->c);
    iso_router_bwd(r->ex, tensor(r, 0), tensor(r, 1), tensor(r, 2), tensor(r, 3), tensor(r, 4), &rt,
                   r->c->flag);
}

static void balance_setup(check_case *c) {
    int64_t n_groups = c->T / c->group_tokens;
    add(c, "loss", CHECK_OUT, 1, n_groups, 1, 1, 8)->kind = CHECK_DOUBLE;
    add(c, "aux_grad", CHECK_OUT, 2, n_groups, c->E, 1, 8);
    add(c, "probs", CHECK_IN, 2, c->T, c->E, 1, 1);
}

static void balance_call(const call *r) {
    iso_balance(r->ex, r->data[0], tensor(r, 1), tensor(r, 2), r->c->expert, r->c->K, 0.01);
}

static void route_sort_setup(check_case *c) {
    add_ints(c, "offsets", CHECK_OUT, c->E + 1, NULL);
    add_ints(c, "row_token", CHECK_OUT, c->T * c->K, NULL);
    add_ints(c, "token_row", CHECK_OUT, c->T * c->K, NULL);
    add(c, "row_gate", CHECK_OUT, 1, c->T * c->K, 1, 1, 0);
    add(c, "gate", CHECK_IN, 2, c->T, c->K, 1, 1);
}

static void route_sort_call(const call *r) {
    const check_case *c = r->c;
    iso_routing rt = {c->T, c->E, c->K, c->expert, r->data[0], r->data[1], r->data[2]};
    iso_route_sort(r->ex, &rt, tensor(r, 3), tensor(r, 4));
}

/* flag: with a base; flag and flag2: the base is y itself. */
static void combine_setup(check_case *c) {
    add(c, "y", c->flag && c->flag2 ? CHECK_INOUT : CHECK_OUT, 2, c->T, c->H, 1, 8);
    add(c, "base", CHECK_IN, 2, c->T, c->H, 1, 1);
    add_narrow(c, "x", CHECK_IN, 2, c->T * c->K, c->H, 1, 1);
}

static void combine_call(const call *r) {
    iso_routing rt = routing_of(r->c);
    iso_tensor none = {0};
    iso_tensor base = !r->c->flag ? none : tensor(r, r->c->flag2 ? 0 : 1);
    iso_combine(r->ex, tensor(r, 0), base, tensor(r, 2), &rt);
}

/* flag: the input's rows are by token. */
static int64_t input_rows(const check_case *c, bool by_token) {
    return by_token ? c->T : c->T * c->K;
}

static void grouped_fwd_setup(check_case *c) {
    add_narrow(c, "y", CHECK_OUT, 2, c->T * c->K, c->out, 1, 8 + (double)c->in);
    add_narrow(c, "x", CHECK_IN, 2, input_rows(c, c->flag), c->in, 1, 1);
    add(c, "w", CHECK_IN, 3, c->E, c->out, c->in, 1);
}

static void grouped_fwd_call(const call *r) {
    iso_routing rt = routing_of(r->c);
    iso_grouped_fwd(r->ex, tensor(r, 0), tensor(r, 1), r->c->flag, tensor(r, 2), &rt);
}

static void grouped_bwd_input_setup(check_case *c) {
    add_narrow(c, "dx", CHECK_OUT, 2, c->T * c->K, c->in, 1, 8 + (double)c->out);
    add_narrow(c, "dy", CHECK_IN, 2, input_rows(c, c->flag), c->out, 1, 1);
    add(c, "w", CHECK_IN, 3, c->E, c->out, c->in, 1);
}

static void grouped_bwd_input_call(const call *r) {
    iso_routing rt = routing_of(r->c);
    iso_grouped_bwd_input(r->ex, tensor(r, 0), tensor(r, 1), r->c->flag, tensor(r, 2), &rt);
}

/* flag: dy is by token, otherwise x; flag2: adds. */
static void grouped_bwd_weight_setup(check_case *c) {
    add(c, "dw", c->flag2 ? CHECK_INOUT : CHECK_OUT, 3, c->E, c->out, c->in, 8 + (double)c->T);
    add_narrow(c, "dy", CHECK_IN, 2, input_rows(c, c->flag), c->out, 1, 1);
    add(c, "x", CHECK_IN, 2, input_rows(c, !c->flag), c->in, 1, 1)->is_narrow = !c->wide_out;
    add_squares(c, c->E * c->out * c->in);
}

static void grouped_bwd_weight_call(const call *r) {
    iso_routing rt = routing_of(r->c);
    iso_grouped_bwd_weight(r->ex, tensor(r, 0), r->c->flag2, r->data[3], tensor(r, 1), r->c->flag,
                           tensor(r, 2), !r->c->flag, &rt);
}

/* flag: no backward. Some targets are -1. */
static void head_loss_setup(check_case *c) {
    double logit = sqrt((double)c->H) * 0.3;
    add(c, "nats", CHECK_OUT, 1, c->T, 1, 1, 16 + (double)c->H)->kind = CHECK_DOUBLE;
    add(c, "dx", CHECK_OUT, 2, c->T, c->H, 1, 32 + 8 * logit)->half_error = 0x1p-8;
    add(c, "dw", CHECK_INOUT, 2, c->V, c->H, 1, 32 + 8 * logit + (double)c->T)->half_error =
        0x1p-9 * (2 + sqrt((double)c->T));
    add(c, "x", CHECK_IN, 2, c->T, c->H, 1, 1);
    add(c, "w", CHECK_IN, 2, c->V, c->H, 1, 0.3);
    int32_t *targets = random_ids(c, c->T, 0, c->V - 1);
    for (int64_t t = 3; t < c->T; t += 5) targets[t] = -1;
    add_ints(c, "targets", CHECK_IN, c->T, targets);
    if (c->flag) c->operands[1].role = c->operands[2].role = CHECK_IN;
}

static void head_loss_call(const call *r) {
    iso_tensor none = {0};
    iso_head_loss(r->ex, r->data[0], r->c->flag ? none : tensor(r, 1),
                  r->c->flag ? none : tensor(r, 2), tensor(r, 3), tensor(r, 4), r->data[5], 0.7);
}

static void sum_squares_setup(check_case *c) {
    add(c, "sum", CHECK_OUT, 1, 1, 1, 1, 0)->kind = CHECK_DOUBLE;
    add(c, "x", CHECK_IN, 2, c->T * c->K, c->H, 1, 1);
}

static void sum_squares_call(const call *r) {
    double sum = iso_sum_squares(r->ex, tensor(r, 1));
    if (r->data[0]) *(double *)r->data[0] = sum;
}

/* v, the second moment, must be positive: a negative spread asks for a log-normal. */
static void adamw_setup(check_case *c) {
    add(c, "p", CHECK_INOUT, 2, c->T * c->K, c->H, 1, 8);
    add(c, "m", CHECK_INOUT, 2, c->T * c->K, c->H, 1, 8);
    add(c, "v", CHECK_INOUT, 2, c->T * c->K, c->H, 1, 8)->spread = -1;
    add(c, "g", CHECK_IN, 2, c->T * c->K, c->H, 1, 1);
}

static void adamw_call(const call *r) {
    iso_adamw a = {.lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
    a.correction1 = 1 - 0.9 * 0.9, a.correction2 = 1 - 0.95 * 0.95, a.grad_scale = 0.5;
    iso_adamw_step(r->ex, tensor(r, 0), tensor(r, 1), tensor(r, 2), tensor(r, 3), &a);
}

static const struct {
    void (*setup)(check_case *);
    void (*call)(const call *);
} descriptions[ISO_OP_N] = {
    [ISO_OP_EMBED_FWD] = {embed_fwd_setup, embed_fwd_call},
    [ISO_OP_EMBED_BWD] = {embed_bwd_setup, embed_bwd_call},
    [ISO_OP_NORM_FWD] = {norm_fwd_setup, norm_fwd_call},
    [ISO_OP_NORM_BWD] = {norm_bwd_setup, norm_bwd_call},
    [ISO_OP_LINEAR_FWD] = {linear_fwd_setup, linear_fwd_call},
    [ISO_OP_LINEAR_BWD_INPUT] = {linear_bwd_input_setup, linear_bwd_input_call},
    [ISO_OP_LINEAR_BWD_WEIGHT] = {linear_bwd_weight_setup, linear_bwd_weight_call},
    [ISO_OP_ROPE] = {rope_setup, rope_call},
    [ISO_OP_ATTENTION_FWD] = {attention_fwd_setup, attention_fwd_call},
    [ISO_OP_ATTENTION_BWD] = {attention_bwd_setup, attention_bwd_call},
    [ISO_OP_SWIGLU_FWD] = {swiglu_fwd_setup, swiglu_fwd_call},
    [ISO_OP_SWIGLU_BWD] = {swiglu_bwd_setup, swiglu_bwd_call},
    [ISO_OP_ROUTER_FWD] = {router_fwd_setup, router_fwd_call},
    [ISO_OP_ROUTER_BWD] = {router_bwd_setup, router_bwd_call},
    [ISO_OP_BALANCE] = {balance_setup, balance_call},
    [ISO_OP_ROUTE_SORT] = {route_sort_setup, route_sort_call},
    [ISO_OP_COMBINE] = {combine_setup, combine_call},
    [ISO_OP_GROUPED_FWD] = {grouped_fwd_setup, grouped_fwd_call},
    [ISO_OP_GROUPED_BWD_INPUT] = {grouped_bwd_input_setup, grouped_bwd_input_call},
    [ISO_OP_GROUPED_BWD_WEIGHT] = {grouped_bwd_weight_setup, grouped_bwd_weight_call},
    [ISO_OP_HEAD_LOSS] = {head_loss_setup, head_loss_call},
    [ISO_OP_SUM_SQUARES] = {sum_squares_setup, sum_squares_call},
    [ISO_OP_ADAMW] = {adamw_setup, adamw_call},
};

void check_case_setup(check_case *c) {
    c->T = c->B * c->S;
    c->H = c->A * c->d;
    c->n_operands = 0;
    c->at = (iso_attention){.B = c->B, .S = c->S, .A = c->A, .d = c->d};
    if (c->op == ISO_OP_ATTENTION_FWD || c->op == ISO_OP_ATTENTION_BWD) {
        iso_alibi_slopes(c->slopes, c->A);
        if (c->flag) c->at.slopes = c->slopes;
        c->at.alibi_sqrt = c->flag2;
    }
    make_routing(c);
    descriptions[c->op].setup(c);
}

void check_case_random(check_case *c, iso_op op, uint64_t seed, int round) {
    *c = (check_case){.op = op, .seed = seed + (uint64_t)round * 1000 + (uint64_t)op};
    c->flag = round & 1, c->flag2 = round & 2;
    c->routing_style = round % 4;
    c->wide_in = round & 4, c->wide_out = round & 8;
    c->B = draw(c, 0, 1, 3);
    c->S = draw(c, 1, 1, round % 4 == 3 ? 300 : 90);
    c->A = draw(c, 2, 1, 5);
    c->d = 2 * draw(c, 3, 1, round % 4 == 1 ? 40 : 16);
    c->V = draw(c, 4, 1, 300);
    c->F = draw(c, 5, 1, 150);
    c->E = draw(c, 6, 1, 70);
    c->K = draw(c, 7, 1, c->E < 6 ? c->E : 6);
    c->out = draw(c, 8, 2, 200);
    c->in = draw(c, 9, 2, 200);
    if (op >= ISO_OP_GROUPED_FWD && op <= ISO_OP_GROUPED_BWD_WEIGHT) c->out /= 2, c->in /= 2;
    /* an expert with so many tokens that its gradient is cut in parts, by rows or by columns */
    if (op == ISO_OP_GROUPED_BWD_WEIGHT && round % 4 == 3) c->B = 1, c->S += 2200;
    if (op == ISO_OP_GROUPED_BWD_WEIGHT && round % 8 == 7) c->in += 100;
    bool is_attention = op == ISO_OP_ATTENTION_FWD || op == ISO_OP_ATTENTION_BWD;
    if (is_attention && round % 6 == 5) /* one long head, which is cut into pieces */
        c->B = 1, c->A = 1, c->S += 500;
    /* more than a chunk of tokens, and a vocabulary in blocks */
    if (op == ISO_OP_HEAD_LOSS && round % 6 >= 4) c->B = 1, c->A = 1, c->S += 1024;
    if (op == ISO_OP_HEAD_LOSS && round % 3 == 2) c->V += 2048;
    c->group_tokens = c->flag2 ? c->S : c->B * c->S;
    check_case_setup(c);
}

void check_case_release(check_case *c) {
    for (int i = 0; i < c->n_operands; i++) free(c->operands[i].ints);
    free(c->expert);
    free(c->offsets);
    free(c->row_token);
    free(c->token_row);
}

void check_case_call(const check_case *c, iso_exec *ex, void **data) {
    call r = {ex, data, c};
    descriptions[c->op].call(&r);
}

int check_case_find(const check_case *c, const char *name) {
    for (int i = 0; i < c->n_operands; i++)
        if (strcmp(c->operands[i].name, name) == 0) return i;
    return -1;
}

void check_case_describe(const check_case *c, char *out, size_t out_bytes) {
    snprintf(out, out_bytes,
             "B %ld S %ld A %ld d %ld V %ld F %ld E %ld K %ld out %ld in %ld flags %d%d routing %d "
             "seed %lu",
             (long)c->B, (long)c->S, (long)c->A, (long)c->d, (long)c->V, (long)c->F, (long)c->E,
             (long)c->K, (long)c->out, (long)c->in, c->flag, c->flag2, c->routing_style,
             (unsigned long)c->seed);
}

int64_t check_numel(const check_operand *o) {
    return o->dims[0] * o->dims[1] * o->dims[2];
}

int64_t check_bytes(const check_operand *o, iso_dtype dtype) {
    iso_dtype real = dtype == ISO_BF16 && !o->is_narrow ? ISO_F32 : dtype;
    int64_t item = o->kind == CHECK_DOUBLE ? 8 : o->kind == CHECK_INT ? 4 : iso_dtype_bytes(real);
    return check_numel(o) * item;
}

/* bf16 is the upper half of a float. */
static float widen(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To the nearest, ties to even. */
static uint16_t round_to_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

double check_value(const check_operand *o, iso_dtype dtype, const void *data, int64_t i) {
    if (o->kind == CHECK_INT) return ((const int32_t *)data)[i];
    if (o->kind == CHECK_DOUBLE || dtype == ISO_F64) return ((const double *)data)[i];
    if (dtype == ISO_BF16 && o->is_narrow) return (double)widen(((const uint16_t *)data)[i]);
    return (double)((const float *)data)[i];
}

static void set_value(const check_operand *o, iso_dtype dtype, void *data, int64_t i, double x) {
    if (dtype == ISO_F64)
        ((double *)data)[i] = x;
    else if (dtype == ISO_BF16 && o->is_narrow)
        ((uint16_t *)data)[i] = round_to_half((float)x);
    else
        ((float *)data)[i] = (float)x;
}

/* Nearly normal (four uniform numbers added up), mean 0, variance 1. */
static double draw_normal(uint64_t bits) {
    uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    return ((double)sum / 65536 - 2) * sqrt(3);
}

/* A number that float holds, so that all backends start from the same. */
static double fill_value(const check_case *c, int i_operand, int64_t i) {
    const check_operand *o = &c->operands[i_operand];
    double x =
        draw_normal(iso_rng_u64(c->seed, ISO_RNG_TEST, 100 + (uint64_t)i_operand, (uint64_t)i));
    bool ties = c->op == ISO_OP_ROUTER_FWD && c->flag2;
    if (ties) x = round(x);
    float value = (float)(o->spread < 0 ? exp(x + o->spread) : x * o->spread);
    return (double)(c->rounds ? widen(round_to_half(value)) : value);
}

/* Large blocks in huge pages, as the arenas of a run are. */
static void *allocate(size_t bytes) {
    const size_t huge = 2 << 20;
    size_t align = bytes < huge ? ISO_ALIGN_BYTES : huge, padded = (bytes / align + 1) * align;
    void *block = aligned_alloc(align, padded);
    if (align == huge) (void)madvise(block, padded, MADV_HUGEPAGE);
    return block;
}

void check_buffers_create(const check_case *c, iso_dtype dtype, void **data) {
    for (int i = 0; i < c->n_operands; i++) {
        const check_operand *o = &c->operands[i];
        size_t bytes = (size_t)check_bytes(o, dtype);
        data[i] = allocate(bytes);
        memset(data[i], 0xff, bytes); /* NaN */
        if (o->role == CHECK_OUT) continue;
        if (o->kind == CHECK_INT) memcpy(data[i], o->ints, bytes);
        for (int64_t j = 0; o->kind == CHECK_REAL && j < check_numel(o); j++)
            set_value(o, dtype, data[i], j, fill_value(c, i, j));
    }
}

void check_buffers_free(const check_case *c, void **data) {
    for (int i = 0; i < c->n_operands; i++) free(data[i]);
}
