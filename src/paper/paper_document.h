/* paper_document.h - the paper's tables beside what they should be, as one Markdown page.
 *
 * docs/paper.md is this page; a test holds them against each other. The page has a place between
 * its two parts for what this layer cannot know: the audit's verdicts (cli/cmd_paper.c).
 */
#ifndef ISO_PAPER_PAPER_DOCUMENT_H
#define ISO_PAPER_PAPER_DOCUMENT_H

#include "base/str.h"
#include "paper/paper.h"

/* Title, how to read it, errors by column and table, the findings. */
void iso_paper_document_begin(iso_str *out, const iso_paper *paper);
/* Every printed row beside the recomputed figures. */
void iso_paper_document_tables(iso_str *out, const iso_paper *paper);

/* "Dense baselines": what a table is about. */
const char *iso_paper_table_title(int table);

#endif
