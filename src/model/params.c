#include "model/params.h"

#include "base/arena.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef enum where { IN_MODEL, IN_HEAD, IN_LAYER, IN_DENSE, IN_MOE, IN_EXPERT, IN_SHARED } where;

/* The table. Letters are those of tensor/dims.h, with X for De and Z for Dse. `joins` members
 * follow the row before them without a gap; the rows of one expert that join are laid out expert by
 * expert, so that (E, gate and up, H) is one array. */
typedef struct row {
    const char *name;
    const char *letters;
    iso_component component;
    iso_init init;
    where where;
    bool joins;
} row;

static const row table[ISO_FIELD_N] = {
    [ISO_FIELD_EMBED] = {"model.embed_tokens.weight", "VH", ISO_COMPONENT_EMBEDDING,
                         ISO_INIT_NORMAL, IN_MODEL, false},
    [ISO_FIELD_Q] = {"self_attn.q_proj.weight", "HH", ISO_COMPONENT_ATTENTION, ISO_INIT_NORMAL,
                     IN_LAYER, false},
    [ISO_FIELD_K] = {"self_attn.k_proj.weight", "HH", ISO_COMPONENT_ATTENTION, ISO_INIT_NORMAL,
                     IN_LAYER, true},
    [ISO_FIELD_V] = {"self_attn.v_proj.weight", "HH", ISO_COMPONENT_ATTENTION, ISO_INIT_NORMAL,
                     IN_LAYER, true},
    [ISO_FIELD_O] = {"self_attn.o_proj.weight", "HH", ISO_COMPONENT_ATTENTION, ISO_INIT_RESIDUAL,
                     IN_LAYER, false},
    [ISO_FIELD_GATE] = {"mlp.gate_proj.weight", "FH", ISO_COMPONENT_FFN_DENSE, ISO_INIT_NORMAL,
                        IN_DENSE, false},
    [ISO_FIELD_UP] = {"mlp.up_proj.weight", "FH", ISO_COMPONENT_FFN_DENSE, ISO_INIT_NORMAL,
                      IN_DENSE, true},
    [ISO_FIELD_DOWN] = {"mlp.down_proj.weight", "HF", ISO_COMPONENT_FFN_DENSE, ISO_INIT_RESIDUAL,
                        IN_DENSE, false},
    [ISO_FIELD_ROUTER] = {"mlp.gate.weight", "EH", ISO_COMPONENT_ROUTER, ISO_INIT_NORMAL, IN_MOE,
                          false},
    [ISO_FIELD_EXPERT_GATE] = {"gate_proj.weight", "XH", ISO_COMPONENT_FFN_ROUTED, ISO_INIT_NORMAL,
                               IN_EXPERT, false},
    [ISO_FIELD_EXPERT_UP] = {"up_proj.weight", "XH", ISO_COMPONENT_FFN_ROUTED, ISO_INIT_NORMAL,
                             IN_EXPERT, true},
    [ISO_FIELD_EXPERT_DOWN] = {"down_proj.weight", "HX", ISO_COMPONENT_FFN_ROUTED,
                               ISO_INIT_RESIDUAL, IN_EXPERT, false},
    [ISO_FIELD_SHARED_GATE] = {"mlp.shared_expert.gate_proj.weight", "ZH", ISO_COMPONENT_FFN_SHARED,
                               ISO_INIT_NORMAL, IN_SHARED, false},
    [ISO_FIELD_SHARED_UP] = {"mlp.shared_expert.up_proj.weight", "ZH", ISO_COMPONENT_FFN_SHARED,
                             ISO_INIT_NORMAL, IN_SHARED, true},
    [ISO_FIELD_SHARED_DOWN] = {"mlp.shared_expert.down_proj.weight", "HZ", ISO_COMPONENT_FFN_SHARED,
                               ISO_INIT_RESIDUAL, IN_SHARED, false},
    [ISO_FIELD_HEAD] = {"lm_head.weight", "VH", ISO_COMPONENT_HEAD, ISO_INIT_NORMAL, IN_HEAD,
                        false},
    [ISO_FIELD_NORM1] = {"input_layernorm.weight", "H", ISO_COMPONENT_NORM, ISO_INIT_ONE, IN_LAYER,
                         false},
    [ISO_FIELD_NORM2] = {"post_attention_layernorm.weight", "H", ISO_COMPONENT_NORM, ISO_INIT_ONE,
                         IN_LAYER, false},
    [ISO_FIELD_FINAL_NORM] = {"model.norm.weight", "H", ISO_COMPONENT_NORM, ISO_INIT_ONE, IN_MODEL,
                              false},
};

