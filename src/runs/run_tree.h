/* run_tree.h - which run folders lie below a folder, and what their files look like from outside.
 *
 * A run folder is one with summary.json or a metrics.jsonl that is not empty; nothing below a run
 * folder, and no folder whose name begins with a dot, is looked into. Links are followed, cycles
 * are not.
 *
 * (I1) runs come in bytewise order of their paths, each once;
 * (I2) a signature is taken before the files are read: what is written while somebody reads them
 *      shows as a change the next time.
 */
#ifndef ISO_RUNS_RUN_TREE_H
#define ISO_RUNS_RUN_TREE_H

#include "base/status.h"

#include <stdint.h>

typedef struct iso_run_place {
    char *path;        /* below the root: "runs/dense-s1"; "." for the root itself */
    char *signature;   /* "name:bytes:mtime_ns:inode" of each file that a reader reads */
    int64_t changed_s; /* when the newest of them was written, in seconds since 1970 */
} iso_run_place;

typedef struct iso_run_tree {
    int64_t n_runs;
    iso_run_place *runs;
} iso_run_tree;

/* ISO_ERR_IO if the root cannot be listed; folders below that cannot are passed over with a
 * warning. */
iso_status iso_run_tree_scan(iso_run_tree *out, const char *root);
void iso_run_tree_release(iso_run_tree *tree);

/* root/path, or the root for "."; the caller frees it. */
char *iso_run_tree_path(const char *root, const char *path);

#endif
