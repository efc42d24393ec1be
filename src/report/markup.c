#include "report/markup.h"

#include <stddef.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* Bytes of the valid UTF-8 character at `text`, or 0: overlong forms, surrogates and values above
 * U+10FFFF are invalid. */
static int utf8_length(const unsigned char *text) {
    if (text[0] < 0x80) return 1;
    int n = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (text[0] < 0xc2 || text[0] > 0xf4) return 0;
    for (int i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if (text[0] == 0xe0 && text[1] < 0xa0) return 0;
    if (text[0] == 0xed && text[1] > 0x9f) return 0;
    if (text[0] == 0xf0 && text[1] < 0x90) return 0;
    if (text[0] == 0xf4 && text[1] > 0x8f) return 0;
    return n;
}

static const char *entity(unsigned char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void iso_markup_text(iso_str *out, const char *text) {
    if (!text) return;
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        int n = utf8_length(at);
        if (n == 0) {
            iso_str_append(out, REPLACEMENT);
            at++;
            continue;
        }
        const char *escaped = n == 1 ? entity(*at) : NULL;
        if (escaped)
            iso_str_append(out, escaped);
        else if (n > 1 || (*at >= 0x20 && *at != 0x7f) || *at == '\n' || *at == '\t')
            iso_str_append_bytes(out, at, (size_t)n);
        at += n;
    }
}

void iso_markup_fact(iso_str *out, const char *name, const char *value) {
    iso_str_append(out, "<dt>");
    iso_markup_text(out, name);
    iso_str_append(out, "</dt><dd>");
    iso_markup_text(out, value);
    iso_str_append(out, "</dd>\n");
}
