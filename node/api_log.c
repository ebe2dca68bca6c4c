/* Versions as they are listed: log, conflicts.
 *
 *   lines of the index -> the devices that are online are asked who holds the contents (hist.h) -> reply
 *
 * The versions of one path cost each device one question. Of a list that has many paths only those contents are asked for that are not
 * here. Whoever has not answered in time (inquiry_ms) counts as not having it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_priv.h"
#include "node/hist.h"
#include "node/pathset.h"
#include "proto/hlc.h"
#include "proto/path.h"

enum { LOG_DEFAULT = 100, LOG_MAX = 10000, HOLDERS_MAX = 64 };

struct line {
    char version[VERSION_ID], device[LIMIT_DEVICE_NAME + 1];
    char *path; size_t len;
    enum kind kind;
    uint64_t size, ms;
    bool current, conflict;
    struct id root; uint32_t nblocks;            /* 0: what it is stands in its entry */
    uint64_t deleted_ms; char deleted_by[LIMIT_DEVICE_NAME + 1];
    size_t losers;                               /* of a list of conflicts: a current version, and so many behind it */
    char *reason;                                /* of those: why it is one, unless it is that two devices changed it */
};
enum list_kind { LIST_VERSIONS, LIST_DELETED, LIST_CONFLICTS };
struct listing {
    struct node *n;
    enum list_kind kind;
    struct line *v; size_t nv, cap;
    struct hist *asked;
};

static void listing_free(void *data)
{
    struct listing *l = data;
    for (size_t i = 0; i < l->nv; i++) {
        free(l->v[i].path);
        free(l->v[i].reason);
    }
    free(l->v);
    hist_free(&l->asked);
    free(l);
}

/* It belongs to its session from the beginning. */
static struct listing *listing_new(struct session *s, enum list_kind kind)
{
    struct listing *l = xcalloc(1, sizeof *l);
    *l = (struct listing){.n = s->n, .kind = kind};
    s->data = l;
    s->release = listing_free;
    return l;
}

static struct line *add_line(struct listing *l, const struct ix_entry *row, const struct entry *ent)
{
    if (l->nv == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 16;
        l->v = xrealloc(l->v, l->cap, sizeof *l->v);
    }
    struct line *e = &l->v[l->nv++];
    bool blocks = ent->kind == KIND_FILE && ent->content.type == CONTENT_BLOCKS;
    *e = (struct line){.path = xcalloc(ent->path.len + 1, 1), .len = ent->path.len, .kind = ent->kind, .size = ent->size,
                       .ms = hlc_ms(row->hlc), .root = row->root, .nblocks = blocks ? ent->content.nblocks : 0};
    memcpy(e->path, ent->path.p, e->len);
    version_id(l->n, row, e->version);
    snprintf(e->device, sizeof e->device, "%s", version_device(l->n, row));
    return e;
}

static void add_past(struct listing *l, const struct history *h, const struct past *p)
{
    struct line *e = add_line(l, &p->row, &p->ent);
    e->current = p->row.id == h->winner;
    e->conflict = history_lost(h, p);
}

static struct line *add_kept(struct listing *l, const struct past *p) { return add_line(l, &p->row, &p->ent); }

/* ---- replies ---- */

static const char *const kind_names[] = {
    [KIND_FILE] = "file", [KIND_DIR] = "dir", [KIND_SYMLINK] = "symlink", [KIND_TOMBSTONE] = "deleted",
};

static void put_available(struct buf *b, const struct listing *l, const struct line *e)
{
    struct id dev[HOLDERS_MAX];
    bool here = is_here(l->n, &e->root, e->nblocks);
    size_t n = e->nblocks ? hist_holders(l->asked, &e->root, dev, HOLDERS_MAX) : 0;
    put_text(b, "available", here ? "here" : n ? "peers" : "gone");
    mp_put_str(b, "holders");
    bool own = here && e->kind != KIND_TOMBSTONE;
    mp_put_array(b, n + own);
    if (own)
        mp_put_str(b, member_name(l->n, &l->n->home->keys->dev));
    for (size_t i = 0; i < n; i++)
        mp_put_str(b, member_name(l->n, &dev[i]));
}

