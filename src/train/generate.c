#include "train/generate.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Index of the largest logit that is not yet taken (-INFINITY); lowest index on ties. */
static int64_t argmax(const float *logits, int64_t V) {
    int64_t best = 0;
    for (int64_t v = 1; v < V; v++)
        if (logits[v] > logits[best]) best = v;
    return best;
}

/* The top_k-th largest logit: what is below it is not sampled. */
static float threshold(float *copy, const float *logits, int64_t V, int64_t top_k) {
    memcpy(copy, logits, (size_t)V * sizeof *copy);
    float least = -INFINITY;
    for (int64_t k = 0; k < top_k && k < V; k++) {
        int64_t best = argmax(copy, V);
        least = copy[best];
        copy[best] = -INFINITY;
    }
    return least;
}

static int32_t sample(float *copy, const float *logits, int64_t V,
                      const iso_generate_options *options, int64_t i_token) {
    int64_t best = argmax(logits, V);
    if (options->temperature <= 0) return (int32_t)best;
    float least = options->top_k > 0 ? threshold(copy, logits, V, options->top_k) : -INFINITY;
    double sum = 0, at = iso_rng_uniform(options->seed, ISO_RNG_SAMPLE, 0, (uint64_t)i_token);
    for (int pass = 0; pass < 2; pass++) {
        double target = at * sum, below = 0;
        for (int64_t v = 0; v < V; v++) {
            if (logits[v] < least) continue;
            below += exp((double)(logits[v] - logits[best]) / options->temperature);
            if (pass == 1 && below > target) return (int32_t)v;
        }
        sum = below;
    }
    return (int32_t)best;
}

iso_status iso_generate(iso_trainer *trainer, const int32_t *prompt, int64_t n_prompt,
                        const iso_generate_options *options, iso_token_fn on_token, void *ctx) {
    int64_t S = trainer->config.model.max_position_embeddings;
    int64_t V = trainer->config.model.vocab_size, n = 0;
    int32_t *context = malloc((size_t)S * sizeof *context);
    float *logits = malloc((size_t)(2 * V) * sizeof *logits);
    if (!context || !logits) {
        free(context);
        free(logits);
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate the context");
    }
    /* Positions past the text hold the separator: the causal mask hides them. */
    for (int64_t i = 0; i < S; i++) context[i] = options->separator;
    n = n_prompt < S - 1 ? n_prompt + 1 : S;
    for (int64_t i = 1; i <= n_prompt && i < n; i++) context[n - i] = prompt[n_prompt - i];
    if (n_prompt >= S) context[0] = prompt[n_prompt - S];
    for (int64_t i = 0; i < options->max_tokens; i++) {
        iso_model_forward(trainer->model, context, 1);
        iso_model_logits(trainer->model, n - 1, 1, logits);
        int32_t token = sample(logits + V, logits, V, options, i);
        if (token == options->separator || !on_token(ctx, token)) break;
        if (n == S) { /* forget the older half, so that most tokens see a long context */
            n = S - S / 2;
            memmove(context, context + S - n, (size_t)n * sizeof *context);
        }
        context[n++] = token;
    }
    free(context);
    free(logits);
    return ISO_OK;
}
