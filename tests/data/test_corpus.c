/* Documents from files: order, cutting, JSON lines, packing, and everything that can be wrong. */
#include "data_fixture.h"

#include "data/corpus.h"

#include <sys/stat.h>
#include <unistd.h>

/* All documents of a path, joined with '|'; *counts may be NULL. */
static iso_status read_all(const char *path, const iso_corpus_options *options, iso_str *out,
                           iso_corpus_counts *counts) {
    iso_corpus *corpus;
    ISO_TRY(iso_corpus_open(&corpus, &path, 1, options));
    iso_document document;
    iso_status status;
    while ((status = iso_corpus_next(corpus, &document)) == ISO_OK && document.text) {
        iso_str_append_bytes(out, document.text, (size_t)document.n_bytes);
        iso_str_append(out, "|");
    }
    if (counts) *counts = *iso_corpus_get_counts(corpus);
    iso_corpus_close(corpus);
    return status;
}

static void assert_documents(char *path, const char *expected) {
    iso_str found = {0};
    assert_ok(read_all(path, NULL, &found, NULL));
    assert_string_equal(found.data ? found.data : "", expected);
    iso_str_release(&found);
    free(path);
}

/* Fails with ISO_ERR_DATA and a message that holds `part`. */
static void assert_rejected(char *path, const char *part) {
    iso_str found = {0};
    assert_int_equal(read_all(path, NULL, &found, NULL), ISO_ERR_DATA);
    if (!strstr(iso_error_message(), part))
        fail_msg("\"%s\" not in: %s", part, iso_error_message());
    iso_str_release(&found);
    free(path);
}

static void json_lines(void **state) {
    assert_documents(
        fixture_text(state, "a.jsonl",
                     "{\"text\":\"one\"}\n\n \t\r\n{\"id\":123456789012345678901234,"
                     "\"text\":\"two\\nlines\"}\r\n{\"text\":\"\"}\n{\"text\":\"last\"}"),
        "one|two\nlines|last|");
}

/* U+2028 and U+0085 are text and end no line; LF inside a string is written \n. */
static void lines_end_at_line_feeds_only(void **state) {
    assert_documents(
        fixture_text(state, "a.jsonl",
                     "{\"text\":\"x\xE2\x80\xA8y\xC2\x85z\"}\n{\"text\":\"\\u2028\"}\n"),
        "x\xE2\x80\xA8y\xC2\x85z|\xE2\x80\xA8|");
}

static void nul_in_json_is_text(void **state) {
    char *path = fixture_text(state, "a.jsonl", "{\"text\":\"a\\u0000b\"}\n");
    iso_str found = {0};
    assert_ok(read_all(path, NULL, &found, NULL));
    assert_int_equal(found.len, 4);
    assert_memory_equal(found.data, "a\0b|", 4);
    iso_str_release(&found);
    free(path);
}

static void a_byte_order_mark_is_no_text(void **state) {
    assert_documents(fixture_text(state, "a.txt", "\xEF\xBB\xBFtext"), "text|");
    assert_documents(fixture_text(state, "a.jsonl", "\xEF\xBB\xBF{\"text\":\"text\"}"), "text|");
    assert_documents(fixture_text(state, "b.txt", "\xEF\xBB\xBF"), "");
}

static void bad_lines_are_rejected_with_their_place(void **state) {
    assert_rejected(fixture_text(state, "a.jsonl", "{\"text\":\"ok\"}\n{\"text\":\"a\xFF\"}\n"),
                    "a.jsonl:2: byte 10 of the line (0xFF)");
    assert_rejected(fixture_text(state, "a.jsonl", "{\"text\":\"ok\"}\n{\"text\":"), "a.jsonl:2");
    assert_rejected(fixture_text(state, "a.jsonl", "{\"txt\":\"ok\"}"), "no string member");
    assert_rejected(fixture_text(state, "a.jsonl", "{\"text\":3}"), "no string member");
    assert_rejected(fixture_text(state, "a.jsonl", "[\"text\"]"), "no string member");
    assert_rejected(fixture_text(state, "a.jsonl", "{\"text\":\"\\uD800\"}"), "a.jsonl:1");
    assert_rejected(fixture_text(state, "a.txt", "fine so far\xC0\x80"), "byte 11 (0xC0)");
}