static void put_line(struct buf *b, const struct listing *l, const struct line *e)
{
    bool deleted = l->kind == LIST_DELETED, conflict = l->kind == LIST_CONFLICTS;
    mp_put_map(b, deleted ? 12 : conflict ? 11 : 10);
    put_text(b, "version", e->version);
    put_path(b, "path", e->path, e->len);
    put_text(b, "kind", kind_names[e->kind]);
    put_u64(b, "size", e->size);
    put_time(b, "time", e->ms);
    put_text(b, "device", e->device);
    put_bool(b, "current", e->current);
    put_bool(b, "conflict", e->conflict);
    put_available(b, l, e);
    if (deleted) {
        put_time(b, "deleted", e->deleted_ms);
        put_text(b, "deleted_by", e->deleted_by);
    }
    if (conflict)
        put_text(b, "reason", e->reason);
}

static size_t put_conflict(struct buf *b, const struct listing *l, size_t i)
{
    const struct line *e = &l->v[i], *lost = &l->v[i + (e->losers > 0)];
    mp_put_map(b, 4);
    put_path(b, "path", lost->path, lost->len);
    put_text(b, "reason", lost->reason);
    mp_put_str(b, "current");
    put_line(b, l, e);
    mp_put_str(b, "losers");
    mp_put_array(b, e->losers);
    for (size_t k = 1; k <= e->losers; k++)
        put_line(b, l, &l->v[i + k]);
    return 1 + e->losers;
}

static void reply(struct session *s)
{
    const struct listing *l = s->data;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    size_t n = l->nv;
    for (size_t i = 0; i < l->nv; i++)
        n -= l->v[i].losers;
    mp_put_array(&b, n);
    for (size_t i = 0; i < l->nv;)
        if (l->kind == LIST_CONFLICTS)
            i += put_conflict(&b, l, i);
        else
            put_line(&b, l, &l->v[i++]);
    session_reply(s, false, &b);
}

static int check_asked(struct session *s)
{
    if (hist_over(((const struct listing *)s->data)->asked))
        reply(s);
    return 0;
}

static void on_news(void *api) { api_poll(api); }

/* With a path: all lines are of that path. */
static void listing_send(struct session *s, const struct bytes *path)
{
    struct listing *l = s->data;
    l->asked = hist_new(l->n->peers, control_group(l->n->home->control));
    for (size_t i = 0; i < l->nv; i++)
        if (l->v[i].nblocks && (path || !is_here(l->n, &l->v[i].root, l->v[i].nblocks)))
            hist_add(l->asked, &l->v[i].root, l->v[i].nblocks);
    hist_ask(l->asked, path ? (const char *)path->p : NULL, path ? path->len : 0, on_news, s->api);
    if (hist_over(l->asked))
        reply(s);
    else
        session_wait(s, check_asked, inquiry_ms(l->n), reply);
}

/* ---- log ---- */

static int log_of_history(struct session *s, const struct bytes *path, const struct history *h, uint64_t limit)
{
    struct listing *l = listing_new(s, LIST_VERSIONS);
    for (size_t i = 0, k = 0; i + k < h->nv + h->nkept && i + k < limit; )
        if (k == h->nkept || (i < h->nv && h->v[i].row.hlc >= h->kept[k].row.hlc))
            add_past(l, h, &h->v[i++]);
        else
            add_kept(l, &h->kept[k++]);
    listing_send(s, h->nv <= HIST_LOOKED ? path : NULL);
    return 0;
}

/* Whether a live version that is not the winner lost against it. */
static int lost_to(struct node *n, const struct ix_entry *row, const struct entry *ent, int64_t winner, bool *conflict)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry won = {0};
    struct ix_entry won_row;
    *conflict = false;
    if (!row->live || row->id == winner || !winner)
        return 0;
    int r = engine_entry(n->engine, winner, &raw, &won, &won_row);
    if (r == 0)
        *conflict = version_lost(row, ent, winner, &won);
    return r;
}

