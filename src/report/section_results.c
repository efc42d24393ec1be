/* The answer, the table of sides, the table of domains. */
#include "report/markup.h"
#include "report/page.h"
#include "report/sections.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the answer --- */

static const char *outcome_tag(iso_outcome outcome) {
    switch (outcome) {
    case ISO_OUTCOME_MOE_BETTER:
        return "MoE is better";
    case ISO_OUTCOME_DENSE_BETTER:
        return "Dense is better";
    case ISO_OUTCOME_NOT_RESOLVED:
        return "Not resolved";
    case ISO_OUTCOME_NO_COMPARISON:
        break;
    }
    return "No comparison";
}

static const char *outcome_class(iso_outcome outcome) {
    switch (outcome) {
    case ISO_OUTCOME_MOE_BETTER:
        return "moe";
    case ISO_OUTCOME_DENSE_BETTER:
        return "dense";
    case ISO_OUTCOME_NOT_RESOLVED:
        return "open";
    case ISO_OUTCOME_NO_COMPARISON:
        break;
    }
    return "none";
}

static void append_glossary(iso_str *out) {
    static const struct {
        const char *word, *meaning;
    } words[] = {
        {"Dense, MoE",
         "A dense model uses all of its parameters for every token. A mixture of "
         "experts (MoE) holds many small networks per layer and a router that picks a "
         "few of them for each token."},
        {"Activation rate", "The share of an MoE's parameters that work on one token: N_a / N."},
        {"N, C, D",
         "Parameters without embeddings; FLOPs spent on training; unique tokens of "
         "training text. An MoE at equal C trains on more tokens, since each costs less: "
         "it passes over the same D more often."},
        {"BPC, BPB", "Bits per character and bits per byte that the model needs to encode text it "
                     "has not seen. Lower is better."},
        {"Training noise", "How far the score moves when only the random seed changes."},
        {"Evaluation noise", "How far the gap would move on another sample of text, from paired "
                             "differences over its documents."},
    };
    iso_str_append(out, "<details><summary>Words used on this page</summary>\n<dl>\n");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        iso_str_append(out, "<dt>");
        iso_markup_text(out, words[i].word);
        iso_str_append(out, "</dt><dd>");
        iso_markup_text(out, words[i].meaning);
        iso_str_append(out, "</dd>\n");
    }
    iso_str_append(out, "</dl>\n</details>\n");
}

/* The audit judges by the paper's convention: say so where another would have judged otherwise. */
static void append_conventions(iso_str *out, const iso_page_data *data) {
    const iso_audit *audit = data->sides->audit;
    if (data->answer->outcome == ISO_OUTCOME_NO_COMPARISON) return;
    iso_str names = {0};
    for (int i = 0; i < ISO_N_CONVENTIONS; i++)
        if (audit->by_convention[i] == ISO_VERDICT_NOT_EQUAL)
            iso_str_appendf(&names, "%s%s", names.len ? ", " : "",
                            iso_convention_name((iso_convention)i));
    if (names.len == 0) return;
    char *text = iso_strf("N and C are equal as the paper counts them; counted otherwise (%s) the "
                          "sides would not be: see the ledger.",
                          names.data);
    iso_page_text(out, "soft", text);
    free(text);
    iso_str_release(&names);
}

void iso_section_answer(iso_str *out, const iso_page_data *data) {
    const iso_answer *answer = data->answer;
    char *const texts[] = {iso_answer_sentence(answer), iso_answer_against_paper(answer),
                           iso_answer_other_rates(answer)};
    iso_str_appendf(out, "<section id=\"answer\" class=\"answer %s\" aria-label=\"The answer\">\n",
                    outcome_class(answer->outcome));
    iso_page_text(out, "tag", outcome_tag(answer->outcome));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (*texts[i]) iso_page_text(out, i == 0 ? NULL : "soft", texts[i]);
        free(texts[i]);
    }
    append_conventions(out, data);
    iso_page_section_close(out);
    append_glossary(out);
}

/* --- the sides --- */

static void append_gap_cell(iso_str *out, const iso_page_data *data, const iso_side *side) {
    if (data->answer->outcome == ISO_OUTCOME_NO_COMPARISON || !side->is_moe) {
        iso_page_cell(out, "");
        return;
    }
    iso_gap gap = iso_gap_estimate(data->answer->dense, side, &data->answer->noise);
    char size[ISO_NUMBER_BYTES], half[ISO_NUMBER_BYTES];
    int decimals = isnan(gap.half) ? 3 : iso_number_decimals(gap.half);
    iso_number_signed(size, gap.bpc, decimals);
    char *text = isnan(gap.half)
                     ? iso_strf("%s", size)
                     : iso_strf("%s \xc2\xb1 %s", size, iso_number_fixed(half, gap.half, decimals));
    iso_page_cell(out, text);
    free(text);
}

