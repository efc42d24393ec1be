/* Counting at the edges: sizes up to 2^31 and beyond, products up to 2^63 and beyond, every figure
 * against a recount in 128 bits that is written from the paper's sentences and not from count.c;
 * and what is refused is refused if and only if it does not fit. */
#include "arch/count.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef __int128 wide;

#define LIMIT ((wide)INT64_MAX)

static uint64_t draws;

static int64_t draw(int64_t low, int64_t high) {
    uint64_t x = iso_rng_u64(9, ISO_RNG_TEST, 0, draws++);
    return low + (int64_t)(x % (uint64_t)(high - low + 1));
}

/* Of every order of magnitude up to 2^bits - 1 alike. */
static int64_t draw_size(int bits) {
    int n = (int)draw(1, bits);
    return draw(INT64_C(1) << (n - 1), (INT64_C(1) << n) - 1);
}

static iso_shape random_shape(int bits) {
    iso_shape s = iso_shape_default();
    s.layer_layout = (iso_layout)draw(0, 3);
    s.num_attention_heads = draw_size(bits / 3 + 1);
    s.hidden_size = s.num_attention_heads * draw_size(bits * 2 / 3);
    s.num_hidden_layers = 1 + draw_size(bits * 2 / 3);
    s.intermediate_size = draw_size(bits);
    s.max_position_embeddings = draw_size(bits);
    s.vocab_size = draw_size(bits);
    s.tie_word_embeddings = draw(0, 1);
    if (s.layer_layout == ISO_LAYOUT_DENSE) return s;
    s.num_experts = draw_size(bits * 2 / 3);
    s.num_experts_per_tok = draw(1, s.num_experts);
    s.moe_intermediate_size = draw_size(bits * 2 / 3);
    s.shared_expert_intermediate_size = draw(0, 1) * draw_size(bits);
    return s;
}

typedef struct recount {
    wide params[ISO_N_COMPONENTS], active[ISO_N_COMPONENTS], flops[ISO_N_COMPONENTS];
} recount;

/* Every matrix: its parameters, how many of them a token uses, two FLOPs for each of those. */
static void add_matrix(recount *r, iso_component c, wide rows, wide cols, wide copies, wide used) {
    r->params[c] += rows * cols * copies;
    r->active[c] += rows * cols * used;
    r->flops[c] += 2 * rows * cols * used;
}

static recount recount_shape(const iso_shape *s, bool causal) {
    recount r = {{0}, {0}, {0}};
    wide H = s->hidden_size, L = s->num_hidden_layers, S = s->max_position_embeddings;
    wide moe[] = {[ISO_LAYOUT_DENSE] = 0,
                  [ISO_LAYOUT_FULL] = L,
                  [ISO_LAYOUT_1DENSE] = L - 1,
                  [ISO_LAYOUT_INTERLEAVE] = (L - L % 2) / 2};
    wide L_e = moe[s->layer_layout], L_d = L - L_e;
    add_matrix(&r, ISO_COMPONENT_ATTENTION, H, H, 4 * L, 4 * L); /* q, k, v, o */
    add_matrix(&r, ISO_COMPONENT_FFN_DENSE, H, s->intermediate_size, 3 * L_d, 3 * L_d);
    add_matrix(&r, ISO_COMPONENT_FFN_ROUTED, H, s->moe_intermediate_size, 3 * L_e * s->num_experts,
               3 * L_e * s->num_experts_per_tok);
    add_matrix(&r, ISO_COMPONENT_FFN_SHARED, H, s->shared_expert_intermediate_size, 3 * L_e,
               3 * L_e);
    add_matrix(&r, ISO_COMPONENT_ROUTER, H, s->num_experts, L_e, L_e);
    wide norms = (2 * L + 1) * H, vocabulary = H * s->vocab_size;
    r.params[ISO_COMPONENT_NORM] = r.active[ISO_COMPONENT_NORM] = norms;
    r.params[ISO_COMPONENT_EMBEDDING] = r.active[ISO_COMPONENT_EMBEDDING] = vocabulary;
    if (!s->tie_word_embeddings)
        r.params[ISO_COMPONENT_HEAD] = r.active[ISO_COMPONENT_HEAD] = vocabulary;
    r.flops[ISO_COMPONENT_HEAD] = 2 * vocabulary;
    /* q k and the weighted sum of v: a multiply-add of H for each position that is seen. A causal
     * mask leaves 1 + 2 + ... + S of S^2. */
    r.flops[ISO_COMPONENT_ATTENTION_SCORES] =
        causal ? 4 * H * L * (S * (S + 1) / 2) / S : 2 * 2 * H * S * L;
    r.flops[ISO_COMPONENT_SOFTMAX] = 3 * (wide)s->num_attention_heads * S * L;
    return r;
}

