#include "arch/memory.h"

#include "base/arena.h"

#include <inttypes.h>
#include <math.h>

/* Bytes of one parameter's share of each. */
static const struct {
    const char *name;
    int8_t weight, gradient, master, moments;
} formats[ISO_N_FORMATS] = {
    [ISO_FORMAT_FP32] = {"fp32", 4, 4, 0, 8},
    [ISO_FORMAT_BF16] = {"bf16", 2, 4, 4, 8},
};

const char *iso_format_name(iso_number_format format) {
    return formats[format].name;
}

int64_t iso_format_bytes(iso_number_format format) {
    return formats[format].weight;
}

static iso_status fail_too_large(const char *what) {
    return iso_fail(ISO_ERR_USAGE,
                    "model: the bytes of %s do not fit 63 bits; reduce hidden_size, "
                    "num_hidden_layers, the FFN widths or the context",
                    what);
}

/* Every parameter, vocabulary and all; the shape must be checked. */
static int64_t params_total(const iso_shape *shape) {
    int64_t n = 0;
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++) n += iso_count_params(shape, c);
    return n;
}

iso_status iso_memory_state(iso_state_memory *out, const iso_shape *shape,
                            iso_number_format format) {
    ISO_TRY(iso_shape_check(shape));
    int64_t n = params_total(shape);
    iso_state_memory m = {.weights = 0};
    bool fits = iso_size_mul(&m.weights, n, formats[format].weight) &&
                iso_size_mul(&m.gradients, n, formats[format].gradient) &&
                iso_size_mul(&m.master_weights, n, formats[format].master) &&
                iso_size_mul(&m.moments, n, formats[format].moments) &&
                iso_size_add(&m.sum, m.weights, m.gradients) &&
                iso_size_add(&m.sum, m.sum, m.master_weights) &&
                iso_size_add(&m.sum, m.sum, m.moments);
    if (!fits) return fail_too_large("weights, gradients and moments");
    *out = m;
    return ISO_OK;
}

iso_status iso_memory_weights(int64_t *out_bytes, const iso_shape *shape,
                              iso_number_format format) {
    iso_state_memory m;
    ISO_TRY(iso_memory_state(&m, shape, format));
    *out_bytes = m.weights;
    return ISO_OK;
}

iso_status iso_memory_kv_cache(int64_t *out_bytes, const iso_shape *shape, iso_number_format format,
                               int64_t n_tokens, int64_t n_sequences) {
    ISO_TRY(iso_shape_check(shape));
    if (n_tokens < 0 || n_sequences < 0)
        return iso_fail(ISO_ERR_USAGE,
                        "KV cache: %" PRId64 " tokens of %" PRId64
                        " sequences are impossible; give 0 or more",
                        n_tokens, n_sequences);
    int64_t bytes;
    bool fits = iso_size_mul(&bytes, 2 * shape->hidden_size, shape->num_hidden_layers) &&
                iso_size_mul(&bytes, bytes, formats[format].weight) &&
                iso_size_mul(&bytes, bytes, n_tokens) && iso_size_mul(&bytes, bytes, n_sequences);
    if (!fits) return fail_too_large("the KV cache");
    *out_bytes = bytes;
    return ISO_OK;
}

double iso_memory_expected_experts(int64_t E, int64_t K, int64_t n_tokens) {
    if (K >= E) return (double)E;
    /* 1 - (1 - K/E)^n without the cancellation that a small K/E would bring. */
    return -(double)E * expm1((double)n_tokens * log1p(-(double)K / (double)E));
}

iso_status iso_memory_touched(double *out_bytes, const iso_shape *shape, iso_number_format format,
                              int64_t n_tokens) {
    ISO_TRY(iso_shape_check(shape));
    if (n_tokens < 1)
        return iso_fail(ISO_ERR_USAGE,
                        "a batch of %" PRId64 " tokens is impossible; give 1 or more", n_tokens);
    double params = 0, tokens = (double)n_tokens;
    for (iso_component c = 0; c < ISO_N_COMPONENTS; c++) {
        double n = (double)iso_count_params(shape, c);
        if (c == ISO_COMPONENT_FFN_ROUTED && n > 0)
            n *= iso_memory_expected_experts(shape->num_experts, shape->num_experts_per_tok,
                                             n_tokens) /
                 (double)shape->num_experts;
        /* Tied, the matrix is the head and read whole; untied, a look-up reads rows. */
        if (c == ISO_COMPONENT_EMBEDDING && !shape->tie_word_embeddings)
            n = fmin(tokens, (double)shape->vocab_size) * (double)shape->hidden_size;
        params += n;
    }
    *out_bytes = params * (double)formats[format].weight / tokens;
    return ISO_OK;
}
