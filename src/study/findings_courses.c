/* Figure 1a: loss against training compute at fixed activation rates. Where the study trained every
 * rate on several budgets, from the ends of trainings, and gaps to dense beside it; otherwise from
 * their courses. */
#include "study/findings_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const iso_finding_axis compute_axis = {"training compute", "FLOPs", true, false};
static const iso_finding_axis loss_axis = {"loss", ISO_FINDINGS_UNIT, false, false};
static const iso_finding_axis gap_axis = {"gap, dense minus MoE", ISO_FINDINGS_UNIT, false, false};

/* --- ends of trainings --- */

/* Of a scan over data. */
static bool in_sizes(const iso_findings_build *b, const iso_side *side) {
    json_t *groups = iso_findings_groups(b), *group;
    size_t i;
    bool in = false;
    json_array_foreach(groups, i, group) {
        const char *name = json_string_value(group);
        if (!iso_findings_is_scan(name) || !iso_findings_group_size(name)) continue;
        in = in || iso_study_names_have(iso_findings_run_of(b, side->runs[0])->groups, name);
    }
    json_decref(groups);
    return in;
}

/* Of the sides of the same compute: little text scatters more. */
static iso_pooled noise_at(const iso_findings_build *b, double flops) {
    iso_pooled own = {0};
    for (int64_t i = 0; i < b->all.n; i++) {
        const iso_side *side = &b->all.sides[i];
        if (in_sizes(b, side) && iso_findings_same(iso_findings_number(side, "train_flops"), flops))
            iso_findings_noise_add(&own, b, side);
    }
    return iso_findings_noise_or_all(b, &own);
}

/* One rate's sides, if side i is the first of them: how many there are. */
static int64_t collect(iso_series_point *points, const iso_findings_build *b, int64_t i) {
    int64_t n = 0;
    const iso_side *first = &b->all.sides[i];
    if (!in_sizes(b, first)) return 0;
    for (int64_t j = 0; j < b->all.n; j++) {
        const iso_side *side = &b->all.sides[j];
        if (!in_sizes(b, side) || !iso_findings_same_rate(first, side)) continue;
        if (j < i) return 0;
        double flops = iso_findings_number(side, "train_flops");
        iso_pooled noise = noise_at(b, flops);
        points[n++] = iso_findings_point(side, flops, &noise);
    }
    return n;
}

static iso_status add_ends(iso_findings_build *b) {
    const iso_finding_figure empty = {
        .key = "1a",
        .title = "Loss against training compute at fixed activation rates",
        .caption =
            "Every point is a training to its end, a mean over seeds; bars are the "
            "95\xc2\xa0% of training noise pooled over those of the same compute. Levels depend on "
            "the corpus, so that the paper's curves have no place here.",
        .x = compute_axis,
        .y = loss_axis};
    iso_finding_figure *figure;
    iso_series_point *points = calloc((size_t)b->all.n + 1, sizeof *points);
    ISO_ASSERT(points != NULL);
    iso_status status = iso_findings_figure(b->out, &figure, &empty);
    for (int64_t i = 0; i < b->all.n && status == ISO_OK; i++) {
        int64_t n = collect(points, b, i);
        if (n == 0) continue;
        char *name = iso_findings_side_name(&b->all.sides[i]);
        const iso_series series = {name, ISO_SERIES_MEASURED, n, points};
        status = iso_findings_series(figure, &series);
        free(name);
    }
    free(points);
    return status;
}

/* --- their gaps to dense --- */

typedef struct end_gap {
    char *name; /* "MoE 20 %" */
    iso_series_point point;
} end_gap;

/* Appends those of one budget, if its runs are equal. */
static iso_status collect_gaps(end_gap *all, int64_t *n, const iso_findings_build *b,
                               const char *group) {
    iso_findings_view view;
    ISO_TRY(iso_findings_view_make(&view, b, group));
    iso_answer answer = iso_answer_with_noise(&view.sides, &view.noise);
    bool comparison = answer.dense && iso_findings_is_equal(&view);
    for (int64_t i = 0; i < view.sides.n && comparison; i++) {
        const iso_side *side = &view.sides.sides[i];
        if (!side->is_moe) continue;
        iso_gap gap = iso_gap_estimate(answer.dense, side, &view.noise);
        double flops = iso_findings_number(side, "train_flops");
        all[(*n)++] =
            (end_gap){iso_findings_side_name(side),
                      {flops, gap.bpc, gap.bpc - gap.half, gap.bpc + gap.half, side->n_runs, NULL}};
    }
    iso_findings_view_release(&view);
    return ISO_OK;
}

static int by_compute(const void *a, const void *b) {
    double x = ((const end_gap *)a)->point.x, y = ((const end_gap *)b)->point.x;
    return (x > y) - (x < y);
}

