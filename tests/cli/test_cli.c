/* The frame of the command line: every kind of flag, positional arguments, overrides, the exit
 * codes that are promised, tables. What people see of it is in the scripts beside. */
#include "cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A command with one flag of each kind. */
typedef struct arguments {
    bool json, done;
    const char *out, *require;
    int64_t steps;
    double minutes;
    cli_list train, paths, overrides;
} arguments;

static iso_status parse(arguments *args, const char *const *words, int n_words) {
    static const char *const choices[] = {"strict", "loose", NULL};
    *args = (arguments){.out = "default", .steps = 7};
    const cli_flag flags[] = {
        {"json", CLI_BOOL, &args->json, NULL, "print JSON", NULL},
        {"out", CLI_STRING, &args->out, "DIR", "where", NULL},
        {"require", CLI_CHOICE, &args->require, "VERDICT", "which", choices},
        {"steps", CLI_I64, &args->steps, "N", "how many", NULL},
        {"minutes", CLI_F64, &args->minutes, "M", "how long", NULL},
        {"train", CLI_LIST, &args->train, "PATH", "what", NULL},
    };
    const cli_usage usage = {
        .synopsis = "test PATH...",
        .summary = "Tests.",
        .example = "isomoe test",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &args->paths,
        .min_positionals = 0,
        .max_positionals = -1,
        .overrides = &args->overrides,
    };
    char *argv[16] = {"test"};
    for (int i = 0; i < n_words; i++) argv[i + 1] = (char *)(uintptr_t)words[i];
    return cli_parse(&usage, n_words + 1, argv, &args->done);
}

#define PARSE(args, ...)                                                                           \
    parse(args, (const char *const[]){__VA_ARGS__},                                                \
          (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static void release(arguments *args) {
    cli_list_release(&args->train);
    cli_list_release(&args->paths);
    cli_list_release(&args->overrides);
}

static void assert_list(const cli_list *list, const char *expected) {
    iso_str text = {0};
    iso_str_append(&text, "");
    for (int64_t i = 0; i < list->n; i++)
        iso_str_appendf(&text, "%s%s", i ? " " : "", list->items[i]);
    assert_string_equal(text.data, expected);
    iso_str_release(&text);
}

static void every_kind_of_flag(void **state) {
    arguments args;
    assert_int_equal(PARSE(&args, "--json", "--out", "a", "--steps=12", "--minutes", "2.5",
                           "--require", "loose", "b", "--train.lr=3", "c"),
                     ISO_OK);
    assert_true(args.json && !args.done);
    assert_string_equal(args.out, "a");
    assert_string_equal(args.require, "loose");
    assert_int_equal(args.steps, 12);
    assert_true(args.minutes == 2.5);
    assert_list(&args.paths, "b c");
    assert_list(&args.overrides, "--train.lr=3");
    release(&args);
}

static void defaults_stay(void **state) {
    arguments args;
    assert_int_equal(PARSE(&args, "x"), ISO_OK);
    assert_string_equal(args.out, "default");
    assert_int_equal(args.steps, 7);
    assert_null(args.require);
    assert_int_equal(args.train.n, 0);
    release(&args);
}

static void lists_take_values_to_the_next_flag(void **state) {
    arguments args;
    assert_int_equal(
        PARSE(&args, "--train", "a", "b", "--json", "p", "--train=c", "q", "--train", "d"), ISO_OK);
    assert_list(&args.train, "a b c d");
    assert_list(&args.paths, "p q");
    release(&args);
    assert_int_equal(PARSE(&args, "--train", "a", "--", "--json", "-x"), ISO_OK);
    assert_list(&args.train, "a");
    assert_list(&args.paths, "--json -x");
    assert_false(args.json);
    release(&args);
    assert_int_equal(PARSE(&args, "-"), ISO_OK); /* standard input, by convention */
    assert_list(&args.paths, "-");
    release(&args);
}

static void negative_numbers_are_values(void **state) {
    arguments args;
    assert_int_equal(PARSE(&args, "--steps", "-3", "--minutes=-0.5"), ISO_OK);
    assert_int_equal(args.steps, -3);
    assert_true(args.minutes == -0.5);
    release(&args);
}

static void faults(void **state) {
    static const struct {
        const char *words[3];
        const char *message;
    } cases[] = {
        {{"--out"}, "--out needs a value: --out DIR"},
        {{"--out", "--json"}, "--out needs a value"},
        {{"--train", "--json"}, "--train needs a value"},
        {{"--steps", "3x"}, "`3x` is not a whole number"},
        {{"--steps", "1.5"}, "`1.5` is not a whole number"},
        {{"--minutes", "soon"}, "`soon` is not a number"},
        {{"--require", "strct"}, "`strct` is not one of strict, loose"},
        {{"--stepz", "3"}, "--stepz: no such flag; did you mean --steps?"},
        {{"--json=true"}, "--json takes no value"},
        {{"--train.lr", "3"}, "write --train.lr=VALUE"},
        {{"-j"}, "two dashes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        arguments args;
        int n_words = 0;
        while (n_words < 3 && cases[i].words[n_words]) n_words++;
        assert_int_equal(parse(&args, cases[i].words, n_words), ISO_ERR_USAGE);
        if (!strstr(iso_error_message(), cases[i].message))
            fail_msg("expected \"%s\" in \"%s\"", cases[i].message, iso_error_message());
        release(&args);
    }
}

/* The contract with scripts. */
static void exit_codes(void **state) {
    static const struct {
        iso_status status;
        int code;
    } codes[] = {
        {ISO_OK, 0},
        {ISO_ERR_FAILED, 1},
        {ISO_ERR_USAGE, 2},
        {ISO_ERR_DATA, 1},
        {ISO_ERR_IO, 1},
        {ISO_ERR_NO_SPACE, 4},
        {ISO_ERR_LOCKED, 5},
        {ISO_ERR_MEMORY, 1},
        {ISO_ERR_NONFINITE, 6},
        {ISO_ERR_NOT_EQUAL, 3},
        {ISO_ERR_PREEMPTED, 75},
        {ISO_ERR_UNSUPPORTED, 1},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_int_equal(cli_exit_code(codes[i].status), codes[i].code);
}

static void tables_align(void **state) {
    static const char *const headers[] = {"name", "count", "share"};
    static const char *const cells[] = {"dense", "7", "1.5 %", "größer", "1234",
                                        "-",     "x", "+12",   "100.0 %"};
    cli_table table;
    cli_table_init(&table, headers, 3);
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) cli_table_add(&table, cells[i]);
    char *text = NULL;
    size_t n_bytes;
    FILE *stream = open_memstream(&text, &n_bytes);
    cli_table_print(&table, stream);
    fclose(stream);
    assert_string_equal(text, "name    count    share\n"
                              "dense       7    1.5 %\n"
                              "größer   1234        -\n"
                              "x         +12  100.0 %\n");
    free(text);
    cli_table_release(&table);
}

static void files_get_no_colours(void **state) {
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_string_equal(cli_styled(file, CLI_RED), "");
    assert_false(cli_is_fancy(file));
    fclose(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_flag),
        cmocka_unit_test(defaults_stay),
        cmocka_unit_test(lists_take_values_to_the_next_flag),
        cmocka_unit_test(negative_numbers_are_values),
        cmocka_unit_test(faults),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(tables_align),
        cmocka_unit_test(files_get_no_colours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
