#include "arch/accelerators.h"

#include <ctype.h>
#include <string.h>

#define GB 1e9

static const iso_accelerator table[] = {
    {"H100", 989.4e12, 80 * GB, "NVIDIA H100 architecture white paper, SXM5"},
    {"H100-PCIe", 756e12, 80 * GB, "NVIDIA H100 architecture white paper, PCIe"},
    {"H200", 989.4e12, 141 * GB, "NVIDIA H200 data sheet, SXM"},
    {"GH200", 989.4e12, 96 * GB, "NVIDIA GH200 data sheet"},
    {"B200", 2250e12, 180 * GB, "NVIDIA HGX B200 data sheet"},
    {"GB200", 2500e12, 186 * GB, "NVIDIA GB200 NVL72 data sheet, one of two GPUs"},
    {"A100", 312e12, 80 * GB, "NVIDIA A100 data sheet, 80 GB"},
    {"A100-40GB", 312e12, 40 * GB, "NVIDIA A100 data sheet, 40 GB"},
    {"L40S", 362e12, 48 * GB, "NVIDIA L40S data sheet"},
    {"L4", 121e12, 24 * GB, "NVIDIA L4 data sheet"},
    {"A10", 125e12, 24 * GB, "NVIDIA A10 data sheet"},
    {"RTX-5090", 209.5e12, 32 * GB, "NVIDIA RTX Blackwell white paper, fp32 accumulation"},
    {"RTX-4090", 165.2e12, 24 * GB, "NVIDIA Ada white paper, fp32 accumulation"},
    {"RTX-3090", 71e12, 24 * GB, "NVIDIA GA102 white paper, fp32 accumulation"},
    {"MI355X", 2516.6e12, 288 * GB, "AMD Instinct MI355X data sheet"},
    {"MI325X", 1307.4e12, 256 * GB, "AMD Instinct MI325X data sheet"},
    {"MI300X", 1307.4e12, 192 * GB, "AMD Instinct MI300X data sheet"},
    {"MI250X", 383e12, 128 * GB, "AMD Instinct MI250X data sheet, both dies"},
    {"TPU-v6e", 918e12, 32 * GB, "Google Cloud TPU v6e documentation, one chip"},
    {"TPU-v5p", 459e12, 95 * GB, "Google Cloud TPU v5p documentation, one chip"},
    {"TPU-v5e", 197e12, 16 * GB, "Google Cloud TPU v5e documentation, one chip"},
    {"TPU-v4", 275e12, 32 * GB, "Google Cloud TPU v4 documentation, one chip"},
};
#define N_ROWS (sizeof table / sizeof *table)

/* Longer names in use for a row; none of them has another peak. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    {"H100-SXM", "H100"}, {"H100-SXM5", "H100"},  {"H100-80GB", "H100"},
    {"H200-SXM", "H200"}, {"H200-141GB", "H200"}, {"A100-80GB", "A100"},
    {"A100-SXM", "A100"}, {"A100-SXM4", "A100"},  {"A100-PCIe", "A100"},
};
#define N_ALIASES (sizeof aliases / sizeof *aliases)

static bool is_filler(char c) {
    return c == ' ' || c == '-' || c == '_';
}

/* Whether `name` of n bytes spells `row`, fillers and case aside. */
static bool spells(const char *name, size_t n, const char *row) {
    size_t i = 0;
    for (; *row; row++) {
        if (is_filler(*row)) continue;
        while (i < n && is_filler(name[i])) i++;
        if (i == n || tolower((unsigned char)name[i]) != tolower((unsigned char)*row)) return false;
        i++;
    }
    while (i < n && is_filler(name[i])) i++;
    return i == n;
}

const iso_accelerator *iso_accelerator_find(const char *name, size_t n_name) {
    for (size_t i = 0; i < N_ROWS; i++)
        if (spells(name, n_name, table[i].name)) return &table[i];
    for (size_t i = 0; i < N_ALIASES; i++)
        if (spells(name, n_name, aliases[i].alias))
            return iso_accelerator_find(aliases[i].name, strlen(aliases[i].name));
    return NULL;
}

const char *iso_accelerator_nearest(const char *name) {
    const char *names[N_ROWS];
    char upper[32];
    size_t n = strlen(name);
    if (n >= sizeof upper) return NULL;
    for (size_t i = 0; i <= n; i++) upper[i] = (char)toupper((unsigned char)name[i]);
    for (size_t i = 0; i < N_ROWS; i++) names[i] = table[i].name;
    return iso_str_nearest(upper, names, N_ROWS);
}

void iso_accelerator_names(iso_str *out) {
    for (size_t i = 0; i < N_ROWS; i++) iso_str_appendf(out, "%s%s", i ? ", " : "", table[i].name);
}

void iso_accelerator_help(iso_str *out) {
    iso_str_append(out, "devices, with their dense bf16 peak and memory:\n");
    for (size_t i = 0; i < N_ROWS; i++)
        iso_str_appendf(out, "  %-10s %6g TFLOP/s  %4g GB\n", table[i].name,
                        table[i].bf16_flops_per_s / 1e12, table[i].memory_bytes / GB);
}

const iso_accelerator *iso_accelerator_at(size_t i) {
    return i < N_ROWS ? &table[i] : NULL;
}
