/* options.h - one static table drives the YAML file, --section.key=value, the help and the hash.
 *
 * A table describes the fields of one plain struct: where each lies, its name and section, its
 * type, range, keyword, unit and meaning. Defaults are a value of that struct, so they are written
 * once and typed. Owns: reading, checking one field at a time, writing. Does not own: what fields
 * mean together (the struct's own check), or how the file is parsed (yaml.h).
 *
 * (I1) what iso_options_to_yaml writes, iso_options_read reads back to the same bits;
 * (I2) a fault never changes the target's meaning silently: unknown and duplicate keys, wrong types
 *      and values out of range are all errors, with the place and, for names, the nearest one.
 */
#ifndef ISO_BASE_OPTIONS_H
#define ISO_BASE_OPTIONS_H

#include "base/fileio.h"
#include "base/json.h"
#include "base/str.h"
#include "base/yaml.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum iso_option_type {
    ISO_OPTION_I64,    /* int64_t; 1e6 is fine where it is a whole number */
    ISO_OPTION_F64,    /* double, or `count` of them: [0.9, 0.95] */
    ISO_OPTION_BOOL,   /* bool: true or false */
    ISO_OPTION_STRING, /* char[size], NUL-terminated */
    ISO_OPTION_ENUM,   /* int-sized enum whose values 0.. carry `names` */
} iso_option_type;

typedef enum iso_option_flag {
    ISO_OPTION_MIN_OPEN = 1, /* the value must be more than min */
    ISO_OPTION_MAX_OPEN = 2, /* less than max */
    ISO_OPTION_OPTIONAL = 4, /* may be absent: the field is 0 then, and min above 0 */
    ISO_OPTION_UNHASHED = 8, /* cannot change a result */
} iso_option_flag;

typedef struct iso_option {
    const char *section, *name;
    iso_option_type type;
    size_t offset; /* of the field in the struct */
    double min, max;
    unsigned flags;
    const char *keyword; /* numbers only: written instead of keyword_value; NULL = none */
    double keyword_value;
    const char *const *names; /* ISO_OPTION_ENUM: NULL-terminated */
    int count;                /* ISO_OPTION_F64: how many in a row; 0 and 1 are a scalar */
    size_t size;              /* ISO_OPTION_STRING: bytes of the field */
    const char *unit;         /* NULL = none */
    const char *help;
} iso_option;

typedef struct iso_option_table {
    const iso_option *options; /* those of a section stand together */
    size_t n_options;
    const void *defaults; /* a value of the struct */
} iso_option_table;

/* Reads the sections and keys of `root` into `target`; keys that are absent leave it alone. Every
 * fault is found; each gives the line "what:LINE: section.key: ..." of one ISO_ERR_USAGE message.
 */
iso_status iso_options_read(const iso_option_table *table, void *target, const iso_yaml *root,
                            const char *what);

/* Applies one "section.key=value", leading dashes ignored; the value as in YAML. */
iso_status iso_options_set(const iso_option_table *table, void *target, const char *assignment);

/* A row per option: name, what it takes, default, meaning. */
void iso_options_help(const iso_option_table *table, iso_str *out);

/* All options in table order, by section. Doubles with the fewest digits that read back the same.
 */
void iso_options_to_yaml(const iso_option_table *table, const void *values, iso_str *out);

/* One section as an object, keywords as strings; the caller owns it. */
json_t *iso_options_to_json(const iso_option_table *table, const void *values, const char *section);

/* SHA-256 over names and values of all that is not ISO_OPTION_UNHASHED. */
void iso_options_hash(char hex[ISO_SHA256_HEX_BYTES], const iso_option_table *table,
                      const void *values);

/* The fewest significant digits that read back to the same double, in a form that YAML and JSON
 * readers take for a number: 0.001, 1e-05, 3.0. Returns `buffer` (at least 32 bytes). */
char *iso_f64_to_str(char *buffer, double value);

#endif
