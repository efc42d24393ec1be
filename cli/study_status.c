/* isomoe study status: every run's progress, and the sums. */
#include "cli_study.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The widest table has 100 columns. */
#define RUN_CHARS   24
#define SIDE_CHARS  15
#define STUDY_CHARS 99

/* Sentences about faulty runs. */
#define MAX_FAULTS  8
#define FAULT_CHARS 400

/* A running run that has written nothing for so long, and for so many of its steps, is told apart:
 * it may have been killed. */
#define SILENT_S     120
#define SILENT_STEPS 20

/* The columns of v_progress that are shown. */
static const char question[] =
    "SELECT p.path, p.study, p.name, p.side, p.seed, p.state, p.steps, p.planned_steps,"
    " p.progress_frac, p.tokens_per_s, p.bpc_so_far, p.eta_s, p.tokens, p.train_flops, p.wall_s,"
    " p.changed_s, p.message, p.problems, r.batch_tokens / p.tokens_per_s AS step_s"
    " FROM v_progress p JOIN runs r USING (path) ORDER BY p.study, p.path";

static const iso_cell *cell_of(const iso_rows *rows, int64_t i_row, const char *column) {
    int64_t i_column = iso_rows_column(rows, column);
    ISO_ASSERT(i_column >= 0);
    return &rows->cells[i_row * rows->n_columns + i_column];
}

static double number_of(const iso_rows *rows, int64_t i_row, const char *column) {
    return iso_cell_number(cell_of(rows, i_row, column));
}

/* "" for NULL. */
static const char *text_of(const iso_rows *rows, int64_t i_row, const char *column) {
    const char *text = cell_of(rows, i_row, column)->text;
    return text ? text : "";
}

/* --- one run --- */

static bool has_state(const iso_rows *rows, int64_t i_row, const char *state) {
    return strcmp(text_of(rows, i_row, "state"), state) == 0;
}

/* Seconds without a word, 0 if that is nothing to wonder about. */
static double silence_of(const iso_rows *rows, int64_t i_row, double now_s) {
    double silence = now_s - number_of(rows, i_row, "changed_s");
    double steps = SILENT_STEPS * number_of(rows, i_row, "step_s");
    bool is_silent = has_state(rows, i_row, "running") && silence > SILENT_S && !(silence < steps);
    return is_silent ? silence : 0;
}

static void add_number(cli_table *table, const char *format, double value) {
    if (isnan(value))
        cli_table_add(table, "-");
    else
        cli_table_addf(table, format, value);
}

static void add_text(cli_table *table, const char *text, int64_t n_chars) {
    char *shown = study_short_text(text, n_chars);
    cli_table_add(table, shown);
    free(shown);
}

static void add_run(cli_table *table, const iso_rows *rows, int64_t i, double now_s) {
    char text[32];
    double speed = number_of(rows, i, "tokens_per_s"), eta = number_of(rows, i, "eta_s");
    bool is_silent = silence_of(rows, i, now_s) > 0;
    add_text(table, text_of(rows, i, "name"), RUN_CHARS);
    add_text(table, text_of(rows, i, "side"), SIDE_CHARS);
    add_number(table, "%.0f", number_of(rows, i, "seed"));
    cli_table_add(table, is_silent ? "silent" : text_of(rows, i, "state"));
    add_number(table, "%.1f %%", 100 * number_of(rows, i, "progress_frac"));
    cli_table_add(table, speed > 0 ? iso_str_count(text, speed) : "-");
    add_number(table, "%.4f", number_of(rows, i, "bpc_so_far"));
    cli_table_add(table, isnan(eta) || is_silent ? "-" : iso_str_duration(text, eta));
}

static void print_study_name(const char *dir, const char *study, bool is_first) {
    int n_dir = (int)strlen(dir);
    while (n_dir > 1 && dir[n_dir - 1] == '/') n_dir--;
    bool is_top = strcmp(study, ".") == 0;
    char *path = iso_strf("%.*s%s%s", n_dir, dir, is_top ? "" : "/", is_top ? "" : study);
    char *shown = study_short_text(path, STUDY_CHARS);
    printf("%s%s:\n", is_first ? "" : "\n", shown);
    free(shown);
    free(path);
}

/* The runs of one study from row `first`; returns where the next study begins. */
static int64_t print_study(const iso_rows *rows, int64_t first, const char *dir, bool is_only,
                           double now_s) {
    static const char *const headers[] = {"run",      "side",     "seed",       "state",
                                          "progress", "tokens/s", "BPC so far", "ETA"};
    const char *study = text_of(rows, first, "study");
    int64_t i = first;
    cli_table table;
    cli_table_init(&table, headers, 8);
    while (i < rows->n_rows && strcmp(text_of(rows, i, "study"), study) == 0)
        add_run(&table, rows, i++, now_s);
    if (!is_only) print_study_name(dir, study, first == 0);
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    return i;
}

/* --- all of them --- */

typedef struct sums {
    int64_t n_of[7]; /* of the states below */
    double tokens, flops, wall_s, last_eta_s;
} sums;

static const char *const states[] = {"running", "silent",   "finished",  "preempted",
                                     "failed",  "diverged", "unreadable"};
#define N_STATES ((int)(sizeof states / sizeof *states))

static double or_zero(double value) {
    return isnan(value) ? 0 : value;
}

