/* gap_fit.h - one least-squares fit of a gap law's form to configurations; the inside of gap_law.h.
 *
 * Owns: what a law is made of, the terms' values, the search for x, the parameters' covariance.
 * Does not own: rows, what is left out of a fit and why (gap_errors.c), regions.
 */
#ifndef ISO_STUDY_GAP_FIT_H
#define ISO_STUDY_GAP_FIT_H

#include "study/gap_law.h"
#include "study/least_squares.h"

/* Merged runs: one point and one BPC for a configuration. */
typedef struct iso_gap_data {
    int64_t n;
    iso_gap_point *points;
    double *bpc;
    int64_t *scale; /* which group of equal N, from 0, by size */
    int64_t n_scales;
    double params_unit, tokens_unit;
    double lr_prior; /* of the term ISO_GAP_LR, with the weight of one run at ln(lr/law) = 1 */
} iso_gap_data;

/* A fitted law. Parameters are numbered: those of the form's terms in the enum's order, then x. */
typedef struct iso_gap_solution {
    iso_gap_form form; /* x as fitted */
    double params_unit, tokens_unit;
    int n; /* parameters */
    double beta[ISO_LEAST_SQUARES_MAX];
    double covariance[ISO_LEAST_SQUARES_MAX][ISO_LEAST_SQUARES_MAX];
    double sigma, dof;
    bool exponent_at_edge; /* x is where its search ends: the data don't determine it */
} iso_gap_solution;

struct iso_gap_law {
    iso_gap_fit fit;
    iso_gap_data data;
    int64_t n_rows;
    iso_gap_row *rows;
    int64_t *configuration; /* of each row */
    iso_gap_solution solution;
    iso_gap_solution *without; /* per scale: fitted to the others */
    bool *has_without;
};

/* A law of checked and merged rows, not yet fitted; and the fit of a form, everything in `fit`
 * included: false if the rows don't determine it. */
iso_status iso_gap_law_begin(iso_gap_law **out, const iso_gap_row *rows, int64_t n);
bool iso_gap_law_finish(iso_gap_law *law, const iso_gap_form *form);

/* Fills fit's errors (gap_errors.c) and region (gap_region.c) from everything else. */
void iso_gap_errors_measure(iso_gap_law *law);
void iso_gap_region_measure(iso_gap_law *law);
/* ISO_ERR_USAGE, naming the bound, if the point is outside. */
iso_status iso_gap_region_check(const iso_gap_law *law, const iso_gap_point *point);
/* How far outside, as the ln of the factor from the bound that is exceeded most; 0 inside. */
double iso_gap_region_distance(const iso_gap_law *law, const iso_gap_point *point);
/* How far from the others, in ln N, the nearer of the outermost scales was as it was left out. */
double iso_gap_region_tested(const iso_gap_law *law);

/* x is searched between these. */
#define ISO_GAP_EXPONENT_LOW  0.25
#define ISO_GAP_EXPONENT_HIGH 4.0

/* Fits `form` to the configurations that `left_out` (n flags, or NULL) doesn't name. False if they
 * don't determine it. */
bool iso_gap_solve(iso_gap_solution *out, const iso_gap_data *data, const bool *left_out,
                   const iso_gap_form *form);

/* The expected BPC, and its derivative by every parameter (out: solution->n values). */
double iso_gap_solution_bpc(const iso_gap_solution *solution, const iso_gap_point *point);
void iso_gap_solution_gradient(double *out, const iso_gap_solution *solution,
                               const iso_gap_point *point);
/* u' covariance u. */
double iso_gap_solution_variance(const iso_gap_solution *solution, const double *u);

/* The number of parameters of a form, x included. */
int iso_gap_form_parameters(const iso_gap_form *form);

#endif
