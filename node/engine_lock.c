/* What is required of this device (docs/PROTOCOL.md "A required version"): how far it is, what it tells others of that, and what of its own
 * it keeps to itself meanwhile. What is remembered over restarts is a list of states, one a requirement, and from where on the own
 * stream is held back. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"

#define KEY_LOCK "lock"
#define GRACE_MS 30000                /* so long a lock outlives the last device that could end it */
#define HOPE_MS 30000                 /* so long contents may be waited for that those who are here may have left out */

_Static_assert(LOCK_REACHED == VEC_REACHED, "the states of engine.h go over the wire");

static const struct group *group_of(const struct engine *e) { return e->c.group; }

/* ---- how far this device is ---- */

uint64_t engine_content_here(struct engine *e, const struct sid *sid)
{
    struct stream *s = engine_stream_by_sid(e, sid);
    uint64_t lowest;
    int r = s ? index_want_min(e->c.index, s->row.id, &lowest) : ERR_IO;
    if (r < 0)
        return r == ERR_NOTFOUND ? s->row.known : 0;      /* when the index cannot be read, nothing is known to be here */
    return lowest - 1 < s->row.known ? lowest - 1 : s->row.known;
}

/* Up to where a cut counts: what does not count any more is reached by nobody. */
static uint64_t counted(const struct engine *e, const struct cut *c)
{
    uint64_t end = engine_end(e, &c->sid);
    return c->seq < end ? c->seq : end;
}

/* Who leaves paths out may not have what he says to have. */
enum help { HELP_NONE, HELP_PERHAPS, HELP_SURE };
static enum help help_for(const struct engine *e, const struct cut *c, bool whole)
{
    enum help best = HELP_NONE;
    for (size_t i = 0; i < e->npeer && best < HELP_SURE; i++) {
        const struct peer_vec *p = &e->peer[i];
        bool has = (p->online || p->present) && p->have && (whole ? vec_shows(&p->vec, c) : vec_content(&p->vec, &c->sid) >= c->seq);
        if (has)
            best = p->vec.flags & VEC_PARTIAL ? HELP_PERHAPS : HELP_SURE;
    }
    return best;
}

/* The change set that ends there is the one that was required: else the stream has two histories, and ours is the other one. */
static bool is_same_history(struct engine *e, const struct cut *c)
{
    AUTO(tip_release) struct tip t = {.rec = BUF_INIT(1024)};
    const struct stream *s = engine_stream_by_sid(e, &c->sid);
    return s && fork_header_at(e, s, c->seq, &t) == 0 && t.found && id_eq(&t.hash, &c->hdr_hash);
}

struct standing { bool reached; enum help help; };
static struct standing standing(struct engine *e, const struct required *q)
{
    struct standing st = {true, HELP_SURE};
    for (size_t i = 0; i < q->nmin && (st.reached || st.help); i++) {
        struct cut c = q->min[i];
        uint64_t named = c.seq;
        c.seq = counted(e, &c);
        if (!c.seq)
            continue;
        if (engine_content_here(e, &c.sid) < c.seq) {
            enum help help = help_for(e, &c, c.seq == named);
            st.reached = false;
            st.help = help < st.help ? help : st.help;
        } else if (c.seq == named && !is_same_history(e, &c)) {
            st = (struct standing){false, HELP_NONE};
        }
    }
    return st;
}

/* ---- the state that follows ---- */

static const struct lock_of *find(const struct lock_saved *s, const uint8_t id[static 16])
{
    for (size_t i = 0; i < s->n; i++)
        if (memcmp(s->of[i].id, id, sizeof s->of[i].id) == 0)
            return &s->of[i];
    return NULL;
}

/* Of those who may not have all of it as long as contents come, or nobody has been asked. */
static bool is_served(struct engine *e, const struct required *q, enum help help, enum lock_state state, uint64_t now)
{
    bool anew = help != HELP_PERHAPS || state == LOCK_WAITS || memcmp(e->hoped_of, q->id, sizeof q->id) != 0;
    if (anew) {
        e->hoped = now;
        memcpy(e->hoped_of, q->id, sizeof q->id);
    }
    return help == HELP_SURE || (help == HELP_PERHAPS && now < e->hoped + HOPE_MS);
}

void engine_lock_progress(struct engine *e, uint64_t now) { e->hoped = now; }

/* Somebody who goes away for a moment does not unlock all others. */
static bool within_grace(struct engine *e, bool served, uint64_t now)
{
    if (served)
        e->unserved = 0;
    else if (!e->unserved)
        e->unserved = now + 1;
    return served || now < e->unserved + GRACE_MS;
}

