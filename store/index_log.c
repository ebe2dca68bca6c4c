/* Streams, headers, pruned runs, entries: what the devices of the group have said. */
#include "store/index_priv.h"

#include <assert.h>
#include <string.h>

/* ---- streams ---- */

int index_stream_add(struct index *ix, struct ix_stream *s)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_STREAM_ADD);
    q_put_bytes(&q, s->sid.b, sizeof s->sid.b);
    q_put_bytes(&q, s->dev.b, sizeof s->dev.b);
    q_put_bytes(&q, s->inc, sizeof s->inc);
    q_put_seq(&q, s->known);
    q_put_id(&q, &s->tip);
    int rc = q_run(&q);
    if (rc == 0)
        s->id = sqlite3_last_insert_rowid(ix->db);
    return rc;
}

int index_stream_set(struct index *ix, const struct ix_stream *s)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_STREAM_SET);
    q_put_seq(&q, s->known);
    q_put_id(&q, &s->tip);
    q_put_int(&q, s->id);
    return q_run_found(&q);
}

int index_stream_apart(struct index *ix, int64_t stream, uint64_t after, int64_t to)
{
    static const enum query_id what[] = { Q_APART_HEADERS, Q_APART_PRUNED, Q_APART_ENTRIES };
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof what / sizeof *what; i++) {
        AUTO(q_end) struct query q = q_begin(ix, what[i]);
        q_put_int(&q, stream);
        q_put_seq(&q, after);
        q_put_int(&q, to);
        r = q_run(&q);
    }
    return r;
}

int index_stream_each(struct index *ix, int (*row)(void *, const struct ix_stream *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_STREAM_EACH);
    int rc;
    while ((rc = q_step(&q)) == 1) {
        struct ix_stream s = { .id = q_int(&q) };
        q_exact(&q, s.sid.b, sizeof s.sid.b);
        q_exact(&q, s.dev.b, sizeof s.dev.b);
        q_exact(&q, s.inc, sizeof s.inc);
        s.known = q_u64(&q);
        s.tip = q_id(&q);
        if ((rc = q.rc) != 0 || (rc = row(arg, &s)) != 0)
            return rc;
    }
    return rc;
}

/* ---- headers and pruned runs: no longer than a change set, so what covers `from` begins at most that far before it ---- */

static void put_range(struct query *q, int64_t stream, uint64_t from, uint64_t to)
{
    from = from > LIMIT_SEQ ? LIMIT_SEQ : from;
    q_put_int(q, stream);
    q_put_int(q, (int64_t)from - (int64_t)LIMIT_CS_COUNT);
    q_put_seq(q, from);
    q_put_bound(q, to);
}

int index_header_put(struct index *ix, const struct ix_header *h)
{
    assert(h->count >= 1 && h->count <= LIMIT_CS_COUNT);
    AUTO(q_end) struct query q = q_begin(ix, Q_HEADER_PUT);
    q_put_int(&q, h->stream);
    q_put_seq(&q, h->first);
    q_put_int(&q, h->count);
    q_put_bytes(&q, h->rec.p, h->rec.len);
    q_put_bytes(&q, h->sig, SIG_LEN);
    return q_run(&q);
}

int index_header_each(struct index *ix, int64_t stream, uint64_t from, uint64_t to,
                      int (*row)(void *, const struct ix_header *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_HEADER_EACH);
    int rc;
    put_range(&q, stream, from, to);
    while ((rc = q_step(&q)) == 1) {
        uint8_t sig[SIG_LEN];
        struct ix_header h = { .stream = stream, .sig = sig };
        h.first = q_u64(&q);
        h.count = (uint32_t)q_enum(&q, 1, LIMIT_CS_COUNT);
        h.rec = q_bytes(&q);
        q_exact(&q, sig, sizeof sig);
        if ((rc = q.rc) != 0 || (rc = row(arg, &h)) != 0)
            return rc;
    }
    return rc;
}

int index_pruned_del(struct index *ix, int64_t stream, uint64_t first, uint32_t count)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PRUNED_DEL);
    q_put_int(&q, stream);
    q_put_seq(&q, first);
    q_put_seq(&q, first + count);
    return q_run(&q);
}

