/* isomoe study run: all runs of a study, from where it was to the audit. */
#include "cli_study.h"

#include "runs/audit.h"
#include "runs/run_folder.h"
#include "study/executor.h"
#include "study/study_folder.h"
#include "study_live.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The only state of a signal handler. */
static volatile sig_atomic_t stop_requested;

static void request_stop(int signal_number) {
    stop_requested = signal_number;
}

static void catch_signals(void) {
    static const int signals[] = {SIGINT, SIGTERM, SIGUSR1, SIGHUP};
    struct sigaction action = {.sa_handler = request_stop};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
}

/* --- one stage --- */

typedef struct stage {
    iso_study_folder *folder;
    const iso_study_plan *plan;
    const iso_study_costs *costs;
    iso_job *jobs;
    iso_job_state *saved; /* (n_runs) states in the manifest */
    study_live *live;
    iso_status status; /* of the last time that the manifest was written */
} stage;

static bool is_hopeless(void *ctx, const iso_job *job) {
    const stage *s = ctx;
    return iso_study_folder_hopeless(s->folder, &s->plan->runs[job - s->jobs]) > 0;
}

/* A manifest that cannot be written, on a full disk, say, is behind the run folders for a while:
 * these are the truth, and it is written again at the next change. */
static void on_progress(void *ctx, const iso_job *jobs, int64_t n_jobs) {
    stage *s = ctx;
    bool changed = false;
    for (int64_t i = 0; i < n_jobs; i++) changed = changed || jobs[i].state != s->saved[i];
    if (changed) {
        s->status = iso_study_folder_save(s->folder, s->plan, s->costs, jobs);
        for (int64_t i = 0; i < n_jobs && s->status == ISO_OK; i++) s->saved[i] = jobs[i].state;
    }
    study_live_update(s->live, jobs);
}

static iso_status make_jobs(stage *s) {
    const iso_study_plan *plan = s->plan;
    s->jobs = calloc((size_t)plan->n_runs + 1, sizeof *s->jobs);
    s->saved = calloc((size_t)plan->n_runs + 1, sizeof *s->saved);
    if (!s->jobs || !s->saved) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the jobs");
    for (int64_t i = 0; i < plan->n_runs; i++) {
        double cost = s->costs->runs[i].seconds;
        s->jobs[i] = (iso_job){.name = plan->runs[i].name,
                               .config_path = iso_study_config_path(s->folder, &plan->runs[i]),
                               .run_dir = iso_study_run_dir(s->folder, plan->runs[i].name),
                               .order = plan->runs[i].stage,
                               .cost = isnan(cost) ? plan->runs[i].flops : cost,
                               .memory_bytes = s->costs->runs[i].memory_bytes,
                               .n_steps = plan->runs[i].config.train.steps};
    }
    return ISO_OK;
}

static void release_jobs(stage *s) {
    for (int64_t i = 0; s->jobs && i < s->plan->n_runs; i++) {
        free((char *)(uintptr_t)s->jobs[i].config_path);
        free((char *)(uintptr_t)s->jobs[i].run_dir);
    }
    free(s->jobs);
    free(s->saved);
}

static iso_status run_stage(iso_study_folder *folder, const iso_study_plan *plan,
                            const iso_study_costs *costs, study_live *live) {
    stage s = {.folder = folder, .plan = plan, .costs = costs, .live = live};
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    iso_status status = make_jobs(&s);
    if (status == ISO_OK && n <= 0)
        status = iso_fail(ISO_ERR_FAILED, "cannot find this program's file in /proc/self/exe");
    if (status == ISO_OK) status = iso_study_folder_save(folder, plan, costs, s.jobs);
    if (status == ISO_OK) {
        program[n] = '\0';
        iso_executor executor = {.launcher = iso_launcher_local(program),
                                 .n_parallel = costs->n_parallel,
                                 .room_bytes = costs->room_bytes,
                                 .max_retries = (int)folder->study->retries,
                                 .stop = &stop_requested,
                                 .on_progress = on_progress,
                                 .is_hopeless = is_hopeless,
                                 .ctx = &s};
        study_live_start(live, folder->study->name, plan, costs);
        status = iso_executor_run(&executor, s.jobs, plan->n_runs);
        study_live_finish(live, s.jobs);
        if (status == ISO_OK) status = iso_study_folder_save(folder, plan, costs, s.jobs);
    }
    release_jobs(&s);
    return status;
}

