/* Where tokens go, from the model to the measure: a router made by hand whose experts are chosen by
 * domain, records that don't depend on threads and micro-batches, noise that is not called
 * specialisation, files that don't add up.
 */
#include "runs/route_file.h"
#include "study/routing_measures.h"
#include "tiny_model.h"
#include "train/evaluate.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/prepare.h"
#include "temp_dir.h"

#include <cmocka.h>

#define S_LONG      16
#define N_DOCUMENTS 12

/* --- text of two domains: small letters, and digits --- */

static char *path_of(const char *dir, const char *name) {
    return iso_strf("%s/%s", dir, name);
}

/* Documents of 5, 12, 19, ... characters from `first` on. */
static void write_documents(const char *path, char first, int n_letters) {
    iso_str text = {0};
    for (int i = 0; i < N_DOCUMENTS; i++) {
        iso_str_append(&text, "{\"text\":\"");
        for (int j = 0; j < 5 + 7 * i; j++) {
            char letter = (char)(first + (i + j * (i + 1)) % n_letters);
            iso_str_append_bytes(&text, &letter, 1);
        }
        iso_str_append(&text, "\"}\n");
    }
    tiny_check(iso_file_write_atomic(path, text.data, (int64_t)text.len));
    iso_str_release(&text);
}

static void open_text(const char *dir, iso_dataset *dataset, iso_eval_set *set) {
    char *low = path_of(dir, "low.jsonl"), *high = path_of(dir, "high.jsonl");
    char *train = path_of(dir, "train.jsonl"), *out = path_of(dir, "data");
    write_documents(low, 'a', 20);
    write_documents(high, '0', 9);
    write_documents(train, 'A', 20);
    const char *paths[] = {low, high, train};
    const iso_text_input domains[] = {{"low", &paths[0], 1}, {"high", &paths[1], 1}};
    iso_prepare_options options = iso_prepare_options_default();
    options.tokenizer = "bytes";
    options.train = (iso_text_input){NULL, &paths[2], 1};
    options.domains = domains;
    options.n_domains = 2;
    options.out_dir = out;
    options.holdout_one_in = 0;
    iso_prepare_result result;
    tiny_check(iso_data_prepare(&options, &result));
    tiny_check(iso_dataset_open(dataset, out));
    tiny_check(iso_eval_set_create(set, dataset, S_LONG, 0));
    free(low), free(high), free(train), free(out);
}

static iso_shape shape_of(iso_layout layout) {
    iso_shape shape = tiny_shape(layout);
    shape.vocab_size = 257;
    shape.max_position_embeddings = S_LONG;
    return shape;
}

/* --- a router made by hand --- */

static void set_all(const iso_trainer *trainer, iso_field field, double value) {
    const iso_params *params = &trainer->model->params;
    for (int64_t i = 0; i < params->n_items; i++)
        for (int64_t j = 0; params->items[i].field == field &&
                            j < params->items[i].dims[0] * params->items[i].dims[1];
             j++)
            tiny_set(trainer->model->weights, trainer->exec.dtype, params->items[i].offset + j,
                     value);
}

/* Letters stand along the first direction, digits along the second, all else nowhere; nothing adds
 * to that. Experts 1 and 2 want letters, 3 and 4 digits; of what stands nowhere the first two are
 * chosen. */
static void make_by_hand(const iso_trainer *trainer) {
    const iso_model *model = trainer->model;
    iso_dtype dtype = trainer->exec.dtype;
    int64_t H = model->shape.hidden_size;
    set_all(trainer, ISO_FIELD_EMBED, 0);
    set_all(trainer, ISO_FIELD_O, 0);
    set_all(trainer, ISO_FIELD_EXPERT_DOWN, 0);
    set_all(trainer, ISO_FIELD_SHARED_DOWN, 0);
    set_all(trainer, ISO_FIELD_ROUTER, 0);
    int64_t embed = iso_params_offset(&model->params, ISO_FIELD_EMBED, -1);
    for (int c = 'a'; c <= 'z'; c++) tiny_set(model->weights, dtype, embed + c * H, 1);
    for (int c = '0'; c <= '9'; c++) tiny_set(model->weights, dtype, embed + c * H + 1, 1);
    for (int64_t l = 0; l < model->shape.num_hidden_layers; l++) {
        int64_t router = iso_params_offset(&model->params, ISO_FIELD_ROUTER, l);
        for (int e = 0; e < 4; e++)
            tiny_set(model->weights, dtype, router + e * H + e / 2, e % 2 == 0 ? 1.0 : 0.5);
    }
}

