/* Tokenizers lose nothing, whatever the text; and bytes and code points add up over ids. */
#include "data_fixture.h"

#include "data/tokenizer.h"
#include "data/utf8.h"

/* Text to learn from: repeated words, code, digits, several scripts. */
static char *training_text(void **state) {
    iso_str text = {0};
    int64_t i = 0;
    for (int line = 0; line < 3000; line++) {
        iso_str_appendf(&text, "    if (value_%d > %d) return \"the quick brown fox\";\n",
                        (int)draw_below(&i, 50), (int)draw_below(&i, 1000));
        iso_str_append(&text, "\xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, na\xC3\xAFve "
                              "\xE4\xB8\xAD\xE6\x96\x87\n\n");
        for (int64_t w = 0; w < 12; w++) {
            int64_t n = 2 + draw_below(&i, 6);
            for (int64_t k = 0; k < n; k++)
                append_code_point(&text, (uint32_t)('a' + draw_below(&i, 26)));
            iso_str_append(&text, w < 11 ? " " : "\n");
        }
    }
    char *path = fixture_file(state, "learn.txt", text.data, (int64_t)text.len);
    iso_str_release(&text);
    return path;
}

static char *train(void **state, const char *name, int64_t vocab_size) {
    char *text = training_text(state), *model = fixture_path(state, name);
    iso_tokenizer_options options = {.vocab_size = vocab_size};
    assert_ok(iso_tokenizer_train(model, (const char *const *)&text, 1, &options));
    free(text);
    return model;
}

static void assert_round_trip(const iso_tokenizer *tokenizer, const char *text, int64_t n_bytes) {
    iso_ids ids = {0};
    iso_str back = {0};
    assert_ok(iso_tokenizer_encode(tokenizer, &ids, text, n_bytes));
    assert_ok(iso_tokenizer_decode(tokenizer, &back, ids.data, ids.n));
    assert_int_equal(back.len, n_bytes);
    if (n_bytes > 0) assert_memory_equal(back.data, text, (size_t)n_bytes);
    int64_t bytes = 0, chars = 0;
    for (int64_t i = 0; i < ids.n; i++) {
        assert_in_range(ids.data[i], 0, tokenizer->n_ids - 1);
        assert_int_not_equal(ids.data[i], tokenizer->separator);
        bytes += tokenizer->id_bytes[ids.data[i]];
        chars += tokenizer->id_chars[ids.data[i]];
    }
    assert_int_equal(bytes, n_bytes);
    assert_int_equal(chars, iso_utf8_count(text, n_bytes));
    iso_ids_release(&ids);
    iso_str_release(&back);
}

