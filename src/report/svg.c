#include "report/svg.h"

#include "report/markup.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHARACTER_PX 7.3 /* a digit at the drawing's font size (13 px), on the wide side */
#define LABEL_GAP_PX 8.0

/* --- axes --- */

iso_axis iso_axis_over(double low, double high, double margin, bool is_log) {
    iso_axis axis = {.is_log = is_log};
    if (!isfinite(low) || !isfinite(high) || high < low || (is_log && low <= 0.0)) {
        axis.min = is_log ? 0.1 : 0.0;
        axis.max = 1.0;
        return axis;
    }
    double from = is_log ? log(low) : low, to = is_log ? log(high) : high;
    double length = to - from;
    double least = is_log ? 0.01 : fmax(fabs(high) * 1e-3, 1e-9);
    if (length < least) {
        from -= least;
        to += least;
        length = to - from;
    }
    from -= margin * length;
    to += margin * length;
    axis.min = is_log ? exp(from) : from;
    axis.max = is_log ? exp(to) : to;
    return axis;
}

static double nice_step(double length, int wanted) {
    double rough = length / (wanted > 1 ? wanted : 1);
    double power = pow(10.0, floor(log10(rough)));
    double ratio = rough / power;
    /* The nearest of the nice steps, by their ratio. */
    return power * (ratio < 1.42 ? 1.0 : ratio < 3.17 ? 2.0 : ratio < 7.08 ? 5.0 : 10.0);
}

static int linear_ticks(double min, double max, int wanted, double ticks[ISO_TICKS_MAX],
                        double *step) {
    *step = nice_step(max - min, wanted);
    double first = ceil(min / *step - 1e-9);
    int n = 0;
    for (double i = first; i * *step <= max + 1e-9 * *step && n < ISO_TICKS_MAX; i++)
        ticks[n++] = fabs(i) < 0.5 ? 0.0 : i * *step;
    return n;
}

int iso_axis_ticks(const iso_axis *axis, int wanted, double ticks[ISO_TICKS_MAX], double *step) {
    /* From coarse to fine; within less than a factor of three a logarithmic axis looks linear. */
    static const struct {
        int n;
        double mantissas[8];
    } grids[] = {{1, {1}}, {2, {1, 3}}, {3, {1, 2, 5}}, {7, {1, 1.5, 2, 3, 4, 5, 7}}};
    if (!axis->is_log || axis->max / axis->min < 3.0)
        return linear_ticks(axis->min, axis->max, wanted, ticks, step);
    *step = 0.0;
    int n_best = 0;
    for (size_t g = 0; g < sizeof grids / sizeof *grids; g++) {
        double fresh[ISO_TICKS_MAX];
        int n = 0;
        for (int e = (int)floor(log10(axis->min)); e <= (int)ceil(log10(axis->max)); e++)
            for (int m = 0; m < grids[g].n; m++) {
                double tick = grids[g].mantissas[m] * pow(10.0, e);
                bool inside = tick >= axis->min * (1 - 1e-9) && tick <= axis->max * (1 + 1e-9);
                if (inside && n < ISO_TICKS_MAX) fresh[n++] = tick;
            }
        if (n_best >= 2 && n > wanted + 1) break;
        memcpy(ticks, fresh, sizeof fresh);
        n_best = n;
    }
    return n_best;
}

/* The power of ten that a linear axis of large numbers is labelled in; 0 = none. */
static int axis_exponent(const iso_axis *axis) {
    double largest = fmax(fabs(axis->min), fabs(axis->max));
    if (axis->is_log || axis->style == ISO_AXIS_PERCENT || largest < 1e5) return 0;
    return 3 * (int)floor(log10(largest) / 3.0);
}

/* Decimals that tell multiples of `step` apart. */
static int step_decimals(double step) {
    int decimals = (int)ceil(-log10(step) - 1e-9);
    return decimals > 0 ? decimals : 0;
}

