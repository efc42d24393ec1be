/* side_blocks.h - a side's scores summed over blocks of text: what evaluation noise is counted in.
 *
 * Blocks are documents; in a domain of fewer than 30, runs of 16 windows inside a document, since
 * neighbouring windows are alike and single ones would claim too much.
 */
#ifndef ISO_STUDY_SIDE_BLOCKS_H
#define ISO_STUDY_SIDE_BLOCKS_H

#include "base/stats.h"
#include "study/sides.h"

/* One domain: bits, as the mean over the side's runs, and characters of each block. */
typedef struct iso_side_blocks {
    int64_t n;
    double *bits, *chars;
} iso_side_blocks;

/* False, with nothing to release, if a run has no such domain or scored another sample than
 * `like`'s first run. */
bool iso_side_blocks_make(iso_side_blocks *out, const iso_side *side, const char *domain,
                          const iso_side *like);
void iso_side_blocks_release(iso_side_blocks *blocks);

/* Whether domain i of an evaluation is part of the headline: the named ones are; the hold-out only
 * where it is alone. */
bool iso_domain_is_headline(const iso_evaluation *evaluation, int64_t i);

#endif
