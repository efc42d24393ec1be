/* steplaw.h - Step Law: the learning rate and batch that fit a model of N parameters on D tokens.
 *
 *     lr = a N^b D^c        batch = d D^e  (tokens)
 *
 * (Li et al. 2025, "Predictable Scale: Part I"). N counts all non-vocabulary parameters, convention
 * `paper`, also for an MoE; the final rate is 1e-5 whatever the peak. The published constants are
 * rounded and give rates 1.5-2.1 % low; the unrounded ones, means of the authors' 1000 bootstrap
 * fits, reproduce the rates that the isomoe paper used.
 */
#ifndef ISO_ARCH_STEPLAW_H
#define ISO_ARCH_STEPLAW_H

#include <stdbool.h>
#include <stdint.h>

typedef enum iso_steplaw { ISO_STEPLAW_UNROUNDED, ISO_STEPLAW_ROUNDED } iso_steplaw;

/* Peak learning rate. params, tokens > 0. */
double iso_steplaw_lr(iso_steplaw law, double params, double tokens);
/* Tokens per optimizer step. */
double iso_steplaw_batch_tokens(iso_steplaw law, double tokens);

/* Whether the law was fitted there: 60M to 1.07B parameters dense (2.15B MoE), 2e9 to 1e11 tokens.
 */
bool iso_steplaw_in_range(double params, double tokens, bool moe);

#endif
