#include "count_facts.h"

#include "train/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const int64_t count_batches[COUNT_N_BATCHES] = {1, 32, 1024};

const char *count_convention_meaning(iso_convention convention) {
    static const char *const meanings[ISO_N_CONVENTIONS] = {
        [ISO_CONVENTION_PAPER] = "no router, norms or vocabulary; attention over all S positions",
        [ISO_CONVENTION_FULL] = "paper's, and router, norms and softmax",
        [ISO_CONVENTION_CAUSAL] = "paper's, with the scores that a causal mask leaves",
        [ISO_CONVENTION_WITH_HEAD] = "paper's, and the FLOPs of the head",
    };
    return meanings[convention];
}

/* --- gathering --- */

static void read_equations(count_facts *facts) {
    iso_closed_form form = iso_closed_form_of(&facts->config.model);
    bool is_moe = form.n_moe_layers > 0;
    double N = iso_closed_form_params(&form), N_a = iso_closed_form_params_active(&form);
    facts->estimates[facts->n_estimates++] = (count_estimate){
        is_moe ? "4-6" : "1-3", N, N_a, N_a / N, 3 * iso_closed_form_forward_flops(&form)};
    if (!is_moe) return;
    double r_a = iso_closed_form_rate(form.beta, form.mu);
    facts->estimates[facts->n_estimates++] = (count_estimate){
        "7-9", NAN, NAN, r_a, 3 * iso_closed_form_flops_factored(N, r_a, form.gamma, form.beta)};
}

static iso_status read_memory(count_facts *facts) {
    const iso_shape *s = &facts->config.model;
    for (iso_number_format f = 0; f < ISO_N_FORMATS; f++) {
        ISO_TRY(iso_memory_state(&facts->state[f], s, f));
        ISO_TRY(iso_memory_kv_cache(&facts->kv_token[f], s, f, 1, 1));
        ISO_TRY(iso_memory_kv_cache(&facts->kv_context[f], s, f, s->max_position_embeddings, 1));
        for (int i = 0; i < COUNT_N_BATCHES; i++)
            ISO_TRY(iso_memory_touched(&facts->touched[f][i], s, f, count_batches[i]));
    }
    for (int i = 0; i < COUNT_N_BATCHES && s->num_experts > 0; i++)
        facts->experts_hit[i] =
            iso_memory_expected_experts(s->num_experts, s->num_experts_per_tok, count_batches[i]);
    return ISO_OK;
}

/* A config may be a model alone. Then one balance group is a micro-batch, on every side of a
 * comparison the same. */
static void read_run(count_facts *facts) {
    iso_config resolved = facts->config;
    facts->is_assumed = iso_config_resolve(&resolved, NULL) != ISO_OK;
    if (facts->is_assumed) {
        resolved = facts->config;
        if (resolved.train.micro_batch_size == ISO_MICRO_BATCH_WHOLE)
            resolved.train.micro_batch_size = resolved.model.router_aux_group;
        resolved.train.batch_size = resolved.train.micro_batch_size;
    }
    facts->config = resolved;
    facts->has_run = iso_dry_run_make(&facts->run, &resolved, "cpu", ISO_F32) == ISO_OK;
    if (!facts->has_run) facts->no_run = iso_strf("%s", iso_error_message());
}

bool count_is_whole_batch(const count_facts *facts) {
    return !facts->is_assumed && facts->run.n_micro_batches == 1;
}

const char *count_micro_batch_note(const count_facts *facts) {
    if (facts->is_assumed) return " (assumed)";
    if (!count_is_whole_batch(facts)) return "";
    return ", the whole batch; less by train.micro_batch_size";
}

iso_status count_facts_init(count_facts *out, const char *path, const cli_list *overrides,
                            iso_convention convention) {
    *out = (count_facts){.path = path};
    ISO_TRY(iso_config_load(&out->config, path, overrides->items, overrides->n));
    for (iso_convention v = 0; v < ISO_N_CONVENTIONS; v++)
        ISO_TRY(iso_count(&out->by_convention[v], &out->config.model, v));
    out->counts = out->by_convention[convention];
    out->ratios = iso_shape_ratios(&out->config.model);
    read_equations(out);
    ISO_TRY(read_memory(out));
    read_run(out);
    return ISO_OK;
}

void count_facts_release(count_facts *facts) {
    free(facts->no_run);
    facts->no_run = NULL;
}

bool count_relative_compute(count_relative *out, const count_facts *facts,
                            const count_facts *dense) {
    if (dense->config.model.layer_layout != ISO_LAYOUT_DENSE) return false;
    const iso_closed_form form = iso_closed_form_of(&facts->config.model);
    bool is_moe = form.n_moe_layers > 0;
    const iso_relative_compute of = {.alpha = dense->ratios.alpha,
                                     .gamma_dense = dense->ratios.gamma,
                                     .r_a = facts->estimates[0].r_a,
                                     .beta = is_moe ? form.beta : form.alpha,
                                     .gamma_moe = form.gamma};
    *out = (count_relative){
        .exact = (double)facts->counts.train_flops_per_token /
                 (double)dense->counts.train_flops_per_token,
        .equation_10 = iso_closed_form_relative_compute(&of),
        .printed = iso_closed_form_relative_compute_printed(&of),
    };
    return true;
}

