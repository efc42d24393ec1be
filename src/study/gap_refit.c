/* What one's own runs can tell. The rules are of structure, not of conditioning, so that they can
 * be said in a sentence: a term in N needs two scales; one in D a model trained on two D; the dense
 * side's own slope in N dense and MoE runs of two scales; x five activation rates.
 */
#include "study/gap_fit.h"

#include <inttypes.h>
#include <math.h>

#define RATES_MIN   3 /* of MoEs: a level, a slope, and something to check them with */
#define RATES_FOR_X 5
#define SPARE_MIN   2 /* configurations beyond the parameters */
#define APART       1.2
#define SAME_RATE   0.02

/* One model, of one scale and r_a, with D' apart by a factor: only then D's effect is no other's.
 */
static bool knows_tokens(const iso_gap_data *data) {
    for (int64_t i = 0; i < data->n; i++)
        for (int64_t j = 0; j < data->n; j++) {
            const iso_gap_point *a = &data->points[i], *b = &data->points[j];
            bool is_one_model = data->scale[i] == data->scale[j] && a->is_dense == b->is_dense &&
                                fabs(a->activation_rate / b->activation_rate - 1.0) <= SAME_RATE;
            double less = iso_gap_effective_tokens(a->tokens, a->unique_tokens);
            double more = iso_gap_effective_tokens(b->tokens, b->unique_tokens);
            if (is_one_model && more >= APART * less) return true;
        }
    return false;
}

/* Scales with runs of that side. */
static int64_t scales_of(const iso_gap_data *data, bool is_dense) {
    int64_t n = 0, last = -1;
    for (int64_t s = 0; s < data->n_scales; s++)
        for (int64_t i = 0; i < data->n; i++)
            if (data->scale[i] == s && data->points[i].is_dense == is_dense && s != last)
                last = s, n++;
    return n;
}

static int64_t spare(const iso_gap_data *data, const iso_gap_form *form) {
    int64_t has_prior = form->terms >> ISO_GAP_LR & 1u; /* it brings an observation of its own */
    return data->n + has_prior - iso_gap_form_parameters(form);
}

static iso_gap_form knowable_form(const iso_gap_law *law, const iso_gap_form *prior) {
    const iso_gap_data *data = &law->data;
    iso_gap_form form = iso_gap_form_default();
    form.rate_exponent = prior->rate_exponent;
    form.fit_exponent = law->fit.n_rates >= RATES_FOR_X;
    if (data->n_scales < 2) form.terms &= ~(1u << ISO_GAP_PARAMS);
    if (!knows_tokens(data)) form.terms &= ~(1u << ISO_GAP_TOKENS);
    bool has_both = scales_of(data, true) >= 2 && scales_of(data, false) >= 2;
    if (!has_both || spare(data, &form) < SPARE_MIN) form.terms &= ~(1u << ISO_GAP_DENSE_PARAMS);
    if (spare(data, &form) < SPARE_MIN) form.fit_exponent = false;
    return form;
}

static iso_status check_enough(const iso_gap_law *law, const iso_gap_form *form) {
    const iso_gap_data *data = &law->data;
    int64_t n_rates = law->fit.n_rates, n_spare = spare(data, form);
    if (n_rates < RATES_MIN)
        return iso_fail(ISO_ERR_USAGE,
                        "gap law: a fit needs MoE runs of %d activation rates, these have %" PRId64
                        ": train MoEs of %" PRId64 " more",
                        RATES_MIN, n_rates, RATES_MIN - n_rates);
    if (scales_of(data, true) < 1)
        return iso_fail(ISO_ERR_USAGE,
                        "gap law: none of the %" PRId64
                        " runs is dense: train 1 more, the dense baseline",
                        law->n_rows);
    if (n_spare >= SPARE_MIN) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "gap law: %" PRId64 " different configurations are too few for %d parameters: "
                    "train %" PRId64 " more, of other activation rates, N or D",
                    data->n, iso_gap_form_parameters(form), SPARE_MIN - n_spare);
}

iso_status iso_gap_law_refit(iso_gap_law **out, const iso_gap_row *rows, int64_t n,
                             const iso_gap_law *prior) {
    iso_gap_law *law;
    iso_gap_solution trial;
    ISO_TRY(iso_gap_law_begin(&law, rows, n));
    iso_gap_form form = knowable_form(law, &prior->fit.form);
    iso_status status = check_enough(law, &form);
    bool has_x = status == ISO_OK && form.fit_exponent &&
                 iso_gap_solve(&trial, &law->data, NULL, &form) && !trial.exponent_at_edge;
    if (!has_x) { /* too few rates, or the runs don't bend enough to tell x */
        form.fit_exponent = false;
        form.rate_exponent = prior->fit.form.rate_exponent;
    }
    if (status == ISO_OK && !iso_gap_law_finish(law, &form))
        status = iso_fail(ISO_ERR_USAGE,
                          "gap law: these %" PRId64 " runs don't tell its terms apart: add runs "
                          "that differ in one thing at a time",
                          n);
    if (status == ISO_OK)
        *out = law;
    else
        iso_gap_law_free(law);
    return status;
}
