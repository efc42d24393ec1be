/* isomoe paper: the paper's tables recomputed; its models as configs. */
#include "cli.h"

#include "base/fileio.h"
#include "paper/paper_comparisons.h"
#include "paper/paper_document.h"
#include "paper/paper_export.h"
#include "paper/paper_models.h"
#include "runs/audit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* --- what the audit says of the paper's comparisons --- */

static void append_audit_heading(iso_str *out, const iso_audit_options *options) {
    iso_str_appendf(
        out,
        "## What the audit says of the paper's comparisons\n"
        "\n"
        "`isomoe audit --table configs/paper/runs.csv`, with the tolerances that it has for "
        "everyone: "
        "N within %g %%, C within %g %% or one optimizer step,\n"
        "the same unique subset (strict), D-hat = D/2 (loose) or at most one epoch (unique-data). "
        "Whether tokenizer, validation sample, balance group and\n"
        "numeric profile were the same, the tables do not show; the audit says so and assumes "
        "nothing. \"Equal\" is as far as they show.\n"
        "\n"
        "| comparison | claimed | N of the MoEs | C of the MoEs | equal to dense | the best MoE | "
        "what speaks against it |\n|---|---|---|---|---|---|---|\n",
        100 * options->params_tolerance_frac, 100 * options->compute_tolerance_frac);
}

static void append_extent(iso_str *out, double low, double high) {
    if (high - low < 5e-5)
        iso_str_appendf(out, " %+.2f %% |", 100 * low);
    else
        iso_str_appendf(out, " %+.2f to %+.2f %% |", 100 * low, 100 * high);
}

/* Whether the kind of equality that was claimed asks for it. */
static bool is_claimed(iso_quantity quantity, const char *claims) {
    switch (quantity) {
    case ISO_QUANTITY_SUBSET:
        return strcmp(claims, iso_verdict_name(ISO_VERDICT_STRICT)) == 0;
    case ISO_QUANTITY_HALF:
        return strcmp(claims, iso_verdict_name(ISO_VERDICT_LOOSE)) == 0;
    case ISO_QUANTITY_ONE_EPOCH:
        return strcmp(claims, iso_verdict_name(ISO_VERDICT_UNIQUE_DATA)) == 0;
    default:
        return true;
    }
}

static void append_objections(iso_str *out, const iso_audit_side *side, const char *claims) {
    int n = 0;
    for (int q = 0; q < ISO_N_QUANTITIES; q++) {
        const iso_audit_check *check = &side->checks[q];
        if (check->is_met || !check->is_shown || !is_claimed((iso_quantity)q, claims)) continue;
        iso_str_appendf(out, "%s %s: %s against %s", n++ > 0 ? ";" : "",
                        iso_quantity_name((iso_quantity)q), check->value, check->reference);
    }
    iso_str_append(out, n == 0 ? " nothing |\n" : " |\n");
}

static void append_comparison(iso_str *out, const iso_audit *audit,
                              const iso_paper_comparison *comparison) {
    double N[2] = {INFINITY, -INFINITY}, C[2] = {INFINITY, -INFINITY};
    int n_moe = 0, n_equal = 0;
    const iso_audit_side *best = &audit->sides[audit->i_reference == 0 ? 1 : 0];
    for (int64_t i = 0; i < audit->n_sides; i++) {
        const iso_audit_side *side = &audit->sides[i];
        if (i == audit->i_reference) continue;
        n_moe++;
        n_equal += side->verdict != ISO_VERDICT_NOT_EQUAL;
        N[0] = fmin(N[0], side->params_diff_frac[ISO_CONVENTION_PAPER]);
        N[1] = fmax(N[1], side->params_diff_frac[ISO_CONVENTION_PAPER]);
        C[0] = fmin(C[0], side->compute_diff_frac[ISO_CONVENTION_PAPER]);
        C[1] = fmax(C[1], side->compute_diff_frac[ISO_CONVENTION_PAPER]);
        if (side->record.bpc < best->record.bpc) best = side;
    }
    iso_str_appendf(out, "| %s | %s |", comparison->title, comparison->claims);
    append_extent(out, N[0], N[1]);
    append_extent(out, C[0], C[1]);
    iso_str_appendf(out, " %d of %d | %s: %s |", n_equal, n_moe, best->run->name,
                    iso_verdict_name(best->verdict));
    append_objections(out, best, comparison->claims);
}

static iso_status append_audits(iso_str *out, const iso_paper *paper) {
    iso_str runs = {0};
    iso_run_table *table;
    iso_audit_options options = iso_audit_options_default();
    iso_paper_comparisons_to_csv(&runs, paper);
    iso_status status = iso_run_table_parse(&table, runs.data, (int64_t)runs.len, "runs.csv");
    iso_str_release(&runs);
    if (status != ISO_OK) return status;
    append_audit_heading(out, &options);
    for (int64_t i = 0; i < table->n_groups && status == ISO_OK; i++) {
        iso_audit *audit;
        status = iso_audit_create_table(&audit, table, i, &options);
        if (status != ISO_OK) break;
        append_comparison(out, audit, &iso_paper_comparisons[i]);
        iso_audit_free(audit);
    }
    iso_str_append(out, "\n");
    iso_run_table_free(table);
    return status;
}

static iso_status print_document(const iso_paper *paper) {
    iso_str page = {0};
    iso_paper_document_begin(&page, paper);
    iso_status status = append_audits(&page, paper);
    iso_paper_document_tables(&page, paper);
    if (status == ISO_OK) fputs(page.data, stdout);
    iso_str_release(&page);
    return status;
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
        status = print_document(paper);
    iso_paper_free(paper);
    return status;
}
