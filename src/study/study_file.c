#include "study/study_file.h"

#include "base/options.h"
#include "study/study_keys.h"

#include <stdlib.h>
#include <string.h>

typedef struct reader {
    iso_study *study;
    const char *what;
    iso_str *faults;
    const char *part;       /* in front of every key: "parts.scan." or "" */
    const iso_yaml *config; /* the inline sections */
    const iso_yaml *parts;  /* read last: what they leave out is then known */
} reader;

static void add_fault(reader *r, int line, const char *section, const char *name,
                      const char *fault) {
    iso_str_appendf(r->faults, "%s%s:%d: %s%s%s%s: %s", r->faults->len ? "\n" : "", r->what, line,
                    r->part, section, *section ? "." : "", name, fault);
}

/* --- keys --- */

/* The nearest key of a section; one that lies in another section counts as near. */
static void fault_name(reader *r, int line, const char *section, const char *name) {
    const char *names[64] = {0};
    size_t n = 0;
    char *fault = NULL;
    ISO_ASSERT(iso_n_study_keys <= 64);
    for (int64_t i = 0; i < iso_n_study_keys; i++) {
        const iso_study_key *key = &iso_study_keys[i];
        if (strcmp(key->section, section) == 0) names[n++] = key->name;
        if (strcmp(key->name, name) == 0 && !fault)
            fault = iso_strf("no such key; did you mean %s%s%s?", key->section,
                             *key->section ? "." : "", name);
    }
    const char *near = iso_str_nearest(name, names, n);
    if (!fault && near)
        fault = iso_strf("no such key; did you mean %s%s%s?", section, *section ? "." : "", near);
    add_fault(r, line, section, name,
              fault ? fault : "no such key; isomoe study plan --help lists them");
    free(fault);
}

/* Which kinds take a key that this one does not. */
static void fault_kind(reader *r, int line, const iso_study_key *key) {
    iso_str fault = {0};
    iso_str_appendf(&fault, "a %s has no such key; it is for",
                    iso_study_kind_names[r->study->kind]);
    for (int i = 0, n = 0; iso_study_kind_names[i]; i++)
        if (key->kinds & ISO_STUDY_TAKES(i))
            iso_str_appendf(&fault, "%s %s", n++ ? "," : "", iso_study_kind_names[i]);
    add_fault(r, line, key->section, key->name, fault.data);
    iso_str_release(&fault);
}

/* Parts differ in what they try, not in how runs are run and judged. */
static bool is_of_the_whole(const reader *r, const iso_study_key *key) {
    static const char *const names[] = {"seeds", "scheme", "budget", "shapes", "axes"};
    const char *name = *key->section ? key->section : key->name;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return false;
    return *r->part != '\0';
}

static void read_value(reader *r, const iso_study_key *key, const iso_yaml *node) {
    iso_str fault = {0};
    if (!(key->kinds & ISO_STUDY_TAKES(r->study->kind)))
        fault_kind(r, node->key_line, key);
    else if (!iso_study_value_read(r->study, key, node, &fault))
        add_fault(r, node->key_line, key->section, key->name, fault.data);
    iso_str_release(&fault);
}

/* --- a grid's axes --- */

static void read_axis(reader *r, const iso_yaml *node) {
    iso_study *s = r->study;
    iso_config scratch = iso_config_default();
    if (s->n_axes == ISO_STUDY_AXES_MAX || strlen(node->key) >= ISO_STUDY_TEXT_BYTES) {
        add_fault(r, node->key_line, "axes", node->key, "too long, or more than 8 axes");
        return;
    }
    if (node->kind != ISO_YAML_SEQUENCE || node->n_children < 1 ||
        node->n_children > ISO_STUDY_LIST_MAX) {
        add_fault(r, node->key_line, "axes", node->key, "must be a list of 1 to 32 values");
        return;
    }
    iso_study_axis axis = {0};
    memcpy(axis.key, node->key, strlen(node->key) + 1);
    for (int i = 0; i < node->n_children; i++) {
        const iso_yaml *item = &node->children[i];
        bool fits = item->kind == ISO_YAML_SCALAR && strlen(item->text) < ISO_STUDY_TEXT_BYTES;
        char *assignment = iso_strf("%s=%s", axis.key, fits ? item->text : "");
        if (!fits) {
            add_fault(r, item->line, "axes", axis.key, "values must be single numbers or words");
        } else if (iso_config_set(&scratch, assignment) != ISO_OK) {
            add_fault(r, item->line, "axes", axis.key, iso_error_message());
            i = node->n_children; /* an unknown key is unknown with every value */
        } else {
            memcpy(axis.values[axis.n++], item->text, strlen(item->text) + 1);
        }
        free(assignment);
    }
    if (axis.n == node->n_children) s->axes[s->n_axes++] = axis;
}

