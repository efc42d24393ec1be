#include "train/config.h"

#include "arch/count.h"
#include "base/options.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const char *const precision_names[] = {"fp32", "bf16", NULL};

_Static_assert(sizeof(iso_layout) == sizeof(int) && sizeof(iso_position) == sizeof(int) &&
                   sizeof(iso_precision) == sizeof(int),
               "the option table writes enums as int");

#define SIZE_MAX_VALUE 2147483647.0 /* arch/shape.c: one dimension */
#define COUNT_MAX      1e15

/* Tells the table where a field is and what it is called: the config key is the field's name. */
#define MODEL(field) .section = "model", .name = #field, .offset = offsetof(iso_config, model.field)
#define DATA(field)  .section = "data", .name = #field, .offset = offsetof(iso_config, data.field)
#define TRAIN(field) .section = "train", .name = #field, .offset = offsetof(iso_config, train.field)
#define SIZE         .type = ISO_OPTION_I64, .min = 0, .max = SIZE_MAX_VALUE
#define COUNT        .type = ISO_OPTION_I64, .min = 0, .max = COUNT_MAX
#define POSITIVE     .type = ISO_OPTION_F64, .min = 0, .max = HUGE_VAL, .flags = ISO_OPTION_MIN_OPEN

static const iso_option options[] = {
    {MODEL(vocab_size), SIZE, .unit = "tokens", .help = "V, as the tokenizer of data.dir has it"},
    {MODEL(hidden_size), SIZE, .help = "H, width of the residual stream"},
    {MODEL(num_hidden_layers), SIZE, .help = "L"},
    {MODEL(num_attention_heads), SIZE, .help = "A, divides hidden_size"},
    {MODEL(intermediate_size), SIZE, .help = "F, width of the dense layers' FFN"},
    {MODEL(max_position_embeddings), SIZE, .unit = "tokens", .help = "S, length of a sequence"},
    {MODEL(position), .type = ISO_OPTION_ENUM, .names = iso_position_names,
     .help = "how positions enter attention"},
    {MODEL(alibi_sqrt), .type = ISO_OPTION_BOOL,
     .help = "ALiBi bias -m sqrt(i-j) instead of -m (i-j)"},
    {MODEL(rope_theta), POSITIVE, .help = "RoPE base"},
    {MODEL(rms_norm_eps), POSITIVE, .help = "RMSNorm epsilon"},
    {MODEL(tie_word_embeddings), .type = ISO_OPTION_BOOL,
     .help = "the head is the embedding matrix"},
    {MODEL(initializer_range), POSITIVE, .help = "standard deviation of the initial weights"},
    {MODEL(num_experts), SIZE, .help = "E, routed experts of an MoE layer"},
    {MODEL(num_experts_per_tok), SIZE, .help = "K, routed experts that a token uses"},
    {MODEL(moe_intermediate_size), SIZE, .help = "De, width of a routed expert"},
    {MODEL(shared_expert_intermediate_size), SIZE,
     .help = "Dse, width of the shared expert; 0 for none"},
    {MODEL(layer_layout), .type = ISO_OPTION_ENUM, .names = iso_layout_names,
     .help = "which layers are MoE"},
    {MODEL(norm_topk_prob), .type = ISO_OPTION_BOOL,
     .help = "gates of the chosen experts sum to 1"},
    {MODEL(router_aux_loss_coef), .type = ISO_OPTION_F64, .min = 0, .max = HUGE_VAL,
     .help = "weight of the balance loss (f divided by K; 1 is balanced)"},
    {MODEL(router_aux_group), .type = ISO_OPTION_I64, .min = 1, .max = SIZE_MAX_VALUE,
     .unit = "sequences", .help = "the balance loss is an average over groups this large"},

    {DATA(dir), .type = ISO_OPTION_STRING, .size = ISO_CONFIG_PATH_BYTES,
     .flags = ISO_OPTION_UNHASHED, .help = "a folder made by `isomoe data prepare`"},
    {DATA(unique_tokens), COUNT, .keyword = "all", .keyword_value = ISO_UNIQUE_TOKENS_ALL,
     .unit = "tokens", .help = "D-hat, the size of the subset that is repeated"},
    {DATA(seed), COUNT, .help = "chooses the subset and the order of every epoch"},

    {TRAIN(tokens), .type = ISO_OPTION_I64, .min = 1, .max = COUNT_MAX,
     .flags = ISO_OPTION_OPTIONAL, .unit = "tokens",
     .help = "how long to train; or give steps, or flops"},
    {TRAIN(steps), .type = ISO_OPTION_I64, .min = 1, .max = COUNT_MAX, .flags = ISO_OPTION_OPTIONAL,
     .help = "how long to train, in optimizer steps"},
    {TRAIN(flops), .type = ISO_OPTION_F64, .min = 0, .max = HUGE_VAL,
     .flags = ISO_OPTION_OPTIONAL | ISO_OPTION_MIN_OPEN,
     .help = "how long to train, in training FLOPs by the convention paper"},
    {TRAIN(batch_size), SIZE, .keyword = "steplaw", .keyword_value = ISO_BATCH_STEPLAW,
     .unit = "sequences", .help = "sequences per optimizer step"},
    {TRAIN(micro_batch_size), SIZE, .keyword = "all", .keyword_value = ISO_MICRO_BATCH_WHOLE,
     .unit = "sequences",
     .help = "sequences at a time; divides batch_size, a multiple of router_aux_group"},
    {TRAIN(lr), .type = ISO_OPTION_F64, .min = 0, .max = 10, .flags = ISO_OPTION_MIN_OPEN,
     .keyword = "steplaw", .keyword_value = ISO_LR_STEPLAW,
     .help = "learning rate; the peak is lr x lr_multiplier"},
    {TRAIN(lr_multiplier), .type = ISO_OPTION_F64, .min = 0, .max = 1000,
     .flags = ISO_OPTION_MIN_OPEN, .help = "scales lr"},
    {TRAIN(min_lr), .type = ISO_OPTION_F64, .min = 0, .max = 10,
     .help = "where the cosine ends, absolute"},
    {TRAIN(warmup_steps), COUNT, .keyword = "auto", .keyword_value = ISO_WARMUP_AUTO,
     .help = "linear warmup; auto is 1 % of the steps, 200 to 2000, at most a tenth"},
    {TRAIN(weight_decay), .type = ISO_OPTION_F64, .min = 0, .max = HUGE_VAL,
     .help = "decoupled, on matrices only"},
    {TRAIN(betas), .type = ISO_OPTION_F64, .count = 2, .min = 0, .max = 1,
     .flags = ISO_OPTION_MAX_OPEN, .help = "of AdamW"},
    {TRAIN(eps), POSITIVE, .help = "of AdamW"},
    {TRAIN(grad_clip), .type = ISO_OPTION_F64, .min = 0, .max = HUGE_VAL,
     .help = "largest global norm of the gradient; 0 clips nothing"},
    {TRAIN(precision), .type = ISO_OPTION_ENUM, .names = precision_names,
     .help = "of what matrix products read and write; bf16 needs AVX512-BF16"},
    {TRAIN(seed), COUNT, .help = "of the initial weights"},
    {TRAIN(threads), .type = ISO_OPTION_I64, .min = 0, .max = 256, .keyword = "all",
     .keyword_value = ISO_THREADS_ALL, .flags = ISO_OPTION_UNHASHED,
     .help = "never changes a result"},
    {TRAIN(checkpoint_every), COUNT, .keyword = "never", .keyword_value = ISO_EVERY_NEVER,
     .flags = ISO_OPTION_UNHASHED, .unit = "steps", .help = "one is always written at the end"},
    {TRAIN(keep_last), .type = ISO_OPTION_I64, .min = 1, .max = 1e6, .flags = ISO_OPTION_UNHASHED,
     .help = "how many checkpoints are kept"},
    {TRAIN(eval_every), COUNT, .keyword = "never", .keyword_value = ISO_EVERY_NEVER,
     .unit = "steps", .help = "one evaluation always comes at the end"},
    {TRAIN(eval_tokens), COUNT, .keyword = "all", .keyword_value = ISO_EVAL_TOKENS_ALL,
     .unit = "tokens", .help = "validation tokens per domain during training"},
    {TRAIN(final_eval_tokens), COUNT, .keyword = "all", .keyword_value = ISO_EVAL_TOKENS_ALL,
     .unit = "tokens", .help = "validation tokens per domain at the end"},
};

