/* The region is a box: the least and the greatest of every quantity over the fitted runs, for
 * either side. A box is generous at its corners, where no run was; the errors know nothing of them,
 * so the law is told with them and not without.
 */
#include "study/gap_fit.h"

#include <math.h>

#define SLACK 0.02 /* shapes of integers don't hit a bound exactly */

static const iso_gap_range nothing = {INFINITY, -INFINITY};

static void widen(iso_gap_range *range, double value) {
    range->low = fmin(range->low, value);
    range->high = fmax(range->high, value);
}

void iso_gap_region_measure(iso_gap_law *law) {
    iso_gap_region *region = &law->fit.region;
    region->params = region->activation_rate = nothing;
    for (int side = 0; side < 2; side++)
        region->tokens_per_param[side] = region->epochs[side] = region->lr_over_law[side] =
            region->flops[side] = nothing;
    for (int64_t i = 0; i < law->data.n; i++) {
        const iso_gap_point *point = &law->data.points[i];
        int side = point->is_dense;
        widen(&region->params, point->params);
        if (!point->is_dense) widen(&region->activation_rate, point->activation_rate);
        widen(&region->tokens_per_param[side], point->tokens / point->params);
        widen(&region->epochs[side], point->tokens / point->unique_tokens);
        widen(&region->lr_over_law[side], point->lr_over_law);
        widen(&region->flops[side], point->flops);
    }
}

static iso_status check(const iso_gap_range *range, double value, const char *whose,
                        const char *what) {
    if (value >= range->low * (1.0 - SLACK) && value <= range->high * (1.0 + SLACK)) return ISO_OK;
    bool is_below = value < range->low;
    return iso_fail(ISO_ERR_USAGE,
                    "prediction: the %s %s, %.4g, is %s the fitted runs' %.4g to %.4g: nothing "
                    "is known there; --extrapolate predicts all the same",
                    whose, what, value, is_below ? "below" : "above", range->low, range->high);
}

static iso_status check_side(const iso_gap_law *law, const iso_gap_point *point) {
    const iso_gap_region *region = &law->fit.region;
    int side = point->is_dense;
    const char *whose = point->is_dense ? "dense model's" : "MoE's";
    ISO_TRY(check(&region->params, point->params, whose, "number of parameters"));
    if (!point->is_dense)
        ISO_TRY(check(&region->activation_rate, point->activation_rate, whose, "activation rate"));
    ISO_TRY(check(&region->tokens_per_param[side], point->tokens / point->params, whose,
                  "tokens per parameter"));
    double epochs = fmax(point->tokens / point->unique_tokens, 1.0);
    ISO_TRY(check(&region->epochs[side], epochs, whose, "number of epochs"));
    ISO_TRY(check(&region->lr_over_law[side], point->lr_over_law, whose,
                  "learning rate over Step Law's"));
    bool knows_tokens = law->fit.form.terms & 1u << ISO_GAP_TOKENS;
    return knows_tokens ? ISO_OK : check(&region->flops[side], point->flops, whose, "compute");
}

iso_status iso_gap_region_check(const iso_gap_law *law, const iso_gap_point *dense,
                                const iso_gap_point *moe) {
    ISO_TRY(check_side(law, dense));
    return check_side(law, moe);
}
