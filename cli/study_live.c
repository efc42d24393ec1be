#include "study_live.h"

#include "base/clock.h"
#include "cli_study.h"
#include "study/glance.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_S    1.0
#define PLAIN_S     30.0
#define NAME_CHARS  34
#define CAUSE_CHARS 60

/* --- what is known --- */

typedef struct sums {
    int64_t n_of[ISO_JOB_N_STATES];
    double done_frac, left_s;
} sums;

static double tokens_left(const iso_study_run *run, const iso_job *job) {
    return (double)((job->n_steps - job->step) * iso_config_batch_tokens(&run->config));
}

static double left_of(const study_live *live, int64_t i, const iso_job *job, const iso_glance *g) {
    double speed = g->tokens_per_s > 0 ? g->tokens_per_s : live->costs->runs[i].tokens_per_s;
    return tokens_left(&live->plan->runs[i], job) / speed;
}

static bool is_over(const iso_job *job) {
    return job->state == ISO_JOB_DONE || job->state == ISO_JOB_FAILED ||
           job->state == ISO_JOB_STOPPED || job->state == ISO_JOB_DIVERGED;
}

/* Time left: the work that is left over all that work on it, but no less than the longest run's. */
static sums add_up(const study_live *live, const iso_job *jobs) {
    sums s = {0};
    double work = 0, longest = 0, flops = 0, all = 0;
    for (int64_t i = 0; i < live->plan->n_runs; i++) {
        s.n_of[jobs[i].state]++;
        double part = jobs[i].n_steps > 0 ? (double)jobs[i].step / (double)jobs[i].n_steps : 0;
        flops += (is_over(&jobs[i]) ? 1 : part) * live->plan->runs[i].flops;
        all += live->plan->runs[i].flops;
        if (is_over(&jobs[i])) continue;
        iso_glance g = {.tokens_per_s = NAN};
        if (jobs[i].state == ISO_JOB_RUNNING) g = iso_run_glance(jobs[i].run_dir);
        double left = left_of(live, i, &jobs[i], &g);
        work += left;
        if (left > longest) longest = left;
    }
    s.done_frac = all > 0 ? flops / all : 1;
    s.left_s = fmax(work / live->costs->n_parallel, longest);
    return s;
}

static void say_sums(iso_str *out, const study_live *live, const sums *s) {
    char left[32], spent[32];
    iso_str_appendf(out, "%s: %" PRId64 "/%" PRId64 " runs done", live->name, s->n_of[ISO_JOB_DONE],
                    live->plan->n_runs);
    if (s->n_of[ISO_JOB_RUNNING] > 0)
        iso_str_appendf(out, ", %" PRId64 " running", s->n_of[ISO_JOB_RUNNING]);
    if (s->n_of[ISO_JOB_STOPPED] > 0)
        iso_str_appendf(out, ", %" PRId64 " stopped as hopeless", s->n_of[ISO_JOB_STOPPED]);
    if (s->n_of[ISO_JOB_DIVERGED] > 0)
        iso_str_appendf(out, ", %" PRId64 " diverged", s->n_of[ISO_JOB_DIVERGED]);
    if (s->n_of[ISO_JOB_FAILED] > 0)
        iso_str_appendf(out, ", %" PRId64 " failed", s->n_of[ISO_JOB_FAILED]);
    iso_str_appendf(out, ", %.0f %% of the work, %s", 100 * s->done_frac,
                    iso_str_duration(spent, iso_clock_s() - live->start_s));
    if (s->left_s > 0 && isfinite(s->left_s))
        iso_str_appendf(out, ", %s%s left", live->plan->complete ? "" : "this stage ",
                        iso_str_duration(left, s->left_s));
}

/* --- plain lines --- */

static const char *word_of(iso_job_state state) {
    switch (state) {
    case ISO_JOB_WAITING:
        return "waiting";
    case ISO_JOB_RUNNING:
        return "running";
    case ISO_JOB_DONE:
        return "done";
    case ISO_JOB_FAILED:
        return "FAILED";
    case ISO_JOB_PREEMPTED:
        return "stopped, checkpoint saved";
    case ISO_JOB_STOPPED:
        return "stopped as hopeless";
    case ISO_JOB_DIVERGED:
        return "diverged";
    }
    return "";
}

