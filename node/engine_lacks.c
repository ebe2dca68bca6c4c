/* What other devices lack of what this one would require, by the last vectors that they have shown. */
#include <stdlib.h>

#include "node/engine_priv.h"

/* A cut of what is to be required, and how far each device of the survey has the contents of its stream. */
struct reach { int64_t stream; uint64_t seq, *has; };
struct survey { struct reach *reach; size_t nreach; struct lacks **of; size_t nof; uint64_t *has; };

static void survey_release(struct survey *s)
{
    free(s->reach);
    free(s->of);
    free(s->has);
}

static int by_stream(const void *a, const void *b)
{
    const struct reach *x = a, *y = b;
    return (x->stream > y->stream) - (x->stream < y->stream);
}

static bool is_behind(const struct peer_vec *p, const struct bytes *cuts, uint32_t n)
{
    struct mp m = cuts_reader(cuts);
    for (uint32_t i = 0; i < n; i++) {
        struct cut c;
        cut_next(&m, &c);
        if (vec_content(&p->vec, &c.sid) < c.seq)
            return true;
    }
    return false;
}

/* Only those that lack something are looked at any closer. */
static void choose(struct engine *e, struct survey *s, const struct bytes *cuts, uint32_t ncuts, struct lacks *of, size_t n)
{
    s->of = xcalloc(n + 1, sizeof(struct lacks *));
    for (size_t i = 0; i < n; i++) {
        const struct peer_vec *p = engine_peer_find(e, &of[i].dev);
        bool self = id_eq(&of[i].dev, &e->c.keys->dev);
        of[i] = (struct lacks){.dev = of[i].dev, .known = self || (p && p->shown)};
        of[i].behind = !self && of[i].known && is_behind(p, cuts, ncuts);
        if (of[i].behind)
            s->of[s->nof++] = &of[i];
    }
}

static void measure(struct engine *e, struct survey *s, const struct bytes *cuts, uint32_t ncuts)
{
    struct mp m = cuts_reader(cuts);
    s->reach = xcalloc(ncuts + 1u, sizeof *s->reach);
    s->has = xcalloc((unsigned long)ncuts * s->nof + 1, sizeof *s->has);
    for (uint32_t i = 0; i < ncuts; i++) {
        struct cut c;
        cut_next(&m, &c);
        const struct stream *st = engine_stream_by_sid(e, &c.sid);
        if (!st)
            continue;
        struct reach *r = &s->reach[s->nreach];
        *r = (struct reach){.stream = st->row.id, .seq = c.seq, .has = &s->has[s->nreach * s->nof]};
        for (size_t k = 0; k < s->nof; k++)
            r->has[k] = vec_content(&engine_peer_find(e, &s->of[k]->dev)->vec, &c.sid);
        s->nreach++;
    }
    qsort(s->reach, s->nreach, sizeof *s->reach, by_stream);
}

static int count(void *arg, const struct ix_entry *row)
{
    const struct survey *s = arg;
    const struct reach *r = bsearch(&(struct reach){.stream = row->stream}, s->reach, s->nreach, sizeof *s->reach, by_stream);
    for (size_t k = 0; r && row->seq <= r->seq && k < s->nof; k++) {
        s->of[k]->entries += r->has[k] < row->seq;
        s->of[k]->bytes += r->has[k] < row->seq && row->kind == KIND_FILE ? row->size : 0;
    }
    return 0;
}

int engine_lacks(struct engine *e, const struct bytes *cuts, struct lacks *of, size_t n)
{
    AUTO(survey_release) struct survey s = {0};
    struct mp m = mp_reader(cuts->p, cuts->len);
    uint32_t ncuts = cuts->len ? mp_array(&m, LIMIT_STREAMS) : 0;
    choose(e, &s, cuts, ncuts, of, n);
    if (s.nof == 0)
        return 0;
    measure(e, &s, cuts, ncuts);
    return index_entry_live_after(e->c.index, 0, count, &s);
}

static bool is_source(const struct vec *vec, const struct sid *sid, uint64_t seq, enum engine_source what)
{
    const struct vec_stream *v = vec_find(vec, sid);
    bool partial = vec->flags & VEC_PARTIAL, has = v && v->content >= seq, knows = v && v->known >= seq;
    if (what == ENGINE_KNOWS)
        return knows;
    return !partial && (what == ENGINE_HAS ? has : !has && (what == ENGINE_LACKS || knows));
}

size_t engine_sources(struct engine *e, int64_t stream, uint64_t seq, enum engine_source what, struct id *dev, size_t max)
{
    const struct stream *s = engine_stream(e, stream);
    size_t n = 0;
    for (size_t i = 0; s && i < e->npeer && n < max; i++) {
        const struct peer_vec *p = &e->peer[i];
        if (p->online && p->have && is_source(&p->vec, &s->row.sid, seq, what))
            dev[n++] = p->dev;
    }
    return n;
}
