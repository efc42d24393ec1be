#include "study/planted.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

#define N_FINE  4096 /* of the search for the curve's true lowest value and crossings */
#define N_STEPS 60

static const struct {
    const char *name;
    double falling, rising; /* exponents of those that have them */
} shapes[ISO_PLANTED_N_SHAPES] = {
    [ISO_PLANTED_QUADRATIC] = {"quadratic", 0, 0},
    [ISO_PLANTED_MILD] = {"mildly asymmetric", 0.7, 0.35},
    [ISO_PLANTED_ASYMMETRIC] = {"asymmetric", 1.5, 0.35},
    [ISO_PLANTED_STEEP] = {"steep on the left", 3.0, 0.35},
    [ISO_PLANTED_REVERSED] = {"steep on the right", 0.5, 2.0},
    [ISO_PLANTED_KINK] = {"kink", 0, 0},
    [ISO_PLANTED_JUMP] = {"jump of curvature", 0, 0},
    [ISO_PLANTED_LINE] = {"line", 0, 0},
    [ISO_PLANTED_FLAT] = {"flat", 0, 0},
};

const char *iso_planted_name(iso_planted_shape shape) {
    return shapes[shape].name;
}

double iso_planted_value(const iso_planted *planted, double x) {
    double v = x - planted->optimum, k = planted->curvature;
    double a = shapes[planted->shape].falling, b = shapes[planted->shape].rising;
    switch (planted->shape) {
    case ISO_PLANTED_QUADRATIC:
        return 0.5 * k * v * v;
    case ISO_PLANTED_KINK:
        return 0.5 * k * (v < 0.0 ? -1.5 * v : v);
    case ISO_PLANTED_JUMP:
        return 0.5 * k * v * v * (v < 0.0 ? 3.0 : 0.5);
    case ISO_PLANTED_LINE:
        return 0.5 * k * v;
    case ISO_PLANTED_FLAT:
        return 0.0;
    default:
        return k / (a + b) * (exp(-a * v) / a + exp(b * v) / b);
    }
}

/* What is true of a planted scan. */
typedef struct truth {
    double optimum; /* -INFINITY: below any scan */
    double lowest;  /* the x within the scan */
    double level;
    double crossing_low, crossing_high; /* NaN if there is none in the scan */
} truth;

static double crossing_towards(const iso_planted *p, const truth *t, double end) {
    double inside = t->lowest, outside = end;
    if (!(iso_planted_value(p, end) > t->level)) return NAN;
    for (int i = 0; i < N_STEPS; i++) {
        double middle = 0.5 * (inside + outside);
        *(iso_planted_value(p, middle) > t->level ? &outside : &inside) = middle;
    }
    return inside;
}

static truth find_truth(const iso_planted *p) {
    truth t = {.optimum = p->shape == ISO_PLANTED_LINE ? -INFINITY : p->optimum};
    t.lowest = fmin(fmax(t.optimum, p->low), p->high);
    t.level = iso_planted_value(p, t.lowest) + p->gap;
    t.crossing_low = crossing_towards(p, &t, p->low);
    t.crossing_high = crossing_towards(p, &t, p->high);
    return t;
}

/* --- one draw --- */

/* Scores of configuration i, the level last: errors of its own by evaluation and by its shape, one
 * by each seed. */
static void draw_scores(double *y, int64_t n, const iso_planted *p, double value, uint64_t seed,
                        int64_t draw, int64_t i) {
    uint64_t index = (uint64_t)i << 32;
    double shared = p->evaluation_se * iso_rng_normal(seed, ISO_RNG_STATS, (uint64_t)draw, index);
    shared += p->scatter_sd *
              iso_rng_normal(seed, ISO_RNG_STATS, (uint64_t)draw, index + (uint64_t)UINT32_MAX);
    for (int64_t j = 0; j < n; j++)
        y[j] = value + shared +
               p->seed_sd *
                   iso_rng_normal(seed, ISO_RNG_STATS, (uint64_t)draw, index + 1 + (uint64_t)j);
}

static iso_status draw_curve(iso_scan_curve *out, const iso_planted *p, const truth *t, double *y,
                             uint64_t seed, int64_t draw) {
    iso_scan_point points[ISO_SCAN_POINTS_MAX];
    for (int64_t i = 0; i < p->n_points; i++) {
        double x = p->low + (p->high - p->low) * (double)i / (double)(p->n_points - 1);
        double *own = y + i * p->n_seeds;
        draw_scores(own, p->n_seeds, p, iso_planted_value(p, x), seed, draw, i);
        points[i] = (iso_scan_point){x, own, p->n_seeds, p->evaluation_se};
    }
    double *own = y + p->n_points * p->n_seeds;
    draw_scores(own, p->n_level_seeds, p, t->level, seed, draw, p->n_points);
    iso_scan_point level = {0.0, own, p->n_level_seeds, p->evaluation_se};
    iso_scan scan = {.points = points, .n_points = p->n_points, .level = &level, .bend = p->bend};
    return iso_scan_curve_fit(out, &scan);
}

