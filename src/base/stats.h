/* stats.h - the little statistics that a verdict needs: Student's t, seed noise, ratio estimates.
 *
 * Pure arithmetic on doubles; knows nothing of runs. Degrees of freedom are doubles, because
 * Welch-Satterthwaite gives fractions.
 */
#ifndef ISO_BASE_STATS_H
#define ISO_BASE_STATS_H

#include <stdint.h>

/* P(T <= t) of Student's t with dof > 0 degrees of freedom; dof = INFINITY is the normal law. */
double iso_t_cdf(double t, double dof);
/* Its inverse: the t with iso_t_cdf(t, dof) = p, for 0 < p < 1. NaN for arguments outside. */
double iso_t_quantile(double p, double dof);
/* Half-width of a two-sided 95 % interval in standard errors: iso_t_quantile(0.975, dof). */
double iso_t_95(double dof);

/* Critical value of a band of 95 % that holds at all points of a curve at once: the c with
 *     length/pi (1 + c^2/dof)^(-dof/2) + P(|T_dof| > c) = 0.05,
 * two-sided (Naiman 1986, Ann. Statist. 14, 896; Sun & Loader 1994, Ann. Statist. 22, 1328).
 * `length`: of the path that the estimate's error, scaled to unit variance, takes as the curve is
 * followed: the sum of the angles acos(correlation) between neighbours. 0 gives iso_t_95; too large
 * for a path that turns back. NaN for length < 0 or dof <= 0. */
double iso_tube_95(double length, double dof);

/* 95 % interval of a probability after k of n (Clopper & Pearson 1934): never too short. NaN unless
 * 0 <= k <= n and n > 0. */
void iso_binomial_95(double *low, double *high, int64_t k, int64_t n);

double iso_mean(const double *x, int64_t n); /* NaN for n = 0 */

/* Variance within groups, pooled: sum over groups of squared deviations from the group's own mean,
 * over the sum of (n_i - 1). Zero-initialise, add each group, then read. */
typedef struct iso_pooled {
    double sum_squares;
    double dof;       /* sum of n_i - 1; 0 = nothing known */
    int64_t n_groups; /* groups that had at least two members */
} iso_pooled;
void iso_pooled_add(iso_pooled *pooled, const double *x, int64_t n);
double iso_pooled_sd(const iso_pooled *pooled); /* NaN while dof is 0 */

/* A ratio sum(y)/sum(size) over n blocks and its standard error by linearisation (Cochran, Sampling
 * Techniques, 3rd ed., eq. 2.39 without the finite-population factor):
 *   se^2 = n/(n-1) * sum (y_b - ratio*size_b)^2 / (sum size)^2.
 * se is NaN for n < 2. */
typedef struct iso_ratio {
    double value, se;
    int64_t n;
} iso_ratio;
iso_ratio iso_ratio_estimate(const double *y, const double *size, int64_t n);
/* Covariance of two such ratios over the same blocks: se^2 if both are one. NaN for n < 2. */
double iso_ratio_covariance(const double *y1, const double *y2, const double *size, int64_t n);

#endif
