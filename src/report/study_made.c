/* What was run: states, versions, sums, the study file, how to repeat it. */
#include "report/markup.h"
#include "report/page.h"
#include "report/study_page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values in the order in which they were met, each once: "0.1.0, 0.2.0". */
static void add_once(json_t *values, const char *value) {
    for (size_t i = 0; i < json_array_size(values); i++)
        if (strcmp(json_string_value(json_array_get(values, i)), value) == 0) return;
    json_array_append_new(values, json_string(value));
}

/* "backend cpu, precision fp32, isa avx512": every string of the profile. */
static void add_profile(json_t *values, const json_t *profile) {
    iso_str words = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)profile, key, value) {
        if (!json_is_string(value)) continue;
        iso_str_appendf(&words, "%s%s %s", words.len ? ", " : "", key, json_string_value(value));
    }
    if (words.len) add_once(values, words.data);
    iso_str_release(&words);
}

typedef struct made {
    json_t *versions, *profiles, *data;
    int64_t n_read;
    double wall_s, flops, tokens;
} made;

static void add_text(json_t *values, const json_t *summary, const char *key) {
    const char *text = json_string_value(json_object_get(summary, key));
    if (text) add_once(values, text);
}

/* Runs without a summary, or with one that cannot be read, have nothing to say here. */
static made look_at_runs(const iso_study_page *page) {
    made out = {.versions = json_array(), .profiles = json_array(), .data = json_array()};
    ISO_ASSERT(out.versions && out.profiles && out.data);
    for (int64_t i = 0; i < page->n_run_dirs; i++) {
        char *path = iso_strf("%s/summary.json", page->run_dirs[i]);
        json_t *summary;
        if (iso_json_load(&summary, path) == ISO_OK) {
            add_text(out.versions, summary, "version");
            add_text(out.data, summary, "data_hash");
            add_profile(out.profiles, json_object_get(summary, "numeric_profile"));
            out.wall_s += json_number_value(json_object_get(summary, "wall_s"));
            out.flops += json_number_value(json_object_get(summary, "train_flops"));
            out.tokens += json_number_value(json_object_get(summary, "tokens"));
            out.n_read++;
            json_decref(summary);
        }
        free(path);
    }
    return out;
}

static void append_values(iso_str *out, const char *name, const json_t *values) {
    iso_str text = {0};
    for (size_t i = 0; i < json_array_size(values); i++)
        iso_str_appendf(&text, "%s%s", i ? "; " : "", json_string_value(json_array_get(values, i)));
    iso_markup_fact(out, name, text.len ? text.data : "not recorded");
    iso_str_release(&text);
}

static void append_facts(iso_str *out, const made *m) {
    char number[ISO_NUMBER_BYTES], hours[32];
    iso_str_append(out, "<dl>\n");
    append_values(out, "Version", m->versions);
    append_values(out, "Numeric profile", m->profiles);
    append_values(out, "Hash of the prepared data", m->data);
    iso_markup_fact(out, "Time of all runs together (h:min:s)", iso_str_duration(hours, m->wall_s));
    iso_markup_fact(out, "Training compute together (FLOPs)", iso_number_power(number, m->flops));
    iso_markup_fact(out, "Tokens trained on together", iso_number_count(number, m->tokens));
    iso_str_append(out, "</dl>\n");
}

/* "12 finished, 1 failed, 1 waiting" */
static char *states_in_words(const json_t *runs) {
    static const char *const states[] = {"finished", "running",  "waiting",
                                         "stopped",  "diverged", "failed"};
    iso_str out = {0};
    iso_str_append(&out, "");
    for (size_t s = 0; s < sizeof states / sizeof *states; s++) {
        int64_t n = 0;
        for (size_t i = 0; i < json_array_size(runs); i++) {
            const char *state =
                json_string_value(json_object_get(json_array_get(runs, i), "state"));
            n += state && strcmp(state, states[s]) == 0;
        }
        if (n > 0) iso_str_appendf(&out, "%s%lld %s", out.len ? ", " : "", (long long)n, states[s]);
    }
    return out.data;
}

static void append_failures(iso_str *out, const json_t *runs) {
    iso_str rows = {0};
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *run = json_array_get(runs, i);
        const char *name = json_string_value(json_object_get(run, "name"));
        const char *cause = json_string_value(json_object_get(run, "cause"));
        const char *state = json_string_value(json_object_get(run, "state"));
        if (name && cause && *cause && state && strcmp(state, "finished") != 0)
            iso_str_appendf(&rows, "%s: %s: %s\n", name, state, cause);
    }
    if (rows.len) {
        iso_page_text(out, NULL, "Runs that did not get to their end:");
        iso_page_code(out, rows.data);
    }
    iso_str_release(&rows);
}

static void append_manifest(iso_str *out, const json_t *manifest) {
    const json_t *runs = json_object_get(manifest, "runs");
    char *states = states_in_words(runs);
    char *line = iso_strf("Runs: %s.%s", *states ? states : "none yet",
                          json_is_false(json_object_get(manifest, "complete"))
                              ? " More follow once these have chosen what to try next."
                              : "");
    iso_page_text(out, NULL, line);
    append_failures(out, runs);
    free(line);
    free(states);
}

void iso_study_section_made(iso_str *out, const iso_study_page *page) {
    iso_page_section(out, "made", "What was run");
    if (page->manifest) append_manifest(out, page->manifest);
    made m = look_at_runs(page);
    if (m.n_read > 0)
        append_facts(out, &m);
    else
        iso_page_text(out, "empty", "No run folder has a ledger to tell versions and sums from.");
    json_decref(m.versions);
    json_decref(m.profiles);
    json_decref(m.data);
    const char *source =
        json_string_value(json_object_get(json_object_get(page->manifest, "study"), "source"));
    if (source) {
        iso_page_text(out, NULL,
                      "The study file. The same version, profile and data give the same "
                      "losses, bit for bit.");
        iso_page_code(out, source);
    }
    iso_page_text(out, NULL, "The study, and this page from its folder:");
    const char *dir = page->dir ? page->dir : "DIR";
    char *commands =
        iso_strf("isomoe study run STUDY.yaml --out %s\nisomoe study report %s\n", dir, dir);
    iso_page_code(out, commands);
    free(commands);
    iso_page_section_close(out);
}
