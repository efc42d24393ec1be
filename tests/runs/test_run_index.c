/* Tests of runs/run_index.h: rows are what the folders say, (I1) kills, (I2) equal when made again,
 * (I3) damage, (I4) several processes. */
#include "runs/index_schema.h"
#include "runs/index_store.h"
#include "synthetic_runs.h"

#include "base/fileio.h"
#include "base/log.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

/* --- helpers --- */

static int n_warnings;
static void count_warnings(iso_log_level level, const char *line) {
    n_warnings += level == ISO_LOG_WARN;
}

static int make_root(void **root) {
    /* In memory where there is some: hundreds of commits, each with its fsyncs. */
    bool has_memory = access("/dev/shm", W_OK) == 0;
    *root = iso_strf("%s/isomoe_index_XXXXXX", has_memory ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(*root));
    n_warnings = 0;
    iso_log_set(count_warnings, ISO_LOG_WARN);
    return 0;
}

static int remove_root(void **root) {
    assert_int_equal(iso_dir_remove(*root), ISO_OK);
    free(*root);
    return 0;
}

static char *below(const char *root, const char *path) {
    return iso_strf("%s/%s", root, path);
}

static void write_run(const char *root, const char *path, const synthetic_run *run) {
    char *dir = below(root, path);
    synthetic_run_write(dir, run);
    free(dir);
}

