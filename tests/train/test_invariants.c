/* test_invariants.c - what must not change a step: how a batch is split, how many threads work,
 * whether a dense FFN is called a mixture of one expert, and a step that was refused.
 */
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DOUBLE_TOLERANCE 1e-12
#define FLOAT_TOLERANCE  1e-6
#define HALF_TOLERANCE   1e-3

/* A trainer with its batch. */
typedef struct bench {
    iso_trainer *trainer;
    int32_t *inputs, *targets; /* (B,S) */
    iso_step_result result;
} bench;

static void bench_open(bench *b, const iso_config *config, const char *backend, iso_dtype dtype) {
    int64_t T = config->train.batch_size * config->model.max_position_embeddings;
    *b = (bench){.inputs = tiny_malloc(T, 4), .targets = tiny_malloc(T, 4)};
    tiny_check(iso_trainer_create(&b->trainer, config, backend, dtype, true));
}

static void bench_close(bench *b) {
    iso_trainer_free(b->trainer);
    free(b->inputs);
    free(b->targets);
}

static void bench_batch(bench *b, int64_t step) {
    const iso_config *c = &b->trainer->config;
    tiny_batch(b->inputs, b->targets, c->train.batch_size, c->model.max_position_embeddings,
               c->model.vocab_size, (uint64_t)step);
}

static void bench_step(bench *b, int64_t step) {
    bench_batch(b, step);
    tiny_check(iso_trainer_step(b->trainer, step, b->inputs, b->targets, &b->result));
}

static void bench_gradients(bench *b, int64_t step) {
    bench_batch(b, step);
    iso_trainer_gradients(b->trainer, b->inputs, b->targets, &b->result);
}

static void check_close(double got, double want, double tolerance, const char *what) {
    if (!(fabs(got - want) <= tolerance * fabs(want)))
        fail_msg("%s: %.15g, wanted %.15g", what, got, want);
}

static char *element(const bench *b, void *base, int64_t i) {
    return (char *)base + i * iso_dtype_bytes(b->trainer->exec.dtype);
}

/* Without it what needs it is left out; tests/system/precision.sh says so. */
static bool has_bf16(void) {
    return strcmp(iso_exec_isa(ISO_BF16), "none") != 0;
}

/* ---- accumulation ---- */

/* A shape with more of everything than the gradient tests need, three pieces and a rest. */
static iso_shape middle_shape(iso_layout layout, iso_position position) {
    iso_shape s = tiny_shape(layout);
    s.vocab_size = 37;
    s.hidden_size = 24;
    s.intermediate_size = 40;
    s.max_position_embeddings = 17;
    s.position = position;
    s.initializer_range = 0.1;
    s.norm_topk_prob = layout == ISO_LAYOUT_INTERLEAVE;
    s.tie_word_embeddings = position == ISO_POSITION_ROPE;
    return s;
}

static void check_split(const iso_shape *shape, const char *backend, iso_dtype dtype,
                        iso_precision precision, double tolerance) {
    const int64_t B = 8;
    bench whole, split;
    iso_config config = tiny_config(shape, B, B, 2);
    config.train.precision = precision;
    bench_open(&whole, &config, backend, dtype);
    bench_gradients(&whole, 1);
    for (int64_t n_pieces = 2; n_pieces <= 4; n_pieces *= 2) {
        config.train.micro_batch_size = B / n_pieces;
        bench_open(&split, &config, backend, dtype);
        bench_gradients(&split, 1);
        check_close(split.result.loss, whole.result.loss, tolerance, "loss");
        check_close(split.result.aux_loss, whole.result.aux_loss, tolerance, "balance loss");
        check_close(split.result.load_imbalance, whole.result.load_imbalance, 0, "imbalance");
        const iso_params *params = &whole.trainer->model->params;
        for (int64_t i = 0; i < params->n_items; i++) {
            const iso_param *p = &params->items[i];
            double error = tiny_error(element(&split, split.trainer->model->grads, p->offset),
                                      element(&whole, whole.trainer->model->grads, p->offset),
                                      dtype, p->dims[0] * p->dims[1]);
            if (!(error <= tolerance))
                fail_msg("%s, %s, %d pieces: %s is off by %g", backend,
                         iso_layout_name(shape->layer_layout), (int)n_pieces, p->name, error);
        }
        bench_close(&split);
    }
    bench_close(&whole);
}

