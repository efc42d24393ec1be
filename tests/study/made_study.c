#include "made_study.h"

#include "base/fileio.h"
#include "base/json.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

static const char scan_source[] =
    "format: 1\nname: made\nkind: scan\nbudget: {params: 400K, data: 2M}\n"
    "axes: {activation_rates: [20%]}\nseeds: 2\n";

static void save(json_t *value, const char *dir, const char *folder, const char *name) {
    char *at = iso_strf("%s%s", dir, folder), *path = iso_strf("%s/%s.json", at, name);
    ISO_ASSERT(iso_dir_create(at) == ISO_OK);
    ISO_ASSERT(value && iso_json_save(value, path) == ISO_OK);
    json_decref(value);
    free(path);
    free(at);
}

void make_study_of(const char *dir, const char *kind, const char *source, const made_entry *entries,
                   int n) {
    char *runs_dir = iso_strf("%s/runs", dir);
    json_t *runs = json_array();
    bool complete = true;
    ISO_ASSERT(iso_dir_create(runs_dir) == ISO_OK);
    for (int i = 0; i < n; i++) {
        const made_run *run = &entries[i].run;
        const char *state = run->state ? run->state : "finished";
        bool begun = strcmp(state, "waiting") != 0;
        complete = complete && begun;
        if (begun) free(make_run(runs_dir, run));
        json_array_append_new(runs, json_pack("{ss ss ss ss ss}", "name", run->name, "side",
                                              entries[i].side, "parts",
                                              entries[i].parts ? entries[i].parts : kind, "groups",
                                              entries[i].groups, "state", state));
    }
    free(runs_dir);
    save(json_pack("{si s{ss ss ss} sb so}", "format", 1, "study", "name", "made", "kind", kind,
                   "source", source, "complete", complete, "runs", runs),
         dir, "", "manifest");
}

void make_study(const char *dir, const char *kind, const made_entry *entries, int n) {
    make_study_of(dir, kind, scan_source, entries, n);
}

void make_step(const char *dir, const char *name, json_t *step) {
    save(step, dir, "/steps", name);
}
