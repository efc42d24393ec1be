#include "data/split_sink.h"

#include "data/dataset_index.h"
#include "data/utf8.h"

#include <stdlib.h>

int iso_tokenizer_token_bytes(const iso_tokenizer *tokenizer) {
    return tokenizer->n_ids <= ISO_TOKENIZER_MAX_IDS ? 2 : 4;
}

iso_status iso_split_sink_init(iso_split_sink *out, const iso_tokenizer *tokenizer,
                               const char *name, const char *dir, int64_t max_shard_bytes,
                               int64_t gzip_max_bytes) {
    *out = (iso_split_sink){.tokenizer = tokenizer, .name = iso_strf("%s", name)};
    char *prefix = iso_dataset_prefix(name);
    iso_status status = iso_shard_writer_init(
        &out->writer, dir, prefix, iso_tokenizer_token_bytes(tokenizer), max_shard_bytes);
    free(prefix);
    if (status == ISO_OK) status = iso_text_stats_init(&out->stats, gzip_max_bytes);
    if (status != ISO_OK) iso_split_sink_release(out);
    return status;
}

void iso_split_sink_release(iso_split_sink *sink) {
    iso_shard_writer_release(&sink->writer);
    iso_text_stats_release(&sink->stats);
    iso_ids_release(&sink->ids);
    free(sink->name);
    *sink = (iso_split_sink){0};
}

iso_status iso_split_sink_add(iso_split_sink *sink, const iso_document *document) {
    int32_t separator = sink->tokenizer->separator;
    sink->ids.n = 0;
    ISO_TRY(iso_tokenizer_encode(sink->tokenizer, &sink->ids, document->text, document->n_bytes));
    ISO_TRY(iso_shard_writer_append(&sink->writer, &separator, 1));
    ISO_TRY(iso_shard_writer_append(&sink->writer, sink->ids.data, sink->ids.n));
    iso_text_stats_add(&sink->stats, document->text, document->n_bytes);
    sink->n_documents++;
    sink->n_bytes += document->n_bytes;
    sink->n_chars += iso_utf8_count(document->text, document->n_bytes);
    return ISO_OK;
}

iso_status iso_split_sink_finish(iso_split_sink *sink, json_t **entry) {
    char hex[ISO_SHA256_HEX_BYTES];
    ISO_TRY(iso_shard_writer_finish(&sink->writer, hex));
    iso_text_stats_finish(&sink->stats);
    json_t *shards = json_array();
    for (int64_t i = 0; i < sink->writer.n_shards; i++)
        json_array_append_new(shards, json_integer(sink->writer.shard_tokens[i]));
    *entry = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:f, s:f, s:I, s:o}", //
                       "name", sink->name,                                                  //
                       "dtype", sink->writer.token_bytes == 2 ? "uint16" : "uint32",        //
                       "n_tokens", (json_int_t)sink->writer.n_tokens,                       //
                       "n_documents", (json_int_t)sink->n_documents,                        //
                       "n_bytes", (json_int_t)sink->n_bytes,                                //
                       "n_chars", (json_int_t)sink->n_chars,                                //
                       "max_id", (json_int_t)sink->writer.max_id,                           //
                       "tokenizer_hash", sink->tokenizer->hash,                             //
                       "sha256", hex,                                                       //
                       "order0_bpb", iso_text_stats_order0(&sink->stats),                   //
                       "gzip9_bpb", iso_text_stats_gzip9(&sink->stats),                     //
                       "gzip9_text_bytes", (json_int_t)sink->stats.gzip_in_bytes,           //
                       "shard_tokens", shards);
    return *entry ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "no memory for the index");
}
