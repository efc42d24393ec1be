/* perf.c - how fast every operation is at the sizes of real models. */
#include "checkops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct model {
    const char *name;
    int64_t H, A, S, B, F, E, K, De, V;
} model;

/* demo: what the guided tour trains; d and m: dense and MoE of 32M and 87M parameters; long: many
 * positions, for attention; v3: d3 with a vocabulary of tokens, not bytes, for the loss. */
static const model models[] = {
    {"demo-dense", 128, 4, 128, 32, 352, 1, 1, 352, 257},
    {"demo-moe", 96, 3, 128, 32, 256, 32, 2, 32, 257},
    {"d2", 512, 8, 512, 8, 1408, 1, 1, 1408, 256},
    {"m2", 320, 5, 512, 8, 880, 64, 2, 64, 256},
    {"d3", 768, 12, 1024, 4, 2128, 1, 1, 2128, 256},
    {"m3", 512, 8, 512, 8, 1408, 80, 3, 64, 256},
    {"long", 512, 8, 4096, 1, 1408, 1, 1, 1408, 256},
    {"long-d32", 512, 16, 4096, 1, 1408, 1, 1, 1408, 256},
    {"long-d128", 512, 4, 4096, 1, 1408, 1, 1, 1408, 256},
    {"v3", 768, 12, 1024, 1, 2128, 1, 1, 2128, 65536},
};

typedef enum size { SIZE_NONE, SIZE_H, SIZE_3H, SIZE_F, SIZE_2F, SIZE_DE, SIZE_2DE, SIZE_E } size;

typedef struct item {
    const char *label;
    iso_op op;
    size out, in;
    bool flag, moe_only;
} item;

static const item items[] = {
    {"qkv", ISO_OP_LINEAR_FWD, SIZE_3H, SIZE_H, false, false},
    {"qkv", ISO_OP_LINEAR_BWD_INPUT, SIZE_3H, SIZE_H, false, false},
    {"qkv", ISO_OP_LINEAR_BWD_WEIGHT, SIZE_3H, SIZE_H, false, false},
    {"o", ISO_OP_LINEAR_FWD, SIZE_H, SIZE_H, false, false},
    {"o", ISO_OP_LINEAR_BWD_INPUT, SIZE_H, SIZE_H, false, false},
    {"o", ISO_OP_LINEAR_BWD_WEIGHT, SIZE_H, SIZE_H, false, false},
    {"gate up", ISO_OP_LINEAR_FWD, SIZE_2F, SIZE_H, false, false},
    {"gate up", ISO_OP_LINEAR_BWD_INPUT, SIZE_2F, SIZE_H, false, false},
    {"gate up", ISO_OP_LINEAR_BWD_WEIGHT, SIZE_2F, SIZE_H, false, false},
    {"down", ISO_OP_LINEAR_FWD, SIZE_H, SIZE_F, false, false},
    {"down", ISO_OP_LINEAR_BWD_INPUT, SIZE_H, SIZE_F, false, false},
    {"down", ISO_OP_LINEAR_BWD_WEIGHT, SIZE_H, SIZE_F, false, false},
    {"router", ISO_OP_LINEAR_FWD, SIZE_E, SIZE_H, false, true},
    {"router", ISO_OP_LINEAR_BWD_INPUT, SIZE_E, SIZE_H, false, true},
    {"router", ISO_OP_LINEAR_BWD_WEIGHT, SIZE_E, SIZE_H, false, true},
    {"gate up", ISO_OP_GROUPED_FWD, SIZE_2DE, SIZE_H, true, true},
    {"gate up", ISO_OP_GROUPED_BWD_INPUT, SIZE_2DE, SIZE_H, false, true},
    {"gate up", ISO_OP_GROUPED_BWD_WEIGHT, SIZE_2DE, SIZE_H, false, true},
    {"down", ISO_OP_GROUPED_FWD, SIZE_H, SIZE_DE, false, true},
    {"down", ISO_OP_GROUPED_BWD_INPUT, SIZE_H, SIZE_DE, true, true},
    {"down", ISO_OP_GROUPED_BWD_WEIGHT, SIZE_H, SIZE_DE, true, true},
    {"", ISO_OP_ATTENTION_FWD, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_ATTENTION_BWD, SIZE_NONE, SIZE_NONE, false, false},
    {"alibi", ISO_OP_ATTENTION_FWD, SIZE_NONE, SIZE_NONE, true, false},
    {"alibi", ISO_OP_ATTENTION_BWD, SIZE_NONE, SIZE_NONE, true, false},
    {"", ISO_OP_HEAD_LOSS, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_NORM_FWD, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_NORM_BWD, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_SWIGLU_FWD, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_SWIGLU_BWD, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_ROPE, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_EMBED_FWD, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_EMBED_BWD, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_ROUTER_FWD, SIZE_NONE, SIZE_NONE, true, true},
    {"", ISO_OP_ROUTER_BWD, SIZE_NONE, SIZE_NONE, true, true},
    {"", ISO_OP_BALANCE, SIZE_NONE, SIZE_NONE, true, true},
    {"", ISO_OP_ROUTE_SORT, SIZE_NONE, SIZE_NONE, true, true},
    {"", ISO_OP_COMBINE, SIZE_NONE, SIZE_NONE, true, true},
    {"", ISO_OP_SUM_SQUARES, SIZE_NONE, SIZE_NONE, false, false},
    {"", ISO_OP_ADAMW, SIZE_NONE, SIZE_NONE, false, false},
};

