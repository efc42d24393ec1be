/* Files that survive: atomic replacement, full disks, locks between processes, folders, maps,
 * hashes. */
#include "temp_dir.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_BYTES = 1 << 24 };

static void assert_content(const char *path, const char *expected) {
    char *text;
    int64_t n;
    assert_int_equal(iso_file_read(&text, &n, path, MAX_BYTES), ISO_OK);
    assert_int_equal(n, strlen(expected));
    assert_string_equal(text, expected);
    free(text);
}

static void write_replaces_and_leaves_no_temp(void **state) {
    char *path = iso_strf("%s/f", (char *)*state), *temp = iso_strf("%s.tmp", path);
    assert_int_equal(iso_file_write_atomic(path, "old", 3), ISO_OK);
    assert_int_equal(iso_file_write_atomic(path, "newer", 5), ISO_OK);
    assert_content(path, "newer");
    assert_int_equal(iso_file_write_atomic(path, "", 0), ISO_OK);
    assert_content(path, "");
    assert_false(iso_path_exists(temp));
    free(path), free(temp);
}

static void staged_file_appears_only_at_commit(void **state) {
    char *path = iso_strf("%s/f", (char *)*state), *temp = iso_strf("%s.tmp", path);
    iso_file_out file;
    assert_int_equal(iso_file_write_atomic(path, "old", 3), ISO_OK);
    assert_int_equal(iso_file_out_open(&file, path), ISO_OK);
    assert_int_equal(iso_file_out_write(&file, "one ", 4), ISO_OK);
    assert_content(path, "old");
    assert_int_equal(iso_file_out_write(&file, "two", 3), ISO_OK);
    assert_int_equal(iso_file_out_commit(&file), ISO_OK);
    assert_content(path, "one two");

    assert_int_equal(iso_file_out_open(&file, path), ISO_OK);
    assert_int_equal(iso_file_out_write(&file, "three", 5), ISO_OK);
    iso_file_out_abandon(&file);
    iso_file_out_abandon(&file);
    assert_content(path, "one two");
    assert_false(iso_path_exists(temp));
    free(path), free(temp);
}

/* The linker sends fsync and rename of the code under test through these (--wrap): they write down
 * what happens in which order, and can fail. A lost power is the one fault no test can wait for. */
static struct {
    char events[64]; /* f: fsync of a file, r: rename, d: fsync of a folder */
    int n_events;
    char fails; /* the event that fails with EIO; 0 for none */
} trace;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

static int note(char event) {
    if (trace.n_events < (int)sizeof trace.events - 1) trace.events[trace.n_events++] = event;
    if (event != trace.fails) return 0;
    errno = EIO;
    return -1;
}

int __wrap_fsync(int fd) {
    struct stat info;
    char event = fstat(fd, &info) == 0 && S_ISDIR(info.st_mode) ? 'd' : 'f';
    return note(event) == 0 ? __real_fsync(fd) : -1;
}

int __wrap_rename(const char *from, const char *to) {
    return note('r') == 0 ? __real_rename(from, to) : -1;
}

static void assert_trace(const char *expected) {
    assert_string_equal(trace.events, expected);
    memset(&trace, 0, sizeof trace);
}

static void protocol_is_in_order(void **state) {
    char *path = iso_strf("%s/f", (char *)*state), *deep = iso_strf("%s/a/b", (char *)*state);
    char *to = iso_strf("%s/z", (char *)*state);
    memset(&trace, 0, sizeof trace);
    assert_int_equal(iso_file_write_atomic(path, "x", 1), ISO_OK);
    assert_trace("frd");
    assert_int_equal(iso_dir_create(deep), ISO_OK);
    assert_trace("dd");
    assert_int_equal(iso_dir_rename(deep, to), ISO_OK);
    assert_trace("rdd");
    free(path), free(deep), free(to);
}

