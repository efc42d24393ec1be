/* Whole pages: well-formed, self-contained, safe against what they are fed, the same bytes each
 * time. How they look was looked at; what they must say is checked here. */
#include "make_runs.h"
#include "report/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../base/temp_dir.h"

#define MAX_RUNS  24
#define MAX_DEPTH 64
#define MAX_IDS   512

/* --- a checker of well-formed markup: nesting, quotes, entities, unique ids, references to them
 * --- */

typedef struct ids {
    char list[MAX_IDS][48];
    int n;
} ids;

static bool has_id(const ids *all, const char *id) {
    for (int i = 0; i < all->n; i++)
        if (strcmp(all->list[i], id) == 0) return true;
    return false;
}

static void check_text(const char *from, const char *to) {
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (; from < to; from++) {
        if (*from == '<' || (unsigned char)*from < 0x09) fail_msg("raw '%c' in text", *from);
        if (*from != '&') continue;
        bool known = false;
        for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
            known |= strncmp(from, entities[i], strlen(entities[i])) == 0;
        if (!known) fail_msg("a bare ampersand: %.20s", from);
    }
}

/* name="value" ... up to the end of the tag; collects ids and references. */
static void check_attributes(const char *from, const char *to, ids *defined, ids *used) {
    while (from < to && *from != '/') {
        if (*from == ' ' || *from == '\n') {
            from++;
            continue;
        }
        const char *equals = memchr(from, '=', (size_t)(to - from));
        if (!equals || equals[1] != '"') fail_msg("an attribute without quotes: %.40s", from);
        const char *end = memchr(equals + 2, '"', (size_t)(to - equals - 2));
        if (!end) fail_msg("a quote stays open: %.40s", from);
        check_text(equals + 2, end);
        char *value = strndup(equals + 2, (size_t)(end - equals - 2));
        size_t n_name = (size_t)(equals - from);
        if (n_name == 2 && strncmp(from, "id", 2) == 0) {
            if (has_id(defined, value)) fail_msg("id %s twice", value);
            assert_true(defined->n < MAX_IDS && strlen(value) < sizeof *defined->list);
            strcpy(defined->list[defined->n++], value);
        }
        if (n_name == 15 && strncmp(from, "aria-labelledby", 15) == 0)
            for (char *id = strtok(value, " "); id; id = strtok(NULL, " "))
                strcpy(used->list[used->n++], id);
        free(value);
        from = end + 1;
    }
}

static void check_markup(const char *page) {
    char open[MAX_DEPTH][24];
    int depth = 0;
    ids *defined = calloc(1, sizeof *defined), *used = calloc(1, sizeof *used);
    assert_int_equal(strncmp(page, "<!DOCTYPE html>", 15), 0);
    const char *at = page + 15;
    while (*at) {
        const char *tag = strchr(at, '<');
        if (!tag) break;
        check_text(at, tag);
        const char *end = strchr(tag, '>');
        assert_non_null(end);
        bool closing = tag[1] == '/';
        const char *name = tag + (closing ? 2 : 1);
        int n = (int)strcspn(name, " />\n");
        assert_true(n > 0 && n < (int)sizeof *open);
        if (closing) {
            depth--;
            if (depth < 0 || strncmp(open[depth], name, (size_t)n) != 0 || open[depth][n])
                fail_msg("</%.*s> closes <%s>", n, name, depth < 0 ? "" : open[depth]);
        } else {
            check_attributes(name + n, end, defined, used);
            if (end[-1] != '/') {
                assert_true(depth < MAX_DEPTH);
                snprintf(open[depth++], sizeof *open, "%.*s", n, name);
            }
        }
        at = end + 1;
    }
    assert_int_equal(depth, 0);
    for (int i = 0; i < used->n; i++)
        if (!has_id(defined, used->list[i])) fail_msg("nothing has the id %s", used->list[i]);
    free(defined);
    free(used);
}

