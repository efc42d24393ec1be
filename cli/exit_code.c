#include "cli.h"

/* The exit codes of isomoe, all of them. They are promised in docs and used by scripts: 0, 1, 2, 3
 * and 75 (EX_TEMPFAIL) keep their meaning for ever. */
int cli_exit_code(iso_status status) {
    switch (status) {
    case ISO_OK:
        return 0;
    case ISO_ERR_FAILED:
    case ISO_ERR_DATA:
    case ISO_ERR_IO:
    case ISO_ERR_MEMORY:
    case ISO_ERR_UNSUPPORTED:
        return 1; /* failed */
    case ISO_ERR_USAGE:
        return 2; /* command line, configuration or shape: nothing was begun */
    case ISO_ERR_NOT_EQUAL:
        return 3; /* the audit's answer is no */
    case ISO_ERR_NO_SPACE:
        return 4; /* free some space and run again */
    case ISO_ERR_LOCKED:
        return 5; /* another process owns the run folder */
    case ISO_ERR_NONFINITE:
        return 6; /* training met NaN or infinity */
    case ISO_ERR_PREEMPTED:
        return 75; /* a checkpoint is saved: run again to go on */
    }
    return 1;
}
