/* Snapshots: entries whose context is the vector that they name. What was there at a vector follows from the entries that it covers, just
 * as what is there now follows from all; nothing is copied. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/path.h"

/* ---- the live ones, in memory ---- */

static void forget_pins(struct engine *e) { e->pins.path = 0; }

static void forget(struct engine *e)
{
    for (size_t i = 0; i < e->snapshots.n; i++)
        dots_release(&e->snapshots.v[i].vector);
    free(e->snapshots.v);
    e->snapshots = (struct snapshots){0};
    forget_pins(e);
}

void snapshots_changed(struct engine *e, const struct bytes *path)
{
    forget_pins(e);
    if (!path || path_is_snapshot(path->p, path->len))
        forget(e);
}

void snapshots_release(struct engine *e)
{
    forget(e);
    free(e->pins.entry);
    e->pins = (struct pins){0};
}

static size_t made_by(const struct engine *e, const struct id *dev)
{
    size_t n = 0;
    for (size_t i = 0; i < e->snapshots.n; i++)
        n += id_eq(&e->snapshots.v[i].dev, dev);
    return n;
}

/* Counted by device, so that nobody can fill the list and have the snapshots of others overlooked. */
static void remember(struct engine *e, struct vers *v, bool current)
{
    struct snapshots *s = &e->snapshots;
    const struct id *dev = engine_stream_dev(e, v->row.stream);
    if (made_by(e, dev) >= LIMIT_SNAPSHOTS)
        return;
    if ((s->n & (s->n + 1)) == 0)                /* doubled at 1, 3, 7... */
        s->v = xrealloc(s->v, 2 * (s->n + 1), sizeof *s->v);
    struct snapshot *t = &s->v[s->n++];
    *t = (struct snapshot){.entry = v->row.id, .current = current,
                           .time_ms = v->ent.mtime_ns > 0 ? (uint64_t)v->ent.mtime_ns / 1000000 : 0};
    size_t skip = sizeof PATH_SNAPSHOTS;         /* '/' included */
    memcpy(t->name, v->ent.path.p + skip, v->ent.path.len - skip);
    t->dev = *dev;
    t->vector = v->ent.v.ctx;                    /* moved */
    v->ent.v.ctx = (struct dots){0};
}

/* Of one name usually one lives; several when devices that did not know of each other chose it. */
static int load_path(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    (void)name, (void)len;
    struct engine *e = arg;
    struct ix_entry row = {0};
    int r = winner ? index_entry_get(e->c.index, winner, &row, NULL) : 0;
    if (r < 0 || row.kind != KIND_SNAPSHOT)
        return r;
    AUTO(versions_release) struct versions vs;
    r = versions_load(e, path, &vs);
    if (r < 0)
        return r;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < vs.n; i++) {
            bool current = vs.v[i].row.id == winner;
            if (vs.v[i].row.live && vs.v[i].row.kind == KIND_SNAPSHOT && current == (pass == 0))
                remember(e, &vs.v[i], current);
        }
    return 0;
}

int engine_snapshots(struct engine *e, const struct snapshot **out, size_t *n)
{
    if (!e->snapshots.known) {
        int r = index_path_each(e->c.index, PATH_SNAPSHOTS, strlen(PATH_SNAPSHOTS), false, load_path, e);
        if (r < 0) {
            forget(e);
            return r;
        }
        e->snapshots.known = true;
    }
    *out = e->snapshots.v;
    *n = e->snapshots.n;
    return 0;
}

/* ---- making and removing ---- */

static size_t path_of(const char *name, char out[static PATH_SNAPSHOT_MAX + 1])
{
    size_t skip = sizeof PATH_SNAPSHOTS, len = strlen(name);
    assert(len <= LIMIT_SNAPSHOT_NAME);
    memcpy(out, PATH_SNAPSHOTS "/", skip);
    memcpy(out + skip, name, len + 1);
    return skip + len;
}

/* The path of a name, with its versions. `create`: it may be a new one. ERR_NOTFOUND. */
static int open_name(struct engine *e, const char *name, bool create, int64_t *path, struct versions *vs)
{
    char text[PATH_SNAPSHOT_MAX + 1];
    *vs = (struct versions){0};
    int r = snapshot_name_check(name, strlen(name));
    if (r == 0)
        r = index_path_id(e->c.index, text, path_of(name, text), create, path);
    return r == 0 ? versions_load(e, *path, vs) : r;
}

static bool lives(const struct versions *vs)
{
    for (size_t i = 0; i < vs->n; i++)
        if (vs->v[i].row.live && vs->v[i].row.kind == KIND_SNAPSHOT)
            return true;
    return false;
}

