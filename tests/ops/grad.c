/* grad.c - gradients of the double reference against central differences.
 *
 * Everything follows from the operands' names: what backward calls dx and reads is the gradient of
 * forward's output x, what it calls dx and writes that of forward's input x. The loss is the sum of
 * outputs times their gradients. Linear operations that have no backward of their own (rope, gather
 * with combine) are checked to be each other's transposes.
 */
#include "checkops.h"

#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct pair {
    check_case fwd, bwd;
    void *fwd_data[CHECK_OPERANDS], *bwd_data[CHECK_OPERANDS];
} pair;

static void small_case(check_case *c, iso_op op, uint64_t seed, bool flag, bool flag2) {
    *c = (check_case){.op = op, .seed = seed, .flag = flag, .flag2 = flag2};
    c->B = 2, c->S = 5, c->A = 2, c->d = 4, c->V = 7, c->F = 6;
    c->E = 5, c->K = 2, c->out = 6, c->in = 7, c->group_tokens = 5;
    check_case_setup(c);
}

static void run_case(const check_case *c, void **data) {
    iso_counters counters = {.executed_flops = 0};
    iso_exec ex;
    check_exec_create(&ex, c, "ref", ISO_F64, NULL, &counters);
    check_case_call(c, &ex, data);
    iso_exec_release(&ex);
}

static double *of_name(const check_case *c, void **data, const char *prefix, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    int i = check_case_find(c, full);
    return i < 0 ? NULL : data[i];
}

/* Gradient of the loss with respect to number j of forward's output i. */
static double out_gradient(const pair *p, int i, int64_t j) {
    const check_case *f = &p->fwd, *b = &p->bwd;
    const char *name = f->operands[i].name;
    if (strcmp(name, "nats") == 0) return 0.7; /* the scale that head_loss is called with */
    if (f->op == ISO_OP_BALANCE) return strcmp(name, "loss") == 0 ? 0.01 : 0;
    if (strcmp(name, "gate") == 0)
        return of_name(b, (void **)p->bwd_data, "", "drow_gate")[b->token_row[j]];
    if (strcmp(name, "probs") == 0)
        return of_name(b, (void **)p->bwd_data, "",
                       "aux_grad")[j / f->E / f->group_tokens * f->E + j % f->E];
    const double *gradient = of_name(b, (void **)p->bwd_data, "d", name);
    return gradient ? gradient[j] : 0;
}

static double loss_of(pair *p) {
    double loss = 0;
    run_case(&p->fwd, p->fwd_data);
    for (int i = 0; i < p->fwd.n_operands; i++) {
        const check_operand *o = &p->fwd.operands[i];
        if (o->role != CHECK_OUT || o->kind == CHECK_INT) continue;
        for (int64_t j = 0; j < check_numel(o); j++)
            loss += out_gradient(p, i, j) * ((const double *)p->fwd_data[i])[j];
    }
    return loss;
}

/* The gradient that backward found for number j of forward's input x, as far as there is one. */
static const double *in_gradient(pair *p, const char *x, int64_t *j) {
    if (p->fwd.op != ISO_OP_BALANCE) return of_name(&p->bwd, p->bwd_data, "d", x);
    *j = *j / p->fwd.E / p->fwd.group_tokens * p->fwd.E + *j % p->fwd.E;
    return of_name(&p->fwd, p->fwd_data, "", "aux_grad");
}

static bool check_input(pair *p, int i) {
    const double step = 1e-5;
    const check_operand *o = &p->fwd.operands[i];
    double *x = p->fwd_data[i];
    for (int64_t k = 0; k < check_numel(o); k++) {
        int64_t j = k;
        const double *gradient = in_gradient(p, o->name, &j);
        if (!gradient) return true;
        double before = x[k], analytic = gradient[j];
        x[k] = before + step;
        double above = loss_of(p);
        x[k] = before - step;
        double numeric = (above - loss_of(p)) / (2 * step);
        x[k] = before;
        if (fabs(numeric - analytic) <= 1e-7 * (1 + fabs(numeric))) continue;
        printf("  %s[%ld]: gradient %.9g, differences give %.9g\n", o->name, (long)k, analytic,
               numeric);
        return false;
    }
    return true;
}

/* Backward reads what forward read and wrote; what it adds to starts at 0. */
static void link_operands(pair *p) {
    for (int i = 0; i < p->bwd.n_operands; i++) {
        const check_operand *o = &p->bwd.operands[i];
        int same = check_case_find(&p->fwd, o->name);
        size_t bytes = (size_t)check_bytes(o, ISO_F64);
        if (same >= 0) memcpy(p->bwd_data[i], p->fwd_data[same], bytes);
        if (o->role == CHECK_INOUT) memset(p->bwd_data[i], 0, bytes);
    }
}

