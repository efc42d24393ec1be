/* Learning a BPE model: two passes over the text. The first counts characters and document sizes,
 * so that a cap can choose documents by hash and the alphabet leaves room for merges; the second
 * feeds the trainer line by line. */
#include "data/choice.h"
#include "data/corpus.h"
#include "data/spm_shim.h"
#include "data/tokenizer.h"
#include "data/utf8.h"

#include <stdlib.h>
#include <string.h>

#define N_CODE_POINTS  0x110000
#define N_RESERVED_IDS 258    /* unknown, separator, 256 bytes */
#define MIN_VOCAB_SIZE 320    /* below that there is nothing to learn */
#define COVERAGE       0.9995 /* rarer characters go out as bytes */
#define SENTENCE_BYTES 4096

typedef struct survey {
    iso_choice choice;
    int64_t code_points[N_CODE_POINTS];
} survey;

static int compare_descending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x > y ? -1 : x < y;
}

static void count_code_points(int64_t *counts, const char *text, int64_t n_bytes) {
    static const uint8_t lead_mask[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    const uint8_t *s = (const uint8_t *)text;
    for (int64_t i = 0; i < n_bytes;) {
        int length = s[i] < 0x80 ? 1 : s[i] < 0xE0 ? 2 : s[i] < 0xF0 ? 3 : 4;
        uint32_t code_point = s[i] & lead_mask[length];
        for (int k = 1; k < length; k++) code_point = code_point << 6 | (s[i + k] & 0x3F);
        counts[code_point]++;
        i += length;
    }
}

/* The fraction of characters to give own pieces: COVERAGE, or less where that would take more than
 * half of the ids beyond the reserved ones. Sorts the counts. */
static double choose_coverage(int64_t *counts, int64_t vocab_size) {
    qsort(counts, N_CODE_POINTS, sizeof *counts, compare_descending);
    int64_t total = 0, covered = 0, n_max = (vocab_size - N_RESERVED_IDS) / 2;
    for (int64_t i = 0; i < N_CODE_POINTS; i++) total += counts[i];
    for (int64_t i = 0; i < n_max && i < N_CODE_POINTS; i++) {
        covered += counts[i];
        if ((double)covered >= COVERAGE * (double)total) return COVERAGE;
    }
    return (double)covered / (double)total;
}

typedef struct feed {
    iso_corpus *corpus;
    int threshold; /* documents in buckets below it are learnt from */
    iso_document document;
    int64_t at; /* byte of the document that comes next */
    iso_status status;
} feed;

/* An iso_spm_next_fn: lines with their LF, cut to SENTENCE_BYTES. */
static int next_sentence(void *ctx, const char **text, size_t *n_bytes) {
    feed *source = ctx;
    iso_document *document = &source->document;
    while (source->at == document->n_bytes) {
        source->at = 0;
        source->status = iso_corpus_next(source->corpus, document);
        if (source->status != ISO_OK || !document->text) {
            document->n_bytes = 0;
            return 0;
        }
        if (iso_choice_bucket(ISO_CHOICE_CAP, document->text, document->n_bytes) >=
            source->threshold)
            source->at = document->n_bytes;
    }
    const char *start = document->text + source->at;
    int64_t left = document->n_bytes - source->at;
    const char *lf = memchr(start, '\n', (size_t)left);
    int64_t length = lf ? lf - start + 1 : left;
    if (length > SENTENCE_BYTES) length = iso_utf8_boundary(start, SENTENCE_BYTES);
    source->at += length;
    *text = start;
    *n_bytes = (size_t)length;
    return 1;
}

static iso_status take_survey(survey *out, const char *const *paths, int64_t n_paths) {
    iso_corpus *corpus;
    ISO_TRY(iso_corpus_open(&corpus, paths, n_paths, NULL));
    iso_document document;
    iso_status status;
    while ((status = iso_corpus_next(corpus, &document)) == ISO_OK && document.text) {
        int bucket = iso_choice_bucket(ISO_CHOICE_CAP, document.text, document.n_bytes);
        iso_choice_add(&out->choice, bucket, document.n_bytes);
        count_code_points(out->code_points, document.text, document.n_bytes);
    }
    iso_corpus_close(corpus);
    if (status == ISO_OK && out->choice.n_bytes == 0)
        status = iso_fail(ISO_ERR_DATA, "%s: no text to train a tokenizer on", paths[0]);
    return status;
}

static iso_status train_model(const char *out_path, iso_corpus *corpus, int threshold,
                              int64_t vocab_size, double coverage) {
    feed source = {.corpus = corpus, .threshold = threshold};
    void *model;
    size_t n_bytes;
    char *error = iso_spm_train(&model, &n_bytes, (int)vocab_size, coverage,
                                ISO_TOKENIZER_SEPARATOR, next_sentence, &source);
    iso_status status = source.status;
    if (status == ISO_OK && error)
        status = iso_fail(ISO_ERR_DATA,
                          "cannot train a tokenizer of %lld ids on this text; give more text or "
                          "fewer ids (libsentencepiece: %s)",
                          (long long)vocab_size, error);
    if (status == ISO_OK) status = iso_file_write_atomic(out_path, model, (int64_t)n_bytes);
    free(error);
    free(model);
    return status;
}

iso_status iso_tokenizer_train(const char *out_path, const char *const *paths, int64_t n_paths,
                               const iso_tokenizer_options *options) {
    if (options->vocab_size < MIN_VOCAB_SIZE || options->vocab_size > ISO_TOKENIZER_MAX_IDS)
        return iso_fail(ISO_ERR_USAGE, "--vocab-size: %lld is not in %d..%d",
                        (long long)options->vocab_size, MIN_VOCAB_SIZE, ISO_TOKENIZER_MAX_IDS);
    survey *found = calloc(1, sizeof *found);
    if (!found) return iso_fail(ISO_ERR_MEMORY, "no memory to survey the text");
    iso_status status = take_survey(found, paths, n_paths);
    int threshold = 0;
    double coverage = 0.0;
    if (status == ISO_OK) {
        threshold = iso_choice_at_most(&found->choice, options->max_bytes);
        coverage = choose_coverage(found->code_points, options->vocab_size);
    }
    free(found);
    if (status != ISO_OK) return status;
    iso_corpus *corpus;
    ISO_TRY(iso_corpus_open(&corpus, paths, n_paths, NULL));
    status = train_model(out_path, corpus, threshold, options->vocab_size, coverage);
    iso_corpus_close(corpus);
    return status;
}
