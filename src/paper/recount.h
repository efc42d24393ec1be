/* recount.h - the paper's rows counted again from their shapes.
 *
 * Owns: what each printed figure should have been by the convention its table really uses, and the
 * error. Exact integers underneath (arch/count.h); C is their product as a double.
 */
#ifndef ISO_PAPER_RECOUNT_H
#define ISO_PAPER_RECOUNT_H

#include "paper/paper.h"

typedef struct iso_paper_recounted {
    int64_t params, params_active; /* N, N_a by the row's convention */
    int64_t flops;                 /* M by the row's convention, forward or training as printed */
    int64_t tokens;                /* D = batch x iterations x S; 0 where there is no run */
    int64_t unique_tokens; /* D-hat: of the caption, D/2 in Table 17, else D; 0 without run */
    double lr_over_law;    /* over Step Law (unrounded) at this N (`paper`) and D; NaN
                              without run */
    double batch_over_law;
    double zeta_moe; /* H/(L-1) + 1, which is what Table 8 prints as zeta */

    /* By iso_paper_column, in the unit of the printed figure; NaN where nothing is printed. The
     * iterations are the printed D over batch x S. */
    double values[ISO_PAPER_N_COLUMNS];
    double errors_frac[ISO_PAPER_N_COLUMNS]; /* value over printed, minus 1 */
    double beyond_frac[ISO_PAPER_N_COLUMNS]; /* how far past the printed figure's rounding, over
                                                the printed figure; 0 = exact to the last digit */
} iso_paper_recounted;

void iso_paper_recount(iso_paper_recounted *out, const iso_paper_row *row);

/* One column of one table. */
typedef struct iso_paper_column_error {
    int64_t n_rows;         /* that print a figure */
    int64_t n_exact;        /* of them, those exact to the last printed digit */
    double max_error_frac;  /* largest |error| */
    double max_beyond_frac; /* largest excess over rounding */
    int worst_row;          /* of max_beyond_frac, or of max_error_frac if all are exact; from 1 */
} iso_paper_column_error;

iso_paper_column_error iso_paper_column_check(const iso_paper *paper, int table,
                                              iso_paper_column column);

#endif
