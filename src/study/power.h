/* power.h - the smallest gap that a plan can find out, and the seeds that a gap needs.
 *
 * The test is the report's: resolved if |gap| > half, half^2 = (t s sqrt(1/n_1 + 1/n_2))^2 + (t_e
 * SE_e)^2 with s estimated on its degrees of freedom. Its power is the probability of that if the
 * true gap is given: an integral over what s comes out as (chi-square), of normal probabilities.
 * For a whole scan's optimum: planted.h.
 */
#ifndef ISO_STUDY_POWER_H
#define ISO_STUDY_POWER_H

#include <stdint.h>

typedef struct iso_power_design {
    double seed_sd;                    /* as expected, BPC */
    int64_t n_configurations, n_seeds; /* each with so many seeds: (n_seeds - 1) each pooled */
    double other_dof;                  /* of seed noise from elsewhere: an A/A control */
    double evaluation_se;              /* of the paired difference, BPC */
    double evaluation_dof;             /* 0 = infinite */
} iso_power_design;

/* The probability that a true gap is resolved, with its sign or not; NaN if there is no second
 * seed. */
double iso_power_of(const iso_power_design *design, double gap);
/* The smallest gap that is resolved with probability `power`, 0.05 < power < 1. */
double iso_power_detectable(const iso_power_design *design, double power);
/* The fewest seeds of each configuration with which `gap` is; 0 if 1000 aren't enough, because the
 * evaluation's noise alone hides it. design->n_seeds is not used. */
int64_t iso_power_seeds(const iso_power_design *design, double gap, double power);

#endif
