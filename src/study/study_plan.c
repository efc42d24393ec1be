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
    goal->shapes.same_experts = !study->own_experts;
    goal->shapes.expert_width = study->expert_width;
    goal->shapes.width_multiple = study->width_multiple;
    goal->shapes.head_dim = study->head_dim;
    goal->shapes.zeta = study->aspect;
    goal->shapes.dense_zeta = study->dense_aspect;
    goal->shapes.mu = study->total_mu;
    bool swept = study->lr == ISO_STUDY_LR_SWEEP || study->kind == ISO_STUDY_SWEEP;
    if (swept || b->n_swept > 0) goal->rule.lr_multiplier = 1; /* the sweep's own follow */
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

bool iso_study_names_have(const char *names, const char *name) {
    size_t length = strlen(name);
    for (const char *at = names; *at;) {
        size_t n = strcspn(at, ",");
        if (n == length && memcmp(at, name, n) == 0) return true;
        at += n + (at[n] == ',');
    }
    return false;
}

static iso_status add_name(char names[ISO_STUDY_GROUPS_BYTES], const char *name) {
    size_t n = strlen(names), length = strlen(name);
    if (length == 0 || iso_study_names_have(names, name)) return ISO_OK;
    if (n + length + 2 > ISO_STUDY_GROUPS_BYTES)
        return iso_fail(ISO_ERR_USAGE, "a run belongs to too many comparisons; take fewer parts");
    iso_study_set_text(names + n, ISO_STUDY_GROUPS_BYTES - n, "%s%s", n > 0 ? "," : "", name);
    return ISO_OK;
}

/* The side of the runs that have this config under other seeds, or the name that is wanted, or,
 * where another config has that, the part's in front of it: (I3). */
static void name_side(iso_study_run *run, const iso_study_build *b, const char *wanted) {
    const iso_study_plan *plan = b->plan;
    bool taken = false;
    for (int64_t i = 0; i < plan->n_runs; i++) {
        if (strcmp(plan->runs[i].side_hash, run->side_hash) == 0) {
            memcpy(run->side, plan->runs[i].side, sizeof run->side);
            return;
        }
        taken = taken || strcmp(plan->runs[i].side, wanted) == 0;
    }
    iso_study_set_text(run->side, sizeof run->side, "%s%s%s", taken ? b->part : "",
                       taken ? "-" : "", wanted);
}

