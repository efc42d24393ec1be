/* Why best first: every size is an integer, so all of (H, L, De, E + K, F) that fit could be tried,
 * but at 1e12 parameters they are billions. What a good shape is, is written down as one cost, a
 * sum of a part that (H, L) decides, a part that De decides, and so on. Candidates are tried in the
 * order of their own part, and a loop ends where the parts so far reach the best whole: what is
 * skipped could not have won. So the answer is the one that trying everything would give.
 *
 * N is linear in F and E + K, r_a in K: for each (H, L, De, E + K) the widths F that meet N, and
 * then those that meet each rate with some K, are intervals; a solution is an integer in all of
 * them. Nothing is sampled.
 */
#include "arch/planner_search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What would be noticed costs about 1. */
#define ZETA_WEIGHT      4.0 /* per squared octave: a factor 1.5 costs 1.4 */
#define MU_WEIGHT        4.0
#define MU_FREE_WEIGHT   0.5 /* below 1e9 parameters, between 15 and 50 */
#define ALPHA_WEIGHT     1.5
#define EXPERT_WEIGHT    0.25   /* De against H/4, the paper's granularity */
#define ROUTER_UNIT_FRAC 0.01   /* a router this large against the experts: H E against 3 H E De */
#define PARAMS_UNIT      2.5e-4 /* relative distance of N from the baseline's */
#define RATE_UNIT        5e-3
#define COST_SINGLE_K    0.5 /* K = 1: gates cannot be normalised */

typedef struct plan_pair {
    int64_t H, L;
    double cost;  /* what (H, L) itself costs */
    double bound; /* and at least what the F costs that the rates leave */
} plan_pair;

typedef struct plan_pairs {
    plan_pair *items; /* in the order of their bounds */
    int64_t n, capacity;
} plan_pairs;

typedef struct expert_width {
    int64_t De;
    double cost;
} expert_width;

/* What (H, L, De, E + K) fixes; parameters are counts. */
typedef struct plan_frame {
    int64_t H, L, De, n_units;
    double attention;  /* 4 H^2 L */
    double per_F;      /* 3 H L_d: parameters per unit of F */
    double per_expert; /* 3 H De L_e */
    double per_K;      /* active parameters per unit of K: with the shared expert twice that */
} plan_frame;

typedef struct interval {
    double low, high;
} interval;

static double square(double x) {
    return x * x;
}

/* zeta and mu within this factor of their targets; INFINITY: of any. */
static double band(iso_plan_width width) {
    return width == ISO_PLAN_NARROW ? 1.5 : width <= ISO_PLAN_FINE ? 2.5 : INFINITY;
}

/* Squared distance in octaves. */
static double octaves(double value, double target) {
    return square(log2(value / target));
}

static int64_t n_moe_layers(iso_layout layout, int64_t L) {
    iso_shape shape = {.layer_layout = layout, .num_hidden_layers = L};
    return iso_shape_n_moe_layers(&shape);
}

/* Kernels like widths of 64; what is finer is a nuisance, an odd width a real one. */
static double width_cost(int64_t multiple) {
    static const double costs[] = {8.0, 6.0, 4.0, 0.8, 0.4, 0.2, 0.0}; /* of 1, 2, 4 ... 64 */
    int i = 0;
    while (i < 6 && multiple % (INT64_C(2) << i) == 0) i++;
    return costs[i];
}

bool iso_plan_mu_is_free(const iso_plan_goal *goal) {
    return goal->params < INT64_C(1000000000);
}

static double mu_cost(const iso_plan_goal *goal, double mu) {
    if (iso_plan_mu_is_free(goal) && mu >= ISO_PLAN_MU_FREE_MIN && mu <= ISO_PLAN_MU_FREE_MAX)
        return MU_FREE_WEIGHT * octaves(mu, goal->mu);
    return MU_WEIGHT * octaves(mu, goal->mu);
}

