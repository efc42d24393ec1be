#include "data/order.h"

#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

iso_status iso_order_init(iso_order *out, const iso_split *split, int64_t S, int64_t unique_tokens,
                          uint64_t seed) {
    ISO_ASSERT(S > 0);
    int64_t n_sequences = iso_split_n_sequences(split, S);
    if (n_sequences < 1)
        return iso_fail(ISO_ERR_DATA,
                        "split %s holds %lld tokens in %lld documents, and one sequence of %lld "
                        "takes %lld; prepare more text or lower max_position_embeddings",
                        split->name, (long long)split->n_tokens, (long long)split->n_documents,
                        (long long)S, (long long)S + 1);
    int64_t n_unique = unique_tokens == 0 ? n_sequences : unique_tokens / S;
    if (n_unique < 1)
        return iso_fail(ISO_ERR_USAGE,
                        "data.unique_tokens: %lld is less than one sequence of %lld tokens",
                        (long long)unique_tokens, (long long)S);
    if (n_unique > n_sequences)
        return iso_fail(ISO_ERR_USAGE,
                        "data.unique_tokens: %lld asked for, but split %s holds %lld (%lld "
                        "sequences of %lld tokens); prepare more text or ask for less",
                        (long long)unique_tokens, split->name, (long long)(n_sequences * S),
                        (long long)n_sequences, (long long)S);
    *out = (iso_order){.seed = seed, .n_sequences = n_sequences, .n_unique = n_unique};
    return ISO_OK;
}

int64_t iso_order_at(const iso_order *order, int64_t position) {
    int64_t epoch = position / order->n_unique;
    int64_t i_unique = iso_rng_permute(order->seed, ISO_RNG_EPOCH, (uint64_t)epoch, order->n_unique,
                                       position % order->n_unique);
    /* The subset is the first n_unique of one fixed permutation, so that half of D-hat with the
     * same seed is half of the same sequences. */
    return iso_rng_permute(order->seed, ISO_RNG_SUBSET, 0, order->n_sequences, i_unique);
}

void iso_order_fill(const iso_order *order, const iso_split *split, int64_t S, int64_t first,
                    int64_t n, int32_t *inputs, int32_t *targets) {
    for (int64_t i = 0; i < n; i++) {
        int64_t start = iso_order_at(order, first + i) * S;
        int32_t *input = inputs + i * S, *target = targets + i * S;
        iso_split_read(split, start, S, input);
        memcpy(target, input + 1, (size_t)(S - 1) * sizeof *target);
        iso_split_read(split, start + S, 1, target + S - 1);
    }
}

iso_status iso_seen_create(iso_seen *out, int64_t n_sequences) {
    *out = (iso_seen){.n_sequences = n_sequences};
    out->bits = calloc((size_t)(n_sequences + 7) / 8 + 1, 1);
    out->hasher = XXH3_createState();
    if (out->bits && out->hasher) return ISO_OK;
    iso_seen_free(out);
    return iso_fail(ISO_ERR_MEMORY, "no memory to note which of %lld sequences were seen",
                    (long long)n_sequences);
}

void iso_seen_free(iso_seen *seen) {
    free(seen->bits);
    XXH3_freeState(seen->hasher);
    *seen = (iso_seen){0};
}

static XXH128_hash_t hash_sequence(XXH3_state_t *hasher, const iso_split *split, int64_t S,
                                   int64_t i_sequence) {
    int32_t tokens[1024];
    XXH3_128bits_reset(hasher);
    XXH3_128bits_update(hasher, &i_sequence, sizeof i_sequence);
    for (int64_t done = 0; done < S + 1;) {
        int64_t n = S + 1 - done < 1024 ? S + 1 - done : 1024;
        iso_split_read(split, i_sequence * S + done, n, tokens);
        XXH3_128bits_update(hasher, tokens, (size_t)n * sizeof *tokens);
        done += n;
    }
    return XXH3_128bits_digest(hasher);
}

void iso_seen_add(iso_seen *seen, const iso_order *order, const iso_split *split, int64_t S,
                  int64_t first, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int64_t i_sequence = iso_order_at(order, first + i);
        ISO_ASSERT(i_sequence < seen->n_sequences);
        uint8_t bit = (uint8_t)(1 << (i_sequence % 8));
        if (seen->bits[i_sequence / 8] & bit) continue;
        seen->bits[i_sequence / 8] |= bit;
        seen->n_seen++;
        /* A sum, so that the order of seeing does not matter. */
        XXH128_hash_t hash = hash_sequence(seen->hasher, split, S, i_sequence);
        seen->hash[0] += hash.low64;
        seen->hash[1] += hash.high64;
    }
}

void iso_seen_hex(const iso_seen *seen, char hex[33]) {
    snprintf(hex, 33, "%016llx%016llx", (unsigned long long)seen->hash[1],
             (unsigned long long)seen->hash[0]);
}
