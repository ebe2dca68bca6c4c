/* What happens on this disk becomes entries of the own stream. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/hlc.h"
#include "proto/path.h"

/* What a look at a path needs to know, loaded once. */
struct look {
    struct engine *e;
    int64_t path;
    struct versions vs;
    struct heads heads;
    struct vers *winner;             /* NULL when the path has no version */
    bool first;                      /* nothing was ever on record about it */
    bool have_local;
    struct ix_local local;
};

static void look_release(struct look *k)
{
    heads_release(&k->heads);
    versions_release(&k->vs);
}

static int look_load(struct engine *e, const char *path, size_t len, bool create, struct look *k)
{
    *k = (struct look){.e = e, .vs.e = e};
    int r = create ? index_path_make(e->c.index, path, len, &k->path, &k->first) : index_path_id(e->c.index, path, len, false, &k->path);
    if (r < 0 || k->first)
        return r;
    if ((r = versions_load(e, k->path, &k->vs)) < 0)
        return r;
    k->heads = versions_heads(&k->vs);
    if (k->heads.n)
        k->winner = k->heads.of[merge_winner(k->heads.v, k->heads.n)];
    r = index_local_get(e->c.index, k->path, &k->local);
    k->have_local = r == 0;
    return r == ERR_NOTFOUND ? 0 : r;
}

/* Leaves out what an entry may not name: own numbers from its own on; and beyond LIMIT_CTX pairs those that we do not know ourselves. */
static void mend_dots(struct engine *e, struct dots *c, const struct dot *own, bool clip)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct dot d = c->v[i];
        if (sid_eq(&d.sid, &own->sid) && d.seq >= own->seq)
            d.seq = clip ? own->seq - 1 : 0;
        bool room = c->n - i + n <= LIMIT_CTX || engine_known_of(e, &d.sid) >= d.seq;
        if (d.seq && room && n < LIMIT_CTX)
            c->v[n++] = d;
    }
    c->n = n;
}

/* A hostile member can write a context that covers what others will only write, exceptions of what is not there yet, or thousands of
 * both. What descends from it must be valid all the same, or everybody would refuse it and all that comes after it. */
static void mend_context(struct engine *e, struct entry *ent)
{
    mend_dots(e, &ent->v.ctx, &ent->v.dot, true);
    mend_dots(e, &ent->v.except, &ent->v.dot, false);
}

static int write_entry(struct engine *e, struct entry *ent, int64_t path, uint64_t wall_ms, struct ix_entry *row)
{
    struct stream *s;
    if (e->muted)
        return err_set(ERR_DENIED, "another machine runs with the keys of this device: nothing is signed here");
    int r = engine_own_stream(e, &s);
    if (r < 0)
        return r;
    if (e->lens.n == 0)
        e->authored_first = s->row.known + 1;
    e->wall = wall_ms;
    e->now.hlc = hlc_next(e->now.hlc, wall_ms);
    if (!ent->v.hlc || ent->v.hlc > e->now.hlc)
        ent->v.hlc = e->now.hlc;
    ent->v.dot = (struct dot){.sid = s->row.sid, .seq = e->authored_first + e->lens.n};
    mend_context(e, ent);
    size_t at = e->authored.len;
    r = entry_encode(&e->authored, ent);
    if (r < 0)
        return r;
    if (e->lens.n == e->lens.cap) {
        e->lens.cap = e->lens.cap ? 2 * e->lens.cap : 256;
        e->lens.len = xrealloc(e->lens.len, e->lens.cap, sizeof *e->lens.len);
    }
    e->lens.len[e->lens.n++] = e->authored.len - at;
    e->authored_hlc = hlc_seen(e->authored_hlc, ent->v.hlc);
    return state_put(e, s, ent, (struct bytes){e->authored.data + at, e->authored.len - at}, path, row);
}

int author(struct engine *e, struct entry *ent, int64_t path, uint64_t wall_ms, int64_t *id)
{
    struct ix_entry row;
    int r = write_entry(e, ent, path, wall_ms, &row);
    if (r == 0)
        *id = row.id;
    return r;
}

