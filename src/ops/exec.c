/* exec.c - where operations run: backend, threads, scratch. */
#include "ops/ops.h"

#include "base/clock.h"
#include "ops/chain.h"
#include "ops/pile.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Where each operation's kernel stands in the table. */
#define AT(op, kernel) [ISO_OP_##op] = offsetof(iso_kernels, kernel)
static const size_t kernel_offsets[ISO_OP_N] = {
    AT(EMBED_FWD, embed_fwd),
    AT(EMBED_BWD, embed_bwd),
    AT(NORM_FWD, norm_fwd),
    AT(NORM_BWD, norm_bwd),
    AT(LINEAR_FWD, linear_fwd),
    AT(LINEAR_BWD_INPUT, linear_bwd_input),
    AT(LINEAR_BWD_WEIGHT, linear_bwd_weight),
    AT(ROPE, rope),
    AT(ATTENTION_FWD, attention_fwd),
    AT(ATTENTION_BWD, attention_bwd),
    AT(SWIGLU_FWD, swiglu_fwd),
    AT(SWIGLU_BWD, swiglu_bwd),
    AT(ROUTER_FWD, router_fwd),
    AT(ROUTER_BWD, router_bwd),
    AT(BALANCE, balance),
    AT(ROUTE_SORT, route_sort),
    AT(COMBINE, combine),
    AT(GROUPED_FWD, grouped_fwd),
    AT(GROUPED_BWD_INPUT, grouped_bwd_input),
    AT(GROUPED_BWD_WEIGHT, grouped_bwd_weight),
    AT(HEAD_LOSS, head_loss),
    AT(SUM_SQUARES, sum_squares),
    AT(ADAMW, adamw),
};

/* All kernels have the size of a function pointer; what they point to is compared, never called. */
typedef void (*any_fn)(void);

static any_fn kernel_of(const iso_kernels *kernels, iso_op op) {
    any_fn kernel;
    memcpy(&kernel, (const char *)kernels + kernel_offsets[op], sizeof kernel);
    return kernel;
}

const char *iso_op_kernel(iso_op op) {
    iso_kernels ref, cpu;
    iso_kernels_init_ref_f32(&ref);
    cpu = ref;
    iso_kernels_init_cpu(&cpu, ISO_F32);
    return kernel_of(&cpu, op) != kernel_of(&ref, op) ? "cpu" : "ref";
}

static iso_status check_kernels(const iso_kernels *kernels) {
    for (int op = 0; op < ISO_OP_N; op++)
        if (!kernel_of(kernels, (iso_op)op))
            return iso_fail(ISO_ERR_UNSUPPORTED, "backend '%s' has no kernel for %s", kernels->name,
                            iso_op_name((iso_op)op));
    return ISO_OK;
}

/* Types that a backend has no kernels for. */
static iso_status check_dtype(const char *backend, iso_dtype dtype) {
    bool is_cpu = strcmp(backend, "cpu") == 0;
    if (!is_cpu && strcmp(backend, "ref") != 0)
        return iso_fail(ISO_ERR_UNSUPPORTED, "backend '%s' is not built in; there are cpu and ref",
                        backend);
    if (dtype != ISO_F32 && dtype != (is_cpu ? ISO_BF16 : ISO_F64))
        return iso_fail(ISO_ERR_UNSUPPORTED, "backend '%s' has no kernels for %s", backend,
                        iso_dtype_name(dtype));
    return ISO_OK;
}

iso_status iso_exec_create(iso_exec *out, const char *backend, iso_dtype dtype, iso_pool *pool,
                           iso_counters *counters) {
    *out = (iso_exec){.dtype = dtype == ISO_BF16 ? ISO_F32 : dtype,
                      .narrow = dtype,
                      .pool = pool,
                      .measuring = true,
                      .counters = counters};
    ISO_TRY(check_dtype(backend, dtype));
    iso_kernels *kernels = calloc(1, sizeof *kernels);
    out->kernels = kernels;
    out->chain = aligned_alloc(ISO_ALIGN_BYTES, sizeof *out->chain);
    out->pile = aligned_alloc(ISO_ALIGN_BYTES, sizeof *out->pile);
    if (!kernels || !out->chain || !out->pile) {
        iso_exec_release(out);
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate what operations run on");
    }
    memset(out->chain, 0, sizeof *out->chain);
    memset(out->pile, 0, sizeof *out->pile);
    if (dtype == ISO_F64)
        iso_kernels_init_ref_f64(kernels);
    else
        iso_kernels_init_ref_f32(kernels);
    iso_arena_init(&out->scratch);
    iso_status status = ISO_OK;
    /* A processor older than 2009 keeps the reference kernels. */
    bool is_fast = strcmp(backend, "cpu") == 0 && iso_kernels_init_cpu(kernels, dtype);
    if (dtype == ISO_BF16 && !is_fast)
        status = iso_fail(ISO_ERR_UNSUPPORTED,
                          "bf16 needs a processor with AVX512-BF16, and ONEDNN_MAX_CPU_ISA must "
                          "allow it if it is set; here the best is %s: train in fp32",
                          iso_exec_isa(ISO_F32));
    if (status == ISO_OK) status = check_kernels(kernels);
    if (status != ISO_OK) iso_exec_release(out);
    return status;
}

