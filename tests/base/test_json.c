/* JSON: faults with a place, typed gets, a byte-exact file form. */
#include "base/json.h"
#include "temp_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static json_t *parse(const char *text) {
    json_t *value;
    assert_int_equal(iso_json_parse(&value, text, (int64_t)strlen(text), "test"), ISO_OK);
    return value;
}

static void faults_have_a_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } faults[] = {
        {"{\"a\": 1,\n \"a\": 2}", "duplicate"},
        {"{\"a\": 1,\n}", "line 2"},
        {"[1, 2] 3", "end of file"},
        {"", "line 1"},
        {"[\"\xff\"]", "unable to decode byte"},
        {"[1e999]", "overflow"},
        {"[123456789012345678901234567890]", "too big integer"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        json_t *value;
        const char *text = faults[i].text;
        assert_int_equal(iso_json_parse(&value, text, (int64_t)strlen(text), "in.json"),
                         ISO_ERR_DATA);
        assert_null(value);
        assert_non_null(strstr(iso_error_message(), "in.json: line "));
        assert_non_null(strstr(iso_error_message(), faults[i].message));
    }
}

static void only_given_bytes_are_read(void **state) {
    (void)state;
    json_t *value;
    assert_int_equal(iso_json_parse(&value, "[1]garbage", 3, "test"), ISO_OK);
    json_decref(value);
}

static void typed_gets(void **state) {
    (void)state;
    json_t *object = parse("{\"i\": 9007199254740993, \"f\": 0.5, \"b\": true, \"s\": \"x\","
                           " \"o\": {}, \"a\": [], \"n\": null}");
    int64_t i;
    double f;
    bool b;
    const char *s;
    json_t *o, *a;
    assert_int_equal(iso_json_get_i64(&i, object, "i", "t"), ISO_OK);
    assert_true(i == INT64_C(9007199254740993)); /* no detour through double */
    assert_int_equal(iso_json_get_f64(&f, object, "f", "t"), ISO_OK);
    assert_true(f == 0.5);
    assert_int_equal(iso_json_get_f64(&f, object, "i", "t"), ISO_OK);
    assert_int_equal(iso_json_get_bool(&b, object, "b", "t"), ISO_OK);
    assert_true(b);
    assert_int_equal(iso_json_get_str(&s, object, "s", "t"), ISO_OK);
    assert_string_equal(s, "x");
    assert_int_equal(iso_json_get_object(&o, object, "o", "t"), ISO_OK);
    assert_int_equal(iso_json_get_array(&a, object, "a", "t"), ISO_OK);
    assert_true(json_is_object(o) && json_is_array(a));

    assert_int_equal(iso_json_get_i64(&i, object, "f", "t"), ISO_ERR_DATA);
    assert_string_equal(iso_error_message(), "t: \"f\" must be an integer, not a real number");
    assert_int_equal(iso_json_get_i64(&i, object, "zz", "t"), ISO_ERR_DATA);
    assert_string_equal(iso_error_message(), "t: \"zz\" is missing");
    assert_int_equal(iso_json_get_i64(&i, NULL, "i", "t"), ISO_ERR_DATA);
    assert_int_equal(iso_json_get_f64(&f, object, "s", "t"), ISO_ERR_DATA);
    assert_int_equal(iso_json_get_bool(&b, object, "n", "t"), ISO_ERR_DATA);
    assert_int_equal(iso_json_get_str(&s, object, "b", "t"), ISO_ERR_DATA);
    assert_int_equal(iso_json_get_object(&o, object, "a", "t"), ISO_ERR_DATA);
    assert_int_equal(iso_json_get_array(&a, object, "o", "t"), ISO_ERR_DATA);
    json_decref(object);
}

static void saved_form_is_exact(void **state) {
    char *path = iso_strf("%s/f.json", (char *)*state), *text;
    int64_t n;
    json_t *value = parse("{\"z\": 0.1, \"a\": [1, \"\\u00e9\"]}"), *again;
    assert_int_equal(iso_json_save(value, path), ISO_OK);
    assert_int_equal(iso_file_read(&text, &n, path, 1000), ISO_OK);
    assert_string_equal(text, "{\n  \"z\": 0.10000000000000001,\n  \"a\": [\n    1,\n"
                              "    \"\xc3\xa9\"\n  ]\n}\n");
    free(text);
    assert_int_equal(iso_json_load(&again, path), ISO_OK);
    assert_true(json_equal(value, again));
    text = iso_json_line(value);
    assert_string_equal(text, "{\"z\":0.10000000000000001,\"a\":[1,\"\xc3\xa9\"]}");
    free(text);
    json_decref(value), json_decref(again);
    free(path);
}

static void absent_file(void **state) {
    char *path = iso_strf("%s/none.json", (char *)*state);
    json_t *value;
    assert_int_equal(iso_json_load(&value, path), ISO_ERR_IO);
    assert_null(value);
    free(path);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_have_a_place),
        cmocka_unit_test(only_given_bytes_are_read),
        cmocka_unit_test(typed_gets),
        WITH_DIR(saved_form_is_exact),
        WITH_DIR(absent_file),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
