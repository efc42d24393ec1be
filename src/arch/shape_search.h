/* shape_search.h - exact integer shapes for an equal comparison at small scale.
 *
 * Given N: a dense baseline and, for each activation rate asked for, an MoE in the paper's layout
 * (first layer dense, shared expert of width K De) whose N matches the baseline's. N and N_a are
 * the convention `paper` throughout (count.h).
 *
 * (I1) the MoE shapes of one result share H, L, A and De: along the scan only E, K, the shared
 *      expert and, where integers demand it, the width of the first layer change;
 * (I2) every shape of a result passes iso_shape_check, and its errors are what iso_count says;
 * (I3) the result is a pure function of the goal: no randomness, no machine.
 */
#ifndef ISO_ARCH_SHAPE_SEARCH_H
#define ISO_ARCH_SHAPE_SEARCH_H

#include "arch/equal_compute.h"
#include "arch/shape.h"

#define ISO_SEARCH_RATES_MAX 16

typedef struct iso_search_goal {
    int64_t params;       /* N; the baseline's may differ from it by max_target_error */
    int64_t head_dim;     /* d: every H is a multiple of it */
    int64_t expert_width; /* De; 0 = chosen among 16..128, large ones preferred: the router, which N
                             leaves out, costs 1 / (3 De) of the experts' parameters */
    iso_shape base;       /* V, S and everything that is no size; S/H decides which H are tried */
    int64_t n_rates;
    double rates[ISO_SEARCH_RATES_MAX]; /* r_a asked for, in (0, 1) */

    double max_target_error; /* of the baseline's N against params; 0.05 */
    double
        max_params_error;  /* of an MoE's N against the baseline's; 0.005, and 0.001 is preferred */
    double max_rate_error; /* of r_a, relative; 0.05 */
    double gamma_min, gamma_max; /* S/H; 0.5 to 1.5 */
    double mu_min, mu_max;       /* 15 to 50 */
} iso_search_goal;

/* The defaults above for N = params, with a head width and a context length S that fit that size:
 * S/H near 1 for the dense and the MoE shape alike. V is left 0: the tokenizer decides it. */
iso_search_goal iso_search_goal_default(int64_t params);

typedef struct iso_search_model {
    iso_shape shape;
    double rate_asked, rate; /* r_a; 1 for the dense baseline */
    double params_error;     /* (N - N_dense) / N_dense */
} iso_search_model;

typedef struct iso_search_result {
    iso_search_model dense;
    int64_t n_moe;
    iso_search_model moe[ISO_SEARCH_RATES_MAX]; /* in the order of the rates asked for */
} iso_search_result;

/* ISO_ERR_USAGE if no shapes meet the goal; the message says which bound stands in the way as far
 * as it can be told, and what to change. Takes well under a second. */
iso_status iso_shape_search(iso_search_result *out, const iso_search_goal *goal);

#endif
