/* prepare_stage.h - the folder that preparing writes to, and how it becomes the real one.
 *
 * Internal to prepare.c.
 */
#ifndef ISO_DATA_PREPARE_STAGE_H
#define ISO_DATA_PREPARE_STAGE_H

#include "base/fileio.h"
#include "base/status.h"
#include "data/prepare.h"

#include <stdbool.h>

typedef struct iso_prepare_stage {
    char *dir;     /* out_dir + ".tmp" */
    char *out_dir; /* without slashes at its end */
    char *lock_path;
    iso_lock lock;
    bool is_locked, is_committed;
} iso_prepare_stage;

/* SHA-256 over the options that matter, the tokenizer and every input file's name and content; and
 * the size of these files. */
iso_status iso_prepare_input_hash(char hex[ISO_SHA256_HEX_BYTES], int64_t *n_bytes,
                                  const iso_prepare_options *options, const char *tokenizer_hash);

/* Looks at what is at out_dir. *reused: a prepared folder from this very input. ISO_ERR_USAGE if
 * there is anything else - which `force` overrides where it is a prepared folder, never otherwise.
 */
iso_status iso_prepare_stage_check(bool *reused, const char *out_dir, const char *input_hash,
                                   bool force);
/* Creates an empty stage, and takes over what a killed process left there. */
iso_status iso_prepare_stage_open(iso_prepare_stage *out, const char *out_dir);
/* Puts the stage in out_dir's place, durably. */
iso_status iso_prepare_stage_commit(iso_prepare_stage *stage);
/* Releases the stage; one that was not committed is removed. */
void iso_prepare_stage_close(iso_prepare_stage *stage);

#endif
