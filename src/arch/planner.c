/* The order of importance (planner.h) as a sequence of searches: each gives up one thing more. */
#include "arch/planner.h"

#include "arch/planner_search.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define PARAMS_MIN        INT64_C(100000)
#define PARAMS_MAX        INT64_C(1000000000000)
#define FINE_HEADS_PARAMS INT64_C(1000000000)
#define PAPER_ALPHA       2.77
#define PAPER_MU          22.0
#define OFF_PROPORTION    1.5 /* further than this from its target, a ratio counts as relaxed */

/* --- what is usual at a size --- */

/* zeta by size: 88 from 1e9 up (the paper's), falling to 60, 30, 16 at 1e8, 1e7, 1e6; geometric in
 * between and on below. */
static double usual_zeta(double params) {
    static const double points[] = {16.0, 30.0, 60.0, 88.0}; /* at 1e6, 1e7, 1e8, 1e9 */
    double decade = fmin(log10(params) - 6.0, 3.0);
    int below = decade < 0.0 ? 0 : decade >= 2.0 ? 2 : (int)decade;
    return points[below] * pow(points[below + 1] / points[below], decade - below);
}

static int64_t usual_head_dim(int64_t params) {
    return params >= 1000000000 ? 128 : params >= 20000000 ? 64 : params >= 1500000 ? 32 : 16;
}

/* The paper's 2048 from 1e9 parameters up; below, between the hidden sizes that the proportions
 * give a dense model and an MoE (equations 1 and 4 with L = H / zeta), so that S/H is near 1 for
 * both. */
static int64_t usual_context(int64_t params) {
    if (params >= 1000000000) return 2048;
    double cubed = usual_zeta((double)params) * (double)params;
    double dense = cbrt(cubed / (4.0 + 3.0 * PAPER_ALPHA));
    double moe = cbrt(cubed / (4.0 + 3.0 * PAPER_MU));
    return 64 * (int64_t)fmax(1.0, round(sqrt(dense * moe) / 64.0));
}

/* Below a vocabulary of its own a model this small is better off with bytes and a separator. */
static int64_t usual_vocab(int64_t params) {
    return params >= 1000000000  ? 65536
           : params >= 100000000 ? 32768
           : params >= 10000000  ? 8192
                                 : 257;
}

iso_plan_goal iso_plan_goal_default(int64_t params) {
    iso_plan_goal goal = {
        .params = params,
        .layout = ISO_LAYOUT_1DENSE,
        .shared_expert = true,
        .same_experts = true,
        .min_experts_per_token = 1,
        .base = iso_shape_default(),
        .max_params_error = 1e-3,
        .max_rate_error = 1e-2,
    };
    goal.base.max_position_embeddings = usual_context(params);
    goal.base.vocab_size = usual_vocab(params);
    return goal;
}

iso_plan_limits iso_plan_limits_default(void) {
    return (iso_plan_limits){.zeta_min = 1.0,
                             .zeta_max = 512.0,
                             .alpha_min = 0.5,
                             .alpha_max = 16.0,
                             .expert_alpha_max = 8.0,
                             .experts_max = 4096,
                             .rate_error_max = 0.05};
}

static void complete_goal(iso_plan_goal *goal) {
    double params = (double)goal->params;
    if (goal->head_dim == 0) goal->head_dim = usual_head_dim(goal->params);
    if (goal->zeta == 0.0) goal->zeta = usual_zeta(params);
    if (goal->dense_zeta == 0.0) goal->dense_zeta = usual_zeta(params);
    if (goal->mu == 0.0) goal->mu = PAPER_MU;
    if (goal->alpha == 0.0) goal->alpha = PAPER_ALPHA;
    /* One normalised gate is 1 whatever the router says: it would never learn. */
    if (goal->base.norm_topk_prob && goal->min_experts_per_token < 2)
        goal->min_experts_per_token = 2;
}

/* --- checks --- */

