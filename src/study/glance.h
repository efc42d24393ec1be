/* glance.h - how far a run is, from the end of its metrics: cheap enough for several times a
 * second.
 */
#ifndef ISO_STUDY_GLANCE_H
#define ISO_STUDY_GLANCE_H

#include <stdint.h>

typedef struct iso_glance {
    int64_t step;        /* 0 = no row yet */
    double tokens_per_s; /* of the last rows; NaN if unknown */
    double bpc;          /* headline of the last evaluation; NaN if there is none near the end */
} iso_glance;

/* Never fails: what cannot be read is unknown. */
iso_glance iso_run_glance(const char *run_dir);

#endif
