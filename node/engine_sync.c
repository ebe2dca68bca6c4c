/* What peers know: their vectors, and the change sets that pass between us. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/hlc.h"
#include "proto/limits.h"

#define REFUSED_MAX MSG_RANGES      /* streams that one peer has sent nothing useful of */

/* ---- vectors ---- */

struct peer_vec *engine_peer_find(struct engine *e, const struct id *dev)
{
    for (size_t i = 0; i < e->npeer; i++)
        if (id_eq(&e->peer[i].dev, dev))
            return &e->peer[i];
    return NULL;
}

struct peer_vec *engine_peer(struct engine *e, const struct id *dev)
{
    struct peer_vec *p = engine_peer_find(e, dev);
    if (p)
        return p;
    e->peer = xrealloc(e->peer, e->npeer + 1, sizeof *e->peer);
    e->peer[e->npeer] = (struct peer_vec){.dev = *dev, .unsaved = BUF_INIT(LIMIT_BODY)};
    return &e->peer[e->npeer++];
}

void engine_online(struct engine *e, const struct id *dev, bool online)
{
    if (!group_find(e->c.group, dev))
        return;
    engine_peer(e, dev)->online = online;
    if (!online) {
        engine_fetch_done(e, dev);
        probe_forget(e, dev);
        sidmap_clear(&engine_peer(e, dev)->told);
        engine_peer(e, dev)->patient = false;
    }
}

int engine_put_vector(struct engine *e, struct vec *v, const void *blob, size_t len, bool told)
{
    const struct member *m = group_find(e->c.group, &v->dev);
    if (!id_eq(&v->group, &e->c.group->id) || !m || m->revoked || id_eq(&v->dev, &e->c.keys->dev))
        return err_set(m ? ERR_DENIED : ERR_AGAIN, "vector: its device is not (yet) a member of this group");
    struct peer_vec *p = engine_peer(e, &v->dev);
    bool same_start = memcmp(p->vec.inst, v->inst, sizeof v->inst) == 0;
    if (!told && p->have && same_start && v->ctr <= p->vec.ctr)
        return 0;
    forget_note_vector(p, v, blob, len);
    vec_release(&p->vec);
    p->vec = *v;
    *v = (struct vec){0};
    p->have = true;
    engine_notice_rollback(e, &p->vec);
    if (!told)
        probe_suspect(e, &p->vec);
    return 1;
}

int engine_vector(struct engine *e, const void *blob, size_t len, const struct id *dev, const uint8_t *inst)
{
    AUTO(vec_release) struct vec v = {0};
    int r = vec_decode(blob, len, &v);
    if (r < 0)
        return r;
    if (dev && (!id_eq(&v.dev, dev) || memcmp(v.inst, inst, sizeof v.inst) != 0))
        return err_set(ERR_DENIED, "vector: not of the device, or not of the start of it, that sent it");
    return engine_put_vector(e, &v, blob, len, false);
}

const struct vec *engine_vector_of(struct engine *e, const struct id *dev)
{
    const struct peer_vec *p = engine_peer_find(e, dev);
    return p && p->have ? &p->vec : NULL;
}

/* What another device writes of which so many streams have two histories that others may have what we refuse: nobody waits for that. */
static bool waits_for(const struct engine *e, const struct id *author)
{
    return !fork_distrusts(e, author);
}

bool engine_have_all_in(struct engine *e, const struct vec *v)
{
    for (size_t i = 0; i < v->nstream; i++) {
        const struct vec_stream *theirs = &v->stream[i];
        const struct stream *s = engine_stream_by_sid(e, &theirs->sid);
        uint64_t end = engine_end(e, &theirs->sid), known = s ? s->row.known : 0;
        if (known < theirs->known && known < end && !(s && !waits_for(e, &s->row.dev)))
            return false;
    }
    return true;
}

