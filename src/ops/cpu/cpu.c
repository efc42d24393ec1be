/* cpu.c - which instruction set the fast kernels use. */
#include "ops/cpu/cpu.h"

#include <string.h>

typedef void (*init_fn)(iso_kernels *);

#define N_PARTS 7

typedef struct isa {
    const char *name;
    init_fn parts[N_PARTS];
} isa;

/* Best first. */
static const isa isas[] = {
    {"avx512",
     {iso_cpu_grouped_init_avx512, iso_cpu_linear_init_avx512, iso_cpu_rows_init_avx512,
      iso_cpu_route_init_avx512, iso_cpu_attention_init_avx512, iso_cpu_loss_init_avx512,
      iso_cpu_optim_init_avx512}},
    {"avx2",
     {iso_cpu_grouped_init_avx2, iso_cpu_linear_init_avx2, iso_cpu_rows_init_avx2,
      iso_cpu_route_init_avx2, iso_cpu_attention_init_avx2, iso_cpu_loss_init_avx2,
      iso_cpu_optim_init_avx2}},
    {"sse2",
     {iso_cpu_grouped_init_sse2, iso_cpu_linear_init_sse2, iso_cpu_rows_init_sse2,
      iso_cpu_route_init_sse2, iso_cpu_attention_init_sse2, iso_cpu_loss_init_sse2,
      iso_cpu_optim_init_sse2}},
};
#define N_ISAS ((int)(sizeof isas / sizeof isas[0]))

/* What the compiler may use for -march=x86-64-v4, v3 and v2. */
static bool machine_has(int i_isa) {
    __builtin_cpu_init();
    bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    const bool has[N_ISAS] = {v4, v3, v2};
    return has[i_isa];
}

static const isa *find_isa(const char *name) {
    for (int i = 0; i < N_ISAS; i++)
        if (machine_has(i) && (!name || strcmp(name, isas[i].name) == 0)) return &isas[i];
    return NULL;
}

bool iso_kernels_init_cpu_isa(iso_kernels *kernels, const char *name) {
    const isa *found = find_isa(name);
    if (!found) return false;
    kernels->name = "cpu";
    for (int i = 0; i < N_PARTS; i++) found->parts[i](kernels);
    return true;
}

/* A processor older than 2009 keeps the reference kernels. */
void iso_kernels_init_cpu(iso_kernels *kernels) {
    iso_kernels_init_cpu_isa(kernels, NULL);
}

const char *iso_exec_isa(void) {
    const isa *found = find_isa(NULL);
    return found ? found->name : "none";
}