static void check_losslessness(const iso_tokenizer *tokenizer) {
    static const char *const texts[] = {
        "",
        " ",
        "  two  spaces  ",
        "\n\n\t\r\n",
        "\xE2\x96\x81",                             /* U+2581 alone */
        "a\xE2\x96\x81 \xE2\x96\x81\xE2\x96\x81 b", /* and among spaces */
        "\xE2\x96\x85 \xE2\x81\x87",                /* what the library uses for unknown */
        "<|sep|><unk><s></s><0x41><|sep|>",
        "e\xCC\x81 \xEF\xAC\x81 \xC2\xB2 \xEF\xBC\xA1 \xC2\xA0 \xEF\xBB\xBF", /* normalisable */
        "\xEF\xBF\xBD \xEF\xBF\xBE \xF4\x8F\xBF\xBF",                         /* odd code points */
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_round_trip(tokenizer, texts[i], (int64_t)strlen(texts[i]));
    for (int c = 0; c < 128; c++) {
        char text[5] = {'a', (char)c, ' ', (char)c, 'b'};
        assert_round_trip(tokenizer, text, 5);
        assert_round_trip(tokenizer, text + 1, 1);
    }
    int64_t draws = 0;
    for (int round = 0; round < 4000; round++) {
        iso_str text = {0};
        int64_t n = draw_below(&draws, round % 100 == 0 ? 3000 : 40);
        for (int64_t i = 0; i < n; i++) append_code_point(&text, draw_code_point(&draws));
        assert_round_trip(tokenizer, text.data ? text.data : "", (int64_t)text.len);
        iso_str_release(&text);
    }
}

static void bytes_are_their_own_ids(void **state) {
    (void)state;
    iso_tokenizer tokenizer;
    assert_ok(iso_tokenizer_open(&tokenizer, "bytes"));
    assert_int_equal(tokenizer.n_ids, 257);
    assert_int_equal(tokenizer.separator, 256);
    assert_int_equal(tokenizer.id_bytes[256], 0);
    iso_ids ids = {0};
    assert_ok(iso_tokenizer_encode(&tokenizer, &ids, "a\xC3\xA9\0", 4));
    assert_int_equal(ids.n, 4);
    static const int32_t expected[] = {'a', 0xC3, 0xA9, 0};
    assert_memory_equal(ids.data, expected, sizeof expected);
    iso_ids_release(&ids);
    check_losslessness(&tokenizer);
    iso_tokenizer_close(&tokenizer);
}

static void a_trained_model_is_lossless(void **state) {
    char *model = train(state, "m.model", 1000);
    iso_tokenizer tokenizer;
    assert_ok(iso_tokenizer_open(&tokenizer, model));
    assert_int_equal(tokenizer.n_ids, 1000);
    assert_int_equal(tokenizer.id_bytes[tokenizer.separator], 0);
    check_losslessness(&tokenizer);
    /* Words that it has learnt are pieces, not bytes. */
    iso_ids ids = {0};
    assert_ok(iso_tokenizer_encode(&tokenizer, &ids, " return \"the quick brown fox\"", 29));
    assert_in_range(ids.n, 1, 14);
    /* U+2581 goes out as its three bytes, and costs what is around it nothing. */
    iso_ids marked = {0};
    assert_ok(iso_tokenizer_encode(&tokenizer, &marked,
                                   " return \"the quick brown fox\"\xE2\x96\x81 return", 39));
    assert_in_range(marked.n, ids.n + 4, ids.n + 6);
    assert_memory_equal(marked.data, ids.data, (size_t)ids.n * sizeof *ids.data);
    assert_int_equal(marked.data[ids.n], tokenizer.byte_ids[0xE2]);
    assert_int_equal(marked.data[ids.n + 2], tokenizer.byte_ids[0x81]);
    iso_ids_release(&marked);
    iso_ids_release(&ids);
    iso_tokenizer_close(&tokenizer);
    free(model);
}

/* Texts over the 64 KiB stretch, with and without line ends to cut at. */
static void long_texts_are_lossless(void **state) {
    char *model = train(state, "m.model", 500);
    iso_tokenizer tokenizer;
    assert_ok(iso_tokenizer_open(&tokenizer, model));
    for (int kind = 0; kind < 2; kind++) {
        iso_str text = {0};
        int64_t draws = 0;
        while (text.len < 200000) {
            uint32_t c = draw_code_point(&draws);
            append_code_point(&text, kind == 0 && c == '\n' ? ' ' : c);
        }
        assert_round_trip(&tokenizer, text.data, (int64_t)text.len);
        iso_str_release(&text);
    }
    iso_tokenizer_close(&tokenizer);
    free(model);
}

static void training_is_deterministic(void **state) {
    char *a = train(state, "a.model", 700), *b = train(state, "b.model", 700);
    char hash_a[ISO_SHA256_HEX_BYTES], hash_b[ISO_SHA256_HEX_BYTES];
    assert_ok(iso_sha256_file(hash_a, a));
    assert_ok(iso_sha256_file(hash_b, b));
    assert_string_equal(hash_a, hash_b);
    iso_tokenizer tokenizer;
    assert_ok(iso_tokenizer_open(&tokenizer, a));
    assert_string_equal(tokenizer.hash, hash_a);
    iso_tokenizer_close(&tokenizer);
    free(a), free(b);
}

/* --- models written by hand: a SentencePiece file is a protocol buffer --- */

typedef struct model_spec {
    int64_t n_ids;
    const char *separator;
    bool has_bytes, has_dummy_prefix;
} model_spec;

static void append_varint(iso_str *out, uint64_t value) {
    for (; value > 127; value >>= 7) iso_str_append_bytes(out, (char[]){(char)(value | 128)}, 1);
    iso_str_append_bytes(out, (char[]){(char)value}, 1);
}

static void append_field(iso_str *out, int number, const char *bytes, size_t n_bytes) {
    append_varint(out, (uint64_t)number << 3 | 2);
    append_varint(out, n_bytes);
    iso_str_append_bytes(out, bytes, n_bytes);
}

static void append_number(iso_str *out, int number, uint64_t value) {
    append_varint(out, (uint64_t)number << 3);
    append_varint(out, value);
}

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, BYTE = 6 };

