#include "study/lr_rule.h"

#include "arch/steplaw.h"

#include <math.h>
#include <stddef.h>

/* Below this many parameters the sweep's findings hold; it was made at 4e5. */
#define SMALL_PARAMS 6e7

/* Best multiplier by activation rate, descending. */
static const struct {
    double rate, multiplier;
} swept[] = {{1.0, 0.25}, {0.494, 0.25}, {0.356, 0.5}, {0.264, 0.5}, {0.195, 0.5}};
#define N_SWEPT (sizeof swept / sizeof *swept)

double iso_lr_rule_multiplier(double params, double tokens, double activation_rate) {
    if (iso_steplaw_in_range(params, tokens, activation_rate < 1)) return 1;
    if (activation_rate >= swept[0].rate) return swept[0].multiplier;
    for (size_t i = 1; i < N_SWEPT; i++) {
        if (activation_rate < swept[i].rate) continue;
        double span = log(swept[i - 1].rate / swept[i].rate);
        double part = log(activation_rate / swept[i].rate) / span;
        return swept[i].multiplier * pow(swept[i - 1].multiplier / swept[i].multiplier, part);
    }
    return swept[N_SWEPT - 1].multiplier;
}

bool iso_lr_rule_norm_topk(double params) {
    return params < SMALL_PARAMS;
}
