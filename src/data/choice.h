/* choice.h - documents chosen by what is in them, not by where they stand.
 *
 * A document's content hash puts it in one of ISO_CHOICE_BUCKETS buckets; a choice is "all buckets
 * below a threshold". So a cap takes a fair sample of the whole corpus instead of its first files,
 * the same text is chosen again whatever the file order, and two copies of one document are always
 * on the same side. Thresholds need only a histogram: memory does not grow with the corpus.
 */
#ifndef ISO_DATA_CHOICE_H
#define ISO_DATA_CHOICE_H

#include "base/status.h"

#include <stdint.h>

#define ISO_CHOICE_BUCKETS 65536

/* Independent uses of one document's hash. */
typedef enum iso_choice_use { ISO_CHOICE_CAP = 1, ISO_CHOICE_HOLDOUT = 2 } iso_choice_use;

/* XXH3-64 of the text, seeded with `use`, reduced to 16 bits. */
int iso_choice_bucket(iso_choice_use use, const char *text, int64_t n_bytes);

typedef struct iso_choice {
    int64_t n_bytes, n_documents;             /* in all */
    int64_t bucket_bytes[ISO_CHOICE_BUCKETS]; /* of text */
} iso_choice;

void iso_choice_add(iso_choice *choice, int bucket, int64_t n_bytes);
/* Bytes in the buckets below the threshold. */
int64_t iso_choice_bytes_below(const iso_choice *choice, int threshold);
/* The largest threshold that keeps at most max_bytes; ISO_CHOICE_BUCKETS (all) if max_bytes is 0.
 */
int iso_choice_at_most(const iso_choice *choice, int64_t max_bytes);
/* The smallest threshold >= from that keeps at least min_bytes, or ISO_CHOICE_BUCKETS. */
int iso_choice_at_least(const iso_choice *choice, int from, int64_t min_bytes);

#endif
