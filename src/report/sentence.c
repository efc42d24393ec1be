/* The verdict in words. One place for all of them, so that the page and the terminal agree. */
#include "report/markup.h"
#include "report/verdict.h"

#include <math.h>
#include <stdlib.h>

#define PLUS_MINUS "\xc2\xb1"

/* "At equal N (452k parameters), C (1.31e13 training FLOPs) and data (4.50M unique tokens)", by what
 * the audit found. */
static void append_premise(iso_str *out, const iso_verdict *verdict, bool starts_sentence) {
    char params[ISO_NUMBER_BYTES], flops[ISO_NUMBER_BYTES], tokens[ISO_NUMBER_BYTES];
    const iso_side_run *run = verdict->dense->runs[0];
    iso_number_count(params, iso_side_run_number(run, "params_nonvocab"));
    iso_number_power(flops, iso_side_run_number(run, "train_flops"));
    iso_number_count(tokens, iso_side_run_number(run, "unique_tokens"));
    const char *at = starts_sentence ? "At" : "at";
    if (verdict->equality.kind == ISO_EQUALITY_UNKNOWN) {
        iso_str_appendf(out, "%s sizes not audited (dense: N %s, C %s FLOPs, %s unique tokens)", at,
                        params, flops, tokens);
        return;
    }
    iso_str_appendf(out, "%s equal N (%s parameters), C (%s FLOPs) and ", at, params, flops);
    if (verdict->equality.kind == ISO_EQUALITY_STRICT)
        iso_str_appendf(out, "data (%s unique tokens)", tokens);
    else if (verdict->equality.kind == ISO_EQUALITY_LOOSE)
        iso_str_append(out, "corpus (loose: each side has half of its own D as unique tokens)");
    else
        iso_str_append(out, "corpus (unique data: at most one epoch each)");
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

static void append_no_comparison(iso_str *out, const iso_verdict *verdict) {
    iso_str_append(out, "No comparison: ");
    if (!verdict->dense && !verdict->moe)
        iso_str_append(out, verdict->n_given == 1 ? "the run given has not finished."
                                                  : "none of the runs given has finished.");
    else if (!verdict->dense)
        iso_str_append(out, "there is no finished dense run among these.");
    else if (!verdict->moe)
        iso_str_append(out, "there is no finished MoE run among these.");
    else if (verdict->equality.reason)
        iso_str_appendf(out, "the runs are not equal: %s.", verdict->equality.reason);
    else
        iso_str_append(out, "the runs are not equal.");
}

static void append_unresolved(iso_str *out, const iso_verdict *verdict) {
    char rate[ISO_NUMBER_BYTES], size[ISO_NUMBER_BYTES], half[ISO_NUMBER_BYTES];
    const iso_gap *gap = &verdict->gap;
    int decimals = gap_decimals(gap);
    iso_str_append(out, "Not resolved at this size: ");
    append_premise(out, verdict, false);
    iso_str_appendf(out, ", the MoE at %s activation scores %s bits per character %s than dense",
                    iso_number_percent(rate, verdict->moe->activation_rate, 0),
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
    append_noise(out, gap, &verdict->noise, decimals);
    iso_str_append(out, ").");
}

char *iso_verdict_sentence(const iso_verdict *verdict) {
    iso_str out = {0};
    if (verdict->outcome == ISO_OUTCOME_NO_COMPARISON) {
        append_no_comparison(&out, verdict);
    } else if (verdict->outcome == ISO_OUTCOME_NOT_RESOLVED) {
        append_unresolved(&out, verdict);
    } else {
        char rate[ISO_NUMBER_BYTES], size[ISO_NUMBER_BYTES], half[ISO_NUMBER_BYTES];
        const iso_gap *gap = &verdict->gap;
        int decimals = gap_decimals(gap);
        bool moe_wins = verdict->outcome == ISO_OUTCOME_MOE_BETTER;
        iso_number_percent(rate, verdict->moe->activation_rate, 0);
        append_premise(&out, verdict, true);
        iso_str_appendf(&out, moe_wins ? ", the MoE at %s activation is better than dense"
                                       : ", dense is better than the MoE at %s activation",
                        rate);
        iso_str_appendf(&out, " by %s " PLUS_MINUS " %s bits per character (95\xc2\xa0%%; ",
                        iso_number_fixed(size, fabs(gap->bpc), decimals),
                        iso_number_fixed(half, gap->half, decimals));
        append_noise(&out, gap, &verdict->noise, decimals);
        iso_str_append(&out, ").");
    }
    return out.data;
}

char *iso_verdict_against_paper(const iso_verdict *verdict) {
    if (verdict->outcome == ISO_OUTCOME_NO_COMPARISON) return calloc(1, 1);
    static const char claim[] = "The paper, at 2 to 7 billion parameters, has the MoE ahead from "
                                "about 15\xc2\xa0% to 48\xc2\xa0% activation and best near "
                                "20\xc2\xa0%";
    double rate = verdict->moe->activation_rate;
    if (verdict->outcome == ISO_OUTCOME_NOT_RESOLVED)
        return iso_strf("%s; this comparison neither confirms nor contradicts that.", claim);
    if (rate < ISO_PAPER_RATE_LOW || rate > ISO_PAPER_RATE_HIGH)
        return iso_strf("%s; the rate compared here lies outside that range.", claim);
    if (verdict->outcome == ISO_OUTCOME_MOE_BETTER)
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

char *iso_verdict_other_rates(const iso_verdict *verdict) {
    if (verdict->outcome == ISO_OUTCOME_NO_COMPARISON || verdict->n_moe < 2) return calloc(1, 1);
    char rate[ISO_NUMBER_BYTES], headline[ISO_NUMBER_BYTES];
    iso_number_percent(rate, verdict->best->activation_rate, 0);
    iso_number_percent(headline, verdict->moe->activation_rate, 0);
    iso_str out = {0};
    iso_str_appendf(&out, "Of the %lld MoEs trained, the lowest BPC is at %s activation (%s than "
                          "dense by ",
                    (long long)verdict->n_moe, rate,
                    verdict->best_gap.bpc >= 0.0 ? "lower" : "higher");
    append_gap(&out, &verdict->best_gap);
    iso_str_append(&out, ")");
    if (verdict->best != verdict->moe) {
        iso_str_appendf(&out, ", below the %s one by ", headline);
        append_gap(&out, &verdict->best_over_moe);
        iso_str_append(&out, verdict->best_over_moe.resolved
                                 ? ": not where the paper has its best"
                                 : ", which is not more than noise");
    }
    iso_str_appendf(&out,
                    ". Only the test at %s was fixed in advance: the best of several is picked by "
                    "its luck, too, and the intervals are 95\xc2\xa0%% each.",
                    headline);
    return out.data;
}
