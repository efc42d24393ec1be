#include "cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void add_owned(cli_table *table, char *cell) {
    if (table->n_cells == table->capacity) {
        table->capacity = table->capacity ? 2 * table->capacity : 32;
        table->cells = realloc(table->cells, (size_t)table->capacity * sizeof *table->cells);
        ISO_ASSERT(table->cells != NULL);
    }
    table->cells[table->n_cells++] = cell;
}

void cli_table_init(cli_table *table, const char *const *headers, int64_t n_columns) {
    *table = (cli_table){.n_columns = n_columns};
    for (int64_t i = 0; i < n_columns; i++) cli_table_add(table, headers[i]);
}

void cli_table_add(cli_table *table, const char *cell) {
    add_owned(table, iso_strf("%s", cell));
}

void cli_table_addf(cli_table *table, const char *format, ...) {
    char cell[256];
    va_list args;
    va_start(args, format);
    vsnprintf(cell, sizeof cell, format, args);
    va_end(args);
    cli_table_add(table, cell);
}

/* Code points: what a terminal shows, as long as nobody uses wide characters. */
static int64_t width_of(const char *text) {
    int64_t width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

/* Digits with at most one point; a unit may follow. "1.2.3" is a version, no number. */
static bool looks_numeric(const char *cell) {
    if (cell[0] == '\0' || strcmp(cell, "-") == 0) return true;
    cell += strspn(cell, "+-");
    const char *point = strchr(cell, '.');
    return *cell >= '0' && *cell <= '9' && !(point && strchr(point + 1, '.'));
}

/* The last column of a row that has something to show: lines end there. */
static int64_t last_column(const cli_table *table, int64_t i_row) {
    int64_t first = i_row * table->n_columns, last = table->n_columns - 1;
    while (first + last >= table->n_cells) last--;
    while (last > 0 && table->cells[first + last][0] == '\0') last--;
    return last;
}

void cli_table_print(const cli_table *table, FILE *stream) {
    int64_t n_columns = table->n_columns;
    int64_t *widths = calloc((size_t)n_columns, sizeof *widths);
    bool *right = calloc((size_t)n_columns, sizeof *right);
    ISO_ASSERT(widths && right);
    for (int64_t i = 0; i < table->n_cells; i++) {
        int64_t column = i % n_columns, width = width_of(table->cells[i]);
        if (width > widths[column]) widths[column] = width;
        if (i < n_columns)
            right[column] = true;
        else
            right[column] = right[column] && looks_numeric(table->cells[i]);
        if (table->figures) right[column] = column > 0;
    }
    for (int64_t i = 0; i < table->n_cells; i++) {
        int64_t column = i % n_columns, width = width_of(table->cells[i]);
        int64_t end = last_column(table, i / n_columns);
        if (column > end) continue;
        bool last = column == end;
        int padding = (int)(widths[column] - width);
        if (i == 0) fputs(cli_styled(stream, CLI_BOLD), stream);
        fprintf(stream, "%s%*s%s%*s", column ? "  " : "", right[column] ? padding : 0, "",
                table->cells[i], right[column] || last ? 0 : padding, "");
        if (last && i < n_columns) fputs(cli_styled(stream, CLI_PLAIN), stream);
        if (last) fputc('\n', stream);
    }
    free(widths);
    free(right);
}

void cli_table_release(cli_table *table) {
    for (int64_t i = 0; i < table->n_cells; i++) free(table->cells[i]);
    free(table->cells);
    *table = (cli_table){0};
}
