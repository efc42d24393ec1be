/* test_scoring.c - scoring is training's forward: same numbers without gradients, from two sets of
 * buffers in place of one per layer, and for any part of the largest micro-batch.
 */
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST_SEQUENCES 4
#define N_SEQUENCES    2

typedef struct sample {
    int32_t *inputs, *targets;
    double *nats, *other_nats;
    int64_t n_tokens;
} sample;

static void sample_create(sample *x, const iso_shape *shape) {
    int64_t S = shape->max_position_embeddings, T = N_SEQUENCES * S;
    *x = (sample){.inputs = tiny_malloc(T, 4),
                  .targets = tiny_malloc(T, 4),
                  .nats = tiny_malloc(T, sizeof(double)),
                  .other_nats = tiny_malloc(T, sizeof(double)),
                  .n_tokens = T};
    tiny_batch(x->inputs, x->targets, N_SEQUENCES, S, shape->vocab_size, 8);
    x->targets[1] = x->targets[T - 1] = -1;
}

static void sample_free(sample *x) {
    free(x->inputs);
    free(x->targets);
    free(x->nats);
    free(x->other_nats);
}

/* The cross-entropy as the logits say it. */
static void check_nats(tiny_model *tiny, const sample *x, double tolerance) {
    int64_t V = tiny->model->shape.vocab_size;
    void *logits = tiny_malloc(x->n_tokens * V, 8);
    iso_model_forward(tiny->model, x->inputs, N_SEQUENCES);
    iso_model_logits(tiny->model, 0, x->n_tokens, logits);
    for (int64_t t = 0; t < x->n_tokens; t++) {
        double sum = 0, want = 0;
        for (int64_t v = 0; v < V; v++) sum += exp(tiny_get(logits, tiny->exec.dtype, t * V + v));
        if (x->targets[t] >= 0)
            want = log(sum) - tiny_get(logits, tiny->exec.dtype, t * V + x->targets[t]);
        if (!(fabs(x->nats[t] - want) <= tolerance))
            fail_msg("token %lld: %g nats, by the logits %g", (long long)t, x->nats[t], want);
    }
    /* Rows from the middle are the same rows. */
    void *row = tiny_malloc(V, 8);
    size_t row_bytes = (size_t)(V * iso_dtype_bytes(tiny->exec.dtype));
    iso_model_logits(tiny->model, 3, 1, row);
    double error = tiny_error(row, (char *)logits + 3 * row_bytes, tiny->exec.dtype, V);
    assert_true(error <= tolerance);
    free(row);
    free(logits);
}

static void check_scoring(const iso_shape *shape, const char *backend, iso_dtype dtype,
                          double tolerance) {
    sample x;
    tiny_model *trains, *scores;
    double aux;
    sample_create(&x, shape);
    tiny_model_create(&trains, shape, backend, dtype, MOST_SEQUENCES, true);
    tiny_model_create(&scores, shape, backend, dtype, N_SEQUENCES, false);
    size_t n_bytes = (size_t)x.n_tokens * sizeof *x.nats;
    iso_model_train(trains->model, x.inputs, x.targets, N_SEQUENCES, 1, 1, x.nats, &aux);
    iso_model_score(trains->model, x.inputs, x.targets, N_SEQUENCES, x.other_nats);
    assert_memory_equal(x.nats, x.other_nats, n_bytes);
    iso_model_score(scores->model, x.inputs, x.targets, N_SEQUENCES, x.other_nats);
    assert_memory_equal(x.nats, x.other_nats, n_bytes);
    assert_null(scores->model->grads);
    check_nats(trains, &x, tolerance);
    check_nats(scores, &x, tolerance);
    tiny_model_free(trains);
    tiny_model_free(scores);
    sample_free(&x);
}

static void test_scoring(void **state) {
    static const iso_layout layouts[] = {ISO_LAYOUT_DENSE, ISO_LAYOUT_FULL, ISO_LAYOUT_1DENSE,
                                         ISO_LAYOUT_INTERLEAVE};
    for (int i = 0; i < 4; i++)
        for (int64_t L = 2; L <= 5; L++) {
            iso_shape shape = tiny_shape(layouts[i]);
            shape.num_hidden_layers = L;
            shape.tie_word_embeddings = L % 2;
            check_scoring(&shape, "ref", ISO_F64, 1e-13);
            check_scoring(&shape, "cpu", ISO_F32, 1e-5);
        }
}

/* Layers of unlike size take turns on the same memory: here one that isn't sized for the larger
 * would have layer 2 write its routing over rows of layer 1's output, which its chain still reads.
 */
static void test_unlike_layers(void **state) {
    iso_shape shape = tiny_shape(ISO_LAYOUT_1DENSE);
    shape.num_hidden_layers = 4;
    shape.hidden_size = 32;
    shape.num_attention_heads = 2;
    shape.intermediate_size = 88;
    shape.max_position_embeddings = 512;
    shape.num_experts = 8;
    shape.num_experts_per_tok = 4;
    shape.moe_intermediate_size = 42;
    shape.shared_expert_intermediate_size = 22;
    check_scoring(&shape, "cpu", ISO_F32, 1e-4);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scoring),
                                       cmocka_unit_test(test_unlike_layers)};
    return cmocka_run_group_tests_name("scoring", tests, NULL, NULL);
}
