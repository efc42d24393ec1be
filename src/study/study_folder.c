#include "study/study_folder.h"

#include "runs/run_folder.h"
#include "runs/run_rows.h"
#include "study/study_choose.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MANIFEST        "manifest.json"
#define MANIFEST_FORMAT 1

char *iso_study_config_path(const iso_study_folder *folder, const iso_study_run *run) {
    return iso_strf("%s/configs/%s.yaml", folder->dir, run->name);
}

char *iso_study_run_dir(const iso_study_folder *folder, const char *run_name) {
    return iso_strf("%s/runs/%s", folder->dir, run_name);
}

/* --- opening --- */

static iso_status read_manifest(iso_study_folder *folder, const char *path) {
    json_t *file = NULL, *runs;
    size_t i;
    json_t *entry;
    ISO_TRY(iso_json_load(&file, path));
    iso_status status = iso_json_get_array(&runs, file, "runs", path);
    if (status == ISO_OK) {
        json_array_foreach(runs, i, entry) {
            const char *name, *hash;
            status = iso_json_get_str(&name, entry, "name", path);
            if (status == ISO_OK) status = iso_json_get_str(&hash, entry, "config_hash", path);
            if (status != ISO_OK) break;
            json_object_set(folder->before, name, entry);
        }
    }
    json_decref(file);
    return status;
}

static iso_status check_content(const char *dir) {
    char **names;
    int64_t n, n_other = 0;
    ISO_TRY(iso_dir_list(&names, &n, dir));
    for (int64_t i = 0; i < n; i++) {
        bool ours = strcmp(names[i], "study.yaml") == 0 || strcmp(names[i], "configs") == 0 ||
                    strcmp(names[i], "plan.md") == 0 || strcmp(names[i], "speed.json") == 0 ||
                    strcmp(names[i], "lock") == 0;
        n_other += !ours;
    }
    iso_names_free(names, n);
    if (n_other == 0) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "--out %s: the folder holds something else than a study; choose another, or an "
                    "empty one",
                    dir);
}

iso_status iso_study_folder_open(iso_study_folder *out, const iso_study *study, const char *dir) {
    *out = (iso_study_folder){
        .dir = iso_strf("%s", dir), .study = study, .before = json_object(), .lock = {.fd = -1}};
    char *path = iso_strf("%s/" MANIFEST, dir), *lock = iso_strf("%s/lock", dir);
    iso_status status = ISO_OK;
    if (iso_path_exists(dir) && !iso_path_is_dir(dir))
        status = iso_fail(ISO_ERR_USAGE, "--out %s: a file is there; name a folder", dir);
    if (status == ISO_OK) status = iso_dir_create(dir);
    if (status == ISO_OK && !iso_path_exists(path)) status = check_content(dir);
    if (status == ISO_OK) status = iso_lock_open(&out->lock, lock);
    free(lock);
    free(path);
    if (status != ISO_OK) iso_study_folder_close(out);
    return status;
}

void iso_study_folder_close(iso_study_folder *folder) {
    if (folder->lock.fd >= 0) iso_lock_close(&folder->lock);
    json_decref(folder->before);
    free(folder->dir);
    *folder = (iso_study_folder){.lock = {.fd = -1}};
}

/* --- what runs came to --- */

int64_t iso_study_folder_hopeless(const iso_study_folder *folder, const iso_study_run *run) {
    if (!*run->guard || folder->study->stop_hopeless <= 0) return 0;
    char *own = iso_study_run_dir(folder, run->name),
         *guard = iso_study_run_dir(folder, run->guard);
    int64_t step = iso_path_exists(own) ? iso_hopeless_step(own, run->config.train.steps, guard,
                                                            folder->study->stop_hopeless)
                                        : 0;
    free(guard);
    free(own);
    return step;
}

bool iso_study_folder_score(void *ctx, const iso_study_run *run, iso_study_score *out) {
    const iso_study_folder *folder = ctx;
    char *dir = iso_study_run_dir(folder, run->name);
    iso_halves halves;
    *out = (iso_study_score){.choose = NAN, .report = NAN};
    /* One that was hopeless and finished all the same is stopped, too: what counts is what its
     * evaluations say, not whether a signal came in time. */
    out->stopped = iso_study_folder_hopeless(folder, run) > 0;
    out->diverged = iso_run_has_diverged(dir);
    bool known = out->stopped || out->diverged;
    if (!known && iso_run_is_finished(dir) &&
        iso_halves_read(&halves, dir, folder->study->select) == ISO_OK) {
        out->choose = halves.choose;
        out->report = halves.report;
        known = true;
    }
    free(dir);
    return known;
}

