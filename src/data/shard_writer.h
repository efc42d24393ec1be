/* shard_writer.h - one stream of ids, written to shard files of bounded size.
 *
 * (I1) a shard file has its final name only when it is complete and on disk.
 */
#ifndef ISO_DATA_SHARD_WRITER_H
#define ISO_DATA_SHARD_WRITER_H

#include "base/fileio.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct iso_shard_writer {
    char *dir, *prefix; /* files are dir/prefix-00000.bin and so on */
    int token_bytes;    /* 2 or 4 */
    int64_t max_tokens; /* of one shard */
    int64_t n_tokens;   /* of the stream so far */
    int64_t max_id;     /* 0 for an empty stream */
    int64_t n_shards;
    int64_t *shard_tokens; /* (n_shards) */
    iso_sha256 hash;       /* of the stream's bytes */
    bool is_open;          /* `file` is the last shard, unfinished */
    iso_file_out file;
} iso_shard_writer;

iso_status iso_shard_writer_init(iso_shard_writer *out, const char *dir, const char *prefix,
                                 int token_bytes, int64_t max_shard_bytes);
/* Frees everything and removes an unfinished shard. */
void iso_shard_writer_release(iso_shard_writer *writer);
/* Every id must fit token_bytes. */
iso_status iso_shard_writer_append(iso_shard_writer *writer, const int32_t *ids, int64_t n);
/* Completes the last shard; the hash of the stream goes to hex. */
iso_status iso_shard_writer_finish(iso_shard_writer *writer, char hex[ISO_SHA256_HEX_BYTES]);

/* The file name of shard i_shard under that prefix; caller frees. */
char *iso_shard_name(const char *prefix, int64_t i_shard);

#endif
