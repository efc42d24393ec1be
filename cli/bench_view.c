/* bench_view.c - a bench's JSON as tables. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SCATTER_FRAC 0.20 /* peaks of a run that differ by more leave its fractions in doubt */

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static double part(const json_t *object, const char *key, const char *member) {
    return number(json_object_get(object, key), member);
}

static const char *text(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* The three operations that take most of the time: "linear_fwd 22 %, ...". */
static void biggest_parts(iso_str *out, const json_t *ops) {
    double below = 2;
    for (int n = 0; n < 3; n++) {
        const char *key, *best = NULL;
        json_t *value;
        double most = 0;
        json_object_foreach((json_t *)ops, key, value) {
            double share = number(value, "share");
            if (share < below && share > most) most = share, best = key;
        }
        if (!best) return;
        iso_str_appendf(out, "%s%s %.0f %%", n ? ", " : "", best, 100 * most);
        below = most;
    }
}

static void add_range(cli_table *table, const json_t *r, const char *key, int n_digits) {
    cli_table_addf(table, "%.*f (%.*f to %.*f)", n_digits, part(r, key, "median"), n_digits,
                   part(r, key, "min"), n_digits, part(r, key, "max"));
}

void bench_warn_of_scatter(const json_t *r) {
    double low = part(r, "peak_gflops", "min"), high = part(r, "peak_gflops", "max");
    if (low >= (1 - SCATTER_FRAC) * high) return;
    iso_log(ISO_LOG_WARN,
            "%s: the machine's peak moved between %.0f and %.0f GFLOP/s during the run: something "
            "else uses it; take the figures again when it is quiet",
            text(r, "shape"), low, high);
}

void bench_print_results(const json_t *file) {
    static const char *const headers[] = {"shape",         "precision", "threads",
                                          "tokens/s",      "model",     "executed",
                                          "peak, GFLOP/s", "memory",    "most of the time"};
    cli_table table;
    size_t i;
    json_t *r;
    cli_table_init(&table, headers, 9);
    json_array_foreach(json_object_get(file, "results"), i, r) {
        iso_str parts = {0};
        char bytes[32];
        biggest_parts(&parts, json_object_get(r, "ops"));
        cli_table_add(&table, text(r, "shape"));
        cli_table_add(&table, text(r, "precision"));
        cli_table_addf(&table, "%.0f", number(r, "threads"));
        add_range(&table, r, "tokens_per_s", 0);
        add_range(&table, r, "model_fraction", 3);
        cli_table_addf(&table, "%.3f", part(r, "executed_fraction", "median"));
        cli_table_addf(&table, "%.0f best, %.0f", number(r, "peak_best_gflops"),
                       part(r, "peak_gflops", "median"));
        cli_table_add(&table, iso_str_bytes(bytes, part(r, "memory", "peak_rss_bytes")));
        cli_table_add(&table, parts.data ? parts.data : "");
        iso_str_release(&parts);
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    printf(
        "\nmedians (slowest to fastest block); fractions of the precision's peak measured before "
        "and after\neach block; model FLOPs by the convention paper, the head apart\n");
}

typedef struct op_row {
    const char *name;
    const json_t *op;
} op_row;

static int by_share(const void *a, const void *b) {
    double x = number(((const op_row *)a)->op, "share"),
           y = number(((const op_row *)b)->op, "share");
    return (x < y) - (x > y);
}

static void add_op(cli_table *table, const op_row *row) {
    bool computes = number(row->op, "gflop_per_step") > 0;
    cli_table_add(table, row->name);
    cli_table_addf(table, "%.0f", number(row->op, "calls_per_step"));
    cli_table_addf(table, "%.2f", number(row->op, "ms_per_step"));
    cli_table_addf(table, "%.1f", 100 * number(row->op, "share"));
    if (computes) {
        cli_table_addf(table, "%.1f", number(row->op, "gflops"));
        cli_table_addf(table, "%.3f", number(row->op, "peak_fraction"));
    } else {
        cli_table_add(table, "");
        cli_table_add(table, "");
    }
    cli_table_addf(table, "%.1f", number(row->op, "mb_per_step"));
    cli_table_addf(table, "%.2f", number(row->op, "gb_s"));
    cli_table_addf(table, "%.3f", number(row->op, "bandwidth_fraction"));
}

static void print_ops(const json_t *r) {
    static const char *const headers[] = {"operation", "calls", "ms",   "% of step", "GFLOP/s",
                                          "of peak",   "MB",    "GB/s", "of memory"};
    op_row rows[ISO_OP_N] = {{0}};
    size_t n = 0;
    double rest = 1;
    const char *name;
    json_t *op;
    cli_table table;
    json_object_foreach(json_object_get(r, "ops"), name, op) {
        ISO_ASSERT(n < ISO_OP_N);
        rows[n++] = (op_row){name, op};
        rest -= number(op, "share");
    }
    qsort(rows, n, sizeof *rows, by_share);
    cli_table_init(&table, headers, 9);
    for (size_t i = 0; i < n; i++) add_op(&table, &rows[i]);
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    printf("outside of operations: %.1f %%; memory: read %.1f, triad %.1f, update %.1f GB/s\n",
           100 * rest, part(r, "bandwidth_gb_s", "read"), part(r, "bandwidth_gb_s", "triad"),
           part(r, "bandwidth_gb_s", "update"));
}

void bench_print_kernels(const json_t *file) {
    size_t i;
    json_t *r;
    json_array_foreach(json_object_get(file, "results"), i, r) {
        printf("\n%s, %s, %.0f threads: a step's operations; bytes are the least possible, each "
               "operand once\n\n",
               text(r, "shape"), text(r, "precision"), number(r, "threads"));
        print_ops(r);
    }
}
