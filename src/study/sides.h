/* sides.h - run folders gathered into the sides of a comparison: one side = one configuration,
 * its runs = the seeds of it.
 *
 * Owns: the runs it opened, the grouping, the audit over them. Does not own: what a run folder is
 * (runs/run_folder.h), what equal means (runs/audit.h), who wins (answer.h).
 *
 * (I1) a side's runs are finished, have a final score, and differ in their seeds and in nothing
 * else that can change a result: same subset of the same data, same model, same training; (I2)
 * dense sides come first, then MoE sides by activation rate; labels are unique.
 */
#ifndef ISO_STUDY_SIDES_H
#define ISO_STUDY_SIDES_H

#include "base/status.h"
#include "base/str.h"
#include "runs/audit.h"
#include "runs/run_folder.h"

#include <stdbool.h>
#include <stdint.h>

/* A number that summary.json does not have is NaN (real) or ISO_ABSENT (whole). */
#define ISO_ABSENT INT64_MIN

/* One run: the folder as read, and what the page needs of its ledger. */
typedef struct iso_side_run {
    iso_run run;
    const char *state; /* "finished", ...; "" if the ledger has none */
    char *excluded;    /* NULL, or why the run takes no part: a sentence */
    int64_t seed;      /* of the initial weights */
    int64_t data_seed; /* of the order of the data */
    double bpb, bpc;   /* headline */
    double in_distribution_bpb, in_distribution_bpc;
} iso_side_run;

typedef struct iso_side {
    char *label; /* the runs' name, made unique: "moe-20" */
    char *shape; /* in words: "4 layers of 128, 4 heads; 24 experts of 96, 3 used, + shared 288" */
    bool is_moe;
    double activation_rate;
    int64_t n_runs; /* seeds, ascending */
    const iso_side_run **runs;
    double *bpc; /* (n_runs) */
    double mean_bpc, mean_bpb;
    double mean_in_distribution_bpb;
} iso_side;

typedef struct iso_sides {
    int64_t n_runs;
    iso_side_run *runs; /* as given, excluded ones too */
    int64_t n;
    iso_side *sides;
    int64_t n_domains;    /* of the final evaluation, over all sides; hold-out last */
    const char **domains; /* borrowed from the runs */
    iso_audit *audit;     /* over the runs that take part, side by side; NULL if they are < 2 */
    iso_run *audited;     /* what the audit borrows: shallow copies of those runs, in its order */
} iso_sides;

/* Opens, groups and audits. A folder that is none is an error; a run that did not finish, has no
 * score or repeats a seed is kept in `runs` with its reason in `excluded`. */
iso_status iso_sides_open(iso_sides *out, const char *const *run_dirs, int64_t n_run_dirs);
void iso_sides_close(iso_sides *sides);

/* A member of a run's ledger, "." between levels: "conventions.full.train_flops",
 * "model.hidden_size". NaN, ISO_ABSENT or NULL where there is none of that type; whole numbers may
 * be decimal strings. */
double iso_side_run_number(const iso_side_run *run, const char *path);
int64_t iso_side_run_whole(const iso_side_run *run, const char *path);
const char *iso_side_run_text(const iso_side_run *run, const char *path);
const json_t *iso_side_run_value(const iso_side_run *run, const char *path);

/* Whether a domain of that name is the in-distribution hold-out. */
bool iso_domain_is_holdout(const char *domain);
/* Mean over a side's runs of a domain's "bpb" or "bpc" in the final evaluation; NaN if one lacks
 * it. */
double iso_side_domain_mean(const iso_side *side, const char *domain, const char *unit);

#endif