iso_config iso_config_default(void) {
    return (iso_config){
        .model = iso_shape_default(),
        .data = {.unique_tokens = ISO_UNIQUE_TOKENS_ALL, .seed = 1},
        .train =
            {
                .batch_size = ISO_BATCH_STEPLAW,
                .micro_batch_size = ISO_MICRO_BATCH_WHOLE,
                .lr = ISO_LR_STEPLAW,
                .lr_multiplier = 1.0,
                .min_lr = 1e-5,
                .warmup_steps = ISO_WARMUP_AUTO,
                .weight_decay = 0.1,
                .betas = {0.9, 0.95},
                .eps = 1e-8,
                .grad_clip = 1.0,
                .precision = ISO_PRECISION_FP32,
                .seed = 1,
                .threads = ISO_THREADS_ALL,
                .checkpoint_every = 500,
                .keep_last = 2,
                .eval_every = 200,
                .eval_tokens = 50000,
                .final_eval_tokens = 500000,
            },
    };
}

static iso_option_table table_of(const iso_config *defaults) {
    return (iso_option_table){options, sizeof options / sizeof *options, defaults};
}

/* --- loading --- */

static iso_status apply(iso_config *out, const iso_yaml *root, const char *what,
                        const char *const *overrides, int64_t n_overrides) {
    iso_config config = iso_config_default();
    iso_option_table table = table_of(NULL);
    if (root) ISO_TRY(iso_options_read(&table, &config, root, what));
    for (int64_t i = 0; i < n_overrides; i++)
        ISO_TRY(iso_options_set(&table, &config, overrides[i]));
    *out = config;
    return ISO_OK;
}

