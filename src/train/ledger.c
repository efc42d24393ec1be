#include "train/ledger.h"

#include "arch/steplaw.h"
#include "train/dry_run.h"

#include <math.h>
#include <string.h>

json_t *iso_json_from_i128(__int128 value) {
    if (value <= INT64_MAX) return json_integer((json_int_t)value);
    char digits[48], *at = digits + sizeof digits - 1;
    *at = '\0';
    for (; value > 0; value /= 10) *--at = (char)('0' + (int)(value % 10));
    return json_string(at);
}

bool iso_json_to_i128(__int128 *out, const json_t *value) {
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return *out >= 0;
    }
    const char *text = json_string_value(value);
    if (!text || !*text || strlen(text) > 38) return false; /* 10^38 < 2^127 */
    *out = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        *out = *out * 10 + (*text - '0');
    }
    return true;
}

double iso_load_entropy(const double *shares, int64_t n) {
    double entropy = 0;
    if (n < 2) return 1;
    for (int64_t i = 0; i < n; i++)
        if (shares[i] > 0) entropy -= shares[i] * log(shares[i]);
    return entropy / log((double)n);
}

json_t *iso_numeric_profile(const iso_trainer *trainer) {
    bool is_ref = strcmp(trainer->exec.kernels->name, "ref") == 0;
    return json_pack("{ss ss ss ss}", "backend", trainer->exec.kernels->name, "precision",
                     iso_precision_name(trainer->config.train.precision), "isa",
                     is_ref ? "scalar" : iso_exec_isa(trainer->exec.narrow), "gemm",
                     is_ref ? "scalar" : "panels");
}

static const char *state_name(iso_run_state state) {
    static const char *const names[] = {"running", "finished", "preempted", "failed", "diverged"};
    return names[state];
}

/* N and N_a under a convention, from the allocated tensors. */
static void count_tensors(const iso_trainer *trainer, iso_convention convention, int64_t *params,
                          int64_t *active) {
    int64_t all[ISO_N_COMPONENTS], used[ISO_N_COMPONENTS];
    iso_params_count(&trainer->model->params, false, all);
    iso_params_count(&trainer->model->params, true, used);
    *params = *active = 0;
    for (int i = 0; i < ISO_N_COMPONENTS; i++) {
        if (!iso_convention_has_params(convention, (iso_component)i)) continue;
        *params += all[i];
        *active += used[i];
    }
}

static json_t *conventions_json(const iso_trainer *trainer, int64_t tokens) {
    json_t *out = json_object();
    for (int c = 0; c < ISO_N_CONVENTIONS; c++) {
        iso_counts counts;
        int64_t params, active;
        if (iso_count(&counts, &trainer->config.model, (iso_convention)c) != ISO_OK) continue;
        count_tensors(trainer, (iso_convention)c, &params, &active);
        json_object_set_new(out, iso_convention_name((iso_convention)c),
                            json_pack("{sI sI sf sI sf}", "params_nonvocab", (json_int_t)params,
                                      "params_active", (json_int_t)active, "activation_rate",
                                      (double)active / (double)params, "train_flops_per_token",
                                      (json_int_t)counts.train_flops_per_token, "train_flops",
                                      iso_train_flops(counts.train_flops_per_token, tokens)));
    }
    return out;
}

static json_t *counted_json(const iso_trainer *trainer) {
    json_t *model_flops = json_object();
    for (int i = 0; i < ISO_N_COMPONENTS; i++)
        json_object_set_new(model_flops, iso_component_name((iso_component)i),
                            iso_json_from_i128(trainer->train_counters.model_flops[i]));
    iso_model_memory memory = iso_model_memory_used(trainer->model);
    return json_pack("{so so so}", "model_flops", model_flops, "executed_flops",
                     iso_json_from_i128(trainer->train_counters.executed_flops), "memory_bytes",
                     iso_memory_to_json(&memory, trainer->optimizer.arena.size_bytes));
}

static void add_params(json_t *out, const iso_trainer *trainer, int64_t tokens) {
    int64_t total = 0, all[ISO_N_COMPONENTS], params, active;
    iso_counts counts;
    iso_params_count(&trainer->model->params, false, all);
    for (int i = 0; i < ISO_N_COMPONENTS; i++) total += all[i];
    count_tensors(trainer, ISO_CONVENTION_PAPER, &params, &active);
    if (iso_count(&counts, &trainer->config.model, ISO_CONVENTION_PAPER) != ISO_OK) return;
    json_object_set_new(out, "params_total", json_integer((json_int_t)total));
    json_object_set_new(out, "params_nonvocab", json_integer((json_int_t)params));
    json_object_set_new(out, "params_active", json_integer((json_int_t)active));
    json_object_set_new(out, "activation_rate", json_real((double)active / (double)params));
    json_object_set_new(out, "train_flops_per_token",
                        json_integer((json_int_t)counts.train_flops_per_token));
    json_object_set_new(out, "train_flops",
                        json_real(iso_train_flops(counts.train_flops_per_token, tokens)));
    json_object_set_new(out, "conventions", conventions_json(trainer, tokens));
    json_object_set_new(out, "counted", counted_json(trainer));
}

static void add_progress(json_t *out, const iso_ledger_facts *facts, int64_t tokens) {
    const iso_config *config = &facts->trainer->config;
    int64_t S = config->model.max_position_embeddings;
    int64_t unique = facts->seen->n_seen * S;
    json_object_set_new(out, "tokens", json_integer((json_int_t)tokens));
    json_object_set_new(out, "unique_tokens", json_integer((json_int_t)unique));
    json_object_set_new(out, "epochs",
                        json_real(unique > 0 ? (double)tokens / (double)unique : 0.0));
    json_object_set_new(out, "steps", json_integer((json_int_t)facts->step));
    json_object_set_new(out, "planned_steps", json_integer((json_int_t)config->train.steps));
    json_object_set_new(out, "replayed_steps", json_integer((json_int_t)facts->replayed_steps));
    json_object_set_new(out, "skipped_steps", json_integer(0));
}

