#include "study/budget_model.h"

#include "arch/steplaw.h"
#include "train/dry_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

iso_status iso_budget_model_begin(iso_budget_model *model, const iso_budget *b, int64_t tokens) {
    model->config = b->goal.base;
    model->config.model = model->plan.shape;
    return iso_equal_batch_set(&model->config, &b->goal.rule, tokens > 0 ? tokens : 1);
}

/* (M D of the model - M D of the reference) / the latter; the difference is exact. */
static double relative_error(const iso_budget_model *model, const iso_budget_model *reference) {
    __int128 own = (__int128)model->plan.counts.train_flops_per_token * model->tokens;
    __int128 other = (__int128)reference->plan.counts.train_flops_per_token * reference->tokens;
    return (double)(own - other) / (double)other;
}

iso_status iso_budget_model_steps(iso_budget_model *model, const iso_budget *b, int64_t steps) {
    const iso_counts *counts = &model->plan.counts;
    const bool dense = model == &b->models[0];
    iso_str warnings = {0};
    iso_status status = iso_equal_steps_set(&model->config, &b->goal.rule, steps, &warnings);
    model->warnings = warnings.data;
    ISO_TRY(status);
    double batch = (double)iso_config_batch_tokens(&model->config);
    double params = (double)counts->params_nonvocab;
    model->tokens = iso_config_tokens(&model->config);
    double tokens = (double)model->tokens;
    model->flops = iso_train_flops(counts->train_flops_per_token, model->tokens);
    model->flops_error =
        dense ? model->flops / b->flops_asked - 1 : relative_error(model, &b->models[0]);
    model->step_share = 1 / (double)steps;
    model->batch_over_law = batch / iso_steplaw_batch_tokens(b->goal.rule.law, tokens);
    model->lr_over_law =
        iso_config_peak_lr(&model->config) / iso_steplaw_lr(b->goal.rule.law, params, tokens);
    model->law_in_range = iso_steplaw_in_range(params, tokens, !dense);
    return ISO_OK;
}

static iso_status fail_unique(const iso_budget_model *model, const iso_budget *b) {
    return iso_fail(ISO_ERR_USAGE,
                    "plan: --scheme unique: %s needs %" PRId64 " tokens and the text has %" PRId64
                    "; take the scheme strict or loose, or give more text or less compute",
                    model->name, model->tokens, b->goal.text_tokens);
}

iso_status iso_budget_model_share(iso_budget_model *model, const iso_budget *b) {
    const int64_t S = model->config.model.max_position_embeddings;
    int64_t text = b->goal.text_tokens;
    model->epochs_strict = (double)model->tokens / (double)b->unique_tokens;
    model->unique_loose = model->tokens / S / 2 * S;
    if (b->goal.scheme == ISO_GAP_UNIQUE && text > 0 && text < model->tokens)
        return fail_unique(model, b);
    if (b->goal.scheme == ISO_GAP_LOOSE && text > 0 && text < model->unique_loose)
        return iso_fail(ISO_ERR_USAGE,
                        "plan: --scheme loose: %s needs half of its %" PRId64
                        " tokens and the text has %" PRId64 "; take the scheme strict, or give "
                        "more text or less compute",
                        model->name, model->tokens, text);
    if (b->goal.scheme == ISO_GAP_LOOSE && model->unique_loose == 0)
        return iso_fail(ISO_ERR_USAGE,
                        "plan: --scheme loose: %s trains on one sequence, which has no half; take "
                        "the scheme strict, or give more compute",
                        model->name);
    model->config.data.unique_tokens = b->goal.scheme == ISO_GAP_STRICT  ? b->unique_tokens
                                       : b->goal.scheme == ISO_GAP_LOOSE ? model->unique_loose
                                                                         : model->tokens;
    return ISO_OK;
}

/* The trainer's dry run in the precision asked for; in fp32, an upper bound, where this processor
 * cannot train in it. */
static iso_status measure_activations(iso_budget_memory *out, const iso_config *config) {
    iso_config one = *config;
    iso_dry_run run;
    one.train.threads = 1; /* (I3): scratch, which is left out, goes with the machine's threads */
    iso_status status = iso_dry_run_make(&run, &one, "cpu", ISO_F32);
    out->activations_bound = status == ISO_ERR_UNSUPPORTED;
    if (out->activations_bound) {
        one.train.precision = ISO_PRECISION_FP32;
        status = iso_dry_run_make(&run, &one, "cpu", ISO_F32);
    }
    if (status == ISO_OK) out->activations = run.model.activations;
    return status;
}

