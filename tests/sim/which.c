/* Which of several versions under one number a device has, or had: what it has forgotten is in a run, whose hash says so. */
#include "proto/merkle.h"
#include "tests/sim/sim.h"

struct search { struct sid sid; int64_t stream; };
static int is_it(void *arg, const struct ix_stream *row)
{
    struct search *s = arg;
    s->stream = sid_eq(&row->sid, &s->sid) ? row->id : 0;
    return s->stream != 0;
}

static int first_run(void *arg, const struct ix_pruned *p)
{
    *(struct ix_pruned *)arg = *p;
    return 1;
}

/* What else is in the run came with one change set; where that has the same entries as another one, the model has them once. */
static struct id leaf_at(const struct world *w, const struct version_of *v, uint64_t seq, uint64_t batch)
{
    struct id leaf = v->leaf;
    for (size_t i = 0; i < w->model.n && seq != v->dot.seq; i++) {
        const struct version_of *o = &w->model.v[i];
        if (o->dot.seq == seq && sid_eq(&o->dot.sid, &v->dot.sid) && (id_eq(&leaf, &v->leaf) || o->batch == batch))
            leaf = o->leaf;
    }
    return leaf;
}

static bool run_has(const struct world *w, const struct ix_pruned *run, const struct version_of *v)
{
    struct id leaf[VERSIONS_MAX];
    for (size_t i = 0; i < w->model.n && run->count <= VERSIONS_MAX; i++) {
        const struct version_of *o = &w->model.v[i];
        if (!sid_eq(&o->dot.sid, &v->dot.sid) || o->dot.seq < run->first || o->dot.seq >= run->first + run->count)
            continue;
        for (uint32_t k = 0; k < run->count; k++)
            leaf[k] = leaf_at(w, v, run->first + k, o->batch);
        struct id root = merkle_root(leaf, run->count);
        if (id_eq(&root, &run->hash))
            return true;
    }
    return false;
}

/* Of several versions under one number: the one that this device has, or has forgotten. */
bool model_has(const struct world *w, int device, const struct version_of *v, bool forgotten)
{
    const struct device *d = &w->d[device];
    struct search s = {v->dot.sid, 0};
    struct ix_pruned run;
    struct ix_entry row;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    if (index_stream_each(d->index, is_it, &s) <= 0)
        return false;
    if (index_entry_at(d->index, s.stream, v->dot.seq, &row, &raw) < 0)
        return forgotten && index_pruned_each(d->index, s.stream, v->dot.seq, v->dot.seq, first_run, &run) == 1 && run_has(w, &run, v);
    struct id h = id_hash(raw.data, raw.len);
    return id_eq(&h, &v->raw);
}
