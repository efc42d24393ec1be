/* Shapes: what is refused, with the key and a way out, and which layers are MoE. */
#include "arch/shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static iso_shape good_dense(void) {
    iso_shape shape = iso_shape_default();
    shape.vocab_size = 257;
    shape.hidden_size = 64;
    shape.num_hidden_layers = 4;
    shape.num_attention_heads = 4;
    shape.intermediate_size = 176;
    shape.max_position_embeddings = 64;
    return shape;
}

static iso_shape good_moe(void) {
    iso_shape shape = good_dense();
    shape.layer_layout = ISO_LAYOUT_1DENSE;
    shape.num_experts = 16;
    shape.num_experts_per_tok = 2;
    shape.moe_intermediate_size = 32;
    shape.shared_expert_intermediate_size = 64;
    return shape;
}

static void assert_accepted(const iso_shape *shape) {
    if (iso_shape_check(shape) != ISO_OK) fail_msg("%s", iso_error_message());
}

static void assert_refused(const iso_shape *shape, const char *message) {
    assert_int_equal(iso_shape_check(shape), ISO_ERR_USAGE);
    if (!strstr(iso_error_message(), message))
        fail_msg("expected \"%s\" in \"%s\"", message, iso_error_message());
}

#define REFUSED(start, field, bad, message)                                                        \
    do {                                                                                           \
        iso_shape shape_ = start();                                                                \
        shape_.field = (bad);                                                                      \
        assert_refused(&shape_, message);                                                          \
    } while (0)

static void impossible_sizes(void **state) {
    REFUSED(good_dense, vocab_size, 0, "model.vocab_size: 0");
    REFUSED(good_dense, hidden_size, 0, "model.hidden_size: 0");
    REFUSED(good_dense, hidden_size, -64, "model.hidden_size: -64");
    REFUSED(good_dense, hidden_size, (int64_t)1 << 31, "model.hidden_size");
    REFUSED(good_dense, num_hidden_layers, 0, "model.num_hidden_layers: 0");
    REFUSED(good_dense, num_attention_heads, 0, "model.num_attention_heads: 0");
    REFUSED(good_dense, intermediate_size, 0, "model.intermediate_size: 0");
    REFUSED(good_dense, max_position_embeddings, 0, "model.max_position_embeddings: 0");
    REFUSED(good_dense, num_attention_heads, 5, "not divisible by num_attention_heads 5");
    REFUSED(good_dense, rms_norm_eps, 0.0, "model.rms_norm_eps");
    REFUSED(good_dense, initializer_range, -1.0, "model.initializer_range");
}

static void odd_heads_need_alibi(void **state) {
    iso_shape shape = good_dense();
    shape.hidden_size = 60;
    shape.num_attention_heads = 4; /* d = 15 */
    assert_accepted(&shape);
    shape.position = ISO_POSITION_ROPE;
    assert_refused(&shape, "must be even");
}

static void impossible_experts(void **state) {
    REFUSED(good_moe, num_experts, 0, "model.num_experts: 0");
    REFUSED(good_moe, num_experts_per_tok, 0, "model.num_experts_per_tok: 0");
    REFUSED(good_moe, num_experts_per_tok, 17, "17 experts per token of only 16");
    REFUSED(good_moe, moe_intermediate_size, 0, "model.moe_intermediate_size: 0");
    REFUSED(good_moe, shared_expert_intermediate_size, -1, "model.shared_expert_intermediate_size");
    REFUSED(good_moe, router_aux_group, 0, "model.router_aux_group: 0");
    REFUSED(good_moe, router_aux_loss_coef, -0.1, "model.router_aux_loss_coef");
    REFUSED(good_moe, num_hidden_layers, 1, "no MoE layer");
    REFUSED(good_dense, num_experts, 4, "model.num_experts: 4 in a model without MoE layers");
    REFUSED(good_dense, shared_expert_intermediate_size, 4, "without MoE layers");
}

static void allowed_corners(void **state) {
    iso_shape shape = good_moe();
    shape.num_experts_per_tok = shape.num_experts;
    shape.shared_expert_intermediate_size = 0;
    assert_accepted(&shape);
    shape.layer_layout = ISO_LAYOUT_FULL;
    shape.intermediate_size = 0;
    shape.num_hidden_layers = 1;
    assert_accepted(&shape);
    shape.router_aux_loss_coef = 0.0;
    assert_accepted(&shape);
}

static void too_many_parameters(void **state) {
    iso_shape shape = good_moe();
    shape.hidden_size = shape.num_attention_heads = 1 << 30;
    assert_refused(&shape, "number of parameters");
    shape = good_moe();
    shape.num_experts = shape.moe_intermediate_size = INT32_MAX;
    shape.num_hidden_layers = INT32_MAX;
    assert_refused(&shape, "number of parameters");
}

static void layouts(void **state) {
    static const struct {
        iso_layout layout;
        const char *name, *layers; /* 'd' or 'm' from layer 1 on */
        int64_t n_moe;
    } cases[] = {
        {ISO_LAYOUT_DENSE, "dense", "ddddd", 0},
        {ISO_LAYOUT_FULL, "full", "mmmmm", 5},
        {ISO_LAYOUT_1DENSE, "1dense", "dmmmm", 4},
        {ISO_LAYOUT_INTERLEAVE, "interleave", "dmdmd", 2},
    };
    iso_shape shape = good_moe();
    shape.num_hidden_layers = 5;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iso_layout back;
        shape.layer_layout = cases[i].layout;
        for (int64_t layer = 0; layer < 5; layer++)
            assert_int_equal(iso_shape_layer_is_moe(&shape, layer), cases[i].layers[layer] == 'm');
        assert_int_equal(iso_shape_n_moe_layers(&shape), cases[i].n_moe);
        assert_string_equal(iso_layout_name(cases[i].layout), cases[i].name);
        assert_true(iso_layout_from_name(&back, cases[i].name));
        assert_int_equal(back, cases[i].layout);
    }
    iso_layout layout;
    iso_position position;
    assert_false(iso_layout_from_name(&layout, "2dense"));
    assert_true(iso_position_from_name(&position, "rope"));
    assert_int_equal(position, ISO_POSITION_ROPE);
    assert_false(iso_position_from_name(&position, ""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(impossible_sizes),    cmocka_unit_test(odd_heads_need_alibi),
        cmocka_unit_test(impossible_experts),  cmocka_unit_test(allowed_corners),
        cmocka_unit_test(too_many_parameters), cmocka_unit_test(layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