/* Everything that is known now, as a context. */
static int vector_now(struct engine *e, struct dots *out)
{
    for (size_t i = 0; i < e->nstream; i++) {
        const struct ix_stream *s = &e->stream[i]->row;
        if (s->known)
            ctx_raise(out, &s->sid, s->known);
    }
    if (out->n <= LIMIT_CTX)
        return 0;
    return err_set(ERR_FULL, "snapshot: the group has %zu streams, and a snapshot can name %u: remove devices that are gone", out->n, LIMIT_CTX);
}

static int room_for_one(struct engine *e)
{
    const struct snapshot *all;
    size_t n;
    int r = engine_snapshots(e, &all, &n);
    size_t own = r == 0 ? made_by(e, &e->c.keys->dev) : 0;
    if (own >= LIMIT_SNAPSHOTS)
        return err_set(ERR_FULL, "snapshot: this device has made %zu already: remove some first", own);
    return r;
}

int snapshots_room(struct engine *e, const struct id *dev, size_t *room)
{
    const struct snapshot *all;
    size_t n, most = engine_is_own(e, dev) ? LIMIT_SNAPSHOTS : LIMIT_SNAPSHOTS / 2;
    int r = engine_snapshots(e, &all, &n);
    size_t own = r == 0 ? made_by(e, &e->c.keys->dev) : 0;
    *room = most > own ? most - own : 0;
    return r;
}

/* Entries of one transaction cannot be told apart from those before by a number that is not committed yet. */
int engine_snapshot_create(struct engine *e, const char *name, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index) && e->lens.n == 0);
    AUTO(versions_release) struct versions vs;
    AUTO(entry_release) struct entry ent = {.kind = KIND_SNAPSHOT, .mtime_ns = (int64_t)(wall_ms * 1000000)};
    char text[PATH_SNAPSHOT_MAX + 1];
    int64_t path, id;
    int r = open_name(e, name, true, &path, &vs);
    if (r == 0 && lives(&vs))
        return err_set(ERR_EXISTS, "snapshot %s: exists already: choose another name, or remove it first", path_show(name, strlen(name)));
    if (r == 0)
        r = room_for_one(e);
    if (r == 0)
        r = vector_now(e, &ent.v.ctx);
    if (r < 0)
        return r;
    ent.path = (struct bytes){(const uint8_t *)text, path_of(name, text)};
    r = author(e, &ent, path, wall_ms, &id);
    return r == 0 ? state_update(e, path) : r;
}

/* A new entry over all heads of a path. */
static int succeed(struct engine *e, struct versions *vs, struct entry *ent, int64_t path, uint64_t wall_ms)
{
    AUTO(heads_release) struct heads h = versions_heads(vs);
    int64_t id;
    merge_context_all(&ent->v.ctx, &ent->v.except, h.v, h.n, have_seen, e);
    int r = author(e, ent, path, wall_ms, &id);
    return r == 0 ? state_update(e, path) : r;
}

int engine_snapshot_remove(struct engine *e, const char *name, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    AUTO(versions_release) struct versions vs;
    AUTO(entry_release) struct entry ent = {.kind = KIND_TOMBSTONE};
    char text[PATH_SNAPSHOT_MAX + 1];
    int64_t path;
    int r = open_name(e, name, false, &path, &vs);
    if (r == ERR_NOTFOUND || (r == 0 && !lives(&vs)))
        return err_set(ERR_NOTFOUND, "snapshot %s: there is none of that name: lanyard snapshot list shows them", path_show(name, strlen(name)));
    if (r < 0)
        return r;
    ent.path = (struct bytes){(const uint8_t *)text, path_of(name, text)};
    return succeed(e, &vs, &ent, path, wall_ms);
}

/* ---- the state at a vector ---- */

/* Of a stream that has ended since, what lies beyond the end still is what it was then. But beyond a cut nobody passes it on any more. */
static bool knows(struct engine *e, const struct dot *d)
{
    AUTO(tip_release) struct tip t = {.found = false};
    const struct stream *s = engine_stream_by_sid(e, &d->sid);
    uint64_t known = s ? s->row.known : 0;
    return known >= d->seq || (s && s->end < d->seq && known >= s->end) ||
           (fork_end(e, &d->sid) < d->seq && fork_header_at(e, s, d->seq, &t) >= 0 && t.found);
}

bool engine_covers(struct engine *e, const struct dots *vector)
{
    for (size_t i = 0; i < vector->n; i++)
        if (!knows(e, &vector->v[i]))
            return false;
    return true;
}

static int of_folder(void *arg, const struct ix_entry *row)
{
    struct engine *e = arg;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    if (row->kind != KIND_TOMBSTONE)
        return row->kind < KIND_TOMBSTONE;
    int r = index_path_get(e->c.index, row->path, &name, NULL);
    return r < 0 ? r : !path_is_snapshot(name.data, name.len);
}

int engine_changed_since(struct engine *e, const struct dots *vector, bool *changed)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < e->nstream; i++) {
        const struct ix_stream *s = &e->stream[i]->row;
        uint64_t seq = ctx_get(vector, &s->sid);
        if (seq < s->known)
            r = index_entry_each_of_stream(e->c.index, s->id, seq + 1, s->known, of_folder, e);
    }
    *changed = r == 1;
    return r < 0 ? r : 0;
}

