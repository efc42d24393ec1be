/* Preparing: what goes in comes out, hold-out and caps by content, nothing half done on the disk.
 */
#include "data_fixture.h"

#include "data/corpus.h"
#include "data/dataset.h"
#include "data/shard_writer.h"
#include "data/text_stats.h"

#include <math.h>
#include <sys/mount.h>
#include <unistd.h>

static void open_prepared(void **state, const char *name, iso_dataset *dataset) {
    char *dir = fixture_path(state, name);
    assert_ok(iso_dataset_open(dataset, dir));
    free(dir);
}

/* The documents of a split (bytes tokenizer) as a sorted list of strings. */
static int compare_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **split_documents(const iso_split *split) {
    char **documents = calloc((size_t)split->n_documents + 1, sizeof *documents);
    int32_t *ids = malloc((size_t)split->n_tokens * sizeof *ids);
    iso_split_read(split, 0, split->n_tokens, ids);
    for (int64_t i = 0, n = 0; i < split->n_tokens; n++) {
        int64_t start = ++i;
        while (i < split->n_tokens && ids[i] != 256) i++;
        documents[n] = malloc((size_t)(i - start) + 1);
        for (int64_t k = start; k < i; k++) documents[n][k - start] = (char)ids[k];
        documents[n][i - start] = '\0';
    }
    free(ids);
    qsort(documents, (size_t)split->n_documents, sizeof *documents, compare_text);
    return documents;
}

static char **file_documents(const char *path, int64_t *n) {
    iso_corpus *corpus;
    iso_document document;
    char **documents = NULL;
    *n = 0;
    assert_ok(iso_corpus_open(&corpus, &path, 1, NULL));
    for (;;) {
        assert_ok(iso_corpus_next(corpus, &document));
        if (!document.text) break;
        documents = realloc(documents, (size_t)(*n + 1) * sizeof *documents);
        documents[(*n)++] = iso_strf("%.*s", (int)document.n_bytes, document.text);
    }
    iso_corpus_close(corpus);
    qsort(documents, (size_t)*n, sizeof *documents, compare_text);
    return documents;
}

static void free_documents(char **documents, int64_t n) {
    for (int64_t i = 0; i < n; i++) free(documents[i]);
    free(documents);
}

static bool has_document(char **documents, int64_t n, const char *text) {
    return bsearch(&text, documents, (size_t)n, sizeof *documents, compare_text) != NULL;
}

static void what_goes_in_comes_out(void **state) {
    char *train = fixture_corpus(state, "train.jsonl", 40, 10, 1);
    char *val = fixture_corpus(state, "val.jsonl", 7, 10, 2);
    iso_prepare_options options = iso_prepare_options_default();
    options.holdout_one_in = 0;
    options.max_shard_bytes = 102;
    assert_ok(fixture_prepare(state, "data", train, val, &options));
    iso_dataset dataset;
    open_prepared(state, "data", &dataset);
    assert_int_equal(dataset.n_domains, 1);
    assert_true(dataset.train.n_shards > 5);
    const char *const paths[] = {train, val};
    const iso_split *const splits[] = {&dataset.train, iso_dataset_domain(&dataset, "val")};
    for (int k = 0; k < 2; k++) {
        int64_t n;
        char **expected = file_documents(paths[k], &n), **found = split_documents(splits[k]);
        assert_int_equal(splits[k]->n_documents, n);
        for (int64_t i = 0; i < n; i++) assert_string_equal(found[i], expected[i]);
        assert_int_equal(splits[k]->n_tokens, splits[k]->n_bytes + n);
        free_documents(expected, n);
        free_documents(found, n);
    }
    iso_dataset_close(&dataset);
    free(train), free(val);
}

static void the_folder_does_not_depend_on_where_the_text_is(void **state) {
    iso_prepare_options options = iso_prepare_options_default();
    char *one = fixture_corpus(state, "train.jsonl", 40, 10, 1);
    char *sub = fixture_path(state, "elsewhere");
    assert_ok(iso_dir_create(sub));
    char *two = fixture_corpus(state, "elsewhere/train.jsonl", 40, 10, 1);
    assert_ok(fixture_prepare(state, "one", one, NULL, &options));
    assert_ok(fixture_prepare(state, "two", two, NULL, &options));
    iso_dataset a, b;
    open_prepared(state, "one", &a);
    open_prepared(state, "two", &b);
    assert_string_equal(a.hash, b.hash);
    iso_dataset_close(&a), iso_dataset_close(&b);
    char *three = fixture_corpus(state, "three.jsonl", 40, 10, 2);
    assert_ok(fixture_prepare(state, "three", three, NULL, &options));
    open_prepared(state, "one", &a);
    open_prepared(state, "three", &b);
    assert_string_not_equal(a.hash, b.hash);
    iso_dataset_close(&a), iso_dataset_close(&b);
    free(one), free(two), free(three), free(sub);
}