static int64_t size_of(const model *m, size s) {
    const int64_t sizes[] = {1, m->H, 3 * m->H, m->F, 2 * m->F, m->De, 2 * m->De, m->E};
    return sizes[s];
}

/* What has to be multiplied: attention counts what is not masked, two products forward and five
 * backward. */
static double flops_of(const check_case *c, const iso_counters *counters) {
    bool backward = c->op == ISO_OP_ATTENTION_BWD;
    if (!backward && c->op != ISO_OP_ATTENTION_FWD) return (double)counters->executed_flops;
    double pairs = (double)(c->B * c->A) * (double)(c->S * (c->S + 1) / 2);
    return pairs * 2 * (double)c->d * (backward ? 5 : 2);
}

/* With one thread the processor's time: what other programs take does not count. */
static int64_t now_ns(int n_threads) {
    struct timespec t;
    clock_gettime(n_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int compare_times(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

enum { MAX_RUNS = 200 };

/* The least and the median of as many runs as fit in a tenth of a second, five at least. */
static void measure(const check_case *c, iso_exec *ex, void **data, int64_t *least_ns,
                    int64_t *median_ns) {
    int n_threads = iso_exec_n_threads(ex);
    int64_t times[MAX_RUNS], end = now_ns(n_threads) + 100000000;
    int n = 0;
    check_case_call(c, ex, data);
    while (n < MAX_RUNS && (n < 5 || now_ns(n_threads) < end)) {
        int64_t start = now_ns(n_threads);
        check_case_call(c, ex, data);
        times[n++] = now_ns(n_threads) - start;
    }
    qsort(times, (size_t)n, sizeof times[0], compare_times);
    *least_ns = times[0];
    *median_ns = times[n / 2];
}

static void time_item(const check_options *options, const model *m, const item *it,
                      iso_pool *pool) {
    check_case c = {.op = it->op, .seed = options->seed, .B = m->B, .S = m->S, .A = m->A};
    c.d = m->H / m->A, c.V = m->V, c.F = m->F, c.E = m->E, c.K = m->K, c.flag = it->flag;
    c.out = size_of(m, it->out), c.in = size_of(m, it->in), c.group_tokens = m->S;
    c.routing_style = options->routing_style;
    check_case_setup(&c);
    iso_counters counters = {0};
    iso_exec ex;
    void *data[CHECK_OPERANDS];
    const char *isa = options->isa ? options->isa : iso_exec_isa(ISO_F32);
    iso_dtype dtype = strcmp(isa, "avx512bf16") == 0 ? ISO_BF16 : ISO_F32;
    c.rounds = dtype == ISO_BF16;
    if (check_exec_create(&ex, &c, isa, dtype, pool, &counters)) {
        check_buffers_create(&c, dtype, data);
        counters = (iso_counters){0};
        check_case_call(&c, &ex, data);
        double flops = flops_of(&c, &counters), bytes = 0;
        for (int i = 0; i < c.n_operands; i++)
            bytes += (double)check_bytes(&c.operands[i], dtype) *
                     (c.operands[i].role == CHECK_INOUT ? 2 : 1);
        int64_t least_ns, median_ns;
        measure(&c, &ex, data, &least_ns, &median_ns);
        printf("%-10s %-18s %-8s %9.1f %9.1f us %8.1f %s\n", m->name, iso_op_name(it->op),
               it->label, (double)least_ns / 1e3, (double)median_ns / 1e3,
               (flops > 0 ? flops : bytes) / (double)least_ns, flops > 0 ? "GFLOP/s" : "GB/s");
        check_buffers_free(&c, data);
        iso_exec_release(&ex);
    }
    check_case_release(&c);
}

void check_perf(const check_options *options) {
    printf("%-10s %-18s %-8s %9s %9s    rate at least time\n", "model", "operation", "", "least",
           "median");
    iso_pool *pool = NULL;
    ISO_ASSERT(!iso_pool_create(&pool, options->n_threads));
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (options->model && strcmp(options->model, models[i].name) != 0) continue;
        for (size_t j = 0; j < sizeof items / sizeof items[0]; j++) {
            if (!check_wants(options, items[j].op)) continue;
            if (items[j].moe_only && models[i].E == 1) continue;
            time_item(options, &models[i], &items[j], pool);
        }
    }
    iso_pool_free(pool);
}
