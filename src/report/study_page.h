/* study_page.h - the page of a study: what it says, how sure that is, what it rests on.
 *
 * Owns: the order of the sections and the verdicts' looks. Does not own: what is said
 * (study/study_findings.h), figures (study_figure.h), tables (study_table.h).
 *
 * To add a section that the findings do not hold: a function like those below in a file of its own,
 * a row in study_page.c's table.
 *
 * (I1) a study whose runs were not equal says so before anything else;
 * (I2) the same findings and folders give the same bytes.
 */
#ifndef ISO_REPORT_STUDY_PAGE_H
#define ISO_REPORT_STUDY_PAGE_H

#include "base/json.h"
#include "base/str.h"
#include "study/study_findings.h"

typedef struct iso_study_page {
    const iso_findings *findings;
    const char *dir;             /* the study's folder as people name it; NULL: none is at hand */
    const char *const *run_dirs; /* its run folders, finished or not, by name */
    int64_t n_run_dirs;
    const json_t *manifest; /* NULL: none is at hand */
} iso_study_page;

/* Appends the whole page. Links lead to the files beside it (report_folder.h). */
void iso_study_page_make(iso_str *out, const iso_study_page *page);

/* The name of a figure's files: its key, other characters than letters, digits, "-" and "_" as "-".
 * The caller frees it. */
char *iso_finding_file_name(const char *key);
/* Of a table's data: "table-" before that, since a figure may have the same key. */
char *iso_table_data_name(const char *key);

/* study_experts.c: load and co-activation of experts by text, of the MoEs trained most often. */
void iso_study_section_experts(iso_str *out, const iso_study_page *page);
/* study_made.c: what was run, by which version, and how to repeat it. */
void iso_study_section_made(iso_str *out, const iso_study_page *page);

#endif
