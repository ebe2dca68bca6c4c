/* Required versions: admins declare and cancel them, devices hear of them with vectors, are locked and reach them; as node/lock.c and
 * node/control_sync.c do it. A schedule that has them has no accidents and no twins: those lose what a device was locked for. */
#include <string.h>

#include "tests/sim/sim.h"

#define GRACE_MS 30000

/* ---- what must hold ---- */

static bool is_held(const struct device *d) { return d->engine && engine_holds_back(d->engine); }

/* A version that counts for the device and that none which it knows supersedes. */
static bool is_head(const struct world *w, int i, size_t v)
{
    const struct model *m = &w->model;
    for (size_t k = 0; k < m->n; k++)
        if ((m->v[k].supersedes[v / 64] >> (v % 64) & 1) && model_knows(w, i, &m->v[k]))
            return false;
    return true;
}

static bool covers(const struct required *q, const struct version_of *v)
{
    for (size_t k = 0; k < q->nmin; k++)
        if (sid_eq(&q->min[k].sid, &v->dot.sid) && v->dot.seq <= q->min[k].seq)
            return true;
    return false;
}

/* Of this version, if the device is to have its content. */
static bool needs_content(const struct world *w, int i, const struct required *q, size_t v)
{
    const struct version_of *o = &w->model.v[v];
    return o->kind == KIND_FILE && o->content % 3 && covers(q, o) && model_knows(w, i, o) && is_head(w, i, v);
}

/* Who says that it has reached a version has had every content of it on its disk, as far as nothing later has taken its place. */
static void check_reached(struct world *w, int i, const struct required *q)
{
    for (size_t k = 0; k < q->nmin; k++)
        if (engine_known_of(w->d[i].engine, &q->min[k].sid) < q->min[k].seq && fork_end(w->d[i].engine, &q->min[k].sid) == UINT64_MAX)
            fail(w, "d%d: says that it has reached a version of which it does not know all", i);
    for (size_t v = 0; v < w->model.n; v++) {
        const struct version_of *o = &w->model.v[v];
        if (needs_content(w, i, q, v) && !w->d[i].disk.ever[o->content])
            fail(w, "d%d: says that it has reached a version, but never had content %u of %s", i, o->content, path_name[o->path]);
    }
}

/* Nobody can have it any more. An admin took back what it had dated in the future; or a user has made a file equal to another version of
 * it, so that nothing took the place of the one that was lost. */
static bool is_lost(const struct world *w, int i, const struct required *q)
{
    for (size_t k = 0; k < q->nmin; k++)
        for (int j = 0; j < w->n; j++)
            if (engine_end(w->d[j].engine, &q->min[k].sid) < q->min[k].seq)
                return true;
    for (size_t v = 0; v < w->model.n; v++)
        if (needs_content(w, i, q, v) && !content_is_somewhere(w, w->model.v[v].content))
            return true;
    return false;
}

static bool somebody_serves(struct world *w, int i, const struct sid *sid, uint64_t seq)
{
    const struct engine *e = w->d[i].engine;
    for (size_t k = 0; k < e->npeer; k++) {
        const struct vec_stream *s = e->peer[k].online && e->peer[k].have ? vec_find(&e->peer[k].vec, sid) : NULL;
        if (s && s->content >= seq)
            return true;
    }
    return false;
}

/* Of a stream that has ended what does not count any more is waited for by nobody; nor what it has written itself and keeps to itself, which
 * its vector does not say. */
static bool is_served(struct world *w, int i, const struct cut *c)
{
    uint64_t end = engine_end(w->d[i].engine, &c->sid), seq = c->seq < end ? c->seq : end;
    return engine_content_here(w->d[i].engine, &c->sid) >= seq || somebody_serves(w, i, &c->sid, seq);
}

/* Nobody is locked for longer than the time of grace when what it lacks cannot be had. */
static void check_served(struct world *w, int i, const struct required *q)
{
    struct locked *l = &w->d[i].lock;
    bool served = true;
    for (size_t k = 0; k < q->nmin; k++)
        served &= is_served(w, i, &q->min[k]);
    if (served)
        l->unserved = 0;
    else if (!l->unserved)
        l->unserved = w->now;
    else if (w->now >= l->unserved + GRACE_MS)
        fail(w, "d%d: is locked, and for %llu ms nobody could help it", i, (unsigned long long)(w->now - l->unserved));
}

/* What it has written since it was locked nobody else knows. */
void check_held(struct world *w)
{
    for (int i = 0; i < w->n; i++) {
        const struct locked *l = &w->d[i].lock;
        for (size_t v = l->mark; l->held && v < w->model.n; v++)
            for (int k = 0; k < w->n; k++)
                if (w->model.v[v].author == i && k != i && w->d[k].engine && model_knows(w, k, &w->model.v[v]))
                    fail(w, "d%d: knows what d%d has written while locked: %s", k, i, path_name[w->model.v[v].path]);
    }
}

/* ---- a device looks ---- */