static void write_file(const char *root, const char *path, const char *text, const char *mode) {
    char *full = below(root, path);
    FILE *stream = fopen(full, mode);
    assert_non_null(stream);
    assert_true(fputs(text, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
    free(full);
}

static const synthetic_run dense_run = {"dense-s1", false, 1, 30, 30, "finished", 2.0};
static const synthetic_run moe_run = {"moe-s1", true, 1, 30, 30, "finished", 1.75};
static const synthetic_run running_run = {"moe-s2", true, 2, 25, 100, "running", 0};

/* A comparison of two, one that goes on with a torn line, a broken one, and another study. */
static void write_study(const char *root) {
    write_run(root, "runs/dense-s1", &dense_run);
    write_run(root, "runs/moe-s1", &moe_run);
    write_run(root, "runs/moe-s2", &running_run);
    write_file(root, "runs/moe-s2/metrics.jsonl", "{\"step\":26,\"tok", "a");
    write_run(root, "other/a/runs/dense-s1", &dense_run);
    write_run(root, "runs/broken", &dense_run);
    write_file(root, "runs/broken/metrics.jsonl", "rubbish\n", "a");
}

static iso_run_index *open_index(const char *root) {
    iso_run_index *index;
    char *path = below(root, ISO_RUN_INDEX_NAME);
    iso_status status = iso_run_index_open(&index, path);
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
    free(path);
    return index;
}

static iso_run_index_changes refresh(iso_run_index *index, const char *root) {
    iso_run_index_changes changes;
    iso_status status = iso_run_index_refresh(index, root, &changes);
    if (status != ISO_OK) fail_msg("%s", iso_error_message());
    return changes;
}

static iso_run_index *fresh_index(const char *root) {
    iso_run_index *index = open_index(root);
    refresh(index, root);
    return index;
}

static iso_rows ask(iso_run_index *index, const char *sql) {
    iso_rows rows;
    iso_status status = iso_run_index_query(&rows, index, sql);
    if (status != ISO_OK) fail_msg("%s: %s", sql, iso_error_message());
    return rows;
}

/* The one number that is the answer. */
static double number(iso_run_index *index, const char *sql) {
    iso_rows rows = ask(index, sql);
    assert_int_equal(rows.n_rows, 1);
    double value = iso_cell_number(&rows.cells[0]);
    iso_rows_release(&rows);
    return value;
}

/* The texts of the first column, "|" between them. */
static void assert_texts(iso_run_index *index, const char *sql, const char *expected) {
    iso_rows rows = ask(index, sql);
    iso_str found = {0};
    iso_str_append(&found, "");
    for (int64_t i = 0; i < rows.n_rows; i++) {
        const char *text = rows.cells[i * rows.n_columns].text;
        iso_str_appendf(&found, "%s%s", i ? "|" : "", text ? text : "-");
    }
    assert_string_equal(found.data, expected);
    iso_str_release(&found);
    iso_rows_release(&rows);
}

static const char *const tables[] = {"runs",   "scores",        "evaluations",
                                     "curves", "router_layers", "router_loads"};

/* Every cell of every table, digit for digit. The caller frees it. */
static char *dump(iso_run_index *index) {
    iso_str out = {0};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        char *sql = iso_strf("SELECT * FROM %s ORDER BY 1, 2, 3", tables[t]);
        iso_rows rows = ask(index, sql);
        iso_str_appendf(&out, "%s %lld\n", tables[t], (long long)rows.n_rows);
        for (int64_t i = 0; i < rows.n_rows * rows.n_columns; i++) {
            const iso_cell *cell = &rows.cells[i];
            iso_str_appendf(&out, "%d %lld %.17g %s\n", cell->kind, (long long)cell->integer,
                            cell->real, cell->text ? cell->text : "");
        }
        iso_rows_release(&rows);
        free(sql);
    }
    return out.data;
}

/* What an index made from nothing says about these folders. */
static char *true_dump(const char *root) {
    iso_run_index *index;
    assert_int_equal(iso_run_index_open(&index, ":memory:"), ISO_OK);
    refresh(index, root);
    char *text = dump(index);
    iso_run_index_close(index);
    return text;
}

static void assert_true_to_folders(iso_run_index *index, const char *root) {
    char *found = dump(index), *expected = true_dump(root);
    assert_string_equal(found, expected);
    free(found);
    free(expected);
}

/* --- what is in it --- */

static void test_runs(void **root) {
    write_study(*root);
    iso_run_index *index = fresh_index(*root);
    assert_texts(index, "SELECT path FROM runs ORDER BY path",
                 "other/a/runs/dense-s1|runs/broken|runs/dense-s1|runs/moe-s1|runs/moe-s2");
    assert_texts(index, "SELECT study FROM runs ORDER BY path", "other/a|.|.|.|.");
    assert_texts(index, "SELECT side FROM runs ORDER BY path", "dense|broken|dense|moe|moe");
    assert_texts(index, "SELECT state FROM runs ORDER BY path",
                 "finished|unreadable|finished|finished|running");
    assert_texts(index, "SELECT problems FROM runs WHERE state = 'finished'", "-|-|-");
    assert_texts(index, "SELECT message FROM runs WHERE state = 'unreadable'",
                 "runs/broken/metrics.jsonl: line 34: line 1, column 7: not valid JSON: "
                 "'[' or '{' expected near 'rubbish'");
    assert_true(number(index, "SELECT bpc FROM runs WHERE path = 'runs/moe-s1'") == 2.25);
    assert_true(number(index, "SELECT tokens FROM runs WHERE path = 'runs/moe-s1'") == 30 * 256);
    assert_true(number(index, "SELECT epochs FROM runs WHERE path = 'runs/moe-s1'") == 2);
    assert_true(number(index, "SELECT num_experts FROM runs WHERE path = 'runs/moe-s1'") == 4);
    assert_true(isnan(number(index, "SELECT num_experts FROM runs WHERE path = 'runs/dense-s1'")));
    assert_true(number(index, "SELECT max(abs(train_flops - 1.0 * train_flops_per_token * tokens))"
                              " FROM runs") == 0);
    iso_run_index_close(index);
}

/* Its ledger is that of the beginning: the rows tell how far it is. */
static void test_a_run_that_goes_on(void **root) {
    write_study(*root);
    iso_run_index *index = fresh_index(*root);
    const char *columns[] = {"steps", "tokens", "tokens_per_s", "eval_step", "eval_bpc", "wall_s"};
    const double expected[] = {25, 25 * 256, 128000, 20, 4, 0.05};
    for (int i = 0; i < 6; i++) {
        char *sql = iso_strf("SELECT %s FROM runs WHERE path = 'runs/moe-s2'", columns[i]);
        if (fabs(number(index, sql) - expected[i]) > 1e-9)
            fail_msg("%s is %.17g", sql, number(index, sql));
        free(sql);
    }
    assert_true(isnan(number(index, "SELECT bpc FROM runs WHERE path = 'runs/moe-s2'")));
    assert_true(number(index, "SELECT progress_frac FROM v_progress WHERE state = 'running'") ==
                0.25);
    assert_true(fabs(number(index, "SELECT eta_s FROM v_progress WHERE state = 'running'") - 0.15) <
                1e-9);
    iso_run_index_close(index);
}

static void test_children(void **root) {
    write_study(*root);
    iso_run_index *index = fresh_index(*root);
    const char *of_moe = "JOIN runs USING (run_id) WHERE path = 'runs/moe-s1'";
    const char *counted[] = {"scores", "evaluations", "curves", "router_layers", "router_loads"};
    const int expected[] = {2, 9, 30, 6, 8};
    for (int i = 0; i < 5; i++) {
        char *sql = iso_strf("SELECT count(*) FROM %s %s", counted[i], of_moe);
        assert_true(number(index, sql) == expected[i]);
        free(sql);
    }
    assert_true(number(index, "SELECT sum(load) FROM router_loads JOIN runs USING (run_id)"
                              " WHERE path = 'runs/moe-s1' AND layer = 2") == 1);
    assert_true(number(index, "SELECT max(max_load) FROM router_layers") == 0.625);
    assert_true(number(index, "SELECT max(dead_experts) FROM router_layers") == 1);
    assert_true(number(index, "SELECT count(*) FROM evaluations WHERE is_final") == 9);
    assert_true(number(index, "SELECT chars FROM scores JOIN runs USING (run_id)"
                              " WHERE path = 'runs/moe-s1' AND domain = 'code'") == 190);
    assert_true(isnan(number(index, "SELECT aux_loss FROM curves JOIN runs USING (run_id)"
                                    " WHERE path = 'runs/dense-s1' AND step = 1")));
    iso_run_index_close(index);
}

static void test_views(void **root) {
    write_study(*root);
    iso_run_index *index = fresh_index(*root);
    iso_rows rows = ask(index, "SELECT bpc_gap, dense_side, same_subset, params_ratio, flops_ratio"
                               " FROM v_comparison");
    assert_int_equal(rows.n_rows, 1); /* neither the other study nor the run that goes on */
    assert_true(rows.cells[0].real == -0.25);
    assert_string_equal(rows.cells[1].text, "dense");
    assert_int_equal(rows.cells[2].integer, 1);
    assert_true(rows.cells[3].real > 0.5 && rows.cells[4].real > 0.5);
    iso_rows_release(&rows);
    assert_true(number(index, "SELECT count(*) FROM v_domain_comparison") == 2);
    assert_true(number(index, "SELECT bpc_gap FROM v_domain_comparison WHERE domain = 'code'") ==
                -0.25);
    synthetic_run second = dense_run;
    second.name = "dense-s2";
    second.seed = 2;
    second.bpc = 2.5;
    write_run(*root, "runs/dense-s2", &second);
    refresh(index, *root);
    const char *sd = "SELECT bpc_sd FROM v_sides WHERE study = '.' AND side = 'dense'";
    assert_true(fabs(number(index, sd) - sqrt(0.125)) < 1e-12);
    iso_run_index_close(index);
}

/* The points are rows, the first and the last among them, and no loss is left out of the means. */
static void test_thinning(void **root) {
    synthetic_run longer = {"long", false, 1, 1234, 1234, "finished", 1};
    write_run(*root, "long", &longer);
    iso_run_index *index = fresh_index(*root);
    iso_rows rows = ask(index, "SELECT step, loss, mean_loss FROM curves ORDER BY step");
    assert_int_equal(rows.n_rows, ISO_INDEX_CURVE_POINTS);
    double sum = 0, all = 0;
    int64_t before = 0;
    for (int64_t i = 0; i < rows.n_rows; i++) {
        const iso_cell *cells = &rows.cells[3 * i];
        assert_true(cells[0].integer > before);
        assert_true(cells[1].real == synthetic_run_loss(cells[0].integer));
        sum += cells[2].real * (double)(cells[0].integer - before);
        before = cells[0].integer;
    }
    for (int64_t step = 1; step <= 1234; step++) all += synthetic_run_loss(step);
    assert_int_equal(rows.cells[0].integer, 1);
    assert_int_equal(before, 1234);
    assert_true(fabs(sum - all) < 1e-9);
    iso_rows_release(&rows);
    iso_run_index_close(index);
}

/* Folders that are none of a run, links that lead in circles, runs by another name. */
static void test_tree(void **root) {
    write_study(*root);
    char *loop = below(*root, "runs/loop"), *link = below(*root, "linked"),
         *dir = below(*root, "runs/dense-s1/checkpoints/x"), *dots = below(*root, ".hidden"),
         *empty = below(*root, "runs/starting"), *target = below(*root, "runs/moe-s1");
    assert_int_equal(symlink("..", loop), 0);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(iso_dir_create(dir), ISO_OK);
    assert_int_equal(iso_dir_create(empty), ISO_OK);
    write_file(*root, "runs/dense-s1/checkpoints/x/summary.json", "{}", "w");
    write_file(*root, "runs/starting/metrics.jsonl", "", "w"); /* has not written a word yet */
    synthetic_run_write(dots, &dense_run);
    iso_run_index *index = fresh_index(*root);
    assert_texts(index, "SELECT path FROM runs ORDER BY path",
                 "linked|other/a/runs/dense-s1|runs/broken|runs/dense-s1|runs/moe-s1|runs/moe-s2");
    iso_run_index_close(index);
    /* A run folder itself is a tree of one. */
    assert_int_equal(iso_run_index_open(&index, ":memory:"), ISO_OK);
    refresh(index, target);
    assert_texts(index, "SELECT path FROM runs", ".");
    assert_int_equal(iso_run_index_refresh(index, "/nowhere/at/all", NULL), ISO_ERR_IO);
    iso_run_index_close(index);
    free(loop), free(link), free(dir), free(dots), free(empty), free(target);
}

/* --- refreshing (I1, I2) --- */

static void test_only_what_changed(void **root) {
    write_study(*root);
    iso_run_index *index = open_index(*root);
    iso_run_index_changes changes = refresh(index, *root);
    assert_int_equal(changes.n_runs, 5);
    assert_int_equal(changes.n_read, 5);
    changes = refresh(index, *root);
    assert_int_equal(changes.n_read, 0); /* the broken one was tried, and is as it was */

    char *running = below(*root, "runs/moe-s2");
    write_file(*root, "runs/moe-s2/metrics.jsonl", "", "w");
    for (int64_t step = 1; step <= 27; step++) synthetic_run_append(running, step);
    changes = refresh(index, *root);
    assert_int_equal(changes.n_read, 1);
    assert_true(number(index, "SELECT steps FROM runs WHERE state = 'running'") == 27);
    assert_true_to_folders(index, *root);

    write_run(*root, "runs/broken", &moe_run); /* mended */
    assert_int_equal(iso_dir_remove(running), ISO_OK);
    changes = refresh(index, *root);
    assert_int_equal(changes.n_runs, 4);
    assert_int_equal(changes.n_read, 1);
    assert_int_equal(changes.n_removed, 1);
    assert_true_to_folders(index, *root);
    iso_run_index_close(index);

    index = open_index(*root); /* and after a new start, nothing is read again */
    assert_int_equal(refresh(index, *root).n_read, 0);
    assert_int_equal(iso_run_index_clear(index), ISO_OK);
    assert_int_equal(refresh(index, *root).n_read, 4);
    assert_true_to_folders(index, *root);
    iso_run_index_close(index);
    assert_int_equal(n_warnings, 0);
    free(running);
}

/* Another root, or the same one by another name: always a mirror of the one asked for. */
static void test_root_is_in_no_row(void **root) {
    write_study(*root);
    iso_run_index *index = fresh_index(*root);
    char *first = dump(index), *again = iso_strf("%s//", (char *)*root);
    assert_null(strstr(first, *root));
    assert_int_equal(iso_run_index_clear(index), ISO_OK);
    refresh(index, again);
    char *second = dump(index), *other = below(*root, "other");
    assert_string_equal(first, second);
    assert_int_equal(refresh(index, other).n_runs, 1);
    assert_texts(index, "SELECT path FROM runs", "a/runs/dense-s1");
    iso_run_index_close(index);
    free(first), free(second), free(again), free(other);
}

/* A process that refreshes for ever while the folders change is killed at random: what it leaves is
 * whole runs, and one more refresh makes it right. */
static void test_kills(void **root) {
    write_study(*root);
    srand(20);
    for (int i = 0; i < 25; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            iso_run_index *index = open_index(*root);
            for (;;) {
                refresh(index, *root);
                if (iso_run_index_clear(index) != ISO_OK) _exit(1);
            }
        }
        struct timespec pause = {0, (rand() % 40000) * 1000L};
        nanosleep(&pause, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        iso_run_index *index = open_index(*root);
        assert_true(number(index, "SELECT count(*) FROM runs r WHERE state != 'unreadable' AND"
                                  " steps != (SELECT count(*) FROM curves c"
                                  "  WHERE c.run_id = r.run_id)") == 0);
        refresh(index, *root);
        assert_true_to_folders(index, *root);
        iso_run_index_close(index);
    }
    assert_int_equal(n_warnings, 0); /* never damaged: SQLite's journal did its work */
}

static void copy_file(const char *from, const char *to) {
    char *bytes;
    int64_t n_bytes;
    assert_int_equal(iso_file_read(&bytes, &n_bytes, from, 1 << 24), ISO_OK);
    assert_int_equal(iso_file_write_atomic(to, bytes, n_bytes), ISO_OK);
    free(bytes);
}

/* What a kill leaves when the pages of a transaction are in the file, but not yet its end: taken as
 * copies of file and journal at that moment. */
static void test_half_a_commit(void **root) {
    write_study(*root);
    iso_run_index *index = fresh_index(*root);
    char *copies = below(*root, ".copies"), *before = dump(index);
    assert_int_equal(iso_dir_create(copies), ISO_OK);
    assert_true(number(index, "SELECT count(*) FROM runs") == 5);
    assert_int_equal(iso_index_exec(index, "BEGIN IMMEDIATE; DELETE FROM runs", "test"), ISO_OK);
    assert_int_equal(sqlite3_db_cacheflush(index->db), SQLITE_OK);
    for (int i = 0; i < 2; i++) {
        char *name = iso_strf(ISO_RUN_INDEX_NAME "%s", i ? "-journal" : "");
        char *from = below(*root, name), *to = below(copies, name);
        copy_file(from, to);
        free(name), free(from), free(to);
    }
    assert_int_equal(iso_index_exec(index, "ROLLBACK", "test"), ISO_OK);
    iso_run_index_close(index);
    index = open_index(copies);
    char *after = dump(index);
    assert_string_equal(before, after);
    assert_int_equal(n_warnings, 0);
    sqlite3_stmt *statement;
    assert_int_equal(iso_index_prepare(&statement, index, "PRAGMA synchronous"), ISO_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 3); /* EXTRA: power cuts, too */
    sqlite3_finalize(statement);
    iso_run_index_close(index);
    free(copies), free(before), free(after);
}

/* --- damage (I3) --- */

static char *index_path(const char *root) {
    return below(root, ISO_RUN_INDEX_NAME);
}

static void damage(const char *path, int64_t offset, int n_bytes) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    for (int i = 0; i < n_bytes; i++) {
        assert_int_equal(fseek(file, (long)offset + i, SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, (long)offset + i, SEEK_SET), 0);
        assert_true(fputc(byte ^ (1 << (offset % 8)), file) != EOF);
    }
    assert_int_equal(fclose(file), 0);
}

