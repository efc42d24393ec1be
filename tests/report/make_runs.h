/* make_runs.h - run folders made up for tests of the report: the files of docs/formats.md, filled
 * with numbers that look like training.
 *
 * Scores come from made-up windows of text: their difficulty is the same in every run (so that
 * paired differences have little noise), a run adds its own level and a little noise of its own.
 */
#ifndef MAKE_RUNS_H
#define MAKE_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#define MAKE_DOMAINS_MAX 6

typedef struct made_run {
    const char *name;
    const char *state; /* NULL: finished */
    int64_t n_used;    /* experts per token: 0 is dense; 2, 3, 5, 8, 11 make 18, 21, 29, 39, 50 % */
    int64_t n_extra;   /* experts beyond those that make N equal to dense: 1.8 % of N each */
    double level;      /* bits per character that the run's scores scatter around */
    int64_t seed;
    double lr;                             /* 0: 0.002 */
    int64_t n_steps;                       /* of the dense run of the same compute; 0: 400 */
    int64_t n_documents;                   /* per domain; 0: 60 */
    int64_t n_unique;                      /* batches of unique text; 0: 200 */
    const char *domains[MAKE_DOMAINS_MAX]; /* the first NULL ends; none: general, code, holdout */
    bool without_evaluation, without_metrics;
    const char *sample_hash; /* NULL: one for all */
    const char *subset_hash; /* NULL: one for all */
} made_run;

/* Writes DIR/NAME; returns its path, to be freed. */
char *make_run(const char *dir, const made_run *spec);

#endif
