/* page.h - the frame of a page and its small parts: head with all CSS, tables, figures, notes.
 *
 * Owns: looks. One column, readable at 360 px, light and dark, printable; no script and nothing
 * fetched from anywhere. Does not own: content (sections.h) and plots (svg.h).
 *
 * Functions ending in _html take markup that is already escaped; all others escape (markup.h, I1).
 */
#ifndef ISO_REPORT_PAGE_H
#define ISO_REPORT_PAGE_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

void iso_page_open(iso_str *out, const char *title);
void iso_page_close(iso_str *out);

/* A section with its heading; close with iso_page_section_close. */
void iso_page_section(iso_str *out, const char *id, const char *heading);
void iso_page_section_close(iso_str *out);

/* A paragraph; class may be NULL. */
void iso_page_text(iso_str *out, const char *class, const char *text);

/* A figure is drawn twice, for wide and for narrow screens; CSS shows one of them. `draw` gets the
 * id and size to use. The caption says what to see. */
typedef void (*iso_page_draw_fn)(iso_str *out, const void *ctx, const char *id, double width,
                                 double height);
void iso_page_figure(iso_str *out, const char *id, const char *title, const char *caption,
                     const char *legend_html, iso_page_draw_fn draw, const void *ctx,
                     double wide_height, double narrow_height);

/* Tables scroll sideways inside themselves where the screen is narrow. The first cell of a row is
 * its heading; the first n_words columns hold words, the others numbers. */
void iso_page_table_open(iso_str *out, const char *id, const char *caption,
                         const char *const *headers, int64_t n_headers, int64_t n_words);
/* The same with words or numbers in any column, and units under their headers. */
typedef struct iso_page_column {
    const char *label, *unit; /* unit NULL = none */
    bool is_words;
} iso_page_column;
void iso_page_table_columns(iso_str *out, const char *id, const char *caption,
                            const iso_page_column *columns, int64_t n_columns);
void iso_page_table_close(iso_str *out);
/* A row that spans the table and heads those after it. */
void iso_page_table_group(iso_str *out, const char *text, int64_t n_columns);
void iso_page_row_open(iso_str *out, const char *heading, const char *detail);
void iso_page_row_close(iso_str *out);
void iso_page_cell(iso_str *out, const char *text);       /* a number: right-aligned */
void iso_page_cell_words(iso_str *out, const char *text); /* words: left-aligned */

/* A block of preformatted text that folds away, or stands open. */
void iso_page_listing(iso_str *out, const char *summary, const char *text);
void iso_page_code(iso_str *out, const char *text);

#endif