static iso_status measure_memory(iso_budget_memory *out, const iso_config *config) {
    bool bf16 = config->train.precision == ISO_PRECISION_BF16;
    iso_number_format format = bf16 ? ISO_FORMAT_BF16 : ISO_FORMAT_FP32;
    const iso_shape *shape = &config->model;
    ISO_TRY(iso_memory_state(&out->state, shape, format));
    ISO_TRY(measure_activations(out, config));
    out->training = out->state.sum + out->activations;
    ISO_TRY(iso_memory_weights(&out->weights, shape, format));
    ISO_TRY(iso_memory_touched(&out->touched, shape, format, 1));
    return iso_memory_kv_cache(&out->kv_token, shape, format, 1, 1);
}

iso_status iso_budget_model_finish(iso_budget_model *model, const iso_budget *b) {
    iso_status status = measure_memory(&model->memory, &model->config);
    if (status != ISO_OK) return iso_fail_context(status, "memory of %s", model->name);
    model->seconds = b->flops_per_s > 0 ? model->flops / b->flops_per_s : NAN;
    return ISO_OK;
}

/* --- notes --- */

static void note_text(iso_budget *b) {
    char have[32], need[32];
    const iso_budget_model *dense = &b->models[0];
    int64_t text = b->goal.text_tokens;
    if (b->unique_by == ISO_BUDGET_BY_TEXT && dense->epochs_strict > 1 + 1e-3)
        iso_str_appendf(&b->notes,
                        "the dense baseline needs %s tokens and the text has %s: it repeats the "
                        "text %.2f times, too\n",
                        iso_str_count(need, (double)dense->tokens),
                        iso_str_count(have, (double)text), dense->epochs_strict);
    if (text > 0 && (double)b->unique_tokens < 0.99 * (double)text)
        iso_str_appendf(
            &b->notes,
            "of the %s tokens at hand every side uses the same %s, all that %s needs once: strict "
            "holds the unique text equal\n",
            iso_str_count(have, (double)text), iso_str_count(need, (double)b->unique_tokens),
            b->unique_by == ISO_BUDGET_BY_MOE ? "the smallest side" : "the dense baseline");
}

static void note_epochs(iso_budget *b) {
    double most = 0;
    const char *name = "";
    for (int64_t i = 0; i < b->n_models; i++)
        if (b->models[i].epochs_strict > most) {
            most = b->models[i].epochs_strict;
            name = b->models[i].name;
        }
    if (b->goal.scheme == ISO_GAP_STRICT && most > ISO_BUDGET_EPOCHS_PAPER * 1.001)
        iso_str_appendf(&b->notes,
                        "%s repeats the text %.1f times; the paper never goes beyond %.2f, where "
                        "repeats are worth less and less\n",
                        name, most, ISO_BUDGET_EPOCHS_PAPER);
}

/* The names of the models for which `is` holds, with commas; returns how many. */
static int64_t list_names(iso_str *out, const iso_budget *b, bool (*is)(const iso_budget_model *)) {
    int64_t n = 0;
    for (int64_t i = 0; i < b->n_models; i++)
        if (is(&b->models[i])) iso_str_appendf(out, "%s%s", n++ ? ", " : "", b->models[i].name);
    return n;
}

static bool beyond_law(const iso_budget_model *model) {
    return !model->law_in_range;
}

static bool few_steps(const iso_budget_model *model) {
    return model->step_share > 0.005;
}

/* Which side trains at which multiple of the law's rate: a part of any gap may be theirs. */
static void note_rates(iso_budget *b) {
    bool told[ISO_BUDGET_MODELS_MAX] = {false};
    iso_str groups = {0};
    int64_t n_groups = 0;
    for (int64_t i = 0; i < b->n_models; i++) {
        double multiple = b->models[i].lr_over_law;
        if (told[i]) continue;
        n_groups++;
        iso_str_appendf(&groups, "%s%.2f x (%s", groups.len ? ", " : "", multiple,
                        b->models[i].name);
        for (int64_t j = i + 1; j < b->n_models; j++)
            if (fabs(b->models[j].lr_over_law / multiple - 1) < 0.005) {
                told[j] = true;
                iso_str_appendf(&groups, ", %s", b->models[j].name);
            }
        iso_str_append(&groups, ")");
    }
    bool one = n_groups == 1;
    if (!one || fabs(b->models[0].lr_over_law - 1) > 0.01) {
        iso_str_appendf(&b->notes, "learning rates over Step Law's: %s", one ? "" : groups.data);
        if (one) iso_str_appendf(&b->notes, "%.2f for all", b->models[0].lr_over_law);
        iso_str_append(&b->notes, b->goal.rule.lr_multiplier > 0
                                      ? "\n"
                                      : "; what a sweep at 4e5 parameters found best, to a factor "
                                        "of two and fading to 1 at 6e7; --lr-multiplier sets one "
                                        "for all\n");
    }
    iso_str_release(&groups);
}

