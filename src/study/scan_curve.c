/* The room for shape enters as two more observations, "b3 is 0 to within k R" and "b4 is 0 to
 * within k R^2", so that the fit is one least-squares problem; its residual sum of squares is then
 * y' (noise + room)^-1 y over the quadratic's complement. Correlated evaluation noise is whitened
 * by Cholesky.
 */
#include "study/scan_curve.h"
#include "study/least_squares.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX            ISO_SCAN_POINTS_MAX
#define LEAST_DOF      0.05 /* of scatter: three points leave none */
#define MOST_INFLATION 1e6
#define N_BISECTIONS   40
#define N_FREE         3
#define N_ROOM         (ISO_SCAN_TERMS - N_FREE)
#define N_GRID         64 /* steps of the path whose length the band needs */
#define ALL_SAME       1e-12

/* --- the problem --- */

static iso_status check_point(const iso_scan_point *point, const char *what) {
    bool is_bad = !point->y || point->n_seeds < 1 || !(point->evaluation_se >= 0.0) ||
                  !isfinite(point->evaluation_se);
    for (int64_t j = 0; !is_bad && j < point->n_seeds; j++) is_bad = !isfinite(point->y[j]);
    if (is_bad)
        return iso_fail(ISO_ERR_DATA,
                        "%s has no seed, a score or an evaluation error that is no number; leave "
                        "it out or give its runs' scores",
                        what);
    return ISO_OK;
}

static iso_status check_scan(const iso_scan *scan) {
    if (scan->n_points < N_FREE || scan->n_points > MAX)
        return iso_fail(ISO_ERR_USAGE,
                        "a curve needs 3 to %d points, here are %" PRId64
                        ": train more configurations or merge some",
                        MAX, scan->n_points);
    for (int64_t i = 0; i < scan->n_points; i++) {
        char what[48];
        const iso_scan_point *point = &scan->points[i];
        snprintf(what, sizeof what, "point %" PRId64 " of the scan", i + 1);
        ISO_TRY(check_point(point, what));
        if (!isfinite(point->x) || (i > 0 && !(point->x > point[-1].x)))
            return iso_fail(ISO_ERR_DATA,
                            "%s does not lie above the one before it; sort the points and merge "
                            "equal ones",
                            what);
    }
    return scan->level ? check_point(scan->level, "the level (dense)") : ISO_OK;
}

static iso_status take_noise(iso_scan_curve *curve, const iso_scan *scan) {
    iso_pooled noise = scan->other_noise;
    for (int64_t i = 0; i < scan->n_points; i++)
        iso_pooled_add(&noise, scan->points[i].y, scan->points[i].n_seeds);
    if (scan->level) iso_pooled_add(&noise, scan->level->y, scan->level->n_seeds);
    if (!(noise.dof > 0.0))
        return iso_fail(ISO_ERR_USAGE,
                        "no configuration has two seeds, so nothing says how much of the scan is "
                        "chance; train a second seed of one at least");
    curve->seed_sd = iso_pooled_sd(&noise);
    curve->seed_dof = noise.dof;
    if (!(curve->seed_sd > ALL_SAME * fabs(scan->points[0].y[0])))
        return iso_fail(ISO_ERR_DATA,
                        "all seeds of a configuration score the same: the same run, given twice?");
    return ISO_OK;
}

static void take_points(iso_scan_curve *curve, const iso_scan *scan) {
    int64_t n = scan->n_points;
    curve->n_points = n;
    curve->low = scan->points[0].x;
    curve->high = scan->points[n - 1].x;
    curve->middle = 0.5 * (curve->low + curve->high);
    curve->has_level = scan->level != NULL;
    curve->evaluation_dof = scan->evaluation_dof > 0.0 ? scan->evaluation_dof : INFINITY;
    for (int64_t i = 0; i <= n; i++) {
        const iso_scan_point *point = i < n ? &scan->points[i] : scan->level;
        if (i < n) curve->z[i] = point->x - curve->middle;
        curve->mean[i] = point ? iso_mean(point->y, point->n_seeds) : NAN;
        curve->seeds[i] = point ? (double)point->n_seeds : 0.0;
        curve->n_seeds += point ? point->n_seeds : 0;
        for (int64_t j = 0; j <= n; j++)
            if (scan->evaluation_covariance)
                curve->evaluation[i][j] = scan->evaluation_covariance[i * (n + 1) + j];
            else
                curve->evaluation[i][j] =
                    i == j && point ? point->evaluation_se * point->evaluation_se : 0.0;
    }
}