/* --- hold-out and caps --- */

static void holdout_and_train_share_nothing(void **state) {
    char *train = fixture_corpus(state, "train.jsonl", 8000, 120, 1);
    iso_prepare_options options = iso_prepare_options_default();
    options.holdout_one_in = 20;
    assert_ok(fixture_prepare(state, "data", train, NULL, &options));
    iso_dataset dataset;
    open_prepared(state, "data", &dataset);
    const iso_split *holdout = iso_dataset_domain(&dataset, ISO_HOLDOUT);
    assert_non_null(holdout);
    assert_in_range(holdout->n_documents, 300, 500); /* 400 expected, sigma 20 */
    assert_int_equal(holdout->n_documents + dataset.train.n_documents, 8000);
    char **kept = split_documents(&dataset.train), **held = split_documents(holdout);
    for (int64_t i = 0; i < holdout->n_documents; i++)
        assert_false(has_document(kept, dataset.train.n_documents, held[i]));
    free_documents(kept, dataset.train.n_documents);
    free_documents(held, holdout->n_documents);
    iso_dataset_close(&dataset);
    free(train);
}

static void a_small_corpus_gives_more_of_itself(void **state) {
    char *train = fixture_corpus(state, "train.jsonl", 60, 30, 1);
    iso_prepare_options options = iso_prepare_options_default();
    assert_ok(fixture_prepare(state, "data", train, NULL, &options));
    iso_dataset dataset;
    open_prepared(state, "data", &dataset);
    const iso_split *holdout = iso_dataset_domain(&dataset, ISO_HOLDOUT);
    assert_non_null(holdout);
    int64_t total = holdout->n_bytes + dataset.train.n_bytes;
    assert_true(holdout->n_bytes * 50 >= total - 50 && holdout->n_bytes * 5 < total);
    iso_dataset_close(&dataset);
    free(train);
}

/* One document can't be on both sides; a single book can. */
static void one_document_has_no_holdout_but_a_book_has(void **state) {
    char *one = fixture_text(state, "one.txt", "a short text");
    iso_prepare_options options = iso_prepare_options_default();
    iso_dataset dataset;
    assert_ok(fixture_prepare(state, "one", one, NULL, &options));
    open_prepared(state, "one", &dataset);
    assert_int_equal(dataset.n_domains, 0);
    assert_int_equal(dataset.train.n_documents, 1);
    iso_dataset_close(&dataset);
    iso_str text = {0};
    for (int i = 0; text.len < 1000000; i++) iso_str_appendf(&text, "line %d of a book\n", i);
    char *book = fixture_file(state, "book.txt", text.data, (int64_t)text.len);
    assert_ok(fixture_prepare(state, "book", book, NULL, &options));
    open_prepared(state, "book", &dataset);
    assert_int_equal(dataset.n_domains, 1);
    assert_in_range(dataset.domains[0].n_bytes, 16384, 120000);
    iso_dataset_close(&dataset);
    iso_str_release(&text);
    free(one), free(book);
}

static void training_text_never_holds_validation_text(void **state) {
    char *train = fixture_text(state, "train.jsonl",
                               "{\"text\":\"one\"}\n{\"text\":\"two\"}\n{\"text\":\"three\"}\n"
                               "{\"text\":\"two\"}\n{\"text\":\"three \"}\n");
    char *val = fixture_text(state, "val.jsonl", "{\"text\":\"two\"}\n{\"text\":\"three\"}\n");
    iso_prepare_options options = iso_prepare_options_default();
    options.holdout_one_in = 0;
    assert_ok(fixture_prepare(state, "data", train, val, &options));
    iso_dataset dataset;
    open_prepared(state, "data", &dataset);
    char **documents = split_documents(&dataset.train);
    assert_int_equal(dataset.train.n_documents, 2);
    assert_string_equal(documents[0], "one");
    assert_string_equal(documents[1], "three ");
    free_documents(documents, 2);
    iso_dataset_close(&dataset);
    char *index = fixture_path(state, "data/dataset.json"), *text;
    int64_t n_bytes;
    assert_ok(iso_file_read(&text, &n_bytes, index, 1 << 20));
    assert_non_null(strstr(text, "\"in_validation\": 3"));
    free(text), free(index);
    /* and when nothing else is left, it says so */
    options.out_dir = NULL;
    assert_int_equal(fixture_prepare(state, "none", val, val, &options), ISO_ERR_DATA);
    free(train), free(val);
}

