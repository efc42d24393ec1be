/* paper/: the printed tables as data, recounted. tests/arch/paper_runs.csv holds exact integers of
 * the 80 runs that were computed apart from this program. */
#include "base/csv.h"
#include "base/str.h"
#include "paper/paper_runs.h"
#include "paper/recount.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state) {
    return iso_paper_create((iso_paper **)state) == ISO_OK ? 0 : -1;
}

static int teardown(void **state) {
    iso_paper_free(*state);
    return 0;
}

static void rows_per_table(void **state) {
    static const int expected[] = {10, 4, 6, 20, 18, 12, 6, 8, 6, 6, 9, 9, 6};
    for (int table = ISO_PAPER_FIRST_TABLE; table <= ISO_PAPER_LAST_TABLE; table++) {
        int64_t n_rows;
        assert_non_null(iso_paper_table(*state, table, &n_rows));
        assert_int_equal(n_rows, expected[table - ISO_PAPER_FIRST_TABLE]);
    }
    int64_t n_rows;
    assert_null(iso_paper_table(*state, 4, &n_rows));
    assert_int_equal(n_rows, 0);
}

static void figures(void **state) {
    const iso_paper_row *row = iso_paper_row_at(*state, 10, 7);
    const iso_paper_figure *rate = &row->printed[ISO_PAPER_RATE];
    assert_string_equal(rate->text, "19.94");
    assert_float_equal(rate->value, 19.94, 0);
    assert_float_equal(rate->half_unit, 0.005, 1e-18);
    assert_float_equal(row->printed[ISO_PAPER_ACTIVE].half_unit, 0.005e8, 1e-6);
    assert_float_equal(row->lr.half_unit, 0.005e-3, 1e-18);
    assert_float_equal(row->bpc.value, 0.4857, 0);
    assert_string_equal(row->label, "2.15B");
    const iso_paper_figure *params = &iso_paper_row_at(*state, 7, 1)->printed[ISO_PAPER_PARAMS];
    assert_float_equal(params->value, 2.15e9, 1e-3);
    assert_float_equal(params->half_unit, 0.005e9, 1e-3);
    assert_string_equal(iso_paper_row_at(*state, 14, 1)->label, "");
}

static double number(const iso_csv *csv, int64_t row, const char *column) {
    double value;
    assert_true(iso_str_to_f64(csv->rows[row].cells[iso_csv_column(csv, column)], &value));
    return value;
}

/* Table 14 stands last in that file. */
static int64_t find(const iso_csv *csv, const iso_paper_run *run) {
    for (int64_t i = 1; i < csv->n_rows; i++)
        if (number(csv, i, "table_v1") == run->table && number(csv, i, "row") + 1 == run->row)
            return i;
    fail_msg("Table %d has no row %d", run->table, run->row);
    return 0;
}

static void eighty_runs(void **state) {
    static iso_paper_run runs[ISO_PAPER_N_RUNS];
    iso_csv *csv;
    assert_int_equal(iso_paper_runs(runs), ISO_OK);
    assert_int_equal(iso_csv_load(&csv, ISO_SOURCE_DIR "/tests/arch/paper_runs.csv"), ISO_OK);
    assert_int_equal(csv->n_rows, 1 + ISO_PAPER_N_RUNS);
    int n_distinct = 0;
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++) {
        const iso_paper_run *run = &runs[i];
        int64_t j = find(csv, run);
        assert_true((double)run->params == number(csv, j, "N_plain"));
        assert_true((double)run->params_active == number(csv, j, "Na_plain"));
        assert_true((double)run->train_flops_per_token == number(csv, j, "M_train_plain"));
        assert_true((double)run->tokens == number(csv, j, "D_exact"));
        assert_true(run->lr == number(csv, j, "lr"));
        assert_true((double)run->batch_sequences == number(csv, j, "batch_sequences"));
        assert_true((double)run->iterations == number(csv, j, "iters"));
        assert_float_equal(run->lr_over_law, number(csv, j, "lr_over_steplaw"), 6e-5);
        assert_float_equal(run->batch_over_law, number(csv, j, "batch_over_steplaw"), 6e-5);
        n_distinct += run->duplicate_of < 0;
    }
    assert_int_equal(n_distinct, 74);
    iso_csv_free(csv);
}

