/* paper_findings.h - what the paper's own ledger shows, as sentences with computed figures.
 *
 * Owns: what is worth saying, and the figures in it. Does not own: the verdicts of the audit.
 *
 * (I1) every figure in a text is computed from the tables or counted from their shapes; only names
 *      (table and row numbers, equations, what the paper's text claims) are written here.
 */
#ifndef ISO_PAPER_PAPER_FINDINGS_H
#define ISO_PAPER_PAPER_FINDINGS_H

#include "base/str.h"
#include "paper/paper.h"

typedef struct iso_paper_finding {
    const char *group; /* "Learning rate and batch", ... : findings of a group stand together */
    const char *title; /* a short sentence */
    iso_str text;      /* Markdown, one paragraph */
} iso_paper_finding;

typedef struct iso_paper_findings {
    int64_t n;
    iso_paper_finding items[32];
} iso_paper_findings;

/* Release with iso_paper_findings_release. */
void iso_paper_findings_make(iso_paper_findings *out, const iso_paper *paper);
void iso_paper_findings_release(iso_paper_findings *findings);

#endif
