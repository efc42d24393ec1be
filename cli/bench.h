/* bench.h - what the parts of `isomoe bench` share.
 *
 * Owns: named shapes, timed blocks of steps with the machine's peak around each, the result as JSON
 * and as tables, two results side by side. Does not own: bursts and bandwidth (ops/peak.h).
 *
 * (I1) a block's fraction is its rate over the mean of the peaks right before and right after it;
 * (I2) tables are made from the JSON alone: what is printed can be saved, and the other way round.
 */
#ifndef ISO_CLI_BENCH_H
#define ISO_CLI_BENCH_H

#include "cli.h"

#include "train/trainer.h"

#define BENCH_SHAPE_NAMES "d0 m0 d1 m1 d2 m2 d3 m3 v3"

typedef struct bench_options {
    int64_t threads, micro_batch; /* 0: all; the batch */
    int64_t n_blocks;
    iso_precision precision;
} bench_options;

/* The config of a name in BENCH_SHAPE_NAMES, or of a config file; resolved. */
iso_status bench_config(iso_config *config, const char *name);

typedef struct bench {
    const char *name; /* borrowed */
    iso_trainer *trainer;
    int32_t *tokens;
    int64_t step, batch_tokens, M;
    int64_t start_rss_bytes;
} bench;

iso_status bench_open(bench *b, const char *name, const bench_options *options);
void bench_close(bench *b); /* also after a failed open */
/* FLOP/s that the machine has now, in the precision of the products. */
double bench_peak(const bench *b);
/* The time that n_steps take: of the processor with one thread, else by the clock on the wall. */
iso_status bench_steps(bench *b, int64_t n_steps, double *seconds);
/* Of all steps since the counters were last cleared. */
double bench_executed_per_token(const bench *b);

/* Times options->n_blocks blocks; *out is one member of "results" (docs/formats.md, "Bench"). */
iso_status bench_measure(json_t **out, bench *b, const bench_options *options);
/* {"format", "version", "commit", "machine", "results": results}; takes over the reference. */
json_t *bench_file_json(json_t *results);

/* Speaks with a driver that times several programs in turn (bench/peers): "ready {facts}", then for
 * each line "run N" the seconds that N steps took, for each "peak" GFLOP/s at that moment. */
iso_status bench_serve(bench *b);

/* What this process holds now, and the most it held since the last reset; 0 where the system does
 * not say. */
int64_t bench_rss_bytes(void);
int64_t bench_peak_rss_bytes(void);
void bench_reset_peak_rss(void);

/* Says so if the peaks around a result's blocks differ by more than 20 %: its fractions are in
 * doubt. */
void bench_warn_of_scatter(const json_t *result);
void bench_print_results(const json_t *file);
void bench_print_kernels(const json_t *file);
/* B beside A, shape by shape. ISO_ERR_DATA if a file is none of `isomoe bench --json`. */
iso_status bench_compare(const char *path_a, const char *path_b, bool json);

#endif
