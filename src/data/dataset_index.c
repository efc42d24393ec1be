#include "data/dataset_index.h"

#include "base/arena.h"
#include "data/shard_writer.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SPLITS 1024
#define MAX_SHARDS (1 << 20)

bool iso_dataset_name_ok(const char *name) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    size_t n = strlen(name);
    return n >= 1 && n <= 64 && name[0] != '.' && name[0] != '-' && strspn(name, allowed) == n;
}

char *iso_dataset_prefix(const char *split_name) {
    return strcmp(split_name, "train") == 0 ? iso_strf("train") : iso_strf("val-%s", split_name);
}

static iso_status get_count(int64_t *out, const json_t *object, const char *key, int64_t max,
                            const char *what) {
    ISO_TRY(iso_json_get_i64(out, object, key, what));
    if (*out < 0 || *out > max)
        return iso_fail(ISO_ERR_DATA, "%s: %s is %lld, not in 0..%lld; prepare the data again",
                        what, key, (long long)*out, (long long)max);
    return ISO_OK;
}

static iso_status get_hash(char out[ISO_SHA256_HEX_BYTES], const json_t *object, const char *key,
                           const char *what) {
    const char *hex;
    ISO_TRY(iso_json_get_str(&hex, object, key, what));
    if (strlen(hex) != ISO_SHA256_HEX_BYTES - 1 ||
        strspn(hex, "0123456789abcdef") != ISO_SHA256_HEX_BYTES - 1)
        return iso_fail(ISO_ERR_DATA, "%s: %s is no SHA-256 in hex; prepare the data again", what,
                        key);
    memcpy(out, hex, ISO_SHA256_HEX_BYTES);
    return ISO_OK;
}

static iso_status parse_shards(iso_split *split, const json_t *entry, const char *what) {
    json_t *shards;
    ISO_TRY(iso_json_get_array(&shards, entry, "shard_tokens", what));
    split->n_shards = (int64_t)json_array_size(shards);
    if (split->n_shards > MAX_SHARDS)
        return iso_fail(ISO_ERR_DATA, "%s: split %s has %lld shards, more than %d", what,
                        split->name, (long long)split->n_shards, MAX_SHARDS);
    split->shards = calloc((size_t)split->n_shards + 1, sizeof *split->shards);
    split->shard_starts = calloc((size_t)split->n_shards + 1, sizeof *split->shard_starts);
    if (!split->shards || !split->shard_starts)
        return iso_fail(ISO_ERR_MEMORY, "%s: no memory for its shards", what);
    for (int64_t i = 0; i < split->n_shards; i++) {
        json_t *value = json_array_get(shards, (size_t)i);
        if (!json_is_integer(value) || json_integer_value(value) < 1 ||
            !iso_size_add(&split->shard_starts[i + 1], split->shard_starts[i],
                          json_integer_value(value)))
            return iso_fail(ISO_ERR_DATA, "%s: split %s, shard %lld: bad token count", what,
                            split->name, (long long)i);
    }
    if (split->shard_starts[split->n_shards] != split->n_tokens)
        return iso_fail(ISO_ERR_DATA, "%s: split %s has %lld tokens in its shards, not %lld", what,
                        split->name, (long long)split->shard_starts[split->n_shards],
                        (long long)split->n_tokens);
    return ISO_OK;
}

static iso_status parse_dtype(iso_split *split, const json_t *entry, const char *what) {
    const char *dtype;
    ISO_TRY(iso_json_get_str(&dtype, entry, "dtype", what));
    split->token_bytes = strcmp(dtype, "uint16") == 0 ? 2 : strcmp(dtype, "uint32") == 0 ? 4 : 0;
    if (split->token_bytes == 0)
        return iso_fail(ISO_ERR_DATA, "%s: split %s: dtype \"%s\" is neither uint16 nor uint32",
                        what, split->name, dtype);
    return ISO_OK;
}

