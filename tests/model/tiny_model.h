/* tiny_model.h - small models for tests: shapes that have every part, batches, one exec and model.
 *
 * Owns what it creates; fails the running cmocka test on any error.
 */
#ifndef ISO_TESTS_TINY_MODEL_H
#define ISO_TESTS_TINY_MODEL_H

#include "train/trainer.h"

/* Three layers (so that every layout differs), E = 4, K = 2, a shared expert, balance groups of two
 * sequences; weights large enough that every part bends the loss. */
iso_shape tiny_shape(iso_layout layout);

/* Uniform tokens below V; targets are their successors. inputs and targets (B,S). */
void tiny_batch(int32_t *inputs, int32_t *targets, int64_t B, int64_t S, int64_t V, uint64_t seed);

/* A resolved config of 50 steps for the shape. */
iso_config tiny_config(const iso_shape *shape, int64_t B, int64_t micro_batch, int64_t threads);

/* Element i of an array of the dtype (ISO_F32 or ISO_F64). */
double tiny_get(const void *data, iso_dtype dtype, int64_t i);
void tiny_set(void *data, iso_dtype dtype, int64_t i, double x);

/* The parameter of that name. */
const iso_param *tiny_param(const iso_params *params, const char *name);

/* Norm of the difference of n elements over the norm of want; NaN if either is not finite. */
double tiny_error(const void *got, const void *want, iso_dtype dtype, int64_t n);

void tiny_check(iso_status status);
void *tiny_malloc(int64_t n, int64_t item_bytes);

/* An exec without threads and a model on it, weights drawn from the seed, norms not left at one. */
typedef struct tiny_model {
    iso_counters counters;
    iso_exec exec;
    iso_model *model;
} tiny_model;
void tiny_model_create(tiny_model **out, const iso_shape *shape, const char *backend,
                       iso_dtype dtype, int64_t max_sequences, bool trains);
void tiny_model_free(tiny_model *tiny);

#endif