bool engine_have_all_of(struct engine *e, const struct id *dev)
{
    const struct peer_vec *p = engine_peer_find(e, dev);
    return p && p->have && engine_have_all_in(e, &p->vec);
}

bool engine_has_all_of_us(struct engine *e, const struct id *dev)
{
    const struct peer_vec *p = engine_peer_find(e, dev);
    if (!p || !p->have)
        return false;
    for (size_t i = 0; i < e->nstream; i++) {
        const struct ix_stream *row = &e->stream[i]->row;
        const struct vec_stream *s = vec_find(&p->vec, &row->sid);
        if (row->known && (!s || s->content < row->known) && waits_for(e, &row->dev))
            return false;
    }
    return true;
}

uint64_t engine_missing_at(struct engine *e, const struct id *dev)
{
    const struct peer_vec *p = engine_peer_find(e, dev);
    uint64_t n = 0;
    for (size_t i = 0; i < e->nstream; i++) {
        const struct ix_stream *row = &e->stream[i]->row;
        const struct vec_stream *s = p && p->have ? vec_find(&p->vec, &row->sid) : NULL;
        uint64_t has = s ? s->content : 0;
        n += row->known > has && waits_for(e, &row->dev) ? row->known - has : 0;
    }
    return n;
}

/* ---- asking for change sets ---- */

/* Streams that a peer has sent something wrong of are not asked of it again for a while. Beyond REFUSED_MAX the peer is asked for
 * nothing at all: it may claim 65,536 streams that it does not have. */
static bool refuse_stream(struct peer_vec *p, const struct sid *sid)
{
    if (sidmap_has(&p->refused, sid))
        return false;
    if (p->refused.n < REFUSED_MAX)
        sidmap_put(&p->refused, sid, NULL);
    return true;
}

void engine_forgive(struct engine *e)
{
    probe_forgive(e);
    for (size_t i = 0; i < e->npeer; i++) {
        sidmap_clear(&e->peer[i].refused);
        sidmap_clear(&e->peer[i].told);
        e->peer[i].patient = e->peer[i].online;
    }
}

void engine_fetch_done(struct engine *e, const struct id *dev)
{
    struct peer_vec *p = engine_peer_find(e, dev);
    if (p)
        sidmap_clear(&p->asked);
}

static void refuse_asked(void *arg, const struct sid *sid, void *value)
{
    (void)value;
    refuse_stream(arg, sid);
}

void engine_fetch_failed(struct engine *e, const struct id *dev)
{
    struct peer_vec *p = engine_peer_find(e, dev);
    if (!p)
        return;
    sidmap_each(&p->asked, refuse_asked, p);
    sidmap_clear(&p->asked);
}

static bool is_asked(const struct engine *e, const struct sid *sid)
{
    for (size_t i = 0; i < e->npeer; i++)
        if (sidmap_has(&e->peer[i].asked, sid))
            return true;
    return false;
}

/* What follows what we have, as far as it counts; or what may show where two histories part. */
static struct msg_range range_of(struct engine *e, const struct peer_vec *p, const struct vec_stream *s)
{
    uint64_t end = engine_end(e, &s->sid);
    const struct probe *probe = probe_find(e, &s->sid);
    if (probe && id_eq(&probe->dev, &p->dev))
        return (struct msg_range){.sid = s->sid, .from = probe->from, .to = s->known};
    return (struct msg_range){.sid = s->sid, .from = engine_known_of(e, &s->sid) + 1, .to = s->known < end ? s->known : end};
}

static void fetch_from(struct engine *e, struct peer_vec *p, struct fetch *out)
{
    *out = (struct fetch){.dev = p->dev};
    for (size_t i = 0; i < p->vec.nstream && out->n < MSG_RANGES; i++) {
        const struct vec_stream *s = &p->vec.stream[i];
        struct msg_range range = range_of(e, p, s);
        if (range.to < range.from || is_asked(e, &s->sid) || sidmap_has(&p->refused, &s->sid))
            continue;
        out->range[out->n++] = range;
        sidmap_put(&p->asked, &s->sid, NULL);
    }
}

