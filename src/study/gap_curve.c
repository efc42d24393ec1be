/* The gap over u = ln r_a has one maximum within the fitted range (a falling power of r_a against a
 * falling power of D), so golden section finds it and bisection the ends of the ranges around it.
 * Its uncertainty: at the maximum g'(u) = 0, so a change of parameters moves it by -dg'/g''; g' is
 * linear in the parameters to first order.
 */
#include "study/gap_curve.h"
#include "study/gap_fit.h"

#include "base/stats.h"

#include <math.h>

#define N_STEPS 60 /* of golden section and of bisection */

iso_gap_point iso_gap_budget_dense(const iso_gap_budget *budget) {
    double tokens = budget->flops / budget->dense_flops_per_token;
    iso_gap_point point = {.is_dense = true,
                           .params = budget->params,
                           .activation_rate = 1.0,
                           .tokens = tokens,
                           .unique_tokens = tokens,
                           .lr_over_law = budget->dense_lr_over_law,
                           .flops = budget->flops};
    if (budget->scheme == ISO_GAP_STRICT) point.unique_tokens = fmin(tokens, budget->unique_tokens);
    return point;
}

iso_gap_point iso_gap_budget_moe(const iso_gap_budget *budget, double activation_rate) {
    double flops_per_token =
        6.0 * activation_rate * budget->params + budget->moe_attention_flops_per_token;
    double tokens = budget->flops / flops_per_token;
    iso_gap_point point = {.params = budget->params,
                           .activation_rate = activation_rate,
                           .tokens = tokens,
                           .unique_tokens = tokens,
                           .lr_over_law = budget->moe_lr_over_law,
                           .flops = budget->flops};
    if (budget->scheme == ISO_GAP_STRICT) point.unique_tokens = fmin(tokens, budget->unique_tokens);
    if (budget->scheme == ISO_GAP_LOOSE) point.unique_tokens = 0.5 * tokens;
    return point;
}

/* --- functions of u = ln r_a --- */

typedef struct scan {
    const iso_gap_law *law;
    const iso_gap_solution *solution;
    const iso_gap_budget *budget;
    iso_gap_point dense;
    bool extrapolate;
} scan;

static double gap_at(const scan *s, double u) {
    iso_gap_point moe = iso_gap_budget_moe(s->budget, exp(u));
    return iso_gap_solution_bpc(s->solution, &s->dense) - iso_gap_solution_bpc(s->solution, &moe);
}

static iso_status forecast(iso_gap_forecast *out, const scan *s, double u) {
    iso_gap_point moe = iso_gap_budget_moe(s->budget, exp(u));
    return iso_gap_law_predict(out, s->law, &s->dense, &moe, s->extrapolate);
}

typedef bool (*holds_fn)(const scan *s, double u);

static bool is_allowed(const scan *s, double u) {
    iso_gap_forecast unused;
    return forecast(&unused, s, u) == ISO_OK;
}

static bool is_better(const scan *s, double u) {
    return gap_at(s, u) > 0.0;
}

static bool is_surely_better(const scan *s, double u) {
    iso_gap_forecast gap;
    return forecast(&gap, s, u) == ISO_OK && gap.value - gap.half > 0.0;
}

/* The end of what holds at `from`, going to `to`. */
static double end_of(const scan *s, holds_fn holds, double from, double to) {
    if (holds(s, to)) return to;
    for (int i = 0; i < N_STEPS; i++) {
        double middle = 0.5 * (from + to);
        *(holds(s, middle) ? &from : &to) = middle;
    }
    return from;
}

/* In r_a, around u; NaN if it doesn't hold there. */
static iso_gap_range range_of(const scan *s, holds_fn holds, double u, double low, double high) {
    if (!holds(s, u)) return (iso_gap_range){NAN, NAN};
    return (iso_gap_range){exp(end_of(s, holds, u, low)), exp(end_of(s, holds, u, high))};
}

