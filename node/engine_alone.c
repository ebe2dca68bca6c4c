/* What nobody but this device has: contents of its own, or of devices that are gone, that no other member has said to have. */
#include "node/engine_priv.h"

/* Up to which number another member has the contents of a stream. */
static uint64_t had_by_others(struct engine *e, const struct sid *sid)
{
    uint64_t most = 0;
    for (size_t i = 0; i < e->npeer; i++) {
        const struct peer_vec *p = &e->peer[i];
        const struct member *m = group_find(e->c.group, &p->dev);
        const struct vec_stream *v = p->shown && !(p->vec.flags & VEC_PARTIAL) && m && !m->revoked && !engine_is_own(e, &p->dev) ? vec_find(&p->vec, sid) : NULL;
        if (v && v->content > most)
            most = v->content;
    }
    return most;
}

typedef bool chosen_fn(const struct engine *e, const struct id *dev);

static size_t alone_in(struct engine *e, chosen_fn *chosen, struct own_range *v, size_t max)
{
    size_t n = 0;
    for (size_t i = e->nstream; i > 0 && n < max; i--) {
        const struct ix_stream *row = &e->stream[i - 1]->row;
        if (!chosen(e, &row->dev))
            continue;
        uint64_t had = had_by_others(e, &row->sid);
        if (had < row->known)
            v[n++] = (struct own_range){row->id, had + 1, row->known};
    }
    return n;
}

size_t engine_alone(struct engine *e, struct own_range *v, size_t max) { return alone_in(e, engine_is_own, v, max); }

static bool is_gone(const struct engine *e, const struct id *dev)
{
    const struct member *m = group_find(e->c.group, dev);
    return !engine_is_own(e, dev) && (!m || m->revoked);
}

size_t engine_alone_left(struct engine *e, struct own_range *v, size_t max) { return alone_in(e, is_gone, v, max); }

bool engine_elsewhere(struct engine *e, int64_t stream, uint64_t seq)
{
    const struct stream *s = engine_stream(e, stream);
    return s && had_by_others(e, &s->row.sid) >= seq;
}
