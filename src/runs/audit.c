/* The audit's arithmetic. Every check of every side is made and kept, met or not: the table shows
 * them all. A verdict is a set of quantities that must be met; the strictest whose set every side
 * meets is the answer. Sides are compared with the reference only: a chain of small differences
 * cannot hide a large one from the run that the others are measured against.
 */
#include "runs/audit.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEPLAW_RATIO_WARNING 1.5
#define HASH_SHOWN_CHARS      12

typedef unsigned __int128 u128;

#define BIT(quantity) (1u << ISO_QUANTITY_##quantity)
#define COMMON                                                                                     \
    (BIT(SOUND) | BIT(PARAMS) | BIT(COMPUTE) | BIT(TOKENIZER) | BIT(VALIDATION) | BIT(GROUP) |     \
     BIT(PROFILE))

/* What each verdict asks for, from the strictest down. */
static const unsigned demands[ISO_VERDICT_NOT_EQUAL] = {
    [ISO_VERDICT_STRICT] = COMMON | BIT(SUBSET),
    [ISO_VERDICT_LOOSE] = COMMON | BIT(CORPUS) | BIT(HALF),
    [ISO_VERDICT_UNIQUE_DATA] = COMMON | BIT(CORPUS) | BIT(ONE_EPOCH),
};

const char *iso_verdict_name(iso_verdict verdict) {
    static const char *const names[] = {"strict", "loose", "unique-data", "not equal"};
    return names[verdict];
}

const char *iso_quantity_name(iso_quantity quantity) {
    static const char *const names[ISO_N_QUANTITIES] = {
        "sound run",        "parameters N",    "compute C",     "tokenizer", "validation sample",
        "balance group",    "numeric profile", "unique subset", "corpus",    "D-hat = D/2",
        "one epoch at most"};
    return names[quantity];
}

iso_audit_options iso_audit_options_default(void) {
    return (iso_audit_options){.params_tolerance_frac = 0.005, .compute_tolerance_frac = 0.005};
}

/* --- exact comparisons --- */

static u128 distance(u128 a, u128 b) {
    return a > b ? a - b : b - a;
}

/* frac x value, rounded down to parts per billion, without leaving 128 bits. */
static u128 share_of(double frac, u128 value) {
    const u128 billion = 1000000000;
    u128 parts = (u128)llround(frac * 1e9);
    return value / billion * parts + value % billion * parts / billion;
}

static u128 max_u128(u128 a, u128 b) {
    return a > b ? a : b;
}

/* FLOPs of one optimizer step. */
static u128 step_compute(const iso_record *record, iso_convention convention) {
    return (u128)record->counts[convention].train_flops_per_token * (u128)record->batch_tokens;
}

static bool params_are_met(const iso_audit *audit, const iso_record *a, const iso_record *b,
                           iso_convention convention) {
    u128 x = (u128)a->counts[convention].params_nonvocab;
    u128 y = (u128)b->counts[convention].params_nonvocab;
    return distance(x, y) <= share_of(audit->options.params_tolerance_frac, x);
}

static bool compute_is_met(const iso_audit *audit, const iso_record *a, const iso_record *b,
                           iso_convention convention) {
    u128 x = iso_record_compute(a, convention), y = iso_record_compute(b, convention);
    u128 step = max_u128(step_compute(a, convention), step_compute(b, convention));
    u128 allowed = max_u128(share_of(audit->options.compute_tolerance_frac, x), step);
    return distance(x, y) <= allowed;
}

/* D-hat = D/2, within one step or the tolerance of C. */
static bool half_is_met(const iso_audit *audit, const iso_record *record) {
    u128 tokens = (u128)record->tokens, twice = 2 * (u128)record->unique_tokens;
    u128 allowed = max_u128(share_of(audit->options.compute_tolerance_frac, tokens),
                            (u128)record->batch_tokens);
    return distance(tokens, twice) <= allowed;
}

static double ratio_minus_one(double value, double reference) {
    return reference > 0 ? value / reference - 1 : 0;
}

/* --- the checks of one side, with their texts --- */

static void set_check(iso_audit_side *side, iso_quantity quantity, bool is_met, char *reference,
                      char *value, char *difference, char *tolerance) {
    side->checks[quantity] =
        (iso_audit_check){is_met, true, reference, value, difference, tolerance};
}

/* What one side at least does not say. */
static void set_unshown(iso_audit_side *side, iso_quantity quantity) {
    iso_audit_check *check = &side->checks[quantity];
    check->is_met = check->is_shown = false;
    free(check->difference);
    check->difference = iso_strf("not shown");
}

