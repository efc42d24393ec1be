/* quantity.h - quantities as people write them: 7B, 68B, 2.86e21, 10%, 8xH100@40%x10d.
 *
 * Owns: the grammars below and their messages. Does not own: what a quantity is for, or ranges
 * beyond "positive and countable".
 *
 *   number      digits, a point, an exponent: 7, 2.15, .5, 9.1e20; no sign, no blanks inside
 *   count       number [K|M|B|G|T|P], or thousand, million, billion, trillion: 7B, 1.5T, 68e9
 *   fraction    number, or number%: 0.2, 20%
 *   duration    number (s|m|min|h|d|w), several in a row add up: 10d, 3h, 1d12h
 *   speed       [whole number x] ACCELERATOR [@ fraction, or what one sustains], or count tok/s:
 *               8xH100@40%, 8xH100@400TFLOP/s, 1650tok/s
 *   compute     count, or number FLOP with G..Z before it: 2.86e21, 2.86ZFLOP; or PFLOP-days,
 *               EF-days; or speed x duration: 8xH100@40%x10d, 1650tok/s x 3h
 *   rates       fraction or fraction..fraction/whole number (evenly spaced in log, both ends
 *               included), between commas: 10%,20%,0.35 and 0.1..0.5/9; the % of 10..50%/5 is meant
 *               for both ends where the left one is 1 or more
 *
 * Units are taken in either case, blanks around x and @ are allowed, and * stands for x. Where
 * nothing else can be meant, signs may be left out: 8 H100s for 10 days. The part of the peak that
 * is reached, where it is not said, is 40 % (iso_speed.utilisation_assumed tells).
 *
 * (I1) what is accepted is finite and positive; everything else (signs, zero, overflow, "nan", an
 *      unknown unit, something left over) is ISO_ERR_USAGE, naming what was read and what would do,
 *      and leaves *out alone;
 * (I2) a decimal with a unit is the double nearest to its exact value: 2.15B is 2150000000.
 */
#ifndef ISO_ARCH_QUANTITY_H
#define ISO_ARCH_QUANTITY_H

#include "arch/accelerators.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define ISO_COUNT_MAX    1000000000000000 /* 1e15: what a config can hold */
#define ISO_QUANTITY_MAX 200              /* bytes of a text that is read at all */

/* A rate of training. Either of devices (flops_per_s is known), or measured on the dense baseline
 * (tokens_per_s is). The other is 0. */
typedef struct iso_speed {
    double flops_per_s;
    double tokens_per_s;
    const iso_accelerator *accelerator; /* NULL if measured */
    int64_t n_devices;
    double utilisation; /* of the dense bf16 peak */
    bool utilisation_assumed;
} iso_speed;

typedef struct iso_compute {
    double flops;    /* 0 where only the baseline's tokens are known */
    double tokens;   /* of the dense baseline: tokens_per_s x seconds; else 0 */
    double seconds;  /* 0 if plain FLOPs were given */
    iso_speed speed; /* zero if plain FLOPs were given */
} iso_compute;

/* `what` begins the message: "--params". Whole, 1 to ISO_COUNT_MAX. */
iso_status iso_quantity_count(int64_t *out, const char *what, const char *text);
/* The same, and the word may follow: "200B tokens". */
iso_status iso_quantity_tokens(int64_t *out, const char *what, const char *text);
/* In (0, 1]. */
iso_status iso_quantity_fraction(double *out, const char *what, const char *text);
iso_status iso_quantity_speed(iso_speed *out, const char *what, const char *text);
/* FLOPs are at most 1e30. */
iso_status iso_quantity_compute(iso_compute *out, const char *what, const char *text);
/* Appends to rates[0 .. *n), each in (0, 1), at most n_max in all; keeps them ascending. The same
 * rate twice is refused. */
iso_status iso_quantity_rates(double *rates, int64_t *n, int64_t n_max, const char *what,
                              const char *text);

/* In words: "8 x H100 at 40 % of 989 TFLOP/s", "1650 tokens/s". */
void iso_speed_say(iso_str *out, const iso_speed *speed);

#endif
