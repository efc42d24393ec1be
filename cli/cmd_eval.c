/* isomoe eval: cross-entropy, bits per byte and per character of a model on validation domains. */
#include "cli.h"

#include "train/evaluate.h"
#include "train/load.h"

#include <inttypes.h>
#include <stdlib.h>

#define SEQUENCES 16

static iso_status print_json(const iso_eval_result *result, const iso_eval_set *set, int64_t step) {
    json_t *domains = json_object();
    for (int64_t i = 0; i < result->n_domains; i++) {
        const iso_domain_result *d = &result->domains[i];
        json_object_set_new(domains, d->name,
                            json_pack("{sf sf sf sI sI sI}", "loss", d->loss, "bpb", d->bpb, "bpc",
                                      d->bpc, "tokens", (json_int_t)d->n_tokens, "bytes",
                                      (json_int_t)d->n_bytes, "chars", (json_int_t)d->n_chars));
    }
    json_t *out = json_pack("{sI sf sf ss so}", "step", (json_int_t)step, "bpb", result->bpb, "bpc",
                            result->bpc, "validation_hash", set->hash, "domains", domains);
    return cli_print_json(out, CLI_JSON_EXACT);
}

static iso_status print_table(const iso_eval_result *result, int64_t step) {
    static const char *const headers[] = {"domain", "nats/token", "bits/byte", "bits/char",
                                          "tokens"};
    cli_table table;
    cli_table_init(&table, headers, 5);
    for (int64_t i = 0; i < result->n_domains; i++) {
        const iso_domain_result *d = &result->domains[i];
        cli_table_add(&table, d->name);
        cli_table_addf(&table, "%.4f", d->loss);
        cli_table_addf(&table, "%.4f", d->bpb);
        cli_table_addf(&table, "%.4f", d->bpc);
        cli_table_addf(&table, "%" PRId64, d->n_tokens);
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    printf("\nstep %" PRId64 ", headline %.4f bits per byte, %.4f bits per character\n", step,
           result->bpb, result->bpc);
    return ISO_OK;
}

static iso_status check_dataset(const iso_trainer *trainer, const iso_dataset *dataset) {
    if (dataset->n_ids <= trainer->config.model.vocab_size) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "%s has token ids up to %" PRId64 ", beyond the model's vocabulary of %" PRId64
                    "; it was prepared with another tokenizer",
                    dataset->dir, dataset->n_ids - 1, trainer->config.model.vocab_size);
}

static iso_status score(iso_trainer *trainer, int64_t step, const char *data_dir,
                        int64_t max_tokens, bool json) {
    const iso_shape *s = &trainer->config.model;
    iso_dataset dataset;
    iso_eval_set set = {0};
    iso_eval_result result = {0};
    ISO_TRY(iso_dataset_open(&dataset, data_dir[0] ? data_dir : trainer->config.data.dir));
    double *load = calloc((size_t)(s->num_hidden_layers * s->num_experts + 1), sizeof *load);
    iso_status status = load ? check_dataset(trainer, &dataset)
                             : iso_fail(ISO_ERR_MEMORY, "cannot allocate the router's record");
    if (status == ISO_OK)
        status = iso_eval_set_create(&set, &dataset, s->max_position_embeddings, max_tokens);
    if (status == ISO_OK) status = iso_evaluate(trainer, &set, &result, load);
    if (status == ISO_OK)
        status = json ? print_json(&result, &set, step) : print_table(&result, step);
    iso_eval_result_free(&result);
    iso_eval_set_free(&set);
    iso_dataset_close(&dataset);
    free(load);
    return status;
}

iso_status cmd_eval(int argc, char **argv) {
    cli_list models = {0};
    const char *data = "";
    int64_t max_tokens = 0, threads = ISO_THREADS_ALL;
    bool json = false, done;
    const cli_flag flags[] = {
        {"data", CLI_STRING, &data, "DIR", "prepared folder (default: the one trained on)", NULL},
        {"max-tokens", CLI_I64, &max_tokens, "N", "scored tokens per domain (default 0: all)",
         NULL},
        {"threads", CLI_I64, &threads, "N", "(default: all)", NULL},
        {"json", CLI_BOOL, &json, NULL, "print JSON", NULL},
    };
    const cli_usage usage = {
        .synopsis = "eval RUN|CHECKPOINT [--data DIR] [--max-tokens N] [--json]",
        .summary = "Scores a model on the validation domains of a prepared folder.",
        .example = "isomoe eval runs/dense --data data",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &models,
        .min_positionals = 1,
        .max_positionals = 1,
    };
    iso_trainer *trainer = NULL;
    int64_t step;
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) {
        if (max_tokens < 0 || threads < 0 || threads > ISO_THREADS_MAX)
            status = iso_fail(ISO_ERR_USAGE,
                              "eval: --max-tokens and --threads must not be "
                              "negative, and threads at most %d",
                              ISO_THREADS_MAX);
        if (status == ISO_OK)
            status = iso_trainer_load(&trainer, &step, models.items[0], SEQUENCES, threads);
        if (status == ISO_OK) status = score(trainer, step, data, max_tokens, json);
        iso_trainer_free(trainer);
    }
    cli_list_release(&models);
    return status;
}