static void bad_documents_can_be_skipped_and_counted(void **state) {
    iso_corpus_options options = iso_corpus_options_default();
    options.invalid = ISO_INVALID_SKIP;
    options.max_line_bytes = 40;
    char *path =
        fixture_text(state, "a.jsonl",
                     "{\"text\":\"one\"}\n{\"text\":\"\xED\xA0\x80\"}\nnonsense\n{\"text\":\"\"}\n"
                     "{\"text\":\"0123456789012345678901234567890123456789\"}\n{\"text\":\"two\"}");
    iso_str found = {0};
    iso_corpus_counts counts;
    assert_ok(read_all(path, &options, &found, &counts));
    assert_string_equal(found.data, "one|two|");
    assert_int_equal(counts.n_documents, 2);
    assert_int_equal(counts.n_bytes, 6);
    assert_int_equal(counts.n_bad_utf8, 1);
    assert_int_equal(counts.n_bad_json, 1);
    assert_int_equal(counts.n_too_long, 1);
    assert_int_equal(counts.n_empty, 1);
    iso_str_release(&found);
    free(path);
}

static void skips_remember_their_place(void **state) {
    iso_corpus_options options = {ISO_INVALID_SKIP, 1 << 20, 1 << 20};
    char *path = fixture_text(state, "a.jsonl", "{\"text\":\"one\"}\n\n\xFF\n{}\n");
    iso_corpus *corpus;
    iso_document document;
    assert_ok(iso_corpus_open(&corpus, (const char *const *)&path, 1, &options));
    do assert_ok(iso_corpus_next(corpus, &document));
    while (document.text);
    int64_t n;
    const iso_corpus_skip *skips = iso_corpus_get_skips(corpus, &n);
    assert_int_equal(n, 2);
    assert_int_equal(skips[0].position, 3);
    assert_int_equal(skips[1].position, 4);
    assert_string_equal(skips[0].path, path);
    assert_string_equal(skips[0].reason, "not UTF-8");
    iso_corpus_close(corpus);
    free(path);
}

/* A line larger than every buffer, with the cap on either side of it. */
static void a_huge_line_is_read_up_to_the_cap(void **state) {
    iso_str text = {0};
    iso_str_append(&text, "{\"text\":\"");
    while (text.len < 3000000) iso_str_append(&text, "0123456789abcdef");
    iso_str_append(&text, "\"}\n{\"text\":\"after\"}\n");
    int64_t line_bytes = (int64_t)(strchr(text.data, '\n') - text.data);
    char *path = fixture_file(state, "a.jsonl", text.data, (int64_t)text.len);
    iso_corpus_options options = iso_corpus_options_default();
    iso_str found = {0};
    options.max_line_bytes = line_bytes;
    assert_ok(read_all(path, &options, &found, NULL));
    assert_int_equal(found.len, line_bytes - 11 + 1 + 6);
    iso_str_clear(&found);
    options.max_line_bytes = line_bytes - 1;
    assert_int_equal(read_all(path, &options, &found, NULL), ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), "a.jsonl:1: a line of more than"));
    options.invalid = ISO_INVALID_SKIP;
    options.max_line_bytes = 1000;
    iso_str_clear(&found);
    assert_ok(read_all(path, &options, &found, NULL));
    assert_string_equal(found.data, "after|");
    iso_str_release(&found);
    iso_str_release(&text);
    free(path);
}

/* --- plain text --- */

static void a_small_file_is_one_document(void **state) {
    assert_documents(fixture_text(state, "a.txt", "one\n\ntwo\n"), "one\n\ntwo\n|");
    char *text = malloc(65536);
    memset(text, 'x', 65536);
    text[20000] = '\n';
    char *path = fixture_file(state, "b", text, 65536);
    iso_str found = {0};
    assert_ok(read_all(path, NULL, &found, NULL));
    assert_int_equal(found.len, 65537);
    iso_str_release(&found);
    free(path);
    free(text);
}

/* Random text of every kind of line structure: documents of 16-32 KiB whose concatenation is the
 * file, cut at the best place there is. */
