/* Counting: the paper's 80 runs to the last digit, a layer-by-layer recount of random shapes, the
 * sums (I2) and the factor three (I1). */
#include "arch/count.h"
#include "arch/steplaw.h"
#include "base/rng.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static iso_counts count(const iso_shape *shape, iso_convention convention) {
    iso_counts counts;
    if (iso_count(&counts, shape, convention) != ISO_OK) fail_msg("%s", iso_error_message());
    return counts;
}

/* One row of paper_runs.csv: the exact integers of the paper's Tables 9-17. */
typedef struct paper_run {
    int64_t H, L, A, F, E, K, De, Dse, S, N, N_a, router, norm, N_full, N_a_full, M, M_full, D;
    double lr_over_steplaw, lr, batch, batch_over_steplaw;
    bool moe;
} paper_run;

static bool read_run(paper_run *run, char *line) {
    char kind[8];
    memset(run, 0, sizeof *run);
    int n =
        sscanf(line,
               "%*d,%*d,%7[^,],%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64
               ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64
               ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%lf,%lf,%lf,%lf",
               kind, &run->H, &run->L, &run->A, &run->F, &run->E, &run->K, &run->De, &run->Dse,
               &run->S, &run->N, &run->N_a, &run->router, &run->norm, &run->N_full, &run->N_a_full,
               &run->M, &run->M_full, &run->D, &run->lr_over_steplaw, &run->lr, &run->batch,
               &run->batch_over_steplaw);
    run->moe = strcmp(kind, "moe") == 0;
    return n == 23;
}

static iso_shape shape_of(const paper_run *run) {
    iso_shape shape = iso_shape_default();
    shape.vocab_size = 65536;
    shape.hidden_size = run->H;
    shape.num_hidden_layers = run->L;
    shape.num_attention_heads = run->A;
    shape.intermediate_size = run->F;
    shape.max_position_embeddings = run->S;
    shape.num_experts = run->E;
    shape.num_experts_per_tok = run->K;
    shape.moe_intermediate_size = run->De;
    shape.shared_expert_intermediate_size = run->Dse;
    shape.layer_layout = run->moe ? ISO_LAYOUT_1DENSE : ISO_LAYOUT_DENSE;
    return shape;
}

static void check_run(const paper_run *run) {
    iso_shape shape = shape_of(run);
    iso_counts paper = count(&shape, ISO_CONVENTION_PAPER),
               full = count(&shape, ISO_CONVENTION_FULL);
    assert_int_equal(paper.params_nonvocab, run->N);
    assert_int_equal(paper.params_active, run->N_a);
    assert_int_equal(paper.train_flops_per_token, run->M);
    assert_int_equal(full.components[ISO_COMPONENT_ROUTER].params, run->router);
    assert_int_equal(full.components[ISO_COMPONENT_NORM].params, run->norm);
    assert_int_equal(full.params_nonvocab, run->N_full);
    assert_int_equal(full.params_active, run->N_a_full);
    assert_int_equal(full.train_flops_per_token, run->M_full);
    /* The table gives four digits. */
    double law = iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, (double)run->N, (double)run->D);
    assert_float_equal(run->lr / law, run->lr_over_steplaw, 6e-5);
    double batch = iso_steplaw_batch_tokens(ISO_STEPLAW_UNROUNDED, (double)run->D);
    assert_float_equal(run->batch * 2048.0 / batch, run->batch_over_steplaw, 6e-5);
}

static void paper_tables(void **state) {
    FILE *file = fopen(ISO_SOURCE_DIR "/tests/arch/paper_runs.csv", "r");
    assert_non_null(file);
    char line[512];
    int n_runs = 0;
    assert_non_null(fgets(line, sizeof line, file)); /* the header */
    for (; fgets(line, sizeof line, file); n_runs++) {
        paper_run run;
        if (!read_run(&run, line)) fail_msg("unreadable row: %s", line);
        check_run(&run);
    }
    fclose(file);
    assert_int_equal(n_runs, 80);
}

/* --- a recount, one layer and one matrix at a time --- */

