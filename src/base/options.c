/* Every value goes through one text form: read_scalar() turns text into the field, write_scalar()
 * the field into text. YAML, overrides, help, dump and hash are walks over the table around them.
 */
#include "base/options.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *field_of(const iso_option *option, void *target) {
    return (char *)target + option->offset;
}

static const void *const_field_of(const iso_option *option, const void *values) {
    return (const char *)values + option->offset;
}

static int n_values(const iso_option *option) {
    return option->count > 1 ? option->count : 1;
}

char *iso_f64_to_str(char *buffer, double value) {
    int n_digits = 1;
    for (; n_digits < 17; n_digits++) {
        snprintf(buffer, 32, "%.*e", n_digits - 1, value);
        if (strtod(buffer, NULL) == value) break;
    }
    snprintf(buffer, 32, "%.*e", n_digits - 1, value);
    char *e = strchr(buffer, 'e');
    if (!e) return buffer; /* infinity, NaN */
    int exponent = atoi(e + 1), n_decimals = n_digits - 1 - exponent;
    if (exponent >= -4 && exponent < 16) {
        snprintf(buffer, 32, "%.*f", n_decimals > 1 ? n_decimals : 1, value);
    } else if (n_digits == 1) {
        /* "1e+20" is text to some YAML readers: they want a point. */
        snprintf(buffer, 32, "%.1e", value);
    }
    return buffer;
}

/* --- what an option takes, in words --- */

static void describe_number(const iso_option *option, iso_str *out) {
    const char *noun = option->type == ISO_OPTION_I64 ? "a whole number" : "a number";
    char low[32], high[32];
    snprintf(low, sizeof low, "%.10g", option->min);
    snprintf(high, sizeof high, "%.10g", option->max);
    bool has_min = option->min > -HUGE_VAL, has_max = option->max < HUGE_VAL;
    bool min_open = option->flags & ISO_OPTION_MIN_OPEN,
         max_open = option->flags & ISO_OPTION_MAX_OPEN;
    if (option->count > 1) iso_str_appendf(out, "a list of %d, each ", option->count);
    iso_str_append(out, noun);
    if (has_min)
        iso_str_appendf(out,
                        min_open  ? " above %s"
                        : has_max ? " from %s"
                                  : " of at least %s",
                        low);
    if (has_min && has_max) iso_str_append(out, min_open ? " and" : "");
    if (has_max)
        iso_str_appendf(out,
                        max_open               ? " below %s"
                        : min_open || !has_min ? " at most %s"
                                               : " to %s",
                        high);
    if (option->keyword) iso_str_appendf(out, " or `%s`", option->keyword);
}

static void describe(const iso_option *option, iso_str *out) {
    switch (option->type) {
    case ISO_OPTION_I64:
    case ISO_OPTION_F64:
        describe_number(option, out);
        break;
    case ISO_OPTION_BOOL:
        iso_str_append(out, "true or false");
        break;
    case ISO_OPTION_STRING:
        iso_str_appendf(out, "text of at most %zu bytes", option->size - 1);
        break;
    case ISO_OPTION_ENUM:
        iso_str_append(out, "one of ");
        for (int i = 0; option->names[i]; i++)
            iso_str_appendf(out, "%s%s", i ? ", " : "", option->names[i]);
        break;
    }
}

/* --- text to field --- */

/* A whole number, also as 1e6 or 2.5e9; what a double holds exactly. */
static bool to_integer(const char *text, int64_t *out) {
    if (iso_str_to_i64(text, out)) return true;
    double value;
    if (!iso_str_to_f64(text, &value) || value != floor(value) || fabs(value) > 9007199254740992.0)
        return false;
    *out = (int64_t)value;
    return true;
}

static bool in_range(const iso_option *option, double value) {
    if (option->flags & ISO_OPTION_MIN_OPEN ? value <= option->min : value < option->min)
        return false;
    if (option->flags & ISO_OPTION_MAX_OPEN ? value >= option->max : value > option->max)
        return false;
    return true;
}