/* --- a plan --- */

/* `may_hide`: an open choice may keep it out of the plan. */
static iso_status check_run(const iso_study_folder *folder, const char *name, const json_t *entry,
                            const iso_study_plan *plan, bool may_hide) {
    const char *hash = json_string_value(json_object_get(entry, "config_hash"));
    for (int64_t i = 0; i < plan->n_runs; i++)
        if (strcmp(plan->runs[i].name, name) == 0) {
            if (strcmp(plan->runs[i].config_hash, hash) == 0) return ISO_OK;
            return iso_fail(ISO_ERR_USAGE,
                            "%s: the run %s was planned with another config; choose another --out, "
                            "or take the study file back to what it was",
                            folder->dir, name);
        }
    if (may_hide) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "%s: the run %s of the study that is there is none of this one; choose another "
                    "--out, or take the study file back to what it was",
                    folder->dir, name);
}

/* Every run that was planned before is in the plan, unless an open choice hides it. */
static iso_status check_growth(const iso_study_folder *folder, const iso_study_plan *plan) {
    const char *name;
    json_t *entry;
    json_object_foreach(folder->before, name, entry) {
        bool chosen = json_array_size(json_object_get(entry, "needs")) > 0;
        ISO_TRY(check_run(folder, name, entry, plan, chosen && !plan->complete));
    }
    return ISO_OK;
}

/* What lies in a run's folder may come from a batch system, or from a hand that erred. */
static iso_status check_config(const char *path, const iso_study_run *run) {
    iso_config config;
    char hash[ISO_SHA256_HEX_BYTES];
    ISO_TRY(iso_config_load(&config, path, NULL, 0));
    iso_config_hash(hash, &config);
    if (strcmp(hash, run->config_hash) == 0) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "%s: it was not trained with the study's config of this run; move the run "
                    "folder away",
                    path);
}

static iso_status check_trained(const iso_study_folder *folder, const iso_study_plan *plan) {
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < plan->n_runs && status == ISO_OK; i++) {
        const iso_study_run *run = &plan->runs[i];
        char *path = iso_strf("%s/runs/%s/" ISO_RUN_CONFIG, folder->dir, run->name);
        if (iso_path_exists(path)) status = check_config(path, run);
        free(path);
    }
    return status;
}

/* Unless it is there with these bytes: hundreds of files are not to be synced at every start. */
static iso_status write_once(const char *path, const char *text, size_t n_bytes) {
    char *there = NULL;
    int64_t n = 0;
    bool same = iso_path_exists(path) &&
                iso_file_read(&there, &n, path, (int64_t)1 << 26) == ISO_OK &&
                (size_t)n == n_bytes && memcmp(there, text, n_bytes) == 0;
    free(there);
    return same ? ISO_OK : iso_file_write_atomic(path, text, (int64_t)n_bytes);
}

static iso_status write_configs(const iso_study_folder *folder, const iso_study_plan *plan) {
    iso_str yaml = {0};
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < plan->n_runs && status == ISO_OK; i++) {
        char *path = iso_study_config_path(folder, &plan->runs[i]);
        iso_str_clear(&yaml);
        iso_config_to_yaml(&yaml, &plan->runs[i].config);
        status = write_once(path, yaml.data, yaml.len);
        free(path);
    }
    iso_str_release(&yaml);
    return status;
}

/* "steps/moe-layout.json", "steps/lr-dense.json"; of a part with a name of its own
 * "steps/search-wide-moe-layout.json". */
