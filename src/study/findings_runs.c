/* The study folder as sides: manifest, steps, finished runs. */
#include "study/findings_build.h"

#include "base/fileio.h"
#include "base/number.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- reading --- */

/* `kind`: the study's. Without parts of its own, as before there were methods, it is one. */
static iso_status read_entry(iso_finding_run *out, const json_t *entry, const char *kind,
                             const char *dir, const char *path) {
    ISO_TRY(iso_json_get_str(&out->name, entry, "name", path));
    ISO_TRY(iso_json_get_str(&out->side, entry, "side", path));
    ISO_TRY(iso_json_get_str(&out->groups, entry, "groups", path));
    ISO_TRY(iso_json_get_str(&out->state, entry, "state", path));
    const char *cause = json_string_value(json_object_get(entry, "cause"));
    const char *parts = json_string_value(json_object_get(entry, "parts"));
    out->cause = cause ? cause : "";
    out->parts = parts ? parts : kind;
    char *run = iso_strf("%s/runs/%s", dir, out->name);
    /* One that was stopped as hopeless and finished all the same stays stopped. */
    out->finished = strcmp(out->state, "stopped") != 0 && iso_run_is_finished(run);
    free(run);
    return ISO_OK;
}

static iso_status read_manifest(iso_findings_build *b, const char *path) {
    json_t *study, *runs, *entry;
    const char *source, *kind;
    size_t i;
    iso_str faults = {0};
    ISO_TRY(iso_json_load(&b->manifest, path));
    ISO_TRY(iso_json_get_object(&study, b->manifest, "study", path));
    ISO_TRY(iso_json_get_array(&runs, b->manifest, "runs", path));
    ISO_TRY(iso_json_get_bool(&b->complete, b->manifest, "complete", path));
    ISO_TRY(iso_json_get_str(&source, study, "source", path));
    ISO_TRY(iso_json_get_str(&kind, study, "kind", path));
    b->n_runs = (int64_t)json_array_size(runs);
    b->runs = calloc((size_t)b->n_runs + 1, sizeof *b->runs);
    ISO_ASSERT(b->runs != NULL);
    json_array_foreach(runs, i, entry) ISO_TRY(read_entry(&b->runs[i], entry, kind, b->dir, path));
    /* Its rules are worth having; without them the runs still say what they say. */
    iso_status status = iso_study_parse(&b->study, &faults, source, (int64_t)strlen(source), path);
    if (status != ISO_OK) {
        iso_study_free(b->study);
        b->study = NULL;
    }
    iso_str_release(&faults);
    return ISO_OK;
}

static iso_status read_steps(iso_findings_build *b) {
    char *dir = iso_strf("%s/steps", b->dir), **names = NULL;
    int64_t n = 0;
    iso_status status = iso_path_is_dir(dir) ? iso_dir_list(&names, &n, dir) : ISO_OK;
    b->steps = json_array();
    for (int64_t i = 0; i < n && status == ISO_OK; i++) {
        size_t length = strlen(names[i]);
        if (length < 5 || strcmp(names[i] + length - 5, ".json") != 0) continue;
        char *path = iso_strf("%s/%s", dir, names[i]);
        json_t *step, *candidates;
        const char *name;
        int64_t chosen;
        status = iso_json_load(&step, path);
        if (status == ISO_OK) {
            json_array_append_new(b->steps, step);
            status = iso_json_get_str(&name, step, "step", path);
        }
        if (status == ISO_OK) status = iso_json_get_array(&candidates, step, "candidates", path);
        if (status == ISO_OK) status = iso_json_get_i64(&chosen, step, "chosen", path);
        if (status == ISO_OK && (chosen < 0 || chosen >= (int64_t)json_array_size(candidates)))
            status = iso_fail(ISO_ERR_DATA, "%s: chosen: there is no such candidate", path);
        free(path);
    }
    iso_names_free(names, n);
    free(dir);
    return status;
}

/* Choices as they follow each other, not by file name; the study's MoE first, as its plan has it.
 */
static int rank_of(const json_t *step) {
    static const char *const order[] = {"lr",         "moe-layout",  "moe-gates",
                                        "moe-topk",   "moe-zeta",    "moe-mu",
                                        "dense-zeta", "dense-alpha", "dense-head"};
    const char *name = json_string_value(json_object_get(step, "step"));
    const int n = sizeof order / sizeof *order;
    int i = 0;
    while (i < n && strcmp(order[i], name) != 0) i++;
    return i;
}

