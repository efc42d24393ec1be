/* schedule.h - the learning rate as a pure function of the step. */
#ifndef ISO_TRAIN_SCHEDULE_H
#define ISO_TRAIN_SCHEDULE_H

#include "train/config.h"

#include <stdint.h>

/* The rate of optimizer step `step`, counted from 1 to `steps`:
 *     step <= warmup:  peak * step / warmup
 *     else:            min + 0.5 (peak - min) (1 + cos(pi (step - warmup) / (steps - warmup)))
 * so step `warmup` runs at the peak and step `steps` at the minimum, which is absolute (1e-5 in the
 * paper, its Table 4). 0 <= warmup < steps. */
double iso_schedule_value(int64_t step, int64_t steps, int64_t warmup, double peak, double min);

/* The same for a resolved config. */
double iso_schedule_lr(const iso_config *config, int64_t step);

#endif