static void a_large_file_is_cut_without_loss(void **state) {
    static const char *const breaks[] = {"\n\n", "\n", "", "\xC3\xA9"};
    for (int kind = 0; kind < 4; kind++) {
        iso_str text = {0};
        int64_t i = 0;
        while (text.len < 300000) {
            int64_t n = 1 + draw_below(&i, 200);
            for (int64_t k = 0; k < n; k++) append_code_point(&text, (uint32_t)('a' + k % 26));
            iso_str_append(&text, breaks[kind]);
            if (kind == 3) iso_str_append(&text, "\xF0\x9F\x98\x80");
        }
        char *path = fixture_file(state, "a.txt", text.data, (int64_t)text.len);
        iso_corpus *corpus;
        iso_document document;
        iso_str joined = {0};
        assert_ok(iso_corpus_open(&corpus, (const char *const *)&path, 1, NULL));
        for (;;) {
            assert_ok(iso_corpus_next(corpus, &document));
            if (!document.text) break;
            assert_int_equal(document.position, joined.len);
            iso_str_append_bytes(&joined, document.text, (size_t)document.n_bytes);
            if (joined.len == text.len) break;
            assert_in_range(document.n_bytes, 16 * 1024, 32 * 1024);
            if (kind == 0) assert_memory_equal(joined.data + joined.len - 2, "\n\n", 2);
            if (kind == 1) assert_int_equal(joined.data[joined.len - 1], '\n');
        }
        assert_int_equal(joined.len, text.len);
        assert_memory_equal(joined.data, text.data, text.len);
        iso_corpus_close(corpus);
        iso_str_release(&joined);
        iso_str_release(&text);
        free(path);
    }
}

static void folders_are_walked_in_order(void **state) {
    free(fixture_text(state, "b.txt", "b"));
    free(fixture_text(state, "B.txt", "B"));
    free(fixture_text(state, "a.txt", "a"));
    free(fixture_text(state, ".hidden", "h"));
    free(fixture_text(state, "empty.txt", ""));
    char *sub = fixture_path(state, "aa"), *loop = fixture_path(state, "aa/loop");
    assert_ok(iso_dir_create(sub));
    assert_int_equal(symlink(sub, loop), 0);
    free(fixture_text(state, "aa/c.jsonl", "{\"text\":\"c\"}"));
    iso_str found = {0};
    iso_corpus_counts counts;
    assert_ok(read_all(*state, NULL, &found, &counts));
    assert_string_equal(found.data, "B|a|c|b|");
    assert_int_equal(counts.n_files, 5);
    assert_int_equal(counts.n_empty, 1);
    iso_str_release(&found);
    free(sub), free(loop);
}

static void nothing_to_read_is_refused(void **state) {
    iso_str found = {0};
    assert_int_equal(read_all(*state, NULL, &found, NULL), ISO_ERR_DATA);
    char *path = fixture_path(state, "nothing.txt");
    assert_int_equal(read_all(path, NULL, &found, NULL), ISO_ERR_IO);
    assert_non_null(strstr(iso_error_message(), "nothing.txt"));
    free(path);
}

/* --- packed --- */

typedef void (*append_fn)(iso_str *, const char *, size_t);

/* Two members with text between 1 byte and some buffers long, JSON and plain. */
static void all_members_are_read(void **state) {
    static const append_fn packers[] = {append_gzip, append_zstd};
    static const char *const suffixes[] = {"gz", "zst"};
    for (int p = 0; p < 2; p++) {
        char *name = iso_strf("a.txt.%s", suffixes[p]), *json = iso_strf("b.jsonl.%s", suffixes[p]);
        iso_str packed = {0};
        packers[p](&packed, "one ", 4);
        packers[p](&packed, "", 0);
        packers[p](&packed, "two", 3);
        assert_documents(fixture_file(state, name, packed.data, (int64_t)packed.len), "one two|");
        iso_str_clear(&packed);
        packers[p](&packed, "{\"text\":", 8);
        packers[p](&packed, "\"split\"}\n", 9);
        assert_documents(fixture_file(state, json, packed.data, (int64_t)packed.len), "split|");
        iso_str_release(&packed);
        free(name), free(json);
    }
}

static char *noise(int64_t n) {
    char *text = malloc((size_t)n + 1);
    int64_t i = 0;
    for (int64_t k = 0; k < n; k++) text[k] = (char)('a' + draw_below(&i, 20));
    text[n] = '\0';
    return text;
}