static void append_lr_cell(iso_str *out, const iso_side_run *run) {
    char lr[ISO_NUMBER_BYTES], over[ISO_NUMBER_BYTES];
    iso_number_short(lr, iso_side_run_number(run, "lr"), 3);
    double ratio = iso_side_run_number(run, "lr_over_steplaw");
    char *text = isnan(ratio) ? iso_strf("%s", lr)
                              : iso_strf("%s (%s\xc3\x97)", lr, iso_number_short(over, ratio, 2));
    iso_page_cell(out, text);
    free(text);
}

static void append_scores(iso_str *out, const iso_page_data *data) {
    static const char *const headers[] = {
        "Side", "Acti\xc2\xadvation", "N", "BPC", "Gain over dense", "BPB, hold-out", "Seeds"};
    iso_page_table_open(out, "scores",
                        "Scores, means over seeds. Gain: BPC of dense minus BPC of the side, "
                        "positive = better than dense, with its 95\xc2\xa0% interval.",
                        headers, sizeof headers / sizeof *headers, 1);
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side *side = &data->sides->sides[i];
        const iso_side_run *run = side->runs[0];
        char number[ISO_NUMBER_BYTES];
        iso_page_row_open(out, side->label, NULL);
        iso_page_cell(out, iso_number_percent(number, side->activation_rate, 1));
        iso_page_cell(out, iso_number_count(number, iso_side_run_number(run, "params_nonvocab")));
        iso_page_cell(out, iso_number_fixed(number, side->mean_bpc, 4));
        append_gap_cell(out, data, side);
        iso_page_cell(out, iso_number_fixed(number, side->mean_in_distribution_bpb, 4));
        iso_page_cell(out, iso_number_grouped(number, side->n_runs));
        iso_page_row_close(out);
    }
    iso_page_table_close(out);
}

static void append_shapes(iso_str *out, const iso_page_data *data) {
    static const char *const headers[] = {"Side",   "Shape", "Tokens",
                                          "Epochs", "Steps", "Peak lr (\xc3\x97 Step Law)"};
    iso_page_table_open(out, "shapes", "Shapes, and how each side was trained.", headers,
                        sizeof headers / sizeof *headers, 2);
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side *side = &data->sides->sides[i];
        const iso_side_run *run = side->runs[0];
        char number[ISO_NUMBER_BYTES];
        iso_page_row_open(out, side->label, NULL);
        iso_page_cell_words(out, side->shape);
        iso_page_cell(out, iso_number_count(number, iso_side_run_number(run, "tokens")));
        iso_page_cell(out, iso_number_fixed(number, iso_side_run_number(run, "epochs"), 2));
        iso_page_cell(out, iso_number_short(number, iso_side_run_number(run, "steps"), 9));
        append_lr_cell(out, run);
        iso_page_row_close(out);
    }
    iso_page_table_close(out);
}

static void append_seed_noise(iso_str *out, const iso_pooled *noise) {
    if (noise->dof <= 0.0) {
        iso_page_text(out, "soft",
                      "No side has two seeds: how far chance moves these scores is not "
                      "known, and no gap between them can be called real.");
        return;
    }
    char sd[ISO_NUMBER_BYTES], quantile[ISO_NUMBER_BYTES];
    char *text = iso_strf(
        "Spread between seeds of one configuration: standard deviation %s BPC, pooled over %lld %s "
        "with %.0f %s of freedom (t = %s). A gain's half-width is the root of the squares of its "
        "training part, t \xc2\xb7 s \xc2\xb7 \xe2\x88\x9a(1/n + 1/n\xe2\x80\xb2), and its "
        "evaluation part.",
        iso_number_short(sd, iso_pooled_sd(noise), 2), (long long)noise->n_groups,
        noise->n_groups == 1 ? "side" : "sides", noise->dof,
        noise->dof == 1.0 ? "degree" : "degrees",
        iso_number_fixed(quantile, iso_t_95(noise->dof), 2));
    iso_page_text(out, "soft", text);
    free(text);
}

void iso_section_sides(iso_str *out, const iso_page_data *data) {
    iso_page_section(out, "sides", "The sides");
    if (data->sides->n == 0) {
        iso_page_text(out, NULL, "No run has finished; there is nothing to compare yet.");
    } else {
        append_scores(out, data);
        append_seed_noise(out, &data->answer->noise);
        append_shapes(out, data);
    }
    iso_page_section_close(out);
}

/* --- the domains --- */

