/* planner.h - from N and activation rates to models that can be trained: exact integer shapes.
 *
 * Owns: the dense baseline and the MoEs of an equal comparison, at any size from 1e5 to 1e12
 * parameters; what had to give way where integers have no solution; why a goal is infeasible and
 * what the nearest feasible one is. Does not own: tokens, steps, rates of learning (study/budget.h,
 * equal_steps below aside), counting (count.h).
 *
 * N, N_a and r_a are the convention `paper` throughout. In order of importance:
 *
 *   1 legality      iso_shape_check, and the limits of iso_plan_limits
 *   2 N             |N - goal| <= max_params_error N, for every model
 *   3 r_a           |r_a - asked| <= max_rate_error asked
 *   4 sameness      the MoEs share H, L, F, De and E + K: N is then the same along the scan
 *   5 router        De of 24 and more: N leaves the router out, so it had better be small
 *   6 proportions   zeta, mu, alpha near their targets, experts about a quarter of H wide
 *   7 widths        F and De multiples of 64, else 32, 16, 8: what kernels like
 *
 * 1 and 2 always hold. Where 3 to 7 do not, the model says so (iso_plan_model.relaxed). Proportions
 * give way within a factor of 2.5 before anything else does, and beyond it last. What the caller
 * fixes himself (De, K, d, width_multiple) is law like 1.
 *
 * (I1) the result is a pure function of the goal: no randomness, no machine, no clock;
 * (I2) every shape passes iso_shape_check, and all errors are what iso_count says;
 * (I3) a goal that has a solution within iso_plan_limits gets one: where the first, narrow search
 *      finds nothing, one over everything follows. (From ISO_PLAN_ALL_WIDTHS_PARAMS parameters up
 *      expert widths are tried in steps of 8 up to 2 H: there solutions are dense.)
 */
#ifndef ISO_ARCH_PLANNER_H
#define ISO_ARCH_PLANNER_H

#include "arch/count.h"
#include "base/str.h"

#define ISO_PLAN_RATES_MAX         32
#define ISO_PLAN_ALL_WIDTHS_PARAMS INT64_C(100000000)

typedef struct iso_plan_goal {
    int64_t params; /* N, 1e5 to 1e12 */
    int64_t n_rates;
    double rates[ISO_PLAN_RATES_MAX]; /* r_a asked for, each in (0, 1) */

    iso_layout layout;         /* of the MoEs; 1dense */
    bool shared_expert;        /* Dse = K De; otherwise none */
    bool same_experts;         /* one De along all rates; true */
    int64_t head_dim;          /* d; 0 = by size */
    int64_t expert_width;      /* De; 0 = chosen */
    int64_t experts_per_token; /* K; 0 = chosen for each rate. Given, De follows from the rate */
    int64_t min_experts_per_token; /* 1; 2 where gates shall be normalised */
    int64_t width_multiple;        /* F and De are multiples of it; 0 = as friendly as possible */
    double zeta, dense_zeta;       /* H/L targets; 0 = by size */
    double mu;                     /* (Dse + E De)/H target; 0 = 22, free within 15..50 below 1e9 */
    double alpha;                  /* F/H target; 0 = 2.77, the paper's */
    iso_shape base;                /* V, S and whatever is no size */

    double max_params_error; /* 0.001 */
    double max_rate_error;   /* 0.01, relative */
} iso_plan_goal;

/* The defaults above for N = params, with S and V by size (the config's keys): 2048 and 65536 from
 * 1e9 up, as in the paper. */
iso_plan_goal iso_plan_goal_default(int64_t params);

/* What a frame may be at the very most; beyond it a shape is no answer. */
typedef struct iso_plan_limits {
    double zeta_min, zeta_max;   /* H/L: 1 to 512 */
    double alpha_min, alpha_max; /* F/H: 0.5 to 16 */
    double expert_alpha_max;     /* De/H: 8 */
    int64_t experts_max;         /* E: 4096 */
    double rate_error_max;       /* relative: 0.05; r_a is relaxed no further */
} iso_plan_limits;
iso_plan_limits iso_plan_limits_default(void);

/* What is not as it should be, as bits of iso_plan_model.relaxed. */
typedef enum iso_plan_relaxation {
    ISO_PLAN_RELAXED_RATE = 1,     /* r_a off by more than max_rate_error */
    ISO_PLAN_RELAXED_SAMENESS = 2, /* H, L, F or De of its own */
    ISO_PLAN_RELAXED_ZETA = 4,     /* more than a factor 1.5 off its target */
    ISO_PLAN_RELAXED_MU = 8,       /* the same, or outside 15..50 where it is free */
    ISO_PLAN_RELAXED_ALPHA = 16,   /* more than a factor 1.5 off */
    ISO_PLAN_RELAXED_WIDTHS = 32,  /* F or De no multiple of 16 (of 8 below 1e8 parameters) */
    ISO_PLAN_RELAXED_ROUTER = 64,  /* De under 24: a router over 1.4 % of the experts, outside N */
} iso_plan_relaxation;

typedef struct iso_plan_model {
    iso_shape shape;
    iso_counts counts;   /* convention `paper` */
    double rate_asked;   /* 1 for the dense baseline */
    double params_error; /* (N - goal) / goal */
    double rate_error;   /* (r_a - asked) / asked */
    unsigned relaxed;    /* iso_plan_relaxation bits */
} iso_plan_model;

typedef struct iso_plan_shapes {
    iso_plan_goal goal; /* with everything that was 0 filled in */
    iso_plan_model dense;
    int64_t n_moe;
    iso_plan_model moe[ISO_PLAN_RATES_MAX]; /* in the order of the rates asked for */
} iso_plan_shapes;

/* ISO_ERR_USAGE if the goal is no goal (a rate of 2, N of 0) or has no solution; the message says
 * which constraint binds and what the nearest feasible value is. Milliseconds where the usual
 * proportions have a solution, seconds where everything has to be searched for one. */
iso_status iso_plan_shapes_find(iso_plan_shapes *out, const iso_plan_goal *goal);

/* The dense baseline alone. */
iso_status iso_plan_dense_find(iso_plan_model *out, const iso_plan_goal *goal);

/* The N whose dense baseline spends `compute` FLOPs on `tokens` tokens: what remains of the budget
 * when C and D are given. Solved on the baseline's own M (attention included), to 0.1 %, or
 * to 0.5 % where shapes jump; ISO_ERR_USAGE if not even that. */
iso_status iso_plan_params_solve(int64_t *out_params, const iso_plan_goal *goal, double compute,
                                 double tokens);

/* Appends what was relaxed in people's words, "; " between: "zeta 14 where 30 is usual". Nothing if
 * nothing was. */
void iso_plan_relaxed_say(iso_str *out, const iso_plan_model *model, const iso_plan_goal *goal);

#endif
