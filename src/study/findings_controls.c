/* Controls: sweeps of learning rates, which tell whether a side is handicapped, and A/A runs, which
 * tell what "different" means. */
#include "study/findings_build.h"

#include "base/number.h"
#include "study/optimum_say.h"
#include "study/side_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RATES ISO_STUDY_LIST_MAX

/* One side's sweep; candidates ascend by learning rate. */
typedef struct sweep {
    const char *side_name;
    int64_t n;
    const iso_side *sides[MAX_RATES + 1]; /* room for the reference behind the last */
    double multiplier[MAX_RATES];
    const iso_side *chosen;
    double chosen_multiplier;
    bool at_edge, fitted;
    bool known; /* fitted, and the sweep tells what is lost, or at least how much */
    iso_handicap handicap;
} sweep;

/* --- reading --- */

static void insert(sweep *s, const iso_side *side, double multiplier) {
    int64_t at = s->n++;
    for (; at > 0 && s->multiplier[at - 1] > multiplier; at--) {
        s->sides[at] = s->sides[at - 1];
        s->multiplier[at] = s->multiplier[at - 1];
    }
    s->sides[at] = side;
    s->multiplier[at] = multiplier;
}

static bool is_planned(const iso_findings_build *b, const char *name) {
    for (int64_t i = 0; i < b->n_runs; i++)
        if (strcmp(b->runs[i].name, name) == 0) return true;
    return false;
}

/* Scores that were there when the step chose may be gone: a run is trained again, or its folder was
 * taken away. */
static iso_status note_missing(iso_findings_build *b, const sweep *s, int64_t n_missing) {
    if (!s->chosen)
        return iso_findings_note(b->out,
                                 "The sweep of %s: the run that it chose has no score; run the "
                                 "study again.",
                                 s->side_name);
    if (n_missing == 0) return ISO_OK;
    return iso_findings_note(b->out,
                             "The sweep of %s: %lld of the runs that it chose among %s no score; "
                             "run the study again.",
                             s->side_name, (long long)n_missing, n_missing == 1 ? "has" : "have");
}

/* out->chosen NULL: the chosen run has no score as yet, and a note says so. */
static iso_status read_sweep(sweep *out, iso_findings_build *b, const json_t *step) {
    json_t *rows, *row;
    size_t i;
    int64_t chosen, n_missing = 0;
    *out = (sweep){0};
    ISO_TRY(iso_json_get_str(&out->side_name, step, "side", "steps/lr"));
    ISO_TRY(iso_json_get_array(&rows, step, "candidates", "steps/lr"));
    ISO_TRY(iso_json_get_i64(&chosen, step, "chosen", "steps/lr"));
    out->at_edge = json_is_true(json_object_get(step, "at_edge"));
    json_array_foreach(rows, i, row) {
        const char *name;
        double multiplier;
        ISO_TRY(iso_json_get_str(&name, row, "run", "steps/lr"));
        ISO_TRY(iso_json_get_f64(&multiplier, row, "lr_multiplier", "steps/lr"));
        bool diverged = !json_is_number(json_object_get(row, "bpc_choose"));
        const iso_side *side = iso_findings_side_of(b, name);
        const char *wrong = !is_planned(b, name)               ? "is none of the study's runs"
                            : out->n == MAX_RATES              ? "is one rate too many"
                            : diverged && (int64_t)i == chosen ? "is chosen without a score"
                                                               : NULL;
        if (wrong)
            return iso_fail(ISO_ERR_DATA,
                            "%s/steps, the sweep of %s: %s %s; take the file away and run the "
                            "study again",
                            b->dir, out->side_name, name, wrong);
        n_missing += !diverged && !side;
        if (diverged || !side) continue;
        insert(out, side, multiplier);
        if ((int64_t)i == chosen) out->chosen = side, out->chosen_multiplier = multiplier;
    }
    return note_missing(b, out, n_missing);
}

/* --- handicaps --- */