/* The fewest active experts of any answer, and what units they make: a shared expert is K wide. */
static int64_t least_K(const iso_plan_goal *goal) {
    return goal->experts_per_token > 0 ? goal->experts_per_token : goal->min_experts_per_token;
}

static int64_t least_units(const iso_plan_goal *goal) {
    return least_K(goal) * (goal->shared_expert ? 2 : 1);
}

/* --- pairs --- */

static iso_status add_pair(plan_pairs *pairs, plan_pair pair) {
    if (pairs->n == pairs->capacity) {
        int64_t capacity = pairs->capacity ? 2 * pairs->capacity : 256;
        plan_pair *items = realloc(pairs->items, (size_t)capacity * sizeof *items);
        if (!items) return iso_fail(ISO_ERR_MEMORY, "plan: no memory for the candidate shapes");
        pairs->items = items;
        pairs->capacity = capacity;
    }
    pairs->items[pairs->n++] = pair;
    return ISO_OK;
}

/* By bound; equal ones in one fixed order, whatever qsort does. */
static int compare_pairs(const void *left, const void *right) {
    const plan_pair *a = left, *b = right;
    if (a->bound != b->bound) return a->bound < b->bound ? -1 : 1;
    if (a->H != b->H) return a->H < b->H ? -1 : 1;
    return (a->L > b->L) - (a->L < b->L);
}

/* mu that N leaves for the experts with a first layer of the usual width. */
static double pair_mu(const iso_plan_goal *goal, int64_t H, int64_t L, int64_t L_e) {
    double h = (double)H;
    double ffn = (double)goal->params - 4.0 * h * h * (double)L -
                 3.0 * h * h * goal->alpha * (double)(L - L_e);
    return ffn / (3.0 * h * h * (double)L_e);
}

/* Whether the least that a token uses is no more than the lowest rate asked for. */
static bool pair_can_serve(const iso_plan_query *query, int64_t H, int64_t L, int64_t L_e) {
    const iso_plan_goal *goal = query->goal;
    double h = (double)H, least = INFINITY;
    for (int64_t i = 0; i < query->n_rates; i++) least = fmin(least, query->rates[i]);
    double active = 4.0 * h * h * (double)L +
                    3.0 * h * h * query->limits.alpha_min * (double)(L - L_e) +
                    3.0 * h * (double)L_e * (double)least_units(goal);
    return active <= least * (1.0 + query->rate_error) * (1.0 + goal->max_params_error) *
                         (double)goal->params;
}

static bool pair_is_usual(const iso_plan_query *query, double zeta, double mu) {
    const iso_plan_goal *goal = query->goal;
    double factor = band(query->width), mu_low = goal->mu / factor, mu_high = goal->mu * factor;
    if (iso_plan_mu_is_free(goal)) {
        mu_low = fmin(mu_low, ISO_PLAN_MU_FREE_MIN);
        mu_high = fmax(mu_high, ISO_PLAN_MU_FREE_MAX);
    }
    return zeta >= goal->zeta / factor && zeta <= goal->zeta * factor && mu >= mu_low &&
           mu <= mu_high;
}

/* What F/H costs at the least: all dense layers are always active, so a low rate bounds F. */
static double pair_alpha_cost(const iso_plan_query *query, int64_t H, int64_t L, int64_t L_e) {
    const iso_plan_goal *goal = query->goal;
    double h = (double)H, least = INFINITY;
    if (L_e == L) return 0.0;
    for (int64_t i = 0; i < query->n_rates; i++) least = fmin(least, query->rates[i]);
    double active =
        least * (1.0 + query->rate_error) * (1.0 + goal->max_params_error) * (double)goal->params;
    double widest = (active - 4.0 * h * h * (double)L) / (3.0 * h * h * (double)(L - L_e));
    widest = fmax(widest, query->limits.alpha_min);
    return widest < goal->alpha ? ALPHA_WEIGHT * octaves(widest, goal->alpha) : 0.0;
}

