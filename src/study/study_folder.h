/* study_folder.h - a study on disk: its manifest, configs and runs.
 *
 * Owns: DIR/manifest.json, DIR/configs/, DIR/steps/, DIR/lock. Does not own: DIR/runs/NAME (the run
 * folders are the truth about every run), DIR/speed.json (study_cost.h). docs/formats.md, "Study
 * folder".
 *
 * (I1) one process at a time runs a study: it holds the lock;
 * (I2) a run that a manifest names keeps its config for ever: a study file that was changed so that
 *      it would not is refused, one that only grew is gone on with; so is a run folder of another
 *      config, whoever put it there;
 * (I3) the manifest is replaced as a whole, and names no config that is not there.
 */
#ifndef ISO_STUDY_STUDY_FOLDER_H
#define ISO_STUDY_STUDY_FOLDER_H

#include "study/launcher.h"
#include "study/study_cost.h"

typedef struct iso_study_folder {
    char *dir;
    iso_lock lock;
    const iso_study *study;
    json_t *before; /* the runs of the manifest that was there: name -> object */
} iso_study_folder;

/* Creates the folder if need be and takes its lock: ISO_ERR_LOCKED. ISO_ERR_USAGE if something else
 * is in it. `study` must outlive the folder. */
iso_status iso_study_folder_open(iso_study_folder *out, const iso_study *study, const char *dir);
void iso_study_folder_close(iso_study_folder *folder);

/* An iso_study_score_fn; ctx is the folder. */
bool iso_study_folder_score(void *ctx, const iso_study_run *run, iso_study_score *out);
/* The step at which a run of the plan was hopeless, 0 if it isn't. */
int64_t iso_study_folder_hopeless(const iso_study_folder *folder, const iso_study_run *run);

/* Takes a plan: (I2) is checked (ISO_ERR_USAGE), configs and the tables of its choices are written.
 */
iso_status iso_study_folder_take(iso_study_folder *folder, const iso_study_plan *plan);

/* The manifest as things stand; jobs in the plan's order. */
iso_status iso_study_folder_save(iso_study_folder *folder, const iso_study_plan *plan,
                                 const iso_study_costs *costs, const iso_job *jobs);

/* DIR/configs/NAME.yaml and DIR/runs/NAME; the caller frees. */
char *iso_study_config_path(const iso_study_folder *folder, const iso_study_run *run);
char *iso_study_run_dir(const iso_study_folder *folder, const char *run_name);

#endif
