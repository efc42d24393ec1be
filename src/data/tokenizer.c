/* Why we decode ourselves: libsentencepiece's decoder drops or changes text in places (leading
 * spaces, U+2581), and bits per byte must be a sum over ids. So an id is its bytes, here, and
 * encoding is checked against that on the fly: a stretch for which the library's ids do not spell
 * the text goes out as byte ids instead. */
#include "data/tokenizer.h"

#include "data/dataset_index.h"

#include "data/spm_shim.h"
#include "data/utf8.h"

#include <stdlib.h>
#include <string.h>

#define LOWER_BLOCK       "\xE2\x96\x81" /* U+2581: how the library writes a space */
#define LOWER_BLOCK_BYTES 3
/* The library gets stretches of this size: its memory is many times the text's. */
#define STRETCH_BYTES   (64 * 1024)
#define MODEL_MAX_BYTES (64 << 20)
#define SPECIAL         (-1)

void iso_ids_release(iso_ids *ids) {
    free(ids->data);
    *ids = (iso_ids){0};
}

static iso_status reserve(iso_ids *ids, int64_t n_more) {
    if (ids->capacity - ids->n >= n_more) return ISO_OK;
    int64_t capacity = 2 * ids->capacity + n_more;
    int32_t *data = realloc(ids->data, (size_t)capacity * sizeof *data);
    if (!data) return iso_fail(ISO_ERR_MEMORY, "no memory for %lld token ids", (long long)capacity);
    ids->data = data;
    ids->capacity = capacity;
    return ISO_OK;
}

/* --- the tables --- */

/* Bytes of piece `id` appended to the pool; SPECIAL if it is a special id. */
static int append_piece(iso_str *pool, iso_spm_kind kind, const char *text, size_t n_bytes) {
    size_t before = pool->len;
    if (kind == ISO_SPM_BYTE) {
        char value = (char)strtol(text + 1, NULL, 16); /* "<0x41>" */
        iso_str_append_bytes(pool, &value, 1);
    } else if (kind == ISO_SPM_NORMAL) {
        for (size_t i = 0; i < n_bytes;) {
            bool is_space = n_bytes - i >= LOWER_BLOCK_BYTES &&
                            memcmp(text + i, LOWER_BLOCK, LOWER_BLOCK_BYTES) == 0;
            iso_str_append_bytes(pool, is_space ? " " : text + i, 1);
            i += is_space ? LOWER_BLOCK_BYTES : 1;
        }
    } else {
        return SPECIAL;
    }
    return (int)(pool->len - before);
}

/* A control symbol under one of the names that mean "between documents". */
static int separator_rank(iso_spm_kind kind, const char *text, size_t n_bytes) {
    static const char *const names[] = {ISO_TOKENIZER_SEPARATOR, "</s>", "<|endoftext|>", "<s>"};
    if (kind != ISO_SPM_CONTROL) return -1;
    for (int i = 0; i < 4; i++)
        if (strlen(names[i]) == n_bytes && memcmp(names[i], text, n_bytes) == 0) return i;
    return -1;
}

static iso_status allocate_tables(iso_tokenizer *tokenizer) {
    size_t n = (size_t)tokenizer->n_ids;
    tokenizer->id_bytes = calloc(n, sizeof *tokenizer->id_bytes);
    tokenizer->id_chars = calloc(n, sizeof *tokenizer->id_chars);
    tokenizer->pool_starts = calloc(n + 1, sizeof *tokenizer->pool_starts);
    if (tokenizer->id_bytes && tokenizer->id_chars && tokenizer->pool_starts) return ISO_OK;
    return iso_fail(ISO_ERR_MEMORY, "no memory for the tables of %lld ids",
                    (long long)tokenizer->n_ids);
}

/* Lengths and code points from pool and pool_starts. */
static void measure_ids(iso_tokenizer *tokenizer) {
    for (int64_t id = 0; id < tokenizer->n_ids; id++) {
        int64_t start = tokenizer->pool_starts[id], n = tokenizer->pool_starts[id + 1] - start;
        tokenizer->id_bytes[id] = (uint16_t)n;
        tokenizer->id_chars[id] = (uint16_t)iso_utf8_count(tokenizer->pool + start, n);
    }
}

static iso_status open_bytes(iso_tokenizer *tokenizer) {
    tokenizer->n_ids = 257;
    tokenizer->separator = 256;
    ISO_TRY(allocate_tables(tokenizer));
    iso_str pool = {0};
    for (int i = 0; i < 256; i++) {
        char value = (char)i;
        iso_str_append_bytes(&pool, &value, 1);
        tokenizer->byte_ids[i] = i;
        tokenizer->pool_starts[i + 1] = i + 1;
    }
    tokenizer->pool_starts[257] = 256;
    tokenizer->pool = pool.data;
    measure_ids(tokenizer);
    iso_sha256_bytes(tokenizer->hash, ISO_TOKENIZER_BYTES, strlen(ISO_TOKENIZER_BYTES));
    return ISO_OK;
}

