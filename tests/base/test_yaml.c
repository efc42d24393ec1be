/* YAML: the tree with its lines and order (I1), refusals with their lines, limits (I3). */
#include "base/yaml.h"
#include "temp_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static iso_yaml *parse(const char *text) {
    iso_yaml *root;
    iso_status status = iso_yaml_parse(&root, text, (int64_t)strlen(text), "t.yaml");
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
    return root;
}

static void assert_refused(const char *text, const char *message) {
    iso_yaml *root;
    assert_int_equal(iso_yaml_parse(&root, text, (int64_t)strlen(text), "t.yaml"), ISO_ERR_USAGE);
    assert_null(root);
    if (!strstr(iso_error_message(), message))
        fail_msg("expected \"%s\" in \"%s\"", message, iso_error_message());
}

static void tree_with_lines(void **state) {
    (void)state;
    iso_yaml *root = parse("# a comment\n"
                           "model:\n"
                           "  hidden_size: 64   # width\n"
                           "  name: \"64\"\n"
                           "list: [1, two,\n"
                           "       {a: b}]\n"
                           "empty:\n"
                           "block: |\n"
                           "  text\n");
    assert_int_equal(root->kind, ISO_YAML_MAPPING);
    assert_int_equal(root->n_children, 4);
    static const char *const keys[] = {"model", "list", "empty", "block"};
    for (int i = 0; i < 4; i++) assert_string_equal(root->children[i].key, keys[i]);

    const iso_yaml *model = iso_yaml_get(root, "model");
    assert_int_equal(model->key_line, 2);
    const iso_yaml *hidden = iso_yaml_get(model, "hidden_size");
    assert_string_equal(hidden->text, "64");
    assert_false(hidden->is_quoted);
    assert_int_equal(hidden->line, 3);
    assert_true(iso_yaml_get(model, "name")->is_quoted);
    assert_null(iso_yaml_get(model, "names"));
    assert_null(iso_yaml_get(hidden, "x"));

    const iso_yaml *list = iso_yaml_get(root, "list");
    assert_int_equal(list->kind, ISO_YAML_SEQUENCE);
    assert_int_equal(list->n_children, 3);
    assert_null(list->children[1].key);
    assert_string_equal(list->children[1].text, "two");
    assert_int_equal(list->children[2].line, 6);
    assert_string_equal(iso_yaml_get(&list->children[2], "a")->text, "b");
    assert_string_equal(iso_yaml_get(root, "empty")->text, "");
    assert_string_equal(iso_yaml_get(root, "block")->text, "text\n");
    assert_true(iso_yaml_get(root, "block")->is_quoted);
    iso_yaml_free(root);
    iso_yaml_free(NULL);
}

static void scalar_and_directive(void **state) {
    (void)state;
    iso_yaml *root = parse("%YAML 1.1\n---\nword\n...\n");
    assert_int_equal(root->kind, ISO_YAML_SCALAR);
    assert_string_equal(root->text, "word");
    iso_yaml_free(root);
}

static void refusals_name_the_line(void **state) {
    (void)state;
    assert_refused("a: 1\nb: 2\na: 3\n", "t.yaml:3: \"a\" is given twice, first on line 1");
    assert_refused("x:\n  a: 1\n  \"a\": 3\n", "t.yaml:3: \"a\" is given twice, first on line 2");
    assert_refused("a: &x 1\nb: 2\n", "t.yaml:1: anchors (&x)");
    assert_refused("a: &x [1]\n", "t.yaml:1: anchors (&x)");
    assert_refused("b: 2\na: &x\n  c: 1\n", "t.yaml:2: anchors (&x)");
    assert_refused("a: *x\n", "t.yaml:1: aliases (*x)");
    assert_refused("a: !!str 1\n", "t.yaml:1: tags");
    assert_refused("a: ! 1\n", "t.yaml:1: tags");
    assert_refused("a: 1\nb: !x {c: 1}\n", "t.yaml:2: tags");
    assert_refused("!x k: 1\n", "t.yaml:1: tags");
    assert_refused("a: 1\n---\nb: 1\n", "t.yaml:2: only one document");
    assert_refused("a: 1\nb: [1, 2\nc: 3\n", "t.yaml:3: not valid YAML");
    assert_refused("a: 1\n b: 2\n", "t.yaml:2: not valid YAML");
    assert_refused("a: b: c\n", "t.yaml:1: not valid YAML");
    assert_refused("a:\n\t- 1\n", "t.yaml:2: not valid YAML");
    assert_refused("[a]: 1\n", "t.yaml:1: a key must be a plain word");
    assert_refused("? {a: 1}\n: 2\n", "t.yaml:1: a key must be a plain word");
    assert_refused("a: \"x\\0y\"\n", "t.yaml:1: a text must not contain NUL");
    assert_refused("\"x\\0y\": 1\n", "t.yaml:1: a text must not contain NUL");
    assert_refused("", "the file is empty");
    assert_refused("# nothing\n", "the file is empty");
    assert_refused("a: \xff\n", "t.yaml: byte 3");
    assert_refused("a: 1\nb: \"open\n", "not valid YAML");
}

static void hostile_sizes_are_capped(void **state) {
    (void)state;
    enum { N = 400000 };
    char *text = malloc(N + 1);
    memset(text, '[', N);
    text[N] = '\0';
    assert_refused(text, "nested deeper than 32 levels");
    for (int i = 0; i < N; i++) text[i] = i == 0 ? '[' : i % 2 ? '1' : ',';
    assert_refused(text, "more than 20000 values");
    free(text);

    char *huge = calloc(ISO_YAML_MAX_BYTES + 2, 1);
    memset(huge, '#', ISO_YAML_MAX_BYTES + 1);
    assert_refused(huge, "more than 1048576 bytes");
    free(huge);
}

static void depth_is_exact(void **state) {
    (void)state;
    enum { N = ISO_YAML_MAX_DEPTH };
    char text[2 * N + 3] = {0};
    memset(text, '[', N), memset(text + N, ']', N);
    iso_yaml_free(parse(text));
    memset(text, '[', N + 1), memset(text + N + 1, ']', N + 1);
    assert_refused(text, "nested deeper");
}

static void files(void **state) {
    char *path = iso_strf("%s/f.yaml", (char *)*state);
    iso_yaml *root;
    assert_int_equal(iso_yaml_load(&root, path), ISO_ERR_IO);
    assert_null(root);
    assert_int_equal(iso_file_write_atomic(path, "a: 1\n", 5), ISO_OK);
    assert_int_equal(iso_yaml_load(&root, path), ISO_OK);
    assert_string_equal(iso_yaml_get(root, "a")->text, "1");
    iso_yaml_free(root);
    char *huge = calloc(ISO_YAML_MAX_BYTES + 1, 1);
    assert_int_equal(iso_file_write_atomic(path, huge, ISO_YAML_MAX_BYTES + 1), ISO_OK);
    assert_int_equal(iso_yaml_load(&root, path), ISO_ERR_USAGE);
    free(huge);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_with_lines),
        cmocka_unit_test(scalar_and_directive),
        cmocka_unit_test(refusals_name_the_line),
        cmocka_unit_test(hostile_sizes_are_capped),
        cmocka_unit_test(depth_is_exact),
        cmocka_unit_test_setup_teardown(files, temp_dir_setup, temp_dir_teardown),
    };
    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