static void duplicates_are_the_same_run(void **state) {
    static iso_paper_run runs[ISO_PAPER_N_RUNS];
    assert_int_equal(iso_paper_runs(runs), ISO_OK);
    int n_printed_otherwise = 0;
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++) {
        if (runs[i].duplicate_of < 0) continue;
        const iso_paper_run *first = &runs[runs[i].duplicate_of];
        assert_true(runs[i].duplicate_of < i && first->duplicate_of < 0);
        assert_true(first->table == 9 || first->table == 11);
        n_printed_otherwise += first->bpc != runs[i].bpc;
    }
    assert_int_equal(n_printed_otherwise, 1); /* Table 12's last row, 0.4670 for 0.4664 */
}

static void unique_tokens(void **state) {
    static iso_paper_run runs[ISO_PAPER_N_RUNS];
    assert_int_equal(iso_paper_runs(runs), ISO_OK);
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++) {
        const iso_paper_run *run = &runs[i];
        int64_t expected = run->table == 13   ? 68000000000
                           : run->table == 15 ? 65000000000
                           : run->table == 16 ? 114000000000
                           : run->table == 17 ? run->tokens / 2
                                              : run->tokens;
        assert_true(run->unique_tokens == expected);
    }
}

/* How near recomputation must come: (n rows, n exact to the printed digits, the largest excess over
 * rounding as a share of the printed figure). Any change of a table, of the counting or of the
 * rules for the rows shows here. */
typedef struct bound {
    int table;
    iso_paper_column column;
    int n_rows, n_exact;
    double max_beyond_frac;
} bound;

