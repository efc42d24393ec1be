/* paper/paper_findings.h: the figures that other documents rely on, found in the computed text. */
#include "paper/paper_findings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void said(void **state) {
    static const char *const expected[] = {
        "have 2.00x the law's learning rate and 1.13 to 1.26x its batch",
        "have 1.00x the law's learning rate and 0.76 to 0.77x its batch",
        "have 2.70 to 2.71x the law's learning rate",
        "9 of the 9 rows of Table 15 and 8 of Table 16",
        "(2.7 % as printed",
        "7B +0.58 % against",
        "saw 62.6B and 125.2B",
        "Table 14 row 3 (19.03), row 5 (10.49)",
        "the printed form is -46 to -34 % off, the corrected one 0 %",
        "29 MoEs of Tables 10, 12 and 15 it is -66 to +61 % off",
        "is within -0.7 to +2.4 %",
        "1/R_c = 4.61",
        "layout 1dense, which makes 2.019B/346M/8.77e8",
        "row 1 prints 27.47 %, its shape makes 27.40 %",
        "H/(L-1) + 1 in 20 of 20 rows",
        "printed as 94.06 and as 93.93; it is 94.06",
        "1.355 to 1.452 for K = 2 and K = 4",
        "6 are printed twice (so 74 are distinct)",
        "Table 11 row 6 prints 0.4664 and Table 12 row 8 0.4670",
        "2B: best at 19.94 %, next points 19.12 and 27.46 %",
    };
    iso_paper *paper;
    iso_paper_findings findings;
    iso_str all = {0};
    assert_int_equal(iso_paper_create(&paper), ISO_OK);
    iso_paper_findings_make(&findings, paper);
    for (int64_t i = 0; i < findings.n; i++) {
        assert_true(findings.items[i].text.len > 0);
        iso_str_append(&all, findings.items[i].text.data);
    }
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!strstr(all.data, expected[i])) fail_msg("not said: %s", expected[i]);
    iso_str_release(&all);
    iso_paper_findings_release(&findings);
    iso_paper_free(paper);
}

/* A changed table changes the text: nothing in it is written down. */
static void computed(void **state) {
    iso_paper *paper;
    iso_paper_findings findings;
    assert_int_equal(iso_paper_create(&paper), ISO_OK);
    for (int64_t i = 0; i < paper->n_rows; i++) {
        paper->rows[i].lr.value *= 1.5;
        paper->rows[i].iterations *= 2;
    }
    iso_paper_findings_make(&findings, paper);
    assert_null(strstr(findings.items[0].text.data, "2.00x"));
    iso_paper_findings_release(&findings);
    iso_paper_free(paper);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(said), cmocka_unit_test(computed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