static enum lock_state state_of(struct world *w, int i, const struct requirement **q)
{
    struct engine_lock l;
    MUST(engine_lock(w->d[i].engine, &l));
    *q = l.what;
    return l.state;
}

static void follow(struct world *w, int i, enum lock_state was)
{
    struct locked *l = &w->d[i].lock;
    const struct requirement *q;
    enum lock_state state = state_of(w, i, &q);
    if (is_held(&w->d[i]) && !l->held)
        l->mark = w->model.n;
    l->held = is_held(&w->d[i]);
    if (state == LOCK_REACHED && was != LOCK_REACHED)
        check_reached(w, i, q->what);
    if (l->held)
        check_served(w, i, q->what);
    else
        l->unserved = 0;
    if (state != was)
        tell(w, "d%d: lock %d, was %d", i, state, was);
}

void device_lock(struct world *w, int i)
{
    const struct requirement *q;
    if (!w->faults.require || !w->d[i].engine)
        return;
    busy_device = i;
    enum lock_state was = state_of(w, i, &q);
    int r = engine_lock_look(w->d[i].engine, device_wall(w, i), w->now);
    MUST(r);
    w->progress |= r > 0;
    follow(w, i, was);
    if (r > 0 && !crashes_here(w, i, "behind a look at its lock"))
        device_publish(w, i);
}

/* ---- admins, and users ---- */

static void issue(struct world *w, int i, const struct ctl_op *op)
{
    admin_issue(w, i, op);
    if (!crashes_here(w, i, "behind a record of its own"))
        device_lock(w, i);
}

static void declare(struct world *w, int i)
{
    AUTO(buf_release) struct buf min = BUF_INIT(LIMIT_CTL_BYTES), to = BUF_INIT(1024);
    bool one = chance(w, 30), ends = chance(w, 30);
    struct ctl_op op = {.type = OP_REQUIRE, .mode = chance(w, 40) ? REQUIRE_PROMPT : REQUIRE_AUTO};
    op.until_ms = ends ? device_wall(w, i) + 1 + pick(w, 120000) : 0;
    op.require_id[0] = (uint8_t)(w->nrecord + 1);
    MUST(engine_required_min(w->d[i].engine, &min));
    mp_put_array(&to, one);
    if (one)
        mp_put_bin(&to, w->d[pick(w, (uint64_t)w->n)].keys->dev.b, ID_LEN);
    op.cuts = (struct bytes){min.data, min.len};
    op.to = (struct bytes){to.data, to.len};
    tell(w, "d%d: requires what it has", i);
    issue(w, i, &op);
}

static void cancel(struct world *w, int i)
{
    const struct group *g = &w->d[i].group;
    struct ctl_op op = {.type = OP_CANCEL};
    if (!g->nrequirement)
        return;
    memcpy(op.require_id, g->requirement[g->nrequirement - 1].what->id, sizeof op.require_id);
    tell(w, "d%d: cancels what is required", i);
    issue(w, i, &op);
}

void device_accept(struct world *w, int i)
{
    const struct requirement *q;
    if (state_of(w, i, &q) != LOCK_WAITS)
        return;
    tell(w, "d%d: its user accepts", i);
    MUST(engine_lock_accept(w->d[i].engine, device_wall(w, i)));
    device_lock(w, i);
}

static void go_on_without(struct world *w, int i)
{
    if (!is_held(&w->d[i]))
        return;
    tell(w, "d%d: its user goes on without", i);
    MUST(engine_lock_override(w->d[i].engine, device_wall(w, i)));
    device_lock(w, i);
}

/* Only who has all records makes one, so that there is one chain. */
void require_acts(struct world *w, int i)
{
    unsigned what = (unsigned)pick(w, 100);
    bool admin = i < ADMINS && w->d[i].group.ctl_n == w->group.ctl_n + w->nrecord && w->nrecord + DEVICES_MAX < RECORDS_MAX;
    if (admin && what < w->faults.require)
        declare(w, i);
    else if (admin && what < w->faults.require + 3)
        cancel(w, i);
    else if (what > 97)
        go_on_without(w, i);
    else if (what > 80)
        device_accept(w, i);
    else
        device_lock(w, i);
}

/* ---- the last judgement ---- */

/* All have every record, and whoever is still held to the last one that is for it has reached it. */
void judge_required(struct world *w)
{
    for (int i = 0; w->faults.require && i < w->n; i++) {
        const struct requirement *q;
        enum lock_state state = state_of(w, i, &q);
        if (w->d[i].group.ctl_n != w->group.ctl_n + w->nrecord)
            fail(w, "d%d: has not heard of every record", i);
        if (is_held(&w->d[i]))
            fail(w, "d%d: is still locked: %d", i, state);
        if (q && !required_is_over(q, device_wall(w, i)) && state != LOCK_REACHED && !is_lost(w, i, q->what))
            fail(w, "d%d: has not reached what is required: %d", i, state);
    }
}
