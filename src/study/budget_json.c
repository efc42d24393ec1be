#include "study/budget_json.h"

#include "base/options.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* JSON has no NaN: what is not known is null. */
static json_t *real_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* The lines of a text as an array of strings; NULL text is none. */
static json_t *lines_to_json(const char *text) {
    json_t *lines = json_array();
    while (text && *text) {
        size_t length = strcspn(text, "\n");
        json_array_append_new(lines, json_stringn(text, length));
        text += length + (text[length] == '\n');
    }
    return lines;
}

static json_t *counts_to_json(const iso_budget_model *m) {
    const iso_counts *c = &m->plan.counts;
    return json_pack("{ss sI sI sI sf sI sI sf sf sf}", "convention",
                     iso_convention_name(c->convention), "params_total",
                     (json_int_t)c->params_total, "params_nonvocab", (json_int_t)c->params_nonvocab,
                     "params_active", (json_int_t)c->params_active, "activation_rate",
                     c->activation_rate, "forward_flops_per_token",
                     (json_int_t)c->forward_flops_per_token, "train_flops_per_token",
                     (json_int_t)c->train_flops_per_token, "train_flops", m->flops, "params_error",
                     m->plan.params_error, "flops_error", m->flops_error);
}

static json_t *schemes_to_json(const iso_budget *b, const iso_budget_model *m) {
    return json_pack("{s{sI sf} s{sI so} s{sI sf}}", "strict", "unique_tokens",
                     (json_int_t)b->unique_tokens, "epochs", m->epochs_strict, "loose",
                     "unique_tokens", (json_int_t)m->unique_loose, "epochs",
                     real_or_null((double)m->tokens / (double)m->unique_loose), "unique",
                     "unique_tokens", (json_int_t)m->tokens, "epochs", 1.0);
}

static json_t *law_to_json(const iso_budget_model *m) {
    return json_pack("{sf sf sb sf}", "lr_over_steplaw", m->lr_over_law, "batch_over_steplaw",
                     m->batch_over_law, "in_fitted_range", m->law_in_range, "peak_lr",
                     iso_config_peak_lr(&m->config));
}

static json_t *memory_to_json(const iso_budget_memory *memory) {
    const iso_state_memory *s = &memory->state;
    return json_pack("{sI sI sI sI sI sI sI sf sI}", "weights_bytes", (json_int_t)s->weights,
                     "gradients_bytes", (json_int_t)s->gradients, "master_weights_bytes",
                     (json_int_t)s->master_weights, "moments_bytes", (json_int_t)s->moments,
                     "activations_bytes", (json_int_t)memory->activations, "training_bytes",
                     (json_int_t)memory->training, "inference_weights_bytes",
                     (json_int_t)memory->weights, "inference_touched_bytes_per_token",
                     memory->touched, "kv_cache_bytes_per_token", (json_int_t)memory->kv_token);
}

static json_t *forecast_to_json(const iso_gap_forecast *f) {
    return json_pack("{sf so so so so sb}", "gap_bpc", f->value, "half_width_95",
                     real_or_null(f->half), "standard_error", real_or_null(f->se), "leave_one_out",
                     real_or_null(f->loo), "leave_one_scale_out", real_or_null(f->scale),
                     "in_fitted_region", f->in_region);
}

static json_t *model_to_json(const iso_budget *b, const iso_budget_model *m) {
    json_t *object = json_object();
    iso_str relaxed = {0};
    iso_plan_relaxed_say(&relaxed, &m->plan, &b->shapes);
    json_object_set_new(object, "name", json_string(m->name));
    json_t *config = iso_config_to_json(&m->config);
    json_object_update(object, config); /* model, data, train */
    json_decref(config);
    json_object_set_new(object, "counts", counts_to_json(m));
    json_object_set_new(object, "rate_asked", json_real(m->plan.rate_asked));
    json_object_set_new(object, "rate_error", json_real(m->plan.rate_error));
    json_object_set_new(object, "as_given", json_boolean(m->as_given));
    json_object_set_new(object, "relaxed", relaxed.len ? json_string(relaxed.data) : json_null());
    json_object_set_new(object, "tokens", json_integer(m->tokens));
    json_object_set_new(object, "step_share", json_real(m->step_share));
    json_object_set_new(object, "schemes", schemes_to_json(b, m));
    json_object_set_new(object, "law", law_to_json(m));
    json_object_set_new(object, "memory", memory_to_json(&m->memory));
    json_object_set_new(object, "seconds", real_or_null(m->seconds));
    if (m->has_forecast) json_object_set_new(object, "expected", forecast_to_json(&m->forecast));
    json_object_set_new(object, "warnings", lines_to_json(m->warnings));
    iso_str_release(&relaxed);
    return object;
}

