/* Tests of src/safetensors/: round trips (I2), a file made by Python, and everything that can be
 * wrong with a header (I1). */
#include "safetensors/safetensors.h"

#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA_DIR ISO_SOURCE_DIR "/tests/safetensors/data"

/* --- helpers --- */

static int make_dir(void **state) {
    char template[] = "/tmp/isomoe_safetensors_XXXXXX";
    assert_non_null(mkdtemp(template));
    *state = iso_strf("%s", template);
    return 0;
}

static int remove_dir(void **state) {
    assert_int_equal(iso_dir_remove(*state), ISO_OK);
    free(*state);
    return 0;
}

/* A file in memory: length, header, n_data_bytes of zeros. Caller frees. */
static uint8_t *make_bytes(int64_t *n_bytes, const char *header, int64_t n_data_bytes) {
    size_t n_header = strlen(header);
    *n_bytes = 8 + (int64_t)n_header + n_data_bytes;
    uint8_t *bytes = calloc((size_t)*n_bytes, 1);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)n_header >> 8 * i);
    memcpy(bytes + 8, header, n_header);
    return bytes;
}

static iso_status parse(const char *header, int64_t n_data_bytes) {
    int64_t n_bytes;
    uint8_t *bytes = make_bytes(&n_bytes, header, n_data_bytes);
    iso_safetensors file;
    iso_status status = iso_safetensors_parse(&file, bytes, n_bytes, "test");
    if (status == ISO_OK) iso_safetensors_close(&file);
    free(bytes);
    return status;
}

/* --- round trips --- */

static void test_all_dtypes_round_trip(void **state) {
    float f32[6] = {1.0f, -0.0f, 3.4e38f, 1e-45f, 0.1f, -7.0f};
    double f64[2] = {0.1, -1e300};
    uint16_t bf16[3] = {0x3f80, 0xff80, 0x0001};
    int32_t i32[1] = {INT32_MIN};
    int64_t i64[2] = {INT64_MAX, -1};
    uint8_t u8[5] = {0, 1, 2, 254, 255};
    iso_safetensor tensors[] = {
        {.name = "model.layers.0.mlp.gate.weight",
         .dtype = ISO_F32,
         .n_dims = 2,
         .dims = {2, 3},
         .data = f32},
        {.name = "f64", .dtype = ISO_F64, .n_dims = 1, .dims = {2}, .data = f64},
        {.name = "empty", .dtype = ISO_F32, .n_dims = 3, .dims = {4, 0, 2}, .data = NULL},
        {.name = "bf16", .dtype = ISO_BF16, .n_dims = 1, .dims = {3}, .data = bf16},
        {.name = "scalar", .dtype = ISO_I32, .n_dims = 0, .data = i32},
        {.name = "i64", .dtype = ISO_I64, .n_dims = 1, .dims = {2}, .data = i64},
        {.name = "A-Z_9", .dtype = ISO_U8, .n_dims = 1, .dims = {5}, .data = u8},
    };
    int64_t n_tensors = (int64_t)(sizeof tensors / sizeof *tensors);
    char *path = iso_strf("%s/a.safetensors", (char *)*state);
    json_t *metadata = json_pack("{s:s}", "step", "12");
    assert_int_equal(iso_safetensors_save(path, tensors, n_tensors, metadata), ISO_OK);
    json_decref(metadata);

    iso_safetensors file;
    assert_int_equal(iso_safetensors_open(&file, path), ISO_OK);
    assert_int_equal(file.n_tensors, n_tensors);
    for (int64_t i = 0; i < n_tensors; i++) {
        const iso_safetensor *found = iso_safetensors_find(&file, tensors[i].name);
        assert_non_null(found);
        assert_int_equal(found->dtype, tensors[i].dtype);
        assert_int_equal(found->n_dims, tensors[i].n_dims);
        for (int j = 0; j < found->n_dims; j++)
            assert_int_equal(found->dims[j], tensors[i].dims[j]);
        int64_t n_bytes = iso_safetensor_bytes(found);
        if (n_bytes > 0) assert_memory_equal(found->data, tensors[i].data, (size_t)n_bytes);
    }
    assert_null(iso_safetensors_find(&file, "absent"));
    assert_string_equal(iso_safetensors_metadata(&file, "format"), "pt");
    assert_string_equal(iso_safetensors_metadata(&file, "step"), "12");
    assert_null(iso_safetensors_metadata(&file, "absent"));
    /* the data begins at a multiple of 8 */
    assert_int_equal((uintptr_t)file.tensors[0].data % 8, 0);
    iso_safetensors_close(&file);
    free(path);
}

