#include "report/study_table.h"

#include "report/markup.h"
#include "report/page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *iso_finding_cell_text(char *buffer, const iso_finding_column *column,
                                  const iso_finding_cell *cell) {
    if (cell->text) return cell->text;
    int digits = column->digits;
    if (column->is_percent) return iso_number_percent(buffer, cell->value, digits < 0 ? 0 : digits);
    double size = fabs(cell->value);
    /* Whole numbers as far as they are ones; what doesn't fit its digits in powers of ten. */
    if (digits < 0 && size < 1e9 && cell->value == floor(cell->value))
        return iso_number_grouped(buffer, (int64_t)cell->value);
    if (digits < 0 || size >= 1e7) return iso_number_power(buffer, cell->value);
    return iso_number_fixed(buffer, cell->value, digits);
}

/* --- columns --- */

#define SHORT_CHARS 22 /* up to here a column's words stay on one line */
#define NAME_CHARS  30 /* so do names of rows */
#define LONG_CHARS  48 /* from here on it gets more room */

/* The classes of a column's cells; NULL: numbers. */
static const char *class_of_column(const iso_finding_table *table, int64_t i_column) {
    size_t longest = 0;
    /* The first one names the row, be it by a number. */
    bool is_words = i_column == 0;
    for (int64_t i = 0; i < table->n_rows; i++) {
        const char *text = table->cells[i * table->n_columns + i_column].text;
        if (!text) continue;
        is_words = is_words || table->columns[i_column].digits < 0;
        if (strlen(text) > longest) longest = strlen(text);
    }
    if (!is_words) return NULL;
    size_t one_line = i_column == 0 ? NAME_CHARS : SHORT_CHARS;
    return longest <= one_line ? "words short" : longest >= LONG_CHARS ? "words long" : "words";
}

static const char **classes_of(const iso_finding_table *table) {
    const char **classes = calloc((size_t)table->n_columns + 1, sizeof *classes);
    ISO_ASSERT(classes);
    for (int64_t i = 0; i < table->n_columns; i++) classes[i] = class_of_column(table, i);
    return classes;
}

/* --- rows --- */

static void append_row(iso_str *out, const iso_finding_table *table, const char **classes,
                       int64_t i_row) {
    char buffer[ISO_NUMBER_BYTES];
    iso_str_append(out, "<tr>");
    for (int64_t i = 0; i < table->n_columns; i++) {
        const iso_finding_cell *cell = &table->cells[i_row * table->n_columns + i];
        const char *class = classes[i] ? classes[i] : "";
        iso_str_append(out, i == 0 ? "<th scope=\"row\"" : "<td");
        if (*class || cell->is_best)
            iso_str_appendf(out, " class=\"%s%s%s\"", class, *class && cell->is_best ? " " : "",
                            cell->is_best ? "best" : "");
        iso_str_append(out, ">");
        iso_markup_text(out, iso_finding_cell_text(buffer, &table->columns[i], cell));
        iso_str_append(out, i == 0 ? "</th>" : "</td>");
    }
    iso_str_append(out, "</tr>\n");
}

static void append_heading(iso_str *out, const iso_finding_table *table) {
    iso_str_append(out, "<h3>");
    iso_markup_text(out, table->title);
    iso_str_append(out, "</h3>\n");
}

void iso_study_table_html(iso_str *out, const iso_finding_table *table, const char *id) {
    append_heading(out, table);
    if (table->n_rows == 0) {
        iso_str_append(out, "<p class=\"empty\">No row yet: none of the runs for this table has "
                            "finished.</p>\n");
        if (table->caption) iso_page_text(out, "soft", table->caption);
        return;
    }
    const char **classes = classes_of(table);
    iso_page_column *columns = calloc((size_t)table->n_columns + 1, sizeof *columns);
    ISO_ASSERT(columns);
    for (int64_t i = 0; i < table->n_columns; i++)
        columns[i] = (iso_page_column){table->columns[i].label,
                                       table->columns[i].is_percent ? NULL : table->columns[i].unit,
                                       classes[i] != NULL};
    iso_page_table_columns(out, id, table->caption ? table->caption : "", columns,
                           table->n_columns);
    for (int64_t i = 0; i < table->n_rows; i++) append_row(out, table, classes, i);
    iso_page_table_close(out);
    free(columns);
    free(classes);
}
