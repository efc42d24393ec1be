/* Reading never stops at the first fault: whoever has forty rows wants to hear of all of them at
 * once. So every function below appends to `faults` and goes on with what it has; only at the end
 * is a table with faults refused.
 *
 * A row that is well-formed but contradicts itself (a shape that does not make the N beside it) is
 * no fault of form: it becomes a problem of its record, as in a ledger, and the audit says so.
 */
#include "runs/run_table.h"

#include "arch/quantity.h"
#include "arch/steplaw.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A reported figure is rounded; two of one row that are farther apart contradict each other. */
#define AGREEMENT_FRAC 0.005

#define FAULTS_SHOWN_BYTES 1800

typedef enum column {
    COLUMN_COMPARISON,
    COLUMN_NAME,
    COLUMN_LAYOUT,
    COLUMN_VOCAB,
    COLUMN_FIRST_SIZE, /* the sizes of a shape, in the order of size_fields */
    COLUMN_PARAMS = COLUMN_FIRST_SIZE + 9,
    COLUMN_ACTIVE,
    COLUMN_FLOPS_PER_TOKEN,
    COLUMN_FLOPS,
    COLUMN_TOKENS,
    COLUMN_UNIQUE,
    COLUMN_BATCH,
    COLUMN_GROUP,
    COLUMN_LR,
    COLUMN_BPB,
    COLUMN_BPC,
    COLUMN_DATA_HASH,
    COLUMN_SUBSET_HASH,
    COLUMN_TOKENIZER_HASH,
    COLUMN_VALIDATION_HASH,
    COLUMN_PROFILE,
    N_COLUMNS
} column;

static const char *const column_names[N_COLUMNS] = {
    "comparison",
    "name",
    "layer_layout",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "params",
    "params_active",
    "train_flops_per_token",
    "train_flops",
    "tokens",
    "unique_tokens",
    "batch_tokens",
    "router_aux_group",
    "lr",
    "bpb",
    "bpc",
    "data_hash",
    "subset_hash",
    "tokenizer_hash",
    "validation_hash",
    "numeric_profile",
};

static const size_t size_fields[] = {
    offsetof(iso_shape, hidden_size),
    offsetof(iso_shape, num_hidden_layers),
    offsetof(iso_shape, num_attention_heads),
    offsetof(iso_shape, intermediate_size),
    offsetof(iso_shape, max_position_embeddings),
    offsetof(iso_shape, num_experts),
    offsetof(iso_shape, num_experts_per_tok),
    offsetof(iso_shape, moe_intermediate_size),
    offsetof(iso_shape, shared_expert_intermediate_size),
};
#define N_SIZES (sizeof size_fields / sizeof *size_fields)

typedef struct reader {
    iso_run_table *table;
    const char *what;
    iso_str faults;
    int64_t n_faults;
    int64_t at[N_COLUMNS]; /* where a column stands; -1 = absent */
    int64_t i_row;         /* of the CSV, the header being 0 */
} reader;

static void add_fault(reader *r, int64_t line, char *message) {
    iso_str_appendf(&r->faults, "%s%s:%" PRId64 ": %s", r->n_faults++ > 0 ? "\n" : "", r->what,
                    line, message);
    free(message);
}

/* --- cells --- */

static int64_t line_of(const reader *r) {
    return r->table->csv->rows[r->i_row].line;
}

/* NULL if the column is absent or the cell empty: the row does not say. */
static const char *cell(const reader *r, column c) {
    if (r->at[c] < 0) return NULL;
    const char *text = r->table->csv->rows[r->i_row].cells[r->at[c]];
    return *text ? text : NULL;
}

/* 0 = not said. "0" itself is allowed where a count may be none. */
static int64_t read_count(reader *r, column c, bool may_be_zero) {
    const char *text = cell(r, c);
    int64_t value = 0;
    if (!text || (may_be_zero && strcmp(text, "0") == 0)) return 0;
    if (iso_quantity_count(&value, column_names[c], text) != ISO_OK)
        add_fault(r, line_of(r), iso_strf("%s", iso_error_message()));
    return value;
}

