#include "arch/count.h"

#include "base/arena.h"

#include <string.h>

static const char *const component_names[ISO_N_COMPONENTS] = {
    "attention",  "attention_scores", "softmax", "ffn_dense", "ffn_routed",
    "ffn_shared", "router",           "norm",    "embedding", "head",
};

static const char *const convention_names[ISO_N_CONVENTIONS] = {"paper", "full", "causal",
                                                                "with-head"};

#define BIT(component) (1u << ISO_COMPONENT_##component)
#define PAPER_PARAMS   (BIT(ATTENTION) | BIT(FFN_DENSE) | BIT(FFN_ROUTED) | BIT(FFN_SHARED))
#define PAPER_FLOPS    (PAPER_PARAMS | BIT(ATTENTION_SCORES))

/* Which components a convention takes into N and N_a, and which into M. */
static const struct {
    unsigned params, flops;
    bool causal_scores;
} conventions[ISO_N_CONVENTIONS] = {
    [ISO_CONVENTION_PAPER] = {PAPER_PARAMS, PAPER_FLOPS, false},
    [ISO_CONVENTION_FULL] = {PAPER_PARAMS | BIT(ROUTER) | BIT(NORM),
                             PAPER_FLOPS | BIT(ROUTER) | BIT(SOFTMAX), false},
    [ISO_CONVENTION_CAUSAL] = {PAPER_PARAMS, PAPER_FLOPS, true},
    [ISO_CONVENTION_WITH_HEAD] = {PAPER_PARAMS, PAPER_FLOPS | BIT(HEAD), false},
};

/* Parameters cannot overflow: iso_shape_check has bounded their sum with room to spare. */
int64_t iso_count_params(const iso_shape *shape, iso_component component) {
    int64_t H = shape->hidden_size, L = shape->num_hidden_layers;
    int64_t L_e = iso_shape_n_moe_layers(shape), L_d = L - L_e;
    switch (component) {
    case ISO_COMPONENT_ATTENTION:
        return 4 * H * H * L;
    case ISO_COMPONENT_FFN_DENSE:
        return 3 * H * shape->intermediate_size * L_d;
    case ISO_COMPONENT_FFN_ROUTED:
        return 3 * H * shape->num_experts * shape->moe_intermediate_size * L_e;
    case ISO_COMPONENT_FFN_SHARED:
        return 3 * H * shape->shared_expert_intermediate_size * L_e;
    case ISO_COMPONENT_ROUTER:
        return H * shape->num_experts * L_e;
    case ISO_COMPONENT_NORM:
        return (2 * L + 1) * H;
    case ISO_COMPONENT_EMBEDDING:
        return shape->vocab_size * H;
    case ISO_COMPONENT_HEAD:
        return shape->tie_word_embeddings ? 0 : shape->vocab_size * H;
    case ISO_COMPONENT_ATTENTION_SCORES:
    case ISO_COMPONENT_SOFTMAX:
    case ISO_N_COMPONENTS:
        return 0;
    }
    return 0;
}

static int64_t count_active(const iso_shape *shape, iso_component component) {
    int64_t params = iso_count_params(shape, component);
    if (component == ISO_COMPONENT_FFN_ROUTED && params > 0)
        return params / shape->num_experts * shape->num_experts_per_tok;
    return params;
}

static bool multiply(int64_t *out, int64_t a, int64_t b, int64_t c, int64_t d) {
    return iso_size_mul(out, a, b) && iso_size_mul(out, *out, c) && iso_size_mul(out, *out, d);
}

/* False on overflow. */
static bool count_flops(int64_t *out, const iso_shape *shape, iso_component component,
                        bool causal) {
    int64_t H = shape->hidden_size, L = shape->num_hidden_layers;
    int64_t S = shape->max_position_embeddings;
    switch (component) {
    case ISO_COMPONENT_ATTENTION_SCORES:
        /* Scores and values, 2 H a position each; a causal mask leaves (S+1)/2 on average. */
        return causal ? multiply(out, 2, H, S + 1, L) : multiply(out, 4, H, S, L);
    case ISO_COMPONENT_SOFTMAX:
        return multiply(out, 3, shape->num_attention_heads, S, L);
    case ISO_COMPONENT_HEAD:
        return multiply(out, 2, shape->vocab_size, H, 1);
    case ISO_COMPONENT_NORM:
    case ISO_COMPONENT_EMBEDDING:
        *out = 0;
        return true;
    default:
        return iso_size_mul(out, 2, count_active(shape, component));
    }
}

iso_status iso_count(iso_counts *out, const iso_shape *shape, iso_convention convention) {
    ISO_TRY(iso_shape_check(shape));
    iso_counts counts = {.convention = convention};
    bool fits = true;
    for (iso_component component = 0; component < ISO_N_COMPONENTS; component++) {
        iso_component_count *count = &counts.components[component];
        counts.params_total += iso_count_params(shape, component);
        if (conventions[convention].params & (1u << component)) {
            count->params = iso_count_params(shape, component);
            count->params_active = count_active(shape, component);
        }
        if (conventions[convention].flops & (1u << component))
            fits = fits && count_flops(&count->forward_flops, shape, component,
                                       conventions[convention].causal_scores);
        counts.params_nonvocab += count->params;
        counts.params_active += count->params_active;
        fits = fits && iso_size_add(&counts.forward_flops_per_token, counts.forward_flops_per_token,
                                    count->forward_flops);
    }
    fits = fits && iso_size_mul(&counts.train_flops_per_token, 3, counts.forward_flops_per_token);
    if (!fits)
        return iso_fail(ISO_ERR_USAGE, "model: FLOPs per token do not fit 63 bits; reduce "
                                       "max_position_embeddings, hidden_size or num_hidden_layers");
    counts.activation_rate = (double)counts.params_active / (double)counts.params_nonvocab;
    *out = counts;
    return ISO_OK;
}

double iso_train_flops(int64_t train_flops_per_token, int64_t tokens) {
    return (double)train_flops_per_token * (double)tokens;
}

iso_ratios iso_shape_ratios(const iso_shape *shape) {
    double H = (double)shape->hidden_size, De = (double)shape->moe_intermediate_size;
    double Dse = (double)shape->shared_expert_intermediate_size;
    return (iso_ratios){
        .zeta = H / (double)shape->num_hidden_layers,
        .gamma = (double)shape->max_position_embeddings / H,
        .alpha = (double)shape->intermediate_size / H,
        .mu = (Dse + (double)shape->num_experts * De) / H,
        .beta = (Dse + (double)shape->num_experts_per_tok * De) / H,
    };
}

const char *iso_component_name(iso_component component) {
    return component_names[component];
}

const char *iso_convention_name(iso_convention convention) {
    return convention_names[convention];
}

bool iso_convention_from_name(iso_convention *out, const char *name) {
    for (iso_convention i = 0; i < ISO_N_CONVENTIONS; i++)
        if (strcmp(convention_names[i], name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

bool iso_convention_has_params(iso_convention convention, iso_component component) {
    return (conventions[convention].params & (1u << component)) != 0;
}

bool iso_convention_has_flops(iso_convention convention, iso_component component) {
    return (conventions[convention].flops & (1u << component)) != 0;
}
