/* cpu.c - which instruction set the fast kernels use. */
#include "ops/cpu/cpu.h"

#include <dnnl.h>
#include <string.h>

typedef void (*init_fn)(iso_kernels *);

#define N_PARTS 7

typedef struct isa {
    const char *name;
    iso_dtype dtype;      /* what it is for: ISO_BF16, or ISO_F32 */
    dnnl_cpu_isa_t least; /* what oneDNN must be allowed to use */
    init_fn parts[N_PARTS];
} isa;

#define PARTS(name)                                                                                \
    {                                                                                              \
        iso_cpu_grouped_init_##name, iso_cpu_linear_init_##name, iso_cpu_rows_init_##name,         \
            iso_cpu_route_init_##name, iso_cpu_attention_init_##name, iso_cpu_loss_init_##name,    \
            iso_cpu_optim_init_##name                                                              \
    }

/* Best first. */
static const isa isas[] = {
    {"avx512bf16", ISO_BF16, dnnl_cpu_isa_avx512_core_bf16, PARTS(avx512bf16)},
    {"avx512", ISO_F32, dnnl_cpu_isa_avx512_core, PARTS(avx512)},
    {"avx2", ISO_F32, dnnl_cpu_isa_avx2, PARTS(avx2)},
    {"sse2", ISO_F32, dnnl_cpu_isa_sse41, PARTS(sse2)},
};
#define N_ISAS ((int)(sizeof isas / sizeof isas[0]))

/* What the compiler may use for -march=x86-64-v4 (with AVX512-BF16 or not), v3 and v2, and what
 * ONEDNN_MAX_CPU_ISA leaves. oneDNN's numbers are sets of bits that grow with what is better. */
static bool machine_has(int i_isa) {
    __builtin_cpu_init();
    bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    const bool has[N_ISAS] = {v4 && __builtin_cpu_supports("avx512bf16"), v4, v3, v2};
    dnnl_cpu_isa_t least = isas[i_isa].least;
    return has[i_isa] && (dnnl_get_effective_cpu_isa() & least) == least;
}

/* The best, or that of the name, for a type. */
static const isa *find_isa(const char *name, iso_dtype dtype) {
    for (int i = 0; i < N_ISAS; i++)
        if (isas[i].dtype == dtype && machine_has(i) && (!name || strcmp(name, isas[i].name) == 0))
            return &isas[i];
    return NULL;
}

bool iso_kernels_init_cpu_isa(iso_kernels *kernels, const char *name, iso_dtype dtype) {
    const isa *found = find_isa(name, dtype);
    if (!found) return false;
    kernels->name = "cpu";
    for (int i = 0; i < N_PARTS; i++) found->parts[i](kernels);
    return true;
}

bool iso_kernels_init_cpu(iso_kernels *kernels, iso_dtype dtype) {
    return iso_kernels_init_cpu_isa(kernels, NULL, dtype);
}

const char *iso_exec_isa(iso_dtype dtype) {
    const isa *found = find_isa(NULL, dtype);
    return found ? found->name : "none";
}
