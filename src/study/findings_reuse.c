/* What repeating text costs: tables as the paper's 13 to 17, penalties beside Muennighoff's law,
 * figures 2b and 5. */
#include "study/findings_build.h"

#include "study/optimum_say.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct reuse_part {
    iso_findings_build *b;
    const char *suffix; /* of keys: "", or "-wide" of a part "reuse-wide" */
    int64_t n;
    iso_findings_view *views;        /* unique, strict by epochs, loose */
    const iso_findings_view *unique; /* NULL: there is none */
} reuse_part;

/* A side trained on repeated text against the same one on unique text. */
typedef struct penalty {
    const iso_findings_view *view;
    const iso_side *side, *once;
    iso_reuse reuse;
} penalty;

static const char *scheme_of(const iso_findings_view *view) {
    return iso_findings_scheme(view->group);
}

static bool is_strict(const iso_findings_view *view) {
    return strncmp(scheme_of(view), "strict", 6) == 0;
}

/* --- tables --- */

static iso_status add_row(const reuse_part *p, iso_finding_table *table,
                          const iso_findings_view *view, const iso_side *side) {
    iso_answer answer = iso_answer_with_noise(&view->sides, &view->noise);
    iso_gap gap = {NAN, NAN, NAN, NAN, NAN, NAN, 0};
    iso_series_point point = iso_findings_point(side, NAN, &view->noise);
    char *name = iso_findings_side_name(side);
    if (answer.dense && side->is_moe && iso_findings_is_equal(view))
        gap = iso_gap_estimate(answer.dense, side, &view->noise);
    iso_finding_cell cells[] = {
        iso_cell_text(name),
        iso_cell_of(side->activation_rate),
        iso_cell_of(iso_findings_number(side, "params_nonvocab")),
        iso_cell_of(side->is_moe ? iso_findings_number(side, "model.num_experts") : NAN),
        iso_cell_of(side->is_moe ? iso_findings_number(side, "model.num_experts_per_tok") : NAN),
        iso_cell_of(side->is_moe ? iso_findings_number(side, "model.moe_intermediate_size") : NAN),
        iso_cell_of(iso_findings_number(side, "train_flops")),
        iso_cell_of(iso_findings_number(side, "tokens")),
        iso_cell_of(iso_findings_number(side, "unique_tokens")),
        iso_cell_of(iso_findings_number(side, "epochs")),
        iso_cell_of(iso_findings_number(side, "lr")),
        iso_cell_of((double)side->n_runs),
        iso_cell_of(side->mean_bpc),
        iso_cell_of(point.high - point.y),
        iso_cell_of(gap.bpc),
        iso_cell_of(gap.half),
    };
    iso_status status = iso_findings_row(table, cells);
    free(name);
    return status;
}

static char *caption_of(const iso_findings_view *view) {
    if (!view->sides.audit) return "A side alone: losses without a comparison.";
    if (!iso_findings_is_equal(view))
        return "The audit finds these runs not equal: losses without a comparison.";
    return "Losses are means over seeds, with the 95\xc2\xa0% of training noise pooled over "
           "this table's configurations; gaps are dense minus MoE, positive where the MoE is "
           "better, with "
           "training and evaluation noise.";
}

static iso_status add_table(const reuse_part *p, const iso_findings_view *view) {
    static iso_finding_column columns[] = {
        {"side", NULL, -1, false},
        {"activation rate", NULL, 1, true},
        {"N", NULL, -1, false},
        {"E", NULL, -1, false},
        {"K", NULL, -1, false},
        {"De", NULL, -1, false},
        {"C", "FLOPs", -1, false},
        {"D", "tokens", -1, false},
        {"D unique", "tokens", -1, false},
        {"epochs", NULL, 2, false},
        {"learning rate", NULL, 5, false},
        {"seeds", NULL, -1, false},
        {"loss", "BPC", 4, false},
        {"\xc2\xb1 training", "BPC", 4, false},
        {"gap to dense", "BPC", 4, false},
        {"\xc2\xb1 95 %", "BPC", 4, false},
    };
    iso_finding_table *table;
    char *key = iso_strf("reuse-%s%s", scheme_of(view), p->suffix);
    char *title = iso_strf("Data reuse: %s", scheme_of(view));
    const iso_finding_table empty = {.key = key,
                                     .title = title,
                                     .caption = caption_of(view),
                                     .n_columns = sizeof columns / sizeof *columns,
                                     .columns = columns};
    iso_status status = iso_findings_table(p->b->out, &table, &empty);
    for (int64_t i = 0; i < view->sides.n && status == ISO_OK; i++)
        status = add_row(p, table, view, &view->sides.sides[i]);
    free(key);
    free(title);
    return status;
}