/* The version the user had before the eyes: what was on disk, or the deletion that was applied. */
static const struct vers *base_of(struct look *k)
{
    if (k->have_local)
        return versions_find(&k->vs, k->local.entry);
    return k->winner && k->winner->row.kind == KIND_TOMBSTONE ? k->winner : NULL;
}

static struct sid own_sid(struct engine *e)
{
    return sid_make(&e->c.group->id, &e->c.keys->dev, e->inc);
}

static void edit_context(struct look *k, struct entry *ent)
{
    const struct vers *base = base_of(k);
    struct sid self = own_sid(k->e);
    merge_context_edit(&ent->v.ctx, &ent->v.except, &self, base ? &base->ent.v : NULL, k->heads.v, k->heads.n);
}

static int put_local(struct look *k, int64_t entry, const struct stamp *st, bool settled)
{
    struct ix_local l = {.path = k->path, .entry = entry, .stamp = *st, .settled = settled};
    return index_local_put(k->e->c.index, &l);
}

/* ---- seen ---- */

static struct entry entry_of(const char *path, size_t len, const struct stamp *st, const struct content_list *c)
{
    struct entry ent = {.path = {(const uint8_t *)path, len}, .mode = st->mode};
    switch (st->kind) {
    case STAMP_DIR:
        ent.kind = KIND_DIR;
        return ent;
    case STAMP_SYMLINK:
        ent.kind = KIND_SYMLINK;
        ent.mode = 0777;
        break;
    default:
        ent.kind = KIND_FILE;
    }
    ent.mtime_ns = st->mtime_ns;
    ent.size = c->size;
    ent.content = (struct content){.type = c->type, .class = c->class, .nblocks = c->nblocks, .root = c->root,
                                   .inline_bytes = {c->inline_bytes, c->inline_len}};
    return ent;
}

static bool same_time(const struct entry *a, const struct entry *b)
{
    return a->kind == KIND_DIR || a->mtime_ns == b->mtime_ns;
}

/* The entry that is on record for the path, if the disk still shows it. */
static struct vers *as_recorded(struct look *k, const struct entry *ent, const struct stamp *st)
{
    struct vers *l = k->have_local ? versions_find(&k->vs, k->local.entry) : NULL;
    if (l && entry_same(&l->ent, ent) && (same_time(&l->ent, ent) || k->local.stamp.mtime_ns == st->mtime_ns))
        return l;
    /* A directory that outlived its deletion because something lives in it. */
    if (l && l->row.kind == KIND_TOMBSTONE && ent->kind == KIND_DIR && k->local.stamp.kind == STAMP_DIR)
        return l;
    return NULL;
}

/* A head that somebody else made equal; of the same time, too, or of any. */
static struct vers *made_equal(struct look *k, const struct entry *ent, bool of_same_time)
{
    for (size_t i = 0; i < k->heads.n; i++)
        if (!(k->have_local && k->heads.of[i]->row.id == k->local.entry) && entry_same(&k->heads.of[i]->ent, ent) &&
            (!of_same_time || same_time(&k->heads.of[i]->ent, ent)))
            return k->heads.of[i];
    return NULL;
}

static int is_install(void *arg, const struct ix_want *w) { (void)arg; return w->role == WANT_INSTALL; }

/* Whether `v` may be on this disk without a record of it: it is newer than what was recorded last, or nothing was and what is to be there
 * has not been put there yet; or the disk is in doubt, and may be that of another day. */
static bool may_be_unrecorded(const struct look *k, const struct vers *v)
{
    if (!k->have_local)
        return k->e->doubt || index_want_of_path(k->e->c.index, k->path, is_install, NULL) == 1;
    for (size_t i = 0; i < k->vs.n; i++)
        if (k->vs.v[i].row.id == k->local.entry)
            return v != &k->vs.v[i] && v->row.kind != KIND_DIR && !merge_supersedes(&k->vs.v[i].ent.v, &v->ent.v);
    return false;
}

/* A version that was put in place here but not recorded, because the node was killed, and a newer one has come since: were it taken for an
 * edit, it would win over that one. An old version that the disk has shown before is one that the user has brought back. */