static iso_status find_handicap(sweep *s, const iso_findings_build *b) {
    iso_scan_point points[MAX_RATES];
    int64_t n = s->n + 1;
    double *covariance = calloc((size_t)(n * n), sizeof *covariance), dof;
    ISO_ASSERT(covariance != NULL);
    for (int64_t i = 0; i < s->n; i++)
        points[i] = (iso_scan_point){log(iso_findings_number(s->sides[i], "lr")), s->sides[i]->bpc,
                                     s->sides[i]->n_runs, 0.0};
    s->sides[s->n] = s->chosen;
    iso_status status = iso_sides_covariance(covariance, &dof, s->sides, n);
    iso_pooled noise = iso_findings_noise_of(b, s->sides, s->n);
    iso_scan scan = {.points = points,
                     .n_points = s->n,
                     .evaluation_covariance = covariance,
                     .evaluation_dof = dof,
                     .other_noise = iso_findings_other_noise(&noise, points, s->n, NULL)};
    if (status == ISO_OK)
        status = iso_handicap_find(&s->handicap, &scan, log(iso_findings_number(s->chosen, "lr")));
    s->fitted = status == ISO_OK;
    s->known = s->fitted && (!s->handicap.at_least || s->handicap.resolved);
    free(covariance);
    return status;
}

/* --- what is shown --- */

static iso_status sweep_row(iso_finding_table *table, const sweep *s) {
    iso_str tried = {0};
    for (int64_t i = 0; i < s->n; i++)
        iso_str_appendf(&tried, "%s%g", i > 0 ? " " : "", s->multiplier[i]);
    iso_finding_cell cells[] = {
        iso_cell_text(s->side_name),
        iso_cell_of(s->chosen->activation_rate),
        iso_cell_text(tried.data),
        iso_cell_of(s->chosen_multiplier),
        iso_cell_of(iso_findings_number(s->chosen, "lr")),
        iso_cell_text(s->at_edge ? "yes" : "no"),
        iso_cell_of((double)s->chosen->n_runs),
        iso_cell_of(s->fitted ? exp(s->handicap.optimum.at) : NAN),
        iso_cell_of(s->known ? s->handicap.value : NAN),
        iso_cell_of(s->known ? s->handicap.half : NAN),
        iso_cell_text(!s->known              ? "unknown"
                      : s->handicap.resolved ? "yes"
                                             : "no"),
    };
    iso_status status = iso_findings_row(table, cells);
    iso_str_release(&tried);
    return status;
}

static iso_status add_table(iso_findings_build *b, const sweep *all, int64_t n) {
    static iso_finding_column columns[] = {
        {"side", NULL, -1, false},
        {"activation rate", NULL, 1, true},
        {"tried, over Step Law", NULL, -1, false},
        {"chosen", NULL, 3, false},
        {"learning rate", NULL, 5, false},
        {"at the sweep's edge", NULL, -1, false},
        {"seeds", NULL, -1, false},
        {"best by the fit", NULL, 5, false},
        {"handicap", "BPC", 4, false},
        {"\xc2\xb1 95 %", "BPC", 4, false},
        {"beyond noise", NULL, -1, false},
    };
    const iso_finding_table empty = {
        .key = "lr",
        .title = "Learning rates, swept for each side",
        .caption = "The handicap is what a side loses by its learning rate: the fitted curve "
                   "there minus its lowest within the sweep; not known where the best rate may lie "
                   "beyond. Seeds are those of the chosen rate, the "
                   "others may have fewer; seed noise is pooled over each sweep's rates.",
        .n_columns = sizeof columns / sizeof *columns,
        .columns = columns};
    iso_finding_table *table;
    iso_status status = iso_findings_table(b->out, &table, &empty);
    for (int64_t i = 0; i < n && status == ISO_OK; i++) status = sweep_row(table, &all[i]);
    return status;
}

static iso_status add_sweep_series(iso_findings_build *b, iso_finding_figure *figure,
                                   const sweep *s) {
    iso_series_point points[MAX_RATES];
    iso_pooled noise = iso_findings_noise_of(b, s->sides, s->n);
    for (int64_t i = 0; i < s->n; i++) {
        const iso_side *side = s->sides[i];
        iso_gap gap = iso_gap_estimate(side, s->chosen, &noise);
        double half = side == s->chosen ? NAN : gap.half;
        points[i] = (iso_series_point){s->multiplier[i], gap.bpc,      gap.bpc - half,
                                       gap.bpc + half,   side->n_runs, side->label};
    }
    const iso_series series = {(char *)s->side_name, ISO_SERIES_MEASURED, s->n, points};
    return iso_findings_series(figure, &series);
}

