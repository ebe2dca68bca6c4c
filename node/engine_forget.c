/* Forgetting: versions that are dead, and deletions that everybody knows, once they are old enough. What goes becomes part of a pruned run
 * of its change set. What may go of a path is decided by what would stay: the path must be as it was without it, now and at every
 * snapshot; when it would not be, nothing goes. So it does not matter why an entry is still needed. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/hlc.h"

enum { PATHS_MAX = 1000 };           /* a call */
#define KEY_FORGOTTEN "forgotten_ms"

struct gone { int64_t stream; uint64_t seq; };
struct forgetting {
    struct engine *e;
    uint64_t before, latest;         /* latest: when the last of what goes had ended */
    struct gone *gone; size_t n, cap;
    struct merkle_item *run, *was;   /* of one header */
};

/* What a path has. goes: what is to go of it. */
struct choice { struct versions vs; bool *head, *goes; uint64_t *ended; size_t n; };

static void choice_release(struct choice *c)
{
    versions_release(&c->vs);
    free(c->head);
    free(c->goes);
    free(c->ended);
}

/* ---- which entries nothing holds ---- */

/* Whatever this entry supersedes is here already, or will never count. */
static bool context_known(struct engine *e, const struct dots *ctx)
{
    for (size_t i = 0; i < ctx->n; i++) {
        uint64_t end = engine_end(e, &ctx->v[i].sid), last = ctx->v[i].seq < end ? ctx->v[i].seq : end;
        if (engine_known_of(e, &ctx->v[i].sid) < last)
            return false;
    }
    return true;
}

/* Whether something is true of the vector of every other member, each signed by it. Who has not been heard of since he joined may have been
 * told an older story. */
static bool of_everybody(struct engine *e, bool (*is)(struct engine *e, const struct vec *v, const void *arg), const void *arg)
{
    const struct group *g = e->c.group;
    for (size_t i = 0; i < g->nmember; i++) {
        const struct id *dev = &g->member[i].card.dev;
        if (g->member[i].revoked || id_eq(dev, &e->c.keys->dev))
            continue;
        const struct peer_vec *p = engine_peer_find(e, dev);
        if (!p || !p->shown || !is(e, &p->vec, arg))
            return false;
    }
    return true;
}

static bool knows(struct engine *e, const struct vec *v, const void *dot)
{
    (void)e;
    const struct dot *d = dot;
    const struct vec_stream *s = vec_find(v, &d->sid);
    return s && s->known >= d->seq;
}

static bool is_here(struct engine *e, const struct vec *v, const void *arg)
{
    (void)arg;
    return engine_have_all_in(e, v);
}

struct holder { int64_t entry; bool holds; };
static int kept_holds(void *arg, const struct ix_kept *k)
{
    struct holder *h = arg;
    h->holds |= k->entry == h->entry;
    return h->holds;
}
static int any_kept(void *arg, const struct ix_kept *k)
{
    (void)k;
    ((struct holder *)arg)->holds = true;
    return 1;
}

/* On this disk, wanted there, what a snapshot means, or its content still kept: 1, else 0. */
static int is_held(struct engine *e, const struct vers *v)
{
    struct holder h = {v->row.id, false};
    struct ix_local l;
    struct ix_want w;
    int r = index_local_get(e->c.index, v->row.path, &l);
    if (r == 0 && l.entry == v->row.id)
        return 1;
    if (r == 0 || r == ERR_NOTFOUND)
        r = index_want_get(e->c.index, v->row.id, &w);
    if (r == 0)
        return 1;
    if (r == ERR_NOTFOUND)
        r = v->row.kind == KIND_TOMBSTONE ? 0 : engine_pinned(e, v->row.id, &h.holds);
    if (r == 0 && !h.holds)
        r = index_kept_of_path(e->c.index, v->row.path, kept_holds, &h);
    if (r == 0 && !h.holds && !id_is_none(&v->row.root))
        r = index_kept_by_root(e->c.index, &v->row.root, any_kept, &h);
    return r < 0 ? r : h.holds;
}

/* A time before f->before at which entry i had ended, or UINT64_MAX: a deletion when it was written, anything else when it was superseded.
 * The oldest come last. */
static uint64_t ended_at(const struct forgetting *f, const struct choice *c, size_t i)
{
    const struct vers *v = c->vs.v;
    if (c->head[i])
        return v[i].row.kind == KIND_TOMBSTONE && hlc_ms(v[i].row.hlc) < f->before ? hlc_ms(v[i].row.hlc) : UINT64_MAX;
    for (size_t k = c->vs.n; k-- > 0;)
        if (k != i && hlc_ms(v[k].row.hlc) < f->before && merge_supersedes(&v[k].ent.v, &v[i].ent.v))
            return hlc_ms(v[k].row.hlc);
    return UINT64_MAX;
}

