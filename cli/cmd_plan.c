/* isomoe plan: from a budget in people's units to models that can be trained as they stand. */
#include "cli.h"
#include "plan_view.h"

#include "base/fileio.h"
#include "data/dataset.h"
#include "report/plan_figure.h"
#include "study/budget_folder.h"
#include "study/budget_json.h"
#include "study/gap_rows.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a flag of numbers holds that was not given: no user means it. */
#define UNSET     INT64_MIN
#define UNSET_F64 (-HUGE_VAL)

typedef struct plan_args {
    const char *params, *compute, *data, *like, *throughput, *out, *plot;
    cli_list rates, fit, overrides;
    const char *layout, *steplaw, *precision, *scheme;
    int64_t expert_width, active_experts, min_active_experts, head_dim, seq_len, vocab_size;
    int64_t width_multiple, micro_batch;
    double aspect, mu, lr_multiplier;
    bool no_shared_expert, own_experts, json, csv, predict, extrapolate, force;
} plan_args;

/* --- from flags to a goal --- */

static iso_status set_positive(int64_t *out, const char *flag, int64_t value) {
    if (value == UNSET) return ISO_OK;
    if (value < 1 || value > INT32_MAX)
        return iso_fail(ISO_ERR_USAGE, "--%s: %" PRId64 " is impossible; give 1 to %d", flag, value,
                        INT32_MAX);
    *out = value;
    return ISO_OK;
}

static iso_status set_positive_f64(double *out, const char *flag, double value) {
    if (value == UNSET_F64) return ISO_OK;
    if (!(value > 0 && isfinite(value)))
        return iso_fail(ISO_ERR_USAGE, "--%s: %g is impossible; give a positive number", flag,
                        value);
    *out = value;
    return ISO_OK;
}

/* Keys that the plan decides, or that a flag sets. */
static iso_status check_overrides(const cli_list *overrides) {
    static const char *const planned[] = {
        "model.hidden_size",
        "model.num_hidden_layers",
        "model.num_attention_heads",
        "model.intermediate_size",
        "model.num_experts",
        "model.num_experts_per_tok",
        "model.layer_layout",
        "model.moe_intermediate_size",
        "train.tokens",
        "train.steps",
        "train.flops",
        "train.batch_size",
        "train.lr",
        "train.lr_multiplier",
        "train.micro_batch_size",
        "train.warmup_steps",
        "train.eval_every",
        "train.checkpoint_every",
        "data.dir",
        "data.unique_tokens",
        "model.shared_expert_intermediate_size",
    };
    for (int64_t i = 0; i < overrides->n; i++) {
        const char *key = overrides->items[i] + 2;
        size_t n = strcspn(key, "=");
        for (size_t j = 0; j < sizeof planned / sizeof *planned; j++)
            if (strlen(planned[j]) == n && strncmp(key, planned[j], n) == 0)
                return iso_fail(ISO_ERR_USAGE,
                                "--%s: that is what the plan decides; isomoe plan --help lists the "
                                "flags that steer it",
                                key);
    }
    return ISO_OK;
}

static bool sets_key(const cli_list *overrides, const char *key) {
    for (int64_t i = 0; i < overrides->n; i++) {
        const char *given = overrides->items[i] + 2;
        if (strncmp(given, key, strlen(key)) == 0 && given[strlen(key)] == '=') return true;
    }
    return false;
}

/* The settings that all models share; of --like, if there is one. */
static iso_status base_from(iso_budget_goal *goal, const plan_args *args, iso_config *like) {
    ISO_TRY(check_overrides(&args->overrides));
    ISO_TRY(iso_config_load(&goal->base, args->like, args->overrides.items, args->overrides.n));
    goal->norm_topk_by_size = !args->like && !sets_key(&args->overrides, "model.norm_topk_prob");
    goal->base.train.micro_batch_size = goal->base.model.router_aux_group;
    goal->base.data.unique_tokens = ISO_UNIQUE_TOKENS_ALL;
    if (!args->like) return ISO_OK;
    ISO_TRY(iso_config_load(like, args->like, NULL, 0));
    iso_status status = iso_config_resolve(like, NULL);
    if (status != ISO_OK) return iso_fail_context(status, "--like %s", args->like);
    goal->like = like;
    return ISO_OK;
}

