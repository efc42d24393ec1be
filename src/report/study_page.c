#include "report/study_page.h"

#include "report/markup.h"
#include "report/page.h"
#include "report/study_figure.h"
#include "report/study_table.h"
#include "report/study_words.h"
#include "report/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

char *iso_finding_file_name(const char *key) {
    char *name = iso_strf("%s", key);
    for (char *at = name; *at; at++) {
        bool is_plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                        (*at >= '0' && *at <= '9') || *at == '-' || *at == '_';
        if (!is_plain) *at = '-';
    }
    return name;
}

char *iso_table_data_name(const char *key) {
    char *name = iso_finding_file_name(key), *out = iso_strf("table-%s", name);
    free(name);
    return out;
}

/* --- a verdict's interval as a drawing --- */

#define BAR_WIDTH  340.0
#define BAR_HEIGHT 34.0
#define BAR_MARGIN 86.0 /* for the numbers at both ends */
#define BAR_Y      12.0
#define BAR_LABEL  48.0 /* a number beside an end, its distance too */

typedef struct bar {
    double from, to; /* of the drawing's axis */
} bar;

static double bar_x(const bar *b, double value) {
    return BAR_MARGIN + (value - b->from) / (b->to - b->from) * (BAR_WIDTH - 2.0 * BAR_MARGIN);
}

/* Holds the value and the interval's ends; zero, too, unless it is far off. An open end gets room
 * for an arrow. */
static bar bar_of(const iso_finding_verdict *v) {
    bar b = {INFINITY, -INFINITY};
    const double held[] = {v->value, v->low, v->high};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) {
        if (!isfinite(held[i])) continue;
        b.from = fmin(b.from, held[i]);
        b.to = fmax(b.to, held[i]);
    }
    double length = b.to - b.from;
    if (!(length > 0.0)) length = fmax(fabs(b.to), 1e-9);
    if (b.from > 0.0 && b.from < 1.5 * length) b.from = 0.0;
    if (b.to < 0.0 && b.to > -1.5 * length) b.to = 0.0;
    if (!isfinite(v->low)) b.from -= 0.3 * length;
    if (!isfinite(v->high)) b.to += 0.3 * length;
    if (!(b.to > b.from)) {
        b.from -= length;
        b.to += length;
    }
    return b;
}

/* The end of an interval: a cap, or an arrow where it is open. */
static void append_end(iso_str *out, double x, bool is_open, double direction) {
    if (is_open)
        iso_str_appendf(out, "<path class=\"line s1\" d=\"M%.1f %.1fl%.1f 5l%.1f 5\"/>\n",
                        x - 5.0 * direction, BAR_Y - 5.0, 5.0 * direction, -5.0 * direction);
    else
        iso_str_appendf(out, "<path class=\"line s1\" d=\"M%.1f %.1fv10\"/>\n", x, BAR_Y - 5.0);
}

/* Where an end's number begins: not across the line at zero, but beyond it. */
static double label_x(const bar *b, double end, double direction) {
    double zero = bar_x(b, 0.0), distance = (zero - end) * direction;
    bool is_across = b->from <= 0.0 && b->to >= 0.0 && distance > 0.0 && distance < BAR_LABEL;
    return is_across ? zero + 6.0 * direction : end + 9.0 * direction;
}

