/* answer.h - who is better, by how much, and whether that is more than noise.
 *
 * Owns: the statistics of a comparison and the sentence that states its outcome; the page and the
 * terminal print the same sentence. Does not own: whether the sides are equal (runs/audit.h; runs
 * that are not get no answer), the grouping into sides (sides.h).
 *
 * The headline test is fixed before any run is looked at: dense against the MoE whose activation
 * rate is nearest to 20 %, where the paper has its best (its Figure 1b). Other rates are described
 * with their intervals, 95 % each, not corrected for how many there are.
 *
 * A gap is the dense side's mean BPC over seeds minus the MoE's: positive means the MoE is better.
 * Its two sources of noise are estimated apart:
 *   training    another seed would have given another model. s^2 = seed variance within a
 *               configuration, pooled over all configurations with two seeds or more, on
 *               nu = sum(n_i - 1) degrees of freedom; SE_t = s sqrt(1/n_1 + 1/n_2);
 *               half-width h_t = t(0.975, nu) SE_t;
 *   evaluation  another sample of text would have given another score. Paired differences of the
 * two sides, each averaged over its seeds, summed over blocks of text (documents; in a domain of
 * fewer than 30 documents, runs of 16 windows inside a document); per domain the ratio estimate
 * bits/characters with its linearised SE_k, over the K headline domains SE_e = sqrt(sum SE_k^2)/K,
 * Welch-Satterthwaite degrees of freedom nu_e; half-width h_e = t(0.975, nu_e) SE_e. The gap's
 * half-width is h = sqrt(h_t^2 + h_e^2), and the gap is resolved if and only if |gap| > h. If
 * either part is unknown, so is h, and nothing is resolved.
 */
#ifndef ISO_STUDY_ANSWER_H
#define ISO_STUDY_ANSWER_H

#include "base/stats.h"
#include "study/sides.h"

#include <stdbool.h>
#include <stdint.h>

/* What the paper claims (2B to 7B parameters). */
#define ISO_PAPER_RATE_BEST 0.20
#define ISO_PAPER_RATE_LOW  0.15
#define ISO_PAPER_RATE_HIGH 0.48

typedef struct iso_gap {
    double bpc; /* the first side's mean minus the second's: positive = the second is better */
    double training_dof, training_half;     /* NaN if unknown */
    double evaluation_dof, evaluation_half; /* NaN if unknown */
    double half;                            /* of both; NaN if either is */
    bool resolved;
} iso_gap;

/* Seed noise pooled over all sides. */
iso_pooled iso_sides_seed_noise(const iso_sides *sides);
/* The gap between two sides given that noise. */
iso_gap iso_gap_estimate(const iso_side *first, const iso_side *second, const iso_pooled *noise);
/* One domain's paired difference, first minus second, in bits per character, from the evaluations
 * window by window. value is NaN if the two sides did not score the same sample. */
iso_ratio iso_gap_domain(const iso_side *first, const iso_side *second, const char *domain);

typedef enum iso_outcome {
    ISO_OUTCOME_NO_COMPARISON, /* a side is missing, or the audit says not equal */
    ISO_OUTCOME_NOT_RESOLVED,
    ISO_OUTCOME_MOE_BETTER,
    ISO_OUTCOME_DENSE_BETTER,
} iso_outcome;

typedef struct iso_answer {
    iso_outcome outcome;
    const iso_sides *sides; /* borrowed, as all sides below are */
    iso_pooled noise;
    const iso_side *dense; /* NULL if there is none: the one with most seeds, then lowest BPC */
    const iso_side *moe;   /* NULL if there is none: nearest to 20 %, then as dense */
    const iso_side *best;  /* the MoE with the lowest BPC; may be `moe` */
    iso_gap gap;           /* dense - moe */
    iso_gap best_gap;      /* dense - best */
    iso_gap best_over_moe; /* moe - best */
    int64_t n_moe;         /* MoE sides */
} iso_answer;

/* `sides` must outlive the answer. */
iso_answer iso_answer_make(const iso_sides *sides);
/* With seed noise that more runs than these tell of. */
iso_answer iso_answer_with_noise(const iso_sides *sides, const iso_pooled *noise);

/* The answer in one sentence (or two), plain UTF-8 text: its size, its uncertainty and where that
 * comes from, or why there is none. Caller frees. */
char *iso_answer_sentence(const iso_answer *answer);
/* How that stands to the paper's claim; "" where there is no comparison. Caller frees. */
char *iso_answer_against_paper(const iso_answer *answer);
/* What the other rates say; "" if there is one rate only or no comparison. Caller frees. */
char *iso_answer_other_rates(const iso_answer *answer);

#endif
