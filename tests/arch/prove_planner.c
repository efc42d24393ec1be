/* prove_planner FIRST END: random goals i = FIRST .. END - 1 through the planner, judged and timed.
 *
 * A line each: i, milliseconds, the larger |error| of N (dense, MoE), |error| of r_a, the relaxed
 * bits of both, and "met", "none" (no dense baseline: confirmed by trying all) or what is wrong.
 */
#include "planner_cases.h"

#include "base/clock.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void run_case(uint64_t i) {
    static iso_plan_shapes shapes, again;
    planner_case c;
    planner_case_make(&c, 2026, i);
    double start = iso_clock_s();
    iso_status status = iso_plan_shapes_find(&shapes, &c.goal);
    double ms = 1e3 * (iso_clock_s() - start);
    if (status != ISO_OK) {
        bool exists = planner_dense_exists(&c.goal);
        printf("%" PRIu64 " %.3f 0 0 0 %s\n", i, ms, exists ? iso_error_message() : "none");
        return;
    }
    const char *fault = planner_case_judge(&c, &shapes);
    if (!fault && (iso_plan_shapes_find(&again, &c.goal) != ISO_OK ||
                   memcmp(&shapes, &again, sizeof shapes) != 0))
        fault = "another answer the second time";
    const iso_plan_model *dense = &shapes.dense, *moe = &shapes.moe[0];
    printf("%" PRIu64 " %.3f %.9f %.9f %u %s\n", i, ms,
           fmax(fabs(dense->params_error), fabs(moe->params_error)), fabs(moe->rate_error),
           dense->relaxed | moe->relaxed, fault ? fault : "met");
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: prove_planner FIRST END\n");
        return 2;
    }
    uint64_t end = strtoull(argv[2], NULL, 10);
    for (uint64_t i = strtoull(argv[1], NULL, 10); i < end; i++) run_case(i);
    return 0;
}