static void append_bar(iso_str *out, const iso_finding_verdict *v, const char *id) {
    char text[ISO_NUMBER_BYTES];
    bool has_low = isfinite(v->low), has_high = isfinite(v->high);
    bool is_percent = iso_verdict_is_percent(v);
    bar b = bar_of(v);
    double left = bar_x(&b, has_low ? v->low : b.from);
    double right = bar_x(&b, has_high ? v->high : b.to);
    char *numbers = iso_verdict_numbers(v);
    iso_svg_open(out, id, v->question, numbers, BAR_WIDTH, BAR_HEIGHT);
    free(numbers);
    iso_str_appendf(out, "<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>\n", BAR_MARGIN - 8.0, BAR_Y,
                    BAR_WIDTH - BAR_MARGIN + 8.0);
    if (b.from <= 0.0 && b.to >= 0.0) {
        double zero = bar_x(&b, 0.0);
        iso_str_appendf(out, "<path class=\"axis\" d=\"M%.1f 1V23\"/>\n", zero);
        iso_svg_text(out, "small", zero, BAR_HEIGHT - 1.0, "middle", "0");
    }
    if (has_low || has_high) {
        iso_str_appendf(out, "<path class=\"line s1\" d=\"M%.1f %.1fH%.1f\"/>\n", left, BAR_Y,
                        right);
        append_end(out, left, !has_low, -1.0);
        append_end(out, right, !has_high, 1.0);
    }
    if (has_low)
        iso_svg_text(
            out, "small halo", label_x(&b, left, -1.0), BAR_Y + 4.5, "end",
            iso_finding_value(text, v->low, v->low, has_high ? v->high : v->value, is_percent));
    if (has_high)
        iso_svg_text(
            out, "small halo", label_x(&b, right, 1.0), BAR_Y + 4.5, "start",
            iso_finding_value(text, v->high, has_low ? v->low : v->value, v->high, is_percent));
    if (isfinite(v->value))
        iso_str_appendf(out, "<circle class=\"dot s1\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n",
                        bar_x(&b, v->value), BAR_Y);
    iso_svg_close(out);
}

/* --- verdicts --- */

static void append_tag(iso_str *out, const char *words) {
    iso_str_append(out, "<p class=\"tag\">");
    iso_markup_text(out, words);
    iso_str_append(out, "</p>\n");
}

static void append_verdict(iso_str *out, const iso_finding_verdict *v) {
    char *name = iso_finding_file_name(v->key), *id = iso_strf("verdict-%s-bar", name);
    char *numbers = iso_verdict_numbers(v);
    bool is_refused = v->outcome == ISO_VERDICT_REFUSED;
    iso_str_appendf(out, "<div class=\"verdict %s\" id=\"verdict-%s\">\n<h3>",
                    iso_outcome_class(v->outcome), name);
    iso_markup_text(out, v->question);
    iso_str_append(out, "</h3>\n");
    append_tag(out, iso_outcome_words(v->outcome));
    iso_page_text(out, NULL, v->sentence);
    /* Numbers of runs that were not equal would be read as a comparison all the same. */
    if (!is_refused && (isfinite(v->low) || isfinite(v->high))) append_bar(out, v, id);
    if (!is_refused && *numbers) iso_page_text(out, "soft", numbers);
    iso_str_append(out, "</div>\n");
    free(numbers);
    free(id);
    free(name);
}

/* The first verdict's outcome stands for the headline, unless one was refused. */
static void append_headline(iso_str *out, const iso_study_page *page) {
    const iso_findings *findings = page->findings;
    iso_verdict_outcome outcome =
        findings->n_verdicts > 0 ? findings->verdicts[0].outcome : ISO_VERDICT_UNRESOLVED;
    bool is_refused = iso_findings_are_refused(findings);
    if (is_refused) outcome = ISO_VERDICT_REFUSED;
    char *progress = iso_findings_progress(findings);
    iso_str_appendf(out, "<div class=\"answer %s\">\n", iso_outcome_class(outcome));
    append_tag(out, is_refused                 ? "No comparison: the runs were not equal"
                    : findings->n_verdicts > 0 ? iso_outcome_words(outcome)
                                               : "no answer yet");
    iso_page_text(out, NULL, findings->headline);
    for (int64_t i = 0; i < findings->n_verdicts && is_refused; i++) {
        const iso_finding_verdict *v = &findings->verdicts[i];
        bool is_said = findings->headline && strcmp(findings->headline, v->sentence) == 0;
        if (v->outcome == ISO_VERDICT_REFUSED && !is_said) iso_page_text(out, "soft", v->sentence);
    }
    iso_str line = {0};
    iso_str_appendf(&line, "A study of kind %s.", progress);
    if (findings->under_way)
        iso_str_append(&line, " It is under way: all of this can still change.");
    iso_page_text(out, "soft", line.data);
    iso_str_append(out, "</div>\n");
    iso_str_release(&line);
    free(progress);
}

