/* The versions of a path, decoded. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"

bool versions_counts(const struct engine *e, const struct stream *s, const struct ix_entry *row)
{
    return row->stream == e->own || row->seq <= s->row.known;
}

static int take_row(void *arg, const struct ix_entry *row)
{
    struct versions *vs = arg;
    const struct stream *s = engine_stream(vs->e, row->stream);
    assert(s);
    if (!versions_counts(vs->e, s, row)) {
        vs->others = true;
        if (!vs->all)
            return 0;
    }
    if (vs->n == vs->cap) {
        vs->cap = vs->cap ? 2 * vs->cap : 4;
        vs->v = xrealloc(vs->v, vs->cap, sizeof *vs->v);
    }
    struct vers *v = &vs->v[vs->n];
    memset(v, 0, sizeof *v);
    v->row = *row;
    v->raw = xrealloc(NULL, row->raw.len, 1);
    memcpy(v->raw, row->raw.p, row->raw.len);
    v->row.raw.p = v->raw;
    vs->n++;
    int r = entry_decode(v->raw, row->raw.len, &v->ent);
    if (r < 0)
        return err_prefix(ERR_CORRUPT, "index: entry %lld", (long long)row->id);
    v->ent.v.dot = (struct dot){.sid = s->row.sid, .seq = row->seq};
    v->ent.v.required = group_requires(vs->e->c.group, &v->ent.v.dot);
    return 0;
}

int versions_load(struct engine *e, int64_t path, struct versions *out)
{
    *out = (struct versions){.e = e};
    return index_entry_each_of_path(e->c.index, path, take_row, out);
}

int versions_load_all(struct engine *e, int64_t path, struct versions *out)
{
    *out = (struct versions){.e = e, .all = true};
    return index_entry_each_of_path(e->c.index, path, take_row, out);
}

void versions_release(struct versions *vs)
{
    for (size_t i = 0; i < vs->n; i++) {
        entry_release(&vs->v[i].ent);
        free(vs->v[i].raw);
    }
    free(vs->v);
    *vs = (struct versions){0};
}

struct vers *versions_find(struct versions *vs, int64_t entry)
{
    for (size_t i = 0; i < vs->n; i++)
        if (vs->v[i].row.id == entry)
            return &vs->v[i];
    return NULL;
}

struct heads versions_heads(struct versions *vs)
{
    struct heads h = {.v = xcalloc(vs->n + 1, sizeof *h.v), .of = xcalloc(vs->n + 1, sizeof *h.of)};
    for (size_t i = 0; i < vs->n; i++)
        h.v[i] = &vs->v[i].ent.v;
    h.n = merge_heads(h.v, vs->n);
    for (size_t i = 0; i < h.n; i++)
        h.of[i] = vers_of(h.v[i]);
    return h;
}

void heads_release(struct heads *h)
{
    free(h->v);
    free(h->of);
}