static char *percent(double frac) {
    return iso_strf("%+.4g %%", 100 * frac);
}

static void check_sound(iso_audit_side *side, const iso_audit_side *reference) {
    bool is_met = side->record.problems.len == 0;
    size_t n_chars = is_met ? 0 : strcspn(side->record.problems.data, "\n");
    char *first =
        is_met ? iso_strf("yes") : iso_strf("%.*s", (int)n_chars, side->record.problems.data);
    set_check(side, ISO_QUANTITY_SOUND, is_met,
              iso_strf("%s", reference->record.problems.len == 0 ? "yes" : "no"), first,
              iso_strf("%s", ""), iso_strf("none"));
    /* A table tells of contradictions in itself, not that a run finished and skipped nothing. */
    if (is_met && side->record.is_reported) set_unshown(side, ISO_QUANTITY_SOUND);
}

static void check_params(iso_audit_side *side, const iso_audit_side *reference,
                         const iso_audit *audit) {
    const iso_record *a = &reference->record, *b = &side->record;
    int64_t x = a->counts[ISO_CONVENTION_PAPER].params_nonvocab;
    int64_t y = b->counts[ISO_CONVENTION_PAPER].params_nonvocab;
    set_check(side, ISO_QUANTITY_PARAMS, params_are_met(audit, a, b, ISO_CONVENTION_PAPER),
              iso_strf("%" PRId64, x), iso_strf("%" PRId64, y),
              percent(ratio_minus_one((double)y, (double)x)),
              iso_strf("%g %%", 100 * audit->options.params_tolerance_frac));
}

static void check_compute(iso_audit_side *side, const iso_audit_side *reference,
                          const iso_audit *audit) {
    const iso_record *a = &reference->record, *b = &side->record;
    double x = (double)iso_record_compute(a, ISO_CONVENTION_PAPER);
    double y = (double)iso_record_compute(b, ISO_CONVENTION_PAPER);
    double step = (double)max_u128(step_compute(a, ISO_CONVENTION_PAPER),
                                   step_compute(b, ISO_CONVENTION_PAPER));
    set_check(side, ISO_QUANTITY_COMPUTE, compute_is_met(audit, a, b, ISO_CONVENTION_PAPER),
              iso_strf("%.6g", x), iso_strf("%.6g", y), percent(ratio_minus_one(y, x)),
              iso_strf("max(%g %%, one step = %.2g %%)",
                       100 * audit->options.compute_tolerance_frac, x > 0 ? 100 * step / x : 0));
}

static const char *or_dash(const char *text) {
    return text ? text : "-";
}

static void check_hash(iso_audit_side *side, iso_quantity quantity, const char *reference,
                       const char *value) {
    bool is_known = reference && value;
    bool is_met = is_known && strcmp(reference, value) == 0;
    set_check(side, quantity, is_met, iso_strf("%.*s", HASH_SHOWN_CHARS, or_dash(reference)),
              iso_strf("%.*s", HASH_SHOWN_CHARS, or_dash(value)),
              iso_strf("%s", is_met ? "" : "differs"), iso_strf("none"));
    if (!is_known) set_unshown(side, quantity);
}

/* Where no hash names the subset, its size may still tell that it is another one. */
static void check_subset(iso_audit_side *side, const iso_audit_side *reference,
                         const iso_audit *audit) {
    const iso_record *a = &reference->record, *b = &side->record;
    check_hash(side, ISO_QUANTITY_SUBSET, a->subset_hash, b->subset_hash);
    if (a->subset_hash && b->subset_hash) return;
    u128 x = (u128)a->unique_tokens, y = (u128)b->unique_tokens;
    u128 step = max_u128((u128)a->batch_tokens, (u128)b->batch_tokens);
    iso_audit_check *check = &side->checks[ISO_QUANTITY_SUBSET];
    free(check->reference);
    free(check->value);
    check->reference = iso_strf("%" PRId64 " tokens", a->unique_tokens);
    check->value = iso_strf("%" PRId64 " tokens", b->unique_tokens);
    if (distance(x, y) <= max_u128(share_of(audit->options.compute_tolerance_frac, x), step))
        return;
    free(check->difference);
    check->difference = percent(ratio_minus_one((double)y, (double)x));
    check->is_shown = true;
}

