/* Why exhaustive: every size is a small integer, so all (H, L, De, F, K) that fit the bounds can be
 * tried, and E follows from N. What remains is taste, written down as one cost: squared distances
 * from the paper's proportions in units of what would be noticed, the errors of N and r_a among
 * them. A lower bound from the outer loops (the baseline's cost, zeta, gamma, De) skips most of it.
 */
#include "arch/shape_search.h"

#include "arch/count.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define WIDTH_STEP       8    /* widths are multiples of this, and of 2 x this at no extra cost */
#define N_BASELINES      24   /* dense candidates that are paired with MoE shapes */
#define TIGHT_PARAMS     1e-3 /* an MoE's N within this of the baseline's is what we look for */
#define ALPHA            2.77 /* F/H of the paper's dense layers; a third to three times is allowed */
#define ALPHA_MIN        1.5
#define ALPHA_MAX        5.5
#define MU               22.0
#define ZETA_BAND_LOW    0.5 /* L is tried where zeta is within these of its target */
#define ZETA_BAND_HIGH   1.7
#define RATE_UNIT        0.02 /* a relative error of r_a that costs 1 */
#define TARGET_UNIT      0.02 /* a relative error of N against the goal that costs 1 */
#define COST_ODD_WIDTH   1.0  /* F no multiple of 16 */
#define COST_LOOSE_N     8.0  /* N off by more than TIGHT_PARAMS */
#define COST_SINGLE_K    1.0  /* K = 1: renormalised gates would be constant */
#define COST_UNEVEN_F    1.5  /* the first layer's width differs along the scan */
#define ROUTER_UNIT_FRAC 0.01 /* a router this large against the experts costs 1 */

static const int64_t expert_widths[] = {128, 96, 64, 48, 32, 16};

typedef struct dense_candidate {
    int64_t H, L, F, params;
    double cost;
} dense_candidate;

/* The choice at one rate. */
typedef struct expert_choice {
    int64_t F, E, K;
    double cost; /* INFINITY: none */
} expert_choice;

typedef struct moe_candidate {
    dense_candidate dense;
    int64_t H, L, De;
    expert_choice picks[ISO_SEARCH_RATES_MAX];
    double cost;
} moe_candidate;

typedef struct search_state {
    const iso_search_goal *goal;
    double zeta; /* the target */
    dense_candidate baselines[N_BASELINES];
    int64_t n_baselines;
    moe_candidate best;
    bool reached[ISO_SEARCH_RATES_MAX]; /* some shape met this rate, at least */
} search_state;

/* Squared distance in octaves. */
static double octaves(double value, double target) {
    double distance = log2(value / target);
    return distance * distance;
}

static double squared(double x) {
    return x * x;
}

/* The paper's zeta grows with size: 88 at 2.15e9; this line through it gives 24 at 1e6. */
static double zeta_target(double params) {
    return 24.0 * pow(params / 1e6, 1.0 / 6.0);
}

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* The range of H by S/H, as multiples of the head width, and of L by zeta. */
static void range_hidden(const iso_search_goal *goal, int64_t *first, int64_t *last) {
    double S = (double)goal->base.max_position_embeddings;
    *first = goal->head_dim * ceil_div((int64_t)ceil(S / goal->gamma_max), goal->head_dim);
    *last = goal->head_dim * ((int64_t)floor(S / goal->gamma_min) / goal->head_dim);
}

static void range_layers(const search_state *search, int64_t H, int64_t *first, int64_t *last) {
    *first = (int64_t)ceil((double)H / (ZETA_BAND_HIGH * search->zeta));
    *last = (int64_t)floor((double)H / (ZETA_BAND_LOW * search->zeta));
}

/* What (H, L) costs whatever the widths. */
static double frame_cost(const search_state *search, int64_t H, int64_t L) {
    double gamma = (double)search->goal->base.max_position_embeddings / (double)H;
    return octaves((double)H / (double)L, search->zeta) + 0.5 * octaves(gamma, 1.0);
}

static double width_cost(int64_t F, int64_t H) {
    return octaves((double)F / (double)H, ALPHA) +
           (F % (2 * WIDTH_STEP) != 0 ? COST_ODD_WIDTH : 0.0);
}

/* --- the dense baseline --- */

/* Keeps the cheapest N_BASELINES, in order; the earlier one of equals. */
static void keep_baseline(search_state *search, const dense_candidate *candidate) {
    int64_t i = search->n_baselines;
    if (i == N_BASELINES) {
        if (candidate->cost >= search->baselines[i - 1].cost) return;
        i--;
    } else {
        search->n_baselines++;
    }
    for (; i > 0 && search->baselines[i - 1].cost > candidate->cost; i--)
        search->baselines[i] = search->baselines[i - 1];
    search->baselines[i] = *candidate;
}

