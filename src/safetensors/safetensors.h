/* safetensors.h - reading and writing the safetensors format: named tensors in one file.
 *
 * A file is the header's length (8 bytes, little-endian), the header (JSON: name -> dtype, shape,
 * data_offsets; "__metadata__" -> strings), then the data. docs/formats.md has every byte.
 *
 * Owns: that format. Does not own: which tensors there are (model/, train/checkpoint.h), durability
 * (base/fileio.h).
 *
 * (I1) an opened file has been checked whole: every tensor's bytes lie inside the file, no two
 *      overlap, together they cover all of the data, sizes equal dtype x shape without overflow,
 *      names are unique and of [A-Za-z0-9._-], 1 to 255 of them; so no later access can fail;
 * (I2) what the writer writes, the reader (and Python's safetensors) reads back bit for bit.
 */
#ifndef ISO_SAFETENSORS_SAFETENSORS_H
#define ISO_SAFETENSORS_SAFETENSORS_H

#include "base/fileio.h"
#include "base/json.h"
#include "base/status.h"
#include "tensor/dtype.h"

#include <stdint.h>

#define ISO_SAFETENSOR_MAX_DIMS   8
#define ISO_SAFETENSOR_NAME_BYTES 256 /* with the NUL */

/* One named tensor: an entry of a file, or memory of the caller's to be written or filled. */
typedef struct iso_safetensor {
    const char *name;
    iso_dtype dtype;
    int n_dims; /* 0 = a scalar */
    int64_t dims[ISO_SAFETENSOR_MAX_DIMS];
    void *data; /* row-major; of a file: mapped read-only and perhaps not aligned, so memcpy it */
} iso_safetensor;

/* Elements x bytes; -1 if the shape is impossible (negative, too many dims) or overflows int64. */
int64_t iso_safetensor_bytes(const iso_safetensor *tensor);

/* --- reading --- */
typedef struct iso_safetensors {
    iso_map map;       /* size 0 when the bytes are the caller's */
    json_t *header;    /* owns the names */
    int64_t n_tensors; /* in the order of the data */
    iso_safetensor *tensors;
    const iso_safetensor **by_name; /* the same, sorted by name */
} iso_safetensors;

/* Maps and checks a file. ISO_ERR_DATA with the file and the fault if it is malformed,
 * ISO_ERR_UNSUPPORTED on a dtype isomoe does not have. On failure *out needs no close. */
iso_status iso_safetensors_open(iso_safetensors *out, const char *path);
/* The same over bytes in memory, which must outlive *out; `what` names them in messages. */
iso_status iso_safetensors_parse(iso_safetensors *out, const void *bytes, int64_t n_bytes,
                                 const char *what);
void iso_safetensors_close(iso_safetensors *file);
/* NULL if there is no such tensor. */
const iso_safetensor *iso_safetensors_find(const iso_safetensors *file, const char *name);
/* A string of "__metadata__", NULL if absent. */
const char *iso_safetensors_metadata(const iso_safetensors *file, const char *key);

/* --- writing: the header from all tensors first, then their data one after the other --- */
typedef struct iso_safetensors_writer {
    iso_file_out file;
    iso_sha256 hash;
    const iso_safetensor *tensors; /* borrowed until commit */
    int64_t n_tensors;
    int64_t i_next;  /* the tensor whose data comes next */
    int64_t n_bytes; /* written so far; after commit the file's size */
} iso_safetensors_writer;

/* Stages `path` and writes the header. The tensors' data need not be there yet. `metadata` is an
 * object of strings or NULL; "format": "pt" is always added. ISO_ERR_USAGE on a bad or double name.
 */
iso_status iso_safetensors_writer_open(iso_safetensors_writer *out, const char *path,
                                       const iso_safetensor *tensors, int64_t n_tensors,
                                       const json_t *metadata);
/* The data of the next tensor, all of it. */
iso_status iso_safetensors_writer_add(iso_safetensors_writer *writer, const void *data);
/* Makes the file durable under its name (base/fileio.h) and gives the SHA-256 of what was written;
 * every tensor must have been added. On failure nothing is left under the name. */
iso_status iso_safetensors_writer_commit(iso_safetensors_writer *writer,
                                         char sha256[ISO_SHA256_HEX_BYTES]);
void iso_safetensors_writer_abandon(iso_safetensors_writer *writer); /* safe after commit, too */

/* All of the above in one call, with the data the tensors point to. */
iso_status iso_safetensors_save(const char *path, const iso_safetensor *tensors, int64_t n_tensors,
                                const json_t *metadata);

#endif
