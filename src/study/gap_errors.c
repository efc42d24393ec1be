/* Honest errors: everything is fitted anew without what it then predicts, x included. Some hundred
 * fits of a few dozen rows: milliseconds.
 */
#include "study/gap_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EQUAL_COMPUTE 0.05

/* What is measured minus what is predicted, in the fit and with something left out; NaN: no fit. */
typedef struct misses {
    double residual, loo, scale;
} misses;

typedef struct mean_square {
    double sum, squares;
    int64_t n;
} mean_square;

static void add(mean_square *to, double value) {
    if (isnan(value)) return;
    to->sum += value;
    to->squares += value * value;
    to->n++;
}

static double rms(const mean_square *of) {
    return of->n > 0 ? sqrt(of->squares / (double)of->n) : NAN;
}

static double mean(const mean_square *of) {
    return of->n > 0 ? of->sum / (double)of->n : NAN;
}

typedef struct tally {
    int64_t n_rows, n_pairs;
    mean_square bpc[3], gap[3];
} tally;

static void add_misses(mean_square to[3], misses of, double shift) {
    add(&to[0], of.residual + shift);
    add(&to[1], of.loo + shift);
    add(&to[2], of.scale + shift);
}

static void conclude(iso_gap_error *out, const tally *of) {
    out->n_rows = of->n_rows;
    out->n_pairs = of->n_pairs;
    out->bpc_residual = rms(&of->bpc[0]);
    out->bpc_loo = rms(&of->bpc[1]);
    out->bpc_scale = rms(&of->bpc[2]);
    out->gap_residual = rms(&of->gap[0]);
    out->gap_loo = rms(&of->gap[1]);
    out->gap_scale = rms(&of->gap[2]);
    out->gap_loo_bias = mean(&of->gap[1]);
    out->gap_scale_bias = mean(&of->gap[2]);
}

/* --- leaving out --- */

static double miss(const iso_gap_solution *of, const iso_gap_data *data, int64_t i) {
    return data->bpc[i] - iso_gap_solution_bpc(of, &data->points[i]);
}

static void fit_without_scales(iso_gap_law *law, bool *left_out) {
    const iso_gap_data *data = &law->data;
    for (int64_t s = 0; s < data->n_scales; s++) {
        for (int64_t i = 0; i < data->n; i++) left_out[i] = data->scale[i] == s;
        law->has_without[s] = iso_gap_solve(&law->without[s], data, left_out, &law->solution.form);
    }
}

static misses miss_alone(const iso_gap_law *law, bool *left_out, int64_t i) {
    const iso_gap_data *data = &law->data;
    iso_gap_solution fold;
    int64_t scale = data->scale[i];
    misses out = {miss(&law->solution, data, i), NAN, NAN};
    memset(left_out, 0, (size_t)data->n * sizeof *left_out);
    left_out[i] = true;
    if (iso_gap_solve(&fold, data, left_out, &law->solution.form)) out.loo = miss(&fold, data, i);
    if (law->has_without[scale]) out.scale = miss(&law->without[scale], data, i);
    return out;
}

/* What was predicted, of every row that is this configuration. */
static void keep_checks(iso_gap_law *law, int64_t i, misses of) {
    double bpc = law->data.bpc[i];
    for (int64_t r = 0; r < law->n_rows; r++)
        if (law->configuration[r] == i)
            law->fit.checks[r] = (iso_gap_check){bpc - of.residual, bpc - of.loo, bpc - of.scale};
}

static misses miss_pair(const iso_gap_law *law, bool *left_out, int64_t dense, int64_t moe) {
    const iso_gap_data *data = &law->data;
    const iso_gap_solution *all = &law->solution;
    iso_gap_solution fold;
    int64_t scale = data->scale[dense];
    misses out = {miss(all, data, dense) - miss(all, data, moe), NAN, NAN};
    memset(left_out, 0, (size_t)data->n * sizeof *left_out);
    left_out[moe] = left_out[dense] = true;
    bool is_solved = iso_gap_solve(&fold, data, left_out, &all->form);
    left_out[dense] = false;
    if (is_solved || iso_gap_solve(&fold, data, left_out, &all->form))
        out.loo = miss(&fold, data, dense) - miss(&fold, data, moe);
    if (law->has_without[scale]) {
        const iso_gap_solution *without = &law->without[scale];
        out.scale = miss(without, data, dense) - miss(without, data, moe);
    }
    return out;
}

/* --- sums by table, by scale, of all --- */

