/* The small shape search, as properties over many random sizes: what is promised of N, r_a, the
 * widths and the proportions holds, by an own count; goals that can't be met are refused. */
#include "arch/count.h"
#include "arch/shape_search.h"
#include "base/rng.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static double uniform(uint64_t *counter) {
    return iso_rng_uniform(7, ISO_RNG_TEST, 0, (*counter)++);
}

static iso_search_goal demo_goal(int64_t params) {
    iso_search_goal goal = iso_search_goal_default(params);
    static const double rates[] = {0.2, 0.27, 0.35, 0.5};
    goal.base.vocab_size = 257;
    goal.n_rates = 4;
    memcpy(goal.rates, rates, sizeof rates);
    return goal;
}

static iso_counts count(const iso_shape *shape) {
    iso_counts counts;
    if (iso_count(&counts, shape, ISO_CONVENTION_PAPER) != ISO_OK)
        fail_msg("%s", iso_error_message());
    return counts;
}

static void check_frame(const iso_shape *shape, const iso_search_goal *goal) {
    double gamma = iso_shape_ratios(shape).gamma;
    assert_true(gamma >= goal->gamma_min && gamma <= goal->gamma_max);
    assert_int_equal(shape->hidden_size % goal->head_dim, 0);
    assert_int_equal(shape->num_attention_heads * goal->head_dim, shape->hidden_size);
    assert_int_equal(shape->max_position_embeddings, goal->base.max_position_embeddings);
    assert_int_equal(shape->vocab_size, goal->base.vocab_size);
    assert_int_equal(shape->intermediate_size % 8, 0);
}

/* (I1) and (I2). */
static void check_moe(const iso_search_result *result, int64_t i, const iso_search_goal *goal) {
    const iso_search_model *model = &result->moe[i];
    const iso_shape *shape = &model->shape, *first = &result->moe[0].shape;
    iso_counts dense = count(&result->dense.shape), moe = count(shape);
    double error =
        (double)(moe.params_nonvocab - dense.params_nonvocab) / (double)dense.params_nonvocab;
    assert_true(fabs(error) <= goal->max_params_error);
    assert_true(error == model->params_error);
    assert_true(fabs(moe.activation_rate / goal->rates[i] - 1.0) <= goal->max_rate_error);
    assert_true(moe.activation_rate == model->rate && model->rate_asked == goal->rates[i]);
    check_frame(shape, goal);
    double mu = iso_shape_ratios(shape).mu;
    assert_true(mu >= goal->mu_min && mu <= goal->mu_max);
    assert_int_equal(shape->layer_layout, ISO_LAYOUT_1DENSE);
    assert_int_equal(shape->shared_expert_intermediate_size,
                     shape->num_experts_per_tok * shape->moe_intermediate_size);
    assert_int_equal(shape->hidden_size, first->hidden_size);
    assert_int_equal(shape->num_hidden_layers, first->num_hidden_layers);
    assert_int_equal(shape->moe_intermediate_size, first->moe_intermediate_size);
    if (goal->expert_width) assert_int_equal(shape->moe_intermediate_size, goal->expert_width);
}

static void demo_rates_at_every_size(void **state) {
    uint64_t counter = 0;
    int n_loose = 0, n_single = 0;
    for (int round = 0; round < 200; round++) {
        iso_search_goal goal = demo_goal((int64_t)(2e5 * pow(250.0, uniform(&counter))));
        iso_search_result result;
        if (iso_shape_search(&result, &goal) != ISO_OK)
            fail_msg("N = %" PRId64 ": %s", goal.params, iso_error_message());
        double target = (double)count(&result.dense.shape).params_nonvocab / (double)goal.params;
        assert_true(fabs(target - 1.0) <= goal.max_target_error);
        check_frame(&result.dense.shape, &goal);
        assert_int_equal(result.dense.shape.layer_layout, ISO_LAYOUT_DENSE);
        assert_int_equal(result.n_moe, 4);
        for (int64_t i = 0; i < result.n_moe; i++) {
            check_moe(&result, i, &goal);
            n_loose += fabs(result.moe[i].params_error) > 1e-3;
            n_single += result.moe[i].shape.num_experts_per_tok == 1;
        }
    }
    /* N within 0.1 % and K of 2 and more are preferred: what is preferred is the rule. */
    assert_int_equal(n_loose, 0);
    assert_true(n_single < 80);
}

/* Any rates, context, head width, expert width: either refused or as promised, never nonsense. */
static void random_goals(void **state) {
    uint64_t counter = 1000000;
    int n_met = 0;
    for (int round = 0; round < 300; round++) {
        iso_search_goal goal = demo_goal((int64_t)(2e5 * pow(250.0, uniform(&counter))));
        goal.n_rates = 1 + (int64_t)(3.0 * uniform(&counter));
        for (int64_t i = 0; i < goal.n_rates; i++) goal.rates[i] = 0.05 + 0.6 * uniform(&counter);
        if (uniform(&counter) < 0.5)
            goal.expert_width = 8 * (1 + (int64_t)(8.0 * uniform(&counter)));
        if (uniform(&counter) < 0.5) goal.base.max_position_embeddings *= 2;
        iso_search_result result;
        iso_status status = iso_shape_search(&result, &goal);
        if (status != ISO_OK) {
            assert_int_equal(status, ISO_ERR_USAGE);
            continue;
        }
        n_met++;
        for (int64_t i = 0; i < result.n_moe; i++) check_moe(&result, i, &goal);
    }
    assert_true(n_met > 100);
}

