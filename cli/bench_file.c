/* bench_file.c - what a bench's JSON says besides its results: of which program and machine. */
#include "bench.h"
#include "build_commit.h"

#include "base/threads.h"
#include "ops/ops.h"

#include <isomoe.h>
#include <stdlib.h>

json_t *bench_file_json(json_t *results) {
    char *cpu = iso_machine_processor();
    json_t *file =
        json_pack("{s:s, s:s, s:s, s:s, s:{s:s, s:i, s:s, s:s}, s:o}", "format", "isomoe bench 1",
                  "version", ISO_VERSION, "commit", cli_build_commit(), "compiler", __VERSION__,
                  "machine", "cpu", cpu, "cores", iso_machine_n_threads(), "isa",
                  iso_exec_isa(ISO_F32), "isa_bf16", iso_exec_isa(ISO_BF16), "results", results);
    free(cpu);
    return file;
}
