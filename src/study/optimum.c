/* A walk over a fine grid finds where a condition begins to hold and bisection the place; the curve
 * is a polynomial of degree 4 with the few turns that its room allows, so a grid of 128 steps sees
 * them, and the lowest point is always part of the interval.
 */
#include "study/optimum.h"

#include <math.h>

#define N_GRID  128
#define N_STEPS 50 /* of bisection and golden section */

typedef struct search {
    const iso_scan_curve *curve;
    iso_scan_critical pointwise, band;
    double lowest; /* x of the curve's minimum */
} search;

static double grid(const iso_scan_curve *curve, int i) {
    return i == N_GRID ? curve->high : curve->low + (curve->high - curve->low) * i / (double)N_GRID;
}

static double value_of(const iso_scan_curve *curve, iso_scan_contrast contrast) {
    return iso_scan_curve_estimate(curve, &contrast).value;
}

static double slope_at(const search *s, double x, double *half) {
    iso_scan_contrast contrast = iso_scan_slope(s->curve, x);
    iso_scan_estimate estimate = iso_scan_curve_estimate(s->curve, &contrast);
    if (half) *half = iso_scan_half(&estimate, &s->pointwise);
    return estimate.value;
}

static double find_lowest(const iso_scan_curve *curve) {
    const double golden = 0.6180339887498949;
    int best = 0;
    double least = INFINITY;
    for (int i = 0; i <= N_GRID; i++) {
        double value = value_of(curve, iso_scan_value(curve, grid(curve, i)));
        if (value < least) {
            least = value;
            best = i;
        }
    }
    if (best == 0 || best == N_GRID) return grid(curve, best);
    double a = grid(curve, best - 1), b = grid(curve, best + 1);
    for (int i = 0; i < N_STEPS; i++) {
        double c = b - golden * (b - a), d = a + golden * (b - a);
        /* By the rise between them: their difference is smaller than a value's last digits. */
        if (value_of(curve, iso_scan_rise(curve, c, d)) > 0.0)
            b = d;
        else
            a = c;
    }
    return 0.5 * (a + b);
}

/* --- the optimum's interval --- */

static bool is_surely_higher(const search *s, double x) {
    iso_scan_contrast contrast = iso_scan_rise(s->curve, s->lowest, x);
    iso_scan_estimate rise = iso_scan_curve_estimate(s->curve, &contrast);
    return rise.value > iso_scan_half(&rise, &s->pointwise);
}

static bool may_be_optimum(const search *s, double x) {
    double half, slope = slope_at(s, x, &half);
    return fabs(slope) <= half && !is_surely_higher(s, x);
}

/* The end between `out`, which may not be, and `in`, which may. */
static double bisect(const search *s, bool (*holds)(const search *, double), double out,
                     double in) {
    for (int i = 0; i < N_STEPS; i++) {
        double middle = 0.5 * (out + in);
        *(holds(s, middle) ? &in : &out) = middle;
    }
    return in;
}

/* The outermost x that may be the optimum, coming from the low end (step 1) or the high one (-1).
 * The lowest point itself may always be, and so ends the walk. */
static double outermost(const search *s, int step) {
    for (int i = step > 0 ? 0 : N_GRID; i >= 0 && i <= N_GRID; i += step) {
        double x = grid(s->curve, i);
        bool first = i == (step > 0 ? 0 : N_GRID);
        if ((x - s->lowest) * step >= 0.0)
            return first ? x : bisect(s, may_be_optimum, grid(s->curve, i - step), s->lowest);
        if (may_be_optimum(s, x))
            return first ? x : bisect(s, may_be_optimum, grid(s->curve, i - step), x);
    }
    return s->lowest;
}

/* Whether the optimum may lie at or beyond that end; sign: -1 low, 1 high. */
static bool may_be_beyond(const search *s, double end, int sign) {
    double half, slope = slope_at(s, end, &half);
    return slope * sign <= half && !is_surely_higher(s, end);
}

