/* gap_law_doc.c - keeps the tables of docs/gap_law.md true.
 *
 *     gap_law_doc docs/gap_law.md            exit 1, with the first line that differs, if out of
 * date gap_law_doc --write docs/gap_law.md    writes them anew
 *
 * What stands between "<!-- begin NAME -->" and "<!-- end NAME -->" is made here; the rest is
 * prose.
 */
#include "base/fileio.h"
#include "study/gap_curve.h"
#include "study/gap_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOC_MAX_BYTES (1 << 20)
#define UNIT          1e4 /* errors are told in 1e-4 BPC */

typedef struct facts {
    iso_gap_row rows[ISO_PAPER_N_RUNS];
    iso_gap_law *law;
    const iso_gap_fit *fit;
} facts;

/* An error in 1e-4 BPC as one more cell; a dash for none. */
static void append_error(iso_str *out, double error) {
    if (isnan(error))
        iso_str_append(out, " - |");
    else
        iso_str_appendf(out, " %.1f |", UNIT * error);
}

/* --- parameters --- */

static void make_parameters(iso_str *out, const facts *of) {
    static const char *const names[ISO_GAP_N_TERMS] = {
        [ISO_GAP_LEVEL] = "level",
        [ISO_GAP_PARAMS] = "a: p(N)",
        [ISO_GAP_TOKENS] = "b: p(D')",
        [ISO_GAP_RATE] = "g: (r_a^-x - 1)/x",
        [ISO_GAP_DENSE] = "d: dense",
        [ISO_GAP_DENSE_PARAMS] = "e: dense, per ln N",
        [ISO_GAP_LR] = "c: per ln(lr / Step Law)",
    };
    iso_str_append(out, "| parameter | value | standard error |\n|---|---:|---:|\n");
    for (int t = 0; t < ISO_GAP_N_TERMS; t++)
        if (!isnan(of->fit->value[t]))
            iso_str_appendf(out, "| %s | %.5f | %.5f |\n", names[t], of->fit->value[t],
                            of->fit->se[t]);
    iso_str_appendf(out, "| x | %.3f | %.3f |\n\n", of->fit->form.rate_exponent,
                    of->fit->exponent_se);
    iso_str_appendf(out,
                    "N0 = %.3e, D0 = %.3e; %.0f degrees of freedom; residual standard deviation "
                    "%.5f; the same\nrun printed twice differs by a standard deviation of %.5f.\n",
                    of->fit->params_unit, of->fit->tokens_unit, of->fit->dof, of->fit->sigma,
                    of->fit->repeat_sd);
}

/* --- errors --- */

static void append_errors(iso_str *out, const iso_gap_error *error) {
    iso_str_appendf(out, "| %s | %lld |", error->name, (long long)error->n_rows);
    append_error(out, error->bpc_residual);
    append_error(out, error->bpc_loo);
    append_error(out, error->bpc_scale);
    iso_str_appendf(out, " %lld |", (long long)error->n_pairs);
    append_error(out, error->gap_residual);
    append_error(out, error->gap_loo);
    append_error(out, error->gap_scale);
    iso_str_append(out, "\n");
}

static void make_errors(iso_str *out, const facts *of) {
    iso_str_append(out,
                   "| | rows | BPC in the fit | run left out | scale left out | pairs | gap in "
                   "the fit | pair left out | scale left out |\n"
                   "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (int64_t i = 0; i < of->fit->n_tables; i++) append_errors(out, &of->fit->tables[i]);
    for (int64_t i = 0; i < of->fit->n_scales; i++) append_errors(out, &of->fit->scales[i]);
    append_errors(out, &of->fit->all);
}

static void make_rows(iso_str *out, const facts *of) {
    iso_str_append(out, "| table | row | N | r_a | D | epochs | printed | run left out | error | "
                        "scale left out | error |\n"
                        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++) {
        const iso_gap_row *row = &of->rows[i];
        const iso_gap_check *check = &of->fit->checks[i];
        iso_str_appendf(out,
                        "| %s | %s | %.2fB | %.1f %% | %.0fB | %.2f | %.4f | %.4f | %+.1f | %.4f | "
                        "%+.1f |\n",
                        row->table + strlen("Table "), row->name + strlen("row "),
                        1e-9 * row->params, 100.0 * row->activation_rate, 1e-9 * row->tokens,
                        row->tokens / row->unique_tokens, row->bpc, check->loo,
                        UNIT * (row->bpc - check->loo), check->scale,
                        UNIT * (row->bpc - check->scale));
    }
}

/* --- optima --- */

typedef struct sweep {
    const char *table, *data;
    iso_gap_scheme scheme;
} sweep;

static const sweep sweeps[] = {
    {"Table 10", "unique", ISO_GAP_UNIQUE},      {"Table 12", "unique", ISO_GAP_UNIQUE},
    {"Table 17", "loose", ISO_GAP_LOOSE},        {"Table 13", "strict, 68B", ISO_GAP_STRICT},
    {"Table 15", "strict, 65B", ISO_GAP_STRICT}, {"Table 16", "strict, 114B", ISO_GAP_STRICT},
};
#define N_SWEEPS (sizeof sweeps / sizeof *sweeps)

/* The run of a sweep with the lowest printed BPC. */
static const iso_gap_row *printed_best(const facts *of, const sweep *s) {
    const iso_gap_row *best = NULL;
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++)
        if (strcmp(of->rows[i].table, s->table) == 0 && (!best || of->rows[i].bpc < best->bpc))
            best = &of->rows[i];
    return best;
}

