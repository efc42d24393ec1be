/* eval_sample.h - the fixed validation sample of one domain: which windows are scored.
 *
 * Each document starts with the separator; windows of S targets do not overlap; every byte of a
 * document falls in exactly one window. The sample takes whole windows by a seeded hash of
 * (domain, document, window) until max_tokens targets are reached (0 = all). The separator is
 * context only, never a target.
 *
 * (I1) the sample is a pure function of (the stream, S, max_tokens, seed); a smaller max_tokens
 * gives a subset of a larger one's windows.
 */
#ifndef ISO_DATA_EVAL_SAMPLE_H
#define ISO_DATA_EVAL_SAMPLE_H

#include "base/status.h"
#include "data/dataset.h"

#include <stdint.h>

typedef struct iso_eval_window {
    int64_t document;  /* index of the document in the domain */
    int64_t start;     /* stream position of the first input; targets follow one later */
    int32_t n_targets; /* 1..S */
} iso_eval_window;

typedef struct iso_eval_sample {
    const iso_dataset *dataset; /* borrowed */
    const iso_split *split;     /* borrowed */
    int64_t S;
    int64_t n_windows;
    iso_eval_window *windows;           /* in stream order */
    int64_t n_tokens, n_bytes, n_chars; /* totals over the targets */
    char hash[33];                      /* over S, the windows and their tokens */
} iso_eval_sample;

iso_status iso_eval_sample_create(iso_eval_sample *out, const iso_dataset *dataset,
                                  const iso_split *split, int64_t S, int64_t max_tokens,
                                  uint64_t seed);
void iso_eval_sample_free(iso_eval_sample *sample);
/* inputs and targets (n, S) of windows [first, first + n); past a window's end the input is the
 * separator and the target -1 (not scored). */
void iso_eval_sample_fill(const iso_eval_sample *sample, int64_t first, int64_t n, int32_t *inputs,
                          int32_t *targets);
/* Raw bytes and code points of one window's targets. */
void iso_eval_sample_size(const iso_eval_sample *sample, int64_t i_window, int64_t *n_bytes,
                          int64_t *n_chars);

#endif
