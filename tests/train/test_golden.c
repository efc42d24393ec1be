/* test_golden.c - isomoe against the independent reference in PyTorch (tests/reference).
 *
 * From the same weights and batches, double against double: logits and every gradient of the first
 * step, and loss, balance loss, gradient norm and learning rate over 50 steps with AdamW, to 1e-9.
 * In fp32 the fast kernels may be no further from the double curve than FP32_FACTOR times what
 * PyTorch's own fp32 is.
 */
#include "base/fileio.h"
#include "base/json.h"
#include "safetensors/safetensors.h"
#include "train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N_STEPS 50
/* Adam's first steps are nearly the gradient's signs: where a gradient is all but 0, as with
 * dense_rope_tied, the distance depends on which way single roundings fall, in PyTorch as here. */
#define FP32_FACTOR 4

static const char *const cases[] = {"dense_alibi",         "dense_rope_tied",
                                    "moe_1dense_alibi",    "moe_full_rope_norm",
                                    "moe_interleave_sqrt", "moe_all_experts_tied"};
#define N_CASES (sizeof cases / sizeof *cases)

static void check(iso_status status) {
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
}

typedef struct golden {
    const char *name;
    iso_config config;
    iso_safetensors weights, tensors;
    json_t *curves, *curves_fp32;
    int32_t *tokens; /* (50,B,S+1) */
    int32_t *inputs, *targets;
} golden;

static char *golden_path(const char *name, const char *file) {
    return iso_strf("%s/tests/golden/%s/%s", ISO_SOURCE_DIR, name, file);
}

static json_t *load_json(const char *name, const char *file) {
    char *path = golden_path(name, file);
    json_t *json;
    check(iso_json_load(&json, path));
    free(path);
    return json;
}

static void golden_open(golden *g, const char *name) {
    *g = (golden){.name = name};
    char *config = golden_path(name, "config.yaml");
    check(iso_config_load(&g->config, config, NULL, 0));
    check(iso_config_resolve(&g->config, NULL));
    g->config.train.threads = 2;
    char *weights = golden_path(name, "weights.safetensors");
    char *tensors = golden_path(name, "golden.safetensors");
    check(iso_safetensors_open(&g->weights, weights));
    check(iso_safetensors_open(&g->tensors, tensors));
    g->curves = load_json(name, "golden.json");
    g->curves_fp32 = load_json(name, "golden_fp32.json");
    char *tokens = golden_path(name, "tokens.bin"), *bytes;
    int64_t n_bytes, B = g->config.train.batch_size, S = g->config.model.max_position_embeddings;
    check(iso_file_read(&bytes, &n_bytes, tokens, (int64_t)1 << 30));
    assert_int_equal(n_bytes, N_STEPS * B * (S + 1) * 4);
    g->tokens = (int32_t *)(void *)bytes;
    g->inputs = malloc((size_t)(B * S) * 4);
    g->targets = malloc((size_t)(B * S) * 4);
    free(config);
    free(weights);
    free(tensors);
    free(tokens);
}

static void golden_close(golden *g) {
    iso_safetensors_close(&g->weights);
    iso_safetensors_close(&g->tensors);
    json_decref(g->curves);
    json_decref(g->curves_fp32);
    free(g->tokens);
    free(g->inputs);
    free(g->targets);
}

static void golden_batch(golden *g, int64_t i_step) {
    int64_t B = g->config.train.batch_size, S = g->config.model.max_position_embeddings;
    for (int64_t b = 0; b < B; b++) {
        const int32_t *row = g->tokens + (i_step * B + b) * (S + 1);
        memcpy(g->inputs + b * S, row, (size_t)S * 4);
        memcpy(g->targets + b * S, row + 1, (size_t)S * 4);
    }
}