static void sort_steps(json_t *steps) {
    for (size_t i = 1; i < json_array_size(steps); i++)
        for (size_t j = i; j > 0; j--) {
            json_t *before = json_array_get(steps, j - 1), *at = json_array_get(steps, j);
            if (rank_of(before) <= rank_of(at)) break;
            json_incref(before);
            json_incref(at);
            json_array_set_new(steps, j - 1, at);
            json_array_set_new(steps, j, before);
        }
}

static iso_status open_runs(iso_findings_build *b) {
    char **dirs = calloc((size_t)b->n_runs + 1, sizeof *dirs);
    int64_t n = 0;
    b->i_run = calloc((size_t)b->n_runs + 1, sizeof *b->i_run);
    ISO_ASSERT(dirs && b->i_run);
    for (int64_t i = 0; i < b->n_runs; i++) {
        if (!b->runs[i].finished) continue;
        b->i_run[n] = i;
        dirs[n++] = iso_strf("%s/runs/%s", b->dir, b->runs[i].name);
    }
    iso_status status = n > 0 ? iso_sides_open(&b->all, (const char *const *)dirs, n) : ISO_OK;
    for (int64_t i = 0; i < n; i++) free(dirs[i]);
    free(dirs);
    for (int64_t i = 0; i < b->all.n_runs && status == ISO_OK; i++) {
        const iso_side_run *run = &b->all.runs[i];
        if (strcmp(run->run.name, b->runs[b->i_run[i]].name) != 0)
            status = iso_fail(ISO_ERR_DATA,
                              "%s: the ledger is of a run named %s; give the study its own "
                              "runs back, or take this folder away",
                              run->run.dir, run->run.name);
    }
    return status;
}

iso_status iso_findings_open(iso_findings_build *out, const char *dir) {
    char *path = iso_strf("%s/manifest.json", dir);
    iso_status status = ISO_OK;
    *out = (iso_findings_build){.dir = dir};
    if (!iso_path_exists(path))
        status = iso_fail(ISO_ERR_USAGE,
                          "%s: there is no study here (no manifest.json); give the folder that "
                          "isomoe study run --out wrote",
                          dir);
    if (status == ISO_OK) status = read_manifest(out, path);
    free(path);
    if (status == ISO_OK) status = read_steps(out);
    if (status == ISO_OK) sort_steps(out->steps);
    if (status == ISO_OK) status = open_runs(out);
    for (int64_t i = 0; i < out->all.n && status == ISO_OK; i++)
        iso_findings_noise_add(&out->noise, out, &out->all.sides[i]);
    if (status != ISO_OK) iso_findings_close(out);
    return status;
}

void iso_findings_close(iso_findings_build *b) {
    iso_sides_close(&b->all);
    free(b->i_run);
    free(b->runs);
    iso_study_free(b->study);
    json_decref(b->steps);
    json_decref(b->manifest);
    *b = (iso_findings_build){0};
}

/* --- asking --- */

const iso_finding_run *iso_findings_run_of(const iso_findings_build *b, const iso_side_run *run) {
    return &b->runs[b->i_run[run - b->all.runs]];
}

const iso_side *iso_findings_side_of(const iso_findings_build *b, const char *run_name) {
    for (int64_t i = 0; i < b->all.n; i++)
        for (int64_t j = 0; j < b->all.sides[i].n_runs; j++)
            if (strcmp(b->all.sides[i].runs[j]->run.name, run_name) == 0) return &b->all.sides[i];
    return NULL;
}

bool iso_findings_is_candidate(const iso_findings_build *b, const iso_side *side) {
    for (int64_t i = 0; i < side->n_runs; i++) {
        const char *at = iso_findings_run_of(b, side->runs[i])->groups;
        if (!*at) return false;
        for (; *at; at += strcspn(at, ","), at += *at == ',')
            if (strncmp(at, "search", 6) != 0) return false;
    }
    return true;
}

const char *iso_findings_group_size(const char *group) {
    const char *dash = strrchr(group, '-'), *at = dash ? dash + 1 : group;
    return at[0] == 'd' && isdigit((unsigned char)at[1]) ? at + 1 : NULL;
}

bool iso_findings_is_scan(const char *group) {
    return strcmp(group, "scan") == 0 || strncmp(group, "scan-", 5) == 0 ||
           iso_findings_group_size(group) == group + 1;
}

const char *iso_findings_scheme(const char *group) {
    static const char *const schemes[] = {"unique", "strict", "loose"};
    bool is_part = strncmp(group, "reuse-", 6) == 0;
    for (const char *at = group; at; at = is_part ? strchr(at, '-') : NULL, at = at ? at + 1 : NULL)
        for (int i = 0; i < 3; i++) {
            size_t n = strlen(schemes[i]);
            if (strncmp(at, schemes[i], n) != 0) continue;
            if (at[n] == '\0' || strncmp(at + n, "-e", 2) == 0) return at;
        }
    return NULL;
}