bool engine_next_fetch(struct engine *e, struct fetch *out)
{
    for (size_t i = 0; i < e->npeer; i++) {
        struct peer_vec *p = &e->peer[i];
        if (!p->online || !p->have || p->asked.n || p->refused.n >= REFUSED_MAX)
            continue;
        fetch_from(e, p, out);
        if (out->n)
            return true;
    }
    return false;
}

/* ---- taking change sets ---- */

static int check_author(struct engine *e, const struct header *h, uint64_t wall_ms)
{
    if (!id_eq(&h->group, &e->c.group->id))
        return err_set(ERR_DENIED, "change set: it belongs to another group");
    const struct member *m = group_find(e->c.group, &h->dev);
    if (!m)
        return err_set(ERR_AGAIN, "change set: its author is not known yet: the control log is behind");
    if (id_eq(&h->dev, &e->c.keys->dev))
        return 0;                        /* lost and found again: engine_clock takes back what is wrong about it */
    if (h->wall_ms > wall_ms + CLOCK_TOLERANCE_MS || hlc_ms(h->hlc_max) > wall_ms + CLOCK_TOLERANCE_MS)
        return err_set(ERR_AGAIN, "change set of %s: its clock is more than 10 minutes ahead of ours: check both clocks", m->card.name);
    return 0;
}

/* 1 = take it, 0 = we have it. */
static int check_order(const struct stream *s, const struct header *h, uint64_t end)
{
    uint64_t last = h->first + h->count - 1;
    if (last <= s->row.known || last > end)
        return 0;
    if (h->first > s->row.known + 1)
        return err_set(ERR_AGAIN, "change set: an earlier one is missing");
    if (h->first <= s->row.known || !id_eq(&h->prev, &s->row.tip))
        return err_set(ERR_BAD, "change set: it does not continue what its device signed before: two histories under one name");
    return 1;
}

/* A path of which a change set has an entry. If it is new: the entry, and the name, which the change set holds. */
struct touched { int64_t path; bool made; struct ix_entry row; struct bytes name; };

static int take_entry(struct engine *e, const struct stream *s, const struct header *h, const struct cs_item *it, struct touched *t)
{
    AUTO(entry_release) struct entry ent = {0};
    int r = entry_decode(it->ent.p, it->ent.len, &ent);
    if (r == 0)
        r = entry_place(&ent, h, it->index);
    if (r < 0)
        return r;
    t->name = ent.path;
    r = index_path_make(e->c.index, (const char *)ent.path.p, ent.path.len, &t->path, &t->made);
    return r < 0 ? r : state_put(e, s, &ent, it->ent, t->path, &t->row);
}

static int by_path(const void *a, const void *b)
{
    const struct touched *x = a, *y = b;
    return x->path < y->path ? -1 : x->path > y->path;
}

/* Each path once, however many entries of it the change set has. */
static int update_paths(struct engine *e, struct touched *t, size_t n, uint64_t wall_ms)
{
    qsort(t, n, sizeof *t, by_path);
    int r = 0;
    for (size_t i = 0, same; r == 0 && i < n; i += same) {
        for (same = 1; i + same < n && t[i + same].path == t[i].path; same++)
            ;
        r = same == 1 && t[i].made ? state_first(e, &t[i].row, &t[i].name, false) : state_update(e, t[i].path);
        if (r == 0)
            r = self_recognize(e, t[i].path, wall_ms);
        if (r == 0)
            r = database_recognize(e, t[i].path, wall_ms);
    }
    return r;
}

