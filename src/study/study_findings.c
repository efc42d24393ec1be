/* The memory of findings. Every string is copied, so that what fills them frees its own. */
#include "study/study_findings.h"

#include "base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- memory --- */

/* NULL stays NULL; *ok becomes false without memory. */
static char *copy_text(const char *text, bool *ok) {
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy) *ok = false;
    return copy;
}

static iso_status no_memory(void) {
    return iso_fail(ISO_ERR_MEMORY, "cannot allocate the study's findings");
}

/* `items` with room for one more of `size` bytes, where they may have moved; NULL, with nothing
 * changed, without memory. */
static void *grow(void *items, int64_t n, size_t size) {
    return realloc(items, (size_t)(n + 1) * size);
}

static void release_axis(iso_finding_axis *axis) {
    free(axis->label);
    free(axis->unit);
}

static void release_series(iso_series *series) {
    for (int64_t i = 0; i < series->n; i++) free(series->points[i].label);
    free(series->points);
    free(series->name);
}

static void release_figure(iso_finding_figure *figure) {
    for (int64_t i = 0; i < figure->n; i++) release_series(&figure->series[i]);
    free(figure->series);
    free(figure->key);
    free(figure->title);
    free(figure->caption);
    release_axis(&figure->x);
    release_axis(&figure->y);
}

static void release_table(iso_finding_table *table) {
    for (int64_t i = 0; table->columns && i < table->n_columns; i++) {
        free(table->columns[i].label);
        free(table->columns[i].unit);
    }
    for (int64_t i = 0; i < table->n_rows * table->n_columns; i++) free(table->cells[i].text);
    free(table->columns);
    free(table->cells);
    free(table->key);
    free(table->title);
    free(table->caption);
}

static void release_verdict(iso_finding_verdict *verdict) {
    free(verdict->key);
    free(verdict->question);
    free(verdict->sentence);
    free(verdict->unit);
}

iso_findings *iso_findings_create(const char *study, const char *kind) {
    iso_findings *findings = calloc(1, sizeof *findings);
    bool ok = true;
    if (!findings) return NULL;
    findings->study = copy_text(study, &ok);
    findings->kind = copy_text(kind, &ok);
    if (ok) return findings;
    iso_findings_free(findings);
    return NULL;
}

void iso_findings_free(iso_findings *findings) {
    if (!findings) return;
    for (int64_t i = 0; i < findings->n_verdicts; i++) release_verdict(&findings->verdicts[i]);
    for (int64_t i = 0; i < findings->n_figures; i++) release_figure(&findings->figures[i]);
    for (int64_t i = 0; i < findings->n_tables; i++) release_table(&findings->tables[i]);
    for (int64_t i = 0; i < findings->n_notes; i++) free(findings->notes[i]);
    free(findings->verdicts);
    free(findings->figures);
    free(findings->tables);
    free(findings->notes);
    free(findings->study);
    free(findings->kind);
    free(findings->headline);
    free(findings);
}

/* --- adding --- */

iso_status iso_findings_note(iso_findings *findings, const char *format, ...) {
    va_list args;
    char *text = NULL;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) return no_memory();
    char **grown = grow(findings->notes, findings->n_notes, sizeof *grown);
    if (!grown) {
        free(text);
        return no_memory();
    }
    findings->notes = grown;
    findings->notes[findings->n_notes++] = text;
    return ISO_OK;
}

iso_status iso_findings_verdict(iso_findings *findings, const iso_finding_verdict *verdict) {
    bool ok = true;
    iso_finding_verdict copy = *verdict;
    copy.key = copy_text(verdict->key, &ok);
    copy.question = copy_text(verdict->question, &ok);
    copy.sentence = copy_text(verdict->sentence, &ok);
    copy.unit = copy_text(verdict->unit, &ok);
    iso_finding_verdict *grown =
        ok ? grow(findings->verdicts, findings->n_verdicts, sizeof *grown) : NULL;
    if (!grown) {
        release_verdict(&copy);
        return no_memory();
    }
    findings->verdicts = grown;
    findings->verdicts[findings->n_verdicts++] = copy;
    return ISO_OK;
}

