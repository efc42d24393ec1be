/* The words that belong beside every prediction. */
#include "study/gap_fit.h"

#include <inttypes.h>
#include <math.h>

static void append_error(iso_str *out, const char *text, double value) {
    if (isnan(value))
        iso_str_appendf(out, "%s unknown", text);
    else
        iso_str_appendf(out, "%s %.4f", text, value);
}

static void say_errors(iso_str *out, const iso_gap_fit *fit) {
    append_error(out, "RMS error of BPC: left-out run", fit->all.bpc_loo);
    append_error(out, ", left-out scale", fit->all.bpc_scale);
    append_error(out, "; of the gap: left-out pair", fit->all.gap_loo);
    append_error(out, ", left-out scale", fit->all.gap_scale);
    iso_str_append(out, ".\n");
}

static void say_missing(iso_str *out, const iso_gap_fit *fit) {
    if (!(fit->form.terms & 1u << ISO_GAP_PARAMS))
        iso_str_append(out, "These runs have one N: nothing is known about another.\n");
    if (!(fit->form.terms & 1u << ISO_GAP_TOKENS))
        iso_str_append(out, "No model of these runs was trained on two D: the law holds for their "
                            "budget only.\n");
    if (!(fit->form.terms & 1u << ISO_GAP_DENSE_PARAMS) && fit->n_scales > 1)
        iso_str_append(out, "The dense side's own change with N is not known and taken as none.\n");
    if (!fit->form.fit_exponent)
        iso_str_appendf(out, "The exponent of r_a is not fitted but given: %.2f.\n",
                        fit->form.rate_exponent);
}

void iso_gap_law_say(iso_str *out, const iso_gap_law *law) {
    const iso_gap_fit *fit = &law->fit;
    iso_str_appendf(out,
                    "Gap law of %d parameters, fitted to %" PRId64 " configurations (%" PRId64
                    " runs) of %" PRId64 " N and %" PRId64 " activation rates.\n",
                    (int)fit->n_parameters, fit->n_configurations, fit->n_rows, fit->n_scales,
                    fit->n_rates);
    say_errors(out, fit);
    say_missing(out, fit);
    iso_str_append(out,
                   "Levels of BPC depend on the corpus and its tokenizer: only the gap and the "
                   "order of activation rates carry over to another, and roughly.\n");
}
