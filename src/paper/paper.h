/* paper.h - the paper's printed Tables 5-17, row by row, as typed data.
 *
 * "Can Mixture-of-Experts Surpass Dense LLMs Under Strictly Equal Resources?" (arXiv 2506.12119),
 * tables by the numbering of its first version. Owns: what was printed, and in what way the
 * authors counted. Does not own: what the figures should be (recount.h), what follows from them
 * (paper_facts.h), the runs as plain numbers for statistics (paper_runs.h).
 *
 * The data is src/paper/tables/ (its README.md names the columns), compiled into the program.
 *
 * (I1) a figure keeps its printed text, so that "exact to the printed digits" can be decided;
 * (I2) every shape passes iso_shape_check.
 */
#ifndef ISO_PAPER_PAPER_H
#define ISO_PAPER_PAPER_H

#include "arch/count.h"

#define ISO_PAPER_FIRST_TABLE 5
#define ISO_PAPER_LAST_TABLE  17
#define ISO_PAPER_TEXT_BYTES  16

/* A printed figure; text is "" where the table has none. */
typedef struct iso_paper_figure {
    double value;                    /* 2.15e9 */
    double half_unit;                /* half a unit of the last printed digit: 5e6 */
    char text[ISO_PAPER_TEXT_BYTES]; /* "2.15B" */
} iso_paper_figure;

/* The printed figures that follow from shape and run. */
typedef enum iso_paper_column {
    ISO_PAPER_PARAMS,       /* N */
    ISO_PAPER_ACTIVE,       /* N_a */
    ISO_PAPER_RATE,         /* r_a, per cent */
    ISO_PAPER_FLOPS,        /* M, FLOPs per token */
    ISO_PAPER_TOKENS,       /* D */
    ISO_PAPER_UNIQUE,       /* D-hat */
    ISO_PAPER_EPOCHS,       /* D / D-hat */
    ISO_PAPER_COMPUTE,      /* C, FLOPs */
    ISO_PAPER_TOKENS_RATIO, /* D / N */
    ISO_PAPER_ITERATIONS,   /* optimizer steps */
    ISO_PAPER_MU,
    ISO_PAPER_ZETA,
    ISO_PAPER_N_COLUMNS
} iso_paper_column;

/* "N", "N_a", ..., as the headings of the tables have it. */
const char *iso_paper_column_name(iso_paper_column column);

typedef enum iso_paper_counting {
    ISO_PAPER_BY_PAPER,        /* convention `paper` */
    ISO_PAPER_BY_FULL,         /* convention `full` */
    ISO_PAPER_BY_FULL_SOFTMAX, /* `full` without the softmax */
} iso_paper_counting;

/* "paper", "full", "full-softmax". */
const char *iso_paper_counting_name(iso_paper_counting counting);

typedef struct iso_paper_row {
    int table, row; /* row from 1 */
    iso_shape shape;
    char label[ISO_PAPER_TEXT_BYTES]; /* N of the caption, "2.15B"; "" where it has none */
    iso_paper_figure printed[ISO_PAPER_N_COLUMNS];

    /* How the authors counted this row. */
    iso_paper_counting params_by;  /* N, N_a */
    iso_paper_counting flops_by;   /* M */
    iso_paper_counting compute_by; /* the M of C = M D */
    double rate_divisor;           /* r_a and D/N are over this rounded N; 0: over the exact one */
    bool rate_of_printed;          /* r_a takes N_a as printed, rounded */
    bool is_training; /* M is training FLOPs, three times the forward ones of the equations */

    bool is_run;                   /* Tables 9-17: the settings below are printed */
    iso_paper_figure lr;           /* peak */
    int64_t batch_sequences;       /* per optimizer step */
    int64_t iterations;            /* optimizer steps */
    iso_paper_figure bpc;          /* Tables 9-17 */
    iso_paper_figure train_loss;   /* Tables 5-8 */
    iso_paper_figure balance_loss; /* Table 6 */
} iso_paper_row;

typedef struct iso_paper {
    int64_t n_rows;
    iso_paper_row *rows; /* ascending by table and row */
} iso_paper;

/* Fails only for want of memory. The caller frees *out. */
iso_status iso_paper_create(iso_paper **out);
void iso_paper_free(iso_paper *paper);

/* The rows of one table: NULL and *n_rows = 0 if there is no such table. */
const iso_paper_row *iso_paper_table(const iso_paper *paper, int table, int64_t *n_rows);

/* One row, from 1; the table must have it. */
const iso_paper_row *iso_paper_row_at(const iso_paper *paper, int table, int row);

#endif
