/* The option engine on a table of its own: reading, faults with their places (I2), the way back
 * from text to the same bits (I1), and what the hash sees. */
#include "base/options.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef enum colour { RED, GREEN } colour;

typedef struct settings {
    int64_t width, every, tokens;
    double rate, betas[2];
    bool on;
    char dir[16];
    colour colour;
} settings;

static const char *const colours[] = {"red", "green", NULL};

static const iso_option options[] = {
    {.section = "shape",
     .name = "width",
     .type = ISO_OPTION_I64,
     .offset = offsetof(settings, width),
     .min = 1,
     .max = 1e15,
     .unit = "columns",
     .help = "how wide"},
    {.section = "shape",
     .name = "on",
     .type = ISO_OPTION_BOOL,
     .offset = offsetof(settings, on),
     .help = "whether"},
    {.section = "shape",
     .name = "colour",
     .type = ISO_OPTION_ENUM,
     .offset = offsetof(settings, colour),
     .names = colours,
     .help = "which"},
    {.section = "run",
     .name = "rate",
     .type = ISO_OPTION_F64,
     .offset = offsetof(settings, rate),
     .min = 0,
     .max = 10,
     .flags = ISO_OPTION_MIN_OPEN,
     .keyword = "law",
     .keyword_value = 0,
     .help = "how fast"},
    {.section = "run",
     .name = "betas",
     .type = ISO_OPTION_F64,
     .offset = offsetof(settings, betas),
     .count = 2,
     .min = 0,
     .max = 1,
     .flags = ISO_OPTION_MAX_OPEN,
     .help = "two of them"},
    {.section = "run",
     .name = "every",
     .type = ISO_OPTION_I64,
     .offset = offsetof(settings, every),
     .min = 0,
     .max = 100,
     .keyword = "auto",
     .keyword_value = -1,
     .flags = ISO_OPTION_UNHASHED,
     .help = "how often"},
    {.section = "run",
     .name = "tokens",
     .type = ISO_OPTION_I64,
     .offset = offsetof(settings, tokens),
     .min = 1,
     .max = 1e15,
     .flags = ISO_OPTION_OPTIONAL,
     .help = "how long"},
    {.section = "run",
     .name = "dir",
     .type = ISO_OPTION_STRING,
     .offset = offsetof(settings, dir),
     .size = sizeof((settings *)0)->dir,
     .help = "where"},
};

static const settings defaults = {
    .width = 8, .every = -1, .rate = 0.0, .betas = {0.9, 0.95}, .on = true, .colour = RED};
static const iso_option_table table = {options, sizeof options / sizeof *options, &defaults};

static iso_status read_text(settings *out, const char *text) {
    iso_yaml *root = NULL;
    *out = defaults;
    if (iso_yaml_parse(&root, text, (int64_t)strlen(text), "t.yaml") != ISO_OK)
        fail_msg("%s", iso_error_message());
    iso_status status = iso_options_read(&table, out, root, "t.yaml");
    iso_yaml_free(root);
    return status;
}

static void assert_message(const char *expected) {
    if (!strstr(iso_error_message(), expected))
        fail_msg("expected \"%s\" in \"%s\"", expected, iso_error_message());
}

static void assert_refused(const char *text, const char *expected) {
    settings values;
    assert_int_equal(read_text(&values, text), ISO_ERR_USAGE);
    assert_message(expected);
}

static void reads_every_type(void **state) {
    settings values;
    assert_int_equal(read_text(&values, "shape: {width: 1.5e6, on: false, colour: green}\n"
                                        "run:\n  rate: 3e-3\n  betas: [0.8, 0]\n  every: 7\n"
                                        "  tokens: 9007199254740993\n  dir: \"a: b\"\n"),
                     ISO_ERR_USAGE);
    assert_message("run.tokens: `9007199254740993`"); /* beyond max */
    assert_int_equal(read_text(&values, "shape: {width: 1.5e6, on: false, colour: green}\n"
                                        "run:\n  rate: 3e-3\n  betas: [0.8, 0]\n  every: 7\n"
                                        "  tokens: 12\n  dir: \"a: b\"\n"),
                     ISO_OK);
    assert_int_equal(values.width, 1500000);
    assert_false(values.on);
    assert_int_equal(values.colour, GREEN);
    assert_true(values.rate == 3e-3);
    assert_true(values.betas[0] == 0.8 && values.betas[1] == 0.0);
    assert_int_equal(values.every, 7);
    assert_int_equal(values.tokens, 12);
    assert_string_equal(values.dir, "a: b");
}

static void absent_keys_keep_defaults(void **state) {
    settings values;
    assert_int_equal(read_text(&values, "{}"), ISO_OK);
    assert_memory_equal(&values, &defaults, sizeof values);
    assert_int_equal(read_text(&values, "shape:\nrun: {every: auto}\n"), ISO_OK);
    assert_int_equal(values.every, -1);
}

