/* test_attention.c - what attention may look at, and how distance enters.
 *
 * Causality: a later token reaches no earlier logit, bit for bit. Position: ALiBi and RoPE see the
 * distance between query and key and nothing else.
 */
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static iso_shape causal_shape(iso_layout layout, iso_position position) {
    iso_shape shape = tiny_shape(layout);
    shape.max_position_embeddings = 37;
    shape.hidden_size = 24;
    shape.num_attention_heads = 3;
    shape.position = position;
    return shape;
}

static void logits_of(tiny_model *tiny, const int32_t *inputs, int64_t B, void *logits) {
    iso_model_forward(tiny->model, inputs, B);
    iso_model_logits(tiny->model, 0, B * tiny->model->shape.max_position_embeddings, logits);
}

/* Changes the token at `position` of sequence 1 and compares the logits of every row. */
static void check_token(tiny_model *tiny, int32_t *inputs, int64_t B, int64_t position) {
    int64_t S = tiny->model->shape.max_position_embeddings, V = tiny->model->shape.vocab_size;
    int64_t row_bytes = V * iso_dtype_bytes(tiny->exec.dtype);
    char *before = tiny_malloc(B * S, row_bytes), *after = tiny_malloc(B * S, row_bytes);
    logits_of(tiny, inputs, B, before);
    int32_t *token = &inputs[S + position];
    *token = (int32_t)((*token + 1) % V);
    logits_of(tiny, inputs, B, after);
    for (int64_t t = 0; t < B * S; t++) {
        bool sees = t >= S + position && t < 2 * S;
        bool same = memcmp(before + t * row_bytes, after + t * row_bytes, (size_t)row_bytes) == 0;
        if (sees == same)
            fail_msg("token %lld changed: logits of row %lld %s", (long long)(S + position),
                     (long long)t, same ? "did not change" : "changed");
    }
    free(before);
    free(after);
}

static void check_causality(const iso_shape *shape, const char *backend, iso_dtype dtype) {
    const int64_t B = 3, S = shape->max_position_embeddings;
    int32_t *inputs = tiny_malloc(B * S, sizeof *inputs);
    int32_t *targets = tiny_malloc(B * S, sizeof *targets);
    tiny_model *tiny;
    tiny_model_create(&tiny, shape, backend, dtype, B, false);
    tiny_batch(inputs, targets, B, S, shape->vocab_size, 4);
    for (int64_t position = 0; position < S; position += position < 4 ? 1 : 11)
        check_token(tiny, inputs, B, position);
    check_token(tiny, inputs, B, S - 1);
    tiny_model_free(tiny);
    free(inputs);
    free(targets);
}

static void test_causal(void **state) {
    static const iso_layout layouts[] = {ISO_LAYOUT_DENSE, ISO_LAYOUT_FULL, ISO_LAYOUT_1DENSE,
                                         ISO_LAYOUT_INTERLEAVE};
    for (int i = 0; i < 4; i++)
        for (int rope = 0; rope < 2; rope++) {
            iso_shape shape =
                causal_shape(layouts[i], rope ? ISO_POSITION_ROPE : ISO_POSITION_ALIBI);
            check_causality(&shape, "ref", ISO_F64);
            check_causality(&shape, "cpu", ISO_F32);
        }
}

#define N_POSITIONS 16 /* = d, so that the values can be the unit vectors */
#define N_HEADS     3

static const double query[N_POSITIONS] = {0.9, -0.4, 0.3, 0.7, -0.8, 0.2, 0.5, -0.1,
                                          0.6, 0.1,  1.1, 0.4, -0.3, 0.8, 0.2, -0.6};
static const double key[N_POSITIONS] = {-0.2, 0.8, 0.5, -0.7, 0.3, 0.9,  -0.4, 0.6,
                                        0.1,  0.7, 0.2, -0.9, 0.4, -0.5, 0.3,  1.0};

/* q and k the same at every position, v the unit vector of the position: then attention's output
 * is its row of probabilities, and with the log-sum-exp the scores come back. Head a's query is
 * (a + 1) times the first's. */
static void fill_qkv(void *qkv, iso_dtype dtype) {
    const int64_t d = N_POSITIONS, H = N_HEADS * d;
    for (int64_t s = 0; s < N_POSITIONS; s++)
        for (int64_t a = 0; a < N_HEADS; a++)
            for (int64_t c = 0; c < d; c++) {
                int64_t i = s * 3 * H + a * d + c;
                tiny_set(qkv, dtype, i, query[c] * (double)(a + 1));
                tiny_set(qkv, dtype, i + H, key[c]);
                tiny_set(qkv, dtype, i + 2 * H, c == s);
            }
}