/* Whatever ended, and why what failed did; on a terminal the table shows what runs. */
static void tell_changes(study_live *live, const iso_job *jobs, bool quiet) {
    for (int64_t i = 0; i < live->plan->n_runs; i++) {
        const iso_job *job = &jobs[i];
        bool changed = job->state != live->told[i],
             retried = job->n_retries > live->told_retries[i];
        live->told[i] = job->state;
        live->told_retries[i] = job->n_retries;
        if (retried)
            iso_log(ISO_LOG_WARN, "%s: exit code %d: %s; tried again", job->name, job->exit_code,
                    job->cause);
        if (!changed || quiet || job->state == ISO_JOB_WAITING) continue;
        if (job->state == ISO_JOB_FAILED)
            iso_log(ISO_LOG_ERROR, "%s: exit code %d: %s", job->name, job->exit_code, job->cause);
        else if (job->state == ISO_JOB_DIVERGED && *job->cause)
            iso_log(ISO_LOG_WARN, "%s: diverged: %s", job->name, job->cause);
        else
            iso_log(ISO_LOG_INFO, "%s: %s", job->name, word_of(job->state));
    }
}

/* --- the table --- */

static void terminal_size(int *rows, int *columns) {
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    *columns = known ? size.ws_col : 80;
    *rows = known && size.ws_row > 4 ? size.ws_row : 24;
}

/* Cut at a character; a line that wraps cannot be redrawn. */
static void put_line(iso_str *out, const char *line, int columns) {
    int column = 0;
    const char *end = line;
    for (; *end; end++)
        if (((unsigned char)*end & 0xC0) != 0x80 && ++column >= columns) break;
    iso_str_append_bytes(out, line, (size_t)(end - line));
    iso_str_append(out, "\033[K\n");
}

static void number(char *buffer, size_t size, const char *format, double value) {
    if (isfinite(value))
        snprintf(buffer, size, format, value);
    else
        snprintf(buffer, size, "-");
}

static char *row_of(const study_live *live, int64_t i, const iso_job *job) {
    iso_glance g = {.tokens_per_s = NAN, .bpc = NAN};
    char bpc[32], progress[32], speed[32] = "-", eta[32] = "-", text[32];
    bool shows = job->state == ISO_JOB_RUNNING || job->state == ISO_JOB_DONE;
    if (shows) g = iso_run_glance(job->run_dir);
    number(bpc, sizeof bpc, "%.4f", g.bpc);
    snprintf(progress, sizeof progress, "%.0f %%", 100 * (double)job->step / (double)job->n_steps);
    if (job->state == ISO_JOB_RUNNING && g.tokens_per_s > 0)
        snprintf(speed, sizeof speed, "%s", iso_str_count(text, g.tokens_per_s));
    double left = left_of(live, i, job, &g);
    if (job->state == ISO_JOB_RUNNING && isfinite(left))
        snprintf(eta, sizeof eta, "%s", iso_str_duration(text, left));
    char *name = study_short_text(job->name, NAME_CHARS);
    char *cause = *job->cause && !is_over(job) ? study_short_text(job->cause, CAUSE_CHARS) : NULL;
    const char *word = job->state == ISO_JOB_STOPPED     ? "hopeless"
                       : job->state == ISO_JOB_PREEMPTED ? "saved"
                                                         : word_of(job->state);
    char *row = iso_strf("%-*s %-8s %6s %9s %8s %9s%s%s", NAME_CHARS, name, word, progress, speed,
                         bpc, eta, cause ? "  was: " : "", cause ? cause : "");
    free(cause);
    free(name);
    return row;
}