static bool read_number(const iso_option *option, void *field, int index, const char *text) {
    bool keyword = option->keyword && strcmp(text, option->keyword) == 0;
    if (option->type == ISO_OPTION_I64) {
        int64_t value = (int64_t)option->keyword_value;
        if (!keyword && (!to_integer(text, &value) || !in_range(option, (double)value)))
            return false;
        ((int64_t *)field)[index] = value;
        return true;
    }
    double value = option->keyword_value;
    if (!keyword && (!iso_str_to_f64(text, &value) || !in_range(option, value))) return false;
    ((double *)field)[index] = value;
    return true;
}

static bool read_scalar(const iso_option *option, void *field, int index, const char *text,
                        bool is_quoted) {
    if (is_quoted && option->type != ISO_OPTION_STRING && option->type != ISO_OPTION_ENUM)
        return false;
    switch (option->type) {
    case ISO_OPTION_I64:
    case ISO_OPTION_F64:
        return read_number(option, field, index, text);
    case ISO_OPTION_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) return false;
        *(bool *)field = text[0] == 't';
        return true;
    case ISO_OPTION_STRING:
        if (strlen(text) >= option->size) return false;
        snprintf(field, option->size, "%s", text);
        return true;
    case ISO_OPTION_ENUM:
        for (int i = 0; option->names[i]; i++)
            if (strcmp(option->names[i], text) == 0) {
                memcpy(field, &i, sizeof i);
                return true;
            }
        return false;
    }
    return false;
}

/* --- finding options --- */

static const iso_option *find_option(const iso_option_table *table, const char *section,
                                     const char *name) {
    for (size_t i = 0; i < table->n_options; i++)
        if (strcmp(table->options[i].section, section) == 0 &&
            strcmp(table->options[i].name, name) == 0)
            return &table->options[i];
    return NULL;
}

static bool is_section(const iso_option_table *table, const char *section) {
    for (size_t i = 0; i < table->n_options; i++)
        if (strcmp(table->options[i].section, section) == 0) return true;
    return false;
}

/* The nearest "section.name" to one that does not exist. A key put in the wrong section counts as
 * near: it is the likelier slip than a misspelling. Caller frees; NULL if nothing is near. */
static char *nearest_option(const iso_option_table *table, const char *section, const char *name) {
    for (size_t i = 0; i < table->n_options; i++)
        if (strcmp(table->options[i].name, name) == 0)
            return iso_strf("%s.%s", table->options[i].section, name);
    const char **names = calloc(table->n_options + 1, sizeof *names);
    ISO_ASSERT(names != NULL);
    size_t n = 0;
    for (size_t i = 0; i < table->n_options; i++)
        if (strcmp(table->options[i].section, section) == 0) names[n++] = table->options[i].name;
    const char *near = iso_str_nearest(name, names, n);
    for (size_t i = 0; i < n && !near; i++)
        if (strstr(names[i], name)) near = names[i]; /* "hidden" for hidden_size */
    char *result = near ? iso_strf("%s.%s", section, near) : NULL;
    free(names);
    return result;
}

static const char *nearest_section(const iso_option_table *table, const char *section) {
    const char *best = NULL;
    for (size_t i = 0; i < table->n_options && !best; i++)
        best = iso_str_nearest(section, &table->options[i].section, 1);
    return best;
}

static void fault_section(const iso_option_table *table, const char *section, iso_str *out) {
    const char *near = nearest_section(table, section);
    iso_str_appendf(out, "%s: no such section", section);
    if (near) iso_str_appendf(out, "; did you mean %s?", near);
    if (near) return;
    iso_str_append(out, "; there are");
    const char *last = "";
    for (size_t i = 0; i < table->n_options; i++)
        if (strcmp(table->options[i].section, last) != 0) {
            iso_str_appendf(out, "%s %s", *last ? "," : "", table->options[i].section);
            last = table->options[i].section;
        }
}

