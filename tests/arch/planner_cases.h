/* planner_cases.h - random goals that are known to have a solution, and an own judge of the answer.
 *
 * Used by test_planner.c (1,000 of them) and prove_planner.c (as many as asked for).
 */
#ifndef PLANNER_CASES_H
#define PLANNER_CASES_H

#include "arch/planner.h"

/* A goal built from a random legal MoE shape of 1e6 to 1e12 parameters: N and r_a are that shape's,
 * so the search has at least that one to find. The i-th of one seed is always the same. */
typedef struct planner_case {
    iso_plan_goal goal;
    iso_shape witness; /* the shape behind it */
    double compute;    /* C, some 100 to 1e6 steps */
} planner_case;
void planner_case_make(planner_case *out, uint64_t seed, uint64_t i);

/* What is wrong with the answer, NULL if nothing: legality, N within 0.1 %, r_a within 1 %, C
 * within one step, all recounted in 128 bits without the library. The text is static. */
const char *planner_case_judge(const planner_case *c, const iso_plan_shapes *shapes);

/* Whether some dense shape meets the goal: every H, L and F tried. */
bool planner_dense_exists(const iso_plan_goal *goal);

/* Whether some MoE meets the goal at its first rate within rate_error: every H, L, F, De, E, K
 * within the limits tried. For small N only. */
bool planner_moe_exists(const iso_plan_goal *goal, double rate_error);

#endif