/* Running and failed first, then what ended last in the plan, then what waits; as many as fit. */
static int64_t add_rows(iso_str *out, const study_live *live, const iso_job *jobs, int room,
                        int columns) {
    static const iso_job_state order[] = {ISO_JOB_RUNNING, ISO_JOB_FAILED,   ISO_JOB_PREEMPTED,
                                          ISO_JOB_DONE,    ISO_JOB_DIVERGED, ISO_JOB_STOPPED,
                                          ISO_JOB_WAITING};
    int64_t n_shown = 0;
    for (size_t k = 0; k < sizeof order / sizeof *order; k++)
        for (int64_t i = 0; i < live->plan->n_runs && n_shown < room; i++) {
            if (jobs[i].state != order[k]) continue;
            char *row = row_of(live, i, &jobs[i]);
            put_line(out, row, columns);
            free(row);
            n_shown++;
        }
    return n_shown;
}

static void draw(study_live *live, const iso_job *jobs, const sums *s) {
    int rows, columns;
    iso_str out = {0}, line = {0};
    terminal_size(&rows, &columns);
    if (live->n_lines > 0) iso_str_appendf(&out, "\033[%dA\r", live->n_lines);
    iso_str_appendf(&line, "%-*s %-8s %6s %9s %8s %9s", NAME_CHARS, "run", "state", "done",
                    "tokens/s", "BPC", "ETA");
    iso_str_append(&out, cli_styled(stderr, CLI_BOLD));
    put_line(&out, line.data, columns);
    iso_str_append(&out, cli_styled(stderr, CLI_PLAIN));
    int room = rows - 4;
    int64_t n_shown = add_rows(&out, live, jobs, room, columns);
    int n_lines = (int)n_shown + 2;
    if (n_shown < live->plan->n_runs) {
        char *more = iso_strf("and %" PRId64 " more", live->plan->n_runs - n_shown);
        put_line(&out, more, columns);
        free(more);
        n_lines++;
    }
    iso_str_clear(&line);
    say_sums(&line, live, s);
    put_line(&out, line.data, columns);
    if (n_lines < live->n_lines) iso_str_append(&out, "\033[J");
    live->n_lines = n_lines;
    fputs(out.data, stderr);
    fflush(stderr);
    iso_str_release(&line);
    iso_str_release(&out);
}

/* --- from outside --- */

void study_live_start(study_live *live, const char *name, const iso_study_plan *plan,
                      const iso_study_costs *costs) {
    double start_s = live->start_s > 0 ? live->start_s : iso_clock_s();
    *live = (study_live){.name = name,
                         .plan = plan,
                         .costs = costs,
                         .start_s = start_s,
                         .fancy = cli_is_fancy(stderr),
                         .told = calloc((size_t)plan->n_runs + 1, sizeof *live->told),
                         .told_retries = calloc((size_t)plan->n_runs + 1, sizeof(int))};
    ISO_ASSERT(live->told && live->told_retries);
}

static bool any_retry(const study_live *live, const iso_job *jobs) {
    for (int64_t i = 0; i < live->plan->n_runs; i++)
        if (jobs[i].n_retries > live->told_retries[i]) return true;
    return false;
}

void study_live_update(study_live *live, const iso_job *jobs) {
    double now = iso_clock_s(), pause = live->fancy ? REDRAW_S : PLAIN_S;
    bool first = live->shown_s <= 0;
    /* A line of the log pushes the table down: it is drawn anew below. */
    if (live->fancy && live->n_lines > 0 && any_retry(live, jobs)) {
        fprintf(stderr, "\033[%dA\r\033[J", live->n_lines);
        live->n_lines = 0;
    }
    tell_changes(live, jobs, live->fancy);
    if (first && !live->fancy) live->shown_s = now;
    if (now - live->shown_s < pause) return;
    live->shown_s = now;
    sums s = add_up(live, jobs);
    if (live->fancy) {
        draw(live, jobs, &s);
        return;
    }
    iso_str line = {0};
    say_sums(&line, live, &s);
    iso_log(ISO_LOG_INFO, "%s", line.data);
    iso_str_release(&line);
}

void study_live_finish(study_live *live, const iso_job *jobs) {
    sums s = add_up(live, jobs);
    if (live->fancy) draw(live, jobs, &s);
    free(live->told);
    free(live->told_retries);
    live->told = NULL;
    live->told_retries = NULL;
}
