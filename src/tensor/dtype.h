/* dtype.h - element types: what a tensor's or a file's elements are.
 *
 * Names and meaning are those of the safetensors format; everything is little-endian.
 */
#ifndef ISO_TENSOR_DTYPE_H
#define ISO_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef enum iso_dtype {
    ISO_F32,
    ISO_F64,
    ISO_BF16, /* the upper half of an F32 */
    ISO_I32,
    ISO_I64,
    ISO_U8,
} iso_dtype;

#define ISO_N_DTYPES 6

/* Bytes of one element. */
static inline int64_t iso_dtype_bytes(iso_dtype dtype) {
    static const int8_t n_bytes[ISO_N_DTYPES] = {4, 8, 2, 4, 8, 1};
    return n_bytes[dtype];
}

/* "F32", "F64", "BF16", "I32", "I64", "U8" and back; from_name returns false on any other name. */
static inline const char *iso_dtype_name(iso_dtype dtype) {
    static const char *const names[ISO_N_DTYPES] = {"F32", "F64", "BF16", "I32", "I64", "U8"};
    return names[dtype];
}
static inline bool iso_dtype_from_name(iso_dtype *out, const char *name) {
    for (int i = 0; i < ISO_N_DTYPES; i++) {
        if (strcmp(name, iso_dtype_name((iso_dtype)i)) == 0) {
            *out = (iso_dtype)i;
            return true;
        }
    }
    return false;
}

#endif
