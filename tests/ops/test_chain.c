/* test_chain.c - operations in a chain (ops.h, iso_exec_chain) and gradients of weights on a pile
 * (iso_exec_pile) write the bits that they write one by one, on any number of threads: also where a
 * chain is cut because it has too many links or too many weights, with rows that fill no block,
 * with experts that have no row, many blocks, or large weights, and where a gradient takes rounds.
 */
#include "ops/ops.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef __SANITIZE_THREAD__
#define LEAST_THREADS 3 /* slow, and one thread races with nobody */
#else
#define LEAST_THREADS 0
#endif

typedef struct sizes {
    int64_t B, S, A, d, F, E, K, De;
    bool is_skewed; /* every token's first choice is expert 0 */
} sizes;

/* All tensors of a run, in one block that two runs compare. */
typedef struct world {
    sizes z;
    iso_exec *ex;
    bool chains;
    char *block; /* NULL while measuring */
    int64_t used, n_drawn;
} world;

static void check(iso_status status) {
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
}

static void *take(world *w, int64_t n_bytes) {
    char *at = w->block ? w->block + w->used : NULL;
    w->used += (n_bytes + 63) / 64 * 64;
    return at;
}

static iso_tensor wide(world *w, int64_t rows, int64_t cols) {
    iso_tensor t = iso_tensor_2d(NULL, w->ex->dtype, rows, cols);
    t.data = take(w, rows * cols * iso_dtype_bytes(t.dtype));
    return t;
}

static iso_tensor narrow(world *w, int64_t rows, int64_t cols) {
    iso_tensor t = iso_tensor_2d(NULL, w->ex->narrow, rows, cols);
    t.data = take(w, rows * cols * iso_dtype_bytes(t.dtype));
    return t;
}

static iso_tensor vector(world *w, int64_t n) {
    iso_tensor t = wide(w, n, 1);
    return iso_tensor_1d(t.data, t.dtype, n);
}

static iso_tensor of_experts(iso_tensor t, int64_t E) {
    return iso_tensor_3d(t.data, t.dtype, E, t.dims[0] / E, t.dims[1]);
}

/* Wide tensors alone are drawn; narrow ones are what operations write. */
static iso_tensor drawn(world *w, iso_tensor t) {
    for (int64_t i = 0; t.data && i < iso_tensor_numel(&t); i++)
        ((float *)t.data)[i] =
            (float)(iso_rng_u64(1, ISO_RNG_TEST, 0, (uint64_t)w->n_drawn++) % 2001) / 4000.f -
            0.25f;
    return t;
}

static void begin(world *w) {
    if (w->chains) iso_exec_chain(w->ex);
}

static void end(world *w) {
    if (w->chains) iso_exec_flush(w->ex);
}

/* What a layer does around its attention and its experts; nine links and more. */
static iso_tensor tokens_fwd(world *w, iso_tensor x, iso_routing *rt, iso_tensor row_gate) {
    const sizes *z = &w->z;
    int64_t T = z->B * z->S, H = z->A * z->d;
    const iso_attention at = {.B = z->B, .S = z->S, .A = z->A, .d = z->d};
    iso_tensor gain = drawn(w, vector(w, H)), w_gate_up = drawn(w, wide(w, 2 * z->F, H));
    iso_tensor w_down = drawn(w, wide(w, H, z->F)), w_router = drawn(w, wide(w, z->E, H));
    iso_tensor w_qkv = drawn(w, wide(w, 3 * H, H)), rstd = vector(w, T), norm = narrow(w, T, H);
    iso_tensor gate_up = narrow(w, T, 2 * z->F), hidden = narrow(w, T, z->F), out = wide(w, T, H);
    iso_tensor logits = wide(w, T, z->E), probs = wide(w, T, z->E), gate = wide(w, T, z->K);
    iso_tensor qkv = narrow(w, T, 3 * H);
    begin(w);
    iso_norm_fwd(w->ex, norm, rstd, x, gain, 1e-5);
    iso_linear_fwd(w->ex, gate_up, iso_no_tensor(), norm, w_gate_up, ISO_COMPONENT_FFN_DENSE);
    iso_swiglu_fwd(w->ex, hidden, gate_up, iso_no_tensor());
    iso_linear_fwd(w->ex, out, x, hidden, w_down, ISO_COMPONENT_FFN_DENSE);
    iso_norm_fwd(w->ex, norm, rstd, out, gain, 1e-5);
    iso_linear_fwd(w->ex, logits, iso_no_tensor(), norm, w_router, ISO_COMPONENT_ROUTER);
    iso_router_fwd(w->ex, probs, rt->expert, gate, logits, true);
    iso_linear_fwd(w->ex, qkv, iso_no_tensor(), norm, w_qkv, ISO_COMPONENT_ATTENTION);
    iso_rope(w->ex, qkv, &at, 10000, false);
    end(w);
    for (int64_t t = 0; w->z.is_skewed && !w->ex->measuring && t < T; t++)
        for (int32_t k = 0; k < z->K; k++) rt->expert[t * z->K + k] = k;
    iso_route_sort(w->ex, rt, row_gate, gate);
    return norm;
}

