/* study_file.h - a study file: what is to be found out, as a person writes it.
 *
 * Owns: the keys of a study file, which kind takes which, and every fault that the file shows by
 * itself. Does not own: what runs follow from it (study_plan.h). Format: docs/formats.md, "Study
 * file".
 *
 * One table (study_keys.c) drives reading, the list of keys and the nearest name of a misspelt one.
 *
 * (I1) a faulty file gives every fault, a line each: file, line, key, what would do;
 * (I2) what is accepted is in range and belongs to the study's kind; whether the planner can reach
 *      it is for study_plan.h to say.
 */
#ifndef ISO_STUDY_STUDY_FILE_H
#define ISO_STUDY_STUDY_FILE_H

#include "arch/quantity.h"
#include "study/gap_curve.h"
#include "train/config.h"

#define ISO_STUDY_NAME_BYTES 64
#define ISO_STUDY_LIST_MAX   32 /* values of one axis */
#define ISO_STUDY_AXES_MAX   8  /* of a grid */
#define ISO_STUDY_TEXT_BYTES 64 /* a grid's key or value */
#define ISO_STUDY_RUNS_MAX   4096
#define ISO_STUDY_PARTS_MAX  12 /* of a method */
#define ISO_STUDY_PART_BYTES 24 /* a part's name */

typedef enum iso_study_kind {
    ISO_STUDY_SCAN,    /* activation rates at one N and C (or D), dense baselines beside them */
    ISO_STUDY_REUSE,   /* the same under the schemes of data */
    ISO_STUDY_SEARCH,  /* greedy: each step's winner feeds the next */
    ISO_STUDY_GRID,    /* any config keys, all combinations */
    ISO_STUDY_SWEEP,   /* learning rates, side by side */
    ISO_STUDY_CONTROL, /* A/A: a config against itself under many seeds */
    ISO_STUDY_METHOD,  /* the ones above but grids, one feeding the next */
} iso_study_kind;
extern const char *const iso_study_kind_names[];

/* What a control repeats. */
typedef enum iso_study_repeat { ISO_STUDY_REPEAT_DENSE, ISO_STUDY_REPEAT_MOE } iso_study_repeat;

typedef enum iso_study_hold { ISO_STUDY_HOLD_COMPUTE, ISO_STUDY_HOLD_TOKENS } iso_study_hold;
typedef enum iso_study_lr { ISO_STUDY_LR_STEPLAW, ISO_STUDY_LR_SWEEP } iso_study_lr;
typedef enum iso_study_select { ISO_STUDY_SELECT_HALF, ISO_STUDY_SELECT_ALL } iso_study_select;

/* An axis or another list; whole numbers are exact. n = 0: not given. */
typedef struct iso_study_list {
    int64_t n;
    double values[ISO_STUDY_LIST_MAX];
} iso_study_list;

typedef struct iso_study_axis {
    char key[ISO_STUDY_TEXT_BYTES]; /* "train.lr" */
    int64_t n;
    char values[ISO_STUDY_LIST_MAX][ISO_STUDY_TEXT_BYTES]; /* as in YAML */
} iso_study_axis;

/* One of the runs that `isomoe plan --out` lists. */
typedef struct iso_study_listed {
    char name[ISO_STUDY_NAME_BYTES];
    char path[ISO_CONFIG_PATH_BYTES]; /* of the config, from the study file's folder */
    iso_study_list seeds;
    iso_config config; /* of iso_study_load */
    int line;
} iso_study_listed;

typedef struct iso_study {
    char name[ISO_STUDY_NAME_BYTES];
    iso_study_kind kind;
    iso_gap_scheme scheme;
    char base_path[ISO_CONFIG_PATH_BYTES]; /* "" = none */
    iso_config base;                       /* base_path's, the section `config` over it */
    bool norm_topk_given;
    iso_study_list seeds; /* at least one */

    int64_t params;      /* 0 = not given, as in budget.h */
    iso_compute compute; /* zero = not given */
    int64_t data;        /* 0 = not given */
    double flops;        /* of a written plan: a fact, not a wish */
    int64_t unique_tokens;

    /* What the planner is held to; 0 = free. */
    int64_t expert_width, width_multiple, head_dim;
    double aspect, dense_aspect, total_mu;
    int own_experts; /* 1: every MoE has its own De */

    iso_study_list plan_rates; /* of a method's part: planned along, so that shapes are the same */
    iso_study_list activation_rates, dense_compute, data_sizes, sides;
    iso_study_hold hold;
    iso_study_list schemes, epochs;
    iso_study_list layouts, shared_expert, norm_topk, granularity, zeta, mu;
    iso_study_list dense_zeta, dense_alpha, dense_head_dim;
    int64_t n_axes;
    iso_study_axis axes[ISO_STUDY_AXES_MAX];

    iso_study_lr lr;
    iso_study_list lr_multipliers;
    int64_t lr_extend; /* how often a sweep goes on beyond an edge that is best */
    int64_t retries;
    double stop_hopeless; /* BPC; 0 = never */
    iso_study_select select;
    double seed_sd;      /* BPC; 0 = not said */
    double expected_gap; /* BPC; 0 = not said */

    int64_t parallel; /* 0 = auto */
    int64_t threads;  /* 0 = auto */

    int64_t n_listed;
    iso_study_listed *listed;

    /* Of a method, in the order of their running: studies of their own, `name` the part's. What a
     * part does not say is the method's. */
    int64_t n_parts;
    struct iso_study *parts;

    int budget_line, rates_line; /* where the planner's refusals point */
    char *source;                /* the file's text */
} iso_study;

/* Reads a study file and the configs that it names. On faults (ISO_ERR_USAGE) *out is what could be
 * read all the same, so that the planner can add its own, and `faults` has a line each; NULL where
 * the file is no YAML mapping. Caller frees. */
iso_status iso_study_load(iso_study **out, iso_str *faults, const char *path);
/* The same of text in memory, without looking at any other file. */
iso_status iso_study_parse(iso_study **out, iso_str *faults, const char *text, int64_t n_bytes,
                           const char *what);
void iso_study_free(iso_study *study);

/* Every key: what it takes, which kinds take it, what it means. */
void iso_study_help(iso_str *out);

#endif