static iso_status parse_split(iso_split *split, const json_t *entry, const iso_dataset *dataset,
                              const char *what) {
    const char *name;
    char tokenizer_hash[ISO_SHA256_HEX_BYTES];
    ISO_TRY(iso_json_get_str(&name, entry, "name", what));
    if (!iso_dataset_name_ok(name))
        return iso_fail(ISO_ERR_DATA, "%s: bad split name \"%.80s\"", what, name);
    split->name = iso_strf("%s", name);
    ISO_TRY(parse_dtype(split, entry, what));
    int64_t max = INT64_MAX / 8;
    ISO_TRY(get_count(&split->n_tokens, entry, "n_tokens", max, what));
    ISO_TRY(get_count(&split->n_documents, entry, "n_documents", split->n_tokens, what));
    ISO_TRY(get_count(&split->n_bytes, entry, "n_bytes", max, what));
    ISO_TRY(get_count(&split->n_chars, entry, "n_chars", split->n_bytes, what));
    ISO_TRY(get_count(&split->max_id, entry, "max_id", dataset->n_ids - 1, what));
    if (split->token_bytes == 2 && split->max_id > UINT16_MAX)
        return iso_fail(ISO_ERR_DATA, "%s: split %s: id %lld does not fit uint16", what, name,
                        (long long)split->max_id);
    ISO_TRY(get_hash(split->sha256, entry, "sha256", what));
    ISO_TRY(get_hash(tokenizer_hash, entry, "tokenizer_hash", what));
    if (strcmp(tokenizer_hash, dataset->tokenizer_hash) != 0)
        return iso_fail(ISO_ERR_DATA, "%s: split %s was made with another tokenizer", what, name);
    ISO_TRY(iso_json_get_f64(&split->order0_bpb, entry, "order0_bpb", what));
    ISO_TRY(iso_json_get_f64(&split->gzip9_bpb, entry, "gzip9_bpb", what));
    return parse_shards(split, entry, what);
}

static iso_status parse_domains(iso_dataset *dataset, const json_t *domains, const char *what) {
    size_t n = json_array_size(domains);
    if (n > MAX_SPLITS)
        return iso_fail(ISO_ERR_DATA, "%s: %zu domains, more than %d", what, n, MAX_SPLITS);
    dataset->domains = calloc(n + 1, sizeof *dataset->domains);
    if (!dataset->domains) return iso_fail(ISO_ERR_MEMORY, "%s: no memory for its domains", what);
    for (size_t i = 0; i < n; i++) {
        iso_split *split = &dataset->domains[i];
        dataset->n_domains++;
        ISO_TRY(parse_split(split, json_array_get(domains, i), dataset, what));
        if (strcmp(split->name, "train") == 0 || iso_dataset_domain(dataset, split->name) != split)
            return iso_fail(ISO_ERR_DATA, "%s: two splits are called %s", what, split->name);
    }
    return ISO_OK;
}

static iso_status parse_root(iso_dataset *out, const json_t *root, const char *what) {
    int64_t format, separator;
    json_t *tokenizer, *train, *domains;
    ISO_TRY(iso_json_get_i64(&format, root, "format", what));
    if (format != ISO_DATASET_FORMAT)
        return iso_fail(ISO_ERR_DATA, "%s: format %lld; this isomoe reads format %d: prepare again",
                        what, (long long)format, ISO_DATASET_FORMAT);
    ISO_TRY(iso_json_get_object(&tokenizer, root, "tokenizer", what));
    ISO_TRY(get_count(&out->n_ids, tokenizer, "n_ids", INT32_MAX, what));
    if (out->n_ids < 2)
        return iso_fail(ISO_ERR_DATA, "%s: a tokenizer of %lld ids", what, (long long)out->n_ids);
    ISO_TRY(get_count(&separator, tokenizer, "separator", out->n_ids - 1, what));
    out->separator = (int32_t)separator;
    ISO_TRY(get_hash(out->tokenizer_hash, tokenizer, "sha256", what));
    ISO_TRY(iso_json_get_object(&train, root, "train", what));
    ISO_TRY(parse_split(&out->train, train, out, what));
    if (strcmp(out->train.name, "train") != 0)
        return iso_fail(ISO_ERR_DATA, "%s: the training split is called %s", what, out->train.name);
    ISO_TRY(iso_json_get_array(&domains, root, "domains", what));
    return parse_domains(out, domains, what);
}

iso_status iso_dataset_index_parse(iso_dataset *out, const char *text, int64_t n_bytes,
                                   const char *what) {
    *out = (iso_dataset){0};
    json_t *root;
    ISO_TRY(iso_json_parse(&root, text, n_bytes, what));
    iso_status status = parse_root(out, root, what);
    json_decref(root);
    if (status == ISO_OK)
        iso_sha256_bytes(out->hash, text, n_bytes);
    else
        iso_dataset_close(out);
    return status;
}

iso_status iso_dataset_sums(char **out, const char *dir) {
    char **names;
    int64_t n;
    ISO_TRY(iso_dir_list(&names, &n, dir));
    iso_str lines = {0};
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n && status == ISO_OK; i++) {
        if (strcmp(names[i], ISO_DATASET_SUMS) == 0 || strcmp(names[i], ISO_DATASET_LOCK) == 0)
            continue;
        char hex[ISO_SHA256_HEX_BYTES];
        char *path = iso_strf("%s/%s", dir, names[i]);
        status = iso_sha256_file(hex, path);
        if (status == ISO_OK) iso_str_appendf(&lines, "%s  %s\n", hex, names[i]);
        free(path);
    }
    iso_names_free(names, n);
    if (status != ISO_OK) iso_str_release(&lines);
    *out = lines.data;
    return status;
}
