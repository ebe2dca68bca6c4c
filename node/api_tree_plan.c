/* Which paths are to become what they were. */
#include <stdlib.h>
#include <string.h>

#include "node/api_tree.h"
#include "proto/path.h"

enum { PLAN_MAX = 500 };

struct name { char *name; size_t len; int64_t id, winner; };

/* Where it goes: its own path, or the same place beneath `to`. */
static int name_step(const struct tree *t, const struct name *p, struct step *v)
{
    const struct bytes *to = &t->q.to;
    AUTO(buf_release) struct buf b = BUF_INIT(2u * LIMIT_PATH + 2u);
    size_t skip = to->len ? t->q.dir.len : 0;
    buf_add(&b, to->p, to->len);
    if (to->len && !skip)
        buf_add(&b, "/", 1);
    buf_add(&b, p->name + skip, p->len - skip);
    buf_add(&b, "", 1);
    v->path = (char *)buf_steal(&b, &v->len);
    v->len--;
    return path_check(v->path, v->len);
}

static int add_step(struct tree *t, const struct name *p, const struct ix_entry *was, const struct entry *ent)
{
    if (t->nv == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 256;
        t->v = xrealloc(t->v, t->cap, sizeof *t->v);
    }
    struct step *v = &t->v[t->nv++];
    *v = (struct step){.id = p->id};
    if (was) {
        bool blocks = ent->kind == KIND_FILE && ent->content.type == CONTENT_BLOCKS;
        *v = (struct step){.id = p->id, .entry = was->id, .stream = was->stream, .seq = was->seq, .size = was->size, .kind = was->kind,
                           .root = was->root, .nblocks = blocks ? ent->content.nblocks : 0};
    }
    return name_step(t, p, v);
}

/* Whether the path is as it was, its time included. */
static int is_same(struct tree *t, const struct entry *was, const struct name *p, bool *same)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry now = {0};
    struct ix_entry row;
    int r = engine_entry(t->n->engine, p->winner, &raw, &now, &row);
    *same = r == 0 && entry_same(was, &now) && (was->kind == KIND_DIR || was->mtime_ns == now.mtime_ns);
    return r;
}

static bool is_there(enum kind k) { return k == KIND_FILE || k == KIND_DIR || k == KIND_SYMLINK; }

static int plan_one(struct tree *t, const struct name *p, const struct ix_entry *was)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry now = {0}, row;
    bool existed = was->id && is_there(was->kind), same = false;
    int r = p->winner ? index_entry_get(t->n->index, p->winner, &now, NULL) : 0;
    if (r == 0 && existed)
        r = engine_entry(t->n->engine, was->id, &raw, &ent, &row);
    if (r < 0)
        return r;
    t->existed += existed;
    if (t->q.to.len)
        return existed ? add_step(t, p, was, &ent) : 0;
    if (!existed)
        return is_there(now.kind) ? add_step(t, p, NULL, NULL) : 0;
    if (is_there(now.kind))
        r = is_same(t, &ent, p, &same);
    t->unchanged += same;
    return r < 0 || same ? r : add_step(t, p, was, &ent);
}

static int state_then(struct tree *t, const struct name *p, struct ix_entry *was)
{
    *was = (struct ix_entry){0};
    AUTO(history_release) struct history h = {0};
    int r = history_load(t->n, &(struct bytes){(const uint8_t *)p->name, p->len}, &h);
    const struct past *then = r == 0 ? history_at(&h, t->q.at) : NULL;
    if (then)
        *was = then->row;
    return r == ERR_NOTFOUND ? 0 : r;
}

struct part { struct name v[PLAN_MAX]; size_t n; };

static int take_name(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    struct part *part = arg;
    struct name *p = &part->v[part->n++];
    *p = (struct name){.name = xcalloc(len + 1, 1), .len = len, .id = path, .winner = winner};
    memcpy(p->name, name, len);
    return part->n == PLAN_MAX;
}

static void part_release(struct part *part)
{
    while (part->n)
        free(part->v[--part->n].name);
}

static int plan_part(struct tree *t, const struct part *part)
{
    for (size_t i = 0; i < part->n; i++) {
        struct ix_entry was;
        const struct name *p = &part->v[i];
        if (path_is_own(p->name, p->len))
            continue;
        int r = state_then(t, p, &was);
        if (r == 0)
            r = plan_one(t, p, &was);
        if (r < 0)
            return r;
    }
    return 0;
}

int tree_plan_dir(struct tree *t)
{
    struct name p = {.name = (char *)(uintptr_t)t->q.dir.p, .len = t->q.dir.len};
    struct ix_entry was;
    int r = t->q.dir.len ? index_path_id(t->n->index, p.name, p.len, false, &p.id) : ERR_NOTFOUND;
    if (r == 0)
        r = index_path_get(t->n->index, p.id, NULL, &p.winner);
    if (r == 0)
        r = state_then(t, &p, &was);
    if (r == 0)
        r = plan_one(t, &p, &was);
    return r == ERR_NOTFOUND ? 0 : r;
}

int tree_plan_some(struct tree *t, bool *more)
{
    AUTO(part_release) struct part part = {.n = 0};
    const struct bytes *dir = &t->q.dir;
    int r = index_path_each_after(t->n->index, (const char *)dir->p, dir->len, t->after, t->afterlen, take_name, &part);
    *more = r == 1;
    if (r < 0)
        return r;
    if (part.n) {
        const struct name *last = &part.v[part.n - 1];
        t->afterlen = last->len;
        memcpy(t->after, last->name, last->len);
    }
    return plan_part(t, &part);
}
