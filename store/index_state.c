/* Paths, what is on this disk, what is wanted there, conflicts, clashes of names. */
#include "store/index_priv.h"

#include <assert.h>
#include <string.h>

/* ---- paths ---- */

/* The names strictly beneath dir lie between "dir/" and "dir0", '0' being the byte after '/'. All names lie between nothing and 256
 * bytes 0xff, since no component is longer than 255. */
void range_beneath(struct range *r, const char *dir, size_t len)
{
    assert(len <= LIMIT_PATH);
    if (len == 0) {
        r->lowlen = 0;
        r->highlen = LIMIT_NAME + 1;
        memset(r->high, 0xff, r->highlen);
        return;
    }
    memcpy(r->low, dir, len);
    memcpy(r->high, dir, len);
    r->low[len] = '/';
    r->high[len] = '/' + 1;
    r->lowlen = r->highlen = len + 1;
}

void q_put_range(struct query *q, const struct range *r)
{
    q_put_bytes(q, r->low, r->lowlen);
    q_put_bytes(q, r->high, r->highlen);
}

/* 1: found; 0: there is none. */
static int path_find(struct index *ix, const char *path, size_t len, int64_t *id)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PATH_FIND);
    q_put_bytes(&q, path, len);
    int rc = q_step(&q);
    if (rc == 1)
        *id = q_int(&q);
    return rc;
}

static int path_add(struct index *ix, const char *path, size_t len, int64_t *id, bool *added)
{
    assert(len >= 1 && len <= LIMIT_PATH);
    AUTO(q_end) struct query q = q_begin(ix, Q_PATH_ADD);
    q_put_bytes(&q, path, len);
    int rc = q_run(&q);
    *added = rc == 0 && sqlite3_changes(ix->db) > 0;
    if (*added)
        *id = sqlite3_last_insert_rowid(ix->db);
    return rc;
}

int index_path_id(struct index *ix, const char *path, size_t len, bool create, int64_t *id)
{
    assert(!create || index_in_tx(ix));
    bool added;
    int rc = path_find(ix, path, len, id);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    return create ? path_add(ix, path, len, id, &added) : index_missing(ix, "path");
}

/* Most are new: adding comes first, and finds out whether it is there. */
int index_path_make(struct index *ix, const char *path, size_t len, int64_t *id, bool *made)
{
    int rc = path_add(ix, path, len, id, made);
    if (rc == 0 && !*made)
        rc = path_find(ix, path, len, id);
    return rc == 1 ? 0 : rc;
}

int index_path_get(struct index *ix, int64_t id, struct buf *name, int64_t *winner)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PATH_GET);
    q_put_int(&q, id);
    int rc = q_row(&q);
    if (rc != 0)
        return rc;
    if (name)
        q_copy(&q, name);
    else
        q.col++;
    int64_t w = q_int(&q);
    if (winner)
        *winner = w;
    return q.rc;
}

int index_path_del(struct index *ix, int64_t id)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PATH_DEL);
    q_put_int(&q, id);
    return q_run(&q);
}

int index_path_set_winner(struct index *ix, int64_t id, int64_t winner)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PATH_SET_WINNER);
    q_put_int(&q, winner);
    q_put_int(&q, id);
    return q_run_found(&q);
}

static int each_path(struct query *q, int (*row)(void *, int64_t path, const char *name, size_t namelen, int64_t winner), void *arg)
{
    int rc;
    while ((rc = q_step(q)) == 1) {
        int64_t path = q_int(q);
        struct bytes name = q_bytes(q);
        int64_t winner = q_int(q);
        if ((rc = q->rc) != 0 || (rc = row(arg, path, (const char *)name.p, name.len, winner)) != 0)
            return rc;
    }
    return rc;
}

int index_path_each(struct index *ix, const char *dir, size_t len, bool live_only,
                    int (*row)(void *, int64_t path, const char *name, size_t namelen, int64_t winner), void *arg)
{
    struct range r;
    range_beneath(&r, dir, len);
    AUTO(q_end) struct query q = q_begin(ix, live_only ? Q_PATH_EACH_LIVE : Q_PATH_EACH);
    q_put_range(&q, &r);
    return each_path(&q, row, arg);
}

