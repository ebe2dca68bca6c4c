#include "node/strict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/log.h"
#include "node/pathset.h"
#include "proto/limits.h"

enum { BATCH = 500, READY_MS = 100, AGAIN_MS = 300, TRIES = 20 };

struct file { int64_t path; char *name; size_t len; struct stamp is, now; uint32_t mode; int code; };
struct batch { struct job job; struct strict *s; size_t n; struct file v[BATCH]; bool flush, force; int code; char text[200]; };
struct strict {
    struct strict_config c;
    enum { RESTS, PASSES } state;
    bool on, begun;                  /* the direction; whether one has been given */
    int64_t after;                   /* the last row that has been looked at in this pass */
    size_t changed, failed;          /* files; `failed`: not as on record, in this pass */
    unsigned tries;
    struct batch *b;                 /* under way */
    struct loop_timer timer;
    struct pathset busy;
};

static void step(void *arg);

static void step_in(struct strict *s, uint64_t ms) { loop_timer_set(s->c.loop, &s->timer, ms, step, s); }

/* ---- in the worker ---- */

/* It is being written to, and was not read yet: the scan will see all of that. ERR_CHANGED in any case: nothing is to be recorded. */
static int set_anyway(const struct folder *f, struct file *v)
{
    struct stamp st;
    int r = folder_stat(f, v->name, v->len, &st);
    if (r == 0 && st.kind == STAMP_FILE && st.mode == v->is.mode)
        r = folder_set_mode(f, v->name, v->len, &st, v->mode, &v->now);
    return r < 0 ? r : ERR_CHANGED;
}

static void run(struct job *j)
{
    struct batch *b = (struct batch *)j;
    const struct folder *f = b->s->c.folder;
    if (b->flush)
        b->code = folder_flush(f);
    for (size_t i = 0; i < b->n; i++) {
        struct file *v = &b->v[i];
        v->code = folder_set_mode(f, v->name, v->len, &v->is, v->mode, &v->now);
        if (v->code == ERR_CHANGED && b->force)
            v->code = set_anyway(f, v);
        if (v->code < 0 && v->code != ERR_CHANGED && v->code != ERR_NOTFOUND)
            b->code = v->code;
    }
    if (b->code < 0)
        snprintf(b->text, sizeof b->text, "%s", err_text());
}

/* ---- a batch ---- */

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        free(b->v[i].name);
    free(b);
}

static int add(struct strict *s, struct batch *b, const struct ix_local *l, uint32_t mode)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    int r = index_path_get(s->c.index, l->path, &name, NULL);
    if (r < 0)
        return r;
    struct file *v = &b->v[b->n++];
    *v = (struct file){.path = l->path, .name = xcalloc(name.len + 1, 1), .len = name.len, .is = l->stamp, .mode = mode, .code = ERR_CLOSED};
    memcpy(v->name, name.data, name.len);
    return 0;
}

static int collect(void *arg, const struct ix_local *l)
{
    struct batch *b = arg;
    uint32_t mode;
    int r = engine_strict_row(b->s->c.engine, l, b->s->on, &mode);
    if (r > 0)
        r = add(b->s, b, l, mode);
    b->s->after = l->path;
    return r < 0 ? r : b->n == BATCH;
}

/* What has changed meanwhile was recorded by somebody else. */
static int record_one(struct strict *s, const struct file *v)
{
    struct ix_local l;
    int r = index_local_get(s->c.index, v->path, &l);
    if (r < 0 || !stamp_same(&l.stamp, &v->is))
        return r == ERR_NOTFOUND ? 0 : r;
    l.stamp = v->now;                /* its contents are as settled as before: the time of the last write has not changed */
    return index_local_put(s->c.index, &l);
}

static int record(struct strict *s, const struct batch *b)
{
    int r = engine_begin(s->c.engine);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < b->n; i++) {
        if (b->v[i].code == 0)
            r = record_one(s, &b->v[i]);
        s->changed += b->v[i].code == 0;
        s->failed += b->v[i].code == ERR_CHANGED;
    }
    if (r == 0)
        return engine_commit(s->c.engine, loop_wall());
    engine_rollback(s->c.engine);
    return r;
}

