#include "report/specialisation_figure.h"

#include "report/markup.h"
#include "report/page.h"
#include "report/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDE_PX        720.0
#define NARROW_PX      340.0
#define MAX_STRIPS     8 /* layers */
#define MAX_MAPS       3
#define MAX_MAP_E      128 /* beyond, cells are less than two pixels */
#define ROW_PX         18.0
#define TITLE_PX       24.0
#define LABEL_PX       84.0
#define LABEL_BYTES    12
#define MAP_PX         216.0
#define MAP_GAP_PX     36.0
#define N_HEAT_CLASSES 7
#define TIMES          "\xc3\x97"
#define DASH           "\xe2\x80\x93"
#define AT_LEAST       "\xe2\x89\xa5 "

static const char *const heat_classes[N_HEAT_CLASSES] = {"h0", "h1", "h2", "h3", "h4", "h5", "h6"};

/* Where colours change, and the words for what lies above the last, between, and below the first.
 */
typedef struct heat_scale {
    double bounds[N_HEAT_CLASSES - 1];
    const char *words[N_HEAT_CLASSES];
    const char *none;
} heat_scale;

static const heat_scale strip_scale = {
    {0.4, 0.625, 0.8333, 1.2, 1.6, 2.5},
    {"< 0.4" TIMES, "0.4" DASH "0.63" TIMES, "0.63" DASH "0.83" TIMES, "0.83" DASH "1.2" TIMES,
     "1.2" DASH "1.6" TIMES, "1.6" DASH "2.5" TIMES, AT_LEAST "2.5" TIMES},
    "no token"};
/* Pairs go by what a token is: few are chosen about as often as chance has it. */
static const heat_scale map_scale = {
    {0.1, 0.3, 0.75, 1.3333, 3.3333, 10},
    {"< 0.1" TIMES, "0.1" DASH "0.3" TIMES, "0.3" DASH "0.75" TIMES, "0.75" DASH "1.3" TIMES,
     "1.3" DASH "3.3" TIMES, "3.3" DASH "10" TIMES, AT_LEAST "10" TIMES},
    "too few to say"};

static int heat(const heat_scale *scale, double ratio) {
    int i = 0;
    while (i < N_HEAT_CLASSES - 1 && ratio >= scale->bounds[i]) i++;
    return i;
}

static void append_key(iso_str *out, const char *class, const char *words) {
    iso_str_appendf(out,
                    "<li><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\"><rect class=\"%s\" "
                    "x=\"8\" y=\"1\" width=\"12\" height=\"10\"/></svg>",
                    class);
    iso_markup_text(out, words);
    iso_str_append(out, "</li>\n");
}

/* As markup; the caller releases it. */
static iso_str legend_of(const heat_scale *scale) {
    iso_str out = {0};
    iso_str_append(&out, "<ul class=\"legend\">");
    for (int i = N_HEAT_CLASSES - 1; i >= 0; i--)
        append_key(&out, heat_classes[i], scale->words[i]);
    append_key(&out, "hx", scale->none);
    iso_str_append(&out, "</ul>\n");
    return out;
}

int64_t iso_specialisation_layers(int64_t *layers, int64_t n_most,
                                  const iso_routing_measures *measures) {
    int64_t n = measures->n_layers;
    int64_t n_shown = n < n_most ? n : n_most;
    for (int64_t i = 0; i < n_shown; i++) layers[i] = n_shown > 1 ? i * (n - 1) / (n_shown - 1) : 0;
    return n_shown;
}

/* A name that fits its column; whole characters only. */
static void short_name(char out[LABEL_BYTES + 4], const char *name) {
    size_t n = strlen(name), cut = LABEL_BYTES - 1;
    if (n <= LABEL_BYTES) {
        memcpy(out, name, n + 1);
        return;
    }
    while (cut > 0 && ((unsigned char)name[cut] & 0xc0) == 0x80) cut--;
    memcpy(out, name, cut);
    memcpy(out + cut, "\xe2\x80\xa6", 4);
}

/* --- strips --- */

typedef struct strips {
    const iso_route_counts *counts;
    const iso_routing_measures *measures;
    const char *title;
    int64_t n_layers, layers[MAX_STRIPS];
} strips;

