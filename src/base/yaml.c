#include "base/yaml.h"

#include "base/fileio.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct reader {
    yaml_parser_t parser;
    const char *what; /* names the file in messages */
    int n_nodes;
} reader;

static int line_of(yaml_mark_t mark) {
    return (int)mark.line + 1;
}

static iso_status syntax_error(const reader *r) {
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "not readable as YAML";
    if (p->error == YAML_MEMORY_ERROR)
        return iso_fail(ISO_ERR_MEMORY, "%s: no memory to parse it", r->what);
    if (p->error == YAML_READER_ERROR)
        return iso_fail(ISO_ERR_USAGE, "%s: byte %zu: %s", r->what, p->problem_offset, problem);
    return iso_fail(ISO_ERR_USAGE, "%s:%d: not valid YAML: %s%s%s", r->what,
                    line_of(p->problem_mark), problem, p->context ? ", " : "",
                    p->context ? p->context : "");
}

static iso_status next_event(reader *r, yaml_event_t *event) {
    return yaml_parser_parse(&r->parser, event) ? ISO_OK : syntax_error(r);
}

static void release(iso_yaml *node) {
    for (int i = 0; i < node->n_children; i++) release(&node->children[i]);
    free(node->children);
    free(node->key);
    free(node->text);
}

/* Refuses what would make a file mean something else than it shows. */
static iso_status check_plain(const reader *r, const yaml_event_t *event) {
    const yaml_char_t *anchor = NULL, *tag = NULL;
    int line = line_of(event->start_mark);
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return iso_fail(ISO_ERR_USAGE, "%s:%d: aliases (*%s) are not supported; repeat the value",
                        r->what, line, (const char *)event->data.alias.anchor);
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor)
        return iso_fail(ISO_ERR_USAGE, "%s:%d: anchors (&%s) are not supported; remove it", r->what,
                        line, (const char *)anchor);
    if (tag)
        return iso_fail(ISO_ERR_USAGE, "%s:%d: tags (%s) are not supported; remove it", r->what,
                        line, (const char *)tag);
    return ISO_OK;
}

static iso_status take_text(char **out, const reader *r, const yaml_event_t *event) {
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (memchr(value, '\0', len))
        return iso_fail(ISO_ERR_USAGE, "%s:%d: a text must not contain NUL (\\0)", r->what,
                        line_of(event->start_mark));
    *out = iso_strf("%s", value);
    return ISO_OK;
}

static iso_status check_key(const reader *r, const iso_yaml *mapping, const char *key, int line) {
    const iso_yaml *other = iso_yaml_get(mapping, key);
    if (!other) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE, "%s:%d: \"%s\" is given twice, first on line %d; remove one",
                    r->what, line, key, other->key_line);
}

/* Takes over `child` with all it owns. */
static void append_child(iso_yaml *parent, int *capacity, const iso_yaml *child) {
    if (parent->n_children == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 8;
        parent->children = realloc(parent->children, (size_t)*capacity * sizeof *child);
        ISO_ASSERT(parent->children != NULL);
    }
    parent->children[parent->n_children++] = *child;
}

static iso_status read_node(reader *r, iso_yaml *node, const yaml_event_t *event, int depth);

/* The key and then the value's first event, which replaces the key's in *event. */
static iso_status read_key(reader *r, const iso_yaml *mapping, iso_yaml *child,
                           yaml_event_t *event) {
    child->key_line = line_of(event->start_mark);
    ISO_TRY(check_plain(r, event));
    if (event->type != YAML_SCALAR_EVENT)
        return iso_fail(ISO_ERR_USAGE, "%s:%d: a key must be a plain word", r->what,
                        child->key_line);
    ISO_TRY(take_text(&child->key, r, event));
    ISO_TRY(check_key(r, mapping, child->key, child->key_line));
    yaml_event_delete(event);
    return next_event(r, event);
}

static iso_status read_children(reader *r, iso_yaml *node, yaml_event_type_t end, int depth) {
    int capacity = 0;
    iso_status status = ISO_OK;
    while (status == ISO_OK) {
        yaml_event_t event;
        ISO_TRY(next_event(r, &event));
        bool is_end = event.type == end;
        iso_yaml child = {0};
        if (!is_end && node->kind == ISO_YAML_MAPPING) status = read_key(r, node, &child, &event);
        if (!is_end && status == ISO_OK) status = read_node(r, &child, &event, depth);
        yaml_event_delete(&event);
        if (is_end) break;
        /* Appended even when it failed: then it is released with the rest. */
        append_child(node, &capacity, &child);
    }
    return status;
}

