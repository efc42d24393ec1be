#include "paper/paper_export.h"

#include "paper/paper_document.h"
#include "paper/paper_findings.h"
#include "paper/recount.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

/* Names for programs, in the order of iso_paper_column. */
static const char *const column_keys[ISO_PAPER_N_COLUMNS] = {"params",
                                                             "params_active",
                                                             "activation_rate_percent",
                                                             "flops_per_token",
                                                             "tokens",
                                                             "unique_tokens",
                                                             "epochs",
                                                             "train_flops",
                                                             "tokens_per_param",
                                                             "iterations",
                                                             "mu",
                                                             "zeta"};

static const struct {
    const char *key;
    size_t offset;
} shape_keys[] = {
    {"hidden_size", offsetof(iso_shape, hidden_size)},
    {"num_hidden_layers", offsetof(iso_shape, num_hidden_layers)},
    {"num_attention_heads", offsetof(iso_shape, num_attention_heads)},
    {"intermediate_size", offsetof(iso_shape, intermediate_size)},
    {"max_position_embeddings", offsetof(iso_shape, max_position_embeddings)},
    {"num_experts", offsetof(iso_shape, num_experts)},
    {"num_experts_per_tok", offsetof(iso_shape, num_experts_per_tok)},
    {"moe_intermediate_size", offsetof(iso_shape, moe_intermediate_size)},
    {"shared_expert_intermediate_size", offsetof(iso_shape, shared_expert_intermediate_size)},
};
#define N_SHAPE_KEYS (sizeof shape_keys / sizeof *shape_keys)

static int64_t shape_value(const iso_shape *shape, size_t i) {
    return *(const int64_t *)((const char *)shape + shape_keys[i].offset);
}

/* --- JSON --- */

static json_t *shape_to_json(const iso_shape *shape) {
    json_t *object = json_object();
    json_object_set_new(object, "layer_layout", json_string(iso_layout_name(shape->layer_layout)));
    for (size_t i = 0; i < N_SHAPE_KEYS; i++)
        json_object_set_new(object, shape_keys[i].key, json_integer(shape_value(shape, i)));
    json_object_set_new(object, "norm_topk_prob", json_boolean(shape->norm_topk_prob));
    return object;
}

static json_t *figures_to_json(const iso_paper_row *row, const iso_paper_recounted *counted) {
    json_t *object = json_object();
    for (int c = 0; c < ISO_PAPER_N_COLUMNS; c++) {
        if (row->printed[c].text[0] == '\0') continue;
        json_object_set_new(object, column_keys[c],
                            json_pack("{s:s, s:f, s:f, s:b}", "printed", row->printed[c].text,
                                      "recomputed", counted->values[c], "error",
                                      counted->errors_frac[c], "exact",
                                      counted->beyond_frac[c] == 0));
    }
    return object;
}

static json_t *row_to_json(const iso_paper_row *row) {
    iso_paper_recounted counted;
    iso_paper_recount(&counted, row);
    json_t *object = json_pack(
        "{s:i, s:o, s:s, s:s, s:o}", "row", row->row, "model", shape_to_json(&row->shape),
        "params_convention", iso_paper_counting_name(row->params_by), "flops_convention",
        iso_paper_counting_name(row->flops_by), "figures", figures_to_json(row, &counted));
    if (row->is_run)
        json_object_set_new(object, "run",
                            json_pack("{s:I, s:I, s:f, s:f, s:I, s:f, s:I, s:f}", "tokens",
                                      (json_int_t)counted.tokens, "unique_tokens",
                                      (json_int_t)counted.unique_tokens, "lr", row->lr.value,
                                      "lr_over_steplaw", counted.lr_over_law, "batch_sequences",
                                      (json_int_t)row->batch_sequences, "batch_over_steplaw",
                                      counted.batch_over_law, "iterations",
                                      (json_int_t)row->iterations, "bpc", row->bpc.value));
    else
        json_object_set_new(object, "train_loss", json_real(row->train_loss.value));
    return object;
}

static json_t *table_to_json(const iso_paper *paper, int table) {
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, table, &n_rows);
    json_t *columns = json_object(), *items = json_array();
    for (int c = 0; c < ISO_PAPER_N_COLUMNS; c++) {
        iso_paper_column_error error = iso_paper_column_check(paper, table, (iso_paper_column)c);
        if (error.n_rows == 0) continue;
        json_object_set_new(columns, column_keys[c],
                            json_pack("{s:I, s:I, s:f, s:f}", "n", (json_int_t)error.n_rows,
                                      "n_exact", (json_int_t)error.n_exact, "max_error",
                                      error.max_error_frac, "max_beyond_rounding",
                                      error.max_beyond_frac));
    }
    for (int64_t i = 0; i < n_rows; i++) json_array_append_new(items, row_to_json(&rows[i]));
    return json_pack("{s:i, s:s, s:o, s:o}", "table", table, "title", iso_paper_table_title(table),
                     "columns", columns, "rows", items);
}

json_t *iso_paper_to_json(const iso_paper *paper) {
    json_t *tables = json_array(), *items = json_array();
    iso_paper_findings findings;
    for (int table = ISO_PAPER_FIRST_TABLE; table <= ISO_PAPER_LAST_TABLE; table++)
        json_array_append_new(tables, table_to_json(paper, table));
    iso_paper_findings_make(&findings, paper);
    for (int64_t i = 0; i < findings.n; i++)
        json_array_append_new(items, json_pack("{s:s, s:s, s:s}", "group", findings.items[i].group,
                                               "title", findings.items[i].title, "text",
                                               findings.items[i].text.data));
    iso_paper_findings_release(&findings);
    return json_pack("{s:o, s:o}", "tables", tables, "findings", items);
}

/* --- CSV --- */

void iso_paper_to_csv(iso_str *out, const iso_paper *paper) {
    iso_str_append(out, "table,row,layer_layout");
    for (size_t i = 0; i < N_SHAPE_KEYS; i++) iso_str_appendf(out, ",%s", shape_keys[i].key);
    for (int c = 0; c < ISO_PAPER_N_COLUMNS; c++)
        iso_str_appendf(out, ",%s_printed,%s,%s_error", column_keys[c], column_keys[c],
                        column_keys[c]);
    iso_str_append(out, ",lr,lr_over_steplaw,batch_sequences,batch_over_steplaw,bpc,train_loss\n");
    for (int64_t i = 0; i < paper->n_rows; i++) {
        const iso_paper_row *row = &paper->rows[i];
        iso_paper_recounted counted;
        iso_paper_recount(&counted, row);
        iso_str_appendf(out, "%d,%d,%s", row->table, row->row,
                        iso_layout_name(row->shape.layer_layout));
        for (size_t j = 0; j < N_SHAPE_KEYS; j++)
            iso_str_appendf(out, ",%" PRId64, shape_value(&row->shape, j));
        for (int c = 0; c < ISO_PAPER_N_COLUMNS; c++)
            if (row->printed[c].text[0] == '\0')
                iso_str_append(out, ",,,");
            else
                iso_str_appendf(out, ",%s,%.12g,%.3g", row->printed[c].text, counted.values[c],
                                counted.errors_frac[c]);
        if (row->is_run)
            iso_str_appendf(out, ",%s,%.4f,%" PRId64 ",%.4f,%s,\n", row->lr.text,
                            counted.lr_over_law, row->batch_sequences, counted.batch_over_law,
                            row->bpc.text);
        else
            iso_str_appendf(out, ",,,,,,%s\n", row->train_loss.text);
    }
}
