/* In this order: which two or three are given, N, shapes, the baseline's steps, every MoE's, then
 * D-hat, which is known only when all token counts are. */
#include "study/budget.h"

#include "arch/equal_compute.h"
#include "study/budget_model.h"
#include "study/lr_rule.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const iso_budget_scheme_names[] = {"strict", "loose", "unique", NULL};

/* Where N, C and D hang together through a solved N, a step more or less must not make the baseline
 * repeat a sliver of its text. */
#define SLIVER 0.005

iso_budget_goal iso_budget_goal_default(void) {
    static const double usual[] = {0.10, 0.15, 0.20, 0.27, 0.35, 0.50};
    iso_budget_goal goal = {.base = iso_config_default(),
                            .norm_topk_by_size = true,
                            .shapes = iso_plan_goal_default(1000000000)};
    goal.base.model.vocab_size = 0;
    goal.base.model.max_position_embeddings = 0;
    goal.base.train.micro_batch_size = goal.base.model.router_aux_group;
    goal.shapes.params = 0;
    goal.shapes.n_rates = sizeof usual / sizeof *usual;
    memcpy(goal.shapes.rates, usual, sizeof usual);
    return goal;
}

/* --- what is given --- */

static bool has_compute(const iso_budget_goal *goal) {
    return goal->compute.flops > 0 || goal->compute.tokens > 0;
}

/* The law's multiplier of a config that was made by hand or by a plan. */
static double multiplier_of(const iso_config *config, const iso_counts *counts) {
    double law = iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, (double)counts->params_nonvocab,
                                (double)iso_config_tokens(config));
    double multiplier = iso_config_peak_lr(config) / law;
    double usual = iso_lr_rule_multiplier((double)counts->params_nonvocab, counts->activation_rate);
    return fabs(multiplier / usual - 1) < 1e-6 ? 0 : multiplier;
}

/* What flags left open, from the config that the plan shall be like. */
static iso_status take_like(iso_budget *b, iso_counts *counts) {
    iso_budget_goal *goal = &b->goal;
    const iso_config *like = goal->like;
    const iso_shape *m = &like->model;
    ISO_TRY(iso_count(counts, m, ISO_CONVENTION_PAPER));
    bool whole = goal->params == 0 && !has_compute(goal);
    if (goal->params == 0) goal->params = counts->params_nonvocab;
    if (!has_compute(goal) && (goal->text_tokens == 0 || whole))
        goal->compute.flops =
            iso_train_flops(counts->train_flops_per_token, iso_config_tokens(like));
    if (goal->text_tokens == 0 && like->data.unique_tokens != ISO_UNIQUE_TOKENS_ALL)
        goal->text_tokens = like->data.unique_tokens;
    if (goal->shapes.head_dim == 0) goal->shapes.head_dim = m->hidden_size / m->num_attention_heads;
    if (goal->rule.lr_multiplier == 0) goal->rule.lr_multiplier = multiplier_of(like, counts);
    /* At another N the MoE itself cannot be a side; one of its activation rate can. */
    if (goal->shapes.n_rates == 0 && m->layer_layout != ISO_LAYOUT_DENSE &&
        goal->params != counts->params_nonvocab)
        goal->shapes.rates[goal->shapes.n_rates++] = counts->activation_rate;
    return ISO_OK;
}

static iso_status check_given(const iso_budget_goal *goal) {
    bool n = goal->params > 0, c = has_compute(goal), d = goal->text_tokens > 0;
    if (n + c + d == 0)
        return iso_fail(ISO_ERR_USAGE, "plan: no budget; give two of --params N, --compute C and "
                                       "--data D, or --like CONFIG");
    if (n + c + d == 1)
        return iso_fail(ISO_ERR_USAGE,
                        "plan: %s alone leaves the rest open; add %s (or --like CONFIG)",
                        n   ? "--params"
                        : c ? "--compute"
                            : "--data",
                        n   ? "--compute C, or --data D for a baseline that sees the text once"
                        : c ? "--params N, or --data D for the N that sees the text once"
                            : "--compute C, or --params N");
    if (goal->compute.tokens > 0 && !n)
        return iso_fail(ISO_ERR_USAGE,
                        "plan: tokens per second were measured on a model of some size: add its "
                        "--params N, or give --compute in FLOPs or devices");
    return ISO_OK;
}

