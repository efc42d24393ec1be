#include "study/executor.h"

#include "base/fileio.h"
#include "runs/run_folder.h"
#include "study/glance.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_NS         ((long)200 * 1000 * 1000)
#define EXIT_USAGE      2
#define EXIT_NO_SPACE   4
#define EXIT_LOCKED     5
#define EXIT_NONFINITE  6
#define EXIT_PREEMPTED  75
#define EXIT_NO_PROGRAM 127
#define EXIT_TERMINATED (128 + SIGTERM)
/* A run that an earlier, killed parent had started may still be saving its checkpoint: it is tried
 * again so often, so many polls apart. */
#define LOCKED_RETRIES 60
#define LOCKED_POLLS   5
/* The pause before the first retry; it doubles. */
#define RETRY_POLLS 10

/* --- starting --- */

static int64_t memory_in_use(const iso_job *jobs, int64_t n_jobs) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n_jobs; i++)
        if (jobs[i].state == ISO_JOB_RUNNING) sum += jobs[i].memory_bytes;
    return sum;
}

static bool is_before(const iso_job *a, const iso_job *b) {
    return a->order != b->order ? a->order < b->order : a->cost > b->cost;
}

/* Of those that wait and fit beside what runs. */
static iso_job *next_job(const iso_executor *ex, iso_job *jobs, int64_t n_jobs, int n_running) {
    int64_t used = memory_in_use(jobs, n_jobs);
    iso_job *first = NULL;
    for (int64_t i = 0; i < n_jobs; i++) {
        bool fits =
            ex->room_bytes <= 0 || n_running == 0 || used + jobs[i].memory_bytes <= ex->room_bytes;
        if (jobs[i].state == ISO_JOB_WAITING && jobs[i].wait_polls == 0 && fits &&
            (!first || is_before(&jobs[i], first)))
            first = &jobs[i];
    }
    return first;
}

static iso_status start_more(const iso_executor *ex, iso_job *jobs, int64_t n_jobs, int n_running) {
    iso_job *next;
    while (n_running < ex->n_parallel && (next = next_job(ex, jobs, n_jobs, n_running))) {
        ISO_TRY(ex->launcher.start(ex->launcher.ctx, next));
        next->state = ISO_JOB_RUNNING;
        next->n_attempts++;
        n_running++;
    }
    return ISO_OK;
}

/* How many still wait, now or later; one poll nearer to their turn. */
static int64_t count_waiting(iso_job *jobs, int64_t n_jobs) {
    int64_t n_waiting = 0;
    for (int64_t i = 0; i < n_jobs; i++) {
        n_waiting += jobs[i].state == ISO_JOB_WAITING;
        if (jobs[i].wait_polls > 0) jobs[i].wait_polls--;
    }
    return n_waiting;
}

/* --- ending --- */

/* The last line of a failed job's log says why. */
static void find_cause(iso_job *job) {
    char *path = iso_strf("%s/log.txt", job->run_dir), *text = NULL;
    int64_t n_bytes = 0;
    const char *words = "";
    if (iso_file_read(&text, &n_bytes, path, (int64_t)1 << 26) == ISO_OK) {
        while (n_bytes > 0 && text[n_bytes - 1] == '\n') text[--n_bytes] = '\0';
        const char *line = strrchr(text, '\n');
        words = line ? line + 1 : text;
    }
    if (job->exit_code > 128)
        snprintf(job->cause, sizeof job->cause, "ended by signal %d", job->exit_code - 128);
    else if (*words)
        snprintf(job->cause, sizeof job->cause, "%s", words);
    else /* on a full disk not even the log can be written */
        snprintf(job->cause, sizeof job->cause,
                 job->exit_code == EXIT_NO_SPACE ? "the disk is full" : "it left no message");
    free(text);
    free(path);
}

static bool may_pass(int exit_code) {
    return exit_code != EXIT_USAGE && exit_code != EXIT_NONFINITE && exit_code != EXIT_NO_PROGRAM;
}

static void take_note(const iso_executor *ex, iso_job *job, int exit_code, bool asked) {
    /* Asked to stop before it could listen, a run has nothing to save. */
    job->exit_code = exit_code == EXIT_TERMINATED ? EXIT_PREEMPTED : exit_code;
    bool preempted = job->exit_code == EXIT_PREEMPTED;
    job->state = job->exit_code == 0           ? ISO_JOB_DONE
                 : preempted && job->is_ending ? ISO_JOB_STOPPED
                 : preempted                   ? ISO_JOB_PREEMPTED
                                               : ISO_JOB_FAILED;
    if (job->state == ISO_JOB_DONE || job->state == ISO_JOB_STOPPED || (preempted && asked)) return;
    find_cause(job);
    /* The folder is the truth: a checkpoint with NaN in it has the same exit code. */
    if (job->exit_code == EXIT_NONFINITE && iso_run_has_diverged(job->run_dir)) {
        job->state = ISO_JOB_DIVERGED;
        return;
    }
    if (job->exit_code == EXIT_LOCKED && job->n_locked++ < LOCKED_RETRIES) {
        job->state = ISO_JOB_WAITING;
        job->wait_polls = LOCKED_POLLS;
    } else if (may_pass(job->exit_code) && job->n_retries < ex->max_retries && !asked) {
        job->state = ISO_JOB_WAITING;
        job->wait_polls = RETRY_POLLS << (job->n_retries < 6 ? job->n_retries : 6);
        job->n_retries++;
    }
}