/* Entropy in nats of the softmax over logits that are x, x/2, 0, 0. */
static double entropy_of(double x) {
    double z = exp(x) + exp(x / 2) + 2;
    return log(z) - (exp(x) * x + exp(x / 2) * x / 2) / z;
}

static double bits(double p, double q) {
    return p > 0 ? p * log2(p / q) : 0;
}

static void check_hand_made_layer(const iso_route_counts *c, int64_t l, int64_t n_low,
                                  int64_t n_high) {
    const int64_t C = ISO_N_TOKEN_CLASSES, E = 4, N = N_DOCUMENTS;
    const int64_t *low = c->load + l * C * E, *high = c->load + (c->n_layers + l) * C * E;
    const int64_t letters[] = {n_low - N, n_low - N, 0, 0},
                  digits[] = {0, 0, n_high - N, n_high - N};
    const int64_t starts[] = {N, N, 0, 0};
    assert_memory_equal(low + ISO_TOKEN_LOWER * E, letters, sizeof letters);
    assert_memory_equal(high + ISO_TOKEN_DIGIT * E, digits, sizeof digits);
    assert_memory_equal(low + ISO_TOKEN_SEPARATOR * E, starts, sizeof starts);
    assert_memory_equal(high + ISO_TOKEN_SEPARATOR * E, starts, sizeof starts);
    const int64_t low_pairs[] = {n_low, 0, 0, 0, 0, 0}, high_pairs[] = {N, 0, 0, 0, 0, n_high - N};
    assert_memory_equal(c->pairs + l * 6, low_pairs, sizeof low_pairs);
    assert_memory_equal(c->pairs + (c->n_layers + l) * 6, high_pairs, sizeof high_pairs);
    double x = 1 / sqrt(1.0 / 8 + 1e-5);
    double want = (double)(n_low - N) * entropy_of(x) + (double)N * log(4);
    assert_true(fabs(c->entropy_sum[l] - want) < 1e-4 * want);
    double z = exp(x) + exp(x / 2) + 2;
    double gates = (double)(n_low - N) * exp(x) / z + (double)N / 4;
    assert_true(fabs(c->gate_sum[l * E] - gates) < 1e-4 * gates);
}

static void test_experts_chosen_by_domain(void **dir) {
    iso_dataset dataset;
    iso_eval_set set;
    iso_trainer *trainer;
    iso_route_counter *counter;
    iso_eval_result result;
    iso_routing_measures m;
    open_text(*dir, &dataset, &set);
    iso_shape shape = shape_of(ISO_LAYOUT_FULL);
    shape.rms_norm_eps = 1e-5;
    iso_config config = tiny_config(&shape, 4, 4, 1);
    tiny_check(iso_trainer_create(&trainer, &config, "ref", ISO_F32, false));
    make_by_hand(trainer);
    double load[12];
    tiny_check(iso_route_counter_create(&counter, &shape, set.samples, set.n_domains));
    tiny_check(iso_evaluate(trainer, &set, &result, load, counter));
    const iso_route_counts *c = iso_route_counter_counts(counter);
    int64_t n_low = set.samples[0].n_tokens, n_high = set.samples[1].n_tokens;
    assert_int_equal(c->n_layers, 3);
    for (int64_t l = 0; l < 3; l++) check_hand_made_layer(c, l, n_low, n_high);

    tiny_check(iso_routing_measure(&m, c));
    double own = (double)(n_high - N_DOCUMENTS) / (double)n_high, rest = 1 - own;
    double want = (bits(1, (1 + rest) / 2) + bits(own, own / 2) + bits(rest, (1 + rest) / 2)) / 2;
    for (int64_t l = 0; l < 3; l++) {
        assert_true(fabs(m.layers[l].domain_bits - want) < 1e-12);
        assert_true(m.layers[l].domain_noise_bits < 0.2);
        assert_true(m.layers[l].domain_p < 0.01);
        assert_true(fabs(m.layers[l].domain_given_class_bits) < 1e-12);
        assert_true(m.layers[l].together_bits > 0.01); /* 1 and 2 never meet 3 and 4 */
        for (int e = 0; e < 4; e++) assert_int_equal(m.layers[l].home[e], e / 2);
    }
    iso_routing_measures_free(&m);
    iso_eval_result_free(&result);
    iso_route_counter_free(counter);
    iso_trainer_free(trainer);
    iso_eval_set_free(&set);
    iso_dataset_close(&dataset);
}

