/* Answers of the run index as a table, as CSV, as JSON. */
#include "cli_study.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CELL_CHARS 60

char *study_short_text(const char *text, int64_t n_chars) {
    iso_str out = {0};
    int64_t n = 0;
    size_t end = 0; /* of the last but one character that there is room for */
    iso_str_append(&out, "");
    for (; *text; text++) {
        bool begins = ((unsigned char)*text & 0xC0) != 0x80;
        if (begins && n == n_chars - 1) end = out.len;
        if (begins && n++ == n_chars) {
            out.data[end] = '\0';
            out.len = end;
            iso_str_append(&out, "…");
            return out.data;
        }
        char c = (unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text;
        iso_str_append_bytes(&out, &c, 1);
    }
    return out.data;
}

/* --- JSON --- */

/* Folder names need not be UTF-8, JSON must be: other bytes become question marks. */
static json_t *json_of_text(const char *text) {
    json_t *value = json_string(text);
    if (value) return value;
    char *plain = iso_strf("%s", text);
    for (char *c = plain; *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    value = json_string(plain);
    free(plain);
    return value;
}

static json_t *json_of(const iso_cell *cell) {
    switch (cell->kind) {
    case ISO_CELL_INTEGER:
        return json_integer((json_int_t)cell->integer);
    case ISO_CELL_REAL: {
        json_t *value = json_real(cell->real); /* NULL for an infinity */
        return value ? value : json_null();
    }
    case ISO_CELL_TEXT:
        return json_of_text(cell->text);
    default:
        return json_null();
    }
}

json_t *study_rows_to_json(const iso_rows *rows) {
    json_t *array = json_array();
    for (int64_t i = 0; i < rows->n_rows; i++) {
        json_t *object = json_object();
        for (int64_t j = 0; j < rows->n_columns; j++)
            json_object_set_new(object, rows->columns[j],
                                json_of(&rows->cells[i * rows->n_columns + j]));
        json_array_append_new(array, object);
    }
    return array;
}

/* --- CSV --- */

static void print_csv_text(const char *text, FILE *stream) {
    if (!strpbrk(text, ",\"\n\r")) {
        fputs(text, stream);
        return;
    }
    fputc('"', stream);
    for (; *text; text++) {
        if (*text == '"') fputc('"', stream);
        fputc(*text, stream);
    }
    fputc('"', stream);
}

void study_rows_print_csv(const iso_rows *rows, FILE *stream) {
    for (int64_t j = 0; j < rows->n_columns; j++) {
        if (j > 0) fputc(',', stream);
        print_csv_text(rows->columns[j], stream);
    }
    fputc('\n', stream);
    for (int64_t i = 0; i < rows->n_rows * rows->n_columns; i++) {
        const iso_cell *cell = &rows->cells[i];
        if (cell->kind == ISO_CELL_INTEGER) fprintf(stream, "%" PRId64, cell->integer);
        if (cell->kind == ISO_CELL_REAL) fprintf(stream, "%.17g", cell->real);
        if (cell->kind == ISO_CELL_TEXT) print_csv_text(cell->text, stream);
        fputc((i + 1) % rows->n_columns ? ',' : '\n', stream);
    }
}

/* --- tables --- */

static void add_text(cli_table *table, const char *text) {
    char *shown = study_short_text(text, MAX_CELL_CHARS);
    cli_table_add(table, shown);
    free(shown);
}

void study_rows_print_table(const iso_rows *rows, FILE *stream) {
    cli_table table;
    cli_table_init(&table, (const char *const *)rows->columns, rows->n_columns);
    for (int64_t i = 0; i < rows->n_rows * rows->n_columns; i++) {
        const iso_cell *cell = &rows->cells[i];
        if (cell->kind == ISO_CELL_NULL) cli_table_add(&table, "-");
        if (cell->kind == ISO_CELL_INTEGER) cli_table_addf(&table, "%" PRId64, cell->integer);
        if (cell->kind == ISO_CELL_REAL) cli_table_addf(&table, "%.6g", cell->real);
        if (cell->kind == ISO_CELL_TEXT) add_text(&table, cell->text);
    }
    cli_table_print(&table, stream);
    cli_table_release(&table);
}
