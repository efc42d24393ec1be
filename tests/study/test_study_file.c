/* The study file: what is read, every fault at once, what each kind takes. */
#include "study/study_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "format: 1\nname: x\n"

static iso_study *parse(const char *text, char **faults) {
    iso_study *study;
    iso_str lines = {0};
    iso_status status = iso_study_parse(&study, &lines, text, (int64_t)strlen(text), "s.yaml");
    assert_int_equal(status, lines.len > 0 ? ISO_ERR_USAGE : ISO_OK);
    *faults = lines.data ? lines.data : strdup("");
    return study;
}

static void expect_faults(const char *text, const char *expected) {
    char *faults;
    iso_study *study = parse(text, &faults);
    assert_string_equal(faults, expected);
    iso_study_free(study);
    free(faults);
}

static void test_reads(void **state) {
    char *faults;
    iso_study *s = parse(HEAD "kind: scan\nscheme: loose\n"
                              "budget: {params: 400K, compute: 2.5e12}\n"
                              "axes: {activation_rates: [50%, 0.1, 20%], dense_compute: [1, 2]}\n"
                              "seeds: 3\nrules: {retries: 0, seed_sd: 0.002}\n"
                              "machine: {parallel: auto, threads: 2}\n"
                              "config: {model: {norm_topk_prob: true}, train: {eval_tokens: 9}}\n",
                         &faults);
    assert_string_equal(faults, "");
    assert_string_equal(s->name, "x");
    assert_int_equal(s->kind, ISO_STUDY_SCAN);
    assert_int_equal(s->scheme, ISO_GAP_LOOSE);
    assert_int_equal(s->params, 400000);
    assert_true(s->compute.flops == 2.5e12);
    assert_int_equal(s->activation_rates.n, 3);
    assert_true(s->activation_rates.values[0] == 0.1 && s->activation_rates.values[2] == 0.5);
    assert_int_equal(s->dense_compute.n, 2);
    assert_int_equal(s->seeds.n, 3);
    assert_true(s->seeds.values[2] == 3);
    assert_int_equal(s->retries, 0);
    assert_true(s->seed_sd == 0.002);
    assert_int_equal(s->parallel, 0);
    assert_int_equal(s->threads, 2);
    assert_true(s->norm_topk_given);
    assert_int_equal(s->base.train.eval_tokens, 9);
    iso_study_free(s);
    free(faults);
}

static void test_all_faults_at_once(void **state) {
    static const char *const lines[] = {
        "s.yaml:1: format: `2` is not 1\n",
        "s.yaml:2: name: `../x` is not letters, digits, - . _\n",
        "s.yaml:4: sedes: no such key; did you mean seeds?\n",
        "s.yaml:6: budget.params: ",
        "s.yaml:7: budget.flop: no such key; did you mean budget.flops?\n",
        "s.yaml:8: budget.compute: unknown unit `bananas`",
        "s.yaml:10: axes.activation_rates: ",
        "s.yaml:11: axes.schemes: a scan has no such key; it is for reuse\n",
        "s.yaml:13: rules.retries: `-1` is not a whole number from 0 to 100\n",
        "s.yaml:14: rules.lr: `fast` is not one of steplaw, sweep\n",
        "s.yaml:15: machine.lr: no such key; did you mean rules.lr?\n",
        "s.yaml:16: seeds: `1` twice",
    };
    char *faults;
    iso_study *study = parse("format: 2\nname: ../x\nkind: scan\nsedes: [1]\n"
                             "budget:\n  params: 0\n  flop: 1\n  compute: 3 bananas\n"
                             "axes:\n  activation_rates: [20%, 150%]\n  schemes: [strict]\n"
                             "rules:\n  retries: -1\n  lr: fast\nmachine: {lr: 1}\nseeds: [1, 1]\n",
                             &faults);
    const char *at = faults;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        at = strstr(at, lines[i]);
        if (!at) fail_msg("no line, or not in its place: %s\nin\n%s", lines[i], faults);
    }
    int n_lines = 1;
    for (const char *c = faults; *c; c++) n_lines += *c == '\n';
    assert_int_equal(n_lines, sizeof lines / sizeof *lines);
    iso_study_free(study);
    free(faults);
}

static void test_kinds(void **state) {
    char *faults;
    iso_study *s = parse(HEAD "kind: grid\nbudget: {params: 1M}\nconfig: {train: {steps: 3}}\n"
                              "axes: {train.lr: [1e-3, 2e-3], train.seedd: [1], tran.lr: [1]}\n",
                         &faults);
    assert_non_null(
        strstr(faults, "s.yaml:4: budget: a grid has no such key; it is for scan, reuse"));
    assert_non_null(strstr(faults, "train.seedd: no such key; did you mean train.seed?"));
    assert_non_null(strstr(faults, "tran: no such section; did you mean train?"));
    assert_int_equal(s->n_axes, 1);
    assert_string_equal(s->axes[0].values[1], "2e-3");
    iso_study_free(s);
    free(faults);
}

