/* isomoe.c - the public header's functions, in terms of the rooms. */
#include "isomoe.h"

#include "data/prepare.h"
#include "report/report.h"
#include "runs/audit.h"
#include "runs/run_folder.h"
#include "train/loop.h"

#include <stdlib.h>
#include <string.h>

iso_status isomoe_prepare(const char *out_dir, const char *tokenizer, const char *const *texts,
                          int64_t n_texts, const iso_domain_path *domains, int64_t n_domains) {
    iso_text_input *inputs = calloc((size_t)n_domains + 1, sizeof *inputs);
    if (!inputs) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the list of domains");
    for (int64_t i = 0; i < n_domains; i++)
        inputs[i] =
            (iso_text_input){.name = domains[i].name, .paths = &domains[i].path, .n_paths = 1};
    iso_prepare_options options = iso_prepare_options_default();
    options.tokenizer = tokenizer;
    options.train = (iso_text_input){.paths = texts, .n_paths = n_texts};
    options.domains = inputs;
    options.n_domains = n_domains;
    options.out_dir = out_dir;
    iso_prepare_result result;
    iso_status status = iso_data_prepare(&options, &result);
    free(inputs);
    return status;
}

iso_status isomoe_train(const char *run_dir, const char *config_path, const char *const *overrides,
                        int64_t n_overrides, const volatile sig_atomic_t *stop) {
    iso_config config;
    iso_run_writer *writer;
    ISO_TRY(iso_config_load(&config, config_path, overrides, n_overrides));
    ISO_TRY(iso_config_resolve(&config, NULL));
    ISO_TRY(iso_run_writer_open(&writer, run_dir));
    const char *slash = strrchr(run_dir, '/');
    iso_loop_options options = {.name = slash && slash[1] ? slash + 1 : run_dir,
                                .run_dir = run_dir,
                                .resume = ISO_RESUME_AUTO,
                                .stop = stop};
    iso_run_writer_config(writer, &config);
    iso_sink sink = iso_run_writer_sink(writer);
    iso_status status = iso_train_run(&config, &options, &sink);
    iso_run_writer_close(writer);
    return status;
}

/* Audits opened runs. */
static iso_status audit_runs(char **out_json, const iso_run *runs, int64_t n_runs) {
    iso_audit *audit;
    iso_audit_options options = iso_audit_options_default();
    ISO_TRY(iso_audit_create(&audit, runs, n_runs, &options));
    iso_status status = ISO_OK;
    if (audit->verdict == ISO_VERDICT_NOT_EQUAL)
        status = iso_fail(ISO_ERR_NOT_EQUAL, "the runs are not an equal comparison");
    if (out_json) {
        json_t *json = iso_audit_to_json(audit);
        *out_json = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
        json_decref(json);
        if (!*out_json) status = iso_fail(ISO_ERR_MEMORY, "no memory for the audit's JSON");
    }
    iso_audit_free(audit);
    return status;
}

iso_status isomoe_audit(char **out_json, const char *const *run_dirs, int64_t n_runs) {
    if (out_json) *out_json = NULL;
    iso_run *runs = calloc((size_t)n_runs + 1, sizeof *runs);
    if (!runs) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the list of runs");
    iso_status status = ISO_OK;
    int64_t n_open = 0;
    for (; n_open < n_runs && status == ISO_OK; n_open += status == ISO_OK)
        status = iso_run_open(&runs[n_open], run_dirs[n_open]);
    if (status == ISO_OK) status = audit_runs(out_json, runs, n_runs);
    for (int64_t i = 0; i < n_open; i++) iso_run_close(&runs[i]);
    free(runs);
    return status;
}

iso_status isomoe_report(const char *html_path, const char *const *run_dirs, int64_t n_runs) {
    return iso_report_write(html_path, run_dirs, n_runs, NULL);
}
