#include "paper/paper_document.h"

#include "paper/figure_text.h"
#include "paper/paper_comparisons.h"
#include "paper/paper_findings.h"
#include "paper/recount.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *iso_paper_table_title(int table) {
    static const char *const titles[ISO_PAPER_LAST_TABLE - ISO_PAPER_FIRST_TABLE + 1] = {
        "layouts and the shared expert",
        "normalised gates",
        "few wide experts or many narrow ones",
        "proportions",
        "2B, fixed activation rates",
        "2B, fixed compute",
        "7B, fixed tokens",
        "7B, fixed compute",
        "7B, 68B tokens repeated (strict)",
        "dense baselines",
        "3B, 65B tokens repeated (strict)",
        "3B, 114B tokens repeated (strict)",
        "7B, two epochs (loose)"};
    ISO_ASSERT(table >= ISO_PAPER_FIRST_TABLE && table <= ISO_PAPER_LAST_TABLE);
    return titles[table - ISO_PAPER_FIRST_TABLE];
}

/* --- figures --- */

/* In the unit and about the precision of the column. */
static void append_value(iso_str *out, iso_paper_column column, double value) {
    switch (column) {
    case ISO_PAPER_PARAMS:
    case ISO_PAPER_ACTIVE:
    case ISO_PAPER_FLOPS:
    case ISO_PAPER_TOKENS:
    case ISO_PAPER_UNIQUE:
    case ISO_PAPER_ITERATIONS:
        iso_figure_append_grouped(out, llround(value));
        break;
    case ISO_PAPER_COMPUTE:
        iso_figure_append_power(out, value, 4);
        break;
    default:
        iso_str_appendf(out, "%.4f", value);
    }
}

/* "printed → recomputed (error)", bold where rounding does not explain the error. */
static void append_cell(iso_str *out, const iso_paper_row *row, const iso_paper_recounted *counted,
                        iso_paper_column column) {
    const iso_paper_figure *printed = &row->printed[column];
    if (printed->text[0] == '\0') {
        iso_str_append(out, " |");
        return;
    }
    const char *bold = counted->beyond_frac[column] > 0 ? "**" : "";
    iso_str_appendf(out, " %s%s → ", bold, printed->text);
    append_value(out, column, counted->values[column]);
    iso_str_append(out, " (");
    iso_figure_append_percent(out, counted->errors_frac[column], 2);
    iso_str_appendf(out, ")%s |", bold);
}

/* --- the first part --- */

static const char introduction[] =
    "# The paper's tables, recomputed\n"
    "\n"
    "Every row of Tables 5 to 17 of \"Can Mixture-of-Experts Surpass Dense LLMs Under Strictly "
    "Equal "
    "Resources?\" (arXiv 2506.12119; tables by the\n"
    "numbering of its first version), counted again from the printed shapes. `isomoe paper` writes "
    "this page, and a test holds it to that; the printed\n"
    "figures are in `src/paper/tables/`, the models as configs in `configs/paper/`.\n"
    "\n"
    "A cell reads **printed → recomputed (error)**. It is bold where the error is more than the "
    "rounding of the printed figure explains. N, N_a and M are\n"
    "counted by the convention that the table really uses: `paper` (attention and FFNs alone) or "
    "`full` (with router and norms; M also with the router and\n"
    "the softmax), see `isomoe count`. Letters: H hidden size, L layers, A heads, F dense width, S "
    "sequence length, E experts, K of them per token, De their\n"
    "width, Dse that of the shared one. D is batch x iterations x S. Step Law is taken with its "
    "unrounded constants at N (`paper`) and D.\n"
    "\n";

/* A row per table: "18/18, 0.21 %". */
static void append_errors(iso_str *out, const iso_paper *paper) {
    iso_str_append(out,
                   "## Printed against recomputed\n\n"
                   "Figures exact to the last printed digit, of those printed, and the largest "
                   "error. Half a unit of the third digit is up to 0.5 %.\n\n| table |");
    for (int c = 0; c < ISO_PAPER_N_COLUMNS; c++)
        iso_str_appendf(out, " %s |", iso_paper_column_name((iso_paper_column)c));
    iso_str_append(out, "\n|---|");
    for (int c = 0; c < ISO_PAPER_N_COLUMNS; c++) iso_str_append(out, "---|");
    for (int table = ISO_PAPER_FIRST_TABLE; table <= ISO_PAPER_LAST_TABLE; table++) {
        iso_str_appendf(out, "\n| %d |", table);
        for (int c = 0; c < ISO_PAPER_N_COLUMNS; c++) {
            iso_paper_column_error error =
                iso_paper_column_check(paper, table, (iso_paper_column)c);
            if (error.n_rows > 0)
                iso_str_appendf(out, " %d/%d, %.2f %%", (int)error.n_exact, (int)error.n_rows,
                                100 * error.max_error_frac);
            iso_str_append(out, " |");
        }
    }
    iso_str_append(out, "\n\n");
}

