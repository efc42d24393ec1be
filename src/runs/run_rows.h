/* run_rows.h - the names in metrics.jsonl and of the files of a run folder, for writer and reader.
 *
 * Not for others: they use run_folder.h.
 */
#ifndef ISO_RUNS_RUN_ROWS_H
#define ISO_RUNS_RUN_ROWS_H

#include "base/json.h"
#include "train/sink.h"

#include <stddef.h>

#define ISO_RUN_CONFIG     "config.yaml"
#define ISO_RUN_METRICS    "metrics.jsonl"
#define ISO_RUN_SUMMARY    "summary.json"
#define ISO_RUN_EVALUATION "evaluation.json"
#define ISO_RUN_LOCK       "lock"

#define ISO_RUN_EVALUATION_FORMAT 1
#define ISO_RUN_METRICS_MAX_BYTES (INT64_C(4) << 30)

/* A member of a step row; `offset` is that of the int64_t or double in iso_step_row. */
typedef struct iso_step_field {
    const char *key;
    size_t offset;
    bool is_integer;
    bool is_moe; /* only in rows of MoE models */
} iso_step_field;

extern const iso_step_field iso_step_fields[];
extern const int iso_n_step_fields;

typedef enum iso_row_kind {
    ISO_ROW_STEP,
    ISO_ROW_EVAL,
    ISO_ROW_ROUTER,
    ISO_ROW_REPLAY, /* a note of the writer: how many steps were done more than once */
    ISO_N_ROW_KINDS
} iso_row_kind;

/* What kind of row an object is and its step. ISO_ERR_DATA if it is none; `what` names the place.
 */
iso_status iso_row_identify(iso_row_kind *kind, int64_t *step, const json_t *row, const char *what);

/* The number in a replay row. */
iso_status iso_row_get_replayed(int64_t *n_steps, const json_t *row, const char *what);

#endif