/* NaN = not said. */
static double read_real(reader *r, column c) {
    const char *text = cell(r, c);
    double value;
    if (!text) return NAN;
    if (iso_str_to_f64(text, &value) && value > 0) return value;
    add_fault(r, line_of(r),
              iso_strf("%s `%.40s`: give a positive number such as 3.2e-3", column_names[c], text));
    return NAN;
}

/* Where a whole column is missing that every table has, the header's fault says it. */
static const char *required(reader *r, column c) {
    bool is_headers =
        r->at[c] < 0 && (c == COLUMN_NAME || c == COLUMN_TOKENS || c == COLUMN_UNIQUE);
    const char *text = cell(r, c);
    if (!text && !is_headers) add_fault(r, line_of(r), iso_strf("%s is missing", column_names[c]));
    return text;
}

/* --- the header --- */

static void place_column(reader *r, int64_t i_column) {
    const char *name = r->table->csv->rows[0].cells[i_column];
    int64_t line = r->table->csv->rows[0].line;
    for (int c = 0; c < N_COLUMNS; c++) {
        if (strcmp(name, column_names[c]) != 0) continue;
        if (r->at[c] >= 0) add_fault(r, line, iso_strf("the column %s stands there twice", name));
        r->at[c] = i_column;
        return;
    }
    const char *near = iso_str_nearest(name, column_names, N_COLUMNS);
    add_fault(r, line,
              near ? iso_strf("no column is called `%.40s`; did you mean %s?", name, near)
                   : iso_strf("no column is called `%.40s`; docs/formats.md lists them", name));
}

static void read_header(reader *r) {
    static const column always[] = {COLUMN_NAME, COLUMN_TOKENS, COLUMN_UNIQUE};
    const iso_csv_row *header = &r->table->csv->rows[0];
    for (int c = 0; c < N_COLUMNS; c++) r->at[c] = -1;
    for (int64_t i = 0; i < header->n_cells; i++) place_column(r, i);
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (r->at[always[i]] < 0)
            add_fault(r, header->line,
                      iso_strf("the column %s is missing", column_names[always[i]]));
    bool has_shape = r->at[COLUMN_FIRST_SIZE] >= 0;
    bool has_flops = r->at[COLUMN_FLOPS_PER_TOKEN] >= 0 || r->at[COLUMN_FLOPS] >= 0;
    if (!has_shape && (r->at[COLUMN_PARAMS] < 0 || !has_flops))
        add_fault(r, header->line,
                  iso_strf("give params and train_flops_per_token (or train_flops), or the shape: "
                           "layer_layout, hidden_size, ..."));
}

/* --- one row --- */

static bool agrees(double said, double made) {
    return fabs(said - made) <= AGREEMENT_FRAC * made;
}

/* A figure of the row against what the shape makes of it under any convention. */
static void check_said(iso_record *record, const char *name, double said, const double *made) {
    for (int i = 0; i < ISO_N_CONVENTIONS; i++)
        if (agrees(said, made[i])) return;
    iso_str_appendf(&record->problems, "inconsistent: %s is %.6g, the shape makes %.6g (%s)\n",
                    name, said, made[ISO_CONVENTION_PAPER],
                    iso_convention_name(ISO_CONVENTION_PAPER));
}

static void check_against_shape(reader *r, iso_record *record) {
    double N[ISO_N_CONVENTIONS], N_a[ISO_N_CONVENTIONS], M[ISO_N_CONVENTIONS], C[ISO_N_CONVENTIONS];
    for (int i = 0; i < ISO_N_CONVENTIONS; i++) {
        const iso_record_counts *counts = &record->counts[i];
        N[i] = (double)counts->params_nonvocab;
        N_a[i] = (double)counts->params_active;
        M[i] = (double)counts->train_flops_per_token;
        C[i] = M[i] * (double)record->tokens;
    }
    int64_t params = read_count(r, COLUMN_PARAMS, false);
    int64_t active = read_count(r, COLUMN_ACTIVE, false);
    int64_t flops = read_count(r, COLUMN_FLOPS_PER_TOKEN, false);
    double compute = read_real(r, COLUMN_FLOPS);
    if (params > 0) check_said(record, "params", (double)params, N);
    if (active > 0) check_said(record, "params_active", (double)active, N_a);
    if (flops > 0) check_said(record, "train_flops_per_token", (double)flops, M);
    if (!isnan(compute)) check_said(record, "train_flops", compute, C);
}

