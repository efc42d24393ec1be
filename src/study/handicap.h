/* handicap.h - what a side loses by the learning rate it was given: its own sweep's curve in ln lr,
 * the loss at the rate it used over the loss at the best rate.
 *
 * A side whose rate is off loses by that alone; the difference of the two handicaps is what the gap
 * owes to rates. Two estimates of a loss over its own minimum: never negative, and biased upwards
 * by the minimum's luck, which the interval allows for.
 */
#ifndef ISO_STUDY_HANDICAP_H
#define ISO_STUDY_HANDICAP_H

#include "study/optimum.h"

typedef struct iso_handicap {
    iso_optimum optimum; /* of ln lr */
    double used;         /* ln lr */
    double value, half;  /* BPC over the curve's lowest within the sweep */
    bool resolved;       /* value > half */
    bool at_least;       /* the sweep doesn't hold the optimum: there may be more to lose, and
                            without `resolved` nothing is known */
} iso_handicap;
/* x of the sweep's points is ln lr; used: of the rate that the comparison's runs had. ISO_ERR_USAGE
 * if that lies outside the sweep; otherwise as iso_scan_curve_fit. */
iso_status iso_handicap_find(iso_handicap *out, const iso_scan *sweep, double used);

/* By how much rates favour the second side: the first's handicap minus the second's, with the
 * half-width of both. Where a side may lose more than its sweep shows, the interval is open there.
 */
typedef struct iso_handicap_difference {
    double value, half;
    double low, high; /* 95 %; infinite: open */
    bool known;       /* it is closed */
    bool resolved;    /* it leaves out zero */
} iso_handicap_difference;
iso_handicap_difference iso_handicap_compare(const iso_handicap *first, const iso_handicap *second);

#endif