/* Tables in the order in which the rows name them; `table` gets each row's. */
static int64_t list_tables(iso_gap_error *tables, int64_t *table, const iso_gap_law *law) {
    int64_t n = 0;
    for (int64_t r = 0; r < law->n_rows; r++) {
        int64_t t = 0;
        while (t < n && strcmp(tables[t].name, law->rows[r].table) != 0) t++;
        if (t == n) memcpy(tables[n++].name, law->rows[r].table, ISO_GAP_NAME_BYTES);
        table[r] = t;
    }
    return n;
}

typedef struct sums {
    tally all, *scales, *tables;
    const int64_t *table;
} sums;

/* A configuration counts once in all and in its scale, and in a table for each row printed there,
 * with that row's own BPC. A pair's row is its MoE's. */
static void spread(sums *to, const iso_gap_law *law, int64_t i, misses of, bool of_pair) {
    tally *once[2] = {&to->all, &to->scales[law->data.scale[i]]};
    for (int k = 0; k < 2; k++) {
        *(of_pair ? &once[k]->n_pairs : &once[k]->n_rows) += 1;
        add_misses(of_pair ? once[k]->gap : once[k]->bpc, of, 0.0);
    }
    for (int64_t r = 0; r < law->n_rows; r++) {
        if (law->configuration[r] != i) continue;
        tally *table = &to->tables[to->table[r]];
        double shift = law->rows[r].bpc - law->data.bpc[i];
        *(of_pair ? &table->n_pairs : &table->n_rows) += 1;
        add_misses(of_pair ? table->gap : table->bpc, of, of_pair ? -shift : shift);
    }
}

static bool is_pair(const iso_gap_data *data, int64_t dense, int64_t moe) {
    const iso_gap_point *d = &data->points[dense], *m = &data->points[moe];
    return d->is_dense && !m->is_dense && data->scale[dense] == data->scale[moe] &&
           fabs(m->flops / d->flops - 1.0) <= EQUAL_COMPUTE;
}

static void name_scales(iso_gap_law *law) {
    const iso_gap_data *data = &law->data;
    for (int64_t s = 0; s < data->n_scales; s++) {
        double ln_sum = 0.0;
        int64_t n = 0;
        for (int64_t i = 0; i < data->n; i++)
            if (data->scale[i] == s) ln_sum += log(data->points[i].params), n++;
        char number[32];
        iso_str_count(number, exp(ln_sum / (double)n));
        memcpy(law->fit.scales[s].name, number, sizeof number);
    }
}

static void *zeroed(int64_t n, size_t item_bytes) {
    void *items = calloc((size_t)n + 1, item_bytes);
    ISO_ASSERT(items);
    return items;
}

void iso_gap_errors_measure(iso_gap_law *law) {
    const iso_gap_data *data = &law->data;
    iso_gap_fit *fit = &law->fit;
    bool *left_out = zeroed(data->n, sizeof *left_out);
    int64_t *table = zeroed(law->n_rows, sizeof *table);
    fit->tables = zeroed(law->n_rows, sizeof *fit->tables);
    fit->scales = zeroed(data->n_scales, sizeof *fit->scales);
    fit->checks = zeroed(law->n_rows, sizeof *fit->checks);
    law->without = zeroed(data->n_scales, sizeof *law->without);
    law->has_without = zeroed(data->n_scales, sizeof *law->has_without);
    fit->n_tables = list_tables(fit->tables, table, law);
    sums to = {.scales = zeroed(data->n_scales, sizeof(tally)),
               .tables = zeroed(fit->n_tables, sizeof(tally)),
               .table = table};
    fit_without_scales(law, left_out);
    for (int64_t i = 0; i < data->n; i++) {
        misses alone = miss_alone(law, left_out, i);
        keep_checks(law, i, alone);
        spread(&to, law, i, alone, false);
        for (int64_t d = 0; d < data->n; d++)
            if (is_pair(data, d, i)) spread(&to, law, i, miss_pair(law, left_out, d, i), true);
    }
    memcpy(fit->all.name, "all", sizeof "all");
    conclude(&fit->all, &to.all);
    name_scales(law);
    for (int64_t s = 0; s < data->n_scales; s++) conclude(&fit->scales[s], &to.scales[s]);
    for (int64_t t = 0; t < fit->n_tables; t++) conclude(&fit->tables[t], &to.tables[t]);
    free(to.scales);
    free(to.tables);
    free(table);
    free(left_out);
}
