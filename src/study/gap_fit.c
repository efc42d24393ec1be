/* Given x the law is linear, so x alone is searched: the residual sum of squares, minimised over
 * the linear part, as a function of ln x; a coarse scan against local minima, then golden section.
 * The covariance is Gauss-Newton's: x's column is the model's derivative by x at the solution.
 */
#include "study/gap_fit.h"

#include <math.h>
#include <stdlib.h>

#define N_SCAN    15
#define N_SECTION 44 /* golden sections: the bracket shrinks to 1e-9 of its width */

/* ((z/z0)^-power - 1)/power, which becomes -ln(z/z0) as power goes to 0. */
static double falling(double ratio, double power) {
    return power == 0.0 ? -log(ratio) : expm1(-power * log(ratio)) / power;
}

static double term_value(iso_gap_term term, const iso_gap_point *point,
                         const iso_gap_solution *at) {
    double params = point->params / at->params_unit;
    double effective = iso_gap_effective_tokens(point->tokens, point->unique_tokens);
    double ln_rate = point->is_dense ? 0.0 : log(point->activation_rate);
    switch (term) {
    case ISO_GAP_LEVEL:
        return 1.0;
    case ISO_GAP_PARAMS:
        return falling(params, at->form.power);
    case ISO_GAP_TOKENS:
        return falling(effective / at->tokens_unit, at->form.power);
    case ISO_GAP_RATE:
        return falling(exp(ln_rate), at->form.rate_exponent);
    case ISO_GAP_DENSE:
        return point->is_dense ? 1.0 : 0.0;
    case ISO_GAP_DENSE_PARAMS:
        return point->is_dense ? log(params) : 0.0;
    case ISO_GAP_LR:
        return log(point->lr_over_law);
    case ISO_GAP_LN_RATE:
        return ln_rate;
    case ISO_GAP_LN_RATE_2:
        return ln_rate * ln_rate;
    case ISO_GAP_RATE_PARAMS:
        return ln_rate * log(params);
    case ISO_GAP_REPEATS:
        return log(point->tokens / effective);
    case ISO_GAP_N_TERMS:
        break;
    }
    return NAN;
}

static bool has_term(const iso_gap_form *form, int term) {
    return form->terms >> term & 1u;
}

static int linear_parameters(const iso_gap_form *form) {
    int n = 0;
    for (int t = 0; t < ISO_GAP_N_TERMS; t++) n += has_term(form, t);
    return n;
}

int iso_gap_form_parameters(const iso_gap_form *form) {
    return linear_parameters(form) + (form->fit_exponent ? 1 : 0);
}

/* The terms' values; returns how many. */
static int linear_row(double *out, const iso_gap_solution *at, const iso_gap_point *point) {
    int n = 0;
    for (int t = 0; t < ISO_GAP_N_TERMS; t++)
        if (has_term(&at->form, t)) out[n++] = term_value((iso_gap_term)t, point, at);
    return n;
}

/* The parameter number of a term that the form has. */
static int parameter_of(const iso_gap_form *form, iso_gap_term term) {
    int n = 0;
    for (int t = 0; t < (int)term; t++) n += has_term(form, t);
    return n;
}

void iso_gap_solution_gradient(double *out, const iso_gap_solution *at,
                               const iso_gap_point *point) {
    int n = linear_row(out, at, point);
    if (!at->form.fit_exponent) return;
    double x = at->form.rate_exponent;
    double l = point->is_dense ? 0.0 : log(point->activation_rate);
    double rate = at->beta[parameter_of(&at->form, ISO_GAP_RATE)];
    out[n] = rate * (-l * exp(-x * l) / x - expm1(-x * l) / (x * x));
}

double iso_gap_solution_bpc(const iso_gap_solution *at, const iso_gap_point *point) {
    double row[ISO_LEAST_SQUARES_MAX], sum = 0.0;
    int n = linear_row(row, at, point);
    for (int i = 0; i < n; i++) sum += at->beta[i] * row[i];
    return sum;
}

double iso_gap_solution_variance(const iso_gap_solution *solution, const double *u) {
    double sum = 0.0;
    for (int i = 0; i < solution->n; i++)
        for (int j = 0; j < solution->n; j++) sum += u[i] * solution->covariance[i][j] * u[j];
    return sum;
}

/* --- the design --- */

typedef struct design {
    const iso_gap_data *data;
    const bool *left_out;
    double *x, *y; /* room for n + 1 rows */
} design;

/* Fills x and y at solution `at`: the linear terms against BPC, or, given the linear solution, all
 * derivatives against residuals. The prior is one more row. Returns the number of rows. */