/* --- sections --- */

static void read_section(reader *r, const iso_yaml *section) {
    bool grid_axes = r->study->kind == ISO_STUDY_GRID && strcmp(section->key, "axes") == 0;
    bool empty = section->kind == ISO_YAML_SCALAR && !*section->text && !section->is_quoted;
    if (section->kind != ISO_YAML_MAPPING && !empty)
        add_fault(r, section->key_line, "", section->key, "must hold `key: value` lines");
    for (int i = 0; section->kind == ISO_YAML_MAPPING && i < section->n_children; i++) {
        const iso_yaml *node = &section->children[i];
        const iso_study_key *key = iso_study_key_find(section->key, node->key);
        if (strcmp(node->key, "activation_rates") == 0) r->study->rates_line = node->key_line;
        if (grid_axes)
            read_axis(r, node);
        else if (!key)
            fault_name(r, node->key_line, section->key, node->key);
        else
            read_value(r, key, node);
    }
}

static const iso_yaml *text_of(reader *r, const iso_yaml *entry, const char *name) {
    const iso_yaml *node = iso_yaml_get(entry, name);
    if (node && node->kind == ISO_YAML_SCALAR && *node->text) return node;
    add_fault(r, entry->line, "runs", name, "missing, or not a word");
    return NULL;
}

static void read_listed(reader *r, const iso_yaml *entry) {
    static const char *const names[] = {"name", "config", "activation_rate", "seeds"};
    iso_study_listed *out = &r->study->listed[r->study->n_listed];
    if (entry->kind != ISO_YAML_MAPPING) {
        add_fault(r, entry->line, "", "runs", "each must have name and config");
        return;
    }
    for (int i = 0; i < entry->n_children; i++) {
        const char *key = entry->children[i].key;
        bool known = false;
        for (int j = 0; j < 4; j++) known = known || strcmp(key, names[j]) == 0;
        const char *near = known ? NULL : iso_str_nearest(key, names, 4);
        char *fault = near
                          ? iso_strf("no such key; did you mean runs.%s?", near)
                          : iso_strf("no such key; a run has name, config, activation_rate, seeds");
        if (!known) add_fault(r, entry->children[i].key_line, "runs", key, fault);
        free(fault);
    }
    const iso_yaml *name = text_of(r, entry, "name"), *config = text_of(r, entry, "config");
    const iso_yaml *seeds = iso_yaml_get(entry, "seeds");
    size_t legal = name ? strspn(name->text, "abcdefghijklmnopqrstuvwxyz0123456789-.") : 0;
    *out = (iso_study_listed){.seeds = {1, {1}}, .line = entry->line};
    if (name && (strlen(name->text) != legal || legal > 40 || name->text[0] == '.'))
        add_fault(r, name->line, "runs", "name", "take at most 40 of a-z, 0-9, - and .");
    if (config && strlen(config->text) >= sizeof out->path)
        add_fault(r, config->line, "runs", "config", "too long");
    else if (config)
        memcpy(out->path, config->text, strlen(config->text) + 1);
    if (name && legal <= 40) memcpy(out->name, name->text, legal), out->name[legal] = '\0';
    for (int64_t i = 0; name && i < r->study->n_listed; i++)
        if (strcmp(r->study->listed[i].name, out->name) == 0)
            add_fault(r, name->line, "runs", "name", "twice");
    if (seeds) {
        const iso_study_key *key = iso_study_key_find("", "seeds");
        iso_study one = {0};
        iso_str fault = {0};
        if (iso_study_value_read(&one, key, seeds, &fault))
            out->seeds = one.seeds;
        else
            add_fault(r, seeds->key_line, "runs", "seeds", fault.data);
        iso_str_release(&fault);
    }
    r->study->n_listed++;
}

