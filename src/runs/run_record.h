/* run_record.h - summary.json as typed numbers, checked as far as one run alone can be.
 *
 * Owns: reading the ledger that train/ledger.h makes, and holding it against itself: counts
 * recomputed from the model's shape, FLOPs counted by the op wrappers against tokens, sections
 * against config.yaml. Does not own: comparing runs (audit.h).
 *
 * (I1) every number is of the right type and sign, and within int64 where it is an integer, or
 *      reading fails: nothing later has to check again;
 * (I2) a record without problems has counts, tokens, steps and counted FLOPs that follow from its
 *      config section: changing one of them alone is seen.
 */
#ifndef ISO_RUNS_RUN_RECORD_H
#define ISO_RUNS_RUN_RECORD_H

#include "arch/count.h"
#include "base/str.h"
#include "runs/run_folder.h"
#include "train/config.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct iso_record_counts {
    int64_t params_nonvocab;       /* N */
    int64_t params_active;         /* N_a */
    int64_t train_flops_per_token; /* C is this times tokens */
} iso_record_counts;

/* Strings are borrowed from the run's summary, or from the table of runs. */
typedef struct iso_record {
    bool is_reported;  /* a row of a table (run_table.h): unknown are hashes that are NULL, counts
                          that are 0, rates and scores that are NaN */
    bool is_counted;   /* N and M follow from a known shape, so every convention has its own */
    const char *state; /* "running", "finished", "preempted", "failed", "diverged" */
    iso_config config; /* of the model, data and train sections; data.dir is left empty */
    bool is_dense;
    int64_t params_total;
    iso_record_counts counts[ISO_N_CONVENTIONS];
    __int128
        model_flops[ISO_N_COMPONENTS]; /* as counted by the op wrappers, over all of training */
    int64_t tokens;                    /* D */
    int64_t unique_tokens;             /* D-hat as consumed */
    int64_t steps, planned_steps, replayed_steps, skipped_steps;
    int64_t batch_tokens;
    double peak_lr;
    double lr_over_steplaw,
        batch_over_steplaw; /* recomputed here from N, D, the peak and the batch */
    int64_t router_aux_group;
    const char *data_hash, *subset_hash, *tokenizer_hash, *validation_hash;
    const json_t *numeric_profile;
    double bpb, bpc;  /* NaN before the final evaluation */
    iso_str problems; /* what makes it unfit for a comparison, a line each; empty = fit */
} iso_record;

/* ISO_ERR_DATA (naming file and key) on a missing key, a wrong type or an impossible value; what is
 * well-formed but does not hold together goes to `problems`. `run` must outlive the record. */
iso_status iso_record_read(iso_record *out, const iso_run *run);
void iso_record_release(iso_record *record);

/* C in exact FLOPs under a convention. */
static inline unsigned __int128 iso_record_compute(const iso_record *record,
                                                   iso_convention convention) {
    return (unsigned __int128)record->counts[convention].train_flops_per_token *
           (unsigned __int128)record->tokens;
}

#endif
