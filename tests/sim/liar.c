/* A member that lies: of what lives it says that it is long dead, in runs that lead to the signed root as the entries do, and shows
 * nothing to whoever then wants to see what lives. It writes what is true, and is honest again once there is quiet. */
#include <stdlib.h>

#include "proto/merkle.h"
#include "tests/sim/sim.h"

bool lies_here(struct world *w, int i)
{
    return !w->quiet && w->faults.lies && i == w->liar && chance(w, w->faults.lies);
}

/* A change set as it is told; run: what is hidden, and what was before. */
struct tale {
    const struct cs *cs;
    struct cs_item *item;
    struct merkle_item *run; size_t nrun;
    size_t hidden;
};

static bool to_be_hidden(struct world *w, const struct header *h, const struct cs_item *it)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    const struct device *d = &w->d[w->liar];
    const struct stream *s = engine_stream_by_sid(d->engine, &h->sid);
    struct ix_entry row;
    if (it->pruned)
        return false;
    MUST(index_entry_at(d->index, s->row.id, h->first + it->index, &row, &raw));
    return row.live && row.kind != KIND_TOMBSTONE && chance(w, 60);
}

static void choose(struct world *w, const struct header *h, struct tale *t)
{
    struct mp m = cs_items(t->cs);
    uint32_t index = 0;
    for (uint32_t i = 0; i < t->cs->nitems; i++) {
        struct cs_item *it = &t->item[i];
        cs_item_next(&m, &index, it);
        bool hide = to_be_hidden(w, h, it);
        t->hidden += hide;
        if (it->pruned)
            t->run[t->nrun++] = (struct merkle_item){it->index, it->count, it->hash};
        else if (hide)
            t->run[t->nrun++] = (struct merkle_item){it->index, 1, merkle_leaf(it->ent.p, it->ent.len)};
    }
    if (t->hidden)
        t->nrun = merkle_merge(t->run, t->nrun, h->count);
}

static void write(const struct tale *t, struct buf *out)
{
    AUTO(buf_release) struct buf items = BUF_INIT(LIMIT_BODY);
    uint32_t n = 0;
    size_t k = 0;
    for (uint32_t i = 0; i < t->cs->nitems; i++) {
        const struct cs_item *it = &t->item[i];
        while (k < t->nrun && t->run[k].first + t->run[k].count <= it->index)
            k++;
        const struct merkle_item *run = k < t->nrun && t->run[k].first <= it->index ? &t->run[k] : NULL;
        if (run && run->first != it->index)
            continue;
        if (run)
            cs_put_pruned(&items, run->first, run->count, &run->hash);
        else
            cs_put_entry(&items, &it->ent);
        n++;
    }
    cs_put_head(out, &t->cs->hdr, t->cs->sig, n);
    buf_add(out, items.data, items.len);
}

static size_t tell_otherwise(struct world *w, const struct cs *cs, struct buf *out)
{
    struct tale t = {.cs = cs, .item = xcalloc(cs->nitems, sizeof *t.item), .run = xcalloc(cs->nitems, sizeof *t.run)};
    struct header h;
    MUST(header_decode(cs->hdr.p, cs->hdr.len, cs->sig, &h));
    choose(w, &h, &t);
    write(&t, out);
    free(t.item);
    free(t.run);
    return t.hidden;
}

void lie(struct world *w, struct buf *body)
{
    AUTO(buf_release) struct buf was = BUF_INIT(LIMIT_BODY);
    struct mp m;
    uint32_t n;
    size_t hidden = 0;
    buf_add(&was, body->data, body->len);
    MUST(cs_body_open(was.data, was.len, &m, &n));
    buf_clear(body);
    mp_put_array(body, n);
    for (uint32_t i = 0; i < n; i++) {
        struct cs cs;
        MUST(cs_next(&m, &cs));
        hidden += tell_otherwise(w, &cs, body);
    }
    if (hidden)
        tell(w, "d%d: hides %zu entries", w->liar, hidden);
}
