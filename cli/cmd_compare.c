/* isomoe compare: the main job on one's own text - prepare, plan, train every side, audit, report.
 */
#include "cli.h"

#include "arch/count.h"
#include "base/threads.h"
#include "data/dataset.h"
#include "data/prepare.h"
#include "ops/ops.h"
#include "report/report.h"
#include "study/answer.h"
#include "study/comparison.h"
#include "study/executor.h"
#include "train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One training document in so many is held out: on the few megabytes of a small comparison the
 * usual 1 in 200 would leave some dozens of documents, and their choice would decide the score. */
#define HOLDOUT_ONE_IN 40

typedef struct compare_args {
    cli_list texts, vals;
    const char *out, *tokenizer, *precision;
    double minutes, tokens_per_param;
    int64_t params, jobs;
    bool plan_only;
} compare_args;

static volatile sig_atomic_t stop_requested;

static void request_stop(int signal_number) {
    stop_requested = signal_number;
}

static void catch_signals(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGUSR1};
    struct sigaction action = {.sa_handler = request_stop};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

static void heading(int step, const char *text) {
    fprintf(stderr, "%s[%d/4]%s %s\n", cli_styled(stderr, CLI_BOLD), step,
            cli_styled(stderr, CLI_PLAIN), text);
}

/* --- 1: text --- */

static void show_prepare(void *ctx, const char *phase, int64_t done, int64_t total) {
    cli_progress *progress = ctx;
    progress->total = total;
    cli_progress_update(progress, done, phase);
}

typedef struct val_inputs {
    iso_text_input *inputs;
    const char **paths;
    char **names;
    int64_t n;
} val_inputs;

static void val_inputs_release(val_inputs *v) {
    for (int64_t i = 0; i < v->n; i++) free(v->names[i]);
    free(v->names);
    free(v->paths);
    free(v->inputs);
}

/* Each "NAME=PATH" is a domain of one path. */
static iso_status val_inputs_parse(val_inputs *v, const cli_list *vals) {
    size_t room = (size_t)vals->n + 1;
    *v = (val_inputs){.inputs = calloc(room, sizeof *v->inputs),
                      .paths = calloc(room, sizeof *v->paths),
                      .names = calloc(room, sizeof *v->names)};
    if (!v->inputs || !v->paths || !v->names)
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate the list of texts");
    for (int64_t i = 0; i < vals->n; i++) {
        const char *equals = strchr(vals->items[i], '=');
        if (!equals || equals == vals->items[i] || !equals[1])
            return iso_fail(ISO_ERR_USAGE, "--val %s: write NAME=PATH, as in news=val/news.jsonl",
                            vals->items[i]);
        v->names[i] = strndup(vals->items[i], (size_t)(equals - vals->items[i]));
        v->paths[i] = equals + 1;
        v->inputs[i] = (iso_text_input){.name = v->names[i], .paths = &v->paths[i], .n_paths = 1};
        v->n++;
    }
    return ISO_OK;
}

static iso_status prepare(const compare_args *args, const char *data_dir) {
    val_inputs vals;
    iso_prepare_result result;
    iso_status status = val_inputs_parse(&vals, &args->vals);
    if (status == ISO_OK) {
        cli_progress progress;
        iso_prepare_options options = iso_prepare_options_default();
        options.tokenizer = args->tokenizer;
        options.train = (iso_text_input){.paths = args->texts.items, .n_paths = args->texts.n};
        options.domains = vals.inputs;
        options.n_domains = vals.n;
        options.out_dir = data_dir;
        options.holdout_one_in = HOLDOUT_ONE_IN;
        options.progress = show_prepare;
        options.progress_ctx = &progress;
        cli_progress_start(&progress, "preparing text", "bytes", 0, 0);
        status = iso_data_prepare(&options, &result);
        cli_progress_finish(&progress);
    }
    val_inputs_release(&vals);
    return status;
}

/* --- 2: plan --- */

static json_t *goal_json(const compare_args *args, const char *data_hash) {
    return json_pack("{ss sf sf sI ss}", "data_hash", data_hash, "minutes", args->minutes,
                     "tokens_per_param", args->tokens_per_param, "params", (json_int_t)args->params,
                     "precision", args->precision);
}