/* What a convention takes in, by name, as the header's table says. */
static bool takes(iso_convention v, iso_component c, bool flops) {
    bool is_paper = c == ISO_COMPONENT_ATTENTION || c == ISO_COMPONENT_FFN_DENSE ||
                    c == ISO_COMPONENT_FFN_ROUTED || c == ISO_COMPONENT_FFN_SHARED;
    if (is_paper || (flops && c == ISO_COMPONENT_ATTENTION_SCORES)) return true;
    if (v == ISO_CONVENTION_FULL)
        return c == ISO_COMPONENT_ROUTER ||
               c == (flops ? ISO_COMPONENT_SOFTMAX : ISO_COMPONENT_NORM);
    return v == ISO_CONVENTION_WITH_HEAD && flops && c == ISO_COMPONENT_HEAD;
}

/* What shape.h promises to refuse: all FFNs in all layers, so that 16 bytes a parameter leave int64
 * no room for doubt. */
static bool params_fit(const iso_shape *s) {
    wide H = s->hidden_size;
    wide ffn = (wide)s->num_experts * s->moe_intermediate_size +
               s->shared_expert_intermediate_size + s->intermediate_size;
    wide layer = H * (3 * ffn + 4 * H + s->num_experts + 2);
    return layer <= LIMIT && layer * s->num_hidden_layers <= LIMIT &&
           (layer * s->num_hidden_layers + 2 * H * s->vocab_size) * 16 <= LIMIT;
}

static bool fits_31_bits(const iso_shape *s) {
    return s->hidden_size <= INT32_MAX && s->num_hidden_layers <= INT32_MAX;
}

/* Returns whether the shape could be counted. */
static bool check_shape(const iso_shape *s, iso_convention v) {
    recount r = recount_shape(s, v == ISO_CONVENTION_CAUSAL);
    wide N = 0, N_a = 0, M = 0, all = 0;
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++) {
        N += takes(v, c, false) ? r.params[c] : 0;
        N_a += takes(v, c, false) ? r.active[c] : 0;
        M += takes(v, c, true) ? r.flops[c] : 0;
        all += r.params[c];
    }
    bool fits = fits_31_bits(s) && params_fit(s) && 3 * M <= LIMIT;
    iso_counts counts;
    iso_status status = iso_count(&counts, s, v);
    if (status != (fits ? ISO_OK : ISO_ERR_USAGE))
        fail_msg("%s: %s", fits ? "refused" : "not refused", iso_error_message());
    if (!fits) {
        assert_non_null(strstr(iso_error_message(), "model"));
        return false;
    }
    assert_true(counts.params_total == all && counts.params_nonvocab == N);
    assert_true(counts.params_active == N_a && counts.forward_flops_per_token == M);
    assert_true(counts.train_flops_per_token == 3 * M);
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++) {
        const iso_component_count *got = &counts.components[c];
        assert_true(got->params == (takes(v, c, false) ? r.params[c] : 0));
        assert_true(got->params_active == (takes(v, c, false) ? r.active[c] : 0));
        assert_true(got->forward_flops == (takes(v, c, true) ? r.flops[c] : 0));
        assert_int_equal(iso_convention_has_params(v, c), takes(v, c, false));
        assert_int_equal(iso_convention_has_flops(v, c), takes(v, c, true));
        assert_true(iso_count_params(s, c) == r.params[c]);
    }
    return true;
}