/* The node that begins with *event. What it has read so far is in *node even when it fails. */
static iso_status read_node(reader *r, iso_yaml *node, const yaml_event_t *event, int depth) {
    node->line = line_of(event->start_mark);
    ISO_TRY(check_plain(r, event));
    if (depth >= ISO_YAML_MAX_DEPTH)
        return iso_fail(ISO_ERR_USAGE, "%s:%d: nested deeper than %d levels", r->what, node->line,
                        ISO_YAML_MAX_DEPTH);
    if (++r->n_nodes > ISO_YAML_MAX_NODES)
        return iso_fail(ISO_ERR_USAGE, "%s:%d: more than %d values in one file", r->what,
                        node->line, ISO_YAML_MAX_NODES);
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        node->kind = ISO_YAML_SCALAR;
        node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        return take_text(&node->text, r, event);
    case YAML_SEQUENCE_START_EVENT:
        node->kind = ISO_YAML_SEQUENCE;
        return read_children(r, node, YAML_SEQUENCE_END_EVENT, depth + 1);
    case YAML_MAPPING_START_EVENT:
        node->kind = ISO_YAML_MAPPING;
        return read_children(r, node, YAML_MAPPING_END_EVENT, depth + 1);
    default: /* libyaml's grammar has nothing else here */
        return iso_fail(ISO_ERR_USAGE, "%s:%d: a value is missing", r->what, node->line);
    }
}

/* Reads one event and demands its type. */
static iso_status expect(reader *r, yaml_event_type_t type, const char *complaint) {
    yaml_event_t event;
    ISO_TRY(next_event(r, &event));
    iso_status status = ISO_OK;
    if (event.type != type)
        status =
            iso_fail(ISO_ERR_USAGE, "%s:%d: %s", r->what, line_of(event.start_mark), complaint);
    yaml_event_delete(&event);
    return status;
}

static iso_status read_stream(reader *r, iso_yaml *root) {
    ISO_TRY(expect(r, YAML_STREAM_START_EVENT, "not a YAML stream"));
    ISO_TRY(expect(r, YAML_DOCUMENT_START_EVENT, "the file is empty"));
    yaml_event_t event;
    ISO_TRY(next_event(r, &event));
    iso_status status = read_node(r, root, &event, 0);
    yaml_event_delete(&event);
    ISO_TRY(status);
    ISO_TRY(expect(r, YAML_DOCUMENT_END_EVENT, "text after the end of the document"));
    return expect(r, YAML_STREAM_END_EVENT, "only one document in a file is supported");
}

iso_status iso_yaml_parse(iso_yaml **out, const char *text, int64_t n_bytes, const char *what) {
    *out = NULL;
    if (n_bytes > ISO_YAML_MAX_BYTES)
        return iso_fail(ISO_ERR_USAGE, "%s: more than %d bytes; is this a configuration?", what,
                        ISO_YAML_MAX_BYTES);
    reader r = {.what = what};
    if (!yaml_parser_initialize(&r.parser))
        return iso_fail(ISO_ERR_MEMORY, "%s: no memory to parse it", what);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, (size_t)n_bytes);
    iso_yaml *root = calloc(1, sizeof *root);
    ISO_ASSERT(root != NULL);
    iso_status status = read_stream(&r, root);
    yaml_parser_delete(&r.parser);
    if (status == ISO_OK)
        *out = root;
    else
        iso_yaml_free(root);
    return status;
}

iso_status iso_yaml_load(iso_yaml **out, const char *path) {
    char *text;
    int64_t n_bytes;
    *out = NULL;
    iso_status status = iso_file_read(&text, &n_bytes, path, ISO_YAML_MAX_BYTES);
    if (status == ISO_ERR_DATA) return ISO_ERR_USAGE; /* too large: the message says so */
    ISO_TRY(status);
    status = iso_yaml_parse(out, text, n_bytes, path);
    free(text);
    return status;
}

void iso_yaml_free(iso_yaml *root) {
    if (!root) return;
    release(root);
    free(root);
}

const iso_yaml *iso_yaml_get(const iso_yaml *mapping, const char *key) {
    if (mapping->kind != ISO_YAML_MAPPING) return NULL;
    for (int i = 0; i < mapping->n_children; i++)
        if (strcmp(mapping->children[i].key, key) == 0) return &mapping->children[i];
    return NULL;
}
