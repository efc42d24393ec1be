#include "data/eval_sample.h"

#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define CHUNK_TOKENS 4096

typedef struct candidate {
    uint64_t rank; /* the sample takes windows by ascending rank */
    iso_eval_window window;
} candidate;

typedef struct candidates {
    candidate *items;
    int64_t n, capacity;
    uint64_t seed, domain;
    int64_t S;
} candidates;

static iso_status add_window(candidates *list, const iso_eval_window *window, int64_t i_window) {
    if (list->n == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : 1024;
        candidate *items = realloc(list->items, (size_t)capacity * sizeof *items);
        if (!items) return iso_fail(ISO_ERR_MEMORY, "no memory to list the evaluation windows");
        list->items = items;
        list->capacity = capacity;
    }
    uint64_t lane = XXH3_64bits_withSeed(&window->document, sizeof window->document, list->domain);
    list->items[list->n++] = (candidate){
        .rank = iso_rng_u64(list->seed, ISO_RNG_EVAL, lane, (uint64_t)i_window), .window = *window};
    return ISO_OK;
}

/* The windows of one document, whose separator is at `start` and which has n_tokens more. */
static iso_status add_document(candidates *list, int64_t document, int64_t start,
                               int64_t n_tokens) {
    for (int64_t done = 0, i = 0; done < n_tokens; done += list->S, i++) {
        int64_t n = n_tokens - done < list->S ? n_tokens - done : list->S;
        ISO_TRY(add_window(list,
                           &(iso_eval_window){.document = document,
                                              .start = start + done,
                                              .n_targets = (int32_t)n},
                           i));
    }
    return ISO_OK;
}

static iso_status add_all(candidates *list, const iso_split *split, int32_t separator) {
    int32_t tokens[CHUNK_TOKENS];
    int64_t document = -1, start = 0;
    for (int64_t at = 0; at < split->n_tokens; at += CHUNK_TOKENS) {
        int64_t n = split->n_tokens - at < CHUNK_TOKENS ? split->n_tokens - at : CHUNK_TOKENS;
        iso_split_read(split, at, n, tokens);
        for (int64_t i = 0; i < n; i++) {
            if (tokens[i] != separator) continue;
            if (document >= 0) ISO_TRY(add_document(list, document, start, at + i - start - 1));
            document++;
            start = at + i;
        }
    }
    return document < 0 ? ISO_OK : add_document(list, document, start, split->n_tokens - start - 1);
}

static int compare_rank(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return x->window.start < y->window.start ? -1 : 1;
}

static int compare_start(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return x->window.start < y->window.start ? -1 : 1;
}

/* Inputs and targets of one window, without padding. */
static void read_window(const iso_eval_sample *sample, const iso_eval_window *window,
                        int32_t *inputs, int32_t *targets) {
    iso_split_read(sample->split, window->start, window->n_targets, inputs);
    iso_split_read(sample->split, window->start + 1, window->n_targets, targets);
}

void iso_eval_sample_size(const iso_eval_sample *sample, int64_t i_window, int64_t *n_bytes,
                          int64_t *n_chars) {
    const iso_eval_window *window = &sample->windows[i_window];
    int32_t tokens[CHUNK_TOKENS];
    *n_bytes = *n_chars = 0;
    for (int64_t done = 0; done < window->n_targets;) {
        int64_t left = window->n_targets - done, n = left < CHUNK_TOKENS ? left : CHUNK_TOKENS;
        iso_split_read(sample->split, window->start + 1 + done, n, tokens);
        for (int64_t i = 0; i < n; i++) {
            *n_bytes += sample->dataset->id_bytes[tokens[i]];
            *n_chars += sample->dataset->id_chars[tokens[i]];
        }
        done += n;
    }
}

