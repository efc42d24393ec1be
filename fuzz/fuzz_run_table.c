/* Any bytes as a table of runs: refused, or every comparison of it can be audited and written as
 * JSON. What cannot be shown is never met. */
#include "runs/audit.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void audit_group(const iso_run_table *table, int64_t i_group) {
    iso_audit_options options = iso_audit_options_default();
    iso_audit *audit;
    ISO_ASSERT(iso_audit_create_table(&audit, table, i_group, &options) == ISO_OK);
    for (int64_t i = 0; i < audit->n_sides; i++)
        for (int q = 0; q < ISO_N_QUANTITIES; q++)
            ISO_ASSERT(audit->sides[i].checks[q].is_shown || !audit->sides[i].checks[q].is_met);
    json_t *object = iso_audit_to_json(audit);
    ISO_ASSERT(object != NULL);
    json_decref(object);
    iso_audit_free(audit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    iso_run_table *table;
    if (iso_run_table_parse(&table, (const char *)data, (int64_t)size, "input") != ISO_OK) return 0;
    for (int64_t i = 0; i < table->n_groups; i++) audit_group(table, i);
    iso_run_table_free(table);
    return 0;
}