static void test_no_tensors(void **state) {
    char *path = iso_strf("%s/none.safetensors", (char *)*state);
    iso_safetensors file;
    assert_int_equal(iso_safetensors_save(path, NULL, 0, NULL), ISO_OK);
    assert_int_equal(iso_safetensors_open(&file, path), ISO_OK);
    assert_int_equal(file.n_tensors, 0);
    assert_null(iso_safetensors_find(&file, "x"));
    iso_safetensors_close(&file);
    free(path);
}

static void test_hash_is_the_files(void **state) {
    float data[3] = {1, 2, 3};
    iso_safetensor tensor = {.name = "w", .dtype = ISO_F32, .n_dims = 1, .dims = {3}, .data = data};
    char *path = iso_strf("%s/h.safetensors", (char *)*state);
    char written[ISO_SHA256_HEX_BYTES], read_back[ISO_SHA256_HEX_BYTES];
    iso_safetensors_writer writer;
    int64_t n_bytes;
    assert_int_equal(iso_safetensors_writer_open(&writer, path, &tensor, 1, NULL), ISO_OK);
    assert_int_equal(iso_safetensors_writer_add(&writer, data), ISO_OK);
    assert_int_equal(iso_safetensors_writer_commit(&writer, written), ISO_OK);
    assert_int_equal(iso_sha256_file(read_back, path), ISO_OK);
    assert_string_equal(written, read_back);
    assert_int_equal(iso_file_size(&n_bytes, path), ISO_OK);
    assert_int_equal(n_bytes, writer.n_bytes);
    iso_safetensors_writer_abandon(&writer); /* does nothing after commit */
    assert_true(iso_path_exists(path));
    free(path);
}

static void test_abandon_leaves_nothing(void **state) {
    iso_safetensor tensor = {.name = "w", .dtype = ISO_F32, .n_dims = 1, .dims = {3}};
    char *path = iso_strf("%s/gone.safetensors", (char *)*state);
    char *temp = iso_strf("%s.tmp", path);
    iso_safetensors_writer writer;
    assert_int_equal(iso_safetensors_writer_open(&writer, path, &tensor, 1, NULL), ISO_OK);
    iso_safetensors_writer_abandon(&writer);
    assert_false(iso_path_exists(path));
    assert_false(iso_path_exists(temp));
    free(temp);
    free(path);
}

/* --- a file that Python's safetensors wrote --- */

static void test_python_file(void **state) {
    iso_safetensors file;
    assert_int_equal(iso_safetensors_open(&file, DATA_DIR "/python.safetensors"), ISO_OK);
    assert_int_equal(file.n_tensors, 7);
    assert_string_equal(iso_safetensors_metadata(&file, "made by"), "safetensors for Python");
    const iso_safetensor *embed = iso_safetensors_find(&file, "model.embed_tokens.weight");
    assert_non_null(embed);
    assert_int_equal(embed->dtype, ISO_F32);
    assert_int_equal(embed->n_dims, 2);
    assert_int_equal(embed->dims[0], 3);
    assert_int_equal(embed->dims[1], 4);
    for (int i = 0; i < 12; i++) {
        float value;
        memcpy(&value, (const char *)embed->data + 4 * i, 4);
        assert_true(value == (float)i / 8);
    }
    const iso_safetensor *scalar = iso_safetensors_find(&file, "scalar");
    float value;
    assert_int_equal(scalar->n_dims, 0);
    memcpy(&value, scalar->data, 4);
    assert_true(value == 3.25f);
    const iso_safetensor *empty = iso_safetensors_find(&file, "empty");
    assert_int_equal(iso_safetensor_bytes(empty), 0);
    iso_safetensors_close(&file);
}

/* --- malformed files --- */

