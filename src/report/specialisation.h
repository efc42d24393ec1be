/* specialisation.h - which experts serve which text: a part of a page about an MoE run, and a CSV.
 *
 * Owns: words, tables and pictures of a run's routing.safetensors. Does not own: the measures
 * (study/routing_measures.h). For any page made with page.h.
 */
#ifndef ISO_REPORT_SPECIALISATION_H
#define ISO_REPORT_SPECIALISATION_H

#include "base/status.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Heat strips of load by domain and layer, the layers' measures with their noise, the most
 * specialised experts, experts by class of token, and co-activation, of the run in run_dirs[0]; of
 * the others (seeds of the same configuration) the layers' information beside it. `id` is unique in
 * the page, of letters, digits and dashes. *shown is false, and nothing is appended, where the run
 * has no such record: it is dense, or has no final evaluation. */
iso_status iso_specialisation_append(iso_str *out, bool *shown, const char *id, const char *label,
                                     const char *const *run_dirs, int64_t n_run_dirs);

/* All of it as CSV (docs/formats.md, "Specialisation as CSV"): the header, then each run. A run
 * without a record adds nothing. */
void iso_specialisation_csv_header(iso_str *out);
iso_status iso_specialisation_csv_append(iso_str *out, const char *run_name, const char *run_dir);

#endif
