/* Saving, choosing and removing checkpoints.
 *
 * The order of a save is the whole point (docs/formats.md, "Checkpoint"): all bytes are durable
 * under a temporary name before the one rename that makes the checkpoint exist. Removal is the
 * mirror image: the rename to a temporary name comes first, so a kill in the middle of it cannot
 * leave a step_N that is half there. Whatever ends in ".tmp" is therefore rubbish, whenever it is
 * seen.
 */
#include "train/checkpoint_files.h"

#include "base/arena.h"
#include "base/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEP_PREFIX "step_"
#define TEMP_SUFFIX ".tmp"

/* Room beyond the tensors for headers (a name, a shape and offsets each), JSON and folder entries.
 */
#define SPACE_PER_TENSOR_BYTES 512
#define SPACE_MARGIN_BYTES     (1 << 20)

/* --- names and lists --- */

static char *checkpoints_dir(const char *run_dir) {
    return iso_strf("%s/checkpoints", run_dir);
}

static char *step_dir(const char *parent, int64_t step) {
    return iso_strf("%s/" STEP_PREFIX "%" PRId64, parent, step);
}

/* "step_120" -> 120; false on anything that is not exactly the name of a step. */
static bool step_from_name(int64_t *out, const char *name) {
    size_t n_prefix = strlen(STEP_PREFIX);
    if (strncmp(name, STEP_PREFIX, n_prefix) != 0 || !iso_str_to_i64(name + n_prefix, out))
        return false;
    char *canonical = iso_strf(STEP_PREFIX "%" PRId64, *out);
    bool is_same = *out >= 0 && strcmp(canonical, name) == 0;
    free(canonical);
    return is_same;
}

static bool has_suffix(const char *text, const char *suffix) {
    size_t n = strlen(text), n_suffix = strlen(suffix);
    return n >= n_suffix && strcmp(text + n - n_suffix, suffix) == 0;
}

static int compare_descending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The steps that have a folder in `parent`, newest first; none if it does not exist. Caller frees.
 */
static iso_status list_steps(int64_t **out, int64_t *n, const char *parent) {
    *out = NULL;
    *n = 0;
    if (!iso_path_is_dir(parent)) return ISO_OK;
    char **names;
    int64_t n_names;
    ISO_TRY(iso_dir_list(&names, &n_names, parent));
    *out = calloc((size_t)n_names + 1, sizeof **out);
    if (*out) {
        for (int64_t i = 0; i < n_names; i++)
            if (step_from_name(&(*out)[*n], names[i])) ++*n;
        qsort(*out, (size_t)*n, sizeof **out, compare_descending);
    }
    iso_names_free(names, n_names);
    return *out ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "%s: no memory to list it", parent);
}

/* Removes what interrupted saves and removals left behind. */
static iso_status remove_stale(const char *parent) {
    if (!iso_path_is_dir(parent)) return ISO_OK;
    char **names;
    int64_t n_names;
    iso_status status = ISO_OK;
    ISO_TRY(iso_dir_list(&names, &n_names, parent));
    for (int64_t i = 0; i < n_names && status == ISO_OK; i++) {
        if (!has_suffix(names[i], TEMP_SUFFIX)) continue;
        char *path = iso_strf("%s/%s", parent, names[i]);
        iso_log(ISO_LOG_INFO, "removing %s, left by an interrupted save", path);
        status = iso_dir_remove(path);
        free(path);
    }
    iso_names_free(names, n_names);
    return status;
}

static iso_status remove_step(const char *parent, int64_t step) {
    char *path = step_dir(parent, step);
    char *temp = iso_strf("%s" TEMP_SUFFIX, path);
    iso_status status = iso_dir_remove(temp);
    if (status == ISO_OK) status = iso_dir_rename(path, temp);
    if (status == ISO_OK) status = iso_dir_remove(temp);
    free(temp);
    free(path);
    return status;
}

/* --- saving: the files --- */

static bool is_finite(const iso_safetensor *tensor, int64_t i) {
    switch (tensor->dtype) {
    case ISO_F32:
        return isfinite(((const float *)tensor->data)[i]);
    case ISO_F64:
        return isfinite(((const double *)tensor->data)[i]);
    case ISO_BF16:
        return (((const uint16_t *)tensor->data)[i] & 0x7f80) != 0x7f80;
    default:
        return true;
    }
}

