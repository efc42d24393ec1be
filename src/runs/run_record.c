/* A ledger is evidence, so it is read like one: first the form (every key, type, sign), then
 * whether it is true to itself. The second part recomputes everything that follows from the config
 * section through arch/count.h and compares; it appends to `problems` and goes on, so that a reader
 * sees all that is wrong at once.
 */
#include "runs/run_record.h"
#include "runs/run_rows.h"

#include "arch/steplaw.h"
#include "train/ledger.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SUMMARY_FORMAT 1

/* --- the form --- */

typedef struct field {
    const char *key;
    size_t offset;
    int64_t min;
} field;

#define FIELD(name, min)                                                                           \
    { #name, offsetof(iso_record, name), min }

static const field integer_fields[] = {
    FIELD(params_total, 1),  FIELD(tokens, 0),        FIELD(unique_tokens, 0),
    FIELD(steps, 0),         FIELD(planned_steps, 1), FIELD(replayed_steps, 0),
    FIELD(skipped_steps, 0), FIELD(batch_tokens, 1),  FIELD(router_aux_group, 1),
};

static const field string_fields[] = {
    FIELD(state, 1),          FIELD(data_hash, 1),       FIELD(subset_hash, 1),
    FIELD(tokenizer_hash, 1), FIELD(validation_hash, 1),
};

static const field count_fields[] = {
    {"params_nonvocab", offsetof(iso_record_counts, params_nonvocab), 1},
    {"params_active", offsetof(iso_record_counts, params_active), 1},
    {"train_flops_per_token", offsetof(iso_record_counts, train_flops_per_token), 1},
};

#define COUNT_OF(array) (sizeof array / sizeof *array)

static iso_status read_integers(void *target, const field *fields, size_t n_fields,
                                const json_t *object, const char *what) {
    for (size_t i = 0; i < n_fields; i++) {
        int64_t value;
        ISO_TRY(iso_json_get_i64(&value, object, fields[i].key, what));
        if (value < fields[i].min)
            return iso_fail(ISO_ERR_DATA, "%s: \"%s\" is %" PRId64 ", which is impossible", what,
                            fields[i].key, value);
        *(int64_t *)((char *)target + fields[i].offset) = value;
    }
    return ISO_OK;
}

/* Hashes and the state: shown to people, so only plain characters. */
static bool is_plain(const char *text) {
    for (const char *c = text; *c; c++) {
        bool is_word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                       (*c >= '0' && *c <= '9') || *c == '_' || *c == '-';
        if (!is_word) return false;
    }
    return *text != '\0';
}

static iso_status read_strings(iso_record *record, const json_t *summary, const char *what) {
    for (size_t i = 0; i < COUNT_OF(string_fields); i++) {
        const char *text;
        ISO_TRY(iso_json_get_str(&text, summary, string_fields[i].key, what));
        if (!is_plain(text))
            return iso_fail(ISO_ERR_DATA, "%s: \"%s\" is not made of letters and digits", what,
                            string_fields[i].key);
        *(const char **)((char *)record + string_fields[i].offset) = text;
    }
    static const char *const states[] = {"running", "finished", "preempted", "failed", "diverged"};
    for (size_t i = 0; i < COUNT_OF(states); i++)
        if (strcmp(record->state, states[i]) == 0) return ISO_OK;
    return iso_fail(ISO_ERR_DATA,
                    "%s: \"state\" is none of running, finished, preempted, failed, "
                    "diverged",
                    what);
}

static iso_status read_counts(iso_record *record, const json_t *summary, const char *what) {
    json_t *conventions, *object;
    ISO_TRY(iso_json_get_object(&conventions, summary, "conventions", what));
    for (int i = 0; i < ISO_N_CONVENTIONS; i++) {
        const char *name = iso_convention_name((iso_convention)i);
        ISO_TRY(iso_json_get_object(&object, conventions, name, what));
        ISO_TRY(
            read_integers(&record->counts[i], count_fields, COUNT_OF(count_fields), object, what));
    }
    return ISO_OK;
}

static iso_status read_counted(iso_record *record, const json_t *summary, const char *what) {
    json_t *counted, *flops;
    ISO_TRY(iso_json_get_object(&counted, summary, "counted", what));
    ISO_TRY(iso_json_get_object(&flops, counted, "model_flops", what));
    for (int i = 0; i < ISO_N_COMPONENTS; i++) {
        const char *name = iso_component_name((iso_component)i);
        if (!iso_json_to_i128(&record->model_flops[i], json_object_get(flops, name)))
            return iso_fail(ISO_ERR_DATA, "%s: counted.model_flops.%s is no count", what, name);
    }
    return ISO_OK;
}

/* One member of a section as a line of YAML. Keywords stand as strings in JSON and as plain words
 * in a config; data.dir is the one free string, and no number depends on it. */
static iso_status append_yaml(iso_str *yaml, const char *key, const json_t *value,
                              const char *what) {
    const char *word = json_string_value(value);
    if (strcmp(key, "dir") == 0) return ISO_OK;
    if (!is_plain(key) || (word && !is_plain(word)))
        return iso_fail(ISO_ERR_DATA, "%s: a config section has a member no config can have", what);
    char *text = word ? iso_strf("%s", word) : iso_json_line(value);
    iso_str_appendf(yaml, "  %s: %s\n", key, text);
    free(text);
    return ISO_OK;
}

static iso_status read_config(iso_config *out, const json_t *summary, const char *what) {
    static const char *const sections[] = {"model", "data", "train"};
    iso_str yaml = {0};
    iso_status status = ISO_OK;
    for (size_t i = 0; i < COUNT_OF(sections) && status == ISO_OK; i++) {
        json_t *section, *value;
        const char *key;
        status = iso_json_get_object(&section, summary, sections[i], what);
        if (status != ISO_OK) break;
        iso_str_appendf(&yaml, "%s:\n", sections[i]);
        json_object_foreach(section, key, value) if (status == ISO_OK) status =
            append_yaml(&yaml, key, value, what);
    }
    if (status == ISO_OK)
        status = iso_config_parse(out, yaml.data, (int64_t)yaml.len, what, NULL, 0);
    if (status == ISO_OK) status = iso_shape_check(&out->model);
    iso_str_release(&yaml);
    /* The file is at fault here, not the user's command. */
    return status == ISO_ERR_USAGE ? iso_fail_context(ISO_ERR_DATA, "%s", what) : status;
}

static iso_status read_score(double *out, const json_t *summary, const char *key,
                             const char *what) {
    *out = NAN;
    if (!json_object_get(summary, key)) return ISO_OK;
    ISO_TRY(iso_json_get_f64(out, summary, key, what));
    return *out >= 0 ? ISO_OK : iso_fail(ISO_ERR_DATA, "%s: \"%s\" is negative", what, key);
}

/* {"precision": "fp32", ...}: words for people. */
static iso_status read_profile(iso_record *record, const json_t *summary, const char *what) {
    json_t *profile, *value;
    const char *key;
    ISO_TRY(iso_json_get_object(&profile, summary, "numeric_profile", what));
    json_object_foreach(profile, key, value) {
        const char *word = json_string_value(value);
        for (const char *c = word; c && *c; c++)
            if ((unsigned char)*c < ' ' || *c == 0x7f) word = NULL;
        if (!word)
            return iso_fail(ISO_ERR_DATA,
                            "%s: \"numeric_profile\" holds something other than words", what);
    }
    record->numeric_profile = profile;
    return ISO_OK;
}

static iso_status read_form(iso_record *record, const json_t *summary, const char *what) {
    int64_t format;
    ISO_TRY(iso_json_get_i64(&format, summary, "format", what));
    if (format != SUMMARY_FORMAT)
        return iso_fail(ISO_ERR_UNSUPPORTED, "%s has format %" PRId64 "; this version reads %d",
                        what, format, SUMMARY_FORMAT);
    ISO_TRY(read_strings(record, summary, what));
    ISO_TRY(read_integers(record, integer_fields, COUNT_OF(integer_fields), summary, what));
    ISO_TRY(read_counts(record, summary, what));
    ISO_TRY(read_counted(record, summary, what));
    ISO_TRY(read_config(&record->config, summary, what));
    ISO_TRY(read_profile(record, summary, what));
    ISO_TRY(iso_json_get_f64(&record->peak_lr, summary, "lr", what));
    if (record->peak_lr <= 0) return iso_fail(ISO_ERR_DATA, "%s: \"lr\" is not positive", what);
    ISO_TRY(read_score(&record->bpb, summary, "bpb", what));
    return read_score(&record->bpc, summary, "bpc", what);
}

/* --- the truth --- */

static void expect(iso_record *record, const char *what, __int128 found, __int128 expected,
                   const char *source) {
    if (found == expected) return;
    iso_str_appendf(&record->problems, "inconsistent: %s is %.17g, %s %.17g\n", what, (double)found,
                    source, (double)expected);
}

/* Parameters and FLOPs per token against the shape. */
static iso_status check_counts(iso_record *record, const json_t *summary, const char *what) {
    const iso_record_counts *paper = &record->counts[ISO_CONVENTION_PAPER];
    iso_record_counts top;
    ISO_TRY(read_integers(&top, count_fields, COUNT_OF(count_fields), summary, what));
    expect(record, "params_nonvocab", top.params_nonvocab, paper->params_nonvocab,
           "conventions say");
    expect(record, "params_active", top.params_active, paper->params_active, "conventions say");
    expect(record, "train_flops_per_token", top.train_flops_per_token, paper->train_flops_per_token,
           "conventions say");
    for (int i = 0; i < ISO_N_CONVENTIONS; i++) {
        iso_counts counts;
        const iso_record_counts *said = &record->counts[i];
        ISO_TRY(iso_count(&counts, &record->config.model, (iso_convention)i));
        char *prefix = iso_strf("conventions.%s", iso_convention_name((iso_convention)i));
        char *N = iso_strf("%s.params_nonvocab", prefix);
        char *N_a = iso_strf("%s.params_active", prefix);
        char *M = iso_strf("%s.train_flops_per_token", prefix);
        expect(record, N, said->params_nonvocab, counts.params_nonvocab, "the shape makes");
        expect(record, N_a, said->params_active, counts.params_active, "the shape makes");
        expect(record, M, said->train_flops_per_token, counts.train_flops_per_token,
               "the shape makes");
        if (i == 0)
            expect(record, "params_total", record->params_total, counts.params_total,
                   "the shape makes");
        free(M);
        free(N_a);
        free(N);
        free(prefix);
    }
    return ISO_OK;
}

/* What the op wrappers counted against shape x tokens, component by component. Each component is
 * compared under the first convention that has it in M. */
static iso_status check_counted(iso_record *record) {
    int64_t flops[ISO_N_COMPONENTS] = {0};
    for (int i = ISO_N_CONVENTIONS - 1; i >= 0; i--) {
        iso_counts counts;
        ISO_TRY(iso_count(&counts, &record->config.model, (iso_convention)i));
        for (int c = 0; c < ISO_N_COMPONENTS; c++)
            if (counts.components[c].forward_flops > 0)
                flops[c] = counts.components[c].forward_flops;
    }
    for (int c = 0; c < ISO_N_COMPONENTS; c++) {
        char *name = iso_strf("counted.model_flops.%s", iso_component_name((iso_component)c));
        expect(record, name, record->model_flops[c], (__int128)3 * flops[c] * record->tokens,
               "shape x tokens make");
        free(name);
    }
    return ISO_OK;
}

static void check_progress(iso_record *record, const iso_run *run) {
    const iso_config *config = &record->config;
    expect(record, "batch_tokens", record->batch_tokens, iso_config_batch_tokens(config),
           "batch_size x S make");
    expect(record, "tokens", record->tokens, (__int128)record->steps * record->batch_tokens,
           "steps x batch_tokens make");
    expect(record, "planned_steps", record->planned_steps, config->train.steps, "train.steps is");
    expect(record, "router_aux_group", record->router_aux_group, config->model.router_aux_group,
           "the model section says");
    if (record->unique_tokens > record->tokens)
        iso_str_appendf(&record->problems, "inconsistent: more unique tokens than tokens\n");
    if (record->peak_lr != iso_config_peak_lr(config))
        iso_str_appendf(&record->problems,
                        "inconsistent: lr is %.9g, the train section makes %.9g\n", record->peak_lr,
                        iso_config_peak_lr(config));
    if (run->n_steps > 0) {
        const iso_step_row *last = &run->steps[run->n_steps - 1];
        expect(record, "steps", record->steps, last->step, "the last row of metrics.jsonl says");
        expect(record, "tokens", record->tokens, last->tokens,
               "the last row of metrics.jsonl says");
    }
}

/* The sections must be those of config.yaml: that is what repeats the run. */
static void check_config_file(iso_record *record, const iso_run *run) {
    char *path = iso_strf("%s/" ISO_RUN_CONFIG, run->dir);
    char said[ISO_SHA256_HEX_BYTES], filed[ISO_SHA256_HEX_BYTES];
    iso_config config;
    iso_config_hash(said, &record->config);
    if (iso_config_load(&config, path, NULL, 0) != ISO_OK) {
        iso_str_appendf(&record->problems, "inconsistent: %s\n", iso_error_message());
    } else {
        iso_config_hash(filed, &config);
        if (strcmp(said, filed) != 0)
            iso_str_appendf(&record->problems, "inconsistent: " ISO_RUN_SUMMARY
                                               " and " ISO_RUN_CONFIG " describe different runs\n");
    }
    free(path);
}

static void check_end(iso_record *record) {
    if (strcmp(record->state, "finished") != 0)
        iso_str_appendf(&record->problems,
                        "not finished: state is %s after %" PRId64 " of %" PRId64 " steps\n",
                        record->state, record->steps, record->planned_steps);
    else if (record->steps != record->planned_steps)
        iso_str_appendf(&record->problems,
                        "not finished: %" PRId64 " steps done, %" PRId64 " planned\n",
                        record->steps, record->planned_steps);
    else if (isnan(record->bpb) || isnan(record->bpc))
        iso_str_appendf(&record->problems, "not finished: no final evaluation\n");
    if (record->skipped_steps > 0)
        iso_str_appendf(&record->problems, "%" PRId64 " steps were skipped\n",
                        record->skipped_steps);
}

iso_status iso_record_read(iso_record *out, const iso_run *run) {
    *out = (iso_record){0};
    char *what = iso_strf("%s/" ISO_RUN_SUMMARY, run->dir);
    iso_status status = read_form(out, run->summary, what);
    if (status == ISO_OK) {
        out->is_counted = true;
        out->is_dense = iso_shape_n_moe_layers(&out->config.model) == 0;
        status = check_counts(out, run->summary, what);
    }
    if (status == ISO_OK) status = check_counted(out);
    if (status == ISO_OK) {
        check_progress(out, run);
        check_config_file(out, run);
        check_end(out);
        double N = (double)out->counts[ISO_CONVENTION_PAPER].params_nonvocab;
        double D = (double)out->tokens;
        out->lr_over_steplaw = out->peak_lr / iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, N, D);
        out->batch_over_steplaw =
            (double)out->batch_tokens / iso_steplaw_batch_tokens(ISO_STEPLAW_UNROUNDED, D);
    }
    if (status != ISO_OK) iso_record_release(out);
    free(what);
    return status;
}

void iso_record_release(iso_record *record) {
    iso_str_release(&record->problems);
    *record = (iso_record){0};
}
