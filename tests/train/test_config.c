/* Config: the whole way from text to a resolved config, its invariants (I1) and (I2), the faults
 * that only show in the whole, the warnings, and the schedule. */
#include "arch/count.h"
#include "arch/steplaw.h"
#include "train/config.h"
#include "train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char dense_text[] = "model: {vocab_size: 257, hidden_size: 96, num_hidden_layers: 4,\n"
                                 "  num_attention_heads: 6, intermediate_size: 304,\n"
                                 "  max_position_embeddings: 64}\n"
                                 "data: {dir: some/folder}\n"
                                 "train: {tokens: 5e6, batch_size: 32}\n";

static iso_config load(const char *const *overrides, int64_t n_overrides) {
    iso_config config;
    if (iso_config_parse(&config, dense_text, sizeof dense_text - 1, "t.yaml", overrides,
                         n_overrides) != ISO_OK)
        fail_msg("%s", iso_error_message());
    return config;
}

#define LOAD(...)                                                                                  \
    load((const char *const[]){"train.seed=1", __VA_ARGS__},                                       \
         sizeof((const char *const[]){"", __VA_ARGS__}) / sizeof(char *))

static void assert_resolves(iso_config *config) {
    if (iso_config_resolve(config, NULL) != ISO_OK) fail_msg("%s", iso_error_message());
}

static void assert_refused(iso_config config, const char *message) {
    iso_config before = config;
    assert_int_equal(iso_config_resolve(&config, NULL), ISO_ERR_USAGE);
    if (!strstr(iso_error_message(), message))
        fail_msg("expected \"%s\" in \"%s\"", message, iso_error_message());
    assert_memory_equal(&config, &before, sizeof config);
}

static void to_moe(iso_config *config) {
    config->model.layer_layout = ISO_LAYOUT_1DENSE;
    config->model.num_experts = 8;
    config->model.num_experts_per_tok = 2;
    config->model.moe_intermediate_size = 16;
}

static void resolved_numbers(void **state) {
    iso_config config = load(NULL, 0);
    assert_resolves(&config);
    assert_int_equal(config.train.steps, 2441); /* 5e6 / (32 x 64), rounded */
    assert_int_equal(config.train.tokens, 0);
    assert_int_equal(iso_config_batch_tokens(&config), 2048);
    assert_int_equal(iso_config_tokens(&config), 2441 * 2048);
    assert_int_equal(config.train.micro_batch_size, 32);
    assert_int_equal(config.train.warmup_steps, 200);
    assert_true(config.train.lr ==
                iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, 497664.0, 2441.0 * 2048.0));
    assert_string_equal(config.data.dir, "some/folder");
}

