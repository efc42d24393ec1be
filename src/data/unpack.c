#include "data/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define INPUT_BYTES         (256 * 1024)
#define ZSTD_WINDOW_LOG_MAX 27

typedef enum packing { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD } packing;

struct iso_unpack {
    char *path;
    int fd;
    packing packing;
    int64_t max_bytes, n_in, n_out;
    uint8_t *input;
    size_t input_begin, input_end;
    bool input_done;
    bool inside; /* within a member or frame: the file may not end here */
    z_stream gzip;
    ZSTD_DCtx *zstd;
};

static bool ends_with(const char *text, const char *suffix) {
    size_t n = strlen(text), m = strlen(suffix);
    return n > m && strcmp(text + n - m, suffix) == 0;
}

static packing packing_of(const char *path) {
    if (ends_with(path, ".gz")) return PACKING_GZIP;
    if (ends_with(path, ".zst")) return PACKING_ZSTD;
    return PACKING_NONE;
}

int64_t iso_unpack_stem(const char *path) {
    static const int suffix_bytes[] = {[PACKING_NONE] = 0, [PACKING_GZIP] = 3, [PACKING_ZSTD] = 4};
    return (int64_t)strlen(path) - suffix_bytes[packing_of(path)];
}

static iso_status open_decoder(iso_unpack *unpack) {
    /* An empty compressed file holds no member: something cut it off at byte 0. */
    unpack->inside = unpack->packing != PACKING_NONE;
    if (unpack->packing == PACKING_GZIP && inflateInit2(&unpack->gzip, 15 + 16) != Z_OK) {
        unpack->packing = PACKING_NONE;
        return iso_fail(ISO_ERR_MEMORY, "%s: zlib found no memory", unpack->path);
    }
    if (unpack->packing == PACKING_ZSTD) {
        unpack->zstd = ZSTD_createDCtx();
        if (!unpack->zstd)
            return iso_fail(ISO_ERR_MEMORY, "%s: zstd found no memory", unpack->path);
        ZSTD_DCtx_setParameter(unpack->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
    }
    return ISO_OK;
}

iso_status iso_unpack_open(iso_unpack **out, const char *path, int64_t max_bytes) {
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return iso_fail_errno(ISO_ERR_IO, errno, "%s: cannot open", path);
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return iso_fail(ISO_ERR_IO, "%s: not a regular file", path);
    }
    iso_unpack *unpack = calloc(1, sizeof *unpack);
    uint8_t *input = malloc(INPUT_BYTES);
    char *name = strdup(path);
    if (!unpack || !input || !name) {
        free(unpack), free(input), free(name), close(fd);
        return iso_fail(ISO_ERR_MEMORY, "%s: no memory to read it", path);
    }
    *unpack = (iso_unpack){.path = name,
                           .fd = fd,
                           .packing = packing_of(path),
                           .max_bytes = max_bytes,
                           .input = input};
    iso_status status = open_decoder(unpack);
    if (status != ISO_OK) {
        iso_unpack_close(unpack);
        return status;
    }
    *out = unpack;
    return ISO_OK;
}

void iso_unpack_close(iso_unpack *unpack) {
    if (!unpack) return;
    if (unpack->packing == PACKING_GZIP) inflateEnd(&unpack->gzip);
    ZSTD_freeDCtx(unpack->zstd);
    close(unpack->fd);
    free(unpack->input);
    free(unpack->path);
    free(unpack);
}

int64_t iso_unpack_position(const iso_unpack *unpack) {
    return unpack->n_in - (int64_t)(unpack->input_end - unpack->input_begin);
}

static iso_status read_file(iso_unpack *unpack, void *bytes, size_t capacity, size_t *n_bytes) {
    ssize_t n;
    do n = read(unpack->fd, bytes, capacity);
    while (n < 0 && errno == EINTR);
    if (n < 0) return iso_fail_errno(ISO_ERR_IO, errno, "%s: cannot read", unpack->path);
    unpack->n_in += n;
    *n_bytes = (size_t)n;
    return ISO_OK;
}

