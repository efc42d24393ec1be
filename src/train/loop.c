/* loop.c - see loop.h. State is in `loop`; a run is set_up, (resume), steps, finish. */
#include "train/loop.h"

#include "base/clock.h"
#include "data/order.h"
#include "ops/peak.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/ledger.h"
#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef struct loop {
    const iso_config *config;
    const iso_loop_options *options;
    const iso_sink *sink;
    iso_dataset dataset;
    iso_order order;
    iso_seen seen;
    iso_trainer *trainer;
    iso_tensor_list model_tensors, optimizer_tensors;
    iso_eval_set eval_set, final_set;
    iso_eval_result final_result;
    double *expert_load; /* (L,E) of the last evaluation */
    int32_t *inputs, *targets;
    char config_hash[ISO_SHA256_HEX_BYTES];
    json_t *profile;
    int64_t step, saved_step, replayed_steps;
    uint64_t batch_hash;
    double train_s, wall_before_s, start_s, peak_flops;
    sigset_t signals_before; /* the caller's mask */
} loop;

/* --- setting up --- */

static iso_status check_fit(const loop *run) {
    const iso_shape *s = &run->config->model;
    if (run->dataset.n_ids > s->vocab_size)
        return iso_fail(ISO_ERR_USAGE,
                        "model.vocab_size is %" PRId64 ", but the tokenizer of %s has ids up to "
                        "%" PRId64 "; set model.vocab_size to at least %" PRId64,
                        s->vocab_size, run->dataset.dir, run->dataset.n_ids - 1,
                        run->dataset.n_ids);
    return ISO_OK;
}

static iso_status open_data(loop *run) {
    const iso_config *config = run->config;
    int64_t S = config->model.max_position_embeddings, B = config->train.batch_size;
    if (!config->data.dir[0])
        return iso_fail(ISO_ERR_USAGE, "data.dir is not set; give a folder made by "
                                       "`isomoe data prepare`");
    ISO_TRY(iso_dataset_open(&run->dataset, config->data.dir));
    ISO_TRY(check_fit(run));
    ISO_TRY(iso_order_init(&run->order, &run->dataset.train, S, config->data.unique_tokens,
                           (uint64_t)config->data.seed));
    ISO_TRY(iso_seen_create(&run->seen, run->order.n_sequences));
    ISO_TRY(iso_eval_set_create(&run->eval_set, &run->dataset, S, config->train.eval_tokens));
    ISO_TRY(
        iso_eval_set_create(&run->final_set, &run->dataset, S, config->train.final_eval_tokens));
    run->inputs = malloc((size_t)(B * S) * sizeof *run->inputs);
    run->targets = malloc((size_t)(B * S) * sizeof *run->targets);
    if (!run->inputs || !run->targets)
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate a batch of %" PRId64 " tokens", B * S);
    return ISO_OK;
}

static iso_status set_up(loop *run) {
    const iso_config *config = run->config;
    run->start_s = iso_clock_s();
    ISO_TRY(iso_train_check_precision(config));
    ISO_TRY(open_data(run));
    ISO_TRY(iso_trainer_create(&run->trainer, config, "cpu", ISO_F32, true));
    ISO_TRY(iso_trainer_model_tensors(run->trainer, &run->model_tensors));
    ISO_TRY(iso_trainer_optimizer_tensors(run->trainer, &run->optimizer_tensors));
    size_t n_load = (size_t)(config->model.num_hidden_layers * config->model.num_experts + 1);
    run->expert_load = calloc(n_load, sizeof *run->expert_load);
    if (!run->expert_load) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the router's record");
    iso_config_hash(run->config_hash, config);
    run->profile = iso_numeric_profile(run->trainer);
    run->peak_flops = iso_peak_flops(run->trainer->pool, run->trainer->exec.narrow);
    return ISO_OK;
}