static void test_needs(void **state) {
    expect_faults("kind: scan\n",
                  "s.yaml:1: name: missing: what shall the study be called?\n"
                  "s.yaml:1: format: missing; this is format 1\n"
                  "s.yaml:1: axes.activation_rates: missing: which MoEs? [10%, 20%, "
                  "35%], say\n"
                  "s.yaml:1: budget: missing: give two of params, compute and data, "
                  "or a base that has them");
    expect_faults(HEAD "kind: search\nbudget: {params: 1M, data: 5M}\n"
                       "axes:\n  activation_rates: [10%, 20%]\n",
                  "s.yaml:6: axes.activation_rates: a search takes one");
}

/* Parts in the method's order with what the method says for all, and every fault of every part. */
static void test_method(void **state) {
    char *faults;
    iso_study *s = parse(HEAD "kind: method\nbudget: {params: 1M, data: 5M}\nseeds: 3\n"
                              "rules: {retries: 4}\nparts:\n"
                              "  scan: {axes: {activation_rates: [10%, 35%]}}\n"
                              "  control:\n"
                              "  scan-low: {budget: {params: 1M, compute: 1e12}, axes: "
                              "{activation_rates: [5%]}, seeds: [9]}\n"
                              "  sweep: {seeds: 1}\n",
                         &faults);
    assert_string_equal(faults, "");
    assert_int_equal(s->n_parts, 4);
    assert_string_equal(s->parts[0].name, "sweep");
    assert_string_equal(s->parts[1].name, "control");
    assert_string_equal(s->parts[2].name, "scan");
    assert_string_equal(s->parts[3].name, "scan-low");
    assert_int_equal(s->parts[0].kind, ISO_STUDY_SWEEP);
    assert_int_equal(s->parts[0].seeds.n, 1);
    assert_int_equal(s->parts[1].seeds.n, 3);
    assert_true(s->parts[1].activation_rates.values[0] == 0.2);
    assert_int_equal(s->parts[2].retries, 4);
    /* Planned along what has the same budget. */
    assert_int_equal(s->parts[0].plan_rates.n, 3);
    assert_int_equal(s->parts[3].plan_rates.n, 1);
    assert_true(s->parts[3].data == 0 && s->parts[3].compute.flops == 1e12);
    iso_study_free(s);
    free(faults);
    expect_faults(
        HEAD "kind: method\nbudget: {params: 1M, data: 5M}\naxes: {zeta: [16]}\nparts:\n"
             "  scan: {axis: {}, axes: {activation_rates: [200%]}, machine: {threads: "
             "1}}\n"
             "  control: {seeds: 1}\n"
             "  reuse: {axes: {zeta: [16]}}\n"
             "  grid: {axes: {train.lr: [1]}}\n",
        "s.yaml:5: axes: a method has no such key; it is for scan, reuse, search, grid, "
        "sweep, control\n"
        "s.yaml:8: parts.control.seeds: one seed says nothing about noise; give 20, say\n"
        "s.yaml:7: parts.scan.axis: no such key; did you mean axes?\n"
        "s.yaml:7: parts.scan.axes.activation_rates: a fraction is at most 1 (100 %)\n"
        "s.yaml:7: parts.scan.machine: the whole study says it; a part takes seeds, "
        "scheme, budget, shapes, axes\n"
        "s.yaml:9: parts.reuse.axes.zeta: a reuse has no such key; it is for search\n"
        "s.yaml:9: parts.reuse.axes.activation_rates: missing: which MoEs? [10%, 20%, "
        "35%], say\n"
        "s.yaml:10: parts.grid: no such part; take sweep, control, scan, reuse, search, or "
        "one of these with '-' and a word of your own behind");
    expect_faults(HEAD "kind: method\nbudget: {params: 1M, data: 5M}\n",
                  "s.yaml:1: parts: missing: which of sweep, control, scan, reuse, search?");
}

static void test_listed(void **state) {
    char *faults;
    iso_study *s = parse(HEAD "kind: scan\nscheme: strict\n"
                              "budget: {params: 2000000, flops: 3.0e+14, unique_tokens: 9996800}\n"
                              "runs:\n  - name: dense\n    config: configs/dense.yaml\n"
                              "    activation_rate: 1.0\n    seeds: [1, 5]\n"
                              "  - name: dense\n    confg: configs/dense.yaml\n",
                         &faults);
    assert_string_equal(faults, "s.yaml:12: runs.confg: no such key; did you mean runs.config?\n"
                                "s.yaml:11: runs.config: missing, or not a word\n"
                                "s.yaml:11: runs.name: twice");
    assert_int_equal(s->n_listed, 2);
    assert_string_equal(s->listed[0].path, "configs/dense.yaml");
    assert_true(s->listed[0].seeds.n == 2 && s->listed[0].seeds.values[1] == 5);
    iso_study_free(s);
    free(faults);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),  cmocka_unit_test(test_all_faults_at_once),
        cmocka_unit_test(test_kinds),  cmocka_unit_test(test_needs),
        cmocka_unit_test(test_method), cmocka_unit_test(test_listed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
