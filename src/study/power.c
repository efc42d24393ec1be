#include "study/power.h"

#include "base/stats.h"

#include <math.h>

#define N_STEPS   400 /* of Simpson's rule, even */
#define MAX_SEEDS 1000

static double normal_cdf(double z) {
    return 0.5 * erfc(-z / sqrt(2.0));
}

double iso_power_of(const iso_power_design *design, double gap) {
    double dof =
        design->other_dof + (double)design->n_configurations * (double)(design->n_seeds - 1);
    if (design->n_seeds < 1 || !(dof > 0.0)) return NAN;
    double se = design->seed_sd * sqrt(2.0 / (double)design->n_seeds), t = iso_t_95(dof);
    double text = iso_t_95(design->evaluation_dof > 0.0 ? design->evaluation_dof : INFINITY) *
                  design->evaluation_se;
    double spread = hypot(se, design->evaluation_se);
    /* u = ln(s^2/sigma^2): density ~ exp(dof/2 (u - e^u)), of width sqrt(2/dof) about 0. */
    double from = -30.0 / sqrt(dof) - 60.0 / dof, to = 4.0 / sqrt(dof) + log1p(40.0 / dof);
    double sum = 0.0, total = 0.0;
    for (int i = 0; i <= N_STEPS; i++) {
        double u = from + (to - from) * i / N_STEPS;
        double weight = (i == 0 || i == N_STEPS ? 1.0
                         : i % 2                ? 4.0
                                                : 2.0) *
                        exp(0.5 * dof * (u - exp(u) + 1.0));
        double half = hypot(t * se * exp(0.5 * u), text);
        sum += weight * (normal_cdf((gap - half) / spread) + normal_cdf((-gap - half) / spread));
        total += weight;
    }
    return sum / total;
}

double iso_power_detectable(const iso_power_design *design, double power) {
    if (isnan(iso_power_of(design, 0.0)) || !(power > 0.05 && power < 1.0)) return NAN;
    double low = 0.0, high = hypot(design->seed_sd, design->evaluation_se);
    while (iso_power_of(design, high) < power && high < 1e300) high *= 2.0;
    for (int i = 0; i < 60; i++) {
        double middle = 0.5 * (low + high);
        *(iso_power_of(design, middle) < power ? &low : &high) = middle;
    }
    return high;
}

int64_t iso_power_seeds(const iso_power_design *design, double gap, double power) {
    iso_power_design tried = *design;
    int64_t low = 0, high = MAX_SEEDS; /* power grows with seeds */
    tried.n_seeds = high;
    if (!(iso_power_of(&tried, gap) >= power)) return 0;
    while (high - low > 1) {
        tried.n_seeds = low + (high - low) / 2;
        *(iso_power_of(&tried, gap) >= power ? &high : &low) = tried.n_seeds;
    }
    return high;
}
