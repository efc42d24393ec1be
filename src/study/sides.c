#include "study/sides.h"

#include "base/number.h"
#include "data/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the ledger as numbers --- */

const json_t *iso_side_run_value(const iso_side_run *run, const char *path) {
    const json_t *at = run->run.summary;
    char key[64];
    while (at) {
        const char *dot = strchr(path, '.');
        size_t n = dot ? (size_t)(dot - path) : strlen(path);
        if (n >= sizeof key) return NULL;
        memcpy(key, path, n);
        key[n] = '\0';
        at = json_object_get(at, key);
        if (!dot) return at;
        path = dot + 1;
    }
    return NULL;
}

static double as_number(const json_t *value) {
    if (json_is_number(value)) return json_number_value(value);
    double parsed;
    if (json_is_string(value) && iso_str_to_f64(json_string_value(value), &parsed)) return parsed;
    return NAN;
}

double iso_side_run_number(const iso_side_run *run, const char *path) {
    return as_number(iso_side_run_value(run, path));
}

int64_t iso_side_run_whole(const iso_side_run *run, const char *path) {
    const json_t *value = iso_side_run_value(run, path);
    int64_t parsed;
    if (json_is_integer(value)) return (int64_t)json_integer_value(value);
    if (json_is_string(value) && iso_str_to_i64(json_string_value(value), &parsed)) return parsed;
    return ISO_ABSENT;
}

const char *iso_side_run_text(const iso_side_run *run, const char *path) {
    return json_string_value(iso_side_run_value(run, path));
}

bool iso_domain_is_holdout(const char *domain) {
    return strcmp(domain, ISO_HOLDOUT) == 0;
}

double iso_side_domain_mean(const iso_side *side, const char *domain, const char *unit) {
    double sum = 0.0;
    for (int64_t i = 0; i < side->n_runs; i++) {
        const json_t *domains = iso_side_run_value(side->runs[i], "domains");
        sum += as_number(json_object_get(json_object_get(domains, domain), unit));
    }
    return sum / (double)side->n_runs;
}

/* --- grouping --- */

/* What tells one configuration from another: the sections of the config without what names a seed
 * or cannot change a result (the batch's cut into micro-batches, the number of threads, how often a
 * run is evaluated or saved), and the subset really trained on. Caller frees. */
static char *configuration_key(const iso_side_run *run) {
    static const struct {
        const char *section, *key;
    } irrelevant[] = {{"data", "dir"},
                      {"data", "seed"},
                      {"train", "seed"},
                      {"train", "threads"},
                      {"train", "micro_batch_size"},
                      {"train", "checkpoint_every"},
                      {"train", "keep_last"},
                      {"train", "eval_every"},
                      {"train", "eval_tokens"}};
    json_t *key = json_object();
    static const char *const sections[] = {"model", "data", "train"};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        json_t *section = json_deep_copy(iso_side_run_value(run, sections[i]));
        for (size_t j = 0; section && j < sizeof irrelevant / sizeof *irrelevant; j++)
            if (strcmp(irrelevant[j].section, sections[i]) == 0)
                json_object_del(section, irrelevant[j].key);
        if (section) json_object_set_new(key, sections[i], section);
    }
    json_t *subset = (json_t *)iso_side_run_value(run, "subset_hash");
    if (subset) json_object_set(key, "subset_hash", subset);
    char *text = json_dumps(key, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(key);
    return text;
}

static void read_run(iso_side_run *run) {
    const char *state = iso_side_run_text(run, "state");
    run->state = state ? state : "";
    run->seed = iso_side_run_whole(run, "seed");
    run->data_seed = iso_side_run_whole(run, "data.seed");
    run->bpb = iso_side_run_number(run, "bpb");
    run->bpc = iso_side_run_number(run, "bpc");
    run->in_distribution_bpb = iso_side_run_number(run, "in_distribution.bpb");
    run->in_distribution_bpc = iso_side_run_number(run, "in_distribution.bpc");
    if (strcmp(run->state, "finished") != 0) {
        int64_t steps = iso_side_run_whole(run, "steps");
        int64_t planned = iso_side_run_whole(run, "planned_steps");
        if (steps >= 0 && planned > 0)
            run->excluded =
                iso_strf("%s at step %lld of %lld", *run->state ? run->state : "no state",
                         (long long)steps, (long long)planned);
        else
            run->excluded = iso_strf("%s, not finished", *run->state ? run->state : "no state");
    } else if (!isfinite(run->bpc)) {
        run->excluded = iso_strf("finished, but without a final score");
    }
}

