#include "report/report_folder.h"

#include "base/fileio.h"
#include "report/specialisation.h"
#include "report/study_csv.h"
#include "report/study_figure.h"

#include <stdlib.h>
#include <string.h>

#define MANIFEST "manifest.json"

static iso_status write_text(const char *folder, const char *below, const char *name,
                             const char *ending, const iso_str *text) {
    char *path = iso_strf("%s/%s/%s.%s", folder, below, name, ending);
    iso_status status = iso_file_write_atomic(path, text->data, (int64_t)text->len);
    free(path);
    return status;
}

static iso_status write_figure(const char *folder, const iso_finding_figure *figure) {
    iso_str svg = {0}, csv = {0};
    char *name = iso_finding_file_name(figure->key);
    iso_study_figure_svg(&svg, figure);
    iso_study_figure_csv(&csv, figure);
    iso_status status = write_text(folder, "figures", name, "svg", &svg);
    if (status == ISO_OK) status = write_text(folder, "data", name, "csv", &csv);
    iso_str_release(&svg);
    iso_str_release(&csv);
    free(name);
    return status;
}

static iso_status write_table(const char *folder, const iso_finding_table *table) {
    iso_str csv = {0};
    char *name = iso_table_data_name(table->key);
    iso_study_table_csv(&csv, table);
    iso_status status = write_text(folder, "data", name, "csv", &csv);
    iso_str_release(&csv);
    free(name);
    return status;
}

/* Of all runs that have a record of their routing: a header alone if none has. A run that cannot be
 * read is told of on the page. */
static iso_status write_experts(const char *folder, const iso_study_page *page) {
    iso_str csv = {0};
    iso_specialisation_csv_header(&csv);
    for (int64_t i = 0; i < page->n_run_dirs; i++) {
        const char *slash = strrchr(page->run_dirs[i], '/');
        (void)iso_specialisation_csv_append(&csv, slash ? slash + 1 : page->run_dirs[i],
                                            page->run_dirs[i]);
    }
    iso_status status = write_text(folder, "data", "specialisation", "csv", &csv);
    iso_str_release(&csv);
    return status;
}

/* --- keys --- */

/* The name of the data of the i-th: figures, then tables. */
static char *data_name(const iso_findings *findings, int64_t i) {
    if (i < findings->n_figures) return iso_finding_file_name(findings->figures[i].key);
    return iso_table_data_name(findings->tables[i - findings->n_figures].key);
}

static bool has_file(const iso_findings *findings, const char *name, int64_t n) {
    bool found = false;
    for (int64_t i = 0; i < n && !found; i++) {
        char *other = data_name(findings, i);
        found = strcmp(other, name) == 0;
        free(other);
    }
    return found;
}

/* Two of one name would overwrite each other's data without a word. */
static iso_status check_names(const iso_findings *findings) {
    for (int64_t i = 0; i < findings->n_figures + findings->n_tables; i++) {
        char *name = data_name(findings, i);
        iso_status status = ISO_OK;
        if (has_file(findings, name, i))
            status = iso_fail(ISO_ERR_DATA, "findings: two figures or tables would be data/%s.csv",
                              name);
        free(name);
        ISO_TRY(status);
    }
    return ISO_OK;
}

/* --- the report that was there --- */

static void remove_file(const char *folder, const char *below, const char *name,
                        const char *ending) {
    char *path = iso_strf("%s/%s/%s.%s", folder, below, name, ending);
    remove(path); /* what stays does no harm */
    free(path);
}

static void remove_former(const char *folder, const json_t *list, const iso_findings *findings,
                          bool is_figure) {
    int64_t n = findings->n_figures + findings->n_tables;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *key = json_string_value(json_object_get(json_array_get(list, i), "key"));
        if (!key) continue;
        char *name = is_figure ? iso_finding_file_name(key) : iso_table_data_name(key);
        if (is_figure && !has_file(findings, name, findings->n_figures))
            remove_file(folder, "figures", name, "svg");
        if (!has_file(findings, name, n)) remove_file(folder, "data", name, "csv");
        free(name);
    }
}