/* What contradicts itself whatever the sizes are; the planner refuses the rest. */
static iso_status check_constraints(const iso_budget_goal *goal) {
    const iso_plan_goal *s = &goal->shapes;
    if (s->expert_width > 0 && s->experts_per_token > 0)
        return iso_fail(ISO_ERR_USAGE,
                        "plan: --expert-width and --active-experts together fix what is active, "
                        "and so the activation rate; drop one of them");
    if (s->expert_width > 0 && !s->same_experts)
        return iso_fail(ISO_ERR_USAGE, "plan: --expert-width gives all MoEs the same experts, "
                                       "--own-experts each its own; drop one of them");
    if (s->n_rates == 0 && (!goal->like || goal->like->model.layer_layout == ISO_LAYOUT_DENSE))
        return iso_fail(ISO_ERR_USAGE,
                        "plan: no activation rate; give --activation-rate 10%%,20%%");
    if (goal->scheme == ISO_GAP_STRICT || goal->scheme == ISO_GAP_LOOSE ||
        goal->scheme == ISO_GAP_UNIQUE)
        return ISO_OK;
    return iso_fail(ISO_ERR_USAGE, "plan: no such scheme; strict, loose, unique");
}

/* --- N and the shapes --- */

/* The planner's goal at N = params: what is fixed, and the rest by size. */
static iso_plan_goal shapes_at(const iso_budget_goal *goal, int64_t params) {
    const iso_plan_goal usual = iso_plan_goal_default(params);
    iso_plan_goal out = goal->shapes;
    out.params = params;
    out.base = goal->base.model;
    if (out.base.vocab_size == 0) out.base.vocab_size = usual.base.vocab_size;
    if (out.base.max_position_embeddings == 0)
        out.base.max_position_embeddings = usual.base.max_position_embeddings;
    if (goal->norm_topk_by_size) out.base.norm_topk_prob = iso_lr_rule_norm_topk((double)params);
    /* Sizes are the planner's to choose; a config that is taken as base has its own. */
    out.base.hidden_size = out.base.num_hidden_layers = out.base.num_attention_heads = 0;
    out.base.intermediate_size = out.base.num_experts = out.base.num_experts_per_tok = 0;
    out.base.moe_intermediate_size = out.base.shared_expert_intermediate_size = 0;
    out.base.layer_layout = ISO_LAYOUT_DENSE;
    return out;
}

/* N of C and D. What is usual at a size (S, d) depends on N, and M on it: a few rounds. */
static iso_status solve_params(iso_budget *b) {
    const iso_budget_goal *goal = &b->goal;
    double guess = goal->compute.flops / (6 * (double)goal->text_tokens);
    int64_t params = (int64_t)fmin(fmax(guess, 1e5), 1e12);
    for (int round = 0; round < 4; round++) {
        iso_plan_goal at = shapes_at(goal, params);
        iso_status status =
            iso_plan_params_solve(&params, &at, goal->compute.flops, (double)goal->text_tokens);
        if (status != ISO_OK)
            return iso_fail_context(status, "plan: no N spends --compute on seeing --data once");
    }
    b->goal.params = params;
    b->params_solved = true;
    return ISO_OK;
}

static bool same_size(const iso_plan_model *model, int64_t params) {
    return model->counts.params_nonvocab == params;
}

/* The sizes of goal.like as a model of the plan. Context, vocabulary and all else that is no size
 * are those of the other sides: flags may have changed them. */
static iso_status plan_as_given(iso_plan_model *out, const iso_config *like, const iso_shape *base,
                                int64_t params) {
    const iso_shape *m = &like->model;
    *out = (iso_plan_model){.shape = *base};
    out->shape.layer_layout = m->layer_layout;
    out->shape.hidden_size = m->hidden_size;
    out->shape.num_hidden_layers = m->num_hidden_layers;
    out->shape.num_attention_heads = m->num_attention_heads;
    out->shape.intermediate_size = m->intermediate_size;
    out->shape.num_experts = m->num_experts;
    out->shape.num_experts_per_tok = m->num_experts_per_tok;
    out->shape.moe_intermediate_size = m->moe_intermediate_size;
    out->shape.shared_expert_intermediate_size = m->shared_expert_intermediate_size;
    ISO_TRY(iso_count(&out->counts, &out->shape, ISO_CONVENTION_PAPER));
    out->rate_asked = out->counts.activation_rate;
    out->params_error = (double)(out->counts.params_nonvocab - params) / (double)params;
    return ISO_OK;
}

