#include "planner_cases.h"

#include "arch/equal_compute.h"
#include "arch/steplaw.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

typedef __int128 wide;

typedef struct dice {
    uint64_t seed, stream, counter;
} dice;

static double uniform(dice *d) {
    return iso_rng_uniform(d->seed, ISO_RNG_TEST, d->stream, d->counter++);
}

static double between(dice *d, double low, double high) {
    return low * pow(high / low, uniform(d));
}

/* --- an own count, layer by layer --- */

static bool own_is_moe(const iso_shape *s, int64_t layer) {
    return s->layer_layout == ISO_LAYOUT_FULL ||
           (s->layer_layout == ISO_LAYOUT_1DENSE && layer > 0) ||
           (s->layer_layout == ISO_LAYOUT_INTERLEAVE && layer % 2 == 1);
}

static void own_count(const iso_shape *s, wide *all, wide *active, wide *train_flops) {
    wide H = s->hidden_size;
    *all = *active = 0;
    for (int64_t layer = 0; layer < s->num_hidden_layers; layer++) {
        wide attention = 4 * H * H, ffn = 3 * H * s->intermediate_size, used = ffn;
        if (own_is_moe(s, layer)) {
            wide shared = 3 * H * s->shared_expert_intermediate_size;
            wide expert = 3 * H * s->moe_intermediate_size;
            ffn = expert * s->num_experts + shared;
            used = expert * s->num_experts_per_tok + shared;
        }
        *all += attention + ffn;
        *active += attention + used;
    }
    *train_flops = 6 * *active + 12 * H * s->max_position_embeddings * s->num_hidden_layers;
}

/* --- goals --- */

static iso_shape random_shape(dice *d, iso_plan_goal *goal, double target) {
    static const int64_t head_dims[] = {16, 32, 64, 128};
    static const iso_layout layouts[] = {ISO_LAYOUT_1DENSE, ISO_LAYOUT_1DENSE,
                                         ISO_LAYOUT_1DENSE, ISO_LAYOUT_1DENSE,
                                         ISO_LAYOUT_FULL,   ISO_LAYOUT_INTERLEAVE};
    goal->layout = layouts[(int)(uniform(d) * 6.0)];
    goal->shared_expert = uniform(d) < 0.8;
    double zeta = between(d, 6, 200), mu = between(d, 4, 80), alpha = between(d, 0.6, 10);
    double wanted = cbrt(zeta * target / (4.0 + 3.0 * mu));
    int most = wanted >= 256 ? 4 : wanted >= 128 ? 3 : wanted >= 64 ? 2 : 1;
    goal->head_dim = head_dims[(int)(uniform(d) * most)];
    iso_shape s = goal->base;
    s.layer_layout = goal->layout;
    s.hidden_size = goal->head_dim * (int64_t)fmax(1.0, round(wanted / (double)goal->head_dim));
    s.num_attention_heads = s.hidden_size / goal->head_dim;
    s.num_hidden_layers = (int64_t)fmax(2.0, round((double)s.hidden_size / zeta));
    s.intermediate_size =
        goal->layout == ISO_LAYOUT_FULL ? 0 : (int64_t)ceil(alpha * (double)s.hidden_size);
    s.moe_intermediate_size = (int64_t)between(d, 4, 2.0 * (double)s.hidden_size);
    double units = mu * (double)s.hidden_size / (double)s.moe_intermediate_size;
    s.num_experts_per_tok = (int64_t)fmax(1.0, floor(between(d, 1, fmax(1.0, 0.5 * units))));
    s.num_experts = (int64_t)fmax((double)s.num_experts_per_tok, round(units)) + 1;
    if (goal->shared_expert)
        s.shared_expert_intermediate_size = s.num_experts_per_tok * s.moe_intermediate_size;
    return s;
}

static bool within_limits(const iso_shape *s) {
    iso_plan_limits limits = iso_plan_limits_default();
    iso_ratios ratios = iso_shape_ratios(s);
    return ratios.zeta >= limits.zeta_min && ratios.zeta <= limits.zeta_max &&
           (s->intermediate_size == 0 ||
            (ratios.alpha >= limits.alpha_min && ratios.alpha <= limits.alpha_max)) &&
           s->num_experts <= limits.experts_max;
}

