/* Versions of files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_priv.h"
#include "proto/hlc.h"
#include "proto/path.h"

enum { LOG_DEFAULT = 100, LOG_MAX = 10000 };

/* ---- streams ---- */

static int add_stream(void *arg, const struct ix_stream *s)
{
    struct streams *st = arg;
    if ((st->n & (st->n + 1)) == 0)                /* doubled at 1, 3, 7... */
        st->v = xrealloc(st->v, 2 * (st->n + 1), sizeof *st->v);
    st->v[st->n++] = *s;
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct ix_stream *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int streams_load(struct node *n, struct streams *st)
{
    *st = (struct streams){0};
    int r = index_stream_each(n->index, add_stream, st);
    if (st->n)
        qsort(st->v, st->n, sizeof *st->v, by_id);
    return r;
}

static void streams_release(struct streams *st)
{
    free(st->v);
    *st = (struct streams){0};
}

static void stream_hex(const struct streams *st, int64_t id, char out[static SID_HEX])
{
    struct ix_stream key = {.id = id}, *s = st->n ? bsearch(&key, st->v, st->n, sizeof key, by_id) : NULL;
    const struct sid none = {0};
    sid_hex(s ? &s->sid : &none, out);
}

const char *version_id(const struct streams *st, const struct ix_entry *row, char out[static VERSION_ID])
{
    char hex[SID_HEX];
    stream_hex(st, row->stream, hex);
    snprintf(out, VERSION_ID, "%.16s-%llu", hex, (unsigned long long)row->seq);
    return out;
}

const char *version_device(struct node *n, const struct ix_entry *row)
{
    const struct id *dev = engine_stream_dev(n->engine, row->stream);
    const struct member *m = dev ? group_find(control_group(n->home->control), dev) : NULL;
    return m ? m->card.name : "?";
}

/* ---- the versions of a path ---- */

static int add_past(void *arg, const struct ix_entry *row)
{
    struct history *h = arg;
    if (h->nv == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 8;
        h->v = xrealloc(h->v, h->cap, sizeof *h->v);
    }
    struct past *p = &h->v[h->nv++];
    *p = (struct past){.row = *row, .raw = xrealloc(NULL, row->raw.len + 1, 1)};
    memcpy(p->raw, row->raw.p, row->raw.len);
    p->row.raw.p = p->raw;
    return entry_decode(p->raw, row->raw.len, &p->ent);
}

static int newest_first(const void *a, const void *b)
{
    const struct ix_entry *x = &((const struct past *)a)->row, *y = &((const struct past *)b)->row;
    if (x->hlc != y->hlc)
        return x->hlc < y->hlc ? 1 : -1;
    return (x->id < y->id) - (x->id > y->id);
}

static int load(struct history *h)
{
    int r = index_path_id(h->n->index, h->name, h->len, false, &h->path);
    if (r == 0)
        r = index_path_get(h->n->index, h->path, NULL, &h->winner);
    if (r == 0)
        r = index_entry_each_of_path(h->n->index, h->path, add_past, h);
    if (r == ERR_NOTFOUND || (r == 0 && (!h->nv || !h->winner)))
        return err_set(ERR_NOTFOUND, "%s: no version of it is known: look at lanyard log for what is", path_show(h->name, h->len));
    return r == 0 ? streams_load(h->n, &h->streams) : r;
}

int history_load(struct node *n, const struct bytes *path, struct history *h)
{
    *h = (struct history){.n = n, .name = xcalloc(path->len + 1, 1), .len = path->len};
    memcpy(h->name, path->p, path->len);
    int r = load(h);
    if (r < 0)
        history_release(h);
    else
        qsort(h->v, h->nv, sizeof *h->v, newest_first);
    return r;
}

void history_release(struct history *h)
{
    for (size_t i = 0; i < h->nv; i++) {
        entry_release(&h->v[i].ent);
        free(h->v[i].raw);
    }
    free(h->v);
    free(h->name);
    streams_release(&h->streams);
    *h = (struct history){0};
}

const struct past *history_winner(const struct history *h)
{
    for (size_t i = 0; i < h->nv; i++)
        if (h->v[i].row.id == h->winner)
            return &h->v[i];
    return &h->v[0];
}

/* "0123abcd-17", or only "0123abcd" where that is enough. False when it cannot be any version's. */
static bool parse_id(const char *id, size_t *hex, uint64_t *seq)
{
    *hex = strspn(id, "0123456789abcdefABCDEF");
    *seq = 0;
    if (*hex == 0 || *hex >= SID_HEX)
        return false;
    if (!id[*hex])
        return true;
    const char *digits = id + *hex + 1;
    size_t n = strspn(digits, "0123456789");
    if (id[*hex] != '-' || n == 0 || n > 19 || digits[n])
        return false;
    *seq = strtoull(digits, NULL, 10);
    return *seq > 0;
}

int history_find(const struct history *h, const char *id, const struct past **out)
{
    size_t hex, found = 0;
    uint64_t seq;
    bool may_be = parse_id(id, &hex, &seq);
    for (size_t i = 0; may_be && i < h->nv; i++) {
        char sid[SID_HEX];
        stream_hex(&h->streams, h->v[i].row.stream, sid);
        if ((seq && h->v[i].row.seq != seq) || strncasecmp(sid, id, hex) != 0)
            continue;
        *out = &h->v[i];
        found++;
    }
    if (found == 1)
        return 0;
    const char *path = path_show(h->name, h->len), *version = path_show(id, strlen(id));
    if (found)
        return err_set(ERR_NOTFOUND, "%s: %zu of its versions begin with %s: give more of it", path, found, version);
    return err_set(ERR_NOTFOUND, "%s: has no version %s: lanyard log shows those it has", path, version);
}

/* ---- how a version is shown ---- */

struct view { struct node *n; const struct streams *streams; };

static const char *const kind_names[] = {
    [KIND_FILE] = "file", [KIND_DIR] = "dir", [KIND_SYMLINK] = "symlink", [KIND_TOMBSTONE] = "deleted",
};

static const char *availability(struct node *n, const struct ix_entry *row, const struct entry *ent)
{
    struct place_of at = {0};
    struct id dev;
    if (ent->kind != KIND_FILE || ent->content.type != CONTENT_BLOCKS)
        return "here";
    bool here = serve_find(n->index, &row->root, &at) == 0;
    place_of_release(&at);
    if (here)
        return "here";
    return engine_sources(n->engine, row->stream, row->seq, false, &dev, 1) ? "peers" : "gone";
}

static bool lost(const struct ix_entry *row, const struct entry *ent, int64_t winner, const struct entry *won)
{
    return row->live && row->id != winner && ent->kind != KIND_TOMBSTONE && !entry_same(ent, won);
}

static void put_version(struct buf *b, const struct view *v, const struct ix_entry *row, const struct entry *ent, int64_t winner,
                        bool conflict)
{
    char id[VERSION_ID];
    mp_put_map(b, 9);
    put_text(b, "version", version_id(v->streams, row, id));
    put_path(b, "path", ent->path.p, ent->path.len);
    put_text(b, "kind", kind_names[ent->kind]);
    put_u64(b, "size", ent->size);
    put_time(b, "time", hlc_ms(row->hlc));
    put_text(b, "device", version_device(v->n, row));
    put_bool(b, "current", row->id == winner);
    put_bool(b, "conflict", conflict);
    put_text(b, "available", availability(v->n, row, ent));
}

static void put_past(struct buf *b, const struct history *h, const struct past *p)
{
    struct view v = {h->n, &h->streams};
    put_version(b, &v, &p->row, &p->ent, h->winner, lost(&p->row, &p->ent, h->winner, &history_winner(h)->ent));
}

/* ---- log ---- */

static int log_of_path(struct session *s, const struct bytes *path, uint64_t limit)
{
    AUTO(history_release) struct history h;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    int r = history_load(s->n, path, &h);
    if (r < 0)
        return r;
    size_t n = h.nv < limit ? h.nv : (size_t)limit;
    mp_put_array(&b, n);
    for (size_t i = 0; i < n; i++)
        put_past(&b, &h, &h.v[i]);
    session_reply(s, false, &b);
    return 0;
}

struct recent { struct view view; struct buf rows; size_t n; };

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
        *conflict = lost(row, ent, winner, &won);
    return r;
}