/* Gradients of weights; some are added to what is there. */
static void gradients(world *w, iso_tensor d, iso_tensor norm, iso_tensor d_rows,
                      iso_tensor row_hidden, const iso_routing *rt) {
    const sizes *z = &w->z;
    int64_t T = rt->T, H = z->A * z->d, E = z->E;
    double *squares = take(w, 5 * (int64_t)sizeof *squares);
    iso_tensor dw_down = drawn(w, wide(w, H, z->F)), dw_o = drawn(w, wide(w, H, H));
    iso_tensor dw_router = drawn(w, wide(w, E, H)), hidden = narrow(w, T, z->F);
    iso_tensor dw_rows = of_experts(drawn(w, wide(w, E * d_rows.dims[1], H)), E);
    iso_tensor dw_hidden = of_experts(drawn(w, wide(w, E * H, z->De)), E);
    iso_tensor wide_hidden = drawn(w, wide(w, T, z->F)), rstd = vector(w, T);
    iso_tensor d_logits = drawn(w, wide(w, T, E)), gain = drawn(w, vector(w, z->F));
    iso_norm_fwd(w->ex, hidden, rstd, wide_hidden, gain, 1e-5);
    if (w->chains) iso_exec_pile(w->ex);
    iso_grouped_bwd_weight(w->ex, dw_hidden, true, &squares[0], d, true, row_hidden, false, rt);
    iso_linear_bwd_weight(w->ex, dw_down, false, &squares[1], d, hidden, ISO_COMPONENT_FFN_DENSE);
    iso_grouped_bwd_weight(w->ex, dw_rows, false, &squares[2], d_rows, false, norm, true, rt);
    iso_linear_bwd_weight(w->ex, dw_router, true, &squares[3], d_logits, norm,
                          ISO_COMPONENT_ROUTER);
    iso_linear_bwd_weight(w->ex, dw_o, true, &squares[4], d, norm, ISO_COMPONENT_ATTENTION);
    end(w);
}

/* Experts there and back; the gradient of what they have read, by token, through a norm. */
static void experts(world *w, iso_tensor x, iso_tensor norm, const iso_routing *rt,
                    iso_tensor row_gate) {
    const sizes *z = &w->z;
    int64_t T = rt->T, H = z->A * z->d, E = z->E, R = T * z->K;
    iso_tensor w_gate_up = of_experts(drawn(w, wide(w, E * 2 * z->De, H)), E);
    iso_tensor w_down = of_experts(drawn(w, wide(w, E * H, z->De)), E);
    iso_tensor gate_up = narrow(w, R, 2 * z->De), hidden = narrow(w, R, z->De);
    iso_tensor rows = narrow(w, R, H), d = narrow(w, T, H), d_hidden = narrow(w, R, z->De);
    iso_tensor d_gate_up = narrow(w, R, 2 * z->De), d_rows = narrow(w, R, H);
    iso_tensor d_gate = vector(w, R), d_norm = wide(w, T, H), d_stream = drawn(w, wide(w, T, H));
    iso_tensor gain = drawn(w, vector(w, H)), rstd = drawn(w, vector(w, T));
    iso_tensor dw = drawn(w, vector(w, H)), dx = wide(w, T, H), w_o = drawn(w, wide(w, H, H));
    begin(w);
    iso_grouped_fwd(w->ex, gate_up, norm, true, w_gate_up, rt);
    iso_swiglu_fwd(w->ex, hidden, gate_up, row_gate);
    iso_grouped_fwd(w->ex, rows, hidden, false, w_down, rt);
    end(w);
    begin(w);
    iso_combine(w->ex, dx, x, rows, rt);
    iso_linear_fwd(w->ex, d, iso_no_tensor(), dx, w_o, ISO_COMPONENT_ATTENTION);
    end(w);
    begin(w);
    iso_grouped_bwd_input(w->ex, d_hidden, d, true, w_down, rt);
    iso_swiglu_bwd(w->ex, d_gate_up, d_gate, hidden, d_hidden, gate_up, row_gate);
    iso_grouped_bwd_input(w->ex, d_rows, d_gate_up, false, w_gate_up, rt);
    end(w);
    begin(w);
    iso_combine(w->ex, d_norm, iso_no_tensor(), d_rows, rt);
    iso_linear_bwd_input(w->ex, d_norm, true, d, w_o, ISO_COMPONENT_ATTENTION);
    iso_norm_bwd(w->ex, dx, d_stream, iso_no_tensor(), norm, dw, d_norm, x, rstd, gain);
    end(w);
    gradients(w, d, norm, d_gate_up, hidden, rt);
}

