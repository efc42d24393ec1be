/* spm_shim.h - libsentencepiece behind a C interface: load, look at pieces, encode, train.
 *
 * Nothing but translation; what the ids mean and why encoding is lossless is tokenizer.c's
 * business. A function that can fail returns NULL or a message, which the caller frees with free().
 */
#ifndef ISO_DATA_SPM_SHIM_H
#define ISO_DATA_SPM_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct iso_spm iso_spm;

typedef enum iso_spm_kind {
    ISO_SPM_NORMAL,
    ISO_SPM_BYTE,
    ISO_SPM_CONTROL,
    ISO_SPM_UNKNOWN,
    ISO_SPM_UNUSED,
} iso_spm_kind;

char *iso_spm_load(iso_spm **out, const void *model, size_t n_bytes);
void iso_spm_free(iso_spm *spm);
int iso_spm_n_ids(const iso_spm *spm);
/* The piece as the library writes it: U+2581 for a space, "<0x41>" for a byte. Borrowed. */
iso_spm_kind iso_spm_piece(const iso_spm *spm, int id, const char **text, size_t *n_bytes);
/* The caller frees *ids with free(). */
char *iso_spm_encode(const iso_spm *spm, const char *text, size_t n_bytes, int32_t **ids,
                     size_t *n_ids);

/* Hands out the next sentence (borrowed until the next call), or returns 0 at the end. */
typedef int (*iso_spm_next_fn)(void *ctx, const char **text, size_t *n_bytes);

/* Trains a lossless BPE model of exactly vocab_size ids. `coverage` is the fraction of characters
 * that get pieces of their own; the rest goes out as bytes. The caller frees *model. */
char *iso_spm_train(void **model, size_t *n_bytes, int vocab_size, double coverage,
                    const char *separator, iso_spm_next_fn next, void *ctx);

#ifdef __cplusplus
}
#endif

#endif
