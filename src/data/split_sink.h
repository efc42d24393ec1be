/* split_sink.h - where the documents of one split go: ids to shards, text to the statistics.
 *
 * Internal to prepare.c.
 */
#ifndef ISO_DATA_SPLIT_SINK_H
#define ISO_DATA_SPLIT_SINK_H

#include "base/json.h"
#include "base/status.h"
#include "data/corpus.h"
#include "data/shard_writer.h"
#include "data/text_stats.h"
#include "data/tokenizer.h"

typedef struct iso_split_sink {
    const iso_tokenizer *tokenizer; /* borrowed */
    char *name;
    iso_shard_writer writer;
    iso_text_stats stats;
    iso_ids ids; /* of one document: scratch */
    int64_t n_documents, n_bytes, n_chars;
} iso_split_sink;

/* 2 where the tokenizer's ids fit uint16, else 4. */
int iso_tokenizer_token_bytes(const iso_tokenizer *tokenizer);

iso_status iso_split_sink_init(iso_split_sink *out, const iso_tokenizer *tokenizer,
                               const char *name, const char *dir, int64_t max_shard_bytes,
                               int64_t gzip_max_bytes);
void iso_split_sink_release(iso_split_sink *sink);
iso_status iso_split_sink_add(iso_split_sink *sink, const iso_document *document);
/* Completes the shards; *entry is the split's object for dataset.json (caller owns). */
iso_status iso_split_sink_finish(iso_split_sink *sink, json_t **entry);

#endif