static void go(world *w) {
    const sizes *z = &w->z;
    int64_t T = z->B * z->S, R = T * z->K;
    iso_routing rt = {.T = T, .E = z->E, .K = z->K};
    rt.expert = take(w, R * 4), rt.offsets = take(w, (z->E + 1) * 4);
    rt.row_token = take(w, R * 4), rt.token_row = take(w, R * 4);
    iso_tensor x = drawn(w, wide(w, T, z->A * z->d)), row_gate = vector(w, R);
    iso_tensor norm = tokens_fwd(w, x, &rt, row_gate);
    experts(w, x, norm, &rt, row_gate);
}

/* Fewer tokens need no more scratch than was measured (chain.h, pile.h I1): the arena checks. */
static void run_fewer(const world *done) {
    int64_t S = done->z.S;
    for (int i = 1; i <= 2; i++) {
        world w = *done;
        w.z.B = 1, w.z.S = S / (2 * i) > 0 ? S / (2 * i) : 1, w.used = 0;
        w.block = aligned_alloc(64, (size_t)done->used);
        assert_non_null(w.block);
        memset(w.block, 0, (size_t)done->used);
        go(&w);
        assert_true(w.used <= done->used);
        assert_int_equal(w.ex->scratch.used_bytes, 0);
        free(w.block);
    }
}

/* The block that a run leaves. */
static char *run(const sizes *z, iso_dtype dtype, int n_threads, bool chains, int64_t *n_bytes) {
    iso_counters counters = {0};
    iso_exec ex;
    iso_pool *pool = NULL;
    if (n_threads > 0) check(iso_pool_create(&pool, n_threads));
    check(iso_exec_create(&ex, "cpu", dtype, pool, &counters));
    world w = {.z = *z, .ex = &ex, .chains = chains};
    go(&w);
    *n_bytes = w.used;
    check(iso_exec_start(&ex));
    w.block = aligned_alloc(64, (size_t)w.used);
    assert_non_null(w.block);
    memset(w.block, 0, (size_t)w.used);
    w.used = 0, w.n_drawn = 0;
    memset(&counters, 0, sizeof counters);
    go(&w);
    assert_int_equal(w.used, *n_bytes);
    assert_int_equal(ex.scratch.used_bytes, 0);
    if (chains && n_threads == 0) run_fewer(&w);
    for (int op = 0; op < ISO_OP_N; op++) assert_true(counters.time_ns[op] >= 0);
    iso_exec_release(&ex);
    iso_pool_free(pool);
    return w.block;
}

static void check_sizes(const sizes *z, iso_dtype dtype) {
    int64_t n_bytes, n_chained;
    char *want = run(z, dtype, 0, false, &n_bytes);
    for (int n_threads = LEAST_THREADS; n_threads <= 3; n_threads++) {
        char *got = run(z, dtype, n_threads, true, &n_chained);
        assert_int_equal(n_chained, n_bytes);
        for (int64_t i = 0; i < n_bytes; i++)
            if (got[i] != want[i])
                fail_msg("%s, %d threads: byte %lld of %lld differs", iso_dtype_name(dtype),
                         n_threads, (long long)i, (long long)n_bytes);
        free(got);
    }
    free(want);
}

static void check_types(const sizes *z) {
    check_sizes(z, ISO_F32);
    if (strcmp(iso_exec_isa(ISO_BF16), "none") != 0) check_sizes(z, ISO_BF16);
}

static void test_odd_sizes(void **state) {
    const sizes odd = {.B = 3, .S = 43, .A = 3, .d = 18, .F = 71, .E = 5, .K = 2, .De = 19};
    const sizes one = {.B = 1, .S = 1, .A = 1, .d = 2, .F = 1, .E = 1, .K = 1, .De = 1};
    check_types(&odd);
    check_types(&one);
}

/* Gate and up alone are more than a chain holds. */
static void test_large_weights(void **state) {
    const sizes large = {.B = 2, .S = 70, .A = 8, .d = 64, .F = 2304, .E = 4, .K = 2, .De = 32};
    const sizes large_experts = {
        .B = 1, .S = 70, .A = 8, .d = 64, .F = 64, .E = 3, .K = 2, .De = 1100};
    check_types(&large);
    check_types(&large_experts);
}

/* What the gradient of the down projection packs is more than two rounds hold. */
static void test_rounds(void **state) {
    const sizes wide_ffn = {.B = 2, .S = 560, .A = 2, .d = 8, .F = 2304, .E = 3, .K = 1, .De = 16};
    check_types(&wide_ffn);
}

static void test_skewed_routing(void **state) {
    const sizes skewed = {
        .B = 4, .S = 150, .A = 2, .d = 32, .F = 48, .E = 7, .K = 2, .De = 40, .is_skewed = true};
    check_types(&skewed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_sizes),
        cmocka_unit_test(test_large_weights),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_skewed_routing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