static void append_verdicts(iso_str *out, const iso_study_page *page) {
    const iso_findings *findings = page->findings;
    iso_page_section(out, "answers", "Questions and answers");
    if (findings->n_verdicts == 0)
        iso_page_text(out, "empty", "No question can be answered yet: no run has finished.");
    for (int64_t i = 0; i < findings->n_verdicts; i++) append_verdict(out, &findings->verdicts[i]);
    iso_page_section_close(out);
}

/* --- the rest --- */

static void append_limits(iso_str *out, const iso_study_page *page) {
    const iso_findings *findings = page->findings;
    if (findings->n_notes == 0) return;
    iso_page_section(out, "limits", "What limits these answers");
    iso_str_append(out, "<ul>\n");
    for (int64_t i = 0; i < findings->n_notes; i++) {
        iso_str_append(out, "<li>");
        iso_markup_text(out, findings->notes[i]);
        iso_str_append(out, "</li>\n");
    }
    iso_str_append(out, "</ul>\n");
    iso_page_section_close(out);
}

static void append_figure(iso_str *out, const iso_finding_figure *figure) {
    char *name = iso_finding_file_name(figure->key), *id = iso_strf("figure-%s", name);
    iso_study_figure_html(out, figure, id);
    iso_str_appendf(out,
                    "<p class=\"files\"><a href=\"figures/%s.svg\">SVG</a> \xc2\xb7 "
                    "<a href=\"data/%s.csv\">CSV</a></p>\n",
                    name, name);
    free(id);
    free(name);
}

/* What most readers came for, under the headline: gaps against activation rate. */
static bool is_lead(const iso_finding_figure *figure) {
    return strcmp(figure->key, "1b-gap") == 0;
}

static void append_lead(iso_str *out, const iso_study_page *page) {
    for (int64_t i = 0; i < page->findings->n_figures; i++)
        if (is_lead(&page->findings->figures[i])) append_figure(out, &page->findings->figures[i]);
}

static void append_figures(iso_str *out, const iso_study_page *page) {
    const iso_findings *findings = page->findings;
    if (findings->n_figures == 0) return;
    iso_page_section(out, "figures", "Figures");
    for (int64_t i = 0; i < findings->n_figures; i++) {
        if (!is_lead(&findings->figures[i])) append_figure(out, &findings->figures[i]);
    }
    iso_page_section_close(out);
}

static void append_tables(iso_str *out, const iso_study_page *page) {
    const iso_findings *findings = page->findings;
    if (findings->n_tables == 0) return;
    iso_page_section(out, "tables", "Tables");
    for (int64_t i = 0; i < findings->n_tables; i++) {
        char *name = iso_table_data_name(findings->tables[i].key);
        iso_study_table_html(out, &findings->tables[i], name);
        iso_str_appendf(out, "<p class=\"files\"><a href=\"data/%s.csv\">CSV</a></p>\n", name);
        free(name);
    }
    iso_page_section_close(out);
}

void iso_study_page_make(iso_str *out, const iso_study_page *page) {
    static void (*const sections[])(iso_str *, const iso_study_page *) = {
        append_headline, append_lead,   append_verdicts,           append_limits,
        append_figures,  append_tables, iso_study_section_experts, iso_study_section_made,
    };
    char *title = iso_strf("Study: %s", page->findings->study);
    iso_page_open(out, title);
    free(title);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) sections[i](out, page);
    iso_page_close(out);
}
