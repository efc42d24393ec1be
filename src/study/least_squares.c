/* Golub & Van Loan, Matrix Computations, 5.3: reflect column after column to upper triangular form,
 * y along with them; then R beta = Q'y by back substitution, and (X'X)^-1 = R^-1 R^-T.
 */
#include "study/least_squares.h"

#include "base/status.h"

#include <math.h>

#define DEPENDENT 1e-7

static double column_length(const double *x, int64_t first, int64_t n, int p, int column) {
    double sum = 0.0;
    for (int64_t i = first; i < n; i++) sum += x[i * p + column] * x[i * p + column];
    return sqrt(sum);
}

/* v (v't) 2/|v|^2 off t, both from row k down, with steps of `stride` between t's elements. */
static void reflect(double *t, int64_t stride, const double *v, int64_t v_stride, int64_t n,
                    double scale) {
    double dot = 0.0;
    for (int64_t i = 0; i < n; i++) dot += v[i * v_stride] * t[i * stride];
    for (int64_t i = 0; i < n; i++) t[i * stride] -= scale * dot * v[i * v_stride];
}

/* R^-1 of the upper triangle, and from it the rest. diagonal holds R's, x's upper part the rest. */
static void back_substitute(iso_least_squares *out, const double *x, const double *y,
                            const double *diagonal, int p) {
    double r_inverse[ISO_LEAST_SQUARES_MAX][ISO_LEAST_SQUARES_MAX] = {{0}};
    for (int j = 0; j < p; j++) {
        r_inverse[j][j] = 1.0 / diagonal[j];
        for (int i = j - 1; i >= 0; i--) {
            double sum = 0.0;
            for (int k = i + 1; k <= j; k++) sum += x[i * p + k] * r_inverse[k][j];
            r_inverse[i][j] = -sum / diagonal[i];
        }
    }
    for (int i = 0; i < p; i++) {
        out->beta[i] = 0.0;
        for (int k = i; k < p; k++) out->beta[i] += r_inverse[i][k] * y[k];
        for (int j = 0; j < p; j++) {
            out->inverse[i][j] = 0.0;
            for (int k = i > j ? i : j; k < p; k++)
                out->inverse[i][j] += r_inverse[i][k] * r_inverse[j][k];
        }
    }
}

bool iso_least_squares_solve(iso_least_squares *out, double *x, double *y, int64_t n, int p) {
    ISO_ASSERT(p > 0 && p <= ISO_LEAST_SQUARES_MAX);
    double lengths[ISO_LEAST_SQUARES_MAX], diagonal[ISO_LEAST_SQUARES_MAX];
    if (n < p) return false;
    for (int k = 0; k < p; k++) lengths[k] = column_length(x, 0, n, p, k);
    for (int k = 0; k < p; k++) {
        double length = column_length(x, k, n, p, k);
        if (!(length > DEPENDENT * lengths[k])) return false;
        double *v = x + k * p + k;
        diagonal[k] = *v > 0.0 ? -length : length;
        *v -= diagonal[k];
        double scale = -1.0 / (diagonal[k] * *v); /* 2/|v|^2, as |v|^2 = -2 diagonal v_0 */
        for (int j = k + 1; j < p; j++) reflect(x + k * p + j, p, v, p, n - k, scale);
        reflect(y + k, 1, v, p, n - k, scale);
    }
    back_substitute(out, x, y, diagonal, p);
    out->rss = 0.0;
    for (int64_t i = p; i < n; i++) out->rss += y[i] * y[i];
    return true;
}
