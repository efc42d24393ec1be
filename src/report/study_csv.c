#include "report/study_csv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In quotes where it must be: also where a reader would drop blanks around it or take it for a
 * comment (base/csv.h). Control characters become blanks: no reader wants them. */
static void append_text(iso_str *out, const char *text) {
    if (!text) return;
    size_t n = strlen(text);
    bool is_plain = strcspn(text, ",\"\r\n") == n && text[0] != '#' && text[0] != ' ' &&
                    (n == 0 || text[n - 1] != ' ');
    if (!is_plain) iso_str_append(out, "\"");
    for (const char *at = text; *at; at++) {
        if (*at == '"') iso_str_append(out, "\"");
        iso_str_append_bytes(out, (unsigned char)*at < 0x20 || *at == 0x7f ? " " : at, 1);
    }
    if (!is_plain) iso_str_append(out, "\"");
}

/* The fewest digits that read back to the same double. */
static void append_number(iso_str *out, double value) {
    char text[32];
    if (isnan(value)) return;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    iso_str_append(out, text);
}

/* "activation rate (fraction)", "loss (bits per character)". */
static void append_heading(iso_str *out, const char *label, const char *unit, bool is_percent) {
    iso_str heading = {0};
    iso_str_append(&heading, label ? label : "");
    if (is_percent)
        iso_str_append(&heading, " (fraction)");
    else if (unit)
        iso_str_appendf(&heading, " (%s)", unit);
    append_text(out, heading.data);
    iso_str_release(&heading);
}

static void append_point(iso_str *out, const iso_series *series, const iso_series_point *point) {
    append_text(out, series->name);
    iso_str_appendf(out, ",%s,", iso_series_kind_name(series->kind));
    if (series->kind != ISO_SERIES_LEVEL) append_number(out, point->x);
    iso_str_append(out, ",");
    if (series->kind != ISO_SERIES_SPAN) append_number(out, point->y);
    iso_str_append(out, ",");
    append_number(out, point->low);
    iso_str_append(out, ",");
    append_number(out, point->high);
    iso_str_append(out, ",");
    if (point->n_seeds > 0) iso_str_appendf(out, "%lld", (long long)point->n_seeds);
    iso_str_append(out, ",");
    append_text(out, point->label);
    iso_str_append(out, "\n");
}

void iso_study_figure_csv(iso_str *out, const iso_finding_figure *figure) {
    iso_str_append(out, "series,kind,");
    append_heading(out, figure->x.label, figure->x.unit, figure->x.is_percent);
    iso_str_append(out, ",");
    append_heading(out, figure->y.label, figure->y.unit, figure->y.is_percent);
    iso_str_append(out, ",low (95 %),high (95 %),seeds,label\n");
    for (int64_t i = 0; i < figure->n; i++)
        for (int64_t j = 0; j < figure->series[i].n; j++)
            append_point(out, &figure->series[i], &figure->series[i].points[j]);
}

static bool has_best(const iso_finding_table *table) {
    for (int64_t i = 0; i < table->n_rows * table->n_columns; i++)
        if (table->cells[i].is_best) return true;
    return false;
}

/* The labels of a row's cells that are set off. */
static void append_best(iso_str *out, const iso_finding_table *table, int64_t i_row) {
    iso_str labels = {0};
    iso_str_append(&labels, "");
    for (int64_t i = 0; i < table->n_columns; i++) {
        if (!table->cells[i_row * table->n_columns + i].is_best) continue;
        const char *label = table->columns[i].label;
        iso_str_appendf(&labels, "%s%s", labels.len ? "; " : "", label ? label : "");
    }
    append_text(out, labels.data);
    iso_str_release(&labels);
}

void iso_study_table_csv(iso_str *out, const iso_finding_table *table) {
    bool with_best = has_best(table);
    for (int64_t i = 0; i < table->n_columns; i++) {
        const iso_finding_column *column = &table->columns[i];
        if (i > 0) iso_str_append(out, ",");
        append_heading(out, column->label, column->unit, column->is_percent);
    }
    iso_str_append(out, with_best ? ",best\n" : "\n");
    for (int64_t row = 0; row < table->n_rows; row++) {
        for (int64_t i = 0; i < table->n_columns; i++) {
            const iso_finding_cell *cell = &table->cells[row * table->n_columns + i];
            if (i > 0) iso_str_append(out, ",");
            if (cell->text)
                append_text(out, cell->text);
            else
                append_number(out, cell->value);
        }
        if (with_best) {
            iso_str_append(out, ",");
            append_best(out, table, row);
        }
        iso_str_append(out, "\n");
    }
}
