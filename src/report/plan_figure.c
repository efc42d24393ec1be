#include "report/plan_figure.h"

#include "report/markup.h"
#include "report/svg.h"

#include <math.h>
#include <stdlib.h>

#define PANEL_WIDTH  430.0
#define PANEL_HEIGHT 310.0
#define GAP          40.0
#define MARGIN       20.0
#define HEAD         74.0
#define FOOT         28.0
#define WIDTH        (2 * PANEL_WIDTH + GAP + 2 * MARGIN)
#define HEIGHT       (HEAD + 2 * PANEL_HEIGHT + GAP + FOOT)

/* Plain colours: what turns an SVG into print seldom knows variables. Dense is black and dashed,
 * MoE blue, a second quantity of an MoE orange: told apart by any eye and without colour. */
static const char style[] =
    "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
    "fill:#1a1c1f;paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}"
    "text.small{fill:#565b63}text.head{font-size:19px;font-weight:600}text.s1{fill:#0067a5}"
    "text.s2{fill:#a84300}"
    ".grid{stroke:#d5d8dd;fill:none}.axis,.tick{stroke:#565b63;fill:none}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.dot{stroke:#fff}"
    ".line.s0{stroke:#1a1c1f;stroke-dasharray:7 4}.line.s1{stroke:#0067a5}"
    ".line.s2{stroke:#c44e00;stroke-dasharray:2 3}.line.thin{stroke-width:1.3}"
    ".line.whisker{stroke-width:1.5;stroke-dasharray:none}"
    ".dot.s1{fill:#0067a5}.dot.s2{fill:#c44e00}.band.s1{fill:#0067a5;fill-opacity:.15}"
    ".paper{fill:#fff}";

/* One number of a model. */
typedef double (*value_fn)(const iso_budget_model *m);

static double tokens_of(const iso_budget_model *m) {
    return (double)m->tokens;
}
static double epochs_of(const iso_budget_model *m) {
    return m->epochs_strict;
}
static double training_of(const iso_budget_model *m) {
    return (double)m->memory.training;
}
static double touched_of(const iso_budget_model *m) {
    return m->memory.touched;
}

static double rate_of(const iso_budget *b, int64_t i) {
    return b->models[i].plan.counts.activation_rate;
}

/* --- axes --- */

static iso_axis rate_axis(const iso_budget *b) {
    double low = rate_of(b, 1), high = rate_of(b, b->n_models - 1);
    if (b->law) {
        low = fmin(low, b->curve.scanned.low);
        high = fmax(high, b->curve.scanned.high);
    }
    /* One MoE alone, or several close together, still want a scale to stand on. */
    double widen = high / low < 2 ? sqrt(2 * low / high) : 1;
    iso_axis axis = iso_axis_over(low / widen, fmin(high * widen, 1), 0.06, true);
    axis.style = ISO_AXIS_PERCENT;
    axis.label = "activation rate";
    return axis;
}

static void include(double *low, double *high, double value) {
    *low = fmin(*low, value);
    *high = fmax(*high, value);
}

/* A thousand's power that makes the largest value readable, and what it is called. */
static double scale_of(double largest, const char *const *names, const char **name) {
    int i = 0;
    double scale = 1;
    while (i < 4 && largest / scale >= 2000) scale *= 1000, i++;
    *name = names[i];
    return scale;
}

/* --- panels --- */

typedef struct series {
    value_fn value;
    const char *class; /* of the MoEs: "s1" */
    const char *label; /* at its last dot; NULL = none */
} series;

static void draw_series(iso_plot *plot, const iso_budget *b, const series *s, double scale) {
    double x[ISO_BUDGET_MODELS_MAX] = {0}, y[ISO_BUDGET_MODELS_MAX] = {0};
    int64_t n = b->n_models - 1;
    for (int64_t i = 0; i < n; i++) {
        x[i] = rate_of(b, i + 1);
        y[i] = s->value(&b->models[i + 1]) / scale;
    }
    iso_plot_line(plot, s->class, x, y, n);
    for (int64_t i = 0; i < n; i++) {
        char number[ISO_NUMBER_BYTES];
        char *tooltip =
            iso_strf("%s: %s", b->models[i + 1].name, iso_number_short(number, y[i], 3));
        iso_plot_dot(plot, s->class, x[i], y[i], 4.5, tooltip);
        free(tooltip);
    }
    if (!s->label) return;
    /* Above the last dot, or below it where the baseline's level would run through the words. */
    double level = iso_plot_y(plot, s->value(&b->models[0]) / scale);
    double above = iso_plot_y(plot, y[n - 1]) - level;
    double dy = above > 0 && above < 24 ? 32 : -10;
    /* One dot stands in the middle: words that end there would begin outside. */
    iso_plot_text(plot, s->class, x[n - 1], y[n - 1], n > 1 ? 4 : 0, dy, n > 1 ? "end" : "middle",
                  s->label);
}

