/* data_fixture.h - files to read and prepared folders to open, for the tests of data. */
#ifndef ISO_TESTS_DATA_FIXTURE_H
#define ISO_TESTS_DATA_FIXTURE_H

#include "temp_dir.h"

#include "base/rng.h"
#include "data/dataset.h"
#include "data/prepare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != ISO_OK) fail_msg("%s", iso_error_message());                                 \
    } while (0)

static inline char *fixture_path(void **state, const char *name) {
    return iso_strf("%s/%s", (char *)*state, name);
}

/* Writes a file in the test's folder and returns its path; the caller frees it. */
static inline char *fixture_file(void **state, const char *name, const void *bytes,
                                 int64_t n_bytes) {
    char *path = fixture_path(state, name);
    FILE *file = fopen(path, "wb"); /* thousands of files: no need for them to be durable */
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, (size_t)n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

static inline char *fixture_text(void **state, const char *name, const char *text) {
    return fixture_file(state, name, text, (int64_t)strlen(text));
}

/* One gzip member or zstd frame, appended to `out`. */
static inline void append_gzip(iso_str *out, const char *text, size_t n_bytes) {
    uint8_t packed[1 << 16];
    z_stream stream = {.next_in = (Bytef *)text, .avail_in = (uInt)n_bytes};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_out = packed;
    stream.avail_out = sizeof packed;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    iso_str_append_bytes(out, packed, sizeof packed - stream.avail_out);
    deflateEnd(&stream);
}

static inline void append_zstd(iso_str *out, const char *text, size_t n_bytes) {
    uint8_t packed[1 << 16];
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(context, packed, sizeof packed, text, n_bytes);
    assert_false(ZSTD_isError(n));
    iso_str_append_bytes(out, packed, n);
    ZSTD_freeCCtx(context);
}

/* A random number below n, draw number *i of the tests' stream. */
static inline int64_t draw_below(int64_t *i, int64_t n) {
    return (int64_t)(iso_rng_u64(7, ISO_RNG_TEST, 0, (uint64_t)(*i)++) % (uint64_t)n);
}

/* A random valid code point: ASCII, control, space, U+2581, and all the other ranges. */
static inline uint32_t draw_code_point(int64_t *i) {
    switch (draw_below(i, 10)) {
    case 0:
        return (uint32_t)draw_below(i, 32);
    case 1:
        return ' ';
    case 2:
        return 0x2581;
    case 3:
        return 0x80 + (uint32_t)draw_below(i, 0x800 - 0x80);
    case 4:
        return 0x800 + (uint32_t)draw_below(i, 0xD800 - 0x800);
    case 5:
        return 0xE000 + (uint32_t)draw_below(i, 0x10000 - 0xE000);
    case 6:
        return 0x10000 + (uint32_t)draw_below(i, 0x110000 - 0x10000);
    default:
        return 0x20 + (uint32_t)draw_below(i, 0x60);
    }
}

static inline void append_code_point(iso_str *out, uint32_t c) {
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t k = n - 1; k > 0; k--, c >>= 6) bytes[k] = (char)(0x80 | (c & 0x3F));
    bytes[0] = (char)(lead[n] | c);
    iso_str_append_bytes(out, bytes, n);
}

/* A JSONL file of n_documents documents "SEED.NUMBER word word ..." of 1..max_words words; returns
 * its path. */
static inline char *fixture_corpus(void **state, const char *name, int64_t n_documents,
                                   int64_t max_words, int64_t seed) {
    static const char *const words[] = {"alpha", "beta",  "gamma", "delta", "na\xC3\xAFve",
                                        "if",    "while", "0x1f",  "\\n",   "\xE4\xB8\xAD"};
    iso_str text = {0};
    int64_t i = seed * 1000000;
    for (int64_t d = 0; d < n_documents; d++) {
        iso_str_appendf(&text, "{\"text\": \"%d.%d ", (int)seed, (int)d);
        int64_t n = 1 + draw_below(&i, max_words);
        for (int64_t w = 0; w < n; w++) {
            if (w > 0) iso_str_append(&text, " ");
            iso_str_append(&text, words[draw_below(&i, 10)]);
        }
        iso_str_append(&text, "\"}\n");
    }
    char *path = fixture_file(state, name, text.data, (int64_t)text.len);
    iso_str_release(&text);
    return path;
}

/* Prepares train (a file) and one validation domain "val" (a file, or NULL) into folder `name`. */
static inline iso_status fixture_prepare(void **state, const char *name, const char *train,
                                         const char *val, iso_prepare_options *options) {
    const char *train_paths[] = {train}, *val_paths[] = {val};
    iso_text_input domain = {.name = "val", .paths = val_paths, .n_paths = 1};
    char *dir = fixture_path(state, name);
    iso_prepare_result result;
    options->out_dir = dir;
    options->train = (iso_text_input){.paths = train_paths, .n_paths = 1};
    options->domains = &domain;
    options->n_domains = val ? 1 : 0;
    iso_status status = iso_data_prepare(options, &result);
    free(dir);
    return status;
}

#endif