/* Everybody knows that it has ended: so nobody makes a snapshot any more that needs it, and those that were made before are here. */
static bool everybody_knows(const struct forgetting *f, const struct choice *c, size_t i)
{
    const struct vers *v = c->vs.v;
    if (c->head[i])
        return of_everybody(f->e, knows, &v[i].ent.v.dot);
    for (size_t k = 0; k < c->vs.n; k++)
        if (k != i && merge_supersedes(&v[k].ent.v, &v[i].ent.v) && of_everybody(f->e, knows, &v[k].ent.v.dot))
            return true;
    return false;
}

static int choose(const struct forgetting *f, struct choice *c)
{
    for (size_t i = 0; i < c->vs.n; i++) {
        const struct vers *v = &c->vs.v[i];
        if (hlc_ms(v->row.hlc) >= f->before || (c->ended[i] = ended_at(f, c, i)) == UINT64_MAX)
            continue;
        if (!context_known(f->e, &v->ent.v.ctx) || !everybody_knows(f, c, i))
            continue;
        int held = is_held(f->e, v);
        if (held < 0)
            return held;
        c->goes[i] = !held;
        c->n += !held;
    }
    return 0;
}

/* ---- whether the path stays as it is ---- */

/* What stays, as a list of its own that borrows everything. */
static struct versions rest_of(const struct choice *c)
{
    struct versions rest = {.v = xcalloc(c->vs.n + 1, sizeof *rest.v), .e = c->vs.e};
    for (size_t i = 0; i < c->vs.n; i++)
        if (!c->goes[i])
            rest.v[rest.n++] = c->vs.v[i];
    return rest;
}

static size_t drop_tombstones(const struct version **v, size_t n)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (!v[i]->tombstone)
            v[left++] = v[i];
    return left;
}

static bool same_dots(const struct version *const *a, const struct version *const *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < n && dot_cmp(&a[i]->dot, &b[k]->dot) != 0)
            k++;
        if (k == n)
            return false;
    }
    return true;
}

/* No deletion is the same as nothing: it loses to everything. */
static bool same_at(struct choice *c, struct versions *rest, const struct dots *vector, const struct version **a, const struct version **b)
{
    size_t n = drop_tombstones(a, snapshot_heads(&c->vs, vector, a));
    return drop_tombstones(b, snapshot_heads(rest, vector, b)) == n && same_dots(a, b, n);
}

/* All heads are still there, but those that are to go, and there are no others. */
static bool same_now(struct choice *c, struct versions *rest, const struct version **a, const struct version **b)
{
    size_t n = 0, m = rest->n;
    for (size_t i = 0; i < c->vs.n; i++)
        if (c->head[i] && !c->goes[i])
            a[n++] = &c->vs.v[i].ent.v;
    for (size_t i = 0; i < m; i++)
        b[i] = &rest->v[i].ent.v;
    return merge_heads(b, m) == n && same_dots(a, b, n);
}

static int stays_as_it_is(struct engine *e, struct choice *c, bool *same)
{
    const struct snapshot *s;
    size_t n;
    *same = false;
    int r = engine_snapshots(e, &s, &n);
    /* Versions that no longer count may be what the path was at a snapshot, if not for those that do. */
    if (r < 0 || (n && c->vs.others))
        return r;
    struct versions rest = rest_of(c);
    AUTOFREE const struct version **a = xcalloc(c->vs.n + 1, sizeof *a);
    AUTOFREE const struct version **b = xcalloc(c->vs.n + 1, sizeof *b);
    *same = same_now(c, &rest, a, b);
    for (size_t i = 0; i < n && *same; i++)
        *same = same_at(c, &rest, &s[i].vector, a, b);
    free(rest.v);
    return 0;
}

/* ---- forgetting ---- */

static int forget_one(struct forgetting *f, const struct vers *v, uint64_t ended)
{
    struct ix_pruned run = {v->row.stream, v->row.seq, 1, true, merkle_leaf(v->raw, v->row.raw.len)};
    int r = index_entry_del(f->e->c.index, v->row.id);
    if (r == 0)
        r = index_pruned_put(f->e->c.index, &run);
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 256;
        f->gone = xrealloc(f->gone, f->cap, sizeof *f->gone);
    }
    f->gone[f->n++] = (struct gone){v->row.stream, v->row.seq};
    f->latest = ended > f->latest ? ended : f->latest;
    snapshots_changed(f->e, &v->ent.path);
    return r;
}

