#include "paper/paper_comparisons.h"

#include "paper/row_ranges.h"

#include <inttypes.h>

const iso_paper_comparison iso_paper_comparisons[ISO_PAPER_N_COMPARISONS] = {
    {"2b-unique", "2B, unique data", 10, 1, "unique-data"},
    {"3b-repeated-65B", "3B, 65B tokens repeated", 15, 3, "strict"},
    {"3b-repeated-114B", "3B, 114B tokens repeated", 16, 3, "strict"},
    {"7b-unique", "7B, unique data", 12, 5, "unique-data"},
    {"7b-repeated-68B", "7B, 68B tokens repeated", 13, 5, "strict"},
    {"7b-two-epochs", "7B, two epochs", 17, 5, "loose"},
};

void iso_paper_results_append(iso_str *out, const iso_paper *paper) {
    iso_str_append(out, "| comparison | Table | best MoE | at r_a | against dense at C | against "
                        "dense at 2C | below dense at C |\n|---|---|---|---|---|---|---|\n");
    for (int i = 0; i < ISO_PAPER_N_COMPARISONS; i++) {
        const iso_paper_comparison *comparison = &iso_paper_comparisons[i];
        const iso_paper_row *best = iso_table_best(paper, comparison->table);
        const iso_paper_row *dense = iso_paper_row_at(paper, 14, comparison->dense_row);
        const iso_paper_row *twice = iso_paper_row_at(paper, 14, comparison->dense_row + 1);
        int64_t n_rows, n_below = 0;
        const iso_paper_row *rows = iso_paper_table(paper, comparison->table, &n_rows);
        for (int64_t j = 0; j < n_rows; j++) n_below += rows[j].bpc.value < dense->bpc.value;
        iso_str_appendf(
            out,
            "| %s | %d | %s | %s %% | %+.4f (%s) | %+.4f (%s) | %" PRId64 " of %" PRId64 " |\n",
            comparison->title, comparison->table, best->bpc.text,
            best->printed[ISO_PAPER_RATE].text, best->bpc.value - dense->bpc.value, dense->bpc.text,
            best->bpc.value - twice->bpc.value, twice->bpc.text, n_below, n_rows);
    }
    iso_str_append(out, "\n");
}

/* --- as a table of runs --- */

static void append_run(iso_str *out, const iso_paper_comparison *comparison,
                       const iso_paper_row *row) {
    const iso_shape *shape = &row->shape;
    iso_paper_recounted counted = iso_row_recount(row);
    iso_str_appendf(out, "%s,table%d-row%d,%s", comparison->name, row->table, row->row,
                    iso_layout_name(shape->layer_layout));
    const int64_t figures[] = {
        shape->vocab_size,
        shape->hidden_size,
        shape->num_hidden_layers,
        shape->num_attention_heads,
        shape->intermediate_size,
        shape->max_position_embeddings,
        shape->num_experts,
        shape->num_experts_per_tok,
        shape->moe_intermediate_size,
        shape->shared_expert_intermediate_size,
        counted.tokens,
        counted.unique_tokens,
        row->batch_sequences * shape->max_position_embeddings,
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        iso_str_appendf(out, ",%" PRId64, figures[i]);
    iso_str_appendf(out, ",%s,%s\n", row->lr.text, row->bpc.text);
}

void iso_paper_comparisons_to_csv(iso_str *out, const iso_paper *paper) {
    iso_str_append(
        out,
        "# The paper's comparisons at equal compute, a dense model and a scan of MoEs each:\n"
        "#     isomoe audit --table configs/paper/runs.csv\n"
        "# Written by `isomoe paper --configs`; hashes of data, tokenizer and validation "
        "sample were "
        "not published.\n"
        "comparison,name,layer_layout,vocab_size,hidden_size,num_hidden_layers,num_attention_heads,"
        "intermediate_size,max_position_embeddings,num_experts,num_experts_per_tok,"
        "moe_intermediate_size,shared_expert_intermediate_size,tokens,unique_tokens,batch_"
        "tokens,lr,"
        "bpc\n");
    for (int i = 0; i < ISO_PAPER_N_COMPARISONS; i++) {
        const iso_paper_comparison *comparison = &iso_paper_comparisons[i];
        int64_t n_rows;
        const iso_paper_row *rows = iso_paper_table(paper, comparison->table, &n_rows);
        append_run(out, comparison, iso_paper_row_at(paper, 14, comparison->dense_row));
        for (int64_t j = 0; j < n_rows; j++) append_run(out, comparison, &rows[j]);
    }
}