/* An end after every byte but between members: always an error, never short text. */
static void every_truncation_is_an_error(void **state) {
    static const append_fn packers[] = {append_gzip, append_zstd};
    static const char *const names[] = {"a.txt.gz", "a.txt.zst"};
    char *text = noise(600);
    for (int p = 0; p < 2; p++) {
        iso_str packed = {0};
        packers[p](&packed, text, 600);
        size_t first = packed.len;
        packers[p](&packed, "more", 4);
        for (size_t n = 0; n <= packed.len; n++) {
            char *path = fixture_file(state, names[p], packed.data, (int64_t)n);
            iso_str found = {0};
            iso_status status = read_all(path, NULL, &found, NULL);
            bool whole = n == first || n == packed.len;
            if (status != (whole ? ISO_OK : ISO_ERR_DATA))
                fail_msg("%s cut to %zu of %zu: status %d", names[p], n, packed.len, status);
            iso_str_release(&found);
            free(path);
        }
        iso_str_release(&packed);
    }
    free(text);
}

/* Any changed byte gives an error or - in the few header bytes without meaning - the same text. */
static void no_changed_byte_changes_the_text(void **state) {
    static const append_fn packers[] = {append_gzip, append_zstd};
    static const char *const names[] = {"a.txt.gz", "a.txt.zst"};
    char *text = noise(700), *expected = iso_strf("%s|", text);
    for (int p = 0; p < 2; p++) {
        iso_str packed = {0};
        packers[p](&packed, text, 700);
        for (size_t at = 0; at < packed.len; at++) {
            packed.data[at] ^= 0x10;
            char *path = fixture_file(state, names[p], packed.data, (int64_t)packed.len);
            iso_str found = {0};
            if (read_all(path, NULL, &found, NULL) == ISO_OK)
                assert_string_equal(found.data, expected);
            iso_str_release(&found);
            free(path);
            packed.data[at] ^= 0x10;
        }
        iso_str_release(&packed);
    }
    free(text), free(expected);
}

static void bytes_after_the_last_member_are_an_error(void **state) {
    iso_str packed = {0};
    append_gzip(&packed, "text", 4);
    iso_str_append(&packed, "rubbish");
    assert_rejected(fixture_file(state, "a.gz", packed.data, (int64_t)packed.len), "broken gzip");
    iso_str_clear(&packed);
    append_zstd(&packed, "text", 4);
    iso_str_append(&packed, "rubbish");
    assert_rejected(fixture_file(state, "a.zst", packed.data, (int64_t)packed.len), "broken zstd");
    iso_str_release(&packed);
    assert_rejected(fixture_text(state, "plain.gz", "this was never packed"), "broken gzip");
}

static void the_output_is_capped(void **state) {
    char *text = calloc(1, 50000);
    memset(text, 'z', 50000);
    iso_str packed = {0};
    append_zstd(&packed, text, 50000);
    char *path = fixture_file(state, "bomb.zst", packed.data, (int64_t)packed.len);
    iso_corpus_options options = iso_corpus_options_default();
    iso_str found = {0};
    options.max_unpacked_bytes = 49999;
    assert_int_equal(read_all(path, &options, &found, NULL), ISO_ERR_DATA);
    options.max_unpacked_bytes = 50000;
    assert_ok(read_all(path, &options, &found, NULL));
    iso_str_release(&found);
    iso_str_release(&packed);
    free(path), free(text);
}

/* A frame that asks for a window of 256 MiB. */
static void a_huge_window_is_refused(void **state) {
    static const char frame[] = "\x28\xB5\x2F\xFD\x00\x90\x01\x00\x00";
    assert_rejected(fixture_file(state, "w.zst", frame, sizeof frame - 1), "broken zstd");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_setup, temp_dir_teardown)
    const struct CMUnitTest tests[] = {
        TEST(json_lines),
        TEST(lines_end_at_line_feeds_only),
        TEST(nul_in_json_is_text),
        TEST(a_byte_order_mark_is_no_text),
        TEST(bad_lines_are_rejected_with_their_place),
        TEST(bad_documents_can_be_skipped_and_counted),
        TEST(skips_remember_their_place),
        TEST(a_huge_line_is_read_up_to_the_cap),
        TEST(a_small_file_is_one_document),
        TEST(a_large_file_is_cut_without_loss),
        TEST(folders_are_walked_in_order),
        TEST(nothing_to_read_is_refused),
        TEST(all_members_are_read),
        TEST(every_truncation_is_an_error),
        TEST(no_changed_byte_changes_the_text),
        TEST(bytes_after_the_last_member_are_an_error),
        TEST(the_output_is_capped),
        TEST(a_huge_window_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
