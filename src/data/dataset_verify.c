/* iso_dataset_verify: everything that a prepared folder claims, recomputed. */
#include "data/dataset.h"
#include "data/dataset_index.h"
#include "data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_TOKENS 16384

typedef struct totals {
    int64_t n_documents, n_bytes, n_chars, max_id;
    bool after_separator; /* the last token seen was one */
    bool empty_document;
} totals;

static void add_tokens(totals *sum, const iso_dataset *dataset, const int32_t *ids, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        bool is_separator = ids[i] == dataset->separator;
        sum->n_documents += is_separator;
        sum->empty_document |= is_separator && sum->after_separator;
        sum->after_separator = is_separator;
        sum->n_bytes += dataset->id_bytes[ids[i]];
        sum->n_chars += dataset->id_chars[ids[i]];
        if (ids[i] > sum->max_id) sum->max_id = ids[i];
    }
}

static iso_status check_count(const iso_dataset *dataset, const iso_split *split, const char *what,
                              int64_t found, int64_t expected) {
    if (found == expected) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "%s: split %s holds %lld %s, the index says %lld; prepare again",
                    dataset->dir, split->name, (long long)found, what, (long long)expected);
}

static iso_status verify_stream(const iso_dataset *dataset, const iso_split *split) {
    int32_t ids[CHUNK_TOKENS];
    totals sum = {0};
    for (int64_t at = 0; at < split->n_tokens; at += CHUNK_TOKENS) {
        int64_t n = split->n_tokens - at < CHUNK_TOKENS ? split->n_tokens - at : CHUNK_TOKENS;
        iso_split_read(split, at, n, ids);
        if (at == 0 && ids[0] != dataset->separator)
            return iso_fail(ISO_ERR_DATA, "%s: split %s does not start with a separator",
                            dataset->dir, split->name);
        add_tokens(&sum, dataset, ids, n);
    }
    if (sum.empty_document || sum.after_separator)
        return iso_fail(ISO_ERR_DATA, "%s: split %s holds an empty document", dataset->dir,
                        split->name);
    ISO_TRY(check_count(dataset, split, "documents", sum.n_documents, split->n_documents));
    ISO_TRY(check_count(dataset, split, "bytes of text", sum.n_bytes, split->n_bytes));
    ISO_TRY(check_count(dataset, split, "code points", sum.n_chars, split->n_chars));
    return check_count(dataset, split, "as its largest id", sum.max_id, split->max_id);
}

static iso_status verify_hash(const iso_dataset *dataset, const iso_split *split) {
    iso_sha256 hash;
    char hex[ISO_SHA256_HEX_BYTES];
    ISO_TRY(iso_sha256_create(&hash));
    for (int64_t i = 0; i < split->n_shards; i++)
        iso_sha256_update(&hash, split->shards[i].data, split->shards[i].size_bytes);
    iso_sha256_finish(&hash, hex);
    if (strcmp(hex, split->sha256) == 0) return ISO_OK;
    return iso_fail(
        ISO_ERR_DATA,
        "%s: the tokens of split %s are not those that were prepared (SHA-256 differs); "
        "prepare the data again",
        dataset->dir, split->name);
}

/* Compares SHA256SUMS with what is there, line by line, to name the first file that differs. */
static iso_status verify_sums(const char *dir) {
    char *found, *recorded, *path = iso_strf("%s/" ISO_DATASET_SUMS, dir);
    int64_t n_recorded;
    iso_status status = iso_file_read(&recorded, &n_recorded, path, 256 << 20);
    free(path);
    ISO_TRY(status);
    status = iso_dataset_sums(&found, dir);
    if (status != ISO_OK) {
        free(recorded);
        return status;
    }
    if ((int64_t)strlen(found) != n_recorded || memcmp(found, recorded, (size_t)n_recorded) != 0) {
        size_t same = 0;
        while (found[same] && found[same] == recorded[same]) same++;
        while (same > 0 && found[same - 1] != '\n') same--;
        const char *line = found[same] ? found + same : recorded + same;
        int length = (int)strcspn(line, "\n");
        int skip = length > 66 ? 66 : 0; /* a hash and two spaces */
        status = iso_fail(ISO_ERR_DATA,
                          "%s: %.*s is not as %s has it (changed, missing or added); prepare the "
                          "data again",
                          dir, length - skip, line + skip, ISO_DATASET_SUMS);
    }
    free(found);
    free(recorded);
    return status;
}

/* The id table against the tokenizer it was made from. */
static iso_status verify_tokenizer(const iso_dataset *dataset) {
    char *model = iso_strf("%s/" ISO_DATASET_MODEL, dataset->dir);
    iso_tokenizer tokenizer;
    iso_status status =
        iso_tokenizer_open(&tokenizer, iso_path_exists(model) ? model : ISO_TOKENIZER_BYTES);
    free(model);
    ISO_TRY(status);
    size_t table_bytes = (size_t)dataset->n_ids * sizeof *dataset->id_bytes;
    bool same = strcmp(tokenizer.hash, dataset->tokenizer_hash) == 0 &&
                tokenizer.n_ids == dataset->n_ids && tokenizer.separator == dataset->separator &&
                memcmp(tokenizer.id_bytes, dataset->id_bytes, table_bytes) == 0 &&
                memcmp(tokenizer.id_chars, dataset->id_chars, table_bytes) == 0;
    iso_tokenizer_close(&tokenizer);
    if (same) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "%s: its tokenizer is not the one its tokens were made with",
                    dataset->dir);
}

iso_status iso_dataset_verify(const iso_dataset *dataset) {
    /* Whole files first: that names the file. */
    ISO_TRY(verify_sums(dataset->dir));
    ISO_TRY(verify_tokenizer(dataset));
    for (int64_t i = -1; i < dataset->n_domains; i++) {
        const iso_split *split = i < 0 ? &dataset->train : &dataset->domains[i];
        ISO_TRY(verify_hash(dataset, split));
        ISO_TRY(verify_stream(dataset, split));
    }
    return ISO_OK;
}
