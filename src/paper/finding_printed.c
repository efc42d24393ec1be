#include "paper/figure_text.h"
#include "paper/finding.h"
#include "paper/paper_runs.h"
#include "paper/row_ranges.h"

#include "arch/closed_form.h"

#include <math.h>
#include <string.h>

/* --- equations --- */

void iso_finding_equation_6(iso_str *out, const iso_paper *paper) {
    iso_range printed = iso_range_empty(), corrected = iso_range_empty();
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, 9, &n_rows);
    for (int64_t i = 0; i < n_rows; i++) {
        iso_closed_form form = iso_closed_form_of(&rows[i].shape);
        double M = (double)iso_row_count(&rows[i], ISO_CONVENTION_PAPER).forward_flops_per_token;
        printed =
            iso_range_join(printed, 100 * (iso_closed_form_forward_flops_printed(&form) / M - 1));
        corrected =
            iso_range_join(corrected, fabs(100 * (iso_closed_form_forward_flops(&form) / M - 1)));
    }
    iso_str_appendf(out,
                    "Equation 6 begins M ~ N_a + 4 H S L; it must be 2 N_a, as its second form and "
                    "equation 2 have it. On the models of Table 9 the printed form is %.0f to "
                    "%+.0f %% off, the corrected one %.1g %%.",
                    printed.min, printed.max, corrected.max);
}

/* R_c of a row against a dense one: real, by the corrected equation 10 and by the printed one. */
static void relative_compute(double out[3], const iso_paper_row *moe, const iso_paper_row *dense) {
    iso_ratios m = iso_shape_ratios(&moe->shape), d = iso_shape_ratios(&dense->shape);
    iso_counts moe_counts = iso_row_count(moe, ISO_CONVENTION_PAPER);
    iso_counts dense_counts = iso_row_count(dense, ISO_CONVENTION_PAPER);
    iso_relative_compute of = {.alpha = d.alpha,
                               .gamma_dense = d.gamma,
                               .r_a = moe_counts.activation_rate,
                               .beta = m.beta,
                               .gamma_moe = m.gamma};
    out[0] = (double)moe_counts.train_flops_per_token / (double)dense_counts.train_flops_per_token;
    out[1] = iso_closed_form_relative_compute(&of);
    out[2] = iso_closed_form_relative_compute_printed(&of);
}

void iso_finding_equation_10(iso_str *out, const iso_paper *paper) {
    static const struct { int table, dense_row; } sweeps[] = {{10, 1}, {12, 5}, {15, 3}};
    iso_range printed = iso_range_empty(), corrected = iso_range_empty();
    int n = 0;
    for (size_t i = 0; i < sizeof sweeps / sizeof *sweeps; i++) {
        int64_t n_rows;
        const iso_paper_row *rows = iso_paper_table(paper, sweeps[i].table, &n_rows);
        const iso_paper_row *dense = iso_paper_row_at(paper, 14, sweeps[i].dense_row);
        for (int64_t j = 0; j < n_rows; j++, n++) {
            double ratio[3];
            relative_compute(ratio, &rows[j], dense);
            corrected = iso_range_join(corrected, 100 * (ratio[1] / ratio[0] - 1));
            printed = iso_range_join(printed, 100 * (ratio[2] / ratio[0] - 1));
        }
    }
    iso_str_appendf(
        out,
        "Equation 10 is upside down and lacks the factor (4 + 3 beta)/(4 + 3 alpha). "
        "Against the real M ratios of the %d MoEs of Tables 10, 12 and 15 it is %+.0f "
        "to %+.0f %% off; R_c = r_a [1 + 2 gamma_m/(4 + 3 beta)] / [1 + 2 gamma_d/(4 + 3 "
        "alpha)] is within %+.1f to %+.1f %% (what is left is the one dense layer).",
        n, printed.min, printed.max, corrected.min, corrected.max);
}

void iso_finding_more_tokens(iso_str *out, const iso_paper *paper) {
    const iso_paper_row *moe = iso_table_best(paper, 10), *dense = iso_paper_row_at(paper, 14, 1);
    double ratio[3];
    relative_compute(ratio, moe, dense);
    iso_str_appendf(
        out,
        "The text says that an MoE sees \"R_c times\" the tokens at equal C; it must be "
        "1/R_c. At the 2B optimum (Table 10 row %d) R_c = %.4f, 1/R_c = %.2f, and the "
        "tokens really were %.2fx.",
        moe->row, ratio[0], 1 / ratio[0],
        (double)iso_row_recount(moe).tokens / (double)iso_row_recount(dense).tokens);
}

