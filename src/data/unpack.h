/* unpack.h - the bytes of a file, decompressed if its name ends in .gz or .zst.
 *
 * Owns: gzip members and zstd frames, all of them, one after the other. Does not own: what the
 * bytes mean (corpus.h).
 *
 * (I1) memory is bounded: a window of at most 128 MiB (zstd) and fixed buffers;
 * (I2) an end inside a member or frame, a checksum that does not fit, and bytes after the last
 * frame that start no other are ISO_ERR_DATA: a cut file never passes for a whole one.
 */
#ifndef ISO_DATA_UNPACK_H
#define ISO_DATA_UNPACK_H

#include "base/status.h"

#include <stdint.h>

typedef struct iso_unpack iso_unpack;

/* What one file may unpack to unless the caller says otherwise: a guard against bombs. */
#define ISO_UNPACK_MAX_BYTES (INT64_C(1) << 38)

/* max_bytes caps the output; more is ISO_ERR_DATA. */
iso_status iso_unpack_open(iso_unpack **out, const char *path, int64_t max_bytes);
void iso_unpack_close(iso_unpack *unpack); /* NULL is fine */

/* Reads up to `capacity` (> 0) bytes; *n_bytes is 0 only at the end. */
iso_status iso_unpack_read(iso_unpack *unpack, void *bytes, int64_t capacity, int64_t *n_bytes);

/* Bytes of the file itself consumed so far, for progress. */
int64_t iso_unpack_position(const iso_unpack *unpack);

/* Length of `path` without a trailing .gz or .zst. */
int64_t iso_unpack_stem(const char *path);

#endif
