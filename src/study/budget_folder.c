#include "study/budget_folder.h"

#include "base/fileio.h"
#include "base/options.h"
#include "base/yaml.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STUDY_FORMAT "1"

static char *path_in(const char *dir, const char *name) {
    return iso_strf("%s/%s", dir, name);
}

/* Whether dir/study.yaml is a study file of ours. */
static bool is_study(const char *dir) {
    char *path = path_in(dir, "study.yaml");
    iso_yaml *root = NULL;
    bool ours = false;
    if (iso_path_exists(path) && iso_yaml_load(&root, path) == ISO_OK) {
        const iso_yaml *kind = iso_yaml_get(root, "kind"), *format = iso_yaml_get(root, "format");
        ours = kind && kind->text && format && format->text && iso_yaml_get(root, "runs");
    }
    iso_yaml_free(root);
    free(path);
    return ours;
}

static iso_status check_dir(const char *dir) {
    char **names;
    int64_t n;
    if (!iso_path_exists(dir)) return ISO_OK;
    if (!iso_path_is_dir(dir))
        return iso_fail(ISO_ERR_USAGE, "--out %s: a file is there; name a folder", dir);
    ISO_TRY(iso_dir_list(&names, &n, dir));
    bool has_runs = false;
    for (int64_t i = 0; i < n; i++) has_runs = has_runs || strcmp(names[i], "runs") == 0;
    iso_names_free(names, n);
    if (n > 0 && !is_study(dir))
        return iso_fail(ISO_ERR_USAGE,
                        "--out %s: the folder holds something else than a plan; choose another, or "
                        "an empty one",
                        dir);
    if (has_runs)
        return iso_fail(ISO_ERR_USAGE,
                        "--out %s: runs were started from the plan that is there; choose another "
                        "folder",
                        dir);
    return ISO_OK;
}

/* The last part of a path, without trailing slashes: the study's name. */
static char *name_of(const char *dir) {
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && dir[from - 1] != '/') from--;
    char *name = iso_strf("%.*s", (int)(n - from), dir + from);
    /* What a reader of YAML might take for something else than a plain word. */
    for (char *c = name; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *c))
            *c = '-';
    return name;
}

static void study_text(iso_str *out, const iso_budget *b, const char *dir) {
    char number[32];
    char *name = name_of(dir);
    iso_str_appendf(out,
                    "# Written by isomoe plan; docs/formats.md says what it means.\n"
                    "format: " STUDY_FORMAT "\nname: \"%s\"\nkind: scan\nscheme: %s\nbudget:\n"
                    "  params: %" PRId64 "\n",
                    name, iso_budget_scheme_names[b->goal.scheme], b->params);
    iso_str_appendf(out, "  flops: %s\n", iso_f64_to_str(number, b->models[0].flops));
    iso_str_appendf(out, "  unique_tokens: %" PRId64 "\nruns:\n", b->unique_tokens);
    for (int64_t i = 0; i < b->n_models; i++) {
        const iso_budget_model *m = &b->models[i];
        iso_str_appendf(out,
                        "  - name: %s\n    config: configs/%s.yaml\n    activation_rate: %s\n"
                        "    seeds: [%" PRId64 "]\n",
                        m->name, m->name, iso_f64_to_str(number, m->plan.counts.activation_rate),
                        m->config.train.seed);
    }
    free(name);
}

static iso_status write_configs(const iso_budget *b, const char *dir) {
    char *configs = path_in(dir, "configs");
    iso_status status = iso_dir_remove(configs);
    if (status == ISO_OK) status = iso_dir_create(configs);
    for (int64_t i = 0; i < b->n_models && status == ISO_OK; i++) {
        char *path = iso_strf("%s/%s.yaml", configs, b->models[i].name);
        status = iso_config_save(&b->models[i].config, path);
        free(path);
    }
    free(configs);
    return status;
}

/* Whether the file holds this text and nothing else. */
static bool holds(const char *path, const char *text) {
    char *there;
    int64_t n_bytes;
    if (!iso_path_exists(path) || iso_file_read(&there, &n_bytes, path, 1 << 24) != ISO_OK)
        return false;
    bool same = n_bytes == (int64_t)strlen(text) && memcmp(there, text, (size_t)n_bytes) == 0;
    free(there);
    return same;
}

/* Whether the folder holds this very plan, untouched: then writing it again changes nothing. */
static bool holds_plan(const iso_budget *b, const char *dir, const char *study,
                       const char *markdown) {
    char *plan_path = path_in(dir, "plan.md"), *study_path = path_in(dir, "study.yaml");
    bool same = holds(plan_path, markdown) && holds(study_path, study);
    for (int64_t i = 0; i < b->n_models && same; i++) {
        char *path = iso_strf("%s/configs/%s.yaml", dir, b->models[i].name);
        iso_str text = {0};
        iso_config_to_yaml(&text, &b->models[i].config);
        same = holds(path, text.data);
        iso_str_release(&text);
        free(path);
    }
    free(study_path);
    free(plan_path);
    return same;
}

static iso_status write_plan(const iso_budget *budget, const char *dir, const char *study,
                             const char *markdown) {
    char *plan_path = path_in(dir, "plan.md"), *study_path = path_in(dir, "study.yaml");
    remove(study_path); /* (I1) */
    iso_status status = write_configs(budget, dir);
    if (status == ISO_OK)
        status = iso_file_write_atomic(plan_path, markdown, (int64_t)strlen(markdown));
    if (status == ISO_OK) status = iso_file_write_atomic(study_path, study, (int64_t)strlen(study));
    free(study_path);
    free(plan_path);
    return status;
}

iso_status iso_budget_folder_write(const iso_budget *budget, const char *dir, const char *markdown,
                                   bool replace) {
    ISO_TRY(check_dir(dir));
    ISO_TRY(iso_dir_create(dir));
    iso_str study = {0};
    study_text(&study, budget, dir);
    iso_status status = ISO_OK;
    if (is_study(dir) && !replace && !holds_plan(budget, dir, study.data, markdown))
        status = iso_fail(ISO_ERR_USAGE,
                          "--out %s: another plan is there, or one that was edited; choose another "
                          "folder, or --force to replace it",
                          dir);
    if (status == ISO_OK) status = write_plan(budget, dir, study.data, markdown);
    iso_str_release(&study);
    return status;
}
