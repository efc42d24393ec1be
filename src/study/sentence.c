/* The answer in words. One place for all of them, so that the page and the terminal agree. */
#include "base/number.h"
#include "study/answer.h"

#include <math.h>
#include <stdlib.h>

#define PLUS_MINUS "\xc2\xb1"

/* "At equal N (452k parameters), C (1.31e13 FLOPs) and data (4.50M unique tokens)", by what the
 * audit found. */
static void append_premise(iso_str *out, const iso_answer *answer) {
    char params[ISO_NUMBER_BYTES], flops[ISO_NUMBER_BYTES], tokens[ISO_NUMBER_BYTES];
    const iso_side_run *run = answer->dense->runs[0];
    iso_number_count(params, iso_side_run_number(run, "params_nonvocab"));
    iso_number_power(flops, iso_side_run_number(run, "train_flops"));
    iso_number_count(tokens, iso_side_run_number(run, "unique_tokens"));
    iso_str_appendf(out, "t equal N (%s parameters), C (%s FLOPs) and ", params, flops);
    switch (answer->sides->audit->verdict) {
    case ISO_VERDICT_LOOSE:
        iso_str_append(out, "corpus (loose: each side's unique tokens are half of its own D)");
        break;
    case ISO_VERDICT_UNIQUE_DATA:
        iso_str_append(out, "corpus (unique data: at most one epoch each)");
        break;
    default:
        iso_str_appendf(out, "data (%s unique tokens)", tokens);
        break;
    }
}

static void append_noise(iso_str *out, const iso_gap *gap, const iso_pooled *noise, int decimals) {
    char number[ISO_NUMBER_BYTES];
    if (isnan(gap->training_half))
        iso_str_append(out, "training noise unknown");
    else
        iso_str_appendf(out, "training noise " PLUS_MINUS "%s from %lld seeds of %lld %s",
                        iso_number_fixed(number, gap->training_half, decimals),
                        (long long)(noise->n_groups + (int64_t)noise->dof),
                        (long long)noise->n_groups,
                        noise->n_groups == 1 ? "configuration" : "configurations");
    if (isnan(gap->evaluation_half))
        iso_str_append(out, "; evaluation noise unknown");
    else
        iso_str_appendf(out, "; evaluation noise " PLUS_MINUS "%s",
                        iso_number_fixed(number, gap->evaluation_half, decimals));
}

/* Digits that suit the gap's noise; where that is unknown, the part of it that is known. */
static int gap_decimals(const iso_gap *gap) {
    if (!isnan(gap->half)) return iso_number_decimals(gap->half);
    return iso_number_decimals(isnan(gap->training_half) ? gap->evaluation_half
                                                         : gap->training_half);
}

/* The first things that keep the runs from being equal. */
static void append_differences(iso_str *out, const iso_audit *audit) {
    const iso_audit_side *reference = &audit->sides[audit->i_reference];
    int64_t n_found = 0;
    for (int64_t i = 0; i < audit->n_sides; i++)
        for (int q = 0; q < ISO_N_QUANTITIES; q++) {
            const iso_audit_side *side = &audit->sides[i];
            const iso_audit_check *check = &side->checks[q];
            /* The ways to share data are alternatives: the strict one speaks for them. */
            if (check->is_met || q > ISO_QUANTITY_SUBSET || side->verdict != ISO_VERDICT_NOT_EQUAL)
                continue;
            if (++n_found > 2) continue;
            if (n_found > 1) iso_str_append(out, "; ");
            if (q == ISO_QUANTITY_SOUND) {
                iso_str_appendf(out, "%s: %s", side->run->name, check->value);
                continue;
            }
            iso_str_appendf(out, "%s and %s differ in %s: %s against %s", side->run->name,
                            reference->run->name, iso_quantity_name((iso_quantity)q), check->value,
                            check->reference);
            if (q == ISO_QUANTITY_PARAMS || q == ISO_QUANTITY_COMPUTE)
                iso_str_appendf(out, " (%s, tolerance %s)", check->difference, check->tolerance);
        }
    if (n_found == 0)
        iso_str_append(out, "each is equal to the reference in its own way, but not all in one");
    if (n_found > 2)
        iso_str_appendf(out, "; and %lld more %s", (long long)(n_found - 2),
                        n_found == 3 ? "difference" : "differences");
}

static void append_no_comparison(iso_str *out, const iso_answer *answer) {
    iso_str_append(out, "No comparison: ");
    if (!answer->dense && !answer->moe) {
        iso_str_append(out, answer->sides->n_runs == 1 ? "the run given has not finished."
                                                       : "none of the runs given has finished.");
    } else if (!answer->dense) {
        iso_str_append(out, "there is no finished dense run among these.");
    } else if (!answer->moe) {
        iso_str_append(out, "there is no finished MoE run among these.");
    } else {
        iso_str_append(out, "the runs are not equal. ");
        append_differences(out, answer->sides->audit);
        iso_str_append(out, ".");
    }
}

