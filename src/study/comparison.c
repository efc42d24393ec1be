#include "study/comparison.h"

#include <stdlib.h>
#include <string.h>

static char *plan_path(const char *out_dir) {
    return iso_strf("%s/plan.json", out_dir);
}

bool iso_comparison_exists(const char *out_dir) {
    char *path = plan_path(out_dir);
    bool exists = iso_path_exists(path);
    free(path);
    return exists;
}

/* Appends one run to plan.json's list and writes its config. */
static iso_status write_run(json_t *runs, const char *configs_dir, const iso_compare_side *side,
                            int seed) {
    iso_config config = iso_compare_config(side, seed);
    char *name = iso_strf("%s-s%d", side->name, seed);
    char *path = iso_strf("%s/%s.yaml", configs_dir, name);
    json_array_append_new(runs, json_pack("{ss ss si sf sf}", "name", name, "side", side->name,
                                          "seed", seed, "activation_rate", side->rate, "expected_s",
                                          side->seconds));
    iso_status status = iso_config_save(&config, path);
    free(path);
    free(name);
    return status;
}

iso_status iso_comparison_write(const char *out_dir, const iso_compare_plan *plan,
                                const json_t *goal) {
    char *configs_dir = iso_strf("%s/configs", out_dir), *path = plan_path(out_dir);
    json_t *runs = json_array();
    iso_status status = iso_dir_create(configs_dir);
    for (int i = 0; i < plan->n_sides; i++)
        for (int seed = 1; seed <= plan->sides[i].n_seeds && status == ISO_OK; seed++)
            status = write_run(runs, configs_dir, &plan->sides[i], seed);
    json_t *file = json_pack("{si sO sf so}", "format", 1, "goal", goal, "expected_minutes",
                             plan->minutes, "runs", runs);
    /* Last: a plan.json is there only when all configs are. */
    if (status == ISO_OK) status = iso_json_save(file, path);
    json_decref(file);
    free(path);
    free(configs_dir);
    return status;
}

static iso_status read_run(iso_comparison_run *out, const json_t *entry, const char *out_dir,
                           const char *what) {
    const char *name;
    ISO_TRY(iso_json_get_str(&name, entry, "name", what));
    ISO_TRY(iso_json_get_f64(&out->expected_s, entry, "expected_s", what));
    if (!*name || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != strlen(name))
        return iso_fail(ISO_ERR_DATA, "%s: '%s' is no run's name", what, name);
    out->name = iso_strf("%s", name);
    out->config_path = iso_strf("%s/configs/%s.yaml", out_dir, name);
    out->run_dir = iso_strf("%s/runs/%s", out_dir, name);
    ISO_TRY(iso_config_load(&out->config, out->config_path, NULL, 0));
    return iso_config_resolve(&out->config, NULL);
}

static iso_status read_plan(iso_comparison *out, const json_t *file, const char *out_dir,
                            const char *path) {
    json_t *goal, *runs;
    ISO_TRY(iso_json_get_object(&goal, file, "goal", path));
    ISO_TRY(iso_json_get_array(&runs, file, "runs", path));
    ISO_TRY(iso_json_get_f64(&out->expected_minutes, file, "expected_minutes", path));
    out->goal = json_incref(goal);
    out->runs = calloc(json_array_size(runs) + 1, sizeof *out->runs);
    if (!out->runs) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the list of runs");
    for (size_t i = 0; i < json_array_size(runs); i++) {
        out->n_runs++;
        ISO_TRY(read_run(&out->runs[i], json_array_get(runs, i), out_dir, path));
    }
    if (out->n_runs == 0) return iso_fail(ISO_ERR_DATA, "%s: no runs", path);
    return ISO_OK;
}

iso_status iso_comparison_open(iso_comparison *out, const char *out_dir) {
    *out = (iso_comparison){0};
    char *path = plan_path(out_dir);
    json_t *file = NULL;
    iso_status status = iso_json_load(&file, path);
    if (status == ISO_OK) status = read_plan(out, file, out_dir, path);
    json_decref(file);
    free(path);
    if (status != ISO_OK) iso_comparison_close(out);
    return status;
}

void iso_comparison_close(iso_comparison *comparison) {
    for (int64_t i = 0; i < comparison->n_runs; i++) {
        free(comparison->runs[i].name);
        free(comparison->runs[i].config_path);
        free(comparison->runs[i].run_dir);
    }
    free(comparison->runs);
    json_decref(comparison->goal);
    *comparison = (iso_comparison){0};
}
