#include "paper/row_ranges.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

iso_range iso_range_empty(void) {
    return (iso_range){DBL_MAX, -DBL_MAX};
}

iso_range iso_range_join(iso_range range, double value) {
    return (iso_range){fmin(range.min, value), fmax(range.max, value)};
}

iso_range iso_range_unite(iso_range a, iso_range b) {
    return (iso_range){fmin(a.min, b.min), fmax(a.max, b.max)};
}

iso_range iso_range_join_rows(iso_range range, const iso_paper *paper, int table, int first,
                              int last, iso_row_fn figure) {
    for (int i = first; i <= last; i++)
        range = iso_range_join(range, figure(iso_paper_row_at(paper, table, i)));
    return range;
}

iso_range iso_range_of(const iso_paper *paper, int table, iso_row_fn figure) {
    int64_t n_rows;
    iso_paper_table(paper, table, &n_rows);
    return iso_range_join_rows(iso_range_empty(), paper, table, 1, (int)n_rows, figure);
}

iso_range iso_range_of_two(const iso_paper *paper, int table, int other, iso_row_fn figure) {
    return iso_range_unite(iso_range_of(paper, table, figure), iso_range_of(paper, other, figure));
}

double iso_range_percent(iso_range range) {
    return 100 * (range.max / range.min - 1);
}

void iso_range_append(iso_str *out, iso_range range, const char *suffix) {
    char *low = iso_strf("%.2f", range.min), *high = iso_strf("%.2f", range.max);
    if (strcmp(low, high) == 0)
        iso_str_appendf(out, "%s%s", low, suffix);
    else
        iso_str_appendf(out, "%s to %s%s", low, high, suffix);
    free(high);
    free(low);
}

iso_paper_recounted iso_row_recount(const iso_paper_row *row) {
    iso_paper_recounted recounted;
    iso_paper_recount(&recounted, row);
    return recounted;
}

iso_counts iso_row_count(const iso_paper_row *row, iso_convention convention) {
    iso_counts counts;
    ISO_ASSERT(iso_count(&counts, &row->shape, convention) == ISO_OK);
    return counts;
}

const iso_paper_row *iso_table_best(const iso_paper *paper, int table) {
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, table, &n_rows), *found = rows;
    for (int64_t i = 1; i < n_rows; i++)
        if (rows[i].bpc.value < found->bpc.value) found = &rows[i];
    return found;
}
