/* A search's steps as tables, what each chose, and figure 4: loss against shape ratios. */
#include "study/findings_build.h"

#include "arch/count.h"
#include "base/number.h"
#include "train/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CANDIDATES ISO_STUDY_LIST_MAX

typedef struct candidate {
    const char *label, *side;
    int64_t n_seeds;
    double choose, report; /* NaN: stopped as hopeless */
    int64_t H, L, A, F, E, K, De, Dse;
    double zeta, mu, alpha;
} candidate;

typedef struct search_step {
    const char *part; /* "search", "search-wide" */
    const char *name;
    int64_t n, chosen;
    candidate candidates[MAX_CANDIDATES];
    double spread, dof;
    bool assumed; /* the spread is: no second seed told of noise */
} search_step;

/* --- reading --- */

static double number_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static iso_status read_candidate(candidate *out, const json_t *row, const char *what) {
    json_t *model;
    ISO_TRY(iso_json_get_str(&out->label, row, "label", what));
    ISO_TRY(iso_json_get_str(&out->side, row, "side", what));
    ISO_TRY(iso_json_get_i64(&out->n_seeds, row, "n_seeds", what));
    ISO_TRY(iso_json_get_object(&model, row, "model", what));
    const struct {
        int64_t *to;
        const char *key;
    } sizes[] = {
        {&out->H, "hidden_size"},
        {&out->L, "num_hidden_layers"},
        {&out->A, "num_attention_heads"},
        {&out->F, "intermediate_size"},
        {&out->E, "num_experts"},
        {&out->K, "num_experts_per_tok"},
        {&out->De, "moe_intermediate_size"},
        {&out->Dse, "shared_expert_intermediate_size"},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        *sizes[i].to = (int64_t)json_integer_value(json_object_get(model, sizes[i].key));
    iso_shape shape = {.hidden_size = out->H,
                       .num_hidden_layers = out->L,
                       .num_attention_heads = out->A,
                       .intermediate_size = out->F,
                       .num_experts = out->E,
                       .num_experts_per_tok = out->K,
                       .moe_intermediate_size = out->De,
                       .shared_expert_intermediate_size = out->Dse};
    if (out->H < 1 || out->L < 1)
        return iso_fail(ISO_ERR_DATA, "%s: %s: model: no hidden_size or no layers", what,
                        out->label);
    iso_ratios ratios = iso_shape_ratios(&shape);
    out->zeta = ratios.zeta;
    out->mu = ratios.mu;
    out->alpha = ratios.alpha;
    out->choose = number_of(row, "bpc_choose");
    out->report = number_of(row, "bpc_report");
    return ISO_OK;
}

static const char *part_of(const json_t *step) {
    const char *part = json_string_value(json_object_get(step, "part"));
    return part && strncmp(part, "search", 6) == 0 ? part : "search";
}

static iso_status read_step(search_step *out, const json_t *step) {
    json_t *candidates, *row;
    size_t i;
    *out = (search_step){0};
    ISO_TRY(iso_json_get_str(&out->name, step, "step", "steps/"));
    out->part = part_of(step);
    ISO_TRY(iso_json_get_array(&candidates, step, "candidates", out->name));
    ISO_TRY(iso_json_get_i64(&out->chosen, step, "chosen", out->name));
    ISO_TRY(iso_json_get_f64(&out->spread, step, "spread", out->name));
    ISO_TRY(iso_json_get_bool(&out->assumed, step, "spread_assumed", out->name));
    ISO_TRY(iso_json_get_f64(&out->dof, step, "seed_dof", out->name));
    out->n = (int64_t)json_array_size(candidates);
    if (out->n > MAX_CANDIDATES)
        return iso_fail(ISO_ERR_DATA, "steps/%s.json: more than %d candidates", out->name,
                        MAX_CANDIDATES);
    json_array_foreach(candidates, i, row)
        ISO_TRY(read_candidate(&out->candidates[i], row, out->name));
    const candidate *won = &out->candidates[out->chosen];
    if (isnan(won->choose) || isnan(won->report))
        return iso_fail(ISO_ERR_DATA,
                        "steps/%s.json: %s is chosen without a score; take the file away and run "
                        "the study again",
                        out->name, won->label);
    return ISO_OK;
}

/* --- words --- */

/* The best of the others on the half that reports. */
static int64_t runner_up(const search_step *s) {
    int64_t best = -1;
    for (int64_t i = 0; i < s->n; i++) {
        if (i == s->chosen || isnan(s->candidates[i].report)) continue;
        if (best < 0 || s->candidates[i].report < s->candidates[best].report) best = i;
    }
    return best;
}

static bool is_tie(const search_step *s) {
    for (int64_t i = 0; i < s->n; i++)
        if (s->candidates[i].choose < s->candidates[s->chosen].choose) return true;
    return false;
}

static char *sentence_of(const search_step *s, int64_t other) {
    char a[ISO_NUMBER_BYTES], c[ISO_NUMBER_BYTES], d[ISO_NUMBER_BYTES];
    const candidate *won = &s->candidates[s->chosen];
    iso_str text = {0};
    if (s->n == 1)
        iso_str_appendf(&text, "Step %s had %s alone to choose (%" PRId64 " %s); ", s->name,
                        won->label, won->n_seeds, won->n_seeds == 1 ? "seed" : "seeds");
    else
        iso_str_appendf(
            &text, "Step %s chose %s of %" PRId64 " candidates (%" PRId64 " %s each)%s; ", s->name,
            won->label, s->n, won->n_seeds, won->n_seeds == 1 ? "seed" : "seeds",
            is_tie(s) ? ", the simplest of a tie" : "");
    int digits = iso_number_decimals(s->spread);
    iso_str_appendf(&text, "on the documents that report it scores %s " ISO_FINDINGS_UNIT,
                    iso_number_fixed(a, won->report, 4));
    if (other >= 0) {
        double lead = s->candidates[other].report - won->report;
        iso_str_appendf(&text, ", %s \xc2\xb1 %s %s than the next, %s (95\xc2\xa0%%; %s)",
                        iso_number_fixed(c, fabs(lead), digits),
                        iso_number_fixed(d, s->spread, digits), lead >= 0.0 ? "lower" : "higher",
                        s->candidates[other].label,
                        s->assumed               ? "of an assumed seed noise: nothing is resolved"
                        : fabs(lead) > s->spread ? "beyond noise"
                                                 : "within noise");
    }
    iso_str_append(&text, ".");
    return text.data;
}

static iso_status add_verdict(iso_findings_build *b, const search_step *s) {
    int64_t other = runner_up(s), n_runs = 0;
    for (int64_t i = 0; i < s->n; i++) n_runs += s->candidates[i].n_seeds;
    double lead = other < 0 ? NAN : s->candidates[other].report - s->candidates[s->chosen].report;
    char *key = iso_strf("%s-%s", s->part, s->name);
    char *question = iso_strf("Which candidate of step %s is best?", s->name);
    const iso_findings_claim claim = {.key = key,
                                      .question = question,
                                      .unit = ISO_FINDINGS_UNIT,
                                      .sentence = sentence_of(s, other),
                                      .outcome = !s->assumed && fabs(lead) > s->spread
                                                     ? ISO_VERDICT_RESOLVED
                                                     : ISO_VERDICT_UNRESOLVED,
                                      .value = lead,
                                      .low = s->assumed ? NAN : lead - s->spread,
                                      .high = s->assumed ? NAN : lead + s->spread,
                                      .n_seeds = s->candidates[s->chosen].n_seeds,
                                      .n_runs = n_runs};
    iso_status status = iso_findings_claim_add(b, &claim);
    free(key);
    free(question);
    return status;
}

/* --- the table --- */

static iso_finding_cell size_cell(int64_t value) {
    return iso_cell_of(value > 0 ? (double)value : NAN);
}

static iso_status add_table(iso_findings_build *b, const search_step *s) {
    static iso_finding_column columns[] = {
        {"candidate", NULL, -1, false},
        {"H", NULL, -1, false},
        {"L", NULL, -1, false},
        {"A", NULL, -1, false},
        {"F", NULL, -1, false},
        {"E", NULL, -1, false},
        {"K", NULL, -1, false},
        {"De", NULL, -1, false},
        {"Dse", NULL, -1, false},
        {"zeta", NULL, 1, false},
        {"mu", NULL, 1, false},
        {"seeds", NULL, -1, false},
        {"loss, choosing", "BPC", 4, false},
        {"loss, reporting", "BPC", 4, false},
        {"chosen", NULL, -1, false},
    };
    iso_finding_table *table;
    char spread[ISO_NUMBER_BYTES];
    bool halves = !b->study || b->study->select == ISO_STUDY_SELECT_HALF;
    char *key = iso_strf("%s-%s", s->part, s->name), *title = iso_strf("Search step %s", s->name);
    char *caption = iso_strf(
        "Candidates stand from the simplest on. %s The winner is the first that is no more than "
        "%s BPC behind the best: t times the noise between seeds times \xe2\x88\x9a(2/n), %s. "
        "Without a score: stopped as hopeless.",
        halves ? "One half of the validation documents chooses, the other reports."
               : "All validation documents choose and report: the winner's score is flattered.",
        iso_number_fixed(spread, s->spread, 4),
        s->assumed ? "the noise assumed, since no candidate has a second seed"
                   : "the noise pooled over the better half of the candidates so far");
    const iso_finding_table empty = {.key = key,
                                     .title = title,
                                     .caption = caption,
                                     .n_columns = sizeof columns / sizeof *columns,
                                     .columns = columns};
    iso_status status = iso_findings_table(b->out, &table, &empty);
    for (int64_t i = 0; i < s->n && status == ISO_OK; i++) {
        const candidate *c = &s->candidates[i];
        iso_finding_cell cells[] = {
            iso_cell_text(c->label),
            size_cell(c->H),
            size_cell(c->L),
            size_cell(c->A),
            size_cell(c->F),
            size_cell(c->E),
            size_cell(c->K),
            size_cell(c->De),
            size_cell(c->Dse),
            iso_cell_of(c->zeta),
            iso_cell_of(c->E > 0 ? c->mu : NAN),
            iso_cell_of((double)c->n_seeds),
            iso_cell_of(c->choose),
            iso_cell_of(c->report),
            iso_cell_text(i == s->chosen     ? "yes"
                          : isnan(c->choose) ? "stopped"
                                             : ""),
        };
        cells[13].is_best = cells[0].is_best = i == s->chosen;
        status = iso_findings_row(table, cells);
    }
    free(key);
    free(title);
    free(caption);
    return status;
}

/* --- figure 4 --- */

static iso_status add_figure(iso_findings_build *b, const search_step *s, const char *ratio,
                             size_t offset) {
    iso_finding_figure *figure;
    iso_series_point points[MAX_CANDIDATES];
    iso_series series = {"candidates", ISO_SERIES_MEASURED, 0, points};
    char *key = iso_strf("4%s-%s", s->part + strlen("search"), s->name),
         *title = iso_strf("Loss against %s", ratio);
    const iso_finding_figure empty = {
        .key = key,
        .title = title,
        .caption = "Candidates of the search at equal N, C and activation rate, on the documents "
                   "that report; means over seeds, bars the 95\xc2\xa0% of noise between seeds. "
                   "The paper shows training loss on its own tokenizer: another quantity, and no "
                   "ghost.",
        .x = {(char *)ratio, NULL, true, false},
        .y = {"loss", ISO_FINDINGS_UNIT, false, false}};
    iso_status status = iso_findings_figure(b->out, &figure, &empty);
    for (int64_t i = 0; i < s->n; i++) {
        const candidate *c = &s->candidates[i];
        double x, half = s->assumed ? NAN : s->spread / sqrt(2.0);
        memcpy(&x, (const char *)c + offset, sizeof x);
        if (isnan(c->report)) continue;
        points[series.n++] = (iso_series_point){
            x, c->report, c->report - half, c->report + half, c->n_seeds, (char *)c->label};
    }
    if (status == ISO_OK && series.n > 0) status = iso_findings_series(figure, &series);
    free(key);
    free(title);
    return status;
}

static iso_status add_ratio_figure(iso_findings_build *b, const search_step *s) {
    static const struct {
        const char *step, *ratio;
        size_t offset;
    } figures[] = {
        {"moe-zeta", "zeta (hidden size over layers)", offsetof(candidate, zeta)},
        {"moe-mu", "mu (width of all experts over hidden size)", offsetof(candidate, mu)},
        {"dense-zeta", "zeta of dense (hidden size over layers)", offsetof(candidate, zeta)},
        {"dense-alpha", "alpha of dense (FFN width over hidden size)", offsetof(candidate, alpha)},
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        if (strcmp(figures[i].step, s->name) == 0)
            return add_figure(b, s, figures[i].ratio, figures[i].offset);
    return ISO_OK;
}

/* --- what the search found, against each other --- */

/* Of one part, dense or MoE: the winner of the last step so far, and what was tried. */
typedef struct family {
    candidate won;
    double start; /* score of the shape that other parts compare; NaN if there is none */
    double spread;
    bool known, assumed;
    int64_t n_tried;
    const char *tried[MAX_CANDIDATES * 8];
} family;

typedef struct found {
    const char *part;
    family dense, moe;
} found;

static void count_tried(family *f, const search_step *s) {
    for (int64_t i = 0; i < s->n; i++) {
        bool seen = f->n_tried == MAX_CANDIDATES * 8;
        for (int64_t j = 0; j < f->n_tried && !seen; j++)
            seen = strcmp(f->tried[j], s->candidates[i].side) == 0;
        if (!seen) f->tried[f->n_tried++] = s->candidates[i].side;
    }
}

static const iso_side *side_named(const iso_findings_build *b, const char *name) {
    for (int64_t i = 0; i < b->all.n; i++) {
        const iso_side *side = &b->all.sides[i];
        if (strcmp(iso_findings_run_of(b, side->runs[0])->side, name) == 0) return side;
    }
    return NULL;
}

static bool is_compared(const iso_findings_build *b, const char *name) {
    const iso_side *side = side_named(b, name);
    return side && !iso_findings_is_candidate(b, side);
}

static double start_of(const iso_findings_build *b, const search_step *s) {
    for (int64_t i = 0; i < s->n; i++)
        if (is_compared(b, s->candidates[i].side)) return s->candidates[i].report;
    return NAN;
}

static void take_step(found *out, const iso_findings_build *b, const search_step *s) {
    family *f = s->candidates[s->chosen].E > 0 ? &out->moe : &out->dense;
    if (!f->known) f->start = start_of(b, s);
    f->won = s->candidates[s->chosen];
    f->spread = s->spread;
    f->known = true;
    f->assumed = s->assumed;
    count_tried(f, s);
}

/* Training noise is that of the steps' ties; the documents that report are half of those that the
 * paired differences are taken over. */
static iso_status add_found(iso_findings_build *b, const found *f) {
    const iso_side *dense = f->dense.known ? side_named(b, f->dense.won.side) : NULL;
    const iso_side *moe = f->moe.known ? side_named(b, f->moe.won.side) : NULL;
    if (!dense || !moe) return ISO_OK;
    bool halves = !b->study || b->study->select == ISO_STUDY_SELECT_HALF;
    bool assumed = f->dense.assumed || f->moe.assumed;
    iso_gap gap = iso_gap_estimate(dense, moe, &b->noise);
    double value = f->dense.won.report - f->moe.won.report;
    double training = hypot(f->dense.spread, f->moe.spread) / sqrt(2.0);
    double evaluation = gap.evaluation_half * (halves ? sqrt(2.0) : 1.0);
    double half = assumed ? NAN : hypot(training, evaluation);
    bool resolved = fabs(value) > half;
    char size[ISO_NUMBER_BYTES], plus[ISO_NUMBER_BYTES], t[ISO_NUMBER_BYTES], e[ISO_NUMBER_BYTES];
    int digits = iso_number_decimals(isnan(half) ? f->moe.spread : half);
    iso_str text = {0};
    iso_str_appendf(&text,
                    "%s the best of %" PRId64 " dense models tried (%s) the best of %" PRId64
                    " MoEs (%s) scores %s",
                    resolved ? "Against" : "Not resolved at this size: against", f->dense.n_tried,
                    dense->shape, f->moe.n_tried, moe->shape,
                    iso_number_fixed(size, fabs(value), digits));
    if (!isnan(half)) iso_str_appendf(&text, " \xc2\xb1 %s", iso_number_fixed(plus, half, digits));
    iso_str_appendf(&text, " " ISO_FINDINGS_UNIT " %s",
                    value >= 0 ? "lower (better)" : "higher (worse)");
    if (halves) iso_str_append(&text, " on the documents that did not choose");
    if (isnan(half))
        iso_str_append(&text, "; what chance does is not known.");
    else
        iso_str_appendf(&text,
                        " (95\xc2\xa0%%; training noise \xc2\xb1%s, evaluation noise \xc2\xb1%s; "
                        "%" PRId64 " and %" PRId64 " %s).",
                        iso_number_fixed(t, training, digits),
                        iso_number_fixed(e, evaluation, digits), f->dense.won.n_seeds,
                        f->moe.won.n_seeds, f->moe.won.n_seeds == 1 ? "seed" : "seeds");
    char *key = iso_strf("%s-gap", f->part);
    const iso_findings_claim claim = {
        .key = key,
        .question = "Does the best MoE that the search found beat the best dense model?",
        .unit = ISO_FINDINGS_UNIT,
        .sentence = text.data,
        .outcome = resolved ? ISO_VERDICT_RESOLVED : ISO_VERDICT_UNRESOLVED,
        .value = value,
        .low = value - half,
        .high = value + half,
        .n_seeds =
            f->dense.won.n_seeds < f->moe.won.n_seeds ? f->dense.won.n_seeds : f->moe.won.n_seeds,
        .n_runs = dense->n_runs + moe->n_runs};
    iso_status status = iso_findings_claim_add(b, &claim);
    free(key);
    return status;
}

/* The scan's baseline is the planner's: whoever reads its gap should know of a better one. */
static iso_status note_better_dense(iso_findings_build *b, const found *f) {
    char lower[ISO_NUMBER_BYTES];
    double lead = f->dense.start - f->dense.won.report;
    if (!f->dense.known || f->dense.assumed || !(lead > f->dense.spread)) return ISO_OK;
    return iso_findings_note(
        b->out,
        "The search found a dense model that scores %s " ISO_FINDINGS_UNIT
        " lower than the planner's, which the other parts compare with: of the MoE's lead there, "
        "so much may be the shape's. The best of both are compared above.",
        iso_number_fixed(lower, lead, iso_number_decimals(f->dense.spread)));
}

/* The two must be equal, as every comparison's sides. */
static iso_status judge_found(iso_findings_build *b, const found *f) {
    iso_findings_view view;
    ISO_TRY(iso_findings_view_make(&view, b, f->part));
    bool equal = iso_findings_is_equal(&view);
    iso_findings_view_release(&view);
    if (!equal) return ISO_OK;
    ISO_TRY(add_found(b, f));
    return note_better_dense(b, f);
}

static bool is_step(const json_t *step) {
    return strcmp(json_string_value(json_object_get(step, "step")), "lr") != 0;
}

/* All steps of a part; they stand in order of the method. */
static iso_status collect_found(found *out, const iso_findings_build *b, const char *part) {
    json_t *step;
    size_t i;
    search_step *s = malloc(sizeof *s);
    iso_status status = s ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate a search step");
    *out = (found){.part = part};
    json_array_foreach(b->steps, i, step) {
        if (status != ISO_OK || !is_step(step)) continue;
        status = read_step(s, step);
        if (status == ISO_OK && strcmp(s->part, part) == 0) take_step(out, b, s);
    }
    free(s);
    return status;
}

static iso_status add_all_found(iso_findings_build *b) {
    json_t *parts = json_object(), *step;
    size_t i;
    found *f = malloc(sizeof *f);
    iso_status status = f ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate what was found");
    json_array_foreach(b->steps, i, step) {
        const char *part = part_of(step);
        if (status != ISO_OK || !is_step(step) || json_object_get(parts, part)) continue;
        json_object_set_new(parts, part, json_true());
        status = collect_found(f, b, part);
        if (status == ISO_OK) status = judge_found(b, f);
    }
    free(f);
    json_decref(parts);
    return status;
}

iso_status iso_findings_add_search(iso_findings_build *b) {
    json_t *step;
    size_t i;
    search_step *s = malloc(sizeof *s);
    iso_status status = s ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate a search step");
    if (status == ISO_OK) status = add_all_found(b);
    json_array_foreach(b->steps, i, step) {
        if (status != ISO_OK || !is_step(step)) continue;
        status = read_step(s, step);
        if (status == ISO_OK) status = add_verdict(b, s);
        if (status == ISO_OK) status = add_table(b, s);
        if (status == ISO_OK) status = add_ratio_figure(b, s);
    }
    free(s);
    return status;
}
