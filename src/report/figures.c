/* The page's plots. Each is a function that draws at a given size (page.h draws it twice) and one
 * that gathers its data first and frees it after. */
#include "report/markup.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_MOE_CLASSES 6

const char *iso_side_class(const iso_sides *sides, int64_t i_side) {
    static const char *const moe[N_MOE_CLASSES] = {"s1", "s2", "s3", "s4", "s5", "s6"};
    if (!sides->sides[i_side].is_moe) return "s0";
    int64_t rank = 0;
    for (int64_t i = 0; i < i_side; i++) rank += sides->sides[i].is_moe;
    return moe[rank % N_MOE_CLASSES];
}

static void append_legend(iso_str *out, const iso_page_data *data, bool moe_only) {
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

/* Half-width of one side's mean over its seeds; 0 where training noise is unknown. */
static double mean_half(const iso_verdict *verdict, const iso_side *side) {
    double half = iso_t_95(verdict->noise.dof > 0 ? verdict->noise.dof : NAN) *
                  iso_pooled_sd(&verdict->noise) / sqrt((double)side->n_runs);
    return isnan(half) ? 0.0 : half;
}

static void gap_axes(const iso_page_data *data, iso_axis *x, iso_axis *y) {
    double left = ISO_PAPER_RATE_LOW, right = ISO_PAPER_RATE_HIGH, low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side *side = &data->sides->sides[i];
        if (side->is_moe) {
            left = fmin(left, side->activation_rate);
            right = fmax(right, side->activation_rate);
        }
        double half = mean_half(data->verdict, side);
        low = fmin(low, side->mean_bpc - half);
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
    double half = mean_half(data->verdict, side);
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
        iso_plot_dot(plot, "s0 seed", plot->x.min + 0.012 * (plot->x.max - plot->x.min), side->bpc[j],
                     2.6, NULL);
}

static void draw_gap(iso_str *out, const void *ctx, const char *id, double width, double height) {
    const iso_page_data *data = ctx;
    const iso_verdict *verdict = data->verdict;
    iso_plot plot;
    iso_axis x, y;
    gap_axes(data, &x, &y);
    char *description = iso_strf("Mean bits per character of %lld MoE sides against their activation "
                                 "rate, with the dense model as a horizontal line. The numbers are "
                                 "in the table of sides.",
                                 (long long)verdict->n_moe);
    iso_plot_open(&plot, out, id, "Bits per character against activation rate", description, width,
                  height, x, y);
    free(description);
    iso_plot_block(&plot, "claim", ISO_PAPER_RATE_LOW, ISO_PAPER_RATE_HIGH, -INFINITY, INFINITY);
    iso_plot_text(&plot, "small", 0.5 * (ISO_PAPER_RATE_LOW + ISO_PAPER_RATE_HIGH), y.min, 0.0, -7.0,
                  "middle", "the paper's range of MoE ahead");
    if (verdict->dense) draw_dense_line(&plot, data, verdict->dense);
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side *side = &data->sides->sides[i];
        if (!side->is_moe) continue;
        const char *class = iso_side_class(data->sides, i);
        char *dot = iso_strf("%s seed", class);
        double beside = side->activation_rate + 0.018 * (x.max - x.min);
        for (int64_t j = 0; j < side->n_runs && side->n_runs > 1; j++)
            iso_plot_dot(&plot, dot, beside, side->bpc[j], 2.6, NULL);
        double half = mean_half(verdict, side);
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
    if (data->verdict->n_moe == 0) {
        iso_page_text(out, "soft", "No figure of score against activation rate: there is no finished "
                                   "MoE run.");
        return;
    }
    iso_str caption = {0};
    iso_str_append(&caption, "Each large dot is an MoE, the mean over its seeds; small dots are "
                             "single seeds. ");
    if (data->verdict->dense)
        iso_str_append(&caption, "The dashed line is the dense model: an MoE below it is better. ");
    else
        iso_str_append(&caption, "There is no finished dense run to compare with. ");
    if (data->verdict->noise.dof > 0.0)
        iso_str_append(&caption, "Whiskers and band are 95\xc2\xa0% intervals of the means from "
                                 "training noise alone; evaluation noise moves all sides together "
                                 "and is counted in the gaps below.");
    else
        iso_str_append(&caption, "No intervals: no configuration was trained with two seeds.");
    iso_str legend = {0};
    append_legend(&legend, data, false);
    iso_page_figure(out, "rate", "Bits per character against activation rate", caption.data,
                    legend.data, draw_gap, data, 380.0, 300.0);
    iso_str_release(&legend);
    iso_str_release(&caption);
}

/* --- curves over training --- */

#define CURVE_POINTS 160

/* One line per side: the mean over seeds, and the range of the seeds. */
typedef struct curve {
    int64_t n;
    double *x, *y, *low, *high;
} curve;

typedef struct curves {
    const iso_page_data *data;
    const char *title, *description, *y_label;
    bool is_log, has_dots;
    double y_from; /* an axis starts at least this low; NaN: the data's own range */
    curve *list;   /* (n sides); n = 0 for a side without data */
} curves;

static curve curve_create(int64_t n) {
    curve out = {.n = n};
    double *block = calloc((size_t)(n > 0 ? 4 * n : 1), sizeof(*block));
    ISO_ASSERT(block);
    out.x = block;
    out.y = block + n;
    out.low = block + 2 * n;
    out.high = block + 3 * n;
    return out;
}

static curves curves_create(const iso_page_data *data) {
    curves out = {.data = data, .y_from = NAN};
    out.list = calloc((size_t)data->sides->n + 1, sizeof(*out.list));
    ISO_ASSERT(out.list);
    return out;
}

static void curves_release(curves *all) {
    for (int64_t i = 0; i < all->data->sides->n; i++) free(all->list[i].x);
    free(all->list);
}

static bool curves_are_empty(const curves *all) {
    for (int64_t i = 0; i < all->data->sides->n; i++)
        if (all->list[i].n > 0) return false;
    return true;
}

/* The axes hold everything past the first tenth of the training: the fall from chance level in the
 * first steps would flatten all that is of interest. */
static void curve_axes(const curves *all, iso_axis *x, iso_axis *y) {
    double right = 0.0, low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < all->data->sides->n; i++) {
        const curve *line = &all->list[i];
        if (line->n > 0) right = fmax(right, line->x[line->n - 1]);
        for (int64_t j = 0; j < line->n; j++) {
            if (line->x[j] < 0.1 * line->x[line->n - 1]) continue;
            low = fmin(low, line->low[j]);
            high = fmax(high, line->high[j]);
        }
    }
    if (!isnan(all->y_from)) low = fmin(low, all->y_from);
    *x = iso_axis_over(0.0, right, 0.0, false);
    x->max += 0.015 * (x->max - x->min); /* room for the last dot */
    x->label = "training compute";
    x->unit = "FLOPs";
    *y = iso_axis_over(low, high, 0.05, all->is_log);
    y->label = all->y_label;
}

