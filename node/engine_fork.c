/* A stream with two histories: its device was cloned, or brought back from a backup that its peers could not warn of in time, or lies.
 * The first two headers that differ behind the same one prove it to everybody. The stream ends before them, on every device that
 * has the proof; what one knows of it beyond, of either history, no longer counts, and whoever has a version of that which was live
 * signs it again as its own. So nobody has to trust one of two histories, and nothing is lost of either. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/hlc.h"

#define KEY_ENDS "ends"               /* [sid, end as u64 of this machine]... */
enum { PROBE_STEP = 64, KEY_LEN = 5 + 2 * SID_LEN + 1 };
struct end { struct sid sid; uint64_t end; };

/* ---- streams that have ended ---- */

uint64_t fork_end(const struct engine *e, const struct sid *sid)
{
    uintptr_t v = (uintptr_t)sidmap_get(&e->ends, sid);
    return v ? v - 1 : UINT64_MAX;
}

static void set_end(struct engine *e, const struct sid *sid, uint64_t end)
{
    sidmap_put(&e->ends, sid, (void *)(uintptr_t)(end + 1));
}

int fork_load(struct engine *e)
{
    AUTO(buf_release) struct buf b = BUF_INIT(ENDS_MAX * sizeof(struct end));
    sidmap_clear(&e->ends);
    int r = index_kv_get(e->c.index, KEY_ENDS, &b);
    for (size_t i = 0; r == 0 && i + sizeof(struct end) <= b.len; i += sizeof(struct end)) {
        struct end t;
        memcpy(&t, b.data + i, sizeof t);
        set_end(e, &t.sid, t.end);
    }
    return r == ERR_NOTFOUND ? 0 : r;
}

static void put_end(void *arg, const struct sid *sid, void *value)
{
    struct end t = {*sid, (uintptr_t)value - 1};
    buf_add(arg, &t, sizeof t);
}

static const char *proof_key(const struct sid *sid, char key[static KEY_LEN])
{
    memcpy(key, "fork.", 5);
    for (size_t i = 0; i < SID_LEN; i++) {
        key[5 + 2 * i] = "0123456789abcdef"[sid->b[i] >> 4];
        key[6 + 2 * i] = "0123456789abcdef"[sid->b[i] & 15];
    }
    key[KEY_LEN - 1] = '\0';
    return key;
}

static int save(struct engine *e, const struct sid *sid, const struct buf *proof)
{
    AUTO(buf_release) struct buf b = BUF_INIT(ENDS_MAX * sizeof(struct end));
    char key[KEY_LEN];
    sidmap_each(&e->ends, put_end, &b);
    int r = index_kv_put(e->c.index, KEY_ENDS, b.data, b.len);
    return r == 0 ? index_kv_put(e->c.index, proof_key(sid, key), proof->data, proof->len) : r;
}

/* ---- what no longer counts ---- */

struct lost { int64_t *id, *path; size_t n, cap; };

static int note(void *arg, const struct ix_entry *row)
{
    struct lost *l = arg;
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->id = xrealloc(l->id, l->cap, sizeof *l->id);
        l->path = xrealloc(l->path, l->cap, sizeof *l->path);
    }
    l->id[l->n] = row->live ? row->id : 0;
    l->path[l->n++] = row->path;
    return 0;
}

static int any(void *arg, const struct ix_kept *k) { (void)arg, (void)k; return 1; }
static int any_local(void *arg, const struct ix_local *l) { (void)arg, (void)l; return 1; }

/* 1 = yes: who signs it anew must be able to give it to others. */
static int have_content(struct engine *e, const struct vers *v)
{
    if (v->ent.content.type != CONTENT_BLOCKS)
        return 1;
    int r = index_kept_by_root(e->c.index, &v->row.root, any, NULL);
    return r ? r : index_local_by_root(e->c.index, &v->row.root, any_local, NULL);
}

static int save_one(struct engine *e, int64_t entry, uint64_t wall_ms)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    struct vers v = {0};
    struct ix_local l;
    int64_t id;
    int r = engine_entry(e, entry, &raw, &v.ent, &v.row);
    if (r == 0)
        r = have_content(e, &v);
    if (r <= 0) {
        entry_release(&v.ent);
        return r;
    }
    r = engine_write_again(e, &v, wall_ms, &id);
    entry_release(&v.ent);
    if (r == 0)
        r = index_local_get(e->c.index, v.row.path, &l);
    if (r == 0 && l.entry == entry) {
        l.entry = id;
        r = index_local_put(e->c.index, &l);
    }
    return r == ERR_NOTFOUND ? 0 : r;
}

struct tip { struct id hash; bool found; struct buf rec; uint8_t sig[SIG_LEN]; uint64_t first; };

