/* Tests of runs/run_folder.h: what is written is read back bit for bit, resumes drop the right rows
 * (I2), one process writes (I1), and damaged files are refused with their line. */
#include "runs/run_folder.h"

#include "base/fileio.h"
#include "base/log.h"
#include "base/str.h"
#include "runs/route_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- helpers --- */

static int n_warnings;
static void count_warnings(iso_log_level level, const char *line) {
    n_warnings += level == ISO_LOG_WARN;
}

static int make_dir(void **dir) {
    char template[] = "/tmp/isomoe_runs_XXXXXX";
    assert_non_null(mkdtemp(template));
    *dir = iso_strf("%s/run", template);
    n_warnings = 0;
    iso_log_set(count_warnings, ISO_LOG_WARN);
    return 0;
}

static int remove_dir(void **dir) {
    char *slash = strrchr(*dir, '/');
    *slash = '\0';
    assert_int_equal(iso_dir_remove(*dir), ISO_OK);
    free(*dir);
    return 0;
}

static iso_step_row step_row(int64_t step) {
    double x = (double)step;
    return (iso_step_row){.step = step,
                          .tokens = 256 * step,
                          .epoch = step / 3,
                          .loss = 5.5 / x,
                          .grad_norm = 0.1 * x,
                          .lr = 1e-3 / 3,
                          .step_ms = 12.25,
                          .tokens_per_s = 1e5 / 7,
                          .mfu = 0.4,
                          .is_moe = step % 2 == 0,
                          .aux_loss = step % 2 == 0 ? 1.01 : 0,
                          .load_imbalance = step % 2 == 0 ? 1.5 : 0,
                          .router_entropy = step % 2 == 0 ? 0.97 : 0,
                          .dead_experts = step % 2 == 0 ? 3 : 0};
}

static void write_scores(const iso_sink *sink, int64_t step) {
    const iso_score scores[] = {{"code", 1.0 / (double)step, 2.5, 2.25}, {"general", 3, 4, 5}};
    const double load[] = {0.25, 0.75};
    const iso_router_layer layer = {.layer = 1, .entropy = 0.8, .n_experts = 2, .load = load};
    iso_eval_row eval = {.step = step, .is_final = step == 9, .n_scores = 2, .scores = scores};
    iso_router_row router = {.step = step, .n_layers = 1, .layers = &layer};
    assert_int_equal(sink->on_eval(sink->ctx, &eval), ISO_OK);
    assert_int_equal(sink->on_router(sink->ctx, &router), ISO_OK);
}

/* Steps first..last, with an evaluation and a router row at every third; step 9 is the last of all.
 */
static void write_steps(const iso_sink *sink, int64_t first, int64_t last) {
    for (int64_t step = first; step <= last; step++) {
        iso_step_row row = step_row(step);
        assert_int_equal(sink->on_step(sink->ctx, &row), ISO_OK);
        if (step % 3 == 0) write_scores(sink, step);
    }
}

static void write_evaluation(const iso_sink *sink, int64_t step) {
    const int64_t document[] = {0, 0, 4}, bytes[] = {10, 20, 30}, chars[] = {9, 20, 28};
    const double nats[] = {0.1, 1.0 / 3, 7};
    const iso_window_scores scores = {"code", 3, document, nats, bytes, chars};
    iso_evaluation evaluation = {step, "abc123", 1, &scores};
    assert_int_equal(sink->on_evaluation(sink->ctx, &evaluation), ISO_OK);
}

static void write_summary(const iso_sink *sink, const char *name) {
    json_t *summary = json_pack("{s:i, s:s}", "format", 1, "name", name);
    assert_int_equal(sink->on_summary(sink->ctx, summary), ISO_OK);
    json_decref(summary);
}

static char *path_of(const char *dir, const char *name) {
    return iso_strf("%s/%s", dir, name);
}

/* Steps 1..last in one go, of a run that nobody knows. */
static void write_run(const char *dir, int64_t last) {
    iso_run_writer *writer;
    int64_t n_replayed;
    char *metrics = path_of(dir, "metrics.jsonl");
    remove(metrics);
    free(metrics);
    assert_int_equal(iso_run_writer_open(&writer, dir), ISO_OK);
    iso_config config = iso_config_default(), kept;
    config.train.seed = 77;
    iso_run_writer_config(writer, &config);
    iso_sink sink = iso_run_writer_sink(writer);
    assert_int_equal(sink.on_begin(sink.ctx, 0, &n_replayed), ISO_OK);
    assert_int_equal(n_replayed, 0);
    char *path = path_of(dir, "config.yaml"); /* there from the first moment on */
    assert_int_equal(iso_config_load(&kept, path, NULL, 0), ISO_OK);
    assert_int_equal(kept.train.seed, 77);
    free(path);
    write_summary(&sink, "one");
    write_steps(&sink, 1, last);
    assert_int_equal(sink.on_checkpoint(sink.ctx, last), ISO_OK);
    iso_run_writer_close(writer);
}

