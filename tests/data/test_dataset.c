/* A prepared folder, damaged in every way: verify names the file, open never reads out of bounds.
 */
#include "data_fixture.h"

#include "data/dataset.h"
#include "data/dataset_index.h"

#include <unistd.h>

/* A small folder "data" of several shards, two domains. */
static char *make_folder(void **state) {
    char *train = fixture_corpus(state, "train.jsonl", 30, 10, 1);
    char *val = fixture_corpus(state, "val.jsonl", 5, 10, 2);
    iso_prepare_options options = iso_prepare_options_default();
    options.max_shard_bytes = 600;
    assert_ok(fixture_prepare(state, "data", train, val, &options));
    free(train), free(val);
    return fixture_path(state, "data");
}

static iso_status open_and_verify(const char *dir) {
    iso_dataset dataset;
    ISO_TRY(iso_dataset_open(&dataset, dir));
    iso_status status = iso_dataset_verify(&dataset);
    iso_dataset_close(&dataset);
    return status;
}

static void a_whole_folder_verifies(void **state) {
    char *dir = make_folder(state);
    assert_ok(open_and_verify(dir));
    free(dir);
}

/* Any byte of any file, flipped: an error, and never anything worse. */
static void every_flipped_byte_is_found(void **state) {
    char *dir = make_folder(state), **names;
    int64_t n_names, n_flips = 0;
    assert_ok(iso_dir_list(&names, &n_names, dir));
    assert_true(n_names > 8);
    for (int64_t i = 0; i < n_names; i++) {
        char *path = iso_strf("%s/%s", dir, names[i]), *bytes;
        int64_t n_bytes;
        assert_ok(iso_file_read(&bytes, &n_bytes, path, 1 << 20));
        /* all bytes of the small files, a third of the shards' */
        for (int64_t at = 0; at < n_bytes; at += strstr(names[i], ".bin") ? 3 : 1) {
            FILE *file = fopen(path, "r+b");
            fseek(file, at, SEEK_SET);
            fputc(bytes[at] ^ (1 << (at % 7)), file);
            fclose(file);
            if (open_and_verify(dir) == ISO_OK)
                fail_msg("%s: byte %lld flipped, and nothing said", names[i], (long long)at);
            file = fopen(path, "r+b");
            fseek(file, at, SEEK_SET);
            fputc(bytes[at], file);
            fclose(file);
            n_flips++;
        }
        free(bytes), free(path);
    }
    assert_true(n_flips > 2000);
    assert_ok(open_and_verify(dir));
    iso_names_free(names, n_names);
    free(dir);
}

static void missing_short_and_extra_files_are_found(void **state) {
    char *dir = make_folder(state), *extra = fixture_path(state, "data/extra.bin");
    char *shard = fixture_path(state, "data/train-00001.bin"), *bytes;
    int64_t n_bytes;
    iso_dataset dataset;
    assert_ok(iso_file_read(&bytes, &n_bytes, shard, 1 << 20));
    assert_int_equal(n_bytes, 600);
    assert_int_equal(truncate(shard, 598), 0);
    assert_int_equal(iso_dataset_open(&dataset, dir), ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), "train-00001.bin: has 598 bytes"));
    assert_int_equal(unlink(shard), 0);
    assert_int_equal(iso_dataset_open(&dataset, dir), ISO_ERR_IO);
    assert_non_null(strstr(iso_error_message(), "train-00001.bin"));
    free(fixture_file(state, "data/train-00001.bin", bytes, n_bytes));
    assert_ok(open_and_verify(dir));
    free(fixture_text(state, "data/extra.bin", "x"));
    assert_int_equal(open_and_verify(dir), ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), "extra.bin"));
    free(bytes), free(dir), free(extra), free(shard);
}

