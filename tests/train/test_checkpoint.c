/* Tests of train/checkpoint.h: its invariants under flipped bytes, kills, failing system calls and
 * full disks.
 *
 * fsync, rename and mkdir are defined here and so replace the C library's for the whole program:
 * they count, record, fail or die on demand. That makes "killed in the middle" exhaustive at these
 * points; test_random_kills covers the moments in between.
 */
#include "train/checkpoint.h"

#include "base/log.h"
#include "base/rng.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* --- system calls that fail on demand --- */

typedef enum fault { FAULT_NONE, FAULT_FAIL, FAULT_KILL } fault;

static struct {
    fault kind;
    int at; /* the i-th call from now, from 1 */
    int n_calls;
    iso_str *trace; /* "fsync PATH\n", "rename FROM TO\n"; NULL = don't record */
} injected;

/* Counts a call; true if it is to fail. */
static bool is_hit(void) {
    if (++injected.n_calls != injected.at) return false;
    if (injected.kind == FAULT_KILL) _exit(9);
    errno = EIO;
    return injected.kind == FAULT_FAIL;
}

int fsync(int fd) {
    if (injected.trace) {
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path - 1);
        path[n < 0 ? 0 : n] = '\0';
        iso_str_appendf(injected.trace, "fsync %s\n", path);
    }
    return is_hit() ? -1 : (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to) {
    if (injected.trace) iso_str_appendf(injected.trace, "rename %s %s\n", from, to);
    return is_hit() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdir(const char *path, mode_t mode) {
    return is_hit() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

/* --- a tiny state whose every value follows from its step --- */

typedef struct state {
    float weight[6], bias[4], exp_avg[6], exp_avg_sq[6];
    uint8_t blob[5];
    iso_safetensor model[2], optimizer[2];
    json_t *profile;
    iso_checkpoint checkpoint;
} state;

static void state_init(state *s) {
    *s = (state){0};
    s->model[0] = (iso_safetensor){"model.w", ISO_F32, 2, {2, 3}, s->weight};
    s->model[1] = (iso_safetensor){"model.b", ISO_F32, 1, {4}, s->bias};
    s->optimizer[0] = (iso_safetensor){"exp_avg.model.w", ISO_F32, 2, {2, 3}, s->exp_avg};
    s->optimizer[1] = (iso_safetensor){"exp_avg_sq.model.w", ISO_F32, 2, {2, 3}, s->exp_avg_sq};
    s->profile = json_pack("{s:s}", "precision", "fp32");
    s->checkpoint = (iso_checkpoint){
        .identity = {"c0nf1g", "da7a", "70ken", s->profile},
        .model = s->model,
        .n_model = 2,
        .optimizer = s->optimizer,
        .n_optimizer = 2,
        .blob = s->blob,
        .n_blob_bytes = sizeof s->blob,
    };
}

static void state_release(state *s) {
    json_decref(s->profile);
    json_decref(s->checkpoint.loop);
}

static void state_set(state *s, int64_t step) {
    float x = (float)step + 0.5f;
    for (int i = 0; i < 6; i++) {
        s->weight[i] = x + (float)i;
        s->exp_avg[i] = -x * (float)i;
        s->exp_avg_sq[i] = x / 3;
    }
    for (int i = 0; i < 4; i++) s->bias[i] = x * 7;
    memset(s->blob, (int)step & 255, sizeof s->blob);
    json_decref(s->checkpoint.loop);
    s->checkpoint.loop = json_pack("{s:I, s:f}", "step", (json_int_t)step, "clip", 0.1);
    s->checkpoint.step = step;
}

static void assert_state_is(const state *s, int64_t step) {
    state expected;
    state_init(&expected);
    state_set(&expected, step);
    assert_int_equal(s->checkpoint.step, step);
    assert_memory_equal(s->weight, expected.weight, sizeof s->weight);
    assert_memory_equal(s->bias, expected.bias, sizeof s->bias);
    assert_memory_equal(s->exp_avg, expected.exp_avg, sizeof s->exp_avg);
    assert_memory_equal(s->exp_avg_sq, expected.exp_avg_sq, sizeof s->exp_avg_sq);
    assert_memory_equal(s->blob, expected.blob, sizeof s->blob);
    assert_true(json_equal(s->checkpoint.loop, expected.checkpoint.loop));
    state_release(&expected);
}

static iso_status save_step(const char *run, int64_t step, int64_t keep_last) {
    state s;
    state_init(&s);
    state_set(&s, step);
    iso_status status = iso_checkpoint_save(run, &s.checkpoint, keep_last);
    state_release(&s);
    return status;
}

/* Resumes; -1 if there is nothing to resume from. */
static int64_t resumed_step(const char *run) {
    state s;
    state_init(&s);
    bool found;
    iso_status status = iso_checkpoint_resume(&found, run, &s.checkpoint);
    if (status != ISO_OK) fail_msg("resume: %s", iso_error_message());
    int64_t step = -1;
    if (found) {
        step = s.checkpoint.step;
        assert_state_is(&s, step);
    }
    state_release(&s);
    return step;
}

static bool step_exists(const char *run, int64_t step) {
    char *dir = iso_strf("%s/checkpoints/step_%lld", run, (long long)step);
    bool exists = iso_path_exists(dir);
    free(dir);
    return exists;
}

static const char *const file_names[] = {"model.safetensors", "optimizer.safetensors",
                                         "loop.json",         "loop.bin",
                                         "manifest.json",     "manifest.sha256"};
#define N_FILES ((int)(sizeof file_names / sizeof *file_names))

static char *file_path(const char *run, int64_t step, const char *name) {
    return iso_strf("%s/checkpoints/step_%lld/%s", run, (long long)step, name);
}

/* Overwrites without any care, as a fault would. */
static void write_raw(const char *path, const char *bytes, int64_t n_bytes) {
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    if (n_bytes > 0) assert_int_equal(fwrite(bytes, (size_t)n_bytes, 1, stream), 1);
    assert_int_equal(fclose(stream), 0);
}

/* The named checkpoint must fail to load and leave everything as it was. */
static void assert_load_fails(const char *run, int64_t step, const char *what, int64_t where) {
    state s;
    state_init(&s);
    char *dir = iso_strf("%s/checkpoints/step_%lld", run, (long long)step);
    iso_status status = iso_checkpoint_load(dir, &s.checkpoint);
    if (status == ISO_OK) fail_msg("%s, byte %lld: loaded", what, (long long)where);
    assert_true(strlen(iso_error_message()) > 10);
    for (int i = 0; i < 6; i++) assert_true(s.weight[i] == 0 && s.exp_avg[i] == 0);
    assert_null(s.checkpoint.loop);
    assert_int_not_equal(iso_checkpoint_load_model(dir, s.model, 2), ISO_OK);
    free(dir);
    state_release(&s);
}

static int n_warnings;
static char last_warning[1024];
static void catch_log(iso_log_level level, const char *line) {
    if (level != ISO_LOG_WARN) return;
    n_warnings++;
    snprintf(last_warning, sizeof last_warning, "%s", line);
}

static int make_run(void **run) {
    /* In memory where there is such a place: thousands of fsyncs, whose effect no test here can
     * see. */
    const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    *run = iso_strf("%s/isomoe_checkpoint_XXXXXX", where);
    assert_non_null(mkdtemp(*run));
    n_warnings = 0;
    last_warning[0] = '\0';
    iso_log_set(catch_log, ISO_LOG_WARN);
    injected.kind = FAULT_NONE;
    injected.trace = NULL;
    return 0;
}

static int remove_run(void **run) {
    assert_int_equal(iso_dir_remove(*run), ISO_OK);
    free(*run);
    return 0;
}

/* --- the plain path --- */

static void test_round_trip(void **run) {
    state s;
    assert_int_equal(resumed_step(*run), -1);
    assert_int_equal(save_step(*run, 3, 2), ISO_OK);
    assert_int_equal(resumed_step(*run), 3);
    assert_int_equal(n_warnings, 0);

    state_init(&s);
    char *dir = NULL;
    assert_int_equal(iso_checkpoint_find(&dir, *run), ISO_OK);
    assert_int_equal(iso_checkpoint_load_model(dir, s.model, 2), ISO_OK);
    assert_true(s.weight[5] == 8.5f);
    assert_true(s.exp_avg[1] == 0);
    char *again = NULL;
    assert_int_equal(iso_checkpoint_find(&again, dir), ISO_OK);
    assert_string_equal(again, dir);
    free(again);
    free(dir);
    state_release(&s);
    assert_int_equal(iso_checkpoint_find(&dir, "/tmp"), ISO_ERR_USAGE);
    assert_int_equal(iso_checkpoint_find(&dir, "/nonexistent"), ISO_ERR_USAGE);
}

static void test_without_blob(void **run) {
    state s;
    state_init(&s);
    state_set(&s, 1);
    s.checkpoint.n_blob_bytes = 0;
    assert_int_equal(iso_checkpoint_save(*run, &s.checkpoint, 1), ISO_OK);
    char *dir = iso_strf("%s/checkpoints/step_1", (char *)*run);
    json_decref(s.checkpoint.loop);
    assert_int_equal(iso_checkpoint_load(dir, &s.checkpoint), ISO_OK);
    json_decref(s.checkpoint.loop);
    s.checkpoint.loop = NULL;
    s.checkpoint.n_blob_bytes = 5;
    assert_int_equal(iso_checkpoint_load(dir, &s.checkpoint), ISO_ERR_DATA);
    free(dir);
    state_release(&s);
}

static void test_keep_last(void **run) {
    for (int64_t step = 1; step <= 5; step++) assert_int_equal(save_step(*run, step, 2), ISO_OK);
    for (int64_t step = 1; step <= 5; step++) assert_int_equal(step_exists(*run, step), step >= 4);
    assert_int_equal(save_step(*run, 6, 0), ISO_OK);
    assert_true(step_exists(*run, 4));
    assert_int_equal(save_step(*run, 20, 1), ISO_OK); /* by number, not by name: 20 > 4 */
    assert_false(step_exists(*run, 6));
    assert_true(step_exists(*run, 20));
    assert_int_equal(resumed_step(*run), 20);
}

static void test_discard_after(void **run) {
    for (int64_t step = 8; step <= 11; step++) assert_int_equal(save_step(*run, step, 0), ISO_OK);
    assert_int_equal(iso_checkpoint_discard_after(*run, 9), ISO_OK);
    assert_true(step_exists(*run, 9));
    assert_false(step_exists(*run, 10));
    assert_false(step_exists(*run, 11));
    assert_int_equal(n_warnings, 2);
}

static void test_nonfinite_is_not_saved(void **run) {
    state s;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    assert_int_equal(save_step(*run, 1, 1), ISO_OK);
    for (int i = 0; i < 6; i++) {
        state_init(&s);
        state_set(&s, 2);
        *(i < 3 ? &s.bias[3] : &s.exp_avg_sq[0]) = bad[i % 3];
        assert_int_equal(iso_checkpoint_save(*run, &s.checkpoint, 1), ISO_ERR_NONFINITE);
        assert_non_null(strstr(iso_error_message(), i < 3 ? "model.b" : "exp_avg_sq.model.w"));
        state_release(&s);
    }
    assert_int_equal(resumed_step(*run), 1);
}

/* --- damage (I2) --- */

static void test_every_flipped_byte(void **run) {
    assert_int_equal(save_step(*run, 1, 1), ISO_OK);
    for (int i = 0; i < N_FILES; i++) {
        char *path = file_path(*run, 1, file_names[i]), *bytes;
        int64_t n_bytes;
        assert_int_equal(iso_file_read(&bytes, &n_bytes, path, 1 << 20), ISO_OK);
        assert_true(n_bytes > 0);
        int fd = open(path, O_WRONLY);
        for (int64_t j = 0; j < n_bytes; j++) {
            char flipped = (char)(bytes[j] ^ 1 << j % 8);
            assert_int_equal(pwrite(fd, &flipped, 1, j), 1);
            assert_load_fails(*run, 1, file_names[i], j);
            assert_int_equal(pwrite(fd, &bytes[j], 1, j), 1);
        }
        close(fd);
        free(bytes);
        free(path);
    }
    assert_int_equal(resumed_step(*run), 1);
}

static void test_cut_and_lengthened_files(void **run) {
    assert_int_equal(save_step(*run, 1, 1), ISO_OK);
    for (int i = 0; i < N_FILES; i++) {
        char *path = file_path(*run, 1, file_names[i]), *bytes;
        int64_t n_bytes;
        assert_int_equal(iso_file_read(&bytes, &n_bytes, path, 1 << 20), ISO_OK);
        for (int64_t n = 0; n < n_bytes; n++) {
            write_raw(path, bytes, n);
            assert_load_fails(*run, 1, file_names[i], n);
        }
        char *longer = calloc((size_t)n_bytes + 1, 1);
        memcpy(longer, bytes, (size_t)n_bytes);
        write_raw(path, longer, n_bytes + 1);
        assert_load_fails(*run, 1, file_names[i], n_bytes);
        free(longer);
        write_raw(path, bytes, n_bytes);
        free(bytes);
        free(path);
    }
    assert_int_equal(resumed_step(*run), 1);
}

static void test_missing_and_extra_files(void **run) {
    assert_int_equal(save_step(*run, 1, 1), ISO_OK);
    for (int i = 0; i < N_FILES; i++) {
        char *path = file_path(*run, 1, file_names[i]);
        char *away = iso_strf("%s/away", (char *)*run);
        assert_int_equal(rename(path, away), 0);
        assert_load_fails(*run, 1, file_names[i], -1);
        assert_int_equal(rename(away, path), 0);
        free(away);
        free(path);
    }
    char *extra = file_path(*run, 1, "notes.txt");
    write_raw(extra, "x", 1);
    assert_load_fails(*run, 1, "extra file", 0);
    assert_int_equal(unlink(extra), 0);
    assert_int_equal(mkdir(extra, 0777), 0);
    assert_load_fails(*run, 1, "extra folder", 0);
    assert_int_equal(rmdir(extra), 0);
    free(extra);
    assert_int_equal(resumed_step(*run), 1);
}

/* A manifest that was forged together with its seal still cannot name foreign files or leave out
 * mandatory ones. */
static void test_forged_manifests(void **run) {
    static const char *const manifests[] = {
        "{}",
        "[]",
        "{\"format\":1,\"files\":[]}",
        "{\"format\":1,\"files\":{}}",
        "{\"format\":2,\"files\":{}}",
        "{\"format\":1,\"step\":1,\"files\":{\"../../../etc/"
        "passwd\":{\"bytes\":1,\"sha256\":\"\"}}}",
        "{\"format\":1,\"step\":1,\"files\":{\"model.safetensors\":{\"bytes\":-1,\"sha256\":\"\"},"
        "\"optimizer.safetensors\":{},\"loop.json\":{},\"loop.bin\":3}}",
    };
    assert_int_equal(save_step(*run, 1, 1), ISO_OK);
    for (size_t i = 0; i < sizeof manifests / sizeof *manifests; i++) {
        char hex[ISO_SHA256_HEX_BYTES];
        char *path = file_path(*run, 1, "manifest.json");
        char *seal_path = file_path(*run, 1, "manifest.sha256");
        iso_sha256_bytes(hex, manifests[i], (int64_t)strlen(manifests[i]));
        char *seal = iso_strf("%s  manifest.json\n", hex);
        write_raw(path, manifests[i], (int64_t)strlen(manifests[i]));
        write_raw(seal_path, seal, (int64_t)strlen(seal));
        assert_load_fails(*run, 1, manifests[i], (int64_t)i);
        assert_null(strstr(iso_error_message(), "SHA-256")); /* the seal is good: it got further */
        free(seal);
        free(seal_path);
        free(path);
    }
}

/* --- falling back --- */

static void test_falls_back_loudly(void **run) {
    for (int64_t step = 1; step <= 3; step++) assert_int_equal(save_step(*run, step, 0), ISO_OK);
    char *path = file_path(*run, 3, "optimizer.safetensors");
    write_raw(path, "rubbish", 7);
    assert_int_equal(resumed_step(*run), 2);
    assert_int_equal(n_warnings, 1);
    assert_non_null(strstr(last_warning, "step_3/optimizer.safetensors"));
    assert_load_fails(*run, 3, "a bad one by name", 0);

    char *dir = NULL;
    assert_int_equal(iso_checkpoint_find(&dir, *run), ISO_OK);
    assert_non_null(strstr(dir, "step_2"));
    free(dir);
    free(path);

    /* going on from 2 replaces the bad 3, and removes 1 and 2 only then */
    assert_int_equal(save_step(*run, 3, 1), ISO_OK);
    assert_int_equal(resumed_step(*run), 3);
    assert_false(step_exists(*run, 2));
}

static void test_all_bad_is_an_error(void **run) {
    for (int64_t step = 1; step <= 2; step++) {
        assert_int_equal(save_step(*run, step, 0), ISO_OK);
        char *path = file_path(*run, step, "loop.json");
        write_raw(path, "{}", 2);
        free(path);
    }
    state s;
    state_init(&s);
    bool found = true;
    assert_int_equal(iso_checkpoint_resume(&found, *run, &s.checkpoint), ISO_ERR_DATA);
    assert_false(found);
    assert_int_equal(n_warnings, 2);
    assert_non_null(strstr(iso_error_message(), "none of the 2 checkpoints"));
    state_release(&s);
}

static void test_renamed_folder_is_passed_over(void **run) {
    assert_int_equal(save_step(*run, 1, 0), ISO_OK);
    assert_int_equal(save_step(*run, 2, 0), ISO_OK);
    char *from = iso_strf("%s/checkpoints/step_2", (char *)*run);
    char *to = iso_strf("%s/checkpoints/step_9", (char *)*run);
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(resumed_step(*run), 1);
    free(to);
    free(from);
}

static void test_odd_names_are_ignored(void **run) {
    static const char *const names[] = {"step_", "step_07", "step_-1", "step_1x", "step_9 ", "old"};
    assert_int_equal(save_step(*run, 1, 0), ISO_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *dir = iso_strf("%s/checkpoints/%s", (char *)*run, names[i]);
        assert_int_equal(mkdir(dir, 0777), 0);
        free(dir);
    }
    assert_int_equal(resumed_step(*run), 1);
    assert_int_equal(n_warnings, 0);
}

static void test_stale_folders_are_removed(void **run) {
    char *stale = iso_strf("%s/checkpoints/step_7.tmp", (char *)*run);
    assert_int_equal(save_step(*run, 1, 0), ISO_OK);
    assert_int_equal(mkdir(stale, 0777), 0);
    assert_int_equal(resumed_step(*run), 1);
    assert_false(iso_path_exists(stale));
    free(stale);
}

/* --- another run's checkpoint --- */

static void test_identity(void **run) {
    assert_int_equal(save_step(*run, 1, 0), ISO_OK);
    assert_int_equal(save_step(*run, 2, 0), ISO_OK);
    static const char *const named[] = {"configuration", "prepared folder", "tokenizer"};
    for (int i = 0; i < 3; i++) {
        state s;
        state_init(&s);
        const char **hashes[] = {&s.checkpoint.identity.config_hash,
                                 &s.checkpoint.identity.data_hash,
                                 &s.checkpoint.identity.tokenizer_hash};
        *hashes[i] = "another";
        bool found;
        assert_int_equal(iso_checkpoint_resume(&found, *run, &s.checkpoint), ISO_ERR_USAGE);
        assert_non_null(strstr(iso_error_message(), named[i]));
        assert_true(s.weight[0] == 0);
        *hashes[i] = NULL;
        assert_int_equal(iso_checkpoint_resume(&found, *run, &s.checkpoint), ISO_OK);
        assert_state_is(&s, 2);
        state_release(&s);
    }
    assert_int_equal(n_warnings, 0);
    state s;
    state_init(&s);
    json_object_set_new(s.profile, "precision", json_string("bf16"));
    bool found;
    assert_int_equal(iso_checkpoint_resume(&found, *run, &s.checkpoint), ISO_OK);
    assert_int_equal(n_warnings, 1);
    state_release(&s);
}

static void test_other_tensors(void **run) {
    assert_int_equal(save_step(*run, 1, 0), ISO_OK);
    for (int i = 0; i < 6; i++) {
        state s;
        state_init(&s);
        switch (i) {
        case 0:
            s.checkpoint.n_model = 1;
            break; /* the file has one more */
        case 1:
            s.model[1].name = "model.c";
            break; /* and one the other does not */
        case 2:
            s.model[0].dims[0] = 3, s.model[0].dims[1] = 2;
            break;
        case 3:
            s.model[1].dtype = ISO_I32;
            break;
        case 4:
            s.optimizer[1].n_dims = 1, s.optimizer[1].dims[0] = 6;
            break;
        case 5:
            s.checkpoint.n_optimizer = 1;
            break;
        }
        bool found;
        assert_int_equal(iso_checkpoint_resume(&found, *run, &s.checkpoint), ISO_ERR_DATA);
        assert_true(s.weight[0] == 0 && s.exp_avg[1] == 0);
        assert_null(s.checkpoint.loop);
        state_release(&s);
    }
    assert_int_equal(n_warnings, 0); /* none of this is damage: nothing to fall back from */
}

/* --- faults while saving (I1), (I3) --- */

/* fsync, rename and mkdir calls of one save that also removes an old checkpoint. */
static int count_calls(const char *run) {
    assert_int_equal(save_step(run, 1, 1), ISO_OK);
    injected.n_calls = 0;
    injected.at = -1;
    assert_int_equal(save_step(run, 2, 1), ISO_OK);
    int n_calls = injected.n_calls;
    assert_int_equal(iso_checkpoint_discard_after(run, 0), ISO_OK);
    return n_calls;
}

static void test_every_call_fails_once(void **run) {
    int n_calls = count_calls(*run);
    assert_true(n_calls > 20);
    for (int at = 1; at <= n_calls; at++) {
        assert_int_equal(save_step(*run, 1, 1), ISO_OK);
        injected.kind = FAULT_FAIL;
        injected.at = at;
        injected.n_calls = 0;
        iso_status status = save_step(*run, 2, 1);
        injected.kind = FAULT_NONE;
        if (status != ISO_ERR_IO) fail_msg("call %d failed unseen: status %d", at, status);
        int64_t step = resumed_step(*run);
        if (step != 1 && step != 2) fail_msg("after call %d failed: step %d", at, (int)step);
        assert_int_equal(save_step(*run, 2, 1), ISO_OK); /* and the next try succeeds */
        assert_int_equal(resumed_step(*run), 2);
        assert_int_equal(iso_checkpoint_discard_after(*run, 0), ISO_OK);
    }
}

static void test_killed_at_every_call(void **run) {
    int n_calls = count_calls(*run);
    for (int at = 1; at <= n_calls; at++) {
        assert_int_equal(save_step(*run, 1, 1), ISO_OK);
        pid_t pid = fork();
        if (pid == 0) {
            injected.kind = FAULT_KILL;
            injected.at = at;
            injected.n_calls = 0;
            save_step(*run, 2, 1);
            _exit(0);
        }
        int wait_status;
        assert_int_equal(waitpid(pid, &wait_status, 0), pid);
        assert_int_equal(WEXITSTATUS(wait_status), 9);
        n_warnings = 0;
        int64_t step = resumed_step(*run);
        if (step != 1 && step != 2) fail_msg("killed at call %d: step %d", at, (int)step);
        assert_int_equal(n_warnings, 0); /* and nothing half there was ever seen */
        assert_int_equal(iso_checkpoint_discard_after(*run, 0), ISO_OK);
    }
}

/* Microseconds that a save takes here and now: only to aim the kills, nothing is asserted of it. */
static int64_t save_duration_us(const char *run) {
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    assert_int_equal(save_step(run, 0, 2), ISO_OK);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (end.tv_sec - start.tv_sec) * 1000000 + (end.tv_nsec - start.tv_nsec) / 1000 + 1;
}

/* Saves for ever, telling the pipe of each one done. */
static void save_until_killed(const char *run, int64_t first, int done) {
    for (int64_t step = first;; step++)
        if (save_step(run, step, 2) != ISO_OK || write(done, "", 1) != 1) _exit(1);
}

static void test_random_kills(void **run) {
    enum { N_KILLS = 50 };
    int64_t last = 0, duration_us = save_duration_us(*run);
    for (int i = 0; i < N_KILLS; i++) {
        int done[2], wait_status;
        char byte;
        assert_int_equal(pipe(done), 0);
        pid_t pid = fork();
        if (pid == 0) save_until_killed(*run, last + 1, done[1]);
        /* after none, one or two whole saves, somewhere within the next */
        int n_saves = i % 3;
        for (int j = 0; j < n_saves; j++) assert_int_equal(read(done[0], &byte, 1), 1);
        uint64_t random = iso_rng_u64(1, ISO_RNG_TEST, 0, (uint64_t)i);
        usleep((useconds_t)(random % (uint64_t)duration_us));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &wait_status, 0), pid);
        assert_true(WIFSIGNALED(wait_status)); /* it never failed by itself */
        close(done[0]);
        close(done[1]);
        int64_t step = resumed_step(*run);
        assert_true(step >= last + n_saves);
        last = step;
    }
    assert_int_equal(n_warnings, 0);
}