/* bf16 wherever the processor multiplies it (docs/decisions/0016-precision-of-compare.md). What was
 * chosen is in the configs: a comparison goes on in it, on any machine. */
static iso_precision precision_of(const char *asked) {
    bool has_bf16 = strcmp(iso_exec_isa(ISO_BF16), "none") != 0;
    bool in_bf16 = strcmp(asked, "auto") == 0 ? has_bf16 : strcmp(asked, "bf16") == 0;
    return in_bf16 ? ISO_PRECISION_BF16 : ISO_PRECISION_FP32;
}

static iso_status make_plan(const compare_args *args, const char *data_dir,
                            const iso_dataset *dataset, const json_t *goal_record) {
    iso_compare_plan plan;
    iso_compare_goal goal = iso_compare_goal_default();
    goal.data_dir = data_dir;
    goal.vocab_size = dataset->n_ids;
    goal.text_tokens = dataset->train.n_tokens;
    goal.minutes = args->minutes;
    goal.params = args->params;
    goal.tokens_per_param = args->tokens_per_param;
    goal.n_parallel = (int)args->jobs;
    goal.precision = precision_of(args->precision);
    ISO_TRY(iso_compare_plan_make(&plan, &goal));
    return iso_comparison_write(args->out, &plan, goal_record);
}

/* The plan that is there if it answers the same question, else a fresh one. */
static iso_status plan(const compare_args *args, const char *data_dir, iso_comparison *out) {
    iso_dataset dataset;
    ISO_TRY(iso_dataset_open(&dataset, data_dir));
    json_t *goal = goal_json(args, dataset.hash);
    iso_status status = ISO_OK;
    if (!iso_comparison_exists(args->out)) status = make_plan(args, data_dir, &dataset, goal);
    if (status == ISO_OK) status = iso_comparison_open(out, args->out);
    if (status == ISO_OK && !json_equal(out->goal, goal)) {
        iso_comparison_close(out);
        status =
            iso_fail(ISO_ERR_USAGE,
                     "%s holds a comparison of other text, budget or precision; choose another "
                     "--out, or remove that folder",
                     args->out);
    }
    json_decref(goal);
    iso_dataset_close(&dataset);
    return status;
}

static void print_plan(const iso_comparison *c) {
    static const char *const headers[] = {"side", "H",      "L",      "experts", "N",     "active",
                                          "C",    "tokens", "epochs", "steps",   "seeds", "each"};
    char text[32];
    cli_table table;
    cli_table_init(&table, headers, 12);
    for (int64_t i = 0; i < c->n_runs; i++) {
        const iso_comparison_run *run = &c->runs[i];
        const iso_shape *s = &run->config.model;
        iso_counts counts;
        int64_t n_seeds = 1;
        while (i + 1 < c->n_runs && c->runs[i + 1].config.train.seed > run->config.train.seed)
            i++, n_seeds++;
        if (iso_count(&counts, s, ISO_CONVENTION_PAPER) != ISO_OK) continue;
        int64_t tokens = iso_config_tokens(&run->config);
        /* "moe-20-s1" without its seed */
        cli_table_addf(&table, "%.*s", (int)(strrchr(run->name, '-') - run->name), run->name);
        cli_table_addf(&table, "%" PRId64, s->hidden_size);
        cli_table_addf(&table, "%" PRId64, s->num_hidden_layers);
        if (s->num_experts > 0)
            cli_table_addf(&table, "%" PRId64 " of %" PRId64, s->num_experts_per_tok,
                           s->num_experts);
        else
            cli_table_add(&table, "-");
        cli_table_addf(&table, "%" PRId64, counts.params_nonvocab);
        cli_table_addf(&table, "%.1f %%", 100 * counts.activation_rate);
        cli_table_addf(&table, "%.4g", iso_train_flops(counts.train_flops_per_token, tokens));
        cli_table_add(&table, iso_str_count(text, (double)tokens));
        cli_table_addf(&table, "%.2f", (double)tokens / (double)run->config.data.unique_tokens);
        cli_table_addf(&table, "%" PRId64, run->config.train.steps);
        cli_table_addf(&table, "%" PRId64, n_seeds);
        cli_table_add(&table, iso_str_duration(text, run->expected_s));
    }
    cli_table_print(&table, stderr);
    cli_table_release(&table);
    fprintf(stderr, "about %.0f minutes of training in %s on this machine\n",
            ceil(c->expected_minutes), iso_precision_name(c->runs[0].config.train.precision));
}