/* An id beyond the vocabulary is found at open, before it can index a table. */
static void an_id_beyond_the_vocabulary_is_refused_at_open(void **state) {
    char *dir = make_folder(state);
    char *shard = fixture_path(state, "data/val-val-00000.bin");
    iso_dataset dataset;
    FILE *file = fopen(shard, "r+b");
    fseek(file, 6, SEEK_SET);
    fputs("\x01\x01", file); /* 257 */
    fclose(file);
    assert_int_equal(iso_dataset_open(&dataset, dir), ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), "val-val-00000.bin: holds token id 257"));
    free(dir), free(shard);
}

static void what_is_no_prepared_folder_says_so(void **state) {
    iso_dataset dataset;
    assert_int_equal(iso_dataset_open(&dataset, *state), ISO_ERR_IO);
    assert_non_null(strstr(iso_error_message(), "no prepared folder"));
}

/* Every way in which an index can lie, one replacement each. */
static void a_lying_index_is_refused(void **state) {
    static const struct {
        const char *from, *to;
    } lies[] = {
        {"\"format\": 1", "\"format\": 2"},
        {"\"n_ids\": 257", "\"n_ids\": 1"},
        {"\"n_ids\": 257", "\"n_ids\": 256"},
        {"\"n_ids\": 257", "\"n_ids\": 9999999999999"},
        {"\"n_ids\": 257", "\"n_ids\": -5"},
        {"\"separator\": 256", "\"separator\": 257"},
        {"\"dtype\": \"uint16\"", "\"dtype\": \"int16\""},
        {"\"max_id\": 256", "\"max_id\": 257"},
        {"\"max_id\": 256", "\"max_id\": 2.5"},
        {"\"name\": \"val\"", "\"name\": \"../val\""},
        {"\"name\": \"val\"", "\"name\": \"train\""},
        {"\"name\": \"val\"", "\"name\": \"holdout\""},
        {"\"name\": \"train\"", "\"name\": \"val\""},
        {"\"n_documents\": ", "\"n_documents\": -1"},
        {"\"n_chars\": ", "\"n_chars\": 9223372036854775807, \"x\": "},
        {"\"shard_tokens\": [", "\"shard_tokens\": [9223372036854775807, "},
        {"\"shard_tokens\": [", "\"shard_tokens\": [0, "},
        {"\"shard_tokens\": [", "\"shard_tokens\": [[], "},
        {"\"domains\": [", "\"domains\": [3, "},
        {"\"tokenizer_hash\": \"", "\"tokenizer_hash\": \"0"},
        {"\"sha256\": \"", "\"sha256\": \"XX"},
        {"\"train\": {", "\"trane\": {"},
        {"{", "[{"},
    };
    char *dir = make_folder(state), *path = fixture_path(state, "data/dataset.json"), *text;
    int64_t n_bytes;
    iso_dataset dataset;
    assert_ok(iso_file_read(&text, &n_bytes, path, 1 << 20));
    assert_ok(iso_dataset_index_parse(&dataset, text, n_bytes, "index"));
    iso_dataset_close(&dataset);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        const char *at = strstr(text, lies[i].from);
        assert_non_null(at);
        char *lie =
            iso_strf("%.*s%s%s", (int)(at - text), text, lies[i].to, at + strlen(lies[i].from));
        if (iso_dataset_index_parse(&dataset, lie, (int64_t)strlen(lie), "index") != ISO_ERR_DATA)
            fail_msg("believed: %s", lies[i].to);
        free(lie);
    }
    for (int64_t n = 0; n < n_bytes - 2; n += 7)
        assert_int_equal(iso_dataset_index_parse(&dataset, text, n, "index"), ISO_ERR_DATA);
    free(text), free(path), free(dir);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_whole_folder_verifies),
        TEST(every_flipped_byte_is_found),
        TEST(missing_short_and_extra_files_are_found),
        TEST(an_id_beyond_the_vocabulary_is_refused_at_open),
        TEST(what_is_no_prepared_folder_says_so),
        TEST(a_lying_index_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
