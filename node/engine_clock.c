/* Clocks that are years wrong: ours against those of the others, what we must take back because of it, and how old things are all the same. */
#include <assert.h>

#include "node/engine_priv.h"
#include "proto/hlc.h"

/* The first header of the stream that lies in the future. */
struct future { uint64_t limit; struct header h; struct tip at; bool found; };

static int find_future(void *arg, const struct ix_header *row)
{
    struct future *f = arg;
    int r = header_decode(row->rec.p, row->rec.len, row->sig, &f->h);
    if (r < 0)
        return r;
    f->found = f->h.wall_ms > f->limit || hlc_ms(f->h.hlc_max) > f->limit;
    if (f->found)
        (void)tip_take(&f->at, row);
    return f->found;
}

/* A header that contradicts it, with nothing behind: the proof that ends the stream for everybody who has taken the first. */
static int take_back(struct engine *e, const struct future *f, uint64_t wall_ms)
{
    struct header other = f->h;
    AUTO(buf_release) struct buf rec = BUF_INIT(1024), proof = BUF_INIT(LIMIT_HEAD);
    uint8_t sig[SIG_LEN];
    other.count = 1;
    other.root = id_hash(e->c.inst, sizeof e->c.inst);
    other.wall_ms = wall_ms;
    other.hlc_max = hlc_make(wall_ms, 0);
    int r = header_encode(&rec, sig, &other, e->c.keys);
    if (r < 0)
        return r;
    struct signed_header x = {{f->at.rec.data, f->at.rec.len}, f->at.sig}, y = {{rec.data, rec.len}, sig};
    fork_put(&proof, &x, &y);
    return fork_end_stream(e, &f->h, &proof, wall_ms);
}

static bool agrees(const struct peer_vec *p, uint64_t wall_ms)
{
    return p->vec.wall_ms <= wall_ms + CLOCK_TOLERANCE_MS && p->vec.wall_ms + CLOCK_TOLERANCE_MS >= wall_ms;
}

/* More than 0: most of those who are here have our time, so it is right now; less: most have not. */
static int votes(const struct engine *e, uint64_t wall_ms)
{
    int n = 0;
    for (size_t i = 0; i < e->npeer; i++)
        if (e->peer[i].online && e->peer[i].have)
            n += agrees(&e->peer[i], wall_ms) ? 1 : -1;
    return n;
}

uint64_t engine_clock_off(const struct engine *e, uint64_t wall_ms)
{
    uint64_t off = 0;
    for (size_t i = 0; i < e->npeer && votes(e, wall_ms) < 0; i++)
        if (e->peer[i].online && e->peer[i].have && !agrees(&e->peer[i], wall_ms))
            off = e->peer[i].vec.wall_ms > wall_ms ? e->peer[i].vec.wall_ms - wall_ms : wall_ms - e->peer[i].vec.wall_ms;
    return off;
}

enum { RUN_AGES = 24 };              /* an hour counts for a day: so a device that was off for a month catches up in a day or so */

void engine_age(struct engine *e, uint64_t wall_ms, uint64_t run_ms)
{
    assert(index_in_tx(e->c.index));
    int agree = votes(e, wall_ms);
    uint64_t *aged = &e->now.aged, most = *aged ? *aged + run_ms * RUN_AGES : wall_ms;
    if (agree > 0)
        *aged = wall_ms;
    else if (agree == 0 && wall_ms > *aged)
        *aged = wall_ms < most ? wall_ms : most;
}

uint64_t engine_aged(const struct engine *e) { return e->now.aged; }

static bool somebody_lacks(const struct engine *e, const struct ix_stream *row, uint64_t wall_ms)
{
    for (size_t i = 0; i < e->npeer; i++) {
        const struct peer_vec *p = &e->peer[i];
        if (!p->online || !p->have || !agrees(p, wall_ms))
            continue;
        const struct vec_stream *s = vec_find(&p->vec, &row->sid);
        if (!s || s->known < row->known)
            return true;
    }
    return false;
}

/* 1 = it ends before what is dated in the future; *stays: that is accepted so far. */
static int check_stream(struct engine *e, const struct stream *s, uint64_t wall_ms, bool *stays)
{
    struct future f = {.limit = wall_ms + CLOCK_TOLERANCE_MS, .at = {.rec = BUF_INIT(4096)}};
    int r = index_header_each(e->c.index, s->row.id, 1, s->row.known, find_future, &f);
    bool lacks = somebody_lacks(e, &s->row, wall_ms);
    *stays |= f.found && !lacks;
    if (r >= 0)
        r = f.found && lacks ? take_back(e, &f, wall_ms) : 0;
    tip_release(&f.at);
    return r;
}

/* Who may not write could not sign again what he takes back. */
bool engine_is_ahead(const struct engine *e, uint64_t wall_ms)
{
    return may_write(e) && hlc_ms(e->now.hlc) > wall_ms + CLOCK_TOLERANCE_MS && votes(e, wall_ms) > 0;
}

int engine_clock(struct engine *e, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    uint64_t before = e->now.hlc;
    bool stays = false;
    int ended = 0;
    if (!engine_is_ahead(e, wall_ms))
        return 0;
    e->now.hlc = hlc_make(wall_ms, 0);
    for (size_t i = 0; i < e->nstream; i++) {
        const struct stream *s = e->stream[i];
        if (!s->row.known || !id_eq(&s->row.dev, &e->c.keys->dev))
            continue;
        int r = check_stream(e, s, wall_ms, &stays);
        if (r < 0)
            return r;
        ended += r;
    }
    if (stays)
        e->now.hlc = before;
    return ended;
}
