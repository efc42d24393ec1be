#include "train/load.h"

#include "train/checkpoint.h"

#include <stdlib.h>
#include <string.h>

/* "section.key=value" for one member; sequences as YAML flow. Caller frees. */
static char *override_of(const char *section, const char *key, const json_t *value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (!text) return NULL;
    const char *plain = json_is_string(value) ? json_string_value(value) : text;
    char *out = iso_strf("%s.%s=%s", section, key, plain);
    free(text);
    return out;
}

/* The saved JSON goes through the option table like any config: same checks, same messages. */
static iso_status config_from_json(iso_config *out, const json_t *config, const char *what) {
    const char *overrides[128];
    int64_t n = 0;
    const char *section, *key;
    json_t *members, *value;
    iso_status status = ISO_OK;
    json_object_foreach((json_t *)config, section, members) {
        json_object_foreach(members, key, value) {
            if (n == (int64_t)(sizeof overrides / sizeof *overrides) || status != ISO_OK) break;
            overrides[n] = override_of(section, key, value);
            if (!overrides[n]) status = iso_fail(ISO_ERR_DATA, "%s: bad value of %s", what, key);
            n += status == ISO_OK;
        }
    }
    if (status == ISO_OK) status = iso_config_load(out, NULL, overrides, n);
    if (status == ISO_OK) status = iso_config_resolve(out, NULL);
    if (status != ISO_OK) iso_fail_context(ISO_ERR_DATA, "%s", what);
    for (int64_t i = 0; i < n; i++) free((void *)overrides[i]);
    return status == ISO_OK ? ISO_OK : ISO_ERR_DATA;
}

static iso_status read_loop(iso_config *config, int64_t *step, const char *checkpoint) {
    char *path = iso_strf("%s/loop.json", checkpoint);
    json_t *state = NULL, *saved;
    iso_status status = iso_checkpoint_verify(NULL, checkpoint);
    if (status == ISO_OK) status = iso_json_load(&state, path);
    if (status == ISO_OK) status = iso_json_get_i64(step, state, "step", path);
    if (status == ISO_OK) status = iso_json_get_object(&saved, state, "config", path);
    if (status == ISO_OK) status = config_from_json(config, saved, path);
    json_decref(state);
    free(path);
    return status;
}

iso_status iso_trainer_load(iso_trainer **out, int64_t *step, const char *run_or_checkpoint,
                            int64_t max_sequences, int64_t n_threads) {
    char *checkpoint;
    iso_config config;
    iso_tensor_list list = {0};
    *out = NULL;
    ISO_TRY(iso_checkpoint_find(&checkpoint, run_or_checkpoint));
    iso_status status = read_loop(&config, step, checkpoint);
    if (status == ISO_OK) {
        config.train.batch_size = config.train.micro_batch_size = max_sequences;
        config.train.threads = n_threads;
        status = iso_trainer_create(out, &config, "cpu", ISO_F32, false);
    }
    if (status == ISO_OK) status = iso_trainer_model_tensors(*out, &list);
    if (status == ISO_OK) status = iso_checkpoint_load_model(checkpoint, list.tensors, list.n);
    iso_tensor_list_free(&list);
    free(checkpoint);
    if (status != ISO_OK) {
        iso_trainer_free(*out);
        *out = NULL;
    }
    return status;
}
