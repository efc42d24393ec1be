/* The greedy search. Every step tries its candidates on what the steps before have chosen; the
 * winner is the simplest of those that the best does not beat by more than the A/A spread. All
 * candidates have the reference baseline's compute and text: what differs is the shape.
 *
 * Steps 1, 4 and 5 of the MoE and all of the dense model ask the planner for shapes; 2 changes the
 * gates, 3 cuts the same experts finer or coarser: E, K times f, De over f, so that N, N_a and M
 * stay what they are to the last unit.
 */
#include "study/study_build.h"

#include "arch/count.h"
#include "base/stats.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES_MAX ISO_STUDY_LIST_MAX

typedef struct candidate {
    char label[40]; /* "1dense-shared", "k4" */
    iso_config config;
    char hash[ISO_SHA256_HEX_BYTES];
    iso_plan_goal goal; /* what the planner was asked; the winner's feeds the next step */
    double bpc_of[ISO_STUDY_LIST_MAX]; /* by seed */
    double bpc, report;                /* means over seeds; NaN where it was stopped */
    int64_t first_run;
    int64_t n_scored;
} candidate;

typedef struct search {
    iso_study_build *b;
    iso_budget *reference; /* its baseline says what C and D-hat are */
    iso_config config;     /* of the winner so far */
    iso_plan_goal goal;
    bool has_winner;
    char guard[ISO_STUDY_RUN_BYTES];
    iso_pooled noise; /* of controls and of the steps so far */
    int64_t n_candidates;
    candidate candidates[CANDIDATES_MAX];
} search;

/* --- candidates --- */

/* A shape on the reference's C and D-hat. */
static iso_status fit_config(iso_config *out, const search *s, const iso_shape *shape) {
    const iso_budget_model *dense = &s->reference->models[0];
    const iso_equal_rule *rule = &s->reference->goal.rule;
    int64_t M = dense->plan.counts.train_flops_per_token, steps;
    iso_counts counts;
    *out = s->reference->goal.base;
    out->model = *shape;
    ISO_TRY(iso_count(&counts, shape, ISO_CONVENTION_PAPER));
    double tokens = (double)M / (double)counts.train_flops_per_token * (double)dense->tokens;
    ISO_TRY(iso_equal_batch_set(out, rule, tokens > 1 ? (int64_t)tokens : 1));
    ISO_TRY(iso_equal_steps_of(&steps, out, M, dense->tokens));
    ISO_TRY(iso_equal_steps_set(out, rule, steps, NULL));
    ISO_TRY(iso_study_set_rate(s->b, out));
    int64_t S = shape->max_position_embeddings, D = iso_config_tokens(out);
    iso_gap_scheme scheme = s->b->study->scheme;
    out->data.unique_tokens = scheme == ISO_GAP_STRICT  ? s->reference->unique_tokens
                              : scheme == ISO_GAP_LOOSE ? D / S / 2 * S
                                                        : D;
    if (s->b->text_tokens > 0 && out->data.unique_tokens > s->b->text_tokens)
        return iso_fail(ISO_ERR_USAGE,
                        "a candidate needs %" PRId64 " tokens of text and there are %" PRId64
                        "; take the scheme strict, or less compute",
                        out->data.unique_tokens, s->b->text_tokens);
    return ISO_OK;
}

/* A candidate that is another's shape, or that cannot be had, is left out with a note. */
static void add_candidate(search *s, const char *label, const iso_shape *shape,
                          const iso_plan_goal *goal) {
    candidate *c = &s->candidates[s->n_candidates];
    *c = (candidate){.goal = *goal, .bpc = NAN, .report = NAN};
    iso_study_set_text(c->label, sizeof c->label, "%s", label);
    if (s->n_candidates == CANDIDATES_MAX - 1) return;
    if (iso_shape_check(shape) != ISO_OK || fit_config(&c->config, s, shape) != ISO_OK) {
        iso_str_appendf(&s->b->plan->notes, "left out: %s: %s\n", label, iso_error_message());
        return;
    }
    iso_config_hash(c->hash, &c->config);
    for (int64_t i = 0; i < s->n_candidates; i++)
        if (strcmp(s->candidates[i].hash, c->hash) == 0) {
            iso_str_appendf(&s->b->plan->notes, "left out: %s has the shape of %s\n", label,
                            s->candidates[i].label);
            return;
        }
    s->n_candidates++;
}