static int forget_chosen(struct forgetting *f, struct choice *c, int64_t path)
{
    int64_t winner;
    bool winner_goes = false;
    int r = index_path_get(f->e->c.index, path, NULL, &winner);
    for (size_t i = 0; r == 0 && i < c->vs.n; i++)
        if (c->goes[i]) {
            winner_goes |= c->vs.v[i].row.id == winner;
            r = forget_one(f, &c->vs.v[i], c->ended[i]);
        }
    if (r < 0 || !winner_goes)
        return r;
    if (c->n < c->vs.n)
        return state_update(f->e, path);
    r = index_path_set_winner(f->e->c.index, path, 0);
    if (r == 0)
        r = index_conflict_set(f->e->c.index, path, false);
    return r < 0 ? r : index_path_del(f->e->c.index, path);
}

/* Deletions hold more together than they are worth: a snapshot may need what one of them has superseded. */
static void spare_heads(struct choice *c)
{
    for (size_t i = 0; i < c->vs.n; i++)
        if (c->head[i] && c->goes[i]) {
            c->goes[i] = false;
            c->n--;
        }
}

static int forget_path(struct forgetting *f, int64_t path)
{
    AUTO(choice_release) struct choice c = {.n = 0};
    int r = versions_load(f->e, path, &c.vs);
    if (r < 0 || c.vs.n == 0)
        return r;
    c.head = xcalloc(c.vs.n, sizeof *c.head);
    c.goes = xcalloc(c.vs.n, sizeof *c.goes);
    c.ended = xcalloc(c.vs.n, sizeof *c.ended);
    AUTO(heads_release) struct heads h = versions_heads(&c.vs);
    for (size_t i = 0; i < h.n; i++)
        c.head[h.of[i] - c.vs.v] = true;
    bool same = false;
    if (h.n)                           /* no honest author supersedes in a circle */
        r = choose(f, &c);
    if (r == 0 && c.n)
        r = stays_as_it_is(f->e, &c, &same);
    if (r == 0 && !same) {
        spare_heads(&c);
        r = c.n ? stays_as_it_is(f->e, &c, &same) : 0;
    }
    return r == 0 && same && c.n ? forget_chosen(f, &c, path) : r;
}

/* ---- runs become greater ones ---- */

struct runs { struct forgetting *f; uint64_t base; size_t n; };
static int take_own(void *arg, const struct ix_pruned *p)
{
    struct runs *r = arg;
    if (p->own)
        r->f->run[r->n++] = (struct merkle_item){(uint32_t)(p->first - r->base), p->count, p->hash};
    return 0;
}

/* Only those that we have forgotten ourselves: a greater one would say of the others that we know them to be dead. */
static int merge_header(void *arg, const struct ix_header *h)
{
    struct forgetting *f = arg;
    struct index *ix = f->e->c.index;
    struct runs runs = {f, h->first, 0};
    int r = index_pruned_each(ix, h->stream, h->first, h->first + h->count - 1, take_own, &runs);
    if (runs.n)
        memcpy(f->was, f->run, runs.n * sizeof *f->run);
    size_t n = merkle_merge(f->run, runs.n, h->count), k = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        const struct merkle_item *m = &f->run[i];
        while (f->was[k].first < m->first)
            k++;
        if (f->was[k].count != m->count)
            r = index_pruned_put(ix, &(struct ix_pruned){h->stream, h->first + m->first, m->count, true, m->hash});
    }
    return r < 0 ? r : (int)h->count;    /* there is only one */
}

