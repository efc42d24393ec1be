/* Verifying and loading one checkpoint folder.
 *
 * Verification goes from the seal outwards: the seal vouches for every byte of the manifest, the
 * manifest for the size and every byte of each file, and the folder may hold nothing else. Only
 * then is anything parsed. Loading checks all that is to be copied before it copies anything (I2).
 */
#include "train/checkpoint_files.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SEAL_MAX_BYTES     1024
#define MANIFEST_MAX_BYTES (1 << 20)

char *iso_checkpoint_seal(const char *manifest, int64_t n_bytes) {
    char hex[ISO_SHA256_HEX_BYTES];
    iso_sha256_bytes(hex, manifest, n_bytes);
    return iso_strf("%s  %s\n", hex, ISO_CHECKPOINT_MANIFEST);
}

/* --- verifying --- */

/* Reads the manifest and compares it with its seal. Caller frees *out. */
static iso_status read_sealed_manifest(char **out, int64_t *n_bytes, const char *dir) {
    char *path = iso_strf("%s/%s", dir, ISO_CHECKPOINT_MANIFEST);
    char *seal_path = iso_strf("%s/%s", dir, ISO_CHECKPOINT_SEAL);
    char *seal = NULL, *expected = NULL;
    int64_t n_seal_bytes = 0;
    iso_status status = iso_file_read(out, n_bytes, path, MANIFEST_MAX_BYTES);
    if (status == ISO_OK) status = iso_file_read(&seal, &n_seal_bytes, seal_path, SEAL_MAX_BYTES);
    if (status == ISO_OK) {
        expected = iso_checkpoint_seal(*out, *n_bytes);
        if (n_seal_bytes != (int64_t)strlen(expected) ||
            memcmp(seal, expected, (size_t)n_seal_bytes) != 0)
            status = iso_fail(ISO_ERR_DATA,
                              "%s: the manifest is damaged: its SHA-256 is not the one "
                              "in %s",
                              path, ISO_CHECKPOINT_SEAL);
    }
    free(expected);
    free(seal);
    free(seal_path);
    free(path);
    return status;
}

static bool is_known_file(const char *name) {
    return strcmp(name, ISO_CHECKPOINT_MODEL) == 0 || strcmp(name, ISO_CHECKPOINT_OPTIM) == 0 ||
           strcmp(name, ISO_CHECKPOINT_LOOP) == 0 || strcmp(name, ISO_CHECKPOINT_BLOB) == 0;
}

static iso_status verify_file(const char *dir, const char *name, const json_t *entry) {
    int64_t n_expected, n_bytes;
    const char *sha256;
    char hex[ISO_SHA256_HEX_BYTES];
    if (!is_known_file(name))
        return iso_fail(ISO_ERR_DATA, "%s: the manifest lists a file that no checkpoint has", dir);
    ISO_TRY(iso_json_get_i64(&n_expected, entry, "bytes", ISO_CHECKPOINT_MANIFEST));
    ISO_TRY(iso_json_get_str(&sha256, entry, "sha256", ISO_CHECKPOINT_MANIFEST));
    char *path = iso_strf("%s/%s", dir, name);
    iso_status status = iso_file_size(&n_bytes, path);
    if (status == ISO_OK && n_bytes != n_expected)
        status = iso_fail(ISO_ERR_DATA, "%s has %" PRId64 " bytes; its manifest says %" PRId64,
                          path, n_bytes, n_expected);
    if (status == ISO_OK) status = iso_sha256_file(hex, path);
    if (status == ISO_OK && strcmp(hex, sha256) != 0)
        status = iso_fail(ISO_ERR_DATA, "%s is damaged: its SHA-256 is not the manifest's", path);
    free(path);
    return status;
}

/* The folder holds the manifest's files, the manifest and its seal, and nothing else. */
static iso_status verify_names(const char *dir, const json_t *files) {
    char **names;
    int64_t n_names;
    ISO_TRY(iso_dir_list(&names, &n_names, dir));
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n_names && status == ISO_OK; i++) {
        bool is_expected = strcmp(names[i], ISO_CHECKPOINT_MANIFEST) == 0 ||
                           strcmp(names[i], ISO_CHECKPOINT_SEAL) == 0 ||
                           json_object_get(files, names[i]);
        if (!is_expected)
            status = iso_fail(ISO_ERR_DATA, "%s holds %s, which its manifest does not list", dir,
                              names[i]);
    }
    iso_names_free(names, n_names);
    return status;
}