#define ENTRY(dtype, shape, offsets)                                                               \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void test_malformed_headers(void **state) {
    static const struct {
        const char *what, *header;
        int64_t n_data_bytes;
        iso_status expected;
    } cases[] = {
        {"good", "{\"a\":" ENTRY("F32", "[2]", "[0,8]") "}", 8, ISO_OK},
        {"good, padded", "{\"a\":" ENTRY("F32", "[2]", "[0,8]") "}    ", 8, ISO_OK},
        {"good, empty", "{}", 0, ISO_OK},
        {"empty tensors between",
         "{\"a\":" ENTRY("F32", "[1]", "[0,4]") ",\"z\":" ENTRY(
             "F32", "[0]", "[4,4]") ",\"b\":" ENTRY("F32", "[1]", "[4,8]") "}",
         8, ISO_OK},
        {"no object", "[]", 0, ISO_ERR_DATA},
        {"leading space", " {}", 0, ISO_ERR_DATA},
        {"no JSON", "{\"a\":", 0, ISO_ERR_DATA},
        {"rubbish after", "{} x", 0, ISO_ERR_DATA},
        {"duplicate name",
         "{\"a\":" ENTRY("U8", "[1]", "[0,1]") ",\"a\":" ENTRY("U8", "[1]", "[1,2]") "}", 2,
         ISO_ERR_DATA},
        {"entry no object", "{\"a\":3}", 0, ISO_ERR_DATA},
        {"no dtype", "{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, ISO_ERR_DATA},
        {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, ISO_ERR_DATA},
        {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, ISO_ERR_DATA},
        {"more members", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}",
         4, ISO_ERR_DATA},
        {"unknown dtype", "{\"a\":" ENTRY("F16", "[1]", "[0,2]") "}", 2, ISO_ERR_UNSUPPORTED},
        {"negative dim", "{\"a\":" ENTRY("F32", "[-1]", "[0,4]") "}", 4, ISO_ERR_DATA},
        {"two negative dims", "{\"a\":" ENTRY("F32", "[-1,-1]", "[0,4]") "}", 4, ISO_ERR_DATA},
        {"fractional dim", "{\"a\":" ENTRY("F32", "[1.0]", "[0,4]") "}", 4, ISO_ERR_DATA},
        {"nine dims", "{\"a\":" ENTRY("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, ISO_ERR_DATA},
        {"product overflows", "{\"a\":" ENTRY("F32", "[4611686018427387904,4]", "[0,0]") "}", 0,
         ISO_ERR_DATA},
        {"product overflows to 4", "{\"a\":" ENTRY("U8", "[4294967297,4294967296,4]", "[0,4]") "}",
         4, ISO_ERR_DATA},
        {"dim past 64 bits", "{\"a\":" ENTRY("F32", "[18446744073709551616]", "[0,4]") "}", 4,
         ISO_ERR_DATA},
        {"size and offsets differ", "{\"a\":" ENTRY("F32", "[2]", "[0,4]") "}", 4, ISO_ERR_DATA},
        {"offsets reversed", "{\"a\":" ENTRY("F32", "[1]", "[4,0]") "}", 4, ISO_ERR_DATA},
        {"negative offset", "{\"a\":" ENTRY("F32", "[1]", "[-4,0]") "}", 4, ISO_ERR_DATA},
        {"past the end", "{\"a\":" ENTRY("F32", "[2]", "[0,8]") "}", 4, ISO_ERR_DATA},
        {"three offsets", "{\"a\":" ENTRY("F32", "[1]", "[0,4,4]") "}", 4, ISO_ERR_DATA},
        {"offset a string", "{\"a\":" ENTRY("F32", "[1]", "[\"0\",4]") "}", 4, ISO_ERR_DATA},
        {"overlap",
         "{\"a\":" ENTRY("F32", "[1]", "[0,4]") ",\"b\":" ENTRY("F32", "[1]", "[2,6]") "}", 6,
         ISO_ERR_DATA},
        {"same place",
         "{\"a\":" ENTRY("F32", "[1]", "[0,4]") ",\"b\":" ENTRY("F32", "[1]", "[0,4]") "}", 4,
         ISO_ERR_DATA},
        {"same place, sizes fit",
         "{\"a\":" ENTRY("F32", "[1]", "[0,4]") ",\"b\":" ENTRY("F32", "[1]", "[0,4]") "}", 8,
         ISO_ERR_DATA},
        {"gap", "{\"a\":" ENTRY("F32", "[1]", "[0,4]") ",\"b\":" ENTRY("F32", "[1]", "[8,12]") "}",
         12, ISO_ERR_DATA},
        {"gap at the start", "{\"a\":" ENTRY("F32", "[1]", "[4,8]") "}", 8, ISO_ERR_DATA},
        {"bytes left over", "{\"a\":" ENTRY("F32", "[1]", "[0,4]") "}", 5, ISO_ERR_DATA},
        {"data without tensors", "{}", 1, ISO_ERR_DATA},
        {"empty name", "{\"\":" ENTRY("U8", "[1]", "[0,1]") "}", 1, ISO_ERR_DATA},
        {"name with a slash", "{\"../a\":" ENTRY("U8", "[1]", "[0,1]") "}", 1, ISO_ERR_DATA},
        {"name with a control character", "{\"a\\u001b[31m\":" ENTRY("U8", "[1]", "[0,1]") "}", 1,
         ISO_ERR_DATA},
        {"name with NUL", "{\"a\\u0000b\":" ENTRY("U8", "[1]", "[0,1]") "}", 1, ISO_ERR_DATA},
        {"metadata no object", "{\"__metadata__\":[]}", 0, ISO_ERR_DATA},
        {"metadata a number", "{\"__metadata__\":{\"format\":1}}", 0, ISO_ERR_DATA},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iso_status status = parse(cases[i].header, cases[i].n_data_bytes);
        if (status != cases[i].expected)
            fail_msg("%s: status %d, expected %d (%s)", cases[i].what, status, cases[i].expected,
                     iso_error_message());
    }
}

static void test_name_lengths(void **state) {
    for (int n_chars = 255; n_chars <= 256; n_chars++) {
        char name[300], *header;
        memset(name, 'n', sizeof name);
        name[n_chars] = '\0';
        header = iso_strf("{\"%s\":" ENTRY("U8", "[1]", "[0,1]") "}", name);
        assert_int_equal(parse(header, 1), n_chars == 255 ? ISO_OK : ISO_ERR_DATA);
        free(header);
    }
}

static void test_header_lengths(void **state) {
    uint8_t bytes[16] = {2, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    iso_safetensors file;
    assert_int_equal(iso_safetensors_parse(&file, bytes, 10, "test"), ISO_OK);
    iso_safetensors_close(&file);
    for (int64_t n = 0; n < 10; n++)
        assert_int_equal(iso_safetensors_parse(&file, bytes, n, "test"), ISO_ERR_DATA);
    bytes[7] = 0x80; /* a length beyond int64 */
    assert_int_equal(iso_safetensors_parse(&file, bytes, 10, "test"), ISO_ERR_DATA);
    bytes[7] = 0;
    bytes[0] = 0;
    assert_int_equal(iso_safetensors_parse(&file, bytes, 8, "test"), ISO_ERR_DATA);
}

/* Every cut is an error; every flipped byte is an error or harmless, never a crash (ASan). */
static void test_cuts_and_flips(void **state) {
    char *text;
    int64_t n_bytes;
    assert_int_equal(iso_file_read(&text, &n_bytes, DATA_DIR "/python.safetensors", 1 << 20),
                     ISO_OK);
    iso_safetensors file;
    for (int64_t n = 0; n < n_bytes; n++) {
        uint8_t *cut = malloc((size_t)n + 1);
        memcpy(cut, text, (size_t)n);
        assert_int_not_equal(iso_safetensors_parse(&file, cut, n, "test"), ISO_OK);
        free(cut);
    }
    for (int64_t i = 0; i < n_bytes; i++) {
        for (int bit = 0; bit < 8; bit++) {
            text[i] = (char)(text[i] ^ 1 << bit);
            if (iso_safetensors_parse(&file, text, n_bytes, "test") == ISO_OK)
                iso_safetensors_close(&file);
            text[i] = (char)(text[i] ^ 1 << bit);
        }
    }
    free(text);
}

static void test_bad_files(void **state) {
    iso_safetensors file;
    char *path = iso_strf("%s/empty", (char *)*state);
    assert_int_equal(iso_file_write_atomic(path, "", 0), ISO_OK);
    assert_int_equal(iso_safetensors_open(&file, path), ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), path));
    assert_int_equal(iso_safetensors_open(&file, "/nonexistent"), ISO_ERR_IO);
    free(path);
}

