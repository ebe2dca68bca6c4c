#include "node/sidmap.h"

#include <assert.h>
#include <search.h>   /* its `struct entry` and ours: this file includes no record.h */
#include <stdlib.h>

struct pair { struct sid sid; void *value; };
struct walk { void (*row)(void *, const struct sid *, void *); void *arg; };

static int compare(const void *a, const void *b)
{
    return sid_cmp(&((const struct pair *)a)->sid, &((const struct pair *)b)->sid);
}

void sidmap_put(struct sidmap *m, const struct sid *sid, void *value)
{
    struct pair *p = xcalloc(1, sizeof *p);
    *p = (struct pair){*sid, value};
    struct pair **have = tsearch(p, &m->root, compare);
    assert(have);
    if (*have == p) {
        m->n++;
        return;
    }
    (*have)->value = value;
    free(p);
}

static const struct pair *find(const struct sidmap *m, const struct sid *sid)
{
    struct pair key = {*sid, NULL};
    struct pair *const *have = tfind(&key, &m->root, compare);
    return have ? *have : NULL;
}

bool sidmap_has(const struct sidmap *m, const struct sid *sid) { return find(m, sid) != NULL; }

void *sidmap_get(const struct sidmap *m, const struct sid *sid)
{
    const struct pair *p = find(m, sid);
    return p ? p->value : NULL;
}

static void visit(const void *node, VISIT when, void *arg)
{
    const struct pair *p = *(struct pair *const *)node;
    const struct walk *w = arg;
    if (when == postorder || when == leaf)   /* between its children, in spite of the name */
        w->row(w->arg, &p->sid, p->value);
}

void sidmap_each(const struct sidmap *m, void (*row)(void *, const struct sid *, void *), void *arg)
{
    twalk_r(m->root, visit, &(struct walk){row, arg});
}

void sidmap_clear(struct sidmap *m)
{
    tdestroy(m->root, free);
    *m = (struct sidmap){0};
}
