/* What tokens are worth in this study: the slope that Muennighoff's law needs to expect a penalty.
 */
#include "study/findings_build.h"

#include "study/seed_control.h"

#include <math.h>
#include <string.h>

/* Sides that tell of loss against tokens: little or no repetition, no mere candidates of a search.
 */
static bool tells_of_tokens(const iso_findings_build *b, const iso_side *side) {
    const iso_finding_run *run = iso_findings_run_of(b, side->runs[0]);
    bool repeated = strstr(run->groups, "strict-e") || strstr(run->groups, "loose");
    return !repeated && !iso_findings_is_candidate(b, side) &&
           iso_findings_number(side, "epochs") < 2.05;
}

static double effective(const iso_side *side) {
    return iso_gap_effective_tokens(iso_findings_number(side, "tokens"),
                                    iso_findings_number(side, "unique_tokens"));
}

bool iso_findings_same_model(const iso_side *a, const iso_side *b) {
    return json_equal(iso_side_run_value(a->runs[0], "model"),
                      iso_side_run_value(b->runs[0], "model"));
}

/* Puts a side among points that ascend by tokens; of two with about the same the one with more
 * seeds stays. */
static void insert(iso_scan_point *points, int64_t *n, const iso_side *side) {
    double x = effective(side);
    iso_scan_point point = {x, side->bpc, side->n_runs, 0.0};
    int64_t at = 0;
    while (at < *n && points[at].x < 0.95 * x) at++;
    if (at < *n && points[at].x <= 1.05 * x) {
        if (side->n_runs > points[at].n_seeds) points[at] = point;
        return;
    }
    if (*n == ISO_SCAN_POINTS_MAX) return;
    memmove(points + at + 1, points + at, (size_t)(*n - at) * sizeof *points);
    points[at] = point;
    ++*n;
}

bool iso_findings_worth(iso_token_worth *out, const iso_findings_build *b, const iso_side *like) {
    iso_scan_point points[ISO_SCAN_POINTS_MAX + 1];
    int64_t n = 0;
    for (int64_t i = 0; like && i < b->all.n; i++) {
        const iso_side *side = &b->all.sides[i];
        if (tells_of_tokens(b, side) && iso_findings_same_model(side, like))
            insert(points, &n, side);
    }
    *out = (iso_token_worth){.is_law = n > 2};
    if (out->is_law) {
        iso_pooled other = iso_findings_other_noise(b, points, n, NULL);
        return iso_token_law_fit(&out->law, points, n, &other, NAN) == ISO_OK;
    }
    if (n < 2) return false;
    iso_seed_gap gap = iso_seed_gap_estimate(points[0].y, points[0].n_seeds, points[1].y,
                                             points[1].n_seeds, &b->noise, 0.0, 0.0);
    out->slope = gap.value / log(points[1].x / points[0].x);
    out->half = gap.half / log(points[1].x / points[0].x);
    return true;
}

void iso_findings_expect(iso_reuse *reuse, const iso_token_worth *worth, double tokens) {
    double lost = log(tokens / reuse->effective_tokens), half = worth->half * lost;
    reuse->expected.value = worth->slope * lost;
    reuse->expected.low = reuse->expected.value - half;
    reuse->expected.high = reuse->expected.value + half;
    reuse->differs = fabs(reuse->penalty - reuse->expected.value) > hypot(reuse->half, half);
}