/* --- the same bytes, however it is computed --- */

/* The record of a fresh model, as bytes of a file; the scores must be those without a record. */
static char *record_of(const char *dir, const iso_eval_set *set, iso_layout layout, int64_t B,
                       int64_t threads, bool trains, int64_t *n_bytes) {
    iso_shape shape = shape_of(layout);
    iso_config config = tiny_config(&shape, B, B, threads);
    iso_trainer *trainer;
    iso_route_counter *counter;
    iso_eval_result result, plain;
    double load[12], plain_load[12];
    tiny_check(iso_trainer_create(&trainer, &config, "cpu", ISO_F32, trains));
    tiny_check(iso_route_counter_create(&counter, &shape, set->samples, set->n_domains));
    tiny_check(iso_evaluate(trainer, set, &plain, plain_load, NULL));
    tiny_check(iso_evaluate(trainer, set, &result, load, counter));
    assert_memory_equal(load, plain_load, sizeof load);
    for (int64_t d = 0; d < set->n_domains; d++)
        assert_memory_equal(result.domains[d].window_nats, plain.domains[d].window_nats,
                            (size_t)plain.domains[d].n_windows * sizeof(double));
    char *path = path_of(dir, "record"), *bytes;
    tiny_check(iso_route_file_save(path, 7, set->hash, iso_route_counter_counts(counter)));
    tiny_check(iso_file_read(&bytes, n_bytes, path, 1 << 20));
    free(path);
    iso_eval_result_free(&result);
    iso_eval_result_free(&plain);
    iso_route_counter_free(counter);
    iso_trainer_free(trainer);
    return bytes;
}

static void test_threads_and_micro_batches(void **dir) {
    static const int64_t threads[] = {1, 2, 3, 7};
    static const iso_layout layouts[] = {ISO_LAYOUT_FULL, ISO_LAYOUT_1DENSE, ISO_LAYOUT_INTERLEAVE};
    iso_dataset dataset;
    iso_eval_set set;
    open_text(*dir, &dataset, &set);
    for (int i = 0; i < 3; i++) {
        int64_t n_first, n;
        char *first = record_of(*dir, &set, layouts[i], 2, 1, true, &n_first);
        for (int t = 0; t < 4; t++)
            for (int64_t B = 2; B <= 32; B *= 4) {
                char *again = record_of(*dir, &set, layouts[i], B, threads[t], t % 2 == 0, &n);
                assert_int_equal(n, n_first);
                assert_memory_equal(again, first, (size_t)n);
                free(again);
            }
        free(first);
    }
    iso_eval_set_free(&set);
    iso_dataset_close(&dataset);
}

/* --- made-up counts --- */

typedef struct made {
    int64_t n_domains, n_blocks, E; /* blocks of each domain */
    double leaning;                 /* of a document to experts of its own */
    double home;                    /* of a domain to experts of its own */
} made;

/* Blocks of 2000 choices (1000 tokens, K = 2, all of one class), each expert's part drawn anew for
 * every block, so that choices hang together within blocks. */
