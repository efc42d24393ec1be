/* bench_file.c - what a bench's JSON says besides its results: of which program and machine. */
#include "bench.h"
#include "build_commit.h"

#include "base/threads.h"
#include "ops/ops.h"

#include <isomoe.h>
#include <string.h>

/* "model name : AMD EPYC ..." of /proc/cpuinfo, or "unknown". */
static void cpu_name(char *out, size_t out_bytes) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(out, out_bytes, "unknown");
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(out, out_bytes, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    fclose(file);
}

json_t *bench_file_json(json_t *results) {
    char cpu[256];
    cpu_name(cpu, sizeof cpu);
    return json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:i, s:s, s:s}, s:o}", "format",
                     "isomoe bench 1", "version", ISO_VERSION, "commit", cli_build_commit(),
                     "compiler", __VERSION__, "machine", "cpu", cpu, "cores",
                     iso_machine_n_threads(), "isa", iso_exec_isa(ISO_F32), "isa_bf16",
                     iso_exec_isa(ISO_BF16), "results", results);
}
