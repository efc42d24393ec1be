/* Terminal and Markdown show the same cells and the same sentences; only the frame differs. */
#include "plan_view.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 100

/* --- cells --- */

static void add_percent(cli_table *table, double fraction, int decimals) {
    cli_table_addf(table, "%.*f %%", decimals, 100 * fraction);
}

static void add_signed_percent(cli_table *table, double fraction) {
    double percent = 100 * fraction;
    cli_table_addf(table, "%+.*f %%", fabs(percent) < 0.0995 ? 3 : 2,
                   fabs(percent) < 0.0005 ? 0.0 : percent);
}

static void shapes_table(cli_table *table, const iso_budget *b) {
    static const char *const headers[] = {"model",   "layers",  "H",          "heads",
                                          "F",       "experts", "shared",     "N",
                                          "N error", "active",  "FLOPs/token"};
    char text[32];
    cli_table_init(table, headers, 11);
    for (int64_t i = 0; i < b->n_models; i++) {
        const iso_budget_model *m = &b->models[i];
        const iso_shape *s = &m->plan.shape;
        cli_table_addf(table, "%s%s", m->name, m->as_given ? "*" : "");
        cli_table_addf(table, "%" PRId64, s->num_hidden_layers);
        cli_table_addf(table, "%" PRId64, s->hidden_size);
        cli_table_addf(table, "%" PRId64, s->num_attention_heads);
        if (s->intermediate_size > 0)
            cli_table_addf(table, "%" PRId64, s->intermediate_size);
        else
            cli_table_add(table, "-");
        if (s->num_experts > 0)
            cli_table_addf(table, "%" PRId64 " of %" PRId64 " x %" PRId64, s->num_experts_per_tok,
                           s->num_experts, s->moe_intermediate_size);
        else
            cli_table_add(table, "-");
        if (s->shared_expert_intermediate_size > 0)
            cli_table_addf(table, "%" PRId64, s->shared_expert_intermediate_size);
        else
            cli_table_add(table, "-");
        cli_table_add(table, iso_str_count(text, (double)m->plan.counts.params_nonvocab));
        add_signed_percent(table, m->plan.params_error);
        add_percent(table, m->plan.counts.activation_rate, 1);
        cli_table_addf(table, "%.3e", (double)m->plan.counts.train_flops_per_token);
    }
}

/* 13.4 h, 11.2 d. */
static void add_time(cli_table *table, double seconds) {
    double hours = seconds / 3600;
    if (!isfinite(hours))
        cli_table_add(table, "-");
    else if (hours < 0.1)
        cli_table_addf(table, "%.2g m", seconds / 60);
    else if (hours < 1e5)
        cli_table_addf(table, "%.*f h", hours < 99.95 ? 1 : 0, hours);
    else
        cli_table_addf(table, "%.3g h", hours);
}

/* A law of runs of one size knows no error for another: then there is no interval. */
static void add_gap(cli_table *table, const iso_budget_model *m) {
    if (!m->has_forecast)
        cli_table_add(table, "-");
    else if (isfinite(m->forecast.half))
        cli_table_addf(table, "%+.3f \xc2\xb1 %.3f", m->forecast.value, m->forecast.half);
    else
        cli_table_addf(table, "%+.3f \xc2\xb1 ?", m->forecast.value);
}

static void training_table(cli_table *table, const iso_budget *b) {
    const char *headers[11] = {"model", "tokens", "unique",  "epochs", "batch",
                               "lr",    "steps",  "C error", "memory"};
    char text[32];
    int64_t n_columns = 9;
    if (b->flops_per_s > 0) headers[n_columns++] = "time";
    if (b->law) headers[n_columns++] = "gap, BPC";
    cli_table_init(table, headers, n_columns);
    for (int64_t i = 0; i < b->n_models; i++) {
        const iso_budget_model *m = &b->models[i];
        cli_table_add(table, m->name);
        cli_table_add(table, iso_str_count(text, (double)m->tokens));
        cli_table_add(table, iso_str_count(text, (double)m->config.data.unique_tokens));
        cli_table_addf(table, "%.2f", (double)m->tokens / (double)m->config.data.unique_tokens);
        cli_table_addf(table, "%" PRId64, m->config.train.batch_size);
        cli_table_addf(table, "%.2e", iso_config_peak_lr(&m->config));
        cli_table_addf(table, "%" PRId64, m->config.train.steps);
        add_signed_percent(table, m->flops_error);
        cli_table_add(table, iso_str_bytes(text, (double)m->memory.training));
        if (b->flops_per_s > 0) add_time(table, m->seconds);
        if (b->law) add_gap(table, m);
    }
}

