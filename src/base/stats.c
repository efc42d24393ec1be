/* Student's t through the regularised incomplete beta function, whose continued fraction converges
 * to full double precision in a few dozen terms on the side of the mean that is used here. The
 * quantile is a bisection on that: slow, safe, and called a few dozen times a page. */
#include "base/stats.h"

#include <math.h>
#include <stdbool.h>

/* The continued fraction of I_x(a, b), by Lentz's method (Abramowitz & Stegun 26.5.8). */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1.0, d = 1.0 - (a + b) * x / (a + 1.0);
    if (fabs(d) < tiny) d = tiny;
    d = 1.0 / d;
    double fraction = d;
    for (int m = 1; m <= 1000; m++) {
        double even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        double change = 1.0;
        for (int half = 0; half < 2; half++) {
            double term = half == 0 ? even : odd;
            d = 1.0 + term * d;
            c = 1.0 + term / c;
            if (fabs(d) < tiny) d = tiny;
            if (fabs(c) < tiny) c = tiny;
            d = 1.0 / d;
            change = c * d;
            fraction *= change;
        }
        if (fabs(change - 1.0) < 1e-16) break;
    }
    return fraction;
}

/* ln B(a, b). For large a with b = 1/2 the difference of two lgamma values loses digits (1e-9 at a
 * = 1e7), so the ratio Gamma(a + 1/2)/Gamma(a) is expanded there instead. */
static double log_beta_half(double a) {
    const double log_gamma_half = 0.57236494292470008707; /* ln sqrt(pi) */
    if (a < 1e3) return lgamma(a) + log_gamma_half - lgamma(a + 0.5);
    double inverse = 1.0 / a;
    return log_gamma_half - 0.5 * log(a) + inverse / 8.0 - inverse * inverse * inverse / 192.0;
}

/* P(|T| > t): I_x(dof/2, 1/2) at x = dof/(dof + t^2). */
static double two_tails(double t, double dof) {
    if (isinf(dof)) return erfc(fabs(t) / sqrt(2.0));
    double a = 0.5 * dof, b = 0.5;
    double square = t * t;
    if (square == 0.0) return 1.0;
    double x = dof / (dof + square), y = square / (dof + square);
    double log_x = x < 0.5 ? log(x) : log1p(-y);
    double front = exp(a * log_x + b * log(y) - log_beta_half(a));
    if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
    return 1.0 - front * beta_fraction(b, a, y) / b;
}

double iso_t_cdf(double t, double dof) {
    if (isnan(t) || !(dof > 0.0)) return NAN;
    double tail = 0.5 * two_tails(t, dof);
    return t > 0.0 ? 1.0 - tail : tail;
}

double iso_t_quantile(double p, double dof) {
    if (!(p > 0.0 && p < 1.0) || !(dof > 0.0)) return NAN;
    if (p == 0.5) return 0.0;
    bool upper = p > 0.5;
    double tail = upper ? 1.0 - p : p;
    double low = 0.0, high = 1.0;
    while (0.5 * two_tails(high, dof) > tail && high < 1e300) high *= 2.0;
    for (int i = 0; i < 200 && low < high; i++) {
        double middle = 0.5 * (low + high);
        if (middle == low || middle == high) break;
        if (0.5 * two_tails(middle, dof) > tail)
            low = middle;
        else
            high = middle;
    }
    return upper ? high : -high;
}

double iso_t_95(double dof) {
    return iso_t_quantile(0.975, dof);
}

/* --- bands and proportions --- */

static double tube_excess(double c, double length, double dof) {
    double power = isinf(dof) ? exp(-0.5 * c * c) : exp(-0.5 * dof * log1p(c * c / dof));
    return length / M_PI * power + two_tails(c, dof);
}

double iso_tube_95(double length, double dof) {
    if (!(length >= 0.0) || !(dof > 0.0)) return NAN;
    double low = 0.0, high = 1.0;
    while (tube_excess(high, length, dof) > 0.05 && high < 1e300) high *= 2.0;
    for (int i = 0; i < 100; i++) {
        double middle = 0.5 * (low + high);
        *(tube_excess(middle, length, dof) > 0.05 ? &low : &high) = middle;
    }
    return high;
}

/* I_x(a, b). */
static double beta_cdf(double a, double b, double x) {
    if (!(x > 0.0)) return 0.0;
    if (!(x < 1.0)) return 1.0;
    double front = exp(a * log(x) + b * log1p(-x) - (lgamma(a) + lgamma(b) - lgamma(a + b)));
    if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
    return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

static double beta_quantile(double p, double a, double b) {
    double low = 0.0, high = 1.0;
    for (int i = 0; i < 100; i++) {
        double middle = 0.5 * (low + high);
        *(beta_cdf(a, b, middle) < p ? &low : &high) = middle;
    }
    return 0.5 * (low + high);
}

void iso_binomial_95(double *low, double *high, int64_t k, int64_t n) {
    *low = *high = NAN;
    if (k < 0 || k > n || n < 1) return;
    double hits = (double)k, misses = (double)(n - k);
    *low = k == 0 ? 0.0 : beta_quantile(0.025, hits, misses + 1.0);
    *high = k == n ? 1.0 : beta_quantile(0.975, hits + 1.0, misses);
}

/* --- noise --- */

double iso_mean(const double *x, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return n > 0 ? sum / (double)n : NAN;
}

void iso_pooled_add(iso_pooled *pooled, const double *x, int64_t n) {
    if (n < 2) return;
    double mean = iso_mean(x, n);
    for (int64_t i = 0; i < n; i++) pooled->sum_squares += (x[i] - mean) * (x[i] - mean);
    pooled->dof += (double)(n - 1);
    pooled->n_groups++;
}

double iso_pooled_sd(const iso_pooled *pooled) {
    return pooled->dof > 0.0 ? sqrt(pooled->sum_squares / pooled->dof) : NAN;
}

iso_ratio iso_ratio_estimate(const double *y, const double *size, int64_t n) {
    double sum_y = 0.0, sum_size = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum_y += y[i];
        sum_size += size[i];
    }
    iso_ratio out = {sum_size > 0.0 ? sum_y / sum_size : NAN, NAN, n};
    if (n < 2 || !(sum_size > 0.0)) return out;
    for (int64_t i = 0; i < n; i++) {
        double error = y[i] - out.value * size[i];
        squares += error * error;
    }
    out.se = sqrt(squares * (double)n / (double)(n - 1)) / sum_size;
    return out;
}

double iso_ratio_covariance(const double *y1, const double *y2, const double *size, int64_t n) {
    double sum_1 = 0.0, sum_2 = 0.0, sum_size = 0.0, products = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum_1 += y1[i];
        sum_2 += y2[i];
        sum_size += size[i];
    }
    if (n < 2 || !(sum_size > 0.0)) return NAN;
    for (int64_t i = 0; i < n; i++)
        products += (y1[i] - sum_1 / sum_size * size[i]) * (y2[i] - sum_2 / sum_size * size[i]);
    return products * (double)n / (double)(n - 1) / (sum_size * sum_size);
}