/* *before: the former report's findings, NULL if there is none that can be read. */
static iso_status look_at_folder(json_t **before, const char *folder) {
    char *page = iso_strf("%s/index.html", folder), *json = iso_strf("%s/findings.json", folder);
    iso_status status = ISO_OK;
    *before = NULL;
    if (iso_path_exists(json))
        (void)iso_json_load(before, json);
    else if (iso_path_exists(page))
        status = iso_fail(ISO_ERR_USAGE,
                          "%s: there is an index.html that is no study report's: choose another "
                          "--out",
                          folder);
    free(page);
    free(json);
    return status;
}

static iso_status create_folders(const char *folder) {
    static const char *const below[] = {"figures", "data"};
    iso_status status = ISO_OK;
    for (size_t i = 0; i < sizeof below / sizeof *below && status == ISO_OK; i++) {
        char *path = iso_strf("%s/%s", folder, below[i]);
        status = iso_dir_create(path);
        free(path);
    }
    return status;
}

/* --- the whole --- */

static iso_status write_findings(const char *folder, const iso_findings *findings) {
    json_t *json = iso_findings_json(findings);
    if (!json) return iso_fail(ISO_ERR_MEMORY, "cannot allocate findings.json");
    char *path = iso_strf("%s/findings.json", folder);
    iso_status status = iso_json_save(json, path);
    free(path);
    json_decref(json);
    return status;
}

static iso_status write_page(const char *folder, const iso_study_page *page) {
    iso_str html = {0};
    iso_study_page_make(&html, page);
    char *path = iso_strf("%s/index.html", folder);
    iso_status status = iso_file_write_atomic(path, html.data, (int64_t)html.len);
    free(path);
    iso_str_release(&html);
    return status;
}

iso_status iso_study_report_write(const char *folder, const iso_study_page *page) {
    const iso_findings *findings = page->findings;
    json_t *before;
    ISO_TRY(check_names(findings));
    ISO_TRY(look_at_folder(&before, folder));
    iso_status status = create_folders(folder);
    for (int64_t i = 0; i < findings->n_figures && status == ISO_OK; i++)
        status = write_figure(folder, &findings->figures[i]);
    for (int64_t i = 0; i < findings->n_tables && status == ISO_OK; i++)
        status = write_table(folder, &findings->tables[i]);
    if (status == ISO_OK) status = write_experts(folder, page);
    if (status == ISO_OK) {
        remove_former(folder, json_object_get(before, "figures"), findings, true);
        remove_former(folder, json_object_get(before, "tables"), findings, false);
        status = write_findings(folder, findings);
    }
    if (status == ISO_OK) status = write_page(folder, page);
    json_decref(before);
    return status;
}

/* The run folders below DIR/runs, by name; without that folder none. */
static iso_status list_runs(char ***out, int64_t *n, const char *dir) {
    char *runs = iso_strf("%s/runs", dir);
    iso_status status = ISO_OK;
    *out = NULL;
    *n = 0;
    if (iso_path_is_dir(runs)) status = iso_dir_list(out, n, runs);
    for (int64_t i = 0; i < *n && status == ISO_OK; i++) {
        char *name = (*out)[i];
        (*out)[i] = iso_strf("%s/%s", runs, name);
        free(name);
    }
    free(runs);
    return status;
}

iso_status iso_study_report_make(iso_findings **findings, char **where, const char *dir,
                                 const char *folder) {
    iso_findings *found = NULL;
    json_t *manifest = NULL;
    char **runs = NULL;
    int64_t n_runs = 0;
    char *own = folder ? iso_strf("%s", folder) : iso_strf("%s/report", dir);
    char *path = iso_strf("%s/" MANIFEST, dir);
    iso_status status = iso_study_findings(&found, dir);
    if (status == ISO_OK && iso_path_exists(path)) status = iso_json_load(&manifest, path);
    if (status == ISO_OK) status = list_runs(&runs, &n_runs, dir);
    if (status == ISO_OK) {
        iso_study_page page = {found, dir, (const char *const *)runs, n_runs, manifest};
        status = iso_study_report_write(own, &page);
    }
    iso_names_free(runs, n_runs);
    json_decref(manifest);
    free(path);
    if (findings && status == ISO_OK)
        *findings = found;
    else
        iso_findings_free(found);
    if (where && status == ISO_OK)
        *where = own;
    else
        free(own);
    return status;
}
