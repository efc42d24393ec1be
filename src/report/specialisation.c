#include "report/specialisation.h"

#include "base/number.h"
#include "report/page.h"
#include "report/specialisation_figure.h"
#include "runs/route_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TABLE_LAYERS 3
#define EXPERTS_A_LAYER  6
#define PAIRS_A_LAYER    3 /* at either end */
#define DOT              " \xc2\xb7 "
#define DASH             "\xe2\x80\x93"

/* A run's record and what it says. */
typedef struct record {
    iso_route_file file;
    iso_routing_measures measures;
} record;

static void record_close(record *x) {
    iso_routing_measures_free(&x->measures);
    iso_route_file_release(&x->file);
}

/* *found is false, without an error, where the run has none. */
static iso_status record_open(record *out, bool *found, const char *run_dir) {
    *out = (record){0};
    ISO_TRY(iso_run_routing(&out->file, found, run_dir));
    if (!*found) return ISO_OK;
    iso_status status = iso_routing_measure(&out->measures, &out->file.counts);
    if (status != ISO_OK) {
        iso_route_file_release(&out->file);
        return iso_fail_context(status, "%s/" ISO_RUN_ROUTING, run_dir);
    }
    return ISO_OK;
}

/* --- numbers in cells --- */

static void cell(iso_str *out, double value, int decimals) {
    char number[ISO_NUMBER_BYTES];
    iso_page_cell(out, iso_number_fixed(number, value, decimals));
}

static void cell_percent(iso_str *out, double fraction) {
    char number[ISO_NUMBER_BYTES];
    int decimals = fraction < 0.001 ? 2 : fraction < 0.1;
    iso_page_cell(out, isnan(fraction) ? DASH : iso_number_percent(number, fraction, decimals));
}

static char *layer_name(const iso_routing_layer *layer) {
    return iso_strf("layer %lld", (long long)layer->layer + 1);
}

static void group_of_layer(iso_str *out, const iso_routing_layer *layer, int64_t n_columns) {
    char *text = layer_name(layer);
    iso_page_table_group(out, text, n_columns);
    free(text);
}

static const char *class_words(int64_t class) {
    static const char *const words[ISO_N_TOKEN_CLASSES] = {
        "document starts", "spaces", "line ends", "small letters",
        "capitals",        "digits", "signs",     "beyond ASCII"};
    return words[class];
}

/* --- the layers --- */

/* "0.212, 0.208": the information of one layer in the other seeds. */
static char *other_seeds(const record *others, int64_t n_others, int64_t i_layer) {
    iso_str text = {0};
    for (int64_t i = 0; i < n_others; i++) {
        if (i_layer >= others[i].measures.n_layers) continue;
        char number[ISO_NUMBER_BYTES];
        iso_str_appendf(
            &text, "%s%s", text.len > 0 ? ", " : "",
            iso_number_fixed(number, others[i].measures.layers[i_layer].domain_bits, 3));
    }
    return text.data ? text.data : iso_strf(DASH);
}

static void append_information(iso_str *out, const char *id, const char *label, const record *x,
                               const record *others, int64_t n_others) {
    static const char *const headers[] = {
        "Layer",           "By domain, bits", "Noise, bits",    "p",
        "Of the possible", "Other seeds",     "By token, bits", "By domain, token known"};
    const iso_routing_measures *m = &x->measures;
    double possible = m->n_compared > 1 ? log2((double)m->n_compared) : NAN;
    char *caption = iso_strf(
        "%s, step %lld: how much a choice of expert tells. By domain: mutual information of domain "
        "and expert; noise: its mean with documents dealt to the domains at random; p: how often "
        "that gives as much (0.0025: in none of 399 deals); of the possible: what is over noise, "
        "of log2 of the "
        "%lld domains. By token: the same of the class of the token read, noise not taken off.",
        label, (long long)x->file.step, (long long)m->n_compared);
    iso_page_table_open(out, id, caption, headers, sizeof headers / sizeof *headers, 1);
    free(caption);
    for (int64_t l = 0; l < m->n_layers; l++) {
        const iso_routing_layer *layer = &m->layers[l];
        char *heading = layer_name(layer), *seeds = other_seeds(others, n_others, l);
        iso_page_row_open(out, heading, NULL);
        cell(out, layer->domain_bits, 3);
        cell(out, layer->domain_noise_bits, 3);
        cell(out, layer->domain_p, 4);
        cell_percent(out, fmax(0, layer->domain_bits - layer->domain_noise_bits) / possible);
        iso_page_cell(out, seeds);
        cell(out, layer->class_bits, 3);
        cell(out, layer->domain_given_class_bits, 3);
        iso_page_row_close(out);
        free(seeds);
        free(heading);
    }
    iso_page_table_close(out);
}

