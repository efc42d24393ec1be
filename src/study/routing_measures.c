/* routing_measures.c - plug-in estimates from shares, and deals of documents for their noise.
 *
 * A deal permutes the labels of blocks and takes the information again from the blocks' loads: E
 * additions per block, so some hundred deals cost less than reading the file.
 */
#include "study/routing_measures.h"

#include "base/rng.h"
#include "data/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEAL_SEED      0
#define FIT_ITERATIONS 500
#define FIT_TOLERANCE  1e-9

/* --- memory --- */

/* n zeroed reals or integers of 8 bytes, and clears *has_all if there are none to be had. */
static void *take(bool *has_all, int64_t n) {
    void *out = calloc((size_t)n + 1, sizeof(double));
    *has_all &= out != NULL;
    return out;
}

static bool layer_alloc(iso_routing_layer *out, const iso_route_counts *c) {
    bool has_all = true;
    out->share = take(&has_all, c->n_domains * c->E);
    out->mean_share = take(&has_all, c->E);
    out->mean_gate = take(&has_all, c->E);
    out->class_share = take(&has_all, ISO_N_TOKEN_CLASSES * c->E);
    out->contribution = take(&has_all, c->E);
    out->home = take(&has_all, c->E);
    out->order = take(&has_all, c->E);
    out->together = take(&has_all, c->n_pairs);
    out->together_expected = take(&has_all, c->n_pairs);
    return has_all;
}

void iso_routing_measures_free(iso_routing_measures *measures) {
    for (int64_t l = 0; measures->layers && l < measures->n_layers; l++) {
        iso_routing_layer *layer = &measures->layers[l];
        free(layer->share);
        free(layer->mean_share);
        free(layer->mean_gate);
        free(layer->class_share);
        free(layer->contribution);
        free(layer->home);
        free(layer->order);
        free(layer->together);
        free(layer->together_expected);
    }
    free(measures->layers);
    free(measures->is_compared);
    free(measures->class_share);
    *measures = (iso_routing_measures){0};
}

/* --- which domains --- */

static int64_t tokens_of(const iso_route_counts *c, int64_t domain) {
    int64_t n = 0;
    for (int i = 0; i < ISO_N_TOKEN_CLASSES; i++) n += c->tokens[domain * ISO_N_TOKEN_CLASSES + i];
    return n;
}

/* The largest mean block of a domain, in tokens. */
static double block_tokens(const iso_route_counts *c) {
    double most = 0;
    for (int64_t d = 0; d < c->n_domains; d++) {
        int64_t n_blocks = 0;
        for (int64_t b = 0; b < c->n_blocks; b++) n_blocks += c->block_domain[b] == d;
        if (n_blocks > 0) most = fmax(most, (double)tokens_of(c, d) / (double)n_blocks);
    }
    return most;
}

static iso_status choose_domains(iso_routing_measures *out, const iso_route_counts *c) {
    double least = block_tokens(c) / 2;
    for (int pass = 0; pass < 2 && out->n_compared == 0; pass++)
        for (int64_t d = 0; d < c->n_domains; d++) {
            bool is_named = strcmp(c->domains[d], ISO_HOLDOUT) != 0;
            int64_t n = tokens_of(c, d);
            out->is_compared[d] = n > 0 && (pass > 0 || (is_named && (double)n >= least));
            out->n_compared += out->is_compared[d];
        }
    if (out->n_compared > 0) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "the record of routing holds no tokens");
}

/* --- information --- */

static double x_log2(double x, double ratio) {
    return x > 0 ? x * log2(ratio) : 0;
}

/* I(domain; expert) of n_rows shares (n_rows,E), which weigh the same; each expert's part goes to
 * contribution (E), the mean share to mean (E). */
static double information(double *contribution, double *mean, const double *const *rows,
                          int64_t n_rows, int64_t E) {
    double sum = 0;
    for (int64_t e = 0; e < E; e++) {
        mean[e] = contribution[e] = 0;
        for (int64_t d = 0; d < n_rows; d++) mean[e] += rows[d][e] / (double)n_rows;
        for (int64_t d = 0; d < n_rows; d++)
            contribution[e] += x_log2(rows[d][e], rows[d][e] / mean[e]) / (double)n_rows;
        sum += contribution[e];
    }
    return sum;
}

