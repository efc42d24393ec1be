/* checkops.c - checks and times the operations.
 *
 *     checkops [test|grad|perf|prove|list] [--op=NAME] [--seed=N] [--rounds=N]
 *              [--threads=N] [--isa=NAME] [--model=NAME] [--routing=STYLE]
 */
#include "checkops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool check_wants(const check_options *options, iso_op op) {
    return !options->op || strcmp(options->op, iso_op_name(op)) == 0;
}

static const char *value_of(const char *arg, const char *option) {
    size_t n = strlen(option);
    return strncmp(arg, option, n) == 0 ? arg + n : NULL;
}

static bool parse(check_options *options, const char *arg) {
    const char *value;
    if ((value = value_of(arg, "--op=")))
        options->op = value;
    else if ((value = value_of(arg, "--seed=")))
        options->seed = strtoull(value, NULL, 10);
    else if ((value = value_of(arg, "--rounds=")))
        options->rounds = atoi(value);
    else if ((value = value_of(arg, "--threads=")))
        options->n_threads = atoi(value);
    else if ((value = value_of(arg, "--isa=")))
        options->isa = value;
    else if ((value = value_of(arg, "--routing=")))
        options->routing_style = atoi(value);
    else if ((value = value_of(arg, "--model=")))
        options->model = value;
    else
        return false;
    return true;
}

int main(int argc, char **argv) {
    check_options options = {.seed = 1, .rounds = 12, .n_threads = 1};
    check_tally tally = {0};
    const char *mode = "test";
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-')
            mode = argv[i];
        else if (!parse(&options, argv[i])) {
            fprintf(stderr, "checkops: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    if (strcmp(mode, "list") == 0) {
        for (int op = 0; op < ISO_OP_N; op++) printf("%s\n", iso_op_name((iso_op)op));
        return 0;
    }
    if (strcmp(mode, "perf") == 0) {
        check_perf(&options);
        return 0;
    }
    if (strcmp(mode, "prove") == 0) {
        check_prove(&options);
        return 0;
    }
    printf("seed %llu, instruction set %s\n", (unsigned long long)options.seed,
           iso_exec_isa(ISO_F32));
    if (strcmp(mode, "test") == 0)
        check_test(&options, &tally);
    else if (strcmp(mode, "grad") == 0)
        check_grad(&options, &tally);
    else {
        fprintf(stderr, "checkops: unknown mode %s; there are test, grad, perf, prove, list\n",
                mode);
        return 2;
    }
    printf("%d passed, %d failed\n", tally.n_passed, tally.n_failed);
    return tally.n_failed > 0;
}
