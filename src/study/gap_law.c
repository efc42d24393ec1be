/* From rows to a law: check, merge what is one configuration, find the scales, fit, then measure
 * what the fit is worth. The forecast's interval adds the law's own failure on runs that it had not
 * seen to the parameters' uncertainty, because the residuals go by table, not by chance.
 */
#include "study/gap_law.h"
#include "study/gap_fit.h"

#include "base/stats.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAME          1e-3 /* relative: one configuration */
#define SAME_RATE     0.02
#define SAME_SCALE    0.10
#define MUENNIGHOFF_R 15.387756

/* Relative cost of an e-fold of learning rate over the law, from Step Law's own grid over four 2B
 * MoEs: at the best batch, twice the law's rate costs 0.0033 nats more than the law's, of 2.4. */
#define LR_PRIOR 0.0020

double iso_gap_effective_tokens(double tokens, double unique_tokens) {
    if (unique_tokens >= tokens) return tokens;
    double repeats = tokens / unique_tokens - 1.0;
    return unique_tokens * (1.0 - MUENNIGHOFF_R * expm1(-repeats / MUENNIGHOFF_R));
}

iso_gap_form iso_gap_form_default(void) {
    return (iso_gap_form){.terms = 1u << ISO_GAP_LEVEL | 1u << ISO_GAP_PARAMS |
                                   1u << ISO_GAP_TOKENS | 1u << ISO_GAP_RATE | 1u << ISO_GAP_DENSE |
                                   1u << ISO_GAP_DENSE_PARAMS | 1u << ISO_GAP_LR,
                          .fit_exponent = true,
                          .rate_exponent = 1.0,
                          .power = 0.35};
}

/* --- rows to configurations --- */

static bool is_positive(double value) {
    return value > 0.0 && isfinite(value);
}

static iso_status check_row(const iso_gap_row *row) {
    const char *fault = NULL;
    if (!is_positive(row->params) || !is_positive(row->tokens) || !is_positive(row->unique_tokens))
        fault = "its N, D and unique tokens must be positive numbers";
    else if (row->unique_tokens > row->tokens)
        fault = "it has more unique tokens than tokens";
    else if (!(row->activation_rate > 0.0 && row->activation_rate <= 1.0))
        fault = "its activation rate must be in (0, 1]";
    else if (row->is_dense && row->activation_rate < 1.0)
        fault = "it is dense but its activation rate isn't 1";
    else if (!is_positive(row->lr_over_law) || !is_positive(row->flops) || !is_positive(row->bpc))
        fault = "its learning rate, compute and BPC must be positive numbers";
    if (!fault) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "gap law: run %s of %s cannot be used: %s", row->name, row->table,
                    fault);
}

static bool is_near(double a, double b, double tolerance) {
    return fabs(a - b) <= tolerance * fmin(a, b);
}

static bool is_same(const iso_gap_point *point, const iso_gap_row *row) {
    return point->is_dense == row->is_dense && is_near(point->params, row->params, SAME) &&
           is_near(point->activation_rate, row->activation_rate, SAME) &&
           is_near(point->tokens, row->tokens, SAME) &&
           is_near(point->unique_tokens, row->unique_tokens, SAME) &&
           is_near(point->lr_over_law, row->lr_over_law, SAME);
}

static void *array(int64_t n, size_t item_bytes) {
    void *items = calloc((size_t)n + 1, item_bytes);
    ISO_ASSERT(items);
    return items;
}

/* The mean of a configuration's distinct BPCs: a row that is printed twice is one run. */
static double merged_bpc(iso_pooled *pooled, double *distinct, const iso_gap_law *law,
                         int64_t configuration) {
    int64_t n = 0;
    for (int64_t r = 0; r < law->n_rows; r++) {
        if (law->configuration[r] != configuration) continue;
        int64_t k = 0;
        while (k < n && distinct[k] != law->rows[r].bpc) k++;
        if (k == n) distinct[n++] = law->rows[r].bpc;
    }
    iso_pooled_add(pooled, distinct, n);
    return iso_mean(distinct, n);
}

