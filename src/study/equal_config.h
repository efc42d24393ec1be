/* equal_config.h - one side of an equal comparison: batch, steps, rate, by one procedure for all.
 *
 * Owns: how a shape and a compute become a config that trains. Does not own: which shapes
 * (arch/planner.h, arch/shape_search.h) and how much compute (budget.h, compare.h).
 *
 * (I1) the sides of a comparison made here differ in shape, batch, steps and rate only;
 * (I2) a side's M x D is within half of its own optimizer step of the reference's.
 */
#ifndef ISO_STUDY_EQUAL_CONFIG_H
#define ISO_STUDY_EQUAL_CONFIG_H

#include "train/config.h"

typedef struct iso_equal_rule {
    iso_steplaw law;
    double lr_multiplier; /* over the law; 0 = lr_rule.h's, by N and r_a */
} iso_equal_rule;

/* Sets the law's batch for `tokens` in `config`, whose shape and micro-batch are set. `config` is
 * not resolved yet: iso_equal_steps_set follows. */
iso_status iso_equal_batch_set(iso_config *config, const iso_equal_rule *rule, int64_t tokens);

/* Steps of a config with a batch: as many as give M x D = reference_flops_per_token x
 * reference_tokens, to the nearest. */
iso_status iso_equal_steps_of(int64_t *out_steps, const iso_config *config,
                              int64_t reference_flops_per_token, int64_t reference_tokens);

/* Fixes the steps of a config with a batch, and with them rate and warmup; evaluates ten times and
 * saves five times on the way. `config` is resolved then. Appends a line a warning (may be NULL),
 * but not whether the law was fitted there: iso_steplaw_in_range tells. */
iso_status iso_equal_steps_set(iso_config *config, const iso_equal_rule *rule, int64_t steps,
                               iso_str *warnings);

#endif