static void try_baselines(search_state *search, int64_t H, int64_t L) {
    const iso_search_goal *goal = search->goal;
    int64_t ffn = goal->params - 4 * H * H * L;
    if (ffn <= 0) return;
    int64_t below = ffn / (3 * H * L) / WIDTH_STEP * WIDTH_STEP;
    for (int64_t F = below; F <= below + WIDTH_STEP; F += WIDTH_STEP) {
        double alpha = (double)F / (double)H;
        if (alpha < ALPHA_MIN || alpha > ALPHA_MAX) continue;
        dense_candidate candidate = {H, L, F, 4 * H * H * L + 3 * H * F * L, 0.0};
        double error = (double)(candidate.params - goal->params) / (double)goal->params;
        if (fabs(error) > goal->max_target_error) continue;
        candidate.cost = frame_cost(search, H, L) + width_cost(F, H) + squared(error / TARGET_UNIT);
        keep_baseline(search, &candidate);
    }
}

/* --- the MoE scan --- */

/* The best E and K at one rate, with the first layer's width given. */
static expert_choice pick_experts(search_state *search, const moe_candidate *scan, int64_t F,
                                  int64_t i_rate) {
    const iso_search_goal *goal = search->goal;
    expert_choice best = {.cost = INFINITY};
    int64_t H = scan->H, L = scan->L;
    int64_t unit = 3 * H * scan->De * (L - 1); /* what one more expert adds to N */
    int64_t fixed = 4 * H * H * L + 3 * H * F; /* always active */
    int64_t n_units = (scan->dense.params - fixed + unit / 2) / unit; /* E + K: Dse is K De wide */
    int64_t params = fixed + n_units * unit;
    double mu = (double)(n_units * scan->De) / (double)H;
    double error = (double)(params - scan->dense.params) / (double)scan->dense.params;
    if (mu < goal->mu_min || mu > goal->mu_max || fabs(error) > goal->max_params_error) return best;
    double common = 0.5 * octaves(mu, MU) + squared(error / TIGHT_PARAMS) +
                    (fabs(error) > TIGHT_PARAMS ? COST_LOOSE_N : 0.0) + width_cost(F, H);
    double rate = goal->rates[i_rate];
    int64_t below = (int64_t)floor((rate * (double)params - (double)fixed) / (2.0 * (double)unit));
    for (int64_t K = below; K <= below + 1; K++) {
        int64_t E = n_units - K;
        if (K < 1 || E < K) continue;
        double rate_error = (double)(fixed + 2 * K * unit) / (double)params / rate - 1.0;
        if (fabs(rate_error) > goal->max_rate_error) continue;
        double cost = common + squared(rate_error / RATE_UNIT) + (K == 1 ? COST_SINGLE_K : 0.0);
        if (cost < best.cost) best = (expert_choice){F, E, K, cost};
    }
    if (best.cost < INFINITY) search->reached[i_rate] = true;
    return best;
}

/* Whether some width of the first layer can put mu within its bounds: most (H, L) can't. */
static bool mu_can_fit(const iso_search_goal *goal, const moe_candidate *candidate) {
    double H = (double)candidate->H, L = (double)candidate->L;
    double ffn = (double)candidate->dense.params - 4.0 * H * H * L;
    double most = (ffn - 3.0 * H * H * ALPHA_MIN) / (3.0 * H * H * (L - 1.0));
    double least = (ffn - 3.0 * H * H * ALPHA_MAX) / (3.0 * H * H * (L - 1.0));
    double half_unit = 0.5 * (double)candidate->De / H;
    return most + half_unit >= goal->mu_min && least - half_unit <= goal->mu_max;
}