void iso_finding_training_flops(iso_str *out, const iso_paper *paper) {
    int n_training = 0, n_forward = 0;
    for (int64_t i = 0; i < paper->n_rows; i++) {
        const iso_paper_row *row = &paper->rows[i];
        const iso_paper_figure *M = &row->printed[ISO_PAPER_FLOPS];
        if (M->text[0] == '\0') continue;
        double forward = (double)iso_row_count(row, ISO_CONVENTION_PAPER).forward_flops_per_token;
        if (M->value / forward > 2)
            n_training++;
        else
            n_forward++;
    }
    iso_str_appendf(
        out,
        "Equations 2 and 6 define M as the forward FLOPs of a token. %d rows print "
        "three times that, the training FLOPs, under the same name (and C = M D there); "
        "%d rows of Tables 5 and 6 print the forward ones.",
        n_training, n_forward);
}

/* --- single tables --- */

void iso_finding_table_5(iso_str *out, const iso_paper *paper) {
    iso_str_append(out, "Rows 1 to 3 (layouts");
    for (int i = 1; i <= 3; i++)
        iso_str_appendf(out, "%s %s", i > 1 ? "," : "",
                        iso_layout_name(iso_paper_row_at(paper, 5, i)->shape.layer_layout));
    const iso_paper_row *first = iso_paper_row_at(paper, 5, 1);
    iso_str_appendf(out, ") print N, N_a, M = %s, %s, %s. Those layouts make",
                    first->printed[ISO_PAPER_PARAMS].text, first->printed[ISO_PAPER_ACTIVE].text,
                    first->printed[ISO_PAPER_FLOPS].text);
    for (int i = 1; i <= 3; i++) {
        iso_paper_recounted r = iso_row_recount(iso_paper_row_at(paper, 5, i));
        iso_str_appendf(out, "%s %.3fB/%.0fM/", i > 1 ? "," : "", (double)r.params / 1e9,
                        (double)r.params_active / 1e6);
        iso_figure_append_power(out, (double)r.flops, 2);
    }
    iso_paper_row as_1dense = *first;
    as_1dense.shape.layer_layout = ISO_LAYOUT_1DENSE;
    as_1dense.shape.intermediate_size = iso_paper_row_at(paper, 5, 2)->shape.intermediate_size;
    iso_counts counts = iso_row_count(&as_1dense, ISO_CONVENTION_PAPER);
    iso_str_appendf(
        out,
        "; the printed figures are those of row 1's experts in the layout 1dense, which "
        "makes %.3fB/%.0fM/",
        (double)counts.params_nonvocab / 1e9, (double)counts.params_active / 1e6);
    iso_figure_append_power(out, (double)counts.forward_flops_per_token, 2);
    iso_str_append(out, ".");
}

void iso_finding_table_7(iso_str *out, const iso_paper *paper) {
    iso_str_append(out, "The activation rates of rows 1 and 2 are exchanged:");
    for (int i = 1; i <= 2; i++) {
        const iso_paper_row *row = iso_paper_row_at(paper, 7, i);
        iso_str_appendf(out, "%s row %d prints %s %%, its shape makes %.2f %%", i > 1 ? ";" : "", i,
                        row->printed[ISO_PAPER_RATE].text,
                        iso_row_recount(row).values[ISO_PAPER_RATE]);
    }
    iso_str_append(out, ".");
}

