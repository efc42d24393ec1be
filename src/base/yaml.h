/* yaml.h - the part of YAML that a configuration needs, as a small tree that knows its lines.
 *
 * libyaml parses; this keeps scalars, sequences and mappings with scalar keys. Anchors, aliases,
 * tags and several documents in one file are refused: they hide what a file says. Whether a scalar
 * is a number, a boolean or text is for the reader to decide, with str.h.
 *
 * (I1) keys keep their order and no key occurs twice in one mapping;
 * (I2) every text is valid UTF-8 without NUL;
 * (I3) a tree has at most ISO_YAML_MAX_NODES nodes, ISO_YAML_MAX_DEPTH deep: hostile input costs
 * little.
 */
#ifndef ISO_BASE_YAML_H
#define ISO_BASE_YAML_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define ISO_YAML_MAX_BYTES (1 << 20)
#define ISO_YAML_MAX_NODES 20000
#define ISO_YAML_MAX_DEPTH 32

typedef enum iso_yaml_kind {
    ISO_YAML_SCALAR,
    ISO_YAML_SEQUENCE,
    ISO_YAML_MAPPING,
} iso_yaml_kind;

typedef struct iso_yaml {
    iso_yaml_kind kind;
    int line;                  /* where it starts, from 1 */
    char *key;                 /* its key in the mapping it belongs to; NULL elsewhere */
    int key_line;              /* and where that stands */
    char *text;                /* of a scalar; NULL in others */
    bool is_quoted;            /* a scalar in quotes or a block: text, whatever it looks like */
    int n_children;            /* items of a sequence, entries of a mapping */
    struct iso_yaml *children; /* in the order of the file */
} iso_yaml;

/* Errors are ISO_ERR_USAGE with `what` (or the path) and the line. The caller frees *out. */
iso_status iso_yaml_load(iso_yaml **out, const char *path);
iso_status iso_yaml_parse(iso_yaml **out, const char *text, int64_t n_bytes, const char *what);
void iso_yaml_free(iso_yaml *root);

/* The entry of that key; NULL if there is none or `mapping` is no mapping. */
const iso_yaml *iso_yaml_get(const iso_yaml *mapping, const char *key);

#endif
