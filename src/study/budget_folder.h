/* budget_folder.h - a plan on disk: configs, the study file, the plan in words.
 *
 * DIR/configs/NAME.yaml are configs that `isomoe train` takes as they are, DIR/study.yaml names
 * them as the runs of one study (docs/formats.md, "Study file"), DIR/plan.md is for people.
 *
 * (I1) study.yaml is written last: where it is, the configs are, too;
 * (I2) nothing is overwritten but a plan that no run has been started from, and that only when the
 *      caller says so.
 */
#ifndef ISO_STUDY_BUDGET_FOLDER_H
#define ISO_STUDY_BUDGET_FOLDER_H

#include "study/budget.h"

/* `markdown` is the text of plan.md. ISO_ERR_USAGE if dir holds anything else, or another plan than
 * this one and `replace` is false. */
iso_status iso_budget_folder_write(const iso_budget *budget, const char *dir, const char *markdown,
                                   bool replace);

#endif
