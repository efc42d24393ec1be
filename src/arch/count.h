/* count.h - exact parameters and FLOPs per token of a shape, by component, under named conventions.
 *
 * Owns: what is counted. Does not own: time, memory, or what a run really executed (the op wrappers
 * count that, and it must agree with what is here).
 *
 * The building blocks, all integers (dims.h for the letters; L_e MoE layers, L_d dense ones):
 *
 *   component          parameters              of them active        FLOPs per token, forward
 *   attention          4 H^2 L                 all                   2 x active
 *   attention_scores   -                       -                     4 H S L, or 2 H (S+1) L causal
 *   softmax            -                       -                     3 A S L
 *   ffn_dense          3 H F L_d               all                   2 x active
 *   ffn_routed         3 H E De L_e            3 H K De L_e          2 x active
 *   ffn_shared         3 H Dse L_e             all                   2 x active
 *   router             H E L_e                 all                   2 x active
 *   norm               (2 L + 1) H             all                   not counted
 *   embedding          V H                     all                   a look-up: none
 *   head               V H, 0 when tied        all                   2 V H
 *
 * A convention says which of them make N, N_a and M. `paper` reproduces the paper's Tables 9, 14
 * and its Step Law source to the last digit, `full` Tables 7, 12, 13, 15-17 (docs: formulas of the
 * paper, section 2).
 *
 *   paper      N: attention and FFNs;                M: those and attention scores over all S
 *   full       N: paper + router + norm;             M: paper + router + softmax
 *   causal     N: paper;   M: paper with the scores a causal mask leaves, (S+1)/2 on average
 *   with-head  N: paper;   M: paper + head
 *
 * (I1) training FLOPs are three times the forward ones: backward costs two forwards;
 * (I2) the sum over components is the total, for every convention and every quantity.
 */
#ifndef ISO_ARCH_COUNT_H
#define ISO_ARCH_COUNT_H

#include "arch/shape.h"

typedef enum iso_component {
    ISO_COMPONENT_ATTENTION,
    ISO_COMPONENT_ATTENTION_SCORES,
    ISO_COMPONENT_SOFTMAX,
    ISO_COMPONENT_FFN_DENSE,
    ISO_COMPONENT_FFN_ROUTED,
    ISO_COMPONENT_FFN_SHARED,
    ISO_COMPONENT_ROUTER,
    ISO_COMPONENT_NORM,
    ISO_COMPONENT_EMBEDDING,
    ISO_COMPONENT_HEAD,
    ISO_N_COMPONENTS
} iso_component;

typedef enum iso_convention {
    ISO_CONVENTION_PAPER,
    ISO_CONVENTION_FULL,
    ISO_CONVENTION_CAUSAL,
    ISO_CONVENTION_WITH_HEAD,
    ISO_N_CONVENTIONS
} iso_convention;

typedef struct iso_component_count {
    int64_t params;        /* 0 where the convention leaves them out of N */
    int64_t params_active; /* of them, used by one token */
    int64_t forward_flops; /* per token; 0 where the convention leaves them out of M */
} iso_component_count;

typedef struct iso_counts {
    iso_convention convention;
    int64_t params_total;            /* every parameter, vocabulary and all, by any convention */
    int64_t params_nonvocab;         /* N */
    int64_t params_active;           /* N_a */
    double activation_rate;          /* r_a = N_a / N */
    int64_t forward_flops_per_token; /* M of the paper's equations */
    int64_t train_flops_per_token;   /* 3 x forward: the column M of the paper's tables */
    iso_component_count components[ISO_N_COMPONENTS];
} iso_counts;

/* ISO_ERR_USAGE if the shape is impossible (iso_shape_check) or a FLOP count leaves int64. */
iso_status iso_count(iso_counts *out, const iso_shape *shape, iso_convention convention);

/* Whether a convention takes a component into N and N_a, and into M. */
bool iso_convention_has_params(iso_convention convention, iso_component component);
bool iso_convention_has_flops(iso_convention convention, iso_component component);

/* Every parameter of one component, whatever a convention makes of it. The shape must be checked.
 */
int64_t iso_count_params(const iso_shape *shape, iso_component component);

/* C = M x D as a double; exact products belong in the pair (M, D). */
double iso_train_flops(int64_t train_flops_per_token, int64_t tokens);

/* The paper's ratios (its Table 1). Those of a part that the shape lacks are 0. */
typedef struct iso_ratios {
    double zeta;  /* H / L */
    double gamma; /* S / H */
    double alpha; /* F / H */
    double mu;    /* (Dse + E De) / H */
    double beta;  /* (Dse + K De) / H */
} iso_ratios;
iso_ratios iso_shape_ratios(const iso_shape *shape);

/* "ffn_routed", "with-head", ...; from_name returns false on an unknown name. */
const char *iso_component_name(iso_component component);
const char *iso_convention_name(iso_convention convention);
bool iso_convention_from_name(iso_convention *out, const char *name);

#endif
