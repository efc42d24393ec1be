/* study_build.h - a plan in the making. For study_plan.c, study_sides.c and study_search.c only. */
#ifndef ISO_STUDY_STUDY_BUILD_H
#define ISO_STUDY_STUDY_BUILD_H

#include "study/budget.h"
#include "study/study_plan.h"

typedef struct iso_study_side {
    char name[ISO_STUDY_SIDE_BYTES];
    char group[ISO_STUDY_GROUPS_BYTES];
    iso_config config;
    iso_study_list seeds;
} iso_study_side;

typedef struct iso_study_build {
    const iso_study *study;
    iso_study_plan *plan;
    iso_study_score_fn score;
    void *ctx;
    int64_t stage;
    int64_t vocab_size, text_tokens; /* of data.dir; 0 = there is none */
    int64_t n_sides, side_capacity;
    iso_study_side *sides;
} iso_study_build;

/* The planner's goal from budget, base and prepared folder; no rates yet. `like` takes the resolved
 * base where that says N, C and D. */
iso_status iso_study_goal(iso_budget_goal *goal, iso_config *like, const iso_study_build *b);

/* Adds a run, or the group to the one that has this config already; its index. `config` without
 * seed and threads. */
iso_status iso_study_add_run(int64_t *out_index, iso_study_build *b, const char *side,
                             const char *group, const iso_config *config, int64_t seed);

/* Copies `text` and cuts what does not fit. */
void iso_study_set_text(char *field, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The sides of a scan, a reuse, a grid or a list. */
iso_status iso_study_make_sides(iso_study_build *b);
/* All stages of a search. */
iso_status iso_study_make_search(iso_study_build *b);

#endif
