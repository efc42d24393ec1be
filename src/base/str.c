#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `n_more` bytes and the NUL. Capacity doubles, so n appends cost O(n). */
static void reserve(iso_str *str, size_t n_more) {
    size_t needed;
    ISO_ASSERT(!__builtin_add_overflow(str->len, n_more, &needed) && needed < SIZE_MAX / 2);
    if (str->data && needed < str->capacity) return;
    size_t capacity = str->capacity ? str->capacity : 64;
    while (capacity <= needed) capacity *= 2;
    char *data = realloc(str->data, capacity);
    ISO_ASSERT(data != NULL);
    str->data = data;
    str->capacity = capacity;
}

void iso_str_release(iso_str *str) {
    free(str->data);
    *str = (iso_str){0};
}

void iso_str_clear(iso_str *str) {
    str->len = 0;
    if (str->data) str->data[0] = '\0';
}

void iso_str_append(iso_str *str, const char *text) {
    iso_str_append_bytes(str, text, strlen(text));
}

void iso_str_append_bytes(iso_str *str, const void *bytes, size_t n_bytes) {
    reserve(str, n_bytes);
    if (n_bytes) memcpy(str->data + str->len, bytes, n_bytes);
    str->len += n_bytes;
    str->data[str->len] = '\0';
}

static void append_args(iso_str *str, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n_bytes = vsnprintf(NULL, 0, format, args);
    ISO_ASSERT(n_bytes >= 0);
    reserve(str, (size_t)n_bytes);
    vsnprintf(str->data + str->len, (size_t)n_bytes + 1, format, again);
    va_end(again);
    str->len += (size_t)n_bytes;
}

void iso_str_appendf(iso_str *str, const char *format, ...) {
    va_list args;
    va_start(args, format);
    append_args(str, format, args);
    va_end(args);
}

char *iso_strf(const char *format, ...) {
    iso_str str = {0};
    va_list args;
    va_start(args, format);
    append_args(&str, format, args);
    va_end(args);
    return str.data;
}

int iso_str_distance(const char *a, const char *b) {
    size_t n_b = strlen(b);
    ISO_ASSERT(strlen(a) < INT32_MAX && n_b < INT32_MAX);
    /* One row of the table: row[j] is the distance from the prefix of `a` so far to b[0..j). */
    int *row = malloc((n_b + 1) * sizeof *row);
    ISO_ASSERT(row != NULL);
    for (size_t j = 0; j <= n_b; j++) row[j] = (int)j;
    for (size_t i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < n_b; j++) {
            int replaced = diagonal + (a[i] != b[j]);
            int inserted = row[j] + 1;
            int deleted = row[j + 1] + 1;
            diagonal = row[j + 1];
            int best = inserted < deleted ? inserted : deleted;
            row[j + 1] = replaced < best ? replaced : best;
        }
    }
    int distance = row[n_b];
    free(row);
    return distance;
}

const char *iso_str_nearest(const char *word, const char *const *candidates, size_t n_candidates) {
    /* A third of the letters may be wrong: more than that is another word, not a typo. */
    int best_distance = (int)((strlen(word) + 2) / 3) + 1;
    const char *best = NULL;
    for (size_t i = 0; i < n_candidates; i++) {
        int distance = iso_str_distance(word, candidates[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidates[i];
        }
    }
    return best;
}

enum { TEXT_BYTES = 32 }; /* what the three functions below may write */

/* Three significant digits of a value in [0, 1000). */
static int digits_after_point(double value) {
    return value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
}

/* value in steps of 1000, "12.3" + gap + suffix; exact below 1000 when it is whole. */
static char *scaled(char *buffer, double value, const char *gap, const char *const *suffixes,
                    int n_suffixes) {
    double size = fabs(value);
    int i = 0;
    /* 999.5 would be rounded to "1000": the next suffix takes it. */
    while (i < n_suffixes - 1 && size >= (i == 0 ? 1000.0 : 999.5)) {
        size /= 1000.0;
        i++;
    }
    const char *sign = value < 0 ? "-" : "";
    if (!isfinite(value))
        snprintf(buffer, TEXT_BYTES, "?");
    else if (size >= 1000.0)
        snprintf(buffer, TEXT_BYTES, "%s%.3g%s%s", sign, size, gap, suffixes[i]);
    else if (i == 0 && size == floor(size))
        snprintf(buffer, TEXT_BYTES, "%s%.0f%s%s", sign, size, gap, suffixes[i]);
    else
        snprintf(buffer, TEXT_BYTES, "%s%.*f%s%s", sign, digits_after_point(size), size, gap,
                 suffixes[i]);
    return buffer;
}

char *iso_str_count(char *buffer, double value) {
    static const char *const suffixes[] = {"", "K", "M", "B", "T"};
    if (fabs(value) < 1e15 && fabs(value) >= 0.01) return scaled(buffer, value, "", suffixes, 5);
    if (value == 0) return scaled(buffer, 0, "", suffixes, 5);
    snprintf(buffer, TEXT_BYTES, isfinite(value) ? "%.3g" : "?", value);
    return buffer;
}

char *iso_str_bytes(char *buffer, double n_bytes) {
    static const char *const suffixes[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    return scaled(buffer, n_bytes, " ", suffixes, 6);
}

char *iso_str_duration(char *buffer, double seconds) {
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e12) {
        snprintf(buffer, TEXT_BYTES, "?");
        return buffer;
    }
    int64_t whole = (int64_t)(seconds + 0.5);
    int64_t hours = whole / 3600, minutes = whole / 60 % 60, rest = whole % 60;
    if (seconds < 9.95)
        snprintf(buffer, TEXT_BYTES, "%.1f s", seconds);
    else if (whole < 60)
        snprintf(buffer, TEXT_BYTES, "%lld s", (long long)whole);
    else if (hours == 0)
        snprintf(buffer, TEXT_BYTES, "%lld:%02lld", (long long)minutes, (long long)rest);
    else
        snprintf(buffer, TEXT_BYTES, "%lld:%02lld:%02lld", (long long)hours, (long long)minutes,
                 (long long)rest);
    return buffer;
}

bool iso_str_to_i64(const char *text, int64_t *out) {
    const char *digits = text + (text[0] == '-');
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0') return false;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno != 0) return false;
    *out = value;
    return true;
}

bool iso_str_to_f64(const char *text, double *out) {
    /* strtod alone would also take blanks, hexadecimal, "inf" and "nan". */
    if (text[0] == '\0' || text[strspn(text, "0123456789.eE+-")] != '\0') return false;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) return false;
    *out = value;
    return true;
}
