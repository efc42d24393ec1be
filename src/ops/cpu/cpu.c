/* cpu.c - which instruction set the fast kernels use. */
#include "ops/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef void (*init_fn)(iso_kernels *);

#define N_PARTS 7

typedef struct isa {
    const char *name;
    iso_dtype dtype; /* what it is for: ISO_BF16, or ISO_F32 */
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
    {"avx512bf16", ISO_BF16, PARTS(avx512bf16)},
    {"avx512", ISO_F32, PARTS(avx512)},
    {"avx2", ISO_F32, PARTS(avx2)},
    {"sse2", ISO_F32, PARTS(sse2)},
};
#define N_ISAS ((int)(sizeof isas / sizeof isas[0]))

/* Of oneDNN's names for instruction sets those that forbid one of ours, and the best that is left:
 * an index into isas. Any other value, a better or an unknown one, forbids nothing. */
static const struct {
    const char *name;
    int best;
} limits[] = {
    {"SSE41", 3},       {"AVX", 3},         {"AVX2", 2},        {"AVX2_VNNI", 2},
    {"AVX2_VNNI_2", 2}, {"AVX10_1_256", 2}, {"AVX512_CORE", 1}, {"AVX512_CORE_VNNI", 1},
};

static int best_allowed(void) {
    const char *limit = getenv("ONEDNN_MAX_CPU_ISA");
    for (size_t i = 0; limit && i < sizeof limits / sizeof *limits; i++)
        if (strcasecmp(limit, limits[i].name) == 0) return limits[i].best;
    return 0;
}

/* What the compiler may use for -march=x86-64-v4 (with AVX512-BF16 or not), v3 and v2, as far as it
 * is allowed. */
static bool machine_has(int i_isa) {
    __builtin_cpu_init();
    bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    const bool has[N_ISAS] = {v4 && __builtin_cpu_supports("avx512bf16"), v4, v3, v2};
    return has[i_isa] && i_isa >= best_allowed();
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
