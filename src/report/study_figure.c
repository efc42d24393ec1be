/* Layers from the back: spans, bands, the paper and others' laws, levels, fits, our own points.
 * What was measured is never covered. */
#include "report/study_figure.h"

#include "report/markup.h"
#include "report/page.h"
#include "report/study_labels.h"
#include "report/study_legend.h"
#include "report/study_words.h"
#include "report/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDE_HEIGHT   400.0
#define NARROW_HEIGHT 310.0
#define DODGE_PX      6.0 /* between points that stand at one x */
#define MANY_POINTS   24  /* smaller dots from here on */

/* How far beyond the points a fit's band may stretch the axis, in lengths of the points' range:
 * near the ends of a scan it can be many times as wide as all that is known. */
#define BAND_STRETCH 0.6

/* --- axes --- */

typedef struct range {
    double low, high;
} range;

static void include(range *r, double value, bool is_log) {
    if (!isfinite(value) || (is_log && value <= 0.0)) return;
    r->low = fmin(r->low, value);
    r->high = fmax(r->high, value);
}

/* Of the points themselves, their intervals, levels and curves; not of bands. */
static range core_range_y(const iso_finding_figure *figure) {
    range r = {INFINITY, -INFINITY};
    for (int64_t i = 0; i < figure->n; i++) {
        const iso_series *series = &figure->series[i];
        if (series->kind == ISO_SERIES_SPAN) continue;
        for (int64_t j = 0; j < series->n; j++) {
            const iso_series_point *point = &series->points[j];
            include(&r, point->y, figure->y.is_log);
            if (series->kind == ISO_SERIES_FIT || !isfinite(point->y)) continue;
            include(&r, point->low, figure->y.is_log);
            include(&r, point->high, figure->y.is_log);
        }
    }
    return r;
}

static range range_y(const iso_finding_figure *figure) {
    range core = core_range_y(figure), all = core;
    for (int64_t i = 0; i < figure->n; i++) {
        const iso_series *series = &figure->series[i];
        if (series->kind != ISO_SERIES_FIT) continue;
        for (int64_t j = 0; j < series->n; j++) {
            include(&all, series->points[j].low, figure->y.is_log);
            include(&all, series->points[j].high, figure->y.is_log);
        }
    }
    if (!(core.low < core.high)) return all;
    if (figure->y.is_log) {
        double stretch = pow(core.high / core.low, BAND_STRETCH);
        return (range){fmax(all.low, core.low / stretch), fmin(all.high, core.high * stretch)};
    }
    double stretch = BAND_STRETCH * (core.high - core.low);
    return (range){fmax(all.low, core.low - stretch), fmin(all.high, core.high + stretch)};
}

static range range_x(const iso_finding_figure *figure) {
    range r = {INFINITY, -INFINITY};
    for (int64_t i = 0; i < figure->n; i++) {
        const iso_series *series = &figure->series[i];
        if (series->kind == ISO_SERIES_LEVEL) continue;
        bool is_span = series->kind == ISO_SERIES_SPAN;
        for (int64_t j = 0; j < series->n; j++)
            if (is_span || isfinite(series->points[j].y))
                include(&r, series->points[j].x, figure->x.is_log);
    }
    return r;
}

static iso_axis axis_of(const iso_finding_axis *from, range r, double margin) {
    /* A single value on a logarithmic axis gets half a decade to stand in. */
    if (from->is_log && r.low > 0.0 && r.high / r.low < 1.2) {
        r.low /= 1.5;
        r.high *= 1.5;
    }
    iso_axis axis = iso_axis_over(r.low, r.high, margin, from->is_log);
    if (from->is_percent && r.low >= 0.0) axis.min = fmax(axis.min, 0.0);
    if (from->is_percent && r.low >= 0.0 && r.high <= 1.0) axis.max = fmin(axis.max, 1.02);
    axis.style = from->is_percent ? ISO_AXIS_PERCENT : ISO_AXIS_NUMBER;
    axis.label = from->label;
    axis.unit = from->is_percent ? NULL : from->unit;
    return axis;
}