/* --- penalties --- */

static const iso_side *once_of(const reuse_part *p, const iso_side *side) {
    for (int64_t i = 0; p->unique && i < p->unique->sides.n; i++) {
        const iso_side *once = &p->unique->sides.sides[i];
        double ratio = iso_findings_number(once, "tokens") / iso_findings_number(side, "tokens");
        if (iso_findings_same_model(once, side) && fabs(ratio - 1.0) <= 0.05) return once;
    }
    return NULL;
}

static iso_scan_point point_of(const iso_side *side) {
    return (iso_scan_point){iso_findings_number(side, "tokens"), side->bpc, side->n_runs, 0.0};
}

static bool estimate(penalty *out, const reuse_part *p, const iso_findings_view *view,
                     const iso_side *side) {
    iso_token_worth worth;
    *out = (penalty){.view = view, .side = side, .once = once_of(p, side)};
    double unique = iso_findings_number(side, "unique_tokens");
    if (!out->once || !(iso_findings_number(side, "epochs") > 1.01)) return false;
    iso_answer answer = iso_answer_with_noise(&view->sides, &view->noise);
    bool known =
        iso_findings_worth(&worth, p->b, side) || iso_findings_worth(&worth, p->b, answer.dense);
    const iso_side *compared[] = {side, out->once};
    iso_pooled noise = iso_findings_noise_of(p->b, compared, 2);
    iso_gap gap = iso_gap_estimate(side, out->once, &noise);
    /* As if known from infinitely many blocks: the half-width is that of the gap. */
    double se = gap.evaluation_half / iso_t_95(INFINITY);
    iso_scan_point once = point_of(out->once), repeated = point_of(side);
    iso_status status = iso_reuse_estimate(&out->reuse, &once, &repeated, unique, &noise, se,
                                           known && worth.is_law ? &worth.law : NULL);
    if (status == ISO_OK && known && !worth.is_law)
        iso_findings_expect(&out->reuse, &worth, repeated.x);
    return status == ISO_OK;
}

/* Of all sides and groups; the caller frees. */
static penalty *find_penalties(int64_t *n, const reuse_part *p) {
    int64_t most = 0;
    for (int64_t i = 0; i < p->n; i++) most += p->views[i].sides.n;
    penalty *all = calloc((size_t)most + 1, sizeof *all);
    ISO_ASSERT(all != NULL);
    *n = 0;
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t j = 0; j < p->views[i].sides.n; j++)
            *n += estimate(&all[*n], p, &p->views[i], &p->views[i].sides.sides[j]);
    return all;
}

static iso_status penalty_row(iso_finding_table *table, const penalty *at) {
    const iso_reuse *r = &at->reuse;
    bool expected = !isnan(r->expected.value);
    char *name = iso_findings_side_name(at->side);
    iso_finding_cell cells[] = {
        iso_cell_text(name),
        iso_cell_text(scheme_of(at->view)),
        iso_cell_of(at->side->activation_rate),
        iso_cell_of(r->epochs),
        iso_cell_of(r->effective_tokens / iso_findings_number(at->side, "tokens")),
        iso_cell_of((double)at->side->n_runs),
        iso_cell_of(r->penalty),
        iso_cell_of(r->half),
        iso_cell_text(isnan(r->half) ? "noise unknown"
                      : r->resolved  ? "yes"
                                     : "no"),
        iso_cell_of(r->expected.value),
        iso_cell_of(r->expected.low),
        iso_cell_of(r->expected.high),
        iso_cell_text(!expected                 ? ""
                      : !iso_reuse_is_judged(r) ? "noise unknown"
                      : r->differs              ? "no"
                                                : "yes"),
    };
    iso_status status = iso_findings_row(table, cells);
    free(name);
    return status;
}

