/* The figures over training: loss, validation, gain over dense, load imbalance. Each gathers one
 * curve per side, draws all of them by one function, and frees them. */
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

#include <math.h>
#include <stdlib.h>

#define CURVE_POINTS 160

/* One line per side: the mean over seeds, and the range of the seeds. */
typedef struct curve {
    int64_t n;
    double *x, *y, *low, *high;
} curve;

typedef struct curves {
    const iso_page_data *data;
    const char *title, *description, *y_label;
    bool is_log, has_dots, has_bands;
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

static void draw_curves(iso_str *out, const void *ctx, const char *id, double width,
                        double height) {
    const curves *all = ctx;
    iso_plot plot;
    iso_axis x, y;
    curve_axes(all, &x, &y);
    iso_plot_open(&plot, out, id, all->title, all->description, width, height, x, y);
    for (int64_t i = 0; i < all->data->sides->n; i++) {
        const curve *line = &all->list[i];
        if (line->n > 0 && all->has_bands && all->data->sides->sides[i].n_runs > 1)
            iso_plot_band(&plot, iso_side_class(all->data->sides, i), line->x, line->low,
                          line->high, line->n);
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

/* All seeds of a side have the same number of steps; a folder that lost some counts with the rest.
 */
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
        all.has_bands = true;
        iso_str legend = {0};
        iso_sides_legend(&legend, data, false);
        iso_page_figure(
            out, "loss", all.title,
            "Cross-entropy of the training batches, without the balance loss, averaged "
            "over 2\xc2\xa0% of the training and over seeds (bands: range of the seeds). "
            "At equal C all sides end at the same compute, though not after the same "
            "number of tokens: an MoE spends less on each. The scale leaves out the fall of the "
            "first tenth.",
            legend.data, draw_curves, &all, 360.0, 280.0);
        iso_str_release(&legend);
    }
    curves_release(&all);
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
            double y = iso_eval_row_headline(&side->runs[i]->run.evals[p]).bpc;
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
    for (int64_t i = 0; i < data->sides->n; i++) all.list[i] = eval_curve(&data->sides->sides[i]);
    if (curves_are_empty(&all)) {
        iso_page_text(out, "soft",
                      "No validation curves: the runs were evaluated only at their end.");
    } else {
        all.title = "Validation over compute";
        all.description = "Mean bits per character over the validation domains against training "
                          "FLOPs, one line per side.";
        all.y_label = "validation, bits per character";
        all.has_bands = true;
        all.has_dots = true;
        iso_str legend = {0};
        iso_sides_legend(&legend, data, false);
        iso_page_figure(
            out, "validation", all.title,
            "Equal-weight mean over the named validation domains, on the small sample "
            "scored during training; mean over seeds (bands: their range). The final "
            "scores in the tables come from a larger sample and need not continue these "
            "lines exactly.",
            legend.data, draw_curves, &all, 360.0, 280.0);
        iso_str_release(&legend);
    }
    curves_release(&all);
}

/* y of `line` at x between its points; NaN outside of them. */
static double curve_at(const curve *line, double x) {
    for (int64_t i = 1; i < line->n; i++)
        if (x >= line->x[i - 1] && x <= line->x[i] && line->x[i] > line->x[i - 1])
            return line->y[i - 1] + (line->y[i] - line->y[i - 1]) * (x - line->x[i - 1]) /
                                        (line->x[i] - line->x[i - 1]);
    return NAN;
}

/* dense - side at the side's own evaluations from a fifth of the training on, where dense has been
 * evaluated around them, and at the end the gap of the final scores. */
static curve gain_curve(const curve *dense, const iso_side *dense_side, const iso_side *side) {
    curve line = eval_curve(side);
    curve out = curve_create(line.n + 1);
    double flops = iso_side_run_number(side->runs[0], "train_flops");
    out.n = 0;
    for (int64_t i = 0; i <= line.n; i++) {
        bool last = i == line.n;
        double x = last ? flops : line.x[i];
        double gain = last ? dense_side->mean_bpc - side->mean_bpc : curve_at(dense, x) - line.y[i];
        if (isnan(gain) || !(x >= 0.2 * flops)) continue;
        out.x[out.n] = x;
        out.y[out.n] = out.low[out.n] = out.high[out.n] = gain;
        out.n++;
    }
    if (out.n == 1) out.n = 0; /* the end alone is no line, and is in the figure above */
    free(line.x);
    return out;
}

void iso_figure_gain(iso_str *out, const iso_page_data *data) {
    const iso_side *dense_side = data->answer->dense;
    if (data->answer->outcome == ISO_OUTCOME_NO_COMPARISON) return;
    curves all = curves_create(data);
    curve dense = eval_curve(dense_side);
    for (int64_t i = 0; i < data->sides->n; i++)
        if (data->sides->sides[i].is_moe)
            all.list[i] = gain_curve(&dense, dense_side, &data->sides->sides[i]);
    free(dense.x);
    if (!curves_are_empty(&all)) {
        all.title = "Gain over dense at the same compute";
        all.description =
            "Bits per character of dense minus those of each MoE, over training FLOPs.";
        all.y_label = "gain, bits per character";
        all.has_dots = true;
        all.y_from = 0.0;
        iso_str legend = {0};
        iso_sides_legend(&legend, data, true);
        iso_page_figure(
            out, "gain", all.title,
            "The validation scores above as differences: dense (interpolated between its "
            "evaluations) minus MoE, positive = the MoE is ahead; the last point is the "
            "gap of the final scores. Before it the learning rate is still high on all "
            "sides: only the end compares finished models.",
            legend.data, draw_curves, &all, 300.0, 260.0);
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
        all.has_bands = true;
        iso_str legend = {0};
        iso_sides_legend(&legend, data, true);
        iso_page_figure(
            out, "imbalance", all.title,
            "1 would be perfect balance; a line that climbs is a router that collapses. "
            "Smoothed over 2\xc2\xa0% of the training. The scale leaves out the first "
            "tenth.",
            legend.data, draw_curves, &all, 300.0, 260.0);
        iso_str_release(&legend);
    }
    curves_release(&all);
}
