#include "report/study_words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DECIMALS 8

const char *iso_outcome_words(iso_verdict_outcome outcome) {
    switch (outcome) {
    case ISO_VERDICT_RESOLVED:
        return "resolved";
    case ISO_VERDICT_REFUSED:
        return "refused";
    case ISO_VERDICT_UNRESOLVED:
        break;
    }
    return "not resolved";
}

const char *iso_outcome_class(iso_verdict_outcome outcome) {
    switch (outcome) {
    case ISO_VERDICT_RESOLVED:
        return "moe";
    case ISO_VERDICT_REFUSED:
        return "none";
    case ISO_VERDICT_UNRESOLVED:
        break;
    }
    return "open";
}

/* Decimals that show `size` with `digits` significant digits. */
static int decimals_of(double size, int digits) {
    if (!(size > 0.0) || !isfinite(size)) return 0;
    int decimals = digits - 1 - (int)floor(log10(size) + 1e-9);
    return decimals < 0 ? 0 : decimals > MAX_DECIMALS ? MAX_DECIMALS : decimals;
}

/* Of the half-width, as sentences have it: 0.128 with 0.084 on both sides. */
static int value_decimals(double value, double low, double high, double scale) {
    double half = isfinite(low) && isfinite(high) ? 0.5 * (high - low)
                  : isfinite(low)                 ? fabs(value - low)
                                                  : fabs(high - value);
    if (half > 0.0 && isfinite(half)) return decimals_of(scale * half, 2);
    double largest = isfinite(value) ? fabs(value) : fabs(isfinite(low) ? low : high);
    return decimals_of(scale * largest, scale * largest < 10.0 ? 4 : 3);
}

char *iso_finding_value(char *buffer, double value, double low, double high, bool is_percent) {
    if (is_percent) {
        int decimals = value_decimals(value, low, high, 100.0);
        bool is_wide = high - low > 0.04; /* four percent: nobody asks for tenths */
        return iso_number_percent(buffer, value, is_wide ? 0 : decimals < 2 ? decimals : 2);
    }
    double size = fabs(value);
    if (size >= 1e5) return iso_number_power(buffer, value);
    if (size > 0.0 && size < 1e-3 && !(high - low > 0.0)) {
        char power[ISO_NUMBER_BYTES], factor[ISO_NUMBER_BYTES];
        int exponent = (int)floor(log10(size) + 1e-9);
        iso_number_short(factor, value / pow(10.0, exponent), 3);
        snprintf(buffer, ISO_NUMBER_BYTES, "%.20s\xc2\xb7%.40s", factor,
                 iso_number_power_of_ten(power, exponent));
        return buffer;
    }
    return iso_number_fixed(buffer, value, value_decimals(value, low, high, 1.0));
}

void iso_finding_interval(iso_str *out, double value, double low, double high, bool is_percent) {
    char number[ISO_NUMBER_BYTES];
    bool has_low = isfinite(low), has_high = isfinite(high);
    double known = isfinite(value) ? value : has_low ? low : high;
    /* The digits of both ends are those of the interval between them. */
    if (has_low)
        iso_str_append(out,
                       iso_finding_value(number, low, low, has_high ? high : known, is_percent));
    if (has_low && has_high) iso_str_append(out, " to ");
    if (has_high)
        iso_str_append(out,
                       iso_finding_value(number, high, has_low ? low : known, high, is_percent));
    if (has_low != has_high) iso_str_append(out, has_low ? " or more" : " or less");
}

void iso_finding_count(iso_str *out, int64_t n, const char *singular) {
    if (n > 0) iso_str_appendf(out, "%lld %s%s", (long long)n, singular, n == 1 ? "" : "s");
}

bool iso_verdict_is_percent(const iso_finding_verdict *verdict) {
    return verdict->unit && (strcmp(verdict->unit, "activation rate") == 0 ||
                             strncmp(verdict->unit, "share ", 6) == 0);
}

/* Appends a separator where something stands already. */
static void separate(iso_str *out, const char *separator) {
    if (out->len) iso_str_append(out, separator);
}

char *iso_verdict_numbers(const iso_finding_verdict *verdict) {
    iso_str out = {0};
    char value[ISO_NUMBER_BYTES];
    double low = verdict->low, high = verdict->high;
    bool is_percent = iso_verdict_is_percent(verdict);
    const char *unit = verdict->unit ? verdict->unit : "";
    iso_str_append(&out, "");
    if (isfinite(verdict->value))
        iso_str_appendf(&out, "%s%s%s",
                        iso_finding_value(value, verdict->value, low, high, is_percent),
                        *unit ? " " : "", unit);
    if (isfinite(low) || isfinite(high)) {
        if (!out.len && *unit) iso_str_append(&out, unit);
        separate(&out, ", ");
        iso_str_append(&out, "95\xc2\xa0% interval ");
        iso_finding_interval(&out, verdict->value, low, high, is_percent);
    } else if (isfinite(verdict->value)) {
        iso_str_append(&out, ", no interval");
    }
    if (verdict->n_seeds > 0) {
        separate(&out, "; ");
        iso_finding_count(&out, verdict->n_seeds, "seed");
    }
    if (verdict->n_runs > 0) {
        separate(&out, verdict->n_seeds > 0 ? ", " : "; ");
        iso_finding_count(&out, verdict->n_runs, "run");
    }
    return out.data;
}

char *iso_findings_progress(const iso_findings *findings) {
    if (findings->n_runs == 0) return iso_strf("%s, no run yet", findings->kind);
    if (findings->n_finished == findings->n_runs)
        return iso_strf(findings->n_runs == 1 ? "%s, its one run finished"
                                              : "%s, all %lld runs finished",
                        findings->kind, (long long)findings->n_runs);
    return iso_strf("%s, %lld of %lld runs finished", findings->kind,
                    (long long)findings->n_finished, (long long)findings->n_runs);
}

bool iso_findings_are_refused(const iso_findings *findings) {
    for (int64_t i = 0; i < findings->n_verdicts; i++)
        if (findings->verdicts[i].outcome == ISO_VERDICT_REFUSED) return true;
    return false;
}