static void test_accumulation(void **state) {
    static const iso_layout layouts[] = {ISO_LAYOUT_DENSE, ISO_LAYOUT_FULL, ISO_LAYOUT_1DENSE,
                                         ISO_LAYOUT_INTERLEAVE};
    for (int i = 0; i < 4; i++)
        for (int rope = 0; rope < 2; rope++) {
            iso_shape shape =
                middle_shape(layouts[i], rope ? ISO_POSITION_ROPE : ISO_POSITION_ALIBI);
            check_split(&shape, "ref", ISO_F64, ISO_PRECISION_FP32, DOUBLE_TOLERANCE);
            check_split(&shape, "cpu", ISO_F32, ISO_PRECISION_FP32, FLOAT_TOLERANCE);
            /* A sum in another order may fall on the other side of a rounding. */
            if (has_bf16()) check_split(&shape, "cpu", ISO_F32, ISO_PRECISION_BF16, HALF_TOLERANCE);
        }
}

/* ---- threads ---- */

#define N_THREAD_STEPS  10
#define N_THREAD_COUNTS 4

static iso_shape wide_shape(iso_layout layout) {
    iso_shape s = middle_shape(layout, ISO_POSITION_ALIBI);
    s.vocab_size = 300;
    s.hidden_size = 64;
    s.num_attention_heads = 4;
    s.intermediate_size = 160;
    s.max_position_embeddings = 64;
    if (layout == ISO_LAYOUT_DENSE) return s;
    s.num_experts = 8;
    s.moe_intermediate_size = 24;
    s.shared_expert_intermediate_size = 32;
    return s;
}

static iso_shape odd_shape(iso_layout layout) {
    iso_shape s = middle_shape(layout, ISO_POSITION_ROPE);
    s.vocab_size = 131;
    s.hidden_size = 54;
    s.num_attention_heads = 3;
    s.intermediate_size = 71;
    s.max_position_embeddings = 43;
    if (layout == ISO_LAYOUT_DENSE) return s;
    s.num_experts = 5;
    s.moe_intermediate_size = 19;
    s.shared_expert_intermediate_size = 7;
    return s;
}

static void check_same_bits(const bench *got, const bench *want, int n_threads) {
    iso_trainer_settle(got->trainer);
    iso_trainer_settle(want->trainer);
    const iso_model *model = want->trainer->model;
    size_t n_bytes =
        (size_t)(model->params.n_elements * iso_dtype_bytes(want->trainer->exec.dtype));
    bool same =
        memcmp(got->trainer->model->weights, model->weights, n_bytes) == 0 &&
        memcmp(got->trainer->optimizer.exp_avg, want->trainer->optimizer.exp_avg, n_bytes) == 0 &&
        memcmp(got->trainer->optimizer.exp_avg_sq, want->trainer->optimizer.exp_avg_sq, n_bytes) ==
            0;
    if (!same) fail_msg("weights or moments differ on %d threads", n_threads);
}

/* The same run on several thread counts, side by side. */
static void check_threads(const iso_shape *shape, int64_t micro_batch, iso_precision precision) {
    static const int n_threads[N_THREAD_COUNTS] = {1, 2, 3, 7};
    bench runs[N_THREAD_COUNTS];
    for (int i = 0; i < N_THREAD_COUNTS; i++) {
        iso_config config = tiny_config(shape, 8, micro_batch, n_threads[i]);
        config.train.precision = precision;
        bench_open(&runs[i], &config, "cpu", ISO_F32);
        assert_int_equal(iso_exec_n_threads(&runs[i].trainer->exec), n_threads[i]);
    }
    for (int64_t step = 1; step <= N_THREAD_STEPS; step++)
        for (int i = 0; i < N_THREAD_COUNTS; i++) {
            bench_step(&runs[i], step);
            const iso_step_result *got = &runs[i].result, *want = &runs[0].result;
            if (memcmp(got, want, sizeof *got) != 0)
                fail_msg("%s, %d threads, step %d: loss %.17g and %.17g, norm %.17g and %.17g",
                         iso_layout_name(shape->layer_layout), n_threads[i], (int)step, got->loss,
                         want->loss, got->grad_norm, want->grad_norm);
        }
    for (int i = 1; i < N_THREAD_COUNTS; i++) check_same_bits(&runs[i], &runs[0], n_threads[i]);
    for (int i = 0; i < N_THREAD_COUNTS; i++) bench_close(&runs[i]);
}

