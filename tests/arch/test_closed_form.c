/* The paper's equations against exact counts: without remainder where they are exact, within the
 * error that is known where they are not; and the misprints, shown to be wrong. */
#include "arch/closed_form.h"
#include "base/rng.h"

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define EXACT 1e-13 /* ratios are rounded quotients */

static iso_counts count(const iso_shape *shape) {
    iso_counts counts;
    if (iso_count(&counts, shape, ISO_CONVENTION_PAPER) != ISO_OK)
        fail_msg("%s", iso_error_message());
    return counts;
}

static void check_near(double got, double want, double relative) {
    if (!(fabs(got - want) <= relative * fabs(want))) fail_msg("%.17g, not %.17g", got, want);
}

/* --- random shapes --- */

static int64_t draw(uint64_t *counter, int64_t low, int64_t high) {
    uint64_t x = iso_rng_u64(5, ISO_RNG_TEST, 0, (*counter)++);
    return low + (int64_t)(x % (uint64_t)(high - low + 1));
}

/* Whole ratios: H a multiple of L, all widths of H; then every number of the equations is whole. */
static iso_shape whole_shape(uint64_t *counter) {
    iso_shape s = iso_shape_default();
    s.layer_layout = (iso_layout)draw(counter, 0, 3);
    s.num_hidden_layers = draw(counter, 2, 40);
    s.hidden_size = s.num_hidden_layers * draw(counter, 1, 40);
    s.num_attention_heads = 1;
    s.vocab_size = draw(counter, 1, 1000);
    s.intermediate_size = s.hidden_size * draw(counter, 1, 5);
    s.max_position_embeddings = s.hidden_size * draw(counter, 1, 3);
    if (s.layer_layout == ISO_LAYOUT_DENSE) return s;
    s.num_experts = draw(counter, 1, 50);
    s.num_experts_per_tok = draw(counter, 1, s.num_experts);
    s.moe_intermediate_size = s.hidden_size * draw(counter, 1, 3);
    s.shared_expert_intermediate_size = s.hidden_size * draw(counter, 0, 3);
    return s;
}

static void equal_without_remainder(void **state) {
    uint64_t counter = 0;
    for (int i = 0; i < 500; i++) {
        iso_shape shape = whole_shape(&counter);
        iso_counts counts = count(&shape);
        iso_closed_form form = iso_closed_form_of(&shape);
        assert_true(iso_closed_form_params(&form) == (double)counts.params_nonvocab);
        assert_true(iso_closed_form_params_active(&form) == (double)counts.params_active);
        assert_true(iso_closed_form_forward_flops(&form) == (double)counts.forward_flops_per_token);
    }
}

/* Any sizes: exact up to the rounding of the ratios. Equations 7 to 9 where all layers are MoE, 2
 * and 3 where none is. */
static void equal_up_to_rounding(void **state) {
    uint64_t counter = 1000000;
    for (int i = 0; i < 500; i++) {
        iso_shape shape = whole_shape(&counter);
        shape.hidden_size += draw(&counter, 0, 30);
        shape.intermediate_size += draw(&counter, 0, 30);
        shape.max_position_embeddings += draw(&counter, 0, 30);
        if (shape.num_experts > 0) shape.moe_intermediate_size += draw(&counter, 0, 30);
        iso_counts c = count(&shape);
        double N = (double)c.params_nonvocab, N_a = (double)c.params_active;
        double M = (double)c.forward_flops_per_token, L = (double)shape.num_hidden_layers;
        iso_closed_form form = iso_closed_form_of(&shape);
        check_near(iso_closed_form_params(&form), N, EXACT);
        check_near(iso_closed_form_params_active(&form), N_a, EXACT);
        check_near(iso_closed_form_forward_flops(&form), M, EXACT);
        /* Equation 8 has no layers in it, only r_a: exact for every layout, if r_a is. */
        check_near(iso_closed_form_flops_of_rate(N, N_a / N, form.zeta, form.gamma, L), M, EXACT);
        if (form.n_moe_layers == 0)
            check_near(iso_closed_form_flops_factored(N, 1, form.gamma, form.alpha), M, EXACT);
        if (form.n_dense_layers > 0) continue;
        double r_a = iso_closed_form_rate(form.beta, form.mu);
        check_near(r_a, c.activation_rate, EXACT);
        check_near(iso_closed_form_flops_factored(N, r_a, form.gamma, form.beta), M, EXACT);
    }
}

/* --- the paper's models --- */