/* A numeric profile on one line: "cpu fp32 avx512 oneDNN 2.6.3". */
static char *profile_text(const json_t *profile) {
    iso_str text = {0};
    const char *key;
    json_t *value;
    iso_str_append(&text, profile ? "" : "-");
    json_object_foreach((json_t *)profile, key, value)
        iso_str_appendf(&text, "%s%s", text.len ? " " : "", json_string_value(value));
    return text.data;
}

static void check_profile(iso_audit_side *side, const iso_audit_side *reference) {
    const json_t *a = reference->record.numeric_profile, *b = side->record.numeric_profile;
    bool is_met = json_equal(a, b);
    set_check(side, ISO_QUANTITY_PROFILE, is_met, profile_text(a), profile_text(b),
              iso_strf("%s", is_met ? "" : "differs"), iso_strf("none"));
    if (!a || !b) set_unshown(side, ISO_QUANTITY_PROFILE);
}

static void check_group(iso_audit_side *side, const iso_audit_side *reference) {
    int64_t a = reference->record.router_aux_group, b = side->record.router_aux_group;
    set_check(side, ISO_QUANTITY_GROUP, a == b, iso_strf("%" PRId64, a), iso_strf("%" PRId64, b),
              iso_strf("%s", a == b ? "" : "differs"), iso_strf("none"));
    if (a == 0 || b == 0) set_unshown(side, ISO_QUANTITY_GROUP);
}

static char *epochs_text(const iso_record *record) {
    double unique = (double)record->unique_tokens;
    return iso_strf("%.3f epochs", unique > 0 ? (double)record->tokens / unique : 0);
}

/* These two ask something of the reference and of the side each. */
static void check_reuse(iso_audit_side *side, const iso_audit_side *reference,
                        const iso_audit *audit) {
    const iso_record *a = &reference->record, *b = &side->record;
    bool is_half = half_is_met(audit, a) && half_is_met(audit, b);
    bool is_once = a->tokens <= a->unique_tokens && b->tokens <= b->unique_tokens;
    set_check(
        side, ISO_QUANTITY_HALF, is_half, epochs_text(a), epochs_text(b),
        iso_strf("%s", is_half ? "" : "2 each needed"),
        iso_strf("2 within max(%g %%, one step)", 100 * audit->options.compute_tolerance_frac));
    set_check(side, ISO_QUANTITY_ONE_EPOCH, is_once, epochs_text(a), epochs_text(b),
              iso_strf("%s", is_once ? "" : "1 each at most"), iso_strf("none"));
}

static void check_side(iso_audit_side *side, const iso_audit_side *reference,
                       const iso_audit *audit) {
    const iso_record *a = &reference->record, *b = &side->record;
    check_sound(side, reference);
    check_params(side, reference, audit);
    check_compute(side, reference, audit);
    check_hash(side, ISO_QUANTITY_TOKENIZER, a->tokenizer_hash, b->tokenizer_hash);
    check_hash(side, ISO_QUANTITY_VALIDATION, a->validation_hash, b->validation_hash);
    check_group(side, reference);
    check_profile(side, reference);
    check_subset(side, reference, audit);
    check_hash(side, ISO_QUANTITY_CORPUS, a->data_hash, b->data_hash);
    check_reuse(side, reference, audit);
    for (int i = 0; i < ISO_N_CONVENTIONS; i++) {
        side->params_diff_frac[i] = ratio_minus_one((double)b->counts[i].params_nonvocab,
                                                    (double)a->counts[i].params_nonvocab);
        side->compute_diff_frac[i] =
            ratio_minus_one((double)iso_record_compute(b, (iso_convention)i),
                            (double)iso_record_compute(a, (iso_convention)i));
    }
}

/* --- the verdict --- */

/* The quantities that a side meets, had N and C been counted by that convention, and those that
 * nothing it shows contradicts. */
static unsigned met_by(const iso_audit *audit, const iso_audit_side *side,
                       iso_convention convention) {
    const iso_record *reference = &audit->sides[audit->i_reference].record;
    unsigned met = 0;
    for (int i = 0; i < ISO_N_QUANTITIES; i++)
        if (side->checks[i].is_met || !side->checks[i].is_shown) met |= 1u << i;
    met &= ~(BIT(PARAMS) | BIT(COMPUTE));
    if (params_are_met(audit, reference, &side->record, convention)) met |= BIT(PARAMS);
    if (compute_is_met(audit, reference, &side->record, convention)) met |= BIT(COMPUTE);
    return met;
}

static iso_verdict verdict_of(unsigned met) {
    iso_verdict verdict = ISO_VERDICT_STRICT;
    while (verdict < ISO_VERDICT_NOT_EQUAL && (demands[verdict] & ~met) != 0) verdict++;
    return verdict;
}