static int take_items(struct engine *e, const struct stream *s, const struct header *h, const struct cs *cs, uint64_t wall_ms)
{
    struct mp m = cs_items(cs);
    uint32_t index = 0;
    AUTOFREE struct touched *touched = xcalloc(cs->nitems + 1, sizeof *touched);
    size_t n = 0;
    for (uint32_t i = 0; i < cs->nitems; i++) {
        struct cs_item it;
        cs_item_next(&m, &index, &it);
        int r;
        if (it.pruned)
            r = index_pruned_put(e->c.index, &(struct ix_pruned){s->row.id, h->first + it.index, it.count, false, it.hash});
        else
            r = take_entry(e, s, h, &it, &touched[n++]);
        if (r < 0)
            return r;
    }
    int r = update_paths(e, touched, n, wall_ms);
    return r < 0 ? r : mp_done(&m, "change set");
}

/* All that can be wrong with a change set by itself, before anything of it is written. */
static int check_items(const struct header *h, const struct cs *cs)
{
    AUTO(entry_release) struct entry ent = {0};
    struct mp m = cs_items(cs);
    uint32_t index = 0;
    for (uint32_t i = 0; i < cs->nitems; i++) {
        struct cs_item it;
        cs_item_next(&m, &index, &it);
        int r = it.pruned ? 0 : entry_decode(it.ent.p, it.ent.len, &ent);
        if (r == 0 && !it.pruned)
            r = entry_place(&ent, h, it.index);
        if (r < 0)
            return r;
    }
    return mp_done(&m, "change set");
}

/* By itself: genuine, and by somebody who may. */
static int check_sender(struct engine *e, const struct cs *cs, struct header *h, uint64_t wall_ms)
{
    int r = cs_verify(cs, h);
    return r < 0 ? r : check_author(e, h, wall_ms);
}

/* 1 = to be taken, 0 = we have it. */
static int check_place(struct engine *e, const struct cs *cs, const struct header *h)
{
    const struct stream *s = engine_stream_by_sid(e, &h->sid);
    const struct stream fresh = {0};
    int r = check_order(s ? s : &fresh, h, fork_end(e, &h->sid));
    if (r > 0 && !cut_allows(e, h))
        return err_set(ERR_DENIED, "change set of %s: written while this device might not write", group_find(e->c.group, &h->dev)->card.name);
    return r > 0 && check_items(h, cs) < 0 ? ERR_BAD : r;
}

static int take_one(struct engine *e, const struct cs *cs, const struct header *h, uint64_t wall_ms)
{
    struct stream *s = engine_stream_by_sid(e, &h->sid);
    int r = s ? withdrawn_make_way(e, s) : engine_stream_add(e, &h->dev, h->inc, &s);
    if (r < 0)
        return r;
    struct ix_header row = {.stream = s->row.id, .first = h->first, .count = h->count, .rec = cs->hdr, .sig = cs->sig};
    r = index_header_put(e->c.index, &row);
    /* Set before the entries are taken: an own tombstone's `seen` may look at it. */
    s->row.known = h->first + h->count - 1;
    s->row.tip = h->hash;
    if (id_eq(&h->dev, &e->c.keys->dev))
        engine_regained(e, h);
    if (r == 0)
        r = take_items(e, s, h, cs, wall_ms);
    if (r == 0)
        r = index_stream_set(e->c.index, &s->row);
    return r;
}

/* One change set that is wrong is refused by itself, with what follows it in its stream; the others of the reply are taken. */
int engine_change_sets(struct engine *e, const struct id *from, const void *body, size_t len, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    e->wall = wall_ms;
    struct mp m;
    uint32_t n;
    int r = cs_body_open(body, len, &m, &n), total = 0, wrong = 0;
    for (uint32_t i = 0; r >= 0 && i < n; i++) {
        struct cs cs;
        struct header h = {0};
        r = cs_next(&m, &cs);
        if (r < 0)
            break;
        int good = check_sender(e, &cs, &h, wall_ms), forked = 0;
        if (good == 0 && (r = forked = probe_compare(e, from, &cs, &h, wall_ms)) < 0)
            break;
        if (good == 0 && !forked)
            good = check_place(e, &cs, &h);
        if (good > 0 && (r = take_one(e, &cs, &h, wall_ms)) == 0)
            total += (int)h.count;
        total += forked == 1;
        if (good < 0 && refuse_stream(engine_peer(e, from), &h.sid))
            wrong = good;
    }
    if (r >= 0)
        r = mp_done(&m, "change sets");
    return r < 0 ? r : total ? total : wrong;
}

