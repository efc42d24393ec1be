/* loop.h - a whole training run: data, steps, evaluation, checkpoints, resume, ledger.
 *
 * Owns: the order of these. Does not own: the run folder's files (runs/run_folder.h, behind the
 * sink), the numbers of a step (trainer.h), the lock.
 *
 * (I1) losses and weights are a function of config, data and numeric profile: not of threads,
 * kills, resumes or the evaluation and checkpoint intervals; (I2) a run is finished only when steps
 * done = steps planned; (I3) what is in a checkpoint is finite and was reached by whole steps.
 */
#ifndef ISO_TRAIN_LOOP_H
#define ISO_TRAIN_LOOP_H

#include "train/config.h"
#include "train/sink.h"

#include <signal.h>

typedef enum iso_resume {
    ISO_RESUME_AUTO,  /* from the newest checkpoint that verifies, else from the start */
    ISO_RESUME_NEVER, /* from the start; the folder's checkpoints are dropped */
    ISO_RESUME_NAMED, /* from one checkpoint; if it is bad, fail */
} iso_resume;

typedef struct iso_loop_options {
    const char *name;    /* of the run, in ledger and report */
    const char *run_dir; /* locked by the caller */
    iso_resume resume;
    const char *checkpoint;            /* ISO_RESUME_NAMED */
    const volatile sig_atomic_t *stop; /* non-zero: save and return; may be NULL */
} iso_loop_options;

/* Trains to the end, or until *stop: then a checkpoint is saved and ISO_ERR_PREEMPTED returned.
 * `config` is resolved. ISO_ERR_USAGE: config and data do not fit (vocabulary, length, D-hat), or
 * the folder holds another run's checkpoints. ISO_ERR_NONFINITE: stopped before the bad update. */
iso_status iso_train_run(const iso_config *config, const iso_loop_options *options,
                         const iso_sink *sink);

#endif