/* The dense run of its N and C. */
static const iso_gap_row *dense_of(const facts *of, const iso_gap_row *moe) {
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++) {
        const iso_gap_row *row = &of->rows[i];
        if (row->is_dense && fabs(row->params / moe->params - 1.0) < 0.1 &&
            fabs(row->flops / moe->flops - 1.0) < 0.05)
            return row;
    }
    return NULL;
}

static iso_gap_budget budget_of(const iso_gap_row *moe, const iso_gap_row *dense, const sweep *s) {
    return (iso_gap_budget){.params = moe->params,
                            .flops = dense->flops,
                            .dense_flops_per_token = dense->flops / dense->tokens,
                            .moe_attention_flops_per_token =
                                moe->flops / moe->tokens - 6.0 * moe->activation_rate * moe->params,
                            .scheme = s->scheme,
                            .unique_tokens = moe->unique_tokens,
                            .dense_lr_over_law = dense->lr_over_law,
                            .moe_lr_over_law = moe->lr_over_law};
}

static void append_range(iso_str *out, iso_gap_range range) {
    if (isnan(range.low))
        iso_str_append(out, " nowhere |");
    else
        iso_str_appendf(out, " %.1f to %.1f |", 100.0 * range.low, 100.0 * range.high);
}

static iso_status make_optima(iso_str *out, const facts *of) {
    iso_str_append(out, "| N | data | printed best r_a, % | its gap | law's best r_a, % | 95 % | "
                        "without a scale | its gap, 95 % | lost at the printed r_a, 1e-4 | MoE "
                        "better at r_a, % | surely |\n"
                        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < N_SWEEPS; i++) {
        const iso_gap_row *moe = printed_best(of, &sweeps[i]), *dense = dense_of(of, moe);
        iso_gap_budget budget = budget_of(moe, dense, &sweeps[i]);
        iso_gap_curve curve;
        iso_gap_forecast there;
        iso_gap_point dense_point = iso_gap_budget_dense(&budget);
        iso_gap_point moe_point = iso_gap_budget_moe(&budget, moe->activation_rate);
        ISO_TRY(iso_gap_curve_make(&curve, of->law, &budget, false));
        ISO_TRY(iso_gap_law_predict(&there, of->law, &dense_point, &moe_point, false));
        iso_str_appendf(out, "| %.2fB | %s (%s) | %.2f | %.4f | **%.1f** |", 1e-9 * moe->params,
                        sweeps[i].data, sweeps[i].table, 100.0 * moe->activation_rate,
                        dense->bpc - moe->bpc, 100.0 * curve.best_rate);
        append_range(out, curve.best_range);
        append_range(out, curve.best_scales);
        iso_str_appendf(out, " %.4f +- %.4f |", curve.best.value, curve.best.half);
        append_error(out, curve.best.value - there.value);
        append_range(out, curve.better);
        append_range(out, curve.surely_better);
        iso_str_append(out, "\n");
    }
    return ISO_OK;
}

/* --- the choice of the form --- */

#define BIT(term) (1u << ISO_GAP_##term)

typedef struct candidate {
    const char *what;
    unsigned without, with;
    bool is_log, is_rigid; /* p is a logarithm; x is 0.35, too */
} candidate;

static const candidate candidates[] = {
    {"**the law**", 0, 0, false, false},
    {"without c (rate of learning)", BIT(LR), 0, false, false},
    {"without e (dense side's slope in N)", BIT(DENSE_PARAMS), 0, false, false},
    {"without d and e (dense = MoE of r_a 1)", BIT(DENSE) | BIT(DENSE_PARAMS), 0, false, false},
    {"logarithms of N and D' for powers", 0, 0, true, false},
    {"x = 0.35, as for N and D'", 0, 0, false, true},
    {"parabola in ln r_a for the power", BIT(RATE), BIT(LN_RATE) | BIT(LN_RATE_2), false, false},
    {"that, + ln r_a ln N", BIT(RATE), BIT(LN_RATE) | BIT(LN_RATE_2) | BIT(RATE_PARAMS), false,
     false},
    {"the law + ln r_a ln N", 0, BIT(RATE_PARAMS), false, false},
    {"the law + extra price of repeats", 0, BIT(REPEATS), false, false},
};
#define N_CANDIDATES (sizeof candidates / sizeof *candidates)

static iso_gap_form form_of(const candidate *c) {
    iso_gap_form form = iso_gap_form_default();
    form.terms = (form.terms & ~c->without) | c->with;
    if (c->is_log) form.power = 0.0;
    if (c->is_rigid) form.rate_exponent = 0.35;
    form.fit_exponent = !c->is_rigid && (form.terms & BIT(RATE));
    return form;
}