static struct vers *placed_unrecorded(struct look *k, const struct entry *ent)
{
    for (size_t i = 0; i < k->vs.n; i++) {
        struct vers *v = &k->vs.v[i];
        if (entry_same(&v->ent, ent) && same_time(&v->ent, ent) && may_be_unrecorded(k, v))
            return v;
    }
    return NULL;
}

/* An entry that is already what the disk shows. Of those that differ in the time only, the one with this time is meant: the other one's is
 * still to be set. */
static struct vers *known_as(struct look *k, const struct entry *ent, const struct stamp *st)
{
    struct vers *v = as_recorded(k, ent, st);
    if (!v)
        v = made_equal(k, ent, true);
    if (!v)
        v = placed_unrecorded(k, ent);
    return v ? v : made_equal(k, ent, false);
}

uint64_t engine_dated_by_file(int64_t mtime_ns)
{
    return mtime_ns > 0 ? hlc_make((uint64_t)mtime_ns / 1000000, 1) : 1;
}

/* Who does not know what was on this disk before cannot tell an old copy from a new edit but by its time. */
static bool is_find(const struct look *k) { return k->e->doubt && !k->have_local; }

static int new_version(struct look *k, struct entry *ent, const struct stamp *st, bool settled, uint64_t dated, uint64_t wall_ms)
{
    struct ix_entry row;
    ent->v.hlc = is_find(k) ? engine_dated_by_file(ent->mtime_ns) : dated;
    edit_context(k, ent);
    int r = write_entry(k->e, ent, k->path, wall_ms, &row);
    if (r == 0 && is_find(k))
        r = self_found(k->e);
    if (r == 0)
        r = put_local(k, row.id, st, settled);
    if (r == 0)
        r = k->first ? state_first(k->e, &row, &ent->path, true) : state_update(k->e, k->path);
    return r < 0 ? r : 1;
}

int seen_dated(struct engine *e, const char *path, size_t len, const struct stamp *st, const struct content_list *content,
               bool settled, uint64_t dated, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    assert(st->kind == STAMP_DIR || content);
    AUTO(look_release) struct look k;
    int r = look_load(e, path, len, true, &k);
    if (r < 0)
        return r;
    if (content && content->refs && (r = index_tree_put(e->c.index, &content->root, content->refs, content->nblocks)) < 0)
        return r;
    AUTO(entry_release) struct entry ent = entry_of(path, len, st, content);
    if (ent.kind == KIND_FILE)
        ent.mode = strict_shown(e, ent.mode, &k.vs, k.local.entry);
    struct vers *v = known_as(&k, &ent, st);
    bool withdrawn = false;
    if (!v && k.have_local && (r = withdrawn_same(e, k.local.entry, &ent, &withdrawn)) < 0)
        return r;
    if (withdrawn)
        return put_local(&k, k.local.entry, st, settled);
    if (!v)
        return may_write(e) ? new_version(&k, &ent, st, settled, dated, wall_ms) : self_yield(e, k.path, st, settled);
    bool adopted = !k.have_local || k.local.entry != v->row.id;
    r = put_local(&k, v->row.id, st, settled);
    return r == 0 && adopted ? state_update(e, k.path) : r;
}

int engine_seen(struct engine *e, const char *path, size_t len, const struct stamp *st, const struct content_list *content,
                bool settled, uint64_t wall_ms)
{
    return seen_dated(e, path, len, st, content, settled, 0, wall_ms);
}

/* ---- gone ---- */

static int is_told(void *arg, const struct ix_pruned *p)
{
    (void)arg;
    return !p->own;
}

/* Own entries have been seen by their author, also those of this transaction, which `known` does not count yet. What others say to be
 * long dead has not: that may be a lie. */
bool have_seen(void *arg, const struct dot *d)
{
    struct engine *e = arg;
    struct sid self = own_sid(e);
    const struct stream *s = engine_stream_by_sid(e, &d->sid);
    if (sid_eq(&self, &d->sid))
        return true;
    return s && s->row.known >= d->seq && index_pruned_each(e->c.index, s->row.id, d->seq, d->seq, is_told, NULL) == 0;
}

