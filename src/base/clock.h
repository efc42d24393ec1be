/* clock.h - time that only goes forward; for durations, never for dates. */
#ifndef ISO_BASE_CLOCK_H
#define ISO_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t iso_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline double iso_clock_s(void) {
    return (double)iso_clock_ns() * 1e-9;
}

#endif
