/* utf8.h - exact UTF-8: is it valid, and how many code points.
 *
 * Valid is what RFC 3629 says: no overlong form, no surrogate, nothing above U+10FFFF. NUL and the
 * other control characters are text like any other.
 */
#ifndef ISO_DATA_UTF8_H
#define ISO_DATA_UTF8_H

#include <stdbool.h>
#include <stdint.h>

/* The offset of the first byte that is no part of a valid sequence; n_bytes if all is valid. */
int64_t iso_utf8_check(const char *text, int64_t n_bytes);

/* Code points begun in the text: bytes that are no continuation byte. */
int64_t iso_utf8_count(const char *text, int64_t n_bytes);

/* The largest offset <= at where no sequence is cut (looks back three bytes at most). */
int64_t iso_utf8_boundary(const char *text, int64_t at);

#endif