static void caps_choose_a_fair_sample(void **state) {
    char *train = fixture_corpus(state, "train.jsonl", 3000, 20, 1);
    char *val = fixture_corpus(state, "val.jsonl", 1000, 20, 2);
    iso_prepare_options options = iso_prepare_options_default();
    options.max_train_bytes = 60000;
    options.max_val_bytes = 20000;
    options.holdout_one_in = 10;
    assert_ok(fixture_prepare(state, "data", train, val, &options));
    iso_dataset dataset;
    open_prepared(state, "data", &dataset);
    const iso_split *held = iso_dataset_domain(&dataset, ISO_HOLDOUT);
    int64_t n_train = dataset.train.n_bytes + held->n_bytes, n;
    assert_true(n_train <= 60000 && n_train > 59000);
    assert_in_range(iso_dataset_domain(&dataset, "val")->n_bytes, 19000, 20000);
    /* a quarter of the first tenth of the file, too: sigma is 7.5 documents */
    iso_corpus *corpus;
    iso_document document;
    char **kept = split_documents(&dataset.train);
    assert_ok(iso_corpus_open(&corpus, (const char *const *)&train, 1, NULL));
    for (int64_t i = n = 0; i < 300; i++) {
        assert_ok(iso_corpus_next(corpus, &document));
        char *text = iso_strf("%.*s", (int)document.n_bytes, document.text);
        n += has_document(kept, dataset.train.n_documents, text);
        free(text);
    }
    assert_in_range(n, 300 * 60000 / 190000 / 2, 300 * 60000 / 190000 * 2);
    iso_corpus_close(corpus);
    free_documents(kept, dataset.train.n_documents);
    iso_dataset_close(&dataset);
    options.max_train_bytes = 1;
    assert_int_equal(fixture_prepare(state, "none", train, NULL, &options), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "leaves no document"));
    free(train), free(val);
}

/* --- bad input --- */

static void assert_nothing_left(void **state, const char *name) {
    char *dir = fixture_path(state, name), *stage = iso_strf("%s.tmp", dir);
    assert_false(iso_path_exists(dir));
    assert_false(iso_path_exists(stage));
    free(dir), free(stage);
}

static void bad_text_leaves_nothing_behind(void **state) {
    char *bad = fixture_text(state, "bad.jsonl", "{\"text\":\"fine\"}\n{\"text\":\"\xFF\"}\n");
    char *empty = fixture_text(state, "empty.jsonl", "\n{\"text\":\"\"}\n");
    iso_prepare_options options = iso_prepare_options_default();
    assert_int_equal(fixture_prepare(state, "data", bad, NULL, &options), ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), "bad.jsonl:2"));
    assert_nothing_left(state, "data");
    assert_int_equal(fixture_prepare(state, "data", empty, NULL, &options), ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), "0 documents"));
    assert_nothing_left(state, "data");
    assert_int_equal(fixture_prepare(state, "data", bad, empty, &options), ISO_ERR_DATA);
    assert_nothing_left(state, "data");
    options.invalid = ISO_INVALID_SKIP;
    assert_ok(fixture_prepare(state, "data", bad, NULL, &options));
    char *sources = fixture_path(state, "data/sources.json"), *text;
    int64_t n_bytes;
    assert_ok(iso_file_read(&text, &n_bytes, sources, 1 << 20));
    assert_non_null(strstr(text, "\"position\": 2"));
    free(text), free(sources), free(bad), free(empty);
}