static sums add_up(const iso_rows *rows, double now_s) {
    sums out = {0};
    for (int64_t i = 0; i < rows->n_rows; i++) {
        bool is_silent = silence_of(rows, i, now_s) > 0;
        const char *state = is_silent ? "silent" : text_of(rows, i, "state");
        for (int s = 0; s < N_STATES; s++) out.n_of[s] += strcmp(state, states[s]) == 0;
        out.tokens += or_zero(number_of(rows, i, "tokens"));
        out.flops += or_zero(number_of(rows, i, "train_flops"));
        out.wall_s += or_zero(number_of(rows, i, "wall_s"));
        if (!is_silent) out.last_eta_s = fmax(out.last_eta_s, number_of(rows, i, "eta_s"));
    }
    return out;
}

static void print_sums(const sums *all, int64_t n_runs) {
    char tokens[32], wall[32], eta[32];
    printf("\n%" PRId64 " run%s", n_runs, n_runs == 1 ? "" : "s");
    for (int s = 0, n = 0; s < N_STATES; s++)
        if (all->n_of[s] > 0) printf("%s %" PRId64 " %s", n++ ? "," : ":", all->n_of[s], states[s]);
    printf("\n%s tokens, %.3g training FLOPs, %s of training", iso_str_count(tokens, all->tokens),
           all->flops, iso_str_duration(wall, all->wall_s));
    if (all->last_eta_s > 0)
        printf("; the last run that goes on ends in %s", iso_str_duration(eta, all->last_eta_s));
    printf("\n");
}

/* What is wrong with a run, in a sentence; NULL if nothing is. The caller frees it. */
static char *fault_of(const iso_rows *rows, int64_t i, double now_s) {
    char duration[32];
    const char *path = text_of(rows, i, "path");
    double silence = silence_of(rows, i, now_s);
    if (has_state(rows, i, "unreadable"))
        return iso_strf("unreadable: %s", text_of(rows, i, "message"));
    if (silence > 0)
        return iso_strf("silent: %s has written nothing for %s; if it was killed, starting it "
                        "again goes on from its last checkpoint",
                        path, iso_str_duration(duration, silence));
    if (has_state(rows, i, "finished") && *text_of(rows, i, "problems"))
        return iso_strf("unsound: %s: %s", path, text_of(rows, i, "problems"));
    return NULL;
}

static void print_faults(const iso_rows *rows, double now_s) {
    int64_t n_faults = 0;
    for (int64_t i = 0; i < rows->n_rows; i++) {
        char *fault = fault_of(rows, i, now_s);
        if (fault && n_faults++ < MAX_FAULTS) {
            char *shown = study_short_text(fault, FAULT_CHARS);
            printf("%s\n", shown);
            free(shown);
        }
        free(fault);
    }
    if (n_faults > MAX_FAULTS)
        printf("and %" PRId64 " more such runs: --json shows all\n", n_faults - MAX_FAULTS);
}

static void print_text(const iso_rows *rows, const char *dir) {
    double now_s = (double)time(NULL);
    bool is_only = rows->n_rows == 0 ||
                   strcmp(text_of(rows, 0, "study"), text_of(rows, rows->n_rows - 1, "study")) == 0;
    for (int64_t i = 0; i < rows->n_rows;) i = print_study(rows, i, dir, is_only, now_s);
    sums all = add_up(rows, now_s);
    print_sums(&all, rows->n_rows);
    print_faults(rows, now_s);
}

static iso_status print_json(const iso_rows *rows) {
    double now_s = (double)time(NULL);
    sums all = add_up(rows, now_s);
    json_t *by_state = json_object();
    for (int s = 0; s < N_STATES; s++)
        json_object_set_new(by_state, states[s], json_integer((json_int_t)all.n_of[s]));
    return cli_print_json(json_pack("{s:o, s:{s:I, s:o, s:f, s:f, s:f, s:f}}", "runs",
                                    study_rows_to_json(rows), "sums", "runs",
                                    (json_int_t)rows->n_rows, "states", by_state, "tokens",
                                    all.tokens, "train_flops", all.flops, "wall_s", all.wall_s,
                                    "eta_s", all.last_eta_s),
                          CLI_JSON_EXACT);
}

static iso_status show(iso_run_index *index, const char *dir, bool json) {
    iso_rows rows;
    iso_status status = ISO_OK;
    ISO_TRY(iso_run_index_query(&rows, index, question));
    if (json)
        status = print_json(&rows);
    else
        print_text(&rows, dir);
    iso_rows_release(&rows);
    return status;
}

iso_status study_status(int argc, char **argv) {
    const char *db = NULL;
    bool json = false, rebuild = false, done;
    cli_list dirs = {0};
    const cli_flag flags[] = {
        {"db", CLI_STRING, &db, "FILE", "where the index is (default DIR/" ISO_RUN_INDEX_NAME ")",
         NULL},
        {"rebuild", CLI_BOOL, &rebuild, NULL, "read all runs again, not only what has changed",
         NULL},
        {"json", CLI_BOOL, &json, NULL, "print JSON", NULL},
    };
    const cli_usage usage = {
        .synopsis = "study status DIR [--json] [--db FILE] [--rebuild]",
        .summary = "Shows the runs in a folder and below it, such as the DIR of `isomoe compare "
                   "--out DIR`: how\nfar each is, how fast, how good, how long to go; then the "
                   "sums. Keeps an index of them there.",
        .example = "isomoe study status demo",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &dirs,
        .min_positionals = 1,
        .max_positionals = 1,
    };
    iso_run_index *index = NULL;
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) status = study_index_open(&index, dirs.items[0], db, rebuild);
    if (status == ISO_OK && !done) status = show(index, dirs.items[0], json);
    iso_run_index_close(index);
    cli_list_release(&dirs);
    return status;
}
