/* gap_curve.h - from a budget to the expected gap over activation rates, and the best of them.
 *
 * Equal N and C: an MoE of activation rate r_a spends M = 6 r_a N + attention FLOPs per token
 * (corrected equation 10 of the paper is the ratio of two of these), so it trains on
 * D_moe = C / M tokens where the dense model trains on D. How much of that is repeated is the
 * scheme.
 */
#ifndef ISO_STUDY_GAP_CURVE_H
#define ISO_STUDY_GAP_CURVE_H

#include "study/gap_law.h"

typedef enum iso_gap_scheme {
    ISO_GAP_STRICT, /* both sides repeat the same unique_tokens */
    ISO_GAP_LOOSE,  /* each side repeats half of its own D once */
    ISO_GAP_UNIQUE, /* nothing is repeated */
} iso_gap_scheme;

typedef struct iso_gap_budget {
    double params;                /* N of either side */
    double flops;                 /* C */
    double dense_flops_per_token; /* M of the dense baseline, training (x3), attention included */
    double moe_attention_flops_per_token; /* the part of an MoE's M that isn't 6 N_a: 12 H S L */
    iso_gap_scheme scheme;
    double unique_tokens;                      /* D-hat; strict only */
    double dense_lr_over_law, moe_lr_over_law; /* 1 = Step Law */
} iso_gap_budget;

/* The two sides at r_a. */
iso_gap_point iso_gap_budget_dense(const iso_gap_budget *budget);
iso_gap_point iso_gap_budget_moe(const iso_gap_budget *budget, double activation_rate);

#define ISO_GAP_CURVE_POINTS 49
/* Ranges without anything in them are NaN. */
typedef struct iso_gap_curve {
    iso_gap_range scanned; /* r_a: what of the fitted range the region allows; all, extrapolating */
    double rate[ISO_GAP_CURVE_POINTS]; /* equal steps in ln r_a over it */
    iso_gap_forecast gap[ISO_GAP_CURVE_POINTS];
    double best_rate;          /* where the expected gap is largest */
    bool best_at_edge;         /* at an end of `scanned`: the optimum may lie beyond */
    iso_gap_forecast best;     /* the gap there */
    iso_gap_range best_range;  /* 95 % interval of best_rate from the parameters' covariance, cut at
                                  `scanned`; all of it if best_at_edge */
    iso_gap_range best_scales; /* the best rates of the laws fitted without one of the scales */
    iso_gap_range better;      /* around the best: where the MoE is expected to be better */
    iso_gap_range surely_better; /* where value - half, too, is positive */
} iso_gap_curve;

/* ISO_ERR_USAGE as iso_gap_law_predict, or if no r_a of the fitted range is in the region. */
iso_status iso_gap_curve_make(iso_gap_curve *out, const iso_gap_law *law,
                              const iso_gap_budget *budget, bool extrapolate);

#endif
