/* figure_text.h - numbers as the page writes them. */
#ifndef ISO_PAPER_FIGURE_TEXT_H
#define ISO_PAPER_FIGURE_TEXT_H

#include "base/str.h"

/* 2150612992 as "2,150,612,992". */
void iso_figure_append_grouped(iso_str *out, int64_t value);

/* 9.3791e20: that many decimals, no plus sign, no leading zero in the exponent. */
void iso_figure_append_power(iso_str *out, double value, int n_decimals);

/* "+0.12 %", "-3.40 %"; what rounds to nothing is "0.00 %". */
void iso_figure_append_percent(iso_str *out, double frac, int n_decimals);

#endif
