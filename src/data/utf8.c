#include "data/utf8.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

static bool is_continuation(uint8_t byte) {
    return (byte & 0xC0) == 0x80;
}

/* Length of the valid sequence at s (n > 0 bytes left), or 0. */
static int sequence_length(const uint8_t *s, int64_t n) {
    uint8_t lead = s[0];
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0; /* a continuation byte, or an overlong form of ASCII */
    if (lead < 0xE0) return n >= 2 && is_continuation(s[1]) ? 2 : 0;
    if (lead < 0xF0) {
        if (n < 3 || !is_continuation(s[1]) || !is_continuation(s[2])) return 0;
        if (lead == 0xE0 && s[1] < 0xA0) return 0;  /* overlong */
        if (lead == 0xED && s[1] >= 0xA0) return 0; /* surrogate */
        return 3;
    }
    if (lead > 0xF4 || n < 4) return 0;
    if (!is_continuation(s[1]) || !is_continuation(s[2]) || !is_continuation(s[3])) return 0;
    if (lead == 0xF0 && s[1] < 0x90) return 0;  /* overlong */
    if (lead == 0xF4 && s[1] >= 0x90) return 0; /* above U+10FFFF */
    return 4;
}

int64_t iso_utf8_check(const char *text, int64_t n_bytes) {
    const uint8_t *s = (const uint8_t *)text;
    int64_t i = 0;
    while (i < n_bytes) {
        /* Nearly all text is ASCII: eight bytes at a time. */
        uint64_t word;
        while (i + 8 <= n_bytes && (memcpy(&word, s + i, 8), (word & HIGH_BITS) == 0)) i += 8;
        if (i >= n_bytes) break;
        int length = sequence_length(s + i, n_bytes - i);
        if (length == 0) return i;
        i += length;
    }
    return n_bytes;
}

int64_t iso_utf8_count(const char *text, int64_t n_bytes) {
    int64_t n = 0;
    for (int64_t i = 0; i < n_bytes; i++) n += !is_continuation((uint8_t)text[i]);
    return n;
}

int64_t iso_utf8_boundary(const char *text, int64_t at) {
    for (int64_t back = 0; back <= 3 && back <= at; back++)
        if (!is_continuation((uint8_t)text[at - back])) return at - back;
    return at; /* not UTF-8: any cut is as good, and the check will say so */
}
