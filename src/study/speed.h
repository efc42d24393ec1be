/* speed.h - how fast this machine trains a shape: measured, not guessed. */
#ifndef ISO_STUDY_SPEED_H
#define ISO_STUDY_SPEED_H

#include "train/config.h"

/* Training tokens per second of one single-threaded run while n_parallel of them run at once, from
 * a few steps on random tokens. `config` is resolved; takes about a second. */
iso_status iso_speed_measure(double *out_tokens_per_s, const iso_config *config, int n_parallel);

#endif