static void bad_options_are_refused(void **state) {
    char *text = fixture_text(state, "a.txt", "text");
    static const char *const names[] = {"train", "holdout", "", "a/b", "..", ".x", "-x", "a b"};
    const char *paths[] = {text};
    iso_prepare_result result;
    for (int i = 0; i < 9; i++) {
        iso_text_input domains[] = {{names[i % 8], paths, 1}, {names[i % 8], paths, 1}};
        iso_prepare_options options = iso_prepare_options_default();
        if (i == 8) domains[0].name = domains[1].name = "twice";
        options.out_dir = "/nowhere";
        options.train = domains[0];
        options.domains = domains;
        options.n_domains = i == 8 ? 2 : 1;
        assert_int_equal(iso_data_prepare(&options, &result), ISO_ERR_USAGE);
    }
    iso_prepare_options options = iso_prepare_options_default();
    options.holdout_one_in = -1;
    assert_int_equal(fixture_prepare(state, "data", text, NULL, &options), ISO_ERR_USAGE);
    options = iso_prepare_options_default();
    options.tokenizer = text;
    assert_int_equal(fixture_prepare(state, "data", text, NULL, &options), ISO_ERR_DATA);
    assert_nothing_left(state, "data");
    free(text);
}

/* --- the folder --- */

static void the_same_input_is_not_prepared_twice(void **state) {
    char *train = fixture_corpus(state, "train.jsonl", 40, 10, 1),
         *dir = fixture_path(state, "data");
    const char *paths[] = {train};
    iso_prepare_options options = iso_prepare_options_default();
    iso_prepare_result result;
    options.out_dir = dir;
    options.train = (iso_text_input){.paths = paths, .n_paths = 1};
    assert_ok(iso_data_prepare(&options, &result));
    assert_false(result.reused);
    assert_ok(iso_data_prepare(&options, &result));
    assert_true(result.reused);
    options.holdout_one_in = 10; /* other options */
    assert_int_equal(iso_data_prepare(&options, &result), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "--force"));
    options.force = true;
    assert_ok(iso_data_prepare(&options, &result));
    assert_false(result.reused);
    options.force = false;
    assert_ok(iso_data_prepare(&options, &result));
    assert_true(result.reused);
    free(fixture_corpus(state, "train.jsonl", 40, 10, 2)); /* other text */
    assert_int_equal(iso_data_prepare(&options, &result), ISO_ERR_USAGE);
    free(train), free(dir);
}

/* Even --force removes nothing but a prepared folder. */
static void other_folders_are_left_alone(void **state) {
    char *train = fixture_corpus(state, "train.jsonl", 40, 10, 1);
    char *dir = fixture_path(state, "data"), *mine;
    iso_prepare_options options = iso_prepare_options_default();
    assert_ok(iso_dir_create(dir));
    mine = fixture_text(state, "data/thesis.txt", "years of work");
    options.force = true;
    assert_int_equal(fixture_prepare(state, "data", train, NULL, &options), ISO_ERR_USAGE);
    assert_int_equal(fixture_prepare(state, "data/thesis.txt", train, NULL, &options),
                     ISO_ERR_USAGE);
    assert_true(iso_path_exists(mine));
    assert_int_equal(unlink(mine), 0);
    assert_ok(fixture_prepare(state, "data", train, NULL, &options)); /* an empty one is fine */
    free(train), free(dir), free(mine);
}

static void a_dead_stage_is_taken_over_a_live_one_is_not(void **state) {
    char *train = fixture_corpus(state, "train.jsonl", 40, 10, 1);
    char *stage = fixture_path(state, "data.tmp"),
         *lock_path = fixture_path(state, "data.tmp/lock");
    iso_prepare_options options = iso_prepare_options_default();
    iso_lock lock;
    assert_ok(iso_dir_create(stage));
    free(fixture_text(state, "data.tmp/train-00000.bin.tmp", "half"));
    assert_ok(iso_lock_open(&lock, lock_path));
    assert_int_equal(fixture_prepare(state, "data", train, NULL, &options), ISO_ERR_LOCKED);
    iso_lock_close(&lock);
    assert_ok(fixture_prepare(state, "data", train, NULL, &options));
    assert_false(iso_path_exists(stage));
    iso_dataset dataset;
    open_prepared(state, "data", &dataset);
    assert_ok(iso_dataset_verify(&dataset));
    iso_dataset_close(&dataset);
    free(train), free(stage), free(lock_path);
}

static void a_full_disk_is_noticed_ahead(void **state) {
    char *disk = fixture_path(state, "disk");
    assert_ok(iso_dir_create(disk));
    if (mount("tmpfs", disk, "tmpfs", 0, "size=64k") != 0) {
        free(disk);
        skip(); /* needs root */
    }
    char *train = fixture_corpus(state, "train.jsonl", 3000, 20, 1);
    iso_prepare_options options = iso_prepare_options_default();
    iso_status status = fixture_prepare(state, "disk/data", train, NULL, &options);
    char *stage = fixture_path(state, "disk/data.tmp");
    bool left = iso_path_exists(stage);
    assert_int_equal(umount(disk), 0);
    assert_int_equal(status, ISO_ERR_NO_SPACE);
    assert_false(left);
    free(disk), free(train), free(stage);
}

