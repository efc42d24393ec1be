/* cpu.h - the fast CPU kernels from inside: how they are put together and how they cut work.
 *
 * Sources with vector code are compiled once per instruction set with ISO_ISA as suffix of their
 * public functions, of which one sets its kernels in the table.
 *
 * (I1) the size of a piece depends on shapes alone.
 */
#ifndef ISO_OPS_CPU_CPU_H
#define ISO_OPS_CPU_CPU_H

#include "ops/ops.h"

/* As iso_kernels_init_cpu, for one of "avx512", "avx2", "sse2" (ISO_F32), "avx512bf16" (ISO_BF16)
 * or NULL (the best). False if the processor lacks it: the table is left alone. For tests and
 * benchmarks. */
bool iso_kernels_init_cpu_isa(iso_kernels *kernels, const char *isa, iso_dtype dtype);

#define ISO_ISA_PASTE(name, isa)  name##_##isa
#define ISO_ISA_EXPAND(name, isa) ISO_ISA_PASTE(name, isa)
#define ISO_ISA_NAME(name)        ISO_ISA_EXPAND(name, ISO_ISA)

#ifdef ISO_ISA
/* out (n_cols,n_rows) = in (n_rows,n_cols)^T; ld: floats from row to row. */
void ISO_ISA_NAME(iso_cpu_transpose)(float *out, int64_t ld_out, const float *in, int64_t ld_in,
                                     int64_t n_rows, int64_t n_cols);
#endif

void iso_cpu_grouped_init_avx512bf16(iso_kernels *kernels);
void iso_cpu_linear_init_avx512bf16(iso_kernels *kernels);
void iso_cpu_rows_init_avx512bf16(iso_kernels *kernels);
void iso_cpu_route_init_avx512bf16(iso_kernels *kernels);
void iso_cpu_attention_init_avx512bf16(iso_kernels *kernels);
void iso_cpu_loss_init_avx512bf16(iso_kernels *kernels);
void iso_cpu_optim_init_avx512bf16(iso_kernels *kernels);
void iso_cpu_grouped_init_avx512(iso_kernels *kernels);
void iso_cpu_linear_init_avx512(iso_kernels *kernels);
void iso_cpu_rows_init_avx512(iso_kernels *kernels);
void iso_cpu_route_init_avx512(iso_kernels *kernels);
void iso_cpu_attention_init_avx512(iso_kernels *kernels);
void iso_cpu_loss_init_avx512(iso_kernels *kernels);
void iso_cpu_optim_init_avx512(iso_kernels *kernels);
void iso_cpu_grouped_init_avx2(iso_kernels *kernels);
void iso_cpu_linear_init_avx2(iso_kernels *kernels);
void iso_cpu_rows_init_avx2(iso_kernels *kernels);
void iso_cpu_route_init_avx2(iso_kernels *kernels);
void iso_cpu_attention_init_avx2(iso_kernels *kernels);
void iso_cpu_loss_init_avx2(iso_kernels *kernels);
void iso_cpu_optim_init_avx2(iso_kernels *kernels);
void iso_cpu_grouped_init_sse2(iso_kernels *kernels);
void iso_cpu_linear_init_sse2(iso_kernels *kernels);
void iso_cpu_rows_init_sse2(iso_kernels *kernels);
void iso_cpu_route_init_sse2(iso_kernels *kernels);
void iso_cpu_attention_init_sse2(iso_kernels *kernels);
void iso_cpu_loss_init_sse2(iso_kernels *kernels);
void iso_cpu_optim_init_sse2(iso_kernels *kernels);

static inline int64_t cpu_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t cpu_max(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static inline int64_t cpu_ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* In order: what pieces have left. */
static inline double cpu_sum(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

/* Rows in a piece of an elementwise operation: about 32 Ki elements, a few microseconds of work. */
static inline int64_t cpu_block_rows(int64_t row_elements) {
    return cpu_max(1, 32768 / cpu_max(1, row_elements));
}

#endif
