/* The writer. The header comes first in the file, so all shapes are known before any data; the data
 * then streams through, hashed as it goes, and need never be in memory at once. The header is
 * padded with spaces to a multiple of 8 bytes, so that data is as aligned as its order allows.
 */
#include "safetensors/safetensors.h"
#include "safetensors/tensor_name.h"

#include "base/arena.h"

#include <string.h>

#define HEADER_ALIGN_BYTES 8

/* A new object {dtype, shape, data_offsets}; moves *offset past the tensor. */
static json_t *make_entry(const iso_safetensor *tensor, int64_t *offset, int64_t n_bytes) {
    json_t *shape = json_array();
    for (int i = 0; i < tensor->n_dims; i++)
        json_array_append_new(shape, json_integer(tensor->dims[i]));
    int64_t begin = *offset;
    *offset += n_bytes;
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", iso_dtype_name(tensor->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)*offset);
}

static iso_status make_header(json_t **out, const iso_safetensor *tensors, int64_t n_tensors,
                              const json_t *metadata, const char *path) {
    json_t *header = json_object();
    *out = header;
    json_t *strings = metadata ? json_deep_copy(metadata) : json_object();
    json_object_set_new(strings, "format", json_string("pt"));
    json_object_set_new(header, ISO_SAFETENSORS_METADATA, strings);
    int64_t offset = 0;
    for (int64_t i = 0; i < n_tensors; i++) {
        const iso_safetensor *tensor = &tensors[i];
        int64_t n_bytes = iso_safetensor_bytes(tensor), end;
        if (!iso_tensor_name_is_valid(tensor->name))
            return iso_fail(ISO_ERR_USAGE,
                            "%s: \"%.64s\" cannot name a tensor: 1 to %d of "
                            "A-Z a-z 0-9 . _ - can",
                            path, tensor->name, ISO_SAFETENSOR_NAME_BYTES - 1);
        if (json_object_get(header, tensor->name))
            return iso_fail(ISO_ERR_USAGE, "%s: two tensors are named %s", path, tensor->name);
        if (n_bytes < 0 || !iso_size_add(&end, offset, n_bytes))
            return iso_fail(ISO_ERR_USAGE, "%s: tensor %s is larger than 64 bits can say", path,
                            tensor->name);
        if (json_object_set_new(header, tensor->name, make_entry(tensor, &offset, n_bytes)) != 0)
            return iso_fail(ISO_ERR_MEMORY, "%s: no memory for the header", path);
    }
    return ISO_OK;
}

static iso_status write_bytes(iso_safetensors_writer *writer, const void *bytes, int64_t n_bytes) {
    iso_sha256_update(&writer->hash, bytes, n_bytes);
    writer->n_bytes += n_bytes;
    return iso_file_out_write(&writer->file, bytes, n_bytes);
}

static iso_status write_header(iso_safetensors_writer *writer, const json_t *header) {
    char *line = iso_json_line(header);
    if (!line) return iso_fail(ISO_ERR_MEMORY, "%s: no memory for the header", writer->file.path);
    iso_str text = {0};
    iso_str_append(&text, line);
    free(line);
    while (text.len % HEADER_ALIGN_BYTES != 0) iso_str_append(&text, " ");
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)text.len >> 8 * i);
    iso_status status = write_bytes(writer, length, sizeof length);
    if (status == ISO_OK) status = write_bytes(writer, text.data, (int64_t)text.len);
    iso_str_release(&text);
    return status;
}

iso_status iso_safetensors_writer_open(iso_safetensors_writer *out, const char *path,
                                       const iso_safetensor *tensors, int64_t n_tensors,
                                       const json_t *metadata) {
    *out = (iso_safetensors_writer){.tensors = tensors, .n_tensors = n_tensors};
    json_t *header = NULL;
    iso_status status = make_header(&header, tensors, n_tensors, metadata, path);
    if (status == ISO_OK) status = iso_sha256_create(&out->hash);
    if (status == ISO_OK) status = iso_file_out_open(&out->file, path);
    if (status == ISO_OK) status = write_header(out, header);
    json_decref(header);
    if (status != ISO_OK) iso_safetensors_writer_abandon(out);
    return status;
}

iso_status iso_safetensors_writer_add(iso_safetensors_writer *writer, const void *data) {
    ISO_ASSERT(writer->i_next < writer->n_tensors);
    const iso_safetensor *tensor = &writer->tensors[writer->i_next++];
    int64_t n_bytes = iso_safetensor_bytes(tensor);
    return n_bytes == 0 ? ISO_OK : write_bytes(writer, data, n_bytes);
}

iso_status iso_safetensors_writer_commit(iso_safetensors_writer *writer,
                                         char sha256[ISO_SHA256_HEX_BYTES]) {
    ISO_ASSERT(writer->i_next == writer->n_tensors);
    iso_sha256_finish(&writer->hash, sha256);
    writer->hash.state = NULL;
    return iso_file_out_commit(&writer->file);
}

void iso_safetensors_writer_abandon(iso_safetensors_writer *writer) {
    char unused[ISO_SHA256_HEX_BYTES];
    if (writer->hash.state) iso_sha256_finish(&writer->hash, unused);
    writer->hash.state = NULL;
    iso_file_out_abandon(&writer->file);
}

iso_status iso_safetensors_save(const char *path, const iso_safetensor *tensors, int64_t n_tensors,
                                const json_t *metadata) {
    iso_safetensors_writer writer;
    char sha256[ISO_SHA256_HEX_BYTES];
    ISO_TRY(iso_safetensors_writer_open(&writer, path, tensors, n_tensors, metadata));
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n_tensors && status == ISO_OK; i++)
        status = iso_safetensors_writer_add(&writer, tensors[i].data);
    if (status == ISO_OK) return iso_safetensors_writer_commit(&writer, sha256);
    iso_safetensors_writer_abandon(&writer);
    return status;
}