static void add_model(iso_budget *b, const iso_plan_model *plan, bool as_given) {
    int64_t i = b->n_models++;
    while (i > 1 && b->models[i - 1].plan.rate_asked > plan->rate_asked) {
        b->models[i] = b->models[i - 1];
        i--;
    }
    b->models[i] = (iso_budget_model){.plan = *plan, .as_given = as_given, .seconds = NAN};
}

/* Whether another MoE was asked for at the rate of this one, which was given: their names would be
 * one. */
static bool has_twin(const iso_budget *b, const iso_budget_model *given) {
    for (int64_t i = 1; i < b->n_models && given->as_given; i++)
        if (&b->models[i] != given &&
            fabs(b->models[i].plan.rate_asked - given->plan.rate_asked) < 1e-6)
            return true;
    return false;
}

/* "moe-20", "moe-12.5": as many digits as make it unique; "moe-20-given" beside a "moe-20". */
static void name_models(iso_budget *b) {
    snprintf(b->models[0].name, sizeof b->models[0].name, "dense");
    for (int digits = 2; digits <= 13; digits++) {
        bool unique = true;
        for (int64_t i = 1; i < b->n_models; i++) {
            double percent = 100 * b->models[i].plan.rate_asked;
            bool exact = fabs(percent - round(percent)) < 1e-9;
            snprintf(b->models[i].name, sizeof b->models[i].name, "moe-%.*f%s",
                     exact ? 0 : digits - 1, percent, has_twin(b, &b->models[i]) ? "-given" : "");
            unique = unique && strcmp(b->models[i].name, b->models[i - 1].name) != 0;
        }
        if (unique) return;
    }
}

static iso_status find_shapes(iso_budget *b) {
    const iso_config *like = b->goal.like;
    iso_plan_goal at = shapes_at(&b->goal, b->goal.params);
    iso_plan_shapes *shapes = calloc(1, sizeof *shapes);
    iso_plan_model given;
    if (!shapes) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the plan's shapes");
    iso_status status = iso_plan_shapes_find(shapes, &at);
    b->shapes = shapes->goal;
    bool as_given = false;
    if (status == ISO_OK && like) {
        status = plan_as_given(&given, like, &at.base, b->goal.params);
        as_given = status == ISO_OK && same_size(&given, b->goal.params);
    }
    if (status == ISO_OK) {
        bool dense = as_given && like->model.layer_layout == ISO_LAYOUT_DENSE;
        add_model(b, dense ? &given : &shapes->dense, dense);
        if (as_given && !dense) add_model(b, &given, true);
        for (int64_t i = 0; i < shapes->n_moe; i++) add_model(b, &shapes->moe[i], false);
        name_models(b);
    }
    free(shapes);
    return status;
}

/* --- steps and tokens --- */

static iso_status fail_tokens(double tokens) {
    return iso_fail(ISO_ERR_USAGE,
                    "plan: the baseline would train on %.3g tokens, more than the %.0e that can be "
                    "counted; lower --compute or raise --params",
                    tokens, (double)ISO_COUNT_MAX);
}

/* The baseline's tokens, as near to the budget as whole steps can be. */
static iso_status plan_dense(iso_budget *b) {
    iso_budget_goal *goal = &b->goal;
    iso_budget_model *dense = &b->models[0];
    double M = (double)dense->plan.counts.train_flops_per_token;
    double text = (double)goal->text_tokens;
    double tokens = goal->compute.flops > 0    ? goal->compute.flops / M
                    : goal->compute.tokens > 0 ? goal->compute.tokens
                                               : text;
    if (tokens > (double)ISO_COUNT_MAX) return fail_tokens(tokens);
    if (tokens < 1)
        return iso_fail(ISO_ERR_USAGE,
                        "plan: --compute is less than one token costs the baseline, %.3g FLOPs; "
                        "raise it, or lower --params",
                        M);
    iso_config *config = &dense->config;
    ISO_TRY(iso_budget_model_begin(dense, b, (int64_t)ceil(tokens)));
    double batch = (double)iso_config_batch_tokens(config);
    double steps = fmax(1, round(tokens / batch));
    /* Seeing the text once, not once and a bit. */
    bool once = !has_compute(goal) || b->params_solved;
    if (once && steps * batch > text && steps * batch < text * (1 + SLIVER) + batch)
        steps = fmax(1, floor(text / batch));
    b->flops_asked = goal->compute.flops > 0 ? goal->compute.flops : M * tokens;
    b->flops_solved = goal->compute.flops == 0;
    return iso_budget_model_steps(dense, b, (int64_t)steps);
}