/* --- 3: training --- */

typedef struct view {
    cli_progress progress;
    bool *told; /* (n_jobs) */
} view;

static void show_jobs(void *ctx, const iso_job *jobs, int64_t n_jobs) {
    view *v = ctx;
    double done = 0;
    int64_t n_done = 0;
    iso_str note = {0};
    for (int64_t i = 0; i < n_jobs; i++) {
        const iso_job *job = &jobs[i];
        done += job->cost * (double)job->step / (double)job->n_steps;
        n_done += job->state == ISO_JOB_DONE;
        if (job->state == ISO_JOB_RUNNING)
            iso_str_appendf(&note, "%s%s %.0f %%", note.len ? ", " : "", job->name,
                            100.0 * (double)job->step / (double)job->n_steps);
        if (job->state != ISO_JOB_WAITING && job->state != ISO_JOB_RUNNING && !v->told[i]) {
            v->told[i] = true;
            iso_log(ISO_LOG_INFO, "  %s: %s", job->name,
                    job->state == ISO_JOB_DONE        ? "done"
                    : job->state == ISO_JOB_PREEMPTED ? "stopped, checkpoint saved"
                                                      : "FAILED");
        }
    }
    char *text =
        iso_strf("%" PRId64 "/%" PRId64 " done; %s", n_done, n_jobs, note.data ? note.data : "");
    cli_progress_update(&v->progress, (int64_t)done, text);
    free(text);
    iso_str_release(&note);
}

static iso_status train_all(const compare_args *args, const iso_comparison *c) {
    iso_job *jobs = calloc((size_t)c->n_runs, sizeof *jobs);
    view v = {.told = calloc((size_t)c->n_runs, sizeof *v.told)};
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    double cost = 0;
    if (!jobs || !v.told || n <= 0) {
        free(jobs);
        free(v.told);
        return iso_fail(ISO_ERR_FAILED, "cannot prepare the runs");
    }
    program[n] = '\0';
    for (int64_t i = 0; i < c->n_runs; i++) {
        const iso_comparison_run *run = &c->runs[i];
        jobs[i] = (iso_job){.name = run->name,
                            .config_path = run->config_path,
                            .run_dir = run->run_dir,
                            .cost = run->expected_s,
                            .n_steps = run->config.train.steps};
        cost += run->expected_s;
    }
    iso_executor executor = {.launcher = iso_launcher_local(program),
                             .n_parallel = (int)args->jobs,
                             .stop = &stop_requested,
                             .on_progress = show_jobs,
                             .ctx = &v};
    catch_signals();
    cli_progress_start(&v.progress, "training", "seconds of work", 0, (int64_t)cost);
    iso_status status = iso_executor_run(&executor, jobs, c->n_runs);
    cli_progress_finish(&v.progress);
    free(v.told);
    free(jobs);
    return status;
}

/* --- 4: audit and report --- */

/* "AMD EPYC, 2 processors". */
static char *machine_line(void) {
    char *name = iso_machine_processor();
    char *line = iso_strf("%s, %d processors", name, iso_machine_n_threads());
    free(name);
    return line;
}

static iso_status conclude(const compare_args *args, const iso_comparison *c, const char *command) {
    char *page = iso_strf("%s/report.html", args->out);
    const char **dirs = calloc((size_t)c->n_runs, sizeof *dirs);
    iso_sides sides;
    if (!dirs) {
        free(page);
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate the list of runs");
    }
    for (int64_t i = 0; i < c->n_runs; i++) dirs[i] = c->runs[i].run_dir;
    char *machine = machine_line();
    iso_report_options options = {.command = command, .machine = machine};
    iso_status status = iso_report_write(page, dirs, c->n_runs, &options);
    if (status == ISO_OK) status = iso_sides_open(&sides, dirs, c->n_runs);
    if (status == ISO_OK) {
        iso_answer answer = iso_answer_make(&sides);
        char *sentence = iso_answer_sentence(&answer), *paper = iso_answer_against_paper(&answer);
        printf("\naudit: %s\n\n%s%s%s\n", iso_verdict_name(sides.audit->verdict),
               cli_styled(stdout, CLI_BOLD), sentence, cli_styled(stdout, CLI_PLAIN));
        if (*paper) printf("%s\n", paper);
        printf("\nreport: %s\n", page);
        if (sides.audit->verdict == ISO_VERDICT_NOT_EQUAL)
            status = iso_fail(ISO_ERR_NOT_EQUAL, "the runs are not an equal comparison");
        free(sentence);
        free(paper);
        iso_sides_close(&sides);
    }
    free(machine);
    free(dirs);
    free(page);
    return status;
}

