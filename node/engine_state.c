/* Heads, winner and wants of a path, and the figures of all paths. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/hlc.h"
#include "proto/path.h"

#define KEY_RULES "rules"

/* ---- figures ---- */

/* Tombstones do not count: who has forgotten one agrees with who has not. */
void engine_fp_toggle(struct engine *e, enum kind kind, const struct dot *d)
{
    uint8_t seq[8];
    if (kind == KIND_TOMBSTONE)
        return;
    for (int i = 0; i < 8; i++)
        seq[i] = (uint8_t)(d->seq >> (8 * i));
    uint8_t in[SID_LEN + sizeof seq];
    memcpy(in, d->sid.b, SID_LEN);
    memcpy(in + SID_LEN, seq, sizeof seq);
    struct id h = id_hash(in, sizeof in);
    for (int i = 0; i < ID_LEN; i++)
        e->now.fp.b[i] ^= h.b[i];
}

static void count(struct engine *e, const struct ix_entry *row, int sign)
{
    if (row->kind != KIND_FILE)
        return;
    e->now.files += (uint64_t)(int64_t)sign;
    e->now.bytes += (uint64_t)((int64_t)row->size * sign);
}

/* ---- wants ---- */

static int put_want(struct engine *e, const struct ix_entry *row, enum want_role role)
{
    return index_want_put(e->c.index, &(struct ix_want){.entry = row->id, .path = row->path, .stream = row->stream, .seq = row->seq,
                                                        .size = row->size, .role = role, .kind = row->kind, .root = row->root});
}

static int as_on_disk(const struct engine *e, const struct vers *w, const struct ix_local *l, const struct vers *on_disk)
{
    return on_disk && entry_same(&w->ent, &on_disk->ent) && strict_is_mode(e, l->stamp.mode, &w->ent) &&
           (w->row.kind == KIND_DIR || l->apart || l->stamp.mtime_ns == w->ent.mtime_ns);
}

/* Whether the winner must still be put in place; adopts it when the disk already shows just that. What was to be put in place may be
 * there although nothing is recorded (the node was killed in between): until somebody has looked, its removal is not done. */
static int needs_install(struct engine *e, struct versions *vs, const struct vers *w, bool unsure, bool *needs)
{
    struct ix_local l;
    *needs = false;
    int r = index_local_get(e->c.index, w->row.path, &l);
    if (r == ERR_NOTFOUND) {
        *needs = unsure || w->row.kind != KIND_TOMBSTONE;
        return 0;
    }
    if (r < 0 || l.entry == w->row.id)
        return r;
    if (!as_on_disk(e, w, &l, versions_find(vs, l.entry))) {
        *needs = true;
        return 0;
    }
    l.entry = w->row.id;
    return index_local_put(e->c.index, &l);
}

static int found(void *arg, const struct ix_kept *k) { (void)k; *(bool *)arg = true; return 1; }

static int on_disk_at_its_path(struct engine *e, const struct vers *v, bool *here)
{
    struct ix_local l;
    struct ix_entry row;
    int r = index_local_get(e->c.index, v->row.path, &l);
    if (r == 0)
        r = index_entry_get(e->c.index, l.entry, &row, NULL);
    *here = r == 0 && !l.apart && row.kind == KIND_FILE && id_eq(&row.root, &v->row.root);
    return r == ERR_NOTFOUND ? 0 : r;
}

/* A loser whose content is not kept on this device has to be fetched, or copied: losing is not being lost. A file of the same content
 * at another path does not count: its user may overwrite it at any time. One at its own path does: it is kept when it is displaced. */
int state_needs_keep(struct engine *e, const struct vers *v, bool *needs)
{
    *needs = false;
    if (v->row.kind != KIND_FILE || v->ent.content.type != CONTENT_BLOCKS)
        return 0;
    bool here = false;
    int r = index_kept_by_root(e->c.index, &v->row.root, found, &here);
    if (r >= 0 && !here)
        r = on_disk_at_its_path(e, v, &here);
    *needs = !here;
    return r < 0 ? r : 0;
}

struct wants_seen { int64_t entry[64]; size_t n; bool installs; };
static int collect_want(void *arg, const struct ix_want *w)
{
    struct wants_seen *s = arg;
    s->entry[s->n++] = w->entry;
    s->installs |= w->role == WANT_INSTALL;
    return s->n == 64;
}

