/* The config of a model that was trained several times takes the run of the scan at fixed compute,
 * which is what the paper's conclusions rest on; the others stand in its comments, ready to be
 * given on the command line.
 */
#include "paper/paper_models.h"

#include "paper/figure_text.h"
#include "paper/row_ranges.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_PER_PARAM 20 /* the least that the paper's text asks for */
#define MICRO_BATCH      8  /* sequences; every printed batch is a multiple of it */

static bool is_same_shape(const iso_shape *a, const iso_shape *b) {
    return a->layer_layout == b->layer_layout && a->hidden_size == b->hidden_size &&
           a->num_hidden_layers == b->num_hidden_layers &&
           a->num_attention_heads == b->num_attention_heads &&
           a->intermediate_size == b->intermediate_size && a->num_experts == b->num_experts &&
           a->num_experts_per_tok == b->num_experts_per_tok &&
           a->moe_intermediate_size == b->moe_intermediate_size &&
           a->shared_expert_intermediate_size == b->shared_expert_intermediate_size &&
           a->max_position_embeddings == b->max_position_embeddings &&
           a->norm_topk_prob == b->norm_topk_prob;
}

/* --- names --- */

typedef struct frame {
    const char *scale;
    double max_params; /* of the scale */
    int64_t H, L;      /* of its MoEs */
} frame;

static const frame frames[] = {
    {"2b", 2.5e9, 1408, 16}, {"3b", 5e9, 1408, 24}, {"7b", 1e12, 2048, 24}};

static char *name_of(const iso_shape *shape, int64_t params) {
    const frame *of = frames;
    while ((double)params > of->max_params) of++;
    if (shape->layer_layout == ISO_LAYOUT_DENSE) return iso_strf("%s-dense", of->scale);
    iso_str name = {0};
    iso_str_appendf(&name, "%s-moe-k%" PRId64 "-e%" PRId64, of->scale, shape->num_experts_per_tok,
                    shape->num_experts);
    if (shape->hidden_size != of->H) iso_str_appendf(&name, "-h%" PRId64, shape->hidden_size);
    if (shape->num_hidden_layers != of->L)
        iso_str_appendf(&name, "-l%" PRId64, shape->num_hidden_layers);
    if (shape->hidden_size / shape->num_attention_heads != 128)
        iso_str_appendf(&name, "-d%" PRId64, shape->hidden_size / shape->num_attention_heads);
    if (shape->layer_layout != ISO_LAYOUT_1DENSE)
        iso_str_appendf(&name, "-%s", iso_layout_name(shape->layer_layout));
    if (shape->shared_expert_intermediate_size == 0) iso_str_append(&name, "-noshared");
    if (shape->norm_topk_prob) iso_str_append(&name, "-norm");
    if (shape->max_position_embeddings != 2048)
        iso_str_appendf(&name, "-s%" PRId64, shape->max_position_embeddings);
    return name.data;
}

/* --- the models --- */

/* How much a row has to say about what its model should be trained on: the scans at fixed compute
 * first (the dense baselines belong to them), then the earliest run. */
static bool is_better_run(const iso_paper_row *row, const iso_paper_row *than) {
    if (!row->is_run || !than) return row->is_run;
    bool row_is_scan = row->table == 10 || row->table == 12 || row->table == 15;
    bool than_is_scan = than->table == 10 || than->table == 12 || than->table == 15;
    return row_is_scan && !than_is_scan;
}

static iso_status add_row(iso_paper_models *models, const iso_paper_row *row, int64_t capacity) {
    iso_paper_model *model = models->items, *end = models->items + models->n;
    while (model < end && !is_same_shape(&model->rows[0]->shape, &row->shape)) model++;
    if (model == end) {
        *model = (iso_paper_model){
            .rows = calloc((size_t)capacity, sizeof *model->rows),
            .name = name_of(&row->shape, iso_row_count(row, ISO_CONVENTION_PAPER).params_nonvocab)};
        models->n++;
        if (!model->rows) return iso_fail(ISO_ERR_MEMORY, "no memory for the paper's models");
    }
    model->rows[model->n_rows++] = row;
    if (is_better_run(row, model->main_run)) model->main_run = row;
    return ISO_OK;
}

