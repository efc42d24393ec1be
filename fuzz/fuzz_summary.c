/* Any bytes as a run's summary.json: refused, or a record that an audit against itself can digest.
 */
#include "runs/audit.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *summary;
    if (iso_json_parse(&summary, (const char *)data, (int64_t)size, "input") != ISO_OK) return 0;
    /* No such folder: config.yaml is missing, which is a problem of the run and no error. */
    iso_run run = {.dir = "/nonexistent", .name = "input", .summary = summary};
    const iso_run runs[2] = {run, run};
    iso_audit_options options = iso_audit_options_default();
    iso_audit *audit;
    if (iso_audit_create(&audit, runs, 2, &options) == ISO_OK) {
        json_t *object = iso_audit_to_json(audit);
        ISO_ASSERT(object && audit->verdict == ISO_VERDICT_NOT_EQUAL);
        json_decref(object);
        iso_audit_free(audit);
    }
    json_decref(summary);
    return 0;
}