/* --- what was said, against what is true --- */

/* How far the optimum lies outside of what the interval says; 0 if it doesn't. */
static double distance_outside(const iso_optimum *o, const truth *t, const iso_planted *p) {
    bool below = o->outcome == ISO_OPTIMUM_AT_OR_BELOW || o->outcome == ISO_OPTIMUM_UNRESOLVED;
    bool above = o->outcome == ISO_OPTIMUM_AT_OR_ABOVE || o->outcome == ISO_OPTIMUM_UNRESOLVED;
    double optimum = fmin(fmax(t->optimum, p->low - 1.0), p->high + 1.0);
    if (!below && optimum < o->low) return o->low - optimum;
    if (!above && optimum > o->high) return optimum - o->high;
    return 0.0;
}

/* Whether what is said of the crossing on one side (sign -1: the low one) is true. */
static bool crossing_holds(const iso_crossing *said, double is, int sign) {
    switch (said->kind) {
    case ISO_CROSSING_BETWEEN:
        return !isnan(is) && (is - said->inner) * sign >= 0.0 && (said->outer - is) * sign >= 0.0;
    case ISO_CROSSING_OPEN:
        return isnan(is) || (is - said->inner) * sign >= 0.0;
    case ISO_CROSSING_BEYOND:
        return isnan(is);
    default:
        return true;
    }
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int64_t n) {
    if (n == 0) return NAN;
    qsort(x, (size_t)n, sizeof *x, compare_doubles);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

typedef struct tally {
    iso_planted_result *out;
    double *widths, *misses;
    int64_t n_widths, n_misses;
} tally;

static void judge(tally *all, const iso_scan_curve *curve, const iso_planted *p, const truth *t) {
    iso_planted_result *out = all->out;
    iso_optimum found = iso_optimum_find(curve);
    iso_region region = iso_region_find(curve, &found);
    double miss = distance_outside(&found, t, p);
    bool unresolved = found.outcome == ISO_OPTIMUM_UNRESOLVED;
    bool better = found.gap_outcome == ISO_GAP_BETTER;
    out->draws++;
    out->covered += p->shape == ISO_PLANTED_FLAT ? unresolved : miss == 0.0;
    out->outcomes[found.outcome]++;
    out->gap_covered += fabs(found.gap - p->gap) <= found.gap_half;
    out->better += better;
    out->worse += region.worse_somewhere;
    out->differs += better || region.worse_somewhere;
    out->region_covered += crossing_holds(&region.low, t->crossing_low, -1) &&
                           crossing_holds(&region.high, t->crossing_high, 1);
    if (found.outcome == ISO_OPTIMUM_INSIDE) all->widths[all->n_widths++] = found.high - found.low;
    if (miss > 0.0) all->misses[all->n_misses++] = miss;
}

iso_status iso_planted_run(iso_planted_result *out, const iso_planted *planted, uint64_t seed,
                           int64_t draws) {
    *out = (iso_planted_result){0};
    if (planted->n_points < 3 || planted->n_points > ISO_SCAN_POINTS_MAX || planted->n_seeds < 1 ||
        planted->n_seeds > 1000 || planted->n_level_seeds < 1 || planted->n_level_seeds > 1000)
        return iso_fail(ISO_ERR_USAGE,
                        "a planned scan needs 3 to %d points and 1 to 1000 seeds of each",
                        ISO_SCAN_POINTS_MAX);
    truth t = find_truth(planted);
    int64_t n_scores = planted->n_points * planted->n_seeds + planted->n_level_seeds;
    double *y = calloc((size_t)n_scores, sizeof *y);
    double *widths = calloc((size_t)draws + 1, sizeof *widths);
    double *misses = calloc((size_t)draws + 1, sizeof *misses);
    ISO_ASSERT(y && widths && misses);
    tally all = {out, widths, misses, 0, 0};
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < draws && status == ISO_OK; i++) {
        iso_scan_curve curve;
        status = draw_curve(&curve, planted, &t, y, seed, i);
        if (status == ISO_OK) judge(&all, &curve, planted, &t);
    }
    out->width = median(widths, all.n_widths);
    out->miss = median(misses, all.n_misses);
    free(y);
    free(widths);
    free(misses);
    return status;
}
