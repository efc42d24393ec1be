/* prepare.h - text to a prepared folder: token shards, tables, index (docs/formats.md).
 *
 * Owns: which document goes where. Does not own: reading text (corpus.h), ids (tokenizer.h),
 * reading the folder (dataset.h).
 *
 * (I1) the folder is a function of the text, the tokenizer and the options: not of file paths,
 * time, machine (provenance is in sources.json, apart); (I2) no document of the training split is
 * byte for byte one of a validation domain; (I3) the folder appears under its name complete and on
 * disk, or not at all.
 */
#ifndef ISO_DATA_PREPARE_H
#define ISO_DATA_PREPARE_H

#include "base/status.h"
#include "data/corpus.h"

#include <stdbool.h>
#include <stdint.h>

/* Files and folders of one split. */
typedef struct iso_text_input {
    const char *name; /* of a validation domain; ignored for the training text */
    const char *const *paths;
    int64_t n_paths;
} iso_text_input;

/* How far: input bytes done of all, scaled by time (each byte is read more than once). Called about
 * every megabyte of every pass. */
typedef void (*iso_progress_fn)(void *ctx, const char *phase, int64_t done, int64_t total);

typedef struct iso_prepare_options {
    const char *tokenizer; /* "bytes" or a SentencePiece model */
    iso_text_input train;
    const iso_text_input *domains; /* (n_domains) */
    int64_t n_domains;
    const char *out_dir;
    int64_t
        holdout_one_in; /* hold out about 1 document in so many of the training text; 0 = none */
    int64_t max_train_bytes; /* of raw text, a choice of documents by hash; 0 = all */
    int64_t max_val_bytes;   /* of each domain, likewise */
    int64_t max_shard_bytes;
    iso_invalid invalid;
    bool force;               /* replace a prepared folder that is there */
    iso_progress_fn progress; /* may be NULL */
    void *progress_ctx;
} iso_prepare_options;

typedef struct iso_prepare_result {
    bool reused; /* the folder was there already, made from the same input */
} iso_prepare_result;

/* bytes, 1 in 200, no caps, shards of 1 GiB, reject what is not UTF-8. */
iso_prepare_options iso_prepare_options_default(void);

/* ISO_ERR_USAGE on bad options or an out_dir that holds something else, ISO_ERR_DATA on bad or
 * empty text, ISO_ERR_NO_SPACE before the disk is full, ISO_ERR_LOCKED if another process prepares
 * the same folder. */
iso_status iso_data_prepare(const iso_prepare_options *options, iso_prepare_result *result);

#endif