static void same_goal_same_shapes(void **state) {
    iso_search_goal goal = demo_goal(500000);
    iso_search_result first, second;
    memset(&first, 0, sizeof first);
    memset(&second, 0xff, sizeof second);
    assert_int_equal(iso_shape_search(&first, &goal), ISO_OK);
    assert_int_equal(iso_shape_search(&second, &goal), ISO_OK);
    assert_int_equal(first.dense.shape.hidden_size, second.dense.shape.hidden_size);
    assert_int_equal(first.dense.shape.intermediate_size, second.dense.shape.intermediate_size);
    for (int64_t i = 0; i < goal.n_rates; i++) {
        assert_int_equal(first.moe[i].shape.num_experts, second.moe[i].shape.num_experts);
        assert_true(first.moe[i].rate == second.moe[i].rate);
    }
}

/* The shapes of the smallest comparison: they change only on purpose. */
static void half_a_million(void **state) {
    static const int64_t E[] = {67, 64, 61, 55}, K[] = {2, 5, 8, 14};
    iso_search_goal goal = demo_goal(500000);
    iso_search_result result;
    assert_int_equal(iso_shape_search(&result, &goal), ISO_OK);
    const iso_shape *dense = &result.dense.shape;
    assert_int_equal(dense->max_position_embeddings, 64);
    assert_int_equal(dense->hidden_size, 96);
    assert_int_equal(dense->num_hidden_layers, 4);
    assert_int_equal(dense->num_attention_heads, 6);
    assert_int_equal(dense->intermediate_size, 304);
    for (int64_t i = 0; i < 4; i++) {
        const iso_shape *moe = &result.moe[i].shape;
        assert_int_equal(moe->hidden_size, 64);
        assert_int_equal(moe->num_hidden_layers, 3);
        assert_int_equal(moe->intermediate_size, 128);
        assert_int_equal(moe->moe_intermediate_size, 16);
        assert_int_equal(moe->num_experts, E[i]);
        assert_int_equal(moe->num_experts_per_tok, K[i]);
        assert_true(result.moe[i].params_error == 0.0);
    }
}

static void assert_refused(const iso_search_goal *goal, const char *message) {
    iso_search_result result;
    assert_int_equal(iso_shape_search(&result, goal), ISO_ERR_USAGE);
    if (!strstr(iso_error_message(), message))
        fail_msg("expected \"%s\" in \"%s\"", message, iso_error_message());
}

static void impossible_goals(void **state) {
    iso_search_goal goal = demo_goal(500000);
    goal.rates[2] = 0.01;
    assert_refused(&goal, "activation rate within 5 % of 0.01");
    goal = demo_goal(500000);
    goal.base.max_position_embeddings = 4096;
    assert_refused(&goal, "no dense shape of 500000 parameters with context 4096");
    goal = demo_goal(500000);
    goal.head_dim = 4096;
    assert_refused(&goal, "no dense shape");
    goal = demo_goal(500000);
    goal.rates[0] = 1.0;
    assert_refused(&goal, "between 0 and 1");
    goal.n_rates = 0;
    assert_refused(&goal, "0 activation rates");
    goal = demo_goal(500000);
    goal.base.vocab_size = 0;
    assert_refused(&goal, "vocabulary");
    goal = demo_goal(500000);
    goal.params = 10;
    assert_refused(&goal, "10 parameters");
}

static void equal_steps(void **state) {
    int64_t steps;
    /* The dense 2B model of the paper's Table 14 on 114B tokens, and its MoE near 20 %. */
    int64_t M_dense = 14382907392, M_moe = 3019653120, D = 113799856128, batch = 672 * 2048;
    assert_int_equal(iso_equal_steps(&steps, M_dense, D, M_moe, batch), ISO_OK);
    __int128 compute = (__int128)M_dense * D, step = (__int128)M_moe * batch;
    __int128 error = compute - step * steps;
    assert_true(2 * (error < 0 ? -error : error) <= step);
    /* Halves go up, and there is always one step. */
    assert_int_equal(iso_equal_steps(&steps, 3, 1, 2, 1), ISO_OK);
    assert_int_equal(steps, 2);
    assert_int_equal(iso_equal_steps(&steps, 5, 1, 4, 1), ISO_OK);
    assert_int_equal(steps, 1);
    assert_int_equal(iso_equal_steps(&steps, 1, 1, 1000, 1000), ISO_OK);
    assert_int_equal(steps, 1);
    assert_int_equal(iso_equal_steps(&steps, INT64_MAX, INT64_MAX, 1, 1), ISO_ERR_USAGE);
    assert_int_equal(iso_equal_steps(&steps, INT64_MAX, INT64_MAX, INT64_MAX, 1), ISO_OK);
    assert_int_equal(steps, INT64_MAX);
    assert_int_equal(iso_equal_steps(&steps, 0, 1, 1, 1), ISO_ERR_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(demo_rates_at_every_size), cmocka_unit_test(random_goals),
        cmocka_unit_test(same_goal_same_shapes),    cmocka_unit_test(half_a_million),
        cmocka_unit_test(impossible_goals),         cmocka_unit_test(equal_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
