/* test_dry_run.c - what is counted, planned, allocated and executed is one and the same number.
 *
 * Random small configs of every layout, tied and untied, with and without shared experts, ALiBi and
 * RoPE, one micro-batch and several: what `isomoe count` says (iso_count, iso_memory_state, the dry
 * run) against the arenas of a real trainer, to the byte, and against what the op wrappers count in
 * a real step, to the FLOP (dry_run.h, I1). Then sizes far beyond any machine, and beyond 63 bits.
 */
#include "tiny_model.h"

#include "arch/memory.h"
#include "base/rng.h"
#include "train/dry_run.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_CONFIGS 200

typedef struct draws {
    uint64_t lane, n;
} draws;

/* Uniform in [least, most]. */
static int64_t draw(draws *d, int64_t least, int64_t most) {
    uint64_t x = iso_rng_u64(3, ISO_RNG_TEST, d->lane, d->n++);
    return least + (int64_t)(x % (uint64_t)(most - least + 1));
}

static iso_shape random_shape(draws *d, int i) {
    iso_shape s = iso_shape_default();
    s.layer_layout = (iso_layout)(i % 4);
    s.vocab_size = draw(d, 2, 300);
    s.num_attention_heads = draw(d, 1, 4);
    s.hidden_size = s.num_attention_heads * 2 * draw(d, 1, 7);
    s.num_hidden_layers = draw(d, 2, 5);
    s.intermediate_size = draw(d, 1, 50);
    s.max_position_embeddings = draw(d, 1, 24);
    s.position = draw(d, 0, 1) ? ISO_POSITION_ROPE : ISO_POSITION_ALIBI;
    s.tie_word_embeddings = draw(d, 0, 1);
    s.router_aux_group = draw(d, 1, 2);
    if (s.layer_layout == ISO_LAYOUT_DENSE) return s;
    if (s.layer_layout == ISO_LAYOUT_FULL && draw(d, 0, 1)) s.intermediate_size = 0;
    s.num_experts = draw(d, 1, 9);
    s.num_experts_per_tok = draw(d, 1, s.num_experts);
    s.moe_intermediate_size = draw(d, 1, 24);
    s.shared_expert_intermediate_size = draw(d, 0, 1) * draw(d, 1, 24);
    s.norm_topk_prob = draw(d, 0, 1);
    return s;
}

static iso_config random_config(draws *d, int i) {
    iso_shape shape = random_shape(d, i);
    int64_t micro_batch = shape.router_aux_group * draw(d, 1, 2);
    return tiny_config(&shape, micro_batch * draw(d, 1, 3), micro_batch, draw(d, 1, 3));
}

/* Parameters by arithmetic, in the table of tensors, and in memory: bytes of the tensors are those
 * that arithmetic says, bytes of the arenas those and the padding between tensors (params.h, I2).
 */
static void check_params(const iso_trainer *trainer, const iso_dry_run *run) {
    const iso_params *params = &trainer->model->params;
    int64_t by_component[ISO_N_COMPONENTS], item = iso_dtype_bytes(trainer->exec.dtype);
    int64_t n = 0, line = ISO_ALIGN_BYTES / (int64_t)sizeof(float);
    iso_state_memory state;
    tiny_check(iso_memory_state(&state, &params->shape, ISO_FORMAT_FP32));
    iso_params_count(params, false, by_component);
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++) {
        assert_int_equal(by_component[c], iso_count_params(&params->shape, c));
        n += by_component[c];
    }
    assert_int_equal(state.weights, n * 4);
    assert_int_equal(state.sum, n * 16);
    int64_t padding = params->n_elements - n;
    assert_true(padding >= 0 && padding < line * (params->n_items + 2));
    assert_int_equal(run->model.weights, (n + padding) * item);
    assert_int_equal(run->model.gradients, (n + padding) * item);
    assert_int_equal(run->moments_bytes, 2 * (n + padding) * item);
}

/* The arenas are what is really mapped, and full to the last byte. */
static void check_memory(const iso_trainer *trainer, const iso_dry_run *run) {
    const iso_model *model = trainer->model;
    assert_int_equal(model->weight_arena.size_bytes, run->model.weights);
    assert_int_equal(model->grad_arena.size_bytes, run->model.gradients);
    assert_int_equal(model->act_arena.size_bytes, run->model.activations);
    assert_int_equal(trainer->exec.scratch.size_bytes, run->model.scratch);
    assert_int_equal(trainer->optimizer.arena.size_bytes, run->moments_bytes);
    assert_int_equal(model->weight_arena.used_bytes, run->model.weights);
    assert_int_equal(model->grad_arena.used_bytes, run->model.gradients);
    assert_int_equal(model->act_arena.peak_bytes, run->model.activations);
    assert_int_equal(trainer->optimizer.arena.used_bytes, run->moments_bytes);
    assert_int_equal(run->sum_bytes, model->weight_arena.size_bytes + model->grad_arena.size_bytes +
                                         model->act_arena.size_bytes +
                                         trainer->exec.scratch.size_bytes +
                                         trainer->optimizer.arena.size_bytes);
}

