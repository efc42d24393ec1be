/* What a scan says: the optimum, the region in which the MoE is better, figures 1b and 2a. */
#include "study/findings_build.h"

#include "base/number.h"
#include "study/optimum_say.h"
#include "study/side_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GAP_QUESTION "Does an MoE beat dense at equal N, C and data?"

#define N_CURVE    61   /* points of a fitted curve as drawn */
#define TWICE_SAME 0.05 /* a small model's steps and widths round that far */

typedef struct scan_part {
    iso_findings_build *b;
    const iso_findings_view *view;
    const char *suffix;    /* of keys: "" or "-d2m" */
    const char *of;        /* of titles: "", ", 2m tokens of dense" or ", scan-wide" */
    const iso_side *dense; /* at C; NULL as yet */
    const iso_side *twice; /* dense at 2C; NULL if there is none */
    bool equal, unequal;   /* by the audit; neither: a single run */
    bool fitted;
    iso_side_scan scan;
    iso_scan_curve curve;
    iso_optimum optimum;
} scan_part;

/* --- dense at 2C --- */

/* "dense-2c", "scan-dense-2c-lr0.5". */
static bool is_twice(const char *side) {
    const char *at = strstr(side, "dense-2c");
    return at && (at == side || at[-1] == '-') && (at[8] == '\0' || at[8] == '-');
}

static bool has_ratio(const iso_side *a, const iso_side *b, const char *number, double ratio) {
    double found = iso_findings_number(a, number) / iso_findings_number(b, number);
    return fabs(found / ratio - 1.0) <= TWICE_SAME;
}

/* The baseline of `dense` at twice its compute; of a sweep's candidates the one that got the other
 * seeds. */
static const iso_side *find_twice(const iso_findings_build *b, const iso_side *dense) {
    const iso_side *best = NULL;
    for (int64_t i = 0; dense && i < b->all.n; i++) {
        const iso_side *side = &b->all.sides[i];
        if (side->is_moe || !is_twice(iso_findings_run_of(b, side->runs[0])->side)) continue;
        if (!has_ratio(side, dense, "train_flops", 2.0) ||
            !has_ratio(side, dense, "params_nonvocab", 1.0))
            continue;
        bool better = !best || side->n_runs > best->n_runs ||
                      (side->n_runs == best->n_runs && side->mean_bpc < best->mean_bpc);
        if (better) best = side;
    }
    return best;
}

/* --- the fit --- */

static iso_status fit(scan_part *p) {
    iso_status status = iso_side_scan_make(&p->scan, &p->view->sides);
    if (status == ISO_OK) {
        p->scan.scan.other_noise = iso_findings_other_noise(&p->view->noise, p->scan.points,
                                                            p->scan.scan.n_points, &p->scan.level);
        status = iso_scan_curve_fit(&p->curve, &p->scan.scan);
    }
    p->fitted = status == ISO_OK;
    if (p->fitted) p->optimum = iso_optimum_find(&p->curve);
    if (status == ISO_ERR_MEMORY || p->fitted) return status;
    char *why = iso_strf("%s", iso_error_message());
    status = iso_findings_note(p->b->out, "No optimum of %s: %s.", p->view->group, why);
    free(why);
    return status;
}

/* --- verdicts --- */

/* A question of this scan among several: "Which rate is best, 2m tokens of dense?" Caller frees. */
static char *question_of(const scan_part *p, const char *question) {
    return iso_strf("%.*s%s?", (int)strlen(question) - 1, question, p->of);
}

static iso_status add_claim(scan_part *p, const char *key, iso_findings_claim claim) {
    char *own = iso_strf("%s%s", key, p->suffix);
    char *question = question_of(p, claim.question);
    claim.key = own;
    claim.question = question;
    if (claim.n_runs == 0) { /* of the whole scan */
        claim.n_seeds = iso_findings_seeds(&p->view->sides);
        claim.n_runs = p->view->n_finished;
    }
    iso_status status = iso_findings_claim_add(p->b, &claim);
    free(own);
    free(question);
    return status;
}

/* Of the optimum's interval: infinite where it is open, NaN where nothing is known. */
static void ends_of(double *low, double *high, const iso_optimum *o) {
    *low = o->outcome == ISO_OPTIMUM_AT_OR_BELOW ? -INFINITY : exp(o->low);
    *high = o->outcome == ISO_OPTIMUM_AT_OR_ABOVE ? INFINITY : exp(o->high);
    if (o->outcome == ISO_OPTIMUM_UNRESOLVED) *low = *high = NAN;
}