static void append_text(const char *dir, const char *name, const char *text) {
    char *path = path_of(dir, name);
    FILE *stream = fopen(path, "a");
    assert_non_null(stream);
    assert_true(fputs(text, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
    free(path);
}

static void assert_steps_are(const iso_run *run, int64_t last) {
    assert_int_equal(run->n_steps, last);
    for (int64_t i = 0; i < last; i++) {
        iso_step_row expected = step_row(i + 1);
        const iso_step_row *row = &run->steps[i];
        assert_int_equal(row->step, expected.step);
        assert_int_equal(row->tokens, expected.tokens);
        assert_int_equal(row->epoch, expected.epoch);
        assert_true(row->loss == expected.loss);
        assert_true(row->grad_norm == expected.grad_norm);
        assert_true(row->lr == expected.lr);
        assert_true(row->step_ms == expected.step_ms);
        assert_true(row->tokens_per_s == expected.tokens_per_s);
        assert_true(row->mfu == expected.mfu);
        assert_int_equal(row->is_moe, expected.is_moe);
        assert_true(row->aux_loss == expected.aux_loss);
        assert_true(row->load_imbalance == expected.load_imbalance);
        assert_true(row->router_entropy == expected.router_entropy);
        assert_int_equal(row->dead_experts, expected.dead_experts);
    }
}

/* --- writing and reading --- */

static void test_round_trip(void **dir) {
    iso_run_writer *writer;
    iso_run run;
    write_run(*dir, 9);
    assert_int_equal(iso_run_writer_open(&writer, *dir), ISO_OK);
    iso_sink sink = iso_run_writer_sink(writer);
    write_evaluation(&sink, 9);
    iso_run_writer_close(writer);

    assert_int_equal(iso_run_open(&run, *dir), ISO_OK);
    assert_string_equal(run.name, "one");
    assert_steps_are(&run, 9);
    assert_int_equal(run.n_evals, 3);
    assert_int_equal(run.evals[1].step, 6);
    assert_false(run.evals[1].is_final);
    assert_true(run.evals[2].is_final);
    assert_int_equal(run.evals[1].n_scores, 2);
    assert_string_equal(run.evals[1].scores[0].domain, "code");
    assert_true(run.evals[1].scores[0].loss == 1.0 / 6);
    assert_true(run.evals[1].scores[1].bpc == 5);
    assert_int_equal(run.n_routers, 3);
    assert_int_equal(run.routers[2].step, 9);
    assert_int_equal(run.routers[2].layers[0].n_experts, 2);
    assert_true(run.routers[2].layers[0].load[1] == 0.75);
    assert_non_null(run.evaluation);
    assert_int_equal(run.evaluation->step, 9);
    assert_string_equal(run.evaluation->sample_hash, "abc123");
    const iso_window_scores *scores = &run.evaluation->domains[0];
    assert_string_equal(scores->domain, "code");
    assert_int_equal(scores->n_windows, 3);
    assert_int_equal(scores->document[2], 4);
    assert_true(scores->nats[1] == 1.0 / 3);
    assert_int_equal(scores->n_bytes[1], 20);
    assert_int_equal(scores->n_chars[0], 9);
    iso_run_close(&run);
}

static void test_name_from_folder(void **dir) {
    iso_run run;
    char *with_slash = iso_strf("%s/", (char *)*dir);
    assert_int_equal(iso_dir_create(*dir), ISO_OK);
    append_text(*dir, "summary.json", "{}");
    assert_int_equal(iso_run_open(&run, with_slash), ISO_OK);
    assert_string_equal(run.name, "run");
    assert_int_equal(run.n_steps, 0);
    assert_null(run.evaluation);
    iso_run_close(&run);
    free(with_slash);
}

static void test_lock_keeps_a_second_out(void **dir) {
    iso_run_writer *writer, *second;
    assert_int_equal(iso_run_writer_open(&writer, *dir), ISO_OK);
    pid_t pid = fork();
    if (pid == 0) _exit(iso_run_writer_open(&second, *dir) == ISO_ERR_LOCKED ? 0 : 1);
    int wait_status;
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    assert_int_equal(WEXITSTATUS(wait_status), 0);
    iso_run_writer_close(writer);
    assert_int_equal(iso_run_writer_open(&writer, *dir), ISO_OK); /* free again */
    iso_run_writer_close(writer);
}

static void test_nonfinite_is_refused(void **dir) {
    iso_run_writer *writer;
    int64_t n_replayed = 0;
    assert_int_equal(iso_run_writer_open(&writer, *dir), ISO_OK);
    iso_sink sink = iso_run_writer_sink(writer);
    assert_int_equal(sink.on_begin(sink.ctx, 0, &n_replayed), ISO_OK);
    iso_step_row row = step_row(1);
    row.loss = NAN;
    assert_int_equal(sink.on_step(sink.ctx, &row), ISO_ERR_NONFINITE);
    const iso_score score = {"code", 1, INFINITY, 1};
    iso_eval_row eval = {.step = 1, .n_scores = 1, .scores = &score};
    assert_int_equal(sink.on_eval(sink.ctx, &eval), ISO_ERR_NONFINITE);
    const double load[] = {NAN, 1};
    const iso_router_layer layer = {.layer = 0, .entropy = 1, .n_experts = 2, .load = load};
    iso_router_row router = {.step = 1, .n_layers = 1, .layers = &layer};
    assert_int_equal(sink.on_router(sink.ctx, &router), ISO_ERR_NONFINITE);
    const int64_t one = 1;
    const double nats = NAN;
    const iso_window_scores scores = {"code", 1, &one, &nats, &one, &one};
    iso_evaluation evaluation = {1, "x", 1, &scores};
    assert_int_equal(sink.on_evaluation(sink.ctx, &evaluation), ISO_ERR_NONFINITE);
    iso_run_writer_close(writer);
}

/* --- resuming (I2) --- */

/* Resumes at `step`, goes on to 9; the result must be as if nothing had happened. */
static void resume_at(const char *dir, int64_t step, int64_t expected_replayed) {
    iso_run_writer *writer;
    iso_run run;
    int64_t n_replayed = 100;
    assert_int_equal(iso_run_writer_open(&writer, dir), ISO_OK);
    iso_sink sink = iso_run_writer_sink(writer);
    assert_int_equal(sink.on_begin(sink.ctx, step, &n_replayed), ISO_OK);
    assert_int_equal(n_replayed, expected_replayed);
    write_steps(&sink, step + 1, 9);
    if (step == 9) write_scores(&sink, 9); /* a final evaluation always comes again */
    iso_run_writer_close(writer);
    assert_int_equal(iso_run_open(&run, dir), ISO_OK);
    assert_steps_are(&run, 9);
    assert_int_equal(run.n_evals, 3);
    assert_int_equal(run.n_routers, 3);
    iso_run_close(&run);
}

static void test_resume_drops_later_rows(void **dir) {
    write_run(*dir, 7);
    resume_at(*dir, 5, 2);
    resume_at(*dir, 9, 2);
    resume_at(*dir, 3, 8);
    assert_int_equal(n_warnings, 0);
    resume_at(*dir, 0, 17);
    assert_int_equal(n_warnings, 0);
}

/* Killed again before it has passed the checkpoint: what was lost the first time still counts. */
static void test_replays_add_up(void **dir) {
    iso_run_writer *writer;
    int64_t n_replayed;
    write_run(*dir, 7);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(iso_run_writer_open(&writer, *dir), ISO_OK);
        iso_sink sink = iso_run_writer_sink(writer);
        assert_int_equal(sink.on_begin(sink.ctx, 5, &n_replayed), ISO_OK);
        assert_int_equal(n_replayed, 2 * i);
        write_steps(&sink, 6, 7);
        iso_run_writer_close(writer);
    }
    resume_at(*dir, 0, 13);
}

static void test_torn_line(void **dir) {
    iso_run run;
    write_run(*dir, 4);
    append_text(*dir, "metrics.jsonl", "{\"step\":5,\"tokens\":1280,\"lo");
    assert_int_equal(iso_run_open(&run, *dir), ISO_OK);
    assert_steps_are(&run, 4);
    iso_run_close(&run);
    resume_at(*dir, 4, 0);
    assert_int_equal(n_warnings, 0);
}

static void test_lost_and_damaged_rows_warn(void **dir) {
    iso_run_writer *writer;
    int64_t n_replayed = 0;
    write_run(*dir, 4);
    append_text(*dir, "metrics.jsonl", "rubbish\n{\"step\":5}\n");
    assert_int_equal(iso_run_writer_open(&writer, *dir), ISO_OK);
    iso_sink sink = iso_run_writer_sink(writer);
    assert_int_equal(sink.on_begin(sink.ctx, 5, &n_replayed), ISO_OK);
    assert_int_equal(n_warnings, 3); /* two bad lines, and step 5 is lost */
    iso_run_writer_close(writer);
}

static void test_resume_removes_a_void_evaluation(void **dir) {
    iso_run_writer *writer;
    int64_t n_replayed = 0;
    char *path = path_of(*dir, "evaluation.json");
    write_run(*dir, 4);
    assert_int_equal(iso_run_writer_open(&writer, *dir), ISO_OK);
    iso_sink sink = iso_run_writer_sink(writer);
    write_evaluation(&sink, 4);
    assert_int_equal(sink.on_begin(sink.ctx, 4, &n_replayed), ISO_OK);
    assert_true(iso_path_exists(path));
    assert_int_equal(sink.on_begin(sink.ctx, 3, &n_replayed), ISO_OK);
    assert_false(iso_path_exists(path));
    iso_run_writer_close(writer);
    free(path);
}

static void save_routing(iso_sink *sink, int64_t step) {
    iso_route_counts counts, sizes = {.n_layers = 1, .E = 2, .K = 1};
    assert_int_equal(iso_route_counts_create(&counts, &sizes), ISO_OK);
    assert_int_equal(sink->on_routes(sink->ctx, step, "abc", &counts), ISO_OK);
    iso_route_counts_free(&counts);
}

static void test_resume_removes_void_routing(void **dir) {
    iso_run_writer *writer;
    iso_route_file routing;
    int64_t n_replayed = 0;
    bool found;
    write_run(*dir, 4);
    assert_int_equal(iso_run_writer_open(&writer, *dir), ISO_OK);
    iso_sink sink = iso_run_writer_sink(writer);
    save_routing(&sink, 4);
    assert_int_equal(sink.on_begin(sink.ctx, 4, &n_replayed), ISO_OK);
    assert_int_equal(iso_run_routing(&routing, &found, *dir), ISO_OK);
    assert_true(found);
    assert_int_equal(routing.step, 4);
    iso_route_file_release(&routing);
    assert_int_equal(sink.on_begin(sink.ctx, 3, &n_replayed), ISO_OK);
    assert_int_equal(iso_run_routing(&routing, &found, *dir), ISO_OK);
    assert_false(found);
    append_text(*dir, ISO_RUN_ROUTING, "rubbish");
    assert_int_equal(sink.on_begin(sink.ctx, 4, &n_replayed), ISO_OK);
    assert_int_equal(iso_run_routing(&routing, &found, *dir), ISO_OK);
    assert_false(found);
    iso_run_writer_close(writer);
}

/* --- damage --- */

static void test_bad_metrics(void **dir) {
    static const char *const lines[] = {
        "\n",
        "null\n",
        "[]\n",
        "{}\n",
        "{\"step\":5}\n",
        "{\"step\":\"5\",\"loss\":1}\n",
        "{\"step\":-1,\"loss\":1}\n",
        "{\"step\":5,\"loss\":1}\n",
        "{\"step\":5,\"loss\":1,\"loss\":2}\n",
        "{\"step\":5,\"tokens\":1,\"epoch\":0,\"loss\":\"1\",\"grad_norm\":1,\"lr\":1,\"step_ms\":"
        "1,"
        "\"tokens_per_s\":1,\"mfu\":1}\n",
        /* an MoE row without all of its members */
        "{\"step\":5,\"tokens\":1,\"epoch\":0,\"loss\":1,\"aux_loss\":1,\"grad_norm\":1,\"lr\":1,"
        "\"step_ms\":1,\"tokens_per_s\":1,\"mfu\":1}\n",
        /* a step twice */
        "{\"step\":4,\"tokens\":1,\"epoch\":0,\"loss\":1,\"grad_norm\":1,\"lr\":1,\"step_ms\":1,"
        "\"tokens_per_s\":1,\"mfu\":1}\n",
        "{\"step\":5,\"val\":[]}\n",
        "{\"step\":5,\"val\":{\"code\":1}}\n",
        "{\"step\":5,\"val\":{\"code\":{\"loss\":1,\"bpb\":1}}}\n",
        "{\"step\":5,\"router\":{}}\n",
        "{\"step\":5,\"router\":[1]}\n",
        "{\"step\":5,\"router\":[{\"layer\":0,\"entropy\":1,\"load\":[\"x\"]}]}\n",
        "{\"step\":5,\"loss\":NaN}\n",
        "{\"step\":5,\"replayed_steps\":-1}\n",
        "{\"step\":5,\"replayed_steps\":1.5}\n",
        "{\"step\":99999999999999999999,\"loss\":1}\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        iso_run run;
        write_run(*dir, 4);
        append_text(*dir, "metrics.jsonl", lines[i]);
        iso_status status = iso_run_open(&run, *dir);
        if (status != ISO_ERR_DATA) fail_msg("line %zu: status %d", i, status);
        assert_non_null(strstr(iso_error_message(), "metrics.jsonl: line 7"));
    }
}

static void test_bad_evaluations(void **dir) {
    static const char *const texts[] = {
        "[]",
        "{}",
        "{\"format\":1,\"step\":1,\"sample_hash\":\"x\"}",
        "{\"format\":1,\"step\":1,\"sample_hash\":\"x\",\"domains\":{\"a\":1}}",
        "{\"format\":1,\"step\":1,\"sample_hash\":\"x\",\"domains\":{\"a\":{\"document\":[0],"
        "\"nats\":[1,2],"
        "\"bytes\":[1],\"chars\":[1]}}}",
        "{\"format\":1,\"step\":1,\"sample_hash\":\"x\",\"domains\":{\"a\":{\"document\":[0],"
        "\"nats\":[-1],"
        "\"bytes\":[1],\"chars\":[1]}}}",
        "{\"format\":1,\"step\":1,\"sample_hash\":\"x\",\"domains\":{\"a\":{\"document\":[0],"
        "\"nats\":[1],"
        "\"bytes\":[1.5],\"chars\":[1]}}}",
        "{\"format\":1,\"step\":1,\"sample_hash\":\"x\",\"domains\":{\"a\":{\"document\":[-1],"
        "\"nats\":[1],"
        "\"bytes\":[1],\"chars\":[1]}}}",
    };
    char *path = path_of(*dir, "evaluation.json");
    write_run(*dir, 4);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        iso_run run;
        assert_int_equal(iso_file_write_atomic(path, texts[i], (int64_t)strlen(texts[i])), ISO_OK);
        iso_status status = iso_run_open(&run, *dir);
        if (status != ISO_ERR_DATA) fail_msg("text %zu: status %d", i, status);
        assert_non_null(strstr(iso_error_message(), "evaluation.json"));
    }
    free(path);
}