static void merge(iso_gap_law *law) {
    iso_gap_data *data = &law->data;
    data->points = array(law->n_rows, sizeof *data->points);
    data->bpc = array(law->n_rows, sizeof *data->bpc);
    data->scale = array(law->n_rows, sizeof *data->scale);
    law->configuration = array(law->n_rows, sizeof *law->configuration);
    for (int64_t r = 0; r < law->n_rows; r++) {
        const iso_gap_row *row = &law->rows[r];
        int64_t i = 0;
        while (i < data->n && !is_same(&data->points[i], row)) i++;
        law->configuration[r] = i;
        if (i < data->n) continue;
        data->points[data->n++] = (iso_gap_point){.is_dense = row->is_dense,
                                                  .params = row->params,
                                                  .activation_rate = row->activation_rate,
                                                  .tokens = row->tokens,
                                                  .unique_tokens = row->unique_tokens,
                                                  .lr_over_law = row->lr_over_law,
                                                  .flops = row->flops};
    }
    iso_pooled pooled = {0};
    double *distinct = array(law->n_rows, sizeof *distinct);
    for (int64_t i = 0; i < data->n; i++) data->bpc[i] = merged_bpc(&pooled, distinct, law, i);
    free(distinct);
    law->fit.repeat_sd = iso_pooled_sd(&pooled);
    law->fit.repeat_dof = pooled.dof;
}

/* --- scales and units --- */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts, and keeps the first of every group whose neighbours are within `tolerance`: their number.
 */
static int64_t group(double *values, int64_t n, double tolerance) {
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    double last = 0.0;
    int64_t n_groups = 0;
    for (int64_t i = 0; i < n; i++) {
        double value = values[i];
        if (i == 0 || !is_near(value, last, tolerance)) values[n_groups++] = value;
        last = value;
    }
    return n_groups;
}

static void measure_configurations(iso_gap_law *law) {
    iso_gap_data *data = &law->data;
    double *values = array(data->n, sizeof *values), ln_params = 0.0, ln_tokens = 0.0, sum = 0.0;
    int64_t n_moe = 0;
    for (int64_t i = 0; i < data->n; i++)
        if (!data->points[i].is_dense) values[n_moe++] = data->points[i].activation_rate;
    law->fit.n_rates = group(values, n_moe, SAME_RATE);
    for (int64_t i = 0; i < data->n; i++) {
        const iso_gap_point *point = &data->points[i];
        values[i] = point->params;
        ln_params += log(point->params);
        ln_tokens += log(iso_gap_effective_tokens(point->tokens, point->unique_tokens));
        sum += data->bpc[i];
    }
    data->n_scales = group(values, data->n, SAME_SCALE);
    for (int64_t i = 0; i < data->n; i++)
        while (data->scale[i] + 1 < data->n_scales &&
               values[data->scale[i] + 1] <= data->points[i].params)
            data->scale[i]++;
    double n = (double)data->n;
    data->params_unit = exp(ln_params / n);
    data->tokens_unit = exp(ln_tokens / n);
    data->lr_prior = LR_PRIOR * sum / n;
    free(values);
}

iso_status iso_gap_law_begin(iso_gap_law **out, const iso_gap_row *rows, int64_t n) {
    if (n < 1) return iso_fail(ISO_ERR_DATA, "gap law: no runs to fit it to");
    for (int64_t r = 0; r < n; r++) ISO_TRY(check_row(&rows[r]));
    iso_gap_law *law = array(1, sizeof *law);
    law->n_rows = n;
    law->rows = array(n, sizeof *law->rows);
    memcpy(law->rows, rows, (size_t)n * sizeof *rows);
    merge(law);
    measure_configurations(law);
    *out = law;
    return ISO_OK;
}

/* --- the fit --- */

/* Parameters by name, for people and files. */
static void tell_parameters(iso_gap_law *law) {
    iso_gap_fit *fit = &law->fit;
    const iso_gap_solution *solution = &law->solution;
    int k = 0;
    for (int t = 0; t < ISO_GAP_N_TERMS; t++) {
        bool is_there = fit->form.terms >> t & 1u;
        fit->value[t] = is_there ? solution->beta[k] : NAN;
        fit->se[t] = is_there ? sqrt(solution->covariance[k][k]) : NAN;
        k += is_there;
    }
    fit->exponent_se = fit->form.fit_exponent ? sqrt(solution->covariance[k][k]) : 0.0;
}

