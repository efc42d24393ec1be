/* find_findings.h - what tests of findings ask of them, and how they write the runs of a study. */
#ifndef FIND_FINDINGS_H
#define FIND_FINDINGS_H

#include "made_study.h"
#include "study/study_findings.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/temp_dir.h"

#include <cmocka.h>

#include "../base/temp_dir.h"

static inline void near(double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.12g is not within %g of %.12g", value, tolerance, expected);
}

static inline void has(const char *text, const char *word) {
    if (!text || !strstr(text, word)) fail_msg("\"%s\" does not say \"%s\"", text, word);
}

static inline iso_findings *find(const char *dir) {
    iso_findings *f;
    if (iso_study_findings(&f, dir) != ISO_OK) fail_msg("%s", iso_error_message());
    return f;
}

static inline const iso_finding_verdict *verdict(const iso_findings *f, const char *key) {
    for (int64_t i = 0; i < f->n_verdicts; i++)
        if (strcmp(f->verdicts[i].key, key) == 0) return &f->verdicts[i];
    return NULL;
}

static inline const iso_finding_figure *figure(const iso_findings *f, const char *key) {
    for (int64_t i = 0; i < f->n_figures; i++)
        if (strcmp(f->figures[i].key, key) == 0) return &f->figures[i];
    return NULL;
}

static inline const iso_finding_table *table(const iso_findings *f, const char *key) {
    for (int64_t i = 0; i < f->n_tables; i++)
        if (strcmp(f->tables[i].key, key) == 0) return &f->tables[i];
    return NULL;
}

static inline const iso_series *series(const iso_finding_figure *figure, const char *name) {
    for (int64_t i = 0; figure && i < figure->n; i++)
        if (strcmp(figure->series[i].name, name) == 0) return &figure->series[i];
    return NULL;
}

static inline const iso_finding_cell *cell(const iso_finding_table *t, int64_t row,
                                           const char *column) {
    for (int64_t j = 0; j < t->n_columns; j++)
        if (strcmp(t->columns[j].label, column) == 0) return &t->cells[row * t->n_columns + j];
    fail_msg("%s has no column %s", t->key, column);
    return NULL;
}

static inline bool noted(const iso_findings *f, const char *word) {
    for (int64_t i = 0; i < f->n_notes; i++)
        if (strstr(f->notes[i], word)) return true;
    return false;
}

/* Two seeds of a side: of parts and groups, of groups alone. */
#define PART(side_, parts_, groups_, ...)                                                          \
    {{.name = side_ "-s1", .seed = 1, __VA_ARGS__}, side_, groups_, parts_}, {                     \
        {.name = side_ "-s2", .seed = 2, __VA_ARGS__}, side_, groups_, parts_                      \
    }
#define SIDE(side_, groups_, ...) PART(side_, NULL, groups_, __VA_ARGS__)

/* Keys are unique. */
static inline void check_keys(const iso_findings *f) {
    for (int64_t i = 0; i < f->n_verdicts; i++)
        assert_ptr_equal(verdict(f, f->verdicts[i].key), &f->verdicts[i]);
    for (int64_t i = 0; i < f->n_figures; i++)
        assert_ptr_equal(figure(f, f->figures[i].key), &f->figures[i]);
    for (int64_t i = 0; i < f->n_tables; i++)
        assert_ptr_equal(table(f, f->tables[i].key), &f->tables[i]);
}

#endif
