/* json.h - jansson with our statuses: load with a cap and a position, save durably, typed gets.
 *
 * Code that handles JSON includes this and uses json_t directly (jansson's API); what is here is
 * only what jansson lacks.
 */
#ifndef ISO_BASE_JSON_H
#define ISO_BASE_JSON_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Duplicate keys are rejected. Caller owns *out (json_decref). */
iso_status iso_json_load(json_t **out, const char *path);
iso_status iso_json_parse(json_t **out, const char *text, int64_t n_bytes, const char *what);
/* Durable and atomic; two-space indent, a newline at the end, insertion order, 17-digit reals. */
iso_status iso_json_save(const json_t *value, const char *path);
/* One line without spaces around separators, for JSONL. Caller frees. */
char *iso_json_line(const json_t *value);

/* A mandatory member of the right type; `what` names the file in the message. */
iso_status iso_json_get_i64(int64_t *out, const json_t *object, const char *key, const char *what);
iso_status iso_json_get_f64(double *out, const json_t *object, const char *key, const char *what);
iso_status iso_json_get_bool(bool *out, const json_t *object, const char *key, const char *what);
/* Borrowed from the object. */
iso_status iso_json_get_str(const char **out, const json_t *object, const char *key,
                            const char *what);
iso_status iso_json_get_object(json_t **out, const json_t *object, const char *key,
                               const char *what);
iso_status iso_json_get_array(json_t **out, const json_t *object, const char *key,
                              const char *what);

#endif