/* What a kill cannot show: all bytes are on their way to the disk before the rename that makes them
 * count, and the rename itself after it. */
static void test_order_of_durability(void **run) {
    iso_str trace = {0};
    assert_int_equal(save_step(*run, 1, 1), ISO_OK);
    injected.trace = &trace;
    assert_int_equal(save_step(*run, 2, 2), ISO_OK);
    injected.trace = NULL;
    char *final = iso_strf("rename %s/checkpoints/step_2.tmp %s/checkpoints/step_2\n", (char *)*run,
                           (char *)*run);
    const char *renamed = strstr(trace.data, final);
    assert_non_null(renamed);
    const char *previous = trace.data;
    for (int i = 0; i < N_FILES; i++) {
        char *file =
            iso_strf("fsync %s/checkpoints/step_2.tmp/%s.tmp\n", (char *)*run, file_names[i]);
        const char *synced = strstr(trace.data, file);
        assert_non_null(synced);
        assert_true(synced >= previous); /* in this order: the manifest and its seal last */
        assert_true(synced < renamed);
        previous = synced;
        free(file);
    }
    char *folder = iso_strf("fsync %s/checkpoints/step_2.tmp\n", (char *)*run);
    const char *folder_synced = strstr(previous, folder);
    assert_non_null(folder_synced);
    assert_true(folder_synced < renamed);
    char *parent = iso_strf("fsync %s/checkpoints\n", (char *)*run);
    assert_non_null(strstr(renamed, parent));
    free(parent);
    free(folder);
    free(final);
    iso_str_release(&trace);
}