static iso_status add_figure(iso_findings_build *b, const sweep *all, int64_t n) {
    const iso_finding_figure empty = {
        .key = "lr",
        .title = "Loss against learning rate, for each side",
        .caption = "Above that of the learning rate that the side was given; bars are the "
                   "95\xc2\xa0% of training and evaluation noise of that difference.",
        .x = {"learning rate over Step Law's", NULL, true, false},
        .y = {"loss above the chosen rate's", ISO_FINDINGS_UNIT, false, false}};
    iso_finding_figure *figure;
    iso_status status = iso_findings_figure(b->out, &figure, &empty);
    for (int64_t i = 0; i < n && status == ISO_OK; i++)
        status = add_sweep_series(b, figure, &all[i]);
    return status;
}

/* Of dense at C and the MoE nearest to 20 %: the sides of the headline. */
static void choose_pair(const sweep **dense, const sweep **moe, const sweep *all, int64_t n) {
    *dense = *moe = NULL;
    for (int64_t i = 0; i < n; i++) {
        const sweep *s = &all[i];
        if (!s->fitted) continue;
        double far = fabs(s->chosen->activation_rate - ISO_PAPER_RATE_BEST);
        /* Several dense ones differ in compute: the least is that of the MoEs. */
        if (!s->chosen->is_moe &&
            (!*dense || iso_findings_number(s->chosen, "train_flops") <
                            iso_findings_number((*dense)->chosen, "train_flops")))
            *dense = s;
        if (s->chosen->is_moe &&
            (!*moe || far < fabs((*moe)->chosen->activation_rate - ISO_PAPER_RATE_BEST)))
            *moe = s;
    }
}

static int64_t fewest_seeds(const sweep *s) {
    int64_t n = s->chosen->n_runs;
    for (int64_t i = 0; i < s->n; i++)
        if (s->sides[i]->n_runs < n) n = s->sides[i]->n_runs;
    return n;
}

static int64_t runs_of(const sweep *s) {
    int64_t n = 0;
    for (int64_t i = 0; i < s->n; i++) n += s->sides[i]->n_runs;
    return n;
}

static iso_status add_handicap_verdict(iso_findings_build *b, const sweep *all, int64_t n) {
    const sweep *dense, *moe;
    choose_pair(&dense, &moe, all, n);
    if (!dense || !moe) return ISO_OK;
    int64_t seeds =
        fewest_seeds(dense) < fewest_seeds(moe) ? fewest_seeds(dense) : fewest_seeds(moe);
    iso_handicap_difference d = iso_handicap_compare(&dense->handicap, &moe->handicap);
    char *name = iso_findings_side_words(moe->chosen);
    char *between = iso_handicap_say_difference(&d, "dense", name);
    char *of_dense = iso_handicap_say(&dense->handicap, "dense");
    char *of_moe = iso_handicap_say(&moe->handicap, name);
    const iso_findings_claim claim = {
        .key = "lr",
        .question = "Do learning rates favour a side?",
        .unit = ISO_FINDINGS_UNIT,
        .sentence = iso_strf("%s %s %s Sweeps of %lld and %lld rates, at least %lld %s each.",
                             between, of_dense, of_moe, (long long)dense->n, (long long)moe->n,
                             (long long)seeds, seeds == 1 ? "seed" : "seeds"),
        .outcome = d.resolved ? ISO_VERDICT_RESOLVED : ISO_VERDICT_UNRESOLVED,
        .value = d.known || d.resolved ? d.value : NAN,
        .low = d.low,
        .high = d.high,
        .n_seeds = seeds,
        .n_runs = runs_of(dense) + runs_of(moe)};
    free(name);
    free(between);
    free(of_dense);
    free(of_moe);
    return iso_findings_claim_add(b, &claim);
}

/* Dense first, by compute, then MoEs by activation rate. */
static int by_side(const void *a, const void *b) {
    const iso_side *x = ((const sweep *)a)->chosen, *y = ((const sweep *)b)->chosen;
    if (x->is_moe != y->is_moe) return x->is_moe ? 1 : -1;
    double left = x->is_moe ? x->activation_rate : iso_findings_number(x, "train_flops");
    double right = x->is_moe ? y->activation_rate : iso_findings_number(y, "train_flops");
    return (left > right) - (left < right);
}