static iso_status compare(const compare_args *args, const char *command) {
    char *data_dir = iso_strf("%s/data", args->out);
    iso_comparison c = {0};
    iso_status status = iso_dir_create(args->out);
    heading(1, "preparing the text");
    if (status == ISO_OK) status = prepare(args, data_dir);
    if (status == ISO_OK) {
        heading(2, "planning for this machine's speed");
        status = plan(args, data_dir, &c);
    }
    if (status == ISO_OK) print_plan(&c);
    if (status == ISO_OK && !args->plan_only) {
        heading(3, "training every side");
        status = train_all(args, &c);
        if (status == ISO_OK) {
            heading(4, "audit and report");
            status = conclude(args, &c, command);
        }
    }
    iso_comparison_close(&c);
    free(data_dir);
    return status;
}

iso_status cmd_compare(int argc, char **argv) {
    static const char *const precisions[] = {"auto", "fp32", "bf16", NULL};
    const iso_compare_goal usual = iso_compare_goal_default();
    compare_args args = {.out = "comparison",
                         .precision = "auto",
                         .tokenizer = "bytes",
                         .minutes = usual.minutes,
                         .tokens_per_param = usual.tokens_per_param,
                         .jobs = iso_machine_n_threads()};
    const cli_flag flags[] = {
        {"minutes", CLI_F64, &args.minutes, "M",
         "for all training together; decides the size of the models (default 8)", NULL},
        {"out", CLI_STRING, &args.out, "DIR", "where everything goes (default comparison)", NULL},
        {"val", CLI_LIST, &args.vals, "NAME=PATH",
         "validation domains; without any, the part held out from TEXT decides", NULL},
        {"tokenizer", CLI_STRING, &args.tokenizer, "bytes|FILE", "(default bytes)", NULL},
        {"params", CLI_I64, &args.params, "N", "instead of choosing N by the minutes", NULL},
        {"tokens-per-param", CLI_F64, &args.tokens_per_param, "X",
         "tokens of the dense side over N (default 10)", NULL},
        {"precision", CLI_CHOICE, &args.precision, "auto|fp32|bf16",
         "of every side (default auto: bf16 where the processor multiplies it)", precisions},
        {"jobs", CLI_I64, &args.jobs, "J", "runs at once (default: one per processor)", NULL},
        {"plan-only", CLI_BOOL, &args.plan_only, NULL, "stop when configs are written", NULL},
    };
    const cli_usage usage = {
        .synopsis = "compare TEXT... [--minutes M] [--out DIR] [--val NAME=PATH ...]",
        .summary = "Dense or MoE, on your text: trains a dense model and MoEs at four activation\n"
                   "rates with equal parameters, compute and data, audits that they were equal,\n"
                   "and writes a report. Stop it at any time; the same command goes on.",
        .example = "isomoe compare books/ notes.jsonl.zst --minutes 20 --out my-comparison",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &args.texts,
        .min_positionals = 1,
        .max_positionals = -1,
    };
    bool done;
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) {
        if (!(args.minutes > 0) || !(args.tokens_per_param > 0) || args.jobs < 1 || args.params < 0)
            status = iso_fail(ISO_ERR_USAGE, "compare: --minutes, --tokens-per-param, --jobs and "
                                             "--params must be positive");
        iso_config config = iso_config_default();
        config.train.precision = precision_of(args.precision);
        if (status == ISO_OK) status = iso_train_check_precision(&config);
        char *command = cli_command_line(argc, argv);
        if (status == ISO_OK) status = compare(&args, command);
        free(command);
    }
    cli_list_release(&args.texts);
    cli_list_release(&args.vals);
    return status;
}
