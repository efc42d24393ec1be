/* test_api.c - the whole pipeline through the public header alone. */
#include "isomoe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void check(iso_status status) {
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
}

static void write_text(const char *path, unsigned n_lines, unsigned salt) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (unsigned i = 0; i < n_lines; i++)
        fprintf(file, "{\"text\": \"line %u of text %u: the quick brown fox, %u\"}\n", i, salt,
                (i * 2654435761u + salt) % 1000);
    fclose(file);
}

/* Two sides of one N: a dense model, and an MoE whose single expert is as wide. */
static const char dense_yaml[] =
    "model: {vocab_size: 257, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2,\n"
    "  intermediate_size: 32, max_position_embeddings: 16, router_aux_group: 2}\n"
    "data: {dir: data}\n"
    "train: {steps: 4, batch_size: 4, lr: 0.001, threads: 1, final_eval_tokens: 500}\n";
static const char moe_yaml[] =
    "model: {vocab_size: 257, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2,\n"
    "  intermediate_size: 32, max_position_embeddings: 16, router_aux_group: 2,\n"
    "  layer_layout: 1dense, num_experts: 1, num_experts_per_tok: 1, moe_intermediate_size: 32}\n"
    "data: {dir: data}\n"
    "train: {steps: 4, batch_size: 4, lr: 0.001, threads: 1, final_eval_tokens: 500}\n";

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_text_to_report(void **state) {
    const char *texts[] = {"train.jsonl"};
    const iso_domain_path domains[] = {{"other", "val.jsonl"}};
    const char *runs[] = {"run-dense", "run-moe"};
    const char *longer[] = {"train.steps=8"};
    char *json;
    write_text("train.jsonl", 400, 1);
    write_text("val.jsonl", 40, 2);
    write_file("dense.yaml", dense_yaml);
    write_file("moe.yaml", moe_yaml);
    check(isomoe_prepare("data", "bytes", texts, 1, domains, 1));
    check(isomoe_train("run-dense", "dense.yaml", NULL, 0, NULL));
    check(isomoe_train("run-moe", "moe.yaml", NULL, 0, NULL));
    check(isomoe_audit(&json, runs, 2));
    assert_non_null(strstr(json, "\"strict\""));
    free(json);
    check(isomoe_report("report.html", runs, 2));
    assert_int_equal(access("report.html", R_OK), 0);
    /* Twice the tokens for one side: not equal, and the reasons are there all the same. */
    const char *unequal[] = {"run-dense", "run-longer"};
    check(isomoe_train("run-longer", "moe.yaml", longer, 1, NULL));
    assert_int_equal(isomoe_audit(&json, unequal, 2), ISO_ERR_NOT_EQUAL);
    assert_non_null(json);
    free(json);
}

static void test_stop_saves_and_resumes(void **state) {
    volatile sig_atomic_t stop = 1;
    assert_int_equal(isomoe_train("run-stopped", "dense.yaml", NULL, 0, &stop), ISO_ERR_PREEMPTED);
    assert_int_equal(access("run-stopped/checkpoints/step_0", R_OK), 0);
    stop = 0;
    check(isomoe_train("run-stopped", "dense.yaml", NULL, 0, &stop));
}

static void test_faults_have_messages(void **state) {
    const char *nothing[] = {"no-such-run", "none-either"};
    const char *typo[] = {"train.stepz=4"};
    char *json;
    assert_int_equal(isomoe_train("run-x", "dense.yaml", typo, 1, NULL), ISO_ERR_USAGE);
    assert_non_null(strstr(iso_error_message(), "train.steps"));
    assert_int_equal(isomoe_audit(&json, nothing, 2), ISO_ERR_USAGE);
    assert_null(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_to_report),
        cmocka_unit_test(test_stop_saves_and_resumes),
        cmocka_unit_test(test_faults_have_messages),
    };
    char dir[] = "/tmp/isomoe-api-XXXXXX";
    if (!mkdtemp(dir) || chdir(dir) != 0) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
