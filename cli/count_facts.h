/* count_facts.h - everything that `isomoe count` knows of one config, and the same as JSON.
 *
 * Owns: gathering; what is assumed where a config says nothing about training. Does not own: tables
 * for people (cmd_count.c).
 */
#ifndef ISO_CLI_COUNT_FACTS_H
#define ISO_CLI_COUNT_FACTS_H

#include "cli.h"

#include "arch/closed_form.h"
#include "arch/memory.h"
#include "base/json.h"
#include "base/str.h"
#include "train/dry_run.h"

/* Tokens that go through the model together at inference. */
#define COUNT_N_BATCHES 3
extern const int64_t count_batches[COUNT_N_BATCHES]; /* 1, 32, 1024 */

/* What the paper's closed forms make of a model: equations 1-3 of a dense one, 4-6 and 7-9 of an
 * MoE. NAN: they say nothing about it. */
typedef struct count_estimate {
    const char *equations; /* "4-6" */
    double N, N_a, r_a;
    double train_flops; /* per token */
} count_estimate;
#define COUNT_N_ESTIMATES 2

typedef struct count_facts {
    const char *path;  /* borrowed */
    iso_config config; /* micro_batch_size is the one that `run` is for */
    iso_counts counts; /* by the convention asked for */
    iso_ratios ratios;
    iso_counts by_convention[ISO_N_CONVENTIONS];
    count_estimate estimates[COUNT_N_ESTIMATES];
    int64_t n_estimates;
    iso_state_memory state[ISO_N_FORMATS];
    int64_t kv_token[ISO_N_FORMATS], kv_context[ISO_N_FORMATS]; /* one sequence of S */
    double touched[ISO_N_FORMATS][COUNT_N_BATCHES];             /* bytes per token */
    double experts_hit[COUNT_N_BATCHES]; /* of the E of a layer; 0 if dense */
    bool is_assumed; /* the config does not resolve to a micro-batch: router_aux_group taken */
    bool has_run;
    iso_dry_run run;
    char *no_run; /* why there is none: it cannot be trained at that size */
} count_facts;

iso_status count_facts_init(count_facts *out, const char *path, const cli_list *overrides,
                            iso_convention convention);
void count_facts_release(count_facts *facts);

/* Whether the config's batch goes through in one piece. */
bool count_is_whole_batch(const count_facts *facts);
/* What the size of the micro-batch comes from: " (assumed)", ", the whole batch ...", or "". */
const char *count_micro_batch_note(const count_facts *facts);

/* What a convention counts, in a few words. */
const char *count_convention_meaning(iso_convention convention);

/* Prints the table of n >= 2 models, by the convention of the first's `counts`. */
void count_side_by_side(const count_facts *facts, int64_t n);

/* The object that `count --json` prints of a config (docs/formats.md); a new reference. */
json_t *count_facts_to_json(const count_facts *facts);

/* M over that of a dense model: exact by the convention of both, by equation 10 and by the printed
 * equation 10. False if `dense` is not dense. */
typedef struct count_relative {
    double exact, equation_10, printed;
} count_relative;
bool count_relative_compute(count_relative *out, const count_facts *facts,
                            const count_facts *dense);

#endif
