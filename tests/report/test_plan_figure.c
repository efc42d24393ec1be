/* The picture of a plan: four panels, a dot per model and quantity, nothing that is no number. */
#include "report/plan_figure.h"

#include "study/gap_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int count(const char *text, const char *word) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word)) n++;
    return n;
}

static iso_budget *make(int64_t params, double flops, int64_t n_rates) {
    iso_budget *b = NULL;
    iso_budget_goal goal = iso_budget_goal_default();
    goal.params = params;
    goal.compute.flops = flops;
    goal.shapes.n_rates = n_rates;
    if (iso_budget_create(&b, &goal) != ISO_OK) fail_msg("%s", iso_error_message());
    return b;
}

static void check_drawing(const iso_str *svg) {
    assert_int_equal(strncmp(svg->data, "<svg xmlns=", 11), 0);
    assert_int_equal(count(svg->data, "<svg"), count(svg->data, "</svg>"));
    assert_int_equal(count(svg->data, "<g"), count(svg->data, "</g>"));
    assert_int_equal(count(svg->data, "nan"), 0);
    assert_int_equal(count(svg->data, "inf"), count(svg->data, "inference"));
    assert_int_equal(count(svg->data, "http"), 1); /* the name space: nothing is fetched */
}

static void without_prediction(void **state) {
    for (int64_t n = 1; n <= 6; n += 5) {
        iso_str svg = {0};
        iso_budget *b = make(2000000, 3e14, n);
        iso_plan_figure_draw(&svg, b);
        check_drawing(&svg);
        assert_int_equal(count(svg.data, "<circle"), 4 * n);
        assert_int_equal(count(svg.data, "--predict"), 1);
        iso_str_release(&svg);
        iso_budget_free(b);
    }
}

static void with_prediction(void **state) {
    iso_str svg = {0}, again = {0};
    iso_gap_law *law;
    assert_int_equal(iso_gap_law_of_paper(&law), ISO_OK);
    iso_budget *b = make(3290000000, 1.4e21, 6);
    assert_int_equal(iso_budget_predict(b, law, false), ISO_OK);
    iso_plan_figure_draw(&svg, b);
    iso_plan_figure_draw(&again, b);
    check_drawing(&svg);
    assert_int_equal(count(svg.data, "<circle"), 5 * 6);
    assert_int_equal(count(svg.data, "id=\"plan-gap\""), 1);
    assert_string_equal(svg.data, again.data);
    iso_str_release(&svg);
    iso_str_release(&again);
    iso_budget_free(b);
    iso_gap_law_free(law);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_prediction),
        cmocka_unit_test(with_prediction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