static int64_t fill(design *d, const iso_gap_solution *at, bool is_tangent) {
    const iso_gap_data *data = d->data;
    int p = is_tangent ? iso_gap_form_parameters(&at->form) : linear_parameters(&at->form);
    int64_t n = 0;
    for (int64_t i = 0; i < data->n; i++) {
        if (d->left_out && d->left_out[i]) continue;
        const iso_gap_point *point = &data->points[i];
        if (is_tangent)
            iso_gap_solution_gradient(d->x + n * p, at, point);
        else
            linear_row(d->x + n * p, at, point);
        d->y[n++] = data->bpc[i] - (is_tangent ? iso_gap_solution_bpc(at, point) : 0.0);
    }
    if (has_term(&at->form, ISO_GAP_LR)) {
        int k = parameter_of(&at->form, ISO_GAP_LR);
        for (int j = 0; j < p; j++) d->x[n * p + j] = j == k ? 1.0 : 0.0;
        d->y[n++] = data->lr_prior - (is_tangent ? at->beta[k] : 0.0);
    }
    return n;
}

/* The linear part at x = exp(ln_x), into *at; its residual sum of squares, INFINITY if the data
 * don't determine it. */
static double profile(design *d, iso_gap_solution *at, double ln_x) {
    iso_least_squares fit;
    at->form.rate_exponent = exp(ln_x);
    int p = linear_parameters(&at->form);
    int64_t n = fill(d, at, false);
    if (!iso_least_squares_solve(&fit, d->x, d->y, n, p)) return INFINITY;
    for (int i = 0; i < p; i++) at->beta[i] = fit.beta[i];
    return fit.rss;
}

/* The ln x of the least residuals. */
static double search_exponent(design *d, iso_gap_solution *at) {
    const double golden = 0.6180339887498949;
    double low = log(ISO_GAP_EXPONENT_LOW), high = log(ISO_GAP_EXPONENT_HIGH);
    double step = (high - low) / (N_SCAN - 1), best = low, least = INFINITY;
    for (int i = 0; i < N_SCAN; i++) {
        double rss = profile(d, at, low + i * step);
        if (rss < least) least = rss, best = low + i * step;
    }
    double a = fmax(low, best - step), b = fmin(high, best + step);
    double c = b - golden * (b - a), e = a + golden * (b - a);
    double at_c = profile(d, at, c), at_e = profile(d, at, e);
    for (int i = 0; i < N_SECTION; i++) {
        if (at_c < at_e) {
            b = e, e = c, at_e = at_c;
            c = b - golden * (b - a), at_c = profile(d, at, c);
        } else {
            a = c, c = e, at_c = at_e;
            e = a + golden * (b - a), at_e = profile(d, at, e);
        }
    }
    double ln_x = 0.5 * (a + b);
    at->exponent_at_edge = ln_x < low + 1e-3 || ln_x > high - 1e-3;
    return ln_x;
}

static bool solve(iso_gap_solution *out, design *d) {
    double ln_x = out->form.fit_exponent ? search_exponent(d, out) : log(out->form.rate_exponent);
    if (!(profile(d, out, ln_x) < INFINITY)) return false;
    iso_least_squares tangent;
    int64_t n = fill(d, out, true);
    if (!iso_least_squares_solve(&tangent, d->x, d->y, n, out->n)) return false;
    out->dof = (double)(n - out->n);
    out->sigma = out->dof > 0.0 ? sqrt(tangent.rss / out->dof) : NAN;
    for (int i = 0; i < out->n; i++)
        for (int j = 0; j < out->n; j++)
            out->covariance[i][j] = tangent.inverse[i][j] * out->sigma * out->sigma;
    return true;
}

bool iso_gap_solve(iso_gap_solution *out, const iso_gap_data *data, const bool *left_out,
                   const iso_gap_form *form) {
    *out = (iso_gap_solution){.form = *form,
                              .params_unit = data->params_unit,
                              .tokens_unit = data->tokens_unit,
                              .n = iso_gap_form_parameters(form)};
    ISO_ASSERT(out->n <= ISO_LEAST_SQUARES_MAX);
    size_t n_rows = (size_t)data->n + 1;
    design d = {data, left_out, malloc(n_rows * ISO_LEAST_SQUARES_MAX * sizeof(double)),
                malloc(n_rows * sizeof(double))};
    ISO_ASSERT(d.x && d.y);
    bool is_solved = solve(out, &d);
    free(d.x);
    free(d.y);
    return is_solved;
}
