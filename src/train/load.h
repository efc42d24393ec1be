/* load.h - a trained model back from disk, to score or to write with. */
#ifndef ISO_TRAIN_LOAD_H
#define ISO_TRAIN_LOAD_H

#include "train/trainer.h"

/* Opens RUN|CHECKPOINT (a run stands for its newest good checkpoint) without gradients, for up to
 * max_sequences at a time on n_threads (ISO_THREADS_ALL: all). The config comes with the
 * checkpoint. *step is the checkpoint's. */
iso_status iso_trainer_load(iso_trainer **out, int64_t *step, const char *run_or_checkpoint,
                            int64_t max_sequences, int64_t n_threads);

#endif
