/* row_ranges.h - a figure over the rows of a table: its smallest and its largest value. For
 * findings.
 */
#ifndef ISO_PAPER_ROW_RANGES_H
#define ISO_PAPER_ROW_RANGES_H

#include "base/str.h"
#include "paper/recount.h"

typedef double (*iso_row_fn)(const iso_paper_row *row);

typedef struct iso_range {
    double min, max;
} iso_range;

/* The range of no values, one with one value more, and two together. */
iso_range iso_range_empty(void);
iso_range iso_range_join(iso_range range, double value);
iso_range iso_range_unite(iso_range a, iso_range b);

/* Over a table, over two, or joined with rows first..last (from 1) of one. */
iso_range iso_range_of(const iso_paper *paper, int table, iso_row_fn figure);
iso_range iso_range_of_two(const iso_paper *paper, int table, int other, iso_row_fn figure);
iso_range iso_range_join_rows(iso_range range, const iso_paper *paper, int table, int first,
                              int last, iso_row_fn figure);

/* How much larger the largest is than the smallest, per cent. */
double iso_range_percent(iso_range range);

/* "2.00", or "1.13 to 1.26" where two decimals tell them apart; then the suffix. */
void iso_range_append(iso_str *out, iso_range range, const char *suffix);

/* By value, for expressions. The shapes of the tables are all countable. */
iso_paper_recounted iso_row_recount(const iso_paper_row *row);
iso_counts iso_row_count(const iso_paper_row *row, iso_convention convention);

/* The row with the smallest BPC. */
const iso_paper_row *iso_table_best(const iso_paper *paper, int table);

#endif