/* ---- the pass ---- */

static void reach_off(struct strict *s)
{
    if (engine_set_strict(s->c.engine, false, loop_wall()) < 0) {
        log_seldom(LOG_WARN, "read-only files: %s", err_text());
        step_in(s, AGAIN_MS);
        return;
    }
    s->state = RESTS;
    log_info("files have their modes again files=%zu", s->changed);
    s->c.ops.done(s->c.ops.arg);
}

static void done(struct job *j)
{
    struct batch *b = (struct batch *)j;
    struct strict *s = b->s;
    s->b = NULL;
    pathset_release(&s->busy);
    if (b->code < 0)
        log_seldom(LOG_WARN, "read-only files: %s", b->text);
    bool over = *pool_stopping(s->c.pool), flushed = b->flush && !s->on && b->code == 0;
    if (!over && b->n && record(s, b) < 0)
        log_seldom(LOG_WARN, "read-only files: %s", err_text());
    batch_free(b);
    if (over)
        return;
    if (flushed)
        reach_off(s);
    else
        step_in(s, 0);
}

static void submit(struct strict *s, struct batch *b)
{
    s->b = b;
    for (size_t i = 0; i < b->n; i++)
        pathset_put(&s->busy, b->v[i].name, b->v[i].len, 0);
    pool_submit(s->c.pool, &b->job);
}

/* On the way back a file that was not as on record is waited for: an edit that is recorded after the word in the index has gone would be
 * one of its mode, too. Not for ever: at last it gets its mode as it is. */
static void end_pass(struct strict *s, struct batch *b)
{
    s->after = 0;
    if (s->on) {
        s->state = RESTS;
        log_info("files are read-only files=%zu", s->changed);
        batch_free(b);
    } else if (s->failed && ++s->tries < TRIES) {
        s->failed = 0;
        step_in(s, AGAIN_MS);
        batch_free(b);
    } else {
        b->flush = true;
        submit(s, b);
    }
}

static void step(void *arg)
{
    struct strict *s = arg;
    if (s->state != PASSES || s->b)
        return;
    if (!s->c.ops.ready(s->c.ops.arg)) {
        step_in(s, READY_MS);
        return;
    }
    struct batch *b = xcalloc(1, sizeof *b);
    b->job = (struct job){.run = run, .done = done};
    b->s = s;
    b->force = !s->on && s->tries + 1 == TRIES;
    int r = index_local_after(s->c.index, s->after, collect, b);
    if (r < 0) {
        log_seldom(LOG_WARN, "read-only files: %s", err_text());
        batch_free(b);
        step_in(s, AGAIN_MS);
    } else if (b->n) {
        submit(s, b);
    } else {
        end_pass(s, b);
    }
}

void strict_want(struct strict *s, bool on)
{
    if (on && !engine_strict(s->c.engine) && engine_set_strict(s->c.engine, true, loop_wall()) < 0) {
        log_seldom(LOG_WARN, "read-only files: %s", err_text());
        return;
    }
    if (!engine_strict(s->c.engine) || (s->begun && s->on == on))
        return;
    engine_strict_ends(s->c.engine, !on);
    s->on = on;
    s->begun = true;
    s->state = PASSES;
    s->after = 0;
    s->changed = s->failed = 0;
    s->tries = 0;
    step_in(s, 0);
}

bool strict_undoing(const struct strict *s) { return s->state == PASSES && !s->on; }

bool strict_touches(const struct strict *s, const char *path, size_t len) { return pathset_get(&s->busy, path, len, NULL); }

struct strict *strict_new(const struct strict_config *c)
{
    struct strict *s = xcalloc(1, sizeof *s);
    s->c = *c;
    return s;
}

void strict_free(struct strict **ps)
{
    struct strict *s = *ps;
    if (!s)
        return;
    loop_timer_clear(s->c.loop, &s->timer);
    pathset_release(&s->busy);
    free(s);
    *ps = NULL;
}
