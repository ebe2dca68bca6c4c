#include "node/scan_priv.h"

#include <stdlib.h>
#include <string.h>

#include "node/log.h"
#include "proto/path.h"

enum { SETTLE_MS = 15, HINTS_MAX = 20000, RETRY_MS = 2000 };
#define FULL_PERIOD_MS (3600u * 1000)
#define FULL_PERIOD_UNWATCHED_MS (60u * 1000)

static void on_timer(void *arg);

/* ---- hints ---- */

void hints_add(struct hints *h, const char *path, size_t len, bool deep, uint64_t due)
{
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 32;
        h->v = xrealloc(h->v, h->cap, sizeof *h->v);
    }
    char *copy = xcalloc(len + 1, 1);
    memcpy(copy, path, len);
    h->v[h->n++] = (struct hint){copy, len, deep, due};
}

void hints_release(struct hints *h)
{
    for (size_t i = 0; i < h->n; i++)
        free(h->v[i].path);
    free(h->v);
    *h = (struct hints){0};
}

static int by_path(const void *a, const void *b)
{
    const struct hint *x = a, *y = b;
    int r = strcmp(x->path, y->path);
    return r ? r : (int)y->deep - (int)x->deep;
}

/* One look a path, however often it was named; the deep one wins. */
static void hints_unique(struct hints *h)
{
    if (h->n)
        qsort(h->v, h->n, sizeof *h->v, by_path);
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        if (n && strcmp(h->v[n - 1].path, h->v[i].path) == 0)
            free(h->v[i].path);
        else
            h->v[n++] = h->v[i];
    h->n = n;
}

void scan_wake(struct scan *s, uint64_t in_ms)
{
    uint64_t due = loop_now() + in_ms;
    if (!s->timer.set || s->timer.due > due)
        loop_timer_set(s->c.loop, &s->timer, in_ms, on_timer, s);
}

void scan_later(struct scan *s, const char *path, size_t len, uint64_t in_ms)
{
    hints_add(&s->later, path, len, false, loop_now() + in_ms);
    scan_wake(s, in_ms);
}

void scan_hint(struct scan *s, const char *path, size_t len, bool deep)
{
    if (len == 0 || s->soon.n > HINTS_MAX)
        s->full_wanted = true;
    else if (!s->full_wanted || s->looking)
        hints_add(&s->soon, path, len, deep, 0);
    if (len == strlen(RULES_FILE) && memcmp(path, RULES_FILE, len) == 0)
        s->rules_changed = s->full_wanted = true;
    scan_wake(s, SETTLE_MS);
}

static void on_changed(void *arg, const char *path, size_t len, bool deep) { scan_hint(arg, path, len, deep); }

void scan_all(struct scan *s)
{
    s->full_wanted = true;
    scan_wake(s, 0);
}

void scan_stop(struct scan *s) { s->stopped = true; }

bool scan_ignored(struct scan *s, const char *path, size_t len, bool is_dir)
{
    return ignore_match_deep(s->ignore, path, len, is_dir) || (!is_dir && database_part(s->c.folder, path, len));
}

/* ---- starting a look ---- */

static void move_due(struct scan *s)
{
    uint64_t now = loop_now(), next = UINT64_MAX;
    size_t n = 0;
    for (size_t i = 0; i < s->later.n; i++) {
        struct hint *h = &s->later.v[i];
        if (h->due <= now) {
            hints_add(&s->soon, h->path, h->len, h->deep, 0);
            free(h->path);
        } else {
            next = h->due < next ? h->due : next;
            s->later.v[n++] = *h;
        }
    }
    s->later.n = n;
    if (next != UINT64_MAX)
        scan_wake(s, next - now);
}

/* A walk tells what is there; what is not there is what it has not seen. */
static void begin_seen(struct scan *s)
{
    int64_t max = 0;
    if (index_path_max(s->c.index, &max) < 0)
        log_warn("index: %s", err_text());
    s->seen_bits = (size_t)max + 1;
    free(s->seen);
    s->seen = xcalloc(s->seen_bits / 8 + 1, 1);
}

static void begin_full(struct scan *s)
{
    s->counting = (struct scan_figures){0};
    s->full_wanted = false;
    s->next_full = loop_now() + s->full_period;
    hints_release(&s->soon);
    rules_load(s);
}