static void assert_rebuilt(const char *root, const char *what, int64_t where) {
    n_warnings = 0;
    iso_run_index *index = open_index(root);
    if (n_warnings != 1) fail_msg("%s at %lld: not noticed", what, (long long)where);
    assert_true(number(index, "SELECT count(*) FROM runs") == 0);
    refresh(index, root);
    assert_true_to_folders(index, root);
    iso_run_index_close(index);
}

/* A bit anywhere, in a number as well as in the structure. */
static void test_flipped_bits(void **root) {
    int64_t n_bytes;
    write_study(*root);
    iso_run_index_close(fresh_index(*root));
    char *path = index_path(*root);
    assert_int_equal(iso_file_size(&n_bytes, path), ISO_OK);
    for (int64_t offset = 0; offset < n_bytes; offset += 1013) {
        damage(path, offset, 1);
        assert_rebuilt(*root, "a bit", offset);
    }
    free(path);
}

static void test_other_damage(void **root) {
    char *path = index_path(*root), *garbage = malloc(30000);
    write_study(*root);
    iso_run_index_close(fresh_index(*root));
    assert_int_equal(truncate(path, 5 * ISO_PAGE_BYTES), 0);
    assert_rebuilt(*root, "cut at a page", 5);
    assert_int_equal(truncate(path, 5 * ISO_PAGE_BYTES + 77), 0);
    assert_rebuilt(*root, "cut within a page", 5);
    memset(garbage, 'x', 30000);
    assert_int_equal(iso_file_write_atomic(path, garbage, 30000), ISO_OK);
    assert_rebuilt(*root, "not a database", 0);
    assert_int_equal(iso_file_write_atomic(path, garbage, 10), ISO_OK);
    assert_rebuilt(*root, "ten bytes", 0);
    free(garbage);
    free(path);
}

