#include "report/answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- evaluation noise --- */

/* Below this many documents, documents are too few to resample and are cut into runs of windows
 * (neighbouring windows are alike, so single windows would claim too much). */
#define DOCUMENTS_ENOUGH 30
#define WINDOWS_PER_RUN  16

static const iso_window_scores *windows_of(const iso_side_run *run, const char *domain) {
    const iso_evaluation *evaluation = run->run.evaluation;
    for (int64_t i = 0; evaluation && i < evaluation->n_domains; i++)
        if (strcmp(evaluation->domains[i].domain, domain) == 0) return &evaluation->domains[i];
    return NULL;
}

/* Whether this run scored the same windows as `like`, of evaluation `hash`. */
static bool same_windows(const iso_side_run *run, const char *domain, const char *hash,
                         const iso_window_scores *like) {
    const iso_window_scores *windows = windows_of(run, domain);
    return windows && windows->n_windows == like->n_windows &&
           strcmp(run->run.evaluation->sample_hash, hash) == 0;
}

static bool all_same_windows(const iso_side *side, const char *domain, const char *hash,
                             const iso_window_scores *like) {
    for (int64_t i = 0; i < side->n_runs; i++)
        if (!same_windows(side->runs[i], domain, hash, like)) return false;
    return true;
}

static double mean_nats(const iso_side *side, const char *domain, int64_t i_window) {
    double sum = 0.0;
    for (int64_t i = 0; i < side->n_runs; i++)
        sum += windows_of(side->runs[i], domain)->nats[i_window];
    return sum / (double)side->n_runs;
}

static int64_t count_documents(const iso_window_scores *windows) {
    int64_t n = 0;
    for (int64_t i = 0; i < windows->n_windows; i++)
        n += i == 0 || windows->document[i] != windows->document[i - 1];
    return n;
}

iso_ratio iso_gap_domain(const iso_side *first, const iso_side *second, const char *domain) {
    const iso_window_scores *like = windows_of(first->runs[0], domain);
    iso_ratio out = {NAN, NAN, 0};
    if (!like || like->n_windows < 1) return out;
    const char *hash = first->runs[0]->run.evaluation->sample_hash;
    if (!all_same_windows(first, domain, hash, like) ||
        !all_same_windows(second, domain, hash, like))
        return out;
    double *bits = calloc((size_t)like->n_windows, sizeof(*bits));
    double *chars = calloc((size_t)like->n_windows, sizeof(*chars));
    ISO_ASSERT(bits && chars);
    bool whole_documents = count_documents(like) >= DOCUMENTS_ENOUGH;
    int64_t n_blocks = 0, in_block = 0;
    for (int64_t i = 0; i < like->n_windows; i++) {
        bool new_document = i == 0 || like->document[i] != like->document[i - 1];
        bool full = !whole_documents && in_block == WINDOWS_PER_RUN;
        if (new_document || full) {
            n_blocks++;
            in_block = 0;
        }
        in_block++;
        bits[n_blocks - 1] +=
            (mean_nats(first, domain, i) - mean_nats(second, domain, i)) / log(2.0);
        chars[n_blocks - 1] += (double)like->n_chars[i];
    }
    out = iso_ratio_estimate(bits, chars, n_blocks);
    free(bits);
    free(chars);
    return out;
}

/* The domains that make the headline: the named ones; the hold-out only where it is alone. */
static bool is_headline(const iso_evaluation *evaluation, int64_t i) {
    return evaluation->n_domains == 1 || !iso_domain_is_holdout(evaluation->domains[i].domain);
}

static void estimate_evaluation_noise(iso_gap *gap, const iso_side *first, const iso_side *second) {
    gap->evaluation_half = gap->evaluation_dof = NAN;
    const iso_evaluation *evaluation = first->runs[0]->run.evaluation;
    if (!evaluation) return;
    double variance = 0.0, dof_sum = 0.0;
    int64_t n_domains = 0;
    for (int64_t i = 0; i < evaluation->n_domains; i++) {
        if (!is_headline(evaluation, i)) continue;
        iso_ratio ratio = iso_gap_domain(first, second, evaluation->domains[i].domain);
        if (isnan(ratio.se)) return;
        double square = ratio.se * ratio.se;
        variance += square;
        dof_sum += square * square / (double)(ratio.n - 1);
        n_domains++;
    }
    if (n_domains == 0) return;
    /* Two sides with the very same scores have no variance and no degrees of freedom to find. */
    gap->evaluation_dof = dof_sum > 0.0 ? variance * variance / dof_sum : INFINITY;
    gap->evaluation_half = iso_t_95(gap->evaluation_dof) * sqrt(variance) / (double)n_domains;
}