/* ---- serving change sets ---- */

struct serve {
    struct engine *e;
    struct buf *out;                 /* change sets so far, without the array header */
    uint32_t n;
    uint64_t most;                   /* bytes */
    bool full;
    struct buf items;
    uint32_t nitems;
};

static int put_item(void *arg, const struct ix_entry *row)
{
    struct serve *s = arg;
    cs_put_entry(&s->items, &row->raw);
    s->nitems++;
    return 0;
}

struct runs { struct ix_pruned v[64]; size_t n; };
static int take_run(void *arg, const struct ix_pruned *p)
{
    struct runs *r = arg;
    r->v[r->n++] = *p;
    return r->n == 64;
}

/* Entries and pruned runs of a header, in order of their numbers. */
static int put_items(struct serve *s, const struct ix_header *h)
{
    uint64_t at = h->first, end = h->first + h->count;
    while (at < end) {
        struct runs runs = {.n = 0};
        int r = index_pruned_each(s->e->c.index, h->stream, at, end - 1, take_run, &runs);
        for (size_t i = 0; r >= 0 && i < runs.n; i++) {
            const struct ix_pruned *p = &runs.v[i];
            if (p->first > at)
                r = index_entry_each_of_stream(s->e->c.index, h->stream, at, p->first - 1, put_item, s);
            cs_put_pruned(&s->items, (uint32_t)(p->first - h->first), p->count, &p->hash);
            s->nitems++;
            at = p->first + p->count;
        }
        if (r >= 0 && runs.n < 64) {
            r = at < end ? index_entry_each_of_stream(s->e->c.index, h->stream, at, end - 1, put_item, s) : 0;
            at = end;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int put_header(void *arg, const struct ix_header *h)
{
    struct serve *s = arg;
    s->items = (struct buf)BUF_INIT(2 * LIMIT_CS_BYTES);
    s->nitems = 0;
    int r = put_items(s, h);
    if (r == 0 && !buf_ok(&s->items))
        r = err_set(ERR_CORRUPT, "index: the change set at %llu is larger than any may be", (unsigned long long)h->first);
    s->full = s->n && s->out->len + s->items.len + h->rec.len + 256 > s->most;
    if (r == 0 && !s->full) {
        cs_put_head(s->out, &h->rec, h->sig, s->nitems);
        buf_add(s->out, s->items.data, s->items.len);
        s->n++;
    }
    buf_release(&s->items);
    return r < 0 ? r : s->full;
}

int engine_serve_cs(struct engine *e, const struct msg_range *range, uint32_t n, uint64_t credit, struct buf *body)
{
    AUTO(buf_release) struct buf out = BUF_INIT(LIMIT_BODY);
    struct serve s = {.e = e, .out = &out, .most = credit < LIMIT_CS_REPLY ? credit : LIMIT_CS_REPLY};
    for (uint32_t i = 0; i < n && !s.full; i++) {
        const struct stream *st = engine_stream_by_sid(e, &range[i].sid);
        if (!st)
            continue;
        uint64_t shown = lock_shown(e, &st->row), to = range[i].to < shown ? range[i].to : shown;
        int r = index_header_each(e->c.index, st->row.id, range[i].from, to, put_header, &s);
        if (r < 0)
            return r;
    }
    buf_clear(body);
    mp_put_array(body, s.n);
    buf_add(body, out.data, out.len);
    return buf_ok(body) && buf_ok(&out) ? 0 : err_set(ERR_FULL, "change sets: the reply does not fit");
}