static iso_status add_penalties(const reuse_part *p, const penalty *all, int64_t n) {
    static iso_finding_column columns[] = {
        {"side", NULL, -1, false},
        {"scheme", NULL, -1, false},
        {"activation rate", NULL, 1, true},
        {"epochs", NULL, 2, false},
        {"worth by Muennighoff's law, of D", NULL, 1, true},
        {"seeds", NULL, -1, false},
        {"penalty", "BPC", 4, false},
        {"\xc2\xb1 95 %", "BPC", 4, false},
        {"beyond noise", NULL, -1, false},
        {"expected by that law", "BPC", 4, false},
        {"from", "BPC", 4, false},
        {"to", "BPC", 4, false},
        {"agrees", NULL, -1, false},
    };
    char *key = iso_strf("reuse-penalty%s", p->suffix);
    const iso_finding_table empty = {
        .key = key,
        .title = "What repeated text costs",
        .caption =
            "Loss on repeated text minus that of the same shape on as many unique tokens: "
            "positive, repeating costs. What Muennighoff's law expects takes the worth of a "
            "token from the study's own budgets of that shape, else of dense; of two budgets "
            "as a logarithm. Without budgets of one shape there is no expectation.",
        .n_columns = sizeof columns / sizeof *columns,
        .columns = columns};
    iso_finding_table *table;
    iso_status status = iso_findings_table(p->b->out, &table, &empty);
    free(key);
    for (int64_t i = 0; i < n && status == ISO_OK; i++) status = penalty_row(table, &all[i]);
    return status;
}

/* --- the figure of penalties --- */

/* Of one side, as a series of its own, since dense and MoEs pay differently: what was measured
 * under strict or loose schemes, or what the law expects, which knows of epochs alone. */
typedef enum series_of { OF_STRICT, OF_LOOSE, OF_LAW, N_SERIES_OF } series_of;

static bool belongs(const penalty *at, series_of of) {
    if (of == OF_LAW) return !isnan(at->reuse.expected.value);
    return is_strict(at->view) == (of == OF_STRICT);
}

static iso_series_point point_for(const penalty *at, series_of of) {
    const iso_reuse *r = &at->reuse;
    if (of == OF_LAW)
        return (iso_series_point){
            r->epochs, r->expected.value, r->expected.low, r->expected.high, 0, NULL};
    return (iso_series_point){
        r->epochs, r->penalty, r->penalty - r->half, r->penalty + r->half, at->side->n_runs, NULL};
}

static iso_status add_side_series(iso_finding_figure *figure, const penalty *all, int64_t n,
                                  const iso_side *side, series_of of) {
    static const char *const words[] = {
        [OF_STRICT] = "%s, strict", [OF_LOOSE] = "%s, loose", [OF_LAW] = "Muennighoff's law, %s"};
    iso_series_point *points = calloc((size_t)n + 1, sizeof *points);
    ISO_ASSERT(points != NULL);
    char *who = iso_findings_side_name(side), *name = iso_strf(words[of], who);
    iso_series series = {name, of == OF_LAW ? ISO_SERIES_LAW : ISO_SERIES_MEASURED, 0, points};
    for (int64_t i = 0; i < n; i++)
        if (belongs(&all[i], of) && iso_findings_same_rate(all[i].side, side))
            points[series.n++] = point_for(&all[i], of);
    iso_status status = iso_findings_series(figure, &series);
    free(name);
    free(who);
    free(points);
    return status;
}

static iso_status add_series(iso_finding_figure *figure, const penalty *all, int64_t n) {
    for (series_of of = OF_STRICT; of < N_SERIES_OF; of++)
        for (int64_t i = 0; i < n; i++) {
            bool seen = !belongs(&all[i], of);
            for (int64_t j = 0; j < i && !seen; j++)
                seen = belongs(&all[j], of) && iso_findings_same_rate(all[j].side, all[i].side);
            if (!seen) ISO_TRY(add_side_series(figure, all, n, all[i].side, of));
        }
    return ISO_OK;
}

