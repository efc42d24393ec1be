/* peak.h - what this machine's fp32 units can do, measured: the denominator of every MFU. */
#ifndef ISO_OPS_PEAK_H
#define ISO_OPS_PEAK_H

#include "base/threads.h"

/* FLOP/s of fused multiply-adds on all threads of `pool` at once, registers only, with the widest
 * vectors there are; the best of a few runs of some milliseconds each. */
double iso_peak_flops(iso_pool *pool);

#endif