static void test_bad_folders(void **dir) {
    iso_run run;
    assert_int_equal(iso_run_open(&run, "/nonexistent"), ISO_ERR_USAGE);
    assert_int_equal(iso_dir_create(*dir), ISO_OK);
    assert_int_equal(iso_run_open(&run, *dir), ISO_ERR_USAGE);
    append_text(*dir, "summary.json", "[]");
    assert_int_equal(iso_run_open(&run, *dir), ISO_ERR_DATA);
    append_text(*dir, "summary.json", "x");
    assert_int_equal(iso_run_open(&run, *dir), ISO_ERR_DATA);
    char *path = path_of(*dir, "summary.json");
    const char *escape = "{\"name\":\"\\u001b[31m\"}";
    assert_int_equal(iso_file_write_atomic(path, escape, (int64_t)strlen(escape)), ISO_OK);
    assert_int_equal(iso_run_open(&run, *dir), ISO_ERR_DATA);
    free(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_name_from_folder),
        TEST(test_lock_keeps_a_second_out),
        TEST(test_nonfinite_is_refused),
        TEST(test_resume_drops_later_rows),
        TEST(test_replays_add_up),
        TEST(test_torn_line),
        TEST(test_lost_and_damaged_rows_warn),
        TEST(test_resume_removes_a_void_evaluation),
        TEST(test_resume_removes_void_routing),
        TEST(test_bad_metrics),
        TEST(test_bad_evaluations),
        TEST(test_bad_folders),
    };
    return cmocka_run_group_tests_name("run_folder", tests, NULL, NULL);
}