static int by_place(const void *a, const void *b)
{
    const struct gone *x = a, *y = b;
    if (x->stream != y->stream)
        return x->stream < y->stream ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

struct extent { uint64_t first; uint32_t count; };
static int take_extent(void *arg, const struct ix_header *h)
{
    *(struct extent *)arg = (struct extent){h->first, h->count};
    return 0;
}

static int merge_runs(struct forgetting *f)
{
    int r = 0;
    if (f->n)
        qsort(f->gone, f->n, sizeof *f->gone, by_place);
    for (size_t i = 0; r >= 0 && i < f->n;) {
        const struct gone *g = &f->gone[i];
        struct extent x = {g->seq, 1};
        r = index_header_each(f->e->c.index, g->stream, g->seq, g->seq, take_extent, &x);
        if (r >= 0)
            r = index_header_each(f->e->c.index, g->stream, g->seq, g->seq, merge_header, f);
        while (i < f->n && f->gone[i].stream == g->stream && f->gone[i].seq < x.first + x.count)
            i++;
    }
    return r < 0 ? r : 0;
}

/* ---- a batch ---- */

static int remember_time(struct forgetting *f)
{
    uint64_t before = 0;
    int r = engine_forgotten_ms(f->e, &before);
    if (r < 0 || f->n == 0 || f->latest <= before)
        return r;
    return index_kv_put(f->e->c.index, KEY_FORGOTTEN, &f->latest, sizeof f->latest);
}

int engine_forgotten_ms(struct engine *e, uint64_t *ms)
{
    *ms = 0;
    return engine_load_value(e, KEY_FORGOTTEN, ms, sizeof *ms);
}

struct paths { int64_t v[PATHS_MAX]; size_t n; };
static int take_path(void *arg, int64_t path)
{
    struct paths *p = arg;
    p->v[p->n++] = path;
    return p->n == PATHS_MAX;
}

int engine_forget_old(struct engine *e, uint64_t before_ms, int64_t *path, uint64_t *entries)
{
    assert(index_in_tx(e->c.index) && e->lens.n == 0);
    struct forgetting f = {.e = e, .before = before_ms};
    *entries = 0;
    if (!of_everybody(e, is_here, NULL)) {
        *path = 0;
        return 0;
    }
    AUTOFREE struct paths *p = xcalloc(1, sizeof *p);
    int r = index_entry_old_paths(e->c.index, *path, hlc_make(before_ms, 0), take_path, p);
    for (size_t i = 0; r >= 0 && i < p->n; i++)
        r = forget_path(&f, p->v[i]);
    f.run = xcalloc(2 * LIMIT_CS_COUNT, sizeof *f.run);
    f.was = f.run + LIMIT_CS_COUNT;
    if (r >= 0)
        r = merge_runs(&f);
    if (r >= 0)
        r = remember_time(&f);
    *entries = f.n;
    *path = p->n == PATHS_MAX ? p->v[p->n - 1] : 0;
    free(f.run);
    free(f.gone);
    return r < 0 ? r : 0;
}

/* ---- what members have shown ---- */

enum { VEC_KEY = 4 + ID_HEX };
static const char *vector_key(const struct id *dev, char key[static VEC_KEY])
{
    memcpy(key, "vec.", 4);
    id_hex(dev, key + 4);
    return key;
}

static int load_vector(struct engine *e, const struct id *dev)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    struct vec v = {0};
    char key[VEC_KEY];
    int r = index_kv_get(e->c.index, vector_key(dev, key), &blob);
    if (r < 0)
        return r == ERR_NOTFOUND ? 0 : r;
    if (vec_decode(blob.data, blob.len, &v) < 0 || !id_eq(&v.dev, dev) || !id_eq(&v.group, &e->c.group->id)) {
        vec_release(&v);
        return 0;                    /* damaged: as if it had never been heard of */
    }
    struct peer_vec *p = engine_peer(e, dev);
    (void)lock_note_reqs(p, &v);
    p->vec = v;
    p->shown = true;
    return 0;
}

int forget_load_vectors(struct engine *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < e->c.group->nmember; i++)
        if (!id_eq(&e->c.group->member[i].card.dev, &e->c.keys->dev))
            r = load_vector(e, &e->c.group->member[i].card.dev);
    return r;
}

void forget_note_vector(struct peer_vec *p, const struct vec *v, const void *blob, size_t len)
{
    bool same = !lock_note_reqs(p, v) && p->shown && p->vec.nstream == v->nstream;
    for (size_t i = 0; same && i < v->nstream; i++)
        same = p->vec.stream[i].known == v->stream[i].known && sid_eq(&p->vec.stream[i].sid, &v->stream[i].sid);
    p->shown = true;
    if (same)
        return;
    buf_release(&p->unsaved);
    buf_add(&p->unsaved, blob, len);
}

bool engine_vectors_unsaved(const struct engine *e)
{
    for (size_t i = 0; i < e->npeer; i++)
        if (e->peer[i].unsaved.len)
            return true;
    return false;
}

int engine_save_vectors(struct engine *e)
{
    assert(index_in_tx(e->c.index));
    for (size_t i = 0; i < e->npeer; i++) {
        struct peer_vec *p = &e->peer[i];
        char key[VEC_KEY];
        int r = p->unsaved.len ? index_kv_put(e->c.index, vector_key(&p->dev, key), p->unsaved.data, p->unsaved.len) : 0;
        if (r < 0)
            return r;
        buf_release(&p->unsaved);
    }
    return 0;
}
