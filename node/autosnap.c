#include "node/autosnap.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/engine.h"

#define KEEP_MAX 168u                  /* of a kind: a week of hours; all three leave room for others among LIMIT_SNAPSHOTS */

/* `form` is what a name looks like behind the prefix: 0 is any digit. */
static const struct { const char *word, *prefix, *format, *form; } periods[PERIODS] = {
    [PERIOD_HOUR] = {"hourly", "auto-hourly-", "%Y-%m-%dT%H", "0000-00-00T00"},
    [PERIOD_DAY] = {"daily", "auto-daily-", "%Y-%m-%d", "0000-00-00"},
    [PERIOD_WEEK] = {"weekly", "auto-weekly-", "%G-W%V", "0000-W00"},
};

/* ---- the setting ---- */

/* One of "hourly=24"; the rest of the text, or NULL. */
static const char *parse_one(const char *text, struct autosnap *out)
{
    for (int p = 0; p < PERIODS; p++) {
        size_t n = strlen(periods[p].word);
        if (strncmp(text, periods[p].word, n) != 0 || text[n] != '=' || !isdigit((unsigned char)text[n + 1]) || out->keep[p])
            continue;
        char *end;
        unsigned long v = strtoul(text + n + 1, &end, 10);
        out->keep[p] = (uint32_t)v;
        return v >= 1 && v <= KEEP_MAX && (*end == ' ' || *end == '\0') ? end : NULL;
    }
    return NULL;
}

int autosnap_parse(const char *text, struct autosnap *out)
{
    struct autosnap a = {0};
    const char *p = *text ? text : NULL;
    while (p) {
        p = parse_one(p, &a);
        if (!p || (*p == ' ' && !p[1]))
            return err_set(ERR_BAD, "not like \"hourly=24 daily=7 weekly=4\", each at most once and at most %u", KEEP_MAX);
        p = *p == ' ' ? p + 1 : NULL;
    }
    memcpy(out->keep, a.keep, sizeof out->keep);
    return 0;
}

/* ---- names ---- */

void autosnap_name(enum period p, uint64_t wall_ms, char out[static LIMIT_SNAPSHOT_NAME + 1])
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    size_t n = strlen(periods[p].prefix);
    memcpy(out, periods[p].prefix, n);
    n = strftime(out + n, LIMIT_SNAPSHOT_NAME + 1 - n, periods[p].format, &tm);
    assert(n > 0);
}

static bool is_of(enum period p, const char *name)
{
    size_t n = strlen(periods[p].prefix);
    if (strncmp(name, periods[p].prefix, n) != 0)
        return false;
    const char *form = periods[p].form;
    for (name += n; *name && *form; name++, form++)
        if (*form == '0' ? !isdigit((unsigned char)*name) : *name != *form)
            return false;
    return !*name && !*form;
}

/* ---- what is there ---- */

struct own { const struct snapshot *newest, *oldest; size_t n; bool there; };   /* there: the name that is due */

/* Names of a period are in the order of time, and so is the list. */
static int look(struct engine *e, enum period p, const char *name, struct own *out)
{
    const struct snapshot *v;
    size_t n;
    *out = (struct own){0};
    int r = engine_snapshots(e, &v, &n);
    for (size_t i = 0; r == 0 && i < n; i++) {
        out->there |= strcmp(v[i].name, name) == 0;
        if (!is_of(p, v[i].name) || !engine_is_own(e, &v[i].dev))
            continue;
        out->newest = &v[i];
        if (out->n++ == 0)
            out->oldest = &v[i];
    }
    return r;
}

/* ---- doing ---- */

static int commit(struct engine *e, int (*what)(struct engine *, const char *, uint64_t), const char *name, uint64_t wall_ms)
{
    int r = engine_begin(e);
    if (r < 0)
        return r;
    r = what(e, name, wall_ms);
    if (r < 0)
        engine_rollback(e);
    else
        r = engine_commit(e, wall_ms);
    return r;
}

/* 1 = made. */
static int make_due(struct autosnap *a, struct engine *e, enum period p, uint64_t wall_ms)
{
    char name[LIMIT_SNAPSHOT_NAME + 1];
    struct own own;
    autosnap_name(p, wall_ms, name);
    if (strcmp(a->done[p], name) == 0)
        return 0;
    int r = look(e, p, name, &own);
    bool changed = !own.newest;
    if (r == 0 && !own.there && own.newest)
        r = engine_changed_since(e, &own.newest->vector, &changed);
    if (r < 0 || (!own.there && !changed))     /* it may change within this period */
        return r;
    if (!own.there)
        r = commit(e, engine_snapshot_create, name, wall_ms);
    if (r == 0)
        memcpy(a->done[p], name, sizeof name);
    return r < 0 ? r : !own.there;
}

/* The number removed. */
static int remove_old(struct autosnap *a, struct engine *e, enum period p, uint64_t wall_ms)
{
    struct own own;
    int removed = 0;
    for (;; removed++) {
        char name[LIMIT_SNAPSHOT_NAME + 1];
        int r = look(e, p, "", &own);
        if (r < 0 || own.n <= a->keep[p])
            return r < 0 ? r : removed;
        memcpy(name, own.oldest->name, sizeof name);
        r = commit(e, engine_snapshot_remove, name, wall_ms);
        if (r < 0)
            return r;
    }
}

int autosnap_run(struct autosnap *a, struct engine *e, uint64_t wall_ms)
{
    int news = 0;
    for (enum period p = PERIOD_HOUR; p < PERIODS; p++) {
        if (!a->keep[p])
            continue;
        int made = make_due(a, e, p, wall_ms);
        int removed = made < 0 ? 0 : remove_old(a, e, p, wall_ms);
        if (made < 0 || removed < 0)
            return made < 0 ? made : removed;
        news |= made | (removed > 0);
    }
    return news;
}
