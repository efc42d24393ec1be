/* Sides to runs: under all their seeds, at a rate that is Step Law's, swept here, or swept before.
 *
 * A sweep tries every multiplier on every side; the best by the documents that choose is the
 * side's. A best one at the edge may have a better one beyond, so the sweep goes on there. In a
 * study of its own, or a method's part, a multiplier is judged by all seeds and every side is
 * remembered for the parts that follow; in another study (rules.lr: sweep) by the first seed, and
 * the others follow at the best.
 */
#include "study/study_build.h"

#include "arch/count.h"
#include "base/stats.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static iso_status add_seeds(iso_study_build *b, const iso_study_side *side, const char *name,
                            const iso_config *config) {
    for (int64_t i = 0; i < side->seeds.n; i++) {
        int64_t index;
        ISO_TRY(iso_study_add_run(&index, b, name, side->group, config,
                                  (int64_t)side->seeds.values[i]));
    }
    return ISO_OK;
}

/* "moe-20" at a multiplier: "moe-20-lr0.5". */
static void name_at(char name[ISO_STUDY_SIDE_BYTES], const iso_study_side *side,
                    double lr_multiplier) {
    iso_study_set_text(name, ISO_STUDY_SIDE_BYTES, "%s-lr%g", side->name, lr_multiplier);
}

/* --- one side --- */

/* The mean of a config's seeds, NaN if one diverged; false if one is not known. */
static bool score_seeds(iso_study_score *out, const iso_study_build *b, const int64_t *runs,
                        int64_t n) {
    *out = (iso_study_score){0};
    if (!b->score) return false;
    for (int64_t i = 0; i < n; i++) {
        iso_study_score score;
        if (!b->score(b->ctx, &b->plan->runs[runs[i]], &score)) return false;
        bool lost = score.diverged || score.stopped;
        out->diverged = out->diverged || lost;
        out->choose += lost ? NAN : score.choose / (double)n;
        out->report += lost ? NAN : score.report / (double)n;
    }
    return true;
}

static json_t *row_of(const iso_study_run *run, double lr_multiplier, int64_t n_seeds,
                      const iso_study_score *score) {
    json_t *row =
        json_pack("{ss ss sf sI sb}", "run", run->name, "side", run->side, "lr_multiplier",
                  lr_multiplier, "n_seeds", (json_int_t)n_seeds, "diverged", score->diverged);
    json_object_set_new(row, "bpc_choose",
                        score->diverged ? json_null() : json_real(score->choose));
    json_object_set_new(row, "bpc_report",
                        score->diverged ? json_null() : json_real(score->report));
    return row;
}

/* A side's sweep: the rates in rising order, and of the best its place; -1 while it is not known.
 */
typedef struct sweep {
    iso_study_list rates;
    int64_t best;
    json_t *rows;
} sweep;

static void insert_rate(iso_study_list *rates, double lr_multiplier) {
    int64_t at = rates->n++;
    for (; at > 0 && rates->values[at - 1] > lr_multiplier; at--)
        rates->values[at] = rates->values[at - 1];
    rates->values[at] = lr_multiplier;
}

static bool best_at_edge(const sweep *s) {
    return s->rates.n > 1 && (s->best == 0 || s->best == s->rates.n - 1);
}

/* As far beyond the best as its only neighbour is on the other side. */
static double beyond_edge(const sweep *s) {
    const double *rates = s->rates.values;
    double neighbour = rates[s->best == 0 ? 1 : s->best - 1];
    return rates[s->best] * rates[s->best] / neighbour;
}

static void keep_table(iso_study_build *b, const iso_study_side *side, const sweep *s) {
    bool at_edge = best_at_edge(s);
    json_array_append_new(b->plan->steps,
                          json_pack("{ss ss ss sO sI sb}", "step", "lr", "part", b->part, "side",
                                    side->name, "candidates", s->rows, "chosen",
                                    (json_int_t)s->best, "at_edge", at_edge));
    if (at_edge)
        iso_str_appendf(&b->plan->notes,
                        "%s: the best rate, %g over Step Law, is at the edge of the sweep\n",
                        side->name, s->rates.values[s->best]);
}

/* Every rate of the sweep; those that have a run already are only looked up. */
static iso_status try_rates(sweep *s, iso_study_build *b, const iso_study_side *side) {
    int64_t n_seeds = b->study->kind == ISO_STUDY_SWEEP ? side->seeds.n : 1;
    double best = INFINITY;
    bool known = true;
    s->best = -1;
    json_array_clear(s->rows);
    for (int64_t i = 0; i < s->rates.n; i++) {
        int64_t runs[ISO_STUDY_LIST_MAX] = {0};
        char name[ISO_STUDY_SIDE_BYTES];
        iso_config config = side->config;
        iso_study_score score = {0};
        config.train.lr_multiplier = s->rates.values[i];
        name_at(name, side, config.train.lr_multiplier);
        for (int64_t j = 0; j < n_seeds; j++)
            ISO_TRY(
                iso_study_add_run(&runs[j], b, name, "", &config, (int64_t)side->seeds.values[j]));
        known = known && score_seeds(&score, b, runs, n_seeds);
        if (!known) continue;
        if (score.choose < best) best = score.choose, s->best = i;
        json_array_append_new(s->rows,
                              row_of(&b->plan->runs[runs[0]], s->rates.values[i], n_seeds, &score));
    }
    if (!known)
        s->best = -1;
    else if (s->best < 0)
        return iso_fail(ISO_ERR_FAILED,
                        "the sweep of %s: every rate diverged; take lower rules.lr_multipliers",
                        side->name);
    return ISO_OK;
}

