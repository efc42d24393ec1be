/* fuzz_corpus: documents out of a hostile file, packed or not, JSON or plain, strict or lenient.
 *
 * The first byte chooses the kind of file, the rest is its content. Checked beyond "does not
 * crash": every document is valid UTF-8 and not empty, and encoding it loses nothing.
 */
#include "data/corpus.h"
#include "data/tokenizer.h"
#include "data/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_document(const iso_tokenizer *tokenizer, const iso_document *document) {
    ISO_ASSERT(document->n_bytes > 0);
    ISO_ASSERT(iso_utf8_check(document->text, document->n_bytes) == document->n_bytes);
    iso_ids ids = {0};
    iso_str back = {0};
    ISO_ASSERT(iso_tokenizer_encode(tokenizer, &ids, document->text, document->n_bytes) == ISO_OK);
    ISO_ASSERT(iso_tokenizer_decode(tokenizer, &back, ids.data, ids.n) == ISO_OK);
    ISO_ASSERT((int64_t)back.len == document->n_bytes &&
               memcmp(back.data, document->text, back.len) == 0);
    iso_ids_release(&ids);
    iso_str_release(&back);
}

static void read_documents(const char *path, bool lenient) {
    iso_corpus_options options = {.invalid = lenient ? ISO_INVALID_SKIP : ISO_INVALID_REJECT,
                                  .max_line_bytes = 4096,
                                  .max_unpacked_bytes = 1 << 22};
    iso_tokenizer tokenizer;
    iso_corpus *corpus;
    iso_document document;
    ISO_ASSERT(iso_tokenizer_open(&tokenizer, ISO_TOKENIZER_BYTES) == ISO_OK);
    ISO_ASSERT(iso_corpus_open(&corpus, &path, 1, &options) == ISO_OK);
    while (iso_corpus_next(corpus, &document) == ISO_OK && document.text)
        check_document(&tokenizer, &document);
    iso_corpus_close(corpus);
    iso_tokenizer_close(&tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const suffixes[] = {"jsonl", "txt",       "txt.gz",   "jsonl.gz",
                                           "json",  "jsonl.zst", "text.zst", ""};
    if (size == 0) return 0;
    char dir[] = "/tmp/fuzz_corpus_XXXXXX";
    if (!mkdtemp(dir)) return 0;
    char *path = iso_strf("%s/input.%s", dir, suffixes[data[0] % 8]);
    FILE *file = fopen(path, "wb");
    if (file) {
        fwrite(data + 1, 1, size - 1, file);
        fclose(file);
        read_documents(path, data[0] & 8);
        unlink(path);
    }
    free(path);
    rmdir(dir);
    return 0;
}
