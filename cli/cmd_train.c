/* isomoe train: one run, from a config to a run folder. */
#include "cli.h"

#include "base/clock.h"
#include "runs/run_folder.h"
#include "train/dry_run.h"
#include "train/loop.h"
#include "train/trainer.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* The only state of a signal handler: set by SIGINT, SIGTERM and SIGUSR1, read by the loop. */
static volatile sig_atomic_t stop_requested;

static void request_stop(int signal_number) {
    stop_requested = signal_number;
}

/* Handlers run between steps only: the loop keeps signals out of generated code (train/loop.c). */
static void catch_signals(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGUSR1};
    /* Only once: a second Ctrl-C ends the process at once. */
    struct sigaction action = {.sa_handler = request_stop, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction before;
        sigaction(signals[i], NULL, &before);
        /* Who started us with a signal ignored (nohup, isomoe compare) wants it ignored. */
        if (before.sa_handler != SIG_IGN) sigaction(signals[i], &action, NULL);
    }
}

/* --- the terminal's share of what the loop emits --- */

typedef struct narrator {
    iso_sink keep; /* the run folder's sink: told first */
    int64_t steps, first_step;
    double start_s, shown_s;
    bool is_fancy, is_open, is_quiet;
} narrator;

static void end_line(narrator *n) {
    if (n->is_open) fputc('\n', stderr);
    n->is_open = false;
}

/* `step 120/1200 | loss 1.9312 | ...`: on a terminal redrawn in place, elsewhere a line every few
 * seconds. */
static void show_step(narrator *n, const iso_step_row *row) {
    double now = iso_clock_s(), every = n->is_fancy ? 0.1 : 5;
    bool is_last = row->step == n->steps;
    if (n->is_quiet || (!is_last && now - n->shown_s < every)) return;
    n->shown_s = now;
    double per_step = (now - n->start_s) / (double)(row->step - n->first_step);
    char rate[32], eta[32];
    fprintf(stderr, "%sstep %" PRId64 "/%" PRId64 " | loss %.4f", n->is_fancy ? "\r\033[K" : "",
            row->step, n->steps, row->loss);
    if (row->is_moe) fprintf(stderr, " | aux %.3f", row->aux_loss);
    fprintf(stderr, " | norm %.2f | lr %.2e | %.0f ms | %s tok/s | mfu %.2f | epoch %" PRId64,
            row->grad_norm, row->lr, row->step_ms, iso_str_count(rate, row->tokens_per_s), row->mfu,
            row->epoch);
    if (row->is_moe)
        fprintf(stderr, " | imbal %.2f | dead %" PRId64, row->load_imbalance, row->dead_experts);
    fprintf(stderr, " | ETA %s%s", iso_str_duration(eta, per_step * (double)(n->steps - row->step)),
            n->is_fancy ? "" : "\n");
    n->is_open = n->is_fancy;
}

static iso_status on_begin(void *ctx, int64_t step, int64_t *n_replayed) {
    narrator *n = ctx;
    n->first_step = step;
    n->start_s = iso_clock_s();
    if (step > 0)
        iso_log(ISO_LOG_INFO, "going on from step %" PRId64 " of %" PRId64, step, n->steps);
    return n->keep.on_begin(n->keep.ctx, step, n_replayed);
}

static iso_status on_step(void *ctx, const iso_step_row *row) {
    narrator *n = ctx;
    ISO_TRY(n->keep.on_step(n->keep.ctx, row));
    show_step(n, row);
    return ISO_OK;
}

static iso_status on_eval(void *ctx, const iso_eval_row *row) {
    narrator *n = ctx;
    ISO_TRY(n->keep.on_eval(n->keep.ctx, row));
    if (n->is_quiet) return ISO_OK;
    iso_str line = {0};
    for (int64_t i = 0; i < row->n_scores; i++)
        iso_str_appendf(&line, " | %s %.4f", row->scores[i].domain, row->scores[i].bpc);
    end_line(n);
    iso_log(ISO_LOG_INFO, "step %" PRId64 "%s, bits per character%s", row->step,
            row->is_final ? ", final evaluation" : "", line.data ? line.data : "");
    iso_str_release(&line);
    return ISO_OK;
}

