/* Bytes by arithmetic: figures worked out by hand for a model of the paper, the expected number of
 * experts against all routings there are, limits, and what does not fit. */
#include "arch/memory.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void check(iso_status status) {
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
}

/* The 2B MoE of Table 9: 16 layers, the first dense. */
static iso_shape moe_2b(void) {
    iso_shape s = iso_shape_default();
    s.vocab_size = 65536;
    s.hidden_size = 1408;
    s.num_hidden_layers = 16;
    s.num_attention_heads = 11;
    s.intermediate_size = 3904;
    s.max_position_embeddings = 2048;
    s.layer_layout = ISO_LAYOUT_1DENSE;
    s.num_experts = 89;
    s.num_experts_per_tok = 1;
    s.moe_intermediate_size = 352;
    s.shared_expert_intermediate_size = 352;
    return s;
}

/* N 2150612992, router 1879680, norms 46464, two matrices of 65536 x 1408. */
#define PARAMS_2B (INT64_C(2150612992) + 1879680 + 46464 + 2 * INT64_C(65536) * 1408)

static void training_state(void **state) {
    iso_shape shape = moe_2b();
    iso_state_memory m;
    check(iso_memory_state(&m, &shape, ISO_FORMAT_FP32));
    assert_int_equal(m.weights, 4 * PARAMS_2B);
    assert_int_equal(m.gradients, 4 * PARAMS_2B);
    assert_int_equal(m.master_weights, 0);
    assert_int_equal(m.moments, 8 * PARAMS_2B);
    assert_int_equal(m.sum, 16 * PARAMS_2B);
    check(iso_memory_state(&m, &shape, ISO_FORMAT_BF16));
    assert_int_equal(m.weights, 2 * PARAMS_2B);
    assert_int_equal(m.gradients, 4 * PARAMS_2B);
    assert_int_equal(m.master_weights, 4 * PARAMS_2B);
    assert_int_equal(m.moments, 8 * PARAMS_2B);
    assert_int_equal(m.sum, 18 * PARAMS_2B);
    int64_t weights;
    shape.tie_word_embeddings = true;
    check(iso_memory_weights(&weights, &shape, ISO_FORMAT_BF16));
    assert_int_equal(weights, 2 * (PARAMS_2B - INT64_C(65536) * 1408));
}

static void kv_cache(void **state) {
    iso_shape shape = moe_2b();
    int64_t bytes;
    check(iso_memory_kv_cache(&bytes, &shape, ISO_FORMAT_BF16, 1, 1));
    assert_int_equal(bytes, 2 * 1408 * 16 * 2);
    check(iso_memory_kv_cache(&bytes, &shape, ISO_FORMAT_FP32, 2048, 32));
    assert_int_equal(bytes, INT64_C(2) * 1408 * 16 * 4 * 2048 * 32);
    check(iso_memory_kv_cache(&bytes, &shape, ISO_FORMAT_FP32, 0, 32));
    assert_int_equal(bytes, 0);
    assert_int_equal(iso_memory_kv_cache(&bytes, &shape, ISO_FORMAT_FP32, -1, 1), ISO_ERR_USAGE);
    assert_int_equal(iso_memory_kv_cache(&bytes, &shape, ISO_FORMAT_FP32, INT64_MAX, 1),
                     ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "KV cache"));
    assert_int_equal(iso_memory_kv_cache(&bytes, &shape, ISO_FORMAT_FP32, 1 << 20, INT64_MAX >> 30),
                     ISO_ERR_USAGE);
}

/* The experts hit by n tokens, averaged over every way to choose: sets of K of E as bit masks. */
static double average_hit(int E, int K, int n) {
    int sets[64], n_sets = 0;
    for (int mask = 0; mask < 1 << E; mask++)
        if (__builtin_popcount((unsigned)mask) == K) sets[n_sets++] = mask;
    int64_t ways = 1, total = 0;
    for (int i = 0; i < n; i++) ways *= n_sets;
    for (int64_t way = 0; way < ways; way++) {
        unsigned hit = 0;
        int64_t rest = way;
        for (int i = 0; i < n; i++, rest /= n_sets) hit |= (unsigned)sets[rest % n_sets];
        total += __builtin_popcount(hit);
    }
    return (double)total / (double)ways;
}