static void test_writer_refuses(void **state) {
    uint8_t byte = 1;
    iso_safetensor twice[2] = {{.name = "a", .dtype = ISO_U8, .data = &byte},
                               {.name = "a", .dtype = ISO_U8, .data = &byte}};
    char *path = iso_strf("%s/bad.safetensors", (char *)*state);
    assert_int_equal(iso_safetensors_save(path, twice, 2, NULL), ISO_ERR_USAGE);
    twice[1].name = "a b";
    assert_int_equal(iso_safetensors_save(path, twice, 2, NULL), ISO_ERR_USAGE);
    twice[1].name = "__metadata__";
    assert_int_equal(iso_safetensors_save(path, twice, 2, NULL), ISO_ERR_USAGE);
    twice[1] =
        (iso_safetensor){.name = "b", .dtype = ISO_F64, .n_dims = 2, .dims = {INT64_C(1) << 60, 2}};
    assert_int_equal(iso_safetensors_save(path, twice, 2, NULL), ISO_ERR_USAGE);
    assert_false(iso_path_exists(path));
    free(path);
    assert_int_not_equal(iso_safetensors_save("/nonexistent/x", twice, 1, NULL), ISO_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_dtypes_round_trip), cmocka_unit_test(test_no_tensors),
        cmocka_unit_test(test_hash_is_the_files),     cmocka_unit_test(test_abandon_leaves_nothing),
        cmocka_unit_test(test_python_file),           cmocka_unit_test(test_malformed_headers),
        cmocka_unit_test(test_name_lengths),          cmocka_unit_test(test_header_lengths),
        cmocka_unit_test(test_cuts_and_flips),        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_writer_refuses),
    };
    return cmocka_run_group_tests_name("safetensors", tests, make_dir, remove_dir);
}