iso_status iso_study_add_run(int64_t *out_index, iso_study_build *b, const char *side,
                             const char *group, const iso_config *config, int64_t seed) {
    iso_study_plan *plan = b->plan;
    iso_study_run run = {.stage = b->stage, .after = b->after, .config = *config};
    iso_counts counts;
    run.config.train.seed = 0;
    /* Not the machine's: (I1). Whoever runs it says how many at the command's time. */
    run.config.train.threads = b->study->threads > 0 ? b->study->threads : 1;
    ISO_TRY(iso_config_resolve(&run.config, NULL));
    iso_config_hash(run.side_hash, &run.config);
    run.config.train.seed = seed;
    iso_config_hash(run.config_hash, &run.config);
    for (int64_t i = 0; i < plan->n_runs; i++)
        if (strcmp(plan->runs[i].config_hash, run.config_hash) == 0) {
            *out_index = i;
            ISO_TRY(add_name(plan->runs[i].parts, b->part));
            return add_name(plan->runs[i].groups, group);
        }
    if (plan->n_runs == ISO_STUDY_RUNS_MAX)
        return iso_fail(ISO_ERR_USAGE, "more than %d runs; take fewer values or seeds",
                        ISO_STUDY_RUNS_MAX);
    ISO_TRY(iso_count(&counts, &run.config.model, ISO_CONVENTION_PAPER));
    run.activation_rate = counts.activation_rate;
    run.flops = iso_train_flops(counts.train_flops_per_token, iso_config_tokens(&run.config));
    name_side(&run, b, side);
    iso_study_set_text(run.name, sizeof run.name, "%s-s%" PRId64, run.side, seed);
    ISO_TRY(add_name(run.parts, b->part));
    ISO_TRY(add_name(run.groups, group));
    iso_study_run *grown = realloc(plan->runs, (size_t)(plan->n_runs + 1) * sizeof *plan->runs);
    if (!grown) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the study's runs");
    plan->runs = grown;
    *out_index = plan->n_runs;
    plan->runs[plan->n_runs++] = run;
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

static iso_status build_part(iso_study_build *b) {
    if (b->study->kind == ISO_STUDY_SEARCH) return iso_study_make_search(b);
    b->n_sides = 0;
    ISO_TRY(iso_study_make_sides(b));
    return iso_study_run_sides(b);
}

static void count_stages(iso_study_plan *plan) {
    for (int64_t i = 0; i < plan->n_runs; i++)
        if (plan->runs[i].stage >= plan->n_stages) plan->n_stages = plan->runs[i].stage + 1;
}

/* What the seeds of the part's sides differ by, diverged ones left out. */
static void take_noise(iso_study_build *b) {
    const iso_study_plan *plan = b->plan;
    for (int64_t i = 0; i < plan->n_runs && b->score && !b->noise_open; i++) {
        const iso_study_run *first = &plan->runs[i];
        double bpc[ISO_STUDY_LIST_MAX];
        int64_t n = 0, n_before = 0;
        for (int64_t j = 0; j < plan->n_runs; j++) {
            const iso_study_run *run = &plan->runs[j];
            iso_study_score score;
            if (strcmp(run->side, first->side) != 0 || !iso_study_names_have(run->parts, b->part))
                continue;
            n_before += j < i;
            if (n_before > 0 || n == ISO_STUDY_LIST_MAX) break;
            if (!b->score(b->ctx, run, &score)) b->noise_open = true;
            if (!b->noise_open && !score.diverged) bpc[n++] = score.choose;
        }
        if (n_before == 0 && !b->noise_open) iso_pooled_add(&b->noise, bpc, n);
    }
}

/* Part by part. Behind a sweep that has not finished nothing has a config yet. */
static iso_status build_method(iso_study_build *b, const iso_study *method) {
    iso_study *part = malloc(sizeof *part);
    iso_status status = part ? ISO_OK : iso_fail(ISO_ERR_MEMORY, "cannot allocate a part");
    int64_t swept_stage = -1;
    bool rates_open = false;
    for (int64_t i = 0; i < method->n_parts && status == ISO_OK; i++) {
        bool sweeps = method->parts[i].kind == ISO_STUDY_SWEEP;
        if (!sweeps && rates_open) break;
        *part = method->parts[i];
        memcpy(part->base.data.dir, method->base.data.dir, sizeof part->base.data.dir);
        b->study = part;
        b->part = part->name;
        count_stages(b->plan);
        b->stage = sweeps ? 0 : b->plan->n_stages;
        b->after = sweeps ? -1 : swept_stage;
        status = build_part(b);
        if (status != ISO_OK) iso_fail_context(status, "parts.%s", method->parts[i].name);
        if (status == ISO_OK && part->kind == ISO_STUDY_CONTROL) take_noise(b);
        if (!sweeps) continue;
        count_stages(b->plan);
        swept_stage = b->plan->n_stages - 1;
        rates_open = !b->plan->complete;
    }
    free(part);
    return status;
}

static iso_status build(iso_study_build *b, iso_study *study) {
    ISO_TRY(open_data(b, study));
    return study->kind == ISO_STUDY_METHOD ? build_method(b, study) : build_part(b);
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
    iso_study_build b = {.study = own,
                         .part = iso_study_kind_names[study->kind],
                         .plan = plan,
                         .score = score,
                         .ctx = ctx,
                         .after = -1};
    iso_status status = build(&b, own);
    free(b.sides);
    free(own);
    count_stages(plan);
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
static bool check_rates(const iso_study *study, iso_str *faults, const char *what,
                        const char *prefix) {
    iso_study *one = malloc(sizeof *one);
    iso_str own = {0};
    int64_t n_bad = 0, n = study->activation_rates.n;
    ISO_ASSERT(one != NULL);
    for (int64_t i = 0; i < n; i++) {
        iso_study_plan *plan;
        char key[128];
        *one = *study;
        one->activation_rates = (iso_study_list){1, {study->activation_rates.values[i]}};
        one->plan_rates = (iso_study_list){0};
        snprintf(key, sizeof key, "%saxes.activation_rates %g %%", prefix,
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

/* `prefix`: "" or "parts.scan.". */
static void check_part(const iso_study *study, iso_str *faults, const char *what,
                       const char *prefix) {
    iso_study_plan *plan;
    bool planned = study->kind != ISO_STUDY_GRID && study->n_listed == 0;
    bool open = faults->len > 0 && (study->kind == ISO_STUDY_GRID ? study->n_axes == 0
                                    : planned                     ? study->activation_rates.n == 0
                                                                  : true);
    if (open && !planned) return;
    /* With nothing readable to plan from there is still the budget, whatever the rates are. */
    iso_study *with_rate = malloc(sizeof *with_rate);
    ISO_ASSERT(with_rate != NULL);
    *with_rate = *study;
    with_rate->plan_rates = (iso_study_list){0}; /* another part's faults are told with that part */
    if (open) with_rate->activation_rates = (iso_study_list){1, {0.2}};
    iso_status status = iso_study_plan_make(&plan, with_rate, NULL, NULL);
    if (status != ISO_OK) {
        char *message = iso_strf("%s", iso_error_message());
        if (!planned || open || check_rates(study, faults, what, prefix))
            iso_str_appendf(faults, "%s%s:%d: %s%s: %s", faults->len ? "\n" : "", what,
                            study->budget_line, prefix,
                            study->kind == ISO_STUDY_GRID ? "axes"
                            : planned                     ? "budget"
                                                          : "runs",
                            message);
        free(message);
    } else {
        iso_study_plan_free(plan);
    }
    free(with_rate);
}

/* The parts by themselves; then, if they are sound, all of them: they may be too many together. */
static void check_method(const iso_study *study, iso_str *faults, const char *what) {
    iso_study_plan *plan;
    for (int64_t i = 0; i < study->n_parts; i++) {
        char prefix[ISO_STUDY_PART_BYTES + 16];
        snprintf(prefix, sizeof prefix, "parts.%.*s.", ISO_STUDY_PART_BYTES, study->parts[i].name);
        check_part(&study->parts[i], faults, what, prefix);
    }
    if (faults->len > 0) return;
    if (iso_study_plan_make(&plan, study, NULL, NULL) == ISO_OK)
        iso_study_plan_free(plan);
    else
        add_fault(faults, what, 1, "parts");
}

iso_status iso_study_plan_check(const iso_study *study, iso_str *faults, const char *what) {
    if (study->kind == ISO_STUDY_METHOD)
        check_method(study, faults, what);
    else
        check_part(study, faults, what, "");
    return faults->len ? iso_fail(ISO_ERR_USAGE, "%s", faults->data) : ISO_OK;
}