/* A failed fsync is not tried again, and what was there stays. */
static void failed_sync_keeps_the_old_file(void **state) {
    char *path = iso_strf("%s/f", (char *)*state), *temp = iso_strf("%s.tmp", path);
    assert_int_equal(iso_file_write_atomic(path, "old", 3), ISO_OK);
    static const struct {
        char fails;
        const char *trace;
    } cases[] = {{'f', "f"}, {'r', "fr"}};
    for (int i = 0; i < 2; i++) {
        memset(&trace, 0, sizeof trace);
        trace.fails = cases[i].fails;
        assert_int_equal(iso_file_write_atomic(path, "new", 3), ISO_ERR_IO);
        assert_trace(cases[i].trace);
        assert_content(path, "old");
        assert_false(iso_path_exists(temp));
    }
    trace.fails = 'd'; /* renamed, but perhaps not for good: the caller must hear of it */
    assert_int_equal(iso_file_write_atomic(path, "new", 3), ISO_ERR_IO);
    assert_trace("frd");
    assert_false(iso_path_exists(temp));
    free(path), free(temp);
}

static void missing_folder_is_an_error(void **state) {
    char *path = iso_strf("%s/none/f", (char *)*state), *text;
    int64_t n;
    assert_int_equal(iso_file_write_atomic(path, "x", 1), ISO_ERR_IO);
    assert_non_null(strstr(iso_error_message(), path));
    assert_int_equal(iso_file_read(&text, &n, path, 10), ISO_ERR_IO);
    assert_null(text);
    assert_int_equal(iso_dir_sync(path), ISO_ERR_IO);
    free(path);
}

