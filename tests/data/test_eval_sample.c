/* The evaluation sample: every byte once, nested, a function of its arguments. */
#include "data_fixture.h"

#include "data/eval_sample.h"

/* Documents of 1 to some hundred tokens, in shards of 2000 bytes. */
static void open_domain(void **state, iso_dataset *dataset) {
    char *train = fixture_corpus(state, "train.jsonl", 20, 5, 1);
    char *val = fixture_corpus(state, "val.jsonl", 60, 40, 2);
    iso_prepare_options options = iso_prepare_options_default();
    options.max_shard_bytes = 2000;
    assert_ok(fixture_prepare(state, "data", train, val, &options));
    char *dir = fixture_path(state, "data");
    assert_ok(iso_dataset_open(dataset, dir));
    free(train), free(val), free(dir);
}

/* Every token but the separators is the target of exactly one window, and its input is the token
 * before it; padding is marked. */
static void every_byte_is_scored_once(void **state) {
    static const int64_t lengths[] = {1, 3, 64, 10000};
    iso_dataset dataset;
    open_domain(state, &dataset);
    const iso_split *split = iso_dataset_domain(&dataset, "val");
    int32_t *stream = malloc((size_t)split->n_tokens * sizeof *stream);
    iso_split_read(split, 0, split->n_tokens, stream);
    for (int k = 0; k < 4; k++) {
        int64_t S = lengths[k];
        iso_eval_sample sample;
        assert_ok(iso_eval_sample_create(&sample, &dataset, split, S, 0, 5));
        int32_t *inputs = malloc((size_t)S * 2 * sizeof *inputs), *targets = inputs + S;
        char *scored = calloc((size_t)split->n_tokens, 1);
        int64_t document = -1;
        for (int64_t i = 0; i < sample.n_windows; i++) {
            const iso_eval_window *window = &sample.windows[i];
            assert_in_range(window->n_targets, 1, S);
            if (window->document != document) {
                assert_int_equal(window->document, document + 1);
                assert_int_equal(stream[window->start], dataset.separator);
                document++;
            }
            iso_eval_sample_fill(&sample, i, 1, inputs, targets);
            for (int64_t s = 0; s < S; s++) {
                int64_t at = window->start + s;
                if (s >= window->n_targets) {
                    assert_int_equal(inputs[s], dataset.separator);
                    assert_int_equal(targets[s], -1);
                    continue;
                }
                assert_int_equal(inputs[s], stream[at]);
                assert_int_equal(targets[s], stream[at + 1]);
                assert_int_equal(scored[at + 1]++, 0);
            }
        }
        for (int64_t t = 0; t < split->n_tokens; t++)
            assert_int_equal(scored[t], stream[t] != dataset.separator);
        assert_int_equal(sample.n_bytes, split->n_bytes);
        assert_int_equal(sample.n_chars, split->n_chars);
        assert_int_equal(sample.n_tokens, split->n_tokens - split->n_documents);
        iso_eval_sample_free(&sample);
        free(inputs), free(scored);
    }
    free(stream);
    iso_dataset_close(&dataset);
}

static bool has_window(const iso_eval_sample *sample, const iso_eval_window *window) {
    for (int64_t i = 0; i < sample->n_windows; i++)
        if (sample->windows[i].start == window->start) return true;
    return false;
}

static void smaller_samples_are_part_of_larger_ones(void **state) {
    iso_dataset dataset;
    open_domain(state, &dataset);
    iso_eval_sample previous, sample;
    const iso_split *split = iso_dataset_domain(&dataset, "val");
    assert_ok(iso_eval_sample_create(&previous, &dataset, split, 16, 1, 5));
    assert_int_equal(previous.n_windows, 1);
    for (int64_t max_tokens = 100; max_tokens < split->n_bytes; max_tokens += 500) {
        assert_ok(iso_eval_sample_create(&sample, &dataset, split, 16, max_tokens, 5));
        assert_true(sample.n_tokens >= max_tokens && sample.n_tokens < max_tokens + 16);
        for (int64_t i = 0; i < previous.n_windows; i++)
            assert_true(has_window(&sample, &previous.windows[i]));
        for (int64_t i = 1; i < sample.n_windows; i++)
            assert_true(sample.windows[i - 1].start < sample.windows[i].start);
        iso_eval_sample_free(&previous);
        previous = sample;
    }
    iso_eval_sample_free(&previous);
    iso_dataset_close(&dataset);
}

static void sizes_add_up_per_window(void **state) {
    iso_dataset dataset;
    open_domain(state, &dataset);
    iso_eval_sample sample;
    assert_ok(
        iso_eval_sample_create(&sample, &dataset, iso_dataset_domain(&dataset, "val"), 16, 700, 5));
    int64_t bytes = 0, chars = 0;
    for (int64_t i = 0; i < sample.n_windows; i++) {
        int64_t n_bytes, n_chars;
        iso_eval_sample_size(&sample, i, &n_bytes, &n_chars);
        assert_int_equal(n_bytes, sample.windows[i].n_targets); /* one byte an id */
        assert_true(n_chars <= n_bytes);
        bytes += n_bytes;
        chars += n_chars;
    }
    assert_int_equal(bytes, sample.n_bytes);
    assert_int_equal(chars, sample.n_chars);
    assert_true(chars < bytes); /* the words are not all ASCII */
    iso_eval_sample_free(&sample);
    iso_dataset_close(&dataset);
}

static void the_hash_names_the_sample(void **state) {
    iso_dataset dataset;
    open_domain(state, &dataset);
    const iso_split *split = iso_dataset_domain(&dataset, "val");
    static const struct {
        int64_t S, max_tokens;
        uint64_t seed;
    } variants[] = {{16, 700, 5}, {16, 700, 5}, {16, 700, 6}, {16, 900, 5}, {17, 700, 5}};
    iso_eval_sample samples[5];
    for (int i = 0; i < 5; i++)
        assert_ok(iso_eval_sample_create(&samples[i], &dataset, split, variants[i].S,
                                         variants[i].max_tokens, variants[i].seed));
    assert_string_equal(samples[0].hash, samples[1].hash);
    for (int i = 2; i < 5; i++) assert_string_not_equal(samples[0].hash, samples[i].hash);
    for (int i = 0; i < 5; i++) iso_eval_sample_free(&samples[i]);
    iso_dataset_close(&dataset);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_byte_is_scored_once),
        TEST(smaller_samples_are_part_of_larger_ones),
        TEST(sizes_add_up_per_window),
        TEST(the_hash_names_the_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
