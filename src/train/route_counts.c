/* route_counts.c - counting on the calling thread, token by token: a few operations per expert
 * beside the thousands that routed it.
 *
 * A token's router entropy is ln Z - sum p l over its logits l, with ln Z = l_1 - ln p_1 of the
 * expert chosen first: one logarithm instead of E.
 */
#include "train/route_counts.h"

#include "data/tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *iso_token_class_name(iso_token_class class) {
    static const char *const names[ISO_N_TOKEN_CLASSES] = {
        "separator", "blank", "line_end", "lower", "upper", "digit", "sign", "other"};
    ISO_ASSERT(class >= 0 && class < ISO_N_TOKEN_CLASSES);
    return names[class];
}

/* --- the counts --- */

/* n_1 x n_2 x n_3 x n_4 zeroed items, never NULL for none; NULL if there is no such memory. */
static void *take(size_t item_bytes, int64_t n_1, int64_t n_2, int64_t n_3, int64_t n_4) {
    int64_t n;
    if (__builtin_mul_overflow(n_1, n_2, &n) || __builtin_mul_overflow(n, n_3, &n) ||
        __builtin_mul_overflow(n, n_4, &n) || n < 0 || n == INT64_MAX)
        return NULL;
    return calloc((size_t)n + 1, item_bytes);
}

iso_status iso_route_counts_create(iso_route_counts *out, const iso_route_counts *sizes) {
    int64_t D = sizes->n_domains, L = sizes->n_layers, E = sizes->E;
    *out = (iso_route_counts){.n_domains = D,
                              .n_layers = L,
                              .E = E,
                              .K = sizes->K,
                              .n_pairs = sizes->n_pairs,
                              .n_blocks = sizes->n_blocks};
    out->domains = take(sizeof *out->domains, D, 1, 1, 1);
    out->layers = take(sizeof *out->layers, L, 1, 1, 1);
    out->tokens = take(sizeof *out->tokens, D, ISO_N_TOKEN_CLASSES, 1, 1);
    out->load = take(sizeof *out->load, D, L, ISO_N_TOKEN_CLASSES, E);
    out->gate_sum = take(sizeof *out->gate_sum, D, L, E, 1);
    out->entropy_sum = take(sizeof *out->entropy_sum, D, L, 1, 1);
    out->pairs = take(sizeof *out->pairs, D, L, out->n_pairs, 1);
    out->block_domain = take(sizeof *out->block_domain, out->n_blocks, 1, 1, 1);
    out->block_load = take(sizeof *out->block_load, out->n_blocks, L, E, 1);
    if (out->domains && out->layers && out->tokens && out->load && out->gate_sum &&
        out->entropy_sum && out->pairs && out->block_domain && out->block_load)
        return ISO_OK;
    iso_route_counts_free(out);
    return iso_fail(ISO_ERR_MEMORY, "cannot allocate the counts of %lld experts in %lld layers",
                    (long long)E, (long long)L);
}

void iso_route_counts_free(iso_route_counts *counts) {
    for (int64_t i = 0; counts->domains && i < counts->n_domains; i++) free(counts->domains[i]);
    free(counts->domains);
    free(counts->layers);
    free(counts->tokens);
    free(counts->load);
    free(counts->gate_sum);
    free(counts->entropy_sum);
    free(counts->pairs);
    free(counts->block_domain);
    free(counts->block_load);
    *counts = (iso_route_counts){0};
}

int64_t iso_route_pair(int64_t E, int64_t a, int64_t b) {
    return a * (2 * E - a - 1) / 2 + b - a - 1;
}

/* --- blocks of documents --- */

struct iso_route_counter {
    iso_route_counts counts;
    int64_t n_ids;
    uint8_t *id_class;      /* (n_ids) */
    int64_t **window_block; /* per sample, per window */
    /* What is being scored. */
    int64_t i_domain, first_window, n_windows, S;
    const int32_t *inputs, *targets;
};

static int64_t count_documents(const iso_eval_sample *sample) {
    int64_t n = 0;
    for (int64_t w = 0; w < sample->n_windows; w++)
        n += w == 0 || sample->windows[w].document != sample->windows[w - 1].document;
    return n;
}

/* Tokens that a block should hold, so that blocks of all domains are alike. */
static double block_tokens(const iso_eval_sample *samples, int64_t n_samples) {
    double most = 1;
    for (int64_t i = 0; i < n_samples; i++) {
        double n_tokens = (double)samples[i].n_tokens;
        most = fmax(most, n_tokens / ISO_ROUTE_BLOCKS);
        most = fmax(most, n_tokens / (double)count_documents(&samples[i]));
    }
    return most;
}

