/* Score against activation rate, and what all figures share: the colours of the sides. */
#include "report/markup.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

#include <math.h>
#include <stdlib.h>

#define N_MOE_CLASSES 6

const char *iso_side_class(const iso_sides *sides, int64_t i_side) {
    static const char *const moe[N_MOE_CLASSES] = {"s1", "s2", "s3", "s4", "s5", "s6"};
    if (!sides->sides[i_side].is_moe) return "s0";
    int64_t rank = 0;
    for (int64_t i = 0; i < i_side; i++) rank += sides->sides[i].is_moe;
    return moe[rank % N_MOE_CLASSES];
}

void iso_sides_legend(iso_str *out, const iso_page_data *data, bool moe_only) {
    iso_str_append(out, "<ul class=\"legend\">");
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side *side = &data->sides->sides[i];
        if (moe_only && !side->is_moe) continue;
        iso_str_appendf(out,
                        "<li><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\"><path class=\"line "
                        "%s\" d=\"M0 6H28\"/></svg>",
                        iso_side_class(data->sides, i));
        iso_markup_text(out, side->label);
        if (side->is_moe && isfinite(side->activation_rate)) {
            char rate[ISO_NUMBER_BYTES];
            iso_str_appendf(out, ", %s", iso_number_percent(rate, side->activation_rate, 0));
        }
        iso_str_append(out, "</li>\n");
    }
    iso_str_append(out, "</ul>\n");
}

/* --- BPC against activation rate: the paper's Figure 1b --- */

/* Half-width of one side's mean over its seeds; NaN where training noise is unknown. */
static double mean_half(const iso_answer *answer, const iso_side *side) {
    return iso_t_95(answer->noise.dof) * iso_pooled_sd(&answer->noise) / sqrt((double)side->n_runs);
}

static void gap_axes(const iso_page_data *data, iso_axis *x, iso_axis *y) {
    double left = ISO_PAPER_RATE_LOW, right = ISO_PAPER_RATE_HIGH, low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side *side = &data->sides->sides[i];
        if (side->is_moe) {
            left = fmin(left, side->activation_rate);
            right = fmax(right, side->activation_rate);
        }
        double half = mean_half(data->answer, side);
        low = fmin(low, side->mean_bpc - half); /* fmin and fmax pass over NaN */
        high = fmax(high, side->mean_bpc + half);
        for (int64_t j = 0; j < side->n_runs; j++) {
            low = fmin(low, side->bpc[j]);
            high = fmax(high, side->bpc[j]);
        }
    }
    *x = iso_axis_over(left, right, 0.1, false);
    x->min = fmax(x->min, 0.0);
    x->style = ISO_AXIS_PERCENT;
    x->label = "activation rate (active / all parameters)";
    *y = iso_axis_over(low, high, 0.08, false);
    y->min -= 0.1 * (y->max - y->min); /* room for a line of text under the marks */
    y->label = "bits per character, lower is better";
}

/* The middle of the widest stretch of the x axis without an MoE: where a label disturbs least. The
 * sides come by ascending rate. */
static double free_place(const iso_plot *plot, const iso_sides *sides) {
    double from = plot->x.min, best = plot->x.max, widest = 0.0;
    for (int64_t i = 0; i <= sides->n; i++) {
        if (i < sides->n && !sides->sides[i].is_moe) continue;
        double to = i < sides->n ? sides->sides[i].activation_rate : plot->x.max;
        if (to - from > widest) {
            widest = to - from;
            best = 0.5 * (from + to);
        }
        from = to;
    }
    return best;
}

