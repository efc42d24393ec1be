/* The sides of studies that are known beforehand: scans, sweeps, controls, reuse, grids, written
 * plans.
 */
#include "study/study_build.h"

#include "arch/count.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static iso_status add_side(iso_study_build *b, const iso_study_side *side) {
    if (b->n_sides == ISO_STUDY_RUNS_MAX)
        return iso_fail(ISO_ERR_USAGE, "more than %d configurations; take fewer values",
                        ISO_STUDY_RUNS_MAX);
    if (b->n_sides == b->side_capacity) {
        int64_t capacity = b->side_capacity > 0 ? 2 * b->side_capacity : 16;
        iso_study_side *grown = realloc(b->sides, (size_t)capacity * sizeof *grown);
        if (!grown) return iso_fail(ISO_ERR_MEMORY, "cannot allocate the study's sides");
        b->sides = grown;
        b->side_capacity = capacity;
    }
    b->sides[b->n_sides++] = *side;
    return ISO_OK;
}

iso_status iso_study_check_reached(const iso_budget *budget) {
    const iso_budget_model *dense = &budget->models[0];
    if (dense->config.train.steps > 1 || dense->flops_error < 0.51) return ISO_OK;
    return iso_fail(ISO_ERR_USAGE,
                    "a single optimizer step of the baseline costs %.3g FLOPs, C is %.3g; raise "
                    "budget.compute, or lower params",
                    dense->flops * dense->step_share, budget->flops_asked);
}

static bool has_value(const iso_study_list *list, double value) {
    for (int64_t i = 0; i < list->n; i++)
        if (list->values[i] == value) return true;
    return false;
}

/* Another part asks for it. */
static bool is_planned_along(const iso_study *study, double rate) {
    return has_value(&study->plan_rates, rate) && !has_value(&study->activation_rates, rate);
}

/* A line that begins with the name of a model which this part does not train. */
static bool is_of_another(const iso_study *study, const iso_budget *budget, const char *line) {
    for (int64_t i = 1; i < budget->n_models; i++) {
        size_t n = strlen(budget->models[i].name);
        if (strncmp(line, budget->models[i].name, n) == 0 && strchr(" :", line[n]) &&
            is_planned_along(study, budget->models[i].plan.rate_asked))
            return true;
    }
    return false;
}

static void note_lines(iso_study_build *b, const iso_budget *budget) {
    iso_str *notes = &b->plan->notes;
    for (const char *lines = budget->notes.data; lines && *lines;) {
        size_t n = strcspn(lines, "\n");
        char *line = iso_strf("%.*s\n", (int)n, lines);
        bool told = notes->data && strstr(notes->data, line);
        if (!told && !is_of_another(b->study, budget, line)) iso_str_append(notes, line);
        free(line);
        lines += n + (lines[n] == '\n');
    }
}

/* Every model of a budget as a side, "PREFIXdense", "PREFIXmoe-20". */
static iso_status add_budget(iso_study_build *b, const iso_budget *budget, const char *prefix,
                             const char *group) {
    ISO_TRY(iso_study_check_reached(budget));
    for (int64_t i = 0; i < budget->n_models; i++) {
        iso_study_repeat repeat = i > 0 ? ISO_STUDY_REPEAT_MOE : ISO_STUDY_REPEAT_DENSE;
        double rate = budget->models[i].plan.rate_asked;
        if (b->study->kind == ISO_STUDY_CONTROL && !has_value(&b->study->sides, repeat)) continue;
        if (i > 0 && is_planned_along(b->study, rate)) continue;
        iso_study_side side = {.config = budget->models[i].config, .seeds = b->study->seeds};
        iso_study_set_text(side.name, sizeof side.name, "%s%s", prefix, budget->models[i].name);
        iso_study_set_text(side.group, sizeof side.group, "%s", group);
        ISO_TRY(add_side(b, &side));
    }
    note_lines(b, budget);
    return ISO_OK;
}

static void set_rates(iso_budget_goal *goal, const iso_study *study) {
    const iso_study_list *rates =
        study->plan_rates.n > 0 ? &study->plan_rates : &study->activation_rates;
    goal->shapes.n_rates = rates->n;
    memcpy(goal->shapes.rates, rates->values, (size_t)rates->n * sizeof *goal->shapes.rates);
}

/* --- scan, sweep, control --- */

/* The dense baseline on `multiple` times its compute, by the same rules; D-hat stays under strict.
 */