static iso_status check_rates(const iso_plan_goal *goal) {
    if (goal->n_rates < 0 || goal->n_rates > ISO_PLAN_RATES_MAX)
        return iso_fail(ISO_ERR_USAGE, "plan: %" PRId64 " activation rates; give at most %d",
                        goal->n_rates, ISO_PLAN_RATES_MAX);
    for (int64_t i = 0; i < goal->n_rates; i++)
        if (!(goal->rates[i] > 0.0 && goal->rates[i] < 1.0))
            return iso_fail(ISO_ERR_USAGE,
                            "plan: activation rate %g; a rate is the share of parameters that one "
                            "token uses: give numbers between 0 and 1 (20%% is 0.2)",
                            goal->rates[i]);
    return ISO_OK;
}

static iso_status check_range(const char *what, int64_t value, int64_t least, int64_t most) {
    if (value >= least && value <= most) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE, "plan: %s %" PRId64 "; give %" PRId64 " to %" PRId64, what,
                    value, least, most);
}

static iso_status check_target(const char *what, double value) {
    if (value == 0.0 || (value > 0.0 && isfinite(value))) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE, "plan: %s %g; give a positive number", what, value);
}

static iso_status check_goal(const iso_plan_goal *goal) {
    ISO_TRY(check_range("parameters N", goal->params, PARAMS_MIN, PARAMS_MAX));
    ISO_TRY(check_rates(goal));
    ISO_TRY(check_range("head width", goal->head_dim, 0, 4096));
    /* Below, the legal frames of a large model are beyond number, and nobody's. */
    if (goal->head_dim > 0 && goal->params >= FINE_HEADS_PARAMS)
        ISO_TRY(check_range("head width at this size", goal->head_dim, 16, 4096));
    ISO_TRY(check_range("expert width", goal->expert_width, 0, INT32_MAX));
    ISO_TRY(check_range("active experts", goal->experts_per_token, 0, 4096));
    ISO_TRY(check_range("least active experts", goal->min_experts_per_token, 1, 4096));
    ISO_TRY(check_range("width multiple", goal->width_multiple, 0, 65536));
    ISO_TRY(check_range("context length", goal->base.max_position_embeddings, 1, INT32_MAX));
    ISO_TRY(check_range("vocabulary", goal->base.vocab_size, 2, INT32_MAX));
    ISO_TRY(check_target("aspect ratio zeta", goal->zeta));
    ISO_TRY(check_target("aspect ratio of the baseline", goal->dense_zeta));
    ISO_TRY(check_target("expert ratio mu", goal->mu));
    ISO_TRY(check_target("FFN ratio alpha", goal->alpha));
    if (goal->layout == ISO_LAYOUT_DENSE)
        return iso_fail(ISO_ERR_USAGE, "plan: layout dense has no experts; give 1dense, full or "
                                       "interleave");
    if (goal->experts_per_token > 0 && goal->experts_per_token < goal->min_experts_per_token)
        return iso_fail(ISO_ERR_USAGE,
                        "plan: %" PRId64 " active experts where at least %" PRId64 " are asked for"
                        "%s",
                        goal->experts_per_token, goal->min_experts_per_token,
                        goal->base.norm_topk_prob ? " (normalised gates need two)" : "");
    if (goal->expert_width > 0 && goal->width_multiple > 0 &&
        goal->expert_width % goal->width_multiple != 0)
        return iso_fail(ISO_ERR_USAGE,
                        "plan: expert width %" PRId64 " is no multiple of %" PRId64
                        ", the width multiple; change one of them",
                        goal->expert_width, goal->width_multiple);
    return ISO_OK;
}

/* --- models from picks --- */

/* Kernels take any width, but not gladly: at small sizes multiples of 8 must do. */
static int64_t kind_multiple(const iso_plan_goal *goal) {
    return goal->params >= 100000000 ? 16 : 8;
}

static bool is_off(double value, double target) {
    double ratio = value / target;
    return ratio > OFF_PROPORTION || ratio < 1.0 / OFF_PROPORTION;
}

static bool mu_is_off(const iso_plan_goal *goal, double mu) {
    if (iso_plan_mu_is_free(goal) && mu >= ISO_PLAN_MU_FREE_MIN && mu <= ISO_PLAN_MU_FREE_MAX)
        return false;
    return is_off(mu, goal->mu);
}