static double largest(const double *values, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, values[i]);
    return most;
}

static void fill_shares(iso_routing_layer *out, const iso_route_counts *c, int64_t i_layer) {
    for (int64_t d = 0; d < c->n_domains; d++) {
        const int64_t *load = c->load + (d * c->n_layers + i_layer) * ISO_N_TOKEN_CLASSES * c->E;
        double n = (double)(tokens_of(c, d) * c->K);
        for (int64_t e = 0; e < c->E && n > 0; e++) {
            int64_t sum = 0;
            for (int i = 0; i < ISO_N_TOKEN_CLASSES; i++) sum += load[i * c->E + e];
            out->share[d * c->E + e] = (double)sum / n;
        }
    }
}

/* The shares of the domains compared; returns how many. */
static int64_t compared_rows(const double **rows, const iso_routing_measures *m,
                             const iso_routing_layer *layer) {
    int64_t n = 0;
    for (int64_t d = 0; d < m->n_domains; d++)
        if (m->is_compared[d]) rows[n++] = layer->share + d * m->E;
    return n;
}

static void measure_balance(iso_routing_layer *out, const iso_routing_measures *m,
                            const iso_route_counts *c, int64_t i_layer) {
    double squares = 0, nats = 0, E = (double)m->E;
    out->max_over_mean = largest(out->mean_share, m->E) * E;
    for (int64_t e = 0; e < m->E; e++) {
        double ratio = out->mean_share[e] * E - 1;
        squares += ratio * ratio;
    }
    out->variation = sqrt(squares / E);
    for (int64_t d = 0; d < m->n_domains; d++) {
        if (!m->is_compared[d]) continue;
        out->max_over_mean_in_a_domain =
            fmax(out->max_over_mean_in_a_domain, largest(out->share + d * m->E, m->E) * E);
        nats += c->entropy_sum[d * c->n_layers + i_layer] /
                ((double)tokens_of(c, d) * (double)m->n_compared);
    }
    out->entropy = m->E > 1 ? nats / log(E) : NAN;
    for (int64_t e = 0; e < m->E; e++) {
        double gates = 0, choices = 0;
        for (int64_t d = 0; d < m->n_domains; d++) {
            if (!m->is_compared[d]) continue;
            double n = (double)tokens_of(c, d);
            gates += c->gate_sum[(d * c->n_layers + i_layer) * m->E + e] / n;
            choices += out->share[d * m->E + e] * (double)m->K;
        }
        out->mean_gate[e] = choices > 0 ? gates / choices : NAN;
    }
}

/* --- experts in the order that shows their homes --- */

typedef struct place {
    int64_t expert, home;
    double ratio;
} place;

static int compare_places(const void *a, const void *b) {
    const place *x = a, *y = b;
    bool has_x = x->home >= 0, has_y = y->home >= 0;
    if (has_x != has_y) return has_x ? -1 : 1;
    if (x->home != y->home) return x->home < y->home ? -1 : 1;
    if (x->ratio != y->ratio) return x->ratio > y->ratio ? -1 : 1;
    return x->expert < y->expert ? -1 : 1;
}

static iso_status order_experts(iso_routing_layer *out, const iso_routing_measures *m) {
    place *places = calloc((size_t)m->E + 1, sizeof *places);
    if (!places) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the order of experts");
    for (int64_t e = 0; e < m->E; e++) {
        places[e] = (place){.expert = e, .home = -1};
        for (int64_t d = 0; d < m->n_domains; d++) {
            double ratio = out->share[d * m->E + e] / out->mean_share[e];
            if (!m->is_compared[d] || !(ratio > places[e].ratio)) continue;
            places[e].home = d;
            places[e].ratio = ratio;
        }
        out->home[e] = places[e].home;
    }
    qsort(places, (size_t)m->E, sizeof *places, compare_places);
    for (int64_t e = 0; e < m->E; e++) out->order[e] = places[e].expert;
    free(places);
    return ISO_OK;
}