static iso_status add_moe_pair(plan_pairs *pairs, const iso_plan_query *query, int64_t H,
                               int64_t L) {
    const iso_plan_goal *goal = query->goal;
    int64_t L_e = n_moe_layers(goal->layout, L);
    if (L_e < 1 || !pair_can_serve(query, H, L, L_e)) return ISO_OK;
    double zeta = (double)H / (double)L, mu = pair_mu(goal, H, L, L_e);
    if (query->width <= ISO_PLAN_FINE && !pair_is_usual(query, zeta, mu)) return ISO_OK;
    /* A mu of nothing or less: only a thinner first layer leaves room for experts. */
    double cost = ZETA_WEIGHT * octaves(zeta, goal->zeta) + mu_cost(goal, fmax(mu, 0.1));
    double bound = cost + pair_alpha_cost(query, H, L, L_e);
    return add_pair(pairs, (plan_pair){H, L, cost, bound});
}

static iso_status add_dense_pair(plan_pairs *pairs, const iso_plan_query *query, int64_t H,
                                 int64_t L) {
    const iso_plan_goal *goal = query->goal;
    double zeta = (double)H / (double)L;
    if (fabs(log(zeta / goal->dense_zeta)) > log(band(query->width))) return ISO_OK;
    double cost = ZETA_WEIGHT * octaves(zeta, goal->dense_zeta);
    return add_pair(pairs, (plan_pair){H, L, cost, cost});
}

/* All (H, L) whose attention fits N, and that can be something, in the order of their cost. */
static iso_status list_pairs(plan_pairs *pairs, const iso_plan_query *query, bool dense) {
    const iso_plan_goal *goal = query->goal;
    double most = (double)goal->params * (1.0 + goal->max_params_error);
    *pairs = (plan_pairs){0};
    for (int64_t H = goal->head_dim; 4.0 * (double)H * (double)H <= most; H += goal->head_dim) {
        double h = (double)H;
        int64_t L_first = (int64_t)ceil(h / query->limits.zeta_max);
        int64_t L_last = (int64_t)fmin(h / query->limits.zeta_min, most / (4.0 * h * h));
        double zeta = dense ? goal->dense_zeta : goal->zeta, factor = band(query->width);
        L_first = (int64_t)fmax((double)L_first, floor(h / (zeta * factor)));
        L_last = (int64_t)fmin((double)L_last, ceil(h * factor / zeta));
        for (int64_t L = L_first < 1 ? 1 : L_first; L <= L_last; L++)
            ISO_TRY(dense ? add_dense_pair(pairs, query, H, L) : add_moe_pair(pairs, query, H, L));
    }
    if (pairs->n > 0) qsort(pairs->items, (size_t)pairs->n, sizeof *pairs->items, compare_pairs);
    return ISO_OK;
}

/* --- the width F --- */

/* The best integer F of an interval: near `exact`, of a kind width. False if there is none. */
static bool choose_width(int64_t *F, double *cost, const iso_plan_query *query, interval allowed,
                         double exact, double per_F, int64_t H) {
    const iso_plan_goal *goal = query->goal;
    int64_t law = goal->width_multiple > 0 ? goal->width_multiple : 1;
    bool found = false;
    *cost = INFINITY;
    for (int64_t step = 64; step >= 1; step /= 2) {
        if (step % law != 0 && step > 1) continue;
        int64_t multiple = step % law == 0 ? step : law;
        double m = (double)multiple;
        double width = m * round(exact / m);
        if (width < allowed.low) width = m * ceil(allowed.low / m);
        if (width > allowed.high) width = m * floor(allowed.high / m);
        if (width < allowed.low || width < 1.0) continue;
        double here = width_cost(multiple) +
                      ALPHA_WEIGHT * octaves(width / (double)H, goal->alpha) +
                      square(per_F * (width - exact) / (PARAMS_UNIT * (double)goal->params));
        if (here < *cost) {
            *cost = here;
            *F = (int64_t)width;
            found = true;
        }
    }
    return found;
}

/* The widths that bring N within its tolerance and F/H within the limits, where `rest` is N without
 * them. */
