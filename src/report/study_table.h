/* study_table.h - a table of a study's findings on a page. */
#ifndef ISO_REPORT_STUDY_TABLE_H
#define ISO_REPORT_STUDY_TABLE_H

#include "base/number.h"
#include "base/str.h"
#include "study/study_findings.h"

/* What a cell shows: its text, or its number with the column's digits. Returns the text itself or
 * `buffer` (ISO_NUMBER_BYTES). */
const char *iso_finding_cell_text(char *buffer, const iso_finding_column *column,
                                  const iso_finding_cell *cell);

/* Heading, caption, the table; the best cells set off. Columns with any text are aligned left.
 * Without rows a sentence. `id` is unique in the page. */
void iso_study_table_html(iso_str *out, const iso_finding_table *table, const char *id);

#endif
