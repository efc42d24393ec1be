/* Colours, chatter and the progress line: everything that goes to a terminal. */
#include "cli.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define QUIET_S        2.0 /* work shorter than this shows no progress */
#define REDRAW_S       0.1
#define PLAIN_LINE_S   5.0
#define CLEAR_THE_LINE "\r\033[K"

/* The progress line that is on the terminal now, if any: chatter has to clear it first. The log's
 * sink gets no context, so this is the one variable of the frame. */
static bool line_is_shown;

bool cli_is_fancy(FILE *stream) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (no_color && no_color[0] != '\0') return false;
    return term && strcmp(term, "dumb") != 0 && isatty(fileno(stream));
}

const char *cli_styled(FILE *stream, cli_style style) {
    static const char *const sequences[] = {
        [CLI_PLAIN] = "\033[0m", [CLI_BOLD] = "\033[1m",   [CLI_DIM] = "\033[2m",
        [CLI_RED] = "\033[31m",  [CLI_GREEN] = "\033[32m", [CLI_YELLOW] = "\033[33m",
    };
    return cli_is_fancy(stream) ? sequences[style] : "";
}

static void print_log(iso_log_level level, const char *line) {
    static const struct {
        const char *prefix;
        cli_style style;
    } looks[] = {
        [ISO_LOG_ERROR] = {"error: ", CLI_RED},
        [ISO_LOG_WARN] = {"warning: ", CLI_YELLOW},
        [ISO_LOG_INFO] = {"", CLI_PLAIN},
        [ISO_LOG_DEBUG] = {"debug: ", CLI_DIM},
    };
    if (line_is_shown) fputs(CLEAR_THE_LINE, stderr);
    line_is_shown = false;
    fprintf(stderr, "%s%s%s%s\n", cli_styled(stderr, looks[level].style), looks[level].prefix,
            cli_styled(stderr, CLI_PLAIN), line);
}

void cli_log_start(iso_log_level level) {
    iso_log_set(print_log, level);
}

void cli_progress_start(cli_progress *progress, const char *label, const char *unit, int64_t first,
                        int64_t total) {
    *progress = (cli_progress){
        .label = label,
        .unit = unit,
        .total = total,
        .first = first,
        .start_s = iso_clock_s(),
        .fancy = cli_is_fancy(stderr),
    };
}

static void describe(const cli_progress *progress, int64_t n_done, double elapsed_s,
                     const char *note, iso_str *out) {
    char done[32], total[32], left[32];
    double rate = (double)(n_done - progress->first) / elapsed_s;
    iso_str_appendf(out, "%s: ", progress->label);
    iso_str_append(out, iso_str_count(done, (double)n_done));
    if (progress->total > 0)
        iso_str_appendf(out, "/%s", iso_str_count(total, (double)progress->total));
    iso_str_appendf(out, " %s", progress->unit);
    if (progress->total > 0)
        iso_str_appendf(out, " (%.0f %%)", 100.0 * (double)n_done / (double)progress->total);
    if (note) iso_str_appendf(out, ", %s", note);
    if (progress->total > 0 && rate > 0.0)
        iso_str_appendf(out, ", %s left",
                        iso_str_duration(left, (double)(progress->total - n_done) / rate));
}

/* A line that wraps can't be cleared: cut it to the terminal's width, at a character. */
static void cut_to_width(char *line) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return;
    int column = 0;
    for (; *line; line++) {
        bool begins = ((unsigned char)*line & 0xC0) != 0x80;
        if (begins && ++column >= size.ws_col) {
            *line = '\0';
            return;
        }
    }
}

void cli_progress_update(cli_progress *progress, int64_t n_done, const char *note) {
    double now = iso_clock_s(), elapsed = now - progress->start_s;
    double pause = progress->fancy ? REDRAW_S : PLAIN_LINE_S;
    if (elapsed < QUIET_S || (progress->shown_s > 0.0 && now - progress->shown_s < pause)) return;
    iso_str line = {0};
    describe(progress, n_done, elapsed, note, &line);
    if (progress->fancy) cut_to_width(line.data);
    fprintf(stderr, progress->fancy ? CLEAR_THE_LINE "%s" : "%s\n", line.data);
    fflush(stderr);
    iso_str_release(&line);
    progress->shown_s = now;
    line_is_shown = progress->fancy;
}

void cli_progress_finish(cli_progress *progress) {
    if (progress->fancy && line_is_shown) fputs(CLEAR_THE_LINE, stderr);
    line_is_shown = false;
}
