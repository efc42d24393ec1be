/* study_power.h - what a study can tell apart before it is run: the noise to expect between seeds
 * and of the final evaluation, and the gap that is looked for.
 *
 * Does not own: the power of the test itself (power.h), the gap law (gap_law.h).
 *
 * Evaluation noise is taken to fall with the square root of the text scored: of a paired
 * difference over K domains of n_k characters, SE^2 = text_sd^2 sum(1/n_k)/K^2. text_sd is measured
 * on runs that are there, else ISO_STUDY_TEXT_SD. It grows with what the two sides know unlike, so
 * that of another corpus or size may differ by a factor of two.
 */
#ifndef ISO_STUDY_STUDY_POWER_H
#define ISO_STUDY_STUDY_POWER_H

#include "study/power.h"
#include "study/study_plan.h"

/* BPC times the square root of characters: dense against MoEs of 4e5 parameters, the four pairs of
 * one sweep, three domains of 131,000 characters each; between 2.3 and 2.9. */
#define ISO_STUDY_TEXT_SD 2.4

/* What finished runs tell of noise; NaN where they don't. */
typedef struct iso_study_noise {
    double seed_sd, seed_dof;
    double text_sd;
    int64_t n_pairs; /* of dense and MoE sides behind text_sd */
} iso_study_noise;
/* Of run folders. ISO_ERR_DATA as iso_run_open; runs that have not finished take no part. */
iso_status iso_study_noise_read(iso_study_noise *out, const char *const *run_dirs, int64_t n);

/* The standard error to expect of a paired difference, by the size of the final evaluation: the
 * domains of data.dir, else one of train.final_eval_tokens bytes. NaN where neither is known. */
iso_status iso_study_evaluation_se(double *out, const iso_study_plan *plan, double text_sd);

/* The gap to expect between the plan's dense baseline and its MoE nearest to 20 %, by the law of
 * the paper's runs; NaN outside of what those tell of, or without such a pair. */
iso_status iso_study_expected_gap(double *out, const iso_study_plan *plan);

#endif
