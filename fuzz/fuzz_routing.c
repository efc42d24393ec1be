/* Any bytes as a record of routing: refused, or its measures are numbers within their bounds. */
#include "runs/route_file.h"
#include "study/routing_measures.h"

#include <math.h>
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Between 0 and `most`, up to rounding, or not to be told. */
static bool is_within(double value, double most) {
    return isnan(value) || (value >= -1e-9 && value <= most + 1e-6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    iso_route_file file;
    iso_routing_measures measures;
    if (iso_route_file_parse(&file, data, (int64_t)size, "input") != ISO_OK) return 0;
    if (iso_routing_measure(&measures, &file.counts) == ISO_OK) {
        for (int64_t l = 0; l < measures.n_layers; l++) {
            const iso_routing_layer *layer = &measures.layers[l];
            ISO_ASSERT(is_within(layer->domain_bits, log2((double)measures.n_compared)));
            ISO_ASSERT(is_within(layer->domain_p, 1));
            ISO_ASSERT(is_within(layer->class_bits, log2(ISO_N_TOKEN_CLASSES)));
            ISO_ASSERT(is_within(layer->max_over_mean, (double)measures.E));
        }
        iso_routing_measures_free(&measures);
    }
    iso_route_file_release(&file);
    return 0;
}
