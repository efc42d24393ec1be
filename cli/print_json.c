#include "cli.h"

#include <stdlib.h>

iso_status cli_print_json(json_t *value, int n_digits) {
    char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(n_digits)) : NULL;
    json_decref(value);
    if (!text) return iso_fail(ISO_ERR_MEMORY, "no memory for the JSON text");
    printf("%s\n", text);
    free(text);
    return ISO_OK;
}
