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

#define KEY_ENDS "ended"              /* struct end... as in the memory of this machine */
enum { ENDS_OF_DEVICE = 16, AGAIN_OF_PATH = 8, KEY_LEN = 5 + 2 * SID_LEN + 1 };

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
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_MEMBERS * ENDS_OF_DEVICE * sizeof(struct end));
    sidmap_clear(&e->ended);
    e->nend = 0;
    for (size_t i = 0; i < e->nsplit; i++)
        e->split[i].n = 0;               /* what has been told of it stays told */
    int r = index_kv_get(e->c.index, KEY_ENDS, &b);
    for (size_t i = 0; r == 0 && i + sizeof(struct end) <= b.len; i += sizeof(struct end)) {
        struct end t;
        memcpy(&t, b.data + i, sizeof t);
        set_end(e, &t);
    }
    return r == ERR_NOTFOUND ? 0 : r;
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
    char key[KEY_LEN];
    int r = index_kv_put(e->c.index, KEY_ENDS, e->end, e->nend * sizeof *e->end);
    return r == 0 ? index_kv_put(e->c.index, proof_key(sid, key), proof->data, proof->len) : r;
}

/* ---- what no longer counts ---- */

struct lost_entry { int64_t id, path; uint64_t seq, hlc; enum kind kind; bool live; };
struct lost { struct lost_entry *v; size_t n, cap; };

static int note(void *arg, const struct ix_entry *row)
{
    struct lost *l = arg;
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->v = xrealloc(l->v, l->cap, sizeof *l->v);
    }
    l->v[l->n++] = (struct lost_entry){row->id, row->path, row->seq, row->hlc, row->kind, row->live};
    return 0;
}

static struct version version_of(const struct lost_entry *l)
{
    return (struct version){.dot.seq = l->seq, .hlc = l->hlc, .tombstone = l->kind == KIND_TOMBSTONE, .directory = l->kind == KIND_DIR};
}

/* Those of a path together; what was live first, and of that the greatest. */
static int by_path_and_rank(const void *a, const void *b)
{
    const struct lost_entry *x = a, *y = b;
    if (x->path != y->path)
        return x->path < y->path ? -1 : 1;
    if (x->live != y->live)
        return x->live ? -1 : 1;
    struct version vx = version_of(x), vy = version_of(y);
    const struct version *both[] = {&vx, &vy};
    return x->seq == y->seq ? 0 : merge_winner(both, 2) == 0 ? -1 : 1;
}

static int any(void *arg, const struct ix_kept *k) { (void)arg, (void)k; return 1; }
static int any_local(void *arg, const struct ix_local *l) { (void)arg, (void)l; return 1; }

/* 1 = yes: who signs it anew must be able to give it to others. */
static int have_content(struct engine *e, const struct entry *ent)
{
    if (ent->content.type != CONTENT_BLOCKS)
        return 1;
    int r = index_kept_by_root(e->c.index, &ent->content.root, any, NULL);
    return r ? r : index_local_by_root(e->c.index, &ent->content.root, any_local, NULL);
}

static bool same_dots(const struct dots *a, const struct dots *b)
{
    size_t i = 0;
    while (i < a->n && i < b->n && dot_cmp(&a->v[i], &b->v[i]) == 0)
        i++;
    return i == a->n && i == b->n;
}

/* No two have the same hlc by chance, but those that are dated by the time of a file. */
static bool is_again(const struct entry *x, const struct entry *was)
{
    bool same = was->kind == KIND_SNAPSHOT ? x->kind == KIND_SNAPSHOT : entry_same(x, was);
    return same && was->v.hlc != engine_dated_by_file(was->mtime_ns) && x->mtime_ns == was->mtime_ns && x->v.hlc == was->v.hlc && same_dots(&x->v.ctx, &was->v.ctx);
}

static int64_t find_again(const struct versions *vs, const struct entry *was)
{
    for (size_t i = 0; i < vs->n; i++)
        if (is_again(&vs->v[i].ent, was))
            return vs->v[i].row.id;
    return 0;
}

/* What was on this disk as that entry is there as another one now, or (0) as none: it will be seen again. */
static int move_local(struct engine *e, const struct lost_entry *l, int64_t to)
{
    struct ix_local here;
    int r = index_local_get(e->c.index, l->path, &here);
    if (r == 0 && here.entry == l->id) {
        here.entry = to;
        r = to ? index_local_put(e->c.index, &here) : index_local_del(e->c.index, l->path);
    }
    return r == ERR_NOTFOUND ? 0 : r;
}

static int sign_again(struct engine *e, const struct lost_entry *l, struct dots *own, uint64_t wall_ms)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    struct vers v = {0};
    int64_t id;
    int r = engine_entry(e, l->id, &raw, &v.ent, &v.row);
    if (r == 0)
        r = engine_write_again(e, &v, own, wall_ms, &id);
    if (r == 0)
        r = move_local(e, l, id);
    entry_release(&v.ent);
    return r;
}

