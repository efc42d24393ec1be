#include "base/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char error_buffer[ISO_ERROR_BYTES];

const char *iso_error_message(void) {
    return error_buffer;
}

/* Appends ": " and `text`, cut off where the buffer ends. */
static void append_reason(char message[ISO_ERROR_BYTES], const char *text) {
    size_t used = strlen(message), room = ISO_ERROR_BYTES - 1 - used, n_text = strlen(text);
    if (room <= 2) return;
    if (n_text > room - 2) n_text = room - 2;
    memcpy(message + used, ": ", 2);
    memcpy(message + used + 2, text, n_text);
    message[used + 2 + n_text] = '\0';
}

iso_status iso_fail(iso_status status, const char *format, ...) {
    /* The arguments may point into the buffer itself, hence the detour. */
    char fresh[ISO_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(fresh, sizeof fresh, format, args);
    va_end(args);
    memcpy(error_buffer, fresh, sizeof error_buffer);
    return status;
}

iso_status iso_fail_errno(iso_status status, int err, const char *format, ...) {
    char fresh[ISO_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(fresh, sizeof fresh, format, args);
    va_end(args);
    char reason[128];
    const char *text = strerror_r(err, reason, sizeof reason); /* the GNU variant */
    append_reason(fresh, text);
    memcpy(error_buffer, fresh, sizeof error_buffer);
    return err == ENOSPC || err == EDQUOT ? ISO_ERR_NO_SPACE : status;
}

iso_status iso_fail_context(iso_status status, const char *format, ...) {
    char fresh[ISO_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(fresh, sizeof fresh, format, args);
    va_end(args);
    append_reason(fresh, error_buffer);
    memcpy(error_buffer, fresh, sizeof error_buffer);
    return status;
}

_Noreturn void iso_assert_failed(const char *condition, const char *file, int line,
                                 const char *function) {
    fprintf(stderr, "isomoe: broken invariant: %s\n  in %s, %s:%d\n", condition, function, file,
            line);
    abort();
}