static iso_status add_optimum(scan_part *p) {
    const iso_optimum *o = &p->optimum;
    double low, high;
    ends_of(&low, &high, o);
    ISO_TRY(add_claim(
        p, "optimum",
        (iso_findings_claim){.question = "Which activation rate is best at equal N and C?",
                             .unit = "activation rate",
                             .sentence = iso_optimum_say(&p->curve, o),
                             .outcome = isnan(low) ? ISO_VERDICT_UNRESOLVED : ISO_VERDICT_RESOLVED,
                             .value = exp(o->at),
                             .low = low,
                             .high = high}));
    return add_claim(p, "gap-at-optimum",
                     (iso_findings_claim){
                         .question = "How far is the best MoE of the scan from dense?",
                         .unit = ISO_FINDINGS_UNIT,
                         .sentence = iso_optimum_say_gap(&p->curve, o),
                         .outcome = o->gap_outcome == ISO_GAP_UNRESOLVED ? ISO_VERDICT_UNRESOLVED
                                                                         : ISO_VERDICT_RESOLVED,
                         .value = o->gap,
                         .low = o->gap - o->gap_half,
                         .high = o->gap + o->gap_half});
}

/* Of an end: where the curve crosses, or the end of what is surely better. */
static double end_of(const iso_crossing *crossing, double end) {
    return exp(crossing->kind == ISO_CROSSING_BEYOND ? end : crossing->inner);
}

static iso_status add_region(scan_part *p) {
    iso_region region = iso_region_find(&p->curve, &p->optimum);
    bool none = region.low.kind == ISO_CROSSING_NONE;
    return add_claim(
        p, "region",
        (iso_findings_claim){.question = "At which activation rates does the MoE beat dense?",
                             .unit = "activation rate",
                             .sentence = iso_region_say(&p->curve, &region),
                             .outcome = none ? ISO_VERDICT_UNRESOLVED : ISO_VERDICT_RESOLVED,
                             .value = none ? NAN : exp(p->optimum.at),
                             .low = none ? NAN : end_of(&region.low, p->curve.low),
                             .high = none ? NAN : end_of(&region.high, p->curve.high)});
}

static iso_status add_twice(scan_part *p) {
    iso_answer answer = iso_answer_with_noise(&p->view->sides, &p->view->noise);
    if (!p->twice || !answer.moe) return ISO_OK;
    iso_gap gap = iso_gap_estimate(p->twice, answer.moe, &p->view->noise);
    char size[ISO_NUMBER_BYTES], half[ISO_NUMBER_BYTES], rate[ISO_NUMBER_BYTES];
    int digits = iso_number_decimals(gap.half);
    iso_number_percent(rate, answer.moe->activation_rate, 0);
    bool unknown = isnan(gap.half);
    int64_t n_twice = p->twice->n_runs, n_moe = answer.moe->n_runs;
    iso_str text = {0};
    iso_str_appendf(&text, "%sthe MoE at %s activation scores %s ",
                    gap.resolved
                        ? "Against dense at twice the compute, "
                        : "Not resolved at this size: against dense at twice the compute, ",
                    rate, iso_number_fixed(size, fabs(gap.bpc), digits));
    if (!unknown) iso_str_appendf(&text, "\xc2\xb1 %s ", iso_number_fixed(half, gap.half, digits));
    iso_str_appendf(&text, ISO_FINDINGS_UNIT " %s (95\xc2\xa0%%; %lld and %lld seeds%s).",
                    gap.bpc >= 0.0 ? "lower (better)" : "higher (worse)", (long long)n_twice,
                    (long long)n_moe, unknown ? "; nothing is known of noise" : "");
    return add_claim(p, "gap-2c",
                     (iso_findings_claim){
                         .question = "How far is the MoE from dense at twice its compute?",
                         .unit = ISO_FINDINGS_UNIT,
                         .sentence = text.data,
                         .outcome = gap.resolved ? ISO_VERDICT_RESOLVED : ISO_VERDICT_UNRESOLVED,
                         .value = gap.bpc,
                         .low = gap.bpc - gap.half,
                         .high = gap.bpc + gap.half,
                         .n_seeds = n_twice < n_moe ? n_twice : n_moe,
                         .n_runs = n_twice + n_moe});
}

/* --- figures --- */

/* The fitted curve (or its distance to dense) with a band pointwise; of losses without what
 * evaluation moves, which all rates share. */