static iso_status check_finite(const iso_safetensor *tensors, int64_t n, int64_t step) {
    for (int64_t i = 0; i < n; i++) {
        const iso_safetensor *tensor = &tensors[i];
        int64_t n_items = iso_safetensor_bytes(tensor) / iso_dtype_bytes(tensor->dtype);
        for (int64_t j = 0; j < n_items; j++)
            if (!is_finite(tensor, j))
                return iso_fail(ISO_ERR_NONFINITE,
                                "%s holds NaN or infinity after step %" PRId64
                                ": not saved; the last checkpoint is still good",
                                tensor->name, step);
    }
    return ISO_OK;
}

static void list_file(json_t *files, const char *name, int64_t n_bytes, const char *sha256) {
    json_object_set_new(files, name,
                        json_pack("{s:I, s:s}", "bytes", (json_int_t)n_bytes, "sha256", sha256));
}

static iso_status write_tensors(json_t *files, const char *dir, const char *name,
                                const iso_safetensor *tensors, int64_t n) {
    char *path = iso_strf("%s/%s", dir, name);
    iso_safetensors_writer writer;
    char sha256[ISO_SHA256_HEX_BYTES];
    iso_status status = iso_safetensors_writer_open(&writer, path, tensors, n, NULL);
    if (status == ISO_OK) {
        for (int64_t i = 0; i < n && status == ISO_OK; i++)
            status = iso_safetensors_writer_add(&writer, tensors[i].data);
        if (status == ISO_OK) status = iso_safetensors_writer_commit(&writer, sha256);
        if (status == ISO_OK) list_file(files, name, writer.n_bytes, sha256);
        iso_safetensors_writer_abandon(&writer);
    }
    free(path);
    return status;
}

/* `files` NULL: not to be listed. */
static iso_status write_bytes(json_t *files, const char *dir, const char *name, const void *bytes,
                              int64_t n_bytes) {
    char *path = iso_strf("%s/%s", dir, name);
    char sha256[ISO_SHA256_HEX_BYTES];
    iso_status status = iso_file_write_atomic(path, bytes, n_bytes);
    if (status == ISO_OK && files) {
        iso_sha256_bytes(sha256, bytes, n_bytes);
        list_file(files, name, n_bytes, sha256);
    }
    free(path);
    return status;
}

static iso_status write_json(json_t *files, const char *dir, const char *name,
                             const json_t *value) {
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    if (!text)
        return iso_fail(ISO_ERR_FAILED, "%s/%s: the loop's state cannot be put as JSON", dir, name);
    iso_status status = write_bytes(files, dir, name, text, (int64_t)strlen(text));
    free(text);
    return status;
}

/* The manifest, then its seal: after these two the folder is complete. Every write above syncs the
 * folder, too, so its entries are durable with the last. */
static iso_status write_manifest(const char *dir, const iso_checkpoint *checkpoint, json_t *files) {
    const iso_checkpoint_identity *identity = &checkpoint->identity;
    json_t *manifest = json_pack(
        "{s:i, s:s, s:I, s:O, s:s, s:s, s:s, s:O}", "format", ISO_CHECKPOINT_FORMAT, "version",
        ISO_VERSION, "step", (json_int_t)checkpoint->step, "files", files, "config_hash",
        identity->config_hash, "data_hash", identity->data_hash, "tokenizer_hash",
        identity->tokenizer_hash, "numeric_profile", identity->numeric_profile);
    char *text = manifest ? json_dumps(manifest, JSON_INDENT(2)) : NULL;
    json_decref(manifest);
    if (!text) return iso_fail(ISO_ERR_FAILED, "%s: its hashes cannot be put as JSON", dir);
    int64_t n_bytes = (int64_t)strlen(text);
    char *seal = iso_checkpoint_seal(text, n_bytes);
    iso_status status = write_bytes(NULL, dir, ISO_CHECKPOINT_MANIFEST, text, n_bytes);
    if (status == ISO_OK)
        status = write_bytes(NULL, dir, ISO_CHECKPOINT_SEAL, seal, (int64_t)strlen(seal));
    free(seal);
    free(text);
    return status;
}

