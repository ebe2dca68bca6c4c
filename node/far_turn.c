/* What is news for whom, and whose turn it is. */
#include <stdlib.h>
#include <string.h>

#include "node/far_priv.h"

bool far_heard_lately(const struct far_device *d) { return d->heard && loop_now() < d->heard + FAR_PRESENT_MS; }

void far_hear(struct far *f, struct far_device *d, uint64_t when)
{
    bool was = far_heard_lately(d);
    d->heard = when > d->heard ? when : d->heard;
    if (was || !far_heard_lately(d))
        return;
    d->changed = ++f->news;
    f->look_due = 0;
}

bool far_keep(struct far *f, struct far_device *d, const void *blob, size_t len)
{
    struct id meaning = vec_meaning(blob, len);
    bool news = !d->len || memcmp(d->meaning, meaning.b, sizeof d->meaning) != 0;
    memcpy(d->meaning, meaning.b, sizeof d->meaning);
    d->vec = xrealloc(d->vec, len, 1);
    memcpy(d->vec, blob, len);
    d->len = len;
    if (news)
        d->changed = ++f->news;
    return news;
}

static int by_number(const void *a, const void *b)
{
    const struct far_piece *x = a, *y = b;
    return x->changed < y->changed ? -1 : x->changed > y->changed;
}

uint64_t far_fit(struct far_piece *p, size_t n, size_t most, uint64_t news)
{
    size_t sum = 0;
    if (n)
        qsort(p, n, sizeof *p, by_number);
    for (size_t i = 0; i < n; i++) {
        sum += p[i].len;
        if (i && sum > most)
            return p[i - 1].changed;
    }
    return news;
}

uint64_t far_heard_by_age(uint64_t sent, uint64_t age_ms) { return sent > age_ms ? sent - age_ms : 1; }

/* What concerns `to` itself is no news for it. */
static bool is_news_for(const struct far_device *d, const struct far_device *to) { return d->changed > to->said && d != to; }

bool far_names(const struct far_device *d, const struct far_device *to) { return d->len && is_news_for(d, to); }

static bool has_news_for(const struct far *f, const struct far_device *to)
{
    for (size_t i = 0; i < f->n && to->said < f->news; i++)
        if (is_news_for(&f->d[i], to))
            return true;
    return false;
}

static bool is_urgent(const struct far *f, const struct far_device *d)
{
    uint64_t now = loop_now();
    return now >= d->asked + FAR_OVERDUE_MS || (now >= d->mute_until && (d->hot || has_news_for(f, d)));
}

struct far_device *far_next(struct far *f, bool (*can_be_asked)(const void *arg, const struct id *dev), const void *arg, bool *more)
{
    struct far_device *best = NULL;
    bool any = false;                    /* best is urgent */
    size_t urgent = 0, under_way = 0;
    for (size_t i = 0; i < f->n; i++) {
        struct far_device *d = &f->d[i];
        under_way += d->busy && loop_now() < d->asked + FAR_SLOW_MS;
        if (d->busy || !can_be_asked(arg, &d->dev))
            continue;
        bool u = is_urgent(f, d);
        urgent += u;
        if (!best || u > any || (u == any && d->asked < best->asked)) {
            best = d;
            any = u;
        }
    }
    if (under_way >= FAR_ASKS_MAX || (!any && loop_now() < f->ages_due))
        best = NULL;
    *more = urgent > (best && any);
    return best;
}

bool far_look_is_due(const struct far *f, bool was) { return f->large != was || (f->large && loop_now() >= f->look_due); }

struct far_device *far_to_dial(struct far *f, enum far_lack lack, uint64_t for_ms)
{
    struct far_device *best = NULL;
    uint64_t now = loop_now();
    for (size_t i = 0; i < f->n; i++) {
        struct far_device *d = &f->d[i];
        if (d->lack >= lack && now >= d->lacks + for_ms && now >= d->wanted && (!best || d->wanted < best->wanted))
            best = d;
    }
    return best;
}

bool far_may_hurry(const struct far_device *d)
{
    uint64_t now = loop_now();
    return !d->busy && now >= d->mute_until && now >= d->asked + FAR_HURRY_MS;
}

/* What it has just told itself is no news for it. */
void far_answered(struct far *f, struct far_device *d, uint64_t news, uint64_t before, uint64_t upto, bool early)
{
    d->said = news == before ? f->news : news;
    d->upto = early ? d->upto : upto;
    d->early = early;
}

void far_ask_the_early(struct far *f)
{
    for (size_t i = 0; i < f->n; i++) {
        f->d[i].hot |= f->d[i].early;
        f->d[i].early = false;
    }
}
