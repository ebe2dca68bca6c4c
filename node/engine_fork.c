/* A stream with two histories: its device was cloned, or brought back from a backup that its peers could not warn of in time, or lies.
 * The first two headers that differ behind the same one prove it to everybody. The stream ends before them, on every device that
 * has the proof; what one knows of it beyond, of either history, no longer counts, and whoever has a version of that which was live
 * signs it again as its own. So nobody has to trust one of two histories, and nothing is lost of either.
 *
 * Who lies could make everybody sign without end. So of each path only the greatest versions are signed again, and the other ones are
 * history; and of each other device only so many streams end: after that, the history of a stream that comes first stays. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"

#define KEY_ENDS "ended"
enum { ENDS_OF_DEVICE = 16, KEY_LEN = 5 + 2 * SID_LEN + 1 };

/* ---- streams that have ended ---- */

static const struct end *find_end(const struct engine *e, const struct sid *sid)
{
    uintptr_t at = (uintptr_t)sidmap_get(&e->ended, sid);
    return at ? &e->end[at - 1] : NULL;
}

uint64_t fork_end(const struct engine *e, const struct sid *sid)
{
    const struct end *t = find_end(e, sid);
    return t ? t->end : UINT64_MAX;
}

static struct split *find_split(const struct engine *e, const struct id *dev)
{
    for (size_t i = 0; i < e->nsplit; i++)
        if (id_eq(&e->split[i].dev, dev))
            return &e->split[i];
    return NULL;
}

bool fork_distrusts(const struct engine *e, const struct id *dev)
{
    const struct split *s = e->nsplit ? find_split(e, dev) : NULL;
    return s && s->n >= ENDS_OF_DEVICE;
}

bool fork_refuses(const struct engine *e, const struct sid *sid, const struct id *dev)
{
    return fork_distrusts(e, dev) && !find_end(e, sid);
}

static void count_end(struct engine *e, const struct id *dev)
{
    struct split *s = find_split(e, dev);
    if (!s) {
        e->split = xrealloc(e->split, e->nsplit + 1, sizeof *e->split);
        s = &e->split[e->nsplit++];
        *s = (struct split){.dev = *dev};
    }
    s->n++;
}

static void set_end(struct engine *e, const struct end *t)
{
    uintptr_t at = (uintptr_t)sidmap_get(&e->ended, &t->sid);
    if (at) {
        e->end[at - 1] = *t;
        return;
    }
    e->end = xrealloc(e->end, e->nend + 1, sizeof *e->end);
    e->end[e->nend++] = *t;
    sidmap_put(&e->ended, &t->sid, (void *)(uintptr_t)e->nend);
    if (!id_eq(&t->dev, &e->c.keys->dev))    /* a clock that is wrong at every start ends an own one each time (engine_clock) */
        count_end(e, &t->dev);
}

int fork_load(struct engine *e)
{
    AUTO(buf_release) struct buf b = BUF_INIT(SAVED_ENDS_MAX);
    sidmap_clear(&e->ended);
    e->nend = 0;
    for (size_t i = 0; i < e->nsplit; i++)
        e->split[i].n = 0;               /* what has been told of it stays told */
    int r = index_kv_get(e->c.index, KEY_ENDS, &b);
    return r == 0 ? saved_ends_each(&b, set_end, e) : r == ERR_NOTFOUND ? 0 : r;
}

void fork_release(struct engine *e)
{
    sidmap_clear(&e->ended);
    free(e->end);
    free(e->split);
}

bool engine_next_distrusted(struct engine *e, struct id *dev)
{
    for (size_t i = 0; i < e->nsplit; i++)
        if (e->split[i].n >= ENDS_OF_DEVICE && !e->split[i].told) {
            e->split[i].told = true;
            *dev = e->split[i].dev;
            return true;
        }
    return false;
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
    AUTO(buf_release) struct buf value = BUF_INIT(SAVED_ENDS_MAX);
    char key[KEY_LEN];
    saved_ends_put(&value, e->end, e->nend);
    int r = buf_ok(&value) ? index_kv_put(e->c.index, KEY_ENDS, value.data, value.len) : err_set(ERR_FULL, "too many streams have two histories");
    return r == 0 ? index_kv_put(e->c.index, proof_key(sid, key), proof->data, proof->len) : r;
}

