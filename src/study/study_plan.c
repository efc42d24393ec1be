#include "study/study_plan.h"

#include "arch/count.h"
#include "data/dataset.h"
#include "study/study_build.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- shared by the kinds --- */

void iso_study_set_text(char *field, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(field, size, format, args);
    va_end(args);
}

iso_status iso_study_goal(iso_budget_goal *goal, iso_config *like, const iso_study_build *b) {
    const iso_study *study = b->study;
    bool has_compute = study->compute.flops > 0 || study->compute.tokens > 0;
    bool has_budget = study->params > 0 || has_compute || study->data > 0;
    *goal = iso_budget_goal_default();
    goal->base = study->base;
    goal->norm_topk_by_size = !study->norm_topk_given;
    goal->params = study->params;
    goal->compute = study->compute;
    goal->scheme = study->scheme;
    goal->text_tokens = study->data > 0 ? study->data : b->text_tokens;
    goal->shapes.n_rates = 0;
    if (study->lr == ISO_STUDY_LR_SWEEP) goal->rule.lr_multiplier = 1; /* the sweep's own follow */
    if (goal->base.train.micro_batch_size == ISO_MICRO_BATCH_WHOLE)
        goal->base.train.micro_batch_size = goal->base.model.router_aux_group;
    goal->base.data.unique_tokens = ISO_UNIQUE_TOKENS_ALL;
    if (b->vocab_size > 0) goal->base.model.vocab_size = b->vocab_size;
    if (b->text_tokens > 0 && study->data > b->text_tokens)
        return iso_fail(ISO_ERR_USAGE,
                        "budget.data: the text of data.dir has %" PRId64 " tokens, not %" PRId64,
                        b->text_tokens, study->data);
    if (has_budget || study->data_sizes.n > 0) return ISO_OK;
    *like = study->base;
    iso_status status = iso_config_resolve(like, NULL);
    if (status != ISO_OK) return iso_fail_context(status, "base, which the budget is taken from");
    goal->like = like;
    return ISO_OK;
}

static void add_group(iso_study_run *run, const char *group) {
    if (!*group || iso_study_run_in(run, group)) return;
    size_t n = strlen(run->groups);
    iso_study_set_text(run->groups + n, sizeof run->groups - n, "%s%s", n > 0 ? "," : "", group);
}

bool iso_study_run_in(const iso_study_run *run, const char *group) {
    size_t length = strlen(group);
    for (const char *at = run->groups; *at;) {
        size_t n = strcspn(at, ",");
        if (n == length && memcmp(at, group, n) == 0) return true;
        at += n + (at[n] == ',');
    }
    return false;
}

iso_status iso_study_add_run(int64_t *out_index, iso_study_build *b, const char *side,
                             const char *group, const iso_config *config, int64_t seed) {
    iso_study_plan *plan = b->plan;
    iso_study_run run = {.stage = b->stage, .config = *config};
    iso_counts counts;
    run.config.train.seed = seed;
    /* Not the machine's: (I1). Whoever runs it says how many at the command's time. */
    run.config.train.threads = b->study->threads > 0 ? b->study->threads : 1;
    ISO_TRY(iso_config_resolve(&run.config, NULL));
    iso_config_hash(run.config_hash, &run.config);
    for (int64_t i = 0; i < plan->n_runs; i++)
        if (strcmp(plan->runs[i].config_hash, run.config_hash) == 0) {
            add_group(&plan->runs[i], group);
            *out_index = i;
            return ISO_OK;
        }
    if (plan->n_runs == ISO_STUDY_RUNS_MAX)
        return iso_fail(ISO_ERR_USAGE, "more than %d runs; take fewer values or seeds",
                        ISO_STUDY_RUNS_MAX);
    ISO_TRY(iso_count(&counts, &run.config.model, ISO_CONVENTION_PAPER));
    run.activation_rate = counts.activation_rate;
    run.flops = iso_train_flops(counts.train_flops_per_token, iso_config_tokens(&run.config));
    iso_study_set_text(run.side, sizeof run.side, "%s", side);
    iso_study_set_text(run.name, sizeof run.name, "%s-s%" PRId64, side, seed);
    add_group(&run, group);
    iso_study_run *grown = realloc(plan->runs, (size_t)(plan->n_runs + 1) * sizeof *plan->runs);
    if (!grown) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the study's runs");
    plan->runs = grown;
    *out_index = plan->n_runs;
    plan->runs[plan->n_runs++] = run;
    return ISO_OK;
}

/* --- sides to runs --- */