static void faults_name_place_and_way_out(void **state) {
    assert_refused("shape:\n  widht: 3\n",
                   "t.yaml:2: shape.widht: no such key; did you mean shape.width?");
    assert_refused("shape:\n  rate: 3\n", "shape.rate: no such key; did you mean run.rate?");
    assert_refused("shape:\n  wid: 3\n", "did you mean shape.width?");
    assert_refused("shap:\n  width: 3\n", "t.yaml:1: shap: no such section; did you mean shape?");
    assert_refused("xyz: 1\n", "no such section; there are shape, run");
    assert_refused("shape: 3\n", "shape: must hold");
    assert_refused("- 1\n", "must hold sections");
    assert_refused("shape:\n  width: 0\n", "`0` is not a whole number from 1 to");
    assert_refused("shape:\n  width: 1.5\n", "`1.5` is not a whole number");
    assert_refused("shape:\n  width: \"8\"\n", "`8` is not a whole number");
    assert_refused("shape:\n  width: [8]\n", "`[8]` is not a whole number");
    assert_refused("shape:\n  width:\n", "`` is not a whole number");
    assert_refused("shape:\n  width: 99999999999999999999\n", "is not a whole number");
    assert_refused("shape:\n  on: yes\n", "is not true or false");
    assert_refused("shape:\n  colour: blue\n", "`blue` is not one of red, green");
    assert_refused("run:\n  rate: 0\n", "`0` is not a number above 0 and at most 10 or `law`");
    assert_refused("run:\n  rate: nan\n", "`nan` is not a number");
    assert_refused("run:\n  rate: 11\n", "`11` is not");
    assert_refused("run:\n  betas: [0.9, 1]\n",
                   "`[0.9, 1]` is not a list of 2, each a number from 0 below 1");
    assert_refused("run:\n  betas: [0.9]\n", "`[0.9]` is not a list of 2");
    assert_refused("run:\n  betas: 0.9\n", "`0.9` is not a list of 2");
    assert_refused("run:\n  tokens: 0\n", "`0` is not");
    assert_refused("run:\n  dir: 0123456789abcdef\n", "is not text of at most 15 bytes");
}

static void all_faults_at_once(void **state) {
    assert_refused("shape:\n  widht: 3\n  on: 1\nrun:\n  rate: -1\nruns: {}\n",
                   "t.yaml:2: shape.widht");
    assert_message("\nt.yaml:3: shape.on");
    assert_message("\nt.yaml:5: run.rate");
    assert_message("\nt.yaml:6: runs: no such section");
}

static void overrides(void **state) {
    settings values = defaults;
    assert_int_equal(iso_options_set(&table, &values, "--shape.width=64"), ISO_OK);
    assert_int_equal(values.width, 64);
    assert_int_equal(iso_options_set(&table, &values, "run.betas=[0.5, 0.25]"), ISO_OK);
    assert_true(values.betas[0] == 0.5 && values.betas[1] == 0.25);
    assert_int_equal(iso_options_set(&table, &values, "run.dir={a=b: #c"), ISO_OK);
    assert_string_equal(values.dir, "{a=b: #c");
    assert_int_equal(iso_options_set(&table, &values, "run.rate=law"), ISO_OK);

    settings before = values;
    assert_int_equal(iso_options_set(&table, &values, "--run.rat=1"), ISO_ERR_USAGE);
    assert_message("did you mean run.rate?");
    assert_int_equal(iso_options_set(&table, &values, "--run.betas=[0.5, 2]"), ISO_ERR_USAGE);
    assert_int_equal(iso_options_set(&table, &values, "--run.rate="), ISO_ERR_USAGE);
    assert_int_equal(iso_options_set(&table, &values, "--run.rate=[1"), ISO_ERR_USAGE);
    assert_int_equal(iso_options_set(&table, &values, "--rate=1"), ISO_ERR_USAGE);
    assert_message("write --section.key=value");
    assert_int_equal(iso_options_set(&table, &values, "--run.rate"), ISO_ERR_USAGE);
    assert_memory_equal(&values, &before, sizeof values);
}

