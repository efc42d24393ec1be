#include "data/prepare_stage.h"

#include "base/json.h"
#include "data/dataset.h"
#include "data/dataset_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- what goes in --- */

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static iso_status add_input(iso_str *lines, int64_t *n_bytes, const iso_text_input *input,
                            const char *name) {
    iso_corpus *corpus;
    ISO_TRY(iso_corpus_open(&corpus, input->paths, input->n_paths, NULL));
    iso_str_appendf(lines, "split %s\n", name);
    *n_bytes += iso_corpus_size(corpus);
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < iso_corpus_n_files(corpus) && status == ISO_OK; i++) {
        char hex[ISO_SHA256_HEX_BYTES];
        const char *path = iso_corpus_file(corpus, i);
        status = iso_sha256_file(hex, path);
        if (status == ISO_OK) iso_str_appendf(lines, "%s %s\n", hex, base_name(path));
    }
    iso_corpus_close(corpus);
    return status;
}

iso_status iso_prepare_input_hash(char hex[ISO_SHA256_HEX_BYTES], int64_t *n_bytes,
                                  const iso_prepare_options *options, const char *tokenizer_hash) {
    iso_str lines = {0};
    iso_str_appendf(&lines, "format %d\ntokenizer %s\n", ISO_DATASET_FORMAT, tokenizer_hash);
    iso_str_appendf(&lines, "holdout %lld max_train %lld max_val %lld max_shard %lld invalid %d\n",
                    (long long)options->holdout_one_in, (long long)options->max_train_bytes,
                    (long long)options->max_val_bytes, (long long)options->max_shard_bytes,
                    (int)options->invalid);
    *n_bytes = 0;
    iso_status status = add_input(&lines, n_bytes, &options->train, "train");
    for (int64_t i = 0; i < options->n_domains && status == ISO_OK; i++)
        status = add_input(&lines, n_bytes, &options->domains[i], options->domains[i].name);
    if (status == ISO_OK) iso_sha256_bytes(hex, lines.data, (int64_t)lines.len);
    iso_str_release(&lines);
    return status;
}

/* --- what is there already --- */

/* Whether the folder was made from this input, and still opens. */
static bool is_same(const char *dir, const char *input_hash) {
    char *path = iso_strf("%s/" ISO_DATASET_SOURCES, dir);
    json_t *sources = NULL;
    const char *found;
    bool same = iso_json_load(&sources, path) == ISO_OK &&
                iso_json_get_str(&found, sources, "input_sha256", path) == ISO_OK &&
                strcmp(found, input_hash) == 0;
    json_decref(sources);
    free(path);
    iso_dataset dataset;
    if (!same || iso_dataset_open(&dataset, dir) != ISO_OK) return false;
    iso_dataset_close(&dataset);
    return true;
}

static iso_status is_empty_dir(bool *out, const char *dir) {
    char **names;
    int64_t n;
    ISO_TRY(iso_dir_list(&names, &n, dir));
    *out = n == 0;
    iso_names_free(names, n);
    return ISO_OK;
}

iso_status iso_prepare_stage_check(bool *reused, const char *out_dir, const char *input_hash,
                                   bool force) {
    *reused = false;
    if (!iso_path_exists(out_dir)) return ISO_OK;
    if (!iso_path_is_dir(out_dir))
        return iso_fail(ISO_ERR_USAGE, "--out: %s is a file; name a folder", out_dir);
    bool is_empty;
    ISO_TRY(is_empty_dir(&is_empty, out_dir));
    if (is_empty) return ISO_OK;
    char *index = iso_strf("%s/" ISO_DATASET_INDEX, out_dir);
    bool is_prepared = iso_path_exists(index);
    free(index);
    if (!is_prepared)
        return iso_fail(ISO_ERR_USAGE,
                        "--out: %s is there already and is no prepared folder; name another one",
                        out_dir);
    if (force) return ISO_OK;
    *reused = is_same(out_dir, input_hash);
    return *reused ? ISO_OK
                   : iso_fail(ISO_ERR_USAGE,
                              "--out: %s is there already, made from other text or options; name "
                              "another folder, or replace it with --force",
                              out_dir);
}

/* --- the stage --- */

/* Removes everything in the stage but the lock. */
static iso_status empty_stage(const iso_prepare_stage *stage) {
    char **names;
    int64_t n;
    ISO_TRY(iso_dir_list(&names, &n, stage->dir));
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n && status == ISO_OK; i++) {
        if (strcmp(names[i], ISO_DATASET_LOCK) == 0) continue;
        char *path = iso_strf("%s/%s", stage->dir, names[i]);
        if (unlink(path) != 0)
            status = iso_fail_errno(ISO_ERR_IO, errno, "%s: cannot remove this remainder", path);
        free(path);
    }
    iso_names_free(names, n);
    return status;
}

iso_status iso_prepare_stage_open(iso_prepare_stage *out, const char *out_dir) {
    size_t n = strlen(out_dir);
    while (n > 1 && out_dir[n - 1] == '/') n--;
    *out = (iso_prepare_stage){.out_dir = iso_strf("%.*s", (int)n, out_dir)};
    out->dir = iso_strf("%s.tmp", out->out_dir);
    out->lock_path = iso_strf("%s/" ISO_DATASET_LOCK, out->dir);
    iso_status status = iso_dir_create(out->dir);
    if (status == ISO_OK) status = iso_lock_open(&out->lock, out->lock_path);
    out->is_locked = status == ISO_OK;
    if (status == ISO_OK) status = empty_stage(out);
    if (status != ISO_OK) iso_prepare_stage_close(out);
    return status;
}

iso_status iso_prepare_stage_commit(iso_prepare_stage *stage) {
    if (unlink(stage->lock_path) != 0)
        return iso_fail_errno(ISO_ERR_IO, errno, "%s: cannot remove", stage->lock_path);
    char *old = NULL;
    if (iso_path_exists(stage->out_dir)) {
        /* Moved aside and not deleted first: until the new one is in place, the old one is all
         * there is. */
        old = iso_strf("%s.old", stage->out_dir);
        iso_status status = iso_dir_remove(old);
        if (status == ISO_OK) status = iso_dir_rename(stage->out_dir, old);
        if (status != ISO_OK) {
            free(old);
            return status;
        }
    }
    iso_status status = iso_dir_rename(stage->dir, stage->out_dir);
    stage->is_committed = status == ISO_OK;
    if (status == ISO_OK && old) status = iso_dir_remove(old);
    free(old);
    return status;
}

void iso_prepare_stage_close(iso_prepare_stage *stage) {
    if (stage->is_locked && !stage->is_committed) iso_dir_remove(stage->dir);
    if (stage->is_locked) iso_lock_close(&stage->lock);
    free(stage->lock_path);
    free(stage->out_dir);
    free(stage->dir);
    *stage = (iso_prepare_stage){0};
}
