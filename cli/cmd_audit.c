/* isomoe audit: the ledger of several runs side by side, and whether they are equal. */
#include "audit_brief.h"
#include "cli.h"

#include "runs/audit.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- tables --- */

static void print_runs(const iso_audit *audit) {
    static const char *const headers[] = {"run",    "N",      "of ref.", "C",      "of ref.",
                                          "tokens", "unique", "epochs",  "verdict"};
    char count[32];
    cli_table table;
    cli_table_init(&table, headers, 9);
    for (int64_t i = 0; i < audit->n_sides; i++) {
        const iso_audit_side *side = &audit->sides[i];
        const iso_record *record = &side->record;
        bool is_reference = i == audit->i_reference;
        double unique = (double)record->unique_tokens;
        cli_table_addf(&table, "%.24s", side->run->name);
        cli_table_addf(&table, "%" PRId64, record->counts[ISO_CONVENTION_PAPER].params_nonvocab);
        cli_table_addf(&table, is_reference ? "-" : "%+.3f %%",
                       100 * side->params_diff_frac[ISO_CONVENTION_PAPER]);
        cli_table_addf(&table, "%.4g", (double)iso_record_compute(record, ISO_CONVENTION_PAPER));
        cli_table_addf(&table, is_reference ? "-" : "%+.3f %%",
                       100 * side->compute_diff_frac[ISO_CONVENTION_PAPER]);
        cli_table_add(&table, iso_str_count(count, (double)record->tokens));
        cli_table_add(&table, iso_str_count(count, unique));
        cli_table_addf(&table, "%.2f", unique > 0 ? (double)record->tokens / unique : 0);
        cli_table_add(&table, is_reference ? "reference" : iso_verdict_name(side->verdict));
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

static const char *needed_for(iso_quantity quantity) {
    switch (quantity) {
    case ISO_QUANTITY_SUBSET:
        return "strict";
    case ISO_QUANTITY_CORPUS:
        return "loose, unique-data";
    case ISO_QUANTITY_HALF:
        return "loose";
    case ISO_QUANTITY_ONE_EPOCH:
        return "unique-data";
    default:
        return "all";
    }
}

/* Every quantity with its tolerance: that of the last side stands for all but C, whose one step is
 * the costliest. */
static void print_quantities(const iso_audit *audit) {
    static const char *const headers[] = {"quantity", "needed for", "tolerance", "met by"};
    cli_table table;
    cli_table_init(&table, headers, 4);
    for (int q = 0; q < ISO_N_QUANTITIES; q++) {
        int64_t n_met = 0, n_shown = 0;
        for (int64_t i = 0; i < audit->n_sides; i++) {
            n_met += audit->sides[i].checks[q].is_met;
            n_shown += audit->sides[i].checks[q].is_shown;
        }
        cli_table_add(&table, iso_quantity_name((iso_quantity)q));
        cli_table_add(&table, needed_for((iso_quantity)q));
        if (q == ISO_QUANTITY_COMPUTE && audit->step_frac > 0)
            cli_table_addf(&table, "max(%g %%, one step = %.2g %%)",
                           100 * audit->options.compute_tolerance_frac, 100 * audit->step_frac);
        else if (q == ISO_QUANTITY_COMPUTE)
            cli_table_addf(&table, "%g %%; one step not shown",
                           100 * audit->options.compute_tolerance_frac);
        else
            cli_table_add(&table, audit->sides[0].checks[q].tolerance);
        if (n_shown == 0)
            cli_table_add(&table, "not shown");
        else if (n_shown < audit->n_sides)
            cli_table_addf(&table, "%" PRId64 " of %" PRId64 ", %" PRId64 " not shown", n_met,
                           audit->n_sides, audit->n_sides - n_shown);
        else
            cli_table_addf(&table, "%" PRId64 " of %" PRId64, n_met, audit->n_sides);
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

static void print_differences(const iso_audit *audit) {
    static const char *const headers[] = {"run", "not met", "reference", "this run", "difference"};
    cli_table table;
    cli_table_init(&table, headers, 5);
    for (int64_t i = 0; i < audit->n_sides; i++) {
        const iso_audit_side *side = &audit->sides[i];
        for (int q = ISO_QUANTITY_PARAMS; q < ISO_N_QUANTITIES; q++) {
            if (!iso_audit_is_objection(side, (iso_quantity)q)) continue;
            const iso_audit_check *check = &side->checks[q];
            cli_table_addf(&table, "%.24s", side->run->name);
            cli_table_add(&table, iso_quantity_name((iso_quantity)q));
            cli_table_add(&table, check->reference);
            cli_table_add(&table, check->value);
            cli_table_add(&table, check->difference);
        }
    }
    if (table.n_cells > table.n_columns) {
        printf("\n");
        cli_table_print(&table, stdout);
    }
    cli_table_release(&table);
    for (int64_t i = 0; i < audit->n_sides; i++) {
        const iso_audit_side *side = &audit->sides[i];
        if (side->record.problems.len > 0)
            printf("\n%s:\n%s", side->run->name, side->record.problems.data);
    }
}

static double largest(double a, double b) {
    return fabs(b) > fabs(a) ? b : a;
}

static void print_conventions(const iso_audit *audit) {
    static const char *const headers[] = {"convention",     "N of reference", "N apart",
                                          "C of reference", "C apart",        "verdict"};
    const iso_record *reference = &audit->sides[audit->i_reference].record;
    cli_table table;
    cli_table_init(&table, headers, 6);
    for (int c = 0; c < ISO_N_CONVENTIONS; c++) {
        double params = 0, compute = 0;
        for (int64_t i = 0; i < audit->n_sides; i++) {
            params = largest(params, audit->sides[i].params_diff_frac[c]);
            compute = largest(compute, audit->sides[i].compute_diff_frac[c]);
        }
        cli_table_add(&table, iso_convention_name((iso_convention)c));
        cli_table_addf(&table, "%" PRId64, reference->counts[c].params_nonvocab);
        cli_table_addf(&table, "%+.3f %%", 100 * params);
        cli_table_addf(&table, "%.4g", (double)iso_record_compute(reference, (iso_convention)c));
        cli_table_addf(&table, "%+.3f %%", 100 * compute);
        cli_table_add(&table, iso_verdict_name(audit->by_convention[c]));
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

/* "-" for NaN: not said, or not known yet. */
static void add_decimals(cli_table *table, double value, int n_decimals) {
    if (isnan(value))
        cli_table_add(table, "-");
    else
        cli_table_addf(table, "%.*f", n_decimals, value);
}

static void print_steplaw(const iso_audit *audit) {
    static const char *const headers[] = {"run",           "lr", "over Step Law", "batch tokens",
                                          "over Step Law", "BPC"};
    cli_table table;
    cli_table_init(&table, headers, 6);
    for (int64_t i = 0; i < audit->n_sides; i++) {
        const iso_record *record = &audit->sides[i].record;
        cli_table_addf(&table, "%.24s", audit->sides[i].run->name);
        cli_table_addf(&table, isnan(record->peak_lr) ? "-" : "%.4g", record->peak_lr);
        add_decimals(&table, record->lr_over_steplaw, 3);
        add_decimals(&table, record->batch_tokens > 0 ? (double)record->batch_tokens : NAN, 0);
        add_decimals(&table, record->batch_over_steplaw, 3);
        add_decimals(&table, record->bpc, 4);
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

/* "tokenizer, validation sample": what the verdict asks for and a table leaves open. */
static char *unshown_names(unsigned unshown) {
    iso_str names = {0};
    for (int q = 0; q < ISO_N_QUANTITIES; q++)
        if (unshown & 1u << q)
            iso_str_appendf(&names, "%s%s", names.len > 0 ? ", " : "",
                            iso_quantity_name((iso_quantity)q));
    return names.data;
}

static void print_unshown(unsigned unshown) {
    if (unshown == 0) return;
    char *names = unshown_names(unshown);
    printf("not shown, and not assumed: %s\n", names);
    free(names);
}

static void print_text(const iso_audit *audit) {
    print_runs(audit);
    printf("\n");
    print_quantities(audit);
    print_differences(audit);
    if (audit->is_counted) {
        printf("\nLargest difference from the reference, by convention:\n");
        print_conventions(audit);
    }
    printf("\n");
    print_steplaw(audit);
    if (audit->notes.len > 0) printf("\n%s", audit->notes.data);
    bool is_equal = audit->verdict != ISO_VERDICT_NOT_EQUAL;
    printf("\nverdict: %s%s%s%s\n", cli_styled(stdout, is_equal ? CLI_GREEN : CLI_RED),
           iso_verdict_name(audit->verdict), cli_styled(stdout, CLI_PLAIN),
           is_equal && audit->unshown ? ", as far as the table shows" : "");
    print_unshown(audit->unshown);
}

/* --- the answer as a status --- */

static iso_status not_equal(const iso_audit *audit) {
    for (int64_t i = 0; i < audit->n_sides; i++) {
        const iso_audit_side *side = &audit->sides[i];
        for (int q = 0; q < ISO_N_QUANTITIES; q++) {
            const iso_audit_check *check = &side->checks[q];
            if (iso_audit_is_objection(side, (iso_quantity)q))
                return iso_fail(ISO_ERR_NOT_EQUAL,
                                "the runs are not equal: %s, %s: %s, the reference has %s",
                                side->run->name, iso_quantity_name((iso_quantity)q), check->value,
                                check->reference);
        }
    }
    return iso_fail(ISO_ERR_NOT_EQUAL,
                    "the runs are not equal: no one kind of equality holds for all");
}

static iso_status answer(const iso_audit *audit, const char *required) {
    if (audit->verdict == ISO_VERDICT_NOT_EQUAL) return not_equal(audit);
    for (iso_verdict i = ISO_VERDICT_STRICT; required && i < audit->verdict; i++)
        if (strcmp(required, iso_verdict_name(i)) == 0)
            return iso_fail(ISO_ERR_NOT_EQUAL,
                            "the runs are equal only in the sense of %s; %s was "
                            "required",
                            iso_verdict_name(audit->verdict), required);
    if (!required || audit->unshown == 0) return ISO_OK;
    char *names = unshown_names(audit->unshown);
    iso_status status = iso_fail(
        ISO_ERR_NOT_EQUAL, "%s was required, and the table does not show: %s", required, names);
    free(names);
    return status;
}

static iso_status audit_folders(const cli_list *dirs, const iso_audit_options *options,
                                const char *required, bool json) {
    iso_run *runs = calloc((size_t)dirs->n, sizeof *runs);
    if (!runs) return iso_fail(ISO_ERR_MEMORY, "no memory for %" PRId64 " runs", dirs->n);
    int64_t n_open = 0;
    iso_audit *audit = NULL;
    iso_status status = ISO_OK;
    while (status == ISO_OK && n_open < dirs->n) {
        status = iso_run_open(&runs[n_open], dirs->items[n_open]);
        if (status == ISO_OK) n_open++;
    }
    if (status == ISO_OK) status = iso_audit_create(&audit, runs, n_open, options);
    if (status == ISO_OK && json) status = cli_print_json(iso_audit_to_json(audit), CLI_JSON_EXACT);
    if (status == ISO_OK && !json) print_text(audit);
    if (status == ISO_OK) status = answer(audit, required);
    iso_audit_free(audit);
    while (n_open > 0) iso_run_close(&runs[--n_open]);
    free(runs);
    return status;
}

/* --- a table of runs --- */

/* What stands at the end of several comparisons: a row for each. */
static void add_verdict(cli_table *verdicts, const iso_audit *audit, const char *name) {
    const audit_tally tally = audit_tally_of(audit);
    bool is_equal = audit->verdict < ISO_VERDICT_NOT_EQUAL;
    cli_table_add(verdicts, name);
    cli_table_addf(verdicts, "%" PRId64, audit->n_sides);
    cli_table_addf(verdicts, "%" PRId64 " of %" PRId64, tally.n_equal, tally.n_runs);
    cli_table_addf(verdicts, "%s%s", iso_verdict_name(audit->verdict),
                   is_equal && audit->unshown ? ", as far as shown" : "");
}

static void print_group(const iso_audit *audit, const iso_run_group *group, int64_t i_group,
                        bool in_full) {
    if (i_group > 0) printf("\n");
    if (!in_full) {
        audit_brief_print(audit, group->name);
        return;
    }
    if (*group->name)
        printf("%scomparison %s%s\n\n", cli_styled(stdout, CLI_BOLD), group->name,
               cli_styled(stdout, CLI_PLAIN));
    print_text(audit);
}

typedef struct table_wish {
    const iso_audit_options *options;
    const char *required; /* NULL: any kind of equality */
    bool in_full;         /* as text; a table of one comparison always is */
    json_t *objects;      /* where they go instead of to stdout, or NULL */
} table_wish;

/* Keeps the first answer that is not "equal", with the comparison's name in its message. */
static void keep_answer(iso_status one, const char *name, iso_status *answered, char **message) {
    if (*answered != ISO_OK || one == ISO_OK) return;
    *answered = one;
    *message = iso_strf("%s%s%s", name, *name ? ": " : "", iso_error_message());
}

/* Comparison by comparison, then all verdicts. The first that is not equal is the answer. */
static iso_status audit_groups(const iso_run_table *table, const table_wish *wish) {
    static const char *const headers[] = {"comparison", "runs", "equal", "verdict"};
    iso_status answered = ISO_OK, status = ISO_OK;
    char *message = NULL;
    unsigned unshown = 0;
    bool in_full = wish->in_full || table->n_groups == 1;
    cli_table verdicts;
    cli_table_init(&verdicts, headers, 4);
    for (int64_t i = 0; i < table->n_groups && status == ISO_OK; i++) {
        const iso_run_group *group = &table->groups[i];
        iso_audit *audit;
        status = iso_audit_create_table(&audit, table, i, wish->options);
        if (status != ISO_OK) break;
        if (wish->objects) {
            json_t *object = iso_audit_to_json(audit);
            json_object_set_new(object, "comparison", json_string(group->name));
            json_array_append_new(wish->objects, object);
        } else {
            print_group(audit, group, i, in_full);
        }
        add_verdict(&verdicts, audit, group->name);
        unshown |= audit->unshown;
        keep_answer(answer(audit, wish->required), group->name, &answered, &message);
        iso_audit_free(audit);
    }
    if (status == ISO_OK && !wish->objects && table->n_groups > 1) {
        printf("\n");
        cli_table_print(&verdicts, stdout);
        if (!in_full) print_unshown(unshown);
        if (!in_full) printf("every run and every quantity: --all\n");
    }
    cli_table_release(&verdicts);
    if (status == ISO_OK && answered != ISO_OK) status = iso_fail(answered, "%s", message);
    free(message);
    return status;
}

static iso_status audit_table(const char *path, table_wish wish, bool json) {
    iso_run_table *table;
    ISO_TRY(iso_run_table_load(&table, path));
    wish.objects = json ? json_array() : NULL;
    iso_status status = audit_groups(table, &wish);
    if (json && (status == ISO_OK || status == ISO_ERR_NOT_EQUAL)) {
        json_t *object = json_pack("{s:o}", "comparisons", wish.objects);
        iso_status printed = cli_print_json(object, CLI_JSON_EXACT);
        if (printed != ISO_OK) status = printed;
    } else {
        json_decref(wish.objects);
    }
    iso_run_table_free(table);
    return status;
}

static iso_status check_input(const char *table, const cli_list *dirs) {
    if (table && dirs->n > 0)
        return iso_fail(ISO_ERR_USAGE, "give run folders or --table, not both");
    if (!table && dirs->n < 2)
        return iso_fail(ISO_ERR_USAGE, "an audit compares runs: give at least two run folders, or "
                                       "--table CSV with a table of runs");
    return ISO_OK;
}

static iso_status check_tolerance(const char *name, double value) {
    if (value >= 0 && value < 1) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE, "--%s: %g is no share; give 0.005 for half a per cent", name,
                    value);
}

static void explain(iso_str *out) {
    iso_str_append(
        out,
        "strict: the same unique text on every side. loose: the same corpus, of which each side "
        "sees "
        "its own\nshare twice. unique-data: the same corpus, nothing twice. All of them: N and C "
        "within the\ntolerances, the same tokenizer and validation sample. The order is one of "
        "strength: strict is the\nstrongest and satisfies --require loose and --require "
        "unique-data. "
        "What a table does not show\nsatisfies none of them.\n\n"
        "The paper's own comparisons (configs/paper/runs.csv) come out not equal, exit code 3: C "
        "of "
        "most\nMoEs, or N at 7B, is further from the dense model's than 0.5 %, or the unique text "
        "is of "
        "another\nsize. docs/paper.md has the figures.\n");
}

iso_status cmd_audit(int argc, char **argv) {
    static const char *const verdicts[] = {"strict", "loose", "unique-data", NULL};
    iso_audit_options options = iso_audit_options_default();
    const char *required = NULL, *table = NULL;
    bool json = false, all = false, done;
    cli_list dirs = {0};
    const cli_flag flags[] = {
        {"table", CLI_STRING, &table, "CSV",
         "audit a table of runs instead, whoever made them (columns: docs/formats.md)", NULL},
        {"require", CLI_CHOICE, &required, "VERDICT",
         "strict, loose, unique-data: exit code 3 below it (strict satisfies all)", verdicts},
        {"tol-params", CLI_F64, &options.params_tolerance_frac, "SHARE",
         "how far N may be apart (default 0.005)", NULL},
        {"tol-compute", CLI_F64, &options.compute_tolerance_frac, "SHARE",
         "how far C may be apart, or one optimizer step (default 0.005)", NULL},
        {"all", CLI_BOOL, &all, NULL,
         "every run and every quantity of a table of several comparisons", NULL},
        {"json", CLI_BOOL, &json, NULL, "print JSON, which has everything", NULL},
    };
    const cli_usage usage = {
        .synopsis = "audit RUN RUN... | --table CSV [--require VERDICT] [--all | --json]",
        .summary = "Holds runs against the first dense one (or the first): were parameters N, "
                   "training compute C and\ndata D equal? Exit code 3 if not.",
        .example = "isomoe audit runs/dense runs/moe-20 --require strict\n"
                   "isomoe audit --table configs/paper/runs.csv",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &dirs,
        .min_positionals = 0,
        .max_positionals = -1,
        .more = explain,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done)
        status = check_tolerance("tol-params", options.params_tolerance_frac);
    if (status == ISO_OK && !done)
        status = check_tolerance("tol-compute", options.compute_tolerance_frac);
    if (status == ISO_OK && !done) status = check_input(table, &dirs);
    if (status == ISO_OK && !done)
        status = table ? audit_table(table, (table_wish){&options, required, all, NULL}, json)
                       : audit_folders(&dirs, &options, required, json);
    cli_list_release(&dirs);
    return status;
}
