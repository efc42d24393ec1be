#include "data/choice.h"

#include <xxhash.h>

int iso_choice_bucket(iso_choice_use use, const char *text, int64_t n_bytes) {
    return (int)(XXH3_64bits_withSeed(text, (size_t)n_bytes, (uint64_t)use) % ISO_CHOICE_BUCKETS);
}

void iso_choice_add(iso_choice *choice, int bucket, int64_t n_bytes) {
    choice->bucket_bytes[bucket] += n_bytes;
    choice->n_bytes += n_bytes;
    choice->n_documents++;
}

int64_t iso_choice_bytes_below(const iso_choice *choice, int threshold) {
    int64_t total = 0;
    for (int i = 0; i < threshold; i++) total += choice->bucket_bytes[i];
    return total;
}

int iso_choice_at_most(const iso_choice *choice, int64_t max_bytes) {
    if (max_bytes == 0) return ISO_CHOICE_BUCKETS;
    int64_t total = 0;
    for (int i = 0; i < ISO_CHOICE_BUCKETS; i++) {
        total += choice->bucket_bytes[i];
        if (total > max_bytes) return i;
    }
    return ISO_CHOICE_BUCKETS;
}

int iso_choice_at_least(const iso_choice *choice, int from, int64_t min_bytes) {
    int64_t total = iso_choice_bytes_below(choice, from);
    while (from < ISO_CHOICE_BUCKETS && total < min_bytes) total += choice->bucket_bytes[from++];
    return from;
}
