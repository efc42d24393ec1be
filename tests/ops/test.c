/* test.c - every operation x backend x instruction set against the double reference, over random
 * odd sizes; the same bits for 1, 2, 3 and 7 threads; what infinities and NaN do. */
#include "checkops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const check_isa check_isas[CHECK_N_ISAS] = {
    {"avx512", ISO_F32}, {"avx2", ISO_F32}, {"sse2", ISO_F32}, {"avx512bf16", ISO_BF16}};

/* In iso_kernels_init_cpu's file; not in ops.h because only tests choose. */
bool iso_kernels_init_cpu_isa(iso_kernels *kernels, const char *isa, iso_dtype dtype);

bool check_exec_create(iso_exec *ex, const check_case *c, const char *backend, iso_dtype dtype,
                       iso_pool *pool, iso_counters *counters) {
    bool is_ref = strcmp(backend, "ref") == 0;
    if (iso_exec_create(ex, is_ref ? "ref" : "cpu", dtype, pool, counters) != ISO_OK) return false;
    if (!is_ref && !iso_kernels_init_cpu_isa((iso_kernels *)ex->kernels, backend, dtype)) {
        iso_exec_release(ex);
        return false;
    }
    void *nothing[CHECK_OPERANDS] = {0};
    check_case_call(c, ex, nothing);
    ISO_ASSERT(iso_exec_start(ex) == ISO_OK);
    /* Scratch is not cleared between operations: nobody may count on zeros. */
    memset(ex->scratch.base, 0xff, (size_t)ex->scratch.size_bytes);
    return true;
}

/* What is stored in bf16 is rounded once more. */
static double allowed(const check_operand *o, iso_dtype dtype, double want) {
    double rounding = dtype == ISO_BF16 && o->is_narrow ? 0x1p-8 * fabs(want) : 0;
    if (dtype == ISO_BF16 && o->half_error > 0) rounding += o->half_error + 0x1p-7 * fabs(want);
    if (o->tolerance == 0) return rounding + (o->kind == CHECK_DOUBLE ? 1e-12 * fabs(want) : 0);
    return rounding + (o->tolerance + 8 * fabs(want)) * 0x1p-23;
}

/* Prints the first wrong element of each operand. */
static bool compare(const check_case *c, const char *who, iso_dtype dtype, void **want,
                    void **got) {
    bool ok = true;
    for (int i = 0; i < c->n_operands; i++) {
        const check_operand *o = &c->operands[i];
        for (int64_t j = 0; o->role != CHECK_IN && j < check_numel(o); j++) {
            double w = check_value(o, ISO_F64, want[i], j), g = check_value(o, dtype, got[i], j);
            if ((isnan(w) && isnan(g)) || fabs(g - w) <= allowed(o, dtype, w)) continue;
            printf("  %s: %s[%ld] is %.9g, should be %.9g within %.2g\n", who, o->name, (long)j, g,
                   w, allowed(o, dtype, w));
            ok = false;
            break;
        }
    }
    return ok;
}

static bool same_bits(const check_case *c, const check_isa *isa, int n_threads, void **a,
                      void **b) {
    for (int i = 0; i < c->n_operands; i++) {
        if (memcmp(a[i], b[i], (size_t)check_bytes(&c->operands[i], isa->dtype)) == 0) continue;
        printf("  %s: %s differs between 1 and %d threads\n", isa->name, c->operands[i].name,
               n_threads);
        return false;
    }
    return true;
}

static bool run(const check_case *c, const char *backend, iso_dtype dtype, int n_threads,
                void **data) {
    iso_pool *pool = NULL;
    iso_counters counters = {0};
    iso_exec ex;
    if (n_threads > 1) ISO_ASSERT(!iso_pool_create(&pool, n_threads));
    bool able = check_exec_create(&ex, c, backend, dtype, pool, &counters);
    if (able) {
        check_buffers_create(c, dtype, data);
        check_case_call(c, &ex, data);
        iso_exec_release(&ex);
    }
    iso_pool_free(pool);
    return able;
}

static bool check_on(const check_case *c, const check_isa *isa, void **want) {
    static const int thread_counts[] = {2, 3, 7};
    void *one[CHECK_OPERANDS], *many[CHECK_OPERANDS];
    if (!run(c, isa->name, isa->dtype, 1, one)) return true;
    bool ok = compare(c, isa->name, isa->dtype, want, one);
    for (int i = 0; i < 3 && ok; i++) {
        run(c, isa->name, isa->dtype, thread_counts[i], many);
        ok = same_bits(c, isa, thread_counts[i], one, many);
        check_buffers_free(c, many);
    }
    check_buffers_free(c, one);
    return ok;
}