static iso_status fill_tables(iso_tokenizer *tokenizer, const char *name) {
    int best_rank = 4;
    iso_str pool = {0};
    for (int i = 0; i < 256; i++) tokenizer->byte_ids[i] = SPECIAL;
    tokenizer->separator = SPECIAL;
    for (int id = 0; id < tokenizer->n_ids; id++) {
        const char *text;
        size_t n_bytes;
        iso_spm_kind kind = iso_spm_piece(tokenizer->model, id, &text, &n_bytes);
        int length = append_piece(&pool, kind, text, n_bytes);
        tokenizer->pool_starts[id + 1] = (int64_t)pool.len;
        if (kind == ISO_SPM_BYTE) tokenizer->byte_ids[(uint8_t)pool.data[pool.len - 1]] = id;
        int rank = separator_rank(kind, text, n_bytes);
        if (rank >= 0 && rank < best_rank) {
            best_rank = rank;
            tokenizer->separator = id;
        }
        if (length > UINT16_MAX || (length == 0 && kind == ISO_SPM_NORMAL)) {
            iso_str_release(&pool);
            return iso_fail(ISO_ERR_DATA, "%s: piece %d has %d bytes; this model cannot be used",
                            name, id, length);
        }
    }
    tokenizer->pool = pool.data;
    if (tokenizer->separator == SPECIAL)
        return iso_fail(ISO_ERR_DATA,
                        "%s: has no control symbol to separate documents (%s or </s>); train one "
                        "with isomoe tokenizer train",
                        name, ISO_TOKENIZER_SEPARATOR);
    for (int i = 0; i < 256; i++)
        if (tokenizer->byte_ids[i] == SPECIAL)
            return iso_fail(ISO_ERR_DATA,
                            "%s: has no piece for byte 0x%02X; train it with byte fallback, as "
                            "isomoe tokenizer train does",
                            name, i);
    measure_ids(tokenizer);
    return ISO_OK;
}

/* --- encode --- */

static iso_status encode_bytes(const iso_tokenizer *tokenizer, iso_ids *out, const char *text,
                               int64_t n_bytes) {
    if (n_bytes == 0) return ISO_OK;
    ISO_TRY(reserve(out, n_bytes));
    int32_t *ids = out->data + out->n;
    for (int64_t i = 0; i < n_bytes; i++) ids[i] = tokenizer->byte_ids[(uint8_t)text[i]];
    out->n += n_bytes;
    return ISO_OK;
}

/* Whether the ids spell exactly this text. */
static bool spells(const iso_tokenizer *tokenizer, const int32_t *ids, size_t n, const char *text,
                   int64_t n_bytes) {
    int64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= tokenizer->n_ids) return false;
        int64_t length = tokenizer->id_bytes[ids[i]];
        if (length == 0 || length > n_bytes - at) return false;
        if (memcmp(tokenizer->pool + tokenizer->pool_starts[ids[i]], text + at, (size_t)length))
            return false;
        at += length;
    }
    return at == n_bytes;
}

/* Text without U+2581, at most STRETCH_BYTES of it. */
static iso_status encode_stretch(const iso_tokenizer *tokenizer, iso_ids *out, const char *text,
                                 int64_t n_bytes) {
    int32_t *ids;
    size_t n;
    char *error = iso_spm_encode(tokenizer->model, text, (size_t)n_bytes, &ids, &n);
    if (error) {
        iso_status status = iso_fail(ISO_ERR_FAILED, "libsentencepiece cannot encode: %s", error);
        free(error);
        return status;
    }
    iso_status status;
    if (!spells(tokenizer, ids, n, text, n_bytes)) {
        status = encode_bytes(tokenizer, out, text, n_bytes);
    } else {
        status = reserve(out, (int64_t)n);
        if (status == ISO_OK) {
            memcpy(out->data + out->n, ids, n * sizeof *ids);
            out->n += (int64_t)n;
        }
    }
    free(ids);
    return status;
}

/* The stretch at the start of the text: up to the last line end within STRETCH_BYTES, else the last
 * whole character. A function of the text alone. */
static int64_t stretch_length(const char *text, int64_t n_bytes) {
    if (n_bytes <= STRETCH_BYTES) return n_bytes;
    const char *lf = memrchr(text, '\n', STRETCH_BYTES);
    return lf ? lf - text + 1 : iso_utf8_boundary(text, STRETCH_BYTES);
}

