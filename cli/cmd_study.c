/* isomoe study: many runs as one; a file study_NAME.c for each subcommand. */
#include "cli_study.h"

#include "base/fileio.h"
#include "runs/run_tree.h"

#include <stdlib.h>

/* Before an index is made in a folder that has no runs, such as one misspelt. */
static iso_status check_runs(const char *dir) {
    iso_run_tree tree;
    ISO_TRY(iso_run_tree_scan(&tree, dir));
    int64_t n_runs = tree.n_runs;
    iso_run_tree_release(&tree);
    if (n_runs > 0) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE, "%s: no run folder in it or below it", dir);
}

static iso_status bring_up_to_date(iso_run_index *index, const char *dir, bool rebuild) {
    if (rebuild) ISO_TRY(iso_run_index_clear(index));
    iso_status status = iso_run_index_refresh(index, dir, NULL);
    if (status != ISO_ERR_LOCKED) return status;
    iso_log(ISO_LOG_WARN, "%s; this is how it stands", iso_error_message());
    return ISO_OK;
}

iso_status study_index_open(iso_run_index **out, const char *dir, const char *path, bool rebuild) {
    char *own = path ? NULL : iso_strf("%s/" ISO_RUN_INDEX_NAME, dir);
    const char *file = path ? path : own;
    iso_status status = iso_path_exists(file) ? ISO_OK : check_runs(dir);
    *out = NULL;
    if (status == ISO_OK) status = iso_run_index_open(out, file);
    if (status == ISO_OK) status = bring_up_to_date(*out, dir, rebuild);
    if (!path && (status == ISO_ERR_IO || status == ISO_ERR_NO_SPACE))
        iso_log(ISO_LOG_INFO, "the index can be kept elsewhere: --db FILE, or --db :memory:");
    if (status != ISO_OK) {
        iso_run_index_close(*out);
        *out = NULL;
    }
    free(own);
    return status;
}

iso_status cmd_study(int argc, char **argv) {
    static const cli_command commands[] = {
        {"plan", "the runs of a study file, their time, what they can find out", study_plan},
        {"run", "train all runs of a study file; goes on where it was", study_run},
        {"report", "what the runs of a study have found: a page, figures, data", study_report},
        {"sql", "ask the runs of a study anything", study_sql},
        {"status", "the runs of a study: how far, how fast, how good", study_status},
    };
    return cli_dispatch("isomoe study", commands, sizeof commands / sizeof *commands, argc, argv);
}
