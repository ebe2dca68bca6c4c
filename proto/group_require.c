/* The versions that a group requires (group.h). */
#include <stdlib.h>
#include <string.h>

#include "proto/group_priv.h"

/* ---- life ---- */

static void let_go(struct required *q)
{
    if (--q->refs > 0)
        return;
    free(q->min);
    free(q->to);
    free(q);
}

void requirements_share(struct group *g)
{
    for (size_t i = 0; i < g->nrequirement; i++)
        g->requirement[i].what->refs++;
}

void requirements_drop(struct group *g)
{
    for (size_t i = 0; i < g->nrequirement; i++)
        let_go(g->requirement[i].what);
    g->nrequirement = 0;
}

static struct required *required_new(const struct ctl *c, const struct ctl_op *op)
{
    struct required *q = xcalloc(1, sizeof *q);
    *q = (struct required){ .n = c->n, .ts_ms = c->ts_ms, .by = c->signer, .mode = op->mode, .until_ms = op->until_ms,
                            .nmin = op->ncuts, .nto = op->nto, .refs = 1 };
    memcpy(q->id, op->require_id, sizeof q->id);
    memcpy(q->message, op->text.p, op->text.len);
    q->min = xcalloc(q->nmin + 1, sizeof *q->min);
    q->to = xcalloc(q->nto + 1, sizeof *q->to);
    struct mp min = cuts_reader(&op->cuts), to = to_reader(&op->to);
    for (size_t i = 0; i < q->nmin; i++)
        cut_next(&min, &q->min[i]);
    for (size_t i = 0; i < q->nto; i++)
        to_next(&to, &q->to[i]);
    return q;
}

static struct requirement *find(struct group *g, const uint8_t id[static 16])
{
    for (size_t i = 0; i < g->nrequirement; i++)
        if (memcmp(g->requirement[i].what->id, id, sizeof g->requirement[i].what->id) == 0)
            return &g->requirement[i];
    return NULL;
}

int requirement_add(struct group *g, const struct ctl *c, const struct ctl_op *op)
{
    if (find(g, op->require_id))
        return err_set(ERR_BAD, "a version is required already under this id");
    if (g->nrequirement == LIMIT_REQUIRED) {
        let_go(g->requirement[0].what);
        memmove(&g->requirement[0], &g->requirement[1], --g->nrequirement * sizeof g->requirement[0]);
    }
    g->requirement[g->nrequirement++] = (struct requirement){ .what = required_new(c, op) };
    return 0;
}

void requirement_cancel(struct group *g, const struct ctl *c, const uint8_t id[static 16])
{
    struct requirement *q = find(g, id);
    if (!q || q->cancelled_ms)
        return;
    q->cancelled_ms = c->ts_ms ? c->ts_ms : 1;
    q->cancelled_by = c->signer;
}

/* ---- questions ---- */

const struct requirement *group_requirement(const struct group *g, const uint8_t id[static 16])
{
    return find((struct group *)(uintptr_t)g, id);
}

static int by_id(const void *a, const void *b)
{
    return id_cmp(a, b);
}

bool required_is_for(const struct required *q, const struct id *dev)
{
    return q->nto == 0 || bsearch(dev, q->to, q->nto, sizeof *q->to, by_id);
}

bool required_is_over(const struct requirement *q, uint64_t now_ms)
{
    return q->cancelled_ms || (q->what->until_ms && now_ms >= q->what->until_ms);
}

const struct requirement *group_required_of(const struct group *g, const struct id *dev)
{
    for (size_t i = g->nrequirement; i > 0; i--)
        if (required_is_for(g->requirement[i - 1].what, dev))
            return &g->requirement[i - 1];
    return NULL;
}

static int by_sid(const void *sid, const void *cut)
{
    return sid_cmp(sid, &((const struct cut *)cut)->sid);
}

bool group_requires(const struct group *g, const struct dot *d)
{
    if (g->nrequirement == 0)
        return false;
    const struct required *q = g->requirement[g->nrequirement - 1].what;
    const struct cut *c = bsearch(&d->sid, q->min, q->nmin, sizeof *q->min, by_sid);
    return c && d->seq <= c->seq;
}