/* The constraints that an MoE to be like has, where no flag says otherwise. */
static void shapes_from_like(iso_budget_goal *goal) {
    const iso_shape *m = &goal->like->model;
    goal->shapes.n_rates = m->layer_layout == ISO_LAYOUT_DENSE ? goal->shapes.n_rates : 0;
    if (m->layer_layout == ISO_LAYOUT_DENSE) return;
    goal->shapes.layout = m->layer_layout;
    goal->shapes.shared_expert = m->shared_expert_intermediate_size > 0;
}

static iso_status shapes_from(iso_budget_goal *goal, const plan_args *args) {
    iso_plan_goal *s = &goal->shapes;
    if (goal->like) shapes_from_like(goal);
    if (args->layout) iso_layout_from_name(&s->layout, args->layout);
    if (args->no_shared_expert) s->shared_expert = false;
    if (args->own_experts) s->same_experts = false;
    ISO_TRY(set_positive(&s->expert_width, "expert-width", args->expert_width));
    ISO_TRY(set_positive(&s->experts_per_token, "active-experts", args->active_experts));
    ISO_TRY(
        set_positive(&s->min_experts_per_token, "min-active-experts", args->min_active_experts));
    ISO_TRY(set_positive(&s->head_dim, "head-dim", args->head_dim));
    ISO_TRY(set_positive(&s->width_multiple, "width-multiple", args->width_multiple));
    ISO_TRY(set_positive_f64(&s->zeta, "aspect", args->aspect));
    ISO_TRY(set_positive_f64(&s->dense_zeta, "aspect", args->aspect));
    ISO_TRY(set_positive_f64(&s->mu, "mu", args->mu));
    if (args->rates.n > 0) s->n_rates = 0;
    for (int64_t i = 0; i < args->rates.n; i++)
        ISO_TRY(iso_quantity_rates(s->rates, &s->n_rates, ISO_PLAN_RATES_MAX, "--activation-rate",
                                   args->rates.items[i]));
    return ISO_OK;
}

/* --data DIR: vocabulary and tokens are the folder's; the configs name it by its full path. */
static iso_status data_from_folder(iso_budget_goal *goal, const plan_args *args) {
    iso_dataset dataset;
    ISO_TRY(iso_dataset_open(&dataset, args->data));
    int64_t n_ids = dataset.n_ids, n_tokens = dataset.train.n_tokens;
    iso_dataset_close(&dataset);
    char *path = realpath(args->data, NULL);
    bool fits = path && strlen(path) < sizeof goal->base.data.dir;
    if (fits) memcpy(goal->base.data.dir, path, strlen(path) + 1);
    free(path);
    if (!fits) return iso_fail(ISO_ERR_USAGE, "--data %s: its full path is too long", args->data);
    if (args->vocab_size != UNSET && args->vocab_size < n_ids)
        return iso_fail(ISO_ERR_USAGE,
                        "--vocab-size: %" PRId64 " where the tokenizer of --data %s has %" PRId64
                        " ids; leave it out, or give at least that",
                        args->vocab_size, args->data, n_ids);
    goal->base.model.vocab_size = n_ids;
    goal->text_tokens = n_tokens - 1; /* the last one is a target only */
    return ISO_OK;
}

static iso_status data_from(iso_budget_goal *goal, const plan_args *args) {
    if (!args->data) return ISO_OK;
    if (iso_path_is_dir(args->data)) return data_from_folder(goal, args);
    bool is_path =
        strchr(args->data, '/') || (args->data[0] == '.' && !isdigit((unsigned char)args->data[1]));
    if (is_path)
        return iso_fail(ISO_ERR_USAGE,
                        "--data `%.80s`: no such folder; `isomoe data prepare` makes one",
                        args->data);
    bool is_number = args->data[0] && strchr("0123456789.+- ", args->data[0]);
    if (!is_number && strcmp(args->data, "nan") != 0 && strcmp(args->data, "inf") != 0)
        return iso_fail(ISO_ERR_USAGE,
                        "--data `%.80s`: neither a number of tokens (200B) nor a folder made by "
                        "`isomoe data prepare`",
                        args->data);
    return iso_quantity_tokens(&goal->text_tokens, "--data", args->data);
}