static unsigned relaxations(const iso_plan_model *model, const iso_plan_goal *goal) {
    const iso_shape *shape = &model->shape;
    iso_ratios ratios = iso_shape_ratios(shape);
    bool dense = shape->layer_layout == ISO_LAYOUT_DENSE;
    int64_t kind = kind_multiple(goal);
    unsigned relaxed = 0;
    if (!dense && fabs(model->rate_error) > goal->max_rate_error) relaxed |= ISO_PLAN_RELAXED_RATE;
    if (is_off(ratios.zeta, dense ? goal->dense_zeta : goal->zeta))
        relaxed |= ISO_PLAN_RELAXED_ZETA;
    if (!dense && mu_is_off(goal, ratios.mu)) relaxed |= ISO_PLAN_RELAXED_MU;
    if (shape->intermediate_size > 0 && is_off(ratios.alpha, goal->alpha))
        relaxed |= ISO_PLAN_RELAXED_ALPHA;
    if (shape->intermediate_size % kind != 0 || shape->moe_intermediate_size % kind != 0)
        relaxed |= ISO_PLAN_RELAXED_WIDTHS;
    if (!dense && shape->moe_intermediate_size < ISO_PLAN_LEAN_EXPERT_WIDTH)
        relaxed |= ISO_PLAN_RELAXED_ROUTER;
    return relaxed;
}

static iso_status fill_model(iso_plan_model *out, const iso_plan_goal *goal,
                             const iso_plan_pick *pick, iso_layout layout, int64_t i_pick_rate,
                             double rate_asked) {
    *out = (iso_plan_model){.shape = iso_plan_pick_shape(goal, pick, layout, i_pick_rate),
                            .rate_asked = rate_asked};
    ISO_TRY(iso_count(&out->counts, &out->shape, ISO_CONVENTION_PAPER));
    out->params_error = (double)(out->counts.params_nonvocab - goal->params) / (double)goal->params;
    out->rate_error = out->counts.activation_rate / rate_asked - 1.0;
    out->relaxed = relaxations(out, goal);
    return ISO_OK;
}

/* --- the sequence of searches --- */

static iso_plan_query make_query(const iso_plan_goal *goal, iso_plan_width width,
                                 int64_t aim_params) {
    return (iso_plan_query){.goal = goal,
                            .limits = iso_plan_limits_default(),
                            .width = width,
                            .aim_params = aim_params,
                            .rate_error = goal->max_rate_error,
                            .rates = goal->rates,
                            .n_rates = goal->n_rates};
}

static iso_status find_dense(iso_plan_model *out, const iso_plan_goal *goal) {
    iso_plan_pick pick = {.cost = INFINITY};
    for (iso_plan_width width = ISO_PLAN_NARROW; width <= ISO_PLAN_WIDE; width++) {
        iso_plan_query query = make_query(goal, width, goal->params);
        ISO_TRY(iso_plan_pick_dense(&pick, &query));
        if (pick.cost < INFINITY) return fill_model(out, goal, &pick, ISO_LAYOUT_DENSE, 0, 1.0);
    }
    return iso_plan_fail_dense(goal);
}

iso_status iso_plan_rate_find(iso_plan_pick *out, const iso_plan_goal *goal, int64_t aim_params,
                              double rate, double rate_error, iso_plan_width last) {
    *out = (iso_plan_pick){.cost = INFINITY};
    for (iso_plan_width width = ISO_PLAN_NARROW; width <= last; width++) {
        iso_plan_query query = make_query(goal, width, aim_params);
        query.rate_error = rate_error;
        query.rates = &rate;
        query.n_rates = 1;
        ISO_TRY(iso_plan_pick_together(out, &query));
        if (out->cost < INFINITY) return ISO_OK;
    }
    return ISO_OK;
}

/* All MoEs with one H, L, F and De. */
static iso_status find_together(bool *found, iso_plan_shapes *out, iso_plan_width width) {
    const iso_plan_goal *goal = &out->goal;
    iso_plan_query query = make_query(goal, width, out->dense.counts.params_nonvocab);
    iso_plan_pick pick;
    ISO_TRY(iso_plan_pick_together(&pick, &query));
    *found = pick.cost < INFINITY;
    for (int64_t i = 0; i < goal->n_rates && *found; i++)
        ISO_TRY(fill_model(&out->moe[i], goal, &pick, goal->layout, i, goal->rates[i]));
    return ISO_OK;
}