static iso_status on_router(void *ctx, const iso_router_row *row) {
    narrator *n = ctx;
    return n->keep.on_router(n->keep.ctx, row);
}

static iso_status on_checkpoint(void *ctx, int64_t step) {
    narrator *n = ctx;
    return n->keep.on_checkpoint(n->keep.ctx, step);
}

static iso_status on_evaluation(void *ctx, const iso_evaluation *evaluation) {
    narrator *n = ctx;
    return n->keep.on_evaluation(n->keep.ctx, evaluation);
}

static iso_status on_routes(void *ctx, int64_t step, const char *sample_hash,
                            const iso_route_counts *counts) {
    narrator *n = ctx;
    return n->keep.on_routes(n->keep.ctx, step, sample_hash, counts);
}

static iso_status on_summary(void *ctx, const json_t *summary) {
    narrator *n = ctx;
    return n->keep.on_summary(n->keep.ctx, summary);
}

static iso_sink narrate(narrator *n) {
    return (iso_sink){.ctx = n,
                      .on_begin = on_begin,
                      .on_step = on_step,
                      .on_eval = on_eval,
                      .on_router = on_router,
                      .on_checkpoint = on_checkpoint,
                      .on_evaluation = on_evaluation,
                      .on_routes = on_routes,
                      .on_summary = on_summary};
}

/* --- the dry run --- */

static void add_bytes(cli_table *table, const char *what, int64_t n_bytes) {
    char text[32];
    cli_table_add(table, what);
    cli_table_add(table, iso_str_bytes(text, (double)n_bytes));
}