static iso_status add_dense(iso_study_build *b, const iso_budget *budget, double multiple) {
    const iso_budget_model *dense = &budget->models[0];
    double tokens = multiple * (double)dense->tokens;
    iso_study_side side = {.config = dense->config, .seeds = b->study->seeds};
    ISO_TRY(iso_equal_batch_set(&side.config, &budget->goal.rule, llround(tokens)));
    double steps = fmax(1, round(tokens / (double)iso_config_batch_tokens(&side.config)));
    ISO_TRY(iso_equal_steps_set(&side.config, &budget->goal.rule, (int64_t)steps, NULL));
    int64_t S = side.config.model.max_position_embeddings, D = iso_config_tokens(&side.config);
    if (budget->goal.scheme == ISO_GAP_UNIQUE) side.config.data.unique_tokens = D;
    if (budget->goal.scheme == ISO_GAP_LOOSE) side.config.data.unique_tokens = D / S / 2 * S;
    if (b->text_tokens > 0 && side.config.data.unique_tokens > b->text_tokens)
        return iso_fail(ISO_ERR_USAGE,
                        "the baseline at %g C needs %" PRId64 " tokens of text and there are "
                        "%" PRId64 "; take the scheme strict, or less compute",
                        multiple, side.config.data.unique_tokens, b->text_tokens);
    iso_study_set_text(side.name, sizeof side.name, "dense-%gc", multiple);
    return add_side(b, &side);
}

/* Every MoE on the baseline's tokens instead of its compute. */
static iso_status hold_tokens(iso_study_build *b, const iso_budget *budget) {
    const iso_config *dense = &budget->models[0].config;
    for (int64_t i = 0; i < b->n_sides; i++) {
        iso_config *config = &b->sides[i].config;
        b->sides[i].group[0] = '\0';
        config->train.batch_size = dense->train.batch_size;
        config->data.unique_tokens = dense->data.unique_tokens;
        ISO_TRY(iso_equal_steps_set(config, &budget->goal.rule, dense->train.steps, NULL));
    }
    iso_str_append(&b->plan->notes, "tokens are held, not compute: no equal comparison, and the "
                                    "audit is not asked\n");
    return ISO_OK;
}

static iso_status scan_at(iso_study_build *b, const iso_budget_goal *goal, const char *prefix,
                          const char *group) {
    const iso_study *study = b->study;
    iso_budget *budget;
    ISO_TRY(iso_budget_create(&budget, goal));
    iso_status status = add_budget(b, budget, prefix, group);
    if (status == ISO_OK && study->hold == ISO_STUDY_HOLD_TOKENS) status = hold_tokens(b, budget);
    for (int64_t i = 0; i < study->dense_compute.n && status == ISO_OK && !*prefix; i++)
        if (study->dense_compute.values[i] != 1)
            status = add_dense(b, budget, study->dense_compute.values[i]);
    iso_budget_free(budget);
    return status;
}

static iso_status make_scan(iso_study_build *b) {
    const iso_study *study = b->study;
    iso_budget_goal goal;
    iso_config like;
    ISO_TRY(iso_study_goal(&goal, &like, b));
    set_rates(&goal, study);
    if (study->data_sizes.n == 0) return scan_at(b, &goal, "", b->part);
    for (int64_t i = 0; i < study->data_sizes.n; i++) {
        char prefix[40], group[ISO_STUDY_PART_BYTES + 40], size[32];
        goal.compute = (iso_compute){0};
        goal.text_tokens = (int64_t)study->data_sizes.values[i];
        if (b->text_tokens > 0 && goal.text_tokens > b->text_tokens)
            return iso_fail(ISO_ERR_USAGE,
                            "axes.data: the text has %" PRId64 " tokens, not %" PRId64,
                            b->text_tokens, goal.text_tokens);
        /* 4000000 -> "4m": exact, and short where it is round. */
        int64_t D = goal.text_tokens;
        const char *unit = D % 1000000 == 0 ? "m" : D % 1000 == 0 ? "k" : "";
        snprintf(size, sizeof size, "%" PRId64 "%s",
                 D / (*unit == 'm' ? 1000000
                      : *unit      ? 1000
                                   : 1),
                 unit);
        snprintf(group, sizeof group, "%s-d%s", b->part, size);
        snprintf(prefix, sizeof prefix, "d%s-", size);
        ISO_TRY(scan_at(b, &goal, prefix, group));
    }
    return ISO_OK;
}

/* --- reuse --- */

static iso_status reuse_at(iso_study_build *b, const iso_budget_goal *goal, iso_gap_scheme scheme,
                           int64_t epochs, int64_t dense_tokens) {
    char group[ISO_STUDY_PART_BYTES + 40], prefix[40];
    iso_budget_goal at = *goal;
    iso_budget *budget;
    at.scheme = scheme;
    snprintf(prefix, sizeof prefix, "%s-", iso_budget_scheme_names[scheme]);
    if (epochs > 1) {
        snprintf(prefix, sizeof prefix, "strict-e%" PRId64 "-", epochs);
        at.text_tokens = dense_tokens / epochs;
    }
    snprintf(group, sizeof group, "%s-%.*s", b->part, (int)strlen(prefix) - 1, prefix);
    ISO_TRY(iso_budget_create(&budget, &at));
    iso_status status = add_budget(b, budget, prefix, group);
    iso_budget_free(budget);
    return status;
}