static iso_status goal_from(iso_budget_goal *goal, const plan_args *args, iso_config *like) {
    *goal = iso_budget_goal_default();
    ISO_TRY(base_from(goal, args, like));
    if (args->params) ISO_TRY(iso_quantity_count(&goal->params, "--params", args->params));
    if (args->compute) ISO_TRY(iso_quantity_compute(&goal->compute, "--compute", args->compute));
    ISO_TRY(data_from(goal, args));
    if (args->throughput)
        ISO_TRY(iso_quantity_speed(&goal->speed, "--throughput", args->throughput));
    ISO_TRY(shapes_from(goal, args));
    ISO_TRY(set_positive(&goal->base.model.max_position_embeddings, "seq-len", args->seq_len));
    ISO_TRY(set_positive(&goal->base.model.vocab_size, "vocab-size", args->vocab_size));
    ISO_TRY(set_positive(&goal->base.train.micro_batch_size, "micro-batch", args->micro_batch));
    ISO_TRY(set_positive_f64(&goal->rule.lr_multiplier, "lr-multiplier", args->lr_multiplier));
    if (goal->base.train.micro_batch_size % goal->base.model.router_aux_group != 0)
        return iso_fail(ISO_ERR_USAGE,
                        "--micro-batch: %" PRId64 " is no multiple of the %" PRId64
                        " sequences that the balance loss is taken over (router_aux_group)",
                        goal->base.train.micro_batch_size, goal->base.model.router_aux_group);
    if (strcmp(args->steplaw, "rounded") == 0) goal->rule.law = ISO_STEPLAW_ROUNDED;
    /* A device's peak is that of bf16, so a budget of devices means it. */
    bool has_devices = goal->compute.speed.accelerator || goal->speed.accelerator;
    if (has_devices && !args->like && !sets_key(&args->overrides, "train.precision"))
        goal->base.train.precision = ISO_PRECISION_BF16;
    if (args->precision)
        goal->base.train.precision =
            strcmp(args->precision, "bf16") == 0 ? ISO_PRECISION_BF16 : ISO_PRECISION_FP32;
    for (int i = 0; iso_budget_scheme_names[i]; i++)
        if (strcmp(args->scheme, iso_budget_scheme_names[i]) == 0) goal->scheme = i;
    return ISO_OK;
}

/* --- the plan's products --- */

static iso_status write_plot(const iso_budget *budget, const char *path) {
    iso_str svg = {0};
    iso_plan_figure_draw(&svg, budget);
    iso_status status = iso_file_write_atomic(path, svg.data, (int64_t)svg.len);
    iso_str_release(&svg);
    return status;
}

static iso_status write_products(const iso_budget *budget, const plan_args *args,
                                 const char *command) {
    if (args->plot) ISO_TRY(write_plot(budget, args->plot));
    if (args->out) {
        iso_str markdown = {0};
        plan_view_markdown(&markdown, budget, command);
        iso_status status = iso_budget_folder_write(budget, args->out, markdown.data, args->force);
        iso_str_release(&markdown);
        ISO_TRY(status);
    }
    if (args->json) return cli_print_json(iso_budget_to_json(budget), CLI_JSON_EXACT);
    if (args->csv) {
        iso_str text = {0};
        iso_budget_to_csv(&text, budget);
        fputs(text.data, stdout);
        if (budget->refused) iso_log(ISO_LOG_WARN, "no %s", budget->refused);
        iso_str_release(&text);
        return ISO_OK;
    }
    plan_view_print(budget);
    if (args->out)
        printf("%" PRId64 " configs, study.yaml and plan.md are in %s%s\n", budget->n_models,
               args->out,
               budget->goal.base.data.dir[0] ? "" : "; they name no text: add --data.dir=PREPARED");
    return ISO_OK;
}

