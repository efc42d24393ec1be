/* Arenas: what is measured is what is used, alignment (I1), zeroed memory, size arithmetic. */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* An allocation plan with a scratch part that is rewound, as training steps do. */
static void allocate(iso_arena *arena, void *out[4]) {
    out[0] = iso_arena_take(arena, 3, 5);
    out[1] = iso_arena_take(arena, 1000, 8);
    int64_t mark = iso_arena_mark(arena);
    out[2] = iso_arena_take(arena, 700, 4);
    iso_arena_rewind(arena, mark);
    out[3] = iso_arena_take(arena, 1, 1);
}

static void measuring_equals_real(void **state) {
    (void)state;
    iso_arena measured, real;
    void *out[4];
    iso_arena_init(&measured);
    allocate(&measured, out);
    for (int i = 0; i < 4; i++) assert_null(out[i]);
    assert_int_equal(measured.used_bytes, 64 + 8000 + 64);
    assert_int_equal(measured.peak_bytes, 64 + 8000 + 2816);

    assert_int_equal(iso_arena_create(&real, measured.peak_bytes), ISO_OK);
    allocate(&real, out);
    assert_int_equal(real.used_bytes, measured.used_bytes);
    assert_int_equal(real.peak_bytes, measured.peak_bytes);
    assert_int_equal(real.size_bytes, real.peak_bytes);
    iso_arena_release(&real);
    assert_null(real.base);
}

static void pointers_are_aligned_and_zeroed(void **state) {
    (void)state;
    iso_arena arena;
    assert_int_equal(iso_arena_create(&arena, 1 << 16), ISO_OK);
    const char *before = NULL;
    for (int n = 1; n < 200; n += 7) {
        const char *p = iso_arena_take(&arena, n, 1);
        assert_int_equal((uintptr_t)p % ISO_ALIGN_BYTES, 0);
        assert_true(!before || p >= before + ISO_ALIGN_BYTES);
        for (int i = 0; i < n; i++) assert_int_equal(p[i], 0);
        before = p;
    }
    iso_arena_release(&arena);
}

static void huge_arena_is_a_status(void **state) {
    (void)state;
    iso_arena arena;
    assert_int_equal(iso_arena_create(&arena, INT64_MAX / 2), ISO_ERR_MEMORY);
    assert_null(arena.base);
}

static void size_arithmetic_sees_overflow(void **state) {
    (void)state;
    int64_t out;
    assert_true(iso_size_mul(&out, INT64_C(1) << 31, INT64_C(1) << 31));
    assert_true(out == INT64_C(1) << 62);
    assert_false(iso_size_mul(&out, INT64_C(1) << 32, INT64_C(1) << 31));
    assert_false(iso_size_mul(&out, -1, 3));
    assert_true(iso_size_add(&out, INT64_MAX - 1, 1));
    assert_false(iso_size_add(&out, INT64_MAX, 1));
    assert_false(iso_size_add(&out, 5, -1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measuring_equals_real),
        cmocka_unit_test(pointers_are_aligned_and_zeroed),
        cmocka_unit_test(huge_arena_is_a_status),
        cmocka_unit_test(size_arithmetic_sees_overflow),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
