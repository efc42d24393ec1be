/* least_squares.h - ordinary least squares of small problems, and what its estimates are worth.
 *
 * Householder QR on the design itself: the normal equations would square its condition number, and
 * fits of few runs are ill-conditioned enough.
 */
#ifndef ISO_STUDY_LEAST_SQUARES_H
#define ISO_STUDY_LEAST_SQUARES_H

#include <stdbool.h>
#include <stdint.h>

#define ISO_LEAST_SQUARES_MAX 16

typedef struct iso_least_squares {
    double beta[ISO_LEAST_SQUARES_MAX];
    double inverse[ISO_LEAST_SQUARES_MAX][ISO_LEAST_SQUARES_MAX]; /* (X'X)^-1 */
    double rss;                                                   /* residual sum of squares */
} iso_least_squares;

/* Minimises |y - X beta|. x: n rows of p values, overwritten, as is y; 0 < p <=
 * ISO_LEAST_SQUARES_MAX. False if n < p or a column depends on those before it, to 1e-7 of its
 * length: the data don't determine it. */
bool iso_least_squares_solve(iso_least_squares *out, double *x, double *y, int64_t n, int p);

#endif
