/* For each x of a fixed grid the rest is linear; the grid is kept, so that the profile interval of
 * anything linear in `a` is a union of intervals, one for each x that is not out.
 */
#include "study/token_law.h"
#include "study/gap_law.h"
#include "study/least_squares.h"
#include "study/seed_control.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MAX           ISO_SCAN_POINTS_MAX
#define EXPONENT_LOW  0.0
#define EXPONENT_HIGH 3.0
#define SAME_TOKENS   0.05

static double power_term(double ratio, double x) {
    return x == 0.0 ? -log(ratio) : expm1(-x * log(ratio)) / x;
}

static iso_status check_points(const iso_scan_point *points, int64_t n, double offset) {
    int64_t least = isnan(offset) ? 3 : 2;
    if (n < least || n > MAX)
        return iso_fail(ISO_ERR_USAGE,
                        "loss against tokens needs %" PRId64 " to %d values of D, here are %" PRId64
                        "; train on more",
                        least, MAX, n);
    for (int64_t i = 0; i < n; i++) {
        bool is_bad = !(points[i].x > (i > 0 ? points[i - 1].x : 0.0)) || isinf(points[i].x) ||
                      points[i].n_seeds < 1 || !(points[i].evaluation_se >= 0.0);
        for (int64_t j = 0; !is_bad && j < points[i].n_seeds; j++)
            is_bad = !isfinite(points[i].y[j]);
        if (is_bad)
            return iso_fail(ISO_ERR_DATA,
                            "value %" PRId64 " of D has no seed, a score that is no number, or "
                            "isn't above the one before it; sort them and merge equal ones",
                            i + 1);
        if (iso_mean(points[i].y, points[i].n_seeds) <= offset)
            return iso_fail(ISO_ERR_USAGE,
                            "the offset %g is not below the score at D = %g; give a lower one",
                            offset, points[i].x);
    }
    return ISO_OK;
}

/* The fit at x. With a given offset, level = offset + a/x: one parameter; at x = 0 there is no such
 * law. */
static bool fit_at(iso_token_law *law, const iso_scan_point *points, double x, double *out_rss,
                   double *a, double *variance, double *level) {
    double design[2 * MAX], y[MAX];
    bool given = law->offset_is_given;
    int p = given ? 1 : 2;
    if (given && x == 0.0) return false;
    for (int64_t i = 0; i < law->n_points; i++) {
        double mean = iso_mean(points[i].y, points[i].n_seeds);
        double se = hypot(law->seed_sd / sqrt((double)points[i].n_seeds), points[i].evaluation_se);
        double term = power_term(points[i].x / law->tokens_unit, x);
        y[i] = (given ? mean - law->offset : mean) / se;
        design[i * p] = (given ? term + 1.0 / x : 1.0) / se;
        if (!given) design[i * p + 1] = term / se;
    }
    iso_least_squares fit;
    if (!iso_least_squares_solve(&fit, design, y, law->n_points, p)) return false;
    *out_rss = fit.rss;
    *a = fit.beta[p - 1];
    *variance = fit.inverse[p - 1][p - 1];
    *level = given ? law->offset + *a / x : fit.beta[0];
    return true;
}

static iso_status profile(iso_token_law *law, const iso_scan_point *points) {
    double least = INFINITY, level = NAN, rss[ISO_TOKEN_GRID];
    int best = -1;
    for (int i = 0; i < ISO_TOKEN_GRID; i++) {
        double here = NAN,
               x = EXPONENT_LOW + (EXPONENT_HIGH - EXPONENT_LOW) * i / (double)(ISO_TOKEN_GRID - 1);
        law->x[i] = x;
        rss[i] = INFINITY;
        if (!fit_at(law, points, x, &rss[i], &law->a[i], &law->variance[i], &here)) continue;
        if (rss[i] < least) {
            least = rss[i];
            level = here;
            best = i;
        }
    }
    if (best < 0)
        return iso_fail(ISO_ERR_DATA, "the values of D lie too close together; spread them");
    double dof = (double)law->n_points - (law->offset_is_given ? 2.0 : 3.0);
    double ratio = dof > 0.0 ? fmax(1.0, least / dof) : 1.0, t = iso_t_95(law->seed_dof);
    law->inflation = sqrt(ratio);
    law->exponent = law->x[best];
    law->slope = law->a[best];
    if (!law->offset_is_given)
        law->offset = law->exponent > 0.0 ? level - law->slope / law->exponent : -INFINITY;
    law->exponent_low = law->exponent_high = law->exponent;
    for (int i = 0; i < ISO_TOKEN_GRID; i++) {
        law->variance[i] *= ratio;
        law->left[i] = t * t - (rss[i] - least) / ratio;
        if (!(law->left[i] >= 0.0)) continue;
        law->exponent_low = fmin(law->exponent_low, law->x[i]);
        law->exponent_high = fmax(law->exponent_high, law->x[i]);
    }
    law->low_open = law->exponent_low <= law->x[law->offset_is_given ? 1 : 0];
    law->high_open = law->exponent_high >= EXPONENT_HIGH;
    return ISO_OK;
}