/* --- points --- */

/* x, y, low and high of a series as lists of their own. */
typedef struct columns {
    double *x, *y, *low, *high;
} columns;

static columns columns_of(const iso_series *series) {
    int64_t n = series->n;
    columns out;
    out.x = calloc((size_t)(4 * n) + 1, sizeof *out.x);
    ISO_ASSERT(out.x);
    out.y = out.x + n;
    out.low = out.y + n;
    out.high = out.low + n;
    for (int64_t i = 0; i < n; i++) {
        out.x[i] = series->points[i].x;
        out.y[i] = series->points[i].y;
        out.low[i] = series->points[i].low;
        out.high[i] = series->points[i].high;
    }
    return out;
}

static bool is_point(const iso_series *series, const iso_series_point *point) {
    if (series->kind == ISO_SERIES_SPAN)
        return isfinite(point->x) || isfinite(point->low) || isfinite(point->high);
    return isfinite(point->y) && (series->kind == ISO_SERIES_LEVEL || isfinite(point->x));
}

bool iso_study_figure_has_points(const iso_finding_figure *figure) {
    for (int64_t i = 0; i < figure->n; i++) {
        /* The paper's points, a law or a level alone are not a figure of this study. */
        if (figure->series[i].kind != ISO_SERIES_MEASURED &&
            figure->series[i].kind != ISO_SERIES_FIT)
            continue;
        for (int64_t j = 0; j < figure->series[i].n; j++)
            if (is_point(&figure->series[i], &figure->series[i].points[j])) return true;
    }
    return false;
}

const char *iso_study_figure_why_empty(const iso_finding_figure *figure) {
    for (int64_t i = 0; i < figure->n; i++)
        if (figure->series[i].kind == ISO_SERIES_MEASURED && figure->series[i].n > 0)
            return "Nothing to draw yet: the runs for this figure have no score so far.";
    return "Nothing to draw yet: none of the runs for this figure has finished.";
}

/* --- one layer each --- */

typedef struct canvas {
    iso_plot *plot;
    const iso_finding_figure *figure;
    const char **classes;
    bool is_joined;
    int64_t n_measured;
} canvas;

static char *class_with(const char *first, const char *second) {
    return iso_strf("%s %s", first, second);
}

static void draw_span(const canvas *c, const iso_series *series, const char *class) {
    char *span = class_with("span", class);
    for (int64_t i = 0; i < series->n; i++) {
        const iso_series_point *point = &series->points[i];
        double low = isfinite(point->low) ? point->low : -INFINITY;
        double high = isfinite(point->high) ? point->high : INFINITY;
        /* An interval that is open at both ends says nothing: there is nothing to shade. */
        if (isfinite(low) || isfinite(high))
            iso_plot_block(c->plot, span, low, high, -INFINITY, INFINITY);
        double x[2] = {point->x, point->x}, y[2] = {c->plot->y.min, c->plot->y.max};
        char *line = class_with(class, "whisker");
        iso_plot_line(c->plot, line, x, y, 2);
        free(line);
    }
    free(span);
}

static void draw_curve_band(const canvas *c, const iso_series *series, const char *class) {
    columns at = columns_of(series);
    /* A band that lacks an edge somewhere is drawn in pieces; it keeps to the axes' positive side.
     */
    for (int64_t from = 0; from < series->n;) {
        int64_t to = from;
        while (to < series->n && isfinite(at.low[to]) && isfinite(at.high[to])) {
            if (c->figure->y.is_log) at.low[to] = fmax(at.low[to], c->plot->y.min * 1e-3);
            to++;
        }
        if (to - from > 1)
            iso_plot_band(c->plot, class, at.x + from, at.low + from, at.high + from, to - from);
        from = to + 1;
    }
    free(at.x);
}