static interval width_interval(const iso_plan_query *query, double rest, double per_F, int64_t H) {
    double goal = (double)query->goal->params, tolerance = query->goal->max_params_error;
    return (interval){
        .low = fmax(((1.0 - tolerance) * goal - rest) / per_F, query->limits.alpha_min * (double)H),
        .high =
            fmin(((1.0 + tolerance) * goal - rest) / per_F, query->limits.alpha_max * (double)H),
    };
}

iso_status iso_plan_pick_dense(iso_plan_pick *out, const iso_plan_query *query) {
    plan_pairs pairs;
    iso_status status = list_pairs(&pairs, query, true);
    *out = (iso_plan_pick){.cost = INFINITY};
    for (int64_t i = 0; i < pairs.n && status == ISO_OK; i++) {
        const plan_pair *pair = &pairs.items[i];
        if (pair->bound >= out->cost) break;
        double attention = 4.0 * (double)pair->H * (double)pair->H * (double)pair->L;
        double per_F = 3.0 * (double)pair->H * (double)pair->L;
        interval allowed = width_interval(query, attention, per_F, pair->H);
        int64_t F;
        double cost;
        if (!choose_width(&F, &cost, query, allowed,
                          ((double)query->aim_params - attention) / per_F, per_F, pair->H))
            continue;
        if (pair->cost + cost < out->cost)
            *out = (iso_plan_pick){.H = pair->H, .L = pair->L, .F = F, .cost = pair->cost + cost};
    }
    free(pairs.items);
    return status;
}

/* --- experts --- */

static int compare_widths(const void *left, const void *right) {
    const expert_width *a = left, *b = right;
    if (a->cost != b->cost) return a->cost < b->cost ? -1 : 1;
    return (a->De > b->De) - (a->De < b->De);
}

static double expert_cost(int64_t De, int64_t H) {
    return EXPERT_WEIGHT * octaves((double)De, (double)H / 4.0) +
           1.0 / (3.0 * (double)De * ROUTER_UNIT_FRAC) + width_cost(De);
}

typedef struct width_range {
    int64_t first, last, step;
} width_range;

/* Which expert widths to try with hidden size H. */
static width_range widths_of(const iso_plan_query *query, int64_t H) {
    const iso_plan_goal *goal = query->goal;
    int64_t law = goal->width_multiple > 0 ? goal->width_multiple : 1;
    bool all = query->width == ISO_PLAN_ALL && goal->params < ISO_PLAN_ALL_WIDTHS_PARAMS;
    /* A K that is given leaves De alone to meet the rate. */
    bool fine = all || goal->experts_per_token > 0 || law % 8 == 0;
    int64_t step = fine ? law : 8 * law;
    int64_t last = all ? (int64_t)query->limits.expert_alpha_max * H : 2 * H;
    int64_t first =
        query->width < ISO_PLAN_FINE ? (ISO_PLAN_LEAN_EXPERT_WIDTH + step - 1) / step * step : step;
    /* The fewest experts there can be fit N in one layer at least. */
    double widest = (double)goal->params * (1.0 + goal->max_params_error) /
                    (3.0 * (double)H * (double)least_units(goal));
    last = (int64_t)fmin((double)last, widest);
    if (goal->expert_width > 0) first = step = last = goal->expert_width;
    return (width_range){first, last, step};
}

/* The same, cheapest first; the caller frees *out. */
static iso_status list_widths(expert_width **out, int64_t *n, const iso_plan_query *query,
                              int64_t H) {
    const iso_plan_goal *goal = query->goal;
    width_range range = widths_of(query, H);
    *n = 0;
    *out = calloc((size_t)(range.last / range.step) + 1, sizeof **out);
    if (!*out) return iso_fail(ISO_ERR_MEMORY, "plan: no memory for the expert widths");
    for (int64_t De = range.first; De <= range.last; De += range.step)
        (*out)[(*n)++] = (expert_width){De, goal->expert_width > 0 ? 0.0 : expert_cost(De, H)};
    qsort(*out, (size_t)*n, sizeof **out, compare_widths);
    return ISO_OK;
}

