/* Many runs of a scan fail for the same reason: a line per quantity with the range of what differs
 * says what a line per run would hide. */
#include "audit_brief.h"

#include "cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

audit_tally audit_tally_of(const iso_audit *audit) {
    audit_tally tally = {0};
    for (int64_t i = 0; i < audit->n_sides; i++) {
        const iso_audit_side *side = &audit->sides[i];
        if (i == audit->i_reference) continue;
        tally.n_runs++;
        tally.n_equal += side->verdict != ISO_VERDICT_NOT_EQUAL;
        if (side->record.bpc > 0 && (!tally.best || side->record.bpc < tally.best->record.bpc))
            tally.best = side;
    }
    return tally;
}

/* --- the summary --- */

/* " (unique-data)", or " (3 strict, 2 loose)" where the runs are not equal in one sense. */
static void append_kinds(iso_str *out, const iso_audit *audit, const audit_tally *tally) {
    int64_t n[ISO_VERDICT_NOT_EQUAL + 1] = {0};
    for (int64_t i = 0; i < audit->n_sides; i++)
        if (i != audit->i_reference) n[audit->sides[i].verdict]++;
    const char *before = " (";
    for (iso_verdict v = ISO_VERDICT_STRICT; v < ISO_VERDICT_NOT_EQUAL; v++) {
        if (n[v] == 0) continue;
        iso_str_append(out, before);
        if (n[v] < tally->n_equal) iso_str_appendf(out, "%" PRId64 " ", n[v]);
        iso_str_append(out, iso_verdict_name(v));
        before = ", ";
    }
    iso_str_append(out, ")");
}

static void print_summary(const iso_audit *audit, const char *name, const audit_tally *tally) {
    iso_str line = {0};
    iso_str_appendf(&line, "%" PRId64 " of %" PRId64 " runs equal to %s", tally->n_equal,
                    tally->n_runs, audit->sides[audit->i_reference].run->name);
    if (tally->n_equal > 0) append_kinds(&line, audit, tally);
    if (tally->n_equal == tally->n_runs && audit->verdict == ISO_VERDICT_NOT_EQUAL)
        iso_str_append(&line, ", but not all in one sense");
    if (tally->best) {
        bool is_equal = tally->best->verdict != ISO_VERDICT_NOT_EQUAL;
        const char *among = is_equal ? ", is among them" : tally->n_equal > 0 ? ", is not" : "";
        iso_str_appendf(&line, "; the best%s%s%s", *among ? ", " : " is ", tally->best->run->name,
                        among);
    }
    printf("%s%s%s: %s\n", cli_styled(stdout, CLI_BOLD), name, cli_styled(stdout, CLI_PLAIN),
           line.data);
    iso_str_release(&line);
}

/* --- what speaks against equality --- */

/* The two ends of a text that differs from run to run, by the number that it begins with. */
typedef struct span {
    const char *low, *high;
    bool is_several;
} span;

static void widen(span *s, const char *text) {
    if (!s->low) s->low = s->high = text;
    s->is_several = s->is_several || strcmp(text, s->low) != 0;
    if (strtod(text, NULL) < strtod(s->low, NULL)) s->low = text;
    if (strtod(text, NULL) > strtod(s->high, NULL)) s->high = text;
}

/* "1.982 to 8.326 epochs": a unit that both ends have stands once. Texts that are no numbers have
 * no ends. */
static void add_span(cli_table *table, const span *s) {
    char *low_unit, *high_unit;
    strtod(s->low, &low_unit);
    strtod(s->high, &high_unit);
    int n_low = (int)(low_unit - s->low);
    if (!s->is_several)
        cli_table_add(table, s->low);
    else if (low_unit == s->low || strcmp(low_unit, high_unit) != 0)
        cli_table_add(table, "several");
    else
        cli_table_addf(table, "%.*s to %s", n_low, s->low, s->high);
}

static void add_objections(cli_table *table, const iso_audit *audit, iso_quantity quantity) {
    span value = {0}, difference = {0};
    const iso_audit_check *check = NULL;
    int64_t n = 0;
    for (int64_t i = 0; i < audit->n_sides; i++) {
        const iso_audit_side *side = &audit->sides[i];
        if (i == audit->i_reference || !iso_audit_is_objection(side, quantity)) continue;
        check = &side->checks[quantity];
        widen(&value, check->value);
        widen(&difference, check->difference);
        n++;
    }
    if (n == 0) return;
    cli_table_add(table, iso_quantity_name(quantity));
    cli_table_addf(table, "%" PRId64, n);
    cli_table_add(table, check->reference);
    add_span(table, &value);
    add_span(table, &difference);
}

static void print_objections(const iso_audit *audit) {
    static const char *const headers[] = {"not met", "runs", "reference", "these runs",
                                          "difference"};
    cli_table table;
    cli_table_init(&table, headers, 5);
    for (int q = ISO_QUANTITY_SOUND + 1; q < ISO_N_QUANTITIES; q++)
        add_objections(&table, audit, (iso_quantity)q);
    if (table.n_cells > table.n_columns) cli_table_print(&table, stdout);
    cli_table_release(&table);
    /* What is wrong with a run in itself is another thing in each. */
    for (int64_t i = 0; i < audit->n_sides; i++)
        if (iso_audit_is_objection(&audit->sides[i], ISO_QUANTITY_SOUND))
            printf("%s: %s\n", audit->sides[i].run->name,
                   audit->sides[i].checks[ISO_QUANTITY_SOUND].value);
}

void audit_brief_print(const iso_audit *audit, const char *name) {
    const audit_tally tally = audit_tally_of(audit);
    print_summary(audit, name, &tally);
    print_objections(audit);
    if (audit->notes.len > 0) printf("%s", audit->notes.data);
}