static void dump_reads_back_to_the_same_bits(void **state) {
    for (uint64_t round = 0; round < 300; round++) {
        settings values, back;
        memset(&values, 0, sizeof values);
        values.width = 1 + (int64_t)(iso_rng_u64(1, ISO_RNG_TEST, 0, round) % 1000000000000000);
        values.rate = pow(10.0, -12.0 + 12.9 * iso_rng_uniform(1, ISO_RNG_TEST, 1, round));
        values.betas[0] = iso_rng_uniform(1, ISO_RNG_TEST, 2, round);
        values.betas[1] = (double)(round % 10) / 10.0;
        values.every = round % 3 ? (int64_t)(round % 100) : -1;
        values.tokens = round % 2 ? (int64_t)round : 0;
        values.on = round % 2;
        values.colour = round % 2 ? GREEN : RED;
        strcpy(values.dir, round % 5 ? "a\"b\\c: #\n" : "");
        iso_str text = {0};
        iso_options_to_yaml(&table, &values, &text);
        if (read_text(&back, text.data) != ISO_OK)
            fail_msg("%s\n%s", iso_error_message(), text.data);
        assert_int_equal(back.width, values.width);
        assert_memory_equal(&back.rate, &values.rate, sizeof values.rate);
        assert_memory_equal(back.betas, values.betas, sizeof values.betas);
        assert_int_equal(back.every, values.every);
        assert_int_equal(back.tokens, values.tokens);
        assert_int_equal(back.on, values.on);
        assert_int_equal(back.colour, values.colour);
        assert_string_equal(back.dir, values.dir);
        iso_str_release(&text);
    }
}

static void dump_is_readable(void **state) {
    settings values = defaults;
    iso_str text = {0};
    values.rate = 0.001;
    iso_options_to_yaml(&table, &values, &text);
    assert_string_equal(text.data, "shape:\n  width: 8\n  on: true\n  colour: red\n"
                                   "run:\n  rate: 0.001\n  betas: [0.9, 0.95]\n  every: auto\n"
                                   "  dir: \"\"\n");
    iso_str_release(&text);
}

static void doubles_as_text(void **state) {
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.001, "0.001"},
        {1e-5, "1.0e-05"},
        {3.0, "3.0"},
        {1.64e13, "16400000000000.0"},
        {0.1 + 0.2, "0.30000000000000004"},
        {10000.0, "10000.0"},
        {-0.0, "-0.0"},
        {1.5e300, "1.5e+300"},
        {0.00012, "0.00012"},
        {1e22, "1.0e+22"},
        {-2.5e-7, "-2.5e-07"},
        {0.0, "0.0"},
        {1.0 / 3.0, "0.3333333333333333"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char buffer[32];
        assert_string_equal(iso_f64_to_str(buffer, cases[i].value), cases[i].text);
    }
    for (uint64_t i = 0; i < 20000; i++) { /* any bits at all */
        uint64_t bits = iso_rng_u64(2, ISO_RNG_TEST, 0, i);
        double value;
        char buffer[32];
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        assert_true(strtod(iso_f64_to_str(buffer, value), NULL) == value);
        assert_non_null(strchr(buffer, '.'));
        value = ldexp((double)(int64_t)bits, -60); /* and ordinary sizes */
        assert_true(strtod(iso_f64_to_str(buffer, value), NULL) == value);
    }
}

static void json_of_a_section(void **state) {
    settings values = defaults;
    values.tokens = 5;
    json_t *run = iso_options_to_json(&table, &values, "run");
    assert_string_equal(json_string_value(json_object_get(run, "rate")), "law");
    assert_int_equal(json_array_size(json_object_get(run, "betas")), 2);
    assert_true(json_real_value(json_array_get(json_object_get(run, "betas"), 1)) == 0.95);
    assert_int_equal(json_integer_value(json_object_get(run, "tokens")), 5);
    assert_null(json_object_get(run, "width"));
    json_decref(run);
    values.tokens = 0;
    run = iso_options_to_json(&table, &values, "run");
    assert_null(json_object_get(run, "tokens"));
    json_decref(run);
}

static void hash_sees_what_matters(void **state) {
    char first[ISO_SHA256_HEX_BYTES], other[ISO_SHA256_HEX_BYTES];
    settings values = defaults;
    iso_options_hash(first, &table, &values);
    values.every = 3;
    iso_options_hash(other, &table, &values);
    assert_string_equal(first, other);
    values.betas[1] = nextafter(0.95, 1.0);
    iso_options_hash(other, &table, &values);
    assert_string_not_equal(first, other);
    values = defaults;
    values.tokens = 1;
    iso_options_hash(other, &table, &values);
    assert_string_not_equal(first, other);
}

static void help_has_every_option(void **state) {
    iso_str text = {0};
    iso_options_help(&table, &text);
    for (size_t i = 0; i < table.n_options; i++)
        assert_non_null(strstr(text.data, options[i].help));
    assert_non_null(strstr(text.data, "default [0.9, 0.95]"));
    assert_non_null(strstr(text.data, "default none"));
    assert_non_null(strstr(text.data, "in columns"));
    iso_str_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(absent_keys_keep_defaults),
        cmocka_unit_test(faults_name_place_and_way_out),
        cmocka_unit_test(all_faults_at_once),
        cmocka_unit_test(overrides),
        cmocka_unit_test(dump_reads_back_to_the_same_bits),
        cmocka_unit_test(dump_is_readable),
        cmocka_unit_test(doubles_as_text),
        cmocka_unit_test(json_of_a_section),
        cmocka_unit_test(hash_sees_what_matters),
        cmocka_unit_test(help_has_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