/* --- gaps --- */

iso_pooled iso_sides_seed_noise(const iso_sides *sides) {
    iso_pooled noise = {0};
    for (int64_t i = 0; i < sides->n; i++)
        iso_pooled_add(&noise, sides->sides[i].bpc, sides->sides[i].n_runs);
    return noise;
}

iso_gap iso_gap_estimate(const iso_side *first, const iso_side *second, const iso_pooled *noise) {
    iso_gap gap = {.bpc = first->mean_bpc - second->mean_bpc};
    double se =
        iso_pooled_sd(noise) * sqrt(1.0 / (double)first->n_runs + 1.0 / (double)second->n_runs);
    gap.training_dof = noise->dof > 0.0 ? noise->dof : NAN;
    gap.training_half = iso_t_95(gap.training_dof) * se;
    estimate_evaluation_noise(&gap, first, second);
    gap.half =
        sqrt(gap.training_half * gap.training_half + gap.evaluation_half * gap.evaluation_half);
    gap.resolved = fabs(gap.bpc) > gap.half; /* false where half is NaN */
    return gap;
}

/* --- the answer --- */

/* More seeds first (the configuration that was meant for the comparison), then the lower BPC; the
 * same rule for dense and MoE, so that neither is picked more kindly. */
static bool is_preferred(const iso_side *a, const iso_side *b) {
    if (!b) return true;
    if (a->n_runs != b->n_runs) return a->n_runs > b->n_runs;
    return a->mean_bpc < b->mean_bpc;
}

/* Rates this close count as one rate. */
#define RATE_SAME 0.01

static void choose_sides(iso_answer *answer, const iso_sides *sides) {
    double nearest = INFINITY;
    for (int64_t i = 0; i < sides->n; i++) {
        const iso_side *side = &sides->sides[i];
        if (!side->is_moe) {
            if (is_preferred(side, answer->dense)) answer->dense = side;
            continue;
        }
        answer->n_moe++;
        nearest = fmin(nearest, fabs(side->activation_rate - ISO_PAPER_RATE_BEST));
        if (!answer->best || side->mean_bpc < answer->best->mean_bpc) answer->best = side;
    }
    for (int64_t i = 0; i < sides->n; i++) {
        const iso_side *side = &sides->sides[i];
        double distance = fabs(side->activation_rate - ISO_PAPER_RATE_BEST);
        if (side->is_moe && distance <= nearest + RATE_SAME && is_preferred(side, answer->moe))
            answer->moe = side;
    }
}

iso_answer iso_answer_make(const iso_sides *sides) {
    iso_answer answer = {.sides = sides};
    answer.noise = iso_sides_seed_noise(sides);
    choose_sides(&answer, sides);
    answer.outcome = ISO_OUTCOME_NO_COMPARISON;
    if (!answer.dense || !answer.moe) return answer;
    answer.gap = iso_gap_estimate(answer.dense, answer.moe, &answer.noise);
    answer.best_gap = iso_gap_estimate(answer.dense, answer.best, &answer.noise);
    answer.best_over_moe = iso_gap_estimate(answer.moe, answer.best, &answer.noise);
    /* With a dense and an MoE run there are two, so there is an audit. */
    if (sides->audit->verdict == ISO_VERDICT_NOT_EQUAL) return answer;
    if (!answer.gap.resolved)
        answer.outcome = ISO_OUTCOME_NOT_RESOLVED;
    else
        answer.outcome = answer.gap.bpc > 0.0 ? ISO_OUTCOME_MOE_BETTER : ISO_OUTCOME_DENSE_BETTER;
    return answer;
}
