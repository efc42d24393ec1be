/* Strings: growing, typos, numbers for people, numbers from people. */
#include "base/str.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void grows_and_stays_terminated(void **state) {
    (void)state;
    iso_str str = {0};
    for (int i = 0; i < 1000; i++) {
        iso_str_append(&str, "ab");
        iso_str_append_bytes(&str, "c\0d", 3);
        iso_str_appendf(&str, "%03d", i);
        assert_int_equal(str.len, (size_t)(i + 1) * 8);
        assert_int_equal(strlen(str.data), 3);
        assert_int_equal(str.data[str.len], '\0');
    }
    assert_memory_equal(str.data + 8 * 512, "abc\0d512", 8);
    iso_str_clear(&str);
    assert_string_equal(str.data, "");
    iso_str_append_bytes(&str, NULL, 0);
    iso_str_release(&str);
    assert_null(str.data);
    iso_str_append(&str, ""); /* even an empty text gives a string */
    assert_string_equal(str.data, "");
    iso_str_release(&str);
}

static void long_format(void **state) {
    (void)state;
    char *text = iso_strf("%0*d|%s", 5000, 7, "end");
    assert_int_equal(strlen(text), 5004);
    assert_string_equal(text + 4999, "7|end");
    free(text);
}

static void distance_is_levenshtein(void **state) {
    (void)state;
    assert_int_equal(iso_str_distance("", ""), 0);
    assert_int_equal(iso_str_distance("", "abc"), 3);
    assert_int_equal(iso_str_distance("kitten", "sitting"), 3);
    assert_int_equal(iso_str_distance("sitting", "kitten"), 3);
    assert_int_equal(iso_str_distance("flaw", "lawn"), 2);
    assert_int_equal(iso_str_distance("same", "same"), 0);
}

static void nearest_finds_typos_only(void **state) {
    (void)state;
    static const char *const keys[] = {"hidden_size", "num_hidden_layers", "lr", "batch_size"};
    assert_string_equal(iso_str_nearest("hiden_size", keys, 4), "hidden_size");
    assert_string_equal(iso_str_nearest("batchsize", keys, 4), "batch_size");
    assert_string_equal(iso_str_nearest("lR", keys, 4), "lr");
    assert_null(iso_str_nearest("momentum", keys, 4));
    assert_null(iso_str_nearest("x", keys, 0));
}

static void numbers_for_people(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } counts[] = {
        {0, "0"},           {7, "7"},          {999, "999"},        {1.5, "1.50"},
        {1000, "1.00K"},    {999499, "999K"},  {999500, "1.00M"},   {1234567, "1.23M"},
        {12.34e9, "12.3B"}, {1.9e13, "19.0T"}, {9.1e20, "9.1e+20"}, {-2500, "-2.50K"},
        {0.001, "0.001"},   {NAN, "?"},        {INFINITY, "?"},
    };
    static const struct {
        double value;
        const char *text;
    } durations[] = {
        {0, "0.0 s"},          {9.34, "9.3 s"}, {9.96, "10 s"},      {59.4, "59 s"},
        {59.6, "1:00"},        {93, "1:33"},    {3599.6, "1:00:00"}, {4200, "1:10:00"},
        {360000, "100:00:00"}, {-1, "?"},       {NAN, "?"},
    };
    static const struct {
        double value;
        const char *text;
    } sizes[] = {
        {0, "0 B"}, {512, "512 B"}, {65536, "65.5 kB"}, {1.5e9, "1.50 GB"}, {2e18, "2e+03 PB"},
    };
    char buffer[32];
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        assert_string_equal(iso_str_count(buffer, counts[i].value), counts[i].text);
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++)
        assert_string_equal(iso_str_duration(buffer, durations[i].value), durations[i].text);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_string_equal(iso_str_bytes(buffer, sizes[i].value), sizes[i].text);
}

static void integers_whole_or_not_at_all(void **state) {
    (void)state;
    int64_t value;
    assert_true(iso_str_to_i64("-42", &value));
    assert_int_equal(value, -42);
    assert_true(iso_str_to_i64("9223372036854775807", &value));
    assert_true(value == INT64_MAX);
    assert_true(iso_str_to_i64("-9223372036854775808", &value));
    assert_true(value == INT64_MIN);
    assert_true(iso_str_to_i64("007", &value)); /* decimal, not octal */
    assert_int_equal(value, 7);
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1e6",
                                      "4k",
                                      "1.0",
                                      "0x10",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(iso_str_to_i64(bad[i], &value));
        assert_int_equal(value, 7);
    }
}

static void reals_whole_or_not_at_all(void **state) {
    (void)state;
    double value;
    assert_true(iso_str_to_f64("1e-3", &value));
    assert_true(value == 1e-3);
    assert_true(iso_str_to_f64("-.5", &value));
    assert_true(value == -0.5);
    assert_true(iso_str_to_f64("3", &value));
    assert_true(value == 3.0);
    static const char *const bad[] = {"",   "nan", "inf",   "-inf", "1e999", "0x1p3",
                                      "1 ", " 1",  "1.0.0", "e",    "1e",    "1,5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(iso_str_to_f64(bad[i], &value));
        assert_true(value == 3.0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(long_format),
        cmocka_unit_test(distance_is_levenshtein),
        cmocka_unit_test(nearest_finds_typos_only),
        cmocka_unit_test(numbers_for_people),
        cmocka_unit_test(integers_whole_or_not_at_all),
        cmocka_unit_test(reals_whole_or_not_at_all),
    };
    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
