/* prove_optimum DRAWS: planted scans at the noise of real ones, analysed; prints the tables of
 * docs/evidence/optimum.md. */
#include "study/planted.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SEED_SD       0.0038
#define EVALUATION_SE 0.001

typedef struct design {
    int64_t n_points, n_seeds;
    double curvature, gap;
} design;

static const design designs[] = {
    {5, 3, 0.1, 0.05}, {7, 2, 0.1, 0.05}, {9, 2, 0.1, 0.05}, {7, 3, 0.03, 0.02}, {6, 2, 0.03, 0.02},
};

static void print_share(int64_t k, int64_t n) {
    double low, high;
    iso_binomial_95(&low, &high, k, n);
    printf(" %.3f (%.3f-%.3f) |", (double)k / (double)n, low, high);
}

static int print_case(iso_planted_shape shape, double rate, const design *d, int64_t draws) {
    iso_planted p = {.shape = shape,
                     .optimum = log(rate),
                     .curvature = d->curvature,
                     .gap = d->gap,
                     .low = log(0.08),
                     .high = log(0.6),
                     .n_points = d->n_points,
                     .n_seeds = d->n_seeds,
                     .n_level_seeds = d->n_seeds,
                     .seed_sd = SEED_SD,
                     .evaluation_se = EVALUATION_SE};
    iso_planted_result r;
    if (iso_planted_run(&r, &p, 1, draws) != ISO_OK) {
        fprintf(stderr, "prove_optimum: %s\n", iso_error_message());
        return 1;
    }
    double n = (double)draws;
    printf("| %s | %g %% |", iso_planted_name(shape), 100.0 * rate);
    print_share(r.covered, draws);
    printf(" %.2f | %.2f | %.2f | %.2f |", (double)r.outcomes[ISO_OPTIMUM_INSIDE] / n,
           (double)r.outcomes[ISO_OPTIMUM_AT_OR_BELOW] / n,
           (double)r.outcomes[ISO_OPTIMUM_AT_OR_ABOVE] / n,
           (double)r.outcomes[ISO_OPTIMUM_UNRESOLVED] / n);
    printf(" %.2f | %.2f |", exp(r.width), exp(r.miss));
    print_share(r.gap_covered, draws);
    print_share(r.region_covered, draws);
    printf(" %.2f |\n", (double)r.better / n);
    return 0;
}

static int print_design(const design *d, int64_t draws) {
    static const struct {
        iso_planted_shape shape;
        double rate;
    } cases[] = {
        {ISO_PLANTED_QUADRATIC, 0.2},  {ISO_PLANTED_MILD, 0.2},
        {ISO_PLANTED_ASYMMETRIC, 0.2}, {ISO_PLANTED_ASYMMETRIC, 0.12},
        {ISO_PLANTED_STEEP, 0.2},      {ISO_PLANTED_REVERSED, 0.2},
        {ISO_PLANTED_QUADRATIC, 0.08}, {ISO_PLANTED_ASYMMETRIC, 0.05},
        {ISO_PLANTED_ASYMMETRIC, 0.9}, {ISO_PLANTED_LINE, 0.2},
        {ISO_PLANTED_FLAT, 0.2},       {ISO_PLANTED_KINK, 0.2},
        {ISO_PLANTED_JUMP, 0.2},
    };
    printf("\n%" PRId64 " points of %" PRId64 " seeds, curvature %g, gap %g:\n\n", d->n_points,
           d->n_seeds, d->curvature, d->gap);
    printf("| truth | optimum | covered | inside | at or below | at or above | unresolved | width "
           "| miss | gap covered | region right | gap resolved |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (print_case(cases[i].shape, cases[i].rate, d, draws)) return 1;
    return 0;
}

/* The dense model and all MoEs are equal: whatever is found is a false alarm. */
static int print_alarms(int64_t draws) {
    printf("\n| points | seeds | \"MoE better at its optimum\" | \"worse somewhere\" | either |\n"
           "|---|---|---|---|---|\n");
    for (int64_t n = 5; n <= 9; n += 2)
        for (int64_t seeds = 2; seeds <= 3; seeds++) {
            iso_planted p = {.shape = ISO_PLANTED_FLAT,
                             .low = log(0.08),
                             .high = log(0.6),
                             .n_points = n,
                             .n_seeds = seeds,
                             .n_level_seeds = seeds,
                             .seed_sd = SEED_SD,
                             .evaluation_se = EVALUATION_SE};
            iso_planted_result r;
            if (iso_planted_run(&r, &p, 2, draws) != ISO_OK) return 1;
            printf("| %" PRId64 " | %" PRId64 " |", n, seeds);
            print_share(r.better, draws);
            print_share(r.worse, draws);
            print_share(r.differs, draws);
            printf("\n");
        }
    return 0;
}

int main(int argc, char **argv) {
    int64_t draws = argc > 1 ? strtoll(argv[1], NULL, 10) : 0;
    if (argc != 2 || draws < 1) {
        fprintf(stderr, "usage: prove_optimum DRAWS\n");
        return 2;
    }
    printf("## Optimum, gap, region\n");
    for (size_t i = 0; i < sizeof designs / sizeof *designs; i++)
        if (print_design(&designs[i], draws)) return 1;
    printf("\n## A/A: no MoE differs from dense\n");
    return print_alarms(draws);
}
