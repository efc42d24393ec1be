/* csv.h - comma-separated values as a table of cells that know their lines (RFC 4180).
 *
 * Cells may stand in double quotes, a double quote in them written twice; spaces and tabs around a
 * cell that is not quoted are dropped. Lines end in LF or CRLF. Lines without text and lines whose
 * first character is '#' are passed over; so is a byte order mark. What cells mean, and how many a
 * row should have, is the reader's to decide.
 *
 * (I1) every cell is NUL-terminated text without NUL or other control characters, tabs excepted;
 * (I2) a table has at most ISO_CSV_MAX_ROWS rows of ISO_CSV_MAX_CELLS cells: hostile input costs
 *      little.
 */
#ifndef ISO_BASE_CSV_H
#define ISO_BASE_CSV_H

#include "base/status.h"

#include <stdint.h>

#define ISO_CSV_MAX_BYTES (4 << 20)
#define ISO_CSV_MAX_ROWS  10000
#define ISO_CSV_MAX_CELLS 256

typedef struct iso_csv_row {
    int64_t line; /* where it starts, from 1 */
    int64_t n_cells;
    char **cells;
} iso_csv_row;

typedef struct iso_csv {
    int64_t n_rows; /* the header is row 0 */
    iso_csv_row *rows;
    char *text;   /* holds the cells */
    char **cells; /* holds the rows' pointers */
} iso_csv;

/* ISO_ERR_USAGE with `what` (or the path) and the line: quotes that do not close or that end within
 * a cell, control characters, too much of anything. The caller frees *out. */
iso_status iso_csv_load(iso_csv **out, const char *path);
iso_status iso_csv_parse(iso_csv **out, const char *text, int64_t n_bytes, const char *what);
void iso_csv_free(iso_csv *csv);

/* The column of that header, or -1. */
int64_t iso_csv_column(const iso_csv *csv, const char *name);

#endif
