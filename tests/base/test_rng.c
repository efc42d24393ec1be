/* Random numbers: Philox's published vectors, moments, and that the permutation is one. */
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, the first two output words. */
static void philox_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[2];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb}},
    };
    for (int i = 0; i < 3; i++) {
        const uint32_t *c = vectors[i].counter, *k = vectors[i].key, *o = vectors[i].out;
        /* The stream goes into the key's top byte: take it out of the seed first. */
        uint64_t seed = (k[0] | (uint64_t)k[1] << 32) ^ (uint64_t)ISO_RNG_TEST << 56;
        uint64_t index = c[0] | (uint64_t)c[1] << 32, lane = c[2] | (uint64_t)c[3] << 32;
        assert_true(iso_rng_u64(seed, ISO_RNG_TEST, lane, index) == (o[0] | (uint64_t)o[1] << 32));
    }
}

static void every_argument_matters(void **state) {
    (void)state;
    uint64_t base = iso_rng_u64(1, ISO_RNG_INIT, 2, 3);
    assert_true(base == iso_rng_u64(1, ISO_RNG_INIT, 2, 3));
    assert_true(base != iso_rng_u64(2, ISO_RNG_INIT, 2, 3));
    assert_true(base != iso_rng_u64(1, ISO_RNG_EPOCH, 2, 3));
    assert_true(base != iso_rng_u64(1, ISO_RNG_INIT, 3, 3));
    assert_true(base != iso_rng_u64(1, ISO_RNG_INIT, 2, 4));
    assert_true(base != iso_rng_u64(1, ISO_RNG_INIT, 2, 3 + (UINT64_C(1) << 40)));
    assert_true(base != iso_rng_u64(1, ISO_RNG_INIT, 2 + (UINT64_C(1) << 40), 3));
    assert_true(base != iso_rng_u64(1 + (UINT64_C(1) << 40), ISO_RNG_INIT, 2, 3));
}

/* Fixed draws, so the bounds (five standard errors) can't fail by chance. */
static void moments(void **state) {
    (void)state;
    const int n = 200000;
    double sum_u = 0, sum_n = 0, sum_n2 = 0, sum_n3 = 0, sum_n4 = 0, sum_lag = 0, before = 0;
    for (int i = 0; i < n; i++) {
        double u = iso_rng_uniform(7, ISO_RNG_TEST, 0, (uint64_t)i);
        double x = iso_rng_normal(7, ISO_RNG_TEST, 1, (uint64_t)i);
        assert_true(u >= 0 && u < 1 && isfinite(x));
        sum_u += u;
        sum_n += x, sum_n2 += x * x, sum_n3 += x * x * x, sum_n4 += x * x * x * x;
        sum_lag += x * before;
        before = x;
    }
    double error = 5 / sqrt(n);
    assert_true(fabs(sum_u / n - 0.5) < error * sqrt(1.0 / 12));
    assert_true(fabs(sum_n / n) < error);
    assert_true(fabs(sum_n2 / n - 1) < error * sqrt(2));
    assert_true(fabs(sum_n3 / n) < error * sqrt(15));
    assert_true(fabs(sum_n4 / n - 3) < error * sqrt(96));
    assert_true(fabs(sum_lag / n) < error);
}

static void check_bijection(uint64_t seed, uint64_t lane, int64_t n) {
    unsigned char *seen = calloc((size_t)n, 1);
    assert_non_null(seen);
    for (int64_t i = 0; i < n; i++) {
        int64_t to = iso_rng_permute(seed, ISO_RNG_EPOCH, lane, n, i);
        assert_true(to >= 0 && to < n);
        assert_int_equal(seen[to], 0);
        seen[to] = 1;
    }
    free(seen);
}

static void permutation_is_a_bijection(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 70; n++)
        for (uint64_t lane = 0; lane < 5; lane++) check_bijection(n * 31, lane, n);
    static const int64_t sizes[] = {127,  128,  129,  251,  255,  256,   257,   997,
                                    1023, 1024, 1025, 4099, 7919, 16384, 16385, 65537};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) check_bijection(1, i, sizes[i]);
}

static void permutation_of_huge_n_stays_inside(void **state) {
    (void)state;
    static const int64_t sizes[] = {INT64_C(1) << 62, (INT64_C(1) << 62) - 1,
                                    (INT64_C(1) << 61) + 1, INT64_C(3000000019)};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int64_t k = 0; k < 50; k++) {
            int64_t to = iso_rng_permute(3, ISO_RNG_EPOCH, 0, sizes[i], sizes[i] - 1 - k);
            assert_true(to >= 0 && to < sizes[i]);
        }
}

/* Over many lanes every order of three things comes up about equally often (chi-square, 5 degrees
 * of freedom, below the 1 - 1e-6 quantile), and every order of four comes up. */
static void small_permutations_are_uniform(void **state) {
    (void)state;
    const int n_lanes = 6000;
    int orders3[27] = {0}, orders4[256] = {0};
    for (int lane = 0; lane < n_lanes; lane++) {
        int code3 = 0, code4 = 0;
        for (int i = 0; i < 3; i++)
            code3 = 3 * code3 + (int)iso_rng_permute(5, ISO_RNG_EPOCH, (uint64_t)lane, 3, i);
        for (int i = 0; i < 4; i++)
            code4 = 4 * code4 + (int)iso_rng_permute(5, ISO_RNG_EPOCH, (uint64_t)lane, 4, i);
        orders3[code3]++;
        orders4[code4]++;
    }
    double chi2 = 0, expected = n_lanes / 6.0;
    int n_orders3 = 0, n_orders4 = 0;
    for (int i = 0; i < 27; i++)
        if (orders3[i]) n_orders3++, chi2 += pow(orders3[i] - expected, 2) / expected;
    for (int i = 0; i < 256; i++) n_orders4 += orders4[i] > 0;
    assert_int_equal(n_orders3, 6);
    assert_int_equal(n_orders4, 24);
    assert_true(chi2 < 35.9);
}

/* A shuffle, not a shift: neighbours part, few stay in place, epochs differ. */
static void permutation_shuffles(void **state) {
    (void)state;
    const int64_t n = 1000;
    int n_fixed = 0, n_neighbours = 0, n_same = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t here = iso_rng_permute(9, ISO_RNG_EPOCH, 0, n, i);
        int64_t next = iso_rng_permute(9, ISO_RNG_EPOCH, 0, n, (i + 1) % n);
        n_fixed += here == i;
        n_neighbours += llabs(here - next) == 1;
        n_same += here == iso_rng_permute(9, ISO_RNG_EPOCH, 1, n, i);
    }
    assert_true(n_fixed < 10);
    assert_true(n_neighbours < 15);
    assert_true(n_same < 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(every_argument_matters),
        cmocka_unit_test(moments),
        cmocka_unit_test(permutation_is_a_bijection),
        cmocka_unit_test(permutation_of_huge_n_stays_inside),
        cmocka_unit_test(small_permutations_are_uniform),
        cmocka_unit_test(permutation_shuffles),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