int index_path_each_after(struct index *ix, const char *dir, size_t len, const char *after, size_t afterlen,
                          int (*row)(void *, int64_t path, const char *name, size_t namelen, int64_t winner), void *arg)
{
    struct range r;
    range_beneath(&r, dir, len);
    AUTO(q_end) struct query q = q_begin(ix, Q_PATH_EACH);
    q_put_bytes(&q, afterlen ? after : (const char *)r.low, afterlen ? afterlen : r.lowlen);
    q_put_bytes(&q, r.high, r.highlen);
    return each_path(&q, row, arg);
}

int index_path_max(struct index *ix, int64_t *max)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PATH_MAX);
    int rc = q_row(&q);
    *max = rc == 0 ? q_int(&q) : 0;
    return rc;
}

int index_totals(struct index *ix, uint64_t *files, uint64_t *bytes)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_PATH_TOTALS);
    int rc;
    *files = *bytes = 0;
    while ((rc = q_step(&q)) == 1) {
        ++*files;
        *bytes += q_u64(&q);
    }
    return rc;
}

static int count(struct index *ix, enum query_id id, uint64_t *n)
{
    AUTO(q_end) struct query q = q_begin(ix, id);
    int rc = q_row(&q);
    *n = rc == 0 ? q_u64(&q) : 0;
    return rc;
}

/* ---- local ---- */

enum { LOCAL_SETTLED = 1, LOCAL_APART = 2 };   /* the column "settled"; the second is in Q_LOCAL_BY_ROOT, too */

int index_local_put(struct index *ix, const struct ix_local *l)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_LOCAL_PUT);
    q_put_int(&q, l->path);
    q_put_int(&q, l->entry);
    q_put_int(&q, l->stamp.kind);
    q_put_int(&q, l->stamp.mode);
    q_put_u64(&q, l->stamp.dev);
    q_put_u64(&q, l->stamp.ino);
    q_put_u64(&q, l->stamp.size);
    q_put_int(&q, l->stamp.mtime_ns);
    q_put_int(&q, l->stamp.ctime_ns);
    q_put_int(&q, (l->settled ? LOCAL_SETTLED : 0) | (l->apart ? LOCAL_APART : 0));
    return q_run(&q);
}

static int local_columns(struct query *q, struct ix_local *l)
{
    *l = (struct ix_local){ .path = q_int(q) };
    l->entry = q_int(q);
    l->stamp.kind = (enum stamp_kind)q_enum(q, STAMP_ABSENT, STAMP_SPECIAL);
    l->stamp.mode = (uint32_t)q_int(q);
    l->stamp.dev = q_u64(q);
    l->stamp.ino = q_u64(q);
    l->stamp.size = q_u64(q);
    l->stamp.mtime_ns = q_int(q);
    l->stamp.ctime_ns = q_int(q);
    int64_t flags = q_int(q);
    l->settled = flags & LOCAL_SETTLED;
    l->apart = flags & LOCAL_APART;
    return q->rc;
}

static int local_each(struct query *q, int (*row)(void *, const struct ix_local *), void *arg)
{
    int rc;
    while ((rc = q_step(q)) == 1) {
        struct ix_local l;
        if ((rc = local_columns(q, &l)) != 0 || (rc = row(arg, &l)) != 0)
            return rc;
    }
    return rc;
}

int index_local_get(struct index *ix, int64_t path, struct ix_local *out)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_LOCAL_GET);
    q_put_int(&q, path);
    int rc = q_row(&q);
    return rc ? rc : local_columns(&q, out);
}

int index_local_find(struct index *ix, const char *path, size_t len, struct ix_local *out)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_LOCAL_FIND);
    q_put_bytes(&q, path, len);
    int rc = q_row(&q);
    return rc ? rc : local_columns(&q, out);
}

int index_local_del(struct index *ix, int64_t path)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_LOCAL_DEL);
    q_put_int(&q, path);
    return q_run(&q);
}

int index_local_each(struct index *ix, int (*row)(void *, const struct ix_local *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_LOCAL_EACH);
    return local_each(&q, row, arg);
}

