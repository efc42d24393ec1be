/* isomoe study sql: one SELECT over the run index. */
#include "cli_study.h"

static iso_status print_answer(iso_run_index *index, const char *sql, bool json, bool csv) {
    iso_rows rows;
    iso_status status = ISO_OK;
    ISO_TRY(iso_run_index_query(&rows, index, sql));
    if (json)
        status = cli_print_json(study_rows_to_json(&rows), CLI_JSON_EXACT);
    else if (csv)
        study_rows_print_csv(&rows, stdout);
    else
        study_rows_print_table(&rows, stdout);
    iso_rows_release(&rows);
    return status;
}

iso_status study_sql(int argc, char **argv) {
    const char *db = NULL;
    bool json = false, csv = false, rebuild = false, done;
    cli_list words = {0};
    const cli_flag flags[] = {
        {"db", CLI_STRING, &db, "FILE", "where the index is (default DIR/" ISO_RUN_INDEX_NAME ")",
         NULL},
        {"rebuild", CLI_BOOL, &rebuild, NULL, "read all runs again, not only what has changed",
         NULL},
        {"json", CLI_BOOL, &json, NULL, "print JSON, an object per row", NULL},
        {"csv", CLI_BOOL, &csv, NULL, "print CSV", NULL},
    };
    const cli_usage usage = {
        .synopsis = "study sql DIR QUERY [--json | --csv] [--db FILE] [--rebuild]",
        .summary = "Asks the runs below a folder: one SELECT over the tables runs, scores, "
                   "evaluations, curves,\nrouter_layers, router_loads and the views v_progress, "
                   "v_sides, v_comparison,\nv_domain_comparison (docs/run_index.md). Reads again "
                   "what has changed, and changes no run.",
        .example = "isomoe study sql demo \"SELECT side, seeds, bpc, bpc_sd FROM v_sides\"\n"
                   "isomoe study sql demo \"SELECT sql FROM sqlite_schema\"",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &words,
        .min_positionals = 2,
        .max_positionals = 2,
    };
    iso_run_index *index = NULL;
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done && json && csv)
        status = iso_fail(ISO_ERR_USAGE, "--json and --csv exclude each other");
    if (status == ISO_OK && !done) status = study_index_open(&index, words.items[0], db, rebuild);
    if (status == ISO_OK && !done) status = print_answer(index, words.items[1], json, csv);
    iso_run_index_close(index);
    cli_list_release(&words);
    return status;
}
