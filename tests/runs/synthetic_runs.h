/* synthetic_runs.h - run folders as a training leaves them, made in microseconds: for tests. */
#ifndef ISO_TESTS_SYNTHETIC_RUNS_H
#define ISO_TESTS_SYNTHETIC_RUNS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct synthetic_run {
    const char *name;
    bool is_moe;
    int64_t seed;
    int64_t n_steps, planned_steps;
    const char *state;
    double bpc; /* final, of the domain "general"; "code" has 1 more */
} synthetic_run;

/* The folder's content is replaced: config.yaml, a step row each, an evaluation (and an MoE's
 * router row) every tenth step, and a summary that is true to all of it. A finished run has final
 * scores.
 */
void synthetic_run_write(const char *dir, const synthetic_run *run);

/* One more row, as a run that goes on writes it. */
void synthetic_run_append(const char *dir, int64_t step);

/* What the rows say: loss of a step. */
double synthetic_run_loss(int64_t step);

#endif
