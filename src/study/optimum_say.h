/* optimum_say.h - a study's verdicts in words: size, 95 % interval, seeds, or why there is none.
 *
 * Plain UTF-8, a sentence or two, the same for terminal and page. x of optima and regions is ln
 * r_a. Each returns text that the caller frees.
 */
#ifndef ISO_STUDY_OPTIMUM_SAY_H
#define ISO_STUDY_OPTIMUM_SAY_H

#include "study/handicap.h"
#include "study/planted.h"
#include "study/power.h"
#include "study/seed_control.h"
#include "study/token_law.h"

/* Which rate is best. */
char *iso_optimum_say(const iso_scan_curve *curve, const iso_optimum *optimum);
/* The gap to dense there; the curve has a level. */
char *iso_optimum_say_gap(const iso_scan_curve *curve, const iso_optimum *optimum);
/* From which rate to which the MoE is better. */
char *iso_region_say(const iso_scan_curve *curve, const iso_region *region);
/* side: as a sentence names it, "dense", "the MoE at 20 % activation". */
char *iso_handicap_say(const iso_handicap *handicap, const char *side);
char *iso_handicap_say_difference(const iso_handicap_difference *difference, const char *first,
                                  const char *second);
char *iso_seed_control_say(const iso_seed_control *control);
/* The plan's smallest gap; expected: the gap looked for, NaN if there is no expectation. */
char *iso_power_say(const iso_power_design *design, double expected);
/* What a scan planned so would find out about the optimum: shares of planted ones. */
char *iso_planted_say(const iso_planted *planted, const iso_planted_result *result);
char *iso_token_law_say(const iso_token_law *law);
char *iso_reuse_say(const iso_reuse *reuse);

#endif