static plan_frame make_frame(const iso_plan_query *query, const plan_pair *pair, int64_t De) {
    double H = (double)pair->H, L = (double)pair->L;
    double L_e = (double)n_moe_layers(query->goal->layout, pair->L);
    double per_expert = 3.0 * H * (double)De * L_e;
    return (plan_frame){.H = pair->H,
                        .L = pair->L,
                        .De = De,
                        .attention = 4.0 * H * H * L,
                        .per_F = 3.0 * H * (L - L_e),
                        .per_expert = per_expert,
                        .per_K = per_expert * (query->goal->shared_expert ? 2.0 : 1.0)};
}

/* The F for which `K` gives `rate` within the tolerance. Active = fixed + per_F F and all = that +
 * the experts are both linear in F. */
static interval rate_interval(const iso_plan_query *query, const plan_frame *frame, double rate,
                              int64_t K) {
    double experts = (double)frame->n_units * frame->per_expert;
    double active = frame->attention + (double)K * frame->per_K;
    double all = frame->attention + experts;
    double least = rate * (1.0 - query->rate_error), most = rate * (1.0 + query->rate_error);
    interval allowed = {-INFINITY, INFINITY};
    if (frame->per_F == 0.0) {
        if (active < least * all || active > most * all) allowed.low = INFINITY;
        return allowed;
    }
    if (least < 1.0) allowed.low = (least * all - active) / (frame->per_F * (1.0 - least));
    if (most < 1.0) allowed.high = (most * all - active) / (frame->per_F * (1.0 - most));
    return allowed;
}

static interval meet(interval a, interval b) {
    return (interval){fmax(a.low, b.low), fmin(a.high, b.high)};
}

/* The K that rate wants at width F, not rounded. */
static double wanted_K(const plan_frame *frame, double rate, double F) {
    double fixed = frame->attention + frame->per_F * F;
    double all = fixed + (double)frame->n_units * frame->per_expert;
    return (rate * all - fixed) / frame->per_K;
}

/* The K for one rate that leaves the most room for F; narrows *allowed. False if none does. */
static bool choose_K(int64_t *out, interval *allowed, const iso_plan_query *query,
                     const plan_frame *frame, double rate, double middle) {
    const iso_plan_goal *goal = query->goal;
    int64_t least = goal->min_experts_per_token,
            most = frame->n_units / (goal->shared_expert ? 2 : 1);
    if (goal->experts_per_token > 0) least = most = goal->experts_per_token;
    if (goal->shared_expert && frame->n_units - least > query->limits.experts_max)
        least = frame->n_units - query->limits.experts_max; /* K shared units make E smaller */
    double widest = frame->per_F > 0.0 ? allowed->high : 0.0;
    double leanest = frame->per_F > 0.0 ? allowed->low : 0.0;
    int64_t first = (int64_t)floor(wanted_K(frame, rate * (1.0 - query->rate_error), widest));
    int64_t last = (int64_t)ceil(wanted_K(frame, rate * (1.0 + query->rate_error), leanest));
    if (first < least) first = least;
    if (last > most) last = most;
    double best = -INFINITY, wanted = wanted_K(frame, rate, middle);
    interval chosen = *allowed;
    for (int64_t K = first; K <= last; K++) {
        interval here = meet(*allowed, rate_interval(query, frame, rate, K));
        /* Room first, as far as it matters; then the K that is nearest. */
        double room = fmin(here.high - here.low, 64.0) - 1e-3 * fabs((double)K - wanted);
        if (here.low > here.high || room <= best) continue;
        best = room;
        chosen = here;
        *out = K;
    }
    *allowed = chosen;
    return best > -INFINITY;
}