/* It is history from now on, so its time to stay begins now, however long it has waited as a conflict. */
static int leave_to_history(struct engine *e, const struct lost_entry *l, uint64_t wall_ms)
{
    struct ix_entry row;
    int r = index_entry_get(e->c.index, l->id, &row, NULL);
    return r == 0 && !id_is_none(&row.root) ? index_kept_renew(e->c.index, &row.root, clock_at_least_aged(e, wall_ms)) : r;
}

enum choice { LEFT, AGAIN, DONE };    /* DONE: by somebody else */

/* What somebody else has signed again is not signed twice: if that has been deleted since, a second one would bring it back. */
static int choose_one(struct engine *e, const struct lost_entry *l, const struct versions *vs, enum choice *choice)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    int r = engine_entry(e, l->id, &raw, &ent, &row);
    int64_t other = r == 0 ? find_again(vs, &ent) : 0;
    if (other) {
        *choice = DONE;
        return move_local(e, l, other);
    }
    if (r == 0)
        r = have_content(e, &ent);
    *choice = r > 0 ? AGAIN : LEFT;
    return r < 0 ? r : 0;
}

/* The greatest whose contents are here; the others of which that is not so are for others to sign. */
static int choose(struct engine *e, const struct lost_entry *l, size_t n, enum choice *choice, uint64_t wall_ms)
{
    AUTO(versions_release) struct versions vs;
    unsigned chosen = 0;
    int r = versions_load(e, l->path, &vs);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (!may_write(e))
            r = move_local(e, &l[i], 0);     /* who may not sign anything forgets that it is on its disk */
        else if (chosen < AGAIN_OF_PATH)
            r = choose_one(e, &l[i], &vs, &choice[i]);
        chosen += choice[i] != LEFT;
        if (r == 0 && choice[i] == LEFT)
            r = leave_to_history(e, &l[i], wall_ms);
    }
    return r;
}

/* The least first, so that among versions of one moment the same one wins as before. */
static int save_live(struct engine *e, const struct lost_entry *l, size_t n, uint64_t wall_ms)
{
    AUTO(dots_release) struct dots own = {0};
    AUTOFREE enum choice *choice = xcalloc(n, sizeof *choice);
    int r = engine_own_heads(e, l->path, &own);
    if (r == 0)
        r = choose(e, l, n, choice, wall_ms);
    for (size_t i = n; r == 0 && i > 0; i--)
        if (choice[i - 1] == AGAIN)
            r = sign_again(e, &l[i - 1], &own, wall_ms);
    return r;
}

static int save_path(struct engine *e, const struct lost_entry *l, size_t n, uint64_t wall_ms)
{
    size_t live = 0;
    while (live < n && l[live].live)
        live++;
    int r = live ? save_live(e, l, live, wall_ms) : 0;
    return r == 0 ? state_update(e, l->path) : r;
}

/* Of a device only so many snapshots are read: those of another one must not take the room of its own. */
static int leave_room(struct engine *e, const struct id *dev, struct lost *lost)
{
    size_t room, snapshots = 0;
    int r = snapshots_room(e, dev, &room);
    for (size_t i = 0; r == 0 && i < lost->n; i++)
        if (lost->v[i].live && lost->v[i].kind == KIND_SNAPSHOT)
            lost->v[i].live = snapshots++ < room;
    return r;
}

static int save_all(struct engine *e, const struct id *dev, struct lost *lost, uint64_t wall_ms)
{
    int r = leave_room(e, dev, lost);
    if (lost->n)
        qsort(lost->v, lost->n, sizeof *lost->v, by_path_and_rank);
    for (size_t i = 0, next; r == 0 && i < lost->n; i = next) {
        for (next = i; next < lost->n && lost->v[next].path == lost->v[i].path; next++)
            ;
        r = save_path(e, &lost->v[i], next - i, wall_ms);
    }
    return r;
}

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

static int cut_off(struct engine *e, struct stream *s, uint64_t end, struct lost *lost)
{
    AUTO(tip_release) struct tip tip = {.found = false};
    int r = fork_header_at(e, s, end, &tip);
    if (r == 0)
        r = index_entry_each_of_stream(e->c.index, s->row.id, end + 1, UINT64_MAX, note, lost);
    if (r < 0)
        return r;
    s->row.known = end;
    s->row.tip = tip.found ? tip.hash : ID_NONE;
    for (size_t i = 0; r == 0 && i < lost->n; i++)
        if (lost->v[i].live)
            r = state_withdraw(e, lost->v[i].id);
    return r == 0 ? index_stream_set(e->c.index, &s->row) : r;
}

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
    struct lost lost = {0};
    int r = save(e, &t.sid, proof);
    if (r == 0 && s && s->row.known > t.end)
        r = cut_off(e, s, t.end, &lost);
    if (r == 0)
        r = save_all(e, &t.dev, &lost, wall_ms);
    free(lost.v);
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