static iso_status verify_files(const json_t *manifest, const char *dir) {
    static const char *const mandatory[] = {ISO_CHECKPOINT_MODEL, ISO_CHECKPOINT_OPTIM,
                                            ISO_CHECKPOINT_LOOP};
    int64_t format;
    json_t *files;
    ISO_TRY(iso_json_get_i64(&format, manifest, "format", ISO_CHECKPOINT_MANIFEST));
    if (format != ISO_CHECKPOINT_FORMAT)
        return iso_fail(ISO_ERR_UNSUPPORTED,
                        "%s has checkpoint format %" PRId64 "; this version reads "
                        "%d: use the version that wrote it",
                        dir, format, ISO_CHECKPOINT_FORMAT);
    ISO_TRY(iso_json_get_object(&files, manifest, "files", ISO_CHECKPOINT_MANIFEST));
    for (size_t i = 0; i < sizeof mandatory / sizeof *mandatory; i++)
        if (!json_object_get(files, mandatory[i]))
            return iso_fail(ISO_ERR_DATA, "%s: its manifest lists no %s", dir, mandatory[i]);
    ISO_TRY(verify_names(dir, files));
    const char *name;
    json_t *entry;
    json_object_foreach(files, name, entry) ISO_TRY(verify_file(dir, name, entry));
    return ISO_OK;
}

iso_status iso_checkpoint_verify(json_t **manifest, const char *dir) {
    char *text = NULL;
    int64_t n_bytes = 0;
    json_t *parsed = NULL;
    iso_status status = read_sealed_manifest(&text, &n_bytes, dir);
    if (status == ISO_OK) status = iso_json_parse(&parsed, text, n_bytes, ISO_CHECKPOINT_MANIFEST);
    if (status == ISO_OK) status = verify_files(parsed, dir);
    free(text);
    if (status == ISO_OK && manifest)
        *manifest = parsed;
    else
        json_decref(parsed);
    return status;
}

/* --- loading --- */

static iso_status match_hash(const char *dir, const json_t *manifest, const char *key,
                             const char *expected, const char *what) {
    const char *found;
    if (!expected) return ISO_OK;
    ISO_TRY(iso_json_get_str(&found, manifest, key, ISO_CHECKPOINT_MANIFEST));
    if (strcmp(found, expected) == 0) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "%s was saved with another %s (%.12s, now %.12s): give back the "
                    "old one, or start a new run in another folder",
                    dir, what, found, expected);
}

static iso_status match_identity(const char *dir, const json_t *manifest,
                                 const iso_checkpoint_identity *identity) {
    ISO_TRY(match_hash(dir, manifest, "config_hash", identity->config_hash, "configuration"));
    ISO_TRY(match_hash(dir, manifest, "data_hash", identity->data_hash, "prepared folder"));
    ISO_TRY(match_hash(dir, manifest, "tokenizer_hash", identity->tokenizer_hash, "tokenizer"));
    const json_t *profile = json_object_get(manifest, "numeric_profile");
    if (identity->numeric_profile && !json_equal(profile, identity->numeric_profile))
        iso_log(ISO_LOG_WARN,
                "%s was saved under another numeric profile (precision, ISA or library): "
                "the run goes on, but its bits are no longer those of one machine",
                dir);
    return ISO_OK;
}

/* One file's tensors against the caller's: the same set, types and shapes. */
static iso_status match_tensors(const iso_safetensors *file, const iso_safetensor *tensors,
                                int64_t n, const char *path) {
    for (int64_t i = 0; i < n; i++) {
        const iso_safetensor *wanted = &tensors[i];
        const iso_safetensor *found = iso_safetensors_find(file, wanted->name);
        if (!found) return iso_fail(ISO_ERR_DATA, "%s: tensor %s is missing", path, wanted->name);
        bool is_same =
            found->dtype == wanted->dtype && found->n_dims == wanted->n_dims &&
            memcmp(found->dims, wanted->dims, (size_t)found->n_dims * sizeof *found->dims) == 0;
        if (!is_same)
            return iso_fail(ISO_ERR_DATA, "%s: tensor %s has another dtype or shape than the model",
                            path, wanted->name);
    }
    if (file->n_tensors == n) return ISO_OK;
    return iso_fail(ISO_ERR_DATA,
                    "%s: %" PRId64 " tensors, the model has %" PRId64 ": some are not "
                    "its own",
                    path, file->n_tensors, n);
}

