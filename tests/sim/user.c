/* What users do, also while the node is down. Their file system has its own opinion: no file where a directory is, no path through a
 * file. */
#include "tests/sim/sim.h"

static void remove_all(struct disk *d, int path)
{
    for (int i = 0; i < PATHS; i++)
        if (path_parent_of[i] == path)
            remove_all(d, i);
    d->at[path] = (struct thing){.kind = STAMP_ABSENT};
}

/* Mostly something new; now and then what somebody had before. */
static uint32_t some_content(struct world *w)
{
    if (w->contents > 2 && (chance(w, 20) || w->contents + 1 >= CONTENTS_MAX))
        return 1 + (uint32_t)pick(w, w->contents);
    uint32_t c = ++w->contents;
    AUTO(content_list_release) struct content_list made = content_of(c, false);
    w->root[c] = made.root;
    return c;
}

static void save(struct world *w, struct disk *d, int path)
{
    if (d->at[path].kind == STAMP_DIR || !disk_parents(w, d, path))
        return;
    struct thing t = {.kind = STAMP_FILE, .mode = d->at[path].kind == STAMP_FILE ? d->at[path].mode : 0644, .content = some_content(w),
                      .mtime = (int64_t)w->tick + 1};
    if (d->at[path].kind == STAMP_FILE && chance(w, 50))
        t.ino = d->at[path].ino;         /* written in place, not by rename */
    disk_put(w, d, path, &t);
}

static void move(struct world *w, struct disk *d, int from, int to)
{
    if (from == to || d->at[from].kind != STAMP_FILE || d->at[to].kind == STAMP_DIR || !disk_parents(w, d, to))
        return;
    struct thing t = d->at[from];
    d->at[from] = (struct thing){.kind = STAMP_ABSENT};
    disk_put(w, d, to, &t);
}

static void make(struct world *w, struct disk *d, int path, struct thing t)
{
    if (d->at[path].kind == STAMP_ABSENT && disk_parents(w, d, path))
        disk_put(w, d, path, &t);
}

static void change_mode(struct world *w, struct disk *d, int path)
{
    struct thing t = d->at[path];
    if (t.kind != STAMP_FILE && t.kind != STAMP_DIR)
        return;
    t.mode = t.kind == STAMP_DIR ? t.mode ^ 022 : t.mode ^ 0111;
    disk_put(w, d, path, &t);
}

void user_acts(struct world *w, int i)
{
    struct disk *d = &w->d[i].disk;
    int path = (int)pick(w, PATHS), to = (int)pick(w, PATHS);
    unsigned what = (unsigned)pick(w, 100);
    tell(w, "d%d: user %s", i, path_name[path]);
    if (what < 50)
        save(w, d, path);
    else if (what < 67)
        remove_all(d, path);
    else if (what < 77)
        move(w, d, path, to);
    else if (what < 85)
        make(w, d, path, (struct thing){.kind = STAMP_DIR, .mode = 0755});
    else if (what < 90)
        make(w, d, path, (struct thing){.kind = STAMP_SYMLINK, .mode = 0777, .content = some_content(w), .mtime = (int64_t)w->tick + 1});
    else if (what < 95)
        change_mode(w, d, path);
    else if (d->at[path].kind != STAMP_DIR || !disk_has_children(d, path)) {
        remove_all(d, path);             /* and something else in its place, before anybody looks */
        make(w, d, path, (struct thing){.kind = STAMP_DIR, .mode = 0755});
    }
}