static bool is_contradicted(const iso_audit_check *check) {
    return check->is_shown && !check->is_met;
}

/* Read off what a run did with its data, since it does not say what it was meant for: the same
 * subset, nothing twice, everything twice, or else a subset that is repeated, but another one. */
static iso_verdict aim_of(const iso_audit *audit, const iso_audit_side *side) {
    if (!is_contradicted(&side->checks[ISO_QUANTITY_SUBSET])) return ISO_VERDICT_STRICT;
    if (side->record.tokens <= side->record.unique_tokens) return ISO_VERDICT_UNIQUE_DATA;
    return half_is_met(audit, &side->record) ? ISO_VERDICT_LOOSE : ISO_VERDICT_STRICT;
}

bool iso_audit_is_objection(const iso_audit_side *side, iso_quantity quantity) {
    return is_contradicted(&side->checks[quantity]) && (demands[side->aim] & 1u << quantity) != 0;
}

static void judge(iso_audit *audit) {
    for (int i = 0; i < ISO_N_CONVENTIONS; i++) {
        unsigned met = ~0u;
        for (int64_t j = 0; j < audit->n_sides; j++)
            met &= met_by(audit, &audit->sides[j], (iso_convention)i);
        audit->by_convention[i] = verdict_of(met);
    }
    audit->verdict = audit->by_convention[ISO_CONVENTION_PAPER];
    unsigned reference = met_by(audit, &audit->sides[audit->i_reference], ISO_CONVENTION_PAPER);
    for (int64_t j = 0; j < audit->n_sides; j++) {
        iso_audit_side *side = &audit->sides[j];
        side->verdict = verdict_of(reference & met_by(audit, side, ISO_CONVENTION_PAPER));
        side->aim = side->verdict < ISO_VERDICT_NOT_EQUAL ? side->verdict : aim_of(audit, side);
        for (int i = 0; i < ISO_N_QUANTITIES; i++)
            if (!side->checks[i].is_shown) audit->unshown |= 1u << i;
    }
    audit->unshown &= audit->verdict < ISO_VERDICT_NOT_EQUAL ? demands[audit->verdict] : COMMON;
}

/* --- notes --- */

static void note_conventions(iso_audit *audit) {
    if (!audit->is_counted)
        iso_str_append(&audit->notes, "N and M of some runs are as reported, without a shape: "
                                      "counted by which convention is not shown.\n");
    for (int i = 0; i < ISO_N_CONVENTIONS; i++)
        if (audit->by_convention[i] != audit->verdict)
            iso_str_appendf(&audit->notes,
                            "The verdict depends on the convention: by `%s` it would be "
                            "%s.\n",
                            iso_convention_name((iso_convention)i),
                            iso_verdict_name(audit->by_convention[i]));
}

/* One line for all runs that are far from the reference's `what`, of which `over` is the ratio to
 * Step Law's. */
static void note_steplaw(iso_audit *audit, const char *what, double (*over)(const iso_record *)) {
    double reference = over(&audit->sides[audit->i_reference].record), low = 0, high = 0;
    int64_t n = 0, i_last = 0;
    for (int64_t i = 0; i < audit->n_sides; i++) {
        double value = over(&audit->sides[i].record);
        double ratio = reference > 0 && value > 0 ? fmax(reference / value, value / reference) : 1;
        if (!(ratio > STEPLAW_RATIO_WARNING && isfinite(ratio))) continue;
        low = n == 0 ? value : fmin(low, value);
        high = n == 0 ? value : fmax(high, value);
        i_last = i;
        n++;
    }
    if (n == 0) return;
    if (n == 1)
        iso_str_appendf(&audit->notes, "%s has %.2f", audit->sides[i_last].run->name, low);
    else
        iso_str_appendf(&audit->notes, "%" PRId64 " runs have %.2f", n, low);
    if (llround(100 * low) != llround(100 * high)) iso_str_appendf(&audit->notes, " to %.2f", high);
    iso_str_appendf(&audit->notes,
                    " of Step Law's %s, the reference %.2f: may be part of the gap.\n", what,
                    reference);
}

static double lr_over_steplaw(const iso_record *record) {
    return record->lr_over_steplaw;
}

static double batch_over_steplaw(const iso_record *record) {
    return record->batch_over_steplaw;
}

