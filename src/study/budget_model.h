/* budget_model.h - one model of a budget: its config, its errors, its memory. Shared by the files
 * of budget.h only; begin, steps, share and finish are called in this order. */
#ifndef ISO_STUDY_BUDGET_MODEL_H
#define ISO_STUDY_BUDGET_MODEL_H

#include "study/budget.h"

/* The config's shape, data and batch, for about `tokens`. */
iso_status iso_budget_model_begin(iso_budget_model *model, const iso_budget *b, int64_t tokens);
/* Its steps, and with them tokens, FLOPs and their error. The baseline's come first. */
iso_status iso_budget_model_steps(iso_budget_model *model, const iso_budget *b, int64_t steps);
/* Its unique tokens, by the schemes; the budget's D-hat is known. */
iso_status iso_budget_model_share(iso_budget_model *model, const iso_budget *b);
/* Memory and hours. */
iso_status iso_budget_model_finish(iso_budget_model *model, const iso_budget *b);

/* Fills the budget's notes, once everything else is there. */
void iso_budget_notes_make(iso_budget *b);

#endif