/* ---- the end ---- */

int fork_header_at(struct engine *e, const struct stream *s, uint64_t at, struct tip *t)
{
    *t = (struct tip){.rec = BUF_INIT(4096)};
    return s && at ? index_header_each(e->c.index, s->row.id, at, at, tip_take, t) : 0;
}

int tip_take(void *tip, const struct ix_header *h)
{
    struct tip *t = tip;
    t->hash = id_hash(h->rec.p, h->rec.len);
    t->first = h->first;
    t->found = true;
    memcpy(t->sig, h->sig, SIG_LEN);
    buf_clear(&t->rec);
    buf_add(&t->rec, h->rec.p, h->rec.len);
    return 0;
}

void tip_release(struct tip *t) { buf_release(&t->rec); }

int fork_end_stream(struct engine *e, const struct header *h, const struct buf *proof, uint64_t wall_ms)
{
    const struct end t = {.sid = h->sid, .dev = h->dev, .end = h->first - 1};
    struct stream *s = engine_stream_by_sid(e, &t.sid);
    bool own = s && s->row.id == e->own;
    if (fork_end(e, &t.sid) <= t.end)
        return 0;
    if (fork_refuses(e, &t.sid, &t.dev))
        return err_set(ERR_DENIED, "fork: %u streams of its device have two histories already: it is not to be trusted", ENDS_OF_DEVICE);
    if (e->muted)
        return err_set(ERR_AGAIN, "fork: nothing can be signed again while another machine runs with our keys");
    if (own && e->lens.n) {
        engine_begin_incarnation(e);         /* not undone by the rollback: the next try writes to the new stream */
        return err_set(ERR_AGAIN, "own stream: it ends while it is being written: to be tried again");
    }
    set_end(e, &t);
    if (own)
        engine_begin_incarnation(e);
    int r = save(e, &t.sid, proof);
    if (r == 0 && s && s->row.known > t.end)
        r = withdraw_beyond(e, s, t.end, own || cut_vouches(e, s) ? AGAIN_BESIDE : AGAIN_NOTHING, wall_ms);
    return r < 0 ? r : 1;
}

bool fork_is_proof(const struct header *x, const struct header *y)
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
    if (!id_eq(&h[0].group, &e->c.group->id) || !group_find(e->c.group, &h[0].dev) || !fork_is_proof(&h[0], &h[1]))
        return err_set(ERR_DENIED, "fork: of no member, or these are not the first headers that differ");
    struct buf proof = BUF_INIT(len);
    buf_add(&proof, body, len);
    r = fork_end_stream(e, &h[0], &proof, wall_ms);
    buf_release(&proof);
    return r;
}

/* ---- telling ---- */

/* So that he finds what we have signed again, and what has become of it since, before he signs it again himself. Whoever has had the time
 * hears of it all the same: there may be something that he refuses. */
static bool may_hear(struct engine *e, const struct peer_vec *p)
{
    for (size_t i = 0; i < e->nstream && !p->patient; i++) {
        const struct ix_stream *row = &e->stream[i]->row;
        const struct vec_stream *s = vec_find(&p->vec, &row->sid);
        if (row->known > (s ? s->known : 0))
            return false;
    }
    return true;
}

static bool next_for(struct engine *e, struct peer_vec *p, struct buf *body)
{
    char key[KEY_LEN];
    for (size_t i = 0; i < e->nend; i++) {
        const struct end *t = &e->end[i];
        const struct vec_stream *s = vec_find(&p->vec, &t->sid);
        if (!s || s->known <= t->end || sidmap_has(&p->told, &t->sid))
            continue;
        sidmap_put(&p->told, &t->sid, NULL);
        if (index_kv_get(e->c.index, proof_key(&t->sid, key), body) == 0)
            return true;
    }
    return false;
}

bool engine_next_fork(struct engine *e, struct id *dev, struct buf *body)
{
    for (size_t i = 0; i < e->npeer; i++) {
        struct peer_vec *p = &e->peer[i];
        *dev = p->dev;
        if (p->online && p->have && may_hear(e, p) && next_for(e, p, body))
            return true;
    }
    return false;
}
