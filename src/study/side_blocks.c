#include "study/side_blocks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DOCUMENTS_ENOUGH 30
#define WINDOWS_PER_RUN  16

static const iso_window_scores *windows_of(const iso_side_run *run, const char *domain) {
    const iso_evaluation *evaluation = run->run.evaluation;
    for (int64_t i = 0; evaluation && i < evaluation->n_domains; i++)
        if (strcmp(evaluation->domains[i].domain, domain) == 0) return &evaluation->domains[i];
    return NULL;
}

/* Whether this run scored the same windows as `like`, of evaluation `hash`. */
static bool same_windows(const iso_side_run *run, const char *domain, const char *hash,
                         const iso_window_scores *like) {
    const iso_window_scores *windows = windows_of(run, domain);
    return windows && windows->n_windows == like->n_windows &&
           strcmp(run->run.evaluation->sample_hash, hash) == 0;
}

static bool all_same_windows(const iso_side *side, const char *domain, const char *hash,
                             const iso_window_scores *like) {
    for (int64_t i = 0; i < side->n_runs; i++)
        if (!same_windows(side->runs[i], domain, hash, like)) return false;
    return true;
}

static double mean_nats(const iso_side *side, const char *domain, int64_t i_window) {
    double sum = 0.0;
    for (int64_t i = 0; i < side->n_runs; i++)
        sum += windows_of(side->runs[i], domain)->nats[i_window];
    return sum / (double)side->n_runs;
}

static int64_t count_documents(const iso_window_scores *windows) {
    int64_t n = 0;
    for (int64_t i = 0; i < windows->n_windows; i++)
        n += i == 0 || windows->document[i] != windows->document[i - 1];
    return n;
}

bool iso_side_blocks_make(iso_side_blocks *out, const iso_side *side, const char *domain,
                          const iso_side *like) {
    const iso_window_scores *windows = windows_of(like->runs[0], domain);
    *out = (iso_side_blocks){0};
    if (!windows || windows->n_windows < 1) return false;
    const char *hash = like->runs[0]->run.evaluation->sample_hash;
    if (!all_same_windows(side, domain, hash, windows)) return false;
    out->bits = calloc((size_t)windows->n_windows, sizeof(*out->bits));
    out->chars = calloc((size_t)windows->n_windows, sizeof(*out->chars));
    ISO_ASSERT(out->bits && out->chars);
    bool whole_documents = count_documents(windows) >= DOCUMENTS_ENOUGH;
    int64_t in_block = 0;
    for (int64_t i = 0; i < windows->n_windows; i++) {
        bool new_document = i == 0 || windows->document[i] != windows->document[i - 1];
        bool full = !whole_documents && in_block == WINDOWS_PER_RUN;
        if (new_document || full) {
            out->n++;
            in_block = 0;
        }
        in_block++;
        out->bits[out->n - 1] += mean_nats(side, domain, i) / log(2.0);
        out->chars[out->n - 1] += (double)windows->n_chars[i];
    }
    return true;
}

void iso_side_blocks_release(iso_side_blocks *blocks) {
    free(blocks->bits);
    free(blocks->chars);
    *blocks = (iso_side_blocks){0};
}

bool iso_domain_is_headline(const iso_evaluation *evaluation, int64_t i) {
    return evaluation->n_domains == 1 || !iso_domain_is_holdout(evaluation->domains[i].domain);
}
