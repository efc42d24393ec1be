/* Findings as JSON: docs/formats.md, "findings.json". */
#include "study/study_findings.h"

#include <math.h>

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *text(const char *value) {
    return value ? json_string(value) : json_null();
}

static json_t *interval(double low, double high) {
    return json_pack("[o, o]", number(low), number(high));
}

static json_t *axis_to_json(const iso_finding_axis *axis) {
    return json_pack("{so so sb sb}", "label", text(axis->label), "unit", text(axis->unit), "log",
                     axis->is_log, "percent", axis->is_percent);
}

const char *iso_series_kind_name(iso_series_kind kind) {
    static const char *const names[] = {
        [ISO_SERIES_MEASURED] = "measured", [ISO_SERIES_FIT] = "fit",
        [ISO_SERIES_LEVEL] = "level",       [ISO_SERIES_SPAN] = "span",
        [ISO_SERIES_GHOST] = "ghost",       [ISO_SERIES_LAW] = "law",
    };
    return names[kind];
}

static json_t *series_to_json(const iso_series *series) {
    json_t *points = json_array();
    for (int64_t i = 0; i < series->n; i++) {
        const iso_series_point *p = &series->points[i];
        json_array_append_new(points,
                              json_pack("{so so so sI so}", "x", number(p->x), "y", number(p->y),
                                        "interval", interval(p->low, p->high), "n_seeds",
                                        (json_int_t)p->n_seeds, "label", text(p->label)));
    }
    return json_pack("{so ss so}", "name", text(series->name), "kind",
                     iso_series_kind_name(series->kind), "points", points);
}

static json_t *figure_to_json(const iso_finding_figure *figure) {
    json_t *series = json_array();
    for (int64_t i = 0; i < figure->n; i++)
        json_array_append_new(series, series_to_json(&figure->series[i]));
    return json_pack("{so so so so so so}", "key", text(figure->key), "title", text(figure->title),
                     "caption", text(figure->caption), "x", axis_to_json(&figure->x), "y",
                     axis_to_json(&figure->y), "series", series);
}

static json_t *cell_to_json(const iso_finding_cell *cell) {
    return cell->text ? json_string(cell->text) : number(cell->value);
}

static json_t *table_to_json(const iso_finding_table *table) {
    json_t *columns = json_array(), *rows = json_array(), *best = json_array();
    for (int64_t i = 0; i < table->n_columns; i++) {
        const iso_finding_column *c = &table->columns[i];
        json_array_append_new(columns, json_pack("{so so si sb}", "label", text(c->label), "unit",
                                                 text(c->unit), "digits", c->digits, "percent",
                                                 c->is_percent));
    }
    for (int64_t i = 0; i < table->n_rows; i++) {
        const iso_finding_cell *cells = &table->cells[i * table->n_columns];
        json_t *row = json_array();
        for (int64_t j = 0; j < table->n_columns; j++) {
            json_array_append_new(row, cell_to_json(&cells[j]));
            if (cells[j].is_best)
                json_array_append_new(best, json_pack("[I, I]", (json_int_t)i, (json_int_t)j));
        }
        json_array_append_new(rows, row);
    }
    return json_pack("{so so so so so so}", "key", text(table->key), "title", text(table->title),
                     "caption", text(table->caption), "columns", columns, "rows", rows, "best",
                     best);
}

static json_t *verdict_to_json(const iso_finding_verdict *v) {
    static const char *const outcomes[] = {
        [ISO_VERDICT_UNRESOLVED] = "unresolved",
        [ISO_VERDICT_RESOLVED] = "resolved",
        [ISO_VERDICT_REFUSED] = "refused",
    };
    return json_pack("{so so so ss so so so sI sI}", "key", text(v->key), "question",
                     text(v->question), "sentence", text(v->sentence), "outcome",
                     outcomes[v->outcome], "value", number(v->value), "interval",
                     interval(v->low, v->high), "unit", text(v->unit), "n_seeds",
                     (json_int_t)v->n_seeds, "n_runs", (json_int_t)v->n_runs);
}

json_t *iso_findings_json(const iso_findings *f) {
    json_t *verdicts = json_array(), *figures = json_array(), *tables = json_array(),
           *notes = json_array();
    for (int64_t i = 0; i < f->n_verdicts; i++)
        json_array_append_new(verdicts, verdict_to_json(&f->verdicts[i]));
    for (int64_t i = 0; i < f->n_figures; i++)
        json_array_append_new(figures, figure_to_json(&f->figures[i]));
    for (int64_t i = 0; i < f->n_tables; i++)
        json_array_append_new(tables, table_to_json(&f->tables[i]));
    for (int64_t i = 0; i < f->n_notes; i++) json_array_append_new(notes, text(f->notes[i]));
    return json_pack("{si so so so sI sI sb so so so so}", "format", 1, "study", text(f->study),
                     "kind", text(f->kind), "headline", text(f->headline), "n_runs",
                     (json_int_t)f->n_runs, "n_finished", (json_int_t)f->n_finished, "under_way",
                     f->under_way, "verdicts", verdicts, "figures", figures, "tables", tables,
                     "notes", notes);
}
