#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

const char *const path_name[PATHS + 1] = {"a", "b", "c", "d", "d/x", "d/y", "d/e", "d/e/z", "f", "f/x", "the notes"};
const int path_parent_of[PATHS] = {-1, -1, -1, -1, 3, 3, 3, 6, -1, 8};

struct stamp stamp_of(const struct thing *t)
{
    return (struct stamp){.kind = t->kind, .mode = t->mode, .dev = t->kind != STAMP_ABSENT, .ino = t->ino, .size = t->content, .mtime_ns = t->mtime,
                          .ctime_ns = t->ctime};
}

bool disk_has_children(const struct disk *d, int path)
{
    for (int i = 0; i < PATHS; i++)
        if (path_parent_of[i] == path && d->at[i].kind != STAMP_ABSENT)
            return true;
    return false;
}

bool disk_has_content(const struct disk *d, uint32_t content)
{
    for (int i = 0; i < PATHS; i++)
        if (d->at[i].kind == STAMP_FILE && d->at[i].content == content)
            return true;
    for (size_t i = 0; i < d->nkept; i++)
        if (d->kept[i] == content)
            return true;
    return false;
}

void disk_put(struct world *w, struct disk *d, int path, const struct thing *t)
{
    struct thing *at = &d->at[path];
    *at = *t;
    d->ever[t->content] = true;
    at->ctime = (int64_t)++w->tick;
    if (!at->ino)
        at->ino = w->tick;
}

bool disk_parents(struct world *w, struct disk *d, int path)
{
    int up = path_parent_of[path];
    if (up < 0)
        return true;
    if (d->at[up].kind == STAMP_DIR)
        return true;
    if (d->at[up].kind != STAMP_ABSENT || !disk_parents(w, d, up))
        return false;
    disk_put(w, d, up, &(struct thing){.kind = STAMP_DIR, .mode = 0755});
    return true;
}

void disk_keep(struct disk *d, uint32_t content)
{
    if (d->nkept == d->kept_cap) {
        d->kept_cap = d->kept_cap ? 2 * d->kept_cap : 16;
        d->kept = xrealloc(d->kept, d->kept_cap, sizeof *d->kept);
    }
    d->kept[d->nkept++] = content;
    d->ever[content] = true;
}

struct content_list content_of(uint32_t content, bool link)
{
    char text[32];
    size_t n = (size_t)snprintf(text, sizeof text, "content %u", content);
    if (link || content % 3 == 0)
        return content_list_inline(text, n);
    return (struct content_list){.type = CONTENT_BLOCKS, .nblocks = 1, .size = n, .root = id_hash(text, n)};
}

uint32_t content_by_root(const struct world *w, const struct id *root)
{
    for (uint32_t i = 1; i <= w->contents; i++)
        if (id_eq(&w->root[i], root))
            return i;
    return 0;
}