static iso_status add_penalty_figure(const reuse_part *p, const penalty *all, int64_t n) {
    char *key = iso_strf("reuse%s", p->suffix);
    const iso_finding_figure empty = {
        .key = key,
        .title = "What repeated text costs, by epochs",
        .caption =
            "Loss on repeated text minus that of the same shape on unique text; above zero "
            "repeating costs. Bars are 95\xc2\xa0% of training noise, pooled over the "
            "two that are compared, and of evaluation noise, paired over blocks of text. The "
            "paper's points are single runs at 7B, Tables 13 and 17 minus 12.",
        .x = {"epochs", NULL, true, false},
        .y = {"penalty of repeating", ISO_FINDINGS_UNIT, false, false}};
    iso_finding_figure *figure;
    iso_status status = iso_findings_figure(p->b->out, &figure, &empty);
    free(key);
    ISO_TRY(status);
    ISO_TRY(add_series(figure, all, n));
    ISO_TRY(iso_findings_ghost_penalties(figure, 13, "paper, 7B strict"));
    return iso_findings_ghost_penalties(figure, 17, "paper, 7B loose");
}

/* --- verdicts --- */

/* Of the group's MoE nearest to 20 %, as for gaps; of its dense side where there is no MoE. */
static iso_status add_verdict(const reuse_part *p, const iso_findings_view *view,
                              const penalty *all, int64_t n) {
    iso_answer answer = iso_answer_with_noise(&view->sides, &view->noise);
    const iso_side *side = answer.moe ? answer.moe : answer.dense;
    for (int64_t i = 0; i < n; i++) {
        if (all[i].view != view || all[i].side != side) continue;
        const iso_reuse *r = &all[i].reuse;
        int64_t seeds = side->n_runs < all[i].once->n_runs ? side->n_runs : all[i].once->n_runs;
        char *words = iso_findings_side_words(side), *said = iso_reuse_say(r);
        char *key = iso_strf("reuse-%s%s", scheme_of(view), p->suffix);
        char *question = iso_strf("What does repeating text cost under %s?", scheme_of(view));
        const iso_findings_claim claim = {
            .key = key,
            .question = question,
            .unit = ISO_FINDINGS_UNIT,
            .sentence = iso_strf("For %s (%lld and %lld seeds): %s", words, (long long)side->n_runs,
                                 (long long)all[i].once->n_runs, said),
            .outcome = r->resolved ? ISO_VERDICT_RESOLVED : ISO_VERDICT_UNRESOLVED,
            .value = r->penalty,
            .low = r->penalty - r->half,
            .high = r->penalty + r->half,
            .n_seeds = seeds,
            .n_runs = side->n_runs + all[i].once->n_runs};
        iso_status status = iso_findings_claim_add(p->b, &claim);
        free(words);
        free(said);
        free(key);
        free(question);
        return status;
    }
    return ISO_OK;
}

/* --- the gap over epochs --- */

/* Of each group's MoE nearest to 20 %: what repeating leaves of its lead. */
static iso_status add_epochs(const reuse_part *p) {
    static const char *const schemes[] = {"unique", "strict", "loose"};
    char *key = iso_strf("reuse-gap%s", p->suffix);
    const iso_finding_figure empty = {
        .key = key,
        .title = "Gap to dense by how often the MoE sees its text",
        .caption = "Each point compares the MoE nearest to 20\xc2\xa0% with the dense side of its "
                   "scheme; under strict both see the same text, dense as often as its tokens "
                   "take. Above zero the MoE is better. Bars are 95\xc2\xa0% of training noise, "
                   "pooled over the two, and of evaluation "
                   "noise, paired over blocks of text.",
        .x = {"epochs of the MoE", NULL, true, false},
        .y = {"gap, dense minus MoE", ISO_FINDINGS_UNIT, false, false}};
    iso_finding_figure *figure;
    iso_status status = iso_findings_figure(p->b->out, &figure, &empty);
    iso_series_point *points = calloc((size_t)p->n + 1, sizeof *points);
    ISO_ASSERT(points != NULL);
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes && status == ISO_OK; i++) {
        iso_series series = {(char *)schemes[i], ISO_SERIES_MEASURED, 0, points};
        for (int64_t j = 0; j < p->n; j++) {
            const iso_findings_view *view = &p->views[j];
            iso_answer answer = iso_answer_with_noise(&view->sides, &view->noise);
            if (strncmp(scheme_of(view), schemes[i], strlen(schemes[i])) != 0) continue;
            if (!answer.dense || !answer.moe || !iso_findings_is_equal(view)) continue;
            points[series.n++] = (iso_series_point){iso_findings_number(answer.moe, "epochs"),
                                                    answer.gap.bpc,
                                                    answer.gap.bpc - answer.gap.half,
                                                    answer.gap.bpc + answer.gap.half,
                                                    answer.moe->n_runs,
                                                    NULL};
        }
        if (series.n > 0) status = iso_findings_series(figure, &series);
    }
    free(points);
    free(key);
    return status;
}