static iso_status write_folder(const char *dir, const iso_checkpoint *checkpoint) {
    json_t *files = json_object();
    iso_status status =
        write_tensors(files, dir, ISO_CHECKPOINT_MODEL, checkpoint->model, checkpoint->n_model);
    if (status == ISO_OK)
        status = write_tensors(files, dir, ISO_CHECKPOINT_OPTIM, checkpoint->optimizer,
                               checkpoint->n_optimizer);
    if (status == ISO_OK) status = write_json(files, dir, ISO_CHECKPOINT_LOOP, checkpoint->loop);
    if (status == ISO_OK && checkpoint->n_blob_bytes > 0)
        status = write_bytes(files, dir, ISO_CHECKPOINT_BLOB, checkpoint->blob,
                             checkpoint->n_blob_bytes);
    if (status == ISO_OK) status = write_manifest(dir, checkpoint, files);
    json_decref(files);
    return status;
}

static int64_t space_needed(const iso_checkpoint *checkpoint) {
    int64_t n_bytes = SPACE_MARGIN_BYTES + checkpoint->n_blob_bytes;
    for (int64_t i = 0; i < checkpoint->n_model; i++)
        n_bytes += iso_safetensor_bytes(&checkpoint->model[i]) + SPACE_PER_TENSOR_BYTES;
    for (int64_t i = 0; i < checkpoint->n_optimizer; i++)
        n_bytes += iso_safetensor_bytes(&checkpoint->optimizer[i]) + SPACE_PER_TENSOR_BYTES;
    return n_bytes;
}

/* --- saving: the folder --- */

/* Removes `dir` after a failure without losing the message of that failure. */
static iso_status drop_after(iso_status failure, const char *dir) {
    char *message = iso_strf("%s", iso_error_message());
    if (iso_dir_remove(dir) != ISO_OK)
        iso_log(ISO_LOG_WARN, "could not remove %s: %s", dir, iso_error_message());
    iso_fail(failure, "%s", message);
    free(message);
    return failure;
}

static iso_status save_new(const char *parent, const iso_checkpoint *checkpoint) {
    char *path = step_dir(parent, checkpoint->step);
    char *temp = iso_strf("%s" TEMP_SUFFIX, path);
    iso_status status = iso_dir_remove(temp);
    if (status == ISO_OK) status = iso_dir_check_space(parent, space_needed(checkpoint));
    if (status == ISO_OK) {
        status = iso_dir_create(temp);
        if (status == ISO_OK) status = write_folder(temp, checkpoint);
        if (status == ISO_OK) status = iso_dir_rename(temp, path);
        if (status != ISO_OK) drop_after(status, temp);
    }
    if (status == ISO_OK) {
        status = iso_checkpoint_verify(NULL, path);
        if (status != ISO_OK) drop_after(status, path);
    }
    free(temp);
    free(path);
    return status;
}

/* Removes the checkpoints before `step` but for the newest keep_last - 1 of them. */
static iso_status remove_old(const char *parent, int64_t step, int64_t keep_last) {
    int64_t *steps, n_steps, n_kept = 1;
    if (keep_last == 0) return ISO_OK;
    ISO_TRY(list_steps(&steps, &n_steps, parent));
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n_steps && status == ISO_OK; i++) {
        if (steps[i] >= step) continue;
        if (n_kept++ >= keep_last) status = remove_step(parent, steps[i]);
    }
    free(steps);
    return status;
}

/* *is_there: a checkpoint of this step exists and verifies. One that does not is removed. */
static iso_status check_existing(bool *is_there, const char *parent, int64_t step) {
    char *path = step_dir(parent, step);
    iso_status status = ISO_OK;
    *is_there = false;
    if (iso_path_exists(path)) {
        *is_there = iso_checkpoint_verify(NULL, path) == ISO_OK;
        if (!*is_there) {
            iso_log(ISO_LOG_WARN, "replacing a bad checkpoint: %s", iso_error_message());
            status = remove_step(parent, step);
        }
    }
    free(path);
    return status;
}

iso_status iso_checkpoint_save(const char *run_dir, const iso_checkpoint *checkpoint,
                               int64_t keep_last) {
    ISO_ASSERT(checkpoint->step >= 0 && keep_last >= 0);
    ISO_TRY(check_finite(checkpoint->model, checkpoint->n_model, checkpoint->step));
    ISO_TRY(check_finite(checkpoint->optimizer, checkpoint->n_optimizer, checkpoint->step));
    char *parent = checkpoints_dir(run_dir);
    bool is_there = false;
    iso_status status = iso_dir_create(parent);
    if (status == ISO_OK) status = check_existing(&is_there, parent, checkpoint->step);
    if (status == ISO_OK && !is_there) status = save_new(parent, checkpoint);
    if (status == ISO_OK) status = remove_old(parent, checkpoint->step, keep_last);
    if (status != ISO_OK) iso_fail_context(status, "checkpoint of step %" PRId64, checkpoint->step);
    free(parent);
    return status;
}

