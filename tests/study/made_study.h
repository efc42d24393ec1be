/* made_study.h - study folders made up for tests: a manifest over runs of make_runs.h. */
#ifndef MADE_STUDY_H
#define MADE_STUDY_H

#include "make_runs.h"

#include <jansson.h>

typedef struct made_entry {
    made_run run; /* .state "waiting": planned, not begun */
    const char *side, *groups;
    const char *parts; /* NULL: the study's kind */
} made_entry;

/* DIR/manifest.json and DIR/runs/. The study file is a scan's. */
void make_study(const char *dir, const char *kind, const made_entry *entries, int n);
/* The same under another study file. */
void make_study_of(const char *dir, const char *kind, const char *source, const made_entry *entries,
                   int n);
/* DIR/steps/NAME.json; takes the reference. */
void make_step(const char *dir, const char *name, json_t *step);

#endif
