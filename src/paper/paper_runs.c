#include "paper/paper_runs.h"

#include "paper/recount.h"

/* The same model, trained in the same way on as much data: what a second run could not change. */
static bool is_same_run(const iso_paper_run *a, const iso_paper_run *b) {
    const iso_shape *x = &a->shape, *y = &b->shape;
    return x->layer_layout == y->layer_layout && x->hidden_size == y->hidden_size &&
           x->num_hidden_layers == y->num_hidden_layers &&
           x->num_attention_heads == y->num_attention_heads &&
           x->intermediate_size == y->intermediate_size && x->num_experts == y->num_experts &&
           x->num_experts_per_tok == y->num_experts_per_tok &&
           x->moe_intermediate_size == y->moe_intermediate_size &&
           x->shared_expert_intermediate_size == y->shared_expert_intermediate_size &&
           a->batch_sequences == b->batch_sequences && a->iterations == b->iterations &&
           a->lr == b->lr && a->unique_tokens == b->unique_tokens;
}

static void fill(iso_paper_run *run, const iso_paper_row *row) {
    iso_counts counts;
    iso_paper_recounted recounted;
    ISO_ASSERT(iso_count(&counts, &row->shape, ISO_CONVENTION_PAPER) == ISO_OK);
    iso_paper_recount(&recounted, row);
    *run = (iso_paper_run){
        .table = row->table,
        .row = row->row,
        .shape = row->shape,
        .is_dense = row->shape.layer_layout == ISO_LAYOUT_DENSE,
        .params = counts.params_nonvocab,
        .params_active = counts.params_active,
        .activation_rate = counts.activation_rate,
        .train_flops_per_token = counts.train_flops_per_token,
        .tokens = recounted.tokens,
        .unique_tokens = recounted.unique_tokens,
        .lr = row->lr.value,
        .lr_over_law = recounted.lr_over_law,
        .batch_sequences = row->batch_sequences,
        .batch_over_law = recounted.batch_over_law,
        .iterations = row->iterations,
        .bpc = row->bpc.value,
        .duplicate_of = -1,
    };
}

iso_status iso_paper_runs(iso_paper_run out[ISO_PAPER_N_RUNS]) {
    iso_paper *paper;
    ISO_TRY(iso_paper_create(&paper));
    int n = 0;
    for (int64_t i = 0; i < paper->n_rows; i++) {
        if (!paper->rows[i].is_run) continue;
        ISO_ASSERT(n < ISO_PAPER_N_RUNS);
        fill(&out[n], &paper->rows[i]);
        for (int j = 0; j < n && out[n].duplicate_of < 0; j++)
            if (is_same_run(&out[j], &out[n])) out[n].duplicate_of = j;
        n++;
    }
    ISO_ASSERT(n == ISO_PAPER_N_RUNS);
    iso_paper_free(paper);
    return ISO_OK;
}
