/* audit_brief.h - what `isomoe audit` says of one comparison among several, in a few lines.
 *
 * Owns: how many runs are equal, whether the best is, and what speaks against the others, a line
 * per quantity. Does not own: the full account (cmd_audit.c), the verdict (runs/audit.h).
 */
#ifndef ISO_CLI_AUDIT_BRIEF_H
#define ISO_CLI_AUDIT_BRIEF_H

#include "runs/audit.h"

/* Of the runs that are not the reference. */
typedef struct audit_tally {
    int64_t n_runs, n_equal;
    const iso_audit_side *best; /* lowest BPC; NULL if none has one */
} audit_tally;
audit_tally audit_tally_of(const iso_audit *audit);

/* Prints the comparison `name` on stdout. */
void audit_brief_print(const iso_audit *audit, const char *name);

#endif