static double curve(const json_t *curves, const char *key, int64_t i) {
    const json_t *value = json_array_get(json_object_get(curves, key), (size_t)i);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void load_weights(const golden *g, iso_trainer *trainer) {
    iso_tensor_list list;
    check(iso_trainer_model_tensors(trainer, &list));
    assert_int_equal(list.n, g->weights.n_tensors);
    for (int64_t i = 0; i < list.n; i++) {
        const iso_safetensor *want = iso_safetensors_find(&g->weights, list.tensors[i].name);
        assert_non_null(want);
        int64_t n = iso_safetensor_bytes(want) / 8;
        assert_int_equal(n * iso_dtype_bytes(list.tensors[i].dtype),
                         iso_safetensor_bytes(&list.tensors[i]));
        for (int64_t j = 0; j < n; j++) {
            double x;
            memcpy(&x, (const char *)want->data + j * 8, 8);
            if (trainer->exec.dtype == ISO_F64)
                ((double *)list.tensors[i].data)[j] = x;
            else
                ((float *)list.tensors[i].data)[j] = (float)x;
        }
    }
    iso_tensor_list_free(&list);
}

/* Largest difference over the tensor's largest element. */
static double tensor_error(const golden *g, const char *name, const double *got) {
    const iso_safetensor *want = iso_safetensors_find(&g->tensors, name);
    assert_non_null(want);
    double most = 0, scale = 0;
    for (int64_t i = 0; i < iso_safetensor_bytes(want) / 8; i++) {
        double x;
        memcpy(&x, (const char *)want->data + i * 8, 8);
        most = fmax(most, fabs(got[i] - x));
        scale = fmax(scale, fabs(x));
    }
    return scale > 0 ? most / scale : most;
}

/* Every gradient ("grad.") or weight ("final.") against the golden tensors. */
static void check_tensors(const golden *g, const iso_trainer *trainer, const char *prefix,
                          const void *base, double tolerance) {
    const iso_params *params = &trainer->model->params;
    for (int64_t i = 0; i < params->n_items; i++) {
        char *name = iso_strf("%s.%s", prefix, params->items[i].name);
        double error = tensor_error(g, name, (const double *)base + params->items[i].offset);
        if (!(error <= tolerance)) fail_msg("%s: %s is off by %g", g->name, name, error);
        free(name);
    }
}

static void check_first_step(golden *g, iso_trainer *trainer) {
    const iso_shape *s = &g->config.model;
    int64_t B = g->config.train.batch_size, T = B * s->max_position_embeddings;
    iso_step_result result;
    golden_batch(g, 0);
    double *logits = malloc((size_t)(T * s->vocab_size) * sizeof *logits);
    iso_model_forward(trainer->model, g->inputs, B);
    iso_model_logits(trainer->model, 0, T, logits);
    double error = tensor_error(g, "logits", logits);
    if (!(error <= 1e-12)) fail_msg("%s: logits are off by %g", g->name, error);
    free(logits);
    iso_trainer_gradients(trainer, g->inputs, g->targets, &result);
    check_tensors(g, trainer, "grad", trainer->model->grads, 1e-10);
}

static void check_value(const golden *g, int64_t i, const char *key, double got) {
    double want = curve(g->curves, key, i);
    if (!(fabs(got - want) <= 1e-9 * fmax(1, fabs(want))))
        fail_msg("%s: step %lld: %s %.15g, reference %.15g", g->name, (long long)i + 1, key, got,
                 want);
}

static void test_double_follows_reference(void **state) {
    golden g;
    golden_open(&g, *state);
    iso_trainer *trainer;
    check(iso_trainer_create(&trainer, &g.config, "ref", ISO_F64, true));
    load_weights(&g, trainer);
    check_first_step(&g, trainer);
    for (int64_t i = 0; i < N_STEPS; i++) {
        iso_step_result result;
        golden_batch(&g, i);
        check(iso_trainer_step(trainer, i + 1, g.inputs, g.targets, &result));
        check_value(&g, i, "loss", result.loss);
        check_value(&g, i, "grad_norm", result.grad_norm);
        check_value(&g, i, "lr", result.lr);
        if (trainer->is_moe) check_value(&g, i, "aux_loss", result.aux_loss);
    }
    iso_trainer_settle(trainer);
    check_tensors(&g, trainer, "final", trainer->model->weights, 1e-9);
    iso_trainer_free(trainer);
    golden_close(&g);
}

static void test_fp32_stays_as_close_as_pytorch(void **state) {
    golden g;
    golden_open(&g, *state);
    iso_trainer *trainer;
    check(iso_trainer_create(&trainer, &g.config, "cpu", ISO_F32, true));
    load_weights(&g, trainer);
    double ours = 0, theirs = 0;
    for (int64_t i = 0; i < N_STEPS; i++) {
        iso_step_result result;
        golden_batch(&g, i);
        check(iso_trainer_step(trainer, i + 1, g.inputs, g.targets, &result));
        double exact = curve(g.curves, "loss", i);
        ours = fmax(ours, fabs(result.loss - exact));
        theirs = fmax(theirs, fabs(curve(g.curves_fp32, "loss", i) - exact));
    }
    print_message("%s: fp32 against the double curve: isomoe %.2e, PyTorch %.2e\n", g.name, ours,
                  theirs);
    if (!(ours <= FP32_FACTOR * theirs)) fail_msg("%s: %g against %g", g.name, ours, theirs);
    iso_trainer_free(trainer);
    golden_close(&g);
}

int main(void) {
    struct CMUnitTest tests[2 * N_CASES];
    for (size_t i = 0; i < N_CASES; i++) {
        tests[2 * i] = (struct CMUnitTest){cases[i], test_double_follows_reference, NULL, NULL,
                                           (void *)cases[i]};
        tests[2 * i + 1] = (struct CMUnitTest){cases[i], test_fp32_stays_as_close_as_pytorch, NULL,
                                               NULL, (void *)cases[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