/* A page in another's place: sound in itself, and of the same kind. */
static void test_moved_page(void **root) {
    iso_page_sums *sums;
    sqlite3 *db;
    char *path = below(*root, "two.sqlite"), page[ISO_PAGE_BYTES];
    assert_int_equal(iso_page_sums_create(&sums), ISO_OK);
    for (int i = 0; i < 2; i++) {
        int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
        assert_int_equal(sqlite3_open_v2(path, &db, flags, iso_page_sums_name(sums)), SQLITE_OK);
        assert_int_equal(iso_page_sums_reserve(db), ISO_OK);
        const char *sql = i == 0 ? "CREATE TABLE a (x); CREATE TABLE b (x);"
                                   "INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)"
                                 : "SELECT * FROM b";
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), i ? SQLITE_IOERR : SQLITE_OK);
        sqlite3_close(db);
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, ISO_PAGE_BYTES, SEEK_SET), 0); /* page 2 is a, page 3 is b */
        assert_int_equal(fread(page, sizeof page, 1, file), 1);
        assert_int_equal(fseek(file, 2 * ISO_PAGE_BYTES, SEEK_SET), 0);
        assert_int_equal(fwrite(page, sizeof page, 1, file), 1);
        assert_int_equal(fclose(file), 0);
    }
    iso_page_sums_free(sums);
    free(path);
}

