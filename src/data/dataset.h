/* dataset.h - a prepared folder, opened: memory-mapped token shards, tables, hashes.
 *
 * Owns: reading what `isomoe data prepare` wrote (docs/formats.md, "Prepared folder"). Does not
 * own: preparing it (prepare.h), the order of training (order.h), the evaluation sample
 * (eval_sample.h).
 *
 * (I1) every token id in a shard is below n_ids, and the shard's size, count and hash agree with
 * its index: checked at open (the count and size always, contents by iso_dataset_verify); (I2) a
 * document in a token stream is its separator followed by its tokens: stream = SEP doc SEP doc.
 */
#ifndef ISO_DATA_DATASET_H
#define ISO_DATA_DATASET_H

#include "base/fileio.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

/* One stream of tokens, cut into shard files. */
typedef struct iso_split {
    char *name;       /* "train", or the validation domain's name */
    int64_t n_tokens; /* separators included */
    int64_t n_documents;
    int64_t n_bytes; /* of raw text, separators not counted */
    int64_t n_chars; /* Unicode code points of it */
    int64_t max_id;
    int token_bytes; /* 2 or 4: width of an id on disk */
    int64_t n_shards;
    iso_map *shards;
    int64_t *shard_starts;             /* n_shards + 1: first token of each shard in the stream */
    char sha256[ISO_SHA256_HEX_BYTES]; /* of the token stream */
    double order0_bpb; /* order-0 entropy of the raw text, bits per byte: scale for a result */
    double gzip9_bpb;  /* bits per byte that gzip -9 needs for it */
} iso_split;

typedef struct iso_dataset {
    char *dir;
    char tokenizer_hash[ISO_SHA256_HEX_BYTES];
    char hash[ISO_SHA256_HEX_BYTES]; /* of the index: names the whole prepared folder */
    int64_t n_ids;                   /* ids the tokenizer can produce, separator included */
    int32_t separator;
    uint16_t *id_bytes; /* (n_ids) raw bytes of each id; 0 for special ids */
    uint16_t *id_chars; /* (n_ids) code points begun by each id; 0 for special ids */
    iso_split train;
    int64_t n_domains;
    iso_split *domains; /* validation; the in-distribution hold-out, if any, is named ISO_HOLDOUT */
} iso_dataset;

/* The name of the validation domain held out from the training text itself. */
#define ISO_HOLDOUT "holdout"

iso_status iso_dataset_open(iso_dataset *out, const char *dir);
void iso_dataset_close(iso_dataset *dataset);
/* Reads everything and compares it with the index: hashes of streams and files, documents, bytes
 * and code points, the id table with the tokenizer. ISO_ERR_DATA names the file that differs. */
iso_status iso_dataset_verify(const iso_dataset *dataset);

/* The split of that name, or NULL. */
const iso_split *iso_dataset_domain(const iso_dataset *dataset, const char *name);

/* Copies tokens [start, start + n) of the stream, across shards, as int32. In range by contract. */
void iso_split_read(const iso_split *split, int64_t start, int64_t n, int32_t *out);
/* Sequences of S tokens with their targets that the stream holds: (n_tokens - 1) / S. */
int64_t iso_split_n_sequences(const iso_split *split, int64_t S);

#endif