/* N, N_a and M counted from the shape, under every convention. */
static void count_shape(reader *r, iso_record *record) {
    iso_shape *shape = &record->config.model;
    const char *layout = required(r, COLUMN_LAYOUT);
    int64_t n_before = r->n_faults;
    *shape = iso_shape_default();
    if (layout && !iso_layout_from_name(&shape->layer_layout, layout))
        add_fault(r, line_of(r),
                  iso_strf("layer_layout `%.40s`: give dense, full, 1dense or interleave", layout));
    shape->vocab_size = read_count(r, COLUMN_VOCAB, false);
    for (size_t i = 0; i < N_SIZES; i++)
        *(int64_t *)((char *)shape + size_fields[i]) =
            read_count(r, (column)(COLUMN_FIRST_SIZE + i), true);
    iso_counts counts;
    for (int i = 0; i < ISO_N_CONVENTIONS && r->n_faults == n_before; i++) {
        if (iso_count(&counts, shape, (iso_convention)i) != ISO_OK) {
            add_fault(r, line_of(r), iso_strf("%s", iso_error_message()));
            break;
        }
        record->counts[i] = (iso_record_counts){counts.params_nonvocab, counts.params_active,
                                                counts.train_flops_per_token};
        record->params_total = counts.params_total;
    }
    record->is_dense = shape->layer_layout == ISO_LAYOUT_DENSE;
    check_against_shape(r, record);
}

/* N and M as the row says them, whatever was counted; the same under every convention. */
static void take_counts(reader *r, iso_record *record) {
    iso_record_counts said = {.params_nonvocab = read_count(r, COLUMN_PARAMS, false),
                              .params_active = read_count(r, COLUMN_ACTIVE, false),
                              .train_flops_per_token =
                                  read_count(r, COLUMN_FLOPS_PER_TOKEN, false)};
    double compute = read_real(r, COLUMN_FLOPS), tokens = (double)record->tokens;
    required(r, COLUMN_PARAMS);
    if (!cell(r, COLUMN_FLOPS_PER_TOKEN) && !cell(r, COLUMN_FLOPS))
        add_fault(r, line_of(r), iso_strf("give train_flops_per_token or train_flops"));
    if (said.train_flops_per_token > 0 && tokens > 0 && !isnan(compute) &&
        !agrees(compute, (double)said.train_flops_per_token * tokens))
        iso_str_appendf(&record->problems,
                        "inconsistent: train_flops is %.6g, train_flops_per_token x tokens make "
                        "%.6g\n",
                        compute, (double)said.train_flops_per_token * tokens);
    if (said.train_flops_per_token == 0 && tokens > 0 && !isnan(compute)) {
        double per_token = round(compute / tokens);
        if (per_token >= 1 && per_token <= (double)ISO_COUNT_MAX)
            said.train_flops_per_token = (int64_t)per_token;
        else
            add_fault(
                r, line_of(r),
                iso_strf("train_flops: %g over %g tokens is no count per token", compute, tokens));
    }
    if (said.params_active > said.params_nonvocab)
        add_fault(r, line_of(r), iso_strf("params_active is more than params"));
    record->is_dense = said.params_active > 0 && said.params_active == said.params_nonvocab;
    for (int i = 0; i < ISO_N_CONVENTIONS; i++) record->counts[i] = said;
}

static json_t *read_profile(reader *r) {
    const char *text = cell(r, COLUMN_PROFILE);
    return text ? json_pack("{s:s}", "profile", text) : NULL;
}

