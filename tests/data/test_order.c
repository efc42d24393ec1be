/* The order of sequences: every one of the subset once per epoch, whatever the batch; and what was
 * seen. */
#include "data_fixture.h"

#include "data/order.h"

enum { S = 7 };

/* A split in memory: tokens 0, 1, 2, ... in shards of the given sizes. */
typedef struct memory_split {
    iso_split split;
    uint16_t *tokens;
} memory_split;

static void make_split(memory_split *out, const int64_t *shard_tokens, int64_t n_shards) {
    int64_t n = 0;
    *out = (memory_split){0};
    out->split.name = "train";
    out->split.token_bytes = 2;
    out->split.n_shards = n_shards;
    out->split.shards = calloc((size_t)n_shards, sizeof *out->split.shards);
    out->split.shard_starts = calloc((size_t)n_shards + 1, sizeof *out->split.shard_starts);
    for (int64_t i = 0; i < n_shards; i++) n += shard_tokens[i];
    out->tokens = malloc((size_t)n * 2);
    for (int64_t i = 0; i < n; i++) out->tokens[i] = (uint16_t)i;
    for (int64_t i = 0, at = 0; i < n_shards; at += shard_tokens[i++]) {
        out->split.shards[i] = (iso_map){(const uint8_t *)(out->tokens + at), shard_tokens[i] * 2};
        out->split.shard_starts[i + 1] = at + shard_tokens[i];
    }
    out->split.n_tokens = n;
}

static void free_split(memory_split *memory) {
    free(memory->split.shards);
    free(memory->split.shard_starts);
    free(memory->tokens);
}

static void reads_across_shards(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 5, 3, 100, 2};
    memory_split memory;
    int32_t ids[111];
    make_split(&memory, sizes, 5);
    for (int64_t start = 0; start <= 111; start++)
        for (int64_t n = 0; n <= 111 - start; n++) {
            iso_split_read(&memory.split, start, n, ids);
            for (int64_t i = 0; i < n; i++) assert_int_equal(ids[i], start + i);
        }
    free_split(&memory);
}

static void counts_whole_sequences_with_targets(void **state) {
    (void)state;
    static const int64_t expected[][2] = {{0, 0},  {1, 0},  {7, 0}, {8, 1},
                                          {14, 1}, {15, 2}, {22, 3}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        iso_split split = {.name = "train", .n_tokens = expected[i][0]};
        assert_int_equal(iso_split_n_sequences(&split, S), expected[i][1]);
    }
}

static void too_short_and_too_greedy_are_refused_with_counts(void **state) {
    (void)state;
    iso_order order;
    iso_split split = {.name = "train", .n_tokens = 7, .n_documents = 2};
    assert_int_equal(iso_order_init(&order, &split, S, 0, 1), ISO_ERR_DATA);
    assert_non_null(strstr(iso_error_message(), "7 tokens in 2 documents"));
    split.n_tokens = 71; /* ten sequences */
    assert_int_equal(iso_order_init(&order, &split, S, 6, 1), ISO_ERR_USAGE);
    assert_int_equal(iso_order_init(&order, &split, S, 77, 1), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "holds 70"));
    assert_ok(iso_order_init(&order, &split, S, 76, 1));
    assert_int_equal(order.n_unique, 10);
    assert_ok(iso_order_init(&order, &split, S, 0, 1));
    assert_int_equal(order.n_unique, 10);
}

/* (I1), for many sizes. */
static void every_epoch_is_a_permutation_of_the_subset(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 70; n += n < 20 ? 1 : 7)
        for (int64_t n_unique = 1; n_unique <= n; n_unique += n < 20 ? 1 : 5) {
            iso_order order = {.seed = 3, .n_sequences = n, .n_unique = n_unique};
            int64_t first_epoch[70] = {0};
            for (int64_t epoch = 0; epoch < 4; epoch++) {
                int64_t times[70] = {0};
                for (int64_t i = 0; i < n_unique; i++) {
                    int64_t at = iso_order_at(&order, epoch * n_unique + i);
                    assert_in_range(at, 0, n - 1);
                    assert_int_equal(times[at]++, 0);
                }
                if (epoch == 0) memcpy(first_epoch, times, sizeof times);
                assert_memory_equal(first_epoch, times, sizeof times);
            }
        }
}

/* Shuffled in the first epoch too, differently in each epoch and for each seed. */
static void epochs_and_seeds_differ(void **state) {
    (void)state;
    iso_order order = {.seed = 3, .n_sequences = 500, .n_unique = 500};
    iso_order other = {.seed = 4, .n_sequences = 500, .n_unique = 500};
    int64_t in_place = 0, same_epoch = 0, same_seed = 0;
    for (int64_t i = 0; i < 500; i++) {
        in_place += iso_order_at(&order, i) == i;
        same_epoch += iso_order_at(&order, i) == iso_order_at(&order, 500 + i);
        same_seed += iso_order_at(&order, i) == iso_order_at(&other, i);
    }
    assert_in_range(in_place, 0, 10); /* about 1 expected */
    assert_in_range(same_epoch, 0, 10);
    assert_in_range(same_seed, 0, 10);
}

