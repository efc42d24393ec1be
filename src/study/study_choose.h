/* study_choose.h - what a run scored, on the documents that choose and on those that report; and
 * whether a candidate is hopeless.
 *
 * A choice that was made on the same documents as the result is reported on would flatter the
 * winner. So every validation document belongs to one half, by a hash of its domain and number in
 * the validation sample; a domain whose documents all fall into one half counts in both.
 *
 * (I1) both are functions of the run folders' bytes: asked again later, they say the same.
 */
#ifndef ISO_STUDY_STUDY_CHOOSE_H
#define ISO_STUDY_STUDY_CHOOSE_H

#include "base/status.h"
#include "study/study_file.h"

typedef struct iso_halves {
    double choose, report; /* bits per character, equal-weight mean over the named domains */
} iso_halves;

/* Of a finished run. ISO_ERR_DATA, ISO_ERR_USAGE as iso_run_open. */
iso_status iso_halves_read(iso_halves *out, const char *run_dir, iso_study_select select);

/* Which half: true = it chooses. */
bool iso_document_chooses(const char *domain, int64_t document);

/* The first evaluation from half of the run on in which it is more than `margin` BPC behind the
 * guard's at the same part of its run; 0 if there is none (yet). The final evaluation does not
 * count: it has another sample. `planned_steps` is the candidate's. */
int64_t iso_hopeless_step(const char *run_dir, int64_t planned_steps, const char *guard_dir,
                          double margin);

#endif