static void memory_table(cli_table *table, const iso_budget *b) {
    static const char *const headers[] = {"model",    "weights",       "gradients",
                                          "master",   "moments",       "activations",
                                          "resident", "touched/token", "KV/token"};
    char text[32];
    cli_table_init(table, headers, 9);
    for (int64_t i = 0; i < b->n_models; i++) {
        const iso_budget_memory *memory = &b->models[i].memory;
        const iso_state_memory *s = &memory->state;
        cli_table_add(table, b->models[i].name);
        cli_table_add(table, iso_str_bytes(text, (double)s->weights));
        cli_table_add(table, iso_str_bytes(text, (double)s->gradients));
        cli_table_add(table,
                      s->master_weights ? iso_str_bytes(text, (double)s->master_weights) : "-");
        cli_table_add(table, iso_str_bytes(text, (double)s->moments));
        cli_table_add(table, iso_str_bytes(text, (double)memory->activations));
        cli_table_add(table, iso_str_bytes(text, (double)memory->weights));
        cli_table_add(table, iso_str_bytes(text, memory->touched));
        cli_table_add(table, iso_str_bytes(text, (double)memory->kv_token));
    }
}

/* --- sentences --- */

static void say_budget(iso_str *out, const iso_budget *b) {
    char params[32], text[32], seconds[32];
    const iso_budget_model *dense = &b->models[0];
    const iso_compute *c = &b->goal.compute;
    iso_str_appendf(out, "N %s parameters%s, C %.4g FLOPs%s, D ",
                    iso_str_count(params, (double)b->params),
                    b->params_solved ? " (what C and D come to)" : "", dense->flops,
                    b->flops_solved && c->tokens == 0 ? " (what N and D come to)" : "");
    if (b->data_solved)
        iso_str_appendf(out, "%s tokens (what the dense baseline sees once)\n",
                        iso_str_count(text, (double)b->unique_tokens));
    else
        iso_str_appendf(out, "%s tokens of text at hand\n",
                        iso_str_count(text, (double)b->goal.text_tokens));
    if (c->seconds > 0) {
        iso_str_append(out, "compute of ");
        iso_speed_say(out, &c->speed);
        double days = c->seconds / 86400;
        if (days >= 1)
            iso_str_appendf(out, " for %.3g days\n", days);
        else
            iso_str_appendf(out, " for %s\n", iso_str_duration(seconds, c->seconds));
    }
    if (b->goal.speed.flops_per_s > 0 || b->goal.speed.tokens_per_s > 0) {
        iso_str_append(out, "times at ");
        iso_speed_say(out, &b->goal.speed);
        iso_str_append(out, b->goal.speed.tokens_per_s > 0 ? " of the dense baseline\n" : "\n");
    }
    const iso_shape *s = &dense->plan.shape;
    iso_str_appendf(out,
                    "scheme %s; context S %" PRId64 ", vocabulary V %" PRId64 ", heads of %" PRId64
                    ", %s, micro-batches of %" PRId64 "; convention paper\n",
                    iso_budget_scheme_names[b->goal.scheme], s->max_position_embeddings,
                    s->vocab_size, s->hidden_size / s->num_attention_heads,
                    iso_precision_name(dense->config.train.precision),
                    dense->config.train.micro_batch_size);
}

static void say_rate(iso_str *out, double rate) {
    iso_str_appendf(out, "%.3g %%", 100 * rate);
}

/* A verdict only where the interval leaves one. */
static void say_gap(iso_str *out, const iso_budget_model *best) {
    double gap = best->forecast.value, half = best->forecast.half;
    const char *side = gap > 0 ? "better" : "worse";
    const char *verdict = !(fabs(gap) > half) ? "Not to be decided beforehand"
                          : gap > 0           ? "MoE is expected to win"
                                              : "Dense is expected to win";
    iso_str_appendf(out, "%s: the best of these MoEs, %s, with ", verdict, best->name);
    say_rate(out, best->plan.counts.activation_rate);
    iso_str_appendf(out, " active is expected to be %s by %.3f", side, fabs(gap));
    if (isfinite(half))
        iso_str_appendf(out, " \xc2\xb1 %.3f bits per character (95 %%).", half);
    else
        iso_str_append(out, " bits per character, with an error that these runs cannot tell.");
}

/* Where the MoE is ahead on the mean curve, and where even the interval's lower end is. A range
 * that ends where the fitted runs end is open there. */
