/* make_findings.h - findings of a made-up study, with everything that can go wrong in them. */
#ifndef ISO_TESTS_MAKE_FINDINGS_H
#define ISO_TESTS_MAKE_FINDINGS_H

#include "study/study_findings.h"

typedef enum made_findings {
    MADE_WHOLE,   /* a scan with fits, bands, the paper's points; reuse; tables; open intervals */
    MADE_HOSTILE, /* one seed, NaN, infinities, one point, 40 points, markup and quotes in names */
    MADE_REFUSED, /* runs that were not equal */
    MADE_EMPTY,   /* under way, nothing finished */
} made_findings;

/* Never NULL. */
iso_findings *make_findings(made_findings what);

#endif
