/* report_folder.h - a study's report as a folder: the page, a file for each figure, the data.
 *
 * Owns: FOLDER/index.html, figures/KEY.svg, data/KEY.csv, data/table-KEY.csv, findings.json
 * (docs/formats.md, "Study report"). Does not own: anything else that lies there.
 *
 * (I1) every file is replaced as a whole, durably; findings.json and index.html come last;
 * (I2) files of a former report that this one does not have are removed, no others;
 * (I3) a folder whose index.html is not a report's is left alone.
 */
#ifndef ISO_REPORT_REPORT_FOLDER_H
#define ISO_REPORT_REPORT_FOLDER_H

#include "base/status.h"
#include "report/study_page.h"

/* Writes the report of what `page` holds. ISO_ERR_USAGE where `folder` has someone else's
 * index.html; ISO_ERR_IO, ISO_ERR_NO_SPACE. */
iso_status iso_study_report_write(const char *folder, const iso_study_page *page);

/* The findings of the study in `dir`, its manifest and run folders, then the above. `folder` NULL:
 * DIR/report. *findings and *where (the folder) are the caller's to free; NULL: not wanted. */
iso_status iso_study_report_make(iso_findings **findings, char **where, const char *dir,
                                 const char *folder);

#endif