static iso_status add_curve(scan_part *p, iso_finding_figure *figure, bool gaps) {
    iso_series_point points[N_CURVE];
    iso_scan_critical critical = iso_scan_pointwise(&p->curve);
    for (int i = 0; i < N_CURVE; i++) {
        double x = p->curve.low + (p->curve.high - p->curve.low) * i / (N_CURVE - 1);
        iso_scan_contrast at = gaps ? iso_scan_gap(&p->curve, x) : iso_scan_value(&p->curve, x);
        iso_scan_estimate estimate = iso_scan_curve_estimate(&p->curve, &at);
        if (!gaps) estimate.evaluation = 0.0;
        double half = iso_scan_half(&estimate, &critical);
        points[i] = (iso_series_point){.x = exp(x),
                                       .y = estimate.value,
                                       .low = estimate.value - half,
                                       .high = estimate.value + half};
    }
    const iso_series series = {"fit", ISO_SERIES_FIT, N_CURVE, points};
    return iso_findings_series(figure, &series);
}

static iso_status add_span(scan_part *p, iso_finding_figure *figure) {
    const iso_optimum *o = &p->optimum;
    iso_series_point point = {.x = exp(o->at), .y = NAN};
    ends_of(&point.low, &point.high, o);
    const iso_series series = {"best rate, 95 %", ISO_SERIES_SPAN, 1, &point};
    return o->outcome == ISO_OPTIMUM_UNRESOLVED ? ISO_OK : iso_findings_series(figure, &series);
}

static const iso_finding_axis rate_axis = {"activation rate", NULL, true, true};
static const iso_finding_axis loss_axis = {"loss", ISO_FINDINGS_UNIT, false, false};
static const iso_finding_axis gap_axis = {"gap, dense minus MoE", ISO_FINDINGS_UNIT, false, false};

/* Why a band is wider than the points' bars; "" where it is not. Caller frees. */
static char *say_scatter(const scan_part *p) {
    if (!p->fitted || p->curve.inflation < 1.05) return iso_strf("%s", "");
    return iso_strf(" The points lie %.1f times as far off the curve as noise explains: their "
                    "shapes differ in more than their rate. The curve's band has that in it, the "
                    "points' bars have not.",
                    p->curve.inflation);
}

static iso_status add_losses(scan_part *p) {
    iso_finding_figure *figure;
    char *key = iso_strf("1b%s", p->suffix);
    char *title = iso_strf(
        "Loss against activation rate %s%s",
        p->unequal ? "(the runs are not equal: no comparison)" : "at equal N and C", p->of);
    char *scatter = say_scatter(p);
    char *caption = iso_strf(
        "Points are means over seeds (at least %lld a side), bars the 95\xc2\xa0%% of training "
        "noise pooled over its configurations; what the sample of text adds moves all points "
        "alike. "
        "%s%s%s",
        (long long)iso_findings_seeds(&p->view->sides),
        p->fitted ? "The curve is fitted in the logarithm of the rate, its band 95\xc2\xa0% at "
                    "each rate. "
                  : "",
        p->fitted && p->optimum.outcome == ISO_OPTIMUM_UNRESOLVED
            ? "Which rate is best is not resolved."
        : p->fitted ? "The vertical band is the 95\xc2\xa0% interval of the best rate."
                    : "",
        scatter);
    free(scatter);
    const iso_finding_figure empty = {
        .key = key, .title = title, .caption = caption, .x = rate_axis, .y = loss_axis};
    iso_status status = iso_findings_figure(p->b->out, &figure, &empty);
    free(key);
    free(title);
    free(caption);
    ISO_TRY(status);
    ISO_TRY(iso_findings_rate_series(figure, p->view, "MoE, C", false));
    if (p->fitted) ISO_TRY(add_curve(p, figure, false));
    if (p->fitted) ISO_TRY(add_span(p, figure));
    if (p->dense) ISO_TRY(iso_findings_level(figure, p->dense, "dense, C", &p->view->noise));
    return p->twice ? iso_findings_level(figure, p->twice, "dense, 2C", &p->view->noise) : ISO_OK;
}

static iso_status add_gaps(scan_part *p) {
    iso_finding_figure *figure;
    char *key = iso_strf("1b-gap%s", p->suffix);
    char *title = iso_strf("Gap to dense against activation rate%s", p->of);
    char *scatter = say_scatter(p);
    char *caption = iso_strf(
        "Above zero the MoE is better. Bars are 95\xc2\xa0%% of training noise, pooled over its "
        "configurations, and of evaluation noise, paired over blocks of text; at least %lld seeds "
        "a side. The paper's points are single runs against its own dense baselines at the same C, "
        "without intervals.%s",
        (long long)iso_findings_seeds(&p->view->sides), scatter);
    free(scatter);
    const iso_finding_figure empty = {
        .key = key, .title = title, .caption = caption, .x = rate_axis, .y = gap_axis};
    iso_status status = iso_findings_figure(p->b->out, &figure, &empty);
    free(key);
    free(title);
    free(caption);
    ISO_TRY(status);
    ISO_TRY(iso_findings_rate_series(figure, p->view, "MoE", true));
    if (p->fitted) ISO_TRY(add_curve(p, figure, true));
    if (p->fitted) ISO_TRY(add_span(p, figure));
    ISO_TRY(iso_findings_ghost_gaps(figure, "2b-unique", "paper, 2B"));
    return iso_findings_ghost_gaps(figure, "7b-unique", "paper, 7B");
}