/* --- figures over activation rates --- */

/* Whether any group has MoEs of two rates: losses of one are in the tables. */
static bool has_rates(const reuse_part *p) {
    for (int64_t i = 0; i < p->n; i++)
        if (iso_answer_with_noise(&p->views[i].sides, &p->views[i].noise).n_moe > 1) return true;
    return false;
}

static const iso_findings_view *first_strict(const reuse_part *p) {
    for (int64_t i = 0; i < p->n; i++)
        if (is_strict(&p->views[i])) return &p->views[i];
    return NULL;
}

/* `strict_only`: figure 5, else 2b: unique, strict and loose at the baseline's first epochs. */
static iso_status add_rates(const reuse_part *p, bool strict_only, bool gaps) {
    char *key = iso_strf("%s%s%s", strict_only ? "5" : "2b", gaps ? "-gap" : "", p->suffix);
    char *title =
        iso_strf("%s against activation rate, %s", gaps ? "Gap to dense" : "Loss",
                 strict_only ? "the same text repeated more often" : "by what text is repeated");
    const iso_finding_figure empty = {
        .key = key,
        .title = title,
        .caption = gaps ? "Every scheme against its own dense side, above zero the MoE is better. "
                          "Bars are 95\xc2\xa0% of training and evaluation noise. The paper's "
                          "points are single runs against its own dense baselines."
                        : "Points are means over seeds, bars the 95\xc2\xa0% of training noise "
                          "pooled over the configurations of each scheme.",
        .x = {"activation rate", NULL, true, true},
        .y = {gaps ? "gap, dense minus MoE" : "loss", ISO_FINDINGS_UNIT, false, false}};
    iso_finding_figure *figure;
    iso_status status = iso_findings_figure(p->b->out, &figure, &empty);
    free(key);
    free(title);
    for (int64_t i = 0; i < p->n && status == ISO_OK; i++) {
        const iso_findings_view *view = &p->views[i];
        bool more = is_strict(view) && view != first_strict(p);
        if ((strict_only ? !is_strict(view) : more) || (gaps && !iso_findings_is_equal(view)))
            continue;
        status = iso_findings_rate_series(figure, view, scheme_of(view), gaps);
        iso_answer answer = iso_answer_with_noise(&view->sides, &view->noise);
        char *name = iso_strf("dense, %s", scheme_of(view));
        if (status == ISO_OK && !gaps && answer.dense)
            status = iso_findings_level(figure, answer.dense, name, &view->noise);
        free(name);
    }
    if (status != ISO_OK || !gaps) return status;
    if (strict_only) {
        ISO_TRY(iso_findings_ghost_gaps(figure, "3b-repeated-65B", "paper, 3B, 65B tokens"));
        return iso_findings_ghost_gaps(figure, "3b-repeated-114B", "paper, 3B, 114B tokens");
    }
    ISO_TRY(iso_findings_ghost_gaps(figure, "7b-unique", "paper, 7B unique"));
    ISO_TRY(iso_findings_ghost_gaps(figure, "7b-repeated-68B", "paper, 7B strict"));
    return iso_findings_ghost_gaps(figure, "7b-two-epochs", "paper, 7B loose");
}

/* --- the whole --- */

/* Caller frees. */
static char *question_of(const iso_findings_view *view) {
    iso_answer answer = iso_answer_with_noise(&view->sides, &view->noise);
    const char *scheme = scheme_of(view);
    if (!answer.dense || !answer.moe || strcmp(scheme, "unique") == 0)
        return iso_strf("Does an MoE beat dense at equal N and C, reuse %s?", scheme);
    return iso_strf("Does an MoE beat dense at equal N and C, reuse %s (%.3g epochs of dense, %.3g "
                    "of the MoE)?",
                    scheme, iso_findings_number(answer.dense, "epochs"),
                    iso_findings_number(answer.moe, "epochs"));
}