static void append_balance(iso_str *out, const char *id, const char *label,
                           const iso_routing_measures *m) {
    static const char *const headers[] = {
        "Layer",          "Fullest, all domains",      "Fullest in one domain",
        "Load variation", "Router\xe2\x80\x99s doubt", "Pairs, bits"};
    char *caption = iso_strf(
        "%s: balance. Fullest: an expert\xe2\x80\x99s load over the fair share, domains weighing "
        "the "
        "same; load variation: standard deviation of load over its mean; doubt: entropy of the "
        "router\xe2\x80\x99s softmax, 1 = undecided; pairs: how far the pairs chosen are from "
        "choice "
        "without regard to each other.",
        label);
    iso_page_table_open(out, id, caption, headers, sizeof headers / sizeof *headers, 1);
    free(caption);
    for (int64_t l = 0; l < m->n_layers; l++) {
        const iso_routing_layer *layer = &m->layers[l];
        char *heading = layer_name(layer);
        iso_page_row_open(out, heading, NULL);
        cell(out, layer->max_over_mean, 2);
        cell(out, layer->max_over_mean_in_a_domain, 2);
        cell(out, layer->variation, 2);
        cell(out, layer->entropy, 2);
        cell(out, layer->together_bits, 3);
        iso_page_row_close(out);
        free(heading);
    }
    iso_page_table_close(out);
}

/* --- the experts --- */

/* The class that an expert reads most beyond its part of the text. */
static char *reads(const iso_routing_measures *m, const iso_routing_layer *layer, int64_t e) {
    int64_t best = -1;
    double most = 0;
    for (int64_t class = 0; class < ISO_N_TOKEN_CLASSES; class ++) {
        double excess = layer->class_share[class * m->E + e] - m->class_share[class];
        if (excess <= most) continue;
        most = excess;
        best = class;
    }
    if (best < 0) return iso_strf(DASH);
    char part[ISO_NUMBER_BYTES], of_text[ISO_NUMBER_BYTES];
    return iso_strf("%s: %s, of the text %s", class_words(best),
                    iso_number_percent(part, layer->class_share[best * m->E + e], 0),
                    iso_number_percent(of_text, m->class_share[best], 0));
}

static void append_expert(iso_str *out, const record *x, const iso_routing_layer *layer,
                          int64_t e) {
    const iso_routing_measures *m = &x->measures;
    int64_t home = layer->home[e];
    double ratio = layer->share[home * m->E + e] / layer->mean_share[e];
    char *heading = iso_strf("expert %lld", (long long)e + 1), *what = reads(m, layer, e);
    iso_page_row_open(out, heading, NULL);
    iso_page_cell_words(out, x->file.counts.domains[home]);
    iso_page_cell_words(out, what);
    cell_percent(out, ratio / (double)m->n_compared);
    cell(out, ratio, 2);
    cell(out, layer->mean_share[e] * (double)m->E, 2);
    cell(out, layer->mean_gate[e], 2);
    cell(out, layer->contribution[e], 4);
    iso_page_row_close(out);
    free(what);
    free(heading);
}

/* The expert that adds most to the layer's information after `e_before`; -1: none beyond noise. */
static int64_t next_expert(const iso_routing_measures *m, const iso_routing_layer *layer,
                           int64_t e_before) {
    int64_t best = -1;
    for (int64_t e = 0; e < m->E; e++) {
        double bits = layer->contribution[e];
        if (!(bits > layer->contribution_noise_95)) continue;
        if (e_before >= 0 && (bits > layer->contribution[e_before] ||
                              (bits == layer->contribution[e_before] && e <= e_before)))
            continue;
        if (best < 0 || bits > layer->contribution[best]) best = e;
    }
    return best;
}

static int64_t count_beyond_noise(const iso_routing_measures *m, const iso_routing_layer *layer) {
    int64_t n = 0;
    for (int64_t e = 0; e < m->E; e++) n += layer->contribution[e] > layer->contribution_noise_95;
    return n;
}

