/* Devices that others are in touch with, and this one is not. */
#include <string.h>

#include "node/engine_priv.h"

static bool is_newer(const struct vec *v, const struct vec *than)
{
    struct vec_held h = {.ctr = than->ctr, .wall_ms = than->wall_ms};
    memcpy(h.inst, than->inst, sizeof h.inst);
    return vec_newer(v, &h);
}

/* Whether one that is told says more than what is here. What it has shown before our start counts on, unless this is at least as new: an older
 * one may say that it has what it has no more. But what it has shown while its clock was ahead outlives no later start of it. */
static bool says_more(const struct peer_vec *p, const struct vec *v, uint64_t wall_ms)
{
    bool same_start = memcmp(p->vec.inst, v->inst, sizeof v->inst) == 0;
    if (p->online || !p->shown)
        return !p->online;
    if (!same_start && p->vec.wall_ms > wall_ms + CLOCK_TOLERANCE_MS)
        return true;
    return p->have ? is_newer(v, &p->vec) : !is_newer(&p->vec, v);
}

int engine_vector_told(struct engine *e, const void *blob, size_t len, const struct id *dev, uint64_t wall_ms)
{
    AUTO(vec_release) struct vec v = {0};
    int r = vec_decode(blob, len, &v);
    if (r < 0)
        return r;
    if (!id_eq(&v.dev, dev) || v.wall_ms > wall_ms + CLOCK_TOLERANCE_MS)
        return err_set(ERR_DENIED, "vector: told by another device, and not of the device it is told of, or dated ahead");
    const struct peer_vec *p = engine_peer_find(e, dev);
    return p && !says_more(p, &v, wall_ms) ? 0 : engine_put_vector(e, &v, blob, len, true);
}

void engine_present(struct engine *e, const struct id *dev, bool present)
{
    if (group_find(e->c.group, dev))
        engine_peer(e, dev)->present = present;
}

static bool counts(const struct peer_vec *p, bool content) { return p->have && !(content && p->vec.flags & VEC_PARTIAL); }

/* The most that anybody online has of that stream: of its entries, or of their contents. */
static uint64_t near_has(const struct engine *e, const struct sid *sid, bool content)
{
    uint64_t most = 0;
    for (size_t i = 0; i < e->npeer; i++) {
        const struct peer_vec *p = &e->peer[i];
        const struct vec_stream *s = p->online && counts(p, content) ? vec_find(&p->vec, sid) : NULL;
        uint64_t has = !s ? 0 : content ? s->content : s->known;
        most = has > most ? has : most;
    }
    return most;
}

static enum far_lack lack_of(const struct engine *e, const struct vec_stream *s, uint64_t far, uint64_t here, bool content)
{
    return far <= here ? LACK_NOTHING : near_has(e, &s->sid, content) > here ? LACK_SOME : LACK_ALL;
}

enum far_lack engine_lacks_far(struct engine *e, const struct id *dev, bool contents)
{
    const struct peer_vec *p = engine_peer_find(e, dev);
    enum far_lack most = LACK_NOTHING;
    for (size_t i = 0; p && p->have && i < p->vec.nstream && most < LACK_ALL; i++) {
        const struct vec_stream *s = &p->vec.stream[i];
        uint64_t end = engine_end(e, &s->sid), shown = s->known < end ? s->known : end;
        enum far_lack entries = lack_of(e, s, shown, engine_known_of(e, &s->sid), false), more = LACK_NOTHING;
        if (contents && counts(p, true))
            more = lack_of(e, s, s->content < shown ? s->content : shown, engine_content_here(e, &s->sid), true);
        entries = more > entries ? more : entries;
        most = entries > most ? entries : most;
    }
    return most;
}
