/* isomoe count: parameters, FLOPs and memory of models from their configs, one in detail or several
 * side by side. */
#include "count_facts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* --- cells --- */

static void add_number(cli_table *table, int64_t value) {
    if (value == 0)
        cli_table_add(table, "-");
    else
        cli_table_addf(table, "%" PRId64, value);
}

/* An estimate, to the nearest whole number; "-" where there is none. */
static void add_real(cli_table *table, double value) {
    if (isnan(value))
        cli_table_add(table, "-");
    else
        cli_table_addf(table, "%.0f", value);
}

static void add_bytes(cli_table *table, double n_bytes) {
    char text[32];
    cli_table_add(table, n_bytes == 0 ? "-" : iso_str_bytes(text, n_bytes));
}

static void print_and_release(cli_table *table) {
    cli_table_print(table, stdout);
    cli_table_release(table);
    printf("\n");
}

/* --- one config --- */

static void print_components(const iso_counts *counts) {
    static const char *const headers[] = {"component", "parameters", "active",
                                          "forward FLOPs/token", "of M"};
    cli_table table;
    cli_table_init(&table, headers, 5);
    for (iso_component i = 0; i < ISO_N_COMPONENTS; i++) {
        const iso_component_count *count = &counts->components[i];
        if (count->params == 0 && count->forward_flops == 0) continue;
        cli_table_add(&table, iso_component_name(i));
        add_number(&table, count->params);
        add_number(&table, count->params_active);
        add_number(&table, count->forward_flops);
        cli_table_addf(&table, "%.1f %%",
                       100.0 * (double)count->forward_flops /
                           (double)counts->forward_flops_per_token);
    }
    cli_table_add(&table, "sum");
    add_number(&table, counts->params_nonvocab);
    add_number(&table, counts->params_active);
    add_number(&table, counts->forward_flops_per_token);
    cli_table_add(&table, "100.0 %");
    print_and_release(&table);
}

/* All conventions and, under them, what the equations give; what they leave out is what `full` has
 * more. */
static void print_conventions(const count_facts *facts) {
    static const char *const headers[] = {
        "counted by", "N", "N_a", "N_a/N", "training FLOPs/token", "against paper"};
    cli_table table;
    cli_table_init(&table, headers, 6);
    double paper = (double)facts->by_convention[ISO_CONVENTION_PAPER].train_flops_per_token;
    for (iso_convention v = 0; v < ISO_N_CONVENTIONS; v++) {
        const iso_counts *counts = &facts->by_convention[v];
        double M = (double)counts->train_flops_per_token;
        cli_table_add(&table, iso_convention_name(v));
        add_number(&table, counts->params_nonvocab);
        add_number(&table, counts->params_active);
        cli_table_addf(&table, "%.4f", counts->activation_rate);
        add_number(&table, counts->train_flops_per_token);
        if (v == ISO_CONVENTION_PAPER)
            cli_table_add(&table, "-");
        else
            cli_table_addf(&table, "%+.2f %%", 100 * (M / paper - 1));
    }
    for (int64_t i = 0; i < facts->n_estimates; i++) {
        const count_estimate *e = &facts->estimates[i];
        cli_table_addf(&table, "equations %s", e->equations);
        add_real(&table, e->N);
        add_real(&table, e->N_a);
        cli_table_addf(&table, "%.4f", e->r_a);
        add_real(&table, e->train_flops);
        cli_table_addf(&table, "%+.2f %%", 100 * (e->train_flops / paper - 1));
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    printf("The paper's equations leave out router, norms, softmax and vocabulary%s.\n\n",
           facts->n_estimates > 1 ? "; 7-9 also\ntake every layer for an MoE layer" : "");
}

/* "here" is the dry run of a real step; it has no column where there is none. */
static void print_training(const count_facts *facts) {
    const iso_state_memory *fp32 = &facts->state[ISO_FORMAT_FP32];
    const iso_state_memory *bf16 = &facts->state[ISO_FORMAT_BF16];
    const iso_dry_run *run = &facts->run;
    char activations[64];
    snprintf(activations, sizeof activations, "activations of %" PRId64 " sequences%s",
             run->micro_batch_size, count_is_whole_batch(facts) ? " (all)" : "");
    const struct {
        const char *what;
        int64_t fp32, bf16, here;
    } rows[] = {
        {"weights", fp32->weights, bf16->weights, run->model.weights},
        {"gradients", fp32->gradients, bf16->gradients, run->model.gradients},
        {"master weights", fp32->master_weights, bf16->master_weights, 0},
        {"moments", fp32->moments, bf16->moments, run->moments_bytes},
        {activations, 0, 0, run->model.activations},
        {"scratch of the kernels", 0, 0, run->model.scratch},
        {"sum", fp32->sum, bf16->sum, run->sum_bytes},
    };
    static const char *const headers[] = {"training takes", "fp32", "bf16", "here, fp32"};
    int64_t n_columns = facts->has_run ? 4 : 3;
    cli_table table;
    cli_table_init(&table, headers, n_columns);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!facts->has_run && rows[i].fp32 == 0 && rows[i].bf16 == 0) continue;
        cli_table_add(&table, rows[i].what);
        add_bytes(&table, (double)rows[i].fp32);
        add_bytes(&table, (double)rows[i].bf16);
        if (facts->has_run) add_bytes(&table, (double)rows[i].here);
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    printf(
        "fp32 and bf16 by arithmetic; bf16 has gradients, master weights and moments in fp32.\n");
    if (facts->has_run)
        printf("Here: what isomoe train allocates, padding and all, on %" PRId64
               " threads for micro-batches of\n%" PRId64 " x %" PRId64 " tokens%s.\n\n",
               run->n_threads, run->micro_batch_size, facts->config.model.max_position_embeddings,
               count_micro_batch_note(facts));
    else
        printf("Not to be trained here: %s.\n\n", facts->no_run);
}

