/* Router health: how the experts share the tokens. */
#include "report/markup.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the heat strip: one row per layer, one cell per expert, sorted by load --- */

#define ROW_PX   24.0
#define LABEL_PX 58.0

/* Colour by the load over the fair share 1/E. */
static const char *load_class(double load, int64_t n_experts) {
    static const double bounds[] = {0.25, 0.5, 0.8, 1.25, 2.0, 4.0};
    static const char *const classes[] = {"h0", "h1", "h2", "h3", "h4", "h5", "h6"};
    if (!(load > 0.0)) return "hx";
    double ratio = load * (double)n_experts;
    size_t i = 0;
    while (i < sizeof bounds / sizeof *bounds && ratio >= bounds[i]) i++;
    return classes[i];
}

static int descending(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left > right ? -1 : left < right;
}

typedef struct strip {
    const iso_router_row *row;
    const char *title;
} strip;

static void draw_strip(iso_str *out, const void *ctx, const char *id, double width, double height) {
    const strip *drawing = ctx;
    iso_svg_open(
        out, id, drawing->title,
        "One row per MoE layer, one cell per expert, from the fullest to the emptiest; the "
        "table below has the figures.",
        width, height);
    for (int64_t i = 0; i < drawing->row->n_layers; i++) {
        const iso_router_layer *layer = &drawing->row->layers[i];
        if (layer->n_experts < 1) continue;
        size_t n = (size_t)layer->n_experts;
        double *load = calloc(n, sizeof(*load));
        const char **classes = calloc(n, sizeof(*classes));
        ISO_ASSERT(load && classes);
        memcpy(load, layer->load, n * sizeof(*load));
        qsort(load, n, sizeof(*load), descending);
        for (size_t e = 0; e < n; e++) classes[e] = load_class(load[e], layer->n_experts);
        double y = (double)i * ROW_PX;
        char *label = iso_strf("layer %lld", (long long)layer->layer + 1);
        iso_svg_text(out, "small", 0.0, y + 15.5, "start", label);
        iso_svg_cells(out, LABEL_PX, y + 1.0, width - LABEL_PX - 1.0, ROW_PX - 3.0, classes,
                      layer->n_experts);
        free(label);
        free(load);
        free(classes);
    }
    iso_svg_close(out);
}

static void append_heat_legend(iso_str *out) {
    static const struct {
        const char *class, *text;
    } keys[] = {{"h6", "\xe2\x89\xa5 4\xc3\x97 its fair share"},
                {"h5", "2\xe2\x80\x93"
                       "4\xc3\x97"},
                {"h4", "1.25\xe2\x80\x93"
                       "2\xc3\x97"},
                {"h3", "0.8\xe2\x80\x93"
                       "1.25\xc3\x97"},
                {"h2", "0.5\xe2\x80\x93"
                       "0.8\xc3\x97"},
                {"h1", "0.25\xe2\x80\x93"
                       "0.5\xc3\x97"},
                {"h0", "< 0.25\xc3\x97"},
                {"hx", "no token: dead"}};
    iso_str_append(out, "<ul class=\"legend\">");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        iso_str_appendf(out,
                        "<li><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\"><rect class=\"%s\" "
                        "x=\"8\" y=\"1\" width=\"12\" height=\"10\"/></svg>",
                        keys[i].class);
        iso_markup_text(out, keys[i].text);
        iso_str_append(out, "</li>\n");
    }
    iso_str_append(out, "</ul>\n");
}

/* --- the table --- */

static void append_layers(iso_str *out, const iso_side *side, const iso_router_row *row) {
    char number[ISO_NUMBER_BYTES];
    for (int64_t i = 0; i < row->n_layers; i++) {
        const iso_router_layer *layer = &row->layers[i];
        double fullest = 0.0, emptiest = INFINITY;
        int64_t dead = 0;
        for (int64_t e = 0; e < layer->n_experts; e++) {
            fullest = fmax(fullest, layer->load[e]);
            emptiest = fmin(emptiest, layer->load[e]);
            dead += !(layer->load[e] > 0.0);
        }
        char *heading = iso_strf("layer %lld", (long long)layer->layer + 1);
        iso_page_row_open(out, heading, NULL);
        free(heading);
        double experts = (double)layer->n_experts;
        iso_page_cell(out, iso_number_grouped(number, layer->n_experts));
        iso_page_cell(out, iso_number_fixed(number, layer->entropy, 3));
        iso_page_cell(out, iso_number_fixed(number, fullest * experts, 2));
        iso_page_cell(out, iso_number_fixed(number, emptiest * experts, 2));
        iso_page_cell(out, iso_number_grouped(number, dead));
        iso_page_row_close(out);
    }
}

static const iso_router_row *last_router(const iso_side *side) {
    const iso_run *run = &side->runs[0]->run;
    return run->n_routers > 0 ? &run->routers[run->n_routers - 1] : NULL;
}

static void append_table(iso_str *out, const iso_page_data *data) {
    static const char *const headers[] = {"Layer",   "Experts",  "Entropy",
                                          "Fullest", "Emptiest", "Dead"};
    iso_page_table_open(out, "layers",
                        "Per layer, at the last evaluation: entropy of the load (1 = uniform), the "
                        "fullest and the emptiest expert over the fair share, experts without a "
                        "token.",
                        headers, 6, 1);
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side *side = &data->sides->sides[i];
        const iso_router_row *row = side->is_moe ? last_router(side) : NULL;
        if (!row) continue;
        iso_page_table_group(out, side->label, 6);
        append_layers(out, side, row);
    }
    iso_page_table_close(out);
}

void iso_section_router(iso_str *out, const iso_page_data *data) {
    iso_page_section(out, "router", "Router health");
    bool any = false;
    for (int64_t i = 0; i < data->sides->n; i++) {
        const iso_side *side = &data->sides->sides[i];
        const iso_router_row *row = side->is_moe ? last_router(side) : NULL;
        if (!row || row->n_layers < 1) continue;
        if (!any) append_heat_legend(out);
        any = true;
        char *id = iso_strf("strip-%lld", (long long)i);
        char *title = iso_strf("Load per expert: %s", side->label);
        char *caption = iso_strf("At step %lld of the run with seed %lld. Left to right from the "
                                 "fullest expert to the emptiest, each layer by itself.",
                                 (long long)row->step, (long long)side->runs[0]->seed);
        strip drawing = {row, title};
        double height = ROW_PX * (double)row->n_layers;
        iso_page_figure(out, id, title, caption, NULL, draw_strip, &drawing, height, height);
        free(id);
        free(title);
        free(caption);
    }
    if (any)
        append_table(out, data);
    else
        iso_page_text(out, NULL,
                      "There is no router to look at: no finished MoE run has router "
                      "rows.");
    iso_figure_imbalance(out, data);
    iso_page_section_close(out);
}
