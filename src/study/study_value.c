/* One value of a study file: text of a YAML node to a field of the study. */
#include "study/study_keys.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void *field_of(iso_study *study, const iso_study_key *key) {
    return (char *)study + key->offset;
}

const char *iso_study_type_say(const iso_study_key *key) {
    switch (key->type) {
    case ISO_STUDY_FORMAT:
        return "1";
    case ISO_STUDY_NAME:
        return "letters, digits, - . _";
    case ISO_STUDY_PATH:
        return "a path";
    case ISO_STUDY_CHOICE:
    case ISO_STUDY_CHOICES:
        return key->type == ISO_STUDY_CHOICE ? "one of" : "a list of";
    case ISO_STUDY_COUNT:
        return "a count such as 400K";
    case ISO_STUDY_COMPUTE:
        return "FLOPs such as 2e12, or 8xH100@40%x1d";
    case ISO_STUDY_NUMBER:
        return "a positive number";
    case ISO_STUDY_WHOLE:
        return key->max > 200 ? "a whole number or auto" : "a whole number";
    case ISO_STUDY_RATES:
        return "a list such as [10%, 20%], or 0.1..0.5/9";
    case ISO_STUDY_SEEDS:
        return "a list of seeds, or how many";
    case ISO_STUDY_COUNTS:
        return "a list of counts such as [1M, 2M]";
    case ISO_STUDY_WHOLES:
        return "a list of whole numbers";
    case ISO_STUDY_NUMBERS:
        return "a list of positive numbers";
    case ISO_STUDY_SECTIONS:
        return "`key: value` lines";
    }
    return "";
}

/* --- scalars --- */

static bool fail(iso_str *fault, const iso_study_key *key, const char *text) {
    iso_str_appendf(fault, "`%.80s` is not %s", text, iso_study_type_say(key));
    for (int i = key->names && key->min > 0 ? 1 : 0; key->names && key->names[i]; i++)
        iso_str_appendf(fault, "%s %s", i > (key->min > 0) ? "," : "", key->names[i]);
    if (key->type == ISO_STUDY_WHOLE || key->type == ISO_STUDY_WHOLES)
        iso_str_appendf(fault, " from %.0f to %.0f", key->min, key->max);
    else if ((key->type == ISO_STUDY_NUMBER || key->type == ISO_STUDY_NUMBERS) &&
             key->max < HUGE_VAL)
        iso_str_appendf(fault, " of at most %g", key->max);
    return false;
}

/* The message of a quantity, without "key: " in front: that comes with the place. */
static bool fail_quantity(iso_str *fault) {
    const char *message = iso_error_message(), *colon = strstr(message, ": ");
    iso_str_append(fault, colon ? colon + 2 : message);
    return false;
}

static bool read_name(char *field, const char *text) {
    size_t n = strlen(text);
    const char *legal = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    if (n == 0 || n >= ISO_STUDY_NAME_BYTES || strspn(text, legal) != n || text[0] == '.')
        return false;
    memcpy(field, text, n + 1);
    return true;
}

