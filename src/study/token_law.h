/* token_law.h - loss against tokens at a fixed configuration, and what repeating them costs.
 *
 *     BPC(D) = level + a h(D),   h(D) = ((D/D0)^-x - 1)/x,   D0 the geometric mean
 *
 * a power law with an offset, level - a/x, fitted or given; x -> 0 is the logarithm. Intervals are
 * profiles: what a constrained fit may cost over the best one is t^2, on the seed noise's degrees
 * of freedom, times Birge's ratio where the points scatter more than seeds do.
 *
 * Does not own: the worth of repeated tokens (gap_law.h, Muennighoff et al. 2023).
 */
#ifndef ISO_STUDY_TOKEN_LAW_H
#define ISO_STUDY_TOKEN_LAW_H

#include "study/scan_curve.h"

#define ISO_TOKEN_GRID 241

typedef struct iso_token_law {
    int64_t n_points, n_seeds;
    double low, high;   /* D of the points */
    double tokens_unit; /* D0 */
    bool offset_is_given;
    double offset; /* the BPC of infinitely many tokens; -INFINITY for x = 0 */
    double exponent, exponent_low, exponent_high; /* x */
    bool low_open, high_open; /* the interval ends where x is searched: nothing bounds it */
    double slope;             /* a */
    double seed_sd, seed_dof, inflation;
    /* Of the profile: each x, what it leaves of t^2 (negative: out), a and its variance there. */
    double x[ISO_TOKEN_GRID], left[ISO_TOKEN_GRID], a[ISO_TOKEN_GRID], variance[ISO_TOKEN_GRID];
} iso_token_law;

/* points: x = D, ascending; other_noise as in iso_scan. offset: NaN = fitted. ISO_ERR_USAGE for
 * fewer than 3 points (2 with an offset), no second seed anywhere, or a score below the offset;
 * ISO_ERR_DATA for what is no number or out of order. */
iso_status iso_token_law_fit(iso_token_law *out, const iso_scan_point *points, int64_t n_points,
                             const iso_pooled *other_noise, double offset);

/* An estimate with the ends of its 95 % interval. */
typedef struct iso_token_change {
    double value, low, high;
} iso_token_change;
/* BPC at D = from minus BPC at D = to: what the additional tokens are worth. */
iso_token_change iso_token_law_fall(const iso_token_law *law, double from, double to);

/* What repetition costs: a configuration trained on `tokens` of which `unique_tokens` are unique,
 * against the same one on as many unique tokens. */
typedef struct iso_reuse {
    double epochs;           /* tokens/unique_tokens */
    double effective_tokens; /* by Muennighoff's law */
    double penalty, half;    /* BPC, measured; NaN half: nothing is known of noise */
    bool resolved;
    iso_token_change expected; /* by that law and the token law; NaN without one */
    bool differs; /* measured and expected are further apart than both of their noise */
} iso_reuse;
/* Whether `differs` says anything: both of measured and expected have an interval. */
bool iso_reuse_is_judged(const iso_reuse *reuse);
/* once, repeated: as scan points with x = D of each, which agree to 5 %; evaluation_se: of the
 * paired difference. law may be NULL. ISO_ERR_USAGE if D differ or unique_tokens > D. */
iso_status iso_reuse_estimate(iso_reuse *out, const iso_scan_point *once,
                              const iso_scan_point *repeated, double unique_tokens,
                              const iso_pooled *noise, double evaluation_se,
                              const iso_token_law *law);

#endif