static void warmup(void **state) {
    static const struct {
        int64_t steps, warmup;
    } cases[] = {{1, 0},         {9, 0},         {10, 1},        {1999, 199},
                 {2000, 200},    {20000, 200},   {20100, 201},   {68253, 683},
                 {195502, 1955}, {200000, 2000}, {1000000, 2000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iso_config config = load(NULL, 0);
        config.train.tokens = 0;
        config.train.steps = cases[i].steps;
        assert_resolves(&config);
        assert_int_equal(config.train.warmup_steps, cases[i].warmup);
    }
}

static void length_three_ways(void **state) {
    iso_config config = load(NULL, 0);
    config.train.tokens = 0;
    assert_refused(config, "Give one of tokens, steps, flops");
    config.train.flops = 3280896.0 * 2048.0 * 1000.4;
    assert_resolves(&config);
    assert_int_equal(config.train.steps, 1000);
    assert_true(config.train.flops == 0.0);
    config.train.tokens = 1000000;
    assert_refused(config, "2 of them are given");
    config.train.steps = 0;
    config.train.tokens = 10; /* less than a step */
    config.train.warmup_steps = 0;
    assert_resolves(&config);
    assert_int_equal(config.train.steps, 1);
}

static void too_long_to_count(void **state) {
    iso_config config = load(NULL, 0);
    config.train.tokens = 0;
    config.train.flops = 1e300;
    config.train.batch_size = ISO_BATCH_STEPLAW;
    assert_refused(config, "tokens are more than can be counted");
    config.train.flops = 0.0;
    config.train.batch_size = INT32_MAX;
    config.train.steps = 1000000000000000;
    assert_refused(config, "tokens are more than can be counted");
}

static void batch_from_steplaw(void **state) {
    iso_config config = LOAD("train.batch_size=steplaw", "train.tokens=1e9");
    assert_resolves(&config);
    double law = iso_steplaw_batch_tokens(ISO_STEPLAW_UNROUNDED, 1e9) / 64.0;
    assert_int_equal(config.train.batch_size % config.model.router_aux_group, 0);
    assert_true(fabs((double)config.train.batch_size - law) <= 4.0);
    config = LOAD("train.batch_size=steplaw", "train.tokens=1e9", "train.micro_batch_size=48");
    assert_resolves(&config);
    assert_int_equal(config.train.batch_size % 48, 0);
    config.train.batch_size = ISO_BATCH_STEPLAW;
    assert_refused(config, "train.batch_size: Step Law derives");
}

static void micro_batches(void **state) {
    iso_config config = LOAD("train.micro_batch_size=12");
    assert_refused(config, "12 does not divide batch_size 32");
    config.train.micro_batch_size = 4;
    assert_resolves(&config); /* dense: balance groups don't matter */
    config = LOAD("train.micro_batch_size=4");
    to_moe(&config);
    assert_refused(config, "not a multiple of model.router_aux_group 8");
    config.train.micro_batch_size = 16;
    assert_resolves(&config);
    config = LOAD("train.batch_size=4");
    to_moe(&config);
    assert_refused(config, "groups of 8 sequences do not fit the batch of 4");
}

static void learning_rate(void **state) {
    iso_config config = LOAD("train.lr=0.004", "train.lr_multiplier=0.5");
    assert_resolves(&config);
    assert_true(iso_config_peak_lr(&config) == 0.002);
    assert_refused(LOAD("train.lr=1e-6"), "train.min_lr: 1e-05 is above the peak");
    assert_refused(LOAD("train.lr=1.8e-5", "train.lr_multiplier=0.5"), "train.min_lr");
    config = LOAD("train.lr=2e-5", "train.lr_multiplier=0.5");
    assert_resolves(&config); /* equal is fine: a constant rate after warmup */
    assert_refused(LOAD("train.warmup_steps=2441"), "train.warmup_steps: 2441");
    assert_refused(LOAD("model.num_attention_heads=5"), "not divisible");
}

/* (I2) */
static void saved_and_loaded_again(void **state) {
    iso_config config =
        LOAD("train.lr_multiplier=0.3", "data.unique_tokens=123456", "train.eps=1e-9");
    to_moe(&config);
    assert_resolves(&config);
    iso_str text = {0};
    iso_config back;
    iso_config_to_yaml(&text, &config);
    if (iso_config_parse(&back, text.data, (int64_t)text.len, "saved", NULL, 0) != ISO_OK)
        fail_msg("%s\n%s", iso_error_message(), text.data);
    assert_memory_equal(&back, &config, sizeof back);
    assert_resolves(&back);
    assert_memory_equal(&back, &config, sizeof back);
    iso_str_release(&text);
}

static void default_is_what_an_empty_mapping_gives(void **state) {
    iso_config defaults = iso_config_default(), parsed, loaded;
    assert_int_equal(iso_config_parse(&parsed, "{}", 2, "empty", NULL, 0), ISO_OK);
    assert_memory_equal(&parsed, &defaults, sizeof parsed);
    assert_int_equal(iso_config_load(&loaded, NULL, NULL, 0), ISO_OK);
    assert_memory_equal(&loaded, &defaults, sizeof loaded);
    assert_int_not_equal(iso_config_load(&loaded, "no/such/file.yaml", NULL, 0), ISO_OK);
}

static void hash_ignores_what_changes_no_result(void **state) {
    char first[ISO_SHA256_HEX_BYTES], other[ISO_SHA256_HEX_BYTES];
    iso_config config = load(NULL, 0);
    iso_config_hash(first, &config);
    static const char *const neutral[] = {"train.threads=3", "train.keep_last=7",
                                          "train.checkpoint_every=9", "data.dir=elsewhere"};
    static const char *const telling[] = {"train.seed=2",
                                          "data.seed=2",
                                          "train.lr=0.1",
                                          "model.norm_topk_prob=true",
                                          "train.betas=[0.9, 0.96]",
                                          "data.unique_tokens=5",
                                          "train.micro_batch_size=8"};
    for (size_t i = 0; i < sizeof neutral / sizeof *neutral; i++) {
        config = load(&neutral[i], 1);
        iso_config_hash(other, &config);
        assert_string_equal(first, other);
    }
    for (size_t i = 0; i < sizeof telling / sizeof *telling; i++) {
        config = load(&telling[i], 1);
        iso_config_hash(other, &config);
        assert_string_not_equal(first, other);
    }
}

static void assert_warns(iso_config config, const char *about, bool expected) {
    iso_str warnings = {0};
    iso_str_append(&warnings, "");
    if (iso_config_resolve(&config, &warnings) != ISO_OK) fail_msg("%s", iso_error_message());
    if ((strstr(warnings.data, about) != NULL) != expected)
        fail_msg("%s \"%s\" in \"%s\"", expected ? "expected" : "unexpected", about, warnings.data);
    iso_str_release(&warnings);
}

static void warnings(void **state) {
    assert_warns(load(NULL, 0), "Step Law was fitted", true);
    assert_warns(LOAD("train.lr=0.001"), "Step Law was fitted", false);
    assert_warns(load(NULL, 0), "max_position_embeddings", false);
    assert_warns(LOAD("model.max_position_embeddings=32"), "outside 0.5 to 1.5", true);
    assert_warns(LOAD("model.max_position_embeddings=256"), "outside 0.5 to 1.5", true);
    assert_warns(load(NULL, 0), "the vocabulary has", false);
    assert_warns(LOAD("model.vocab_size=4096"), "the vocabulary has", true);
    assert_warns(load(NULL, 0), "attention scores", false);
    assert_warns(LOAD("model.max_position_embeddings=2048"), "attention scores", true);
}

static void json_sections(void **state) {
    iso_config config = load(NULL, 0);
    assert_resolves(&config);
    json_t *json = iso_config_to_json(&config);
    json_t *model = json_object_get(json, "model"), *train = json_object_get(json, "train");
    assert_int_equal(json_integer_value(json_object_get(model, "hidden_size")), 96);
    assert_string_equal(json_string_value(json_object_get(model, "layer_layout")), "dense");
    assert_int_equal(json_integer_value(json_object_get(train, "steps")), 2441);
    assert_null(json_object_get(train, "tokens"));
    assert_string_equal(json_string_value(json_object_get(train, "precision")), "fp32");
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(json, "data"), "unique_tokens")), "all");
    json_decref(json);
}