static enum lock_state next_state(struct engine *e, const struct requirement *q, const struct lock_of *was, bool latest, uint64_t wall_ms, uint64_t now)
{
    enum lock_state state = was ? was->state : LOCK_NONE;
    if (state == LOCK_REACHED || required_is_over(q, wall_ms))
        return state == LOCK_REACHED ? LOCK_REACHED : LOCK_NONE;
    struct standing st = standing(e, q->what);
    if (st.reached)
        return LOCK_REACHED;
    if (state == LOCK_OVERRIDDEN || !latest)
        return state == LOCK_OVERRIDDEN ? LOCK_OVERRIDDEN : LOCK_BEHIND;
    bool served = is_served(e, q->what, st.help, state, now);
    if (lock_state_holds(state) ? !within_grace(e, served, now) : !served)
        return LOCK_BEHIND;
    bool accepted = q->what->mode != REQUIRE_PROMPT || memcmp(e->lock.accepted, q->what->id, sizeof e->lock.accepted) == 0;
    return accepted ? LOCK_LOCKED : LOCK_WAITS;
}

/* Nothing is required of a device that was revoked: nobody would serve it. */
static void look(struct engine *e, uint64_t wall_ms, uint64_t now, struct lock_saved *next)
{
    const struct group *g = group_of(e);
    const struct id *self = &e->c.keys->dev;
    const struct requirement *latest = group_required_of(g, self);
    *next = e->lock;
    next->n = 0;
    for (size_t i = 0; engine_belongs(e) && i < g->nrequirement; i++) {
        const struct requirement *q = &g->requirement[i];
        if (!required_is_for(q->what, self))
            continue;
        struct lock_of *to = &next->of[next->n++];
        const struct lock_of *was = find(&e->lock, q->what->id);
        struct lock_of now_is = {.state = next_state(e, q, was, q == latest, wall_ms, now), .since_ms = wall_ms};
        memcpy(now_is.id, q->what->id, sizeof now_is.id);
        *to = was && was->state == now_is.state ? *was : now_is;
    }
}

static enum lock_state state_of(const struct engine *e, const struct lock_saved *s)
{
    const struct requirement *q = group_required_of(group_of(e), &e->c.keys->dev);
    const struct lock_of *l = q ? find(s, q->what->id) : NULL;
    return l ? l->state : LOCK_NONE;
}

/* ---- what is held back ---- */

/* From the last change set on that others may have. */
static void hold(struct engine *e, struct lock_saved *s)
{
    const struct stream *own = e->own ? engine_stream(e, e->own) : NULL;
    s->held = true;
    s->newest = e->nstream ? e->stream[e->nstream - 1]->row.id : 0;
    s->hold = own ? (struct cut){own->row.sid, own->row.known, own->row.tip} : (struct cut){.seq = 0};
}

uint64_t lock_shown(const struct engine *e, const struct ix_stream *row)
{
    if (!e->lock.held || !id_eq(&row->dev, &e->c.keys->dev))
        return row->known;
    if (sid_eq(&row->sid, &e->lock.hold.sid))
        return row->known < e->lock.hold.seq ? row->known : e->lock.hold.seq;
    return row->id > e->lock.newest ? 0 : row->known;
}

const struct id *lock_shown_tip(const struct engine *e, const struct ix_stream *row)
{
    return lock_shown(e, row) == row->known ? &row->tip : &e->lock.hold.hdr_hash;
}

bool engine_holds_back(const struct engine *e)
{
    return e->lock.held;
}

bool engine_shows(struct engine *e, int64_t stream, uint64_t seq)
{
    const struct stream *s = engine_stream(e, stream);
    return s && seq <= lock_shown(e, &s->row);
}

/* ---- changing it ---- */

static int put(struct engine *e, const struct lock_saved *next)
{
    AUTO(buf_release) struct buf value = BUF_INIT(SAVED_LOCK_MAX);
    saved_lock_put(&value, next);
    assert(buf_ok(&value));
    return index_kv_put(e->c.index, KEY_LOCK, value.data, value.len);
}

static void find_state(struct engine *e, uint64_t wall_ms, uint64_t now, struct lock_saved *next)
{
    look(e, wall_ms, now, next);
    bool locked = lock_state_holds(state_of(e, next));
    if (locked && !next->held)
        hold(e, next);
    else if (!locked)
        next->held = false;
    if (!locked)
        e->unserved = 0;
}