/* Takes note of what ended; returns how many still run. */
static int reap(const iso_executor *ex, iso_job *jobs, int64_t n_jobs, bool asked) {
    int n_running = 0;
    for (int64_t i = 0; i < n_jobs; i++) {
        iso_job *job = &jobs[i];
        int exit_code;
        if (job->state != ISO_JOB_RUNNING) continue;
        int64_t step = iso_run_glance(job->run_dir).step;
        bool moved = step > job->step;
        if (step > 0) job->step = step;
        if (ex->launcher.has_ended(ex->launcher.ctx, job, &exit_code)) {
            take_note(ex, job, exit_code, asked);
            continue;
        }
        n_running++;
        if (!moved || job->is_ending || !ex->is_hopeless || !ex->is_hopeless(ex->ctx, job))
            continue;
        job->is_ending = true;
        ex->launcher.ask_to_end(ex->launcher.ctx, job);
    }
    return n_running;
}

static void ask_all(const iso_executor *ex, const iso_job *jobs, int64_t n_jobs) {
    for (int64_t i = 0; i < n_jobs; i++)
        if (jobs[i].state == ISO_JOB_RUNNING) ex->launcher.ask_to_end(ex->launcher.ctx, &jobs[i]);
}

static iso_status conclude(const iso_job *jobs, int64_t n_jobs, bool asked) {
    for (int64_t i = 0; i < n_jobs; i++)
        if (jobs[i].state == ISO_JOB_FAILED)
            return iso_fail(jobs[i].exit_code == EXIT_NO_SPACE ? ISO_ERR_NO_SPACE : ISO_ERR_FAILED,
                            "the run %s ended with exit code %d: %s (all of it in %s/log.txt)",
                            jobs[i].name, jobs[i].exit_code, jobs[i].cause, jobs[i].run_dir);
    for (int64_t i = 0; i < n_jobs && !asked; i++)
        if (jobs[i].state == ISO_JOB_PREEMPTED)
            return iso_fail(ISO_ERR_PREEMPTED,
                            "the run %s was asked to stop by someone else; run the same command "
                            "to go on",
                            jobs[i].name);
    if (asked)
        return iso_fail(ISO_ERR_PREEMPTED, "stopped by a signal; every run has saved a checkpoint, "
                                           "run the same command to go on");
    return ISO_OK;
}

static void begin(const iso_executor *ex, iso_job *jobs, int64_t n_jobs) {
    for (int64_t i = 0; i < n_jobs; i++) {
        jobs[i].state = iso_run_is_finished(jobs[i].run_dir)    ? ISO_JOB_DONE
                        : iso_run_has_diverged(jobs[i].run_dir) ? ISO_JOB_DIVERGED
                                                                : ISO_JOB_WAITING;
        jobs[i].step = jobs[i].state == ISO_JOB_DONE ? jobs[i].n_steps : 0;
        if (jobs[i].state == ISO_JOB_WAITING && ex->is_hopeless &&
            ex->is_hopeless(ex->ctx, &jobs[i]))
            jobs[i].state = ISO_JOB_STOPPED;
    }
}

iso_status iso_executor_run(const iso_executor *ex, iso_job *jobs, int64_t n_jobs) {
    iso_status status = ISO_OK;
    bool asked = false;
    char message[ISO_ERROR_BYTES];
    begin(ex, jobs, n_jobs);
    for (int n_running = 0;;) {
        bool stopping = (ex->stop && *ex->stop) || status != ISO_OK;
        if (!stopping) {
            status = start_more(ex, jobs, n_jobs, n_running);
            snprintf(message, sizeof message, "%s", iso_error_message());
        }
        if (stopping && !asked) ask_all(ex, jobs, n_jobs);
        asked |= stopping;
        n_running = reap(ex, jobs, n_jobs, asked);
        if (ex->on_progress) ex->on_progress(ex->ctx, jobs, n_jobs);
        int64_t n_waiting = count_waiting(jobs, n_jobs);
        if (n_running == 0 && (asked || (status == ISO_OK && n_waiting == 0))) break;
        nanosleep(&(struct timespec){0, POLL_NS}, NULL);
    }
    return status != ISO_OK ? iso_fail(status, "%s", message) : conclude(jobs, n_jobs, asked);
}