static bool check_pair(iso_op fwd, iso_op bwd, uint64_t seed, bool flag, bool flag2) {
    pair p;
    /* A forward that only scores; rows by token, which backward calls its x without the flag. */
    bool fwd_alone = fwd == ISO_OP_HEAD_LOSS || bwd == ISO_OP_GROUPED_BWD_WEIGHT;
    small_case(&p.fwd, fwd, seed, fwd_alone || flag, flag2);
    small_case(&p.bwd, bwd, seed, !fwd_alone && flag, flag2);
    check_buffers_create(&p.fwd, ISO_F64, p.fwd_data);
    check_buffers_create(&p.bwd, ISO_F64, p.bwd_data);
    run_case(&p.fwd, p.fwd_data);
    if (fwd == ISO_OP_ROUTER_FWD)
        check_case_route(&p.bwd, p.fwd_data[check_case_find(&p.fwd, "expert")]);
    link_operands(&p);
    run_case(&p.bwd, p.bwd_data);
    bool ok = true;
    for (int i = 0; i < p.fwd.n_operands && ok; i++)
        if (p.fwd.operands[i].role == CHECK_IN && p.fwd.operands[i].kind == CHECK_REAL)
            ok = check_input(&p, i);
    check_buffers_free(&p.fwd, p.fwd_data);
    check_buffers_free(&p.bwd, p.bwd_data);
    check_case_release(&p.fwd);
    check_case_release(&p.bwd);
    return ok;
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void fill(double *x, int64_t n, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) x[i] = iso_rng_normal(seed, ISO_RNG_TEST, 7, (uint64_t)i);
}

/* <f(x), y> = <x, g(y)>: in_f is the operand that f reads, out_f the one it writes. */
static bool check_transposed(iso_op f, int in_f, int out_f, iso_op g, int in_g, int out_g,
                             uint64_t seed, bool flag_g) {
    enum { MAX = 512 };
    double x[MAX], y[MAX];
    check_case cf, cg;
    void *df[CHECK_OPERANDS], *dg[CHECK_OPERANDS];
    small_case(&cf, f, seed, false, false);
    small_case(&cg, g, seed, flag_g, false);
    check_buffers_create(&cf, ISO_F64, df);
    check_buffers_create(&cg, ISO_F64, dg);
    int64_t nx = check_numel(&cf.operands[in_f]), ny = check_numel(&cg.operands[in_g]);
    ISO_ASSERT(nx <= MAX && ny <= MAX);
    fill(x, nx, seed);
    fill(y, ny, seed + 1);
    memcpy(df[in_f], x, (size_t)nx * sizeof *x);
    memcpy(dg[in_g], y, (size_t)ny * sizeof *y);
    run_case(&cf, df);
    run_case(&cg, dg);
    double left = dot(df[out_f], y, ny), right = dot(x, dg[out_g], nx);
    check_buffers_free(&cf, df);
    check_buffers_free(&cg, dg);
    check_case_release(&cf);
    check_case_release(&cg);
    if (fabs(left - right) <= 1e-12 * (1 + fabs(left))) return true;
    printf("  <f(x), y> is %.15g, <x, g(y)> is %.15g\n", left, right);
    return false;
}

static void report(check_tally *tally, const char *name, bool ok) {
    printf("%-28s %s\n", name, ok ? "ok" : "FAILED");
    if (ok)
        tally->n_passed++;
    else
        tally->n_failed++;
}

void check_grad(const check_options *options, check_tally *tally) {
    static const struct {
        iso_op fwd, bwd;
    } pairs[] = {
        {ISO_OP_EMBED_FWD, ISO_OP_EMBED_BWD},
        {ISO_OP_NORM_FWD, ISO_OP_NORM_BWD},
        {ISO_OP_LINEAR_FWD, ISO_OP_LINEAR_BWD_INPUT},
        {ISO_OP_LINEAR_FWD, ISO_OP_LINEAR_BWD_WEIGHT},
        {ISO_OP_ATTENTION_FWD, ISO_OP_ATTENTION_BWD},
        {ISO_OP_SWIGLU_FWD, ISO_OP_SWIGLU_BWD},
        {ISO_OP_ROUTER_FWD, ISO_OP_ROUTER_BWD},
        {ISO_OP_BALANCE, ISO_OP_BALANCE},
        {ISO_OP_GROUPED_FWD, ISO_OP_GROUPED_BWD_INPUT},
        {ISO_OP_GROUPED_FWD, ISO_OP_GROUPED_BWD_WEIGHT},
        {ISO_OP_HEAD_LOSS, ISO_OP_HEAD_LOSS},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (!check_wants(options, pairs[i].bwd)) continue;
        bool ok = true;
        for (int variant = 0; variant < 4 && ok; variant++) {
            /* These flags mean another thing in forward than in backward. */
            bool is_product =
                pairs[i].fwd == ISO_OP_LINEAR_FWD || pairs[i].fwd == ISO_OP_GROUPED_FWD;
            bool flag = !is_product && variant & 1;
            bool flag2 = variant & 2 && pairs[i].fwd != ISO_OP_ROUTER_FWD;
            ok = check_pair(pairs[i].fwd, pairs[i].bwd, options->seed + (uint64_t)variant, flag,
                            flag2);
        }
        report(tally, iso_op_name(pairs[i].bwd), ok);
    }
    if (options->op) return;
    report(tally, "rope and its inverse",
           check_transposed(ISO_OP_ROPE, 0, 0, ISO_OP_ROPE, 0, 0, options->seed, true));
}
