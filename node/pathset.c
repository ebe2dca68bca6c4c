#include "node/pathset.h"

#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

/* A deleted slot keeps a pointer to this, so that probing goes on over it. */
static char tomb[1];

/* FNV-1a (Fowler, Noll, Vo). Names come from our own folder or from members; a chain of collisions costs time, nothing else. */
static size_t hash(const char *p, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
    return (size_t)(h ^ (h >> 32));
}

static struct pathset_slot *find(const struct pathset *s, const char *path, size_t len)
{
    for (size_t i = s->cap ? hash(path, len) & (s->cap - 1) : 0; s->cap && s->slot[i].path; i = (i + 1) & (s->cap - 1))
        if (s->slot[i].path != tomb && s->slot[i].len == len && memcmp(s->slot[i].path, path, len) == 0)
            return &s->slot[i];
    return NULL;
}

static void insert(struct pathset *s, struct pathset_slot slot)
{
    size_t i = hash(slot.path, slot.len) & (s->cap - 1);
    while (s->slot[i].path)
        i = (i + 1) & (s->cap - 1);
    s->slot[i] = slot;
    s->n++;
    s->used++;
}

static void grow(struct pathset *s)
{
    struct pathset old = *s;
    *s = (struct pathset){.cap = 64};
    while (s->cap < old.n * 4)
        s->cap *= 2;
    s->slot = xcalloc(s->cap, sizeof *s->slot);
    for (size_t i = 0; i < old.cap; i++)
        if (old.slot[i].path && old.slot[i].path != tomb)
            insert(s, old.slot[i]);
    free(old.slot);
}

const char *pathset_put(struct pathset *s, const char *path, size_t len, uint32_t value)
{
    struct pathset_slot *have = find(s, path, len);
    if (have) {
        have->value = value;
        return have->path;
    }
    if (2 * (s->used + 1) > s->cap)
        grow(s);
    char *copy = xcalloc(len + 1, 1);
    memcpy(copy, path, len);
    insert(s, (struct pathset_slot){copy, (uint32_t)len, value});
    return copy;
}

bool pathset_get(const struct pathset *s, const char *path, size_t len, uint32_t *value)
{
    const struct pathset_slot *have = find(s, path, len);
    if (have && value)
        *value = have->value;
    return have != NULL;
}

void pathset_del(struct pathset *s, const char *path, size_t len)
{
    struct pathset_slot *have = find(s, path, len);
    if (!have)
        return;
    free(have->path);
    have->path = tomb;
    s->n--;
}

const struct pathset_slot *pathset_next(const struct pathset *s, size_t *i)
{
    while (*i < s->cap) {
        const struct pathset_slot *slot = &s->slot[(*i)++];
        if (slot->path && slot->path != tomb)
            return slot;
    }
    return NULL;
}

void pathset_release(struct pathset *s)
{
    for (size_t i = 0; i < s->cap; i++)
        if (s->slot[i].path != tomb)
            free(s->slot[i].path);
    free(s->slot);
    *s = (struct pathset){0};
}