static void draw_curves(iso_str *out, const void *ctx, const char *id, double width, double height) {
    const curves *all = ctx;
    iso_plot plot;
    iso_axis x, y;
    curve_axes(all, &x, &y);
    iso_plot_open(&plot, out, id, all->title, all->description, width, height, x, y);
    for (int64_t i = 0; i < all->data->sides->n; i++) {
        const curve *line = &all->list[i];
        if (line->n > 0 && all->data->sides->sides[i].n_runs > 1)
            iso_plot_band(&plot, iso_side_class(all->data->sides, i), line->x, line->low, line->high,
                          line->n);
    }
    for (int64_t i = 0; i < all->data->sides->n; i++) {
        const curve *line = &all->list[i];
        const char *class = iso_side_class(all->data->sides, i);
        if (line->n == 0) continue;
        iso_plot_line(&plot, class, line->x, line->y, line->n);
        for (int64_t j = 0; j < line->n && all->has_dots; j++)
            iso_plot_dot(&plot, class, line->x[j], line->y[j], 2.4, NULL);
    }
    iso_plot_close(&plot);
}

typedef double (*step_value_fn)(const iso_step_row *row);

static double step_loss(const iso_step_row *row) {
    return row->loss;
}

static double step_imbalance(const iso_step_row *row) {
    return row->is_moe ? row->load_imbalance : NAN;
}

/* Mean over the steps within `reach` of i. */
static double smoothed(const iso_run *run, int64_t i, int64_t reach, step_value_fn value) {
    int64_t from = i > reach ? i - reach : 0;
    int64_t to = i + reach < run->n_steps ? i + reach : run->n_steps - 1;
    double sum = 0.0;
    for (int64_t j = from; j <= to; j++) sum += value(&run->steps[j]);
    return sum / (double)(to - from + 1);
}

/* All seeds of a side have the same number of steps; a folder that lost some counts with the rest. */
static curve step_curve(const iso_side *side, step_value_fn value) {
    int64_t n_steps = side->runs[0]->run.n_steps;
    for (int64_t i = 1; i < side->n_runs; i++)
        if (side->runs[i]->run.n_steps < n_steps) n_steps = side->runs[i]->run.n_steps;
    double flops_per_token = iso_side_run_number(side->runs[0], "train_flops_per_token");
    if (n_steps < 1 || isnan(flops_per_token)) return curve_create(0);
    curve out = curve_create(n_steps < CURVE_POINTS ? n_steps : CURVE_POINTS);
    int64_t reach = n_steps / 100; /* 2 % of the training in all */
    for (int64_t p = 0; p < out.n; p++) {
        int64_t at = out.n > 1 ? p * (n_steps - 1) / (out.n - 1) : 0;
        out.low[p] = INFINITY;
        out.high[p] = -INFINITY;
        double sum = 0.0;
        for (int64_t i = 0; i < side->n_runs; i++) {
            double y = smoothed(&side->runs[i]->run, at, reach, value);
            sum += y;
            out.low[p] = fmin(out.low[p], y);
            out.high[p] = fmax(out.high[p], y);
        }
        out.x[p] = (double)side->runs[0]->run.steps[at].tokens * flops_per_token;
        out.y[p] = sum / (double)side->n_runs;
    }
    return out;
}