/* The paper's law, or the one of the user's own runs with the paper's as what it starts from. */
static iso_status law_from(iso_gap_law **out, const plan_args *args) {
    iso_gap_law *paper = NULL;
    iso_gap_row *rows = NULL;
    ISO_TRY(iso_gap_law_of_paper(&paper));
    if (args->fit.n == 0) {
        *out = paper;
        return ISO_OK;
    }
    iso_status status = iso_gap_rows_of_runs(&rows, args->fit.items, args->fit.n);
    if (status == ISO_OK) status = iso_gap_law_refit(out, rows, args->fit.n, paper);
    free(rows);
    iso_gap_law_free(paper);
    return status;
}

static iso_status predict(iso_budget *budget, iso_gap_law **law, const plan_args *args) {
    ISO_TRY(law_from(law, args));
    return iso_budget_predict(budget, *law, args->extrapolate);
}

static iso_status plan(const plan_args *args, const char *command) {
    iso_budget_goal goal;
    iso_config like;
    iso_budget *budget = NULL;
    iso_gap_law *law = NULL;
    bool predicts = args->predict || args->fit.n > 0;
    if (args->extrapolate && !predicts)
        return iso_fail(ISO_ERR_USAGE, "--extrapolate: there is nothing to extrapolate; add "
                                       "--predict, or --fit RUN...");
    if (args->json && args->csv)
        return iso_fail(ISO_ERR_USAGE, "--json and --csv both print on standard output; give one");
    ISO_TRY(goal_from(&goal, args, &like));
    ISO_TRY(iso_budget_create(&budget, &goal));
    iso_status status = predicts ? predict(budget, &law, args) : ISO_OK;
    if (status == ISO_OK) status = write_products(budget, args, command);
    iso_budget_free(budget);
    iso_gap_law_free(law);
    return status;
}

static plan_args usual_args(void) {
    return (plan_args){.steplaw = "unrounded",
                       .scheme = "strict",
                       .expert_width = UNSET,
                       .active_experts = UNSET,
                       .min_active_experts = UNSET,
                       .head_dim = UNSET,
                       .seq_len = UNSET,
                       .vocab_size = UNSET,
                       .width_multiple = UNSET,
                       .micro_batch = UNSET,
                       .aspect = UNSET_F64,
                       .mu = UNSET_F64,
                       .lr_multiplier = UNSET_F64};
}

static void release_args(plan_args *args) {
    cli_list_release(&args->rates);
    cli_list_release(&args->fit);
    cli_list_release(&args->overrides);
}

static iso_status plan_command(const plan_args *args, int argc, char **argv) {
    if ((args->out && !*args->out) || (args->plot && !*args->plot))
        return iso_fail(ISO_ERR_USAGE, "--%s: an empty name; give a %s",
                        args->out && !*args->out ? "out" : "plot",
                        args->out && !*args->out ? "folder" : "file");
    char *command = cli_command_line(argc, argv);
    iso_status status = plan(args, command);
    free(command);
    return status;
}