/* The baseline, which has no place on the axis of rates: a level from edge to edge. */
static void draw_dense(iso_plot *plot, const char *class, double value, const char *label,
                       double dy) {
    double x[2] = {plot->x.min, plot->x.max}, y[2] = {value, value};
    iso_plot_line(plot, class, x, y, 2);
    iso_plot_text(plot, "", plot->x.min, value, 6, dy, "start", label);
}

static void panel_open(iso_plot *plot, iso_str *out, const char *id, const char *title, iso_axis x,
                       iso_axis y, int column, int row) {
    iso_str_appendf(out, "<g transform=\"translate(%.0f %.0f)\">\n",
                    MARGIN + column * (PANEL_WIDTH + GAP), HEAD + row * (PANEL_HEIGHT + GAP));
    iso_plot_open(plot, out, id, title, title, PANEL_WIDTH, PANEL_HEIGHT, x, y);
}

static void panel_close(iso_plot *plot) {
    iso_str *out = plot->out;
    iso_plot_close(plot);
    iso_str_append(out, "</g>\n");
}

static void panel_tokens(iso_str *out, const iso_budget *b) {
    static const char *const names[] = {"tokens", "thousands of tokens", "millions of tokens",
                                        "billions of tokens", "trillions of tokens"};
    double low = tokens_of(&b->models[0]), high = low;
    for (int64_t i = 1; i < b->n_models; i++) include(&low, &high, tokens_of(&b->models[i]));
    const char *unit;
    double scale = scale_of(high, names, &unit);
    iso_axis y = iso_axis_over(low / scale, high / scale, 0.1, true);
    y.label = "training tokens D";
    y.unit = unit;
    iso_plot plot;
    panel_open(&plot, out, "plan-tokens", "Training tokens against activation rate", rate_axis(b),
               y, 0, 0);
    const series moe = {tokens_of, "s1", NULL};
    draw_dense(&plot, "s0", tokens_of(&b->models[0]) / scale, "dense", -7);
    draw_series(&plot, b, &moe, scale);
    panel_close(&plot);
}

static void panel_epochs(iso_str *out, const iso_budget *b) {
    double low = 0, high = 2.2;
    for (int64_t i = 0; i < b->n_models; i++) include(&low, &high, epochs_of(&b->models[i]));
    iso_axis y = iso_axis_over(low, high, 0.06, false);
    y.min = 0;
    y.label = "epochs over the unique text";
    iso_plot plot;
    panel_open(&plot, out, "plan-epochs", "Epochs against activation rate", rate_axis(b), y, 1, 0);
    const series moe = {epochs_of, "s1", NULL};
    double dense = epochs_of(&b->models[0]), x[2] = {plot.x.min, plot.x.max}, two[2] = {2, 2};
    iso_plot_line(&plot, "s2 thin", x, two, 2);
    iso_plot_text(&plot, "s2", plot.x.min, 2, 6, dense > 2 && dense < 3 ? 16 : -6, "start",
                  "every side, scheme loose");
    draw_dense(&plot, "s0", dense, "dense, scheme strict", dense < 2 ? 16 : -7);
    draw_series(&plot, b, &moe, 1);
    panel_close(&plot);
}

static void panel_memory(iso_str *out, const iso_budget *b) {
    static const char *const names[] = {"bytes", "kB", "MB", "GB", "TB"};
    double low = INFINITY, high = 0;
    for (int64_t i = 0; i < b->n_models; i++) {
        include(&low, &high, training_of(&b->models[i]));
        include(&low, &high, touched_of(&b->models[i]));
    }
    const char *unit;
    double scale = scale_of(high, names, &unit);
    iso_axis y = iso_axis_over(low / scale, high / scale, 0.12, true);
    y.label = "memory";
    y.unit = unit;
    iso_plot plot;
    panel_open(&plot, out, "plan-memory", "Memory against activation rate", rate_axis(b), y, 0, 1);
    const series training = {training_of, "s1", "MoE, to train"};
    const series touched = {touched_of, "s2", "MoE, read per token (inference)"};
    draw_dense(&plot, "s0", training_of(&b->models[0]) / scale, "dense, to train", -7);
    draw_dense(&plot, "s0 thin", touched_of(&b->models[0]) / scale, "dense, read per token", -7);
    draw_series(&plot, b, &training, scale);
    draw_series(&plot, b, &touched, scale);
    panel_close(&plot);
}

