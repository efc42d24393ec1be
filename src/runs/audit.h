/* audit.h - were these runs an equal comparison? The verdict, and every difference behind it.
 *
 * Owns: what "equal" means. Does not own: whether one run is sound in itself (run_record.h), which
 * side won (report/).
 *
 * One run is the reference: the first dense one, else the first. Every other run is held against
 * it:
 *
 *   verdict      N              C                                data
 *   strict       within 0.5 %   within max(0.5 %, one step)      the same unique subset by hash
 *   loose        the same       the same                         same corpus, each D-hat = D/2
 *   unique-data  the same       the same                         same corpus, at most one epoch
 * each
 *
 * The order is one of strength: who requires loose is content with strict.
 *
 * All of them: same tokenizer, validation sample, balance group and numeric profile, every run
 * sound, finished and without skipped steps. N and C by the convention `paper`; the others are
 * shown beside it. One optimizer step is that of the side whose step costs more; D-hat = D/2 is met
 * within the same max(0.5 %, one step), in tokens. Runs that differ in the seed alone are just more
 * sides.
 *
 * Rows of a table (run_table.h) are held to the same rules, but a table cannot show everything:
 * that a run finished, say, or on which bytes it was validated. Such a quantity is neither met nor
 * unmet; the verdict is then the strictest that nothing in the table contradicts, and `unshown` is
 * what it leaves open. A unique subset without a hash is contradicted by another size.
 *
 * (I1) C is compared as exact products of (train_flops_per_token, tokens) in 128 bits;
 * (I2) the verdict is the strictest that every side meets; a single unsound run makes it not equal;
 * (I3) of run folders everything is shown.
 */
#ifndef ISO_RUNS_AUDIT_H
#define ISO_RUNS_AUDIT_H

#include "runs/run_record.h"
#include "runs/run_table.h"

typedef enum iso_verdict {
    ISO_VERDICT_STRICT,
    ISO_VERDICT_LOOSE,
    ISO_VERDICT_UNIQUE_DATA,
    ISO_VERDICT_NOT_EQUAL,
} iso_verdict;

/* "strict", "loose", "unique-data", "not equal". */
const char *iso_verdict_name(iso_verdict verdict);

typedef struct iso_audit_options {
    double params_tolerance_frac;  /* of N; default 0.005 */
    double compute_tolerance_frac; /* of C; default 0.005 */
} iso_audit_options;
iso_audit_options iso_audit_options_default(void);

typedef enum iso_quantity {
    ISO_QUANTITY_SOUND, /* finished, nothing skipped, true to itself */
    ISO_QUANTITY_PARAMS,
    ISO_QUANTITY_COMPUTE,
    ISO_QUANTITY_TOKENIZER,
    ISO_QUANTITY_VALIDATION,
    ISO_QUANTITY_GROUP,
    ISO_QUANTITY_PROFILE,
    ISO_QUANTITY_SUBSET,    /* strict */
    ISO_QUANTITY_CORPUS,    /* loose and unique-data */
    ISO_QUANTITY_HALF,      /* loose: D-hat = D/2 */
    ISO_QUANTITY_ONE_EPOCH, /* unique-data: D <= D-hat */
    ISO_N_QUANTITIES
} iso_quantity;

/* "parameters N", "compute C", ... */
const char *iso_quantity_name(iso_quantity quantity);

/* One quantity of one run against the reference; texts are for people. */
typedef struct iso_audit_check {
    bool is_met;
    bool is_shown; /* false: a table does not say enough to tell; never met then */
    char *reference, *value, *difference, *tolerance;
} iso_audit_check;

/* One run of the comparison. */
typedef struct iso_audit_side {
    const iso_run *run; /* borrowed */
    iso_record record;
    iso_audit_check checks[ISO_N_QUANTITIES];
    iso_verdict verdict;                         /* of this run and the reference alone */
    iso_verdict aim;                             /* the kind that its use of data comes nearest to;
                                                    never ISO_VERDICT_NOT_EQUAL */
    double params_diff_frac[ISO_N_CONVENTIONS];  /* N over the reference's, minus 1 */
    double compute_diff_frac[ISO_N_CONVENTIONS]; /* C over the reference's, minus 1 */
} iso_audit_side;

typedef struct iso_audit {
    iso_audit_options options;
    iso_verdict verdict;                          /* convention `paper` */
    iso_verdict by_convention[ISO_N_CONVENTIONS]; /* had N and C been counted otherwise */
    unsigned unshown; /* bits 1 << iso_quantity: asked for by the verdict, not shown by some side */
    bool is_counted;  /* every side's N and M are counted from a shape; otherwise the conventions
                         cannot be told apart and all carry what was reported */
    int64_t n_sides, i_reference;
    iso_audit_side *sides; /* in the order given */
    double step_frac;      /* one optimizer step of the costliest side, as a share of C */
    iso_str notes;         /* warnings that are no verdict, a line each */
} iso_audit;

/* At least two runs, or ISO_ERR_USAGE. ISO_ERR_DATA if a summary cannot be read as a ledger. That
 * the runs are not equal is no error here: see verdict. The runs must outlive the audit. */
iso_status iso_audit_create(iso_audit **out, const iso_run *runs, int64_t n_runs,
                            const iso_audit_options *options);
/* The rows of one comparison of a table, which must outlive the audit. */
iso_status iso_audit_create_table(iso_audit **out, const iso_run_table *table, int64_t i_group,
                                  const iso_audit_options *options);
void iso_audit_free(iso_audit *audit);

/* Whether a quantity speaks against equality with the reference: contradicted, and asked for by
 * every kind of it or by the kind that the side aims at. What another kind asks for is no fault. */
bool iso_audit_is_objection(const iso_audit_side *side, iso_quantity quantity);

/* Everything, for programs. The caller owns it. */
json_t *iso_audit_to_json(const iso_audit *audit);

#endif
