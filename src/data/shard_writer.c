#include "data/shard_writer.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_TOKENS 16384

char *iso_shard_name(const char *prefix, int64_t i_shard) {
    return iso_strf("%s-%05lld.bin", prefix, (long long)i_shard);
}

iso_status iso_shard_writer_init(iso_shard_writer *out, const char *dir, const char *prefix,
                                 int token_bytes, int64_t max_shard_bytes) {
    ISO_ASSERT((token_bytes == 2 || token_bytes == 4) && max_shard_bytes >= token_bytes);
    *out = (iso_shard_writer){.dir = iso_strf("%s", dir),
                              .prefix = iso_strf("%s", prefix),
                              .token_bytes = token_bytes,
                              .max_tokens = max_shard_bytes / token_bytes};
    return iso_sha256_create(&out->hash);
}

void iso_shard_writer_release(iso_shard_writer *writer) {
    char hex[ISO_SHA256_HEX_BYTES];
    if (writer->hash.state) iso_sha256_finish(&writer->hash, hex);
    if (writer->is_open) iso_file_out_abandon(&writer->file);
    free(writer->shard_tokens);
    free(writer->prefix);
    free(writer->dir);
    *writer = (iso_shard_writer){0};
}

static iso_status open_shard(iso_shard_writer *writer) {
    size_t n = (size_t)writer->n_shards + 1;
    int64_t *shard_tokens = realloc(writer->shard_tokens, n * sizeof *shard_tokens);
    if (!shard_tokens) return iso_fail(ISO_ERR_MEMORY, "no memory for a list of %zu shards", n);
    writer->shard_tokens = shard_tokens;
    char *name = iso_shard_name(writer->prefix, writer->n_shards);
    char *path = iso_strf("%s/%s", writer->dir, name);
    iso_status status = iso_file_out_open(&writer->file, path);
    free(path);
    free(name);
    ISO_TRY(status);
    writer->shard_tokens[writer->n_shards++] = 0;
    writer->is_open = true;
    return ISO_OK;
}

static iso_status close_shard(iso_shard_writer *writer) {
    writer->is_open = false;
    return iso_file_out_commit(&writer->file);
}

/* ids as little-endian integers of token_bytes, whatever this machine's order. */
static void pack(uint8_t *bytes, const int32_t *ids, int64_t n, int token_bytes) {
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < token_bytes; k++)
            bytes[i * token_bytes + k] = (uint8_t)((uint32_t)ids[i] >> 8 * k);
}

static iso_status append_chunk(iso_shard_writer *writer, const int32_t *ids, int64_t n) {
    uint8_t bytes[CHUNK_TOKENS * 4];
    int64_t n_bytes = n * writer->token_bytes;
    if (!writer->is_open) ISO_TRY(open_shard(writer));
    for (int64_t i = 0; i < n; i++)
        if (ids[i] > writer->max_id) writer->max_id = ids[i];
    ISO_ASSERT(writer->token_bytes == 4 || writer->max_id <= UINT16_MAX);
    if (writer->token_bytes == 2)
        pack(bytes, ids, n, 2);
    else
        pack(bytes, ids, n, 4);
    iso_sha256_update(&writer->hash, bytes, n_bytes);
    ISO_TRY(iso_file_out_write(&writer->file, bytes, n_bytes));
    writer->shard_tokens[writer->n_shards - 1] += n;
    writer->n_tokens += n;
    if (writer->shard_tokens[writer->n_shards - 1] == writer->max_tokens)
        ISO_TRY(close_shard(writer));
    return ISO_OK;
}

iso_status iso_shard_writer_append(iso_shard_writer *writer, const int32_t *ids, int64_t n) {
    while (n > 0) {
        int64_t room = writer->max_tokens;
        if (writer->is_open) room -= writer->shard_tokens[writer->n_shards - 1];
        int64_t chunk = n < CHUNK_TOKENS ? n : CHUNK_TOKENS;
        if (chunk > room) chunk = room;
        ISO_TRY(append_chunk(writer, ids, chunk));
        ids += chunk;
        n -= chunk;
    }
    return ISO_OK;
}

iso_status iso_shard_writer_finish(iso_shard_writer *writer, char hex[ISO_SHA256_HEX_BYTES]) {
    if (writer->is_open) ISO_TRY(close_shard(writer));
    iso_sha256_finish(&writer->hash, hex);
    return ISO_OK;
}
