#include "study/study_power.h"

#include "arch/count.h"
#include "arch/steplaw.h"
#include "data/dataset.h"
#include "study/answer.h"
#include "study/gap_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- from runs --- */

/* Of the headline domains: how many, and the sum of one over their characters. */
static int64_t scored(double *inverse, const iso_side *side) {
    const iso_evaluation *evaluation = side->runs[0]->run.evaluation;
    int64_t n = 0;
    *inverse = 0.0;
    for (int64_t i = 0; evaluation && i < evaluation->n_domains; i++) {
        const iso_window_scores *windows = &evaluation->domains[i];
        double chars = 0.0;
        if (evaluation->n_domains > 1 && iso_domain_is_holdout(windows->domain)) continue;
        for (int64_t j = 0; j < windows->n_windows; j++) chars += (double)windows->n_chars[j];
        *inverse += 1.0 / chars;
        n++;
    }
    return n;
}

/* Root mean square over all pairs that can be paired. */
static void measure_text(iso_study_noise *out, const iso_sides *sides) {
    double sum = 0.0;
    for (int64_t i = 0; i < sides->n; i++)
        for (int64_t j = 0; j < sides->n && !sides->sides[i].is_moe; j++) {
            const iso_side *dense = &sides->sides[i], *moe = &sides->sides[j];
            const iso_pooled none = {0};
            double inverse;
            if (!moe->is_moe) continue;
            int64_t n_domains = scored(&inverse, dense);
            iso_gap gap = iso_gap_estimate(dense, moe, &none);
            double se = gap.evaluation_half / iso_t_95(gap.evaluation_dof) * (double)n_domains;
            if (!(se > 0.0) || n_domains == 0) continue;
            sum += se * se / inverse;
            out->n_pairs++;
        }
    if (out->n_pairs > 0) out->text_sd = sqrt(sum / (double)out->n_pairs);
}

iso_status iso_study_noise_read(iso_study_noise *out, const char *const *run_dirs, int64_t n) {
    iso_sides sides;
    *out = (iso_study_noise){.seed_sd = NAN, .text_sd = NAN};
    if (n < 1) return ISO_OK;
    ISO_TRY(iso_sides_open(&sides, run_dirs, n));
    iso_pooled noise = iso_sides_seed_noise(&sides);
    out->seed_sd = iso_pooled_sd(&noise);
    out->seed_dof = noise.dof;
    measure_text(out, &sides);
    iso_sides_close(&sides);
    return ISO_OK;
}

/* --- from the plan --- */

static double chars_of(const iso_split *domain, int64_t most) {
    double part = most == ISO_EVAL_TOKENS_ALL || domain->n_tokens <= most
                      ? 1.0
                      : (double)most / (double)domain->n_tokens;
    return part * (double)domain->n_chars;
}

iso_status iso_study_evaluation_se(double *out, const iso_study_plan *plan, double text_sd) {
    *out = NAN;
    if (plan->n_runs < 1) return ISO_OK;
    const iso_config *config = &plan->runs[0].config;
    int64_t most = config->train.final_eval_tokens, n = 0;
    double inverse = 0.0;
    if (!*config->data.dir) {
        if (most != ISO_EVAL_TOKENS_ALL) *out = text_sd / sqrt((double)most);
        return ISO_OK;
    }
    iso_dataset dataset;
    ISO_TRY(iso_dataset_open(&dataset, config->data.dir));
    for (int64_t i = 0; i < dataset.n_domains; i++) {
        if (dataset.n_domains > 1 && iso_domain_is_holdout(dataset.domains[i].name)) continue;
        inverse += 1.0 / chars_of(&dataset.domains[i], most);
        n++;
    }
    iso_dataset_close(&dataset);
    if (n > 0) *out = text_sd * sqrt(inverse) / (double)n;
    return ISO_OK;
}

/* --- what is looked for --- */

static iso_status point_of(iso_gap_point *out, const iso_study_run *run) {
    iso_counts counts;
    double tokens = (double)iso_config_tokens(&run->config);
    int64_t unique = run->config.data.unique_tokens;
    ISO_TRY(iso_count(&counts, &run->config.model, ISO_CONVENTION_PAPER));
    double law = iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, (double)counts.params_nonvocab, tokens);
    *out = (iso_gap_point){.is_dense = run->config.model.num_experts == 0,
                           .params = (double)counts.params_nonvocab,
                           .activation_rate = counts.activation_rate,
                           .tokens = tokens,
                           .unique_tokens = unique > 0 ? (double)unique : tokens,
                           .lr_over_law = iso_config_peak_lr(&run->config) / law,
                           .flops = run->flops};
    return ISO_OK;
}

/* Of one budget: the MoE nearest to 20 %, and the first dense run of its C. */
static void choose_pair(const iso_study_run **dense, const iso_study_run **moe,
                        const iso_study_plan *plan) {
    *dense = *moe = NULL;
    for (int64_t i = 0; i < plan->n_runs; i++) {
        const iso_study_run *run = &plan->runs[i];
        double far = fabs(run->activation_rate - ISO_PAPER_RATE_BEST);
        if (run->config.model.num_experts > 0 &&
            (!*moe || far < fabs((*moe)->activation_rate - ISO_PAPER_RATE_BEST)))
            *moe = run;
    }
    for (int64_t i = 0; i < plan->n_runs && *moe && !*dense; i++) {
        const iso_study_run *run = &plan->runs[i];
        bool same = fabs(run->flops / (*moe)->flops - 1.0) < 0.05;
        if (run->config.model.num_experts == 0 && same) *dense = run;
    }
}

iso_status iso_study_expected_gap(double *out, const iso_study_plan *plan) {
    const iso_study_run *dense, *moe;
    iso_gap_point points[2];
    iso_gap_forecast forecast;
    iso_gap_law *law;
    *out = NAN;
    choose_pair(&dense, &moe, plan);
    if (!dense) return ISO_OK;
    ISO_TRY(point_of(&points[0], dense));
    ISO_TRY(point_of(&points[1], moe));
    ISO_TRY(iso_gap_law_of_paper(&law));
    iso_status status = iso_gap_law_predict(&forecast, law, &points[0], &points[1], false);
    iso_gap_law_free(law);
    if (status == ISO_OK) *out = forecast.value;
    return status == ISO_ERR_USAGE ? ISO_OK : status;
}