static void note_differences(iso_audit *audit) {
    note_steplaw(audit, "learning rate", lr_over_steplaw);
    note_steplaw(audit, "batch", batch_over_steplaw);
    for (int64_t i = 0; i < audit->n_sides; i++) {
        const iso_audit_side *side = &audit->sides[i];
        if (side->record.replayed_steps > 0)
            iso_str_appendf(&audit->notes,
                            "%s did %" PRId64 " steps twice after an interruption: "
                            "waste, not counted in C.\n",
                            side->run->name, side->record.replayed_steps);
    }
}

/* --- the whole --- */

static iso_status audit_alloc(iso_audit **out, int64_t n_runs, const iso_audit_options *options) {
    *out = NULL;
    if (n_runs < 2)
        return iso_fail(ISO_ERR_USAGE, "an audit compares runs: give at least two run folders");
    iso_audit *audit = calloc(1, sizeof *audit);
    iso_audit_side *sides = calloc((size_t)n_runs, sizeof *sides);
    if (!audit || !sides) {
        free(sides);
        free(audit);
        return iso_fail(ISO_ERR_MEMORY, "no memory to audit %" PRId64 " runs", n_runs);
    }
    audit->options = *options;
    audit->sides = sides;
    *out = audit;
    return ISO_OK;
}

static iso_status read_sides(iso_audit *audit, const iso_run *runs, int64_t n_runs) {
    for (int64_t i = 0; i < n_runs; i++) {
        audit->sides[i].run = &runs[i];
        ISO_TRY(iso_record_read(&audit->sides[i].record, &runs[i]));
        audit->n_sides++;
    }
    return ISO_OK;
}

static void choose_reference(iso_audit *audit) {
    audit->i_reference = 0;
    while (audit->i_reference < audit->n_sides && !audit->sides[audit->i_reference].record.is_dense)
        audit->i_reference++;
    if (audit->i_reference == audit->n_sides) audit->i_reference = 0;
}

static void measure_step(iso_audit *audit) {
    const iso_audit_side *reference = &audit->sides[audit->i_reference];
    u128 step = 0;
    for (int64_t i = 0; i < audit->n_sides; i++)
        step = max_u128(step, step_compute(&audit->sides[i].record, ISO_CONVENTION_PAPER));
    double C = (double)iso_record_compute(&reference->record, ISO_CONVENTION_PAPER);
    audit->step_frac = C > 0 ? (double)step / C : 0;
}

/* Everything that follows from the records. */
static void audit_sides(iso_audit *audit) {
    choose_reference(audit);
    audit->is_counted = true;
    for (int64_t i = 0; i < audit->n_sides; i++) {
        audit->is_counted = audit->is_counted && audit->sides[i].record.is_counted;
        check_side(&audit->sides[i], &audit->sides[audit->i_reference], audit);
    }
    measure_step(audit);
    judge(audit);
    note_conventions(audit);
    note_differences(audit);
}

iso_status iso_audit_create(iso_audit **out, const iso_run *runs, int64_t n_runs,
                            const iso_audit_options *options) {
    iso_audit *audit;
    *out = NULL;
    ISO_TRY(audit_alloc(&audit, n_runs, options));
    iso_status status = read_sides(audit, runs, n_runs);
    if (status != ISO_OK) {
        iso_audit_free(audit);
        return status;
    }
    audit_sides(audit);
    *out = audit;
    return ISO_OK;
}

iso_status iso_audit_create_table(iso_audit **out, const iso_run_table *table, int64_t i_group,
                                  const iso_audit_options *options) {
    const iso_run_group *group = &table->groups[i_group];
    ISO_TRY(audit_alloc(out, group->n, options));
    iso_audit *audit = *out;
    for (int64_t i = 0; i < group->n; i++) {
        iso_audit_side *side = &audit->sides[audit->n_sides++];
        const iso_record *record = &table->records[group->first + i];
        side->run = &table->runs[group->first + i];
        side->record = *record;
        side->record.problems = (iso_str){0}; /* the one thing that a record owns */
        if (record->problems.len > 0) iso_str_append(&side->record.problems, record->problems.data);
    }
    audit_sides(audit);
    return ISO_OK;
}

void iso_audit_free(iso_audit *audit) {
    if (!audit) return;
    for (int64_t i = 0; i < audit->n_sides; i++) {
        iso_audit_side *side = &audit->sides[i];
        for (int j = 0; j < ISO_N_QUANTITIES; j++) {
            free(side->checks[j].reference);
            free(side->checks[j].value);
            free(side->checks[j].difference);
            free(side->checks[j].tolerance);
        }
        iso_record_release(&side->record);
    }
    iso_str_release(&audit->notes);
    free(audit->sides);
    free(audit);
}