static void add_planned(search *s, const char *label, const iso_plan_goal *asked) {
    iso_plan_shapes *shapes = calloc(1, sizeof *shapes);
    iso_plan_goal free_goal = *asked, *goal = &free_goal;
    iso_plan_model dense;
    ISO_ASSERT(shapes != NULL);
    bool is_dense = goal->n_rates == 0;
    iso_status status =
        is_dense ? iso_plan_dense_find(&dense, goal) : iso_plan_shapes_find(shapes, goal);
    if (status != ISO_OK && goal->experts_per_token > 0) {
        goal->experts_per_token = 0; /* the K chosen before may have no shape there */
        status = iso_plan_shapes_find(shapes, goal);
    }
    if (status == ISO_OK) {
        iso_shape shape = is_dense ? dense.shape : shapes->moe[0].shape;
        /* The gates are no matter of size, and stay as chosen. */
        if (s->has_winner) shape.norm_topk_prob = s->config.model.norm_topk_prob;
        add_candidate(s, label, &shape, goal);
    } else {
        iso_str_appendf(&s->b->plan->notes, "left out: %s: %s\n", label, iso_error_message());
    }
    free(shapes);
}

/* --- the steps --- */

static void layouts(search *s) {
    const iso_study *study = s->b->study;
    for (int64_t i = 0; i < study->layouts.n; i++)
        for (int64_t j = 0; j < study->shared_expert.n; j++) {
            iso_plan_goal goal = s->goal;
            char label[40];
            goal.layout = (iso_layout)study->layouts.values[i];
            goal.shared_expert = study->shared_expert.values[j] != 0;
            snprintf(label, sizeof label, "%s-%s", iso_layout_name(goal.layout),
                     goal.shared_expert ? "shared" : "plain");
            add_planned(s, label, &goal);
        }
}

static void gates(search *s) {
    for (int64_t i = 0; i < s->b->study->norm_topk.n; i++) {
        iso_shape shape = s->config.model;
        shape.norm_topk_prob = s->b->study->norm_topk.values[i] != 0;
        add_candidate(s, shape.norm_topk_prob ? "gates-normalised" : "gates-plain", &shape,
                      &s->goal);
    }
}

/* The same experts cut `factor` times finer, from coarse to fine; all that does not come out whole
 * is left out. */
static void granularities(search *s) {
    const iso_study_list *factors = &s->b->study->granularity;
    const iso_shape *from = &s->config.model;
    for (int64_t i = 0; i < factors->n; i++) {
        iso_shape shape = *from;
        iso_plan_goal goal = s->goal;
        char label[40];
        double K = (double)from->num_experts_per_tok * factors->values[i];
        double E = (double)from->num_experts * factors->values[i];
        double De = (double)from->moe_intermediate_size / factors->values[i];
        if (K != round(K) || E != round(E) || De != round(De) || K < 1 || De < 1) {
            iso_str_appendf(&s->b->plan->notes,
                            "left out: granularity %g: K %g, E %g, De %g are not whole\n",
                            factors->values[i], K, E, De);
            continue;
        }
        shape.num_experts_per_tok = goal.experts_per_token = (int64_t)K;
        shape.num_experts = (int64_t)E;
        shape.moe_intermediate_size = (int64_t)De;
        goal.min_experts_per_token = 1;
        snprintf(label, sizeof label, "k%.0f", K);
        add_candidate(s, label, &shape, &goal);
    }
}

/* The winner of the step before stays one of the candidates, and a tie goes to it. */
static void add_kept(search *s) {
    if (s->has_winner) add_candidate(s, "kept", &s->config.model, &s->goal);
}

/* Steps that give the planner one target after the other; the goal's field is at `offset`. */
static void targets(search *s, const iso_study_list *values, size_t offset, const char *name) {
    add_kept(s);
    for (int64_t i = 0; i < values->n; i++) {
        iso_plan_goal goal = s->goal;
        char label[40];
        snprintf(label, sizeof label, "%s%g", name, values->values[i]);
        memcpy((char *)&goal + offset, &values->values[i], sizeof(double));
        add_planned(s, label, &goal);
    }
}

static void zetas(search *s) {
    targets(s, &s->b->study->zeta, offsetof(iso_plan_goal, zeta), "zeta");
}

static void mus(search *s) {
    targets(s, &s->b->study->mu, offsetof(iso_plan_goal, mu), "mu");
}

static void dense_zetas(search *s) {
    targets(s, &s->b->study->dense_zeta, offsetof(iso_plan_goal, dense_zeta), "zeta");
}

static void dense_alphas(search *s) {
    targets(s, &s->b->study->dense_alpha, offsetof(iso_plan_goal, alpha), "alpha");
}

static void dense_heads(search *s) {
    const iso_study_list *values = &s->b->study->dense_head_dim;
    add_kept(s);
    for (int64_t i = 0; i < values->n; i++) {
        iso_plan_goal goal = s->goal;
        char label[40];
        goal.head_dim = (int64_t)values->values[i];
        snprintf(label, sizeof label, "head%" PRId64, goal.head_dim);
        add_planned(s, label, &goal);
    }
}

