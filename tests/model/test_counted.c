/* test_counted.c - what a model is said to be, is planned to take, and really takes: one number.
 *
 * Random small shapes of every layout. Parameters from the allocated tensors against the formulas
 * of arch/count.h, FLOPs from the op wrappers over a training step against three times the forward
 * FLOPs per token, and the plan against FLOPs and memory of the real thing.
 */
#include "tiny_model.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_SHAPES 100

typedef struct draws {
    uint64_t lane, n;
} draws;

/* Uniform in [least, most]. */
static int64_t draw(draws *d, int64_t least, int64_t most) {
    uint64_t x = iso_rng_u64(2, ISO_RNG_TEST, d->lane, d->n++);
    return least + (int64_t)(x % (uint64_t)(most - least + 1));
}

static iso_shape random_shape(draws *d, int i) {
    iso_shape s = iso_shape_default();
    s.layer_layout = (iso_layout)(i % 4);
    s.vocab_size = draw(d, 2, 300);
    s.num_attention_heads = draw(d, 1, 4);
    s.hidden_size = s.num_attention_heads * 2 * draw(d, 1, 6);
    s.num_hidden_layers = draw(d, 2, 4);
    s.intermediate_size = draw(d, 1, 40);
    s.max_position_embeddings = draw(d, 1, 20);
    s.position = draw(d, 0, 1) ? ISO_POSITION_ROPE : ISO_POSITION_ALIBI;
    s.tie_word_embeddings = draw(d, 0, 1);
    if (s.layer_layout == ISO_LAYOUT_DENSE) return s;
    if (s.layer_layout == ISO_LAYOUT_FULL && draw(d, 0, 1)) s.intermediate_size = 0;
    s.num_experts = draw(d, 1, 7);
    s.num_experts_per_tok = draw(d, 1, s.num_experts);
    s.moe_intermediate_size = draw(d, 1, 20);
    s.shared_expert_intermediate_size = draw(d, 0, 1) * draw(d, 1, 20);
    s.norm_topk_prob = draw(d, 0, 1);
    s.router_aux_group = draw(d, 1, 2);
    return s;
}

static iso_counts count_as(const iso_shape *shape, iso_convention convention) {
    iso_counts counts;
    tiny_check(iso_count(&counts, shape, convention));
    return counts;
}

static void check_params(const iso_shape *shape) {
    iso_params params;
    int64_t all[ISO_N_COMPONENTS], active[ISO_N_COMPONENTS], total = 0;
    tiny_check(iso_params_create(&params, shape));
    iso_params_count(&params, false, all);
    iso_params_count(&params, true, active);
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++) {
        assert_int_equal(all[c], iso_count_params(shape, c));
        total += all[c];
    }
    for (iso_convention v = 0; v < ISO_N_CONVENTIONS; v++) {
        iso_counts counts = count_as(shape, v);
        int64_t n = 0, n_active = 0;
        for (int c = 0; c < ISO_N_COMPONENTS; c++) {
            bool counted = counts.components[c].params > 0;
            assert_int_equal(counts.components[c].params, counted ? all[c] : 0);
            assert_int_equal(counts.components[c].params_active, counted ? active[c] : 0);
            n += counted ? all[c] : 0;
            n_active += counted ? active[c] : 0;
        }
        assert_int_equal(counts.params_total, total);
        assert_int_equal(counts.params_nonvocab, n);
        assert_int_equal(counts.params_active, n_active);
    }
    iso_params_free(&params);
}

/* Tensors that decay first, none over another, none outside (params.h, I1 and I2). */
static void check_layout(const iso_shape *shape) {
    iso_params params;
    tiny_check(iso_params_create(&params, shape));
    char *taken = tiny_malloc(params.n_elements, 1);
    for (int64_t i = 0; i < params.n_items; i++) {
        const iso_param *p = &params.items[i];
        int64_t n = p->dims[0] * p->dims[1];
        assert_int_equal(p->decays, p->n_dims == 2);
        assert_true(p->offset >= (p->decays ? 0 : params.n_decay));
        assert_true(p->offset + n <= (p->decays ? params.n_decay : params.n_elements));
        for (int64_t j = 0; j < n; j++) assert_int_equal(taken[p->offset + j]++, 0);
    }
    free(taken);
    iso_params_free(&params);
}

static void test_parameters(void **state) {
    for (int i = 0; i < N_SHAPES; i++) {
        draws d = {.lane = (uint64_t)i};
        iso_shape shape = random_shape(&d, i);
        check_params(&shape);
        check_layout(&shape);
    }
}