static int64_t draw(uint64_t *counter, int64_t low, int64_t high) {
    return low +
           (int64_t)(iso_rng_u64(1, ISO_RNG_TEST, 0, (*counter)++) % (uint64_t)(high - low + 1));
}

static iso_shape random_shape(uint64_t *counter) {
    iso_shape shape = iso_shape_default();
    shape.layer_layout = (iso_layout)draw(counter, 0, 3);
    shape.num_attention_heads = draw(counter, 1, 9);
    shape.hidden_size = shape.num_attention_heads * draw(counter, 1, 40);
    shape.num_hidden_layers = draw(counter, 2, 9);
    shape.intermediate_size = draw(counter, 1, 500);
    shape.max_position_embeddings = draw(counter, 1, 300);
    shape.vocab_size = draw(counter, 1, 1000);
    shape.tie_word_embeddings = draw(counter, 0, 1);
    if (shape.layer_layout == ISO_LAYOUT_DENSE) return shape;
    shape.num_experts = draw(counter, 1, 20);
    shape.num_experts_per_tok = draw(counter, 1, shape.num_experts);
    shape.moe_intermediate_size = draw(counter, 1, 60);
    shape.shared_expert_intermediate_size = draw(counter, 0, 60);
    return shape;
}

typedef struct recount {
    int64_t N, N_a, forward, causal_scores, router, softmax, norm, total;
} recount;

static recount recount_shape(const iso_shape *s) {
    recount r = {0};
    for (int64_t layer = 0; layer < s->num_hidden_layers; layer++) {
        int64_t attention = s->hidden_size * s->hidden_size * 4, ffn, ffn_active;
        if (iso_shape_layer_is_moe(s, layer)) {
            ffn = ffn_active = 3 * s->hidden_size * s->shared_expert_intermediate_size;
            for (int64_t e = 0; e < s->num_experts; e++) {
                ffn += 3 * s->hidden_size * s->moe_intermediate_size;
                if (e < s->num_experts_per_tok)
                    ffn_active += 3 * s->hidden_size * s->moe_intermediate_size;
                r.router += s->hidden_size;
            }
        } else {
            ffn = ffn_active = 3 * s->hidden_size * s->intermediate_size;
        }
        r.N += attention + ffn;
        r.N_a += attention + ffn_active;
        r.forward += 2 * (attention + ffn_active) + 4 * s->hidden_size * s->max_position_embeddings;
        /* Position i sees i + 1 positions; the sum over a sequence, divided by S, is exact. */
        int64_t seen = 0;
        for (int64_t i = 0; i < s->max_position_embeddings; i++) seen += i + 1;
        r.causal_scores += 4 * s->hidden_size * seen;
        r.softmax += 3 * s->num_attention_heads * s->max_position_embeddings;
        r.norm += 2 * s->hidden_size;
    }
    r.norm += s->hidden_size;
    r.total =
        r.N + r.router + r.norm + s->vocab_size * s->hidden_size * (s->tie_word_embeddings ? 1 : 2);
    return r;
}

static void recounted_layer_by_layer(void **state) {
    uint64_t counter = 0;
    for (int round = 0; round < 500; round++) {
        iso_shape shape = random_shape(&counter);
        recount r = recount_shape(&shape);
        int64_t S = shape.max_position_embeddings, H = shape.hidden_size;
        int64_t scores = 4 * H * S * shape.num_hidden_layers;
        iso_counts paper = count(&shape, ISO_CONVENTION_PAPER);
        iso_counts full = count(&shape, ISO_CONVENTION_FULL);
        iso_counts causal = count(&shape, ISO_CONVENTION_CAUSAL);
        iso_counts head = count(&shape, ISO_CONVENTION_WITH_HEAD);
        assert_int_equal(paper.params_nonvocab, r.N);
        assert_int_equal(paper.params_active, r.N_a);
        assert_int_equal(paper.forward_flops_per_token, r.forward);
        assert_int_equal(paper.params_total, r.total);
        assert_int_equal(full.params_nonvocab, r.N + r.router + r.norm);
        assert_int_equal(full.params_active, r.N_a + r.router + r.norm);
        assert_int_equal(full.forward_flops_per_token, r.forward + 2 * r.router + r.softmax);
        assert_int_equal(causal.params_nonvocab, r.N);
        assert_int_equal((causal.forward_flops_per_token - r.forward + scores) * S,
                         r.causal_scores);
        assert_int_equal(head.forward_flops_per_token, r.forward + 2 * shape.vocab_size * H);
        assert_int_equal(head.params_nonvocab, r.N);
    }
}