static iso_status add_seeds(iso_study_build *b, const iso_study_side *side, const char *name,
                            const iso_config *config) {
    for (int64_t i = 0; i < side->seeds.n; i++) {
        int64_t index;
        ISO_TRY(iso_study_add_run(&index, b, name, side->group, config,
                                  (int64_t)side->seeds.values[i]));
    }
    return ISO_OK;
}

/* "moe-20" at a multiplier: "moe-20-lr0.5". */
static iso_config swept(const iso_study_build *b, const iso_study_side *side, int64_t i,
                        char name[ISO_STUDY_SIDE_BYTES]) {
    iso_config config = side->config;
    config.train.lr_multiplier = b->study->lr_multipliers.values[i];
    iso_study_set_text(name, ISO_STUDY_SIDE_BYTES, "%s-lr%g", side->name,
                       config.train.lr_multiplier);
    return config;
}

/* One seed of a side at every multiplier; the index of the best, or -1 if it is not known yet. */
static iso_status sweep_side(int64_t *out_best, iso_study_build *b, const iso_study_side *side) {
    const iso_study_list *multipliers = &b->study->lr_multipliers;
    json_t *rows = json_array();
    double best = INFINITY;
    bool known = true;
    iso_status status = ISO_OK;
    *out_best = -1;
    for (int64_t i = 0; i < multipliers->n && status == ISO_OK; i++) {
        char name[ISO_STUDY_SIDE_BYTES];
        iso_config config = swept(b, side, i, name);
        int64_t index = 0;
        status = iso_study_add_run(&index, b, name, "", &config, (int64_t)side->seeds.values[0]);
        iso_study_score score = {.choose = NAN};
        if (status != ISO_OK || !known) continue;
        known = b->score && b->score(b->ctx, &b->plan->runs[index], &score);
        if (known && score.choose < best) best = score.choose, *out_best = i;
        if (known)
            json_array_append_new(rows,
                                  json_pack("{ss sf sf sf}", "run", b->plan->runs[index].name,
                                            "lr_multiplier", multipliers->values[i], "bpc_choose",
                                            score.choose, "bpc_report", score.report));
    }
    if (!known) *out_best = -1;
    if (status == ISO_OK && *out_best >= 0) {
        bool at_edge = multipliers->n > 1 && (*out_best == 0 || *out_best == multipliers->n - 1);
        json_array_append_new(b->plan->steps, json_pack("{ss ss so si sb}", "step", "lr", "side",
                                                        side->name, "candidates", rows, "chosen",
                                                        (int)*out_best, "at_edge", at_edge));
        if (at_edge)
            iso_str_appendf(&b->plan->notes,
                            "%s: the best rate, %g over Step Law, is at the edge of the sweep\n",
                            side->name, multipliers->values[*out_best]);
    } else {
        json_decref(rows);
    }
    return status;
}

static iso_status run_sweeps(iso_study_build *b) {
    int64_t *best = calloc((size_t)b->n_sides + 1, sizeof *best);
    bool known = true;
    iso_status status = best ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate the sweep");
    for (int64_t i = 0; i < b->n_sides && status == ISO_OK; i++) {
        status = sweep_side(&best[i], b, &b->sides[i]);
        if (best[i] < 0 && !b->score) best[i] = 0, b->plan->assumed = true;
        known = known && best[i] >= 0;
    }
    if (!known) b->plan->complete = false;
    b->stage = 1;
    for (int64_t i = 0; known && i < b->n_sides && status == ISO_OK; i++) {
        char name[ISO_STUDY_SIDE_BYTES];
        iso_config config = swept(b, &b->sides[i], best[i], name);
        status = add_seeds(b, &b->sides[i], name, &config);
    }
    free(best);
    return status;
}

static iso_status run_sides(iso_study_build *b) {
    if (b->study->lr == ISO_STUDY_LR_SWEEP) return run_sweeps(b);
    for (int64_t i = 0; i < b->n_sides; i++)
        ISO_TRY(add_seeds(b, &b->sides[i], b->sides[i].name, &b->sides[i].config));
    return ISO_OK;
}

/* --- the whole --- */

static iso_status open_data(iso_study_build *b, iso_study *study) {
    iso_data_config *data = &study->base.data;
    iso_dataset dataset;
    if (!*data->dir) return ISO_OK;
    char *path = realpath(data->dir, NULL);
    bool fits = path && strlen(path) < sizeof data->dir;
    iso_status status =
        fits ? iso_dataset_open(&dataset, path)
             : iso_fail(ISO_ERR_USAGE, "data.dir: there is no prepared folder %s", data->dir);
    if (status == ISO_OK) {
        memcpy(data->dir, path, strlen(path) + 1);
        b->vocab_size = dataset.n_ids;
        b->text_tokens = dataset.train.n_tokens - 1; /* the last one is a target only */
        iso_dataset_close(&dataset);
    }
    free(path);
    /* A folder that is not there is a mistake in the file. */
    return status == ISO_OK ? ISO_OK : iso_fail(ISO_ERR_USAGE, "%s", iso_error_message());
}

