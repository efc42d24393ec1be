/* plan_figure.h - a plan as a picture: what each activation rate costs in tokens, repeats and
 * memory, and what it is expected to gain.
 *
 * Owns: one self-contained SVG file of four panels, with its own looks, for screen and print. Does
 * not own: the numbers (study/budget.h), axes and marks (svg.h).
 */
#ifndef ISO_REPORT_PLAN_FIGURE_H
#define ISO_REPORT_PLAN_FIGURE_H

#include "study/budget.h"

/* Appends the whole file. */
void iso_plan_figure_draw(iso_str *out, const iso_budget *budget);

#endif