static void find_interval(iso_optimum *out, const search *s) {
    const iso_scan_curve *curve = s->curve;
    bool below = may_be_beyond(s, curve->low, -1), above = may_be_beyond(s, curve->high, 1);
    out->low = below ? curve->low : outermost(s, 1);
    out->high = above ? curve->high : outermost(s, -1);
    out->outcome = below && above ? ISO_OPTIMUM_UNRESOLVED
                   : below        ? ISO_OPTIMUM_AT_OR_BELOW
                   : above        ? ISO_OPTIMUM_AT_OR_ABOVE
                                  : ISO_OPTIMUM_INSIDE;
}

static search begin(const iso_scan_curve *curve, double lowest) {
    return (search){curve, iso_scan_pointwise(curve), iso_scan_simultaneous(curve), lowest};
}

iso_optimum iso_optimum_find(const iso_scan_curve *curve) {
    iso_optimum out = {.at = find_lowest(curve), .gap = NAN, .gap_half = NAN};
    search s = begin(curve, out.at);
    find_interval(&out, &s);
    iso_scan_contrast contrast = iso_scan_value(curve, out.at);
    iso_scan_estimate value = iso_scan_curve_estimate(curve, &contrast);
    out.value = value.value;
    out.value_half = iso_scan_half(&value, &s.band);
    if (!curve->has_level) return out;
    contrast = iso_scan_gap(curve, out.at);
    iso_scan_estimate gap = iso_scan_curve_estimate(curve, &contrast);
    out.gap = gap.value;
    out.gap_half = iso_scan_half(&gap, &s.band);
    out.gap_training = gap.training;
    out.gap_evaluation = gap.evaluation;
    out.gap_shape = gap.shape;
    if (fabs(out.gap) > out.gap_half)
        out.gap_outcome = out.gap > 0.0 ? ISO_GAP_BETTER : ISO_GAP_WORSE;
    return out;
}

/* --- the region --- */

static iso_scan_estimate gap_at(const search *s, double x) {
    iso_scan_contrast contrast = iso_scan_gap(s->curve, x);
    return iso_scan_curve_estimate(s->curve, &contrast);
}

static bool is_better(const search *s, double x) {
    iso_scan_estimate gap = gap_at(s, x);
    return gap.value > iso_scan_half(&gap, &s->pointwise);
}

static bool is_not_worse(const search *s, double x) {
    iso_scan_estimate gap = gap_at(s, x);
    return gap.value >= -iso_scan_half(&gap, &s->pointwise);
}

static bool is_fitted_better(const search *s, double x) {
    return gap_at(s, x).value > 0.0;
}

/* How far from the optimum towards `end` a condition holds; NaN if up to the end. */
static double end_of(const search *s, bool (*holds)(const search *, double), double end) {
    double step = (end - s->lowest) / N_GRID, before = s->lowest;
    for (int i = 1; i <= N_GRID; i++) {
        double x = i == N_GRID ? end : s->lowest + step * i;
        if (!holds(s, x)) return bisect(s, holds, x, before);
        before = x;
    }
    return NAN;
}

static iso_crossing find_crossing(const search *s, double end) {
    iso_crossing out = {ISO_CROSSING_BEYOND, NAN, NAN, NAN};
    if (s->lowest != end) {
        out.inner = end_of(s, is_better, end);
        out.outer = end_of(s, is_not_worse, end);
        out.at = end_of(s, is_fitted_better, end);
    }
    if (!isnan(out.inner)) out.kind = isnan(out.outer) ? ISO_CROSSING_OPEN : ISO_CROSSING_BETWEEN;
    return out;
}

iso_region iso_region_find(const iso_scan_curve *curve, const iso_optimum *optimum) {
    ISO_ASSERT(curve->has_level);
    search s = begin(curve, optimum->at);
    iso_crossing none = {ISO_CROSSING_NONE, NAN, NAN, NAN};
    iso_region out = {none, none, false};
    for (int i = 0; i <= N_GRID && !out.worse_somewhere; i++) {
        iso_scan_estimate gap = gap_at(&s, grid(curve, i));
        out.worse_somewhere = gap.value < -iso_scan_half(&gap, &s.band);
    }
    if (optimum->gap_outcome != ISO_GAP_BETTER) return out;
    out.low = find_crossing(&s, curve->low);
    out.high = find_crossing(&s, curve->high);
    return out;
}