/* scores (A,S,S), of which the lower triangles are filled. */
static void scores_of(double *scores, const char *backend, iso_dtype dtype, const iso_attention *at,
                      bool rope) {
    const int64_t S = N_POSITIONS, H = N_HEADS * S;
    iso_counters counters = {.executed_flops = 0};
    iso_exec exec;
    tiny_check(iso_exec_create(&exec, backend, dtype, NULL, &counters));
    void *qkv = tiny_malloc(S * 3 * H, 8), *out = tiny_malloc(S * H, 8);
    void *lse = tiny_malloc(N_HEADS * S, 8);
    fill_qkv(qkv, dtype);
    for (int i = 0; i < 2; i++) { /* the first round measures */
        iso_tensor x = iso_tensor_2d(qkv, dtype, S, 3 * H);
        if (rope) iso_rope(&exec, x, at, 10000, false);
        iso_attention_fwd(&exec, iso_tensor_2d(out, dtype, S, H),
                          iso_tensor_2d(lse, dtype, N_HEADS, S), x, at);
        if (i == 0) tiny_check(iso_exec_start(&exec));
    }
    for (int64_t a = 0; a < N_HEADS; a++)
        for (int64_t i = 0; i < S; i++)
            for (int64_t j = 0; j < S; j++) {
                double p = tiny_get(out, dtype, i * H + a * S + j);
                if (j > i) assert_true(p == 0);
                if (j <= i) scores[(a * S + i) * S + j] = log(p) + tiny_get(lse, dtype, a * S + i);
            }
    iso_exec_release(&exec);
    free(qkv);
    free(out);
    free(lse);
}

static void test_alibi_is_relative(void **state) {
    float slopes[N_HEADS];
    double scores[N_HEADS * N_POSITIONS * N_POSITIONS], dot = 0;
    iso_alibi_slopes(slopes, N_HEADS);
    for (int c = 0; c < N_POSITIONS; c++) dot += query[c] * key[c];
    for (int i_case = 0; i_case < 4; i_case++) {
        bool is_sqrt = i_case % 2 == 1, fast = i_case / 2 == 1;
        const iso_attention at = {1, N_POSITIONS, N_HEADS, N_POSITIONS, slopes, is_sqrt};
        scores_of(scores, fast ? "cpu" : "ref", fast ? ISO_F32 : ISO_F64, &at, false);
        for (int a = 0; a < N_HEADS; a++)
            for (int i = 0; i < N_POSITIONS; i++)
                for (int j = 0; j <= i; j++) {
                    double far = is_sqrt ? sqrt(i - j) : i - j;
                    double want = (a + 1) * dot / sqrt(N_POSITIONS) - (double)slopes[a] * far;
                    double got = scores[(a * N_POSITIONS + i) * N_POSITIONS + j];
                    assert_true(fabs(got - want) <= (fast ? 1e-5 : 1e-12));
                }
    }
}

static void test_rope_is_relative(void **state) {
    const int S = N_POSITIONS;
    const iso_attention at = {1, N_POSITIONS, N_HEADS, N_POSITIONS, NULL, false};
    double scores[N_HEADS * N_POSITIONS * N_POSITIONS], dot = 0;
    for (int c = 0; c < S; c++) dot += query[c] * key[c];
    for (int fast = 0; fast < 2; fast++) {
        scores_of(scores, fast ? "cpu" : "ref", fast ? ISO_F32 : ISO_F64, &at, true);
        double tolerance = fast ? 1e-5 : 1e-12, spread = 0;
        for (int a = 0; a < N_HEADS; a++) {
            const double *s = scores + a * S * S;
            assert_true(fabs(s[0] - (a + 1) * dot / sqrt(S)) <= tolerance);
            for (int i = 1; i < S; i++)
                for (int j = 1; j <= i; j++)
                    assert_true(fabs(s[i * S + j] - s[(i - 1) * S + j - 1]) <= tolerance);
            for (int i = 1; i < S; i++) spread = fmax(spread, fabs(s[i * S] - s[0]));
        }
        assert_true(spread > 0.1); /* distance does matter */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_causal),
        cmocka_unit_test(test_alibi_is_relative),
        cmocka_unit_test(test_rope_is_relative),
    };
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