/* Winners first: who has the content, but shows another version, has not reached it. 1: something is another. */
static int look_anew(struct engine *e, uint64_t wall_ms, uint64_t now, struct lock_saved *next)
{
    bool due = engine_winners_due(e);
    int r = due ? engine_choose_winners(e) : 0;
    if (r < 0)
        return r;
    find_state(e, wall_ms, now, next);
    bool kept = memcmp(next, &e->lock, sizeof *next) == 0;
    r = kept ? 0 : put(e, next);
    return r < 0 ? r : due || !kept;
}

/* One transaction, one flush: a hundred devices that share a disk do this at the same time. */
int engine_lock_look(struct engine *e, uint64_t wall_ms, uint64_t now)
{
    struct lock_saved next;
    if (!group_of(e)->nrequirement && !e->lock.n && !engine_winners_due(e))
        return 0;
    int r = engine_begin(e), news = r < 0 ? r : look_anew(e, wall_ms, now, &next);
    if (r < 0)
        return r;
    if (news < 0) {
        engine_rollback(e);
        return news;
    }
    if ((r = engine_commit(e, wall_ms)) < 0)
        return r;
    e->lock = next;
    engine_winners_chosen(e);
    return news;
}

static int keep(struct engine *e, const struct lock_saved *next, uint64_t wall_ms)
{
    int r = engine_begin(e);
    if (r < 0)
        return r;
    if ((r = put(e, next)) < 0) {
        engine_rollback(e);
        return r;
    }
    r = engine_commit(e, wall_ms);
    if (r == 0)
        e->lock = *next;
    return r;
}

int engine_lock_accept(struct engine *e, uint64_t wall_ms)
{
    const struct requirement *q = group_required_of(group_of(e), &e->c.keys->dev);
    if (!q || state_of(e, &e->lock) != LOCK_WAITS)
        return err_set(ERR_NOTFOUND, "nothing waits to be accepted");
    struct lock_saved next = e->lock;
    memcpy(next.accepted, q->what->id, sizeof next.accepted);
    return keep(e, &next, wall_ms);
}

int engine_lock_override(struct engine *e, uint64_t wall_ms)
{
    const struct requirement *q = group_required_of(group_of(e), &e->c.keys->dev);
    if (!q || !lock_state_holds(state_of(e, &e->lock)))
        return err_set(ERR_NOTFOUND, "this device is not locked");
    struct lock_saved next = e->lock;
    struct lock_of *l = (struct lock_of *)(uintptr_t)find(&next, q->what->id);
    l->state = LOCK_OVERRIDDEN;
    l->since_ms = wall_ms;
    next.held = false;
    return keep(e, &next, wall_ms);
}

int lock_load(struct engine *e)
{
    AUTO(buf_release) struct buf value = BUF_INIT(SAVED_LOCK_MAX);
    memset(&e->lock, 0, sizeof e->lock);
    int r = index_kv_get(e->c.index, KEY_LOCK, &value);
    if (r == 0)
        r = saved_lock_get(&value, &e->lock);
    return r == 0 || r == ERR_NOTFOUND ? engine_load_winners(e) : r;
}

/* ---- what comes first, and how much of it is left ---- */

static bool is_required(struct engine *e, int64_t stream, uint64_t seq)
{
    const struct requirement *q = group_required_of(group_of(e), &e->c.keys->dev);
    const struct sid *sid = engine_stream_sid(e, stream);
    for (size_t i = 0; q && i < q->what->nmin; i++)
        if (sid_eq(&q->what->min[i].sid, sid))
            return seq <= q->what->min[i].seq;
    return false;
}

/* A required file lies in no directory where another file is, nor in the place of a directory that is not empty. These have no content. */
static bool makes_room(struct engine *e, const struct ix_want *w)
{
    return w->role == WANT_HIDE || (w->role == WANT_INSTALL && (w->kind == KIND_DIR || w->kind == KIND_TOMBSTONE)) ||
           id_eq(engine_stream_dev(e, w->stream), &e->c.keys->dev);
}

bool engine_lock_allows(struct engine *e, const struct ix_want *w)
{
    enum lock_state state = state_of(e, &e->lock);
    return !lock_state_holds(state) || (state == LOCK_LOCKED && (makes_room(e, w) || is_required(e, w->stream, w->seq)));
}

struct required_only { struct engine *e; int (*fn)(void *arg, const struct ix_want *w); void *arg; };
static int pass_required(void *arg, const struct ix_want *w)
{
    struct required_only *r = arg;
    return is_required(r->e, w->stream, w->seq) ? r->fn(r->arg, w) : 0;
}

int engine_lock_each(struct engine *e, int (*fn)(void *arg, const struct ix_want *w), void *arg)
{
    return index_want_each(e->c.index, 0, pass_required, &(struct required_only){e, fn, arg});
}

