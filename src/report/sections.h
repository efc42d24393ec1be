/* sections.h - the page's sections, each from the same data; report.c calls them in order.
 *
 * Internal to src/report. A section that has nothing to show says so in words.
 */
#ifndef ISO_REPORT_SECTIONS_H
#define ISO_REPORT_SECTIONS_H

#include "data/dataset.h"
#include "report/report.h"
#include "study/answer.h"
#include "study/sides.h"

typedef struct iso_page_data {
    const iso_sides *sides;
    const iso_answer *answer;
    const iso_report_options *options;
    const iso_dataset *dataset; /* the prepared folder of the runs; NULL if it is not at hand */
} iso_page_data;

/* section_results.c */
void iso_section_answer(iso_str *out, const iso_page_data *data);
void iso_section_sides(iso_str *out, const iso_page_data *data);
void iso_section_domains(iso_str *out, const iso_page_data *data);
/* section_ledger.c */
void iso_section_ledger(iso_str *out, const iso_page_data *data);
/* section_router.c */
void iso_section_router(iso_str *out, const iso_page_data *data);
/* section_specialisation.c */
void iso_section_specialisation(iso_str *out, const iso_page_data *data);
/* section_reproduce.c */
void iso_section_reproduce(iso_str *out, const iso_page_data *data);

/* curves.c */
void iso_figure_training_loss(iso_str *out, const iso_page_data *data);
void iso_figure_validation(iso_str *out, const iso_page_data *data);
void iso_figure_gain(iso_str *out, const iso_page_data *data);
void iso_figure_imbalance(iso_str *out, const iso_page_data *data);

/* figures.c */
void iso_figure_gap(iso_str *out, const iso_page_data *data);
/* The list of sides with their line samples, as markup. */
void iso_sides_legend(iso_str *out, const iso_page_data *data, bool moe_only);
/* "s0" for a dense side, "s1" ... "s6" for MoE sides by activation rate: the class that carries a
 * side's colour and dashes through all figures. */
const char *iso_side_class(const iso_sides *sides, int64_t i_side);

#endif
