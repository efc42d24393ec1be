/* peak.h - what this machine's vector units can do, measured: the denominator of every MFU. */
#ifndef ISO_OPS_PEAK_H
#define ISO_OPS_PEAK_H

#include "base/threads.h"
#include "tensor/dtype.h"

/* FLOP/s of fused multiply-adds on all threads of `pool` at once, registers only, with the widest
 * vectors there are; the best of a few runs of some milliseconds each. ISO_BF16, on a processor
 * that trains in it: of dot products of bf16 pairs; else of floats. */
double iso_peak_flops(iso_pool *pool, iso_dtype dtype);

#endif
