/* Four places around each point are tried, in order; the first free one is taken. With a handful of
 * labels nothing cleverer pays. */
#include "report/study_labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHARACTER_PX 6.3 /* on the wide side, at 11 px */
#define HEIGHT_PX    12.0
#define DOT_PX       6.0  /* half a point's room */
#define ROOM_PX      60.0 /* of the plot's width for each label: with more of them they crowd */
#define MAX_CHARS    26

typedef struct box {
    double left, right, top, bottom;
} box;

static bool overlap(const box *a, const box *b) {
    return a->left < b->right && b->left < a->right && a->top < b->bottom && b->top < a->bottom;
}

static double text_px(const char *text) {
    int n = 0;
    for (; *text; text++) n += (*text & 0xc0) != 0x80;
    return CHARACTER_PX * n;
}

static bool is_short(const char *text) {
    return text_px(text) <= CHARACTER_PX * MAX_CHARS && !strpbrk(text, "\n\t");
}

static box box_of_spot(const iso_label_spot *spot) {
    return (box){spot->x - DOT_PX, spot->x + DOT_PX,
                 fmin(spot->y, fmin(spot->low, spot->high)) - DOT_PX,
                 fmax(spot->y, fmax(spot->low, spot->high)) + DOT_PX};
}

/* Above the point and its whisker, below them, right, left: lines run from side to side.
 * Near the plot's edge the first two move inwards. */
static box place(const iso_plot *plot, const iso_label_spot *spot, int i_place) {
    box around = box_of_spot(spot);
    double width = text_px(spot->text), half = 0.5 * HEIGHT_PX;
    double left = fmax(plot->left, fmin(spot->x - 0.5 * width, plot->right - width));
    switch (i_place) {
    case 0:
        return (box){left, left + width, around.top - HEIGHT_PX, around.top};
    case 1:
        return (box){left, left + width, around.bottom, around.bottom + HEIGHT_PX};
    case 2:
        return (box){around.right, around.right + width, spot->y - half, spot->y + half};
    default:
        return (box){around.left - width, around.left, spot->y - half, spot->y + half};
    }
}

static bool is_free(const iso_plot *plot, const box *b, const box *taken, int64_t n) {
    if (b->left < plot->left || b->right > plot->right || b->top < plot->top ||
        b->bottom > plot->bottom)
        return false;
    for (int64_t i = 0; i < n; i++)
        if (overlap(b, &taken[i])) return false;
    return true;
}

void iso_study_labels_draw(iso_plot *plot, const iso_label_spot *spots, int64_t n) {
    int64_t n_labels = 0, n_taken = 0;
    for (int64_t i = 0; i < n; i++) n_labels += spots[i].text != NULL;
    if (n_labels == 0 || (double)n_labels * ROOM_PX > plot->right - plot->left) return;
    box *taken = calloc((size_t)(2 * n), sizeof *taken);
    ISO_ASSERT(taken);
    for (; n_taken < n; n_taken++) taken[n_taken] = box_of_spot(&spots[n_taken]);
    for (int64_t i = 0; i < n; i++) {
        if (!spots[i].text || !is_short(spots[i].text)) continue;
        for (int p = 0; p < 4; p++) {
            box b = place(plot, &spots[i], p);
            if (!is_free(plot, &b, taken, n_taken)) continue;
            iso_svg_text(plot->out, "label", 0.5 * (b.left + b.right), b.bottom - 2.5, "middle",
                         spots[i].text);
            taken[n_taken++] = b;
            break;
        }
    }
    free(taken);
}
