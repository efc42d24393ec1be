/* bench_run.c - timed blocks of training steps, each between two bursts of peak work.
 *
 * A shared machine loses half of a core for tens of milliseconds at any time. A block and its
 * neighbouring bursts lose alike, so their ratio says more than any of the three, and its median
 * over blocks more than one ratio.
 */
#include "bench.h"
#include "build_commit.h"

#include "arch/count.h"
#include "base/clock.h"
#include "base/rng.h"
#include "ops/peak.h"

#include <inttypes.h>
#include <isomoe.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N_BURSTS 4 /* of a peak: 20 ms */

static iso_status random_tokens(bench *b, int64_t vocab_size) {
    b->tokens = malloc((size_t)b->batch_tokens * sizeof *b->tokens);
    if (!b->tokens) return iso_fail(ISO_ERR_MEMORY, "cannot allocate a batch");
    for (int64_t i = 0; i < b->batch_tokens; i++)
        b->tokens[i] =
            (int32_t)(iso_rng_u64(1, ISO_RNG_TEST, 0, (uint64_t)i) % (uint64_t)vocab_size);
    return ISO_OK;
}

iso_status bench_open(bench *b, const char *name, const bench_options *options) {
    iso_config config;
    iso_counts counts;
    bench_reset_peak_rss();
    *b = (bench){.name = name, .start_rss_bytes = bench_rss_bytes()};
    ISO_TRY(bench_config(&config, name));
    config.train.threads = options->threads;
    config.train.precision = options->precision;
    if (options->micro_batch > 0) config.train.micro_batch_size = options->micro_batch;
    ISO_TRY(iso_config_resolve(&config, NULL));
    ISO_TRY(iso_train_check_precision(&config));
    ISO_TRY(iso_count(&counts, &config.model, ISO_CONVENTION_PAPER));
    b->batch_tokens = iso_config_batch_tokens(&config);
    b->M = counts.train_flops_per_token;
    ISO_TRY(random_tokens(b, config.model.vocab_size));
    return iso_trainer_create(&b->trainer, &config, "cpu", ISO_F32, true);
}

void bench_close(bench *b) {
    iso_trainer_free(b->trainer);
    free(b->tokens);
}

double bench_peak(const bench *b) {
    double inverse = 0; /* bursts are of equal work: their times are averaged */
    for (int i = 0; i < N_BURSTS; i++)
        inverse += 1 / iso_peak_burst(b->trainer->pool, b->trainer->exec.narrow) / N_BURSTS;
    return 1 / inverse;
}

static bool is_processor_time(const bench *b) {
    return iso_pool_n_threads(b->trainer->pool) == 1;
}

