/* accelerators.h - what accelerators promise on paper: dense bf16 peak and memory, with the source.
 *
 * Owns: the table. Does not own: what a program reaches of it (utilisation is the user's to say, or
 * to measure), or this machine's processor (ops/peak.h measures it).
 *
 * Data sheets like to print the rate with 2:4 sparsity, twice the dense one; here stands the dense
 * one. Of GeForce cards it is the rate with fp32 accumulation, which training needs.
 */
#ifndef ISO_ARCH_ACCELERATORS_H
#define ISO_ARCH_ACCELERATORS_H

#include "base/str.h"

typedef struct iso_accelerator {
    const char *name;
    double bf16_flops_per_s; /* dense */
    double memory_bytes;
    const char *source;
} iso_accelerator;

/* The row of that name, or NULL. Letters in either case; blanks, '-' and '_' don't count: "h100",
 * "RTX 4090" and "rtx-4090" are found, and so are longer names in use, "A100-80GB" or "H100-SXM".
 */
const iso_accelerator *iso_accelerator_find(const char *name, size_t n_name);

/* The name nearest to an unknown one, or NULL if none is near. */
const char *iso_accelerator_nearest(const char *name);

/* The names, separated by ", ". */
void iso_accelerator_names(iso_str *out);

/* A line per row, name, peak and memory, for the help of a command. */
void iso_accelerator_help(iso_str *out);

/* The row of that index, NULL past the end. */
const iso_accelerator *iso_accelerator_at(size_t i);

#endif