/* --- the audit --- */

/* It has an end that can be compared. */
static bool has_result(const iso_study_folder *folder, const iso_study_run *run) {
    char *dir = iso_study_run_dir(folder, run->name);
    bool has = iso_study_folder_hopeless(folder, run) == 0 && !iso_run_has_diverged(dir);
    free(dir);
    return has;
}

/* The runs of a group that were not stopped and did not diverge; the caller closes what *n counts.
 */
static iso_status open_group(iso_run *runs, int64_t *n, const iso_study_folder *folder,
                             const iso_study_plan *plan, const char *group) {
    *n = 0;
    for (int64_t i = 0; i < plan->n_runs; i++) {
        const iso_study_run *run = &plan->runs[i];
        if (!iso_study_names_have(run->groups, group) || !has_result(folder, run)) continue;
        char *dir = iso_study_run_dir(folder, run->name);
        iso_status status = iso_run_open(&runs[*n], dir);
        free(dir);
        if (status != ISO_OK) return status;
        (*n)++;
    }
    return ISO_OK;
}

static void print_verdict(const char *group, const iso_audit *audit) {
    bool equal = audit->verdict != ISO_VERDICT_NOT_EQUAL;
    printf("audit of %s: %s%s%s, %" PRId64 " runs\n", group,
           cli_styled(stdout, equal ? CLI_GREEN : CLI_RED), iso_verdict_name(audit->verdict),
           cli_styled(stdout, CLI_PLAIN), audit->n_sides);
    for (int64_t i = 0; i < audit->n_sides; i++)
        if (audit->sides[i].verdict == ISO_VERDICT_NOT_EQUAL && i != audit->i_reference)
            printf("  %s is not equal to %s\n", audit->sides[i].run->name,
                   audit->sides[audit->i_reference].run->name);
}

static iso_status audit_group(bool *equal, const iso_study_folder *folder,
                              const iso_study_plan *plan, const char *group) {
    iso_run *runs = calloc((size_t)plan->n_runs + 1, sizeof *runs);
    iso_audit_options options = iso_audit_options_default();
    iso_audit *audit = NULL;
    int64_t n = 0;
    if (!runs) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the audit");
    iso_status status = open_group(runs, &n, folder, plan, group);
    if (status == ISO_OK && n > 1) status = iso_audit_create(&audit, runs, n, &options);
    if (status == ISO_OK && audit) {
        print_verdict(group, audit);
        *equal = *equal && audit->verdict != ISO_VERDICT_NOT_EQUAL;
    }
    iso_audit_free(audit);
    for (int64_t i = 0; i < n; i++) iso_run_close(&runs[i]);
    free(runs);
    return status;
}

static iso_status audit(const iso_study_folder *folder, const iso_study_plan *plan) {
    json_t *groups = json_object();
    bool equal = true;
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < plan->n_runs && status == ISO_OK; i++) {
        char *text = strdup(plan->runs[i].groups);
        for (char *save = NULL, *group = text ? strtok_r(text, ",", &save) : NULL;
             group && status == ISO_OK; group = strtok_r(NULL, ",", &save)) {
            if (json_object_get(groups, group)) continue;
            json_object_set_new(groups, group, json_true());
            status = audit_group(&equal, folder, plan, group);
        }
        free(text);
    }
    if (status == ISO_OK && json_object_size(groups) == 0)
        printf("nothing here claims to be equal: no audit\n");
    json_decref(groups);
    if (status == ISO_OK && !equal)
        status = iso_fail(ISO_ERR_NOT_EQUAL, "the study's runs are not an equal comparison");
    return status;
}

/* --- the whole --- */