static void fault_name(const iso_option_table *table, const char *section, const char *name,
                       iso_str *out) {
    char *near = nearest_option(table, section, name);
    iso_str_appendf(out, "%s.%s: no such key", section, name);
    if (near) iso_str_appendf(out, "; did you mean %s?", near);
    free(near);
}

static void fault_value(const iso_option *option, const char *text, iso_str *out) {
    iso_str_appendf(out, "%s.%s: `%.80s` is not ", option->section, option->name, text);
    describe(option, out);
}

/* A node as one would write it on a line, for the message about it. */
static void write_node(const iso_yaml *node, iso_str *out) {
    if (node->kind == ISO_YAML_SCALAR) {
        iso_str_append(out, node->text);
        return;
    }
    bool is_list = node->kind == ISO_YAML_SEQUENCE;
    iso_str_append(out, is_list ? "[" : "{");
    for (int i = 0; i < node->n_children; i++) {
        const iso_yaml *child = &node->children[i];
        if (i > 0) iso_str_append(out, ", ");
        if (child->key) iso_str_appendf(out, "%s: ", child->key);
        write_node(child, out);
    }
    iso_str_append(out, is_list ? "]" : "}");
}

/* --- one value from a tree node --- */

static bool node_to_field(const iso_option *option, void *field, const iso_yaml *node) {
    int n = n_values(option);
    if (n == 1)
        return node->kind == ISO_YAML_SCALAR &&
               read_scalar(option, field, 0, node->text, node->is_quoted);
    double fresh[8]; /* the field keeps its values unless the whole list is good */
    ISO_ASSERT(n <= (int)(sizeof fresh / sizeof *fresh));
    if (node->kind != ISO_YAML_SEQUENCE || node->n_children != n) return false;
    for (int i = 0; i < n; i++) {
        const iso_yaml *item = &node->children[i];
        if (item->kind != ISO_YAML_SCALAR ||
            !read_scalar(option, fresh, i, item->text, item->is_quoted))
            return false;
    }
    memcpy(field, fresh, (size_t)n * sizeof *fresh);
    return true;
}

static void read_node(const iso_option *option, void *target, const iso_yaml *node,
                      iso_str *fault) {
    if (node_to_field(option, field_of(option, target), node)) return;
    iso_str text = {0};
    write_node(node, &text);
    fault_value(option, text.data, fault);
    iso_str_release(&text);
}

static void add_fault(iso_str *faults, const char *what, int line, const iso_str *fault) {
    iso_str_appendf(faults, "%s%s:%d: %s", faults->len ? "\n" : "", what, line, fault->data);
}

static void read_section(const iso_option_table *table, void *target, const iso_yaml *section,
                         const char *what, iso_str *faults) {
    iso_str fault = {0};
    bool known = is_section(table, section->key);
    bool empty =
        section->kind == ISO_YAML_SCALAR && section->text[0] == '\0' && !section->is_quoted;
    if (!known) {
        fault_section(table, section->key, &fault);
        add_fault(faults, what, section->key_line, &fault);
    } else if (section->kind != ISO_YAML_MAPPING && !empty) {
        iso_str_appendf(&fault, "%s: must hold `key: value` lines", section->key);
        add_fault(faults, what, section->key_line, &fault);
    }
    for (int i = 0; known && i < section->n_children && section->kind == ISO_YAML_MAPPING; i++) {
        const iso_yaml *node = &section->children[i];
        const iso_option *option = find_option(table, section->key, node->key);
        iso_str_clear(&fault);
        if (!option)
            fault_name(table, section->key, node->key, &fault);
        else
            read_node(option, target, node, &fault);
        if (fault.len) add_fault(faults, what, node->key_line, &fault);
    }
    iso_str_release(&fault);
}

