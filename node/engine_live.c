/* The live state with its proofs. Serving: an entry after the other, in the order of their rows, in which those of a change set are
 * neighbours: so the tree of one change set serves many proofs. Taking, when a peer knows the same and shows another state: what others
 * wrongly said to be dead comes back; what we ourselves know to be dead, and the peer does not, is deleted once more. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/limits.h"
#include "proto/merkle.h"

enum { REPLY_BYTES = 256 << 10, ROWS_MAX = 8192, TREES_MAX = 64 };  /* rows: also those that make a tree */

/* ---- serving ---- */

/* A change set and the hashes of its tree; rec.len 0: none. */
struct tree { struct engine *e; int64_t stream; uint64_t first; uint32_t count; struct buf rec; uint8_t sig[SIG_LEN]; struct merkle_item *item; size_t n; struct id *node; };
struct server {
    struct engine *e;
    const struct bytes *from, *to;
    struct tree tree;
    struct buf items; uint32_t n;
    size_t rows, trees;
    uint64_t last;                   /* row that has been dealt with */
    bool full;
};

static int take_header(void *arg, const struct ix_header *h)
{
    struct tree *t = arg;
    t->stream = h->stream;
    t->first = h->first;
    t->count = h->count;
    memcpy(t->sig, h->sig, SIG_LEN);
    buf_clear(&t->rec);
    buf_add(&t->rec, h->rec.p, h->rec.len);
    return 0;
}

static int take_leaf(void *arg, const struct ix_entry *row)
{
    struct tree *t = arg;
    if (t->n < t->count)
        t->item[t->n++] = (struct merkle_item){(uint32_t)(row->seq - t->first), 1, merkle_leaf(row->raw.p, row->raw.len)};
    return 0;
}

static int take_run(void *arg, const struct ix_pruned *p)
{
    struct tree *t = arg;
    if (t->n < t->count)
        t->item[t->n++] = (struct merkle_item){(uint32_t)(p->first - t->first), p->count, p->hash};
    return 0;
}