static void print_steps(const iso_study_plan *plan) {
    for (size_t i = 0; i < json_array_size(plan->steps); i++) {
        const json_t *step = json_array_get(plan->steps, i);
        const json_t *rows = json_object_get(step, "candidates");
        const json_t *winner =
            json_array_get(rows, (size_t)json_integer_value(json_object_get(step, "chosen")));
        const char *side = json_string_value(json_object_get(step, "side"));
        const char *label = json_string_value(json_object_get(winner, "label"));
        const char *run = json_string_value(json_object_get(winner, "run"));
        printf("%s%s%s: %s of %zu, %.4f BPC on the documents that report\n",
               json_string_value(json_object_get(step, "step")), side ? " of " : "",
               side ? side : "", label ? label : run, json_array_size(rows),
               json_number_value(json_object_get(winner, "bpc_report")));
    }
}

/* No failure of the study, but never passed over in silence. */
static void print_diverged(const iso_study_folder *folder, const iso_study_plan *plan) {
    for (int64_t i = 0; i < plan->n_runs; i++) {
        char *dir = iso_study_run_dir(folder, plan->runs[i].name);
        if (iso_run_has_diverged(dir))
            printf(
                "diverged: %s, which loses every choice and is in no comparison (%s/log.txt says "
                "where)\n",
                plan->runs[i].name, dir);
        free(dir);
    }
}

static iso_status conclude(const iso_study_folder *folder, const iso_study_plan *plan) {
    print_steps(plan);
    print_diverged(folder, plan);
    for (const char *line = plan->notes.data; line && *line;) {
        size_t n = strcspn(line, "\n");
        printf("note: %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
    iso_status status = audit(folder, plan);
    if (status == ISO_OK)
        printf("isomoe study status %s, isomoe study report %s say more\n", folder->dir,
               folder->dir);
    return status;
}

/* All that was listed has ended, and yet a score is missing. */
static iso_status fail_stuck(const iso_study_folder *folder) {
    return iso_fail(ISO_ERR_DATA,
                    "%s: every run that is listed has ended, but the score of one cannot be read, "
                    "and a choice waits for it: %s; remove its run folder to train it again",
                    folder->dir, iso_error_message());
}

/* A plan after the other, until no choice is open. */
static iso_status run(iso_study_folder *folder) {
    study_live live = {0};
    for (int64_t n_before = -1;;) {
        iso_study_plan *plan;
        iso_study_costs costs = {0};
        ISO_TRY(iso_study_plan_make(&plan, folder->study, iso_study_folder_score, folder));
        iso_status status = ISO_OK;
        if (plan->n_runs == n_before && !plan->complete) status = fail_stuck(folder);
        n_before = plan->n_runs;
        if (status == ISO_OK) status = iso_study_folder_take(folder, plan);
        if (status == ISO_OK) status = study_costs(&costs, folder->study, plan, folder->dir);
        if (status == ISO_OK) status = run_stage(folder, plan, &costs, &live);
        bool complete = plan->complete;
        if (status == ISO_OK && complete) status = conclude(folder, plan);
        iso_study_costs_release(&costs);
        iso_study_plan_free(plan);
        if (status != ISO_OK || complete) return status;
    }
}

iso_status study_run(int argc, char **argv) {
    const char *dir = NULL;
    bool done;
    cli_list studies = {0};
    const cli_flag flags[] = {
        {"out", CLI_STRING, &dir, "DIR", "the study's folder", NULL},
    };
    const cli_usage usage = {
        .synopsis = "study run STUDY --out DIR",
        .summary = "Trains every run of a study, as many at once as fit, and audits them. Stop it\n"
                   "or kill it at any time: the same command goes on where it was, with the same\n"
                   "bits. DIR/manifest.json lists the runs for whoever else can run them.",
        .example = "isomoe study run configs/studies/small.yaml --out my-study",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &studies,
        .min_positionals = 1,
        .max_positionals = 1,
        .more = iso_study_help,
    };
    iso_study *study = NULL;
    iso_study_folder folder;
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) {
        if (!dir)
            status = iso_fail(ISO_ERR_USAGE, "study run: --out DIR is missing: where to keep it");
        if (status == ISO_OK) status = study_load(&study, studies.items[0]);
        if (status == ISO_OK) status = iso_study_folder_open(&folder, study, dir);
        if (status == ISO_OK) {
            catch_signals();
            status = run(&folder);
            iso_study_folder_close(&folder);
        }
    }
    iso_study_free(study);
    cli_list_release(&studies);
    return status;
}