/* What one optimizer step was planned to be, counted to be, and is by convention. */
static void check_flops(const iso_counters *counted, const iso_dry_run *run,
                        const iso_config *config) {
    int64_t tokens = iso_config_batch_tokens(config);
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++)
        if (counted->model_flops[c] != run->step.model_flops[c])
            fail_msg("%s: %lld FLOPs counted, %lld planned", iso_component_name(c),
                     (long long)counted->model_flops[c], (long long)run->step.model_flops[c]);
    assert_true(counted->executed_flops == run->step.executed_flops);
    for (iso_op op = 0; op < ISO_OP_N; op++)
        if (op != ISO_OP_SUM_SQUARES && op != ISO_OP_ADAMW)
            assert_int_equal(counted->calls[op], run->step.calls[op]);
    for (iso_convention v = 0; v < ISO_N_CONVENTIONS; v++) {
        iso_counts counts;
        __int128 sum = 0;
        tiny_check(iso_count(&counts, &config->model, v));
        /* The wrappers count attention without a mask: `causal` is a reading of the same step. */
        if (v == ISO_CONVENTION_CAUSAL) continue;
        for (iso_component c = 0; c < ISO_N_COMPONENTS; c++) {
            if (!iso_convention_has_flops(v, c)) continue;
            sum += counted->model_flops[c];
            assert_true(counted->model_flops[c] ==
                        (__int128)3 * tokens * counts.components[c].forward_flops);
        }
        assert_true(sum == (__int128)counts.train_flops_per_token * tokens);
    }
}

static void check_config(const iso_config *config, const char *backend, iso_dtype dtype) {
    int64_t B = config->train.batch_size, S = config->model.max_position_embeddings;
    int32_t *inputs = tiny_malloc(B * S, sizeof *inputs);
    int32_t *targets = tiny_malloc(B * S, sizeof *targets);
    iso_trainer *trainer;
    iso_step_result result;
    iso_dry_run run;
    tiny_check(iso_dry_run_make(&run, config, backend, dtype));
    assert_int_equal(run.micro_batch_size * run.n_micro_batches, B);
    assert_int_equal(run.n_threads, config->train.threads);
    tiny_check(iso_trainer_create(&trainer, config, backend, dtype, true));
    check_params(trainer, &run);
    check_memory(trainer, &run);
    tiny_batch(inputs, targets, B, S, config->model.vocab_size, 1);
    tiny_check(iso_trainer_step(trainer, 1, inputs, targets, &result));
    check_memory(trainer, &run); /* nothing grew in the step */
    assert_int_equal(trainer->exec.scratch.peak_bytes, run.model.scratch);
    check_flops(&trainer->train_counters, &run, config);
    iso_trainer_free(trainer);
    free(inputs);
    free(targets);
}

static void planned_is_allocated_and_counted(void **state) {
    int n_tied = 0, n_shared = 0, n_rope = 0, n_split = 0;
    for (int i = 0; i < N_CONFIGS; i++) {
        draws d = {.lane = (uint64_t)i};
        iso_config config = random_config(&d, i);
        if (draw(&d, 0, 3) == 0)
            check_config(&config, "ref", ISO_F64);
        else
            check_config(&config, "cpu", ISO_F32);
        n_tied += config.model.tie_word_embeddings;
        n_shared += config.model.shared_expert_intermediate_size > 0;
        n_rope += config.model.position == ISO_POSITION_ROPE;
        n_split += config.train.batch_size > config.train.micro_batch_size;
    }
    /* Every kind is there. */
    assert_true(n_tied > 50 && n_tied < 150 && n_rope > 50 && n_rope < 150);
    assert_true(n_shared > 40 && n_split > 80 && n_split < 180);
}

/* --- models that fit no machine --- */

static iso_config large_config(iso_layout layout, int64_t H, int64_t L, int64_t F, int64_t E,
                               int64_t K, int64_t De) {
    iso_shape s = iso_shape_default();
    s.vocab_size = 65536;
    s.hidden_size = H;
    s.num_hidden_layers = L;
    s.num_attention_heads = H / 128;
    s.intermediate_size = F;
    s.max_position_embeddings = 2048;
    s.layer_layout = layout;
    s.num_experts = E;
    s.num_experts_per_tok = K;
    s.moe_intermediate_size = De;
    s.shared_expert_intermediate_size = K * De;
    return tiny_config(&s, 1024, 8, 2);
}