static void read_row(reader *r, iso_run *run, iso_record *record) {
    *record = (iso_record){.is_reported = true, .state = ""};
    *run = (iso_run){0};
    const char *name = required(r, COLUMN_NAME);
    required(r, COLUMN_TOKENS);
    required(r, COLUMN_UNIQUE);
    run->dir = iso_strf("%s:%" PRId64, r->what, line_of(r));
    run->name = iso_strf("%s", name ? name : "");
    record->tokens = read_count(r, COLUMN_TOKENS, false);
    record->unique_tokens = read_count(r, COLUMN_UNIQUE, false);
    if (record->unique_tokens > record->tokens && record->tokens > 0)
        iso_str_appendf(&record->problems, "inconsistent: more unique tokens than tokens\n");
    record->is_counted = cell(r, COLUMN_FIRST_SIZE) != NULL;
    if (record->is_counted)
        count_shape(r, record);
    else
        take_counts(r, record);
    record->batch_tokens = read_count(r, COLUMN_BATCH, false);
    record->steps = record->batch_tokens > 0 ? record->tokens / record->batch_tokens : 0;
    record->router_aux_group = read_count(r, COLUMN_GROUP, false);
    record->peak_lr = read_real(r, COLUMN_LR);
    record->bpb = read_real(r, COLUMN_BPB);
    record->bpc = read_real(r, COLUMN_BPC);
    record->data_hash = cell(r, COLUMN_DATA_HASH);
    record->subset_hash = cell(r, COLUMN_SUBSET_HASH);
    record->tokenizer_hash = cell(r, COLUMN_TOKENIZER_HASH);
    record->validation_hash = cell(r, COLUMN_VALIDATION_HASH);
    record->numeric_profile = read_profile(r);
    double N = (double)record->counts[ISO_CONVENTION_PAPER].params_nonvocab;
    double D = (double)record->tokens;
    record->lr_over_steplaw = record->batch_over_steplaw = NAN;
    if (N > 0 && D > 0)
        record->lr_over_steplaw = record->peak_lr / iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, N, D);
    if (record->batch_tokens > 0 && D > 0)
        record->batch_over_steplaw =
            (double)record->batch_tokens / iso_steplaw_batch_tokens(ISO_STEPLAW_UNROUNDED, D);
}

/* --- all rows, comparison by comparison --- */

static const char *group_name(const reader *r, int64_t i_row) {
    int64_t at = r->at[COLUMN_COMPARISON];
    return at < 0 ? "" : r->table->csv->rows[i_row].cells[at];
}

static bool is_ragged(const iso_csv *csv, int64_t i_row) {
    return csv->rows[i_row].n_cells != csv->rows[0].n_cells;
}

static void check_names(reader *r, const iso_run_group *group) {
    const iso_run_table *table = r->table;
    for (int64_t i = group->first + 1; i < table->n_rows; i++)
        for (int64_t j = group->first; j < i; j++)
            if (*table->runs[i].name && strcmp(table->runs[i].name, table->runs[j].name) == 0) {
                iso_str_appendf(&r->faults, "%s%s: the name %.60s stands twice in one comparison",
                                r->n_faults++ > 0 ? "\n" : "", table->runs[i].dir,
                                table->runs[i].name);
                break;
            }
}

/* All rows of the comparison that row i_first opens. */
static void read_group(reader *r, int64_t i_first) {
    iso_run_table *table = r->table;
    const iso_csv *csv = table->csv;
    iso_run_group *group = &table->groups[table->n_groups++];
    *group = (iso_run_group){.name = group_name(r, i_first), .first = table->n_rows};
    for (r->i_row = i_first; r->i_row < csv->n_rows; r->i_row++) {
        if (is_ragged(csv, r->i_row) || strcmp(group_name(r, r->i_row), group->name) != 0) continue;
        read_row(r, &table->runs[table->n_rows], &table->records[table->n_rows]);
        table->n_rows++;
    }
    group->n = table->n_rows - group->first;
    check_names(r, group);
    if (group->n < 2)
        add_fault(r, csv->rows[i_first].line,
                  *group->name
                      ? iso_strf("comparison %.60s has one run; an audit needs two", group->name)
                      : iso_strf("one run; an audit compares at least two"));
}