/* A rename would put a file in the place of a device, a pipe or a folder. */
static void only_files_are_replaced(void **state) {
    char *pipe = iso_strf("%s/pipe", (char *)*state);
    struct stat info;
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(iso_file_write_atomic(pipe, "x", 1), ISO_ERR_IO);
    assert_non_null(strstr(iso_error_message(), "is no file"));
    assert_int_equal(stat(pipe, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_int_equal(iso_file_write_atomic(*state, "x", 1), ISO_ERR_IO);
    free(pipe);
}

/* The temporary name leads to /dev/full, where every write fails as on a full disk. */
static void full_device_leaves_the_old_file(void **state) {
    char *path = iso_strf("%s/f", (char *)*state), *temp = iso_strf("%s.tmp", path);
    assert_int_equal(iso_file_write_atomic(path, "old", 3), ISO_OK);
    assert_int_equal(symlink("/dev/full", temp), 0);
    assert_int_equal(iso_file_write_atomic(path, "new", 3), ISO_ERR_NO_SPACE);
    assert_content(path, "old");
    assert_false(iso_path_exists(temp));
    free(path), free(temp);
}

static void full_disk_leaves_the_old_file(void **state) {
    const char *dir = *state;
    if (mount("tmpfs", dir, "tmpfs", 0, "size=64k") != 0) {
        print_message("needs root and leave to mount: full_device_leaves_the_old_file stands in\n");
        skip();
    }
    char *path = iso_strf("%s/f", dir), *temp = iso_strf("%s.tmp", path);
    enum { TOO_MANY = 100000 };
    char *bytes = calloc(TOO_MANY, 1);
    iso_status first = iso_file_write_atomic(path, "old", 3);
    iso_status second = iso_file_write_atomic(path, bytes, TOO_MANY);
    iso_status space = iso_dir_check_space(dir, TOO_MANY);
    char *text = NULL;
    int64_t n = 0;
    iso_status read = iso_file_read(&text, &n, path, MAX_BYTES);
    bool has_temp = iso_path_exists(temp);
    umount(dir); /* before anything can fail */
    assert_int_equal(first, ISO_OK);
    assert_int_equal(second, ISO_ERR_NO_SPACE);
    assert_int_equal(space, ISO_ERR_NO_SPACE);
    assert_int_equal(read, ISO_OK);
    assert_string_equal(text, "old");
    assert_false(has_temp);
    free(path), free(temp), free(bytes), free(text);
}

static void read_has_a_cap(void **state) {
    char *path = iso_strf("%s/f", (char *)*state), *text;
    int64_t n;
    assert_int_equal(iso_file_write_atomic(path, "12345", 5), ISO_OK);
    assert_int_equal(iso_file_read(&text, &n, path, 5), ISO_OK);
    assert_string_equal(text, "12345");
    free(text);
    assert_int_equal(iso_file_read(&text, &n, path, 4), ISO_ERR_DATA);
    assert_null(text);
    assert_int_equal(iso_file_read(&text, &n, *state, 100), ISO_ERR_IO); /* a folder */
    assert_int_equal(iso_file_size(&n, path), ISO_OK);
    assert_int_equal(n, 5);
    /* Files that don't tell their size, longer than the first guess. */
    assert_int_equal(iso_file_read(&text, &n, "/proc/self/maps", MAX_BYTES), ISO_OK);
    assert_true(n > 0 && (int64_t)strlen(text) == n);
    free(text);
    assert_int_equal(iso_file_read(&text, &n, "/dev/zero", MAX_BYTES), ISO_ERR_DATA);
    free(path);
}

static void folders(void **state) {
    const char *dir = *state;
    char *deep = iso_strf("%s/a/b/c", dir), *file = iso_strf("%s/a/f", dir);
    char *below_file = iso_strf("%s/a/f/x", dir);
    char *from = iso_strf("%s/a", dir), *to = iso_strf("%s/z", dir);
    assert_int_equal(iso_dir_create(deep), ISO_OK);
    assert_int_equal(iso_dir_create(deep), ISO_OK);
    assert_true(iso_path_is_dir(deep));
    assert_int_equal(iso_file_write_atomic(file, "x", 1), ISO_OK);
    assert_false(iso_path_is_dir(file));
    assert_int_equal(iso_file_sync(file), ISO_OK);
    assert_int_equal(iso_dir_create(file), ISO_ERR_IO);
    assert_int_equal(iso_dir_create(below_file), ISO_ERR_IO);

    char **names;
    int64_t n;
    assert_int_equal(iso_dir_list(&names, &n, from), ISO_OK);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[1], "f");
    iso_names_free(names, n);
    assert_int_equal(iso_dir_list(&names, &n, file), ISO_ERR_IO);

    assert_int_equal(iso_dir_rename(from, to), ISO_OK);
    assert_false(iso_path_exists(from));
    assert_int_equal(iso_dir_remove(to), ISO_OK);
    assert_false(iso_path_exists(to));
    assert_int_equal(iso_dir_remove(to), ISO_OK); /* absent is fine */
    free(deep), free(file), free(below_file), free(from), free(to);
}

/* Removing a folder must not follow links out of it. */
static void remove_does_not_follow_links(void **state) {
    char *keep = iso_strf("%s/keep", (char *)*state), *inside = iso_strf("%s/f", keep);
    char *gone = iso_strf("%s/gone", (char *)*state), *link = iso_strf("%s/l", gone);
    assert_int_equal(iso_dir_create(keep), ISO_OK);
    assert_int_equal(iso_file_write_atomic(inside, "x", 1), ISO_OK);
    assert_int_equal(iso_dir_create(gone), ISO_OK);
    assert_int_equal(symlink(keep, link), 0);
    assert_int_equal(iso_dir_remove(gone), ISO_OK);
    assert_content(inside, "x");
    free(keep), free(inside), free(gone), free(link);
}

static void space_is_checked(void **state) {
    assert_int_equal(iso_dir_check_space(*state, 1), ISO_OK);
    assert_int_equal(iso_dir_check_space(*state, INT64_MAX), ISO_ERR_NO_SPACE);
    assert_int_equal(iso_dir_check_space("/does/not/exist", 1), ISO_ERR_IO);
}

/* A child that tries the lock and tells its status by its exit code. */
static int status_in_child(const char *path) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        iso_lock lock;
        _exit(iso_lock_open(&lock, path));
    }
    int wait_status;
    assert_int_equal(waitpid(child, &wait_status, 0), child);
    assert_true(WIFEXITED(wait_status));
    return WEXITSTATUS(wait_status);
}