static int take_header(void *arg, const struct ix_header *h)
{
    struct tip *t = arg;
    t->hash = id_hash(h->rec.p, h->rec.len);
    t->first = h->first;
    t->found = true;
    memcpy(t->sig, h->sig, SIG_LEN);
    buf_clear(&t->rec);
    buf_add(&t->rec, h->rec.p, h->rec.len);
    return 0;
}

static void tip_release(struct tip *t) { buf_release(&t->rec); }

/* Our header that covers number `at`. */
static int header_at(struct engine *e, const struct stream *s, uint64_t at, struct tip *t)
{
    *t = (struct tip){.rec = BUF_INIT(4096)};
    return s && at ? index_header_each(e->c.index, s->row.id, at, at, take_header, t) : 0;
}

static int cut_off(struct engine *e, struct stream *s, uint64_t end, struct lost *lost)
{
    AUTO(tip_release) struct tip tip = {.found = false};
    int r = header_at(e, s, end, &tip);
    if (r == 0)
        r = index_entry_each_of_stream(e->c.index, s->row.id, end + 1, UINT64_MAX, note, lost);
    if (r < 0)
        return r;
    s->row.known = end;
    s->row.tip = tip.found ? tip.hash : ID_NONE;
    for (size_t i = 0; r == 0 && i < lost->n; i++)
        if (lost->id[i])
            r = state_withdraw(e, lost->id[i]);
    return r == 0 ? index_stream_set(e->c.index, &s->row) : r;
}

/* Who may not sign anything now forgets that it is on its disk: it will be seen again. */
static int forget_one(struct engine *e, int64_t entry, int64_t path)
{
    struct ix_local l;
    int r = index_local_get(e->c.index, path, &l);
    if (r == 0 && l.entry == entry)
        r = index_local_del(e->c.index, path);
    return r == ERR_NOTFOUND ? 0 : r;
}

static int save_all(struct engine *e, const struct lost *lost, uint64_t wall_ms)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < lost->n; i++)
        if (lost->id[i])
            r = may_write(e) ? save_one(e, lost->id[i], wall_ms) : forget_one(e, lost->id[i], lost->path[i]);
    for (size_t i = 0; r == 0 && i < lost->n; i++)
        r = state_update(e, lost->path[i]);
    return r;
}

/* 1 = it ends there from now on, 0 = it has ended before that already. */
static int end_stream(struct engine *e, const struct sid *sid, uint64_t end, const struct buf *proof, uint64_t wall_ms)
{
    struct stream *s = engine_stream_by_sid(e, sid);
    bool own = s && s->row.id == e->own;
    if (fork_end(e, sid) <= end)
        return 0;
    if (e->ends.n >= ENDS_MAX && !sidmap_has(&e->ends, sid))
        return err_set(ERR_FULL, "group: more than %u streams have two histories", ENDS_MAX);
    if (own && e->lens.n) {
        engine_begin_incarnation(e);         /* not undone by the rollback: the next try writes to the new stream */
        return err_set(ERR_AGAIN, "own stream: it ends while it is being written: to be tried again");
    }
    set_end(e, sid, end);
    if (own)
        engine_begin_incarnation(e);
    struct lost lost = {0};
    int r = save(e, sid, proof);
    if (r == 0 && s && s->row.known > end)
        r = cut_off(e, s, end, &lost);
    if (r == 0)
        r = save_all(e, &lost, wall_ms);
    free(lost.id);
    free(lost.path);
    return r < 0 ? r : 1;
}

static bool is_proof(const struct header *x, const struct header *y)
{
    return x->first == y->first && id_eq(&x->prev, &y->prev) && !id_eq(&x->hash, &y->hash);
}

int engine_fork(struct engine *e, const void *body, size_t len, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    struct header h[2];
    int r = fork_verify(body, len, h);
    if (r < 0)
        return r;
    if (!id_eq(&h[0].group, &e->c.group->id) || !group_find(e->c.group, &h[0].dev) || !is_proof(&h[0], &h[1]))
        return err_set(ERR_DENIED, "fork: of no member, or these are not the first headers that differ");
    struct buf proof = BUF_INIT(len);
    buf_add(&proof, body, len);
    r = end_stream(e, &h[0].sid, h[0].first - 1, &proof, wall_ms);
    buf_release(&proof);
    return r;
}

/* ---- looking for the first headers that differ ---- */

struct probe *fork_probe(struct engine *e, const struct sid *sid)
{
    for (size_t i = 0; i < e->nprobe; i++)
        if (sid_eq(&e->probe[i].sid, sid))
            return &e->probe[i];
    return NULL;
}

static void end_probe(struct engine *e, struct probe *p) { *p = e->probe[--e->nprobe]; }