static void make_counts(iso_route_counts *c, const made *how, uint64_t seed) {
    iso_route_counts sizes = {.n_domains = how->n_domains,
                              .n_layers = 1,
                              .E = how->E,
                              .K = 2,
                              .n_blocks = how->n_domains * how->n_blocks};
    tiny_check(iso_route_counts_create(c, &sizes));
    for (int64_t d = 0; d < how->n_domains; d++) c->domains[d] = iso_strf("d%d", (int)d);
    double *part = tiny_malloc(how->E, sizeof *part);
    for (int64_t b = 0; b < c->n_blocks; b++) {
        int64_t d = c->block_domain[b] = b / how->n_blocks, left = 2000;
        double sum = 0;
        for (int64_t e = 0; e < how->E; e++) {
            double lean =
                how->leaning * iso_rng_normal(seed, ISO_RNG_TEST, (uint64_t)b, (uint64_t)e);
            sum += part[e] = exp(lean + (e % how->n_domains == d ? how->home : 0));
        }
        for (int64_t e = 0; e < how->E; e++) {
            int64_t n = e + 1 < how->E ? (int64_t)(2000 * part[e] / sum) : left;
            left -= n;
            c->block_load[b * how->E + e] = n;
            c->load[(d * ISO_N_TOKEN_CLASSES + ISO_TOKEN_LOWER) * how->E + e] += n;
        }
        c->tokens[d * ISO_N_TOKEN_CLASSES + ISO_TOKEN_LOWER] += 1000;
    }
    free(part);
}

static iso_routing_layer *measure(iso_routing_measures *m, const made *how, uint64_t seed) {
    iso_route_counts counts;
    make_counts(&counts, how, seed);
    tiny_check(iso_routing_measure(m, &counts));
    iso_route_counts_free(&counts);
    return &m->layers[0];
}

/* Documents that lean to experts of their own, but not by domain: the information is many times
 * what independent choices would show (Miller), and none of it is called specialisation. */
static void test_noise_is_not_specialisation(void **state) {
    const made how = {.n_domains = 3, .n_blocks = 16, .E = 16, .leaning = 0.7};
    const int n_draws = 40;
    double excess = 0, noise = 0;
    int n_called = 0, n_experts = 0;
    double miller = 2.0 * 15 / (2 * 3 * 16 * 2000 * log(2));
    for (int i = 0; i < n_draws; i++) {
        iso_routing_measures m;
        const iso_routing_layer *layer = measure(&m, &how, (uint64_t)i + 1);
        excess += (layer->domain_bits - layer->domain_noise_bits) / n_draws;
        noise += layer->domain_noise_bits / n_draws;
        n_called += layer->domain_p <= 0.05;
        for (int64_t e = 0; e < m.E; e++)
            if (layer->contribution[e] > layer->contribution_noise_95) {
                n_experts++;
                break;
            }
        iso_routing_measures_free(&m);
    }
    assert_true(noise > 20 * miller);
    assert_true(fabs(excess) < 0.1 * noise);
    assert_in_range(n_called, 0, 6);  /* of 40 at 5 %: more in 1.4 % of all */
    assert_in_range(n_experts, 0, 6); /* one look or sixteen */
}

static void test_specialisation_is_found(void **state) {
    const made plain = {.n_domains = 3, .n_blocks = 16, .E = 16, .leaning = 0.7, .home = 1};
    const made whole = {.n_domains = 3, .n_blocks = 8, .E = 9, .home = 60};
    iso_routing_measures m;
    const iso_routing_layer *layer = measure(&m, &plain, 1);
    assert_true(layer->domain_p < 0.01);
    assert_true(layer->domain_bits > 5 * layer->domain_noise_bits);
    for (int64_t e = 0; e < 16; e++) assert_int_equal(layer->home[e], e % 3);
    for (int64_t e = 1; e < 16; e++)
        assert_true(layer->home[layer->order[e]] >= layer->home[layer->order[e - 1]]);
    iso_routing_measures_free(&m);
    layer = measure(&m, &whole, 1);
    assert_true(fabs(layer->domain_bits - log2(3)) < 0.02); /* rounded counts */
    assert_true(fabs(layer->max_over_mean_in_a_domain - 3) < 0.01);
    iso_routing_measures_free(&m);
}

/* One block a domain can't tell noise from anything; one domain has nothing to tell. */
static void test_too_little_text(void **state) {
    const made blocks = {.n_domains = 2, .n_blocks = 1, .E = 4, .home = 5};
    const made alone = {.n_domains = 1, .n_blocks = 8, .E = 4, .leaning = 1};
    iso_routing_measures m;
    const iso_routing_layer *layer = measure(&m, &blocks, 1);
    assert_true(layer->domain_p == 1);
    assert_true(fabs(layer->domain_bits - layer->domain_noise_bits) < 1e-12);
    iso_routing_measures_free(&m);
    layer = measure(&m, &alone, 1);
    assert_true(isnan(layer->domain_bits) && isnan(layer->domain_p));
    assert_true(layer->max_over_mean > 1);
    iso_routing_measures_free(&m);
}

