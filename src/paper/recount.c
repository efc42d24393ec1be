#include "paper/recount.h"

#include "arch/steplaw.h"

#include <math.h>

/* The last printed digit may be rounded either way from a figure on its edge. */
#define EDGE 1e-9

static iso_counts count_by(const iso_shape *shape, iso_paper_counting counting) {
    iso_counts counts;
    iso_convention convention =
        counting == ISO_PAPER_BY_PAPER ? ISO_CONVENTION_PAPER : ISO_CONVENTION_FULL;
    ISO_ASSERT(iso_count(&counts, shape, convention) == ISO_OK);
    return counts;
}

static int64_t forward_flops_by(const iso_shape *shape, iso_paper_counting counting) {
    iso_counts counts = count_by(shape, counting);
    if (counting == ISO_PAPER_BY_FULL_SOFTMAX)
        return counts.forward_flops_per_token -
               counts.components[ISO_COMPONENT_SOFTMAX].forward_flops;
    return counts.forward_flops_per_token;
}

static void recount_run(iso_paper_recounted *out, const iso_paper_row *row) {
    int64_t S = row->shape.max_position_embeddings;
    const iso_paper_figure *unique = &row->printed[ISO_PAPER_UNIQUE];
    const iso_paper_figure *tokens = &row->printed[ISO_PAPER_TOKENS];
    out->tokens = row->batch_sequences * row->iterations * S;
    /* Where D-hat alone is printed, it is half of D: the loose scheme, two epochs. */
    bool is_loose = unique->text[0] != '\0' && tokens->text[0] == '\0';
    out->unique_tokens = is_loose                  ? out->tokens / 2
                         : unique->text[0] != '\0' ? llround(unique->value)
                                                   : out->tokens;
    double N = (double)count_by(&row->shape, ISO_PAPER_BY_PAPER).params_nonvocab;
    double D = (double)out->tokens, printed_D = is_loose ? 2 * unique->value : tokens->value;
    double compute = 3.0 * (double)forward_flops_by(&row->shape, row->compute_by) * D;
    double divisor = row->rate_divisor > 0 ? row->rate_divisor : (double)out->params;
    out->lr_over_law = row->lr.value / iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, N, D);
    out->batch_over_law =
        (double)(row->batch_sequences * S) / iso_steplaw_batch_tokens(ISO_STEPLAW_UNROUNDED, D);
    out->values[ISO_PAPER_TOKENS] = D;
    out->values[ISO_PAPER_UNIQUE] = (double)out->unique_tokens;
    out->values[ISO_PAPER_EPOCHS] = D / (double)out->unique_tokens;
    out->values[ISO_PAPER_COMPUTE] = compute;
    out->values[ISO_PAPER_TOKENS_RATIO] = D / divisor;
    out->values[ISO_PAPER_ITERATIONS] = printed_D / (double)(row->batch_sequences * S);
}

/* What rounding allows: iterations follow from a D that is itself rounded. */
static double allowed(const iso_paper_row *row, iso_paper_column column, double recounted) {
    if (column != ISO_PAPER_ITERATIONS) return row->printed[column].half_unit;
    const iso_paper_figure *D = &row->printed[ISO_PAPER_TOKENS];
    if (D->text[0] == '\0') D = &row->printed[ISO_PAPER_UNIQUE];
    return recounted * D->half_unit / D->value;
}

static void compare(iso_paper_recounted *out, const iso_paper_row *row) {
    for (int c = 0; c < ISO_PAPER_N_COLUMNS; c++) {
        const iso_paper_figure *printed = &row->printed[c];
        out->errors_frac[c] = out->beyond_frac[c] = NAN;
        if (printed->text[0] == '\0') {
            out->values[c] = NAN;
            continue;
        }
        double half_unit = allowed(row, (iso_paper_column)c, out->values[c]) * (1 + EDGE);
        double beyond = fabs(out->values[c] - printed->value) - half_unit;
        out->errors_frac[c] = out->values[c] / printed->value - 1;
        out->beyond_frac[c] = beyond > 0 ? beyond / printed->value : 0;
    }
}

void iso_paper_recount(iso_paper_recounted *out, const iso_paper_row *row) {
    *out = (iso_paper_recounted){.lr_over_law = NAN, .batch_over_law = NAN};
    const iso_counts counts = count_by(&row->shape, row->params_by);
    iso_ratios ratios = iso_shape_ratios(&row->shape);
    out->params = counts.params_nonvocab;
    out->params_active = counts.params_active;
    out->flops = forward_flops_by(&row->shape, row->flops_by) * (row->is_training ? 3 : 1);
    out->zeta_moe = (double)row->shape.hidden_size / (double)(row->shape.num_hidden_layers - 1) + 1;
    out->values[ISO_PAPER_PARAMS] = (double)out->params;
    out->values[ISO_PAPER_ACTIVE] = (double)out->params_active;
    double N = row->rate_divisor > 0 ? row->rate_divisor : (double)out->params;
    double N_a =
        row->rate_of_printed ? row->printed[ISO_PAPER_ACTIVE].value : (double)out->params_active;
    out->values[ISO_PAPER_RATE] = 100 * N_a / N;
    out->values[ISO_PAPER_FLOPS] = (double)out->flops;
    out->values[ISO_PAPER_MU] = ratios.mu;
    out->values[ISO_PAPER_ZETA] = ratios.zeta;
    if (row->is_run) recount_run(out, row);
    compare(out, row);
}

iso_paper_column_error iso_paper_column_check(const iso_paper *paper, int table,
                                              iso_paper_column column) {
    iso_paper_column_error error = {0};
    int64_t n_rows;
    const iso_paper_row *rows = iso_paper_table(paper, table, &n_rows);
    int worst_error_row = 0, worst_beyond_row = 0;
    for (int64_t i = 0; i < n_rows; i++) {
        iso_paper_recounted recounted;
        iso_paper_recount(&recounted, &rows[i]);
        if (isnan(recounted.values[column])) continue;
        error.n_rows++;
        error.n_exact += recounted.beyond_frac[column] == 0;
        if (recounted.beyond_frac[column] > error.max_beyond_frac) {
            error.max_beyond_frac = recounted.beyond_frac[column];
            worst_beyond_row = rows[i].row;
        }
        if (fabs(recounted.errors_frac[column]) >= error.max_error_frac) {
            error.max_error_frac = fabs(recounted.errors_frac[column]);
            worst_error_row = rows[i].row;
        }
    }
    error.worst_row = worst_beyond_row > 0 ? worst_beyond_row : worst_error_row;
    return error;
}