/* One round on the reference in float and on every instruction set; `rounds`: those for bf16. */
static bool check_round(check_case *c, bool rounds) {
    void *want[CHECK_OPERANDS], *ref[CHECK_OPERANDS];
    c->rounds = rounds;
    run(c, "ref", ISO_F64, 1, want);
    run(c, "ref", ISO_F32, 1, ref);
    bool ok = compare(c, "ref f32", ISO_F32, want, ref);
    for (int i = 0; i < CHECK_N_ISAS; i++)
        if ((check_isas[i].dtype == ISO_BF16) == rounds)
            ok = check_on(c, &check_isas[i], want) && ok;
    check_buffers_free(c, want);
    check_buffers_free(c, ref);
    return ok;
}

static bool check_op(iso_op op, const check_options *options) {
    bool ok = true;
    for (int round = 0; round < options->rounds && ok; round++) {
        check_case c;
        check_case_random(&c, op, options->seed, round);
        ok = check_round(&c, false) && check_round(&c, true);
        if (!ok) {
            char sizes[256];
            check_case_describe(&c, sizes, sizeof sizes);
            printf("  sizes: %s\n", sizes);
        }
        check_case_release(&c);
    }
    return ok;
}

static void report(check_tally *tally, const char *name, bool ok) {
    printf("%-28s %s\n", name, ok ? "ok" : "FAILED");
    if (ok)
        tally->n_passed++;
    else
        tally->n_failed++;
}

/* NaN logits: legal, distinct experts, and gates that are NaN. */
static bool nan_routes_legally(const char *isa) {
    check_case c = {.op = ISO_OP_ROUTER_FWD, .B = 1, .S = 9, .A = 1, .d = 2, .E = 21, .K = 4};
    c.V = c.F = c.out = c.in = c.group_tokens = 1;
    check_case_setup(&c);
    iso_counters counters = {0};
    iso_exec ex;
    void *data[CHECK_OPERANDS];
    bool ok = true;
    if (check_exec_create(&ex, &c, isa, ISO_F32, NULL, &counters)) {
        check_buffers_create(&c, ISO_F32, data);
        float *logits = data[3];
        for (int64_t i = 0; i < c.T * c.E; i++)
            if (i % 3 == 0 || i / c.E == 5) logits[i] = NAN;
        check_case_call(&c, &ex, data);
        const int32_t *expert = data[1];
        const float *gate = data[2];
        for (int64_t i = 0; i < c.T * c.K; i++) {
            ok &= expert[i] >= 0 && expert[i] < c.E && isnan(gate[i]);
            for (int64_t j = i / c.K * c.K; j < i; j++) ok &= expert[i] != expert[j];
        }
        check_buffers_free(&c, data);
        iso_exec_release(&ex);
    }
    check_case_release(&c);
    return ok;
}

/* A NaN in one token's activations is in its loss and in the weight gradient, not hidden. */
static bool nan_reaches_loss(const char *isa) {
    check_case c = {
        .op = ISO_OP_HEAD_LOSS, .B = 1, .S = 7, .A = 1, .d = 6, .V = 33, .E = 1, .K = 1};
    c.F = c.out = c.in = c.group_tokens = 1;
    check_case_setup(&c);
    iso_counters counters = {0};
    iso_exec ex;
    void *data[CHECK_OPERANDS];
    bool ok = true;
    if (check_exec_create(&ex, &c, isa, ISO_F32, NULL, &counters)) {
        check_buffers_create(&c, ISO_F32, data);
        ((float *)data[3])[2 * c.H + 1] = NAN;
        check_case_call(&c, &ex, data);
        const double *nats = data[0];
        for (int64_t t = 0; t < c.T; t++) ok &= (isnan(nats[t]) != 0) == (t == 2);
        ok &= nats[3] == 0 && isnan(((float *)data[2])[0]);
        for (int64_t h = 0; h < c.H; h++) ok &= ((float *)data[1])[3 * c.H + h] == 0;
        check_buffers_free(&c, data);
        iso_exec_release(&ex);
    }
    check_case_release(&c);
    return ok;
}

