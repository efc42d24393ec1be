/* Of a run that still goes on, summary.json tells the beginning only: steps, tokens and speed then
 * come from the rows of metrics.jsonl.
 */
#include "runs/index_row.h"

#include "data/dataset.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The speed of a run that goes on is that of its last steps: enough of them to be steady. */
#define RECENT_STEPS 20

#define INTEGER(field)                                                                             \
    { #field, offsetof(iso_index_row, field), ISO_INDEX_INTEGER }
#define REAL(field)                                                                                \
    { #field, offsetof(iso_index_row, field), ISO_INDEX_REAL }
#define TEXT(field)                                                                                \
    { #field, offsetof(iso_index_row, field), ISO_INDEX_TEXT }

const iso_index_column iso_index_columns[] = {
    INTEGER(run_id),
    TEXT(path),
    TEXT(name),
    TEXT(study),
    TEXT(side),
    INTEGER(seed),
    INTEGER(is_dense),
    TEXT(state),
    TEXT(message),
    TEXT(problems),
    TEXT(version),
    TEXT(numeric_profile),
    INTEGER(params_total),
    INTEGER(params_nonvocab),
    INTEGER(params_active),
    REAL(activation_rate),
    INTEGER(train_flops_per_token),
    REAL(train_flops),
    INTEGER(tokens),
    INTEGER(unique_tokens),
    REAL(epochs),
    INTEGER(steps),
    INTEGER(planned_steps),
    INTEGER(replayed_steps),
    INTEGER(skipped_steps),
    REAL(lr),
    REAL(lr_multiplier),
    REAL(lr_over_steplaw),
    INTEGER(batch),
    INTEGER(batch_tokens),
    REAL(batch_over_steplaw),
    REAL(loss),
    INTEGER(eval_step),
    REAL(eval_bpb),
    REAL(eval_bpc),
    REAL(bpb),
    REAL(bpc),
    REAL(wall_s),
    REAL(tokens_per_s),
    REAL(mfu),
    INTEGER(data_seed),
    INTEGER(vocab_size),
    INTEGER(hidden_size),
    INTEGER(num_hidden_layers),
    INTEGER(num_attention_heads),
    INTEGER(intermediate_size),
    INTEGER(max_position_embeddings),
    TEXT(layer_layout),
    INTEGER(num_experts),
    INTEGER(num_experts_per_tok),
    INTEGER(moe_intermediate_size),
    INTEGER(shared_expert_intermediate_size),
    INTEGER(norm_topk_prob),
    REAL(router_aux_loss_coef),
    INTEGER(router_aux_group),
    TEXT(config_hash),
    TEXT(data_hash),
    TEXT(subset_hash),
    TEXT(batch_hash),
    TEXT(tokenizer_hash),
    TEXT(validation_hash),
    INTEGER(changed_s),
    TEXT(signature),
};
const int iso_n_index_columns = (int)(sizeof iso_index_columns / sizeof *iso_index_columns);

enum { STUDY, SIDE, MESSAGE, PROBLEMS, PROFILE }; /* of iso_index_row.texts */

int64_t iso_index_curve_row(int64_t i_point, int64_t n_points, int64_t n_rows) {
    return n_points < 2 ? n_rows - 1 : (int64_t)((__int128)i_point * (n_rows - 1) / (n_points - 1));
}

/* --- what the path says --- */

/* The folder that holds the runs: DIR for DIR/runs/NAME and for DIR/NAME; "." at the top. */
static char *study_of(const char *path) {
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    static const char runs[] = "runs";
    size_t n = sizeof runs - 1;
    if (len >= n && memcmp(path + len - n, runs, n) == 0 && (len == n || path[len - n - 1] == '/'))
        len -= len == n ? n : n + 1;
    return len == 0 ? iso_strf(".") : iso_strf("%.*s", (int)len, path);
}

static const char *last_component(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A run's name without its seed: "moe-20" of "moe-20-s3". */
static char *side_of(const char *name, int64_t seed) {
    char *suffix = iso_strf("-s%" PRId64, seed);
    size_t n = strlen(name), n_suffix = strlen(suffix);
    bool has_it = n > n_suffix && strcmp(name + n - n_suffix, suffix) == 0;
    free(suffix);
    return iso_strf("%.*s", (int)(has_it ? n - n_suffix : n), name);
}

/* Without the root's name (I2), and without control characters but line ends: it goes to terminals.
 */
static char *message_of(const char *text, const char *root) {
    iso_str out = {0};
    size_t n_root = strlen(root);
    iso_str_append(&out, "");
    while (*text) {
        bool is_root = strncmp(text, root, n_root) == 0 && text[n_root] == '/';
        if (is_root && n_root > 0) {
            text += n_root + 1;
            continue;
        }
        bool is_control = ((unsigned char)*text < ' ' && *text != '\n') || *text == 0x7f;
        char c = is_control ? ' ' : *text;
        iso_str_append_bytes(&out, &c, 1);
        text++;
    }
    if (out.len > 0 && out.data[out.len - 1] == '\n') out.data[out.len - 1] = '\0';
    return out.data;
}

/* --- the ledger --- */

static double real_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Of a hash or a version: plain words only. */
static const char *word_of(const json_t *object, const char *key) {
    const char *word = json_string_value(json_object_get(object, key));
    for (const char *c = word; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) return NULL;
    return word;
}

static char *profile_of(const json_t *profile) {
    iso_str text = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)profile, key, value)
        iso_str_appendf(&text, "%s%s", text.len ? " " : "", json_string_value(value));
    return text.data;
}

static void take_shape(iso_index_row *row, const iso_shape *shape) {
    bool is_moe = !row->record.is_dense;
    row->vocab_size = shape->vocab_size;
    row->hidden_size = shape->hidden_size;
    row->num_hidden_layers = shape->num_hidden_layers;
    row->num_attention_heads = shape->num_attention_heads;
    row->intermediate_size = shape->intermediate_size;
    row->max_position_embeddings = shape->max_position_embeddings;
    row->layer_layout = iso_layout_name(shape->layer_layout);
    row->router_aux_group = shape->router_aux_group;
    if (!is_moe) return;
    row->num_experts = shape->num_experts;
    row->num_experts_per_tok = shape->num_experts_per_tok;
    row->moe_intermediate_size = shape->moe_intermediate_size;
    row->shared_expert_intermediate_size = shape->shared_expert_intermediate_size;
    row->norm_topk_prob = shape->norm_topk_prob;
    row->router_aux_loss_coef = shape->router_aux_loss_coef;
}

static void take_ledger(iso_index_row *row) {
    const iso_record *record = &row->record;
    const json_t *summary = row->run.summary;
    const iso_record_counts *paper = &record->counts[ISO_CONVENTION_PAPER];
    row->seed = record->config.train.seed;
    row->data_seed = record->config.data.seed;
    row->is_dense = record->is_dense;
    row->state = record->state;
    row->version = word_of(summary, "version");
    row->params_total = record->params_total;
    row->params_nonvocab = paper->params_nonvocab;
    row->params_active = paper->params_active;
    row->activation_rate = (double)paper->params_active / (double)paper->params_nonvocab;
    row->train_flops_per_token = paper->train_flops_per_token;
    row->tokens = record->tokens;
    row->unique_tokens = record->unique_tokens;
    row->steps = record->steps;
    row->planned_steps = record->planned_steps;
    row->replayed_steps = record->replayed_steps;
    row->skipped_steps = record->skipped_steps;
    row->lr = record->peak_lr;
    row->lr_multiplier = record->config.train.lr_multiplier;
    row->lr_over_steplaw = record->lr_over_steplaw;
    row->batch = record->config.train.batch_size;
    row->batch_tokens = record->batch_tokens;
    row->batch_over_steplaw = record->batch_over_steplaw;
    row->bpb = record->bpb;
    row->bpc = record->bpc;
    row->wall_s = real_of(summary, "wall_s");
    row->tokens_per_s = real_of(summary, "tokens_per_s");
    row->mfu = real_of(summary, "mfu");
    row->data_hash = record->data_hash;
    row->subset_hash = record->subset_hash;
    row->batch_hash = word_of(summary, "batch_hash");
    row->tokenizer_hash = record->tokenizer_hash;
    row->validation_hash = record->validation_hash;
    iso_config_hash(row->config_hash_hex, &record->config);
    row->config_hash = row->config_hash_hex;
    row->numeric_profile = row->texts[PROFILE] = profile_of(record->numeric_profile);
    take_shape(row, &record->config.model);
}

/* --- the rows --- */

/* Of a run that goes on: where it is, and how fast it goes. The ledger's words about that are those
 * of its last beginning. */
static void take_live_progress(iso_index_row *row) {
    const iso_run *run = &row->run;
    row->unique_tokens = ISO_INDEX_NONE;
    row->wall_s = row->tokens_per_s = row->mfu = NAN;
    if (run->n_steps == 0) return;
    const iso_step_row *last = &run->steps[run->n_steps - 1];
    double all_ms = 0, recent_ms = 0, recent_mfu = 0;
    int64_t n_recent = 0;
    for (int64_t i = run->n_steps - 1; i >= 0; i--) {
        all_ms += run->steps[i].step_ms;
        if (n_recent == RECENT_STEPS) continue;
        recent_ms += run->steps[i].step_ms;
        recent_mfu += run->steps[i].mfu;
        n_recent++;
    }
    row->steps = last->step;
    row->tokens = last->tokens;
    row->wall_s = 1e-3 * all_ms;
    row->mfu = recent_mfu / (double)n_recent;
    if (recent_ms > 0) row->tokens_per_s = 1e3 * (double)(n_recent * row->batch_tokens) / recent_ms;
}

static void take_last_evaluation(iso_index_row *row) {
    if (row->run.n_evals == 0) return;
    const iso_eval_row *eval = &row->run.evals[row->run.n_evals - 1];
    if (eval->n_scores == 0) return;
    iso_score headline = iso_eval_row_headline(eval);
    row->eval_step = eval->step;
    row->eval_bpb = headline.bpb;
    row->eval_bpc = headline.bpc;
}

static void take_rows(iso_index_row *row, const char *root) {
    bool goes_on = strcmp(row->state, "running") == 0;
    if (goes_on) take_live_progress(row);
    if (row->run.n_steps > 0) row->loss = row->run.steps[row->run.n_steps - 1].loss;
    take_last_evaluation(row);
    row->train_flops = (double)row->train_flops_per_token * (double)row->tokens;
    if (row->unique_tokens > 0) row->epochs = (double)row->tokens / (double)row->unique_tokens;
    /* The ledger of a run that goes on is behind its rows: no contradiction. */
    if (!goes_on && row->record.problems.len > 0)
        row->problems = row->texts[PROBLEMS] = message_of(row->record.problems.data, root);
}

/* --- the whole --- */

static void clear(iso_index_row *row) {
    *row = (iso_index_row){0};
    for (int i = 0; i < iso_n_index_columns; i++) {
        void *field = (char *)row + iso_index_columns[i].offset;
        if (iso_index_columns[i].type == ISO_INDEX_INTEGER) *(int64_t *)field = ISO_INDEX_NONE;
        if (iso_index_columns[i].type == ISO_INDEX_REAL) *(double *)field = NAN;
    }
}

static iso_status read_run(iso_index_row *row, const char *dir) {
    ISO_TRY(iso_run_open(&row->run, dir));
    iso_status status = iso_record_read(&row->record, &row->run);
    if (status != ISO_OK) iso_run_close(&row->run);
    return status;
}

void iso_index_row_read(iso_index_row *out, const char *root, const iso_run_place *place) {
    clear(out);
    char *dir = iso_run_tree_path(root, place->path);
    out->run_id = (int64_t)(XXH3_64bits(place->path, strlen(place->path)) >> 1);
    out->path = place->path;
    out->changed_s = place->changed_s;
    out->signature = place->signature;
    out->study = out->texts[STUDY] = study_of(place->path);
    out->is_readable = read_run(out, dir) == ISO_OK;
    if (out->is_readable) {
        take_ledger(out);
        take_rows(out, root);
        /* In the root itself a run without a name of its own would be called like the root. */
        bool is_named = json_object_get(out->run.summary, "name") || strcmp(place->path, ".") != 0;
        out->name = is_named ? out->run.name : ".";
    } else {
        out->name = last_component(place->path);
        out->state = "unreadable";
        out->message = out->texts[MESSAGE] = message_of(iso_error_message(), root);
    }
    out->side = out->texts[SIDE] = side_of(out->name, out->seed);
    free(dir);
}

void iso_index_row_release(iso_index_row *row) {
    for (size_t i = 0; i < sizeof row->texts / sizeof *row->texts; i++) free(row->texts[i]);
    if (row->is_readable) {
        iso_record_release(&row->record);
        iso_run_close(&row->run);
    }
    *row = (iso_index_row){0};
}