/* --- pairs --- */

static void test_quasi_independence(void **state) {
    static const double u[] = {900, 40, 300, 0, 5, 77, 610};
    enum { E = 7, N = E * (E - 1) / 2 };
    int64_t pairs[N];
    double expected[N];
    for (int64_t a = 0; a < E; a++)
        for (int64_t b = a + 1; b < E; b++) pairs[iso_route_pair(E, a, b)] = llround(u[a] * u[b]);
    tiny_check(iso_quasi_independence(expected, pairs, E));
    for (int i = 0; i < N; i++)
        assert_true(fabs(expected[i] - (double)pairs[i]) <= 1e-6 * (double)pairs[i]);
    /* Friends and foes: the margins stay, so the table of independence does. */
    int64_t *one = &pairs[iso_route_pair(E, 0, 1)], *two = &pairs[iso_route_pair(E, 2, 6)];
    int64_t *three = &pairs[iso_route_pair(E, 0, 2)], *four = &pairs[iso_route_pair(E, 1, 6)];
    *one += 9000, *two += 9000, *three -= 9000, *four -= 9000;
    double before[N];
    memcpy(before, expected, sizeof before);
    tiny_check(iso_quasi_independence(expected, pairs, E));
    for (int i = 0; i < N; i++)
        assert_true(fabs(expected[i] - before[i]) <= 1e-5 * before[i] + 1e-9);
    /* An expert in every pair is the edge of what can be. */
    const int64_t always[] = {10, 20, 30, 0, 0, 0};
    tiny_check(iso_quasi_independence(expected, always, 4));
    for (int i = 0; i < 6; i++) assert_true(fabs(expected[i] - (double)always[i]) < 0.5);
}

/* --- the file --- */

static void test_file_comes_back(void **dir) {
    const made how = {.n_domains = 2, .n_blocks = 3, .E = 5, .leaning = 1};
    iso_route_counts counts;
    iso_route_file file;
    bool found;
    char *path = path_of(*dir, ISO_RUN_ROUTING);
    make_counts(&counts, &how, 3);
    tiny_check(iso_run_routing(&file, &found, *dir));
    assert_false(found);
    tiny_check(iso_route_file_save(path, 12, "abc", &counts));
    tiny_check(iso_run_routing(&file, &found, *dir));
    assert_true(found);
    assert_int_equal(file.step, 12);
    assert_string_equal(file.sample_hash, "abc");
    assert_string_equal(file.counts.domains[1], "d1");
    assert_int_equal(file.counts.K, 2);
    assert_memory_equal(file.counts.block_load, counts.block_load, 6 * 5 * sizeof(int64_t));
    iso_route_file_release(&file);

    /* What does not add up is refused: a count, a sum over blocks, a real. */
    for (int i = 0; i < 4; i++) {
        int64_t *whole[] = {&counts.load[ISO_TOKEN_LOWER * 5], &counts.block_load[7],
                            &counts.tokens[3]};
        if (i < 3)
            (*whole[i])++;
        else
            counts.gate_sum[2] = NAN;
        tiny_check(iso_route_file_save(path, 12, "abc", &counts));
        assert_int_equal(iso_route_file_load(&file, path), ISO_ERR_DATA);
        assert_non_null(strstr(iso_error_message(), "do not add up"));
        if (i < 3) (*whole[i])--;
    }
    iso_route_counts_free(&counts);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_experts_chosen_by_domain, temp_dir_setup,
                                        temp_dir_teardown),
        cmocka_unit_test_setup_teardown(test_threads_and_micro_batches, temp_dir_setup,
                                        temp_dir_teardown),
        cmocka_unit_test(test_noise_is_not_specialisation),
        cmocka_unit_test(test_specialisation_is_found),
        cmocka_unit_test(test_too_little_text),
        cmocka_unit_test(test_quasi_independence),
        cmocka_unit_test_setup_teardown(test_file_comes_back, temp_dir_setup, temp_dir_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
