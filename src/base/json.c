#include "base/json.h"

#include "base/fileio.h"

#include <stdlib.h>
#include <string.h>

/* The largest file of ours, a final evaluation window by window, is a few megabytes. */
#define MAX_FILE_BYTES (INT64_C(256) << 20)

iso_status iso_json_load(json_t **out, const char *path) {
    char *text;
    int64_t n_bytes;
    *out = NULL;
    ISO_TRY(iso_file_read(&text, &n_bytes, path, MAX_FILE_BYTES));
    iso_status status = iso_json_parse(out, text, n_bytes, path);
    free(text);
    return status;
}

iso_status iso_json_parse(json_t **out, const char *text, int64_t n_bytes, const char *what) {
    json_error_t error;
    *out = json_loadb(text, (size_t)n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (*out) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "%s: line %d, column %d: not valid JSON: %s", what, error.line,
                    error.column, error.text);
}

iso_status iso_json_save(const json_t *value, const char *path) {
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
    if (!text) return iso_fail(ISO_ERR_MEMORY, "%s: no memory to write JSON", path);
    size_t n_bytes = strlen(text);
    text[n_bytes] = '\n'; /* in the place of the NUL: the bytes are counted from here on */
    iso_status status = iso_file_write_atomic(path, text, (int64_t)n_bytes + 1);
    free(text);
    return status;
}

char *iso_json_line(const json_t *value) {
    char *line = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
    ISO_ASSERT(line != NULL); /* jansson holds only what it can write, so: out of memory */
    return line;
}

static const char *kind_name(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

static iso_status get_member(const json_t **out, const json_t *object, const char *key,
                             const char *what) {
    *out = json_object_get(object, key); /* NULL, too, for anything but an object */
    if (*out) return ISO_OK;
    if (!json_is_object(object))
        return iso_fail(ISO_ERR_DATA, "%s: expected an object with \"%s\"", what, key);
    return iso_fail(ISO_ERR_DATA, "%s: \"%s\" is missing", what, key);
}

static iso_status wrong_type(const json_t *member, const char *key, const char *expected,
                             const char *what) {
    return iso_fail(ISO_ERR_DATA, "%s: \"%s\" must be %s, not %s", what, key, expected,
                    kind_name(member));
}

iso_status iso_json_get_i64(int64_t *out, const json_t *object, const char *key, const char *what) {
    const json_t *member;
    ISO_TRY(get_member(&member, object, key, what));
    if (!json_is_integer(member)) return wrong_type(member, key, "an integer", what);
    *out = json_integer_value(member);
    return ISO_OK;
}

iso_status iso_json_get_f64(double *out, const json_t *object, const char *key, const char *what) {
    const json_t *member;
    ISO_TRY(get_member(&member, object, key, what));
    if (!json_is_number(member)) return wrong_type(member, key, "a number", what);
    *out = json_number_value(member);
    return ISO_OK;
}

iso_status iso_json_get_bool(bool *out, const json_t *object, const char *key, const char *what) {
    const json_t *member;
    ISO_TRY(get_member(&member, object, key, what));
    if (!json_is_boolean(member)) return wrong_type(member, key, "a boolean", what);
    *out = json_is_true(member);
    return ISO_OK;
}

iso_status iso_json_get_str(const char **out, const json_t *object, const char *key,
                            const char *what) {
    const json_t *member;
    ISO_TRY(get_member(&member, object, key, what));
    if (!json_is_string(member)) return wrong_type(member, key, "a string", what);
    *out = json_string_value(member);
    return ISO_OK;
}

iso_status iso_json_get_object(json_t **out, const json_t *object, const char *key,
                               const char *what) {
    const json_t *member;
    ISO_TRY(get_member(&member, object, key, what));
    if (!json_is_object(member)) return wrong_type(member, key, "an object", what);
    *out = json_object_get(object, key);
    return ISO_OK;
}

iso_status iso_json_get_array(json_t **out, const json_t *object, const char *key,
                              const char *what) {
    const json_t *member;
    ISO_TRY(get_member(&member, object, key, what));
    if (!json_is_array(member)) return wrong_type(member, key, "an array", what);
    *out = json_object_get(object, key);
    return ISO_OK;
}