static void draw_level_band(const canvas *c, const iso_series *series, const char *class) {
    char *band = class_with("band", class);
    for (int64_t i = 0; i < series->n; i++)
        if (isfinite(series->points[i].low) && isfinite(series->points[i].high))
            iso_plot_block(c->plot, band, -INFINITY, INFINITY, series->points[i].low,
                           series->points[i].high);
    free(band);
}

static void draw_level(const canvas *c, const iso_series *series, const char *class) {
    double x[2] = {c->plot->x.min, c->plot->x.max};
    for (int64_t i = 0; i < series->n; i++) {
        double y[2] = {series->points[i].y, series->points[i].y};
        iso_plot_line(c->plot, class, x, y, 2);
    }
}

static char *tooltip_of(const canvas *c, const iso_series *series, const iso_series_point *point) {
    char x[ISO_NUMBER_BYTES], y[ISO_NUMBER_BYTES];
    iso_str out = {0};
    iso_str_append(&out, series->name);
    if (point->label) iso_str_appendf(&out, ", %s", point->label);
    iso_finding_value(x, point->x, NAN, NAN, c->figure->x.is_percent);
    iso_finding_value(y, point->y, point->low, point->high, c->figure->y.is_percent);
    iso_str_appendf(&out, "\n%s: %s\n%s: %s", c->figure->x.label, x, c->figure->y.label, y);
    if (isfinite(point->low) || isfinite(point->high)) {
        iso_str_append(&out, " (95\xc2\xa0%: ");
        iso_finding_interval(&out, point->y, point->low, point->high, c->figure->y.is_percent);
        iso_str_append(&out, ")");
    }
    if (point->n_seeds > 0) {
        iso_str_append(&out, "\n");
        iso_finding_count(&out, point->n_seeds, "seed");
    }
    return out.data;
}

/* Whether another measured series has a point that nearly hides this one's. */
static bool is_shared(const canvas *c, int64_t i_series, double x) {
    for (int64_t i = 0; i < c->figure->n; i++) {
        const iso_series *other = &c->figure->series[i];
        if (i == i_series || other->kind != ISO_SERIES_MEASURED) continue;
        for (int64_t j = 0; j < other->n; j++)
            if (fabs(iso_plot_x(c->plot, other->points[j].x) - iso_plot_x(c->plot, x)) < 3.0)
                return true;
    }
    return false;
}

/* The x that is `px` pixels to the right. */
static double moved(const iso_plot *plot, double x, double px) {
    double part = px / (plot->right - plot->left);
    if (plot->x.is_log) return x * pow(plot->x.max / plot->x.min, part);
    return x + part * (plot->x.max - plot->x.min);
}

/* Points of several series at one x stand side by side, in the series' order. */
static double dodge(const canvas *c, int64_t i_series, double x) {
    int64_t rank = 0;
    if (!is_shared(c, i_series, x)) return x;
    for (int64_t i = 0; i < i_series; i++) rank += c->figure->series[i].kind == ISO_SERIES_MEASURED;
    double px = DODGE_PX * ((double)rank - 0.5 * (double)(c->n_measured - 1));
    return moved(c->plot, x, px);
}

/* A curve, or what joins the points of a measured series where they are drawn. */
static void draw_line(const canvas *c, int64_t i_series, const char *class) {
    const iso_series *series = &c->figure->series[i_series];
    columns at = columns_of(series);
    for (int64_t i = 0; i < series->n && series->kind == ISO_SERIES_MEASURED; i++)
        at.x[i] = dodge(c, i_series, at.x[i]);
    iso_plot_line(c->plot, class, at.x, at.y, series->n);
    free(at.x);
}

