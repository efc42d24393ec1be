/* count_side_by_side.c - several models in one table: a row for each fact, a column for each model.
 *
 * As many models stand in a table as 100 columns hold; further ones follow in a table of their own,
 * with the first, to which all are compared, in front again.
 */
#include "count_facts.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define TABLE_MODELS 4
#define CELL_BYTES   32

/* Writes what `facts` is under a row, of which there are several kinds by `of`; "-" for nothing. */
typedef void (*cell_fn)(char *out, const count_facts *facts, const count_facts *first, int of);

static void put_count(char *out, int64_t value) {
    if (value == 0)
        strcpy(out, "-");
    else
        snprintf(out, CELL_BYTES, "%" PRId64, value);
}

enum shape_row { LAYOUT, LAYERS, HIDDEN, EXPERTS, ZETA, GAMMA, ALPHA, MU, BETA };

static void shape_cell(char *out, const count_facts *facts, const count_facts *first, int of) {
    const iso_shape *s = &facts->config.model;
    const iso_ratios *r = &facts->ratios;
    const double ratios[] = {
        [ZETA] = r->zeta, [GAMMA] = r->gamma, [ALPHA] = r->alpha, [MU] = r->mu, [BETA] = r->beta};
    switch ((enum shape_row)of) {
    case LAYOUT:
        snprintf(out, CELL_BYTES, "%s", iso_layout_name(s->layer_layout));
        return;
    case LAYERS:
        put_count(out, s->num_hidden_layers);
        return;
    case HIDDEN:
        put_count(out, s->hidden_size);
        return;
    case EXPERTS:
        strcpy(out, "-");
        if (s->num_experts > 0)
            snprintf(out, CELL_BYTES, "%" PRId64 " of %" PRId64, s->num_experts_per_tok,
                     s->num_experts);
        return;
    default:
        snprintf(out, CELL_BYTES, ratios[of] > 0 ? "%.3g" : "-", ratios[of]);
    }
}

enum total_row { N_ALL, N_COUNTED, N_ACTIVE, RATE, FLOPS };

static void total_cell(char *out, const count_facts *facts, const count_facts *first, int of) {
    const iso_counts *c = &facts->counts;
    const int64_t totals[] = {[N_ALL] = c->params_total,
                              [N_COUNTED] = c->params_nonvocab,
                              [N_ACTIVE] = c->params_active,
                              [RATE] = 0,
                              [FLOPS] = c->train_flops_per_token};
    if (of == RATE)
        snprintf(out, CELL_BYTES, "%.2f %%", 100 * c->activation_rate);
    else
        put_count(out, totals[of]);
}

/* Training, that is three times the forward FLOPs (count.h, I1), so that the column adds up to the
 * total above it. */
static void flops_cell(char *out, const count_facts *facts, const count_facts *first, int of) {
    put_count(out, 3 * facts->counts.components[of].forward_flops);
}

static void params_cell(char *out, const count_facts *facts, const count_facts *first, int of) {
    put_count(out, facts->counts.components[of].params);
}

enum estimate_row { BY_LAYERS, ALL_ALIKE };

static void estimate_cell(char *out, const count_facts *facts, const count_facts *first, int of) {
    strcpy(out, "-");
    if (of < facts->n_estimates)
        snprintf(out, CELL_BYTES, "%.0f", facts->estimates[of].train_flops);
}

enum relative_row { N_AGAINST, R_EXACT, R_EQUATION, R_PRINTED };

static void relative_cell(char *out, const count_facts *facts, const count_facts *first, int of) {
    count_relative r;
    strcpy(out, "-");
    if (facts == first) return;
    double N = (double)facts->counts.params_nonvocab, N_1 = (double)first->counts.params_nonvocab;
    double M = (double)facts->counts.train_flops_per_token;
    /* Equation 10 is about equal N; a factor of 1.05 leaves every pair of the paper in. */
    bool is_equal = N < 1.05 * N_1 && N_1 < 1.05 * N;
    bool has_equation = is_equal && count_relative_compute(&r, facts, first);
    char times[CELL_BYTES];
    if (of == N_AGAINST && N < 10 * N_1)
        snprintf(out, CELL_BYTES, "%+.3f %%", 100 * (N / N_1 - 1));
    else if (of == N_AGAINST)
        snprintf(out, CELL_BYTES, "%s times", iso_str_count(times, N / N_1));
    else if (of == R_EXACT)
        snprintf(out, CELL_BYTES, "%.4f", M / (double)first->counts.train_flops_per_token);
    else if (has_equation)
        snprintf(out, CELL_BYTES, "%.4f", of == R_EQUATION ? r.equation_10 : r.printed);
}

