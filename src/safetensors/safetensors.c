/* The reader. Everything in the header is the word of a stranger: it is checked against the bytes
 * that are there before it is believed, in an order that never allocates more than the header's own
 * size warrants. Offsets are checked by sorting the tensors by where they begin: in a legal file
 * each begins exactly where the one before it ended, which rules out gaps, overlaps and overruns at
 * once.
 */
#include "safetensors/safetensors.h"
#include "safetensors/tensor_name.h"

#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES     8
#define HEADER_MAX_BYTES (100 * 1000 * 1000) /* the reference implementation's own limit */

bool iso_tensor_name_is_valid(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len >= ISO_SAFETENSOR_NAME_BYTES) return false;
    if (strcmp(name, ISO_SAFETENSORS_METADATA) == 0) return false;
    for (const char *c = name; *c; c++) {
        bool is_word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                       (*c >= '0' && *c <= '9') || *c == '.' || *c == '_' || *c == '-';
        if (!is_word) return false;
    }
    return true;
}

int64_t iso_safetensor_bytes(const iso_safetensor *tensor) {
    if (tensor->n_dims < 0 || tensor->n_dims > ISO_SAFETENSOR_MAX_DIMS) return -1;
    int64_t n_bytes = iso_dtype_bytes(tensor->dtype);
    for (int i = 0; i < tensor->n_dims; i++)
        if (!iso_size_mul(&n_bytes, n_bytes, tensor->dims[i])) return -1;
    return n_bytes;
}

static uint64_t read_u64_le(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

/* --- one entry --- */

static iso_status parse_dims(iso_safetensor *tensor, const json_t *shape, const char *what) {
    size_t n_dims = json_array_size(shape);
    if (n_dims > ISO_SAFETENSOR_MAX_DIMS)
        return iso_fail(ISO_ERR_DATA, "%s: tensor %s has %zu dimensions; at most %d are known",
                        what, tensor->name, n_dims, ISO_SAFETENSOR_MAX_DIMS);
    tensor->n_dims = (int)n_dims;
    for (size_t i = 0; i < n_dims; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return iso_fail(ISO_ERR_DATA,
                            "%s: tensor %s: its shape holds something other than "
                            "whole numbers from 0 up",
                            what, tensor->name);
        tensor->dims[i] = json_integer_value(dim);
    }
    return ISO_OK;
}

/* data_offsets into *begin and *end, checked against the shape and against the data there is. */
static iso_status parse_offsets(int64_t *begin, const iso_safetensor *tensor, const json_t *offsets,
                                int64_t n_data_bytes, const char *what) {
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return iso_fail(ISO_ERR_DATA, "%s: tensor %s: data_offsets must be two whole numbers", what,
                        tensor->name);
    *begin = json_integer_value(first);
    int64_t end = json_integer_value(last);
    if (*begin < 0 || end < *begin || end > n_data_bytes)
        return iso_fail(ISO_ERR_DATA,
                        "%s: tensor %s lies at bytes %lld to %lld of %lld bytes of data", what,
                        tensor->name, (long long)*begin, (long long)end, (long long)n_data_bytes);
    int64_t n_bytes = iso_safetensor_bytes(tensor);
    if (n_bytes < 0)
        return iso_fail(ISO_ERR_DATA, "%s: tensor %s: its shape overflows 64 bits", what,
                        tensor->name);
    if (n_bytes != end - *begin)
        return iso_fail(ISO_ERR_DATA,
                        "%s: tensor %s: shape and dtype make %lld bytes, data_offsets %lld", what,
                        tensor->name, (long long)n_bytes, (long long)(end - *begin));
    return ISO_OK;
}

static iso_status parse_entry(iso_safetensor *tensor, const char *name, const json_t *entry,
                              const uint8_t *data, int64_t n_data_bytes, const char *what) {
    if (!iso_tensor_name_is_valid(name))
        return iso_fail(ISO_ERR_DATA, "%s: a tensor's name is not 1 to %d of A-Z a-z 0-9 . _ -",
                        what, ISO_SAFETENSOR_NAME_BYTES - 1);
    tensor->name = name;
    const json_t *dtype = json_object_get(entry, "dtype");
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!json_is_string(dtype) || !json_is_array(shape) || !json_is_array(offsets) ||
        json_object_size(entry) != 3)
        return iso_fail(ISO_ERR_DATA,
                        "%s: tensor %s: an entry is exactly {dtype, shape, data_offsets}", what,
                        name);
    if (!iso_dtype_from_name(&tensor->dtype, json_string_value(dtype)))
        return iso_fail(ISO_ERR_UNSUPPORTED,
                        "%s: tensor %s has dtype %.16s; known are F32, F64, BF16, "
                        "I32, I64, U8: convert it first",
                        what, name, json_string_value(dtype));
    int64_t begin = 0;
    ISO_TRY(parse_dims(tensor, shape, what));
    ISO_TRY(parse_offsets(&begin, tensor, offsets, n_data_bytes, what));
    tensor->data = (void *)(data + begin); /* const by contract: see the header */
    return ISO_OK;
}

/* --- the whole --- */

static iso_status check_metadata(const json_t *metadata, const char *what) {
    if (!metadata) return ISO_OK;
    const char *key;
    json_t *value;
    bool is_good = json_is_object(metadata);
    json_object_foreach((json_t *)metadata, key, value) is_good = is_good && json_is_string(value);
    return is_good ? ISO_OK
                   : iso_fail(ISO_ERR_DATA, "%s: %s must be an object of strings", what,
                              ISO_SAFETENSORS_METADATA);
}

