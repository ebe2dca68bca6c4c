#include "node/lists.h"

#include <stdlib.h>
#include <string.h>

static size_t size_of(const struct list *v) { return (size_t)v->n * (BLOCK_REF + sizeof *v->at); }

static void list_release(struct list *v)
{
    buf_release(&v->refs);
    free(v->at);
    *v = (struct list){0};
}

static int load(struct index *ix, const struct id *root, struct list *v)
{
    *v = (struct list){.root = *root, .refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF)};
    int r = index_tree_get(ix, root, &v->refs);
    if (r < 0) {
        list_release(v);
        return r;
    }
    v->n = (uint32_t)(v->refs.len / BLOCK_REF);
    v->at = xrealloc(NULL, v->n + 1, sizeof *v->at);
    uint64_t off = 0;
    for (uint32_t i = 0; i < v->n; i++) {
        struct block_ref ref;
        block_ref_get(v->refs.data + (size_t)i * BLOCK_REF, &ref);
        v->at[i] = off;
        off += ref.len;
    }
    return 0;
}

static void drop_last(struct lists *l)
{
    struct list *last = &l->v[--l->count];
    l->bytes -= size_of(last);
    list_release(last);
}

static const struct list *put_first(struct lists *l, size_t from, struct list v)
{
    memmove(l->v + 1, l->v, from * sizeof *l->v);
    l->v[0] = v;
    return &l->v[0];
}

const struct list *lists_get(struct lists *l, const struct id *root)
{
    struct list v;
    for (size_t i = 0; i < l->count; i++)
        if (id_eq(&l->v[i].root, root))
            return put_first(l, i, l->v[i]);
    if (load(l->index, root, &v) < 0)
        return NULL;
    while (l->count && (l->count == LISTS_CACHED || l->bytes + size_of(&v) > l->most))
        drop_last(l);
    l->bytes += size_of(&v);
    return put_first(l, l->count++, v);
}

void lists_release(struct lists *l)
{
    while (l->count)
        drop_last(l);
}