/* --- pages --- */

static char *make_page(const char *dir, const made_run *runs, int n,
                       const iso_report_options *options) {
    char *dirs[MAX_RUNS], *page = NULL, *path = iso_strf("%s/report.html", dir);
    int64_t n_bytes;
    for (int i = 0; i < n; i++) dirs[i] = make_run(dir, &runs[i]);
    if (iso_report_write(path, (const char *const *)dirs, n, options) != ISO_OK)
        fail_msg("%s", iso_error_message());
    assert_int_equal(iso_file_read(&page, &n_bytes, path, 64 << 20), ISO_OK);
    assert_int_equal(strlen(page), n_bytes);
    for (int i = 0; i < n; i++) free(dirs[i]);
    free(path);
    return page;
}

static void says(const char *page, const char *part) {
    if (!strstr(page, part)) fail_msg("the page does not say \"%s\"", part);
}

static void says_not(const char *page, const char *part) {
    const char *at = strstr(page, part);
    if (at) fail_msg("the page says \"%.60s\"", at);
}

/* Nothing to run, nothing to fetch, no number that went wrong. */
static void check_page(const char *page) {
    static const char *const forbidden[] = {"<script", "http:", "https:", "src=",       "@import",
                                            "<link",   "<img",  "url(h",  "javascript", ">nan<",
                                            ">inf<",   "-nan",  "nan,",   " nan",       "\"nan"};
    check_markup(page);
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) says_not(page, forbidden[i]);
    static const char *const sections[] = {"id=\"answer\"",   "id=\"sides\"",  "id=\"training\"",
                                           "id=\"domains\"",  "id=\"ledger\"", "id=\"router\"",
                                           "id=\"reproduce\""};
    const char *at = page;
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        at = strstr(at, sections[i]);
        if (!at) fail_msg("no section with %s in its place", sections[i]);
    }
}

static const made_run good[] = {{.name = "dense-s1", .level = 2.131, .seed = 1},
                                {.name = "dense-s2", .level = 2.134, .seed = 2},
                                {.name = "moe21-s1", .n_used = 3, .level = 2.091, .seed = 1},
                                {.name = "moe21-s2", .n_used = 3, .level = 2.092, .seed = 2},
                                {.name = "moe50", .n_used = 11, .level = 2.12, .seed = 1}};

static void test_full_page(void **state) {
    iso_report_options options = {
        .title = "A & B", .command = "isomoe compare 'x y' > z", .machine = "two <cores>"};
    char *page = make_page(*state, good, 5, &options);
    check_page(page);
    says(page, "<h1>A &amp; B</h1>");
    says(page, "isomoe compare &#39;x y&#39; &gt; z");
    says(page, "two &lt;cores&gt;");
    says(page, "MoE is better");
    says(page, "Audit: <span class=\"pass\">strict</span>");
    says(page, "counted otherwise (full, causal, with-head) the sides would not be");
    says(page, "id=\"rate-w\"");
    says(page, "id=\"rate-n\"");
    says(page, "id=\"loss-w\"");
    says(page, "id=\"validation-w\"");
    says(page, "id=\"gain-w\"");
    says(page, "id=\"imbalance-w\"");
    says(page, "id=\"strip-1-w\"");
    says(page, "convention with-head");
    says(page, "isomoe train dense.yaml --out runs/dense-s2 --train.seed=2");
    says(page, "hidden_size: 48");
    says(page, "451\xe2\x80\xaf"
               "872"); /* N, to the last digit */
    free(page);
}