static void add_rates(json_t *out, const iso_config *config) {
    int64_t D = iso_config_tokens(config), batch_tokens = iso_config_batch_tokens(config);
    iso_counts counts;
    if (iso_count(&counts, &config->model, ISO_CONVENTION_PAPER) != ISO_OK) return;
    double lr = iso_config_peak_lr(config);
    double law_lr = iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, counts.params_nonvocab, D);
    double law_batch = iso_steplaw_batch_tokens(ISO_STEPLAW_UNROUNDED, D);
    json_object_set_new(out, "lr", json_real(lr));
    json_object_set_new(out, "lr_multiplier", json_real(config->train.lr_multiplier));
    json_object_set_new(out, "lr_over_steplaw", json_real(lr / law_lr));
    json_object_set_new(out, "batch", json_integer((json_int_t)config->train.batch_size));
    json_object_set_new(out, "batch_tokens", json_integer((json_int_t)batch_tokens));
    json_object_set_new(out, "batch_over_steplaw", json_real((double)batch_tokens / law_batch));
    json_object_set_new(out, "router_aux_group",
                        json_integer((json_int_t)config->model.router_aux_group));
    json_object_set_new(out, "seed", json_integer((json_int_t)config->train.seed));
}

static void add_hashes(json_t *out, const iso_ledger_facts *facts) {
    char subset[33], batches[17];
    iso_seen_hex(facts->seen, subset);
    snprintf(batches, sizeof batches, "%016llx", (unsigned long long)facts->batch_hash);
    json_object_set_new(out, "data_hash", json_string(facts->dataset->hash));
    json_object_set_new(out, "subset_hash", json_string(subset));
    json_object_set_new(out, "batch_hash", json_string(batches));
    json_object_set_new(out, "tokenizer_hash", json_string(facts->dataset->tokenizer_hash));
    json_object_set_new(out, "validation_hash", json_string(facts->eval_set->hash));
}

static void add_scores(json_t *out, const iso_eval_result *result) {
    if (!result) return;
    json_t *domains = json_object();
    for (int64_t i = 0; i < result->n_domains; i++) {
        const iso_domain_result *d = &result->domains[i];
        json_object_set_new(domains, d->name,
                            json_pack("{sf sf sf sI sI sI}", "loss", d->loss, "bpb", d->bpb, "bpc",
                                      d->bpc, "tokens", (json_int_t)d->n_tokens, "bytes",
                                      (json_int_t)d->n_bytes, "chars", (json_int_t)d->n_chars));
    }
    json_object_set_new(out, "domains", domains);
    json_object_set_new(out, "bpb", json_real(result->bpb));
    json_object_set_new(out, "bpc", json_real(result->bpc));
    json_object_set_new(out, "in_distribution",
                        result->holdout ? json_pack("{sf sf}", "bpb", result->holdout->bpb, "bpc",
                                                    result->holdout->bpc)
                                        : json_null());
}

static void add_router(json_t *out, const iso_ledger_facts *facts) {
    const iso_shape *s = &facts->trainer->config.model;
    if (!facts->expert_load || !facts->trainer->is_moe) return;
    json_t *layers = json_array();
    for (int64_t i = 0; i < s->num_hidden_layers; i++) {
        if (!iso_shape_layer_is_moe(s, i)) continue;
        const double *shares = facts->expert_load + i * s->num_experts;
        json_t *load = json_array();
        int64_t n_dead = 0;
        for (int64_t e = 0; e < s->num_experts; e++) {
            json_array_append_new(load, json_real(shares[e]));
            n_dead += shares[e] == 0;
        }
        json_array_append_new(layers, json_pack("{sI sf so sI}", "layer", (json_int_t)i, "entropy",
                                                iso_load_entropy(shares, s->num_experts), "load",
                                                load, "dead", (json_int_t)n_dead));
    }
    json_object_set_new(out, "router", layers);
}

static void add_speed(json_t *out, const iso_ledger_facts *facts, int64_t tokens) {
    iso_counts counts;
    if (iso_count(&counts, &facts->trainer->config.model, ISO_CONVENTION_PAPER) != ISO_OK) return;
    double rate = facts->train_s > 0 ? (double)tokens / facts->train_s : 0;
    double mfu =
        facts->peak_flops > 0 ? rate * (double)counts.train_flops_per_token / facts->peak_flops : 0;
    json_object_set_new(out, "wall_s", json_real(facts->wall_s));
    json_object_set_new(out, "tokens_per_s", json_real(rate));
    json_object_set_new(out, "mfu", json_real(mfu));
}

json_t *iso_ledger_json(const iso_ledger_facts *facts) {
    const iso_config *config = &facts->trainer->config;
    int64_t tokens = facts->step * iso_config_batch_tokens(config);
    json_t *out = json_pack("{si ss ss ss so}", "format", 1, "name", facts->name, "state",
                            state_name(facts->state), "version", ISO_VERSION, "numeric_profile",
                            iso_numeric_profile(facts->trainer));
    json_t *sections = iso_config_to_json(config);
    if (!out || !sections) {
        json_decref(out);
        json_decref(sections);
        return NULL;
    }
    json_object_update(out, sections);
    json_decref(sections);
    add_params(out, facts->trainer, tokens);
    add_progress(out, facts, tokens);
    add_rates(out, config);
    add_hashes(out, facts);
    add_scores(out, facts->final_result);
    add_router(out, facts);
    add_speed(out, facts, tokens);
    return out;
}