int index_local_after(struct index *ix, int64_t path, int (*row)(void *, const struct ix_local *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_LOCAL_AFTER);
    q_put_int(&q, path);
    return local_each(&q, row, arg);
}

int index_local_beneath(struct index *ix, const char *dir, size_t len,
                        int (*row)(void *, const struct ix_local *, const char *name, size_t namelen), void *arg)
{
    struct range r;
    range_beneath(&r, dir, len);
    AUTO(q_end) struct query q = q_begin(ix, Q_LOCAL_BENEATH);
    int rc;
    q_put_range(&q, &r);
    while ((rc = q_step(&q)) == 1) {
        struct ix_local l;
        (void)local_columns(&q, &l);
        struct bytes name = q_bytes(&q);
        if ((rc = q.rc) != 0 || (rc = row(arg, &l, (const char *)name.p, name.len)) != 0)
            return rc;
    }
    return rc;
}

int index_local_by_root(struct index *ix, const struct id *root, int (*row)(void *, const struct ix_local *), void *arg)
{
    const struct id key = *root;   /* the callback may change *root */
    AUTO(q_end) struct query q = q_begin(ix, Q_LOCAL_BY_ROOT);
    q_put_id(&q, &key);
    return local_each(&q, row, arg);
}

/* ---- want ---- */

static int want_columns(struct query *q, struct ix_want *w)
{
    *w = (struct ix_want){ .entry = q_int(q) };
    w->path = q_int(q);
    w->stream = q_int(q);
    w->seq = q_u64(q);
    w->size = q_u64(q);
    w->role = (enum want_role)q_enum(q, WANT_INSTALL, WANT_HIDE);
    w->kind = (enum kind)q_enum(q, KIND_FILE, KIND_TOMBSTONE);
    w->root = q_id(q);
    return q->rc;
}

static int want_each(struct query *q, int (*row)(void *, const struct ix_want *), void *arg)
{
    int rc;
    while ((rc = q_step(q)) == 1) {
        struct ix_want w;
        if ((rc = want_columns(q, &w)) != 0 || (rc = row(arg, &w)) != 0)
            return rc;
    }
    return rc;
}

/* What the row of `entry` adds to the totals: nothing if there is none. */
static int want_share(struct index *ix, int64_t entry, struct ix_totals *t)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_WANT_SIZE);
    q_put_int(&q, entry);
    int rc = q_step(&q);
    *t = (struct ix_totals){ 0 };
    if (rc != 1)
        return rc;
    t->n = 1;
    t->bytes = q_u64(&q);
    t->removals = q_int(&q) == KIND_TOMBSTONE;
    return 0;
}

int index_want_del(struct index *ix, int64_t entry)
{
    assert(index_in_tx(ix));
    struct ix_totals old;
    int rc = want_share(ix, entry, &old);
    if (rc != 0 || old.n == 0)
        return rc;
    AUTO(q_end) struct query q = q_begin(ix, Q_WANT_DEL);
    q_put_int(&q, entry);
    rc = q_run(&q);
    if (rc != 0)
        return rc;
    ix->want.n -= old.n;
    ix->want.bytes -= old.bytes;
    ix->want.removals -= old.removals;
    return 0;
}

static int want_insert(struct index *ix, const struct ix_want *w)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_WANT_PUT);
    q_put_int(&q, w->entry);
    q_put_int(&q, w->path);
    q_put_int(&q, w->stream);
    q_put_seq(&q, w->seq);
    q_put_u64(&q, w->size);
    q_put_int(&q, w->role);
    q_put_int(&q, w->kind);
    q_put_id(&q, &w->root);
    int rc = q_run(&q);
    if (rc != 0)
        return rc;
    ix->want.n++;
    ix->want.bytes += w->size;
    ix->want.removals += w->kind == KIND_TOMBSTONE;
    return 0;
}

/* INSERT OR REPLACE costs twice as much: it journals every page it may undo. Most are new. */
int index_want_put(struct index *ix, const struct ix_want *w)
{
    int rc = want_insert(ix, w);
    if (rc == ERR_EXISTS && (rc = index_want_del(ix, w->entry)) == 0)
        rc = want_insert(ix, w);
    return rc;
}

