/* prove.c - what is claimed of single operations, measured: long attention against the peak of the
 * moment, experts of very unequal load against balanced ones. Prints Markdown.
 *
 * Everything that is compared is timed in turn, so that what else the machine does hits all alike.
 */
#include "checkops.h"

#include "base/clock.h"
#include "ops/peak.h"

#include <stdio.h>
#include <stdlib.h>

enum { N_ROUNDS = 9, N_BURSTS = 4, N_EXPERT_OPS = 6, LONG = 4096, LONG_H = 512 };
enum { N_CALLS = 10 }; /* of an experts' operation, a millisecond or two each, in a sample */

/* An operation that is ready to run. */
typedef struct subject {
    check_case c;
    iso_exec ex;
    iso_counters counters;
    void *data[CHECK_OPERANDS];
} subject;

/* The caller has set sizes; false if the machine lacks the precision. */
static bool subject_create(subject *s, iso_dtype dtype, iso_pool *pool) {
    s->c.seed = 1;
    s->c.rounds = dtype == ISO_BF16;
    check_case_setup(&s->c);
    if (!check_exec_create(&s->ex, &s->c, iso_exec_isa(dtype), dtype, pool, &s->counters)) {
        check_case_release(&s->c);
        return false;
    }
    check_buffers_create(&s->c, dtype, s->data);
    check_case_call(&s->c, &s->ex, s->data);
    return true;
}

static void subject_release(subject *s) {
    check_buffers_free(&s->c, s->data);
    iso_exec_release(&s->ex);
    check_case_release(&s->c);
}