static void tear_down(loop *run) {
    iso_tensor_list_free(&run->model_tensors);
    iso_tensor_list_free(&run->optimizer_tensors);
    iso_trainer_free(run->trainer);
    iso_eval_result_free(&run->final_result);
    iso_eval_set_free(&run->eval_set);
    iso_eval_set_free(&run->final_set);
    iso_seen_free(&run->seen);
    if (run->dataset.dir) iso_dataset_close(&run->dataset);
    json_decref(run->profile);
    free(run->expert_load);
    free(run->inputs);
    free(run->targets);
}

/* --- checkpoints --- */

static iso_checkpoint checkpoint_of(loop *run) {
    iso_trainer_settle(run->trainer);
    return (iso_checkpoint){.identity = {.config_hash = run->config_hash,
                                         .data_hash = run->dataset.hash,
                                         .tokenizer_hash = run->dataset.tokenizer_hash,
                                         .numeric_profile = run->profile},
                            .step = run->step,
                            .model = run->model_tensors.tensors,
                            .n_model = run->model_tensors.n,
                            .optimizer = run->optimizer_tensors.tensors,
                            .n_optimizer = run->optimizer_tensors.n,
                            .blob = run->seen.bits,
                            .n_blob_bytes = (run->seen.n_sequences + 7) / 8};
}

static json_t *hex_u64(uint64_t value) {
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, value);
    return json_string(hex);
}

static bool hex_to_u64(uint64_t *out, const json_t *value) {
    const char *text = json_string_value(value);
    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) return false;
    *out = strtoull(text, NULL, 16);
    return true;
}

static double wall_s(const loop *run) {
    return run->wall_before_s + iso_clock_s() - run->start_s;
}

/* The loop's own state: everything that is neither a tensor nor a function of the step. */
static json_t *state_json(const loop *run) {
    json_t *flops = json_object();
    for (int i = 0; i < ISO_N_COMPONENTS; i++)
        json_object_set_new(flops, iso_component_name((iso_component)i),
                            iso_json_from_i128(run->trainer->train_counters.model_flops[i]));
    return json_pack("{si sI so sI so so so so so sf sf}", "format", 1, "step",
                     (json_int_t)run->step, "config", iso_config_to_json(run->config),
                     "sequences_seen", (json_int_t)run->seen.n_seen, "subset_hash_low",
                     hex_u64(run->seen.hash[0]), "subset_hash_high", hex_u64(run->seen.hash[1]),
                     "batch_hash", hex_u64(run->batch_hash), "model_flops", flops, "executed_flops",
                     iso_json_from_i128(run->trainer->train_counters.executed_flops), "train_s",
                     run->train_s, "wall_s", wall_s(run));
}

static iso_status state_restore(loop *run, const json_t *state) {
    const char *what = "loop.json";
    json_t *flops;
    bool ok = hex_to_u64(&run->seen.hash[0], json_object_get(state, "subset_hash_low")) &&
              hex_to_u64(&run->seen.hash[1], json_object_get(state, "subset_hash_high")) &&
              hex_to_u64(&run->batch_hash, json_object_get(state, "batch_hash")) &&
              iso_json_to_i128(&run->trainer->train_counters.executed_flops,
                               json_object_get(state, "executed_flops"));
    ISO_TRY(iso_json_get_i64(&run->seen.n_seen, state, "sequences_seen", what));
    ISO_TRY(iso_json_get_f64(&run->train_s, state, "train_s", what));
    ISO_TRY(iso_json_get_f64(&run->wall_before_s, state, "wall_s", what));
    ISO_TRY(iso_json_get_object(&flops, state, "model_flops", what));
    for (int i = 0; i < ISO_N_COMPONENTS; i++)
        ok &= iso_json_to_i128(&run->trainer->train_counters.model_flops[i],
                               json_object_get(flops, iso_component_name((iso_component)i)));
    if (!ok) return iso_fail(ISO_ERR_DATA, "%s: a hash or a count is missing or damaged", what);
    return ISO_OK;
}