static double bench_clock_s(const bench *b) {
    struct timespec t;
    if (!is_processor_time(b)) return iso_clock_s();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

iso_status bench_steps(bench *b, int64_t n_steps, double *seconds) {
    iso_step_result result;
    double start = bench_clock_s(b);
    for (int64_t i = 0; i < n_steps; i++)
        ISO_TRY(iso_trainer_step(b->trainer, ++b->step, b->tokens, b->tokens, &result));
    *seconds = bench_clock_s(b) - start;
    return ISO_OK;
}

double bench_executed_per_token(const bench *b) {
    const iso_counters *c = &b->trainer->train_counters;
    int64_t n_forwards = c->calls[ISO_OP_HEAD_LOSS],
            micro = b->trainer->config.train.micro_batch_size;
    int64_t tokens = n_forwards * micro * b->trainer->config.model.max_position_embeddings;
    return tokens > 0 ? (double)c->executed_flops / (double)tokens : 0;
}

/* What the blocks of one measurement gave. */
typedef struct samples {
    int64_t n, n_steps;
    double *rates;     /* (n) tokens/s */
    double *peaks;     /* (n+1) FLOP/s around them */
    double *fractions; /* (n) of the peaks around, by model FLOPs */
    double clock_s;    /* of all blocks, by the clock that rates are by */
    double wall_s;     /* and by the one on the wall, which the operations' times are by */
} samples;

static iso_status take_samples(samples *s, bench *b) {
    double seconds = 0;
    ISO_TRY(bench_steps(b, 2, &seconds));
    s->n_steps = seconds > 0 ? (int64_t)(1.0 / seconds) : 1;
    if (s->n_steps < 1) s->n_steps = 1;
    memset(&b->trainer->train_counters, 0, sizeof b->trainer->train_counters);
    s->peaks[0] = bench_peak(b);
    for (int64_t i = 0; i < s->n; i++) {
        double start = iso_clock_s();
        ISO_TRY(bench_steps(b, s->n_steps, &seconds));
        s->wall_s += iso_clock_s() - start;
        s->clock_s += seconds;
        s->peaks[i + 1] = bench_peak(b);
        s->rates[i] = (double)(s->n_steps * b->batch_tokens) / seconds;
        s->fractions[i] = s->rates[i] * (double)b->M / ((s->peaks[i] + s->peaks[i + 1]) / 2);
    }
    return ISO_OK;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* {"median", "min", "max", "spread"} of values times `scale`; sorts them. */
static json_t *range_json(double *values, int64_t n, double scale) {
    qsort(values, (size_t)n, sizeof *values, by_value);
    double median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    return json_pack("{s:f, s:f, s:f, s:f}", "median", scale * median, "min", scale * values[0],
                     "max", scale * values[n - 1], "spread",
                     median > 0 ? (values[n - 1] - values[0]) / median : 0);
}

static double largest(const double *values, int64_t n) {
    double most = values[0];
    for (int64_t i = 1; i < n; i++) most = values[i] > most ? values[i] : most;
    return most;
}

static double best_bandwidth(const iso_bandwidth *b) {
    double most = b->read > b->triad ? b->read : b->triad;
    return b->update > most ? b->update : most;
}

/* Every operation that ran. What others took of one thread's time hit all of them alike: their
 * times are scaled to the processor's. */
static json_t *ops_json(const bench *b, const samples *s, double peak,
                        const iso_bandwidth *memory) {
    const iso_counters *c = &b->trainer->train_counters;
    json_t *ops = json_object();
    for (int i = 0; i < ISO_OP_N; i++) {
        if (c->calls[i] == 0) continue;
        double seconds = (double)c->time_ns[i] * 1e-9 * s->clock_s / s->wall_s;
        double flop_rate = seconds > 0 ? (double)c->op_flops[i] / seconds : 0;
        double byte_rate = seconds > 0 ? (double)c->op_bytes[i] / seconds : 0;
        int64_t n_steps = s->n * s->n_steps;
        json_object_set_new(
            ops, iso_op_name((iso_op)i),
            json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "calls_per_step",
                      (json_int_t)(c->calls[i] / n_steps), "ms_per_step",
                      1e3 * seconds / (double)n_steps, "share", seconds / s->clock_s,
                      "gflop_per_step", (double)c->op_flops[i] * 1e-9 / (double)n_steps, "gflops",
                      flop_rate * 1e-9, "peak_fraction", flop_rate / peak, "mb_per_step",
                      (double)c->op_bytes[i] * 1e-6 / (double)n_steps, "gb_s", byte_rate * 1e-9,
                      "bandwidth_fraction", byte_rate / best_bandwidth(memory)));
    }
    return ops;
}

static json_t *memory_json(const bench *b, int64_t peak_rss) {
    const iso_trainer *t = b->trainer;
    iso_model_memory model = iso_model_memory_used(t->model);
    int64_t moments = t->optimizer.arena.size_bytes;
    int64_t state = model.weights + model.gradients + moments;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "start_rss_bytes",
                     (json_int_t)b->start_rss_bytes, "peak_rss_bytes", (json_int_t)peak_rss,
                     "beyond_state_bytes", (json_int_t)(peak_rss - b->start_rss_bytes - state),
                     "weights_bytes", (json_int_t)model.weights, "gradients_bytes",
                     (json_int_t)model.gradients, "moments_bytes", (json_int_t)moments,
                     "activations_bytes", (json_int_t)model.activations, "scratch_bytes",
                     (json_int_t)model.scratch);
}

