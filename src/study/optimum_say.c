#include "study/optimum_say.h"

#include "base/number.h"
#include "base/str.h"

#include <math.h>

#define PLUS_MINUS "\xc2\xb1"
#define LEVEL_95   "95\xc2\xa0%"
#define LEVEL_95_F "95\xc2\xa0%%" /* in formats */
#define UNIT       "bits per character"
#define POWER      0.8 /* what "is found" means in a plan */

static void append_rate(iso_str *out, double x) {
    char number[ISO_NUMBER_BYTES];
    iso_str_append(out, iso_number_percent(number, exp(x), exp(x) < 0.0995 ? 1 : 0));
}

static void append_fixed(iso_str *out, double value, int decimals) {
    char number[ISO_NUMBER_BYTES];
    iso_str_append(out, iso_number_fixed(number, value, decimals));
}

/* "0.012 +- 0.004" */
static void append_size(iso_str *out, double value, double half) {
    int decimals = iso_number_decimals(half);
    append_fixed(out, value, decimals);
    iso_str_append(out, " " PLUS_MINUS " ");
    append_fixed(out, half, decimals);
}

static void append_short(iso_str *out, double value) {
    char number[ISO_NUMBER_BYTES];
    iso_str_append(out, iso_number_short(number, value, 2));
}

static void append_scan(iso_str *out, const iso_scan_curve *curve) {
    iso_str_appendf(out, "%lld rates from ", (long long)curve->n_points);
    append_rate(out, curve->low);
    iso_str_append(out, " to ");
    append_rate(out, curve->high);
    iso_str_appendf(out, ", %lld runs, seed noise ", (long long)curve->n_seeds);
    append_short(out, curve->seed_sd);
    iso_str_appendf(out, " on %g degrees of freedom", curve->seed_dof);
    /* (I1) of scan_curve.h */
    if (curve->inflation >= 1.05)
        iso_str_appendf(out,
                        "; the points lie %.1f times as far off the curve as noise explains, "
                        "which widens all of this",
                        curve->inflation);
}

/* --- the scan --- */

char *iso_optimum_say(const iso_scan_curve *curve, const iso_optimum *optimum) {
    iso_str out = {0};
    switch (optimum->outcome) {
    case ISO_OPTIMUM_INSIDE:
        iso_str_append(&out, "The best activation rate is ");
        append_rate(&out, optimum->at);
        iso_str_append(&out, ", between ");
        append_rate(&out, optimum->low);
        iso_str_append(&out, " and ");
        append_rate(&out, optimum->high);
        iso_str_append(&out, " (" LEVEL_95 "; ");
        break;
    case ISO_OPTIMUM_AT_OR_BELOW:
        iso_str_append(&out, "The best activation rate is at or below ");
        append_rate(&out, optimum->high);
        iso_str_append(&out, "; the scan doesn't bound it from below (" LEVEL_95 "; ");
        break;
    case ISO_OPTIMUM_AT_OR_ABOVE:
        iso_str_append(&out, "The best activation rate is at or above ");
        append_rate(&out, optimum->low);
        iso_str_append(&out, "; the scan doesn't bound it from above (" LEVEL_95 "; ");
        break;
    case ISO_OPTIMUM_UNRESOLVED:
        iso_str_append(&out, "Not resolved at this size: the scan doesn't say which activation "
                             "rate is best (" LEVEL_95 "; ");
        break;
    }
    append_scan(&out, curve);
    iso_str_append(&out, ").");
    return out.data;
}