static iso_status plan_moe(iso_budget *b, iso_budget_model *moe) {
    const iso_budget_model *dense = &b->models[0];
    int64_t M = moe->plan.counts.train_flops_per_token, steps;
    double ratio = (double)dense->plan.counts.train_flops_per_token / (double)M;
    double tokens = ratio * (double)dense->tokens;
    if (tokens > (double)ISO_COUNT_MAX) return fail_tokens(tokens);
    ISO_TRY(iso_budget_model_begin(moe, b, (int64_t)tokens));
    ISO_TRY(iso_equal_steps_of(&steps, &moe->config, dense->plan.counts.train_flops_per_token,
                               dense->tokens));
    return iso_budget_model_steps(moe, b, steps);
}

/* D-hat: what every side can see at least once, in whole sequences. */
static iso_status share_text(iso_budget *b) {
    int64_t S = b->models[0].config.model.max_position_embeddings;
    int64_t text = b->goal.text_tokens / S * S;
    if (b->goal.text_tokens > 0 && text < b->goal.base.model.router_aux_group * S)
        return iso_fail(ISO_ERR_USAGE,
                        "plan: %" PRId64 " tokens of text are less than one group of %" PRId64
                        " sequences of %" PRId64 " tokens; give more --data or a smaller --seq-len",
                        b->goal.text_tokens, b->goal.base.model.router_aux_group, S);
    b->unique_tokens = b->models[0].tokens;
    b->unique_by = ISO_BUDGET_BY_DENSE;
    for (int64_t i = 1; i < b->n_models; i++)
        if (b->models[i].tokens < b->unique_tokens) {
            b->unique_tokens = b->models[i].tokens;
            b->unique_by = ISO_BUDGET_BY_MOE;
        }
    if (text > 0 && text < b->unique_tokens) {
        b->unique_tokens = text;
        b->unique_by = ISO_BUDGET_BY_TEXT;
    }
    b->data_solved = b->goal.text_tokens == 0;
    for (int64_t i = 0; i < b->n_models; i++) ISO_TRY(iso_budget_model_share(&b->models[i], b));
    return ISO_OK;
}

static double speed_of(const iso_budget *b) {
    const iso_speed *own = &b->goal.speed, *given = &b->goal.compute.speed;
    const iso_speed *speed = own->flops_per_s > 0 || own->tokens_per_s > 0 ? own : given;
    if (speed->flops_per_s > 0) return speed->flops_per_s;
    return speed->tokens_per_s * (double)b->models[0].plan.counts.train_flops_per_token;
}

static iso_status make(iso_budget *b) {
    const iso_config *like = b->goal.like;
    iso_counts like_counts;
    if (like) ISO_TRY(take_like(b, &like_counts));
    ISO_TRY(check_given(&b->goal));
    ISO_TRY(check_constraints(&b->goal));
    if (b->goal.params == 0) ISO_TRY(solve_params(b));
    b->params = b->goal.params;
    ISO_TRY(find_shapes(b));
    ISO_TRY(plan_dense(b));
    for (int64_t i = 1; i < b->n_models; i++) ISO_TRY(plan_moe(b, &b->models[i]));
    ISO_TRY(share_text(b));
    b->flops_per_s = speed_of(b);
    for (int64_t i = 0; i < b->n_models; i++) ISO_TRY(iso_budget_model_finish(&b->models[i], b));
    iso_budget_notes_make(b);
    b->goal.like = NULL;
    return ISO_OK;
}

iso_status iso_budget_create(iso_budget **out, const iso_budget_goal *goal) {
    iso_budget *b = calloc(1, sizeof *b);
    if (!b) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the plan");
    b->goal = *goal;
    iso_status status = make(b);
    if (status == ISO_OK)
        *out = b;
    else
        iso_budget_free(b);
    return status;
}

void iso_budget_free(iso_budget *budget) {
    if (!budget) return;
    for (int64_t i = 0; i < budget->n_models; i++) free(budget->models[i].warnings);
    iso_str_release(&budget->notes);
    free(budget->refused);
    free(budget);
}