/* --- the fit --- */

/* What evaluation moves points apart: its covariance without what moves them all alike, which the
 * curve's constant takes anyway. Left in, it would let the fit leave the points on one side, since
 * they don't move quite alike (Peelle's puzzle). */
static void center_evaluation(double out[MAX][MAX], const iso_scan_curve *curve) {
    int64_t n = curve->n_points;
    double row[MAX], all = 0.0;
    for (int64_t i = 0; i < n; i++) {
        row[i] = iso_mean(curve->evaluation[i], n);
        all += row[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) out[i][j] = curve->evaluation[i][j] - row[i] - row[j] + all;
}

/* L of the points' noise, L L' = inflation^2 s^2/n_i + evaluation. */
static iso_status factor_noise(double l[MAX][MAX], const iso_scan_curve *curve) {
    double s = curve->inflation * curve->seed_sd, evaluation[MAX][MAX];
    center_evaluation(evaluation, curve);
    for (int64_t i = 0; i < curve->n_points; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = evaluation[i][j] + (i == j ? s * s / curve->seeds[i] : 0.0);
            for (int64_t k = 0; k < j; k++) sum -= l[i][k] * l[j][k];
            if (i == j && !(sum > 0.0))
                return iso_fail(ISO_ERR_DATA, "the evaluation errors' covariance is none: it has a "
                                              "negative variance; take it over blocks of text");
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
    return ISO_OK;
}

static void solve_lower(double *b, double l[MAX][MAX], int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < i; k++) b[i] -= l[i][k] * b[k];
        b[i] /= l[i][i];
    }
}

/* L'^-1 b, in place. */
static void solve_upper(double *b, double l[MAX][MAX], int64_t n) {
    for (int64_t i = n - 1; i >= 0; i--) {
        for (int64_t k = i + 1; k < n; k++) b[i] -= l[k][i] * b[k];
        b[i] /= l[i][i];
    }
}

static void terms_at(double out[ISO_SCAN_TERMS], double z) {
    out[0] = 1.0;
    for (int k = 1; k < ISO_SCAN_TERMS; k++) out[k] = out[k - 1] * z / k;
}

/* Fits the first n_terms; what lies beyond the quadratic is held near 0 by `room`. The y are taken
 * from the first point's, so that a common constant costs no digits. */
static bool solve(iso_least_squares *fit, const iso_scan_curve *curve, double l[MAX][MAX],
                  int n_terms) {
    double x[(MAX + N_ROOM) * ISO_SCAN_TERMS] = {0}, y[MAX + N_ROOM] = {0}, column[MAX];
    int64_t n = curve->n_points;
    for (int k = 0; k < n_terms; k++) {
        for (int64_t i = 0; i < n; i++) {
            double terms[ISO_SCAN_TERMS];
            terms_at(terms, curve->z[i]);
            column[i] = terms[k];
        }
        solve_lower(column, l, n);
        for (int64_t i = 0; i < n; i++) x[i * n_terms + k] = column[i];
        if (k >= N_FREE) x[(n + k - N_FREE) * n_terms + k] = 1.0 / curve->room[k - N_FREE];
    }
    for (int64_t i = 0; i < n; i++) y[i] = curve->mean[i] - curve->mean[0];
    solve_lower(y, l, n);
    return iso_least_squares_solve(fit, x, y, n + n_terms - N_FREE, n_terms);
}

/* coefficients = inverse X' noise^-1 means. */
static void make_map(iso_scan_curve *curve, const iso_least_squares *fit, double l[MAX][MAX]) {
    int64_t n = curve->n_points;
    for (int k = 0; k < ISO_SCAN_TERMS; k++) {
        double *row = curve->map[k];
        for (int64_t i = 0; i < n; i++) {
            double terms[ISO_SCAN_TERMS];
            terms_at(terms, curve->z[i]);
            row[i] = 0.0;
            for (int j = 0; j < ISO_SCAN_TERMS; j++) row[i] += fit->inverse[k][j] * terms[j];
        }
        solve_lower(row, l, n);
        solve_upper(row, l, n);
        curve->coefficient[k] = fit->beta[k];
    }
    curve->coefficient[0] += curve->mean[0];
}

/* What the fit leaves to scatter: n less the trace of its hat matrix. That is the mean of `rss`
 * under noise alone; what room for shape takes of the points tells nothing of scatter. */
