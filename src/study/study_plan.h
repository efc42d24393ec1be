/* study_plan.h - the runs of a study: which, with which configs, in which order.
 *
 * Owns: the expansion of a study file into runs, and the choices on the way (the best of a sweep, a
 * search step's winner). Does not own: shapes and steps (budget.h, arch/planner.h), running
 * (study_folder.h, executor.h), what a finished study says (optimum.h).
 *
 * A plan grows with what is known: where a choice needs scores of runs that have not finished, it
 * ends there and is not complete. Making it again with those scores gives the same runs and the
 * next ones.
 *
 * (I1) the plan is a function of the study file, of the prepared folder's vocabulary and size, and
 *      of the scores: not of the machine, the clock, or which run finished first;
 * (I2) no two runs have the same config: a run that several comparisons need is there once;
 * (I3) names are unique; a run's name is its side's and "-s" and its seed; runs that differ in
 *      their seed only have one side.
 *
 * A method is the plans of its parts, one after the other: what one part needs and an earlier one
 * has trained is not trained again, and the rates that its sweeps choose are every later side's.
 */
#ifndef ISO_STUDY_STUDY_PLAN_H
#define ISO_STUDY_STUDY_PLAN_H

#include "base/json.h"
#include "study/study_file.h"

#define ISO_STUDY_SIDE_BYTES   72
#define ISO_STUDY_RUN_BYTES    96
#define ISO_STUDY_GROUPS_BYTES 512
#define ISO_STUDY_SEED_SD      0.005 /* BPC between seeds, where neither runs nor the file tell */

typedef struct iso_study_run {
    char name[ISO_STUDY_RUN_BYTES];
    char side[ISO_STUDY_SIDE_BYTES];     /* a config but for its seed */
    char groups[ISO_STUDY_GROUPS_BYTES]; /* comparisons that the audit shall find equal, with commas
                                            between; "" = none. Each begins with its part's name */
    char parts[ISO_STUDY_GROUPS_BYTES];  /* the parts that have it, likewise; a study that is no
                                            method is one part, named by its kind */
    int64_t stage;                       /* runs of a stage come before those of the next */
    int64_t after;                       /* the stage whose scores chose this config; -1 = none */
    char guard[ISO_STUDY_RUN_BYTES];     /* the run that tells whether this one is hopeless, an
                                            earlier stage's; "" = it is never stopped */
    iso_config config;                   /* resolved */
    char config_hash[ISO_SHA256_HEX_BYTES];
    double activation_rate;
    char side_hash[ISO_SHA256_HEX_BYTES]; /* of the config without its seed */
    double flops;                         /* M D */
} iso_study_run;

typedef struct iso_study_plan {
    int64_t n_runs, n_stages;
    iso_study_run *runs; /* by stage */
    bool complete;       /* no choice is open */
    bool assumed;        /* choices were not made but assumed: made without scores */
    json_t *steps;       /* an array: every choice with its table, see docs/formats.md */
    iso_str notes;       /* a line each */
} iso_study_plan;

/* Bits per character of a run on the documents that choose and on those that report. */
typedef struct iso_study_score {
    bool stopped, diverged; /* as hopeless; NaN in training: no scores, and it loses every choice */
    double choose, report;
} iso_study_score;
/* False if the run has not finished. */
typedef bool (*iso_study_score_fn)(void *ctx, const iso_study_run *run, iso_study_score *out);

/* `score` NULL: every choice falls on the first candidate, so that the plan shows all stages.
 * ISO_ERR_USAGE: what the planner refuses. */
iso_status iso_study_plan_make(iso_study_plan **out, const iso_study *study,
                               iso_study_score_fn score, void *ctx);
void iso_study_plan_free(iso_study_plan *plan);

/* Adds a line to `faults` for everything that the planner refuses: each rate by itself, where the
 * whole has no plan. What a faulty file left open is not asked for. */
iso_status iso_study_plan_check(const iso_study *study, iso_str *faults, const char *what);

/* Whether `name` is one of a list with commas between: of run->groups or run->parts. */
bool iso_study_names_have(const char *names, const char *name);

#endif