static json_t *curve_to_json(const iso_budget *b) {
    const iso_gap_curve *c = &b->curve;
    return json_pack("{sf s[oo] sb so sb}", "best_rate", c->best_rate, "best_rate_95",
                     real_or_null(c->best_range.low), real_or_null(c->best_range.high),
                     "best_at_edge", c->best_at_edge, "best", forecast_to_json(&c->best),
                     "extrapolated", b->extrapolated);
}

static json_t *budget_to_json(const iso_budget *b) {
    static const char *const by[] = {"the dense baseline", "the text at hand", "an MoE"};
    json_t *object = json_pack(
        "{ss sI sf sI so sI ss ss sb sb sb so so}", "convention", "paper", "params",
        (json_int_t)b->params, "flops", b->models[0].flops, "unique_tokens",
        (json_int_t)b->unique_tokens, "text_tokens",
        b->goal.text_tokens > 0 ? json_integer(b->goal.text_tokens) : json_null(), "dense_tokens",
        (json_int_t)b->models[0].tokens, "scheme", iso_budget_scheme_names[b->goal.scheme],
        "unique_tokens_bound_by", by[b->unique_by], "params_solved", b->params_solved,
        "flops_solved", b->flops_solved, "data_solved", b->data_solved, "flops_asked",
        real_or_null(b->flops_asked), "flops_per_s",
        b->flops_per_s > 0 ? json_real(b->flops_per_s) : json_null());
    json_object_set_new(object, "notes", lines_to_json(b->notes.data));
    if (b->law) json_object_set_new(object, "expected", curve_to_json(b));
    if (b->refused)
        json_object_set_new(object, "expected", json_pack("{ss}", "refused", b->refused));
    return object;
}

json_t *iso_budget_to_json(const iso_budget *budget) {
    json_t *models = json_array();
    for (int64_t i = 0; i < budget->n_models; i++)
        json_array_append_new(models, model_to_json(budget, &budget->models[i]));
    return json_pack("{so so}", "budget", budget_to_json(budget), "models", models);
}

/* --- CSV --- */

static void csv_real(iso_str *out, double value) {
    char text[32];
    if (isfinite(value)) iso_str_append(out, iso_f64_to_str(text, value));
}

static void csv_row(iso_str *out, const iso_budget *b, const iso_budget_model *m) {
    const iso_shape *s = &m->plan.shape;
    const iso_counts *c = &m->plan.counts;
    const int64_t whole[] = {s->hidden_size,
                             s->num_hidden_layers,
                             s->num_attention_heads,
                             s->intermediate_size,
                             s->num_experts,
                             s->num_experts_per_tok,
                             s->moe_intermediate_size,
                             s->shared_expert_intermediate_size,
                             s->max_position_embeddings,
                             s->vocab_size,
                             c->params_nonvocab,
                             c->params_active,
                             c->train_flops_per_token,
                             m->tokens,
                             b->unique_tokens,
                             m->unique_loose,
                             m->config.train.batch_size,
                             m->config.train.steps,
                             m->config.train.warmup_steps,
                             m->memory.training,
                             m->memory.weights};
    const double real[] = {c->activation_rate,
                           m->plan.params_error,
                           m->flops,
                           m->flops_error,
                           m->epochs_strict,
                           iso_config_peak_lr(&m->config),
                           m->lr_over_law,
                           m->batch_over_law,
                           m->memory.touched,
                           m->seconds,
                           m->has_forecast ? m->forecast.value : NAN,
                           m->has_forecast ? m->forecast.half : NAN};
    iso_str_appendf(out, "%s,%s", m->name, iso_layout_name(s->layer_layout));
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        iso_str_appendf(out, ",%" PRId64, whole[i]);
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        iso_str_append(out, ",");
        csv_real(out, real[i]);
    }
    iso_str_append(out, "\n");
}

void iso_budget_to_csv(iso_str *out, const iso_budget *budget) {
    iso_str_append(out, "name,layer_layout,hidden_size,num_hidden_layers,num_attention_heads,"
                        "intermediate_size,num_experts,num_experts_per_tok,moe_intermediate_size,"
                        "shared_expert_intermediate_size,max_position_embeddings,vocab_size,"
                        "params_nonvocab,params_active,train_flops_per_token,tokens,"
                        "unique_tokens_strict,unique_tokens_loose,batch_size,steps,warmup_steps,"
                        "training_bytes,inference_weights_bytes,activation_rate,params_error,"
                        "train_flops,flops_error,epochs_strict,peak_lr,lr_over_steplaw,"
                        "batch_over_steplaw,inference_touched_bytes_per_token,seconds,"
                        "expected_gap_bpc,expected_gap_half_width\n");
    for (int64_t i = 0; i < budget->n_models; i++) csv_row(out, budget, &budget->models[i]);
}