/* --- one step --- */

static iso_status add_runs(search *s, const char *side) {
    const iso_study *study = s->b->study;
    for (int64_t i = 0; i < s->n_candidates; i++) {
        candidate *c = &s->candidates[i];
        char name[ISO_STUDY_SIDE_BYTES];
        snprintf(name, sizeof name, "%s-%s", side, c->label);
        for (int64_t j = 0; j < study->seeds.n; j++) {
            int64_t index, n_before = s->b->plan->n_runs;
            ISO_TRY(iso_study_add_run(&index, s->b, name, s->b->part, &c->config,
                                      (int64_t)study->seeds.values[j]));
            if (j == 0) c->first_run = index;
            iso_study_run *run = &s->b->plan->runs[index];
            if (index == n_before && study->stop_hopeless > 0 && *s->guard)
                memcpy(run->guard, s->guard, sizeof run->guard);
        }
    }
    return ISO_OK;
}

static int64_t run_of(const search *s, const candidate *c, int64_t seed) {
    const iso_study_plan *plan = s->b->plan;
    iso_config config = c->config;
    char hash[ISO_SHA256_HEX_BYTES];
    config.train.seed = seed;
    config.train.threads = plan->runs[c->first_run].config.train.threads;
    iso_config_hash(hash, &config);
    for (int64_t i = 0; i < plan->n_runs; i++)
        if (strcmp(plan->runs[i].config_hash, hash) == 0) return i;
    return c->first_run;
}

/* False if a score is missing. A candidate of which one seed was stopped or diverged has none. */
static bool score_all(search *s) {
    const iso_study_list *seeds = &s->b->study->seeds;
    if (!s->b->score || s->b->noise_open) return false;
    for (int64_t i = 0; i < s->n_candidates; i++) {
        candidate *c = &s->candidates[i];
        double bpc[ISO_STUDY_LIST_MAX] = {0}, report = 0;
        bool stopped = false;
        for (int64_t j = 0; j < seeds->n; j++) {
            iso_study_score score = {0};
            int64_t run = run_of(s, c, (int64_t)seeds->values[j]);
            if (!s->b->score(s->b->ctx, &s->b->plan->runs[run], &score)) return false;
            stopped = stopped || score.stopped || score.diverged;
            bpc[j] = score.choose;
            report += score.report / (double)seeds->n;
        }
        if (stopped) continue;
        memcpy(c->bpc_of, bpc, sizeof bpc);
        c->n_scored = seeds->n;
        c->bpc = iso_mean(bpc, seeds->n);
        c->report = report;
    }
    return true;
}

/* Seed noise of the better half of the candidates: one that trains badly scatters more, and is not
 * among those that a tie is about. */
static void add_noise(search *s) {
    for (int64_t i = 0; i < s->n_candidates; i++) {
        const candidate *c = &s->candidates[i];
        int64_t n_better = 0;
        for (int64_t j = 0; j < s->n_candidates; j++) n_better += s->candidates[j].bpc < c->bpc;
        if (c->n_scored > 0 && 2 * n_better < s->n_candidates)
            iso_pooled_add(&s->noise, c->bpc_of, c->n_scored);
    }
}

/* What two candidates must differ by: measured between seeds, else assumed. */
static double spread_of(const search *s) {
    double n = (double)s->b->study->seeds.n, sd = s->b->study->seed_sd;
    if (s->noise.dof > 0) return iso_t_95(s->noise.dof) * iso_pooled_sd(&s->noise) * sqrt(2 / n);
    return iso_t_95(INFINITY) * (sd > 0 ? sd : ISO_STUDY_SEED_SD) * sqrt(2 / n);
}

/* The first within the spread of the best: candidates come from the simplest on. */
static int64_t choose(const search *s, double spread) {
    int64_t best = -1;
    for (int64_t i = 0; i < s->n_candidates; i++)
        if (!isnan(s->candidates[i].bpc) &&
            (best < 0 || s->candidates[i].bpc < s->candidates[best].bpc))
            best = i;
    for (int64_t i = 0; i < best; i++)
        if (s->candidates[i].bpc - s->candidates[best].bpc <= spread) return i;
    return best;
}