static int by_first(const void *a, const void *b)
{
    const struct merkle_item *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static int load_tree(struct tree *t, int64_t stream, uint64_t seq)
{
    buf_clear(&t->rec);
    t->n = 0;
    int r = index_header_each(t->e->c.index, stream, seq, seq, take_header, t);
    if (r == 0 && !t->rec.len)
        return err_set(ERR_CORRUPT, "index: entry %llu of a stream is in no change set", (unsigned long long)seq);
    if (r == 0)
        r = index_entry_each_of_stream(t->e->c.index, stream, t->first, t->first + t->count - 1, take_leaf, t);
    if (r == 0)
        r = index_pruned_each(t->e->c.index, stream, t->first, t->first + t->count - 1, take_run, t);
    if (r < 0)
        return r;
    qsort(t->item, t->n, sizeof *t->item, by_first);
    return merkle_tree(t->item, t->n, t->count, t->node) < 0 ? err_prefix(ERR_CORRUPT, "index") : 0;
}

static bool has(const struct tree *t, const struct ix_entry *row)
{
    return t->rec.len && t->stream == row->stream && row->seq >= t->first && row->seq < t->first + t->count;
}

static int compare(const struct buf *name, const struct bytes *bound)
{
    size_t n = name->len < bound->len ? name->len : bound->len;
    int c = memcmp(name->data, bound->p, n);
    return c ? c : name->len < bound->len ? -1 : name->len > bound->len;
}

/* 1 = yes */
static int asked_for(struct server *s, const struct ix_entry *row)
{
    if (!engine_shows(s->e, row->stream, row->seq))
        return 0;
    if (!s->from->len && !s->to->len)
        return 1;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    int r = index_path_get(s->e->c.index, row->path, &name, NULL);
    return r < 0 ? r : (!s->from->len || compare(&name, s->from) >= 0) && (!s->to->len || compare(&name, s->to) < 0);
}

static int put_live(struct server *s, const struct ix_entry *row)
{
    struct tree *t = &s->tree;
    struct live_item it = {.ent = row->raw};
    if (!has(t, row)) {
        if (s->trees++ == TREES_MAX) {
            s->full = true;
            return 0;
        }
        int r = load_tree(t, row->stream, row->seq);
        if (r < 0)
            return r;
        s->rows += t->count;
    }
    it.hdr = (struct bytes){t->rec.data, t->rec.len};
    it.sig = t->sig;
    it.index = (uint32_t)(row->seq - t->first);
    it.nproof = (uint32_t)merkle_tree_proof(t->node, t->count, it.index, it.proof);
    size_t before = s->items.len;
    live_put(&s->items, &it);
    s->full = s->n && s->items.len > REPLY_BYTES;
    if (s->full)
        s->items.len = before;
    s->n += !s->full;
    return 0;
}

static int serve_row(void *arg, const struct ix_entry *row)
{
    struct server *s = arg;
    s->full = s->rows++ >= ROWS_MAX;
    int r = s->full ? 0 : asked_for(s, row);
    if (r > 0)
        r = put_live(s, row);
    if (r == 0 && !s->full)
        s->last = (uint64_t)row->id;
    return r < 0 ? r : s->full;
}

int engine_serve_live(struct engine *e, const struct bytes *from, const struct bytes *to, uint64_t cursor, uint64_t *next, struct buf *body)
{
    struct server s = {.e = e, .from = from, .to = to, .tree = {.e = e, .rec = BUF_INIT(1024)}, .items = BUF_INIT(LIMIT_BODY - 16), .last = cursor};
    s.tree.item = xcalloc(LIMIT_CS_COUNT, sizeof *s.tree.item);
    s.tree.node = xcalloc(2 * LIMIT_CS_COUNT, sizeof *s.tree.node);
    int r = index_entry_live_after(e->c.index, (int64_t)cursor, serve_row, &s);
    *next = r > 0 ? s.last : 0;
    buf_clear(body);
    mp_put_array(body, s.n);
    buf_add(body, s.items.data, s.items.len);
    if (r >= 0 && (!buf_ok(body) || !buf_ok(&s.items)))
        r = err_set(ERR_FULL, "live state: the reply does not fit");
    buf_release(&s.tree.rec);
    buf_release(&s.items);
    free(s.tree.item);
    free(s.tree.node);
    return r < 0 ? r : 0;
}

/* ---- taking ---- */

struct taker {
    struct engine *e;
    uint64_t wall_ms;
    struct bytes hdr;                /* of the item before: most have the same */
    struct header h;
    struct stream *s;                /* NULL: not a change set that we have */
    struct live_found *found;
};

static int same_hash(void *arg, const struct ix_header *row)
{
    struct id hash = id_hash(row->rec.p, row->rec.len);
    return id_eq(&hash, arg);
}

/* A change set that we have was checked when it came, also whether its author may write. */
static int open_header(struct taker *t, const struct live_item *it)
{
    if (t->hdr.len == it->hdr.len && memcmp(t->hdr.p, it->hdr.p, it->hdr.len) == 0)
        return 0;
    t->hdr = (struct bytes){0};
    int r = header_decode(it->hdr.p, it->hdr.len, it->sig, &t->h);
    if (r < 0)
        return err_prefix(r, "LIVE item");
    t->s = engine_stream_by_sid(t->e, &t->h.sid);
    r = t->s ? index_header_each(t->e->c.index, t->s->row.id, t->h.first, t->h.first, same_hash, &t->h.hash) : 0;
    if (r <= 0)
        t->s = NULL;
    t->hdr = it->hdr;
    return r < 0 ? r : 0;
}

static int first_run(void *arg, const struct ix_pruned *p)
{
    *(struct ix_pruned *)arg = *p;
    return 1;
}

/* The run is divided: the entry, and around it the subtrees that its proof names. They lead to the signed root just as the run did. */
static int put_back(struct taker *t, const struct live_item *it, const struct entry *ent, const struct ix_pruned *run)
{
    struct merkle_item sibling[MERKLE_PROOF_MAX];
    struct index *ix = t->e->c.index;
    size_t n = merkle_siblings(it->index, t->h.count, sibling);
    struct ix_entry row;
    int64_t path;
    assert(n == it->nproof);
    int r = index_pruned_del(ix, run->stream, run->first, run->count);
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct ix_pruned p = {run->stream, t->h.first + sibling[i].first, sibling[i].count, false, it->proof[i]};
        if (p.first >= run->first && p.first + p.count <= run->first + run->count)
            r = index_pruned_put(ix, &p);
    }
    if (r == 0)
        r = index_path_id(ix, (const char *)ent->path.p, ent->path.len, true, &path);
    if (r == 0)
        r = state_put(t->e, t->s, ent, it->ent, path, &row);
    if (r == 0)
        r = state_update(t->e, path);
    t->found->restored++;
    return r;
}

static bool is_superseded(const struct versions *vs, const struct version *v)
{
    for (size_t i = 0; i < vs->n; i++)
        if (merge_supersedes(&vs->v[i].ent.v, v))
            return true;
    return false;
}