static bool opens_group(const reader *r, int64_t i_row) {
    for (int64_t i = 0; i < r->table->n_groups; i++)
        if (strcmp(r->table->groups[i].name, group_name(r, i_row)) == 0) return false;
    return true;
}

static void read_rows(reader *r) {
    const iso_csv *csv = r->table->csv;
    if (csv->n_rows < 2) add_fault(r, csv->rows[0].line, iso_strf("no runs below the header"));
    for (int64_t i = 1; i < csv->n_rows; i++) {
        if (is_ragged(csv, i))
            add_fault(r, csv->rows[i].line,
                      iso_strf("%" PRId64 " cells, the header has %" PRId64, csv->rows[i].n_cells,
                               csv->rows[0].n_cells));
        else if (opens_group(r, i))
            read_group(r, i);
    }
}

/* As many faults as a message holds, whole lines, and how many more there are. */
static iso_status fail_with_faults(const reader *r) {
    const char *text = r->faults.data;
    if (r->faults.len <= FAULTS_SHOWN_BYTES) return iso_fail(ISO_ERR_USAGE, "%s", text);
    size_t n_bytes = FAULTS_SHOWN_BYTES;
    int64_t n_shown = 0;
    while (n_bytes > 0 && text[n_bytes] != '\n') n_bytes--;
    for (size_t i = 0; i <= n_bytes; i++) n_shown += text[i] == '\n';
    return iso_fail(ISO_ERR_USAGE, "%.*s\n... and %" PRId64 " more", (int)n_bytes, text,
                    r->n_faults - n_shown);
}

/* Names and hashes go into JSON, which is UTF-8. */
static iso_status check_utf8(const char *text, int64_t n_bytes, const char *what) {
    json_t *probe = json_stringn(text, (size_t)n_bytes);
    if (!probe) return iso_fail(ISO_ERR_USAGE, "%s: the text is not UTF-8", what);
    json_decref(probe);
    return ISO_OK;
}

iso_status iso_run_table_parse(iso_run_table **out, const char *text, int64_t n_bytes,
                               const char *what) {
    *out = NULL;
    iso_run_table *table = calloc(1, sizeof *table);
    if (!table) return iso_fail(ISO_ERR_MEMORY, "no memory to read %s", what);
    iso_status status = check_utf8(text, n_bytes, what);
    if (status == ISO_OK) status = iso_csv_parse(&table->csv, text, n_bytes, what);
    if (status == ISO_OK) {
        size_t n_rows = (size_t)table->csv->n_rows;
        table->runs = calloc(n_rows, sizeof *table->runs);
        table->records = calloc(n_rows, sizeof *table->records);
        table->groups = calloc(n_rows, sizeof *table->groups);
        if (!table->runs || !table->records || !table->groups)
            status = iso_fail(ISO_ERR_MEMORY, "no memory to read %s", what);
    }
    if (status == ISO_OK) {
        reader r = {.table = table, .what = what};
        read_header(&r);
        read_rows(&r);
        if (r.n_faults > 0) status = fail_with_faults(&r);
        iso_str_release(&r.faults);
    }
    if (status == ISO_OK)
        *out = table;
    else
        iso_run_table_free(table);
    return status;
}

iso_status iso_run_table_load(iso_run_table **out, const char *path) {
    char *text;
    int64_t n_bytes;
    *out = NULL;
    if (!iso_path_exists(path)) return iso_fail(ISO_ERR_USAGE, "there is no table %s", path);
    ISO_TRY(iso_file_read(&text, &n_bytes, path, ISO_CSV_MAX_BYTES));
    iso_status status = iso_run_table_parse(out, text, n_bytes, path);
    free(text);
    return status;
}

void iso_run_table_free(iso_run_table *table) {
    if (!table) return;
    for (int64_t i = 0; i < table->n_rows; i++) {
        free(table->runs[i].dir);
        free(table->runs[i].name);
        json_decref((json_t *)table->records[i].numeric_profile);
        iso_record_release(&table->records[i]);
    }
    free(table->runs);
    free(table->records);
    free(table->groups);
    iso_csv_free(table->csv);
    free(table);
}