static iso_status build(iso_study_build *b, iso_study *study) {
    ISO_TRY(open_data(b, study));
    if (study->kind == ISO_STUDY_SEARCH) return iso_study_make_search(b);
    ISO_TRY(iso_study_make_sides(b));
    return run_sides(b);
}

/* By stage; those of one stage in the order in which they were added. */
static void finish(iso_study_plan *plan) {
    for (int64_t i = 0; i < plan->n_runs; i++)
        if (plan->runs[i].stage >= plan->n_stages) plan->n_stages = plan->runs[i].stage + 1;
}

iso_status iso_study_plan_make(iso_study_plan **out, const iso_study *study,
                               iso_study_score_fn score, void *ctx) {
    iso_study_plan *plan = calloc(1, sizeof *plan);
    iso_study *own = malloc(sizeof *own); /* base.data.dir becomes a full path in it */
    *out = NULL;
    if (!plan || !own) {
        free(plan);
        free(own);
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate the study's plan");
    }
    *own = *study;
    plan->complete = true;
    plan->steps = json_array();
    iso_study_build b = {.study = own, .plan = plan, .score = score, .ctx = ctx};
    iso_status status = build(&b, own);
    free(b.sides);
    free(own);
    finish(plan);
    if (status != ISO_OK) {
        iso_study_plan_free(plan);
        return status;
    }
    *out = plan;
    return ISO_OK;
}

void iso_study_plan_free(iso_study_plan *plan) {
    if (!plan) return;
    json_decref(plan->steps);
    iso_str_release(&plan->notes);
    free(plan->runs);
    free(plan);
}

/* --- what the planner refuses --- */

static void add_fault(iso_str *faults, const char *what, int line, const char *key) {
    iso_str_appendf(faults, "%s%s:%d: %s: %s", faults->len ? "\n" : "", what, line, key,
                    iso_error_message());
}

/* Each rate alone: true if every one has a plan, or none has, which is the budget's fault then. */
static bool check_rates(const iso_study *study, iso_str *faults, const char *what) {
    iso_study *one = malloc(sizeof *one);
    iso_str own = {0};
    int64_t n_bad = 0, n = study->activation_rates.n;
    ISO_ASSERT(one != NULL);
    for (int64_t i = 0; i < n; i++) {
        iso_study_plan *plan;
        char key[64];
        *one = *study;
        one->activation_rates = (iso_study_list){1, {study->activation_rates.values[i]}};
        snprintf(key, sizeof key, "axes.activation_rates %g %%",
                 100 * study->activation_rates.values[i]);
        if (iso_study_plan_make(&plan, one, NULL, NULL) == ISO_OK)
            iso_study_plan_free(plan);
        else
            n_bad++, add_fault(&own, what, study->rates_line, key);
    }
    bool some = n_bad > 0 && n_bad < n;
    if (some) iso_str_appendf(faults, "%s%s", faults->len ? "\n" : "", own.data);
    iso_str_release(&own);
    free(one);
    return !some;
}

iso_status iso_study_plan_check(const iso_study *study, iso_str *faults, const char *what) {
    iso_study_plan *plan;
    bool planned = study->kind != ISO_STUDY_GRID && study->n_listed == 0;
    bool open = faults->len > 0 && (study->kind == ISO_STUDY_GRID ? study->n_axes == 0
                                    : planned                     ? study->activation_rates.n == 0
                                                                  : true);
    /* With nothing readable to plan from there is still the budget, whatever the rates are. */
    iso_study *with_rate = malloc(sizeof *with_rate);
    ISO_ASSERT(with_rate != NULL);
    *with_rate = *study;
    if (open && planned) with_rate->activation_rates = (iso_study_list){1, {0.2}};
    iso_status status =
        open && !planned ? ISO_OK : iso_study_plan_make(&plan, with_rate, NULL, NULL);
    if (status != ISO_OK) {
        char *message = iso_strf("%s", iso_error_message());
        if (!planned || open || check_rates(study, faults, what))
            iso_str_appendf(faults, "%s%s:%d: %s: %s", faults->len ? "\n" : "", what,
                            study->budget_line,
                            study->kind == ISO_STUDY_GRID ? "axes"
                            : planned                     ? "budget"
                                                          : "runs",
                            message);
        free(message);
    } else if (!(open && !planned)) {
        iso_study_plan_free(plan);
    }
    free(with_rate);
    return faults->len ? iso_fail(ISO_ERR_USAGE, "%s", faults->data) : ISO_OK;
}
