/* fuzz_dataset_index: a hostile dataset.json. What is believed must be consistent. */
#include "data/dataset_index.h"

static void check_split(const iso_dataset *dataset, const iso_split *split) {
    ISO_ASSERT(iso_dataset_name_ok(split->name));
    ISO_ASSERT(split->max_id < dataset->n_ids);
    ISO_ASSERT(split->token_bytes == 4 || (split->token_bytes == 2 && split->max_id <= UINT16_MAX));
    ISO_ASSERT(split->shard_starts[split->n_shards] == split->n_tokens);
    for (int64_t i = 0; i < split->n_shards; i++)
        ISO_ASSERT(split->shard_starts[i] < split->shard_starts[i + 1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    iso_dataset dataset;
    if (iso_dataset_index_parse(&dataset, (const char *)data, (int64_t)size, "fuzz") != ISO_OK)
        return 0;
    ISO_ASSERT(dataset.separator >= 0 && dataset.separator < dataset.n_ids);
    check_split(&dataset, &dataset.train);
    for (int64_t i = 0; i < dataset.n_domains; i++) check_split(&dataset, &dataset.domains[i]);
    iso_dataset_close(&dataset);
    return 0;
}