iso_status iso_config_load(iso_config *out, const char *path, const char *const *overrides,
                           int64_t n_overrides) {
    iso_yaml *root = NULL;
    if (path && !iso_path_exists(path))
        return iso_fail(ISO_ERR_USAGE, "there is no config %s; configs/ has examples", path);
    if (path) ISO_TRY(iso_yaml_load(&root, path));
    iso_status status = apply(out, root, path, overrides, n_overrides);
    iso_yaml_free(root);
    return status;
}

iso_status iso_config_parse(iso_config *out, const char *text, int64_t n_bytes, const char *what,
                            const char *const *overrides, int64_t n_overrides) {
    iso_yaml *root = NULL;
    ISO_TRY(iso_yaml_parse(&root, text, n_bytes, what));
    iso_status status = apply(out, root, what, overrides, n_overrides);
    iso_yaml_free(root);
    return status;
}

iso_status iso_config_read(iso_config *config, const iso_yaml *root, const char *what) {
    iso_option_table table = table_of(NULL);
    return iso_options_read(&table, config, root, what);
}

iso_status iso_config_set(iso_config *config, const char *assignment) {
    iso_option_table table = table_of(NULL);
    return iso_options_set(&table, config, assignment);
}

/* --- resolving --- */

static iso_status check_length(const iso_train_config *train) {
    int n_given = (train->tokens > 0) + (train->steps > 0) + (train->flops > 0);
    if (n_given == 1) return ISO_OK;
    if (n_given == 0)
        return iso_fail(ISO_ERR_USAGE, "train: how long? Give one of tokens, steps, flops");
    return iso_fail(ISO_ERR_USAGE,
                    "train: tokens, steps and flops each say how long to train, and %d of them are "
                    "given; keep one",
                    n_given);
}

static iso_status check_micro_batch(const iso_config *config) {
    int64_t batch = config->train.batch_size, micro = config->train.micro_batch_size;
    int64_t group = config->model.router_aux_group;
    if (batch % micro != 0)
        return iso_fail(ISO_ERR_USAGE,
                        "train.micro_batch_size: %" PRId64 " does not divide batch_size %" PRId64,
                        micro, batch);
    if (config->model.layer_layout == ISO_LAYOUT_DENSE || micro % group == 0) return ISO_OK;
    if (group > batch)
        return iso_fail(
            ISO_ERR_USAGE,
            "model.router_aux_group: groups of %" PRId64 " sequences do not fit the batch of "
            "%" PRId64 "; lower router_aux_group on all sides of the comparison, or raise "
            "train.batch_size",
            group, batch);
    return iso_fail(ISO_ERR_USAGE,
                    "train.micro_batch_size: %" PRId64
                    " is not a multiple of model.router_aux_group "
                    "%" PRId64 ", over which the balance loss is taken",
                    micro, group);
}