/* "k2" before "k10". */
static int compare_names(const void *a, const void *b) {
    return strverscmp(((const iso_paper_model *)a)->name, ((const iso_paper_model *)b)->name);
}

iso_status iso_paper_models_create(iso_paper_models **out, const iso_paper *paper) {
    *out = NULL;
    iso_paper_models *models = calloc(1, sizeof *models);
    iso_paper_model *items = calloc((size_t)paper->n_rows, sizeof *items);
    if (!models || !items) {
        free(items);
        free(models);
        return iso_fail(ISO_ERR_MEMORY, "no memory for the paper's models");
    }
    models->items = items;
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < paper->n_rows && status == ISO_OK; i++)
        status = add_row(models, &paper->rows[i], paper->n_rows);
    if (status != ISO_OK) {
        iso_paper_models_free(models);
        return status;
    }
    qsort(models->items, (size_t)models->n, sizeof *models->items, compare_names);
    *out = models;
    return ISO_OK;
}

void iso_paper_models_free(iso_paper_models *models) {
    if (!models) return;
    for (int64_t i = 0; i < models->n; i++) {
        free(models->items[i].rows);
        free(models->items[i].name);
    }
    free(models->items);
    free(models);
}

/* --- a config --- */

/* "Table 9 rows 10, 11; Table 10 row 6". */
static void append_row_names(iso_str *out, const iso_paper_model *model) {
    for (int64_t i = 0; i < model->n_rows; i++) {
        const iso_paper_row *row = model->rows[i];
        bool goes_on = i + 1 < model->n_rows && model->rows[i + 1]->table == row->table;
        if (i > 0 && model->rows[i - 1]->table == row->table)
            iso_str_appendf(out, ", %d", row->row);
        else
            iso_str_appendf(out, "%sTable %d row%s %d", i > 0 ? "; " : "", row->table,
                            goes_on ? "s" : "", row->row);
    }
}

static void append_model_section(iso_str *out, const iso_shape *shape) {
    iso_str_appendf(out,
                    "model:\n"
                    "  vocab_size: %" PRId64 "\n"
                    "  max_position_embeddings: %" PRId64 "\n"
                    "  position: alibi\n"
                    "  hidden_size: %" PRId64 "\n"
                    "  num_hidden_layers: %" PRId64 "\n"
                    "  num_attention_heads: %" PRId64 "\n"
                    "  intermediate_size: %" PRId64 "\n"
                    "  layer_layout: %s\n",
                    shape->vocab_size, shape->max_position_embeddings, shape->hidden_size,
                    shape->num_hidden_layers, shape->num_attention_heads, shape->intermediate_size,
                    iso_layout_name(shape->layer_layout));
    if (shape->layer_layout == ISO_LAYOUT_DENSE) return;
    iso_str_appendf(out,
                    "  num_experts: %" PRId64 "\n"
                    "  num_experts_per_tok: %" PRId64 "\n"
                    "  moe_intermediate_size: %" PRId64 "\n"
                    "  shared_expert_intermediate_size: %" PRId64 "\n"
                    "  norm_topk_prob: %s\n",
                    shape->num_experts, shape->num_experts_per_tok, shape->moe_intermediate_size,
                    shape->shared_expert_intermediate_size,
                    shape->norm_topk_prob ? "true" : "false");
}

/* The tokens that a row repeats; "all" where it repeats none. */
static void append_unique(iso_str *out, const iso_paper_recounted *counted) {
    if (counted->unique_tokens == counted->tokens)
        iso_str_append(out, "all");
    else
        iso_str_appendf(out, "%" PRId64, counted->unique_tokens);
}

static void append_train_section(iso_str *out, const iso_paper_model *model) {
    const iso_paper_row *run = model->main_run;
    iso_str_append(out, "\ndata:\n  dir: data/prepared\n  unique_tokens: ");
    if (!run) {
        int64_t params = iso_row_count(model->rows[0], ISO_CONVENTION_PAPER).params_nonvocab;
        iso_str_appendf(out,
                        "all\n\n# The tokens of this run were not published: %d per parameter "
                        "here.\ntrain:\n  tokens: %" PRId64 "\n  batch_size: steplaw\n"
                        "  micro_batch_size: %d\n  lr: steplaw\n",
                        TOKENS_PER_PARAM, TOKENS_PER_PARAM * params, MICRO_BATCH);
        return;
    }
    iso_paper_recounted counted = iso_row_recount(run);
    append_unique(out, &counted);
    iso_str_appendf(out,
                    "\n\n# Table %d row %d: %" PRId64 " steps; %.3fx the learning rate and %.3fx "
                    "the batch of Step Law; BPC %s.\ntrain:\n  tokens: %" PRId64
                    "\n  batch_size: %" PRId64 "\n  micro_batch_size: %d\n  lr: %s\n",
                    run->table, run->row, run->iterations, counted.lr_over_law,
                    counted.batch_over_law, run->bpc.text, counted.tokens, run->batch_sequences,
                    MICRO_BATCH, run->lr.text);
}

