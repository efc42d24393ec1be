/* What scans and reuse share: a group's MoEs over activation rates against its dense side. */
#include "study/findings_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the fixed comparison --- */

iso_status iso_findings_gap_verdict(iso_findings_build *b, const iso_findings_view *view,
                                    const char *key, const char *question) {
    static const iso_verdict_outcome outcomes[] = {
        [ISO_OUTCOME_NO_COMPARISON] = ISO_VERDICT_REFUSED,
        [ISO_OUTCOME_NOT_RESOLVED] = ISO_VERDICT_UNRESOLVED,
        [ISO_OUTCOME_MOE_BETTER] = ISO_VERDICT_RESOLVED,
        [ISO_OUTCOME_DENSE_BETTER] = ISO_VERDICT_RESOLVED,
    };
    iso_answer answer = iso_answer_with_noise(&view->sides, &view->noise);
    if (!answer.dense || !answer.moe)
        return iso_findings_note(b->out, "No verdict on %s yet: %s.", view->group,
                                 answer.dense ? "no MoE has finished"
                                              : "no dense run has finished");
    bool refused = answer.outcome == ISO_OUTCOME_NO_COMPARISON;
    int64_t n_dense = answer.dense->n_runs, n_moe = answer.moe->n_runs;
    iso_findings_claim claim = {.key = key,
                                .question = question,
                                .unit = ISO_FINDINGS_UNIT,
                                .sentence = iso_answer_sentence(&answer),
                                .outcome = outcomes[answer.outcome],
                                .value = refused ? NAN : answer.gap.bpc,
                                .low = refused ? NAN : answer.gap.bpc - answer.gap.half,
                                .high = refused ? NAN : answer.gap.bpc + answer.gap.half,
                                .n_seeds = n_dense < n_moe ? n_dense : n_moe,
                                .n_runs = view->n_finished};
    return iso_findings_claim_add(b, &claim);
}

/* --- the table of gaps --- */

static iso_status gap_row(iso_finding_table *table, const iso_pooled *noise, const iso_side *dense,
                          const iso_side *moe, const iso_side *twice) {
    iso_gap gap = iso_gap_estimate(dense, moe, noise), far = {NAN, NAN, NAN, NAN, NAN, NAN, 0};
    if (twice) far = iso_gap_estimate(twice, moe, noise);
    const char *said = isnan(gap.half) ? "noise unknown" : gap.resolved ? "yes" : "no";
    const char *far_said = isnan(far.half) ? "noise unknown" : far.resolved ? "yes" : "no";
    iso_finding_cell cells[] = {
        iso_cell_text(moe->label),
        iso_cell_of(moe->activation_rate),
        iso_cell_of((double)moe->n_runs),
        iso_cell_of(iso_findings_number(moe, "tokens")),
        iso_cell_of(iso_findings_number(moe, "epochs")),
        iso_cell_of(moe->mean_bpc),
        iso_cell_of(gap.bpc),
        iso_cell_of(gap.half),
        iso_cell_of(gap.training_half),
        iso_cell_of(gap.evaluation_half),
        iso_cell_text(said),
        iso_cell_of(far.bpc),
        iso_cell_of(far.half),
        iso_cell_text(far_said),
    };
    return iso_findings_row(table, cells);
}

static const iso_side *lowest(const iso_sides *sides) {
    const iso_side *best = NULL;
    for (int64_t i = 0; i < sides->n; i++)
        if (sides->sides[i].is_moe && (!best || sides->sides[i].mean_bpc < best->mean_bpc))
            best = &sides->sides[i];
    return best;
}

iso_status iso_findings_gap_table(iso_findings_build *b, const iso_findings_view *view,
                                  const iso_side *twice, const char *key, const char *title) {
    static iso_finding_column columns[] = {
        {"side", NULL, -1, false},
        {"activation rate", NULL, 1, true},
        {"seeds", NULL, -1, false},
        {"tokens", NULL, -1, false},
        {"epochs", NULL, 2, false},
        {"loss", "BPC", 4, false},
        {"gap to dense at C", "BPC", 4, false},
        {"\xc2\xb1 95 %", "BPC", 4, false},
        {"of it training", "BPC", 4, false},
        {"of it evaluation", "BPC", 4, false},
        {"beyond noise", NULL, -1, false},
        {"gap to dense at 2C", "BPC", 4, false},
        {"\xc2\xb1 95 % at 2C", "BPC", 4, false},
        {"beyond noise at 2C", NULL, -1, false},
    };
    iso_answer answer = iso_answer_with_noise(&view->sides, &view->noise);
    iso_finding_table *table;
    if (!answer.dense || !answer.moe) return ISO_OK;
    char *caption = iso_strf(
        "Gaps are dense minus MoE: positive, the MoE is better. Dense at C has %lld %s. Intervals "
        "are 95\xc2\xa0%% of each gap by itself, not corrected for how many there are: training "
        "noise pooled over %lld configurations (%g degrees of freedom), evaluation noise paired "
        "over blocks of text.",
        (long long)answer.dense->n_runs, answer.dense->n_runs == 1 ? "seed" : "seeds",
        (long long)view->noise.n_groups, view->noise.dof);
    const iso_finding_table empty = {.key = (char *)key,
                                     .title = (char *)title,
                                     .caption = caption,
                                     .n_columns = twice ? 14 : 11,
                                     .columns = columns};
    iso_status status = iso_findings_table(b->out, &table, &empty);
    free(caption);
    const iso_side *best = lowest(&view->sides);
    for (int64_t i = 0; i < view->sides.n && status == ISO_OK; i++) {
        const iso_side *side = &view->sides.sides[i];
        if (!side->is_moe) continue;
        status = gap_row(table, &view->noise, answer.dense, side, twice);
        if (status == ISO_OK && side == best)
            table->cells[(table->n_rows - 1) * table->n_columns + 5].is_best = true;
    }
    return status;
}

/* --- series --- */

iso_status iso_findings_rate_series(iso_finding_figure *figure, const iso_findings_view *view,
                                    const char *name, bool gaps) {
    iso_answer answer = iso_answer_with_noise(&view->sides, &view->noise);
    iso_series series = {.name = (char *)name, .kind = ISO_SERIES_MEASURED};
    series.points = calloc((size_t)view->sides.n + 1, sizeof *series.points);
    ISO_ASSERT(series.points != NULL);
    for (int64_t i = 0; i < view->sides.n; i++) {
        const iso_side *side = &view->sides.sides[i];
        if (!side->is_moe || (gaps && !answer.dense)) continue;
        iso_series_point *point = &series.points[series.n++];
        *point = iso_findings_point(side, side->activation_rate, &view->noise);
        if (!gaps) continue;
        iso_gap gap = iso_gap_estimate(answer.dense, side, &view->noise);
        point->y = gap.bpc;
        point->low = gap.bpc - gap.half;
        point->high = gap.bpc + gap.half;
    }
    iso_status status = series.n > 0 ? iso_findings_series(figure, &series) : ISO_OK;
    free(series.points);
    return status;
}

iso_status iso_findings_level(iso_finding_figure *figure, const iso_side *side, const char *name,
                              const iso_pooled *noise) {
    iso_series_point point = iso_findings_point(side, NAN, noise);
    point.label = NULL; /* the series says what it is; a run shared with others bears their name */
    const iso_series series = {
        .name = (char *)name, .kind = ISO_SERIES_LEVEL, .n = 1, .points = &point};
    return iso_findings_series(figure, &series);
}