static void read_runs(reader *r, const iso_yaml *node) {
    if (node->kind != ISO_YAML_SEQUENCE || node->n_children == 0) {
        add_fault(r, node->key_line, "", "runs", "must be a list of runs");
        return;
    }
    r->study->listed = calloc((size_t)node->n_children, sizeof *r->study->listed);
    ISO_ASSERT(r->study->listed != NULL);
    for (int i = 0; i < node->n_children; i++) read_listed(r, &node->children[i]);
}

static void read_budget(reader *r, const iso_yaml *node) {
    iso_study *s = r->study;
    s->budget_line = node->key_line;
    /* A part's own, whole: a third of it from the method's would make a fourth. */
    s->params = s->data = 0;
    s->compute = (iso_compute){0};
    read_section(r, node);
}

static void read_top(reader *r, const iso_yaml *node) {
    const iso_study_key *key = iso_study_key_find("", node->key);
    if (!key)
        fault_name(r, node->key_line, "", node->key);
    else if (is_of_the_whole(r, key))
        add_fault(r, node->key_line, "", node->key,
                  "the whole study says it; a part takes seeds, scheme, budget, shapes, axes");
    else if (!(key->kinds & ISO_STUDY_TAKES(r->study->kind)))
        fault_kind(r, node->key_line, key);
    else if (key->type != ISO_STUDY_SECTIONS)
        read_value(r, key, node);
    else if (strcmp(node->key, "runs") == 0)
        read_runs(r, node);
    else if (strcmp(node->key, "config") == 0)
        r->config = node;
    else if (strcmp(node->key, "parts") == 0)
        r->parts = node;
    else if (strcmp(node->key, "budget") == 0)
        read_budget(r, node);
    else
        read_section(r, node);
}

/* --- the whole --- */

static void need(reader *r, bool given, const char *section, const char *name, const char *why) {
    if (!given) add_fault(r, 1, section, name, why);
}

/* What axes and budget mean together; `line` is where what is missing is told. */
static void check_axes(reader *r, bool has_budget, int line) {
    const iso_study *s = r->study;
    bool has_rates = s->kind == ISO_STUDY_SWEEP || s->kind == ISO_STUDY_CONTROL;
    if (s->rates_line == 0 && !has_rates)
        add_fault(r, line, "axes", "activation_rates", "missing: which MoEs? [10%, 20%, 35%], say");
    if (!has_budget && !*s->base_path && s->data_sizes.n == 0)
        add_fault(r, line, "", "budget",
                  "missing: give two of params, compute and data, or a base that has them");
    if (s->kind == ISO_STUDY_SEARCH && s->activation_rates.n > 1)
        add_fault(r, s->rates_line, "axes", "activation_rates", "a search takes one");
    if (s->data_sizes.n > 0 && s->hold == ISO_STUDY_HOLD_TOKENS)
        add_fault(r, s->rates_line, "axes", "hold", "a scan over data holds compute");
    if (s->lr == ISO_STUDY_LR_SWEEP && s->kind == ISO_STUDY_SEARCH)
        add_fault(r, line, "rules", "lr", "a search takes steplaw; sweep in a scan");
    if (s->kind == ISO_STUDY_CONTROL && s->seeds.n < 2)
        add_fault(r, line, "", "seeds", "one seed says nothing about noise; give 20, say");
    if (s->kind == ISO_STUDY_SWEEP && s->lr_multipliers.n < 2)
        add_fault(r, line, "rules", "lr_multipliers", "a sweep of one rate chooses nothing");
}