static void sums_and_factor_three(void **state) {
    uint64_t counter = 1000000;
    for (int round = 0; round < 200; round++) {
        iso_shape shape = random_shape(&counter);
        for (iso_convention convention = 0; convention < ISO_N_CONVENTIONS; convention++) {
            iso_counts counts = count(&shape, convention);
            int64_t params = 0, active = 0, flops = 0, total = 0;
            for (iso_component i = 0; i < ISO_N_COMPONENTS; i++) {
                params += counts.components[i].params;
                active += counts.components[i].params_active;
                flops += counts.components[i].forward_flops;
                total += iso_count_params(&shape, i);
            }
            assert_int_equal(counts.params_nonvocab, params);
            assert_int_equal(counts.params_active, active);
            assert_int_equal(counts.forward_flops_per_token, flops);
            assert_int_equal(counts.params_total, total);
            assert_int_equal(counts.train_flops_per_token, 3 * flops);
            assert_true(counts.activation_rate > 0.0 && counts.activation_rate <= 1.0);
        }
    }
}

/* The paper's closed forms (its equations 1-6, the misprint in 6 corrected) are exact when every
 * layer is alike. */
static void closed_forms(void **state) {
    uint64_t counter = 2000000;
    for (int round = 0; round < 200; round++) {
        iso_shape shape = random_shape(&counter);
        if (shape.layer_layout != ISO_LAYOUT_DENSE && shape.layer_layout != ISO_LAYOUT_FULL)
            continue;
        bool moe = shape.layer_layout == ISO_LAYOUT_FULL;
        iso_ratios ratios = iso_shape_ratios(&shape);
        iso_counts counts = count(&shape, ISO_CONVENTION_PAPER);
        double cube = pow((double)shape.num_hidden_layers, 3.0) * ratios.zeta * ratios.zeta;
        double N = (4.0 + 3.0 * (moe ? ratios.mu : ratios.alpha)) * cube;
        double N_a = (4.0 + 3.0 * (moe ? ratios.beta : ratios.alpha)) * cube;
        double M = 2.0 * N_a + 4.0 * ratios.gamma * cube;
        assert_float_equal((double)counts.params_nonvocab / N, 1.0, 1e-12);
        assert_float_equal((double)counts.params_active / N_a, 1.0, 1e-12);
        assert_float_equal((double)counts.forward_flops_per_token / M, 1.0, 1e-12);
    }
}

static void names(void **state) {
    for (iso_convention i = 0; i < ISO_N_CONVENTIONS; i++) {
        iso_convention back;
        assert_true(iso_convention_from_name(&back, iso_convention_name(i)));
        assert_int_equal(back, i);
    }
    iso_convention convention;
    assert_false(iso_convention_from_name(&convention, "papers"));
    assert_string_equal(iso_component_name(ISO_COMPONENT_HEAD), "head");
    assert_string_equal(iso_component_name(ISO_COMPONENT_FFN_ROUTED), "ffn_routed");
}

static void too_large_to_count(void **state) {
    iso_shape shape = iso_shape_default();
    shape.vocab_size = shape.hidden_size = shape.intermediate_size = 1;
    shape.num_hidden_layers = shape.max_position_embeddings = INT32_MAX;
    shape.num_attention_heads = 1;
    iso_counts counts;
    assert_int_equal(iso_count(&counts, &shape, ISO_CONVENTION_PAPER), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "FLOPs"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paper_tables),
        cmocka_unit_test(recounted_layer_by_layer),
        cmocka_unit_test(sums_and_factor_three),
        cmocka_unit_test(closed_forms),
        cmocka_unit_test(names),
        cmocka_unit_test(too_large_to_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
