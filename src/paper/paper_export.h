/* paper_export.h - the recomputed tables for programs. */
#ifndef ISO_PAPER_PAPER_EXPORT_H
#define ISO_PAPER_PAPER_EXPORT_H

#include "base/json.h"
#include "base/str.h"
#include "paper/paper.h"

/* {"tables": [{"table", "title", "columns": {name: {n, n_exact, max_error, max_beyond_rounding}},
 * "rows": [...]}], "findings": [...]}; docs/formats.md. The caller owns it. */
json_t *iso_paper_to_json(const iso_paper *paper);

/* A line per printed row: shape, run, and for each column the printed text, the recomputed figure
 * and the error as a share. */
void iso_paper_to_csv(iso_str *out, const iso_paper *paper);

#endif