/* Round after round while the best lies at an edge; a round is a stage. */
static iso_status sweep_side(double *out_best, iso_study_build *b, const iso_study_side *side) {
    const iso_study_list *multipliers = &b->study->lr_multipliers;
    sweep s = {.rows = json_array()};
    *out_best = 0;
    for (int64_t i = 0; i < multipliers->n; i++) insert_rate(&s.rates, multipliers->values[i]);
    iso_status status = try_rates(&s, b, side);
    for (int64_t i = 0; i < b->study->lr_extend && status == ISO_OK; i++) {
        if (s.best < 0 || !best_at_edge(&s) || s.rates.n == ISO_STUDY_LIST_MAX) break;
        insert_rate(&s.rates, beyond_edge(&s));
        b->after = b->stage++;
        status = try_rates(&s, b, side);
    }
    if (status == ISO_OK && s.best >= 0) {
        keep_table(b, side, &s);
        *out_best = s.rates.values[s.best];
    }
    json_decref(s.rows);
    return status;
}

/* --- for the parts behind --- */

static iso_status remember(iso_study_build *b, const iso_study_side *side, double lr_multiplier) {
    iso_counts counts;
    ISO_TRY(iso_count(&counts, &side->config.model, ISO_CONVENTION_PAPER));
    if (b->n_swept == ISO_STUDY_SWEPT_MAX)
        return iso_fail(ISO_ERR_USAGE, "more than %d sides are swept; take fewer rates",
                        ISO_STUDY_SWEPT_MAX);
    b->swept[b->n_swept++] = (iso_study_swept){counts.activation_rate, lr_multiplier};
    return ISO_OK;
}

/* A dense model takes a dense one's rate, an MoE an MoE's. */
iso_status iso_study_set_rate(const iso_study_build *b, iso_config *config) {
    iso_counts counts;
    double nearest = INFINITY;
    if (b->n_swept == 0) return ISO_OK;
    ISO_TRY(iso_count(&counts, &config->model, ISO_CONVENTION_PAPER));
    bool is_dense = config->model.num_experts == 0;
    for (int64_t i = 0; i < b->n_swept; i++) {
        double distance = fabs(log(b->swept[i].activation_rate / counts.activation_rate));
        if ((b->swept[i].activation_rate == 1) != is_dense || distance >= nearest) continue;
        nearest = distance;
        config->train.lr_multiplier = b->swept[i].lr_multiplier;
    }
    return iso_config_resolve(config, NULL);
}

/* --- all sides --- */

static iso_status take_best(iso_study_build *b, const iso_study_side *side, double lr_multiplier) {
    char name[ISO_STUDY_SIDE_BYTES];
    iso_config config = side->config;
    config.train.lr_multiplier = lr_multiplier;
    if (b->study->kind == ISO_STUDY_SWEEP) return remember(b, side, lr_multiplier);
    name_at(name, side, lr_multiplier);
    return add_seeds(b, side, name, &config);
}

static iso_status run_sweeps(iso_study_build *b) {
    double *best = calloc((size_t)b->n_sides + 1, sizeof *best); /* 0: not known yet */
    int64_t first = b->stage, last = b->stage, after = b->after;
    bool known = true;
    iso_status status = best ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate the sweep");
    for (int64_t i = 0; i < b->n_sides && status == ISO_OK; i++) {
        status = sweep_side(&best[i], b, &b->sides[i]);
        if (b->stage > last) last = b->stage;
        b->stage = first, b->after = after;
        if (best[i] == 0 && !b->score)
            best[i] = b->study->lr_multipliers.values[0], b->plan->assumed = true;
        known = known && best[i] > 0;
    }
    if (!known) b->plan->complete = false;
    b->after = last, b->stage = last + 1;
    for (int64_t i = 0; known && i < b->n_sides && status == ISO_OK; i++)
        status = take_best(b, &b->sides[i], best[i]);
    free(best);
    return status;
}

iso_status iso_study_run_sides(iso_study_build *b) {
    if (b->study->lr == ISO_STUDY_LR_SWEEP || b->study->kind == ISO_STUDY_SWEEP)
        return run_sweeps(b);
    for (int64_t i = 0; i < b->n_sides; i++) {
        const iso_study_side *side = &b->sides[i];
        char name[ISO_STUDY_SIDE_BYTES];
        iso_config config = side->config;
        ISO_TRY(iso_study_set_rate(b, &config));
        iso_study_set_text(name, sizeof name, "%s", side->name);
        if (b->n_swept > 0) name_at(name, side, config.train.lr_multiplier);
        ISO_TRY(add_seeds(b, side, name, &config));
    }
    return ISO_OK;
}