static void test_threads(void **state) {
    static const iso_layout layouts[] = {ISO_LAYOUT_DENSE, ISO_LAYOUT_1DENSE};
    for (int i = 0; i < 2; i++) {
        iso_shape wide = wide_shape(layouts[i]), odd = odd_shape(layouts[i]);
        check_threads(&wide, 8, ISO_PRECISION_FP32);
        check_threads(&odd, 4, ISO_PRECISION_FP32);
        if (!has_bf16()) continue;
        check_threads(&wide, 8, ISO_PRECISION_BF16);
        check_threads(&odd, 4, ISO_PRECISION_BF16);
    }
}

/* ---- precision ---- */

/* Gradients of bf16 stay with those of double: a rounding is 2^-9 of a number, a handful of them
 * follow each other, and sums over tokens take most of it out again. */
static void check_bf16(const iso_shape *shape) {
    bench half, exact;
    iso_config config = tiny_config(shape, 8, 8, 2);
    bench_open(&exact, &config, "ref", ISO_F64);
    config.train.precision = ISO_PRECISION_BF16;
    bench_open(&half, &config, "cpu", ISO_F32);
    assert_int_equal(half.trainer->exec.narrow, ISO_BF16);
    bench_gradients(&exact, 1);
    bench_gradients(&half, 1);
    check_close(half.result.loss, exact.result.loss, 1e-3, "loss");
    assert_true(half.result.loss != exact.result.loss);
    const iso_params *params = &exact.trainer->model->params;
    for (int64_t i = 0; i < params->n_items; i++) {
        const iso_param *p = &params->items[i];
        double squares = 0, scale = 0;
        for (int64_t j = p->offset; j < p->offset + p->dims[0] * p->dims[1]; j++) {
            double want = tiny_get(exact.trainer->model->grads, ISO_F64, j);
            double off = tiny_get(half.trainer->model->grads, ISO_F32, j) - want;
            squares += off * off;
            scale += want * want;
        }
        if (!(squares <= 0.03 * 0.03 * scale))
            fail_msg("%s: off by %g", p->name, sqrt(squares / scale));
    }
    bench_close(&half);
    bench_close(&exact);
}

static void test_bf16_is_close(void **state) {
    if (!has_bf16()) skip();
    iso_shape dense = wide_shape(ISO_LAYOUT_DENSE), odd = odd_shape(ISO_LAYOUT_DENSE);
    check_bf16(&dense);
    check_bf16(&odd);
    /* All experts for every token: a choice that falls otherwise is no rounding. */
    iso_shape moe = wide_shape(ISO_LAYOUT_1DENSE);
    moe.num_experts_per_tok = moe.num_experts;
    check_bf16(&moe);
}

/* ---- a mixture of one expert ---- */

/* The name of the same weight in the dense model. */
static void dense_name(char out[ISO_PARAM_NAME_BYTES], const iso_param *p) {
    static const char expert[] = "experts.0.";
    memcpy(out, p->name, ISO_PARAM_NAME_BYTES);
    char *found = strstr(out, expert);
    if (!found) return;
    const char *rest = found + strlen(expert);
    memmove(found, rest, strlen(rest) + 1);
}

static void copy_weights(bench *mixture, const bench *dense) {
    const iso_params *params = &mixture->trainer->model->params;
    int64_t item = iso_dtype_bytes(dense->trainer->exec.dtype);
    for (int64_t i = 0; i < params->n_items; i++) {
        const iso_param *p = &params->items[i];
        if (p->field == ISO_FIELD_ROUTER) continue; /* whatever it says, there is no choice */
        char name[ISO_PARAM_NAME_BYTES];
        dense_name(name, p);
        const iso_param *from = tiny_param(&dense->trainer->model->params, name);
        assert_int_equal(p->dims[0] * p->dims[1], from->dims[0] * from->dims[1]);
        memcpy(element(mixture, mixture->trainer->model->weights, p->offset),
               element(dense, dense->trainer->model->weights, from->offset),
               (size_t)(p->dims[0] * p->dims[1] * item));
    }
}