void iso_finding_table_8(iso_str *out, const iso_paper *paper) {
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, 8, &n_rows);
    int n_moe = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        const iso_paper_figure *printed = &rows[i].printed[ISO_PAPER_ZETA];
        n_moe +=
            fabs(iso_row_recount(&rows[i]).zeta_moe - printed->value) <= 1.001 * printed->half_unit;
    }
    iso_paper_column_error N = iso_paper_column_check(paper, 8, ISO_PAPER_PARAMS);
    iso_paper_column_error N_a = iso_paper_column_check(paper, 8, ISO_PAPER_ACTIVE);
    iso_paper_column_error z = iso_paper_column_check(paper, 8, ISO_PAPER_ZETA);
    iso_str_appendf(
        out,
        "The printed zeta is H/(L-1) + 1 in %d of %d rows, not H/L, which is up to "
        "%.1f %% less. N rounds to what is printed in %d rows and N_a in %d; the others "
        "are up to %.1f and %.1f %% off, and no convention tried does better.",
        n_moe, (int)n_rows, 100 * z.max_error_frac, (int)N.n_exact, (int)N_a.n_exact,
        100 * N.max_error_frac, 100 * N_a.max_error_frac);
}

void iso_finding_mixed_counting(iso_str *out, const iso_paper *paper) {
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, 10, &n_rows);
    int n_full = 0, n_paper = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        n_full += rows[i].params_by == ISO_PAPER_BY_FULL;
        n_paper += rows[i].params_by == ISO_PAPER_BY_PAPER;
    }
    double divisor_10 = rows[0].rate_divisor;
    double divisor_11 = iso_paper_row_at(paper, 11, 1)->rate_divisor;
    iso_str_appendf(out,
                    "Router and norms are in N and N_a of Tables 7, 12, 13, 15, 16, 17, and not in "
                    "those of 5, 6, 9, 11, 14. Within Table 10 they are in %d rows and not in %d, "
                    "which divide by a rounded %.2fe9; Table 11 divides rounded N_a by %.2fe9. The "
                    "differences are at most a per cent of N_a, but the same model has two "
                    "activation rates.",
                    n_full, n_paper, divisor_10 / 1e9, divisor_11 / 1e9);
}

void iso_finding_ratio_misprint(iso_str *out, const iso_paper *paper) {
    int64_t n_rows;
    const iso_paper_row *a = iso_paper_table(paper, 15, &n_rows);
    const iso_paper_row *b = iso_paper_table(paper, 16, &n_rows);
    for (int64_t i = 0; i < n_rows; i++) {
        const iso_paper_figure *x = &a[i].printed[ISO_PAPER_TOKENS_RATIO];
        const iso_paper_figure *y = &b[i].printed[ISO_PAPER_TOKENS_RATIO];
        if (strcmp(x->text, y->text) == 0) continue;
        iso_str_appendf(out,
                        "Row %d of Tables 15 and 16 is one model on as many tokens, yet D/N is "
                        "printed as %s and as %s; it is %.2f.",
                        a[i].row, x->text, y->text,
                        iso_row_recount(&a[i]).values[ISO_PAPER_TOKENS_RATIO]);
    }
}

void iso_finding_balance_loss(iso_str *out, const iso_paper *paper) {
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, 6, &n_rows);
    iso_range loss = iso_range_empty(), K = iso_range_empty();
    for (int64_t i = 0; i < n_rows; i++) {
        loss = iso_range_join(loss, rows[i].balance_loss.value);
        K = iso_range_join(K, (double)rows[i].shape.num_experts_per_tok);
    }
    iso_str_appendf(
        out,
        "As written (E times the sum of f_i p_i, the f_i adding up to K) a balanced "
        "router has a loss of K. Table 6 prints %.3f to %.3f for K = %.0f and K = %.0f, "
        "so what was logged divides f_i by K: 1 is balanced. isomoe does the same.",
        loss.min, loss.max, K.min, K.max);
}

/* --- what the results can bear --- */

void iso_finding_noise(iso_str *out, const iso_paper *paper) {
    iso_paper_run runs[ISO_PAPER_N_RUNS];
    ISO_ASSERT(iso_paper_runs(runs) == ISO_OK);
    int n_twice = 0;
    iso_str differing = {0};
    double spread = 0;
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++) {
        if (runs[i].duplicate_of < 0) continue;
        const iso_paper_run *first = &runs[runs[i].duplicate_of];
        n_twice++;
        if (first->bpc == runs[i].bpc) continue;
        spread = fmax(spread, fabs(first->bpc - runs[i].bpc));
        iso_str_appendf(&differing, " Table %d row %d prints %.4f and Table %d row %d %.4f",
                        first->table, first->row, first->bpc, runs[i].table, runs[i].row,
                        runs[i].bpc);
    }
    double loose = iso_table_best(paper, 17)->bpc.value - iso_table_best(paper, 12)->bpc.value;
    iso_str_appendf(
        out,
        "Of the %d runs of Tables 9 to 17, %d are printed twice (so %d are distinct).%s "
        "for one configuration (shape, tokens, learning rate, batch). A difference of "
        "%.4f is therefore within what the same run gives; the loss from two epochs at "
        "the 7B optimum (Table 17 against 12) is %.4f.",
        ISO_PAPER_N_RUNS, n_twice, ISO_PAPER_N_RUNS - n_twice, differing.data, spread, loose);
    iso_str_release(&differing);
}