/* --- choosing --- */

/* Whether a checkpoint that failed with `status` is a bad one, to be passed over, rather than a
 * sign that nothing can be done here. */
static bool is_bad_checkpoint(iso_status status) {
    return status == ISO_ERR_DATA || status == ISO_ERR_IO || status == ISO_ERR_UNSUPPORTED;
}

static iso_status verify_step(json_t **manifest, const char *dir, int64_t step) {
    ISO_TRY(iso_checkpoint_verify(manifest, dir));
    int64_t said = -1;
    iso_status status = iso_json_get_i64(&said, *manifest, "step", ISO_CHECKPOINT_MANIFEST);
    if (status == ISO_OK && said != step)
        status = iso_fail(ISO_ERR_DATA, "%s is a checkpoint of step %" PRId64 " under another name",
                          dir, said);
    if (status != ISO_OK) {
        json_decref(*manifest);
        *manifest = NULL;
    }
    return status;
}

/* The newest checkpoint in `parent` that verifies: its folder and its manifest; *dir is NULL if
 * there are none at all. */
static iso_status find_newest(char **dir, json_t **manifest, const char *parent) {
    int64_t *steps, n_steps;
    *dir = NULL;
    ISO_TRY(list_steps(&steps, &n_steps, parent));
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n_steps; i++) {
        char *path = step_dir(parent, steps[i]);
        status = verify_step(manifest, path, steps[i]);
        if (status == ISO_OK) {
            *dir = path;
            break;
        }
        free(path);
        if (!is_bad_checkpoint(status)) break;
        iso_log(ISO_LOG_WARN, "bad checkpoint passed over: %s", iso_error_message());
    }
    free(steps);
    if (is_bad_checkpoint(status))
        iso_fail_context(status,
                         "none of the %" PRId64 " checkpoints in %s is good; move them away to "
                         "start afresh. The oldest",
                         n_steps, parent);
    return status;
}

iso_status iso_checkpoint_resume(bool *found, const char *run_dir, iso_checkpoint *checkpoint) {
    char *parent = checkpoints_dir(run_dir), *dir = NULL;
    json_t *manifest = NULL;
    iso_status status = remove_stale(parent);
    if (status == ISO_OK) status = find_newest(&dir, &manifest, parent);
    *found = status == ISO_OK && dir;
    if (*found) {
        status = iso_checkpoint_apply(dir, manifest, checkpoint);
        json_decref(manifest);
    }
    free(dir);
    free(parent);
    return status;
}

iso_status iso_checkpoint_discard_after(const char *run_dir, int64_t step) {
    char *parent = checkpoints_dir(run_dir);
    int64_t *steps, n_steps;
    iso_status status = list_steps(&steps, &n_steps, parent);
    for (int64_t i = 0; status == ISO_OK && i < n_steps && steps[i] > step; i++) {
        iso_log(ISO_LOG_WARN,
                "removing the checkpoint of step %" PRId64 ": the run goes on from step "
                "%" PRId64,
                steps[i], step);
        status = remove_step(parent, steps[i]);
    }
    free(steps);
    free(parent);
    return status;
}

static bool is_checkpoint_dir(const char *dir) {
    char *manifest = iso_strf("%s/%s", dir, ISO_CHECKPOINT_MANIFEST);
    char *model = iso_strf("%s/%s", dir, ISO_CHECKPOINT_MODEL);
    bool is_one = iso_path_exists(manifest) || iso_path_exists(model);
    free(model);
    free(manifest);
    return is_one;
}

iso_status iso_checkpoint_find(char **out, const char *run_or_checkpoint) {
    *out = NULL;
    if (is_checkpoint_dir(run_or_checkpoint)) {
        *out = iso_strf("%s", run_or_checkpoint);
        return ISO_OK;
    }
    char *parent = checkpoints_dir(run_or_checkpoint);
    json_t *manifest = NULL;
    iso_status status = find_newest(out, &manifest, parent);
    json_decref(manifest);
    free(parent);
    if (status == ISO_OK && !*out)
        return iso_fail(ISO_ERR_USAGE, "%s is neither a checkpoint nor a run folder with one",
                        run_or_checkpoint);
    return status;
}
