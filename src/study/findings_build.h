/* findings_build.h - findings in the making. For study/findings_*.c only.
 *
 * A study's parts are told from what is there, not from its kind: a scan from groups "scan" or
 * "scan-d2m" of the manifest, reuse from "reuse-unique", "reuse-strict-e4", ..., a control from
 * "control", sweeps and search steps from steps/STEP.json. So a study of several parts has the
 * findings of each; of two of a kind ("scan-wide") keys are told apart by the part's word.
 *
 * Owns: reading the folder, the sides of all finished runs, seed noise, views of a group. Does not
 * own: what sides are (sides.h), the statistics (answer.h, scan_curve.h, ...).
 *
 * (I1) all.runs are finished, in the manifest's order; a view borrows from them;
 * (I2) seed noise is pooled over the configurations that are compared, each with all the seeds
 *      that it has anywhere in the study: text that is repeated, or little of it, scatters
 *      differently. Where they have fewer than ISO_FINDINGS_OWN_DOF degrees of freedom, over all of
 *      the study's. Configurations that are a search's alone never count: candidates that train
 *      badly scatter more (docs/decisions/0017).
 */
#ifndef ISO_STUDY_FINDINGS_BUILD_H
#define ISO_STUDY_FINDINGS_BUILD_H

#include "study/answer.h"
#include "study/scan_curve.h"
#include "study/study_findings.h"
#include "study/study_plan.h"
#include "study/token_law.h"

#define ISO_FINDINGS_UNIT    "bits per character"
#define ISO_FINDINGS_OWN_DOF 4
#define ISO_FINDINGS_SAME    0.01 /* rates, N and C this close (relatively) count as the same */

/* One run of the manifest; strings are borrowed from it. */
typedef struct iso_finding_run {
    const char *name, *side, *parts, *groups, *state, *cause;
    bool finished;
} iso_finding_run;

typedef struct iso_findings_build {
    iso_findings *out;
    const char *dir;
    json_t *manifest;
    iso_study *study; /* the file's text in the manifest, read again; NULL if that can't be */
    json_t *steps;    /* the choices so far: an array */
    bool complete;
    int64_t n_runs;
    iso_finding_run *runs;
    iso_sides all;    /* n = 0 before the first run has finished */
    int64_t *i_run;   /* of all.runs[i] in `runs` */
    iso_pooled noise; /* of all configurations, (I2) */
} iso_findings_build;

/* ISO_ERR_USAGE, ISO_ERR_DATA as iso_study_findings. */
iso_status iso_findings_open(iso_findings_build *out, const char *dir);
/* Not the findings themselves. */
void iso_findings_close(iso_findings_build *b);

/* The manifest's run of a run that a side has. */
const iso_finding_run *iso_findings_run_of(const iso_findings_build *b, const iso_side_run *run);
/* The side that has the run of this name; NULL before it has finished. */
const iso_side *iso_findings_side_of(const iso_findings_build *b, const char *run_name);
/* Whether all that it is for is a search: a candidate, and in no other comparison. */
bool iso_findings_is_candidate(const iso_findings_build *b, const iso_side *side);

/* Adds what all seeds of a side's configuration tell of seed noise; a candidate's tell nothing. */
void iso_findings_noise_add(iso_pooled *noise, const iso_findings_build *b, const iso_side *side);
/* `own`, or that of all configurations where it is too little. */
iso_pooled iso_findings_noise_or_all(const iso_findings_build *b, const iso_pooled *own);
/* Both for n sides that are compared. */
iso_pooled iso_findings_noise_of(const iso_findings_build *b, const iso_side *const *sides,
                                 int64_t n);

/* The runs of one group as a comparison of its own, with its audit. */
typedef struct iso_findings_view {
    const char *group; /* or part */
    bool is_part;
    int64_t n_finished; /* runs of the group */
    iso_sides sides;    /* .audit: NULL with fewer than two runs */
    iso_pooled noise;   /* (I2) */
} iso_findings_view;
iso_status iso_findings_view_make(iso_findings_view *out, const iso_findings_build *b,
                                  const char *group);
/* Of a part of the study: what claims no equality is in no group. */
iso_status iso_findings_view_part(iso_findings_view *out, const iso_findings_build *b,
                                  const char *part);
/* Whether the audit calls the runs equal, in whatever way. */
bool iso_findings_is_equal(const iso_findings_view *view);
/* Takes one side out; the audit stays that of all. */
void iso_findings_view_drop(iso_findings_view *view, int64_t i_side);
void iso_findings_view_release(iso_findings_view *view);
/* "2m" of "scan-d2m", the size of a scan over data; NULL where a group has none. */
const char *iso_findings_group_size(const char *group);
bool iso_findings_is_scan(const char *group);
/* "strict-e4" of "reuse-strict-e4", "reuse-wide-strict-e4" or the word alone; NULL where a group is
 * none of reuse, such as "scan-strict". */