static int put_recent(void *arg, const struct ix_entry *row)
{
    struct listing *l = arg;
    AUTO(entry_release) struct entry ent = {0};
    int64_t winner = 0;
    bool conflict = false;
    int r = entry_decode(row->raw.p, row->raw.len, &ent);
    if (r == 0)
        r = index_path_get(l->n->index, row->path, NULL, &winner);
    if (r == 0)
        r = lost_to(l->n, row, &ent, winner, &conflict);
    if (r < 0)
        return r;
    struct line *e = add_line(l, row, &ent);
    e->current = row->id == winner;
    e->conflict = conflict;
    return 0;
}

static int log_of_folder(struct session *s, const struct bytes *dir, const struct history *h, uint64_t limit)
{
    struct listing *l = listing_new(s, LIST_VERSIONS);
    int r = dir->len ? index_entry_beneath(s->n->index, (const char *)dir->p, dir->len, (uint32_t)limit, put_recent, l)
                     : index_entry_recent(s->n->index, (uint32_t)limit, put_recent, l);
    for (size_t i = 0; r == 0 && i < h->nkept && l->nv < limit; i++)     /* from when it was a file here */
        add_kept(l, &h->kept[i]);
    if (r == 0 && dir->len && !l->nv)
        r = err_set(ERR_NOTFOUND, "%s: no version of it is known: look at lanyard log for what is", path_show(dir->p, dir->len));
    if (r == 0)
        listing_send(s, NULL);
    return r;
}

static int put_deleted(void *arg, const struct ix_entry *row)
{
    struct listing *l = arg;
    AUTO(history_release) struct history h = {0};
    int r = history_load_id(l->n, row->path, &h);
    if (r < 0)
        return r;
    const struct past *last = history_latest(&h);
    if (last->ent.kind > KIND_TOMBSTONE)
        return 0;
    struct line *e = add_line(l, &last->row, &last->ent);
    e->deleted_ms = hlc_ms(row->hlc);
    snprintf(e->deleted_by, sizeof e->deleted_by, "%s", version_device(l->n, row));
    return 0;
}

/* What was kept of a path at which nothing lives. */
struct strays { struct listing *l; const struct bytes *dir; uint64_t limit; struct pathset paths; };

static bool is_within(const struct buf *path, const struct bytes *dir)
{
    bool itself = path->len == dir->len && memcmp(path->data, dir->p, dir->len) == 0;
    return !dir->len || itself || path_beneath((const char *)path->data, path->len, (const char *)dir->p, dir->len);
}

static int put_strays(void *arg, const struct ix_kept *row)
{
    struct strays *t = arg;
    struct listing *l = t->l;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    AUTO(history_release) struct history h = {0};
    int r = index_path_get(l->n->index, row->path, &name, NULL);
    if (r < 0 || !is_within(&name, t->dir) || pathset_get(&t->paths, (const char *)name.data, name.len, NULL))
        return r;
    pathset_put(&t->paths, (const char *)name.data, name.len, 0);
    r = history_load_kept(l->n, &(struct bytes){name.data, name.len}, &h);
    const struct past *end = r == 0 && h.nv ? history_winner(&h) : NULL;
    if (r < 0 || (end && end->ent.kind != KIND_TOMBSTONE))
        return r == ERR_NOTFOUND ? 0 : r;
    for (size_t i = 0; i < h.nkept && l->nv < t->limit; i++) {
        struct line *e = add_kept(l, &h.kept[i]);
        e->deleted_ms = end ? hlc_ms(end->row.hlc) : e->ms;
        snprintf(e->deleted_by, sizeof e->deleted_by, "%s", end ? version_device(l->n, &end->row) : e->device);
    }
    return 0;
}

static int last_deleted_first(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return (x->deleted_ms < y->deleted_ms) - (x->deleted_ms > y->deleted_ms);
}