/* By place; an empty tensor before the one that begins where it lies. */
static int compare_places(const void *a, const void *b) {
    const iso_safetensor *x = a, *y = b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    int64_t x_bytes = iso_safetensor_bytes(x), y_bytes = iso_safetensor_bytes(y);
    if ((x_bytes == 0) != (y_bytes == 0)) return x_bytes == 0 ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const iso_safetensor *const *)a)->name,
                  (*(const iso_safetensor *const *)b)->name);
}

static iso_status check_coverage(const iso_safetensors *file, const uint8_t *data,
                                 int64_t n_data_bytes, const char *what) {
    const uint8_t *expected = data;
    for (int64_t i = 0; i < file->n_tensors; i++) {
        const iso_safetensor *tensor = &file->tensors[i];
        if (tensor->data != expected)
            return iso_fail(ISO_ERR_DATA,
                            "%s: the data of tensor %s begins at byte %lld; the one before "
                            "ends at %lld",
                            what, tensor->name, (long long)((const uint8_t *)tensor->data - data),
                            (long long)(expected - data));
        expected += iso_safetensor_bytes(tensor);
    }
    if (expected != data + n_data_bytes)
        return iso_fail(ISO_ERR_DATA, "%s: %lld bytes after the last tensor", what,
                        (long long)(data + n_data_bytes - expected));
    return ISO_OK;
}

static iso_status parse_entries(iso_safetensors *file, const uint8_t *data, int64_t n_data_bytes,
                                const char *what) {
    size_t n_members = json_object_size(file->header);
    file->tensors = calloc(n_members + 1, sizeof *file->tensors);
    file->by_name = calloc(n_members + 1, sizeof *file->by_name);
    if (!file->tensors || !file->by_name)
        return iso_fail(ISO_ERR_MEMORY, "%s: no memory for %zu tensors", what, n_members);
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry) {
        if (strcmp(name, ISO_SAFETENSORS_METADATA) == 0) continue;
        ISO_TRY(
            parse_entry(&file->tensors[file->n_tensors], name, entry, data, n_data_bytes, what));
        file->n_tensors++;
    }
    size_t n_tensors = (size_t)file->n_tensors;
    qsort(file->tensors, n_tensors, sizeof *file->tensors, compare_places);
    for (size_t i = 0; i < n_tensors; i++) file->by_name[i] = &file->tensors[i];
    qsort(file->by_name, n_tensors, sizeof *file->by_name, compare_names);
    return check_coverage(file, data, n_data_bytes, what);
}

static iso_status parse_file(iso_safetensors *file, const uint8_t *bytes, int64_t n_bytes,
                             const char *what) {
    if (n_bytes < LENGTH_BYTES)
        return iso_fail(ISO_ERR_DATA, "%s: %lld bytes are no safetensors file", what,
                        (long long)n_bytes);
    uint64_t n_header_bytes = read_u64_le(bytes);
    if (n_header_bytes > HEADER_MAX_BYTES || n_header_bytes > (uint64_t)(n_bytes - LENGTH_BYTES))
        return iso_fail(ISO_ERR_DATA, "%s: a header of %llu bytes in a file of %lld", what,
                        (unsigned long long)n_header_bytes, (long long)n_bytes);
    const char *header = (const char *)bytes + LENGTH_BYTES;
    if (n_header_bytes == 0 || header[0] != '{')
        return iso_fail(ISO_ERR_DATA, "%s: its header does not begin with {", what);
    ISO_TRY(iso_json_parse(&file->header, header, (int64_t)n_header_bytes, what));
    ISO_TRY(check_metadata(json_object_get(file->header, ISO_SAFETENSORS_METADATA), what));
    int64_t n_front_bytes = LENGTH_BYTES + (int64_t)n_header_bytes;
    return parse_entries(file, bytes + n_front_bytes, n_bytes - n_front_bytes, what);
}

iso_status iso_safetensors_parse(iso_safetensors *out, const void *bytes, int64_t n_bytes,
                                 const char *what) {
    *out = (iso_safetensors){0};
    iso_status status = parse_file(out, bytes, n_bytes, what);
    if (status != ISO_OK) iso_safetensors_close(out);
    return status;
}

iso_status iso_safetensors_open(iso_safetensors *out, const char *path) {
    *out = (iso_safetensors){0};
    iso_map map;
    ISO_TRY(iso_map_open(&map, path));
    iso_status status = iso_safetensors_parse(out, map.data, map.size_bytes, path);
    if (status == ISO_OK)
        out->map = map;
    else
        iso_map_close(&map);
    return status;
}

void iso_safetensors_close(iso_safetensors *file) {
    free(file->tensors);
    free(file->by_name);
    json_decref(file->header);
    if (file->map.data) iso_map_close(&file->map);
    *file = (iso_safetensors){0};
}

const iso_safetensor *iso_safetensors_find(const iso_safetensors *file, const char *name) {
    iso_safetensor wanted = {.name = name};
    const iso_safetensor *key = &wanted;
    const iso_safetensor **found =
        bsearch(&key, file->by_name, (size_t)file->n_tensors, sizeof *file->by_name, compare_names);
    return found ? *found : NULL;
}

const char *iso_safetensors_metadata(const iso_safetensors *file, const char *key) {
    return json_string_value(
        json_object_get(json_object_get(file->header, ISO_SAFETENSORS_METADATA), key));
}