/* --- parts --- */

static void shards_hold_little_endian_ids_of_either_width(void **state) {
    static const int32_t ids[] = {0, 1, 65535, 258, 7, 65536 + 3};
    static const uint8_t narrow[] = {0, 0, 1, 0, 0xFF, 0xFF, 2, 1, 7, 0};
    static const uint8_t wide[] = {0, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0, 0,
                                   2, 1, 0, 0, 7, 0, 0, 0, 3,    0,    1, 0};
    for (int token_bytes = 2; token_bytes <= 4; token_bytes += 2) {
        int64_t n = token_bytes == 2 ? 5 : 6, n_bytes;
        iso_shard_writer writer;
        char hex[ISO_SHA256_HEX_BYTES], expected[ISO_SHA256_HEX_BYTES], *bytes;
        assert_ok(iso_shard_writer_init(&writer, *state, "t", token_bytes, 4 * token_bytes));
        assert_ok(iso_shard_writer_append(&writer, ids, 3));
        assert_ok(iso_shard_writer_append(&writer, ids + 3, n - 3));
        assert_ok(iso_shard_writer_finish(&writer, hex));
        const uint8_t *all = token_bytes == 2 ? narrow : wide;
        iso_sha256_bytes(expected, all, n * token_bytes);
        assert_string_equal(hex, expected);
        assert_int_equal(writer.n_shards, 2);
        assert_int_equal(writer.shard_tokens[0], 4);
        assert_int_equal(writer.max_id, token_bytes == 2 ? 65535 : 65539);
        char *second = fixture_path(state, "t-00001.bin");
        assert_ok(iso_file_read(&bytes, &n_bytes, second, 100));
        assert_int_equal(n_bytes, (n - 4) * token_bytes);
        assert_memory_equal(bytes, all + 4 * token_bytes, (size_t)n_bytes);
        free(bytes), free(second);
        iso_shard_writer_release(&writer);
    }
}

static void statistics_are_those_of_entropy_and_gzip(void **state) {
    iso_text_stats stats;
    assert_ok(iso_text_stats_init(&stats, INT64_MAX));
    assert_true(iso_text_stats_order0(&stats) == 0.0 && iso_text_stats_gzip9(&stats) == 0.0);
    for (int i = 0; i < 1000; i++) iso_text_stats_add(&stats, "abac", 4);
    assert_true(fabs(iso_text_stats_order0(&stats) - 1.5) < 1e-12);
    iso_text_stats_release(&stats);

    char *path = fixture_corpus(state, "text", 3000, 20, 1), *text, line[32];
    char *command = iso_strf("gzip -9 -c < %s | wc -c", path);
    int64_t n_bytes;
    assert_ok(iso_file_read(&text, &n_bytes, path, 1 << 24));
    assert_ok(iso_text_stats_init(&stats, INT64_MAX));
    for (int64_t at = 0; at < n_bytes; at += 777)
        iso_text_stats_add(&stats, text + at, n_bytes - at < 777 ? n_bytes - at : 777);
    iso_text_stats_finish(&stats);
    FILE *pipe = popen(command, "r");
    assert_non_null(fgets(line, sizeof line, pipe));
    pclose(pipe);
    double expected = 8.0 * atof(line) / (double)n_bytes;
    assert_true(fabs(iso_text_stats_gzip9(&stats) / expected - 1.0) < 0.02);
    iso_text_stats_release(&stats);
    free(text), free(path), free(command);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_goes_in_comes_out),
        TEST(the_folder_does_not_depend_on_where_the_text_is),
        TEST(holdout_and_train_share_nothing),
        TEST(a_small_corpus_gives_more_of_itself),
        TEST(one_document_has_no_holdout_but_a_book_has),
        TEST(training_text_never_holds_validation_text),
        TEST(caps_choose_a_fair_sample),
        TEST(bad_text_leaves_nothing_behind),
        TEST(bad_options_are_refused),
        TEST(the_same_input_is_not_prepared_twice),
        TEST(other_folders_are_left_alone),
        TEST(a_dead_stage_is_taken_over_a_live_one_is_not),
        TEST(a_full_disk_is_noticed_ahead),
        TEST(shards_hold_little_endian_ids_of_either_width),
        TEST(statistics_are_those_of_entropy_and_gzip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