/* The other runs of the model as they would be given on the command line. */
static void append_other_runs(iso_str *out, const iso_paper_model *model) {
    for (int64_t i = 0; i < model->n_rows; i++) {
        const iso_paper_row *row = model->rows[i];
        if (!row->is_run || row == model->main_run) continue;
        iso_paper_recounted counted = iso_row_recount(row);
        iso_str_appendf(out,
                        "\n# Table %d row %d, BPC %s:\n#   --train.tokens=%" PRId64
                        " --train.batch_size=%" PRId64 " --train.lr=%s --data.unique_tokens=",
                        row->table, row->row, row->bpc.text, counted.tokens, row->batch_sequences,
                        row->lr.text);
        append_unique(out, &counted);
        iso_str_append(out, "\n");
    }
}

void iso_paper_model_to_yaml(iso_str *out, const iso_paper_model *model) {
    const iso_paper_row *row = model->rows[0];
    iso_counts counts = iso_row_count(row, ISO_CONVENTION_PAPER);
    iso_str_appendf(out, "# %s: ", model->name);
    append_row_names(out, model);
    iso_str_append(out, ".\n# N = ");
    iso_figure_append_grouped(out, counts.params_nonvocab);
    if (row->shape.layer_layout != ISO_LAYOUT_DENSE) {
        iso_str_append(out, ", N_a = ");
        iso_figure_append_grouped(out, counts.params_active);
        iso_str_appendf(out, ", r_a = %.2f %%", 100 * counts.activation_rate);
    }
    iso_str_append(out, ". Written by `isomoe paper --configs`.\n");
    append_model_section(out, &row->shape);
    append_train_section(out, model);
    append_other_runs(out, model);
}

/* --- the README --- */

void iso_paper_models_readme(iso_str *out, const iso_paper_models *models) {
    iso_str_append(
        out,
        "# The paper's models\n\n"
        "A config for every model of Tables 5 to 17, as `isomoe train` and `isomoe count` take it; "
        "written by `isomoe paper --configs configs/paper`.\n"
        "Tokens, batch and learning rate are those of the printed run (of the scan at fixed "
        "compute "
        "where there are several; the others stand in the\n"
        "comments). Tables 5 to 8 do not say on how many tokens their models were trained. What "
        "the "
        "paper leaves open (balance coefficient, Adam's\n"
        "betas, initialisation, the micro-batch) is isomoe's. `data.dir` and the tokenizer are "
        "yours; "
        "`runs.csv` holds the paper's comparisons for\n"
        "`isomoe audit --table`. [docs/paper.md](../../docs/paper.md) has every figure beside the "
        "printed one.\n\n"
        "| config | N | r_a % | training FLOPs/token | tokens | rows |\n"
        "|---|---|---|---|---|---|\n");
    for (int64_t i = 0; i < models->n; i++) {
        const iso_paper_model *model = &models->items[i];
        iso_counts counts = iso_row_count(model->rows[0], ISO_CONVENTION_PAPER);
        iso_str_appendf(out, "| [%s](%s.yaml) | ", model->name, model->name);
        iso_figure_append_grouped(out, counts.params_nonvocab);
        iso_str_appendf(out, " | %.2f | ", 100 * counts.activation_rate);
        iso_figure_append_power(out, (double)counts.train_flops_per_token, 3);
        iso_str_append(out, " | ");
        if (model->main_run)
            iso_figure_append_power(out, (double)iso_row_recount(model->main_run).tokens, 3);
        iso_str_append(out, " | ");
        append_row_names(out, model);
        iso_str_append(out, " |\n");
    }
}
