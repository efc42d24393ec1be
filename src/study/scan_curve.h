/* scan_curve.h - a smooth curve through the few noisy points of a scan, and what is known of it.
 *
 * A scan measures y (BPC) at a few x (ln r_a, ln lr), each with some seeds, and perhaps a level
 * beside them (the dense model). The curve is a quadratic with room for what a quadratic is not:
 *
 *     y(x) = b0 + b1 z + b2 z^2/2 + b3 z^3/6 + b4 z^4/24,   z = x - middle of the scan,
 *     b0, b1, b2 free;  b3 ~ N(0, (k R)^2),  b4 ~ N(0, (k R^2)^2)
 *
 * where k is the largest curvature that the points allow (the quadratic's b2, if positive, plus its
 * half-width) and R = `bend` says that curvature may change about e^R-fold over one unit of x. A
 * sum of a falling and a rising exponential, what N and D trade against each other, has |b3/b2|
 * below the steeper one's exponent. docs/decisions/0011 tells how this was chosen.
 *
 * Anything linear in the curve and the level (a contrast: a value, a slope, a gap) has an error of
 * three parts, estimated apart as in study/answer.h:
 *   training    another seed: s pooled over all points and the level, t on its degrees of freedom;
 *   evaluation  another text: covariances given by the caller;
 *   shape       the room above.
 * half^2 = (q_nu training)^2 + (q_nu_e evaluation)^2 + (q_inf shape)^2.
 *
 * Owns: the fit and its errors. Does not own: what is asked of it (optimum.h, handicap.h).
 *
 * (I1) where the points scatter about the curve more than their noise explains (shapes differ in
 *      more than their rate), seed noise is inflated until they don't: until the weighted squares
 *      are the degrees of freedom that the fit leaves, n less the trace of its hat matrix
 *      (Paule and Mandel); it is never deflated. What these tell of the excess and seeds of the
 *      rest makes nu (Satterthwaite); the level is such a shape, too. In a sweep, of one shape,
 *      n - 3 are left, nu is the seeds', and the level has no part: there the curve is what it is;
 * (I2) the same points give the same curve, whatever constant is added to every y.
 */
#ifndef ISO_STUDY_SCAN_CURVE_H
#define ISO_STUDY_SCAN_CURVE_H

#include "base/stats.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define ISO_SCAN_POINTS_MAX 32
#define ISO_SCAN_TERMS      5
#define ISO_SCAN_BEND       1.25

/* One configuration: its seeds' scores, and the part of the evaluation's standard error that it
 * doesn't share with the others (0 where a covariance is given). */
typedef struct iso_scan_point {
    double x; /* ascending from point to point; of the level, unused */
    const double *y;
    int64_t n_seeds;
    double evaluation_se;
} iso_scan_point;

typedef struct iso_scan {
    const iso_scan_point *points;
    int64_t n_points;
    const iso_scan_point *level; /* dense; NULL = none */
    /* Of the scores' errors by evaluation, n x n with n = n_points + 1, the level last (there even
     * if there is no level): iso_ratio_covariance over blocks of text. Not of mere differences to
     * the level. NULL: each point's own evaluation_se, independent. */
    const double *evaluation_covariance;
    double evaluation_dof;  /* 0 = infinite: known as it is */
    iso_pooled other_noise; /* seed noise of runs that aren't in the scan: an A/A control */
    double bend;            /* R; 0 = ISO_SCAN_BEND */
    bool one_shape;         /* of all points, as in a sweep: nothing of (I1) is a shape's scatter */
} iso_scan;

typedef struct iso_scan_curve {
    int64_t n_points, n_seeds; /* seeds of points and level, all together */
    double low, high;          /* x of the first and the last point */
    double middle;
    double coefficient[ISO_SCAN_TERMS];
    double map[ISO_SCAN_TERMS][ISO_SCAN_POINTS_MAX]; /* from the points' means to coefficients */
    double room[2];                                  /* standard deviations of b3 and b4 */
    double z[ISO_SCAN_POINTS_MAX];
    double mean[ISO_SCAN_POINTS_MAX + 1]; /* as below: the level last */
    double seeds[ISO_SCAN_POINTS_MAX + 1];
    double evaluation[ISO_SCAN_POINTS_MAX + 1][ISO_SCAN_POINTS_MAX + 1];
    bool has_level;
    double seed_sd, seed_dof, evaluation_dof;
    double inflation;       /* of seed noise by scatter, at least 1 */
    double training_dof;    /* of seeds and inflation together */
    double excess_variance; /* of a configuration's level beyond its noise, by the inflation */
} iso_scan_curve;

/* ISO_ERR_USAGE for fewer than 3 or too many points and where no configuration has two seeds;
 * ISO_ERR_DATA for what is no number, x out of order, a covariance that is none, seeds that all
 * score the same. The curve keeps nothing of the scan. */
iso_status iso_scan_curve_fit(iso_scan_curve *out, const iso_scan *scan);

/* The k-th derivative of the curve at x, k = 0 or 1, times `sign`, plus `level` times the level. */
typedef struct iso_scan_contrast {
    double term[ISO_SCAN_TERMS];
    double level;
} iso_scan_contrast;
iso_scan_contrast iso_scan_value(const iso_scan_curve *curve, double x);
iso_scan_contrast iso_scan_slope(const iso_scan_curve *curve, double x);
iso_scan_contrast iso_scan_gap(const iso_scan_curve *curve, double x); /* level minus curve */
iso_scan_contrast iso_scan_rise(const iso_scan_curve *curve, double from, double to);

/* Standard errors. */
typedef struct iso_scan_estimate {
    double value;
    double training, evaluation, shape;
} iso_scan_estimate;
iso_scan_estimate iso_scan_curve_estimate(const iso_scan_curve *curve,
                                          const iso_scan_contrast *contrast);

/* Critical values: t quantiles for one contrast, larger ones for all of a curve at once. */
typedef struct iso_scan_critical {
    double training, evaluation, shape;
} iso_scan_critical;
iso_scan_critical iso_scan_pointwise(const iso_scan_curve *curve);
/* Over all gaps (or, without a level, values) of the scan: choosing the best point doesn't make the
 * band too short. */
iso_scan_critical iso_scan_simultaneous(const iso_scan_curve *curve);
/* Half-width of the 95 % interval. */
double iso_scan_half(const iso_scan_estimate *estimate, const iso_scan_critical *critical);

#endif
