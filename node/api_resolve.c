/* resolve: the version that shall stay, among those of one path or of two whose names this disk cannot tell apart.
 *
 *   what is chosen, and what that means -> its content here? else fetch -> one transaction -> reply
 *
 * The content comes first: a version that nobody can give must not take the place of one that is there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_priv.h"
#include "node/lock.h"
#include "proto/path.h"

enum { LOSES_MAX = 64 };
struct resolve {
    struct work w;
    int64_t lose[LOSES_MAX]; size_t n;           /* paths that give up their name to that of the version; none: it is of one path */
};

static int say(struct node *n, const struct work *w)
{
    struct note note = {.what = NOTE_STR("resolved"), .path = {(const uint8_t *)w->path, w->len}, .name = NOTE_STR(w->version)};
    return engine_note(n->engine, &note, loop_wall());
}

static int give_up(struct node *n, void *arg)
{
    const struct resolve *c = arg;
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->n; i++)
        r = engine_restore(n->engine, c->lose[i], 0, loop_wall());
    return r < 0 ? r : say(n, &c->w);
}

static int survive(struct node *n, void *arg)
{
    const struct resolve *c = arg;
    int r = engine_resolve(n->engine, c->w.row.path, c->w.row.id, loop_wall());
    return r < 0 ? r : say(n, &c->w);
}

static int resolve_go(struct work *w)
{
    const struct resolve *c = (const struct resolve *)w;
    int r = api_commit(w->n, c->n ? give_up : survive, w);
    if (r == 0)
        session_reply(w->s, false, NULL);
    return r;
}

static int begin(struct session *s, const struct history *h, const struct past *p, const struct resolve *is)
{
    struct work *w;
    int r = work_new(s, h, p, sizeof(struct resolve), &w);
    if (r < 0)
        return r;
    struct resolve *c = (struct resolve *)w;
    for (c->n = 0; c->n < is->n; c->n++)
        c->lose[c->n] = is->lose[c->n];
    w->go = resolve_go;
    return work_begin(w);
}

/* ---- names that clash ---- */

struct pairs { int64_t of, v[LOSES_MAX][2]; size_t n; };

static int take_pair(void *arg, int64_t path, int64_t other)
{
    struct pairs *p = arg;
    if (path != p->of && other != p->of)
        return 0;
    p->v[p->n][0] = path;
    p->v[p->n][1] = other;
    return ++p->n == LOSES_MAX;
}

/* What is in a directory is more than can be given up for a name. */
static int may_lose(struct node *n, int64_t path)
{
    AUTO(history_release) struct history h = {0};
    int r = history_load_id(n, path, &h);
    if (r == 0 && history_winner(&h)->ent.kind == KIND_DIR)
        return err_set(ERR_BAD, "%s: is a directory: rename it or the other one instead", path_show(h.name, h.len));
    return r == ERR_NOTFOUND ? 0 : r;
}

/* If the version to be kept is what belongs at `path`: the other paths of its pairs lose. */
static int keep_path(struct session *s, const struct pairs *p, int64_t path, const char *keep, bool *found)
{
    AUTO(history_release) struct history h = {0};
    struct resolve c = {.n = 0};
    const struct past *v;
    int r = history_load_id(s->n, path, &h);
    *found = r == 0 && history_find(&h, keep, &v) == 0 && v == history_winner(&h);
    if (!*found)
        return r == ERR_NOTFOUND ? 0 : r;
    for (size_t i = 0; r == 0 && i < p->n; i++)
        if (p->v[i][0] == path || p->v[i][1] == path)
            r = may_lose(s->n, c.lose[c.n++] = p->v[i][p->v[i][0] == path]);
    return r < 0 ? r : begin(s, &h, v, &c);
}

static int resolve_clash(struct session *s, const struct history *h, const char *keep)
{
    struct pairs p = {.of = h->path};
    bool found = false;
    int r = index_clash_each(s->n->index, take_pair, &p);
    if (r >= 0 && !p.n)
        return err_set(ERR_NOTFOUND, "%s: is not in conflict: nothing to resolve", path_show(h->name, h->len));
    r = r < 0 ? r : keep_path(s, &p, h->path, keep, &found);
    for (size_t i = 0; r == 0 && !found && i < p.n; i++)
        r = keep_path(s, &p, p.v[i][p.v[i][0] == h->path], keep, &found);
    return r == 0 && !found ? err_set(ERR_NOTFOUND, "version %s: is none of those between which there is a conflict: see lanyard conflicts",
                                      path_show(keep, strlen(keep))) : r;
}

/* ---- versions of one path ---- */

static bool in_conflict(const struct history *h)
{
    for (size_t i = 0; i < h->nv; i++)
        if (history_lost(h, &h->v[i]))
            return true;
    return false;
}

static int resolve(struct session *s, const struct bytes *path, const char *keep)
{
    AUTO(history_release) struct history h;
    const struct past *p = NULL;
    int64_t other;
    int r = history_load(s->n, path, &h);
    if (r < 0)
        return r;
    if (!in_conflict(&h))
        return resolve_clash(s, &h, keep);
    r = history_find(&h, keep, &p);
    if (r < 0 && index_clash_get(s->n->index, h.path, &other) == 0)
        return resolve_clash(s, &h, keep);
    return r < 0 ? r : begin(s, &h, p, &(struct resolve){.n = 0});
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
    if (r == 0)
        r = need_unlocked(s->n);
    if (r == 0 && !keep)
        r = err_set(ERR_USAGE, "resolve: which version shall stay? give its id");
    if (r == 0)
        r = need_folder(s->n);
    return r == 0 ? resolve(s, &path, keep) : r;
}