static void recounted_in_128_bits(void **state) {
    int n_counted = 0, n_refused = 0;
    for (int i = 0; i < 20000; i++) {
        iso_shape shape = random_shape(i % 2 ? 31 : 20);
        for (iso_convention v = 0; v < ISO_N_CONVENTIONS; v++)
            *(check_shape(&shape, v) ? &n_counted : &n_refused) += 1;
    }
    /* Both kinds must be there in numbers, or the test tests nothing. */
    assert_true(n_counted > 20000 && n_refused > 10000);
}

static iso_shape small(void) {
    iso_shape s = iso_shape_default();
    s.vocab_size = s.hidden_size = s.num_hidden_layers = s.num_attention_heads = 1;
    s.intermediate_size = s.max_position_embeddings = 1;
    return s;
}

static void expect_refusal(const iso_shape *shape, const char *key) {
    iso_counts counts;
    assert_int_equal(iso_count(&counts, shape, ISO_CONVENTION_PAPER), ISO_ERR_USAGE);
    if (!strstr(iso_error_message(), key))
        fail_msg("'%s' does not name %s", iso_error_message(), key);
}

/* Each size at 2^31 - 1, which is the most, at 2^31, and at the ends of int64. */
static void largest_sizes(void **state) {
    const struct {
        const char *key;
        size_t offset;
    } sizes[] = {
        {"vocab_size", offsetof(iso_shape, vocab_size)},
        {"num_hidden_layers", offsetof(iso_shape, num_hidden_layers)},
        {"intermediate_size", offsetof(iso_shape, intermediate_size)},
        {"max_position_embeddings", offsetof(iso_shape, max_position_embeddings)},
    };
    const int64_t too_large[] = {INT64_C(1) << 31, INT64_MAX, -1, INT64_MIN, 0};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        iso_shape shape = small();
        int64_t most = INT32_MAX;
        memcpy((char *)&shape + sizes[i].offset, &most, sizeof most);
        for (iso_convention v = 0; v < ISO_N_CONVENTIONS; v++) assert_true(check_shape(&shape, v));
        for (size_t j = 0; j < sizeof too_large / sizeof *too_large; j++) {
            memcpy((char *)&shape + sizes[i].offset, &too_large[j], sizeof too_large[j]);
            expect_refusal(&shape, sizes[i].key);
        }
    }
    iso_shape shape = small();
    shape.hidden_size = INT32_MAX; /* 4 H^2 parameters alone are 2^64 */
    expect_refusal(&shape, "parameters");
}

/* The last that fits and the first that does not, found by halving. */
static void exact_edges(void **state) {
    iso_shape shape = small();
    shape.hidden_size = shape.num_hidden_layers = 60000;
    int64_t good = 1, bad = INT32_MAX;
    while (bad - good > 1) {
        shape.max_position_embeddings = good + (bad - good) / 2;
        if (check_shape(&shape, ISO_CONVENTION_PAPER))
            good = shape.max_position_embeddings;
        else
            bad = shape.max_position_embeddings;
    }
    wide H = 60000, L = 60000, matrices = 2 * (4 * H * H + 3 * H) * L;
    assert_true(3 * (matrices + 4 * H * good * L) <= LIMIT);
    assert_true(3 * (matrices + 4 * H * bad * L) > LIMIT);
    shape.max_position_embeddings = bad;
    expect_refusal(&shape, "max_position_embeddings");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recounted_in_128_bits),
        cmocka_unit_test(largest_sizes),
        cmocka_unit_test(exact_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
