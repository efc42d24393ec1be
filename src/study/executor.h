/* executor.h - runs many trainings through a launcher, several at a time, to the end of all.
 *
 * Each job is a process of its own: a crash takes one run, a kill of any of them costs the steps
 * since its last checkpoint, and the bits do not depend on what runs beside it.
 *
 * Owns: the order of starts, what fits at once, retries. Does not own: processes (launcher.h).
 *
 * A failure that may pass (a crash, a signal, a full disk, an I/O error) is tried again
 * `max_retries` times, after a pause that doubles; one that cannot (a faulty config) is not. A run
 * that diverges (NaN) has come to its end. A run folder that another process still holds is waited
 * for.
 *
 * (I1) a finished or diverged run is not run again; (I2) no job runs twice at once.
 */
#ifndef ISO_STUDY_EXECUTOR_H
#define ISO_STUDY_EXECUTOR_H

#include "study/launcher.h"

#include <signal.h>

/* Called a few times a second, and whenever a job changes its state. */
typedef void (*iso_jobs_fn)(void *ctx, const iso_job *jobs, int64_t n_jobs);
/* Whether an unfinished run is known to be hopeless: asked before its start and while it runs. */
typedef bool (*iso_hopeless_fn)(void *ctx, const iso_job *job);

typedef struct iso_executor {
    iso_launcher launcher;
    int n_parallel;
    int64_t room_bytes; /* memory for all that runs at once; 0 = no matter. One job always runs */
    int max_retries;
    const volatile sig_atomic_t *stop; /* non-zero: ask all to save, wait for them, return */
    iso_jobs_fn on_progress;
    iso_hopeless_fn is_hopeless; /* may be NULL */
    void *ctx;
} iso_executor;

/* Runs all jobs whose runs are not finished yet. ISO_ERR_PREEMPTED after a stop; if jobs failed,
 * the status and the last words of the first of them, after the others have ended. */
iso_status iso_executor_run(const iso_executor *executor, iso_job *jobs, int64_t n_jobs);

#endif