static iso_status refill(iso_unpack *unpack) {
    if (unpack->input_begin < unpack->input_end || unpack->input_done) return ISO_OK;
    size_t n = 0;
    ISO_TRY(read_file(unpack, unpack->input, INPUT_BYTES, &n));
    unpack->input_begin = 0;
    unpack->input_end = n;
    unpack->input_done = n == 0;
    return ISO_OK;
}

static iso_status fail_broken(const iso_unpack *unpack, const char *reason) {
    return iso_fail(ISO_ERR_DATA,
                    "%s: broken %s data near byte %lld of the file: %s; fetch or pack it again",
                    unpack->path, unpack->packing == PACKING_GZIP ? "gzip" : "zstd",
                    (long long)iso_unpack_position(unpack), reason);
}

/* One step of each decoder: consumes input, writes to bytes, keeps `inside` right. */
static iso_status step_gzip(iso_unpack *unpack, uint8_t *bytes, size_t capacity, size_t *n_bytes) {
    z_stream *gzip = &unpack->gzip;
    gzip->next_in = unpack->input + unpack->input_begin;
    gzip->avail_in = (uInt)(unpack->input_end - unpack->input_begin);
    gzip->next_out = bytes;
    gzip->avail_out = capacity > INT32_MAX ? INT32_MAX : (uInt)capacity;
    uInt room = gzip->avail_out;
    if (gzip->avail_in > 0) unpack->inside = true;
    int result = inflate(gzip, Z_NO_FLUSH);
    unpack->input_begin = unpack->input_end - gzip->avail_in;
    *n_bytes = room - gzip->avail_out;
    if (result == Z_STREAM_END) {
        unpack->inside = false;
        inflateReset(gzip);
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return fail_broken(unpack, gzip->msg ? gzip->msg : "cannot be decoded");
    }
    return ISO_OK;
}

static iso_status step_zstd(iso_unpack *unpack, uint8_t *bytes, size_t capacity, size_t *n_bytes) {
    ZSTD_inBuffer in = {unpack->input, unpack->input_end, unpack->input_begin};
    ZSTD_outBuffer out = {bytes, capacity, 0};
    bool had_input = in.pos < in.size;
    size_t result = ZSTD_decompressStream(unpack->zstd, &out, &in);
    unpack->input_begin = in.pos;
    *n_bytes = out.pos;
    if (ZSTD_isError(result)) return fail_broken(unpack, ZSTD_getErrorName(result));
    /* At the very end zstd asks for the next frame's header: no input, no output, not inside. */
    if (had_input || out.pos > 0) unpack->inside = result != 0;
    return ISO_OK;
}

iso_status iso_unpack_read(iso_unpack *unpack, void *bytes, int64_t capacity, int64_t *n_bytes) {
    ISO_ASSERT(capacity > 0);
    *n_bytes = 0;
    size_t n = 0;
    if (unpack->packing == PACKING_NONE) {
        ISO_TRY(read_file(unpack, bytes, (size_t)capacity, &n));
    } else {
        while (n == 0) {
            ISO_TRY(refill(unpack));
            /* With no input left the decoder may still hold output, but only inside a frame. */
            if (unpack->input_done && !unpack->inside) break;
            if (unpack->packing == PACKING_GZIP)
                ISO_TRY(step_gzip(unpack, bytes, (size_t)capacity, &n));
            else
                ISO_TRY(step_zstd(unpack, bytes, (size_t)capacity, &n));
            if (n == 0 && unpack->input_done && unpack->inside)
                return fail_broken(unpack, "the file ends too early");
        }
    }
    unpack->n_out += (int64_t)n;
    if (unpack->n_out > unpack->max_bytes)
        return iso_fail(ISO_ERR_DATA, "%s: unpacks to more than %lld bytes; split it", unpack->path,
                        (long long)unpack->max_bytes);
    *n_bytes = (int64_t)n;
    return ISO_OK;
}
