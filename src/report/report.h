/* report.h - one self-contained HTML page about any set of runs.
 *
 * Reads run folders only, writes one file; the same runs give the same bytes. Everything on the
 * page is inline: no script, no font, no image is fetched from anywhere.
 */
#ifndef ISO_REPORT_H
#define ISO_REPORT_H

#include "base/status.h"

#include <stdint.h>

typedef struct iso_report_options {
    const char *title;   /* NULL: a general one */
    const char *command; /* the one command that made all of this, if there was one; else NULL */
    const char *machine; /* the machine in words, where the runs do not say; NULL */
} iso_report_options;

/* Writes the page to `path`, durably and atomically. `options` may be NULL. ISO_ERR_USAGE or
 * ISO_ERR_DATA if a folder is no run; a run that has not finished is listed and left out. */
iso_status iso_report_write(const char *path, const char *const *run_dirs, int64_t n_run_dirs,
                            const iso_report_options *options);

#endif