static iso_status save(loop *run) {
    if (run->saved_step == run->step) return ISO_OK;
    if (run->sink->on_checkpoint) ISO_TRY(run->sink->on_checkpoint(run->sink->ctx, run->step));
    iso_checkpoint checkpoint = checkpoint_of(run);
    checkpoint.loop = state_json(run);
    if (!checkpoint.loop) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the loop's state");
    iso_status status =
        iso_checkpoint_save(run->options->run_dir, &checkpoint, run->config->train.keep_last);
    json_decref(checkpoint.loop);
    if (status == ISO_OK) run->saved_step = run->step;
    return status;
}

/* Loads what there is to resume from, if anything, and opens the sink at that step. */
static iso_status resume(loop *run) {
    iso_checkpoint checkpoint = checkpoint_of(run);
    bool found = false;
    run->saved_step = -1;
    if (run->options->resume == ISO_RESUME_AUTO) {
        ISO_TRY(iso_checkpoint_resume(&found, run->options->run_dir, &checkpoint));
    } else if (run->options->resume == ISO_RESUME_NAMED) {
        ISO_TRY(iso_checkpoint_load(run->options->checkpoint, &checkpoint));
        found = true;
    }
    if (found) {
        iso_status status = state_restore(run, checkpoint.loop);
        json_decref(checkpoint.loop);
        ISO_TRY(status);
        run->step = run->saved_step = checkpoint.step;
    }
    ISO_TRY(iso_checkpoint_discard_after(run->options->run_dir, run->step));
    if (!run->sink->on_begin) return ISO_OK;
    return run->sink->on_begin(run->sink->ctx, run->step, &run->replayed_steps);
}

/* --- telling the world --- */

static iso_status tell_summary(loop *run, iso_run_state state) {
    if (!run->sink->on_summary) return ISO_OK;
    bool scored = run->final_result.n_domains > 0;
    json_t *summary = iso_ledger_json(&(iso_ledger_facts){
        .name = run->options->name,
        .state = state,
        .trainer = run->trainer,
        .dataset = &run->dataset,
        .order = &run->order,
        .seen = &run->seen,
        .step = run->step,
        .replayed_steps = run->replayed_steps,
        .train_s = run->train_s,
        .wall_s = wall_s(run),
        .peak_flops = run->peak_flops,
        .batch_hash = run->batch_hash,
        .eval_set = &run->final_set,
        .final_result = scored ? &run->final_result : NULL,
        .expert_load = scored ? run->expert_load : NULL,
    });
    if (!summary) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the ledger");
    iso_status status = run->sink->on_summary(run->sink->ctx, summary);
    json_decref(summary);
    return status;
}

static iso_status tell_step(loop *run, const iso_step_result *result, double step_s) {
    if (!run->sink->on_step) return ISO_OK;
    iso_counts counts;
    ISO_TRY(iso_count(&counts, &run->config->model, ISO_CONVENTION_PAPER));
    int64_t batch_tokens = iso_config_batch_tokens(run->config);
    int64_t last = run->step * run->config->train.batch_size - 1;
    double rate = (double)batch_tokens / step_s;
    iso_step_row row = {.step = run->step,
                        .tokens = run->step * batch_tokens,
                        .epoch = iso_order_epoch(&run->order, last),
                        .loss = result->loss,
                        .grad_norm = result->grad_norm,
                        .lr = result->lr,
                        .step_ms = step_s * 1e3,
                        .tokens_per_s = rate,
                        .mfu = rate * (double)counts.train_flops_per_token / run->peak_flops,
                        .is_moe = run->trainer->is_moe,
                        .aux_loss = result->aux_loss,
                        .load_imbalance = result->load_imbalance,
                        .router_entropy = result->router_entropy,
                        .dead_experts = result->dead_experts};
    return run->sink->on_step(run->sink->ctx, &row);
}

