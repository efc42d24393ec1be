/* specialisation_figure.h - the two pictures of specialisation.h: strips and maps of heat.
 *
 * Internal to src/report. Both colour a ratio to what would be without specialisation or affinity.
 */
#ifndef ISO_REPORT_SPECIALISATION_FIGURE_H
#define ISO_REPORT_SPECIALISATION_FIGURE_H

#include "base/str.h"
#include "study/routing_measures.h"

/* Pairs expected in fewer tokens have no colour, and no place in a table. */
#define ISO_PAIR_MIN_EXPECTED 20.0

/* `n_most` of the layers, evenly spread from the first to the last, or all; how many. */
int64_t iso_specialisation_layers(int64_t *layers, int64_t n_most,
                                  const iso_routing_measures *measures);

/* Per layer a strip of experts for each domain, coloured by p(e|d) / p(e). */
void iso_figure_domain_strips(iso_str *out, const char *id, const char *label,
                              const iso_route_counts *counts, const iso_routing_measures *measures);
/* Per layer a square of pairs of experts, coloured by lift. */
void iso_figure_together(iso_str *out, const char *id, const char *label,
                         const iso_routing_measures *measures);

#endif