/* --- classes of tokens --- */

/* Part of all choices in domain d that are of a class and an expert, within the domain. */
static double joint(const iso_route_counts *c, int64_t i_layer, int64_t d, int64_t class,
                    int64_t e) {
    int64_t row = (d * c->n_layers + i_layer) * ISO_N_TOKEN_CLASSES + class;
    return (double)c->load[row * c->E + e] / (double)(tokens_of(c, d) * c->K);
}

static void fill_class_shares(iso_routing_measures *m, const iso_route_counts *c) {
    for (int64_t d = 0; d < m->n_domains; d++)
        for (int i = 0; i < ISO_N_TOKEN_CLASSES && m->is_compared[d]; i++)
            m->class_share[i] += (double)c->tokens[d * ISO_N_TOKEN_CLASSES + i] /
                                 ((double)tokens_of(c, d) * (double)m->n_compared);
}

static void measure_classes(iso_routing_layer *out, const iso_routing_measures *m,
                            const iso_route_counts *c, int64_t i_layer) {
    double D = (double)m->n_compared, left = 0;
    out->class_bits = 0;
    for (int64_t class = 0; class < ISO_N_TOKEN_CLASSES; class ++) {
        double p_class = m->class_share[class];
        for (int64_t e = 0; e < m->E; e++) {
            double both = 0;
            for (int64_t d = 0; d < m->n_domains; d++)
                if (m->is_compared[d]) both += joint(c, i_layer, d, class, e) / D;
            double mean = out->mean_share[e];
            out->class_share[class * m->E + e] = mean > 0 ? both / mean : 0;
            out->class_bits += x_log2(both, both / (p_class * mean));
            for (int64_t d = 0; d < m->n_domains; d++) {
                if (!m->is_compared[d]) continue;
                double all = joint(c, i_layer, d, class, e) / D;
                double in_domain = (double)c->tokens[d * ISO_N_TOKEN_CLASSES + class] /
                                   ((double)tokens_of(c, d) * D);
                left += x_log2(all, all * p_class / (in_domain * both));
            }
        }
    }
    out->domain_given_class_bits = m->n_compared > 1 ? left : NAN;
}

/* --- noise --- */

/* Blocks of the domains compared, as they are dealt. */
typedef struct deals {
    int64_t n_blocks;
    int64_t *block, *hand;                /* (n_blocks) which; the domain compared it is dealt to */
    int64_t *sums;                        /* (n_compared,E) */
    double *shares, *mean, *contribution; /* (n_compared,E) (E) (E) */
    const double **rows;                  /* (n_compared) of shares */
    double *largest;                      /* (ISO_ROUTING_DEALS) contribution of a deal */
} deals;

static void deals_release(deals *x) {
    free(x->block);
    free(x->hand);
    free(x->sums);
    free(x->shares);
    free(x->mean);
    free(x->contribution);
    free(x->rows);
    free(x->largest);
}

static iso_status deals_init(deals *x, const iso_routing_measures *m, const iso_route_counts *c) {
    bool has_all = true;
    *x = (deals){0};
    x->block = take(&has_all, c->n_blocks);
    x->hand = take(&has_all, c->n_blocks);
    x->sums = take(&has_all, m->n_compared * m->E);
    x->shares = take(&has_all, m->n_compared * m->E);
    x->mean = take(&has_all, m->E);
    x->contribution = take(&has_all, m->E);
    x->rows = take(&has_all, m->n_compared);
    x->largest = take(&has_all, ISO_ROUTING_DEALS);
    if (!has_all) {
        deals_release(x);
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate %lld blocks of documents",
                        (long long)c->n_blocks);
    }
    for (int64_t i = 0; i < m->n_compared; i++) x->rows[i] = x->shares + i * m->E;
    return ISO_OK;
}