static iso_status fill_sweeps(iso_findings_build *b, sweep *all, int64_t n) {
    int64_t n_fitted = 0;
    for (int64_t i = 0; i < n; i++) {
        iso_status status = find_handicap(&all[i], b);
        if (status == ISO_ERR_MEMORY) return status;
        n_fitted += all[i].fitted;
    }
    if (n_fitted < n) {
        char *why = iso_strf("%s", iso_error_message());
        iso_status status = iso_findings_note(
            b->out, "What %lld of %lld sides lose by their learning rate is not known: %s.",
            (long long)(n - n_fitted), (long long)n, why);
        free(why);
        ISO_TRY(status);
    }
    for (int64_t i = 0; i < n; i++)
        if (all[i].at_edge)
            ISO_TRY(iso_findings_note(b->out,
                                      "%s: its best learning rate lies at the edge of the sweep; "
                                      "a better one may lie beyond.",
                                      all[i].side_name));
    ISO_TRY(add_handicap_verdict(b, all, n));
    ISO_TRY(add_table(b, all, n));
    return add_figure(b, all, n);
}

iso_status iso_findings_add_sweeps(iso_findings_build *b) {
    json_t *step;
    size_t i;
    int64_t n = 0;
    sweep *all = calloc(json_array_size(b->steps) + 1, sizeof *all);
    iso_status status = all ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate the sweeps");
    json_array_foreach(b->steps, i, step) {
        if (strcmp(json_string_value(json_object_get(step, "step")), "lr") != 0) continue;
        if (status == ISO_OK) status = read_sweep(&all[n], b, step);
        if (status == ISO_OK && all[n].chosen) n++;
    }
    if (n > 0) qsort(all, (size_t)n, sizeof *all, by_side);
    if (status == ISO_OK && n > 0) status = fill_sweeps(b, all, n);
    free(all);
    return status;
}

/* --- A/A --- */

static bool is_control(const iso_findings_build *b, const iso_side *side) {
    for (int64_t i = 0; i < side->n_runs; i++) {
        const char *at = iso_findings_run_of(b, side->runs[i])->groups;
        for (; *at; at += strcspn(at, ","), at += *at == ',')
            if (strncmp(at, "control", 7) == 0) return true;
    }
    return false;
}

/* Without a control, of four seeds or more the configuration with most of them; NULL: none. */
static const iso_side *find_most(const iso_findings_build *b) {
    const iso_side *best = NULL;
    for (int64_t i = 0; i < b->all.n; i++) {
        const iso_side *side = &b->all.sides[i];
        if (is_control(b, side)) return NULL;
        if (side->n_runs >= 4 && (!best || side->n_runs > best->n_runs)) best = side;
    }
    return best;
}

/* Seeds of a side in the study's scan, as far as there are four such sides. */
static iso_status control_seeds(int64_t *out, const iso_findings_build *b, const iso_side *side) {
    iso_findings_view view;
    ISO_TRY(iso_findings_view_make(&view, b, "scan"));
    int64_t n = iso_findings_seeds(&view.sides);
    iso_findings_view_release(&view);
    if (n > side->n_runs / 4) n = side->n_runs / 4;
    *out = n < 2 ? 2 : n;
    return ISO_OK;
}

static iso_status add_pairs(iso_findings_build *b, const iso_side *side, const char *key,
                            const iso_seed_control *control) {
    static iso_finding_column columns[] = {
        {"pair", NULL, -1, false},        {"first side", "BPC", 4, false},
        {"second side", "BPC", 4, false}, {"difference", "BPC", 4, false},
        {"must exceed", "BPC", 4, false}, {"called different", NULL, -1, false},
    };
    char *caption = iso_strf("Runs of %s, %lld seeds a side, as the study compares dense and MoE; "
                             "no run is in two pairs.",
                             side->label, (long long)control->n_seeds);
    const iso_finding_table empty = {.key = (char *)key,
                                     .title = "A/A control: one configuration against itself",
                                     .caption = caption,
                                     .n_columns = sizeof columns / sizeof *columns,
                                     .columns = columns};
    iso_finding_table *table;
    iso_status status = iso_findings_table(b->out, &table, &empty);
    free(caption);
    for (int64_t i = 0; i < control->n_pairs && status == ISO_OK; i++) {
        const double *bpc = side->bpc + 2 * i * control->n_seeds;
        double first = iso_mean(bpc, control->n_seeds);
        double second = iso_mean(bpc + control->n_seeds, control->n_seeds);
        bool alarm = fabs(first - second) > control->half;
        iso_finding_cell cells[] = {
            iso_cell_of((double)(i + 1)), iso_cell_of(first),
            iso_cell_of(second),          iso_cell_of(first - second),
            iso_cell_of(control->half),   iso_cell_text(alarm ? "yes" : "no"),
        };
        status = iso_findings_row(table, cells);
    }
    return status;
}

