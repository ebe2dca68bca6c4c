#include "node/rate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BURST_MS = 250, DAY = 24 * 60, IDLE_MS = 3600 * 1000 };
#define RATE_MIN 1000u
#define RATE_MAX 1000000000000u

/* ---- text ---- */

static int parse_rate(const char *v, size_t len, uint64_t *out)
{
    static const struct { const char *unit; uint64_t bytes; } units[] = { {"", 1}, {"B", 1}, {"kB", 1000}, {"MB", 1000000}, {"GB", 1000000000} };
    size_t digits = strspn(v, "0123456789");
    if (!digits || digits > 12 || digits > len)
        return err_set(ERR_USAGE, "a rate is a whole number and B, kB, MB or GB");
    uint64_t n = strtoull(v, NULL, 10);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strlen(units[i].unit) != len - digits || strncmp(v + digits, units[i].unit, len - digits) != 0)
            continue;
        *out = n <= RATE_MAX ? n * units[i].bytes : UINT64_MAX;
        return *out == 0 || (*out >= RATE_MIN && *out <= RATE_MAX) ? 0 : err_set(ERR_USAGE, "a rate is 0 or from 1kB to 1000GB");
    }
    return err_set(ERR_USAGE, "a rate is a whole number and B, kB, MB or GB");
}

static int parse_time(const char *v, int *out)
{
    for (int i = 0; i < 5; i++)
        if (i == 2 ? v[i] != ':' : v[i] < '0' || v[i] > '9')
            return err_set(ERR_USAGE, "hours are HH:MM-HH:MM");
    int h = (v[0] - '0') * 10 + v[1] - '0', m = (v[3] - '0') * 10 + v[4] - '0';
    *out = h * 60 + m;
    return m < 60 && *out <= DAY ? 0 : err_set(ERR_USAGE, "hours are HH:MM-HH:MM");
}

static int parse_day(const char *v)
{
    static const char days[] = "sunmontuewedthufrisat";
    for (int i = 0; i < 7; i++)
        if (strncmp(v, days + 3 * i, 3) == 0)
            return i;
    return err_set(ERR_USAGE, "days are mon, tue, wed, thu, fri, sat and sun, or from one to another: mon-fri");
}

/* DAYS, with the comma; moves on behind it. */
static int parse_days(const char **v, uint8_t *out)
{
    const char *p = *v;
    *out = 0x7f;
    if (*p >= '0' && *p <= '9')
        return 0;
    int from = parse_day(p), to = from;
    if (from >= 0 && p[3] == '-')
        to = parse_day(p += 4);
    if (from < 0 || to < 0 || p[3] != ',')
        return from < 0 ? from : to < 0 ? to : err_set(ERR_USAGE, "a comma is between days and hours: mon-fri,08:00-18:00=2MB");
    *out = 0;
    for (int d = from; ; d = (d + 1) % 7) {
        *out |= (uint8_t)(1u << d);
        if (d == to)
            break;
    }
    *v = p + 4;
    return 0;
}

static int parse_span(const char *v, const char *end, struct rate_plan *p)
{
    if (p->n == RATE_SPANS)
        return err_set(ERR_USAGE, "more than %d times", RATE_SPANS);
    int r = parse_days(&v, &p->span[p->n].days);
    if (r == 0 && (end - v < 13 || v[5] != '-' || v[11] != '='))
        r = err_set(ERR_USAGE, "hours and their rate are HH:MM-HH:MM=RATE");
    if (r == 0 && (r = parse_time(v, &p->span[p->n].from)) == 0)
        r = parse_time(v + 6, &p->span[p->n].to);
    if (r == 0)
        r = parse_rate(v + 12, (size_t)(end - v - 12), &p->span[p->n].rate);
    p->n++;
    return r;
}

int rate_parse(const char *text, struct rate_plan *out)
{
    struct rate_plan p = {0};
    size_t len = strcspn(text, " ");
    int r = len ? parse_rate(text, len, &p.rate) : *text ? err_set(ERR_USAGE, "a rate comes first") : 0;
    for (text += len; r == 0 && *text; text += len) {
        len = strcspn(++text, " ");
        r = parse_span(text, text + len, &p);
    }
    if (r == 0)
        *out = p;
    return r;
}

/* ---- the week ---- */

uint64_t rate_at(const struct rate_plan *p, int weekday, int minute)
{
    uint64_t rate = p->rate;
    unsigned today = 1u << weekday, yesterday = 1u << (weekday + 6) % 7;
    for (unsigned i = 0; i < p->n; i++) {
        int from = p->span[i].from, to = p->span[i].to;
        bool over = to <= from;          /* midnight */
        bool in = p->span[i].days & today && minute >= from && (over || minute < to);
        if (in || (over && p->span[i].days & yesterday && minute < to))
            rate = p->span[i].rate;
    }
    return rate;
}

static uint64_t present(const struct rate_plan *p, uint64_t wall)
{
    time_t t = (time_t)(wall / 1000);
    struct tm tm;
    return p->n && localtime_r(&t, &tm) ? rate_at(p, tm.tm_wday, tm.tm_hour * 60 + tm.tm_min) : p->rate;
}

/* ---- the bucket ---- */

uint64_t rate_wait(struct rate *r, uint64_t now, uint64_t wall)
{
    r->per_s = present(&r->plan, wall);
    if (!r->per_s) {
        r->tokens = 0;
        r->at = now;
        return 0;
    }
    uint64_t ms = now - r->at < IDLE_MS ? now - r->at : IDLE_MS, more = ms * r->per_s + r->thousandths;
    int64_t most = (int64_t)(r->per_s * BURST_MS / 1000);
    r->tokens += (int64_t)(more / 1000);
    r->thousandths = more % 1000;
    r->at = now;
    if (r->tokens > most)
        r->tokens = most;
    return r->tokens > 0 ? 0 : (uint64_t)-r->tokens * 1000 / r->per_s + 1;
}

void rate_take(struct rate *r, int64_t bytes)
{
    if (r->per_s)
        r->tokens -= bytes;
}
