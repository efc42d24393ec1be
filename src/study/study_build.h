/* study_build.h - a plan in the making. For study_plan.c, study_sides.c, study_sweep.c and
 * study_search.c only.
 */
#ifndef ISO_STUDY_STUDY_BUILD_H
#define ISO_STUDY_STUDY_BUILD_H

#include "base/stats.h"
#include "study/budget.h"
#include "study/study_plan.h"

#define ISO_STUDY_SWEPT_MAX (2 * (ISO_STUDY_LIST_MAX + 1))

typedef struct iso_study_side {
    char name[ISO_STUDY_SIDE_BYTES];
    char group[ISO_STUDY_GROUPS_BYTES];
    iso_config config;
    iso_study_list seeds;
} iso_study_side;

/* What a sweep chose for a side. */
typedef struct iso_study_swept {
    double activation_rate; /* 1 = dense */
    double lr_multiplier;
} iso_study_swept;

typedef struct iso_study_build {
    const iso_study *study; /* a method's part by part */
    const char *part;       /* its name */
    iso_study_plan *plan;
    iso_study_score_fn score;
    void *ctx;
    int64_t stage, after; /* of the next run */
    int64_t n_swept;
    iso_study_swept swept[ISO_STUDY_SWEPT_MAX];
    iso_pooled
        noise;       /* between seeds, of the controls that have finished: what a search's tie is */
    bool noise_open; /* one has not */
    int64_t vocab_size, text_tokens; /* of data.dir; 0 = there is none */
    int64_t n_sides, side_capacity;
    iso_study_side *sides;
} iso_study_build;

/* The planner's goal from budget, base and prepared folder; no rates yet. `like` takes the resolved
 * base where that says N, C and D. */
iso_status iso_study_goal(iso_budget_goal *goal, iso_config *like, const iso_study_build *b);

/* The rate that a sweep chose for such a model, of MoEs that of the nearest activation rate by
 * ratio; without a sweep the config stays as it is. */
iso_status iso_study_set_rate(const iso_study_build *b, iso_config *config);

/* Adds a run, or part and group to the one that has this config already; its index. `config`
 * without seed and threads. A side's name that another config has gets the part's in front. */
iso_status iso_study_add_run(int64_t *out_index, iso_study_build *b, const char *side,
                             const char *group, const iso_config *config, int64_t seed);

/* A single step of the baseline is the least that can be trained: ISO_ERR_USAGE if C is less. */
iso_status iso_study_check_reached(const iso_budget *budget);

/* Copies `text` and cuts what does not fit. */
void iso_study_set_text(char *field, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The sides of a scan, a reuse, a grid, a sweep, a control or a list. */
iso_status iso_study_make_sides(iso_study_build *b);
/* Their runs, with swept rates where the study sweeps: study_sweep.c. */
iso_status iso_study_run_sides(iso_study_build *b);
/* All stages of a search. */
iso_status iso_study_make_search(iso_study_build *b);

#endif
