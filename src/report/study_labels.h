/* study_labels.h - words beside the points of a plot, where there is room for them.
 *
 * (I1) a label covers no point, no other label, and stays within the plot: where that is not
 *      possible it is left out. Tooltips and data have all of them.
 */
#ifndef ISO_REPORT_STUDY_LABELS_H
#define ISO_REPORT_STUDY_LABELS_H

#include "report/svg.h"

typedef struct iso_label_spot {
    double x, y;      /* of the point, in the drawing's units */
    double low, high; /* its whisker's ends, there too; y without one */
    const char *text; /* NULL: a point without a label, which others must not cover */
} iso_label_spot;

/* Draws the labels of class "label"; none if they would crowd the plot. */
void iso_study_labels_draw(iso_plot *plot, const iso_label_spot *spots, int64_t n);

#endif