/* Every block to its own domain, then shuffled (Fisher and Yates). */
static void deal(deals *x, const iso_routing_measures *m, const iso_route_counts *c,
                 uint64_t i_deal) {
    int64_t n_before = 0;
    x->n_blocks = 0;
    for (int64_t b = 0, d = 0; b < c->n_blocks; b++) {
        while (d < c->block_domain[b]) n_before += m->is_compared[d++];
        if (!m->is_compared[d]) continue;
        x->block[x->n_blocks] = b;
        x->hand[x->n_blocks++] = n_before;
    }
    for (int64_t i = x->n_blocks - 1; i > 0; i--) {
        uint64_t draw = iso_rng_u64(DEAL_SEED, ISO_RNG_STATS, i_deal, (uint64_t)i);
        int64_t j = (int64_t)(draw % (uint64_t)(i + 1)), hand = x->hand[i];
        x->hand[i] = x->hand[j];
        x->hand[j] = hand;
    }
}

/* Loads of the hands, as shares. */
static void share_out(deals *x, const iso_routing_measures *m, const iso_route_counts *c,
                      int64_t i_layer) {
    memset(x->sums, 0, (size_t)(m->n_compared * m->E) * sizeof *x->sums);
    for (int64_t i = 0; i < x->n_blocks; i++) {
        const int64_t *load = c->block_load + (x->block[i] * c->n_layers + i_layer) * m->E;
        int64_t *sum = x->sums + x->hand[i] * m->E;
        for (int64_t e = 0; e < m->E; e++) sum[e] += load[e];
    }
    for (int64_t d = 0; d < m->n_compared; d++) {
        int64_t n = 0;
        for (int64_t e = 0; e < m->E; e++) n += x->sums[d * m->E + e];
        for (int64_t e = 0; e < m->E; e++)
            x->shares[d * m->E + e] = n > 0 ? (double)x->sums[d * m->E + e] / (double)n : 0;
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What was dealt first is what is: the same sums in another order may differ in the last bit. */
static bool is_at_least(double dealt, double found) {
    return dealt >= found * (1 - 1e-12);
}

static iso_status measure_noise(iso_routing_layer *out, const iso_routing_measures *m,
                                const iso_route_counts *c, int64_t i_layer) {
    deals x;
    int64_t n_as_large = 0;
    ISO_TRY(deals_init(&x, m, c));
    out->domain_noise_bits = 0;
    for (int64_t i = 0; i < ISO_ROUTING_DEALS; i++) {
        deal(&x, m, c, (uint64_t)i);
        share_out(&x, m, c, i_layer);
        double bits = information(x.contribution, x.mean, x.rows, m->n_compared, m->E);
        out->domain_noise_bits += bits / ISO_ROUTING_DEALS;
        n_as_large += is_at_least(bits, out->domain_bits);
        x.largest[i] = largest(x.contribution, m->E);
    }
    out->domain_p = (1 + (double)n_as_large) / (1 + ISO_ROUTING_DEALS);
    qsort(x.largest, ISO_ROUTING_DEALS, sizeof *x.largest, ascending);
    out->contribution_noise_95 = x.largest[(ISO_ROUTING_DEALS + 1) * 19 / 20 - 1];
    deals_release(&x);
    return ISO_OK;
}

/* --- pairs --- */

/* u(a) from the margins r(a) = u(a) (sum of the other u): fixed points with half steps in ln u,
 * which do not swing. An expert in every pair would need an endless u: the iterations end there. */
iso_status iso_quasi_independence(double *expected, const int64_t *pairs, int64_t E) {
    bool has_all = true;
    double *margin = take(&has_all, E), *u = take(&has_all, E), total = 0, error = 1;
    for (int64_t a = 0, i = 0; has_all && a < E; a++)
        for (int64_t b = a + 1; b < E; b++, i++) {
            margin[a] += (double)pairs[i];
            margin[b] += (double)pairs[i];
            total += 2 * (double)pairs[i];
        }
    for (int64_t e = 0; has_all && e < E && total > 0; e++) u[e] = margin[e] / sqrt(total);
    for (int i = 0; has_all && i < FIT_ITERATIONS && error > FIT_TOLERANCE; i++) {
        double sum = 0;
        error = 0;
        for (int64_t e = 0; e < E; e++) sum += u[e];
        for (int64_t e = 0; e < E; e++) {
            double has = u[e] * (sum - u[e]);
            if (!(has > 0)) continue;
            double ratio = sqrt(margin[e] / has);
            error = fmax(error, fabs(ratio - 1));
            sum += u[e] * (ratio - 1);
            u[e] *= ratio;
        }
    }
    for (int64_t a = 0, i = 0; has_all && a < E; a++)
        for (int64_t b = a + 1; b < E; b++, i++) expected[i] = u[a] * u[b];
    free(margin);
    free(u);
    return has_all ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate the margins of pairs");
}

static iso_status measure_pairs(iso_routing_layer *out, const iso_routing_measures *m,
                                const iso_route_counts *c, int64_t i_layer) {
    bool has_all = true;
    double *expected = take(&has_all, m->n_pairs), total = 0;
    iso_status status = has_all ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate the pairs");
    for (int64_t d = 0; d < m->n_domains && status == ISO_OK; d++) {
        if (!m->is_compared[d]) continue;
        const int64_t *pairs = c->pairs + (d * c->n_layers + i_layer) * m->n_pairs;
        status = iso_quasi_independence(expected, pairs, m->E);
        for (int64_t i = 0; i < m->n_pairs && status == ISO_OK; i++) {
            out->together[i] += (double)pairs[i];
            out->together_expected[i] += expected[i];
            total += (double)pairs[i];
        }
    }
    free(expected);
    out->together_bits = total > 0 ? 0 : NAN;
    for (int64_t i = 0; i < m->n_pairs && total > 0; i++)
        out->together_bits +=
            x_log2(out->together[i] / total, out->together[i] / out->together_expected[i]);
    return status;
}

/* --- the whole --- */

static iso_status measure_layer(iso_routing_layer *out, const iso_routing_measures *m,
                                const iso_route_counts *c, int64_t i_layer) {
    out->layer = c->layers[i_layer];
    out->domain_bits = out->domain_noise_bits = out->domain_p = NAN;
    out->together_bits = out->contribution_noise_95 = NAN;
    const double **rows = calloc((size_t)m->n_compared, sizeof *rows);
    if (!layer_alloc(out, c) || !rows) {
        free(rows);
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate the measures of a layer");
    }
    fill_shares(out, c, i_layer);
    int64_t n_rows = compared_rows(rows, m, out);
    double bits = information(out->contribution, out->mean_share, rows, n_rows, m->E);
    free(rows);
    measure_balance(out, m, c, i_layer);
    measure_classes(out, m, c, i_layer);
    if (m->n_compared > 1) {
        out->domain_bits = bits;
        ISO_TRY(measure_noise(out, m, c, i_layer));
    }
    if (m->n_pairs > 0) ISO_TRY(measure_pairs(out, m, c, i_layer));
    return order_experts(out, m);
}

iso_status iso_routing_measure(iso_routing_measures *out, const iso_route_counts *counts) {
    bool has_all = true;
    *out = (iso_routing_measures){.n_domains = counts->n_domains,
                                  .n_layers = counts->n_layers,
                                  .E = counts->E,
                                  .K = counts->K,
                                  .n_pairs = counts->n_pairs};
    out->is_compared = take(&has_all, counts->n_domains);
    out->class_share = take(&has_all, ISO_N_TOKEN_CLASSES);
    out->layers = calloc((size_t)counts->n_layers + 1, sizeof *out->layers);
    iso_status status = has_all && out->layers
                            ? choose_domains(out, counts)
                            : iso_fail(ISO_ERR_MEMORY, "cannot allocate measures of routing");
    if (status == ISO_OK) fill_class_shares(out, counts);
    for (int64_t l = 0; l < counts->n_layers && status == ISO_OK; l++)
        status = measure_layer(&out->layers[l], out, counts, l);
    if (status != ISO_OK) iso_routing_measures_free(out);
    return status;
}
