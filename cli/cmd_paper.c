/* isomoe paper: the paper's tables recomputed; its models as configs. */
#include "cli.h"

#include "base/fileio.h"
#include "paper/paper_comparisons.h"
#include "paper/paper_document.h"
#include "paper/paper_export.h"
#include "paper/paper_models.h"

#include <stdlib.h>

static iso_status write_text(const char *dir, const char *name, const iso_str *text) {
    char *path = iso_strf("%s/%s", dir, name);
    iso_status status = iso_file_write_atomic(path, text->data, (int64_t)text->len);
    free(path);
    return status;
}

static iso_status write_model(const char *dir, const iso_paper_model *model) {
    iso_str text = {0};
    char *name = iso_strf("%s.yaml", model->name);
    iso_paper_model_to_yaml(&text, model);
    iso_status status = write_text(dir, name, &text);
    free(name);
    iso_str_release(&text);
    return status;
}

static iso_status write_configs(const char *dir, const iso_paper *paper) {
    iso_paper_models *models;
    iso_str readme = {0}, runs = {0};
    ISO_TRY(iso_paper_models_create(&models, paper));
    iso_paper_models_readme(&readme, models);
    iso_paper_comparisons_to_csv(&runs, paper);
    iso_status status = iso_dir_create(dir);
    for (int64_t i = 0; i < models->n && status == ISO_OK; i++)
        status = write_model(dir, &models->items[i]);
    if (status == ISO_OK) status = write_text(dir, "README.md", &readme);
    if (status == ISO_OK) status = write_text(dir, "runs.csv", &runs);
    if (status == ISO_OK)
        iso_log(ISO_LOG_INFO, "%s: %lld configs, README.md, runs.csv", dir, (long long)models->n);
    iso_str_release(&readme);
    iso_str_release(&runs);
    iso_paper_models_free(models);
    return status;
}

static void print_document(const iso_paper *paper) {
    iso_str page = {0};
    iso_paper_document_begin(&page, paper);
    iso_paper_document_tables(&page, paper);
    fputs(page.data, stdout);
    iso_str_release(&page);
}

static void print_csv(const iso_paper *paper) {
    iso_str text = {0};
    iso_paper_to_csv(&text, paper);
    fputs(text.data, stdout);
    iso_str_release(&text);
}

iso_status cmd_paper(int argc, char **argv) {
    const char *configs = NULL;
    bool json = false, csv = false, done;
    const cli_flag flags[] = {
        {"configs", CLI_STRING, &configs, "DIR",
         "write a config of every model there, and runs.csv for isomoe audit --table", NULL},
        {"json", CLI_BOOL, &json, NULL, "print tables and findings as JSON", NULL},
        {"csv", CLI_BOOL, &csv, NULL, "print all rows as CSV", NULL},
    };
    const cli_usage usage = {
        .synopsis = "paper [--configs DIR | --json | --csv]",
        .summary = "Prints every row of the paper's Tables 5 to 17 beside the figures that its "
                   "shapes make, with\nthe errors and what the paper's own ledger shows, as "
                   "Markdown.",
        .example = "isomoe paper > docs/paper.md\nisomoe paper --configs configs/paper",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
    };
    ISO_TRY(cli_parse(&usage, argc, argv, &done));
    if (done) return ISO_OK;
    if ((configs != NULL) + json + csv > 1)
        return iso_fail(ISO_ERR_USAGE, "--configs, --json and --csv exclude each other");
    iso_paper *paper;
    iso_status status = iso_paper_create(&paper);
    if (status != ISO_OK) return status;
    if (configs)
        status = write_configs(configs, paper);
    else if (json)
        status = cli_print_json(iso_paper_to_json(paper), 10);
    else if (csv)
        print_csv(paper);
    else
        print_document(paper);
    iso_paper_free(paper);
    return status;
}