/* What r_a and K cost, exactly counted; INFINITY if a tolerance is missed after rounding. */
static double rates_cost(const iso_plan_query *query, const plan_frame *frame, int64_t F,
                         const int64_t *K) {
    double fixed = frame->attention + frame->per_F * (double)F;
    double all = fixed + (double)frame->n_units * frame->per_expert, cost = 0.0;
    double error = (all - (double)query->goal->params) / (double)query->goal->params;
    if (fabs(error) > query->goal->max_params_error) return INFINITY;
    for (int64_t i = 0; i < query->n_rates; i++) {
        double rate = (fixed + (double)K[i] * frame->per_K) / all;
        double off = fabs(rate / query->rates[i] - 1.0);
        if (off > query->rate_error) return INFINITY;
        cost += 0.5 * square(off / RATE_UNIT);
        if (K[i] == 1 && query->goal->experts_per_token == 0) cost += COST_SINGLE_K;
    }
    return cost / (double)query->n_rates;
}

/* One (H, L, De, E + K): its best F and K, if that beats out->cost. `cost` is what went before. */
static void try_units(iso_plan_pick *out, const iso_plan_query *query, const plan_frame *frame,
                      double cost) {
    const iso_plan_goal *goal = query->goal;
    double rest = frame->attention + (double)frame->n_units * frame->per_expert;
    bool has_dense = frame->per_F > 0.0;
    double exact = has_dense ? ((double)query->aim_params - rest) / frame->per_F : 0.0;
    interval allowed = {0.0, 0.0};
    iso_plan_pick pick = {.H = frame->H, .L = frame->L, .De = frame->De, .n_units = frame->n_units};
    if (has_dense) {
        allowed = width_interval(query, rest, frame->per_F, frame->H);
        if (allowed.low > allowed.high) return;
    } else {
        cost += square((rest - (double)query->aim_params) / (PARAMS_UNIT * (double)goal->params));
    }
    for (int64_t i = 0; i < query->n_rates; i++) {
        double middle = has_dense ? 0.5 * (allowed.low + allowed.high) : 0.0;
        if (!choose_K(&pick.K[i], &allowed, query, frame, query->rates[i], middle)) return;
        int64_t E = frame->n_units - (goal->shared_expert ? pick.K[i] : 0);
        if (E > query->limits.experts_max || E < pick.K[i]) return;
    }
    double width_part = 0.0;
    if (has_dense &&
        !choose_width(&pick.F, &width_part, query, allowed, exact, frame->per_F, frame->H))
        return;
    pick.cost = cost + width_part + rates_cost(query, frame, pick.F, pick.K);
    if (pick.cost < out->cost) *out = pick;
}

/* The least that F/H can cost with n units: it only grows away from the usual F. */
static double alpha_bound(const iso_plan_query *query, const plan_frame *frame, int64_t n) {
    const iso_plan_goal *goal = query->goal;
    if (frame->per_F == 0.0) return 0.0;
    interval F = width_interval(query, frame->attention + (double)n * frame->per_expert,
                                frame->per_F, frame->H);
    double usual = goal->alpha * (double)frame->H;
    if (F.low > F.high) return 0.0; /* none: dealt with where it is tried */
    double nearest = fmin(fmax(usual, F.low), F.high);
    return ALPHA_WEIGHT * octaves(nearest, usual);
}

/* All E + K that some legal F completes to N, from the usual F outwards. */
static void try_frame(iso_plan_pick *out, const iso_plan_query *query, plan_frame *frame,
                      double cost) {
    const iso_plan_goal *goal = query->goal;
    double N = (double)goal->params, tolerance = goal->max_params_error * N;
    double H = (double)frame->H, left = N - frame->attention;
    double usual = (left - frame->per_F * goal->alpha * H) / frame->per_expert;
    double least =
        (left - tolerance - frame->per_F * query->limits.alpha_max * H) / frame->per_expert;
    double most =
        (left + tolerance - frame->per_F * query->limits.alpha_min * H) / frame->per_expert;
    int64_t first = (int64_t)ceil(fmax(least, (double)least_units(goal)));
    int64_t last = (int64_t)floor(
        fmin(most, (double)query->limits.experts_max * (goal->shared_expert ? 2.0 : 1.0)));
    if (first > last) return;
    int64_t middle = (int64_t)fmin(fmax(round(usual), (double)first), (double)last);
    for (int64_t n = middle; n >= first && alpha_bound(query, frame, n) + cost < out->cost; n--) {
        frame->n_units = n;
        try_units(out, query, frame, cost);
    }
    for (int64_t n = middle + 1; n <= last && alpha_bound(query, frame, n) + cost < out->cost;
         n++) {
        frame->n_units = n;
        try_units(out, query, frame, cost);
    }
}

