/* gap_rows.h - where the rows of a gap law come from: the paper's tables, or run folders.
 *
 * Does not own: the law (gap_law.h), the paper's figures (paper/paper_runs.h).
 */
#ifndef ISO_STUDY_GAP_ROWS_H
#define ISO_STUDY_GAP_ROWS_H

#include "paper/paper_runs.h"
#include "study/gap_law.h"

/* The runs of the paper's Tables 9-17, as printed: all 80, repeats among them. */
iso_status iso_gap_rows_of_paper(iso_gap_row out[ISO_PAPER_N_RUNS]);

/* The law as fitted to these; free with iso_gap_law_free. Some 0.1 s. */
iso_status iso_gap_law_of_paper(iso_gap_law **out);

/* A row of each finished run from its folder: N, r_a, D, unique tokens, rate and headline BPC of
 * its ledger; `table` is the folder that it lies in. The caller frees *out with free().
 * ISO_ERR_USAGE or ISO_ERR_DATA for a folder that holds no run, no final evaluation, or a ledger
 * that doesn't hold together; and for runs of different tokenizers or validation samples, whose
 * BPCs don't compare. */
iso_status iso_gap_rows_of_runs(iso_gap_row **out, const char *const *run_dirs, int64_t n_runs);

#endif