/* A number changed by another program, which knows nothing of the sums. */
static void test_foreign_writer(void **root) {
    sqlite3 *db;
    char *path = index_path(*root);
    write_study(*root);
    iso_run_index_close(fresh_index(*root));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE runs SET bpc = 0.1", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_rebuilt(*root, "a changed number", 0);
    free(path);
}

static void test_other_version(void **root) {
    write_study(*root);
    iso_run_index *index = fresh_index(*root);
    assert_int_equal(iso_index_exec(index, "PRAGMA user_version = 77", "test"), ISO_OK);
    iso_run_index_close(index);
    assert_rebuilt(*root, "another version", 77);
}

/* Whoever changes the schema changes its number, and then this hash. */
static void test_schema_has_its_number(void **root) {
    uint64_t hash = XXH3_64bits(iso_index_schema_sql, strlen(iso_index_schema_sql));
    if (ISO_INDEX_SCHEMA != 2 || hash != 0x364ef72e84aed660)
        fail_msg("the schema has changed: raise ISO_INDEX_SCHEMA; its hash is 0x%llx",
                 (unsigned long long)hash);
}

static void test_other_files_are_kept(void **root) {
    iso_run_index *index;
    sqlite3 *db;
    char *text = below(*root, "notes.txt"), *other = below(*root, "other.sqlite"),
         *own = below(*root, "own.sqlite"), *bytes;
    int64_t n_bytes;
    write_study(*root);
    write_file(*root, "notes.txt", "not an index", "w");
    assert_int_equal(iso_run_index_open(&index, text), ISO_ERR_USAGE);
    assert_int_equal(iso_file_read(&bytes, &n_bytes, text, 100), ISO_OK);
    assert_string_equal(bytes, "not an index");
    assert_int_equal(sqlite3_open(other, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (a)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(iso_run_index_open(&index, other), ISO_ERR_USAGE);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO t VALUES (1)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    /* An index of any name is one, though damaged. */
    assert_int_equal(iso_run_index_open(&index, own), ISO_OK);
    refresh(index, *root);
    iso_run_index_close(index);
    damage(own, 3 * ISO_PAGE_BYTES + 100, 8);
    assert_int_equal(iso_run_index_open(&index, own), ISO_OK);
    iso_run_index_close(index);
    free(bytes), free(text), free(other), free(own);
}

/* --- several processes (I4) --- */

static void test_writers_take_turns(void **root) {
    pid_t pids[4];
    write_study(*root);
    for (int i = 0; i < 4; i++) {
        pids[i] = fork();
        if (pids[i] != 0) continue;
        for (int j = 0; j < 5; j++) {
            iso_run_index *index = fresh_index(*root);
            if (iso_run_index_clear(index) != ISO_OK) _exit(1);
            refresh(index, *root);
            iso_run_index_close(index);
        }
        _exit(0);
    }
    for (int i = 0; i < 4; i++) {
        int wait_status;
        assert_int_equal(waitpid(pids[i], &wait_status, 0), pids[i]);
        assert_true(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
    }
    iso_run_index *index = fresh_index(*root);
    assert_true_to_folders(index, *root);
    iso_run_index_close(index);
    assert_int_equal(n_warnings, 0);
}

/* While another one writes: what was there can be asked, and a refresh says why not. */
static void test_readers_go_on(void **root) {
    write_study(*root);
    iso_run_index *writer = fresh_index(*root), *reader = open_index(*root);
    sqlite3_busy_timeout(reader->db, 10);
    assert_int_equal(iso_index_exec(writer, "BEGIN IMMEDIATE; DELETE FROM runs", "test"), ISO_OK);
    assert_true(number(reader, "SELECT count(*) FROM runs") == 5);
    write_run(*root, "runs/new", &dense_run);
    assert_int_equal(iso_run_index_refresh(reader, *root, NULL), ISO_ERR_LOCKED);
    assert_true(number(reader, "SELECT count(*) FROM runs") == 5);
    assert_int_equal(iso_index_exec(writer, "ROLLBACK", "test"), ISO_OK);
    refresh(reader, *root);
    assert_true(number(writer, "SELECT count(*) FROM runs") == 6);
    iso_run_index_close(writer);
    iso_run_index_close(reader);
}

static void test_no_space(void **root) {
    write_study(*root);
    iso_run_index *index = open_index(*root);
    assert_int_equal(iso_index_exec(index, "PRAGMA max_page_count = 1", "test"), ISO_OK);
    assert_int_equal(iso_run_index_refresh(index, *root, NULL), ISO_ERR_NO_SPACE);
    assert_true(number(index, "SELECT count(*) FROM runs") == 0);
    assert_int_equal(iso_index_exec(index, "PRAGMA max_page_count = 100000", "test"), ISO_OK);
    refresh(index, *root);
    assert_true_to_folders(index, *root);
    iso_run_index_close(index);
}

/* --- questions --- */

static void test_only_questions(void **root) {
    char *into = iso_strf("VACUUM INTO '%s/copy'", (char *)*root),
         *attach = iso_strf("ATTACH '%s/copy' AS c", (char *)*root), *copy = below(*root, "copy");
    const char *refused[] = {"DELETE FROM runs",
                             "UPDATE runs SET bpc = 1",
                             "DROP VIEW v_sides",
                             "CREATE TEMP TABLE t (a)",
                             "PRAGMA user_version = 3",
                             "BEGIN",
                             "VACUUM",
                             "SELECT load_extension('x')",
                             "SELECT 1; DELETE FROM runs",
                             "SELECT 1; SELECT 2",
                             "SELECT nonsense",
                             "SELECT abs(-9223372036854775808)",
                             "",
                             "-- nothing",
                             into,
                             attach};
    write_study(*root);
    iso_run_index *index = fresh_index(*root);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        iso_rows rows;
        if (iso_run_index_query(&rows, index, refused[i]) != ISO_ERR_USAGE)
            fail_msg("%s: not refused", refused[i]);
        assert_int_equal(rows.n_rows, 0);
    }
    assert_false(iso_path_exists(copy));
    assert_true_to_folders(index, *root);
    iso_rows rows =
        ask(index, "SELECT 1 AS a, 0.5 AS b, 'x' AS c, NULL AS d, x'0aff' AS e; -- end");
    assert_int_equal(rows.n_rows, 1);
    assert_int_equal(rows.n_columns, 5);
    assert_int_equal(iso_rows_column(&rows, "d"), 3);
    assert_int_equal(iso_rows_column(&rows, "f"), -1);
    assert_int_equal(rows.cells[0].integer, 1);
    assert_true(rows.cells[1].real == 0.5);
    assert_string_equal(rows.cells[2].text, "x");
    assert_int_equal(rows.cells[3].kind, ISO_CELL_NULL);
    assert_string_equal(rows.cells[4].text, "0aff");
    iso_rows_release(&rows);
    iso_run_index_close(index);
    free(into), free(attach), free(copy);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(test_runs),
        TEST(test_a_run_that_goes_on),
        TEST(test_children),
        TEST(test_views),
        TEST(test_thinning),
        TEST(test_tree),
        TEST(test_only_what_changed),
        TEST(test_root_is_in_no_row),
        TEST(test_kills),
        TEST(test_half_a_commit),
        TEST(test_flipped_bits),
        TEST(test_other_damage),
        TEST(test_moved_page),
        TEST(test_foreign_writer),
        TEST(test_other_version),
        TEST(test_schema_has_its_number),
        TEST(test_other_files_are_kept),
        TEST(test_writers_take_turns),
        TEST(test_readers_go_on),
        TEST(test_no_space),
        TEST(test_only_questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