int index_pruned_put(struct index *ix, const struct ix_pruned *p)
{
    assert(p->count >= 1 && p->count <= LIMIT_CS_COUNT);
    int rc = index_pruned_del(ix, p->stream, p->first, p->count);
    if (rc != 0)
        return rc;
    AUTO(q_end) struct query q = q_begin(ix, Q_PRUNED_PUT);
    q_put_int(&q, p->stream);
    q_put_seq(&q, p->first);
    q_put_int(&q, p->count);
    q_put_bytes(&q, p->hash.b, sizeof p->hash.b);
    q_put_int(&q, p->own);
    return q_run(&q);
}

int index_pruned_each(struct index *ix, int64_t stream, uint64_t from, uint64_t to,
                      int (*row)(void *, const struct ix_pruned *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PRUNED_EACH);
    int rc;
    put_range(&q, stream, from, to);
    while ((rc = q_step(&q)) == 1) {
        struct ix_pruned p = { .stream = stream };
        p.first = q_u64(&q);
        p.count = (uint32_t)q_enum(&q, 1, LIMIT_CS_COUNT);
        q_exact(&q, p.hash.b, sizeof p.hash.b);
        p.own = q_enum(&q, 0, 1);
        if ((rc = q.rc) != 0 || (rc = row(arg, &p)) != 0)
            return rc;
    }
    return rc;
}

/* ---- entries ---- */

/* Where raw has the root, counted from 1 (index_schema.c); 0: nowhere. */
static int64_t root_at(const struct ix_entry *e)
{
    const uint8_t *found = e->raw.len ? memmem(e->raw.p, e->raw.len, e->root.b, ID_LEN) : NULL;
    return found ? found - e->raw.p + 1 : 0;
}

static void put_root(struct query *q, const struct ix_entry *e)
{
    int64_t at = id_is_none(&e->root) ? 0 : root_at(e);
    if (at)
        q_put_int(q, at);
    else
        q->param++;   /* NULL */
    q_put_id(q, at ? &ID_NONE : &e->root);
}

int index_entry_put(struct index *ix, struct ix_entry *e)
{
    assert(e->raw.len <= LIMIT_ENTRY);
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_PUT);
    q_put_int(&q, e->stream);
    q_put_int(&q, e->path);
    q_put_seq(&q, e->seq);
    q_put_int(&q, e->live);
    q_put_int(&q, e->kind);
    q_put_u64(&q, e->hlc);
    q_put_u64(&q, e->size);
    put_root(&q, e);
    q_put_bytes(&q, e->raw.p, e->raw.len);
    int rc = q_run(&q);
    if (rc == 0)
        e->id = sqlite3_last_insert_rowid(ix->db);
    return rc;
}

/* All columns but raw. */
static int entry_columns(struct query *q, struct ix_entry *e)
{
    *e = (struct ix_entry){ .id = q_int(q) };
    e->stream = q_int(q);
    e->path = q_int(q);
    e->seq = q_u64(q);
    e->live = q_int(q) != 0;
    e->kind = (enum kind)q_enum(q, KIND_FILE, KIND_NOTE);
    e->hlc = q_u64(q);
    e->size = q_u64(q);
    e->root = q_id(q);
    return q->rc;
}

static int entry_one(struct query *q, struct ix_entry *out, struct buf *raw)
{
    int rc = q_row(q);
    if (rc == 0)
        rc = entry_columns(q, out);
    if (rc != 0 || !raw)
        return rc;
    q_copy(q, raw);
    out->raw = (struct bytes){ raw->data, raw->len };
    return q->rc;
}

static int entry_each(struct query *q, int (*row)(void *, const struct ix_entry *), void *arg)
{
    int rc;
    while ((rc = q_step(q)) == 1) {
        struct ix_entry e;
        (void)entry_columns(q, &e);
        e.raw = q_bytes(q);
        if ((rc = q->rc) != 0 || (rc = row(arg, &e)) != 0)
            return rc;
    }
    return rc;
}

