#include "arch/shape.h"

#include "base/arena.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

/* Kernels index one dimension with 32 bits; only products need 64. */
#define SIZE_LIMIT ((int64_t)INT32_MAX)

const char *const iso_layout_names[] = {"dense", "full", "1dense", "interleave", NULL};
const char *const iso_position_names[] = {"alibi", "rope", NULL};

iso_shape iso_shape_default(void) {
    return (iso_shape){
        .position = ISO_POSITION_ALIBI,
        .rope_theta = 10000.0,
        .rms_norm_eps = 1e-5,
        .initializer_range = 0.02,
        .layer_layout = ISO_LAYOUT_DENSE,
        .router_aux_loss_coef = 0.01,
        .router_aux_group = 8,
    };
}

static iso_status check_size(const char *key, int64_t value, int64_t least) {
    if (value >= least && value <= SIZE_LIMIT) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "model.%s: %" PRId64 " is impossible; give %" PRId64 " to %" PRId64, key, value,
                    least, SIZE_LIMIT);
}

static iso_status check_positive(const char *key, double value) {
    if (isfinite(value) && value > 0.0) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE, "model.%s: %g is impossible; give a positive number", key,
                    value);
}

static iso_status check_attention(const iso_shape *shape) {
    int64_t H = shape->hidden_size, A = shape->num_attention_heads;
    if (H % A != 0)
        return iso_fail(ISO_ERR_USAGE,
                        "model.hidden_size: %" PRId64 " is not divisible by num_attention_heads "
                        "%" PRId64 "; every head needs hidden_size / heads whole columns",
                        H, A);
    if (shape->position == ISO_POSITION_ROPE && (H / A) % 2 != 0)
        return iso_fail(ISO_ERR_USAGE,
                        "model.position: rope rotates pairs, so the head width hidden_size / "
                        "num_attention_heads = %" PRId64 " must be even",
                        H / A);
    if (shape->position == ISO_POSITION_ROPE)
        ISO_TRY(check_positive("rope_theta", shape->rope_theta));
    return ISO_OK;
}

static iso_status check_no_experts(const iso_shape *shape) {
    const struct {
        const char *key;
        int64_t value;
    } fields[] = {
        {"num_experts", shape->num_experts},
        {"num_experts_per_tok", shape->num_experts_per_tok},
        {"moe_intermediate_size", shape->moe_intermediate_size},
        {"shared_expert_intermediate_size", shape->shared_expert_intermediate_size},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (fields[i].value != 0)
            return iso_fail(ISO_ERR_USAGE,
                            "model.%s: %" PRId64
                            " in a model without MoE layers (layer_layout: dense); "
                            "drop the key or choose the layout 1dense, full or interleave",
                            fields[i].key, fields[i].value);
    return ISO_OK;
}

static iso_status check_experts(const iso_shape *shape) {
    int64_t E = shape->num_experts, K = shape->num_experts_per_tok;
    ISO_TRY(check_size("num_experts", E, 1));
    ISO_TRY(check_size("num_experts_per_tok", K, 1));
    if (K > E)
        return iso_fail(ISO_ERR_USAGE,
                        "model.num_experts_per_tok: %" PRId64 " experts per token of only %" PRId64
                        " (num_experts); give 1 to %" PRId64,
                        K, E, E);
    ISO_TRY(check_size("moe_intermediate_size", shape->moe_intermediate_size, 1));
    ISO_TRY(
        check_size("shared_expert_intermediate_size", shape->shared_expert_intermediate_size, 0));
    ISO_TRY(check_size("router_aux_group", shape->router_aux_group, 1));
    if (!isfinite(shape->router_aux_loss_coef) || shape->router_aux_loss_coef < 0.0)
        return iso_fail(ISO_ERR_USAGE,
                        "model.router_aux_loss_coef: %g is impossible; give 0 or a positive number",
                        shape->router_aux_loss_coef);
    if (iso_shape_n_moe_layers(shape) == 0)
        return iso_fail(ISO_ERR_USAGE,
                        "model.num_hidden_layers: with %" PRId64 " layer the layout %s has no MoE "
                        "layer; give more layers, or layer_layout: full or dense",
                        shape->num_hidden_layers, iso_layout_name(shape->layer_layout));
    return ISO_OK;
}

/* All parameters of the model fit int64 with room for 16 bytes each: weights, gradients, moments.
 */
static iso_status check_products(const iso_shape *shape) {
    int64_t H = shape->hidden_size, L = shape->num_hidden_layers;
    int64_t widest_ffn, routed, per_layer, total, vocabulary;
    bool fits = iso_size_mul(&routed, shape->num_experts, shape->moe_intermediate_size) &&
                iso_size_add(&widest_ffn, routed, shape->shared_expert_intermediate_size) &&
                iso_size_add(&widest_ffn, widest_ffn, shape->intermediate_size) &&
                iso_size_mul(&widest_ffn, widest_ffn, 3) &&
                iso_size_add(&per_layer, widest_ffn, 4 * H + shape->num_experts + 2) &&
                iso_size_mul(&per_layer, per_layer, H) && iso_size_mul(&total, per_layer, L) &&
                iso_size_mul(&vocabulary, shape->vocab_size, 2 * H) &&
                iso_size_add(&total, total, vocabulary) && iso_size_mul(&total, total, 16);
    if (fits) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "model: the number of parameters does not fit 63 bits with 16 bytes each; "
                    "reduce hidden_size, num_hidden_layers or the FFN widths");
}