/* The tokens asked for; 0 when steps are given and the batch is not known yet. */
static double tokens_asked(const iso_config *config, const iso_counts *counts) {
    const iso_train_config *train = &config->train;
    if (train->tokens > 0) return (double)train->tokens;
    if (train->flops > 0) return train->flops / (double)counts->train_flops_per_token;
    return (double)train->steps * (double)train->batch_size *
           (double)config->model.max_position_embeddings;
}

static iso_status fail_too_long(double tokens) {
    return iso_fail(ISO_ERR_USAGE,
                    "train: %.3g tokens are more than can be counted; give at most %g", tokens,
                    COUNT_MAX);
}

int64_t iso_config_law_batch(const iso_config *config, iso_steplaw law, double tokens) {
    int64_t unit = config->train.micro_batch_size == ISO_MICRO_BATCH_WHOLE
                       ? config->model.router_aux_group
                       : config->train.micro_batch_size;
    double sequences =
        iso_steplaw_batch_tokens(law, tokens) / (double)config->model.max_position_embeddings;
    return unit * (int64_t)fmax(1.0, round(sequences / (double)unit));
}

static iso_status resolve_batch(iso_config *config, double tokens) {
    iso_train_config *train = &config->train;
    if (train->batch_size == ISO_BATCH_STEPLAW) {
        if (train->steps > 0)
            return iso_fail(ISO_ERR_USAGE, "train.batch_size: Step Law derives the batch from the "
                                           "tokens, which steps do not tell; give batch_size, or "
                                           "train.tokens instead of train.steps");
        train->batch_size = iso_config_law_batch(config, ISO_STEPLAW_UNROUNDED, tokens);
    }
    if (train->micro_batch_size == ISO_MICRO_BATCH_WHOLE)
        train->micro_batch_size = train->batch_size;
    return check_micro_batch(config);
}

static iso_status resolve_steps(iso_config *config, double tokens) {
    iso_train_config *train = &config->train;
    double batch_tokens = (double)train->batch_size * (double)config->model.max_position_embeddings;
    double steps =
        train->steps > 0 ? (double)train->steps : fmax(1.0, round(tokens / batch_tokens));
    if (steps * batch_tokens > COUNT_MAX) return fail_too_long(steps * batch_tokens);
    train->steps = (int64_t)steps;
    train->tokens = 0;
    train->flops = 0.0;
    return ISO_OK;
}

static int64_t auto_warmup(int64_t steps) {
    int64_t warmup = llround(0.01 * (double)steps);
    warmup = warmup < 200 ? 200 : warmup > 2000 ? 2000 : warmup;
    return warmup < steps / 10 ? warmup : steps / 10;
}

static iso_status resolve_schedule(iso_config *config, const iso_counts *counts) {
    iso_train_config *train = &config->train;
    if (train->lr == ISO_LR_STEPLAW)
        train->lr = iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, (double)counts->params_nonvocab,
                                   (double)iso_config_tokens(config));
    double peak = iso_config_peak_lr(config);
    if (train->min_lr > peak)
        return iso_fail(
            ISO_ERR_USAGE,
            "train.min_lr: %g is above the peak learning rate %g (lr %g x lr_multiplier %g); "
            "the schedule falls from the peak to min_lr",
            train->min_lr, peak, train->lr, train->lr_multiplier);
    if (train->warmup_steps == ISO_WARMUP_AUTO) train->warmup_steps = auto_warmup(train->steps);
    if (train->warmup_steps >= train->steps)
        return iso_fail(ISO_ERR_USAGE,
                        "train.warmup_steps: %" PRId64 " leave nothing of a run of %" PRId64
                        " steps; give "
                        "fewer, or auto",
                        train->warmup_steps, train->steps);
    return ISO_OK;
}

