/* markup.h - text into HTML and SVG: escaping (numbers: base/number.h).
 *
 * (I1) nothing that came from outside the program reaches a page except through iso_markup_text:
 *      names, paths, configs, messages.
 */
#ifndef ISO_REPORT_MARKUP_H
#define ISO_REPORT_MARKUP_H

#include "base/number.h"
#include "base/str.h"

/* Appends text with & < > " ' escaped, control characters other than newline and tab dropped and
 * invalid UTF-8 replaced by U+FFFD: safe as content and inside a quoted attribute. NULL is "". */
void iso_markup_text(iso_str *out, const char *text);

/* A line of a <dl>; both are escaped here. */
void iso_markup_fact(iso_str *out, const char *name, const char *value);

#endif