static void begin_look(struct scan *s)
{
    if (!take_flush(s))                 /* so that nothing is found missing or new twice */
        return;
    watch_drain(s->watch);
    s->full_look = s->full_wanted || s->braked;
    if (s->full_look)
        begin_full(s);
    else if (s->rules_changed)
        rules_load(s);
    hints_unique(&s->soon);
    begin_seen(s);
    s->looking = true;
    s->looks++;
    look_start(s, &s->soon, s->full_look);
}

static void on_timer(void *arg)
{
    struct scan *s = arg;
    if (s->stopped || s->looking)
        return;
    move_due(s);
    if (loop_now() >= s->next_full)
        s->full_wanted = true;
    if (s->soon.n || s->full_wanted)
        begin_look(s);
    else
        scan_wake(s, s->next_full - loop_now());
}

void scan_forget_look(struct scan *s)
{
    for (size_t i = 0; i < s->nfresh; i++)
        free(s->fresh[i].path);
    for (size_t i = 0; i < s->nmissing; i++)
        free(s->missing[i].path);
    free(s->fresh);
    free(s->missing);
    free(s->inodes);
    s->fresh = NULL;
    s->missing = NULL;
    s->inodes = NULL;
    s->nfresh = s->fresh_cap = s->nmissing = s->missing_cap = 0;
}

static void look_failed(struct scan *s, const struct look *l)
{
    scan_forget_look(s);
    s->root_bad = true;
    s->full_wanted = true;
    s->c.ops.failed(s->c.ops.arg, l->text);
    scan_wake(s, RETRY_MS);
}

void scan_on_look_done(struct scan *s, struct look *l)
{
    s->looking = false;
    s->full_period = l->watch_full ? FULL_PERIOD_UNWATCHED_MS : FULL_PERIOD_MS;
    if (l->watch_full)
        log_seldom(LOG_WARN, "%s; until then the whole folder is looked at every minute", l->watch_text);
    if (s->stopped) {
        scan_forget_look(s);
        return;
    }
    if (l->code < 0) {
        look_failed(s, l);
    } else {
        if (s->root_bad)
            s->c.ops.failed(s->c.ops.arg, NULL);
        s->root_bad = false;
        scan_settle(s, &l->hints);
        if (s->full_look) {
            s->last = s->counting;
            s->first_done = true;
            s->next_full = loop_now() + s->full_period;
        }
    }
    hints_release(&s->unreadable);
    take_pump(s);
    move_due(s);
    scan_wake(s, s->root_bad ? RETRY_MS : s->soon.n || s->full_wanted ? 0 : s->next_full - loop_now());
}

/* ---- questions, life cycle ---- */

bool scan_idle(struct scan *s)
{
    watch_drain(s->watch);
    return !s->looking && !s->soon.n && !s->full_wanted && !s->hashing && !s->queue && !s->nfact;
}

bool scan_first_done(const struct scan *s) { return s->first_done; }
uint64_t scan_errors(const struct scan *s) { return s->told.n; }

void scan_accept_deletions(struct scan *s)
{
    s->accept = true;
    s->braked = false;
    scan_all(s);
}

bool scan_braked(const struct scan *s, uint64_t *files)
{
    *files = s->brake_files;
    return s->braked;
}

void scan_figures(const struct scan *s, struct scan_figures *out)
{
    *out = s->last;
    out->changed = s->counting.changed;
}

int scan_new(const struct scan_config *c, struct scan **out)
{
    struct scan *s = xcalloc(1, sizeof *s);
    s->c = *c;
    rules_begin(s);
    s->full_period = FULL_PERIOD_MS;
    s->full_wanted = true;
    struct watch_ops ops = {.changed = on_changed, .arg = s};
    int r = watch_new(c->loop, folder_path(c->folder), &ops, &s->watch);
    if (r < 0) {
        scan_free(&s);
        return r;
    }
    scan_wake(s, 0);
    *out = s;
    return 0;
}

/* The pool has been freed before: no job of ours is under way. */
void scan_free(struct scan **ps)
{
    struct scan *s = *ps;
    if (!s)
        return;
    loop_timer_clear(s->c.loop, &s->timer);
    watch_free(&s->watch);
    take_release(s);
    scan_forget_look(s);
    hints_release(&s->soon);
    hints_release(&s->later);
    hints_release(&s->unreadable);
    rules_release(s);
    free(s->seen);
    free(s);
    *ps = NULL;
}