/* Tries every width of the first layer: the same at all rates, or each its own for a price. */
static void try_scan(search_state *search, moe_candidate *candidate) {
    int64_t n_rates = search->goal->n_rates;
    int64_t H = candidate->H;
    double lower_bound = candidate->cost;
    expert_choice own[ISO_SEARCH_RATES_MAX], shared[ISO_SEARCH_RATES_MAX];
    for (int64_t i = 0; i < n_rates; i++) own[i].cost = INFINITY;
    double shared_cost = INFINITY;
    int64_t last = (int64_t)(ALPHA_MAX * (double)H);
    for (int64_t F = WIDTH_STEP * (int64_t)ceil(ALPHA_MIN * (double)H / WIDTH_STEP); F <= last;
         F += WIDTH_STEP) {
        expert_choice here[ISO_SEARCH_RATES_MAX];
        double cost = 0.0;
        for (int64_t i = 0; i < n_rates; i++) {
            here[i] = pick_experts(search, candidate, F, i);
            cost += here[i].cost / (double)n_rates;
            if (here[i].cost < own[i].cost) own[i] = here[i];
        }
        if (cost < shared_cost) {
            shared_cost = cost;
            memcpy(shared, here, sizeof shared);
        }
    }
    double own_cost = n_rates > 1 ? COST_UNEVEN_F : 0.0;
    for (int64_t i = 0; i < n_rates; i++) own_cost += own[i].cost / (double)n_rates;
    bool uneven = own_cost < shared_cost;
    candidate->cost = lower_bound + (uneven ? own_cost : shared_cost);
    if (candidate->cost >= search->best.cost) return;
    memcpy(candidate->picks, uneven ? own : shared, sizeof shared);
    search->best = *candidate;
}

static void try_scans(search_state *search, int64_t H, int64_t L) {
    const iso_search_goal *goal = search->goal;
    size_t n_widths = goal->expert_width > 0 ? 1 : sizeof expert_widths / sizeof *expert_widths;
    double frame = frame_cost(search, H, L);
    for (size_t i = 0; i < n_widths; i++) {
        int64_t De = goal->expert_width > 0 ? goal->expert_width : expert_widths[i];
        /* Fine experts, a quarter of H wide as in the paper, but not for any price in router. */
        double router_frac = 1.0 / (3.0 * (double)De);
        double cost =
            frame + 0.5 * octaves((double)De, (double)H / 4.0) + router_frac / ROUTER_UNIT_FRAC;
        for (int64_t j = 0; j < search->n_baselines; j++) {
            moe_candidate candidate = {.dense = search->baselines[j], .H = H, .L = L, .De = De};
            candidate.cost = cost + search->baselines[j].cost;
            if (candidate.cost >= search->best.cost) break; /* the others cost more */
            if (mu_can_fit(goal, &candidate)) try_scan(search, &candidate);
        }
    }
}

/* --- from candidates to shapes --- */

static iso_status fill_model(iso_search_model *out, const iso_shape *shape, double rate_asked,
                             int64_t dense_params) {
    iso_counts counts;
    ISO_TRY(iso_count(&counts, shape, ISO_CONVENTION_PAPER));
    *out = (iso_search_model){
        .shape = *shape,
        .rate_asked = rate_asked,
        .rate = counts.activation_rate,
        .params_error = (double)(counts.params_nonvocab - dense_params) / (double)dense_params,
    };
    return ISO_OK;
}

static iso_shape frame_shape(const iso_search_goal *goal, int64_t H, int64_t L, int64_t F) {
    iso_shape shape = goal->base;
    shape.hidden_size = H;
    shape.num_hidden_layers = L;
    shape.num_attention_heads = H / goal->head_dim;
    shape.intermediate_size = F;
    return shape;
}

static iso_status fill_result(iso_search_result *out, const search_state *search) {
    const iso_search_goal *goal = search->goal;
    const moe_candidate *best = &search->best;
    *out = (iso_search_result){.n_moe = goal->n_rates};
    iso_shape shape = frame_shape(goal, best->dense.H, best->dense.L, best->dense.F);
    shape.layer_layout = ISO_LAYOUT_DENSE;
    shape.num_experts = shape.num_experts_per_tok = 0;
    shape.moe_intermediate_size = shape.shared_expert_intermediate_size = 0;
    ISO_TRY(fill_model(&out->dense, &shape, 1.0, best->dense.params));
    for (int64_t i = 0; i < goal->n_rates; i++) {
        const expert_choice *pick = &best->picks[i];
        shape = frame_shape(goal, best->H, best->L, pick->F);
        shape.layer_layout = ISO_LAYOUT_1DENSE;
        shape.num_experts = pick->E;
        shape.num_experts_per_tok = pick->K;
        shape.moe_intermediate_size = best->De;
        shape.shared_expert_intermediate_size = pick->K * best->De;
        ISO_TRY(fill_model(&out->moe[i], &shape, goal->rates[i], best->dense.params));
    }
    return ISO_OK;
}