void planner_case_make(planner_case *out, uint64_t seed, uint64_t i) {
    dice d = {seed, i, 0};
    for (;;) {
        double target = between(&d, 1e6, 1e12);
        wide all, active, flops;
        out->goal = iso_plan_goal_default((int64_t)target);
        out->witness = random_shape(&d, &out->goal, target);
        own_count(&out->witness, &all, &active, &flops);
        double rate = (double)active / (double)all;
        if (!within_limits(&out->witness) || all < 1000000 || all > (wide)1000000000000 ||
            rate >= 0.97)
            continue;
        out->goal.params = (int64_t)all;
        out->goal.n_rates = 1;
        out->goal.rates[0] = rate;
        out->compute = 6.0 * (double)all * between(&d, 5, 200) * (double)all;
        return;
    }
}

/* --- the judge --- */

/* |M B steps - C| <= M B, where steps come from the library and the rest is counted here. */
static bool compute_is_equal(const iso_shape *reference, const iso_shape *s, double compute) {
    wide all, active, reference_flops, flops;
    own_count(reference, &all, &active, &reference_flops);
    own_count(s, &all, &active, &flops);
    int64_t S = s->max_position_embeddings, steps;
    int64_t tokens = (int64_t)(compute / (double)reference_flops) / S * S;
    int64_t batch =
        (int64_t)(iso_steplaw_batch_tokens(ISO_STEPLAW_UNROUNDED, (double)tokens) / (double)S) * S;
    if (batch < S) batch = S;
    if (tokens < batch) tokens = batch;
    if (iso_equal_steps(&steps, (int64_t)reference_flops, tokens, (int64_t)flops, batch) != ISO_OK)
        return false;
    wide step = flops * batch, off = step * steps - reference_flops * tokens;
    return off <= step && -off <= step;
}

static const char *judge_model(const planner_case *c, const iso_plan_model *model,
                               const iso_shape *dense) {
    const iso_plan_goal *goal = &c->goal;
    const iso_shape *s = &model->shape;
    wide all, active, flops;
    if (iso_shape_check(s) != ISO_OK) return "the shape is not legal";
    if (s->hidden_size % goal->head_dim != 0 ||
        s->hidden_size / goal->head_dim != s->num_attention_heads)
        return "the heads do not have the width asked for";
    if (s->max_position_embeddings != goal->base.max_position_embeddings) return "S was changed";
    own_count(s, &all, &active, &flops);
    wide off = all - goal->params;
    if (1000 * (off < 0 ? -off : off) > goal->params) return "N is off by more than 0.1 %";
    if (all != model->counts.params_nonvocab || active != model->counts.params_active ||
        flops != model->counts.train_flops_per_token)
        return "the counts are not the shape's";
    if (!compute_is_equal(dense, s, c->compute)) return "C is off by more than a step";
    if (s->layer_layout == ISO_LAYOUT_DENSE) return NULL;
    if (s->layer_layout != goal->layout) return "the layout was changed";
    if (s->shared_expert_intermediate_size !=
        (goal->shared_expert ? s->num_experts_per_tok * s->moe_intermediate_size : 0))
        return "the shared expert is not K De wide";
    if (!(fabs((double)active / (double)all / model->rate_asked - 1.0) <= 0.01 + 1e-12))
        return "r_a is off by more than 1 %";
    return NULL;
}

const char *planner_case_judge(const planner_case *c, const iso_plan_shapes *shapes) {
    const char *fault = judge_model(c, &shapes->dense, &shapes->dense.shape);
    for (int64_t i = 0; i < shapes->n_moe && !fault; i++) {
        fault = judge_model(c, &shapes->moe[i], &shapes->dense.shape);
        if (!fault && shapes->moe[i].rate_asked != c->goal.rates[i]) fault = "another rate";
    }
    return fault;
}

/* --- everything tried --- */

static bool near_goal(const iso_plan_goal *goal, wide params) {
    wide off = params - goal->params;
    return (double)(off < 0 ? -off : off) <= goal->max_params_error * (double)goal->params;
}

static int64_t law(const iso_plan_goal *goal) {
    return goal->width_multiple > 0 ? goal->width_multiple : 1;
}

