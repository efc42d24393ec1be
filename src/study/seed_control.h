/* seed_control.h - differences of configurations beyond their seeds' noise, and the A/A control
 * that says what "different" means: one configuration against itself under other seeds.
 */
#ifndef ISO_STUDY_SEED_CONTROL_H
#define ISO_STUDY_SEED_CONTROL_H

#include "base/stats.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* first - second, as iso_gap_estimate of study/answer.h: half^2 = (t training)^2 + (t
 * evaluation)^2; NaN, and nothing resolved, where `noise` knows nothing. */
typedef struct iso_seed_gap {
    double value, half;
    bool resolved;
} iso_seed_gap;
/* evaluation_se: of the paired difference; evaluation_dof 0 = infinite. */
iso_seed_gap iso_seed_gap_estimate(const double *first, int64_t n_first, const double *second,
                                   int64_t n_second, const iso_pooled *noise, double evaluation_se,
                                   double evaluation_dof);

/* n_runs runs of one configuration are cut, as they come, into sides of `n_seeds` runs and these
 * into pairs; each pair is compared as MoE and dense are, with the noise pooled over all sides. */
typedef struct iso_seed_control {
    int64_t n_runs, n_seeds, n_pairs, n_alarms;
    double rate_low, rate_high;       /* Clopper-Pearson, 95 % */
    double largest;                   /* |gap| of all pairs */
    double half;                      /* what two sides must differ by: the A/A spread */
    double seed_sd, seed_dof;         /* over all n_runs, the best there is to know */
    double seed_sd_low, seed_sd_high; /* 95 % */
} iso_seed_control;
/* ISO_ERR_USAGE unless n_seeds >= 2 and there is a pair. Evaluation noise is left out: both sides
 * are scored on one sample of text, and so is the spread that their seeds show. */
iso_status iso_seed_control_make(iso_seed_control *out, const double *bpc, int64_t n_runs,
                                 int64_t n_seeds);

#endif
