#include "base/log.h"

#include "base/status.h"

#include <stdio.h>

/* The one mutable global besides the error buffer: written once at start (see log.h). */
static struct {
    iso_log_fn sink;
    iso_log_level level;
} log_state;

void iso_log_set(iso_log_fn sink, iso_log_level level) {
    log_state.sink = sink;
    log_state.level = level;
}

void iso_log(iso_log_level level, const char *format, ...) {
    if (!log_state.sink || level > log_state.level) return;
    char line[ISO_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log_state.sink(level, line);
}
