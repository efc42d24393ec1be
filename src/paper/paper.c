/* The tables are our own files, compiled in, so a fault in them is a fault of the program: it is
 * asserted, not reported. tests/paper/ holds every row against independent figures.
 */
#include "paper/paper.h"

#include "base/csv.h"
#include "base/str.h"
#include "paper/paper_data.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define VOCABULARY 65536 /* the paper's Table 4 */

const char *iso_paper_column_name(iso_paper_column column) {
    static const char *const names[ISO_PAPER_N_COLUMNS] = {
        "N", "N_a", "r_a %", "M", "D", "D-hat", "epochs", "C", "D/N", "iterations", "mu", "zeta"};
    return names[column];
}

static const char *const counting_names[] = {"paper", "full", "full-softmax"};

const char *iso_paper_counting_name(iso_paper_counting counting) {
    return counting_names[counting];
}

/* --- one cell --- */

/* Exact printed text, value and rounding: "2.15B", "3.24e-3", "19.94". */
static void read_figure(iso_paper_figure *out, const char *text) {
    *out = (iso_paper_figure){0};
    size_t n_chars = strlen(text);
    ISO_ASSERT(n_chars < sizeof out->text);
    if (n_chars == 0) return;
    memcpy(out->text, text, n_chars + 1);
    double unit = 1;
    char number[ISO_PAPER_TEXT_BYTES];
    memcpy(number, text, n_chars + 1);
    if (number[n_chars - 1] == 'B' || number[n_chars - 1] == 'M') {
        unit = number[n_chars - 1] == 'B' ? 1e9 : 1e6;
        number[n_chars - 1] = '\0';
    }
    ISO_ASSERT(iso_str_to_f64(number, &out->value));
    out->value *= unit;
    /* The same number with its last digit 5 and the others 0, a place further on. */
    const char *exponent = number + strcspn(number, "e"), *point = strchr(number, '.');
    int n_decimals = point ? (int)(exponent - point) - 1 : 0;
    char *half = iso_strf("%.*f%s", n_decimals + 1, 0.0, exponent);
    half[n_decimals + 2] = '5';
    ISO_ASSERT(iso_str_to_f64(half, &out->half_unit));
    out->half_unit *= unit;
    free(half);
}

static int64_t read_integer(const char *text) {
    int64_t value = 0;
    ISO_ASSERT(*text == '\0' || iso_str_to_i64(text, &value));
    return value;
}

static iso_paper_counting read_counting(const char *text) {
    const int n = (int)(sizeof counting_names / sizeof *counting_names);
    int i = 0;
    while (*text && i < n && strcmp(counting_names[i], text) != 0) i++;
    ISO_ASSERT(i < n);
    return (iso_paper_counting)i;
}

/* --- one row --- */

/* The cell of a column in a row; "" if the table lacks the column. */
static const char *cell(const iso_csv *csv, int64_t i_row, const char *column) {
    int64_t i_column = iso_csv_column(csv, column);
    return i_column < 0 ? "" : csv->rows[i_row].cells[i_column];
}

static const char *const figure_columns[ISO_PAPER_N_COLUMNS] = {
    "N", "Na", "ra_percent", "M", "D", "D_hat", "epochs", "C", "D_over_N", "iters", "mu", "zeta"};

static iso_shape read_shape(const iso_csv *csv, int64_t i) {
    static const struct {
        const char *column;
        size_t offset;
    } sizes[] = {
        {"H", offsetof(iso_shape, hidden_size)},
        {"L", offsetof(iso_shape, num_hidden_layers)},
        {"A", offsetof(iso_shape, num_attention_heads)},
        {"F", offsetof(iso_shape, intermediate_size)},
        {"S", offsetof(iso_shape, max_position_embeddings)},
        {"E", offsetof(iso_shape, num_experts)},
        {"K", offsetof(iso_shape, num_experts_per_tok)},
        {"De", offsetof(iso_shape, moe_intermediate_size)},
        {"Dse", offsetof(iso_shape, shared_expert_intermediate_size)},
    };
    iso_shape shape = iso_shape_default();
    shape.vocab_size = VOCABULARY;
    for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
        *(int64_t *)((char *)&shape + sizes[j].offset) =
            read_integer(cell(csv, i, sizes[j].column));
    ISO_ASSERT(iso_layout_from_name(&shape.layer_layout, cell(csv, i, "layout")));
    shape.norm_topk_prob = strcmp(cell(csv, i, "norm"), "yes") == 0;
    if (shape.layer_layout == ISO_LAYOUT_FULL) shape.intermediate_size = 0; /* no dense layer */
    ISO_ASSERT(iso_shape_check(&shape) == ISO_OK);
    return shape;
}

