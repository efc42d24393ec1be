/* isomoe study report: what a study found, as a folder with a page, figures and data. */
#include "cli_study.h"

#include "report/report_folder.h"
#include "report/study_words.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_CHARS 100

/* --- sentences in lines --- */

/* Words from `text` into lines of LINE_CHARS characters, each line after `indent` blanks; the first
 * line's are there already. */
static void print_wrapped(const char *text, int indent) {
    int column = indent;
    bool is_first = true;
    while (*text) {
        size_t n = strcspn(text, " \n");
        int width = 0;
        for (size_t i = 0; i < n; i++) width += ((unsigned char)text[i] & 0xC0) != 0x80;
        if (!is_first && column + 1 + width > LINE_CHARS) {
            printf("\n%*s", indent, "");
            column = indent;
            is_first = true;
        }
        printf("%s%.*s", is_first ? "" : " ", (int)n, text);
        column += width + !is_first;
        is_first = false;
        text += n;
        text += strspn(text, " \n");
    }
    putchar('\n');
}

static void print_styled(cli_style style, const char *text) {
    printf("%s%s%s", cli_styled(stdout, style), text, cli_styled(stdout, CLI_PLAIN));
}

/* --- verdicts --- */

static cli_style style_of(iso_verdict_outcome outcome) {
    return outcome == ISO_VERDICT_RESOLVED  ? CLI_GREEN
           : outcome == ISO_VERDICT_REFUSED ? CLI_RED
                                            : CLI_YELLOW;
}

/* "not resolved  Does an MoE beat dense?" and the answer below the question. */
static void print_verdict(const iso_finding_verdict *verdict) {
    const char *words = iso_outcome_words(verdict->outcome);
    int widest = (int)strlen(iso_outcome_words(ISO_VERDICT_UNRESOLVED));
    int indent = widest + 2;
    print_styled(style_of(verdict->outcome), words);
    printf("%*s", indent - (int)strlen(words), "");
    fputs(cli_styled(stdout, CLI_BOLD), stdout);
    print_wrapped(verdict->question, indent);
    fputs(cli_styled(stdout, CLI_PLAIN), stdout);
    printf("%*s", indent, "");
    print_wrapped(verdict->sentence, indent);
}

static void print_text(const iso_findings *findings, const char *where) {
    char *progress = iso_findings_progress(findings);
    print_styled(CLI_BOLD, findings->study);
    printf(": %s\n\n", progress);
    free(progress);
    if (iso_findings_are_refused(findings)) {
        print_styled(CLI_RED, "No comparison: the runs were not equal.");
        putchar('\n');
    }
    /* Mostly it is the first answer, which comes next. */
    bool is_first = findings->headline && findings->n_verdicts > 0 &&
                    strcmp(findings->headline, findings->verdicts[0].sentence) == 0;
    if (findings->headline && !is_first) {
        print_wrapped(findings->headline, 0);
        if (findings->n_verdicts > 0) putchar('\n');
    }
    for (int64_t i = 0; i < findings->n_verdicts; i++) print_verdict(&findings->verdicts[i]);
    if (findings->n_notes > 0) putchar('\n');
    for (int64_t i = 0; i < findings->n_notes; i++) {
        fputs("note: ", stdout);
        print_wrapped(findings->notes[i], 6);
    }
    printf("\n%s/index.html", where);
    printf(": %" PRId64 " figures, %" PRId64 " tables\n", findings->n_figures, findings->n_tables);
}

iso_status study_report(int argc, char **argv) {
    const char *out = NULL;
    bool json = false, done;
    cli_list dirs = {0};
    const cli_flag flags[] = {
        {"out", CLI_STRING, &out, "FOLDER", "where the report goes (default DIR/report)", NULL},
        {"json", CLI_BOOL, &json, NULL, "print the findings as JSON", NULL},
    };
    const cli_usage usage = {
        .synopsis = "study report DIR [--out FOLDER] [--json]",
        .summary =
            "Says what the runs of a study have found, with intervals and seeds, and writes it "
            "as a\nfolder: index.html, figures/KEY.svg, data/KEY.csv, findings.json. A study "
            "under way has a\nreport, too. Unequal runs are no comparison: exit code 3.",
        .example = "isomoe study report my-study",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &dirs,
        .min_positionals = 1,
        .max_positionals = 1,
    };
    iso_findings *findings = NULL;
    char *where = NULL;
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done)
        status = iso_study_report_make(&findings, &where, dirs.items[0], out);
    if (status == ISO_OK && !done && json)
        status = cli_print_json(iso_findings_json(findings), CLI_JSON_EXACT);
    if (status == ISO_OK && !done && !json) print_text(findings, where);
    if (status == ISO_OK && !done && iso_findings_are_refused(findings))
        status = iso_fail(ISO_ERR_NOT_EQUAL, "the study's runs are not an equal comparison");
    iso_findings_free(findings);
    free(where);
    cli_list_release(&dirs);
    return status;
}