static double seconds_of(subject *s, int n_calls) {
    double start = iso_clock_s();
    for (int i = 0; i < n_calls; i++) check_case_call(&s->c, &s->ex, s->data);
    return (iso_clock_s() - start) / n_calls;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* "0.712 (0.695 to 0.720)": median, least, most. */
static void print_range(double values[N_ROUNDS], int n_digits) {
    qsort(values, N_ROUNDS, sizeof *values, by_value);
    printf(" %.*f (%.*f to %.*f) |", n_digits, values[N_ROUNDS / 2], n_digits, values[0], n_digits,
           values[N_ROUNDS - 1]);
}

static double peak_now(iso_pool *pool, iso_dtype dtype) {
    double inverse = 0;
    for (int i = 0; i < N_BURSTS; i++) inverse += 1 / iso_peak_burst(pool, dtype) / N_BURSTS;
    return 1 / inverse;
}

/* One row: heads of width d. Of one product, what is not masked: S (S+1) / 2 pairs a head. */
static void prove_attention(int64_t d, iso_dtype dtype, iso_pool *pool) {
    subject forward = {
        .c = {.op = ISO_OP_ATTENTION_FWD, .B = 1, .S = LONG, .A = LONG_H / d, .d = d}};
    subject backward = {
        .c = {.op = ISO_OP_ATTENTION_BWD, .B = 1, .S = LONG, .A = LONG_H / d, .d = d}};
    double fractions[N_ROUNDS], again[N_ROUNDS], forwards[N_ROUNDS], peaks[N_ROUNDS];
    double product = (double)(LONG_H / d) * LONG * (LONG + 1) / 2 * 2 * (double)d;
    if (!subject_create(&forward, dtype, pool)) return;
    if (subject_create(&backward, dtype, pool)) {
        double before = peak_now(pool, dtype);
        for (int i = 0; i < N_ROUNDS; i++) {
            double forward_s = seconds_of(&forward, 1),
                   both_s = forward_s + seconds_of(&backward, 1);
            double after = peak_now(pool, dtype), peak = (before + after) / 2;
            fractions[i] = 6 * product / both_s / peak;
            again[i] = 7 * product / both_s / peak;
            forwards[i] = 2 * product / forward_s / peak;
            peaks[i] = peak * 1e-9;
            before = after;
        }
        printf("| %d | %s |", (int)d, dtype == ISO_BF16 ? "bf16" : "fp32");
        print_range(fractions, 3);
        print_range(again, 3);
        print_range(forwards, 3);
        print_range(peaks, 0);
        printf("\n");
        subject_release(&backward);
    }
    subject_release(&forward);
}

typedef struct experts {
    const char *name;
    int64_t H, E, K, De;
} experts;

/* Time with `routing_style` over balanced, and the times themselves, of operation i of an expert
 * layer; false if the machine lacks the precision. */
static bool time_experts(double ratios[N_ROUNDS], double sums[2][N_ROUNDS], const experts *m, int i,
                         iso_dtype dtype, iso_pool *pool) {
    static const struct {
        iso_op op;
        bool is_down, by_token;
    } ops[N_EXPERT_OPS] = {
        {ISO_OP_GROUPED_FWD, false, true},        {ISO_OP_GROUPED_FWD, true, false},
        {ISO_OP_GROUPED_BWD_INPUT, true, true},   {ISO_OP_GROUPED_BWD_WEIGHT, true, true},
        {ISO_OP_GROUPED_BWD_INPUT, false, false}, {ISO_OP_GROUPED_BWD_WEIGHT, false, false},
    };
    subject subjects[2] = {0};
    for (int skewed = 0; skewed < 2; skewed++) {
        check_case *c = &subjects[skewed].c;
        *c = (check_case){.op = ops[i].op, .B = 8, .S = 512, .E = m->E, .K = m->K};
        c->A = 1, c->d = m->H, c->F = m->De, c->V = 256, c->group_tokens = c->S;
        c->flag = ops[i].by_token;
        c->in = ops[i].is_down ? m->De : m->H, c->out = ops[i].is_down ? m->H : 2 * m->De;
        c->routing_style = skewed ? 3 : 0;
        if (subject_create(&subjects[skewed], dtype, pool)) continue;
        if (skewed) subject_release(&subjects[0]);
        return false;
    }
    for (int round = 0; round < N_ROUNDS; round++) {
        double balanced = seconds_of(&subjects[0], N_CALLS);
        double skewed = seconds_of(&subjects[1], N_CALLS);
        ratios[round] = skewed / balanced;
        sums[0][round] += balanced;
        sums[1][round] += skewed;
    }
    for (int skewed = 0; skewed < 2; skewed++) subject_release(&subjects[skewed]);
    return true;
}

static void prove_skew(const experts *m, iso_dtype dtype, iso_pool *pool) {
    double ratios[N_EXPERT_OPS][N_ROUNDS], sums[2][N_ROUNDS] = {{0}}, whole[N_ROUNDS];
    for (int i = 0; i < N_EXPERT_OPS; i++)
        if (!time_experts(ratios[i], sums, m, i, dtype, pool)) return;
    for (int round = 0; round < N_ROUNDS; round++) whole[round] = sums[1][round] / sums[0][round];
    printf("| %s %s |", m->name, dtype == ISO_BF16 ? "bf16" : "fp32");
    print_range(whole, 2);
    for (int i = 0; i < N_EXPERT_OPS; i++) print_range(ratios[i], 2);
    printf("\n");
}

void check_prove(const check_options *options) {
    static const experts models[] = {{"m2", 320, 64, 2, 64}, {"m3", 512, 80, 3, 64}};
    static const iso_dtype dtypes[] = {ISO_F32, ISO_BF16};
    iso_pool *pool = NULL;
    ISO_ASSERT(!iso_pool_create(&pool, options->n_threads));
    printf("## Attention over %d positions\n\n", LONG);
    printf(
        "| head width | precision | forward and backward, of peak | with the scores' second time | "
        "forward alone | peak, GFLOP/s |\n|---|---|---|---|---|---|\n");
    for (int p = 0; p < 2; p++)
        for (int64_t d = 32; d <= 128; d *= 2) prove_attention(d, dtypes[p], pool);
    printf("\n## Skewed routing\n\n");
    printf("| experts of | together | gate, up | down | d input of down | d weights of down | "
           "d input of gate, up | d weights of gate, up |\n|---|---|---|---|---|---|---|---|\n");
    for (int m = 0; m < 2; m++)
        for (int p = 0; p < 2; p++) prove_skew(&models[m], dtypes[p], pool);
    iso_pool_free(pool);
}