json_t *iso_findings_groups(const iso_findings_build *b) {
    json_t *seen = json_object(), *groups = json_array();
    for (int64_t i = 0; i < b->n_runs; i++)
        for (const char *at = b->runs[i].groups; *at;) {
            size_t n = strcspn(at, ",");
            char *group = iso_strf("%.*s", (int)n, at);
            if (!json_object_get(seen, group)) {
                json_object_set_new(seen, group, json_true());
                json_array_append_new(groups, json_string(group));
            }
            free(group);
            at += n + (at[n] == ',');
        }
    json_decref(seen);
    return groups;
}

bool iso_findings_same(double a, double b) {
    return fabs(a / b - 1.0) <= ISO_FINDINGS_SAME;
}

double iso_findings_number(const iso_side *side, const char *path) {
    return iso_side_run_number(side->runs[0], path);
}

int64_t iso_findings_seeds(const iso_sides *sides) {
    int64_t n = sides->n > 0 ? sides->sides[0].n_runs : 0;
    for (int64_t i = 1; i < sides->n; i++)
        if (sides->sides[i].n_runs < n) n = sides->sides[i].n_runs;
    return n;
}

char *iso_findings_side_words(const iso_side *side) {
    char rate[ISO_NUMBER_BYTES];
    if (!side->is_moe) return iso_strf("dense");
    iso_number_percent(rate, side->activation_rate, side->activation_rate < 0.0995 ? 1 : 0);
    return iso_strf("the MoE at %s activation", rate);
}

char *iso_findings_side_name(const iso_side *side) {
    char rate[ISO_NUMBER_BYTES];
    if (!side->is_moe) return iso_strf("dense");
    iso_number_percent(rate, side->activation_rate, side->activation_rate < 0.0995 ? 1 : 0);
    return iso_strf("MoE %s", rate);
}

bool iso_findings_same_rate(const iso_side *a, const iso_side *b) {
    return a->is_moe == b->is_moe && iso_findings_same(a->activation_rate, b->activation_rate);
}

iso_series_point iso_findings_point(const iso_side *side, double x, const iso_pooled *noise) {
    double half = iso_t_95(noise->dof) * iso_pooled_sd(noise) / sqrt((double)side->n_runs);
    double y = side->mean_bpc;
    return (iso_series_point){x, y, y - half, y + half, side->n_runs, side->label};
}

/* --- seed noise --- */

/* A view's side has the label of the study's, and perhaps fewer of its seeds. */
void iso_findings_noise_add(iso_pooled *noise, const iso_findings_build *b, const iso_side *side) {
    for (int64_t i = 0; i < b->all.n; i++) {
        const iso_side *all = &b->all.sides[i];
        if (all->label == side->label && !iso_findings_is_candidate(b, all))
            iso_pooled_add(noise, all->bpc, all->n_runs);
    }
}

iso_pooled iso_findings_noise_or_all(const iso_findings_build *b, const iso_pooled *own) {
    return own->dof >= ISO_FINDINGS_OWN_DOF ? *own : b->noise;
}

iso_pooled iso_findings_noise_of(const iso_findings_build *b, const iso_side *const *sides,
                                 int64_t n) {
    iso_pooled own = {0};
    for (int64_t i = 0; i < n; i++) iso_findings_noise_add(&own, b, sides[i]);
    return iso_findings_noise_or_all(b, &own);
}

iso_pooled iso_findings_other_noise(const iso_pooled *noise, const iso_scan_point *points,
                                    int64_t n_points, const iso_scan_point *level) {
    iso_pooled own = {0}, rest = *noise;
    for (int64_t i = 0; i < n_points; i++) iso_pooled_add(&own, points[i].y, points[i].n_seeds);
    if (level) iso_pooled_add(&own, level->y, level->n_seeds);
    rest.sum_squares = fmax(0.0, rest.sum_squares - own.sum_squares);
    rest.dof -= own.dof;
    rest.n_groups -= own.n_groups;
    return rest.dof > 0.5 ? rest : (iso_pooled){0};
}

/* --- views --- */

static bool in_view(const iso_findings_view *view, const iso_finding_run *run) {
    return iso_study_names_have(view->is_part ? run->parts : run->groups, view->group);
}