void iso_figure_training_loss(iso_str *out, const iso_page_data *data) {
    curves all = curves_create(data);
    for (int64_t i = 0; i < data->sides->n; i++)
        all.list[i] = step_curve(&data->sides->sides[i], step_loss);
    if (curves_are_empty(&all)) {
        iso_page_text(out, "soft", "No training curves: the runs hold no step rows.");
    } else {
        all.title = "Training loss over compute";
        all.description = "Cross-entropy on the training text against training FLOPs, one line per "
                          "side.";
        all.y_label = "training loss, nats per token (log scale)";
        all.is_log = true;
        iso_str legend = {0};
        append_legend(&legend, data, false);
        iso_page_figure(out, "loss", all.title,
                        "Cross-entropy of the training batches, without the balance loss, averaged "
                        "over 2\xc2\xa0% of the training and over seeds (bands: range of the seeds). "
                        "All sides end at the same compute, though not after the same number of "
                        "tokens: an MoE spends less on each. The scale leaves out the fall of the "
                        "first tenth.",
                        legend.data, draw_curves, &all, 360.0, 280.0);
        iso_str_release(&legend);
    }
    curves_release(&all);
}

/* Equal-weight mean of an evaluation row's BPC over the named domains, as the headline is. */
static double eval_bpc(const iso_eval_row *row) {
    double sum = 0.0;
    int64_t n = 0;
    for (int64_t i = 0; i < row->n_scores; i++)
        if (row->n_scores == 1 || !iso_domain_is_holdout(row->scores[i].domain)) {
            sum += row->scores[i].bpc;
            n++;
        }
    return n > 0 ? sum / (double)n : NAN;
}

static int64_t n_evals_before_end(const iso_run *run) {
    int64_t n = run->n_evals;
    while (n > 0 && run->evals[n - 1].is_final) n--;
    return n;
}

static curve eval_curve(const iso_side *side) {
    int64_t n = n_evals_before_end(&side->runs[0]->run);
    for (int64_t i = 1; i < side->n_runs; i++) {
        int64_t other = n_evals_before_end(&side->runs[i]->run);
        if (other < n) n = other;
    }
    double flops_per_step = iso_side_run_number(side->runs[0], "train_flops_per_token") *
                            iso_side_run_number(side->runs[0], "batch_tokens");
    if (n < 1 || isnan(flops_per_step)) return curve_create(0);
    curve out = curve_create(n);
    for (int64_t p = 0; p < n; p++) {
        out.low[p] = INFINITY;
        out.high[p] = -INFINITY;
        double sum = 0.0;
        for (int64_t i = 0; i < side->n_runs; i++) {
            double y = eval_bpc(&side->runs[i]->run.evals[p]);
            sum += y;
            out.low[p] = fmin(out.low[p], y);
            out.high[p] = fmax(out.high[p], y);
        }
        out.x[p] = (double)side->runs[0]->run.evals[p].step * flops_per_step;
        out.y[p] = sum / (double)side->n_runs;
    }
    return out;
}

void iso_figure_validation(iso_str *out, const iso_page_data *data) {
    curves all = curves_create(data);
    for (int64_t i = 0; i < data->sides->n; i++)
        all.list[i] = eval_curve(&data->sides->sides[i]);
    if (curves_are_empty(&all)) {
        iso_page_text(out, "soft", "No validation curves: the runs were evaluated only at their end.");
    } else {
        all.title = "Validation over compute";
        all.description = "Mean bits per character over the validation domains against training "
                          "FLOPs, one line per side.";
        all.y_label = "validation, bits per character";
        all.has_dots = true;
        iso_str legend = {0};
        append_legend(&legend, data, false);
        iso_page_figure(out, "validation", all.title,
                        "Equal-weight mean over the named validation domains, on the small sample "
                        "scored during training; mean over seeds (bands: their range). The final "
                        "scores in the tables come from a larger sample and need not continue these "
                        "lines exactly.",
                        legend.data, draw_curves, &all, 360.0, 280.0);
        iso_str_release(&legend);
    }
    curves_release(&all);
}

void iso_figure_imbalance(iso_str *out, const iso_page_data *data) {
    curves all = curves_create(data);
    for (int64_t i = 0; i < data->sides->n; i++)
        if (data->sides->sides[i].is_moe)
            all.list[i] = step_curve(&data->sides->sides[i], step_imbalance);
    if (!curves_are_empty(&all)) {
        all.title = "Load imbalance over training";
        all.description = "Tokens of the fullest expert over the mean, in the worst layer, against "
                          "training FLOPs, one line per MoE.";
        all.y_label = "fullest expert / mean, worst layer";
        all.y_from = 1.0;
        iso_str legend = {0};
        append_legend(&legend, data, true);
        iso_page_figure(out, "imbalance", all.title,
                        "1 would be perfect balance; a line that climbs is a router that collapses. "
                        "Smoothed over 2\xc2\xa0% of the training. The scale leaves out the first "
                        "tenth.",
                        legend.data, draw_curves, &all, 300.0, 260.0);
        iso_str_release(&legend);
    }
    curves_release(&all);
}