static double residual_dof(const iso_scan_curve *curve) {
    double dof = (double)curve->n_points;
    for (int64_t i = 0; i < curve->n_points; i++) {
        double terms[ISO_SCAN_TERMS];
        terms_at(terms, curve->z[i]);
        for (int k = 0; k < ISO_SCAN_TERMS; k++) dof -= terms[k] * curve->map[k][i];
    }
    return dof;
}

static iso_status solve_or_fail(iso_least_squares *fit, const iso_scan_curve *curve,
                                double l[MAX][MAX], int n_terms) {
    if (solve(fit, curve, l, n_terms)) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "the scan's points lie too close together to say anything of a "
                                  "curve; spread them");
}

/* The fit under so much inflation: room, map and coefficients; *rss of it and the degrees of
 * freedom that are left. */
static iso_status fit_under(iso_scan_curve *curve, double *rss, double *dof, double inflation,
                            const iso_scan *scan) {
    double l[MAX][MAX], bend = scan->bend > 0.0 ? scan->bend : ISO_SCAN_BEND;
    iso_least_squares fit;
    curve->inflation = inflation;
    ISO_TRY(factor_noise(l, curve));
    ISO_TRY(solve_or_fail(&fit, curve, l, N_FREE));
    double curvature = fmax(fit.beta[2], 0.0) + iso_t_95(curve->seed_dof) * sqrt(fit.inverse[2][2]);
    curve->room[0] = curvature * bend;
    curve->room[1] = curvature * bend * bend;
    ISO_TRY(solve_or_fail(&fit, curve, l, ISO_SCAN_TERMS));
    make_map(curve, &fit, l);
    *rss = fit.rss;
    *dof = scan->one_shape ? (double)(curve->n_points - N_FREE) : residual_dof(curve);
    return ISO_OK;
}

/* The least inflation under which the points scatter no more than they should. */
static iso_status fit_inflated(iso_scan_curve *curve, double *dof, const iso_scan *scan) {
    double rss, low, high = 1.0;
    ISO_TRY(fit_under(curve, &rss, dof, high, scan));
    if (*dof < LEAST_DOF || rss <= *dof) return ISO_OK;
    do {
        low = high;
        high *= 2.0;
        ISO_TRY(fit_under(curve, &rss, dof, high, scan));
    } while (rss > *dof && high < MOST_INFLATION);
    for (int i = 0; i < N_BISECTIONS; i++) {
        double middle = 0.5 * (low + high);
        ISO_TRY(fit_under(curve, &rss, dof, middle, scan));
        *(rss > *dof ? &low : &high) = middle;
    }
    return fit_under(curve, &rss, dof, high, scan);
}

/* In units of the seeds' variance 1 is known on their degrees of freedom, the excess on what the
 * fit leaves. */
static void set_excess(iso_scan_curve *curve, double dof) {
    double total = curve->inflation * curve->inflation, excess = total - 1.0, per_seed = 0.0;
    for (int64_t i = 0; i < curve->n_points; i++)
        per_seed += 1.0 / (curve->seeds[i] * (double)curve->n_points);
    curve->excess_variance = excess * per_seed * curve->seed_sd * curve->seed_sd;
    curve->training_dof = total * total / (1.0 / curve->seed_dof + excess * excess / dof);
}

iso_status iso_scan_curve_fit(iso_scan_curve *out, const iso_scan *scan) {
    double dof;
    memset(out, 0, sizeof *out);
    ISO_TRY(check_scan(scan));
    ISO_TRY(take_noise(out, scan));
    take_points(out, scan);
    ISO_TRY(fit_inflated(out, &dof, scan));
    out->training_dof = out->seed_dof;
    if (out->inflation > 1.0 && !scan->one_shape) set_excess(out, dof);
    return ISO_OK;
}

/* --- contrasts --- */

iso_scan_contrast iso_scan_value(const iso_scan_curve *curve, double x) {
    iso_scan_contrast out = {{0}, 0.0};
    terms_at(out.term, x - curve->middle);
    return out;
}

iso_scan_contrast iso_scan_slope(const iso_scan_curve *curve, double x) {
    iso_scan_contrast out = {{0}, 0.0};
    double terms[ISO_SCAN_TERMS];
    terms_at(terms, x - curve->middle);
    memcpy(out.term + 1, terms, (ISO_SCAN_TERMS - 1) * sizeof *terms);
    return out;
}

iso_scan_contrast iso_scan_gap(const iso_scan_curve *curve, double x) {
    iso_scan_contrast out = iso_scan_value(curve, x);
    for (int k = 0; k < ISO_SCAN_TERMS; k++) out.term[k] = -out.term[k];
    out.level = 1.0;
    return out;
}

