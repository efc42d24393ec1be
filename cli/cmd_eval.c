/* isomoe eval: cross-entropy, bits per byte and per character of a model on validation domains. */
#include "cli.h"

#include "runs/route_file.h"
#include "study/routing_measures.h"
#include "train/evaluate.h"
#include "train/load.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define SEQUENCES 16

/* A measure that cannot be taken (one domain, one expert per token) is null. */
static json_t *measure_json(double value) {
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *routing_json(const iso_routing_measures *measures) {
    json_t *layers = json_array();
    for (int64_t i = 0; i < measures->n_layers; i++) {
        const iso_routing_layer *layer = &measures->layers[i];
        json_array_append_new(
            layers,
            json_pack("{sI so so so so so so so so so}", "layer", (json_int_t)layer->layer,
                      "domain_bits", measure_json(layer->domain_bits), "domain_noise_bits",
                      measure_json(layer->domain_noise_bits), "domain_p",
                      measure_json(layer->domain_p), "class_bits", measure_json(layer->class_bits),
                      "domain_given_class_bits", measure_json(layer->domain_given_class_bits),
                      "together_bits", measure_json(layer->together_bits), "max_over_mean",
                      measure_json(layer->max_over_mean), "variation",
                      measure_json(layer->variation), "router_entropy",
                      measure_json(layer->entropy)));
    }
    return layers;
}

static void print_routing(const iso_routing_measures *measures) {
    static const char *const headers[] = {"layer",         "bits by domain", "noise",    "p",
                                          "bits by token", "bits of pairs",  "max/mean", "entropy"};
    cli_table table;
    cli_table_init(&table, headers, 8);
    for (int64_t i = 0; i < measures->n_layers; i++) {
        const iso_routing_layer *layer = &measures->layers[i];
        const double cells[] = {layer->domain_bits, layer->domain_noise_bits, layer->domain_p,
                                layer->class_bits,  layer->together_bits,     layer->max_over_mean,
                                layer->entropy};
        cli_table_addf(&table, "%" PRId64, layer->layer + 1);
        for (size_t j = 0; j < sizeof cells / sizeof *cells; j++)
            if (isnan(cells[j]))
                cli_table_add(&table, "-");
            else
                cli_table_addf(&table, "%.4f", cells[j]);
    }
    printf("\n");
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

/* `measures` is NULL where nobody asked for them. */
static iso_status print_json(const iso_eval_result *result, const iso_eval_set *set, int64_t step,
                             const iso_routing_measures *measures) {
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
    if (measures) json_object_set_new(out, "routing", routing_json(measures));
    return cli_print_json(out, CLI_JSON_EXACT);
}

static iso_status print_table(const iso_eval_result *result, int64_t step,
                              const iso_routing_measures *measures) {
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
    if (measures) print_routing(measures);
    return ISO_OK;
}

static iso_status check_dataset(const iso_trainer *trainer, const iso_dataset *dataset) {
    if (dataset->n_ids <= trainer->config.model.vocab_size) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "%s has token ids up to %" PRId64 ", beyond the model's vocabulary of %" PRId64
                    "; it was prepared with another tokenizer",
                    dataset->dir, dataset->n_ids - 1, trainer->config.model.vocab_size);
}

/* What the flags ask for. */
typedef struct request {
    const char *data_dir, *routing; /* empty: the one trained on; no record of routing */
    int64_t max_tokens;
    bool json;
} request;

/* Scores; saves and measures the routing if that is asked for; prints. */
static iso_status score_set(iso_trainer *trainer, const iso_eval_set *set, int64_t step,
                            const request *asked) {
    iso_eval_result result = {0};
    iso_route_counter *routes = NULL;
    iso_routing_measures measures = {0};
    bool has_routes = asked->routing[0] != '\0';
    iso_status status = ISO_OK;
    if (has_routes)
        status =
            iso_route_counter_create(&routes, &trainer->config.model, set->samples, set->n_domains);
    if (status == ISO_OK) status = iso_evaluate(trainer, set, &result, NULL, routes);
    if (status == ISO_OK && has_routes) {
        const iso_route_counts *counts = iso_route_counter_counts(routes);
        status = iso_route_file_save(asked->routing, step, set->hash, counts);
        if (status == ISO_OK) status = iso_routing_measure(&measures, counts);
    }
    const iso_routing_measures *shown = has_routes ? &measures : NULL;
    if (status == ISO_OK)
        status =
            asked->json ? print_json(&result, set, step, shown) : print_table(&result, step, shown);
    iso_routing_measures_free(&measures);
    iso_route_counter_free(routes);
    iso_eval_result_free(&result);
    return status;
}

static iso_status score(iso_trainer *trainer, int64_t step, const request *asked) {
    iso_dataset dataset;
    iso_eval_set set = {0};
    if (asked->routing[0] && !trainer->is_moe)
        return iso_fail(ISO_ERR_USAGE, "--routing: this model is dense, it has no router");
    ISO_TRY(iso_dataset_open(&dataset,
                             asked->data_dir[0] ? asked->data_dir : trainer->config.data.dir));
    iso_status status = check_dataset(trainer, &dataset);
    if (status == ISO_OK)
        status = iso_eval_set_create(&set, &dataset, trainer->config.model.max_position_embeddings,
                                     asked->max_tokens);
    if (status == ISO_OK) status = score_set(trainer, &set, step, asked);
    iso_eval_set_free(&set);
    iso_dataset_close(&dataset);
    return status;
}

iso_status cmd_eval(int argc, char **argv) {
    cli_list models = {0};
    request asked = {.data_dir = "", .routing = ""};
    int64_t threads = ISO_THREADS_ALL;
    bool done;
    const cli_flag flags[] = {
        {"data", CLI_STRING, &asked.data_dir, "DIR",
         "prepared folder (default: the one trained on)", NULL},
        {"max-tokens", CLI_I64, &asked.max_tokens, "N", "scored tokens per domain (default 0: all)",
         NULL},
        {"routing", CLI_STRING, &asked.routing, "FILE",
         "MoE: write where tokens are routed (docs/formats.md), print measures of it", NULL},
        {"threads", CLI_I64, &threads, "N", "(default: all)", NULL},
        {"json", CLI_BOOL, &asked.json, NULL, "print JSON", NULL},
    };
    const cli_usage usage = {
        .synopsis = "eval RUN|CHECKPOINT [--data DIR] [--max-tokens N] [--routing FILE] [--json]",
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
        if (asked.max_tokens < 0 || threads < 0 || threads > ISO_THREADS_MAX)
            status = iso_fail(ISO_ERR_USAGE,
                              "eval: --max-tokens and --threads must not be "
                              "negative, and threads at most %d",
                              ISO_THREADS_MAX);
        if (status == ISO_OK)
            status = iso_trainer_load(&trainer, &step, models.items[0], SEQUENCES, threads);
        if (status == ISO_OK) status = score(trainer, step, &asked);
        iso_trainer_free(trainer);
    }
    cli_list_release(&models);
    return status;
}
