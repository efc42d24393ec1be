/* isomoe study plan: the runs that a study file comes to, before any is started. */
#include "cli_study.h"

#include "arch/count.h"
#include "base/fileio.h"
#include "study/optimum_say.h"
#include "study/study_cost.h"
#include "study/study_power.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POWER 0.8 /* of the smallest gap that is told */

iso_status study_load(iso_study **out, const char *path) {
    iso_str faults = {0};
    iso_status status = iso_study_load(out, &faults, path);
    if (*out && (status == ISO_OK || status == ISO_ERR_USAGE))
        status = iso_study_plan_check(*out, &faults, path);
    /* The buffer of a status is short; a file with many faults is not. */
    if (status == ISO_ERR_USAGE && strchr(faults.data, '\n')) {
        char *last = strrchr(faults.data, '\n');
        for (char *line = faults.data, *end; line <= last; line = end + 1) {
            end = strchr(line, '\n');
            iso_log(ISO_LOG_ERROR, "%.*s", (int)(end - line), line);
        }
        iso_fail(status, "%s", last + 1);
    }
    if (status != ISO_OK) {
        iso_study_free(*out);
        *out = NULL;
    }
    iso_str_release(&faults);
    return status;
}

static void show_measure(void *ctx, int64_t i_shape, int64_t n_shapes) {
    cli_progress *progress = ctx;
    progress->total = n_shapes;
    cli_progress_update(progress, i_shape, NULL);
}

iso_status study_costs(iso_study_costs *out, const iso_study *study, const iso_study_plan *plan,
                       const char *dir) {
    cli_progress progress;
    char *cache = dir ? iso_strf("%s/speed.json", dir) : NULL;
    cli_progress_start(&progress, "measuring speed", "shapes", 0, 0);
    iso_status status = iso_study_costs_make(out, study, plan, cache, show_measure, &progress);
    cli_progress_finish(&progress);
    free(cache);
    return status;
}

/* --- what it can detect --- */

typedef struct power {
    iso_power_design design;
    const char *from;          /* where seed_sd is from */
    const char *text_from;     /* and evaluation_se */
    double gap;                /* NaN: one seed alone tells nothing */
    double expected;           /* NaN: nobody says */
    const char *expected_from; /* NULL then */
} power;

/* What finished runs in a folder tell of noise; NaN where they don't. */
static iso_status noise_of(iso_study_noise *out, const char *dir) {
    iso_run_index *index;
    iso_rows rows = {0};
    *out = (iso_study_noise){.seed_sd = NAN, .text_sd = NAN};
    if (!dir || study_index_open(&index, dir, ":memory:", false) != ISO_OK) return ISO_OK;
    iso_status status = iso_run_index_query(
        &rows, index, "SELECT path FROM runs WHERE state = 'finished' AND bpc IS NOT NULL");
    char **dirs = calloc((size_t)rows.n_rows + 1, sizeof *dirs);
    ISO_ASSERT(dirs != NULL);
    for (int64_t i = 0; i < rows.n_rows; i++) dirs[i] = iso_strf("%s/%s", dir, rows.cells[i].text);
    if (status == ISO_OK)
        status = iso_study_noise_read(out, (const char *const *)dirs, rows.n_rows);
    for (int64_t i = 0; i < rows.n_rows; i++) free(dirs[i]);
    free(dirs);
    iso_rows_release(&rows);
    iso_run_index_close(index);
    return status;
}

/* What is known before any run of the study. */
static iso_status power_known(power *p, const iso_study *study, const iso_study_plan *plan,
                              const char *earlier) {
    iso_study_noise noise;
    ISO_TRY(noise_of(&noise, earlier));
    *p = (power){.design = {.seed_sd = noise.seed_sd, .other_dof = noise.seed_dof},
                 .from = "runs that are there",
                 .text_from = "runs that are there",
                 .expected = study->expected_gap > 0 ? study->expected_gap : NAN,
                 .expected_from = "rules.expected_gap"};
    if (isnan(noise.seed_sd)) {
        p->design.seed_sd = study->seed_sd > 0 ? study->seed_sd : ISO_STUDY_SEED_SD;
        p->from = study->seed_sd > 0 ? "rules.seed_sd" : "an assumption; rules.seed_sd says it";
    }
    if (isnan(noise.text_sd)) {
        noise.text_sd = ISO_STUDY_TEXT_SD;
        p->text_from = "the size of the final evaluation, as runs of 4e5 parameters have it";
    }
    ISO_TRY(iso_study_evaluation_se(&p->design.evaluation_se, plan, noise.text_sd));
    if (isnan(p->design.evaluation_se)) {
        p->design.evaluation_se = 0;
        p->text_from = "left out: without data.dir the text's size is not known";
    }
    if (isnan(p->expected)) {
        ISO_TRY(iso_study_expected_gap(&p->expected, plan));
        p->expected_from = isnan(p->expected) ? NULL : "the paper's runs";
    }
    return ISO_OK;
}