iso_status iso_options_read(const iso_option_table *table, void *target, const iso_yaml *root,
                            const char *what) {
    if (root->kind != ISO_YAML_MAPPING)
        return iso_fail(ISO_ERR_USAGE, "%s:%d: must hold sections such as `%s:`", what, root->line,
                        table->options[0].section);
    iso_str faults = {0};
    for (int i = 0; i < root->n_children; i++)
        read_section(table, target, &root->children[i], what, &faults);
    iso_status status = ISO_OK;
    if (faults.len) status = iso_fail(ISO_ERR_USAGE, "%s", faults.data);
    iso_str_release(&faults);
    return status;
}

/* --- overrides --- */

static iso_status set_option(const iso_option_table *table, void *target, const char *section,
                             const char *name, const char *value, const char *assignment) {
    const iso_option *option = find_option(table, section, name);
    iso_str fault = {0};
    if (!is_section(table, section)) {
        fault_section(table, section, &fault);
    } else if (!option) {
        fault_name(table, section, name, &fault);
    } else {
        /* The value is YAML, so that lists and quotes mean the same as in the file. A path or text
         * that YAML would take apart ("a: b") is not for the YAML parser. */
        iso_yaml *root = NULL;
        if (option->type == ISO_OPTION_STRING) {
            if (!read_scalar(option, field_of(option, target), 0, value, true))
                fault_value(option, value, &fault);
        } else if (iso_yaml_parse(&root, value, (int64_t)strlen(value), assignment) != ISO_OK) {
            fault_value(option, value, &fault);
        } else {
            read_node(option, target, root, &fault);
        }
        iso_yaml_free(root);
    }
    iso_status status = ISO_OK;
    if (fault.len) status = iso_fail(ISO_ERR_USAGE, "%s: %s", assignment, fault.data);
    iso_str_release(&fault);
    return status;
}

iso_status iso_options_set(const iso_option_table *table, void *target, const char *assignment) {
    const char *start = assignment + strspn(assignment, "-");
    const char *equals = strchr(start, '='), *dot = strchr(start, '.');
    if (!equals || !dot || dot > equals)
        return iso_fail(ISO_ERR_USAGE, "%s: write --section.key=value, as in --%s.%s=...",
                        assignment, table->options[0].section, table->options[0].name);
    char *section = iso_strf("%.*s", (int)(dot - start), start);
    char *name = iso_strf("%.*s", (int)(equals - dot - 1), dot + 1);
    iso_status status = set_option(table, target, section, name, equals + 1, assignment);
    free(section);
    free(name);
    return status;
}

/* --- field to text --- */

static bool is_keyword(const iso_option *option, const void *field, int index) {
    if (!option->keyword) return false;
    return option->type == ISO_OPTION_I64
               ? ((const int64_t *)field)[index] == (int64_t)option->keyword_value
               : ((const double *)field)[index] == option->keyword_value;
}

static bool is_absent(const iso_option *option, const void *field) {
    if (!(option->flags & ISO_OPTION_OPTIONAL)) return false;
    return option->type == ISO_OPTION_I64 ? *(const int64_t *)field == 0
                                          : *(const double *)field == 0.0;
}

/* Text in double quotes, which YAML escapes as JSON does. */
static void write_quoted(const char *text, iso_str *out) {
    json_t *value = json_string(text);
    char *quoted = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    iso_str_append(out, quoted ? quoted : "\"\"");
    free(quoted);
    json_decref(value);
}

static void write_scalar(const iso_option *option, const void *field, int index, iso_str *out) {
    char buffer[32];
    int which;
    if (is_keyword(option, field, index)) {
        iso_str_append(out, option->keyword);
        return;
    }
    switch (option->type) {
    case ISO_OPTION_I64:
        iso_str_appendf(out, "%" PRId64, ((const int64_t *)field)[index]);
        break;
    case ISO_OPTION_F64:
        iso_str_append(out, iso_f64_to_str(buffer, ((const double *)field)[index]));
        break;
    case ISO_OPTION_BOOL:
        iso_str_append(out, *(const bool *)field ? "true" : "false");
        break;
    case ISO_OPTION_STRING:
        write_quoted(field, out);
        break;
    case ISO_OPTION_ENUM:
        memcpy(&which, field, sizeof which);
        iso_str_append(out, option->names[which]);
        break;
    }
}