enum memory_row {
    STATE_32,
    STATE_16,
    HERE_STATE,
    HERE_ACTS,
    HERE_SCRATCH,
    HERE_SUM,
    WEIGHTS_16,
    TOUCHED_16,
    KV_16 = TOUCHED_16 + COUNT_N_BATCHES,
    KV_S_16
};

static void memory_cell(char *out, const count_facts *facts, const count_facts *first, int of) {
    const iso_dry_run *run = &facts->run;
    double touched =
        of >= TOUCHED_16 && of < KV_16 ? facts->touched[ISO_FORMAT_BF16][of - TOUCHED_16] : 0;
    const double values[] = {
        [STATE_32] = (double)facts->state[ISO_FORMAT_FP32].sum,
        [STATE_16] = (double)facts->state[ISO_FORMAT_BF16].sum,
        [HERE_STATE] = (double)(run->sum_bytes - run->model.activations - run->model.scratch),
        [HERE_ACTS] = (double)run->model.activations,
        [HERE_SCRATCH] = (double)run->model.scratch,
        [HERE_SUM] = (double)run->sum_bytes,
        [WEIGHTS_16] = (double)facts->state[ISO_FORMAT_BF16].weights,
        [TOUCHED_16] = touched,
        [TOUCHED_16 + 1] = touched,
        [TOUCHED_16 + 2] = touched,
        [KV_16] = (double)facts->kv_token[ISO_FORMAT_BF16],
        [KV_S_16] = (double)facts->kv_context[ISO_FORMAT_BF16],
    };
    char text[CELL_BYTES];
    snprintf(out, CELL_BYTES, "%s", values[of] > 0 ? iso_str_bytes(text, values[of]) : "-");
}

/* What the activations below it are for. */
static void micro_batch_cell(char *out, const count_facts *facts, const count_facts *first,
                             int of) {
    strcpy(out, "-");
    if (!facts->has_run) return;
    snprintf(out, CELL_BYTES, "%" PRId64 "%s", facts->run.micro_batch_size,
             count_is_whole_batch(facts) ? ", all" : "");
}

/* A row without a function heads those that follow. */
static const struct {
    const char *label;
    cell_fn cell;
    int of;
} rows[] = {
    {"layout", shape_cell, LAYOUT},
    {"layers L", shape_cell, LAYERS},
    {"hidden size H", shape_cell, HIDDEN},
    {"experts, K of E", shape_cell, EXPERTS},
    {"zeta = H/L", shape_cell, ZETA},
    {"gamma = S/H", shape_cell, GAMMA},
    {"alpha = F/H", shape_cell, ALPHA},
    {"mu = experts/H", shape_cell, MU},
    {"beta = active experts/H", shape_cell, BETA},
    {"parameters", NULL, 0},
    {"  all", total_cell, N_ALL},
    {"  N", total_cell, N_COUNTED},
    {"    against the first", relative_cell, N_AGAINST},
    {"    attention", params_cell, ISO_COMPONENT_ATTENTION},
    {"    ffn_dense", params_cell, ISO_COMPONENT_FFN_DENSE},
    {"    ffn_routed", params_cell, ISO_COMPONENT_FFN_ROUTED},
    {"    ffn_shared", params_cell, ISO_COMPONENT_FFN_SHARED},
    {"    router", params_cell, ISO_COMPONENT_ROUTER},
    {"    norm", params_cell, ISO_COMPONENT_NORM},
    {"  N_a, active", total_cell, N_ACTIVE},
    {"  r_a = N_a/N", total_cell, RATE},
    {"training FLOPs per token", NULL, 0},
    {"  M", total_cell, FLOPS},
    {"    attention", flops_cell, ISO_COMPONENT_ATTENTION},
    {"    attention_scores", flops_cell, ISO_COMPONENT_ATTENTION_SCORES},
    {"    softmax", flops_cell, ISO_COMPONENT_SOFTMAX},
    {"    ffn_dense", flops_cell, ISO_COMPONENT_FFN_DENSE},
    {"    ffn_routed", flops_cell, ISO_COMPONENT_FFN_ROUTED},
    {"    ffn_shared", flops_cell, ISO_COMPONENT_FFN_SHARED},
    {"    router", flops_cell, ISO_COMPONENT_ROUTER},
    {"    head", flops_cell, ISO_COMPONENT_HEAD},
    {"  M by equations 1-6", estimate_cell, BY_LAYERS},
    {"  M by equations 7-9", estimate_cell, ALL_ALIKE},
    {"  R_c = M / M of the first", relative_cell, R_EXACT},
    {"    by equation 10, corrected", relative_cell, R_EQUATION},
    {"    by equation 10, as printed", relative_cell, R_PRINTED},
    {"bytes in training", NULL, 0},
    {"  weights to moments, fp32", memory_cell, STATE_32},
    {"  weights to moments, bf16", memory_cell, STATE_16},
    {"  here: weights to moments", memory_cell, HERE_STATE},
    {"  here: sequences at once", micro_batch_cell, 0},
    {"  here: activations", memory_cell, HERE_ACTS},
    {"  here: scratch", memory_cell, HERE_SCRATCH},
    {"  here: sum", memory_cell, HERE_SUM},
    {"bytes in inference, bf16", NULL, 0},
    {"  weights, all resident", memory_cell, WEIGHTS_16},
    {"  read per token, batch 1", memory_cell, TOUCHED_16},
    {"  read per token, batch 32", memory_cell, TOUCHED_16 + 1},
    {"  read per token, batch 1024", memory_cell, TOUCHED_16 + 2},
    {"  KV cache of a token", memory_cell, KV_16},
    {"  KV cache of S tokens", memory_cell, KV_S_16},
};

