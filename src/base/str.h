/* str.h - a growing byte string, and the few string helpers that the C library lacks. */
#ifndef ISO_BASE_STR_H
#define ISO_BASE_STR_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise it; data is NUL-terminated whenever it is not NULL. Out of memory aborts: these
 * are messages, paths and pages, and nothing sensible can be done without them. */
typedef struct iso_str {
    char *data;
    size_t len;
    size_t capacity;
} iso_str;

void iso_str_release(iso_str *str);
void iso_str_clear(iso_str *str); /* length 0, keeps the memory */
void iso_str_append(iso_str *str, const char *text);
void iso_str_append_bytes(iso_str *str, const void *bytes, size_t n_bytes);
void iso_str_appendf(iso_str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A fresh printf'd string; the caller frees it with free(). */
char *iso_strf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Edit distance (Levenshtein), and the candidate nearest to `word`, or NULL if none is near enough
 * to be a likely typo. */
int iso_str_distance(const char *a, const char *b);
const char *iso_str_nearest(const char *word, const char *const *candidates, size_t n_candidates);

/* Text for people: 1234567 -> "1.23M", 1.9e13 -> "19.0T", 93 s -> "1:33", 4200 s -> "1:10:00". They
 * return `buffer` (at least 32 bytes). */
char *iso_str_count(char *buffer, double value);
char *iso_str_duration(char *buffer, double seconds);
char *iso_str_bytes(char *buffer, double n_bytes);

/* Parse a whole string; false, with *out untouched, on anything left over, on overflow, NaN and
 * infinity. Integers are plain decimal, "-" allowed ("1e6" and "4k" are refused: people's units
 * belong to the planner); reals are decimal with an optional exponent. */
bool iso_str_to_i64(const char *text, int64_t *out);
bool iso_str_to_f64(const char *text, double *out);

#endif
