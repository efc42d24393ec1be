/* svg.h - plots as inline SVG: axes with sensible ticks, lines, bands, points, heat strips.
 *
 * Owns: geometry, ticks, the marks. Does not own: colours and line styles (classes, which the
 * page's CSS defines, so that light, dark and print each have theirs), what is plotted (figures.h).
 *
 * A plot is opened with its axes, drawn on in data units, and closed:
 *     iso_plot plot;
 *     iso_plot_open(&plot, out, "gap", "Title", "What is to be seen", 720, 400, x, y);
 *     iso_plot_line(&plot, "s1", xs, ys, n);
 *     iso_plot_close(&plot);
 *
 * (I1) marks are clipped to the plot's area; NaN and infinite points are left out and break a line;
 * (I2) every plot has a title and a description for those who cannot see it.
 */
#ifndef ISO_REPORT_SVG_H
#define ISO_REPORT_SVG_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum iso_axis_style {
    ISO_AXIS_NUMBER,  /* 0.5, 1, 1.5; large values in powers of ten, named in the axis label */
    ISO_AXIS_PERCENT, /* 0.2 -> 20 % */
} iso_axis_style;

typedef struct iso_axis {
    double min, max; /* min < max; both positive if logarithmic */
    bool is_log;
    iso_axis_style style;
    const char *label; /* what: "training compute" */
    const char *unit;  /* "FLOPs"; NULL for none */
} iso_axis;

/* An axis that just holds [low, high] with a margin of `margin` of its length on both sides; a
 * degenerate or unknown range is widened to something drawable. */
iso_axis iso_axis_over(double low, double high, double margin, bool is_log);

/* Tick positions, ascending, within the axis, about `wanted` of them: multiples of 1, 2 or 5 times
 * a power of ten; on a logarithmic axis decades, or 1-2-5, or finer where it is short. Returns how
 * many, at most ISO_TICKS_MAX. *step is their distance on a linear scale (what the labels must
 * resolve), 0 where they are logarithmic. */
#define ISO_TICKS_MAX 24
int iso_axis_ticks(const iso_axis *axis, int wanted, double ticks[ISO_TICKS_MAX], double *step);

typedef struct iso_plot {
    iso_str *out;
    const char *id;
    iso_axis x, y;
    double width, height;            /* of the drawing, in its own units = CSS pixels */
    double left, right, top, bottom; /* of the plot's area */
} iso_plot;

/* `id` is unique in the page, of letters, digits and dashes; title and description are escaped
 * here. Draws grid, ticks and labels. */
void iso_plot_open(iso_plot *plot, iso_str *out, const char *id, const char *title,
                   const char *description, double width, double height, iso_axis x, iso_axis y);
void iso_plot_close(iso_plot *plot);

/* Data to drawing units. */
double iso_plot_x(const iso_plot *plot, double x);
double iso_plot_y(const iso_plot *plot, double y);

/* Each takes a CSS class (or several) for the looks. */
void iso_plot_line(iso_plot *plot, const char *class, const double *x, const double *y, int64_t n);
void iso_plot_band(iso_plot *plot, const char *class, const double *x, const double *low,
                   const double *high, int64_t n);
/* A rectangle in data units; infinite bounds reach the edge of the area. */
void iso_plot_block(iso_plot *plot, const char *class, double x0, double x1, double y0, double y1);
/* A filled circle of r pixels; `tooltip` (may be NULL) is escaped here. */
void iso_plot_dot(iso_plot *plot, const char *class, double x, double y, double r,
                  const char *tooltip);
/* A vertical interval with short caps. */
void iso_plot_whisker(iso_plot *plot, const char *class, double x, double low, double high);
/* Text at a place in data units, moved by dx, dy pixels; anchor is "start", "middle" or "end". */
void iso_plot_text(iso_plot *plot, const char *class, double x, double y, double dx, double dy,
                   const char *anchor, const char *text);

/* A strip of n equal cells, `classes[i]` each, in one row at (x, y) of width x height drawing
 * units; no axes. For use between iso_svg_open and iso_svg_close. */
void iso_svg_open(iso_str *out, const char *id, const char *title, const char *description,
                  double width, double height);
void iso_svg_close(iso_str *out);
void iso_svg_cells(iso_str *out, double x, double y, double width, double height,
                   const char *const *classes, int64_t n);
void iso_svg_text(iso_str *out, const char *class, double x, double y, const char *anchor,
                  const char *text);

#endif
