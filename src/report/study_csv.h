/* study_csv.h - what figures and tables show, as comma-separated values (RFC 4180).
 *
 * Columns: docs/formats.md, "Study report". Numbers read back to the same double, fractions stay
 * fractions; what is not known is an empty cell, an open end of an interval is "inf" or "-inf".
 */
#ifndef ISO_REPORT_STUDY_CSV_H
#define ISO_REPORT_STUDY_CSV_H

#include "base/str.h"
#include "study/study_findings.h"

/* Appends the header line and a line for each point of each series. */
void iso_study_figure_csv(iso_str *out, const iso_finding_figure *figure);
/* Appends the header line and a line for each row. */
void iso_study_table_csv(iso_str *out, const iso_finding_table *table);

#endif
