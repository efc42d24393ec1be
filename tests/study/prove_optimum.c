/* prove_optimum DRAWS [POINTS SEEDS CURVATURE GAP [SEED_SD LOW HIGH SCATTER_SD]]: planted scans at
 * the noise of real ones, analysed; prints the tables of docs/evidence/optimum.md. */
#include "study/planted.h"
#include "study/seed_control.h"

#include "base/rng.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SEED_SD       0.0038
#define EVALUATION_SE 0.001

typedef struct design {
    int64_t n_points, n_seeds;
    double curvature, gap, seed_sd;
    double low, high; /* activation rates */
    double scatter_sd;
} design;

#define USUAL SEED_SD, 0.08, 0.6, 0

static const design designs[] = {
    {5, 3, 0.1, 0.05, USUAL},
    {7, 2, 0.1, 0.05, USUAL},
    {9, 2, 0.1, 0.05, USUAL},
    {7, 3, 0.03, 0.02, USUAL},
    {6, 2, 0.03, 0.02, USUAL},
    {9, 3, 0.2, 0.05, USUAL},
    {10, 4, 0.2, 0.15, 0.0073, 0.1, 0.5, 0},
    {10, 4, 0.2, 0.15, 0.0073, 0.1, 0.5, 0.015},
};

static void print_share(int64_t k, int64_t n) {
    double low, high;
    iso_binomial_95(&low, &high, k, n);
    printf(" %.3f (%.3f-%.3f) |", (double)k / (double)n, low, high);
}

static iso_planted plan(iso_planted_shape shape, double rate, const design *d) {
    return (iso_planted){.shape = shape,
                         .optimum = log(rate),
                         .curvature = d->curvature,
                         .gap = d->gap,
                         .low = log(d->low),
                         .high = log(d->high),
                         .n_points = d->n_points,
                         .n_seeds = d->n_seeds,
                         .n_level_seeds = d->n_seeds,
                         .seed_sd = d->seed_sd,
                         .scatter_sd = d->scatter_sd,
                         .evaluation_se = EVALUATION_SE};
}

/* A distance in ln r_a as a factor of r_a. */
static void print_factor(double x) {
    if (isnan(x))
        printf(" |");
    else
        printf(" %.2f |", exp(x));
}

static int print_case(iso_planted_shape shape, double rate, const design *d, int64_t draws) {
    iso_planted p = plan(shape, rate, d);
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
    print_factor(r.width);
    print_factor(r.miss);
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
        {ISO_PLANTED_ASYMMETRIC, 0.3}, {ISO_PLANTED_REVERSED, 0.2},
        {ISO_PLANTED_QUADRATIC, 0.08}, {ISO_PLANTED_ASYMMETRIC, 0.05},
        {ISO_PLANTED_ASYMMETRIC, 0.9}, {ISO_PLANTED_LINE, 0.2},
        {ISO_PLANTED_FLAT, 0.2},       {ISO_PLANTED_STEEP, 0.2},
        {ISO_PLANTED_STEEP, 0.12},     {ISO_PLANTED_KINK, 0.2},
        {ISO_PLANTED_JUMP, 0.2},
    };
    printf("\n%" PRId64 " points of %" PRId64
           " seeds from %g %% to %g %%, curvature %g, gap %g, seed noise %g",
           d->n_points, d->n_seeds, 100 * d->low, 100 * d->high, d->curvature, d->gap, d->seed_sd);
    if (d->scatter_sd > 0) printf(", scatter of shapes %g", d->scatter_sd);
    printf(":\n\n");
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
            design d = {n, seeds, 0.0, 0.0, USUAL};
            iso_planted p = plan(ISO_PLANTED_FLAT, 0.2, &d);
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

/* What other rooms for shape would do: next to none (a plain quadratic), the chosen one, more. */
static int print_rooms(int64_t draws) {
    static const iso_planted_shape shapes[] = {ISO_PLANTED_QUADRATIC,  ISO_PLANTED_MILD,
                                               ISO_PLANTED_ASYMMETRIC, ISO_PLANTED_STEEP,
                                               ISO_PLANTED_KINK,       ISO_PLANTED_JUMP};
    static const double bends[] = {0.01, 1.0, 1.25, 1.5, 2.5};
    printf("\n| truth | R | covered | inside | width | miss | gap covered |\n"
           "|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t j = 0; j < sizeof bends / sizeof *bends; j++) {
            iso_planted p = plan(shapes[i], 0.2, &designs[1]);
            iso_planted_result r;
            p.bend = bends[j];
            if (iso_planted_run(&r, &p, 3, draws) != ISO_OK) return 1;
            printf("| %s | %g |", iso_planted_name(shapes[i]), bends[j]);
            print_share(r.covered, draws);
            printf(" %.2f |", (double)r.outcomes[ISO_OPTIMUM_INSIDE] / (double)draws);
            print_factor(r.width);
            print_factor(r.miss);
            print_share(r.gap_covered, draws);
            printf("\n");
        }
    return 0;
}

/* Sides of one configuration, seeds apart: the test of pairs that the report makes. */
static int print_control(int64_t draws) {
    enum { RUNS = 40 };
    printf("\n| seeds a side | pairs | called different |\n|---|---|---|\n");
    for (int64_t n_seeds = 2; n_seeds <= 5; n_seeds++) {
        int64_t n_alarms = 0, n_pairs = 0;
        for (int64_t draw = 0; draw < draws; draw++) {
            double bpc[RUNS];
            iso_seed_control control;
            for (uint64_t i = 0; i < RUNS; i++)
                bpc[i] =
                    SEED_SD * iso_rng_normal((uint64_t)n_seeds, ISO_RNG_STATS, (uint64_t)draw, i);
            if (iso_seed_control_make(&control, bpc, RUNS, n_seeds) != ISO_OK) return 1;
            n_alarms += control.n_alarms;
            n_pairs += control.n_pairs;
        }
        printf("| %" PRId64 " | %" PRId64 " |", n_seeds, n_pairs);
        print_share(n_alarms, n_pairs);
        printf("\n");
    }
    return 0;
}

/* A plan of one's own, as its study file has it. */
static int print_own(int64_t draws, int n_words, char **words) {
    design own = {strtoll(words[0], NULL, 10), strtoll(words[1], NULL, 10), strtod(words[2], NULL),
                  strtod(words[3], NULL), USUAL};
    if (n_words == 8) {
        own.seed_sd = strtod(words[4], NULL);
        own.low = strtod(words[5], NULL), own.high = strtod(words[6], NULL);
        own.scatter_sd = strtod(words[7], NULL);
    }
    return print_design(&own, draws);
}

int main(int argc, char **argv) {
    int64_t draws = argc > 1 ? strtoll(argv[1], NULL, 10) : 0;
    if ((argc != 2 && argc != 6 && argc != 10) || draws < 1) {
        fprintf(stderr, "usage: prove_optimum DRAWS [POINTS SEEDS CURVATURE GAP [SEED_SD LOW HIGH "
                        "SCATTER_SD]]\n");
        return 2;
    }
    if (argc > 2) return print_own(draws, argc - 2, argv + 2);
    printf("## Optimum, gap, region\n");
    for (size_t i = 0; i < sizeof designs / sizeof *designs; i++)
        if (print_design(&designs[i], draws)) return 1;
    printf("\n## A/A over a scan: no MoE differs from dense\n");
    if (print_alarms(draws)) return 1;
    printf("\n## A/A in pairs: a configuration against itself, 40 runs a control\n");
    if (print_control(draws)) return 1;
    printf("\n## Other rooms for shape, 7 points of 2 seeds\n");
    return print_rooms(draws);
}