/* Forward FLOPs per token of a component by a convention that counts it; all that count agree,
 * `causal` apart, which counts what a mask leaves and not what the paper's equations say. */
static int64_t forward_flops(const iso_shape *shape, iso_component component) {
    iso_counts paper = count_as(shape, ISO_CONVENTION_PAPER);
    iso_counts full = count_as(shape, ISO_CONVENTION_FULL);
    iso_counts with_head = count_as(shape, ISO_CONVENTION_WITH_HEAD);
    int64_t out = full.components[component].forward_flops;
    if (component == ISO_COMPONENT_HEAD)
        return with_head.components[ISO_COMPONENT_HEAD].forward_flops;
    if (paper.components[component].forward_flops > 0)
        assert_int_equal(out, paper.components[component].forward_flops);
    return out;
}

static void check_flops(const iso_counters *counters, const iso_shape *shape, int64_t n_tokens) {
    const iso_convention sums[] = {ISO_CONVENTION_PAPER, ISO_CONVENTION_FULL,
                                   ISO_CONVENTION_WITH_HEAD};
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++)
        if (counters->model_flops[c] != (__int128)3 * n_tokens * forward_flops(shape, c))
            fail_msg("%s: %lld FLOPs counted, 3 x %lld x %lld planned", iso_component_name(c),
                     (long long)counters->model_flops[c], (long long)n_tokens,
                     (long long)forward_flops(shape, c));
    for (int i = 0; i < 3; i++) {
        iso_counts counts = count_as(shape, sums[i]);
        __int128 total = 0;
        for (int c = 0; c < ISO_N_COMPONENTS; c++)
            if (counts.components[c].forward_flops > 0) total += counters->model_flops[c];
        assert_true(total == (__int128)counts.train_flops_per_token * n_tokens);
    }
}

/* By operation: FLOPs add up to all that ran; bytes of AdamW, whose operands are all there is, and
 * of the squares, which products have summed but for the vocabulary's matrices and the vectors. */
static void check_ops(const iso_trainer *trainer, iso_dtype dtype) {
    const iso_counters *counters = &trainer->train_counters;
    const iso_params *params = &trainer->model->params;
    const iso_shape *shape = &params->shape;
    int64_t item = iso_dtype_bytes(dtype), n_bytes = params->n_elements * item;
    int64_t n_rest = params->n_elements - params->n_decay +
                     (shape->tie_word_embeddings ? 1 : 2) * shape->vocab_size * shape->hidden_size;
    __int128 sum = 0;
    for (int op = 0; op < ISO_OP_N; op++) {
        sum += counters->op_flops[op];
        assert_true((counters->op_bytes[op] > 0) == (counters->calls[op] > 0));
    }
    assert_true(sum == counters->executed_flops);
    assert_true(counters->op_bytes[ISO_OP_SUM_SQUARES] == n_rest * item);
    assert_true(counters->op_bytes[ISO_OP_ADAMW] == 7 * n_bytes); /* reads four, writes three */
}

/* The norm is that of all gradients as they are, whoever has summed their squares. */
static void check_norm(const iso_trainer *trainer, iso_dtype dtype, double norm) {
    const void *grads = trainer->model->grads;
    double sum = 0;
    for (int64_t i = 0; i < trainer->model->params.n_elements; i++) {
        double g =
            dtype == ISO_F64 ? ((const double *)grads)[i] : (double)((const float *)grads)[i];
        sum += g * g;
    }
    if (fabs(norm - sqrt(sum)) > 1e-9 * norm) fail_msg("norm %.17g, of all %.17g", norm, sqrt(sum));
}

static void check_step(const iso_shape *shape, const char *backend, iso_dtype dtype,
                       int64_t micro_batch) {
    const int64_t B = 4, S = shape->max_position_embeddings;
    iso_config config = tiny_config(shape, B, micro_batch, 2);
    int32_t *inputs = tiny_malloc(B * S, sizeof *inputs);
    int32_t *targets = tiny_malloc(B * S, sizeof *targets);
    double *nats = tiny_malloc(micro_batch * S, sizeof *nats);
    iso_trainer *trainer;
    iso_step_result result;
    tiny_check(iso_trainer_create(&trainer, &config, backend, dtype, true));
    tiny_batch(inputs, targets, B, S, shape->vocab_size, 1);
    tiny_check(iso_trainer_step(trainer, 1, inputs, targets, &result));
    iso_trainer_settle(trainer);
    check_flops(&trainer->train_counters, shape, B * S);
    check_ops(trainer, dtype);
    check_norm(trainer, dtype, result.grad_norm);
    /* Scoring is booked elsewhere. */
    iso_counters before = trainer->train_counters;
    iso_model_score(trainer->model, inputs, targets, micro_batch, nats);
    assert_memory_equal(&before, &trainer->train_counters, sizeof before);
    iso_trainer_free(trainer);
    free(inputs);
    free(targets);
    free(nats);
}