static const bound bounds[] = {
    {5, ISO_PAPER_PARAMS, 10, 7, 0.063},
    {5, ISO_PAPER_ACTIVE, 10, 7, 0.06},
    {5, ISO_PAPER_FLOPS, 10, 7, 0.048},
    {6, ISO_PAPER_PARAMS, 4, 4, 0},
    {6, ISO_PAPER_ACTIVE, 4, 4, 0},
    {6, ISO_PAPER_RATE, 4, 4, 0},
    {6, ISO_PAPER_FLOPS, 4, 4, 0},
    {7, ISO_PAPER_PARAMS, 6, 3, 0.00066},
    {7, ISO_PAPER_ACTIVE, 6, 6, 0},
    {7, ISO_PAPER_RATE, 6, 4, 0.0025},
    {7, ISO_PAPER_FLOPS, 6, 5, 2.8e-05},
    {8, ISO_PAPER_PARAMS, 20, 7, 0.0078},
    {8, ISO_PAPER_ACTIVE, 20, 5, 0.016},
    {8, ISO_PAPER_MU, 20, 20, 0},
    {8, ISO_PAPER_ZETA, 20, 0, 0.093},
    {9, ISO_PAPER_ACTIVE, 18, 18, 0},
    {9, ISO_PAPER_RATE, 18, 18, 0},
    {9, ISO_PAPER_FLOPS, 18, 18, 0},
    {9, ISO_PAPER_TOKENS, 18, 18, 0},
    {9, ISO_PAPER_COMPUTE, 18, 18, 0},
    {9, ISO_PAPER_TOKENS_RATIO, 18, 18, 0},
    {9, ISO_PAPER_ITERATIONS, 18, 18, 0},
    {10, ISO_PAPER_ACTIVE, 12, 12, 0},
    {10, ISO_PAPER_RATE, 12, 12, 0},
    {10, ISO_PAPER_FLOPS, 12, 12, 0},
    {10, ISO_PAPER_TOKENS, 12, 11, 2.3e-06},
    {10, ISO_PAPER_COMPUTE, 12, 9, 0.0022},
    {10, ISO_PAPER_TOKENS_RATIO, 12, 12, 0},
    {10, ISO_PAPER_ITERATIONS, 12, 11, 2.3e-06},
    {10, ISO_PAPER_MU, 12, 12, 0},
    {11, ISO_PAPER_ACTIVE, 6, 5, 0.00043},
    {11, ISO_PAPER_RATE, 6, 6, 0},
    {11, ISO_PAPER_FLOPS, 6, 5, 0.00015},
    {11, ISO_PAPER_TOKENS, 6, 6, 0},
    {11, ISO_PAPER_COMPUTE, 6, 5, 0.00032},
    {11, ISO_PAPER_TOKENS_RATIO, 6, 6, 0},
    {11, ISO_PAPER_ITERATIONS, 6, 6, 0},
    {12, ISO_PAPER_ACTIVE, 8, 8, 0},
    {12, ISO_PAPER_RATE, 8, 8, 0},
    {12, ISO_PAPER_FLOPS, 8, 6, 0.00021},
    {12, ISO_PAPER_TOKENS, 8, 8, 0},
    {12, ISO_PAPER_COMPUTE, 8, 8, 0},
    {12, ISO_PAPER_TOKENS_RATIO, 8, 8, 0},
    {12, ISO_PAPER_ITERATIONS, 8, 8, 0},
    {12, ISO_PAPER_MU, 8, 8, 0},
    {13, ISO_PAPER_ACTIVE, 6, 6, 0},
    {13, ISO_PAPER_RATE, 6, 6, 0},
    {13, ISO_PAPER_FLOPS, 6, 5, 0.00015},
    {13, ISO_PAPER_TOKENS, 6, 6, 0},
    {13, ISO_PAPER_UNIQUE, 6, 6, 0},
    {13, ISO_PAPER_EPOCHS, 6, 6, 0},
    {13, ISO_PAPER_COMPUTE, 6, 6, 0},
    {13, ISO_PAPER_TOKENS_RATIO, 6, 6, 0},
    {13, ISO_PAPER_ITERATIONS, 6, 6, 0},
    {13, ISO_PAPER_MU, 6, 6, 0},
    {14, ISO_PAPER_PARAMS, 6, 6, 0},
    {14, ISO_PAPER_FLOPS, 6, 6, 0},
    {14, ISO_PAPER_TOKENS, 6, 6, 0},
    {14, ISO_PAPER_COMPUTE, 6, 5, 0.00066},
    {14, ISO_PAPER_TOKENS_RATIO, 6, 4, 0.0011},
    {14, ISO_PAPER_ITERATIONS, 6, 6, 0},
    {15, ISO_PAPER_ACTIVE, 9, 9, 0},
    {15, ISO_PAPER_RATE, 9, 8, 0.0014},
    {15, ISO_PAPER_FLOPS, 9, 5, 0.00047},
    {15, ISO_PAPER_TOKENS, 9, 8, 2.3e-06},
    {15, ISO_PAPER_UNIQUE, 9, 9, 0},
    {15, ISO_PAPER_EPOCHS, 9, 9, 0},
    {15, ISO_PAPER_COMPUTE, 9, 9, 0},
    {15, ISO_PAPER_TOKENS_RATIO, 9, 8, 0.0028},
    {15, ISO_PAPER_ITERATIONS, 9, 8, 2.3e-06},
    {16, ISO_PAPER_ACTIVE, 9, 9, 0},
    {16, ISO_PAPER_RATE, 9, 8, 0.0014},
    {16, ISO_PAPER_FLOPS, 9, 5, 0.00047},
    {16, ISO_PAPER_TOKENS, 9, 8, 7.4e-06},
    {16, ISO_PAPER_UNIQUE, 9, 9, 0},
    {16, ISO_PAPER_EPOCHS, 9, 9, 0},
    {16, ISO_PAPER_COMPUTE, 9, 9, 0},
    {16, ISO_PAPER_TOKENS_RATIO, 9, 7, 0.0028},
    {16, ISO_PAPER_ITERATIONS, 9, 8, 7.4e-06},
    {17, ISO_PAPER_ACTIVE, 6, 6, 0},
    {17, ISO_PAPER_RATE, 6, 6, 0},
    {17, ISO_PAPER_FLOPS, 6, 5, 0.00015},
    {17, ISO_PAPER_UNIQUE, 6, 6, 0},
    {17, ISO_PAPER_EPOCHS, 6, 6, 0},
    {17, ISO_PAPER_COMPUTE, 6, 6, 0},
    {17, ISO_PAPER_TOKENS_RATIO, 6, 6, 0},
    {17, ISO_PAPER_ITERATIONS, 6, 6, 0},
};

static void no_worse_than(void **state) {
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        const bound *b = &bounds[i];
        iso_paper_column_error error = iso_paper_column_check(*state, b->table, b->column);
        if (error.n_rows != b->n_rows || error.n_exact < b->n_exact ||
            error.max_beyond_frac > b->max_beyond_frac)
            fail_msg("Table %d, %s: %d of %d exact, %.3g beyond rounding", b->table,
                     iso_paper_column_name(b->column), (int)error.n_exact, (int)error.n_rows,
                     error.max_beyond_frac);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_per_table), cmocka_unit_test(figures),
        cmocka_unit_test(eighty_runs),    cmocka_unit_test(duplicates_are_the_same_run),
        cmocka_unit_test(unique_tokens),  cmocka_unit_test(no_worse_than),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