iso_status cmd_plan(int argc, char **argv) {
    static const char *const layouts[] = {"1dense", "full", "interleave", NULL};
    static const char *const laws[] = {"unrounded", "rounded", NULL};
    static const char *const precisions[] = {"fp32", "bf16", NULL};
    plan_args args = usual_args();
    const cli_flag flags[] = {
        {"params", CLI_STRING, &args.params, "N", "parameters without vocabulary: 7B, 2.15e9",
         NULL},
        {"compute", CLI_STRING, &args.compute, "C",
         "training FLOPs: 2.86e21, 8xH100@40%x10d, 1650tok/s x 3h (dense, measured)", NULL},
        {"data", CLI_STRING, &args.data, "D|DIR",
         "unique tokens at hand: 200B, or a prepared folder", NULL},
        {"like", CLI_STRING, &args.like, "CONFIG", "takes what is not given from that config",
         NULL},
        {"activation-rate", CLI_LIST, &args.rates, "R",
         "of the MoEs: 10%,0.2 or 0.1..0.5/9 (default 10,15,20,27,35,50 %)", NULL},
        {"scheme", CLI_CHOICE, &args.scheme, "NAME",
         "strict (default), loose or unique: the unique tokens of the configs",
         iso_budget_scheme_names},
        {"throughput", CLI_STRING, &args.throughput, "T",
         "for the hours: 8xH100@40%, or tok/s of the dense baseline", NULL},
        {"predict", CLI_BOOL, &args.predict, NULL,
         "the expected gap in bits per character, from the paper's runs", NULL},
        {"extrapolate", CLI_BOOL, &args.extrapolate, NULL, "predict beyond the fitted runs, too",
         NULL},
        {"fit", CLI_LIST, &args.fit, "RUN", "predict from these runs of your own instead", NULL},
        {"layout", CLI_CHOICE, &args.layout, "NAME", "1dense (default), full or interleave",
         layouts},
        {"expert-width", CLI_I64, &args.expert_width, "De", "of every routed expert", NULL},
        {"own-experts", CLI_BOOL, &args.own_experts, NULL, "each MoE may have a De of its own",
         NULL},
        {"active-experts", CLI_I64, &args.active_experts, "K", "of every MoE", NULL},
        {"min-active-experts", CLI_I64, &args.min_active_experts, "K", "at least so many", NULL},
        {"no-shared-expert", CLI_BOOL, &args.no_shared_expert, NULL, "routed experts only", NULL},
        {"head-dim", CLI_I64, &args.head_dim, "d", "width of a head (default by size)", NULL},
        {"seq-len", CLI_I64, &args.seq_len, "S", "context (default by size)", NULL},
        {"vocab-size", CLI_I64, &args.vocab_size, "V", "(default by size, or the folder's)", NULL},
        {"width-multiple", CLI_I64, &args.width_multiple, "W", "F and De are multiples of it",
         NULL},
        {"aspect", CLI_F64, &args.aspect, "ZETA", "hidden size over layers (default by size)",
         NULL},
        {"mu", CLI_F64, &args.mu, "MU", "expert widths over hidden size (default 22)", NULL},
        {"lr-multiplier", CLI_F64, &args.lr_multiplier, "X",
         "over Step Law (default 1; measured "
         "below 6e7 parameters)",
         NULL},
        {"steplaw", CLI_CHOICE, &args.steplaw, "NAME", "unrounded (default) or rounded constants",
         laws},
        {"precision", CLI_CHOICE, &args.precision, "NAME",
         "fp32 or bf16 (default: bf16 for devices by name, else fp32)", precisions},
        {"micro-batch", CLI_I64, &args.micro_batch, "B", "sequences at a time (default 8)", NULL},
        {"out", CLI_STRING, &args.out, "DIR", "writes configs, a study file and the plan there",
         NULL},
        {"force", CLI_BOOL, &args.force, NULL, "replaces the plan that is in DIR", NULL},
        {"plot", CLI_STRING, &args.plot, "FILE.svg", "draws it over the activation rate", NULL},
        {"json", CLI_BOOL, &args.json, NULL, "print JSON", NULL},
        {"csv", CLI_BOOL, &args.csv, NULL, "print a row per model", NULL},
    };
    const cli_usage usage = {
        .synopsis = "plan (two of --params N, --compute C, --data D | --like CONFIG) [...]",
        .summary =
            "From a budget to a dense model and MoEs that can be trained as they stand: equal\n"
            "parameters, equal compute, the same unique text.",
        .example = "isomoe plan --compute '8xH100@40%x10d' --data 200B --predict\n"
                   "isomoe plan --params 2.15B --compute 9.1e20 --activation-rate 0.1..0.5/9\n"
                   "isomoe plan --like configs/dense_tiny.yaml --out my-plan",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .overrides = &args.overrides,
        .more = iso_accelerator_help,
    };
    bool done;
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) status = plan_command(&args, argc, argv);
    release_args(&args);
    return status;
}