static void draw_strip(iso_str *out, const strips *x, const iso_routing_layer *layer, int64_t d,
                       double y, double width) {
    int64_t E = x->measures->E;
    const char **classes = calloc((size_t)E, sizeof *classes);
    ISO_ASSERT(classes);
    for (int64_t i = 0; i < E; i++) {
        int64_t e = layer->order[i];
        double share = layer->share[d * E + e];
        classes[i] =
            share > 0 ? heat_classes[heat(&strip_scale, share / layer->mean_share[e])] : "hx";
    }
    char name[LABEL_BYTES + 4];
    short_name(name, x->counts->domains[d]);
    iso_svg_text(out, "small", 0.0, y + 13.0, "start", name);
    iso_svg_cells(out, LABEL_PX, y + 1.0, width - LABEL_PX - 1.0, ROW_PX - 2.0, classes, E);
    free(classes);
}

static void draw_strips(iso_str *out, const void *ctx, const char *id, double width,
                        double height) {
    const strips *x = ctx;
    iso_svg_open(out, id, x->title,
                 "For each layer one row per domain, one cell per expert, the same expert in the "
                 "same column; the table below has the figures.",
                 width, height);
    double y = 0;
    for (int64_t i = 0; i < x->n_layers; i++) {
        const iso_routing_layer *layer = &x->measures->layers[x->layers[i]];
        char *heading = iso_strf("layer %lld", (long long)layer->layer + 1);
        iso_svg_text(out, "", 0.0, y + 17.0, "start", heading);
        free(heading);
        y += TITLE_PX;
        for (int64_t d = 0; d < x->measures->n_domains; d++, y += ROW_PX)
            draw_strip(out, x, layer, d, y, width);
    }
    iso_svg_close(out);
}

void iso_figure_domain_strips(iso_str *out, const char *id, const char *label,
                              const iso_route_counts *counts,
                              const iso_routing_measures *measures) {
    char *title = iso_strf("Load by domain and layer: %s", label);
    strips x = {.counts = counts, .measures = measures, .title = title};
    x.n_layers = iso_specialisation_layers(x.layers, MAX_STRIPS, measures);
    char *caption = iso_strf(
        "An expert's part of a domain's tokens over its mean part of all named domains: orange "
        "more, blue less. A column is the same expert in all rows of a layer; experts stand by the "
        "domain that uses them "
        "more than others do.%s",
        x.n_layers < measures->n_layers ? " Some of the layers; the CSV has all." : "");
    double height = (double)x.n_layers * (TITLE_PX + (double)measures->n_domains * ROW_PX) + 2.0;
    iso_str legend = legend_of(&strip_scale);
    iso_page_figure(out, id, title, caption, legend.data, draw_strips, &x, height, height);
    iso_str_release(&legend);
    free(caption);
    free(title);
}

/* --- maps --- */

typedef struct maps {
    const iso_routing_measures *measures;
    const char *title;
    int64_t n_layers, layers[MAX_MAPS];
} maps;

/* Lift of the i-th and j-th expert in the layer's order; NaN: nothing to say. */
static double lift(const iso_routing_layer *layer, int64_t E, int64_t i, int64_t j) {
    if (i == j) return NAN;
    int64_t a = layer->order[i], b = layer->order[j];
    int64_t pair = iso_route_pair(E, a < b ? a : b, a < b ? b : a);
    double expected = layer->together_expected[pair];
    return expected < ISO_PAIR_MIN_EXPECTED ? NAN : layer->together[pair] / expected;
}