static void append_experts(iso_str *out, const char *id, const char *label, const record *x) {
    static const char *const headers[] = {
        "Expert", "Home", "Reads beyond its part", "There", "Ratio", "Load", "Mean gate", "Bits"};
    const int64_t n_headers = sizeof headers / sizeof *headers;
    const iso_routing_measures *m = &x->measures;
    int64_t layers[MAX_TABLE_LAYERS];
    int64_t n_layers = iso_specialisation_layers(layers, MAX_TABLE_LAYERS, m);
    if (m->n_compared < 2) return;
    char *caption = iso_strf(
        "%s: the experts that add most to the information about the domain, beyond what one expert "
        "of %lld reaches by chance in one of 20 deals of documents. There: part of its tokens from "
        "its home, domains weighing the same; ratio: to its mean part of all; load: over the fair "
        "share.",
        label, (long long)m->E);
    iso_page_table_open(out, id, caption, headers, n_headers, 3);
    free(caption);
    for (int64_t i = 0; i < n_layers; i++) {
        const iso_routing_layer *layer = &m->layers[layers[i]];
        char *text = iso_strf("layer %lld" DOT "%lld of %lld experts beyond chance",
                              (long long)layer->layer + 1, (long long)count_beyond_noise(m, layer),
                              (long long)m->E);
        iso_page_table_group(out, text, n_headers);
        free(text);
        int64_t e = next_expert(m, layer, -1);
        for (int64_t n = 0; e >= 0 && n < EXPERTS_A_LAYER; n++, e = next_expert(m, layer, e))
            append_expert(out, x, layer, e);
    }
    iso_page_table_close(out);
}

/* --- classes of tokens --- */

static void append_class(iso_str *out, const iso_routing_measures *m,
                         const iso_routing_layer *layer, int64_t class) {
    const double *of_expert = layer->class_share + class * m->E;
    int64_t best = 0;
    double in_class = m->class_share[class], E = (double)m->E;
    for (int64_t e = 1; e < m->E; e++)
        if (of_expert[e] * layer->mean_share[e] > of_expert[best] * layer->mean_share[best])
            best = e;
    char *who = iso_strf("expert %lld", (long long)best + 1);
    double taken = of_expert[best] * layer->mean_share[best] / in_class;
    iso_page_row_open(out, class_words(class), NULL);
    iso_page_cell_words(out, who);
    cell_percent(out, in_class);
    cell_percent(out, taken);
    cell(out, taken * E, 1);
    cell_percent(out, of_expert[best]);
    iso_page_row_close(out);
    free(who);
}

static void append_classes(iso_str *out, const char *id, const char *label,
                           const iso_routing_measures *m) {
    static const char *const headers[] = {"Token read",      "Its main expert",
                                          "Of the text",     "Of its choices go there",
                                          "Over fair share", "Of what the expert reads"};
    const int64_t n_headers = sizeof headers / sizeof *headers;
    int64_t layers[MAX_TABLE_LAYERS];
    int64_t n_layers = iso_specialisation_layers(layers, MAX_TABLE_LAYERS, m);
    char *caption =
        iso_strf("%s: for each class of token the expert that takes most of it.", label);
    iso_page_table_open(out, id, caption, headers, n_headers, 2);
    free(caption);
    for (int64_t i = 0; i < n_layers; i++) {
        group_of_layer(out, &m->layers[layers[i]], n_headers);
        for (int64_t class = 0; class < ISO_N_TOKEN_CLASSES; class ++)
            if (m->class_share[class] > 0) append_class(out, m, &m->layers[layers[i]], class);
    }
    iso_page_table_close(out);
}

/* --- pairs --- */

typedef struct pair {
    int64_t a, b;
    double together, expected, lift;
} pair;

static int falling_lift(const void *a, const void *b) {
    const pair *x = a, *y = b;
    if (x->lift != y->lift) return x->lift > y->lift ? -1 : 1;
    if (x->a != y->a) return x->a < y->a ? -1 : 1;
    return (x->b > y->b) - (x->b < y->b);
}