/* The widths to try change with H alone; pairs of one H are far apart in the order of cost, so all
 * lists are kept. */
typedef struct width_lists {
    expert_width **lists;
    int64_t *n;
    int64_t n_lists, head_dim;
} width_lists;

static void free_lists(width_lists *lists) {
    for (int64_t i = 0; i < lists->n_lists && lists->lists; i++) free(lists->lists[i]);
    free(lists->lists);
    free(lists->n);
}

static iso_status make_lists(width_lists *lists, const iso_plan_query *query,
                             const plan_pairs *pairs) {
    int64_t widest = 0;
    for (int64_t i = 0; i < pairs->n; i++)
        widest = pairs->items[i].H > widest ? pairs->items[i].H : widest;
    lists->head_dim = query->goal->head_dim;
    lists->n_lists = widest / lists->head_dim + 1;
    lists->lists = calloc((size_t)lists->n_lists, sizeof *lists->lists);
    lists->n = calloc((size_t)lists->n_lists, sizeof *lists->n);
    if (!lists->lists || !lists->n)
        return iso_fail(ISO_ERR_MEMORY, "plan: no memory for the expert widths");
    return ISO_OK;
}

static iso_status find_list(expert_width **out, int64_t *n, width_lists *lists,
                            const iso_plan_query *query, int64_t H) {
    int64_t i = H / lists->head_dim;
    if (!lists->lists[i]) ISO_TRY(list_widths(&lists->lists[i], &lists->n[i], query, H));
    *out = lists->lists[i];
    *n = lists->n[i];
    return ISO_OK;
}

/* The De with which a given K can meet all rates: what is active is linear in both De and F. */
static interval given_K_widths(const iso_plan_query *query, const plan_pair *pair) {
    const iso_plan_goal *goal = query->goal;
    plan_frame one = make_frame(query, pair, 1);
    double K = (double)goal->experts_per_token, H = (double)pair->H;
    double thin = one.per_F * query->limits.alpha_min * H;
    double wide = one.per_F * query->limits.alpha_max * H;
    interval allowed = {1.0, INFINITY};
    for (int64_t i = 0; i < query->n_rates; i++) {
        double active = query->rates[i] * (double)goal->params;
        double most = active * (1.0 + query->rate_error) * (1.0 + goal->max_params_error);
        double least = active * (1.0 - query->rate_error) * (1.0 - goal->max_params_error);
        allowed = meet(allowed, (interval){(least - one.attention - wide) / (K * one.per_K),
                                           (most - one.attention - thin) / (K * one.per_K)});
    }
    return allowed;
}

/* With K given De follows from the rate, nearly: a few widths are left of the thousands. */
static void try_pair_given_K(iso_plan_pick *out, const iso_plan_query *query,
                             const plan_pair *pair) {
    width_range range = widths_of(query, pair->H);
    interval allowed = given_K_widths(query, pair);
    int64_t first = (int64_t)ceil(fmax(allowed.low, (double)range.first));
    int64_t last = (int64_t)floor(fmin(allowed.high, (double)range.last));
    for (int64_t De = (first + range.step - 1) / range.step * range.step; De <= last;
         De += range.step) {
        double cost = expert_cost(De, pair->H);
        if (pair->bound + cost >= out->cost) continue;
        plan_frame frame = make_frame(query, pair, De);
        try_frame(out, query, &frame, pair->cost + cost);
    }
}