/* --- no room --- */

static void test_write_fails_midway(void **run) {
    struct rlimit old;
    assert_int_equal(save_step(*run, 1, 1), ISO_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (rlim_t n_bytes = 0; n_bytes <= 300; n_bytes += 60) {
        struct rlimit small = {.rlim_cur = n_bytes, .rlim_max = old.rlim_max};
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        iso_status status = save_step(*run, 2, 1);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        signal(SIGXFSZ, SIG_DFL);
        assert_int_equal(status, ISO_ERR_IO);
        assert_false(step_exists(*run, 2));
        assert_int_equal(resumed_step(*run), 1);
    }
}

/* Mounts a tmpfs over the run folder; skips the test where that is not allowed. */
static void mount_small(const char *run, const char *options) {
    if (mount("tmpfs", run, "tmpfs", 0, options) != 0) {
        print_message("cannot mount a tmpfs (%s): run as root to test full disks\n",
                      strerror(errno));
        skip();
    }
}

static void test_full_disk(void **run) {
    mount_small(*run, "size=1536k");
    iso_status first = save_step(*run, 1, 1);
    char *hog = iso_strf("%s/hog", (char *)*run);
    FILE *stream = fopen(hog, "wb");
    while (fputc('x', stream) != EOF && fflush(stream) == 0) {
    }
    fclose(stream);
    iso_status full = save_step(*run, 2, 1);
    bool is_there = step_exists(*run, 2);
    int64_t kept = resumed_step(*run);
    unlink(hog);
    iso_status freed = save_step(*run, 2, 1);
    umount(*run);
    free(hog);
    assert_int_equal(first, ISO_OK);
    assert_int_equal(full, ISO_ERR_NO_SPACE);
    assert_false(is_there);
    assert_int_equal(kept, 1);
    assert_int_equal(freed, ISO_OK);
}

/* The disk fills between the check and the write: a tmpfs out of inodes says ENOSPC just so. */
static void test_disk_fills_midway(void **run) {
    mount_small(*run, "size=4m,nr_inodes=14"); /* root, checkpoints, step_1 with 6, and 5 more */
    iso_status first = save_step(*run, 1, 1);
    iso_status full = save_step(*run, 2, 1);
    bool is_there = step_exists(*run, 2);
    int64_t kept = resumed_step(*run);
    char *temp = iso_strf("%s/checkpoints/step_2.tmp", (char *)*run);
    bool is_rubbish_left = iso_path_exists(temp);
    free(temp);
    umount(*run);
    assert_int_equal(first, ISO_OK);
    assert_int_equal(full, ISO_ERR_NO_SPACE);
    assert_false(is_there);
    assert_false(is_rubbish_left);
    assert_int_equal(kept, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_run, remove_run)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),
        TEST(test_without_blob),
        TEST(test_keep_last),
        TEST(test_discard_after),
        TEST(test_nonfinite_is_not_saved),
        TEST(test_every_flipped_byte),
        TEST(test_cut_and_lengthened_files),
        TEST(test_missing_and_extra_files),
        TEST(test_forged_manifests),
        TEST(test_falls_back_loudly),
        TEST(test_all_bad_is_an_error),
        TEST(test_renamed_folder_is_passed_over),
        TEST(test_odd_names_are_ignored),
        TEST(test_stale_folders_are_removed),
        TEST(test_identity),
        TEST(test_other_tensors),
        TEST(test_every_call_fails_once),
        TEST(test_killed_at_every_call),
        TEST(test_random_kills),
        TEST(test_order_of_durability),
        TEST(test_write_fails_midway),
        TEST(test_full_disk),
        TEST(test_disk_fills_midway),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
