/* Documents chosen by content: thresholds keep what they promise, and the choice is fair. */
#include "data_fixture.h"

#include "data/choice.h"

static iso_choice *make(int64_t n_documents, int64_t max_bytes) {
    iso_choice *choice = calloc(1, sizeof *choice);
    int64_t i = 0;
    for (int64_t d = 0; d < n_documents; d++)
        iso_choice_add(choice, (int)draw_below(&i, ISO_CHOICE_BUCKETS),
                       1 + draw_below(&i, max_bytes));
    return choice;
}

static void at_most_is_the_largest_threshold(void **state) {
    (void)state;
    iso_choice *choice = make(1000, 5000);
    for (int64_t cap = 1; cap < 3000000; cap += 31337) {
        int threshold = iso_choice_at_most(choice, cap);
        assert_true(iso_choice_bytes_below(choice, threshold) <= cap);
        if (threshold < ISO_CHOICE_BUCKETS)
            assert_true(iso_choice_bytes_below(choice, threshold + 1) > cap);
        else
            assert_true(choice->n_bytes <= cap);
    }
    assert_int_equal(iso_choice_at_most(choice, 0), ISO_CHOICE_BUCKETS);
    free(choice);
}

static void at_least_is_the_smallest_threshold(void **state) {
    (void)state;
    iso_choice *choice = make(1000, 5000);
    for (int64_t floor = 1; floor < choice->n_bytes; floor += 31337) {
        int threshold = iso_choice_at_least(choice, 300, floor);
        assert_true(threshold >= 300 && iso_choice_bytes_below(choice, threshold) >= floor);
        if (threshold > 300) assert_true(iso_choice_bytes_below(choice, threshold - 1) < floor);
    }
    assert_int_equal(iso_choice_at_least(choice, 300, choice->n_bytes + 1), ISO_CHOICE_BUCKETS);
    free(choice);
}

/* 20,000 documents: each tenth of the buckets gets its share (a deviation of 10 % is 4.7 sigma),
 * and the two uses are independent. */
static void buckets_are_uniform_and_uses_independent(void **state) {
    (void)state;
    int64_t tenths[10] = {0}, both = 0;
    for (int d = 0; d < 20000; d++) {
        char text[32];
        int n = snprintf(text, sizeof text, "document %d", d);
        int cap = iso_choice_bucket(ISO_CHOICE_CAP, text, n);
        int holdout = iso_choice_bucket(ISO_CHOICE_HOLDOUT, text, n);
        assert_in_range(cap, 0, ISO_CHOICE_BUCKETS - 1);
        tenths[cap * 10 / ISO_CHOICE_BUCKETS]++;
        both += cap < ISO_CHOICE_BUCKETS / 2 && holdout < ISO_CHOICE_BUCKETS / 2;
    }
    for (int i = 0; i < 10; i++) assert_in_range(tenths[i], 1800, 2200);
    assert_in_range(both, 4700, 5300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_most_is_the_largest_threshold),
        cmocka_unit_test(at_least_is_the_smallest_threshold),
        cmocka_unit_test(buckets_are_uniform_and_uses_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
