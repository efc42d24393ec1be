/* fileio.h - files that survive: durable writes, locks, space, memory maps.
 *
 * The one protocol for anything that must not be lost, after measurements (docs/decisions/0004
 * tells why): write to a temporary name in the same folder, fsync the file, rename, fsync the
 * folder. A failed fsync is never retried on the same file: the caller writes a fresh one.
 */
#ifndef ISO_BASE_FILEIO_H
#define ISO_BASE_FILEIO_H

#include "base/status.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* --- whole files --- */
/* Replaces `path` by these bytes, durably and atomically (protocol above). ISO_ERR_IO where a
 * folder, a device or a pipe is in its place. */
iso_status iso_file_write_atomic(const char *path, const void *bytes, int64_t n_bytes);
/* Reads all of `path` (at most max_bytes; more is ISO_ERR_DATA). Caller frees *out; a NUL follows.
 */
iso_status iso_file_read(char **out, int64_t *n_bytes, const char *path, int64_t max_bytes);
bool iso_path_exists(const char *path);
bool iso_path_is_dir(const char *path);
iso_status iso_file_size(int64_t *out_bytes, const char *path);

/* --- a staged file: written piece by piece, then made durable and named --- */
typedef struct iso_file_out {
    FILE *stream;
    char *path;      /* the final name */
    char *temp_path; /* path + ".tmp" */
} iso_file_out;
iso_status iso_file_out_open(iso_file_out *file, const char *path);
iso_status iso_file_out_write(iso_file_out *file, const void *bytes, int64_t n_bytes);
/* fsync, rename, fsync the folder. On failure the temporary file is removed. */
iso_status iso_file_out_commit(iso_file_out *file);
void iso_file_out_abandon(iso_file_out *file); /* safe after commit, too: does nothing then */

/* --- folders --- */
iso_status iso_dir_create(const char *path); /* and its parents; existing is fine */
iso_status iso_dir_sync(const char *path);
iso_status iso_dir_remove(const char *path); /* and all below; absent is fine */
iso_status iso_file_sync(const char *path);
/* Renames a finished folder into place and syncs the parent of both. */
iso_status iso_dir_rename(const char *from, const char *to);
/* Names in a folder, sorted bytewise, without "." and ".."; caller frees with iso_names_free. */
iso_status iso_dir_list(char ***out, int64_t *n, const char *path);
void iso_names_free(char **names, int64_t n);
/* Fails with ISO_ERR_NO_SPACE if less than n_bytes are free where `path` (existing) lives. */
iso_status iso_dir_check_space(const char *path, int64_t n_bytes);

/* --- exclusive lock: flock on a file; released by close or by death, so never stale --- */
typedef struct iso_lock {
    int fd;
} iso_lock;
iso_status iso_lock_open(iso_lock *lock, const char *path); /* ISO_ERR_LOCKED if held elsewhere */
void iso_lock_close(iso_lock *lock);

/* --- read-only memory map --- */
typedef struct iso_map {
    const uint8_t *data;
    int64_t size_bytes;
} iso_map;
iso_status iso_map_open(iso_map *map,
                        const char *path); /* an empty file maps to data NULL, size 0 */
void iso_map_close(iso_map *map);

/* --- hashes --- */
#define ISO_SHA256_HEX_BYTES 65
typedef struct iso_sha256 {
    void *state;
} iso_sha256;
iso_status iso_sha256_create(iso_sha256 *hash);
void iso_sha256_update(iso_sha256 *hash, const void *bytes, int64_t n_bytes);
/* Writes 64 lower-case hex digits and a NUL, and frees the state. */
void iso_sha256_finish(iso_sha256 *hash, char hex[ISO_SHA256_HEX_BYTES]);
void iso_sha256_bytes(char hex[ISO_SHA256_HEX_BYTES], const void *bytes, int64_t n_bytes);
iso_status iso_sha256_file(char hex[ISO_SHA256_HEX_BYTES], const char *path);

#endif