static int64_t count_blocks(const iso_eval_sample *sample, double tokens_of_block) {
    int64_t n = llround((double)sample->n_tokens / tokens_of_block);
    return n > 1 ? n : 1;
}

static iso_status deal_documents(iso_route_counter *counter, int64_t i_sample, int64_t first_block,
                                 const iso_eval_sample *sample, int64_t n_blocks) {
    int64_t *blocks = calloc((size_t)sample->n_windows + 1, sizeof *blocks), i_document = -1;
    if (!blocks) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the blocks of documents");
    counter->window_block[i_sample] = blocks;
    for (int64_t w = 0; w < sample->n_windows; w++) {
        i_document += w == 0 || sample->windows[w].document != sample->windows[w - 1].document;
        blocks[w] = first_block + i_document % n_blocks;
    }
    for (int64_t i = 0; i < n_blocks; i++) counter->counts.block_domain[first_block + i] = i_sample;
    return ISO_OK;
}

/* --- classes of tokens --- */

static iso_token_class class_of_byte(unsigned char byte) {
    if (byte >= 0x80) return ISO_TOKEN_OTHER;
    if (byte == '\n' || byte == '\r') return ISO_TOKEN_LINE_END;
    if (byte == ' ' || byte == '\t') return ISO_TOKEN_BLANK;
    if (byte >= 'a' && byte <= 'z') return ISO_TOKEN_LOWER;
    if (byte >= 'A' && byte <= 'Z') return ISO_TOKEN_UPPER;
    return byte >= '0' && byte <= '9' ? ISO_TOKEN_DIGIT : ISO_TOKEN_SIGN;
}

static iso_status classify_ids(iso_route_counter *counter, const iso_dataset *dataset) {
    iso_tokenizer tokenizer;
    ISO_TRY(iso_tokenizer_open_prepared(&tokenizer, dataset->dir));
    counter->n_ids = tokenizer.n_ids;
    counter->id_class = calloc((size_t)tokenizer.n_ids + 1, 1);
    for (int64_t id = 0; counter->id_class && id < tokenizer.n_ids; id++) {
        const char *at = tokenizer.pool + tokenizer.pool_starts[id];
        int64_t n = tokenizer.id_bytes[id];
        if (n > 1 && *at == ' ') at++;
        counter->id_class[id] =
            (uint8_t)(n > 0 ? class_of_byte((unsigned char)*at) : ISO_TOKEN_SEPARATOR);
    }
    iso_tokenizer_close(&tokenizer);
    if (counter->id_class) return ISO_OK;
    return iso_fail(ISO_ERR_MEMORY, "cannot allocate the classes of %lld tokens",
                    (long long)counter->n_ids);
}

/* --- the counter --- */

static iso_status size_counts(iso_route_counter *counter, const iso_shape *shape,
                              const iso_eval_sample *samples, int64_t n_samples, double unit) {
    iso_route_counts sizes = {.n_domains = n_samples,
                              .n_layers = iso_shape_n_moe_layers(shape),
                              .E = shape->num_experts,
                              .K = shape->num_experts_per_tok};
    ISO_ASSERT(sizes.n_layers > 0);
    if (sizes.K > 1 && sizes.E <= ISO_ROUTE_PAIRS_MAX_EXPERTS)
        sizes.n_pairs = sizes.E * (sizes.E - 1) / 2;
    for (int64_t i = 0; i < n_samples; i++) sizes.n_blocks += count_blocks(&samples[i], unit);
    ISO_TRY(iso_route_counts_create(&counter->counts, &sizes));
    for (int64_t i = 0, n = 0; i < shape->num_hidden_layers; i++)
        if (iso_shape_layer_is_moe(shape, i)) counter->counts.layers[n++] = i;
    return ISO_OK;
}

static iso_status set_up(iso_route_counter *counter, const iso_shape *shape,
                         const iso_eval_sample *samples, int64_t n_samples) {
    double unit = block_tokens(samples, n_samples);
    ISO_TRY(size_counts(counter, shape, samples, n_samples, unit));
    counter->window_block = calloc((size_t)n_samples + 1, sizeof *counter->window_block);
    if (!counter->window_block)
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate the blocks of documents");
    for (int64_t i = 0, block = 0; i < n_samples; i++) {
        const iso_eval_sample *sample = &samples[i];
        int64_t n_blocks = count_blocks(sample, unit);
        counter->counts.domains[i] = iso_strf("%s", sample->split->name);
        ISO_TRY(deal_documents(counter, i, block, sample, n_blocks));
        block += n_blocks;
    }
    return n_samples > 0 ? classify_ids(counter, samples[0].dataset) : ISO_OK;
}