/* --- a scan --- */

static iso_status fill(scan_part *p) {
    iso_answer answer = iso_answer_with_noise(&p->view->sides, &p->view->noise);
    char *key = iso_strf("gap%s", p->suffix), *table = iso_strf("gaps%s", p->suffix);
    char *title = iso_strf("MoEs against dense%s", p->of);
    p->dense = answer.dense;
    /* At one of several D it would be the next one's baseline. */
    if (!iso_findings_group_size(p->view->group)) p->twice = find_twice(p->b, p->dense);
    const iso_audit *audit = p->view->sides.audit;
    p->unequal = audit && audit->verdict == ISO_VERDICT_NOT_EQUAL;
    p->equal = audit && !p->unequal;
    /* Of one rate at several D nobody asks which is best; figure 1a shows it over D. */
    bool lone = answer.n_moe <= 1 && iso_findings_group_size(p->view->group);
    char *question = question_of(p, GAP_QUESTION);
    iso_status status = iso_findings_gap_verdict(p->b, p->view, key, question);
    if (status == ISO_OK && p->equal && answer.moe && answer.dense) {
        if (!lone) status = fit(p);
        if (status == ISO_OK && p->fitted) status = add_optimum(p);
        if (status == ISO_OK && p->fitted) status = add_region(p);
        if (status == ISO_OK) status = add_twice(p);
        if (status == ISO_OK)
            status = iso_findings_gap_table(p->b, p->view, p->twice, table, title);
    }
    if (status == ISO_OK && p->view->sides.n > 0 && !lone) status = add_losses(p);
    if (status == ISO_OK && p->equal && answer.moe && answer.dense && !lone) status = add_gaps(p);
    free(key);
    free(table);
    free(title);
    free(question);
    return status;
}

static iso_status add_scan(iso_findings_build *b, const char *group) {
    iso_findings_view view;
    const char *size = iso_findings_group_size(group);
    bool named = strncmp(group, "scan", 4) == 0;
    char *suffix = iso_strf("%s%s", named ? "" : "-", named ? group + 4 : group);
    char *of = size      ? iso_strf(", %s tokens of dense", size)
               : *suffix ? iso_strf(", %s", group)
                         : iso_strf("%s", "");
    iso_status status = iso_findings_view_make(&view, b, group);
    if (status == ISO_OK) {
        scan_part p = {.b = b, .view = &view, .suffix = suffix, .of = of};
        status = fill(&p);
        iso_side_scan_release(&p.scan);
        iso_findings_view_release(&view);
    }
    free(suffix);
    free(of);
    return status;
}

/* --- a scan that holds tokens --- */

/* Leaves the sides of the MoEs' tokens, one a rate: a baseline at 2C saw more, and rates of a sweep
 * that were not chosen have fewer seeds. */
static void keep_equal_tokens(iso_findings_view *view) {
    double tokens = NAN;
    for (int64_t i = 0; i < view->sides.n; i++)
        if (view->sides.sides[i].is_moe)
            tokens = iso_findings_number(&view->sides.sides[i], "tokens");
    for (int64_t i = view->sides.n - 1; i >= 0; i--) {
        const iso_side *side = &view->sides.sides[i];
        bool out = !iso_findings_same(iso_findings_number(side, "tokens"), tokens);
        for (int64_t j = 0; j < view->sides.n && !out; j++) {
            const iso_side *other = &view->sides.sides[j];
            out = j != i && iso_findings_same_rate(side, other) &&
                  (other->n_runs > side->n_runs ||
                   (other->n_runs == side->n_runs && other->mean_bpc < side->mean_bpc));
        }
        if (out) iso_findings_view_drop(view, i);
    }
}