bool iso_gap_law_finish(iso_gap_law *law, const iso_gap_form *form) {
    iso_gap_fit *fit = &law->fit;
    if (!iso_gap_solve(&law->solution, &law->data, NULL, form)) return false;
    fit->form = law->solution.form;
    fit->n_rows = law->n_rows;
    fit->n_configurations = law->data.n;
    fit->n_scales = law->data.n_scales;
    fit->n_parameters = law->solution.n;
    fit->dof = law->solution.dof;
    fit->sigma = law->solution.sigma;
    fit->params_unit = law->data.params_unit;
    fit->tokens_unit = law->data.tokens_unit;
    tell_parameters(law);
    iso_gap_region_measure(law);
    iso_gap_errors_measure(law);
    return true;
}

iso_status iso_gap_law_create(iso_gap_law **out, const iso_gap_row *rows, int64_t n,
                              const iso_gap_form *form) {
    iso_gap_law *law;
    ISO_TRY(iso_gap_law_begin(&law, rows, n));
    if (!iso_gap_law_finish(law, form)) {
        int64_t n_configurations = law->data.n;
        iso_gap_law_free(law);
        return iso_fail(ISO_ERR_DATA,
                        "gap law: %" PRId64 " configurations don't determine its %d parameters",
                        n_configurations, iso_gap_form_parameters(form));
    }
    *out = law;
    return ISO_OK;
}

void iso_gap_law_free(iso_gap_law *law) {
    if (!law) return;
    free(law->fit.tables);
    free(law->fit.scales);
    free(law->fit.checks);
    free(law->data.points);
    free(law->data.bpc);
    free(law->data.scale);
    free(law->rows);
    free(law->configuration);
    free(law->without);
    free(law->has_without);
    free(law);
}

const iso_gap_fit *iso_gap_law_fit(const iso_gap_law *law) {
    return &law->fit;
}

/* --- predictions --- */

double iso_gap_law_bpc(const iso_gap_law *law, const iso_gap_point *point) {
    return iso_gap_solution_bpc(&law->solution, point);
}

static bool is_point(const iso_gap_point *point) {
    return is_positive(point->params) && is_positive(point->tokens) &&
           is_positive(point->unique_tokens) && is_positive(point->activation_rate) &&
           is_positive(point->lr_over_law) && is_positive(point->flops);
}

/* The gap's error on what was not fitted, and the degrees of freedom it was measured with. Where no
 * pair could be left out, two levels' worth. Outside the region it grows with the square of
 * the distance, beyond the one at which it was measured: so would a curvature that the law lacks.
 */
static double unseen_error(double *dof, const iso_gap_law *law, double distance) {
    const iso_gap_error *all = &law->fit.all;
    bool in_region = distance == 0.0;
    *dof = in_region ? law->fit.dof : (double)law->data.n_scales;
    double gap = in_region ? all->gap_loo : all->gap_scale;
    double level = in_region ? all->bpc_loo : all->bpc_scale;
    double error = isnan(gap) ? sqrt(2.0) * level : gap;
    if (in_region) return error;
    double further = fmax(distance / iso_gap_region_tested(law), 1.0);
    return error * further * further;
}

iso_status iso_gap_law_predict(iso_gap_forecast *out, const iso_gap_law *law,
                               const iso_gap_point *dense, const iso_gap_point *moe,
                               bool extrapolate) {
    ISO_ASSERT(dense->is_dense && !moe->is_dense);
    if (!is_point(dense) || !is_point(moe))
        return iso_fail(ISO_ERR_USAGE,
                        "prediction: N, r_a, D, unique tokens, rate and compute must "
                        "be positive numbers");
    if (!extrapolate) {
        ISO_TRY(iso_gap_region_check(law, dense));
        ISO_TRY(iso_gap_region_check(law, moe));
    }
    double distance = fmax(iso_gap_region_distance(law, dense), iso_gap_region_distance(law, moe));
    const iso_gap_solution *solution = &law->solution;
    double u[ISO_LEAST_SQUARES_MAX], v[ISO_LEAST_SQUARES_MAX], dof;
    iso_gap_solution_gradient(u, solution, dense);
    iso_gap_solution_gradient(v, solution, moe);
    for (int i = 0; i < solution->n; i++) u[i] -= v[i];
    double variance = iso_gap_solution_variance(solution, u);
    double unseen = unseen_error(&dof, law, distance);
    *out = (iso_gap_forecast){.value = iso_gap_law_bpc(law, dense) - iso_gap_law_bpc(law, moe),
                              .se = sqrt(variance),
                              .half = iso_t_95(dof) * sqrt(variance + unseen * unseen),
                              .loo = law->fit.all.gap_loo,
                              .scale = law->fit.all.gap_scale,
                              .in_region = distance == 0.0};
    return ISO_OK;
}