/* A context names the numbers of a stream up to one: what lives there of that stream, and the entry did not supersede, is to live on. */
static void spare_others(const struct versions *vs, const struct version *dead, struct dots *except)
{
    for (size_t i = 0; i < dead->except.n; i++)
        if (sid_eq(&dead->except.v[i].sid, &dead->dot.sid))
            dots_add(except, &dead->except.v[i]);
    for (size_t i = 0; i < vs->n; i++) {
        const struct vers *v = &vs->v[i];
        if (v->row.live && sid_eq(&v->ent.v.dot.sid, &dead->dot.sid) && v->row.seq < dead->dot.seq && !merge_supersedes(dead, &v->ent.v))
            dots_add(except, &v->ent.v.dot);
    }
}

/* It is dead, we have forgotten why, and the peer never knew (it may have gone back to an older index): it is deleted again. The deletion
 * loses to whatever lives there. */
static int delete_again(struct taker *t, const struct entry *ent)
{
    AUTO(versions_release) struct versions vs = {0};
    AUTO(entry_release) struct entry again = {.kind = KIND_TOMBSTONE, .path = ent->path};
    int64_t path, id;
    if (ent->kind == KIND_TOMBSTONE || ent->kind == KIND_NOTE || !may_write(t->e))      /* nobody forgets a note */
        return 0;
    int r = index_path_id(t->e->c.index, (const char *)ent->path.p, ent->path.len, true, &path);
    if (r == 0)
        r = versions_load(t->e, path, &vs);
    if (r < 0 || is_superseded(&vs, &ent->v))
        return r;
    ctx_raise(&again.v.ctx, &ent->v.dot.sid, ent->v.dot.seq);
    spare_others(&vs, &ent->v, &again.v.except);
    r = author(t->e, &again, path, t->wall_ms, &id);
    t->found->deleted++;
    return r == 0 ? state_update(t->e, path) : r;
}

static int take_live(struct taker *t, const struct live_item *it)
{
    AUTO(entry_release) struct entry ent = {0};
    struct ix_pruned run;
    struct header h;
    int r = open_header(t, it);
    if (r == 0 && it->index >= t->h.count)
        r = err_set(ERR_BAD, "LIVE item: no such entry in its change set");
    uint64_t seq = r == 0 ? t->h.first + it->index : 0;
    if (r < 0 || !t->s || seq > t->s->row.known)
        return r;
    r = index_pruned_each(t->e->c.index, t->s->row.id, seq, seq, first_run, &run);
    if (r <= 0)
        return r;                    /* we have it */
    r = live_verify(it, &h);
    if (r == 0)
        r = entry_decode(it->ent.p, it->ent.len, &ent);
    if (r == 0)
        r = entry_place(&ent, &t->h, it->index);
    if (r < 0)
        return r;
    return run.own ? delete_again(t, &ent) : put_back(t, it, &ent, &run);
}

int engine_take_live(struct engine *e, const void *body, size_t len, uint64_t wall_ms, struct live_found *found)
{
    assert(index_in_tx(e->c.index));
    e->wall = wall_ms;
    struct taker t = {.e = e, .wall_ms = wall_ms, .found = found};
    struct mp m;
    uint32_t n;
    int r = body_open(body, len, &m, &n);
    *found = (struct live_found){0};
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        struct live_item it;
        r = live_next(&m, &it);
        if (r == 0)
            r = take_live(&t, &it);
        found->items++;
    }
    return r < 0 ? r : mp_done(&m, "live state");
}

/* ---- when to look ---- */

static bool differs(const struct engine *e, const struct peer_vec *p)
{
    size_t n = 0;
    if (!p->online || !p->have || lock_peer_holds(p) || id_eq(&p->vec.fp, &e->now.fp))
        return false;
    for (size_t i = 0; i < e->nstream; i++) {
        const struct ix_stream *row = &e->stream[i]->row;
        const struct vec_stream *s = row->known ? vec_find(&p->vec, &row->sid) : NULL;
        if (row->known && (!s || s->known != row->known || memcmp(s->tip8, row->tip.b, sizeof s->tip8) != 0))
            return false;
        n += row->known > 0;
    }
    return n == p->vec.nstream;
}

bool engine_next_differing(struct engine *e, size_t *at, struct differing *out)
{
    while (*at < e->npeer) {
        const struct peer_vec *p = &e->peer[(*at)++];
        if (differs(e, p)) {
            *out = (struct differing){p->dev, p->vec.fp, e->now.fp};
            return true;
        }
    }
    return false;
}
