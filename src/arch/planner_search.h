/* planner_search.h - the planner's own search, shared by planner.c and planner_diagnose.c only.
 *
 * A *pair* is (H, L); a *pick* is everything: F, De, E + K and the K of each rate. The MoEs of one
 * pick share all but E and K, and E + K is the same along the scan, so N is, too.
 */
#ifndef ISO_ARCH_PLANNER_SEARCH_H
#define ISO_ARCH_PLANNER_SEARCH_H

#include "arch/planner.h"

/* From this De on a router is under 1.4 % of the experts: H E against 3 H E De. */
#define ISO_PLAN_LEAN_EXPERT_WIDTH 24

/* Below 1e9 parameters any mu within these will do, whatever its target. */
#define ISO_PLAN_MU_FREE_MIN 15.0
#define ISO_PLAN_MU_FREE_MAX 50.0
bool iso_plan_mu_is_free(const iso_plan_goal *goal);

/* How far the search goes. Each finds all that the one before finds. */
typedef enum iso_plan_width {
    ISO_PLAN_NARROW, /* zeta and mu within a factor 1.5, De a multiple of 8, the router small */
    ISO_PLAN_MEDIUM, /* within a factor 2.5 */
    ISO_PLAN_FINE,   /* and routers of any size */
    ISO_PLAN_WIDE,   /* every legal pair */
    ISO_PLAN_ALL,    /* every legal pair and every De, below ISO_PLAN_ALL_WIDTHS_PARAMS */
    ISO_N_PLAN_WIDTHS
} iso_plan_width;

typedef struct iso_plan_query {
    const iso_plan_goal *goal; /* complete: nothing is 0 that stands for "by size" */
    iso_plan_limits limits;
    iso_plan_width width;
    int64_t aim_params; /* N as near to this as can be: the dense baseline's */
    double rate_error;  /* relative */
    const double *rates;
    int64_t n_rates;
} iso_plan_query;

typedef struct iso_plan_pick {
    int64_t H, L, F, De, n_units; /* n_units = E + K with a shared expert, else E */
    int64_t K[ISO_PLAN_RATES_MAX];
    double cost; /* INFINITY: none found */
} iso_plan_pick;

/* The dense baseline: De, n_units and K stay 0. */
iso_status iso_plan_pick_dense(iso_plan_pick *out, const iso_plan_query *query);

/* One pick for all rates of the query. */
iso_status iso_plan_pick_together(iso_plan_pick *out, const iso_plan_query *query);

/* A pick for each rate, with one H and L but widths of their own. */
iso_status iso_plan_pick_apart(iso_plan_pick *picks, const iso_plan_query *query);

/* The shape of a pick at its rate i_rate; of the baseline where layout is dense. */
iso_shape iso_plan_pick_shape(const iso_plan_goal *goal, const iso_plan_pick *pick,
                              iso_layout layout, int64_t i_rate);

/* The model of one rate, by searches up to `last` in width. */
iso_status iso_plan_rate_find(iso_plan_pick *out, const iso_plan_goal *goal, int64_t aim_params,
                              double rate, double rate_error, iso_plan_width last);

/* Why there is no baseline, or no MoE at `rate`: which constraint stands in the way, and what the
 * nearest feasible value is. Always ISO_ERR_USAGE (or ISO_ERR_MEMORY). */
iso_status iso_plan_fail_dense(const iso_plan_goal *goal);
iso_status iso_plan_fail_moe(const iso_plan_goal *goal, int64_t aim_params, double rate);

#endif