static void test_flops_of_a_step(void **state) {
    for (int i = 0; i < N_SHAPES; i++) {
        draws d = {.lane = (uint64_t)i};
        iso_shape shape = random_shape(&d, i);
        int64_t micro_batch = draw(&d, 1, 2) * 2;
        if (i / 4 % 2 == 0)
            check_step(&shape, "ref", ISO_F64, micro_batch);
        else
            check_step(&shape, "cpu", ISO_F32, micro_batch);
    }
}

static void check_memory(iso_model_memory got, iso_model_memory want) {
    assert_int_equal(got.weights, want.weights);
    assert_int_equal(got.gradients, want.gradients);
    assert_int_equal(got.activations, want.activations);
    assert_int_equal(got.scratch, want.scratch);
}

/* One micro-batch on the real model. */
static void run_model(iso_model *model, int64_t B) {
    const iso_shape *s = &model->shape;
    int64_t T = B * s->max_position_embeddings;
    int32_t *inputs = tiny_malloc(T, sizeof *inputs), *targets = tiny_malloc(T, sizeof *targets);
    double *nats = tiny_malloc(T, sizeof *nats), aux;
    tiny_batch(inputs, targets, B, s->max_position_embeddings, s->vocab_size, 3);
    if (model->trains)
        iso_model_train(model, inputs, targets, B, 1, 1, nats, &aux);
    else
        iso_model_score(model, inputs, targets, B, nats);
    free(inputs);
    free(targets);
    free(nats);
}

static void check_plan(const iso_shape *shape, const char *backend, iso_dtype dtype, bool trains,
                       int n_threads) {
    const int64_t B = 2 * shape->router_aux_group;
    iso_counters planned = {.executed_flops = 0}, counted = {.executed_flops = 0};
    iso_pool *pool;
    iso_exec exec;
    iso_model *model;
    iso_model_memory plan, again;
    tiny_check(iso_pool_create(&pool, n_threads));
    tiny_check(iso_exec_create(&exec, backend, dtype, pool, &planned));
    /* A larger plan leaves no trace in the exec. */
    tiny_check(iso_model_plan(&again, shape, &exec, 4 * B, trains));
    planned = (iso_counters){.executed_flops = 0};
    tiny_check(iso_model_plan(&plan, shape, &exec, B, trains));
    exec.counters = &counted;
    tiny_check(iso_model_create(&model, shape, &exec, B, trains));
    check_memory(iso_model_memory_used(model), plan);
    run_model(model, B);
    check_memory(iso_model_memory_used(model), plan);
    assert_memory_equal(planned.model_flops, counted.model_flops, sizeof planned.model_flops);
    assert_true(planned.executed_flops == counted.executed_flops);
    assert_memory_equal(planned.calls, counted.calls, sizeof planned.calls);
    /* All that the plan has room for: the logits of every position, too. */
    int64_t n_rows = B * shape->max_position_embeddings;
    void *logits = tiny_malloc(n_rows * shape->vocab_size, iso_dtype_bytes(exec.dtype));
    iso_model_logits(model, 0, n_rows, logits);
    free(logits);
    assert_int_equal(exec.scratch.peak_bytes, plan.scratch);
    assert_int_equal(exec.scratch.used_bytes, 0);
    iso_model_free(model);
    iso_exec_release(&exec);
    iso_pool_free(pool);
}

static void test_plan(void **state) {
    for (int i = 0; i < N_SHAPES; i++) {
        draws d = {.lane = (uint64_t)i};
        iso_shape shape = random_shape(&d, i);
        int n_threads = (int)draw(&d, 1, 3);
        bool trains = draw(&d, 0, 1);
        if (draw(&d, 0, 1))
            check_plan(&shape, "ref", ISO_F64, trains, n_threads);
        else
            check_plan(&shape, "cpu", ISO_F32, trains, n_threads);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_flops_of_a_step),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests_name("counted", tests, NULL, NULL);
}
