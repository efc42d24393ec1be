/* study_findings.h - what a study's runs say, as data: figures, tables, verdicts.
 *
 * Which keys there are: docs/formats.md, "findings.json". One description for everything that shows
 * it: page, CSV, SVG, terminal, JSON. What fills it (study/findings_*.c) knows statistics and
 * nothing of looks; what shows it (report/study_*.c) knows looks and nothing of statistics.
 *
 * (I1) a number that is not known is NaN, never 0;
 * (I2) every verdict's sentence is made from its own numbers, and says size, interval and seeds;
 * (I3) strings are owned by the findings, keys are unique among figures, tables and verdicts.
 */
#ifndef ISO_STUDY_STUDY_FINDINGS_H
#define ISO_STUDY_STUDY_FINDINGS_H

#include "base/json.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum iso_series_kind {
    ISO_SERIES_MEASURED, /* points with intervals; a run or a mean over seeds each */
    ISO_SERIES_FIT,      /* a curve, its low and high a 95 % band where known */
    ISO_SERIES_LEVEL, /* a horizontal line with its band: the dense baseline; one point, x unused */
    ISO_SERIES_SPAN,  /* a vertical band from low to high around x: an optimum's interval; one point
                       */
    ISO_SERIES_GHOST, /* the paper's own points, beside ours where they compare */
    ISO_SERIES_LAW,   /* another's law: Muennighoff's, Step Law's */
} iso_series_kind;
/* "measured", "fit", ..., as findings.json and CSV have it. */
const char *iso_series_kind_name(iso_series_kind kind);

/* low, high: the 95 % interval of y (ISO_SERIES_SPAN: of x); NaN without one, infinite where it is
 * open. */
typedef struct iso_series_point {
    double x, y, low, high;
    int64_t n_seeds; /* 0 = not from seeds */
    char *label;     /* NULL or what to say of the point: a side's name, a run's */
} iso_series_point;

typedef struct iso_series {
    char *name; /* "MoE, C", "dense, 2C", "paper, 2B" */
    iso_series_kind kind;
    int64_t n;
    iso_series_point *points; /* by x */
} iso_series;

typedef struct iso_finding_axis {
    char *label;             /* "activation rate" */
    char *unit;              /* "%", "FLOPs", "bits per character"; NULL = none */
    bool is_log, is_percent; /* is_percent: values are fractions */
} iso_finding_axis;

typedef struct iso_finding_figure {
    char *key;     /* "1b"; also the name of its files */
    char *title;   /* "Loss against activation rate at equal N and C" */
    char *caption; /* what is to be seen, seeds and intervals; whole sentences */
    iso_finding_axis x, y;
    int64_t n;
    iso_series *series;
} iso_finding_figure;

typedef struct iso_finding_column {
    char *label, *unit; /* unit NULL = none */
    int digits;         /* after the point; < 0: text or a whole number */
    bool is_percent;    /* values are fractions */
} iso_finding_column;

typedef struct iso_finding_cell {
    char *text;   /* NULL: a number */
    double value; /* NaN: not known */
    bool is_best; /* to be set off */
} iso_finding_cell;

typedef struct iso_finding_table {
    char *key, *title, *caption;
    int64_t n_columns, n_rows;
    iso_finding_column *columns;
    iso_finding_cell *cells; /* n_rows x n_columns */
} iso_finding_table;

typedef enum iso_verdict_outcome {
    ISO_VERDICT_UNRESOLVED, /* the interval holds "no difference", or nothing is known of noise */
    ISO_VERDICT_RESOLVED,
    ISO_VERDICT_REFUSED, /* the runs were not equal: there is no comparison */
} iso_verdict_outcome;

typedef struct iso_finding_verdict {
    char *key;      /* "gap", "optimum", "region", "reuse-strict", "search-layout", ... */
    char *question; /* "Does an MoE beat dense at equal N and C?" */
    char *sentence; /* the answer, with size, interval and seeds */
    iso_verdict_outcome outcome;
    double value, low, high; /* in `unit`; infinite: the interval is open there */
    char *unit;
    int64_t n_seeds, n_runs;
} iso_finding_verdict;

typedef struct iso_findings {
    char *study, *kind; /* its name, its kind */
    char *headline;     /* one sentence: the first verdict's, or why there is none */
    int64_t n_runs, n_finished;
    bool under_way; /* runs or choices are open; what failed, diverged or was stopped is not */
    int64_t n_verdicts, n_figures, n_tables, n_notes;
    iso_finding_verdict *verdicts;
    iso_finding_figure *figures;
    iso_finding_table *tables;
    char **notes; /* what limits what is said: a sentence each */
} iso_findings;

/* Adders copy what they are given; on failure (ISO_ERR_MEMORY) the findings stay as they were. The
 * returned pointers hold until the next call that adds one of the same kind. */
iso_findings *iso_findings_create(const char *study, const char *kind);
void iso_findings_free(iso_findings *findings);
iso_status iso_findings_note(iso_findings *findings, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
iso_status iso_findings_verdict(iso_findings *findings, const iso_finding_verdict *verdict);
iso_status iso_findings_figure(iso_findings *findings, iso_finding_figure **out,
                               const iso_finding_figure *figure); /* its series are not copied */
iso_status iso_findings_series(iso_finding_figure *figure, const iso_series *series);
iso_status iso_findings_table(iso_findings *findings, iso_finding_table **out,
                              const iso_finding_table *table); /* its rows are not copied */
iso_status iso_findings_row(iso_finding_table *table, const iso_finding_cell *cells);

/* The whole as JSON, NaN as null; NULL without memory. Format: docs/formats.md, "findings.json". */
json_t *iso_findings_json(const iso_findings *findings);

/* Everything that the runs in a study folder say so far (study_folder.h): a study under way has
 * findings, too, and its notes say what is missing. ISO_ERR_USAGE if there is no study in `dir`;
 * ISO_ERR_DATA where the folder contradicts itself. Caller frees with iso_findings_free. */
iso_status iso_study_findings(iso_findings **out, const char *dir);

#endif