static void test_same_bytes(void **state) {
    char *first = make_page(*state, good, 5, NULL), *second = make_page(*state, good, 5, NULL);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void test_incomplete_sets(void **state) {
    static const made_run only_dense[] = {{.name = "only", .level = 2, .seed = 1}};
    static const made_run only_moe[] = {{.name = "moe", .n_used = 3, .level = 2, .seed = 1}};
    static const made_run failed[] = {{.name = "bad", .state = "failed", .level = 2, .seed = 1}};
    static const made_run bare[] = {
        {.name = "d", .level = 2, .seed = 1, .without_metrics = true, .without_evaluation = true},
        {.name = "m", .n_used = 3, .level = 2, .seed = 1, .without_metrics = true}};
    char *page = make_page(*state, only_dense, 1, NULL);
    check_page(page);
    says(page, "there is no finished MoE run");
    says(page, "There is no router to look at");
    free(page);
    page = make_page(*state, only_moe, 1, NULL);
    check_page(page);
    says(page, "no finished dense run");
    free(page);
    page = make_page(*state, failed, 1, NULL);
    check_page(page);
    says(page, "Left out of the comparison");
    says(page, "bad: failed at step 133 of 400.");
    free(page);
    page = make_page(*state, bare, 2, NULL);
    check_page(page);
    says(page, "the runs hold no step rows");
    says(page, "the runs were evaluated only at their end");
    free(page);
}

/* Runs that are not equal get no gain, no interval, no curve of the gap. */
static void test_not_equal(void **state) {
    const made_run runs[] = {
        good[0], good[1], {.name = "big", .n_used = 3, .n_extra = 2, .level = 2, .seed = 1}};
    char *page = make_page(*state, runs, 3, NULL);
    check_page(page);
    says(page, "No comparison: the runs are not equal.");
    says(page, "Audit: <span class=\"fail\">not equal</span>");
    says(page, "<td class=\"fail\">\xe2\x9c\x97 +3.569 %</td>");
    says_not(page, "id=\"gain-w\"");
    says_not(page, "id=\"domain-gaps-c\"");
    free(page);
}

/* Names are data: they neither break the page nor the command line that it shows. */
static void test_hostile_names(void **state) {
    const made_run runs[] = {
        good[0],
        {.name = "m\"><script>alert(1)<",
         .n_used = 3,
         .level = 2.1,
         .seed = 1,
         .domains = {"<b>bold</b> & 'quoted'", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", "holdout"}},
        {.name = "it's; rm -rf", .n_used = 5, .level = 2.1, .seed = 1}};
    char *page = make_page(*state, runs, 3, NULL);
    check_page(page);
    says(page, "&lt;b&gt;bold&lt;/b&gt; &amp; &#39;quoted&#39;");
    says(page, "--out &#39;runs/it&#39;\\&#39;&#39;s; rm -rf&#39;");
    free(page);
}

static void test_many_seeds(void **state) {
    made_run runs[20];
    char names[20][16];
    for (int i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "%s-s%d", i % 2 ? "moe" : "dense", i / 2);
        runs[i] = (made_run){.name = names[i],
                             .n_used = i % 2 ? 3 : 0,
                             .level = 2.1,
                             .seed = i / 2,
                             .n_steps = 40,
                             .n_documents = 8};
    }
    char *page = make_page(*state, runs, 20, NULL);
    check_page(page);
    says(page, "from 20 seeds of 2 configurations");
    free(page);
}

static void test_errors(void **state) {
    char *run = make_run(*state, &good[0]), *path = iso_strf("%s/report.html", (char *)*state);
    const char *missing[] = {run, "/nonexistent/run"}, *present[] = {run};
    assert_int_not_equal(iso_report_write(path, missing, 2, NULL), ISO_OK);
    assert_non_null(strstr(iso_error_message(), "/nonexistent/run"));
    assert_false(iso_path_exists(path));
    assert_int_not_equal(iso_report_write("/nonexistent/report.html", present, 1, NULL), ISO_OK);
    free(run);
    free(path);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_full_page), WITH_DIR(test_same_bytes),    WITH_DIR(test_incomplete_sets),
        WITH_DIR(test_not_equal), WITH_DIR(test_hostile_names), WITH_DIR(test_many_seeds),
        WITH_DIR(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