static void warn(iso_str *warnings, const iso_config *config, const iso_counts *counts,
                 bool from_law) {
    const iso_shape *model = &config->model;
    double N = (double)counts->params_nonvocab, D = (double)iso_config_tokens(config);
    char params[32], tokens[32];
    if (from_law && !iso_steplaw_in_range(N, D, model->layer_layout != ISO_LAYOUT_DENSE))
        iso_str_appendf(
            warnings,
            "Step Law was fitted from 60M to 1.07B parameters (2.15B MoE) and from 2e9 to "
            "1e11 tokens; %s parameters on %s tokens are outside: measure train.lr_multiplier\n",
            iso_str_count(params, N), iso_str_count(tokens, D));
    double gamma = iso_shape_ratios(model).gamma;
    if (gamma < 0.5 || gamma > 1.5)
        iso_str_appendf(
            warnings,
            "max_position_embeddings / hidden_size is %.2f; outside 0.5 to 1.5 attention is "
            "weighted unlike in the models this comparison is about\n",
            gamma);
    int64_t vocabulary = iso_count_params(model, ISO_COMPONENT_EMBEDDING) +
                         iso_count_params(model, ISO_COMPONENT_HEAD);
    if (vocabulary > counts->params_nonvocab)
        iso_str_appendf(
            warnings,
            "the vocabulary has %s parameters, more than the %s that are compared; use a "
            "smaller vocabulary or a larger model\n",
            iso_str_count(params, (double)vocabulary), iso_str_count(tokens, N));
    int64_t scores = counts->components[ISO_COMPONENT_ATTENTION_SCORES].forward_flops;
    if (2 * scores > counts->forward_flops_per_token)
        iso_str_appendf(
            warnings,
            "attention scores are %.0f %% of the compute, more than all matrices together; "
            "shorten max_position_embeddings\n",
            100.0 * (double)scores / (double)counts->forward_flops_per_token);
}

iso_status iso_config_resolve(iso_config *config, iso_str *warnings) {
    iso_config resolved = *config;
    bool from_law =
        resolved.train.lr == ISO_LR_STEPLAW || resolved.train.batch_size == ISO_BATCH_STEPLAW;
    iso_counts counts;
    ISO_TRY(iso_count(&counts, &resolved.model, ISO_CONVENTION_PAPER));
    ISO_TRY(check_length(&resolved.train));
    double tokens = tokens_asked(&resolved, &counts);
    if (tokens > COUNT_MAX) return fail_too_long(tokens);
    ISO_TRY(resolve_batch(&resolved, tokens));
    ISO_TRY(resolve_steps(&resolved, tokens));
    ISO_TRY(resolve_schedule(&resolved, &counts));
    if (warnings) warn(warnings, &resolved, &counts, from_law);
    *config = resolved;
    return ISO_OK;
}

double iso_config_peak_lr(const iso_config *config) {
    return config->train.lr * config->train.lr_multiplier;
}

int64_t iso_config_batch_tokens(const iso_config *config) {
    return config->train.batch_size * config->model.max_position_embeddings;
}

int64_t iso_config_tokens(const iso_config *config) {
    return config->train.steps * iso_config_batch_tokens(config);
}

/* --- writing --- */

void iso_config_to_yaml(iso_str *out, const iso_config *config) {
    iso_option_table table = table_of(NULL);
    iso_options_to_yaml(&table, config, out);
}

iso_status iso_config_save(const iso_config *config, const char *path) {
    iso_str text = {0};
    iso_config_to_yaml(&text, config);
    iso_status status = iso_file_write_atomic(path, text.data, (int64_t)text.len);
    iso_str_release(&text);
    return status;
}

json_t *iso_config_to_json(const iso_config *config) {
    iso_option_table table = table_of(NULL);
    json_t *object = json_object();
    ISO_ASSERT(object != NULL);
    json_object_set_new(object, "model", iso_options_to_json(&table, config, "model"));
    json_object_set_new(object, "data", iso_options_to_json(&table, config, "data"));
    json_object_set_new(object, "train", iso_options_to_json(&table, config, "train"));
    return object;
}

void iso_config_hash(char hex[ISO_SHA256_HEX_BYTES], const iso_config *config) {
    iso_option_table table = table_of(NULL);
    iso_options_hash(hex, &table, config);
}

void iso_config_help(iso_str *out) {
    iso_config defaults = iso_config_default();
    iso_option_table table = table_of(&defaults);
    iso_options_help(&table, out);
}

const char *iso_precision_name(iso_precision precision) {
    return precision_names[precision];
}
