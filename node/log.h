/* log: lines for people who look for trouble: "2026-11-21T10:00:00.123Z info what happened key=value ...". Control characters are
 * escaped, so that nobody's file name can forge a line. To stderr, or to a file after log_open. Loop thread only. */
#ifndef NODE_LOG_H
#define NODE_LOG_H

#include <stdbool.h>

#include "proto/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
int  log_open(const char *path) MUST_CHECK;     /* append; NULL = stderr */
int  log_set_level_by_name(const char *name) MUST_CHECK;   /* "error", "warn", "info", "debug" */
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF(2, 3);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) do { if (log_enabled(LOG_DEBUG)) log_line(LOG_DEBUG, __VA_ARGS__); } while (0)

/* Says something at most once a minute for each place in the code. */
#define log_seldom(level, ...) do { static unsigned long t_last; if (log_due(&t_last)) log_line(level, __VA_ARGS__); } while (0)
bool log_due(unsigned long *last);

#endif
