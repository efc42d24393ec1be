#include "runs/run_tree.h"
#include "runs/run_rows.h"

#include "base/log.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Studies are two or three folders deep; a limit all the same, for the stack's sake. */
#define MAX_DEPTH 32

/* A folder on the way down; `up` is the one that holds it. */
typedef struct folder {
    const struct folder *up;
    const char *full, *path; /* with and without the root; "" for the root */
    dev_t device;
    ino_t inode;
    int depth;
} folder;

char *iso_run_tree_path(const char *root, const char *path) {
    return strcmp(path, ".") == 0 ? iso_strf("%s", root) : iso_strf("%s/%s", root, path);
}

/* --- one run --- */

/* false: no file of that name. */
static bool sign(iso_run_place *place, iso_str *signature, const char *full, const char *name,
                 int64_t *n_bytes) {
    struct stat info;
    char *path = iso_strf("%s/%s", full, name);
    bool is_there = stat(path, &info) == 0;
    free(path);
    *n_bytes = 0;
    if (!is_there) return false;
    *n_bytes = info.st_size;
    iso_str_appendf(signature, "%s%s:%" PRId64 ":%" PRId64 ":%" PRIu64, signature->len ? " " : "",
                    name, *n_bytes,
                    (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec,
                    (uint64_t)info.st_ino);
    if (info.st_mtim.tv_sec > place->changed_s) place->changed_s = info.st_mtim.tv_sec;
    return true;
}

static bool look_at(iso_run_place *out, const folder *at) {
    static const char *const names[] = {ISO_RUN_SUMMARY, ISO_RUN_METRICS, ISO_RUN_CONFIG,
                                        ISO_RUN_EVALUATION};
    iso_str signature = {0};
    int64_t n_metrics_bytes, n_bytes;
    *out = (iso_run_place){0};
    bool has_summary = sign(out, &signature, at->full, names[0], &n_bytes);
    sign(out, &signature, at->full, names[1], &n_metrics_bytes);
    if (!has_summary && n_metrics_bytes == 0) {
        iso_str_release(&signature);
        return false;
    }
    for (int i = 2; i < 4; i++) sign(out, &signature, at->full, names[i], &n_bytes);
    out->path = iso_strf("%s", at->path[0] ? at->path : ".");
    out->signature = signature.data;
    return true;
}

static void add(iso_run_tree *tree, const iso_run_place *place) {
    int64_t n = tree->n_runs;
    if ((n & (n - 1)) == 0) { /* at 0, 1, 2, 4, ... */
        tree->runs = realloc(tree->runs, (size_t)(n ? 2 * n : 1) * sizeof *tree->runs);
        ISO_ASSERT(tree->runs);
    }
    tree->runs[tree->n_runs++] = *place;
}

/* --- the walk --- */

static bool is_cycle(const folder *at) {
    for (const folder *above = at->up; above; above = above->up)
        if (above->inode == at->inode && above->device == at->device) return true;
    return false;
}

static iso_status walk(iso_run_tree *tree, const folder *up, const char *full, const char *path);

/* `type` is readdir's: most entries are files, and this saves a stat of each. */
static void enter(iso_run_tree *tree, const folder *at, const char *name, unsigned char type) {
    if (name[0] == '.' || (type != DT_DIR && type != DT_LNK && type != DT_UNKNOWN)) return;
    char *full = iso_strf("%s/%s", at->full, name);
    char *path = iso_strf("%s%s%s", at->path, at->path[0] ? "/" : "", name);
    if (walk(tree, at, full, path) != ISO_OK)
        iso_log(ISO_LOG_WARN, "passed over: %s", iso_error_message());
    free(path);
    free(full);
}

/* What is no folder, or has gone meanwhile, holds no runs. */
static iso_status walk(iso_run_tree *tree, const folder *up, const char *full, const char *path) {
    struct stat info;
    if (stat(full, &info) != 0 || !S_ISDIR(info.st_mode)) return ISO_OK;
    folder at = {up, full, path, info.st_dev, info.st_ino, up ? up->depth + 1 : 0};
    iso_run_place place;
    if (at.depth > MAX_DEPTH || is_cycle(&at)) return ISO_OK;
    if (look_at(&place, &at)) {
        add(tree, &place);
        return ISO_OK;
    }
    DIR *dir = opendir(full);
    if (!dir) return iso_fail_errno(ISO_ERR_IO, errno, "cannot list folder %s", full);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        enter(tree, &at, entry->d_name, entry->d_type);
    closedir(dir);
    return ISO_OK;
}

static int compare_places(const void *a, const void *b) {
    return strcmp(((const iso_run_place *)a)->path, ((const iso_run_place *)b)->path);
}

iso_status iso_run_tree_scan(iso_run_tree *out, const char *root) {
    struct stat info;
    *out = (iso_run_tree){0};
    if (stat(root, &info) != 0) return iso_fail_errno(ISO_ERR_IO, errno, "cannot look at %s", root);
    if (!S_ISDIR(info.st_mode))
        return iso_fail(ISO_ERR_IO, "%s is no folder; name one with run folders below it", root);
    iso_status status = walk(out, NULL, root, "");
    if (out->n_runs > 0) qsort(out->runs, (size_t)out->n_runs, sizeof *out->runs, compare_places);
    return status;
}

void iso_run_tree_release(iso_run_tree *tree) {
    for (int64_t i = 0; i < tree->n_runs; i++) {
        free(tree->runs[i].path);
        free(tree->runs[i].signature);
    }
    free(tree->runs);
    *tree = (iso_run_tree){0};
}