static void draw_points(const canvas *c, int64_t i_series) {
    const iso_series *series = &c->figure->series[i_series];
    const char *class = c->classes[i_series];
    bool is_ghost = series->kind == ISO_SERIES_GHOST;
    double r = is_ghost ? 3.0 : series->n > MANY_POINTS ? 3.2 : 4.6;
    for (int64_t i = 0; i < series->n; i++) {
        const iso_series_point *point = &series->points[i];
        if (!is_point(series, point)) continue;
        double x = is_ghost ? point->x : dodge(c, i_series, point->x);
        if (isfinite(point->low) && isfinite(point->high) && !is_ghost)
            iso_plot_whisker(c->plot, class, x, point->low, point->high);
        char *tooltip = tooltip_of(c, series, point);
        iso_plot_dot(c->plot, class, x, point->y, r, tooltip);
        free(tooltip);
    }
}

/* What is known of single points: a side's name, a scheme. The paper's keep theirs to tooltips. */
static void draw_labels(const canvas *c) {
    int64_t n = 0, n_spots = 0;
    for (int64_t i = 0; i < c->figure->n; i++) n += c->figure->series[i].n;
    iso_label_spot *spots = calloc((size_t)n + 1, sizeof *spots);
    ISO_ASSERT(spots);
    for (int64_t i = 0; i < c->figure->n; i++) {
        const iso_series *series = &c->figure->series[i];
        if (series->kind != ISO_SERIES_MEASURED) continue;
        for (int64_t j = 0; j < series->n; j++) {
            const iso_series_point *point = &series->points[j];
            double y = iso_plot_y(c->plot, point->y);
            bool has_interval = isfinite(point->low) && isfinite(point->high);
            if (!is_point(series, point) || !isfinite(y)) continue;
            spots[n_spots++] = (iso_label_spot){
                .x = iso_plot_x(c->plot, dodge(c, i, point->x)),
                .y = y,
                .low = has_interval ? iso_plot_y(c->plot, point->low) : y,
                .high = has_interval ? iso_plot_y(c->plot, point->high) : y,
                .text = point->label,
            };
        }
    }
    iso_study_labels_draw(c->plot, spots, n_spots);
    free(spots);
}

static void draw_zero(const canvas *c) {
    const iso_axis *y = &c->plot->y;
    double xs[2] = {c->plot->x.min, c->plot->x.max}, zeros[2] = {0.0, 0.0};
    if (!y->is_log && y->min < 0.0 && y->max > 0.0) iso_plot_line(c->plot, "zero", xs, zeros, 2);
}

static void draw_kind(const canvas *c, iso_series_kind kind, bool bands) {
    for (int64_t i = 0; i < c->figure->n; i++) {
        const iso_series *series = &c->figure->series[i];
        const char *class = c->classes[i];
        if (series->kind != kind) continue;
        if (kind == ISO_SERIES_SPAN) draw_span(c, series, class);
        if (kind == ISO_SERIES_FIT && bands) draw_curve_band(c, series, class);
        if (kind == ISO_SERIES_LAW && bands) draw_curve_band(c, series, class);
        if (kind == ISO_SERIES_LEVEL && bands) draw_level_band(c, series, class);
        if (kind == ISO_SERIES_LEVEL && !bands) draw_level(c, series, class);
        if ((kind == ISO_SERIES_FIT || kind == ISO_SERIES_LAW) && !bands) draw_line(c, i, class);
        if (kind == ISO_SERIES_GHOST) {
            draw_line(c, i, class);
            draw_points(c, i);
        }
        if (kind == ISO_SERIES_MEASURED) {
            char *thin = class_with(class, "thin");
            if (c->is_joined) draw_line(c, i, thin);
            free(thin);
            draw_points(c, i);
        }
    }
}