static iso_status write_steps(const iso_study_folder *folder, const iso_study_plan *plan) {
    iso_status status = ISO_OK;
    for (size_t i = 0; i < json_array_size(plan->steps) && status == ISO_OK; i++) {
        const json_t *table = json_array_get(plan->steps, i);
        const char *side = json_string_value(json_object_get(table, "side"));
        const char *part = json_string_value(json_object_get(table, "part"));
        bool named = strchr(part, '-') != NULL;
        char *path = iso_strf("%s/steps/%s%s%s%s%s.json", folder->dir, named ? part : "",
                              named ? "-" : "", json_string_value(json_object_get(table, "step")),
                              side ? "-" : "", side ? side : "");
        char *text = json_dumps(table, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
        ISO_ASSERT(text != NULL);
        status = write_once(path, text, strlen(text));
        free(text);
        free(path);
    }
    return status;
}

iso_status iso_study_folder_take(iso_study_folder *folder, const iso_study_plan *plan) {
    char *configs = iso_strf("%s/configs", folder->dir), *steps = iso_strf("%s/steps", folder->dir);
    char *manifest = iso_strf("%s/" MANIFEST, folder->dir);
    iso_status status = ISO_OK;
    /* Attempts of the stages before are in it. */
    if (iso_path_exists(manifest)) status = read_manifest(folder, manifest);
    free(manifest);
    if (status == ISO_OK) status = check_growth(folder, plan);
    if (status == ISO_OK) status = check_trained(folder, plan);
    if (status == ISO_OK) status = iso_dir_create(configs);
    if (status == ISO_OK && json_array_size(plan->steps) > 0) status = iso_dir_create(steps);
    if (status == ISO_OK) status = write_configs(folder, plan);
    if (status == ISO_OK) status = write_steps(folder, plan);
    free(steps);
    free(configs);
    return status;
}

/* --- the manifest --- */

static const char *state_name(iso_job_state state) {
    switch (state) {
    case ISO_JOB_RUNNING:
        return "running";
    case ISO_JOB_DONE:
        return "finished";
    case ISO_JOB_FAILED:
        return "failed";
    case ISO_JOB_STOPPED:
        return "stopped";
    case ISO_JOB_DIVERGED:
        return "diverged";
    case ISO_JOB_WAITING:
    case ISO_JOB_PREEMPTED:
        break;
    }
    return "waiting";
}

/* The runs whose scores chose this one's config: the last ones of its family, dense or MoE, that
 * were to be trained by then. */
static json_t *needs_of(const iso_study_plan *plan, const iso_study_run *run) {
    json_t *needs = json_array();
    int64_t last = -1;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < plan->n_runs; i++) {
            const iso_study_run *other = &plan->runs[i];
            bool same_family = (other->activation_rate == 1) == (run->activation_rate == 1);
            if (!same_family || other->stage > run->after) continue;
            if (pass == 0 && other->stage > last) last = other->stage;
            if (pass == 1 && other->stage == last)
                json_array_append_new(needs, json_string(other->name));
        }
    return needs;
}

static json_t *entry_of(const iso_study_folder *folder, const iso_study_plan *plan,
                        const iso_study_cost *cost, const iso_study_run *run, const iso_job *job) {
    const json_t *before = json_object_get(folder->before, run->name);
    json_int_t attempts = json_integer_value(json_object_get(before, "attempts"));
    char *config = iso_strf("configs/%s.yaml", run->name), *dir = iso_strf("runs/%s", run->name);
    json_t *entry = json_pack(
        "{ss ss ss ss sI so sI sI sI ss ss ss ss}", "name", run->name, "config", config, "run", dir,
        "state", state_name(job->state), "attempts", attempts + (json_int_t)job->n_attempts,
        "needs", needs_of(plan, run), "stage", (json_int_t)run->stage, "memory_bytes",
        (json_int_t)cost->memory_bytes, "threads", (json_int_t)run->config.train.threads, "side",
        run->side, "parts", run->parts, "groups", run->groups, "config_hash", run->config_hash);
    ISO_ASSERT(entry != NULL);
    if (!isnan(cost->seconds)) json_object_set_new(entry, "expected_s", json_real(cost->seconds));
    const json_t *cause = json_object_get(before, "cause");
    if (*job->cause)
        json_object_set_new(entry, "cause", json_string(job->cause));
    else if (cause && job->state == ISO_JOB_DIVERGED)
        json_object_set_new(entry, "cause", json_copy((json_t *)(uintptr_t)cause));
    if (job->state == ISO_JOB_STOPPED)
        json_object_set_new(entry, "hopeless_at_step",
                            json_integer(iso_study_folder_hopeless(folder, run)));
    if (*run->guard) json_object_set_new(entry, "guard", json_string(run->guard));
    free(dir);
    free(config);
    return entry;
}

iso_status iso_study_folder_save(iso_study_folder *folder, const iso_study_plan *plan,
                                 const iso_study_costs *costs, const iso_job *jobs) {
    json_t *runs = json_array();
    for (int64_t i = 0; i < plan->n_runs; i++)
        json_array_append_new(runs,
                              entry_of(folder, plan, &costs->runs[i], &plan->runs[i], &jobs[i]));
    json_t *file =
        json_pack("{si s{ss ss ss} sb so}", "format", MANIFEST_FORMAT, "study", "name",
                  folder->study->name, "kind", iso_study_kind_names[folder->study->kind], "source",
                  folder->study->source, "complete", plan->complete, "runs", runs);
    char *path = iso_strf("%s/" MANIFEST, folder->dir);
    iso_status status =
        file ? iso_json_save(file, path) : iso_fail(ISO_ERR_MEMORY, "cannot make the manifest");
    json_decref(file);
    free(path);
    return status;
}
