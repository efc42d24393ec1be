#include "data/dataset.h"

#include "data/dataset_index.h"
#include "data/shard_writer.h"
#include "data/tokenizer.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_MAX_BYTES (64 << 20)

static void close_split(iso_split *split) {
    for (int64_t i = 0; split->shards && i < split->n_shards; i++) iso_map_close(&split->shards[i]);
    free(split->shards);
    free(split->shard_starts);
    free(split->name);
}

void iso_dataset_close(iso_dataset *dataset) {
    close_split(&dataset->train);
    for (int64_t i = 0; i < dataset->n_domains; i++) close_split(&dataset->domains[i]);
    free(dataset->domains);
    free(dataset->id_bytes);
    free(dataset->id_chars);
    free(dataset->dir);
    *dataset = (iso_dataset){0};
}

const iso_split *iso_dataset_domain(const iso_dataset *dataset, const char *name) {
    for (int64_t i = 0; i < dataset->n_domains; i++)
        if (dataset->domains[i].name && strcmp(dataset->domains[i].name, name) == 0)
            return &dataset->domains[i];
    return NULL;
}

/* --- reading tokens --- */

static void unpack_ids(const uint8_t *bytes, int64_t n, int token_bytes, int32_t *out) {
    if (token_bytes == 2) {
        for (int64_t i = 0; i < n; i++) {
            uint16_t id;
            memcpy(&id, bytes + 2 * i, 2);
            out[i] = le16toh(id);
        }
    } else {
        for (int64_t i = 0; i < n; i++) {
            uint32_t id;
            memcpy(&id, bytes + 4 * i, 4);
            out[i] = (int32_t)le32toh(id);
        }
    }
}

/* The shard that holds token `at`: the last one that starts at or before it. */
static int64_t find_shard(const iso_split *split, int64_t at) {
    int64_t low = 0, high = split->n_shards;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (split->shard_starts[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void iso_split_read(const iso_split *split, int64_t start, int64_t n, int32_t *out) {
    ISO_ASSERT(start >= 0 && n >= 0 && start <= split->n_tokens - n);
    if (n == 0) return;
    for (int64_t i_shard = find_shard(split, start); n > 0; i_shard++) {
        int64_t offset = start - split->shard_starts[i_shard];
        int64_t left = split->shard_starts[i_shard + 1] - start;
        int64_t take = n < left ? n : left;
        unpack_ids(split->shards[i_shard].data + offset * split->token_bytes, take,
                   split->token_bytes, out);
        out += take;
        start += take;
        n -= take;
    }
}

int64_t iso_split_n_sequences(const iso_split *split, int64_t S) {
    return split->n_tokens > S ? (split->n_tokens - 1) / S : 0;
}

/* --- open --- */

static int64_t shard_max_id(const iso_map *shard, int token_bytes) {
    int64_t n = shard->size_bytes / token_bytes;
    uint32_t max = 0;
    if (token_bytes == 2) {
        uint16_t max16 = 0;
        for (int64_t i = 0; i < n; i++) {
            uint16_t id;
            memcpy(&id, shard->data + 2 * i, 2);
            id = le16toh(id);
            max16 = id > max16 ? id : max16;
        }
        max = max16;
    } else {
        for (int64_t i = 0; i < n; i++) {
            uint32_t id;
            memcpy(&id, shard->data + 4 * i, 4);
            id = le32toh(id);
            max = id > max ? id : max;
        }
    }
    return max;
}

static iso_status open_shard(iso_split *split, int64_t i_shard, const char *path) {
    iso_map *shard = &split->shards[i_shard];
    ISO_TRY(iso_map_open(shard, path));
    int64_t n_tokens = split->shard_starts[i_shard + 1] - split->shard_starts[i_shard];
    if (shard->size_bytes != n_tokens * split->token_bytes)
        return iso_fail(ISO_ERR_DATA,
                        "%s: has %lld bytes, but the index says %lld tokens of %d bytes; prepare "
                        "the data again",
                        path, (long long)shard->size_bytes, (long long)n_tokens,
                        split->token_bytes);
    /* Reading the shard costs little beside training on it, and from here on ids index tables. */
    int64_t max_id = shard_max_id(shard, split->token_bytes);
    if (max_id > split->max_id)
        return iso_fail(ISO_ERR_DATA,
                        "%s: holds token id %lld, beyond the index's largest, %lld; prepare the "
                        "data again",
                        path, (long long)max_id, (long long)split->max_id);
    return ISO_OK;
}

static iso_status open_split(iso_split *split, const char *dir) {
    char *prefix = iso_dataset_prefix(split->name);
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < split->n_shards && status == ISO_OK; i++) {
        char *name = iso_shard_name(prefix, i);
        char *path = iso_strf("%s/%s", dir, name);
        status = open_shard(split, i, path);
        free(path);
        free(name);
    }
    free(prefix);
    return status;
}

/* id_table.bin: for each id two little-endian uint16, bytes and code points. */
static iso_status read_table(iso_dataset *dataset, const char *path) {
    char *bytes;
    int64_t n_bytes, expected = dataset->n_ids * 4;
    ISO_TRY(iso_file_read(&bytes, &n_bytes, path, expected));
    if (n_bytes != expected) {
        free(bytes);
        return iso_fail(ISO_ERR_DATA, "%s: has %lld bytes, not 4 for each of %lld ids", path,
                        (long long)n_bytes, (long long)dataset->n_ids);
    }
    dataset->id_bytes = malloc((size_t)dataset->n_ids * sizeof *dataset->id_bytes);
    dataset->id_chars = malloc((size_t)dataset->n_ids * sizeof *dataset->id_chars);
    if (!dataset->id_bytes || !dataset->id_chars) {
        free(bytes);
        return iso_fail(ISO_ERR_MEMORY, "%s: no memory for the table", path);
    }
    for (int64_t id = 0; id < dataset->n_ids; id++) {
        const uint8_t *entry = (const uint8_t *)bytes + 4 * id;
        dataset->id_bytes[id] = (uint16_t)(entry[0] | entry[1] << 8);
        dataset->id_chars[id] = (uint16_t)(entry[2] | entry[3] << 8);
    }
    free(bytes);
    return ISO_OK;
}

static iso_status open_files(iso_dataset *dataset) {
    char *path = iso_strf("%s/" ISO_DATASET_TABLE, dataset->dir);
    iso_status status = read_table(dataset, path);
    free(path);
    ISO_TRY(status);
    ISO_TRY(open_split(&dataset->train, dataset->dir));
    for (int64_t i = 0; i < dataset->n_domains; i++)
        ISO_TRY(open_split(&dataset->domains[i], dataset->dir));
    return ISO_OK;
}

iso_status iso_dataset_open(iso_dataset *out, const char *dir) {
    *out = (iso_dataset){0};
    char *text = NULL, *path = iso_strf("%s/" ISO_DATASET_INDEX, dir);
    int64_t n_bytes = 0;
    iso_status status = iso_file_read(&text, &n_bytes, path, INDEX_MAX_BYTES);
    if (status != ISO_OK)
        iso_fail_context(status, "%s is no prepared folder (make one with isomoe data prepare)",
                         dir);
    if (status == ISO_OK) status = iso_dataset_index_parse(out, text, n_bytes, path);
    free(text);
    free(path);
    ISO_TRY(status);
    out->dir = iso_strf("%s", dir);
    status = open_files(out);
    if (status != ISO_OK) iso_dataset_close(out);
    return status;
}
