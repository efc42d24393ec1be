/* run_folder.h - a run's folder: written by one training process, read by audit and report.
 *
 * Owns: config.yaml, metrics.jsonl, summary.json, evaluation.json and lock (docs/formats.md, "Run
 * folder"). Does not own: checkpoints/ (train/checkpoint.h), routing.safetensors (route_file.h;
 * written through this sink, too), the meaning of the ledger (audit.h).
 *
 * (I1) one process at a time writes: it holds the lock, and a kill releases it;
 * (I2) (kind, step) is unique in metrics.jsonl and rows of a kind ascend by step; a resume drops
 * the rows past its checkpoint. A torn last line, left by a kill, is no row.
 */
#ifndef ISO_RUNS_RUN_FOLDER_H
#define ISO_RUNS_RUN_FOLDER_H

#include "base/json.h"
#include "base/status.h"
#include "train/config.h"
#include "train/sink.h"

#include <stdint.h>

/* --- writing --- */
typedef struct iso_run_writer iso_run_writer;

/* Creates the folder if need be and takes its lock: ISO_ERR_LOCKED if another process trains there.
 * Nothing else is touched yet: a resume reads the checkpoints first. */
iso_status iso_run_writer_open(iso_run_writer **out, const char *dir);
void iso_run_writer_close(iso_run_writer *writer);
/* What config.yaml will say from the moment the run begins: a kill finds it there. */
void iso_run_writer_config(iso_run_writer *writer, const iso_config *config);
/* Everything else goes through the sink; valid until close. */
iso_sink iso_run_writer_sink(iso_run_writer *writer);

/* --- reading --- */
typedef struct iso_run {
    char *dir;
    char *name;      /* the ledger's, else the folder's last component */
    json_t *summary; /* an object; checked for being one, and no further: see run_record.h */
    int64_t n_steps;
    iso_step_row *steps;
    int64_t n_evals;
    iso_eval_row *evals;
    int64_t n_routers;
    iso_router_row *routers;
    iso_evaluation *evaluation; /* NULL before the final evaluation */
    json_t *texts;              /* owns the strings above */
} iso_run;

/* Whether the run in `dir` was trained to its end. False, without an error, if there is none or it
 * cannot be told. */
bool iso_run_is_finished(const char *dir);
/* Likewise, whether it ended because a loss or gradient was not finite: it would again. */
bool iso_run_has_diverged(const char *dir);

/* Reads a finished, stopped or even still training run. ISO_ERR_DATA names the file, the line and
 * the fault; ISO_ERR_USAGE if `dir` is no run folder. */
iso_status iso_run_open(iso_run *out, const char *dir);
void iso_run_close(iso_run *run);

/* The headline of an evaluation row: every score's mean over the named domains in equal weights,
 * the hold-out's where there is no other; NaN without any. Its `domain` is NULL. */
iso_score iso_eval_row_headline(const iso_eval_row *row);

#endif
