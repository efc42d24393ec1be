/* Escaping, and numbers as people read them. */
#include "report/markup.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void escapes_to(const char *text, const char *expected) {
    iso_str out = {0};
    iso_str_append(&out, "");
    iso_markup_text(&out, text);
    assert_string_equal(out.data, expected);
    iso_str_release(&out);
}

static void test_escape(void **state) {
    escapes_to("<script>alert(\"1\")</script>",
               "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;");
    escapes_to("a & b's", "a &amp; b&#39;s");
    escapes_to("tab\tline\nend\x01\x1b\x7f.", "tab\tline\nend.");
    escapes_to("\xe6\x97\xa5 \xf0\x9f\x99\x82", "\xe6\x97\xa5 \xf0\x9f\x99\x82");
    escapes_to(NULL, "");
}

/* Lone bytes, cut characters, overlong forms, surrogates: each bad byte becomes U+FFFD. */
static void test_invalid_utf8(void **state) {
    escapes_to("a\xff"
               "b",
               "a\xef\xbf\xbd"
               "b");
    escapes_to("\xc3", "\xef\xbf\xbd");
    escapes_to("\xe2\x82<", "\xef\xbf\xbd\xef\xbf\xbd&lt;");
    escapes_to("\xc0\xbc", "\xef\xbf\xbd\xef\xbf\xbd");
    escapes_to("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    escapes_to("\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

static void test_numbers(void **state) {
    char n[ISO_NUMBER_BYTES];
    assert_string_equal(iso_number_fixed(n, 2.0456, 3), "2.046");
    assert_string_equal(iso_number_fixed(n, -0.0002, 3), "0.000");
    assert_string_equal(iso_number_fixed(n, -1.5, 1), "\xe2\x88\x92"
                                                      "1.5");
    assert_string_equal(iso_number_fixed(n, NAN, 1), "\xe2\x80\x93");
    assert_string_equal(iso_number_fixed(n, INFINITY, 1), "\xe2\x80\x93");
    assert_string_equal(iso_number_signed(n, 0.031, 3), "+0.031");
    assert_string_equal(iso_number_signed(n, 0.0001, 3), "0.000");
    assert_string_equal(iso_number_short(n, 0.00117, 3), "0.00117");
    assert_string_equal(iso_number_short(n, 0.5, 3), "0.5");
    assert_string_equal(iso_number_short(n, 1339, 9), "1339");
    assert_string_equal(iso_number_count(n, 451584), "452k");
    assert_string_equal(iso_number_count(n, 999600), "1.00M");
    assert_string_equal(iso_number_count(n, 2150612992.0), "2.15B");
    assert_string_equal(iso_number_count(n, 12), "12");
    assert_string_equal(iso_number_power(n, 1.31e13), "1.31\xc2\xa0\xc3\x97\xc2\xa0"
                                                      "10\xc2\xb9\xc2\xb3");
    assert_string_equal(iso_number_power(n, 999), "999");
    assert_string_equal(iso_number_grouped(n, 451584), "451\xe2\x80\xaf"
                                                       "584");
    assert_string_equal(iso_number_grouped(n, -1000), "\xe2\x88\x92"
                                                      "1\xe2\x80\xaf"
                                                      "000");
    assert_string_equal(iso_number_grouped(n, 999), "999");
    assert_string_equal(iso_number_percent(n, 0.1994, 1), "19.9\xc2\xa0%");
}

static void test_extremes_fit(void **state) {
    char n[ISO_NUMBER_BYTES];
    static const double extremes[] = {1e308, -1e308, 5e-324, -5e-324, 1e22, NAN, -INFINITY, 0.0};
    for (size_t i = 0; i < sizeof extremes / sizeof *extremes; i++) {
        iso_number_fixed(n, extremes[i], 4);
        iso_number_signed(n, extremes[i], 4);
        iso_number_short(n, extremes[i], 9);
        iso_number_count(n, extremes[i]);
        iso_number_power(n, extremes[i]);
        iso_number_percent(n, extremes[i], 2);
    }
    iso_number_grouped(n, INT64_MIN);
    iso_number_grouped(n, INT64_MAX);
}

/* Two significant digits of the noise, two to four decimals. */
static void test_decimals(void **state) {
    assert_int_equal(iso_number_decimals(0.012), 3);
    assert_int_equal(iso_number_decimals(0.0042), 4);
    assert_int_equal(iso_number_decimals(0.00001), 4);
    assert_int_equal(iso_number_decimals(0.3), 2);
    assert_int_equal(iso_number_decimals(40), 2);
    assert_int_equal(iso_number_decimals(NAN), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),   cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_numbers),  cmocka_unit_test(test_extremes_fit),
        cmocka_unit_test(test_decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