/* --- JSON --- */

static json_t *components_to_json(const iso_counts *counts) {
    json_t *out = json_object();
    for (iso_component i = 0; i < ISO_N_COMPONENTS; i++) {
        const iso_component_count *count = &counts->components[i];
        json_object_set_new(out, iso_component_name(i),
                            json_pack("{sI sI sI}", "params", (json_int_t)count->params,
                                      "params_active", (json_int_t)count->params_active,
                                      "forward_flops", (json_int_t)count->forward_flops));
    }
    return out;
}

static json_t *conventions_to_json(const count_facts *facts) {
    json_t *out = json_object();
    for (iso_convention v = 0; v < ISO_N_CONVENTIONS; v++) {
        const iso_counts *counts = &facts->by_convention[v];
        json_object_set_new(out, iso_convention_name(v),
                            json_pack("{sI sI sf sI}", "params_nonvocab",
                                      (json_int_t)counts->params_nonvocab, "params_active",
                                      (json_int_t)counts->params_active, "activation_rate",
                                      counts->activation_rate, "train_flops_per_token",
                                      (json_int_t)counts->train_flops_per_token));
    }
    return out;
}

/* What the equations don't say is left out. */
static json_t *estimates_to_json(const count_facts *facts) {
    json_t *out = json_object();
    for (int64_t i = 0; i < facts->n_estimates; i++) {
        const count_estimate *e = &facts->estimates[i];
        json_t *row = json_object();
        if (!isnan(e->N)) json_object_set_new(row, "params_nonvocab", json_real(e->N));
        if (!isnan(e->N_a)) json_object_set_new(row, "params_active", json_real(e->N_a));
        json_object_set_new(row, "activation_rate", json_real(e->r_a));
        json_object_set_new(row, "train_flops_per_token", json_real(e->train_flops));
        json_object_set_new(out, e->equations, row);
    }
    return out;
}

static json_t *training_to_json(const count_facts *facts) {
    json_t *out = json_object();
    for (iso_number_format f = 0; f < ISO_N_FORMATS; f++) {
        const iso_state_memory *m = &facts->state[f];
        json_object_set_new(out, iso_format_name(f),
                            json_pack("{sI sI sI sI sI}", "weights", (json_int_t)m->weights,
                                      "gradients", (json_int_t)m->gradients, "master_weights",
                                      (json_int_t)m->master_weights, "moments",
                                      (json_int_t)m->moments, "sum", (json_int_t)m->sum));
    }
    json_object_set_new(out, "micro_batch_assumed", json_boolean(facts->is_assumed));
    if (facts->has_run)
        json_object_set_new(out, "here", iso_dry_run_to_json(&facts->run));
    else
        json_object_set_new(out, "not_here", json_string(facts->no_run));
    return out;
}

static json_t *inference_to_json(const count_facts *facts) {
    json_t *out = json_object();
    for (iso_number_format f = 0; f < ISO_N_FORMATS; f++) {
        json_t *touched = json_object();
        for (int i = 0; i < COUNT_N_BATCHES; i++) {
            char key[32];
            snprintf(key, sizeof key, "%" PRId64, count_batches[i]);
            json_object_set_new(touched, key, json_real(facts->touched[f][i]));
        }
        json_object_set_new(out, iso_format_name(f),
                            json_pack("{sI so sI sI}", "weights",
                                      (json_int_t)facts->state[f].weights,
                                      "weights_touched_per_token", touched, "kv_cache_per_token",
                                      (json_int_t)facts->kv_token[f], "kv_cache_of_context",
                                      (json_int_t)facts->kv_context[f]));
    }
    return out;
}

json_t *count_facts_to_json(const count_facts *facts) {
    const iso_counts *counts = &facts->counts;
    const iso_ratios *r = &facts->ratios;
    return json_pack(
        "{ss ss sI sI sI sf sI sI so s{sf sf sf sf sf} so so s{so so}}", "config", facts->path,
        "convention", iso_convention_name(counts->convention), "params_total",
        (json_int_t)counts->params_total, "params_nonvocab", (json_int_t)counts->params_nonvocab,
        "params_active", (json_int_t)counts->params_active, "activation_rate",
        counts->activation_rate, "forward_flops_per_token",
        (json_int_t)counts->forward_flops_per_token, "train_flops_per_token",
        (json_int_t)counts->train_flops_per_token, "components", components_to_json(counts),
        "ratios", "zeta", r->zeta, "gamma", r->gamma, "alpha", r->alpha, "mu", r->mu, "beta",
        r->beta, "conventions", conventions_to_json(facts), "equations", estimates_to_json(facts),
        "memory_bytes", "training", training_to_json(facts), "inference", inference_to_json(facts));
}
