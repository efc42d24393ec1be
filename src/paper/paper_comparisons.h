/* paper_comparisons.h - which dense model the paper holds each of its MoE scans against.
 */
#ifndef ISO_PAPER_PAPER_COMPARISONS_H
#define ISO_PAPER_PAPER_COMPARISONS_H

#include "base/str.h"
#include "paper/paper.h"

typedef struct iso_paper_comparison {
    const char *name;   /* "2b-unique" */
    const char *title;  /* "2B, unique data" */
    int table;          /* of the MoEs */
    int dense_row;      /* of Table 14: about the same C; the row after it has about twice */
    const char *claims; /* the kind of equality that the paper claims: an audit's verdict */
} iso_paper_comparison;

#define ISO_PAPER_N_COMPARISONS 6
extern const iso_paper_comparison iso_paper_comparisons[ISO_PAPER_N_COMPARISONS];

/* A Markdown table: the best MoE of each comparison, the gap to the dense models. */
void iso_paper_results_append(iso_str *out, const iso_paper *paper);

/* All six as a table of runs for `isomoe audit --table` (docs/formats.md). */
void iso_paper_comparisons_to_csv(iso_str *out, const iso_paper *paper);

#endif
