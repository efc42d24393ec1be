/* isomoe report: one HTML page about any set of runs. */
#include "cli.h"

#include "report/report.h"

iso_status cmd_report(int argc, char **argv) {
    cli_list runs = {0};
    const char *out = NULL;
    iso_report_options options = {0};
    const cli_flag flags[] = {
        {"out", CLI_STRING, &out, "FILE", "the page to write (default: report.html)", NULL},
        {"title", CLI_STRING, &options.title, "TEXT", "the page's heading", NULL},
    };
    const cli_usage usage = {
        .synopsis = "report RUN... [--out FILE] [--title TEXT]",
        .summary = "Compares the dense and MoE runs given, audits that they are equal, and writes\n"
                   "one self-contained HTML page: the answer, figures, the ledger. Runs of one\n"
                   "configuration with different seeds are taken together.",
        .example = "isomoe report runs/dense runs/moe-20 --out report.html",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &runs,
        .min_positionals = 1,
        .max_positionals = -1,
    };
    bool done;
    ISO_TRY(cli_parse(&usage, argc, argv, &done));
    if (done) return ISO_OK;
    if (!out) out = "report.html";
    iso_status status = iso_report_write(out, runs.items, runs.n, &options);
    cli_list_release(&runs);
    if (status == ISO_OK) printf("%s\n", out);
    return status;
}
