/* isomoe bench: training steps of known shapes: tokens/s, fraction of peak, where the time goes. */
#include "cli.h"

#include "arch/count.h"
#include "arch/shape_search.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/rng.h"
#include "ops/peak.h"
#include "train/trainer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The pairs of docs/speed.md: equal N, about 20 % active, De 64; vocabulary 256, no tied head.
 * Sizes: H, L, A, F, E, K, De; S and sequences. */
static const struct {
    const char *name;
    int64_t H, L, A, F, E, K, De, S, B;
} bench_shapes[] = {
    {"d1", 256, 8, 4, 704, 0, 0, 0, 512, 8},     {"m1", 192, 6, 3, 384, 28, 1, 64, 512, 8},
    {"d2", 512, 10, 8, 1408, 0, 0, 0, 512, 8},   {"m2", 320, 8, 5, 880, 64, 2, 64, 512, 8},
    {"d3", 768, 12, 12, 2128, 0, 0, 0, 1024, 4}, {"m3", 512, 10, 8, 1408, 80, 3, 64, 1024, 4},
};
#define N_BENCH_SHAPES (sizeof bench_shapes / sizeof *bench_shapes)

/* N of the demo's models: d0 and m0 are its dense and 20 % shapes. */
#define DEMO_PARAMS 400000

static void fill_shape(iso_config *config, size_t i) {
    iso_shape *s = &config->model;
    s->vocab_size = 256;
    s->hidden_size = bench_shapes[i].H;
    s->num_hidden_layers = bench_shapes[i].L;
    s->num_attention_heads = bench_shapes[i].A;
    s->intermediate_size = bench_shapes[i].F;
    s->max_position_embeddings = bench_shapes[i].S;
    s->num_experts = bench_shapes[i].E;
    s->num_experts_per_tok = bench_shapes[i].K;
    s->moe_intermediate_size = bench_shapes[i].De;
    s->shared_expert_intermediate_size = bench_shapes[i].K * bench_shapes[i].De;
    s->layer_layout = bench_shapes[i].E > 0 ? ISO_LAYOUT_1DENSE : ISO_LAYOUT_DENSE;
    config->train.batch_size = bench_shapes[i].B;
    s->router_aux_group = bench_shapes[i].B;
}

static iso_status demo_shape(iso_config *config, bool is_moe) {
    iso_search_goal goal = iso_search_goal_default(DEMO_PARAMS);
    iso_search_result result;
    goal.base.vocab_size = 257;
    goal.expert_width = 32;
    goal.n_rates = 4;
    memcpy(goal.rates, (double[]){0.20, 0.27, 0.35, 0.50}, 4 * sizeof(double));
    ISO_TRY(iso_shape_search(&result, &goal));
    config->model = is_moe ? result.moe[0].shape : result.dense.shape;
    config->train.batch_size = 64;
    return ISO_OK;
}

/* A name from the table, d0 or m0, or a config file. */
static iso_status bench_config(iso_config *config, const char *name) {
    *config = iso_config_default();
    config->train.steps = 1000000;
    config->train.lr = 1e-3;
    for (size_t i = 0; i < N_BENCH_SHAPES; i++) {
        if (strcmp(name, bench_shapes[i].name) != 0) continue;
        fill_shape(config, i);
        return iso_config_resolve(config, NULL);
    }
    if (strcmp(name, "d0") == 0 || strcmp(name, "m0") == 0) {
        ISO_TRY(demo_shape(config, name[0] == 'm'));
        return iso_config_resolve(config, NULL);
    }
    ISO_TRY(iso_config_load(config, name, NULL, 0));
    return iso_config_resolve(config, NULL);
}

typedef struct bench {
    const char *name;
    iso_trainer *trainer;
    int32_t *tokens;
    int64_t step, batch_tokens, M;
    double peak_flops;
} bench;

static iso_status bench_open(bench *b, const char *name, int64_t threads, int64_t micro_batch,
                             iso_precision precision) {
    iso_config config;
    iso_counts counts;
    *b = (bench){.name = name};
    ISO_TRY(bench_config(&config, name));
    config.train.threads = threads;
    config.train.precision = precision;
    if (micro_batch > 0) config.train.micro_batch_size = micro_batch;
    ISO_TRY(iso_config_resolve(&config, NULL));
    ISO_TRY(iso_train_check_precision(&config));
    ISO_TRY(iso_count(&counts, &config.model, ISO_CONVENTION_PAPER));
    b->batch_tokens = iso_config_batch_tokens(&config);
    b->M = counts.train_flops_per_token;
    b->tokens = malloc((size_t)b->batch_tokens * sizeof *b->tokens);
    if (!b->tokens) return iso_fail(ISO_ERR_MEMORY, "cannot allocate a batch");
    for (int64_t i = 0; i < b->batch_tokens; i++)
        b->tokens[i] = (int32_t)(iso_rng_u64(1, ISO_RNG_TEST, 0, (uint64_t)i) %
                                 (uint64_t)config.model.vocab_size);
    ISO_TRY(iso_trainer_create(&b->trainer, &config, "cpu", ISO_F32, true));
    b->peak_flops = iso_peak_flops(b->trainer->pool, b->trainer->exec.narrow);
    return ISO_OK;
}

