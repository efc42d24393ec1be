/* document_set.h - a set of documents, known by a 128-bit hash of their text. */
#ifndef ISO_DATA_DOCUMENT_SET_H
#define ISO_DATA_DOCUMENT_SET_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct iso_document_set {
    uint64_t (*slots)[2]; /* open addressing; {0, 0} is free */
    int64_t n, capacity;  /* capacity is 0 or a power of two, at least twice n */
} iso_document_set;

/* Zero-initialise it. */
void iso_document_set_release(iso_document_set *set);
iso_status iso_document_set_add(iso_document_set *set, const char *text, int64_t n_bytes);
bool iso_document_set_has(const iso_document_set *set, const char *text, int64_t n_bytes);

#endif
