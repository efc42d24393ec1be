#include "paper/figure_text.h"
#include "paper/finding.h"
#include "paper/row_ranges.h"

#include <math.h>
#include <string.h>

static double lr_over_law(const iso_paper_row *row) {
    return iso_row_recount(row).lr_over_law;
}

static double batch_over_law(const iso_paper_row *row) {
    return iso_row_recount(row).batch_over_law;
}

static double params(const iso_paper_row *row) {
    return (double)iso_row_count(row, ISO_CONVENTION_PAPER).params_nonvocab;
}

static double compute_by(const iso_paper_row *row, iso_convention convention) {
    return iso_train_flops(iso_row_count(row, convention).train_flops_per_token,
                           iso_row_recount(row).tokens);
}

static double compute_paper(const iso_paper_row *row) {
    return compute_by(row, ISO_CONVENTION_PAPER);
}

static double compute_full(const iso_paper_row *row) {
    return compute_by(row, ISO_CONVENTION_FULL);
}

static double compute_printed(const iso_paper_row *row) {
    return row->printed[ISO_PAPER_COMPUTE].value;
}

static double zeta(const iso_paper_row *row) {
    return iso_shape_ratios(&row->shape).zeta;
}

static double alpha(const iso_paper_row *row) {
    return iso_shape_ratios(&row->shape).alpha;
}

static double mu(const iso_paper_row *row) {
    return iso_shape_ratios(&row->shape).mu;
}

/* --- learning rate and batch --- */

static void append_settings(iso_str *out, const char *who, iso_range lr, iso_range batch) {
    iso_str_appendf(out, "%s ", who);
    iso_range_append(out, lr, "x");
    iso_str_append(out, " the law's learning rate and ");
    iso_range_append(out, batch, "x");
    iso_str_append(out, " its batch");
}

static void dense_rows(iso_range *lr, iso_range *batch, const iso_paper *paper, int first) {
    *lr = iso_range_join_rows(iso_range_empty(), paper, 14, first, first + 1, lr_over_law);
    *batch = iso_range_join_rows(iso_range_empty(), paper, 14, first, first + 1, batch_over_law);
}

void iso_finding_settings_2b(iso_str *out, const iso_paper *paper) {
    iso_range lr, batch;
    append_settings(out, "The MoEs of Tables 9 and 10 have",
                    iso_range_of_two(paper, 9, 10, lr_over_law),
                    iso_range_of_two(paper, 9, 10, batch_over_law));
    dense_rows(&lr, &batch, paper, 1);
    append_settings(out, "; the dense models they are held against have", lr, batch);
    iso_str_append(out, ". The comparison changes the architecture, the learning rate and the "
                        "batch at once; the text says that all models use the optimal settings of "
                        "the law.");
}

/* How many rows of a 3B table have lr, batch and iterations of the 2B row with the same D. */
static int borrowed_settings(const iso_paper *paper, int table) {
    int64_t n_small, n_large;
    const iso_paper_row *small = iso_paper_table(paper, 10, &n_small);
    const iso_paper_row *large = iso_paper_table(paper, table, &n_large);
    int n_same = 0;
    for (int64_t i = 0; i < n_large; i++)
        for (int64_t j = 0; j < n_small; j++) {
            /* Rates are printed with three digits in one table, four in the other. */
            double rounding = small[j].lr.half_unit + large[i].lr.half_unit;
            if (small[j].batch_sequences != large[i].batch_sequences ||
                small[j].iterations != large[i].iterations ||
                fabs(small[j].lr.value - large[i].lr.value) > 2 * rounding)
                continue;
            n_same++;
            break;
        }
    return n_same;
}

void iso_finding_settings_3b(iso_str *out, const iso_paper *paper) {
    iso_range lr, batch;
    append_settings(out, "The MoEs of Tables 15 and 16 have",
                    iso_range_of_two(paper, 15, 16, lr_over_law),
                    iso_range_of_two(paper, 15, 16, batch_over_law));
    int64_t n_rows;
    iso_paper_table(paper, 15, &n_rows);
    iso_str_appendf(out,
                    ": %d of the %d rows of Table 15 and %d of Table 16 carry the learning rate, "
                    "batch and iterations of the 2B row with as many tokens",
                    borrowed_settings(paper, 15), (int)n_rows, borrowed_settings(paper, 16));
    dense_rows(&lr, &batch, paper, 3);
    append_settings(out, ". The dense models have", lr, batch);
    iso_str_append(out, ".");
}

void iso_finding_settings_7b(iso_str *out, const iso_paper *paper) {
    iso_range lr = iso_range_unite(iso_range_of_two(paper, 11, 12, lr_over_law),
                                   iso_range_of_two(paper, 13, 17, lr_over_law));
    iso_range batch = iso_range_unite(iso_range_of_two(paper, 11, 12, batch_over_law),
                                      iso_range_of_two(paper, 13, 17, batch_over_law));
    append_settings(out, "The MoEs of Tables 11, 12, 13 and 17 have", lr, batch);
    dense_rows(&lr, &batch, paper, 5);
    append_settings(out, "; the dense models", lr, batch);
    iso_str_append(out,
                   ". Here the law was really used (with its unrounded constants), far outside "
                   "the range it was fitted on.");
}

