/* The models of a plan as points of a gap law, and the curve between them. */
#include "study/budget.h"
#include "study/gap_curve.h"

#include <inttypes.h>
#include <string.h>

static double unique_of(const iso_budget *b, const iso_budget_model *m) {
    switch (b->goal.scheme) {
    case ISO_GAP_STRICT:
        return (double)b->unique_tokens;
    case ISO_GAP_LOOSE:
        return (double)m->unique_loose;
    case ISO_GAP_UNIQUE:
        break;
    }
    return (double)m->tokens;
}

static iso_gap_point point_of(const iso_budget *b, const iso_budget_model *m) {
    const iso_counts *counts = &m->plan.counts;
    return (iso_gap_point){.is_dense = m == &b->models[0],
                           .params = (double)counts->params_nonvocab,
                           .activation_rate = counts->activation_rate,
                           .tokens = (double)m->tokens,
                           .unique_tokens = unique_of(b, m),
                           .lr_over_law = m->lr_over_law,
                           .flops = m->flops};
}

/* Between the MoEs of a plan: their frame is one, so is what attention costs. */
static iso_gap_budget curve_budget(const iso_budget *b) {
    const iso_budget_model *dense = &b->models[0], *moe = &b->models[1];
    const iso_counts *counts = &moe->plan.counts;
    return (iso_gap_budget){.params = (double)dense->plan.counts.params_nonvocab,
                            .flops = dense->flops,
                            .dense_flops_per_token =
                                (double)dense->plan.counts.train_flops_per_token,
                            .moe_attention_flops_per_token =
                                (double)(counts->train_flops_per_token - 6 * counts->params_active),
                            .scheme = b->goal.scheme,
                            .unique_tokens = (double)b->unique_tokens,
                            .dense_lr_over_law = dense->lr_over_law,
                            .moe_lr_over_law = moe->lr_over_law};
}

/* The forecasts, and how many there are. What is outside the fitted region has none. */
static iso_status predict_models(iso_budget *b, const iso_gap_law *law, bool extrapolate,
                                 iso_str *refusals, int64_t *n_known) {
    const iso_gap_point dense = point_of(b, &b->models[0]);
    *n_known = 0;
    for (int64_t i = 1; i < b->n_models; i++) {
        iso_budget_model *m = &b->models[i];
        const iso_gap_point moe = point_of(b, m);
        iso_status status = iso_gap_law_predict(&m->forecast, law, &dense, &moe, extrapolate);
        if (status != ISO_OK && status != ISO_ERR_USAGE) return status;
        m->has_forecast = status == ISO_OK;
        if (status != ISO_OK)
            iso_str_appendf(refusals, "%s: no %s\n", m->name, iso_error_message());
        else if (!m->forecast.in_region)
            b->extrapolated = true;
        *n_known += m->has_forecast;
    }
    return ISO_OK;
}

iso_status iso_budget_predict(iso_budget *budget, const iso_gap_law *law, bool extrapolate) {
    const iso_gap_budget at = curve_budget(budget);
    iso_str refusals = {0};
    int64_t n_known;
    iso_status status = predict_models(budget, law, extrapolate, &refusals, &n_known);
    if (status == ISO_OK && n_known > 0 && refusals.len > 0)
        iso_str_append(&budget->notes, refusals.data);
    iso_str_release(&refusals);
    ISO_TRY(status);
    if (n_known > 0) status = iso_gap_curve_make(&budget->curve, law, &at, extrapolate);
    if (n_known == 0 || status == ISO_ERR_USAGE) {
        budget->refused = iso_strf("%s", iso_error_message());
        return ISO_OK;
    }
    budget->law = status == ISO_OK ? law : NULL;
    return status;
}