iso_status iso_tokenizer_encode(const iso_tokenizer *tokenizer, iso_ids *out, const char *text,
                                int64_t n_bytes) {
    if (!tokenizer->model) return encode_bytes(tokenizer, out, text, n_bytes);
    while (n_bytes > 0) {
        const char *block = memmem(text, (size_t)n_bytes, LOWER_BLOCK, LOWER_BLOCK_BYTES);
        int64_t n = block ? block - text : n_bytes;
        for (int64_t done = 0; done < n;) {
            int64_t length = stretch_length(text + done, n - done);
            ISO_TRY(encode_stretch(tokenizer, out, text + done, length));
            done += length;
        }
        if (block) {
            ISO_TRY(encode_bytes(tokenizer, out, block, LOWER_BLOCK_BYTES));
            n += LOWER_BLOCK_BYTES;
        }
        text += n;
        n_bytes -= n;
    }
    return ISO_OK;
}

iso_status iso_tokenizer_decode(const iso_tokenizer *tokenizer, iso_str *out, const int32_t *ids,
                                int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= tokenizer->n_ids)
            return iso_fail(ISO_ERR_DATA, "token id %d is not in 0..%lld of this tokenizer", ids[i],
                            (long long)tokenizer->n_ids - 1);
        iso_str_append_bytes(out, tokenizer->pool + tokenizer->pool_starts[ids[i]],
                             tokenizer->id_bytes[ids[i]]);
    }
    return ISO_OK;
}

/* --- open, close --- */

/* A model that normalises text would send everything out as bytes, silently: refuse it instead. */
static iso_status check_lossless(const iso_tokenizer *tokenizer, const char *name) {
    static const char probe[] =
        " Two  spaces,\n\ta tab; A\xC3\xA9 e\xCC\x81 \xEF\xAC\x81 x\xC2\xB2. ";
    int32_t *ids;
    size_t n;
    char *error = iso_spm_encode(tokenizer->model, probe, sizeof probe - 1, &ids, &n);
    bool good = !error && spells(tokenizer, ids, n, probe, sizeof probe - 1);
    free(ids);
    free(error);
    return good ? ISO_OK
                : iso_fail(
                      ISO_ERR_DATA,
                      "%s: changes text (normalisation, added or dropped spaces); train it with "
                      "identity normalisation, as isomoe tokenizer train does",
                      name);
}

static iso_status open_model(iso_tokenizer *tokenizer, const char *name) {
    ISO_TRY(
        iso_file_read(&tokenizer->model_bytes, &tokenizer->n_model_bytes, name, MODEL_MAX_BYTES));
    char *error =
        iso_spm_load(&tokenizer->model, tokenizer->model_bytes, (size_t)tokenizer->n_model_bytes);
    if (error) {
        iso_status status =
            iso_fail(ISO_ERR_DATA, "%s: not a SentencePiece model (%s)", name, error);
        free(error);
        return status;
    }
    tokenizer->n_ids = iso_spm_n_ids(tokenizer->model);
    iso_sha256_bytes(tokenizer->hash, tokenizer->model_bytes, tokenizer->n_model_bytes);
    ISO_TRY(allocate_tables(tokenizer));
    ISO_TRY(fill_tables(tokenizer, name));
    return check_lossless(tokenizer, name);
}

iso_status iso_tokenizer_open(iso_tokenizer *out, const char *name) {
    *out = (iso_tokenizer){0};
    iso_status status =
        strcmp(name, ISO_TOKENIZER_BYTES) == 0 ? open_bytes(out) : open_model(out, name);
    if (status != ISO_OK) iso_tokenizer_close(out);
    return status;
}

iso_status iso_tokenizer_open_prepared(iso_tokenizer *out, const char *data_dir) {
    char *index = iso_strf("%s/" ISO_DATASET_INDEX, data_dir);
    char *model = iso_strf("%s/" ISO_DATASET_MODEL, data_dir);
    iso_status status = ISO_OK;
    if (!iso_path_exists(index))
        status = iso_fail(ISO_ERR_USAGE,
                          "%s is not a prepared folder (no " ISO_DATASET_INDEX
                          "); give one made by `isomoe data prepare`",
                          data_dir);
    if (status == ISO_OK)
        status = iso_tokenizer_open(out, iso_path_exists(model) ? model : ISO_TOKENIZER_BYTES);
    free(index);
    free(model);
    return status;
}

void iso_tokenizer_close(iso_tokenizer *tokenizer) {
    iso_spm_free(tokenizer->model);
    free(tokenizer->model_bytes);
    free(tokenizer->id_bytes);
    free(tokenizer->id_chars);
    free(tokenizer->pool);
    free(tokenizer->pool_starts);
    *tokenizer = (iso_tokenizer){0};
}