static iso_status tell_scores(loop *run, const iso_eval_result *result, bool is_final) {
    if (!run->sink->on_eval) return ISO_OK;
    iso_score *scores = calloc((size_t)result->n_domains + 1, sizeof *scores);
    if (!scores) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the scores");
    for (int64_t i = 0; i < result->n_domains; i++) {
        const iso_domain_result *d = &result->domains[i];
        scores[i] = (iso_score){.domain = d->name, .loss = d->loss, .bpb = d->bpb, .bpc = d->bpc};
    }
    iso_eval_row row = {run->step, is_final, result->n_domains, scores};
    iso_status status = run->sink->on_eval(run->sink->ctx, &row);
    free(scores);
    return status;
}

static iso_status tell_router(loop *run) {
    const iso_shape *s = &run->config->model;
    if (!run->sink->on_router || !run->trainer->is_moe) return ISO_OK;
    iso_router_layer *layers = calloc((size_t)s->num_hidden_layers, sizeof *layers);
    if (!layers) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the router's record");
    int64_t n = 0;
    for (int64_t i = 0; i < s->num_hidden_layers; i++) {
        if (!iso_shape_layer_is_moe(s, i)) continue;
        const double *load = run->expert_load + i * s->num_experts;
        layers[n++] =
            (iso_router_layer){i, iso_load_entropy(load, s->num_experts), s->num_experts, load};
    }
    iso_router_row row = {run->step, n, layers};
    iso_status status = run->sink->on_router(run->sink->ctx, &row);
    free(layers);
    return status;
}

static iso_status tell_windows(loop *run) {
    const iso_eval_result *result = &run->final_result;
    if (!run->sink->on_evaluation) return ISO_OK;
    iso_window_scores *domains = calloc((size_t)result->n_domains + 1, sizeof *domains);
    if (!domains) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the evaluation's record");
    for (int64_t i = 0; i < result->n_domains; i++) {
        const iso_domain_result *d = &result->domains[i];
        domains[i] = (iso_window_scores){.domain = d->name,
                                         .n_windows = d->n_windows,
                                         .document = d->document,
                                         .nats = d->window_nats,
                                         .n_bytes = d->window_bytes,
                                         .n_chars = d->window_chars};
    }
    iso_evaluation evaluation = {run->step, run->final_set.hash, result->n_domains, domains};
    iso_status status = run->sink->on_evaluation(run->sink->ctx, &evaluation);
    free(domains);
    return status;
}

/* --- the work --- */

static iso_status evaluate(loop *run) {
    iso_eval_result result;
    ISO_TRY(iso_evaluate(run->trainer, &run->eval_set, &result, run->expert_load, NULL));
    iso_status status = tell_scores(run, &result, false);
    if (status == ISO_OK) status = tell_router(run);
    iso_eval_result_free(&result);
    return status;
}

static iso_status evaluate_at_the_end(loop *run) {
    iso_route_counter *routes = NULL;
    bool is_asked = run->sink->on_routes && run->trainer->is_moe;
    if (is_asked)
        ISO_TRY(iso_route_counter_create(&routes, &run->config->model, run->final_set.samples,
                                         run->final_set.n_domains));
    iso_status status =
        iso_evaluate(run->trainer, &run->final_set, &run->final_result, run->expert_load, routes);
    if (status == ISO_OK) status = tell_scores(run, &run->final_result, true);
    if (status == ISO_OK) status = tell_router(run);
    if (status == ISO_OK) status = tell_windows(run);
    if (status == ISO_OK && routes)
        status = run->sink->on_routes(run->sink->ctx, run->step, run->final_set.hash,
                                      iso_route_counter_counts(routes));
    iso_route_counter_free(routes);
    return status;
}

static bool falls_on(int64_t step, int64_t every) {
    return every != ISO_EVERY_NEVER && step % every == 0;
}