/* Totals and hash over the chosen windows. */
static iso_status summarize(iso_eval_sample *sample) {
    int64_t S = sample->S;
    int32_t *tokens = malloc((size_t)S * 2 * sizeof *tokens);
    XXH3_state_t *state = XXH3_createState();
    if (!tokens || !state) {
        free(tokens);
        XXH3_freeState(state);
        return iso_fail(ISO_ERR_MEMORY, "no memory to hash the evaluation sample");
    }
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, &S, sizeof S);
    for (int64_t i = 0; i < sample->n_windows; i++) {
        const iso_eval_window *window = &sample->windows[i];
        int64_t key[3] = {window->document, window->start, window->n_targets};
        read_window(sample, window, tokens, tokens + S);
        XXH3_128bits_update(state, key, sizeof key);
        XXH3_128bits_update(state, tokens, (size_t)window->n_targets * sizeof *tokens);
        XXH3_128bits_update(state, tokens + S, (size_t)window->n_targets * sizeof *tokens);
        int64_t n_bytes, n_chars;
        iso_eval_sample_size(sample, i, &n_bytes, &n_chars);
        sample->n_tokens += window->n_targets;
        sample->n_bytes += n_bytes;
        sample->n_chars += n_chars;
    }
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    snprintf(sample->hash, sizeof sample->hash, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
    XXH3_freeState(state);
    free(tokens);
    return ISO_OK;
}

/* Keeps the windows of lowest rank until max_tokens targets are reached, in stream order. */
static void choose(candidates *list, int64_t max_tokens) {
    if (max_tokens > 0) {
        qsort(list->items, (size_t)list->n, sizeof *list->items, compare_rank);
        int64_t n = 0;
        for (int64_t total = 0; n < list->n && total < max_tokens; n++)
            total += list->items[n].window.n_targets;
        list->n = n;
    }
    qsort(list->items, (size_t)list->n, sizeof *list->items, compare_start);
}

iso_status iso_eval_sample_create(iso_eval_sample *out, const iso_dataset *dataset,
                                  const iso_split *split, int64_t S, int64_t max_tokens,
                                  uint64_t seed) {
    ISO_ASSERT(S > 0 && S <= INT32_MAX && max_tokens >= 0);
    *out = (iso_eval_sample){.dataset = dataset, .split = split, .S = S};
    candidates list = {
        .seed = seed, .domain = XXH3_64bits(split->name, strlen(split->name)), .S = S};
    iso_status status = add_all(&list, split, dataset->separator);
    if (status == ISO_OK && list.n == 0)
        status = iso_fail(ISO_ERR_DATA, "%s: validation domain %s holds no text; prepare it again",
                          dataset->dir, split->name);
    if (status == ISO_OK) {
        choose(&list, max_tokens);
        out->n_windows = list.n;
        out->windows = malloc((size_t)list.n * sizeof *out->windows);
        if (!out->windows) status = iso_fail(ISO_ERR_MEMORY, "no memory for the evaluation sample");
        for (int64_t i = 0; status == ISO_OK && i < list.n; i++)
            out->windows[i] = list.items[i].window;
    }
    free(list.items);
    if (status == ISO_OK) status = summarize(out);
    if (status != ISO_OK) iso_eval_sample_free(out);
    return status;
}

void iso_eval_sample_free(iso_eval_sample *sample) {
    free(sample->windows);
    *sample = (iso_eval_sample){0};
}

void iso_eval_sample_fill(const iso_eval_sample *sample, int64_t first, int64_t n, int32_t *inputs,
                          int32_t *targets) {
    int64_t S = sample->S;
    ISO_ASSERT(first >= 0 && first + n <= sample->n_windows);
    for (int64_t i = 0; i < n; i++) {
        const iso_eval_window *window = &sample->windows[first + i];
        read_window(sample, window, inputs + i * S, targets + i * S);
        for (int64_t s = window->n_targets; s < S; s++) {
            inputs[i * S + s] = sample->dataset->separator;
            targets[i * S + s] = -1;
        }
    }
}
