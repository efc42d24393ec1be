/* peak.h - what this machine's vector units and memory can do at this moment, measured: the
 * denominators of every fraction.
 *
 * On a shared machine a core may be taken away, wholly or half, for tens of milliseconds at any
 * time. A rate is therefore compared with bursts taken right before and right after it, which
 * suffer as it does; the best of many bursts is what the machine can do when left alone.
 *
 * Work is handed out in pieces, as the kernels' is: a slow core slows a burst by its share alone.
 * With a pool of one thread time is the processor's: what others take does not count.
 */
#ifndef ISO_OPS_PEAK_H
#define ISO_OPS_PEAK_H

#include "base/threads.h"
#include "tensor/dtype.h"

/* FLOP/s of fused multiply-adds on all threads of `pool` at once, registers only, with the widest
 * vectors there are, for about 5 ms (AVX-512; longer with narrower vectors). ISO_BF16, on a
 * processor that trains in it: of dot products of bf16 pairs; else of floats. */
double iso_peak_burst(iso_pool *pool, iso_dtype dtype);

/* The best of several bursts: the machine's own peak, if it was left alone during one of them. */
double iso_peak_flops(iso_pool *pool, iso_dtype dtype);

/* Bytes/s between memory and all threads of `pool`, each the best of a few passes over 192 MiB. */
typedef struct iso_bandwidth {
    double read;   /* sums of three arrays */
    double triad;  /* a = b + s c: two read, one written. A plain store fetches its line first: that
                      is not counted, as it is not in iso_counters.op_bytes */
    double update; /* a = a + s b: two read, one written, nothing else moves */
} iso_bandwidth;
/* ISO_ERR_MEMORY without the 192 MiB, which are given back. */
iso_status iso_peak_bandwidth(iso_bandwidth *out, iso_pool *pool);

#endif