static void say_ahead(iso_str *out, const iso_gap_curve *curve) {
    const iso_gap_range *better = &curve->better, *surely = &curve->surely_better;
    if (!(isfinite(better->low) && isfinite(better->high))) return;
    bool open_high = better->high > curve->scanned.high * 0.999;
    bool open_low = better->low < curve->scanned.low * 1.001;
    iso_str_append(out, "; MoE is ahead from ");
    say_rate(out, better->low);
    if (open_low) iso_str_append(out, " (the lowest that was fitted)");
    iso_str_append(out, " to ");
    say_rate(out, better->high);
    if (open_high) iso_str_append(out, " (the highest that was fitted)");
    if (isfinite(surely->low) && isfinite(surely->high)) {
        iso_str_append(out, ", surely from ");
        say_rate(out, surely->low);
        iso_str_append(out, " to ");
        say_rate(out, surely->high);
    } else {
        iso_str_append(out, ", nowhere surely");
    }
}

/* One line on what to expect, and the fit's own words about itself. */
static void say_expected(iso_str *out, const iso_budget *b) {
    const iso_budget_model *best = NULL;
    for (int64_t i = 1; i < b->n_models; i++)
        if (b->models[i].has_forecast &&
            (!best || b->models[i].forecast.value > best->forecast.value))
            best = &b->models[i];
    if (!best) return;
    say_gap(out, best);
    iso_str_append(out, " The best rate is about ");
    say_rate(out, b->curve.best_rate);
    if (b->curve.best_at_edge) iso_str_append(out, ", at the edge of what was fitted");
    say_ahead(out, &b->curve);
    iso_str_append(out, b->extrapolated ? ". Extrapolated beyond the fitted runs.\n" : ".\n");
}

static void say_refused(iso_str *out, const iso_budget *b) {
    if (b->refused) iso_str_appendf(out, "no %s\n", b->refused);
}

/* How to read the columns of training. */
static void say_columns(iso_str *out, const iso_budget *b) {
    static const char *const schemes[] = {
        [ISO_GAP_STRICT] = "the same for all (loose would be half of each side's tokens, twice)",
        [ISO_GAP_LOOSE] = "half of each side's tokens, twice",
        [ISO_GAP_UNIQUE] = "each side's tokens, once",
    };
    iso_str_appendf(out,
                    "unique: the scheme's D-hat, %s. batch: sequences. C error: of dense against "
                    "what was asked, of MoEs against dense. memory: to train, one copy: weights, "
                    "gradients, AdamW, activations of a micro-batch.",
                    schemes[b->goal.scheme]);
    if (b->law) iso_str_append(out, " gap: above 0 the MoE is better.");
    iso_str_append(out, "\n");
}

/* What gave way, a line per model; equal lines of several models become one. */
static void say_relaxed(iso_str *out, const iso_budget *b) {
    bool told[ISO_BUDGET_MODELS_MAX] = {false};
    iso_str own = {0}, other = {0};
    for (int64_t i = 0; i < b->n_models; i++) {
        iso_str_clear(&own);
        iso_plan_relaxed_say(&own, &b->models[i].plan, &b->shapes);
        if (told[i] || own.len == 0) continue;
        iso_str_append(out, b->models[i].name);
        for (int64_t j = i + 1; j < b->n_models; j++) {
            iso_str_clear(&other);
            iso_plan_relaxed_say(&other, &b->models[j].plan, &b->shapes);
            if (other.len == 0 || strcmp(own.data, other.data) != 0) continue;
            told[j] = true;
            iso_str_appendf(out, ", %s", b->models[j].name);
        }
        iso_str_appendf(out, ": %s\n", own.data);
    }
    iso_str_release(&own);
    iso_str_release(&other);
}

static bool any_as_given(const iso_budget *b) {
    for (int64_t i = 0; i < b->n_models; i++)
        if (b->models[i].as_given) return true;
    return false;
}

static void say_notes(iso_str *out, const iso_budget *b) {
    if (any_as_given(b)) iso_str_append(out, "the shape with a star is that of --like, as given\n");
    if (b->notes.data) iso_str_append(out, b->notes.data);
    if (b->law) iso_gap_law_say(out, b->law);
}

/* --- terminal --- */

/* Lines broken at blanks to fit `columns`; the first of each begins with `first`, the others with
 * as many blanks. */
