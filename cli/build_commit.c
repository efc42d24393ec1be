#include "build_commit.h"

#include <isomoe_commit.h> /* made anew by every build: cmake/commit.cmake */

const char *cli_build_commit(void) {
    return ISO_COMMIT;
}