bool engine_is_own(const struct engine *e, const struct id *dev) { return id_eq(&e->c.keys->dev, dev); }

size_t snapshot_heads(struct versions *vs, const struct dots *vector, const struct version **out)
{
    size_t n = 0;
    for (size_t i = 0; i < vs->n; i++)
        if (vs->v[i].row.kind <= KIND_TOMBSTONE && ctx_covers(vector, &vs->v[i].ent.v.dot))
            out[n++] = &vs->v[i].ent.v;
    size_t heads = merge_heads(out, n);
    return heads ? heads : n;
}

int engine_state_at(struct engine *e, int64_t path, const struct dots *const *vector, size_t n, struct ix_entry *out)
{
    AUTO(versions_release) struct versions vs;
    int r = versions_load_all(e, path, &vs);
    if (r < 0)
        return r;
    AUTOFREE const struct version **heads = xcalloc(vs.n + 1, sizeof *heads);
    for (size_t i = 0; i < n; i++) {
        size_t k = snapshot_heads(&vs, vector[i], heads);
        out[i] = k ? vers_of(heads[merge_winner(heads, k)])->row : (struct ix_entry){0};
        out[i].raw = (struct bytes){0};
    }
    return 0;
}

/* ---- pinned ---- */

static bool pin_has(const struct pins *p, int64_t entry)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->entry[i] == entry)
            return true;
    return false;
}

static void pin(struct pins *p, int64_t entry)
{
    if (pin_has(p, entry))
        return;
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 8;
        p->entry = xrealloc(p->entry, p->cap, sizeof *p->entry);
    }
    p->entry[p->n++] = entry;
}

static int load_pins(struct engine *e, int64_t path)
{
    const struct snapshot *all;
    size_t n;
    forget_pins(e);
    e->pins.n = 0;
    int r = engine_snapshots(e, &all, &n);
    if (r < 0)
        return r;
    AUTO(versions_release) struct versions vs = {0};
    if (n && (r = versions_load_all(e, path, &vs)) < 0)
        return r;
    AUTOFREE const struct version **heads = xcalloc(vs.n + 1, sizeof *heads);
    for (size_t i = 0; i < n; i++)
        for (size_t k = snapshot_heads(&vs, &all[i].vector, heads); k > 0; k--)
            pin(&e->pins, vers_of(heads[k - 1])->row.id);
    e->pins.path = path;
    return 0;
}

int engine_pinned(struct engine *e, int64_t entry, bool *pinned)
{
    struct ix_entry row;
    *pinned = false;
    int r = index_entry_get(e->c.index, entry, &row, NULL);
    if (r == 0 && e->pins.path != row.path)
        r = load_pins(e, row.path);
    if (r == 0)
        *pinned = pin_has(&e->pins, entry);
    return r;
}

/* ---- bringing back ---- */

int engine_restore(struct engine *e, int64_t path, int64_t entry, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    AUTO(versions_release) struct versions vs = {0}, all;
    int r = versions_load_all(e, path, &all);
    if (r == 0)
        r = versions_load(e, path, &vs);
    const struct vers *was = r == 0 && entry ? versions_find(&all, entry) : NULL;
    if (r < 0 || all.n == 0 || (entry && !was))
        return r < 0 ? r : err_set(ERR_NOTFOUND, "version: not one of this path's");
    struct entry ent = {.kind = KIND_TOMBSTONE, .path = all.v[0].ent.path};
    if (was) {
        ent = was->ent;
        ent.flags = 0;
    }
    ent.v = (struct version){0};
    r = succeed(e, &vs, &ent, path, wall_ms);
    dots_release(&ent.v.ctx);
    dots_release(&ent.v.except);
    return r;
}

static bool occupied(const struct versions *vs)
{
    for (size_t i = 0; i < vs->n; i++)
        if (vs->v[i].row.live && vs->v[i].row.kind != KIND_TOMBSTONE)
            return true;
    return false;
}

int engine_copy(struct engine *e, const char *path, size_t len, int64_t entry, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    AUTO(versions_release) struct versions vs = {0};
    AUTO(entry_release) struct entry ent = {0};
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    struct ix_entry row;
    int64_t id;
    int r = engine_entry(e, entry, &raw, &ent, &row);
    if (r == 0)
        r = index_path_id(e->c.index, path, len, true, &id);
    if (r == 0)
        r = versions_load(e, id, &vs);
    if (r == 0 && occupied(&vs))
        r = err_set(ERR_EXISTS, "%s: exists already: choose another name", path_show(path, len));
    if (r < 0)
        return r;
    ent.path = (struct bytes){(const uint8_t *)path, len};
    ent.flags = 0;
    return succeed(e, &vs, &ent, id, wall_ms);
}