/* A series for each rate, in order of their first points. */
static iso_status add_gap_series(iso_finding_figure *figure, const end_gap *all, int64_t n) {
    iso_series_point *points = calloc((size_t)n + 1, sizeof *points);
    ISO_ASSERT(points != NULL);
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n && status == ISO_OK; i++) {
        iso_series series = {all[i].name, ISO_SERIES_MEASURED, 0, points};
        bool seen = false;
        for (int64_t j = 0; j < n && !seen; j++) {
            if (strcmp(all[j].name, all[i].name) != 0) continue;
            seen = j < i;
            points[series.n++] = all[j].point;
        }
        if (!seen) status = iso_findings_series(figure, &series);
    }
    free(points);
    return status;
}

static iso_status add_end_gaps(iso_findings_build *b) {
    const iso_finding_figure empty = {
        .key = "1a-gap",
        .title = "Gap to dense against training compute at fixed activation rates",
        .caption = "Each point compares an MoE with the dense model of its budget; above zero the "
                   "MoE is better. Bars are 95\xc2\xa0% of training noise, pooled over the "
                   "configurations of that budget, and of evaluation noise, paired over blocks of "
                   "text.",
        .x = compute_axis,
        .y = gap_axis};
    json_t *groups = iso_findings_groups(b), *group;
    end_gap *all = calloc((size_t)b->all.n + 1, sizeof *all);
    iso_finding_figure *figure;
    iso_status status = ISO_OK;
    int64_t n = 0;
    size_t i;
    ISO_ASSERT(all != NULL);
    json_array_foreach(groups, i, group) {
        const char *name = json_string_value(group);
        if (status == ISO_OK && iso_findings_is_scan(name) && iso_findings_group_size(name))
            status = collect_gaps(all, &n, b, name);
    }
    qsort(all, (size_t)n, sizeof *all, by_compute);
    if (status == ISO_OK && n > 0) status = iso_findings_figure(b->out, &figure, &empty);
    if (status == ISO_OK && n > 0) status = add_gap_series(figure, all, n);
    for (int64_t j = 0; j < n; j++) free(all[j].name);
    free(all);
    json_decref(groups);
    return status;
}

/* --- courses --- */

/* Evaluations on the way, a mean over the seeds that have them all; the final one has another
 * sample of text. */
static iso_status add_course(iso_finding_figure *figure, const iso_side *side) {
    const iso_run *first = &side->runs[0]->run;
    iso_series_point *points = calloc((size_t)first->n_evals + 1, sizeof *points);
    ISO_ASSERT(points != NULL);
    char *name = iso_findings_side_name(side);
    iso_series series = {name, ISO_SERIES_MEASURED, 0, points};
    double per_step = iso_findings_number(side, "train_flops") / iso_findings_number(side, "steps");
    for (int64_t i = 0; i < first->n_evals && !first->evals[i].is_final; i++) {
        double sum = 0.0;
        int64_t n = 0;
        for (int64_t j = 0; j < side->n_runs; j++) {
            const iso_run *run = &side->runs[j]->run;
            if (i >= run->n_evals || run->evals[i].step != first->evals[i].step) continue;
            sum += iso_eval_row_headline(&run->evals[i]).bpc;
            n++;
        }
        points[series.n++] = (iso_series_point){.x = per_step * (double)first->evals[i].step,
                                                .y = sum / (double)n,
                                                .low = NAN,
                                                .high = NAN,
                                                .n_seeds = n};
    }
    iso_status status = series.n > 0 ? iso_findings_series(figure, &series) : ISO_OK;
    free(name);
    free(points);
    return status;
}

static iso_status add_courses(iso_findings_build *b) {
    iso_findings_view view;
    iso_finding_figure *figure;
    ISO_TRY(iso_findings_view_make(&view, b, "scan"));
    char *caption = iso_strf(
        "Validation loss on the way, a mean over seeds (at least %lld a side); compute is what was "
        "spent until then. The learning rate decays over each training, so points before the end "
        "lie above what a training planned for that compute would reach. Without intervals; the "
        "ends are compared in figure 1b.",
        (long long)iso_findings_seeds(&view.sides));
    const iso_finding_figure empty = {
        .key = "1a",
        .title = "Loss against training compute, on the way, at fixed activation rates",
        .caption = caption,
        .x = compute_axis,
        .y = loss_axis};
    iso_status status = view.sides.n > 0 ? iso_findings_figure(b->out, &figure, &empty) : ISO_OK;
    for (int64_t i = 0; i < view.sides.n && status == ISO_OK; i++)
        status = add_course(figure, &view.sides.sides[i]);
    free(caption);
    iso_findings_view_release(&view);
    return status;
}

iso_status iso_findings_add_courses(iso_findings_build *b) {
    for (int64_t i = 0; i < b->all.n; i++)
        if (in_sizes(b, &b->all.sides[i])) {
            ISO_TRY(add_ends(b));
            return add_end_gaps(b);
        }
    return add_courses(b);
}
