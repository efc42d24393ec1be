/* gap_law.h - what to expect: the BPC gap between a dense model and an MoE of equal N and C.
 *
 * A law fitted to finished runs, the paper's or one's own (docs/gap_law.md tells how it was
 * chosen):
 *
 *     BPC = level + a p(N) + b p(D') + g (r_a^-x - 1)/x          p(z) = ((z/z0)^-0.35 - 1)/0.35
 *         + [dense] (d + e ln(N/N0)) + c ln(lr / Step Law)
 *
 * D' prices repeated data after Muennighoff et al. 2023 (iso_gap_effective_tokens). Everything but
 * x is linear; x is found by a search around it. c has a prior: in the paper's runs the rate goes
 * with scale and side, so they say nearly nothing about it.
 *
 * Owns: merging rows, the fit, its errors, the region it was fitted in, the gap of two points.
 * Does not own: the way from a budget to points and to the best r_a (gap_curve.h), where rows come
 * from (gap_rows.h).
 *
 * (I1) a prediction outside the fitted region is refused unless the caller asks for extrapolation,
 *      and is then marked;
 * (I2) errors are of runs that the fit had not seen: one configuration left out, or one scale;
 * (I3) the same rows give the same law, whatever their order is up to rounding.
 */
#ifndef ISO_STUDY_GAP_LAW_H
#define ISO_STUDY_GAP_LAW_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define ISO_GAP_NAME_BYTES 48

/* A finished run. N, r_a: convention `paper`. */
typedef struct iso_gap_row {
    char name[ISO_GAP_NAME_BYTES];
    char table[ISO_GAP_NAME_BYTES]; /* errors are told by table; one's own runs: the study's name */
    bool is_dense;
    double params;          /* N */
    double activation_rate; /* r_a; 1 if dense */
    double tokens;          /* D */
    double unique_tokens;   /* D-hat, at most D */
    double lr_over_law;     /* peak rate over Step Law's for this N and D */
    double flops;           /* C = M D, training; pairs of equal C make gaps to check against */
    double bpc;
} iso_gap_row;

/* The terms of the law, as bits. The last four are not in it: they were tried (docs/gap_law.md). */
typedef enum iso_gap_term {
    ISO_GAP_LEVEL,
    ISO_GAP_PARAMS,       /* p(N) */
    ISO_GAP_TOKENS,       /* p(D') */
    ISO_GAP_RATE,         /* (r_a^-x - 1)/x */
    ISO_GAP_DENSE,        /* 1 if dense */
    ISO_GAP_DENSE_PARAMS, /* ln(N/N0) if dense */
    ISO_GAP_LR,           /* ln(lr / Step Law), with a prior */
    ISO_GAP_LN_RATE,      /* ln r_a */
    ISO_GAP_LN_RATE_2,    /* (ln r_a)^2 */
    ISO_GAP_RATE_PARAMS,  /* ln r_a ln(N/N0) */
    ISO_GAP_REPEATS,      /* ln(D/D'): whether repeats cost more than D' says */
    ISO_GAP_N_TERMS
} iso_gap_term;

typedef struct iso_gap_form {
    unsigned terms;       /* bits 1 << iso_gap_term */
    bool fit_exponent;    /* x is fitted; otherwise it is rate_exponent */
    double rate_exponent; /* x */
    double power;         /* 0.35; 0 makes p a logarithm */
} iso_gap_form;
/* The law above, x fitted. */
iso_gap_form iso_gap_form_default(void);

typedef struct iso_gap_law iso_gap_law;

/* Fits one form to the rows, as it is. Exact repeats count once, repeats of a configuration with
 * different BPC are averaged. ISO_ERR_DATA for rows that are no runs (a NaN, D-hat > D, ...) or
 * that don't determine the form's terms. */
iso_status iso_gap_law_create(iso_gap_law **out, const iso_gap_row *rows, int64_t n,
                              const iso_gap_form *form);
/* Fits what the rows can tell: terms that they don't determine are left out, and x is `prior`'s
 * where they hold fewer than five activation rates. ISO_ERR_USAGE if there are too few runs or
 * rates even so: the message says how many more are needed. */
iso_status iso_gap_law_refit(iso_gap_law **out, const iso_gap_row *rows, int64_t n,
                             const iso_gap_law *prior);
void iso_gap_law_free(iso_gap_law *law);

