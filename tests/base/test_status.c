/* The error buffer: messages, context, truncation, one per thread. */
#include "base/status.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void context_comes_first(void **state) {
    (void)state;
    assert_int_equal(iso_fail(ISO_ERR_DATA, "line %d", 3), ISO_ERR_DATA);
    assert_int_equal(iso_fail_context(ISO_ERR_DATA, "file %s", "a"), ISO_ERR_DATA);
    assert_string_equal(iso_error_message(), "file a: line 3");
}

static void message_may_quote_the_one_before(void **state) {
    (void)state;
    iso_fail(ISO_ERR_IO, "inner");
    iso_fail(ISO_ERR_IO, "outer (%s)", iso_error_message());
    assert_string_equal(iso_error_message(), "outer (inner)");
}

static void full_disk_has_its_own_status(void **state) {
    (void)state;
    assert_int_equal(iso_fail_errno(ISO_ERR_IO, ENOENT, "x"), ISO_ERR_IO);
    assert_string_equal(iso_error_message(), "x: No such file or directory");
    assert_int_equal(iso_fail_errno(ISO_ERR_IO, ENOSPC, "x"), ISO_ERR_NO_SPACE);
    assert_int_equal(iso_fail_errno(ISO_ERR_IO, EDQUOT, "x"), ISO_ERR_NO_SPACE);
}

static void long_messages_are_cut(void **state) {
    (void)state;
    char longer[ISO_ERROR_BYTES * 2];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    iso_fail(ISO_ERR_IO, "%s", longer);
    assert_int_equal(strlen(iso_error_message()), ISO_ERROR_BYTES - 1);
    for (int i = 0; i < 5; i++) iso_fail_context(ISO_ERR_IO, "%.1000s", longer);
    assert_int_equal(strlen(iso_error_message()), ISO_ERROR_BYTES - 1);
    iso_fail_errno(ISO_ERR_IO, EIO, "%s", longer);
    assert_int_equal(strlen(iso_error_message()), ISO_ERROR_BYTES - 1);
}

static void *fail_elsewhere(void *arg) {
    (void)arg;
    iso_fail(ISO_ERR_IO, "elsewhere");
    return (void *)(intptr_t)strcmp(iso_error_message(), "elsewhere");
}

static void threads_have_their_own(void **state) {
    (void)state;
    iso_fail(ISO_ERR_IO, "here");
    pthread_t thread;
    void *differs;
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    assert_int_equal(pthread_join(thread, &differs), 0);
    assert_null(differs);
    assert_string_equal(iso_error_message(), "here");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_comes_first),
        cmocka_unit_test(message_may_quote_the_one_before),
        cmocka_unit_test(full_disk_has_its_own_status),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(threads_have_their_own),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