/* A layer's pairs with enough tokens, by falling lift. The caller frees them. */
static pair *list_pairs(int64_t *n, const iso_routing_measures *m, const iso_routing_layer *layer) {
    pair *pairs = calloc((size_t)m->n_pairs + 1, sizeof *pairs);
    ISO_ASSERT(pairs);
    *n = 0;
    for (int64_t a = 0, i = 0; a < m->E; a++)
        for (int64_t b = a + 1; b < m->E; b++, i++) {
            double expected = layer->together_expected[i];
            if (expected < ISO_PAIR_MIN_EXPECTED) continue;
            pairs[(*n)++] =
                (pair){a, b, layer->together[i], expected, layer->together[i] / expected};
        }
    qsort(pairs, (size_t)*n, sizeof *pairs, falling_lift);
    return pairs;
}

static void append_pair(iso_str *out, const record *x, const iso_routing_layer *layer,
                        const pair *p) {
    char **names = x->file.counts.domains;
    char *heading = iso_strf("%lld and %lld", (long long)p->a + 1, (long long)p->b + 1);
    char *homes = iso_strf("%s, %s", names[layer->home[p->a]], names[layer->home[p->b]]);
    iso_page_row_open(out, heading, NULL);
    iso_page_cell_words(out, homes);
    cell(out, p->together, 0);
    cell(out, p->expected, 0);
    cell(out, p->lift, 2);
    iso_page_row_close(out);
    free(homes);
    free(heading);
}

static void append_pairs(iso_str *out, const char *id, const char *label, const record *x) {
    static const char *const headers[] = {"Experts", "Homes", "Tokens", "Expected", "Ratio"};
    const int64_t n_headers = sizeof headers / sizeof *headers;
    const iso_routing_measures *m = &x->measures;
    int64_t layers[MAX_TABLE_LAYERS];
    int64_t n_layers = iso_specialisation_layers(layers, MAX_TABLE_LAYERS, m);
    if (m->n_pairs == 0) {
        iso_page_text(out, "soft",
                      m->K == 1 ? "One expert per token: none are chosen together."
                                : "Too many experts for pairs to be counted.");
        return;
    }
    char *caption = iso_strf("%s: pairs chosen together most and least often, against choice "
                             "without regard to each other.",
                             label);
    iso_page_table_open(out, id, caption, headers, n_headers, 2);
    free(caption);
    for (int64_t i = 0; i < n_layers; i++) {
        const iso_routing_layer *layer = &m->layers[layers[i]];
        int64_t n;
        pair *pairs = list_pairs(&n, m, layer);
        group_of_layer(out, layer, n_headers);
        for (int64_t j = 0; j < n; j++)
            if (j < PAIRS_A_LAYER || j >= n - PAIRS_A_LAYER) append_pair(out, x, layer, &pairs[j]);
        free(pairs);
    }
    iso_page_table_close(out);
}

/* --- the whole --- */

static void append_all(iso_str *out, const char *id, const char *label, const record *x,
                       const record *others, int64_t n_others) {
    static const char *const parts[] = {"strips",  "layers", "balance", "experts",
                                        "classes", "map",    "pairs"};
    enum { STRIPS, LAYERS, BALANCE, EXPERTS, CLASSES, MAP, PAIRS, N_IDS };
    char *ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) ids[i] = iso_strf("%s-%s", id, parts[i]);
    iso_figure_domain_strips(out, ids[STRIPS], label, &x->file.counts, &x->measures);
    append_information(out, ids[LAYERS], label, x, others, n_others);
    append_balance(out, ids[BALANCE], label, &x->measures);
    append_experts(out, ids[EXPERTS], label, x);
    append_classes(out, ids[CLASSES], label, &x->measures);
    iso_figure_together(out, ids[MAP], label, &x->measures);
    append_pairs(out, ids[PAIRS], label, x);
    for (int i = 0; i < N_IDS; i++) free(ids[i]);
}

iso_status iso_specialisation_append(iso_str *out, bool *shown, const char *id, const char *label,
                                     const char *const *run_dirs, int64_t n_run_dirs) {
    record *records = calloc((size_t)n_run_dirs + 1, sizeof *records);
    if (!records) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the records of routing");
    int64_t n = 0;
    bool is_first = false;
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n_run_dirs && status == ISO_OK; i++) {
        bool found;
        status = record_open(&records[n], &found, run_dirs[i]);
        if (i == 0) is_first = status == ISO_OK && found;
        n += status == ISO_OK && found;
    }
    *shown = status == ISO_OK && is_first;
    if (*shown) append_all(out, id, label, &records[0], records + 1, n - 1);
    for (int64_t i = 0; i < n; i++) record_close(&records[i]);
    free(records);
    return status;
}

/* --- CSV --- */

