/* paper_runs.h - the 80 runs of the paper's Tables 9-17 as plain numbers, for statistics.
 *
 * Everything counted by the convention `paper` from the shape, whatever the table did, so that rows
 * of different tables can be compared; D, D-hat, learning rate and batch as they really were.
 *
 * (I1) rows ascend by table and row; 80 rows, 74 of them distinct: six runs are printed twice.
 */
#ifndef ISO_PAPER_PAPER_RUNS_H
#define ISO_PAPER_PAPER_RUNS_H

#include "arch/shape.h"

#include <stdbool.h>
#include <stdint.h>

#define ISO_PAPER_N_RUNS 80

typedef struct iso_paper_run {
    int table, row; /* row from 1 */
    iso_shape shape;
    bool is_dense;
    int64_t params, params_active; /* N, N_a */
    double activation_rate;        /* r_a = N_a / N */
    int64_t train_flops_per_token; /* C is this times tokens */
    int64_t tokens;                /* D = batch x iterations x S */
    int64_t unique_tokens;         /* D-hat; tokens in the unique-data tables */
    double lr, lr_over_law;        /* peak; Step Law, unrounded, at N and D */
    int64_t batch_sequences;
    double batch_over_law;
    int64_t iterations;
    double bpc;
    int duplicate_of; /* index of an earlier row that is the same run, though its bpc may have been
                         printed otherwise; -1 = none */
} iso_paper_run;

/* Fails only for want of memory. */
iso_status iso_paper_runs(iso_paper_run out[ISO_PAPER_N_RUNS]);

#endif
