/* One pass over a copy of the text: cells are cut out in place (a cell is never longer than its
 * source, quotes only shrink it), so the whole table is three allocations.
 */
#include "base/csv.h"

#include "base/fileio.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    iso_csv *csv;
    const char *what;
    char *at; /* next byte; a NUL ends the text */
    int64_t line;
    int64_t n_cells; /* so far, of all rows */
} reader;

static iso_status fail_at(const reader *r, const char *message) {
    return iso_fail(ISO_ERR_USAGE, "%s:%" PRId64 ": %s", r->what, r->line, message);
}

static bool is_line_end(char c) {
    return c == '\n' || c == '\r' || c == '\0';
}

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

/* A quoted cell, r->at on its opening quote; ends behind what follows the closing one. */
static iso_status cut_quoted(reader *r, char **out_end) {
    char *to = r->at++;
    for (;;) {
        char c = *r->at;
        if (c == '\0') return fail_at(r, "a double quote is not closed");
        if (c == '\n') return fail_at(r, "a cell goes on in the next line; close its quotes");
        if (c == '"' && r->at[1] != '"') break;
        r->at += c == '"' ? 2 : 1;
        *to++ = c;
    }
    r->at++;
    while (is_space(*r->at)) r->at++;
    if (*r->at != ',' && !is_line_end(*r->at))
        return fail_at(r, "text after a closing double quote; write a quote within a cell twice");
    *out_end = to;
    return ISO_OK;
}

/* Cuts the cell at r->at and stops on the comma or line end behind it, which is `*out_stop`:
 * the NUL that ends the cell may overwrite it. */
static iso_status cut_cell(reader *r, char **out, char *out_stop) {
    while (is_space(*r->at)) r->at++;
    char *start = r->at, *end = start;
    if (*start == '"') {
        ISO_TRY(cut_quoted(r, &end));
    } else {
        while (*r->at != ',' && !is_line_end(*r->at)) r->at++;
        end = r->at;
        while (end > start && is_space(end[-1])) end--;
        if (memchr(start, '"', (size_t)(end - start)))
            return fail_at(r, "a double quote within a cell; put the whole cell in quotes");
    }
    *out_stop = *r->at;
    *end = '\0';
    *out = start;
    return ISO_OK;
}

/* Past the line's end, whose first character was `stop` before a cell's NUL took its place. */
static void next_line(reader *r, char stop) {
    if (stop == '\0') return;
    r->at++;
    if (stop == '\r' && *r->at == '\n') r->at++;
    r->line++;
}

static iso_status read_row(reader *r, char *out_stop) {
    iso_csv *csv = r->csv;
    if (csv->n_rows >= ISO_CSV_MAX_ROWS) return fail_at(r, "too many rows");
    iso_csv_row *row = &csv->rows[csv->n_rows];
    *row = (iso_csv_row){.line = r->line, .cells = csv->cells + r->n_cells};
    for (;;) {
        if (row->n_cells >= ISO_CSV_MAX_CELLS) return fail_at(r, "too many cells in a row");
        ISO_TRY(cut_cell(r, &csv->cells[r->n_cells], out_stop));
        r->n_cells++;
        row->n_cells++;
        if (*out_stop != ',') break;
        r->at++;
    }
    csv->n_rows++;
    return ISO_OK;
}

static iso_status read_rows(reader *r) {
    while (*r->at) {
        char *line = r->at;
        while (is_space(*line)) line++;
        if (*r->at == '#' || is_line_end(*line)) {
            while (!is_line_end(*r->at)) r->at++;
            next_line(r, *r->at);
            continue;
        }
        char stop;
        ISO_TRY(read_row(r, &stop));
        next_line(r, stop);
    }
    if (r->csv->n_rows == 0) return fail_at(r, "a table begins with the names of its columns");
    return ISO_OK;
}

/* (I1), before anything is cut. */
static iso_status check_characters(const char *text, int64_t n_bytes, const char *what) {
    int64_t line = 1;
    for (int64_t i = 0; i < n_bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        line += c == '\n';
        bool is_end = c == '\n' || (c == '\r' && i + 1 < n_bytes && text[i + 1] == '\n');
        if ((c < ' ' && c != '\t' && !is_end) || c == 0x7f)
            return iso_fail(ISO_ERR_USAGE, "%s:%" PRId64 ": a control character (0x%02x)", what,
                            line, c);
    }
    return ISO_OK;
}

/* Room for as many rows as there are lines, and as many cells as commas can part. */
static iso_status csv_create(iso_csv **out, const char *text, int64_t n_bytes, const char *what) {
    size_t n_lines = 1, n_commas = 0;
    for (int64_t i = 0; i < n_bytes; i++) {
        n_lines += text[i] == '\n';
        n_commas += text[i] == ',';
    }
    iso_csv *csv = calloc(1, sizeof *csv);
    if (!csv) return iso_fail(ISO_ERR_MEMORY, "no memory to read %s", what);
    csv->text = malloc((size_t)n_bytes + 1);
    csv->rows = malloc(n_lines * sizeof *csv->rows);
    csv->cells = malloc((n_lines + n_commas) * sizeof *csv->cells);
    if (!csv->text || !csv->rows || !csv->cells) {
        iso_csv_free(csv);
        return iso_fail(ISO_ERR_MEMORY, "no memory to read %s", what);
    }
    memcpy(csv->text, text, (size_t)n_bytes);
    csv->text[n_bytes] = '\0';
    *out = csv;
    return ISO_OK;
}

iso_status iso_csv_parse(iso_csv **out, const char *text, int64_t n_bytes, const char *what) {
    iso_csv *csv = NULL;
    *out = NULL;
    if (n_bytes > ISO_CSV_MAX_BYTES)
        return iso_fail(ISO_ERR_USAGE, "%s: more than %d bytes", what, ISO_CSV_MAX_BYTES);
    ISO_TRY(check_characters(text, n_bytes, what));
    ISO_TRY(csv_create(&csv, text, n_bytes, what));
    reader r = {.csv = csv, .what = what, .at = csv->text, .line = 1};
    if (strncmp(csv->text, "\xef\xbb\xbf", 3) == 0) r.at += 3;
    iso_status status = read_rows(&r);
    if (status == ISO_OK)
        *out = csv;
    else
        iso_csv_free(csv);
    return status;
}

iso_status iso_csv_load(iso_csv **out, const char *path) {
    char *text;
    int64_t n_bytes;
    *out = NULL;
    if (!iso_path_exists(path)) return iso_fail(ISO_ERR_USAGE, "there is no table %s", path);
    ISO_TRY(iso_file_read(&text, &n_bytes, path, ISO_CSV_MAX_BYTES));
    iso_status status = iso_csv_parse(out, text, n_bytes, path);
    free(text);
    return status;
}

void iso_csv_free(iso_csv *csv) {
    if (!csv) return;
    free(csv->rows);
    free(csv->cells);
    free(csv->text);
    free(csv);
}

int64_t iso_csv_column(const iso_csv *csv, const char *name) {
    for (int64_t i = 0; i < csv->rows[0].n_cells; i++)
        if (strcmp(csv->rows[0].cells[i], name) == 0) return i;
    return -1;
}
