/* The part of a page about specialisation, and its CSV: what must be there, of whom, and what of a
 * run without a record or with a bad one. That whole pages are well-formed: test_report.c. */
#include "make_runs.h"
#include "report/specialisation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/temp_dir.h"

static int count(const char *text, const char *word) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word)) n++;
    return n;
}

static void test_part_of_a_page(void **dir) {
    const made_run one = {.name = "one", .n_used = 2, .level = 2, .seed = 1};
    const made_run two = {.name = "two", .n_used = 2, .level = 2, .seed = 2};
    char *paths[] = {make_run(*dir, &one), make_run(*dir, &two)};
    iso_str page = {0};
    bool shown;
    assert_int_equal(
        iso_specialisation_append(&page, &shown, "x", "a <side>", (const char *const *)paths, 2),
        ISO_OK);
    assert_true(shown);
    assert_int_equal(count(page.data, "id=\"x-strips-w\""), 1);
    assert_int_equal(count(page.data, "id=\"x-map-n\""), 1);
    assert_int_equal(count(page.data, "a <side>"), 0);
    assert_non_null(strstr(page.data, "general"));
    assert_non_null(strstr(page.data, "experts beyond chance"));
    /* Layers 2 and 3 of seed 2 beside those of seed 1. */
    char *layers = strstr(page.data, "aria-labelledby=\"x-layers-c\"");
    assert_non_null(layers);
    *strstr(layers, "</table>") = '\0';
    assert_int_equal(count(layers, "\xe2\x80\x93"), 0);
    iso_str_release(&page);
    free(paths[0]), free(paths[1]);
}

static void test_csv(void **dir) {
    const made_run one = {.name = "one", .n_used = 2, .level = 2, .seed = 1};
    char *path = make_run(*dir, &one);
    iso_str csv = {0};
    iso_specialisation_csv_header(&csv);
    assert_int_equal(iso_specialisation_csv_append(&csv, "one", path), ISO_OK);
    int64_t E = 48, per_layer = 11 + 3 * E + 3 * E + 8 * E + E * (E - 1);
    assert_int_equal(count(csv.data, "\n"), 1 + 2 * per_layer);
    assert_int_equal(count(csv.data, ","), 7 * (1 + 2 * per_layer));
    assert_int_equal(count(csv.data, "one,1,share,code,,"), E);
    assert_int_equal(count(csv.data, "one,2,together,,,0,1,"), 1);
    iso_str_release(&csv);
    free(path);
}

static void test_runs_without_a_record(void **dir) {
    const made_run dense = {.name = "dense", .level = 2, .seed = 1};
    const made_run moe = {.name = "moe", .n_used = 2, .level = 2, .seed = 1};
    const char *paths[] = {make_run(*dir, &dense), make_run(*dir, &moe)};
    iso_str out = {0};
    bool shown = true;
    assert_int_equal(iso_specialisation_append(&out, &shown, "x", "dense", paths, 1), ISO_OK);
    assert_false(shown);
    assert_int_equal(iso_specialisation_csv_append(&out, "dense", paths[0]), ISO_OK);
    assert_int_equal(out.len, 0);
    char *file = iso_strf("%s/routing.safetensors", paths[1]);
    assert_int_equal(iso_file_write_atomic(file, "rubbish", 7), ISO_OK);
    assert_int_equal(iso_specialisation_append(&out, &shown, "x", "moe", &paths[1], 1),
                     ISO_ERR_DATA);
    assert_false(shown);
    assert_non_null(strstr(iso_error_message(), "routing.safetensors"));
    assert_int_equal(out.len, 0);
    free(file);
    free((char *)paths[0]), free((char *)paths[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_part_of_a_page, temp_dir_setup, temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_csv, temp_dir_setup, temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_runs_without_a_record, temp_dir_setup,
                                        temp_dir_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