static void read_row(iso_paper_row *row, const iso_csv *csv, int64_t i, int table) {
    *row = (iso_paper_row){.table = table, .row = (int)read_integer(cell(csv, i, "row"))};
    ISO_ASSERT(row->row == i);
    row->shape = read_shape(csv, i);
    strncpy(row->label, cell(csv, i, "N_label"), sizeof row->label - 1);
    for (int c = 0; c < ISO_PAPER_N_COLUMNS; c++)
        read_figure(&row->printed[c], cell(csv, i, figure_columns[c]));
    row->params_by = read_counting(cell(csv, i, "counted_by"));
    row->flops_by = read_counting(cell(csv, i, "M_by"));
    row->compute_by = read_counting(cell(csv, i, "C_by"));
    const char *divisor = cell(csv, i, "ra_by");
    ISO_ASSERT(strcmp(divisor, "N") == 0 || iso_str_to_f64(divisor, &row->rate_divisor));
    row->rate_of_printed = strcmp(cell(csv, i, "ra_of"), "printed") == 0;
    row->is_training = strcmp(cell(csv, i, "M_is"), "training") == 0;
    row->batch_sequences = read_integer(cell(csv, i, "batch"));
    row->iterations = read_integer(cell(csv, i, "iters"));
    row->is_run = row->iterations > 0;
    read_figure(&row->lr, cell(csv, i, "lr"));
    read_figure(&row->bpc, cell(csv, i, "bpc"));
    read_figure(&row->train_loss, cell(csv, i, "train_loss"));
    read_figure(&row->balance_loss, cell(csv, i, "balance_loss"));
}

/* --- all of them --- */

static iso_status append_table(iso_paper *paper, const iso_paper_data *data) {
    iso_csv *csv;
    ISO_TRY(iso_csv_parse(&csv, data->csv, (int64_t)strlen(data->csv), "a table of the paper"));
    int64_t n_rows = csv->n_rows - 1;
    iso_paper_row *rows =
        realloc(paper->rows, (size_t)(paper->n_rows + n_rows) * sizeof *paper->rows);
    if (!rows) {
        iso_csv_free(csv);
        return iso_fail(ISO_ERR_MEMORY, "no memory for the paper's tables");
    }
    paper->rows = rows;
    for (int64_t i = 1; i <= n_rows; i++)
        read_row(&paper->rows[paper->n_rows++], csv, i, data->table);
    iso_csv_free(csv);
    return ISO_OK;
}

iso_status iso_paper_create(iso_paper **out) {
    *out = NULL;
    iso_paper *paper = calloc(1, sizeof *paper);
    if (!paper) return iso_fail(ISO_ERR_MEMORY, "no memory for the paper's tables");
    for (const iso_paper_data *data = iso_paper_tables_data; data->csv; data++) {
        iso_status status = append_table(paper, data);
        if (status != ISO_OK) {
            iso_paper_free(paper);
            return status;
        }
    }
    *out = paper;
    return ISO_OK;
}

void iso_paper_free(iso_paper *paper) {
    if (!paper) return;
    free(paper->rows);
    free(paper);
}

const iso_paper_row *iso_paper_table(const iso_paper *paper, int table, int64_t *n_rows) {
    const iso_paper_row *first = NULL;
    *n_rows = 0;
    for (int64_t i = 0; i < paper->n_rows; i++) {
        if (paper->rows[i].table != table) continue;
        if (!first) first = &paper->rows[i];
        ++*n_rows;
    }
    return first;
}

const iso_paper_row *iso_paper_row_at(const iso_paper *paper, int table, int row) {
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, table, &n_rows);
    ISO_ASSERT(row >= 1 && row <= n_rows);
    return &rows[row - 1];
}
