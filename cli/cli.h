/* cli.h - what every command shares: flags, help, tables, progress, exit codes.
 *
 * To add a command NAME: write cmd_NAME.c with
 *     iso_status cmd_NAME(int argc, char **argv);     argv[0] is the command's own name
 * declare it below, add a row to the table in main.c and the file to cli/CMakeLists.txt.
 *
 * A command prints its product on stdout and everything else on stderr (through iso_log), and
 * returns a status; it never exits. main() prints the error message and maps the status to the exit
 * code (exit_code.c).
 */
#ifndef ISO_CLI_H
#define ISO_CLI_H

#include "base/json.h"
#include "base/log.h"
#include "base/status.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* --- commands --- */
typedef iso_status (*cli_command_fn)(int argc, char **argv);
typedef struct cli_command {
    const char *name;
    const char *summary; /* one line, lower case, no full stop */
    cli_command_fn run;
} cli_command;

iso_status cmd_audit(int argc, char **argv);
iso_status cmd_count(int argc, char **argv);
iso_status cmd_data(int argc, char **argv);
iso_status cmd_doctor(int argc, char **argv);
iso_status cmd_plan(int argc, char **argv);
iso_status cmd_paper(int argc, char **argv);
iso_status cmd_report(int argc, char **argv);
iso_status cmd_generate(int argc, char **argv);
iso_status cmd_eval(int argc, char **argv);
iso_status cmd_bench(int argc, char **argv);
iso_status cmd_compare(int argc, char **argv);
iso_status cmd_train(int argc, char **argv);
iso_status cmd_study(int argc, char **argv);
iso_status cmd_tokenizer(int argc, char **argv);

/* Runs the row of `commands` that argv[1] names, with argc - 1 and argv + 1; `program` is what
 * stands before it ("isomoe", "isomoe data"). Without argv[1], or with "help" or "--help", prints
 * the list. An unknown name is ISO_ERR_USAGE with the nearest one. For commands with subcommands,
 * too. */
iso_status cli_dispatch(const char *program, const cli_command *commands, size_t n_commands,
                        int argc, char **argv);

/* The exit code of a status: the one table is in exit_code.c. */
int cli_exit_code(iso_status status);

/* --- flags --- */
typedef struct cli_list {
    const char **items; /* borrowed from argv */
    int64_t n;
} cli_list;
void cli_list_release(cli_list *list);

typedef enum cli_flag_kind {
    CLI_BOOL,   /* --json           out: bool *          */
    CLI_STRING, /* --out DIR        out: const char **   */
    CLI_I64,    /* --steps 100      out: int64_t *       */
    CLI_F64,    /* --minutes 2.5    out: double *        */
    CLI_CHOICE, /* --require strict out: const char **, one of `choices` */
    CLI_LIST,   /* --train A B C    out: cli_list *, all values up to the next flag; repeatable */
} cli_flag_kind;

/* `--name value` and `--name=value` both work (a list flag with `=` takes that one value). What is
 * not given keeps the value it had before: initialise it to the default. */
typedef struct cli_flag {
    const char *name; /* without the dashes */
    cli_flag_kind kind;
    void *out;
    const char *value;          /* what help calls the value: "DIR"; NULL for CLI_BOOL */
    const char *help;           /* one line with the default */
    const char *const *choices; /* CLI_CHOICE: NULL-terminated */
} cli_flag;

typedef struct cli_usage {
    const char *synopsis; /* after "usage: isomoe ": "count CONFIG [--json]" */
    const char *summary;  /* a sentence or two */
    const char *example;  /* whole command lines, newline-separated */
    const cli_flag *flags;
    size_t n_flags;
    cli_list *positionals;                    /* NULL: none are taken */
    int64_t min_positionals, max_positionals; /* max < 0: any number */
    cli_list *overrides;                      /* takes --section.key=value; NULL: not accepted */
    void (*more)(iso_str *out); /* appended to the help, such as iso_config_help; NULL: nothing */
} cli_usage;

/* Parses argv[1..]; `--` ends the flags. On --help prints the usage on stdout and sets *done: the
 * command then returns ISO_OK at once. ISO_ERR_USAGE names the flag and the nearest known one.
 *     bool done;
 *     ISO_TRY(cli_parse(&usage, argc, argv, &done));
 *     if (done) return ISO_OK;
 */
iso_status cli_parse(const cli_usage *usage, int argc, char **argv, bool *done);

/* The command line as typed, "isomoe" and all, for reports; words with blanks in quotes. The caller
 * frees it. */
char *cli_command_line(int argc, char **argv);

/* --- terminal --- */
/* Whether to use colours and redrawn lines there: a terminal, TERM not "dumb", no NO_COLOR. */
bool cli_is_fancy(FILE *stream);
typedef enum cli_style { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN, CLI_YELLOW } cli_style;
/* The escape sequence of a style, or "" where there are no colours. CLI_PLAIN ends any style. */
const char *cli_styled(FILE *stream, cli_style style);

/* --- tables --- */
/* Columns are aligned; a column whose cells all look like numbers is aligned right. Cells are
 * copied. Zero-initialise; out of memory aborts, as in str.h. */
typedef struct cli_table {
    char **cells;
    int64_t n_columns, n_cells, capacity;
    bool figures; /* set after init: all columns but the first are aligned right, words too */
} cli_table;
void cli_table_init(cli_table *table, const char *const *headers, int64_t n_columns);
void cli_table_add(cli_table *table, const char *cell); /* fills rows from left to right */
void cli_table_addf(cli_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cli_table_print(const cli_table *table, FILE *stream);
void cli_table_release(cli_table *table);

/* --- JSON --- */
/* Prints `value` on stdout, two-space indent, a newline at the end, reals with n_digits significant
 * digits, and releases it. NULL means that making it ran out of memory: ISO_ERR_MEMORY. */
#define CLI_JSON_EXACT 17 /* reads back to the same double */
iso_status cli_print_json(json_t *value, int n_digits);

/* --- progress on stderr --- */
/* On a terminal one line is redrawn, at most ten times a second; elsewhere a plain line appears
 * every few seconds. Nothing appears for work done within two seconds. With a total the line ends
 * in the remaining time. Chatter that comes in between is kept off the line by cli_log_start's
 * sink. One at a time. */
typedef struct cli_progress {
    const char *label; /* borrowed */
    const char *unit;  /* "steps", "bytes"; borrowed */
    int64_t total;     /* 0 = unknown */
    int64_t first;     /* where it began: a resumed run does not start at 0 */
    double start_s, shown_s;
    bool fancy;
} cli_progress;
void cli_progress_start(cli_progress *progress, const char *label, const char *unit, int64_t first,
                        int64_t total);
/* `note` (may be NULL) is appended to the line: "loss 1.93". */
void cli_progress_update(cli_progress *progress, int64_t n_done, const char *note);
void cli_progress_finish(cli_progress *progress); /* clears the line; safe when never shown */

/* Installs the sink for iso_log: stderr, "warning: " and "error: " in front, coloured. main() calls
 * it. */
void cli_log_start(iso_log_level level);

#endif