static void append_findings(iso_str *out, const iso_paper *paper) {
    iso_paper_findings findings;
    const char *group = "";
    iso_paper_findings_make(&findings, paper);
    iso_str_append(out, "## What the paper's own ledger shows\n");
    for (int64_t i = 0; i < findings.n; i++) {
        const iso_paper_finding *finding = &findings.items[i];
        if (strcmp(finding->group, group) != 0)
            iso_str_appendf(out, "\n### %s\n\n", finding->group);
        group = finding->group;
        iso_str_appendf(out, "- **%s.** %s\n", finding->title, finding->text.data);
    }
    iso_str_append(out, "\n");
    iso_paper_findings_release(&findings);
}

void iso_paper_document_begin(iso_str *out, const iso_paper *paper) {
    iso_str_append(out, introduction);
    append_errors(out, paper);
    iso_str_append(out,
                   "## What was found\n\n"
                   "BPC of the best MoE of each comparison, its gap to the dense model of about "
                   "the same C and to the one of about twice that.\n\n");
    iso_paper_results_append(out, paper);
    append_findings(out, paper);
}

/* --- the tables --- */

static bool prints(const iso_paper *paper, int table, iso_paper_column column) {
    return iso_paper_column_check(paper, table, column).n_rows > 0;
}

/* How a row was counted, in words. */
static char *counting_text(const iso_paper_row *row) {
    iso_str text = {0};
    iso_str_appendf(&text, "N and N_a by `%s`", iso_paper_counting_name(row->params_by));
    if (row->rate_divisor > 0)
        iso_str_appendf(&text, ", r_a = %sN_a / %.2fe9", row->rate_of_printed ? "rounded " : "",
                        row->rate_divisor / 1e9);
    if (row->printed[ISO_PAPER_FLOPS].text[0] != '\0')
        iso_str_appendf(&text, "; M, %s FLOPs, by `%s`", row->is_training ? "training" : "forward",
                        iso_paper_counting_name(row->flops_by));
    if (row->is_run && row->compute_by != row->flops_by)
        iso_str_appendf(&text, " (in C by `%s`)", iso_paper_counting_name(row->compute_by));
    iso_str_appendf(&text, "; S = %" PRId64, row->shape.max_position_embeddings);
    return text.data;
}

/* The rows with the same text as row i, if i is the first of them. */
static void append_counted_alike(iso_str *out, char *const *texts, int64_t n_rows, int64_t i) {
    iso_str numbers = {0};
    int64_t n_alike = 0;
    for (int64_t j = 0; j < i; j++)
        if (strcmp(texts[j], texts[i]) == 0) return;
    for (int64_t j = i; j < n_rows; j++)
        if (strcmp(texts[j], texts[i]) == 0)
            iso_str_appendf(&numbers, "%s%d", n_alike++ > 0 ? ", " : "", (int)j + 1);
    if (n_alike == n_rows)
        iso_str_appendf(out, "Counted: %s.\n", texts[i]);
    else
        iso_str_appendf(out, "- Row%s %s: %s.\n", n_alike > 1 ? "s" : "", numbers.data, texts[i]);
    iso_str_release(&numbers);
}

static void append_counting(iso_str *out, const iso_paper_row *rows, int64_t n_rows) {
    char **texts = calloc((size_t)n_rows, sizeof *texts);
    ISO_ASSERT(texts != NULL);
    for (int64_t i = 0; i < n_rows; i++) texts[i] = counting_text(&rows[i]);
    for (int64_t i = 0; i < n_rows; i++) append_counted_alike(out, texts, n_rows, i);
    for (int64_t i = 0; i < n_rows; i++) free(texts[i]);
    free(texts);
    iso_str_append(out, "\n");
}

static void append_header(iso_str *out, const char *const *headings, int n) {
    iso_str_append(out, "|");
    for (int i = 0; i < n; i++) iso_str_appendf(out, " %s |", headings[i]);
    iso_str_append(out, "\n|");
    for (int i = 0; i < n; i++) iso_str_append(out, "---|");
    iso_str_append(out, "\n");
}

static const iso_paper_column count_columns[] = {ISO_PAPER_PARAMS, ISO_PAPER_ACTIVE,
                                                 ISO_PAPER_RATE,   ISO_PAPER_FLOPS,
                                                 ISO_PAPER_MU,     ISO_PAPER_ZETA};
static const iso_paper_column run_columns[] = {ISO_PAPER_TOKENS,       ISO_PAPER_UNIQUE,
                                               ISO_PAPER_EPOCHS,       ISO_PAPER_COMPUTE,
                                               ISO_PAPER_TOKENS_RATIO, ISO_PAPER_ITERATIONS};
#define N_COLUMNS(columns) (int)(sizeof columns / sizeof *columns)

static int printed_columns(iso_paper_column *out, const iso_paper *paper, int table,
                           const iso_paper_column *columns, int n_columns) {
    int n = 0;
    for (int i = 0; i < n_columns; i++)
        if (prints(paper, table, columns[i])) out[n++] = columns[i];
    return n;
}