static void append_domain_table(iso_str *out, const iso_page_data *data, const char *unit,
                                const char *caption) {
    const iso_sides *sides = data->sides;
    bool is_bpc = strcmp(unit, "bpc") == 0;
    bool with_scales = !is_bpc && data->dataset;
    int64_t n_headers = 1 + sides->n + (with_scales ? 2 : 0);
    const char **headers = calloc((size_t)n_headers, sizeof(*headers));
    ISO_ASSERT(headers);
    headers[0] = "Domain";
    for (int64_t i = 0; i < sides->n; i++) headers[1 + i] = sides->sides[i].label;
    if (with_scales) {
        headers[1 + sides->n] = "gzip -9";
        headers[2 + sides->n] = "order-0 entropy";
    }
    iso_page_table_open(out, unit, caption, headers, n_headers, 1);
    free(headers);
    char number[ISO_NUMBER_BYTES];
    for (int64_t d = 0; d < sides->n_domains; d++) {
        bool holdout = iso_domain_is_holdout(sides->domains[d]);
        iso_page_row_open(
            out, sides->domains[d],
            holdout && sides->n_domains > 1 ? "from the training text, not in the mean" : NULL);
        for (int64_t i = 0; i < sides->n; i++)
            iso_page_cell(
                out,
                iso_number_fixed(
                    number, iso_side_domain_mean(&sides->sides[i], sides->domains[d], unit), 3));
        if (with_scales) {
            const iso_split *split = iso_dataset_domain(data->dataset, sides->domains[d]);
            iso_page_cell(out, iso_number_fixed(number, split ? split->gzip9_bpb : NAN, 3));
            iso_page_cell(out, iso_number_fixed(number, split ? split->order0_bpb : NAN, 3));
        }
        iso_page_row_close(out);
    }
    iso_page_row_open(out, "headline mean", NULL);
    for (int64_t i = 0; i < sides->n; i++)
        iso_page_cell(
            out, iso_number_fixed(number,
                                  is_bpc ? sides->sides[i].mean_bpc : sides->sides[i].mean_bpb, 3));
    for (int i = 0; with_scales && i < 2; i++) iso_page_cell(out, "");
    iso_page_row_close(out);
    iso_page_table_close(out);
}

/* The headline gap domain by domain, with its evaluation noise. */
static void append_domain_gaps(iso_str *out, const iso_page_data *data) {
    const iso_answer *answer = data->answer;
    if (answer->outcome == ISO_OUTCOME_NO_COMPARISON) return;
    static const char *const headers[] = {"Domain", "Gain of the MoE, BPC", "Blocks of text"};
    char *caption = iso_strf("Where the gap of %s against %s comes from: paired differences with "
                             "95\xc2\xa0%% intervals of evaluation noise alone.",
                             answer->moe->label, answer->dense->label);
    iso_page_table_open(out, "domain-gaps", caption, headers, 3, 1);
    free(caption);
    for (int64_t d = 0; d < data->sides->n_domains; d++) {
        iso_ratio gap = iso_gap_domain(answer->dense, answer->moe, data->sides->domains[d]);
        char size[ISO_NUMBER_BYTES], half[ISO_NUMBER_BYTES], blocks[ISO_NUMBER_BYTES];
        iso_page_row_open(out, data->sides->domains[d], NULL);
        if (isnan(gap.value)) {
            iso_page_cell(out, "not paired");
            iso_page_cell(out, "");
        } else {
            double width = isnan(gap.se) ? NAN : iso_t_95((double)(gap.n - 1)) * gap.se;
            char *text = iso_strf("%s \xc2\xb1 %s", iso_number_signed(size, gap.value, 4),
                                  iso_number_fixed(half, width, 4));
            iso_page_cell(out, text);
            iso_page_cell(out, iso_number_grouped(blocks, gap.n));
            free(text);
        }
        iso_page_row_close(out);
    }
    iso_page_table_close(out);
}

void iso_section_domains(iso_str *out, const iso_page_data *data) {
    iso_page_section(out, "domains", "By domain of text");
    if (data->sides->n_domains == 0) {
        iso_page_text(out, NULL, "The runs hold no scores by domain.");
        iso_page_section_close(out);
        return;
    }
    append_domain_table(out, data, "bpc",
                        "Bits per character in the final evaluation, mean over seeds.");
    append_domain_table(
        out, data, "bpb",
        data->dataset ? "Bits per byte, beside what gzip -9 and the mere frequencies of the "
                        "bytes (order-0 entropy) need for the same text: a model that has "
                        "learnt something lies well below both."
                      : "Bits per byte. (The prepared data is not where the runs found it, so that "
                        "the scale of gzip -9 and byte frequencies is missing here.)");
    append_domain_gaps(out, data);
    iso_page_section_close(out);
}
