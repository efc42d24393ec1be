/* compare.h - the plan of one equal comparison on one text and one machine.
 *
 * Owns: which models, how long, with which rates, and how many seeds of each: from a time budget to
 * configs. Does not own: shapes (arch/shape_search.h), running (executor.h), judging
 * (runs/audit.h).
 *
 * The dense baseline trains on tokens_per_param N tokens; its C is every side's C, to within one
 * optimizer step; the unique subset D-hat is the dense side's tokens (or all the text there is),
 * and every side repeats it as often as its C asks: the paper's strict scheme.
 *
 * (I1) the sides differ in shape, batch, steps and rate only: data, order, evaluation are one;
 * (I2) batch and rate follow one procedure for all: Step Law for their own N and D, times the
 *      multiplier of lr_rule.h.
 */
#ifndef ISO_STUDY_COMPARE_H
#define ISO_STUDY_COMPARE_H

#include "train/config.h"

#define ISO_COMPARE_SIDES_MAX 8

typedef struct iso_compare_goal {
    const char *data_dir;
    int64_t vocab_size;
    int64_t text_tokens; /* of the training text at hand */
    double minutes;      /* for all training together, on n_parallel processes */
    int64_t params;      /* N; 0 = the largest that fits the minutes */
    double tokens_per_param;
    int n_parallel;
    iso_precision precision; /* of every side */
    int n_rates;
    double rates[ISO_COMPARE_SIDES_MAX]; /* activation rates of the MoE sides */
} iso_compare_goal;

/* 8 minutes, 10 tokens per parameter, MoEs near 20, 27, 35 and 50 %. */
iso_compare_goal iso_compare_goal_default(void);

typedef struct iso_compare_side {
    char name[32];     /* "dense", "moe-20", ... */
    iso_config config; /* resolved, of the first seed */
    double rate;       /* activation rate */
    int n_seeds;
    double tokens_per_s; /* of one process, as measured for the plan */
    double seconds;      /* expected for one seed */
} iso_compare_side;

typedef struct iso_compare_plan {
    int n_sides; /* the dense one first */
    iso_compare_side sides[ISO_COMPARE_SIDES_MAX];
    double minutes; /* expected, all of it */
} iso_compare_plan;

/* Chooses N, shapes, steps, rates and seeds; measures this machine for it (a few seconds).
 * ISO_ERR_DATA if the text is too short for the smallest comparison, ISO_ERR_USAGE if the minutes
 * are. */
iso_status iso_compare_plan_make(iso_compare_plan *out, const iso_compare_goal *goal);

/* The config of one seed (counted from 1) of a side. */
iso_config iso_compare_config(const iso_compare_side *side, int seed);

#endif