/* Of one of all sides what belongs to the group. */
static void view_side(iso_findings_view *view, const iso_findings_build *b, const iso_side *side) {
    iso_side *own = &view->sides.sides[view->sides.n];
    double bpb = 0.0, in_distribution = 0.0;
    *own = *side;
    own->n_runs = 0;
    own->runs = calloc((size_t)side->n_runs, sizeof *own->runs);
    own->bpc = calloc((size_t)side->n_runs, sizeof *own->bpc);
    ISO_ASSERT(own->runs && own->bpc);
    for (int64_t i = 0; i < side->n_runs; i++) {
        const iso_side_run *run = side->runs[i];
        if (!in_view(view, iso_findings_run_of(b, run))) continue;
        own->runs[own->n_runs] = run;
        own->bpc[own->n_runs++] = run->bpc;
        bpb += run->bpb;
        in_distribution += run->in_distribution_bpb;
    }
    own->mean_bpc = iso_mean(own->bpc, own->n_runs);
    own->mean_bpb = bpb / (double)own->n_runs;
    own->mean_in_distribution_bpb = in_distribution / (double)own->n_runs;
    if (own->n_runs > 0) {
        view->sides.n++;
        return;
    }
    free(own->runs);
    free(own->bpc);
}

static iso_status audit_view(iso_findings_view *view) {
    iso_audit_options options = iso_audit_options_default();
    int64_t n = 0;
    view->sides.audited = calloc((size_t)view->n_finished + 1, sizeof *view->sides.audited);
    ISO_ASSERT(view->sides.audited != NULL);
    for (int64_t i = 0; i < view->sides.n; i++)
        for (int64_t j = 0; j < view->sides.sides[i].n_runs; j++)
            view->sides.audited[n++] = view->sides.sides[i].runs[j]->run;
    return n < 2 ? ISO_OK : iso_audit_create(&view->sides.audit, view->sides.audited, n, &options);
}

static void set_noise(iso_findings_view *view, const iso_findings_build *b) {
    iso_pooled own = {0};
    for (int64_t i = 0; i < view->sides.n; i++)
        iso_findings_noise_add(&own, b, &view->sides.sides[i]);
    view->noise = iso_findings_noise_or_all(b, &own);
}

static iso_status make_view(iso_findings_view *out, const iso_findings_build *b, const char *group,
                            bool is_part) {
    *out = (iso_findings_view){.group = group, .is_part = is_part};
    for (int64_t i = 0; i < b->n_runs; i++)
        out->n_finished += in_view(out, &b->runs[i]) && b->runs[i].finished;
    out->sides.sides = calloc((size_t)b->all.n + 1, sizeof *out->sides.sides);
    ISO_ASSERT(out->sides.sides != NULL);
    for (int64_t i = 0; i < b->all.n; i++) view_side(out, b, &b->all.sides[i]);
    set_noise(out, b);
    iso_status status = audit_view(out);
    if (status != ISO_OK) iso_findings_view_release(out);
    return status;
}

iso_status iso_findings_view_make(iso_findings_view *out, const iso_findings_build *b,
                                  const char *group) {
    return make_view(out, b, group, false);
}

iso_status iso_findings_view_part(iso_findings_view *out, const iso_findings_build *b,
                                  const char *part) {
    return make_view(out, b, part, true);
}

bool iso_findings_is_equal(const iso_findings_view *view) {
    return view->sides.audit && view->sides.audit->verdict != ISO_VERDICT_NOT_EQUAL;
}

void iso_findings_view_drop(iso_findings_view *view, int64_t i_side) {
    iso_side *at = &view->sides.sides[i_side];
    free(at->runs);
    free(at->bpc);
    view->sides.n--;
    memmove(at, at + 1, (size_t)(view->sides.n - i_side) * sizeof *at);
}

void iso_findings_view_release(iso_findings_view *view) {
    iso_audit_free(view->sides.audit);
    free(view->sides.audited);
    while (view->sides.n > 0) iso_findings_view_drop(view, view->sides.n - 1);
    free(view->sides.sides);
    *view = (iso_findings_view){0};
}

/* --- adding --- */

iso_status iso_findings_claim_add(iso_findings_build *b, const iso_findings_claim *claim) {
    iso_finding_verdict verdict = {.key = (char *)claim->key,
                                   .question = (char *)claim->question,
                                   .sentence = claim->sentence,
                                   .outcome = claim->outcome,
                                   .value = claim->value,
                                   .low = claim->low,
                                   .high = claim->high,
                                   .unit = (char *)claim->unit,
                                   .n_seeds = claim->n_seeds,
                                   .n_runs = claim->n_runs};
    iso_status status = iso_findings_verdict(b->out, &verdict);
    free(claim->sentence);
    return status;
}

iso_finding_cell iso_cell_of(double value) {
    return (iso_finding_cell){.value = value};
}

iso_finding_cell iso_cell_text(const char *text) {
    return (iso_finding_cell){.text = (char *)text, .value = NAN};
}
