/* Why try again without each constraint: what binds is what, once dropped, leaves a solution; and
 * the solution then is the nearest feasible value, proved by having been found. */
#include "arch/planner_search.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* One constraint that the caller may have set, and how it is dropped. */
typedef struct constraint {
    const char *name;
    size_t offset; /* of an int64_t in the goal */
    int64_t free_value;
} constraint;

static const constraint constraints[] = {
    {"expert width", offsetof(iso_plan_goal, expert_width), 0},
    {"active experts", offsetof(iso_plan_goal, experts_per_token), 0},
    {"least active experts", offsetof(iso_plan_goal, min_experts_per_token), 1},
    {"width multiple", offsetof(iso_plan_goal, width_multiple), 0},
};
#define N_CONSTRAINTS (sizeof constraints / sizeof *constraints)

static int64_t *field_of(iso_plan_goal *goal, const constraint *c) {
    return (int64_t *)(void *)((char *)goal + c->offset);
}

static bool has_moe(const iso_plan_goal *goal, int64_t aim_params, double rate,
                    iso_plan_pick *pick) {
    double error = iso_plan_limits_default().rate_error_max;
    /* Large models have solutions of usual proportions if they have any worth proposing. */
    iso_plan_width last = goal->params < ISO_PLAN_ALL_WIDTHS_PARAMS ? ISO_PLAN_ALL : ISO_PLAN_FINE;
    return iso_plan_rate_find(pick, goal, aim_params, rate, error, last) == ISO_OK &&
           pick->cost < INFINITY;
}

static bool has_dense(const iso_plan_goal *goal, iso_plan_pick *pick) {
    iso_plan_query query = {.goal = goal,
                            .limits = iso_plan_limits_default(),
                            .width = ISO_PLAN_WIDE,
                            .aim_params = goal->params};
    return iso_plan_pick_dense(pick, &query) == ISO_OK && pick->cost < INFINITY;
}

/* The head widths that people use, largest first: the next smaller one that works. */
static int64_t smaller_head_dim(const iso_plan_goal *goal, int64_t aim_params, double rate) {
    static const int64_t usual[] = {128, 96, 64, 48, 32, 16, 8};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        iso_plan_goal trial = *goal;
        iso_plan_pick pick;
        trial.head_dim = usual[i];
        if (usual[i] >= goal->head_dim || !has_dense(&trial, &pick)) continue;
        if (rate == 1.0 || has_moe(&trial, aim_params, rate, &pick)) return usual[i];
    }
    return 0;
}

/* The nearest N with a baseline, in steps of the tolerance and then of a tenth; 0 if none within a
 * factor of 100. */
static int64_t nearest_params(const iso_plan_goal *goal) {
    iso_plan_pick pick;
    for (double off = goal->max_params_error; off < 100.0;
         off = off < 0.1 ? off + goal->max_params_error : off * 1.1)
        for (int sign = -1; sign <= 1; sign += 2) {
            iso_plan_goal trial = *goal;
            double params = (double)goal->params * (sign < 0 ? 1.0 / (1.0 + off) : 1.0 + off);
            if (params < 1e5 || params > 1e12) continue; /* planner.c plans no others */
            trial.params = (int64_t)params;
            if (!has_dense(&trial, &pick)) continue;
            iso_shape shape = iso_plan_pick_shape(&trial, &pick, ISO_LAYOUT_DENSE, 0);
            iso_counts counts;
            if (iso_count(&counts, &shape, ISO_CONVENTION_PAPER) == ISO_OK)
                return counts.params_nonvocab;
        }
    return 0;
}