static int64_t letter_size(const iso_shape *shape, char letter) {
    switch (letter) {
    case 'V':
        return shape->vocab_size;
    case 'H':
        return shape->hidden_size;
    case 'F':
        return shape->intermediate_size;
    case 'E':
        return shape->num_experts;
    case 'X':
        return shape->moe_intermediate_size;
    case 'Z':
        return shape->shared_expert_intermediate_size;
    default:
        ISO_ASSERT(!"letter of the parameter table");
        return 0;
    }
}

/* Whether a row has a tensor in this layer (-1: outside the layers). */
static bool row_is_in(const iso_shape *shape, const row *r, int64_t layer) {
    bool is_moe = layer >= 0 && iso_shape_layer_is_moe(shape, layer);
    switch (r->where) {
    case IN_MODEL:
        return layer < 0;
    case IN_HEAD:
        return layer < 0 && !shape->tie_word_embeddings;
    case IN_LAYER:
        return layer >= 0;
    case IN_DENSE:
        return layer >= 0 && !is_moe;
    case IN_MOE:
    case IN_EXPERT:
        return is_moe;
    case IN_SHARED:
        return is_moe && shape->shared_expert_intermediate_size > 0;
    }
    return false;
}

static int64_t round_up(int64_t n, int64_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

static void param_name(char *out, const row *r, int64_t layer, int64_t expert) {
    if (layer < 0)
        snprintf(out, ISO_PARAM_NAME_BYTES, "%s", r->name);
    else if (expert < 0)
        snprintf(out, ISO_PARAM_NAME_BYTES, "model.layers.%lld.%s", (long long)layer, r->name);
    else
        snprintf(out, ISO_PARAM_NAME_BYTES, "model.layers.%lld.mlp.experts.%lld.%s",
                 (long long)layer, (long long)expert, r->name);
}

static void push_param(iso_params *params, iso_field field, int64_t layer, int64_t expert,
                       int64_t *cursor) {
    const row *r = &table[field];
    iso_param *item = &params->items[params->n_items++];
    *item = (iso_param){.field = field,
                        .component = r->component,
                        .init = r->init,
                        .decays = r->letters[1] != '\0',
                        .layer = layer,
                        .expert = expert,
                        .offset = *cursor,
                        .n_dims = (int)strlen(r->letters),
                        .dims = {1, 1}};
    param_name(item->name, r, layer, expert);
    for (int i = 0; i < item->n_dims; i++)
        item->dims[i] = letter_size(&params->shape, r->letters[i]);
    *cursor += item->dims[0] * item->dims[1];
}

/* Lays out one matrix: `field` and the rows that join it, `n_joined` rows in all. */
static void push_fused(iso_params *params, iso_field field, int n_joined, int64_t layer,
                       int64_t *cursor) {
    int64_t slot = layer < 0 ? params->shape.num_hidden_layers : layer;
    int64_t n_experts = table[field].where == IN_EXPERT ? params->shape.num_experts : 1;
    *cursor = round_up(*cursor, ISO_ALIGN_BYTES / (int64_t)sizeof(float));
    params->offsets[slot * ISO_FIELD_N + field] = *cursor;
    for (int64_t i = 0; i < n_experts; i++)
        for (int j = 0; j < n_joined; j++)
            push_param(params, (iso_field)(field + j), layer,
                       table[field].where == IN_EXPERT ? i : -1, cursor);
}

/* All tensors that decay, or all that don't, in the order of the network. */
static void push_all(iso_params *params, bool decays, int64_t *cursor) {
    for (int64_t layer = -1; layer < params->shape.num_hidden_layers; layer++)
        for (int field = 0; field < ISO_FIELD_N; field++) {
            const row *r = &table[field];
            if (r->joins || (r->letters[1] != '\0') != decays) continue;
            if (!row_is_in(&params->shape, r, layer)) continue;
            int n_joined = 1;
            while (field + n_joined < ISO_FIELD_N && table[field + n_joined].joins) n_joined++;
            push_fused(params, (iso_field)field, n_joined, layer, cursor);
        }
}

iso_status iso_params_create(iso_params *out, const iso_shape *shape) {
    int64_t L = shape->num_hidden_layers;
    *out = (iso_params){.shape = *shape};
    int64_t most = 2 + L * (ISO_FIELD_N + 3 * shape->num_experts) + 2;
    out->items = calloc((size_t)most, sizeof *out->items);
    out->offsets = calloc((size_t)((L + 1) * ISO_FIELD_N), sizeof *out->offsets);
    if (!out->items || !out->offsets) {
        iso_params_free(out);
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate the parameter table");
    }
    for (int64_t i = 0; i < (L + 1) * ISO_FIELD_N; i++) out->offsets[i] = -1;
    int64_t cursor = 0, line = ISO_ALIGN_BYTES / (int64_t)sizeof(float);
    push_all(out, true, &cursor);
    out->n_decay = cursor = round_up(cursor, line);
    push_all(out, false, &cursor);
    out->n_elements = round_up(cursor, line);
    ISO_ASSERT(out->n_items <= most);
    return ISO_OK;
}

void iso_params_free(iso_params *params) {
    free(params->items);
    free(params->offsets);
    *params = (iso_params){0};
}

int64_t iso_params_offset(const iso_params *params, iso_field field, int64_t layer) {
    int64_t slot = layer < 0 ? params->shape.num_hidden_layers : layer;
    int64_t offset = params->offsets[slot * ISO_FIELD_N + field];
    ISO_ASSERT(offset >= 0);
    return offset;
}

void iso_params_init_weights(const iso_params *params, void *weights, iso_dtype dtype,
                             uint64_t seed) {
    ISO_ASSERT(dtype == ISO_F32 || dtype == ISO_F64);
    double range = params->shape.initializer_range;
    double residual = range / sqrt(2.0 * (double)params->shape.num_hidden_layers);
    memset(weights, 0, (size_t)(params->n_elements * iso_dtype_bytes(dtype)));
    for (int64_t i = 0; i < params->n_items; i++) {
        const iso_param *p = &params->items[i];
        uint64_t lane = XXH3_64bits(p->name, strlen(p->name));
        double sigma = p->init == ISO_INIT_RESIDUAL ? residual : range;
        for (int64_t j = 0; j < p->dims[0] * p->dims[1]; j++) {
            double x = p->init == ISO_INIT_ONE
                           ? 1.0
                           : sigma * iso_rng_normal(seed, ISO_RNG_INIT, lane, (uint64_t)j);
            if (dtype == ISO_F64)
                ((double *)weights)[p->offset + j] = x;
            else
                ((float *)weights)[p->offset + j] = (float)x;
        }
    }
}

void iso_params_count(const iso_params *params, bool active_only,
                      int64_t by_component[ISO_N_COMPONENTS]) {
    for (int i = 0; i < ISO_N_COMPONENTS; i++) by_component[i] = 0;
    for (int64_t i = 0; i < params->n_items; i++) {
        const iso_param *p = &params->items[i];
        /* All experts of a layer have one size, so the first K stand for any K. */
        if (active_only && p->expert >= params->shape.num_experts_per_tok) continue;
        by_component[p->component] += p->dims[0] * p->dims[1];
    }
}
