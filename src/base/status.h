/* status.h - how library code reports errors, and the one assertion macro.
 *
 * Owns: the thread-local error buffer. Does not own: exit codes (cli/), logging (log.h).
 */
#ifndef ISO_BASE_STATUS_H
#define ISO_BASE_STATUS_H

#include "isomoe.h"

#include <stdarg.h>

/* Sets the thread's error message (printf format) and returns `status`, so that a caller writes
 *     return iso_fail(ISO_ERR_USAGE, "train.lr: %g is negative; give a positive rate", lr);
 * Say what, where, what to do. At most ISO_ERROR_BYTES - 1 bytes are kept. */
#define ISO_ERROR_BYTES 2048
iso_status iso_fail(iso_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* As iso_fail, with ": " and the text of `err` (an errno) appended; ENOSPC and EDQUOT turn any
 * status into ISO_ERR_NO_SPACE. */
iso_status iso_fail_errno(iso_status status, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message that is already there and returns `status` unchanged. */
iso_status iso_fail_context(iso_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Returns early with the status of a failed call. */
#define ISO_TRY(call)                                                                              \
    do {                                                                                           \
        iso_status iso_try_status_ = (call);                                                       \
        if (iso_try_status_ != ISO_OK) return iso_try_status_;                                     \
    } while (0)

/* A broken invariant of our own code: prints where and aborts. On in release builds too. */
#define ISO_ASSERT(condition)                                                                      \
    ((condition) ? (void)0 : iso_assert_failed(#condition, __FILE__, __LINE__, __func__))
_Noreturn void iso_assert_failed(const char *condition, const char *file, int line,
                                 const char *function);

#endif