/* 1e-4 as a power of ten, 3e-4 with its factor in front. */
static void power_text(char *buffer, double tick) {
    int exponent = (int)floor(log10(tick) + 1e-9);
    double factor = tick / pow(10.0, exponent);
    char power[ISO_NUMBER_BYTES], number[ISO_NUMBER_BYTES];
    iso_number_power_of_ten(power, exponent);
    iso_number_short(number, factor, 2);
    if (fabs(factor - 1.0) < 1e-6)
        snprintf(buffer, ISO_NUMBER_BYTES, "%s", power);
    else
        snprintf(buffer, ISO_NUMBER_BYTES, "%.20s\xc2\xb7%.40s", number, power);
}

static void tick_text(char *buffer, const iso_axis *axis, double tick, double step) {
    if (axis->style == ISO_AXIS_PERCENT) {
        /* Without a step: as many decimals as the tick itself has, 1, 1.5, 2 ... of a decade. */
        double decade = pow(10.0, floor(log10(tick) + 1e-9));
        bool is_half = fabs(tick / decade - 1.5) < 1e-6;
        double finest = step > 0.0 ? step : is_half ? 0.1 * decade : decade;
        iso_number_percent(buffer, tick, step_decimals(100.0 * finest));
        return;
    }
    /* Small ones all alike: 0.001 beside 5e-4 is hard to compare. */
    bool is_small = axis->min < 1e-3 && axis->max < 1.0;
    if (step == 0.0 && (tick >= 1e4 || tick < 1e-3 || is_small)) {
        power_text(buffer, tick);
        return;
    }
    double scale = pow(10.0, axis_exponent(axis));
    if (step == 0.0) {
        iso_number_short(buffer, tick, 3);
        return;
    }
    iso_number_fixed(buffer, tick / scale, step_decimals(step / scale));
}

/* Characters as shown: UTF-8 continuation bytes take no place. */
static double text_px(const char *text) {
    int n = 0;
    for (; *text; text++) n += (*text & 0xc0) != 0x80;
    return CHARACTER_PX * n;
}

static void append_axis_label(iso_str *out, const iso_axis *axis) {
    iso_markup_text(out, axis->label ? axis->label : "");
    int exponent = axis_exponent(axis);
    char power[ISO_NUMBER_BYTES];
    if (exponent && axis->unit)
        iso_str_appendf(out, " (%s ", iso_number_power_of_ten(power, exponent));
    else if (exponent)
        iso_str_appendf(out, " (%s", iso_number_power_of_ten(power, exponent));
    else if (axis->unit)
        iso_str_append(out, " (");
    if (axis->unit) iso_markup_text(out, axis->unit);
    if (axis->unit || exponent) iso_str_append(out, ")");
}

/* --- the drawing --- */

void iso_svg_open(iso_str *out, const char *id, const char *title, const char *description,
                  double width, double height) {
    iso_str_appendf(out,
                    "<svg id=\"%s\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" height=\"%.0f\" "
                    "role=\"img\" aria-labelledby=\"%s-t %s-d\">\n<title id=\"%s-t\">",
                    id, width, height, width, height, id, id, id);
    iso_markup_text(out, title);
    iso_str_appendf(out, "</title>\n<desc id=\"%s-d\">", id);
    iso_markup_text(out, description);
    iso_str_append(out, "</desc>\n");
}

void iso_svg_close(iso_str *out) {
    iso_str_append(out, "</svg>\n");
}

void iso_svg_text(iso_str *out, const char *class, double x, double y, const char *anchor,
                  const char *text) {
    iso_str_appendf(out, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class, x,
                    y, anchor);
    iso_markup_text(out, text);
    iso_str_append(out, "</text>\n");
}

void iso_svg_cells(iso_str *out, double x, double y, double width, double height,
                   const char *const *classes, int64_t n) {
    double cell = width / (double)n;
    double gap = cell > 6.0 ? 1.0 : cell > 3.0 ? 0.5 : 0.0;
    for (int64_t i = 0; i < n; i++)
        iso_str_appendf(out,
                        "<rect class=\"%s\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" "
                        "height=\"%.1f\"/>",
                        classes[i], x + (double)i * cell, y, cell - gap, height);
    iso_str_append(out, "\n");
}