/* 6.5e9 dense and MoE as in the paper, 1e12: planned, not allocated; state within its padding. */
static void plans_of_any_size(void **state) {
    const iso_config configs[] = {
        large_config(ISO_LAYOUT_DENSE, 4096, 32, 11008, 0, 0, 0),
        large_config(ISO_LAYOUT_1DENSE, 2048, 24, 5464, 83, 15, 440),
        large_config(ISO_LAYOUT_1DENSE, 7168, 61, 18432, 384, 8, 2048),
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        iso_dry_run run;
        iso_state_memory m;
        iso_counts counts;
        tiny_check(iso_dry_run_make(&run, &configs[i], "cpu", ISO_F32));
        tiny_check(iso_memory_state(&m, &configs[i].model, ISO_FORMAT_FP32));
        int64_t here = run.model.weights + run.model.gradients + run.moments_bytes;
        assert_true(here >= m.sum && here < m.sum + m.sum / 100000);
        check_flops(&run.step, &run, &configs[i]);
        tiny_check(iso_count(&counts, &configs[i].model, ISO_CONVENTION_PAPER));
        assert_true(counts.params_nonvocab > INT64_C(6400000000));
    }
}

/* Refused with a message, by the dry run and by the trainer, instead of ending the process. */
static void expect_refusal(const iso_config *config, const char *word) {
    iso_dry_run run;
    iso_trainer *trainer;
    assert_int_equal(iso_dry_run_make(&run, config, "cpu", ISO_F32), ISO_ERR_USAGE);
    if (!strstr(iso_error_message(), word))
        fail_msg("'%s' does not name %s", iso_error_message(), word);
    assert_int_equal(iso_trainer_create(&trainer, config, "cpu", ISO_F32, true), ISO_ERR_USAGE);
    assert_null(trainer);
}

static void sizes_beyond_all_bits(void **state) {
    iso_config config = large_config(ISO_LAYOUT_FULL, 128, 2, 0, 1024, 1024, 1);
    config.model.vocab_size = 256;
    config.train.batch_size = config.train.micro_batch_size = 1024; /* x 2048 x 1024 = 2^31 rows */
    expect_refusal(&config, "micro_batch_size");
    config.train.batch_size = config.train.micro_batch_size = 1016; /* the largest group below */
    tiny_check(iso_dry_run_check(&config));
    config = large_config(ISO_LAYOUT_FULL, 128, 1, 0, INT32_MAX, 1, 1);
    expect_refusal(&config, "num_experts");
    /* An expert's weights, transposed by every thread, in scratch: 2^64 bytes. */
    config = large_config(ISO_LAYOUT_FULL, 1 << 27, 1, 0, 1, 1, 1 << 26);
    config.model.max_position_embeddings = config.model.router_aux_group = 1;
    config.train.batch_size = config.train.micro_batch_size = 1;
    config.train.threads = 256;
    expect_refusal(&config, "63 bits");
    config = large_config(ISO_LAYOUT_DENSE, 128, INT32_MAX, 1, 0, 0, 0);
    expect_refusal(&config, "num_hidden_layers");
    config = large_config(ISO_LAYOUT_DENSE, 1 << 28, 1, 1, 0, 0, 0);
    expect_refusal(&config, "63 bits");
    config = large_config(ISO_LAYOUT_DENSE, 1 << 20, 1 << 10, 1 << 22, 0, 0, 0);
    config.model.max_position_embeddings = 1 << 24;
    config.train.micro_batch_size = 64;
    expect_refusal(&config, "63 bits");
}

/* What the check lets through breaks no assertion in the model or the ops (dry_run.h, I2): random
 * sizes of all magnitudes. */
static void checked_sizes_hold(void **state) {
    int n_planned = 0;
    for (int i = 0; i < 3000; i++) {
        draws d = {.lane = 100000 + (uint64_t)i};
        iso_config config = random_config(&d, i);
        iso_shape *s = &config.model;
        int64_t *const sizes[] = {&s->vocab_size,
                                  &s->hidden_size,
                                  &s->intermediate_size,
                                  &s->max_position_embeddings,
                                  &s->moe_intermediate_size,
                                  &config.train.micro_batch_size};
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            int64_t factor = INT64_C(1) << draw(&d, 0, 24);
            if (draw(&d, 0, 1) && *sizes[j] > 0) *sizes[j] *= factor;
        }
        config.train.batch_size = config.train.micro_batch_size;
        iso_dry_run run;
        iso_status status = iso_dry_run_make(&run, &config, "cpu", ISO_F32);
        assert_true(status == ISO_OK || status == ISO_ERR_USAGE);
        if (status == ISO_OK) assert_true(run.sum_bytes > 0);
        n_planned += status == ISO_OK;
    }
    assert_true(n_planned > 300 && n_planned < 2700);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_is_allocated_and_counted),
        cmocka_unit_test(plans_of_any_size),
        cmocka_unit_test(sizes_beyond_all_bits),
        cmocka_unit_test(checked_sizes_hold),
    };
    return cmocka_run_group_tests_name("dry run", tests, NULL, NULL);
}