static iso_status try_pair(iso_plan_pick *out, const iso_plan_query *query, const plan_pair *pair,
                           width_lists *lists) {
    expert_width *widths;
    int64_t n_widths;
    if (query->goal->experts_per_token > 0 && query->goal->expert_width == 0) {
        try_pair_given_K(out, query, pair);
        return ISO_OK;
    }
    ISO_TRY(find_list(&widths, &n_widths, lists, query, pair->H));
    for (int64_t i = 0; i < n_widths; i++) {
        double cost = pair->cost + widths[i].cost;
        if (pair->bound + widths[i].cost >= out->cost) break;
        plan_frame frame = make_frame(query, pair, widths[i].De);
        try_frame(out, query, &frame, cost);
    }
    return ISO_OK;
}

iso_status iso_plan_pick_together(iso_plan_pick *out, const iso_plan_query *query) {
    plan_pairs pairs;
    width_lists lists = {0};
    iso_status status = list_pairs(&pairs, query, false);
    *out = (iso_plan_pick){.cost = INFINITY};
    if (status == ISO_OK) status = make_lists(&lists, query, &pairs);
    for (int64_t i = 0; i < pairs.n && status == ISO_OK; i++) {
        if (pairs.items[i].bound >= out->cost) break;
        status = try_pair(out, query, &pairs.items[i], &lists);
    }
    free_lists(&lists);
    free(pairs.items);
    return status;
}

/* The rates of one pair, each for itself; sum gets their mean cost, INFINITY if one has nothing. */
static iso_status try_pair_apart(iso_plan_pick *picks, double *sum, const iso_plan_query *query,
                                 const plan_pair *pair, width_lists *lists) {
    *sum = 0.0;
    for (int64_t i = 0; i < query->n_rates && *sum < INFINITY; i++) {
        iso_plan_query one = *query;
        one.rates = &query->rates[i];
        one.n_rates = 1;
        picks[i] = (iso_plan_pick){.cost = INFINITY};
        ISO_TRY(try_pair(&picks[i], &one, pair, lists));
        *sum += picks[i].cost / (double)query->n_rates;
    }
    return ISO_OK;
}

iso_status iso_plan_pick_apart(iso_plan_pick *picks, const iso_plan_query *query) {
    plan_pairs pairs;
    width_lists lists = {0};
    iso_status status = list_pairs(&pairs, query, false);
    double best = INFINITY, sum;
    iso_plan_pick here[ISO_PLAN_RATES_MAX];
    for (int64_t i = 0; i < query->n_rates; i++) picks[i] = (iso_plan_pick){.cost = INFINITY};
    if (status == ISO_OK) status = make_lists(&lists, query, &pairs);
    for (int64_t i = 0; i < pairs.n && status == ISO_OK; i++) {
        if (pairs.items[i].bound >= best) break;
        status = try_pair_apart(here, &sum, query, &pairs.items[i], &lists);
        if (status != ISO_OK || sum >= best) continue;
        best = sum;
        memcpy(picks, here, (size_t)query->n_rates * sizeof *picks);
    }
    free_lists(&lists);
    free(pairs.items);
    return status;
}

iso_shape iso_plan_pick_shape(const iso_plan_goal *goal, const iso_plan_pick *pick,
                              iso_layout layout, int64_t i_rate) {
    iso_shape shape = goal->base;
    shape.hidden_size = pick->H;
    shape.num_hidden_layers = pick->L;
    shape.num_attention_heads = pick->H / goal->head_dim;
    shape.intermediate_size = pick->F;
    shape.layer_layout = layout;
    shape.num_experts = shape.num_experts_per_tok = 0;
    shape.moe_intermediate_size = shape.shared_expert_intermediate_size = 0;
    if (layout == ISO_LAYOUT_DENSE) return shape;
    int64_t K = pick->K[i_rate];
    shape.num_experts = pick->n_units - (goal->shared_expert ? K : 0);
    shape.num_experts_per_tok = K;
    shape.moe_intermediate_size = pick->De;
    shape.shared_expert_intermediate_size = goal->shared_expert ? K * pick->De : 0;
    return shape;
}