const char *iso_findings_scheme(const char *group);
/* Every group of the manifest in order of appearance; an array of strings, a new reference. */
json_t *iso_findings_groups(const iso_findings_build *b);

/* The side's mean over its seeds with the training noise's 95 % interval. */
iso_series_point iso_findings_point(const iso_side *side, double x, const iso_pooled *noise);
/* "dense", "the MoE at 20 % activation". Caller frees. */
char *iso_findings_side_words(const iso_side *side);
/* "dense", "MoE 20 %": the same in figures and tables, dense first for the looks. Caller frees. */
char *iso_findings_side_name(const iso_side *side);
/* Whether both are dense, or MoEs of one activation rate. */
bool iso_findings_same_rate(const iso_side *a, const iso_side *b);
double iso_findings_number(const iso_side *side, const char *path); /* of its first run's ledger */
bool iso_findings_same(double a, double b);
int64_t iso_findings_seeds(const iso_sides *sides); /* the fewest of a side */

/* What `noise` holds beyond a fit's own points (and level, may be NULL). Squares within a
 * configuration's seeds hold those within a part of them, and the rest is independent of it. */
iso_pooled iso_findings_other_noise(const iso_pooled *noise, const iso_scan_point *points,
                                    int64_t n_points, const iso_scan_point *level);

/* A verdict about a gap with a half-width; `sentence` is taken over and freed. */
typedef struct iso_findings_claim {
    const char *key, *question, *unit;
    char *sentence;
    iso_verdict_outcome outcome;
    double value, low, high;
    int64_t n_seeds, n_runs;
} iso_findings_claim;
iso_status iso_findings_claim_add(iso_findings_build *b, const iso_findings_claim *claim);

/* Cells. */
iso_finding_cell iso_cell_of(double value);
iso_finding_cell iso_cell_text(const char *text); /* borrowed */

/* --- the parts; each adds nothing where the study has no such part --- */

iso_status iso_findings_add_scans(iso_findings_build *b);
iso_status iso_findings_add_courses(iso_findings_build *b); /* figure 1a */
iso_status iso_findings_add_reuse(iso_findings_build *b);
iso_status iso_findings_add_search(iso_findings_build *b);
iso_status iso_findings_add_sweeps(iso_findings_build *b);
iso_status iso_findings_add_control(iso_findings_build *b);
iso_status iso_findings_add_sides(iso_findings_build *b); /* every configuration, as a table */
iso_status iso_findings_add_notes(iso_findings_build *b);

/* --- shared by scan and reuse (findings_rates.c) --- */

/* The gaps of a view's MoEs to its dense side, and to `twice` (NULL: none), as a table. */
iso_status iso_findings_gap_table(iso_findings_build *b, const iso_findings_view *view,
                                  const iso_side *twice, const char *key, const char *title);
/* The verdict of the comparison that was fixed before any run: dense against the MoE nearest to
 * 20 %. */
iso_status iso_findings_gap_verdict(iso_findings_build *b, const iso_findings_view *view,
                                    const char *key, const char *question);
/* Adds a view's MoEs against activation rate to a figure: their BPC, or their gaps to the dense
 * side. */
iso_status iso_findings_rate_series(iso_finding_figure *figure, const iso_findings_view *view,
                                    const char *name, bool gaps);
/* A side's score as a level with its training interval. */
iso_status iso_findings_level(iso_finding_figure *figure, const iso_side *side, const char *name,
                              const iso_pooled *noise);

/* --- of reuse (findings_worth.c) --- */

/* What tokens are worth: a power law of three budgets or more, of two a logarithm. */
typedef struct iso_token_worth {
    bool is_law;
    iso_token_law law;
    double slope, half; /* BPC for e times the tokens */
} iso_token_worth;
bool iso_findings_same_model(const iso_side *a, const iso_side *b);
/* From the sides of `like`'s shape (NULL: none) on little or no repetition. False if that can't be
 * had. */
bool iso_findings_worth(iso_token_worth *out, const iso_findings_build *b, const iso_side *like);
/* Fills reuse->expected and differs from a logarithm, as iso_reuse_estimate does from a law. */
void iso_findings_expect(iso_reuse *reuse, const iso_token_worth *worth, double tokens);

/* --- of the paper (findings_ghosts.c) --- */

/* The paper's gaps of one of its comparisons ("2b-unique", paper_comparisons.h) as a ghost. */
iso_status iso_findings_ghost_gaps(iso_finding_figure *figure, const char *comparison,
                                   const char *name);
/* Its gaps at equal tokens: the dense model of that row of Table 14 against those of the table's
 * MoEs that saw as many. */
iso_status iso_findings_ghost_tokens(iso_finding_figure *figure, int table, int dense_row,
                                     const char *name);
/* Its Table 13 (strict) or 17 (loose) minus Table 12, the same shapes on unique text, by epochs. */
iso_status iso_findings_ghost_penalties(iso_finding_figure *figure, int table, const char *name);

#endif