/* What keys mean together. */
static void check_whole(reader *r, const iso_yaml *root) {
    const iso_study *s = r->study;
    bool listed = iso_yaml_get(root, "runs") != NULL;
    need(r, iso_yaml_get(root, "name"), "", "name", "missing: what shall the study be called?");
    need(r, iso_yaml_get(root, "kind"), "", "kind",
         "missing: scan, reuse, search, grid, sweep, control or method");
    need(r, iso_yaml_get(root, "format"), "", "format", "missing; this is format 1");
    if (s->kind == ISO_STUDY_METHOD) {
        need(r, r->parts, "", "parts", "missing: which of sweep, control, scan, reuse, search?");
        return;
    }
    if (s->kind == ISO_STUDY_GRID) {
        const iso_yaml *axes = iso_yaml_get(root, "axes");
        need(r, axes && axes->n_children > 0, "", "axes",
             "a grid needs one: section.key: [values]");
        need(r, *s->base_path || r->config, "", "base", "a grid needs a base or a config");
        return;
    }
    if (listed) {
        if (s->activation_rates.n > 0)
            add_fault(r, s->rates_line, "axes", "activation_rates",
                      "`runs` lists the runs already; drop one of the two");
        return;
    }
    check_axes(r, iso_yaml_get(root, "budget") != NULL, 1);
}

static iso_study study_default(void) {
    return (iso_study){.base = iso_config_default(),
                       .seeds = {1, {1}},
                       .dense_compute = {1, {1}},
                       .sides = {2, {ISO_STUDY_REPEAT_DENSE, ISO_STUDY_REPEAT_MOE}},
                       .schemes = {3, {ISO_GAP_UNIQUE, ISO_GAP_STRICT, ISO_GAP_LOOSE}},
                       .epochs = {1, {1}},
                       .layouts = {3, {ISO_LAYOUT_FULL, ISO_LAYOUT_1DENSE, ISO_LAYOUT_INTERLEAVE}},
                       .shared_expert = {2, {0, 1}},
                       .norm_topk = {2, {0, 1}},
                       .granularity = {4, {0.5, 1, 2, 4}},
                       .zeta = {3, {16, 32, 64}},
                       .mu = {3, {15, 22, 35}},
                       .dense_zeta = {6, {8, 16, 24, 32, 48, 64}},
                       .dense_alpha = {6, {1.5, 2, 2.77, 4, 5.5, 8}},
                       .dense_head_dim = {4, {8, 16, 32, 64}},
                       .lr_multipliers = {3, {0.25, 0.5, 1}},
                       .lr_extend = 2,
                       .retries = 2,
                       .budget_line = 1};
}

/* The paper's optimum stands for MoEs where one is enough. */
static void set_default_rate(iso_study *study) {
    if (study->kind == ISO_STUDY_SWEEP || study->kind == ISO_STUDY_CONTROL)
        study->activation_rates = (iso_study_list){1, {0.2}};
}

/* The kind decides what the other keys may be, so it comes first. */
static void read_kind(iso_study *study, const iso_yaml *root) {
    const iso_yaml *node = iso_yaml_get(root, "kind");
    iso_str ignored = {0};
    if (node) iso_study_value_read(study, iso_study_key_find("", "kind"), node, &ignored);
    iso_str_release(&ignored);
}

/* Every line of `message`, which begins with a place of its own. */
static void add_message(reader *r, const char *message) {
    iso_str_appendf(r->faults, "%s%s", r->faults->len ? "\n" : "", message);
}

static char *beside(const char *study_path, const char *path) {
    const char *slash = strrchr(study_path, '/');
    if (path[0] == '/' || !slash) return iso_strf("%s", path);
    return iso_strf("%.*s/%s", (int)(slash - study_path), study_path, path);
}

static void read_base(reader *r, const char *study_path) {
    iso_study *s = r->study;
    if (study_path && *s->base_path) {
        char *path = beside(study_path, s->base_path);
        if (iso_config_load(&s->base, path, NULL, 0) != ISO_OK) add_message(r, iso_error_message());
        s->norm_topk_given = true;
        free(path);
    }
    if (!r->config) return;
    const iso_yaml *model = iso_yaml_get(r->config, "model");
    s->norm_topk_given = s->norm_topk_given || (model && iso_yaml_get(model, "norm_topk_prob"));
    if (iso_config_read(&s->base, r->config, r->what) != ISO_OK)
        add_message(r, iso_error_message());
}