static int put_recent(void *arg, const struct ix_entry *row)
{
    struct recent *c = arg;
    AUTO(entry_release) struct entry ent = {0};
    int64_t winner = 0;
    bool conflict = false;
    int r = entry_decode(row->raw.p, row->raw.len, &ent);
    if (r == 0)
        r = index_path_get(c->view.n->index, row->path, NULL, &winner);
    if (r == 0)
        r = lost_to(c->view.n, row, &ent, winner, &conflict);
    if (r < 0)
        return r;
    put_version(&c->rows, &c->view, row, &ent, winner, conflict);
    c->n++;
    return 0;
}

static int log_of_folder(struct session *s, uint64_t limit)
{
    AUTO(streams_release) struct streams streams;
    struct recent c = {.view = {s->n, &streams}, .rows = BUF_INIT(LIMIT_CTL_REPLY)};
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    int r = streams_load(s->n, &streams);
    if (r == 0)
        r = index_entry_recent(s->n->index, (uint32_t)limit, put_recent, &c);
    mp_put_array(&b, c.n);
    buf_add(&b, c.rows.data, c.rows.len);
    b.failed |= !buf_ok(&c.rows);
    buf_release(&c.rows);
    if (r == 0)
        session_reply(s, false, &b);
    return r;
}

int run_log(struct session *s, const struct bytes *args)
{
    struct bytes path;
    uint64_t limit = 0;
    int r = arg_path(args, "path", false, &path);
    if (r == 0)
        r = arg_u64(args, "limit", &limit);
    if (r < 0)
        return r;
    limit = limit ? limit : path.len ? LOG_MAX : LOG_DEFAULT;
    limit = limit < LOG_MAX ? limit : LOG_MAX;
    return path.len ? log_of_path(s, &path, limit) : log_of_folder(s, limit);
}

