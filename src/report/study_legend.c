#include "report/study_legend.h"

#include "report/markup.h"
#include "report/study_words.h"
#include "report/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_MOE    6
#define N_DENSE  3
#define N_OTHERS 3

#define SAMPLE_PX    28.0
#define ROW_PX       19.0
#define CHARACTER_PX 7.3 /* on the wide side, at 13 px */

/* --- looks --- */

static bool is_dense(const iso_series *series) {
    return strncmp(series->name, "dense", 5) == 0;
}

static bool is_ours(const iso_series *series) {
    return series->kind == ISO_SERIES_MEASURED || series->kind == ISO_SERIES_LEVEL;
}

/* A measured series and a level of one name are one thing. */
static const char *class_of_name(const iso_finding_figure *figure, const char **classes,
                                 const char *name, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (classes[i] && is_ours(&figure->series[i]) && strcmp(figure->series[i].name, name) == 0)
            return classes[i];
    return NULL;
}

/* Among the dense series: the baseline has the shortest name, "dense, 2C" a longer one. */
static int64_t dense_rank(const iso_finding_figure *figure, int64_t i_series) {
    const char *name = figure->series[i_series].name;
    int64_t rank = 0;
    for (int64_t i = 0; i < figure->n; i++) {
        const iso_series *other = &figure->series[i];
        if (!is_ours(other) || !is_dense(other) || strcmp(other->name, name) == 0) continue;
        size_t n = strlen(other->name);
        rank += n < strlen(name) || (n == strlen(name) && i < i_series);
    }
    return rank;
}

/* What a fit or a span belongs to: its namesake, else what was measured before it, else after. */
static const char *class_of_measured(const iso_finding_figure *figure, const char **classes,
                                     int64_t i_series) {
    const char *found = class_of_name(figure, classes, figure->series[i_series].name, figure->n);
    for (int64_t i = i_series - 1; i >= 0 && !found; i--)
        if (figure->series[i].kind == ISO_SERIES_MEASURED) found = classes[i];
    for (int64_t i = i_series + 1; i < figure->n && !found; i++)
        if (figure->series[i].kind == ISO_SERIES_MEASURED) found = classes[i];
    return found ? found : "s1";
}

const char **iso_series_classes(const iso_finding_figure *figure) {
    static const char *const moe[N_MOE] = {"s1", "s2", "s3", "s4", "s5", "s6"};
    static const char *const dense[N_DENSE] = {"s0", "s0 alt", "s0 third"};
    static const char *const ghost[N_OTHERS] = {"ghost", "ghost alt", "ghost third"};
    static const char *const law[N_OTHERS] = {"law", "law alt", "law third"};
    const char **classes = calloc((size_t)figure->n + 1, sizeof *classes);
    int64_t n_moe = 0, n_ghosts = 0, n_laws = 0;
    ISO_ASSERT(classes);
    for (int64_t i = 0; i < figure->n; i++) {
        const iso_series *series = &figure->series[i];
        if (series->kind == ISO_SERIES_GHOST) classes[i] = ghost[n_ghosts++ % N_OTHERS];
        if (series->kind == ISO_SERIES_LAW) classes[i] = law[n_laws++ % N_OTHERS];
        if (!is_ours(series)) continue;
        classes[i] = class_of_name(figure, classes, series->name, i);
        if (classes[i]) continue;
        classes[i] =
            is_dense(series) ? dense[dense_rank(figure, i) % N_DENSE] : moe[n_moe++ % N_MOE];
    }
    for (int64_t i = 0; i < figure->n; i++)
        if (!classes[i]) classes[i] = class_of_measured(figure, classes, i);
    return classes;
}

bool iso_series_is_joined(const iso_finding_figure *figure) {
    for (int64_t i = 0; i < figure->n; i++)
        if (figure->series[i].kind == ISO_SERIES_FIT) return false;
    return true;
}

/* --- words --- */

static void append_seeds(iso_str *out, const iso_series *series) {
    int64_t least = INT64_MAX, most = 0;
    for (int64_t i = 0; i < series->n; i++) {
        int64_t n = series->points[i].n_seeds;
        if (n < least) least = n;
        if (n > most) most = n;
    }
    if (most == 0) return;
    iso_str_append(out, ", ");
    if (least < most) iso_str_appendf(out, "%lld to ", (long long)least);
    iso_finding_count(out, most, "seed");
}

char *iso_series_words(const iso_finding_figure *figure, const iso_series *series) {
    char value[ISO_NUMBER_BYTES];
    iso_str out = {0};
    iso_str_append(&out, series->name);
    const iso_series_point *first = series->n > 0 ? &series->points[0] : NULL;
    if (series->kind == ISO_SERIES_LEVEL && first && isfinite(first->y))
        iso_str_appendf(
            &out, ": %s",
            iso_finding_value(value, first->y, first->low, first->high, figure->y.is_percent));
    if (series->kind == ISO_SERIES_SPAN && first &&
        (isfinite(first->low) || isfinite(first->high))) {
        iso_str_append(&out, ": ");
        iso_finding_interval(&out, first->x, first->low, first->high, figure->x.is_percent);
    }
    if (is_ours(series)) append_seeds(&out, series);
    if (series->n == 0) iso_str_append(&out, ", none yet");
    return out.data;
}