/* "4 layers of 128, 4 heads, FFN 344" and so on; keys that are missing leave gaps out. */
static char *shape_in_words(const iso_side_run *run, bool is_moe) {
    iso_str words = {0};
    int64_t layers = iso_side_run_whole(run, "model.num_hidden_layers");
    int64_t hidden = iso_side_run_whole(run, "model.hidden_size");
    int64_t heads = iso_side_run_whole(run, "model.num_attention_heads");
    int64_t ffn = iso_side_run_whole(run, "model.intermediate_size");
    const char *layout = iso_side_run_text(run, "model.layer_layout");
    if (layers > 0 && hidden > 0)
        iso_str_appendf(&words, "%lld layers of %lld", (long long)layers, (long long)hidden);
    if (heads > 0) iso_str_appendf(&words, ", %lld heads", (long long)heads);
    bool has_dense_layers = !is_moe || (layout && strcmp(layout, "full") != 0);
    if (ffn > 0 && has_dense_layers)
        iso_str_appendf(&words, is_moe ? ", dense layers %lld wide" : ", FFN %lld wide",
                        (long long)ffn);
    if (is_moe) {
        int64_t experts = iso_side_run_whole(run, "model.num_experts");
        int64_t used = iso_side_run_whole(run, "model.num_experts_per_tok");
        int64_t width = iso_side_run_whole(run, "model.moe_intermediate_size");
        int64_t shared = iso_side_run_whole(run, "model.shared_expert_intermediate_size");
        if (experts > 0 && width > 0)
            iso_str_appendf(&words, "; %lld experts of %lld, %lld per token", (long long)experts,
                            (long long)width, (long long)used);
        if (shared > 0) iso_str_appendf(&words, ", shared expert of %lld", (long long)shared);
        if (layout) iso_str_appendf(&words, "; layout %s", layout);
    }
    if (!words.data) iso_str_append(&words, "shape not recorded");
    return words.data;
}

static bool is_moe(const iso_side_run *run) {
    const char *layout = iso_side_run_text(run, "model.layer_layout");
    if (layout) return strcmp(layout, "dense") != 0;
    return iso_side_run_whole(run, "model.num_experts") > 0;
}

static int compare_seed(const void *a, const void *b) {
    const iso_side_run *left = *(const iso_side_run *const *)a;
    const iso_side_run *right = *(const iso_side_run *const *)b;
    if (left->seed != right->seed) return left->seed < right->seed ? -1 : 1;
    return left->data_seed < right->data_seed ? -1 : left->data_seed > right->data_seed;
}

static int compare_sides(const void *a, const void *b) {
    const iso_side *left = a, *right = b;
    if (left->is_moe != right->is_moe) return left->is_moe ? 1 : -1;
    if (left->activation_rate != right->activation_rate)
        return left->activation_rate < right->activation_rate ? -1 : 1;
    return strcmp(left->label, right->label);
}

/* "dense-s1", "dense-seed-2", "dense_seed3" -> "dense": the part of a run's name that names its
 * configuration. Only the run's own seed is taken off. */
static char *name_without_seed(const iso_side_run *run) {
    char *name = iso_strf("%s", run->run.name);
    char *seed = iso_strf("%lld", (long long)run->seed);
    size_t n = strlen(name), n_seed = strlen(seed);
    if (n > n_seed && strcmp(name + n - n_seed, seed) == 0) {
        static const char *const joints[] = {"-seed-", "_seed_", "-seed", "_seed", "-s", "_s"};
        for (size_t i = 0; i < sizeof joints / sizeof *joints; i++) {
            size_t n_joint = strlen(joints[i]);
            if (n <= n_seed + n_joint) continue;
            char *at = name + n - n_seed - n_joint;
            if (strncmp(at, joints[i], n_joint) != 0) continue;
            *at = '\0';
            break;
        }
    }
    free(seed);
    return name;
}

static void add_to_sides(iso_sides *sides, iso_side_run *run, char **keys) {
    char *key = configuration_key(run);
    int64_t at = 0;
    while (at < sides->n && strcmp(keys[at], key) != 0) at++;
    iso_side *side = &sides->sides[at];
    if (at < sides->n) {
        free(key);
        for (int64_t i = 0; i < side->n_runs; i++)
            if (side->runs[i]->seed == run->seed && side->runs[i]->data_seed == run->data_seed) {
                run->excluded = iso_strf("same configuration and seeds as %s: a repetition says "
                                         "nothing new about noise",
                                         side->runs[i]->run.dir);
                return;
            }
    } else {
        keys[sides->n++] = key;
        side->is_moe = is_moe(run);
        side->activation_rate = iso_side_run_number(run, "activation_rate");
        side->label = name_without_seed(run);
        side->shape = shape_in_words(run, side->is_moe);
        side->runs = calloc((size_t)sides->n_runs, sizeof(*side->runs));
        ISO_ASSERT(side->runs);
    }
    side->runs[side->n_runs++] = run;
}