static iso_status add_held_losses(iso_findings_build *b, const iso_findings_view *view,
                                  const iso_side *dense, const char *suffix) {
    char *key = iso_strf("2a%s", suffix);
    const iso_finding_figure empty = {
        .key = key,
        .title = "Loss against activation rate at equal N and tokens",
        .caption = "Every side sees the same tokens, so that training compute grows with the "
                   "activation rate: no comparison at equal compute. Points are means over seeds, "
                   "bars the 95\xc2\xa0% of training noise pooled over its configurations.",
        .x = rate_axis,
        .y = loss_axis};
    iso_finding_figure *figure;
    iso_status status = iso_findings_figure(b->out, &figure, &empty);
    free(key);
    ISO_TRY(status);
    ISO_TRY(iso_findings_rate_series(figure, view, "MoE, equal tokens", false));
    return dense ? iso_findings_level(figure, dense, "dense, equal tokens", &view->noise) : ISO_OK;
}

static iso_status add_held_gaps(iso_findings_build *b, const iso_findings_view *view,
                                const char *suffix) {
    char *key = iso_strf("2a-gap%s", suffix);
    const iso_finding_figure empty = {
        .key = key,
        .title = "Gap to dense against activation rate at equal N and tokens",
        .caption =
            "Dense has the most compute here and an MoE the less, the lower its rate: the gap "
            "is what that saving costs. Bars are 95\xc2\xa0% of training and evaluation "
            "noise. The paper's points are single runs, of 2B on 114B tokens and of 7B on "
            "130B.",
        .x = rate_axis,
        .y = gap_axis};
    iso_finding_figure *figure;
    iso_status status = iso_findings_figure(b->out, &figure, &empty);
    free(key);
    ISO_TRY(status);
    ISO_TRY(iso_findings_rate_series(figure, view, "MoE", true));
    ISO_TRY(iso_findings_ghost_tokens(figure, 9, 2, "paper, 2B"));
    return iso_findings_ghost_tokens(figure, 11, 6, "paper, 7B");
}

/* A study that is nothing else has no comparison, and says so. */
static iso_status refuse_held(iso_findings_build *b, const iso_findings_view *view) {
    int64_t n_seeds = iso_findings_seeds(&view->sides);
    const iso_findings_claim claim = {
        .key = "gap",
        .question = GAP_QUESTION,
        .unit = ISO_FINDINGS_UNIT,
        .sentence =
            iso_strf("No comparison: the study holds tokens, so that compute grows with the "
                     "activation rate; %lld runs have finished, at least %lld seeds a side.",
                     (long long)view->n_finished, (long long)n_seeds),
        .outcome = ISO_VERDICT_REFUSED,
        .value = NAN,
        .low = NAN,
        .high = NAN,
        .n_seeds = n_seeds,
        .n_runs = view->n_finished};
    return iso_findings_claim_add(b, &claim);
}

/* Of the study itself or of a method's part. */
static iso_status add_held_tokens(iso_findings_build *b, const iso_study *scan) {
    iso_findings_view view;
    bool is_whole = scan == b->study;
    const char *part = is_whole ? iso_study_kind_names[ISO_STUDY_SCAN] : scan->name;
    ISO_TRY(iso_findings_view_part(&view, b, part));
    keep_equal_tokens(&view);
    iso_answer answer = iso_answer_with_noise(&view.sides, &view.noise);
    const char *suffix = is_whole ? "" : part + strlen("scan");
    iso_status status = is_whole ? refuse_held(b, &view) : ISO_OK;
    if (status == ISO_OK && answer.moe) status = add_held_losses(b, &view, answer.dense, suffix);
    if (status == ISO_OK && answer.moe && answer.dense) status = add_held_gaps(b, &view, suffix);
    iso_findings_view_release(&view);
    return status;
}

static iso_status add_all_held(iso_findings_build *b) {
    const iso_study *study = b->study;
    if (!study) return ISO_OK;
    if (study->kind == ISO_STUDY_SCAN && study->hold == ISO_STUDY_HOLD_TOKENS)
        return add_held_tokens(b, study);
    for (int64_t i = 0; i < study->n_parts; i++)
        if (study->parts[i].kind == ISO_STUDY_SCAN && study->parts[i].hold == ISO_STUDY_HOLD_TOKENS)
            ISO_TRY(add_held_tokens(b, &study->parts[i]));
    return ISO_OK;
}

iso_status iso_findings_add_scans(iso_findings_build *b) {
    json_t *groups = iso_findings_groups(b), *group;
    size_t i;
    iso_status status = ISO_OK;
    json_array_foreach(groups, i, group) {
        const char *name = json_string_value(group);
        if (status == ISO_OK && iso_findings_is_scan(name)) status = add_scan(b, name);
    }
    if (status == ISO_OK) status = add_all_held(b);
    json_decref(groups);
    return status;
}