static iso_finding_axis copy_axis(const iso_finding_axis *axis, bool *ok) {
    iso_finding_axis copy = *axis;
    copy.label = copy_text(axis->label, ok);
    copy.unit = copy_text(axis->unit, ok);
    return copy;
}

iso_status iso_findings_figure(iso_findings *findings, iso_finding_figure **out,
                               const iso_finding_figure *figure) {
    bool ok = true;
    iso_finding_figure copy = {.key = copy_text(figure->key, &ok),
                               .title = copy_text(figure->title, &ok),
                               .caption = copy_text(figure->caption, &ok),
                               .x = copy_axis(&figure->x, &ok),
                               .y = copy_axis(&figure->y, &ok)};
    iso_finding_figure *grown =
        ok ? grow(findings->figures, findings->n_figures, sizeof *grown) : NULL;
    if (!grown) {
        release_figure(&copy);
        return no_memory();
    }
    findings->figures = grown;
    *out = &findings->figures[findings->n_figures++];
    **out = copy;
    return ISO_OK;
}

static int by_x(const void *a, const void *b) {
    double x = ((const iso_series_point *)a)->x, y = ((const iso_series_point *)b)->x;
    return (x > y) - (x < y);
}

iso_status iso_findings_series(iso_finding_figure *figure, const iso_series *series) {
    bool ok = true;
    iso_series copy = {.name = copy_text(series->name, &ok), .kind = series->kind, .n = series->n};
    copy.points = calloc((size_t)series->n + 1, sizeof *copy.points);
    if (!copy.points) {
        free(copy.name);
        return no_memory();
    }
    for (int64_t i = 0; i < series->n; i++) {
        copy.points[i] = series->points[i];
        copy.points[i].label = copy_text(series->points[i].label, &ok);
    }
    iso_series *grown = ok ? grow(figure->series, figure->n, sizeof *grown) : NULL;
    if (!grown) {
        release_series(&copy);
        return no_memory();
    }
    figure->series = grown;
    qsort(copy.points, (size_t)copy.n, sizeof *copy.points, by_x);
    figure->series[figure->n++] = copy;
    return ISO_OK;
}

iso_status iso_findings_table(iso_findings *findings, iso_finding_table **out,
                              const iso_finding_table *table) {
    bool ok = true;
    iso_finding_table copy = {.key = copy_text(table->key, &ok),
                              .title = copy_text(table->title, &ok),
                              .caption = copy_text(table->caption, &ok),
                              .n_columns = table->n_columns};
    copy.columns = calloc((size_t)table->n_columns + 1, sizeof *copy.columns);
    ok = ok && copy.columns;
    for (int64_t i = 0; ok && i < table->n_columns; i++) {
        copy.columns[i] = table->columns[i];
        copy.columns[i].label = copy_text(table->columns[i].label, &ok);
        copy.columns[i].unit = copy_text(table->columns[i].unit, &ok);
    }
    iso_finding_table *grown =
        ok ? grow(findings->tables, findings->n_tables, sizeof *grown) : NULL;
    if (!grown) {
        release_table(&copy);
        return no_memory();
    }
    findings->tables = grown;
    *out = &findings->tables[findings->n_tables++];
    **out = copy;
    return ISO_OK;
}

iso_status iso_findings_row(iso_finding_table *table, const iso_finding_cell *cells) {
    bool ok = true;
    int64_t n = table->n_columns, n_before = table->n_rows * n;
    iso_finding_cell *grown =
        realloc(table->cells, (size_t)(n_before + n + 1) * sizeof *table->cells);
    if (!grown) return no_memory();
    table->cells = grown;
    for (int64_t i = 0; i < n; i++) {
        grown[n_before + i] = cells[i];
        grown[n_before + i].text = copy_text(cells[i].text, &ok);
    }
    if (!ok) {
        for (int64_t i = 0; i < n; i++) free(grown[n_before + i].text);
        return no_memory();
    }
    table->n_rows++;
    return ISO_OK;
}
