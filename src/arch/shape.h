/* shape.h - a model's shape: the `model:` section of a config, and nothing else.
 *
 * Pure data. Field names are the config's (Hugging Face's); dims.h has the letter of each.
 */
#ifndef ISO_ARCH_SHAPE_H
#define ISO_ARCH_SHAPE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum iso_layout {
    ISO_LAYOUT_DENSE,      /* no MoE layer */
    ISO_LAYOUT_FULL,       /* every layer MoE */
    ISO_LAYOUT_1DENSE,     /* layer 1 dense, the rest MoE: the paper's choice */
    ISO_LAYOUT_INTERLEAVE, /* layer 1 dense, layer 2 MoE, and so on */
} iso_layout;

typedef enum iso_position { ISO_POSITION_ALIBI, ISO_POSITION_ROPE } iso_position;

typedef struct iso_shape {
    int64_t vocab_size;              /* V */
    int64_t hidden_size;             /* H */
    int64_t num_hidden_layers;       /* L */
    int64_t num_attention_heads;     /* A; d = H / A */
    int64_t intermediate_size;       /* F, width of the dense layers; may be 0 in layout full */
    int64_t max_position_embeddings; /* S */
    iso_position position;
    bool alibi_sqrt; /* bias -m sqrt(i-j) instead of -m (i-j) */
    double rope_theta;
    double rms_norm_eps;
    bool tie_word_embeddings;
    double initializer_range;

    int64_t num_experts;                     /* E; 0 in layout dense */
    int64_t num_experts_per_tok;             /* K */
    int64_t moe_intermediate_size;           /* De */
    int64_t shared_expert_intermediate_size; /* Dse; 0 = no shared expert */
    iso_layout layer_layout;
    bool norm_topk_prob;
    double router_aux_loss_coef;
    int64_t router_aux_group; /* sequences per balance-loss group */
} iso_shape;

/* The defaults of the config (everything but the sizes, which are 0). */
iso_shape iso_shape_default(void);

/* Checks everything that makes a shape trainable: positive sizes, H divisible by A, even d for
 * RoPE, 1 <= K <= E, layout against expert fields, sizes within 2^31 and products within int64.
 * Returns ISO_ERR_USAGE naming the config key, the value and what would be legal. */
iso_status iso_shape_check(const iso_shape *shape);

/* Whether layer i_layer (0-based) is an MoE layer, and how many are. */
bool iso_shape_layer_is_moe(const iso_shape *shape, int64_t i_layer);
int64_t iso_shape_n_moe_layers(const iso_shape *shape);

/* The names in the order of the enums, NULL at the end. */
extern const char *const iso_layout_names[];
extern const char *const iso_position_names[];

/* "dense", "alibi", ... and back; from_name returns false on an unknown name. */
const char *iso_layout_name(iso_layout layout);
const char *iso_position_name(iso_position position);
bool iso_layout_from_name(iso_layout *out, const char *name);
bool iso_position_from_name(iso_position *out, const char *name);

#endif