static iso_status add_group(const reuse_part *p, const iso_findings_view *view) {
    char *key = iso_strf("gap-%s%s", scheme_of(view), p->suffix);
    char *question = question_of(view);
    iso_status status = iso_findings_gap_verdict(p->b, view, key, question);
    if (status == ISO_OK && view->sides.n > 0) status = add_table(p, view);
    free(key);
    free(question);
    return status;
}

static iso_status fill(const reuse_part *p) {
    int64_t n_penalties, n_strict = 0;
    for (int64_t i = 0; i < p->n; i++) {
        ISO_TRY(add_group(p, &p->views[i]));
        n_strict += is_strict(&p->views[i]) && p->views[i].sides.n > 0;
    }
    penalty *all = find_penalties(&n_penalties, p);
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < p->n && status == ISO_OK; i++)
        status = add_verdict(p, &p->views[i], all, n_penalties);
    if (status == ISO_OK && n_penalties > 0) status = add_penalties(p, all, n_penalties);
    if (status == ISO_OK && n_penalties > 0) status = add_penalty_figure(p, all, n_penalties);
    free(all);
    if (status == ISO_OK && p->n > 1) status = add_epochs(p);
    bool rates = has_rates(p);
    if (status == ISO_OK && rates) status = add_rates(p, false, false);
    if (status == ISO_OK && p->n > 0) status = add_rates(p, false, true);
    if (status == ISO_OK && n_strict > 1 && rates) status = add_rates(p, true, false);
    if (status == ISO_OK && n_strict > 1) status = add_rates(p, true, true);
    return status;
}

/* Unique, strict, loose; of these by epochs: "strict", "strict-e2", "strict-e10". */
static int by_scheme(const void *a, const void *b) {
    const char *x = scheme_of(a), *y = scheme_of(b);
    int left = x[0] == 'u' ? 0 : x[0] == 's' ? 1 : 2, right = y[0] == 'u' ? 0 : y[0] == 's' ? 1 : 2;
    if (left != right) return left - right;
    return strlen(x) != strlen(y) ? (strlen(x) > strlen(y) ? 1 : -1) : strcmp(x, y);
}

/* The groups of one part: "reuse-", "reuse-wide-" or nothing before the scheme. */
static iso_status add_part(iso_findings_build *b, const json_t *groups, const char *prefix,
                           size_t n_prefix) {
    json_t *group;
    size_t i;
    iso_status status = ISO_OK;
    /* "reuse-wide-" -> "-wide" */
    char *suffix =
        n_prefix > 6 ? iso_strf("%.*s", (int)n_prefix - 6, prefix + 5) : iso_strf("%s", "");
    reuse_part p = {.b = b, .suffix = suffix};
    p.views = calloc(json_array_size(groups) + 1, sizeof *p.views);
    ISO_ASSERT(p.views != NULL);
    bool any = false;
    json_array_foreach(groups, i, group) {
        const char *name = json_string_value(group), *scheme = iso_findings_scheme(name);
        if (status != ISO_OK || !scheme) continue;
        if ((size_t)(scheme - name) != n_prefix || memcmp(name, prefix, n_prefix) != 0) continue;
        status = iso_findings_view_make(&p.views[p.n], b, name);
        if (status == ISO_OK) any = p.views[p.n++].sides.n > 0 || any;
    }
    qsort(p.views, (size_t)p.n, sizeof *p.views, by_scheme);
    for (int64_t j = 0; j < p.n; j++)
        if (strcmp(scheme_of(&p.views[j]), "unique") == 0) p.unique = &p.views[j];
    if (status == ISO_OK && any) status = fill(&p);
    for (int64_t j = 0; j < p.n; j++) iso_findings_view_release(&p.views[j]);
    free(p.views);
    free(suffix);
    return status;
}

iso_status iso_findings_add_reuse(iso_findings_build *b) {
    json_t *groups = iso_findings_groups(b), *group, *done = json_object();
    size_t i;
    iso_status status = ISO_OK;
    json_array_foreach(groups, i, group) {
        const char *name = json_string_value(group), *scheme = iso_findings_scheme(name);
        if (!scheme || status != ISO_OK) continue;
        char *prefix = iso_strf("%.*s", (int)(scheme - name), name);
        if (!json_object_get(done, prefix)) {
            json_object_set_new(done, prefix, json_true());
            status = add_part(b, groups, prefix, strlen(prefix));
        }
        free(prefix);
    }
    json_decref(done);
    json_decref(groups);
    return status;
}