void iso_finding_coarse_experts(iso_str *out, const iso_paper *paper) {
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, 10, &n_rows);
    iso_str coarse = {0};
    int64_t fewest = rows[0].shape.num_experts;
    for (int64_t i = 1; i < n_rows; i++)
        if (rows[i].shape.num_experts < fewest) fewest = rows[i].shape.num_experts;
    iso_range fine = iso_range_empty(), fine_width = iso_range_empty();
    for (int64_t i = 0; i < n_rows; i++) {
        const iso_shape *shape = &rows[i].shape;
        if (shape->num_experts == fewest) {
            iso_str_appendf(&coarse, "%s%s %%", coarse.len > 0 ? ", " : "",
                            rows[i].printed[ISO_PAPER_RATE].text);
            continue;
        }
        fine = iso_range_join(fine, (double)shape->num_experts);
        fine_width = iso_range_join(fine_width, (double)shape->moe_intermediate_size);
    }
    const iso_paper_row *few = iso_paper_row_at(paper, 10, 8),
                        *many = iso_paper_row_at(paper, 10, 9);
    iso_str_appendf(out,
                    "Along the 2B scan the points at %s have %d wide experts, all others %.0f to "
                    "%.0f of width %.0f to %.0f. At %s %% (K = %d) the BPC is %s, against %s at "
                    "%s %% (K = %d): the curve mixes activation rate with granularity.",
                    coarse.data, (int)fewest, fine.min, fine.max, fine_width.min, fine_width.max,
                    few->printed[ISO_PAPER_RATE].text, (int)few->shape.num_experts_per_tok,
                    few->bpc.text, many->bpc.text, many->printed[ISO_PAPER_RATE].text,
                    (int)many->shape.num_experts_per_tok);
    iso_str_release(&coarse);
}

void iso_finding_gaps_in_scan(iso_str *out, const iso_paper *paper) {
    static const struct {
        int table;
        const char *scale;
    } scans[] = {{10, "2B"}, {12, "7B"}};
    for (size_t i = 0; i < sizeof scans / sizeof *scans; i++) {
        const iso_paper_row *optimum = iso_table_best(paper, scans[i].table);
        iso_str_appendf(out, "%s%s: best at %s %%, next points %s and %s %%", i > 0 ? "; " : "",
                        scans[i].scale, optimum->printed[ISO_PAPER_RATE].text,
                        (optimum - 1)->printed[ISO_PAPER_RATE].text,
                        (optimum + 1)->printed[ISO_PAPER_RATE].text);
    }
    iso_str_append(out, ". The optimum lies somewhere between its neighbours.");
}

void iso_finding_head_width(iso_str *out, const iso_paper *paper) {
    iso_str_append(out, "At equal N, narrower heads won in Table 5:");
    for (int i = 4; i <= 6; i += 2) {
        const iso_paper_row *wide = iso_paper_row_at(paper, 5, i), *narrow = wide + 1;
        iso_str_appendf(out, "%s %s with d = %d against %s with d = %d", i > 4 ? ";" : "",
                        narrow->train_loss.text,
                        (int)(narrow->shape.hidden_size / narrow->shape.num_attention_heads),
                        wide->train_loss.text,
                        (int)(wide->shape.hidden_size / wide->shape.num_attention_heads));
    }
    const iso_shape *main_run = &iso_paper_row_at(paper, 10, 1)->shape;
    iso_str_appendf(out, ". The main runs use %d.",
                    (int)(main_run->hidden_size / main_run->num_attention_heads));
}
