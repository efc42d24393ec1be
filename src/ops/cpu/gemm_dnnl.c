/* gemm_dnnl.c - large matrix products, by oneDNN. */
#include "ops/cpu/cpu.h"

#include <dnnl.h>
#include <string.h>

void iso_cpu_gemm(bool trans_a, bool trans_b, int64_t M, int64_t N, int64_t K, const float *a,
                  int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc) {
    if (M == 0 || N == 0) return;
    if (K == 0) {
        for (int64_t i = 0; beta == 0 && i < M; i++) memset(c + i * ldc, 0, (size_t)N * sizeof *c);
        return;
    }
    dnnl_status_t status = dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', M, N, K, 1, a, lda,
                                      b, ldb, beta, c, ldc);
    ISO_ASSERT(status == dnnl_success);
}