/* One part of a plan: what it adds, and what it can tell apart. */
typedef struct part {
    const char *name;
    int64_t n_runs, n_own; /* that it needs; of these not needed by a part before */
    double flops, seconds; /* of its own, all of them on all workers; NaN: not known */
    power power;
} part;

static bool is_first_of_side(const iso_study_plan *plan, int64_t i, const char *part_name) {
    for (int64_t j = 0; j < i; j++)
        if (strcmp(plan->runs[i].side, plan->runs[j].side) == 0 &&
            (!part_name || iso_study_names_have(plan->runs[j].parts, part_name)))
            return false;
    return true;
}

/* What all sides' seeds tell of the noise between them. */
static double dof_of(const iso_study_plan *plan) {
    double dof = (double)plan->n_runs;
    for (int64_t i = 0; i < plan->n_runs; i++) dof -= is_first_of_side(plan, i, NULL);
    return dof;
}

static bool begins_with(const char *names, const char *name) {
    size_t n = strlen(name);
    return strcspn(names, ",") == n && memcmp(names, name, n) == 0;
}

/* `known`: what is known of noise beforehand. */
static part part_of(const iso_study *study, const char *name, const iso_study_plan *plan,
                    const iso_study_costs *costs, const power *known) {
    part out = {.name = name, .power = *known};
    iso_power_design *design = &out.power.design;
    design->n_seeds = study->seeds.n;
    for (int64_t i = 0; i < plan->n_runs; i++) {
        const iso_study_run *run = &plan->runs[i];
        if (!iso_study_names_have(run->parts, name)) continue;
        out.n_runs++;
        design->n_configurations += is_first_of_side(plan, i, name);
        if (!begins_with(run->parts, name)) continue;
        out.n_own++;
        out.flops += run->flops;
        out.seconds += costs->runs[i].seconds / costs->n_parallel;
    }
    /* All of the plan's: sides of a sweep have fewer seeds, a control's more. */
    double dof = design->other_dof + dof_of(plan);
    design->other_dof = dof - (double)(design->n_configurations * (design->n_seeds - 1));
    bool told = dof > 0 && plan->n_runs > design->n_seeds;
    out.power.gap = told ? iso_power_detectable(design, POWER) : NAN;
    return out;
}

typedef struct prospect {
    int64_t n_parts;
    part parts[ISO_STUDY_PARTS_MAX];
    const power *power; /* of the scan, or of what there is */
} prospect;

static iso_status look_ahead(prospect *out, const iso_study *study, const iso_study_plan *plan,
                             const iso_study_costs *costs, const char *earlier) {
    power known;
    ISO_TRY(power_known(&known, study, plan, earlier));
    *out = (prospect){.n_parts = study->n_parts > 0 ? study->n_parts : 1};
    if (study->n_parts == 0)
        out->parts[0] = part_of(study, iso_study_kind_names[study->kind], plan, costs, &known);
    out->power = &out->parts[0].power;
    for (int64_t i = study->n_parts - 1; i >= 0; i--) {
        const iso_study *p = &study->parts[i];
        out->parts[i] = part_of(p, p->name, plan, costs, &known);
        if (p->kind == ISO_STUDY_SCAN) out->power = &out->parts[i].power;
    }
    return ISO_OK;
}

/* --- for people --- */

static void add_shape(cli_table *table, const iso_shape *s) {
    cli_table_addf(table, "%" PRId64 "x%" PRId64, s->hidden_size, s->num_hidden_layers);
    if (s->num_experts > 0)
        cli_table_addf(table, "%" PRId64 "/%" PRId64 "x%" PRId64, s->num_experts_per_tok,
                       s->num_experts, s->moe_intermediate_size);
    else
        cli_table_addf(table, "F %" PRId64, s->intermediate_size);
}