/* One path per colour; cells of a row that are alike are one rectangle. */
static void draw_cells(iso_str *out, const iso_routing_layer *layer, int64_t E) {
    iso_str paths[N_HEAT_CLASSES] = {{0}};
    for (int64_t i = 0; i < E; i++)
        for (int64_t j = 0; j < E;) {
            double first = lift(layer, E, i, j);
            int64_t start = j++;
            if (isnan(first)) continue;
            while (j < E && !isnan(lift(layer, E, i, j)) &&
                   heat(&map_scale, lift(layer, E, i, j)) == heat(&map_scale, first))
                j++;
            iso_str_appendf(&paths[heat(&map_scale, first)], "M%lld %lldh%lldv1h-%lldz",
                            (long long)start, (long long)i, (long long)(j - start),
                            (long long)(j - start));
        }
    for (int h = 0; h < N_HEAT_CLASSES; h++) {
        if (paths[h].len > 0)
            iso_str_appendf(out, "<path class=\"h%d\" d=\"%s\"/>\n", h, paths[h].data);
        iso_str_release(&paths[h]);
    }
}

/* Where the experts of one home end and those of the next begin. */
static void draw_homes(iso_str *out, const iso_routing_layer *layer, int64_t E, double x, double y,
                       double side) {
    for (int64_t i = 1; i < E; i++) {
        if (layer->home[layer->order[i]] == layer->home[layer->order[i - 1]]) continue;
        double at = side * (double)i / (double)E;
        iso_str_appendf(out, "<path class=\"line thin\" d=\"M%.1f %.1fv%.1fM%.1f %.1fh%.1f\"/>\n",
                        x + at, y, side, x, y + at, side);
    }
}

static int64_t maps_in_a_row(double width) {
    return width > 500.0 ? 3 : 1;
}

static double maps_height(const maps *x, double width) {
    int64_t in_a_row = maps_in_a_row(width);
    return (double)((x->n_layers + in_a_row - 1) / in_a_row) * (TITLE_PX + MAP_PX + 8.0);
}

static void draw_maps(iso_str *out, const void *ctx, const char *id, double width, double height) {
    const maps *m = ctx;
    int64_t E = m->measures->E, in_a_row = maps_in_a_row(width);
    iso_svg_open(out, id, m->title,
                 "A square per layer; each cell is a pair of experts, the table below names the "
                 "extremes.",
                 width, height);
    for (int64_t i = 0; i < m->n_layers; i++) {
        const iso_routing_layer *layer = &m->measures->layers[m->layers[i]];
        double x = 1.0 + (double)(i % in_a_row) * (MAP_PX + MAP_GAP_PX);
        double y = (double)(i / in_a_row) * (TITLE_PX + MAP_PX + 8.0) + TITLE_PX;
        char *heading = iso_strf("layer %lld", (long long)layer->layer + 1);
        iso_svg_text(out, "", x, y - 7.0, "start", heading);
        free(heading);
        iso_str_appendf(out,
                        "<g transform=\"translate(%.1f %.1f) scale(%.6f)\" "
                        "shape-rendering=\"crispEdges\">\n",
                        x, y, MAP_PX / (double)E);
        draw_cells(out, layer, E);
        iso_str_append(out, "</g>\n");
        draw_homes(out, layer, E, x, y, MAP_PX);
        iso_str_appendf(out, "<path class=\"axis\" d=\"M%.1f %.1fh%.1fv%.1fh-%.1fz\"/>\n", x, y,
                        MAP_PX, MAP_PX, MAP_PX);
    }
    iso_svg_close(out);
}

void iso_figure_together(iso_str *out, const char *id, const char *label,
                         const iso_routing_measures *measures) {
    if (measures->n_pairs == 0 || measures->E > MAX_MAP_E) return;
    char *title = iso_strf("Chosen together: %s", label);
    maps m = {.measures = measures, .title = title};
    m.n_layers = iso_specialisation_layers(m.layers, MAX_MAPS, measures);
    char *caption =
        iso_strf("Tokens that chose both experts over those that would if, within each domain, "
                 "experts were chosen one without regard to the other. Experts in the order of the "
                 "strips; lines part the homes; pairs expected in fewer than %.0f tokens are left "
                 "blank.%s",
                 ISO_PAIR_MIN_EXPECTED,
                 m.n_layers < measures->n_layers ? " Some of the layers; the CSV has all." : "");
    iso_str legend = legend_of(&map_scale);
    iso_page_figure(out, id, title, caption, legend.data, draw_maps, &m, maps_height(&m, WIDE_PX),
                    maps_height(&m, NARROW_PX));
    iso_str_release(&legend);
    free(caption);
    free(title);
}
