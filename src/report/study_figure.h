/* study_figure.h - a figure of a study's findings, for a page and as a file of its own.
 *
 * Owns: axes that hold the data, the order of layers, where labels fit. Does not own: colours and
 * dashes (study_legend.h names classes; the page's CSS, or the file's own style, defines them).
 *
 * (I1) every point that is drawn stands in the figure's CSV (study_csv.h); points without a number
 *      are left out of the drawing and stand there as empty cells;
 * (I2) axes hold all points with their intervals; only a fit's band and a span may be cut off.
 */
#ifndef ISO_REPORT_STUDY_FIGURE_H
#define ISO_REPORT_STUDY_FIGURE_H

#include "base/str.h"
#include "study/study_findings.h"

/* Whether there is anything to draw. */
bool iso_study_figure_has_points(const iso_finding_figure *figure);
/* Why there is not, in a sentence. */
const char *iso_study_figure_why_empty(const iso_finding_figure *figure);

/* For the page: heading, legend, the drawing for wide and narrow screens, the caption. `id` is
 * unique in the page. Without points a sentence in the drawing's place. */
void iso_study_figure_html(iso_str *out, const iso_finding_figure *figure, const char *id);
/* A file by itself: dark on white, its own style, title and legend inside; nothing fetched. */
void iso_study_figure_svg(iso_str *out, const iso_finding_figure *figure);

#endif