static int tombstone(struct look *k, const char *path, size_t len, uint64_t wall_ms)
{
    AUTO(entry_release) struct entry ent = {.kind = KIND_TOMBSTONE, .path = {(const uint8_t *)path, len}};
    /* All heads were there to be seen only if the disk showed the winner. Whoever deletes an old version while a newer one is on
     * its way has not seen that one: the newer one must come back, so the delete is an edit of what was there. */
    if (k->winner && k->winner->row.id == k->local.entry)
        merge_context_all(&ent.v.ctx, &ent.v.except, k->heads.v, k->heads.n, have_seen, k->e);
    else
        edit_context(k, &ent);
    int64_t id;
    return author(k->e, &ent, k->path, wall_ms, &id);
}

int engine_gone(struct engine *e, const char *path, size_t len, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    AUTO(look_release) struct look k;
    int r = look_load(e, path, len, false, &k);
    if (r == ERR_NOTFOUND || (r == 0 && !k.have_local))
        return 0;
    if (r < 0)
        return r;
    const struct vers *on_disk = versions_find(&k.vs, k.local.entry);
    bool news = on_disk && on_disk->row.kind != KIND_TOMBSTONE && !(k.winner && k.winner->row.kind == KIND_TOMBSTONE);
    if (news && !may_write(e))
        return self_yield(e, k.path, &(struct stamp){0}, true);
    if (news)
        r = tombstone(&k, path, len, wall_ms);
    if (r == 0)
        r = index_local_del(e->c.index, k.path);
    if (r == 0)
        r = state_update(e, k.path);
    if (r == 0)
        r = state_left(e, k.path);
    return r < 0 ? r : news;
}

int engine_forget(struct engine *e, const char *path, size_t len)
{
    int64_t id;
    int r = index_path_id(e->c.index, path, len, false, &id);
    if (r == 0)
        r = index_local_del(e->c.index, id);
    if (r == 0)
        r = state_update(e, id);
    if (r == 0)
        r = state_left(e, id);
    return r == ERR_NOTFOUND ? 0 : r;
}

/* ---- found ---- */

/* Not of now: at a time in between the version would have been there. */
int author_end(struct engine *e, const struct entry *of, int64_t path, const struct version **heads, size_t n, uint64_t wall_ms)
{
    AUTO(entry_release) struct entry end = {.kind = KIND_TOMBSTONE, .path = of->path, .v.hlc = of->v.hlc + 1};
    struct sid self = own_sid(e);
    int64_t id;
    merge_context_edit(&end.v.ctx, &end.v.except, &self, &of->v, heads, n);
    return author(e, &end, path, wall_ms, &id);
}

int engine_found(struct engine *e, const char *path, size_t len, const struct stamp *st, const struct content_list *content,
                 int64_t *entry, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    if (!may_write(e))
        return 0;
    AUTO(look_release) struct look k;
    int r = look_load(e, path, len, true, &k);
    if (r == 0 && content->refs)
        r = index_tree_put(e->c.index, &content->root, content->refs, content->nblocks);
    if (r < 0)
        return r;
    AUTO(entry_release) struct entry ent = entry_of(path, len, st, content);
    struct sid self = own_sid(e);
    ent.v.hlc = engine_dated_by_file(st->mtime_ns);
    merge_context_edit(&ent.v.ctx, &ent.v.except, &self, NULL, k.heads.v, k.heads.n);
    r = author(e, &ent, k.path, wall_ms, entry);
    if (r == 0)
        r = author_end(e, &ent, k.path, k.heads.v, k.heads.n, wall_ms);
    if (r == 0)
        r = state_update(e, k.path);
    return r < 0 ? r : 1;
}

/* ---- shelter ---- */

static int one_lives(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    (void)arg, (void)path, (void)name, (void)len, (void)winner;
    return 1;
}

static bool needs_shelter(const struct look *k)
{
    for (size_t i = 0; i < k->heads.n; i++)
        if (k->heads.of[i]->row.kind == KIND_DIR)
            return false;
    return k->winner && k->winner->row.kind != KIND_TOMBSTONE && may_write(k->e);
}