static void read_listed_configs(reader *r, const char *study_path) {
    for (int64_t i = 0; i < r->study->n_listed; i++) {
        iso_study_listed *run = &r->study->listed[i];
        char *path = beside(study_path, run->path);
        iso_status status = iso_config_load(&run->config, path, NULL, 0);
        if (status == ISO_OK) status = iso_config_resolve(&run->config, NULL);
        if (status != ISO_OK) add_fault(r, run->line, "runs", run->name, iso_error_message());
        free(path);
    }
}

/* --- the parts of a method --- */

/* They run in this order, those of one kind as the file has them. */
static const iso_study_kind part_order[] = {ISO_STUDY_SWEEP, ISO_STUDY_CONTROL, ISO_STUDY_SCAN,
                                            ISO_STUDY_REUSE, ISO_STUDY_SEARCH};
#define N_PART_KINDS ((int)(sizeof part_order / sizeof *part_order))

/* "scan", or "scan-" and more, as there may be several; -1: no such part. */
static int place_of_part(const char *name) {
    size_t n = strcspn(name, "-"), length = strlen(name);
    bool legal = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length &&
                 length < ISO_STUDY_PART_BYTES && name[length - 1] != '-';
    for (int i = 0; legal && i < N_PART_KINDS; i++) {
        const char *kind = iso_study_kind_names[part_order[i]];
        if (strlen(kind) == n && memcmp(kind, name, n) == 0) return i;
    }
    return -1;
}

static void read_part(reader *r, const iso_yaml *node, iso_study_kind kind) {
    const iso_study *whole = r->study;
    iso_study *part = &r->study->parts[r->study->n_parts++];
    char *prefix = iso_strf("parts.%s.", node->key);
    reader own = {.study = part, .what = r->what, .faults = r->faults, .part = prefix};
    bool empty = node->kind == ISO_YAML_SCALAR && !*node->text && !node->is_quoted;
    *part = *whole;
    part->kind = kind;
    part->source = NULL;
    part->parts = NULL;
    part->n_parts = 0;
    memcpy(part->name, node->key, strlen(node->key) + 1);
    set_default_rate(part);
    if (node->kind != ISO_YAML_MAPPING && !empty)
        add_fault(r, node->key_line, "parts", node->key,
                  "must hold `key: value` lines, or nothing");
    for (int i = 0; node->kind == ISO_YAML_MAPPING && i < node->n_children; i++)
        read_top(&own, &node->children[i]);
    bool has_budget = part->params > 0 || part->data > 0 || part->budget_line > 1;
    check_axes(&own, has_budget, node->key_line);
    free(prefix);
}

static bool same_budget(const iso_study *a, const iso_study *b) {
    return a->params == b->params && a->data == b->data && a->scheme == b->scheme &&
           a->compute.flops == b->compute.flops && a->compute.tokens == b->compute.tokens;
}

/* The planner gives the MoEs of one plan what they have in common. So every part plans the rates of
 * all that have its budget: "moe-20" is one shape then, whoever asks for it. A search plans alone.
 */
static void share_rates(iso_study *study) {
    for (int64_t i = 0; i < study->n_parts; i++) {
        iso_study *part = &study->parts[i];
        part->plan_rates = (iso_study_list){0};
        for (int64_t j = 0; j < study->n_parts && part->kind != ISO_STUDY_SEARCH; j++) {
            const iso_study *other = &study->parts[j];
            if (other->kind == ISO_STUDY_SEARCH || !same_budget(part, other)) continue;
            for (int64_t k = 0; k < other->activation_rates.n; k++) {
                iso_study_list *rates = &part->plan_rates;
                double rate = other->activation_rates.values[k];
                bool there = false;
                for (int64_t l = 0; l < rates->n; l++) there = there || rates->values[l] == rate;
                if (!there && rates->n < ISO_STUDY_LIST_MAX) rates->values[rates->n++] = rate;
            }
        }
    }
}

