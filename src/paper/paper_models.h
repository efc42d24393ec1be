/* paper_models.h - every distinct model of the paper's tables, and a config for each.
 *
 * Two rows are the same model if their shapes are, gate normalisation and S included. A name says
 * the scale and what differs from that scale's main frame: "2b-moe-k7-e92", "7b-dense",
 * "2b-moe-k10-e124-h896-l15-s16384".
 *
 * (I1) names are unique and depend on the tables alone.
 */
#ifndef ISO_PAPER_PAPER_MODELS_H
#define ISO_PAPER_PAPER_MODELS_H

#include "base/str.h"
#include "paper/paper.h"

typedef struct iso_paper_model {
    char *name;
    const iso_paper_row **rows; /* all rows with it, in the order of the tables */
    int64_t n_rows;
    const iso_paper_row *main_run; /* the one its config trains; NULL where no run was printed */
} iso_paper_model;

typedef struct iso_paper_models {
    int64_t n;
    iso_paper_model *items; /* sorted by name */
} iso_paper_models;

/* Fails only for want of memory; `paper` must outlive it. */
iso_status iso_paper_models_create(iso_paper_models **out, const iso_paper *paper);
void iso_paper_models_free(iso_paper_models *models);

/* The config as `isomoe train` takes it: the main run's tokens, batch and learning rate, or Step
 * Law at 20 tokens per parameter where nothing was printed. */
void iso_paper_model_to_yaml(iso_str *out, const iso_paper_model *model);

/* The README of the folder: a Markdown table of all models. */
void iso_paper_models_readme(iso_str *out, const iso_paper_models *models);

#endif
