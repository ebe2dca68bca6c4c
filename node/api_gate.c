/* The side of a required version that the user of a locked device sees. */
#include <string.h>

#include "node/api_priv.h"
#include "node/lock.h"

#define PATHS_SHOWN 5

struct shown { struct index *index; struct buf list; uint32_t n; };
static int show_path(void *arg, const struct ix_want *w)
{
    struct shown *s = arg;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    int r = index_path_get(s->index, w->path, &name, NULL);
    if (r < 0)
        return r;
    mp_put_bin(&s->list, name.data, name.len);
    return ++s->n == PATHS_SHOWN;
}

/* The first paths of those that are still to come: a user may be able to help, by closing a file or moving what is in the way. */
static int put_waits_for(struct buf *b, struct node *n)
{
    struct shown s = {.index = n->index, .list = BUF_INIT(PATHS_SHOWN * (LIMIT_PATH + 16))};
    int r = engine_lock_each(n->engine, show_path, &s);
    mp_put_str(b, "waits_for");
    mp_put_array(b, s.n);
    buf_add(b, s.list.data, s.list.len);
    buf_release(&s.list);
    return r < 0 ? r : 0;
}

static int put_gate(struct buf *b, struct node *n)
{
    struct engine_lock l;
    int r = engine_lock(n->engine, &l);
    if (r < 0)
        return r;
    bool locked = lock_holds(n);
    const struct required *q = locked && l.what ? l.what->what : NULL;
    mp_put_map(b, q ? 7 : 6);
    put_bool(b, "locked", locked);
    put_text(b, "message", q ? q->message : NULL);
    put_text(b, "by", q ? member_name(n, &q->by) : NULL);
    put_time(b, "until", q ? q->until_ms : 0);
    mp_put_str(b, "progress");
    if (q) {
        mp_put_map(b, 2);
        put_u64(b, "done", l.done);
        put_u64(b, "total", l.total);
    } else {
        mp_put_nil(b);
    }
    put_bool(b, "waits", l.state == LOCK_WAITS);
    return q ? put_waits_for(b, n) : 0;
}

static int answer(struct session *s, bool more)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    int r = put_gate(&b, s->n);
    if (r == 0)
        session_reply(s, more, &b);
    return r;
}

static int check_open(struct session *s) { return lock_holds(s->n) ? 0 : answer(s, false); }

static void late_gate(struct session *s)
{
    session_fail(s, EXIT_LOCKED, need_unlocked(s->n) < 0 ? err_text() : "still locked");
}

static int wait_open(struct session *s, const struct bytes *args)
{
    uint64_t timeout = NO_LIMIT;
    int r = arg_u64(args, "timeout_ms", &timeout);
    if (r == 0)
        session_wait(s, check_open, timeout, timeout == NO_LIMIT ? NULL : late_gate);
    return r;
}

static int accept(struct session *s)
{
    int r = lock_accept(s->n);
    return r < 0 ? r : answer(s, false);
}

static int override(struct session *s, const struct bytes *args)
{
    AUTOFREE char *reason = NULL;
    int r = arg_text(args, "reason", &reason);
    if (r == 0)
        r = lock_override(s->n, reason);
    return r < 0 ? r : answer(s, false);
}

/* Without a check: a program may be run for days, and nothing happens meanwhile. */
static int follow(struct session *s)
{
    s->gate = true;
    return answer(s, true);
}

void api_locked(struct api *a)
{
    for (struct session *s = a ? a->sessions : NULL; s; s = s->next)
        if (s->state == SESSION_RUNNING && s->gate && answer(s, true) < 0)
            session_fail(s, EXIT_FAILED, err_text());
}

int run_gate(struct session *s, const struct bytes *args)
{
    AUTOFREE char *op = NULL;
    int r = arg_text(args, "op", &op);
    if (r == 0)
        r = need_member(s->n);
    if (r < 0)
        return r;
    if (!op || strcmp(op, "status") == 0)
        return answer(s, false);
    if (strcmp(op, "wait") == 0)
        return wait_open(s, args);
    if (strcmp(op, "follow") == 0)
        return follow(s);
    if (strcmp(op, "override") == 0)
        return override(s, args);
    return strcmp(op, "accept") == 0 ? accept(s) : err_set(ERR_USAGE, "gate: use status, accept, wait, override or run -- CMD");
}