static void print_wrapped(const char *text, const char *first, int columns) {
    int indent = (int)strlen(first), width = columns - indent;
    while (*text) {
        int length = (int)strcspn(text, "\n");
        const char *lead = first;
        while (length > 0) {
            int take = length;
            if (length > width) {
                take = width;
                while (take > 0 && text[take] != ' ') take--;
                if (take == 0) take = (int)strcspn(text, " \n");
            }
            printf("%*s%.*s\n", indent, lead, take, text);
            lead = "";
            text += take;
            length -= take;
            while (length > 0 && *text == ' ') text++, length--;
        }
        text += *text == '\n';
    }
}

static void print_styled(const char *text, const char *first, cli_style style) {
    if (!text || !*text) return;
    fputs(cli_styled(stdout, style), stdout);
    print_wrapped(text, first, COLUMNS);
    fputs(cli_styled(stdout, CLI_PLAIN), stdout);
}

typedef void (*table_fn)(cli_table *table, const iso_budget *b);

static void print_table(const iso_budget *b, table_fn fill) {
    cli_table table;
    fill(&table, b);
    cli_table_print(&table, stdout);
    cli_table_release(&table);
}

typedef void (*say_fn)(iso_str *out, const iso_budget *b);

static void print_said(const iso_budget *b, say_fn say, const char *heading, const char *bullet,
                       cli_style style) {
    iso_str text = {0};
    say(&text, b);
    if (text.len > 0) {
        if (heading) printf("%s\n", heading);
        print_styled(text.data, bullet, style);
        printf("\n");
    }
    iso_str_release(&text);
}

void plan_view_print(const iso_budget *budget) {
    if (budget->law) print_said(budget, say_expected, NULL, "", CLI_BOLD);
    print_said(budget, say_refused, NULL, "", CLI_YELLOW);
    print_said(budget, say_budget, NULL, "", CLI_PLAIN);
    print_table(budget, shapes_table);
    printf("\n");
    print_table(budget, training_table);
    print_said(budget, say_columns, NULL, "", CLI_DIM);
    print_said(budget, say_relaxed, "not as usual:", "  ", CLI_YELLOW);
    print_said(budget, say_notes, "notes:", "- ", CLI_PLAIN);
}

/* --- Markdown --- */

static void markdown_table(iso_str *out, const iso_budget *b, table_fn fill) {
    cli_table table;
    fill(&table, b);
    for (int64_t i = 0; i < table.n_cells; i++) {
        bool ends = i % table.n_columns == table.n_columns - 1;
        iso_str_appendf(out, "| %s %s", table.cells[i], ends ? "|\n" : "");
        if (i != table.n_columns - 1) continue;
        for (int64_t c = 0; c < table.n_columns; c++) iso_str_append(out, c ? "|---:" : "|---");
        iso_str_append(out, "|\n");
    }
    iso_str_append(out, "\n");
    cli_table_release(&table);
}

/* Every line as an item of a list, under a heading. */
static void markdown_list(iso_str *out, const iso_budget *b, say_fn say, const char *heading) {
    iso_str text = {0};
    say(&text, b);
    if (text.len > 0) {
        iso_str_appendf(out, "## %s\n\n", heading);
        for (const char *line = text.data; *line;) {
            int length = (int)strcspn(line, "\n");
            iso_str_appendf(out, "- %.*s\n", length, line);
            line += length + (line[length] == '\n');
        }
        iso_str_append(out, "\n");
    }
    iso_str_release(&text);
}

void plan_view_markdown(iso_str *out, const iso_budget *budget, const char *command) {
    iso_str_appendf(out, "# An equal comparison\n\n```\n%s\n```\n\n", command);
    if (budget->law) markdown_list(out, budget, say_expected, "What to expect");
    markdown_list(out, budget, say_refused, "What to expect");
    markdown_list(out, budget, say_budget, "Budget");
    iso_str_append(out, "## Shapes\n\n");
    markdown_table(out, budget, shapes_table);
    iso_str_appendf(out,
                    "## Training\n\n`isomoe train configs/NAME.yaml%s --out runs/NAME` runs one "
                    "of them.\n\n",
                    budget->goal.base.data.dir[0] ? "" : " --data.dir=PREPARED");
    markdown_table(out, budget, training_table);
    say_columns(out, budget);
    iso_str_append(out, "\n");
    iso_str_append(out, "## Memory\n\nTraining: weights to activations. Inference: weights "
                        "resident, weights read per token (one sequence at a time), KV cache.\n\n");
    markdown_table(out, budget, memory_table);
    markdown_list(out, budget, say_relaxed, "Not as usual");
    markdown_list(out, budget, say_notes, "Notes");
}