/* --- how equal the equal quantities are --- */

/* "-2.66 % to -0.13 %": how far the range is from a reference. */
static void append_signed(iso_str *out, iso_range range, double reference) {
    iso_str low = {0}, high = {0};
    iso_figure_append_percent(&low, range.min / reference - 1, 2);
    iso_figure_append_percent(&high, range.max / reference - 1, 2);
    iso_str_appendf(out, "%s", low.data);
    if (strcmp(low.data, high.data) != 0) iso_str_appendf(out, " to %s", high.data);
    iso_str_release(&low);
    iso_str_release(&high);
}

void iso_finding_fixed_compute(iso_str *out, const iso_paper *paper) {
    static const struct {
        int table, dense_row;
        const char *scale;
    } sweeps[] = {{10, 1, "2B"}, {15, 3, "3B"}, {12, 5, "7B"}};
    for (size_t i = 0; i < sizeof sweeps / sizeof *sweeps; i++) {
        int table = sweeps[i].table;
        double dense = compute_paper(iso_paper_row_at(paper, 14, sweeps[i].dense_row));
        iso_range exact = iso_range_of(paper, table, compute_paper);
        iso_str_appendf(out, "%s%s (Table %d): C is ", i > 0 ? "; " : "", sweeps[i].scale, table);
        iso_figure_append_power(out, exact.min, 3);
        iso_str_append(out, " to ");
        iso_figure_append_power(out, exact.max, 3);
        iso_str_appendf(out, ", %.1f %% apart (%.1f %% as printed, %.1f %% by `full`), and ",
                        iso_range_percent(exact),
                        iso_range_percent(iso_range_of(paper, table, compute_printed)),
                        iso_range_percent(iso_range_of(paper, table, compute_full)));
        append_signed(out, exact, dense);
        iso_str_append(out, " against the dense model's ");
        iso_figure_append_power(out, dense, 3);
    }
    iso_str_append(out, ".");
}

void iso_finding_equal_params(iso_str *out, const iso_paper *paper) {
    static const struct {
        int table, dense_row;
        const char *scale;
    } scales[] = {{10, 1, "2B"}, {15, 3, "3B"}, {12, 5, "7B"}};
    iso_str_append(out, "N of the MoEs by the convention `paper`:");
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        double dense = params(iso_paper_row_at(paper, 14, scales[i].dense_row));
        iso_str_appendf(out, "%s %s ", i > 0 ? ";" : "", scales[i].scale);
        append_signed(out, iso_range_of(paper, scales[i].table, params), dense);
        iso_str_append(out, " against the dense model's ");
        iso_figure_append_power(out, dense, 4);
    }
    iso_str_append(out, ".");
}

void iso_finding_data_ratio(iso_str *out, const iso_paper *paper) {
    int table = 0;
    iso_str_append(out, "The text asks for D/N of at least 20. Below it are");
    for (int64_t i = 0; i < paper->n_rows; i++) {
        const iso_paper_row *row = &paper->rows[i];
        const iso_paper_figure *ratio = &row->printed[ISO_PAPER_TOKENS_RATIO];
        if (!row->is_run || ratio->value >= 20) continue;
        if (row->table != table)
            iso_str_appendf(out, "%s Table %d", table > 0 ? "," : "", row->table);
        iso_str_appendf(out, "%s row %d (%s)", row->table == table ? "," : "", row->row,
                        ratio->text);
        table = row->table;
    }
    iso_str_append(out, "; Table 14 row 5 is the dense model of the 7B comparison at equal C.");
}

void iso_finding_reuse_sizes(iso_str *out, const iso_paper *paper) {
    const iso_paper_row *strict = iso_paper_row_at(paper, 15, 1);
    const iso_paper_row *more = iso_paper_row_at(paper, 16, 1);
    double D[4];
    for (int i = 0; i < 4; i++)
        D[i] = (double)iso_row_recount(iso_paper_row_at(paper, 14, 1 + i)).tokens / 1e9;
    iso_str_appendf(out,
                    "The 3B MoEs repeat %s and %s unique tokens. Those are the budgets of the 2B "
                    "dense models (%.1fB and %.1fB); the 3B dense models saw %.1fB and %.1fB.",
                    strict->printed[ISO_PAPER_UNIQUE].text, more->printed[ISO_PAPER_UNIQUE].text,
                    D[0], D[1], D[2], D[3]);
}

void iso_finding_frames(iso_str *out, const iso_paper *paper) {
    static const struct {
        int table;
        const char *scale;
    } scales[] = {{10, "2B"}, {15, "3B"}, {12, "7B"}};
    iso_str_append(out, "The text fixes zeta ~ 88, mu ~ 22 and alpha = 2.77.");
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        iso_range z = iso_range_of(paper, scales[i].table, zeta),
                  a = iso_range_of(paper, scales[i].table, alpha);
        iso_str_appendf(out, "%s %s: zeta = %.1f, mu = ", i > 0 ? ";" : "", scales[i].scale, z.min);
        iso_range_append(out, iso_range_of(paper, scales[i].table, mu), "");
        iso_str_appendf(out, ", alpha = %.2f", a.min);
    }
    iso_str_append(out, ".");
}
