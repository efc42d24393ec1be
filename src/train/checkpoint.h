/* checkpoint.h - the state of a run on disk: saved so that no kill, full disk or flipped bit costs
 * more than the steps since the last one.
 *
 * Owns: RUN/checkpoints/step_N/ and the order in which its bytes reach the disk (docs/formats.md,
 * "Checkpoint"). Does not own: what the tensors and the loop state mean (the training loop's).
 *
 * A save writes a folder under a temporary name, every file of it fsynced, the manifest (size and
 * SHA-256 of each file) last, renames it and syncs the parent; it then reads the new one back
 * before older ones go.
 *
 * (I1) a folder named step_N is complete: it came there by one rename after all of its bytes;
 * (I2) nothing is loaded before everything is verified: sizes, SHA-256, the set of files, the set
 * of tensors with their types and shapes. A failed load has changed nothing of the caller's; (I3) a
 * checkpoint that verified is removed only after a later one has verified.
 */
#ifndef ISO_TRAIN_CHECKPOINT_H
#define ISO_TRAIN_CHECKPOINT_H

#include "base/json.h"
#include "base/status.h"
#include "safetensors/safetensors.h"

#include <stdbool.h>
#include <stdint.h>

/* What a checkpoint belongs to. Hashes are strings of the caller's. On load a NULL is not compared;
 * a different hash is ISO_ERR_USAGE (never a reason to fall back: every other checkpoint of the run
 * has it, too), a different numeric profile a warning. On save all are mandatory. */
typedef struct iso_checkpoint_identity {
    const char *config_hash; /* over what decides the run's numbers; the caller says what */
    const char *data_hash;   /* of the prepared folder (iso_dataset.hash) */
    const char *tokenizer_hash;
    const json_t *numeric_profile;
} iso_checkpoint_identity;

/* The state itself; for saving it is read, for loading it is filled. Tensors are lists in any
 * order: on load every tensor of the file must be in the list and the reverse, with its dtype and
 * shape, and its elements are copied to `data`. */
typedef struct iso_checkpoint {
    iso_checkpoint_identity identity;
    int64_t step;                /* steps done; load: set */
    const iso_safetensor *model; /* Hugging Face names */
    int64_t n_model;
    const iso_safetensor *optimizer; /* named exp_avg.NAME and exp_avg_sq.NAME */
    int64_t n_optimizer;
    json_t *loop;         /* loop.json; save: borrowed; load: a new reference */
    void *blob;           /* loop.bin, e.g. the bits of iso_seen; NULL and 0 = none */
    int64_t n_blob_bytes; /* load: the file must have exactly this size */
} iso_checkpoint;

/* Saves RUN/checkpoints/step_N and then removes those before it, all but keep_last - 1 of them
 * (keep_last >= 1; 0 = keep all). ISO_ERR_NO_SPACE (checked ahead and on every write), ISO_ERR_IO:
 * nothing of the failed one stays and the older ones are untouched, so the caller may go on and try
 * again later. If step_N is there already and verifies, it is kept as it is. Refuses non-finite
 * model or optimizer elements with ISO_ERR_NONFINITE, naming the tensor. */
iso_status iso_checkpoint_save(const char *run_dir, const iso_checkpoint *checkpoint,
                               int64_t keep_last);

/* Loads the newest checkpoint of RUN that verifies, warning in the log of each bad one passed over.
 * *found is false (and the status ISO_OK) if there is none at all; if there are some and all are
 * bad, that is an error. Removes what an interrupted save left behind: hold the run's lock. */
iso_status iso_checkpoint_resume(bool *found, const char *run_dir, iso_checkpoint *checkpoint);

/* Loads the one checkpoint at `dir`; anything wrong with it is an error. */
iso_status iso_checkpoint_load(const char *dir, iso_checkpoint *checkpoint);

/* Removes RUN's checkpoints of steps beyond `step`, saying so in the log: called once a run goes on
 * from `step`, so that a later resume cannot pick up an abandoned future. */
iso_status iso_checkpoint_discard_after(const char *run_dir, int64_t step);

/* Checks sizes, SHA-256 and the set of files of the checkpoint at `dir`. *manifest (may be NULL) is
 * a new reference to the manifest: {format, step, files, config_hash, ...}. */
iso_status iso_checkpoint_verify(json_t **manifest, const char *dir);

/* Resolves an argument RUN|CHECKPOINT: a checkpoint folder stands for itself, a run folder for its
 * newest checkpoint that verifies (a bad newer one is passed over with a warning). Changes nothing
 * on disk. The caller frees *out. ISO_ERR_USAGE if it is neither. */
iso_status iso_checkpoint_find(char **out, const char *run_or_checkpoint);

/* Only the weights, for evaluation and generation: verifies the checkpoint, then copies every
 * tensor of `model`; the sets must be equal as above. */
iso_status iso_checkpoint_load_model(const char *dir, const iso_safetensor *model, int64_t n_model);

#endif