/* configs/paper/moe_2b.yaml -> moe_2b; long names lose their beginning. */
static void put_label(char *out, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    int n = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    int most = 16, skip = n > most ? n - most : 0;
    snprintf(out, CELL_BYTES, "%.*s", n - skip, name + skip);
}

static void add_row(cli_table *table, size_t i_row, const count_facts *const *models, int64_t n) {
    char cells[TABLE_MODELS][CELL_BYTES] = {{0}};
    bool is_empty = rows[i_row].cell != NULL;
    for (int64_t i = 0; i < n && rows[i_row].cell; i++) {
        rows[i_row].cell(cells[i], models[i], models[0], rows[i_row].of);
        is_empty = is_empty && strcmp(cells[i], "-") == 0;
    }
    if (is_empty) return;
    cli_table_add(table, rows[i_row].label);
    for (int64_t i = 0; i < n; i++) cli_table_add(table, cells[i]);
}

static void print_table(const count_facts *const *models, int64_t n) {
    char labels[TABLE_MODELS][CELL_BYTES];
    const char *headers[1 + TABLE_MODELS] = {"model"};
    for (int64_t i = 0; i < n; i++) {
        put_label(labels[i], models[i]->path);
        headers[1 + i] = labels[i];
    }
    cli_table table;
    cli_table_init(&table, headers, 1 + n);
    table.figures = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) add_row(&table, i, models, n);
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

void count_side_by_side(const count_facts *facts, int64_t n) {
    const iso_convention convention = facts->counts.convention;
    printf("convention %s: %s\n\n", iso_convention_name(convention),
           count_convention_meaning(convention));
    for (int64_t next = 1; next < n;) {
        const count_facts *models[TABLE_MODELS] = {&facts[0]};
        int64_t n_models = 1;
        while (next < n && n_models < TABLE_MODELS) models[n_models++] = &facts[next++];
        print_table(models, n_models);
        printf("\n");
    }
    printf("Here: what isomoe train allocates in fp32 on %" PRId64 " threads, activations for\n",
           facts->run.n_threads);
    for (int64_t i = 0; i < n; i++) {
        char label[CELL_BYTES];
        put_label(label, facts[i].path);
        if (facts[i].has_run)
            printf("  %s: %" PRId64 " x %" PRId64 " tokens%s\n", label,
                   facts[i].run.micro_batch_size, facts[i].config.model.max_position_embeddings,
                   count_micro_batch_note(&facts[i]));
        else
            printf("  %s: nothing. %s\n", label, facts[i].no_run);
    }
    printf("The paper's equations leave out router, norms, softmax and vocabulary; 7-10 also take "
           "every\nlayer of an MoE for an MoE layer. Read per token: weights, experts chosen "
           "by at least\none token of the batch, routing balanced; no KV cache.\n");
}