iso_status iso_shape_check(const iso_shape *shape) {
    ISO_TRY(check_size("vocab_size", shape->vocab_size, 1));
    ISO_TRY(check_size("hidden_size", shape->hidden_size, 1));
    ISO_TRY(check_size("num_hidden_layers", shape->num_hidden_layers, 1));
    ISO_TRY(check_size("num_attention_heads", shape->num_attention_heads, 1));
    bool dense_layers = iso_shape_n_moe_layers(shape) < shape->num_hidden_layers;
    ISO_TRY(check_size("intermediate_size", shape->intermediate_size, dense_layers ? 1 : 0));
    ISO_TRY(check_size("max_position_embeddings", shape->max_position_embeddings, 1));
    ISO_TRY(check_attention(shape));
    ISO_TRY(check_positive("rms_norm_eps", shape->rms_norm_eps));
    ISO_TRY(check_positive("initializer_range", shape->initializer_range));
    ISO_TRY(shape->layer_layout == ISO_LAYOUT_DENSE ? check_no_experts(shape)
                                                    : check_experts(shape));
    return check_products(shape);
}

bool iso_shape_layer_is_moe(const iso_shape *shape, int64_t i_layer) {
    switch (shape->layer_layout) {
    case ISO_LAYOUT_DENSE:
        return false;
    case ISO_LAYOUT_FULL:
        return true;
    case ISO_LAYOUT_1DENSE:
        return i_layer > 0;
    case ISO_LAYOUT_INTERLEAVE:
        return i_layer % 2 == 1;
    }
    return false;
}

int64_t iso_shape_n_moe_layers(const iso_shape *shape) {
    int64_t L = shape->num_hidden_layers;
    switch (shape->layer_layout) {
    case ISO_LAYOUT_DENSE:
        return 0;
    case ISO_LAYOUT_FULL:
        return L;
    case ISO_LAYOUT_1DENSE:
        return L > 0 ? L - 1 : 0;
    case ISO_LAYOUT_INTERLEAVE:
        return L / 2;
    }
    return 0;
}

static bool find_name(int *out, const char *const *names, const char *name) {
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

const char *iso_layout_name(iso_layout layout) {
    return iso_layout_names[layout];
}

const char *iso_position_name(iso_position position) {
    return iso_position_names[position];
}

bool iso_layout_from_name(iso_layout *out, const char *name) {
    int value;
    if (!find_name(&value, iso_layout_names, name)) return false;
    *out = (iso_layout)value;
    return true;
}

bool iso_position_from_name(iso_position *out, const char *name) {
    int value;
    if (!find_name(&value, iso_position_names, name)) return false;
    *out = (iso_position)value;
    return true;
}
