/* checkops.h - every operation described once, for all modes of checkops.
 *
 * A case is one operation with one choice of sizes: its operands (shape, role, how to fill them,
 * how exact they must be) and a call. Modes run cases on backends and look at the operands.
 */
#ifndef CHECKOPS_H
#define CHECKOPS_H

#include "ops/ops.h"

#define CHECK_OPERANDS 10
#define CHECK_SLOPES   64

typedef enum check_role { CHECK_IN, CHECK_OUT, CHECK_INOUT } check_role;
typedef enum check_kind { CHECK_REAL, CHECK_INT, CHECK_DOUBLE } check_kind;

typedef struct check_operand {
    const char *name; /* as in ops.h: dx is the gradient of x */
    check_kind kind;
    check_role role;
    bool is_narrow; /* of exec->narrow; other REAL operands are of exec->dtype */
    int n_dims;
    int64_t dims[3];
    double spread;     /* inputs: standard deviation */
    double tolerance;  /* outputs: absolute error allowed, in units of 2^-23 */
    double half_error; /* outputs that bf16 is used for inside: absolute error allowed besides */
    int32_t *ints;     /* CHECK_INT inputs: the contents */
} check_operand;

typedef struct check_case {
    iso_op op;
    uint64_t seed;
    int64_t B, S, A, d, T, H, V, F, E, K, out, in, group_tokens;
    bool flag, flag2;       /* what they mean is up to the operation */
    bool wide_in, wide_out; /* of products: what may be narrow is not */
    bool rounds;            /* numbers that bf16 holds: so that all backends start from the same */
    int routing_style; /* 0 random, 1 all tokens to the same experts, 2 half of the experts idle, 3
                          half of the tokens to one expert, a third of the experts idle */
    iso_attention at;
    float slopes[CHECK_SLOPES];
    int32_t *expert, *offsets, *row_token, *token_row;
    int n_operands;
    check_operand operands[CHECK_OPERANDS];
} check_case;

/* Sets dimensions from the seed, `round` running through the variants, and makes the operands. */
void check_case_random(check_case *c, iso_op op, uint64_t seed, int round);
/* Makes the operands; the caller has set op, seed and dimensions. */
void check_case_setup(check_case *c);
void check_case_release(check_case *c);
/* Other experts (T,K), and the sort that follows, written as plainly as possible. */
void check_case_route(check_case *c, const int32_t *expert);
/* Runs it; data[i] is operand i, all NULL for a dry run. */
void check_case_call(const check_case *c, iso_exec *ex, void **data);
/* The operand of that name, or -1. */
int check_case_find(const check_case *c, const char *name);
/* One line of its sizes. */
void check_case_describe(const check_case *c, char *out, size_t out_bytes);

int64_t check_numel(const check_operand *o);
/* dtype as for iso_exec_create: with ISO_BF16 narrow operands are bf16, others float. */
int64_t check_bytes(const check_operand *o, iso_dtype dtype);
double check_value(const check_operand *o, iso_dtype dtype, const void *data, int64_t i);
/* Allocates and fills all operands; outputs with NaN. */
void check_buffers_create(const check_case *c, iso_dtype dtype, void **data);
void check_buffers_free(const check_case *c, void **data);

/* The instruction sets of "cpu", and what each is for. */
typedef struct check_isa {
    const char *name;
    iso_dtype dtype;
} check_isa;
enum { CHECK_N_ISAS = 4 };
extern const check_isa check_isas[CHECK_N_ISAS];

/* An exec on a backend ("ref", or an instruction set of "cpu"), ready to run the case; false if
 * the machine lacks it. */
bool check_exec_create(iso_exec *ex, const check_case *c, const char *backend, iso_dtype dtype,
                       iso_pool *pool, iso_counters *counters);

typedef struct check_options {
    const char *op; /* only this one, or NULL */
    uint64_t seed;
    int rounds, n_threads;
    const char *isa;   /* perf: NULL is the best */
    const char *model; /* perf: only this one, or NULL */
    int routing_style; /* perf */
} check_options;

bool check_wants(const check_options *options, iso_op op);
/* Modes: print what they find, add to the tally. */
typedef struct check_tally {
    int n_passed, n_failed;
} check_tally;
void check_test(const check_options *options, check_tally *tally);
void check_grad(const check_options *options, check_tally *tally);
void check_perf(const check_options *options);
void check_prove(const check_options *options);

#endif
