/* temp_dir.h - a folder of its own for each test: cmocka set-up and tear-down. */
#ifndef ISO_TESTS_TEMP_DIR_H
#define ISO_TESTS_TEMP_DIR_H

#include "base/fileio.h"

#include <stdlib.h>

/* *state becomes the folder's path. */
static inline int temp_dir_setup(void **state) {
    const char *root = getenv("TMPDIR");
    char *path = iso_strf("%s/isomoe_test_XXXXXX", root && root[0] ? root : "/tmp");
    *state = path;
    return mkdtemp(path) ? 0 : -1;
}

static inline int temp_dir_teardown(void **state) {
    iso_status status = iso_dir_remove(*state);
    free(*state);
    return status == ISO_OK ? 0 : -1;
}

#endif