/* One H and L, but F and De of each rate's own. */
static iso_status find_apart(bool *found, iso_plan_shapes *out, iso_plan_width width) {
    const iso_plan_goal *goal = &out->goal;
    iso_plan_pick picks[ISO_PLAN_RATES_MAX];
    iso_plan_query query = make_query(goal, width, out->dense.counts.params_nonvocab);
    ISO_TRY(iso_plan_pick_apart(picks, &query));
    *found = picks[0].cost < INFINITY;
    for (int64_t i = 0; i < goal->n_rates && *found; i++)
        ISO_TRY(fill_model(&out->moe[i], goal, &picks[i], goal->layout, 0, goal->rates[i]));
    return ISO_OK;
}

/* What is given up, one after the other: first proportions within reason, then a small router, then
 * sameness, at last all proportions. */
static iso_status find_scan(bool *found, iso_plan_shapes *out) {
    static const struct {
        iso_plan_width width;
        bool together;
    } searches[] = {
        {ISO_PLAN_NARROW, true},  {ISO_PLAN_MEDIUM, true}, {ISO_PLAN_FINE, true},
        {ISO_PLAN_NARROW, false}, {ISO_PLAN_FINE, false},  {ISO_PLAN_WIDE, true},
        {ISO_PLAN_WIDE, false},
    };
    const iso_plan_goal *goal = &out->goal;
    /* A K that is given makes De follow from the rate. */
    bool alone = goal->n_rates == 1;
    bool may_share = alone || (goal->same_experts && goal->experts_per_token == 0);
    *found = false;
    for (size_t i = 0; i < sizeof searches / sizeof *searches && !*found; i++) {
        if (searches[i].together && may_share)
            ISO_TRY(find_together(found, out, searches[i].width));
        else if (!searches[i].together && !alone)
            ISO_TRY(find_apart(found, out, searches[i].width));
    }
    return ISO_OK;
}

/* Each rate for itself, at last with a rate that is off by more than was asked. */
static iso_status find_each(iso_plan_shapes *out) {
    const iso_plan_goal *goal = &out->goal;
    int64_t aim = out->dense.counts.params_nonvocab;
    for (int64_t i = 0; i < goal->n_rates; i++) {
        double errors[] = {goal->max_rate_error, 0.02, iso_plan_limits_default().rate_error_max};
        iso_plan_pick pick = {.cost = INFINITY};
        for (int j = 0; j < 3 && !(pick.cost < INFINITY); j++)
            if (j == 0 || errors[j] > errors[0])
                ISO_TRY(
                    iso_plan_rate_find(&pick, goal, aim, goal->rates[i], errors[j], ISO_PLAN_ALL));
        if (!(pick.cost < INFINITY)) return iso_plan_fail_moe(goal, aim, goal->rates[i]);
        ISO_TRY(fill_model(&out->moe[i], goal, &pick, goal->layout, 0, goal->rates[i]));
    }
    return ISO_OK;
}

static bool same_frame(const iso_shape *a, const iso_shape *b) {
    return a->hidden_size == b->hidden_size && a->num_hidden_layers == b->num_hidden_layers &&
           a->intermediate_size == b->intermediate_size &&
           a->moe_intermediate_size == b->moe_intermediate_size;
}

/* Marks the models that differ from the first one in what a scan should hold constant. */
static void mark_sameness(iso_plan_shapes *out) {
    if (!out->goal.same_experts) return;
    for (int64_t i = 1; i < out->n_moe; i++)
        if (!same_frame(&out->moe[i].shape, &out->moe[0].shape))
            out->moe[i].relaxed |= ISO_PLAN_RELAXED_SAMENESS;
}

iso_status iso_plan_shapes_find(iso_plan_shapes *out, const iso_plan_goal *goal) {
    bool found = false;
    ISO_TRY(check_goal(goal));
    memset(out, 0, sizeof *out);
    out->goal = *goal;
    complete_goal(&out->goal);
    out->n_moe = goal->n_rates;
    ISO_TRY(find_dense(&out->dense, &out->goal));
    if (out->n_moe == 0) return ISO_OK;
    ISO_TRY(find_scan(&found, out));
    if (!found) ISO_TRY(find_each(out));
    mark_sameness(out);
    return ISO_OK;
}