static iso_status check_goal(const iso_search_goal *goal) {
    if (goal->params < 1000 || goal->params > INT64_C(1000000000000))
        return iso_fail(ISO_ERR_USAGE, "params: %" PRId64 " parameters; give 1000 to 1e12",
                        goal->params);
    if (goal->head_dim < 1 || goal->base.max_position_embeddings < 1 || goal->base.vocab_size < 1)
        return iso_fail(ISO_ERR_USAGE,
                        "head width, context length and vocabulary must be positive");
    if (goal->expert_width < 0)
        return iso_fail(ISO_ERR_USAGE,
                        "expert width: %" PRId64 "; give a positive width, or 0 to have "
                        "it chosen",
                        goal->expert_width);
    if (goal->n_rates < 1 || goal->n_rates > ISO_SEARCH_RATES_MAX)
        return iso_fail(ISO_ERR_USAGE, "%" PRId64 " activation rates; give 1 to %d", goal->n_rates,
                        ISO_SEARCH_RATES_MAX);
    for (int64_t i = 0; i < goal->n_rates; i++)
        if (!(goal->rates[i] > 0.0 && goal->rates[i] < 1.0))
            return iso_fail(ISO_ERR_USAGE, "activation rate %g; give rates between 0 and 1",
                            goal->rates[i]);
    if (!(goal->gamma_min > 0.0 && goal->gamma_min <= goal->gamma_max && goal->mu_min > 0.0 &&
          goal->mu_min <= goal->mu_max))
        return iso_fail(ISO_ERR_USAGE, "the bounds of S/H and of mu must be positive and in order");
    return ISO_OK;
}

static iso_status fail_infeasible(const search_state *search) {
    const iso_search_goal *goal = search->goal;
    iso_search_goal usual = iso_search_goal_default(goal->params);
    if (search->n_baselines == 0)
        return iso_fail(ISO_ERR_USAGE,
                        "no dense shape of %" PRId64 " parameters with context %" PRId64
                        ", heads of %" PRId64 " and S/H from %g to %g; at this size a context of "
                        "%" PRId64 " with heads of %" PRId64 " fits",
                        goal->params, goal->base.max_position_embeddings, goal->head_dim,
                        goal->gamma_min, goal->gamma_max, usual.base.max_position_embeddings,
                        usual.head_dim);
    for (int64_t i = 0; i < goal->n_rates; i++)
        if (!search->reached[i])
            return iso_fail(
                ISO_ERR_USAGE,
                "no MoE shape of %" PRId64 " parameters has an activation rate within "
                "%g %% of %g (context %" PRId64 ", heads of %" PRId64 ", mu from %g to %g); "
                "attention and the first layer are always active: ask for a higher rate, "
                "more parameters, or a smaller expert width",
                goal->params, 100.0 * goal->max_rate_error, goal->rates[i],
                goal->base.max_position_embeddings, goal->head_dim, goal->mu_min, goal->mu_max);
    return iso_fail(ISO_ERR_USAGE,
                    "each activation rate has MoE shapes of %" PRId64
                    " parameters, but no hidden size "
                    "and depth serves them all; ask for fewer rates or rates closer together",
                    goal->params);
}

iso_search_goal iso_search_goal_default(int64_t params) {
    iso_search_goal goal = {
        .params = params,
        .base = iso_shape_default(),
        .max_target_error = 0.05,
        .max_params_error = 0.005,
        .max_rate_error = 0.05,
        .gamma_min = 0.5,
        .gamma_max = 1.5,
        .mu_min = 15.0,
        .mu_max = 50.0,
    };
    /* The widths that the paper's proportions give, by equations (1) and (4) with L = H / zeta. */
    double cubed = zeta_target((double)params) * (double)params;
    double dense = cbrt(cubed / (4.0 + 3.0 * ALPHA)), moe = cbrt(cubed / (4.0 + 3.0 * MU));
    double between = sqrt(dense * moe);
    goal.base.max_position_embeddings = 32 * (int64_t)fmax(1.0, round(between / 32.0));
    goal.head_dim = between < 40.0 ? 8 : between < 128.0 ? 16 : between < 384.0 ? 32 : 64;
    return goal;
}

iso_status iso_shape_search(iso_search_result *out, const iso_search_goal *goal) {
    ISO_TRY(check_goal(goal));
    search_state search = {
        .goal = goal, .zeta = zeta_target((double)goal->params), .best.cost = INFINITY};
    int64_t first_H, last_H, first_L, last_L;
    range_hidden(goal, &first_H, &last_H);
    for (int64_t H = first_H; H <= last_H; H += goal->head_dim) {
        range_layers(&search, H, &first_L, &last_L);
        for (int64_t L = first_L; L <= last_L; L++) try_baselines(&search, H, L);
    }
    for (int64_t H = first_H; H <= last_H; H += goal->head_dim) {
        range_layers(&search, H, &first_L, &last_L);
        for (int64_t L = first_L < 2 ? 2 : first_L; L <= last_L; L++) try_scans(&search, H, L);
    }
    if (!(search.best.cost < INFINITY)) return fail_infeasible(&search);
    return fill_result(out, &search);
}