static iso_status open_tensors(iso_safetensors *out, const char *dir, const char *name,
                               const iso_safetensor *tensors, int64_t n) {
    char *path = iso_strf("%s/%s", dir, name);
    iso_status status = iso_safetensors_open(out, path);
    if (status == ISO_OK) {
        status = match_tensors(out, tensors, n, path);
        if (status != ISO_OK) iso_safetensors_close(out);
    }
    free(path);
    return status;
}

static void copy_tensors(const iso_safetensors *file, const iso_safetensor *tensors, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int64_t n_bytes = iso_safetensor_bytes(&tensors[i]);
        const iso_safetensor *source = iso_safetensors_find(file, tensors[i].name);
        if (n_bytes > 0) memcpy(tensors[i].data, source->data, (size_t)n_bytes);
    }
}

static iso_status open_blob(iso_map *out, const char *dir, const json_t *manifest,
                            int64_t n_expected) {
    *out = (iso_map){0};
    const json_t *entry = json_object_get(json_object_get(manifest, "files"), ISO_CHECKPOINT_BLOB);
    int64_t n_bytes = json_integer_value(json_object_get(entry, "bytes"));
    if (n_bytes != n_expected)
        return iso_fail(ISO_ERR_DATA, "%s: %s has %" PRId64 " bytes where this run needs %" PRId64,
                        dir, ISO_CHECKPOINT_BLOB, n_bytes, n_expected);
    if (!entry) return ISO_OK;
    char *path = iso_strf("%s/%s", dir, ISO_CHECKPOINT_BLOB);
    iso_status status = iso_map_open(out, path);
    free(path);
    return status;
}

iso_status iso_checkpoint_apply(const char *dir, const json_t *manifest,
                                iso_checkpoint *checkpoint) {
    ISO_TRY(match_identity(dir, manifest, &checkpoint->identity));
    iso_safetensors model = {0}, optimizer = {0};
    iso_map blob = {0};
    json_t *loop = NULL;
    int64_t step = 0;
    char *loop_path = iso_strf("%s/%s", dir, ISO_CHECKPOINT_LOOP);
    iso_status status = iso_json_get_i64(&step, manifest, "step", ISO_CHECKPOINT_MANIFEST);
    if (status == ISO_OK)
        status =
            open_tensors(&model, dir, ISO_CHECKPOINT_MODEL, checkpoint->model, checkpoint->n_model);
    if (status == ISO_OK)
        status = open_tensors(&optimizer, dir, ISO_CHECKPOINT_OPTIM, checkpoint->optimizer,
                              checkpoint->n_optimizer);
    if (status == ISO_OK) status = open_blob(&blob, dir, manifest, checkpoint->n_blob_bytes);
    if (status == ISO_OK) status = iso_json_load(&loop, loop_path);
    if (status == ISO_OK) {
        checkpoint->step = step;
        checkpoint->loop = loop;
        copy_tensors(&model, checkpoint->model, checkpoint->n_model);
        copy_tensors(&optimizer, checkpoint->optimizer, checkpoint->n_optimizer);
        if (blob.data) memcpy(checkpoint->blob, blob.data, (size_t)blob.size_bytes);
    }
    free(loop_path);
    if (blob.data) iso_map_close(&blob);
    iso_safetensors_close(&optimizer);
    iso_safetensors_close(&model);
    return status;
}

iso_status iso_checkpoint_load(const char *dir, iso_checkpoint *checkpoint) {
    json_t *manifest;
    ISO_TRY(iso_checkpoint_verify(&manifest, dir));
    iso_status status = iso_checkpoint_apply(dir, manifest, checkpoint);
    json_decref(manifest);
    return status;
}

iso_status iso_checkpoint_load_model(const char *dir, const iso_safetensor *model,
                                     int64_t n_model) {
    iso_safetensors file;
    ISO_TRY(iso_checkpoint_verify(NULL, dir));
    ISO_TRY(open_tensors(&file, dir, ISO_CHECKPOINT_MODEL, model, n_model));
    copy_tensors(&file, model, n_model);
    iso_safetensors_close(&file);
    return ISO_OK;
}
