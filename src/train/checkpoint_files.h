/* checkpoint_files.h - what checkpoint.c (saving, choosing) and checkpoint_read.c (verifying,
 * loading) share: the names in a checkpoint folder. Not for others.
 */
#ifndef ISO_TRAIN_CHECKPOINT_FILES_H
#define ISO_TRAIN_CHECKPOINT_FILES_H

#include "base/str.h"
#include "train/checkpoint.h"

#define ISO_CHECKPOINT_FORMAT   1
#define ISO_CHECKPOINT_MODEL    "model.safetensors"
#define ISO_CHECKPOINT_OPTIM    "optimizer.safetensors"
#define ISO_CHECKPOINT_LOOP     "loop.json"
#define ISO_CHECKPOINT_BLOB     "loop.bin" /* optional */
#define ISO_CHECKPOINT_MANIFEST "manifest.json"
/* The manifest's own SHA-256 in sha256sum's format: without it a flipped byte in the manifest's
 * config_hash, say, would go unseen. */
#define ISO_CHECKPOINT_SEAL "manifest.sha256"

/* The text of the seal for a manifest of these bytes; caller frees. */
char *iso_checkpoint_seal(const char *manifest, int64_t n_bytes);

/* Loads a checkpoint that was verified, given its manifest. */
iso_status iso_checkpoint_apply(const char *dir, const json_t *manifest,
                                iso_checkpoint *checkpoint);

#endif