/* Without a known error the band has no width. */
static double half_of(const iso_gap_forecast *f) {
    return isfinite(f->half) ? f->half : 0.0;
}

static void gap_axis(iso_axis *y, const iso_budget *b) {
    double low = 0, high = 0;
    for (int i = 0; i < ISO_GAP_CURVE_POINTS; i++) {
        const iso_gap_forecast *f = &b->curve.gap[i];
        include(&low, &high, f->value - half_of(f));
        include(&low, &high, f->value + half_of(f));
    }
    *y = iso_axis_over(low, high, 0.1, false);
    y->label = "expected gap to dense, above 0 the MoE is better";
    y->unit = "BPC";
}

static void panel_gap(iso_str *out, const iso_budget *b) {
    double low[ISO_GAP_CURVE_POINTS], high[ISO_GAP_CURVE_POINTS], value[ISO_GAP_CURVE_POINTS];
    iso_axis y;
    iso_plot plot;
    gap_axis(&y, b);
    for (int i = 0; i < ISO_GAP_CURVE_POINTS; i++) {
        value[i] = b->curve.gap[i].value;
        low[i] = value[i] - half_of(&b->curve.gap[i]);
        high[i] = value[i] + half_of(&b->curve.gap[i]);
    }
    panel_open(&plot, out, "plan-gap", "Expected gap against activation rate", rate_axis(b), y, 1,
               1);
    iso_plot_band(&plot, "s1", b->curve.rate, low, high, ISO_GAP_CURVE_POINTS);
    draw_dense(&plot, "s0", 0, "dense", -7);
    iso_plot_line(&plot, "s1", b->curve.rate, value, ISO_GAP_CURVE_POINTS);
    for (int64_t i = 1; i < b->n_models; i++) {
        const iso_budget_model *m = &b->models[i];
        if (!m->has_forecast) continue;
        char *tooltip = iso_strf("%s: %+.4f", m->name, m->forecast.value);
        iso_plot_dot(&plot, "s1", rate_of(b, i), m->forecast.value, 4.5, tooltip);
        free(tooltip);
    }
    iso_plot_text(&plot, "small", plot.x.max, y.min, -4, -8, "end",
                  !isfinite(b->curve.gap[0].half) ? "error unknown"
                  : b->extrapolated               ? "band: 95 %; extrapolated"
                                                  : "band: 95 %");
    panel_close(&plot);
}

/* In place of the gap: why there is none. */
static void panel_empty(iso_str *out, const iso_budget *b) {
    double x = MARGIN + PANEL_WIDTH + GAP, y = HEAD + PANEL_HEIGHT + GAP;
    iso_svg_text(out, "", x, y + 13, "start", "expected gap to dense");
    iso_svg_text(out, "small", x, y + 40, "start",
                 b->refused ? "outside the runs that a prediction rests on (--extrapolate)"
                            : "not asked for (--predict)");
}

/* --- the whole --- */

static void draw_head(iso_str *out, const iso_budget *b) {
    char params[ISO_NUMBER_BYTES], flops[ISO_NUMBER_BYTES], unique[ISO_NUMBER_BYTES];
    iso_svg_text(out, "head", MARGIN, 26, "start",
                 "Equal parameters, equal compute: what the activation rate costs and gains");
    char *line = iso_strf("N %s parameters, C %s FLOPs, %s unique tokens; convention paper. "
                          "Dots: MoEs; dashed: the dense baseline.",
                          iso_number_count(params, (double)b->params),
                          iso_number_power(flops, b->models[0].flops),
                          iso_number_count(unique, (double)b->unique_tokens));
    iso_svg_text(out, "small", MARGIN, 48, "start", line);
    free(line);
}

void iso_plan_figure_draw(iso_str *out, const iso_budget *budget) {
    iso_str_appendf(out,
                    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                    "width=\"%.0f\" height=\"%.0f\" role=\"img\" aria-labelledby=\"plan-t "
                    "plan-d\">\n<title id=\"plan-t\">Equal comparison: tokens, epochs, memory and "
                    "expected gap against activation rate</title>\n<desc id=\"plan-d\">Four "
                    "panels over the activation rates of %d MoEs, the dense baseline as a dashed "
                    "level.</desc>\n<style>%s</style>\n"
                    "<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n",
                    WIDTH, HEIGHT, WIDTH, HEIGHT, (int)budget->n_models - 1, style);
    draw_head(out, budget);
    panel_tokens(out, budget);
    panel_epochs(out, budget);
    panel_memory(out, budget);
    if (budget->law)
        panel_gap(out, budget);
    else
        panel_empty(out, budget);
    iso_str_append(out, "</svg>\n");
}
