#include "cli/when.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define CENTURY (36525 * DAY)

int64_t when_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000000;
}

/* A decimal number without sign or exponent. Returns what follows it, NULL when there is none. */
static const char *decimal(const char *p, double *v)
{
    size_t len = strspn(p, "0123456789.");
    char *end;
    if (len == 0 || len > 16)
        return NULL;
    *v = strtod(p, &end);
    return end == p + len ? end : NULL;
}

static const char *unit(const char *p, double *ms)
{
    static const struct { const char *name; double ms; } units[] = {
        { "ms", 1 }, { "s", SECOND }, { "min", MINUTE }, { "m", MINUTE }, { "h", HOUR }, { "d", DAY }, { "w", 7 * DAY },
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t len = strlen(units[i].name);
        if (strncmp(p, units[i].name, len) == 0) {
            *ms = units[i].ms;
            return p + len;
        }
    }
    return NULL;
}

bool when_duration(const char *text, int64_t *ms)
{
    double sum = 0, n = 0, one = 0;
    const char *p = decimal(text, &n);
    if (p && !*p)
        sum = n * SECOND;
    else
        for (p = text; p && *p; sum += n * one)
            if ((p = decimal(p, &n)))
                p = unit(p, &one);
    if (!p || p == text || sum > (double)CENTURY)
        return false;
    *ms = (int64_t)(sum + 0.5);
    return true;
}

/* Reads exactly `width` digits at *p, a number of at most max, and then `after` (0: nothing). */
static bool digits(const char **p, int width, int max, const char *after, int *v)
{
    int n = 0;
    for (int i = 0; i < width; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        n = 10 * n + (**p - '0');
    }
    *v = n;
    if (n > max || (*after && (!**p || !strchr(after, **p))))
        return false;
    *p += *after ? 1 : 0;
    return true;
}

/* Fractions of a second, to milliseconds. */
static bool fraction(const char **p, int64_t *ms)
{
    int64_t scale = 100;
    *ms = 0;
    if (**p != '.')
        return true;
    for ((*p)++; **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
        *ms += (**p - '0') * scale;
    return (*p)[-1] != '.';
}

static bool offset(const char **p, int64_t *ms)
{
    int h, m;
    char sign = **p;
    *ms = 0;
    if (!sign)
        return false;
    (*p)++;
    if (sign == 'Z' || sign == 'z')
        return true;
    if ((sign != '+' && sign != '-') || !digits(p, 2, 23, ":", &h) || !digits(p, 2, 59, "", &m))
        return false;
    *ms = (sign == '+' ? 1 : -1) * (h * HOUR + m * MINUTE);
    return true;
}

static bool is_day(int year, int month, int day)
{
    struct tm t = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day };
    timegm(&t); /* turns the 31st of a shorter month into the next month's 1st */
    return month > 0 && day > 0 && t.tm_mday == day;
}

bool when_time(const char *text, size_t len, int64_t *ms)
{
    char copy[WHEN_TEXT];
    struct tm t = { 0 };
    int64_t part, zone;
    if (len >= sizeof copy || memchr(text, '\0', len))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    const char *p = copy;
    if (!digits(&p, 4, 9999, "-", &t.tm_year) || !digits(&p, 2, 12, "-", &t.tm_mon) || !digits(&p, 2, 31, "Tt ", &t.tm_mday) ||
        !digits(&p, 2, 23, ":", &t.tm_hour) || !digits(&p, 2, 59, ":", &t.tm_min) || !digits(&p, 2, 60, "", &t.tm_sec) ||
        !fraction(&p, &part) || !offset(&p, &zone) || *p || !is_day(t.tm_year, t.tm_mon, t.tm_mday))
        return false;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    *ms = (int64_t)timegm(&t) * SECOND + part - zone;
    return true;
}

const char *when_text(int64_t ms, char out[static WHEN_TEXT])
{
    time_t sec = (time_t)(ms / SECOND);
    struct tm t;
    gmtime_r(&sec, &t);
    size_t n = strftime(out, WHEN_TEXT - 6, "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(out + n, WHEN_TEXT - n, ".%03uZ", (unsigned)(ms % SECOND));
    return out;
}

static const char *date(int64_t ms, char out[static WHEN_TEXT])
{
    time_t sec = (time_t)(ms / SECOND);
    struct tm t;
    if (!localtime_r(&sec, &t) || strftime(out, WHEN_TEXT, "%Y-%m-%d %H:%M", &t) == 0)
        snprintf(out, WHEN_TEXT, "?");
    return out;
}

const char *when_relative(int64_t ms, int64_t now_ms, char out[static WHEN_TEXT])
{
    static const struct { int64_t below, one; const char *name; } steps[] = {
        { MINUTE, SECOND, "s" }, { HOUR, MINUTE, "min" }, { 2 * DAY, HOUR, "h" }, { 30 * DAY, DAY, "days" },
    };
    int64_t away = ms > now_ms ? ms - now_ms : now_ms - ms;
    if (away < SECOND)
        return memcpy(out, "just now", sizeof "just now");
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (away < steps[i].below) {
            const char *in = ms > now_ms ? "in " : "", *ago = ms > now_ms ? "" : " ago";
            snprintf(out, WHEN_TEXT, "%s%lld %s%s", in, (long long)(away / steps[i].one), steps[i].name, ago);
            return out;
        }
    return date(ms, out);
}

const char *when_span(int64_t ms, char out[static WHEN_TEXT])
{
    long long s = (ms + SECOND - 1) / SECOND;
    if (s < 60)
        snprintf(out, WHEN_TEXT, "%lld s", s);
    else if (s < 3600)
        snprintf(out, WHEN_TEXT, "%lld min %lld s", s / 60, s % 60);
    else if (s < 48 * 3600)
        snprintf(out, WHEN_TEXT, "%lld h %lld min", s / 3600, s / 60 % 60);
    else
        snprintf(out, WHEN_TEXT, "%lld days", s / 86400);
    return out;
}