char *iso_optimum_say_gap(const iso_scan_curve *curve, const iso_optimum *optimum) {
    iso_str out = {0};
    bool resolved = optimum->gap_outcome != ISO_GAP_UNRESOLVED, ahead = optimum->gap >= 0.0;
    iso_str_append(&out, resolved ? "At " : "Not resolved at this size: at ");
    append_rate(&out, optimum->at);
    iso_str_append(&out, " activation, where the fitted curve is lowest, ");
    if (resolved) {
        iso_str_append(&out, ahead ? "the MoE is better than dense by "
                                   : "dense is better than the MoE by ");
        append_size(&out, fabs(optimum->gap), optimum->gap_half);
        iso_str_append(&out, " " UNIT);
    } else {
        iso_str_append(&out, "the MoE scores ");
        append_fixed(&out, fabs(optimum->gap), iso_number_decimals(optimum->gap_half));
        iso_str_appendf(&out, " " UNIT " %s than dense, within the noise of " PLUS_MINUS,
                        ahead ? "lower (better)" : "higher (worse)");
        append_fixed(&out, optimum->gap_half, iso_number_decimals(optimum->gap_half));
    }
    iso_str_append(&out, " (" LEVEL_95 " for all rates of the scan at once; standard errors: "
                         "training ");
    append_short(&out, optimum->gap_training);
    iso_str_append(&out, ", evaluation ");
    append_short(&out, optimum->gap_evaluation);
    iso_str_append(&out, ", the curve's shape ");
    /* Through three points the curve has no room: what rounding leaves is none. */
    append_short(&out, optimum->gap_shape > 1e-9 ? optimum->gap_shape : 0.0);
    iso_str_append(&out, "; ");
    append_scan(&out, curve);
    iso_str_append(&out, ").");
    return out.data;
}

static void append_crossing(iso_str *out, const iso_scan_curve *curve, const iso_crossing *crossing,
                            bool is_low) {
    switch (crossing->kind) {
    case ISO_CROSSING_BETWEEN:
        append_rate(out, crossing->at);
        iso_str_append(out, " (");
        append_rate(out, fmin(crossing->inner, crossing->outer));
        iso_str_append(out, " to ");
        append_rate(out, fmax(crossing->inner, crossing->outer));
        iso_str_append(out, ")");
        break;
    case ISO_CROSSING_OPEN:
        append_rate(out, crossing->inner);
        iso_str_append(out, is_low ? " or less" : " or more");
        break;
    default:
        append_rate(out, is_low ? curve->low : curve->high);
        iso_str_append(out, is_low ? ", where the scan begins," : ", where it ends");
        break;
    }
}

char *iso_region_say(const iso_scan_curve *curve, const iso_region *region) {
    iso_str out = {0};
    if (region->low.kind == ISO_CROSSING_NONE) {
        iso_str_append(&out, "Not resolved at this size: at no activation rate of the scan is the "
                             "MoE better than dense beyond noise");
    } else {
        iso_str_append(&out, "The MoE is better than dense at activation rates from ");
        append_crossing(&out, curve, &region->low, true);
        iso_str_append(&out, " to ");
        append_crossing(&out, curve, &region->high, false);
    }
    if (region->worse_somewhere) iso_str_append(&out, ", and at other rates worse, beyond noise");
    iso_str_append(&out, " (" LEVEL_95 " for each end; ");
    append_scan(&out, curve);
    iso_str_append(&out, ").");
    return out.data;
}

/* --- controls --- */

char *iso_handicap_say(const iso_handicap *handicap, const char *side) {
    char used[ISO_NUMBER_BYTES], best[ISO_NUMBER_BYTES];
    iso_str out = {0};
    iso_number_short(used, exp(handicap->used), 3);
    iso_number_short(best, exp(handicap->optimum.at), 3);
    if (handicap->at_least && !handicap->resolved)
        return iso_strf("What %s loses by its learning rate of %s is not known: its sweep doesn't "
                        "bound the best rate on both sides (within the sweep it is %s).",
                        side, used, best);
    iso_str_appendf(&out, "At its learning rate of %s, %s scores ", used, side);
    append_size(&out, handicap->value, handicap->half);
    iso_str_appendf(&out, " " UNIT " above the best of its sweep, at %s (" LEVEL_95_F "); %s", best,
                    handicap->resolved ? "that is more than noise" : "that is within noise");
    if (handicap->at_least)
        iso_str_append(&out, ". The sweep doesn't bound the best rate on both sides: there may be "
                             "more to lose");
    iso_str_append(&out, ".");
    return out.data;
}

