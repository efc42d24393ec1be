/* study_live.h - a study while it runs: a table that is redrawn on a terminal, lines elsewhere. */
#ifndef ISO_CLI_STUDY_LIVE_H
#define ISO_CLI_STUDY_LIVE_H

#include "cli.h"
#include "study/launcher.h"
#include "study/study_cost.h"

typedef struct study_live {
    const char *name;
    const iso_study_plan *plan;
    const iso_study_costs *costs;
    double start_s, shown_s;
    int n_lines; /* on the terminal now */
    bool fancy;
    iso_job_state *told; /* (n_runs) the last state of each that was told in a line */
    int *told_retries;
} study_live;

void study_live_start(study_live *live, const char *name, const iso_study_plan *plan,
                      const iso_study_costs *costs);
/* Draws if it is time to. */
void study_live_update(study_live *live, const iso_job *jobs);
/* The last state stays on the terminal. */
void study_live_finish(study_live *live, const iso_job *jobs);

#endif
