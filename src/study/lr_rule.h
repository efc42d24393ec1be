/* lr_rule.h - the learning rate below Step Law's range: the law times a measured multiplier.
 *
 * Step Law was fitted from 60M parameters and 2e9 tokens up. Far below, its rate is off, and
 * differently so for dense and MoE models: as much as the effect a comparison looks for. So every
 * side gets the optimum of one and the same sweep (tools/prove_lr_sweep.sh): five multipliers a
 * factor of two apart, on the default corpus, the best one inside the sweep. The sweep's table is
 * in docs/evidence/lr-sweep.md.
 */
#ifndef ISO_STUDY_LR_RULE_H
#define ISO_STUDY_LR_RULE_H

#include <stdbool.h>

/* The multiplier for a model of that activation rate (1 = dense), interpolated in log r_a between
 * the swept rates; from 4e6 parameters up it fades, and from 6e7 up, where the law was fitted, it
 * is 1. */
double iso_lr_rule_multiplier(double params, double activation_rate);

/* Whether routed gates are normalised (norm_topk_prob) in comparisons at that size: measured in the
 * same sweep. The paper's setting, and the config's default, is false. */
bool iso_lr_rule_norm_topk(double params);

#endif
