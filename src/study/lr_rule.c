#include "study/lr_rule.h"

#include <math.h>
#include <stddef.h>

/* The sweep was made at 4e5 parameters. Up to ten times that its multipliers are taken as they are;
 * from where Step Law was fitted they are 1; between, they fade in log N. */
#define SWEPT_PARAMS 4e6
#define LAW_PARAMS   6e7

/* Best multiplier by activation rate, descending. */
static const struct {
    double rate, multiplier;
} swept[] = {{1.0, 0.25}, {0.494, 0.25}, {0.356, 0.5}, {0.264, 0.5}, {0.195, 0.5}};
#define N_SWEPT (sizeof swept / sizeof *swept)

static double swept_multiplier(double activation_rate) {
    if (activation_rate >= swept[0].rate) return swept[0].multiplier;
    for (size_t i = 1; i < N_SWEPT; i++) {
        if (activation_rate < swept[i].rate) continue;
        double span = log(swept[i - 1].rate / swept[i].rate);
        double part = log(activation_rate / swept[i].rate) / span;
        return swept[i].multiplier * pow(swept[i - 1].multiplier / swept[i].multiplier, part);
    }
    return swept[N_SWEPT - 1].multiplier;
}

double iso_lr_rule_multiplier(double params, double activation_rate) {
    if (params >= LAW_PARAMS) return 1;
    double multiplier = swept_multiplier(activation_rate);
    if (params <= SWEPT_PARAMS) return multiplier;
    return pow(multiplier, log(LAW_PARAMS / params) / log(LAW_PARAMS / SWEPT_PARAMS));
}

bool iso_lr_rule_norm_topk(double params) {
    return params < LAW_PARAMS;
}