static void write_value(const iso_option *option, const void *values, iso_str *out) {
    const void *field = const_field_of(option, values);
    int n = n_values(option);
    if (n > 1) iso_str_append(out, "[");
    for (int i = 0; i < n; i++) {
        if (i) iso_str_append(out, ", ");
        write_scalar(option, field, i, out);
    }
    if (n > 1) iso_str_append(out, "]");
}

void iso_options_to_yaml(const iso_option_table *table, const void *values, iso_str *out) {
    const char *section = "";
    for (size_t i = 0; i < table->n_options; i++) {
        const iso_option *option = &table->options[i];
        if (strcmp(option->section, section) != 0) {
            section = option->section;
            iso_str_appendf(out, "%s:\n", section);
        }
        if (is_absent(option, const_field_of(option, values))) continue;
        iso_str_appendf(out, "  %s: ", option->name);
        write_value(option, values, out);
        iso_str_append(out, "\n");
    }
}

static json_t *scalar_to_json(const iso_option *option, const void *field, int index) {
    int which;
    if (is_keyword(option, field, index)) return json_string(option->keyword);
    switch (option->type) {
    case ISO_OPTION_I64:
        return json_integer(((const int64_t *)field)[index]);
    case ISO_OPTION_F64:
        return json_real(((const double *)field)[index]);
    case ISO_OPTION_BOOL:
        return json_boolean(*(const bool *)field);
    case ISO_OPTION_STRING:
        return json_string(field);
    case ISO_OPTION_ENUM:
        memcpy(&which, field, sizeof which);
        return json_string(option->names[which]);
    }
    return NULL;
}

json_t *iso_options_to_json(const iso_option_table *table, const void *values,
                            const char *section) {
    json_t *object = json_object();
    ISO_ASSERT(object != NULL);
    for (size_t i = 0; i < table->n_options; i++) {
        const iso_option *option = &table->options[i];
        const void *field = const_field_of(option, values);
        if (strcmp(option->section, section) != 0 || is_absent(option, field)) continue;
        json_t *value = option->count > 1 ? json_array() : scalar_to_json(option, field, 0);
        for (int j = 0; j < option->count && option->count > 1; j++)
            json_array_append_new(value, scalar_to_json(option, field, j));
        json_object_set_new(object, option->name, value);
    }
    return object;
}

void iso_options_hash(char hex[ISO_SHA256_HEX_BYTES], const iso_option_table *table,
                      const void *values) {
    iso_str text = {0};
    for (size_t i = 0; i < table->n_options; i++) {
        const iso_option *option = &table->options[i];
        if (option->flags & ISO_OPTION_UNHASHED ||
            is_absent(option, const_field_of(option, values)))
            continue;
        iso_str_appendf(&text, "%s.%s=", option->section, option->name);
        write_value(option, values, &text);
        iso_str_append(&text, "\n");
    }
    iso_sha256_bytes(hex, text.data, (int64_t)text.len);
    iso_str_release(&text);
}

void iso_options_help(const iso_option_table *table, iso_str *out) {
    const char *section = "";
    for (size_t i = 0; i < table->n_options; i++) {
        const iso_option *option = &table->options[i];
        const void *field = const_field_of(option, table->defaults);
        if (strcmp(option->section, section) != 0) {
            iso_str_appendf(out, "%s%s:\n", i ? "\n" : "", option->section);
            section = option->section;
        }
        iso_str_appendf(out, "  %s: %s%s%s\n      ", option->name, option->help,
                        option->unit ? ", in " : "", option->unit ? option->unit : "");
        describe(option, out);
        iso_str_append(out, "; default ");
        if (is_absent(option, field))
            iso_str_append(out, "none");
        else
            write_value(option, table->defaults, out);
        iso_str_append(out, "\n");
    }
}
