/* comparison.h - a planned comparison on disk: its runs, their configs, and what was asked for.
 *
 * OUT/plan.json names every run with its config and cost; OUT/configs/RUN.yaml are configs that
 * `isomoe train` takes as they are; OUT/runs/RUN are the run folders. Written once: a comparison
 * that is started again goes on with the plan it began with, whatever the machine's speed is now.
 */
#ifndef ISO_STUDY_COMPARISON_H
#define ISO_STUDY_COMPARISON_H

#include "base/json.h"
#include "study/compare.h"

typedef struct iso_comparison_run {
    char *name; /* "dense-s1" */
    char *config_path, *run_dir;
    iso_config config;
    double expected_s;
} iso_comparison_run;

typedef struct iso_comparison {
    json_t *goal; /* what was asked for, as given to write */
    double expected_minutes;
    int64_t n_runs;
    iso_comparison_run *runs; /* side by side: all seeds of the dense one first */
} iso_comparison;

/* Writes configs and plan.json under out_dir (existing). `goal` is borrowed. */
iso_status iso_comparison_write(const char *out_dir, const iso_compare_plan *plan,
                                const json_t *goal);
/* ISO_ERR_DATA if plan.json or a config is damaged. */
iso_status iso_comparison_open(iso_comparison *out, const char *out_dir);
void iso_comparison_close(iso_comparison *comparison);
/* Whether out_dir has a plan.json. */
bool iso_comparison_exists(const char *out_dir);

#endif