static json_t *result_json(const bench *b, samples *s, const iso_bandwidth *memory,
                           int64_t peak_rss) {
    const iso_train_config *train = &b->trainer->config.train;
    double executed = bench_executed_per_token(b), best = largest(s->peaks, s->n + 1);
    double mean = 0;
    for (int64_t i = 0; i <= s->n; i++) mean += s->peaks[i] / (double)(s->n + 1);
    json_t *peaks = range_json(s->peaks, s->n + 1, 1e-9);
    json_t *model = range_json(s->fractions, s->n, 1);
    json_t *out = json_pack(
        "{s:s, s:s, s:i, s:I, s:I, s:s, s:I, s:I, s:I, s:f, s:o, s:f, s:o, s:o, s:o, s:o, s:o, "
        "s:o}",
        "shape", b->name, "precision", iso_precision_name(train->precision), "threads",
        iso_pool_n_threads(b->trainer->pool), "batch_tokens", (json_int_t)b->batch_tokens,
        "micro_batch_size", (json_int_t)train->micro_batch_size, "clock",
        is_processor_time(b) ? "processor" : "wall", "blocks", (json_int_t)s->n, "block_steps",
        (json_int_t)s->n_steps, "model_flops_per_token", (json_int_t)b->M,
        "executed_flops_per_token", executed, "tokens_per_s", range_json(s->rates, s->n, 1),
        "peak_best_gflops", best * 1e-9, "peak_gflops", peaks, "model_fraction", model,
        "executed_fraction", range_json(s->fractions, s->n, executed / (double)b->M),
        "bandwidth_gb_s",
        json_pack("{s:f, s:f, s:f}", "read", memory->read * 1e-9, "triad", memory->triad * 1e-9,
                  "update", memory->update * 1e-9),
        "memory", memory_json(b, peak_rss), "ops", ops_json(b, s, mean, memory));
    return out;
}

iso_status bench_measure(json_t **out, bench *b, const bench_options *options) {
    int64_t n = options->n_blocks;
    iso_bandwidth memory = {0};
    double *values = calloc((size_t)(3 * n + 1), sizeof *values);
    if (!values) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the timings");
    samples s = {.n = n, .rates = values, .fractions = values + n, .peaks = values + 2 * n};
    iso_status status = take_samples(&s, b);
    int64_t peak_rss = bench_peak_rss_bytes(); /* before the bandwidth's own arrays */
    if (status == ISO_OK) status = iso_peak_bandwidth(&memory, b->trainer->pool);
    if (status == ISO_OK) {
        *out = result_json(b, &s, &memory, peak_rss);
        if (!*out) status = iso_fail(ISO_ERR_MEMORY, "cannot allocate the result");
    }
    free(values);
    return status;
}

/* One line: facts that a driver needs to check that both sides do the same work. */
static void print_ready(const bench *b) {
    const iso_trainer *t = b->trainer;
    printf("ready {\"precision\": \"%s\", \"model_flops_per_token\": %" PRId64
           ", \"executed_flops_per_token\": %.0f, \"batch_tokens\": %" PRId64
           ", \"version\": \"" ISO_VERSION "\", \"commit\": \"%s\"}\n",
           iso_precision_name(t->config.train.precision), b->M, bench_executed_per_token(b),
           b->batch_tokens, cli_build_commit());
    fflush(stdout);
}

iso_status bench_serve(bench *b) {
    char line[64];
    double seconds;
    ISO_TRY(bench_steps(b, 1, &seconds));
    print_ready(b);
    while (fgets(line, sizeof line, stdin)) {
        int64_t n_steps;
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "peak") == 0) {
            printf("%.3f\n", bench_peak(b) * 1e-9);
        } else {
            if (strncmp(line, "run ", 4) != 0 || !iso_str_to_i64(line + 4, &n_steps) || n_steps < 1)
                return iso_fail(ISO_ERR_USAGE,
                                "bench --blocks: expected `run N` or `peak`, got `%s`", line);
            ISO_TRY(bench_steps(b, n_steps, &seconds));
            printf("%.6f\n", seconds);
        }
        fflush(stdout);
    }
    return ISO_OK;
}
