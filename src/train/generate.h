/* generate.h - text from a model, one token at a time. */
#ifndef ISO_TRAIN_GENERATE_H
#define ISO_TRAIN_GENERATE_H

#include "train/trainer.h"

typedef struct iso_generate_options {
    int64_t max_tokens;
    double temperature; /* 0 = always the likeliest token */
    int64_t top_k;      /* choose among the likeliest only; 0 = all */
    uint64_t seed;
    int32_t separator; /* starts the text, and ends it when the model writes one */
} iso_generate_options;

/* Called with each token; returning false ends the text. */
typedef bool (*iso_token_fn)(void *ctx, int32_t token);

/* Continues prompt (n_prompt ids, the separator in front not counted). The context is the last S
 * tokens at most; every token costs one forward over S positions (there is no key/value cache). The
 * same seed gives the same text. */
iso_status iso_generate(iso_trainer *trainer, const int32_t *prompt, int64_t n_prompt,
                        const iso_generate_options *options, iso_token_fn on_token, void *ctx);

#endif