/* ---- conflicts ---- */

static bool is_loser(const struct history *h, const struct past *p)
{
    return lost(&p->row, &p->ent, h->winner, &history_winner(h)->ent);
}

static size_t losers(const struct history *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->nv; i++)
        n += is_loser(h, &h->v[i]);
    return n;
}

static int put_conflict(void *arg, int64_t path)
{
    struct recent *c = arg;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    AUTO(history_release) struct history h = {0};
    int r = index_path_get(c->view.n->index, path, &name, NULL);
    if (r == 0)
        r = history_load(c->view.n, &(struct bytes){name.data, name.len}, &h);
    if (r < 0)
        return r;
    mp_put_map(&c->rows, 3);
    put_path(&c->rows, "path", h.name, h.len);
    mp_put_str(&c->rows, "current");
    put_past(&c->rows, &h, history_winner(&h));
    mp_put_str(&c->rows, "losers");
    mp_put_array(&c->rows, losers(&h));
    for (size_t i = 0; i < h.nv; i++)
        if (is_loser(&h, &h.v[i]))
            put_past(&c->rows, &h, &h.v[i]);
    c->n++;
    return 0;
}

int run_conflicts(struct session *s, const struct bytes *args)
{
    (void)args;
    struct recent c = {.view = {s->n, NULL}, .rows = BUF_INIT(LIMIT_CTL_REPLY)};
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    int r = index_conflict_each(s->n->index, put_conflict, &c);
    mp_put_array(&b, c.n);
    buf_add(&b, c.rows.data, c.rows.len);
    b.failed |= !buf_ok(&c.rows);
    buf_release(&c.rows);
    if (r == 0)
        session_reply(s, false, &b);
    return r;
}

/* ---- resolve ---- */

int api_commit(struct node *n, int (*change)(struct node *n, void *arg), void *arg)
{
    int r = engine_begin(n->engine);
    if (r < 0)
        return r;
    r = change(n, arg);
    if (r < 0)
        engine_rollback(n->engine);
    else
        r = engine_commit(n->engine, loop_wall());     /* which rolls back by itself when it fails */
    if (r == 0)
        node_committed(n);
    return r;
}

int need_writer(struct node *n)
{
    const struct member *m = group_find(control_group(n->home->control), &n->home->keys->dev);
    if (m && !m->revoked && role_may_write(m->role))
        return 0;
    return err_set(ERR_DENIED, "this device may only read: ask an admin for another role");
}

struct choice { int64_t path, survivor; };

static int choose(struct node *n, void *arg)
{
    const struct choice *c = arg;
    return engine_resolve(n->engine, c->path, c->survivor, loop_wall());
}

static int resolve(struct session *s, const struct bytes *path, const char *keep)
{
    AUTO(history_release) struct history h;
    const struct past *p = NULL;
    int r = history_load(s->n, path, &h);
    if (r < 0)
        return r;
    if (!losers(&h))
        return err_set(ERR_NOTFOUND, "%s: is not in conflict: nothing to resolve", path_show(h.name, h.len));
    r = history_find(&h, keep, &p);
    if (r == 0)
        r = api_commit(s->n, choose, &(struct choice){h.path, p->row.id});
    if (r == 0)
        session_reply(s, false, NULL);
    return r;
}

/* When the kept version is not the one on disk, the pull puts it there: it is what the new version says. */
int run_resolve(struct session *s, const struct bytes *args)
{
    AUTOFREE char *keep = NULL;
    struct bytes path;
    int r = arg_path(args, "path", true, &path);
    if (r == 0)
        r = arg_text(args, "keep", &keep);
    if (r == 0)
        r = need_writer(s->n);
    if (r == 0 && !keep)
        r = err_set(ERR_USAGE, "resolve: which version shall stay? give its id");
    return r == 0 ? resolve(s, &path, keep) : r;
}