static void append_shape(iso_str *out, const iso_shape *shape) {
    iso_str_appendf(out, " %d x %d x %d", (int)shape->hidden_size, (int)shape->num_hidden_layers,
                    (int)shape->num_attention_heads);
    if (shape->intermediate_size > 0) iso_str_appendf(out, ", %d", (int)shape->intermediate_size);
    if (shape->layer_layout == ISO_LAYOUT_DENSE) {
        iso_str_append(out, " | dense |");
        return;
    }
    iso_str_appendf(out, " | %d/%d, %d, %d", (int)shape->num_experts,
                    (int)shape->num_experts_per_tok, (int)shape->moe_intermediate_size,
                    (int)shape->shared_expert_intermediate_size);
    if (shape->layer_layout != ISO_LAYOUT_1DENSE)
        iso_str_appendf(out, ", %s", iso_layout_name(shape->layer_layout));
    iso_str_append(out, shape->norm_topk_prob ? ", gates normalised |" : " |");
}

/* Shapes and what follows from them. */
static void append_counts(iso_str *out, const iso_paper *paper, int table) {
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, table, &n_rows);
    iso_paper_column columns[ISO_PAPER_N_COLUMNS];
    int n = printed_columns(columns, paper, table, count_columns, N_COLUMNS(count_columns));
    bool has_params = n > 0 && columns[0] == ISO_PAPER_PARAMS;
    bool has_losses = !rows[0].is_run;
    const char *headings[ISO_PAPER_N_COLUMNS + 5] = {"row", "H x L x A, F", "E/K, De, Dse", "N"};
    int n_headings = has_params ? 3 : 4;
    for (int i = 0; i < n; i++) headings[n_headings++] = iso_paper_column_name(columns[i]);
    if (has_losses)
        headings[n_headings++] = rows[0].balance_loss.text[0] ? "loss; balance loss" : "loss";
    append_header(out, headings, n_headings);
    for (int64_t i = 0; i < n_rows; i++) {
        iso_paper_recounted counted;
        iso_paper_recount(&counted, &rows[i]);
        iso_str_appendf(out, "| %d |", rows[i].row);
        append_shape(out, &rows[i].shape);
        if (!has_params) {
            iso_str_append(out, " ");
            iso_figure_append_grouped(out, counted.params);
            iso_str_append(out, " |");
        }
        for (int c = 0; c < n; c++) append_cell(out, &rows[i], &counted, columns[c]);
        if (has_losses) iso_str_appendf(out, " %s", rows[i].train_loss.text);
        if (rows[i].balance_loss.text[0]) iso_str_appendf(out, "; %s", rows[i].balance_loss.text);
        iso_str_append(out, has_losses ? " |\n" : "\n");
    }
    iso_str_append(out, "\n");
}

/* What was trained, and how. */
static void append_runs(iso_str *out, const iso_paper *paper, int table) {
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, table, &n_rows);
    iso_paper_column columns[ISO_PAPER_N_COLUMNS];
    int n = printed_columns(columns, paper, table, run_columns, N_COLUMNS(run_columns));
    const char *headings[ISO_PAPER_N_COLUMNS + 5] = {"row"};
    int n_headings = 1;
    for (int i = 0; i < n; i++) headings[n_headings++] = iso_paper_column_name(columns[i]);
    headings[n_headings++] = "learning rate, over the law";
    headings[n_headings++] = "batch, over the law";
    headings[n_headings++] = "BPC";
    append_header(out, headings, n_headings);
    for (int64_t i = 0; i < n_rows; i++) {
        iso_paper_recounted counted;
        iso_paper_recount(&counted, &rows[i]);
        iso_str_appendf(out, "| %d |", rows[i].row);
        for (int c = 0; c < n; c++) append_cell(out, &rows[i], &counted, columns[c]);
        iso_str_appendf(out, " %s, %.3fx | %" PRId64 ", %.3fx | %s |\n", rows[i].lr.text,
                        counted.lr_over_law, rows[i].batch_sequences, counted.batch_over_law,
                        rows[i].bpc.text);
    }
    iso_str_append(out, "\n");
}

void iso_paper_document_tables(iso_str *out, const iso_paper *paper) {
    iso_str_append(out, "## The tables\n\n");
    for (int table = ISO_PAPER_FIRST_TABLE; table <= ISO_PAPER_LAST_TABLE; table++) {
        int64_t n_rows;
        const iso_paper_row *rows = iso_paper_table(paper, table, &n_rows);
        iso_str_appendf(out, "### Table %d: %s\n\n", table, iso_paper_table_title(table));
        append_counting(out, rows, n_rows);
        append_counts(out, paper, table);
        if (rows[0].is_run) append_runs(out, paper, table);
    }
    out->data[--out->len] = '\0'; /* one empty line too many */
}
