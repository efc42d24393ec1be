/* launcher.h - where a run runs: the one interface between a scheduler and machines.
 *
 * A launcher starts `isomoe train CONFIG --out RUN --name NAME --resume auto` somewhere, says when
 * it has ended, and can ask it to save and end. executor.h decides what to start when. Local
 * processes are one launcher; a batch system that takes the jobs of a manifest would be another.
 *
 * (I1) local children never outlive the parent: they get SIGTERM when it dies, and save a
 * checkpoint.
 */
#ifndef ISO_STUDY_LAUNCHER_H
#define ISO_STUDY_LAUNCHER_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum iso_job_state {
    ISO_JOB_WAITING,
    ISO_JOB_RUNNING,
    ISO_JOB_DONE,
    ISO_JOB_FAILED,
    ISO_JOB_PREEMPTED,
    ISO_JOB_STOPPED,  /* as hopeless */
    ISO_JOB_DIVERGED, /* not finite: the run's end, and no failure of the study */
} iso_job_state;
#define ISO_JOB_N_STATES (ISO_JOB_DIVERGED + 1)

#define ISO_JOB_CAUSE_BYTES 400

typedef struct iso_job {
    const char *name;
    const char *config_path;
    const char *run_dir; /* its log.txt takes what the process prints */
    int64_t order;       /* lower ones start first */
    double cost; /* expected seconds, or anything proportional: of an order the longest first */
    int64_t memory_bytes; /* 0 = not known, and no matter */
    int64_t n_steps;      /* planned */
    int64_t step;         /* done, from metrics.jsonl */
    iso_job_state state;
    int exit_code;
    char cause[ISO_JOB_CAUSE_BYTES]; /* of the last failure: the last line of the log */
    int64_t n_attempts;              /* how often it was started, now */
    int n_retries;                   /* after failures */
    int n_locked;                    /* because the run folder was still in use */
    int wait_polls;                  /* before the next one */
    bool is_ending;                  /* asked to end as hopeless */
    int64_t handle;                  /* the launcher's: a process */
} iso_job;

typedef struct iso_launcher {
    iso_status (*start)(void *ctx, iso_job *job);
    /* Never waits. The exit code is isomoe train's, or 128 + the signal that ended it. */
    bool (*has_ended)(void *ctx, const iso_job *job, int *exit_code);
    void (*ask_to_end)(void *ctx, const iso_job *job);
    void *ctx;
} iso_launcher;

/* Processes of this machine; `program` is the isomoe binary and outlives the launcher. */
iso_launcher iso_launcher_local(const char *program);

#endif
