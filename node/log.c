#include "node/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static FILE *out;
static enum log_level limit = LOG_INFO;

int log_open(const char *path)
{
    if (!path) {
        out = NULL;
        return 0;
    }
    FILE *f = fopen(path, "ae");
    if (!f)
        return err_set(ERR_IO, "log file %s: cannot be opened: %m", path);
    out = f;
    return 0;
}

static const char *const level_name[] = {"error", "warn", "info", "debug"};

int log_set_level_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof level_name / sizeof *level_name; i++)
        if (strcmp(name, level_name[i]) == 0) {
            limit = (enum log_level)i;
            return 0;
        }
    return err_set(ERR_USAGE, "log level %s: not one of error, warn, info, debug", name);
}

bool log_enabled(enum log_level level) { return level <= limit; }

bool log_due(unsigned long *last)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    unsigned long now = (unsigned long)t.tv_sec + 61;
    if (*last && now - *last < 60)
        return false;
    *last = now;
    return true;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if (level > limit)
        return;
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = '?';
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    FILE *f = out ? out : stderr;
    fprintf(f, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s\n", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
            tm.tm_min, tm.tm_sec, t.tv_nsec / 1000000, level_name[level], text);
    fflush(f);
}