iso_scan_contrast iso_scan_rise(const iso_scan_curve *curve, double from, double to) {
    iso_scan_contrast out = iso_scan_value(curve, to), start = iso_scan_value(curve, from);
    for (int k = 0; k < ISO_SCAN_TERMS; k++) out.term[k] -= start.term[k];
    return out;
}

/* A contrast as weights of the means, the level's last, and of the shape's b3 and b4. */
typedef struct weights {
    double mean[MAX + 1], shape[N_ROOM];
} weights;

static weights weigh(const iso_scan_curve *curve, const iso_scan_contrast *contrast) {
    weights out = {{0}, {0}};
    int64_t n = curve->n_points;
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < ISO_SCAN_TERMS; k++)
            out.mean[i] += contrast->term[k] * curve->map[k][i];
    for (int s = 0; s < N_ROOM; s++) {
        out.shape[s] = -contrast->term[N_FREE + s];
        for (int64_t i = 0; i < n; i++) {
            double terms[ISO_SCAN_TERMS];
            terms_at(terms, curve->z[i]);
            out.shape[s] += out.mean[i] * terms[N_FREE + s];
        }
    }
    out.mean[n] = contrast->level;
    return out;
}

/* Covariances of the errors of two contrasts, part by part. Scatter beyond noise counts as
 * training. */
static void covary(double out[3], const iso_scan_curve *curve, const weights *a, const weights *b) {
    int64_t n = curve->n_points + (curve->has_level ? 1 : 0);
    out[0] = out[1] = out[2] = 0.0;
    for (int64_t i = 0; i < n; i++) {
        bool is_point = i < curve->n_points;
        double s = (is_point ? curve->inflation : 1.0) * curve->seed_sd;
        double variance = s * s / curve->seeds[i] + (is_point ? 0.0 : curve->excess_variance);
        out[0] += a->mean[i] * b->mean[i] * variance;
        for (int64_t j = 0; j < n; j++) out[1] += a->mean[i] * b->mean[j] * curve->evaluation[i][j];
    }
    for (int s = 0; s < N_ROOM; s++)
        out[2] += a->shape[s] * b->shape[s] * curve->room[s] * curve->room[s];
}

iso_scan_estimate iso_scan_curve_estimate(const iso_scan_curve *curve,
                                          const iso_scan_contrast *contrast) {
    double variance[3];
    weights w = weigh(curve, contrast);
    covary(variance, curve, &w, &w);
    double value = contrast->level != 0.0 ? contrast->level * curve->mean[curve->n_points] : 0.0;
    for (int k = 0; k < ISO_SCAN_TERMS; k++) value += contrast->term[k] * curve->coefficient[k];
    return (iso_scan_estimate){value, sqrt(fmax(variance[0], 0.0)), sqrt(fmax(variance[1], 0.0)),
                               sqrt(variance[2])};
}

/* --- critical values --- */

iso_scan_critical iso_scan_pointwise(const iso_scan_curve *curve) {
    return (iso_scan_critical){iso_t_95(curve->training_dof), iso_t_95(curve->evaluation_dof),
                               iso_t_95(INFINITY)};
}

static double sum_of(const double part[3]) {
    return part[0] + part[1] + part[2];
}

iso_scan_critical iso_scan_simultaneous(const iso_scan_curve *curve) {
    double length = 0.0, before = 0.0;
    weights last = {{0}, {0}};
    for (int i = 0; i <= N_GRID; i++) {
        double x = curve->low + (curve->high - curve->low) * i / N_GRID, own[3], shared[3];
        iso_scan_contrast contrast =
            curve->has_level ? iso_scan_gap(curve, x) : iso_scan_value(curve, x);
        weights here = weigh(curve, &contrast);
        covary(own, curve, &here, &here);
        if (i > 0) {
            covary(shared, curve, &last, &here);
            length += acos(fmin(1.0, sum_of(shared) / sqrt(sum_of(own) * before)));
        }
        before = sum_of(own);
        last = here;
    }
    return (iso_scan_critical){iso_tube_95(length, curve->training_dof),
                               iso_tube_95(length, curve->evaluation_dof),
                               iso_tube_95(length, INFINITY)};
}

double iso_scan_half(const iso_scan_estimate *estimate, const iso_scan_critical *critical) {
    double training = critical->training * estimate->training;
    double evaluation = critical->evaluation * estimate->evaluation;
    double shape = critical->shape * estimate->shape;
    return sqrt(training * training + evaluation * evaluation + shape * shape);
}