int index_want_get(struct index *ix, int64_t entry, struct ix_want *out)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_WANT_GET);
    q_put_int(&q, entry);
    int rc = q_row(&q);
    return rc ? rc : want_columns(&q, out);
}

int index_want_each(struct index *ix, int64_t after_entry, int (*row)(void *, const struct ix_want *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_WANT_EACH);
    q_put_int(&q, after_entry);
    return want_each(&q, row, arg);
}

int index_want_by_root(struct index *ix, const struct id *root, int (*row)(void *, const struct ix_want *), void *arg)
{
    const struct id key = *root;
    AUTO(q_end) struct query q = q_begin(ix, Q_WANT_BY_ROOT);
    q_put_id(&q, &key);
    return want_each(&q, row, arg);
}

int index_want_of_path(struct index *ix, int64_t path, int (*row)(void *, const struct ix_want *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_WANT_OF_PATH);
    q_put_int(&q, path);
    return want_each(&q, row, arg);
}

int index_want_min(struct index *ix, int64_t stream, uint64_t *seq)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_WANT_MIN);
    q_put_int(&q, stream);
    int rc = q_row(&q);
    if (rc == 0)
        *seq = q_u64(&q);
    return rc;
}

int index_want_totals(struct index *ix, uint64_t *n, uint64_t *bytes)
{
    *n = ix->want.n;
    *bytes = ix->want.bytes;
    return 0;
}

bool index_want_removals(const struct index *ix)
{
    return ix->want.removals > 0;
}

/* ---- conflicts ---- */

int index_conflict_set(struct index *ix, int64_t path, bool in_conflict)
{
    AUTO(q_end) struct query q = q_begin(ix, in_conflict ? Q_CONFLICT_ADD : Q_CONFLICT_DEL);
    q_put_int(&q, path);
    return q_run(&q);
}

int index_conflict_is(struct index *ix, int64_t path)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_CONFLICT_IS);
    q_put_int(&q, path);
    int rc = q_step(&q);
    return rc == 1 ? q_int(&q) > 0 : rc;
}

int index_conflict_each(struct index *ix, int (*row)(void *, int64_t path), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_CONFLICT_EACH);
    int rc;
    while ((rc = q_step(&q)) == 1) {
        int64_t path = q_int(&q);
        if ((rc = q.rc) != 0 || (rc = row(arg, path)) != 0)
            return rc;
    }
    return rc;
}

int index_conflict_count(struct index *ix, uint64_t *n)
{
    return count(ix, Q_CONFLICT_COUNT, n);
}

/* ---- names that clash ---- */

int index_clash_set(struct index *ix, int64_t path, int64_t other)
{
    AUTO(q_end) struct query q = q_begin(ix, other ? Q_CLASH_PUT : Q_CLASH_DEL);
    q_put_int(&q, path);
    if (other)
        q_put_int(&q, other);
    return q_run(&q);
}

int index_clash_get(struct index *ix, int64_t path, int64_t *other)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_CLASH_GET);
    q_put_int(&q, path);
    int rc = q_step(&q);
    if (rc == 1)
        *other = q_int(&q);
    return rc == 1 ? q.rc : rc < 0 ? rc : err_set(ERR_NOTFOUND, "path %lld: its name clashes with none", (long long)path);
}

static int clash_each(struct query *q, int (*row)(void *, int64_t path, int64_t other), void *arg)
{
    int rc;
    while ((rc = q_step(q)) == 1) {
        int64_t path = q_int(q), other = q_int(q);
        if ((rc = q->rc) != 0 || (rc = row(arg, path, other)) != 0)
            return rc;
    }
    return rc;
}

int index_clash_each(struct index *ix, int (*row)(void *, int64_t path, int64_t other), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_CLASH_EACH);
    return clash_each(&q, row, arg);
}

int index_clash_with(struct index *ix, int64_t other, int (*row)(void *, int64_t path, int64_t other), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_CLASH_WITH);
    q_put_int(&q, other);
    return clash_each(&q, row, arg);
}