void fork_forget(struct engine *e, const struct id *dev)
{
    for (size_t i = e->nprobe; i > 0; i--)
        if (id_eq(&e->probe[i - 1].dev, dev))
            end_probe(e, &e->probe[i - 1]);
}

void fork_forgive(struct engine *e)
{
    for (size_t i = e->nprobe; i > 0; i--) {
        struct probe *p = &e->probe[i - 1];
        if (!p->moved)
            end_probe(e, p);
        else
            p->moved = false;
    }
}

/* Further back, in greater and greater steps. */
static int go_back(struct engine *e, const struct id *dev, const struct sid *sid, uint64_t from)
{
    struct probe *p = fork_probe(e, sid);
    if (!p && e->nprobe == PROBES_MAX)
        return 0;
    if (!p) {
        p = &e->probe[e->nprobe++];
        *p = (struct probe){.sid = *sid, .dev = *dev, .step = PROBE_STEP};
    } else if (!id_eq(&p->dev, dev)) {
        return 0;
    } else if (p->from == 1) {
        end_probe(e, p);
        return 0;
    }
    p->from = from > p->step ? from - p->step : 1;
    p->step *= 2;
    p->moved = true;
    return 1;
}

void fork_suspect(struct engine *e, const struct vec *v)
{
    for (size_t i = 0; i < v->nstream; i++) {
        const struct vec_stream *theirs = &v->stream[i];
        const struct stream *s = engine_stream_by_sid(e, &theirs->sid);
        if (s && s->row.known == theirs->known && memcmp(theirs->tip8, s->row.tip.b, sizeof theirs->tip8) != 0 &&
            !fork_probe(e, &theirs->sid))
            (void)go_back(e, &v->dev, &theirs->sid, theirs->known);
    }
}

static int prove(struct engine *e, const struct cs *cs, const struct header *h, const struct tip *ours, uint64_t wall_ms)
{
    struct buf proof = BUF_INIT(LIMIT_HEAD);
    struct signed_header x = {{ours->rec.data, ours->rec.len}, ours->sig}, y = {cs->hdr, cs->sig};
    fork_put(&proof, &x, &y);
    int r = buf_ok(&proof) ? end_stream(e, &h->sid, h->first - 1, &proof, wall_ms) : err_set(ERR_FULL, "fork: no memory");
    buf_release(&proof);
    struct probe *p = fork_probe(e, &h->sid);
    if (p)
        end_probe(e, p);
    return r;
}

int fork_compare(struct engine *e, const struct id *from, const struct cs *cs, const struct header *h, uint64_t wall_ms)
{
    const struct stream *s = engine_stream_by_sid(e, &h->sid);
    struct probe *p = fork_probe(e, &h->sid);
    uint64_t known = s ? s->row.known : 0, last = h->first + h->count - 1;
    AUTO(tip_release) struct tip ours = {.found = false};
    struct header mine;
    if (!p && (!known || last <= known || (h->first == known + 1 && id_eq(&h->prev, &s->row.tip))))
        return 0;
    if (h->first > known + 1 || (h->first == known + 1 && (!known || id_eq(&h->prev, &s->row.tip))))
        return 0;
    if (h->first == known + 1)
        return go_back(e, from, &h->sid, known);
    int r = header_at(e, s, h->first, &ours);
    if (r < 0 || !ours.found)
        return r;
    if (id_eq(&ours.hash, &h->hash)) {
        if (p && id_eq(&p->dev, from) && last >= p->from) {
            p->from = last + 1;
            p->moved = true;
            if (last >= known)
                end_probe(e, p);
            return 1;
        }
        return 0;
    }
    r = header_decode(ours.rec.data, ours.rec.len, ours.sig, &mine);
    if (r == 0 && is_proof(&mine, h))
        return prove(e, cs, h, &ours, wall_ms);
    return r < 0 ? r : go_back(e, from, &h->sid, ours.first < h->first ? ours.first : h->first);
}

/* ---- telling ---- */

struct teller { struct engine *e; struct peer_vec *p; struct buf *body; bool found; };

static void tell(void *arg, const struct sid *sid, void *value)
{
    struct teller *t = arg;
    const struct vec_stream *s = vec_find(&t->p->vec, sid);
    char key[KEY_LEN];
    if (t->found || !s || s->known <= (uintptr_t)value - 1 || sidmap_has(&t->p->told, sid))
        return;
    sidmap_put(&t->p->told, sid, NULL);
    t->found = index_kv_get(t->e->c.index, proof_key(sid, key), t->body) == 0;
}

bool engine_next_fork(struct engine *e, struct id *dev, struct buf *body)
{
    for (size_t i = 0; i < e->npeer && e->ends.n; i++) {
        struct peer_vec *p = &e->peer[i];
        struct teller t = {e, p, body, false};
        if (p->online && p->have)
            sidmap_each(&e->ends, tell, &t);
        *dev = p->dev;
        if (t.found)
            return true;
    }
    return false;
}

