/* Names that this disk's file system cannot tell apart. Which of them is shown follows from their versions, as among those of one path; the
 * others are hidden: neither on disk nor deleted, their contents in kept/. Only this disk has that: nobody else hears of it. */
#include <assert.h>
#include <stdlib.h>

#include "node/engine_priv.h"
#include "proto/path.h"

/* The later of two versions, of different paths; a directory, since other things live in it. */
static bool beats(const struct entry *a, const struct entry *b)
{
    return merge_winner((const struct version *[]){&a->v, &b->v}, 2) == 0;
}

static int load(struct engine *e, int64_t entry, struct buf *raw, struct entry *ent)
{
    struct ix_entry row;
    int r = engine_entry(e, entry, raw, ent, &row);
    if (r == 0)
        ent->v.dot = (struct dot){*engine_stream_sid(e, row.stream), row.seq};
    return r;
}

/* Whether what is on disk at `other` is to make room: it is a file, just its path's winner, and loses against the wanted entry, or against
 * a directory above that. */
static int must_yield(struct engine *e, int64_t entry, bool above, int64_t other, struct ix_local *l, bool *yields)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY), raw_other = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry wanted = {0}, there = {0};
    int64_t winner = 0;
    *yields = false;
    int r = index_local_get(e->c.index, other, l);
    if (r == 0)
        r = index_path_get(e->c.index, other, NULL, &winner);
    if (r < 0 || l->stamp.kind != STAMP_FILE || l->entry != winner || !winner)
        return r == ERR_NOTFOUND ? 0 : r;
    r = load(e, winner, &raw_other, &there);
    if (r == 0)
        r = load(e, entry, &raw, &wanted);
    *yields = r == 0 && (above || beats(&wanted, &there));
    return r;
}

/* It will be looked for at its place no more, but its content is to be on this device. */
static int hide(struct engine *e, const struct ix_want *w)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    struct vers v = {0};
    bool needs;
    int r = engine_entry(e, w->entry, &raw, &v.ent, &v.row);
    if (r == 0)
        r = state_needs_keep(e, &v, &needs);
    entry_release(&v.ent);
    if (r < 0 || !needs)
        return r < 0 ? r : index_want_del(e->c.index, w->entry);
    struct ix_want keep = *w;
    keep.role = WANT_KEEP;
    return index_want_put(e->c.index, &keep);
}

static int make_room(struct engine *e, int64_t entry)
{
    struct ix_entry row;
    int r = index_entry_get(e->c.index, entry, &row, NULL);
    return r < 0 ? r : index_want_put(e->c.index, &(struct ix_want){.entry = entry, .path = row.path, .stream = row.stream, .seq = row.seq,
                                      .size = row.size, .role = WANT_HIDE, .kind = row.kind, .root = row.root});
}

int engine_clash(struct engine *e, int64_t entry, const struct bytes *name, const struct bytes *other)
{
    assert(index_in_tx(e->c.index));
    struct ix_want w;
    struct ix_local l;
    int64_t path, there;
    bool yields = false;
    int r = index_want_get(e->c.index, entry, &w);
    if (r < 0 || w.role != WANT_INSTALL)
        return r == ERR_NOTFOUND ? 0 : r;
    if ((r = index_path_id(e->c.index, (const char *)name->p, name->len, true, &path)) == 0)
        r = index_path_id(e->c.index, (const char *)other->p, other->len, true, &there);
    if (r == 0)
        r = must_yield(e, entry, path != w.path, there, &l, &yields);
    if (r < 0)
        return r;
    r = yields ? index_clash_set(e->c.index, there, path) : index_clash_set(e->c.index, path, there);
    if (r == 0)
        r = yields ? make_room(e, l.entry) : hide(e, &w);
    return r;
}

/* ---- the end of it ---- */

struct paths { int64_t *v; size_t n, cap; };

static void add(struct paths *p, int64_t path)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->v = xrealloc(p->v, p->cap, sizeof *p->v);
    }
    p->v[p->n++] = path;
}

static int add_hidden(void *arg, int64_t path, int64_t other)
{
    (void)other;
    add(arg, path);
    return 0;
}

static int add_beneath(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    (void)name, (void)len, (void)winner;
    add(arg, path);
    return 0;
}

/* These paths are tried again, and what lies beneath them; each clash that is still one will be found anew. */
static int show_all(struct engine *e, struct paths *p)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    int r = 0;
    for (size_t i = 0, n = p->n; r == 0 && i < n; i++) {
        r = index_clash_set(e->c.index, p->v[i], 0);
        if (r == 0)
            r = index_path_get(e->c.index, p->v[i], &name, NULL);
        if (r == 0)
            r = index_path_each(e->c.index, (const char *)name.data, name.len, true, add_beneath, p);
    }
    for (size_t i = 0; r == 0 && i < p->n; i++)
        r = state_update(e, p->v[i]);
    free(p->v);
    return r;
}

int clash_over(struct engine *e, int64_t other)
{
    struct paths p = {0};
    int r = index_clash_with(e->c.index, other, add_hidden, &p);
    if (r == 0 && p.n)
        return show_all(e, &p);
    free(p.v);
    return r;
}

int engine_clashes_again(struct engine *e)
{
    struct paths p = {0};
    int r = index_clash_each(e->c.index, add_hidden, &p);
    if (r == 0)
        return show_all(e, &p);
    free(p.v);
    return r;
}
