/* corpus.h - documents, one after the other, from files and folders.
 *
 * Owns: which files are read in which order, how they are cut into documents, and what happens to
 * text that is not UTF-8. Does not own: decompression (unpack.h), tokens (tokenizer.h).
 *
 *   NAME.jsonl, NAME.json   one JSON object a line; its "text" is a document. Lines end at LF bytes
 *                           and nowhere else (U+2028 is text).
 *   any other name          plain text: the file is one document. One larger than 64 KiB is cut
 * into documents of 16-32 KiB, at a blank line if there is one, else at a line end: the hold-out
 * takes whole documents, and a single book must be able to give some of itself. NAME.gz, NAME.zst
 * the above, packed; all members and frames are read.
 *
 * Folders are walked in bytewise order of names; hidden entries and links to folders are left out.
 *
 * (I1) the documents are a function of the paths and what is in the files, never of time or locale;
 * (I2) every document handed out is valid UTF-8 and not empty; what is dropped is counted;
 * (I3) memory is bounded by the longest line (max_line_bytes), whatever the size of the files.
 */
#ifndef ISO_DATA_CORPUS_H
#define ISO_DATA_CORPUS_H

#include "base/status.h"

#include <stdint.h>

typedef enum iso_invalid {
    ISO_INVALID_REJECT, /* fail, naming file and place */
    ISO_INVALID_SKIP,   /* leave the document out and count it */
} iso_invalid;

typedef struct iso_corpus_options {
    iso_invalid invalid;
    int64_t max_line_bytes;     /* of a JSONL line */
    int64_t max_unpacked_bytes; /* of one file */
} iso_corpus_options;

/* Reject; lines of 64 MiB; files as unpack.h caps them. */
iso_corpus_options iso_corpus_options_default(void);

typedef struct iso_document {
    const char *text; /* borrowed until the next call; NULL at the end of the corpus */
    int64_t n_bytes;
    const char *path; /* borrowed until close */
    int64_t position; /* JSONL: line, from 1; plain text: byte of the unpacked file, from 0 */
} iso_document;

typedef struct iso_corpus_counts {
    int64_t n_files;     /* opened so far */
    int64_t n_documents; /* handed out */
    int64_t n_bytes;     /* of text handed out */
    int64_t n_empty;     /* dropped: no text */
    int64_t n_bad_utf8;  /* skipped: not UTF-8 */
    int64_t n_bad_json;  /* skipped: not JSON, or without a string "text" */
    int64_t n_too_long;  /* skipped: lines over the cap */
} iso_corpus_counts;

/* A document that ISO_INVALID_SKIP left out. The first ISO_CORPUS_SKIPS are kept. */
#define ISO_CORPUS_SKIPS 1000
typedef struct iso_corpus_skip {
    const char *path; /* borrowed until close */
    int64_t position;
    const char *reason; /* static */
} iso_corpus_skip;

typedef struct iso_corpus iso_corpus;

/* Lists the files under the n_paths paths now, opens them as they come. ISO_ERR_IO if a path is not
 * there, ISO_ERR_DATA if they hold no file at all. */
iso_status iso_corpus_open(iso_corpus **out, const char *const *paths, int64_t n_paths,
                           const iso_corpus_options *options);
void iso_corpus_close(iso_corpus *corpus); /* NULL is fine */

/* The next document; out->text is NULL at the end. */
iso_status iso_corpus_next(iso_corpus *corpus, iso_document *out);

const iso_corpus_counts *iso_corpus_get_counts(const iso_corpus *corpus);
const iso_corpus_skip *iso_corpus_get_skips(const iso_corpus *corpus, int64_t *n);

/* The files, in reading order. */
int64_t iso_corpus_n_files(const iso_corpus *corpus);
const char *iso_corpus_file(const iso_corpus *corpus, int64_t i_file);

/* Bytes of files (as stored) read so far, and in all: for progress. */
int64_t iso_corpus_position(const iso_corpus *corpus);
int64_t iso_corpus_size(const iso_corpus *corpus);

#endif
