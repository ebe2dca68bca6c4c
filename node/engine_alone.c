/* Who is in charge of which contents: of each version one device keeps the content, whatever the users of all others do to their copies. That is
 * its author; of a device that is gone, the member with the smallest id that has said to have it. Each of two that have it either knows of
 * the other, and then both agree, or believes that it is alone: so there is always one. */
#include "node/engine_priv.h"

/* Up to which number another member, of those with an id below that one (NULL: of all), has the contents of a stream. */
static uint64_t had_by_others(struct engine *e, const struct sid *sid, const struct id *below)
{
    uint64_t most = 0;
    for (size_t i = 0; i < e->npeer; i++) {
        const struct peer_vec *p = &e->peer[i];
        const struct member *m = group_find(e->c.group, &p->dev);
        if (!p->shown || (p->vec.flags & VEC_PARTIAL) || !m || m->revoked || engine_is_own(e, &p->dev) || (below && id_cmp(&p->dev, below) >= 0))
            continue;
        const struct vec_stream *v = vec_find(&p->vec, sid);
        if (v && v->content > most)
            most = v->content;
    }
    return most;
}

static bool is_gone(const struct engine *e, const struct id *dev)
{
    const struct member *m = group_find(e->c.group, dev);
    return !engine_is_own(e, dev) && (!m || m->revoked);
}

/* Of that number and all before it others are in charge. */
static uint64_t charge_of_others(struct engine *e, const struct ix_stream *row)
{
    if (engine_is_own(e, &row->dev))
        return 0;
    return is_gone(e, &row->dev) ? had_by_others(e, &row->sid, &e->c.keys->dev) : UINT64_MAX;
}

size_t engine_charge(struct engine *e, bool own, struct own_range *v, size_t max)
{
    size_t n = 0;
    for (size_t i = e->nstream; i > 0 && n < max; i--) {
        const struct ix_stream *row = &e->stream[i - 1]->row;
        if (engine_is_own(e, &row->dev) != own)
            continue;
        uint64_t others = charge_of_others(e, row);
        if (others < row->known)
            v[n++] = (struct own_range){row->id, others + 1, row->known};
    }
    return n;
}

bool engine_in_charge(struct engine *e, int64_t stream, uint64_t seq)
{
    const struct stream *s = engine_stream(e, stream);
    return s && charge_of_others(e, &s->row) < seq;
}

bool engine_elsewhere(struct engine *e, int64_t stream, uint64_t seq)
{
    const struct stream *s = engine_stream(e, stream);
    return s && had_by_others(e, &s->row.sid, NULL) >= seq;
}
