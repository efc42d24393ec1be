/* plan_view.h - a plan for people: tables for a terminal of 100 columns, or Markdown. */
#ifndef ISO_CLI_PLAN_VIEW_H
#define ISO_CLI_PLAN_VIEW_H

#include "cli.h"

#include "study/budget.h"

/* The budget, the shapes, the training, what was relaxed, notes; the expected gap, in a column and
 * in words, if the plan has one. */
void plan_view_print(const iso_budget *budget);

/* The same as Markdown; `command` is the command line that made it. */
void plan_view_markdown(iso_str *out, const iso_budget *budget, const char *command);

#endif
