/* optimum.h - where a scan's curve is lowest, how far below the level it is there, and where it is
 * below at all; each with a 95 % interval that may be one-sided or say that nothing is known.
 *
 * The optimum x* is where the slope is zero and nothing in the scan is surely lower. An x stays in
 * the interval unless the curve's slope there is not zero, |slope| > half-width (Fieller 1954: the
 * test inverted, not a ratio's standard error), or its value is surely above the curve's lowest.
 * "At or beyond the end" stays unless the curve surely rises towards that end or is surely above
 * its lowest there. What stays, from the least to the largest, is the interval.
 *
 * Gaps are level minus curve: positive, the MoE is better. The gap at the optimum has the
 * half-width of a band over the whole scan, because the place was chosen by its luck, too; a
 * crossing of curve and level has a pointwise one, 95 % for each of the two.
 *
 * Owns: outcomes and intervals, in x. Does not own: the curve and its noise (scan_curve.h), words
 * (optimum_say.h).
 */
#ifndef ISO_STUDY_OPTIMUM_H
#define ISO_STUDY_OPTIMUM_H

#include "study/scan_curve.h"

typedef enum iso_optimum_outcome {
    ISO_OPTIMUM_INSIDE,      /* low < x* < high */
    ISO_OPTIMUM_AT_OR_BELOW, /* x* < high, perhaps below the scan; low is its end */
    ISO_OPTIMUM_AT_OR_ABOVE, /* x* > low, perhaps above the scan; high is its end */
    ISO_OPTIMUM_UNRESOLVED,  /* could be anywhere, beyond either end, too */
} iso_optimum_outcome;

/* Which sign the gap has, beyond noise. */
typedef enum iso_gap_outcome {
    ISO_GAP_UNRESOLVED,
    ISO_GAP_BETTER, /* the curve is below the level */
    ISO_GAP_WORSE,
} iso_gap_outcome;

typedef struct iso_optimum {
    iso_optimum_outcome outcome;
    double at; /* the fitted curve's lowest, within the scan */
    double low, high;
    double value, value_half;
    /* With a level, else NaN; of the gap at `at`. */
    double gap, gap_half;
    double gap_training, gap_evaluation, gap_shape; /* its standard errors */
    iso_gap_outcome gap_outcome;
} iso_optimum;
iso_optimum iso_optimum_find(const iso_scan_curve *curve);

/* One end of the region around the optimum in which the curve is below the level. */
typedef enum iso_crossing_kind {
    ISO_CROSSING_NONE,    /* there is no region: the gap at the optimum is not resolved */
    ISO_CROSSING_BETWEEN, /* the crossing lies between outer and inner */
    ISO_CROSSING_OPEN,    /* it lies beyond inner; the scan doesn't say that there is one */
    ISO_CROSSING_BEYOND,  /* below the level up to the scan's end: if it crosses, beyond */
} iso_crossing_kind;
typedef struct iso_crossing {
    iso_crossing_kind kind;
    double at;           /* of the fitted curve; NaN if it doesn't cross in the scan */
    double inner, outer; /* NaN where the kind doesn't have them */
} iso_crossing;

typedef struct iso_region {
    iso_crossing low, high;
    bool worse_somewhere; /* the curve is above the level at some x, by the band */
} iso_region;
/* The curve has a level. */
iso_region iso_region_find(const iso_scan_curve *curve, const iso_optimum *optimum);

#endif