/* RMS errors, of BPC and of the gap of pairs: a dense model and an MoE of one scale and of one C,
 * to 5 %. NaN where nothing could be left out. "Left out" is the whole configuration, of a pair
 * both (the MoE alone, if the dense model is the only one). */
typedef struct iso_gap_error {
    char name[ISO_GAP_NAME_BYTES]; /* a table, a scale ("2.15B"), or "all" */
    int64_t n_rows, n_pairs;
    double bpc_residual, bpc_loo, bpc_scale; /* in the fit; itself left out; its scale left out */
    double gap_residual, gap_loo, gap_scale;
    double gap_loo_bias, gap_scale_bias; /* mean of measured minus predicted */
} iso_gap_error;

/* What the law says of a row: its BPC in the fit, with its configuration left out, with its scale
 * left out; NaN where the rest doesn't determine the law. */
typedef struct iso_gap_check {
    double fitted, loo, scale;
} iso_gap_check;

typedef struct iso_gap_range {
    double low, high;
} iso_gap_range;

/* The bounds of the runs, per side: [0] MoE, [1] dense. A query may exceed those of N, r_a and C by
 * 2 %, the others, which follow from shapes, by 10 %. */
typedef struct iso_gap_region {
    iso_gap_range params, activation_rate; /* of the MoEs for r_a */
    iso_gap_range tokens_per_param[2], epochs[2], lr_over_law[2];
    iso_gap_range flops[2]; /* binds where the law has no term in D: one budget was fitted */
} iso_gap_region;

typedef struct iso_gap_fit {
    iso_gap_form form;                /* with x as fitted */
    int64_t n_rows, n_configurations; /* as given; merged */
    int64_t n_scales, n_rates;        /* distinct N (to 10 %), distinct r_a of MoEs (to 2 %) */
    int64_t n_parameters;             /* fitted, x included */
    double dof;
    double sigma;                 /* residual standard deviation of the fit */
    double repeat_sd, repeat_dof; /* of runs of one configuration; NaN, 0 without any */
    double value[ISO_GAP_N_TERMS], se[ISO_GAP_N_TERMS]; /* NaN for terms that aren't there */
    double exponent_se;                                 /* of x; 0 if it was given */
    double params_unit, tokens_unit; /* N0, D0: geometric means over the configurations */
    iso_gap_region region;
    iso_gap_error all;
    int64_t n_tables;
    iso_gap_error *tables, *scales; /* scales: n_scales, by N */
    iso_gap_check *checks;          /* n_rows, as given; all three arrays belong to the law */
} iso_gap_fit;
const iso_gap_fit *iso_gap_law_fit(const iso_gap_law *law); /* borrowed from the law */

/* A model to be trained. */
typedef struct iso_gap_point {
    bool is_dense;
    double params, activation_rate, tokens;
    double unique_tokens; /* more than `tokens`: nothing is repeated */
    double lr_over_law, flops;
} iso_gap_point;

typedef struct iso_gap_forecast {
    double value; /* BPC of dense minus BPC of MoE: positive, the MoE is better */
    double se;    /* of the fit: from the parameters' covariance alone */
    double half; /* 95 %: what one pair of runs may show; NaN: unknown. Adds the gap's leave-one-out
                    error; outside the region its leave-one-scale-out error, times the distance from
                    the region over the one at which that was measured */
    double loo, scale; /* these errors, RMS; NaN if unknown */
    bool in_region;
} iso_gap_forecast;

/* The expected gap. ISO_ERR_USAGE outside the region unless `extrapolate`; the message names the
 * bound. */
iso_status iso_gap_law_predict(iso_gap_forecast *out, const iso_gap_law *law,
                               const iso_gap_point *dense, const iso_gap_point *moe,
                               bool extrapolate);
/* The expected BPC of one model: a level, true of the fitted runs' validation text only. */
double iso_gap_law_bpc(const iso_gap_law *law, const iso_gap_point *point);

/* Appends, a line each, what a reader of a prediction must know: the errors, what was left out, and
 * that levels depend on the corpus. */
void iso_gap_law_say(iso_str *out, const iso_gap_law *law);

/* D' = U + U R* (1 - exp(-R/R*)), R = D/U - 1, R* = 15.387756 (Muennighoff et al. 2023, eq. 5 and
 * the fitted R*_D): the unique tokens that D tokens of U unique ones are worth. */
double iso_gap_effective_tokens(double tokens, double unique_tokens);

#endif