static double maximum(const scan *s, double a, double b) {
    const double golden = 0.6180339887498949;
    double c = b - golden * (b - a), d = a + golden * (b - a);
    double at_c = gap_at(s, c), at_d = gap_at(s, d);
    for (int i = 0; i < N_STEPS; i++) {
        if (at_c > at_d) {
            b = d, d = c, at_d = at_c;
            c = b - golden * (b - a), at_c = gap_at(s, c);
        } else {
            a = c, c = d, at_c = at_d;
            d = a + golden * (b - a), at_d = gap_at(s, d);
        }
    }
    return 0.5 * (a + b);
}

/* --- the optimum's interval --- */

static void gradient_at(double *out, const scan *s, double u) {
    iso_gap_point moe = iso_gap_budget_moe(s->budget, exp(u));
    iso_gap_solution_gradient(out, s->solution, &moe);
}

/* Standard error of the u of the maximum. */
static double maximum_error(const scan *s, double u) {
    const double h = 1e-3;
    double up[ISO_LEAST_SQUARES_MAX], down[ISO_LEAST_SQUARES_MAX];
    gradient_at(up, s, u + h);
    gradient_at(down, s, u - h);
    for (int i = 0; i < s->solution->n; i++) up[i] = (up[i] - down[i]) / (2.0 * h);
    double bend = (gap_at(s, u + h) - 2.0 * gap_at(s, u) + gap_at(s, u - h)) / (h * h);
    return sqrt(iso_gap_solution_variance(s->solution, up)) / fabs(bend);
}

static iso_gap_range maximum_without_scales(const scan *s, double low, double high) {
    iso_gap_range out = {NAN, NAN};
    scan without = *s;
    for (int64_t k = 0; k < s->law->data.n_scales; k++) {
        if (!s->law->has_without[k]) continue;
        without.solution = &s->law->without[k];
        double rate = exp(maximum(&without, low, high));
        out.low = fmin(out.low, rate); /* of a NaN and a number, the number */
        out.high = fmax(out.high, rate);
    }
    return out;
}

static void locate_best(iso_gap_curve *out, const scan *s, double low, double high) {
    double u = maximum(s, low, high), edge = 1e-4 * (high - low);
    out->best_rate = exp(u);
    out->best_at_edge = u - low < edge || high - u < edge;
    out->best_range = out->scanned;
    if (!out->best_at_edge) {
        double half = iso_t_95(s->law->fit.dof) * maximum_error(s, u);
        out->best_range.low = exp(fmax(u - half, low));
        out->best_range.high = exp(fmin(u + half, high));
    }
    out->best_scales = maximum_without_scales(s, low, high);
    out->better = range_of(s, is_better, u, low, high);
    out->surely_better = range_of(s, is_surely_better, u, low, high);
}

/* The part of ln low .. ln high that the law predicts; ISO_ERR_USAGE if there is none. */
static iso_status find_allowed(double *low, double *high, const scan *s) {
    double step = (*high - *low) / (ISO_GAP_CURVE_POINTS - 1), inside = NAN;
    for (int i = 0; i < ISO_GAP_CURVE_POINTS && isnan(inside); i++)
        if (is_allowed(s, *low + i * step)) inside = *low + i * step;
    if (isnan(inside)) { /* for its message */
        iso_gap_forecast unused;
        return forecast(&unused, s, 0.5 * (*low + *high));
    }
    double top = end_of(s, is_allowed, inside, *high);
    *low = end_of(s, is_allowed, inside, *low);
    *high = top;
    return ISO_OK;
}

iso_status iso_gap_curve_make(iso_gap_curve *out, const iso_gap_law *law,
                              const iso_gap_budget *budget, bool extrapolate) {
    const iso_gap_range *fitted = &law->fit.region.activation_rate;
    scan s = {law, &law->solution, budget, iso_gap_budget_dense(budget), extrapolate};
    double low = log(fitted->low), high = log(fitted->high);
    *out = (iso_gap_curve){0};
    ISO_TRY(find_allowed(&low, &high, &s));
    out->scanned = (iso_gap_range){exp(low), exp(high)};
    for (int i = 0; i < ISO_GAP_CURVE_POINTS; i++) {
        double u = low + (high - low) * i / (ISO_GAP_CURVE_POINTS - 1);
        out->rate[i] = exp(u);
        ISO_TRY(forecast(&out->gap[i], &s, u));
    }
    locate_best(out, &s, low, high);
    return forecast(&out->best, &s, log(out->best_rate));
}