/* *installs: something was to be put in place. */
static int drop_wants(struct engine *e, int64_t path, bool *installs)
{
    struct wants_seen s = {.installs = false};
    do {
        s.n = 0;
        int r = index_want_of_path(e->c.index, path, collect_want, &s);
        if (r < 0)
            return r;
        for (size_t i = 0; i < s.n; i++)
            if ((r = index_want_del(e->c.index, s.entry[i])) < 0)
                return r;
    } while (s.n == 64);
    *installs = s.installs;
    return 0;
}

/* One that is new is told of, after the commit. */
static int note_conflict(struct engine *e, int64_t path)
{
    int r = index_conflict_is(e->c.index, path);
    if (r == 0 && e->fresh.n < CONFLICTS_TOLD)
        e->fresh.path[e->fresh.n++] = path;
    return r < 0 ? r : 0;
}

bool engine_next_conflict(struct engine *e, struct buf *path)
{
    buf_clear(path);
    while (e->fresh.sure > 0) {
        int64_t id = e->fresh.path[--e->fresh.sure];
        e->fresh.path[e->fresh.sure] = e->fresh.path[--e->fresh.n];
        if (index_conflict_is(e->c.index, id) == 1 && index_path_get(e->c.index, id, path, NULL) == 0)
            return true;
    }
    return false;
}

static int update_wants(struct engine *e, struct versions *vs, struct vers **head, size_t n, const struct vers *w, bool unsure)
{
    bool needs, conflict = false;
    if (path_is_own(w->ent.path.p, w->ent.path.len))
        return 0;                    /* nothing of it is put on a disk */
    int r = needs_install(e, vs, w, unsure, &needs);
    if (r == 0 && needs)
        r = put_want(e, &w->row, WANT_INSTALL);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (head[i] == w || head[i]->row.kind == KIND_TOMBSTONE || entry_same(&head[i]->ent, &w->ent))
            continue;
        conflict = true;
        r = state_needs_keep(e, head[i], &needs);
        if (r == 0 && needs)
            r = put_want(e, &head[i]->row, WANT_KEEP);
    }
    if (r == 0 && conflict)
        r = note_conflict(e, w->row.path);
    if (r == 0 && (conflict || vs->n > 1 || vs->others))
        r = index_conflict_set(e->c.index, w->row.path, conflict);
    return r < 0 ? r : index_clash_set(e->c.index, w->row.path, 0);       /* if it is one, that will be found anew */
}

/* ---- the state of a path ---- */

/* What ends is history from now on: its time to stay begins now, however long it has been a conflict, or what a database says. */
static int set_live(struct engine *e, const struct vers *v, bool live)
{
    int r = index_entry_set_live(e->c.index, v->row.id, live);
    if (r == 0 && !live && !id_is_none(&v->row.root))
        r = index_kept_renew(e->c.index, &v->row.root, clock_at_least_aged(e, e->wall));
    if (r == 0)
        engine_fp_toggle(e, v->row.kind, &v->ent.v.dot);
    return r;
}

