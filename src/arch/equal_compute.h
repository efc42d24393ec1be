/* equal_compute.h - how many steps make one model's compute equal to another's. */
#ifndef ISO_ARCH_EQUAL_COMPUTE_H
#define ISO_ARCH_EQUAL_COMPUTE_H

#include "base/status.h"

#include <stdint.h>

/* Optimizer steps that give a model of train_flops_per_token the compute of the reference,
 * C = M_reference D_reference, as nearly as whole steps can: the nearest integer, at least 1.
 * Exact in 128 bits; ISO_ERR_USAGE if an argument is not positive or the answer leaves int64. */
iso_status iso_equal_steps(int64_t *out_steps, int64_t reference_train_flops_per_token,
                           int64_t reference_tokens, int64_t train_flops_per_token,
                           int64_t batch_tokens);

#endif