static void finish_side(iso_side *side) {
    qsort(side->runs, (size_t)side->n_runs, sizeof(*side->runs), compare_seed);
    side->bpc = calloc((size_t)side->n_runs, sizeof(*side->bpc));
    ISO_ASSERT(side->bpc);
    double bpb = 0.0, bpc = 0.0, in_distribution = 0.0;
    for (int64_t i = 0; i < side->n_runs; i++) {
        side->bpc[i] = side->runs[i]->bpc;
        bpc += side->runs[i]->bpc;
        bpb += side->runs[i]->bpb;
        in_distribution += side->runs[i]->in_distribution_bpb;
    }
    side->mean_bpc = bpc / (double)side->n_runs;
    side->mean_bpb = bpb / (double)side->n_runs;
    side->mean_in_distribution_bpb = in_distribution / (double)side->n_runs;
}

/* Two sides of one name (a learning-rate sweep in folders called alike) become "name", "name #2".
 */
static void make_labels_unique(iso_sides *sides) {
    for (int64_t i = 1; i < sides->n; i++) {
        char *base = iso_strf("%s", sides->sides[i].label);
        int64_t number = 1;
        for (int64_t j = 0; j < i; j++)
            if (strcmp(sides->sides[j].label, sides->sides[i].label) == 0) {
                free(sides->sides[i].label);
                sides->sides[i].label = iso_strf("%s #%lld", base, (long long)++number);
                j = -1; /* the new label may be taken, too */
            }
        free(base);
    }
}

static void add_domain(iso_sides *sides, const char *name) {
    for (int64_t i = 0; i < sides->n_domains; i++)
        if (strcmp(sides->domains[i], name) == 0) return;
    const char **grown =
        realloc(sides->domains, (size_t)(sides->n_domains + 1) * sizeof(*sides->domains));
    ISO_ASSERT(grown);
    sides->domains = grown;
    sides->domains[sides->n_domains++] = name;
}

static void collect_domains(iso_sides *sides) {
    for (int pass = 0; pass < 2; pass++) /* the named ones first, then the hold-out */
        for (int64_t i = 0; i < sides->n; i++)
            for (int64_t j = 0; j < sides->sides[i].n_runs; j++) {
                json_t *domains = (json_t *)iso_side_run_value(sides->sides[i].runs[j], "domains");
                const char *name;
                json_t *scores;
                json_object_foreach(domains, name, scores) if (iso_domain_is_holdout(name) ==
                                                               (pass == 1)) add_domain(sides, name);
            }
}

static iso_status audit_sides(iso_sides *sides) {
    sides->audited = calloc((size_t)sides->n_runs, sizeof(*sides->audited));
    ISO_ASSERT(sides->audited);
    int64_t n = 0;
    for (int64_t i = 0; i < sides->n; i++)
        for (int64_t j = 0; j < sides->sides[i].n_runs; j++)
            sides->audited[n++] = sides->sides[i].runs[j]->run;
    if (n < 2) return ISO_OK;
    iso_audit_options options = iso_audit_options_default();
    return iso_audit_create(&sides->audit, sides->audited, n, &options);
}

static void group(iso_sides *sides) {
    char **keys = calloc((size_t)sides->n_runs, sizeof(*keys));
    ISO_ASSERT(keys);
    for (int64_t i = 0; i < sides->n_runs; i++)
        if (!sides->runs[i].excluded) add_to_sides(sides, &sides->runs[i], keys);
    for (int64_t i = 0; i < sides->n; i++) {
        finish_side(&sides->sides[i]);
        free(keys[i]);
    }
    free(keys);
    qsort(sides->sides, (size_t)sides->n, sizeof(*sides->sides), compare_sides);
    make_labels_unique(sides);
    collect_domains(sides);
}

iso_status iso_sides_open(iso_sides *out, const char *const *run_dirs, int64_t n_run_dirs) {
    *out = (iso_sides){0};
    if (n_run_dirs < 1)
        return iso_fail(ISO_ERR_USAGE, "report: no run given; name at least one run folder");
    out->runs = calloc((size_t)n_run_dirs, sizeof(*out->runs));
    out->sides = calloc((size_t)n_run_dirs, sizeof(*out->sides));
    ISO_ASSERT(out->runs && out->sides);
    iso_status status = ISO_OK;
    while (status == ISO_OK && out->n_runs < n_run_dirs) {
        iso_side_run *run = &out->runs[out->n_runs];
        status = iso_run_open(&run->run, run_dirs[out->n_runs]);
        if (status != ISO_OK) break;
        read_run(run);
        out->n_runs++;
    }
    if (status == ISO_OK) {
        group(out);
        status = audit_sides(out);
    }
    if (status != ISO_OK) iso_sides_close(out);
    return status;
}

void iso_sides_close(iso_sides *sides) {
    iso_audit_free(sides->audit);
    free(sides->audited);
    for (int64_t i = 0; i < sides->n; i++) {
        free(sides->sides[i].label);
        free(sides->sides[i].shape);
        free(sides->sides[i].runs);
        free(sides->sides[i].bpc);
    }
    for (int64_t i = 0; i < sides->n_runs; i++) {
        free(sides->runs[i].excluded);
        iso_run_close(&sides->runs[i].run);
    }
    free(sides->sides);
    free(sides->runs);
    free(sides->domains);
    *sides = (iso_sides){0};
}