iso_status iso_exec_start(iso_exec *exec) {
    ISO_ASSERT(exec->measuring && exec->scratch.used_bytes == 0);
    ISO_TRY(iso_arena_create(&exec->scratch, exec->scratch.peak_bytes));
    exec->measuring = false;
    return ISO_OK;
}

void iso_exec_release(iso_exec *exec) {
    iso_arena_release(&exec->scratch);
    free((void *)exec->kernels);
    free(exec->chain);
    free(exec->pile);
    *exec = (iso_exec){0};
}

static void run_pieces(const iso_exec *exec, int64_t n_pieces, iso_piece_fn fn, void *ctx) {
    if (exec->pool) {
        iso_pool_run(exec->pool, n_pieces, fn, ctx);
        return;
    }
    for (int64_t i = 0; i < n_pieces; i++) fn(ctx, i, 0);
}

void iso_exec_pieces(const iso_exec *exec, int64_t n_pieces, iso_piece_fn fn, void *ctx) {
    /* they hold back what should have been done before */
    ISO_ASSERT(!exec->chain->is_open && !exec->pile->is_open);
    run_pieces(exec, n_pieces, fn, ctx);
}

void iso_exec_flush(iso_exec *exec) {
    iso_chain_flush(exec);
    iso_pile_flush(exec);
}

void iso_exec_share_time(iso_exec *exec, int64_t run_ns, const iso_op_time *times, int n) {
    int64_t sum = 1;
    for (int i = 0; i < n; i++) sum += times[i].ns;
    for (int i = 0; i < n; i++)
        exec->counters->time_ns[times[i].op] +=
            (int64_t)((double)run_ns * (double)times[i].ns / (double)sum);
}

int iso_exec_n_threads(const iso_exec *exec) {
    return exec->pool ? iso_pool_n_threads(exec->pool) : 1;
}

#define NUMBERS_PIECE 16384

typedef struct numbers_job {
    iso_numbers_fn fn;
    const void *job;
    int64_t first, end;
} numbers_job;

static void numbers_piece(void *ctx, int64_t i_piece, int i_thread) {
    const numbers_job *numbers = ctx;
    int64_t first = numbers->first + i_piece * NUMBERS_PIECE, left = numbers->end - first;
    numbers->fn(numbers->job, first, left < NUMBERS_PIECE ? left : NUMBERS_PIECE);
}

static void run_numbers(const iso_exec *exec, int64_t first, int64_t end, iso_numbers_fn fn,
                        const void *job) {
    numbers_job numbers = {fn, job, first, end};
    if (first < end)
        run_pieces(exec, (end - first + NUMBERS_PIECE - 1) / NUMBERS_PIECE, numbers_piece,
                   &numbers);
}

void iso_exec_aside(iso_exec *exec) {
    ISO_ASSERT(!exec->is_aside && !exec->beside.fn);
    exec->is_aside = true;
}

void iso_exec_numbers(iso_exec *exec, int64_t n, const float *const streams[ISO_BESIDE_STREAMS],
                      iso_numbers_fn fn, const void *job, size_t job_bytes) {
    iso_beside *beside = &exec->beside;
    if (!exec->is_aside) {
        run_numbers(exec, 0, n, fn, job);
        return;
    }
    ISO_ASSERT(job_bytes <= sizeof beside->job);
    beside->n = n;
    atomic_store(&beside->n_claimed, 0);
    for (int i = 0; i < ISO_BESIDE_STREAMS; i++) beside->streams[i] = streams[i];
    memcpy(beside->job, job, job_bytes);
    beside->fn = fn;
}

int64_t iso_exec_claim(iso_exec *exec, int64_t n, int64_t *first) {
    iso_beside *beside = &exec->beside;
    if (!beside->fn || atomic_load(&beside->n_claimed) >= beside->n) return 0;
    *first = atomic_fetch_add(&beside->n_claimed, n);
    int64_t left = beside->n - *first;
    return left <= 0 ? 0 : left < n ? left : n;
}

void iso_exec_join(iso_exec *exec) {
    iso_beside *beside = &exec->beside;
    int64_t start_ns = iso_clock_ns();
    ISO_ASSERT(!exec->is_aside);
    if (!beside->fn) return;
    int64_t first = atomic_load(&beside->n_claimed);
    run_numbers(exec, first, beside->n, beside->fn, beside->job);
    beside->fn = NULL;
    exec->counters->time_ns[beside->op] += iso_clock_ns() - start_ns;
    if (first < beside->n)
        exec->counters->op_bytes[beside->op] += beside->n_bytes / beside->n * (beside->n - first);
}

void iso_alibi_slopes(float *slopes, int64_t A) {
    int64_t n = 1;
    while (n * 2 <= A) n *= 2;
    for (int64_t k = 1; k <= n; k++) slopes[k - 1] = (float)exp2(-8.0 * (double)k / (double)n);
    for (int64_t i = n; i < A; i++) {
        double k = 2.0 * (double)(i - n) + 1;
        slopes[i] = (float)exp2(-4.0 * k / (double)n);
    }
}
