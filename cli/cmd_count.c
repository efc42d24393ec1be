/* isomoe count: parameters and FLOPs of a config's model, by component and convention. */
#include "cli.h"

#include "arch/count.h"
#include "base/json.h"
#include "train/config.h"

#include <inttypes.h>

static json_t *ratios_to_json(const iso_shape *shape) {
    iso_ratios ratios = iso_shape_ratios(shape);
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "zeta", ratios.zeta, "gamma", ratios.gamma,
                     "alpha", ratios.alpha, "mu", ratios.mu, "beta", ratios.beta);
}

static iso_status print_json(const iso_counts *counts, const iso_shape *shape) {
    json_t *components = json_object();
    for (iso_component i = 0; i < ISO_N_COMPONENTS; i++) {
        const iso_component_count *count = &counts->components[i];
        json_object_set_new(components, iso_component_name(i),
                            json_pack("{s:I, s:I, s:I}", "params", (json_int_t)count->params,
                                      "params_active", (json_int_t)count->params_active,
                                      "forward_flops", (json_int_t)count->forward_flops));
    }
    json_t *object = json_pack(
        "{s:s, s:I, s:I, s:I, s:f, s:I, s:I, s:o, s:o}", "convention",
        iso_convention_name(counts->convention), "params_total", (json_int_t)counts->params_total,
        "params_nonvocab", (json_int_t)counts->params_nonvocab, "params_active",
        (json_int_t)counts->params_active, "activation_rate", counts->activation_rate,
        "forward_flops_per_token", (json_int_t)counts->forward_flops_per_token,
        "train_flops_per_token", (json_int_t)counts->train_flops_per_token, "components",
        components, "ratios", ratios_to_json(shape));
    return cli_print_json(object, CLI_JSON_EXACT);
}

static void add_number(cli_table *table, int64_t value) {
    if (value == 0)
        cli_table_add(table, "-");
    else
        cli_table_addf(table, "%" PRId64, value);
}

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
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

static iso_status print_conventions(const iso_shape *shape) {
    static const char *const headers[] = {"convention", "N", "N_a", "N_a/N",
                                          "training FLOPs/token"};
    cli_table table;
    iso_status status = ISO_OK;
    cli_table_init(&table, headers, 5);
    for (iso_convention i = 0; i < ISO_N_CONVENTIONS && status == ISO_OK; i++) {
        iso_counts counts;
        status = iso_count(&counts, shape, i);
        if (status != ISO_OK) break;
        cli_table_add(&table, iso_convention_name(i));
        add_number(&table, counts.params_nonvocab);
        add_number(&table, counts.params_active);
        cli_table_addf(&table, "%.4f", counts.activation_rate);
        add_number(&table, counts.train_flops_per_token);
    }
    if (status == ISO_OK) cli_table_print(&table, stdout);
    cli_table_release(&table);
    return status;
}

static iso_status print_text(const iso_counts *counts, const iso_shape *shape) {
    iso_ratios ratios = iso_shape_ratios(shape);
    printf("convention %s\n\n", iso_convention_name(counts->convention));
    print_components(counts);
    printf("\n%" PRId64 " parameters in all, %" PRId64 " of them outside this convention "
           "(vocabulary and the like)\n",
           counts->params_total, counts->params_total - counts->params_nonvocab);
    printf("H/L %.3g, S/H %.3g, F/H %.3g", ratios.zeta, ratios.gamma, ratios.alpha);
    if (shape->layer_layout != ISO_LAYOUT_DENSE)
        printf(", experts/H %.3g of which active %.3g", ratios.mu, ratios.beta);
    printf("\n\n");
    return print_conventions(shape);
}

static iso_status count_file(const char *path, const cli_list *overrides, const char *name,
                             bool json) {
    iso_config config;
    iso_counts counts;
    iso_convention convention = ISO_CONVENTION_PAPER;
    iso_convention_from_name(&convention, name);
    ISO_TRY(iso_config_load(&config, path, overrides->items, overrides->n));
    ISO_TRY(iso_count(&counts, &config.model, convention));
    return json ? print_json(&counts, &config.model) : print_text(&counts, &config.model);
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
        .synopsis = "count CONFIG [--convention NAME] [--json] [--SECTION.KEY=VALUE ...]",
        .summary = "Counts the parameters and the FLOPs per token of a config's model, exactly.",
        .example = "isomoe count configs/moe_tiny.yaml --model.num_experts_per_tok=4",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &paths,
        .min_positionals = 1,
        .max_positionals = 1,
        .overrides = &overrides,
        .more = iso_config_help,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done)
        status = count_file(paths.items[0], &overrides, convention, json);
    cli_list_release(&paths);
    cli_list_release(&overrides);
    return status;
}
