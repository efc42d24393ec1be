#include "data/document_set.h"

#include <stdlib.h>
#include <xxhash.h>

typedef struct key {
    uint64_t low, high;
} key;

static key key_of(const char *text, int64_t n_bytes) {
    XXH128_hash_t hash = XXH3_128bits(text, (size_t)n_bytes);
    return (key){.low = hash.low64 | 1, .high = hash.high64}; /* never the free slot's {0, 0} */
}

/* The slot of that key, or the free one where it belongs. */
static uint64_t *find(const iso_document_set *set, key wanted) {
    uint64_t mask = (uint64_t)set->capacity - 1;
    for (uint64_t i = wanted.high & mask;; i = (i + 1) & mask) {
        uint64_t *slot = set->slots[i];
        if (slot[0] == 0 || (slot[0] == wanted.low && slot[1] == wanted.high)) return slot;
    }
}

static iso_status grow(iso_document_set *set) {
    iso_document_set larger = {.capacity = set->capacity ? 2 * set->capacity : 1024, .n = set->n};
    larger.slots = calloc((size_t)larger.capacity, sizeof *larger.slots);
    if (!larger.slots)
        return iso_fail(ISO_ERR_MEMORY, "no memory to remember %lld documents", (long long)set->n);
    for (int64_t i = 0; i < set->capacity; i++) {
        if (set->slots[i][0] == 0) continue;
        uint64_t *slot = find(&larger, (key){.low = set->slots[i][0], .high = set->slots[i][1]});
        slot[0] = set->slots[i][0];
        slot[1] = set->slots[i][1];
    }
    free(set->slots);
    *set = larger;
    return ISO_OK;
}

void iso_document_set_release(iso_document_set *set) {
    free(set->slots);
    *set = (iso_document_set){0};
}

iso_status iso_document_set_add(iso_document_set *set, const char *text, int64_t n_bytes) {
    if (2 * (set->n + 1) > set->capacity) ISO_TRY(grow(set));
    key wanted = key_of(text, n_bytes);
    uint64_t *slot = find(set, wanted);
    if (slot[0] == 0) set->n++;
    slot[0] = wanted.low;
    slot[1] = wanted.high;
    return ISO_OK;
}

bool iso_document_set_has(const iso_document_set *set, const char *text, int64_t n_bytes) {
    return set->n > 0 && find(set, key_of(text, n_bytes))[0] != 0;
}