static void draw_figure(iso_str *out, const void *ctx, const char *id, double width,
                        double height) {
    const iso_finding_figure *figure = ctx;
    iso_axis x = axis_of(&figure->x, range_x(figure), 0.05);
    iso_axis y = axis_of(&figure->y, range_y(figure), 0.06);
    iso_plot plot;
    iso_plot_open(&plot, out, id, figure->title, figure->caption ? figure->caption : "", width,
                  height, x, y);
    canvas c = {.plot = &plot,
                .figure = figure,
                .classes = iso_series_classes(figure),
                .is_joined = iso_series_is_joined(figure)};
    for (int64_t i = 0; i < figure->n; i++)
        c.n_measured += figure->series[i].kind == ISO_SERIES_MEASURED;
    draw_kind(&c, ISO_SERIES_SPAN, true);
    draw_kind(&c, ISO_SERIES_LEVEL, true);
    draw_kind(&c, ISO_SERIES_LAW, true);
    draw_kind(&c, ISO_SERIES_FIT, true);
    draw_zero(&c);
    draw_kind(&c, ISO_SERIES_GHOST, false);
    draw_kind(&c, ISO_SERIES_LAW, false);
    draw_kind(&c, ISO_SERIES_LEVEL, false);
    draw_kind(&c, ISO_SERIES_FIT, false);
    draw_kind(&c, ISO_SERIES_MEASURED, false);
    draw_labels(&c);
    free(c.classes);
    iso_plot_close(&plot);
}

/* --- on a page --- */

void iso_study_figure_html(iso_str *out, const iso_finding_figure *figure, const char *id) {
    const char *caption = figure->caption ? figure->caption : "";
    if (!iso_study_figure_has_points(figure)) {
        iso_str_append(out, "<figure>\n<h3>");
        iso_markup_text(out, figure->title);
        iso_str_append(out, "</h3>\n<p class=\"empty\">");
        iso_markup_text(out, iso_study_figure_why_empty(figure));
        iso_str_append(out, "</p>\n<figcaption>");
        iso_markup_text(out, caption);
        iso_str_append(out, "</figcaption>\n</figure>\n");
        return;
    }
    iso_str legend = {0};
    iso_study_legend_html(&legend, figure);
    iso_page_figure(out, id, figure->title, caption, legend.data, draw_figure, figure, WIDE_HEIGHT,
                    NARROW_HEIGHT);
    iso_str_release(&legend);
}

/* --- as a file --- */

#define FILE_WIDTH  760.0
#define FILE_MARGIN 20.0
#define PLOT_HEIGHT 430.0
#define TITLE_PX    17.0
#define TITLE_ROW   23.0
#define TITLE_CHARS 74 /* in a row of the title */

/* Plain colours: what turns an SVG into print seldom knows variables. The same hues and dashes as
 * the page's (page.c) on white. */
static const char file_style[] =
    "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
    "fill:#1a1c1f}text.small{fill:#565b63}text.head{font-size:17px;font-weight:600}"
    "text.label{font-size:11px;fill:#565b63;paint-order:stroke;stroke:#fff;stroke-width:3px;"
    "stroke-linejoin:round}"
    ".paper{fill:#fff}.grid{stroke:#d5d8dd;fill:none}.axis,.tick{stroke:#565b63;fill:none}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.line.thin{stroke-width:1.2}"
    ".dot{stroke:#fff;stroke-width:1}"
    ".band{fill-opacity:.16;stroke:none}.span{fill-opacity:.1;stroke:none}"
    ".line.zero{stroke:#565b63;stroke-width:1}"
    ".line.s0{stroke:#1a1c1f;stroke-dasharray:7 4}.line.alt{stroke-dasharray:2 4}"
    ".line.third{stroke-dasharray:12 3 2 3}"
    ".line.s1{stroke:#0067a5}.line.s2{stroke:#c44e00;stroke-dasharray:9 2}"
    ".line.s3{stroke:#007a58;stroke-dasharray:4 2}"
    ".line.s4{stroke:#a33d80;stroke-dasharray:10 3 2 3}"
    ".line.s5{stroke:#8a6500;stroke-dasharray:2 2}"
    ".line.s6{stroke:#4a5fc1;stroke-dasharray:12 2 2 2 2 2}"
    ".line.whisker{stroke-width:1.6;stroke-dasharray:none}"
    ".dot.s0,.band.s0,.span.s0{fill:#1a1c1f}.dot.s1,.band.s1,.span.s1{fill:#0067a5}"
    ".dot.s2,.band.s2,.span.s2{fill:#c44e00}.dot.s3,.band.s3,.span.s3{fill:#007a58}"
    ".dot.s4,.band.s4,.span.s4{fill:#a33d80}.dot.s5,.band.s5,.span.s5{fill:#8a6500}"
    ".dot.s6,.band.s6,.span.s6{fill:#4a5fc1}"
    ".dot.s0.alt{fill:#fff;stroke:#1a1c1f;stroke-width:1.6}"
    ".line.ghost{stroke:#a9afb8;stroke-width:1.3}"
    ".dot.ghost{fill:#fff;stroke:#a9afb8;stroke-width:1.3}"
    ".line.law{stroke:#7a5b9a;stroke-width:1.6;stroke-dasharray:1 4;stroke-linecap:round}"
    ".line.law.alt{stroke-dasharray:5 4}.line.law.third{stroke-dasharray:8 3 1 3}"
    ".band.law{fill:#7a5b9a}";

