/* Retention: what may be forgotten, and when. */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "node/keeper_priv.h"
#include "node/log.h"

enum { ROWS = 256 };

struct holder { struct keeper *k; bool holds; };

/* The winner of a path is a file of the folder, or wanted; but for a database in use, of which the kept version is the only one, and for
 * a name that clashes with another one. */
static int only_here(struct keeper *k, const struct ix_entry *row, bool *only)
{
    struct ix_local l;
    int64_t winner = 0, other;
    int r = index_path_get(k->c.index, row->path, NULL, &winner);
    *only = winner != row->id || index_clash_get(k->c.index, row->path, &other) == 0;
    if (r < 0 || *only)
        return r;
    r = index_local_get(k->c.index, row->path, &l);
    *only = r == 0 && l.apart;
    return r == ERR_NOTFOUND ? 0 : r;
}

/* A head that is not the winner of its path is nowhere else on this disk. */
static int entry_holds(void *arg, const struct ix_entry *row)
{
    struct holder *h = arg;
    if (row->kind != KIND_FILE)
        return 0;
    int r = engine_pinned(h->k->c.engine, row->id, &h->holds);
    if (r == 0 && !h->holds && row->live)
        r = only_here(h->k, row, &h->holds);
    return r < 0 ? r : h->holds;
}

static int want_holds(void *arg, const struct ix_want *row)
{
    (void)row;
    ((struct holder *)arg)->holds = true;
    return 1;
}

/* A content that waits as a conflict, or is wanted, stays; so does one of which it is not known yet what it is. */
static int may_go(struct keeper *k, const struct ix_kept *row, bool *may)
{
    struct holder h = {k, false};
    *may = false;
    if (id_is_none(&row->root))
        return 0;
    int r = index_entry_by_root(k->c.index, &row->root, entry_holds, &h);
    if (r == 0 && !h.holds)
        r = index_want_by_root(k->c.index, &row->root, want_holds, &h);
    *may = r == 0 && !h.holds;
    return r < 0 ? r : 0;
}

struct expiry { struct keeper *k; uint64_t before, excess, bytes; int64_t id[ROWS]; size_t n; char **names; size_t nnames; };

static int choose(void *arg, const struct ix_kept *row)
{
    struct expiry *e = arg;
    bool may;
    if (row->kept_ms > e->before)
        return 1;
    int r = may_go(e->k, row, &may);
    if (r < 0 || !may)
        return r;
    e->id[e->n++] = row->id;
    e->bytes += row->size;
    if (*row->name)
        e->names[e->nnames++] = xstrdup(row->name);
    return e->n == ROWS || e->bytes >= e->excess;
}

static enum step_result expire(struct keeper *k, uint64_t before, uint64_t excess)
{
    struct expiry e = {.k = k, .before = before, .excess = excess, .names = xcalloc(ROWS, sizeof *e.names)};
    int r = index_kept_each(k->c.index, choose, &e);
    if (r >= 0 && e.n) {
        r = engine_begin(k->c.engine);
        for (size_t i = 0; r == 0 && i < e.n; i++)
            r = index_kept_del(k->c.index, e.id[i]);
        r = keeper_commit(k, r);
    }
    if (r >= 0 && e.n) {
        k->dirty = true;
        k->figures.expired += e.n;
        keeper_remove(k, e.names, e.nnames, NULL, 0);
        return STEP_LATER;
    }
    while (e.nnames)
        free(e.names[--e.nnames]);
    free(e.names);
    return r < 0 ? keeper_fail(k, err_text()) : STEP_OVER;
}

enum step_result keeper_expire_old(struct keeper *k)
{
    uint64_t before = keeper_horizon(k);
    return before ? expire(k, before, UINT64_MAX) : STEP_OVER;
}

uint64_t keeper_share_of_disk(const struct keeper *k)
{
    struct statvfs v;
    if (statvfs(folder_path(k->c.folder), &v) < 0)
        return UINT64_MAX;
    return (uint64_t)v.f_blocks * v.f_frsize / 100 * k->c.share;
}

/* What it takes once the packs have been written anew. Many versions share most of their blocks: how much is gained shows only when it is
 * marked again what is referred to, so the oldest go a few at a time. */
enum step_result keeper_expire_share(struct keeper *k)
{
    struct keeper_figures f;
    uint64_t most = keeper_share_of_disk(k), takes = 0;
    if (keeper_figures(k, &f) < 0)
        return keeper_fail(k, err_text());
    takes = f.kept_bytes + f.pack_bytes;
    for (size_t i = 0; i < k->npacks; i++)
        takes -= k->packs[i].size - k->packs[i].live;
    if (takes <= most)
        return STEP_OVER;
    if (k->mark != MARK_SWEPT) {        /* perhaps much of it is not referred to */
        k->dirty = true;
        k->step--;
        return STEP_AGAIN;
    }
    uint64_t floor = keeper_floor(k);
    enum step_result r = floor ? expire(k, floor, takes - most) : STEP_OVER;
    if (r == STEP_LATER)
        k->step--;                      /* to marking */
    return r;
}