static iso_status append_candidate(iso_str *out, const facts *of, const candidate *c) {
    static const int shown[] = {0, 1, 4}; /* 2B and 7B on unique data, 3B strict */
    iso_gap_form form = form_of(c);
    iso_gap_law *law;
    ISO_TRY(iso_gap_law_create(&law, of->rows, ISO_PAPER_N_RUNS, &form));
    const iso_gap_fit *fit = iso_gap_law_fit(law);
    iso_str_appendf(out, "| %s | %lld |", c->what, (long long)fit->n_parameters);
    append_error(out, fit->all.bpc_residual);
    append_error(out, fit->all.bpc_loo);
    append_error(out, fit->all.bpc_scale);
    append_error(out, fit->all.gap_loo);
    append_error(out, fit->all.gap_scale);
    iso_status status = ISO_OK;
    for (int i = 0; i < 3 && status == ISO_OK; i++) {
        const sweep *s = &sweeps[shown[i]];
        const iso_gap_row *moe = printed_best(of, s);
        iso_gap_budget budget = budget_of(moe, dense_of(of, moe), s);
        iso_gap_curve curve;
        status = iso_gap_curve_make(&curve, law, &budget, false);
        if (status == ISO_OK)
            iso_str_appendf(out, " %.1f%s |", 100.0 * curve.best_rate,
                            curve.best_at_edge ? " (edge)" : "");
    }
    iso_str_append(out, "\n");
    iso_gap_law_free(law);
    return status;
}

static iso_status make_choice(iso_str *out, const facts *of) {
    iso_str_append(out,
                   "| form | parameters | BPC in the fit | run left out | scale left out | gap, "
                   "pair left out | gap, scale left out | best r_a 2B, % | 7B | 3B, strict |\n"
                   "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < N_CANDIDATES; i++) ISO_TRY(append_candidate(out, of, &candidates[i]));
    return ISO_OK;
}

/* --- the document --- */

static iso_status make_block(iso_str *out, const char *name, const facts *of) {
    if (strcmp(name, "parameters") == 0)
        make_parameters(out, of);
    else if (strcmp(name, "errors") == 0)
        make_errors(out, of);
    else if (strcmp(name, "rows") == 0)
        make_rows(out, of);
    else if (strcmp(name, "optima") == 0)
        return make_optima(out, of);
    else if (strcmp(name, "choice") == 0)
        return make_choice(out, of);
    else
        return iso_fail(ISO_ERR_DATA, "no table is called \"%s\"", name);
    return ISO_OK;
}

/* The document with its tables made anew. */
static iso_status renew(iso_str *out, const char *text, const facts *of) {
    static const char begin[] = "<!-- begin ";
    const char *at = text, *mark;
    while ((mark = strstr(at, begin))) {
        char name[32];
        const char *line_end = strchr(mark, '\n');
        if (!line_end || sscanf(mark + sizeof begin - 1, "%31[a-z]", name) != 1)
            return iso_fail(ISO_ERR_DATA, "a table's beginning has no name");
        char *end_mark = iso_strf("<!-- end %s -->", name);
        const char *end = strstr(line_end, end_mark);
        free(end_mark);
        if (!end) return iso_fail(ISO_ERR_DATA, "the table \"%s\" has no end", name);
        iso_str_append_bytes(out, at, (size_t)(line_end + 1 - at));
        ISO_TRY(make_block(out, name, of));
        at = end;
    }
    iso_str_append(out, at);
    return ISO_OK;
}

static iso_status compare(const char *path, const char *is, const char *should) {
    int line = 1;
    for (; *is && *is == *should; is++, should++) line += *is == '\n';
    if (*is == *should) return ISO_OK;
    return iso_fail(ISO_ERR_FAILED, "%s: line %d is not what the law gives: gap_law_doc --write %s",
                    path, line, path);
}

static iso_status run(const char *path, bool is_write) {
    facts of = {0};
    char *text = NULL;
    int64_t n_bytes;
    iso_str fresh = {0};
    iso_status status = iso_gap_rows_of_paper(of.rows);
    if (status == ISO_OK) status = iso_gap_law_of_paper(&of.law);
    if (status == ISO_OK) status = iso_file_read(&text, &n_bytes, path, DOC_MAX_BYTES);
    if (status == ISO_OK) {
        of.fit = iso_gap_law_fit(of.law);
        status = renew(&fresh, text, &of);
    }
    if (status == ISO_OK)
        status = is_write ? iso_file_write_atomic(path, fresh.data, (int64_t)fresh.len)
                          : compare(path, text, fresh.data);
    iso_gap_law_free(of.law);
    iso_str_release(&fresh);
    free(text);
    return status;
}

int main(int argc, char **argv) {
    bool is_write = argc == 3 && strcmp(argv[1], "--write") == 0;
    if (argc != 2 && !is_write) {
        fprintf(stderr, "usage: gap_law_doc [--write] FILE\n");
        return 2;
    }
    if (run(argv[argc - 1], is_write) == ISO_OK) return 0;
    fprintf(stderr, "gap_law_doc: %s\n", iso_error_message());
    return 1;
}
