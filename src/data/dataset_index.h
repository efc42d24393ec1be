/* dataset_index.h - dataset.json and the names in a prepared folder: shared by its writer and its
 * reader. docs/formats.md, "Prepared folder", describes all of it.
 */
#ifndef ISO_DATA_DATASET_INDEX_H
#define ISO_DATA_DATASET_INDEX_H

#include "base/json.h"
#include "base/status.h"
#include "data/dataset.h"

#include <stdbool.h>

#define ISO_DATASET_FORMAT  1
#define ISO_DATASET_INDEX   "dataset.json"
#define ISO_DATASET_SOURCES "sources.json"
#define ISO_DATASET_TABLE   "id_table.bin"
#define ISO_DATASET_MODEL   "tokenizer.model"
#define ISO_DATASET_SUMS    "SHA256SUMS"
#define ISO_DATASET_LOCK    "lock" /* only while the folder is being prepared */

/* Letters, digits, '_', '-' and '.', not first; at most 64. So a name is safe in a path. */
bool iso_dataset_name_ok(const char *name);

/* "train" for train, "val-NAME" for a domain: what its shard files are called. Caller frees. */
char *iso_dataset_prefix(const char *split_name);

/* Fills everything of *out that dataset.json tells, and checks all of it; opens no file. `what`
 * names the source in messages. On failure *out is released. */
iso_status iso_dataset_index_parse(iso_dataset *out, const char *text, int64_t n_bytes,
                                   const char *what);

/* The lines of SHA256SUMS: every file of the folder but itself and the lock, in bytewise order of
 * names. Caller frees *out. */
iso_status iso_dataset_sums(char **out, const char *dir);

#endif