static void note_law(iso_budget *b) {
    iso_str names = {0};
    int64_t n = list_names(&names, b, beyond_law);
    if (n > 0)
        iso_str_appendf(&b->notes,
                        "Step Law was fitted from 60M to 1.07B parameters (2.15B MoE) and 2B to "
                        "100B tokens; outside: %s. Measure --lr-multiplier before a long run\n",
                        n == b->n_models ? "every model" : names.data);
    iso_str_clear(&names);
    n = list_names(&names, b, few_steps);
    if (n > 0)
        iso_str_appendf(&b->notes,
                        "fewer than 200 optimizer steps, each more than 0.5 %% of C: %s\n",
                        n == b->n_models ? "every model" : names.data);
    iso_str_release(&names);
}

static void note_speed(iso_budget *b) {
    if (b->goal.compute.speed.utilisation_assumed)
        iso_str_append(&b->notes, "40 % of the peak is assumed; append @PERCENT to the device to "
                                  "say what yours reaches\n");
    if (b->flops_per_s > 0)
        iso_str_append(&b->notes, "hours take every model to reach the same FLOP/s; routing costs "
                                  "MoEs some of it: measure yours\n");
}

/* More than one of the devices named can hold: sharding is the trainer's business, but must be. */
static void note_device(iso_budget *b) {
    const iso_speed *speed = b->goal.speed.accelerator ? &b->goal.speed : &b->goal.compute.speed;
    const iso_accelerator *device = speed->accelerator;
    char most[32], has[32];
    int64_t training = 0, n_over = 0;
    for (int64_t i = 0; i < b->n_models && device; i++) {
        if (b->models[i].memory.training > training) training = b->models[i].memory.training;
        n_over += (double)b->models[i].memory.training > device->memory_bytes;
    }
    if (device)
        iso_str_appendf(&b->notes,
                        "isomoe itself trains on processors; on %s take these shapes, rates and "
                        "steps to a trainer for them\n",
                        device->name);
    if (n_over > 0)
        iso_str_appendf(&b->notes,
                        "up to %s to train, more than the %s of one %s, in %" PRId64 " of %" PRId64
                        " models: they must be sharded, or run in smaller micro-batches\n",
                        iso_str_bytes(most, (double)training),
                        iso_str_bytes(has, device->memory_bytes), device->name, n_over,
                        b->n_models);
}

static void note_memory(iso_budget *b) {
    note_device(b);
    if (b->models[0].memory.activations_bound)
        iso_str_append(&b->notes, "this processor does not train in bf16: activations are those of "
                                  "fp32, more than bf16 needs\n");
}

static bool has_line(const char *lines, const char *line, size_t n) {
    while (lines && *lines) {
        size_t length = strcspn(lines, "\n");
        if (length == n && memcmp(lines, line, n) == 0) return true;
        lines += length + (lines[length] == '\n');
    }
    return false;
}

/* Warnings of the configs; one that several models share is told once, with their names. */
static void note_warnings(iso_budget *b) {
    for (int64_t i = 0; i < b->n_models; i++) {
        const char *line = b->models[i].warnings;
        while (line && *line) {
            size_t length = strcspn(line, "\n");
            bool told = false;
            for (int64_t j = 0; j < i && !told; j++)
                told = has_line(b->models[j].warnings, line, length);
            if (!told) {
                iso_str_append(&b->notes, b->models[i].name);
                for (int64_t j = i + 1; j < b->n_models; j++)
                    if (has_line(b->models[j].warnings, line, length))
                        iso_str_appendf(&b->notes, ", %s", b->models[j].name);
                iso_str_appendf(&b->notes, ": %.*s\n", (int)length, line);
            }
            line += length + (line[length] == '\n');
        }
    }
}

void iso_budget_notes_make(iso_budget *b) {
    note_text(b);
    note_epochs(b);
    note_law(b);
    note_rates(b);
    note_speed(b);
    note_memory(b);
    note_warnings(b);
}