/* Whether another step follows step `step` at once: or else it does its updates itself. */
static bool steps_follow(const iso_train_config *train, int64_t step) {
    return step < train->steps && !falls_on(step, train->eval_every) &&
           !falls_on(step, train->checkpoint_every);
}

static iso_status one_step(loop *run) {
    const iso_config *config = run->config;
    int64_t S = config->model.max_position_embeddings, B = config->train.batch_size;
    double start = iso_clock_s();
    iso_step_result result;
    iso_order_fill(&run->order, &run->dataset.train, S, run->step * B, B, run->inputs,
                   run->targets);
    ISO_TRY(iso_trainer_step(run->trainer, run->step + 1, run->inputs, run->targets, &result));
    if (!steps_follow(&config->train, run->step + 1)) iso_trainer_settle(run->trainer);
    iso_seen_add(&run->seen, &run->order, &run->dataset.train, S, run->step * B, B);
    run->batch_hash =
        XXH3_64bits_withSeed(run->inputs, (size_t)(B * S) * sizeof *run->inputs, run->batch_hash);
    run->step++;
    double step_s = iso_clock_s() - start;
    run->train_s += step_s;
    return tell_step(run, &result, step_s);
}

/* --- signals ---
 * They stay out while anything is computed or saved, on this thread and on the pool's, which
 * inherit its mask, and are let in between steps: a handler of the caller's never runs in the
 * middle of a step, and no system call of a checkpoint is cut short. */
static void block_signals(sigset_t *before) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_BLOCK, &all, before);
}

static void let_signals_in(const loop *run) {
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, &run->signals_before, &blocked);
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
}

static iso_status train_to_the_end(loop *run) {
    const iso_train_config *train = &run->config->train;
    while (run->step < train->steps) {
        let_signals_in(run);
        if (run->options->stop && *run->options->stop) {
            ISO_TRY(save(run));
            return iso_fail(ISO_ERR_PREEMPTED,
                            "stopped by a signal at step %" PRId64 " of %" PRId64
                            "; the checkpoint is saved, run the same command to go on",
                            run->step, train->steps);
        }
        ISO_TRY(one_step(run));
        if (run->step == train->steps) break;
        if (falls_on(run->step, train->eval_every)) ISO_TRY(evaluate(run));
        if (falls_on(run->step, train->checkpoint_every)) ISO_TRY(save(run));
    }
    ISO_TRY(save(run));
    return evaluate_at_the_end(run);
}

static iso_status run_all(loop *run) {
    ISO_TRY(set_up(run));
    ISO_TRY(resume(run));
    ISO_TRY(tell_summary(run, ISO_RUN_RUNNING));
    iso_status status = train_to_the_end(run);
    iso_run_state state = status == ISO_OK              ? ISO_RUN_FINISHED
                          : status == ISO_ERR_PREEMPTED ? ISO_RUN_PREEMPTED
                          : status == ISO_ERR_NONFINITE ? ISO_RUN_DIVERGED
                                                        : ISO_RUN_FAILED;
    /* The first error is the one to report; the summary of a failed run is a courtesy. */
    char *message = status == ISO_OK ? NULL : strdup(iso_error_message());
    iso_status told = tell_summary(run, state);
    if (status != ISO_OK && message) iso_fail(status, "%s", message);
    free(message);
    return status != ISO_OK ? status : told;
}

iso_status iso_train_run(const iso_config *config, const iso_loop_options *options,
                         const iso_sink *sink) {
    loop *run = calloc(1, sizeof *run);
    if (!run) return iso_fail(ISO_ERR_MEMORY, "cannot allocate a run");
    run->config = config;
    run->options = options;
    run->sink = sink;
    block_signals(&run->signals_before);
    iso_status status = run_all(run);
    tear_down(run);
    pthread_sigmask(SIG_SETMASK, &run->signals_before, NULL);
    free(run);
    return status;
}