static void bench_close(bench *b) {
    iso_trainer_free(b->trainer);
    free(b->tokens);
}

/* With one thread the processor's time: what other programs take does not count. */
static double bench_clock_s(const bench *b) {
    struct timespec t;
    if (iso_pool_n_threads(b->trainer->pool) > 1) return iso_clock_s();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static iso_status bench_run(bench *b, int64_t n_steps, double *seconds) {
    iso_step_result result;
    double start = bench_clock_s(b);
    for (int64_t i = 0; i < n_steps; i++)
        ISO_TRY(iso_trainer_step(b->trainer, ++b->step, b->tokens, b->tokens, &result));
    *seconds = bench_clock_s(b) - start;
    return ISO_OK;
}

/* Speaks with a driver that times several programs in turn (bench/peers): "ready", then for each
 * line "run N" the seconds that N steps took. */
static iso_status serve_blocks(bench *b) {
    char line[64];
    double seconds;
    ISO_TRY(bench_run(b, 2, &seconds));
    printf("ready {\"peak_gflops\": %.1f, \"model_flops_per_token\": %" PRId64
           ", \"batch_tokens\": %" PRId64 "}\n",
           b->peak_flops / 1e9, b->M, b->batch_tokens);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int64_t n_steps;
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "run ", 4) != 0 || !iso_str_to_i64(line + 4, &n_steps) || n_steps < 1)
            return iso_fail(ISO_ERR_USAGE, "bench --blocks: expected `run N`, got `%s`", line);
        ISO_TRY(bench_run(b, n_steps, &seconds));
        printf("%.6f\n", seconds);
        fflush(stdout);
    }
    return ISO_OK;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Blocks of about half a second each; quotes the median, with the slowest and the fastest. */
typedef struct bench_result {
    double median_tokens_per_s, min_tokens_per_s, max_tokens_per_s;
    double executed_per_model; /* executed FLOPs over model FLOPs of convention paper */
} bench_result;

static iso_status measure(bench *b, int64_t n_blocks, bench_result *out) {
    double seconds = 0, *rates = calloc((size_t)n_blocks, sizeof *rates);
    if (!rates) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the timings");
    iso_status status = bench_run(b, 2, &seconds);
    int64_t n_steps = seconds > 0 ? (int64_t)(1.0 / seconds) : 1;
    n_steps = n_steps < 1 ? 1 : n_steps;
    memset(&b->trainer->train_counters, 0, sizeof b->trainer->train_counters);
    for (int64_t i = 0; i < n_blocks && status == ISO_OK; i++) {
        status = bench_run(b, n_steps, &seconds);
        rates[i] = (double)(n_steps * b->batch_tokens) / seconds;
    }
    qsort(rates, (size_t)n_blocks, sizeof *rates, by_value);
    double executed = (double)b->trainer->train_counters.executed_flops;
    *out =
        (bench_result){rates[n_blocks / 2], rates[0], rates[n_blocks - 1],
                       executed / ((double)(n_blocks * n_steps * b->batch_tokens) * (double)b->M)};
    free(rates);
    return status;
}

static json_t *parts_json(const bench *b) {
    const iso_counters *c = &b->trainer->train_counters;
    double total = 0;
    json_t *parts = json_object();
    for (int i = 0; i < ISO_OP_N; i++) total += (double)c->time_ns[i];
    for (int i = 0; i < ISO_OP_N && total > 0; i++)
        if (c->calls[i] > 0)
            json_object_set_new(parts, iso_op_name((iso_op)i),
                                json_real((double)c->time_ns[i] / total));
    return parts;
}

static json_t *result_json(const bench *b, const bench_result *r) {
    return json_pack("{ss ss si sI sI sf sf sf sf sf sf so}", "shape", b->name, "precision",
                     iso_precision_name(b->trainer->config.train.precision), "threads",
                     iso_pool_n_threads(b->trainer->pool), "batch_tokens",
                     (json_int_t)b->batch_tokens, "train_flops_per_token", (json_int_t)b->M,
                     "tokens_per_s", r->median_tokens_per_s, "tokens_per_s_min",
                     r->min_tokens_per_s, "tokens_per_s_max", r->max_tokens_per_s, "peak_gflops",
                     b->peak_flops / 1e9, "model_fraction",
                     r->median_tokens_per_s * (double)b->M / b->peak_flops, "executed_fraction",
                     r->median_tokens_per_s * (double)b->M * r->executed_per_model / b->peak_flops,
                     "time_by_op", parts_json(b));
}

/* The three ops that take most of the time: "linear_fwd 22 %, ...". */
static void biggest_parts(iso_str *out, const json_t *parts) {
    double below = 2;
    for (int n = 0; n < 3; n++) {
        const char *key, *best = NULL;
        json_t *value;
        double most = 0;
        json_object_foreach((json_t *)parts, key, value) {
            double share = json_number_value(value);
            if (share < below && share > most) most = share, best = key;
        }
        if (!best) return;
        iso_str_appendf(out, "%s%s %.0f %%", n ? ", " : "", best, 100 * most);
        below = most;
    }
}