iso_status iso_plan_fail_dense(const iso_plan_goal *goal) {
    iso_str hint = {0};
    iso_plan_goal free_widths = *goal;
    iso_plan_pick pick;
    free_widths.width_multiple = 0;
    int64_t head_dim = smaller_head_dim(goal, 0, 1.0), params = nearest_params(goal);
    if (goal->width_multiple > 1 && has_dense(&free_widths, &pick))
        iso_str_appendf(&hint,
                        "; without a width multiple of %" PRId64 " there is one (F %" PRId64 ")",
                        goal->width_multiple, pick.F);
    if (head_dim > 0) iso_str_appendf(&hint, "; with heads of %" PRId64 " there is one", head_dim);
    if (params > 0) iso_str_appendf(&hint, "; the nearest that has one is N = %" PRId64, params);
    iso_status status = iso_fail(ISO_ERR_USAGE,
                                 "plan: no dense baseline of %" PRId64
                                 " parameters within %g %% with heads of %" PRId64 "%s",
                                 goal->params, 100.0 * goal->max_params_error, goal->head_dim,
                                 hint.data ? hint.data : "");
    iso_str_release(&hint);
    return status;
}

/* Rates outwards from the one asked for; each try covers 5 % to either side, so nothing is skipped.
 * The rate of the model found, 0 if there is none in that direction. */
static double nearest_rate(const iso_plan_goal *goal, int64_t aim_params, double rate,
                           double factor) {
    iso_plan_pick pick;
    for (double trial = rate * factor; trial < 0.99 && trial > 1e-4; trial *= factor) {
        if (!has_moe(goal, aim_params, trial, &pick)) continue;
        iso_shape shape = iso_plan_pick_shape(goal, &pick, goal->layout, 0);
        iso_counts counts;
        if (iso_count(&counts, &shape, ISO_CONVENTION_PAPER) != ISO_OK) continue;
        /* All but everything active: the dense baseline says that better. */
        return counts.activation_rate < 0.995 ? counts.activation_rate : 0.0;
    }
    return 0.0;
}

/* Names the constraints that stand in the way one by one, with what they would be without. */
static bool name_binding(iso_str *hint, const iso_plan_goal *goal, int64_t aim_params,
                         double rate) {
    bool any = false;
    for (size_t i = 0; i < N_CONSTRAINTS; i++) {
        const constraint *c = &constraints[i];
        iso_plan_goal trial = *goal;
        iso_plan_pick pick;
        int64_t given = *field_of(&trial, c);
        if (given == c->free_value) continue;
        *field_of(&trial, c) = c->free_value;
        if (!has_moe(&trial, aim_params, rate, &pick)) continue;
        iso_str_appendf(hint,
                        "; %s %" PRId64 " binds: without it there is one (De %" PRId64
                        ", K %" PRId64 ", E %" PRId64 ")",
                        c->name, given, pick.De, pick.K[0],
                        pick.n_units - (goal->shared_expert ? pick.K[0] : 0));
        any = true;
    }
    int64_t head_dim = smaller_head_dim(goal, aim_params, rate);
    if (!any && head_dim > 0) {
        iso_str_appendf(hint, "; the head width binds: with heads of %" PRId64 " there is one",
                        head_dim);
        any = true;
    }
    return any;
}

iso_status iso_plan_fail_moe(const iso_plan_goal *goal, int64_t aim_params, double rate) {
    iso_str hint = {0};
    bool named = name_binding(&hint, goal, aim_params, rate);
    double above = nearest_rate(goal, aim_params, rate, 1.07);
    double below = nearest_rate(goal, aim_params, rate, 1.0 / 1.07);
    if (!named && above > 0.0 && below == 0.0)
        iso_str_append(&hint,
                       "; attention, the dense layer and the shared expert are always active: "
                       "that binds");
    if (above > 0.0) iso_str_appendf(&hint, "; the nearest feasible rate above is %.4g", above);
    if (below > 0.0) iso_str_appendf(&hint, "; the nearest feasible rate below is %.4g", below);
    if (!named && above == 0.0 && below == 0.0)
        iso_str_append(&hint, "; no other rate is feasible either: ask for more parameters");
    iso_status status =
        iso_fail(ISO_ERR_USAGE,
                 "plan: no MoE of %" PRId64 " parameters (layout %s, heads of %" PRId64
                 ") uses %g %% of them per token%s",
                 goal->params, iso_layout_name(goal->layout), goal->head_dim, 100.0 * rate,
                 hint.data ? hint.data : "");
    iso_str_release(&hint);
    return status;
}
