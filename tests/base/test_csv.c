/* base/csv.h: what a cell is, which line a row is on, and that what is no table is refused. */
#include "base/csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static iso_csv *parse(const char *text) {
    iso_csv *csv;
    if (iso_csv_parse(&csv, text, (int64_t)strlen(text), "t.csv") != ISO_OK)
        fail_msg("%s: %s", text, iso_error_message());
    return csv;
}

static void cells(void **state) {
    iso_csv *csv = parse("\xef\xbb\xbf"
                         "name , N\r\n# a remark, no row\n\n  \t\n"
                         "\"a, \"\"b\"\"\" ,\t2.15e9 \n,\nlast,\"\"");
    assert_int_equal(csv->n_rows, 4);
    assert_string_equal(csv->rows[0].cells[0], "name");
    assert_int_equal(iso_csv_column(csv, "N"), 1);
    assert_int_equal(iso_csv_column(csv, "n"), -1);
    assert_string_equal(csv->rows[1].cells[0], "a, \"b\"");
    assert_string_equal(csv->rows[1].cells[1], "2.15e9");
    assert_int_equal(csv->rows[1].line, 5);
    assert_int_equal(csv->rows[2].n_cells, 2);
    assert_string_equal(csv->rows[2].cells[1], "");
    assert_int_equal(csv->rows[3].line, 7);
    assert_string_equal(csv->rows[3].cells[1], "");
    iso_csv_free(csv);
}

static void ragged_rows_are_the_readers(void **state) {
    iso_csv *csv = parse("a,b\n1\n1,2,3\n");
    assert_int_equal(csv->rows[1].n_cells, 1);
    assert_int_equal(csv->rows[2].n_cells, 3);
    assert_string_equal(csv->rows[2].cells[2], "3");
    iso_csv_free(csv);
}

static void refused(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "t.csv:1: a table begins"},
        {"# nothing\n", "a table begins"},
        {"a\n\"open", "t.csv:2: a double quote is not closed"},
        {"a\n\"open\nb\"", "t.csv:2: a cell goes on"},
        {"a\n\"b\"c\n", "t.csv:2: text after"},
        {"a\nb\"c\n", "t.csv:2: a double quote within"},
        {"a\n\x01\n", "t.csv:2: a control character (0x01)"},
        {"a\rb\n", "t.csv:1: a control character (0x0d)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iso_csv *csv;
        int64_t n_bytes = (int64_t)strlen(cases[i].text);
        assert_int_equal(iso_csv_parse(&csv, cases[i].text, n_bytes, "t.csv"), ISO_ERR_USAGE);
        assert_null(csv);
        if (!strstr(iso_error_message(), cases[i].message)) fail_msg("%s", iso_error_message());
    }
    iso_csv *csv;
    assert_int_equal(iso_csv_parse(&csv, "a\n\0\n", 4, "t.csv"), ISO_ERR_USAGE);
    assert_int_equal(iso_csv_load(&csv, "/nonexistent.csv"), ISO_ERR_USAGE);
    char commas[ISO_CSV_MAX_CELLS + 1];
    memset(commas, ',', sizeof commas);
    assert_int_equal(iso_csv_parse(&csv, commas, sizeof commas, "t.csv"), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "too many cells"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells),
        cmocka_unit_test(ragged_rows_are_the_readers),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