static void compare_gradients(const bench *mixture, const bench *dense, double tolerance) {
    const iso_params *params = &mixture->trainer->model->params;
    iso_dtype dtype = dense->trainer->exec.dtype;
    for (int64_t i = 0; i < params->n_items; i++) {
        const iso_param *p = &params->items[i];
        int64_t n = p->dims[0] * p->dims[1];
        const void *got = element(mixture, mixture->trainer->model->grads, p->offset);
        char name[ISO_PARAM_NAME_BYTES];
        if (p->field == ISO_FIELD_ROUTER) {
            for (int64_t j = 0; j < n; j++) assert_true(tiny_get(got, dtype, j) == 0);
            continue;
        }
        dense_name(name, p);
        const iso_param *from = tiny_param(&dense->trainer->model->params, name);
        double error =
            tiny_error(got, element(dense, dense->trainer->model->grads, from->offset), dtype, n);
        if (!(error <= tolerance)) fail_msg("%s is off by %g", p->name, error);
    }
}

static void compare_logits(const bench *mixture, const bench *dense, double tolerance) {
    const iso_config *c = &dense->trainer->config;
    int64_t B = c->train.batch_size, n_rows = B * c->model.max_position_embeddings;
    int64_t n = n_rows * c->model.vocab_size;
    iso_dtype dtype = dense->trainer->exec.dtype;
    void *got = tiny_malloc(n, 8), *want = tiny_malloc(n, 8);
    iso_model_forward(mixture->trainer->model, mixture->inputs, B);
    iso_model_logits(mixture->trainer->model, 0, n_rows, got);
    iso_model_forward(dense->trainer->model, dense->inputs, B);
    iso_model_logits(dense->trainer->model, 0, n_rows, want);
    double error = tiny_error(got, want, dtype, n);
    if (!(error <= tolerance)) fail_msg("logits are off by %g", error);
    free(got);
    free(want);
}

static void check_one_expert(iso_position position, bool norm_topk, const char *backend,
                             iso_dtype dtype, double tolerance) {
    iso_shape shape = middle_shape(ISO_LAYOUT_DENSE, position);
    bench dense, mixture;
    iso_config config = tiny_config(&shape, 4, 4, 1);
    bench_open(&dense, &config, backend, dtype);
    shape.layer_layout = ISO_LAYOUT_FULL;
    shape.num_experts = shape.num_experts_per_tok = 1;
    shape.moe_intermediate_size = shape.intermediate_size;
    shape.intermediate_size = 0;
    shape.router_aux_group = 2;
    shape.norm_topk_prob = norm_topk;
    config = tiny_config(&shape, 4, 4, 1);
    bench_open(&mixture, &config, backend, dtype);
    copy_weights(&mixture, &dense);
    for (int64_t step = 1; step <= 5; step++) {
        /* AdamW's first steps turn a gradient's rounding into a step of its own. */
        if (dtype == ISO_F32) copy_weights(&mixture, &dense);
        bench_gradients(&dense, step);
        bench_gradients(&mixture, step);
        compare_gradients(&mixture, &dense, tolerance);
        compare_logits(&mixture, &dense, tolerance);
        bench_step(&dense, step);
        bench_step(&mixture, step);
        check_close(mixture.result.loss, dense.result.loss, tolerance, "loss");
        check_close(mixture.result.grad_norm, dense.result.grad_norm, tolerance, "norm");
        check_close(mixture.result.aux_loss, 1, tolerance, "balance loss");
    }
    bench_close(&dense);
    bench_close(&mixture);
}

static void test_one_expert_is_dense(void **state) {
    for (int norm_topk = 0; norm_topk < 2; norm_topk++)
        for (int rope = 0; rope < 2; rope++) {
            iso_position position = rope ? ISO_POSITION_ROPE : ISO_POSITION_ALIBI;
            check_one_expert(position, norm_topk, "ref", ISO_F64, DOUBLE_TOLERANCE);
            check_one_expert(position, norm_topk, "cpu", ISO_F32, FLOAT_TOLERANCE);
        }
}