/* A field after RFC 4180. */
static char *csv_text(const char *text) {
    if (!text[strcspn(text, ",\"\r\n")]) return iso_strf("%s", text);
    iso_str out = {0};
    iso_str_append(&out, "\"");
    for (; *text; text++) {
        if (*text == '"') iso_str_append(&out, "\"");
        iso_str_append_bytes(&out, text, 1);
    }
    iso_str_append(&out, "\"");
    return out.data;
}

/* One row: `where` is "domain,class,expert,other", with what does not apply left out. */
static void csv_row(iso_str *out, const char *run, int64_t layer, const char *quantity,
                    const char *where, double value) {
    iso_str_appendf(out, "%s,%lld,%s,%s,", run, (long long)layer, quantity, where);
    if (!isnan(value)) iso_str_appendf(out, "%.17g", value);
    iso_str_append(out, "\n");
}

static void csv_layer(iso_str *out, const char *run, const iso_routing_measures *m,
                      const iso_routing_layer *layer) {
    const struct {
        const char *quantity;
        double value;
    } facts[] = {{"domain_bits", layer->domain_bits},
                 {"domain_noise_bits", layer->domain_noise_bits},
                 {"domain_p", layer->domain_p},
                 {"class_bits", layer->class_bits},
                 {"domain_given_class_bits", layer->domain_given_class_bits},
                 {"together_bits", layer->together_bits},
                 {"max_over_mean", layer->max_over_mean},
                 {"max_over_mean_in_a_domain", layer->max_over_mean_in_a_domain},
                 {"variation", layer->variation},
                 {"router_entropy", layer->entropy},
                 {"contribution_noise_95", layer->contribution_noise_95}};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        csv_row(out, run, layer->layer, facts[i].quantity, ",,,", facts[i].value);
    for (int64_t e = 0; e < m->E; e++) {
        char *where = iso_strf(",,%lld,", (long long)e);
        csv_row(out, run, layer->layer, "mean_share", where, layer->mean_share[e]);
        csv_row(out, run, layer->layer, "mean_gate", where, layer->mean_gate[e]);
        csv_row(out, run, layer->layer, "contribution_bits", where, layer->contribution[e]);
        free(where);
    }
}

static void csv_shares(iso_str *out, const char *run, const iso_route_counts *c,
                       const iso_routing_measures *m, const iso_routing_layer *layer) {
    for (int64_t d = 0; d < m->n_domains; d++)
        for (int64_t e = 0; e < m->E; e++) {
            char *where = iso_strf("%s,,%lld,", c->domains[d], (long long)e);
            csv_row(out, run, layer->layer, "share", where, layer->share[d * m->E + e]);
            free(where);
        }
    for (int64_t i = 0; i < ISO_N_TOKEN_CLASSES; i++)
        for (int64_t e = 0; e < m->E; e++) {
            char *where =
                iso_strf(",%s,%lld,", iso_token_class_name((iso_token_class)i), (long long)e);
            csv_row(out, run, layer->layer, "class_share", where, layer->class_share[i * m->E + e]);
            free(where);
        }
}

static void csv_pairs(iso_str *out, const char *run, const iso_routing_measures *m,
                      const iso_routing_layer *layer) {
    for (int64_t a = 0, i = 0; a < m->E && m->n_pairs > 0; a++)
        for (int64_t b = a + 1; b < m->E; b++, i++) {
            char *where = iso_strf(",,%lld,%lld", (long long)a, (long long)b);
            csv_row(out, run, layer->layer, "together", where, layer->together[i]);
            csv_row(out, run, layer->layer, "together_expected", where,
                    layer->together_expected[i]);
            free(where);
        }
}

void iso_specialisation_csv_header(iso_str *out) {
    iso_str_append(out, "run,layer,quantity,domain,class,expert,other,value\n");
}

iso_status iso_specialisation_csv_append(iso_str *out, const char *run_name, const char *run_dir) {
    record x;
    bool found;
    ISO_TRY(record_open(&x, &found, run_dir));
    char *run = csv_text(run_name);
    for (int64_t l = 0; found && l < x.measures.n_layers; l++) {
        const iso_routing_layer *layer = &x.measures.layers[l];
        csv_layer(out, run, &x.measures, layer);
        csv_shares(out, run, &x.file.counts, &x.measures, layer);
        csv_pairs(out, run, &x.measures, layer);
    }
    free(run);
    record_close(&x);
    return ISO_OK;
}
