/* A shim (sqlite.org/vfs.html): everything goes to the system's default layer, but whole pages of
 * main databases get their sum on the way down and have it checked on the way up. An open file is
 * one block of memory: the struct below, then the default layer's own.
 *
 * Methods of version 1 only: SQLite then neither maps the file into memory, which would go around
 * the check, nor offers a write-ahead log.
 */
#include "runs/page_sums.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SUMMED_BYTES (ISO_PAGE_BYTES - ISO_PAGE_SUM_BYTES)

struct iso_page_sums {
    sqlite3_vfs vfs;
    sqlite3_vfs *below;
    char name[40];
    bool is_unchecked;
};

typedef struct page_file {
    sqlite3_file file;
    const iso_page_sums *sums;
    unsigned char page[ISO_PAGE_BYTES]; /* on its way down */
} page_file;

/* What the layer below keeps about the same file. */
static sqlite3_file *below(sqlite3_file *file) {
    return (sqlite3_file *)((char *)file + sizeof(page_file));
}

static bool is_page(int n_bytes, sqlite3_int64 offset) {
    return n_bytes == ISO_PAGE_BYTES && offset % ISO_PAGE_BYTES == 0;
}

static XXH64_canonical_t sum_of(const void *page, sqlite3_int64 offset) {
    XXH64_canonical_t sum;
    XXH64_canonicalFromHash(&sum, XXH3_64bits_withSeed(page, SUMMED_BYTES, (XXH64_hash_t)offset));
    return sum;
}

/* --- an open database --- */

static int file_read(sqlite3_file *file, void *out, int n_bytes, sqlite3_int64 offset) {
    int rc = below(file)->pMethods->xRead(below(file), out, n_bytes, offset);
    if (rc != SQLITE_OK || !is_page(n_bytes, offset)) return rc;
    if (((page_file *)file)->sums->is_unchecked) return rc;
    XXH64_canonical_t sum = sum_of(out, offset);
    bool is_true = memcmp((char *)out + SUMMED_BYTES, &sum, sizeof sum) == 0;
    return is_true ? SQLITE_OK : SQLITE_IOERR_DATA;
}

static int file_write(sqlite3_file *file, const void *bytes, int n_bytes, sqlite3_int64 offset) {
    page_file *own = (page_file *)file;
    if (is_page(n_bytes, offset)) {
        XXH64_canonical_t sum = sum_of(bytes, offset);
        memcpy(own->page, bytes, SUMMED_BYTES);
        memcpy(own->page + SUMMED_BYTES, &sum, sizeof sum);
        bytes = own->page;
    }
    return below(file)->pMethods->xWrite(below(file), bytes, n_bytes, offset);
}

static int file_close(sqlite3_file *file) {
    return below(file)->pMethods->xClose(below(file));
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 n_bytes) {
    return below(file)->pMethods->xTruncate(below(file), n_bytes);
}