/* Strict for each number of epochs of the baseline, the others once. */
static iso_status make_reuse(iso_study_build *b) {
    const iso_study *study = b->study;
    iso_budget_goal goal;
    iso_config like;
    iso_budget *first;
    ISO_TRY(iso_study_goal(&goal, &like, b));
    set_rates(&goal, study);
    goal.scheme = ISO_GAP_STRICT;
    ISO_TRY(iso_budget_create(&first, &goal));
    int64_t dense_tokens = first->models[0].tokens;
    /* Where N, D are given, C follows from them; then it stays, whatever part of D is seen. */
    if (goal.compute.flops <= 0) goal.compute.flops = first->models[0].flops;
    goal.params = first->params;
    goal.text_tokens = b->text_tokens; /* of which strict takes what the baseline sees */
    goal.like = NULL;
    iso_budget_free(first);
    for (int64_t i = 0; i < study->schemes.n; i++) {
        iso_gap_scheme scheme = (iso_gap_scheme)study->schemes.values[i];
        for (int64_t j = 0; j < (scheme == ISO_GAP_STRICT ? study->epochs.n : 1); j++)
            ISO_TRY(reuse_at(b, &goal, scheme,
                             scheme == ISO_GAP_STRICT ? (int64_t)study->epochs.values[j] : 1,
                             dense_tokens));
    }
    return ISO_OK;
}

/* --- grid --- */

/* "train.lr" and "0.001": "lr-0.001-"; what a name cannot hold becomes '-'. */
static void append_value(iso_str *name, const iso_study_axis *axis, const char *value) {
    const char *dot = strchr(axis->key, '.'), *key = dot ? dot + 1 : axis->key;
    size_t from = name->len;
    iso_str_appendf(name, "%s%s-%s", name->len ? "-" : "", key, value);
    for (size_t i = from; i < name->len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-.", name->data[i])) name->data[i] = '-';
}

static bool has_side(const iso_study_build *b, const char *name) {
    for (int64_t i = 0; i < b->n_sides; i++)
        if (strcmp(b->sides[i].name, name) == 0) return true;
    return false;
}

static iso_status grid_at(iso_study_build *b, int64_t index) {
    const iso_study *study = b->study;
    iso_study_side side = {.config = study->base, .seeds = study->seeds};
    iso_str name = {0}, values = {0};
    iso_status status = ISO_OK;
    int64_t rest = index;
    for (int64_t i = study->n_axes - 1; i >= 0; rest /= study->axes[i--].n) {
        const iso_study_axis *axis = &study->axes[i];
        char *assignment = iso_strf("%s=%s", axis->key, axis->values[rest % axis->n]);
        if (status == ISO_OK) status = iso_config_set(&side.config, assignment);
        iso_str_appendf(&values, "%s%s", values.len ? ", " : "", assignment);
        free(assignment);
    }
    rest = index;
    int64_t place = 1;
    for (int64_t i = 0; i < study->n_axes; i++) place *= study->axes[i].n;
    for (int64_t i = 0; i < study->n_axes; i++) {
        place /= study->axes[i].n;
        append_value(&name, &study->axes[i], study->axes[i].values[rest / place]);
        rest %= place;
    }
    if (status == ISO_OK) status = iso_config_resolve(&side.config, NULL);
    if (status != ISO_OK) iso_fail_context(status, "at %s", values.data);
    if (name.len <= 48 && !has_side(b, name.data))
        iso_study_set_text(side.name, sizeof side.name, "%s", name.data);
    else
        iso_study_set_text(side.name, sizeof side.name, "grid-%" PRId64, index + 1);
    iso_str_release(&name);
    iso_str_release(&values);
    return status == ISO_OK ? add_side(b, &side) : status;
}

static iso_status make_grid(iso_study_build *b) {
    int64_t n = 1;
    for (int64_t i = 0; i < b->study->n_axes; i++) {
        n *= b->study->axes[i].n;
        if (n > ISO_STUDY_RUNS_MAX)
            return iso_fail(ISO_ERR_USAGE, "axes: more than %d combinations; take fewer values",
                            ISO_STUDY_RUNS_MAX);
    }
    for (int64_t i = 0; i < n; i++) ISO_TRY(grid_at(b, i));
    return ISO_OK;
}

/* --- written plans --- */

static iso_status make_listed(iso_study_build *b) {
    for (int64_t i = 0; i < b->study->n_listed; i++) {
        const iso_study_listed *run = &b->study->listed[i];
        iso_study_side side = {.config = run->config, .seeds = run->seeds};
        iso_study_set_text(side.name, sizeof side.name, "%s", run->name);
        iso_study_set_text(side.group, sizeof side.group, "%s", b->part);
        ISO_TRY(add_side(b, &side));
    }
    return ISO_OK;
}

iso_status iso_study_make_sides(iso_study_build *b) {
    if (b->study->kind == ISO_STUDY_GRID) return make_grid(b);
    if (b->study->n_listed > 0) return make_listed(b);
    return b->study->kind == ISO_STUDY_REUSE ? make_reuse(b) : make_scan(b);
}