static void expected_experts(void **state) {
    for (int E = 1; E <= 6; E++)
        for (int K = 1; K <= E; K++)
            for (int n = 1; n <= 3; n++)
                assert_float_equal(iso_memory_expected_experts(E, K, n), average_hit(E, K, n),
                                   1e-12);
    /* One of very many: what cancellation would lose. */
    assert_float_equal(iso_memory_expected_experts(INT32_MAX, 1, 1), 1, 1e-12);
    assert_float_equal(iso_memory_expected_experts(89, 1, INT64_MAX), 89, 1e-12);
}

static void touched_weights(void **state) {
    iso_shape shape = moe_2b();
    iso_counts full;
    double one, many, last = INFINITY;
    int64_t head = shape.vocab_size * shape.hidden_size, resident;
    check(iso_count(&full, &shape, ISO_CONVENTION_FULL));
    check(iso_memory_weights(&resident, &shape, ISO_FORMAT_BF16));
    /* A single token reads the active parameters, the head, and its row of the embedding. */
    check(iso_memory_touched(&one, &shape, ISO_FORMAT_BF16, 1));
    assert_float_equal(one, 2 * (double)(full.params_active + head + shape.hidden_size), 1);
    /* Very many read everything, once: next to nothing for each. */
    int64_t n = INT64_C(1) << 40;
    check(iso_memory_touched(&many, &shape, ISO_FORMAT_BF16, n));
    assert_float_equal(many * (double)n / (double)resident, 1, 1e-9);
    for (int64_t batch = 1; batch <= 1 << 20; batch *= 2, last = many) {
        check(iso_memory_touched(&many, &shape, ISO_FORMAT_BF16, batch));
        assert_true(many < last);
        assert_true(many * (double)batch <= (double)resident);
    }
    double fp32;
    check(iso_memory_touched(&fp32, &shape, ISO_FORMAT_FP32, 1 << 20));
    assert_true(fp32 == 2 * many);
    /* Tied, the embedding is the head: nothing more to read. */
    shape.tie_word_embeddings = true;
    check(iso_memory_touched(&one, &shape, ISO_FORMAT_BF16, 1));
    assert_float_equal(one, 2 * (double)(full.params_active + head), 1);
    assert_int_equal(iso_memory_touched(&one, &shape, ISO_FORMAT_BF16, 0), ISO_ERR_USAGE);
}

static void too_large(void **state) {
    iso_shape shape = iso_shape_default();
    iso_state_memory m;
    /* 4 H^2 + 3 H F + 2 H + 2 V H, just under 2^59: 16 bytes each fit, 18 do not. */
    shape.hidden_size = 1 << 28;
    shape.num_hidden_layers = shape.num_attention_heads = shape.max_position_embeddings = 1;
    shape.vocab_size = 1;
    shape.intermediate_size = (1 << 28) / 3 * 2 + (1 << 26);
    while (iso_shape_check(&shape) == ISO_OK) shape.intermediate_size += 1 << 20;
    shape.intermediate_size -= 1 << 20;
    check(iso_shape_check(&shape));
    check(iso_memory_state(&m, &shape, ISO_FORMAT_FP32));
    assert_true(m.sum > INT64_MAX / 100 * 99);
    assert_int_equal(iso_memory_state(&m, &shape, ISO_FORMAT_BF16), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "63 bits"));
    shape.hidden_size = 0;
    assert_int_equal(iso_memory_state(&m, &shape, ISO_FORMAT_FP32), ISO_ERR_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_state),   cmocka_unit_test(kv_cache),
        cmocka_unit_test(expected_experts), cmocka_unit_test(touched_weights),
        cmocka_unit_test(too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