static int file_sync(sqlite3_file *file, int flags) {
    return below(file)->pMethods->xSync(below(file), flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *n_bytes) {
    return below(file)->pMethods->xFileSize(below(file), n_bytes);
}

static int file_lock(sqlite3_file *file, int level) {
    return below(file)->pMethods->xLock(below(file), level);
}

static int file_unlock(sqlite3_file *file, int level) {
    return below(file)->pMethods->xUnlock(below(file), level);
}

static int file_check_reserved(sqlite3_file *file, int *is_reserved) {
    return below(file)->pMethods->xCheckReservedLock(below(file), is_reserved);
}

static int file_control(sqlite3_file *file, int operation, void *argument) {
    return below(file)->pMethods->xFileControl(below(file), operation, argument);
}

static int file_sector_size(sqlite3_file *file) {
    return below(file)->pMethods->xSectorSize(below(file));
}

static int file_characteristics(sqlite3_file *file) {
    return below(file)->pMethods->xDeviceCharacteristics(below(file));
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

/* --- the layer --- */

static sqlite3_vfs *layer_below(const sqlite3_vfs *vfs) {
    return ((const iso_page_sums *)vfs)->below;
}

static int layer_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                      int *out_flags) {
    sqlite3_vfs *base = layer_below(vfs);
    if (!(flags & SQLITE_OPEN_MAIN_DB)) return base->xOpen(base, path, file, flags, out_flags);
    file->pMethods = NULL;
    ((page_file *)file)->sums = (const iso_page_sums *)vfs;
    int rc = base->xOpen(base, path, below(file), flags, out_flags);
    if (rc == SQLITE_OK)
        file->pMethods = &file_methods;
    else if (below(file)->pMethods)
        file_close(file);
    return rc;
}

static int layer_delete(sqlite3_vfs *vfs, const char *path, int sync_dir) {
    return layer_below(vfs)->xDelete(layer_below(vfs), path, sync_dir);
}

static int layer_access(sqlite3_vfs *vfs, const char *path, int flags, int *answer) {
    return layer_below(vfs)->xAccess(layer_below(vfs), path, flags, answer);
}

static int layer_full_pathname(sqlite3_vfs *vfs, const char *path, int n_out, char *out) {
    return layer_below(vfs)->xFullPathname(layer_below(vfs), path, n_out, out);
}

static int layer_randomness(sqlite3_vfs *vfs, int n_bytes, char *out) {
    return layer_below(vfs)->xRandomness(layer_below(vfs), n_bytes, out);
}

static int layer_sleep(sqlite3_vfs *vfs, int microseconds) {
    return layer_below(vfs)->xSleep(layer_below(vfs), microseconds);
}

static int layer_current_time(sqlite3_vfs *vfs, double *out) {
    return layer_below(vfs)->xCurrentTime(layer_below(vfs), out);
}

static int layer_last_error(sqlite3_vfs *vfs, int n_bytes, char *out) {
    return layer_below(vfs)->xGetLastError(layer_below(vfs), n_bytes, out);
}

iso_status iso_page_sums_create(iso_page_sums **out) {
    *out = NULL;
    sqlite3_vfs *base = sqlite3_vfs_find(NULL); /* initialises the library, too */
    if (!base) return iso_fail(ISO_ERR_UNSUPPORTED, "SQLite has no file system layer here");
    iso_page_sums *sums = calloc(1, sizeof *sums);
    if (!sums) return iso_fail(ISO_ERR_MEMORY, "no memory to open a database");
    snprintf(sums->name, sizeof sums->name, "iso-page-sums-%p", (void *)sums);
    sums->below = base;
    sums->vfs = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = (int)sizeof(page_file) + base->szOsFile,
        .mxPathname = base->mxPathname,
        .zName = sums->name,
        .xOpen = layer_open,
        .xDelete = layer_delete,
        .xAccess = layer_access,
        .xFullPathname = layer_full_pathname,
        .xRandomness = layer_randomness,
        .xSleep = layer_sleep,
        .xCurrentTime = layer_current_time,
        .xGetLastError = layer_last_error,
    };
    sqlite3_vfs_register(&sums->vfs, 0);
    *out = sums;
    return ISO_OK;
}

const char *iso_page_sums_name(const iso_page_sums *sums) {
    return sums->name;
}

void iso_page_sums_free(iso_page_sums *sums) {
    if (!sums) return;
    sqlite3_vfs_unregister(&sums->vfs);
    free(sums);
}

void iso_page_sums_check(iso_page_sums *sums, bool is_on) {
    sums->is_unchecked = !is_on;
}

iso_status iso_page_sums_reserve(sqlite3 *db) {
    int n_bytes = ISO_PAGE_SUM_BYTES;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &n_bytes) == SQLITE_OK)
        return ISO_OK;
    return iso_fail(ISO_ERR_UNSUPPORTED, "this SQLite cannot reserve bytes for checksums");
}
