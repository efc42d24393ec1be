#include "synthetic_runs.h"

#include "arch/count.h"
#include "base/fileio.h"
#include "runs/run_folder.h"
#include "train/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

double synthetic_run_loss(int64_t step) {
    return 5.0 / (1.0 + 0.1 * (double)step);
}

static iso_config config_of(const synthetic_run *run) {
    iso_config config = iso_config_default();
    config.model.vocab_size = 257;
    config.model.hidden_size = 64;
    config.model.num_hidden_layers = 3;
    config.model.num_attention_heads = 2;
    config.model.intermediate_size = 128;
    config.model.max_position_embeddings = 32;
    if (run->is_moe) {
        config.model.layer_layout = ISO_LAYOUT_1DENSE;
        config.model.num_experts = 4;
        config.model.num_experts_per_tok = 1;
        config.model.moe_intermediate_size = 32;
        config.model.shared_expert_intermediate_size = 32;
    }
    config.train.batch_size = 8;
    config.train.steps = run->planned_steps;
    config.train.lr = 1e-3;
    config.train.seed = run->seed;
    assert_int_equal(iso_config_resolve(&config, NULL), ISO_OK);
    return config;
}

/* --- the ledger --- */

static void add_counts(json_t *summary, const iso_config *config, int64_t tokens) {
    json_t *conventions = json_object(), *flops = json_object();
    __int128 counted[ISO_N_COMPONENTS] = {0};
    for (int i = ISO_N_CONVENTIONS - 1; i >= 0; i--) {
        iso_counts counts;
        assert_int_equal(iso_count(&counts, &config->model, (iso_convention)i), ISO_OK);
        json_t *entry =
            json_pack("{s:I, s:I, s:I}", "params_nonvocab", (json_int_t)counts.params_nonvocab,
                      "params_active", (json_int_t)counts.params_active, "train_flops_per_token",
                      (json_int_t)counts.train_flops_per_token);
        if (i == ISO_CONVENTION_PAPER) {
            json_object_update(summary, entry);
            json_object_set_new(summary, "params_total", json_integer(counts.params_total));
        }
        json_object_set_new(conventions, iso_convention_name((iso_convention)i), entry);
        for (int c = 0; c < ISO_N_COMPONENTS; c++)
            if (counts.components[c].forward_flops > 0)
                counted[c] = (__int128)3 * counts.components[c].forward_flops * tokens;
    }
    for (int c = 0; c < ISO_N_COMPONENTS; c++)
        json_object_set_new(flops, iso_component_name((iso_component)c),
                            iso_json_from_i128(counted[c]));
    json_object_set_new(summary, "conventions", conventions);
    json_object_set_new(summary, "counted", json_pack("{s:o}", "model_flops", flops));
}

static void add_scores(json_t *summary, const synthetic_run *run) {
    static const char format[] =
        "{s:{s:f, s:f, s:f, s:i, s:i, s:i}, s:{s:f, s:f, s:f, s:i, s:i, s:i}}";
    json_object_set_new(summary, "bpb", json_real(run->bpc + 0.5));
    json_object_set_new(summary, "bpc", json_real(run->bpc + 0.5));
    json_object_set_new(summary, "domains",
                        json_pack(format, "general", "loss", 1.0, "bpb", run->bpc, "bpc", run->bpc,
                                  "tokens", 100, "bytes", 100, "chars", 90, "code", "loss", 2.0,
                                  "bpb", run->bpc + 1, "bpc", run->bpc + 1, "tokens", 200, "bytes",
                                  200, "chars", 190));
}