static void lock_excludes_other_processes(void **state) {
    char *path = iso_strf("%s/lock", (char *)*state);
    iso_lock lock, second;
    assert_int_equal(iso_lock_open(&lock, path), ISO_OK);
    assert_int_equal(status_in_child(path), ISO_ERR_LOCKED);
    assert_int_equal(iso_lock_open(&second, path), ISO_ERR_LOCKED);
    assert_int_equal(second.fd, -1);
    iso_lock_close(&second);
    iso_lock_close(&lock);
    assert_int_equal(status_in_child(path), ISO_OK);
    free(path);
}

static void lock_of_a_killed_process_is_free(void **state) {
    char *path = iso_strf("%s/lock", (char *)*state);
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        iso_lock lock;
        char answer = (char)iso_lock_open(&lock, path);
        if (write(ready[1], &answer, 1) != 1) _exit(1);
        for (;;) pause();
    }
    char answer = -1;
    assert_int_equal(read(ready[0], &answer, 1), 1);
    assert_int_equal(answer, ISO_OK);
    iso_lock lock;
    assert_int_equal(iso_lock_open(&lock, path), ISO_ERR_LOCKED);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(iso_lock_open(&lock, path), ISO_OK);
    iso_lock_close(&lock);
    close(ready[0]), close(ready[1]);
    free(path);
}

static void maps(void **state) {
    char *path = iso_strf("%s/f", (char *)*state);
    iso_map map;
    assert_int_equal(iso_map_open(&map, path), ISO_ERR_IO);
    assert_int_equal(iso_file_write_atomic(path, "mapped", 6), ISO_OK);
    assert_int_equal(iso_map_open(&map, path), ISO_OK);
    assert_int_equal(map.size_bytes, 6);
    assert_memory_equal(map.data, "mapped", 6);
    iso_map_close(&map);
    assert_int_equal(iso_file_write_atomic(path, "", 0), ISO_OK);
    assert_int_equal(iso_map_open(&map, path), ISO_OK);
    assert_null(map.data);
    assert_int_equal(map.size_bytes, 0);
    iso_map_close(&map);
    assert_int_equal(iso_map_open(&map, *state), ISO_ERR_IO);
    free(path);
}

/* FIPS 180-2's examples, and the three ways to the same hash. */
static void sha256(void **state) {
    char *path = iso_strf("%s/f", (char *)*state);
    char hex[ISO_SHA256_HEX_BYTES], again[ISO_SHA256_HEX_BYTES];
    iso_sha256_bytes(hex, "abc", 3);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    iso_sha256_bytes(hex, "", 0);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

    enum { N = 1000000 };
    char *text = malloc(N);
    memset(text, 'a', N);
    iso_sha256 hash;
    assert_int_equal(iso_sha256_create(&hash), ISO_OK);
    for (int done = 0, part = 1; done < N; done += part, part = part * 3 % 70001 + 1) {
        if (part > N - done) part = N - done;
        iso_sha256_update(&hash, text + done, part);
    }
    iso_sha256_finish(&hash, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_int_equal(iso_file_write_atomic(path, text, N), ISO_OK);
    assert_int_equal(iso_sha256_file(again, path), ISO_OK);
    assert_string_equal(hex, again);
    assert_int_equal(iso_sha256_file(again, *state), ISO_ERR_IO);
    free(text), free(path);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, temp_dir_setup, temp_dir_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_DIR(write_replaces_and_leaves_no_temp),
        WITH_DIR(staged_file_appears_only_at_commit),
        WITH_DIR(protocol_is_in_order),
        WITH_DIR(failed_sync_keeps_the_old_file),
        WITH_DIR(missing_folder_is_an_error),
        WITH_DIR(only_files_are_replaced),
        WITH_DIR(full_device_leaves_the_old_file),
        WITH_DIR(full_disk_leaves_the_old_file),
        WITH_DIR(read_has_a_cap),
        WITH_DIR(folders),
        WITH_DIR(remove_does_not_follow_links),
        WITH_DIR(space_is_checked),
        WITH_DIR(lock_excludes_other_processes),
        WITH_DIR(lock_of_a_killed_process_is_free),
        WITH_DIR(maps),
        WITH_DIR(sha256),
    };
    return cmocka_run_group_tests_name("fileio", tests, NULL, NULL);
}
