#include "report/study_table.h"

#include "report/markup.h"
#include "report/page.h"

#include <math.h>
#include <stdlib.h>

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

static bool *columns_of_words(const iso_finding_table *table) {
    bool *is_words = calloc((size_t)table->n_columns + 1, sizeof *is_words);
    ISO_ASSERT(is_words);
    for (int64_t i = 0; i < table->n_rows * table->n_columns; i++)
        if (table->cells[i].text && table->columns[i % table->n_columns].digits < 0)
            is_words[i % table->n_columns] = true;
    /* The first one names the row. */
    if (table->n_columns > 0) is_words[0] = true;
    return is_words;
}

static void append_row(iso_str *out, const iso_finding_table *table, const bool *is_words,
                       int64_t i_row) {
    char buffer[ISO_NUMBER_BYTES];
    iso_str_append(out, "<tr>");
    for (int64_t i = 0; i < table->n_columns; i++) {
        const iso_finding_cell *cell = &table->cells[i_row * table->n_columns + i];
        const char *class = is_words[i]
                                ? (cell->is_best ? " class=\"words best\"" : " class=\"words\"")
                            : cell->is_best ? " class=\"best\""
                                            : "";
        iso_str_appendf(out, i == 0 ? "<th scope=\"row\"%s>" : "<td%s>", class);
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
    bool *is_words = columns_of_words(table);
    iso_page_column *columns = calloc((size_t)table->n_columns + 1, sizeof *columns);
    ISO_ASSERT(columns);
    for (int64_t i = 0; i < table->n_columns; i++)
        columns[i] = (iso_page_column){table->columns[i].label,
                                       table->columns[i].is_percent ? NULL : table->columns[i].unit,
                                       is_words[i]};
    iso_page_table_columns(out, id, table->caption ? table->caption : "", columns,
                           table->n_columns);
    for (int64_t i = 0; i < table->n_rows; i++) append_row(out, table, is_words, i);
    iso_page_table_close(out);
    free(columns);
    free(is_words);
}