/* ---- what we ourselves must take back ---- */

/* The first header of the stream that lies in the future. */
struct future { uint64_t limit; struct header h; struct tip at; bool found; };

static int find_future(void *arg, const struct ix_header *row)
{
    struct future *f = arg;
    int r = header_decode(row->rec.p, row->rec.len, row->sig, &f->h);
    if (r < 0)
        return r;
    f->found = f->h.wall_ms > f->limit || hlc_ms(f->h.hlc_max) > f->limit;
    if (f->found)
        (void)take_header(&f->at, row);
    return f->found;
}

/* A header that contradicts it, with nothing behind: the proof that ends the stream for everybody who has taken the first. */
static int take_back(struct engine *e, const struct future *f, uint64_t wall_ms)
{
    struct header other = f->h;
    AUTO(buf_release) struct buf rec = BUF_INIT(1024), proof = BUF_INIT(LIMIT_HEAD);
    uint8_t sig[SIG_LEN];
    other.count = 1;
    other.root = id_hash(e->c.inst, sizeof e->c.inst);
    other.wall_ms = wall_ms;
    other.hlc_max = hlc_make(wall_ms, 0);
    int r = header_encode(&rec, sig, &other, e->c.keys);
    if (r < 0)
        return r;
    struct signed_header x = {{f->at.rec.data, f->at.rec.len}, f->at.sig}, y = {{rec.data, rec.len}, sig};
    fork_put(&proof, &x, &y);
    return end_stream(e, &f->h.sid, f->h.first - 1, &proof, wall_ms);
}

static bool agrees(const struct peer_vec *p, uint64_t wall_ms)
{
    return p->vec.wall_ms <= wall_ms + CLOCK_TOLERANCE_MS && p->vec.wall_ms + CLOCK_TOLERANCE_MS >= wall_ms;
}

/* More than 0: most of those who are here have our time, so it is right now; less: most have not. */
static int votes(const struct engine *e, uint64_t wall_ms)
{
    int n = 0;
    for (size_t i = 0; i < e->npeer; i++)
        if (e->peer[i].online && e->peer[i].have)
            n += agrees(&e->peer[i], wall_ms) ? 1 : -1;
    return n;
}

uint64_t engine_clock_off(const struct engine *e, uint64_t wall_ms)
{
    uint64_t off = 0;
    for (size_t i = 0; i < e->npeer && votes(e, wall_ms) < 0; i++)
        if (e->peer[i].online && e->peer[i].have && !agrees(&e->peer[i], wall_ms))
            off = e->peer[i].vec.wall_ms > wall_ms ? e->peer[i].vec.wall_ms - wall_ms : wall_ms - e->peer[i].vec.wall_ms;
    return off;
}

static bool somebody_lacks(const struct engine *e, const struct ix_stream *row, uint64_t wall_ms)
{
    for (size_t i = 0; i < e->npeer; i++) {
        const struct peer_vec *p = &e->peer[i];
        if (!p->online || !p->have || !agrees(p, wall_ms))
            continue;
        const struct vec_stream *s = vec_find(&p->vec, &row->sid);
        if (!s || s->known < row->known)
            return true;
    }
    return false;
}

/* 1 = it ends before what is dated in the future; *stays: that is accepted so far. */
static int check_stream(struct engine *e, const struct stream *s, uint64_t wall_ms, bool *stays)
{
    struct future f = {.limit = wall_ms + CLOCK_TOLERANCE_MS, .at = {.rec = BUF_INIT(4096)}};
    int r = index_header_each(e->c.index, s->row.id, 1, s->row.known, find_future, &f);
    bool lacks = somebody_lacks(e, &s->row, wall_ms);
    *stays |= f.found && !lacks;
    if (r >= 0)
        r = f.found && lacks ? take_back(e, &f, wall_ms) : 0;
    tip_release(&f.at);
    return r;
}

int engine_clock(struct engine *e, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    uint64_t before = e->now.hlc;
    bool stays = false;
    int ended = 0;
    if (e->muted || hlc_ms(before) <= wall_ms + CLOCK_TOLERANCE_MS || votes(e, wall_ms) <= 0)
        return 0;
    e->now.hlc = hlc_make(wall_ms, 0);
    for (size_t i = 0; i < e->nstream; i++) {
        const struct stream *s = e->stream[i];
        if (!s->row.known || !id_eq(&s->row.dev, &e->c.keys->dev))
            continue;
        int r = check_stream(e, s, wall_ms, &stays);
        if (r < 0)
            return r;
        ended += r;
    }
    if (stays)
        e->now.hlc = before;
    return ended;
}
