/* budget.h - from a budget to an equal comparison that can be trained as it stands.
 *
 * Owns: what a budget of parameters N, compute C and text D comes to: the missing third, tokens,
 * steps and epochs of the dense baseline and of every MoE, their configs, memory and hours. Does
 * not own: shapes (arch/planner.h), quantities as text (arch/quantity.h), running anything.
 *
 * Two of N, C and D are given, or all three:
 *
 *   N, C       the dense baseline trains on C / M tokens, and these are D-hat
 *   N, C, D    the same, D being the text at hand: if the baseline needs more it repeats it, too
 *   N, D       the baseline sees D once: C = M D
 *   C, D       N is such that the baseline spends C on seeing D once
 *
 * D-hat, the unique tokens that every side repeats under the strict scheme, is the least of the
 * text at hand and the tokens of any side. The loose scheme gives every side half of its own tokens
 * twice, `unique` all of its own once.
 *
 * Measured tokens per second stand for C through the dense baseline: C = M tokens/s x seconds.
 *
 * (I1) the baseline's M D is C to within one of its steps (of C and D, where N is solved for: to
 *      0.5 %, and D is not exceeded), every MoE's M D is the baseline's to within half of its own
 *      step: exact in 128 bits;
 * (I2) every config is resolved: `isomoe train` takes it as it is, and its steps, batch, rate and
 *      subset are what the plan says;
 * (I3) the same goal gives the same plan, on any machine; but for the activations of bf16 where the
 *      processor has none (iso_budget_memory.activations_bound).
 */
#ifndef ISO_STUDY_BUDGET_H
#define ISO_STUDY_BUDGET_H

#include "arch/memory.h"
#include "arch/planner.h"
#include "arch/quantity.h"
#include "study/equal_config.h"
#include "study/gap_curve.h"

#define ISO_BUDGET_MODELS_MAX   (ISO_PLAN_RATES_MAX + 2) /* the baseline, one MoE as given */
#define ISO_BUDGET_EPOCHS_PAPER 8.33 /* the most that the paper repeats anything */

typedef struct iso_budget_goal {
    int64_t params;         /* N; 0 = not given */
    iso_compute compute;    /* C; zero = not given */
    int64_t text_tokens;    /* D; 0 = not given */
    const iso_config *like; /* resolved; what is not given is taken from it. NULL = none. Its sizes
                               are a side where its N is the plan's; all else is `base`'s. At
                               another N, an MoE's activation rate stands where none is given */

    iso_config base;        /* of every model: data.dir, seeds, precision, micro-batch; of its model
                               section all that is no size, and V and S where they are not 0 */
    bool norm_topk_by_size; /* base.model.norm_topk_prob is not said: lr_rule.h decides */
    iso_plan_goal shapes;   /* what is fixed or asked for; params and base are left out, 0 = free */
    iso_equal_rule rule;
    iso_gap_scheme scheme; /* of the configs */
    iso_speed speed;       /* for the hours; zero: that of `compute`, if it has one */
} iso_budget_goal;

/* Nothing given; rates 10, 15, 20, 27, 35 and 50 %; scheme strict; micro-batches as small as the
 * balance loss allows. */
iso_budget_goal iso_budget_goal_default(void);

typedef struct iso_budget_memory {
    iso_state_memory state; /* training: weights, gradients, master, moments */
    int64_t activations;    /* of a micro-batch, as this program's trainer allocates them */
    bool activations_bound; /* they are fp32's, as this processor cannot train in bf16 */
    int64_t training;       /* both */
    int64_t weights;        /* inference: resident */
    double touched;         /* inference: weights read per token, one sequence at a time */
    int64_t kv_token;       /* of the KV cache, per token of context */
} iso_budget_memory;

typedef struct iso_budget_model {
    char name[32]; /* "dense", "moe-20", "moe-20-given"; no two alike */
    iso_plan_model plan;
    bool as_given;      /* the shape is that of goal.like */
    iso_config config;  /* resolved; data.unique_tokens by the scheme */
    int64_t tokens;     /* D */
    double flops;       /* M D */
    double flops_error; /* against the baseline's; of the baseline, against the C asked for */
    double step_share;  /* one of its steps over C: what flops_error may be */
    double epochs_strict;
    int64_t unique_loose; /* D / 2; the epochs are 2 */
    double batch_over_law, lr_over_law;
    bool law_in_range;
    iso_budget_memory memory;
    double seconds; /* NaN without a speed */
    iso_gap_forecast forecast;
    bool has_forecast;
    char *warnings; /* lines, or NULL */
} iso_budget_model;

typedef enum iso_budget_limit {
    ISO_BUDGET_BY_DENSE,
    ISO_BUDGET_BY_TEXT,
    ISO_BUDGET_BY_MOE
} iso_budget_limit;

typedef struct iso_budget {
    iso_budget_goal goal;  /* with everything filled in; goal.like is not kept */
    iso_plan_goal shapes;  /* the planner's, complete */
    int64_t params;        /* N aimed at */
    double flops_asked;    /* C */
    int64_t unique_tokens; /* D-hat, strict */
    iso_budget_limit unique_by;
    bool params_solved, data_solved, flops_solved; /* which of the three followed from the others */
    double flops_per_s;                            /* for the hours; 0 = unknown */
    int64_t n_models;
    iso_budget_model models[ISO_BUDGET_MODELS_MAX]; /* the dense baseline first, MoEs by rate */
    iso_str notes; /* a line each: what a reader must know about the plan as a whole */

    /* Of iso_budget_predict; before it, and where it is refused, law is NULL. */
    const iso_gap_law *law; /* borrowed */
    iso_gap_curve curve;    /* over all rates */
    bool extrapolated;
    char *refused; /* why there is no expectation */
} iso_budget;

/* ISO_ERR_USAGE says what to add, drop or change. */
iso_status iso_budget_create(iso_budget **out, const iso_budget_goal *goal);
void iso_budget_free(iso_budget *budget);

/* Adds the expected gap of every MoE and the curve between them. `law` must outlive the budget.
 * Where the law was not fitted nothing is expected unless `extrapolate`: of single MoEs a note says
 * so, of all of them budget->refused. */
iso_status iso_budget_predict(iso_budget *budget, const iso_gap_law *law, bool extrapolate);

/* "strict", "loose", "unique". */
extern const char *const iso_budget_scheme_names[];

#endif
