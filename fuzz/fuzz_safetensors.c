/* Any bytes as a safetensors file: refused, or every tensor can be read to its last byte. */
#include "safetensors/safetensors.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    iso_safetensors file;
    if (iso_safetensors_parse(&file, data, (int64_t)size, "input") != ISO_OK) return 0;
    volatile uint8_t sum = 0; /* so that the reads happen */
    for (int64_t i = 0; i < file.n_tensors; i++) {
        const iso_safetensor *tensor = &file.tensors[i];
        ISO_ASSERT(iso_safetensors_find(&file, tensor->name) == tensor);
        const uint8_t *bytes = tensor->data;
        for (int64_t j = 0; j < iso_safetensor_bytes(tensor); j++) sum = (uint8_t)(sum + bytes[j]);
    }
    iso_safetensors_close(&file);
    return 0;
}