/* ---- steps that must be refused ---- */

/* ---- updates left for the next forward (optimizer.h) ---- */

/* One run that leaves them, one that brings weights up to date after every step. */
static void check_late_updates(const iso_shape *shape, int n_threads, iso_precision precision) {
    iso_config config = tiny_config(shape, 8, 4, n_threads);
    config.train.precision = precision;
    bench late, settled;
    bench_open(&late, &config, "cpu", ISO_F32);
    bench_open(&settled, &config, "cpu", ISO_F32);
    int64_t L = shape->num_hidden_layers;
    for (int64_t step = 1; step <= 3; step++) {
        bench_step(&late, step);
        bench_step(&settled, step);
        assert_int_equal(late.trainer->optimizer.first_late, 1);
        iso_trainer_settle(settled.trainer);
        assert_int_equal(settled.trainer->optimizer.first_late, L);
    }
    /* A forward is as good as settling. */
    iso_model_forward(late.trainer->model, late.inputs, 1);
    assert_int_equal(late.trainer->optimizer.first_late, L);
    check_same_bits(&late, &settled, n_threads);
    bench_close(&late);
    bench_close(&settled);
}

static void test_late_updates(void **state) {
    static const iso_layout layouts[2] = {ISO_LAYOUT_DENSE, ISO_LAYOUT_INTERLEAVE};
    for (int i = 0; i < 2; i++)
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            iso_shape wide = wide_shape(layouts[i]), odd = odd_shape(layouts[i]);
            check_late_updates(&wide, n_threads, ISO_PRECISION_FP32);
            check_late_updates(&odd, n_threads, ISO_PRECISION_FP32);
            if (has_bf16()) check_late_updates(&wide, n_threads, ISO_PRECISION_BF16);
        }
}

static void *copy_of(const void *data, int64_t n_bytes) {
    void *out = tiny_malloc(n_bytes, 1);
    memcpy(out, data, (size_t)n_bytes);
    return out;
}

/* Plants x into the middle of one tensor, steps, and looks at everything the step may touch; then
 * heals the weight and sees that the next step is what it would have been. */
static void check_refused(bench *b, bench *untouched, const iso_param *p, double x) {
    iso_trainer *trainer = b->trainer;
    iso_dtype dtype = trainer->exec.dtype;
    int64_t n_bytes = trainer->model->params.n_elements * iso_dtype_bytes(dtype);
    int64_t i = p->offset + p->dims[0] * p->dims[1] / 2;
    void *state[3] = {trainer->model->weights, trainer->optimizer.exp_avg,
                      trainer->optimizer.exp_avg_sq};
    void *before[3];
    iso_trainer_settle(trainer);
    double healthy = tiny_get(trainer->model->weights, dtype, i);
    tiny_set(trainer->model->weights, dtype, i, x);
    for (int j = 0; j < 3; j++) before[j] = copy_of(state[j], n_bytes);
    bench_batch(b, 3);
    iso_status status = iso_trainer_step(trainer, 3, b->inputs, b->targets, &b->result);
    assert_int_equal(status, ISO_ERR_NONFINITE);
    assert_non_null(strstr(iso_error_message(), "step 3"));
    bool names_tensor = false;
    for (int64_t j = 0; j < trainer->model->params.n_items; j++)
        names_tensor |= strstr(iso_error_message(), trainer->model->params.items[j].name) != NULL;
    if (!names_tensor) fail_msg("no tensor is named: %s", iso_error_message());
    for (int j = 0; j < 3; j++) {
        if (memcmp(before[j], state[j], (size_t)n_bytes) != 0)
            fail_msg("%g in %s: the refused step changed state %d", x, p->name, j);
        free(before[j]);
    }
    tiny_set(trainer->model->weights, dtype, i, healthy);
    bench_gradients(b, 3);
    bench_gradients(untouched, 3);
    assert_memory_equal(&b->result, &untouched->result, sizeof b->result);
    if (memcmp(trainer->model->grads, untouched->trainer->model->grads, (size_t)n_bytes) != 0)
        fail_msg("%g in %s: a trace is left in the next gradient", x, p->name);
}