char *iso_handicap_say_difference(const iso_handicap_difference *difference, const char *first,
                                  const char *second) {
    iso_str out = {0};
    bool second_favoured =
        difference->known ? difference->value > 0.0 : difference->high == INFINITY;
    const char *better = second_favoured ? second : first,
               *worse = second_favoured ? first : second;
    if (!difference->resolved && !difference->known)
        return iso_strf("Whether learning rates favour %s or %s is not known.", first, second);
    iso_str_appendf(&out, "Learning rates favour %s over %s by ", better, worse);
    if (!difference->known) {
        iso_str_append(&out, "at least ");
        append_short(&out, second_favoured ? difference->low : -difference->high);
        iso_str_append(&out, " " UNIT " (" LEVEL_95 "): that much of their gap is owed to the "
                             "rates, and perhaps more.");
        return out.data;
    }
    append_size(&out, fabs(difference->value), difference->half);
    iso_str_appendf(&out, " " UNIT " (" LEVEL_95_F "): %s.",
                    difference->resolved ? "that much of their gap is owed to the rates"
                                         : "within noise, neither is handicapped");
    return out.data;
}

char *iso_seed_control_say(const iso_seed_control *control) {
    char low[ISO_NUMBER_BYTES], high[ISO_NUMBER_BYTES];
    iso_str out = {0};
    iso_str_appendf(&out,
                    "A/A control: of %lld %s of one configuration with itself (%lld seeds "
                    "a side), %lld called it different (%s to %s, " LEVEL_95_F "; 5\xc2\xa0%% are "
                    "expected). Two such sides must differ by ",
                    (long long)control->n_pairs,
                    control->n_pairs == 1 ? "comparison" : "comparisons",
                    (long long)control->n_seeds, (long long)control->n_alarms,
                    iso_number_percent(low, control->rate_low, 0),
                    iso_number_percent(high, control->rate_high, 0));
    append_short(&out, control->half);
    iso_str_append(&out, " " UNIT " to count as different; seed noise ");
    append_short(&out, control->seed_sd);
    iso_str_append(&out, " (");
    append_short(&out, control->seed_sd_low);
    iso_str_append(&out, " to ");
    append_short(&out, control->seed_sd_high);
    iso_str_appendf(&out, ", %lld runs).", (long long)control->n_runs);
    return out.data;
}

char *iso_power_say(const iso_power_design *design, double expected) {
    iso_str out = {0};
    double least = iso_power_detectable(design, POWER);
    iso_str_appendf(&out, "With %lld configurations of %lld %s, seed noise ",
                    (long long)design->n_configurations, (long long)design->n_seeds,
                    design->n_seeds == 1 ? "seed" : "seeds");
    append_short(&out, design->seed_sd);
    iso_str_append(&out, " and evaluation noise ");
    append_short(&out, design->evaluation_se);
    if (isnan(least)) {
        iso_str_append(&out, ", no gap can be told from chance: give at least one configuration a "
                             "second seed.");
        return out.data;
    }
    iso_str_append(&out, ", the smallest gap that is found with a probability of 80\xc2\xa0% is ");
    append_short(&out, least);
    iso_str_append(&out, " " UNIT);
    if (expected >= least) {
        iso_str_append(&out, "; one of ");
        append_short(&out, expected);
        iso_str_append(&out, " is expected");
    } else if (expected > 0.0) {
        int64_t seeds = iso_power_seeds(design, expected, POWER);
        iso_str_append(&out, "; one of ");
        append_short(&out, expected);
        iso_str_append(&out, " is expected, which cannot be resolved so: ");
        if (seeds > 0)
            iso_str_appendf(&out, "it takes %lld seeds of each", (long long)seeds);
        else
            iso_str_append(&out, "the evaluation's noise alone hides it, more text is needed");
    }
    iso_str_append(&out, ".");
    return out.data;
}

static void append_share(iso_str *out, int64_t k, int64_t n) {
    char number[ISO_NUMBER_BYTES];
    iso_str_append(out, iso_number_percent(number, (double)k / (double)n, 0));
}

