/* tensor.h - a view of memory with a type and a shape. Owns nothing.
 *
 * Row-major, dense, at most four dimensions; unused trailing dims are 1. Passed by value.
 */
#ifndef ISO_TENSOR_TENSOR_H
#define ISO_TENSOR_TENSOR_H

#include "tensor/dims.h"
#include "tensor/dtype.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct iso_tensor {
    void *data; /* NULL in a dry run: shapes without memory */
    iso_dtype dtype;
    int n_dims;
    int64_t dims[4];
} iso_tensor;

/* An argument that is not given: data NULL, n_dims 0. */
static inline iso_tensor iso_no_tensor(void) {
    return (iso_tensor){0};
}

static inline iso_tensor iso_tensor_1d(void *data, iso_dtype dtype, int64_t d0) {
    return (iso_tensor){data, dtype, 1, {d0, 1, 1, 1}};
}

static inline iso_tensor iso_tensor_2d(void *data, iso_dtype dtype, int64_t d0, int64_t d1) {
    return (iso_tensor){data, dtype, 2, {d0, d1, 1, 1}};
}

static inline iso_tensor iso_tensor_3d(void *data, iso_dtype dtype, int64_t d0, int64_t d1,
                                       int64_t d2) {
    return (iso_tensor){data, dtype, 3, {d0, d1, d2, 1}};
}

static inline int64_t iso_tensor_numel(const iso_tensor *t) {
    return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
}

static inline bool iso_tensor_is(const iso_tensor *t, iso_dtype dtype, int n_dims, int64_t d0,
                                 int64_t d1, int64_t d2) {
    return t->dtype == dtype && t->n_dims == n_dims && t->dims[0] == d0 && t->dims[1] == d1 &&
           t->dims[2] == d2;
}

#endif