static void draw_x_axis(iso_plot *plot) {
    double ticks[ISO_TICKS_MAX], step;
    int wanted = (int)((plot->right - plot->left) / 75.0);
    int n = iso_axis_ticks(&plot->x, wanted < 2 ? 2 : wanted, ticks, &step);
    double free_from = -INFINITY;
    for (int i = 0; i < n; i++) {
        char text[ISO_NUMBER_BYTES];
        tick_text(text, &plot->x, ticks[i], step);
        double at = iso_plot_x(plot, ticks[i]);
        iso_str_appendf(plot->out, "<path class=\"tick\" d=\"M%.1f %.1fv5\"/>", at, plot->bottom);
        double half = 0.5 * text_px(text);
        if (at - half < free_from) continue; /* it would touch its neighbour */
        free_from = at + half + LABEL_GAP_PX;
        /* The last one moves a little rather than being cut off at the drawing's edge. */
        iso_svg_text(plot->out, "small", fmin(at, plot->width - 0.9 * half), plot->bottom + 19.0,
                     "middle", text);
    }
    iso_str_appendf(plot->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", plot->right,
                    plot->bottom + 40.0);
    append_axis_label(plot->out, &plot->x);
    iso_str_append(plot->out, "</text>\n");
}

static void draw_y_axis(iso_plot *plot, const double *ticks, int n, double step) {
    for (int i = 0; i < n; i++) {
        char text[ISO_NUMBER_BYTES];
        tick_text(text, &plot->y, ticks[i], step);
        double at = iso_plot_y(plot, ticks[i]);
        iso_str_appendf(plot->out, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", plot->left, at,
                        plot->right);
        iso_svg_text(plot->out, "small", plot->left - 7.0, at + 4.5, "end", text);
    }
    /* Above the axis and level: no turned text to read, and no width lost on a phone. */
    iso_str_append(plot->out, "<text x=\"0\" y=\"13\">");
    append_axis_label(plot->out, &plot->y);
    iso_str_append(plot->out, "</text>\n");
}

void iso_plot_open(iso_plot *plot, iso_str *out, const char *id, const char *title,
                   const char *description, double width, double height, iso_axis x, iso_axis y) {
    *plot = (iso_plot){.out = out, .id = id, .x = x, .y = y, .width = width, .height = height};
    plot->top = 26.0;
    plot->bottom = height - 46.0;
    double ticks[ISO_TICKS_MAX], step, widest = 0.0;
    int n = iso_axis_ticks(&y, (int)((plot->bottom - plot->top) / 48.0), ticks, &step);
    for (int i = 0; i < n; i++) {
        char text[ISO_NUMBER_BYTES];
        tick_text(text, &y, ticks[i], step);
        widest = fmax(widest, text_px(text));
    }
    plot->left = widest + 10.0;
    plot->right = width - 10.0;
    iso_svg_open(out, id, title, description, width, height);
    iso_str_appendf(out,
                    "<clipPath id=\"%s-c\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                    "height=\"%.1f\"/></clipPath>\n",
                    id, plot->left, plot->top, plot->right - plot->left, plot->bottom - plot->top);
    draw_y_axis(plot, ticks, n, step);
    draw_x_axis(plot);
    iso_str_appendf(out,
                    "<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>\n<g clip-path=\"url(#%s-c)\">\n",
                    plot->left, plot->bottom, plot->right, id);
}

void iso_plot_close(iso_plot *plot) {
    iso_str_append(plot->out, "</g>\n");
    iso_svg_close(plot->out);
}

static double axis_fraction(const iso_axis *axis, double value) {
    if (axis->is_log) return log(value / axis->min) / log(axis->max / axis->min);
    return (value - axis->min) / (axis->max - axis->min);
}

double iso_plot_x(const iso_plot *plot, double x) {
    return plot->left + axis_fraction(&plot->x, x) * (plot->right - plot->left);
}