static void schedule(void **state) {
    /* Hand-computed: the three anchors, the middle, the linear part. */
    assert_float_equal(iso_schedule_value(1, 1000, 200, 0.01, 1e-5), 0.01 / 200.0, 1e-18);
    assert_true(iso_schedule_value(200, 1000, 200, 0.01, 1e-5) == 0.01);
    assert_float_equal(iso_schedule_value(600, 1000, 200, 0.01, 1e-5), 0.5 * (0.01 + 1e-5), 1e-16);
    assert_float_equal(iso_schedule_value(1000, 1000, 200, 0.01, 1e-5), 1e-5, 1e-18);
    assert_float_equal(iso_schedule_value(400, 1000, 200, 1.0, 0.0), 0.5 * (1.0 + sqrt(0.5)),
                       1e-15);
    assert_true(iso_schedule_value(1, 1, 0, 0.01, 1e-5) == 1e-5);
    for (int64_t step = 1; step < 1000; step++) {
        double now = iso_schedule_value(step, 1000, 200, 0.01, 1e-5);
        double next = iso_schedule_value(step + 1, 1000, 200, 0.01, 1e-5);
        assert_true(step < 200 ? next > now : next < now);
    }
    iso_config config = LOAD("train.lr=0.004", "train.lr_multiplier=0.5", "train.warmup_steps=10");
    assert_resolves(&config);
    assert_true(iso_schedule_lr(&config, 10) == 0.002);
    assert_float_equal(iso_schedule_lr(&config, 2441), 1e-5, 1e-18);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolved_numbers),
        cmocka_unit_test(warmup),
        cmocka_unit_test(length_three_ways),
        cmocka_unit_test(too_long_to_count),
        cmocka_unit_test(batch_from_steplaw),
        cmocka_unit_test(micro_batches),
        cmocka_unit_test(learning_rate),
        cmocka_unit_test(saved_and_loaded_again),
        cmocka_unit_test(default_is_what_an_empty_mapping_gives),
        cmocka_unit_test(hash_ignores_what_changes_no_result),
        cmocka_unit_test(warnings),
        cmocka_unit_test(json_sections),
        cmocka_unit_test(schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
