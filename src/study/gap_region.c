/* The region is a box: the least and the greatest of every quantity over the fitted runs, for
 * either side. A box is generous at its corners, where no run was; the errors know nothing of them,
 * so the law is told with them and not without.
 */
#include "study/gap_fit.h"

#include <math.h>

#define TIGHT 0.02 /* slack: shapes of integers don't hit a bound exactly */
#define LOOSE                                                                                      \
    0.10 /* of N: people say 2B and 7B for 2.15 and 6.51; of D: attention's part of M is a         \
            matter of shape, and D follows from M */

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

/* --- a point against the box --- */

typedef struct bound {
    const iso_gap_range *range;
    double value, slack;
    const char *what;
} bound;

#define N_BOUNDS 6

/* Returns how many apply to this point. */
static int list_bounds(bound out[N_BOUNDS], const iso_gap_law *law, const iso_gap_point *point) {
    const iso_gap_region *region = &law->fit.region;
    int side = point->is_dense, n = 0;
    double epochs = fmax(point->tokens / point->unique_tokens, 1.0);
    out[n++] = (bound){&region->params, point->params, LOOSE, "number of parameters"};
    if (!point->is_dense)
        out[n++] =
            (bound){&region->activation_rate, point->activation_rate, TIGHT, "activation rate"};
    out[n++] = (bound){&region->tokens_per_param[side], point->tokens / point->params, LOOSE,
                       "tokens per parameter"};
    out[n++] = (bound){&region->epochs[side], epochs, LOOSE, "number of epochs"};
    out[n++] = (bound){&region->lr_over_law[side], point->lr_over_law, LOOSE,
                       "learning rate over Step Law's"};
    if (!(law->fit.form.terms & 1u << ISO_GAP_TOKENS))
        out[n++] = (bound){&region->flops[side], point->flops, TIGHT, "compute"};
    return n;
}

/* Of ln value from the range; 0 within, slack included. */
static double distance_of(const bound *b) {
    if (b->value < b->range->low * (1.0 - b->slack)) return log(b->range->low / b->value);
    if (b->value > b->range->high * (1.0 + b->slack)) return log(b->value / b->range->high);
    return 0.0;
}

double iso_gap_region_distance(const iso_gap_law *law, const iso_gap_point *point) {
    bound bounds[N_BOUNDS];
    double most = 0.0;
    int n = list_bounds(bounds, law, point);
    for (int i = 0; i < n; i++) most = fmax(most, distance_of(&bounds[i]));
    return most;
}

iso_status iso_gap_region_check(const iso_gap_law *law, const iso_gap_point *point) {
    bound bounds[N_BOUNDS];
    int n = list_bounds(bounds, law, point);
    for (int i = 0; i < n; i++) {
        const bound *b = &bounds[i];
        if (distance_of(b) > 0.0)
            return iso_fail(ISO_ERR_USAGE,
                            "prediction: the %s %s, %.4g, is %s the fitted runs' %.4g to %.4g; "
                            "--extrapolate predicts all the same, with a larger error",
                            point->is_dense ? "dense model's" : "MoE's", b->what, b->value,
                            b->value < b->range->low ? "below" : "above", b->range->low,
                            b->range->high);
    }
    return ISO_OK;
}

double iso_gap_region_tested(const iso_gap_law *law) {
    const iso_gap_data *data = &law->data;
    double least = INFINITY;
    for (int64_t i = 0; i < data->n; i++)
        for (int64_t j = 0; j < data->n; j++) {
            bool is_end = data->scale[i] == 0 || data->scale[j] == data->n_scales - 1;
            if (is_end && data->scale[j] == data->scale[i] + 1)
                least = fmin(least, log(data->points[j].params / data->points[i].params));
        }
    return least;
}
