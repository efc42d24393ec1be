/* study_cost.h - what the runs of a study take on this machine: memory, time, how many at once.
 *
 * Owns: joining the dry run (train/dry_run.h) and measured speed (speed.h) over a plan. Does not
 * own: the plan, which knows no machine.
 *
 * Speed is measured once for each shape, micro-batch and number of runs at once, and kept in a
 * file; another program version measures anew.
 */
#ifndef ISO_STUDY_STUDY_COST_H
#define ISO_STUDY_STUDY_COST_H

#include "study/study_plan.h"

typedef struct iso_study_cost {
    int64_t memory_bytes; /* of the process, as the dry run has it and some more */
    double tokens_per_s;  /* NaN: too large to be measured here */
    double seconds;       /* NaN as above */
} iso_study_cost;

typedef struct iso_study_costs {
    int64_t n_runs;
    iso_study_cost *runs; /* in the plan's order */
    int n_parallel, n_threads;
    int64_t room_bytes; /* memory that runs may take, all together */
    double seconds;     /* of all of them, so many at once, stage by stage; NaN if one is unknown */
} iso_study_costs;

/* Called before each measurement: which of how many. */
typedef void (*iso_study_measure_fn)(void *ctx, int64_t i_shape, int64_t n_shapes);

/* `cache`: the file with what was measured, NULL for none. ISO_ERR_USAGE if a run does not fit into
 * memory by itself, or machine.parallel of them don't. */
iso_status iso_study_costs_make(iso_study_costs *out, const iso_study *study,
                                const iso_study_plan *plan, const char *cache,
                                iso_study_measure_fn on_measure, void *ctx);
void iso_study_costs_release(iso_study_costs *costs);

#endif
