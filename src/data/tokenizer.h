/* tokenizer.h - text to ids and back, without loss.
 *
 * Two kinds. *bytes*: ids 0..255 are the bytes, 256 the separator. *sentencepiece*: a BPE model
 * with byte fallback, trained here or elsewhere, whose separator is a control symbol.
 *
 * Every id stands for a fixed string of bytes (special ids for none), and decoding is their
 * concatenation. So bytes and code points of a token stream are sums over a table, and bits per
 * byte need no text.
 *
 * (I1) decode(encode(x)) == x for every valid UTF-8 x, control characters and NUL included;
 * (I2) encode never produces the separator, and every id it produces is below n_ids.
 */
#ifndef ISO_DATA_TOKENIZER_H
#define ISO_DATA_TOKENIZER_H

#include "base/fileio.h"
#include "base/status.h"
#include "base/str.h"

#include <stdint.h>

#define ISO_TOKENIZER_BYTES "bytes"
/* The separator's name in models trained here. */
#define ISO_TOKENIZER_SEPARATOR "<|sep|>"
/* Ids fit uint16 exactly up to here. */
#define ISO_TOKENIZER_MAX_IDS 65536

typedef struct iso_tokenizer {
    int64_t n_ids; /* separator included */
    int32_t separator;
    char hash[ISO_SHA256_HEX_BYTES]; /* SHA-256 of what defines it: "bytes", or the model file */
    uint16_t *id_bytes;              /* (n_ids) bytes of each id; 0 for special ids */
    uint16_t *id_chars;              /* (n_ids) code points begun by each id */
    char *pool;                      /* the bytes of all ids, one after the other */
    int64_t *pool_starts;            /* (n_ids + 1) */
    int32_t byte_ids[256];           /* the id of each single byte */
    struct iso_spm *model;           /* NULL for bytes */
    char *model_bytes;               /* the model file; NULL for bytes */
    int64_t n_model_bytes;
} iso_tokenizer;

/* A growing list of ids. Zero-initialise it. */
typedef struct iso_ids {
    int32_t *data;
    int64_t n, capacity;
} iso_ids;
void iso_ids_release(iso_ids *ids);

/* `name` is "bytes" or the path of a SentencePiece model. ISO_ERR_DATA if the model has no byte
 * fallback or no separator, or changes text. */
iso_status iso_tokenizer_open(iso_tokenizer *out, const char *name);
/* The tokenizer that a prepared folder was made with: its own copy of the model, or bytes. */
iso_status iso_tokenizer_open_prepared(iso_tokenizer *out, const char *data_dir);
void iso_tokenizer_close(iso_tokenizer *tokenizer);

/* Appends the ids of valid UTF-8 text. */
iso_status iso_tokenizer_encode(const iso_tokenizer *tokenizer, iso_ids *out, const char *text,
                                int64_t n_bytes);
/* Appends the bytes of ids; special ids have none. ISO_ERR_DATA on an id outside [0, n_ids). */
iso_status iso_tokenizer_decode(const iso_tokenizer *tokenizer, iso_str *out, const int32_t *ids,
                                int64_t n);

typedef struct iso_tokenizer_options {
    int64_t vocab_size; /* ids in all: 256 bytes, separator, unknown, pieces; at most 65,536 */
    int64_t max_bytes;  /* of text to learn from, a choice of documents by hash; 0 = all */
} iso_tokenizer_options;

/* Learns a BPE model from the texts under the paths and writes it to out_path. Deterministic. */
iso_status iso_tokenizer_train(const char *out_path, const char *const *paths, int64_t n_paths,
                               const iso_tokenizer_options *options);

#endif