static int count_one(void *arg, const struct ix_want *w)
{
    (void)w;
    ++*(uint64_t *)arg;
    return 0;
}

/* Entries that are not known yet, and those whose content is not here. */
static int count_all_left(struct engine *e, const struct required *q, uint64_t *left)
{
    *left = 0;
    for (size_t i = 0; i < q->nmin; i++) {
        uint64_t known = engine_known_of(e, &q->min[i].sid);
        *left += q->min[i].seq > known ? q->min[i].seq - known : 0;
    }
    return engine_lock_each(e, count_one, left);
}

int engine_lock(struct engine *e, struct engine_lock *out)
{
    const struct requirement *q = group_required_of(group_of(e), &e->c.keys->dev);
    const struct lock_of *l = q ? find(&e->lock, q->what->id) : NULL;
    *out = (struct engine_lock){.state = l ? l->state : LOCK_NONE, .since_ms = l ? l->since_ms : 0, .what = q};
    if (!lock_state_holds(out->state))
        return 0;
    uint64_t left;
    int r = count_all_left(e, q->what, &left);
    if (memcmp(e->most_of, q->what->id, sizeof e->most_of) != 0 || left > e->most) {
        memcpy(e->most_of, q->what->id, sizeof e->most_of);
        e->most = left;
    }
    out->total = e->most;
    out->done = e->most - left;
    return r;
}

/* ---- what others are told, and tell ---- */

static int by_id(const void *a, const void *b)
{
    return memcmp(((const struct lock_of *)a)->id, ((const struct lock_of *)b)->id, 16);
}

uint32_t lock_reqs(const struct engine *e, struct buf *out)
{
    struct lock_saved s = e->lock;
    uint32_t n = 0;
    qsort(s.of, s.n, sizeof *s.of, by_id);
    for (size_t i = 0; i < s.n; i++)
        n += s.of[i].state != LOCK_NONE;
    mp_put_array(out, n);
    for (size_t i = 0; i < s.n; i++) {
        struct vec_req r = {.state = s.of[i].state, .since_ms = s.of[i].since_ms};
        memcpy(r.id, s.of[i].id, sizeof r.id);
        if (r.state != LOCK_NONE)
            vec_req_put(out, &r);
    }
    return n;
}

bool lock_note_reqs(struct peer_vec *p, const struct vec *v)
{
    struct vec_req req[LIMIT_REQUIRED] = {0};
    struct mp m = vec_reqs(v);
    size_t n = v->nreqs < LIMIT_REQUIRED ? v->nreqs : LIMIT_REQUIRED;
    for (size_t i = 0; i < n; i++)
        vec_req_next(&m, &req[i]);
    bool same = n == p->nreq && memcmp(req, p->req, sizeof req) == 0;
    memcpy(p->req, req, sizeof req);
    p->nreq = n;
    return !same;
}

bool lock_peer_holds(const struct peer_vec *p)
{
    for (size_t i = 0; i < p->nreq; i++)
        if (lock_state_holds((enum lock_state)p->req[i].state))
            return true;
    return false;
}

static bool vector_reaches(const struct engine *e, const struct vec *v, const struct required *q)
{
    for (size_t i = 0; i < q->nmin; i++) {
        const struct cut *c = &q->min[i];
        uint64_t seq = counted(e, c);
        if (seq < c->seq ? vec_content(v, &c->sid) < seq : !vec_shows(v, c))
            return false;
    }
    return true;
}

bool engine_lock_of(struct engine *e, const struct required *q, const struct id *dev, struct peer_lock *out)
{
    *out = (struct peer_lock){.state = LOCK_NONE};
    if (id_eq(dev, &e->c.keys->dev)) {
        const struct lock_of *l = find(&e->lock, q->id);
        if (l)
            *out = (struct peer_lock){.state = l->state, .since_ms = l->since_ms};
        out->partial = self_is_partial(e);
        return true;
    }
    const struct peer_vec *p = engine_peer_find(e, dev);
    if (!p || !p->shown)
        return false;
    for (size_t i = 0; i < p->nreq; i++)
        if (memcmp(p->req[i].id, q->id, sizeof q->id) == 0)
            *out = (struct peer_lock){.state = (enum lock_state)p->req[i].state, .since_ms = p->req[i].since_ms};
    out->partial = p->vec.flags & VEC_PARTIAL;
    /* It says so, and its vector shows it: the one without the other is no proof. */
    if (out->state == LOCK_REACHED && !vector_reaches(e, &p->vec, q))
        out->state = LOCK_BEHIND;
    return true;
}
