/* Valid UTF-8, exactly: every code point, and every pair and triple of bytes against the table of
 * the Unicode standard (table 3-7). */
#include "data_fixture.h"

#include "data/utf8.h"

/* Table 3-7, written out: allowed ranges of each byte of a sequence. */
static const uint8_t table[][9] = {
    /* n, then low and high of each byte */
    {1, 0x00, 0x7F},
    {2, 0xC2, 0xDF, 0x80, 0xBF},
    {3, 0xE0, 0xE0, 0xA0, 0xBF, 0x80, 0xBF},
    {3, 0xE1, 0xEC, 0x80, 0xBF, 0x80, 0xBF},
    {3, 0xED, 0xED, 0x80, 0x9F, 0x80, 0xBF},
    {3, 0xEE, 0xEF, 0x80, 0xBF, 0x80, 0xBF},
    {4, 0xF0, 0xF0, 0x90, 0xBF, 0x80, 0xBF, 0x80, 0xBF},
    {4, 0xF1, 0xF3, 0x80, 0xBF, 0x80, 0xBF, 0x80, 0xBF},
    {4, 0xF4, 0xF4, 0x80, 0x8F, 0x80, 0xBF, 0x80, 0xBF},
};

static int64_t expected_check(const uint8_t *s, int64_t n) {
    int64_t i = 0;
    while (i < n) {
        int64_t length = 0;
        for (size_t row = 0; row < sizeof table / sizeof *table && length == 0; row++) {
            int64_t k = 0, m = table[row][0];
            while (k < m && i + k < n && s[i + k] >= table[row][1 + 2 * k] &&
                   s[i + k] <= table[row][2 + 2 * k])
                k++;
            if (k == m) length = m;
        }
        if (length == 0) return i;
        i += length;
    }
    return n;
}

static void every_code_point_is_valid_alone(void **state) {
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        iso_str text = {0};
        append_code_point(&text, c);
        assert_int_equal(iso_utf8_check(text.data, (int64_t)text.len), text.len);
        assert_int_equal(iso_utf8_count(text.data, (int64_t)text.len), 1);
        assert_int_equal(iso_utf8_boundary(text.data, (int64_t)text.len - 1), 0);
        iso_str_release(&text);
    }
}

/* All pairs, followed by continuation bytes or not, at each offset of the eight-byte stride. */
static void agrees_with_the_standard(void **state) {
    (void)state;
    static const char *const tails[] = {"", "a", "\x80", "\x80\x80", "\x80\x80\x80", "\xBF\x7F"};
    for (int first = 0x80; first < 256; first++)
        for (int second = 0; second < 256; second++)
            for (size_t t = 0; t < 6; t++) {
                char text[32];
                int64_t pad = (first + second) % 9, n_tail = (int64_t)strlen(tails[t]);
                memset(text, 'x', sizeof text);
                text[pad] = (char)first;
                text[pad + 1] = (char)second;
                memcpy(text + pad + 2, tails[t], (size_t)n_tail);
                int64_t n = pad + 2 + n_tail + (second % 3) * 5;
                assert_int_equal(iso_utf8_check(text, n), expected_check((uint8_t *)text, n));
            }
}

static void random_bytes_agree_with_the_standard(void **state) {
    (void)state;
    static const uint8_t alphabet[] = {'a',  0x80, 0xBF, 0xC2, 0xE0, 0xA0, 0xED, 0x9F,
                                       0xEF, 0xF0, 0x90, 0xF4, 0x8F, 0xFF, 0x00, 0xC1};
    int64_t i = 0;
    for (int round = 0; round < 200000; round++) {
        uint8_t text[24];
        int64_t n = draw_below(&i, sizeof text);
        for (int64_t k = 0; k < n; k++) text[k] = alphabet[draw_below(&i, 16)];
        assert_int_equal(iso_utf8_check((char *)text, n), expected_check(text, n));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_is_valid_alone),
        cmocka_unit_test(agrees_with_the_standard),
        cmocka_unit_test(random_bytes_agree_with_the_standard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
