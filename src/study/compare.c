#include "study/compare.h"

#include "arch/count.h"
#include "arch/shape_search.h"
#include "study/equal_config.h"
#include "study/lr_rule.h"
#include "study/speed.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Below this N the vocabulary outweighs everything else; above it one wants the planner. */
#define PARAMS_MIN ((int64_t)200000)
#define PARAMS_MAX ((int64_t)60000000)
/* What training alone does not account for: evaluation, checkpoints, the last run's tail. */
#define OVERHEAD 1.12
/* Five of the two sides that the headline compares: 8 degrees of freedom and two fifths of a seed's
 * variance make an interval of 1.5 standard deviations, where three made 2.3 and more make little
 * less. Two of the others, so that one lucky seed moves no optimum. */
#define SEEDS_HEADLINE 5
#define SEEDS_OTHERS   2

iso_compare_goal iso_compare_goal_default(void) {
    return (iso_compare_goal){.minutes = 8,
                              .tokens_per_param = 10,
                              .n_parallel = 1,
                              .n_rates = 4,
                              .rates = {0.20, 0.27, 0.35, 0.50}};
}

static iso_status find_shapes(iso_search_result *out, const iso_compare_goal *goal,
                              int64_t params) {
    iso_search_goal search = iso_search_goal_default(params);
    search.base.vocab_size = goal->vocab_size;
    search.base.norm_topk_prob = iso_lr_rule_norm_topk((double)params);
    search.expert_width = 32;
    search.n_rates = goal->n_rates;
    for (int i = 0; i < goal->n_rates; i++) search.rates[i] = goal->rates[i];
    iso_status status = iso_shape_search(out, &search);
    if (status == ISO_OK) return status;
    search.expert_width = 0;
    return iso_shape_search(out, &search);
}

/* What all sides share. */
static iso_config base_config(const iso_compare_goal *goal, const iso_shape *shape) {
    iso_config config = iso_config_default();
    config.model = *shape;
    snprintf(config.data.dir, sizeof config.data.dir, "%s", goal->data_dir);
    config.data.seed = 1;
    config.train.threads = 1;
    config.train.precision = goal->precision;
    config.train.batch_size = ISO_BATCH_STEPLAW;
    config.train.lr = ISO_LR_STEPLAW;
    config.train.eval_tokens = 16384;
    config.train.final_eval_tokens = 131072;
    config.train.keep_last = 1;
    return config;
}

/* Step Law's batch for `tokens`, then as many steps as make the compute equal. */
static iso_status equal_config(iso_config *out, const iso_compare_goal *goal,
                               const iso_search_model *model, int64_t tokens,
                               const iso_config *dense) {
    const iso_equal_rule rule = {.law = ISO_STEPLAW_UNROUNDED};
    iso_counts reference;
    *out = base_config(goal, &model->shape);
    int64_t reference_tokens = dense ? iso_config_tokens(dense) : tokens, steps;
    ISO_TRY(iso_count(&reference, dense ? &dense->model : &out->model, ISO_CONVENTION_PAPER));
    ISO_TRY(iso_equal_batch_set(out, &rule, tokens));
    ISO_TRY(iso_equal_steps_of(&steps, out, reference.train_flops_per_token, reference_tokens));
    return iso_equal_steps_set(out, &rule, steps, NULL);
}

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* All sides at N = params, without times. */
static iso_status make_sides(iso_compare_plan *plan, const iso_compare_goal *goal, int64_t params) {
    iso_search_result shapes;
    ISO_TRY(find_shapes(&shapes, goal, params));
    memset(plan, 0, sizeof *plan);
    plan->n_sides = 1 + (int)shapes.n_moe;
    iso_counts dense_counts;
    ISO_TRY(iso_count(&dense_counts, &shapes.dense.shape, ISO_CONVENTION_PAPER));
    int64_t tokens = (int64_t)ceil(goal->tokens_per_param * (double)dense_counts.params_nonvocab);
    iso_config *dense = &plan->sides[0].config;
    ISO_TRY(equal_config(dense, goal, &shapes.dense, tokens, NULL));
    int64_t S = dense->model.max_position_embeddings;
    int64_t at_hand = (goal->text_tokens - 1) / S * S;
    int64_t unique = min_i64(iso_config_tokens(dense), at_hand);
    for (int i = 0; i < plan->n_sides; i++) {
        iso_compare_side *side = &plan->sides[i];
        const iso_search_model *model = i == 0 ? &shapes.dense : &shapes.moe[i - 1];
        iso_counts counts;
        ISO_TRY(iso_count(&counts, &model->shape, ISO_CONVENTION_PAPER));
        if (i > 0) {
            double ratio =
                (double)dense_counts.train_flops_per_token / (double)counts.train_flops_per_token;
            ISO_TRY(equal_config(&side->config, goal, model,
                                 (int64_t)(ratio * (double)iso_config_tokens(dense)), dense));
        }
        side->config.data.unique_tokens = unique;
        side->rate = counts.activation_rate;
        if (i == 0)
            snprintf(side->name, sizeof side->name, "dense");
        else
            snprintf(side->name, sizeof side->name, "moe-%.0f", 100 * goal->rates[i - 1]);
        side->n_seeds = i < 2 ? SEEDS_HEADLINE : SEEDS_OTHERS;
    }
    return ISO_OK;
}

