/* study_legend.h - how the series of a figure look, and the legend that says so.
 *
 * Owns: which class each series gets. Dense is black and an MoE coloured throughout, told by the
 * first word of a series' name; a fit and an optimum's span have the colour of what was measured;
 * the paper's points are grey and lighter than any of ours, others' laws dotted.
 */
#ifndef ISO_REPORT_STUDY_LEGEND_H
#define ISO_REPORT_STUDY_LEGEND_H

#include "base/str.h"
#include "study/study_findings.h"

/* A class for each series, static strings; the caller frees the list. */
const char **iso_series_classes(const iso_finding_figure *figure);

/* Whether the points of a measured series are joined by a line: where no fit runs through them. */
bool iso_series_is_joined(const iso_finding_figure *figure);

/* What the legend says: the name, seeds, a level's value, a span's interval. The caller frees it.
 */
char *iso_series_words(const iso_finding_figure *figure, const iso_series *series);

/* As a list for a page. */
void iso_study_legend_html(iso_str *out, const iso_finding_figure *figure);
/* As rows inside a drawing, from (x, y) down, not wider than `width`; returns their height. With
 * out = NULL only the height. */
double iso_study_legend_svg(iso_str *out, const iso_finding_figure *figure, double x, double y,
                            double width);

#endif