/* A NaN in the activations of a token without a target is nowhere. V: a small vocabulary, or one in
 * blocks. */
static bool nan_without_target_is_ignored(const char *isa, int64_t V) {
    check_case c = {.op = ISO_OP_HEAD_LOSS, .B = 1, .S = 7, .A = 1, .d = 6, .V = V, .E = 1, .K = 1};
    c.F = c.out = c.in = c.group_tokens = 1;
    check_case_setup(&c);
    iso_counters counters = {0};
    iso_exec ex;
    void *data[CHECK_OPERANDS];
    bool ok = true;
    if (check_exec_create(&ex, &c, isa, ISO_F32, NULL, &counters)) {
        check_buffers_create(&c, ISO_F32, data);
        ((float *)data[3])[3 * c.H + 1] = NAN; /* its target is -1 */
        check_case_call(&c, &ex, data);
        const float *dx = data[1], *dw = data[2];
        ok &= ((double *)data[0])[3] == 0;
        for (int64_t t = 0; t < c.T; t++) ok &= isfinite(((double *)data[0])[t]) != 0;
        for (int64_t i = 0; i < c.T * c.H; i++) ok &= isfinite(dx[i]) != 0;
        for (int64_t i = 0; i < c.V * c.H; i++) ok &= isfinite(dw[i]) != 0;
        check_buffers_free(&c, data);
        iso_exec_release(&ex);
    }
    check_case_release(&c);
    return ok;
}

/* exp as seen through silu(g) * 1: exact ends, 2^-21 relative in between, NaN kept. Below -88
 * e^-g is infinite in float, and silu 0 instead of some 1e-37. */
static bool exp_is_exact(const char *isa) {
    enum { N = 4096 };
    check_case c = {
        .op = ISO_OP_SWIGLU_FWD, .B = 1, .S = 1, .A = 1, .d = 2, .F = N, .E = 1, .K = 1};
    c.V = c.out = c.in = c.group_tokens = 1;
    check_case_setup(&c);
    iso_counters counters = {0};
    iso_exec ex;
    void *data[CHECK_OPERANDS];
    bool ok = true;
    if (check_exec_create(&ex, &c, isa, ISO_F32, NULL, &counters)) {
        check_buffers_create(&c, ISO_F32, data);
        float *gu = data[1];
        const float *h = data[0];
        for (int i = 0; i < N; i++) {
            gu[i] = (float)(i - N / 2) * 0.05f;
            gu[N + i] = 1;
        }
        gu[0] = NAN, gu[1] = INFINITY, gu[2] = -3e38f, gu[3] = 3e38f;
        check_case_call(&c, &ex, data);
        ok = isnan(h[0]) && isinf(h[1]) && h[2] == 0 && h[3] == 3e38f;
        for (int i = 4; i < N; i++) {
            double g = (double)gu[i], want = g / (1 + exp(-g));
            if (fabs((double)h[i] - want) <= 0x1p-21 * fabs(want) + 0x1p-119) continue;
            printf("  %s: silu(%g) is %.9g, should be %.9g\n", isa, g, (double)h[i], want);
            ok = false;
            break;
        }
        check_buffers_free(&c, data);
        iso_exec_release(&ex);
    }
    check_case_release(&c);
    return ok;
}

void check_test(const check_options *options, check_tally *tally) {
    for (int op = 0; op < ISO_OP_N; op++)
        if (check_wants(options, (iso_op)op))
            report(tally, iso_op_name((iso_op)op), check_op((iso_op)op, options));
    if (options->op) return;
    for (int i = 0; i < CHECK_N_ISAS; i++) {
        if (check_isas[i].dtype != ISO_F32) continue;
        char name[64];
        snprintf(name, sizeof name, "NaN routes legally, %s", check_isas[i].name);
        report(tally, name, nan_routes_legally(check_isas[i].name));
        snprintf(name, sizeof name, "NaN reaches loss, %s", check_isas[i].name);
        report(tally, name, nan_reaches_loss(check_isas[i].name));
        snprintf(name, sizeof name, "NaN without target, %s", check_isas[i].name);
        report(tally, name,
               nan_without_target_is_ignored(check_isas[i].name, 33) &&
                   nan_without_target_is_ignored(check_isas[i].name, 2100));
        snprintf(name, sizeof name, "exp is exact, %s", check_isas[i].name);
        report(tally, name, exp_is_exact(check_isas[i].name));
    }
}