double iso_plot_y(const iso_plot *plot, double y) {
    return plot->bottom - axis_fraction(&plot->y, y) * (plot->bottom - plot->top);
}

/* Far outside the area a coordinate carries no information but can overflow a renderer. */
static bool is_drawable(double x, double y) {
    return isfinite(x) && isfinite(y) && fabs(x) < 1e5 && fabs(y) < 1e5;
}

void iso_plot_line(iso_plot *plot, const char *class, const double *x, const double *y, int64_t n) {
    iso_str_appendf(plot->out, "<path class=\"line %s\" d=\"", class);
    bool pen_down = false;
    for (int64_t i = 0; i < n; i++) {
        double px = iso_plot_x(plot, x[i]), py = iso_plot_y(plot, y[i]);
        if (!is_drawable(px, py)) {
            pen_down = false;
            continue;
        }
        iso_str_appendf(plot->out, "%c%.1f %.1f", pen_down ? 'L' : 'M', px, py);
        pen_down = true;
    }
    iso_str_append(plot->out, "\"/>\n");
}

void iso_plot_band(iso_plot *plot, const char *class, const double *x, const double *low,
                   const double *high, int64_t n) {
    iso_str_appendf(plot->out, "<path class=\"band %s\" d=\"", class);
    bool pen_down = false;
    for (int64_t i = 0; i < 2 * n; i++) {
        bool upper = i < n;
        int64_t at = upper ? i : 2 * n - 1 - i;
        double px = iso_plot_x(plot, x[at]), py = iso_plot_y(plot, upper ? high[at] : low[at]);
        if (!is_drawable(px, py)) continue;
        iso_str_appendf(plot->out, "%c%.1f %.1f", pen_down ? 'L' : 'M', px, py);
        pen_down = true;
    }
    iso_str_append(plot->out, pen_down ? "Z\"/>\n" : "\"/>\n");
}

void iso_plot_block(iso_plot *plot, const char *class, double x0, double x1, double y0, double y1) {
    double left = isinf(x0) ? plot->left : fmax(plot->left, iso_plot_x(plot, x0));
    double right = isinf(x1) ? plot->right : fmin(plot->right, iso_plot_x(plot, x1));
    double bottom = isinf(y0) ? plot->bottom : fmin(plot->bottom, iso_plot_y(plot, y0));
    double top = isinf(y1) ? plot->top : fmax(plot->top, iso_plot_y(plot, y1));
    if (!(right > left) || !(bottom > top)) return;
    iso_str_appendf(plot->out,
                    "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                    class, left, top, right - left, bottom - top);
}

void iso_plot_dot(iso_plot *plot, const char *class, double x, double y, double r,
                  const char *tooltip) {
    double px = iso_plot_x(plot, x), py = iso_plot_y(plot, y);
    if (!is_drawable(px, py)) return;
    iso_str_appendf(plot->out, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\">",
                    class, px, py, r);
    if (tooltip) {
        iso_str_append(plot->out, "<title>");
        iso_markup_text(plot->out, tooltip);
        iso_str_append(plot->out, "</title>");
    }
    iso_str_append(plot->out, "</circle>\n");
}

void iso_plot_whisker(iso_plot *plot, const char *class, double x, double low, double high) {
    double px = iso_plot_x(plot, x), from = iso_plot_y(plot, low), to = iso_plot_y(plot, high);
    if (!is_drawable(px, from) || !is_drawable(px, to)) return;
    iso_str_appendf(
        plot->out, "<path class=\"line whisker %s\" d=\"M%.1f %.1fV%.1fm-5 0h10M%.1f %.1fh10\"/>\n",
        class, px, from, to, px - 5.0, from);
}

void iso_plot_text(iso_plot *plot, const char *class, double x, double y, double dx, double dy,
                   const char *anchor, const char *text) {
    double px = iso_plot_x(plot, x) + dx, py = iso_plot_y(plot, y) + dy;
    if (is_drawable(px, py)) iso_svg_text(plot->out, class, px, py, anchor, text);
}
