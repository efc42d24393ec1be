/* Any bytes as a study file: refused with a reason, or a study whose lists are in range. No other
 * file is looked at, and nothing is planned. */
#include "study/study_file.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_list(const iso_study_list *list) {
    ISO_ASSERT(list->n >= 0 && list->n <= ISO_STUDY_LIST_MAX);
    for (int64_t i = 0; i < list->n; i++) ISO_ASSERT(list->values[i] >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    iso_study *study;
    iso_str faults = {0};
    iso_status status =
        iso_study_parse(&study, &faults, (const char *)data, (int64_t)size, "input");
    ISO_ASSERT((status == ISO_OK) == (faults.len == 0));
    if (study) {
        check_list(&study->activation_rates);
        check_list(&study->seeds);
        check_list(&study->epochs);
        check_list(&study->zeta);
        ISO_ASSERT(study->n_axes <= ISO_STUDY_AXES_MAX && study->n_listed <= ISO_YAML_MAX_NODES);
    }
    ISO_ASSERT(study || status != ISO_OK);
    iso_str_release(&faults);
    iso_study_free(study);
    return 0;
}
