/* Rows from the paper's tables and from run folders. */
#include "base/json.h"
#include "make_runs.h"
#include "study/gap_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/temp_dir.h"

#define N_RUNS 5

static void must(iso_status status) {
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
}

static void test_paper_rows(void **state) {
    iso_gap_row rows[ISO_PAPER_N_RUNS];
    must(iso_gap_rows_of_paper(rows));
    int n_dense = 0;
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++) {
        n_dense += rows[i].is_dense;
        assert_true(rows[i].unique_tokens <= rows[i].tokens);
    }
    assert_int_equal(n_dense, 6);
    assert_string_equal(rows[0].table, "Table 9");
    assert_string_equal(rows[0].name, "row 1");
    assert_true(rows[0].params == 2150612992.0 && rows[0].tokens == 113999413248.0);
    assert_true(rows[0].flops == 1681489920.0 * 113999413248.0 && rows[0].bpc == 0.5235);
}

/* Dense and four rates, each on the same compute. */
static void make_study(char *dirs[N_RUNS], const char *root) {
    static const int64_t n_used[N_RUNS] = {0, 2, 3, 5, 8};
    for (int i = 0; i < N_RUNS; i++) {
        char *name = iso_strf("run-%d", i);
        made_run spec = {.name = name, .n_used = n_used[i], .level = 2.0 + 0.01 * i, .seed = 1};
        dirs[i] = make_run(root, &spec);
        free(name);
    }
}

static void free_dirs(char *dirs[N_RUNS]) {
    for (int i = 0; i < N_RUNS; i++) free(dirs[i]);
}

static void test_run_folders(void **state) {
    char *root = iso_strf("%s/my-study", (const char *)*state), *dirs[N_RUNS];
    make_study(dirs, root);
    iso_gap_row *rows;
    must(iso_gap_rows_of_runs(&rows, (const char *const *)dirs, N_RUNS));
    for (int i = 0; i < N_RUNS; i++) {
        assert_string_equal(rows[i].table, "my-study");
        assert_int_equal(rows[i].is_dense, i == 0);
        assert_true(rows[i].unique_tokens <= rows[i].tokens && rows[i].lr_over_law > 0.0);
        assert_true(i == 0 || rows[i].activation_rate < 0.5);
        assert_true(rows[i].bpc > 1.0 && rows[i].bpc < 3.0);
    }
    iso_gap_law *prior, *law;
    must(iso_gap_law_of_paper(&prior));
    must(iso_gap_law_refit(&law, rows, N_RUNS, prior));
    assert_int_equal(iso_gap_law_fit(law)->n_rates, N_RUNS - 1);
    assert_int_equal(iso_gap_law_fit(law)->all.n_pairs, N_RUNS - 1);
    iso_gap_law_free(law);
    iso_gap_law_free(prior);
    free(rows);
    free_dirs(dirs);
    free(root);
}

static void refused(char *dirs[N_RUNS], const char *word) {
    iso_gap_row *rows;
    iso_status status = iso_gap_rows_of_runs(&rows, (const char *const *)dirs, N_RUNS);
    assert_int_equal(status, ISO_ERR_USAGE);
    if (!strstr(iso_error_message(), word)) fail_msg("no \"%s\" in: %s", word, iso_error_message());
}

/* Another value for a string of the run's summary. */
static void rewrite(const char *dir, const char *key, const char *value) {
    char *path = iso_strf("%s/summary.json", dir);
    json_t *summary;
    must(iso_json_load(&summary, path));
    json_object_set_new(summary, key, json_string(value));
    must(iso_json_save(summary, path));
    json_decref(summary);
    free(path);
}

static void test_runs_that_do_not_compare(void **state) {
    const char *root = *state;
    char *dirs[N_RUNS], *kept;
    make_study(dirs, root);
    rewrite(dirs[2], "validation_hash", "another");
    refused(dirs, "validation sample");
    rewrite(dirs[2], "tokenizer_hash", "another");
    refused(dirs, "tokenizer");
    kept = dirs[2];
    made_run preempted = {.name = "preempted", .n_used = 3, .state = "preempted"};
    dirs[2] = make_run(root, &preempted);
    refused(dirs, "no final evaluation");
    free(dirs[2]);
    dirs[2] = iso_strf("%s/nothing", root);
    refused(dirs, "nothing");
    free(dirs[2]);
    dirs[2] = kept;
    free_dirs(dirs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paper_rows),
        cmocka_unit_test_setup_teardown(test_run_folders, temp_dir_setup, temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_runs_that_do_not_compare, temp_dir_setup,
                                        temp_dir_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
