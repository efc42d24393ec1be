/* prove_planner N: N random goals through the planner, judged, timed. Exit code 1 at any fault. */
#include "planner_cases.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct tally {
    int64_t n, n_no_baseline, n_faults;
    int64_t n_relaxed[8]; /* by bit of iso_plan_relaxation */
    double worst_params, worst_rate;
    double *ms;
} tally;

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

static double magnitude(double x) {
    return x < 0 ? -x : x;
}

static void note(tally *t, const iso_plan_shapes *shapes) {
    const iso_plan_model *moe = &shapes->moe[0];
    t->worst_params = larger(t->worst_params, magnitude(shapes->dense.params_error));
    t->worst_params = larger(t->worst_params, magnitude(moe->params_error));
    t->worst_rate = larger(t->worst_rate, magnitude(moe->rate_error));
    for (int bit = 0; bit < 8; bit++)
        t->n_relaxed[bit] += ((shapes->dense.relaxed | moe->relaxed) >> bit) & 1;
}

static void run_case(tally *t, uint64_t i) {
    static iso_plan_shapes shapes, again;
    planner_case c;
    planner_case_make(&c, 2026, i);
    double start = iso_clock_s();
    iso_status status = iso_plan_shapes_find(&shapes, &c.goal);
    t->ms[t->n++] = 1e3 * (iso_clock_s() - start);
    if (status != ISO_OK) {
        if (!planner_dense_exists(&c.goal)) {
            t->n_no_baseline++;
            return;
        }
        printf("case %" PRIu64 ": %s\n", i, iso_error_message());
        t->n_faults++;
        return;
    }
    const char *fault = planner_case_judge(&c, &shapes);
    if (!fault && (iso_plan_shapes_find(&again, &c.goal) != ISO_OK ||
                   memcmp(&shapes, &again, sizeof shapes) != 0))
        fault = "another answer the second time";
    if (fault) {
        printf("case %" PRIu64 ": %s\n", i, fault);
        t->n_faults++;
    }
    note(t, &shapes);
}

static void print(const tally *t) {
    static const char *const names[] = {"r_a",   "sameness", "zeta",  "mu",
                                        "alpha", "widths",   "router"};
    int64_t n_plans = t->n - t->n_no_baseline;
    printf("| goals | %" PRId64 " |\n", t->n);
    printf("| faults | %" PRId64 " |\n", t->n_faults);
    printf("| no dense baseline within 0.1 %%, confirmed by trying all | %" PRId64 " |\n",
           t->n_no_baseline);
    printf("| largest error of N | %.4f %% |\n", 100 * t->worst_params);
    printf("| largest error of r_a | %.3f %% |\n", 100 * t->worst_rate);
    printf("| median, 99 %%, longest time | %.2f, %.2f, %.0f ms |\n", t->ms[t->n / 2],
           t->ms[t->n * 99 / 100], t->ms[t->n - 1]);
    for (int bit = 0; bit < 7; bit++)
        printf("| relaxed: %s | %.1f %% |\n", names[bit],
               100.0 * (double)t->n_relaxed[bit] / (double)(n_plans > 0 ? n_plans : 1));
}

int main(int argc, char **argv) {
    int64_t n = argc > 1 ? atoll(argv[1]) : 1000;
    tally t = {.ms = calloc((size_t)(n > 0 ? n : 1), sizeof(double))};
    if (!t.ms || n < 1) return 2;
    for (int64_t i = 0; i < n; i++) run_case(&t, (uint64_t)i);
    qsort(t.ms, (size_t)t.n, sizeof *t.ms, compare_doubles);
    print(&t);
    free(t.ms);
    return t.n_faults > 0;
}
