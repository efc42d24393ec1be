/* The findings of a study folder: its parts one after the other, and what limits them. */
#include "study/findings_build.h"

#include "base/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- every configuration --- */

static bool has_two_seeds(const iso_findings_build *b) {
    for (int64_t i = 0; i < b->all.n; i++)
        if (b->all.sides[i].n_runs > 1) return true;
    return false;
}

static bool has_comparisons(const iso_findings_build *b) {
    for (int64_t i = 0; i < b->all.n; i++)
        if (!iso_findings_is_candidate(b, &b->all.sides[i])) return true;
    return false;
}

/* What "+- training" rests on. Caller frees. */
static char *say_noise(const iso_findings_build *b) {
    if (b->noise.dof > 0.0)
        return iso_strf("Losses are means over seeds. Pooled over %lld configurations seeds have a "
                        "standard deviation of %.2g (%g degrees of freedom); comparisons pool "
                        "those that they compare.",
                        (long long)b->noise.n_groups, iso_pooled_sd(&b->noise), b->noise.dof);
    if (has_two_seeds(b))
        return iso_strf("Only candidates of the search have two seeds. Those that train badly "
                        "scatter more, so nothing is said of others' training noise; the steps' "
                        "tables say what a tie is.");
    return iso_strf("No configuration has two seeds: nothing is known of training noise.");
}

iso_status iso_findings_add_sides(iso_findings_build *b) {
    static iso_finding_column columns[] = {
        {"side", NULL, -1, false},
        {"shape", NULL, -1, false},
        {"N", NULL, -1, false},
        {"activation rate", NULL, 1, true},
        {"C", "FLOPs", -1, false},
        {"D", "tokens", -1, false},
        {"epochs", NULL, 2, false},
        {"learning rate", NULL, 5, false},
        {"seeds", NULL, -1, false},
        {"loss", "BPC", 4, false},
        {"SD of its seeds", "BPC", 4, false},
    };
    char *noise = say_noise(b), *caption = iso_strf("All that finished, dense first. %s", noise);
    const iso_finding_table empty = {.key = "sides",
                                     .title = "Every configuration",
                                     .caption = caption,
                                     .n_columns = sizeof columns / sizeof *columns,
                                     .columns = columns};
    iso_finding_table *table;
    iso_status status = iso_findings_table(b->out, &table, &empty);
    free(caption);
    free(noise);
    for (int64_t i = 0; i < b->all.n && status == ISO_OK; i++) {
        const iso_side *side = &b->all.sides[i];
        iso_pooled own = {0};
        iso_pooled_add(&own, side->bpc, side->n_runs);
        iso_finding_cell cells[] = {
            iso_cell_text(side->label),
            iso_cell_text(side->shape),
            iso_cell_of(iso_findings_number(side, "params_nonvocab")),
            iso_cell_of(side->activation_rate),
            iso_cell_of(iso_findings_number(side, "train_flops")),
            iso_cell_of(iso_findings_number(side, "tokens")),
            iso_cell_of(iso_findings_number(side, "epochs")),
            iso_cell_of(iso_findings_number(side, "lr")),
            iso_cell_of((double)side->n_runs),
            iso_cell_of(side->mean_bpc),
            iso_cell_of(iso_pooled_sd(&own)),
        };
        status = iso_findings_row(table, cells);
    }
    return status;
}

/* --- notes --- */

static iso_status note_runs(iso_findings_build *b) {
    int64_t n_failed = 0, n_stopped = 0, n_diverged = 0, n_open = 0;
    for (int64_t i = 0; i < b->n_runs; i++) {
        const iso_finding_run *run = &b->runs[i];
        bool failed = !run->finished && strcmp(run->state, "failed") == 0;
        bool stopped = strcmp(run->state, "stopped") == 0;
        bool diverged = strcmp(run->state, "diverged") == 0;
        if (failed && ++n_failed <= 3)
            ISO_TRY(iso_findings_note(b->out, "%s failed: %s.", run->name,
                                      *run->cause ? run->cause : "its log tells why"));
        n_stopped += stopped;
        n_diverged += diverged;
        n_open += !run->finished && !failed && !stopped && !diverged;
    }
    b->out->under_way = n_open > 0 || !b->complete;
    if (n_failed > 3)
        ISO_TRY(iso_findings_note(b->out, "%lld more runs failed.", (long long)(n_failed - 3)));
    if (n_stopped > 0)
        ISO_TRY(iso_findings_note(b->out,
                                  "%lld runs were stopped as hopeless, by the study's rule.",
                                  (long long)n_stopped));
    if (n_diverged > 0)
        ISO_TRY(iso_findings_note(b->out, "%lld runs diverged and are in no comparison.",
                                  (long long)n_diverged));
    if (n_open > 0)
        ISO_TRY(iso_findings_note(b->out,
                                  "The study is under way: %lld of its %lld runs so far have not "
                                  "finished, and what is said may change.",
                                  (long long)n_open, (long long)b->n_runs));
    return b->complete ? ISO_OK
                       : iso_findings_note(b->out, "Choices are open: more runs will follow from "
                                                   "scores that are not there yet.");
}