static void print_results(const json_t *results) {
    static const char *const headers[] = {"shape", "threads", "tokens/s", "min",
                                          "max",   "model",   "executed", "most of the time"};
    cli_table table;
    size_t i;
    json_t *r;
    cli_table_init(&table, headers, 8);
    json_array_foreach(results, i, r) {
        iso_str parts = {0};
        biggest_parts(&parts, json_object_get(r, "time_by_op"));
        cli_table_add(&table, json_string_value(json_object_get(r, "shape")));
        cli_table_addf(&table, "%" JSON_INTEGER_FORMAT,
                       json_integer_value(json_object_get(r, "threads")));
        cli_table_addf(&table, "%.0f", json_number_value(json_object_get(r, "tokens_per_s")));
        cli_table_addf(&table, "%.0f", json_number_value(json_object_get(r, "tokens_per_s_min")));
        cli_table_addf(&table, "%.0f", json_number_value(json_object_get(r, "tokens_per_s_max")));
        cli_table_addf(&table, "%.3f", json_number_value(json_object_get(r, "model_fraction")));
        cli_table_addf(&table, "%.3f", json_number_value(json_object_get(r, "executed_fraction")));
        cli_table_add(&table, parts.data ? parts.data : "");
        iso_str_release(&parts);
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    printf("\nfractions of the precision's peak measured in the same process; model FLOPs by the "
           "convention paper, the head apart\n");
}

static iso_status bench_all(const cli_list *shapes, int64_t threads, int64_t micro_batch,
                            iso_precision precision, int64_t n_blocks, bool blocks, bool json) {
    json_t *results = json_array();
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < shapes->n && status == ISO_OK; i++) {
        bench b;
        bench_result result = {0};
        status = bench_open(&b, shapes->items[i], threads, micro_batch, precision);
        if (status == ISO_OK) status = blocks ? serve_blocks(&b) : measure(&b, n_blocks, &result);
        if (status == ISO_OK && !blocks) json_array_append_new(results, result_json(&b, &result));
        bench_close(&b);
    }
    if (status == ISO_OK && !blocks && json) return cli_print_json(results, 6);
    if (status == ISO_OK && !blocks) print_results(results);
    json_decref(results);
    return status;
}

iso_status cmd_bench(int argc, char **argv) {
    static const char *all[] = {"d0", "m0", "d1", "m1", "d2", "m2"};
    cli_list shapes = {0};
    int64_t threads = ISO_THREADS_ALL, micro_batch = 0, n_blocks = 7;
    const char *precision = "fp32";
    bool blocks = false, json = false, done;
    const cli_flag flags[] = {
        {"shape", CLI_LIST, &shapes, "NAME|CONFIG",
         "d0 m0 (the demo's) d1 m1 d2 m2 d3 m3, or a config (default: d0 to m2)", NULL},
        {"threads", CLI_I64, &threads, "N", "(default: all)", NULL},
        {"micro-batch", CLI_I64, &micro_batch, "N", "sequences at a time (default: the batch)",
         NULL},
        {"precision", CLI_STRING, &precision, "fp32|bf16", "(default fp32)", NULL},
        {"repeat", CLI_I64, &n_blocks, "N", "timed blocks of half a second (default 7)", NULL},
        {"blocks", CLI_BOOL, &blocks, NULL, "answer `run N` on stdin with seconds, for a driver",
         NULL},
        {"json", CLI_BOOL, &json, NULL, "print JSON", NULL},
    };
    const cli_usage usage = {
        .synopsis = "bench [--shape NAME ...] [--threads N] [--json]",
        .summary = "Times whole training steps on random tokens: forward, backward, clipping and\n"
                   "AdamW. Quotes medians, with one thread of the processor's time; with more the\n"
                   "machine should be quiet.",
        .example = "isomoe bench --shape d2 m2 --threads 2",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .max_positionals = 0,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) {
        const cli_list chosen =
            shapes.n > 0 ? shapes : (cli_list){all, (int64_t)(sizeof all / sizeof *all)};
        if (threads < 0 || threads > ISO_THREADS_MAX || n_blocks < 1 || micro_batch < 0)
            status = iso_fail(ISO_ERR_USAGE, "bench: --threads, --repeat and --micro-batch must be "
                                             "positive");
        bool is_half = strcmp(precision, "bf16") == 0;
        if (!is_half && strcmp(precision, "fp32") != 0)
            status = iso_fail(ISO_ERR_USAGE, "bench: --precision %s; there are fp32 and bf16",
                              precision);
        if (status == ISO_OK)
            status = bench_all(&chosen, threads, micro_batch,
                               is_half ? ISO_PRECISION_BF16 : ISO_PRECISION_FP32, n_blocks, blocks,
                               json);
    }
    cli_list_release(&shapes);
    return status;
}