typedef struct paper_run {
    int table;
    bool is_moe;
    int64_t H, L, A, F, E, K, De, Dse, S, N, N_a, M_train;
} paper_run;

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
    shape.layer_layout = run->is_moe ? ISO_LAYOUT_1DENSE : ISO_LAYOUT_DENSE;
    return shape;
}

/* The 80 rows of Tables 9-17; the integers are the paper's own, settled by its printed digits. */
static int64_t read_runs(paper_run *runs, int64_t n_most) {
    FILE *file = fopen(ISO_SOURCE_DIR "/tests/arch/paper_runs.csv", "r");
    char line[512], kind[8];
    int64_t n = 0;
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    for (; n < n_most && fgets(line, sizeof line, file); n++) {
        paper_run *r = &runs[n];
        int n_read = sscanf(line,
                            "%d,%*d,%7[^,],%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64
                            ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64 ",%" SCNd64
                            ",%*d,%*d,%*d,%*d,%" SCNd64,
                            &r->table, kind, &r->H, &r->L, &r->A, &r->F, &r->E, &r->K, &r->De,
                            &r->Dse, &r->S, &r->N, &r->N_a, &r->M_train);
        assert_int_equal(n_read, 14);
        r->is_moe = strcmp(kind, "moe") == 0;
    }
    fclose(file);
    return n;
}

static void on_the_papers_models(void **state) {
    static paper_run runs[100];
    assert_int_equal(read_runs(runs, 100), 80);
    for (int i = 0; i < 80; i++) {
        iso_shape shape = shape_of(&runs[i]);
        iso_closed_form form = iso_closed_form_of(&shape);
        double M = (double)runs[i].M_train / 3;
        check_near(iso_closed_form_params(&form), (double)runs[i].N, EXACT);
        check_near(iso_closed_form_params_active(&form), (double)runs[i].N_a, EXACT);
        check_near(iso_closed_form_forward_flops(&form), M, EXACT);
        /* Equation 6 as printed: N_a too few. */
        check_near(iso_closed_form_forward_flops_printed(&form), M - (double)runs[i].N_a, EXACT);
        assert_true(iso_closed_form_forward_flops_printed(&form) < 0.7 * M);
    }
}

/* The dense model that a table's MoEs stand against, by its hidden size. */
static int64_t rival_of(int table) {
    return table == 10 ? 2176 : table == 12 ? 4096 : table == 15 ? 2432 : 0;
}

static const paper_run *find_dense(const paper_run *runs, int64_t H) {
    for (int i = 0; i < 80; i++)
        if (!runs[i].is_moe && runs[i].H == H) return &runs[i];
    fail_msg("no dense run of hidden size %" PRId64, H);
    return NULL;
}

static void relative_compute(void **state) {
    static paper_run runs[100];
    assert_int_equal(read_runs(runs, 100), 80);
    double worst = 0, worst_sparse = 0, printed_least = 0, printed_most = 0;
    int n = 0;
    for (int i = 0; i < 80; i++) {
        if (!rival_of(runs[i].table)) continue;
        const paper_run *dense = find_dense(runs, rival_of(runs[i].table));
        iso_shape moe_shape = shape_of(&runs[i]), dense_shape = shape_of(dense);
        iso_ratios m = iso_shape_ratios(&moe_shape), d = iso_shape_ratios(&dense_shape);
        const iso_relative_compute of = {.alpha = d.alpha,
                                         .gamma_dense = d.gamma,
                                         .r_a = (double)runs[i].N_a / (double)runs[i].N,
                                         .beta = m.beta,
                                         .gamma_moe = m.gamma};
        double real = (double)runs[i].M_train / (double)dense->M_train;
        double error = fabs(iso_closed_form_relative_compute(&of) / real - 1);
        double printed = iso_closed_form_relative_compute_printed(&of) / real - 1;
        if (of.r_a < 0.12)
            worst_sparse = fmax(worst_sparse, error);
        else
            worst = fmax(worst, error);
        printed_least = fmin(printed_least, printed);
        printed_most = fmax(printed_most, printed);
        n++;
    }
    assert_int_equal(n, 29);
    assert_float_equal(worst, 0.0073, 0.00005);
    assert_float_equal(worst_sparse, 0.0241, 0.00005);
    assert_float_equal(printed_least, -0.655, 0.0005);
    assert_float_equal(printed_most, 0.608, 0.0005);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_without_remainder),
        cmocka_unit_test(equal_up_to_rounding),
        cmocka_unit_test(on_the_papers_models),
        cmocka_unit_test(relative_compute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