/* --- samples --- */

/* A box of 28 x 12 with a bit of the series in it. */
static void append_sample(iso_str *out, const iso_series *series, const char *class, bool joined) {
    bool has_interval = false;
    for (int64_t i = 0; i < series->n && !has_interval; i++)
        has_interval = isfinite(series->points[i].low) && isfinite(series->points[i].high);
    switch (series->kind) {
    case ISO_SERIES_SPAN:
        iso_str_appendf(out, "<rect class=\"span %s\" x=\"4\" y=\"0\" width=\"20\" height=\"12\"/>",
                        class);
        iso_str_appendf(out, "<path class=\"line whisker %s\" d=\"M14 0V12\"/>", class);
        return;
    case ISO_SERIES_FIT:
    case ISO_SERIES_LEVEL:
        if (has_interval)
            iso_str_appendf(out, "<path class=\"band %s\" d=\"M0 1H28V11H0Z\"/>", class);
        iso_str_appendf(out, "<path class=\"line %s\" d=\"M0 6H28\"/>", class);
        return;
    case ISO_SERIES_GHOST:
    case ISO_SERIES_LAW:
        iso_str_appendf(out, "<path class=\"line %s\" d=\"M0 6H28\"/>", class);
        if (series->kind == ISO_SERIES_GHOST)
            iso_str_appendf(out, "<circle class=\"dot %s\" cx=\"14\" cy=\"6\" r=\"3\"/>", class);
        return;
    case ISO_SERIES_MEASURED:
        break;
    }
    if (joined) iso_str_appendf(out, "<path class=\"line thin %s\" d=\"M0 6H28\"/>", class);
    if (has_interval)
        iso_str_appendf(out, "<path class=\"line whisker %s\" d=\"M14 0V12\"/>", class);
    iso_str_appendf(out, "<circle class=\"dot %s\" cx=\"14\" cy=\"6\" r=\"4\"/>", class);
}

void iso_study_legend_html(iso_str *out, const iso_finding_figure *figure) {
    const char **classes = iso_series_classes(figure);
    bool joined = iso_series_is_joined(figure);
    iso_str_append(out, "<ul class=\"legend\">");
    for (int64_t i = 0; i < figure->n; i++) {
        char *words = iso_series_words(figure, &figure->series[i]);
        iso_str_append(out, "<li><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\">");
        append_sample(out, &figure->series[i], classes[i], joined);
        iso_str_append(out, "</svg><span>");
        iso_markup_text(out, words);
        iso_str_append(out, "</span></li>\n");
        free(words);
    }
    iso_str_append(out, "</ul>\n");
    free(classes);
}

/* Characters as shown: UTF-8 continuation bytes take no place. */
static double text_px(const char *text) {
    int n = 0;
    for (; *text; text++) n += (*text & 0xc0) != 0x80;
    return CHARACTER_PX * n;
}

/* Ends in an ellipsis where it is longer than `n_chars`. */
static void shorten(char *words, int n_chars) {
    int n = 0;
    char *end = words;
    for (char *at = words; *at; at++) {
        if ((*at & 0xc0) == 0x80) continue;
        if (n == n_chars - 1) end = at;
        n++;
    }
    if (n > n_chars && strlen(end) >= 3) memcpy(end, "\xe2\x80\xa6", 4);
}

double iso_study_legend_svg(iso_str *out, const iso_finding_figure *figure, double x, double y,
                            double width) {
    const char **classes = iso_series_classes(figure);
    bool joined = iso_series_is_joined(figure);
    double at = 0.0, down = 0.0;
    for (int64_t i = 0; i < figure->n; i++) {
        char *words = iso_series_words(figure, &figure->series[i]);
        shorten(words, (int)((width - SAMPLE_PX - 6.0) / CHARACTER_PX));
        double item = SAMPLE_PX + 6.0 + text_px(words) + 18.0;
        if (at > 0.0 && at + item - 18.0 > width) {
            at = 0.0;
            down += ROW_PX;
        }
        if (out) {
            iso_str_appendf(out, "<g transform=\"translate(%.1f %.1f)\">", x + at, y + down);
            append_sample(out, &figure->series[i], classes[i], joined);
            iso_svg_text(out, "", SAMPLE_PX + 6.0, 10.5, "start", words);
            iso_str_append(out, "</g>\n");
        }
        at += item;
        free(words);
    }
    free(classes);
    return figure->n > 0 ? down + ROW_PX : 0.0;
}