/* Later pieces have lower scores: they are merged later. */
static void append_piece(iso_str *model, int64_t *n_ids, const char *text, int type) {
    iso_str piece = {0};
    float score = (float)-*n_ids;
    append_field(&piece, 1, text, strlen(text));
    append_varint(&piece, 2 << 3 | 5);
    iso_str_append_bytes(&piece, &score, 4);
    append_number(&piece, 3, (uint64_t)type);
    append_field(model, 1, piece.data, piece.len);
    iso_str_release(&piece);
    (*n_ids)++;
}

/* A BPE model of words over a..z: all of one letter, then of two, three, four, as far as n_ids go.
 */
static char *make_model(void **state, const char *name, model_spec spec) {
    iso_str model = {0}, part = {0};
    int64_t n = 0;
    append_piece(&model, &n, "<unk>", UNKNOWN);
    append_piece(&model, &n, spec.separator, CONTROL);
    for (int i = 0; i < 256 && spec.has_bytes; i++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", i);
        append_piece(&model, &n, text, BYTE);
    }
    append_piece(&model, &n, "\xE2\x96\x81", NORMAL);
    for (int64_t letters = 1, count = 26; n < spec.n_ids; letters++, count *= 26)
        for (int64_t i = 0; i < count && n < spec.n_ids; i++) {
            char word[8] = "";
            for (int64_t k = letters - 1, rest = i; k >= 0; k--, rest /= 26)
                word[k] = (char)('a' + rest % 26);
            append_piece(&model, &n, word, NORMAL);
        }
    append_number(&part, 3, 2); /* BPE */
    append_number(&part, 35, spec.has_bytes);
    append_field(&model, 2, part.data, part.len);
    iso_str_clear(&part);
    append_field(&part, 1, "identity", 8);
    append_number(&part, 3, spec.has_dummy_prefix);
    append_number(&part, 4, 0);
    append_number(&part, 5, 1);
    append_field(&model, 3, part.data, part.len);
    char *path = fixture_file(state, name, model.data, (int64_t)model.len);
    iso_str_release(&model);
    iso_str_release(&part);
    return path;
}

