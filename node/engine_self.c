/* Who we are: a device that may have lost a part of its own past writes under a new name from then on. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/hlc.h"

#define KEY_FOUND "found"            /* there when anything has been authored in doubt */
#define KEY_CHANGED "changed"        /* there when anything has been changed that is no version */
enum { ALARMS_MAX = 8 };             /* of a peer, that proved to be nothing */

/* ---- what is remembered for good ---- */

int self_remember(struct engine *e, const char *key, bool *it)
{
    if (*it)
        return 0;
    *it = true;
    return index_kv_put(e->c.index, key, "1", 1);
}

int self_load(struct engine *e)
{
    char found = 0, changed = 0;
    int r = engine_load_value(e, KEY_FOUND, &found, sizeof found);
    if (r == 0)
        r = engine_load_value(e, KEY_CHANGED, &changed, sizeof changed);
    e->found = found != 0;
    e->changed = changed != 0;
    return r == 0 ? database_load(e) : r;
}

/* ---- incarnations ---- */

/* Of the random bytes of this start and the name before: so a repeated simulation has the same ones. */
void engine_begin_incarnation(struct engine *e)
{
    struct id fresh = id_hash_tagged(0x10, e->c.inst, sizeof e->c.inst, e->inc, sizeof e->inc);
    memcpy(e->inc, fresh.b, sizeof e->inc);
    e->own = 0;
    e->inc_unsaved = true;
}

/* It may be a lie. To believe it costs a stream each time, of which there can only be so many; not to believe it when it is true costs one
 * with two histories. So it is believed of a peer some times, and again when anybody has shown what we had lost. */
void engine_notice_rollback(struct engine *e, const struct vec *v)
{
    struct sid own = sid_make(&e->c.group->id, &e->c.keys->dev, e->inc);
    const struct vec_stream *vs = vec_find(v, &own);
    struct peer_vec *p = engine_peer(e, &v->dev);
    if (!vs || vs->known <= (e->own ? engine_stream(e, e->own)->row.known : 0) || p->alarms >= ALARMS_MAX)
        return;
    p->alarms++;
    engine_begin_incarnation(e);
}

void engine_regained(struct engine *e, const struct header *h)
{
    e->now.hlc = hlc_seen(e->now.hlc, hlc_make(h->wall_ms, 0));          /* for engine_clock */
    for (size_t i = 0; i < e->npeer; i++)
        e->peer[i].alarms = 0;
}

/* ---- doubt ---- */

struct paths { int64_t *v; size_t n, cap; };

static int note_path(void *arg, const struct ix_local *l)
{
    struct paths *p = arg;
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 256;
        p->v = xrealloc(p->v, p->cap, sizeof *p->v);
    }
    p->v[p->n++] = l->path;
    return 0;
}

static int forget_disk(struct engine *e)
{
    struct paths p = {0};
    int r = index_local_each(e->c.index, note_path, &p);
    for (size_t i = 0; r == 0 && i < p.n; i++)
        r = index_local_del(e->c.index, p.v[i]);
    for (size_t i = 0; r == 0 && i < p.n; i++)
        r = state_update(e, p.v[i]);
    free(p.v);
    return r;
}

int engine_doubt(struct engine *e)
{
    assert(index_in_tx(e->c.index));
    engine_begin_incarnation(e);
    e->doubt = true;
    return forget_disk(e);
}

void engine_sure(struct engine *e) { e->doubt = false; }

int self_found(struct engine *e) { return self_remember(e, KEY_FOUND, &e->found); }

/* Authored in doubt, and nobody has built upon it. */
static bool is_find(struct engine *e, const struct vers *v)
{
    return id_eq(engine_stream_dev(e, v->row.stream), &e->c.keys->dev) && v->row.kind != KIND_TOMBSTONE && v->ent.v.ctx.n == 0 &&
           v->ent.v.hlc == engine_dated_by_file(v->ent.mtime_ns);
}

static bool is_head(const struct heads *h, const struct vers *v)
{
    size_t i = 0;
    while (i < h->n && h->of[i] != v)
        i++;
    return i < h->n;
}

/* It is a version that others knew, and that one is over. */
static bool is_over(const struct versions *vs, const struct heads *h, const struct vers *find)
{
    for (size_t i = 0; i < vs->n; i++) {
        const struct vers *v = &vs->v[i];
        if (v->row.stream != find->row.stream && entry_same(&v->ent, &find->ent) && v->ent.mtime_ns == find->ent.mtime_ns && !is_head(h, v))
            return true;
    }
    return false;
}

/* The first find of the path that is over; NULL: none. */
static const struct vers *find_over(struct engine *e, const struct versions *vs, const struct heads *h)
{
    for (size_t i = 0; i < h->n; i++)
        if (is_find(e, h->of[i]) && is_over(vs, h, h->of[i]))
            return h->of[i];
    return NULL;
}

/* 1 = there was one, and it has an end now. */
static int end_one(struct engine *e, int64_t path, uint64_t wall_ms)
{
    AUTO(versions_release) struct versions vs;
    int r = versions_load(e, path, &vs);
    if (r < 0)
        return r;
    AUTO(heads_release) struct heads h = versions_heads(&vs);
    const struct vers *find = find_over(e, &vs, &h);
    if (!find)
        return 0;
    r = author_end(e, &find->ent, path, h.v, h.n, wall_ms);
    return r < 0 ? r : 1;
}

int self_recognize(struct engine *e, int64_t path, uint64_t wall_ms)
{
    int r = e->found && may_write(e) ? end_one(e, path, wall_ms) : 0;
    if (r <= 0)
        return r;
    while (r > 0)
        r = end_one(e, path, wall_ms);
    return r < 0 ? r : state_update(e, path);
}

/* ---- somebody else with our keys ---- */

void engine_mute(struct engine *e) { e->muted = true; }

void engine_unmute(struct engine *e)
{
    e->muted = false;
    engine_begin_incarnation(e);
}

int self_yield(struct engine *e, int64_t path, const struct stamp *st, bool settled)
{
    struct ix_local l = {.path = path};
    int64_t winner;
    int r = index_local_get(e->c.index, path, &l);
    if (r == 0)
        r = self_remember(e, KEY_CHANGED, &e->changed);
    if (r == 0 || r == ERR_NOTFOUND)
        r = index_path_get(e->c.index, path, NULL, &winner);
    if (r < 0 || e->muted || winner == l.entry || st->kind == STAMP_DIR)
        return r;
    if (st->kind == STAMP_ABSENT) {
        r = index_local_del(e->c.index, path);
        return r == 0 ? state_update(e, path) : r;
    }
    l.stamp = *st;
    l.settled = settled;
    l.apart = true;
    r = index_local_put(e->c.index, &l);
    return r == 0 ? state_update(e, path) : r;           /* what lay there may have been the only copy of a loser */
}

bool self_is_partial(const struct engine *e) { return e->partial || (e->changed && !may_write(e)); }

/* What a reader does to its copy stays on its disk: nobody would accept it. */
bool may_write(const struct engine *e)
{
    const struct member *m = group_find(e->c.group, &e->c.keys->dev);
    return member_may_write(m) && !e->muted;
}
