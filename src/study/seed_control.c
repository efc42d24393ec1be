#include "study/seed_control.h"

#include <inttypes.h>
#include <math.h>

iso_seed_gap iso_seed_gap_estimate(const double *first, int64_t n_first, const double *second,
                                   int64_t n_second, const iso_pooled *noise, double evaluation_se,
                                   double evaluation_dof) {
    iso_seed_gap out = {.value = iso_mean(first, n_first) - iso_mean(second, n_second)};
    double se = iso_pooled_sd(noise) * sqrt(1.0 / (double)n_first + 1.0 / (double)n_second);
    double evaluation = iso_t_95(evaluation_dof > 0.0 ? evaluation_dof : INFINITY) * evaluation_se;
    out.half = hypot(iso_t_95(noise->dof) * se, evaluation);
    out.resolved = fabs(out.value) > out.half; /* false where half is NaN */
    return out;
}

/* P(X^2_dof <= x) by Simpson's rule in ln x, whose density is smooth whatever dof. */
static double chi_square_cdf(double x, double dof) {
    enum { STEPS = 2000 };
    double a = 0.5 * dof, from = -80.0 / dof - 5.0, to = log(0.5 * x), sum = 0.0;
    if (to <= from) return 0.0;
    for (int i = 0; i <= STEPS; i++) {
        double u = from + (to - from) * i / STEPS;
        double weight = i == 0 || i == STEPS ? 1.0 : i % 2 ? 4.0 : 2.0;
        sum += weight * exp(a * u - exp(u) - lgamma(a));
    }
    return sum * (to - from) / (3.0 * STEPS);
}

static double chi_square_quantile(double p, double dof) {
    double low = 0.0, high = dof + 10.0 * sqrt(2.0 * dof) + 20.0;
    for (int i = 0; i < 60; i++) {
        double middle = 0.5 * (low + high);
        *(chi_square_cdf(middle, dof) < p ? &low : &high) = middle;
    }
    return 0.5 * (low + high);
}

iso_status iso_seed_control_make(iso_seed_control *out, const double *bpc, int64_t n_runs,
                                 int64_t n_seeds) {
    *out = (iso_seed_control){.n_runs = n_runs, .n_seeds = n_seeds};
    if (n_seeds < 2 || n_runs < 2 * n_seeds)
        return iso_fail(ISO_ERR_USAGE,
                        "an A/A control needs sides of 2 seeds or more and two of them, here are "
                        "%" PRId64 " runs in sides of %" PRId64 "; train more seeds",
                        n_runs, n_seeds);
    out->n_pairs = n_runs / (2 * n_seeds);
    iso_pooled noise = {0}, all = {0};
    for (int64_t i = 0; i < 2 * out->n_pairs; i++)
        iso_pooled_add(&noise, bpc + i * n_seeds, n_seeds);
    for (int64_t i = 0; i < out->n_pairs; i++) {
        const double *side = bpc + 2 * i * n_seeds;
        iso_seed_gap gap =
            iso_seed_gap_estimate(side, n_seeds, side + n_seeds, n_seeds, &noise, 0.0, 0.0);
        out->n_alarms += gap.resolved;
        out->largest = fmax(out->largest, fabs(gap.value));
        out->half = gap.half;
    }
    iso_binomial_95(&out->rate_low, &out->rate_high, out->n_alarms, out->n_pairs);
    iso_pooled_add(&all, bpc, n_runs);
    out->seed_sd = iso_pooled_sd(&all);
    out->seed_dof = all.dof;
    out->seed_sd_low = sqrt(all.sum_squares / chi_square_quantile(0.975, all.dof));
    out->seed_sd_high = sqrt(all.sum_squares / chi_square_quantile(0.025, all.dof));
    return ISO_OK;
}