/* `min` is the first that may be chosen: an MoE's layout is not dense. */
static bool read_choice(int *out, const iso_study_key *key, const char *text) {
    for (int i = (int)key->min; key->names[i]; i++)
        if (strcmp(key->names[i], text) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static bool read_number(double *out, const iso_study_key *key, const char *text) {
    double value;
    if (!iso_str_to_f64(text, &value) || !(value > key->min) || value > key->max) return false;
    *out = value;
    return true;
}

static bool read_whole(int64_t *out, const iso_study_key *key, const char *text) {
    int64_t value;
    if (!iso_str_to_i64(text, &value) || (double)value < key->min || (double)value > key->max)
        return false;
    *out = value;
    return true;
}

static bool read_scalar(iso_study *study, const iso_study_key *key, const char *text,
                        iso_str *fault) {
    void *field = field_of(study, key);
    int choice;
    switch (key->type) {
    case ISO_STUDY_FORMAT:
        return strcmp(text, "1") == 0 || fail(fault, key, text);
    case ISO_STUDY_NAME:
        return read_name(field, text) || fail(fault, key, text);
    case ISO_STUDY_PATH:
        if (!*text || strlen(text) >= ISO_CONFIG_PATH_BYTES) return fail(fault, key, text);
        memcpy(field, text, strlen(text) + 1);
        return true;
    case ISO_STUDY_CHOICE:
        if (!read_choice(&choice, key, text)) return fail(fault, key, text);
        memcpy(field, &choice, sizeof choice);
        return true;
    case ISO_STUDY_COUNT:
        return iso_quantity_count(field, key->name, text) == ISO_OK || fail_quantity(fault);
    case ISO_STUDY_COMPUTE:
        return iso_quantity_compute(field, key->name, text) == ISO_OK || fail_quantity(fault);
    case ISO_STUDY_NUMBER:
        return read_number(field, key, text) || fail(fault, key, text);
    case ISO_STUDY_WHOLE:
        if (key->max > 200 && strcmp(text, "auto") == 0) {
            *(int64_t *)field = 0;
            return true;
        }
        return read_whole(field, key, text) || fail(fault, key, text);
    default:
        return fail(fault, key, text);
    }
}

/* --- lists --- */

static bool read_rates(iso_study_list *list, const iso_study_key *key, const char *text,
                       iso_str *fault) {
    return iso_quantity_rates(list->values, &list->n, ISO_STUDY_LIST_MAX, key->name, text) ==
               ISO_OK ||
           fail_quantity(fault);
}

static bool read_item(double *out, const iso_study_key *key, const char *text, iso_str *fault) {
    static const iso_study_key seed = {.type = ISO_STUDY_SEEDS, .min = 0, .max = 1e15};
    int64_t whole = 0;
    int choice = 0;
    bool good = false;
    switch (key->type) {
    case ISO_STUDY_COUNTS:
        if (iso_quantity_count(&whole, key->name, text) != ISO_OK) return fail_quantity(fault);
        *out = (double)whole;
        return true;
    case ISO_STUDY_WHOLES:
    case ISO_STUDY_SEEDS:
        good = read_whole(&whole, key->type == ISO_STUDY_SEEDS ? &seed : key, text);
        *out = (double)whole;
        break;
    case ISO_STUDY_CHOICES:
        good = read_choice(&choice, key, text);
        *out = choice;
        break;
    default:
        good = read_number(out, key, text);
    }
    return good || fail(fault, key, text);
}

static bool append(iso_study_list *list, const iso_study_key *key, const iso_yaml *item,
                   iso_str *fault) {
    double value = 0;
    if (item->kind != ISO_YAML_SCALAR) {
        iso_str_appendf(fault, "must be %s", iso_study_type_say(key));
        return false;
    }
    if (key->type == ISO_STUDY_RATES) return read_rates(list, key, item->text, fault);
    if (!read_item(&value, key, item->text, fault)) return false;
    for (int64_t i = 0; i < list->n; i++)
        if (list->values[i] == value) {
            iso_str_appendf(fault, "`%.80s` twice", item->text);
            return false;
        }
    if (list->n == ISO_STUDY_LIST_MAX) {
        iso_str_appendf(fault, "more than %d values", ISO_STUDY_LIST_MAX);
        return false;
    }
    list->values[list->n++] = value;
    return true;
}

static bool read_list(iso_study *study, const iso_study_key *key, const iso_yaml *node,
                      iso_str *fault) {
    iso_study_list list = {0};
    int64_t n_seeds;
    if (key->type == ISO_STUDY_SEEDS && node->kind == ISO_YAML_SCALAR) {
        if (!iso_str_to_i64(node->text, &n_seeds) || n_seeds < 1 || n_seeds > ISO_STUDY_LIST_MAX) {
            iso_str_appendf(fault, "`%.80s` is not a number of seeds from 1 to %d", node->text,
                            ISO_STUDY_LIST_MAX);
            return false;
        }
        for (int64_t i = 0; i < n_seeds; i++) list.values[list.n++] = (double)(i + 1);
    } else if (node->kind == ISO_YAML_SCALAR) {
        if (!append(&list, key, node, fault)) return false;
    } else if (node->kind == ISO_YAML_SEQUENCE && node->n_children > 0) {
        for (int i = 0; i < node->n_children; i++)
            if (!append(&list, key, &node->children[i], fault)) return false;
    } else {
        iso_str_appendf(fault, "must be %s", iso_study_type_say(key));
        return false;
    }
    *(iso_study_list *)field_of(study, key) = list;
    return true;
}

bool iso_study_value_read(iso_study *study, const iso_study_key *key, const iso_yaml *node,
                          iso_str *fault) {
    if (key->type >= ISO_STUDY_RATES) return read_list(study, key, node, fault);
    if (node->kind == ISO_YAML_SCALAR) return read_scalar(study, key, node->text, fault);
    iso_str_appendf(fault, "must be %s", iso_study_type_say(key));
    return false;
}
