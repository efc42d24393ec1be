#include "study/answer.h"
#include "study/side_blocks.h"

#include <math.h>

/* --- evaluation noise --- */

iso_ratio iso_gap_domain(const iso_side *first, const iso_side *second, const char *domain) {
    iso_side_blocks a, b;
    iso_ratio out = {NAN, NAN, 0};
    if (!iso_side_blocks_make(&a, first, domain, first)) return out;
    if (iso_side_blocks_make(&b, second, domain, first)) {
        for (int64_t i = 0; i < a.n; i++) a.bits[i] -= b.bits[i];
        out = iso_ratio_estimate(a.bits, a.chars, a.n);
        iso_side_blocks_release(&b);
    }
    iso_side_blocks_release(&a);
    return out;
}

static void estimate_evaluation_noise(iso_gap *gap, const iso_side *first, const iso_side *second) {
    gap->evaluation_half = gap->evaluation_dof = NAN;
    const iso_evaluation *evaluation = first->runs[0]->run.evaluation;
    if (!evaluation) return;
    double variance = 0.0, dof_sum = 0.0;
    int64_t n_domains = 0;
    for (int64_t i = 0; i < evaluation->n_domains; i++) {
        if (!iso_domain_is_headline(evaluation, i)) continue;
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
    iso_pooled noise = iso_sides_seed_noise(sides);
    return iso_answer_with_noise(sides, &noise);
}

iso_answer iso_answer_with_noise(const iso_sides *sides, const iso_pooled *noise) {
    iso_answer answer = {.sides = sides, .noise = *noise};
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