static int log_of_deleted(struct session *s, const struct bytes *dir, uint64_t limit)
{
    struct listing *l = listing_new(s, LIST_DELETED);
    const char *name = dir->len ? (const char *)dir->p : "";
    int r = index_entry_deleted(s->n->index, name, dir->len, (uint32_t)limit, put_deleted, l);
    size_t versions = l->nv;
    struct strays t = {.l = l, .dir = dir, .limit = limit};
    if (r == 0)
        r = index_kept_strays(s->n->index, put_strays, &t);
    pathset_release(&t.paths);
    if (l->nv > versions)
        qsort(l->v, l->nv, sizeof *l->v, last_deleted_first);
    if (r == 0)
        listing_send(s, NULL);
    return r;
}

/* A directory is listed with all that lies beneath it, and so is one that has been deleted; anything else with its own versions. */
static int log_of_path(struct session *s, const struct bytes *path, uint64_t limit)
{
    AUTO(history_release) struct history h = {0};
    int r = history_load_kept(s->n, path, &h);
    if (r < 0 && r != ERR_NOTFOUND)
        return r;
    if (r == 0 && (!h.nv || history_latest(&h)->ent.kind != KIND_DIR))
        return log_of_history(s, path, &h, limit ? limit : LOG_MAX);
    return log_of_folder(s, path, &h, limit ? limit : LOG_DEFAULT);
}

int run_log(struct session *s, const struct bytes *args)
{
    struct bytes path;
    uint64_t limit = 0;
    bool deleted = false;
    int r = arg_path(args, "path", false, &path);
    if (r == 0)
        r = arg_u64(args, "limit", &limit);
    if (r == 0)
        r = arg_bool(args, "deleted", &deleted);
    if (r < 0)
        return r;
    limit = limit < LOG_MAX ? limit : LOG_MAX;
    if (deleted)
        return log_of_deleted(s, &path, limit ? limit : LOG_DEFAULT);
    if (path.len)
        return log_of_path(s, &path, limit);
    return log_of_folder(s, &path, &(struct history){0}, limit ? limit : LOG_DEFAULT);
}

/* ---- conflicts ---- */

static int put_conflicts(void *arg, int64_t path)
{
    struct listing *l = arg;
    AUTO(history_release) struct history h = {0};
    int r = history_load_id(l->n, path, &h);
    if (r < 0)
        return r;
    size_t first = l->nv;
    add_past(l, &h, history_winner(&h));
    for (size_t i = 0; i < h.nv; i++)
        if (history_lost(&h, &h.v[i]))
            add_past(l, &h, &h.v[i]);
    l->v[first].losers = l->nv - first - 1;
    return 0;
}

/* What has the name is shown as current; if no version of it is known (it is ignored), the hidden one stands alone. */
static int put_clash(void *arg, int64_t path, int64_t other)
{
    struct listing *l = arg;
    AUTO(history_release) struct history hidden = {0}, shown = {0};
    int r = history_load_id(l->n, path, &hidden);
    if (r == 0 && (r = history_load_id(l->n, other, &shown)) == 0)
        add_past(l, &shown, history_winner(&shown));
    if (r < 0 && (r != ERR_NOTFOUND || !hidden.nv))
        return r == ERR_NOTFOUND ? 0 : r;
    if (shown.nv)
        l->v[l->nv - 1].losers = 1;
    add_past(l, &hidden, history_winner(&hidden));
    struct line *e = &l->v[l->nv - 1];
    AUTO(buf_release) struct buf text = BUF_INIT(2 * LIMIT_PATH);
    buf_addf(&text, "the file system here takes its name for that of another file");
    if (shown.nv)
        buf_addf(&text, ", %s", path_show(shown.name, shown.len));
    buf_add(&text, "", 1);
    e->reason = buf_ok(&text) ? xstrdup((const char *)text.data) : NULL;
    e->current = false;
    e->conflict = true;
    return 0;
}

int run_conflicts(struct session *s, const struct bytes *args)
{
    (void)args;
    struct listing *l = listing_new(s, LIST_CONFLICTS);
    int r = index_conflict_each(s->n->index, put_conflicts, l);
    if (r == 0)
        r = index_clash_each(s->n->index, put_clash, l);
    if (r == 0)
        listing_send(s, NULL);
    return r;
}
