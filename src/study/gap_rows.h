/* gap_rows.h - where the rows of a gap law come from: the paper's tables, or run folders.
 *
 * Does not own: the law (gap_law.h).
 */
#ifndef ISO_STUDY_GAP_ROWS_H
#define ISO_STUDY_GAP_ROWS_H

#include "study/gap_law.h"

/* Rows of finished runs from their folders' summary.json: N, r_a, D, unique tokens, rate and the
 * headline BPC. Caller frees *out with free(). ISO_ERR_USAGE or ISO_ERR_DATA for a folder that
 * holds no run, one without its final evaluation, or one whose ledger doesn't hold together; the
 * runs must share tokenizer and validation sample, as a BPC means nothing across them. */
iso_status iso_gap_rows_of_runs(iso_gap_row **out, int64_t *n, const char *const *run_dirs,
                                int64_t n_runs);

#endif