static void print_memory(const iso_dry_run *run) {
    static const char *const headers[] = {"memory", "bytes"};
    cli_table table;
    cli_table_init(&table, headers, 2);
    add_bytes(&table, "weights", run->model.weights);
    add_bytes(&table, "gradients", run->model.gradients);
    add_bytes(&table, "optimizer moments", run->moments_bytes);
    add_bytes(&table, "activations of a micro-batch", run->model.activations);
    add_bytes(&table, "scratch of the kernels", run->model.scratch);
    add_bytes(&table, "sum", run->sum_bytes);
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

static iso_status print_plan(const iso_config *config, bool json) {
    iso_counts counts;
    iso_dry_run run;
    ISO_TRY(iso_count(&counts, &config->model, ISO_CONVENTION_PAPER));
    ISO_TRY(iso_dry_run_make(&run, config, "cpu", ISO_F32));
    int64_t tokens = iso_config_tokens(config);
    if (json) {
        json_t *out = iso_config_to_json(config);
        json_t *plan = iso_dry_run_to_json(&run);
        json_t *totals =
            json_pack("{sI sI sI sf sI sf}", "params_nonvocab", (json_int_t)counts.params_nonvocab,
                      "params_active", (json_int_t)counts.params_active, "train_flops_per_token",
                      (json_int_t)counts.train_flops_per_token, "train_flops",
                      iso_train_flops(counts.train_flops_per_token, tokens), "tokens",
                      (json_int_t)tokens, "peak_lr", iso_config_peak_lr(config));
        json_object_update(totals, plan);
        json_decref(plan);
        json_object_set_new(out, "plan", totals);
        return cli_print_json(out, CLI_JSON_EXACT);
    }
    iso_str yaml = {0};
    iso_config_to_yaml(&yaml, config);
    printf("%s\n", yaml.data);
    iso_str_release(&yaml);
    printf("N %" PRId64 ", active %" PRId64 " (%.1f %%), %" PRId64
           " training FLOPs per token (convention paper)\n"
           "D %" PRId64 " tokens in %" PRId64 " steps, C %.4g FLOPs\n\n",
           counts.params_nonvocab, counts.params_active, 100 * counts.activation_rate,
           counts.train_flops_per_token, tokens, config->train.steps,
           iso_train_flops(counts.train_flops_per_token, tokens));
    print_memory(&run);
    return ISO_OK;
}

/* --- the command --- */

static iso_status log_warnings(const iso_str *warnings) {
    char *text = warnings->data ? strdup(warnings->data) : NULL;
    for (char *save = NULL, *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        iso_log(ISO_LOG_WARN, "%s", line);
    free(text);
    return ISO_OK;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static iso_status train(const iso_config *config, const char *dir, const char *resume,
                        const char *name, bool quiet) {
    iso_run_writer *writer;
    ISO_TRY(iso_run_writer_open(&writer, dir));
    iso_run_writer_config(writer, config);
    narrator n = {.keep = iso_run_writer_sink(writer),
                  .steps = config->train.steps,
                  .is_fancy = cli_is_fancy(stderr),
                  .is_quiet = quiet};
    iso_sink sink = narrate(&n);
    iso_loop_options options = {.name = name ? name : base_name(dir),
                                .run_dir = dir,
                                .resume = ISO_RESUME_NAMED,
                                .checkpoint = resume,
                                .stop = &stop_requested};
    if (strcmp(resume, "auto") == 0) options.resume = ISO_RESUME_AUTO;
    if (strcmp(resume, "never") == 0) options.resume = ISO_RESUME_NEVER;
    catch_signals();
    iso_status status = iso_train_run(config, &options, &sink);
    end_line(&n);
    iso_run_writer_close(writer);
    return status;
}

iso_status cmd_train(int argc, char **argv) {
    bool dry_run = false, json = false, quiet = false, done;
    const char *out = NULL, *resume = "auto", *name = NULL;
    cli_list configs = {0}, overrides = {0};
    const cli_flag flags[] = {
        {"out", CLI_STRING, &out, "RUN", "the run folder to write", NULL},
        {"resume", CLI_STRING, &resume, "auto|never|CHECKPOINT",
         "where to go on from (default auto: the newest good checkpoint of RUN)", NULL},
        {"name", CLI_STRING, &name, "NAME", "of the run in reports (default: RUN's last part)",
         NULL},
        {"dry-run", CLI_BOOL, &dry_run, NULL, "print the resolved config and the plan, then stop",
         NULL},
        {"json", CLI_BOOL, &json, NULL, "print the dry run as JSON", NULL},
        {"quiet", CLI_BOOL, &quiet, NULL, "no step lines", NULL},
    };
    const cli_usage usage = {
        .synopsis = "train CONFIG --out RUN [--section.key=value ...] [--resume "
                    "auto|never|CHECKPOINT] [--dry-run]",
        .summary = "Trains one model. Kill it at any time and run the same command again: it goes "
                   "on where it was, with the same bits.",
        .example = "isomoe train configs/dense.yaml --out runs/dense --train.steps=200",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &configs,
        .min_positionals = 1,
        .max_positionals = 1,
        .overrides = &overrides,
        .more = iso_config_help,
    };
    iso_config config;
    iso_str warnings = {0};
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) {
        status = iso_config_load(&config, configs.items[0], overrides.items, overrides.n);
        if (status == ISO_OK) status = iso_config_resolve(&config, &warnings);
        if (status == ISO_OK) status = log_warnings(&warnings);
        if (status == ISO_OK) status = iso_train_check_precision(&config);
        if (status == ISO_OK && !dry_run && !out)
            status = iso_fail(ISO_ERR_USAGE, "train: --out RUN is missing: where to keep the run");
        if (status == ISO_OK)
            status = dry_run ? print_plan(&config, json) : train(&config, out, resume, name, quiet);
    }
    iso_str_release(&warnings);
    cli_list_release(&configs);
    cli_list_release(&overrides);
    return status;
}