static void keep_table(search *s, const char *step, int64_t chosen, double spread) {
    json_t *rows = json_array();
    for (int64_t i = 0; i < s->n_candidates; i++) {
        const candidate *c = &s->candidates[i];
        json_t *config = iso_config_to_json(&c->config);
        json_t *row = json_pack("{ss ss sI sO}", "label", c->label, "side",
                                s->b->plan->runs[c->first_run].side, "n_seeds",
                                (json_int_t)c->n_scored, "model", json_object_get(config, "model"));
        json_decref(config);
        json_object_set_new(row, "bpc_choose", isnan(c->bpc) ? json_null() : json_real(c->bpc));
        json_object_set_new(row, "bpc_report",
                            isnan(c->report) ? json_null() : json_real(c->report));
        json_array_append_new(rows, row);
    }
    json_array_append_new(s->b->plan->steps,
                          json_pack("{ss ss so sI sf sb sf}", "step", step, "part", s->b->part,
                                    "candidates", rows, "chosen", (json_int_t)chosen, "spread",
                                    spread, "spread_assumed", s->noise.dof <= 0, "seed_dof",
                                    s->noise.dof));
}

/* *more: the next step can follow. */
static iso_status take_step(search *s, const char *name, void (*propose)(search *), bool *more) {
    *more = false;
    s->n_candidates = 0;
    propose(s);
    if (s->n_candidates == 0)
        return iso_fail(ISO_ERR_USAGE,
                        "search step %s: no candidate has a shape at this N and r_a: "
                        "%s",
                        name, iso_error_message());
    ISO_TRY(add_runs(s, name));
    int64_t chosen = 0;
    if (score_all(s)) {
        add_noise(s);
        double spread = spread_of(s);
        chosen = choose(s, spread);
        if (chosen < 0)
            return iso_fail(ISO_ERR_FAILED,
                            "search step %s: every candidate was stopped or diverged; raise "
                            "rules.stop_hopeless, or sweep the rates",
                            name);
        keep_table(s, name, chosen, spread);
    } else if (s->b->score) {
        s->b->plan->complete = false;
        return ISO_OK;
    } else {
        s->b->plan->assumed = true;
    }
    const candidate *winner = &s->candidates[chosen];
    s->config = winner->config;
    s->goal = winner->goal;
    s->has_winner = true;
    memcpy(s->guard, s->b->plan->runs[winner->first_run].name, sizeof s->guard);
    s->b->after = s->b->stage++;
    *more = true;
    return ISO_OK;
}

typedef struct step {
    const char *name;
    void (*propose)(search *);
} step;

static iso_status walk(search *s, const step *steps, size_t n_steps) {
    for (size_t i = 0; i < n_steps; i++) {
        bool more;
        ISO_TRY(take_step(s, steps[i].name, steps[i].propose, &more));
        if (!more) return ISO_OK;
    }
    return ISO_OK;
}

/* The dense model's stages run beside the MoE's: neither needs the other. */
static iso_status walk_both(search *s, const iso_budget *reference) {
    static const step moe[] = {{"moe-layout", layouts},
                               {"moe-gates", gates},
                               {"moe-topk", granularities},
                               {"moe-zeta", zetas},
                               {"moe-mu", mus}};
    static const step dense[] = {
        {"dense-zeta", dense_zetas}, {"dense-alpha", dense_alphas}, {"dense-head", dense_heads}};
    const iso_plan_goal goal = reference->shapes;
    iso_study_build *b = s->b;
    int64_t first = b->stage, after = b->after;
    int64_t n_before = b->plan->n_runs;
    s->goal = goal;
    s->noise = b->noise;
    if (s->goal.min_experts_per_token < 2) s->goal.min_experts_per_token = 2;
    ISO_TRY(walk(s, moe, sizeof moe / sizeof *moe));
    int64_t n_moe = b->plan->n_runs - n_before;
    b->stage = first;
    b->after = after;
    s->has_winner = false;
    s->guard[0] = '\0';
    s->goal = goal;
    s->goal.n_rates = 0;
    s->noise = b->noise; /* its choices must not wait for, or change with, the MoE's */
    ISO_TRY(walk(s, dense, sizeof dense / sizeof *dense));
    if (b->plan->complete)
        iso_str_appendf(&b->plan->notes,
                        "search budget: %" PRId64 " runs of MoEs, %" PRId64 " of dense models\n",
                        n_moe, b->plan->n_runs - n_before - n_moe);
    return ISO_OK;
}

iso_status iso_study_make_search(iso_study_build *b) {
    iso_budget_goal goal;
    iso_config like;
    search *s = calloc(1, sizeof *s);
    if (!s) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the search");
    s->b = b;
    iso_status status = iso_study_goal(&goal, &like, b);
    if (status == ISO_OK) {
        goal.shapes.n_rates = 1;
        goal.shapes.rates[0] = b->study->activation_rates.values[0];
        goal.shapes.min_experts_per_token = 2; /* one expert's gate cannot be normalised */
        status = iso_budget_create(&s->reference, &goal);
    }
    if (status == ISO_OK) status = iso_study_check_reached(s->reference);
    if (status == ISO_OK) status = walk_both(s, s->reference);
    iso_budget_free(s->reference);
    free(s);
    return status;
}