static void append_unresolved(iso_str *out, const iso_answer *answer) {
    char rate[ISO_NUMBER_BYTES], size[ISO_NUMBER_BYTES], half[ISO_NUMBER_BYTES];
    const iso_gap *gap = &answer->gap;
    int decimals = gap_decimals(gap);
    iso_str_append(out, "Not resolved at this size: ");
    iso_str_append(out, "a");
    append_premise(out, answer);
    iso_str_appendf(out, ", the MoE at %s activation scores %s bits per character %s than dense",
                    iso_number_percent(rate, answer->moe->activation_rate, 0),
                    iso_number_fixed(size, fabs(gap->bpc), decimals),
                    gap->bpc >= 0.0 ? "lower (better)" : "higher (worse)");
    if (!isnan(gap->half))
        iso_str_appendf(out, ", within the noise of " PLUS_MINUS "%s (95\xc2\xa0%%; ",
                        iso_number_fixed(half, gap->half, decimals));
    else if (isnan(gap->training_half))
        iso_str_append(out, ", but no configuration was trained with two seeds, so nothing says "
                            "how much of that is chance (");
    else
        iso_str_append(out, ", but the final evaluations cannot be paired window by window, so "
                            "nothing says how much of that is the sample of text (");
    append_noise(out, gap, &answer->noise, decimals);
    iso_str_append(out, ").");
}

char *iso_answer_sentence(const iso_answer *answer) {
    iso_str out = {0};
    if (answer->outcome == ISO_OUTCOME_NO_COMPARISON) {
        append_no_comparison(&out, answer);
    } else if (answer->outcome == ISO_OUTCOME_NOT_RESOLVED) {
        append_unresolved(&out, answer);
    } else {
        char rate[ISO_NUMBER_BYTES], size[ISO_NUMBER_BYTES], half[ISO_NUMBER_BYTES];
        const iso_gap *gap = &answer->gap;
        int decimals = gap_decimals(gap);
        bool moe_wins = answer->outcome == ISO_OUTCOME_MOE_BETTER;
        iso_number_percent(rate, answer->moe->activation_rate, 0);
        iso_str_append(&out, "A");
        append_premise(&out, answer);
        iso_str_appendf(&out,
                        moe_wins ? ", the MoE at %s activation is better than dense"
                                 : ", dense is better than the MoE at %s activation",
                        rate);
        iso_str_appendf(&out, " by %s " PLUS_MINUS " %s bits per character (95\xc2\xa0%%; ",
                        iso_number_fixed(size, fabs(gap->bpc), decimals),
                        iso_number_fixed(half, gap->half, decimals));
        append_noise(&out, gap, &answer->noise, decimals);
        iso_str_append(&out, ").");
    }
    return out.data;
}

char *iso_answer_against_paper(const iso_answer *answer) {
    if (answer->outcome == ISO_OUTCOME_NO_COMPARISON) return calloc(1, 1);
    static const char claim[] = "The paper, at 2 to 7 billion parameters, has the MoE ahead from "
                                "about 15\xc2\xa0% to 48\xc2\xa0% activation and best near "
                                "20\xc2\xa0%";
    double rate = answer->moe->activation_rate;
    if (answer->outcome == ISO_OUTCOME_NOT_RESOLVED)
        return iso_strf("%s; this comparison neither confirms nor contradicts that.", claim);
    if (rate < ISO_PAPER_RATE_LOW || rate > ISO_PAPER_RATE_HIGH)
        return iso_strf("%s; the rate compared here lies outside that range.", claim);
    if (answer->outcome == ISO_OUTCOME_MOE_BETTER)
        return iso_strf("%s; the direction here is the same.", claim);
    return iso_strf("This outcome differs from the paper's. %s; here dense is ahead.", claim);
}

static void append_gap(iso_str *out, const iso_gap *gap) {
    char size[ISO_NUMBER_BYTES], half[ISO_NUMBER_BYTES];
    int decimals = gap_decimals(gap);
    iso_str_append(out, iso_number_fixed(size, fabs(gap->bpc), decimals));
    if (!isnan(gap->half))
        iso_str_appendf(out, " " PLUS_MINUS " %s", iso_number_fixed(half, gap->half, decimals));
}

char *iso_answer_other_rates(const iso_answer *answer) {
    if (answer->outcome == ISO_OUTCOME_NO_COMPARISON || answer->n_moe < 2) return calloc(1, 1);
    char rate[ISO_NUMBER_BYTES], headline[ISO_NUMBER_BYTES];
    iso_number_percent(rate, answer->best->activation_rate, 0);
    iso_number_percent(headline, answer->moe->activation_rate, 0);
    iso_str out = {0};
    iso_str_appendf(&out,
                    "Of the %lld MoEs trained, the lowest BPC is at %s activation (%s than "
                    "dense by ",
                    (long long)answer->n_moe, rate,
                    answer->best_gap.bpc >= 0.0 ? "lower" : "higher");
    append_gap(&out, &answer->best_gap);
    iso_str_append(&out, ")");
    if (answer->best != answer->moe) {
        iso_str_appendf(&out, ", below the %s one by ", headline);
        append_gap(&out, &answer->best_over_moe);
        iso_str_append(&out, answer->best_over_moe.resolved ? ": not where the paper has its best"
                                                            : ", which is not more than noise");
    }
    iso_str_appendf(&out,
                    ". Only the test at %s was fixed in advance: the best of several is picked by "
                    "its luck, too, and the intervals are 95\xc2\xa0%% each.",
                    headline);
    return out.data;
}