iso_status iso_route_counter_create(iso_route_counter **out, const iso_shape *shape,
                                    const iso_eval_sample *samples, int64_t n_samples) {
    *out = NULL;
    iso_route_counter *counter = calloc(1, sizeof *counter);
    if (!counter) return iso_fail(ISO_ERR_MEMORY, "cannot allocate a counter of routes");
    counter->S = shape->max_position_embeddings;
    iso_status status = set_up(counter, shape, samples, n_samples);
    if (status != ISO_OK) {
        iso_route_counter_free(counter);
        return status;
    }
    *out = counter;
    return ISO_OK;
}

void iso_route_counter_free(iso_route_counter *counter) {
    if (!counter) return;
    for (int64_t i = 0; counter->window_block && i < counter->counts.n_domains; i++)
        free(counter->window_block[i]);
    free(counter->window_block);
    free(counter->id_class);
    iso_route_counts_free(&counter->counts);
    free(counter);
}

const iso_route_counts *iso_route_counter_counts(const iso_route_counter *counter) {
    return &counter->counts;
}

void iso_route_counter_aim(iso_route_counter *counter, int64_t i_sample, int64_t first, int64_t n,
                           const int32_t *inputs, const int32_t *targets) {
    ISO_ASSERT(i_sample >= 0 && i_sample < counter->counts.n_domains);
    counter->i_domain = i_sample;
    counter->first_window = first;
    counter->n_windows = n;
    counter->inputs = inputs;
    counter->targets = targets;
}

static double real(const void *data, iso_dtype dtype, int64_t i) {
    return dtype == ISO_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

/* Of token t's softmax over the experts; `best` was chosen first. */
static double entropy(const iso_model *model, const iso_layer_acts *acts, int64_t t, int64_t E,
                      int64_t best) {
    iso_dtype dtype = model->exec->dtype;
    double mean_logit = 0;
    for (int64_t i = t * E; i < (t + 1) * E; i++)
        mean_logit += real(acts->probs, dtype, i) * real(model->temps.logits, dtype, i);
    double log_z = real(model->temps.logits, dtype, t * E + best) -
                   log(real(acts->probs, dtype, t * E + best));
    return fmax(0, log_z - mean_logit);
}

void iso_route_counter_add(void *ctx, const iso_model *model, int64_t layer) {
    iso_route_counter *counter = ctx;
    iso_route_counts *c = &counter->counts;
    const iso_layer_acts *acts = &model->layers[layer];
    int64_t E = c->E, K = c->K, l = 0;
    while (l < c->n_layers && c->layers[l] != layer) l++;
    ISO_ASSERT(l < c->n_layers && acts->routing.T == counter->n_windows * counter->S);
    int64_t place = counter->i_domain * c->n_layers + l;
    int64_t *load = c->load + place * ISO_N_TOKEN_CLASSES * E, *pairs = c->pairs;
    double *gate_sum = c->gate_sum + place * E;
    if (c->n_pairs > 0) pairs += place * c->n_pairs;
    for (int64_t t = 0; t < acts->routing.T; t++) {
        if (counter->targets[t] < 0) continue;
        const int32_t *chosen = acts->routing.expert + t * K;
        int64_t window = counter->first_window + t / counter->S;
        int64_t block = counter->window_block[counter->i_domain][window];
        int64_t *block_load = c->block_load + (block * c->n_layers + l) * E;
        int32_t id = counter->inputs[t];
        ISO_ASSERT(id >= 0 && id < counter->n_ids);
        int64_t class = counter->id_class[id];
        if (l == 0) c->tokens[counter->i_domain * ISO_N_TOKEN_CLASSES + class]++;
        c->entropy_sum[place] += entropy(model, acts, t, E, chosen[0]);
        for (int64_t k = 0; k < K; k++) {
            int64_t e = chosen[k];
            load[class * E + e]++;
            block_load[e]++;
            gate_sum[e] += real(acts->gate, model->exec->dtype, t * K + k);
            for (int64_t j = 0; j < k && c->n_pairs > 0; j++) {
                int64_t other = chosen[j];
                pairs[iso_route_pair(E, e < other ? e : other, e < other ? other : e)]++;
            }
        }
    }
}
