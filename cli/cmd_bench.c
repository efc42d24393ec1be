/* isomoe bench: training steps of known shapes: tokens/s, fraction of peak, where the time goes. */
#include "bench.h"

#include <string.h>

typedef struct bench_flags {
    cli_list shapes, compared;
    const char *precision, *print_config;
    bench_options options;
    bool blocks, kernels, json;
} bench_flags;

static iso_status print_config(const char *name) {
    iso_config config;
    iso_str text = {0};
    ISO_TRY(bench_config(&config, name));
    iso_config_to_yaml(&text, &config);
    fputs(text.data, stdout);
    iso_str_release(&text);
    return ISO_OK;
}

static iso_status serve(const bench_flags *flags) {
    bench b;
    iso_status status = bench_open(&b, flags->shapes.items[0], &flags->options);
    if (status == ISO_OK) status = bench_serve(&b);
    bench_close(&b);
    return status;
}

static iso_status bench_all(const bench_flags *flags, const cli_list *shapes) {
    json_t *results = json_array();
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < shapes->n && status == ISO_OK; i++) {
        bench b;
        json_t *result = NULL;
        status = bench_open(&b, shapes->items[i], &flags->options);
        if (status == ISO_OK) status = bench_measure(&result, &b, &flags->options);
        if (status == ISO_OK) bench_warn_of_scatter(result);
        if (status == ISO_OK) json_array_append_new(results, result);
        bench_close(&b);
    }
    json_t *file = bench_file_json(results);
    if (status == ISO_OK && flags->json) return cli_print_json(file, 6);
    if (status == ISO_OK) bench_print_results(file);
    if (status == ISO_OK && flags->kernels) bench_print_kernels(file);
    json_decref(file);
    return status;
}

static iso_status check(bench_flags *flags) {
    bench_options *options = &flags->options;
    if (options->threads < 0 || options->threads > ISO_THREADS_MAX || options->n_blocks < 1 ||
        options->n_blocks > 10000 || options->micro_batch < 0)
        return iso_fail(ISO_ERR_USAGE,
                        "bench: --threads (at most %d), --repeat (at most 10000) and "
                        "--micro-batch must be positive",
                        ISO_THREADS_MAX);
    if (flags->compared.n != 0 && flags->compared.n != 2)
        return iso_fail(ISO_ERR_USAGE, "bench: --compare takes two files, A.json B.json");
    if (flags->blocks && flags->shapes.n != 1)
        return iso_fail(ISO_ERR_USAGE, "bench: --blocks needs one --shape");
    options->precision =
        strcmp(flags->precision, "bf16") == 0 ? ISO_PRECISION_BF16 : ISO_PRECISION_FP32;
    return ISO_OK;
}

static iso_status run(bench_flags *flags) {
    static const char *all[] = {"d0", "m0", "d1", "m1", "d2", "m2"};
    const cli_list usual = {all, (int64_t)(sizeof all / sizeof *all)};
    ISO_TRY(check(flags));
    if (flags->print_config) return print_config(flags->print_config);
    if (flags->compared.n > 0)
        return bench_compare(flags->compared.items[0], flags->compared.items[1], flags->json);
    if (flags->blocks) return serve(flags);
    return bench_all(flags, flags->shapes.n > 0 ? &flags->shapes : &usual);
}

iso_status cmd_bench(int argc, char **argv) {
    static const char *const precisions[] = {"fp32", "bf16", NULL};
    bench_flags f = {.precision = "fp32", .options = {.threads = ISO_THREADS_ALL, .n_blocks = 7}};
    bool done;
    const cli_flag flags[] = {
        {"shape", CLI_LIST, &f.shapes, "NAME|CONFIG",
         BENCH_SHAPE_NAMES ", or a config (default: d0 to m2)", NULL},
        {"threads", CLI_I64, &f.options.threads, "N", "(default: all)", NULL},
        {"micro-batch", CLI_I64, &f.options.micro_batch, "N",
         "sequences at a time (default: the batch)", NULL},
        {"precision", CLI_CHOICE, &f.precision, "fp32|bf16", "(default fp32)", precisions},
        {"repeat", CLI_I64, &f.options.n_blocks, "N", "timed blocks of half a second (default 7)",
         NULL},
        {"kernels", CLI_BOOL, &f.kernels, NULL, "each operation's share, FLOP/s and bytes", NULL},
        {"json", CLI_BOOL, &f.json, NULL, "print JSON (docs/formats.md, \"Bench\")", NULL},
        {"compare", CLI_LIST, &f.compared, "FILE", "two such files beside each other", NULL},
        {"print-config", CLI_STRING, &f.print_config, "NAME", "that shape as a config", NULL},
        {"blocks", CLI_BOOL, &f.blocks, NULL, "answer `run N` and `peak` on stdin, for a driver",
         NULL},
    };
    const cli_usage usage = {
        .synopsis = "bench [--shape NAME ...] [--threads N] [--precision P] [--kernels] [--json]",
        .summary = "Times whole training steps on random tokens: forward, backward, clipping and\n"
                   "AdamW, and the machine's peak around every block. With one thread time is the\n"
                   "processor's; with more the machine should be quiet. d and m are dense and MoE\n"
                   "of equal N (docs/speed.md); 0 is the demo's size, v3 has a large vocabulary.",
        .example = "isomoe bench --shape d2 m2 --threads 2 --kernels\n"
                   "isomoe bench --shape m2 --precision bf16 --json > after.json\n"
                   "isomoe bench --compare before.json after.json",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .max_positionals = 0,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) status = run(&f);
    cli_list_release(&f.shapes);
    cli_list_release(&f.compared);
    return status;
}