static iso_status note_excluded(iso_findings_build *b) {
    for (int64_t i = 0; i < b->all.n_runs; i++) {
        const iso_side_run *run = &b->all.runs[i];
        if (run->excluded)
            ISO_TRY(
                iso_findings_note(b->out, "%s takes no part: %s.", run->run.name, run->excluded));
    }
    return ISO_OK;
}

static bool has_sweeps(const iso_findings_build *b) {
    json_t *step;
    size_t i;
    json_array_foreach(b->steps, i,
                       step) if (strcmp(json_string_value(json_object_get(step, "step")), "lr") ==
                                 0) return true;
    return false;
}

iso_status iso_findings_add_notes(iso_findings_build *b) {
    ISO_TRY(note_runs(b));
    ISO_TRY(note_excluded(b));
    if (b->all.n == 0) return ISO_OK;
    if (!(b->noise.dof > 0) && has_comparisons(b))
        ISO_TRY(iso_findings_note(b->out,
                                  "%s finished seeds: nothing is known of training noise, and no "
                                  "difference is resolved.",
                                  has_two_seeds(b)
                                      ? "No configuration but candidates of the search has two"
                                      : "No configuration has two"));
    if (b->noise.dof > 0 && b->noise.dof < 6)
        ISO_TRY(iso_findings_note(b->out,
                                  "Seed noise is known from %g degrees of freedom only: intervals "
                                  "are %.1f times as wide as many seeds would make them.",
                                  b->noise.dof, iso_t_95(b->noise.dof) / iso_t_95(INFINITY)));
    if (!has_sweeps(b))
        ISO_TRY(iso_findings_note(b->out, "No learning-rate sweep has finished: whether rates "
                                          "favour a side is not known from this study."));
    char params[ISO_NUMBER_BYTES];
    return iso_findings_note(
        b->out,
        "One corpus, one program, models of %s parameters: what holds here need not hold at the "
        "paper's 2 to 7 billion.",
        iso_number_count(params, iso_findings_number(&b->all.sides[0], "params_nonvocab")));
}

/* --- the whole --- */

static iso_status set_headline(iso_findings *f) {
    const char *text = f->n_verdicts > 0 ? f->verdicts[0].sentence
                       : f->n_finished == 0
                           ? "No run of the study has finished yet."
                           : "No verdict yet: the runs that finished make no comparison.";
    f->headline = strdup(text);
    return f->headline ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate the headline");
}

static iso_status fill(iso_findings_build *b) {
    for (int64_t i = 0; i < b->n_runs; i++) b->out->n_finished += b->runs[i].finished;
    b->out->n_runs = b->n_runs;
    ISO_TRY(iso_findings_add_scans(b));
    ISO_TRY(iso_findings_add_courses(b));
    ISO_TRY(iso_findings_add_reuse(b));
    ISO_TRY(iso_findings_add_search(b));
    ISO_TRY(iso_findings_add_sweeps(b));
    ISO_TRY(iso_findings_add_control(b));
    if (b->all.n > 0) ISO_TRY(iso_findings_add_sides(b));
    ISO_TRY(iso_findings_add_notes(b));
    return set_headline(b->out);
}

iso_status iso_study_findings(iso_findings **out, const char *dir) {
    iso_findings_build b;
    const char *name, *kind;
    json_t *study;
    *out = NULL;
    ISO_TRY(iso_findings_open(&b, dir));
    iso_status status = iso_json_get_object(&study, b.manifest, "study", dir);
    if (status == ISO_OK) status = iso_json_get_str(&name, study, "name", dir);
    if (status == ISO_OK) status = iso_json_get_str(&kind, study, "kind", dir);
    if (status == ISO_OK && !(b.out = iso_findings_create(name, kind)))
        status = iso_fail(ISO_ERR_MEMORY, "cannot allocate the study's findings");
    if (status == ISO_OK) status = fill(&b);
    if (status == ISO_OK)
        *out = b.out;
    else
        iso_findings_free(b.out);
    iso_findings_close(&b);
    return status;
}