static void print_inference(const count_facts *facts) {
    static const char *const headers[] = {"inference takes", "fp32", "bf16", "experts of a layer"};
    bool is_moe = facts->config.model.num_experts > 0;
    cli_table table;
    cli_table_init(&table, headers, is_moe ? 4 : 3);
    cli_table_add(&table, is_moe ? "weights, all experts resident" : "weights");
    for (iso_number_format f = 0; f < ISO_N_FORMATS; f++)
        add_bytes(&table, (double)facts->state[f].weights);
    if (is_moe) cli_table_addf(&table, "%" PRId64, facts->config.model.num_experts);
    for (int i = 0; i < COUNT_N_BATCHES; i++) {
        cli_table_addf(&table, "weights read per token, batch %" PRId64, count_batches[i]);
        for (iso_number_format f = 0; f < ISO_N_FORMATS; f++)
            add_bytes(&table, facts->touched[f][i]);
        if (is_moe) cli_table_addf(&table, "%.1f", facts->experts_hit[i]);
    }
    cli_table_add(&table, "KV cache of a token");
    for (iso_number_format f = 0; f < ISO_N_FORMATS; f++)
        add_bytes(&table, (double)facts->kv_token[f]);
    if (is_moe) cli_table_add(&table, "-");
    cli_table_addf(&table, "KV cache of %" PRId64 " tokens",
                   facts->config.model.max_position_embeddings);
    for (iso_number_format f = 0; f < ISO_N_FORMATS; f++)
        add_bytes(&table, (double)facts->kv_context[f]);
    if (is_moe) cli_table_add(&table, "-");
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    if (is_moe) printf("Experts that at least one token of the batch chooses, routing balanced.\n");
}

static void print_one(const count_facts *facts) {
    const iso_counts *counts = &facts->counts;
    const iso_ratios *r = &facts->ratios;
    printf("convention %s: %s\n\n", iso_convention_name(counts->convention),
           count_convention_meaning(counts->convention));
    print_components(counts);
    printf("%" PRId64 " parameters in all, %" PRId64 " outside this convention "
           "(vocabulary and the like)\n",
           counts->params_total, counts->params_total - counts->params_nonvocab);
    printf("zeta = H/L %.3g, gamma = S/H %.3g, alpha = F/H %.3g", r->zeta, r->gamma, r->alpha);
    if (facts->config.model.num_experts > 0)
        printf(", mu = experts/H %.3g, of which active beta %.3g", r->mu, r->beta);
    printf("\n\n");
    print_conventions(facts);
    print_training(facts);
    print_inference(facts);
}

/* --- the command --- */

static iso_status print_json(const count_facts *facts, int64_t n) {
    if (n == 1) return cli_print_json(count_facts_to_json(facts), CLI_JSON_EXACT);
    json_t *models = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(models, count_facts_to_json(&facts[i]));
    return cli_print_json(json_pack("{ss so}", "convention",
                                    iso_convention_name(facts->counts.convention), "models",
                                    models),
                          CLI_JSON_EXACT);
}

static iso_status count_all(const cli_list *paths, const cli_list *overrides, const char *name,
                            bool json) {
    iso_convention convention = ISO_CONVENTION_PAPER;
    iso_convention_from_name(&convention, name);
    count_facts *facts = calloc((size_t)paths->n, sizeof *facts);
    if (!facts) return iso_fail(ISO_ERR_MEMORY, "no memory for %" PRId64 " configs", paths->n);
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < paths->n && status == ISO_OK; i++) {
        status = count_facts_init(&facts[i], paths->items[i], overrides, convention);
        if (status != ISO_OK && paths->n > 1) iso_fail_context(status, "%s", paths->items[i]);
    }
    if (status == ISO_OK && json)
        status = print_json(facts, paths->n);
    else if (status == ISO_OK && paths->n == 1)
        print_one(facts);
    else if (status == ISO_OK)
        count_side_by_side(facts, paths->n);
    for (int64_t i = 0; i < paths->n; i++) count_facts_release(&facts[i]);
    free(facts);
    return status;
}

iso_status cmd_count(int argc, char **argv) {
    static const char *const conventions[] = {"paper", "full", "causal", "with-head", NULL};
    const char *convention = "paper";
    bool json = false, done;
    cli_list paths = {0}, overrides = {0};
    const cli_flag flags[] = {
        {"convention", CLI_CHOICE, &convention, "NAME",
         "paper (default), full, causal or with-head: what counts as N and M", conventions},
        {"json", CLI_BOOL, &json, NULL, "print JSON", NULL},
    };
    const cli_usage usage = {
        .synopsis = "count CONFIG... [--convention NAME] [--json] [--SECTION.KEY=VALUE ...]",
        .summary = "Counts parameters, FLOPs per token and memory of a config's model, exactly; of "
                   "several configs, side by side.",
        .example = "isomoe count configs/moe_tiny.yaml --model.num_experts_per_tok=4\n"
                   "isomoe count configs/dense_tiny.yaml configs/moe_tiny.yaml",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &paths,
        .min_positionals = 1,
        .max_positionals = -1,
        .overrides = &overrides,
        .more = iso_config_help,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) status = count_all(&paths, &overrides, convention, json);
    cli_list_release(&paths);
    cli_list_release(&overrides);
    return status;
}