static iso_status add_false_alarms(iso_findings_build *b, const iso_side *side, const char *key,
                                   const iso_seed_control *control) {
    bool off = 0.05 < control->rate_low || 0.05 > control->rate_high;
    char *said = iso_seed_control_say(control), *who = iso_findings_side_words(side);
    char *question = iso_strf("How often is %s called different from itself?", who);
    const iso_findings_claim claim = {
        .key = key,
        .question = question,
        .unit = "share of comparisons",
        .sentence = iso_strf("Of %s against itself: %s", side->label, said),
        .outcome = off ? ISO_VERDICT_RESOLVED : ISO_VERDICT_UNRESOLVED,
        .value = (double)control->n_alarms / (double)control->n_pairs,
        .low = control->rate_low,
        .high = control->rate_high,
        .n_seeds = control->n_seeds,
        .n_runs = control->n_runs};
    iso_status status = iso_findings_claim_add(b, &claim);
    free(said);
    free(who);
    free(question);
    return status;
}

static iso_status add_seed_noise(iso_findings_build *b, const iso_side *side, const char *key,
                                 const iso_seed_control *control) {
    char sd[ISO_NUMBER_BYTES], low[ISO_NUMBER_BYTES], high[ISO_NUMBER_BYTES];
    iso_number_short(sd, control->seed_sd, 2);
    iso_number_short(low, control->seed_sd_low, 2);
    iso_number_short(high, control->seed_sd_high, 2);
    char *who = iso_findings_side_words(side);
    char *question = iso_strf("How far do trainings of %s lie apart?", who);
    const iso_findings_claim claim = {
        .key = key,
        .question = question,
        .unit = ISO_FINDINGS_UNIT,
        .sentence = iso_strf("Losses of %s scatter between seeds by %s " ISO_FINDINGS_UNIT
                             " (standard deviation, %s to %s at 95\xc2\xa0%%, %lld seeds).",
                             side->label, sd, low, high, (long long)control->n_runs),
        .outcome = ISO_VERDICT_RESOLVED,
        .value = control->seed_sd,
        .low = control->seed_sd_low,
        .high = control->seed_sd_high,
        .n_seeds = control->n_runs,
        .n_runs = control->n_runs};
    iso_status status = iso_findings_claim_add(b, &claim);
    free(who);
    free(question);
    return status;
}

static iso_status add_side_control(iso_findings_build *b, const iso_side *side, bool first) {
    iso_seed_control control;
    int64_t n_seeds;
    if (side->n_runs < 4) return ISO_OK;
    ISO_TRY(control_seeds(&n_seeds, b, side));
    ISO_TRY(iso_seed_control_make(&control, side->bpc, side->n_runs, n_seeds));
    const char *of = first ? "" : "-", *label = first ? "" : side->label;
    char *key = iso_strf("control%s%s", of, label), *noise = iso_strf("seed-noise%s%s", of, label);
    iso_status status = add_false_alarms(b, side, key, &control);
    if (status == ISO_OK) status = add_seed_noise(b, side, noise, &control);
    if (status == ISO_OK) status = add_pairs(b, side, key, &control);
    free(key);
    free(noise);
    return status;
}

iso_status iso_findings_add_control(iso_findings_build *b) {
    const iso_side *most = find_most(b);
    bool first = true;
    for (int64_t i = 0; i < b->all.n; i++) {
        const iso_side *side = &b->all.sides[i];
        if (side != most && !is_control(b, side)) continue;
        ISO_TRY(add_side_control(b, side, first));
        first = false;
    }
    return ISO_OK;
}