int index_entry_get(struct index *ix, int64_t id, struct ix_entry *out, struct buf *raw)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_GET);
    q_put_int(&q, id);
    return entry_one(&q, out, raw);
}

int index_entry_at(struct index *ix, int64_t stream, uint64_t seq, struct ix_entry *out, struct buf *raw)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_AT);
    q_put_int(&q, stream);
    q_put_bound(&q, seq);
    return entry_one(&q, out, raw);
}

int index_entry_set_live(struct index *ix, int64_t id, bool live)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_SET_LIVE);
    q_put_int(&q, live);
    q_put_int(&q, id);
    return q_run_found(&q);
}

int index_entry_del(struct index *ix, int64_t id)
{
    int rc = alive_unfold_entry(ix, id);
    if (rc != 0)
        return rc;
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_DEL);
    q_put_int(&q, id);
    return q_run(&q);
}

int index_entry_live_after(struct index *ix, int64_t id, int (*row)(void *, const struct ix_entry *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_LIVE_AFTER);
    q_put_int(&q, id);
    return entry_each(&q, row, arg);
}

static int path_each(struct query *q, int (*row)(void *, int64_t path), void *arg)
{
    int rc;
    while ((rc = q_step(q)) == 1) {
        int64_t path = q_int(q);
        if ((rc = q->rc) != 0 || (rc = row(arg, path)) != 0)
            return rc;
    }
    return rc;
}

int index_entry_old_paths(struct index *ix, int64_t after_path, uint64_t hlc, int (*row)(void *, int64_t path), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_OLD_PATHS);
    q_put_int(&q, after_path);
    q_put_bound(&q, hlc);
    return path_each(&q, row, arg);
}

int index_entry_contested(struct index *ix, int (*row)(void *, int64_t path), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_CONTESTED);
    return path_each(&q, row, arg);
}

int index_entry_each_of_path(struct index *ix, int64_t path, int (*row)(void *, const struct ix_entry *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_OF_PATH);
    q_put_int(&q, path);
    return entry_each(&q, row, arg);
}

int index_entry_by_root(struct index *ix, const struct id *root, int (*row)(void *, const struct ix_entry *), void *arg)
{
    const struct id key = *root;
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_BY_ROOT);
    q_put_id(&q, &key);
    return entry_each(&q, row, arg);
}

int index_entry_each_of_stream(struct index *ix, int64_t stream, uint64_t from, uint64_t to,
                               int (*row)(void *, const struct ix_entry *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_OF_STREAM);
    q_put_int(&q, stream);
    q_put_bound(&q, from);
    q_put_bound(&q, to);
    return entry_each(&q, row, arg);
}

int index_entry_unkept(struct index *ix, int64_t stream, uint64_t from, uint64_t to, bool edited,
                       int (*row)(void *, const struct ix_entry *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_UNKEPT);
    q_put_int(&q, stream);
    q_put_bound(&q, from);
    q_put_bound(&q, to);
    q_put_int(&q, edited);
    return entry_each(&q, row, arg);
}

int index_entry_recent(struct index *ix, uint32_t limit, int (*row)(void *, const struct ix_entry *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_RECENT);
    q_put_int(&q, limit);
    return entry_each(&q, row, arg);
}

static int entry_listed(struct query *q, const char *dir, size_t len, uint32_t limit,
                        int (*row)(void *, const struct ix_entry *), void *arg)
{
    struct range r;
    range_beneath(&r, dir, len);
    q_put_bytes(q, dir, len);
    q_put_range(q, &r);
    q_put_int(q, limit);
    return entry_each(q, row, arg);
}

int index_entry_beneath(struct index *ix, const char *dir, size_t len, uint32_t limit,
                        int (*row)(void *, const struct ix_entry *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_BENEATH);
    return entry_listed(&q, dir, len, limit, row, arg);
}

int index_entry_deleted(struct index *ix, const char *dir, size_t len, uint32_t limit,
                        int (*row)(void *, const struct ix_entry *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_ENTRY_DELETED);
    return entry_listed(&q, dir, len, limit, row, arg);
}
