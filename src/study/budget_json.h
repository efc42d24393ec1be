/* budget_json.h - a plan as JSON and as CSV: what other programs read (docs/formats.md). */
#ifndef ISO_STUDY_BUDGET_JSON_H
#define ISO_STUDY_BUDGET_JSON_H

#include "base/json.h"
#include "study/budget.h"

/* {"budget": {...}, "models": [{"name", "model", "data", "train", "counts", ...}, ...]}, the dense
 * baseline first. A new reference. */
json_t *iso_budget_to_json(const iso_budget *budget);

/* A header and a row per model, same order. */
void iso_budget_to_csv(iso_str *out, const iso_budget *budget);

#endif
