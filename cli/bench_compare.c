/* bench_compare.c - two results of `isomoe bench --json` side by side: two revisions, two machines.
 *
 * Fractions of the peak of the moment are compared besides tokens per second: two runs were never
 * at the same time. Ranges that overlap prove nothing.
 */
#include "bench.h"

#include <string.h>

static iso_status load(json_t **out, const char *path) {
    json_t *results;
    const char *format;
    ISO_TRY(iso_json_load(out, path));
    if (iso_json_get_str(&format, *out, "format", path) != ISO_OK ||
        strcmp(format, "isomoe bench 1") != 0 ||
        iso_json_get_array(&results, *out, "results", path) != ISO_OK)
        return iso_fail(ISO_ERR_DATA, "%s: no result of `isomoe bench --json`", path);
    return ISO_OK;
}

typedef struct range {
    double median, min, max;
} range;

static iso_status get_range(range *out, const json_t *result, const char *key, const char *path) {
    json_t *object;
    ISO_TRY(iso_json_get_object(&object, result, key, path));
    ISO_TRY(iso_json_get_f64(&out->median, object, "median", path));
    ISO_TRY(iso_json_get_f64(&out->min, object, "min", path));
    ISO_TRY(iso_json_get_f64(&out->max, object, "max", path));
    if (out->min > 0 && out->min <= out->median && out->median <= out->max) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "%s: %s has no positive min <= median <= max", path, key);
}

/* What must be the same for two results to be of one thing. */
typedef struct subject {
    const char *shape, *precision;
    int64_t threads, micro_batch_size;
} subject;

static iso_status get_subject(subject *out, const json_t *result, const char *path) {
    ISO_TRY(iso_json_get_str(&out->shape, result, "shape", path));
    ISO_TRY(iso_json_get_str(&out->precision, result, "precision", path));
    ISO_TRY(iso_json_get_i64(&out->threads, result, "threads", path));
    return iso_json_get_i64(&out->micro_batch_size, result, "micro_batch_size", path);
}

static bool same_subject(const subject *a, const subject *b) {
    return strcmp(a->shape, b->shape) == 0 && strcmp(a->precision, b->precision) == 0 &&
           a->threads == b->threads && a->micro_batch_size == b->micro_batch_size;
}

static const char *apart(const range *a, const range *b) {
    if (b->min > a->max) return "faster";
    if (b->max < a->min) return "slower";
    return "ranges overlap";
}

typedef struct pair {
    const char *paths[2];
    json_t *files[2];
    json_t *rows;
} pair;

static json_t *range_json(const range *r) {
    return json_pack("{s:f, s:f, s:f}", "median", r->median, "min", r->min, "max", r->max);
}

static iso_status add_row(pair *p, const subject *what, const json_t *a, const json_t *b) {
    range rates[2], fractions[2];
    ISO_TRY(get_range(&rates[0], a, "tokens_per_s", p->paths[0]));
    ISO_TRY(get_range(&rates[1], b, "tokens_per_s", p->paths[1]));
    ISO_TRY(get_range(&fractions[0], a, "model_fraction", p->paths[0]));
    ISO_TRY(get_range(&fractions[1], b, "model_fraction", p->paths[1]));
    json_array_append_new(
        p->rows,
        json_pack("{s:s, s:s, s:I, s:o, s:o, s:f, s:o, s:o, s:f, s:s}", "shape", what->shape,
                  "precision", what->precision, "threads", (json_int_t)what->threads,
                  "tokens_per_s_a", range_json(&rates[0]), "tokens_per_s_b", range_json(&rates[1]),
                  "rate_ratio", rates[1].median / rates[0].median, "fraction_a",
                  range_json(&fractions[0]), "fraction_b", range_json(&fractions[1]),
                  "fraction_ratio", fractions[1].median / fractions[0].median, "verdict",
                  apart(&fractions[0], &fractions[1])));
    return ISO_OK;
}

/* For each result of A the one of B that is of the same. */
static iso_status match(pair *p) {
    size_t i, j;
    json_t *a, *b;
    json_array_foreach(json_object_get(p->files[0], "results"), i, a) {
        subject of_a, of_b;
        ISO_TRY(get_subject(&of_a, a, p->paths[0]));
        json_array_foreach(json_object_get(p->files[1], "results"), j, b) {
            ISO_TRY(get_subject(&of_b, b, p->paths[1]));
            if (same_subject(&of_a, &of_b)) ISO_TRY(add_row(p, &of_a, a, b));
        }
    }
    if (json_array_size(p->rows) > 0) return ISO_OK;
    return iso_fail(ISO_ERR_DATA,
                    "%s and %s have no shape, precision and number of threads in common",
                    p->paths[0], p->paths[1]);
}

static const char *member(const json_t *file, const char *key) {
    const char *text = json_string_value(json_object_get(file, key));
    return text ? text : "unknown";
}

static const char *cpu(const json_t *file) {
    return member(json_object_get(file, "machine"), "cpu");
}

static void print_table(const pair *p) {
    static const char *const headers[] = {
        "shape", "precision",  "threads",    "A: tokens/s", "B: tokens/s",
        "B/A",   "A: of peak", "B: of peak", "B/A",         "B by fraction"};
    cli_table table;
    size_t i;
    json_t *row;
    for (int f = 0; f < 2; f++)
        printf("%c: %s, commit %s, %s\n", 'A' + f, p->paths[f], member(p->files[f], "commit"),
               cpu(p->files[f]));
    cli_table_init(&table, headers, 10);
    json_array_foreach(p->rows, i, row) {
        cli_table_add(&table, member(row, "shape"));
        cli_table_add(&table, member(row, "precision"));
        cli_table_addf(&table, "%.0f", json_number_value(json_object_get(row, "threads")));
        for (int k = 0; k < 2; k++) {
            static const char *const sides[2][2] = {{"tokens_per_s_a", "tokens_per_s_b"},
                                                    {"fraction_a", "fraction_b"}};
            for (int f = 0; f < 2; f++) {
                const json_t *side = json_object_get(row, sides[k][f]);
                cli_table_addf(&table, "%.*f (%.*f to %.*f)", k ? 3 : 0,
                               json_number_value(json_object_get(side, "median")), k ? 3 : 0,
                               json_number_value(json_object_get(side, "min")), k ? 3 : 0,
                               json_number_value(json_object_get(side, "max")));
            }
            cli_table_addf(
                &table, "%.3f",
                json_number_value(json_object_get(row, k ? "fraction_ratio" : "rate_ratio")));
        }
        cli_table_add(&table, member(row, "verdict"));
    }
    printf("\n");
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    printf("\ntwo runs one after the other differ by what else the machine did; bench/revisions.sh "
           "times two\nrevisions in turn\n");
}

iso_status bench_compare(const char *path_a, const char *path_b, bool json) {
    pair p = {.paths = {path_a, path_b}, .rows = json_array()};
    iso_status status = load(&p.files[0], path_a);
    if (status == ISO_OK) status = load(&p.files[1], path_b);
    if (status == ISO_OK) status = match(&p);
    if (status == ISO_OK && strcmp(cpu(p.files[0]), cpu(p.files[1])) != 0)
        iso_log(ISO_LOG_WARN, "two machines: %s and %s", cpu(p.files[0]), cpu(p.files[1]));
    if (status == ISO_OK && json)
        status = cli_print_json(json_incref(p.rows), 6);
    else if (status == ISO_OK)
        print_table(&p);
    json_decref(p.rows);
    for (int f = 0; f < 2; f++) json_decref(p.files[f]);
    return status;
}