char *iso_planted_say(const iso_planted *planted, const iso_planted_result *result) {
    iso_str out = {0};
    iso_str_appendf(&out, "Of %lld planted scans of %lld rates with %lld seeds, best at ",
                    (long long)result->draws, (long long)planted->n_points,
                    (long long)planted->n_seeds);
    append_rate(&out, planted->optimum);
    iso_str_append(&out, ", ");
    append_share(&out, result->outcomes[ISO_OPTIMUM_INSIDE], result->draws);
    iso_str_append(&out, " bound the best rate on both sides");
    if (!isnan(result->width)) {
        iso_str_append(&out, " (half of them to less than a factor of ");
        append_fixed(&out, exp(result->width), 2);
        iso_str_append(&out, ")");
    }
    iso_str_append(&out, ", ");
    append_share(
        &out, result->outcomes[ISO_OPTIMUM_AT_OR_BELOW] + result->outcomes[ISO_OPTIMUM_AT_OR_ABOVE],
        result->draws);
    iso_str_append(&out, " on one, and ");
    append_share(&out, result->better, result->draws);
    iso_str_append(&out, " find the MoE's lead of ");
    append_short(&out, planted->gap);
    iso_str_append(&out, " " UNIT " over dense there.");
    return out.data;
}

/* --- tokens --- */

static void append_change(iso_str *out, const iso_token_change *change) {
    int decimals = iso_number_decimals(0.5 * (change->high - change->low));
    append_fixed(out, change->value, decimals);
    iso_str_append(out, " (");
    append_fixed(out, change->low, decimals);
    iso_str_append(out, " to ");
    append_fixed(out, change->high, decimals);
    iso_str_append(out, ")");
}

char *iso_token_law_say(const iso_token_law *law) {
    char low[ISO_NUMBER_BYTES], high[ISO_NUMBER_BYTES];
    iso_str out = {0};
    iso_token_change next = iso_token_law_fall(law, law->high, 2.0 * law->high);
    iso_str_appendf(&out, "From %s to %s tokens the loss above its offset falls as D^-",
                    iso_number_count(low, law->low), iso_number_count(high, law->high));
    append_fixed(&out, law->exponent, 2);
    iso_str_append(&out, " (exponent ");
    if (law->low_open && law->high_open) {
        iso_str_append(&out, "unbounded by these points");
    } else if (law->low_open) {
        append_fixed(&out, law->exponent_high, 2);
        iso_str_append(&out, " or less");
    } else if (law->high_open) {
        append_fixed(&out, law->exponent_low, 2);
        iso_str_append(&out, " or more");
    } else {
        append_fixed(&out, law->exponent_low, 2);
        iso_str_append(&out, " to ");
        append_fixed(&out, law->exponent_high, 2);
    }
    iso_str_append(&out, "); twice the most tokens would be worth ");
    append_change(&out, &next);
    iso_str_appendf(&out, " " UNIT " (" LEVEL_95_F "; %lld values of D, %lld runs, seed noise ",
                    (long long)law->n_points, (long long)law->n_seeds);
    append_short(&out, law->seed_sd);
    iso_str_appendf(&out, " on %g degrees of freedom).", law->seed_dof);
    return out.data;
}

char *iso_reuse_say(const iso_reuse *reuse) {
    char epochs[ISO_NUMBER_BYTES];
    iso_str out = {0};
    iso_str_appendf(&out, "%s epochs of the same text cost ",
                    iso_number_short(epochs, reuse->epochs, 3));
    if (isnan(reuse->half))
        append_fixed(&out, reuse->penalty, 4);
    else
        append_size(&out, reuse->penalty, reuse->half);
    iso_str_append(&out, " " UNIT " against unique text (" LEVEL_95 "; ");
    iso_str_append(&out, isnan(reuse->half) ? "seed noise unknown"
                         : reuse->resolved  ? "more than noise"
                                            : "within noise");
    iso_str_append(&out, ")");
    if (!isnan(reuse->expected.value)) {
        iso_str_append(&out, "; Muennighoff's law expects ");
        if (isnan(reuse->expected.low))
            append_fixed(&out, reuse->expected.value, 4);
        else
            append_change(&out, &reuse->expected);
        if (iso_reuse_is_judged(reuse))
            iso_str_append(&out,
                           reuse->differs ? ", which differs" : ", which agrees within noise");
    }
    iso_str_append(&out, ".");
    return out.data;
}
