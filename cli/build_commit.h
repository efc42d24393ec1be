/* build_commit.h - which state of the sources this program was built from. */
#ifndef ISO_CLI_BUILD_COMMIT_H
#define ISO_CLI_BUILD_COMMIT_H

/* The last commit that changed the program, "412f816", with "+" behind it if the tree had further
 * changes; "unknown" if it was built without git. */
const char *cli_build_commit(void);

#endif