iso_status iso_plan_dense_find(iso_plan_model *out, const iso_plan_goal *goal) {
    ISO_TRY(check_goal(goal));
    iso_plan_goal complete = *goal;
    complete_goal(&complete);
    return find_dense(out, &complete);
}

/* M of the baseline is 6 N and the attention scores, which depend on the shape found: a few rounds
 * settle it, and the best of them is taken where shapes jump to and fro. */
iso_status iso_plan_params_solve(int64_t *out_params, const iso_plan_goal *goal, double compute,
                                 double tokens) {
    if (!(compute > 0.0 && isfinite(compute) && tokens > 0.0 && isfinite(tokens)))
        return iso_fail(ISO_ERR_USAGE, "plan: compute and data must be positive");
    iso_plan_goal trial = *goal;
    double params = compute / (6.0 * tokens), best = INFINITY;
    for (int round_i = 0; round_i < 12; round_i++) {
        if (!(params >= (double)PARAMS_MIN && params <= (double)PARAMS_MAX))
            return iso_fail(
                ISO_ERR_USAGE,
                "plan: %.3g FLOPs on %.3g tokens make a model of about %.3g parameters; "
                "isomoe plans %.0e to %.0e: change the compute or the data",
                compute, tokens, params, (double)PARAMS_MIN, (double)PARAMS_MAX);
        iso_plan_model dense;
        trial.params = (int64_t)params;
        ISO_TRY(iso_plan_dense_find(&dense, &trial));
        double spent = (double)dense.counts.train_flops_per_token * tokens;
        double off = fabs(spent / compute - 1.0);
        if (off < best) {
            best = off;
            *out_params = trial.params;
        }
        if (off < 1e-3) return ISO_OK;
        params *= pow(compute / spent, 0.8);
    }
    if (best < 5e-3) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "plan: no N within 0.5 %% spends %.3g FLOPs on %.3g tokens; give --params "
                    "and one of the two",
                    compute, tokens);
}

/* --- words --- */

static void say(iso_str *out, size_t start, const char *format, double value, double target) {
    if (out->len > start) iso_str_append(out, "; ");
    iso_str_appendf(out, format, value, target);
}

void iso_plan_relaxed_say(iso_str *out, const iso_plan_model *model, const iso_plan_goal *goal) {
    const iso_shape *shape = &model->shape;
    iso_ratios ratios = iso_shape_ratios(shape);
    bool dense = shape->layer_layout == ISO_LAYOUT_DENSE;
    size_t start = out->len;
    if (model->relaxed & ISO_PLAN_RELAXED_RATE)
        say(out, start, "activation rate %.2f %% where %.2f %% was asked for",
            100.0 * model->counts.activation_rate, 100.0 * model->rate_asked);
    if (model->relaxed & ISO_PLAN_RELAXED_SAMENESS)
        say(out, start, "widths of its own (H/L %.3g, De %.0f)", ratios.zeta,
            (double)shape->moe_intermediate_size);
    if (model->relaxed & ISO_PLAN_RELAXED_ZETA)
        say(out, start, "H/L %.3g where %.3g is usual", ratios.zeta,
            dense ? goal->dense_zeta : goal->zeta);
    if (model->relaxed & ISO_PLAN_RELAXED_MU)
        say(out, start, "experts/H %.3g where %.3g is usual", ratios.mu, goal->mu);
    if (model->relaxed & ISO_PLAN_RELAXED_ALPHA)
        say(out, start, "F/H %.3g where %.3g is usual", ratios.alpha, goal->alpha);
    if (model->relaxed & ISO_PLAN_RELAXED_ROUTER)
        say(out, start, "De %.0f makes a router of %.2g %% of the experts, which N leaves out",
            (double)shape->moe_intermediate_size,
            100.0 / (3.0 * (double)shape->moe_intermediate_size));
    if (model->relaxed & ISO_PLAN_RELAXED_WIDTHS) {
        bool is_F = shape->intermediate_size % kind_multiple(goal) != 0;
        say(out, start, is_F ? "F %.0f is no multiple of %.0f" : "De %.0f is no multiple of %.0f",
            (double)(is_F ? shape->intermediate_size : shape->moe_intermediate_size),
            (double)kind_multiple(goal));
    }
}