static void smaller_subsets_are_part_of_larger_ones(void **state) {
    (void)state;
    iso_order half = {.seed = 3, .n_sequences = 60, .n_unique = 30};
    iso_order all = {.seed = 3, .n_sequences = 60, .n_unique = 45};
    bool has[60] = {false};
    for (int64_t i = 0; i < 45; i++) has[iso_order_at(&all, i)] = true;
    for (int64_t i = 0; i < 30; i++) assert_true(has[iso_order_at(&half, i)]);
}

static void targets_are_inputs_one_later(void **state) {
    (void)state;
    static const int64_t sizes[] = {10, 1, 60};
    memory_split memory;
    iso_order order;
    int32_t inputs[4 * S], targets[4 * S];
    make_split(&memory, sizes, 3);
    assert_ok(iso_order_init(&order, &memory.split, S, 0, 9));
    iso_order_fill(&order, &memory.split, S, 8, 4, inputs, targets); /* crosses an epoch */
    for (int64_t i = 0; i < 4; i++)
        for (int64_t s = 0; s < S; s++) {
            assert_int_equal(inputs[i * S + s], iso_order_at(&order, 8 + i) * S + s);
            assert_int_equal(targets[i * S + s], inputs[i * S + s] + 1);
        }
    free_split(&memory);
}

static void seen_hash(char hex[33], const iso_order *order, const iso_split *split,
                      const int64_t *cuts, int64_t n_cuts, int64_t *n_seen) {
    iso_seen seen;
    assert_ok(iso_seen_create(&seen, order->n_sequences));
    for (int64_t i = 0; i + 1 < n_cuts; i++)
        iso_seen_add(&seen, order, split, S, cuts[i], cuts[i + 1] - cuts[i]);
    *n_seen = seen.n_seen;
    iso_seen_hex(&seen, hex);
    iso_seen_free(&seen);
}

/* The same subset gives the same hash in any order, any number of times; another one does not. */
static void what_was_seen_has_one_hash(void **state) {
    (void)state;
    static const int64_t sizes[] = {300};
    static const int64_t once[] = {0, 40}, twice[] = {0, 7, 80}, second[] = {40, 80},
                         part[] = {0, 39};
    memory_split memory, changed;
    iso_order order, reseeded;
    char a[33], b[33];
    int64_t n;
    make_split(&memory, sizes, 1);
    make_split(&changed, sizes, 1);
    assert_ok(iso_order_init(&order, &memory.split, S, 40 * S, 9));
    assert_ok(iso_order_init(&reseeded, &memory.split, S, 40 * S, 10));
    seen_hash(a, &order, &memory.split, once, 2, &n);
    assert_int_equal(n, 40);
    assert_int_equal(strlen(a), 32);
    seen_hash(b, &order, &memory.split, twice, 3, &n);
    assert_int_equal(n, 40);
    assert_string_equal(a, b);
    seen_hash(b, &order, &memory.split, second, 2, &n);
    assert_string_equal(a, b);
    seen_hash(b, &order, &memory.split, part, 2, &n);
    assert_int_equal(n, 39);
    assert_string_not_equal(a, b);
    seen_hash(b, &reseeded, &memory.split, once, 2, &n);
    assert_string_not_equal(a, b);
    /* One token changed, the last target of one of the sequences seen. */
    changed.tokens[iso_order_at(&order, 0) * S + S] ^= 1;
    seen_hash(b, &order, &changed.split, once, 2, &n);
    assert_string_not_equal(a, b);
    free_split(&memory);
    free_split(&changed);
}

/* Sequences longer than the hash's buffer count to their last token. */
static void long_sequences_are_hashed_whole(void **state) {
    (void)state;
    static const int64_t sizes[] = {5001};
    memory_split memory;
    iso_order order;
    char hashes[2][33];
    make_split(&memory, sizes, 1);
    assert_ok(iso_order_init(&order, &memory.split, 5000, 0, 9));
    for (int i = 0; i < 2; i++) {
        iso_seen seen;
        assert_ok(iso_seen_create(&seen, 1));
        iso_seen_add(&seen, &order, &memory.split, 5000, 0, 1);
        iso_seen_hex(&seen, hashes[i]);
        iso_seen_free(&seen);
        memory.tokens[5000] ^= 1;
    }
    assert_string_not_equal(hashes[0], hashes[1]);
    free_split(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_across_shards),
        cmocka_unit_test(counts_whole_sequences_with_targets),
        cmocka_unit_test(too_short_and_too_greedy_are_refused_with_counts),
        cmocka_unit_test(every_epoch_is_a_permutation_of_the_subset),
        cmocka_unit_test(epochs_and_seeds_differ),
        cmocka_unit_test(smaller_subsets_are_part_of_larger_ones),
        cmocka_unit_test(targets_are_inputs_one_later),
        cmocka_unit_test(what_was_seen_has_one_hash),
        cmocka_unit_test(long_sequences_are_hashed_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
