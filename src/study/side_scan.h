/* side_scan.h - from the sides of a comparison to a scan over activation rates: the points, the
 * dense level, and the covariance of their scores over blocks of text.
 *
 * Does not own: what is made of it (study/scan_curve.h, study/optimum.h).
 *
 * (I1) it points into itself: it stays where it was made.
 */
#ifndef ISO_STUDY_SIDE_SCAN_H
#define ISO_STUDY_SIDE_SCAN_H

#include "study/scan_curve.h"
#include "study/sides.h"

/* Borrows scores from the sides, which must outlive it. */
typedef struct iso_side_scan {
    iso_scan scan; /* x = ln r_a; points into what follows */
    iso_scan_point *points, level;
    double *covariance;
    const iso_side **moes; /* the points' sides */
    const iso_side *dense;
} iso_side_scan;

/* Of sides of one rate (to 1 %) the one with most seeds is taken, then the lower BPC; likewise of
 * dense ones. Nothing is said of whether the sides are equal: sides->audit is. ISO_ERR_USAGE
 * without a dense side or an MoE; ISO_ERR_DATA if their final evaluations cannot be paired. */
iso_status iso_side_scan_make(iso_side_scan *out, const iso_sides *sides);
void iso_side_scan_release(iso_side_scan *scan);

/* The covariance over blocks of text of the scores of n > 1 sides, n x n, and the degrees of
 * freedom that hold for all differences to the last one. ISO_ERR_DATA if their final evaluations
 * cannot be paired. */
iso_status iso_sides_covariance(double *out, double *dof, const iso_side *const *sides, int64_t n);

#endif