int engine_shelter(struct engine *e, const char *path, size_t len, uint32_t mode, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    AUTO(look_release) struct look k;
    int64_t id;
    int r = look_load(e, path, len, false, &k);
    if (r < 0 || !needs_shelter(&k))
        return r == ERR_NOTFOUND ? 0 : r;
    r = index_path_each(e->c.index, path, len, true, one_lives, NULL);
    if (r <= 0)
        return r;
    bool there = k.have_local && k.local.stamp.kind == STAMP_DIR;
    AUTO(entry_release) struct entry ent = {.kind = KIND_DIR, .path = {(const uint8_t *)path, len}, .mode = there ? k.local.stamp.mode : mode};
    struct sid self = own_sid(e);
    merge_context_edit(&ent.v.ctx, &ent.v.except, &self, NULL, k.heads.v, k.heads.n);
    r = author(e, &ent, k.path, wall_ms, &id);
    if (r == 0 && there)
        r = put_local(&k, id, &k.local.stamp, true);
    if (r == 0)
        r = state_update(e, k.path);
    return r < 0 ? r : 1;
}

/* ---- again ---- */

int engine_heads_of(struct engine *e, int64_t path, const struct sid *sid, struct dots *out)
{
    AUTO(versions_release) struct versions vs;
    int r = versions_load(e, path, &vs);
    if (r < 0)
        return r;
    AUTO(heads_release) struct heads h = versions_heads(&vs);
    for (size_t i = h.n; i > 0; i--)
        if (sid_eq(&h.v[i - 1]->dot.sid, sid))
            dots_add(out, &h.v[i - 1]->dot);
    return 0;
}

int engine_own_heads(struct engine *e, int64_t path, struct dots *own)
{
    struct sid self = own_sid(e);
    return engine_heads_of(e, path, &self, own);
}

/* In the place of a version that no longer counts, and superseding what that one did. Itself only if there is one history: else its number may
 * be that of another version in the other one, which who has not heard of the fork would take for superseded. */
int engine_write_again(struct engine *e, const struct vers *was, struct dots *own, bool itself, uint64_t wall_ms, int64_t *id)
{
    struct entry ent = was->ent;
    ent.v.ctx = ent.v.except = (struct dots){0};
    dots_copy(&ent.v.ctx, &was->ent.v.ctx);
    dots_copy(&ent.v.except, &was->ent.v.except);
    for (size_t i = 0; i < own->n && ent.kind <= KIND_TOMBSTONE; i++)      /* nothing descends from a snapshot but what ends all, and from a note nothing */
        if (!ctx_covers(&was->ent.v.ctx, &own->v[i]))
            dots_add(&ent.v.except, &own->v[i]);
    if (itself && ent.kind <= KIND_TOMBSTONE)
        ctx_raise(&ent.v.ctx, &was->ent.v.dot.sid, was->ent.v.dot.seq);
    int r = author(e, &ent, was->row.path, wall_ms, id);
    dots_add(own, &ent.v.dot);
    dots_release(&ent.v.ctx);
    dots_release(&ent.v.except);
    return r;
}

/* ---- resolve ---- */

int engine_resolve(struct engine *e, int64_t path, int64_t survivor, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    AUTO(versions_release) struct versions vs;
    int r = versions_load(e, path, &vs);
    if (r < 0)
        return r;
    AUTO(heads_release) struct heads h = versions_heads(&vs);
    const struct vers *keep = NULL;
    for (size_t i = 0; i < h.n; i++)
        if (h.of[i]->row.id == survivor)
            keep = h.of[i];
    if (!keep)
        return err_set(ERR_NOTFOUND, "version: not one of this path's present versions: see lanyard conflicts");
    AUTO(entry_release) struct entry ent = keep->ent;
    ent.v = (struct version){0};
    ent.flags |= FLAG_RESOLVE;
    merge_context_all(&ent.v.ctx, &ent.v.except, h.v, h.n, have_seen, e);
    int64_t id;
    r = author(e, &ent, path, wall_ms, &id);
    return r < 0 ? r : state_update(e, path);
}
