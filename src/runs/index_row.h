/* index_row.h - what the run index keeps of one run folder, read and thinned; knows no SQL.
 *
 * Not for others: they use run_index.h.
 *
 * (I1) reading never fails: a folder that cannot be read is a row with state "unreadable" and the
 *      reason;
 * (I2) a row depends on the run's files, path and place alone: the root's own name is in no field.
 */
#ifndef ISO_RUNS_INDEX_ROW_H
#define ISO_RUNS_INDEX_ROW_H

#include "runs/run_folder.h"
#include "runs/run_record.h"
#include "runs/run_tree.h"

#include <stddef.h>

#define ISO_INDEX_CURVE_POINTS 200

/* "Not said", NULL in SQL; of reals NaN, of texts NULL. */
#define ISO_INDEX_NONE INT64_MIN

/* The table `runs`, in its order; iso_index_columns has the names. */
typedef struct iso_index_row {
    int64_t run_id;
    const char *path, *name, *study, *side;
    int64_t seed, is_dense;
    const char *state, *message, *problems, *version, *numeric_profile;
    int64_t params_total, params_nonvocab, params_active;
    double activation_rate;
    int64_t train_flops_per_token;
    double train_flops;
    int64_t tokens, unique_tokens;
    double epochs;
    int64_t steps, planned_steps, replayed_steps, skipped_steps;
    double lr, lr_multiplier, lr_over_steplaw;
    int64_t batch, batch_tokens;
    double batch_over_steplaw;
    double loss; /* of the last step */
    int64_t eval_step;
    double eval_bpb, eval_bpc; /* headline of the last evaluation row */
    double bpb, bpc;           /* of the final one */
    double wall_s, tokens_per_s, mfu;
    int64_t data_seed, vocab_size, hidden_size, num_hidden_layers, num_attention_heads,
        intermediate_size, max_position_embeddings;
    const char *layer_layout;
    int64_t num_experts, num_experts_per_tok, moe_intermediate_size,
        shared_expert_intermediate_size, norm_topk_prob;
    double router_aux_loss_coef;
    int64_t router_aux_group;
    const char *config_hash, *data_hash, *subset_hash, *batch_hash, *tokenizer_hash,
        *validation_hash;
    int64_t changed_s;
    const char *signature;

    /* What the child tables are made from; there only if is_readable. */
    bool is_readable;
    iso_run run;
    iso_record record;
    char config_hash_hex[ISO_SHA256_HEX_BYTES];
    char *texts[5]; /* owned: study, side, message, problems, profile */
} iso_index_row;

typedef enum iso_index_type { ISO_INDEX_INTEGER, ISO_INDEX_REAL, ISO_INDEX_TEXT } iso_index_type;

typedef struct iso_index_column {
    const char *name;
    size_t offset;
    iso_index_type type;
} iso_index_column;

extern const iso_index_column iso_index_columns[];
extern const int iso_n_index_columns;

/* `place` must outlive the row. */
void iso_index_row_read(iso_index_row *out, const char *root, const iso_run_place *place);
void iso_index_row_release(iso_index_row *row);

/* The curve's points: all rows up to ISO_INDEX_CURVE_POINTS of them, else the first, the last and
 * the others evenly between. n_points = min(n_rows, ISO_INDEX_CURVE_POINTS); i_point < n_points. */
int64_t iso_index_curve_row(int64_t i_point, int64_t n_points, int64_t n_rows);

#endif
