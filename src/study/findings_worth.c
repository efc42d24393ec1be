/* What tokens are worth in this study: the slope that Muennighoff's law needs to expect a penalty.
 */
#include "study/findings_build.h"

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

/* Puts a side among sides that ascend by tokens; of two with about the same the one with more seeds
 * stays. */
static void insert(const iso_side **sides, int64_t *n, const iso_side *side) {
    double x = effective(side);
    int64_t at = 0;
    while (at < *n && effective(sides[at]) < 0.95 * x) at++;
    if (at < *n && effective(sides[at]) <= 1.05 * x) {
        if (side->n_runs > sides[at]->n_runs) sides[at] = side;
        return;
    }
    if (*n == ISO_SCAN_POINTS_MAX) return;
    memmove(sides + at + 1, sides + at, (size_t)(*n - at) * sizeof(*sides));
    sides[at] = side;
    ++*n;
}

/* Seed noise alone bounds the law: what another sample of text adds is left out. */
static bool fit_law(iso_token_law *out, const iso_findings_build *b, const iso_side *const *sides,
                    int64_t n) {
    iso_scan_point points[ISO_SCAN_POINTS_MAX];
    for (int64_t i = 0; i < n; i++)
        points[i] = (iso_scan_point){effective(sides[i]), sides[i]->bpc, sides[i]->n_runs, 0.0};
    iso_pooled noise = iso_findings_noise_of(b, sides, n),
               other = iso_findings_other_noise(&noise, points, n, NULL);
    return iso_token_law_fit(out, points, n, &other, NAN) == ISO_OK;
}

bool iso_findings_worth(iso_token_worth *out, const iso_findings_build *b, const iso_side *like) {
    const iso_side *sides[ISO_SCAN_POINTS_MAX + 1];
    int64_t n = 0;
    for (int64_t i = 0; like && i < b->all.n; i++) {
        const iso_side *side = &b->all.sides[i];
        if (tells_of_tokens(b, side) && iso_findings_same_model(side, like))
            insert(sides, &n, side);
    }
    *out = (iso_token_worth){.is_law = n > 2};
    if (out->is_law) return fit_law(&out->law, b, sides, n);
    if (n < 2) return false;
    iso_pooled noise = iso_findings_noise_of(b, sides, n);
    iso_gap gap = iso_gap_estimate(sides[0], sides[1], &noise);
    double logs = log(effective(sides[1]) / effective(sides[0]));
    out->slope = gap.bpc / logs;
    out->half = gap.half / logs;
    return true;
}

void iso_findings_expect(iso_reuse *reuse, const iso_token_worth *worth, double tokens) {
    double lost = log(tokens / reuse->effective_tokens), half = worth->half * lost;
    reuse->expected.value = worth->slope * lost;
    reuse->expected.low = reuse->expected.value - half;
    reuse->expected.high = reuse->expected.value + half;
    reuse->differs = fabs(reuse->penalty - reuse->expected.value) > hypot(reuse->half, half);
}