static void draw_dense_line(iso_plot *plot, const iso_page_data *data, const iso_side *side) {
    double half = mean_half(data->answer, side);
    double x[2] = {plot->x.min, plot->x.max};
    double y[2] = {side->mean_bpc, side->mean_bpc};
    if (half > 0.0)
        iso_plot_block(plot, "band s0", -INFINITY, INFINITY, side->mean_bpc - half,
                       side->mean_bpc + half);
    iso_plot_line(plot, "s0", x, y, 2);
    char *label = iso_strf("dense %.3f", side->mean_bpc);
    /* Above the line, or below it where there is no room. */
    bool room = iso_plot_y(plot, side->mean_bpc) - plot->top > 20.0;
    iso_plot_text(plot, "", free_place(plot, data->sides), side->mean_bpc, 0.0, room ? -6.0 : 16.0,
                  "middle", label);
    free(label);
    for (int64_t j = 0; j < side->n_runs && side->n_runs > 1; j++)
        iso_plot_dot(plot, "s0 seed", plot->x.min + 0.012 * (plot->x.max - plot->x.min),
                     side->bpc[j], 2.6, NULL);
}

static void draw_gap(iso_str *out, const void *ctx, const char *id, double width, double height) {
    const iso_page_data *data = ctx;
    const iso_answer *answer = data->answer;
    iso_plot plot;
    iso_axis x, y;
    gap_axes(data, &x, &y);
    char *description =
        iso_strf("Mean bits per character of %lld MoE sides against their activation "
                 "rate, with the dense model as a horizontal line. The numbers are "
                 "in the table of sides.",
                 (long long)answer->n_moe);
    iso_plot_open(&plot, out, id, "Bits per character against activation rate", description, width,
                  height, x, y);
    free(description);
    iso_plot_block(&plot, "claim", ISO_PAPER_RATE_LOW, ISO_PAPER_RATE_HIGH, -INFINITY, INFINITY);
    iso_plot_text(&plot, "small", 0.5 * (ISO_PAPER_RATE_LOW + ISO_PAPER_RATE_HIGH), y.min, 0.0,
                  -7.0, "middle", "the paper's range of MoE ahead");
    if (answer->dense) draw_dense_line(&plot, data, answer->dense);
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side *side = &data->sides->sides[i];
        if (!side->is_moe) continue;
        const char *class = iso_side_class(data->sides, i);
        char *dot = iso_strf("%s seed", class);
        double beside = side->activation_rate + 0.018 * (x.max - x.min);
        for (int64_t j = 0; j < side->n_runs && side->n_runs > 1; j++)
            iso_plot_dot(&plot, dot, beside, side->bpc[j], 2.6, NULL);
        double half = mean_half(answer, side);
        if (half > 0.0)
            iso_plot_whisker(&plot, class, side->activation_rate, side->mean_bpc - half,
                             side->mean_bpc + half);
        char *tooltip = iso_strf("%s: %.4f", side->label, side->mean_bpc);
        iso_plot_dot(&plot, class, side->activation_rate, side->mean_bpc, 5.0, tooltip);
        free(tooltip);
        free(dot);
    }
    iso_plot_close(&plot);
}

void iso_figure_gap(iso_str *out, const iso_page_data *data) {
    if (data->answer->n_moe == 0) {
        iso_page_text(out, "soft",
                      "No figure of score against activation rate: there is no finished "
                      "MoE run.");
        return;
    }
    iso_str caption = {0};
    iso_str_append(&caption, "Each large dot is an MoE, the mean over its seeds; small dots are "
                             "single seeds. ");
    if (data->answer->dense)
        iso_str_append(&caption, "The dashed line is the dense model: an MoE below it is better. ");
    else
        iso_str_append(&caption, "There is no finished dense run to compare with. ");
    if (data->answer->noise.dof > 0.0)
        iso_str_append(&caption, "Whiskers and band are 95\xc2\xa0% intervals of the means from "
                                 "training noise alone; evaluation noise moves all sides together "
                                 "and is counted in the gaps below.");
    else
        iso_str_append(&caption, "No intervals: no configuration was trained with two seeds.");
    iso_str legend = {0};
    iso_sides_legend(&legend, data, false);
    iso_page_figure(out, "rate", "Bits per character against activation rate", caption.data,
                    legend.data, draw_gap, data, 380.0, 300.0);
    iso_str_release(&legend);
    iso_str_release(&caption);
}
