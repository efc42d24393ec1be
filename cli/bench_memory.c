/* bench_memory.c - what the system says that this process holds in memory. */
#include "bench.h"

#include <string.h>

/* "VmHWM:     1234 kB" of /proc/self/status, in bytes. */
static int64_t status_bytes(const char *key) {
    char line[256];
    int64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        char *number = line + strlen(key), *end;
        if (strncmp(line, key, strlen(key)) != 0) continue;
        number += strspn(number, " \t");
        end = number + strspn(number, "0123456789");
        *end = '\0';
        if (!iso_str_to_i64(number, &kib)) kib = 0;
        break;
    }
    fclose(file);
    return kib * 1024;
}

int64_t bench_rss_bytes(void) {
    return status_bytes("VmRSS:");
}

int64_t bench_peak_rss_bytes(void) {
    return status_bytes("VmHWM:");
}

/* Where the kernel refuses, the peak is that of all shapes so far. */
void bench_reset_peak_rss(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}