iso_status iso_token_law_fit(iso_token_law *out, const iso_scan_point *points, int64_t n_points,
                             const iso_pooled *other_noise, double offset) {
    memset(out, 0, sizeof *out);
    ISO_TRY(check_points(points, n_points, offset));
    iso_pooled noise = other_noise ? *other_noise : (iso_pooled){0};
    double logs = 0.0;
    for (int64_t i = 0; i < n_points; i++) {
        iso_pooled_add(&noise, points[i].y, points[i].n_seeds);
        logs += log(points[i].x);
        out->n_seeds += points[i].n_seeds;
    }
    out->n_points = n_points;
    out->low = points[0].x;
    out->high = points[n_points - 1].x;
    out->tokens_unit = exp(logs / (double)n_points);
    out->offset_is_given = !isnan(offset);
    out->offset = offset;
    out->seed_sd = iso_pooled_sd(&noise);
    out->seed_dof = noise.dof;
    if (!(out->seed_sd > 0.0))
        return iso_fail(ISO_ERR_USAGE,
                        "no configuration has two seeds that differ, so nothing says how much of "
                        "the loss against tokens is chance; train a second seed of one at least");
    return profile(out, points);
}

iso_token_change iso_token_law_fall(const iso_token_law *law, double from, double to) {
    iso_token_change out = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < ISO_TOKEN_GRID; i++) {
        if (!(law->left[i] >= 0.0)) continue;
        double change = power_term(from / law->tokens_unit, law->x[i]) -
                        power_term(to / law->tokens_unit, law->x[i]);
        double half = fabs(change) * sqrt(law->left[i] * law->variance[i]);
        out.low = fmin(out.low, law->a[i] * change - half);
        out.high = fmax(out.high, law->a[i] * change + half);
        if (law->x[i] == law->exponent) out.value = law->a[i] * change;
    }
    return out;
}

bool iso_reuse_is_judged(const iso_reuse *reuse) {
    return !isnan(reuse->half) && !isnan(reuse->expected.low);
}

iso_status iso_reuse_estimate(iso_reuse *out, const iso_scan_point *once,
                              const iso_scan_point *repeated, double unique_tokens,
                              const iso_pooled *noise, double evaluation_se,
                              const iso_token_law *law) {
    double tokens = repeated->x;
    if (!(unique_tokens > 0.0) || unique_tokens > tokens ||
        !(fabs(once->x / tokens - 1.0) <= SAME_TOKENS))
        return iso_fail(ISO_ERR_USAGE,
                        "a penalty of reuse compares runs of equal D, once with repetition: here "
                        "are D = %g unique, and %g of which %g are unique",
                        once->x, tokens, unique_tokens);
    iso_seed_gap gap = iso_seed_gap_estimate(repeated->y, repeated->n_seeds, once->y, once->n_seeds,
                                             noise, evaluation_se, 0.0);
    *out = (iso_reuse){.epochs = tokens / unique_tokens,
                       .effective_tokens = iso_gap_effective_tokens(tokens, unique_tokens),
                       .penalty = gap.value,
                       .half = gap.half,
                       .resolved = gap.resolved,
                       .expected = {NAN, NAN, NAN}};
    if (!law) return ISO_OK;
    out->expected = iso_token_law_fall(law, out->effective_tokens, tokens);
    double expected_half = out->penalty > out->expected.value
                               ? out->expected.high - out->expected.value
                               : out->expected.value - out->expected.low;
    out->differs = fabs(out->penalty - out->expected.value) > hypot(out->half, expected_half);
    return ISO_OK;
}