static void print_runs(const iso_study_plan *plan, const iso_study_costs *costs) {
    static const char *const headers[] = {"side",   "HxL",    "experts", "N",     "r_a",    "C",
                                          "tokens", "epochs", "steps",   "seeds", "memory", "each"};
    char text[32];
    cli_table table;
    cli_table_init(&table, headers, 12);
    for (int64_t i = 0, n; i < plan->n_runs; i += n) {
        const iso_study_run *run = &plan->runs[i];
        const iso_config *c = &run->config;
        iso_counts counts;
        for (n = 1; i + n < plan->n_runs && strcmp(plan->runs[i + n].side, run->side) == 0;) n++;
        if (iso_count(&counts, &c->model, ISO_CONVENTION_PAPER) != ISO_OK) continue;
        double tokens = (double)iso_config_tokens(c), unique = (double)c->data.unique_tokens;
        cli_table_add(&table, run->side);
        add_shape(&table, &c->model);
        cli_table_add(&table, iso_str_count(text, (double)counts.params_nonvocab));
        cli_table_addf(&table, "%.1f %%", 100 * run->activation_rate);
        cli_table_addf(&table, "%.3g", run->flops);
        cli_table_add(&table, iso_str_count(text, tokens));
        if (unique > 0)
            cli_table_addf(&table, "%.2f", tokens / unique);
        else
            cli_table_add(&table, "-");
        cli_table_addf(&table, "%" PRId64, c->train.steps);
        cli_table_addf(&table, "%" PRId64, n);
        cli_table_add(&table, iso_str_bytes(text, (double)costs->runs[i].memory_bytes));
        cli_table_add(&table, isnan(costs->runs[i].seconds)
                                  ? "-"
                                  : iso_str_duration(text, costs->runs[i].seconds));
    }
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

static void print_parts(const prospect *ahead) {
    static const char *const headers[] = {"part",  "runs", "of its own",
                                          "FLOPs", "time", "smallest gap"};
    char text[32];
    cli_table table;
    cli_table_init(&table, headers, 6);
    for (int64_t i = 0; i < ahead->n_parts; i++) {
        const part *p = &ahead->parts[i];
        cli_table_add(&table, p->name);
        cli_table_addf(&table, "%" PRId64, p->n_runs);
        cli_table_addf(&table, "%" PRId64, p->n_own);
        cli_table_addf(&table, "%.3g", p->flops);
        cli_table_add(&table, isnan(p->seconds) ? "-" : iso_str_duration(text, p->seconds));
        if (isnan(p->power.gap))
            cli_table_add(&table, "-");
        else
            cli_table_addf(&table, "%.4f BPC", p->power.gap);
    }
    printf("\n");
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

static void print_power(const power *p) {
    if (isnan(p->gap)) {
        printf("no gap can be found out: one seed alone says nothing about its noise; give seeds: "
               "2 or more\n");
        return;
    }
    char *said = iso_power_say(&p->design, p->expected);
    printf("%s\n", said);
    free(said);
    printf("  seed noise: %s; evaluation noise: %s; expected gap: %s\n", p->from, p->text_from,
           p->expected_from ? p->expected_from : "not known here, rules.expected_gap says it");
    if (p->expected < p->gap)
        printf("  at this size the study cannot be relied on to find it: trade rates or candidates "
               "for seeds, or say so beforehand\n");
}

static void print_sums(const iso_study_plan *plan, const iso_study_costs *costs, const power *p) {
    char text[32];
    printf("\n%" PRId64 " runs in %" PRId64 " stage%s, %d at once of %d thread%s: %s%s\n",
           plan->n_runs, plan->n_stages, plan->n_stages == 1 ? "" : "s", costs->n_parallel,
           costs->n_threads, costs->n_threads == 1 ? "" : "s",
           isnan(costs->seconds) ? "time unknown, too large to be measured here" : "about ",
           isnan(costs->seconds) ? "" : iso_str_duration(text, costs->seconds));
    if (plan->assumed)
        printf("choices are open until runs have finished: shapes of later stages are those of the "
               "first candidates\n");
    print_power(p);
    for (const char *line = plan->notes.data; line && *line;) {
        size_t n = strcspn(line, "\n");
        printf("note: %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

/* --- for programs --- */

static json_t *real_or_null(double value) {
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *plan_to_json(const iso_study *study, const iso_study_plan *plan,
                            const iso_study_costs *costs, const prospect *ahead) {
    json_t *runs = json_array(), *parts = json_array();
    const power *p = ahead->power;
    for (int64_t i = 0; i < ahead->n_parts; i++)
        json_array_append_new(parts, json_pack("{ss sI sI sf so so}", "name", ahead->parts[i].name,
                                               "runs", (json_int_t)ahead->parts[i].n_runs,
                                               "own_runs", (json_int_t)ahead->parts[i].n_own,
                                               "flops", ahead->parts[i].flops, "seconds",
                                               real_or_null(ahead->parts[i].seconds), "gap_bpc",
                                               real_or_null(ahead->parts[i].power.gap)));
    for (int64_t i = 0; i < plan->n_runs; i++) {
        const iso_study_run *run = &plan->runs[i];
        json_t *row = iso_config_to_json(&run->config);
        json_object_set_new(row, "name", json_string(run->name));
        json_object_set_new(row, "side", json_string(run->side));
        json_object_set_new(row, "parts", json_string(run->parts));
        json_object_set_new(row, "groups", json_string(run->groups));
        json_object_set_new(row, "stage", json_integer(run->stage));
        json_object_set_new(row, "activation_rate", json_real(run->activation_rate));
        json_object_set_new(row, "flops", json_real(run->flops));
        json_object_set_new(row, "tokens", json_integer(iso_config_tokens(&run->config)));
        json_object_set_new(row, "memory_bytes", json_integer(costs->runs[i].memory_bytes));
        json_object_set_new(row, "seconds", real_or_null(costs->runs[i].seconds));
        json_array_append_new(runs, row);
    }
    json_t *detectable =
        json_pack("{sf ss sf ss sf so so ss?}", "seed_sd", p->design.seed_sd, "seed_sd_from",
                  p->from, "evaluation_se", p->design.evaluation_se, "evaluation_from",
                  p->text_from, "power", POWER, "gap_bpc", real_or_null(p->gap), "expected_bpc",
                  real_or_null(p->expected), "expected_from", p->expected_from);
    return json_pack("{ss ss sb si si so so ss so so}", "name", study->name, "kind",
                     iso_study_kind_names[study->kind], "assumed", plan->assumed, "parallel",
                     costs->n_parallel, "threads", costs->n_threads, "seconds",
                     real_or_null(costs->seconds), "detectable", detectable, "notes",
                     plan->notes.data ? plan->notes.data : "", "parts", parts, "runs", runs);
}

static iso_status show(const iso_study *study, const char *dir, const char *earlier, bool json) {
    iso_study_plan *plan;
    iso_study_costs costs;
    if (dir) ISO_TRY(iso_dir_create(dir)); /* measured speed goes there */
    ISO_TRY(iso_study_plan_make(&plan, study, NULL, NULL));
    iso_status status = study_costs(&costs, study, plan, dir);
    if (status == ISO_OK) {
        prospect *ahead = calloc(1, sizeof *ahead);
        ISO_ASSERT(ahead != NULL);
        status = look_ahead(ahead, study, plan, &costs, earlier ? earlier : dir);
        if (status == ISO_OK && json) {
            status = cli_print_json(plan_to_json(study, plan, &costs, ahead), CLI_JSON_EXACT);
        } else if (status == ISO_OK) {
            print_runs(plan, &costs);
            if (study->n_parts > 0) print_parts(ahead);
            print_sums(plan, &costs, ahead->power);
        }
        free(ahead);
        iso_study_costs_release(&costs);
    }
    iso_study_plan_free(plan);
    return status;
}

iso_status study_plan(int argc, char **argv) {
    const char *dir = NULL, *earlier = NULL;
    bool json = false, done;
    cli_list studies = {0};
    const cli_flag flags[] = {
        {"out", CLI_STRING, &dir, "DIR", "the study's folder: measured speed is kept there", NULL},
        {"earlier", CLI_STRING, &earlier, "DIR",
         "runs that tell of noise (default: those of --out)", NULL},
        {"json", CLI_BOOL, &json, NULL, "for programs", NULL},
    };
    const cli_usage usage = {
        .synopsis = "study plan STUDY [--out DIR] [--earlier DIR] [--json]",
        .summary =
            "What a study file comes to: every run with its shape, tokens, memory and time on\n"
            "this machine, and the smallest gap that it can find out. Trains nothing.",
        .example = "isomoe study plan configs/studies/small.yaml",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &studies,
        .min_positionals = 1,
        .max_positionals = 1,
        .more = iso_study_help,
    };
    iso_study *study = NULL;
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) {
        status = study_load(&study, studies.items[0]);
        if (status == ISO_OK) status = show(study, dir, earlier, json);
    }
    iso_study_free(study);
    cli_list_release(&studies);
    return status;
}