/* 65,536 ids: the largest is 65,535, which uint16 holds exactly; one more, and it takes uint32. */
static void the_largest_vocabulary_fits_16_bits(void **state) {
    for (int64_t n_ids = 65536; n_ids <= 65537; n_ids++) {
        char *model = make_model(state, "big.model", (model_spec){n_ids, "</s>", true, false});
        iso_tokenizer tokenizer;
        assert_ok(iso_tokenizer_open(&tokenizer, model));
        assert_int_equal(tokenizer.n_ids, n_ids);
        int32_t last = (int32_t)n_ids - 1, ids[3];
        iso_str word = {0};
        assert_ok(iso_tokenizer_decode(&tokenizer, &word, &last, 1));
        char *text = fixture_file(state, "word.txt", word.data, (int64_t)word.len);
        iso_prepare_options options = iso_prepare_options_default();
        options.tokenizer = model;
        char *name = iso_strf("data%lld", (long long)n_ids), *dir = fixture_path(state, name);
        assert_ok(fixture_prepare(state, name, text, NULL, &options));
        iso_dataset dataset;
        assert_ok(iso_dataset_open(&dataset, dir));
        assert_ok(iso_dataset_verify(&dataset));
        assert_int_equal(dataset.train.token_bytes, n_ids == 65536 ? 2 : 4);
        assert_int_equal(dataset.train.max_id, last);
        assert_int_equal(dataset.train.n_tokens, 2);
        iso_split_read(&dataset.train, 0, 2, ids);
        assert_int_equal(ids[0], tokenizer.separator);
        assert_int_equal(ids[1], last);
        assert_int_equal(dataset.id_bytes[last], word.len);
        iso_dataset_close(&dataset);
        iso_tokenizer_close(&tokenizer);
        iso_str_release(&word);
        free(dir), free(name), free(text), free(model);
    }
}

static void models_that_cannot_be_lossless_are_refused(void **state) {
    static const struct {
        model_spec spec;
        const char *message;
    } cases[] = {
        {{400, "<pad>", true, false}, "no control symbol"},
        {{400, "</s>", false, false}, "no piece for byte 0x00"},
        {{400, "</s>", true, true}, "changes text"},
    };
    iso_tokenizer tokenizer;
    for (int i = 0; i < 3; i++) {
        char *model = make_model(state, "foreign.model", cases[i].spec);
        assert_int_equal(iso_tokenizer_open(&tokenizer, model), ISO_ERR_DATA);
        if (!strstr(iso_error_message(), cases[i].message))
            fail_msg("%s not in: %s", cases[i].message, iso_error_message());
        free(model);
    }
    char *model = make_model(state, "good.model", (model_spec){400, "</s>", true, false});
    assert_ok(iso_tokenizer_open(&tokenizer, model));
    check_losslessness(&tokenizer);
    iso_tokenizer_close(&tokenizer);
    free(model);
}

static void what_is_no_model_is_refused(void **state) {
    iso_tokenizer tokenizer;
    char *path = fixture_text(state, "bad.model", "this is no model");
    assert_int_equal(iso_tokenizer_open(&tokenizer, path), ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), "bad.model"));
    free(path);
    path = fixture_path(state, "none.model");
    assert_int_equal(iso_tokenizer_open(&tokenizer, path), ISO_ERR_IO);
    free(path);
    int32_t ids[] = {5, 257};
    iso_str out = {0};
    assert_ok(iso_tokenizer_open(&tokenizer, "bytes"));
    assert_int_equal(iso_tokenizer_decode(&tokenizer, &out, ids, 2), ISO_ERR_DATA);
    iso_str_release(&out);
    iso_tokenizer_close(&tokenizer);
}

static void impossible_vocabularies_are_refused(void **state) {
    char *text = fixture_text(state, "t.txt", "too little text to learn anything from\n");
    char *model = fixture_path(state, "m.model");
    static const int64_t sizes[] = {0, 319, 65537};
    for (int i = 0; i < 3; i++) {
        iso_tokenizer_options options = {.vocab_size = sizes[i]};
        assert_int_equal(iso_tokenizer_train(model, (const char *const *)&text, 1, &options),
                         ISO_ERR_USAGE);
    }
    iso_tokenizer_options options = {.vocab_size = 5000};
    assert_int_equal(iso_tokenizer_train(model, (const char *const *)&text, 1, &options),
                     ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), "fewer ids"));
    assert_false(iso_path_exists(model));
    free(text), free(model);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        TEST(bytes_are_their_own_ids),
        TEST(a_trained_model_is_lossless),
        TEST(long_texts_are_lossless),
        TEST(training_is_deterministic),
        TEST(the_largest_vocabulary_fits_16_bits),
        TEST(models_that_cannot_be_lossless_are_refused),
        TEST(what_is_no_model_is_refused),
        TEST(impossible_vocabularies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
