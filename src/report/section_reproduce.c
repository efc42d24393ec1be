/* How to get the same runs again: commands, configs, versions, hashes. */
#include "base/fileio.h"
#include "report/markup.h"
#include "report/page.h"
#include "report/sections.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX_BYTES (1 << 20)

/* A word as the shell takes it: bare if harmless, else in single quotes. */
static void append_shell_word(iso_str *out, const char *word) {
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "_./+=:,@%-";
    if (*word && word[strspn(word, harmless)] == '\0') {
        iso_str_append(out, word);
        return;
    }
    iso_str_append(out, "'");
    for (const char *at = word; *at; at++) {
        if (*at == '\'')
            iso_str_append(out, "'\\''");
        else
            iso_str_append_bytes(out, at, 1);
    }
    iso_str_append(out, "'");
}

/* The commands of one side: one config, one command a seed. */
static void append_commands(iso_str *out, const iso_side *side) {
    iso_str text = {0};
    for (int64_t i = 0; i < side->n_runs; i++) {
        iso_str_append(&text, "isomoe train ");
        char *config = iso_strf("%s.yaml", side->label);
        append_shell_word(&text, config);
        free(config);
        iso_str_append(&text, " --out ");
        char *folder = iso_strf("runs/%s", side->runs[i]->run.name);
        append_shell_word(&text, folder);
        free(folder);
        if (side->runs[i]->seed != side->runs[0]->seed)
            iso_str_appendf(&text, " --train.seed=%lld", (long long)side->runs[i]->seed);
        if (side->runs[i]->data_seed != side->runs[0]->data_seed)
            iso_str_appendf(&text, " --data.seed=%lld", (long long)side->runs[i]->data_seed);
        iso_str_append(&text, "\n");
    }
    iso_page_code(out, text.data);
    iso_str_release(&text);
}

static void append_config(iso_str *out, const iso_side *side) {
    char *path = iso_strf("%s/config.yaml", side->runs[0]->run.dir);
    char *yaml = NULL;
    int64_t n_bytes = 0;
    char *summary = iso_strf("%s.yaml", side->label);
    if (iso_file_read(&yaml, &n_bytes, path, CONFIG_MAX_BYTES) == ISO_OK)
        iso_page_listing(out, summary, yaml);
    else
        iso_page_text(out, "soft", "The run folder holds no config.yaml.");
    free(summary);
    free(yaml);
    free(path);
}

/* "backend cpu, precision fp32, isa avx512": every string of the profile. */
static char *profile_in_words(const iso_side_run *run) {
    iso_str words = {0};
    const char *key;
    json_t *value;
    json_t *profile = (json_t *)iso_side_run_value(run, "numeric_profile");
    json_object_foreach(profile, key, value) {
        if (!json_is_string(value)) continue;
        iso_str_appendf(&words, "%s%s %s", words.len ? ", " : "", key, json_string_value(value));
    }
    return words.data ? words.data : iso_strf("not recorded");
}

static void append_facts(iso_str *out, const iso_page_data *data) {
    const iso_side_run *run = data->sides->sides[0].runs[0];
    const char *version = iso_side_run_text(run, "version");
    const char *dir = iso_side_run_text(run, "data.dir");
    const char *hash = iso_side_run_text(run, "data_hash");
    char *profile = profile_in_words(run);
    iso_str_append(out, "<dl>\n");
    iso_markup_fact(out, "Version", version ? version : "not recorded");
    iso_markup_fact(out, "Numeric profile", profile);
    if (data->options->machine) iso_markup_fact(out, "Machine", data->options->machine);
    if (dir) iso_markup_fact(out, "Prepared data", dir);
    if (hash) iso_markup_fact(out, "Hash of the prepared data", hash);
    iso_str_append(out, "</dl>\n");
    free(profile);
}

void iso_section_reproduce(iso_str *out, const iso_page_data *data) {
    iso_page_section(out, "reproduce", "How to reproduce this");
    if (data->sides->n == 0) {
        iso_page_text(out, NULL, "No run has finished; there is nothing to repeat yet.");
        iso_page_section_close(out);
        return;
    }
    append_facts(out, data);
    if (data->options->command) {
        iso_page_text(out, NULL, "Everything at once:");
        iso_page_code(out, data->options->command);
    }
    iso_page_text(out, NULL,
                  "Or run by run. Save each config under the name it has below; the same "
                  "version, profile and data give the same losses, bit for bit.");
    for (int64_t i = 0; i < data->sides->n; i++) {
        append_commands(out, &data->sides->sides[i]);
        append_config(out, &data->sides->sides[i]);
    }
    iso_page_text(out, NULL, "This page, from the run folders:");
    iso_str text = {0};
    iso_str_append(&text, "isomoe report");
    for (int64_t i = 0; i < data->sides->n_runs; i++) {
        iso_str_append(&text, " ");
        append_shell_word(&text, data->sides->runs[i].run.dir);
    }
    iso_str_append(&text, " --out report.html\n");
    iso_page_code(out, text.data);
    iso_str_release(&text);
    iso_page_section_close(out);
}
