/* The headline score is the mean over K domains, sampled apart: covariances add, over K^2. Degrees
 * of freedom are Welch-Satterthwaite's of each MoE's difference to dense, as in answer.c, and the
 * fewest of them hold for all.
 */
#include "study/side_scan.h"
#include "study/side_blocks.h"

#include <math.h>
#include <stdlib.h>

#define SAME_RATE 1.01 /* as a factor */

static bool is_preferred(const iso_side *a, const iso_side *b) {
    if (!b || a->n_runs != b->n_runs) return !b || a->n_runs > b->n_runs;
    return a->mean_bpc < b->mean_bpc;
}

/* Sides come dense first, then by rate. */
static iso_status choose(iso_side_scan *out, const iso_sides *sides) {
    out->moes = calloc((size_t)sides->n + 1, sizeof(*out->moes));
    ISO_ASSERT(out->moes);
    int64_t n = 0;
    for (int64_t i = 0; i < sides->n; i++) {
        const iso_side *side = &sides->sides[i];
        if (!side->is_moe) {
            if (is_preferred(side, out->dense)) out->dense = side;
            continue;
        }
        bool same = n > 0 && side->activation_rate < SAME_RATE * out->moes[n - 1]->activation_rate;
        if (!same)
            out->moes[n++] = side;
        else if (is_preferred(side, out->moes[n - 1]))
            out->moes[n - 1] = side;
    }
    if (!out->dense || n == 0)
        return iso_fail(ISO_ERR_USAGE,
                        "a scan needs a finished dense run and finished MoE runs of "
                        "several activation rates; %s",
                        out->dense ? "there is no MoE" : "there is no dense one");
    out->scan.n_points = n;
    return ISO_OK;
}

/* Adds one domain's covariances. parts: per side, the sum of its difference's variances and of
 * their squares over degrees of freedom. */
static bool add_domain(double *out, double (*parts)[2], const iso_side *const *sides, int64_t n,
                       const char *domain) {
    int64_t made = 0;
    iso_side_blocks *blocks = calloc((size_t)n, sizeof(*blocks));
    double *own = calloc((size_t)(n * n), sizeof(*own));
    ISO_ASSERT(blocks && own);
    while (made < n && iso_side_blocks_make(&blocks[made], sides[made], domain, sides[n - 1]))
        made++;
    bool paired = made == n && blocks[0].n > 1;
    for (int64_t i = 0; paired && i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            own[i * n + j] =
                iso_ratio_covariance(blocks[i].bits, blocks[j].bits, blocks[i].chars, blocks[i].n);
            out[i * n + j] += own[i * n + j];
        }
    for (int64_t i = 0; paired && i + 1 < n; i++) {
        double variance = own[i * n + i] + own[n * n - 1] - 2.0 * own[i * n + n - 1];
        parts[i][0] += variance;
        parts[i][1] += variance * variance / (double)(blocks[0].n - 1);
    }
    for (int64_t i = 0; i < made; i++) iso_side_blocks_release(&blocks[i]);
    free(blocks);
    free(own);
    return paired;
}

iso_status iso_sides_covariance(double *out, double *dof, const iso_side *const *sides, int64_t n) {
    int64_t n_domains = 0;
    const iso_evaluation *evaluation = sides[n - 1]->runs[0]->run.evaluation;
    double(*parts)[2] = calloc((size_t)n, sizeof(*parts));
    ISO_ASSERT(parts != NULL);
    for (int64_t i = 0; i < n * n; i++) out[i] = 0.0;
    bool paired = evaluation != NULL;
    for (int64_t i = 0; paired && i < evaluation->n_domains; i++) {
        if (!iso_domain_is_headline(evaluation, i)) continue;
        paired = add_domain(out, parts, sides, n, evaluation->domains[i].domain);
        n_domains++;
    }
    *dof = INFINITY;
    for (int64_t i = 0; i + 1 < n; i++)
        if (parts[i][1] > 0.0) *dof = fmin(*dof, parts[i][0] * parts[i][0] / parts[i][1]);
    free(parts);
    if (!paired || n_domains == 0)
        return iso_fail(ISO_ERR_DATA, "the final evaluations of the scan's runs cannot be paired "
                                      "window by window; evaluate all of them on one sample");
    for (int64_t i = 0; i < n * n; i++) out[i] /= (double)(n_domains * n_domains);
    return ISO_OK;
}

static iso_status estimate_covariance(iso_side_scan *out) {
    int64_t n = out->scan.n_points + 1;
    out->covariance = calloc((size_t)(n * n), sizeof(*out->covariance));
    ISO_ASSERT(out->covariance != NULL);
    out->moes[n - 1] = out->dense; /* there is room for one more */
    return iso_sides_covariance(out->covariance, &out->scan.evaluation_dof, out->moes, n);
}

iso_status iso_side_scan_make(iso_side_scan *out, const iso_sides *sides) {
    *out = (iso_side_scan){0};
    iso_status status = choose(out, sides);
    if (status == ISO_OK) status = estimate_covariance(out);
    if (status != ISO_OK) {
        iso_side_scan_release(out);
        return status;
    }
    out->points = calloc((size_t)out->scan.n_points, sizeof(*out->points));
    ISO_ASSERT(out->points);
    for (int64_t i = 0; i < out->scan.n_points; i++) {
        const iso_side *moe = out->moes[i];
        out->points[i] = (iso_scan_point){log(moe->activation_rate), moe->bpc, moe->n_runs, 0.0};
    }
    out->level = (iso_scan_point){0.0, out->dense->bpc, out->dense->n_runs, 0.0};
    out->scan.points = out->points;
    out->scan.level = &out->level;
    out->scan.evaluation_covariance = out->covariance;
    return ISO_OK;
}

void iso_side_scan_release(iso_side_scan *scan) {
    free(scan->points);
    free(scan->covariance);
    free(scan->moes);
    *scan = (iso_side_scan){0};
}