/* The text must hold a subset worth repeating: the paper repeats up to 8.3 times. */
static iso_status check_text(const iso_compare_plan *plan, const iso_compare_goal *goal) {
    const iso_config *dense = &plan->sides[0].config;
    int64_t least = iso_config_tokens(dense) / 4;
    if (dense->data.unique_tokens >= least && dense->data.unique_tokens > 0) return ISO_OK;
    return iso_fail(ISO_ERR_DATA,
                    "the training text has %" PRId64 " tokens; the smallest comparison here takes "
                    "%" PRId64 " and should not repeat them more than 4 times on the dense side: "
                    "give at least %" PRId64 " tokens of text",
                    goal->text_tokens, iso_config_tokens(dense), least);
}

/* Times at measured speed: FLOPs per second of a side are taken to hold at other N. */
static void expect_times(iso_compare_plan *plan, const double *flops_per_s, int n_parallel) {
    double seconds = 0;
    for (int i = 0; i < plan->n_sides; i++) {
        iso_compare_side *side = &plan->sides[i];
        iso_counts counts;
        if (iso_count(&counts, &side->config.model, ISO_CONVENTION_WITH_HEAD) != ISO_OK) continue;
        side->tokens_per_s = flops_per_s[i] / (double)counts.train_flops_per_token;
        side->seconds = (double)iso_config_tokens(&side->config) / side->tokens_per_s * OVERHEAD;
        seconds += side->seconds * side->n_seeds;
    }
    plan->minutes = seconds / (60.0 * n_parallel);
}

static iso_status measure(double *flops_per_s, const iso_compare_plan *plan, int n_parallel) {
    for (int i = 0; i < plan->n_sides; i++) {
        iso_counts counts;
        double tokens_per_s;
        ISO_TRY(iso_count(&counts, &plan->sides[i].config.model, ISO_CONVENTION_WITH_HEAD));
        ISO_TRY(iso_speed_measure(&tokens_per_s, &plan->sides[i].config, n_parallel));
        flops_per_s[i] = tokens_per_s * (double)counts.train_flops_per_token;
    }
    return ISO_OK;
}

iso_status iso_compare_plan_make(iso_compare_plan *out, const iso_compare_goal *goal) {
    double flops_per_s[ISO_COMPARE_SIDES_MAX];
    int64_t params = goal->params > 0 ? goal->params : PARAMS_MIN;
    ISO_ASSERT(goal->n_rates >= 1 && goal->n_rates < ISO_COMPARE_SIDES_MAX);
    ISO_TRY(make_sides(out, goal, params));
    ISO_TRY(check_text(out, goal));
    ISO_TRY(measure(flops_per_s, out, goal->n_parallel));
    expect_times(out, flops_per_s, goal->n_parallel);
    if (goal->params > 0) return ISO_OK;
    if (out->minutes > goal->minutes)
        return iso_fail(ISO_ERR_USAGE,
                        "--minutes %g: the smallest comparison, %" PRId64 " parameters, takes "
                        "about %.1f minutes on this machine; give it those",
                        goal->minutes, params, out->minutes);
    /* C grows as N^2: up in small steps while the time and the text allow it. Not every N has
     * shapes for all rates; those are passed over. */
    iso_compare_plan next;
    for (double n = (double)params * 1.04; n <= (double)PARAMS_MAX; n *= 1.04) {
        if (make_sides(&next, goal, (int64_t)n) != ISO_OK) continue;
        expect_times(&next, flops_per_s, goal->n_parallel);
        if (next.minutes > 1.3 * goal->minutes) break;
        if (next.minutes > goal->minutes || check_text(&next, goal) != ISO_OK) continue;
        *out = next;
    }
    return ISO_OK;
}

iso_config iso_compare_config(const iso_compare_side *side, int seed) {
    iso_config config = side->config;
    config.train.seed = seed;
    return config;
}
