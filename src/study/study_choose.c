#include "study/study_choose.h"

#include "data/dataset.h"
#include "runs/run_folder.h"

#include <math.h>
#include <string.h>

/* FNV-1a over the name, then the finaliser of MurmurHash3, whose low bit depends on all bits. */
bool iso_document_chooses(const char *domain, int64_t document) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (const char *c = domain; *c; c++) h = (h ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    h ^= (uint64_t)document * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (h ^ (h >> 33)) & 1;
}

typedef struct sums {
    double nats, chars;
} sums;

static double bits_per_char(const sums *s) {
    return s->nats / log(2) / s->chars;
}

static void score_domain(const iso_window_scores *domain, iso_study_select select,
                         iso_halves *out) {
    sums half[2] = {{0}}, all = {0};
    for (int64_t i = 0; i < domain->n_windows; i++) {
        sums *s = &half[iso_document_chooses(domain->domain, domain->document[i])];
        s->nats += domain->nats[i];
        s->chars += (double)domain->n_chars[i];
        all.nats += domain->nats[i];
        all.chars += (double)domain->n_chars[i];
    }
    bool split = select == ISO_STUDY_SELECT_HALF && half[0].chars > 0 && half[1].chars > 0;
    out->choose += bits_per_char(split ? &half[1] : &all);
    out->report += bits_per_char(split ? &half[0] : &all);
}

iso_status iso_halves_read(iso_halves *out, const char *run_dir, iso_study_select select) {
    iso_run run;
    ISO_TRY(iso_run_open(&run, run_dir));
    const iso_evaluation *e = run.evaluation;
    int64_t n = 0;
    *out = (iso_halves){0};
    for (int64_t i = 0; e && i < e->n_domains; i++) {
        if (strcmp(e->domains[i].domain, ISO_HOLDOUT) == 0 && e->n_domains > 1) continue;
        score_domain(&e->domains[i], select, out);
        n++;
    }
    iso_run_close(&run);
    out->choose /= (double)n;
    out->report /= (double)n;
    if (n > 0 && isfinite(out->choose) && isfinite(out->report)) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "%s/evaluation.json: no scores to choose by", run_dir);
}

/* Both evaluate ten times on the way, at the same parts of their runs: the i-th against the i-th.
 */
static int64_t find_hopeless(const iso_run *run, int64_t planned_steps, const iso_run *guard,
                             double margin) {
    for (int64_t i = 0; i < run->n_evals && i < guard->n_evals; i++) {
        const iso_eval_row *own = &run->evals[i], *other = &guard->evals[i];
        if (own->is_final || other->is_final) break;
        double behind = iso_eval_row_headline(own).bpc - iso_eval_row_headline(other).bpc;
        if (2 * own->step >= planned_steps && behind > margin) return own->step;
    }
    return 0;
}

int64_t iso_hopeless_step(const char *run_dir, int64_t planned_steps, const char *guard_dir,
                          double margin) {
    iso_run run, guard;
    int64_t step = 0;
    if (iso_run_open(&run, run_dir) != ISO_OK) return 0; /* not begun */
    if (iso_run_open(&guard, guard_dir) == ISO_OK) {
        step = find_hopeless(&run, planned_steps, &guard, margin);
        iso_run_close(&guard);
    }
    iso_run_close(&run);
    return step;
}