static void read_parts(reader *r) {
    const iso_yaml *node = r->parts;
    if (node->kind != ISO_YAML_MAPPING || node->n_children < 1 ||
        node->n_children > ISO_STUDY_PARTS_MAX) {
        add_fault(r, node->key_line, "", "parts", "must hold 1 to 12 parts such as `scan:`");
        return;
    }
    r->study->parts = calloc(ISO_STUDY_PARTS_MAX, sizeof *r->study->parts);
    ISO_ASSERT(r->study->parts != NULL);
    for (int place = 0; place < N_PART_KINDS; place++)
        for (int i = 0; i < node->n_children; i++)
            if (place_of_part(node->children[i].key) == place)
                read_part(r, &node->children[i], part_order[place]);
    share_rates(r->study);
    for (int i = 0; i < node->n_children; i++)
        if (place_of_part(node->children[i].key) < 0)
            add_fault(
                r, node->children[i].key_line, "parts", node->children[i].key,
                "no such part; take sweep, control, scan, reuse, search, or one of these with "
                "'-' and a word of your own behind");
}

static iso_status read_study(iso_study **out, iso_str *faults, const char *text, int64_t n_bytes,
                             const char *what, const char *study_path) {
    iso_yaml *root = NULL;
    iso_status status = iso_yaml_parse(&root, text, n_bytes, what);
    *out = NULL;
    if (status == ISO_OK && root->kind != ISO_YAML_MAPPING)
        status =
            iso_fail(ISO_ERR_USAGE, "%s:%d: must hold keys such as `kind: scan`", what, root->line);
    if (status != ISO_OK) {
        iso_str_append(faults, iso_error_message());
        iso_yaml_free(root);
        return status;
    }
    iso_study *study = calloc(1, sizeof *study);
    ISO_ASSERT(study != NULL);
    *study = study_default();
    study->source = iso_strf("%.*s", (int)n_bytes, text);
    reader r = {.study = study, .what = what, .faults = faults, .part = ""};
    read_kind(study, root);
    set_default_rate(study);
    for (int i = 0; i < root->n_children; i++) read_top(&r, &root->children[i]);
    read_base(&r, study_path);
    if (study_path) read_listed_configs(&r, study_path);
    if (r.parts) read_parts(&r);
    check_whole(&r, root);
    iso_yaml_free(root);
    *out = study;
    return faults->len ? iso_fail(ISO_ERR_USAGE, "%s", faults->data) : ISO_OK;
}

iso_status iso_study_parse(iso_study **out, iso_str *faults, const char *text, int64_t n_bytes,
                           const char *what) {
    return read_study(out, faults, text, n_bytes, what, NULL);
}

iso_status iso_study_load(iso_study **out, iso_str *faults, const char *path) {
    char *text = NULL;
    int64_t n_bytes = 0;
    *out = NULL;
    if (!iso_path_exists(path) || iso_path_is_dir(path)) {
        iso_str_appendf(faults, "there is no study file %s; configs/studies/ has examples", path);
        return iso_fail(ISO_ERR_USAGE, "%s", faults->data);
    }
    ISO_TRY(iso_file_read(&text, &n_bytes, path, ISO_YAML_MAX_BYTES));
    iso_status status = read_study(out, faults, text, n_bytes, path, path);
    free(text);
    return status;
}

void iso_study_free(iso_study *study) {
    if (!study) return;
    free(study->listed);
    free(study->parts);
    free(study->source);
    free(study);
}

void iso_study_help(iso_str *out) {
    iso_str_append(out, "\nKeys of a study file (docs/formats.md), with their defaults:\n");
    for (int64_t i = 0; i < iso_n_study_keys; i++) {
        const iso_study_key *key = &iso_study_keys[i];
        char *name = iso_strf("%s%s%s", key->section, *key->section ? "." : "", key->name);
        iso_str_appendf(out, "  %-24s %s", name, key->help);
        if (key->kinds != ISO_STUDY_TAKES_ALL) {
            iso_str_append(out, "  [");
            for (int k = 0, n = 0; iso_study_kind_names[k]; k++)
                if (key->kinds & ISO_STUDY_TAKES(k))
                    iso_str_appendf(out, "%s%s", n++ ? ", " : "", iso_study_kind_names[k]);
            iso_str_append(out, "]");
        }
        iso_str_append(out, "\n");
        free(name);
    }
    iso_str_append(out,
                   "  parts.PART.KEY           seeds, scheme, budget, shapes, axes of a part; what "
                   "it leaves out is the\n                           whole study's  [method]\n");
    iso_str_append(out, "  axes.SECTION.KEY         a list of values of any config key  [grid]\n");
}
