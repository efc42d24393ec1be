/* planted.h - scans with a known answer: a planted curve, planted noise, the same analysis as of
 * real ones. What a plan can find out before it is run, and whether intervals hold what they say.
 *
 * (I1) a result is a pure function of (planted, seed, draws): counter-based noise.
 */
#ifndef ISO_STUDY_PLANTED_H
#define ISO_STUDY_PLANTED_H

#include "study/optimum.h"

/* Curves over v = x - optimum with the same curvature k at the optimum where they have one. */
typedef enum iso_planted_shape {
    ISO_PLANTED_QUADRATIC, /* k v^2/2 */
    /* k/(a+b) (e^-av/a + e^bv/b): falls as r_a^-a, rises as r_a^b. (a, b) = */
    ISO_PLANTED_MILD,       /* (0.7, 0.35) */
    ISO_PLANTED_ASYMMETRIC, /* (1.5, 0.35) */
    ISO_PLANTED_STEEP,      /* (3, 0.35) */
    ISO_PLANTED_REVERSED,   /* (0.5, 2) */
    ISO_PLANTED_KINK,       /* |v| k/2, steeper by half on the left: no curvature at all */
    ISO_PLANTED_JUMP,       /* k v^2/2 times 3 on the left, 1/2 on the right */
    ISO_PLANTED_LINE,       /* k v/2: no optimum; at or below any scan */
    ISO_PLANTED_FLAT,       /* 0: every x is as good */
    ISO_PLANTED_N_SHAPES
} iso_planted_shape;
const char *iso_planted_name(iso_planted_shape shape);

typedef struct iso_planted {
    iso_planted_shape shape;
    double optimum, curvature;
    double gap;       /* the level above the curve's lowest value within the scan */
    double low, high; /* the scan; points are equally spaced */
    int64_t n_points, n_seeds, n_level_seeds;
    double seed_sd;
    double evaluation_se; /* of every configuration by itself */
    double scatter_sd;    /* of every configuration's level by itself, which no seed tells of */
    double bend;          /* the analysis's; 0 = ISO_SCAN_BEND */
} iso_planted;
double iso_planted_value(const iso_planted *planted, double x);

typedef struct iso_planted_result {
    int64_t draws;
    int64_t covered; /* the optimum's interval holds the optimum; FLAT: it is called unresolved */
    int64_t outcomes[ISO_OPTIMUM_UNRESOLVED + 1];
    double width; /* median, of intervals that are INSIDE, in x; NaN if there are none */
    double miss;  /* median distance of the optimum from intervals that don't hold it; NaN: none */
    int64_t gap_covered;    /* gap +- gap_half holds the true gap at the true best of the scan */
    int64_t better, worse;  /* "the MoE is better at its optimum", "... is worse somewhere" */
    int64_t differs;        /* either */
    int64_t region_covered; /* nothing said of either crossing is wrong */
} iso_planted_result;
/* ISO_ERR_USAGE for a plan that can't be: too few points, no second seed anywhere. */
iso_status iso_planted_run(iso_planted_result *out, const iso_planted *planted, uint64_t seed,
                           int64_t draws);

#endif
