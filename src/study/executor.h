/* executor.h - runs trainings as processes of this machine, several at a time.
 *
 * Each job is `isomoe train CONFIG --out RUN --resume auto` in a process of its own: a crash takes
 * one run, a kill of any of them costs the steps since its last checkpoint, and the bits do not
 * depend on what runs beside it.
 *
 * (I1) children never outlive the parent: they get SIGTERM when it dies, and save a checkpoint;
 * (I2) a finished run is not run again.
 */
#ifndef ISO_STUDY_EXECUTOR_H
#define ISO_STUDY_EXECUTOR_H

#include "base/status.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum iso_job_state {
    ISO_JOB_WAITING,
    ISO_JOB_RUNNING,
    ISO_JOB_DONE,
    ISO_JOB_FAILED,
    ISO_JOB_PREEMPTED,
} iso_job_state;

typedef struct iso_job {
    const char *name;
    const char *config_path;
    const char *run_dir; /* its log.txt takes what the process prints */
    double cost;         /* expected seconds, or anything proportional: the longest start first */
    int64_t n_steps;     /* planned */
    int64_t step;        /* done, from metrics.jsonl */
    iso_job_state state;
    int exit_code;
    int n_retries;  /* because the run folder was still in use */
    int wait_polls; /* before the next one */
    pid_t pid;
} iso_job;

/* Called a few times a second, and whenever a job changes its state. */
typedef void (*iso_jobs_fn)(void *ctx, const iso_job *jobs, int64_t n_jobs);

typedef struct iso_executor {
    const char *program; /* the isomoe binary */
    int n_parallel;
    const volatile sig_atomic_t *stop; /* non-zero: ask all to save, wait for them, return */
    iso_jobs_fn on_progress;
    void *ctx;
} iso_executor;

/* Runs all jobs whose runs are not finished yet. ISO_ERR_PREEMPTED after a stop; if jobs failed,
 * the status and the last words of the first of them, after the others have ended. */
iso_status iso_executor_run(const iso_executor *executor, iso_job *jobs, int64_t n_jobs);

#endif
