/* route_file.h - routing.safetensors: where the tokens of a run's final evaluation went.
 *
 * Owns: that file (docs/formats.md, "routing.safetensors"), beside evaluation.json in a run folder
 * or wherever `isomoe eval --routing` is told. Does not own: the counting (train/route_counts.h).
 *
 * (I1) what is read has been checked: no count is negative, every sum of route_counts.h's (I1)
 * holds, sums of reals are such as gates and entropies can have, sums over everything fit int64;
 * (I2) the same counts give the same bytes.
 */
#ifndef ISO_RUNS_ROUTE_FILE_H
#define ISO_RUNS_ROUTE_FILE_H

#include "base/status.h"
#include "train/route_counts.h"

#include <stdbool.h>

#define ISO_RUN_ROUTING "routing.safetensors"

typedef struct iso_route_file {
    int64_t step;
    char *sample_hash; /* of the validation sample, as in evaluation.json */
    iso_route_counts counts;
} iso_route_file;

/* Replaces `path`, durably and atomically. */
iso_status iso_route_file_save(const char *path, int64_t step, const char *sample_hash,
                               const iso_route_counts *counts);
/* ISO_ERR_DATA names the file and the fault, ISO_ERR_UNSUPPORTED another format. On failure *out
 * needs no release. */
iso_status iso_route_file_load(iso_route_file *out, const char *path);
/* The same of bytes in memory; `what` names them in messages. */
iso_status iso_route_file_parse(iso_route_file *out, const void *bytes, int64_t n_bytes,
                                const char *what);
void iso_route_file_release(iso_route_file *file);

/* The file of a run folder; *found is false, without an error, where there is none: a dense run, or
 * one without a final evaluation. */
iso_status iso_run_routing(iso_route_file *out, bool *found, const char *run_dir);

#endif