static void check_nonfinite(iso_layout layout, const char *backend, iso_dtype dtype) {
    iso_shape shape = middle_shape(layout, ISO_POSITION_ALIBI);
    /* Every expert works on every token, so that no fault can hide where nothing reads it. */
    shape.num_experts_per_tok = shape.num_experts;
    bench b, untouched;
    iso_config config = tiny_config(&shape, 8, 4, 2);
    bench_open(&b, &config, backend, dtype);
    bench_open(&untouched, &config, backend, dtype);
    for (int64_t step = 1; step <= 2; step++) {
        bench_step(&b, step);
        bench_step(&untouched, step);
    }
    const iso_params *params = &b.trainer->model->params;
    for (int64_t i = 0; i < params->n_items; i++) {
        check_refused(&b, &untouched, &params->items[i], NAN);
        check_refused(&b, &untouched, &params->items[i], i % 2 ? INFINITY : -INFINITY);
    }
    bench_close(&b);
    bench_close(&untouched);
}

static void test_nonfinite_changes_nothing(void **state) {
    check_nonfinite(ISO_LAYOUT_DENSE, "ref", ISO_F64);
    check_nonfinite(ISO_LAYOUT_DENSE, "cpu", ISO_F32);
    check_nonfinite(ISO_LAYOUT_1DENSE, "ref", ISO_F64);
    check_nonfinite(ISO_LAYOUT_1DENSE, "cpu", ISO_F32);
}

/* A finite loss with gradients whose squares overflow is no better. */
static void test_infinite_norm_changes_nothing(void **state) {
    iso_shape shape = middle_shape(ISO_LAYOUT_DENSE, ISO_POSITION_ALIBI);
    iso_config config = tiny_config(&shape, 4, 4, 1);
    bench b;
    bench_open(&b, &config, "ref", ISO_F64);
    iso_model *model = b.trainer->model;
    int64_t n_bytes = model->params.n_elements * (int64_t)sizeof(double);
    ((double *)model->weights)[tiny_param(&model->params, "lm_head.weight")->offset] = 1e200;
    void *before = copy_of(model->weights, n_bytes);
    bench_batch(&b, 1);
    iso_status status = iso_trainer_step(b.trainer, 1, b.inputs, b.targets, &b.result);
    assert_int_equal(status, ISO_ERR_NONFINITE);
    assert_true(isfinite(b.result.loss) && !isfinite(b.result.grad_norm));
    assert_memory_equal(model->weights, before, (size_t)n_bytes);
    free(before);
    bench_close(&b);
}

/* The gaps between tensors stay zero (params.h, I2): a norm over the flat array is one over the
 * tensors. */
static void test_gaps_stay_zero(void **state) {
    iso_shape shape = odd_shape(ISO_LAYOUT_INTERLEAVE);
    iso_config config = tiny_config(&shape, 8, 8, 2);
    bench b;
    bench_open(&b, &config, "cpu", ISO_F32);
    for (int64_t step = 1; step <= 3; step++) bench_step(&b, step);
    iso_trainer_settle(b.trainer);
    const iso_params *params = &b.trainer->model->params;
    char *taken = tiny_malloc(params->n_elements, 1);
    int64_t n_gaps = 0;
    for (int64_t i = 0; i < params->n_items; i++)
        memset(taken + params->items[i].offset, 1,
               (size_t)(params->items[i].dims[0] * params->items[i].dims[1]));
    for (int64_t i = 0; i < params->n_elements; i++) {
        if (taken[i]) continue;
        n_gaps++;
        assert_true(tiny_get(b.trainer->model->weights, ISO_F32, i) == 0);
        assert_true(tiny_get(b.trainer->model->grads, ISO_F32, i) == 0);
        assert_true(tiny_get(b.trainer->optimizer.exp_avg_sq, ISO_F32, i) == 0);
    }
    assert_true(n_gaps > 0);
    free(taken);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accumulation),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_bf16_is_close),
        cmocka_unit_test(test_one_expert_is_dense),
        cmocka_unit_test(test_nonfinite_changes_nothing),
        cmocka_unit_test(test_infinite_norm_changes_nothing),
        cmocka_unit_test(test_late_updates),
        cmocka_unit_test(test_gaps_stay_zero),
    };
    return cmocka_run_group_tests_name("invariants", tests, NULL, NULL);
}
