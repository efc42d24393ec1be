/* transpose.c - matrices of words, by squares as wide as a register. */
#include "ops/cpu/cpu.h"
#include "ops/cpu/vec.h"

/* One step of transposing a square: of the bits (row, column) of a place, a rotation by one. */
VEC_INLINE void zip_rows(vec out[VEC_LANES], const vec in[VEC_LANES]) {
#pragma GCC unroll 8
    for (int i = 0; i < VEC_LANES / 2; i++) {
        out[2 * i] = vec_zip_low(in[i], in[i + VEC_LANES / 2]);
        out[2 * i + 1] = vec_zip_high(in[i], in[i + VEC_LANES / 2]);
    }
}

VEC_INLINE void transpose_block(float *out, int64_t ld_out, const float *in, int64_t ld_in) {
    vec v[VEC_LANES], w[VEC_LANES];
#pragma GCC unroll 16
    for (int i = 0; i < VEC_LANES; i++) v[i] = vec_load(in + i * ld_in);
#pragma GCC unroll 4
    for (int n = VEC_LANES; n > 1; n /= 2) {
        zip_rows(w, v);
        memcpy(v, w, sizeof v);
    }
#pragma GCC unroll 16
    for (int i = 0; i < VEC_LANES; i++) vec_store(out + i * ld_out, v[i]);
}

void ISO_ISA_NAME(iso_cpu_transpose)(float *out, int64_t ld_out, const float *in, int64_t ld_in,
                                     int64_t n_rows, int64_t n_cols) {
    for (int64_t i = 0; i < n_rows; i += VEC_LANES)
        for (int64_t j = 0; j < n_cols; j += VEC_LANES) {
            const float *from = in + i * ld_in + j;
            float *to = out + j * ld_out + i;
            if (i + VEC_LANES <= n_rows && j + VEC_LANES <= n_cols) {
                /* Rows far apart, which no processor fetches by itself. */
                for (int r = 0; r < VEC_LANES; r++)
                    __builtin_prefetch(from + (VEC_LANES + r) * ld_in);
                transpose_block(to, ld_out, from, ld_in);
                continue;
            }
            int64_t rows = cpu_min(VEC_LANES, n_rows - i), cols = cpu_min(VEC_LANES, n_cols - j);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t c = 0; c < cols; c++) to[c * ld_out + r] = from[r * ld_in + c];
        }
}