static int update_live(struct engine *e, struct versions *vs, struct vers **head, size_t n)
{
    AUTOFREE bool *live = xcalloc(vs->n + 1, sizeof *live);
    for (size_t k = 0; k < n; k++)
        live[head[k] - vs->v] = true;
    for (size_t i = 0; i < vs->n; i++) {
        if (live[i] == vs->v[i].row.live)
            continue;
        int r = set_live(e, &vs->v[i], live[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Entries that supersede each other in a circle cannot come from an honest author: the latest is shown, nothing is lost. Whether it is
 * required does not matter: only paths with several live entries are looked at again when that changes. */
static void break_circle(struct versions *vs, struct heads *h)
{
    for (size_t i = 0; i < vs->n; i++)
        vs->v[i].ent.v.required = false;
    h->v[0] = &vs->v[0].ent.v;
    for (size_t i = 1; i < vs->n; i++)
        if (merge_winner((const struct version *[]){h->v[0], &vs->v[i].ent.v}, 2) == 1)
            h->v[0] = &vs->v[i].ent.v;
    h->of[0] = vers_of(h->v[0]);
    h->n = 1;
}

static int update_path(struct engine *e, int64_t path, struct versions *vs)
{
    AUTO(heads_release) struct heads h = versions_heads(vs);
    if (h.n == 0)
        break_circle(vs, &h);
    struct vers *w = h.of[merge_winner(h.v, h.n)];
    int64_t old;
    bool unsure = false;
    int r = index_path_get(e->c.index, path, NULL, &old);
    if (r == 0)
        r = update_live(e, vs, h.of, h.n);
    if (r == 0)
        r = database_heads(e, path, h.of, h.n);
    if (r == 0 && old != w->row.id) {
        const struct vers *before = old ? versions_find(vs, old) : NULL;
        if (before)
            count(e, &before->row, -1);
        count(e, &w->row, 1);
        r = index_path_set_winner(e->c.index, path, w->row.id);
    }
    if (r == 0 && (old || vs->others))
        r = drop_wants(e, path, &unsure);
    return r < 0 ? r : update_wants(e, vs, h.of, h.n, w, unsure);
}

/* Of what was here no version counts any more: what lies on this disk of it goes to kept/, and nothing takes its place. */
static int nothing_left(struct engine *e, int64_t path)
{
    struct ix_local l;
    struct ix_entry row;
    bool installs;
    int r = index_conflict_set(e->c.index, path, false);
    if (r == 0)
        r = database_heads(e, path, NULL, 0);
    if (r == 0)
        r = drop_wants(e, path, &installs);
    if (r == 0)
        r = index_local_get(e->c.index, path, &l);
    if (r == 0)
        r = index_entry_get(e->c.index, l.entry, &row, NULL);
    if (r < 0)
        return r == ERR_NOTFOUND ? 0 : r;
    return put_want(e, &row, WANT_HIDE);
}

int state_first(struct engine *e, const struct ix_entry *only, const struct bytes *name, bool on_disk)
{
    count(e, only, 1);
    int r = index_path_set_winner(e->c.index, only->path, only->id);
    bool needs = !on_disk && only->kind != KIND_TOMBSTONE && !path_is_own(name->p, name->len);
    return r == 0 && needs ? put_want(e, only, WANT_INSTALL) : r;
}

int state_update(struct engine *e, int64_t path)
{
    AUTO(versions_release) struct versions vs;
    int r = versions_load(e, path, &vs);
    if (r < 0)
        return r;
    if (vs.n == 0)
        return nothing_left(e, path);
    return update_path(e, path, &vs);
}

int state_withdraw(struct engine *e, int64_t entry)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    struct vers v = {0};
    int64_t winner;
    int r = engine_entry(e, entry, &raw, &v.ent, &v.row);
    if (r == 0)
        r = index_path_get(e->c.index, v.row.path, NULL, &winner);
    if (r == 0 && v.row.live && (r = index_entry_set_live(e->c.index, entry, false)) == 0)
        engine_fp_toggle(e, v.row.kind, &v.ent.v.dot);
    if (r == 0 && winner == entry) {
        count(e, &v.row, -1);
        r = index_path_set_winner(e->c.index, v.row.path, 0);
    }
    if (r == 0)
        r = index_want_del(e->c.index, entry);
    snapshots_changed(e, &v.ent.path);
    entry_release(&v.ent);
    return r;
}

int state_put(struct engine *e, const struct stream *s, const struct entry *ent, struct bytes raw, int64_t path, struct ix_entry *row)
{
    *row = (struct ix_entry){.stream = s->row.id, .path = path, .seq = ent->v.dot.seq, .live = true, .kind = ent->kind,
                             .hlc = ent->v.hlc, .size = ent->size, .raw = raw,
                             .root = ent->content.type == CONTENT_NONE ? ID_NONE : ent->content.root};
    int r = index_entry_put(e->c.index, row);
    if (r < 0)
        return r;
    snapshots_changed(e, &ent->path);
    engine_fp_toggle(e, ent->kind, &ent->v.dot);
    e->now.hlc = hlc_seen(e->now.hlc, ent->v.hlc);
    return 0;
}

/* ---- work done ---- */

static int parent_may_go(struct engine *e, int64_t path)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    struct ix_entry row;
    struct ix_local l;
    int64_t id, winner;
    int r = index_path_get(e->c.index, path, &name, NULL);
    size_t n = r == 0 ? path_parent((const char *)name.data, name.len) : 0;
    if (n == 0)
        return r;
    r = index_path_id(e->c.index, (const char *)name.data, n, false, &id);
    if (r == 0)
        r = index_local_get(e->c.index, id, &l);
    if (r == 0)
        r = index_path_get(e->c.index, id, NULL, &winner);
    if (r == 0)
        r = index_entry_get(e->c.index, winner, &row, NULL);
    if (r < 0)
        return r == ERR_NOTFOUND ? 0 : r;
    if (l.entry != winner || l.stamp.kind != STAMP_DIR || row.kind != KIND_TOMBSTONE)
        return 0;
    struct ix_want w = {.entry = row.id, .path = id, .stream = row.stream, .seq = row.seq, .role = WANT_INSTALL, .kind = row.kind};
    return index_want_put(e->c.index, &w);
}

int state_left(struct engine *e, int64_t path)
{
    int r = parent_may_go(e, path);
    return r < 0 ? r : clash_over(e, path);
}

int engine_installed(struct engine *e, int64_t entry, const struct stamp *st, bool settled)
{
    struct ix_entry row;
    struct ix_want want;
    int64_t winner;
    int r = index_entry_get(e->c.index, entry, &row, NULL);
    /* What was to go from this disk may have come to count again while it went. */
    bool missed = r == 0 && st->kind == STAMP_ABSENT && row.kind != KIND_TOMBSTONE && index_want_get(e->c.index, entry, &want) < 0;
    if (r == 0)
        r = index_want_del(e->c.index, entry);
    const struct stream *s = r == 0 ? engine_stream(e, row.stream) : NULL;
    if (r == 0 && (st->kind == STAMP_ABSENT || !versions_counts(e, s, &row)))
        r = index_local_del(e->c.index, row.path);
    else if (r == 0)
        r = index_local_put(e->c.index, &(struct ix_local){.path = row.path, .entry = entry, .stamp = *st, .settled = settled});
    if (r == 0)
        r = index_path_get(e->c.index, row.path, NULL, &winner);
    if (r == 0 && st->kind == STAMP_ABSENT)
        r = state_left(e, row.path);
    return r == 0 && (winner != entry || missed) ? state_update(e, row.path) : r;
}

int engine_kept(struct engine *e, int64_t path, int64_t entry, const struct id *root, uint64_t size, const char *name, uint64_t wall_ms)
{
    struct ix_kept k = {.path = path, .entry = entry, .root = *root, .size = size, .kept_ms = clock_at_least_aged(e, wall_ms), .name = name};
    struct ix_want w;
    int r = index_kept_put(e->c.index, &k);
    if (r < 0 || !entry)
        return r;
    /* A loser that has become the winner meanwhile is still to be put in place. */
    r = index_want_get(e->c.index, entry, &w);
    return r == 0 && w.role == WANT_KEEP ? index_want_del(e->c.index, entry) : r == ERR_NOTFOUND ? 0 : r;
}

struct missing_paths { struct engine *e; int64_t *path; size_t n, cap; };

static int note_missing(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    (void)name;
    (void)len;
    (void)winner;
    struct missing_paths *m = arg;
    struct ix_local l;
    if (index_local_get(m->e->c.index, path, &l) == 0)
        return 0;
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 256;
        m->path = xrealloc(m->path, m->cap, sizeof *m->path);
    }
    m->path[m->n++] = path;
    return 0;
}

static int want_missing(struct engine *e)
{
    struct missing_paths m = {.e = e};
    int r = index_path_each(e->c.index, "", 0, true, note_missing, &m);
    for (size_t i = 0; r == 0 && i < m.n; i++)
        r = state_update(e, m.path[i]);
    free(m.path);
    return r;
}

static int note_partial(struct engine *e, bool partial)
{
    if (partial == e->partial)
        return 0;
    e->partial = partial;
    return index_kv_put(e->c.index, KEY_PARTIAL, &e->partial, sizeof e->partial);
}

int engine_rules(struct engine *e, const struct id *hash, bool own)
{
    struct id before = ID_NONE;
    int r = note_partial(e, own);
    if (r == 0)
        r = engine_load_value(e, KEY_RULES, &before, sizeof before);
    if (r < 0 || id_eq(&before, hash))
        return r;
    r = want_missing(e);
    return r == 0 ? index_kv_put(e->c.index, KEY_RULES, hash, sizeof *hash) : r;
}