/* Words into rows of at most TITLE_CHARS characters; out = NULL only counts. */
static int append_title(iso_str *out, const char *title, double y) {
    int n_rows = 0;
    while (*title) {
        size_t n = 0, best = 0, chars = 0;
        for (; title[n] && chars <= TITLE_CHARS; n++) {
            if (title[n] == ' ') best = n;
            chars += ((unsigned char)title[n] & 0xc0) != 0x80;
        }
        if (title[n] && best > 0) n = best;
        /* A word longer than a row is cut, though not within a character. */
        while (title[n] && ((unsigned char)title[n] & 0xc0) == 0x80) n++;
        char *row = iso_strf("%.*s", (int)n, title);
        if (out)
            iso_svg_text(out, "head", FILE_MARGIN, y + TITLE_PX + n_rows * TITLE_ROW, "start", row);
        free(row);
        n_rows++;
        title += n;
        while (*title == ' ') title++;
    }
    return n_rows;
}

static void append_file_open(iso_str *out, const iso_finding_figure *figure, double height) {
    iso_str_appendf(out,
                    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                    "width=\"%.0f\" height=\"%.0f\" role=\"img\" aria-labelledby=\"figure-t "
                    "figure-d\">\n<title id=\"figure-t\">",
                    FILE_WIDTH, height, FILE_WIDTH, height);
    iso_markup_text(out, figure->title);
    iso_str_append(out, "</title>\n<desc id=\"figure-d\">");
    iso_markup_text(out, figure->caption ? figure->caption : "");
    iso_str_appendf(out,
                    "</desc>\n<style>%s</style>\n"
                    "<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n",
                    file_style);
}

void iso_study_figure_svg(iso_str *out, const iso_finding_figure *figure) {
    double width = FILE_WIDTH - 2.0 * FILE_MARGIN;
    double legend_y = FILE_MARGIN + append_title(NULL, figure->title, 0.0) * TITLE_ROW + 6.0;
    double plot_y = legend_y + 10.0;
    bool is_empty = !iso_study_figure_has_points(figure);
    if (!is_empty) plot_y += iso_study_legend_svg(NULL, figure, 0.0, 0.0, width);
    double height = plot_y + (is_empty ? 40.0 : PLOT_HEIGHT) + FILE_MARGIN;
    append_file_open(out, figure, height);
    append_title(out, figure->title, FILE_MARGIN);
    if (is_empty) {
        iso_svg_text(out, "small", FILE_MARGIN, plot_y + 13.0, "start",
                     iso_study_figure_why_empty(figure));
    } else {
        iso_study_legend_svg(out, figure, FILE_MARGIN, legend_y, width);
        iso_str_appendf(out, "<g transform=\"translate(%.0f %.0f)\">\n", FILE_MARGIN, plot_y);
        draw_figure(out, figure, "plot", width, PLOT_HEIGHT);
        iso_str_append(out, "</g>\n");
    }
    iso_str_append(out, "</svg>\n");
}
