#include "runs/audit.h"

#include "train/ledger.h"

#include <math.h>
#include <string.h>

/* JSON has no NaN and no infinity. */
static json_t *real_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* The lines of a text as an array. */
static json_t *lines_to_json(const iso_str *text) {
    json_t *lines = json_array();
    const char *at = text->data;
    while (at && *at) {
        size_t n_chars = strcspn(at, "\n");
        json_array_append_new(lines, json_stringn(at, n_chars));
        at += n_chars + (at[n_chars] == '\n');
    }
    return lines;
}

static json_t *conventions_to_json(const iso_audit_side *side) {
    json_t *object = json_object();
    for (int i = 0; i < ISO_N_CONVENTIONS; i++) {
        const iso_record_counts *counts = &side->record.counts[i];
        json_t *compute =
            iso_json_from_i128((__int128)iso_record_compute(&side->record, (iso_convention)i));
        json_object_set_new(object, iso_convention_name((iso_convention)i),
                            json_pack("{s:I, s:I, s:I, s:o, s:f, s:f}", "params_nonvocab",
                                      (json_int_t)counts->params_nonvocab, "params_active",
                                      (json_int_t)counts->params_active, "train_flops_per_token",
                                      (json_int_t)counts->train_flops_per_token,
                                      "train_flops_exact", compute, "params_difference",
                                      side->params_diff_frac[i], "compute_difference",
                                      side->compute_diff_frac[i]));
    }
    return object;
}

static json_t *checks_to_json(const iso_audit_side *side) {
    json_t *checks = json_array();
    for (int i = 0; i < ISO_N_QUANTITIES; i++) {
        const iso_audit_check *check = &side->checks[i];
        json_array_append_new(
            checks, json_pack("{s:s, s:b, s:b, s:s, s:s, s:s, s:s}", "quantity",
                              iso_quantity_name((iso_quantity)i), "met", check->is_met, "shown",
                              check->is_shown, "reference", check->reference, "value", check->value,
                              "difference", check->difference, "tolerance", check->tolerance));
    }
    return checks;
}

static json_t *side_to_json(const iso_audit_side *side) {
    const iso_record *record = &side->record;
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:s?, s:s?, s:s?, s:s?, s:O?, s:I}",
        "name", side->run->name, "dir", side->run->dir, "verdict", iso_verdict_name(side->verdict),
        "problems", lines_to_json(&record->problems), "dense", record->is_dense, "tokens",
        (json_int_t)record->tokens, "unique_tokens", (json_int_t)record->unique_tokens, "steps",
        (json_int_t)record->steps, "replayed_steps", (json_int_t)record->replayed_steps,
        "batch_tokens", (json_int_t)record->batch_tokens, "data_hash", record->data_hash,
        "subset_hash", record->subset_hash, "tokenizer_hash", record->tokenizer_hash,
        "validation_hash", record->validation_hash, "numeric_profile", record->numeric_profile,
        "router_aux_group", (json_int_t)record->router_aux_group);
    json_object_set_new(object, "lr", real_or_null(record->peak_lr));
    json_object_set_new(object, "lr_over_steplaw", real_or_null(record->lr_over_steplaw));
    json_object_set_new(object, "batch_over_steplaw", real_or_null(record->batch_over_steplaw));
    json_object_set_new(object, "bpb", real_or_null(record->bpb));
    json_object_set_new(object, "bpc", real_or_null(record->bpc));
    json_object_set_new(object, "conventions", conventions_to_json(side));
    json_object_set_new(object, "checks", checks_to_json(side));
    return object;
}

static json_t *unshown_to_json(const iso_audit *audit) {
    json_t *names = json_array();
    for (int i = 0; i < ISO_N_QUANTITIES; i++)
        if (audit->unshown & 1u << i)
            json_array_append_new(names, json_string(iso_quantity_name((iso_quantity)i)));
    return names;
}

json_t *iso_audit_to_json(const iso_audit *audit) {
    json_t *sides = json_array(), *by_convention = json_object();
    for (int64_t i = 0; i < audit->n_sides; i++)
        json_array_append_new(sides, side_to_json(&audit->sides[i]));
    for (int i = 0; i < ISO_N_CONVENTIONS; i++)
        json_object_set_new(by_convention, iso_convention_name((iso_convention)i),
                            json_string(iso_verdict_name(audit->by_convention[i])));
    return json_pack("{s:s, s:o, s:s, s:s, s:{s:f, s:f, s:f}, s:b, s:o, s:o, s:o}", "verdict",
                     iso_verdict_name(audit->verdict), "not_shown", unshown_to_json(audit),
                     "convention", iso_convention_name(ISO_CONVENTION_PAPER), "reference",
                     audit->sides[audit->i_reference].run->name, "tolerances", "params",
                     audit->options.params_tolerance_frac, "compute",
                     audit->options.compute_tolerance_frac, "one_step", audit->step_frac,
                     "counted_from_shapes", audit->is_counted, "verdict_by_convention",
                     by_convention, "runs", sides, "notes", lines_to_json(&audit->notes));
}