bool planner_dense_exists(const iso_plan_goal *goal) {
    iso_plan_limits limits = iso_plan_limits_default();
    for (int64_t H = goal->head_dim; 4 * (wide)H * H <= 2 * (wide)goal->params; H += goal->head_dim)
        for (int64_t L = 1; L <= H && 4 * (wide)H * H * L <= 2 * (wide)goal->params; L++) {
            if ((double)H / (double)L > limits.zeta_max) continue;
            /* N grows with F: the two widths around the goal decide. */
            int64_t exact = (goal->params - 4 * H * H * L) / (3 * H * L) / law(goal) * law(goal);
            for (int64_t F = exact; F <= exact + law(goal); F += law(goal))
                if (F >= 1 && (double)F >= limits.alpha_min * (double)H &&
                    (double)F <= limits.alpha_max * (double)H &&
                    near_goal(goal, 4 * (wide)H * H * L + 3 * (wide)H * F * L))
                    return true;
        }
    return false;
}

static int64_t own_n_moe(iso_layout layout, int64_t L) {
    return layout == ISO_LAYOUT_FULL ? L : layout == ISO_LAYOUT_1DENSE ? L - 1 : L / 2;
}

/* All widths F that bring N near the goal with these experts; whether one meets the rate. */
static bool some_F(const iso_plan_goal *goal, double rate_error, wide attention, wide per_F,
                   wide experts, wide used, int64_t H) {
    iso_plan_limits limits = iso_plan_limits_default();
    double slack = goal->max_params_error * (double)goal->params;
    int64_t first = 0, last = 0;
    if (per_F > 0) {
        double left = (double)(goal->params - attention - experts);
        first = (int64_t)fmax(ceil((left - slack) / (double)per_F) - 1,
                              ceil(limits.alpha_min * (double)H));
        last = (int64_t)fmin(floor((left + slack) / (double)per_F) + 1,
                             floor(limits.alpha_max * (double)H));
        if (first < 1) first = 1;
    }
    for (int64_t F = first; F <= last; F++) {
        wide all = attention + per_F * F + experts, active = attention + per_F * F + used;
        if (F % law(goal) != 0 || !near_goal(goal, all)) continue;
        if (fabs((double)active / (double)all / goal->rates[0] - 1.0) <= rate_error) return true;
    }
    return false;
}

static bool some_experts(const iso_plan_goal *goal, double rate_error, int64_t H, int64_t L,
                         int64_t L_e) {
    iso_plan_limits limits = iso_plan_limits_default();
    wide attention = 4 * (wide)H * H * L, per_F = 3 * (wide)H * (L - L_e);
    int64_t shared = goal->shared_expert ? 1 : 0;
    for (int64_t De = law(goal); (double)De <= limits.expert_alpha_max * (double)H;
         De += law(goal)) {
        wide unit = 3 * (wide)H * De * L_e;
        if (goal->expert_width > 0 && De != goal->expert_width) continue;
        for (int64_t K = goal->min_experts_per_token; K <= limits.experts_max; K++) {
            if (goal->experts_per_token > 0 && K != goal->experts_per_token) continue;
            if (attention + (K + shared * K) * unit > 2 * (wide)goal->params) break;
            for (int64_t E = K; E <= limits.experts_max; E++) {
                wide experts = unit * (E + shared * K);
                if (attention + experts > (wide)(1.01 * (double)goal->params)) break;
                if (some_F(goal, rate_error, attention, per_F, experts, unit * (1 + shared) * K, H))
                    return true;
            }
        }
    }
    return false;
}

bool planner_moe_exists(const iso_plan_goal *goal, double rate_error) {
    iso_plan_limits limits = iso_plan_limits_default();
    for (int64_t H = goal->head_dim; 4 * H * H <= 2 * goal->params; H += goal->head_dim)
        for (int64_t L = 1; L <= H && 4 * H * H * L <= 2 * goal->params; L++) {
            int64_t L_e = own_n_moe(goal->layout, L);
            if (L_e < 1 || (double)H / (double)L > limits.zeta_max) continue;
            if (some_experts(goal, rate_error, H, L, L_e)) return true;
        }
    return false;
}
