/* Looking for the first headers of a stream in which two devices differ: they prove that it has two histories (engine_fork.c). */
#include <string.h>

#include "node/engine_priv.h"

enum { PROBE_STEP = 64, PROBES_OF_ONE = PROBES_MAX / 4 };     /* of one: others must be able to show a fork while he lies */

struct probe *probe_find(struct engine *e, const struct sid *sid)
{
    for (size_t i = 0; i < e->nprobe; i++)
        if (sid_eq(&e->probe[i].sid, sid))
            return &e->probe[i];
    return NULL;
}

static void end_probe(struct engine *e, struct probe *p) { *p = e->probe[--e->nprobe]; }

void probe_forget(struct engine *e, const struct id *dev)
{
    for (size_t i = e->nprobe; i > 0; i--)
        if (id_eq(&e->probe[i - 1].dev, dev))
            end_probe(e, &e->probe[i - 1]);
}

void probe_forgive(struct engine *e)
{
    for (size_t i = e->nprobe; i > 0; i--) {
        struct probe *p = &e->probe[i - 1];
        if (!p->moved)
            end_probe(e, p);
        else
            p->moved = false;
    }
}

static size_t probes_of(const struct engine *e, const struct id *dev)
{
    size_t n = 0;
    for (size_t i = 0; i < e->nprobe; i++)
        n += id_eq(&e->probe[i].dev, dev);
    return n;
}

/* Further back, in greater and greater steps. */
static int go_back(struct engine *e, const struct id *dev, const struct sid *sid, uint64_t from)
{
    struct probe *p = probe_find(e, sid);
    if (!p && (e->nprobe == PROBES_MAX || probes_of(e, dev) >= PROBES_OF_ONE))
        return 0;
    if (!p) {
        p = &e->probe[e->nprobe++];
        *p = (struct probe){.sid = *sid, .dev = *dev, .step = PROBE_STEP};
    } else if (!id_eq(&p->dev, dev)) {
        return 0;
    } else if (p->from == 1) {
        end_probe(e, p);
        return 0;
    }
    p->from = from > p->step ? from - p->step : 1;
    p->step *= 2;
    p->moved = true;
    return 1;
}

void probe_suspect(struct engine *e, const struct vec *v)
{
    for (size_t i = 0; i < v->nstream; i++) {
        const struct vec_stream *theirs = &v->stream[i];
        const struct stream *s = engine_stream_by_sid(e, &theirs->sid);
        if (s && s->row.known == theirs->known && memcmp(theirs->tip8, s->row.tip.b, sizeof theirs->tip8) != 0 &&
            !fork_refuses(e, &s->row.sid, &s->row.dev) && !probe_find(e, &theirs->sid))
            (void)go_back(e, &v->dev, &theirs->sid, theirs->known);
    }
}

static int prove(struct engine *e, const struct cs *cs, const struct header *h, const struct tip *ours, uint64_t wall_ms)
{
    struct buf proof = BUF_INIT(LIMIT_HEAD);
    struct signed_header x = {{ours->rec.data, ours->rec.len}, ours->sig}, y = {cs->hdr, cs->sig};
    fork_put(&proof, &x, &y);
    int r = buf_ok(&proof) ? fork_end_stream(e, h, &proof, wall_ms) : err_set(ERR_FULL, "fork: no memory");
    buf_release(&proof);
    struct probe *p = probe_find(e, &h->sid);
    if (p)
        end_probe(e, p);
    return r;
}

int probe_compare(struct engine *e, const struct id *from, const struct cs *cs, const struct header *h, uint64_t wall_ms)
{
    const struct stream *s = engine_stream_by_sid(e, &h->sid);
    struct probe *p = probe_find(e, &h->sid);
    uint64_t known = s ? s->row.known : 0, last = h->first + h->count - 1;
    AUTO(tip_release) struct tip ours = {.found = false};
    struct header mine;
    if (e->muted || fork_refuses(e, &h->sid, &h->dev)) {
        if (p)
            end_probe(e, p);
        return 0;                        /* what came first stays */
    }
    if (p && id_eq(&p->dev, from) && h->first > p->from)
        return 2;                        /* behind the one that has led further back: it leads nowhere */
    if (!p && (!known || last <= known || (h->first == known + 1 && id_eq(&h->prev, &s->row.tip))))
        return 0;
    if (h->first > known + 1 || (h->first == known + 1 && (!known || id_eq(&h->prev, &s->row.tip))))
        return 0;
    if (h->first == known + 1)
        return go_back(e, from, &h->sid, known);
    int r = fork_header_at(e, s, h->first, &ours);
    if (r < 0 || !ours.found)
        return r;
    if (id_eq(&ours.hash, &h->hash)) {
        if (p && id_eq(&p->dev, from) && last >= p->from) {
            p->from = last + 1;
            p->moved = true;
            if (last >= known)
                end_probe(e, p);
            return 1;
        }
        return 0;
    }
    r = header_decode(ours.rec.data, ours.rec.len, ours.sig, &mine);
    if (r == 0 && fork_is_proof(&mine, h))
        return prove(e, cs, h, &ours, wall_ms);
    return r < 0 ? r : go_back(e, from, &h->sid, ours.first < h->first ? ours.first : h->first);
}