static json_t *summary_of(const synthetic_run *run, const iso_config *config) {
    int64_t tokens = run->n_steps * iso_config_batch_tokens(config);
    json_t *summary = json_pack(
        "{s:i, s:s, s:s, s:s, s:{s:s, s:s}, s:I, s:I, s:I, s:I, s:i, s:i, s:I, s:f, s:I, s:s, s:s, "
        "s:s, s:s, s:s, s:f, s:f, s:f}",
        "format", 1, "name", run->name, "state", run->state, "version", "0.1.0", "numeric_profile",
        "precision", "fp32", "isa", "avx2", "tokens", (json_int_t)tokens, "unique_tokens",
        (json_int_t)(tokens / 2), "steps", (json_int_t)run->n_steps, "planned_steps",
        (json_int_t)config->train.steps, "replayed_steps", 0, "skipped_steps", 0, "batch_tokens",
        (json_int_t)iso_config_batch_tokens(config), "lr", iso_config_peak_lr(config),
        "router_aux_group", (json_int_t)config->model.router_aux_group, "data_hash", "d0d0",
        "subset_hash", "5ub5e7", "batch_hash", "ba7c4", "tokenizer_hash", "70ce2",
        "validation_hash", "fa11d", "wall_s", 1.5, "tokens_per_s", 1000.0, "mfu", 0.25);
    assert_non_null(summary);
    json_t *sections = iso_config_to_json(config);
    json_object_update(summary, sections);
    json_decref(sections);
    add_counts(summary, config, tokens);
    if (strcmp(run->state, "finished") == 0) add_scores(summary, run);
    return summary;
}

/* --- the rows --- */

static void write_step(const iso_sink *sink, const synthetic_run *run, int64_t step) {
    iso_step_row row = {.step = step,
                        .tokens = 256 * step,
                        .epoch = step / 20,
                        .loss = synthetic_run_loss(step),
                        .grad_norm = 1,
                        .lr = 1e-3,
                        .step_ms = 2,
                        .tokens_per_s = 128000,
                        .mfu = 0.5,
                        .is_moe = run->is_moe,
                        .aux_loss = 1.25,
                        .load_imbalance = 2,
                        .router_entropy = 0.75,
                        .dead_experts = 1};
    assert_int_equal(sink->on_step(sink->ctx, &row), ISO_OK);
}

static void write_evaluation(const iso_sink *sink, const synthetic_run *run, int64_t step) {
    const iso_score scores[] = {{"general", 1, 2, 3}, {"code", 2, 4, 5}, {"holdout", 9, 9, 9}};
    const double load[] = {0, 0.125, 0.25, 0.625};
    const iso_router_layer layers[] = {{1, 0.5, 4, load}, {2, 0.75, 4, load}};
    iso_eval_row eval = {
        .step = step, .is_final = step == run->planned_steps, .n_scores = 3, .scores = scores};
    iso_router_row router = {.step = step, .n_layers = 2, .layers = layers};
    assert_int_equal(sink->on_eval(sink->ctx, &eval), ISO_OK);
    if (run->is_moe) assert_int_equal(sink->on_router(sink->ctx, &router), ISO_OK);
}

void synthetic_run_write(const char *dir, const synthetic_run *run) {
    iso_run_writer *writer;
    int64_t n_replayed;
    iso_config config = config_of(run);
    assert_int_equal(iso_dir_remove(dir), ISO_OK);
    assert_int_equal(iso_run_writer_open(&writer, dir), ISO_OK);
    iso_run_writer_config(writer, &config);
    iso_sink sink = iso_run_writer_sink(writer);
    assert_int_equal(sink.on_begin(sink.ctx, 0, &n_replayed), ISO_OK);
    for (int64_t step = 1; step <= run->n_steps; step++) {
        write_step(&sink, run, step);
        if (step % 10 == 0) write_evaluation(&sink, run, step);
    }
    /* The ledger of a run that goes on is that of its beginning. */
    synthetic_run told = *run;
    if (strcmp(run->state, "running") == 0) told.n_steps = 0;
    json_t *summary = summary_of(&told, &config);
    assert_int_equal(sink.on_summary(sink.ctx, summary), ISO_OK);
    json_decref(summary);
    iso_run_writer_close(writer);
}

void synthetic_run_append(const char *dir, int64_t step) {
    char *path = iso_strf("%s/metrics.jsonl", dir);
    FILE *stream = fopen(path, "a");
    assert_non_null(stream);
    fprintf(
        stream,
        "{\"step\":%lld,\"tokens\":%lld,\"epoch\":0,\"loss\":%.17g,\"grad_norm\":1,\"lr\":0.001,"
        "\"step_ms\":2,\"tokens_per_s\":128000,\"mfu\":0.5}\n",
        (long long)step, (long long)(256 * step), synthetic_run_loss(step));
    assert_int_equal(fclose(stream), 0);
    free(path);
}
