/* log.h - chatter for stderr, behind one callback so that src/ itself never prints.
 *
 * The command line installs a sink; without one, nothing is said. Products (tables, JSON, text) are
 * returned to the caller, never logged.
 */
#ifndef ISO_BASE_LOG_H
#define ISO_BASE_LOG_H

typedef enum iso_log_level {
    ISO_LOG_ERROR,
    ISO_LOG_WARN,
    ISO_LOG_INFO,
    ISO_LOG_DEBUG
} iso_log_level;

typedef void (*iso_log_fn)(iso_log_level level, const char *line);

/* Set once at start, before any other thread exists. */
void iso_log_set(iso_log_fn sink, iso_log_level level);

void iso_log(iso_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
